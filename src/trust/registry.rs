//! The verifier of scopes that have no other: the registry itself holds the manifest (docs/adr/0006-registry-only-scopes.md).
//!
//! This is weak evidence: it says where content is published, not who made it. It is still evidence of *content*: a
//! manifest counts only if its bytes came from that repository and have the digest in question.

mod asked;
mod error;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{OnceCell, SemaphorePermit};

pub use self::asked::EvidenceLimits;
pub(super) use self::asked::{Errand, Registries};
pub use self::error::{NotVouched, remedy};
use super::asking::{Flights, Generations, Noes};
use super::{Asking, Binding, Freshness, Hashed, Question, TrustCode, TrustError, Verifier, VerifierName, Vouch, Vouching};
use crate::image::{Digest, Repository, Tag};
use crate::registry::{Api, Wanted};

/// Most digests of one image that are asked about. An image has an id and one digest per repository it was pulled from.
const DIGESTS: usize = 8;

/// Vouches for what registries hold. Answers by digest are remembered: a digest in a repository does not change.
pub struct RegistryVerifier {
    name: VerifierName,
    registries: Registries,
    /// Most answers of one generation.
    remembered: usize,
    state: Mutex<State>,
    flights: Flights<Held>,
}

/// A digest in a repository.
type Held = (Repository, Digest);

#[derive(Default)]
struct State {
    held: Generations<Held, ()>,
    /// What registries do not hold, for some seconds.
    noes: Noes<(Repository, Wanted)>,
}

impl fmt::Debug for RegistryVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("RegistryVerifier").field("remembered", &state.held.keys().count()).finish_non_exhaustive()
    }
}

impl RegistryVerifier {
    /// A verifier that asks `registry`.
    #[must_use]
    pub fn new(registry: Arc<dyn Api>) -> Self {
        Self::with_limits(registry, EvidenceLimits::default())
    }

    /// As [`RegistryVerifier::new`], within other bounds.
    #[must_use]
    pub fn with_limits(registry: Arc<dyn Api>, limits: EvidenceLimits) -> Self {
        let (remembered, registries) = (limits.remembered, Registries::new(registry, limits));
        Self { name: VerifierName::REGISTRY, registries, remembered, state: Mutex::default(), flights: Flights::default() }
    }

    /// The same, as a verifier of this name.
    #[must_use]
    pub fn named(self, name: VerifierName) -> Self {
        Self { name, ..self }
    }

    /// Whether the repository's registry holds it. A tag is always asked for; a digest once.
    pub async fn vouch(&self, repository: &Repository, question: &Question, asking: Asking) -> Result<Vouch, TrustError> {
        let probed = OnceCell::new();
        let errand = self.registries.errand(repository, asking, &probed);
        match question {
            Question::Tag(tag) => {
                let wanted = Wanted::Tag(tag.clone());
                self.known_no(repository, &wanted)?;
                let _place = self.place(errand).await?;
                let digest = self.fetch(errand, &wanted).await?;
                self.state().held.remember((repository.clone(), digest), (), self.remembered);
                Ok(vouch(repository, digest, vec![tag.clone()]))
            }
            Question::AnyOf(digests) | Question::Content { digests, .. } => {
                if let Some(vouch) = self.remembered(repository, question) {
                    return Ok(vouch);
                }
                let mut worst: Option<TrustError> = None;
                for digest in digests.iter().take(DIGESTS) {
                    match self.holds(errand, *digest).await {
                        Ok(()) => return Ok(vouch(repository, *digest, Vec::new())),
                        Err(error) if error.code == TrustCode::Unreachable => return Err(error),
                        // That the registry does not hold one digest says less than what went wrong with another.
                        Err(error) if worst.as_ref().is_none_or(|worst| worst.code == TrustCode::NotInRegistry) => {
                            worst = Some(error);
                        }
                        Err(_) => {}
                    }
                }
                Err(worst.unwrap_or_else(|| NotVouched::NoDigest { repository: repository.clone() }.into()))
            }
        }
    }

