//! An instance of Sigstore for tests: it issues certificates and shows them to a log, takes signatures into logs of both versions, and stamps them.
//! What it gives is right; tests make it wrong.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, OtherNameValue, SanType, SerialNumber, SigningKey as _, date_time_ymd};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Annotations, Identities, Identity, TrustedRoot};
use crate::image::Digest;
use crate::trust::pki::Certificate;
use crate::trust::pki::fixture::{CODE_SIGNING, Made, Stamping, Wrong, authority, extension, leaf, stampers, tlv};

/// When signatures are made, in each of the spellings that are needed. Certificates are good from a minute before for ten minutes.
pub(in crate::trust) const SECONDS: i64 = 1_780_315_260;
pub(in crate::trust) const STAMPED: &str = "20260601120100Z";
pub(in crate::trust) const SIGNED_AT: &str = "2026-06-01T12:01:00Z";
pub(in crate::trust) const NOW: &str = "2026-11-30T12:00:00Z";
pub(in crate::trust) const ISSUER: &str = "https://issuer.example";
pub(in crate::trust) const SUBJECT: &str = "https://ci.example/acme/app/.github/workflows/release.yml@refs/heads/main";
pub(in crate::trust) const V1: &str = "rekor.example";
pub(in crate::trust) const V2: &str = "log2026.rekor.example";
pub(in crate::trust) const ISSUER_V1: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 1, 1];
pub(in crate::trust) const ISSUER_V2: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 1, 8];
pub(in crate::trust) const SCTS: &[u64] = &[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];

/// A log's leaves.
pub(in crate::trust) struct Tree(pub(in crate::trust) Vec<Vec<u8>>);

impl Tree {
    pub(in crate::trust) fn root(&self) -> Vec<u8> {
        Self::root_of(&self.0)
    }

    /// The hashes from a leaf to the root (RFC 9162, 2.1.3.1).
    pub(in crate::trust) fn path(&self, at: usize) -> Vec<Vec<u8>> {
        Self::path_of(&self.0, at)
    }

    fn root_of(leaves: &[Vec<u8>]) -> Vec<u8> {
        match leaves {
            [one] => Sha256::new().chain_update([0]).chain_update(one).finalize().to_vec(),
            _ => {
                let (left, right) = leaves.split_at(Self::split(leaves.len()));
                let hash = Sha256::new().chain_update([1]).chain_update(Self::root_of(left));
                hash.chain_update(Self::root_of(right)).finalize().to_vec()
            }
        }
    }

    fn path_of(leaves: &[Vec<u8>], at: usize) -> Vec<Vec<u8>> {
        if leaves.len() == 1 {
            return vec![];
        }
        let split = Self::split(leaves.len());
        let (left, right) = leaves.split_at(split);
        let (mut path, beside) = if at < split {
            (Self::path_of(left, at), Self::root_of(right))
        } else {
            (Self::path_of(right, at - split), Self::root_of(left))
        };
        path.push(beside);
        path
    }

    /// The largest power of two below.
    fn split(count: usize) -> usize {
        (count - 1).next_power_of_two() / if (count - 1).is_power_of_two() { 1 } else { 2 }
    }
}

/// All services of one instance.
pub(in crate::trust) struct Instance {
    pub(in crate::trust) fulcio_root: Made,
    pub(in crate::trust) fulcio: Made,
    pub(in crate::trust) rekor: KeyPair,
    pub(in crate::trust) rekor2: Ed25519KeyPair,
    pub(in crate::trust) ct: KeyPair,
    pub(in crate::trust) stampers: (Made, Made, Made),
}

/// Which log takes a signature in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) enum Version {
    /// Rekor v1, with a promise.
    V1,
    /// Rekor v2, beside a timestamp.
    V2,
}

/// Somebody with a certificate, or with a key alone.
pub(in crate::trust) struct Signer {
    pub(in crate::trust) key: KeyPair,
    pub(in crate::trust) certificate: Option<Certificate>,
}

pub(in crate::trust) fn spki(key: &KeyPair) -> Vec<u8> {
    SubjectPublicKeyInfoDer::from_pem_slice(key.public_key_pem().as_bytes()).unwrap().to_vec()
}

pub(in crate::trust) fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

