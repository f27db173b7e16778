//! `allowlist list`, `prune`, `sign` and `propose`: reading the list, clearing it up, and making one for review or to be believed elsewhere.

mod propose;
mod sign;

use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::out::{self, Cell, Colour, Consent, Table};
use super::register::{ListArgs, OutArgs, changed_entry, places, short};
use super::{NO, UNKNOWN, YES};
use crate::clock;
use crate::engine::{Api, Engine, EngineError};
use crate::image::Digest;
use crate::policy::Settings;
use crate::trust::allowlist::file::{Entry, FileFault, ListFile};

/// How long the engine gets for its lists.
const ENGINE_TIME: Duration = Duration::from_secs(30);

/// Read the allowlist, or clear it up.
///
/// Example: img-authz allowlist list
#[derive(Args)]
pub(super) struct AllowlistArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show every entry
    ///
    /// Example: img-authz allowlist list --json
    List(ListArgs),
    /// Remove entries that have expired, or whose image is no longer on this host
    ///
    /// Example: img-authz allowlist prune --absent
    Prune(PruneArgs),
    /// Write for review the list that would approve what was seen on this host, as the audit log has it; nothing is approved by it
    ///
    /// Run the gate with MODE=permissive for a while first. What only bears a name, and was not pulled by it, is marked in its reason.
    ///
    /// Example: img-authz allowlist propose --since 2w --out proposed.json
    Propose(propose::ProposeArgs),
    /// Sign a list with a private key, on another machine than the guarded host
    ///
    /// The key: openssl genpkey -algorithm ed25519 -out list.key. Its public half, which this prints, is the gate's `ALLOWLIST_KEY`.
    ///
    /// Example: img-authz allowlist sign --key list.key next.json
    Sign(sign::SignArgs),
}

/// What to remove.
#[derive(Args)]
struct PruneArgs {
    /// Not only what has expired: also entries whose image is neither on this host nor used by a container
    #[arg(long)]
    absent: bool,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    out: OutArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// An entry as it is told.
#[derive(Debug, Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    expired: bool,
}

/// Why an entry goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Why {
    Expired,
    Absent,
}

/// Runs `allowlist`.
#[must_use]
pub(super) fn run(arguments: &AllowlistArgs, settings: &Settings) -> ExitCode {
    let code = match &arguments.command {
        Command::List(arguments) => list(arguments, settings, clock::now()),
        Command::Prune(arguments) => prune(arguments, settings, clock::now()),
        Command::Propose(arguments) => propose::run(arguments, settings, clock::now()),
        Command::Sign(arguments) => sign::run(arguments, settings),
    };
    ExitCode::from(code.unwrap_or_else(|fault| {
        out::fault(&fault);
        UNKNOWN
    }))
}

fn list(arguments: &ListArgs, settings: &Settings, now: Timestamp) -> Result<u8, String> {
    let path = arguments.path(settings);
    let Some(list) = told_missing(&path, ListFile::read(&path))? else { return Ok(NO) };
    if arguments.json {
        let entries: Vec<Told<'_>> = list.entries.iter().map(|entry| Told { entry, expired: entry.is_expired(now) }).collect();
        out::json(&serde_json::json!({
            "file": path.display().to_string(), "serial": list.serial, "is_signed": list.is_signed, "entries": entries
        }));
    } else {
        table(&list, now).print();
        let serial = list.serial.map(|serial| format!(", serial {serial}")).unwrap_or_default();
        let signed = if list.is_signed { ", signed" } else { "" };
        out::note(&format!("{} in {}{serial}{signed}", count(list.entries.len()), path.display()));
    }
    Ok(YES)
}

