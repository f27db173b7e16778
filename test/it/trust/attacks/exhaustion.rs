//! Bounds: what a publisher may fill, and what costs much.

use std::sync::Arc;

use img_authz::image::Repository;
use img_authz::trust::tuf::{Knowledge, MetadataLimits, Subject, load, update};
use serde_json::{Value, json};

use super::support::End::{Fault, TooLarge, Yes};
use super::support::{end, end_with, now, run, tofu};
use crate::support::trust_repo::*;
use img_authz::trust::tuf::FaultKind::{Invalid, RolledBack, Root};

#[test]
fn exhaustion_is_bounded_and_large_honest_repositories_pass() {
    let started = std::time::Instant::now();
    // A hundred signers and thousands of tags.
    let mut repo = Repo::docker(root_key(GUN));
    for index in 0..100 {
        let role = format!("targets/signer-{index}");
        repo.delegate(&role, &[Key::ecdsa()], &[""]);
        repo.role(&role)["targets"]["1.0"] = target("one");
    }
    for index in 0..5000 {
        repo.role("targets/releases")["targets"][format!("tag-{index}")] = target("two");
    }
    assert_eq!(end(&repo.publish()), Yes("one"));
    // Too many of anything.
    let mut signatures = Repo::new(root_key(GUN));
    signatures.edit_envelope("targets", |envelope| {
        let one = envelope["signatures"][0].clone();
        envelope["signatures"] = Value::Array(vec![one; 5000]);
    });
    assert_eq!(end(&signatures.publish()), Fault(Invalid));
    let mut delegations = Repo::docker(root_key(GUN));
    let entry = delegations.role("targets")["delegations"]["roles"][0].clone();
    for index in 0..2000 {
        let mut entry = entry.clone();
        entry["name"] = json!(format!("targets/x{index}"));
        delegations.role("targets")["delegations"]["roles"].as_array_mut().unwrap().push(entry);
    }
    assert_eq!(end(&delegations.publish()), Fault(Invalid));
    let mut keys = Repo::new(root_key(GUN));
    for index in 0..3000 {
        let public = format!("{index:08}");
        keys.role("root")["keys"][key_id("x", &public)] =
            json!({ "keytype": "x", "keyval": { "public": public, "private": null } });
    }
    assert_eq!(end(&keys.publish()), Fault(Invalid));
    // Levels without end.
    let mut deep = Repo::docker(root_key(GUN));
    let mut role = "targets/releases".to_owned();
    for _ in 0..40 {
        role.push_str("/a");
        deep.delegate(&role.clone(), &[Key::ecdsa()], &[""]);
    }
    assert_eq!(end(&deep.publish()), Fault(Invalid));
    // Larger than any honest file.
    let mut large = Repo::new(root_key(GUN));
    large.edit_bytes("targets", |mut raw| {
        raw.extend(vec![b' '; 9 << 20]);
        raw
    });
    assert!(matches!(end(&large.publish()), Fault(Invalid) | TooLarge));
    assert!(started.elapsed().as_secs() < 60, "took {:?}", started.elapsed());
}

/// Unsigned bytes, and signatures that are none, in front of the good ones: whoever serves a file can add them.
fn padded(mut raw: Vec<u8>, bytes: usize) -> Vec<u8> {
    raw.extend(std::iter::repeat_n(b' ', bytes));
    raw
}

#[expect(clippy::needless_pass_by_value, reason = "one of two `Change`s")]
fn forged(raw: Vec<u8>, count: usize) -> Vec<u8> {
    let mut envelope: Value = serde_json::from_slice(&raw).unwrap();
    let mut none = envelope["signatures"][0].clone();
    none["sig"] = json!(format!("{}==", "A".repeat(86)));
    envelope["signatures"].as_array_mut().unwrap().splice(0..0, std::iter::repeat_n(none, count));
    serde_json::to_vec(&envelope).unwrap()
}

type Change = fn(Vec<u8>, usize) -> Vec<u8>;

/// What `update` accepts in steps, each within its bounds, `load` accepts as a whole.
#[test]
fn what_was_accepted_in_two_steps_is_known_ever_after() {
    let few = MetadataLimits { total_bytes: 100_000, work: 60, ..MetadataLimits::default() };
    let (repository, pins): (Repository, _) = (GUN.parse().unwrap(), tofu());
    for (what, role, change, first, then) in [
        ("padding", "targets", padded as Change, 85_000, 60_000),
        ("padding of a delegation", "targets/releases", padded, 85_000, 60_000),
        ("padding of the root", "root", padded, 85_000, 60_000),
        ("forged signatures", "targets", forged, 45, 45),
        ("forged signatures on a delegation", "targets/releases", forged, 45, 45),
        ("forged signatures on the root", "root", forged, 45, 45),
    ] {
        let mut repo = Repo::docker(root_key(GUN));
        repo.edit_bytes(role, move |raw| change(raw, first));
        let mut files = repo.publish();
        let mut known = None;
        for step in 0..2 {
            if step == 1 {
                let timestamp = files["timestamp.json"].clone();
                files.insert("timestamp.json".into(), change(timestamp, then));
            }
            let subject =
                Subject { repository: repository.clone(), pins: Arc::clone(&pins), limits: few, known: known.map(Arc::new) };
            let updated = run(update(&Served(Arc::new(files.clone())), &subject, now()));
            known = Some(updated.unwrap_or_else(|end| panic!("{what}: step {step} was refused: {end:?}")));
        }
        let known = known.unwrap();
        let loaded = run(load(&known.stored(), &repository)).unwrap_or_else(|fault| panic!("{what}: {fault}"));
        assert_eq!(loaded.stored(), known.stored());
        // The root that was trusted still counts.
        let stranger = Repo::docker(root_key(GUN)).publish();
        assert!(matches!(end_with(&stranger, &tofu(), Some(Arc::new(loaded))), Fault(RolledBack | Root)), "{what}");
    }
}

