//! What a call is called where users are given rights: one action for every method and route of an engine of API 1.24 to 1.56, by the
//! words of `authz-broker` where it has one, and by words of its kind where it has none.
//!
//! Routes are matched whole, as dockerd's router matches them. That broker's own patterns are not anchored: for it
//! `POST /containers/auth-x/exec` is `docker_auth`.

use super::route::without_version;
use super::target::Target;
use crate::wire::Call;

/// The action of a call. Several routes may have one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action(usize);

/// Whether authz-broker has this route, under this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// It has.
    Broker,
    /// It has the name, for another method: for it the action of this one is the empty text.
    Elsewhere,
    /// It has not: for it the action is the empty text.
    None,
}
use Word::{Broker, Elsewhere, None as Wordless};

/// Method, route, name, and whether that is authz-broker's word for it. In a route `:` is one part, `*` any number, at least one.
type Row = (&'static str, &'static str, &'static str, Word);

/// The name of what no engine has.
const UNKNOWN: &str = "unknown";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("", "", UNKNOWN, Wordless),
    ("GET", "", UNKNOWN, Wordless),
    ("GET", "/_ping", "docker_ping", Broker),
    ("HEAD", "/_ping", "docker_ping", Elsewhere),
    ("GET", "/version", "docker_version", Broker),
    ("GET", "/info", "docker_info", Broker),
    ("POST", "/auth", "docker_auth", Broker),
    // POST in its table, which no client sends.
    ("GET", "/events", "docker_events", Elsewhere),
    ("GET", "/system/df", "docker_df", Wordless),
    ("GET", "/debug/vars", "docker_debug", Wordless),
    ("GET", "/debug/pprof/", "docker_debug", Wordless),
    ("GET", "/debug/pprof/:", "docker_debug", Wordless),
    ("OPTIONS", "/*", "docker_options", Wordless),
    ("GET", "/distribution/*/json", "distribution_inspect", Broker),

    ("GET", "/images/json", "image_list", Broker),
    ("GET", "/images/search", "images_search", Broker),
    ("GET", "/images/get", "images_archive", Broker),
    ("GET", "/images/*/get", "images_archive", Broker),
    ("GET", "/images/*/history", "image_history", Broker),
    ("GET", "/images/*/json", "image_inspect", Broker),
    ("GET", "/images/*/attestations", "image_attestations", Wordless),
    ("POST", "/images/load", "images_load", Broker),
    ("POST", "/images/create", "image_create", Broker),
    ("POST", "/images/prune", "image_prune", Broker),
    ("POST", "/images/*/push", "image_push", Broker),
    ("POST", "/images/*/tag", "image_tag", Broker),
    ("DELETE", "/images/*", "image_delete", Broker),
    ("POST", "/build", "image_build", Broker),
    ("POST", "/build/prune", "image_build_prune", Wordless),
    ("POST", "/build/cancel", "image_build_cancel", Wordless),
    ("POST", "/session", "image_build_session", Wordless),
    ("POST", "/grpc", "image_build_grpc", Wordless),

    ("GET", "/containers/json", "container_list", Broker),
    ("GET", "/containers/*/attach/ws", "container_attach_websocket", Broker),
    ("GET", "/containers/*/json", "container_inspect", Broker),
    ("GET", "/containers/*/top", "container_top", Broker),
    ("GET", "/containers/*/logs", "container_logs", Broker),
    ("GET", "/containers/*/stats", "container_stats", Broker),
    ("GET", "/containers/*/changes", "container_changes", Broker),
    // POST in its table, too.
    ("GET", "/containers/*/export", "container_export", Elsewhere),
    ("GET", "/containers/*/archive", "container_archive", Broker),
    ("HEAD", "/containers/*/archive", "container_archive_info", Broker),
    ("PUT", "/containers/*/archive", "container_archive_extract", Broker),
    ("GET", "/containers/*/checkpoints", "container_checkpoint_list", Wordless),
    ("POST", "/containers/*/checkpoints", "container_checkpoint_create", Wordless),
    ("DELETE", "/containers/:/checkpoints/:", "container_checkpoint_delete", Wordless),
    ("POST", "/containers/create", "container_create", Broker),
    ("POST", "/containers/prune", "container_prune", Wordless),
    ("POST", "/containers/*/start", "container_start", Broker),
    ("POST", "/containers/*/stop", "container_stop", Broker),
    ("POST", "/containers/*/kill", "container_kill", Broker),
    ("POST", "/containers/*/restart", "container_restart", Broker),
    ("POST", "/containers/*/pause", "container_pause", Broker),
    ("POST", "/containers/*/unpause", "container_unpause", Broker),
    ("POST", "/containers/*/wait", "container_wait", Broker),
    ("POST", "/containers/*/rename", "container_rename", Broker),
    ("POST", "/containers/*/resize", "container_resize", Broker),
    ("POST", "/containers/*/attach", "container_attach", Broker),
    ("POST", "/containers/*/update", "container_update", Wordless),
    ("POST", "/containers/*/copy", "container_copyfiles", Broker),
    ("POST", "/containers/*/exec", "container_exec_create", Broker),
    ("POST", "/exec/*/start", "container_exec_start", Broker),
    ("POST", "/exec/*/resize", "container_exec_resize", Wordless),
    ("GET", "/exec/*/json", "container_exec_inspect", Broker),
    ("DELETE", "/containers/*", "container_delete", Broker),
    ("POST", "/commit", "container_commit", Broker),

    ("GET", "/volumes", "volume_list", Broker),
    ("GET", "/volumes/*", "volume_inspect", Broker),
    ("POST", "/volumes/create", "volume_create", Broker),
    ("POST", "/volumes/prune", "volume_prune", Wordless),
    ("PUT", "/volumes/*", "volume_update", Wordless),
    ("DELETE", "/volumes/*", "volume_remove", Broker),

    ("GET", "/networks", "network_list", Broker),
    ("GET", "/networks/", "network_list", Broker),
    ("GET", "/networks/*", "network_inspect", Broker),
    ("POST", "/networks/create", "network_create", Broker),
    ("POST", "/networks/prune", "network_prune", Wordless),
    ("POST", "/networks/*/connect", "network_connect", Broker),
    ("POST", "/networks/*/disconnect", "network_disconnect", Broker),
    ("DELETE", "/networks/*", "network_remove", Broker),

    ("GET", "/plugins", "plugin_list", Wordless),
    ("GET", "/plugins/privileges", "plugin_privileges", Wordless),
    ("GET", "/plugins/*/json", "plugin_inspect", Wordless),
    ("POST", "/plugins/pull", "plugin_install", Wordless),
    ("POST", "/plugins/create", "plugin_create", Wordless),
    ("POST", "/plugins/*/enable", "plugin_enable", Wordless),
    ("POST", "/plugins/*/disable", "plugin_disable", Wordless),
    ("POST", "/plugins/*/set", "plugin_set", Wordless),
    ("POST", "/plugins/*/upgrade", "plugin_upgrade", Wordless),
    ("POST", "/plugins/*/push", "plugin_push", Wordless),
    ("DELETE", "/plugins/*", "plugin_remove", Wordless),

    ("GET", "/swarm", "swarm_inspect", Broker),
    ("GET", "/swarm/unlockkey", "swarm_unlock_key", Broker),
    ("POST", "/swarm/init", "swarm_init", Broker),
    ("POST", "/swarm/join", "swarm_join", Broker),
    ("POST", "/swarm/leave", "swarm_leave", Broker),
    ("POST", "/swarm/update", "swarm_update", Broker),
    ("POST", "/swarm/unlock", "swarm_unlock", Broker),
    ("GET", "/nodes", "node_list", Broker),
    ("GET", "/nodes/:", "node_inspect", Broker),
    ("POST", "/nodes/:/update", "node_update", Broker),
    ("DELETE", "/nodes/:", "node_delete", Broker),
    ("GET", "/services", "service_list", Broker),
    ("GET", "/services/:", "service_inspect", Broker),
    ("GET", "/services/:/logs", "service_logs", Broker),
    ("POST", "/services/create", "service_create", Broker),
    ("POST", "/services/:/update", "service_update", Broker),
    ("DELETE", "/services/:", "service_delete", Broker),
    ("GET", "/tasks", "task_list", Broker),
    ("GET", "/tasks/:", "task_inspect", Broker),
    ("GET", "/tasks/:/logs", "task_logs", Wordless),
    ("GET", "/secrets", "secret_list", Broker),
    ("GET", "/secrets/:", "secret_inspect", Broker),
    ("POST", "/secrets/create", "secret_create", Broker),
    ("POST", "/secrets/:/update", "secret_update", Broker),
    ("DELETE", "/secrets/:", "secret_delete", Broker),
    ("GET", "/configs", "config_list", Broker),
    ("GET", "/configs/:", "config_inspect", Broker),
    ("POST", "/configs/create", "config_create", Broker),
    ("POST", "/configs/:/update", "config_update", Broker),
    ("DELETE", "/configs/:", "config_delete", Broker),
];