fn prune(arguments: &PruneArgs, settings: &Settings, now: Timestamp) -> Result<u8, String> {
    let target = arguments.out.target(&arguments.list, settings)?;
    let (path, is_live) = (target.path().to_owned(), target.is_live());
    let Some(list) = told_missing(&path, target.read())? else { return Ok(NO) };
    let held = if arguments.absent { Some(held(settings)?) } else { None };
    let doomed = |entry: &Entry| why(entry, held.as_ref(), now);
    let going: Vec<(&Entry, Why)> = list.entries.iter().filter_map(|entry| Some((entry, doomed(entry)?))).collect();
    if !arguments.list.json {
        if going.is_empty() {
            out::line(&format!("nothing to remove ({})", count(list.entries.len())));
            return Ok(YES);
        }
        going_table(&going).print();
    }
    if !going.is_empty() {
        match out::ask(&format!("Remove {}?", count(going.len())), arguments.yes) {
            Consent::Given => {}
            Consent::Refused => {
                out::note("nothing was changed");
                return Ok(NO);
            }
            Consent::NobodyThere => return Err("say --yes where there is no terminal to ask on".to_owned()),
        }
    }
    let trail = if is_live { Some(arguments.list.trail(settings)?) } else { None };
    // The file may have changed meanwhile: only what was shown goes.
    let removed = target.change(|now| {
        let before = now.entries.len();
        now.entries.retain(|entry| !going.iter().any(|(shown, _)| *shown == entry));
        before - now.entries.len()
    })?;
    if let Some(trail) = trail {
        arguments.list.forget_earlier(settings);
        let change = |(entry, why): &(&Entry, Why)| {
            let why = match why {
                Why::Expired => "it had expired",
                Why::Absent => "its image is not on this host",
            };
            changed_entry(entry, &format!("removed from `{}`: {why}", path.display()))
        };
        trail.record("allowlist-prune", going.iter().map(change));
    }
    if arguments.list.json {
        let entries: Vec<_> = going
            .iter()
            .map(|(entry, why)| serde_json::json!({ "why": why, "digest": entry.digest, "image_id": entry.image_id, "references": entry.references }))
            .collect();
        out::json(&serde_json::json!({ "file": path.display().to_string(), "removed": entries, "count": removed }));
    } else {
        out::note(&format!("{} removed", count(removed)));
    }
    Ok(YES)
}

/// The list; `None`, and said, where there is no file.
fn told_missing(path: &Path, read: Result<ListFile, FileFault>) -> Result<Option<ListFile>, String> {
    match read {
        Ok(list) => Ok(Some(list)),
        Err(FileFault::Missing) => {
            out::fault(&format!("there is no allowlist `{}`", path.display()));
            Ok(None)
        }
        Err(fault) => Err(format!("`{}`: {fault}", path.display())),
    }
}

/// The digests and image ids on this host: of images, and of containers whose image is gone.
fn held(settings: &Settings) -> Result<HashSet<Digest>, String> {
    let engine = Engine::at(settings.docker_host()).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(held_by(&engine)).map_err(|error| error.to_string())
}

async fn held_by(engine: &dyn Api) -> Result<HashSet<Digest>, EngineError> {
    let deadline = Instant::now() + ENGINE_TIME;
    let mut held = HashSet::new();
    for image in engine.images(deadline).await? {
        held.insert(image.id);
        held.extend(image.repo_digests.iter().map(|(_, digest)| *digest));
    }
    held.extend(engine.containers(deadline).await?.whole()?.iter().filter_map(|container| container.image));
    Ok(held)
}

fn why(entry: &Entry, held: Option<&HashSet<Digest>>, now: Timestamp) -> Option<Why> {
    if entry.is_expired(now) {
        return Some(Why::Expired);
    }
    let absent = held.is_some_and(|held| !entry.digests().any(|digest| held.contains(&digest)));
    absent.then_some(Why::Absent)
}

fn count(entries: usize) -> String {
    if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") }
}

