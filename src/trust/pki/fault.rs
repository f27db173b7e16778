//! Why a certificate, a chain or a timestamp does not hold.

use jiff::Timestamp;
use x509_cert::der::asn1::ObjectIdentifier;

use crate::trust::public_key::KeyFault;

/// Why not. `Display`: what of it, so that a sentence about the thing can end with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::trust) enum Fault {
    /// The bytes are not what they should be.
    #[error("cannot be read: {0}")]
    Form(&'static str),
    /// Its key is weak, or of a kind that does not count.
    #[error("has a key that {0}")]
    Key(KeyFault),
    /// A signature by means that are weak or unknown: SHA-1, MD5, odd parameters.
    #[error("is signed in a way that does not count ({0})")]
    Algorithm(ObjectIdentifier),
    /// A signature that is not the key's.
    #[error("has a signature that does not hold")]
    Signature,
    /// One certificate of a chain is not by the next.
    #[error("is not issued by the certificate after it")]
    Issuer,
    /// A certificate is not valid at the time.
    #[error("is valid from {from} to {until}, not at {at}")]
    Dates {
        /// Its first second.
        from: Timestamp,
        /// Its last.
        until: Timestamp,
        /// The time in question.
        at: Timestamp,
    },
    /// A certificate issues others and must not.
    #[error("issues certificates and must not: {0}")]
    Authority(&'static str),
    /// A leaf is not for this.
    #[error("is not made for this: {0}")]
    Use(&'static str),
    /// An extension must be understood, and is not.
    #[error("has a critical extension that is not known ({0})")]
    Critical(ObjectIdentifier),
    /// There are too many certificates.
    #[error("is a chain of more certificates than are looked at")]
    Long,
    /// No path leads to a root.
    #[error("leads to no root that is trusted")]
    Stranger,
    /// A timestamp is of something else.
    #[error("is of other bytes")]
    Imprint,
    /// A timestamp is not signed as it must be.
    #[error("is not signed as a timestamp: {0}")]
    Token(&'static str),
}

impl From<KeyFault> for Fault {
    fn from(fault: KeyFault) -> Self {
        Self::Key(fault)
    }
}
