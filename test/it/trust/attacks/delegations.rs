//! Delegations: which roles vouch, and whose signatures they need.

use img_authz::image::{Digest, Tag};
use img_authz::trust::tuf::Refusal;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::support::End::{Fault, NotSigned, Yes};
use super::support::{end, learn, now, role_name, tofu};
use crate::support::trust_repo::*;
use img_authz::trust::tuf::FaultKind::{Expired, Invalid, UnderSigned};

#[test]
fn only_the_roles_that_docker_accepts_vouch() {
    let without = |edit: &dyn Fn(&mut Repo)| {
        let mut repo = Repo::docker(root_key(GUN));
        for role in ["targets/releases", "targets/alice"] {
            repo.role(role)["targets"] = json!({});
        }
        edit(&mut repo);
        end(&repo.publish())
    };
    let sign = |repo: &mut Repo, role: &str| repo.role(role)["targets"]["1.0"] = target("one");
    assert_eq!(without(&|_| ()), NotSigned);
    assert_eq!(without(&|repo| sign(repo, "targets/alice")), NotSigned);
    assert_eq!(without(&|repo| sign(repo, "targets")), Yes("one"));
    for name in ["targets/release", "targets/releases2", "targets/releases-x", "targets/alice/releases"] {
        assert_eq!(
            without(&|repo| {
                repo.delegate(name, &[Key::ecdsa()], &[""]);
                sign(repo, name);
            }),
            NotSigned,
            "{name}"
        );
    }
    // A child of releases is a hit that docker refuses, even with the tag in targets.
    assert_eq!(
        without(&|repo| {
            repo.delegate("targets/releases/x", &[Key::ecdsa()], &[""]);
            sign(repo, "targets/releases/x");
            sign(repo, "targets");
        }),
        NotSigned
    );
    // A child of releases that cannot be verified hides such a hit.
    assert_eq!(
        without(&|repo| {
            repo.delegate("targets/releases/x", &[Key::ecdsa()], &[""]);
            repo.signers.insert("targets/releases/x".into(), vec![Key::ecdsa()]);
            sign(repo, "targets");
        }),
        Fault(UnderSigned)
    );
    // Paths.
    for (paths, expected) in [
        (json!(["1."]), Yes("one")),
        (json!(["1.0"]), Yes("one")),
        (json!(["2", ""]), Yes("one")),
        (json!(["2"]), NotSigned),
        (json!([]), NotSigned),
        (json!(["1.0x"]), NotSigned),
        (json!(["*"]), NotSigned),
        (json!(null), NotSigned),
    ] {
        let found = without(&|repo| {
            sign(repo, "targets/releases");
            let roles = repo.role("targets")["delegations"]["roles"].as_array_mut().unwrap();
            roles.iter_mut().find(|role| role["name"] == "targets/releases").unwrap()["paths"] = paths.clone();
        });
        assert_eq!(found, expected, "{paths}");
    }
    // Tags in another spelling, or without a digest.
    for tag in ["1.0 ", "1.O", "1.0.0", "v1.0"] {
        assert_eq!(without(&|repo| repo.role("targets")["targets"][tag] = target("one")), NotSigned, "{tag:?}");
    }
    for entry in [
        json!({ "hashes": {}, "length": 1 }),
        json!({ "hashes": null, "length": 1 }),
        json!({ "length": 1 }),
        json!({}),
        json!({ "hashes": { "sha256": "AAAA" }, "length": 1 }),
        json!({ "hashes": { "sha512": "AAAA" }, "length": 1 }),
        json!({ "hashes": { "sha256": null }, "length": 1 }),
        json!(null),
        json!([]),
        json!("x"),
        json!({ "hashes": { "sha256": "!" } }),
        json!({ "hashes": { "sha256": 1 } }),
        json!({ "hashes": [] }),
        json!({ "Hashes": {} }),
    ] {
        let found = without(&|repo| repo.role("targets")["targets"]["1.0"] = entry.clone());
        assert_eq!(found, Fault(Invalid), "{entry}");
    }
}

#[test]
fn delegations_must_be_clean() {
    for name in [
        "targets",
        "targets/",
        "targets/../root",
        "targets//x",
        "targets/X",
        "root",
        "releases",
        "targets/a/b",
        "",
        "targets/releases",
    ] {
        let mut repo = Repo::docker(root_key(GUN));
        let key = Key::ecdsa();
        let delegations = &mut repo.role("targets")["delegations"];
        delegations["keys"][&key.id] = key.listed();
        let entry = json!({ "name": name, "keyids": [key.id], "paths": [""], "threshold": 1 });
        delegations["roles"].as_array_mut().unwrap().push(entry);
        assert_eq!(end(&repo.publish()), Fault(Invalid), "{name:?}");
    }
    let with = |edit: &dyn Fn(&mut Value)| {
        let mut repo = Repo::docker(root_key(GUN));
        edit(&mut repo.role("targets")["delegations"]);
        end(&repo.publish())
    };
    assert_eq!(with(&|delegations| delegations["roles"][0]["threshold"] = json!(0)), Fault(Invalid));
    assert_eq!(with(&|delegations| delegations["roles"][0]["threshold"] = json!(2)), Fault(UnderSigned));
    assert_eq!(with(&|delegations| delegations["keys"] = json!({})), Fault(Invalid));
    assert_eq!(with(&|delegations| delegations["roles"] = json!({})), Fault(Invalid));
    assert_eq!(with(&|delegations| *delegations = json!([])), Fault(Invalid));
    assert_eq!(with(&|delegations| delegations["roles"][0]["name"] = json!(1)), Fault(Invalid));
    // Delegation by someone not entitled: alice cannot make releases.
    let mut repo = Repo::docker(root_key(GUN));
    let mallory = Key::ecdsa();
    let delegations = &mut repo.role("targets/alice")["delegations"];
    delegations["keys"][&mallory.id] = mallory.listed();
    let entry = json!({ "name": "targets/releases", "keyids": [mallory.id], "paths": [""], "threshold": 1 });
    delegations["roles"] = json!([entry]);
    assert_eq!(end(&repo.publish()), Fault(Invalid));
    // releases signed by another delegation's key.
    let mut repo = Repo::docker(root_key(GUN));
    repo.delegate("targets/bob", &[Key::ecdsa()], &[""]);
    let bob = repo.signers["targets/bob"].clone();
    repo.signers.insert("targets/releases".into(), bob);
    assert_eq!(end(&repo.publish()), Fault(UnderSigned));
}

