//! What is remembered of each repository while the process lives: what was verified, what the server said last, and how much of it
//! is on disk. Bounded: the least recently used goes first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, OnceCell, watch};
use tokio::time::Instant;

use super::format::{Bad, Edition};
use super::lock;
use super::outage::Miss;
use super::state::Base;
use crate::image::Repository;
use crate::trust::TrustError;
use crate::trust::tuf::Knowledge;

/// Repositories kept in memory. The least recently used goes first; disk has them still.
const KEPT: usize = 1024;
/// Bytes of trust data kept in memory, beyond which the least recently used goes.
const KEPT_BYTES: usize = 16 << 20;
/// A check that found nothing new is written to disk this often, for the age of what is kept.
pub(super) const SEEN_TIME: SignedDuration = SignedDuration::from_mins(5);

/// All repositories in memory.
#[derive(Default)]
pub(super) struct Memory {
    entries: Mutex<HashMap<Repository, Arc<Entry>>>,
}

/// What is remembered of one repository.
pub(super) struct Entry {
    pub(super) repository: Repository,
    /// Whether the disk was looked at.
    pub(super) loaded: OnceCell<()>,
    pub(super) now: Mutex<Remembered>,
    pub(super) flight: Mutex<Option<Arc<Flight>>>,
}

#[derive(Default)]
pub(super) struct Remembered {
    pub(super) known: Option<Known>,
    /// What on disk `known` was built on.
    pub(super) base: Base,
    /// When its last check was written to disk.
    pub(super) written: Option<Timestamp>,
    pub(super) on_disk: OnDisk,
    /// What the server answered last, if that was not good: what was known before is not used in its place. Kept on disk
    /// where something was known, so that a restart during an outage does not bring it back.
    pub(super) refused: Option<Bad>,
    /// When somebody last asked about it.
    pub(super) used: Option<Instant>,
    /// When it was last checked ahead of a question.
    pub(super) tried: Option<Instant>,
    /// Whether the server gave no answer when it was last asked.
    pub(super) is_missed: bool,
    /// Whether it holds more than when the bounds were last looked at.
    pub(super) grown: bool,
}

/// What the disk has of what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum OnDisk {
    /// All of it, as far as anybody knows.
    #[default]
    All,
    /// Not all: the last write failed, or what stands there is older or damaged.
    Less,
    /// Not even files that are nowhere else: they are asked for again.
    Lost,
}

#[derive(Clone)]
pub(super) struct Known {
    pub(super) knowledge: Arc<Knowledge>,
    /// When the server was last asked with success; `None` for what was only read from disk.
    pub(super) checked: Option<(Instant, Timestamp)>,
    /// The same by the clock of then, also across restarts. The knowledge's own time never goes back, and one check by a clock
    /// that was ahead would make all that follow look old.
    pub(super) since: Timestamp,
}

/// What came of a check.
pub(super) type Outcome = Result<Known, Miss>;

/// A check under way; whoever asks meanwhile waits for what it brings.
pub(super) struct Flight {
    pub(super) outcome: watch::Receiver<Option<Outcome>>,
    /// A start waits for it: it need not queue with pulls.
    pub(super) hurry: Notify,
}

impl Memory {
    /// The repository's entry; made if it is not there. [`Memory::tidy`] removes it if nothing came of it.
    pub(super) fn entry(&self, repository: &Repository) -> Arc<Entry> {
        let mut entries = lock(&self.entries);
        let entry = entries.entry(repository.clone()).or_insert_with(|| {
            Arc::new(Entry {
                repository: repository.clone(),
                loaded: OnceCell::new(),
                now: Mutex::default(),
                flight: Mutex::default(),
            })
        });
        Arc::clone(entry)
    }

    /// The repository's entry, if there is one.
    pub(super) fn get(&self, repository: &Repository) -> Option<Arc<Entry>> {
        lock(&self.entries).get(repository).cloned()
    }

