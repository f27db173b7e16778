//! How the gate is doing, for those who run it and look at it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Decided, Gate, Judgement, Rules};
use crate::audit::Carried;
use crate::engine::EngineError;
use crate::image::{Digest, Repository};
use crate::policy::{Exception, Mode, Posture, Request, Standing, Times};

/// How the gate is doing, in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Since when it is up.
    pub started: Timestamp,
    /// Whether refusals are carried out.
    pub mode: Mode,
    /// What is refused besides images.
    pub posture: Posture,
    /// Calls that were decided since.
    pub decided: Decided,
    /// Entries of the audit log that were lost since.
    pub lost: u64,
    /// Images that were ever approved, as far as they are remembered.
    pub approved: usize,
    /// Whether dockerd asks this gate; `None`: not known yet.
    pub is_asked: Option<bool>,
    /// Whether the engine serves gRPC over cleartext HTTP/2, unasked; `None`: not known yet.
    pub is_grpc_open: Option<bool>,
}

impl Gate {
    /// How it is doing.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let [is_asked, is_grpc_open] = self.metrics.seen();
        let rules = self.rules.load();
        Figures {
            started: self.started,
            mode: rules.mode(),
            posture: rules.posture(),
            decided: self.metrics.totals(),
            lost: self.journal.lost(),
            approved: self.approvals.images(),
            is_asked,
            is_grpc_open,
        }
    }

    /// How sinks of the audit log fare, and who is alerted.
    #[must_use]
    pub fn carried(&self) -> Vec<(&'static str, Carried)> {
        self.journal.carried()
    }

    /// The exceptions of the policy in force, and whether they count now.
    #[must_use]
    pub fn excepted(&self) -> Vec<(Arc<Exception>, Standing)> {
        let times = self.times();
        self.exceptions().into_iter().map(|exception| (Arc::clone(&exception), exception.standing(times))).collect()
    }

    /// By what an image was approved, newest last.
    #[must_use]
    pub fn approved_by(&self, image: &Digest) -> Vec<(Repository, Digest)> {
        self.approvals.of(image)
    }

    fn times(&self) -> Times {
        let now = self.now();
        Times { now, latest: self.told_exceptions.latest().unwrap_or(now) }
    }

    /// Notes whether the settings as they are now are in force, or earlier or no good ones.
    pub fn settings_hold(&self, is_good: bool) {
        self.metrics.reloaded(is_good);
    }

    /// Since when Notary's server is out of reach, as far as anybody asked.
    #[must_use]
    pub fn notary_out_since(&self) -> Option<Timestamp> {
        match &**self.rules.load() {
            Rules::Good { verifiers, .. } => verifiers.iter().find_map(|verifier| verifier.out_since()),
            Rules::Faulty { .. } => None,
        }
    }

    /// The gate's figures, in the OpenMetrics text format.
    #[must_use]
    pub fn metrics(&self) -> String {
        let _turn = self.metrics.turn();
        let now = crate::clock::now();
        let figures = match &**self.rules.load() {
            Rules::Good { verifiers, .. } => verifiers.iter().find_map(|verifier| verifier.stats(now)),
            Rules::Faulty { .. } => None,
        };
        if let Rules::Good { verifiers, .. } = &**self.rules.load() {
            self.metrics.lists(verifiers.iter().filter_map(|verifier| Some((verifier.name(), verifier.list()?))));
        }
        self.metrics.exceptions(self.excepted().into_iter().map(|(_, standing)| standing));
        self.metrics.rego(&self.rego.stats());
        self.metrics.places(self.places.used(), self.places.refused(), self.asking.refused());
        if let Some(recorder) = &self.recorder {
            self.metrics.record(recorder.lost());
        }
        self.metrics.carried(&self.journal.carried());
        self.metrics.text(self.journal.lost(), figures.as_ref())
    }

    /// Which group's rights decide about a call, in words; `None` where nobody has rights of their own.
    #[must_use]
    pub fn rights_of(&self, request: &Request<'_>) -> Option<String> {
        match &**self.rules.load() {
            Rules::Good { policy, .. } => policy.users.as_ref().map(|users| users.told(request)),
            Rules::Faulty { .. } => None,
        }
    }

    /// The scopes in which a call was judged, and for a refusal what would have to be otherwise; a line each.
    #[must_use]
    pub fn explained(&self, judgement: &Judgement) -> Vec<String> {
        match &**self.rules.load() {
            Rules::Good { policy, .. } => policy.explained(&judgement.facts, &judgement.verdict),
            Rules::Faulty { .. } => Vec::new(),
        }
    }

    /// Asks the engine for its version.
    pub async fn engine_version(&self, deadline: Instant) -> Result<String, EngineError> {
        Ok(self.engine.version(deadline).await?.engine)
    }
}