    /// Whether it is remembered that the registry held this digest in this repository.
    #[must_use]
    pub fn remembers(&self, repository: &Repository, digest: &Digest) -> bool {
        self.state().held.of(&(repository.clone(), *digest)).is_some()
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

    async fn holds(&self, errand: Errand<'_>, digest: Digest) -> Result<(), TrustError> {
        let repository = errand.repository;
        let wanted = Wanted::Digest(digest);
        self.known_no(repository, &wanted)?;
        // Before the turn: a start does not wait for a pull of the same that waits for its place.
        let _place = self.place(errand).await?;
        let held = (repository.clone(), digest);
        let flight = self.flights.of(held.clone());
        let Some(_turn) = flight.turn(errand.network).await else {
            return Err(NotVouched::Late { host: repository.host_str().to_owned() }.into());
        };
        if self.state().held.of(&held).is_some() {
            return Ok(());
        }
        self.known_no(repository, &wanted)?;
        let sent = self.fetch(errand, &wanted).await?;
        if sent != digest {
            // The client holds the bytes to the digest already.
            return Err(NotVouched::Other { repository: repository.clone(), due: digest, sent }.into());
        }
        self.state().held.remember(held, (), self.remembered);
        Ok(())
    }

    /// The outage or the no that is remembered.
    fn known_no(&self, repository: &Repository, wanted: &Wanted) -> Result<(), TrustError> {
        self.registries.known_outage(repository)?;
        self.state().noes.of(&(repository.clone(), wanted.clone())).map_or(Ok(()), Err)
    }

    /// Leave to ask.
    async fn place(&self, errand: Errand<'_>) -> Result<SemaphorePermit<'_>, TrustError> {
        // Whether it ever held anything that is remembered of this repository.
        let is_known = self.state().held.keys().any(|(owner, _)| owner == errand.repository);
        Ok(self.registries.place(errand, is_known).await?)
    }

    async fn fetch(&self, errand: Errand<'_>, wanted: &Wanted) -> Result<Digest, TrustError> {
        let asked = self.registries.api().manifest(errand.repository, wanted, errand.network);
        let error = match self.registries.ask(errand, asked).await {
            Ok(manifest) => return Ok(*manifest.digest()),
            Err(error) => TrustError::from(error),
        };
        if error.code == TrustCode::NotInRegistry {
            self.state().noes.remember((errand.repository.clone(), wanted.clone()), error.clone());
        }
        Err(error)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verifier for RegistryVerifier {
    fn name(&self) -> &VerifierName {
        &self.name
    }

    fn binding(&self) -> Binding {
        Binding::Held
    }

    fn ready(&self, repository: &Repository, question: &Question, _: Timestamp) -> Option<Result<Vouch, TrustError>> {
        self.remembered(repository, question).map(|vouch| Ok(vouch.by(&self.name)))
    }

    /// The purpose says but where it queues: what the registry held, it is taken to hold.
    fn vouch<'a>(&'a self, repository: &'a Repository, question: &'a Question, asking: Asking) -> Vouching<'a> {
        Box::pin(async move { Self::vouch(self, repository, question, asking).await.map(|vouch| vouch.by(&self.name)) })
    }
}

fn vouch(repository: &Repository, digest: Digest, tags: Vec<Tag>) -> Vouch {
    Vouch {
        repository: repository.clone(),
        digest,
        hashed: Hashed::Manifest,
        verifier: VerifierName::REGISTRY,
        tags,
        role: String::new(),
        signers: Vec::new(),
        expires: None,
        signed_at: None,
        freshness: Freshness::Fresh,
        scheme: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::super::Purpose;
    use super::*;
    use crate::image::Host;
    use crate::net::NetError;
    use crate::registry::{Fake, RegistryError};

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
        fake: Arc<Fake>,
        verifier: RegistryVerifier,
        app: Repository,
        good: Digest,
    }

    fn rig() -> Rig {
        let fake = Arc::new(Fake::new());
        let app = repository("r.example/app");
        let good = fake.push(&app, Some(&Tag::latest()), manifest("good").as_bytes()).unwrap();
        let limits = EvidenceLimits { outage: Duration::from_millis(50), ..EvidenceLimits::default() };
        Rig { verifier: RegistryVerifier::with_limits(Arc::clone(&fake) as Arc<dyn Api>, limits), fake, app, good }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    fn by(purpose: Purpose, deadline: Instant) -> Asking {
        Asking { purpose, now: Timestamp::UNIX_EPOCH, deadline }
    }

    fn unreachable() -> RegistryError {
        RegistryError::Net(NetError::Unreachable { host: "r.example:443".into(), cause: "refused".into() })
    }

    impl Rig {
        async fn ask(&self, name: &str, digests: &[Digest]) -> Result<Digest, TrustCode> {
            let question = Question::AnyOf(digests.to_vec());
            let answer = self.verifier.vouch(&repository(name), &question, by(Purpose::Run, soon())).await;
            answer.map(|vouch| *vouch.digest()).map_err(|error| error.code)
        }
    }

    #[tokio::test]
    async fn what_the_registry_holds_is_vouched_for_and_asked_for_once() {
        let rig = rig();
        let id = Digest::of(b"image id");
        assert_eq!(rig.ask("r.example/app", &[id, rig.good]).await, Ok(rig.good));
        assert_eq!(rig.fake.calls().len(), 2);
        rig.fake.fail_with(Some(unreachable()));
        assert_eq!(rig.ask("r.example/app", &[id, rig.good]).await, Ok(rig.good));
        assert_eq!(rig.fake.calls().len(), 2);
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

    #[tokio::test(start_paused = true)]
    async fn a_no_is_remembered_for_some_seconds_and_other_refusals_are_not() {
        let rig = rig();
        let late = Digest::of(manifest("late").as_bytes());
        assert_eq!(rig.ask("r.example/app", &[late]).await, Err(TrustCode::NotInRegistry));
        rig.fake.push(&rig.app, None, manifest("late").as_bytes()).unwrap();
        assert_eq!(rig.ask("r.example/app", &[late]).await, Err(TrustCode::NotInRegistry));
        assert_eq!(rig.fake.calls().len(), 1);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(rig.ask("r.example/app", &[late]).await, Ok(late));
        let other = repository("r.example/other");
        rig.fake.fail_one(&other, RegistryError::Denied { host: "r.example".into(), what: "other".into() });
        for calls in 3..5 {
            assert_eq!(rig.ask("r.example/other", &[late]).await, Err(TrustCode::Unauthorized));
            assert_eq!(rig.fake.calls().len(), calls);
        }
    }

    #[tokio::test]
    async fn one_repository_without_an_answer_refuses_no_other() {
        let rig = rig();
        let (bad, what, host) = (repository("r.example/bad"), "bad".to_owned(), "r.example".to_owned());
        for (error, code, asked) in [
            (unreachable(), TrustCode::Unreachable, 1),
            (RegistryError::Status { host: host.clone(), what: what.clone(), status: 503 }, TrustCode::Unreachable, 1),
            (
                RegistryError::Net(NetError::Timeout { host: host.clone(), after: Duration::from_secs(3) }),
                TrustCode::Unreachable,
                1,
            ),
            (RegistryError::Net(NetError::Stalled { host: host.clone(), after: Duration::from_secs(3) }), TrustCode::Busy, 1),
            (RegistryError::Busy { host: host.clone(), what: what.clone(), status: 429 }, TrustCode::Busy, 0),
            (RegistryError::Full { what: what.clone() }, TrustCode::Busy, 0),
            (RegistryError::Net(NetError::Ours { host: host.clone(), cause: "files".into() }), TrustCode::Busy, 0),
        ] {
            let before = rig.fake.greeted();
            rig.fake.fail_one(&bad, error.clone());
            assert_eq!(rig.ask("r.example/bad", &[rig.good]).await, Err(code), "{error}");
            assert_eq!(rig.fake.greeted() - before, asked, "{error}");
            let tag = rig.verifier.vouch(&rig.app, &Question::Tag(Tag::latest()), by(Purpose::Pull, soon())).await;
            assert!(tag.is_ok(), "{error}");
        }
        // The fake: the registry itself is gone, and a busy one is not.
        rig.fake.fail_with(Some(RegistryError::Busy { host: host.clone(), what, status: 503 }));
        assert_eq!(rig.ask("r.example/next", &[rig.good]).await, Err(TrustCode::Busy));
        rig.fake.fail_with(Some(unreachable()));
        assert_eq!(rig.ask("r.example/next", &[rig.good]).await, Err(TrustCode::Unreachable));
        let calls = rig.fake.calls().len();
        assert_eq!(rig.ask("r.example/other", &[rig.good]).await, Err(TrustCode::Unreachable));
        assert_eq!(rig.fake.calls().len(), calls);
    }

    /// Hangs for repositories that are made up.
    struct Hangs(Arc<Fake>);

    impl Api for Hangs {
        fn manifest<'a>(
            &'a self,
            repository: &'a Repository,
            wanted: &'a Wanted,
            deadline: Instant,
        ) -> crate::registry::Reply<'a, crate::registry::Manifest> {
            if repository.as_str().contains("made") {
                Box::pin(std::future::pending())
            } else {
                self.0.manifest(repository, wanted, deadline)
            }
        }

        fn referrers<'a>(
            &'a self,
            _: &'a Repository,
            _: Digest,
            _: Instant,
        ) -> crate::registry::Reply<'a, Option<crate::registry::Listing>> {
            Box::pin(std::future::pending())
        }

        fn blob<'a>(&'a self, _: &'a Repository, _: Digest, _: u64, _: Instant) -> crate::registry::Reply<'a, Vec<u8>> {
            Box::pin(std::future::pending())
        }

        fn is_gone<'a>(&'a self, _: &'a Host, _: Instant) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
            Box::pin(std::future::ready(false))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_does_not_wait_for_a_pull_of_the_same_that_waits_for_its_place() {
        let rig = rig();
        let verifier = Arc::new(RegistryVerifier::new(Arc::new(Hangs(Arc::clone(&rig.fake)))));
        let ask = |name: String, digest, purpose| {
            let verifier = Arc::clone(&verifier);
            async move { verifier.vouch(&repository(&name), &Question::AnyOf(vec![digest]), by(purpose, soon())).await }
        };
        for index in 0..crate::trust::asking::FLIGHTS {
            tokio::spawn(ask(format!("r.example/made{index}"), rig.good, Purpose::Pull));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        tokio::spawn(ask("r.example/app".to_owned(), rig.good, Purpose::Pull));
        tokio::time::sleep(Duration::from_millis(10)).await;
        let before = Instant::now();
        ask("r.example/app".to_owned(), rig.good, Purpose::Run).await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_names_do_not_take_the_places_of_what_is_known() {
        let rig = rig();
        let verifier = Arc::new(RegistryVerifier::new(Arc::new(Hangs(Arc::clone(&rig.fake)))));
        let latest = Question::Tag(Tag::latest());
        verifier.vouch(&rig.app, &latest, by(Purpose::Pull, soon())).await.unwrap();
        for index in 0..200 {
            let (verifier, latest) = (Arc::clone(&verifier), latest.clone());
            let purpose = if index % 2 == 0 { Purpose::Run } else { Purpose::Pull };
            tokio::spawn(async move {
                verifier.vouch(&repository(&format!("r.example/made{index}")), &latest, by(purpose, soon())).await
            });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let refused = verifier
            .vouch(&repository("r.example/new"), &latest, by(Purpose::Run, Instant::now() + Duration::from_secs(1)))
            .await;
        assert_eq!(refused.unwrap_err().code, TrustCode::Busy);
        for purpose in [Purpose::Pull, Purpose::Run] {
            let before = Instant::now();
            verifier.vouch(&rig.app, &latest, by(purpose, soon())).await.unwrap();
            assert_eq!(before.elapsed(), Duration::ZERO);
        }
    }

    #[tokio::test]
    async fn a_tag_is_asked_for_every_time() {
        let rig = rig();
        let latest = Question::Tag(Tag::latest());
        let vouch = rig.verifier.vouch(&rig.app, &latest, by(Purpose::Pull, soon())).await.unwrap();
        assert_eq!((vouch.digest(), vouch.tags(), vouch.verifier()), (&rig.good, &[Tag::latest()][..], &VerifierName::REGISTRY));
        let next = rig.fake.push(&rig.app, Some(&Tag::latest()), manifest("next").as_bytes()).unwrap();
        assert_eq!(rig.verifier.vouch(&rig.app, &latest, by(Purpose::Pull, soon())).await.unwrap().digest(), &next);
        let other = Question::Tag("other".parse().unwrap());
        let refused = rig.verifier.vouch(&rig.app, &other, by(Purpose::Pull, soon())).await.unwrap_err();
        assert_eq!(refused.code, TrustCode::NotInRegistry);
    }

    #[tokio::test]
    async fn an_outage_is_remembered_for_seconds_and_for_that_registry() {
        let rig = rig();
        rig.fake.fail_with(Some(unreachable()));
        assert_eq!(rig.ask("r.example/app", &[rig.good]).await, Err(TrustCode::Unreachable));
        rig.fake.fail_with(None);
        assert_eq!(rig.ask("r.example/app", &[rig.good]).await, Err(TrustCode::Unreachable));
        assert_eq!(rig.fake.calls().len(), 1);
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
        assert_eq!(rig.fake.calls().len(), 1);
        assert!(rig.verifier.flights.is_empty());
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

        fn referrers<'a>(
            &'a self,
            _: &'a Repository,
            _: Digest,
            _: Instant,
        ) -> crate::registry::Reply<'a, Option<crate::registry::Listing>> {
            Box::pin(std::future::pending())
        }

        fn blob<'a>(&'a self, _: &'a Repository, _: Digest, _: u64, _: Instant) -> crate::registry::Reply<'a, Vec<u8>> {
            Box::pin(std::future::pending())
        }

        fn is_gone<'a>(&'a self, _: &'a Host, _: Instant) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn a_registry_that_is_silent_does_not_take_the_whole_deadline() {
        let limits = EvidenceLimits { network: Duration::from_millis(50), outage: Duration::ZERO, ..EvidenceLimits::default() };
        let verifier = RegistryVerifier::with_limits(Arc::new(Silent), limits);
        let start = Instant::now();
        let digest = Question::AnyOf(vec![Digest::of(b"x")]);
        for question in [digest.clone(), Question::Tag(Tag::latest())] {
            let refused = verifier.vouch(&repository("r.example/app"), &question, by(Purpose::Pull, soon())).await.unwrap_err();
            assert_eq!(refused.code, TrustCode::Unreachable);
        }
        assert!(start.elapsed() < Duration::from_secs(5), "the deadline is a minute away");
        // One that is given up leaves nothing behind either.
        let app = repository("r.example/app");
        let given_up =
            tokio::time::timeout(Duration::from_millis(5), verifier.vouch(&app, &digest, by(Purpose::Pull, soon()))).await;
        assert!(given_up.is_err() && verifier.flights.is_empty());
    }

    #[test]
    fn every_error_of_a_registry_has_its_code() {
        use crate::registry::Trouble;
        let (host, what) = ("r.example".to_owned(), "r.example/app:1".to_owned());
        let status = |status| RegistryError::Status { host: host.clone(), what: what.clone(), status };
        let storage = |trouble| RegistryError::Storage { host: host.clone(), what: what.clone(), trouble };
        for (error, code) in [
            (RegistryError::NotFound { host: host.clone(), what: what.clone() }, TrustCode::NotInRegistry),
            (RegistryError::Denied { host: host.clone(), what: what.clone() }, TrustCode::Unauthorized),
            (RegistryError::Busy { host: host.clone(), what: what.clone(), status: 429 }, TrustCode::Busy),
            (RegistryError::Full { what: what.clone() }, TrustCode::Busy),
            (RegistryError::Net(NetError::Ours { host: host.clone(), cause: String::new() }), TrustCode::Busy),
            (status(503), TrustCode::Unreachable),
            (status(301), TrustCode::Invalid),
            (status(206), TrustCode::Invalid),
            (RegistryError::Net(NetError::Unauthorized { host: host.clone(), why: String::new() }), TrustCode::Unauthorized),
            (RegistryError::Net(NetError::CaRefused { host: host.clone(), cause: String::new() }), TrustCode::CaRefused),
            (RegistryError::Net(NetError::Tls { host: host.clone(), cause: String::new() }), TrustCode::Unreachable),
            (RegistryError::Net(NetError::TooLarge { host: host.clone(), limit: 1 }), TrustCode::Invalid),
            (RegistryError::Misconfigured { host: host.clone(), cause: String::new() }, TrustCode::Misconfigured),
            (RegistryError::Elsewhere { host: host.clone(), what: what.clone(), cause: "x" }, TrustCode::Invalid),
            (storage(Trouble::Status(403)), TrustCode::Unreachable),
            (storage(Trouble::Status(500)), TrustCode::Unreachable),
            (storage(Trouble::Silent), TrustCode::Unreachable),
            (storage(Trouble::Busy(503)), TrustCode::Busy),
            (storage(Trouble::Cut), TrustCode::Busy),
        ] {
            assert_eq!(TrustError::from(NotVouched::Answer(error.clone())).code, code, "{error}");
        }
    }
}
