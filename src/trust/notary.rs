//! The Notary v1 verifier: asks a server, verifies, remembers, and answers (docs/notary-v1.md).
//!
//! One [`Notary`] stands for one server on one set of terms. Per repository there is at most one flight to the server at a
//! time; whoever asks meanwhile waits for it. Knowledge is replaced only by knowledge that verified from the root down. A
//! server out of reach is no answer: pulls are refused, what is here may run on the last verified knowledge until it expires.

mod answer;
mod budget;
mod bundle;
mod disk;
mod error;
mod flight;
mod format;
mod memory;
mod outage;
mod refresh;
mod server;
mod signers;
mod state;
mod stats;
mod status;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::time::Instant;

use self::budget::{Budget, Share};
pub use self::bundle::{Exported, RootHistory, Withdrawal};
pub use self::error::{Busy, NotaryError, State, remedy};
use self::memory::Memory;
use self::outage::Reach;
use self::server::Server;
pub use self::signers::{RequiredSigners, SignersError, signer};
use self::state::StateDir;
pub use self::status::RepositoryStatus;
use super::asking::{Lanes, Noes};
use super::tuf::{MetadataLimits, OfferedRoot, Pins, View, offered_root};
use super::{Asking, Binding, Question, Stats, TrustError, Verifier, VerifierName, Vouch, Vouching};
use crate::image::Repository;
use crate::net::auth::{DockerConfig, Session};
use crate::net::{Client, Tls};

/// A negative answer from memory counts this long; a person who just signed should not have to wait for the window to end.
const NO_TIME: Duration = Duration::from_secs(1);
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
    pub limits: MetadataLimits,
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
            limits: MetadataLimits::default(),
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
    limits: MetadataLimits,
    /// Spreads the checks ahead, differently in each process.
    spread: RandomState,
    state: StateDir,
    memory: Memory,
    reach: Reach,
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
        let source = source_of(session.as_deref());
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
            memory: Memory::default(),
            reach: Reach::new(source, config.network_time),
            tally: Mutex::default(),
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
        let entry = self.inner.memory.get(repository)?;
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
    pub async fn vouch(&self, repository: &Repository, question: &Question, asking: Asking) -> Result<Vouch, TrustError> {
        if let Some(answer) = self.ready(repository, question, asking.now) {
            return answer;
        }
        if let Some(error) = lock(&self.inner.noes).of(repository) {
            return Err(error);
        }
        let entry = self.inner.memory.entry(repository);
        let answer = self.inner.ask(&entry, question, asking).await;
        if answer.is_err() {
            self.inner.memory.tidy(&entry);
        }
        answer
    }

    /// What is known of a repository, from memory or disk; asks nobody.
    pub async fn inspect(&self, repository: &Repository, now: Timestamp) -> Option<Inspection> {
        let entry = self.inner.memory.entry(repository);
        // What cannot be read is not known.
        let _ = self.inner.loaded(&entry, &self.inner.share(true, self.inner.network_time)).await;
        let (known, refused) = entry.remembered();
        self.inner.memory.tidy(&entry);
        let known = known?;
        let view = View { checked: known.since, ..known.knowledge.view(self.inner.require.of(repository), now) };
        Some(Inspection {
            server: self.inner.source(),
            pin: self.inner.pins.describe(repository.as_str()),
            refused: refused.map(|bad| bad.error.to_string()),
            view,
        })
    }

    /// Forgets a repository, on a person's word: its root, the versions seen, and a withdrawal. The next answer of the server
    /// counts as the first. Whether there was anything to forget.
    pub fn forget(&self, repository: &Repository) -> Result<bool, TrustError> {
        let failed = |why| NotaryError::State(State::Unforgotten(why));
        let was_kept = self.inner.state.forget(repository.as_str()).map_err(failed)?;
        self.inner.memory.forget(repository);
        lock(&self.inner.noes).forget(repository);
        Ok(was_kept)
    }

    /// The root of trust as last verified: version, and the ids of its keys. For `trust pin`.
    pub async fn root(&self, repository: &Repository) -> Option<(u64, Vec<String>)> {
        let entry = self.inner.memory.entry(repository);
        // What cannot be read is not known.
        let _ = self.inner.loaded(&entry, &self.inner.share(true, self.inner.network_time)).await;
        let known = lock(&entry.now).known.clone();
        self.inner.memory.tidy(&entry);
        known.map(|known| (known.knowledge.root_version(), known.knowledge.root_keys()))
    }

    /// The root that the server offers, which nothing vouches for: for a person to compare with the publisher's, where no pin lets
    /// it pass. `None` where there is no server, or it has none that can be read.
    pub async fn offered(&self, repository: &Repository) -> Option<OfferedRoot> {
        let begun = Instant::now();
        let share = self.inner.share(false, self.inner.network_time);
        let session = self.inner.session.as_ref()?;
        let server = self.inner.server(session, repository, share, begun, begun + self.inner.network_time);
        offered_root(&server, self.inner.limits).await.ok().flatten()
    }
}

/// The way to a server.
fn session(server: &str, tls: &Tls) -> Result<Session, TrustError> {
    let client = Client::new(tls).map_err(NotaryError::Setup)?;
    let session = Session::new(client, server).map_err(NotaryError::Setup)?;
    if session.base().scheme() != "https" {
        return Err(NotaryError::NotHttps { server: crate::net::without_user(server) }.into());
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

    fn vouch<'a>(&'a self, repository: &'a Repository, question: &'a Question, asking: Asking) -> Vouching<'a> {
        Box::pin(Self::vouch(self, repository, question, asking))
    }

    fn stats(&self, now: Timestamp) -> Option<Stats> {
        Some(self.inner.stats(now))
    }

    fn out_since(&self) -> Option<Timestamp> {
        self.inner.reach.out_since()
    }
}

impl Inner {
    /// The source, for people.
    fn source(&self) -> String {
        source_of(self.session.as_deref())
    }

    /// One repository's files on the server, for one check.
    fn server(
        &self,
        session: &Arc<Session>,
        repository: &Repository,
        share: Arc<Share>,
        begun: Instant,
        deadline: Instant,
    ) -> Server {
        Server {
            session: Arc::clone(session),
            credentials: Arc::clone(&self.credentials),
            repository: repository.clone(),
            state: self.state.clone(),
            kept: Arc::default(),
            share,
            answered: Arc::default(),
            begun,
            deadline,
        }
    }
}

fn source_of(session: Option<&Session>) -> String {
    session.map_or_else(|| "import".to_owned(), |session| session.base().to_string())
}

/// A lock whose holder panicked is still a lock: what it guards is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
