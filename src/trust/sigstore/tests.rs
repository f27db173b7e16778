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

mod conformance;

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
    let certified = root.certified(holder, candidate, |_| true)?.ok_or_else(|| Fault::form("nothing was left"))?;
    root.by_holder(&certified, candidate, now)
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

#[test]
fn entries_of_a_log_are_of_this_signature_and_in_that_log() {
    all_are_refused(
        Version::V1,
        &[
            ("no entry", "no entry", |case| case.bundle["verificationMaterial"]["tlogEntries"] = json!([])),
            ("another payload", "of another signature", |case| {
                case.logged(Version::V1, |body| body["spec"]["payloadHash"]["value"] = "0".repeat(64).into());
            }),
            ("another signature", "of another signature", |case| {
                case.logged(Version::V1, |body| body["spec"]["signatures"][0]["signature"] = base64([0; 70]).into());
            }),
            ("another signer", "of another signature", |case| {
                let other = pem(case.instance.signer().certificate.unwrap().der());
                case.logged(Version::V1, |body| body["spec"]["signatures"][0]["verifier"] = base64(other).into());
            }),
            ("a key for a certificate", "of another signature", |case| {
                let key = case.instance.rekor.public_key_pem();
                case.logged(Version::V1, |body| body["spec"]["signatures"][0]["verifier"] = base64(key).into());
            }),
            ("two signatures", "has no signature, or several", |case| {
                case.logged(Version::V1, |body| {
                    let one = body["spec"]["signatures"][0].clone();
                    body["spec"]["signatures"] = json!([one, one]);
                });
            }),
            ("another hash", "of another signature", |case| {
                case.logged(Version::V1, |body| body["spec"]["payloadHash"]["algorithm"] = "sha512".into());
            }),
            ("another kind", "does not count", |case| case.logged(Version::V1, |body| body["kind"] = "intoto".into())),
            ("another version", "does not count", |case| case.logged(Version::V1, |body| body["apiVersion"] = "0.0.9".into())),
            ("a kind that is not the body's", "another kind than is said", |case| {
                case.entry()["kindVersion"]["kind"] = "hashedrekord".into();
            }),
            ("of the payload alone", "does not count", |case| {
                let signature = case.signature();
                case.logged(Version::V1, |body| *body = Instance::keyed().body_of_hash(STATEMENT, &signature));
            }),
            ("a body that is none", "cannot be read", |case| {
                case.logged(Version::V1, |body| *body = json!({ "kind": 1, "apiVersion": "x" }));
            }),
            ("a body with its members twice", "cannot be read", |case| {
                let body = case.decoded("/verificationMaterial/tlogEntries/0/canonicalizedBody");
                let twice = String::from_utf8(body).unwrap().replacen('{', r#"{"Kind":"x","#, 1);
                case.entry()["canonicalizedBody"] = base64(twice).into();
            }),
            ("a forged promise", "promise that its log did not make", |case| {
                case.entry()["inclusionPromise"]["signedEntryTimestamp"] =
                    base64(KeyPair::generate().unwrap().sign(b"x").unwrap()).into();
            }),
            ("a promise of another time", "promise that its log did not make", |case| {
                case.entry()["integratedTime"] = (SECONDS + 1).to_string().into();
            }),
            ("a promise of another place", "promise that its log did not make", |case| case.entry()["logIndex"] = "1007".into()),
            ("a time and no promise", "no proven time", |case| {
                case.entry().as_object_mut().unwrap().remove("inclusionPromise");
            }),
            ("no proof of inclusion", "no proof of inclusion", |case| {
                case.entry().as_object_mut().unwrap().remove("inclusionProof");
            }),
            ("an unknown log", "in log BwcHBwcH", |case| case.entry()["logId"]["keyId"] = base64([7; 32]).into()),
            ("another log's name", "promise", |case| {
                let id = case.instance.id(Version::V2);
                case.entry()["logId"]["keyId"] = base64(id).into();
            }),
            ("a negative place", "not a number", |case| case.entry()["logIndex"] = "-1".into()),
            ("a second entry that is bad", "of another signature", |case| {
                let good = case.entry().clone();
                case.logged(Version::V1, |body| body["spec"]["payloadHash"]["value"] = "0".repeat(64).into());
                let bad = case.entry().clone();
                case.bundle["verificationMaterial"]["tlogEntries"] = json!([good, bad]);
            }),
            ("too many entries", "a list has more than 8", |case| {
                let one = case.entry().clone();
                case.bundle["verificationMaterial"]["tlogEntries"] = vec![one; 9].into();
            }),
            ("after the log's window", "when its log did not count", |case| {
                case.root["tlogs"][0]["publicKey"]["validFor"]["end"] = "2026-06-01T12:00:59Z".into();
            }),
            ("before the log's window", "when its log did not count", |case| {
                case.root["tlogs"][0]["publicKey"]["validFor"]["start"] = "2026-06-01T12:01:01Z".into();
            }),
            ("ahead of now", "ahead of this host's clock", |case| case.now = "2026-06-01T12:00:59Z".parse().unwrap()),
        ],
    );
    // Both ends of a window count, and an entry of an unknown log beside a good one changes nothing.
    let mut case = Case::of(Version::V1);
    case.root["tlogs"][0]["publicKey"]["validFor"] = json!({ "start": SIGNED_AT, "end": SIGNED_AT });
    case.now = SIGNED_AT.parse().unwrap();
    let mut unknown = case.entry().clone();
    unknown["logId"]["keyId"] = base64([7; 32]).into();
    let known = case.entry().clone();
    case.bundle["verificationMaterial"]["tlogEntries"] = json!([unknown, known]);
    assert!(case.judged().is_ok());
}

#[test]
fn a_second_log_gives_no_times_and_makes_no_promises() {
    all_are_refused(
        Version::V2,
        &[
            ("no timestamp", "no proven time", |case| case.stamped(&[])),
            ("a time", "its log does not give", |case| case.entry()["integratedTime"] = SECONDS.to_string().into()),
            ("a promise", "its log does not give", |case| {
                let promise = case.instance.promised("x", 1, 1);
                case.entry()["inclusionPromise"] = json!({ "signedEntryTimestamp": base64(promise) });
            }),
            ("two places", "at two places", |case| case.entry()["logIndex"] = "7".into()),
            ("another hash", "of another signature", |case| {
                case.logged(Version::V2, |body| body["spec"]["hashedRekordV002"]["data"]["algorithm"] = "SHA2_512".into());
            }),
            ("an unknown hash", "unknown hash", |case| {
                case.logged(Version::V2, |body| body["spec"]["hashedRekordV002"]["data"]["algorithm"] = "SHA1".into());
            }),
            ("another kind of key", "of another signature", |case| {
                case.logged(Version::V2, |body| {
                    body["spec"]["hashedRekordV002"]["signature"]["verifier"]["keyDetails"] = "PKIX_ED25519".into();
                });
            }),
            ("a key beside the certificate", "of another signature", |case| {
                case.logged(Version::V2, |body| {
                    body["spec"]["hashedRekordV002"]["signature"]["verifier"]["publicKey"] = json!({ "rawBytes": "" });
                });
            }),
            ("after the log's window", "when its log did not count", |case| {
                case.root["tlogs"][1]["publicKey"]["validFor"]["end"] = "2026-06-01T12:00:59Z".into();
            }),
            ("the note of the other log", "of another log", |case| {
                let said = case.bundle.pointer("/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope").unwrap();
                let said = said.as_str().unwrap().split_once("\n\n").unwrap().0.replace(V2, V1) + "\n";
                case.noted(Version::V1, &said, V1);
            }),
        ],
    );
}

#[test]
fn proofs_of_inclusion_lead_to_a_root_that_the_log_itself_has_signed() {
    fn said(case: &Case) -> String {
        let note = case.bundle.pointer("/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope").unwrap();
        note.as_str().unwrap().split_once("\n\n").unwrap().0.to_owned() + "\n"
    }
    for version in [Version::V1, Version::V2] {
        all_are_refused(
            version,
            &[
                ("a shorter path", "does not lead to the root", |case| {
                    case.entry()["inclusionProof"]["hashes"].as_array_mut().unwrap().pop();
                }),
                ("a longer path", "does not lead to the root", |case| {
                    case.entry()["inclusionProof"]["hashes"].as_array_mut().unwrap().push(base64([0; 32]).into());
                }),
                ("another hash", "does not lead to the root", |case| {
                    case.entry()["inclusionProof"]["hashes"][0] = base64([0; 32]).into();
                }),
                ("a short hash", "does not lead to the root", |case| {
                    case.entry()["inclusionProof"]["hashes"][0] = base64([0; 31]).into();
                }),
                ("an endless path", "a list has more than 64", |case| {
                    case.entry()["inclusionProof"]["hashes"] = vec![base64([0; 32]); 65].into();
                }),
                ("beyond the end", "", |case| {
                    case.entry()["inclusionProof"]["logIndex"] = "11".into();
                    case.entry()["logIndex"] = "11".into();
                }),
                ("another root than the note's", "another root", |case| {
                    case.entry()["inclusionProof"]["rootHash"] = base64([0; 32]).into();
                }),
                ("another size than the note's", "another root", |case| case.entry()["inclusionProof"]["treeSize"] = "12".into()),
                ("no note", "cannot be read", |case| {
                    case.entry()["inclusionProof"].as_object_mut().unwrap().remove("checkpoint");
                }),
                ("an unsigned note", "is not signed by it", |case| {
                    let said = said(case);
                    case.entry()["inclusionProof"]["checkpoint"]["envelope"] = format!("{said}\n").into();
                }),
                ("a witness alone", "is not signed by it", |case| {
                    let said = said(case);
                    case.noted(Version::V1, &said, "witness.example");
                }),
                ("a changed note", "is not signed by it", |case| {
                    let note = case.entry()["inclusionProof"]["checkpoint"]["envelope"].as_str().unwrap().to_owned();
                    case.entry()["inclusionProof"]["checkpoint"]["envelope"] = note.replacen("\n\n", "\nmore\n\n", 1).into();
                }),
                ("a note of another origin", "of another log", |case| {
                    for version in [Version::V1, Version::V2] {
                        let said = said(case).replace(V1, "evil.example").replace(V2, "evil.example");
                        case.noted(version, &said, "evil.example");
                    }
                }),
                ("a large note", "too large", |case| {
                    let note = format!("{}\n{}", said(case), "x\n".repeat(40));
                    case.entry()["inclusionProof"]["checkpoint"]["envelope"] = note.into();
                }),
            ],
        );
        // Witnesses beside the log's own signature, before and after it, say nothing.
        let mut case = Case::of(version);
        let note = case.entry()["inclusionProof"]["checkpoint"]["envelope"].as_str().unwrap().to_owned();
        let (said, signature) = note.split_once("\n\n").unwrap();
        let witness = format!("\u{2014} witness.example {}\n", base64([1; 68]));
        case.entry()["inclusionProof"]["checkpoint"]["envelope"] = format!("{said}\n\n{witness}{signature}{witness}").into();
        assert!(case.judged().is_ok());
    }
}

#[test]
fn times_are_stamped_by_an_authority_that_is_trusted_and_on_this_signature() {
    all_are_refused(
        Version::V2,
        &[
            ("of something else", "is of other bytes", |case| {
                let stamp = case.instance.stamp(b"another", STAMPED);
                case.stamped(&[stamp]);
            }),
            ("by a stranger", "no proven time", |case| {
                let (_, _, signer) = stampers();
                let made = Stamping {
                    signer: &signer,
                    message: &case.signature(),
                    at: STAMPED,
                    embedded: vec![&signer.certificate],
                    wrong: Wrong::Nothing,
                };
                let stamp = made.answer();
                case.stamped(&[stamp]);
            }),
            ("one of two is bad", "is of other bytes", |case| {
                let stamps = [case.instance.stamp(&case.signature(), STAMPED), case.instance.stamp(b"another", STAMPED)];
                case.stamped(&stamps);
            }),
            ("garbage", "timestamp", |case| case.stamped(&[b"garbage".to_vec()])),
            ("after the certificate", "is valid from", |case| {
                let stamp = case.instance.stamp(&case.signature(), "20260601121001Z");
                case.stamped(&[stamp]);
            }),
            ("one of two after the certificate", "is valid from", |case| {
                let stamps = ["20260601121001Z", STAMPED].map(|at| case.instance.stamp(&case.signature(), at));
                case.stamped(&stamps);
            }),
            ("ahead of now", "ahead of this host's clock", |case| {
                let stamp = case.instance.stamp(&case.signature(), "20270101000000Z");
                case.stamped(&[stamp]);
            }),
            ("after the authority's window", "its authority did not count", |case| {
                case.root["timestampAuthorities"][0]["validFor"]["end"] = "2026-06-01T12:00:59Z".into();
            }),
            ("too many", "a list has more than 8", |case| {
                let stamp = case.instance.stamp(&case.signature(), STAMPED);
                case.stamped(&vec![stamp; 9]);
            }),
            ("no authority at all", "no proven time", |case| case.root["timestampAuthorities"] = json!([])),
        ],
    );
    // A stranger's beside a good one; and the last second of the window.
    let mut case = Case::of(Version::V2);
    let (_, _, signer) = stampers();
    let signature = case.signature();
    let theirs = Stamping { signer: &signer, message: &signature, at: STAMPED, embedded: vec![], wrong: Wrong::Nothing }.answer();
    let ours = case.instance.stamp(&signature, STAMPED);
    case.stamped(&[theirs, ours]);
    case.root["timestampAuthorities"][0]["validFor"]["end"] = SIGNED_AT.into();
    assert!(case.judged().is_ok());
    // With a promise of the first log, too: chain and windows at every time.
    let mut case = Case::of(Version::V1);
    let stamp = case.instance.stamp(&case.signature(), "20260601121001Z");
    case.stamped(&[stamp]);
    assert!(case.refused("late stamp").to_string().contains("is valid from"));
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

#[test]
fn certificates_are_fulcios_good_at_the_time_and_for_signing() {
    assert!(with(|_| {}).judged().is_ok());
    let refused = |what: &str, why: &str, case: Case| {
        let fault = case.refused(what).to_string();
        assert!(fault.contains(why), "{what}: {fault}");
    };
    refused("ran out before", "is valid from", with(|params| params.not_after = date_time_ymd(2026, 6, 1)));
    refused("not yet", "is valid from", with(|params| params.not_before = date_time_ymd(2026, 6, 2)));
    refused("a ca", "it is a CA", with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)));
    refused("no usage", "digitalSignature", with(|params| params.key_usages = vec![]));
    refused("for keys", "digitalSignature", with(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]));
    let purposes = |value: Vec<u8>| {
        with(|params| {
            params.custom_extensions.remove(0);
            params.custom_extensions.push(extension(EKU, value, false));
        })
    };
    refused("for stamps", "codeSigning", purposes(tlv(0x30, &[oid(TIME_STAMPING)])));
    assert!(purposes(tlv(0x30, &[oid(CODE_SIGNING)])).judged().is_ok());
    refused("for nothing", "codeSigning", with(|params| drop(params.custom_extensions.remove(0))));
    refused(
        "critical",
        "critical extension",
        with(|params| params.custom_extensions.push(extension(&[1, 2, 3], vec![5, 0], true))),
    );

    // An authority of the same names; one below ours that must not be; one that is brought along.
    let same_names = |instance: &Instance| {
        let root = Made::root(authority("sigstore", (2021, 2035), None));
        let between = root.issue(authority("sigstore-intermediate", (2022, 2034), Some(0)));
        let params = holder(address(SUBJECT), ISSUER);
        Instance::certified_by(&between, &params, |tbs| Some(instance.scts(&between.certificate, tbs)))
    };
    refused("same names", "no authority that is trusted", by(same_names));
    let below = |instance: &Instance| {
        let below = instance.fulcio.issue(authority("below", (2022, 2034), None));
        let params = holder(address(SUBJECT), ISSUER);
        Instance::certified_by(&below, &params, |tbs| Some(instance.scts(&below.certificate, tbs)))
    };
    refused("an authority that is not known", "no authority that is trusted", by(below));
    let own = |instance: &Instance| {
        let mut own = holder(address(SUBJECT), ISSUER);
        own.key_usages.push(KeyUsagePurpose::KeyCertSign);
        let own = Made::root(own);
        Instance::certified_by(&own, &holder(address(SUBJECT), ISSUER), |tbs| Some(instance.scts(&own.certificate, tbs)))
    };
    refused("self-made", "no authority that is trusted", by(own));

    // What is wrong with the authority itself.
    let root = |make: fn(&mut Instance)| {
        let mut instance = Instance::new();
        make(&mut instance);
        let signer = instance.signer();
        Case::signed_by(instance, &signer, Version::V1)
    };
    refused(
        "an authority that ran out",
        "is valid from",
        root(|instance| {
            instance.fulcio = instance.fulcio_root.issue(authority("sigstore-intermediate", (2022, 2026), Some(0)));
        }),
    );
    refused(
        "an authority that is none",
        "not a CA",
        root(|instance| {
            let mut params = authority("sigstore-intermediate", (2022, 2034), None);
            params.is_ca = IsCa::ExplicitNoCa;
            instance.fulcio = instance.fulcio_root.issue(params);
        }),
    );
    refused(
        "a path that is too long",
        "more CAs are below it",
        root(|instance| {
            instance.fulcio_root = Made::root(authority("sigstore", (2021, 2035), Some(0)));
            instance.fulcio = instance.fulcio_root.issue(authority("sigstore-intermediate", (2022, 2034), Some(0)));
        }),
    );
    let mut case = with(|_| {});
    case.root["certificateAuthorities"][0]["validFor"]["end"] = "2026-06-01T12:00:59Z".into();
    refused("an authority's window", "did not count", case);
    // Another entry's window is no help, whoever stands in it.
    let mut case = with(|_| {});
    let mut other = case.root["certificateAuthorities"][0].clone();
    case.root["certificateAuthorities"][0]["validFor"]["end"] = "2026-06-01T12:00:59Z".into();
    other["certChain"]["certificates"] =
        json!([{ "rawBytes": base64(Made::root(authority("other", (2021, 2035), None)).certificate.der()) }]);
    case.root["certificateAuthorities"].as_array_mut().unwrap().push(other);
    refused("a borrowed window", "did not count", case);
}

