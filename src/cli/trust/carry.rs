//! `trust export --signatures` and the `trust import` of what it wrote: what lies beside images in their registry, carried to a host that does not
//! reach it. A bundle is worth as much as a registry that anybody may write to: here it is judged by the policy's verifiers, and what counts is kept.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::image::{found, registry};
use super::judges::Judges;
use super::{Change, Common, Stop, changed, reference, to_json, trail};
use crate::clock;
use crate::files::replace_regular;
use crate::image::Digest;
use crate::policy::Settings;
use crate::registry::{Bundle, Carried, Wanted};
use crate::setup::{self, Kept, NETWORK_TIME};
use crate::trust::beside::Kind;
use crate::trust::{Asking, Keeping, Purpose, TrustCode, TrustError, VerifierName, Vouch, evidence};

/// The mode of a bundle: it holds nothing that the server does not tell everybody.
pub(super) const BUNDLE_MODE: u32 = 0o644;

/// A bundle that a person carried here.
pub(super) struct Arrived<'a> {
    /// Its file, and what that holds.
    pub(super) file: &'a Path,
    pub(super) bytes: &'a [u8],
    /// Whether that person says that what was taken back was signed again since.
    pub(super) undoes_withdrawal: bool,
}

/// Fetches what lies beside these images, and writes it.
pub(super) async fn export(references: &[String], file: &Path, is_json: bool, settings: &Settings) -> Result<String, Stop> {
    let registry = registry(settings).map_err(Stop::Unknown)?;
    let (mut images, mut told) = (Vec::new(), Vec::new());
    for text in references {
        let reference = reference(text)?;
        let beside = found(&registry, &reference.repository, &Wanted::of(&reference)).await?;
        // Without all of it the host might take an older scan for the newest.
        if let Some(missed) = beside.missed.first() {
            let message = format!("`{reference}` could not be looked at whole: {missed}");
            return Err(Stop::Refused { code: TrustCode::Unreachable.as_str(), message });
        }
        let count = |kind| beside.items.iter().filter(|item| item.kind == kind).count();
        let counts = (count(Kind::Cosign), count(Kind::Notation), count(Kind::Attestation));
        told.push((reference.to_string(), beside.carried.digest(), counts));
        images.push(beside.carried);
    }
    let bundle = Bundle { exported: clock::now(), images };
    let cannot = |error: std::io::Error| Stop::Unknown(format!("`{}` cannot be written: {error}", file.display()));
    replace_regular(file, &bundle.written().map_err(cannot)?, BUNDLE_MODE).map_err(cannot)?;
    if is_json {
        let images: Vec<Value> = told
            .iter()
            .map(|(reference, digest, (cosign, notation, attestations))| {
                json!({ "reference": reference, "digest": digest, "cosign": cosign, "notation": notation, "attestations": attestations })
            })
            .collect();
        return to_json(&json!({ "file": file, "images": images }));
    }
    let mut text = format!("written to {}; the host that takes it in judges it", file.display());
    for (reference, digest, (cosign, notation, attestations)) in told {
        text.push_str(&format!(
            "\n{reference}  {digest}  signatures of cosign: {cosign}, of notation: {notation}; attestations: {attestations}"
        ));
    }
    Ok(text)
}

/// What became of one image for one verifier.
struct Outcome {
    carried: Carried,
    verifier: VerifierName,
    result: Result<Vouch, TrustError>,
}

