//! A verifier's no, or its failure to answer: a stable code, what was found as fields, and what to do about it.
//!
//! What can be found differs: each verifier has its own [`Cause`] beside it, with texts and remedies. Whoever tells a person says what
//! the verifier is called, since there may be several of one kind.

use std::fmt;
use std::sync::Arc;

use super::VerifierName;

/// Why a verifier does not vouch, as fields. `Display`: what was found; lower-case first letter, foreign text in backticks, one line.
pub trait Cause: fmt::Debug + fmt::Display + Send + Sync {
    /// What kind of no.
    fn code(&self) -> TrustCode;

    /// What to do about it; `verifier` is what the one is called that was asked.
    fn remedy(&self, verifier: &VerifierName) -> String;
}

/// A verifier's no, or its failure to answer. Both are refusals; the code tells them apart.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{cause}")]
pub struct TrustError {
    /// What kind of no.
    pub code: TrustCode,
    cause: Arc<dyn Cause>,
}

/// A no without fields.
#[derive(Debug)]
struct Said {
    code: TrustCode,
    text: String,
}

/// The kinds of no. Their texts ([`TrustCode::as_str`]) are stable: `docs/reasons.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrustCode {
    /// Server not reached: DNS, refused, timeout, 5xx after retries, an answer that is no Notary's.
    Unreachable,
    /// Server is busy, or slow about this repository: it is there, and its answer has to be waited for.
    Busy,
    /// Server's TLS certificate is not from the CA that is configured.
    CaRefused,
    /// Server wants credentials that are missing or wrong.
    Unauthorized,
    /// The server has no trust data for the repository.
    NoTrustData,
    /// It had trust data before, and now has none.
    Withdrawn,
    /// The repository is signed; this tag or digest is not.
    NotSigned,
    /// It is signed, and a signer who must agree does not.
    SignerMissing,
    /// It is signed with a certificate that is revoked.
    Revoked,
    /// It is signed, and whether a certificate is revoked is not known.
    RevocationUnknown,
    /// It is signed in a way that a plugin of its tool would have to verify.
    NeedsPlugin,
    /// Trust data that does not verify: signature, hash, structure, bounds.
    Invalid,
    /// Trust data past its date.
    Expired,
    /// Trust data older than what was seen before.
    RolledBack,
    /// The root of trust is not the pinned one, or not the one first seen.
    RootNotTrusted,
    /// The allowlist does not list it.
    NotListed,
    /// The allowlist cannot be read.
    AllowlistUnavailable,
    /// The registry does not hold the manifest.
    NotInRegistry,
    /// Nothing was imported of the repository, on a host that asks no server.
    NotImported,
    /// What was imported is past its date.
    ImportExpired,
    /// Our own fault: settings, disk.
    Misconfigured,
}

impl TrustCode {
    /// Every code.
    pub const ALL: [Self; 21] = [
        Self::Unreachable,
        Self::Busy,
        Self::CaRefused,
        Self::Unauthorized,
        Self::NoTrustData,
        Self::Withdrawn,
        Self::NotSigned,
        Self::SignerMissing,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::NeedsPlugin,
        Self::Invalid,
        Self::Expired,
        Self::RolledBack,
        Self::RootNotTrusted,
        Self::NotListed,
        Self::AllowlistUnavailable,
        Self::NotInRegistry,
        Self::NotImported,
        Self::ImportExpired,
        Self::Misconfigured,
    ];

    /// The code of this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// The stable kebab-case code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "trust-unreachable",
            Self::Busy => "trust-busy",
            Self::CaRefused => "trust-ca-refused",
            Self::Unauthorized => "trust-unauthorized",
            Self::NoTrustData => "no-trust-data",
            Self::Withdrawn => "trust-withdrawn",
            Self::NotSigned => "not-signed",
            Self::SignerMissing => "signer-missing",
            Self::Revoked => "signer-revoked",
            Self::RevocationUnknown => "revocation-unknown",
            Self::NeedsPlugin => "signature-needs-plugin",
            Self::Invalid => "trust-invalid",
            Self::Expired => "trust-expired",
            Self::RolledBack => "trust-rolled-back",
            Self::RootNotTrusted => "root-not-trusted",
            Self::NotListed => "not-in-allowlist",
            Self::AllowlistUnavailable => "allowlist-unavailable",
            Self::NotInRegistry => "not-in-registry",
            Self::NotImported => "trust-not-imported",
            Self::ImportExpired => "trust-import-expired",
            Self::Misconfigured => "trust-misconfigured",
        }
    }
}

