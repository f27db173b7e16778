//! Signatures made here in both envelopes, and attacks, each beside what passes. What the real notation makes is tried on a real engine
//! (test/suite/notation.sh).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RsaEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, DnType, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use serde_json::{Value, json};

use super::*;
use crate::trust::pki::fixture::{Made, Stamping, Wrong, authority, leaf, stampers};

mod chains;
mod envelopes;
mod fetching;
mod lasting;
mod times;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const NOW: &str = "2026-11-30T12:00:00Z";
/// 2026-11-01T00:00:00Z.
const SIGNED_AT: i64 = 1_793_491_200;

fn app() -> Repository {
    "r.example/team/app".parse().unwrap()
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A signer with its chain, a P-256 key.
struct Hand {
    root: Made,
    between: Made,
    leaf: Made,
}

fn named(mut params: CertificateParams, name: &[(DnType, &str)]) -> CertificateParams {
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in name {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params
}

/// A leaf's name.
fn acme() -> Vec<(DnType, &'static str)> {
    vec![
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "WA"),
        (DnType::OrganizationName, "acme"),
        (DnType::CommonName, "release"),
    ]
}

fn signer() -> CertificateParams {
    let mut params = named(leaf("x", (2024, 2030), &[], false), &acme());
    params.custom_extensions.clear();
    params
}

impl Hand {
    fn new() -> Self {
        Self::with(signer())
    }

    fn with(params: CertificateParams) -> Self {
        let root = Made::root(authority("root", (2020, 2040), None));
        let between = root.issue(authority("between", (2020, 2035), Some(0)));
        let leaf = between.issue(params);
        Self { root, between, leaf }
    }

    fn chain(&self) -> Vec<Vec<u8>> {
        [&self.leaf, &self.between, &self.root].map(|made| made.certificate.der().to_vec()).into()
    }

    fn writing(&self) -> Writing<'_> {
        Writing {
            key: &self.leaf.key,
            payload: payload(&artifact()),
            scheme: "notary.x509",
            time: SIGNED_AT,
            expiry: None,
            chain: self.chain(),
            stamp: None,
        }
    }

    /// The verifier's files: this one's root as `ca:acme`.
    fn notation(&self, verification: &str) -> Notation {
        self.of(verification, r#""ca:acme""#, "*")
    }

    fn of(&self, verification: &str, stores: &str, identity: &str) -> Notation {
        let mut files = vec![("ca:acme", &self.root)];
        if stores.contains("signingAuthority") {
            files = vec![("signingAuthority:acme", &self.root)];
        }
        notation(verification, stores, identity, &files, Crls::default())
    }
}

fn notation(verification: &str, stores: &str, identity: &str, files: &[(&str, &Made)], crls: Crls) -> Notation {
    let text = format!(
        r#"{{"version":"1.0","trustPolicies":[{{"name":"a","registryScopes":["{}"],"signatureVerification":{verification},"trustStores":[{stores}],"trustedIdentities":["{identity}"]}}]}}"#,
        app()
    );
    let policy = TrustPolicy::read(&text).unwrap();
    let names: Vec<StoreName> = policy.stores().cloned().collect();
    let pems: Vec<(&StoreName, String)> = files
        .iter()
        .filter_map(|(name, made)| {
            let store = names.iter().find(|store| store.to_string() == *name)?;
            Some((store, pem("CERTIFICATE", made.certificate.der())))
        })
        .collect();
    let stores = TrustStores::read(pems.iter().map(|(store, text)| (*store, "root.pem", text.as_str()))).unwrap();
    Notation::of(policy, stores, crls)
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

const STRICT: &str = r#"{"level":"strict"}"#;
const PERMISSIVE: &str = r#"{"level":"permissive"}"#;

fn artifact() -> Artifact<'static> {
    Artifact { digest: Digest::of(b"manifest"), size: 8, media_type: MANIFEST }
}

fn payload(artifact: &Artifact<'_>) -> String {
    let Artifact { digest, size, media_type } = artifact;
    format!(r#"{{"targetArtifact":{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}}}"#)
}

/// An envelope to be made.
struct Writing<'h> {
    key: &'h KeyPair,
    payload: String,
    scheme: &'static str,
    time: i64,
    expiry: Option<i64>,
    chain: Vec<Vec<u8>>,
    stamp: Option<Vec<u8>>,
}

fn fixed(key: &KeyPair, message: &[u8]) -> Vec<u8> {
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der()).unwrap();
    key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

fn rfc3339(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap().to_string()
}

/// Entries of a CBOR map, each already written.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn cbor(major: u8, number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    cbor::head(&mut out, major, number);
    out
}

