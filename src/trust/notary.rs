//! The Notary v1 verifier: asks a server, verifies, remembers, and answers (DESIGN, section 6; spec/notary-tuf.md).
//!
//! One [`Notary`] stands for one server on one set of terms. Per repository there is at most one flight to the server at a
//! time; whoever asks meanwhile waits for it. Knowledge is replaced only by knowledge that verified from the root down. A
//! server out of reach is no answer: pulls are refused, what is here may run on the last verified knowledge until it expires.

mod ahead;
mod bundle;
mod figures;
mod server;
mod signers;
mod standing;
mod state;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::{Notify, OnceCell, Semaphore, watch};
use tokio::time::Instant;

pub use self::bundle::{Earlier, Exported};
use self::server::{FetchError, Server};
pub use self::signers::{RequiredSigners, SignersError, signer};
pub use self::standing::Standing;
use self::state::{Bad, Edition, Read, StateDir, Written};
use super::tuf::{Failure, Fault, FaultKind, Knowledge, Limits, Pins, Refusal, Stored, Subject, View, Yes, load, update};
use super::{Answer, Figures, Freshness, Hashed, Question, TrustCode, TrustError, Urgency, Verifier, VerifierKind, Vouch};
use crate::image::Repository;
use crate::net::auth::{DockerConfig, Session};
use crate::net::{Bounds, Client, HeaderMap, NetError, Tls};

/// Flights at once for pulls, and as many again for starts: starts never wait behind pulls.
const FLIGHTS: usize = 64;
/// Repositories kept in memory. The least recently used goes first; disk has them still.
const KEPT: usize = 1024;
/// Bytes of trust data kept in memory, beyond which the least recently used goes.
const KEPT_BYTES: usize = 64 << 20;
/// How long a server that is gone is not asked again on behalf of a start; at first, doubling, and at most.
const OUTAGE_FIRST: Duration = Duration::from_secs(1);
const OUTAGE_TIME: Duration = Duration::from_secs(30);
/// How long the question gets that confirms an outage, and the largest answer to it.
const PROBE_TIME: Duration = Duration::from_millis(750);
const PROBE_BYTES: u64 = 64 << 10;
/// Longest a verification goes on after the network's time: a time-out of the network is then told as such.
const SLACK: Duration = Duration::from_millis(200);
/// A negative answer from memory counts this long; a person who just signed should not have to wait for the window to end.
const NO_TIME: Duration = Duration::from_secs(1);
/// A check that found nothing new is written to disk this often, for the age of what is kept.
const SEEN_TIME: SignedDuration = SignedDuration::from_mins(5);
/// A clock further back than this behind the last check makes the age of what is kept unknown.
const CLOCK_STEP: SignedDuration = SignedDuration::from_mins(5);
/// Times an update starts again because another process wrote the state first.
const ROUNDS: usize = 8;

/// What to do when the server is out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnOutage {
    /// What is on the host runs on the last verified knowledge.
    #[default]
    UseKnown,
    /// Nothing does.
    Deny,
}

/// Where trust data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A server: its base URL, `https`, perhaps with a path.
    Server(String),
    /// Bundles that are carried to this host ([`Notary::import`]). Nobody is asked.
    Import,
}

impl<T: Into<String>> From<T> for Source {
    fn from(server: T) -> Self {
        Self::Server(server.into())
    }
}

/// One source on one set of terms.
#[derive(Debug)]
pub struct Config {
    /// Where trust data comes from.
    pub source: Source,
    /// Who may vouch for the server's TLS certificate.
    pub tls: Tls,
    /// Which roots of trust count.
    pub pins: Pins,
    /// Docker's credentials; those of the registry host are used.
    pub credentials: DockerConfig,
    /// How long a verified answer is reused without asking, or without looking whether something was imported.
    pub freshness: Duration,
    /// How long knowledge may be used without the server.
    pub stale_limit: Duration,
    /// Whether it may at all.
    pub on_outage: OnOutage,
    /// Where verified trust data is kept.
    pub state_dir: PathBuf,
    /// How long the network gets for one answer.
    pub network_time: Duration,
    /// Delegations (`targets/release-team`) that must agree on a digest.
    pub require: RequiredSigners,
    /// How long after its last use a repository is kept fresh ([`Notary::keep_fresh`]).
    pub in_use: Duration,
    /// Bounds of one verification.
    pub limits: Limits,
}

impl Config {
    /// The defaults of DESIGN, section 6, for a source.
    #[must_use]
    pub fn new(source: impl Into<Source>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            tls: Tls::default(),
            pins: Pins::default(),
            credentials: DockerConfig::default(),
            freshness: Duration::from_secs(30),
            stale_limit: Duration::from_hours(24),
            on_outage: OnOutage::default(),
            state_dir: state_dir.into(),
            network_time: Duration::from_secs(3),
            require: RequiredSigners::default(),
            in_use: Duration::from_mins(5),
            limits: Limits::default(),
        }
    }
}

