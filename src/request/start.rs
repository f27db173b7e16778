//! `POST /containers/N/start`, `/restart`, `/update` and `/rename`.

use super::host_access::{Limits, UPDATED};
use super::json::Shape;
use super::query::Query;
use super::{Asked, ContainerAccess, Intent, Restart, Start, StartAction, StartExtra, Terms, Unreadable, other, route};
use crate::text::fit;
use crate::wire::Call;

/// What the call would start.
pub(super) fn start(container: &str, action: StartAction, asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    is_named(container)?;
    let extra = if action == StartAction::Start && may_have_body(asked) {
        Some(StartExtra::Body)
    } else {
        // The daemon waits for a form before it looks the name up, for as long as the client likes: longer than the name is held. It
        // refuses a start of unknown length before it waits.
        let call = asked.call;
        let is_refused_unread = action == StartAction::Start && call.header("Content-Length").is_none() && call.body.is_none();
        let query = if is_refused_unread { Query::read(asked.target.query) } else { Query::of_form(asked) }?;
        let restored = query.one("checkpoint")?.is_some() || query.one("checkpoint-dir")?.is_some();
        restored.then_some(StartExtra::Checkpoint)
    };
    Ok(Intent::Start(Start { container: container.to_owned(), action, extra, terms: None }))
}

/// No container is called otherwise; an engine that trims would find one that is. Slashes are of a link's alias.
fn is_named(container: &str) -> Result<(), Unreadable> {
    if container.bytes().all(|byte| is_name_byte(byte) || byte == b'/') {
        return Ok(());
    }
    Err(Unreadable::Name(fit(container, NAME_SHOWN)))
}

const UPDATE: Shape = Shape::Struct(&[UPDATED]);

/// What the call would update. With a restart policy the engine starts the container later, and asks nobody then.
pub(super) fn update(container: &str, call: &Call) -> Result<Intent, Unreadable> {
    let config = other::body(call, &UPDATE)?;
    let mut terms = Box::<Terms>::default();
    if let Some(config) = &config {
        Limits::read(config)?.put(&mut terms);
        if let Some(policy) = config.object("RestartPolicy")? {
            terms.restart = Restart::of_container(policy.text("Name")?, policy.number("MaximumRetryCount")?);
        }
    }
    if terms.restart == Restart::Never {
        return Ok(Intent::ContainerAccess(ContainerAccess::Update(terms)));
    }
    is_named(container)?;
    Ok(Intent::Start(Start { container: container.to_owned(), action: StartAction::Update, extra: None, terms: Some(terms) }))
}

/// Whether dockerd may act on a body. Without a Content-Type it acts on none: it is neither JSON nor a form. One of up to 7 bytes
/// it does not act on (moby, `postContainersStart`: *a non-nil json object is at least 7 characters*); Portainer sends `{}`. Without a length there is none, or one in chunks, which the daemon does not tell apart for
/// plugins; from API 1.24 on it refuses a start with the latter before it reads anything of it. Over HTTP/2 the length shown may
/// not be the one it goes by: the engines that serve it refuse every longer body.
fn may_have_body(asked: &Asked<'_>) -> bool {
    let call = asked.call;
    match (call.header("Content-Length"), &call.body) {
        (Some(length), _) => !matches!(length.as_bytes(), [b'0'..=b'7']),
        (None, Some(_)) => true,
        (None, None) => call.header("Content-Type").is_some() && route::is_api_below(&asked.target.path, (1, 24)),
    }
}

/// What the call would rename.
pub(super) fn rename(container: &str, asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    let query = Query::of_form(asked)?;
    // dockerd refuses an empty name, and so does `new_name`.
    let name = query.one("name")?.unwrap_or_default();
    Ok(Intent::Rename { container: container.to_owned(), name: new_name(name)? })
}

/// A name that a container is to have, without its slash. One outside the daemon's own grammar is refused, whatever the engine
/// would say: engines 29.0 to 29.7 trim white space off it, and give another name than the one that was judged and held. One
/// that looks like a whole id is refused: a start by it would mean this container once the one of that id is gone.
pub(super) fn new_name(written: &str) -> Result<String, Unreadable> {
    let name = written.strip_prefix('/').unwrap_or(written);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !begins || name.len() < 2 || !name.bytes().all(is_name_byte) {
        return Err(Unreadable::Name(fit(written, NAME_SHOWN)));
    }
    if name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Unreadable::Reference("a container's name must not look like a container's id".to_owned()));
    }
    Ok(name.to_owned())
}