fn text(text: &str) -> Vec<u8> {
    [cbor(3, text.len()), text.into()].concat()
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    [cbor(2, bytes.len()), bytes.into()].concat()
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [cbor(4, items.len()), items.concat()].concat()
}

fn map(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let all: Vec<u8> = entries.iter().flat_map(|(key, value)| [key.clone(), value.clone()].concat()).collect();
    [cbor(5, entries.len()), all].concat()
}

fn at(seconds: i64) -> Vec<u8> {
    [cbor(6, 1), cbor(0, usize::try_from(seconds).unwrap())].concat()
}

impl Writing<'_> {
    fn time_label(&self) -> &'static str {
        if self.scheme == "notary.x509" { envelope::SIGNING_TIME } else { envelope::AUTHENTIC_TIME }
    }

    fn critical(&self) -> Vec<&'static str> {
        let mut names = vec![envelope::SCHEME];
        names.extend((self.scheme != "notary.x509").then_some(envelope::AUTHENTIC_TIME));
        names.extend(self.expiry.map(|_| envelope::EXPIRY));
        names
    }

    fn protected(&self) -> Value {
        let mut header = json!({
            "alg": "ES256", "cty": envelope::PAYLOAD, "crit": self.critical(),
            "io.cncf.notary.signingScheme": self.scheme, self.time_label(): rfc3339(self.time),
        });
        if let Some(expiry) = self.expiry {
            header[envelope::EXPIRY] = json!(rfc3339(expiry));
        }
        header
    }

    fn jws(&self) -> Vec<u8> {
        self.jws_with(&self.protected().to_string(), |message| fixed(self.key, message))
    }

    fn jws_with(&self, protected: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let (protected, payload) = (URL_SAFE_NO_PAD.encode(protected), URL_SAFE_NO_PAD.encode(&self.payload));
        let signature = sign(format!("{protected}.{payload}").as_bytes());
        let x5c: Vec<String> = self.chain.iter().map(|der| STANDARD.encode(der)).collect();
        let mut header = json!({ "x5c": x5c, "io.cncf.notary.signingAgent": "a test" });
        if let Some(stamp) = &self.stamp {
            header[envelope::TIMESTAMP] = json!(STANDARD.encode(stamp));
        }
        json!({
            "payload": payload, "protected": protected, "header": header, "signature": URL_SAFE_NO_PAD.encode(signature),
        })
        .to_string()
        .into_bytes()
    }

    fn entries(&self) -> Entries {
        let mut entries = vec![
            (cbor(0, 1), cbor(1, 6)),
            (cbor(0, 2), array(&self.critical().into_iter().map(text).collect::<Vec<_>>())),
            (cbor(0, 3), text(envelope::PAYLOAD)),
            (text(envelope::SCHEME), text(self.scheme)),
            (text(self.time_label()), at(self.time)),
        ];
        entries.extend(self.expiry.map(|expiry| (text(envelope::EXPIRY), at(expiry))));
        entries
    }

    fn unprotected(&self) -> Entries {
        let chain = array(&self.chain.iter().map(|der| bytes(der)).collect::<Vec<_>>());
        let mut entries = vec![(cbor(0, 33), chain)];
        entries.extend(self.stamp.as_ref().map(|stamp| (text(envelope::TIMESTAMP), bytes(stamp))));
        entries
    }

    fn cose(&self) -> Vec<u8> {
        self.cose_with(&map(&self.entries()), &map(&self.unprotected()))
    }

    fn cose_with(&self, protected: &[u8], unprotected: &[u8]) -> Vec<u8> {
        let payload = self.payload.as_bytes();
        let signature = fixed(self.key, &cbor::signed_by_one(protected, payload));
        [vec![0xd2, 0x84], bytes(protected), unprotected.to_vec(), bytes(payload), bytes(&signature)].concat()
    }

    fn in_both(&self) -> [(Kind, Vec<u8>); 2] {
        [(Kind::Jws, self.jws()), (Kind::Cose, self.cose())]
    }
}

impl Notation {
    fn ends(&self, kind: Kind, bytes: &[u8]) -> Result<Good, Unfit> {
        self.judge(&app(), &artifact(), kind, bytes, now())
    }

    /// What comes of it in each envelope, which is the same.
    fn of_both(&self, writing: &Writing<'_>) -> Result<Good, Unfit> {
        let [jws, cose] = writing.in_both().map(|(kind, bytes)| self.ends(kind, &bytes));
        assert_eq!(jws, cose);
        jws
    }
}

/// That it is malformed, with a word of why.
fn is_form(end: Result<Good, Unfit>, word: &str) {
    match end {
        Err(Unfit::Form { cause }) => assert!(cause.contains(word), "{cause}, not {word}"),
        other => panic!("{other:?}, not {word}"),
    }
}
