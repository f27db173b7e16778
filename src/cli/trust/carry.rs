//! `trust export --signatures` and the `trust import` of what it wrote: what lies beside images in their registry, carried to a host that does not
//! reach it. A bundle is worth as much as a registry that anybody may write to: here it is judged by the policy's verifiers, and what counts is kept.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::image::{found, registry};
use super::judges::Judges;
use super::{Change, Common, Stop, changed, reference, to_json, trail};
use crate::clock;
use crate::files::replace_regular;
use crate::image::{Digest, Repository};
use crate::policy::Settings;
use crate::registry::{Api, Bundle, Carried, Wanted};
use crate::setup::{self, Kept, NETWORK_TIME};
use crate::text::clean;
use crate::trust::beside::Kind;
use crate::trust::evidence::{self, Evidence};
use crate::trust::{Asking, Keeping, Purpose, TrustCode, VerifierName};

/// The mode of a bundle: it holds nothing that the server does not tell everybody.
pub(super) const BUNDLE_MODE: u32 = 0o644;
/// How long all judging of a bundle may take.
const ALL_TIME: Duration = Duration::from_mins(1);
/// How it is called in the audit log.
const ACTION: &str = "trust-import";

/// A bundle that a person carried here.
pub(super) struct Arrived<'a> {
    /// Its file, and what that holds.
    pub(super) file: &'a Path,
    pub(super) bytes: &'a [u8],
    /// Which of its images are meant, as `REPOSITORY@DIGEST`; or all.
    pub(super) images: &'a [String],
    pub(super) is_all: bool,
    /// Of which digests that person says that they were signed again since they were taken back.
    pub(super) undone: &'a [Digest],
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

/// What a verifier says of one digest.
struct Told {
    repository: Repository,
    digest: Digest,
    verifier: Option<VerifierName>,
    /// Who signed; or the code, why not, and what to do.
    result: Result<Vec<String>, (&'static str, String, String)>,
    /// Whether the import is not whole by it.
    is_no: bool,
    /// When it was taken back, which is undone.
    undone: Option<Timestamp>,
}

impl Told {
    fn no(carried: &Carried, verifier: Option<&VerifierName>, code: &'static str, message: String) -> Self {
        let (repository, digest, verifier) = (carried.repository().clone(), carried.digest(), verifier.cloned());
        Self { repository, digest, verifier, result: Err((code, message, String::new())), is_no: true, undone: None }
    }

    fn json(&self) -> Value {
        let Self { repository, digest, verifier, undone, .. } = self;
        let verifier = verifier.as_ref().map(ToString::to_string);
        match &self.result {
            Ok(signers) => {
                json!({ "repository": repository, "digest": digest, "verifier": verifier, "signers": signers, "undone_withdrawal": undone })
            }
            Err((code, message, remedy)) => json!({
                "repository": repository, "digest": digest, "verifier": verifier, "code": code, "message": message, "remedy": remedy,
            }),
        }
    }

