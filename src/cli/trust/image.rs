//! `trust inspect` of an image: all that lies beside it in its registry, of every kind, and which verifiers of the policy each counts for.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::judges::Judges;
use super::{Common, Stop, check, to_json};
use crate::clock;
use crate::image::{Digest, Reference, Repository};
use crate::net::NetError;
use crate::policy::Settings;
use crate::registry::{Registry, RegistryError, Wanted};
use crate::setup::{self, Kept};
use crate::text::clean;
use crate::trust::beside::{Beside, Item, Kind};
use crate::trust::notary::RequiredSigners;
use crate::trust::{Asking, Claims, Keeping, Purpose, Signer, TrustCode, TrustError, VerifierName};

/// How long all questions to the registry about one image may take, and all judging: a person waits longer than dockerd does.
pub(super) const LOOK_TIME: Duration = Duration::from_secs(30);

/// Whether an image is meant, and not what a Notary has of its repository: by a tag or a digest, or because there is no Notary.
pub(super) fn is_meant(reference: &Reference, common: &Common, settings: &Settings) -> bool {
    reference.tag.is_some() || reference.digest.is_some() || !has_notary(common, settings)
}

/// Whether a Notary is named: here, or in the settings.
pub(super) fn has_notary(common: &Common, settings: &Settings) -> bool {
    if common.server.is_some() {
        return true;
    }
    match settings.policy_file() {
        Some(_) => settings.resolve(false).is_ok_and(|resolved| resolved.notaries().next().is_some()),
        // Without any word of it Docker's own is meant.
        None => settings.get("NOTARY").is_none_or(|written| written.trim() != "off"),
    }
}

/// Registries, as a person asks them.
pub(in crate::cli) fn registry(settings: &Settings) -> Result<Registry, String> {
    let credentials = setup::credentials_of_person(settings)?;
    Ok(setup::registry(settings, credentials, std::collections::HashMap::new()))
}

/// An image and what lies beside it, where not to find it is the answer.
pub(super) async fn found(registry: &Registry, repository: &Repository, wanted: &Wanted) -> Result<Beside, Stop> {
    Beside::of(registry, repository, wanted, Instant::now() + LOOK_TIME).await.map_err(|error| {
        let code = match &error {
            RegistryError::NotFound { .. } => TrustCode::NotInRegistry,
            RegistryError::Denied { .. } | RegistryError::Net(NetError::Unauthorized { .. }) => TrustCode::Unauthorized,
            RegistryError::Misconfigured { .. } => return Stop::Unknown(error.to_string()),
            _ => TrustCode::Unreachable,
        };
        Stop::Refused { code: code.as_str(), message: error.to_string() }
    })
}

