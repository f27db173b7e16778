//! Roots, their certificates, and pins.

use std::sync::Arc;

use img_authz::trust::tuf::{Pins, load};
use jiff::Timestamp;
use serde_json::json;

use super::support::End::{Fault, Yes};
use super::support::{end, end_with, learn, now, pins, run, tofu};
use crate::support::trust_repo::*;
use img_authz::trust::tuf::FaultKind::{Invalid, RolledBack, Root};

#[test]
fn certificates_must_be_for_the_repository_and_sound() {
    let name = |name: &str| root_key(name);
    for cn in [
        "reg.example:5000/team/ap",
        "reg.example:5000/team/app2",
        "reg.example:5000/team",
        "REG.example:5000/team/app",
        "reg.example:5000/team/app/*",
        "*/team/app",
        "reg.example:5000/*/app",
        "reg.example/team/app",
        " reg.example:5000/team/app",
        "",
        "reg.example:5000/team/app\0",
    ] {
        assert_eq!(end(&Repo::new(name(cn)).publish()), Fault(Root), "{cn:?}");
    }
    let with = |edit: fn(&mut rcgen::CertificateParams)| {
        let mut params = params(GUN);
        edit(&mut params);
        end(&Repo::new(root_key_with(&params)).publish())
    };
    assert_eq!(with(|params| params.not_after = rcgen::date_time_ymd(2030, 5, 31)), Fault(Root));
    assert_eq!(with(|params| params.not_before = rcgen::date_time_ymd(2030, 6, 3)), Fault(Root));
    assert_eq!(with(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)), Fault(Root));
    // Two names are read in two ways by two readers.
    assert_eq!(with(|params| params.distinguished_name.push(rcgen::DnType::from_oid(&[2, 5, 4, 3]), "other")), Fault(Root));
    assert_eq!(with(|params| params.not_before = rcgen::date_time_ymd(2030, 6, 1)), Yes("one"));
    assert_eq!(with(|params| params.is_ca = rcgen::IsCa::ExplicitNoCa), Yes("one"));
    assert_eq!(with(|params| params.extended_key_usages.clear()), Yes("one"));
    // Bare keys do not count in root.
    assert_eq!(end(&Repo::new(Key::ecdsa()).publish()), Fault(Root));
    // A bundle that is spelt differently has another id in the Go client.
    let good = root_key(GUN);
    let text = {
        use base64::Engine as _;
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(&good.public).unwrap()).unwrap()
    };
    let extra = pem(params("x").self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der());
    for (what, bundle) in [
        ("CRLF", text.replace('\n', "\r\n")),
        ("text in front", format!("hello\n{text}")),
        ("text behind", format!("{text}\n")),
        ("a key block", text.replace("CERTIFICATE", "PUBLIC KEY")),
        ("two leaves", format!("{text}{extra}")),
        ("cut", text[..text.len() - 40].to_owned()),
        ("empty", String::new()),
    ] {
        use base64::Engine as _;
        let public = base64::engine::general_purpose::STANDARD.encode(&bundle);
        assert_eq!(end(&Repo::new(good.relabelled("ecdsa-x509", &public)).publish()), Fault(Root), "{what}");
    }
    // The certificate of one key, the signature of another.
    let forged = Key::ecdsa().relabelled("ecdsa-x509", &good.public);
    assert_eq!(end(&Repo::new(forged).publish()), Fault(Root));
}

