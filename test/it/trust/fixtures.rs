//! Attacks and their valid fakes as folders: `test/fixtures/tuf/<what-is-wrong>/`, a family of docs/notary-v1.md, section 14,
//! in the name's first word. Every folder is served over TLS and asked about, with the time and the pins it names.
//!
//! The folders are made by the generator (`support::trust_repo`) and committed; keys are thrown away, so that making them again
//! changes every file. To add a case, add it to [`cases`] and run the binary in its other mode, which writes the folders that
//! are missing (all of them with `TUF_FIXTURES=all`):
//!
//! ```text
//! cargo test --test it -- --ignored write_the_missing_fixtures
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::trust_repo::*;
use crate::support::trust_server::{Fixture, Server, verdict};

/// One folder before it is written.
struct Case {
    name: &'static str,
    /// What is wrong, or why nothing is.
    what: &'static str,
    /// What is served.
    files: Files,
    /// What was served, and verified, before.
    earlier: Option<Files>,
    pins: Option<Value>,
    bundles: BTreeMap<String, String>,
    /// `Ok` with the content, or the code.
    expect: Result<&'static str, &'static str>,
    tag: &'static str,
    now: &'static str,
}

type Expect = Result<&'static str, &'static str>;

const INVALID: Expect = Err("trust-invalid");
const ROLLED: Expect = Err("trust-rolled-back");
const EXPIRED: Expect = Err("trust-expired");
const ROOT: Expect = Err("root-not-trusted");
const UNSIGNED: Expect = Err("not-signed");
const GONE: Expect = Err("trust-withdrawn");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("test/fixtures/tuf")
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: &'static str, what: &'static str, files: Files, expect: Expect) -> &mut Case {
        let case = Case { name, what, files, earlier: None, pins: None, bundles: BTreeMap::new(), expect, tag: "1.0", now: NOW };
        self.0.push(case);
        self.0.last_mut().unwrap()
    }

    /// A change to a repository as docker makes it, on first use.
    fn docker(&mut self, name: &'static str, what: &'static str, expect: Expect, change: impl Fn(&mut Repo)) -> &mut Case {
        let mut repo = Repo::docker(root_key(GUN));
        change(&mut repo);
        self.add(name, what, repo.publish(), expect)
    }

    /// The same, to one as the notary client makes it: the tag in `targets`.
    fn plain(&mut self, name: &'static str, what: &'static str, expect: Expect, change: impl Fn(&mut Repo)) -> &mut Case {
        let mut repo = Repo::new(root_key(GUN));
        change(&mut repo);
        self.add(name, what, repo.publish(), expect)
    }

    /// A change to a later publication, where the earlier one (version 3 of everything) was verified.
    fn later(&mut self, name: &'static str, what: &'static str, expect: Expect, change: impl Fn(&mut Repo)) -> &mut Case {
        let mut repo = Repo::docker(root_key(GUN));
        repo.bump();
        repo.bump();
        let earlier = repo.publish();
        repo.bump();
        change(&mut repo);
        let case = self.add(name, what, repo.publish(), expect);
        case.earlier = Some(earlier);
        case
    }
}

/// All text of a role's file, rewritten before its parent lists it.
fn text(repo: &mut Repo, role: &str, edit: fn(&str) -> String) {
    repo.edit_bytes(role, move |raw| edit(std::str::from_utf8(&raw).unwrap()).into_bytes());
}

fn cases() -> Vec<Case> {
    let mut all = Cases::default();
    valid(&mut all);
    signatures(&mut all);
    freshness(&mut all);
    consistency(&mut all);
    roots(&mut all);
    pins(&mut all);
    delegations(&mut all);
    reading(&mut all);
    exhaustion(&mut all);
    all.0
}

