//! What was found, is waited for and was done: the file for those who look, and for the next process. And the operator's answer to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Act, Found, Hold, Memory};
use crate::engine::ContainerId;
use crate::files::{Outlives, read_owned, replace};
use crate::image::Digest;
use crate::policy::MonitorRule;
use crate::text::fit;

/// Largest of these files, bytes. Stops a foreign one from filling memory.
const FILE_BYTES: u64 = 16 << 20;
/// Most containers told in the file, of each kind; how many there are is told beside. Bounds what is written each time.
const TOLD: usize = 1000;
/// Longest text of a client's, characters.
const TEXT_CHARS: usize = 128;
/// How long the operator's answer counts. It is about what runs now.
const ANSWER: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// How things are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// When this was written; a monitor that runs writes it every quarter of a minute.
    pub told: Timestamp,
    /// When the engine's list of what runs was last read. What began since is not among these.
    pub listed: Option<Timestamp>,
    /// How many of its rows could not be read.
    #[serde(default)]
    pub unread: usize,
    /// What becomes of what is found.
    pub rule: MonitorRule,
    /// Policy or trust changed: until when only reports are made.
    pub paused_until: Option<Timestamp>,
    /// How many containers run.
    pub running: usize,
    /// How many of these may be acted on at once.
    pub limit: usize,
    /// How many run unapproved.
    pub unapproved: usize,
    /// Those.
    pub findings: Vec<Finding>,
    /// Those of which it cannot be told. They are not touched.
    pub unsure: Vec<Finding>,
    /// What the operator is waited for: exactly these containers.
    pub awaited: BTreeSet<ContainerId>,
    /// What was done within the last ten minutes.
    pub acts: Vec<Act>,
    /// What tells what is in force from anything else, and since when it is.
    pub fingerprint: Option<Digest>,
    /// Since when.
    pub changed: Option<Timestamp>,
    /// What must not be acted on before.
    pub not_before: BTreeMap<ContainerId, Timestamp>,
    /// What was approved when it was last judged.
    pub approved: BTreeSet<ContainerId>,
}

/// A container, and what is the matter with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its whole id.
    pub container: ContainerId,
    /// What it is called.
    pub name: String,
    /// What it was asked for with.
    pub image: String,
    /// The image that it was made of.
    pub image_id: Option<Digest>,
    /// The refusal's code.
    pub code: String,
    /// The whole line.
    pub message: String,
    /// Since when it is known.
    pub since: Option<Timestamp>,
    /// Why nothing is done about it.
    pub hold: Option<Hold>,
    /// The same in words.
    pub held: Option<String>,
}

impl Finding {
    /// One of which it cannot be told, or that runs unapproved.
    fn of(found: &Found) -> Self {
        let Found { seen, why, hold, .. } = found;
        Self {
            container: seen.id.clone(),
            name: fit(&seen.name, TEXT_CHARS),
            image: fit(&seen.image_ref, TEXT_CHARS),
            image_id: seen.image,
            code: why.code.to_owned(),
            message: why.message.clone(),
            since: None,
            hold: hold.clone(),
            held: hold.as_ref().map(ToString::to_string),
        }
    }

    /// The same of one that runs unapproved.
    pub(super) fn unapproved(found: &Found) -> Self {
        Self { since: Some(found.since), ..Self::of(found) }
    }
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// There is no such file, or it cannot be read.
    #[error("`{path}` cannot be read: {source}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what a monitor writes.
    #[error("`{path}` is not what a monitor writes: {source}")]
    Content {
        /// Its path.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Picture {
    /// The one in this file.
    pub fn read(path: &Path) -> Result<Self, Unread> {
        read(path)
    }

    pub(super) fn write(&self, path: &Path) -> std::io::Result<()> {
        write(path, self, Outlives::Process)
    }

    pub(super) fn memory(&self) -> Memory {
        Memory {
            fingerprint: self.fingerprint,
            changed: self.changed,
            acts: self.acts.clone(),
            not_before: self.not_before.clone(),
            approved: self.approved.clone(),
        }
    }

    /// The findings and the undecided ones, as far as they are told.
    pub(super) fn tell(&mut self, found: &[Found], unsure: &[Found]) {
        self.unapproved = found.len();
        self.findings = found.iter().take(TOLD).map(Finding::unapproved).collect();
        self.unsure = unsure.iter().take(TOLD).map(Finding::of).collect();
    }
}

/// The operator lets these containers be stopped, all of them and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// When he said so.
    pub at: Timestamp,
    /// What was to become of them then.
    pub rule: MonitorRule,
    /// Which.
    pub containers: BTreeSet<ContainerId>,
}

impl Approved {
    /// Puts it where the monitor looks for it.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        write(path, self, Outlives::Process)
    }

    /// Takes it from there: it counts once.
    pub(super) fn take(path: &Path) -> Option<Result<Self, Unread>> {
        if !path.try_exists().unwrap_or(true) {
            return None;
        }
        let found = read(path);
        match std::fs::remove_file(path) {
            Ok(()) => Some(found),
            // One that would stay would count again.
            Err(source) => Some(Err(Unread::File { path: path.display().to_string(), source })),
        }
    }

    /// Whether it is about now, and about this.
    pub(super) fn is_for(&self, rule: MonitorRule, now: Timestamp) -> bool {
        let age = now.duration_since(self.at);
        self.rule == rule && age < ANSWER && age > -ANSWER
    }
}

pub(super) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Unread> {
    let shown = || path.display().to_string();
    let text = read_owned(path, FILE_BYTES).map_err(|source| Unread::File { path: shown(), source })?;
    serde_json::from_slice(text.as_bytes()).map_err(|source| Unread::Content { path: shown(), source })
}

pub(super) fn write<T: Serialize>(path: &Path, content: &T, outlives: Outlives) -> std::io::Result<()> {
    replace(path, &serde_json::to_vec_pretty(content)?, 0o600, outlives)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_operators_answer_counts_once_and_only_as_root_wrote_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("approved.json");
        assert!(Approved::take(&path).is_none());
        let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let said = Approved { at: now, rule: MonitorRule::Stop, containers: BTreeSet::new() };
        said.write(&path).unwrap();
        assert_eq!(Approved::take(&path).unwrap().unwrap(), said);
        assert!(Approved::take(&path).is_none(), "it is gone");
        said.write(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(Approved::take(&path).unwrap().is_err());
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(Approved::take(&path), Some(Err(Unread::Content { .. }))));
        let soon = |minutes| now + jiff::SignedDuration::from_mins(minutes);
        assert!(said.is_for(MonitorRule::Stop, soon(4)) && !said.is_for(MonitorRule::Stop, soon(5)));
        assert!(!said.is_for(MonitorRule::Remove, now) && !said.is_for(MonitorRule::Stop, soon(-5)));
    }
}
