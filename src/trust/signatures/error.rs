//! Why there is no good signature, whatever the scheme: what was found as fields, and what to do about it.

use std::fmt;

use jiff::Timestamp;

use crate::image::Digest;
use crate::trust::registry::NotVouched;
use crate::trust::{Cause, TrustCode, VerifierName};

/// What may be the matter with a signature of a scheme. Those further down say more.
pub trait Unfit: fmt::Debug + fmt::Display + Ord + Send + Sync + 'static {
    /// What the scheme is called.
    const SCHEME: &'static str;

    /// What is looked for.
    const NOUN: &'static str = "signature";

    /// What it is called that there is none.
    const NONE: TrustCode = TrustCode::NotSigned;

    /// What kind of no it is.
    fn code(&self) -> TrustCode;

    /// Whether the signature is good, and for another tag: that is no word against the digest.
    fn is_of_tag(&self) -> bool {
        false
    }

    /// What to do about a no of this kind.
    fn remedy(code: TrustCode, verifier: &VerifierName) -> String;

    /// What to do about this one, where that is something else.
    fn own_remedy(&self, _verifier: &VerifierName) -> Option<String> {
        None
    }
}

/// Why nobody is known to have signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::trust) enum NotSigned<U: Unfit> {
    /// It could not be found out. That is not the same as unsigned.
    #[error("its {noun}s could not be looked at: {0}", noun = U::NOUN)]
    Unknown(NotVouched),
    /// There is none.
    #[error("`{}` has no {} signature", short(.digest), U::SCHEME)]
    None {
        /// Of what.
        digest: Digest,
    },
    /// There are some, and none counts.
    #[error("no {} of `{}` counts: {why}", U::NOUN, short(.digest))]
    Unfit {
        /// Of what.
        digest: Digest,
        /// What is the matter with the one that says most.
        why: U,
    },
    /// There are more than are looked at.
    #[error("`{}` has more signatures and attachments than are looked at; none of those counts", short(.digest))]
    TooMany {
        /// Of what.
        digest: Digest,
    },
    /// The image is known by more digests than are looked at.
    #[error("none of the first {looked} digests of the image is signed; it is known by {known}")]
    ManyDigests {
        /// How many were looked at.
        looked: usize,
        /// How many there are.
        known: usize,
    },
    /// Its registry took it back, and what was carried here may be from before.
    #[error("the registry of `{}` had no good {} of it at {at}", short(.digest), U::NOUN)]
    Withdrawn {
        /// Of what.
        digest: Digest,
        /// When the registry was asked.
        at: Timestamp,
    },
    /// It is good, and could not be kept.
    #[error("it could not be kept: {cause}")]
    NotKept {
        /// Why not.
        cause: String,
    },
    /// Nobody's signature can count here.
    #[error("{0}")]
    Nobody(U),
    /// There is no digest to ask about.
    #[error("content without a digest, as what is built or loaded here, has no {}", U::NOUN)]
    NoDigest,
}

/// What to do about what was taken back.
const WITHDRAWN: &str = "no bundle shows whether it was signed before that or since: ask the publisher; if since, import it with --undo-withdrawal=DIGEST";

/// Enough of a digest to know it by.
fn short(digest: &Digest) -> String {
    format!("sha256:{:.12}…", digest.hex())
}

impl<U: Unfit> Cause for NotSigned<U> {
    fn code(&self) -> TrustCode {
        match self {
            Self::Unknown(why) => why.code(),
            Self::Unfit { why, .. } | Self::Nobody(why) => why.code(),
            Self::None { .. } | Self::NoDigest | Self::ManyDigests { .. } => U::NONE,
            Self::TooMany { .. } => TrustCode::Invalid,
            Self::Withdrawn { .. } => TrustCode::Withdrawn,
            Self::NotKept { .. } => TrustCode::Misconfigured,
        }
    }

    fn remedy(&self, verifier: &VerifierName) -> String {
        let own = match self {
            Self::Unknown(why) => return why.remedy(verifier),
            Self::Unfit { why, .. } | Self::Nobody(why) => why.own_remedy(verifier),
            Self::Withdrawn { .. } => Some(WITHDRAWN.to_owned()),
            Self::NotKept { .. } => Some("see who may write the state folder, and whether its disk is full".to_owned()),
            Self::None { .. } | Self::NoDigest | Self::ManyDigests { .. } | Self::TooMany { .. } => None,
        };
        own.unwrap_or_else(|| U::remedy(self.code(), verifier))
    }
}

/// What to do where the registry has more beside an image than is looked at, or what cannot be read.
pub(in crate::trust) fn remedy_of_clutter(verifier: &VerifierName) -> String {
    format!("remove from the registry what does not belong there, or ask its operator (verifier `{verifier}`)")
}
