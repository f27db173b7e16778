//! What commands tell: tags, signers, what has to be signed, and which failure it was.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::support::{Place, ended, start};
use crate::support::trust_repo::*;
use crate::support::trust_server::{Server, file, good, guarded};

#[test]
fn inspect_shows_tags_signers_keys_and_what_is_wrong() {
    let mut repo = Repo::docker(root_key(GUN));
    repo.role("targets/alice")["expires"] = json!("2020-01-01T00:00:00Z");
    repo.delegate("targets/bob", &[Key::ecdsa()], &[""]);
    repo.role("targets/bob")["targets"]["1.0"] = target("one");
    repo.delegate("targets/eve", &[Key::ecdsa()], &[""]);
    repo.signers.insert("targets/eve".into(), vec![Key::ecdsa()]);
    repo.role("targets/releases")["targets"]["no-digest"] = json!({ "hashes": {}, "length": 1 });
    let root = repo.signers["root"][0].clone();
    let bare = key_id("ecdsa", &repo.signers["targets/bob"][0].public);
    let files = Arc::new(Mutex::new(repo.publish()));
    let shared = Arc::clone(&files);
    let (place, server) = (Place::new(), Server::start(move |seen| file(&shared.lock().unwrap(), seen)));
    let ran = ended(start(&mut place.about("inspect", &server)));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let row = |name: &str| {
        ran.out.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}: {}", ran.out))
    };
    assert!(row("1.0").contains(&digest("one")) && row("1.0").contains("targets/releases") && row("1.0").ends_with("bob"));
    assert!(row("no-digest").contains("refused: "));
    assert!(row("targets/alice").ends_with("expired") && row("targets/eve").contains("left out: "));
    assert!(row("bob").contains(&bare[..12]) && row("pinned").contains("trust on first use"));
    assert!(ran.out.contains(&root.id), "the id of the root key, to be compared: {}", ran.out);
    let json = ended(start(place.about("inspect", &server).arg("--json"))).json();
    assert_eq!(json["tags"]["1.0"]["signers"], json!(["bob"]));
    assert!(json["refused_tags"]["no-digest"].as_str().is_some_and(|why| why.contains("SHA-256")));
    let roles = json["roles"].as_array().unwrap();
    let role = |name: &str| roles.iter().find(|role| role["name"] == name).unwrap();
    assert_eq!((&role("root")["keys"][0], &role("root")["is_expiring"]), (&json!(root.id), &json!(false)));
    assert_ne!(role("root")["docker_keys"], role("root")["keys"]);
    assert_eq!((&role("targets/bob")["docker_keys"][0], &role("targets/alice")["is_expiring"]), (&json!(bare), &json!(true)));
    // What the server answered last counts, and is told, also while nobody is asked.
    files.lock().unwrap().clear();
    place.verify(&server).no("trust-withdrawn");
    let offline = ended(start(place.about("inspect", &server).arg("--offline")));
    assert!(offline.code == Some(0) && offline.out.contains("refused  the Notary server had trust data"), "{offline:?}");
}

