//! The verifier of scopes that have no other: the registry itself holds the manifest (DESIGN, section 6).
//!
//! This is weak evidence: it says where content is published, not who made it. It is still evidence of *content*: a
//! manifest counts only if its bytes came from that repository and have the digest in question.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Answer, Freshness, Hashed, Question, TrustCode, TrustError, Urgency, Verifier, VerifierKind, Vouch};
use crate::image::{Digest, Host, Repository, Tag};
use crate::net::NetError;
use crate::registry::{Api, RegistryError, Wanted};

/// Most digests of one image that are asked about. An image has an id and one digest per repository it was pulled from.
const DIGESTS: usize = 8;

/// What asking registries may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most of a decision's time that the network gets.
    pub network: Duration,
    /// How long a registry that was out of reach is taken to be so. Stops a hundred containers after a reboot from
    /// waiting in line; short, because nothing else vouches in these scopes.
    pub outage: Duration,
    /// Most answers remembered in one of two generations; at some 150 bytes each, 4096 make 1 MB in all.
    pub remembered: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { network: Duration::from_secs(3), outage: Duration::from_secs(5), remembered: 4096 }
    }
}

/// Vouches for what registries hold. Answers by digest are remembered: a digest in a repository does not change.
pub struct RegistryVerifier {
    registry: Arc<dyn Api>,
    limits: Limits,
    state: Mutex<State>,
}

/// A question on its way. When the last that asks it is done, or gave up, it leaves the map.
struct Flight<'a> {
    verifier: &'a RegistryVerifier,
    held: Held,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut state = self.verifier.state();
        // The map has one, this has one: nobody else waits.
        if Arc::strong_count(&self.turn) <= 2 {
            state.flights.remove(&self.held);
        }
    }
}

/// A digest in a repository.
type Held = (Repository, Digest);

#[derive(Default)]
struct State {
    young: HashSet<Held>,
    old: HashSet<Held>,
    /// Registries out of reach, until when, and what was the matter.
    outages: HashMap<Host, (Instant, TrustError)>,
    /// Questions on their way: whoever asks the same waits for the one answer.
    flights: HashMap<Held, Arc<tokio::sync::Mutex<()>>>,
}

impl fmt::Debug for RegistryVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("RegistryVerifier").field("remembered", &(state.young.len() + state.old.len())).finish_non_exhaustive()
    }
}

impl RegistryVerifier {
    /// A verifier that asks `registry`.
    #[must_use]
    pub fn new(registry: Arc<dyn Api>) -> Self {
        Self::with_limits(registry, Limits::default())
    }

    /// As [`RegistryVerifier::new`], within other bounds.
    #[must_use]
    pub fn with_limits(registry: Arc<dyn Api>, limits: Limits) -> Self {
        Self { registry, limits, state: Mutex::default() }
    }

    /// Whether the repository's registry holds it. A tag is always asked for; a digest once.
    pub async fn vouch(&self, repository: &Repository, question: &Question, deadline: Instant) -> Result<Vouch, TrustError> {
        let deadline = deadline.min(Instant::now() + self.limits.network);
        match question {
            Question::Tag(tag) => {
                let digest = self.fetch(repository, &Wanted::Tag(tag.clone()), deadline).await?;
                self.state().remember((repository.clone(), digest), self.limits.remembered);
                Ok(vouch(repository, digest, vec![tag.clone()]))
            }
            Question::AnyOf(digests) | Question::Content { digests, .. } => {
                if let Some(vouch) = self.remembered(repository, question) {
                    return Ok(vouch);
                }
                let mut worst: Option<TrustError> = None;
                for digest in digests.iter().take(DIGESTS) {
                    match self.holds(repository, *digest, deadline).await {
                        Ok(()) => return Ok(vouch(repository, *digest, Vec::new())),
                        Err(error) if error.code == TrustCode::Unreachable => return Err(error),
                        // That the registry does not hold one digest says less than what went wrong with another.
                        Err(error) if worst.as_ref().is_none_or(|worst| worst.code == TrustCode::NotInRegistry) => {
                            worst = Some(error);
                        }
                        Err(_) => {}
                    }
                }
                Err(worst.unwrap_or_else(|| {
                    let message = format!("content without a digest cannot be looked for in `{repository}`");
                    TrustError::new(TrustCode::NotInRegistry, message)
                }))
            }
        }
    }

    /// Whether it is remembered that the registry held this digest in this repository.
    #[must_use]
    pub fn remembers(&self, repository: &Repository, digest: &Digest) -> bool {
        self.state().knows(&(repository.clone(), *digest))
    }

