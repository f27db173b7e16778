//! Why a Notary verifier does not vouch: what was found as fields, in words, and what to do about it.
//!
//! There may be several Notary verifiers on a host: a remedy names the one that was asked, and no setting, which has one name as a
//! variable and another in a file; `img-authz help CODE` has both.

use std::time::Duration;

use jiff::Timestamp;

use crate::image::Repository;
use crate::net::NetError;
use crate::trust::error::general_remedy;
use crate::trust::tuf::{Fault, FaultKind, RoleName};
use crate::trust::{Cause, TrustCode, TrustError, VerifierName};

/// Why a Notary verifier does not vouch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotaryError {
    /// The server has no trust data for it.
    #[error("the Notary server has no trust data for `{repository}`")]
    NoTrustData {
        /// The repository.
        repository: Repository,
    },
    /// Nothing is kept of it, where nobody is asked.
    #[error("nothing is known of `{repository}` here")]
    NothingKnown {
        /// The repository.
        repository: Repository,
    },
    /// The server had trust data, and has none now.
    #[error("the Notary server had trust data for `{repository}` and now has none ({fault})")]
    Withdrawn {
        /// The repository.
        repository: Repository,
        /// The file that is missing.
        fault: Fault,
    },
    /// The server took back what a bundle brings.
    #[error("the server took `{repository}` back at {at}: {why}")]
    TakenBack {
        /// The repository.
        repository: Repository,
        /// When this host heard of it.
        at: Timestamp,
        /// The server's bad answer.
        why: Box<TrustError>,
    },
    /// What the server has, or what is kept, does not hold.
    #[error("trust data of `{repository}`: {fault}")]
    Faulty {
        /// The repository.
        repository: Repository,
        /// What is wrong.
        fault: Fault,
    },
    /// An imported file has expired: a newer bundle helps.
    #[error("trust data of `{repository}`: {fault}")]
    ImportExpired {
        /// The repository.
        repository: Repository,
        /// The file.
        fault: Fault,
    },
    /// What was imported was checked longer ago than it may be used.
    #[error(
        "trust data of `{repository}` was last checked with its server at {since}, longer ago than STALE_LIMIT or in the future"
    )]
    ImportOutdated {
        /// The repository.
        repository: Repository,
        /// When it was checked.
        since: Timestamp,
    },
    /// Nothing was imported of it.
    #[error("no trust data of `{repository}` was imported on this host")]
    NotImported {
        /// The repository.
        repository: Repository,
    },
    /// The repository is signed, and this is not.
    #[error("`{repository}` is signed, but {why}")]
    NotSigned {
        /// The repository.
        repository: Repository,
        /// What is not.
        why: String,
    },
    /// A signer who must agree does not.
    #[error("required signer `{}` {why}", signer.signer())]
    SignerMissing {
        /// The signer.
        signer: RoleName,
        /// What he has done instead.
        why: String,
    },
    /// The server did not answer in time.
    #[error("`{server}` did not answer in time")]
    Silent {
        /// The server.
        server: String,
    },
    /// A status instead of trust data.
    #[error("`{host}` answers with status {status} instead of trust data{}", rest.map(|rest| format!(", and wants to be left alone for {rest:?}")).unwrap_or_default())]
    Status {
        /// The server.
        host: String,
        /// The HTTP status.
        status: u16,
        /// How long it wants to be left alone.
        rest: Option<Duration>,
        /// Whether it says that it is there, and has too much to do.
        is_busy: bool,
    },
    /// Something else than trust data.
    #[error("`{host}` answers with something that is not trust data")]
    NoJson {
        /// The server.
        host: String,
    },
    /// The network, TLS or credentials.
    #[error("{0}")]
    Net(NetError),
    /// A connection that broke, after the server had answered.
    #[error("{0}")]
    Broken(NetError),
    /// It came too slowly, or was asked for too late.
    #[error("{0}")]
    Slow(NetError),
    /// The same, of a server that turned out to be gone.
    #[error("{0}")]
    Gone(Box<Self>),
    /// The server is out of reach, and what is known is too old to go on with.
    #[error("{outage}; what was verified at {since} is {}", if *is_ahead { "later than this host's clock, which went back" } else { "too old to go on with" })]
    KnownTooLongAgo {
        /// What is the matter with the server.
        outage: Box<TrustError>,
        /// When it was last checked.
        since: Timestamp,
        /// Whether this host's clock is behind that.
        is_ahead: bool,
    },
    /// Too much is under way on this host.
    #[error("{0}")]
    Busy(Busy),
    /// A bundle that is none, or damaged.
    #[error("the bundle is damaged, or none of ours")]
    BundleDamaged,
    /// A bundle of too many repositories.
    #[error("the bundle holds more than {most} repositories")]
    BundleTooLarge {
        /// How many it may hold.
        most: usize,
    },
    /// A file that a bundle lacks.
    #[error("trust data of `{repository}`: `{role}` is not in the bundle")]
    NotInBundle {
        /// The repository.
        repository: Repository,
        /// The role.
        role: String,
    },
    /// What is kept on disk cannot be used or changed.
    #[error("{0}")]
    State(State),
    /// The server's address, or its certificates.
    #[error("{0}")]
    Setup(NetError),
    /// The server is not asked over TLS.
    #[error("the Notary server `{server}` must be an https URL")]
    NotHttps {
        /// The server, without a user.
        server: String,
    },
    /// A verification that ended without an answer.
    #[error("the verification broke off")]
    BrokeOff,
    /// As it was written to disk by an earlier process.
    #[error("{text}")]
    Earlier {
        /// What kind of no.
        code: TrustCode,
        /// What was found.
        text: String,
    },
}

