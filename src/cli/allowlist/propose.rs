//! `allowlist propose`: what the audit log says was used on this host, as a list for review. Nothing is approved by it.
//!
//! The log knows images by id and by what they were called; the engine knows which digests they were pulled by. What was not pulled under its
//! name only bears it: anybody may have put the name there.

use crate::order::sort_by_key;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::Instant;

use crate::audit;
use crate::cli::out::{self, Cell, Colour, Table};
use crate::cli::register::{ListArgs, next, places, short};
use crate::cli::{NO, YES, state_of, when};
use crate::engine::{Api, Engine, Image, Store};
use crate::image::{Digest, ImageName, Reference};
use crate::policy::Settings;
use crate::setup::{self, Place};
use crate::text::{clean, fit};
use crate::trust::allowlist::file::{Entry, ListFile};

/// How long the engine gets for one answer.
const ENGINE_TIME: Duration = Duration::from_secs(10);
/// Longest line read of the log. Stops a file that is none from filling memory.
const LINE_BYTES: u64 = 64 << 10;
/// Most images, and most names and users of one. A log may be full of what clients made up.
const IMAGES: usize = 2000;
const NAMES: usize = 16;
/// Longest list of users in a reason, characters.
const USERS_CHARS: usize = 200;
/// Longest cell of a table, characters.
const CELL_CHARS: usize = 48;

/// What is proposed.
#[derive(Args)]
pub(super) struct ProposeArgs {
    /// Only what was used since then: 12h, 7d, 2w, a date, or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Write it to this new file, and not to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The allowlist in force, if not the gate's own: what it has already is not proposed again
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

/// A line of the log, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Line {
    timestamp: Timestamp,
    event: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    container_image: String,
    #[serde(default)]
    image_id: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    verifiers: Vec<String>,
    #[serde(default = "yes")]
    enforced: bool,
    #[serde(default = "one")]
    count: u64,
}

const fn yes() -> bool {
    true
}

const fn one() -> u64 {
    1
}

/// An image that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    first: Timestamp,
    last: Timestamp,
    count: u64,
    /// As it was called.
    names: BTreeSet<String>,
    users: BTreeSet<String>,
    /// Digests that somebody vouched for, each under the name that was asked for.
    vouched: BTreeSet<(String, Digest)>,
}

/// What was used, by image id.
#[derive(Debug, Default)]
struct Used {
    images: BTreeMap<Digest, Seen>,
    /// Lines about images that are left out, since there are too many.
    left: u64,
}

/// How well it is known that content belongs to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Somebody vouched for it, or it was pulled under this name.
    Pulled,
    /// It bears the name, and nothing says that it came by it.
    BearsName,
    /// It is not on this host any more.
    Gone,
}

/// An entry that is proposed.
#[derive(Debug)]
struct Proposal {
    entry: Entry,
    standing: Standing,
    seen: Seen,
}

pub(super) fn run(arguments: &ProposeArgs, env: &Settings, now: Timestamp) -> Result<u8, String> {
    let place = Place::find(env.clone());
    let list = ListArgs { file: arguments.file.clone(), json: false };
    let settings = state_of(place)?;
    let since = arguments.since.as_deref().map(|text| when::ago(text, now)).transpose()?;
    let path = list.path(&settings);
    let key = if arguments.file.is_none() { setup::list_key(&settings)? } else { None };
    let mut next = next(&path, key.as_ref(), &settings)?;
    let log = settings.state_dir().join(setup::AUDIT_LOG);
    let used = read_log(&log, since).map_err(|error| format!("the audit log `{}` cannot be read: {error}", log.display()))?;
    if used.left > 0 {
        out::note(&format!("note: only {IMAGES} images are looked at; {} lines are about others", used.left));
    }
    let engine = Engine::at(settings.docker_host()).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let proposals = runtime.block_on(propose(&engine, used, &next))?;
    if proposals.is_empty() {
        out::note("nothing was used that is not in the list already");
        return Ok(NO);
    }
    out::note(table(&proposals).to_text().trim_end());
    let bare = proposals.iter().filter(|proposal| proposal.standing != Standing::Pulled).count();
    if bare > 0 {
        out::note(&format!(
            "{bare} of {} only bear their name, or are gone: look at them before you approve them",
            proposals.len()
        ));
    }
    // A list that nobody signs needs no serial.
    if key.is_none() && !next.is_signed && ListFile::read(&path).map_or(true, |list| list.serial.is_none()) {
        (next.serial, next.list) = (None, None);
    }
    next.entries.extend(proposals.into_iter().map(|proposal| proposal.entry));
    match &arguments.out {
        Some(file) => {
            next.write_new(file).map_err(|error| format!("`{}`: {error}", file.display()))?;
            out::note(&format!("`{}` is for review; nothing is approved by it", file.display()));
        }
        None => out::print(&next.to_text()),
    }
    Ok(YES)
}

