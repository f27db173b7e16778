//! What is read, and what two parsers may read differently; answers whatever the bytes.

use img_authz::image::Repository;
use img_authz::trust::tuf::load;
use serde_json::json;

use super::support::End::{Fault, NotSigned, TooLarge, Yes};
use super::support::{BASE, cases, end, holder, learn, now, run, tofu};
use crate::support::trust_repo::*;
use img_authz::trust::tuf::FaultKind::Invalid;

#[test]
fn what_two_parsers_may_read_differently_is_refused() {
    let text = |edit: fn(&str) -> String| {
        move |repo: &mut Repo| {
            for role in [holder(repo), "timestamp", "root"] {
                let mut one = repo.clone();
                one.edit_bytes(role, move |raw| edit(std::str::from_utf8(&raw).unwrap()).into_bytes());
                let found = end(&one.publish());
                assert_eq!(found, Fault(Invalid), "{role}");
            }
            repo.edit_bytes("timestamp", move |raw| edit(std::str::from_utf8(&raw).unwrap()).into_bytes());
        }
    };
    cases(&[
        ("a duplicate member of the envelope", &text(|raw| raw.replacen('{', "{\"signed\":{},", 1)), Fault(Invalid)),
        (
            "a duplicate member of signed",
            &text(|raw| raw.replacen("\"version\":", "\"version\":1,\"version\":", 1)),
            Fault(Invalid),
        ),
        (
            "a duplicate in an escape",
            &text(|raw| raw.replacen("\"version\":", "\"\\u0076ersion\":1,\"version\":", 1)),
            Fault(Invalid),
        ),
        ("a member in another case", &text(|raw| raw.replacen("\"version\":", "\"Version\":9,\"version\":", 1)), Fault(Invalid)),
        ("signed in another case", &text(|raw| raw.replacen("\"signed\":", "\"Signed\":", 1)), Fault(Invalid)),
        ("a float", &text(|raw| raw.replacen("\"version\":", "\"x\":1.0,\"version\":", 1)), Fault(Invalid)),
        ("an exponent", &text(|raw| raw.replacen("\"version\":", "\"x\":1e2,\"version\":", 1)), Fault(Invalid)),
        ("a huge number", &text(|raw| raw.replacen("\"version\":", "\"x\":9007199254740993,\"version\":", 1)), Fault(Invalid)),
        ("bytes behind the document", &text(|raw| format!("{raw}{{}}")), Fault(Invalid)),
        ("a byte order mark", &text(|raw| format!("\u{feff}{raw}")), Fault(Invalid)),
        ("a NUL behind", &text(|raw| format!("{raw}\0")), Fault(Invalid)),
        ("a lone surrogate", &text(|raw| raw.replacen("\"version\":", "\"x\":\"\\ud800\",\"version\":", 1)), Fault(Invalid)),
        ("cut short", &text(|raw| raw[..raw.len() / 2].to_owned()), Fault(Invalid)),
        ("empty", &text(|_| String::new()), Fault(Invalid)),
        ("null", &text(|_| "null".to_owned()), Fault(Invalid)),
        ("an array", &text(|raw| format!("[{raw}]")), Fault(Invalid)),
        ("HTML", &text(|_| "<html>login</html>".to_owned()), Fault(Invalid)),
        ("without signed", &text(|_| "{\"signatures\":[]}".to_owned()), Fault(Invalid)),
        ("without signatures", &text(|raw| raw.replace("\"signatures\":", "\"sigs\":")), Fault(Invalid)),
        (
            "deep nesting",
            &text(|raw| {
                raw.replacen("\"version\":", &format!("\"x\":{}{},\"version\":", "[".repeat(20_000), "]".repeat(20_000)), 1)
            }),
            Fault(Invalid),
        ),
    ]);
    for (role, member, value) in [
        ("timestamp", "version", json!("1")),
        ("timestamp", "version", json!(0)),
        ("timestamp", "version", json!(-1)),
        ("timestamp", "version", json!(null)),
        ("snapshot", "meta", json!([])),
        ("root", "keys", json!([])),
        ("root", "roles", json!(null)),
        ("targets", "targets", json!([])),
        ("targets", "targets", json!(null)),
        ("root", "consistent_snapshot", json!("no")),
    ] {
        let mut repo = Repo::new(root_key(GUN));
        repo.role(role)[member] = value.clone();
        if member == "meta" {
            repo.edit_listing("snapshot", |signed| signed["meta"] = json!([]));
        }
        assert_eq!(end(&repo.publish()), Fault(Invalid), "{role}.{member} = {value}");
    }
    // base64 with line breaks, which Go skips.
    let mut repo = Repo::new(root_key(GUN));
    repo.edit_envelope("targets", |envelope| {
        let sig = envelope["signatures"][0]["sig"].as_str().unwrap().to_owned();
        envelope["signatures"][0]["sig"] = json!(format!("{}\n{}", &sig[..10], &sig[10..]));
    });
    assert_eq!(end(&repo.publish()), Fault(Invalid));
}