#[test]
fn status_tells_what_must_be_signed_anew_and_ends_with_2_for_it() {
    let place = Place::new();
    let empty = ended(start(&mut place.trust("status")));
    assert!(empty.code == Some(0) && empty.out.contains("no repository"), "{empty:?}");
    let mut repo = Repo::docker(root_key(GUN));
    // Soon for a timestamp, which the server renews, and in time for all else.
    let day = |days: i64| json!((jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)).to_string());
    repo.role("timestamp")["expires"] = day(1);
    let files = Arc::new(Mutex::new(repo.publish()));
    let shared = Arc::clone(&files);
    let server = Server::start(move |seen| file(&shared.lock().unwrap(), seen));
    let mut publish = |role: &str, days| {
        repo.bump();
        repo.role(role)["expires"] = day(days);
        if role == "root" {
            let version = repo.role("root")["version"].as_u64().unwrap();
            repo.role("root")["version"] = json!(version + 1);
        }
        *files.lock().unwrap() = repo.publish();
    };
    let status = || {
        place.verify(&server).yes();
        let ran = ended(start(&mut place.trust("status")));
        let json = ended(start(place.trust("status").arg("--json"))).json();
        let line = ran.out.lines().find(|line| line.starts_with(GUN)).unwrap().to_owned();
        (ran.code, line, json)
    };
    let (code, line, json) = status();
    assert!(code == Some(0) && line.ends_with("good"), "{line}");
    assert_eq!(json[0]["repository"], GUN);
    assert_eq!(json[0]["roles"][0]["role"], "timestamp");
    assert_eq!(json[0]["roles"].as_array().unwrap().len(), 6);
    for (role, days, expected) in [
        ("root", 80, "expires soon: root"),
        ("targets/releases", 20, "expires soon: targets/releases"),
        ("targets/alice", -1, "expired: targets/alice"),
    ] {
        publish(role, days);
        let (code, line, json) = status();
        assert!(code == Some(2) && line.ends_with(expected), "{role}: {line}");
        assert_eq!(json[0].get("fault"), None);
    }
    files.lock().unwrap().clear();
    place.verify(&server).no("trust-withdrawn");
    let ran = ended(start(place.trust("status").arg("--json")));
    assert!(ran.code == Some(2) && ran.json()[0]["fault"].as_str().is_some_and(|why| why.contains("now has none")), "{ran:?}");
    assert_eq!(ran.json()[0]["code"], "trust-withdrawn");
}

#[test]
fn every_failure_says_which_it_was_and_what_to_do() {
    let expired = || {
        let mut repo = Repo::docker(root_key(GUN));
        repo.role("targets/releases")["expires"] = json!("2020-01-01T00:00:00Z");
        repo.publish()
    };
    let broken = || {
        let mut files = good();
        files.insert("timestamp.json".to_owned(), b"<html>".to_vec());
        files
    };
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    let new = repo.publish();
    let unsigned = || {
        let mut repo = Repo::docker(root_key(GUN));
        for role in ["targets/releases", "targets/alice"] {
            repo.role(role)["targets"] = json!({});
        }
        repo.publish()
    };
    for (earlier, served, code, remedy) in [
        (
            None,
            Files::new(),
            "no-trust-data",
            "first check which server `notary` asks (img-authz settings); then ask the publisher to sign it",
        ),
        (None, unsigned(), "not-signed", "ask its publisher to sign this tag"),
        (None, broken(), "trust-invalid", "do not use this image"),
        (None, expired(), "trust-expired", "check this host's clock"),
        (Some(&new), old, "trust-rolled-back", "only if it was reinstalled: img-authz help trust-rolled-back"),
        (Some(&new), Files::new(), "trust-withdrawn", "first check which server `notary` asks (img-authz settings)"),
    ] {
        let place = Place::new();
        if let Some(earlier) = earlier {
            place.verify(&Server::files(earlier.clone())).yes();
        }
        let message = place.verify(&Server::files(served)).no(code);
        assert!(message.contains(remedy), "{code}: {message}");
    }
    let place = Place::new();
    let gone = ended(start(place.asking("https://localhost:1").arg(format!("{GUN}:1.0"))));
    assert!(gone.no("trust-unreachable").contains("ask this host's administrator to check the way to that server"));
    let wanting = place.verify(&guarded("Basic realm=\"x\"".to_owned(), "never".to_owned()));
    assert!(wanting.no("trust-unauthorized").contains("adds that registry's login to the gate's config.json"));
    let pins = place.write("pins.json", "{\"disable_tofu\": true}");
    let pinned = place.verify_with(&Server::files(good()), |command| command.arg("--pins").arg(pins));
    assert!(pinned.no("root-not-trusted").contains("compares the root key with its publisher"));
    // For people the same, on standard error.
    let said = ended(start(place.trust("verify").args([&format!("{GUN}:1.0"), "--server", "https://localhost:1"])));
    assert!(said.code == Some(2) && said.out.is_empty() && said.err.contains("refused (trust-unreachable): "), "{said:?}");
}