    /// The vouch for the first of the digests that is remembered.
    fn remembered(&self, repository: &Repository, question: &Question) -> Option<Vouch> {
        match question {
            Question::Tag(_) => None,
            Question::AnyOf(digests) | Question::Content { digests, .. } => {
                let digest = digests.iter().find(|digest| self.remembers(repository, digest))?;
                Some(vouch(repository, *digest, Vec::new()))
            }
        }
    }

    async fn holds(&self, repository: &Repository, digest: Digest, deadline: Instant) -> Result<(), TrustError> {
        let held = (repository.clone(), digest);
        let turn = Arc::clone(self.state().flights.entry(held.clone()).or_default());
        let flight = Flight { verifier: self, held, turn };
        let Ok(_turn) = tokio::time::timeout_at(deadline, flight.turn.lock()).await else { return Err(slow(repository)) };
        if self.state().knows(&flight.held) {
            return Ok(());
        }
        let sent = self.fetch(repository, &Wanted::Digest(digest), deadline).await?;
        if sent != digest {
            // The client holds the bytes to the digest already.
            let message = format!("registry sent `{sent}` when asked for `{repository}@{digest}`");
            return Err(TrustError::new(TrustCode::Invalid, message));
        }
        self.state().remember(flight.held.clone(), self.limits.remembered);
        Ok(())
    }

    async fn fetch(&self, repository: &Repository, wanted: &Wanted, deadline: Instant) -> Result<Digest, TrustError> {
        let host = repository.host();
        if let Some((until, error)) = self.state().outages.get(&host)
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let answer = match tokio::time::timeout_at(deadline, self.registry.manifest(repository, wanted, deadline)).await {
            Ok(Ok(manifest)) => Ok(*manifest.digest()),
            Ok(Err(error)) => Err(refusal(&error)),
            Err(_elapsed) => Err(slow(repository)),
        };
        let mut state = self.state();
        match &answer {
            Err(error) if error.code == TrustCode::Unreachable => {
                state.outages.insert(host, (Instant::now() + self.limits.outage, error.clone()));
            }
            Ok(_) | Err(_) => {
                state.outages.remove(&host);
            }
        }
        answer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verifier for RegistryVerifier {
    fn kind(&self) -> VerifierKind {
        VerifierKind::Registry
    }

    fn ready(&self, repository: &Repository, question: &Question, _: Timestamp) -> Option<Result<Vouch, TrustError>> {
        self.remembered(repository, question).map(Ok)
    }

    /// The urgency is of no account: what the registry held, it is taken to hold.
    fn vouch<'a>(
        &'a self,
        repository: &'a Repository,
        question: &'a Question,
        _: Urgency,
        _: Timestamp,
        deadline: Instant,
    ) -> Answer<'a> {
        Box::pin(Self::vouch(self, repository, question, deadline))
    }
}

impl State {
    fn knows(&self, held: &Held) -> bool {
        self.young.contains(held) || self.old.contains(held)
    }

    /// When the young generation is full it becomes the old one, and the old one is forgotten.
    fn remember(&mut self, held: Held, most: usize) {
        if self.young.len() >= most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(held);
    }
}

fn vouch(repository: &Repository, digest: Digest, tags: Vec<Tag>) -> Vouch {
    Vouch {
        repository: repository.clone(),
        digest,
        hashed: Hashed::Manifest,
        verifier: VerifierKind::Registry,
        tags,
        role: String::new(),
        signers: Vec::new(),
        expires: None,
        freshness: Freshness::Fresh,
    }
}

fn slow(repository: &Repository) -> TrustError {
    TrustError::new(TrustCode::Unreachable, format!("registry `{}` did not answer in time", repository.host_str()))
}

