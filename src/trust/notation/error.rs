//! Why a signature of notation does not count: what was found as fields, and what to do about it.

use jiff::Timestamp;

use crate::image::Repository;
use crate::text::{clean, fit};
use crate::trust::error::general_remedy;
use crate::trust::{TrustCode, VerifierName, signatures};

/// Longest cause, and longest name, that is shown.
const CAUSE_CHARS: usize = 100;
const NAME_CHARS: usize = 80;

/// Why a signature does not count. Those further down say more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unfit {
    /// It is malformed, or breaks a rule of the specification.
    #[error("one cannot be used: {cause}")]
    Form {
        /// What is wrong with it.
        cause: String,
    },
    /// It is about something else.
    #[error("one is for another artifact")]
    OtherArtifact,
    /// It asks for a plugin of notation to verify it.
    #[error("one asks for the plugin `{plugin}` of notation")]
    Plugin {
        /// What that is called.
        plugin: String,
    },
    /// Its certificates lead to nobody in the trust stores that count.
    #[error("one is by `{subject}`, whose certificates are in none of the trust stores {stores}")]
    Stranger {
        /// Who signed.
        subject: String,
        /// The stores that count for it.
        stores: String,
    },
    /// It is by somebody else.
    #[error("one is by `{subject}`, who is not among the trusted identities")]
    Identity {
        /// Who signed.
        subject: String,
    },
    /// A certificate is not valid at the time that counts.
    #[error("one is by `{subject}`: {cause}")]
    Time {
        /// Who signed.
        subject: String,
        /// What is the matter.
        cause: String,
    },
    /// It has expired itself.
    #[error("one by `{subject}` expired at {at}")]
    Expired {
        /// Who signed.
        subject: String,
        /// When it did.
        at: Timestamp,
    },
    /// Whether a certificate is revoked is not known.
    #[error("whether `{certificate}` is revoked is not known: {cause}")]
    Unchecked {
        /// Whose certificate.
        certificate: String,
        /// Why not, with the address of the list.
        cause: String,
    },
    /// A certificate is revoked.
    #[error("one is by `{subject}`, and the certificate `{certificate}` is revoked")]
    Revoked {
        /// Who signed.
        subject: String,
        /// Whose certificate.
        certificate: String,
    },
    /// A trust store that the statement names has no certificate.
    #[error("the trust store `{store}` has no certificate")]
    NoStore {
        /// Its type and name.
        store: String,
    },
    /// No statement of the trust policy is for the repository.
    #[error("the trust policy has no statement for `{repository}`")]
    NoStatement {
        /// Which.
        repository: Repository,
    },
}

impl Unfit {
    pub(super) fn form(cause: impl AsRef<str>) -> Self {
        Self::Form { cause: fit(&clean(cause.as_ref()), CAUSE_CHARS) }
    }
}

/// A name of a certificate, as it is shown.
pub(super) fn shown(name: &str) -> String {
    fit(&clean(name), NAME_CHARS)
}

impl signatures::Unfit for Unfit {
    const SCHEME: &'static str = "notation";

    fn code(&self) -> TrustCode {
        match self {
            Self::Form { .. } | Self::OtherArtifact => TrustCode::NotSigned,
            Self::Plugin { .. } => TrustCode::NeedsPlugin,
            Self::Stranger { .. } | Self::Identity { .. } => TrustCode::SignerMissing,
            Self::Time { .. } | Self::Expired { .. } => TrustCode::Expired,
            Self::Unchecked { .. } => TrustCode::RevocationUnknown,
            Self::Revoked { .. } => TrustCode::Revoked,
            Self::NoStore { .. } | Self::NoStatement { .. } => TrustCode::Misconfigured,
        }
    }

    fn remedy(code: TrustCode, verifier: &VerifierName) -> String {
        remedy(code, verifier)
    }

    fn own_remedy(&self, verifier: &VerifierName) -> Option<String> {
        match self {
            Self::NoStatement { .. } => Some(format!(
                "add the repository to registryScopes in the trust policy of verifier `{verifier}`, or take the verifier out of its scope"
            )),
            Self::NoStore { .. } => {
                Some(format!("put the CA's certificates (.pem, .crt, .cer) into that trust store of verifier `{verifier}`"))
            }
            _ => None,
        }
    }
}

/// What to do about a no of this kind.
#[must_use]
pub fn remedy(code: TrustCode, verifier: &VerifierName) -> String {
    match code {
        TrustCode::NotSigned => {
            format!("sign it with notation, as the trust policy of verifier `{verifier}` asks (img-authz help not-signed)")
        }
        TrustCode::SignerMissing => {
            format!(
                "sign it as a trusted identity of verifier `{verifier}`, or add the signer to its trust policy and trust store"
            )
        }
        TrustCode::Expired => format!("sign it again with notation: what verifier `{verifier}` asks for has run out"),
        TrustCode::Revoked => format!("sign it again with a certificate that is not revoked (verifier `{verifier}`)"),
        TrustCode::RevocationUnknown => format!(
            "put the CA's current CRL into `crls` of verifier `{verifier}`, or set \"override\": {{\"revocation\": \"log\"}} in its trust policy"
        ),
        TrustCode::NeedsPlugin => format!(
            "sign it with a key that needs no plugin: AWS Signer's signatures need one, and verifier `{verifier}` runs none"
        ),
        TrustCode::Invalid => signatures::remedy_of_clutter(verifier),
        TrustCode::Unreachable
        | TrustCode::Busy
        | TrustCode::CaRefused
        | TrustCode::Unauthorized
        | TrustCode::NoTrustData
        | TrustCode::Withdrawn
        | TrustCode::RolledBack
        | TrustCode::LogUnknown
        | TrustCode::RootNotTrusted
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