    fn line(&self) -> String {
        let image = format!("{}@{}", self.repository, self.digest);
        let by = self.verifier.as_ref().map(|name| format!("verifier `{name}`"));
        match &self.result {
            Ok(signers) => {
                let undone = self.undone.map(|at| format!("; that it was taken back at {at} is undone")).unwrap_or_default();
                format!("{image}  taken in for {}: {}{undone}", by.unwrap_or_default(), signers.join(", "))
            }
            Err((code, message, remedy)) => {
                let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
                let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
                format!("{image}  refused{by} ({code}): {message}{remedy}")
            }
        }
    }
}

/// Takes in what is named of a bundle: every verifier of each image's scope judges what was carried as though it came from the registry.
pub(super) async fn import(arrived: &Arrived<'_>, common: &Common, settings: &Settings, kept: Kept) -> Result<String, Stop> {
    if common.state.is_some() || common.server.is_some() || common.verifier.is_some() || common.pins.is_some() {
        let message = "signatures are judged by the gate's own policy: leave out --state, --server, --verifier and --pins";
        return Err(Stop::Unknown(message.to_owned()));
    }
    if settings.policy_file().is_none() {
        return Err(Stop::Unknown("there is no policy file here, and so no verifier of signatures".to_owned()));
    }
    let shown = arrived.file.display();
    let Bundle { exported, images } = Bundle::read(arrived.bytes).map_err(|fault| {
        let message = format!("`{shown}`: {fault}; carry it here again, or export it again");
        Stop::Refused { code: TrustCode::Invalid.as_str(), message }
    })?;
    let images = named(images, arrived)?;
    let trail = trail(None, settings)?;
    let judges = Judges::of(settings, kept.taking_in(settings))?;
    let folder = setup::evidence_folder(settings);
    let begins = format!("import of `{shown}` begins, {}", Digest::of(arrived.bytes));
    trail.begin(settings, ACTION, changed(&"", &begins)).map_err(Stop::Unknown)?;
    // What is in a gate's memory may be older than what is kept from now on; where it cannot be told, nothing is changed.
    let made = std::fs::DirBuilder::new().recursive(true).create(&folder).and_then(|()| evidence::begin_anew(&folder));
    made.map_err(|error| Stop::Unknown(format!("nothing was changed: `{}` cannot be written: {error}", folder.display())))?;
    let end = Instant::now() + ALL_TIME;
    let mut told = Vec::new();
    for carried in images {
        let outcomes = of_image(&judges, carried, arrived.undone, &folder, end).await;
        let taken = outcomes.iter().filter(|outcome| outcome.result.is_ok());
        let entries = taken.map(|outcome| {
            let undone = outcome.undone.map(|at| format!("; that it was taken back at {at} is undone")).unwrap_or_default();
            let how = format!("a signature taken in from `{shown}`{undone}");
            Change { digest: outcome.digest.to_string(), ..changed(&outcome.repository, &how) }
        });
        // At once: whatever ends the import, what was done is known.
        trail.record(ACTION, entries);
        told.extend(outcomes);
    }
    let mut notes = Vec::new();
    // Also where nothing was taken: a newer scan that fails is remembered.
    if let Err(error) = evidence::begin_anew(&folder) {
        notes.push(format!("the gate could not be told ({error}): restart it"));
    }
    let is_undone = |digest: &&Digest| told.iter().any(|told| told.undone.is_some() && told.digest == **digest);
    notes.extend(
        arrived.undone.iter().filter(|digest| !is_undone(digest)).map(|digest| format!("--undo-withdrawal={digest} did nothing")),
    );
    let is_whole = !told.is_empty() && notes.is_empty() && !told.iter().any(|told| told.is_no);
    let text = if common.json {
        let (taken, refused): (Vec<&Told>, Vec<&Told>) = told.iter().partition(|told| told.result.is_ok());
        let json = |told: Vec<&Told>| told.into_iter().map(Told::json).collect::<Vec<Value>>();
        to_json(&json!({ "exported": exported, "signatures": json(taken), "refused": json(refused), "notes": notes }))?
    } else if told.is_empty() {
        "it carries no image".to_owned()
    } else {
        told.iter().map(Told::line).chain(notes).collect::<Vec<_>>().join("\n")
    };
    if is_whole { Ok(text) } else { Err(Stop::Partly(text)) }
}

/// Those that are meant: whoever carried the file here chose what it holds, and under which names.
fn named(images: Vec<Carried>, arrived: &Arrived<'_>) -> Result<Vec<Carried>, Stop> {
    if arrived.is_all || images.is_empty() {
        return Ok(images);
    }
    let name = |carried: &Carried| format!("{}@{}", carried.repository(), carried.digest());
    let here: Vec<String> = images.iter().map(name).collect();
    let listed = || format!("`{}` carries:\n{}", arrived.file.display(), here.join("\n"));
    if arrived.images.is_empty() {
        return Err(Stop::Unknown(format!("name the images that are to be taken in, or take in all with --all; {}", listed())));
    }
    if let Some(other) = arrived.images.iter().find(|image| !here.contains(*image)) {
        return Err(Stop::Unknown(format!("`{}` is not there, as REPOSITORY@DIGEST; {}", clean(other), listed())));
    }
    Ok(images.into_iter().filter(|carried| arrived.images.contains(&name(carried))).collect())
}

/// What each verifier of the image's scope says of it. The image itself and each platform may be signed. It is a no unless the image itself is
/// good, or has nothing and each platform is good.
async fn of_image(judges: &Judges, carried: Carried, undone: &[Digest], folder: &Path, end: Instant) -> Vec<Told> {
    let (scope, asks) = match judges.scope(carried.repository()) {
        Ok(found) => found,
        Err(stop) => return vec![Told::no(&carried, None, stop.code(), stop.message())],
    };
    // Of a mirror verifiers are asked under the name of what it mirrors.
    let carried = Arc::new(carried.under(asks));
    let subjects = carried.subjects();
    let notes = Evidence::looked_at(folder.to_owned());
    let since = |digest: &Digest| notes.withdrawn_since(digest).filter(|_| undone.contains(digest));
    let since: Vec<Option<Timestamp>> = subjects.iter().map(since).collect();
    let mut all = Vec::new();
    for name in scope.require.verifiers() {
        let verifier = match judges.named(name) {
            Ok(verifier) => verifier,
            Err(stop) => {
                all.push(Told::no(&carried, Some(name), stop.code(), stop.message()));
                continue;
            }
        };
        let (mut own, mut platforms, mut is_each_good) = (None, Vec::new(), subjects.len() > 1);
        for (digest, since) in subjects.iter().zip(&since) {
            let deadline = end.min(Instant::now() + NETWORK_TIME);
            if Instant::now() >= end {
                let why = "it was not judged: the time is over; import fewer at once".to_owned();
                all.push(Told::no(&carried, Some(name), TrustCode::Busy.as_str(), why));
                is_each_good = false;
                break;
            }
            let asking = Asking { purpose: Purpose::Pull, now: clock::now(), deadline };
            let keeping = Keeping::Keeps { undoes_withdrawal: undone.contains(digest) };
            let (api, image): (Arc<dyn Api>, _) = (carried.clone(), (carried.repository(), *digest));
            let Some(answer) = verifier.by_carried(api, image, asking, keeping) else { break };
            let (result, code) = match answer.await {
                Ok(vouch) => (Ok(vouch.signers().to_vec()), None),
                Err(error) => (Err((error.code.as_str(), error.to_string(), error.remedy(name))), Some(error.code)),
            };
            let undone = since.filter(|_| result.is_ok());
            let (repository, verifier) = (carried.repository().clone(), Some(name.clone()));
            let told = Told { repository, digest: *digest, verifier, result, is_no: false, undone };
            match (own.is_none(), code) {
                (true, code) => own = Some((told, code)),
                (false, None) => platforms.push(told),
                (false, Some(code)) => {
                    is_each_good = false;
                    // What is to be known of a platform, beside that nobody signed it.
                    if !is_nothing(code) {
                        platforms.push(told);
                    }
                }
            }
        }
        let Some((own, code)) = own else { continue };
        let is_no = code.is_some_and(|code| !(is_nothing(code) && is_each_good));
        all.push(Told { is_no, ..own });
        all.extend(platforms);
    }
    if all.is_empty() {
        let why = "no verifier of its scope goes by what lies in registries".to_owned();
        all.push(Told::no(&carried, None, TrustCode::NotSigned.as_str(), why));
    }
    all
}

/// Whether nothing lies there, which is no word against what lies elsewhere.
const fn is_nothing(code: TrustCode) -> bool {
    matches!(code, TrustCode::NotSigned | TrustCode::NotAttested)
}
