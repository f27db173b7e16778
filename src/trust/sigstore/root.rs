//! The trusted root (`trusted_root.json`): whose certificates, logs and timestamps count, and when. The operator supplies it; nothing here
//! fetches one. Read strictly: one that says two things is a fault as a whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::text::fit;
use crate::trust::object::{self, Object};
use crate::trust::pki::{Certificate, rsa_spki};
use crate::trust::public_key::PublicKey;

/// Largest file, bytes. The public one has seven thousand.
pub const ROOT_BYTES: usize = 1 << 20;
/// Most entries of each kind, and most certificates of one chain.
const ENTRIES: usize = 64;
const CHAIN: usize = 16;
const MEDIA_TYPES: [&str; 3] = [
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot.v0.1+json",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
];
/// Keys that are written as PKCS#1 has them.
const BARE_RSA: &str = "PKCS1_RSA_";
/// Of a note's key, in what its id is a hash of: Ed25519.
const NOTE_ED25519: u8 = 1;

/// Whose word counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRoot {
    /// Transparency logs (Rekor).
    pub logs: Vec<Log>,
    /// Who issues certificates (Fulcio).
    pub authorities: Vec<Authority>,
    /// Logs of certificates.
    pub ct_logs: Vec<Log>,
    /// Who issues timestamps.
    pub stampers: Vec<Authority>,
}

/// When something counts; both ends do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From when on.
    pub start: Timestamp,
    /// Until when; `None`: it is still in use.
    pub end: Option<Timestamp>,
}

/// A log and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Where it is, for people; its host is what its notes are signed as.
    pub url: String,
    /// The hash by which others name it.
    pub id: [u8; 32],
    /// When it counts.
    pub window: Window,
    pub(super) key: PublicKey,
    pub(super) kind: LogKind,
}

/// How a log proves what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogKind {
    /// Rekor v1, and logs of certificates: the id is the key's hash.
    V1,
    /// Rekor v2: the id is of the origin too, which is this.
    V2 { origin: String },
}

