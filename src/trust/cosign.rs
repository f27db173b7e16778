//! Signatures of cosign (docs/adr/0014-cosign.md, 0020-cosign-keyless.md): a verifier of signatures beside the image (`super::signatures`). Any
//! one of its keys is enough, or of its identities, by what Sigstore's logs and authorities prove of them ([`super::sigstore`]).

mod attested;
mod beside;
mod bundle;
mod cost;
mod envelope;
mod error;
mod hints;
mod keys;
mod payload;
mod proof;
mod search;

#[cfg(test)]
pub(super) mod tests;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

pub(super) use self::attested::{Attested, Reader};
use self::bundle::Proofs;
use self::cost::{Cost, Memo};
use self::envelope::Offer;
pub use self::error::{Unfit, remedy};
pub(super) use self::hints::{Form, of_layer};
pub use self::keys::Keys;
use self::proof::{Claim, Proof};
use self::search::Search;
use super::VerifierName;
use super::evidence::{Parts, Record};
use super::signatures::{Found, Good, Hunt, Mark, No, Scheme, SignatureVerifier};
use super::sigstore::{Identities, Message, Proven, TrustedRoot};
use crate::image::{Digest, Repository, Tag};
use crate::registry::Api;

/// Vouches for what one of its signers has signed.
pub type CosignVerifier = SignatureVerifier<Cosign>;

/// Whose signatures count.
pub struct Cosign {
    /// Any one of these keys.
    pub keys: Keys,
    /// Or of these signers with certificates.
    pub identities: Identities,
    /// By what it is proven: with a root, a signature by a key is in a log too.
    pub root: Option<TrustedRoot>,
}

/// Not all of it may be looked at.
struct Spent;

/// Who has signed, and when, as far as that is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signer {
    by: String,
    at: Option<Timestamp>,
}

/// Names alone: roots are long.
impl fmt::Debug for Cosign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.root.as_ref().map(|root| root.logs.len());
        f.debug_struct("Cosign").field("keys", &self.keys).field("identities", &self.identities).field("logs", &root).finish()
    }
}

/// Whose signature is kept in a record, as its certificate says; `None`: it is by a key, or something else. Nothing of that is proven here.
#[must_use]
pub fn claims(record: &Record) -> Option<String> {
    let proof = Proof::of_parts(record.parts.clone())?;
    let claim = proof.claim(&record.key.repository, record.key.digest, Proofs::Read).ok()?;
    claim.offer.material.claims()
}

impl CosignVerifier {
    /// A verifier of this name that goes by `keys` and looks for signatures in `registry`.
    #[must_use]
    pub fn new(name: VerifierName, keys: Keys, registry: Arc<dyn Api>) -> Self {
        Self::by(name, Cosign { keys, identities: Identities::default(), root: None }, registry)
    }

    /// The same that goes by all of this.
    #[must_use]
    pub fn by(name: VerifierName, cosign: Cosign, registry: Arc<dyn Api>) -> Self {
        Self::of(name, cosign, registry)
    }
}

impl Cosign {
    /// What is read of a signature besides itself.
    const fn proofs(&self) -> Proofs {
        if self.root.is_some() { Proofs::Read } else { Proofs::Ignored }
    }

    /// Who has signed what is offered, whatever it states. `spend` is told what comes to be checked, and says whether that may; `None`: it may not.
    fn who(
        &self,
        offer: &Offer,
        now: Timestamp,
        memo: &mut Memo,
        mut spend: impl FnMut(Cost) -> bool,
    ) -> Result<Option<Signer>, Unfit> {
        let candidate = offer.candidate();
        let identified = self.root.as_ref().filter(|_| !self.identities.are_none());
        if candidate.material.has_certificate() {
            let root = identified.ok_or(Unfit::Certificate)?;
            // Whose name does not count costs nothing.
            let holder = self.identities.holder(candidate.material)?;
            let certified =
                root.certified(holder, &candidate, &mut memo.certified, &mut |checks| spend(Cost::Certified(checks)))?;
            let Some(certified) = certified else { return Ok(None) };
            let proven = root.by_holder(&certified, now, &mut |checks| spend(Cost::Proofs(checks)))?;
            let Some(Proven { by, at, index }) = proven else { return Ok(None) };
            tracing::debug!(?by, index, "a log has this signature");
            return Ok(Some(Signer { by: by.unwrap_or_default(), at }));
        }
        let mark = (Digest::of(&offer.signed), Digest::of(&offer.signature));
        let made = match memo.made.get(&mark) {
            Some(made) => *made,
            None => {
                let Ok(made) = self.made(offer, &mut spend) else { return Ok(None) };
                memo.made.insert(mark, made);
                made
            }
        };
        if let Some(key) = made.and_then(|at| self.keys.get(at)) {
            let by = key.name.clone();
            let Some(root) = &self.root else { return Ok(Some(Signer { by, at: None })) };
            let proven = root.by_key(&key.public, &candidate, now, &mut |checks| spend(Cost::Proofs(checks)))?;
            return Ok(proven.map(|proven| Signer { by, at: proven.at }));
        }
        Err(match (self.keys.are_none(), self.keys.have_ed25519()) {
            (true, _) => Unfit::Key,
            (false, true) => Unfit::StrangerOrEd25519ph,
            (false, false) => Unfit::Stranger,
        })
    }

    /// Which key has made a signature, by its place among them.
    fn made(&self, offer: &Offer, spend: &mut impl FnMut(Cost) -> bool) -> Result<Option<usize>, Spent> {
        let message = Message::of(&offer.signed);
        for (at, key) in self.keys.iter().enumerate().filter(|(_, key)| key.may_have_made(&offer.signature)) {
            if !spend(Cost::Trial) {
                return Err(Spent);
            }
            if key.signed(&message, &offer.signature) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}

impl Signer {
    /// What is good about the signature, for this tag or any. It ends with its signer's place in the policy alone: what it rests on was proven at the
    /// time it was made.
    fn good(self, tag: Option<Tag>) -> Good {
        Good { by: vec![self.by], tag, signed_at: self.at, ..Good::default() }
    }
}

impl Scheme for Cosign {
    type Unfit = Unfit;

    fn ready(&self, _: &Repository) -> Result<(), Unfit> {
        if self.keys.are_none() && self.identities.are_none() { Err(Unfit::NoKeys) } else { Ok(()) }
    }

    async fn find(&self, hunt: Hunt<'_>) -> Result<Found, No<Unfit>> {
        Search { cosign: self, hunt }.run().await
    }

    fn mark(&self, repository: &Repository, digest: Digest, parts: Parts) -> Option<Mark> {
        let proof = Proof::of_parts(parts)?;
        let Claim { offer, .. } = proof.claim(repository, digest, self.proofs()).ok()?;
        Some(proof.mark(&offer, self.proofs()))
    }

    fn judged(&self, repository: &Repository, digest: Digest, parts: Parts, now: Timestamp) -> Option<Good> {
        let Claim { offer, tag } = Proof::of_parts(parts)?.claim(repository, digest, self.proofs()).ok()?;
        // Of one signature no more is checked than it may have.
        let signer = self.who(&offer, now, &mut Memo::default(), |_| true).ok()??;
        Some(signer.good(tag))
    }
}
