//! Dates and versions: what has expired, and what goes back.

use std::sync::Arc;

use img_authz::image::{Repository, Tag};
use img_authz::trust::tuf::{Refusal, load};
use jiff::Timestamp;
use serde_json::json;

use super::support::End::{Fault, Yes};
use super::support::{BASE, cases, end, end_with, learn, now, run, tofu};
use crate::support::trust_repo::*;
use img_authz::trust::tuf::FaultKind::{Expired, Invalid, Missing, RolledBack, UnderSigned};

#[test]
fn nothing_expired_counts() {
    for role in BASE {
        let expired = |repo: &mut Repo| repo.role(role)["expires"] = json!(PAST);
        let absent = |repo: &mut Repo| drop(repo.role(role).as_object_mut().unwrap().remove("expires"));
        let unreadable = |repo: &mut Repo| repo.role(role)["expires"] = json!("tomorrow");
        let number = |repo: &mut Repo| repo.role(role)["expires"] = json!(1_900_000_000);
        if role != "root" {
            cases(&[("expired", &expired, Fault(Expired))]);
        }
        for (change, fault) in
            [(&expired as &dyn Fn(&mut Repo), Expired), (&absent, Invalid), (&unreadable, Invalid), (&number, Invalid)]
        {
            let mut repo = Repo::new(root_key(GUN));
            change(&mut repo);
            assert_eq!(end(&repo.publish()), Fault(fault), "{role}");
        }
    }
    // An expired targets/releases never falls back to targets.
    let mut repo = Repo::docker(root_key(GUN));
    repo.role("targets")["targets"]["1.0"] = target("two");
    assert_eq!(end(&repo.publish()), Yes("one"));
    repo.role("targets/releases")["expires"] = json!(PAST);
    assert_eq!(end(&repo.publish()), Fault(Expired));
    // Nor does an under-signed one.
    repo.role("targets/releases")["expires"] = json!(LATER);
    repo.signers.insert("targets/releases".into(), vec![Key::ecdsa()]);
    assert_eq!(end(&repo.publish()), Fault(UnderSigned));
}

#[test]
fn no_role_goes_back_alone_or_together() {
    let mut repo = Repo::docker(root_key(GUN));
    repo.bump();
    repo.bump();
    let known = Arc::new(learn(&repo.publish(), &tofu(), None, now()).unwrap());
    for role in ["timestamp", "snapshot", "targets", "targets/releases", "targets/alice"] {
        let mut back = repo.clone();
        back.bump();
        back.role(role)["version"] = json!(1);
        assert_eq!(end_with(&back.publish(), &tofu(), Some(Arc::clone(&known))), Fault(RolledBack), "{role}");
        // The same version with other content.
        let mut other = repo.clone();
        other.bump();
        other.role(role)["version"] = json!(3);
        other.role(role)["x"] = json!(1);
        assert_eq!(end_with(&other.publish(), &tofu(), Some(Arc::clone(&known))), Fault(RolledBack), "{role}");
    }
    // Under an unchanged parent: the delegation alone goes back.
    let mut back = repo.clone();
    for role in ["snapshot", "timestamp"] {
        back.role(role)["version"] = json!(4);
    }
    back.role("targets/releases")["version"] = json!(2);
    assert_eq!(end_with(&back.publish(), &tofu(), Some(Arc::clone(&known))), Fault(RolledBack));
    // All together.
    let mut old = repo.clone();
    for role in ["timestamp", "snapshot", "targets", "targets/releases", "targets/alice"] {
        old.role(role)["version"] = json!(2);
    }
    assert_eq!(end_with(&old.publish(), &tofu(), Some(Arc::clone(&known))), Fault(RolledBack));
    // After the timestamp's key was rotated.
    let key = Key::ecdsa();
    old.rekey("timestamp", &[&key], 1);
    old.role("root")["version"] = json!(2);
    assert_eq!(end_with(&old.publish(), &tofu(), Some(Arc::clone(&known))), Fault(RolledBack));
    // A re-signed file of the same content is no attack.
    let mut again = repo.clone();
    for role in ["snapshot", "timestamp"] {
        again.role(role)["version"] = json!(4);
    }
    assert_eq!(end_with(&again.publish(), &tofu(), Some(Arc::clone(&known))), Yes("one"));
    // Through what was stored, too.
    let stored = run(load(&known.stored(), &GUN.parse::<Repository>().unwrap())).unwrap();
    assert_eq!(end_with(&old.publish(), &tofu(), Some(Arc::new(stored))), Fault(RolledBack));
}

