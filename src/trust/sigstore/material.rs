//! What lies beside a signature to prove it: in a bundle, or in the annotations that cosign 2 writes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::de::{IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use super::checkpoint::{Inclusion, number};
use super::entry::Entry;
use super::fault::Fault;
use crate::text::fit;
use crate::trust::object::{self, Few, Object};

/// Most entries and timestamps of one signature, and most certificates that come with one.
const ENTRIES: usize = 8;
const STAMPS: usize = 8;
const CERTIFICATES: usize = 8;
/// Most hashes of a proof, before anything of it is decoded.
const HASHES: usize = 64;

/// What proves a signature, decoded. That any of it holds is not known yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::trust) struct Material {
    /// The signer's certificate, DER; `None`: it is made with a key.
    pub(super) certificate: Option<Vec<u8>>,
    /// Certificates that came along, DER. They may lead to an authority, and are none.
    pub(super) intermediates: Vec<Vec<u8>>,
    pub(super) entries: Vec<Entry>,
    /// Timestamps, DER.
    pub(super) stamps: Vec<Vec<u8>>,
}

/// A bundle's `verificationMaterial`, as protobuf writes JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::trust) struct WrittenMaterial {
    certificate: Option<Object<Raw>>,
    x509_certificate_chain: Option<IgnoredAny>,
    public_key: Option<IgnoredAny>,
    #[serde(default)]
    tlog_entries: Few<Object<WrittenEntry>, ENTRIES>,
    timestamp_verification_data: Option<Object<Stamps>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    raw_bytes: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stamps {
    #[serde(default)]
    rfc3161_timestamps: Few<Object<Stamp>, STAMPS>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stamp {
    signed_timestamp: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenEntry {
    #[serde(default)]
    log_index: Number,
    log_id: Object<LogId>,
    kind_version: Object<Kind>,
    #[serde(default)]
    integrated_time: Number,
    inclusion_promise: Option<Object<Promise>>,
    inclusion_proof: Option<Object<Proof>>,
    canonicalized_body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogId {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kind {
    kind: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Promise {
    signed_entry_timestamp: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Proof {
    #[serde(default)]
    log_index: Number,
    root_hash: String,
    tree_size: Number,
    #[serde(default)]
    hashes: Few<String, HASHES>,
    checkpoint: Object<Checkpoint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    envelope: String,
}

/// 64 bits: protobuf writes a text; absent is zero.
enum Number {
    Text(String),
    Plain(u64),
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfNumber)
    }
}

struct OfNumber;

impl Visitor<'_> for OfNumber {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
        Ok(Number::Plain(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Number, E> {
        Ok(Number::Text(text.to_owned()))
    }
}

impl Default for Number {
    fn default() -> Self {
        Self::Plain(0)
    }
}

impl Number {
    fn value(&self) -> Result<u64, Fault> {
        match self {
            Self::Text(text) => number(text).ok_or_else(|| Fault::form(format!("`{}` is not a number", fit(text, 40)))),
            Self::Plain(number) => Ok(*number),
        }
    }
}

/// What cosign 2 writes into the annotations of a layer, where it does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::trust) struct Annotations {
    /// `dev.sigstore.cosign/certificate`: PEM.
    pub(in crate::trust) certificate: Option<String>,
    /// `dev.sigstore.cosign/chain`: PEM.
    pub(in crate::trust) chain: Option<String>,
    /// `dev.sigstore.cosign/bundle`: an entry of a log with its promise, JSON.
    pub(in crate::trust) entry: Option<String>,
    /// `dev.sigstore.cosign/rfc3161timestamp`: JSON.
    pub(in crate::trust) stamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Promised {
    signed_entry_timestamp: String,
    payload: Object<PromisedPayload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PromisedPayload {
    body: String,
    integrated_time: u64,
    log_index: u64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamped {
    #[serde(rename = "SignedRFC3161Timestamp")]
    stamp: String,
}

impl Material {
    /// What a bundle has. Exactly one of a certificate and a key's hint stands there; the hint is no evidence.
    pub(in crate::trust) fn of_bundle(written: WrittenMaterial) -> Result<Self, Fault> {
        let certificate = match (written.certificate, written.public_key, written.x509_certificate_chain) {
            (Some(Object(raw)), None, None) => Some(base64(&raw.raw_bytes)?),
            (None, Some(_), None) => None,
            _ => return Err(Fault::form("it names no key and no certificate, or more than one")),
        };
        let Few(stamps) = written.timestamp_verification_data.map(|Object(stamps)| stamps.rfc3161_timestamps).unwrap_or_default();
        let entries = written.tlog_entries.0.into_iter().map(|Object(entry)| entry.read()).collect::<Result<_, _>>()?;
        let stamps = stamps.iter().map(|Object(stamp)| base64(&stamp.signed_timestamp)).collect::<Result<_, _>>()?;
        Ok(Self { certificate, intermediates: Vec::new(), entries, stamps })
    }

    /// What annotations have.
    pub(in crate::trust) fn of_annotations(annotations: &Annotations) -> Result<Self, Fault> {
        let Annotations { certificate, chain, entry, stamp } = annotations;
        let certificate = match certificate.as_deref().map(certificates).transpose()?.as_deref() {
            None => None,
            Some([one]) => Some(one.clone()),
            Some(_) => return Err(Fault::form("its certificate is not one certificate")),
        };
        let intermediates = chain.as_deref().map(certificates).transpose()?.unwrap_or_default();
        let entries = entry.as_deref().map(promised).transpose()?.into_iter().collect();
        let stamps = match stamp {
            Some(text) => {
                let stamped: Stamped = object::read(text.as_bytes()).map_err(Fault::form)?;
                vec![base64(&stamped.stamp)?]
            }
            None => Vec::new(),
        };
        Ok(Self { certificate, intermediates, entries, stamps })
    }

    /// Whether it is made with a certificate.
    pub(in crate::trust) const fn has_certificate(&self) -> bool {
        self.certificate.is_some()
    }
}

impl WrittenEntry {
    fn read(self) -> Result<Entry, Fault> {
        let inclusion = self.inclusion_proof.map(|Object(proof)| proof.read()).transpose()?;
        let promise = self.inclusion_promise.map(|Object(promise)| base64(&promise.signed_entry_timestamp)).transpose()?;
        let seconds = self.integrated_time.value()?;
        let time = i64::try_from(seconds).map_err(|_| Fault::form("its time is none"))?;
        Ok(Entry {
            log: base64(&self.log_id.0.key_id)?,
            index: self.log_index.value()?,
            kind: Some((self.kind_version.0.kind, self.kind_version.0.version)),
            time: (time > 0).then_some(time),
            promise,
            inclusion,
            is_bare: false,
            body: base64(&self.canonicalized_body)?,
        })
    }
}

impl Proof {
    fn read(self) -> Result<Inclusion, Fault> {
        Ok(Inclusion {
            index: self.log_index.value()?,
            size: self.tree_size.value()?,
            root: base64(&self.root_hash)?,
            path: self.hashes.0.iter().map(|hash| base64(hash)).collect::<Result<_, _>>()?,
            note: self.checkpoint.0.envelope,
        })
    }
}

/// An entry with the log's promise, which is all that cosign 2 kept of it.
fn promised(text: &str) -> Result<Entry, Fault> {
    let Promised { signed_entry_timestamp, payload: Object(payload) } = object::read(text.as_bytes()).map_err(Fault::form)?;
    let hex = payload.log_id.as_bytes();
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? * 16 + digit(low)?),
        _ => None,
    };
    let log = hex.chunks(2).map(pair).collect::<Option<Vec<u8>>>();
    Ok(Entry {
        log: log.ok_or_else(|| Fault::form("its log has no id"))?,
        index: payload.log_index,
        kind: None,
        time: i64::try_from(payload.integrated_time).ok(),
        promise: Some(base64(&signed_entry_timestamp)?),
        inclusion: None,
        is_bare: true,
        body: base64(&payload.body)?,
    })
}

/// The certificates of a PEM.
fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, Fault> {
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        if found.len() >= CERTIFICATES {
            return Err(Fault::form("it has more certificates than are looked at"));
        }
        found.push(der.map_err(|_| Fault::form("its certificate is not PEM"))?.to_vec());
    }
    Ok(found)
}

fn base64(text: &str) -> Result<Vec<u8>, Fault> {
    STANDARD.decode(text).map_err(|_| Fault::form("it is not standard base64"))
}
