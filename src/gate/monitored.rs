//! What the gate gives to whoever looks after the containers that run: its judgement of each, its journal, its figures. What follows
//! from these is left to the room `monitor`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Gate;
use super::inventory::{Keeping, Says};
use crate::audit::{Entry, Recorded};
use crate::engine::ContainerId;
use crate::policy::{AuditRule, MonitorRule};
use crate::request::{Intent, Start, StartAction};

/// How many running containers are judged at a time: few, since looks at what calls have started use the same turns of the engine.
const AT_ONCE: usize = 4;

/// How things are with the containers that run, in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watched {
    /// How many run unapproved.
    pub unapproved: usize,
    /// Of how many it cannot be told, for too long.
    pub unjudged: usize,
    /// How many rows of the engine's list could not be read.
    pub unread: usize,
    /// When that list was last read.
    pub listed: Option<Timestamp>,
}

/// What whoever audits images that arrive says of its doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arriving {
    /// How many wait to be audited.
    pub waiting: usize,
    /// How many images of the engine's list are not audited: they cannot be read there, or are too many.
    pub unread: usize,
    /// How many went before they were audited.
    pub gone: u64,
    /// When that list was last read.
    pub listed: Option<Timestamp>,
}

impl Gate {
    /// What becomes of containers that run unapproved, and how long they are reported only after a change.
    #[must_use]
    pub fn monitoring(&self) -> (MonitorRule, Duration) {
        self.rules.load().monitor()
    }

    /// What the gate would say now to the start of each of these containers, by its whole id, for as long as `time`. Those that are left
    /// then are not among them.
    pub async fn judge_containers(self: &Arc<Self>, ids: Vec<ContainerId>, time: Duration) -> Vec<(ContainerId, Says)> {
        let start = |id: &ContainerId| {
            Intent::Start(Start { container: id.to_string(), action: StartAction::Start, extra: None, terms: None })
        };
        let asked = ids.into_iter().map(|id| (start(&id), id)).collect();
        let judged = self.judge_all(asked, Keeping::Approvals, AT_ONCE, time, |_| {}).await;
        judged.into_iter().map(|(id, judged)| (id, judged.says)).collect()
    }

    /// Records what was found or done. `false`: it could not be recorded, and nothing may be done that is not.
    #[must_use]
    pub fn record_monitored(&self, entry: &Entry) -> bool {
        self.journal.record(entry) == Recorded::Kept || self.rules.load().audit() == AuditRule::GoOn
    }

    /// Notes how things are.
    pub fn watched(&self, watched: &Watched) {
        self.metrics.watched(watched);
    }

    /// Takes up what is to be said of images that arrive.
    pub fn arriving(&self, arriving: &Arriving) {
        self.metrics.arriving(arriving);
    }

    /// Counts what was done to one.
    pub fn acted(&self, action: &'static str) {
        self.metrics.acted(action);
    }
}