/// The verifier. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Notary {
    inner: Arc<Inner>,
}

impl fmt::Debug for Notary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notary").field("source", &self.inner.source()).finish_non_exhaustive()
    }
}

struct Inner {
    /// The server; none where trust data is imported.
    session: Option<Arc<Session>>,
    credentials: Arc<DockerConfig>,
    pins: Arc<Pins>,
    freshness: Duration,
    stale_limit: Duration,
    on_outage: OnOutage,
    network_time: Duration,
    require: RequiredSigners,
    in_use: Duration,
    limits: Limits,
    /// Spreads the checks ahead, differently in each process.
    spread: RandomState,
    state: StateDir,
    entries: Mutex<HashMap<Repository, Arc<Entry>>>,
    outage: Mutex<Option<Outage>>,
    /// When it was last asked whether the server is gone, and whether it was.
    probed: tokio::sync::Mutex<Option<(Instant, bool)>>,
    tally: Mutex<figures::Tally>,
    /// For repositories of which something is kept: made-up names cannot take these.
    known: Lanes,
    strange: Lanes,
}

/// Flights under way.
struct Lanes {
    pulls: Semaphore,
    starts: Semaphore,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { pulls: Semaphore::new(FLIGHTS), starts: Semaphore::new(FLIGHTS) }
    }
}

/// A server that is gone.
struct Outage {
    /// Since when, as far as anybody asked.
    since: Timestamp,
    found: Instant,
    /// When it is asked again.
    until: Instant,
    wait: Duration,
    error: TrustError,
}

/// What is remembered of one repository.
struct Entry {
    repository: Repository,
    /// Whether the disk was looked at.
    loaded: OnceCell<()>,
    now: Mutex<Remembered>,
    flight: Mutex<Option<Arc<Flight>>>,
}

#[derive(Default)]
struct Remembered {
    known: Option<Known>,
    /// The edition on disk that `known` was built on.
    edition: Option<Edition>,
    /// When its last check was written to disk.
    written: Option<Timestamp>,
    /// What the server answered last, if that was not good: what was known before is not used in its place. Kept on disk
    /// where something was known, so that a restart during an outage does not bring it back.
    refused: Option<Bad>,
    /// When somebody last asked about it.
    used: Option<Instant>,
    /// When it was last checked ahead of a question.
    tried: Option<Instant>,
    /// Whether the server gave no answer when it was last asked.
    is_missed: bool,
    /// Whether it holds more than when the bounds were last looked at.
    grown: bool,
}

#[derive(Clone)]
struct Known {
    knowledge: Arc<Knowledge>,
    /// When the server was last asked with success; `None` for what was only read from disk.
    checked: Option<(Instant, Timestamp)>,
}

/// What came of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// It is on disk, or the disk does not take it.
    Settled,
    /// Another process wrote first.
    Moved,
}

type Outcome = Result<Known, Miss>;

/// Why a flight brought nothing.
#[derive(Debug, Clone)]
enum Miss {
    /// The server answered, and the answer is no.
    Refused(TrustError),
    /// Our own pins refuse what is known: a no, which says nothing about the server and is not remembered. Pins are checked
    /// at every use, so that nothing passes by it; and a pin that was wrong is made good by the right one.
    Pinned(TrustError),
    /// The server gave no answer.
    NoAnswer(TrustError),
    /// It could not be found out, and that was not the server's being away: what is known is not used in its place.
    Unsure(TrustError),
}

struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    /// A start waits for it: it need not queue with pulls.
    hurry: Notify,
}

/// What `trust inspect` shows of a repository.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The server asked, or `import`.
    pub server: String,
    /// What decides about its root, in words.
    pub pin: String,
    /// What the server answered last, if that was bad: what is shown is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Roles, keys, tags.
    #[serde(flatten)]
    pub view: View,
}

