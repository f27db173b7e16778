//! Files, and what their parents list.

use serde_json::{Value, json};

use super::support::End::{Fault, TooLarge, Yes};
use super::support::end;
use crate::support::trust_repo::*;
use img_authz::trust::tuf::FaultKind::{Invalid, Missing, UnderSigned};

#[test]
fn files_must_be_those_that_their_parents_list() {
    let lists = |role: &'static str, edit: fn(&mut Value)| {
        move |repo: &mut Repo| {
            let parent = if role == "snapshot" { "timestamp" } else { "snapshot" };
            repo.edit_listing(parent, move |signed| edit(&mut signed["meta"][role]));
        }
    };
    for role in ["snapshot", "root", "targets"] {
        for (name, edit) in [
            (
                "sha256 of another file",
                (|meta: &mut Value| meta["hashes"]["sha256"] = json!("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="))
                    as fn(&mut Value),
            ),
            ("sha512 of another file", |meta| {
                meta["hashes"]["sha512"] =
                    json!("z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==");
            }),
            ("no hashes", |meta| drop(meta.as_object_mut().unwrap().remove("hashes"))),
            ("empty hashes", |meta| meta["hashes"] = json!({})),
            ("null hashes", |meta| meta["hashes"] = json!(null)),
            ("unknown hashes alone", |meta| meta["hashes"] = json!({ "md5": "1B2M2Y8AsgTpgAmY7PhCfg==" })),
            ("a short sha256", |meta| meta["hashes"]["sha256"] = json!("AAAA")),
            ("a short sha512", |meta| meta["hashes"]["sha512"] = json!("AAAA")),
            ("a hash in hex", |meta| meta["hashes"]["sha256"] = json!("ab".repeat(32))),
            ("a null hash", |meta| meta["hashes"]["sha256"] = json!(null)),
            ("a length one too long", |meta| meta["length"] = json!(meta["length"].as_u64().unwrap() + 1)),
            ("a negative length", |meta| meta["length"] = json!(-1)),
            ("an absurd length", |meta| meta["length"] = json!(1u64 << 40)),
            ("no length", |meta| drop(meta.as_object_mut().unwrap().remove("length"))),
            ("a null entry", |meta| *meta = json!(null)),
        ] {
            let mut repo = Repo::new(root_key(GUN));
            lists(role, edit)(&mut repo);
            let found = end(&repo.publish());
            assert!(matches!(found, Fault(Invalid | Missing)), "{name}: {role}: {found:?}");
        }
        let mut repo = Repo::new(root_key(GUN));
        lists(role, |meta| meta["length"] = json!(meta["length"].as_u64().unwrap() - 1))(&mut repo);
        assert!(matches!(end(&repo.publish()), Fault(Invalid) | TooLarge), "too short: {role}");
        let mut repo = Repo::new(root_key(GUN));
        repo.edit_listing(if role == "snapshot" { "timestamp" } else { "snapshot" }, move |signed| {
            signed["meta"].as_object_mut().unwrap().remove(role);
        });
        assert_eq!(end(&repo.publish()), Fault(Invalid), "not listed: {role}");
        let mut repo = Repo::new(root_key(GUN));
        lists(role, |meta| drop(meta["hashes"].as_object_mut().unwrap().remove("sha512")))(&mut repo);
        lists(role, |meta| meta["hashes"]["md5"] = json!("1B2M2Y8AsgTpgAmY7PhCfg=="))(&mut repo);
        assert_eq!(end(&repo.publish()), Yes("one"), "sha256 alone is enough: {role}");
    }
    // Every byte of a hashed file counts, the envelope's white space included.
    for role in ["snapshot", "targets"] {
        let mut files = Repo::new(root_key(GUN)).publish();
        let name = files.keys().find(|name| name.starts_with(&format!("{role}.")) && name.len() > 64).unwrap().clone();
        files.get_mut(&name).unwrap().push(b' ');
        assert!(matches!(end(&files), Fault(Invalid) | TooLarge), "{role}");
    }
}

#[test]
fn no_file_stands_in_for_another() {
    for (role, wrong) in
        [("root", "Targets"), ("timestamp", "Snapshot"), ("snapshot", "Timestamp"), ("targets", "targets"), ("targets", "Root")]
    {
        let mut repo = Repo::new(root_key(GUN));
        repo.role(role)["_type"] = json!(wrong);
        assert_eq!(end(&repo.publish()), Fault(Invalid), "{role} as {wrong}");
        repo.role(role).as_object_mut().unwrap().remove("_type");
        assert_eq!(end(&repo.publish()), Fault(Invalid), "{role} without a type");
    }
    let mut files = Repo::new(root_key(GUN)).publish();
    let snapshot = files["snapshot.json"].clone();
    files.insert("timestamp.json".into(), snapshot);
    assert_eq!(end(&files), Fault(Invalid));
    let mut files = Repo::new(root_key(GUN)).publish();
    let other = Repo::new(root_key(GUN)).publish();
    files.insert("timestamp.json".into(), other["timestamp.json"].clone());
    assert_eq!(end(&files), Fault(UnderSigned));
}