fn refusal(error: &RegistryError) -> TrustError {
    let code = match error {
        RegistryError::NotFound { .. } => TrustCode::NotInRegistry,
        RegistryError::Denied { .. } | RegistryError::Net(NetError::Unauthorized { .. }) => TrustCode::Unauthorized,
        // 429 and 5xx are the registry's trouble, not its word on the manifest.
        RegistryError::Status { status: 429 | 500.., .. }
        | RegistryError::Net(NetError::Unreachable { .. } | NetError::Timeout { .. } | NetError::Stalled { .. }) => {
            TrustCode::Unreachable
        }
        RegistryError::Net(NetError::CaRefused { .. } | NetError::Tls { .. }) => TrustCode::CaRefused,
        RegistryError::Status { .. }
        | RegistryError::WrongDigest { .. }
        | RegistryError::Undecodable { .. }
        | RegistryError::Net(NetError::TooLarge { .. } | NetError::Bad(_)) => TrustCode::Invalid,
        RegistryError::Misconfigured { .. } => TrustCode::Misconfigured,
    };
    TrustError::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Twin;

    fn repository(text: &str) -> Repository {
        text.parse().unwrap()
    }

    fn manifest(name: &str) -> String {
        let digest = Digest::of(name.as_bytes());
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":
                "application/vnd.oci.image.config.v1+json","digest":"{digest}","size":6}},"layers":[]}}"#
        )
    }

    struct Rig {
        twin: Arc<Twin>,
        verifier: RegistryVerifier,
        app: Repository,
        good: Digest,
    }

    fn rig() -> Rig {
        let twin = Arc::new(Twin::new());
        let app = repository("r.example/app");
        let good = twin.push(&app, Some(&Tag::latest()), manifest("good").as_bytes()).unwrap();
        let limits = Limits { outage: Duration::from_millis(50), ..Limits::default() };
        Rig { verifier: RegistryVerifier::with_limits(Arc::clone(&twin) as Arc<dyn Api>, limits), twin, app, good }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    fn unreachable() -> RegistryError {
        RegistryError::Net(NetError::Unreachable { host: "r.example:443".into(), cause: "refused".into() })
    }

    impl Rig {
        async fn ask(&self, name: &str, digests: &[Digest]) -> Result<Digest, TrustCode> {
            let question = Question::AnyOf(digests.to_vec());
            let answer = self.verifier.vouch(&repository(name), &question, soon()).await;
            answer.map(|vouch| *vouch.digest()).map_err(|error| error.code)
        }
    }

    #[tokio::test]
    async fn what_the_registry_holds_is_vouched_for_and_asked_for_once() {
        let rig = rig();
        let id = Digest::of(b"image id");
        assert_eq!(rig.ask("r.example/app", &[id, rig.good]).await, Ok(rig.good));
        assert_eq!(rig.twin.calls().len(), 2);
        rig.twin.fail_with(Some(unreachable()));
        assert_eq!(rig.ask("r.example/app", &[id, rig.good]).await, Ok(rig.good));
        assert_eq!(rig.twin.calls().len(), 2);
        let ready = |digest| rig.verifier.ready(&rig.app, &Question::AnyOf(vec![digest]), Timestamp::UNIX_EPOCH);
        assert_eq!(ready(rig.good).map(|answer| answer.map(|vouch| *vouch.digest())), Some(Ok(rig.good)));
        assert_eq!(ready(id), None);
    }

    #[tokio::test]
    async fn what_it_does_not_hold_in_that_repository_is_not() {
        let rig = rig();
        assert_eq!(rig.ask("r.example/app", &[rig.good]).await, Ok(rig.good));
        assert_eq!(rig.ask("r.example/other", &[rig.good]).await, Err(TrustCode::NotInRegistry));
        assert_eq!(rig.ask("s.example/app", &[rig.good]).await, Err(TrustCode::NotInRegistry));
        assert_eq!(rig.ask("r.example/app", &[Digest::of(b"evil")]).await, Err(TrustCode::NotInRegistry));
        assert_eq!(rig.ask("r.example/app", &[]).await, Err(TrustCode::NotInRegistry));
    }

    #[tokio::test]
    async fn a_refusal_is_not_remembered() {
        let rig = rig();
        let late = Digest::of(manifest("late").as_bytes());
        assert_eq!(rig.ask("r.example/app", &[late]).await, Err(TrustCode::NotInRegistry));
        rig.twin.push(&rig.app, None, manifest("late").as_bytes()).unwrap();
        assert_eq!(rig.ask("r.example/app", &[late]).await, Ok(late));
    }

    #[tokio::test]
    async fn a_tag_is_asked_for_every_time() {
        let rig = rig();
        let latest = Question::Tag(Tag::latest());
        let vouch = rig.verifier.vouch(&rig.app, &latest, soon()).await.unwrap();
        assert_eq!((vouch.digest(), vouch.tags(), vouch.verifier()), (&rig.good, &[Tag::latest()][..], VerifierKind::Registry));
        let next = rig.twin.push(&rig.app, Some(&Tag::latest()), manifest("next").as_bytes()).unwrap();
        assert_eq!(rig.verifier.vouch(&rig.app, &latest, soon()).await.unwrap().digest(), &next);
        let other = Question::Tag("other".parse().unwrap());
        let refused = rig.verifier.vouch(&rig.app, &other, soon()).await.unwrap_err();
        assert_eq!(refused.code, TrustCode::NotInRegistry);
    }

    #[tokio::test]
    async fn an_outage_is_remembered_for_seconds_and_for_that_registry() {
        let rig = rig();
        rig.twin.fail_with(Some(unreachable()));
        assert_eq!(rig.ask("r.example/app", &[rig.good]).await, Err(TrustCode::Unreachable));
        rig.twin.fail_with(None);
        assert_eq!(rig.ask("r.example/app", &[rig.good]).await, Err(TrustCode::Unreachable));
        assert_eq!(rig.twin.calls().len(), 1);
        assert_eq!(rig.ask("s.example/app", &[rig.good]).await, Err(TrustCode::NotInRegistry));
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(rig.ask("r.example/app", &[rig.good]).await, Ok(rig.good));
    }

    #[tokio::test]
    async fn many_questions_at_once_are_one_question_to_the_registry() {
        let rig = rig();
        let digests = [rig.good];
        let answers = (0..64).map(|_| rig.ask("r.example/app", &digests));
        for answer in futures(answers).await {
            assert_eq!(answer, Ok(rig.good));
        }
        assert_eq!(rig.twin.calls().len(), 1);
        assert!(rig.verifier.state().flights.is_empty());
    }

    /// Drives all at once, in this task.
    async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
        let mut waiting: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
        std::future::poll_fn(|context| {
            for (one, answer) in &mut waiting {
                if answer.is_none()
                    && let std::task::Poll::Ready(value) = one.as_mut().poll(context)
                {
                    *answer = Some(value);
                }
            }
            if waiting.iter().all(|(_, answer)| answer.is_some()) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        waiting.into_iter().filter_map(|(_, answer)| answer).collect()
    }

    /// A registry that never answers.
    struct Silent;

    impl Api for Silent {
        fn manifest<'a>(
            &'a self,
            _: &'a Repository,
            _: &'a Wanted,
            _: Instant,
        ) -> crate::registry::Reply<'a, crate::registry::Manifest> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn a_registry_that_is_silent_does_not_take_the_whole_deadline() {
        let limits = Limits { network: Duration::from_millis(50), outage: Duration::ZERO, ..Limits::default() };
        let verifier = RegistryVerifier::with_limits(Arc::new(Silent), limits);
        let start = Instant::now();
        let digest = Question::AnyOf(vec![Digest::of(b"x")]);
        for question in [digest.clone(), Question::Tag(Tag::latest())] {
            let refused = verifier.vouch(&repository("r.example/app"), &question, soon()).await.unwrap_err();
            assert_eq!(refused.code, TrustCode::Unreachable);
        }
        assert!(start.elapsed() < Duration::from_secs(5), "the deadline is a minute away");
        // One that is given up leaves nothing behind either.
        let app = repository("r.example/app");
        let given_up = tokio::time::timeout(Duration::from_millis(5), verifier.vouch(&app, &digest, soon())).await;
        assert!(given_up.is_err() && verifier.state().flights.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_young() {
        let mut state = State::default();
        let held = |number: usize| (repository("r.example/app"), Digest::of(&number.to_be_bytes()));
        for number in 0..300 {
            state.remember(held(number), 100);
        }
        assert!(state.young.len() + state.old.len() <= 200);
        assert!(state.knows(&held(299)) && state.knows(&held(200)) && !state.knows(&held(0)));
    }

    #[test]
    fn every_error_of_a_registry_has_its_code() {
        let (host, what) = ("r.example".to_owned(), "r.example/app:1".to_owned());
        let status = |status| RegistryError::Status { host: host.clone(), what: what.clone(), status };
        for (error, code) in [
            (RegistryError::NotFound { host: host.clone(), what: what.clone() }, TrustCode::NotInRegistry),
            (RegistryError::Denied { host: host.clone(), what: what.clone() }, TrustCode::Unauthorized),
            (status(429), TrustCode::Unreachable),
            (status(503), TrustCode::Unreachable),
            (status(301), TrustCode::Invalid),
            (status(206), TrustCode::Invalid),
            (RegistryError::Net(NetError::Unauthorized { host: host.clone(), why: String::new() }), TrustCode::Unauthorized),
            (RegistryError::Net(NetError::CaRefused { host: host.clone(), cause: String::new() }), TrustCode::CaRefused),
            (RegistryError::Net(NetError::TooLarge { host: host.clone(), limit: 1 }), TrustCode::Invalid),
            (RegistryError::Misconfigured { host: host.clone(), cause: String::new() }, TrustCode::Misconfigured),
        ] {
            assert_eq!(refusal(&error).code, code, "{error}");
        }
    }
}