pub(in crate::trust) fn pem(der: &[u8]) -> String {
    let text = base64(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// What DSSE signs.
pub(in crate::trust) fn enveloped(payload: &[u8]) -> Vec<u8> {
    const TYPE: &str = "application/vnd.in-toto+json";
    [format!("DSSEv1 {} {TYPE} {} ", TYPE.len(), payload.len()).as_bytes(), payload].concat()
}

pub(in crate::trust) fn address(subject: &str) -> SanType {
    SanType::URI(subject.try_into().unwrap())
}

pub(in crate::trust) fn mail(subject: &str) -> SanType {
    SanType::Rfc822Name(subject.try_into().unwrap())
}

pub(in crate::trust) fn other_name(subject: &str) -> SanType {
    SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 57264, 1, 7], OtherNameValue::Utf8String(subject.to_owned())))
}

pub(in crate::trust) fn identities(issuer: &str, subject: &str) -> Identities {
    Identities::of(vec![Identity { issuer: issuer.to_owned(), subject: subject.to_owned() }]).unwrap()
}

/// What Fulcio would sign for this name.
pub(in crate::trust) fn holder(name: SanType, issuer: &str) -> CertificateParams {
    let mut params = leaf("signer", (2026, 2027), &[CODE_SIGNING], false);
    params.not_before = date_time_ymd(2026, 6, 1) + Duration::from_hours(12);
    params.not_after = params.not_before + Duration::from_mins(10);
    params.subject_alt_names = vec![name];
    params.serial_number = Some(SerialNumber::from_slice(&[1, 2, 3]));
    params.custom_extensions.push(extension(ISSUER_V1, issuer.as_bytes().to_vec(), false));
    params.custom_extensions.push(extension(ISSUER_V2, tlv(0x0c, &[issuer]), false));
    params
}

impl Instance {
    pub(in crate::trust) fn new() -> Self {
        let fulcio_root = Made::root(authority("sigstore", (2021, 2035), None));
        let fulcio = fulcio_root.issue(authority("sigstore-intermediate", (2022, 2034), Some(0)));
        let (rekor, ct) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        Self { fulcio_root, fulcio, rekor, rekor2: Ed25519KeyPair::generate().unwrap(), ct, stampers: stampers() }
    }

    fn spki2(&self) -> Vec<u8> {
        tlv(0x30, &[tlv(0x30, &[&[6, 3, 0x2b, 0x65, 0x70]]), tlv(3, &[&[&[0][..], self.rekor2.public_key().as_ref()].concat()])])
    }

    pub(in crate::trust) fn id(&self, version: Version) -> Vec<u8> {
        match version {
            Version::V1 => Sha256::digest(spki(&self.rekor)).to_vec(),
            Version::V2 => {
                let hash = Sha256::new().chain_update(V2).chain_update([b'\n', 1]);
                hash.chain_update(self.rekor2.public_key()).finalize().to_vec()
            }
        }
    }

