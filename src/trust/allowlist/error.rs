//! Why an allowlist does not vouch: what was found as fields, and what to do about it.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::image::Repository;
use crate::trust::error::general_remedy;
use crate::trust::{Cause, TrustCode, VerifierName};

/// Why an allowlist does not vouch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListRefusal {
    /// It has no entry for it.
    #[error("the allowlist does not list {what}")]
    NotListed {
        /// What was asked about, as it stands in a message.
        what: String,
    },
    /// It has one, for another repository.
    #[error("the allowlist lists {what} for `{listed}`, not for `{asked}`")]
    Elsewhere {
        /// The digest, as it stands in a message.
        what: String,
        /// The repository that the entry is for.
        listed: Repository,
        /// The repository that was asked about.
        asked: Repository,
    },
    /// It has one that has expired.
    #[error("the allowlist's entry for {what} expired at {end:.0}")]
    Expired {
        /// What was asked about, as it stands in a message.
        what: String,
        /// When.
        end: Timestamp,
    },
    /// The file cannot be used, and there is no earlier good one.
    #[error("the allowlist `{}` cannot be used: {cause}", path.display())]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// What is the matter with it.
        cause: String,
    },
}

impl Cause for ListRefusal {
    fn code(&self) -> TrustCode {
        match self {
            Self::NotListed { .. } | Self::Elsewhere { .. } => TrustCode::NotListed,
            Self::Expired { .. } => TrustCode::Expired,
            Self::Unavailable { .. } => TrustCode::AllowlistUnavailable,
        }
    }

    fn remedy(&self, verifier: &VerifierName) -> String {
        remedy(self.code(), verifier)
    }
}

/// What to do about an allowlist's no of this kind.
#[must_use]
pub fn remedy(code: TrustCode, verifier: &VerifierName) -> String {
    match code {
        TrustCode::NotListed => {
            format!("ask this host's administrator to approve it (img-authz register; verifier `{verifier}`)")
        }
        TrustCode::Expired => {
            format!(
                "check this host's clock; if it is right, ask this host's administrator to approve it again (verifier `{verifier}`)"
            )
        }
        TrustCode::AllowlistUnavailable => {
            format!("this host's administrator corrects the file of verifier `{verifier}`, or creates it (img-authz register)")
        }
        TrustCode::Unreachable
        | TrustCode::Busy
        | TrustCode::CaRefused
        | TrustCode::Unauthorized
        | TrustCode::NoTrustData
        | TrustCode::Withdrawn
        | TrustCode::NotSigned
        | TrustCode::SignerMissing
        | TrustCode::Revoked
        | TrustCode::RevocationUnknown
        | TrustCode::NeedsPlugin
        | TrustCode::Invalid
        | TrustCode::RolledBack
        | TrustCode::RootNotTrusted
        | TrustCode::NotInRegistry
        | TrustCode::NotImported
        | TrustCode::ImportExpired
        | TrustCode::Misconfigured => general_remedy(code, verifier),
    }
}