#[test]
fn certificates_name_one_signer_and_one_issuer() {
    let refused = |what: &str, why: &str, case: Case| {
        let fault = case.refused(what).to_string();
        assert!(fault.contains(why), "{what}: {fault}");
    };
    refused("no name", "no name", with(|params| params.subject_alt_names = vec![]));
    refused("two names", "no name, or several", with(|params| params.subject_alt_names.push(address("https://other.example"))));
    refused(
        "a host",
        "another kind",
        with(|params| params.subject_alt_names = vec![rcgen::SanType::DnsName("ci.example".try_into().unwrap())]),
    );
    let issuers = |first: Option<&[u8]>, second: Option<Vec<u8>>| {
        with(|params| {
            params.custom_extensions.truncate(1);
            params.custom_extensions.extend(first.map(|text| extension(ISSUER_V1, text.to_vec(), false)));
            params.custom_extensions.extend(second.map(|value| extension(ISSUER_V2, value, false)));
        })
    };
    let text = |text: &str| tlv(0x0c, &[text]);
    assert!(issuers(Some(ISSUER.as_bytes()), None).judged().is_ok());
    assert!(issuers(None, Some(text(ISSUER))).judged().is_ok());
    refused("no issuer", "names no issuer", issuers(None, None));
    refused("two issuers", "two issuers", issuers(Some(b"https://other.example"), Some(text(ISSUER))));
    refused("two issuers the other way", "two issuers", issuers(Some(ISSUER.as_bytes()), Some(text("https://other.example"))));
    refused("bytes behind", "issuer in its certificate is malformed", issuers(None, Some([text(ISSUER), vec![0]].concat())));
    refused("another type", "issuer in its certificate is malformed", issuers(None, Some(tlv(0x16, &[ISSUER]))));
    refused("no text", "not text", issuers(Some(&[0xff]), None));
    // Near misses of the rule.
    for (issuer, subject) in [
        ("https://issuer.example/", SUBJECT),
        ("https://issuer.exampl", SUBJECT),
        ("HTTPS://issuer.example", SUBJECT),
        (ISSUER, "https://ci.example/acme/app/.github/workflows/release.yml@refs/heads/mai"),
        (ISSUER, "https://ci.example/acme/app/*@refs/tags/*"),
        (ISSUER, "release.yml"),
        (ISSUER, "https://ci.example/acme/ap/*"),
        (ISSUER, ".*"),
    ] {
        let case = Case { identities: identities(issuer, subject), ..with(|_| {}) };
        assert!(matches!(case.refused(subject), Fault::Signer { .. }));
    }
    // Issuer of one rule and subject of another are no third.
    let two = vec![
        Identity { issuer: ISSUER.to_owned(), subject: "other".to_owned() },
        Identity { issuer: "https://other.example".to_owned(), subject: SUBJECT.to_owned() },
    ];
    let case = Case { identities: Identities::of(two).unwrap(), ..with(|_| {}) };
    assert!(matches!(case.refused("of two rules"), Fault::Signer { .. }));
}

