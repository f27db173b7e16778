//! A generator of Notary repositories, valid and otherwise. It shares no code with the verifier: canonical JSON here is
//! `serde_json` over sorted maps, which is the same for the plain texts used.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self as sig, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use img_authz::trust::tuf::Fetch;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

pub const GUN: &str = "reg.example:5000/team/app";
pub const NOW: &str = "2030-06-01T00:00:00Z";
pub const LATER: &str = "2031-01-01T00:00:00Z";
pub const PAST: &str = "2030-05-31T23:59:59Z";

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key that signs.
#[derive(Clone)]
pub struct Key {
    pub kind: String,
    pub public: String,
    pub id: String,
    pub method: &'static str,
    pair: Arc<Pair>,
}

enum Pair {
    P256(sig::EcdsaKeyPair),
    P521(sig::EcdsaKeyPair),
    Ed(sig::Ed25519KeyPair),
    Rsa(sig::RsaKeyPair),
}

pub fn key_id(kind: &str, public: &str) -> String {
    let text = json!({ "keytype": kind, "keyval": { "private": null, "public": public } });
    hex(&Sha256::digest(serde_json::to_vec(&text).unwrap()))
}

/// DER `SEQUENCE { INTEGER r, INTEGER s }` as `r || s`.
fn fixed(der: &[u8], size: usize) -> Vec<u8> {
    fn integer(rest: &mut &[u8], size: usize) -> Vec<u8> {
        assert_eq!(rest[0], 2);
        let length = usize::from(rest[1]);
        let bytes = &rest[2..2 + length];
        let bytes = bytes.strip_prefix(&[0]).unwrap_or(bytes);
        let mut out = vec![0; size - bytes.len()];
        out.extend_from_slice(bytes);
        *rest = &rest[2 + length..];
        out
    }
    let mut rest = if der[1] & 0x80 == 0 { &der[2..] } else { &der[3..] };
    let mut out = integer(&mut rest, size);
    out.extend(integer(&mut rest, size));
    out
}

impl Key {
    fn of(kind: &str, public: &[u8], method: &'static str, pair: Pair) -> Self {
        let public = STANDARD.encode(public);
        Self { kind: kind.to_owned(), id: key_id(kind, &public), public, method, pair: Arc::new(pair) }
    }

    /// `ecdsa` on P-256, as notary makes them.
    pub fn ecdsa() -> Self {
        Self::from_pair(&KeyPair::generate().unwrap())
    }

    pub fn of_pair(pair: &KeyPair) -> Self {
        Self::from_pair(pair)
    }

    fn from_pair(pair: &KeyPair) -> Self {
        let public = pair.subject_public_key_info();
        Self::of("ecdsa", &public, "ecdsa", Pair::of(pair))
    }

    pub fn p521() -> Self {
        Self::from_pair(&KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap())
    }

    pub fn ed25519() -> Self {
        let pair = sig::Ed25519KeyPair::generate().unwrap();
        let public = pair.public_key().as_ref().to_vec();
        Self::of("ed25519", &public, "eddsa", Pair::Ed(pair))
    }

    pub fn rsa(bits: usize, method: &'static str) -> Self {
        static MADE: LazyLock<Mutex<HashMap<usize, Vec<u8>>>> = LazyLock::new(Mutex::default);
        let size = match bits {
            2048 => rcgen::RsaKeySize::_2048,
            _ => rcgen::RsaKeySize::_4096,
        };
        let mut made = MADE.lock().unwrap();
        let der =
            made.entry(bits).or_insert_with(|| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap().serialize_der());
        let pair = KeyPair::try_from(der.as_slice()).unwrap();
        Self::of("rsa", &pair.subject_public_key_info(), method, Pair::Rsa(sig::RsaKeyPair::from_pkcs8(der).unwrap()))
    }

    /// The same private key in a certificate: `ecdsa-x509`.
    pub fn certified(&self, bundle: &str) -> Self {
        let public = STANDARD.encode(bundle);
        let kind = format!("{}-x509", self.kind);
        Self { id: key_id(&kind, &public), kind, public, method: self.method, pair: Arc::clone(&self.pair) }
    }

