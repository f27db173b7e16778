//! A candidate for the policy, beside the one in force: a gate of its own works out what it would have said of calls that have been
//! answered. Where that differs it is recorded and counted, and nothing of it is carried out.
//!
//! Nothing of it can hold up or change what is decided: it has its own threads, places, turns to the engine, verifiers and trust state; of
//! the records of approvals it has a view that cannot be written. What finds no place is dropped and counted.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::metrics::ShadowCounts;
use super::{Gate, Judgement, Plugins, Rules};
use crate::audit::{Entry, Event, Journal, NoJournal};
use crate::engine::Api;
use crate::image::Digest;
use crate::names::look_up_apart;
use crate::policy::{Code, ContainerFacts, Facts, Local, Posture, Reason, Request, Verdict};
use crate::request::Intent;
use crate::text::fit;
use crate::trust::TrustCode;
use crate::wire::Call;

/// Calls that the candidate judges or that wait for it. More are dropped: what it would say of a flood is not worth memory.
const PLACES: usize = 64;
/// Calls that it judges at one time: what it may ask of the engine and of servers.
const AT_ONCE: usize = 4;
/// Bytes of all these calls, and of what their images say. Stops large ones from filling memory.
const CALL_BYTES: usize = 16 << 20;

/// Longest entry of the audit log about a candidate, characters. Stops its faults from filling it.
const TOLD_CHARS: usize = 512;

/// Refusals that say nothing about the policy: what they rest on was another a moment earlier, or could not be found out.
const OF_THE_MOMENT: [Code; 15] = [
    Code::EngineUnreachable,
    Code::ContainerUnknown,
    Code::ContainerBusy,
    Code::ImageUnknown,
    Code::ImageConfigUnknown,
    Code::ServiceUnknown,
    Code::NameBusy,
    Code::NameTaken,
    Code::PluginBusy,
    // Which plugins are known the gate in force learns while it runs.
    Code::PluginUnapproved,
    Code::StateUnwritable,
    Code::Deadline,
    Code::Overloaded,
    Code::RegoOverloaded,
    Code::Internal,
];
/// The same of verifiers. What was imported was imported for the policy in force.
const OF_THE_SERVER: [TrustCode; 3] = [TrustCode::Unreachable, TrustCode::Busy, TrustCode::NotImported];

/// The file of a candidate, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The file.
    pub file: PathBuf,
    /// What tells its text from any other's; `None`: it cannot be read.
    pub digest: Option<Digest>,
    /// What is wrong with it, or with a file that it names: then nothing is judged by it.
    pub faults: Vec<String>,
}

impl Candidate {
    /// What is on record of it.
    #[must_use]
    pub fn told(&self) -> String {
        let file = self.file.display();
        let told = match (&self.digest, self.faults.is_empty()) {
            (Some(digest), true) => {
                format!("calls are judged by a candidate too, and nothing of it is carried out: `{file}`, {digest}")
            }
            (Some(_) | None, _) => {
                format!(
                    "the candidate for the policy `{file}` is faulty, and nothing is judged by it: {}",
                    self.faults.join("; ")
                )
            }
        };
        fit(&told, TOLD_CHARS)
    }
}

/// What judges by a candidate.
pub struct Shadow {
    gate: Gate,
    /// The log, and the counts, of the gate in force.
    journal: Arc<dyn Journal>,
    counts: ShadowCounts,
    candidate: Mutex<Option<Candidate>>,
    is_on: AtomicBool,
    /// Whether calls that only read can come out otherwise.
    judges_reads: AtomicBool,
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    turns: Semaphore,
}

/// A call that has been answered.
pub(super) struct Answered {
    /// The call.
    pub call: Call,
    /// What it would do.
    pub intent: Intent,
    /// What was found out, and the verdict of the policy in force.
    pub judgement: Judgement,
    /// The decision's number; empty where it is not recorded.
    pub id: String,
}

impl Answered {
    /// How much it holds, about.
    fn bytes(&self) -> u32 {
        let call = &self.call;
        let headers: usize = call.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let all = call.body.as_ref().map_or(0, Vec::len) + call.uri.len() + headers + self.judgement.facts.bytes();
        u32::try_from(all).unwrap_or(u32::MAX)
    }
}

/// How the two verdicts compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    Same,
    WouldDeny,
    WouldAllow,
    Unknown,
}

