//! What proves that a digest is signed: the bytes that a key has signed, and its signature. The same check whether they have just come from
//! a registry or were kept ([`super::super::evidence`]).

use super::bundle::{self, Offer};
use super::error::Unfit;
use super::payload;
use crate::image::{Digest, Repository, Tag};
use crate::trust::evidence::Parts;
use crate::trust::signatures::Mark;

const PAYLOAD: &str = "payload";
const SIGNATURE: &str = "signature";
const BUNDLE: &str = "bundle";

/// A signature with what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// cosign 2: a payload that names repository and digest.
    Payload { payload: Vec<u8>, signature: Vec<u8> },
    /// cosign 3: a bundle, which states the digest.
    Bundle(Vec<u8>),
}

/// What a proof offers for a digest in a repository. That a key of the verifier has signed it is not known yet.
pub(super) struct Claim {
    pub(super) offer: Offer,
    /// The tag that it is for; `None`: any.
    pub(super) tag: Option<Tag>,
}

/// What tells a signature from others.
pub(super) fn mark(message: &[u8], signature: &[u8]) -> Mark {
    (Digest::of(message), Digest::of(signature))
}

impl Proof {
    /// What it says, if it is about this digest in this repository.
    pub(super) fn claim(&self, repository: &Repository, digest: Digest) -> Result<Claim, Unfit> {
        match self {
            Self::Payload { payload, signature } => {
                let tag = payload::fits(payload, repository, digest)?;
                Ok(Claim { offer: Offer { signed: payload.clone(), signature: signature.clone() }, tag })
            }
            Self::Bundle(bytes) => Ok(Claim { offer: bundle::offer(bytes, digest)?, tag: None }),
        }
    }

    /// As it is kept.
    pub(super) fn parts(self) -> Parts {
        match self {
            Self::Payload { payload, signature } => {
                Parts::from([(PAYLOAD.to_owned(), payload), (SIGNATURE.to_owned(), signature)])
            }
            Self::Bundle(bytes) => Parts::from([(BUNDLE.to_owned(), bytes)]),
        }
    }

    /// What was kept; `None`: it is something else.
    pub(super) fn of_parts(mut parts: Parts) -> Option<Self> {
        let found = match (parts.remove(PAYLOAD), parts.remove(SIGNATURE), parts.remove(BUNDLE)) {
            (Some(payload), Some(signature), None) => Self::Payload { payload, signature },
            (None, None, Some(bundle)) => Self::Bundle(bundle),
            _ => return None,
        };
        parts.is_empty().then_some(found)
    }
}