    /// All entries.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        lock(&self.entries).values().cloned().collect()
    }

    pub(super) fn forget(&self, repository: &Repository) {
        lock(&self.entries).remove(repository);
    }

    /// Forgets an entry of which nothing is known, so that made-up names cost nothing, and the least recently used ones
    /// beyond the bounds.
    pub(super) fn tidy(&self, entry: &Arc<Entry>) {
        let mut entries = lock(&self.entries);
        let flying = lock(&entry.flight).is_some();
        let (empty, grown) = {
            let mut remembered = lock(&entry.now);
            (remembered.known.is_none(), std::mem::take(&mut remembered.grown))
        };
        if empty && !flying {
            entries.remove(&entry.repository);
            return;
        }
        if !grown {
            return;
        }
        let bytes = |entry: &Entry| lock(&entry.now).known.as_ref().map_or(0, |known| known.knowledge.bytes());
        while entries.len() > KEPT
            || (entries.len() > 1 && entries.values().map(|entry| bytes(entry)).sum::<usize>() > KEPT_BYTES)
        {
            let oldest = entries
                .values()
                .filter(|entry| lock(&entry.flight).is_none())
                .min_by_key(|entry| lock(&entry.now).rank())
                .map(|entry| entry.repository.clone());
            let Some(oldest) = oldest else { return };
            entries.remove(&oldest);
        }
    }
}

impl Bad {
    /// Whether this is no news: the same again, and soon after.
    pub(super) fn is_repeated(&self, error: &TrustError, now: Timestamp) -> bool {
        self.error.code == error.code && now.duration_since(self.at) < SEEN_TIME
    }
}

impl Remembered {
    /// What is verified further.
    pub(super) fn knowledge(&self) -> Option<Arc<Knowledge>> {
        let knowledge = &self.known.as_ref()?.knowledge;
        Some(match self.on_disk {
            OnDisk::All | OnDisk::Less => Arc::clone(knowledge),
            OnDisk::Lost => Arc::new(knowledge.lost()),
        })
    }

    /// The disk does not have all of it; what was lost stays so.
    pub(super) fn unsaved(&mut self) {
        if self.on_disk == OnDisk::All {
            self.on_disk = OnDisk::Less;
        }
    }

    /// Which goes first where there are too many: the least recently used. What is not on disk goes last: versions seen go with it.
    pub(super) fn rank(&self) -> (bool, Option<Instant>) {
        (self.on_disk != OnDisk::All || self.base.edition.is_none(), self.used)
    }

    /// Takes in what is on disk and verified: what has seen the newest versions counts, whatever the clocks said. The edition is built on
    /// from now on, so that nothing it has seen may be left out.
    pub(super) fn found(&mut self, mut found: Known, bad: Option<Bad>, edition: Edition) {
        let (mut is_ahead, mut is_newer) = (false, true);
        if let Some(before) = &self.known {
            let (own, other) = (&before.knowledge, &found.knowledge);
            is_ahead = own.is_above(other);
            // Of the same versions the one that was checked last.
            is_newer = other.is_above(own) || (!is_ahead && own.seen() <= other.seen());
            if is_ahead && is_newer {
                found.knowledge = Arc::new(other.with_floors_of(own));
            }
        }
        // A no that could not be written is not on disk, and counts until a later check found otherwise.
        let own = self.refused.take().filter(|own| self.on_disk != OnDisk::All && own.at > found.since);
        let is_all = !is_ahead && (bad.is_some() || own.is_none());
        self.on_disk = if is_all { OnDisk::All } else { OnDisk::Less };
        self.refused = bad.or(own);
        self.written = Some(found.since);
        self.base.edition = Some(edition);
        if is_newer {
            self.known = Some(found);
            self.grown = true;
        }
    }
}

impl Entry {
    pub(super) fn remembered(&self) -> (Option<Known>, Option<Bad>) {
        let remembered = lock(&self.now);
        (remembered.known.clone(), remembered.refused.clone())
    }

    /// Whether what is in memory was on disk once, as it is or as something older.
    pub(super) fn is_built_on_disk(&self) -> bool {
        let remembered = lock(&self.now);
        remembered.base.edition.is_some() && remembered.known.is_some()
    }

    /// Whether this edition is what is in memory, verified.
    pub(super) fn holds(&self, edition: Edition) -> bool {
        let remembered = lock(&self.now);
        remembered.base.edition == Some(edition) && remembered.known.is_some()
    }

    pub(super) fn fresh(&self, window: Duration, now: Timestamp) -> Option<Known> {
        let mut remembered = lock(&self.now);
        if remembered.refused.is_some() {
            return None;
        }
        let (at, wall) = remembered.known.as_ref()?.checked?;
        // Both clocks: the steady one stands still in suspend, the other may be set.
        let age = now.duration_since(wall);
        if at.elapsed() >= window || age >= SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX) {
            return None;
        }
        remembered.used = Some(Instant::now());
        remembered.known.clone()
    }
}
