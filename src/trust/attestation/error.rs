//! Why no attestation counts: what was found as fields, and what to do about it.

use jiff::Timestamp;

use crate::text::{clean, fit};
use crate::trust::error::general_remedy;
use crate::trust::signatures;
use crate::trust::{TrustCode, VerifierName, cosign};

/// Longest cause that is shown, characters.
const CAUSE_CHARS: usize = 160;

/// Why an attestation does not count. Those further down say more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unfit {
    /// There is none of the type.
    #[error("there is none of type `{predicate_type}`")]
    None {
        /// The type that is asked for.
        predicate_type: String,
    },
    /// It is malformed.
    #[error("one cannot be read: {cause}")]
    Form {
        /// What is wrong with it.
        cause: String,
    },
    /// It is about something else.
    #[error("one is for another digest")]
    OtherDigest,
    /// The builder put attestations into the image's index, which nobody has signed.
    #[error("those that the builder put beside the image (buildx) are not signed, and anybody can write such")]
    Unsigned,
    /// The one who must sign has not signed it.
    #[error("{0}")]
    Signer(cosign::Unfit),
    /// It is by the one who must sign, and cannot be understood.
    #[error("the one that is signed cannot be judged: {cause}")]
    Unclear {
        /// What is not understood.
        cause: String,
    },
    /// It does not say what it must.
    #[error("{why}")]
    Refused {
        /// What it says.
        why: String,
    },
    /// The newest is too old.
    #[error("the newest scan is of {at}, longer ago than the {days} days that the policy allows")]
    Old {
        /// When that was.
        at: Timestamp,
        /// How old it may be.
        days: u64,
    },
    /// What was seen earlier is not known just now.
    #[error("which report was the newest could not be read from this host's disk")]
    Disk,
    /// A newer one was seen, and is not there any more.
    #[error("a newer report, of {at}, was seen and is gone")]
    Gone {
        /// When its scan was.
        at: Timestamp,
    },
}

impl Unfit {
    pub(super) fn form(cause: impl AsRef<str>) -> Self {
        Self::Form { cause: fit(&clean(cause.as_ref()), CAUSE_CHARS) }
    }
}

impl signatures::Unfit for Unfit {
    const SCHEME: &'static str = "attestation";
    const NOUN: &'static str = "attestation";
    const NONE: TrustCode = TrustCode::NotAttested;

    fn code(&self) -> TrustCode {
        match self {
            Self::None { .. } | Self::Form { .. } | Self::OtherDigest | Self::Unsigned => TrustCode::NotAttested,
            Self::Signer(why) => match signatures::Unfit::code(why) {
                TrustCode::NotSigned => TrustCode::NotAttested,
                code => code,
            },
            Self::Unclear { .. } | Self::Refused { .. } => TrustCode::AttestationRefused,
            Self::Old { .. } => TrustCode::Expired,
            Self::Disk => TrustCode::Misconfigured,
            Self::Gone { .. } => TrustCode::RolledBack,
        }
    }

    fn remedy(code: TrustCode, verifier: &VerifierName) -> String {
        remedy(code, verifier)
    }
}

/// What to do about a no of this kind.
#[must_use]
pub fn remedy(code: TrustCode, verifier: &VerifierName) -> String {
    match code {
        TrustCode::NotAttested => {
            format!("attest it as verifier `{verifier}` asks: cosign attest --type … --predicate … (img-authz help not-attested)")
        }
        TrustCode::AttestationRefused => {
            format!("use an image that keeps what verifier `{verifier}` asks, or build, scan and attest it again")
        }
        TrustCode::SignerMissing => format!("have it attested with the key that verifier `{verifier}` names (`signed_by`)"),
        TrustCode::Expired => format!("scan the image again and attest the report (verifier `{verifier}`)"),
        TrustCode::RolledBack => {
            format!(
                "scan and attest it again; who removed the report must say why (verifier `{verifier}`; img-authz help trust-rolled-back)"
            )
        }
        TrustCode::Invalid => signatures::remedy_of_clutter(verifier),
        TrustCode::Unreachable
        | TrustCode::Busy
        | TrustCode::CaRefused
        | TrustCode::Unauthorized
        | TrustCode::NoTrustData
        | TrustCode::Withdrawn
        | TrustCode::NotSigned
        | TrustCode::Revoked
        | TrustCode::RevocationUnknown
        | TrustCode::NeedsPlugin
        | TrustCode::LogUnknown
        | TrustCode::RootNotTrusted
        | TrustCode::NotListed
        | TrustCode::AllowlistUnavailable
        | TrustCode::NotInRegistry
        | TrustCode::NotImported
        | TrustCode::ImportExpired
        | TrustCode::Misconfigured => general_remedy(code, verifier),
    }
}
