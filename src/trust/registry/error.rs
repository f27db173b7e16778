//! Why a registry does not vouch: what was found as fields, and what to do about it.

use crate::image::{Digest, Repository};
use crate::net::NetError;
use crate::registry::{RegistryError, Trouble};
use crate::trust::error::general_remedy;
use crate::trust::{Cause, TrustCode, VerifierName};

/// Why a registry does not vouch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVouched {
    /// Its answer, or what became of the question.
    #[error("{0}")]
    Answer(RegistryError),
    /// No answer within the network's time.
    #[error("registry `{host}` did not answer in time")]
    Silent {
        /// The registry.
        host: String,
    },
    /// The same, where the question began late: that says nothing about the registry.
    #[error("registry `{host}` did not answer in time")]
    Late {
        /// The registry.
        host: String,
    },
    /// It turned out to be gone.
    #[error("{0}")]
    Gone(Box<Self>),
    /// Too much is asked on this host.
    #[error("too many questions to registries are under way")]
    Queued,
    /// There is no digest to ask about.
    #[error("content without a digest cannot be looked for in `{repository}`")]
    NoDigest {
        /// The repository.
        repository: Repository,
    },
    /// It sent another manifest.
    #[error("registry sent `{sent}` when asked for `{repository}@{due}`")]
    Other {
        /// The repository.
        repository: Repository,
        /// What it was asked for.
        due: Digest,
        /// What it sent.
        sent: Digest,
    },
}

impl Cause for NotVouched {
    fn code(&self) -> TrustCode {
        match self {
            Self::Answer(error) => code(error),
            Self::Silent { .. } | Self::Gone(_) => TrustCode::Unreachable,
            Self::Late { .. } | Self::Queued => TrustCode::Busy,
            Self::NoDigest { .. } => TrustCode::NotInRegistry,
            Self::Other { .. } => TrustCode::Invalid,
        }
    }

    fn remedy(&self, verifier: &VerifierName) -> String {
        match self {
            // No registry's doing.
            Self::Queued
            | Self::Answer(RegistryError::Full { .. } | RegistryError::Net(NetError::Busy { .. } | NetError::Ours { .. })) => {
                format!("repeat in a minute; if it stays so, see img-authz doctor (verifier `{verifier}`)")
            }
            Self::Answer(RegistryError::Storage { trouble: Trouble::Tls, .. }) => {
                "this host's administrator puts the CA of the storage, which the gate's log names, into certs.d/HOST/ca.crt"
                    .to_owned()
            }
            Self::Answer(RegistryError::Storage { .. }) => {
                "repeat; if it stays so, tell that registry's operator (the gate's log names the storage)".to_owned()
            }
            Self::Answer(RegistryError::Elsewhere { .. }) => {
                "tell that registry's operator; this host's administrator may name the place by a folder certs.d/HOST".to_owned()
            }
            other => remedy(other.code(), verifier),
        }
    }
}

fn code(error: &RegistryError) -> TrustCode {
    match error {
        RegistryError::NotFound { .. } => TrustCode::NotInRegistry,
        RegistryError::Denied { .. } | RegistryError::Net(NetError::Unauthorized { .. }) => TrustCode::Unauthorized,
        // A 5xx is the registry's trouble, not its word on the manifest.
        RegistryError::Storage { trouble: Trouble::Busy(_) | Trouble::Cut | Trouble::Ours, .. } => TrustCode::Busy,
        RegistryError::Storage {
            trouble: Trouble::Status(_) | Trouble::Unreachable | Trouble::Silent | Trouble::Tls, ..
        }
        | RegistryError::Status { status: 500.., .. }
        | RegistryError::Net(NetError::Unreachable { .. } | NetError::Timeout { .. } | NetError::Tls { .. }) => {
            TrustCode::Unreachable
        }
        RegistryError::Busy { .. }
        | RegistryError::Full { .. }
        | RegistryError::Net(NetError::Stalled { .. } | NetError::Cut { .. } | NetError::Busy { .. } | NetError::Ours { .. }) => {
            TrustCode::Busy
        }
        RegistryError::Net(NetError::CaRefused { .. }) => TrustCode::CaRefused,
        RegistryError::Status { .. }
        | RegistryError::WrongDigest { .. }
        | RegistryError::Elsewhere { .. }
        | RegistryError::Undecodable { .. }
        | RegistryError::Net(NetError::TooLarge { .. } | NetError::Barred { .. } | NetError::Bad(_)) => TrustCode::Invalid,
        RegistryError::Misconfigured { .. } => TrustCode::Misconfigured,
    }
}

/// What to do about a registry's no of this kind. The registry is named in what was found.
#[must_use]
pub fn remedy(code: TrustCode, verifier: &VerifierName) -> String {
    let text = match code {
        TrustCode::Unreachable => "repeat; if it stays so, ask this host's administrator to check the way to that registry",
        TrustCode::Busy => "repeat in a minute; if it stays so, tell that registry's operator",
        TrustCode::CaRefused => {
            "this host's administrator puts that registry's CA into certs.d/HOST/ca.crt (img-authz help trust-ca-refused)"
        }
        TrustCode::Unauthorized => {
            "this host's administrator adds that registry's login to the gate's config.json (img-authz help DOCKER_CONFIG)"
        }
        TrustCode::Invalid => "do not use this image; tell its publisher and that registry's operator",
        TrustCode::NotInRegistry => "pull it again, or push it to that registry",
        TrustCode::Misconfigured
        | TrustCode::NoTrustData
        | TrustCode::Withdrawn
        | TrustCode::NotSigned
        | TrustCode::SignerMissing
        | TrustCode::Revoked
        | TrustCode::RevocationUnknown
        | TrustCode::NeedsPlugin
        | TrustCode::Expired
        | TrustCode::RolledBack
        | TrustCode::RootNotTrusted
        | TrustCode::NotListed
        | TrustCode::AllowlistUnavailable
        | TrustCode::NotImported
        | TrustCode::ImportExpired => return general_remedy(code, verifier),
    };
    text.to_owned()
}