/// What there was no time or room for, on this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Verifications, of any repository.
    #[error("too many verifications are under way")]
    Verifications,
    /// Large ones.
    #[error("too many large repositories are being verified on this host")]
    Large,
    /// Reading what is kept.
    #[error("what is kept of `{0}` was not read in time")]
    Reading(Repository),
    /// Verifying what is kept.
    #[error("what is kept of `{0}` was not verified within {1:?}")]
    Loading(Repository, Duration),
    /// Verifying what the server sent.
    #[error("trust data of `{0}` was not verified within {1:?}")]
    Verifying(Repository, Duration),
    /// What is kept is being written.
    #[error("what is kept of `{0}` is being changed, or was; export it again")]
    Writing(Repository),
}

/// What is the matter with what is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum State {
    /// It cannot be read now.
    #[error("what is kept of `{0}` cannot be read now: {1}; see its owner, the disk and the open files allowed")]
    Unreadable(Repository, String),
    /// It counts and cannot be used.
    #[error("what is kept of `{0}` {1}; if that was not an attack: img-authz trust forget {0}")]
    Unusable(Repository, String),
    /// It cannot be set aside.
    #[error("it cannot be forgotten: {0}")]
    Unforgotten(String),
    /// It cannot be written.
    #[error("it cannot be kept: {0}")]
    Unwritable(String),
    /// Others write it all the time.
    #[error("other processes keep writing the same state")]
    Contended,
}

impl NotaryError {
    /// A fault of a repository's trust data; `is_known`: the server had good data before.
    pub(super) fn of(fault: Fault, repository: &Repository, is_known: bool) -> Self {
        let repository = repository.clone();
        match fault.kind {
            FaultKind::Missing if is_known => Self::Withdrawn { repository, fault },
            FaultKind::Missing if fault.role == "root" => Self::NoTrustData { repository },
            FaultKind::Missing
            | FaultKind::Invalid
            | FaultKind::UnderSigned
            | FaultKind::Expired
            | FaultKind::RolledBack
            | FaultKind::Root => Self::Faulty { repository, fault },
        }
    }

    /// The same on a host that asks no server: what has expired there a newer bundle renews.
    pub(super) fn imported(self) -> Self {
        match self {
            Self::Faulty { repository, fault } if fault.kind == FaultKind::Expired => Self::ImportExpired { repository, fault },
            other => other,
        }
    }
}

