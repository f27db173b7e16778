//! `register` and `unregister`: what the allowlist vouches for, by hand.
//!
//! All references are looked up first; the file is changed once, or not at all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::out::{self, Cell, Colour, Consent, Table};
use super::trail::{Change, Trail};
use super::{NO, UNKNOWN, YES, check, when};
use crate::clock;
use crate::engine::{self, Engine, Store};
use crate::image::{Digest, ImageName, Reference};
use crate::policy::{AllowlistSetting, Settings};
use crate::registry::{self, RegistryError, Wanted};
use crate::setup::{self, Place, forget_earlier};
use crate::trust::allowlist::file::{EditError, Entry, FileFault, ListFile, edit};

/// How long the engine gets for one answer.
const ENGINE_TIME: Duration = Duration::from_secs(10);
/// How long a registry gets for one answer, tokens included.
const REGISTRY_TIME: Duration = Duration::from_secs(30);
/// Shortest beginning of a digest that `unregister` takes for one; tables show twelve digits.
const PREFIX_DIGITS: usize = 8;

/// The arguments of `register`.
#[derive(Args)]
#[command(
    after_help = "A name means what its registry holds. Where this host holds other content under it, or the registry cannot \
    tell, say which is meant (--from-registry, --from-host). An id means an image on this host. All or nothing is written.\n\n\
    Example: img-authz register registry.example/team/app:1.0 --reason \"release 1.0\" --expires 90d"
)]
pub(super) struct RegisterArgs {
    /// The images: references, or ids of images on this host
    #[arg(required = true, value_name = "REFERENCE")]
    references: Vec<String>,
    #[command(flatten)]
    from: FromArgs,
    /// Write the image id besides, for images of the classic store that are loaded without their registry's digest
    #[arg(long)]
    image_id: bool,
    /// Why, for those who read the list
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// When the approval ends: 90d, 12h, 4w, 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    #[command(flatten)]
    list: ListArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// The arguments of `unregister`.
#[derive(Args)]
#[command(after_help = "A reference loses its place in every entry; an entry goes with its last one. A digest, an image id, or \
    the beginning of one as `allowlist list` shows it, removes the entry.\n\n\
    Example: img-authz unregister registry.example/team/app:1.0")]
pub(super) struct UnregisterArgs {
    /// References, digests or image ids
    #[arg(required = true, value_name = "REFERENCE")]
    references: Vec<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// Where to look; by default a name is the registry's, and an id this host's.
#[derive(Args)]
#[group(multiple = false)]
struct FromArgs {
    /// Approve the content that this host has, only
    #[arg(long)]
    from_host: bool,
    /// Approve the content that the registry has now, only
    #[arg(long)]
    from_registry: bool,
}

/// What the commands about the list have in common.
#[derive(Args)]
pub(super) struct ListArgs {
    /// The allowlist, if not the gate's own (ALLOWLIST, or allowlist.json in `CONFIG_DIR`)
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Where content is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Host,
    Registry,
    /// What the registry holds, if this host does not hold other content under that name.
    Agreed,
}

/// An entry to be, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    entry: Entry,
    /// `host`, `registry`
    source: &'static str,
    /// What the operator should know about it.
    note: Option<String>,
}

/// Why something was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Missing {
    /// There is none: an answer.
    Absent(String),
    /// It could not be told.
    Failed(String),
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Added,
    Updated,
    Unchanged,
}

/// A line of the answer.
#[derive(Debug, Serialize)]
struct Registered {
    outcome: Outcome,
    source: &'static str,
    #[serde(flatten)]
    entry: Entry,
}

/// Runs `register`.
#[must_use]
pub(super) fn run(arguments: &RegisterArgs, env: &Settings) -> ExitCode {
    let place = Place::find(env.clone());
    let settings = place.for_person(env);
    // Said before the question: an entry does not help then.
    if settings_name(&settings, &arguments.list.path(&settings)) {
        warn(arguments, place);
    }
    let code = register(arguments, &settings, clock::now());
    ExitCode::from(code.unwrap_or_else(|fault| {
        out::fault(&fault);
        UNKNOWN
    }))
}

