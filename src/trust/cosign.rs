//! The verifier of cosign's signatures by key (docs/adr/0014-cosign.md).
//!
//! They lie in the image's registry, and nobody else is asked. They bind a digest: a tag is resolved here, at the registry, and what it is
//! for now is judged; what then runs is judged by its own digests. A signature is proof by itself: what verified is known, also after a
//! restart and with the registry away, from evidence that is verified again ([`super::evidence`]). A pull asks again, and what the registry
//! has no more ends.

mod bundle;
mod error;
mod keys;
mod object;
mod payload;
mod proof;
mod search;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub use self::error::{NotSigned, Unfit, remedy};
pub use self::keys::Keys;
use self::proof::{Claim, Proof};
use self::search::{Good, No, Search};
use super::asking::{Flights, Generations, Noes};
use super::evidence::{Evidence, Key as EvidenceKey, Record};
use super::registry::{Errand, EvidenceLimits, Registries};
use super::{Asking, Binding, Purpose, Question, TrustCode, TrustError, Verifier, VerifierName, Vouch, Vouching};
use crate::image::{Digest, Repository, Tag};
use crate::registry::{Api, Wanted};
use crate::trust::registry::NotVouched;

/// Most digests of one image that are asked about, as of a registry.
const DIGESTS: usize = 8;
/// Most tags of which it is known in one generation what they were for.
const TAGS: usize = 512;

/// What this evidence is called.
const SCHEME: &str = "cosign";

/// What is not known says more than every no.
const UNKNOWN: u8 = 2;

/// How much it says of an image that this is the matter with one of its digests.
fn weight(code: TrustCode) -> u8 {
    match code {
        TrustCode::NotSigned => 0,
        TrustCode::SignerMissing => 1,
        _ => UNKNOWN,
    }
}

/// Vouches for what one of its keys has signed.
pub struct CosignVerifier {
    name: VerifierName,
    keys: Keys,
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

impl fmt::Debug for CosignVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosignVerifier").field("name", &self.name).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl CosignVerifier {
    /// A verifier of this name that goes by `keys` and looks for signatures in `registry`.
    #[must_use]
    pub fn new(name: VerifierName, keys: Keys, registry: Arc<dyn Api>) -> Self {
        let limits = EvidenceLimits::default();
        let (remembered, registries) = (limits.remembered, Registries::new(registry, limits));
        let (state, flights) = Default::default();
        Self { name, keys, registries, evidence: None, recheck: None, remembered, state, flights }
    }

    /// The same, which keeps what verified, and asks its registry again once it has not been asked for so long.
    #[must_use]
    pub fn keeping(self, evidence: Arc<Evidence>, recheck: Option<Duration>) -> Self {
        Self { evidence: Some(evidence), recheck, ..self }
    }