#[test]
fn certificates_were_shown_to_a_log_that_is_trusted() {
    let scts = |make: fn(&Instance, &[u8]) -> Option<Vec<u8>>| {
        by(|instance| Instance::certified_by(&instance.fulcio, &holder(address(SUBJECT), ISSUER), |tbs| make(instance, tbs)))
    };
    let right = scts(|instance, tbs| Some(instance.scts(&instance.fulcio.certificate, tbs)));
    assert!(right.judged().is_ok());
    let refused = |what: &str, why: &str, case: Case| {
        let fault = case.refused(what).to_string();
        assert!(fault.contains(why), "{what}: {fault}");
    };
    refused("none", "no SCT", scts(|_, _| None));
    refused(
        "of another certificate",
        "did not sign",
        scts(|instance, _| Some(instance.scts(&instance.fulcio.certificate, b"another"))),
    );
    refused(
        "of another issuer",
        "did not sign",
        scts(|instance, tbs| Some(instance.scts(&instance.fulcio_root.certificate, tbs))),
    );
    refused(
        "of a log that is not known",
        "no log of certificates that is trusted",
        scts(|_, tbs| {
            let other = Instance::new();
            Some(other.scts(&other.fulcio.certificate, tbs))
        }),
    );
    refused(
        "forged",
        "did not sign",
        scts(|instance, tbs| {
            let mut all = instance.scts(&instance.fulcio.certificate, tbs);
            *all.last_mut().unwrap() ^= 1;
            Some(all)
        }),
    );
    for (what, value) in
        [("empty", vec![4, 0]), ("cut", vec![4, 3, 0, 9, 1]), ("no octets", vec![5, 0]), ("bytes behind", vec![4, 3, 0, 0, 7])]
    {
        let case = by(|instance| {
            let params = holder(address(SUBJECT), ISSUER);
            Instance::certified_by(&instance.fulcio, &params, |_| Some(value))
        });
        refused(what, "SCT", case);
    }
    let mut case = scts(|instance, tbs| Some(instance.scts(&instance.fulcio.certificate, tbs)));
    case.root["ctlogs"][0]["publicKey"]["validFor"]["end"] = "2026-06-01T12:00:59Z".into();
    refused("outside of its window", "did not count", case);
    let mut case = scts(|instance, tbs| Some(instance.scts(&instance.fulcio.certificate, tbs)));
    case.root["ctlogs"] = json!([]);
    refused("no log", "no log of certificates that is trusted", case);
}

