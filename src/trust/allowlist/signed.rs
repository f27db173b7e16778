//! A list that is signed: JSON as any list is, whose last member is a signature over the bytes before it. What was signed is the file without
//! that member, so it is looked at before anything of it is parsed, and only those bytes are parsed.
//!
//! ```json
//! {
//!   "version": 1,
//!   "serial": 7,
//!   "list": "allowlist",
//!   "entries": […],
//!   "signature": "…"
//! }
//! ```

use std::path::Path;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use super::file::{FileFault, ListFile, read_checked};
use super::parts::{Parts, joined};
use crate::image::Digest;
use crate::trust::public_key::PublicKey;
use crate::trust::{VerifierName, VerifierNameError};

/// What stands before the list in what is signed: nothing else that the key signs is a list.
const CONTEXT: &[u8] = b"img-authz allowlist 1\n";
/// What stands before the 32 bytes of an Ed25519 key in SPKI (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// How many hex digits of its hash stand for a key.
const ID_DIGITS: usize = 16;

/// Who must have signed a list, and as whose: an Ed25519 key; or nobody can have, since the key was taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListKey {
    key: Option<[u8; 32]>,
    /// The verifier whose list it is. What the key has signed for another, here or elsewhere, is none of it.
    list: VerifierName,
}

/// A list whose signature held.
#[derive(Debug)]
pub struct Opened {
    /// What it says.
    pub list: ListFile,
    /// Of lists by one key the highest counts.
    pub serial: u64,
    /// Of what was signed.
    pub digest: Digest,
}

impl ListKey {
    /// A public key as PEM, or as base64 of the same DER, or of the 32 bytes alone.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\'' | '"'));
        if text.contains("PRIVATE KEY") {
            return Err("is a private key; that never lies on this host. Give the public one (openssl pkey -pubout)".to_owned());
        }
        let der = if text.contains("-----BEGIN") {
            let mut found = SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes());
            match (found.next(), found.next()) {
                (Some(Ok(der)), None) => der.as_ref().to_vec(),
                _ => return Err("is not one public key in PEM (-----BEGIN PUBLIC KEY-----)".to_owned()),
            }
        } else {
            STANDARD.decode(text).map_err(|_| "is neither a public key in PEM nor base64".to_owned())?
        };
        let key = if der.len() == 32 { PublicKey::of_ed25519(&der) } else { PublicKey::of_spki(&der) };
        match key {
            Ok(PublicKey::Ed25519(key)) => Ok(Self { key: Some(key), list: VerifierName::ALLOWLIST }),
            Ok(_) => Err("is not an Ed25519 key; lists are signed by these alone".to_owned()),
            Err(fault) => Err(fault.to_string()),
        }
    }

    /// The key was taken away: nothing is signed by it.
    #[must_use]
    pub const fn ended() -> Self {
        Self { key: None, list: VerifierName::ALLOWLIST }
    }

    /// The same, for the list of this verifier; without, it is for that of the variables.
    #[must_use]
    pub fn of_list(self, list: VerifierName) -> Self {
        Self { list, ..self }
    }

    /// Whether the key was taken away.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.key.is_none()
    }

    /// What it is called in messages and names of files: the beginning of the hash of its DER.
    #[must_use]
    pub fn id(&self) -> String {
        let der = self.key.map(|key| [SPKI.as_slice(), key.as_slice()].concat()).unwrap_or_default();
        Digest::of(&der).hex().chars().take(ID_DIGITS).collect()
    }

    /// As [`ListKey::read`] reads it, on one line; empty for one that was taken away.
    #[must_use]
    pub fn to_base64(&self) -> String {
        self.key.map(|key| STANDARD.encode([SPKI.as_slice(), key.as_slice()].concat())).unwrap_or_default()
    }

    /// The list in the file at `path`, if only its owner may write that, and this key has signed it.
    pub fn read_file(&self, path: &Path) -> Result<Opened, FileFault> {
        read_checked(path).and_then(|text| self.open(&text))
    }

    /// The list in the bytes of a file, if this key has signed them.
    pub fn open(&self, text: &[u8]) -> Result<Opened, FileFault> {
        let Some(key) = self.key else { return Err(FileFault::KeyGone) };
        let Parts { body, signature } = Parts::of(text);
        let Some(signature) = signature else { return Err(FileFault::Unsigned { key: self.id() }) };
        let message = [CONTEXT, body.as_slice()].concat();
        if UnparsedPublicKey::new(&ED25519, key).verify(&message, &signature).is_err() {
            return Err(FileFault::Signature { key: self.id() });
        }
        let list = ListFile::parse(text)?;
        if list.list.as_deref() != Some(self.list.as_str()) {
            return Err(FileFault::OtherList { due: self.list.clone(), found: list.list });
        }
        let serial = list.serial.ok_or(FileFault::NoSerial)?;
        Ok(Opened { list, serial, digest: Digest::of(&body) })
    }
}

/// The text of a list, signed by a private key (Ed25519, PKCS#8, PEM); and the public key to it. One that does not say whose it is becomes that of
/// the variables.
pub fn sign(list: &ListFile, private: &str) -> Result<(String, ListKey), String> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(private.as_bytes())
        .map_err(|_| "holds no private key in PEM (-----BEGIN PRIVATE KEY-----)".to_owned())?;
    let pair = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der())
        .map_err(|_| "is not an Ed25519 key (openssl genpkey -algorithm ed25519)".to_owned())?;
    let public = PublicKey::of_ed25519(pair.public_key().as_ref()).map_err(|fault| fault.to_string())?;
    let PublicKey::Ed25519(key) = public else { return Err("is not an Ed25519 key".to_owned()) };
    if list.serial.is_none() {
        return Err("the list has no serial".to_owned());
    }
    let name = list.list.as_deref().unwrap_or(VerifierName::ALLOWLIST.as_str());
    let name: VerifierName = name.parse().map_err(|error: VerifierNameError| error.to_string())?;
    let list = ListFile { list: Some(name.to_string()), ..list.clone() };
    let body = list.to_text().into_bytes();
    let signature = pair.sign(&[CONTEXT, body.as_slice()].concat());
    let text = joined(&body, signature.as_ref()).ok_or("the list does not end as one does")?;
    let key = ListKey { key: Some(key), list: name };
    // What would not be believed is not handed out.
    key.open(text.as_bytes()).map_err(|fault| fault.to_string())?;
    Ok((text, key))
}