impl Cause for NotaryError {
    fn code(&self) -> TrustCode {
        match self {
            Self::NoTrustData { .. } | Self::NothingKnown { .. } => TrustCode::NoTrustData,
            Self::Withdrawn { .. } | Self::TakenBack { .. } => TrustCode::Withdrawn,
            Self::Faulty { fault, .. } => match fault.kind {
                FaultKind::Invalid | FaultKind::UnderSigned | FaultKind::Missing => TrustCode::Invalid,
                FaultKind::Expired => TrustCode::Expired,
                FaultKind::RolledBack => TrustCode::RolledBack,
                FaultKind::Root => TrustCode::RootNotTrusted,
            },
            Self::ImportExpired { .. } | Self::ImportOutdated { .. } => TrustCode::ImportExpired,
            Self::NotImported { .. } => TrustCode::NotImported,
            Self::NotSigned { .. } => TrustCode::NotSigned,
            Self::SignerMissing { .. } => TrustCode::SignerMissing,
            Self::Status { is_busy: true, .. } | Self::Slow(_) | Self::Busy(_) => TrustCode::Busy,
            Self::Silent { .. } | Self::Status { .. } | Self::Broken(_) | Self::Gone(_) => TrustCode::Unreachable,
            Self::Net(error) => match error {
                NetError::Unreachable { .. } | NetError::Timeout { .. } | NetError::Tls { .. } => TrustCode::Unreachable,
                NetError::CaRefused { .. } => TrustCode::CaRefused,
                NetError::Stalled { .. } | NetError::Cut { .. } | NetError::Busy { .. } | NetError::Ours { .. } => {
                    TrustCode::Busy
                }
                NetError::Unauthorized { .. } => TrustCode::Unauthorized,
                NetError::TooLarge { .. } | NetError::Barred { .. } | NetError::Bad(_) => TrustCode::Invalid,
            },
            Self::KnownTooLongAgo { outage, .. } => outage.code,
            Self::NoJson { .. } | Self::BundleDamaged | Self::BundleTooLarge { .. } | Self::NotInBundle { .. } => {
                TrustCode::Invalid
            }
            Self::State(_) | Self::Setup(_) | Self::NotHttps { .. } | Self::BrokeOff => TrustCode::Misconfigured,
            Self::Earlier { code, .. } => *code,
        }
    }

    fn remedy(&self, verifier: &VerifierName) -> String {
        match self {
            // No server's doing.
            Self::Busy(_) | Self::Net(NetError::Busy { .. } | NetError::Ours { .. }) => {
                format!("repeat in a minute; if it stays so, see img-authz doctor (verifier `{verifier}`)")
            }
            other => remedy(other.code(), verifier),
        }
    }
}

/// What to do about a Notary verifier's no of this kind.
#[must_use]
pub fn remedy(code: TrustCode, verifier: &VerifierName) -> String {
    let (first, then) = match code {
        TrustCode::Unreachable => ("repeat; if it stays so, ask this host's administrator to check the way to that server", ""),
        TrustCode::Busy => ("repeat in a minute; if it stays so, tell that server's operator", ""),
        TrustCode::CaRefused => ("give the gate that server's CA", "img-authz help trust-ca-refused"),
        TrustCode::Unauthorized => {
            ("this host's administrator adds that registry's login to the gate's config.json", "img-authz help DOCKER_CONFIG")
        }
        TrustCode::NoTrustData => {
            return format!(
                "first check which server `{verifier}` asks (img-authz settings); then ask the publisher to sign it (docker trust sign)"
            );
        }
        TrustCode::Withdrawn => {
            return format!(
                "first check which server `{verifier}` asks (img-authz settings); then ask the publisher (img-authz help trust-withdrawn)"
            );
        }
        TrustCode::NotSigned => ("ask its publisher to sign this tag (docker trust sign), or use a signed one", ""),
        TrustCode::SignerMissing => {
            ("ask that signer to run docker trust sign on the machine with the signer's key", "img-authz help signer-missing")
        }
        TrustCode::Invalid => ("do not use this image; tell its publisher and the operator of that Notary server", ""),
        TrustCode::Expired => ("check this host's clock; if it is right, ask the publisher to sign again", ""),
        TrustCode::RolledBack => {
            return format!(
                "ask the operator of the server of `{verifier}` why it sent old trust data; only if it was reinstalled: img-authz help \
                 trust-rolled-back"
            );
        }
        TrustCode::RootNotTrusted => (
            "this host's administrator compares the root key with its publisher, then pins it",
            "img-authz help root-not-trusted",
        ),
        TrustCode::NotImported => {
            ("export it where its server is reached, import it here", "img-authz trust export, trust import")
        }
        TrustCode::ImportExpired => {
            ("import a newer bundle, and check this host's clock", "img-authz trust export, trust import")
        }
        TrustCode::Misconfigured
        | TrustCode::Revoked
        | TrustCode::RevocationUnknown
        | TrustCode::NeedsPlugin
        | TrustCode::NotListed
        | TrustCode::AllowlistUnavailable
        | TrustCode::NotInRegistry => {
            return general_remedy(code, verifier);
        }
    };
    match then {
        "" => format!("{first} (verifier `{verifier}`)"),
        then => format!("{first} (verifier `{verifier}`; {then})"),
    }
}