#[test]
fn state_that_was_tampered_with_does_not_load() {
    let repo = Repo::docker(root_key(GUN));
    let known = learn(&repo.publish(), &tofu(), None, now()).unwrap();
    let repository: Repository = GUN.parse().unwrap();
    let good = known.stored();
    assert!(run(load(&good, &repository)).is_ok());
    for name in good.files.keys() {
        let mut cut = good.clone();
        cut.files.remove(name);
        assert!(run(load(&cut, &repository)).is_err(), "without {name}");
        let mut changed = good.clone();
        let mut raw = changed.files[name].to_vec();
        let at = raw.iter().position(|byte| *byte == b'1').unwrap();
        raw[at] = b'2';
        changed.files.insert(name.clone(), raw.into());
        assert!(run(load(&changed, &repository)).is_err(), "{name} changed");
    }
    let fake: Repository = "reg.example:5000/team/app2".parse().unwrap();
    assert!(run(load(&good, &fake)).is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]

    /// Whatever bytes stand in the place of a file: an answer, no panic, and never a yes for other content.
    #[test]
    fn arbitrary_files_are_refused(which in 0usize..4, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let mut files = FILES.clone();
        let role = BASE[which];
        for (name, raw) in &mut files {
            if name.starts_with(role) {
                raw.clone_from(&bytes);
            }
        }
        assert!(!matches!(end(&files), Yes(_)));
    }

    /// A byte changed anywhere in a file that is listed or signed never gives another answer than a refusal or the same yes.
    #[test]
    fn a_flipped_byte_never_changes_the_answer(which in 0usize..4, at in 0usize..4000, bit in 0u8..8) {
        let mut files = FILES.clone();
        let role = BASE[which];
        for (name, raw) in &mut files {
            if name.starts_with(role) {
                let at = at % raw.len();
                raw[at] ^= 1 << bit;
            }
        }
        assert!(matches!(end(&files), Yes("one") | Fault(_) | TooLarge | NotSigned));
    }

    /// Taking signatures away never turns a refusal into a yes, nor one yes into another.
    #[test]
    fn fewer_signatures_never_say_more(which in 0usize..4, keep in proptest::prelude::any::<[bool; 3]>(), threshold in 1u64..4) {
        let role = BASE[which];
        let (a, b, c) = KEYS.clone();
        let keys = if role == "root" { [root_key(GUN), root_key(GUN), root_key(GUN)] } else { [a, b, c] };
        let mut repo = Repo::new(root_key(GUN));
        repo.rekey(role, &[&keys[0], &keys[1], &keys[2]], threshold);
        let kept: Vec<Key> = keys.iter().zip(keep).filter(|(_, keep)| *keep).map(|(key, _)| key.clone()).collect();
        let enough = kept.len() as u64 >= threshold;
        repo.signers.insert(role.into(), kept);
        let found = end(&repo.publish());
        assert_eq!(matches!(found, Yes("one")), enough, "{role} {found:?}");
    }
}

static FILES: std::sync::LazyLock<Files> = std::sync::LazyLock::new(|| Repo::new(root_key(GUN)).publish());

static KEYS: std::sync::LazyLock<(Key, Key, Key)> = std::sync::LazyLock::new(|| (Key::ecdsa(), Key::ed25519(), Key::p521()));