impl TrustError {
    /// A no of this kind, in words alone.
    #[must_use]
    pub fn new(code: TrustCode, text: impl Into<String>) -> Self {
        Said { code, text: text.into() }.into()
    }

    /// What to do about it; `verifier` is what the one is called that was asked.
    #[must_use]
    pub fn remedy(&self, verifier: &VerifierName) -> String {
        self.cause.remedy(verifier)
    }
}

impl<C: Cause + 'static> From<C> for TrustError {
    fn from(cause: C) -> Self {
        Self { code: cause.code(), cause: Arc::new(cause) }
    }
}

/// They are the same if they say the same.
impl PartialEq for TrustError {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code && self.to_string() == other.to_string()
    }
}

impl Eq for TrustError {}

impl Cause for Said {
    fn code(&self) -> TrustCode {
        self.code
    }

    fn remedy(&self, verifier: &VerifierName) -> String {
        general_remedy(self.code, verifier)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What to do where nobody knows better.
pub(super) fn general_remedy(code: TrustCode, verifier: &VerifierName) -> String {
    match code {
        TrustCode::Unreachable | TrustCode::Busy => {
            format!("repeat; if it stays so, ask this host's administrator about verifier `{verifier}`")
        }
        TrustCode::Misconfigured => {
            format!("this host's administrator: see the gate's log and img-authz doctor (verifier `{verifier}`)")
        }
        TrustCode::CaRefused
        | TrustCode::Unauthorized
        | TrustCode::NoTrustData
        | TrustCode::Withdrawn
        | TrustCode::NotSigned
        | TrustCode::SignerMissing
        | TrustCode::Revoked
        | TrustCode::RevocationUnknown
        | TrustCode::NeedsPlugin
        | TrustCode::Invalid
        | TrustCode::Expired
        | TrustCode::RolledBack
        | TrustCode::RootNotTrusted
        | TrustCode::NotListed
        | TrustCode::AllowlistUnavailable
        | TrustCode::NotInRegistry
        | TrustCode::NotImported
        | TrustCode::ImportExpired => {
            format!("ask this host's administrator about verifier `{verifier}` (img-authz help {})", code.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetError;
    use crate::trust::notary::{self, NotaryError};
    use crate::trust::registry::{self, NotVouched};
    use crate::trust::{allowlist, cosign, notation};

    /// The longest name.
    fn named() -> VerifierName {
        "release".repeat(6).chars().take(40).collect::<String>().parse().unwrap()
    }

    #[test]
    fn a_remedy_names_the_verifier_and_no_setting_that_others_may_have_besides() {
        let name = named();
        for code in TrustCode::ALL {
            let remedies = [notary::remedy, allowlist::remedy, cosign::remedy, notation::remedy, general_remedy];
            for remedy in remedies.map(|remedy| remedy(code, &name)) {
                assert!(remedy.contains(&format!("`{name}`")), "{remedy}");
                assert!(!remedy.contains("NOTARY") && !remedy.contains("ALLOWLIST"), "{remedy}");
                // As much again is left for what was found.
                assert!(remedy.chars().count() < 190, "{remedy}");
            }
        }
    }

    #[test]
    fn a_remedy_for_a_registry_does_not_speak_of_notary() {
        let ca = NetError::CaRefused { host: "r.example:443".into(), cause: "UnknownIssuer".into() };
        let refused = |cause: TrustError| cause.remedy(&VerifierName::REGISTRY);
        for code in TrustCode::ALL {
            let remedy = registry::remedy(code, &VerifierName::REGISTRY);
            assert!(!remedy.to_lowercase().contains("notary"), "{remedy}");
        }
        assert!(refused(NotVouched::Answer(ca.clone().into()).into()).contains("certs.d/HOST/ca.crt"));
        // The same fault of a Notary server has another remedy.
        let notary = TrustError::from(NotaryError::Net(ca)).remedy(&named());
        assert!(notary.contains(named().as_str()) && !notary.contains("certs.d"), "{notary}");
    }

    #[test]
    fn what_this_host_has_no_room_for_is_not_put_down_to_a_server() {
        let name = named();
        for (ours, theirs) in [
            (
                TrustError::from(NotaryError::Busy(notary::Busy::Large)),
                TrustError::from(NotaryError::Status { host: "n.example".into(), status: 429, rest: None, is_busy: true }),
            ),
            (NotVouched::Queued.into(), NotVouched::Late { host: "r.example".into() }.into()),
        ] {
            assert_eq!((ours.code, theirs.code), (TrustCode::Busy, TrustCode::Busy));
            assert!(!ours.remedy(&name).contains("operator") && theirs.remedy(&name).contains("operator"));
        }
    }
}
