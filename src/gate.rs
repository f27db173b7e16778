//! One request's whole journey: what the daemon posts is decoded, read, judged with what can be found out, recorded, and
//! answered. Whatever goes wrong on the way is a refusal with a reason.

mod approvals;
mod container_looks;
mod daemon_file;
mod gather;
mod identity;
mod leases;
mod metrics;
mod own;
mod places;
mod plugins;
mod process;
mod pulls;
mod response;
#[cfg(test)]
mod tests;
mod watchdog;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::audit::{Entry, Event, Journal, Recorded};
use crate::engine::{Api, CALL_HEADER, ContainerId, Engine, EngineError, Http2, PROBE_HEADER};
use crate::policy::{self, AuditRule, Facts, Grounds, Http2Rule, Mode, Needs, Policy, Posture, Reason, Request, Verdict};
use crate::rego::{About, Evaluator, Passed, Refusal};
use crate::request::{Cgroupns, Create, Intent, Manner, PluginCall, Pull, Pulled, Transport, Unreadable};
use crate::trust::{Purpose, Verifier};
use crate::wire::{Answer, Call, CallError, NoEnd};

pub use approvals::Approvals;
use container_looks::Looks;
pub use daemon_file::{DaemonFile, Listed};
use gather::OnBehalf;
pub use identity::Identity;
pub use leases::names_being_given;
use leases::{Busy, Claim, Leases, To};
use metrics::Metrics;
pub use own::{Host as OwnHost, Own};
use places::{AskingPlaces, Places};
pub use plugins::Plugins;
use process::{Found, Process, Served};
use pulls::Pulls;
pub use watchdog::{Change, Watchdog};

/// Most calls at once that find out whether names are still being given. Others take them for being given.
const MAX_SETTLING: usize = 8;
/// How long a create waits for the disk, which keeps its name for a gate that is restarted meanwhile. Renames are refused instead.
const KEEPS: Duration = Duration::from_secs(1);
/// One look whether a call that gives a name is over. An ordinary one takes a millisecond; what takes longer is held by a client.
const SETTLES: Duration = Duration::from_millis(300);

/// The gate's bounds in time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A decision, all told. Below dockerd's patience (30 s for a managed plugin), with room for its retry.
    pub decision: Duration,
    /// The part of a decision that may be spent waiting for a name.
    pub name: Duration,
    /// One look at a container, whose lock a client can hold.
    pub look: Duration,
    /// What follows a call's end (AuthZRes), which the client waits for.
    pub after: Duration,
    /// Decisions under way that cannot be made at once. Well below the connections that are served (`daemon::Limits`), so that calls
    /// which wait for nothing are always answered.
    pub places: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            decision: Duration::from_secs(8),
            name: Duration::from_secs(5),
            look: Duration::from_secs(2),
            after: Duration::from_secs(2),
            places: 512,
        }
    }
}

/// What is in force.
pub enum Rules {
    /// A policy and those who vouch.
    Good {
        /// The policy.
        policy: Policy,
        /// Those that the policy requires, by their names.
        verifiers: Vec<Arc<dyn Verifier>>,
    },
    /// Faulty settings, and no earlier good ones: what touches an image is refused, all else passes.
    Faulty {
        /// The first fault.
        fault: String,
        /// What they say about the host, as far as it can be read: what `lockdown` forbids stays forbidden.
        posture: Posture,
    },
}

/// The gate.
pub struct Gate {
    rules: ArcSwap<Rules>,
    engine: Arc<dyn Api>,
    /// The same engine, over connections that only looks at calls' ends use: no client can use them up.
    ends: Arc<dyn Api>,
    journal: Arc<dyn Journal>,
    approvals: Approvals,
    plugins: Plugins,
    identity: Identity,
    leases: Leases,
    looks: Looks,
    places: Places,
    asking: AskingPlaces,
    own: Own,
    pulls: Pulls,
    /// Calls that find out whether names are still being given; and the one that does so because there are too many.
    settling: Semaphore,
    making_room: Semaphore,
    /// Starts that have ended and are to be looked at; and the looks under way.
    ended: Arc<Semaphore>,
    looking: Semaphore,
    /// Containers that are being killed.
    killing: Mutex<HashSet<ContainerId>>,
    /// Rollbacks that are looked at.
    rollbacks: Arc<Semaphore>,
    limits: Limits,
    /// Where verifiers run: TLS and signatures keep the serving thread free.
    workers: tokio::runtime::Handle,
    started: Timestamp,
    decisions: AtomicU64,
    /// The gate's own calls that dockerd has asked about: while they are, the gate is in the chain.
    own_calls: AtomicU64,
    /// What the engine does with a call that the call does not show.
    process: Process,
    /// Where the policy's rules in Rego are evaluated. Its threads outlive a change of the policy.
    rego: Evaluator,
    metrics: Metrics,
}