    async fn judge(&self, repository: &Repository, question: &Question, asking: Asking) -> Result<Vouch, TrustError> {
        if self.keys.are_none() {
            return Err(NotSigned::NoKeys.into());
        }
        let probed = OnceCell::new();
        let errand = self.registries.errand(repository, asking, &probed);
        match question {
            Question::Tag(tag) => {
                let wanted = Wanted::Tag(tag.clone());
                self.known_no(repository, &wanted)?;
                let _place = self.registries.place(errand, self.knows(repository)).await?;
                let asked = self.registries.api().manifest(repository, &wanted, errand.network);
                let found = self.registries.ask(errand, asked).await.map_err(TrustError::from);
                let digest = *found.inspect_err(|error| self.note_no(repository, wanted, error))?.digest();
                let signed = self.signed(errand, asking, digest, Some(tag)).await?;
                let vouch = self.vouch_for(repository, digest, &signed).under(vec![tag.clone()]);
                self.state().tags.remember((repository.clone(), tag.clone()), vouch.clone(), TAGS);
                Ok(vouch)
            }
            Question::AnyOf(digests) | Question::Content { digests, .. } => {
                let is_run = asking.purpose == Purpose::Run;
                if is_run && let Some(vouch) = self.known(repository, digests, |signed| self.is_fresh(signed, asking.now)).await {
                    return Ok(vouch);
                }
                match self.any_of(errand, asking, digests).await {
                    // What a registry that is away would have to say again has been said. One that answers something else is not away; nor is
                    // one that was not asked because others were.
                    Err(no) if is_run && self.recheck.is_some() && no.code == TrustCode::Unreachable => {
                        self.known(repository, digests, |_| true).await.ok_or(no)
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
                Err(NotSigned::ManyDigests { looked: DIGESTS, known: digests.len() }.into())
            }
            worst => Err(worst.unwrap_or_else(|| NotSigned::NoDigest.into())),
        }
    }

    /// Whether there is a good signature of this digest, for this tag where it is asked for by one. Looked for at most once at a time.
    async fn signed(&self, errand: Errand<'_>, asking: Asking, digest: Digest, tag: Option<&Tag>) -> Result<Signed, TrustError> {
        let (held, wanted) = ((errand.repository.clone(), digest), Wanted::Digest(digest));
        self.known_no(errand.repository, &wanted)?;
        let flight = self.flights.of(held.clone());
        let Some(_turn) = flight.turn(errand.network).await else {
            return Err(NotVouched::Late { host: errand.repository.host_str().to_owned() }.into());
        };
        // Somebody else may have found it meanwhile. For a pull only what was found since it asked counts.
        let known = self.state().signed.of(&held).filter(|known| known.good.is_for(tag)).cloned();
        let is_enough = |known: &Signed| match asking.purpose {
            Purpose::Run => self.is_fresh(known, asking.now),
            Purpose::Pull => known.at.is_some_and(|at| at > errand.begun),
        };
        if let Some(known) = known.filter(is_enough) {
            return Ok(known);
        }
        self.known_no(errand.repository, &wanted)?;
        let search = Search { keys: &self.keys, registries: &self.registries, errand, digest, tag };
        match search.run().await {
            Ok((good, proof)) => {
                let signed = Signed { good, at: Some(Instant::now()), asked: asking.now };
                self.state().signed.remember(held.clone(), signed.clone(), self.remembered);
                self.keep(held, proof, asking.now).await;
                Ok(signed)
            }
            Err(No { why, met }) => {
                // A good signature for another tag: that is no word against the digest.
                let is_of_tag = matches!(why, NotSigned::Unfit { why: Unfit::OtherTag { .. }, .. });
                let error = TrustError::from(why);
                if !is_of_tag {
                    self.note_no(errand.repository, wanted, &error);
                    if weight(error.code) < UNKNOWN {
                        self.withdraw(held, &met).await;
                    }
                }
                Err(error)
            }
        }
    }

    /// Whether the registry need not be asked again.
    fn is_fresh(&self, signed: &Signed, now: Timestamp) -> bool {
        // What is from later than now is from a clock that was wrong.
        let age = || Duration::try_from(now.duration_since(signed.asked)).ok();
        self.recheck.is_none_or(|recheck| age().is_some_and(|age| age < recheck))
    }

    async fn keep(&self, held: Held, proof: Proof, now: Timestamp) {
        let Some(evidence) = &self.evidence else { return };
        let (key, parts) = (self.key(&held), proof.parts());
        let earlier = evidence.of(&key).await.filter(|earlier| self.judged(earlier.clone()).is_some());
        if earlier.as_ref().is_some_and(|earlier| earlier.parts == parts && self.is_recent(earlier.asked, now)) {
            return;
        }
        let found = earlier.map_or(now, |earlier| earlier.found.min(now));
        evidence.keep(Record { key, scheme: SCHEME.to_owned(), found, asked: now, parts }).await;
    }

    /// Whether the time of the last answer need not be written again: what is pulled often is not written as often.
    fn is_recent(&self, asked: Timestamp, now: Timestamp) -> bool {
        let age = Duration::try_from(now.duration_since(asked));
        age.is_ok_and(|age| self.recheck.is_none_or(|recheck| age < recheck / 16))
    }

    /// What the registry has no more is known no longer. A signature that was met there stays, though none of its keys counts now: one may
    /// come back.
    async fn withdraw(&self, held: Held, met: &HashSet<(Digest, Digest)>) {
        {
            let mut state = self.state();
            state.signed.forget(&held);
            state.withdrawn += 1;
        }
        let Some(evidence) = &self.evidence else { return };
        let key = self.key(&held);
        let Some(record) = evidence.of(&key).await else { return };
        let claim = Proof::of_parts(record.parts).and_then(|proof| proof.claim(&key.repository, key.digest).ok());
        if !claim.is_some_and(|Claim { offer, .. }| met.contains(&(Digest::of(&offer.signed), Digest::of(&offer.signature)))) {
            tracing::warn!(repository = %held.0, digest = %held.1, "its registry has this signature no more: what was kept of it is dropped");
            evidence.withdraw(&key).await;
        }
    }

    fn key(&self, (repository, digest): &Held) -> EvidenceKey {
        EvidenceKey { verifier: self.name.clone(), repository: repository.clone(), digest: *digest }
    }

    /// What a record proves with the keys that count now.
    fn judged(&self, record: Record) -> Option<Signed> {
        let Record { key, scheme, asked, parts, .. } = record;
        if scheme != SCHEME {
            return None;
        }
        let Claim { offer, tag } = Proof::of_parts(parts)?.claim(&key.repository, key.digest).ok()?;
        let by = self.keys.who_signed(&offer.signed, &offer.signature)?.name.clone();
        Some(Signed { good: Good { by, tag }, at: None, asked })
    }

    /// The outage or the no that is remembered.
    fn known_no(&self, repository: &Repository, wanted: &Wanted) -> Result<(), TrustError> {
        self.registries.known_outage(repository)?;
        self.state().noes.of(&(repository.clone(), wanted.clone())).map_or(Ok(()), Err)
    }

    /// Only what the registry said counts as a no; what it could not say is asked again.
    fn note_no(&self, repository: &Repository, wanted: Wanted, error: &TrustError) {
        if matches!(error.code, TrustCode::NotInRegistry | TrustCode::NotSigned | TrustCode::SignerMissing) {
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
        let known = |digest: &Digest| state.signed.of(&(repository.clone(), *digest)).filter(|signed| counts(signed)).cloned();
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
    async fn known(&self, repository: &Repository, digests: &[Digest], counts: impl Fn(&Signed) -> bool) -> Option<Vouch> {
        if let Some(vouch) = self.remembered(repository, digests, &counts) {
            return Some(vouch);
        }
        for digest in digests.iter().take(DIGESTS) {
            let held = (repository.clone(), *digest);
            let withdrawn = self.state().withdrawn;
            let record = self.evidence.as_ref()?.of(&self.key(&held)).await;
            let Some(signed) = record.and_then(|record| self.judged(record)) else { continue };
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
        Vouch::new(&self.name, repository.clone(), digest).signed_by(vec![signed.good.by.clone()])
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verifier for CosignVerifier {
    fn name(&self) -> &VerifierName {
        &self.name
    }

    fn binding(&self) -> Binding {
        Binding::Digest
    }

    fn ready(&self, repository: &Repository, question: &Question, now: Timestamp) -> Option<Result<Vouch, TrustError>> {
        match question {
            Question::Tag(tag) => self.state().tags.of(&(repository.clone(), tag.clone())).cloned().map(Ok),
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
}
