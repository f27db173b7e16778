//! What an envelope must be, and what its payload.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};

use super::*;

#[test]
fn a_good_signature_counts_in_either_envelope_and_names_its_signer_and_store() {
    let hand = Hand::new();
    let good = hand.notation(STRICT).of_both(&hand.writing()).unwrap();
    assert_eq!((good.by, good.role), (vec!["CN=release,O=acme,ST=WA,C=US".to_owned()], "ca:acme".to_owned()));
    // What the signer says of the time is no evidence; its certificate ends the outcome.
    assert_eq!((good.signed_at, good.until), (None, Some("2030-01-01T00:00:01Z".parse().unwrap())));
}

#[test]
fn rsa_counts_with_its_one_padding_salt_and_hash() {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
    let key = KeyPair::try_from(der.as_ref()).unwrap();
    let hand = Hand::new();
    let params = signer();
    let leaf = hand.between.signed(&params, &key);
    let mut writing = hand.writing();
    writing.chain[0] = leaf;
    let end = |alg: &str, padding: &'static dyn RsaEncoding| {
        let mut header = writing.protected();
        header["alg"] = json!(alg);
        let sign = |message: &[u8]| {
            let mut signature = vec![0; rsa.public_modulus_len()];
            rsa.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        };
        hand.notation(STRICT).ends(Kind::Jws, &writing.jws_with(&header.to_string(), sign))
    };
    assert!(end("PS256", &RSA_PSS_SHA256).is_ok());
    is_form(end("PS256", &RSA_PKCS1_SHA256), "does not hold");
    is_form(end("PS256", &RSA_PSS_SHA384), "does not hold");
    is_form(end("PS384", &RSA_PSS_SHA384), "not that of its key");
    for alg in ["RS256", "none", "HS256", "ES256", "EdDSA"] {
        assert!(end(alg, &RSA_PSS_SHA256).is_err(), "{alg}");
    }
}

#[test]
fn headers_of_jws_that_say_anything_else_are_refused() {
    let hand = Hand::new();
    let (writing, notation) = (Writing { expiry: Some(SIGNED_AT + 4_000_000), ..hand.writing() }, hand.notation(STRICT));
    let end = |protected: &str| notation.ends(Kind::Jws, &writing.jws_with(protected, |message| fixed(writing.key, message)));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut header = writing.protected();
        change(&mut header);
        end(&header.to_string())
    };
    let set = |name: &str, value: Value| changed(&|header| header[name] = value.clone());
    let without = |name: &str| changed(&|header| drop(header.as_object_mut().unwrap().remove(name)));
    assert!(set("x-unknown", json!({ "a": [1] })).is_ok(), "what is not critical is passed over");
    for name in ["alg", "cty", "crit", envelope::SCHEME, envelope::SIGNING_TIME] {
        assert!(without(name).is_err(), "without {name}");
        for odd in [json!(null), json!(1), json!([]), json!({}), json!("x"), json!("")] {
            assert!(set(name, odd.clone()).is_err(), "{name}: {odd}");
        }
    }
    let critical = |names: Value| set("crit", names);
    assert!(critical(json!([envelope::EXPIRY, envelope::SCHEME])).is_ok(), "in any order");
    for odd in [
        json!([envelope::SCHEME]),
        json!([envelope::SCHEME, envelope::EXPIRY, envelope::EXPIRY]),
        json!([envelope::SCHEME, envelope::EXPIRY, "alg"]),
        json!([envelope::SCHEME, envelope::EXPIRY, envelope::AUTHENTIC_TIME]),
        json!([envelope::SCHEME, envelope::EXPIRY, 1]),
    ] {
        is_form(critical(odd), "critical headers");
    }
    // What has to be understood and is not.
    let unknown = |name: &str, value: Value| {
        changed(&|header| {
            header[name] = value.clone();
            header["crit"].as_array_mut().unwrap().push(json!(name));
        })
    };
    is_form(unknown("b64", json!(true)), "critical headers");
    is_form(unknown("signed.twice", json!("x")), "critical headers");
    for (name, value) in [(envelope::PLUGIN, json!("com.amazonaws.signer")), (envelope::PLUGIN_VERSION, json!("1.0.0"))] {
        assert!(matches!(unknown(name, value.clone()), Err(Unfit::Plugin { .. })), "{name}");
        assert!(matches!(set(name, value), Err(Unfit::Plugin { .. })), "{name}, not critical");
    }
    is_form(set(envelope::AUTHENTIC_TIME, json!(rfc3339(SIGNED_AT))), "signing time");
    is_form(set(envelope::SCHEME, json!("notary.x509.signingAuthority")), "signing time");
    is_form(set(envelope::EXPIRY, json!(rfc3339(SIGNED_AT))), "expires before");
    is_form(set(envelope::EXPIRY, json!("2026-12-24")), "RFC 3339");
    let good = writing.protected().to_string();
    for twice in [r#""alg":"ES256""#, r#""ALG":"none""#, r#""Crit":[]"#, r#""io.cncf.notary.Expiry":"2099-01-01T00:00:00Z""#] {
        is_form(end(&good.replacen('{', &format!("{{{twice},"), 1)), "twice");
    }
    for odd in ["", "null", "[]", "{}", "{", &format!("{good}{{}}")] {
        assert!(end(odd).is_err(), "{odd}");
    }
    let many: String = (0..80).map(|number| format!("\"h{number}\":0,")).collect();
    is_form(end(&good.replacen('{', &format!("{{{many}"), 1)), "too many headers");
    assert!(end(&format!("{}{}", "[".repeat(9999), "]".repeat(9999))).is_err());
}