/// What a verifier says of one thing.
#[derive(Serialize)]
struct Verdict {
    verifier: String,
    counts: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Verdict {
    fn no(name: &VerifierName, error: &TrustError) -> Self {
        let (code, why) = (Some(error.code.as_str()), Some(error.to_string()));
        Self { verifier: name.to_string(), counts: false, signers: Vec::new(), code, why }
    }
}

/// All that lies beside an image.
pub(super) async fn inspect(
    reference: &Reference,
    common: &Common,
    policy: Option<&std::path::Path>,
    settings: &Settings,
    kept: Kept,
) -> Result<String, Stop> {
    let (judges, unjudged) = match (policy, settings.policy_file()) {
        (Some(path), _) => (Some(Judges::of_file(path, common.state.as_deref(), settings)?), None),
        // What is written and cannot be read judges nothing; the signatures are shown all the same.
        (None, Some(_)) => match Judges::of(settings, kept) {
            Ok(judges) => (Some(judges), None),
            Err(stop) => (None, Some(stop.message())),
        },
        (None, None) => (None, Some("there is no policy file: name one with --policy".to_owned())),
    };
    let mut asks = reference.repository.clone();
    let (mut names, mut unjudged) = (Vec::new(), unjudged);
    if let Some(judges) = &judges {
        match judges.scope(&reference.repository) {
            Ok((scope, repository)) => {
                names = scope.require.verifiers().into_iter().cloned().collect();
                asks = repository;
            }
            Err(stop) => unjudged = Some(stop.message()),
        }
    }
    let registry = registry(settings).map_err(Stop::Unknown)?;
    let beside = found(&registry, &asks, &Wanted::of(reference)).await?;
    let of_kind =
        |name: &&VerifierName, item: &Item| judges.as_ref().is_some_and(|judges| judges.kind(name) == item.kind.as_str());
    // First all, so that no older scan is shown as one that counts beside a newer one.
    for item in beside.items.iter().filter(|item| item.kind == Kind::Attestation) {
        for (name, judges) in names.iter().filter(|name| of_kind(name, item)).zip(judges.iter().cycle()) {
            verdict(judges, name, &asks, &beside, item).await?;
        }
    }
    let mut all = Vec::new();
    for item in &beside.items {
        let mut verdicts = Vec::new();
        for name in &names {
            let Some(judges) = judges.as_ref().filter(|_| of_kind(&name, item)) else { continue };
            verdicts.extend(verdict(judges, name, &asks, &beside, item).await?);
        }
        all.push((item, verdicts));
    }
    let digest = beside.carried.digest();
    let notary =
        if has_notary(common, settings) && (common.server.is_some() || judges.is_some() || settings.get("NOTARY").is_some()) {
            Some(of_notary(reference, digest, common, settings).await)
        } else {
            None
        };
    if common.json {
        let signatures: Vec<Value> = all.iter().map(|(item, verdicts)| to_value(&beside, item, verdicts)).collect();
        return to_json(&json!({
            "reference": reference.to_string(),
            "digest": digest,
            "subjects": beside.subjects.iter().map(|subject| json!({ "digest": subject.digest, "is": subject.is })).collect::<Vec<_>>(),
            "judged": unjudged.is_none(),
            "not_judged": unjudged,
            "verifiers": names.iter().map(|name| {
                let name = name.to_string();
                let counts = all.iter().flat_map(|(_, verdicts)| verdicts).any(|verdict| verdict.counts && verdict.verifier == name);
                json!({ "name": name, "counts": counts })
            }).collect::<Vec<_>>(),
            "signatures": signatures,
            "missed": beside.missed,
            "notary": notary.map(|told| told.json),
        }));
    }
    Ok(shown(reference, &beside, &all, unjudged.as_deref(), notary))
}

/// What a verifier says of one thing, which is shown to it alone; `None`: it does not go by what lies in registries.
async fn verdict(
    judges: &Judges,
    name: &VerifierName,
    repository: &Repository,
    beside: &Beside,
    item: &Item,
) -> Result<Option<Verdict>, Stop> {
    let asking = Asking { purpose: Purpose::Pull, now: clock::now(), deadline: Instant::now() + LOOK_TIME };
    let alone = Arc::new(beside.alone(item));
    let Some(answer) = judges.named(name)?.by_carried(alone, (repository, item.of), asking, Keeping::Looks) else {
        return Ok(None);
    };
    Ok(Some(match answer.await {
        Ok(vouch) => {
            Verdict { verifier: name.to_string(), counts: true, signers: vouch.signers().to_vec(), code: None, why: None }
        }
        Err(error) => Verdict::no(name, &error),
    }))
}

/// What a Notary has of an image.
struct OfNotary {
    json: Value,
    text: String,
}

/// Whatever it is that a Notary says or does: it hides no signature.
async fn of_notary(reference: &Reference, digest: Digest, common: &Common, settings: &Settings) -> OfNotary {
    let asked = async {
        let notary = common.notary(settings, RequiredSigners::default())?;
        check(&notary, &reference.repository).await?;
        let found = notary.inspect(&reference.repository, clock::now()).await;
        found.ok_or_else(|| Stop::Unknown("nothing is known of it here".to_owned()))
    };
    match asked.await {
        Ok(found) => {
            let tags = found.view.tags.iter().filter(|(tag, view)| {
                view.digest == digest || reference.tag.as_ref().is_some_and(|own| own.as_str() == tag.as_str())
            });
            let tags: Vec<_> = tags.collect();
            let rows = tags.iter().map(|(tag, view)| {
                let by = if view.signers.is_empty() { "(owner)".to_owned() } else { view.signers.join(", ") };
                let is_it = if view.digest == digest { "" } else { ", ANOTHER DIGEST" };
                format!("\n  signed  {} as tag {} by {} ({}){is_it}", view.digest, clean(tag), clean(&by), view.role)
            });
            let rows: String = rows.collect();
            let none = if rows.is_empty() { "\n  has signed neither this tag nor this digest" } else { "" };
            let json = tags.iter().map(|(tag, view)| {
                json!({ "tag": tag, "digest": view.digest, "role": view.role, "signers": view.signers, "is_this": view.digest == digest })
            });
            let json: Vec<Value> = json.collect();
            OfNotary {
                json: json!({ "server": found.server, "tags": json }),
                text: format!("\n\nNotary {}{rows}{none}", found.server),
            }
        }
        Err(stop) => {
            let (code, message) = (stop.code(), stop.message());
            OfNotary { json: json!({ "code": code, "message": message }), text: format!("\n\nNotary\n  no ({code}): {message}") }
        }
    }
}

fn is_of<'b>(beside: &'b Beside, item: &Item) -> &'b str {
    let subject = beside.subjects.iter().find(|subject| subject.digest == item.of);
    subject.map(|subject| subject.is.as_str()).unwrap_or_default()
}

