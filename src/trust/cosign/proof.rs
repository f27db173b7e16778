//! What proves that a digest is signed: the bytes that a key has signed, and its signature. The same check whether they have just come from
//! a registry or were kept ([`super::super::evidence`]).

use super::beside;
use super::bundle::{self, Proofs};
use super::envelope::Offer;
use super::error::Unfit;
use super::payload;
use crate::image::{Digest, Repository, Tag};
use crate::order::Ordered as _;
use crate::trust::evidence::Parts;
use crate::trust::signatures::Mark;
use crate::trust::sigstore::Annotations;

const PAYLOAD: &str = "payload";
const SIGNATURE: &str = "signature";
const BUNDLE: &str = "bundle";

/// A signature with what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// cosign 2: a payload that names repository and digest, and what is written beside its signature.
    Payload { payload: Vec<u8>, signature: Vec<u8>, annotations: Annotations },
    /// cosign 3: a bundle, which states the digest.
    Bundle(Vec<u8>),
}

/// What a proof offers for a digest in a repository. That a key of the verifier has signed it is not known yet.
pub(super) struct Claim {
    pub(super) offer: Offer,
    /// The tag that it is for; `None`: any.
    pub(super) tag: Option<Tag>,
}

impl Proof {
    /// What it says, if it is about this digest in this repository.
    pub(super) fn claim(&self, repository: &Repository, digest: Digest, proofs: Proofs) -> Result<Claim, Unfit> {
        match self {
            Self::Payload { payload, signature, annotations } => {
                let tag = payload::fits(payload, repository, digest)?;
                let material = beside::material(annotations, proofs)?;
                Ok(Claim { offer: Offer::bare(payload.clone(), signature.clone(), material), tag })
            }
            Self::Bundle(bytes) => Ok(Claim { offer: bundle::offer(bytes, digest, proofs)?, tag: None }),
        }
    }

    /// What tells it from others. With proofs it is all of it: whoever puts the same signature there without them takes nothing away.
    pub(super) fn mark(&self, offer: &Offer, proofs: Proofs) -> Mark {
        (Digest::of(&offer.signed), self.marked_beside(proofs).unwrap_or_else(|| Digest::of(&offer.signature)))
    }

    /// The part of the mark that tells signatures of one thing apart; `None`: the signature that is in a bundle is to be read first.
    pub(super) fn marked_beside(&self, proofs: Proofs) -> Option<Digest> {
        Some(match (proofs, self) {
            (Proofs::Ignored, Self::Bundle(_)) => return None,
            (Proofs::Ignored, Self::Payload { signature, .. }) => Digest::of(signature),
            (Proofs::Read, Self::Bundle(bytes)) => Digest::of(bytes),
            (Proofs::Read, Self::Payload { signature, annotations, .. }) => {
                let parts = [&annotations.certificate, &annotations.chain, &annotations.entry, &annotations.stamp];
                let parts = parts.map(|part| Digest::of(part.as_deref().unwrap_or_default().as_bytes()));
                let all: Vec<u8> = parts.iter().flat_map(Digest::as_bytes).copied().chain(signature.iter().copied()).collect();
                Digest::of(&all)
            }
        })
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Payload { payload, signature, annotations: Annotations { certificate, chain, entry, stamp } } => {
                let beside = [certificate, chain, entry, stamp].map(|text| text.as_ref().map_or(0, String::len));
                payload.len() + signature.len() + beside.iter().sum::<usize>()
            }
            Self::Bundle(bytes) => bytes.len(),
        }
    }

    /// As it is kept.
    pub(super) fn parts(self) -> Parts {
        match self {
            Self::Payload { payload, signature, annotations } => {
                let own = [(PAYLOAD.to_owned(), payload), (SIGNATURE.to_owned(), signature)];
                own.into_iter().chain(beside::parts(annotations)).ordered()
            }
            Self::Bundle(bytes) => [(BUNDLE.to_owned(), bytes)].ordered(),
        }
    }

    /// What was kept; `None`: it is something else.
    pub(super) fn of_parts(mut parts: Parts) -> Option<Self> {
        let found = match (parts.remove(PAYLOAD), parts.remove(SIGNATURE), parts.remove(BUNDLE)) {
            (Some(payload), Some(signature), None) => {
                Self::Payload { payload, signature, annotations: beside::taken(&mut parts)? }
            }
            (None, None, Some(bundle)) => Self::Bundle(bundle),
            _ => return None,
        };
        parts.is_empty().then_some(found)
    }
}
