//! `policy.json` of podman, skopeo, CRI-O (containers-policy.json(5)). It asks for GPG or sigstore signatures, or for nothing: none of that
//! has a verifier here, so what it says becomes scopes that refuse.

use super::draft::Draft;
use super::json::Json;
use super::{ImportError, form, shown};
use crate::policy::scope::Pattern;

/// The members of each type of requirement.
const ACCEPT: &str = "insecureAcceptAnything";
const TYPES: [(&str, &[&str]); 4] = [
    ("reject", &["type"]),
    (ACCEPT, &["type"]),
    ("signedBy", &["type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity"]),
    (
        "sigstoreSigned",
        &[
            "type",
            "keyPath",
            "keyPaths",
            "keyData",
            "keyDatas",
            "fulcio",
            "pki",
            "rekorPublicKeyPath",
            "rekorPublicKeyPaths",
            "rekorPublicKeyData",
            "rekorPublicKeyDatas",
            "signedIdentity",
        ],
    ),
];

pub(super) fn read(json: &Json, draft: &mut Draft) -> Result<(), ImportError> {
    json.object("the file", &["default", "transports"])?;
    let default = json.get("default").ok_or_else(|| form("default", "is missing"))?;
    requirements("default", default, "images that no scope matches are refused", draft)?;
    let Some(transports) = json.get("transports") else { return Ok(()) };
    for (transport, scopes) in transports.members("transports")? {
        let place = format!("transports.{transport}");
        for (scope, value) in scopes.members(&place)? {
            let place = format!("{place}.\"{scope}\"");
            if transport == "docker" {
                self::scope(&place, scope, value, draft)?;
            } else {
                requirements(&place, value, "", &mut Draft::default())?;
                draft.leave_out(place, "is not about images of registries, and so not for this gate");
            }
        }
    }
    Ok(())
}

fn scope(place: &str, scope: &str, value: &Json, draft: &mut Draft) -> Result<(), ImportError> {
    // A scope is a repository and all below it, a folder, a registry; the tag or digest of one image comes behind.
    let last = scope.rsplit('/').next().unwrap_or_default();
    let name = match (scope.split_once('@'), last.split_once(':')) {
        (Some((name, _)), _) => name,
        (None, Some((_, tag))) if scope.contains('/') => scope.strip_suffix(&format!(":{tag}")).unwrap_or(scope),
        (None, _) => scope,
    };
    let pattern = match (scope, scope.strip_prefix("*.")) {
        ("", _) => Err("is about all registries: images that no scope matches are refused".to_owned()),
        (_, Some(_)) => {
            Err("is about all hosts of a domain, which no scope can be: they are refused, as no scope matches them".to_owned())
        }
        (_, None) => format!("{name}/**").parse::<Pattern>().map_err(|error| format!("is not carried over: {error}")),
    };
    requirements(place, value, "the scope refuses", draft)?;
    match pattern {
        Ok(pattern) => {
            if name != scope {
                draft.leave_out(place, format!("is about one tag or digest; all of {} is refused", shown(name)));
            }
            draft.refuse([pattern]);
        }
        Err(why) => draft.leave_out(place, why),
    }
    Ok(())
}

/// What is required in one place: all of these.
fn requirements(place: &str, value: &Json, instead: &str, draft: &mut Draft) -> Result<(), ImportError> {
    let all = value.list(place)?;
    if all.is_empty() {
        return Err(form(place, "is an empty list, which containers' tools refuse"));
    }
    for (number, one) in all.iter().enumerate() {
        let place = format!("{place}[{number}]");
        let kind = one.get("type").ok_or_else(|| form(&place, "has no `type`"))?.text(&place)?;
        let members = TYPES.iter().find(|(name, _)| *name == kind).map(|(_, members)| *members);
        one.object(&place, members.ok_or_else(|| form(&place, format!("{} is not a type of requirement", shown(kind))))?)?;
        let why = match kind {
            "reject" => continue,
            ACCEPT => {
                "accepts whatever the registry holds, which is not carried over. To accept it on purpose, write require = \"registry\" in place \
                 of refuse = true, and [verifiers.registry] with type = \"registry\""
            }
            "signedBy" => "asks for a GPG signature, for which this gate has no verifier",
            _ => "asks for a sigstore signature, for which this gate has no verifier yet",
        };
        let mirror = one.get("signedIdentity").and_then(|identity| identity.get("signedPrefix"));
        let mirror = if mirror.is_some() { " (remapIdentity: see `origin`, a mirror)" } else { "" };
        draft.leave_out(place, format!("{why}; {instead}{mirror}"));
    }
    Ok(())
}
