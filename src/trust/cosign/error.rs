//! Why a signature of cosign does not count: what was found as fields, and what to do about it.

use crate::text::{clean, fit};
use crate::trust::error::general_remedy;
use crate::trust::{TrustCode, VerifierName, signatures, sigstore};

/// Longest cause that is shown.
const CAUSE_CHARS: usize = 100;

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
    /// It is made with a key, and none is among the signers.
    #[error("one is made with a key, and the verifier has identities")]
    Key,
    /// Who signed it, or when, is not proven, or it is nobody who counts.
    #[error("one {0}")]
    Proof(sigstore::Fault),
    /// There is no key to go by.
    #[error("no key is left: the files of the keys are gone")]
    NoKeys,
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

impl signatures::Unfit for Unfit {
    const SCHEME: &'static str = "cosign";

    fn code(&self) -> TrustCode {
        match self {
            Self::Stranger | Self::StrangerOrEd25519ph | Self::Key => TrustCode::SignerMissing,
            Self::Proof(sigstore::Fault::Signer { .. }) => TrustCode::SignerMissing,
            Self::Proof(sigstore::Fault::UnknownLog { .. }) => TrustCode::LogUnknown,
            Self::NoKeys => TrustCode::Misconfigured,
            Self::Form { .. }
            | Self::OtherDigest
            | Self::Attestation { .. }
            | Self::Blob
            | Self::Certificate
            | Self::Elsewhere { .. }
            | Self::Proof(_)
            | Self::OtherTag { .. } => TrustCode::NotSigned,
        }
    }

    fn is_of_tag(&self) -> bool {
        matches!(self, Self::OtherTag { .. })
    }

    fn remedy(code: TrustCode, verifier: &VerifierName) -> String {
        remedy(code, verifier)
    }

    fn own_remedy(&self, verifier: &VerifierName) -> Option<String> {
        match self {
            Self::Key | Self::Proof(sigstore::Fault::Signer { .. }) => {
                Some(format!("sign it as one of the identities of verifier `{verifier}`, or add the signer to these"))
            }
            Self::Proof(sigstore::Fault::Future { .. }) => {
                Some(format!("set this host's clock, or ask who runs the log (verifier `{verifier}`)"))
            }
            Self::Proof(sigstore::Fault::UnknownLog { .. }) => None,
            Self::Proof(_) => Some(format!(
                "sign it again with cosign and its log, or have the trusted root of verifier `{verifier}` checked (img-authz trust root check)"
            )),
            Self::Form { .. }
            | Self::OtherDigest
            | Self::Attestation { .. }
            | Self::Blob
            | Self::Certificate
            | Self::Elsewhere { .. }
            | Self::Stranger
            | Self::StrangerOrEd25519ph
            | Self::NoKeys
            | Self::OtherTag { .. } => None,
        }
    }
}

impl From<sigstore::Fault> for Unfit {
    fn from(fault: sigstore::Fault) -> Self {
        Self::Proof(fault)
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
        TrustCode::LogUnknown => {
            format!("put a newer trusted root in place of that of verifier `{verifier}` (img-authz trust root check FILE)")
        }
        TrustCode::Invalid => signatures::remedy_of_clutter(verifier),
        TrustCode::Unreachable
        | TrustCode::Busy
        | TrustCode::CaRefused
        | TrustCode::Unauthorized
        | TrustCode::NoTrustData
        | TrustCode::Withdrawn
        | TrustCode::Expired
        | TrustCode::RolledBack
        | TrustCode::RootNotTrusted
        | TrustCode::Revoked
        | TrustCode::RevocationUnknown
        | TrustCode::NeedsPlugin
        | TrustCode::NotListed
        | TrustCode::AllowlistUnavailable
        | TrustCode::NotInRegistry
        | TrustCode::NotImported
        | TrustCode::ImportExpired
        | TrustCode::NotAttested
        | TrustCode::AttestationRefused
        | TrustCode::Misconfigured => general_remedy(code, verifier),
    }
}
