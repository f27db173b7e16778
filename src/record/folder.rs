//! The folder of the record: a file for each kind of decision, a case with how often and when. Bounded in files, bytes and age; when it is
//! full, the oldest of the most numerous group of the most numerous owner goes (a caller, and what he does), so that a flood pushes out none but its own.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::files::{Outlives, owned_or_absent, read_text, replace};
use crate::image::Digest;
use crate::policy::{Approval, Grounds, Made, Seen, Verdict};
use crate::request::Intent;
use crate::text::clean;

/// Most files. Stops the folder from growing for ever: at most 32 MiB, most often 2.
pub(super) const FILES: usize = 1_000;
/// How long a kind of decision is kept that is not made any more.
const AGE: SignedDuration = SignedDuration::from_hours(24 * 30);
/// New files in a second. Stops a flood of made-up names from keeping the disk busy. One group gets half of them, so that it leaves room for others.
const NEW_A_SECOND: u32 = 100;
const NEW_OF_GROUP: u32 = NEW_A_SECOND / 2;
/// How their names end; and those of files that were left half written.
const ENDING: &str = ".cases.toml";
const HALF: &str = ".tmp";
/// Most of one that is read again, bytes: twice what one may have.
const READ_BYTES: u64 = 64 << 10;
/// Most entries of the folder that are looked at. Stops foreign files from holding up the thread.
const ENTRIES: usize = 100_000;
/// Characters of an owner's name, of a group's, which begins with its owner's, and of a kind's.
const OWNER_CHARS: usize = 8;
const GROUP_CHARS: usize = 24;
const KIND_CHARS: usize = 24;

/// What decisions have in common that are kept in one file, and in one group.
pub(super) struct Key {
    group: String,
    kind: String,
}

impl Key {
    /// A group is its owner, the caller with what he does, and what came of it: a code; or the repository that somebody vouched for. A kind is all
    /// that is known, but for the time, and what containers are called.
    pub(super) fn of(made: &Made, intent: &Intent, verdict: &Verdict, text: &str) -> Self {
        let subject = match verdict {
            Verdict::WouldDeny(reason) | Verdict::Deny(reason) => format!("refused {}", reason.code()),
            Verdict::Allow(permit) => match (permit.forgiven(), permit.grounds()) {
                // What a permissive scope forgives is made up as easily as what is refused.
                (Some(reason), _) => format!("forgiven {}", reason.code()),
                (None, Grounds::NoImage) => "no image".to_owned(),
                (None, Grounds::Setting(setting)) => format!("setting {setting}"),
                (None, Grounds::Content(approvals)) => match approvals.first() {
                    Some(Approval { repository: Some(repository), vouches, .. }) if !vouches.is_empty() => {
                        format!("vouched {repository}")
                    }
                    // And so is a name that nobody was asked about: the engine will not find it.
                    Some(_) | None => "unvouched".to_owned(),
                },
            },
        };
        let short = |text: &str, chars: usize| Digest::of(text.as_bytes()).hex().chars().take(chars).collect::<String>();
        let owner = short(&format!("{:?} {}", made.user, intent.action()), OWNER_CHARS);
        let group = owner + &short(&subject, GROUP_CHARS - OWNER_CHARS);
        let is_of_moment = |line: &&str| ["name = ", "call = ", "now = "].iter().any(|key| line.starts_with(key));
        let lines: Vec<&str> = text.lines().filter(|line| !is_of_moment(line)).collect();
        let kind = format!("{} {}\n{}", made.method, route(&made.target), lines.join("\n"));
        Self { group, kind: short(&kind, KIND_CHARS) }
    }
}

/// A target without what a container is called, by which no policy decides.
fn route(target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut after = false;
    let parts = path.split('/').map(|part| {
        let is_container = std::mem::replace(&mut after, matches!(part, "containers" | "exec"));
        if is_container && part != "create" { "*" } else { part }
    });
    let path = parts.collect::<Vec<_>>().join("/");
    let query: Vec<&str> = query.split('&').filter(|parameter| !parameter.starts_with("name=")).collect();
    format!("{path}?{}", query.join("&"))
}

/// The group and the kind that a file is named by; `None`: its name is none that a gate gives.
fn named(name: &str) -> Option<(&str, &str)> {
    let (group, kind) = name.strip_suffix(ENDING)?.split_once('-')?;
    let is_hex =
        |text: &str, chars: usize| text.len() == chars && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex(group, GROUP_CHARS) && is_hex(kind, KIND_CHARS)).then_some((group, kind))
}

/// A kind of decision.
struct Kind {
    last: Timestamp,
    /// How often it was made since its file was written.
    unsaid: u64,
}

/// The folder, and what is in it.
pub(super) struct Folder {
    path: PathBuf,
    groups: BTreeMap<String, BTreeMap<String, Kind>>,
    count: usize,
    /// The second that runs, and the files that are new in it, by group.
    new: (Instant, BTreeMap<String, u32>),
}