impl Action {
    /// Of what no supported engine has, and of calls whose address cannot be read.
    pub const UNKNOWN: Self = Self(0);
    /// The same, of a GET: a newer engine may have it.
    const UNKNOWN_READ: Self = Self(1);
    /// How many there are: [`Action::index`] is below it.
    pub const COUNT: usize = ROWS.len();

    /// Of a call.
    #[must_use]
    pub fn of(call: &Call) -> Self {
        Target::read(&call.uri).map_or(Self::UNKNOWN, |target| Self::at(&call.method, &target.path))
    }

    /// By a method and a decoded path.
    pub(super) fn at(method: &str, path: &str) -> Self {
        let path = without_version(path);
        // Most rows are told apart by one letter.
        let may_be =
            |route: &str| matches!(route.as_bytes().get(1), Some(b'*')) || route.as_bytes().get(1) == path.as_bytes().get(1);
        let found = ROWS.iter().position(|(of, route, _, _)| may_be(route) && *of == method && is_at(route, path));
        found.map_or(if method == "GET" { Self::UNKNOWN_READ } else { Self::UNKNOWN }, Self)
    }

    /// Each there is. Several may have one name.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ROWS.len()).map(Self)
    }

    /// The first of this name; for what is asked without a call.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|action| action.name() == name)
    }

    /// Its name, in the words that give rights.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// authz-broker's word for it; empty where that has none.
    #[must_use]
    pub fn broker_word(self) -> &'static str {
        match self.row() {
            (_, _, name, Word::Broker) => name,
            (_, _, _, Word::Elsewhere | Word::None) => "",
        }
    }

    /// Whether authz-broker has its name, of whatever method.
    #[must_use]
    pub fn has_broker_name(self) -> bool {
        self.row().3 != Word::None
    }

    /// The method of its calls; empty of unknown ones that are not GET.
    #[must_use]
    pub fn method(self) -> &'static str {
        self.row().0
    }

    /// Whether it only reads. A websocket drives a container, though a GET opens it.
    #[must_use]
    pub fn reads(self) -> bool {
        matches!(self.method(), "GET" | "HEAD" | "OPTIONS") && self.name() != "container_attach_websocket"
    }

    /// Whether no supported engine has it.
    #[must_use]
    pub fn is_unknown(self) -> bool {
        self == Self::UNKNOWN || self == Self::UNKNOWN_READ
    }

    /// Its number among all.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }

    fn row(self) -> Row {
        // The constructors give none that is not there.
        ROWS.get(self.0).copied().unwrap_or(("", "", UNKNOWN, Wordless))
    }
}

