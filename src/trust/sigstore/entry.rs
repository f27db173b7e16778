//! An entry of a transparency log (Rekor v1 and v2): whether it is of this very signature, and whether the log has it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::checkpoint::Inclusion;
use super::fault::Fault;
use super::root::{Log, LogKind};
use super::signature::signed;
use crate::image::Digest;
use crate::trust::object::{self, Few, Object};
use crate::trust::pki::Certificate;
use crate::trust::public_key::PublicKey;

const WHAT: &str = "its entry in the log";

/// An entry as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Which log it says it is in.
    pub(super) log: Vec<u8>,
    /// Its number there.
    pub(super) index: u64,
    /// What it says of its kind, where it does: name and version.
    pub(super) kind: Option<(String, String)>,
    /// When the log took it in, seconds. Nothing without a promise.
    pub(super) time: Option<i64>,
    pub(super) promise: Option<Vec<u8>>,
    pub(super) inclusion: Option<Inclusion>,
    /// Whether a proof of inclusion belongs to it: cosign 2 kept the promise alone.
    pub(super) is_bare: bool,
    pub(super) body: Vec<u8>,
}

/// Who made the signature that an entry must be of.
pub(super) enum Maker<'m> {
    Certificate(&'m Certificate),
    Key(&'m PublicKey),
}

/// What an entry must be of.
pub(super) struct Of<'o> {
    /// The bytes that are signed.
    pub(super) signed: &'o [u8],
    /// What is in the envelope, where there is one: of that some kinds keep the hash.
    pub(super) payload: Option<&'o [u8]>,
    pub(super) signature: &'o [u8],
    pub(super) maker: Maker<'o>,
}

/// What every body says; what else depends on it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    kind: String,
    api_version: String,
}

#[derive(Deserialize)]
struct Body<S> {
    spec: Object<S>,
}

#[derive(Deserialize)]
struct Hash {
    algorithm: String,
    value: String,
}

#[derive(Deserialize)]
struct Content {
    content: String,
}

/// `hashedrekord` 0.0.1.
#[derive(Deserialize)]
struct Hashed {
    data: Object<Data>,
    signature: Object<KeyedSignature>,
}

#[derive(Deserialize)]
struct Data {
    hash: Object<Hash>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyedSignature {
    content: String,
    public_key: Object<Content>,
}

/// `dsse` 0.0.1. What it says of the envelope's hash cannot be relied on: nobody says how that is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Enveloped {
    payload_hash: Object<Hash>,
    signatures: Few<Object<EnvelopedSignature>, 16>,
}

#[derive(Deserialize)]
struct EnvelopedSignature {
    signature: String,
    verifier: String,
}

/// `hashedrekord` 0.0.2.
#[derive(Deserialize)]
struct Second {
    #[serde(rename = "hashedRekordV002")]
    inner: Object<SecondInner>,
}

#[derive(Deserialize)]
struct SecondInner {
    data: Object<SecondData>,
    signature: Object<SecondSignature>,
}

#[derive(Deserialize)]
struct SecondData {
    algorithm: String,
    digest: String,
}

#[derive(Deserialize)]
struct SecondSignature {
    content: String,
    verifier: Object<SecondVerifier>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecondVerifier {
    x509_certificate: Option<Object<Raw>>,
    public_key: Option<Object<Raw>>,
    key_details: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    raw_bytes: String,
}

impl Entry {
    /// Whether it is of this signature, by its bytes. An entry of another one proves nothing of this.
    pub(super) fn is_of(&self, of: &Of<'_>) -> Result<(), Fault> {
        let body: Kind = object::read(&self.body).map_err(Fault::form)?;
        if self.kind.as_ref().is_some_and(|(name, version)| *name != body.kind || *version != body.api_version) {
            return Err(Fault::unproven(WHAT, "is of another kind than is said"));
        }
        let fits = match (&*body.kind, &*body.api_version, of.payload) {
            ("hashedrekord", "0.0.1", None) => {
                let Hashed { data: Object(data), signature: Object(signature) } = self.spec()?;
                is_sha256(&data.hash.0, of.signed)
                    && is_base64(&signature.content, of.signature)
                    && of.maker.is_in_pem(&signature.public_key.0.content)
            }
            ("dsse", "0.0.1", Some(payload)) => {
                let Enveloped { payload_hash: Object(hash), signatures } = self.spec()?;
                let [Object(signature)] = signatures.0.as_slice() else {
                    return Err(Fault::unproven(WHAT, "has no signature, or several"));
                };
                is_sha256(&hash, payload)
                    && is_base64(&signature.signature, of.signature)
                    && of.maker.is_in_pem(&signature.verifier)
            }
            ("hashedrekord", "0.0.2", _) => {
                let Second { inner: Object(SecondInner { data: Object(data), signature: Object(signature) }) } = self.spec()?;
                let hash = match &*data.algorithm {
                    "SHA2_256" => Sha256::digest(of.signed).to_vec(),
                    "SHA2_384" => Sha384::digest(of.signed).to_vec(),
                    "SHA2_512" => Sha512::digest(of.signed).to_vec(),
                    _ => return Err(Fault::unproven(WHAT, "is of an unknown hash")),
                };
                is_base64(&data.digest, &hash)
                    && is_base64(&signature.content, of.signature)
                    && of.maker.is_verifier(&signature.verifier.0)
            }
            _ => {
                return Err(Fault::unproven(
                    WHAT,
                    format!("is of a kind that does not count (`{}` {})", body.kind, body.api_version),
                ));
            }
        };
        if fits { Ok(()) } else { Err(Fault::unproven(WHAT, "is of another signature")) }
    }