/// Whether this is the file that these settings name.
fn settings_name(settings: &Settings, path: &Path) -> bool {
    match settings.allowlist() {
        AllowlistSetting::IfPresent(own) | AllowlistSetting::Required(own) => own == path,
        AllowlistSetting::Off => false,
    }
}

/// Says of what is to be registered and would be refused all the same, as `check` would.
fn warn(arguments: &RegisterArgs, place: Place) {
    if let Err(why) = &place.basis {
        out::note(&format!("note: whether the gate lets it in with an entry is not known: {why}"));
        return;
    }
    // Everything but the allowlist, which is about to have it.
    let is_signed = place.settings.resolve(false).is_ok_and(|resolved| resolved.notaries().next().is_some());
    let place = match place.settings.policy_file() {
        Some(_) => place,
        None => Place { settings: place.settings.clone().with("ALLOWLIST", "off"), ..place },
    };
    for name in &arguments.references {
        let refusal = check::refusal(name, &place);
        if let Some(refusal) = refusal.filter(|refusal| matters(refusal, is_signed)) {
            out::note(&format!("note: with an entry in the allowlist {name} would be refused still: {refusal}"));
        }
    }
}

/// Whether a refusal without an allowlist stays with one: where nobody else vouches, the registry does in its place.
fn matters(refusal: &str, is_signed: bool) -> bool {
    refusal.starts_with("registry-not-allowed: ") || is_signed && !refusal.starts_with("not-listed: ")
}

/// Runs `unregister`.
#[must_use]
pub(super) fn run_unregister(arguments: &UnregisterArgs, settings: &Settings) -> ExitCode {
    let code = unregister(arguments, settings);
    ExitCode::from(code.unwrap_or_else(|fault| {
        out::fault(&fault);
        UNKNOWN
    }))
}

impl ListArgs {
    /// The file that the command is about: `--file`, or the gate's.
    pub(super) fn path(&self, settings: &Settings) -> PathBuf {
        match (&self.file, settings.allowlist()) {
            (Some(path), _) => path.clone(),
            (None, AllowlistSetting::Required(path) | AllowlistSetting::IfPresent(path)) => path,
            (None, AllowlistSetting::Off) => settings.config_dir().join("allowlist.json"),
        }
    }

    /// Where a change is recorded: in the gate's log, if the list is the gate's.
    pub(super) fn trail(&self, settings: &Settings) -> Result<Trail, String> {
        if self.is_the_gates(settings) { Trail::open(settings, &settings.state_dir()) } else { Ok(Trail::none()) }
    }

    fn is_the_gates(&self, settings: &Settings) -> bool {
        let own = Self { file: None, json: false }.path(settings);
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.file.as_deref().is_none_or(|path| real(path) == real(&own))
    }

    /// The list has been changed: what a gate kept of it before, for a start at which it is faulty, does not count again.
    pub(super) fn forget_earlier(&self, settings: &Settings) {
        let state = settings.state_dir();
        if self.is_the_gates(settings)
            && let Err(error) = forget_earlier(&state, &self.path(settings))
        {
            out::note(&format!(
                "note: the list as it was before is still kept in `{}` ({error}), and counts if the list is faulty at a start of the gate",
                state.display()
            ));
        }
    }
}

