//! Entries of logs: of this very signature, in that log, by a note that the log has signed.

use super::*;

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

/// What a hash is made of is not mixed up: the leaf of a tree is no inner node.
#[test]
fn a_note_of_a_single_leaf_is_of_that_leaf() {
    let tree = Tree(vec![b"one".to_vec()]);
    assert_eq!(tree.root(), Sha256::digest([&[0][..], b"one"].concat()).to_vec());
    assert!(tree.path(0).is_empty());
}