    /// Its `trusted_root.json`.
    pub(in crate::trust) fn root_json(&self) -> Value {
        let log = |url: &str, spki: &[u8], id: &[u8]| {
            json!({
                "baseUrl": format!("https://{url}"),
                "hashAlgorithm": "SHA2_256",
                "publicKey": { "rawBytes": base64(spki), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": { "start": "2022-01-01T00:00:00Z" } },
                "logId": { "keyId": base64(id) },
            })
        };
        let authority = |url: &str, chain: &[&Made]| {
            let certificates: Vec<Value> = chain.iter().map(|one| json!({ "rawBytes": base64(one.certificate.der()) })).collect();
            json!({
                "subject": { "organization": "example" },
                "uri": url,
                "certChain": { "certificates": certificates },
                "validFor": { "start": "2022-01-01T00:00:00.000Z", "end": "2034-01-01T00:00:00Z" },
            })
        };
        let ct = spki(&self.ct);
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [
                log(V1, &spki(&self.rekor), &self.id(Version::V1)),
                log(V2, &self.spki2(), &self.id(Version::V2)),
            ],
            "certificateAuthorities": [authority("https://fulcio.example", &[&self.fulcio, &self.fulcio_root])],
            "ctlogs": [log("ct.example", &ct, &Sha256::digest(&ct))],
            "timestampAuthorities": [
                authority("https://stamps.example", &[&self.stampers.2, &self.stampers.1, &self.stampers.0]),
            ],
        })
    }

    pub(in crate::trust) fn root(&self) -> TrustedRoot {
        TrustedRoot::read(&self.root_json().to_string()).unwrap()
    }

    /// Somebody with a key that nobody issued anything for.
    pub(in crate::trust) fn keyed() -> Signer {
        Signer { key: KeyPair::generate().unwrap(), certificate: None }
    }

    /// Somebody with the usual name.
    pub(in crate::trust) fn signer(&self) -> Signer {
        self.certified(&holder(address(SUBJECT), ISSUER))
    }

    /// Somebody with a certificate, which was shown to the log.
    pub(in crate::trust) fn certified(&self, params: &CertificateParams) -> Signer {
        Self::certified_by(&self.fulcio, params, |tbs| Some(self.scts(&self.fulcio.certificate, tbs)))
    }

    /// The same by another issuer, with other words of logs.
    pub(in crate::trust) fn certified_by(
        issuer: &Made,
        params: &CertificateParams,
        scts: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> Signer {
        let key = KeyPair::generate().unwrap();
        let before = Certificate::read(&issuer.signed(params, &key)).unwrap();
        let mut params = params.clone();
        params.custom_extensions.extend(scts(before.tbs()).map(|scts| extension(SCTS, scts, false)));
        let certificate = Certificate::read(&issuer.signed(&params, &key)).unwrap();
        Signer { key, certificate: Some(certificate) }
    }

    /// What the log of certificates says of one: the value of the extension.
    pub(in crate::trust) fn scts(&self, issuer: &Certificate, tbs: &[u8]) -> Vec<u8> {
        let time = u64::try_from(SECONDS * 1000).unwrap().to_be_bytes();
        let length = u32::try_from(tbs.len()).unwrap().to_be_bytes();
        let issuer = Sha256::digest(issuer.spki());
        let signature = self.ct.sign(&[&[0, 0][..], &time, &[0, 1], &issuer, &length[1..], tbs, &[0, 0]].concat()).unwrap();
        let field = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        let id = Sha256::digest(spki(&self.ct));
        let sct = [&[0][..], &id, &time, &[0, 0, 4, 3], &field(&signature)].concat();
        tlv(4, &[field(&field(&sct))])
    }

    /// An entry of a log, as a bundle has it. Others are in that log too.
    pub(in crate::trust) fn entry(&self, version: Version, body: &Value) -> Value {
        let (kind, of) = (body["kind"].clone(), body["apiVersion"].clone());
        let body = body.to_string();
        let mut leaves: Vec<Vec<u8>> = (0..11).map(|number| vec![number; 3]).collect();
        leaves[6] = body.as_bytes().to_vec();
        let tree = Tree(leaves);
        let (name, origin) = match version {
            Version::V1 => (V1, format!("{V1} - 1234567890")),
            Version::V2 => (V2, V2.to_owned()),
        };
        let said = format!("{origin}\n11\n{}\n", base64(tree.root()));
        let note = format!("{said}\n\u{2014} {name} {}\n", base64(self.noted(version, &said)));
        let path: Vec<String> = tree.path(6).iter().map(base64).collect();
        let id = self.id(version);
        let mut entry = json!({
            "logIndex": "6",
            "logId": { "keyId": base64(&id) },
            "kindVersion": { "kind": kind, "version": of },
            "inclusionProof": {
                "logIndex": "6",
                "rootHash": base64(tree.root()),
                "treeSize": "11",
                "hashes": path,
                "checkpoint": { "envelope": note },
            },
            "canonicalizedBody": base64(&body),
        });
        if version == Version::V1 {
            // Of all its shards.
            entry["logIndex"] = "1006".into();
            entry["integratedTime"] = SECONDS.to_string().into();
            entry["inclusionPromise"] = json!({ "signedEntryTimestamp": base64(self.promised(&body, 1006, SECONDS)) });
        }
        entry
    }

    /// A log's signature of a note, with the hint in front.
    pub(in crate::trust) fn noted(&self, version: Version, said: &str) -> Vec<u8> {
        let signature = match version {
            Version::V1 => self.rekor.sign(said.as_bytes()).unwrap(),
            Version::V2 => self.rekor2.sign(said.as_bytes()).as_ref().to_vec(),
        };
        [&self.id(version)[..4], &signature].concat()
    }

    /// The log's promise.
    pub(in crate::trust) fn promised(&self, body: &str, index: u64, seconds: i64) -> Vec<u8> {
        let id = Digest::of(&spki(&self.rekor)).hex();
        let body = base64(body);
        let message = format!(r#"{{"body":"{body}","integratedTime":{seconds},"logID":"{id}","logIndex":{index}}}"#);
        self.rekor.sign(message.as_bytes()).unwrap()
    }

    /// A timestamp of a signature.
    pub(in crate::trust) fn stamp(&self, signature: &[u8], at: &str) -> Vec<u8> {
        let (_, _, signer) = &self.stampers;
        Stamping { signer, message: signature, at, embedded: vec![], wrong: Wrong::Nothing }.answer()
    }

    /// A bundle of a statement that is signed.
    pub(in crate::trust) fn bundle(&self, signer: &Signer, version: Version, statement: &[u8]) -> Value {
        let signature = signer.key.sign(&enveloped(statement)).unwrap();
        let body = match version {
            Version::V1 => signer.body_of_envelope(statement, &signature),
            Version::V2 => signer.body_v2(&enveloped(statement), &signature),
        };
        let mut material = json!({ "tlogEntries": [self.entry(version, &body)] });
        match &signer.certificate {
            Some(certificate) => material["certificate"] = json!({ "rawBytes": base64(certificate.der()) }),
            None => material["publicKey"] = json!({ "hint": base64(Sha256::digest(spki(&signer.key))) }),
        }
        if version == Version::V2 {
            let stamp = base64(self.stamp(&signature, STAMPED));
            material["timestampVerificationData"] = json!({ "rfc3161Timestamps": [{ "signedTimestamp": stamp }] });
        }
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": base64(statement),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{ "sig": base64(&signature) }],
            },
        })
    }

    /// What cosign 2 keeps of a payload that is signed: the signature, and what lies in the annotations.
    pub(in crate::trust) fn annotations(&self, signer: &Signer, payload: &[u8]) -> (Vec<u8>, Annotations) {
        let signature = signer.key.sign(payload).unwrap();
        let body = signer.body_of_hash(payload, &signature);
        let annotations = self.promised_beside(signer, &body);
        (signature, annotations)
    }

    /// The same of a statement in an envelope.
    pub(in crate::trust) fn annotations_of_envelope(&self, signer: &Signer, statement: &[u8]) -> (Vec<u8>, Annotations) {
        let signature = signer.key.sign(&enveloped(statement)).unwrap();
        let body = signer.body_of_envelope(statement, &signature);
        let annotations = self.promised_beside(signer, &body);
        (signature, annotations)
    }

    fn promised_beside(&self, signer: &Signer, body: &Value) -> Annotations {
        let body = body.to_string();
        let promise = base64(self.promised(&body, 1006, SECONDS));
        let entry = json!({
            "SignedEntryTimestamp": promise,
            "Payload": {
                "body": base64(&body),
                "integratedTime": SECONDS,
                "logIndex": 1006,
                "logID": Digest::of(&spki(&self.rekor)).hex(),
            },
        });
        let chain =
            signer.certificate.as_ref().map(|_| [&self.fulcio, &self.fulcio_root].map(|one| pem(one.certificate.der())).concat());
        let certificate = signer.certificate.as_ref().map(|certificate| pem(certificate.der()));
        Annotations { certificate, chain, entry: Some(entry.to_string()), stamp: None }
    }
}

