//! `POST /plugins/pull`, `/plugins/N/upgrade`, `/plugins/create`, and what is done to an installed plugin.

use std::str::FromStr as _;

use super::query::Query;
use super::{Asked, Intent, PluginCall, PluginChange, Unreadable};
use crate::image::{Reference, ReferenceError};

/// What a pull would install.
pub(super) fn pull(asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    let query = Query::of_form(asked)?;
    let remote = reference(query.one("remote")?.unwrap_or_default())?;
    let name = query.one("name")?.map(reference).transpose()?.unwrap_or_else(|| remote.clone());
    // A digest given as the name is an error of the daemon's; one of the remote reference is dropped, its tag is kept.
    let name = Some(Reference { digest: None, ..name }.or_latest());
    Ok(Intent::Plugin(PluginCall::Pull { remote, name }))
}

/// What an upgrade would put in a plugin's place.
pub(super) fn upgrade(plugin: &str, asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    let query = Query::of_form(asked)?;
    let remote = reference(query.one("remote")?.unwrap_or_default())?;
    Ok(Intent::Plugin(PluginCall::Upgrade { plugin: plugin.to_owned(), remote }))
}

/// What a create would make. A form body that gave another name would be read instead of the archive, and no plugin come of it,
/// so the query is sure here.
pub(super) fn create(asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    let query = Query::read(asked.target.query)?;
    let name = query.one("name")?.unwrap_or_default().to_owned();
    // What is no reference is no plugin's name; an engine that trims it would give another name than the one looked at.
    reference(&name)?;
    Ok(Intent::Plugin(PluginCall::Create { name }))
}

/// What is done to an installed plugin. The daemon waits for a form before it looks the plugin up, for as long as the client likes; of a
/// DELETE it reads none.
pub(super) fn change(plugin: &str, change: PluginChange, asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    let change = match change {
        PluginChange::Enable | PluginChange::Disable | PluginChange::Set => Query::of_form(asked).map(|_| change)?,
        PluginChange::Remove | PluginChange::RemoveByForce => {
            let query = Query::read(asked.target.query)?;
            if is_true(query.one("force")?) { PluginChange::RemoveByForce } else { PluginChange::Remove }
        }
    };
    Ok(Intent::Plugin(PluginCall::Change { plugin: plugin.to_owned(), change }))
}

/// As dockerd reads a switch (moby, `httputils.BoolValue`): whatever is not one of these is a yes.
fn is_true(value: Option<&str>) -> bool {
    let value = value.unwrap_or_default().trim().to_lowercase();
    !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
}

fn reference(text: &str) -> Result<Reference, Unreadable> {
    let reference = Reference::from_str(text).map(Reference::or_latest);
    reference.map_err(|error: ReferenceError| Unreadable::Reference(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::{json, post};
    use crate::wire::Call;

    #[test]
    fn a_plugin_call_names_what_it_installs() {
        let of = |uri: &str| Intent::of(&json(uri, "[]"));
        let read = |text: &str| text.parse::<Reference>().unwrap();
        assert_eq!(
            of("/plugins/pull?remote=r.example/p&name=q"),
            Intent::Plugin(PluginCall::Pull {
                remote: read("r.example/p:latest"),
                name: Some(read("docker.io/library/q:latest"))
            })
        );
        assert_eq!(
            of("/v1.41/plugins/pull?remote=r.example/p:1"),
            Intent::Plugin(PluginCall::Pull { remote: read("r.example/p:1"), name: Some(read("r.example/p:1")) })
        );
        let digest = format!("r.example/p@sha256:{}", "0a".repeat(32));
        assert_eq!(
            of(&format!("/plugins/pull?remote={digest}")),
            Intent::Plugin(PluginCall::Pull { remote: read(&digest), name: Some(read("r.example/p:latest")) })
        );
        assert_eq!(
            of("/plugins/a/b/upgrade?remote=r.example/p:1"),
            Intent::Plugin(PluginCall::Upgrade { plugin: "a/b".into(), remote: read("r.example/p:1") })
        );
        let tar = [("Content-Type", "application/x-tar")];
        let created = Intent::Plugin(PluginCall::Create { name: "px".into() });
        assert_eq!(Intent::of(&post("/plugins/create?name=px", &tar, None)), created);
        for (query, change) in [
            ("", PluginChange::Remove),
            ("?force=0", PluginChange::Remove),
            ("?force=", PluginChange::Remove),
            ("?force=%20False", PluginChange::Remove),
            ("?Force=1", PluginChange::Remove),
            ("?force=1", PluginChange::RemoveByForce),
            ("?force=true", PluginChange::RemoveByForce),
            ("?f%6frce=on", PluginChange::RemoveByForce),
        ] {
            let changed = Intent::Plugin(PluginCall::Change { plugin: "a/p:1".into(), change });
            let uri = format!("/plugins/a/p:1{query}");
            assert_eq!(Intent::of(&Call { method: "DELETE".into(), ..post(&uri, &[], None) }), changed, "{uri}");
        }
    }

    #[test]
    fn a_plugin_call_that_reads_two_ways_is_refused() {
        for uri in [
            "/plugins/pull",
            "/plugins/pull?remote=A",
            "/plugins/pull?remote=a&remote=b",
            "/plugins/pull?remote=a&name=B",
            "/plugins/p/upgrade?remote=x;&remote=b",
            "/plugins/create?name=a&name=b",
            "/plugins/create?name=%20img-authz",
            "/plugins/create?name=img-authz%C2%A0",
            "/plugins/create",
        ] {
            assert!(matches!(Intent::of(&json(uri, "[]")), Intent::Unreadable(_)), "{uri}");
        }
        let twice = post("/plugins/p?force=0&force=1", &[], None);
        assert!(matches!(Intent::of(&Call { method: "DELETE".into(), ..twice }), Intent::Unreadable(_)));
        let form = [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "9")];
        let uris = [
            "/plugins/pull?remote=a",
            "/plugins/p/upgrade?remote=a",
            "/plugins/p/enable",
            "/plugins/p/disable",
            "/plugins/p/set",
        ];
        for uri in uris {
            assert_eq!(Intent::of(&post(uri, &form, None)), Intent::Unreadable(Unreadable::HiddenBody));
        }
    }
}
