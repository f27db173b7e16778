//! What is told of images that arrived, and the file that it is in.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::super::picture;
use crate::image::Digest;

/// How long it is of now.
const FRESH: SignedDuration = SignedDuration::from_secs(90);

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// When this was written.
    pub told: Timestamp,
    /// Since when arrivals are looked for. What was there before did not arrive.
    pub since: Timestamp,
    /// How many wait to be audited.
    pub waiting: usize,
    /// How many are on the host beyond those that are known. They are not audited.
    pub left: usize,
    /// How many rows of the engine's list could not be read. Those images are not audited.
    #[serde(default)]
    pub unread: usize,
    /// How many went since before they were audited.
    #[serde(default)]
    pub gone: u64,
    /// Why images cannot be listed.
    pub fault: Option<String>,
    /// The newest that were audited, the newest first.
    pub images: Vec<Audited>,
}

/// An image that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// When it was audited.
    pub at: Timestamp,
    /// Its id.
    pub id: Digest,
    /// Its first name, or its id.
    pub name: String,
    /// What is weak about it, the worst first.
    pub weak: Vec<Weakness>,
    /// How many more there are.
    pub more: usize,
    /// What of it could not be looked at, and why.
    pub unread: Option<String>,
}

/// A rule of the audit that an image does not keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weakness {
    /// The rule's id.
    pub rule: String,
    /// How bad it is.
    pub severity: String,
    /// What shows it.
    pub evidence: String,
}

impl Arrived {
    /// Of nothing that is known yet.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { told: now, since: now, waiting: 0, left: 0, unread: 0, gone: 0, fault: None, images: Vec::new() }
    }

    /// The one in this file, where it is of now: who looks at what arrives writes it each half minute.
    #[must_use]
    pub fn read(path: &Path, now: Timestamp) -> Option<Self> {
        let arrived = picture::read::<Kept>(path).ok()?.arrived;
        (now.duration_since(arrived.told) <= FRESH).then_some(arrived)
    }

    /// What is not audited, in words.
    #[must_use]
    pub fn left_out(&self) -> Vec<String> {
        let parts = [
            (self.waiting as u64, "wait to be audited"),
            (self.left as u64, "are too many and not audited"),
            (self.unread as u64, "cannot be read in the engine's list and are not audited"),
            (self.gone, "went before they were audited"),
        ];
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }
}

impl Audited {
    /// How bad the worst is.
    #[must_use]
    pub fn worst(&self) -> Option<&str> {
        self.weak.first().map(|weak| weak.severity.as_str())
    }

    /// Whether that lets somebody in, or leaves little between a container and its host.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        matches!(self.worst(), Some("critical" | "high"))
    }

    /// The rules that it does not keep, on a line; and what could not be looked at.
    #[must_use]
    pub fn told(&self) -> String {
        let mut rules: Vec<&str> = self.weak.iter().map(|weak| weak.rule.as_str()).collect();
        rules.dedup();
        let more = if self.more > 0 { format!(" and {} more", self.more) } else { String::new() };
        let found = if rules.is_empty() { "none found".to_owned() } else { rules.join(", ") + &more };
        match &self.unread {
            Some(why) if rules.is_empty() => format!("not looked at: {why}"),
            Some(why) => format!("{found}; not looked at: {why}"),
            None => found,
        }
    }
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) arrived: Arrived,
    /// Images that are known: audited, waiting, or there from before.
    pub(super) known: BTreeSet<Digest>,
}