fn register(arguments: &RegisterArgs, settings: &Settings, now: Timestamp) -> Result<u8, String> {
    let names = parse(&arguments.references)?;
    let expires = arguments.expires.as_deref().map(|text| expiry(text, now)).transpose()?;
    let source = match (arguments.from.from_host, arguments.from.from_registry) {
        (true, _) => Source::Host,
        (_, true) => Source::Registry,
        (false, false) => Source::Agreed,
    };
    let found = match find_all(&names, source, arguments.image_id, settings)? {
        Ok(found) => found,
        Err(code) => return Ok(code),
    };
    for note in found.iter().filter_map(|found| found.note.as_ref()) {
        out::note(&format!("note: {note}"));
    }
    let path = arguments.list.path(settings);
    if !consented(&path, arguments.yes, settings)? {
        return Ok(NO);
    }
    let trail = arguments.list.trail(settings)?;
    let given = Entry {
        added_by: user(),
        added_at: Some(whole_seconds(now)),
        reason: arguments.reason.clone(),
        expires,
        ..Entry::default()
    };
    let outcomes = edit(&path, |list| found.iter().map(|found| add(list, &found.entry, &given, now)).collect::<Vec<_>>())
        .map_err(|error| told(&path, &error))?;
    arguments.list.forget_earlier(settings);
    let answers: Vec<Registered> = outcomes
        .into_iter()
        .zip(&found)
        .map(|((outcome, entry), found)| Registered { outcome, source: found.source, entry })
        .collect();
    let changed = answers.iter().filter(|answer| answer.outcome != Outcome::Unchanged);
    trail.record("register", changed.map(|answer| changed_entry(&answer.entry, &format!("approved in `{}`", path.display()))));
    if arguments.list.json {
        out::json(&serde_json::json!({ "file": path.display().to_string(), "entries": answers }));
    } else {
        answer_table(&answers).print();
    }
    Ok(YES)
}

fn unregister(arguments: &UnregisterArgs, settings: &Settings) -> Result<u8, String> {
    let names = parse(&arguments.references)?;
    let path = arguments.list.path(settings);
    if !path.exists() {
        return Err(format!("there is no allowlist `{}`", path.display()));
    }
    let trail = arguments.list.trail(settings)?;
    let (removed, left) = edit(&path, |list| {
        let removed: Vec<Result<usize, String>> = names.iter().map(|name| remove(list, name)).collect();
        (removed, list.entries.len())
    })
    .map_err(|error| told(&path, &error))?;
    arguments.list.forget_earlier(settings);
    let gone = names
        .iter()
        .zip(&removed)
        .filter_map(|(name, removed)| removed.as_ref().ok().filter(|count| **count > 0).map(|count| (name, count)));
    trail.record(
        "unregister",
        gone.map(|(name, count)| Change {
            image: name.to_string(),
            message: format!("taken back in {count} of the entries of `{}`", path.display()),
            ..Change::default()
        }),
    );
    let mut code = YES;
    let mut lines = Vec::new();
    for (name, removed) in names.iter().zip(removed) {
        let text = match &removed {
            Ok(0) => "is not in the allowlist".to_owned(),
            Ok(1) => "removed from 1 entry".to_owned(),
            Ok(count) => format!("removed from {count} entries"),
            Err(fault) => fault.clone(),
        };
        match &removed {
            Ok(0) => code = code.max(NO),
            Ok(_) => {}
            Err(_) => code = UNKNOWN,
        }
        if !arguments.list.json {
            out::line(&format!("{name}: {text}"));
        }
        lines.push(serde_json::json!({ "reference": name.to_string(), "entries": removed.unwrap_or(0) }));
    }
    if arguments.list.json {
        out::json(&serde_json::json!({ "file": path.display().to_string(), "removed": lines, "left": left }));
    }
    if left == 0 {
        out::note(
            "note: the allowlist is empty now, and still required: every image is refused. To use no allowlist: docker plugin disable, docker \
             plugin set ALLOWLIST=off, docker plugin enable, then reload dockerd",
        );
    }
    Ok(code)
}

/// An entry of the list, for the audit log.
pub(super) fn changed_entry(entry: &Entry, message: &str) -> Change {
    let shown = |digest: Option<Digest>| digest.map(|digest| digest.to_string()).unwrap_or_default();
    Change {
        image: entry.references.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        digest: shown(entry.digest),
        image_id: shown(entry.image_id),
        message: message.to_owned(),
    }
}

