//! Verifiers of signatures that lie beside the image, whatever their scheme: cosign's, notation's.
//!
//! They lie in the image's registry, and nobody else is asked. They bind a digest: a tag is resolved here, at the registry, and what it is
//! for now is judged; what then runs is judged by its own digests. A signature is proof by itself: what verified is known, also after a
//! restart and with the registry away, from evidence that is verified again ([`super::evidence`]). A pull asks again, and what the registry
//! has no more ends. So does what has its own end: a signature, or what it rests on, may expire.
//!
//! Where a scheme keeps its signatures, and when one is good, it says itself ([`Scheme`]).

mod carried;
mod error;
mod hunt;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub use self::carried::Keeping;
pub(super) use self::error::{NotSigned, Unfit, remedy_of_clutter};
pub(super) use self::hunt::{Arriving, Asked, Layer, Part, Place, Seen, Sizes};
pub(super) use self::hunt::{Hunt, Subject};
use super::asking::{Flights, Generations, Noes};
pub(super) use super::evidence::Origin;
use super::evidence::{Evidence, Key as EvidenceKey, Parts, Record};
use super::registry::{Errand, EvidenceLimits, NotVouched, Registries};
use super::stated::Stated;
use super::{Asking, Binding, Purpose, Question, TrustCode, TrustError, Verifier, VerifierName, Vouch, Vouching};
use crate::image::{Digest, Repository, Tag};
use crate::registry::{Api, Wanted};

/// Most digests of one image that are asked about, as of a registry.
const DIGESTS: usize = 8;
/// Most tags of which it is known in one generation what they were for.
const TAGS: usize = 512;

/// How signatures of one kind are found and judged.
pub trait Scheme: fmt::Debug + Send + Sync + 'static {
    /// What may be the matter with one of them.
    type Unfit: Unfit;

    /// Why no signature can count in this repository, whatever lies in its registry.
    fn ready(&self, repository: &Repository) -> Result<(), Self::Unfit>;

    /// Looks for a good signature. Bad ones beside it change nothing; without one they say why.
    fn find(&self, hunt: Hunt<'_>) -> impl Future<Output = Result<Found, No<Self::Unfit>>> + Send;

    /// What tells a signature that was kept from others, as [`No::met`] has it.
    fn mark(&self, repository: &Repository, digest: Digest, parts: Parts) -> Option<Mark>;

    /// What the bytes that were kept prove now: they go through the same check as what a registry sends.
    fn judged(&self, repository: &Repository, digest: Digest, parts: Parts, now: Timestamp) -> Option<Good>;

    /// Whether nothing has become known since that takes the place of what was good for this digest. Asked for each decision: it only looks
    /// into memory.
    fn holds_still(&self, _digest: Digest, _good: &Good) -> bool {
        true
    }
}

/// A good signature.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Good {
    /// Who signed.
    pub by: Vec<String>,
    /// What makes them count, where that is not their name alone: a trust store.
    pub role: String,
    /// The tag that it is for; `None`: any.
    pub tag: Option<Tag>,
    /// When it was signed, where that is proven.
    pub signed_at: Option<Timestamp>,
    /// When it counts no longer: it expires, or what it rests on does.
    pub until: Option<Timestamp>,
    /// What it states of the image, where that is more than that it is signed.
    pub stated: Option<Arc<Stated>>,
}

impl Good {
    /// Whether it is good for what is asked for by this tag.
    pub(super) fn is_for(&self, tag: Option<&Tag>) -> bool {
        tag.is_none_or(|tag| self.tag.as_ref().is_none_or(|own| own == tag))
    }

    fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What tells a signature from others: hashes of what is signed, and of the signature.
pub(super) type Mark = (Digest, Digest);

/// Why no signature is good, and which were looked at.
#[derive(Debug)]
pub struct No<U: Unfit> {
    pub(super) why: NotSigned<U>,
    pub(super) met: HashSet<Mark>,
    /// What held the good one that is known was asked for, and is there no more: whatever else was not looked at, that one is withdrawn.
    pub(super) is_gone: bool,
}

/// A good signature, and what proves it.
#[derive(Debug)]
pub struct Found {
    /// Whose it is.
    pub good: Good,
    /// As it is kept.
    pub parts: Parts,
    /// Where it lies.
    pub known: Known,
}

/// A good signature that was found before: it is looked for first, and only where it lay does the registry say that it was taken back, whatever
/// strangers have put beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Where it lay.
    pub(super) origin: Origin,
    /// What tells it from others there.
    pub(super) mark: Mark,
}