impl Notary {
    /// A verifier on these terms. Reads no state yet and asks nothing.
    pub fn new(config: Config) -> Result<Self, TrustError> {
        let session = match &config.source {
            Source::Server(server) => Some(Arc::new(session(server, &config.tls)?)),
            Source::Import => None,
        };
        let inner = Inner {
            session,
            credentials: Arc::new(config.credentials),
            pins: Arc::new(config.pins),
            freshness: config.freshness,
            stale_limit: config.stale_limit,
            on_outage: config.on_outage,
            network_time: config.network_time,
            require: config.require,
            in_use: config.in_use,
            spread: RandomState::new(),
            limits: config.limits,
            state: StateDir::new(config.state_dir),
            entries: Mutex::default(),
            outage: Mutex::default(),
            tally: Mutex::default(),
            probed: tokio::sync::Mutex::default(),
            known: Lanes::default(),
            strange: Lanes::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The answer, if it is known without asking anybody: within the freshness window. Does no I/O and does not wait.
    #[must_use]
    pub fn ready(&self, repository: &Repository, question: &Question, now: Timestamp) -> Option<Result<Vouch, TrustError>> {
        let entry = lock(&self.inner.entries).get(repository).cloned()?;
        let known = entry.fresh(self.inner.freshness, now)?;
        let answer = self.inner.current(&entry, &known, question, now);
        let recent = known.checked.is_some_and(|(at, _)| at.elapsed() < NO_TIME);
        (answer.is_ok() || recent).then_some(answer)
    }

    /// The answer, asking the server if need be. Dropping the future stops the waiting, not the flight that others share.
    ///
    /// Verification runs on the runtime of the caller, in a task of its own.
    pub async fn vouch(
        &self,
        repository: &Repository,
        question: &Question,
        urgency: Urgency,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Vouch, TrustError> {
        if let Some(answer) = self.ready(repository, question, now) {
            return answer;
        }
        let entry = self.inner.entry(repository);
        let answer = self.inner.ask(&entry, question, urgency, now, deadline).await;
        if answer.is_err() {
            self.inner.tidy(&entry);
        }
        answer
    }

    /// What is known of a repository, from memory or disk; asks nobody.
    pub async fn inspect(&self, repository: &Repository, now: Timestamp) -> Option<Inspection> {
        let entry = self.inner.entry(repository);
        // What cannot be read is not known.
        let _ = self.inner.loaded(&entry).await;
        let (known, refused) = entry.remembered();
        self.inner.tidy(&entry);
        let view = known?.knowledge.view(self.inner.require.of(repository), now);
        Some(Inspection {
            server: self.inner.source(),
            pin: self.inner.pins.describe(repository.as_str()),
            refused: refused.map(|bad| bad.error.message),
            view,
        })
    }

    /// Forgets a repository, on a person's word: its root, the versions seen, and a withdrawal. The next answer of the server
    /// counts as the first. Whether there was anything to forget.
    pub fn forget(&self, repository: &Repository) -> Result<bool, TrustError> {
        let failed = |why| TrustError::new(TrustCode::Misconfigured, format!("it cannot be forgotten: {why}"));
        let was_kept = self.inner.state.forget(repository.as_str()).map_err(failed)?;
        lock(&self.inner.entries).remove(repository);
        Ok(was_kept)
    }

    /// The root of trust as last verified: version, and the ids of its keys. For `trust pin`.
    pub async fn root(&self, repository: &Repository) -> Option<(u64, Vec<String>)> {
        let entry = self.inner.entry(repository);
        // What cannot be read is not known.
        let _ = self.inner.loaded(&entry).await;
        let known = lock(&entry.now).known.clone();
        self.inner.tidy(&entry);
        known.map(|known| (known.knowledge.root_version(), known.knowledge.root_keys()))
    }
}

/// The way to a server.
fn session(server: &str, tls: &Tls) -> Result<Session, TrustError> {
    let misconfigured = |error: NetError| TrustError::new(TrustCode::Misconfigured, error.to_string());
    let client = Client::new(tls).map_err(misconfigured)?;
    let session = Session::new(client, server).map_err(misconfigured)?;
    if session.base().scheme() != "https" {
        let message = format!("the Notary server `{}` must be an https URL", crate::net::without_user(server));
        return Err(TrustError::new(TrustCode::Misconfigured, message));
    }
    Ok(session)
}

impl Verifier for Notary {
    fn kind(&self) -> VerifierKind {
        VerifierKind::Notary
    }

    fn ready(&self, repository: &Repository, question: &Question, now: Timestamp) -> Option<Result<Vouch, TrustError>> {
        Self::ready(self, repository, question, now)
    }

    fn vouch<'a>(
        &'a self,
        repository: &'a Repository,
        question: &'a Question,
        urgency: Urgency,
        now: Timestamp,
        deadline: Instant,
    ) -> Answer<'a> {
        Box::pin(Self::vouch(self, repository, question, urgency, now, deadline))
    }

    fn figures(&self, now: Timestamp) -> Option<Figures> {
        Some(self.inner.figures(now))
    }

    fn out_since(&self) -> Option<Timestamp> {
        lock(&self.inner.outage).as_ref().map(|outage| outage.since)
    }
}

impl Bad {
    /// Whether this is no news: the same again, and soon after.
    fn is_repeated(&self, error: &TrustError, now: Timestamp) -> bool {
        self.error.code == error.code && now.duration_since(self.at) < SEEN_TIME
    }
}

impl Entry {
    fn remembered(&self) -> (Option<Known>, Option<Bad>) {
        let remembered = lock(&self.now);
        (remembered.known.clone(), remembered.refused.clone())
    }

