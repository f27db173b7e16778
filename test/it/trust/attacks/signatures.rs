//! Signatures, thresholds and keys.

use serde_json::{Value, json};

use super::support::End::{Fault, Yes};
use super::support::{BASE, cases, end};
use crate::support::trust_repo::*;
use img_authz::trust::tuf::FaultKind::{Invalid, Root, UnderSigned};

#[test]
fn good_repositories_of_every_kind_say_yes() {
    for root in [root_key(GUN), root_key("reg.example:5000/team/*"), root_key("*")] {
        assert_eq!(end(&Repo::docker(root.clone()).publish()), Yes("one"));
        assert_eq!(end(&Repo::new(root).publish()), Yes("one"));
    }
    for key in [Key::ed25519(), Key::p521(), Key::rsa(2048, "rsapss"), Key::rsa(2048, "rsapkcs1v15"), Key::rsa(4096, "rsapss")] {
        let mut repo = Repo::new(root_key(GUN));
        for role in ["targets", "snapshot", "timestamp"] {
            repo.rekey(role, &[&key], 1);
        }
        assert_eq!(end(&repo.publish()), Yes("one"), "{} {}", key.kind, key.method);
    }
    cases(&[
        (
            "white space and order in the file are free",
            &|repo| {
                for role in ["targets", "snapshot"] {
                    repo.edit_bytes(role, |raw| {
                        let value: Value = serde_json::from_slice(&raw).unwrap();
                        let (signed, signatures) = (&value["signed"], &value["signatures"]);
                        format!("\n {{ \"signed\" :\t{signed:#} ,\r\n\"signatures\": {signatures:#} }} \n").into_bytes()
                    });
                }
            },
            Yes("one"),
        ),
        (
            "escapes in the file are decoded before signing",
            &|repo| {
                repo.edit_bytes("targets", |raw| {
                    String::from_utf8(raw).unwrap().replace("Targets", "T\\u0061rgets").into_bytes()
                });
            },
            Yes("one"),
        ),
        (
            "unknown members are signed along",
            &|repo| {
                for role in ["timestamp", "snapshot", "targets"] {
                    repo.role(role)["x-note"] = json!({ "é": [1, true, null, "\u{7f}\u{2028}<&>"] });
                }
            },
            Yes("one"),
        ),
        (
            "a further signature by someone unknown does no harm",
            &|repo| {
                let stranger = Key::ecdsa();
                for role in BASE {
                    repo.signers.get_mut(role).unwrap().push(stranger.clone());
                }
            },
            Yes("one"),
        ),
        (
            "two distinct signers meet a threshold of two",
            &|repo| {
                let (a, b) = (Key::ecdsa(), Key::ed25519());
                for role in ["targets", "snapshot", "timestamp"] {
                    repo.rekey(role, &[&a, &b], 2);
                }
                let root = repo.role("root");
                root["version"] = json!(2);
            },
            Yes("one"),
        ),
        (
            "an expiry with fraction and offset",
            &|repo| {
                repo.role("targets")["expires"] = json!("2030-12-31T23:59:59.999999999+02:00");
            },
            Yes("one"),
        ),
        (
            "a delegation that nobody published into yet",
            &|repo| {
                repo.delegate("targets/bob", &[Key::ecdsa()], &[""]);
                repo.signed.remove("targets/bob");
            },
            Yes("one"),
        ),
        (
            "another signer's delegation is expired",
            &|repo| {
                repo.delegate("targets/bob", &[Key::ecdsa()], &[""]);
                repo.role("targets/bob")["expires"] = json!(PAST);
            },
            Yes("one"),
        ),
        (
            "another signer's delegation is under-signed",
            &|repo| {
                repo.delegate("targets/bob", &[Key::ecdsa()], &[""]);
                repo.signers.insert("targets/bob".into(), vec![Key::ecdsa()]);
            },
            Yes("one"),
        ),
    ]);
}

#[test]
fn signatures_must_be_those_of_the_role() {
    for role in BASE {
        let fault = Fault(if role == "root" { Root } else { UnderSigned });
        let stranger = |repo: &mut Repo| drop(repo.signers.insert(role.into(), vec![Key::ecdsa()]));
        let none = |repo: &mut Repo| drop(repo.signers.insert(role.into(), Vec::new()));
        let other = |repo: &mut Repo| {
            let key = repo.signers[if role == "targets" { "snapshot" } else { "targets" }][0].clone();
            repo.signers.insert(role.into(), vec![key]);
        };
        let under_listed_id = |repo: &mut Repo| {
            let id = repo.signers[role][0].id.clone();
            repo.signers.insert(role.into(), vec![Key::ecdsa().calling_itself(id)]);
        };
        let twice = |repo: &mut Repo| {
            let key = repo.signers[role][0].clone();
            repo.rekey(role, &[&key], 2);
            repo.role("root")["roles"][role]["keyids"] = json!([key.id, key.id]);
            repo.signers.insert(role.into(), vec![key.clone(), key]);
        };
        let later_edit = |repo: &mut Repo| {
            repo.edit_envelope(role, |envelope| envelope["signed"]["x"] = json!(1));
        };
        let method = |repo: &mut Repo| repo.edit_envelope(role, |envelope| envelope["signatures"][0]["method"] = json!("rsapss"));
        let broken = |repo: &mut Repo| {
            repo.edit_envelope(role, |envelope| {
                use base64::Engine as _;
                let engine = base64::engine::general_purpose::STANDARD;
                let mut bytes = engine.decode(envelope["signatures"][0]["sig"].as_str().unwrap()).unwrap();
                bytes[5] ^= 1;
                envelope["signatures"][0]["sig"] = json!(engine.encode(bytes));
            });
        };
        let short = |repo: &mut Repo| {
            repo.edit_envelope(role, |envelope| envelope["signatures"][0]["sig"] = json!("AAAA"));
        };
        for (name, change) in [
            ("signed by a stranger", &stranger as &dyn Fn(&mut Repo)),
            ("signed by the key of another role", &other),
            ("signed by a stranger under a listed key id", &under_listed_id),
            ("one key signs twice", &twice),
            ("changed after signing", &later_edit),
            ("another method than the key's", &method),
            ("a bit of the signature flipped", &broken),
            ("a signature of three bytes", &short),
        ] {
            let mut repo = Repo::new(root_key(GUN));
            change(&mut repo);
            assert_eq!(end(&repo.publish()), fault, "{name}: {role}");
        }
        let mut repo = Repo::new(root_key(GUN));
        none(&mut repo);
        assert_eq!(end(&repo.publish()), Fault(Invalid), "no signatures: {role}");
    }
}

