//! One request's whole journey: what the daemon posts is decoded, read, judged with what can be found out, recorded, and
//! answered. Whatever goes wrong on the way is a refusal with a reason.

mod approvals;
mod begun;
mod container_looks;
mod daemon_file;
mod descriptions;
mod entry;
mod exceptions;
mod gather;
mod hold;
mod identity;
pub mod inventory;
mod leases;
mod limits;
mod make;
mod metrics;
mod monitored;
mod own;
mod places;
mod plugins;
mod process;
mod pulls;
mod reading;
mod response;
mod rules;
mod shadow;
mod status;
mod superseded;
#[cfg(test)]
mod tests;
mod watchdog;

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use crate::audit::{Journal, Recorded};
use crate::engine::{Api, ContainerId};
use crate::policy::{self, AuditRule, Facts, Grounds, Mode, Needs, Reason, Request, Verdict};
use crate::record::Recorder;
use crate::rego::{About, Evaluator, Passed, Refusal};
use crate::request::{Intent, Naming, PluginCall, Pull, Pulled};
use crate::wire::{Answer, Call, CallError};

pub use approvals::Approvals;
use begun::Lists;
use container_looks::Looks;
pub use daemon_file::{DaemonFile, KEY as PLUGINS_KEY, Listed};
use descriptions::Descriptions;
use entry::{is_probe, is_recorded};
pub use exceptions::latest_seen;
use gather::OnBehalf;
use hold::bare;
pub use identity::Identity;
pub use leases::names_being_given;
use leases::{Claim, Leases};
pub use limits::DecisionLimits;
pub use metrics::Decided;
use metrics::Metrics;
pub use monitored::{Arriving, Watched};
pub use own::{Host as OwnHost, Own};
use places::{AskingPlaces, Places};
pub use plugins::Plugins;
use process::Process;
use pulls::Pulls;
use reading::is_ours;
pub use rules::Rules;
use shadow::Answered;
pub use shadow::{Candidate, Shadow};
pub use status::Figures;
pub use watchdog::{Change, Watchdog};

/// The gate.
pub struct Gate {
    rules: ArcSwap<Rules>,
    engine: Arc<dyn Api>,
    /// The same engine, over connections that only looks at calls' ends use: no client can use them up.
    ends: Arc<dyn Api>,
    journal: Arc<dyn Journal>,
    approvals: Approvals,
    plugins: Plugins,
    descriptions: Descriptions,
    identity: Identity,
    leases: Leases,
    looks: Looks,
    places: Places,
    asking: AskingPlaces,
    own: ArcSwap<Own>,
    pulls: Pulls,
    /// Calls that find out whether names are still being given; and the one that does so because there are too many.
    settling: Semaphore,
    making_room: Semaphore,
    /// Starts that have ended and are to be looked at; and the looks under way.
    ended: Arc<Semaphore>,
    looking: Semaphore,
    /// What they look through; when one was told last that could not be made, and how many were not told since.
    running: Lists,
    all: Lists,
    not_looked: Mutex<(Option<Instant>, u64)>,
    /// Containers that are being killed.
    killing: Mutex<HashSet<ContainerId>>,
    /// Rollbacks, and terms of new containers, that are looked at.
    rollbacks: Arc<Semaphore>,
    limits: DecisionLimits,
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
    /// The time by which it judges, where that is not now.
    at: Option<Timestamp>,
    told_exceptions: exceptions::Told,
    /// A candidate for the policy, which judges what has been answered.
    shadow: OnceLock<Arc<Shadow>>,
    /// Keeps the facts of decisions where the policy says so; none of a gate that does not serve.
    recorder: Option<Recorder>,
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
    /// Answers a post to `AuthZReq`.
    pub async fn request(&self, read: Result<(Call, Intent), CallError>) -> Answer {
        let began = Instant::now();
        let (call, intent) = match read {
            Ok(read) => read,
            Err(why) => return self.refuse(Reason::CallUnreadable { why: why.to_string() }),
        };
        let rules = self.rules.load_full();
        // What waits is boxed: each decision is moved several times on its way to hyper, and would be as large as the largest of these.
        let intent =
            if self.hangs_on_engine(&intent) { Box::pin(self.read_again(&rules, &call, intent, began)).await } else { intent };
        // The gate's own look at the engine comes through the gate again.
        if self.is_own(&call) && is_ours(&call, &intent) {
            return Answer::Allow;
        }
        let request = Request::of(&call, &intent);
        let said = if rules.has_rego() { Box::pin(self.ask_rego(&rules, &request, began)).await } else { None };
        // What ends at once has no span.
        let mut span = Span::none();
        let (Judgement { facts, verdict }, holds) = match prejudge(&rules, &request, &said) {
            Some(verdict) if ends_at_once(&verdict, &intent) => {
                (Judgement { facts: Facts::default(), verdict }, Holds::default())
            }
            prejudged => {
                span = decision_span(&intent);
                let judging = self.judge_in_place(&rules, &call, &request, prejudged, said, began);
                match Box::pin(judging.instrument(span.clone())).await {
                    Some(judged) => judged,
                    None => return self.overloaded(&call, &intent, began),
                }
            }
        };
        let (answer, id) = self.answer(Some((&call, &intent)), &verdict, &facts, holds, began);
        span.record("decision_id", &*id);
        span.record("verdict", verdict.refusal().map_or("good", Reason::code));
        drop(span);
        self.keep_facts(&rules, (&call, &intent), &facts, &verdict);
        if let Some(shadow) = self.shadow.get().filter(|_| !is_probe(Some((&call, &intent)), &verdict)) {
            shadow.take(Answered { call, intent, judgement: Judgement { facts, verdict }, id });
        }
        answer
    }

