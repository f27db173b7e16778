//! Signatures by a key that must be in a log too, and what cosign 2 keeps beside its own.

use super::*;

#[test]
fn with_a_key_the_log_must_have_the_signature_too() {
    for version in [Version::V1, Version::V2] {
        let (instance, signer) = (Instance::new(), Instance::keyed());
        let key = PublicKey::of_spki(&spki(&signer.key)).unwrap();
        let mut case = Case::signed_by(instance, &signer, version);
        let judged = |case: &Case| case.candidate(|root, candidate| by_key(root, &key, candidate, case.now));
        assert_eq!(judged(&case).unwrap().at, Some(SIGNED_AT.parse().unwrap()));
        let good = case.bundle.clone();
        // Without any time, if the log gives none.
        case.stamped(&[]);
        assert!(judged(&case).is_ok());
        case.bundle["verificationMaterial"]["tlogEntries"] = json!([]);
        assert_eq!(judged(&case), Err(Fault::Unlogged));
        case.bundle = good;
        let other = PublicKey::of_spki(&spki(&KeyPair::generate().unwrap())).unwrap();
        let by_other = case.candidate(|root, candidate| by_key(root, &other, candidate, case.now));
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
