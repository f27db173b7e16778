//! Attacks on trust data, by the families of docs/notary-v1.md, section 14, each beside valid fakes. Every attack is tried on
//! first use and, where it makes sense, against a good earlier state.

use std::sync::Arc;

use img_authz::image::{Digest, Repository, Tag};
use img_authz::trust::tuf::{Failure, FaultKind, Knowledge, Limits, Pins, Refusal, Subject, load, update};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::trust_repo::*;

/// What a case ends in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// The tag has this content.
    Yes(&'static str),
    /// A fault of this kind, at update or when asked.
    Fault(FaultKind),
    /// Verified, and the tag is not signed.
    NotSigned,
    /// The source was asked for more than it gave, or refused.
    TooLarge,
}

use End::{Fault, NotSigned, TooLarge, Yes};
use FaultKind::{Expired, Invalid, Missing, RolledBack, Root, UnderSigned};

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn subject(pins: &Arc<Pins>, known: Option<Arc<Knowledge>>) -> Subject {
    Subject { repository: GUN.parse().unwrap(), pins: Arc::clone(pins), limits: Limits::default(), known }
}

fn learn(files: &Files, pins: &Arc<Pins>, known: Option<Arc<Knowledge>>, at: Timestamp) -> Result<Knowledge, End> {
    match run(update(&Served(Arc::new(files.clone())), &subject(pins, known), at)) {
        Ok(knowledge) => Ok(knowledge),
        Err(Failure::Fault(fault)) => {
            assert!(!fault.why.contains('\n'));
            Err(Fault(fault.kind))
        }
        Err(Failure::Fetch(_)) => Err(TooLarge),
    }
}

fn ask(knowledge: &Knowledge, tag: &str) -> End {
    let one = |text: &'static str| digest(text).parse::<Digest>().unwrap();
    match knowledge.tag(&tag.parse::<Tag>().unwrap(), &[], now()) {
        Ok(yes) if yes.digest == one("one") => {
            assert_eq!(knowledge.any_of(&[one("one")], &[], now()).map(|yes| yes.digest), Ok(one("one")));
            Yes("one")
        }
        Ok(yes) if yes.digest == one("two") => Yes("two"),
        Ok(_) => Yes("other"),
        Err(Refusal::NotSigned(_)) => {
            assert!(knowledge.any_of(&[one("evil")], &[], now()).is_err());
            NotSigned
        }
        Err(Refusal::SignerMissing { .. }) => unreachable!("nobody is required"),
        Err(Refusal::Fault(fault)) => Fault(fault.kind),
    }
}

fn tofu() -> Arc<Pins> {
    Arc::default()
}

fn end_with(files: &Files, pins: &Arc<Pins>, known: Option<Arc<Knowledge>>) -> End {
    match learn(files, pins, known, now()) {
        Ok(knowledge) => {
            // What was verified can be kept, and verifies again.
            let stored = knowledge.stored();
            let again = run(load(&stored, &GUN.parse::<Repository>().unwrap()));
            assert!(again.is_ok_and(|again| again.stored() == stored), "what verified does not load");
            ask(&knowledge, "1.0")
        }
        Err(end) => end,
    }
}

fn end(files: &Files) -> End {
    end_with(files, &tofu(), None)
}

/// Runs named cases: a change to a good repository of docker's kind and of notary's, on first use and on a later version.
fn cases(list: &[(&str, &dyn Fn(&mut Repo), End)]) {
    for (name, change, expected) in list {
        for kind in ["docker", "notary"] {
            let mut repo = if kind == "docker" { Repo::docker(root_key(GUN)) } else { Repo::new(root_key(GUN)) };
            let good = learn(&repo.publish(), &tofu(), None, now()).unwrap();
            let mut first = repo.clone();
            change(&mut first);
            assert_eq!(end(&first.publish()), *expected, "{name}: {kind}, first use");
            repo.bump();
            change(&mut repo);
            let end = end_with(&repo.publish(), &tofu(), Some(Arc::new(good)));
            assert_eq!(end, *expected, "{name}: {kind}, later");
        }
    }
}

/// The role whose entry answers, in both kinds of repository.
fn holder(repo: &Repo) -> &'static str {
    if repo.signed.contains_key("targets/releases") { "targets/releases" } else { "targets" }
}

const BASE: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

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

fn pins(text: &Value, bundles: &[(&str, &str)]) -> Arc<Pins> {
    let load = |path: &str| {
        bundles.iter().find(|(name, _)| *name == path).map(|(_, pem)| (*pem).to_owned()).ok_or_else(|| "not there".to_owned())
    };
    Arc::new(Pins::read(&text.to_string(), load).unwrap())
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

fn role_name(text: &str) -> img_authz::trust::tuf::RoleName {
    img_authz::trust::tuf::RoleName::delegation(text).unwrap()
}

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
    let few = Limits { total_bytes: 100_000, work: 60, ..Limits::default() };
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
            let (mut limits, less64) = (Limits::default(), less as u64);
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