    /// What its body says of the signature.
    fn spec<S: for<'d> Deserialize<'d>>(&self) -> Result<S, Fault> {
        let Body { spec: Object(spec) } = object::read(&self.body).map_err(Fault::form)?;
        Ok(spec)
    }

    /// Whether its log has it; with the time at which the log promised it, if it did.
    pub(super) fn is_in(&self, log: &Log, now: Timestamp) -> Result<Option<Timestamp>, Fault> {
        let not = |cause: &str| Err(Fault::unproven(WHAT, cause));
        let mut promised = None;
        match (&log.kind, &self.promise) {
            (LogKind::V1, Some(promise)) => {
                let Some(seconds) = self.time else { return not("is promised without a time") };
                // RFC 8785, as Rekor writes it: members in their order, nothing between them.
                let message = format!(
                    r#"{{"body":"{}","integratedTime":{seconds},"logID":"{}","logIndex":{}}}"#,
                    STANDARD.encode(&self.body),
                    hex(&log.id),
                    self.index
                );
                if !signed(&log.key, message.as_bytes(), promise) {
                    return not("has a promise that its log did not make");
                }
                let Ok(time) = Timestamp::from_second(seconds) else { return not("is from no time") };
                if time > now {
                    return Err(Fault::Future { at: time });
                }
                if !log.window.covers(time) {
                    return not("is from a time when its log did not count");
                }
                promised = Some(time);
            }
            (LogKind::V1, None) if self.is_bare => return not("has no promise of its log"),
            (LogKind::V1, None) => {}
            (LogKind::V2 { .. }, None) if self.time.is_none() && !self.is_bare => {}
            (LogKind::V2 { .. }, _) => return not("has a promise or a time, which its log does not give"),
        }
        match (&self.inclusion, &log.kind) {
            (Some(inclusion), LogKind::V2 { .. }) if inclusion.index != self.index => return not("is at two places"),
            (Some(inclusion), _) => inclusion.holds(log, &self.body)?,
            (None, _) if self.is_bare => {}
            (None, _) => return not("has no proof of inclusion"),
        }
        if log.window.start > now {
            return not("is in a log that does not count yet");
        }
        Ok(promised)
    }
}

impl Maker<'_> {
    /// Whether this is one PEM, in base64, of the certificate or the key.
    fn is_in_pem(&self, text: &str) -> bool {
        let Ok(pem) = STANDARD.decode(text) else { return false };
        match self {
            Self::Certificate(certificate) => {
                let mut found = CertificateDer::pem_slice_iter(&pem);
                found.next().is_some_and(|der| der.is_ok_and(|der| *der == *certificate.der())) && found.next().is_none()
            }
            Self::Key(key) => {
                let mut found = SubjectPublicKeyInfoDer::pem_slice_iter(&pem);
                found.next().is_some_and(|der| der.is_ok_and(|der| is_key(&der, key))) && found.next().is_none()
            }
        }
    }

    fn is_verifier(&self, verifier: &SecondVerifier) -> bool {
        let (raw, key) = match (self, &verifier.x509_certificate, &verifier.public_key) {
            (Self::Certificate(certificate), Some(Object(raw)), None) => {
                (is_base64(&raw.raw_bytes, certificate.der()), certificate.key())
            }
            (Self::Key(key), None, Some(Object(raw))) => {
                (STANDARD.decode(&raw.raw_bytes).is_ok_and(|der| is_key(&der, key)), *key)
            }
            _ => return false,
        };
        let kind = match key {
            PublicKey::P256(_) => "PKIX_ECDSA_P256_",
            PublicKey::P384(_) => "PKIX_ECDSA_P384_",
            PublicKey::P521(_) => "PKIX_ECDSA_P521_",
            PublicKey::Rsa(_) => "PKIX_RSA_PKCS1V15_",
            PublicKey::Ed25519(_) => "PKIX_ED25519",
        };
        raw && verifier.key_details.starts_with(kind)
    }
}

fn is_key(der: &[u8], key: &PublicKey) -> bool {
    PublicKey::of_spki(der).is_ok_and(|found| found == *key)
}

fn is_sha256(hash: &Hash, bytes: &[u8]) -> bool {
    hash.algorithm == "sha256" && hash.value == Digest::of(bytes).hex()
}

fn is_base64(text: &str, bytes: &[u8]) -> bool {
    STANDARD.decode(text).is_ok_and(|decoded| decoded == bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Into a text it is always written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
