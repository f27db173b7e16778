//! A gate is made: over an engine, with what earlier gates knew.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::begun::{Lists, Which};
use super::container_looks::Looks;
use super::descriptions::Descriptions;
use super::hold::MAX_SETTLING;
use super::leases::Leases;
use super::metrics::Metrics;
use super::places::{AskingPlaces, Places};
use super::process::Process;
use super::pulls::Pulls;
use super::{Approvals, DecisionLimits, Gate, Identity, Own, Plugins, Rules, response};
use crate::audit::Journal;
use crate::engine::Api;
use crate::record::Recorder;
use crate::rego::Evaluator;

impl Gate {
    /// A gate over an engine, a journal and what earlier gates recorded.
    #[must_use]
    pub fn new(
        rules: Rules,
        engine: Arc<dyn Api>,
        journal: Arc<dyn Journal>,
        approvals: Approvals,
        identity: Identity,
        workers: tokio::runtime::Handle,
    ) -> Self {
        Self {
            rules: ArcSwap::from_pointee(rules),
            ends: Arc::clone(&engine),
            engine,
            journal,
            approvals,
            plugins: Plugins::default(),
            descriptions: Descriptions::default(),
            identity,
            leases: Leases::default(),
            looks: Looks::default(),
            places: Places::new(DecisionLimits::default().places),
            asking: AskingPlaces::new(DecisionLimits::default().places),
            own: ArcSwap::default(),
            pulls: Pulls::default(),
            settling: Semaphore::new(MAX_SETTLING),
            making_room: Semaphore::new(1),
            ended: Arc::new(Semaphore::new(response::MAX_ENDED)),
            looking: Semaphore::new(response::MAX_LOOKS),
            running: Lists::of(Which::Running),
            all: Lists::of(Which::All),
            not_looked: Mutex::default(),
            killing: Mutex::default(),
            rollbacks: Arc::new(Semaphore::new(response::MAX_ROLLBACKS)),
            limits: DecisionLimits::default(),
            workers,
            started: crate::clock::now(),
            decisions: AtomicU64::new(0),
            process: Process::default(),
            rego: Evaluator::default(),
            metrics: Metrics::new(),
            told_exceptions: super::exceptions::Told::default(),
            own_calls: AtomicU64::new(0),
            at: None,
            shadow: OnceLock::new(),
            recorder: None,
        }
    }

    /// The same gate at another time than now, by which ages and expiries are judged: for cases.
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// The time by which ages and expiries are judged.
    pub(super) fn now(&self) -> Timestamp {
        self.at.unwrap_or_else(crate::clock::now)
    }

    /// The same gate with other bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: DecisionLimits) -> Self {
        self.limits = limits;
        self.places = Places::new(limits.places);
        self.asking = AskingPlaces::new(limits.places);
        self
    }

    /// What the gate itself talks to, which networks are kept off: other servers with other settings.
    pub fn talks_to(&self, own: Own) {
        self.own.store(Arc::new(own));
    }

    /// The same gate, which keeps the names that are being given in `file`, looks at calls' ends through `ends`, and keeps networks off
    /// the addresses of `own`.
    #[must_use]
    pub fn serving(mut self, file: std::path::PathBuf, ends: Arc<dyn Api>, own: Own) -> Self {
        self.talks_to(own);
        self.approvals.write_on(self.workers.clone());
        self.leases = Leases::kept_in(file, self.workers.clone());
        self.ends = ends;
        self
    }

    /// The same gate, which keeps the facts of decisions where the policy says so, and the salt of what it hides in `salt`.
    #[must_use]
    pub fn that_records(mut self, salt: std::path::PathBuf) -> Self {
        self.recorder = Some(Recorder::new(salt));
        self
    }

    /// The same gate with what earlier gates knew of plugins.
    #[must_use]
    pub fn with_plugins(mut self, plugins: Plugins) -> Self {
        self.plugins = plugins;
        self
    }
}
