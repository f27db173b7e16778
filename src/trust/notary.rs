//! The Notary v1 verifier: asks a server, verifies, remembers, and answers (docs/notary-v1.md).
//!
//! One [`Notary`] stands for one server on one set of terms. Per repository there is at most one flight to the server at a
//! time; whoever asks meanwhile waits for it. Knowledge is replaced only by knowledge that verified from the root down. A
//! server out of reach is no answer: pulls are refused, what is here may run on the last verified knowledge until it expires.

mod budget;
mod bundle;
mod refresh;
mod server;
mod signers;
mod state;
mod stats;
mod status;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::{Notify, OnceCell, watch};
use tokio::time::Instant;

use self::budget::{Budget, Share};
pub use self::bundle::{Exported, RootHistory, Withdrawal};
use self::server::{FetchError, Server};
pub use self::signers::{RequiredSigners, SignersError, signer};
use self::state::{Bad, Base, Edition, Read, StateDir, Written};
pub use self::status::RepositoryStatus;
use super::asking::{Lanes, Noes, PROBE_TIME, Probe};
use super::tuf::{
    Failure, Fault, FaultKind, Knowledge, Limits, OfferedRoot, Pins, Refusal, SignedTag, Stored, Subject, View, load,
    offered_root, update,
};
use super::{Answer, Binding, Freshness, Hashed, Purpose, Question, Stats, TrustCode, TrustError, Verifier, VerifierName, Vouch};
use crate::image::Repository;
use crate::net::auth::{DockerConfig, Session};
use crate::net::{self, Bounds, Client, HeaderMap, NetError, Tls};

/// Repositories kept in memory. The least recently used goes first; disk has them still.
const KEPT: usize = 1024;
/// Bytes of trust data kept in memory, beyond which the least recently used goes.
const KEPT_BYTES: usize = 16 << 20;
/// How long a server that is gone is not asked again on behalf of a start; at first, doubling, and at most.
const OUTAGE_FIRST: Duration = Duration::from_secs(1);
const OUTAGE_TIME: Duration = Duration::from_secs(30);
/// Largest answer to the question that confirms an outage.
const PROBE_BYTES: u64 = 64 << 10;
/// Longest a verification goes on after the network's time: a time-out of the network is then told as such.
const SLACK: Duration = Duration::from_millis(200);
/// A negative answer from memory counts this long; a person who just signed should not have to wait for the window to end.
const NO_TIME: Duration = Duration::from_secs(1);
/// A check that found nothing new is written to disk this often, for the age of what is kept.
const SEEN_TIME: SignedDuration = SignedDuration::from_mins(5);
/// A clock further back than this behind the last check makes the age of what is kept unknown.
const CLOCK_STEP: SignedDuration = SignedDuration::from_mins(5);
/// Longest it takes to verify what is kept, again from the root down. What was accepted costs a few seconds at the very most; it takes
/// turns with other verifications.
const LOAD_TIME: Duration = Duration::from_secs(10);
/// How often the log says that the clock went back.
const CLOCK_WARNING: Duration = Duration::from_hours(1);
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
    /// What the verifier is called.
    pub name: VerifierName,
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
    /// The defaults for a source, as docs/settings.md has them.
    #[must_use]
    pub fn new(source: impl Into<Source>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: VerifierName::NOTARY,
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
    name: VerifierName,
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
    probe: Probe,
    /// Names of which the server knows nothing.
    noes: Mutex<Noes<Repository>>,
    budget: Arc<Budget>,
    /// When the log last said that the clock went back.
    told_clock: Mutex<Option<Instant>>,
    tally: Mutex<stats::Tally>,
    /// For repositories of which something is kept: made-up names cannot take these.
    known: Lanes,
    strange: Lanes,
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
    /// What on disk `known` was built on.
    base: Base,
    /// When its last check was written to disk.
    written: Option<Timestamp>,
    on_disk: OnDisk,
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

/// What the disk has of what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum OnDisk {
    /// All of it, as far as anybody knows.
    #[default]
    All,
    /// Not all: the last write failed, or what stands there is older or damaged.
    Less,
    /// Not even files that are nowhere else: they are asked for again.
    Lost,
}