/// Somebody who issues certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Where it is, for people.
    pub url: String,
    /// When it counts.
    pub window: Window,
    /// Its certificates, the last one trusted.
    pub(in crate::trust) chain: Vec<Certificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    media_type: String,
    #[serde(default)]
    tlogs: Vec<Object<WrittenLog>>,
    #[serde(default)]
    certificate_authorities: Vec<Object<WrittenAuthority>>,
    #[serde(default)]
    ctlogs: Vec<Object<WrittenLog>>,
    #[serde(default)]
    timestamp_authorities: Vec<Object<WrittenAuthority>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenLog {
    #[serde(default)]
    base_url: String,
    public_key: Object<WrittenKey>,
    log_id: Option<Object<LogId>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenKey {
    raw_bytes: String,
    #[serde(default)]
    key_details: String,
    valid_for: Option<Object<Range>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogId {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenAuthority {
    #[serde(default)]
    uri: String,
    cert_chain: Object<Chain>,
    valid_for: Option<Object<Range>>,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<Object<Raw>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    raw_bytes: String,
}

#[derive(Deserialize)]
struct Range {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

impl Window {
    /// Whether it counts at this time.
    #[must_use]
    pub fn covers(&self, at: Timestamp) -> bool {
        self.start <= at && self.end.is_none_or(|end| at <= end)
    }

    fn read(range: Option<&Object<Range>>) -> Result<Self, String> {
        let Some(&Object(Range { start: Some(start), end })) = range else {
            return Err("does not say from when on it counts".into());
        };
        if end.is_some_and(|end| end < start) {
            return Err("ends before it begins".into());
        }
        Ok(Self { start, end })
    }
}

impl Log {
    fn read(written: WrittenLog, kind: Use) -> Result<Self, String> {
        let Object(key) = written.public_key;
        let raw = base64(&key.raw_bytes)?;
        // An older way to write RSA keys, without what kind of key it is.
        let spki = if key.key_details.starts_with(BARE_RSA) { rsa_spki(&raw).map_err(|fault| fault.to_string())? } else { raw };
        let window = Window::read(key.valid_for.as_ref())?;
        let public = PublicKey::of_spki(&spki).map_err(|fault| format!("has a key that {fault}"))?;
        let Some(Object(LogId { key_id })) = written.log_id else { return Err("has no id".into()) };
        let id: [u8; 32] = base64(&key_id)?.try_into().map_err(|_| "has an id that is not a SHA-256")?;
        let kind = if id == <[u8; 32]>::from(Sha256::digest(&spki)) {
            LogKind::V1
        } else {
            let origin = match (&public, kind) {
                (PublicKey::Ed25519(key), Use::Transparency) => {
                    origins(&written.base_url).find(|origin| id == note_id(origin, key)).map(str::to_owned)
                }
                _ => None,
            };
            LogKind::V2 { origin: origin.ok_or("has an id that is not its key's")? }
        };
        Ok(Self { url: written.base_url, id, window, key: public, kind })
    }

    /// What it signs its notes as may be one of these.
    pub(super) fn is_called(&self, name: &str) -> bool {
        match &self.kind {
            LogKind::V1 => origins(&self.url).any(|origin| origin == name),
            LogKind::V2 { origin } => origin == name,
        }
    }

    /// Its id as the root has it.
    #[must_use]
    pub fn id_text(&self) -> String {
        STANDARD.encode(self.id)
    }

    /// Which of the two ways of proving it goes by.
    #[must_use]
    pub const fn version(&self) -> u8 {
        match self.kind {
            LogKind::V1 => 1,
            LogKind::V2 { .. } => 2,
        }
    }
}

/// What kind of log an entry of the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Transparency,
    Certificates,
}

/// What a log at this address may call itself: host, host and port, and these with the path.
fn origins(url: &str) -> impl Iterator<Item = &str> {
    let whole = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    let authority = whole.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    [host, authority, whole].into_iter().filter(|origin| !origin.is_empty())
}

/// The id of a note's key (Go, x/mod/sumdb/note), not cut.
fn note_id(origin: &str, key: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(origin);
    hash.update([b'\n', NOTE_ED25519]);
    hash.update(key);
    hash.finalize().into()
}

impl Authority {
    fn read(written: WrittenAuthority) -> Result<Self, String> {
        let Object(Chain { certificates }) = written.cert_chain;
        if certificates.is_empty() || certificates.len() > CHAIN {
            return Err(format!("has no certificate, or more than {CHAIN}"));
        }
        let read = |Object(raw): &Object<Raw>| {
            Certificate::read(&base64(&raw.raw_bytes)?).map_err(|fault| format!("has a certificate that {fault}"))
        };
        let chain = certificates.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { url: written.uri, window: Window::read(written.valid_for.as_ref())?, chain })
    }

    /// How many certificates it has.
    #[must_use]
    pub const fn certificates(&self) -> usize {
        self.chain.len()
    }

    /// The last time at which all of its certificates are valid.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.chain.iter().map(Certificate::until).min()
    }
}

impl TrustedRoot {
    /// What a file says; else everything that is wrong with it, each with its place.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        if text.len() > ROOT_BYTES {
            return Err(vec![format!("it has more than {ROOT_BYTES} bytes")]);
        }
        let written: Written =
            object::read(text.as_bytes()).map_err(|fault| vec![format!("it is not a trusted root: {fault}")])?;
        let mut faults = Vec::new();
        if !MEDIA_TYPES.contains(&&*written.media_type) {
            faults.push(format!("its mediaType is `{}`, not that of a trusted root", fit(&written.media_type, 60)));
        }
        let root = Self {
            logs: each("tlogs", written.tlogs, |log| Log::read(log, Use::Transparency), &mut faults),
            authorities: each("certificateAuthorities", written.certificate_authorities, Authority::read, &mut faults),
            ct_logs: each("ctlogs", written.ctlogs, |log| Log::read(log, Use::Certificates), &mut faults),
            stampers: each("timestampAuthorities", written.timestamp_authorities, Authority::read, &mut faults),
        };
        for (kind, logs) in [("tlogs", &root.logs), ("ctlogs", &root.ct_logs)] {
            for (at, log) in logs.iter().enumerate() {
                if logs.iter().take(at).any(|earlier| earlier.id == log.id) {
                    faults.push(format!("{kind}[{at}] has the id of another"));
                }
            }
        }
        if root.logs.is_empty() && faults.is_empty() {
            faults.push("it has no transparency log (tlogs): no signature could be proven".to_owned());
        }
        if faults.is_empty() { Ok(root) } else { Err(faults) }
    }

    /// What signers with certificates need and it has not.
    #[must_use]
    pub fn lacks(&self) -> Option<&'static str> {
        if self.authorities.is_empty() {
            return Some("no certificate authority (certificateAuthorities)");
        }
        self.ct_logs.is_empty().then_some("no log of certificates (ctlogs)")
    }

    /// When its youngest log began.
    #[must_use]
    pub fn youngest(&self) -> Option<Timestamp> {
        self.logs.iter().map(|log| log.window.start).max()
    }

    pub(super) fn log(&self, id: &[u8]) -> Option<&Log> {
        self.logs.iter().find(|log| log.id == id)
    }
}

fn each<W, T>(kind: &str, written: Vec<Object<W>>, read: impl Fn(W) -> Result<T, String>, faults: &mut Vec<String>) -> Vec<T> {
    if written.len() > ENTRIES {
        faults.push(format!("it has more than {ENTRIES} {kind}"));
        return Vec::new();
    }
    let all = written.into_iter().enumerate();
    all.filter_map(|(at, Object(one))| read(one).map_err(|fault| faults.push(format!("{kind}[{at}] {fault}"))).ok()).collect()
}

fn base64(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|_| "has bytes that are not standard base64".to_owned())
}