#[test]
fn required_signers_must_agree() {
    let repo = Repo::docker(root_key(GUN));
    let knowledge = learn(&repo.publish(), &tofu(), None, now()).unwrap();
    let (alice, bob) = (role_name("targets/alice"), role_name("targets/bob"));
    let tag: Tag = "1.0".parse().unwrap();
    assert_eq!(knowledge.tag(&tag, std::slice::from_ref(&alice), now()).unwrap().signers, ["alice"]);
    assert!(matches!(knowledge.tag(&tag, &[bob], now()), Err(Refusal::SignerMissing { .. })));
    let mut other = repo.clone();
    other.role("targets/alice")["targets"]["1.0"] = target("two");
    let knowledge = learn(&other.publish(), &tofu(), None, now()).unwrap();
    assert!(matches!(knowledge.tag(&tag, std::slice::from_ref(&alice), now()), Err(Refusal::SignerMissing { .. })));
    let mut old = repo;
    old.role("targets/alice")["expires"] = json!(PAST);
    let knowledge = learn(&old.publish(), &tofu(), None, now()).unwrap();
    assert!(matches!(knowledge.tag(&tag, &[alice], now()), Err(Refusal::Fault(fault)) if fault.kind == Expired));
}

/// Random repositories: a digest is vouched for exactly where a tag says it is, whoever must agree, and whatever has expired.
#[test]
fn a_digest_is_vouched_for_where_one_of_its_tags_is() {
    let keys: Vec<Key> = (0..3).map(|_| Key::ecdsa()).collect();
    let roles = ["targets/releases", "targets/alice", "targets/bob", "targets/releases/a", "targets/releases/b"];
    let (tags, contents) = (["a", "ab", "b", "ba"], ["one", "two", "three"]);
    let mut seed = 7u64;
    let mut chance = move |most: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % most
    };
    let (root, late) = (root_key(GUN), "2030-09-01T00:00:00Z".parse::<Timestamp>().unwrap());
    let mut yes = 0;
    for round in 0..60 {
        let mut repo = Repo::new(root.clone());
        repo.role("targets")["targets"] = json!({});
        for role in roles {
            if chance(4) > 0 && repo.signed.contains_key(role.rsplit_once('/').unwrap().0) {
                let paths: &[&str] = [&[""][..], &["a"], &["b", "ab"]][chance(3)];
                repo.delegate(role, std::slice::from_ref(&keys[chance(3)]), paths);
                if chance(4) == 0 {
                    repo.role(role)["expires"] = json!("2030-07-01T00:00:00Z");
                }
                if chance(8) == 0 {
                    repo.signers.insert(role.into(), vec![Key::ecdsa()]);
                }
            }
        }
        for role in repo.signed.keys().filter(|role| role.starts_with("targets")).cloned().collect::<Vec<_>>() {
            for tag in tags {
                if chance(2) == 0 {
                    repo.role(&role)["targets"][tag] = target(contents[chance(3)]);
                }
            }
        }
        let files = repo.publish();
        let (alice, bob) = (role_name("targets/alice"), role_name("targets/bob"));
        for require in [&[][..], std::slice::from_ref(&alice), &[alice.clone(), bob]] {
            let known = learn(&files, &tofu(), None, now()).unwrap();
            known.prepare(require);
            for at in [now(), late] {
                for content in contents {
                    let digest: Digest = digest(content).parse().unwrap();
                    let said = |tag: &&str| known.tag(&tag.parse().unwrap(), require, at).is_ok_and(|yes| yes.digest == digest);
                    let expected: Vec<&str> = tags.into_iter().filter(|tag| said(tag)).collect();
                    let found = known.any_of(&[digest], require, at);
                    let mut named: Vec<String> = found.iter().flat_map(|yes| yes.tags.iter().map(ToString::to_string)).collect();
                    named.sort();
                    assert_eq!(named, expected, "round {round}, {content}, {require:?}, {at}: {found:?}");
                    yes += usize::from(found.is_ok());
                }
            }
        }
    }
    assert!(yes > 100, "only {yes}");
}