/// Takes in a bundle: every verifier of each image's scope judges what was carried as though it came from the registry.
pub(super) async fn import(arrived: &Arrived<'_>, common: &Common, settings: &Settings, kept: Kept) -> Result<String, Stop> {
    if common.state.is_some() || common.server.is_some() || common.verifier.is_some() || common.pins.is_some() {
        let message = "signatures are judged by the gate's own policy: leave out --state, --server, --verifier and --pins";
        return Err(Stop::Unknown(message.to_owned()));
    }
    if settings.policy_file().is_none() {
        return Err(Stop::Unknown("there is no policy file here, and so no verifier of signatures".to_owned()));
    }
    let shown = arrived.file.display();
    let bundle = Bundle::read(arrived.bytes).map_err(|fault| {
        let message = format!("`{shown}`: {fault}; carry it here again, or export it again");
        Stop::Refused { code: TrustCode::Invalid.as_str(), message }
    })?;
    let trail = trail(None, settings)?;
    let judges = Judges::of(settings, kept.taking_in(settings))?;
    let keeping = Keeping::Keeps { exported: bundle.exported, undoes_withdrawal: arrived.undoes_withdrawal };
    let (mut outcomes, mut refused) = (Vec::new(), Vec::new());
    for carried in bundle.images {
        match of_image(&judges, &carried, keeping).await {
            Ok(some) if some.is_empty() => {
                let message = "no verifier of its scope goes by what lies in registries".to_owned();
                refused.push((carried, TrustCode::NotSigned.as_str(), message));
            }
            Ok(some) => outcomes.extend(some),
            Err(stop) => refused.push((carried, stop.code(), stop.message())),
        }
    }
    let taken: Vec<(&Outcome, &Vouch)> =
        outcomes.iter().filter_map(|outcome| Some((outcome, outcome.result.as_ref().ok()?))).collect();
    if !taken.is_empty() {
        let folder = setup::evidence_folder(settings);
        // What is in a gate's memory may be older than what is kept now.
        evidence::begin_anew(&folder).map_err(|error| super::unread(&folder, &error))?;
    }
    let how = format!("a signature taken in from `{shown}`");
    trail.record(
        "trust-import",
        taken
            .iter()
            .map(|(outcome, vouch)| Change { digest: vouch.digest().to_string(), ..changed(outcome.carried.repository(), &how) }),
    );
    let is_whole = refused.is_empty() && taken.len() == outcomes.len();
    let noes = outcomes.iter().filter_map(|outcome| Some((outcome, outcome.result.as_ref().err()?)));
    let text = if common.json {
        let taken: Vec<Value> = taken
            .iter()
            .map(|(outcome, vouch)| {
                json!({
                    "repository": outcome.carried.repository(), "digest": vouch.digest(),
                    "verifier": outcome.verifier.to_string(), "signers": vouch.signers(),
                })
            })
            .collect();
        let noes = noes.map(|(outcome, error)| {
            json!({
                "repository": outcome.carried.repository(), "digest": outcome.carried.digest(),
                "verifier": outcome.verifier.to_string(), "code": error.code.as_str(),
                "message": error.to_string(), "remedy": error.remedy(&outcome.verifier),
            })
        });
        let others = refused.iter().map(|(carried, code, message)| {
            json!({ "repository": carried.repository(), "digest": carried.digest(), "code": code, "message": message })
        });
        to_json(&json!({ "exported": bundle.exported, "signatures": taken, "refused": noes.chain(others).collect::<Vec<_>>() }))?
    } else {
        let yes = taken.iter().map(|(outcome, vouch)| {
            let (repository, digest, name) = (outcome.carried.repository(), vouch.digest(), &outcome.verifier);
            format!("{repository}@{digest}  taken in for verifier `{name}`: {}", vouch.signers().join(", "))
        });
        let no = noes.map(|(outcome, error)| {
            let (repository, digest, name) = (outcome.carried.repository(), outcome.carried.digest(), &outcome.verifier);
            let (code, remedy) = (error.code.as_str(), error.remedy(name));
            format!("{repository}@{digest}  refused by verifier `{name}` ({code}): {error}; {remedy}")
        });
        let others = refused.iter().map(|(carried, code, message)| {
            format!("{}@{}  refused ({code}): {message}", carried.repository(), carried.digest())
        });
        let lines: Vec<String> = yes.chain(no).chain(others).collect();
        if lines.is_empty() { "it carries no image".to_owned() } else { lines.join("\n") }
    };
    if is_whole { Ok(text) } else { Err(Stop::Partly(text)) }
}

/// What each verifier of the image's scope says of it. The image itself and each platform may be signed: the first yes counts, of noes that of the image.
async fn of_image(judges: &Judges, carried: &Carried, keeping: Keeping) -> Result<Vec<Outcome>, Stop> {
    let (scope, asks) = judges.scope(carried.repository())?;
    // Of a mirror verifiers are asked under the name of what it mirrors.
    let carried = carried.clone().under(asks);
    let subjects: Vec<Digest> = carried.subjects();
    let mut outcomes = Vec::new();
    for name in scope.require.verifiers() {
        let verifier = judges.named(name)?;
        let (mut taken, mut refusal) = (Vec::new(), None);
        for digest in &subjects {
            let asking = Asking { purpose: Purpose::Pull, now: clock::now(), deadline: Instant::now() + NETWORK_TIME };
            let image = (carried.repository(), *digest);
            let Some(answer) = verifier.by_carried(Arc::new(carried.clone()), image, asking, keeping) else { break };
            match answer.await {
                Ok(vouch) => taken.push(Ok(vouch)),
                Err(error) => drop(refusal.get_or_insert(error)),
            }
        }
        if taken.is_empty() {
            taken.extend(refusal.map(Err));
        }
        let of = |result| Outcome { carried: carried.clone(), verifier: name.clone(), result };
        outcomes.extend(taken.into_iter().map(of));
    }
    Ok(outcomes)
}