impl Known {
    /// The manifest that held it alone.
    pub(super) const fn manifest(&self) -> Option<Digest> {
        match self.origin {
            Origin::Manifest(digest) => Some(digest),
            Origin::OwnTag => None,
        }
    }
}

/// What is not known says more than every no.
const UNKNOWN: u8 = 2;

/// How much it says of an image that this is the matter with one of its digests.
fn weight(code: TrustCode) -> u8 {
    match code {
        TrustCode::NotSigned | TrustCode::NotAttested => 0,
        TrustCode::SignerMissing
        | TrustCode::LogUnknown
        | TrustCode::Expired
        | TrustCode::Revoked
        | TrustCode::RevocationUnknown
        | TrustCode::NeedsPlugin
        | TrustCode::AttestationRefused
        | TrustCode::RolledBack => 1,
        _ => UNKNOWN,
    }
}

/// Vouches for what has a good signature of its scheme.
pub struct SignatureVerifier<S> {
    name: VerifierName,
    scheme: Arc<S>,
    registries: Registries,
    /// What verified earlier; `None`: nothing is kept.
    evidence: Option<Arc<Evidence>>,
    /// After which time the registry is asked again for what is known; `None`: never, but by pulls.
    recheck: Option<Duration>,
    /// Most answers of one generation.
    remembered: usize,
    state: Mutex<State>,
    flights: Flights<Held>,
}

/// A digest in a repository.
type Held = (Repository, Digest);

/// What is known of a digest.
#[derive(Clone)]
struct Signed {
    good: Good,
    /// When a registry gave it to this process; `None`: it came out of what is kept, which is no answer to a pull.
    at: Option<Instant>,
    /// When a registry last gave it.
    asked: Timestamp,
    /// Where; `None`: it came out of what is kept, which says it as well.
    known: Option<Known>,
}

#[derive(Default)]
struct State {
    signed: Generations<Held, Signed>,
    /// What tags were for when they were last asked about, to compare what a pull brought.
    tags: Generations<(Repository, Tag), Vouch>,
    /// What has no good signature, and tags that are not there, for some seconds.
    noes: Noes<(Repository, Wanted)>,
    /// How often something was withdrawn: what was read before may be what has gone since.
    withdrawn: u64,
}