/// A call judged: what was found out, and the verdict.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// What was found out.
    pub facts: Facts,
    /// The verdict.
    pub verdict: Verdict,
}

/// What the rules in Rego say of a call before anything is looked at; `None` where they were not asked.
type Said = Option<Result<Passed, Refusal>>;

/// What a call that is to pass holds until it ends.
#[derive(Debug, Clone, Copy, Default)]
struct Holds {
    /// The number of its lease of a name.
    lease: Option<u64>,
    /// The number of its turn among the calls about plugins.
    turn: Option<u64>,
}

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
            identity,
            leases: Leases::default(),
            looks: Looks::default(),
            places: Places::new(Limits::default().places),
            asking: AskingPlaces::new(Limits::default().places),
            own: Own::default(),
            pulls: Pulls::default(),
            settling: Semaphore::new(MAX_SETTLING),
            making_room: Semaphore::new(1),
            ended: Arc::new(Semaphore::new(response::MAX_ENDED)),
            looking: Semaphore::new(response::MAX_LOOKS),
            killing: Mutex::default(),
            rollbacks: Arc::new(Semaphore::new(response::MAX_ROLLBACKS)),
            limits: Limits::default(),
            workers,
            started: crate::clock::now(),
            decisions: AtomicU64::new(0),
            process: Process::default(),
            rego: Evaluator::default(),
            metrics: Metrics::new(),
            own_calls: AtomicU64::new(0),
        }
    }

    /// The same gate with other bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self.places = Places::new(limits.places);
        self.asking = AskingPlaces::new(limits.places);
        self
    }

    /// The same gate, which keeps the names that are being given in `file`, looks at calls' ends through `ends`, and keeps networks off
    /// the addresses of `own`.
    #[must_use]
    pub fn serving(mut self, file: std::path::PathBuf, ends: Arc<dyn Api>, own: Own) -> Self {
        self.own = own;
        self.approvals.write_on(self.workers.clone());
        self.leases = Leases::kept_in(file, self.workers.clone());
        self.ends = ends;
        self
    }

    /// The same gate with what earlier gates knew of plugins.
    #[must_use]
    pub fn with_plugins(mut self, plugins: Plugins) -> Self {
        self.plugins = plugins;
        self
    }

    /// Puts other rules in force. Refusals for want of rules never take the place of good rules: then `false`, and all stays as
    /// it was, with the content of files that those rules were made of.
    pub fn replace(&self, rules: Rules) -> bool {
        if matches!((&**self.rules.load(), &rules), (Rules::Good { .. }, Rules::Faulty { .. })) {
            return false;
        }
        self.rules.store(Arc::new(rules));
        true
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
        let now = crate::clock::now();
        let figures = match &**self.rules.load() {
            Rules::Good { verifiers, .. } => verifiers.iter().find_map(|verifier| verifier.stats(now)),
            Rules::Faulty { .. } => None,
        };
        self.metrics.rego(&self.rego.stats());
        self.metrics.places(self.places.used(), self.places.refused(), self.asking.refused());
        self.metrics.text(self.journal.lost(), figures.as_ref())
    }

    /// Asks the engine for its version.
    pub async fn engine_version(&self, deadline: Instant) -> Result<String, EngineError> {
        Ok(self.engine.version(deadline).await?.engine)
    }

    /// Approvals something about the gate itself.
    pub fn note(&self, message: &str) {
        let mut entry = Entry::new(crate::clock::now(), Event::Gate);
        message.clone_into(&mut entry.message);
        self.journal.record(&entry);
    }

    /// Approvals that the gate has started: under which mode and posture, and what else the entry says.
    pub fn note_start(&self, mut entry: Entry) -> Recorded {
        let (mode, posture) = match &**self.rules.load() {
            Rules::Good { policy, .. } => (policy.mode, policy.posture),
            Rules::Faulty { posture, .. } => (Mode::Enforce, *posture),
        };
        "the gate has started".clone_into(&mut entry.message);
        (entry.mode, entry.posture) = (Some(mode), Some(posture));
        self.journal.record(&entry)
    }

    /// Writes what the audit log has only counted so far. Called at stop.
    pub fn end(&self) {
        self.approvals.end();
        self.journal.end();
    }

    /// Reads what the daemon posted to `AuthZReq`. Plain and without waiting: large posts are read off the serving thread.
    pub fn read(posted: &[u8], manner: impl Into<Manner>) -> Result<(Call, Intent), CallError> {
        let call = Call::decode(posted)?;
        let intent = Intent::over(&call, manner);
        Ok((call, intent))
    }

    /// What the engine makes of a call that comes now, as far as the call does not show it; for [`Gate::read`]. What is not known is
    /// taken for the worse.
    #[must_use]
    pub fn manner(&self) -> Manner {
        let unknown = Manner { transport: Transport::MaybeHttp2, cgroupns: Cgroupns::HostBefore141 };
        self.process.known().map_or(unknown, |found| manner_of(&self.rules.load(), found))
    }

    /// A call that came before the gate knew the engine is read again once it does, where its meaning hangs on that: one that could hide
    /// a form over HTTP/2, and over HTTP/1 could not; and, in posture `lockdown`, a create that came before the gate knew the engine.
    async fn read_again(&self, rules: &Rules, call: &Call, intent: Intent, began: Instant) -> Intent {
        let hangs_on_default =
            || matches!(intent, Intent::Create(_)) && self.posture() == Posture::Lockdown && self.process.known().is_none();
        if intent != Intent::Unreadable(Unreadable::MaybeForm) && !hangs_on_default() {
            return intent;
        }
        let Some(found) = self.process.known_or_look(&*self.engine, began + self.limits.look).await else { return intent };
        Intent::over(call, manner_of(rules, found))
    }

    /// Answers a post to `AuthZReq`.
    pub async fn request(&self, read: Result<(Call, Intent), CallError>) -> Answer {
        let began = Instant::now();
        let (call, intent) = match read {
            Ok(read) => read,
            Err(why) => return self.refuse(Reason::CallUnreadable { why: why.to_string() }),
        };
        let rules = self.rules.load_full();
        let intent = self.read_again(&rules, &call, intent, began).await;
        // The gate's own look at the engine comes through the gate again.
        if self.is_own(&call) && is_ours(&call, &intent) {
            return Answer::Allow;
        }
        let request = Request::of(&call, &intent);
        let said = Box::pin(self.ask_rego(&rules, &request, began)).await;
        let prejudged = prejudge(&rules, &request, &said);
        // Those that cannot be decided at once, and renames, which wait for names.
        let may_wait = prejudged.is_none() || matches!(intent, Intent::Rename { .. });
        let place = may_wait.then(|| self.places.enter(&places::counted_by(&intent)));
        if matches!(place, Some(None)) {
            return self.answer(
                Some((&call, &intent)),
                &self.refusing(Reason::Overloaded),
                &Facts::default(),
                Holds::default(),
                began,
            );
        }
        let (Judgement { facts, verdict }, mut holds) = match prejudged {
            Some(verdict) => (Judgement { facts: Facts::default(), verdict }, Holds::default()),
            None => match &intent {
                Intent::Plugin(plugin) => self.judge_plugin(&rules, &call, plugin, &request, said, began).await,
                _ => self.judge_under_lease(&rules, &call, &request, said, began).await,
            },
        };
        // Who waits for a name keeps no place of the repository that was judged.
        let place = match (&verdict, &intent, place) {
            (Verdict::Allow(_), Intent::Create(create), place) if create.name.is_some() => {
                drop(place);
                Some(self.places.enter(&places::counted_by_name(create)))
            }
            (_, _, place) => place,
        };
        let verdict = match verdict {
            Verdict::Allow(_) if matches!(place, Some(None)) => self.refusing(Reason::Overloaded),
            Verdict::Allow(permit) => match self.hold_name(&call, &intent, began).await {
                Ok(lease) => {
                    holds.lease = lease.or(holds.lease);
                    Verdict::Allow(permit)
                }
                Err(reason) => self.refusing(reason),
            },
            refused @ (Verdict::WouldDeny(_) | Verdict::Deny(_)) => refused,
        };
        if let (Verdict::Allow(_), Intent::Pull(pull)) = (&verdict, &intent) {
            self.pull_begins(pull, &call, began).await;
        }
        self.answer(Some((&call, &intent)), &verdict, &facts, holds, began)
    }

    /// Remembers what the host holds under a tag that is pulled: engines do not tell whether a pull failed.
    async fn pull_begins(&self, pull: &Pull, call: &Call, began: Instant) {
        let Pulled::Tag(tag) = &pull.what else { return };
        let name = format!("{}:{tag}", pull.repository);
        let held = self.engine.image(&name, began + self.limits.decision).await;
        self.pulls.begin(&call_key(call), held.ok().flatten().map(|image| image.id));
    }

    /// Whether this is the gate's own look at the engine; counted.
    fn is_own(&self, call: &Call) -> bool {
        let is_own = Engine::is_own(call.header(CALL_HEADER));
        self.own_calls.fetch_add(u64::from(is_own), Ordering::Relaxed);
        is_own
    }

    /// Refuses and records a post that never became a call.
    pub fn refuse(&self, reason: Reason) -> Answer {
        self.answer(None, &self.refusing(reason), &Facts::default(), Holds::default(), Instant::now())
    }

    /// Reads what the daemon posted to `AuthZRes`, as far as it is there.
    pub fn read_end(posted: &[u8]) -> Result<Call, NoEnd> {
        // Nothing that reads has an end that means anything, and its answer may be large (`docker ps`).
        Call::decode_end(posted, |method| !matches!(method, "GET" | "HEAD" | "OPTIONS"))
    }

    /// Takes note of a call's end. Refuses nothing: the effect has already happened.
    pub async fn response(self: &Arc<Self>, call: &Call) {
        // What is not done in time is left: the next create or start judges the content anew. Looks at starts go on.
        let _ = tokio::time::timeout(self.limits.after, self.after(call)).await;
    }

    /// What the gate would say, whoever did it, with what it found out; leaves no trace.
    pub async fn judge(&self, intent: &Intent) -> Judgement {
        self.judge_request(&Request::by_gate(intent)).await
    }

    /// What the gate would say to this caller, likewise.
    pub async fn judge_request(&self, request: &Request<'_>) -> Judgement {
        let (rules, began) = (self.rules.load_full(), Instant::now());
        let said = Box::pin(self.ask_rego(&rules, request, began)).await;
        match prejudge(&rules, request, &said) {
            Some(verdict) => Judgement { facts: Facts { rego: said, ..Facts::default() }, verdict },
            None => self.judge_in_time(&rules, request, OnBehalf::Gate, said, began).await,
        }
    }

    /// Asks the rules in Rego about a call, unless another rule refuses it as it is. Not about what the gate judges of its own accord.
    async fn ask_rego(&self, rules: &Rules, request: &Request<'_>, began: Instant) -> Said {
        let Rules::Good { policy, .. } = rules else { return None };
        let (rego, call) = (policy.rego.as_ref()?, request.call?);
        if matches!(policy::needs(policy, request), Needs::Refused(_)) {
            return None;
        }
        let call = rego.asks_of_calls().then(|| Arc::new(call.clone()));
        let about = About { call, manner: self.manner(), image: None };
        Some(self.rego.ask(rego, about, began + self.limits.decision).await)
    }

    /// A start by a name holds the name from before the look until the daemon has acted.
    async fn judge_under_lease(
        &self,
        rules: &Rules,
        call: &Call,
        request: &Request<'_>,
        said: Said,
        began: Instant,
    ) -> (Judgement, Holds) {
        let intent = request.intent;
        let claim = match intent {
            Intent::Start(start) if !identity::is_full_id(&start.container) => {
                Some(Claim::Start(start.container.trim_start_matches('/').to_owned()))
            }
            _ => None,
        };
        let key = call_key(call);
        let lease = match &claim {
            None => None,
            Some(claim) => match self.hold(&key, claim, intent, began).await {
                Ok(number) => Some(number),
                Err(reason) => {
                    return (Judgement { facts: Facts::default(), verdict: self.refusing(reason) }, Holds::default());
                }
            },
        };
        let judgement = self.judge_in_time(rules, request, OnBehalf::Client, said, began).await;
        if let (Intent::Start(_), Verdict::Allow(_), Some(policy::ContainerFacts::Found { id, .. })) =
            (intent, &judgement.verdict, &judgement.facts.container)
        {
            self.leases.let_start(id);
        }
        if let Some(lease) = lease {
            match (&judgement.verdict, &judgement.facts.container) {
                (Verdict::Allow(_), Some(policy::ContainerFacts::Found { id, .. })) => self.leases.judged(lease, id),
                // In mode `permissive` the daemon goes on and posts AuthZRes, which ends the lease as well.
                (Verdict::Allow(_) | Verdict::WouldDeny(_) | Verdict::Deny(_), _) => self.leases.give_up(lease),
            }
        }
        (judgement, Holds { lease, turn: None })
    }

    /// A plugin call takes its turn before the look, and gives it back where it is refused.
    async fn judge_plugin(
        &self,
        rules: &Rules,
        call: &Call,
        plugin: &PluginCall,
        request: &Request<'_>,
        said: Said,
        began: Instant,
    ) -> (Judgement, Holds) {
        let turn = match self.plugins.begin(&call_key(call), plugin) {
            Ok(turn) => turn,
            Err(reason) => {
                return (Judgement { facts: Facts::default(), verdict: self.refusing(reason) }, Holds::default());
            }
        };
        let judgement = self.judge_in_time(rules, request, OnBehalf::Client, said, began).await;
        if let Some(turn) = turn {
            match (&judgement.verdict, &judgement.facts.plugin) {
                (Verdict::Allow(_), Some(policy::PluginFacts { id, digest: Some(digest), .. })) => {
                    self.plugins.judged(turn, id, *digest);
                }
                (Verdict::Allow(_), _) => {}
                (Verdict::WouldDeny(_) | Verdict::Deny(_), _) => self.plugins.give_up(turn),
            }
        }
        (judgement, Holds { lease: None, turn })
    }

    /// `said` is what the rules in Rego have said of the call before anything was looked at.
    async fn judge_in_time(
        &self,
        rules: &Rules,
        request: &Request<'_>,
        on_behalf: OnBehalf,
        said: Said,
        began: Instant,
    ) -> Judgement {
        let Rules::Good { policy, verifiers } = rules else {
            return Judgement { facts: Facts::default(), verdict: Verdict::Deny(Reason::Internal) };
        };
        let deadline = began + self.limits.decision;
        let gathering = self.gather(policy, verifiers, request, on_behalf, &said, deadline);
        let gathered = tokio::time::timeout_at(deadline, gathering).await;
        let late = || Reason::Deadline { seconds: self.limits.decision.as_secs() };
        let facts = gathered.unwrap_or_else(|_| Facts { unknown: Some(late()), rego: said.clone(), ..Facts::default() });
        let verdict = policy::decide(policy, request, &facts);
        Judgement { facts, verdict }
    }

    /// A call that gives a name waits for starts by that name to end. Returns its lease's number.
    async fn hold_name(&self, call: &Call, intent: &Intent, began: Instant) -> Result<Option<u64>, Reason> {
        let bare = |name: &str| name.trim_start_matches('/').to_owned();
        let key = call_key(call);
        match intent {
            Intent::Create(create) => match &create.name {
                Some(name) => {
                    let image = image_text(create);
                    let lease = self.hold(&key, &Claim::Create { name: bare(name), image }, intent, began).await?;
                    // A full disk is no reason to make no containers.
                    let _ = tokio::time::timeout(KEEPS, self.leases.save()).await;
                    Ok(Some(lease))
                }
                None => Ok(None),
            },
            Intent::Rename { container, name } => {
                let (from, name) = (bare(container), bare(name));
                let claim = Claim::Rename { name: name.clone(), from: from.clone() };
                let lease = self.hold(&key, &claim, intent, began).await?;
                let held = self.hold_rename(lease, &from, name, began).await;
                if held.is_err() {
                    self.leases.give_up(lease);
                }
                held.map(|()| Some(lease))
            }
            _ => Ok(None),
        }
    }

    /// What a rename means is looked at once nobody can be given its names any more, and written down.
    async fn hold_rename(&self, lease: u64, from: &str, name: String, began: Instant) -> Result<(), Reason> {
        let unreachable = |error: EngineError| Reason::EngineUnreachable { why: error.to_string() };
        let meant = self.meant(from, began).await?;
        // The engine would wait for the container's lock first, as long as a client likes, and then say no; or yes, if the name
        // has become free meanwhile.
        let found = self.engine.named(&name, began + self.limits.decision).await.map_err(unreachable)?;
        if found.iter().any(|other| other.id != meant) {
            return Err(Reason::NameTaken { name });
        }
        let written = tokio::time::timeout_at(began + self.limits.decision, self.leases.rename_of(lease, meant)).await;
        written.unwrap_or(Err(Busy::Unwritable)).map_err(|busy| refused(&busy, &name))
    }

    /// The container that a rename means. A name that begins another container's id may come to mean that one, if it is lost before
    /// the engine looks.
    async fn meant(&self, container: &str, began: Instant) -> Result<ContainerId, Reason> {
        let unreachable = |error: EngineError| Reason::EngineUnreachable { why: error.to_string() };
        let deadline = began + self.limits.decision;
        if let Ok(id) = container.parse() {
            return Ok(id);
        }
        let mut found = self.engine.named(container, deadline).await.map_err(unreachable)?;
        if !container.is_empty() && container.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            found.extend(self.engine.beginning(container, deadline).await.map_err(unreachable)?);
            found.dedup_by(|one, other| one.id == other.id);
        }
        let first = found.pop().ok_or_else(|| Reason::ContainerUnknown { container: container.to_owned() })?;
        if found.iter().any(|other| other.id != first.id) {
            return Err(Reason::Unreadable(Unreadable::Reference(format!(
                "`{container}` means more than one container, by its name or by the beginning of its id; use the whole id"
            ))));
        }
        Ok(first.id)
    }

    /// Holds `claim` for the call, once what excludes it has ended. Returns the lease's number.
    async fn hold(&self, key: &str, claim: &Claim, intent: &Intent, began: Instant) -> Result<u64, Reason> {
        let deadline = began + self.limits.name;
        // Those that do not end by then are still under way.
        if !self.leases.pending(Some(claim)).is_empty()
            && let Ok(_turn) = self.settling.try_acquire()
        {
            let _ = tokio::time::timeout_at(deadline, self.settle(Some(claim))).await;
        }
        let held = match self.leases.hold(key, claim, deadline).await {
            // One settles for all. Who comes meanwhile is refused at once.
            Err(Busy::Full) if let Ok(_turn) = self.making_room.try_acquire() => {
                let _ = tokio::time::timeout_at(deadline, self.settle(None)).await;
                self.leases.hold(key, claim, deadline).await
            }
            held => held,
        };
        held.map_err(|busy| refused(&busy, &claim_name(intent)))
    }

    /// Ends the leases of names that are given or dropped though the daemon never told so; those alone that exclude `claim`, if one is
    /// given.
    async fn settle(&self, claim: Option<&Claim>) {
        for pending in self.leases.pending(claim) {
            let is_over = match &pending.to {
                To::Container(container) => self.is_renamed(container).await,
                To::Image(image) => pending.is_old || (pending.is_whole && self.is_created(image, &pending.name).await),
                To::Nothing => true,
            };
            if is_over {
                self.leases.settle(&pending);
            }
        }
    }

    /// Whether a rename whose end the daemon has not told is carried out, or was dropped (by another plugin, by a restart of the
    /// engine). It waits in the line for its container's lock; who comes later and has had the lock twice has passed it.
    async fn is_renamed(&self, container: &ContainerId) -> bool {
        for _ in 0..2 {
            // The gate's own wait for that lock must not become what holds others up.
            let Some(look) = self.looks.enter(container.as_str()) else { return false };
            match look.ended(self.ends.container(container.as_str(), Instant::now() + SETTLES).await) {
                Ok(None) => return true,
                Ok(Some(_)) => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn audit_rule(&self) -> AuditRule {
        match &**self.rules.load() {
            Rules::Good { policy, .. } => policy.audit,
            // What touches an image is refused as it is.
            Rules::Faulty { .. } => AuditRule::GoOn,
        }
    }

    /// Gives back what a call holds that was to pass and is refused after all: it gets no AuthZRes.
    fn take_back(&self, call: &Call, holds: Holds) {
        if let Some(lease) = holds.lease {
            self.leases.give_up(lease);
        }
        if let Some(turn) = holds.turn {
            self.plugins.give_up(turn);
        }
        self.pulls.brought_nothing(&call_key(call), None);
    }

    /// Whether a create whose end the daemon has not told is over. Before it has the name it waits for what every look at its image
    /// waits for: who comes later and has looked twice has passed it. Then it holds the name, until the container is there. So: once
    /// it is passed, and a container has the name, it has none to give any more.
    async fn is_created(&self, image: &str, name: &str) -> bool {
        for _ in 0..2 {
            if self.ends.image(image, Instant::now() + SETTLES).await.is_err() {
                return false;
            }
        }
        self.ends.named(name, Instant::now() + SETTLES).await.is_ok_and(|found| !found.is_empty())
    }

    fn posture(&self) -> Posture {
        match &**self.rules.load() {
            Rules::Good { policy, .. } => policy.posture,
            Rules::Faulty { posture, .. } => *posture,
        }
    }

    /// Whether refusals are carried out.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match &**self.rules.load() {
            Rules::Good { policy, .. } => policy.mode,
            Rules::Faulty { .. } => Mode::Enforce,
        }
    }

    /// A refusal of the gate's own, as the mode carries it out.
    fn refusing(&self, reason: Reason) -> Verdict {
        Verdict::refusing(reason, self.mode())
    }

    /// Records the verdict, keeps what was approved, and answers.
    fn answer(&self, read: Option<(&Call, &Intent)>, verdict: &Verdict, facts: &Facts, holds: Holds, began: Instant) -> Answer {
        let action = read.map_or("unreadable", |(_, intent)| intent.action());
        let is_silent = matches!(verdict, Verdict::Allow(permit) if matches!(permit.grounds(), Grounds::NoImage))
            && !read.is_some_and(|(_, intent)| is_recorded(intent));
        if !is_silent {
            let recorded = self.journal.record(&self.entry(read, verdict, facts, began));
            let is_required = self.audit_rule() == AuditRule::Require && self.mode() == Mode::Enforce;
            if recorded == Recorded::Lost && matches!(verdict, Verdict::Allow(_)) && is_required {
                if let Some((call, _)) = read {
                    self.take_back(call, holds);
                }
                return self.answer(read, &Verdict::Deny(Reason::AuditUnavailable), facts, Holds::default(), began);
            }
        }
        let (decision, code) = match verdict {
            Verdict::Allow(_) => ("allow", ""),
            Verdict::WouldDeny(reason) => ("would-deny", reason.code()),
            Verdict::Deny(reason) => ("deny", reason.code()),
        };
        if !is_probe(read, verdict) {
            self.metrics.decided(action, decision, code, began.elapsed());
        }
        match verdict {
            Verdict::Allow(permit) => {
                for approval in permit.approvals() {
                    self.keep(approval);
                }
                Answer::Allow
            }
            Verdict::WouldDeny(_) => Answer::Allow,
            Verdict::Deny(reason) => Answer::Deny(reason.message()),
        }
    }

    fn keep(&self, approval: &policy::Approval) {
        let Some(image_id) = approval.id else { return };
        for vouch in &approval.vouches {
            let record = approvals::Record { image_id, repository: vouch.repository().clone(), digest: *vouch.digest() };
            self.approvals.keep(&record);
        }
    }

    fn entry(&self, read: Option<(&Call, &Intent)>, verdict: &Verdict, facts: &Facts, began: Instant) -> Entry {
        let event = match verdict {
            Verdict::Allow(_) if facts.about_self => Event::Gate,
            Verdict::Allow(_) => Event::Allowed,
            Verdict::WouldDeny(_) | Verdict::Deny(_) if is_probe(read, verdict) => Event::Probe,
            Verdict::WouldDeny(_) | Verdict::Deny(_) => Event::Blocked,
        };
        let mut entry = Entry::new(crate::clock::now(), event);
        let number = self.decisions.fetch_add(1, Ordering::Relaxed);
        entry.decision_id = format!("{}-{number}", self.started.as_second());
        entry.duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Some((call, intent)) = read {
            entry.user = Entry::text(&call.user);
            entry.method = Entry::text(&call.method);
            // Queries may hold secrets (build arguments, remote contexts); what matters of them has fields of its own.
            entry.path = Entry::text(call.uri.split_once('?').map_or(call.uri.as_str(), |(path, _)| path));
            entry.action = intent.action();
            entry.image = Entry::text(&intent.subject());
        }
        if let Some(policy::ContainerFacts::Found { id, name, image_ref, .. }) = &facts.container {
            entry.container_id.clone_from(id);
            entry.container_name = Entry::text(name);
            entry.container_image = Entry::text(image_ref);
        }
        match verdict {
            Verdict::Allow(permit) => {
                let approvals = permit.approvals();
                if let Some(approval) = approvals.first() {
                    entry.image_id = approval.id.map(|id| id.to_string()).unwrap_or_default();
                    entry.digest = approval.vouches.first().map(|vouch| vouch.digest().to_string()).unwrap_or_default();
                    entry.verifiers = approval.vouches.iter().map(|vouch| vouch.verifier().clone()).collect();
                    entry.signers = approval.vouches.iter().flat_map(|vouch| vouch.signers().to_vec()).collect();
                }
                if let Some((since, until)) = permit.stale() {
                    (entry.stale_since, entry.stale_until) = (Some(since), until);
                    let until = until.map(|until| format!(", and is used until {until:.0}")).unwrap_or_default();
                    entry.message = format!("Notary is out of reach: its trust data was last checked at {since:.0}{until}");
                }
                if let Grounds::Setting(setting) = permit.grounds() {
                    (*setting).clone_into(&mut entry.message);
                }
                if facts.about_self {
                    "a call about this gate's own plugin was allowed".clone_into(&mut entry.message);
                    tracing::warn!(action = entry.action, "a call about this gate's own plugin was allowed");
                }
            }
            Verdict::WouldDeny(reason) | Verdict::Deny(reason) => {
                entry.code = reason.code();
                entry.message = reason.message();
                entry.enforced = matches!(verdict, Verdict::Deny(_));
                if let Some(policy::ImageFacts { local: policy::Local::Present { id, .. }, .. }) = facts.images.first() {
                    entry.image_id = id.to_string();
                }
            }
        }
        entry
    }
}