#[test]
fn one_signer_counts_once_in_any_guise() {
    let key = Key::ecdsa();
    let certificate = |name: &str| {
        // A certificate of the same key cannot be had from rcgen by public key alone: the bundle is that of another key, and
        // the guise is the negated point below; here: the same key in two certificates.
        let pair = rcgen::KeyPair::generate().unwrap();
        (params(name).self_signed(&pair).unwrap(), pair)
    };
    let (first, pair) = certificate("a");
    let second = params("b").self_signed(&pair).unwrap();
    let signer = {
        use rcgen::PublicKeyData as _;
        let _ = pair.subject_public_key_info();
        root_key_pair(&pair)
    };
    let (a, b) = (signer.certified(&pem(first.der())), signer.certified(&pem(second.der())));
    for (name, keys) in [("two certificates", [&a, &b]), ("bare and certified", [&signer, &a])] {
        let mut repo = Repo::new(root_key(GUN));
        repo.rekey("targets", &keys, 2);
        assert_eq!(end(&repo.publish()), Fault(UnderSigned), "{name}");
        repo.rekey("targets", &[keys[0], &key], 2);
        assert_eq!(end(&repo.publish()), Yes("one"), "{name}: fake");
    }
}

fn root_key_pair(pair: &rcgen::KeyPair) -> Key {
    Key::of_pair(pair)
}

#[test]
fn thresholds_and_key_lists_must_be_sound() {
    cases(&[
        ("a threshold of zero", &|repo| repo.role("root")["roles"]["targets"]["threshold"] = json!(0), Fault(Invalid)),
        ("a negative threshold", &|repo| repo.role("root")["roles"]["timestamp"]["threshold"] = json!(-1), Fault(Invalid)),
        (
            "a key id that is defined nowhere",
            &|repo| {
                repo.role("root")["roles"]["targets"]["keyids"].as_array_mut().unwrap().push(json!("ab".repeat(32)));
            },
            Fault(Invalid),
        ),
        (
            "a key under an id that is not its own",
            &|repo| {
                let key = Key::ecdsa();
                repo.role("root")["keys"]["ab".repeat(32)] = key.listed();
            },
            Fault(Invalid),
        ),
        (
            "a missing base role",
            &|repo| drop(repo.role("root")["roles"].as_object_mut().unwrap().remove("timestamp")),
            Fault(Invalid),
        ),
        (
            "a private part that is not null",
            &|repo| {
                let id = repo.signers["targets"][0].id.clone();
                repo.role("root")["keys"][&id]["keyval"]["private"] = json!("AAAA");
            },
            Fault(Invalid),
        ),
    ]);
}

#[test]
fn weak_or_mislabelled_keys_sign_nothing() {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let good = Key::ecdsa();
    let ed = Key::ed25519();
    let mut identity = [0u8; 32];
    identity[0] = 1;
    for key in [
        good.relabelled("rsa", &good.public),
        good.relabelled("ECDSA", &good.public),
        good.relabelled("dsa", &good.public),
        good.relabelled("ecdsa-x509", &good.public),
        ed.relabelled("ecdsa", &ed.public),
        ed.relabelled("ed25519", &engine.encode([0u8; 31])),
        ed.relabelled("ed25519", &engine.encode(identity)),
        good.relabelled("ecdsa", &engine.encode("no DER")),
        good.relabelled("ecdsa", ""),
    ] {
        let mut repo = Repo::new(root_key(GUN));
        repo.rekey("targets", &[&key], 1);
        assert_eq!(end(&repo.publish()), Fault(UnderSigned), "{}", key.kind);
    }
    // The forgery that a point of small order allows: R of order one, S zero.
    let weak = ed.relabelled("ed25519", &engine.encode(identity));
    let mut repo = Repo::new(root_key(GUN));
    repo.rekey("targets", &[&weak], 1);
    repo.edit_envelope("targets", move |envelope| {
        let mut forged = [0u8; 64];
        forged[0] = 1;
        envelope["signatures"][0]["sig"] = json!(base64::engine::general_purpose::STANDARD.encode(forged));
    });
    assert_eq!(end(&repo.publish()), Fault(UnderSigned));
}