impl<S: Scheme> fmt::Debug for SignatureVerifier<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignatureVerifier").field("name", &self.name).field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl<S: Scheme> SignatureVerifier<S> {
    /// A verifier of this name that looks for signatures in `registry`.
    pub(super) fn of(name: VerifierName, scheme: S, registry: Arc<dyn Api>) -> Self {
        let limits = EvidenceLimits::default();
        let (remembered, registries) = (limits.remembered, Registries::new(registry, limits));
        let (state, flights) = Default::default();
        Self { name, scheme: Arc::new(scheme), registries, evidence: None, recheck: None, remembered, state, flights }
    }

    /// How its signatures are found and judged: others may go by who signs here.
    #[must_use]
    pub fn scheme(&self) -> Arc<S> {
        Arc::clone(&self.scheme)
    }

    /// The same, which keeps what verified, and asks its registry again once it has not been asked for so long.
    #[must_use]
    pub fn keeping(self, evidence: Arc<Evidence>, recheck: Option<Duration>) -> Self {
        Self { evidence: Some(evidence), recheck, ..self }
    }

    async fn judge(&self, repository: &Repository, question: &Question, asking: Asking) -> Result<Vouch, TrustError> {
        self.scheme.ready(repository).map_err(NotSigned::Nobody)?;
        let probed = OnceCell::new();
        let errand = self.registries.errand(repository, asking, &probed);
        match question {
            Question::Tag(tag) => {
                let wanted = Wanted::Tag(tag.clone());
                self.known_no(repository, &wanted)?;
                let _place = self.registries.place(errand, self.knows(repository)).await?;
                let asked = self.registries.api().manifest(repository, &wanted, errand.network);
                let found = self.registries.ask(errand, asked).await.map_err(TrustError::from);
                let subject = Subject::of(&found.inspect_err(|error| self.note_no(repository, wanted, error))?);
                let digest = subject.digest;
                let signed = self.signed(errand, asking, digest, Some((tag, subject))).await?;
                let vouch = self.vouch_for(repository, digest, &signed).under(vec![tag.clone()]);
                self.state().tags.remember((repository.clone(), tag.clone()), vouch.clone(), TAGS);
                Ok(vouch)
            }
            Question::AnyOf(digests) | Question::Content { digests, .. } => {
                let is_run = asking.purpose == Purpose::Run;
                if is_run
                    && let Some(vouch) =
                        self.known(repository, digests, asking.now, |signed| self.is_fresh(signed, asking.now)).await
                {
                    return Ok(vouch);
                }
                match self.any_of(errand, asking, digests).await {
                    // What a registry that is away would have to say again has been said. One that answers something else is not away; nor is
                    // one that was not asked because others were.
                    Err(no) if is_run && self.recheck.is_some() && no.code == TrustCode::Unreachable => {
                        self.known(repository, digests, asking.now, |_| true).await.ok_or(no)
                    }
                    answer => answer,
                }
            }
        }
    }

    /// The first of the digests that is signed, as the registry says.
    async fn any_of(&self, errand: Errand<'_>, asking: Asking, digests: &[Digest]) -> Result<Vouch, TrustError> {
        let repository = errand.repository;
        let _place = self.registries.place(errand, self.knows(repository)).await?;
        let mut worst: Option<TrustError> = None;
        for digest in digests.iter().take(DIGESTS) {
            match self.signed(errand, asking, *digest, None).await {
                Ok(signed) => return Ok(self.vouch_for(repository, *digest, &signed)),
                // Of a registry that is gone nothing more is to be had; one answer that went wrong says nothing of the next digest.
                Err(error) if self.registries.known_outage(repository).is_err() => return Err(error),
                Err(error) => {
                    let says_more = |worst: &TrustError| weight(worst.code) < weight(error.code);
                    if worst.as_ref().is_none_or(says_more) {
                        worst = Some(error);
                    }
                }
            }
        }
        match worst {
            Some(no) if weight(no.code) < UNKNOWN && digests.len() > DIGESTS => {
                Err(NotSigned::<S::Unfit>::ManyDigests { looked: DIGESTS, known: digests.len() }.into())
            }
            worst => Err(worst.unwrap_or_else(|| NotSigned::<S::Unfit>::NoDigest.into())),
        }
    }

    /// Whether there is a good signature of this digest, for this tag where it is asked for by one. Looked for at most once at a time.
    async fn signed(
        &self,
        errand: Errand<'_>,
        asking: Asking,
        digest: Digest,
        named: Option<(&Tag, Subject)>,
    ) -> Result<Signed, TrustError> {
        let (tag, subject) = named.unzip();
        let (held, wanted) = ((errand.repository.clone(), digest), Wanted::Digest(digest));
        self.known_no(errand.repository, &wanted)?;
        let flight = self.flights.of(held.clone());
        let Some(_turn) = flight.turn(errand.network).await else {
            return Err(NotVouched::Late { host: errand.repository.host_str().to_owned() }.into());
        };
        // Somebody else may have found it meanwhile. For a pull only what was found since it asked counts.
        let holds = |good: &Good| good.is_for(tag) && good.holds(asking.now) && self.scheme.holds_still(digest, good);
        let known = self.state().signed.of(&held).filter(|known| holds(&known.good)).cloned();
        let is_enough = |known: &Signed| match asking.purpose {
            Purpose::Run => self.is_fresh(known, asking.now),
            Purpose::Pull => known.at.is_some_and(|at| at >= errand.begun),
        };
        if let Some(known) = known.filter(is_enough) {
            return Ok(known);
        }
        self.known_no(errand.repository, &wanted)?;
        let known = self.last_known(&held).await;
        let known = known.as_ref();
        let hunt = Hunt { registries: &self.registries, errand, digest, tag, subject, known, now: asking.now };
        // Before anything of it is asked for: who asks while it goes on may not be told what was taken back meanwhile.
        let at = Some(Instant::now());
        match self.scheme.find(hunt).await {
            Ok(Found { good, parts, known }) => {
                let signed = Signed { good, at, asked: asking.now, known: Some(known) };
                self.state().signed.remember(held.clone(), signed.clone(), self.remembered);
                self.keep(held, parts, known.origin, asking.now).await;
                Ok(signed)
            }
            Err(No { why, met, is_gone }) => {
                // A good signature for another tag: that is no word against the digest.
                let is_of_tag = matches!(&why, NotSigned::Unfit { why, .. } if why.is_of_tag());
                let error = TrustError::from(why);
                if !is_of_tag {
                    self.note_no(errand.repository, wanted, &error);
                    if is_gone || weight(error.code) < UNKNOWN {
                        self.withdraw(held, met).await;
                    }
                }
                Err(error)
            }
        }
    }

    /// Whether it still holds, and the registry need not be asked again.
    fn is_fresh(&self, signed: &Signed, now: Timestamp) -> bool {
        // What is from later than now is from a clock that was wrong.
        let age = || Duration::try_from(now.duration_since(signed.asked)).ok();
        signed.good.holds(now) && self.recheck.is_none_or(|recheck| age().is_some_and(|age| age < recheck))
    }

    /// Where the good signature of this lay that is known, to this process or to an earlier one.
    async fn last_known(&self, held: &Held) -> Option<Known> {
        if let Some(known) = self.state().signed.of(held).and_then(|known| known.known) {
            return Some(known);
        }
        let evidence = self.evidence.as_ref()?;
        let key = self.key(held);
        let record = if evidence.is_new(&key) { None } else { evidence.of(&key).await }?;
        Some(Known { origin: record.origin?, mark: self.scheme.mark(&key.repository, key.digest, record.parts)? })
    }

    async fn keep(&self, held: Held, parts: Parts, origin: Origin, now: Timestamp) {
        let Some(evidence) = self.evidence.as_ref().filter(|evidence| evidence.is_kept()) else { return };
        let key = self.key(&held);
        let earlier = if evidence.is_new(&key) { None } else { evidence.of(&key).await };
        let earlier = earlier.filter(|earlier| self.judged(earlier.clone(), now).is_some());
        let origin = Some(origin);
        let is_same = |earlier: &Record| earlier.parts == parts && earlier.origin == origin && self.is_recent(earlier.asked, now);
        if earlier.as_ref().is_some_and(is_same) {
            return;
        }
        let found = earlier.map_or(now, |earlier| earlier.found.min(now));
        evidence.keep(Record { key, scheme: S::Unfit::SCHEME.to_owned(), found, asked: now, origin, parts }).await;
    }

    /// Whether the time of the last answer need not be written again: what is pulled often is not written as often.
    fn is_recent(&self, asked: Timestamp, now: Timestamp) -> bool {
        let age = Duration::try_from(now.duration_since(asked));
        age.is_ok_and(|age| self.recheck.is_none_or(|recheck| age < recheck / 16))
    }

    /// What the registry has no more is known no longer. A signature that was met there stays, though none of its signers counts now: one
    /// may come back.
    async fn withdraw(&self, held: Held, met: HashSet<Mark>) {
        let key = self.key(&held);
        // First: what is read of it while this goes on is not remembered again.
        if let Some(evidence) = &self.evidence {
            evidence.suspend(&key);
        }
        let was_known = {
            let mut state = self.state();
            let was_known = state.signed.of(&held).is_some();
            state.signed.forget(&held);
            state.withdrawn += 1;
            was_known
        };
        let Some(evidence) = &self.evidence else { return };
        let scheme = Arc::clone(&self.scheme);
        let is_met = move |record: Record| {
            let Record { key, parts, .. } = record;
            scheme.mark(&key.repository, key.digest, parts).is_some_and(|mark| met.contains(&mark))
        };
        evidence.withdraw(&key, was_known, is_met).await;
    }

    fn key(&self, (repository, digest): &Held) -> EvidenceKey {
        EvidenceKey { verifier: self.name.clone(), repository: repository.clone(), digest: *digest }
    }

    /// What a record proves by what counts now.
    fn judged(&self, record: Record, now: Timestamp) -> Option<Signed> {
        let Record { key, scheme, asked, parts, .. } = record;
        if scheme != S::Unfit::SCHEME {
            return None;
        }
        let good = self.scheme.judged(&key.repository, key.digest, parts, now)?;
        Some(Signed { good, at: None, asked, known: None })
    }

    /// The outage or the no that is remembered.
    fn known_no(&self, repository: &Repository, wanted: &Wanted) -> Result<(), TrustError> {
        self.registries.known_outage(repository)?;
        self.state().noes.of(&(repository.clone(), wanted.clone())).map_or(Ok(()), Err)
    }

    /// Only what the registry said counts as a no; what it could not say is asked again.
    fn note_no(&self, repository: &Repository, wanted: Wanted, error: &TrustError) {
        if error.code == TrustCode::NotInRegistry || weight(error.code) < UNKNOWN {
            self.state().noes.remember((repository.clone(), wanted), error.clone());
        }
    }

    /// Whether anything of this repository has verified.
    fn knows(&self, repository: &Repository) -> bool {
        self.state().signed.keys().any(|(owner, _)| owner == repository)
    }

    /// The vouch for the first of the digests that is remembered as signed.
    fn remembered(&self, repository: &Repository, digests: &[Digest], counts: impl Fn(&Signed) -> bool) -> Option<Vouch> {
        let state = self.state();
        let counts = |digest: &Digest, signed: &Signed| counts(signed) && self.scheme.holds_still(*digest, &signed.good);
        let known =
            |digest: &Digest| state.signed.of(&(repository.clone(), *digest)).filter(|signed| counts(digest, signed)).cloned();
        let found = digests.iter().find_map(|digest| Some((*digest, known(digest)?)));
        drop(state);
        found.map(|(digest, signed)| {
            if let Some(evidence) = &self.evidence {
                evidence.used(&self.key(&(repository.clone(), digest)));
            }
            self.vouch_for(repository, digest, &signed)
        })
    }

    /// The same, and of what is kept, which is verified again.
    async fn known(
        &self,
        repository: &Repository,
        digests: &[Digest],
        now: Timestamp,
        counts: impl Fn(&Signed) -> bool,
    ) -> Option<Vouch> {
        let counts = |signed: &Signed| signed.good.holds(now) && counts(signed);
        if let Some(vouch) = self.remembered(repository, digests, counts) {
            return Some(vouch);
        }
        for digest in digests.iter().take(DIGESTS) {
            let held = (repository.clone(), *digest);
            let withdrawn = self.state().withdrawn;
            let record = self.evidence.as_ref()?.of(&self.key(&held)).await;
            let Some(signed) = record.and_then(|record| self.judged(record, now)) else { continue };
            {
                let mut state = self.state();
                if state.withdrawn != withdrawn {
                    return None;
                }
                state.signed.remember(held, signed.clone(), self.remembered);
            }
            if counts(&signed) {
                return Some(self.vouch_for(repository, *digest, &signed));
            }
        }
        None
    }

    fn vouch_for(&self, repository: &Repository, digest: Digest, signed: &Signed) -> Vouch {
        let Good { by, role, signed_at, until, stated, .. } = &signed.good;
        let vouch = Vouch::new(&self.name, repository.clone(), digest).signed_by(by.clone());
        let vouch = vouch.stating(stated.iter().cloned().collect());
        Vouch { role: role.clone(), signed_at: *signed_at, expires: *until, scheme: Some(S::Unfit::SCHEME), ..vouch }
    }

    /// Whether a registry has given the signature of this to this process; `None`: it is not known.
    #[cfg(test)]
    pub(super) fn was_given(&self, held: &Held) -> Option<bool> {
        self.state().signed.of(held).map(|signed| signed.at.is_some())
    }

    /// Whether nothing is on its way.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Scheme> Verifier for SignatureVerifier<S> {
    fn name(&self) -> &VerifierName {
        &self.name
    }

    fn binding(&self) -> Binding {
        Binding::Digest
    }

    fn ready(&self, repository: &Repository, question: &Question, now: Timestamp) -> Option<Result<Vouch, TrustError>> {
        match question {
            Question::Tag(tag) => {
                let known = self.state().tags.of(&(repository.clone(), tag.clone())).cloned();
                known.filter(|vouch| vouch.expires.is_none_or(|expires| now < expires)).map(Ok)
            }
            Question::AnyOf(digests) | Question::Content { digests, .. } => {
                self.remembered(repository, digests, |signed| self.is_fresh(signed, now)).map(Ok)
            }
        }
    }

    fn asks_at_pull(&self) -> bool {
        true
    }

    fn vouch<'a>(&'a self, repository: &'a Repository, question: &'a Question, asking: Asking) -> Vouching<'a> {
        Box::pin(self.judge(repository, question, asking))
    }

    fn by_carried<'a>(
        &'a self,
        carried: Arc<dyn Api>,
        (repository, digest): (&'a Repository, Digest),
        asking: Asking,
        keeping: Keeping,
    ) -> Option<Vouching<'a>> {
        Some(Box::pin(self.judge_carried(carried, repository, digest, asking, keeping)))
    }
}