impl Signer {
    fn pem(&self) -> String {
        self.certificate.as_ref().map_or_else(|| self.key.public_key_pem(), |certificate| pem(certificate.der()))
    }

    /// `hashedrekord` 0.0.1.
    pub(in crate::trust) fn body_of_hash(&self, payload: &[u8], signature: &[u8]) -> Value {
        json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": { "hash": { "algorithm": "sha256", "value": Digest::of(payload).hex() } },
                "signature": { "content": base64(signature), "publicKey": { "content": base64(self.pem()) } },
            },
        })
    }

    /// `dsse` 0.0.1.
    pub(in crate::trust) fn body_of_envelope(&self, payload: &[u8], signature: &[u8]) -> Value {
        json!({
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": { "algorithm": "sha256", "value": "00" },
                "payloadHash": { "algorithm": "sha256", "value": Digest::of(payload).hex() },
                "signatures": [{ "signature": base64(signature), "verifier": base64(self.pem()) }],
            },
        })
    }

    /// `hashedrekord` 0.0.2.
    pub(in crate::trust) fn body_v2(&self, signed: &[u8], signature: &[u8]) -> Value {
        let mut verifier = json!({ "keyDetails": "PKIX_ECDSA_P256_SHA_256" });
        match &self.certificate {
            Some(certificate) => verifier["x509Certificate"] = json!({ "rawBytes": base64(certificate.der()) }),
            None => verifier["publicKey"] = json!({ "rawBytes": base64(spki(&self.key)) }),
        }
        json!({
            "apiVersion": "0.0.2",
            "kind": "hashedrekord",
            "spec": {
                "hashedRekordV002": {
                    "data": { "algorithm": "SHA2_256", "digest": base64(Sha256::digest(signed)) },
                    "signature": { "content": base64(signature), "verifier": verifier },
                },
            },
        })
    }
}
