//! `[verifiers.NAME]`: somebody who vouches for images, by type.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::attestations;
use super::table::{Section, Value};
use super::write::{list, quoted};
use crate::policy::fault::Position;
use crate::policy::resolved::{
    AllowlistSettings, CosignSettings, FRESHNESS, FRESHNESS_MOST, Given, NotarySettings, NotationSettings, STALE_LIMIT,
    STALE_LIMIT_MOST, VerifierSettings, notary_source,
};
use crate::trust::VerifierName;
use crate::trust::notary::{OnOutage, RequiredSigners, Source, signer};
use crate::trust::sigstore::{IDENTITIES, Identity};
use crate::trust::tuf::RoleName;

/// The file in which a text stands that a variable holds.
const ROOT_CA: &str = "notary-ca.crt";
const PINS: &str = "pins.json";
const LIST_KEY: &str = "allowlist.pub";
/// Most signers that must agree. Each is looked at in every decision.
const SIGNERS: usize = 16;
/// Most files of keys of one verifier.
const KEYS: usize = 16;

#[derive(Debug, Clone, Copy)]
enum Type {
    Notary,
    Allowlist,
    Registry,
    Cosign,
    Notation,
    Attestation,
}

/// Reads one; a name that is there already is a fault with both places.
pub(super) fn read(name: &str, value: &Value<'_>, verifiers: &mut BTreeMap<VerifierName, (VerifierSettings, Position)>) {
    let Some(section) = value.section() else { return };
    let name: Option<VerifierName> =
        name.parse().map_err(|error: crate::trust::VerifierNameError| section.fault(error.to_string())).ok();
    let types = [
        ("notary", Type::Notary),
        ("allowlist", Type::Allowlist),
        ("registry", Type::Registry),
        ("cosign", Type::Cosign),
        ("notation", Type::Notation),
        ("attestation", Type::Attestation),
    ];
    let Some(kind) = section.required("type").and_then(|value| value.choice(&types)) else { return };
    let settings = match kind {
        Type::Notary => notary(&section).map(VerifierSettings::Notary),
        Type::Allowlist => allowlist(&section).map(VerifierSettings::Allowlist),
        Type::Registry => Some(VerifierSettings::Registry),
        Type::Cosign => cosign(&section).map(VerifierSettings::Cosign),
        Type::Notation => notation(&section).map(VerifierSettings::Notation),
        Type::Attestation => attestations::read(&section).map(VerifierSettings::Attestation),
    };
    let position = section.position();
    if let Some((_, earlier)) = name.as_ref().and_then(|name| verifiers.get(name)) {
        section.fault(format!("is there already, in {earlier}"));
    }
    section.finish();
    if let (Some(name), Some(settings)) = (name, settings) {
        verifiers.entry(name).or_insert((settings, position));
    }
}

fn allowlist(section: &Section<'_>) -> Option<AllowlistSettings> {
    let file = section.required("file").and_then(|value| value.path());
    // One that is not read must not leave a list that needs no signature.
    let key = section.get("key").map(|value| value.path().map(Given::File));
    Some(AllowlistSettings { file: file?, key: key.map_or(Some(None), |key| key.map(Some))? })
}

/// Whose signatures count: files of public keys and signers with certificates, any one of which is enough; by which root they are proven, and how
/// long what verified is not asked about.
fn cosign(section: &Section<'_>) -> Option<CosignSettings> {
    let keys = section.get("keys").map(|value| key_files(&value));
    let trusted_root = section.get("trusted_root").map(|value| value.path());
    let identities = section.get("identities").map(|value| identities(&value));
    let recheck = section.get("recheck").and_then(|value| value.recheck());
    if keys.is_none() && identities.is_none() {
        section.fault("has neither `keys` nor `identities`: nobody could sign");
        return None;
    }
    if identities.is_some() && trusted_root.is_none() {
        section.fault("has `identities` and no `trusted_root`: nothing would prove a certificate (img-authz trust root --help)");
        return None;
    }
    // What is written and faulty has been told.
    let keys = keys.map_or(Some(Vec::new()), |keys| keys)?;
    let trusted_root = trusted_root.map_or(Some(None), |root| root.map(Some))?;
    let identities = identities.map_or(Some(Vec::new()), |identities| identities)?;
    Some(CosignSettings { keys, trusted_root, identities, recheck })
}

/// Files of public keys.
fn key_files(value: &Value<'_>) -> Option<Vec<PathBuf>> {
    let mut keys = Vec::new();
    for file in value.list_or_one(KEYS)? {
        let path = file.path()?;
        if keys.contains(&path) {
            file.fault("is named twice");
        }
        keys.push(path);
    }
    if keys.is_empty() {
        value.fault("names no file; without a key nobody can sign");
        return None;
    }
    Some(keys)
}

