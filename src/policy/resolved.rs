//! What was written, in either spelling (variables or policy file), read to the end: the policy, and what each verifier is made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Policy;
use crate::image::{Digest, Host, Reference};
use crate::text::fit;
use crate::trust::attestation::Terms;
use crate::trust::notary::{OnOutage, RequiredSigners, Source};
use crate::trust::sigstore::Identity;
use crate::trust::{Binding, VerifierName};

/// How long a verified answer is used again, in seconds, and the most that may be set: what is revoked counts until then.
pub(super) const FRESHNESS: u64 = 30;
pub(super) const FRESHNESS_MOST: u64 = 3600;
/// How long what runs here goes on without the server, in hours, and the most: trust data that nobody could check for longer
/// than a month is no evidence.
pub(super) const STALE_LIMIT: u64 = 24;
pub(super) const STALE_LIMIT_MOST: u64 = 720;

/// A policy, and what its verifiers are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The policy.
    pub policy: Policy,
    /// Each verifier that it names.
    pub verifiers: BTreeMap<VerifierName, VerifierSettings>,
    /// The file of authz-broker that says who may do what; its content is not in the policy yet.
    pub users_file: Option<PathBuf>,
    /// The rules in Rego; their files are not in the policy yet.
    pub rego: Option<RegoSettings>,
    /// The folder of the record; that is not in the policy yet either.
    pub record: Option<PathBuf>,
}

/// Where the facts of decisions are kept, and what tells later whether another policy would have been told the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The folder.
    pub folder: PathBuf,
    /// What tells the policy from any other.
    pub policy: Digest,
    /// What each verifier is made of: one of the same name and digest answers the same questions alike.
    pub verifiers: BTreeMap<VerifierName, Digest>,
}

/// Rules of the operator's own, in Rego.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegoSettings {
    /// Their files.
    pub files: Vec<PathBuf>,
    /// The rules that must be true, all of them.
    pub queries: Vec<String>,
    /// What they see as `input.environment`.
    pub environment: String,
}

/// What a verifier is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifierSettings {
    /// A Notary.
    Notary(NotarySettings),
    /// An allowlist.
    Allowlist(AllowlistSettings),
    /// The registry that an image comes from.
    Registry,
    /// Signatures of cosign.
    Cosign(CosignSettings),
    /// Signatures of notation.
    Notation(NotationSettings),
    /// What somebody states about an image, and signs.
    Attestation(AttestationSettings),
}

/// Whose signatures of notation count, as its own files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotationSettings {
    /// `trustpolicy.json`.
    pub trust_policy: PathBuf,
    /// The folder that holds `x509`.
    pub trust_store: PathBuf,
    /// A folder of CRLs.
    pub crls: Option<PathBuf>,
    /// Whether CRLs are fetched as well, in the background.
    pub fetch: bool,
    /// After which time a digest that is known to be signed is asked about again; `None`: never, but by pulls.
    pub recheck: Option<Duration>,
}

/// A file of approved digests, and who must have signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowlistSettings {
    /// The file.
    pub file: PathBuf,
    /// The public key, Ed25519; `None`: nobody must have.
    pub key: Option<Given>,
}

/// Whose signatures of cosign count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CosignSettings {
    /// PEM files of public keys, any one of which is enough.
    pub keys: Vec<PathBuf>,
    /// Sigstore's trusted root: with it, what is not proven by a transparency log does not count.
    pub trusted_root: Option<PathBuf>,
    /// Signers with certificates, any one of whom is enough.
    pub identities: Vec<Identity>,
    /// After which time a digest that is known to be signed is asked about again; `None`: never, but by pulls.
    pub recheck: Option<Duration>,
}

/// What must be stated about an image, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationSettings {
    /// The verifier that says whose statements count.
    pub signed_by: VerifierName,
    /// What they must say.
    pub terms: Terms,
    /// As of signatures.
    pub recheck: Option<Duration>,
}

/// Where Notary's trust data comes from, and on what terms it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotarySettings {
    /// A server, `https://host[:port][/path]` without a trailing slash; or bundles.
    pub source: Source,
    /// PEM of the CA of the server's TLS certificate; `None`: the system's roots.
    pub root_ca: Option<Given>,
    /// notary's `trust_pinning` block, JSON.
    pub pins: Option<Given>,
    /// Which signers must agree on an image.
    pub signers: RequiredSigners,
    /// How long a verified answer is used again without asking, or looking.
    pub freshness: Duration,
    /// What becomes of what is here when the server is out of reach.
    pub on_outage: OnOutage,
    /// For how long what was verified may be used without the server.
    pub stale_limit: Duration,
}

