//! Every route that changes something on an engine of API 1.12 to 1.56, matched as dockerd's router matches it: an optional
//! `/v[0-9.]+` in front, then the whole path. What is not here is [`Route::Unknown`]. Says nothing of queries and bodies.

use super::{Build, ContainerAccess, PluginChange, StartAction};

/// What a method and path call for. Names are cut out of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// Brings nothing in, runs nothing, changes no protection.
    Harmless,
    /// `POST /images/create`: a pull or an import.
    ImagesCreate,
    /// `POST /images/load`
    Load,
    /// `POST /commit`
    Commit,
    /// `POST /images/N/tag`
    Tag(&'a str),
    /// `POST /containers/create`
    Create,
    /// `POST /containers/N/start`, `/restart`
    Start(&'a str, StartAction),
    /// `POST /containers/N/rename`
    Rename(&'a str),
    /// `POST /containers/N/update`
    Update(&'a str),
    /// `DELETE /containers/N`
    Remove(&'a str),
    /// `POST /containers/N/exec`
    Exec,
    /// Anything else that drives a container.
    ContainerAccess(ContainerAccess),
    /// `POST /services/create`
    ServiceCreate,
    /// `POST /services/N/update`
    ServiceUpdate(&'a str),
    /// `POST /build`, `/session`, `/grpc`
    Build(Build),
    /// `POST /plugins/pull`
    PluginPull,
    /// `POST /plugins/N/upgrade`
    PluginUpgrade(&'a str),
    /// `POST /plugins/create`
    PluginCreate,
    /// `POST /plugins/N/enable` …, `DELETE /plugins/N`
    PluginChange(&'a str, PluginChange),
    /// `POST /swarm/…`, `/nodes/N/update`
    Swarm,
    /// `POST /volumes/create`
    VolumeCreate,
    /// `PUT /volumes/N`
    VolumeUpdate(&'a str),
    /// `POST /networks/create`
    NetworkCreate,
    /// None that an engine has.
    Unknown,
}

impl<'a> Route<'a> {
    /// Matches a method and a decoded path, for methods other than GET, HEAD and OPTIONS.
    pub(super) fn of(method: &str, path: &'a str) -> Self {
        // INVARIANT: `path` begins with a slash and has no empty or dotted parts; `target` saw to it.
        let Some((head, rest)) = without_version(path).strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return match (method, without_version(path)) {
                ("POST", "/commit") => Self::Commit,
                ("POST", "/build") => Self::Build(Build::Classic),
                ("POST", "/session") => Self::Build(Build::Session),
                ("POST", "/grpc") => Self::Build(Build::Grpc),
                ("POST", "/auth") => Self::Harmless,
                _ => Self::Unknown,
            };
        };
        // `{name:.*}` takes slashes, but no line feed, and leaves the last part to the verb. `{id}` takes no slash.
        let (name, verb) = rest.rsplit_once('/').unwrap_or(("", rest));
        let named = !name.is_empty() && !name.contains('\n');
        let one_part = named && !name.contains('/');
        let whole = !rest.is_empty() && !rest.contains('\n');
        match (method, head) {
            ("POST", "containers") if named => match verb {
                "start" => Self::Start(name, StartAction::Start),
                "restart" => Self::Start(name, StartAction::Restart),
                "rename" => Self::Rename(name),
                "exec" => Self::Exec,
                "attach" => Self::ContainerAccess(ContainerAccess::Attach),
                "update" => Self::Update(name),
                "checkpoints" => Self::ContainerAccess(ContainerAccess::Checkpoint),
                "stop" | "kill" | "pause" | "unpause" | "wait" | "resize" | "copy" => Self::Harmless,
                _ => Self::Unknown,
            },
            ("POST", "containers") => match rest {
                "create" => Self::Create,
                "prune" => Self::Harmless,
                _ => Self::Unknown,
            },
            ("PUT", "containers") if named && verb == "archive" => Self::ContainerAccess(ContainerAccess::PutArchive),
            ("DELETE", "containers") if whole => match name.split_once('/') {
                // The checkpoint routes are asked first.
                Some((container, "checkpoints")) if !container.is_empty() && !verb.is_empty() => {
                    Self::ContainerAccess(ContainerAccess::Checkpoint)
                }
                Some(_) | None => Self::Remove(rest),
            },
            ("POST", "exec") if named => match verb {
                "start" => Self::ContainerAccess(ContainerAccess::Exec { user: None }),
                "resize" => Self::Harmless,
                _ => Self::Unknown,
            },
            ("POST", "images") if named => match verb {
                "tag" => Self::Tag(name),
                "push" => Self::Harmless,
                _ => Self::Unknown,
            },
            ("POST", "images") => match rest {
                "create" => Self::ImagesCreate,
                "load" => Self::Load,
                "prune" => Self::Harmless,
                _ => Self::Unknown,
            },
            ("POST", "build") => match rest {
                "prune" | "cancel" => Self::Harmless,
                _ => Self::Unknown,
            },
            ("POST", "services") if one_part && verb == "update" => Self::ServiceUpdate(name),
            ("POST", "services") if rest == "create" => Self::ServiceCreate,
            ("POST", "swarm") => match rest {
                "init" | "join" | "leave" | "update" | "unlock" => Self::Swarm,
                _ => Self::Unknown,
            },
            ("POST", "nodes") if one_part && verb == "update" => Self::Swarm,
            ("POST", "secrets" | "configs") if rest == "create" || (one_part && verb == "update") => Self::Harmless,
            ("POST", "plugins") if named => match verb {
                "enable" => Self::PluginChange(name, PluginChange::Enable),
                "disable" => Self::PluginChange(name, PluginChange::Disable),
                "set" => Self::PluginChange(name, PluginChange::Set),
                "upgrade" => Self::PluginUpgrade(name),
                "push" => Self::Harmless,
                _ => Self::Unknown,
            },
            ("POST", "plugins") => match rest {
                "pull" => Self::PluginPull,
                "create" => Self::PluginCreate,
                _ => Self::Unknown,
            },
            ("DELETE", "plugins") if whole => Self::PluginChange(rest, PluginChange::Remove),
            ("POST", "volumes") => match rest {
                "create" => Self::VolumeCreate,
                "prune" => Self::Harmless,
                _ => Self::Unknown,
            },
            ("PUT", "volumes") if whole => Self::VolumeUpdate(rest),
            ("POST", "networks") if named => match verb {
                "connect" | "disconnect" => Self::Harmless,
                _ => Self::Unknown,
            },
            ("POST", "networks") => match rest {
                "create" => Self::NetworkCreate,
                "prune" => Self::Harmless,
                _ => Self::Unknown,
            },
            ("DELETE", "images" | "volumes" | "networks") if whole => Self::Harmless,
            ("DELETE", "services" | "nodes" | "secrets" | "configs") if !rest.is_empty() && !rest.contains('/') => Self::Harmless,
            _ => Self::Unknown,
        }
    }
}

/// Whether a GET of this path drives a container: `attach/ws` is the only one that is no read.
pub(super) fn is_attach(path: &str) -> bool {
    without_version(path).strip_prefix("/containers/").and_then(|rest| rest.strip_suffix("/attach/ws")).is_some()
}

/// Cuts `/v[0-9.]+` off. The engine may then find the version bad, but that is behind the plugin.
pub(super) fn without_version(path: &str) -> &str {
    version_and_rest(path).1
}

/// Whether the path may ask for an API older than this. Without a version the engine takes its newest. What Go might read in
/// another way than a plain pair of numbers counts as older.
pub(super) fn is_api_below(path: &str, least: (u32, u32)) -> bool {
    let Some(version) = version_and_rest(path).0 else { return false };
    let mut numbers = version.split('.').map(str::parse::<u32>);
    !matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= least)
}

/// The version a path begins with, and what stands behind it.
fn version_and_rest(path: &str) -> (Option<&str>, &str) {
    let Some(rest) = path.strip_prefix("/v") else { return (None, path) };
    let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    match rest.split_at_checked(digits) {
        Some((version, behind)) if digits > 0 && behind.starts_with('/') => (Some(version), behind),
        Some(_) | None => (None, path),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::*;

    #[test]
    fn every_route_of_the_engines_has_a_meaning_and_an_action() {
        use ContainerAccess::{Attach, Checkpoint, PutArchive};
        for (method, path, route) in [
            ("POST", "/auth", Route::Harmless),
            ("POST", "/build", Route::Build(Build::Classic)),
            ("POST", "/build/cancel", Route::Harmless),
            ("POST", "/build/prune", Route::Harmless),
            ("POST", "/commit", Route::Commit),
            ("POST", "/configs/create", Route::Harmless),
            ("POST", "/configs/c/update", Route::Harmless),
            ("POST", "/containers/create", Route::Create),
            ("POST", "/containers/prune", Route::Harmless),
            ("POST", "/containers/c/attach", Route::ContainerAccess(Attach)),
            ("POST", "/containers/c/checkpoints", Route::ContainerAccess(Checkpoint)),
            ("POST", "/containers/c/copy", Route::Harmless),
            ("POST", "/containers/c/exec", Route::Exec),
            ("POST", "/containers/c/kill", Route::Harmless),
            ("POST", "/containers/c/pause", Route::Harmless),
            ("POST", "/containers/c/rename", Route::Rename("c")),
            ("POST", "/containers/c/resize", Route::Harmless),
            ("POST", "/containers/c/restart", Route::Start("c", StartAction::Restart)),
            ("POST", "/containers/c/start", Route::Start("c", StartAction::Start)),
            ("POST", "/containers/c/stop", Route::Harmless),
            ("POST", "/containers/c/unpause", Route::Harmless),
            ("POST", "/containers/c/update", Route::Update("c")),
            ("POST", "/containers/c/wait", Route::Harmless),
            ("POST", "/exec/e/resize", Route::Harmless),
            ("POST", "/exec/e/start", Route::ContainerAccess(ContainerAccess::Exec { user: None })),
            ("POST", "/grpc", Route::Build(Build::Grpc)),
            ("POST", "/images/create", Route::ImagesCreate),
            ("POST", "/images/load", Route::Load),
            ("POST", "/images/prune", Route::Harmless),
            ("POST", "/images/r.example:5000/a/b:1/push", Route::Harmless),
            ("POST", "/images/r.example:5000/a/b:1/tag", Route::Tag("r.example:5000/a/b:1")),
            ("POST", "/networks/create", Route::NetworkCreate),
            ("POST", "/networks/prune", Route::Harmless),
            ("POST", "/networks/n/connect", Route::Harmless),
            ("POST", "/networks/n/disconnect", Route::Harmless),
            ("POST", "/nodes/n/update", Route::Swarm),
            ("POST", "/plugins/create", Route::PluginCreate),
            ("POST", "/plugins/pull", Route::PluginPull),
            ("POST", "/plugins/a/b/disable", Route::PluginChange("a/b", PluginChange::Disable)),
            ("POST", "/plugins/p/enable", Route::PluginChange("p", PluginChange::Enable)),
            ("POST", "/plugins/p/push", Route::Harmless),
            ("POST", "/plugins/p/set", Route::PluginChange("p", PluginChange::Set)),
            ("POST", "/plugins/p/upgrade", Route::PluginUpgrade("p")),
            ("POST", "/secrets/create", Route::Harmless),
            ("POST", "/secrets/s/update", Route::Harmless),
            ("POST", "/services/create", Route::ServiceCreate),
            ("POST", "/services/s/update", Route::ServiceUpdate("s")),
            ("POST", "/session", Route::Build(Build::Session)),
            ("POST", "/swarm/init", Route::Swarm),
            ("POST", "/swarm/join", Route::Swarm),
            ("POST", "/swarm/leave", Route::Swarm),
            ("POST", "/swarm/unlock", Route::Swarm),
            ("POST", "/swarm/update", Route::Swarm),
            ("POST", "/volumes/create", Route::VolumeCreate),
            ("POST", "/volumes/prune", Route::Harmless),
            ("PUT", "/containers/c/archive", Route::ContainerAccess(PutArchive)),
            ("PUT", "/volumes/v", Route::VolumeUpdate("v")),
            ("DELETE", "/configs/c", Route::Harmless),
            ("DELETE", "/containers/c", Route::Remove("c")),
            ("DELETE", "/containers/c/checkpoints/d", Route::ContainerAccess(Checkpoint)),
            ("DELETE", "/images/a/b:1", Route::Harmless),
            ("DELETE", "/networks/n", Route::Harmless),
            ("DELETE", "/nodes/n", Route::Harmless),
            ("DELETE", "/plugins/a/p", Route::PluginChange("a/p", PluginChange::Remove)),
            ("DELETE", "/secrets/s", Route::Harmless),
            ("DELETE", "/services/s", Route::Harmless),
            ("DELETE", "/volumes/v", Route::Harmless),
            // A name may hold slashes, and may look like a route.
            ("POST", "/containers/web/db/start", Route::Start("web/db", StartAction::Start)),
            ("POST", "/containers/x/exec/y/start", Route::Start("x/exec/y", StartAction::Start)),
            ("POST", "/containers/create/start", Route::Start("create", StartAction::Start)),
            ("POST", "/containers/start/start", Route::Start("start", StartAction::Start)),
            ("POST", "/images/create/tag", Route::Tag("create")),
            ("DELETE", "/containers/a/b/checkpoints/d", Route::Remove("a/b/checkpoints/d")),
            ("DELETE", "/containers/c/checkpoints", Route::Remove("c/checkpoints")),
        ] {
            for version in ["", "/v1.41", "/v1", "/v1.41.0", "/v01.041", "/v1..41", "/v.", "/v1.51.", "/v9.99"] {
                let path = format!("{version}{path}");
                assert_eq!(Route::of(method, &path), route, "{method} {path}");
                assert!(!Action::at(method, &path).is_unknown(), "{method} {path}");
            }
        }
    }

    #[test]
    fn what_no_engine_routes_is_unknown() {
        for (method, path) in [
            ("POST", "/"),
            ("POST", "/v1.41"),
            ("POST", "/v1.41/"),
            ("POST", "/images/create/"),
            ("POST", "/images/Create"),
            ("POST", "/Images/create"),
            ("POST", "/images/create;"),
            ("POST", "/images/create?"),
            ("POST", "/images/create\0"),
            ("POST", "/images/create "),
            ("POST", "/images"),
            ("POST", "/images/x/load"),
            ("POST", "/V1.41/images/create"),
            ("POST", "/v1.41a/images/create"),
            ("POST", "/v/images/create"),
            ("POST", "/1.41/images/create"),
            ("POST", "/v1.41/v1.41/images/create"),
            ("POST", "/containers/c/start/"),
            ("POST", "/containers/c"),
            ("POST", "/containers/start"),
            ("POST", "/containers/a\nb/start"),
            ("POST", "/containers/c/top"),
            ("POST", "/services/a/b/update"),
            ("POST", "/nodes/a/b/update"),
            ("POST", "/services/update"),
            ("POST", "/swarm/init/x"),
            ("POST", "/plugins/x"),
            ("POST", "/_ping"),
            ("POST", "/debug/pprof/symbol"),
            ("PUT", "/images/create"),
            ("PUT", "/containers/archive"),
            ("PUT", "/volumes/"),
            ("DELETE", "/containers/"),
            ("DELETE", "/containers/a\nb"),
            ("DELETE", "/services/a/b"),
            ("DELETE", "/exec/e"),
            ("PATCH", "/containers/create"),
            ("post", "/containers/create"),
            ("CONNECT", "/containers/create"),
        ] {
            assert_eq!(Route::of(method, path), Route::Unknown, "{method} {path:?}");
        }
    }

    #[test]
    fn attach_over_a_websocket_is_no_read() {
        for path in ["/containers/c/attach/ws", "/v1.41/containers/a/b/attach/ws"] {
            assert!(is_attach(path), "{path}");
        }
        for path in ["/containers/c/attach", "/containers/json", "/attach/ws", "/v1.41/images/containers/x/attach/ws/", "/info"] {
            assert!(!is_attach(path), "{path}");
        }
    }
}