/// Whether this is a call that the gate makes: it reads, and kills by full id. The mark passes nothing else, should it ever
/// get into other hands.
fn is_ours(call: &Call, intent: &Intent) -> bool {
    let killed = || {
        let path = call.uri.find("/containers/").and_then(|at| call.uri.get(at..))?;
        path.strip_prefix("/containers/")?.strip_suffix("/kill")
    };
    match call.method.as_str() {
        // Not `attach/ws`, which drives a container.
        "GET" | "HEAD" => *intent == Intent::Read,
        "POST" => *intent == Intent::Harmless && killed().is_some_and(identity::is_full_id),
        _ => false,
    }
}

/// Whether this is `doctor`'s question whether the gate is asked: the start of no container by a whole id. It is nobody's attempt
/// at anything, and whoever else sends that header hides nothing by it.
fn is_probe(read: Option<(&Call, &Intent)>, verdict: &Verdict) -> bool {
    let (Some((call, Intent::Start(start))), Some(Reason::ContainerUnknown { .. })) = (read, verdict.refusal()) else {
        return false;
    };
    identity::is_full_id(&start.container) && call.header(PROBE_HEADER).is_some()
}

/// What can be said without finding anything out.
/// What an engine of which this is known makes of a call.
fn manner_of(rules: &Rules, found: Found) -> Manner {
    let transport = match found.served {
        Served::Never => Transport::Http1,
        Served::Asked(Http2::Refused) if says_closed(rules) => Transport::Http1,
        Served::Asked(_) => Transport::MaybeHttp2,
    };
    Manner { transport, cgroupns: found.cgroupns }
}