    /// Whether this edition is what is in memory, verified.
    fn holds(&self, edition: Edition) -> bool {
        let remembered = lock(&self.now);
        remembered.edition == Some(edition) && remembered.known.is_some()
    }

    fn fresh(&self, window: Duration, now: Timestamp) -> Option<Known> {
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

impl Inner {
    /// The repository's entry; made if it is not there. [`Inner::tidy`] removes it if nothing came of it.
    fn entry(&self, repository: &Repository) -> Arc<Entry> {
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

    /// Forgets an entry of which nothing is known, so that made-up names cost nothing, and the least recently used ones
    /// beyond the bounds.
    fn tidy(&self, entry: &Arc<Entry>) {
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
                .min_by_key(|entry| lock(&entry.now).used)
                .map(|entry| entry.repository.clone());
            let Some(oldest) = oldest else { return };
            entries.remove(&oldest);
        }
    }

    /// Looks at the disk once per entry.
    async fn loaded(&self, entry: &Entry) -> Result<(), TrustError> {
        entry.loaded.get_or_try_init(|| self.read(entry)).await.copied()
    }

    /// Reads what is kept into memory, verified.
    async fn read(&self, entry: &Entry) -> Result<(), TrustError> {
        let name = entry.repository.as_str();
        let (stored, bad, edition) = match self.state.read(name) {
            Read::Nothing => {
                let mut remembered = lock(&entry.now);
                if remembered.edition.is_some_and(|edition| self.state.is_forgotten(name, edition)) {
                    tracing::warn!(repository = name, "what was known is forgotten: `trust forget` was run");
                    *remembered = Remembered { used: remembered.used, ..Remembered::default() };
                }
                remembered.edition = None;
                return Ok(());
            }
            // Going on as if nothing were known would be trust on first use.
            Read::Failed(why) => {
                let message = format!(
                    "what is kept of `{name}` cannot be read now: {why}; see its owner, the disk and the open files allowed"
                );
                return Err(TrustError::new(TrustCode::Misconfigured, message));
            }
            Read::Kept(stored, bad, edition) => (stored, bad, edition),
            // The pin says which root counts; versions begin anew.
            Read::Damaged(why) if self.pins.names(name) => {
                tracing::error!(repository = name, why, "kept trust data is damaged; it is set aside and fetched anew");
                self.state.set_aside(name);
                lock(&entry.now).edition = None;
                return Ok(());
            }
            Read::Damaged(why) => return Err(unusable(name, &format!("is damaged ({why}), and no pin says which root counts"))),
        };
        if entry.holds(edition) {
            return Ok(());
        }
        match load(&stored, &entry.repository).await {
            Ok(knowledge) => {
                let mut remembered = lock(&entry.now);
                remembered.written = Some(stored.seen);
                remembered.edition = Some(edition);
                remembered.refused = bad;
                let newer = remembered.known.as_ref().is_none_or(|known| known.knowledge.seen() <= knowledge.seen());
                if newer {
                    remembered.known = Some(Known { knowledge: Arc::new(knowledge), checked: None });
                    remembered.grown = true;
                }
            }
            // Whole as it was written, so that it was accepted once: who could make it go away would be rid of its root.
            Err(fault) => return Err(unusable(name, &format!("does not verify ({fault})"))),
        }
        Ok(())
    }

    async fn ask(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        question: &Question,
        urgency: Urgency,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Vouch, TrustError> {
        lock(&entry.now).used = Some(Instant::now());
        if let (Urgency::Run, Some(error)) = (urgency, self.out_of_reach()) {
            self.loaded(entry).await?;
            return self.without(entry, question, error, now);
        }
        let flight = self.flight(entry, urgency, now);
        let end = deadline.min(Instant::now() + self.network_time + PROBE_TIME + SLACK * 2);
        let mut outcome = flight.outcome.clone();
        let landed = tokio::time::timeout_at(end, outcome.wait_for(Option::is_some)).await;
        let outcome = match landed {
            Ok(Ok(outcome)) => outcome.clone(),
            Ok(Err(_)) => None,
            Err(_) => {
                let message = format!("`{}` did not answer in time", self.source());
                Some(Err(Miss::Unsure(TrustError::new(TrustCode::Unreachable, message))))
            }
        };
        match (outcome, urgency) {
            (Some(Ok(known)), _) => self.current(entry, &known, question, now),
            (Some(Err(Miss::NoAnswer(error))), Urgency::Run) => self.without(entry, question, error, now),
            (Some(Err(Miss::NoAnswer(error) | Miss::Refused(error) | Miss::Pinned(error) | Miss::Unsure(error))), _) => {
                Err(error)
            }
            (None, _) => Err(TrustError::new(TrustCode::Misconfigured, "the verification broke off")),
        }
    }

    /// The flight under way, or a new one.
    fn flight(self: &Arc<Self>, entry: &Arc<Entry>, urgency: Urgency, now: Timestamp) -> Arc<Flight> {
        let mut slot = lock(&entry.flight);
        let flight = match &*slot {
            Some(flight) => Arc::clone(flight),
            None => {
                let (sender, receiver) = watch::channel(None);
                let flight = Arc::new(Flight { outcome: receiver, hurry: Notify::new() });
                *slot = Some(Arc::clone(&flight));
                let (inner, entry, shared) = (Arc::clone(self), Arc::clone(entry), Arc::clone(&flight));
                tokio::spawn(async move {
                    let landing = Landing { entry: &entry };
                    let outcome = inner.fly(&entry, &shared, now).await;
                    drop(landing);
                    inner.tidy(&entry);
                    let _ = sender.send(Some(outcome));
                });
                flight
            }
        };
        drop(slot);
        if urgency == Urgency::Run {
            flight.hurry.notify_one();
        }
        flight
    }

    /// One check with the server, and what follows from it.
    async fn fly(&self, entry: &Arc<Entry>, flight: &Flight, now: Timestamp) -> Outcome {
        let begun = Instant::now();
        let deadline = begun + self.network_time;
        let is_known = lock(&entry.now).known.is_some() || self.state.edition(entry.repository.as_str()).is_some();
        let lanes = if is_known { &self.known } else { &self.strange };
        let queued = async {
            tokio::select! {
                permit = lanes.pulls.acquire() => permit,
                () = flight.hurry.notified() => lanes.starts.acquire().await,
            }
        };
        let late = || TrustError::new(TrustCode::Busy, "too many verifications are under way");
        let Ok(Ok(_permit)) = tokio::time::timeout_at(deadline, queued).await else { return Err(Miss::Unsure(late())) };
        let Some(session) = &self.session else { return self.look(entry, now).await };
        self.loaded(entry).await.map_err(Miss::Unsure)?;
        let edition = lock(&entry.now).edition;
        if edition.is_some_and(|edition| self.state.is_forgotten(entry.repository.as_str(), edition)) {
            self.read(entry).await.map_err(Miss::Unsure)?;
        }
        let mut outcome = Err(Miss::Unsure(late()));
        for _ in 0..ROUNDS {
            match self.check(session, entry, now, begun).await {
                Ok(Some(known)) => {
                    outcome = Ok(known);
                    break;
                }
                // Another process wrote first: what it wrote is the new base.
                Ok(None) => self.read(entry).await.map_err(Miss::Unsure)?,
                Err(miss) => {
                    outcome = Err(miss);
                    break;
                }
            }
        }
        lock(&self.tally).count(&outcome, now);
        let mut remembered = lock(&entry.now);
        remembered.is_missed = matches!(outcome, Err(Miss::NoAnswer(_)));
        match &outcome {
            Ok(known) => {
                let same = remembered.known.as_ref().is_some_and(|before| before.knowledge.same_files(&known.knowledge));
                remembered.grown |= !same;
                remembered.known = Some(known.clone());
                remembered.refused = None;
            }
            // The time of one that is repeated is the one on disk.
            Err(Miss::Refused(error)) if remembered.refused.as_ref().is_some_and(|bad| bad.is_repeated(error, now)) => {}
            Err(Miss::Refused(error)) => remembered.refused = Some(Bad { error: error.clone(), at: now }),
            Err(Miss::NoAnswer(_) | Miss::Pinned(_) | Miss::Unsure(_)) => {}
        }
        outcome
    }

    /// Asks, verifies, writes. `None`: the state on disk moved meanwhile.
    async fn check(&self, session: &Arc<Session>, entry: &Entry, now: Timestamp, begun: Instant) -> Result<Option<Known>, Miss> {
        let deadline = begun + self.network_time;
        let repository = &entry.repository;
        let (known, edition, written, refused_before) = {
            let remembered = lock(&entry.now);
            let known = remembered.known.clone().map(|known| known.knowledge);
            (known, remembered.edition, remembered.written, remembered.refused.clone())
        };
        let server = Server {
            session: Arc::clone(session),
            credentials: Arc::clone(&self.credentials),
            repository: repository.clone(),
            begun,
            deadline,
        };
        let subject =
            Subject { repository: repository.clone(), pins: Arc::clone(&self.pins), limits: self.limits, known: known.clone() };
        let started = Instant::now();
        let updated = tokio::time::timeout_at(deadline + SLACK, update(&server, &subject, now)).await;
        let knowledge = match updated {
            Ok(Ok(knowledge)) => knowledge,
            Ok(Err(Failure::Fault(fault))) => {
                self.reached();
                let error = refused(&fault, repository, known.is_some());
                let ours = fault.kind == FaultKind::Root && known.is_some_and(|known| known.is_void(&self.pins, now));
                if ours {
                    return Err(Miss::Pinned(error));
                }
                return self.refuse(entry, error, now).await;
            }
            Ok(Err(Failure::Fetch(error))) => match self.missed(session, error, now).await {
                Miss::Refused(error) => return self.refuse(entry, error, now).await,
                miss @ (Miss::NoAnswer(_) | Miss::Pinned(_) | Miss::Unsure(_)) => return Err(miss),
            },
            Err(_elapsed) => {
                let message = format!("trust data of `{repository}` was not verified within {:?}", self.network_time);
                return Err(Miss::Unsure(TrustError::new(TrustCode::Busy, message)));
            }
        };
        self.reached();
        if known.is_none() {
            self.first_use(repository, &knowledge);
        }
        let changed = known.as_ref().is_none_or(|known| !known.same_files(&knowledge));
        let due = written.is_none_or(|written| knowledge.seen().duration_since(written) >= SEEN_TIME);
        let again = changed || due || edition.is_none() || refused_before.is_some();
        if again && self.keep(entry, knowledge.stored(), None, edition).await == Kept::Moved {
            return Ok(None);
        }
        Ok(Some(Known { knowledge: Arc::new(knowledge), checked: Some((started, now)) }))
    }

    /// Says in the log that a root is believed for no better reason than that it came first.
    fn first_use(&self, repository: &Repository, knowledge: &Knowledge) {
        if self.pins.first_use(repository.as_str()) {
            let keys = knowledge.root_keys().join(", ");
            tracing::warn!(repository = repository.as_str(), keys, "root of trust accepted on first use; `trust pin` pins it");
        }
    }

    /// A bad answer about a repository that was known: kept, so that it outlives the process.
    async fn refuse(&self, entry: &Entry, error: TrustError, now: Timestamp) -> Result<Option<Known>, Miss> {
        let (known, before) = entry.remembered();
        let edition = lock(&entry.now).edition;
        let same = before.is_some_and(|before| before.is_repeated(&error, now));
        // Another process may have had a better answer since, and have written that.
        let is_kept = same && self.state.edition(entry.repository.as_str()) == edition;
        if let Some(known) = known.filter(|_| !is_kept) {
            let bad = Bad { error: error.clone(), at: now };
            if self.keep(entry, known.knowledge.stored(), Some(bad), edition).await == Kept::Moved {
                return Ok(None);
            }
        }
        Err(Miss::Refused(error))
    }

    /// Writes to disk. Where that fails decisions go on, on what is in memory.
    async fn keep(&self, entry: &Entry, stored: Stored, bad: Option<Bad>, edition: Option<Edition>) -> Kept {
        let (state, seen) = (self.state.clone(), stored.seen);
        // The lock may be another process's, and the disk slow: not on the thread of everybody else's verification.
        let written = tokio::task::spawn_blocking(move || state.write(&stored, bad.as_ref(), edition)).await;
        match written.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(Written::Done(edition)) => {
                let mut remembered = lock(&entry.now);
                remembered.edition = Some(edition);
                remembered.written = Some(seen);
                Kept::Settled
            }
            Ok(Written::Moved) => Kept::Moved,
            Err(why) => {
                tracing::error!(
                    repository = entry.repository.as_str(),
                    why,
                    "verified trust data cannot be kept; protection against rollback ends with this process"
                );
                Kept::Settled
            }
        }
    }

    /// The outage that is remembered. When its time is over, one who asks finds out whether it lasts; the others go on without.
    fn out_of_reach(&self) -> Option<TrustError> {
        let mut outage = lock(&self.outage);
        let remembered = outage.as_mut()?;
        let now = Instant::now();
        if remembered.until > now {
            return Some(remembered.error.clone());
        }
        remembered.until = now + self.network_time + PROBE_TIME;
        None
    }

    /// Whether the server is taken to be gone.
    fn is_out(&self) -> bool {
        lock(&self.outage).as_ref().is_some_and(|outage| outage.until > Instant::now())
    }

    fn reached(&self) {
        *lock(&self.outage) = None;
    }

    /// Remembers that the server is gone, for the other repositories: asked again after a second, and then ever more seldom.
    fn gone(&self, error: &TrustError, asked: Instant, now: Timestamp) {
        let mut outage = lock(&self.outage);
        let (since, wait) = match &*outage {
            None => {
                tracing::warn!(server = self.source(), error = %error, "the Notary server is out of reach");
                (now, OUTAGE_FIRST)
            }
            // Many find out at once: one of them counts.
            Some(before) if before.found > asked => return,
            Some(before) => (before.since, before.wait.saturating_mul(2).min(OUTAGE_TIME)),
        };
        let found = Instant::now();
        *outage = Some(Outage { since, found, until: found + wait, wait, error: error.clone() });
    }

    /// Whether the server itself is gone, by one question about no repository, which those who want to know share.
    async fn is_gone(&self, session: &Session) -> bool {
        let asked = Instant::now();
        let end = asked + PROBE_TIME;
        let Ok(mut last) = tokio::time::timeout_at(end, self.probed.lock()).await else { return false };
        if let Some((_, is_gone)) = last.filter(|(at, _)| *at > asked) {
            return is_gone;
        }
        let Ok(url) = session.url("v2/") else { return false };
        let time = end.saturating_duration_since(Instant::now());
        let answer = session.client().get(&url, HeaderMap::new(), Bounds { bytes: PROBE_BYTES, time }).await;
        let is_gone = match answer {
            Ok(answer) if answer.status >= 500 => answer.status != 503 || answer.header("retry-after").is_none(),
            // Notary answers `{}`; a page of somebody in between is no answer of the server.
            Ok(answer) if answer.status == 200 => answer.body.trim_ascii_start().first().is_some_and(|byte| *byte != b'{'),
            Ok(_) => false,
            Err(NetError::Unreachable { .. } | NetError::Timeout { .. } | NetError::Tls { .. } | NetError::CaRefused { .. }) => {
                true
            }
            Err(NetError::Stalled { .. } | NetError::TooLarge { .. } | NetError::Unauthorized { .. } | NetError::Bad(_)) => false,
        };
        *last = Some((Instant::now(), is_gone));
        is_gone
    }

    /// What follows where a file did not come. An outage is what the server did, never what one repository costs: only that lets
    /// what is known be used, and it counts for other repositories only once a question about none confirms it.
    async fn missed(&self, session: &Session, error: FetchError, now: Timestamp) -> Miss {
        let asked = Instant::now();
        let unreachable = |message| TrustError::new(TrustCode::Unreachable, message);
        let (error, otherwise) = match error {
            FetchError::Status { host, status, rest, is_busy, is_first } => {
                let rest = rest.map(|rest| format!(", and wants to be left alone for {rest:?}")).unwrap_or_default();
                let message = format!("`{host}` answers with status {status} instead of trust data{rest}");
                if is_busy {
                    return Miss::Unsure(TrustError::new(TrustCode::Busy, message));
                }
                let error = unreachable(message);
                let is_outage = is_first && status >= 500;
                (error.clone(), if is_outage { Miss::NoAnswer(error) } else { Miss::Unsure(error) })
            }
            // A try that began late shows nothing by itself: whether the server is gone, the question about none tells.
            FetchError::Slow(error) => {
                let message = error.to_string();
                (unreachable(message.clone()), Miss::Unsure(TrustError::new(TrustCode::Busy, message)))
            }
            FetchError::NoJson { host } => {
                let message = format!("`{host}` answers with something that is no trust data");
                (unreachable(message.clone()), Miss::Refused(TrustError::new(TrustCode::Invalid, message)))
            }
            FetchError::Net(error) => {
                let message = error.to_string();
                let code = match error {
                    NetError::Unreachable { .. } | NetError::Timeout { .. } | NetError::Tls { .. } => TrustCode::Unreachable,
                    NetError::CaRefused { .. } => TrustCode::CaRefused,
                    NetError::Stalled { .. } => return Miss::Unsure(TrustError::new(TrustCode::Busy, message)),
                    NetError::Unauthorized { .. } => return Miss::Unsure(TrustError::new(TrustCode::Unauthorized, message)),
                    NetError::TooLarge { .. } | NetError::Bad(_) => {
                        return Miss::Refused(TrustError::new(TrustCode::Invalid, message));
                    }
                };
                let error = TrustError::new(code, message);
                (error.clone(), Miss::NoAnswer(error))
            }
        };
        if self.is_gone(session).await {
            self.gone(&error, asked, now);
            return Miss::NoAnswer(error);
        }
        otherwise
    }

    /// An answer without the server, for what is on the host already.
    fn without(&self, entry: &Entry, question: &Question, error: TrustError, now: Timestamp) -> Result<Vouch, TrustError> {
        let (known, refused) = entry.remembered();
        if let Some(bad) = refused {
            return Err(bad.error);
        }
        let Some(known) = known.filter(|_| self.on_outage == OnOutage::UseKnown) else { return Err(error) };
        let since = known.knowledge.seen();
        if self.outdated(&known, now) {
            let message = format!("{error}; what was verified at {since} is too old to go on with");
            return Err(TrustError::new(error.code, message));
        }
        let mut vouch = self.answer(&entry.repository, &known.knowledge, question, Freshness::Stale { since }, now)?;
        // It is used no longer than that, whatever its own dates say.
        let end = SignedDuration::try_from(self.stale_limit).ok().and_then(|limit| since.checked_add(limit).ok());
        vouch.expires = vouch.expires.into_iter().chain(end).min();
        Ok(vouch)
    }

    /// Whether the last check with the server is longer ago than knowledge may be used without it. A clock behind that check
    /// cannot tell.
    fn outdated(&self, known: &Known, now: Timestamp) -> bool {
        let age = now.duration_since(known.knowledge.seen());
        let limit = SignedDuration::try_from(self.stale_limit).unwrap_or(SignedDuration::MAX);
        let steady = known.checked.map_or(Duration::ZERO, |(at, _)| at.elapsed());
        age > limit || age < -CLOCK_STEP || steady > self.stale_limit
    }

    /// The answer on what was just checked, or looked for.
    fn current(&self, entry: &Entry, known: &Known, question: &Question, now: Timestamp) -> Result<Vouch, TrustError> {
        match self.session {
            Some(_) => self.answer(&entry.repository, &known.knowledge, question, Freshness::Fresh, now),
            None => self.imported(entry, known, question, now),
        }
    }

    /// The source, for people.
    fn source(&self) -> String {
        self.session.as_ref().map_or_else(|| "import".to_owned(), |session| session.base().to_string())
    }

    fn answer(
        &self,
        repository: &Repository,
        knowledge: &Knowledge,
        question: &Question,
        freshness: Freshness,
        now: Timestamp,
    ) -> Result<Vouch, TrustError> {
        // A pin counts at once, also for what was kept before it was set.
        if freshness != Freshness::Fresh {
            knowledge.proven(&self.pins, now).map_err(|fault| refused(&fault, repository, true))?;
        }
        let require = self.require.of(repository);
        let answer = match question {
            Question::Tag(tag) => knowledge.tag(tag, require, now),
            // What is signed is a manifest or an index, and never an image id.
            Question::AnyOf(digests) | Question::Content { digests, .. } => knowledge.any_of(digests, require, now),
        };
        match answer {
            Ok(Yes { digest, tags, role, signers, expires }) => Ok(Vouch {
                repository: repository.clone(),
                digest,
                hashed: Hashed::Manifest,
                verifier: VerifierKind::Notary,
                tags,
                role: role.to_string(),
                signers,
                expires: Some(expires),
                freshness,
            }),
            Err(Refusal::NotSigned(why)) => {
                Err(TrustError::new(TrustCode::NotSigned, format!("`{repository}` is signed, but {why}")))
            }
            Err(refusal @ Refusal::SignerMissing { .. }) => Err(TrustError::new(TrustCode::SignerMissing, refusal.to_string())),
            Err(Refusal::Fault(fault)) => Err(refused(&fault, repository, true)),
        }
    }
}

/// Ends a flight however it ends, so that a panic or a runtime that stops does not leave one that never lands.
struct Landing<'a> {
    entry: &'a Entry,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        *lock(&self.entry.flight) = None;
    }
}

/// State that counts and cannot be used.
fn unusable(repository: &str, why: &str) -> TrustError {
    let message = format!("what is kept of `{repository}` {why}; if that is no attack: img-authz trust forget {repository}");
    TrustError::new(TrustCode::Misconfigured, message)
}

/// A fault in the words of a verifier's answer.
fn refused(fault: &Fault, repository: &Repository, known: bool) -> TrustError {
    let code = match fault.kind {
        FaultKind::Invalid | FaultKind::UnderSigned => TrustCode::Invalid,
        FaultKind::Expired => TrustCode::Expired,
        FaultKind::RolledBack => TrustCode::RolledBack,
        FaultKind::Root => TrustCode::RootNotTrusted,
        FaultKind::Missing if known => TrustCode::Withdrawn,
        FaultKind::Missing if fault.role == "root" => TrustCode::NoTrustData,
        FaultKind::Missing => TrustCode::Invalid,
    };
    let message = match code {
        TrustCode::NoTrustData => format!("the Notary server has no trust data for `{repository}`"),
        TrustCode::Withdrawn => format!("the Notary server had trust data for `{repository}` and now has none ({fault})"),
        _ => format!("trust data of `{repository}`: {fault}"),
    };
    TrustError::new(code, message)
}

/// A lock whose holder panicked is still a lock: what it guards is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