    /// Judges what cannot be decided at once, holds what it holds until it ends, and waits for names; `None` where there is no place.
    async fn judge_in_place(
        &self,
        rules: &Rules,
        call: &Call,
        request: &Request<'_>,
        prejudged: Option<Verdict>,
        said: Said,
        began: Instant,
    ) -> Option<(Judgement, Holds)> {
        let intent = request.intent;
        // Those that cannot be decided at once, and renames, which wait for names.
        let may_wait = prejudged.is_none() || matches!(intent, Intent::Rename { .. });
        let place = may_wait.then(|| self.places.enter(&places::counted_by(intent)));
        if matches!(place, Some(None)) {
            return None;
        }
        let (Judgement { facts, verdict }, mut holds) = match prejudged {
            Some(verdict) => (Judgement { facts: Facts::default(), verdict }, Holds::default()),
            None => match intent.naming() {
                Naming::Plugin(plugin) => self.judge_plugin(rules, call, plugin, request, said, began).await,
                Naming::Start(_) | Naming::Create { .. } | Naming::Rename { .. } | Naming::Nothing => {
                    self.judge_under_lease(rules, call, request, said, began).await
                }
            },
        };
        // Who waits for a name keeps no place of the repository that was judged.
        let place = if let (Verdict::Allow(_), Naming::Create { name, .. }) = (&verdict, intent.naming()) {
            drop(place);
            Some(self.places.enter(&places::counted_by_name(name)))
        } else {
            place
        };
        let verdict = match verdict {
            Verdict::Allow(_) if matches!(place, Some(None)) => self.refusing(Reason::Overloaded),
            Verdict::Allow(permit) => match self.hold_name(call, intent, began).await {
                Ok(lease) => {
                    holds.lease = lease.or(holds.lease);
                    Verdict::Allow(permit)
                }
                Err(reason) => self.refusing(reason),
            },
            refused @ (Verdict::WouldDeny(_) | Verdict::Deny(_)) => refused,
        };
        if let (Verdict::Allow(_), Intent::Pull(pull)) = (&verdict, intent) {
            self.pull_begins(pull, call, began).await;
        }
        Some((Judgement { facts, verdict }, holds))
    }

    /// Refuses a call for which there is no place.
    fn overloaded(&self, call: &Call, intent: &Intent, began: Instant) -> Answer {
        self.answer(Some((call, intent)), &self.refusing(Reason::Overloaded), &Facts::default(), Holds::default(), began).0
    }

    /// Remembers what the host holds under a tag that is pulled: engines do not tell whether a pull failed.
    async fn pull_begins(&self, pull: &Pull, call: &Call, began: Instant) {
        let Pulled::Tag(tag) = &pull.what else { return };
        let name = format!("{}:{tag}", pull.repository);
        let held = self.engine.image(&name, began + self.limits.decision).await;
        self.pulls.begin(&call_key(call), held.ok().flatten().map(|image| image.id));
    }

