//! `register` and `unregister`: what the allowlist vouches for, by hand.
//!
//! All references are looked up first; the file is changed once, or not at all.

mod change;
mod compose;
mod find;
mod reports;
mod running;
mod target;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::out::{self, Cell, Colour, Consent, Table};
use super::trail::Change;
use super::{NO, UNKNOWN, YES, check, when};
use crate::clock;
use crate::engine::Engine;
use crate::image::{Digest, ImageName};
use crate::policy::{AllowlistSetting, Settings};
use crate::setup::Place;
use crate::text::clean;
use crate::trust::allowlist::file::{EditError, Entry};

use self::change::{Outcome, add, remove};
use self::find::{Found, Source, find_all};
use self::reports::ReportArgs;
use self::target::consented;
pub(super) use self::target::{ListArgs, OutArgs, next};

/// The arguments of `register`.
#[derive(Args)]
#[command(
    after_help = "A name means what its registry holds. Where this host holds other content under it, or the registry cannot \
    tell, say which is meant (--from-registry, --from-host). An id means an image on this host. All or nothing is written.\n\n\
    Example: img-authz register registry.example/team/app:1.0 --reason \"release 1.0\" --expires 90d\n\
    Example: img-authz register registry.example/team/app:1.0 --scan trivy.json --sbom app.spdx.json\n\
    Example: img-authz register --running\nExample: docker compose config | img-authz register --compose -"
)]
pub(super) struct RegisterArgs {
    /// The images: references, or ids of images on this host
    #[arg(required_unless_present_any = ["running", "compose"], value_name = "REFERENCE")]
    references: Vec<String>,
    /// The images of all containers that run, as this host has them; they are shown, and it asks
    #[arg(long, conflicts_with_all = ["references", "compose", "from_host", "from_registry"])]
    running: bool,
    /// The images that a compose file names; `-`: standard input
    #[arg(long, value_name = "FILE", conflicts_with = "references")]
    compose: Option<PathBuf>,
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
    reports: ReportArgs,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    out: OutArgs,
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
    #[command(flatten)]
    out: OutArgs,
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
        None => Place { settings: place.settings.clone().with("ALLOWLIST", "off").without("ALLOWLIST_KEY"), ..place },
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

fn register(arguments: &RegisterArgs, settings: &Settings, now: Timestamp) -> Result<u8, String> {
    let expires = arguments.expires.as_deref().map(|text| expiry(text, now)).transpose()?;
    let reports = arguments.reports.read(arguments.references.len(), now)?;
    // Before anything is looked up: a list that must be signed is not changed here.
    let target = arguments.out.target(&arguments.list, settings)?;
    let (mut found, mut code) = match wanted(arguments, settings)? {
        Ok(found) => found,
        Err(code) => return Ok(code),
    };
    for found in &mut found {
        reports.go_with(found)?;
    }
    for note in found.iter().filter_map(|found| found.note.as_ref()) {
        out::note(&format!("note: {note}"));
    }
    if target.is_live() && !consented(target.path(), arguments.yes, settings)? {
        return Ok(NO);
    }
    let trail = if target.is_live() { Some(arguments.list.trail(settings)?) } else { None };
    let given = Entry {
        added_by: user(),
        added_at: Some(whole_seconds(now)),
        reason: arguments.reason.clone(),
        expires,
        ..Entry::default()
    };
    let path = target.path().to_owned();
    let outcomes = target.change(|list| found.iter().map(|found| add(list, &found.entry, &given, now)).collect::<Vec<_>>())?;
    let answers: Vec<Registered> = outcomes
        .into_iter()
        .zip(&found)
        .map(|((outcome, entry), found)| Registered { outcome, source: found.source, entry })
        .collect();
    if let Some(trail) = trail {
        arguments.list.forget_earlier(settings);
        let changed = answers.iter().filter(|answer| answer.outcome != Outcome::Unchanged);
        trail
            .record("register", changed.map(|answer| changed_entry(&answer.entry, &format!("approved in `{}`", path.display()))));
    }
    if arguments.list.json {
        out::json(&serde_json::json!({ "file": path.display().to_string(), "entries": answers }));
    } else {
        answer_table(&answers).print();
    }
    if answers.is_empty() {
        code = code.max(NO);
    }
    Ok(code)
}

/// What is to be registered, and the exit code if all goes well. The inner error is an exit code; what was missing has been told.
fn wanted(arguments: &RegisterArgs, settings: &Settings) -> Result<Result<(Vec<Found>, u8), u8>, String> {
    if arguments.running {
        return of_running(arguments, settings);
    }
    let mut texts = arguments.references.clone();
    if let Some(path) = &arguments.compose {
        let composed = compose::read(path)?;
        for service in &composed.built {
            out::note(&format!(
                "note: service `{}` is built: its image is left out; register it by its name once it is",
                clean(service)
            ));
        }
        texts.extend(composed.images);
    }
    let names = parse(&texts)?;
    let source = match (arguments.from.from_host, arguments.from.from_registry) {
        (true, _) => Source::Host,
        (_, true) => Source::Registry,
        (false, false) => Source::Agreed,
    };
    Ok(find_all(&names, source, arguments.image_id, settings)?.map(|found| (found, YES)))
}

/// What runs, after it was shown and approved.
fn of_running(arguments: &RegisterArgs, settings: &Settings) -> Result<Result<(Vec<Found>, u8), u8>, String> {
    let engine = Engine::at(settings.docker_host()).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let running = runtime.block_on(running::running(&engine, arguments.image_id))?;
    for left in &running.left_out {
        out::note(&format!("note: left out: {}", clean(left)));
    }
    if running.images.is_empty() {
        out::note("no image of a container that runs is registered");
        return Ok(Err(NO));
    }
    out::note(running::table(&running).to_text().trim_end());
    match out::ask(&format!("Approve these {} images?", running.images.len()), arguments.yes) {
        Consent::Given => {}
        Consent::Refused => {
            out::note("nothing was changed");
            return Ok(Err(NO));
        }
        Consent::NobodyThere => return Err("say --yes where there is no terminal to ask on".to_owned()),
    }
    let code = if running.left_out.is_empty() { YES } else { NO };
    Ok(Ok((running.images.into_iter().map(|(_, found)| found).collect(), code)))
}

fn unregister(arguments: &UnregisterArgs, settings: &Settings) -> Result<u8, String> {
    let names = parse(&arguments.references)?;
    let target = arguments.out.target(&arguments.list, settings)?;
    let (path, is_live) = (target.path().to_owned(), target.is_live());
    if is_live && !path.exists() {
        return Err(format!("there is no allowlist `{}`", path.display()));
    }
    let trail = if is_live { Some(arguments.list.trail(settings)?) } else { None };
    let (removed, left) = target.change(|list| {
        let removed: Vec<Result<usize, String>> = names.iter().map(|name| remove(list, name)).collect();
        (removed, list.entries.len())
    })?;
    let gone: Vec<_> = names
        .iter()
        .zip(&removed)
        .filter_map(|(name, removed)| removed.as_ref().ok().filter(|count| **count > 0).map(|count| (name, count)))
        .collect();
    if let Some(trail) = trail {
        arguments.list.forget_earlier(settings);
        let change = |(name, count): &(&ImageName, &usize)| Change {
            image: name.to_string(),
            message: format!("taken back in {count} of the entries of `{}`", path.display()),
            ..Change::default()
        };
        trail.record("unregister", gone.iter().map(change));
    }
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
    if left == 0 && is_live {
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
