//! How the gate is doing, for those who run it and look at it.

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Gate, Judgement, Rules};
use crate::engine::EngineError;
use crate::policy::{Request, Times};

impl Gate {
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
        let now = crate::clock::now();
        let figures = match &**self.rules.load() {
            Rules::Good { verifiers, .. } => verifiers.iter().find_map(|verifier| verifier.stats(now)),
            Rules::Faulty { .. } => None,
        };
        let times = Times { now, latest: self.told_exceptions.latest().unwrap_or(now) };
        self.metrics.exceptions(self.exceptions().iter().map(|exception| exception.standing(times)));
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
