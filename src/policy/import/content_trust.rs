//! `content-trust` of `daemon.json` (Mirantis): which roots count for which repositories.

use std::collections::{BTreeMap, HashSet};

use super::draft::{Draft, beside, notary, notary_of};
use super::json::Json;
use super::{ImportError, form, shown};
use crate::image::Repository;
use crate::policy::resolved::VerifierSettings;
use crate::policy::scope::{Pattern, Requirement};
use crate::trust::notary::OnOutage;

const PINS: &str = "pins.json";

pub(super) fn read(json: &Json, draft: &mut Draft) -> Result<(), ImportError> {
    const PLACE: &str = "content-trust";
    // What else the daemon is told is not about trust.
    let trust = json.get(PLACE).ok_or_else(|| form(PLACE, "is missing"))?;
    trust.object(PLACE, &["mode", "trust-pinning", "allow-expired-cached-trust-data"])?;
    match trust.get("mode").map(|mode| mode.text("content-trust.mode")).transpose()?.unwrap_or("disabled") {
        "enforced" => {}
        "permissive" => draft.permissive(),
        "disabled" => draft.leave_out(
            "content-trust.mode",
            "is `disabled`: nothing is verified, which is not carried over. To record without refusing, write mode = \"permissive\"",
        ),
        other => return Err(form("content-trust.mode", format!("{} is not a mode", shown(other)))),
    }
    let expired = trust.get("allow-expired-cached-trust-data").map(|value| value.truth(PLACE)).transpose()?;
    let on_outage = if expired == Some(true) { OnOutage::UseKnown } else { OnOutage::Deny };
    if expired == Some(true) {
        let why = "is carried over as on_outage = \"run\": trust data is used until it expires, not longer";
        draft.leave_out("content-trust.allow-expired-cached-trust-data", why);
    }
    let Some(pinning) = trust.get("trust-pinning") else {
        draft.leave_out("content-trust.trust-pinning", "is missing: there is no scope, so every image is refused");
        return Ok(());
    };
    pinning.object("content-trust.trust-pinning", &["root-keys", "cert-ids", "official-library-images"])?;
    let place = |name: &str| format!("content-trust.trust-pinning.{name}");
    if let Some(official) = pinning.get("official-library-images") {
        let place = place("official-library-images");
        if official.truth(&place)? {
            draft.leave_out(place, "rests on a key that is built into that engine and not at hand: no scope matches these images, so they are refused");
        }
    }
    let mut of_keys: Vec<Pattern> = Vec::new();
    for (scope, ids) in pinning.get("root-keys").map(|keys| keys.members(&place("root-keys"))).transpose()?.unwrap_or_default() {
        let place = format!("{}.\"{scope}\"", place("root-keys"));
        ids.texts(&place)?;
        match scope.parse::<Pattern>() {
            Ok(pattern) => {
                of_keys.push(pattern);
                draft.leave_out(
                    place,
                    "names root keys by canonical id; pins here name certificates. The scope refuses until you write the certificate's id \
                     into pins.json (img-authz trust inspect), and require in place of refuse",
                );
            }
            Err(error) => draft.leave_out(place, format!("is not carried over: {error}")),
        }
    }
    let mut certs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut vouched = Vec::new();
    for (name, ids) in pinning.get("cert-ids").map(|ids| ids.members(&place("cert-ids"))).transpose()?.unwrap_or_default() {
        let place = format!("{}.\"{name}\"", place("cert-ids"));
        let ids = ids.texts(&place)?;
        let Some(repository) = name.parse::<Repository>().ok().filter(|repository| repository.as_str() == name) else {
            draft.leave_out(place, "is not a whole name of a repository, and no scope matches it");
            continue;
        };
        let Ok(pattern) = name.parse::<Pattern>() else {
            draft.leave_out(place, "is not a pattern, and no scope matches it");
            continue;
        };
        let is_id = |id: &&str| id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if ids.is_empty() || !ids.iter().all(is_id) {
            draft.leave_out(place, "has an id that is not 64 lower-case hex digits; the scope refuses");
            draft.refuse([pattern]);
        } else if of_keys.iter().any(|keys| keys.matches(&repository)) {
            draft.leave_out(place, "is under `root-keys` as well, which cannot be asked for; the scope refuses");
            draft.refuse([pattern]);
        } else {
            certs.insert(name.clone(), ids.into_iter().map(str::to_owned).collect());
            vouched.push((repository, pattern));
        }
    }
    let mut hosts = HashSet::new();
    for (repository, pattern) in vouched {
        let host = repository.host();
        let mut settings = notary(notary_of(&host));
        settings.pins = Some(beside(PINS));
        settings.on_outage = on_outage;
        let name = draft.verifier(&format!("notary-{host}"), VerifierSettings::Notary(settings));
        if host.is_docker_hub() && hosts.insert(host) {
            draft.leave_out(place("cert-ids"), "Docker Hub's Notary closes on 2026-12-08; from then on these images are refused");
        }
        draft.scopes([pattern], &Requirement::One(name));
    }
    if !certs.is_empty() {
        let pins = serde_json::json!({ "disable_tofu": true, "certs": certs });
        draft.file(PINS, format!("{pins:#}\n"));
    }
    draft.refuse(untied(of_keys));
    Ok(())
}

/// Patterns of which no two tie: such could not stand in one policy, and what no scope matches is refused.
fn untied(patterns: Vec<Pattern>) -> Vec<Pattern> {
    let mut kept: Vec<Pattern> = Vec::new();
    for pattern in patterns {
        if !kept.iter().any(|other| other.ties_with(&pattern)) {
            kept.push(pattern);
        }
    }
    kept
}