/// What the log says was used: calls that touched an image and passed.
fn read_log(path: &Path, since: Option<Timestamp>) -> std::io::Result<Used> {
    let mut used = Used::default();
    for part in audit::parts(path)? {
        let mut reader = BufReader::new(part.file);
        let mut line = Vec::new();
        while reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? > 0 {
            if let Ok(line) = serde_json::from_slice::<Line>(&line) {
                used.take(line, since);
            }
            line.clear();
        }
    }
    Ok(used)
}

impl Used {
    fn take(&mut self, line: Line, since: Option<Timestamp>) {
        // What was refused did not run.
        let passed = match line.event.as_str() {
            "ALLOWED" | "CREATED" => true,
            "BLOCKED" => !line.enforced,
            _ => false,
        };
        let Ok(id) = line.image_id.parse::<Digest>() else { return };
        if !passed || since.is_some_and(|since| line.timestamp < since) {
            return;
        }
        if self.images.len() >= IMAGES && !self.images.contains_key(&id) {
            self.left = self.left.saturating_add(1);
            return;
        }
        let seen = self.images.entry(id).or_insert_with(|| Seen {
            first: line.timestamp,
            last: line.timestamp,
            count: 0,
            names: BTreeSet::new(),
            users: BTreeSet::new(),
            vouched: BTreeSet::new(),
        });
        seen.first = seen.first.min(line.timestamp);
        seen.last = seen.last.max(line.timestamp);
        seen.count = seen.count.saturating_add(line.count);
        for name in [&line.image, &line.container_image].into_iter().filter(|name| !name.is_empty()) {
            if seen.names.len() < NAMES {
                seen.names.insert(name.clone());
            }
        }
        if seen.users.len() < NAMES {
            seen.users.insert(if line.user.is_empty() { "local".to_owned() } else { line.user });
        }
        // The list's own word says nothing of where content comes from.
        if line.verifiers.iter().any(|verifier| verifier != "allowlist")
            && let Ok(digest) = line.digest.parse()
            && seen.vouched.len() < NAMES
        {
            seen.vouched.insert((line.image, digest));
        }
    }
}