/// Signers with certificates: issuer and subject of each.
fn identities(value: &Value<'_>) -> Option<Vec<Identity>> {
    let (mut identities, mut are_good) = (Vec::new(), true);
    for one in value.list(IDENTITIES)? {
        let section = one.section()?;
        let text = |key| section.required(key).and_then(|value| value.text().map(str::to_owned));
        let (issuer, subject) = (text("issuer"), text("subject"));
        let found = issuer.zip(subject).map(|(issuer, subject)| Identity { issuer, subject });
        if let Some(fault) = found.as_ref().and_then(Identity::fault) {
            section.fault(fault);
            are_good = false;
        }
        section.finish();
        match found {
            Some(found) if identities.contains(&found) => one.fault("is there twice"),
            Some(found) => identities.push(found),
            None => are_good = false,
        }
    }
    if identities.is_empty() && are_good {
        value.fault("names nobody; leave it out, or name a signer");
        return None;
    }
    Some(identities).filter(|_| are_good)
}

/// notation's own files, and how long what verified is not asked about.
fn notation(section: &Section<'_>) -> Option<NotationSettings> {
    let path = |key| section.required(key).and_then(|value| value.path());
    let (trust_policy, trust_store) = (path("trust_policy"), path("trust_store"));
    let crls = section.get("crls").map(|value| value.path());
    let fetch = section.get("revocation_fetch").and_then(|value| value.truth()).unwrap_or_default();
    let recheck = section.get("recheck").and_then(|value| value.recheck());
    // A folder that is named wrongly is none that was left out.
    let crls = match crls {
        Some(path) => Some(path?),
        None => None,
    };
    Some(NotationSettings { trust_policy: trust_policy?, trust_store: trust_store?, crls, fetch, recheck })
}

fn notary(section: &Section<'_>) -> Option<NotarySettings> {
    let server = section.required("server");
    let source = server.and_then(|value| match notary_source(value.text()?) {
        Ok(Some(source)) => Some(source),
        Ok(None) => {
            value.fault("a verifier that is off vouches for nothing; leave it out");
            None
        }
        Err(message) => {
            value.fault(message);
            None
        }
    });
    let file = |key| section.get(key).and_then(|value| value.path()).map(Given::File);
    let (root_ca, pins) = (file("root_ca"), file("pins"));
    let signers = section
        .get("signers")
        .map(|value| if value.is_list() || value.is_text() { everywhere(&value) } else { by_repository(&value) });
    let freshness = section.get("freshness").and_then(|value| value.number("seconds", 0..=FRESHNESS_MOST));
    let on_outage = [("run", OnOutage::UseKnown), ("deny", OnOutage::Deny)];
    let on_outage = section.get("on_outage").and_then(|value| value.choice(&on_outage)).unwrap_or_default();
    let stale_limit = section.get("stale_limit").and_then(|value| value.number("hours", 1..=STALE_LIMIT_MOST));
    let source = source?;
    let stale_limit = match (stale_limit, &source) {
        (Some(hours), _) => Duration::from_hours(hours),
        // Bundles come when somebody carries them: where nobody said how often, their own dates alone end their use.
        (None, Source::Import) => Duration::MAX,
        (None, Source::Server(_)) => Duration::from_hours(STALE_LIMIT),
    };
    Some(NotarySettings {
        source,
        root_ca,
        pins,
        signers: signers.unwrap_or_default(),
        freshness: Duration::from_secs(freshness.unwrap_or(FRESHNESS)),
        on_outage,
        stale_limit,
    })
}

/// Signers of every repository that the verifier is asked about.
fn everywhere(value: &Value<'_>) -> RequiredSigners {
    let mut out: Vec<RoleName> = Vec::new();
    for value in value.list_or_one(SIGNERS).unwrap_or_default() {
        match value.text().map(signer) {
            Some(Ok(role)) if out.contains(&role) => value.fault("is named twice"),
            Some(Ok(role)) => out.push(role),
            Some(Err(error)) => value.fault(error.to_string()),
            None => {}
        }
    }
    RequiredSigners::everywhere(out)
}

/// Signers by repository, as the variable `NOTARY_SIGNERS` has them.
fn by_repository(value: &Value<'_>) -> RequiredSigners {
    let Some(section) = value.section() else { return RequiredSigners::default() };
    let mut rules = Vec::new();
    for (repository, value) in section.entries() {
        let names = value.list(SIGNERS).unwrap_or_default();
        let names: Vec<&str> = names.iter().filter_map(Value::text).collect();
        if repository.contains(['=', ';', '\n', '\r']) || names.iter().any(|name| name.contains(['=', ',', ';', '\n', '\r'])) {
            value.fault("is not a repository with a list of signers");
        } else {
            rules.push(format!("{repository}={}", names.join(",")));
        }
    }
    RequiredSigners::read(&rules.join(";")).unwrap_or_else(|errors| {
        for error in &errors {
            value.fault(error.to_string());
        }
        RequiredSigners::default()
    })
}