impl Folder {
    /// Opens it, and makes it where it is not there. One that others may look into is not used.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        owned_or_absent(path)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        owned_or_absent(path)?;
        let mut folder =
            Self { path: path.to_owned(), groups: BTreeMap::new(), count: 0, new: (Instant::now(), BTreeMap::new()) };
        let mut half = Vec::new();
        for entry in std::fs::read_dir(path)?.take(ENTRIES) {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(".new-") && name.ends_with(HALF) {
                half.push(entry.path());
                continue;
            }
            // What is too old or too much is removed: so nothing may lie here that somebody else has put here.
            let Some((group, kind)) = named(&name) else {
                let why =
                    format!("it holds `{}`, which is no file of a record; give the record a folder of its own", clean(&name));
                return Err(io::Error::other(why));
            };
            // One with a time that cannot be told is the first to go.
            let modified = entry.metadata().ok().and_then(|found| found.modified().ok());
            let last = modified.and_then(|at| Timestamp::try_from(at).ok()).unwrap_or_default();
            folder.add(group.to_owned(), kind.to_owned(), Kind { last, unsaid: 0 });
        }
        for path in half {
            let _ = std::fs::remove_file(path);
        }
        folder.make_room(FILES);
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a decision: in a file of its own, or, where one of its kind is kept, as one more of these. `false`: more kinds come than are
    /// written in a second.
    pub(super) fn keep(&mut self, key: &Key, text: &str, now: Timestamp) -> io::Result<bool> {
        self.keep_at(key, text, now, Instant::now())
    }

    pub(super) fn keep_at(&mut self, key: &Key, text: &str, now: Timestamp, at: Instant) -> io::Result<bool> {
        if let Some(kind) = self.groups.get_mut(&key.group).and_then(|kinds| kinds.get_mut(&key.kind)) {
            (kind.last, kind.unsaid) = (now, kind.unsaid.saturating_add(1));
            return Ok(true);
        }
        if !self.may_add(&key.group, at) {
            return Ok(false);
        }
        let seen = Seen { first: now, last: now, times: 1 };
        self.write(&key.group, &key.kind, text, seen)?;
        self.add(key.group.clone(), key.kind.clone(), Kind { last: now, unsaid: 0 });
        self.make_room(FILES);
        Ok(true)
    }

    /// Writes what was seen again, and removes what is too old.
    pub(super) fn flush(&mut self, now: Timestamp) -> io::Result<()> {
        owned_or_absent(&self.path)?;
        let mut gone = Vec::new();
        for (group, kinds) in &self.groups {
            for (name, kind) in kinds {
                let is_good = kind.unsaid == 0 || self.count_again(group, name, kind)?;
                if !is_good || now.duration_since(kind.last) > AGE {
                    gone.push((group.clone(), name.clone()));
                }
            }
        }
        for kind in self.groups.values_mut().flat_map(BTreeMap::values_mut) {
            kind.unsaid = 0;
        }
        for (group, kind) in gone {
            self.remove(&group, &kind);
        }
        Ok(())
    }

    /// The same file, of the last time: by it the image's age is judged. `false`: it is gone, or is none of the gate's.
    fn count_again(&self, group: &str, name: &str, kind: &Kind) -> io::Result<bool> {
        let text = read_text(&self.file(group, name), READ_BYTES).unwrap_or_default();
        let Some((text, seen)) = Seen::split(&text) else { return Ok(false) };
        let of_time =
            |line: &str| if line.starts_with("now = ") { format!("now = {}\n", kind.last) } else { format!("{line}\n") };
        let text: String = text.lines().map(of_time).collect();
        let times = seen.times.saturating_add(kind.unsaid);
        self.write(group, name, &text, Seen { last: kind.last, times, ..seen })?;
        Ok(true)
    }

    fn write(&self, group: &str, kind: &str, text: &str, seen: Seen) -> io::Result<()> {
        replace(&self.file(group, kind), format!("{text}{}", seen.lines()).as_bytes(), 0o600, Outlives::Process)
    }

    fn file(&self, group: &str, kind: &str) -> PathBuf {
        self.path.join(format!("{group}-{kind}{ENDING}"))
    }

    fn may_add(&mut self, group: &str, at: Instant) -> bool {
        if at.saturating_duration_since(self.new.0) >= Duration::from_secs(1) {
            self.new = (at, BTreeMap::new());
        }
        let of_all = self.new.1.values().fold(0_u32, |sum, count| sum.saturating_add(*count));
        let of_group = self.new.1.entry(group.to_owned()).or_default();
        let may = of_all < NEW_A_SECOND && *of_group < NEW_OF_GROUP;
        *of_group = of_group.saturating_add(u32::from(may));
        may
    }

    fn add(&mut self, group: String, name: String, kind: Kind) {
        if self.groups.entry(group).or_default().insert(name, kind).is_none() {
            self.count = self.count.saturating_add(1);
        }
    }

    fn remove(&mut self, group: &str, kind: &str) {
        // One that somebody has removed is gone.
        let _ = std::fs::remove_file(self.file(group, kind));
        let Some(kinds) = self.groups.get_mut(group) else { return };
        if kinds.remove(kind).is_some() {
            self.count = self.count.saturating_sub(1);
        }
        if kinds.is_empty() {
            self.groups.remove(group);
        }
    }

    fn make_room(&mut self, most: usize) {
        let owner = |group: &str| group.get(..OWNER_CHARS).unwrap_or_default().to_owned();
        while self.count > most {
            let mut owners: BTreeMap<String, usize> = BTreeMap::new();
            for (group, kinds) in &self.groups {
                let count = owners.entry(owner(group)).or_default();
                *count = count.saturating_add(kinds.len());
            }
            let Some((most_numerous, _)) = owners.into_iter().max_by_key(|(_, count)| *count) else { return };
            let of_owner = self.groups.iter().filter(|(group, _)| group.starts_with(&most_numerous));
            let oldest = of_owner.max_by_key(|(_, kinds)| kinds.len()).and_then(|(group, kinds)| {
                let (name, _) = kinds.iter().min_by_key(|(_, kind)| kind.last)?;
                Some((group.clone(), name.clone()))
            });
            let Some((group, kind)) = oldest else { return };
            self.remove(&group, &kind);
        }
    }
}