fn valid(all: &mut Cases) {
    all.docker("valid-docker", "as docker trust sign makes it", Ok("one"), |_| ());
    all.plain("valid-notary", "as the notary client makes it: the tag in targets", Ok("one"), |_| ());
    all.later("valid-later-publication", "every file one version on", Ok("one"), |_| ());
    all.later("valid-tag-moved", "the tag was signed anew for other content", Ok("two"), |repo| {
        for role in ["targets/releases", "targets/alice"] {
            repo.role(role)["targets"]["1.0"] = target("two");
        }
    });
    all.later("valid-resigned-unchanged", "parents are newer, the delegation is the same file", Ok("one"), |repo| {
        for role in ["targets", "targets/releases", "targets/alice"] {
            repo.role(role)["version"] = json!(3);
        }
    });
    all.add(
        "valid-wildcard-certificate",
        "a root certificate for a prefix",
        Repo::docker(root_key("reg.example:5000/*")).publish(),
        Ok("one"),
    );
    all.plain("valid-two-signers", "a threshold of two, met by an ECDSA and an Ed25519 key", Ok("one"), |repo| {
        let (a, b) = (Key::ecdsa(), Key::ed25519());
        for role in ["targets", "snapshot", "timestamp"] {
            repo.rekey(role, &[&a, &b], 2);
        }
    });
    all.plain("valid-rsa", "RSA keys of 2048 bits", Ok("one"), |repo| {
        let key = Key::rsa(2048, "rsapss");
        for role in ["targets", "snapshot", "timestamp"] {
            repo.rekey(role, &[&key], 1);
        }
    });
    all.docker("valid-unused-delegation", "a delegation that nobody published into yet", Ok("one"), |repo| {
        repo.delegate("targets/bob", &[Key::ecdsa()], &[""]);
        repo.signed.remove("targets/bob");
    });
    all.docker("valid-other-signer-expired", "another signer's delegation is expired; it answers nothing", Ok("one"), |repo| {
        repo.delegate("targets/bob", &[Key::ecdsa()], &[""]);
        repo.role("targets/bob")["expires"] = json!(PAST);
    });
    all.plain("valid-spelling", "white space, escapes and unknown members", Ok("one"), |repo| {
        repo.role("targets")["x-note"] = json!({ "é": [1, true, null, "\u{7f}\u{2028}<&>"] });
        repo.edit_bytes("targets", |raw| {
            let value: Value = serde_json::from_slice(&raw).unwrap();
            let (signed, signatures) = (&value["signed"], &value["signatures"]);
            format!("\n {{ \"signatures\" :\t{signatures:#} ,\r\n\"signed\": {signed:#} }} \n").into_bytes()
        });
    });
    all.docker("valid-hundred-tags", "more than one tag", Ok("one"), |repo| {
        for index in 0..100 {
            repo.role("targets/releases")["targets"][format!("tag-{index}")] = target("two");
        }
    });
    all.later(
        "valid-delegation-taken-back",
        "the owner removed targets/releases; an older tag in targets counts",
        Ok("two"),
        |repo| {
            repo.role("targets")["targets"]["1.0"] = target("two");
            repo.signed.remove("targets/releases");
            repo.role("targets")["delegations"]["roles"]
                .as_array_mut()
                .unwrap()
                .retain(|role| role["name"] != "targets/releases");
        },
    );
}

fn signatures(all: &mut Cases) {
    for (name, role, expect) in [
        ("signatures-stranger-signs-root", "root", ROOT),
        ("signatures-stranger-signs-timestamp", "timestamp", INVALID),
        ("signatures-stranger-signs-snapshot", "snapshot", INVALID),
        ("signatures-stranger-signs-targets", "targets", INVALID),
        ("signatures-stranger-signs-releases", "targets/releases", INVALID),
    ] {
        all.docker(name, "signed by a key that no one listed", expect, move |repo| {
            repo.signers.insert(role.into(), vec![Key::ecdsa()]);
        });
    }
    for (name, role) in [
        ("signatures-none-on-root", "root"),
        ("signatures-none-on-timestamp", "timestamp"),
        ("signatures-none-on-snapshot", "snapshot"),
        ("signatures-none-on-targets", "targets"),
        ("signatures-none-on-releases", "targets/releases"),
    ] {
        all.docker(name, "no signature at all", INVALID, move |repo| drop(repo.signers.insert(role.into(), Vec::new())));
    }
    all.plain("signatures-key-of-another-role", "targets signed by the snapshot's key", INVALID, |repo| {
        let key = repo.signers["snapshot"].clone();
        repo.signers.insert("targets".into(), key);
    });
    all.docker("signatures-key-of-another-delegation", "targets/releases signed by bob's key alone", INVALID, |repo| {
        repo.delegate("targets/bob", &[Key::ecdsa()], &[""]);
        let bob = repo.signers["targets/bob"].clone();
        repo.signers.insert("targets/releases".into(), bob);
    });
    all.plain("signatures-under-a-listed-id", "a stranger's signature under the id of a listed key", INVALID, |repo| {
        let id = repo.signers["targets"][0].id.clone();
        repo.signers.insert("targets".into(), vec![Key::ecdsa().calling_itself(id)]);
    });
    all.plain("signatures-one-key-signs-twice", "one signature twice, for a threshold of two", INVALID, |repo| {
        let key = repo.signers["targets"][0].clone();
        repo.rekey("targets", &[&key], 2);
        repo.role("root")["roles"]["targets"]["keyids"] = json!([key.id, key.id]);
        repo.signers.insert("targets".into(), vec![key.clone(), key]);
    });
    all.plain(
        "signatures-one-key-in-two-certificates",
        "one private key under two ids, for a threshold of two",
        INVALID,
        |repo| {
            let pair = rcgen::KeyPair::generate().unwrap();
            let key = Key::of_pair(&pair);
            let certified = |name| key.certified(&pem(params(name).self_signed(&pair).unwrap().der()));
            repo.rekey("targets", &[&certified("a"), &certified("b")], 2);
        },
    );
    all.plain("signatures-threshold-of-zero", "a threshold that is none", INVALID, |repo| {
        repo.role("root")["roles"]["targets"]["threshold"] = json!(0);
    });
    all.plain("signatures-changed-after-signing", "a member added to what was signed", INVALID, |repo| {
        repo.edit_envelope("timestamp", |envelope| envelope["signed"]["x"] = json!(1));
    });
    all.plain("signatures-another-method", "an ECDSA signature labelled RSA", INVALID, |repo| {
        repo.edit_envelope("targets", |envelope| envelope["signatures"][0]["method"] = json!("rsapss"));
    });
    all.plain("signatures-line-break-in-base64", "which the Go client skips", INVALID, |repo| {
        repo.edit_envelope("targets", |envelope| {
            let sig = envelope["signatures"][0]["sig"].as_str().unwrap().to_owned();
            envelope["signatures"][0]["sig"] = json!(format!("{}\n{}", &sig[..10], &sig[10..]));
        });
    });
    all.plain("signatures-key-id-not-its-own", "a key listed under another id", INVALID, |repo| {
        repo.role("root")["keys"]["ab".repeat(32)] = Key::ecdsa().listed();
    });
    all.plain("signatures-weak-ed25519-point", "the identity as public key, which anyone can sign for", INVALID, |repo| {
        let ed = Key::ed25519();
        let mut identity = [0u8; 32];
        identity[0] = 1;
        repo.rekey("targets", &[&ed.relabelled("ed25519", &STANDARD.encode(identity))], 1);
        repo.edit_envelope("targets", |envelope| {
            let mut forged = [0u8; 64];
            forged[0] = 1;
            envelope["signatures"][0]["sig"] = json!(STANDARD.encode(forged));
        });
    });
}