fn table(list: &ListFile, now: Timestamp) -> Table<6> {
    let mut table = Table::new(["REFERENCES", "DIGEST", "IMAGE ID", "EXPIRES", "ADDED BY", "REASON"]);
    for entry in &list.entries {
        let expires = match entry.expires {
            Some(time) if entry.is_expired(now) => Cell::new(format!("expired {time}"), Colour::Red),
            Some(time) => time.to_string().into(),
            None => "never".into(),
        };
        let colour = if entry.references.is_empty() { Colour::Yellow } else { Colour::None };
        table.row([
            Cell::new(places(entry), colour),
            short(entry.digest).into(),
            short(entry.image_id).into(),
            expires,
            entry.added_by.as_deref().unwrap_or("-").into(),
            entry.reason.as_deref().unwrap_or("").into(),
        ]);
    }
    table
}

fn going_table(going: &[(&Entry, Why)]) -> Table<4> {
    let mut table = Table::new(["REFERENCES", "DIGEST", "IMAGE ID", "WHY"]);
    for (entry, why) in going {
        let why = match (why, entry.expires) {
            (Why::Expired, Some(time)) => format!("expired {time}"),
            (Why::Expired, None) => "expired".to_owned(),
            (Why::Absent, _) => "not on this host".to_owned(),
        };
        table.row([places(entry).into(), short(entry.digest).into(), short(entry.image_id).into(), why.into()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Fake;
    use crate::trust::allowlist::file::Entry;

    const NOW: Timestamp = Timestamp::constant(1_795_304_924, 0);

    fn digest(byte: u8) -> Digest {
        Digest::from_bytes([byte; 32])
    }

    fn entry(byte: u8, references: &[&str]) -> Entry {
        let references = references.iter().map(|text| text.parse().unwrap()).collect();
        Entry { digest: Some(digest(byte)), references, ..Entry::default() }
    }

    #[test]
    fn the_list_is_a_table() {
        let ended = "2026-01-01T00:00:00Z".parse().ok();
        let list = ListFile {
            entries: vec![
                Entry { added_by: Some("alice".into()), reason: Some("re\nlease".into()), ..entry(1, &["r.example/app:1", "b"]) },
                Entry { expires: ended, image_id: Some(digest(3)), ..entry(2, &[]) },
            ],
            ..ListFile::default()
        };
        insta::assert_snapshot!(table(&list, NOW).text(false), @r"
        REFERENCES                            DIGEST               IMAGE ID             EXPIRES                       ADDED BY  REASON
        r.example/app:1, docker.io/library/b  sha256:010101010101  -                    never                         alice     re\nlease
        (any repository)                      sha256:020202020202  sha256:030303030303  expired 2026-01-01T00:00:00Z  -
        ");
    }

    #[tokio::test]
    async fn what_is_expired_or_absent_goes_and_the_rest_stays() {
        let fake = Fake::new();
        let image = format!(
            r#"{{"Id":"{}","RepoDigests":["r.example/app@{}"],"GraphDriver":{{"Name":"overlay2","Data":{{}}}}}}"#,
            digest(8),
            digest(1)
        );
        fake.put_image(serde_json::from_str(&image).unwrap());
        let container = format!(r#"{{"Id":"{}","Image":"{}","State":{{"Running":false}}}}"#, "ab".repeat(32), digest(2));
        fake.put_container(serde_json::from_str(&container).unwrap());
        let held = held_by(&fake).await.unwrap();
        let ended = Entry { expires: Some(NOW), ..entry(1, &[]) };
        let by_id = Entry { digest: None, image_id: Some(digest(8)), ..Entry::default() };
        for (entry, with, without) in [
            (entry(1, &["r.example/app:1"]), None, None),
            (entry(2, &[]), None, None),
            (by_id, None, None),
            (entry(3, &["r.example/app:1"]), Some(Why::Absent), None),
            (ended, Some(Why::Expired), Some(Why::Expired)),
        ] {
            assert_eq!((why(&entry, Some(&held), NOW), why(&entry, None, NOW)), (with, without), "{entry:?}");
        }
    }

    #[tokio::test]
    async fn an_engine_that_does_not_answer_makes_nothing_absent() {
        let fake = Fake::new();
        fake.fail_with(Some(EngineError::Timeout { call: "GET /images/json".to_owned() }));
        assert!(held_by(&fake).await.is_err());
    }
}
