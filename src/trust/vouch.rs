//! The question to a verifier and its answers.

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::VerifierName;
use crate::image::{Digest, Repository, Tag};

/// What is asked about a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Which digest is this tag vouched to have?
    Tag(Tag),
    /// Is one of these digests vouched for, under any tag? (The digests one local image is known by; few.)
    AnyOf(Vec<Digest>),
    /// As [`Question::AnyOf`], of an image in the classic store, whose id some may vouch for too. A digest of a manifest and an
    /// image id are never compared: one file can be both a manifest and a configuration, with other layers.
    Content {
        /// Digests of manifests and indexes.
        digests: Vec<Digest>,
        /// The image id: the digest of the configuration.
        config: Digest,
    },
}

/// What the digest of a vouch is the digest of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hashed {
    /// A manifest or an index.
    Manifest,
    /// A configuration: the image id in the classic store.
    Config,
}

/// How a question may be answered when the verifier's server is out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A pull: fresh knowledge, or a refusal.
    Pull,
    /// A create or start of content that is here: the last verified knowledge goes on until it expires.
    Run,
}

/// What goes with a question: what for, and which times count.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// How it may be answered.
    pub purpose: Purpose,
    /// The time by which dates are judged.
    pub now: Timestamp,
    /// When the answer must be there.
    pub deadline: Instant,
}

/// From when the knowledge behind a vouch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freshness {
    /// Checked with the server for this question, or within the freshness window.
    Fresh,
    /// Imported: no server is asked on this host.
    Imported {
        /// When the server was last asked with success, by who exported it.
        since: Timestamp,
    },
    /// The server is out of reach; the last verified answer is from this time.
    Stale {
        /// When the server was last asked with success.
        since: Timestamp,
    },
}

/// A verifier's yes: this repository vouches for this digest. Made by verifiers alone, after their proof held; the decision looks
/// whether it is of the repository and by the verifier that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vouch {
    pub(super) repository: Repository,
    pub(super) digest: Digest,
    pub(super) hashed: Hashed,
    pub(super) verifier: VerifierName,
    /// Tags the digest is vouched for under; for [`Question::Tag`] that tag alone.
    pub(super) tags: Vec<Tag>,
    /// `targets/releases`, `targets`; empty where the verifier has no roles.
    pub(super) role: String,
    /// Names of the delegations (`alice`) or people who signed, as far as known.
    pub(super) signers: Vec<String>,
    /// When this stops being true unless it is renewed.
    pub(super) expires: Option<Timestamp>,
    /// When it was signed, where the proof says so.
    pub(super) signed_at: Option<Timestamp>,
    pub(super) freshness: Freshness,
    /// In which way it is signed, where there are several that a verifier of digests may ask for: `cosign`, `notation`.
    #[serde(skip)]
    pub(super) scheme: Option<&'static str>,
}

impl Vouch {
    /// A yes about a manifest or an index, known by no tag. For verifiers, whose proof has held, and for nobody else.
    #[must_use]
    pub fn new(verifier: &VerifierName, repository: Repository, digest: Digest) -> Self {
        Self {
            repository,
            digest,
            hashed: Hashed::Manifest,
            verifier: verifier.clone(),
            tags: Vec::new(),
            role: String::new(),
            signers: Vec::new(),
            expires: None,
            signed_at: None,
            freshness: Freshness::Fresh,
            scheme: None,
        }
    }

    /// The same, vouched for under these tags.
    #[must_use]
    pub fn under(self, tags: Vec<Tag>) -> Self {
        Self { tags, ..self }
    }

    /// The same, signed by these.
    #[must_use]
    pub fn signed_by(self, signers: Vec<String>) -> Self {
        Self { signers, ..self }
    }

    /// The same, true until then.
    #[must_use]
    pub fn until(self, expires: Timestamp) -> Self {
        Self { expires: Some(expires), ..self }
    }

    /// The same, signed then.
    #[must_use]
    pub fn at(self, signed_at: Timestamp) -> Self {
        Self { signed_at: Some(signed_at), ..self }
    }

    /// The same, by the verifier of this name.
    #[must_use]
    pub(super) fn by(self, verifier: &VerifierName) -> Self {
        Self { verifier: verifier.clone(), ..self }
    }

    /// The repository that vouches.
    #[must_use]
    pub const fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The digest vouched for: a manifest's or an index's (or an image id, where an allowlist entry says so).
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What [`Vouch::digest`] is the digest of.
    #[must_use]
    pub const fn hashed(&self) -> Hashed {
        self.hashed
    }

    /// Who vouches.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierName {
        &self.verifier
    }

    /// The tags it is vouched for under.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// The role that holds the target.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Who signed.
    #[must_use]
    pub fn signers(&self) -> &[String] {
        &self.signers
    }

    /// When this stops being true unless it is renewed.
    #[must_use]
    pub const fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// When it was signed. Notary, allowlists and registries do not say.
    #[must_use]
    pub const fn signed_at(&self) -> Option<Timestamp> {
        self.signed_at
    }

    /// In which way it is signed, where a verifier of digests says so.
    #[must_use]
    pub const fn scheme(&self) -> Option<&'static str> {
        self.scheme
    }

    /// From when the knowledge is.
    #[must_use]
    pub const fn freshness(&self) -> Freshness {
        self.freshness
    }
}