fn freshness(all: &mut Cases) {
    for (name, role) in [
        ("freshness-expired-root", "root"),
        ("freshness-expired-timestamp", "timestamp"),
        ("freshness-expired-snapshot", "snapshot"),
        ("freshness-expired-targets", "targets"),
        ("freshness-expired-releases", "targets/releases"),
    ] {
        all.docker(name, "a second past its date", EXPIRED, move |repo| repo.role(role)["expires"] = json!(PAST));
    }
    all.docker("freshness-expired-releases-no-fallback", "targets has an older tag, which does not count", EXPIRED, |repo| {
        repo.role("targets")["targets"]["1.0"] = target("two");
        repo.role("targets/releases")["expires"] = json!(PAST);
    });
    all.plain("freshness-no-expiry", "the expiry is absent", INVALID, |repo| {
        repo.role("timestamp").as_object_mut().unwrap().remove("expires");
    });
    all.plain("freshness-unreadable-expiry", "an expiry of another form", INVALID, |repo| {
        repo.role("snapshot")["expires"] = json!("tomorrow");
    });
    for (name, role) in [
        ("freshness-rolled-back-timestamp", "timestamp"),
        ("freshness-rolled-back-snapshot", "snapshot"),
        ("freshness-rolled-back-targets", "targets"),
        ("freshness-rolled-back-releases", "targets/releases"),
        ("freshness-rolled-back-signer", "targets/alice"),
    ] {
        all.later(name, "one role back at version 1", ROLLED, move |repo| repo.role(role)["version"] = json!(1));
    }
    all.later("freshness-rolled-back-under-unchanged-targets", "targets stays, the delegation alone goes back", ROLLED, |repo| {
        repo.role("targets")["version"] = json!(3);
        repo.role("targets/alice")["version"] = json!(3);
        repo.role("targets/releases")["version"] = json!(2);
    });
    all.later("freshness-rolled-back-together", "an earlier publication as a whole", ROLLED, |repo| {
        for role in ["timestamp", "snapshot", "targets", "targets/releases", "targets/alice"] {
            repo.role(role)["version"] = json!(2);
        }
    });
    all.later("freshness-rolled-back-after-key-rotation", "a new timestamp key, and versions from the start", ROLLED, |repo| {
        let key = Key::ecdsa();
        repo.rekey("timestamp", &[&key], 1);
        repo.role("root")["version"] = json!(2);
        repo.role("timestamp")["version"] = json!(1);
    });
    all.later("freshness-same-version-other-content", "two files say different things under one version", ROLLED, |repo| {
        repo.role("targets/releases")["version"] = json!(3);
        repo.role("targets/releases")["targets"]["1.0"] = target("two");
    });
    all.later("freshness-role-vanishes", "targets/releases is delegated and listed no more", ROLLED, |repo| {
        repo.edit_listing("snapshot", |snapshot| drop(snapshot["meta"].as_object_mut().unwrap().remove("targets/releases")));
    });
    let case = all.later("freshness-timestamp-withheld", "there was one", GONE, |_| ());
    case.files.remove("timestamp.json");
    let case = all.later("freshness-repository-withheld", "there was one", GONE, |_| ());
    case.files.clear();
    let case = all.docker("freshness-later-than-its-date", "good, and asked about a year later", EXPIRED, |_| ());
    case.now = "2031-06-01T00:00:00Z";
}