/// All texts as images, or all that are none.
fn parse(texts: &[String]) -> Result<Vec<ImageName>, String> {
    let mut faults = Vec::new();
    let mut names = Vec::new();
    for text in texts {
        match ImageName::parse(text) {
            Ok(name) => names.push(name),
            Err(error) => faults.push(error.to_string()),
        }
    }
    if faults.is_empty() { Ok(names) } else { Err(faults.join("; ")) }
}

/// `90d`, `12h`, `4w`, a date (its first moment, UTC) or a time. It must be to come.
fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let bad = || format!("`{text}` is not a time to come; write 90d, 12h, 4w, 2027-01-31 or 2027-01-31T12:00:00Z");
    // Nobody approves for minutes; `90m` was meant as months.
    let time = match when::span(text).filter(|_| text.ends_with(['h', 'd', 'w'])) {
        Some(span) => now.checked_add(span).ok(),
        None => when::moment(text),
    };
    time.map(whole_seconds).filter(|time| *time > now).ok_or_else(bad)
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Who runs this, for those who read the list; no evidence of anything.
fn user() -> Option<String> {
    ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()))
}

/// Looks everything up. The inner error is an exit code; what was missing has been told.
fn find_all(names: &[ImageName], source: Source, ids: bool, settings: &Settings) -> Result<Result<Vec<Found>, u8>, String> {
    let engine = Engine::at(settings.docker_host()).map_err(|error| error.to_string())?;
    let registry = setup::registry(settings, setup::credentials_of_person(settings)?, HashMap::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let host: &dyn engine::Api = &engine;
    if ids
        && let Ok(info) = runtime.block_on(host.info(Instant::now() + ENGINE_TIME))
        && info.store == Store::Containerd
    {
        out::note("note: --image-id does nothing for this host: in the containerd store an image's id is its digest");
    }
    let mut all = Vec::new();
    let mut code = None;
    for name in names {
        match runtime.block_on(find(name, source, ids, &engine, &registry)) {
            Ok(found) => all.extend(found),
            Err(Missing::Absent(text)) => {
                out::fault(&text);
                code = Some(code.unwrap_or(NO));
            }
            Err(Missing::Failed(text)) => {
                out::fault(&text);
                code = Some(UNKNOWN);
            }
        }
    }
    Ok(match code {
        None => Ok(all),
        Some(code) => {
            out::note("nothing was changed");
            Err(code)
        }
    })
}

async fn find(
    name: &ImageName,
    source: Source,
    ids: bool,
    engine: &dyn engine::Api,
    registry: &dyn registry::Api,
) -> Result<Vec<Found>, Missing> {
    let reference = match (name.reference(), source) {
        (Some(reference), Source::Registry | Source::Agreed) => reference,
        (Some(_), Source::Host) | (None, Source::Host | Source::Agreed) => {
            let image = on_host(name, source, engine).await?;
            let image = image.ok_or_else(|| Missing::Absent(format!("`{name}` is not on this host")))?;
            return Ok(from_host(name, &image, ids));
        }
        (None, Source::Registry) => return Err(Missing::Failed(format!("`{name}` is an image id; registries know names"))),
    };
    let held = if source == Source::Agreed { on_host(name, source, engine).await? } else { None };
    // An id that begins like the name is not meant by it.
    let held = held.filter(|image| reference.digest.is_some() || image.repo_tags.contains(reference));
    out::progress(&format!("asking registry {} for {reference} …", reference.repository.host_str()));
    let deadline = Instant::now() + REGISTRY_TIME;
    let manifest = match registry.manifest(&reference.repository, &Wanted::of(reference), deadline).await {
        Ok(manifest) => manifest,
        Err(error) => {
            let hint = held.map_or_else(String::new, |image| {
                format!(" (this host holds image {} under that name: --from-host approves it)", short(Some(image.id)))
            });
            let text = format!("{error}{hint}");
            let is_answer = matches!(error, RegistryError::NotFound { .. });
            return Err(if is_answer { Missing::Absent(text) } else { Missing::Failed(text) });
        }
    };
    let due = *manifest.digest();
    match held {
        Some(image) if !image.repo_digests.contains(&(reference.repository.clone(), due)) => Err(Missing::Failed(format!(
            "`{name}`: the registry holds {}, and this host other content, image {}; say --from-registry or --from-host",
            short(Some(due)),
            short(Some(image.id)),
        ))),
        Some(_) | None => {
            let entry = Entry {
                digest: Some(due),
                image_id: manifest.config().filter(|_| ids),
                references: vec![reference.clone()],
                ..Entry::default()
            };
            Ok(vec![Found { entry, source: "registry", note: None }])
        }
    }
}

/// What this host holds under a name.
async fn on_host(name: &ImageName, source: Source, engine: &dyn engine::Api) -> Result<Option<engine::Image>, Missing> {
    engine.image(&name.to_string(), Instant::now() + ENGINE_TIME).await.map_err(|error| {
        let hint = if source == Source::Host { "" } else { " (--from-registry does without the engine)" };
        Missing::Failed(format!("`{name}`: {error}{hint}"))
    })
}

/// The entries for an image on this host: one for each digest that it has in the repository.
fn from_host(name: &ImageName, image: &engine::Image, ids: bool) -> Vec<Found> {
    let references: Vec<Reference> = match name.reference() {
        // The engine may have read it as the beginning of an id.
        Some(reference) if reference.digest.is_some() || image.repo_tags.contains(reference) => vec![reference.clone()],
        Some(_) | None => image.repo_tags.clone(),
    };
    let in_repositories = |digest: &&Digest| match name.reference().and_then(|reference| reference.digest) {
        Some(asked) => asked == **digest,
        None => true,
    };
    let mut digests: Vec<Digest> = image
        .repo_digests
        .iter()
        .filter(|(repository, _)| references.iter().any(|reference| reference.repository == *repository))
        .map(|(_, digest)| digest)
        .filter(in_repositories)
        .copied()
        .collect();
    digests.sort();
    digests.dedup();
    let mut note = None;
    if references.is_empty() {
        note = Some(format!("`{name}` has no name on this host: it is approved in any repository"));
    } else if digests.is_empty() && image.store != Some(Store::Containerd) {
        note = Some(format!("`{name}` was not pulled under this name: its content is approved by its image id alone"));
    }
    // In the containerd store the id is the digest of a manifest or an index.
    let in_containerd = image.store == Some(Store::Containerd);
    let own = in_containerd.then_some(image.id);
    let digests = if digests.is_empty() { vec![own] } else { digests.into_iter().map(Some).collect() };
    let entry = |digest: Option<Digest>| Entry {
        digest,
        // Ids are written where asked, and where nothing else is known.
        image_id: Some(image.id).filter(|_| !in_containerd && (ids || digest.is_none())),
        references: references.clone(),
        platform: Some(image.config.platform.to_string()).filter(|platform| platform != "/"),
        layers: image.config.layers.clone(),
        ..Entry::default()
    };
    digests.into_iter().map(|digest| Found { entry: entry(digest), source: "host", note: note.take() }).collect()
}

/// Says what a new file turns on, and asks. `false`: the answer was no.
fn consented(path: &Path, yes: bool, settings: &Settings) -> Result<bool, String> {
    let is_the_gates = match settings.allowlist() {
        AllowlistSetting::IfPresent(own) => own == path,
        // Required already: without the file, everything is refused as it is.
        AllowlistSetting::Required(own) if own == path => return Ok(true),
        AllowlistSetting::Required(_) | AllowlistSetting::Off => false,
    };
    if !is_the_gates {
        out::note(&format!("note: the settings here do not name `{}`; the gate goes by its own", path.display()));
    }
    match ListFile::read(path) {
        Err(FileFault::Missing) if is_the_gates => {}
        Ok(_) | Err(FileFault::Missing) => return Ok(true),
        Err(fault) => return Err(format!("`{}`: {fault}", path.display())),
    }
    out::note(&format!(
        "`{}` does not exist yet: this is its first entry. From now on every image that is not listed in it will be refused, also at \
         start, besides what else must vouch for it. A gate that runs takes the file up within a second.",
        path.display()
    ));
    match out::ask("Turn this on?", yes) {
        Consent::Given => Ok(true),
        Consent::Refused => {
            out::note("nothing was changed");
            Ok(false)
        }
        Consent::NobodyThere => Err("this turns the allowlist on; say --yes where there is no terminal to ask on".to_owned()),
    }
}

/// Puts `new` into the list; what `given` says about the approval (who, when, why, until) goes with it, and changes nothing
/// for names that were not registered now.
fn add(list: &mut ListFile, new: &Entry, given: &Entry, now: Timestamp) -> (Outcome, Entry) {
    let has = |old: &Entry| new.references.iter().all(|reference| old.references.contains(reference));
    // Registered already, and nothing else asked for: its end stays.
    let kept = |old: &Entry| is_same_content(old, new) && has(old) && given.expires.is_none() && !old.is_expired(now);
    // One approval for several names.
    let joined = |old: &Entry| {
        let same_reason = given.reason.is_none() || given.reason == old.reason;
        is_same_content(old, new) && old.expires == given.expires && same_reason && !old.is_expired(now)
    };
    let place = list.entries.iter().position(kept).or_else(|| list.entries.iter().position(joined));
    if let Some(old) = place.and_then(|place| list.entries.get_mut(place)) {
        let before = old.clone();
        complete(old, new);
        if given.reason.is_some() {
            old.reason.clone_from(&given.reason);
        }
        if *old == before {
            return (Outcome::Unchanged, before);
        }
        old.added_by.clone_from(&given.added_by);
        old.added_at = given.added_at;
        return (Outcome::Updated, old.clone());
    }
    // What is registered now takes the place of what was said about these names; other names of the content keep theirs.
    let before = list.entries.len();
    let mut shrunk = false;
    let mut merged = new.clone();
    list.entries.retain_mut(|old| {
        if !is_same_content(old, new) {
            return true;
        }
        let others: Vec<Reference> =
            old.references.iter().filter(|reference| !new.references.contains(reference)).cloned().collect();
        shrunk |= others.len() < old.references.len();
        if others.is_empty() {
            complete(&mut merged, old);
        }
        old.references = others;
        !old.references.is_empty()
    });
    let outcome = if shrunk || list.entries.len() < before { Outcome::Updated } else { Outcome::Added };
    let approval = given.clone();
    let entry = Entry {
        added_by: approval.added_by,
        added_at: approval.added_at,
        reason: approval.reason,
        expires: approval.expires,
        ..merged
    };
    list.entries.push(entry.clone());
    (outcome, entry)
}

/// Whether two entries are about one image, and as wide: an entry for any repository is neither made narrower by another
/// one, nor another one as wide.
fn is_same_content(old: &Entry, new: &Entry) -> bool {
    let agree = |old: Option<Digest>, new: Option<Digest>| old.is_none() || new.is_none() || old == new;
    let same_digest = new.digest.is_some() && old.digest == new.digest && agree(old.image_id, new.image_id);
    let same_id = new.image_id.is_some() && old.image_id == new.image_id && agree(old.digest, new.digest);
    (same_digest || same_id) && old.references.is_empty() == new.references.is_empty()
}

/// Adds to an entry what another one about the same content knows besides.
fn complete(entry: &mut Entry, other: &Entry) {
    entry.digest = entry.digest.or(other.digest);
    entry.image_id = entry.image_id.or(other.image_id);
    for reference in &other.references {
        if !entry.references.contains(reference) {
            entry.references.push(reference.clone());
        }
    }
    if entry.platform.is_none() {
        entry.platform.clone_from(&other.platform);
    }
    if entry.layers.is_empty() {
        entry.layers.clone_from(&other.layers);
    }
}

/// Takes `name` out of the list. Gives the number of entries that it was taken from.
fn remove(list: &mut ListFile, name: &ImageName) -> Result<usize, String> {
    let count = match name {
        ImageName::Id(digest) => remove_digest(list, digest),
        ImageName::IdPrefix(text) => remove_prefix(list, text)?,
        ImageName::Named { reference, .. } => remove_reference(list, reference),
    };
    if count == 0 && name.may_be_id_prefix() { remove_prefix(list, &name.to_string()) } else { Ok(count) }
}

fn remove_digest(list: &mut ListFile, digest: &Digest) -> usize {
    let before = list.entries.len();
    list.entries.retain(|entry| !entry.is_for(digest));
    before - list.entries.len()
}

fn remove_prefix(list: &mut ListFile, text: &str) -> Result<usize, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() < PREFIX_DIGITS {
        return Ok(0);
    }
    let mut fits: Vec<Digest> =
        list.entries.iter().flat_map(Entry::digests).filter(|digest| digest.hex().starts_with(digits)).collect();
    fits.sort();
    fits.dedup();
    match fits.as_slice() {
        [] => Ok(0),
        [digest] => Ok(remove_digest(list, digest)),
        [..] => Err(format!("{} digests begin like this; write one out", fits.len())),
    }
}

