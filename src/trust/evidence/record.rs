//! A record as it is written: JSON with the bytes in base64, read strictly.

use crate::order::Ordered as _;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::image::{Digest, Repository};
use crate::registry::has_one_reading;
use crate::trust::VerifierName;

/// Largest file of a record: a bundle of 8 MB that states what is in an image, compressed, in base64.
pub(super) const FILE_BYTES: u64 = 4 << 20;
/// How records are written.
const VERSION: u32 = 1;
/// Most parts of a record: payload and signature, certificates, a log's entry, timestamps, manifests.
const PARTS: usize = 16;
const ENDING: &str = ".json";

/// What evidence is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// For whom it was looked for.
    pub verifier: VerifierName,
    /// Where it was found. Bundles name no repository, so that it counts for this one alone.
    pub repository: Repository,
    /// What is signed.
    pub digest: Digest,
}

/// The bytes that prove it, by what they are called in their scheme.
pub type Parts = BTreeMap<String, Vec<u8>>;

/// What proved a yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Of what.
    pub key: Key,
    /// How it is verified: `cosign`.
    pub scheme: String,
    /// When it first verified.
    pub found: Timestamp,
    /// When a registry last gave it.
    pub asked: Timestamp,
    /// Where it lay in that registry. `None`: a bundle brought it, or an earlier version of img-authz kept it.
    pub origin: Option<Origin>,
    /// The proof.
    pub parts: Parts,
}

/// Where a signature lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In a manifest that points at the image.
    Manifest(Digest),
    /// In the manifest under a tag of the scheme's own.
    OwnTag,
}

/// How [`Origin::OwnTag`] is written.
const OWN_TAG: &str = "tag";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    scheme: String,
    verifier: String,
    repository: String,
    digest: String,
    found: Timestamp,
    asked: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    parts: BTreeMap<String, String>,
}

impl Key {
    /// The name of its file.
    pub(super) fn file_name(&self) -> String {
        format!("{}{ENDING}", self.hex())
    }

    /// What tells it from others.
    pub(super) fn hex(&self) -> String {
        Digest::of(format!("{}\n{}\n{}", self.verifier, self.repository, self.digest).as_bytes()).hex()
    }
}

/// Whether a file of this name may be a record.
pub(super) fn is_file_name(name: &str) -> bool {
    name.strip_suffix(ENDING).is_some_and(|hex| Digest::from_hex(hex).is_ok())
}

impl Record {
    /// As it is written.
    pub(super) fn written(&self) -> std::io::Result<Vec<u8>> {
        let file = File {
            version: VERSION,
            scheme: self.scheme.clone(),
            verifier: self.key.verifier.to_string(),
            repository: self.key.repository.to_string(),
            digest: self.key.digest.to_string(),
            found: self.found,
            asked: self.asked,
            origin: self.origin.map(|origin| match origin {
                Origin::Manifest(digest) => digest.to_string(),
                Origin::OwnTag => OWN_TAG.to_owned(),
            }),
            parts: self.parts.iter().map(|(name, bytes)| (name.clone(), STANDARD.encode(bytes))).ordered(),
        };
        let text = serde_json::to_vec(&file)?;
        if text.len() as u64 > FILE_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        Ok(text)
    }
}

/// A record, or what is wrong with it.
pub(super) fn read(text: &str) -> Result<Record, String> {
    has_one_reading(text.as_bytes())?;
    let file: File = serde_json::from_slice(text.as_bytes()).map_err(|error| error.to_string())?;
    if file.version != VERSION {
        return Err(format!("its version is {}, not {VERSION}", file.version));
    }
    if file.parts.len() > PARTS {
        return Err(format!("it has more than {PARTS} parts"));
    }
    let repository: Repository = file.repository.parse().map_err(|_| "its repository is none")?;
    // One spelling for one thing.
    if repository.as_str() != file.repository {
        return Err("its repository is spelt otherwise than it is written".to_owned());
    }
    let digest = file.digest.parse().map_err(|_| "its digest is none")?;
    let verifier = file.verifier.parse().map_err(|_| "its verifier has no name")?;
    let decode = |(name, text): (String, String)| Some((name, STANDARD.decode(text).ok()?));
    let parts = file.parts.into_iter().map(decode).collect::<Option<Vec<_>>>().ok_or("a part is not base64")?.ordered();
    let key = Key { verifier, repository, digest };
    let origin = match file.origin.as_deref() {
        None => None,
        Some(OWN_TAG) => Some(Origin::OwnTag),
        Some(text) => Some(Origin::Manifest(text.parse().map_err(|_| "it lay nowhere")?)),
    };
    Ok(Record { key, scheme: file.scheme, found: file.found, asked: file.asked, origin, parts })
}