#[test]
fn the_signature_is_by_the_key_of_the_certificate() {
    // Halves of two: the log has the stranger's signature with our certificate.
    let (instance, stranger) = (Instance::new(), Instance::keyed());
    let ours = instance.signer();
    let theirs = Signer { key: stranger.key, certificate: ours.certificate };
    let case = Case::signed_by(instance, &theirs, Version::V1);
    assert_eq!(case.judged(), Err(Fault::Signature));
    // A key, where names count.
    let case = by(|_| Instance::keyed());
    assert_eq!(case.judged(), Err(Fault::Key));
    let mut case = Case::of(Version::V1);
    case.bundle["verificationMaterial"]["publicKey"] = json!({ "hint": "" });
    assert!(case.refused("both").to_string().contains("more than one"));
}

#[test]
fn with_a_key_the_log_must_have_the_signature_too() {
    for version in [Version::V1, Version::V2] {
        let (instance, signer) = (Instance::new(), Instance::keyed());
        let key = PublicKey::of_spki(&spki(&signer.key)).unwrap();
        let mut case = Case::signed_by(instance, &signer, version);
        let judged = |case: &Case| case.candidate(|root, candidate| root.by_key(&key, candidate, case.now));
        assert_eq!(judged(&case).unwrap().at, Some(SIGNED_AT.parse().unwrap()));
        let good = case.bundle.clone();
        // Without any time, if the log gives none.
        case.stamped(&[]);
        assert!(judged(&case).is_ok());
        case.bundle["verificationMaterial"]["tlogEntries"] = json!([]);
        assert_eq!(judged(&case), Err(Fault::Unlogged));
        case.bundle = good;
        let other = PublicKey::of_spki(&spki(&KeyPair::generate().unwrap())).unwrap();
        let by_other = case.candidate(|root, candidate| root.by_key(&other, candidate, case.now));
        assert!(by_other.unwrap_err().to_string().contains("of another signature"));
    }
}