impl Compared {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::WouldDeny => "would-deny",
            Self::WouldAllow => "would-allow",
            Self::Unknown => "unknown",
        }
    }
}

impl Shadow {
    /// Beside a gate, with ways of its own to the engine; what it does is done on `workers`. Called on the thread that is to build what
    /// asks servers: names are looked up there in places of their own.
    #[must_use]
    pub fn beside(gate: &Gate, engine: Arc<dyn Api>, plugins: Plugins, workers: tokio::runtime::Handle) -> Arc<Self> {
        look_up_apart();
        let none = Rules::Faulty { fault: "there is no candidate".to_owned(), posture: Posture::Images, rights: false };
        let (approvals, identity) = (gate.approvals.view(), gate.identity.again());
        let own = Gate::new(none, engine, Arc::new(NoJournal::default()), approvals, identity, workers);
        Arc::new(Self {
            gate: own.with_limits(gate.limits).with_plugins(plugins),
            journal: Arc::clone(&gate.journal),
            counts: gate.metrics.shadow(),
            candidate: Mutex::default(),
            is_on: AtomicBool::new(false),
            judges_reads: AtomicBool::new(false),
            places: Arc::new(Semaphore::new(PLACES)),
            bytes: Arc::new(Semaphore::new(CALL_BYTES)),
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// The candidate as it is now, and its rules; without these nothing is judged.
    pub fn judge_by(&self, candidate: Option<Candidate>, rules: Option<Rules>) {
        // Off while it changes: no verdict of the one before counts as one of the next.
        self.is_on.store(false, Ordering::Release);
        self.counts.stands(candidate.as_ref().map(|_| rules.is_some()));
        *self.candidate.lock().unwrap_or_else(PoisonError::into_inner) = candidate;
        let Some(rules) = rules else { return };
        let judges_reads = matches!(&rules, Rules::Good { policy, .. } if policy.users.is_some() || policy.rego.is_some());
        self.judges_reads.store(judges_reads, Ordering::Release);
        let is_on = self.gate.replace(rules);
        self.is_on.store(is_on, Ordering::Release);
    }

    /// What the gate that judges by the candidate talks to.
    pub fn talks_to(&self, own: super::Own) {
        self.gate.talks_to(own);
    }

    /// The candidate, where there is one.
    fn candidate(&self) -> Option<Candidate> {
        self.candidate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a call that has been answered, to be judged elsewhere and later; costs the caller some counters.
    pub(super) fn take(self: &Arc<Self>, answered: Answered) {
        if !self.is_on.load(Ordering::Acquire) || !self.is_worth_it(&answered) {
            return;
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(answered.bytes());
        let (Ok(place), Ok(bytes)) = (place, bytes) else {
            self.counts.count("dropped", "");
            return;
        };
        let shadow = Arc::clone(self);
        self.gate.workers.spawn(async move {
            shadow.judge(answered).await;
            drop((place, bytes));
        });
    }

    /// What reads is let pass by every policy without users and Rego: `docker ps` is judged only where one of the two may refuse it.
    fn is_worth_it(&self, answered: &Answered) -> bool {
        answered.intent != Intent::Read
            || self.judges_reads.load(Ordering::Acquire)
            || !matches!(answered.judgement.verdict, Verdict::Allow(_))
    }

    async fn judge(&self, answered: Answered) {
        let began = Instant::now();
        let rules = self.gate.rules.load_full();
        let judging = async {
            let _turn = self.turns.acquire().await.ok()?;
            if matches!(&*rules, Rules::Good { policy, .. } if policy.rego.is_some()) {
                // Rules in Rego are told what the engine makes of a call.
                self.gate.process.known_or_look(&*self.gate.engine, began + self.gate.limits.look).await;
            }
            Some(Box::pin(self.gate.judge_request(&Request::of(&answered.call, &answered.intent))).await)
        };
        let judged = tokio::time::timeout_at(began + self.gate.limits.decision, judging).await;
        let Ok(Some(judged)) = judged else {
            self.counts.count(Compared::Unknown.as_str(), Code::Deadline.as_str());
            return;
        };
        // It was another candidate's, or is nobody's any more.
        if !self.is_on.load(Ordering::Acquire) || !Arc::ptr_eq(&rules, &self.gate.rules.load_full()) {
            return;
        }
        let compared = compare(&answered.judgement, &judged);
        let (code, shadow_code) = (code(&answered.judgement.verdict), code(&judged.verdict));
        self.counts.count(
            compared.as_str(),
            match compared {
                Compared::Same => "",
                Compared::WouldDeny => shadow_code,
                Compared::WouldAllow => code,
                Compared::Unknown => {
                    of_the_moment(&judged.verdict).or_else(|| of_the_moment(&answered.judgement.verdict)).unwrap_or("")
                }
            },
        );
        let event = match compared {
            Compared::Same | Compared::Unknown => return,
            Compared::WouldDeny => Event::WouldDeny,
            Compared::WouldAllow => Event::WouldAllow,
        };
        let facts = Facts { about_self: false, ..judged.facts };
        let entry = self.gate.entry(Some((&answered.call, &answered.intent)), &judged.verdict, &facts, began);
        self.journal.record(&Entry {
            event,
            decision_id: answered.id,
            code,
            shadow_code,
            message: match answered.judgement.verdict.refusal() {
                Some(reason) if event == Event::WouldAllow => {
                    format!("the candidate lets pass what is refused: {}", reason.message())
                }
                Some(_) | None => entry.message.clone(),
            },
            // Whether the refusal that is one of the two was carried out.
            enforced: event == Event::WouldAllow,
            ..entry
        });
    }
}

impl Gate {
    /// From now on calls that have been answered are judged by a candidate too. Once in the life of a gate.
    pub fn shadowed_by(&self, shadow: Arc<Shadow>) {
        // A second one would take the place of nobody.
        let _ = self.shadow.set(shadow);
    }

    /// The candidate that is judged beside the policy in force, or would be were it not faulty.
    #[must_use]
    pub fn candidate(&self) -> Option<Candidate> {
        self.shadow.get()?.candidate()
    }
}

/// What a client would have met. What a refusal of the moment says is not known, nor what was judged of another image or container.
fn compare(in_force: &Judgement, candidate: &Judgement) -> Compared {
    if of_the_moment(&in_force.verdict).is_some() || of_the_moment(&candidate.verdict).is_some() {
        return Compared::Unknown;
    }
    let refuses = |judgement: &Judgement| matches!(judgement.verdict, Verdict::Deny(_));
    match (refuses(in_force), refuses(candidate)) {
        (true, true) | (false, false) => Compared::Same,
        _ if has_changed(&in_force.facts, &candidate.facts) => Compared::Unknown,
        (false, true) => Compared::WouldDeny,
        (true, false) => Compared::WouldAllow,
    }
}

/// Whether the host held something else at the second look. What only one of the two looked at is not compared.
fn has_changed(first: &Facts, second: &Facts) -> bool {
    let container = |facts: &Facts| match &facts.container {
        Some(ContainerFacts::Found { id, image, .. }) => Some(Some((id.clone(), *image))),
        Some(ContainerFacts::Missing) => Some(None),
        None => None,
    };
    let image = |local: &Local| match local {
        Local::NotAsked => None,
        Local::Absent => Some(None),
        Local::Present { id, .. } => Some(Some(*id)),
    };
    let differ = matches!((container(first), container(second)), (Some(first), Some(second)) if first != second);
    let images = first.images.iter().zip(&second.images);
    let differs = |(first, second): (&Local, &Local)| matches!((image(first), image(second)), (Some(first), Some(second)) if first != second);
    differ || images.map(|(first, second)| (&first.local, &second.local)).any(differs)
}

/// The code of a refusal that says nothing about the policy.
fn of_the_moment(verdict: &Verdict) -> Option<&'static str> {
    let Verdict::Deny(reason) = verdict else { return None };
    let code = reason.code();
    let is_of_fault = matches!(reason, Reason::SettingFault { .. } | Reason::FaultForbids { .. } | Reason::AuditUnavailable);
    let mut known = OF_THE_MOMENT.iter().map(|code| code.as_str()).chain(OF_THE_SERVER.iter().map(|code| code.as_str()));
    (is_of_fault || known.any(|known| known == code)).then_some(code)
}

/// The code of what refuses a call, or would without a mode that lets it pass.
fn code(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Allow(permit) => permit.forgiven().map_or("", Reason::code),
        Verdict::WouldDeny(reason) | Verdict::Deny(reason) => reason.code(),
    }
}