fn consistency(all: &mut Cases) {
    for (name, parent, role) in [
        ("consistency-hash-of-another-snapshot", "timestamp", "snapshot"),
        ("consistency-hash-of-another-root", "snapshot", "root"),
        ("consistency-hash-of-another-targets", "snapshot", "targets"),
    ] {
        all.plain(name, "the parent lists another SHA-512", INVALID, move |repo| {
            repo.edit_listing(parent, move |signed| {
                signed["meta"][role]["hashes"]["sha512"] =
                    json!("z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==");
            });
        });
    }
    all.plain("consistency-no-hashes", "a file listed without a hash", INVALID, |repo| {
        repo.edit_listing("snapshot", |signed| signed["meta"]["targets"]["hashes"] = json!({}));
    });
    all.plain("consistency-short-hash", "three bytes for a SHA-256", INVALID, |repo| {
        repo.edit_listing("timestamp", |signed| signed["meta"]["snapshot"]["hashes"]["sha256"] = json!("AAAA"));
    });
    all.plain("consistency-absurd-length", "a terabyte", INVALID, |repo| {
        repo.edit_listing("snapshot", |signed| signed["meta"]["targets"]["length"] = json!(1u64 << 40));
    });
    all.plain("consistency-negative-length", "less than nothing", INVALID, |repo| {
        repo.edit_listing("timestamp", |signed| signed["meta"]["snapshot"]["length"] = json!(-1));
    });
    all.plain("consistency-targets-not-listed", "snapshot must have it and has not", INVALID, |repo| {
        repo.edit_listing("snapshot", |signed| drop(signed["meta"].as_object_mut().unwrap().remove("targets")));
    });
    all.plain("consistency-wrong-type", "targets that calls itself a snapshot", INVALID, |repo| {
        repo.role("targets")["_type"] = json!("Snapshot");
    });
    let case = all.plain("consistency-another-role-in-its-place", "the snapshot served as timestamp", INVALID, |_| ());
    let snapshot = case.files["snapshot.json"].clone();
    case.files.insert("timestamp.json".into(), snapshot);
    let case = all.plain("consistency-another-repository-in-its-place", "the timestamp of another owner", INVALID, |_| ());
    case.files.insert("timestamp.json".into(), Repo::new(root_key(GUN)).publish()["timestamp.json"].clone());
    let case = all.docker("consistency-file-missing", "a delegation that is listed and not there", INVALID, |_| ());
    case.files.retain(|name, _| !name.starts_with("targets/releases."));
    let case = all.docker("consistency-file-of-another-time", "under the right name, other bytes", INVALID, |_| ());
    let name = case.files.keys().find(|name| name.starts_with("targets/releases.") && name.len() > 64).unwrap().clone();
    let mut other = Repo::docker(root_key(GUN));
    other.bump();
    case.files.insert(name, other.publish()["targets/releases.json"].clone());
}

