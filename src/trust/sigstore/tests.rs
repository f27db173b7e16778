//! Signatures that are proven, and beside each what is wrong with one that is not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use proptest::prelude::*;
use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose, SigningKey as _, date_time_ymd};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::fixture::*;
use super::*;
use crate::trust::object;
use crate::trust::pki::Certificate;
use crate::trust::pki::fixture::{
    CODE_SIGNING, EKU, Made, Stamping, TIME_STAMPING, Wrong, authority, extension, oid, stampers, tlv,
};
use crate::trust::public_key::PublicKey;

mod carriers;
mod certificates;
mod conformance;
mod logs;
mod roots;
mod times;

const STATEMENT: &[u8] = b"{\"a\":\"statement\"}";

/// A bundle, and by what it is judged.
struct Case {
    instance: Instance,
    root: Value,
    bundle: Value,
    identities: Identities,
    now: Timestamp,
}

impl Case {
    fn of(version: Version) -> Self {
        let instance = Instance::new();
        let signer = instance.signer();
        Self::signed_by(instance, &signer, version)
    }

    fn signed_by(instance: Instance, signer: &Signer, version: Version) -> Self {
        let bundle = instance.bundle(signer, version, STATEMENT);
        let (root, identities) = (instance.root_json(), identities(ISSUER, SUBJECT));
        Self { instance, root, bundle, identities, now: NOW.parse().unwrap() }
    }

    fn decoded(&self, pointer: &str) -> Vec<u8> {
        STANDARD.decode(self.bundle.pointer(pointer).unwrap().as_str().unwrap()).unwrap()
    }

    fn signature(&self) -> Vec<u8> {
        self.decoded("/dsseEnvelope/signatures/0/sig")
    }

    fn entry(&mut self) -> &mut Value {
        &mut self.bundle["verificationMaterial"]["tlogEntries"][0]
    }

    /// The log takes in another body in place of the signature's.
    fn logged(&mut self, version: Version, change: impl FnOnce(&mut Value)) {
        let mut body: Value =
            serde_json::from_slice(&self.decoded("/verificationMaterial/tlogEntries/0/canonicalizedBody")).unwrap();
        change(&mut body);
        let entry = self.instance.entry(version, &body);
        *self.entry() = entry;
    }

    fn stamped(&mut self, stamps: &[Vec<u8>]) {
        let stamps: Vec<Value> = stamps.iter().map(|stamp| json!({ "signedTimestamp": base64(stamp) })).collect();
        self.bundle["verificationMaterial"]["timestampVerificationData"] = json!({ "rfc3161Timestamps": stamps });
    }

    /// What the note says is signed again.
    fn noted(&mut self, version: Version, said: &str, name: &str) {
        let note = format!("{said}\n\u{2014} {name} {}\n", base64(self.instance.noted(version, said)));
        self.entry()["inclusionProof"]["checkpoint"]["envelope"] = note.into();
    }

    fn candidate<T>(&self, judge: impl FnOnce(&TrustedRoot, &Candidate<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let root = TrustedRoot::read(&self.root.to_string()).map_err(|faults| Fault::form(faults.join("; ")))?;
        let written: WrittenMaterial =
            object::read(self.bundle["verificationMaterial"].to_string().as_bytes()).map_err(Fault::form)?;
        let material = Material::of_bundle(written)?;
        let payload = self.decoded("/dsseEnvelope/payload");
        let (signed, signature) = (enveloped(&payload), self.signature());
        judge(&root, &Candidate { signed: &signed, payload: Some(&payload), signature: &signature, material: &material })
    }

    fn judged(&self) -> Result<Proven, Fault> {
        self.candidate(|root, candidate| by_identity(root, &self.identities, candidate, self.now))
    }

    fn refused(&self, what: &str) -> Fault {
        match self.judged() {
            Err(fault) => fault,
            Ok(proven) => panic!("{what}: {proven:?}"),
        }
    }
}

fn by_identity(root: &TrustedRoot, names: &Identities, candidate: &Candidate<'_>, now: Timestamp) -> Result<Proven, Fault> {
    let holder = names.holder(candidate.material)?;
    let certified = root.certified(holder, candidate, &mut Known::default(), &mut |_| true)?;
    let certified = certified.ok_or_else(|| Fault::form("nothing was left"))?;
    root.by_holder(&certified, now, &mut |_| true)?.ok_or_else(|| Fault::form("nothing was left"))
}

fn by_key(root: &TrustedRoot, key: &PublicKey, candidate: &Candidate<'_>, now: Timestamp) -> Result<Proven, Fault> {
    root.by_key(key, candidate, now, &mut |_| true)?.ok_or_else(|| Fault::form("nothing was left"))
}

#[test]
fn a_signature_is_proven_by_either_log() {
    for (version, index) in [(Version::V1, 1006), (Version::V2, 6)] {
        let proven = Case::of(version).judged().unwrap();
        let by = format!("{SUBJECT} (issuer {ISSUER})");
        assert_eq!(proven, Proven { by: Some(by), at: Some(SIGNED_AT.parse().unwrap()), index });
    }
    // Long after the certificate has run out, and with names of each kind.
    for (name, pattern) in
        [(mail("a@x.example"), "*@x.example"), (other_name("bot"), "bot"), (address(SUBJECT), "https://ci.example/acme/*")]
    {
        let instance = Instance::new();
        let signer = instance.certified(&holder(name, ISSUER));
        let case = Case { identities: identities(ISSUER, pattern), ..Case::signed_by(instance, &signer, Version::V1) };
        assert!(case.judged().is_ok(), "{pattern}");
    }
}

type Change = fn(&mut Case);
type ChangeRoot = fn(&mut Value);

fn all_are_refused(version: Version, cases: &[(&str, &str, Change)]) {
    assert!(Case::of(version).judged().is_ok());
    for (what, why, change) in cases {
        let mut case = Case::of(version);
        change(&mut case);
        let fault = case.refused(what).to_string();
        assert!(fault.contains(why), "{what}: {fault}");
        assert!(fault.len() < 300, "{fault}");
    }
}

/// A bundle by somebody whose certificate is made in this way.
fn by(make: impl FnOnce(&Instance) -> Signer) -> Case {
    let instance = Instance::new();
    let signer = make(&instance);
    Case::signed_by(instance, &signer, Version::V1)
}

/// The same, with a certificate that differs in this.
fn with(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Case {
    by(|instance| {
        let mut params = holder(address(SUBJECT), ISSUER);
        change(&mut params);
        instance.certified(&params)
    })
}