/// The keys of a verifier, and what stands behind them, as [`read`] reads them. What a variable holds as a text, and the file names as a
/// file, is named in a comment.
pub(in crate::policy) fn lines(settings: &VerifierSettings) -> Vec<(&'static str, String)> {
    let mut out = vec![("type", quoted(settings.kind()))];
    match settings {
        VerifierSettings::Notary(settings) => notary_lines(settings, &mut out),
        VerifierSettings::Allowlist(AllowlistSettings { file, key }) => {
            out.push(("file", quoted(&file.display().to_string())));
            out.extend(key.as_ref().map(|key| ("key", shown(key, LIST_KEY, "ALLOWLIST_KEY"))));
        }
        VerifierSettings::Registry => {}
        VerifierSettings::Cosign(CosignSettings { keys, trusted_root, identities, recheck }) => {
            if !keys.is_empty() {
                out.push(("keys", list(keys.iter().map(|path| path.display().to_string()))));
            }
            out.extend(trusted_root.as_ref().map(|path| ("trusted_root", quoted(&path.display().to_string()))));
            if !identities.is_empty() {
                let one = |Identity { issuer, subject }: &Identity| {
                    format!("{{ issuer = {}, subject = {} }}", quoted(issuer), quoted(subject))
                };
                out.push(("identities", format!("[{}]", identities.iter().map(one).collect::<Vec<_>>().join(", "))));
            }
            out.extend(recheck_line(*recheck));
        }
        VerifierSettings::Notation(NotationSettings { trust_policy, trust_store, crls, fetch, recheck }) => {
            out.push(("trust_policy", quoted(&trust_policy.display().to_string())));
            out.push(("trust_store", quoted(&trust_store.display().to_string())));
            out.extend(crls.iter().map(|path| ("crls", quoted(&path.display().to_string()))));
            out.extend(fetch.then(|| ("revocation_fetch", "true".to_owned())));
            out.extend(recheck_line(*recheck));
        }
        VerifierSettings::Attestation(settings) => attestations::lines(settings, &mut out),
    }
    out
}

fn recheck_line(recheck: Option<Duration>) -> Option<(&'static str, String)> {
    recheck.map(|recheck| ("recheck", (recheck.as_secs() / 3600).to_string()))
}

/// What was given as a file; what was given as a text, as the file that it should be written to.
fn shown(given: &Given, file: &str, variable: &str) -> String {
    match given {
        Given::Text(_) => format!("{}   # write the text of {variable} to this file", quoted(file)),
        Given::File(path) => quoted(&path.display().to_string()),
    }
}

fn notary_lines(settings: &NotarySettings, out: &mut Vec<(&'static str, String)>) {
    let mut line = |key, value: String| out.push((key, value));
    let server = match &settings.source {
        Source::Server(server) => server.as_str(),
        Source::Import => "import",
    };
    line("server", quoted(server));
    if let Some(root_ca) = &settings.root_ca {
        line("root_ca", shown(root_ca, ROOT_CA, "NOTARY_ROOT_CA"));
    }
    if let Some(pins) = &settings.pins {
        line("pins", shown(pins, PINS, "NOTARY_PINS"));
    }
    let rules: Vec<(String, Vec<&str>)> = settings.signers.rules().collect();
    let names = |names: &[&str]| list(names.iter().map(|name| (*name).to_owned()));
    match rules.as_slice() {
        [] => {}
        [(everywhere, signers)] if everywhere == "*" => line("signers", names(signers)),
        rules => {
            let rules: Vec<String> = rules.iter().map(|(key, signers)| format!("{} = {}", quoted(key), names(signers))).collect();
            line("signers", format!("{{ {} }}", rules.join(", ")));
        }
    }
    if settings.freshness != Duration::from_secs(FRESHNESS) {
        line("freshness", settings.freshness.as_secs().to_string());
    }
    if settings.on_outage == OnOutage::Deny {
        line("on_outage", quoted("deny"));
    }
    let default = match settings.source {
        Source::Server(_) => Duration::from_hours(STALE_LIMIT),
        Source::Import => Duration::MAX,
    };
    if settings.stale_limit != default {
        line("stale_limit", (settings.stale_limit.as_secs() / 3600).to_string());
    }
}