#[test]
fn roots_follow_one_another() {
    let first = root_key(GUN);
    let repo = Repo::docker(first.clone());
    let known = Arc::new(learn(&repo.publish(), &tofu(), None, now()).unwrap());
    // Another owner's root after first use.
    assert_eq!(end_with(&Repo::docker(root_key(GUN)).publish(), &tofu(), Some(Arc::clone(&known))), Fault(RolledBack));
    let mut stranger = Repo::docker(root_key(GUN));
    stranger.role("root")["version"] = json!(2);
    assert_eq!(end_with(&stranger.publish(), &tofu(), Some(Arc::clone(&known))), Fault(Root));
    // One rotation.
    let (second, third, fourth) = (root_key(GUN), root_key(GUN), root_key(GUN));
    let mut rotated = repo.clone();
    rotated.rotate_root(&second);
    rotated.bump();
    assert_eq!(end_with(&rotated.publish(), &tofu(), Some(Arc::clone(&known))), Yes("one"));
    let later = Arc::new(learn(&rotated.publish(), &tofu(), Some(Arc::clone(&known)), now()).unwrap());
    // A return to the root since replaced.
    assert_eq!(end_with(&repo.publish(), &tofu(), Some(Arc::clone(&later))), Fault(RolledBack));
    // Not signed by the new key, or not by the old one.
    for signer in [&first, &second] {
        let mut half = rotated.clone();
        half.signers.insert("root".into(), vec![signer.clone()]);
        assert_eq!(end_with(&half.publish(), &tofu(), Some(Arc::clone(&known))), Fault(Root));
    }
    // Several rotations, link by link.
    let mut far = rotated.clone();
    far.rotate_root(&third);
    far.rotate_root(&fourth);
    assert_eq!(end_with(&far.publish(), &tofu(), Some(Arc::clone(&known))), Yes("one"));
    for version in [2, 3] {
        let mut missing = far.clone();
        missing.old_roots.remove(&version);
        assert_eq!(end_with(&missing.publish(), &tofu(), Some(Arc::clone(&known))), Fault(Root), "{version} missing");
        let mut broken = far.clone();
        let other = broken.old_roots[&1].clone();
        broken.old_roots.insert(version, other);
        assert_eq!(end_with(&broken.publish(), &tofu(), Some(Arc::clone(&known))), Fault(Root), "{version} broken");
    }
    // Versions ahead without end.
    let mut absurd = repo.clone();
    absurd.rotate_root(&second);
    absurd.role("root")["version"] = json!((1u64 << 53) - 1);
    absurd.signers.insert("root".into(), vec![second]);
    assert_eq!(end_with(&absurd.publish(), &tofu(), Some(known)), Fault(Root));
}

#[test]
fn pins_decide_which_root_counts() {
    let root = root_key(GUN);
    let repo = Repo::new(root.clone());
    let files = repo.publish();
    let other = "ab".repeat(32);
    for (what, block, expected) in [
        ("exact", json!({ "certs": { GUN: [root.id] } }), Yes("one")),
        ("exact, among others", json!({ "certs": { GUN: [other, root.id] } }), Yes("one")),
        ("exact, no first use", json!({ "disable_tofu": true, "certs": { GUN: [root.id] } }), Yes("one")),
        ("prefix", json!({ "certs": { "reg.example:5000/*": [root.id] } }), Yes("one")),
        ("another key", json!({ "certs": { GUN: [other] } }), Fault(Root)),
        ("an empty list", json!({ "certs": { GUN: [] } }), Fault(Root)),
        ("exact beats prefix", json!({ "certs": { GUN: [other], "reg.example:5000/*": [root.id] } }), Fault(Root)),
        ("longer prefix beats shorter", json!({ "certs": { "reg.example:5000/team/*": [other], "*": [root.id] } }), Fault(Root)),
        (
            "a prefix without star is no prefix",
            json!({ "disable_tofu": true, "certs": { "reg.example:5000/": [root.id] } }),
            Fault(Root),
        ),
        ("no first use", json!({ "disable_tofu": true }), Fault(Root)),
        ("first use", json!({ "disable_tofu": false }), Yes("one")),
        ("names in any case", json!({ "trust_pinning": { "Disable_TOFU": true, "CERTS": { GUN: [root.id] } } }), Yes("one")),
    ] {
        let pins = pins(&block, &[]);
        assert_eq!(end_with(&files, &pins, None), expected, "{what}, first use");
        // Trusted before the pin was set.
        let known = Arc::new(learn(&files, &tofu(), None, now()).unwrap());
        assert_eq!(end_with(&files, &pins, Some(known)), expected, "{what}, known");
    }
    // An unpinned key beside a pinned one does not make up for it.
    let mut both = repo;
    let beside = root_key(GUN);
    both.rekey("root", &[&root, &beside], 1);
    both.signers.insert("root".into(), vec![beside]);
    assert_eq!(end_with(&both.publish(), &pins(&json!({ "certs": { GUN: [root.id] } }), &[]), None), Fault(Root));
    assert_eq!(end_with(&both.publish(), &tofu(), None), Yes("one"));
}