/// A repository that is as large as one limit says: accepted, and known ever after, also with more on top of it; and one beyond is not.
#[test]
fn at_each_limit_what_update_accepts_load_accepts() {
    let mut repo = Repo::docker(root_key(GUN));
    let mut deep = "targets/releases".to_owned();
    for _ in 0..3 {
        deep.push_str("/a");
        repo.delegate(
            &deep.clone(),
            &[Key::ecdsa(), Key::ecdsa(), Key::ecdsa(), Key::ecdsa(), Key::ecdsa()],
            &["", "1", "2", "3"],
        );
    }
    repo.edit_bytes("targets", |raw| forged(raw, 6));
    let mut rotated = repo.clone();
    // Certificates differ in length by a few bytes.
    let between: Vec<Key> = (0..3).map(|_| root_key(GUN)).collect();
    for key in &between {
        rotated.rotate_root(key);
    }
    rotated.bump();
    let (files, next) = (repo.publish(), rotated.publish());
    let largest = |part: &str| {
        let all = files.iter().chain(&next).filter(|(name, _)| name.contains(part));
        all.map(|(_, raw)| u64::try_from(raw.len()).unwrap()).max().unwrap()
    };
    let largest = ["root", "timestamp", "snapshot", "targets"].map(largest);
    let [root, timestamp, snapshot, targets] = largest;
    let key = |key: &Key| key.public.len();
    let public = between.iter().chain(&repo.signers["root"]).map(key).max().unwrap();
    let names = [
        "root_bytes",
        "timestamp_bytes",
        "snapshot_bytes",
        "targets_bytes",
        "signatures",
        "keys",
        "key_bytes",
        "delegations",
        "roles",
        "levels",
        "paths",
        "roots",
        "certificates",
    ];
    for name in names {
        // Exactly what it takes, and one less.
        for less in [0, 1] {
            let (mut limits, less64) = (MetadataLimits::default(), less as u64);
            match name {
                "root_bytes" => limits.root_bytes = root - less64,
                "timestamp_bytes" => limits.timestamp_bytes = timestamp - less64,
                "snapshot_bytes" => limits.snapshot_bytes = snapshot - less64,
                "targets_bytes" => limits.targets_bytes = targets - less64,
                "signatures" => limits.signatures = 7 - less,
                "keys" => limits.keys = 7 - less,
                "key_bytes" => limits.key_bytes = public - less,
                "delegations" => limits.delegations = 2 - less,
                "roles" => limits.roles = 6 - less,
                "levels" => limits.levels = 4 - less,
                "paths" => limits.paths = 4 - less,
                "roots" => limits.roots = 3 - less64,
                _ => limits.certificates = 1 - less,
            }
            let mut known: Option<Arc<Knowledge>> = None;
            let mut accepted = true;
            for files in [&files, &next] {
                let subject = Subject { repository: GUN.parse().unwrap(), pins: tofu(), limits, known: known.clone() };
                match run(update(&Served(Arc::new(files.clone())), &subject, now())) {
                    Ok(knowledge) => {
                        let loaded = run(load(&knowledge.stored(), &GUN.parse().unwrap()));
                        let loaded = loaded.unwrap_or_else(|fault| panic!("{name}: accepted, and does not load: {fault}"));
                        assert_eq!(loaded.stored(), knowledge.stored(), "{name}");
                        // The next step is on what a new process would know.
                        known = Some(Arc::new(loaded));
                    }
                    Err(_) => accepted = false,
                }
            }
            assert_eq!(accepted, less == 0, "{name}, {less} less than it takes");
        }
    }
}

#[test]
fn a_signature_over_much_costs_much_and_one_is_no_hindrance() {
    let mut repo = Repo::new(root_key(GUN));
    repo.edit_bytes("targets", |raw| forged(raw, 400));
    for index in 0..20_000 {
        repo.role("targets")["targets"][format!("tag-{index}")] = target("two");
    }
    // Each of the signatures hashes two megabytes.
    assert_eq!(end(&repo.publish()), Fault(Invalid));
    repo.bytes.clear();
    assert_eq!(end(&repo.publish()), Yes("one"));
}

#[test]
fn a_timestamp_is_small() {
    for (padding, expected) in [(60_000, Yes("one")), (70_000, TooLarge)] {
        let mut repo = Repo::new(root_key(GUN));
        repo.edit_bytes("timestamp", move |mut raw| {
            raw.extend(vec![b' '; padding]);
            raw
        });
        assert_eq!(end(&repo.publish()), expected);
    }
}