    /// Refuses and records a post that never became a call.
    pub fn refuse(&self, reason: Reason) -> Answer {
        self.answer(None, &self.refusing(reason), &Facts::default(), Holds::default(), Instant::now()).0
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
        let claim = match request.intent.naming() {
            Naming::Start(start) if !identity::is_full_id(&start.container) => Some(Claim::Start(bare(&start.container))),
            Naming::Start(_) | Naming::Create { .. } | Naming::Rename { .. } | Naming::Plugin(_) | Naming::Nothing => None,
        };
        let key = call_key(call);
        let lease = match &claim {
            None => None,
            Some(claim) => match self.hold(&key, claim, began).await {
                Ok(number) => Some(number),
                Err(reason) => {
                    return (Judgement { facts: Facts::default(), verdict: self.refusing(reason) }, Holds::default());
                }
            },
        };
        let judgement = self.judge_in_time(rules, request, OnBehalf::Client, said, began).await;
        if let (Intent::Start(_), Verdict::Allow(_), Some(policy::ContainerFacts::Found { id, .. })) =
            (request.intent, &judgement.verdict, &judgement.facts.container)
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
        let Rules::Good { policy, .. } = rules else {
            return Judgement { facts: Facts::default(), verdict: Verdict::Deny(Reason::Internal) };
        };
        let deadline = began + self.limits.decision;
        let gathering = self.gather(rules, request, on_behalf, &said, deadline);
        let gathered = tokio::time::timeout_at(deadline, gathering).await;
        let late = || Reason::Deadline { seconds: self.limits.decision.as_secs() };
        let facts = gathered.unwrap_or_else(|_| Facts { unknown: Some(late()), rego: said.clone(), ..Facts::default() });
        let verdict = policy::decide(policy, request, &facts);
        Judgement { facts, verdict }
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

    /// A refusal of the gate's own, as the mode carries it out.
    fn refusing(&self, reason: Reason) -> Verdict {
        Verdict::refusing(reason, self.mode())
    }

    /// Records the verdict, keeps what was approved, and answers; with the decision's number, where it is recorded.
    fn answer(
        &self,
        read: Option<(&Call, &Intent)>,
        verdict: &Verdict,
        facts: &Facts,
        holds: Holds,
        began: Instant,
    ) -> (Answer, String) {
        let (mut id, mut message) = (String::new(), String::new());
        let action = read.map_or("unreadable", |(_, intent)| intent.action());
        let is_silent = matches!(verdict, Verdict::Allow(permit) if matches!(permit.grounds(), Grounds::NoImage) && permit.warnings().is_empty())
            && !read.is_some_and(|(_, intent)| is_recorded(intent));
        if !is_silent {
            let entry = self.entry(read, verdict, facts, began);
            let recorded = self.journal.record(&entry);
            (id, message) = (entry.decision_id, entry.message);
            let rules = self.rules.load();
            let is_required = rules.audit() == AuditRule::Require && rules.mode() == Mode::Enforce;
            if recorded == Recorded::Lost && matches!(verdict, Verdict::Allow(_)) && is_required {
                if let Some((call, _)) = read {
                    self.take_back(call, holds);
                }
                return self.answer(read, &Verdict::Deny(Reason::AuditUnavailable), facts, Holds::default(), began);
            }
        }
        let (decision, code) = match verdict {
            Verdict::Allow(permit) => permit.forgiven().map_or(("allow", ""), |reason| ("would-deny", reason.code())),
            Verdict::WouldDeny(reason) => ("would-deny", reason.code()),
            Verdict::Deny(reason) => ("deny", reason.code()),
        };
        if !is_probe(read, verdict) {
            self.metrics.decided(action, decision, code, began.elapsed());
            for finding in verdict.findings() {
                self.metrics.violated(finding.rule.about().id, finding.level.as_str());
            }
            for used in verdict.exceptions() {
                self.metrics.excepted(&used.id);
            }
        }
        let answer = match verdict {
            Verdict::Allow(permit) => {
                for approval in permit.approvals() {
                    self.keep(approval);
                }
                Answer::Allow
            }
            Verdict::WouldDeny(_) => Answer::Allow,
            // A refusal is always recorded, and the client is told what is on record.
            Verdict::Deny(_) => Answer::Deny(message),
        };
        (answer, id)
    }

    fn keep(&self, approval: &policy::Approval) {
        let Some(image_id) = approval.id else { return };
        self.approvals.note(image_id);
        let repository = approval.repository.as_ref();
        for (repository, digest) in approval.vouches.iter().filter_map(|vouch| Some((repository?.clone(), *vouch.digest()))) {
            let forgiven = approval.forgiven.is_some();
            self.approvals.keep(&approvals::Record { image_id, repository, digest, forgiven });
        }
    }
}

/// What can be said without finding anything out.
fn prejudge(rules: &Rules, request: &Request<'_>, said: &Said) -> Option<Verdict> {
    let by_rego = || Facts { rego: said.clone(), ..Facts::default() };
    match rules {
        Rules::Good { policy, .. } => match policy::needs(policy, request) {
            Needs::Nothing => Some(policy::decide(policy, request, &by_rego())),
            // A rule that would say otherwise a moment later has said no.
            Needs::Refused(reason) => Some(Verdict::refusing(reason, policy.mode)),
            Needs::Named(_)
            | Needs::Held(_)
            | Needs::Container(_)
            | Needs::Service { .. }
            | Needs::Rollback(_)
            | Needs::Plugin(_)
            | Needs::OwnAddresses => None,
        },
        Rules::Faulty { fault, posture, rights } => Some(policy::decide_without_policy(fault, *posture, *rights, request)),
    }
}

/// Whether this is all there is to say: `docker ps` ends here, and what a rule refuses. What takes a name has to wait for it.
fn ends_at_once(verdict: &Verdict, intent: &Intent) -> bool {
    match (verdict, intent.naming()) {
        (_, Naming::Rename { .. }) => false,
        (Verdict::Deny(_) | Verdict::WouldDeny(_), _) => true,
        (Verdict::Allow(_), Naming::Nothing) => !matches!(intent, Intent::Pull(_)),
        (Verdict::Allow(_), Naming::Start(_) | Naming::Create { .. } | Naming::Plugin(_)) => false,
    }
}

/// Method and target, which dockerd repeats in AuthZRes.
fn call_key(call: &Call) -> String {
    format!("{} {}", call.method, call.uri)
}

/// The span of a decision that does not end at once. What an image is called stands in the audit log, by the decision's id.
fn decision_span(intent: &Intent) -> Span {
    tracing::trace_span!(
        target: "img_authz::trace", "decision",
        action = intent.action(), decision_id = tracing::field::Empty, verdict = tracing::field::Empty
    )
}