    /// Under another type or public text, with the id that belongs to it.
    pub fn relabelled(&self, kind: &str, public: &str) -> Self {
        Self { kind: kind.to_owned(), public: public.to_owned(), id: key_id(kind, public), ..self.clone() }
    }

    /// Signing under an id that is another key's.
    pub fn calling_itself(self, id: String) -> Self {
        Self { id, ..self }
    }

    pub fn listed(&self) -> Value {
        json!({ "keytype": self.kind, "keyval": { "private": null, "public": self.public } })
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::P256(pair) => fixed(pair.sign(&random, message).unwrap().as_ref(), 32),
            Pair::P521(pair) => fixed(pair.sign(&random, message).unwrap().as_ref(), 66),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                let padding: &dyn sig::RsaEncoding =
                    if self.method == "rsapss" { &sig::RSA_PSS_SHA256 } else { &sig::RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut out).unwrap();
                out
            }
        }
    }
}

impl Pair {
    fn of(pair: &KeyPair) -> Self {
        let der = pair.serialize_der();
        if let Ok(pair) = sig::EcdsaKeyPair::from_pkcs8(&sig::ECDSA_P256_SHA256_ASN1_SIGNING, &der) {
            return Self::P256(pair);
        }
        Self::P521(sig::EcdsaKeyPair::from_pkcs8(&sig::ECDSA_P521_SHA256_ASN1_SIGNING, &der).unwrap())
    }
}

pub fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

pub fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // In date for a client that goes by the real clock as well.
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2039, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params
}

/// A root key with a self-signed certificate, as notary makes it.
pub fn root_key(name: &str) -> Key {
    root_key_with(&params(name))
}

pub fn root_key_with(params: &CertificateParams) -> Key {
    let pair = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&pair).unwrap();
    Key::from_pair(&pair).certified(&pem(certificate.der()))
}

/// A CA that issues root certificates.
pub struct Authority {
    pub params: CertificateParams,
    pub pair: KeyPair,
    pub pem: String,
}

impl Authority {
    pub fn params(name: &str) -> CertificateParams {
        let mut ca = params(name);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.extended_key_usages = Vec::new();
        ca
    }

    pub fn new(params: CertificateParams) -> Self {
        let pair = KeyPair::generate().unwrap();
        let pem = pem(params.self_signed(&pair).unwrap().der());
        Self { params, pair, pem }
    }

    pub fn below(params: CertificateParams, above: &Self) -> Self {
        let pair = KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&above.params, &above.pair);
        let pem = pem(params.signed_by(&pair, &issuer).unwrap().der());
        Self { params, pair, pem }
    }

    /// A root key whose bundle is the leaf and `behind`.
    pub fn issue(&self, params: &CertificateParams, behind: &str) -> Key {
        let pair = KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&self.params, &self.pair);
        let leaf = params.signed_by(&pair, &issuer).unwrap();
        Key::from_pair(&pair).certified(&format!("{}{behind}", pem(leaf.der())))
    }
}

type Edit = Arc<dyn Fn(&mut Value)>;
type Rewrite = Arc<dyn Fn(Vec<u8>) -> Vec<u8>>;

/// A repository before it is published.
#[derive(Clone)]
pub struct Repo {
    /// Role → signed part. `root`, `timestamp`, `snapshot`, `targets`, and delegations.
    pub signed: BTreeMap<String, Value>,
    /// Role → who signs it.
    pub signers: BTreeMap<String, Vec<Key>>,
    /// Edits of an envelope after signing; its parent lists the edited file.
    pub envelope: Vec<(String, Edit)>,
    /// Edits of the file's bytes; its parent lists the edited bytes.
    pub bytes: Vec<(String, Rewrite)>,
    /// Edits of the parts that depend on other files (`snapshot`, `timestamp`), before they are signed.
    pub listing: Vec<(String, Edit)>,
    /// Older roots, by version, served as `N.root.json`.
    pub old_roots: BTreeMap<u64, Vec<u8>>,
}

/// File name → bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

pub fn role_entry(keys: &[&Key], threshold: u64) -> Value {
    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    json!({ "keyids": ids, "threshold": threshold })
}

pub fn target(content: &str) -> Value {
    json!({ "hashes": { "sha256": STANDARD.encode(Sha256::digest(content)) }, "length": content.len() })
}

