//! `POST /containers/N/start`, `/restart` and `/rename`.

use super::query::Query;
use super::{Asked, Intent, Start, StartAction, StartExtra, Unreadable};
use crate::wire::Call;

/// What the call would start.
pub(super) fn start(container: &str, action: StartAction, asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    let extra = if may_have_body(asked.call) {
        Some(StartExtra::Body)
    } else {
        // With no body there is no form that could stand above the query.
        let query = Query::read(asked.target.query)?;
        let restored = query.one("checkpoint")?.is_some() || query.one("checkpoint-dir")?.is_some();
        restored.then_some(StartExtra::Checkpoint)
    };
    Ok(Intent::Start(Start { container: container.to_owned(), action, extra }))
}

/// Whether dockerd may act on a body. Without a Content-Type it acts on none: it is neither JSON nor a form.
fn may_have_body(call: &Call) -> bool {
    let length = call.header("Content-Length");
    call.body.is_some() || (length != Some("0") && (length.is_some() || call.header("Content-Type").is_some()))
}

/// What the call would rename.
pub(super) fn rename(container: &str, asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    let query = Query::of_form(asked)?;
    let name = query.one("name")?.unwrap_or_default();
    Ok(Intent::Rename { container: container.to_owned(), name: new_name(name)? })
}

/// A name that a container is to have, without its slash. One that looks like a whole id is refused: a start by it would mean
/// this container once the one of that id is gone.
pub(super) fn new_name(name: &str) -> Result<String, Unreadable> {
    let name = name.strip_prefix('/').unwrap_or(name);
    if name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Unreadable::Reference("a container's name must not look like a container's id".to_owned()));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::{json, post};

    const NONE: &[(&str, &str)] = &[("Content-Length", "0")];

    fn started(container: &str, action: StartAction, extra: Option<StartExtra>) -> Intent {
        Intent::Start(Start { container: container.into(), action, extra })
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

    #[test]
    fn a_rename_names_both_names() {
        let of = |uri: &str| Intent::of(&post(uri, NONE, None));
        let renamed = |name: &str| Intent::Rename { container: "c".into(), name: name.into() };
        assert_eq!(of("/containers/c/rename?name=web"), renamed("web"));
        assert_eq!(of("/containers/c/rename?name=%2Fweb"), renamed("web"));
        assert_eq!(of("/containers/c/rename"), renamed(""));
        assert_eq!(of("/containers/c/rename?name=a&name=b"), Intent::Unreadable(Unreadable::Query("name".into())));
        let id = "ab".repeat(32);
        for name in [id.clone(), format!("/{id}")] {
            assert!(matches!(of(&format!("/containers/c/rename?name={name}")), Intent::Unreadable(_)), "{name}");
        }
        let shorter = "a".repeat(63);
        assert_eq!(of(&format!("/containers/c/rename?name={shorter}")), renamed(&shorter));
        let form = [("Content-Length", "8"), ("Content-Type", "application/x-www-form-urlencoded")];
        let hidden = Intent::of(&post("/containers/c/rename?name=web", &form, None));
        assert_eq!(hidden, Intent::Unreadable(Unreadable::HiddenBody));
    }
}