/// A text that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Itself.
    Text(String),
    /// As a file.
    File(PathBuf),
}

impl From<PathBuf> for AllowlistSettings {
    fn from(file: PathBuf) -> Self {
        Self { file, key: None }
    }
}

impl VerifierSettings {
    /// The type, as it is written.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Notary(_) => "notary",
            Self::Allowlist(_) => "allowlist",
            Self::Registry => "registry",
            Self::Cosign(_) => "cosign",
            Self::Notation(_) => "notation",
            Self::Attestation(_) => "attestation",
        }
    }

    /// What a yes of such a verifier binds.
    #[must_use]
    pub const fn binding(&self) -> Binding {
        match self {
            Self::Notary(_) => Binding::TagToDigest,
            Self::Allowlist(_) => Binding::Listed,
            Self::Registry => Binding::Held,
            Self::Cosign(_) | Self::Notation(_) | Self::Attestation(_) => Binding::Digest,
        }
    }
}

impl VerifierSettings {
    /// The files that it names and does not look at by itself.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let (given, keys, root) = match self {
            Self::Notary(notary) => ([notary.root_ca.as_ref(), notary.pins.as_ref()], [].as_slice(), None),
            Self::Cosign(cosign) => ([None, None], cosign.keys.as_slice(), cosign.trusted_root.as_deref()),
            // What lies in its folders changes with them, and is watched where it is read.
            Self::Notation(notation) => ([None, None], std::slice::from_ref(&notation.trust_policy), None),
            Self::Allowlist(list) => ([list.key.as_ref(), None], [].as_slice(), None),
            Self::Registry | Self::Attestation(_) => ([None, None], [].as_slice(), None),
        };
        let given = given.into_iter().flatten().filter_map(|given| match given {
            Given::Text(_) => None,
            Given::File(path) => Some(path.as_path()),
        });
        given.chain(keys.iter().map(PathBuf::as_path)).chain(root)
    }
}

impl Resolved {
    /// The Notaries among the verifiers.
    pub fn notaries(&self) -> impl Iterator<Item = (&VerifierName, &NotarySettings)> {
        self.verifiers.iter().filter_map(|(name, settings)| match settings {
            VerifierSettings::Notary(notary) => Some((name, notary)),
            VerifierSettings::Allowlist(_)
            | VerifierSettings::Registry
            | VerifierSettings::Cosign(_)
            | VerifierSettings::Notation(_)
            | VerifierSettings::Attestation(_) => None,
        })
    }

    /// The allowlists among them, each with its file.
    pub fn allowlists(&self) -> impl Iterator<Item = (&VerifierName, &AllowlistSettings)> {
        self.verifiers.iter().filter_map(|(name, settings)| match settings {
            VerifierSettings::Allowlist(list) => Some((name, list)),
            VerifierSettings::Notary(_)
            | VerifierSettings::Registry
            | VerifierSettings::Cosign(_)
            | VerifierSettings::Notation(_)
            | VerifierSettings::Attestation(_) => None,
        })
    }
}

/// The server, or bundles, from what an operator writes; `None` for `off`.
pub(super) fn notary_source(written: &str) -> Result<Option<Source>, String> {
    let written = written.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\'' | '"'));
    match written {
        "off" => return Ok(None),
        "import" => return Ok(Some(Source::Import)),
        _ => {}
    }
    // What stands before an `@` may be a password.
    let shown = fit(written.rsplit('@').next().unwrap_or_default(), 80);
    if written.starts_with("http://") {
        return Err(format!("`{shown}` is plain http; trust data must come over https"));
    }
    let rest = written.strip_prefix("https://").unwrap_or(written).trim_end_matches('/');
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let path_good = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~'));
    if host.parse::<Host>().is_err() || !path_good || path.split('/').any(|part| part == "..") {
        return Err(format!("`{shown}` is not https://host:port (nor `import`, nor `off`)"));
    }
    Ok(Some(Source::Server(format!("https://{rest}"))))
}

/// A plugin that may be enabled: its name with tag, and the digest of content and configuration; or what the text should be.
pub(super) fn plugin(written: &str) -> Result<Reference, String> {
    match written.parse::<Reference>() {
        Ok(Reference { repository, tag, digest: Some(digest) }) => {
            let name = Reference { repository, tag, digest: None }.or_latest();
            Ok(Reference { digest: Some(digest), ..name })
        }
        Ok(_) | Err(_) => Err(format!("`{}` is not NAME@sha256:DIGEST (img-authz plugin digest NAME)", fit(written, 80))),
    }
}
