//! Signatures of cosign by key (docs/adr/0014-cosign.md): a verifier of signatures beside the image ([`super::signatures`]), any one of
//! whose keys is enough.

mod bundle;
mod error;
mod keys;
mod payload;
mod proof;
mod search;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;

pub use self::error::{Unfit, remedy};
pub use self::keys::Keys;
use self::proof::{Claim, Proof};
use self::search::Search;
use super::VerifierName;
use super::evidence::Parts;
use super::signatures::{Found, Good, Hunt, Mark, No, Scheme, SignatureVerifier};
use crate::image::{Digest, Repository};
use crate::registry::Api;

/// Vouches for what one of its keys has signed.
pub type CosignVerifier = SignatureVerifier<Cosign>;

/// Whose signatures count.
#[derive(Debug)]
pub struct Cosign {
    keys: Keys,
}

impl CosignVerifier {
    /// A verifier of this name that goes by `keys` and looks for signatures in `registry`.
    #[must_use]
    pub fn new(name: VerifierName, keys: Keys, registry: Arc<dyn Api>) -> Self {
        Self::of(name, Cosign { keys }, registry)
    }
}

impl Scheme for Cosign {
    type Unfit = Unfit;

    fn ready(&self, _: &Repository) -> Result<(), Unfit> {
        if self.keys.are_none() { Err(Unfit::NoKeys) } else { Ok(()) }
    }

    async fn find(&self, hunt: Hunt<'_>) -> Result<Found, No<Unfit>> {
        let (good, proof) = Search { keys: &self.keys, hunt }.run().await?;
        Ok(Found { good, parts: proof.parts() })
    }

    fn mark(&self, repository: &Repository, digest: Digest, parts: Parts) -> Option<Mark> {
        let Claim { offer, .. } = Proof::of_parts(parts)?.claim(repository, digest).ok()?;
        Some(proof::mark(&offer.signed, &offer.signature))
    }

    fn judged(&self, repository: &Repository, digest: Digest, parts: Parts, _: Timestamp) -> Option<Good> {
        let Claim { offer, tag } = Proof::of_parts(parts)?.claim(repository, digest).ok()?;
        let by = self.keys.who_signed(&offer.signed, &offer.signature)?;
        Some(by.good(tag))
    }
}