#[test]
fn what_cosign_2_keeps_is_proven_by_the_promise_alone() {
    let (instance, payload) = (Instance::new(), b"{\"a\":\"payload\"}");
    let (root, names, now) = (instance.root(), identities(ISSUER, SUBJECT), NOW.parse().unwrap());
    let signer = instance.signer();
    let (signature, annotations) = instance.annotations(&signer, payload);
    let judged = |annotations: &Annotations| {
        let material = Material::of_annotations(annotations)?;
        let candidate = Candidate { signed: payload, payload: None, signature: &signature, material: &material };
        by_identity(&root, &names, &candidate, now)
    };
    assert_eq!(judged(&annotations).unwrap().index, 1006);
    // The chain is not needed, and a root that is brought along is none.
    assert!(judged(&Annotations { chain: None, ..annotations.clone() }).is_ok());
    let stamp = json!({ "SignedRFC3161Timestamp": base64(instance.stamp(&signature, STAMPED)) }).to_string();
    assert!(judged(&Annotations { stamp: Some(stamp), ..annotations.clone() }).is_ok());
    let entry = |change: fn(&mut Value)| {
        let mut entry: Value = serde_json::from_str(annotations.entry.as_ref().unwrap()).unwrap();
        change(&mut entry);
        Annotations { entry: Some(entry.to_string()), ..annotations.clone() }
    };
    let certificate = annotations.certificate.clone().unwrap();
    for (what, why, bad) in [
        ("no entry", "no entry", Annotations { entry: None, ..annotations.clone() }),
        ("moved", "promise", entry(|entry| entry["Payload"]["logIndex"] = 7.into())),
        ("later", "promise", entry(|entry| entry["Payload"]["integratedTime"] = (SECONDS + 1).into())),
        ("more", "cannot be read", entry(|entry| entry["more"] = 1.into())),
        ("another id", "unknown to the trusted root", entry(|entry| entry["Payload"]["logID"] = "07".repeat(32).into())),
        ("no id", "no id", entry(|entry| entry["Payload"]["logID"] = "XY".into())),
        ("text for numbers", "cannot be read", entry(|entry| entry["Payload"]["logIndex"] = "7".into())),
        (
            "another's stamp",
            "other bytes",
            Annotations {
                stamp: Some(json!({ "SignedRFC3161Timestamp": base64(instance.stamp(b"another", STAMPED)) }).to_string()),
                ..annotations.clone()
            },
        ),
        (
            "two certificates",
            "not one certificate",
            Annotations { certificate: Some(certificate.repeat(2)), ..annotations.clone() },
        ),
        ("many", "more certificates", Annotations { chain: Some(certificate.repeat(9)), ..annotations.clone() }),
        ("no certificate", "cannot be read", Annotations { certificate: Some("x".to_owned()), ..annotations.clone() }),
    ] {
        let fault = judged(&bad).unwrap_err().to_string();
        assert!(fault.contains(why), "{what}: {fault}");
    }
    // Of a stranger who brings his own root.
    let theirs = Instance::new();
    let stranger = theirs.signer();
    let (signature, mut annotations) = theirs.annotations(&stranger, payload);
    annotations.entry = {
        let body = stranger.body_of_hash(payload, &signature).to_string();
        let promise = base64(instance.promised(&body, 1006, SECONDS));
        let id = crate::image::Digest::of(&spki(&instance.rekor)).hex();
        let of = json!({ "body": base64(&body), "integratedTime": SECONDS, "logIndex": 1006, "logID": id });
        Some(json!({ "SignedEntryTimestamp": promise, "Payload": of }).to_string())
    };
    let material = Material::of_annotations(&annotations).unwrap();
    let candidate = Candidate { signed: payload, payload: None, signature: &signature, material: &material };
    let fault = by_identity(&root, &names, &candidate, now).unwrap_err().to_string();
    assert!(fault.contains("its certificate"), "{fault}");
}