#[derive(Clone)]
struct Known {
    knowledge: Arc<Knowledge>,
    /// When the server was last asked with success; `None` for what was only read from disk.
    checked: Option<(Instant, Timestamp)>,
    /// The same by the clock of then, also across restarts. The knowledge's own time never goes back, and one check by a clock
    /// that was ahead would make all that follow look old.
    since: Timestamp,
}

/// What came of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// It is on disk; what there is now to build on.
    Done(Base),
    /// The disk does not take it.
    Failed,
    /// Another process wrote first.
    Moved,
    /// Files that were kept are there no more, so that they cannot be kept on.
    Lost,
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
            name: config.name,
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
            probe: Probe::default(),
            noes: Mutex::default(),
            budget: Arc::default(),
            told_clock: Mutex::default(),
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
        // Finding that out again takes a while, and others wait on this thread.
        if self.inner.session.is_none() && !known.knowledge.is_proven(&self.inner.pins, now) {
            return None;
        }
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
        purpose: Purpose,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Vouch, TrustError> {
        if let Some(answer) = self.ready(repository, question, now) {
            return answer;
        }
        if let Some(error) = lock(&self.inner.noes).of(repository) {
            return Err(error);
        }
        let entry = self.inner.entry(repository);
        let answer = self.inner.ask(&entry, question, purpose, now, deadline).await;
        if answer.is_err() {
            self.inner.tidy(&entry);
        }
        answer
    }

    /// What is known of a repository, from memory or disk; asks nobody.
    pub async fn inspect(&self, repository: &Repository, now: Timestamp) -> Option<Inspection> {
        let entry = self.inner.entry(repository);
        // What cannot be read is not known.
        let _ = self.inner.loaded(&entry, &self.inner.share(true, self.inner.network_time)).await;
        let (known, refused) = entry.remembered();
        self.inner.tidy(&entry);
        let known = known?;
        let view = View { checked: known.since, ..known.knowledge.view(self.inner.require.of(repository), now) };
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
        lock(&self.inner.noes).forget(repository);
        Ok(was_kept)
    }

    /// The root of trust as last verified: version, and the ids of its keys. For `trust pin`.
    pub async fn root(&self, repository: &Repository) -> Option<(u64, Vec<String>)> {
        let entry = self.inner.entry(repository);
        // What cannot be read is not known.
        let _ = self.inner.loaded(&entry, &self.inner.share(true, self.inner.network_time)).await;
        let known = lock(&entry.now).known.clone();
        self.inner.tidy(&entry);
        known.map(|known| (known.knowledge.root_version(), known.knowledge.root_keys()))
    }

    /// The root that the server offers, which nothing vouches for: for a person to compare with the publisher's, where no pin lets
    /// it pass. `None` where there is no server, or it has none that can be read.
    pub async fn offered(&self, repository: &Repository) -> Option<OfferedRoot> {
        let begun = Instant::now();
        let server = Server {
            session: Arc::clone(self.inner.session.as_ref()?),
            credentials: Arc::clone(&self.inner.credentials),
            repository: repository.clone(),
            state: self.inner.state.clone(),
            kept: Arc::default(),
            share: self.inner.share(false, self.inner.network_time),
            answered: Arc::default(),
            begun,
            deadline: begun + self.inner.network_time,
        };
        offered_root(&server, self.inner.limits).await.ok().flatten()
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
    fn name(&self) -> &VerifierName {
        &self.inner.name
    }

    fn binding(&self) -> Binding {
        Binding::TagToDigest
    }

    fn ready(&self, repository: &Repository, question: &Question, now: Timestamp) -> Option<Result<Vouch, TrustError>> {
        Self::ready(self, repository, question, now)
    }

    fn vouch<'a>(
        &'a self,
        repository: &'a Repository,
        question: &'a Question,
        purpose: Purpose,
        now: Timestamp,
        deadline: Instant,
    ) -> Answer<'a> {
        Box::pin(Self::vouch(self, repository, question, purpose, now, deadline))
    }

    fn stats(&self, now: Timestamp) -> Option<Stats> {
        Some(self.inner.stats(now))
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

impl Remembered {
    /// What is verified further.
    fn knowledge(&self) -> Option<Arc<Knowledge>> {
        let knowledge = &self.known.as_ref()?.knowledge;
        Some(match self.on_disk {
            OnDisk::All | OnDisk::Less => Arc::clone(knowledge),
            OnDisk::Lost => Arc::new(knowledge.lost()),
        })
    }

    /// The disk does not have all of it; what was lost stays so.
    fn unsaved(&mut self) {
        if self.on_disk == OnDisk::All {
            self.on_disk = OnDisk::Less;
        }
    }

    /// Which goes first where there are too many: the least recently used. What is not on disk goes last: versions seen go with it.
    fn rank(&self) -> (bool, Option<Instant>) {
        (self.on_disk != OnDisk::All || self.base.edition.is_none(), self.used)
    }

    /// Takes in what is on disk and verified: what has seen the newest versions counts, whatever the clocks said. The edition is built on
    /// from now on, so that nothing it has seen may be left out.
    fn found(&mut self, mut found: Known, bad: Option<Bad>, edition: Edition) {
        let (mut is_ahead, mut is_newer) = (false, true);
        if let Some(before) = &self.known {
            let (own, other) = (&before.knowledge, &found.knowledge);
            is_ahead = own.is_above(other);
            // Of the same versions the one that was checked last.
            is_newer = other.is_above(own) || (!is_ahead && own.seen() <= other.seen());
            if is_ahead && is_newer {
                found.knowledge = Arc::new(other.with_floors_of(own));
            }
        }
        // A no that could not be written is not on disk, and counts until a later check found otherwise.
        let own = self.refused.take().filter(|own| self.on_disk != OnDisk::All && own.at > found.since);
        let is_all = !is_ahead && (bad.is_some() || own.is_none());
        self.on_disk = if is_all { OnDisk::All } else { OnDisk::Less };
        self.refused = bad.or(own);
        self.written = Some(found.since);
        self.base.edition = Some(edition);
        if is_newer {
            self.known = Some(found);
            self.grown = true;
        }
    }
}

impl Entry {
    fn remembered(&self) -> (Option<Known>, Option<Bad>) {
        let remembered = lock(&self.now);
        (remembered.known.clone(), remembered.refused.clone())
    }

    /// Whether what is in memory was on disk once, as it is or as something older.
    fn is_built_on_disk(&self) -> bool {
        let remembered = lock(&self.now);
        remembered.base.edition.is_some() && remembered.known.is_some()
    }

    /// Whether this edition is what is in memory, verified.
    fn holds(&self, edition: Edition) -> bool {
        let remembered = lock(&self.now);
        remembered.base.edition == Some(edition) && remembered.known.is_some()
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
                .min_by_key(|entry| lock(&entry.now).rank())
                .map(|entry| entry.repository.clone());
            let Some(oldest) = oldest else { return };
            entries.remove(&oldest);
        }
    }

    /// Room in memory for one verification.
    fn share(&self, is_known: bool, time: Duration) -> Arc<Share> {
        self.budget.share(is_known, Instant::now() + time)
    }

    /// Looks at the disk once per entry.
    async fn loaded(&self, entry: &Entry, share: &Share) -> Result<(), TrustError> {
        entry.loaded.get_or_try_init(|| self.read(entry, share)).await.copied()
    }

    /// The same, and again where a person had it forgotten since, or another process wrote: a command may have seen something newer,
    /// or a withdrawal.
    async fn looked_up(&self, entry: &Entry, share: &Share) -> Result<(), TrustError> {
        self.loaded(entry, share).await?;
        let (name, base) = (entry.repository.as_str(), lock(&entry.now).base);
        // Where it cannot be looked, what is known goes on.
        let is_forgotten = self.state.mark(name).is_ok_and(|mark| base.is_forgotten(mark));
        if is_forgotten || self.state.edition(name).is_some_and(|edition| base.edition != Some(edition)) {
            self.read(entry, share).await?;
        }
        Ok(())
    }

    /// Reads what is kept into memory, verified.
    async fn read(&self, entry: &Entry, share: &Share) -> Result<(), TrustError> {
        let name = entry.repository.as_str();
        share.take(self.state.size(name)).await?;
        // Going on as if nothing were known would be trust on first use.
        let unread = |why: String| {
            let message =
                format!("what is kept of `{name}` cannot be read now: {why}; see its owner, the disk and the open files allowed");
            TrustError::new(TrustCode::Misconfigured, message)
        };
        // Before the state: one that is forgotten in between is looked at again.
        let mark = self.state.mark(name).map_err(unread)?;
        {
            let mut remembered = lock(&entry.now);
            if remembered.base.is_forgotten(mark) {
                if remembered.known.is_some() {
                    tracing::warn!(repository = name, "what was known is forgotten: `trust forget` was run");
                }
                *remembered = Remembered { used: remembered.used, ..Remembered::default() };
            }
            remembered.base.mark = mark;
        }
        let (stored, bad, edition) = match self.state.read(name) {
            Read::Nothing => {
                lock(&entry.now).base.edition = None;
                return Ok(());
            }
            Read::Failed(why) => return Err(unread(why)),
            Read::Kept(stored, bad, edition) => (stored, bad, edition),
            // What is in memory was verified and built on what stood here: it is written again.
            Read::Damaged(why) if self.session.is_some() && entry.is_built_on_disk() => {
                tracing::error!(repository = name, why, "kept trust data is damaged; it is written again at the next check");
                lock(&entry.now).unsaved();
                return Ok(());
            }
            // The pin says which root counts; versions begin anew.
            Read::Damaged(why) if self.pins.names(name) => {
                tracing::error!(repository = name, why, "kept trust data is damaged; it is set aside and fetched again");
                self.state.set_aside(name);
                lock(&entry.now).base.edition = None;
                return Ok(());
            }
            Read::Damaged(why) => return Err(unusable(name, &format!("is damaged ({why}), and no pin says which root counts"))),
        };
        if entry.holds(edition) {
            return Ok(());
        }
        let Ok(loaded) = tokio::time::timeout(LOAD_TIME, load(&stored, &entry.repository)).await else {
            let message = format!("what is kept of `{name}` was not verified within {LOAD_TIME:?}");
            return Err(TrustError::new(TrustCode::Busy, message));
        };
        match loaded {
            Ok(knowledge) => {
                let known = self.known(entry, knowledge.kept(), None, stored.checked);
                lock(&entry.now).found(known, bad, edition);
            }
            // Whole as it was written, so that it was accepted once: who could make it go away would be rid of its root.
            Err(fault) => return Err(unusable(name, &format!("does not verify ({fault})"))),
        }
        Ok(())
    }

    /// What answers are made of is worked out here, where trust data was verified, and not by who asks.
    fn known(&self, entry: &Entry, knowledge: Knowledge, checked: Option<(Instant, Timestamp)>, since: Timestamp) -> Known {
        knowledge.prepare(self.require.of(&entry.repository));
        Known { knowledge: Arc::new(knowledge), checked, since }
    }

    async fn ask(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        question: &Question,
        purpose: Purpose,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Vouch, TrustError> {
        lock(&entry.now).used = Some(Instant::now());
        if let (Purpose::Run, Some(error)) = (purpose, self.out_of_reach()) {
            let late =
                |_| TrustError::new(TrustCode::Busy, format!("what is kept of `{}` was not read in time", entry.repository));
            let share = self.budget.share(true, deadline);
            tokio::time::timeout_at(deadline, self.looked_up(entry, &share)).await.map_err(late)??;
            return self.without(entry, question, error, now);
        }
        let flight = self.flight(entry, purpose, now);
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
        match (outcome, purpose) {
            (Some(Ok(known)), _) => self.current(entry, &known, question, now),
            (Some(Err(Miss::NoAnswer(error))), Purpose::Run) => self.without(entry, question, error, now),
            (Some(Err(Miss::NoAnswer(error) | Miss::Refused(error) | Miss::Pinned(error) | Miss::Unsure(error))), _) => {
                Err(error)
            }
            (None, _) => Err(TrustError::new(TrustCode::Misconfigured, "the verification broke off")),
        }
    }

    /// The flight under way, or a new one.
    fn flight(self: &Arc<Self>, entry: &Arc<Entry>, purpose: Purpose, now: Timestamp) -> Arc<Flight> {
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
        if purpose == Purpose::Run {
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
        let share = self.budget.share(is_known, deadline);
        let Some(session) = &self.session else { return self.look(entry, &share, now).await };
        self.looked_up(entry, &share).await.map_err(Miss::Unsure)?;
        let mut outcome = Err(Miss::Unsure(late()));
        for _ in 0..ROUNDS {
            match self.check(session, entry, &share, now, begun).await {
                Ok(Some(known)) => {
                    outcome = Ok(known);
                    break;
                }
                // Another process wrote first: what it wrote is the new base.
                Ok(None) => self.read(entry, &share).await.map_err(Miss::Unsure)?,
                Err(miss) => {
                    outcome = Err(miss);
                    break;
                }
            }
        }
        lock(&self.tally).count(&outcome, now);
        let mut remembered = lock(&entry.now);
        if let (Err(Miss::Refused(error)), None) = (&outcome, &remembered.known) {
            lock(&self.noes).remember(entry.repository.clone(), error.clone());
        }
        remembered.is_missed = matches!(outcome, Err(Miss::NoAnswer(_)));
        match &outcome {
            // The time of one that is repeated is the one on disk.
            Err(Miss::Refused(error)) if remembered.refused.as_ref().is_some_and(|bad| bad.is_repeated(error, now)) => {}
            Err(Miss::Refused(error)) => remembered.refused = Some(Bad { error: error.clone(), at: now }),
            Ok(_) | Err(Miss::NoAnswer(_) | Miss::Pinned(_) | Miss::Unsure(_)) => {}
        }
        outcome
    }

    /// Asks, verifies, writes. `None`: the state on disk moved meanwhile.
    async fn check(
        &self,
        session: &Arc<Session>,
        entry: &Entry,
        share: &Arc<Share>,
        now: Timestamp,
        begun: Instant,
    ) -> Result<Option<Known>, Miss> {
        let deadline = begun + self.network_time;
        let repository = &entry.repository;
        let (known, base, written, unsaved, refused_before) = {
            let remembered = lock(&entry.now);
            let known = remembered.knowledge();
            (known, remembered.base, remembered.written, remembered.on_disk != OnDisk::All, remembered.refused.clone())
        };
        let server = Server {
            session: Arc::clone(session),
            credentials: Arc::clone(&self.credentials),
            repository: repository.clone(),
            state: self.state.clone(),
            kept: Arc::default(),
            share: Arc::clone(share),
            answered: Arc::default(),
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
        self.look_at_clock(repository, knowledge.seen(), now);
        // Also where the clock went back: the age of what is kept counts from this check on.
        let due = written.is_none_or(|written| now.duration_since(written).abs() >= SEEN_TIME);
        let again = changed || due || unsaved || base.edition.is_none() || refused_before.is_some();
        // What it read from the disk is not needed any more.
        drop(server);
        let (base, knowledge) = if again {
            let stored = Stored { checked: now, ..knowledge.stored() };
            match self.keep(entry, stored, None, base).await {
                Kept::Done(base) => (base, knowledge.kept()),
                Kept::Failed => (base, knowledge),
                Kept::Moved | Kept::Lost => return Ok(None),
            }
        } else {
            (base, knowledge)
        };
        let known = self.known(entry, knowledge, Some((started, now)), now);
        let mut remembered = lock(&entry.now);
        // Whoever asked during an outage may have read what another process wrote meanwhile.
        if remembered.base != base {
            return Ok(None);
        }
        remembered.grown |= changed;
        remembered.known = Some(known.clone());
        remembered.refused = None;
        Ok(Some(known))
    }

    /// Says in the log that a root is believed for no better reason than that it came first.
    fn first_use(&self, repository: &Repository, knowledge: &Knowledge) {
        if self.pins.first_use(repository.as_str()) {
            let keys = knowledge.root_keys().join(", ");
            tracing::warn!(repository = repository.as_str(), keys, "root of trust accepted on first use; `trust pin` pins it");
        }
    }

    /// Says in the log that the clock went back: dates count from the latest time seen.
    fn look_at_clock(&self, repository: &Repository, seen: Timestamp, now: Timestamp) {
        let mut told = lock(&self.told_clock);
        if seen.duration_since(now) > CLOCK_STEP && told.is_none_or(|at| at.elapsed() >= CLOCK_WARNING) {
            *told = Some(Instant::now());
            tracing::warn!(
                repository = repository.as_str(),
                seen = %seen,
                now = %now,
                "this host's clock went back since an earlier check; dates of trust data count from that check on"
            );
        }
    }

    /// A bad answer about a repository that was known: kept, so that it outlives the process.
    async fn refuse(&self, entry: &Entry, error: TrustError, now: Timestamp) -> Result<Option<Known>, Miss> {
        let (known, before, base, unsaved) = {
            let remembered = lock(&entry.now);
            (remembered.known.clone(), remembered.refused.clone(), remembered.base, remembered.on_disk != OnDisk::All)
        };
        // One that could not be written is written as soon as it can be.
        let same = !unsaved && before.is_some_and(|before| before.is_repeated(&error, now));
        // Another process may have had a better answer since, and have written that.
        let is_kept = same && self.state.edition(entry.repository.as_str()) == base.edition;
        if let Some(known) = known.filter(|_| !is_kept) {
            let bad = Bad { error: error.clone(), at: now };
            let stored = Stored { checked: known.since, ..known.knowledge.stored() };
            match self.keep(entry, stored, Some(bad), base).await {
                Kept::Moved => return Ok(None),
                // It counts in memory, and is noted on disk also where files are gone from there.
                Kept::Done(_) | Kept::Failed | Kept::Lost => {}
            }
        }
        Err(Miss::Refused(error))
    }

    /// Writes to disk. Where that fails decisions go on, on what is in memory.
    async fn keep(&self, entry: &Entry, stored: Stored, bad: Option<Bad>, base: Base) -> Kept {
        let (state, checked) = (self.state.clone(), stored.checked);
        // The lock may be another process's, and the disk slow: not on the thread of everybody else's verification.
        let written = tokio::task::spawn_blocking(move || state.write(stored, bad.as_ref(), base)).await;
        match written.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(Written::Done(edition)) => {
                let mut remembered = lock(&entry.now);
                remembered.base.edition = Some(edition);
                remembered.written = Some(checked);
                remembered.on_disk = OnDisk::All;
                Kept::Done(Base { edition: Some(edition), ..base })
            }
            Ok(Written::Moved) => Kept::Moved,
            Ok(written @ (Written::Lost | Written::Noted(_))) => {
                if let Written::Noted(edition) = written {
                    lock(&entry.now).base.edition = Some(edition);
                }
                let repository = entry.repository.as_str();
                tracing::warn!(
                    repository,
                    "files of verified trust data are gone from the state folder; they are asked for again"
                );
                lock(&entry.now).on_disk = OnDisk::Lost;
                Kept::Lost
            }
            Err(why) => {
                tracing::error!(
                    repository = entry.repository.as_str(),
                    why,
                    "verified trust data cannot be kept; protection against rollback ends with this process"
                );
                lock(&entry.now).unsaved();
                Kept::Failed
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
        let ask = async {
            let Ok(url) = session.url("v2/") else { return false };
            let answer = session.client().get(&url, HeaderMap::new(), Bounds { bytes: PROBE_BYTES, time: PROBE_TIME }).await;
            match &answer {
                // Notary answers `{}`; a page of somebody in between is no answer of the server.
                Ok(answer) if answer.status == 200 => answer.body.trim_ascii_start().first().is_some_and(|byte| *byte != b'{'),
                answer => net::is_gone(answer),
            }
        };
        self.probe.is_gone(ask).await
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
            FetchError::Broken(error) => {
                let error = unreachable(error.to_string());
                (error.clone(), Miss::Unsure(error))
            }
            // A try that began late shows nothing by itself: whether the server is gone, the question about none tells.
            FetchError::Slow(error) => {
                let message = error.to_string();
                (unreachable(message.clone()), Miss::Unsure(TrustError::new(TrustCode::Busy, message)))
            }
            FetchError::Full(error) => return Miss::Unsure(error),
            FetchError::NoJson { host } => {
                let message = format!("`{host}` answers with something that is not trust data");
                (unreachable(message.clone()), Miss::Refused(TrustError::new(TrustCode::Invalid, message)))
            }
            FetchError::Net(error) => {
                let message = error.to_string();
                let code = match error {
                    NetError::Unreachable { .. } | NetError::Timeout { .. } | NetError::Tls { .. } => TrustCode::Unreachable,
                    NetError::CaRefused { .. } => TrustCode::CaRefused,
                    NetError::Stalled { .. } | NetError::Cut { .. } | NetError::Busy { .. } | NetError::Ours { .. } => {
                        return Miss::Unsure(TrustError::new(TrustCode::Busy, message));
                    }
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
        let known = self.proven(entry, known, now).map_err(|fault| self::refused(&fault, &entry.repository, true))?;
        let since = known.since;
        if self.outdated(&known, now) {
            let why = if now < since { "later than this host's clock, which went back" } else { "too old to go on with" };
            let message = format!("{error}; what was verified at {since} is {why}");
            return Err(TrustError::new(error.code, message));
        }
        let mut vouch = self.answer(&entry.repository, &known.knowledge, question, Freshness::Stale { since }, now)?;
        // It is used no longer than that, whatever its own dates say.
        let end = SignedDuration::try_from(self.stale_limit).ok().and_then(|limit| since.checked_add(limit).ok());
        vouch.expires = vouch.expires.into_iter().chain(end).min();
        Ok(vouch)
    }

    /// The same, its root found to pass pins and dates now; the next who asks need not find that out again.
    fn proven(&self, entry: &Entry, known: Known, now: Timestamp) -> Result<Known, Fault> {
        if known.knowledge.is_proven(&self.pins, now) {
            return Ok(known);
        }
        let proven = Known { knowledge: Arc::new(known.knowledge.proven(&self.pins, now)?), ..known };
        let mut remembered = lock(&entry.now);
        if let Some(before) = &mut remembered.known
            && Arc::ptr_eq(&before.knowledge, &known.knowledge)
        {
            before.knowledge = Arc::clone(&proven.knowledge);
        }
        Ok(proven)
    }

    /// Whether the last check with the server is longer ago than knowledge may be used without it. A clock behind that check
    /// cannot tell; within one process the steady one can.
    fn outdated(&self, known: &Known, now: Timestamp) -> bool {
        let age = now.duration_since(known.since);
        let limit = SignedDuration::try_from(self.stale_limit).unwrap_or(SignedDuration::MAX);
        match known.checked.filter(|_| self.session.is_some()) {
            Some((at, _)) => age > limit || at.elapsed() > self.stale_limit,
            None => age > limit || age < -CLOCK_STEP,
        }
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
        if freshness != Freshness::Fresh && !knowledge.is_proven(&self.pins, now) {
            knowledge.proven(&self.pins, now).map_err(|fault| refused(&fault, repository, true))?;
        }
        let require = self.require.of(repository);
        let answer = match question {
            Question::Tag(tag) => knowledge.tag(tag, require, now),
            // What is signed is a manifest or an index, and never an image id.
            Question::AnyOf(digests) | Question::Content { digests, .. } => knowledge.any_of(digests, require, now),
        };
        match answer {
            Ok(SignedTag { digest, tags, role, signers, expires }) => Ok(Vouch {
                repository: repository.clone(),
                digest,
                hashed: Hashed::Manifest,
                verifier: self.name.clone(),
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
    let message = format!("what is kept of `{repository}` {why}; if that was not an attack: img-authz trust forget {repository}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_on_disk_is_forgotten_last() {
        let folder = tempfile::tempdir().unwrap();
        let stored = Stored {
            repository: "r.example/a".to_owned(),
            files: std::collections::BTreeMap::new(),
            kept: std::collections::BTreeMap::new(),
            floors: std::collections::BTreeMap::new(),
            seen: Timestamp::UNIX_EPOCH,
            checked: Timestamp::UNIX_EPOCH,
        };
        let notary = Notary::new(Config::new("https://notary.invalid", folder.path())).unwrap();
        let entry = notary.inner.entry(&"r.example/a".parse().unwrap());
        assert!(lock(&entry.now).rank().0);
        let Kept::Done(base) = notary.inner.keep(&entry, stored.clone(), None, Base::default()).await else { panic!("moved") };
        assert!(!lock(&entry.now).rank().0);
        // What is on disk is older than what could not be written.
        std::fs::remove_dir_all(folder.path()).unwrap();
        std::fs::write(folder.path(), "no folder").unwrap();
        assert_eq!(notary.inner.keep(&entry, stored, None, base).await, Kept::Failed);
        assert!(lock(&entry.now).rank().0);
        std::fs::remove_file(folder.path()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stays_away_is_asked_ever_more_seldom_and_soon_again_at_first() {
        let notary = Notary::new(Config::new("https://notary.invalid", "/nowhere")).unwrap();
        let error = TrustError::new(TrustCode::Unreachable, "gone");
        let mut waits = Vec::new();
        for _ in 0..7 {
            notary.inner.gone(&error, Instant::now(), Timestamp::UNIX_EPOCH);
            let wait = lock(&notary.inner.outage).as_ref().unwrap().wait;
            waits.push(wait.as_secs());
            // Many find out at once: that is one step.
            notary.inner.gone(&error, Instant::now() - Duration::from_millis(1), Timestamp::UNIX_EPOCH);
            assert!(notary.inner.out_of_reach().is_some());
            tokio::time::advance(wait).await;
            // One who asks finds out; the others go on without.
            assert!(notary.inner.out_of_reach().is_none() && notary.inner.out_of_reach().is_some());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        notary.inner.reached();
        assert!(notary.inner.out_of_reach().is_none());
        notary.inner.gone(&error, Instant::now(), Timestamp::UNIX_EPOCH);
        assert_eq!(lock(&notary.inner.outage).as_ref().unwrap().wait, OUTAGE_FIRST);
    }
}