#[test]
fn jws_is_read_in_its_one_form() {
    let hand = Hand::new();
    let (good, notation) = (hand.writing().jws(), hand.notation(STRICT));
    let good: Value = serde_json::from_slice(&good).unwrap();
    let end = |body: &str| notation.ends(Kind::Jws, body.as_bytes());
    assert!(end(&good.to_string()).is_ok());
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        end(&body.to_string())
    };
    let text = |name: &str| good[name].as_str().unwrap().to_owned();
    for name in ["payload", "protected", "signature"] {
        let own = text(name);
        for odd in [
            format!("{own}="),
            format!("{own}\n"),
            format!(" {own}"),
            format!("{own}A"),
            String::new(),
            own.replace(['A', 'Q'], "+"),
        ] {
            assert!(odd == own || changed(&|body| body[name] = json!(odd)).is_err(), "{name}: {odd}");
        }
        assert!(changed(&|body| drop(body.as_object_mut().unwrap().remove(name))).is_err());
    }
    // The last bits of base64 say nothing, and may be others for who does not look.
    let signature = text("signature");
    let twin = signature.get(..signature.len() - 1).unwrap().to_owned();
    let last = signature.chars().last().unwrap();
    let next =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars().skip_while(|c| *c != last).nth(1).unwrap();
    is_form(changed(&|body| body["signature"] = json!(format!("{twin}{next}"))), "base64url");
    for change in [
        &(|body: &mut Value| body["signatures"] = json!([])) as &dyn Fn(&mut Value),
        &|body| body["header"]["x5c"] = json!([]),
        &|body| body["header"]["x5c"] = json!("x"),
        &|body| drop(body["header"].as_object_mut().unwrap().remove("x5c")),
        &|body| body["header"]["x5c"][0] = json!(URL_SAFE_NO_PAD.encode([0xfb; 40])),
        &|body| body["header"] = json!([body["header"]["x5c"], null]),
        &|body| body["header"]["x5c"] = Value::Array(vec![body["header"]["x5c"][0].clone(); 17]),
        &|body| *body = json!([body["payload"], body["protected"], body["header"], body["signature"]]),
    ] {
        assert!(changed(change).is_err());
    }
    let compact = format!("{}.{}.{}", text("protected"), text("payload"), text("signature"));
    assert!(end(&compact).is_err());
    is_form(end(&good.to_string().replacen('{', r#"{"Payload":"","#, 1)), "twice");
    is_form(notation.ends(Kind::Cose, good.to_string().as_bytes()), "COSE_Sign1");
    assert!(notation.ends(Kind::Jws, &hand.writing().cose()).is_err());
    // DER in place of two numbers.
    let der = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &hand.leaf.key.serialize_der()).unwrap();
    let writing = hand.writing();
    let der = writing
        .jws_with(&writing.protected().to_string(), |message| der.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec());
    is_form(notation.ends(Kind::Jws, &der), "does not hold");
}

#[test]
fn headers_of_cose_that_say_anything_else_are_refused() {
    let hand = Hand::new();
    let (writing, notation) = (Writing { expiry: Some(SIGNED_AT + 4_000_000), ..hand.writing() }, hand.notation(STRICT));
    let end = |entries: &Entries| notation.ends(Kind::Cose, &writing.cose_with(&map(entries), &map(&writing.unprotected())));
    let set = |label: Vec<u8>, value: Vec<u8>| {
        let mut entries = writing.entries();
        entries.retain(|(key, _)| *key != label);
        entries.push((label, value));
        end(&entries)
    };
    assert!(end(&writing.entries()).is_ok());
    assert!(end(&writing.entries().into_iter().rev().collect()).is_ok(), "in any order");
    assert!(set(text("x-unknown"), vec![0xf9, 0x7c, 0]).is_ok(), "what is not critical is passed over");
    assert!(set(cbor(0, 1), vec![0x38, 6]).is_ok(), "heads need not be shortest");
    let number = |number: u64| [vec![0x1b], number.to_be_bytes().to_vec()].concat();
    for (at_time, is_one) in [
        (at(SIGNED_AT), true),
        ([cbor(6, 1), number(u64::try_from(SIGNED_AT).unwrap())].concat(), true),
        (cbor(0, 1_793_491_200), false),
        (text("2026-11-01T00:00:00Z"), false),
        ([cbor(6, 0), text("2026-11-01T00:00:00Z")].concat(), false),
        ([cbor(6, 1), vec![0xfb], 1_793_491_200_f64.to_be_bytes().to_vec()].concat(), false),
        ([cbor(6, 1), vec![0xf9, 0x7e, 0]].concat(), false),
        ([cbor(6, 1), vec![0xf9, 0x7c, 0]].concat(), false),
        ([cbor(6, 1), number(u64::MAX)].concat(), false),
        (vec![0xf6], false),
    ] {
        assert_eq!(set(text(envelope::SIGNING_TIME), at_time.clone()).is_ok(), is_one, "{at_time:x?}");
        assert!(is_one || set(text(envelope::EXPIRY), at_time).is_err());
    }
    for (label, odd) in [
        (cbor(0, 1), cbor(1, 7)),
        (cbor(0, 1), cbor(1, 36)),
        (cbor(0, 1), text("ES256")),
        (cbor(0, 2), array(&[])),
        (cbor(0, 2), array(&[text(envelope::SCHEME)])),
        (cbor(0, 2), array(&[text(envelope::SCHEME), text(envelope::EXPIRY), cbor(0, 3)])),
        (cbor(0, 2), array(&[text(envelope::SCHEME), text(envelope::EXPIRY), text("x")])),
        (cbor(0, 3), text("application/json")),
        (cbor(0, 3), cbor(0, 60)),
        (text(envelope::SCHEME), text("notary.x509.signingAuthority")),
        (text(envelope::AUTHENTIC_TIME), at(SIGNED_AT)),
    ] {
        assert!(set(label.clone(), odd.clone()).is_err(), "{label:x?} {odd:x?}");
    }
    assert!(matches!(set(text(envelope::PLUGIN), text("p")), Err(Unfit::Plugin { .. })));
    for at in 0..writing.entries().len() {
        let mut entries = writing.entries();
        entries.remove(at);
        assert!(end(&entries).is_err(), "without entry {at}");
        let mut entries = writing.entries();
        entries.push(entries[at].clone());
        is_form(end(&entries), "twice");
    }
    let many: Entries = writing.entries().into_iter().chain((100..180).map(|label| (cbor(0, label), cbor(0, 0)))).collect();
    is_form(end(&many), "too many headers");
}

#[test]
fn cose_is_read_in_its_one_form() {
    let hand = Hand::new();
    let (writing, notation) = (hand.writing(), hand.notation(STRICT));
    let good = writing.cose();
    let end = |bytes: &[u8]| notation.ends(Kind::Cose, bytes);
    assert!(end(&good).is_ok());
    let body = good.get(1..).unwrap();
    for odd in [
        body.to_vec(),
        [&[0xd8, 18][..], body].concat(),
        [&[0xd2][..], &good].concat(),
        [&[0xd8, 98][..], body].concat(),
        [&good[..], &[0]].concat(),
        good.get(..good.len() - 1).unwrap().to_vec(),
        [&[0xd2, 0x9f][..], good.get(2..).unwrap(), &[0xff]].concat(),
        [&[0xd2, 0x85][..], good.get(2..).unwrap(), &[0]].concat(),
    ] {
        assert!(end(&odd).is_err());
    }
    let protected = map(&writing.entries());
    let with = |unprotected: &Entries| end(&writing.cose_with(&protected, &map(unprotected)));
    assert!(with(&vec![]).is_err());
    assert!(with(&vec![(cbor(0, 33), bytes(&writing.chain[0]))]).is_err(), "an array even for one");
    is_form(with(&[writing.unprotected(), vec![(cbor(0, 1), cbor(1, 6))]].concat()), "protected and unprotected");
    let payload_nil = [vec![0xd2, 0x84], bytes(&protected), map(&writing.unprotected()), vec![0xf6], bytes(&[0; 64])].concat();
    is_form(end(&payload_nil), "with a payload");
    // The bytes of the protected header are signed, not what they mean.
    let mut other = writing.entries();
    other.reverse();
    let swapped = [vec![0xd2, 0x84], bytes(&map(&other)), good.get(2 + bytes(&protected).len()..).unwrap().to_vec()].concat();
    is_form(end(&swapped), "does not hold");
    // Whatever was changed, it ends, and ends well only where nothing that counts was.
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 0x10;
        assert!(end(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn a_payload_names_the_artifact_once_and_exactly() {
    let hand = Hand::new();
    let notation = hand.notation(STRICT);
    let good = payload(&artifact());
    let end = |payload: String| notation.of_both(&Writing { payload, ..hand.writing() });
    assert!(end(good.replace("\"size\"", "\"annotations\":{\"a\":\"b\"},\"artifactType\":\"x\",\"size\"")).is_ok());
    let digest = artifact().digest.to_string();
    for other in [
        payload(&Artifact { digest: Digest::of(b"other"), ..artifact() }),
        payload(&Artifact { size: 9, ..artifact() }),
        payload(&Artifact { media_type: "application/vnd.oci.image.index.v1+json", ..artifact() }),
        good.replace(&digest, &digest.to_uppercase()),
        good.replace(&digest, &format!("{digest} ")),
    ] {
        assert_eq!(end(other), Err(Unfit::OtherArtifact));
    }
    for odd in [
        good.replace("targetArtifact", "TargetArtifact"),
        good.replace("mediaType", "mediatype"),
        good.replace("digest\"", "dige\u{17f}t\""),
        good.replace("\"size\":8", "\"size\":\"8\""),
        good.replace("\"size\":8", "\"size\":8.0"),
        good.replace("\"size\":8", "\"size\":-8"),
        good.replace("\"size\":8", "\"size\":8,\"Size\":9"),
        good.replace("{\"mediaType\"", "{\"SIZE\":1,\"mediaType\""),
        good.replacen('{', "{\"TARGETARTIFACT\":{},", 1),
        format!("{good} {{}}"),
        format!("[{good}]"),
        "{}".to_owned(),
        String::new(),
        format!("{}{}", "[".repeat(9999), "]".repeat(9999)),
    ] {
        assert!(matches!(end(odd.clone()), Err(Unfit::Form { .. })), "{odd:.200}");
    }
}