/// Whether a path, its version cut off, lies at a route.
fn is_at(route: &str, path: &str) -> bool {
    if route == path {
        return true;
    }
    if let Some((before, behind)) = route.split_once('*') {
        let any = path.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind));
        return any.is_some_and(|any| !any.is_empty() && !any.contains('\n'));
    }
    let (mut parts, mut of_path) = (route.split('/'), path.split('/'));
    loop {
        match (parts.next(), of_path.next()) {
            (None, None) => return true,
            (Some(":"), Some(part)) if !part.is_empty() => {}
            (Some(part), Some(of_path)) if part == of_path => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// authz-broker's words (2fa4df2, core/types.go).
    const BROKER: &str = "container_archive container_archive_extract container_archive_info container_attach \
        container_attach_websocket container_changes container_commit container_copyfiles container_create container_delete \
        container_exec_create container_exec_inspect container_exec_start container_export container_inspect container_kill \
        container_list container_logs container_pause container_rename container_resize container_restart container_start \
        container_stats container_stop container_top container_unpause container_wait docker_auth docker_events docker_info \
        docker_ping docker_version images_archive image_build image_create image_delete image_history image_inspect image_list \
        images_load image_prune image_push images_search image_tag volume_list volume_create volume_inspect volume_remove \
        network_list network_inspect network_create network_connect network_disconnect network_remove swarm_inspect swarm_init \
        swarm_join swarm_leave swarm_update swarm_unlock_key swarm_unlock node_list node_inspect node_delete node_update \
        service_list service_create service_inspect service_delete service_update service_logs task_list task_inspect \
        secret_list secret_create secret_inspect secret_delete secret_update config_list config_create config_inspect \
        config_delete config_update distribution_inspect";

    fn at(method: &str, uri: &str) -> Action {
        let post = serde_json::json!({ "RequestMethod": method, "RequestUri": uri });
        Action::of(&Call::decode(post.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn every_word_of_the_broker_is_there_and_no_word_is_taken_for_one_of_its_own() {
        let words: BTreeSet<&str> = BROKER.split_whitespace().collect();
        assert_eq!(words.len(), 85);
        let names: BTreeSet<&str> = Action::all().map(Action::name).collect();
        assert_eq!(words.difference(&names).collect::<Vec<_>>(), Vec::<&&str>::new());
        for action in Action::all() {
            let (name, word) = (action.name(), action.broker_word());
            assert!(word == name || word.is_empty(), "{name}");
            assert!(words.contains(name) || word.is_empty(), "{name}");
        }
        // Of two words its table has a method that no client sends.
        assert!(Action::all().all(|action| action.has_broker_name() == words.contains(action.name())));
        let said: BTreeSet<&str> = Action::all().map(Action::broker_word).filter(|word| !word.is_empty()).collect();
        assert_eq!(words.difference(&said).copied().collect::<Vec<_>>(), ["container_export", "docker_events"]);
    }

    #[test]
    fn every_route_finds_its_own_row_under_every_version() {
        for action in Action::all().filter(|action| !action.is_unknown()) {
            let (method, route, name, _) = action.row();
            let route = route.replace('*', "a/b").replace(':', "c");
            for uri in
                [route.clone(), format!("/v1.24{route}"), format!("/v1.56{route}?x=/json"), format!("http://docker{route}")]
            {
                assert_eq!(at(method, &uri), action, "{method} {uri} {name}");
            }
            // Another method is another route, or none.
            assert_eq!(at("PATCH", &route), Action::UNKNOWN, "{route}");
            assert_eq!(at(&method.to_lowercase(), &route), Action::UNKNOWN, "{route}");
        }
    }

    #[test]
    fn routes_are_matched_whole() {
        for (method, uri, name, word) in [
            ("HEAD", "/_ping", "docker_ping", ""),
            ("GET", "/_ping", "docker_ping", "docker_ping"),
            ("HEAD", "/containers/c/archive", "container_archive_info", "container_archive_info"),
            ("GET", "/containers/c/export", "container_export", ""),
            ("GET", "/v1.41/events", "docker_events", ""),
            ("POST", "/containers/auth-x/exec", "container_exec_create", "container_exec_create"),
            ("POST", "/containers/x/exec/y/start", "container_start", "container_start"),
            ("POST", "/containers/build/start", "container_start", "container_start"),
            ("POST", "/containers/x/%73tart", "container_start", "container_start"),
            ("POST", "/build/prune", "image_build_prune", ""),
            ("GET", "/containers/c/attach/ws", "container_attach_websocket", "container_attach_websocket"),
            ("DELETE", "/containers/c/checkpoints/d", "container_checkpoint_delete", ""),
            ("DELETE", "/containers/a/b/checkpoints/d", "container_delete", "container_delete"),
            ("GET", "/images/get", "images_archive", "images_archive"),
            ("GET", "/images/json/json", "image_inspect", "image_inspect"),
            ("GET", "/tasks/t/logs", "task_logs", ""),
            ("GET", "/swarm/unlockkey", "swarm_unlock_key", "swarm_unlock_key"),
            // What no engine has, or would not take for that.
            ("GET", "/containers/json/", "unknown", ""),
            ("GET", "/containers", "unknown", ""),
            ("HEAD", "/containers/json", "unknown", ""),
            ("GET", "/services/a/b", "unknown", ""),
            ("POST", "/x/build", "unknown", ""),
            ("GET", "/nodes/", "unknown", ""),
            ("GET", "/", "unknown", ""),
            ("GET", "/v1.41", "unknown", ""),
            ("GET", "/containers/../info", "unknown", ""),
        ] {
            let action = at(method, uri);
            assert_eq!((action.name(), action.broker_word()), (name, word), "{method} {uri}");
        }
    }

    #[test]
    fn what_reads_does_not_drive_a_container() {
        for (method, uri, reads) in [
            ("GET", "/containers/json", true),
            ("HEAD", "/containers/c/archive", true),
            ("GET", "/containers/c/attach/ws", false),
            ("POST", "/containers/c/wait", false),
            ("GET", "/what/is/new", true),
            ("POST", "/what/is/new", false),
            ("HEAD", "/what/is/new", false),
        ] {
            assert_eq!(at(method, uri).reads(), reads, "{method} {uri}");
        }
    }

    #[test]
    fn a_name_finds_its_action() {
        assert_eq!(Action::named("container_create"), Some(at("POST", "/containers/create")));
        assert_eq!(Action::named("container"), None);
    }
}
