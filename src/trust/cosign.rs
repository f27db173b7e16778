//! The verifier of cosign's signatures by key (docs/adr/0014-cosign.md).
//!
//! They lie in the image's registry, and nobody else is asked. They bind a digest: a tag is resolved here, at the registry, and what it is
//! for now is judged; what then runs is judged by its own digests. What verified is known for as long as the process lives: a signature
//! is proof by itself. A pull asks again.

mod bundle;
mod error;
mod keys;
mod object;
mod payload;
mod search;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::OnceCell;

pub use self::error::{NotSigned, Unfit, remedy};
pub use self::keys::Keys;
use self::search::{Search, Signed};
use super::asking::{Flights, Generations, Noes};
use super::registry::{Errand, EvidenceLimits, Registries};
use super::{Asking, Binding, Purpose, Question, TrustCode, TrustError, Verifier, VerifierName, Vouch, Vouching};
use crate::image::{Digest, Repository, Tag};
use crate::registry::{Api, Wanted};
use crate::trust::registry::NotVouched;

/// Most digests of one image that are asked about, as of a registry.
const DIGESTS: usize = 8;
/// Most tags of which it is known in one generation what they were for.
const TAGS: usize = 512;

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
    /// Most answers of one generation.
    remembered: usize,
    state: Mutex<State>,
    flights: Flights<Held>,
}

/// A digest in a repository.
type Held = (Repository, Digest);

#[derive(Default)]
struct State {
    signed: Generations<Held, Signed>,
    /// What tags were for when they were last asked about, to compare what a pull brought.
    tags: Generations<(Repository, Tag), Vouch>,
    /// What has no good signature, and tags that are not there, for some seconds.
    noes: Noes<(Repository, Wanted)>,
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
        Self { name, keys, registries, remembered, state: Mutex::default(), flights: Flights::default() }
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
                let signed = self.signed(errand, asking.purpose, digest, Some(tag)).await?;
                let vouch = self.vouch_for(repository, digest, &signed).under(vec![tag.clone()]);
                self.state().tags.remember((repository.clone(), tag.clone()), vouch.clone(), TAGS);
                Ok(vouch)
            }
            Question::AnyOf(digests) | Question::Content { digests, .. } => {
                if asking.purpose == Purpose::Run
                    && let Some(vouch) = self.remembered(repository, digests)
                {
                    return Ok(vouch);
                }
                let _place = self.registries.place(errand, self.knows(repository)).await?;
                let mut worst: Option<TrustError> = None;
                for digest in digests.iter().take(DIGESTS) {
                    match self.signed(errand, asking.purpose, *digest, None).await {
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
        }
    }

    /// Whether there is a good signature of this digest, for this tag where it is asked for by one. Looked for at most once at a time.
    async fn signed(
        &self,
        errand: Errand<'_>,
        purpose: Purpose,
        digest: Digest,
        tag: Option<&Tag>,
    ) -> Result<Signed, TrustError> {
        let (held, wanted) = ((errand.repository.clone(), digest), Wanted::Digest(digest));
        self.known_no(errand.repository, &wanted)?;
        let flight = self.flights.of(held.clone());
        let Some(_turn) = flight.turn(errand.network).await else {
            return Err(NotVouched::Late { host: errand.repository.host_str().to_owned() }.into());
        };
        // Somebody else may have found it meanwhile. For a pull only what was found since it asked counts.
        let known = self.state().signed.of(&held).filter(|known| known.is_for(tag)).cloned();
        if let Some(known) = known.filter(|known| purpose == Purpose::Run || known.at > errand.begun) {
            return Ok(known);
        }
        self.known_no(errand.repository, &wanted)?;
        let search = Search { keys: &self.keys, registries: &self.registries, errand, digest, tag };
        match search.run().await {
            Ok(signed) => {
                self.state().signed.remember(held, signed.clone(), self.remembered);
                Ok(signed)
            }
            Err(error) => {
                // A good signature for another tag: that is no word against the digest.
                let is_of_tag = matches!(error, NotSigned::Unfit { why: Unfit::OtherTag { .. }, .. });
                let error = TrustError::from(error);
                if !is_of_tag {
                    self.note_no(errand.repository, wanted, &error);
                }
                Err(error)
            }
        }
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

    /// The vouch for the first of the digests that is known to be signed.
    fn remembered(&self, repository: &Repository, digests: &[Digest]) -> Option<Vouch> {
        let state = self.state();
        let found = digests.iter().find_map(|digest| Some((*digest, state.signed.of(&(repository.clone(), *digest))?.clone())));
        drop(state);
        found.map(|(digest, signed)| self.vouch_for(repository, digest, &signed))
    }

    fn vouch_for(&self, repository: &Repository, digest: Digest, signed: &Signed) -> Vouch {
        Vouch::new(&self.name, repository.clone(), digest).signed_by(vec![signed.by.clone()])
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

    fn ready(&self, repository: &Repository, question: &Question, _: Timestamp) -> Option<Result<Vouch, TrustError>> {
        match question {
            Question::Tag(tag) => self.state().tags.of(&(repository.clone(), tag.clone())).cloned().map(Ok),
            Question::AnyOf(digests) | Question::Content { digests, .. } => self.remembered(repository, digests).map(Ok),
        }
    }

    fn asks_at_pull(&self) -> bool {
        true
    }

    fn vouch<'a>(&'a self, repository: &'a Repository, question: &'a Question, asking: Asking) -> Vouching<'a> {
        Box::pin(self.judge(repository, question, asking))
    }
}