#[test]
fn a_known_role_does_not_vanish_while_it_is_delegated() {
    let mut repo = Repo::docker(root_key(GUN));
    repo.role("targets")["targets"]["1.0"] = target("two");
    let known = Arc::new(learn(&repo.publish(), &tofu(), None, now()).unwrap());
    repo.bump();
    let mut gone = repo.clone();
    gone.edit_listing("snapshot", |snapshot| drop(snapshot["meta"].as_object_mut().unwrap().remove("targets/releases")));
    assert_eq!(end_with(&gone.publish(), &tofu(), Some(Arc::clone(&known))), Fault(RolledBack));
    // The owner may take a delegation back.
    let mut removed = repo.clone();
    removed.signed.remove("targets/releases");
    removed.role("targets")["delegations"]["roles"].as_array_mut().unwrap().retain(|role| role["name"] != "targets/releases");
    assert_eq!(end_with(&removed.publish(), &tofu(), Some(Arc::clone(&known))), Yes("two"));
    let mut files = repo.publish();
    files.remove("timestamp.json");
    assert_eq!(end_with(&files, &tofu(), Some(known)), Fault(Missing));
}

#[test]
fn the_clock_never_makes_a_yes_of_a_no() {
    let mut repo = Repo::new(root_key(GUN));
    repo.role("timestamp")["expires"] = json!("2030-06-10T00:00:00Z");
    let known = learn(&repo.publish(), &tofu(), None, now()).unwrap();
    let tag: Tag = "1.0".parse().unwrap();
    assert!(known.tag(&tag, &[], now()).is_ok());
    let later: Timestamp = "2030-06-11T00:00:00Z".parse().unwrap();
    assert!(matches!(known.tag(&tag, &[], later), Err(Refusal::Fault(fault)) if fault.kind == Expired));
    // Seen on the ninth, the clock is set back: what expired on the eighth stays expired.
    let ninth: Timestamp = "2030-06-09T00:00:00Z".parse().unwrap();
    let known = Arc::new(learn(&repo.publish(), &tofu(), None, ninth).unwrap());
    repo.bump();
    repo.role("timestamp")["expires"] = json!("2030-06-08T00:00:00Z");
    assert_eq!(learn(&repo.publish(), &tofu(), Some(known), now()).unwrap_err(), Fault(Expired));
}

#[test]
fn what_expires_soon_is_told_each_kind_of_role_in_its_time() {
    let mut repo = Repo::docker(root_key(GUN));
    let soon = |repo: &Repo, served: bool| {
        let known = learn(&repo.publish(), &tofu(), None, now()).unwrap();
        let soon = known.expiries().into_iter().filter(|expiry| expiry.is_soon(now()) && (served || !expiry.kind.is_served()));
        soon.map(|expiry| expiry.role).collect::<Vec<_>>()
    };
    assert!(soon(&repo, true).is_empty());
    repo.role("timestamp")["expires"] = json!("2030-06-02T12:00:00Z");
    assert!(soon(&repo, false).is_empty());
    assert_eq!(soon(&repo, true), ["timestamp"]);
    repo.role("root")["expires"] = json!("2030-08-01T00:00:00Z");
    repo.role("targets/alice")["expires"] = json!(PAST);
    repo.role("targets")["expires"] = json!("2030-06-20T00:00:00Z");
    assert_eq!(soon(&repo, false), ["targets/alice", "targets", "root"]);
    assert_eq!(soon(&repo, true), ["targets/alice", "timestamp", "targets", "root"]);
}