/// An entry that loses its last reference goes: without one it would vouch in any repository.
fn remove_reference(list: &mut ListFile, reference: &Reference) -> usize {
    let mut count = 0;
    list.entries.retain_mut(|entry| {
        if entry.references.is_empty() {
            return true;
        }
        let before = entry.references.len();
        let digests: Vec<Digest> = entry.digests().collect();
        entry.references.retain(|listed| {
            let is_it = listed.repository == reference.repository
                && match &reference.digest {
                    // All names of that content in the repository.
                    Some(digest) => digests.contains(digest),
                    None => Entry::listed_tag(listed) == reference.tag,
                };
            !is_it
        });
        if entry.references.len() < before {
            count += 1;
        }
        !entry.references.is_empty()
    });
    count
}

/// `sha256:` and twelve digits; `-` for none.
pub(super) fn short(digest: Option<Digest>) -> String {
    digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string().chars().take("sha256:".len() + 12).collect())
}

/// The references of an entry, for a table.
pub(super) fn places(entry: &Entry) -> String {
    if entry.references.is_empty() {
        return "(any repository)".to_owned();
    }
    entry.references.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn answer_table(answers: &[Registered]) -> Table<6> {
    let mut table = Table::new(["STATUS", "REFERENCES", "DIGEST", "IMAGE ID", "FROM", "EXPIRES"]);
    for Registered { outcome, source, entry } in answers {
        let status = match outcome {
            Outcome::Added => Cell::new("added", Colour::Green),
            Outcome::Updated => Cell::new("updated", Colour::Green),
            Outcome::Unchanged => Cell::new("unchanged", Colour::None),
        };
        let expires = entry.expires.map_or_else(|| "never".to_owned(), |time| time.to_string());
        table.row([
            status,
            places(entry).into(),
            short(entry.digest).into(),
            short(entry.image_id).into(),
            source.into(),
            expires.into(),
        ]);
    }
    table
}

/// What stood in the way, with the file's path.
pub(super) fn told(path: &Path, error: &EditError) -> String {
    format!("`{}`: {error}", path.display())
}

#[cfg(test)]
mod tests;