fn roots(all: &mut Cases) {
    for (name, cn) in [
        ("root-certificate-for-another-name", "reg.example:5000/team/app2"),
        ("root-certificate-for-a-folder", "reg.example:5000/team"),
        ("root-certificate-for-another-port", "reg.example/team/app"),
        ("root-certificate-in-another-case", "REG.example:5000/team/app"),
        ("root-certificate-star-in-front", "*/team/app"),
    ] {
        all.add(name, "the common name is not the repository's", Repo::docker(root_key(cn)).publish(), ROOT);
    }
    let with = |edit: fn(&mut rcgen::CertificateParams)| {
        let mut params = params(GUN);
        edit(&mut params);
        Repo::docker(root_key_with(&params)).publish()
    };
    all.add(
        "root-certificate-expired",
        "a day past its date",
        with(|params| params.not_after = rcgen::date_time_ymd(2030, 5, 31)),
        ROOT,
    );
    all.add(
        "root-certificate-not-yet",
        "two days ahead",
        with(|params| params.not_before = rcgen::date_time_ymd(2030, 6, 3)),
        ROOT,
    );
    all.add(
        "root-certificate-of-a-ca",
        "no leaf",
        with(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
        ROOT,
    );
    all.add("root-bare-key", "a key without a certificate", Repo::docker(Key::ecdsa()).publish(), ROOT);
    all.add(
        "root-certificate-of-another-key",
        "signed by a key that is not the certificate's",
        {
            let good = root_key(GUN);
            Repo::docker(Key::ecdsa().relabelled("ecdsa-x509", &good.public)).publish()
        },
        ROOT,
    );
    all.add(
        "root-bundle-with-text",
        "a certificate with text in front, which has another id in the Go client",
        {
            let good = root_key(GUN);
            let text = String::from_utf8(STANDARD.decode(&good.public).unwrap()).unwrap();
            Repo::docker(good.relabelled("ecdsa-x509", &STANDARD.encode(format!("hello\n{text}")))).publish()
        },
        ROOT,
    );
    let (second, third) = (root_key(GUN), root_key(GUN));
    all.later("valid-root-rotated", "by the old key and the new one", Ok("one"), |repo| repo.rotate_root(&second));
    all.later("valid-root-rotated-twice", "link by link", Ok("one"), |repo| {
        repo.rotate_root(&second);
        repo.rotate_root(&third);
        repo.signers.insert("root".into(), vec![third.clone(), second.clone()]);
    });
    all.later("root-chain-with-a-gap", "the link between is not served", ROOT, |repo| {
        repo.rotate_root(&second);
        repo.rotate_root(&third);
        repo.old_roots.remove(&2);
    });
    all.later("root-not-signed-by-the-old-key", "the new one alone", ROOT, |repo| {
        repo.rotate_root(&second);
        repo.signers.insert("root".into(), vec![second.clone()]);
    });
    all.later("root-not-signed-by-the-new-key", "the old one alone", ROOT, |repo| {
        let old = repo.signers["root"].clone();
        repo.rotate_root(&second);
        repo.signers.insert("root".into(), old);
    });
    let mut owner = Repo::docker(root_key(GUN));
    let first = owner.publish();
    owner.rotate_root(&second);
    owner.bump();
    let case = all.add("root-replaced-comes-back", "the root before the rotation", first.clone(), ROLLED);
    case.earlier = Some(owner.publish());
    let mut stranger = Repo::docker(root_key(GUN));
    stranger.role("root")["version"] = json!(2);
    stranger.bump();
    let case = all.add("root-of-another-owner", "after first use", stranger.publish(), ROOT);
    case.earlier = Some(first);
}

fn pins(all: &mut Cases) {
    let root = root_key(GUN);
    let repo = Repo::docker(root.clone());
    let other = "ab".repeat(32);
    let mut pinned = |name, what, block: Value, expect| {
        all.add(name, what, repo.publish(), expect).pins = Some(block);
    };
    pinned("valid-pinned", "by its key", json!({ "disable_tofu": true, "certs": { GUN: [root.id] } }), Ok("one"));
    pinned("valid-pinned-by-prefix", "by its key", json!({ "certs": { "reg.example:5000/*": [other, root.id] } }), Ok("one"));
    pinned("pins-another-key", "the root is not the one pinned", json!({ "certs": { GUN: [other] } }), ROOT);
    pinned("pins-empty-list", "an empty list lets nothing pass", json!({ "certs": { GUN: [] } }), ROOT);
    pinned(
        "pins-weaker-does-not-save",
        "the exact pin fails, a prefix would pass",
        json!({ "certs": { GUN: [other], "reg.example:5000/*": [root.id] } }),
        ROOT,
    );
    pinned("pins-no-first-use", "trust on first use is off", json!({ "disable_tofu": true }), ROOT);
    pinned(
        "pins-prefix-without-star",
        "which is not a prefix",
        json!({ "disable_tofu": true, "certs": { "reg.example:5000/": [root.id] } }),
        ROOT,
    );
    let mut both = repo.clone();
    let beside = root_key(GUN);
    both.rekey("root", &[&root, &beside], 1);
    both.signers.insert("root".into(), vec![beside]);
    all.add("pins-unpinned-key-beside", "signed by the key that is not pinned", both.publish(), ROOT).pins =
        Some(json!({ "certs": { GUN: [root.id] } }));
    let ca = Authority::new(Authority::params("owner CA"));
    let fake = Authority::new(Authority::params("owner CA"));
    let between = Authority::below(Authority::params("between"), &ca);
    let forged = Authority::new(Authority::params("between"));
    // The Go client wants certificates of a pinned CA to be for servers, whatever they sign.
    let for_servers = || {
        let mut params = params(GUN);
        params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
        params
    };
    for (name, what, key, expect) in [
        ("valid-under-pinned-ca", "issued by the pinned CA", ca.issue(&params(GUN), ""), Ok("one")),
        ("valid-under-intermediate", "with an intermediate in the bundle", between.issue(&params(GUN), &between.pem), Ok("one")),
        (
            "valid-under-pinned-ca-for-servers",
            "issued by the pinned CA, for servers as well",
            ca.issue(&for_servers(), ""),
            Ok("one"),
        ),
        (
            "valid-under-intermediate-for-servers",
            "with an intermediate in the bundle, for servers as well",
            between.issue(&for_servers(), &between.pem),
            Ok("one"),
        ),
        ("pins-ca-of-the-same-name", "issued by a fake of the pinned CA", fake.issue(&params(GUN), ""), ROOT),
        ("pins-ca-chain-broken", "the intermediate is not in the bundle", between.issue(&params(GUN), ""), ROOT),
        (
            "pins-ca-chain-forged",
            "an intermediate of that name that the CA did not issue",
            forged.issue(&params(GUN), &forged.pem),
            ROOT,
        ),
    ] {
        let case = all.add(name, what, Repo::docker(key).publish(), expect);
        case.pins = Some(json!({ "disable_tofu": true, "ca": { "reg.example:5000/": "ca.pem" } }));
        case.bundles.insert("ca.pem".into(), ca.pem.clone());
    }
}

fn delegations(all: &mut Cases) {
    /// Without the tag in any role.
    fn empty(repo: &mut Repo) {
        for role in ["targets/releases", "targets/alice"] {
            repo.role(role)["targets"] = json!({});
        }
    }
    all.docker("delegations-signer-alone", "signed in targets/alice alone, which docker does not accept", UNSIGNED, |repo| {
        empty(repo);
        repo.role("targets/alice")["targets"]["1.0"] = target("one");
    });
    all.docker("delegations-resembling-name", "signed in targets/releases-x", UNSIGNED, |repo| {
        empty(repo);
        repo.delegate("targets/releases-x", &[Key::ecdsa()], &[""]);
        repo.role("targets/releases-x")["targets"]["1.0"] = target("one");
    });
    all.docker("delegations-child-of-releases", "a hit in a child is refused, even with the tag in targets", UNSIGNED, |repo| {
        empty(repo);
        repo.delegate("targets/releases/x", &[Key::ecdsa()], &[""]);
        repo.role("targets/releases/x")["targets"]["1.0"] = target("one");
        repo.role("targets")["targets"]["1.0"] = target("one");
    });
    all.docker("delegations-path-does-not-cover", "releases may sign tags that begin with 2", UNSIGNED, |repo| {
        let roles = repo.role("targets")["delegations"]["roles"].as_array_mut().unwrap();
        roles.iter_mut().find(|role| role["name"] == "targets/releases").unwrap()["paths"] = json!(["2"]);
    });
    all.docker(
        "delegations-under-signed-releases-no-fallback",
        "targets has an older tag, which does not count",
        INVALID,
        |repo| {
            repo.role("targets")["targets"]["1.0"] = target("two");
            repo.signers.insert("targets/releases".into(), vec![Key::ecdsa()]);
        },
    );
    for (name, role) in [
        ("delegations-unclean-name", "targets/../root"),
        ("delegations-not-a-child", "targets/a/b"),
        ("delegations-name-twice", "targets/releases"),
        ("delegations-of-a-base-role", "targets"),
    ] {
        all.docker(name, "a delegation of this name makes the file invalid", INVALID, move |repo| {
            let key = Key::ecdsa();
            let delegations = &mut repo.role("targets")["delegations"];
            delegations["keys"][&key.id] = key.listed();
            let entry = json!({ "name": role, "keyids": [key.id], "paths": [""], "threshold": 1 });
            delegations["roles"].as_array_mut().unwrap().push(entry);
        });
    }
    all.docker("delegations-by-someone-not-entitled", "alice delegates targets/releases", INVALID, |repo| {
        let mallory = Key::ecdsa();
        let delegations = &mut repo.role("targets/alice")["delegations"];
        delegations["keys"][&mallory.id] = mallory.listed();
        let entry = json!({ "name": "targets/releases", "keyids": [mallory.id], "paths": [""], "threshold": 1 });
        delegations["roles"] = json!([entry]);
    });
    all.docker("delegations-keys-not-defined", "key ids that are listed and nowhere defined", INVALID, |repo| {
        repo.role("targets")["delegations"]["keys"] = json!({});
    });
    all.docker("tags-absent", "another tag is signed", UNSIGNED, |_| ()).tag = "2.0";
    all.docker("tags-another-spelling", "`v1.0` is signed, not `1.0`", UNSIGNED, |repo| {
        empty(repo);
        repo.role("targets/releases")["targets"]["v1.0"] = target("one");
    });
    all.docker("tags-without-digest", "no SHA-256", INVALID, |repo| {
        repo.role("targets/releases")["targets"]["1.0"] = json!({ "hashes": {}, "length": 1 });
    });
    all.docker("tags-short-digest", "three bytes", INVALID, |repo| {
        repo.role("targets/releases")["targets"]["1.0"] = json!({ "hashes": { "sha256": "AAAA" }, "length": 1 });
    });
}

fn reading(all: &mut Cases) {
    type Edit = fn(&str) -> String;
    let edits: [(&'static str, &'static str, Edit); 14] = [
        ("reading-duplicate-envelope-member", "`signed` twice", |raw| raw.replacen('{', "{\"signed\":{},", 1)),
        ("reading-duplicate-member", "`version` twice", |raw| raw.replacen("\"version\":", "\"version\":1,\"version\":", 1)),
        ("reading-duplicate-by-escape", "`version` twice, once escaped", |raw| {
            raw.replacen("\"version\":", "\"\\u0076ersion\":1,\"version\":", 1)
        }),
        ("reading-member-in-another-case", "`Version`, which Go reads as `version`", |raw| {
            raw.replacen("\"version\":", "\"Version\":9,\"version\":", 1)
        }),
        ("reading-float", "1.0", |raw| raw.replacen("\"version\":", "\"x\":1.0,\"version\":", 1)),
        ("reading-number-too-large", "2^53 + 1", |raw| raw.replacen("\"version\":", "\"x\":9007199254740993,\"version\":", 1)),
        ("reading-bytes-behind", "a second document", |raw| format!("{raw}{{}}")),
        ("reading-byte-order-mark", "in front", |raw| format!("\u{feff}{raw}")),
        ("reading-lone-surrogate", "which Go replaces", |raw| raw.replacen("\"version\":", "\"x\":\"\\ud800\",\"version\":", 1)),
        ("reading-cut-short", "half of it", |raw| raw[..raw.len() / 2].to_owned()),
        ("reading-empty", "no bytes", |_| String::new()),
        ("reading-html", "a login page", |_| "<html>login</html>".to_owned()),
        ("reading-without-signed", "nothing that is signed", |_| "{\"signatures\":[]}".to_owned()),
        ("reading-version-as-text", "\"1\"", |raw| raw.replacen("\"version\":1", "\"version\":\"1\"", 1)),
    ];
    for (index, (name, what, edit)) in edits.into_iter().enumerate() {
        // Each role in turn.
        let role = ["timestamp", "root", "snapshot", "targets", "targets/releases"][index % 5];
        all.docker(name, what, INVALID, move |repo| text(repo, role, edit));
    }
    all.docker("reading-invalid-utf8", "a byte that is not text", INVALID, |repo| {
        repo.edit_bytes("targets", |mut raw| {
            let at = raw.windows(7).position(|window| window == b"Targets").unwrap();
            raw[at] = 0xff;
            raw
        });
    });
}

fn exhaustion(all: &mut Cases) {
    all.docker("exhaustion-nesting", "a thousand levels of arrays", INVALID, |repo| {
        text(repo, "timestamp", |raw| {
            raw.replacen("\"version\":", &format!("\"x\":{}{},\"version\":", "[".repeat(1000), "]".repeat(1000)), 1)
        });
    });
    all.docker("exhaustion-signatures", "a thousand signatures on one file", INVALID, |repo| {
        repo.edit_envelope("timestamp", |envelope| {
            let one = envelope["signatures"][0].clone();
            envelope["signatures"] = Value::Array(vec![one; 1000]);
        });
    });
    all.docker("exhaustion-delegations", "a thousand delegations in one file", INVALID, |repo| {
        let entry = repo.role("targets")["delegations"]["roles"][0].clone();
        for index in 0..1000 {
            let mut entry = entry.clone();
            entry["name"] = json!(format!("targets/x{index}"));
            repo.role("targets")["delegations"]["roles"].as_array_mut().unwrap().push(entry);
        }
    });
    all.docker("exhaustion-levels", "delegations thirty levels deep", INVALID, |repo| {
        let mut role = "targets/releases".to_owned();
        for _ in 0..30 {
            role.push_str("/a");
            repo.delegate(&role, &[Key::ecdsa()], &[""]);
        }
    });
    all.later(
        "exhaustion-root-far-ahead",
        "a root a million versions on, that the one before does not vouch for",
        ROOT,
        |repo| {
            let next = root_key(GUN);
            repo.rotate_root(&next);
            repo.role("root")["version"] = json!(1_000_000);
            repo.signers.insert("root".into(), vec![next]);
        },
    );
}

impl Case {
    fn write(&self, folder: &Path) {
        let _ = std::fs::remove_dir_all(folder);
        for (under, files) in [("served", Some(&self.files)), ("earlier", self.earlier.as_ref())] {
            let Some(files) = files else { continue };
            std::fs::create_dir_all(folder.join(under)).unwrap();
            // What a client that knows the hashes asks for; the rest would be here twice.
            let asked = |name: &str| {
                let root = name.ends_with("root.json");
                root || name == "timestamp.json" || name.rsplit('.').nth(1).is_some_and(|hash| hash.len() == 64)
            };
            for (name, raw) in files.iter().filter(|(name, _)| asked(name) && !name.starts_with("root.")) {
                let path = folder.join(under).join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, raw).unwrap();
            }
            if let Some(raw) = files.get("root.json") {
                std::fs::write(folder.join(under).join("root.json"), raw).unwrap();
            }
        }
        let mut case = json!({ "what": self.what, "repository": GUN, "tag": self.tag, "now": self.now });
        if let Some(pins) = &self.pins {
            case["pins"] = pins.clone();
        }
        case["expect"] = match self.expect {
            Ok(content) => json!({ "verdict": "yes", "digest": digest(content) }),
            Err(code) => json!({ "verdict": "no", "code": code }),
        };
        for (name, pem) in &self.bundles {
            std::fs::write(folder.join(name), pem).unwrap();
        }
        std::fs::write(folder.join("case.json"), format!("{case:#}\n")).unwrap();
    }
}

