//! Why there is no good signature: what was found as fields, and what to do about it.

use crate::image::Digest;
use crate::text::{clean, fit};
use crate::trust::error::general_remedy;
use crate::trust::registry::NotVouched;
use crate::trust::{Cause, TrustCode, VerifierName};

/// Longest cause that is shown.
const CAUSE_CHARS: usize = 100;

/// Why nobody is known to have signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// It could not be found out. That is not the same as unsigned.
    #[error("its signatures could not be looked at: {0}")]
    Unknown(NotVouched),
    /// There is none.
    #[error("`{}` has no cosign signature", short(.digest))]
    None {
        /// Of what.
        digest: Digest,
    },
    /// There are some, and none counts.
    #[error("no signature of `{}` counts: {why}", short(.digest))]
    Unfit {
        /// Of what.
        digest: Digest,
        /// What is the matter with the one that says most.
        why: Unfit,
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
    /// There is no key to go by.
    #[error("no key is left: the files of the keys are gone")]
    NoKeys,
    /// There is no digest to ask about.
    #[error("content without a digest, as what is built or loaded here, has no signature")]
    NoDigest,
}

/// Why a signature does not count. Those further down say more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unfit {
    /// It is malformed.
    #[error("one cannot be read: {cause}")]
    Form {
        /// What is wrong with it.
        cause: String,
    },
    /// It is about something else.
    #[error("one is for another digest")]
    OtherDigest,
    /// It says something of the image that is not that it is signed.
    #[error("one is not a signature but states `{kind}`")]
    Attestation {
        /// The type of what it states.
        kind: String,
    },
    /// It is of bytes, whatever they are, and not of an image.
    #[error("one is of a file (cosign sign-blob), not of an image")]
    Blob,
    /// It is made with a certificate.
    #[error("one is made with a certificate, and the verifier has keys")]
    Certificate,
    /// It is for another name.
    #[error("one is for `{signed}`")]
    Elsewhere {
        /// What it is for.
        signed: String,
    },
    /// No key of the verifier made it.
    #[error("another key made it")]
    Stranger,
    /// The same, where one of the keys may have made it in a way that is not supported.
    #[error("another key made it, or cosign 3 with Ed25519 (Ed25519ph, which is not supported)")]
    StrangerOrEd25519ph,
    /// A key of the verifier made it, for another tag. Of the digest it says that it is signed.
    #[error("one is for `{signed}`")]
    OtherTag {
        /// What it is for.
        signed: String,
    },
}

impl Unfit {
    pub(super) fn form(cause: impl AsRef<str>) -> Self {
        Self::Form { cause: fit(&clean(cause.as_ref()), CAUSE_CHARS) }
    }
}

/// Enough of a digest to know it by.
fn short(digest: &Digest) -> String {
    format!("sha256:{:.12}…", digest.hex())
}

impl Cause for NotSigned {
    fn code(&self) -> TrustCode {
        match self {
            Self::Unknown(why) => why.code(),
            Self::Unfit { why: Unfit::Stranger | Unfit::StrangerOrEd25519ph, .. } => TrustCode::SignerMissing,
            Self::None { .. } | Self::Unfit { .. } | Self::NoDigest | Self::ManyDigests { .. } => TrustCode::NotSigned,
            Self::TooMany { .. } => TrustCode::Invalid,
            Self::NoKeys => TrustCode::Misconfigured,
        }
    }

    fn remedy(&self, verifier: &VerifierName) -> String {
        match self {
            Self::Unknown(why) => why.remedy(verifier),
            other => remedy(other.code(), verifier),
        }
    }
}

/// What to do about a no of this kind.
#[must_use]
pub fn remedy(code: TrustCode, verifier: &VerifierName) -> String {
    match code {
        TrustCode::NotSigned => {
            format!("sign it with cosign and a key of verifier `{verifier}` (img-authz help not-signed)")
        }
        TrustCode::SignerMissing => format!("sign it with a key of verifier `{verifier}`, or add the signer's key to that"),
        TrustCode::Invalid => {
            format!("remove from the registry what does not belong there, or ask its operator (verifier `{verifier}`)")
        }
        TrustCode::LogUnknown
        | TrustCode::Unreachable
        | TrustCode::Busy
        | TrustCode::CaRefused
        | TrustCode::Unauthorized
        | TrustCode::NoTrustData
        | TrustCode::Withdrawn
        | TrustCode::Expired
        | TrustCode::RolledBack
        | TrustCode::RootNotTrusted
        | TrustCode::NotListed
        | TrustCode::AllowlistUnavailable
        | TrustCode::NotInRegistry
        | TrustCode::NotImported
        | TrustCode::ImportExpired
        | TrustCode::Misconfigured => general_remedy(code, verifier),
    }
}