/// Longest piece of a refused name that is shown. Stops foreign text from filling the refusal.
const NAME_SHOWN: usize = 40;

/// What stands in a container's name: `[a-zA-Z0-9_.-]`.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Transport;
    use crate::request::tests::{json, post};

    const NONE: &[(&str, &str)] = &[("Content-Length", "0")];

    fn started(container: &str, action: StartAction, extra: Option<StartExtra>) -> Intent {
        Intent::Start(Start { container: container.into(), action, extra, terms: None })
    }

    #[test]
    fn a_start_names_its_container() {
        for (uri, container, action) in [
            ("/v1.41/containers/web/start", "web", StartAction::Start),
            ("/containers/w%65b/start?detachKeys=/images/json", "web", StartAction::Start),
            ("/containers/web/restart?t=0", "web", StartAction::Restart),
            ("/containers/web%2fdb/start", "web/db", StartAction::Start),
            ("/containers/web/start?checkpoint=", "web", StartAction::Start),
        ] {
            assert_eq!(Intent::of(&post(uri, NONE, None)), started(container, action, None), "{uri}");
            // `curl -X POST` sends neither header.
            assert_eq!(Intent::of(&post(uri, &[], None)), started(container, action, None), "{uri}");
        }
    }

    #[test]
    fn a_start_that_is_more_than_one_says_so() {
        let body = started("c", StartAction::Start, Some(StartExtra::Body));
        for headers in [
            &[("Content-Length", "45"), ("Content-Type", "application/json")][..],
            &[("Content-Type", "application/json")],
            &[("Content-Length", "14"), ("Content-Type", "application/x-www-form-urlencoded")],
            &[("Content-Length", "14")],
        ] {
            assert_eq!(Intent::of(&post("/v1.23/containers/c/start", headers, None)), body, "{headers:?}");
        }
        // Neither length nor body: from API 1.24 on the engine acts on none.
        let typed = [("Content-Type", "application/json")];
        for version in ["", "/v1.24", "/v1.41", "/v1.024", "/v2.0"] {
            let intent = Intent::of(&post(&format!("{version}/containers/c/start"), &typed, None));
            assert_eq!(intent, started("c", StartAction::Start, None), "{version}");
        }
        for version in ["/v1.23", "/v1", "/v1..41", "/v.", "/v0.99", "/v1.99999999999999999999"] {
            assert_eq!(Intent::of(&post(&format!("{version}/containers/c/start"), &typed, None)), body, "{version}");
        }
        assert_eq!(Intent::of(&json("/v1.23/containers/c/start", r#"{"Binds":["/:/h"]}"#)), body);
        let checkpoint = started("c", StartAction::Start, Some(StartExtra::Checkpoint));
        for query in ["checkpoint=x", "checkpoint-dir=/x", "%63heckpoint=x"] {
            assert_eq!(Intent::of(&post(&format!("/containers/c/start?{query}"), NONE, None)), checkpoint, "{query}");
        }
        for query in ["checkpoint=;", "checkpoint=&checkpoint=x", "a=%zz"] {
            let intent = Intent::of(&post(&format!("/containers/c/start?{query}"), NONE, None));
            assert!(matches!(intent, Intent::Unreadable(_)), "{query}");
        }
    }

    /// As Portainer's browser side sends them, and dockerode a restart with a timeout.
    #[test]
    fn a_body_that_no_engine_reads_is_no_body() {
        let plain = |action| started("c", action, None);
        for version in ["", "/v1.23", "/v1.41"] {
            for body in ["{}", "null", "{\"a\":1}"] {
                let intent = Intent::of(&json(&format!("{version}/containers/c/start"), body));
                assert_eq!(intent, plain(StartAction::Start), "{version} {body}");
            }
            for body in ["{}", r#"{"t":5}"#, r#"{"Privileged":true}"#] {
                let intent = Intent::of(&json(&format!("{version}/containers/c/restart?t=5"), body));
                assert_eq!(intent, plain(StartAction::Restart), "{version} {body}");
            }
        }
        // One byte more is read, and so is one in chunks.
        let body = started("c", StartAction::Start, Some(StartExtra::Body));
        assert_eq!(Intent::of(&json("/v1.23/containers/c/start", r#"{"a":10}"#)), body);
        let chunked = [("Content-Type", "application/json")];
        assert_eq!(Intent::of(&post("/v1.23/containers/c/start", &chunked, Some("{}"))), body);
        for length in ["8", "10", "07", "+7", "", " 7", "7 "] {
            let headers = [("Content-Type", "application/json"), ("Content-Length", length)];
            assert_eq!(Intent::of(&post("/v1.23/containers/c/start", &headers, None)), body, "{length}");
        }
    }

    /// The daemon waits for a form before it looks the name up, as long as the client likes: longer than a lease holds.
    #[test]
    fn a_form_that_the_daemon_may_wait_for_is_refused() {
        let hidden = Intent::Unreadable(Unreadable::HiddenBody);
        let form = "application/x-www-form-urlencoded";
        for (name, action) in [("start", StartAction::Start), ("restart", StartAction::Restart)] {
            let of =
                |headers: &[(&str, &str)], over| Intent::over(&post(&format!("/v1.41/containers/c/{name}"), headers, None), over);
            for kind in [form, "text/plain", "application/json", ""] {
                for length in ["1", "7"] {
                    let headers = [("Content-Type", kind), ("Content-Length", length)];
                    assert_eq!(of(&headers, Transport::Http1), hidden, "{name} {headers:?}");
                }
                let empty = [("Content-Type", kind), ("Content-Length", "0")];
                assert_eq!(of(&empty, Transport::Http1), started("c", action, None), "{name} {kind}");
                assert_eq!(of(&empty, Transport::MaybeHttp2), Intent::Unreadable(Unreadable::MaybeForm), "{name} {kind}");
            }
            // It waits for none without a Content-Type.
            for length in ["0", "7"] {
                assert_eq!(of(&[("Content-Length", length)], Transport::MaybeHttp2), started("c", action, None), "{name}");
            }
        }
        // In chunks: a start is refused by the daemon before it waits, a restart is not.
        let chunked = post("/v1.41/containers/c/restart", &[("Content-Type", form)], None);
        assert_eq!(Intent::of(&chunked), hidden);
        let long = post("/v1.41/containers/c/restart", &[("Content-Type", form), ("Content-Length", "70")], None);
        assert_eq!(Intent::of(&long), hidden);
    }

    #[test]
    fn an_update_with_a_restart_policy_is_a_start() {
        let of = |body: &str| Intent::of(&json("/v1.41/containers/c/update", body));
        for body in [
            "{}",
            r#"{"Memory":1,"RestartPolicy":{"Name":"","MaximumRetryCount":0}}"#,
            r#"{"RestartPolicy":{"Name":"no"}}"#,
            r#"{"RestartPolicy":{}}"#,
            r#"{"RestartPolicy":null}"#,
            r#"{"HostConfig":{"RestartPolicy":{"Name":"always"}}}"#,
        ] {
            assert!(matches!(of(body), Intent::ContainerAccess(ContainerAccess::Update(_))), "{body}");
        }
        for body in [
            r#"{"RestartPolicy":{"Name":"always"}}"#,
            r#"{"restartpolicy":{"name":"unless-stopped"}}"#,
            r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}"#,
            r#"{"RestartPolicy":{"Name":"No"}}"#,
        ] {
            let Intent::Start(Start { container, action: StartAction::Update, extra: None, terms: Some(terms) }) = of(body)
            else {
                panic!("{body}")
            };
            assert_eq!((container.as_str(), terms.restart == Restart::Never), ("c", false), "{body}");
        }
        let twice = r#"{"RestartPolicy":{"Name":"no"},"restartPolicy":{"Name":"always"}}"#;
        let limits = |body: &str| match of(body) {
            Intent::ContainerAccess(ContainerAccess::Update(terms)) => (terms.memory, terms.pids, terms.cpu.nanos),
            other => panic!("{other:?}"),
        };
        assert_eq!(limits(r#"{"memory":1,"PidsLimit":-1,"NanoCpus":5,"HostConfig":{"Memory":2}}"#), (Some(1), Some(-1), 5));
        assert_eq!(limits(r#"{"PidsLimit":null}"#), (None, None, 0));
        for body in [
            twice,
            r#"{"RestartPolicy":{"Name":"no","NAME":"always"}}"#,
            "[]",
            r#"{"RestartPolicy":"always"}"#,
            r#"{"Memory":"1g"}"#,
            r#"{"Memory":1,"memory":0}"#,
        ] {
            assert!(matches!(of(body), Intent::Unreadable(_)), "{body}");
        }
        let hidden = [("Content-Type", "application/json"), ("Content-Length", "5000000")];
        assert!(matches!(Intent::of(&post("/containers/c/update", &hidden, None)), Intent::Unreadable(_)));
        let trimmed = json("/containers/c%20/update", r#"{"RestartPolicy":{"Name":"always"}}"#);
        assert!(matches!(Intent::of(&trimmed), Intent::Unreadable(Unreadable::Name(_))));
    }

    /// The daemon's grammar, in every call that takes a name: the refused ones are what some engine trims, folds or takes for
    /// another name.
    #[test]
    fn names_are_those_of_the_daemons_grammar() {
        let id = "ab".repeat(32);
        let padded = format!("%20{id}");
        for (name, good) in [
            ("web", true),
            ("/web", true),
            ("0a", true),
            ("W_e.b-1", true),
            ("a--", true),
            ("", false),
            ("/", false),
            ("a", false),
            ("/a", false),
            ("//web", false),
            ("-web", false),
            (".web", false),
            ("_web", false),
            ("web/db", false),
            ("web:1", false),
            ("w%C3%A9b", false),
            ("+web", false),
            ("web%20", false),
            ("%09web", false),
            ("web%0a", false),
            ("web%00", false),
            ("web%0b", false),
            ("web%0c", false),
            ("web%0d", false),
            ("web%C2%85", false),
            ("%C2%A0web", false),
            ("web%E2%80%83", false),
            ("web%E2%80%A8", false),
            ("%E3%80%80web", false),
            ("web%E2%80%8B", false),
            ("web%EF%BB%BF", false),
            (&padded, false),
            (&id, false),
        ] {
            let renamed = Intent::of(&post(&format!("/containers/c/rename?name={name}"), NONE, None));
            assert_eq!(matches!(renamed, Intent::Rename { .. }), good, "rename to {name}: {renamed:?}");
            assert_eq!(matches!(renamed, Intent::Unreadable(_)), !good, "rename to {name}: {renamed:?}");
            let created = Intent::of(&json(&format!("/containers/create?name={name}"), r#"{"Image":"a"}"#));
            // A container without a name gets one from the daemon.
            assert_eq!(matches!(created, Intent::Create(_)), good || name.is_empty(), "create {name}: {created:?}");
        }
        for (name, good) in
            [("web", true), ("a", true), (".", false), ("web%20", false), ("%C2%A0web", false), ("web%E2%80%A8", false)]
        {
            let started = Intent::of(&post(&format!("/containers/{name}/start"), NONE, None));
            assert_eq!(matches!(started, Intent::Start(_)), good, "start {name}: {started:?}");
        }
    }

    #[test]
    fn a_rename_names_both_names() {
        let of = |uri: &str| Intent::of(&post(uri, NONE, None));
        let renamed = |name: &str| Intent::Rename { container: "c".into(), name: name.into() };
        assert_eq!(of("/containers/c/rename?name=web"), renamed("web"));
        assert_eq!(of("/containers/c/rename?name=%2Fweb"), renamed("web"));
        assert_eq!(of("/containers/c/rename?name=a&name=b"), Intent::Unreadable(Unreadable::Query("name".into())));
        let id = "ab".repeat(32);
        for name in [id.clone(), format!("/{id}")] {
            assert!(matches!(of(&format!("/containers/c/rename?name={name}")), Intent::Unreadable(_)), "{name}");
        }
        assert!(matches!(of("/containers/c/rename"), Intent::Unreadable(Unreadable::Name(_))));
        let shorter = "a".repeat(63);
        assert_eq!(of(&format!("/containers/c/rename?name={shorter}")), renamed(&shorter));
        let form = [("Content-Length", "8"), ("Content-Type", "application/x-www-form-urlencoded")];
        let hidden = Intent::of(&post("/containers/c/rename?name=web", &form, None));
        assert_eq!(hidden, Intent::Unreadable(Unreadable::HiddenBody));
    }
}