pub fn digest(content: &str) -> String {
    format!("sha256:{}", hex(&Sha256::digest(content)))
}

impl Repo {
    /// As `notary init` and `notary addhash 1.0` make it: the tag in `targets`.
    pub fn new(root: Key) -> Self {
        let (targets, snapshot, timestamp) = (Key::ecdsa(), Key::ecdsa(), Key::ecdsa());
        let mut keys = serde_json::Map::new();
        for key in [&root, &targets, &snapshot, &timestamp] {
            keys.insert(key.id.clone(), key.listed());
        }
        let signed = json!({
            "_type": "Root", "version": 1, "expires": LATER, "consistent_snapshot": false, "keys": keys,
            "roles": {
                "root": role_entry(&[&root], 1), "targets": role_entry(&[&targets], 1),
                "snapshot": role_entry(&[&snapshot], 1), "timestamp": role_entry(&[&timestamp], 1),
            },
        });
        let mut repo = Self {
            signed: BTreeMap::new(),
            signers: BTreeMap::new(),
            envelope: Vec::new(),
            bytes: Vec::new(),
            listing: Vec::new(),
            old_roots: BTreeMap::new(),
        };
        repo.signed.insert("root".into(), signed);
        repo.signed.insert("timestamp".into(), json!({ "_type": "Timestamp", "version": 1, "expires": LATER, "meta": {} }));
        repo.signed.insert("snapshot".into(), json!({ "_type": "Snapshot", "version": 1, "expires": LATER, "meta": {} }));
        repo.signed.insert("targets".into(), Self::empty_targets());
        for (role, key) in [("root", root), ("targets", targets), ("snapshot", snapshot), ("timestamp", timestamp)] {
            repo.signers.insert(role.into(), vec![key]);
        }
        repo.signed.get_mut("targets").unwrap()["targets"]["1.0"] = target("one");
        repo
    }

    /// As `docker trust sign` by alice makes it: the tag in `targets/releases` and `targets/alice`.
    pub fn docker(root: Key) -> Self {
        let mut repo = Self::new(root);
        let alice = Key::ecdsa();
        repo.signed.get_mut("targets").unwrap()["targets"] = json!({});
        for role in ["targets/releases", "targets/alice"] {
            repo.delegate(role, std::slice::from_ref(&alice), &[""]);
            repo.signed.get_mut(role).unwrap()["targets"]["1.0"] = target("one");
        }
        repo
    }

    pub fn empty_targets() -> Value {
        json!({ "_type": "Targets", "version": 1, "expires": LATER, "targets": {}, "delegations": { "keys": {}, "roles": [] } })
    }

    /// Delegates `role` from its parent and gives it an empty file.
    pub fn delegate(&mut self, role: &str, keys: &[Key], paths: &[&str]) {
        let parent = role.rsplit_once('/').unwrap().0.to_owned();
        let delegations = &mut self.signed.get_mut(&parent).unwrap()["delegations"];
        for key in keys {
            delegations["keys"][&key.id] = key.listed();
        }
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        let entry = json!({ "name": role, "keyids": ids, "paths": paths, "threshold": 1 });
        delegations["roles"].as_array_mut().unwrap().push(entry);
        self.signed.insert(role.into(), Self::empty_targets());
        self.signers.insert(role.into(), vec![keys[0].clone()]);
    }

    pub fn role(&mut self, role: &str) -> &mut Value {
        self.signed.get_mut(role).unwrap()
    }

    /// Every file one version on, as a later publication is.
    pub fn bump(&mut self) {
        for (role, signed) in &mut self.signed {
            if role != "root" {
                signed["version"] = json!(signed["version"].as_u64().unwrap() + 1);
            }
        }
    }

    /// Gives a base role other keys and threshold.
    pub fn rekey(&mut self, role: &str, keys: &[&Key], threshold: u64) {
        let root = self.role("root");
        for key in keys {
            root["keys"][&key.id] = key.listed();
        }
        root["roles"][role] = role_entry(keys, threshold);
        if role != "root" {
            self.signers.insert(role.into(), keys.iter().map(|key| (*key).clone()).collect());
        }
    }