#[test]
fn roots_that_say_two_things_are_faults_as_a_whole() {
    let instance = Instance::new();
    let good = instance.root_json();
    assert_eq!(TrustedRoot::read(&good.to_string()).unwrap().lacks(), None);
    let cases: [(&str, &str, ChangeRoot); 15] = [
        ("another type", "mediaType", |root| root["mediaType"] = "application/json".into()),
        ("no type", "media", |root| drop(root.as_object_mut().unwrap().remove("mediaType"))),
        ("no begin", "from when on", |root| root["tlogs"][0]["publicKey"]["validFor"] = json!({})),
        ("no window", "from when on", |root| {
            drop(root["certificateAuthorities"][0].as_object_mut().unwrap().remove("validFor"));
        }),
        ("an end before", "ends before", |root| {
            root["ctlogs"][0]["publicKey"]["validFor"] =
                json!({ "start": "2026-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z" });
        }),
        ("an id twice", "the id of another", |root| {
            let one = root["tlogs"][0].clone();
            root["tlogs"].as_array_mut().unwrap().push(one);
        }),
        ("another's id", "not its key's", |root| root["tlogs"][0]["logId"]["keyId"] = base64([7; 32]).into()),
        ("an id that is cut", "not a SHA-256", |root| root["tlogs"][0]["logId"]["keyId"] = base64([7; 4]).into()),
        ("another name for a second log", "not its key's", |root| root["tlogs"][1]["baseUrl"] = "https://evil.example".into()),
        ("no id", "no id", |root| drop(root["ctlogs"][0].as_object_mut().unwrap().remove("logId"))),
        ("no chain", "no certificate", |root| root["timestampAuthorities"][0]["certChain"]["certificates"] = json!([])),
        ("no key", "has a key that", |root| root["tlogs"][0]["publicKey"]["rawBytes"] = "".into()),
        ("odd bytes", "base64", |root| root["tlogs"][0]["publicKey"]["rawBytes"] = "!".into()),
        ("no log", "no transparency log", |root| root["tlogs"] = json!([])),
        ("many", "more than 64", |root| {
            let one = root["certificateAuthorities"][0].clone();
            root["certificateAuthorities"] = vec![one; 65].into();
        }),
    ];
    for (what, why, change) in cases {
        let mut root = good.clone();
        change(&mut root);
        let faults = TrustedRoot::read(&root.to_string()).expect_err(what).join("; ");
        assert!(faults.contains(why), "{what}: {faults}");
    }
    let twice = good.to_string().replacen('{', r#"{"MEDIATYPE":"x","#, 1);
    assert!(TrustedRoot::read(&twice).is_err());
    assert!(TrustedRoot::read(&format!("{good}{}", " ".repeat(1 << 20))).is_err());
    // All faults at once; what is new is passed over.
    let mut root = good.clone();
    root["tlogs"][0]["logId"]["keyId"] = "".into();
    root["ctlogs"][0]["logId"]["keyId"] = "".into();
    assert_eq!(TrustedRoot::read(&root.to_string()).unwrap_err().len(), 2);
    let mut root = good;
    root["tlogs"][0]["operator"] = "example".into();
    root["certificateAuthorities"] = json!([]);
    assert!(TrustedRoot::read(&root.to_string()).unwrap().lacks().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever character of a bundle's proofs is changed: it is refused, or says the same of the signer and the time.
    #[test]
    fn a_changed_bundle_proves_nothing_new(at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), second in any::<bool>()) {
        static CASES: std::sync::OnceLock<[(Case, Proven); 2]> = std::sync::OnceLock::new();
        let cases = CASES.get_or_init(|| [Version::V1, Version::V2].map(|version| {
            let case = Case::of(version);
            let proven = case.judged().unwrap();
            (case, proven)
        }));
        let (case, proven) = &cases[usize::from(second)];
        let mut text = case.bundle.to_string().into_bytes();
        let alphabet = b"ABCabc0123+/=\"{}[],:\\- \n";
        let at = at.index(text.len());
        text[at] = alphabet[to.index(alphabet.len())];
        let Ok(bundle) = serde_json::from_slice::<Value>(&text) else { return Ok(()) };
        if !["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"].iter().all(|pointer| {
            bundle.pointer(pointer).and_then(Value::as_str).is_some_and(|text| STANDARD.decode(text).is_ok())
        }) {
            return Ok(());
        }
        let changed = Case { instance: Instance::new(), root: case.root.clone(), bundle, identities: case.identities.clone(), now: case.now };
        if let Ok(found) = changed.judged() {
            prop_assert_eq!(&found.by, &proven.by);
            prop_assert_eq!(&found.at, &proven.at);
        }
    }

    /// Nothing that is thrown at the readers makes them panic.
    #[test]
    fn nothing_panics(text in ".{0,200}") {
        let _ = TrustedRoot::read(&text);
        let _ = Material::of_annotations(&Annotations { certificate: Some(text.clone()), chain: Some(text.clone()), entry: Some(text.clone()), stamp: Some(text) });
    }
}

/// What a hash is made of is not mixed up: the leaf of a tree is no inner node.
#[test]
fn a_note_of_a_single_leaf_is_of_that_leaf() {
    let tree = Tree(vec![b"one".to_vec()]);
    assert_eq!(tree.root(), Sha256::digest([&[0][..], b"one"].concat()).to_vec());
    assert!(tree.path(0).is_empty());
}
