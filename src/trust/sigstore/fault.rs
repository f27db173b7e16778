//! Why a signature with proofs of Sigstore does not count.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::text::{clean, fit};
use crate::trust::pki;

/// Longest cause that is shown.
const CAUSE_CHARS: usize = 110;
/// Longest name of a signer that is shown.
const NAME_CHARS: usize = 100;

/// Why not. Those further down say more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Fault {
    /// Something of it is malformed.
    #[error("cannot be read: {cause}")]
    Form {
        /// What is wrong with it.
        cause: String,
    },
    /// It is made with a key, and nobody's key counts.
    #[error("is made with a key, and the verifier has identities")]
    Key,
    /// The certificate names somebody else.
    #[error("is by `{subject}` (issuer `{issuer}`), who is not among the identities")]
    Signer {
        /// Who.
        subject: String,
        /// By whose word.
        issuer: String,
    },
    /// It is in no log.
    #[error("has no entry of a transparency log")]
    Unlogged,
    /// Nothing says when it was made.
    #[error("has no proven time: no promise of a log, and no timestamp of an authority that is trusted")]
    Timeless,
    /// A proof does not hold.
    #[error("is not proven: {what} {cause}")]
    Unproven {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// A time lies ahead of now.
    #[error("is from {at}, which lies ahead of this host's clock")]
    Future {
        /// The time.
        at: Timestamp,
    },
    /// The signature is not by the key of the certificate.
    #[error("does not verify with the key of its certificate")]
    Signature,
    /// Its log is not in the trusted root.
    #[error("is in log {id}, unknown to the trusted root: is the root older?")]
    UnknownLog {
        /// The log's id, as in the root, base64.
        id: String,
    },
}

impl Fault {
    pub(super) fn form(cause: impl AsRef<str>) -> Self {
        Self::Form { cause: fit(&clean(cause.as_ref()), CAUSE_CHARS) }
    }

    pub(super) fn unproven(what: &'static str, cause: impl AsRef<str>) -> Self {
        Self::Unproven { what, cause: fit(&clean(cause.as_ref()), CAUSE_CHARS) }
    }

    pub(super) fn unknown_log(id: &[u8]) -> Self {
        Self::UnknownLog { id: fit(&STANDARD.encode(id), NAME_CHARS) }
    }

    pub(super) fn signer(subject: &str, issuer: &str) -> Self {
        Self::Signer { subject: fit(&clean(subject), NAME_CHARS), issuer: fit(&clean(issuer), NAME_CHARS) }
    }
}

/// Of a certificate in the words of this room.
pub(super) fn of_certificate(fault: &pki::Fault) -> Fault {
    Fault::unproven("its certificate", fault.to_string())
}