    pub fn envelope_of(signed: &Value, signers: &[Key]) -> Value {
        let message = serde_json::to_vec(signed).unwrap();
        let signatures: Vec<Value> = signers
            .iter()
            .map(|key| json!({ "keyid": key.id, "method": key.method, "sig": STANDARD.encode(key.sign(&message)) }))
            .collect();
        json!({ "signed": signed, "signatures": signatures })
    }

    fn file(&self, role: &str) -> Vec<u8> {
        let mut envelope = Self::envelope_of(&self.signed[role], &self.signers[role]);
        for (_, edit) in self.envelope.iter().filter(|(name, _)| name == role) {
            edit(&mut envelope);
        }
        let mut bytes = serde_json::to_vec(&envelope).unwrap();
        for (_, rewrite) in self.bytes.iter().filter(|(name, _)| name == role) {
            bytes = rewrite(bytes);
        }
        bytes
    }

    pub fn meta(bytes: &[u8]) -> Value {
        json!({
            "hashes": { "sha256": STANDARD.encode(Sha256::digest(bytes)), "sha512": STANDARD.encode(Sha512::digest(bytes)) },
            "length": bytes.len(),
        })
    }

    /// All files, each listed by its parent.
    pub fn publish(&self) -> Files {
        let mut repo = self.clone();
        let mut files = Files::new();
        let mut meta = serde_json::Map::new();
        let hashed = |role: &str, bytes: &[u8]| format!("{role}.{}.json", hex(&Sha256::digest(bytes)));
        for role in self.signed.keys().filter(|role| role.starts_with("targets") || *role == "root") {
            let bytes = repo.file(role);
            meta.insert(role.clone(), Self::meta(&bytes));
            files.insert(hashed(role, &bytes), bytes.clone());
            files.insert(format!("{role}.json"), bytes);
        }
        repo.role("snapshot")["meta"] = Value::Object(meta);
        for (_, edit) in self.listing.iter().filter(|(role, _)| role == "snapshot") {
            edit(repo.role("snapshot"));
        }
        let snapshot = repo.file("snapshot");
        repo.role("timestamp")["meta"] = json!({ "snapshot": Self::meta(&snapshot) });
        for (_, edit) in self.listing.iter().filter(|(role, _)| role == "timestamp") {
            edit(repo.role("timestamp"));
        }
        files.insert(hashed("snapshot", &snapshot), snapshot.clone());
        files.insert("snapshot.json".into(), snapshot);
        files.insert("timestamp.json".into(), repo.file("timestamp"));
        for (version, raw) in &self.old_roots {
            files.insert(format!("{version}.root.json"), raw.clone());
        }
        files
    }

    /// Rotates the root key: a new version, signed by the old keys and the new one. The old file stays served.
    pub fn rotate_root(&mut self, next: &Key) {
        let old = self.signers["root"].clone();
        let version = self.role("root")["version"].as_u64().unwrap();
        self.old_roots.insert(version, self.file("root"));
        self.rekey("root", &[next], 1);
        self.role("root")["version"] = json!(version + 1);
        let mut signers = vec![next.clone()];
        signers.extend(old.into_iter().take(1));
        self.signers.insert("root".into(), signers);
    }

    pub fn edit_envelope(&mut self, role: &str, edit: impl Fn(&mut Value) + 'static) {
        self.envelope.push((role.into(), Arc::new(edit)));
    }

    pub fn edit_bytes(&mut self, role: &str, edit: impl Fn(Vec<u8>) -> Vec<u8> + 'static) {
        self.bytes.push((role.into(), Arc::new(edit)));
    }

    pub fn edit_listing(&mut self, role: &str, edit: impl Fn(&mut Value) + 'static) {
        self.listing.push((role.into(), Arc::new(edit)));
    }
}

/// A source in memory.
#[derive(Clone)]
pub struct Served(pub Arc<Files>);

impl Fetch for Served {
    type Error = u64;
    const PARALLEL: bool = true;

    async fn fetch(&self, name: String, most: u64) -> Result<Option<Vec<u8>>, u64> {
        match self.0.get(&name) {
            Some(bytes) if bytes.len() as u64 > most => Err(most),
            found => Ok(found.cloned()),
        }
    }
}