fn prejudge(rules: &Rules, request: &Request<'_>, said: &Said) -> Option<Verdict> {
    let by_rego = || Facts { rego: said.clone(), ..Facts::default() };
    match rules {
        Rules::Good { policy, .. } => match policy::needs(policy, request) {
            Needs::Nothing => Some(policy::decide(policy, request, &by_rego())),
            // A rule that would say otherwise a moment later has said no.
            Needs::Refused(reason) => Some(Verdict::refusing(reason, policy.mode)),
            // Nothing that is found out makes a yes of it.
            _ if matches!(said, Some(Err(_))) => Some(policy::decide(policy, request, &by_rego())),
            Needs::Named(_)
            | Needs::Held(_)
            | Needs::Container(_)
            | Needs::Service { .. }
            | Needs::Rollback(_)
            | Needs::Plugin(_)
            | Needs::OwnAddresses => None,
        },
        Rules::Faulty { fault, posture } => Some(policy::decide_without_policy(fault, *posture, request.intent)),
    }
}

/// Allowed calls that are recorded even though no image had to be vouched for.
fn is_recorded(intent: &Intent) -> bool {
    match intent {
        Intent::Pull(_)
        | Intent::Create(_)
        | Intent::Start(_)
        | Intent::Service(_)
        | Intent::Build(_)
        | Intent::Ingest(_)
        | Intent::Plugin(_)
        | Intent::Swarm => true,
        Intent::Read
        | Intent::Harmless
        | Intent::Rename { .. }
        | Intent::Remove { .. }
        | Intent::ContainerAccess(_)
        | Intent::Volume { .. }
        | Intent::Network { .. }
        | Intent::NetworkPlugin { .. }
        | Intent::Unknown { .. }
        | Intent::Unreadable(_) => false,
    }
}