#[test]
fn pins_that_cannot_be_read_are_no_pins() {
    for text in [
        "",
        "[]",
        "{\"certs\":[]}",
        "{\"certs\":{\"a\":\"b\"}}",
        "{\"certs\":{\"a\":[\"AB\"]}}",
        "{\"cert\":{}}",
        "{\"disable_tofu\":\"true\"}",
        "{\"ca\":{\"a\":\"missing\"}}",
        "{\"disable_tofu\":true,\"disable_tofu\":false}",
        "{\"certs\":{},\"Certs\":{}}",
    ] {
        assert!(Pins::read(text, |_| Err("not there".to_owned())).is_err(), "{text}");
    }
    assert!(Pins::read("{\"ca\":{\"a\":\"x\"}}", |_| Ok("no pem".to_owned())).is_err());
}

#[test]
fn ca_pins_want_a_sound_chain() {
    let block = json!({ "disable_tofu": true, "ca": { "reg.example:5000/": "ca.pem" } });
    let ca = Authority::new(Authority::params("owner CA"));
    let same_name = Authority::new(Authority::params("owner CA"));
    let under = |ca: &Authority, root: Key| end_with(&Repo::new(root).publish(), &pins(&block, &[("ca.pem", &ca.pem)]), None);
    assert_eq!(under(&ca, ca.issue(&params(GUN), "")), Yes("one"));
    assert_eq!(under(&ca, same_name.issue(&params(GUN), "")), Fault(Root));
    assert_eq!(under(&ca, root_key(GUN)), Fault(Root));
    let usage = |usages: Vec<rcgen::ExtendedKeyUsagePurpose>| {
        let mut params = params(GUN);
        params.extended_key_usages = usages;
        params
    };
    assert_eq!(under(&ca, ca.issue(&usage(vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth]), "")), Yes("one"));
    assert_eq!(under(&ca, ca.issue(&usage(Vec::new()), "")), Yes("one"));
    assert_eq!(under(&ca, ca.issue(&usage(vec![rcgen::ExtendedKeyUsagePurpose::EmailProtection]), "")), Fault(Root));
    // Intermediates.
    let between = Authority::below(Authority::params("between"), &ca);
    assert_eq!(under(&ca, between.issue(&params(GUN), &between.pem)), Yes("one"));
    assert_eq!(under(&ca, between.issue(&params(GUN), "")), Fault(Root));
    let mut old = Authority::params("between");
    old.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let expired = Authority::below(old, &ca);
    assert_eq!(under(&ca, expired.issue(&params(GUN), &expired.pem)), Fault(Root));
    let forged = Authority::new(Authority::params("between"));
    assert_eq!(under(&ca, forged.issue(&params(GUN), &forged.pem)), Fault(Root));
    let mut not_ca = params("between");
    not_ca.extended_key_usages.clear();
    let leaf = Authority::below(not_ca, &ca);
    assert_eq!(under(&ca, leaf.issue(&params(GUN), &leaf.pem)), Fault(Root));
    // The pinned CA itself: expired, or with a path too short.
    let mut old = Authority::params("old CA");
    old.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let old = Authority::new(old);
    assert_eq!(under(&old, old.issue(&params(GUN), "")), Fault(Root));
    let mut narrow = Authority::params("narrow CA");
    narrow.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let narrow = Authority::new(narrow);
    let below = Authority::below(Authority::params("below"), &narrow);
    assert_eq!(under(&narrow, narrow.issue(&params(GUN), "")), Yes("one"));
    assert_eq!(under(&narrow, below.issue(&params(GUN), &below.pem)), Fault(Root));
    // A failing certs pin is not saved by a CA pin.
    let block = json!({ "certs": { "reg.example:5000/*": ["ab".repeat(32)] }, "ca": { GUN: "ca.pem" } });
    let root = ca.issue(&params(GUN), "");
    assert_eq!(end_with(&Repo::new(root).publish(), &pins(&block, &[("ca.pem", &ca.pem)]), None), Fault(Root));
}