fn to_value(beside: &Beside, item: &Item, verdicts: &[Verdict]) -> Value {
    let none = Claims::default();
    let claims = item.claims.as_ref().unwrap_or(&none);
    let signer = claims.signer.as_ref().map(|signer| match signer {
        Signer::Key { hint } => json!({ "by": "key", "hint": hint.as_deref().map(clean) }),
        Signer::Identity { subject, issuer } => json!({ "by": "identity", "subject": clean(subject), "issuer": clean(issuer) }),
        Signer::Certificate(certified) => json!({
            "by": "certificate", "subject": clean(&certified.subject), "root": clean(&certified.root),
            "root_fingerprint": certified.fingerprint,
        }),
    });
    json!({
        "kind": item.kind.as_str(),
        "form": item.form,
        "of": item.of,
        "is": is_of(beside, item),
        "manifest": item.manifest,
        "tag": item.tag.as_ref().map(ToString::to_string),
        "digests": claims.digests.iter().map(|digest| clean(digest)).collect::<Vec<_>>(),
        "name": claims.name.as_deref().map(clean),
        "states": claims.predicate_type.as_deref().map(clean),
        "signer": signer,
        "signed_at": claims.signed_at,
        "expires": claims.expires,
        "log": claims.log,
        "fault": item.claims.as_ref().err(),
        "verdicts": verdicts,
    })
}

fn shown(
    reference: &Reference,
    beside: &Beside,
    all: &[(&Item, Vec<Verdict>)],
    unjudged: Option<&str>,
    notary: Option<OfNotary>,
) -> String {
    let mut text = format!("{reference}\ndigest   {}", beside.carried.digest());
    if let [_, platforms @ ..] = beside.subjects.as_slice()
        && !platforms.is_empty()
    {
        text.push_str(" (index)");
        for platform in platforms {
            text.push_str(&format!("\n         {} ({})", platform.digest, platform.is));
        }
    }
    match unjudged {
        Some(why) => text.push_str(&format!("\njudged   not judged: {why}")),
        None => text.push_str("\njudged   by the policy; what a signature says of itself is proven only where it counts"),
    }
    for (item, verdicts) in all {
        text.push_str(&format!("\n\n{}, {}\n  of      {} ({})", item.kind, item.form, item.of, is_of(beside, item)));
        match &item.claims {
            Err(why) => text.push_str(&format!("\n  cannot be read: {why}")),
            Ok(claims) => text.push_str(&told(item, claims)),
        }
        for verdict in verdicts {
            match (&verdict.code, &verdict.why) {
                (Some(code), Some(why)) => text.push_str(&format!("\n  {}  no ({code}): {why}", verdict.verifier)),
                _ => text.push_str(&format!("\n  {}  yes: {}", verdict.verifier, verdict.signers.join(", "))),
            }
        }
        let nobody = match item.kind {
            Kind::Unsigned => "nobody has signed it, so that it counts for no verifier",
            Kind::Other => "no verifier goes by it",
            _ if unjudged.is_none() && verdicts.is_empty() => "no verifier of the scope goes by its kind",
            _ => continue,
        };
        text.push_str(&format!("\n  {nobody}"));
    }
    if all.is_empty() {
        text.push_str("\n\nnothing lies beside it in its registry");
    }
    if let Some(notary) = notary {
        text.push_str(&notary.text);
    }
    for missed in &beside.missed {
        text.push_str(&format!("\n\nnot looked at: {missed}"));
    }
    text
}

fn told(item: &Item, claims: &Claims) -> String {
    let mut text = String::new();
    let own = item.of.to_string();
    let others: Vec<&String> = claims.digests.iter().filter(|digest| **digest != own).collect();
    if !claims.digests.is_empty() && others.len() == claims.digests.len() {
        text.push_str("\n  says that it is of ANOTHER DIGEST:");
        for digest in others {
            text.push_str(&format!(" {}", clean(digest)));
        }
    }
    let mut line = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("\n  {what:<7} {}", clean(&value)));
        }
    };
    line("states", claims.predicate_type.clone());
    line("name", claims.name.clone());
    line("signer", claims.signer.as_ref().map(Signer::told));
    if let Some(Signer::Certificate(certified)) = &claims.signer {
        line("root", Some(format!("{}, sha256 {}", certified.root, certified.fingerprint)));
    }
    line("time", claims.signed_at.map(super::table::second));
    line("expires", claims.expires.map(super::table::second));
    let log: Vec<String> = claims.log.iter().map(ToString::to_string).collect();
    line("log", (!log.is_empty()).then(|| log.join(", ")));
    text
}