/// How urgent the answers about an intent's images are.
const fn purpose(intent: &Intent) -> Purpose {
    match intent {
        Intent::Create(_) | Intent::Start(_) => Purpose::Run,
        _ => Purpose::Pull,
    }
}

/// Whether the operator says that no HTTP/2 reaches the engine.
fn says_closed(rules: &Rules) -> bool {
    match rules {
        Rules::Good { policy, .. } => policy.http2 == Http2Rule::Closed,
        Rules::Faulty { .. } => false,
    }
}

/// The image of a create, as its lease notes it.
fn image_text(create: &Create) -> String {
    create.image.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// Method and target, which dockerd repeats in AuthZRes.
fn call_key(call: &Call) -> String {
    format!("{} {}", call.method, call.uri)
}

fn refused(busy: &Busy, name: &str) -> Reason {
    match busy {
        Busy::Held => Reason::NameBusy { name: name.to_owned() },
        Busy::Full => Reason::Overloaded,
        Busy::Unwritable => Reason::StateUnwritable,
    }
}

fn claim_name(intent: &Intent) -> String {
    match intent {
        Intent::Start(start) => start.container.clone(),
        Intent::Create(create) => create.name.clone().unwrap_or_default(),
        Intent::Rename { name, .. } => name.clone(),
        _ => String::new(),
    }
}