/// What is not listed yet, what was used most in front.
async fn propose(engine: &dyn Api, used: Used, listed: &ListFile) -> Result<Vec<Proposal>, String> {
    let mut proposals = Vec::new();
    for (id, seen) in used.images {
        let image = match engine.image(&id.to_string(), Instant::now() + ENGINE_TIME).await {
            Ok(image) => image,
            // One that cannot be read keeps no other from being proposed.
            Err(error) if error.is_of_one() => {
                tracing::warn!(%error, "this image is left out");
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        for (entry, standing) in entries(id, image.as_ref(), &seen) {
            let is_listed = |old: &Entry| {
                entry.digests().any(|digest| old.is_for(&digest))
                    && (old.references.is_empty() || entry.references.iter().all(|reference| old.references.contains(reference)))
            };
            if !listed.entries.iter().any(is_listed) {
                proposals.push(Proposal { entry, standing, seen: seen.clone() });
            }
        }
    }
    sort_by_key(&mut proposals, |proposal| std::cmp::Reverse(proposal.seen.count));
    for Proposal { entry, standing, seen } in &mut proposals {
        entry.reason = Some(reason(*standing, seen));
    }
    Ok(proposals)
}

/// An entry for what was pulled, by its digest, and one for names that the image only bears.
fn entries(id: Digest, image: Option<&Image>, seen: &Seen) -> Vec<(Entry, Standing)> {
    let names: Vec<Reference> = seen.names.iter().filter_map(|name| ImageName::parse(name).ok()?.reference().cloned()).collect();
    let Some(image) = image else {
        // Only the log knows it. Whether its id is a digest of a manifest is not known.
        return vec![(Entry { image_id: Some(id), references: names, ..Entry::default() }, Standing::Gone)];
    };
    let in_containerd = image.store == Some(Store::Containerd);
    let mut by_digest: BTreeMap<Option<Digest>, Vec<Reference>> = BTreeMap::new();
    for reference in names {
        // The tag may have gone to another image since; what was used under it was this one.
        let pulled =
            image.repo_digests.iter().filter(|(repository, _)| *repository == reference.repository).map(|(_, digest)| *digest);
        // In the containerd store these follow the name (`docker tag`): there somebody's word is needed.
        let is_of_it = |name: &str| {
            ImageName::parse(name).is_ok_and(|name| name.reference().is_some_and(|name| name.repository == reference.repository))
        };
        let is_vouched = |digest: &Digest| seen.vouched.iter().any(|(name, vouched)| vouched == digest && is_of_it(name));
        let digest = pulled.into_iter().find(|digest| !in_containerd || is_vouched(digest));
        by_digest.entry(digest).or_default().push(reference);
    }
    let of = |(digest, references): (Option<Digest>, Vec<Reference>)| {
        let standing = if digest.is_some() { Standing::Pulled } else { Standing::BearsName };
        let entry = Entry {
            digest: digest.or(in_containerd.then_some(id)),
            image_id: (digest.is_none() && !in_containerd).then_some(id),
            // A reference with another digest than the entry's is none of it.
            references: references
                .into_iter()
                .filter(|reference| reference.digest.is_none_or(|named| Some(named) == digest || named == id))
                .collect(),
            platform: Some(image.config.platform.to_string()).filter(|platform| platform != "/"),
            layers: image.config.layers.clone(),
            ..Entry::default()
        };
        (entry, standing)
    };
    // Without a name of its own it would be approved in any repository.
    by_digest.into_iter().map(of).filter(|(entry, _)| !entry.references.is_empty()).collect()
}

fn reason(standing: Standing, seen: &Seen) -> String {
    let mark = match standing {
        Standing::Pulled => "",
        Standing::BearsName => "ONLY BEARS THIS NAME, was not pulled by it: ",
        Standing::Gone => "GONE from this host, known by its id alone: ",
    };
    let users = fit(&seen.users.iter().cloned().collect::<Vec<_>>().join(", "), USERS_CHARS);
    format!("proposed: {mark}used {} times from {:.0} to {:.0} by {users}", seen.count, seen.first, seen.last)
}

fn table(proposals: &[Proposal]) -> Table<6> {
    let mut table = Table::new(["REFERENCES", "DIGEST", "IMAGE ID", "USED", "LAST", "STANDING"]);
    for Proposal { entry, standing, seen } in proposals {
        let standing = match standing {
            Standing::Pulled => Cell::new("pulled", Colour::Green),
            Standing::BearsName => Cell::new("bears the name", Colour::Yellow),
            Standing::Gone => Cell::new("gone", Colour::Yellow),
        };
        table.row([
            fit(&places(entry), CELL_CHARS).into(),
            short(entry.digest).into(),
            short(entry.image_id).into(),
            seen.count.to_string().into(),
            clean(&format!("{:.0}", seen.last)).into(),
            standing,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineError, Fake};

    fn digest(byte: u8) -> Digest {
        Digest::from_bytes([byte; 32])
    }

    fn line(event: &str, image: &str, id: u8, enforced: bool) -> Line {
        let json = serde_json::json!({
            "timestamp": "2026-11-20T10:00:00Z", "event": event, "image": image, "image_id": digest(id), "enforced": enforced, "user": "alice"
        });
        serde_json::from_value(json).unwrap()
    }

    fn image(id: u8, tags: &[&str], pulled: &[String], store: &str) -> Image {
        let mut json = serde_json::json!({
            "Id": digest(id), "RepoTags": tags, "RepoDigests": pulled, "Os": "linux", "Architecture": "amd64"
        });
        match store {
            "classic" => json["GraphDriver"] = serde_json::json!({ "Name": "overlay2", "Data": {} }),
            _ => json["Descriptor"] = serde_json::json!({ "digest": digest(id), "mediaType": "x", "size": 1 }),
        }
        serde_json::from_value(json).unwrap()
    }

    async fn proposed(
        lines: Vec<Line>,
        images: Vec<Image>,
        listed: &ListFile,
    ) -> Vec<(Option<Digest>, Option<Digest>, String, Standing)> {
        let fake = Fake::new();
        for image in images {
            fake.put_image(image);
        }
        let mut used = Used::default();
        for line in lines {
            used.take(line, None);
        }
        let told = |proposal: Proposal| {
            let Entry { digest, image_id, .. } = proposal.entry;
            (digest, image_id, places(&proposal.entry), proposal.standing)
        };
        propose(&fake, used, listed).await.unwrap().into_iter().map(told).collect()
    }

    #[tokio::test]
    async fn what_was_pulled_is_proposed_by_its_digest_and_what_bears_a_name_is_marked() {
        let pulled = image(1, &["r.example/app:1", "evil:1"], &[format!("r.example/app@{}", digest(2))], "classic");
        let lines = || vec![line("BLOCKED", "r.example/app:1", 1, false), line("BLOCKED", "evil:1", 1, false)];
        let found = proposed(lines(), vec![pulled.clone()], &ListFile::default()).await;
        assert_eq!(
            found,
            [
                (None, Some(digest(1)), "docker.io/library/evil:1".to_owned(), Standing::BearsName),
                (Some(digest(2)), None, "r.example/app:1".to_owned(), Standing::Pulled),
            ]
        );
        // What is listed already is not proposed again; its other name is.
        let listed = Entry { digest: Some(digest(2)), references: vec!["r.example/app:1".parse().unwrap()], ..Entry::default() };
        let listed = ListFile { entries: vec![listed], ..ListFile::default() };
        assert_eq!(proposed(lines(), vec![pulled], &listed).await.len(), 1);
        // Gone: the log alone knows it.
        let gone = proposed(vec![line("ALLOWED", "r.example/app:1", 3, true)], vec![], &ListFile::default()).await;
        assert_eq!(gone, [(None, Some(digest(3)), "r.example/app:1".to_owned(), Standing::Gone)]);
    }

    #[tokio::test]
    async fn in_the_containerd_store_a_digest_beside_a_name_is_no_evidence_without_somebodys_word() {
        let tagged = image(1, &["r.example/app:1"], &[format!("r.example/app@{}", digest(1))], "containerd");
        assert_eq!(tagged.store, Some(Store::Containerd));
        for (vouched, standing) in [(true, Standing::Pulled), (false, Standing::BearsName)] {
            let mut line = line("ALLOWED", "r.example/app:1", 1, true);
            if vouched {
                line.digest = digest(1).to_string();
                line.verifiers = vec!["notary".to_owned()];
            }
            let found = proposed(vec![line], vec![tagged.clone()], &ListFile::default()).await;
            assert_eq!(found, [(Some(digest(1)), None, "r.example/app:1".to_owned(), standing)]);
        }
    }

    #[tokio::test]
    async fn an_image_that_cannot_be_read_is_left_out_and_an_engine_that_is_away_is_not() {
        let engine = Fake::new();
        let asked = async |error| {
            engine.fail_with(Some(error));
            let mut used = Used::default();
            used.take(line("ALLOWED", "r.example/app:1", 1, true), None);
            propose(&engine, used, &ListFile::default()).await.map(|found| found.len())
        };
        let (call, cause) = ("GET /images/x/json".to_owned(), "more than 4096 labels".to_owned());
        assert_eq!(asked(EngineError::Undecodable { call, cause }).await, Ok(0));
        let gone = EngineError::Unreachable { socket: "/run/docker.sock".to_owned(), cause: "refused".to_owned() };
        assert!(asked(gone).await.is_err());
    }

    #[test]
    fn what_was_refused_or_has_no_image_is_not_used_and_a_flood_is_bounded() {
        let mut used = Used::default();
        used.take(line("BLOCKED", "a:1", 1, true), None);
        used.take(line("CHANGED", "a:1", 1, true), None);
        used.take(Line { image_id: String::new(), ..line("ALLOWED", "a:1", 1, true) }, None);
        used.take(line("ALLOWED", "a:1", 1, true), "2026-11-20T10:00:01Z".parse().ok());
        assert!(used.images.is_empty());
        used.take(line("ALLOWED", "a:1", 1, true), "2026-11-20T10:00:00Z".parse().ok());
        for number in 0..3000_u32 {
            let mut of = line("BLOCKED", &format!("n{number}:1"), 1, false);
            of.image_id = Digest::of(&number.to_be_bytes()).to_string();
            used.take(of, None);
            used.take(line("BLOCKED", &format!("n{number}:1"), 1, false), None);
        }
        assert_eq!((used.images.len(), used.left), (IMAGES, 1001));
        let seen = &used.images[&digest(1)];
        assert_eq!((seen.count, seen.names.len(), seen.users.len()), (3001, NAMES, 1));
    }
}