#[test]
fn a_root_of_many_chains_ends_and_an_honest_one_beside_many_names_passes() {
    let block = json!({ "disable_tofu": true, "ca": { "reg.example:5000/": "ca.pem" } });
    let ca = Authority::new(Authority::params("owner CA"));
    let pins = pins(&block, &[("ca.pem", &ca.pem)]);
    // All CAs of the crowd have one name, so that they may stand in any order.
    let crowd: String = (0..9).map(|_| Authority::new(Authority::params("between")).pem).collect();
    let between = Authority::new(Authority::params("between"));
    let forged: Vec<Key> = (0..60).map(|_| between.issue(&params(GUN), &crowd)).collect();
    let honest = ca.issue(&params(GUN), "");
    let mut repo = Repo::new(honest.clone());
    let all: Vec<&Key> = forged.iter().chain([&honest]).collect();
    repo.rekey("root", &all, 1);
    let started = std::time::Instant::now();
    assert_eq!(end_with(&repo.publish(), &pins, None), Yes("one"));
    // All of them have signed.
    repo.signers.insert("root".into(), forged);
    assert!(matches!(end_with(&repo.publish(), &pins, None), Fault(Root | Invalid)));
    // Many that do chain, signed by all: too much work to find that out.
    let many: Vec<Key> = (0..60).map(|_| ca.issue(&params(GUN), "")).collect();
    repo.rekey("root", &many.iter().collect::<Vec<_>>(), 60);
    repo.signers.insert("root".into(), many);
    assert_eq!(end_with(&repo.publish(), &pins, None), Fault(Invalid));
    assert!(started.elapsed().as_secs() < 30, "took {:?}", started.elapsed());
}

#[test]
fn that_a_root_chains_is_known_until_the_first_date() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let block = json!({ "disable_tofu": true, "ca": { "reg.example:5000/": "ca.pem" } });
    let mut short = Authority::params("owner CA");
    short.not_after = rcgen::date_time_ymd(2030, 6, 2);
    let ca = Authority::new(short);
    let pins = pins(&block, &[("ca.pem", &ca.pem)]);
    let files = Repo::new(ca.issue(&params(GUN), "")).publish();
    let known = learn(&files, &pins, None, at("2030-06-01T23:30:00Z")).unwrap();
    assert!(known.is_proven(&pins, at("2030-06-01T23:59:59Z")));
    assert!(!known.is_proven(&pins, at("2030-06-02T00:00:01Z")), "the CA has expired");
    assert!(known.proven(&pins, at("2030-06-02T00:00:01Z")).is_err());
    // Other pins are another question, the same text or not.
    let same = Arc::new((*pins).clone());
    assert!(!known.is_proven(&same, at("2030-06-01T23:31:00Z")));
    assert!(known.proven(&same, at("2030-06-01T23:31:00Z")).unwrap().is_proven(&same, at("2030-06-01T23:32:00Z")));
    // What was only read proves nothing.
    let loaded = run(load(&known.stored(), &GUN.parse().unwrap())).unwrap();
    assert!(!loaded.is_proven(&pins, at("2030-06-01T23:31:00Z")));
}

#[test]
fn a_pin_that_is_replaced_keeps_the_versions_of_roles_whose_keys_stay() {
    let (first, second) = (root_key(GUN), root_key(GUN));
    let pin = |key: &Key| pins(&json!({ "certs": { GUN: [key.id] } }), &[]);
    let mut repo = Repo::docker(first.clone());
    let old = repo.clone();
    for _ in 0..3 {
        repo.bump();
    }
    let known = Arc::new(learn(&repo.publish(), &pin(&first), None, now()).unwrap());
    // The same owner under a root that says nothing to who knows the first.
    let begun_again = |from: &Repo, roles: &[&str]| {
        let mut next = from.clone();
        next.bump();
        next.rekey("root", &[&second], 1);
        next.signers.insert("root".into(), vec![second.clone()]);
        next.role("root")["version"] = json!(2);
        for role in roles.iter().filter(|role| !role.contains('/')) {
            next.rekey(role, &[&Key::ecdsa()], 1);
        }
        next
    };
    let end = |repo: &Repo| end_with(&repo.publish(), &pin(&second), Some(Arc::clone(&known)));
    assert_eq!(end(&begun_again(&repo, &[])), Yes("one"));
    // Old files of keys that stay are old, whoever they are.
    for (stays, others) in [
        ("timestamp", &["snapshot", "targets"][..]),
        ("snapshot", &["timestamp", "targets"]),
        ("targets", &["timestamp", "snapshot"]),
        ("targets/releases", &["timestamp", "snapshot", "targets"]),
    ] {
        assert_eq!(end(&begun_again(&old, others)), Fault(RolledBack), "{stays}");
    }
    // Who has begun anew with all keys begins with version 1; but for the root.
    let mut anew = Repo::docker(second.clone());
    anew.role("root")["version"] = json!(2);
    assert_eq!(end(&anew), Yes("one"));
    anew.role("root")["version"] = json!(1);
    assert_eq!(end(&anew), Yes("one"));
}