#[test]
#[ignore = "writes test/fixtures/tuf"]
fn write_the_missing_fixtures() {
    let anew = std::env::var("TUF_FIXTURES").is_ok_and(|which| which == "all");
    for case in cases() {
        let folder = folder().join(case.name);
        if anew || !folder.exists() {
            case.write(&folder);
        }
    }
}

fn files_in(folder: &Path, under: &str, files: &mut Files) {
    for entry in std::fs::read_dir(folder.join(under)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{under}{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files_in(folder, &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}

fn read(folder: &Path) -> Option<Files> {
    let mut files = Files::new();
    folder.is_dir().then(|| files_in(folder, "", &mut files))?;
    Some(files)
}

#[test]
fn every_folder_ends_as_it_says() {
    let shown = Arc::new(Mutex::new(Files::new()));
    let server = {
        let shown = Arc::clone(&shown);
        Server::start(move |seen| crate::support::trust_server::file(&shown.lock().unwrap(), seen))
    };
    let (mut wrong, mut yes, mut no) = (Vec::new(), 0, 0);
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    for folder in folders {
        let case: Value = serde_json::from_slice(&std::fs::read(folder.join("case.json")).unwrap()).unwrap();
        let word = |member: &str| case[member].as_str().unwrap().to_owned();
        assert_eq!(word("repository"), GUN);
        let fixture = Fixture {
            tag: word("tag"),
            now: word("now").parse().unwrap(),
            pins: case.get("pins").map(ToString::to_string),
            folder: folder.clone(),
        };
        let state = tempfile::tempdir().unwrap();
        if let Some(earlier) = read(&folder.join("earlier")) {
            *shown.lock().unwrap() = earlier;
            let before = Fixture { pins: None, ..fixture.clone() };
            if let Err(error) = verdict(&server, state.path(), &before) {
                wrong.push(format!("{}: the earlier state does not verify: {error:?}", folder.display()));
                continue;
            }
        }
        // A folder without files is one that git does not keep.
        *shown.lock().unwrap() = read(&folder.join("served")).unwrap_or_default();
        let expected = &case["expect"];
        let found = match verdict(&server, state.path(), &fixture) {
            Ok(vouch) => json!({ "verdict": "yes", "digest": vouch.digest().to_string() }),
            Err(error) => json!({ "verdict": "no", "code": error.code.as_str() }),
        };
        if found["verdict"] == "yes" {
            yes += 1;
        } else {
            no += 1;
        }
        if found != *expected {
            wrong.push(format!("{}: expected {expected}, found {found}", folder.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(yes >= 15 && no >= 60, "{yes} valid, {no} attacks");
}

#[test]
fn every_case_has_its_folder_and_every_folder_its_case() {
    let made: std::collections::BTreeSet<String> = cases().into_iter().map(|case| case.name.to_owned()).collect();
    let kept: std::collections::BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(made, kept);
}
