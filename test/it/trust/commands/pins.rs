//! Commands beside the gate's own pins and server.

use std::process::Command;

use img_authz::trust::TrustCode;
use serde_json::{Value, json};

use super::support::{Place, ended, start};
use crate::support::trust_repo::*;
use crate::support::trust_server::{Server, good};

#[test]
fn what_another_server_says_is_kept_apart_from_what_the_gate_knows() {
    let place = Place::new();
    let (gates, other) = (Server::files(good()), Server::files(Repo::docker(root_key(GUN)).publish()));
    let run = |what: &[&str], server: Option<&Server>, ca: &Server| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_img-authz"));
        command.env_clear().env("CONFIG_DIR", place.path("etc/img-authz")).env("DOCKER_CONFIG", place.path("docker"));
        command.env("STATE_DIR", place.path("gate")).env("NOTARY", gates.host()).args(["trust"]).args(what);
        if let Some(server) = server {
            command.args(["--server", &server.url]);
        }
        ended(start(command.arg("--json").arg("--root-ca").arg(place.write("ca.crt", &ca.ca))))
    };
    let image = format!("{GUN}:1.0");
    let kept = || {
        let entries = std::fs::read_dir(place.path("gate/trust")).into_iter().flatten();
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.unwrap().path();
            (path.clone(), std::fs::read(path).unwrap())
        };
        entries.map(read).collect::<std::collections::BTreeMap<_, _>>()
    };
    // Nothing is known yet: what the other one says must not become the root that counts.
    run(&["verify", &image], Some(&other), &other).yes();
    assert!(kept().is_empty());
    run(&["verify", &image], None, &gates).yes();
    let before = kept();
    assert!(!before.is_empty());
    // Not even that it is refused, or what it withdrew.
    run(&["verify", &image], Some(&other), &other).yes();
    let gone = Server::files(Files::new());
    run(&["verify", &image], Some(&gone), &gone).no("no-trust-data");
    assert_eq!(run(&["inspect", GUN], Some(&other), &other).code, Some(0));
    assert_eq!(kept(), before);
    // The gate's own server by its full address is the gate's own server.
    run(&["verify", &image], Some(&gates), &gates).yes();
    run(&["verify", &image], None, &gates).yes();
    // Each server has a memory of its own.
    let again = Server::files(Repo::docker(root_key(GUN)).publish());
    run(&["verify", &image], Some(&again), &again).yes();
}

#[test]
fn what_other_pins_let_pass_is_kept_apart_from_what_the_gate_knows() {
    let place = Place::new();
    let (gates, other) = (Server::files(good()), Server::files(Repo::docker(root_key(GUN)).publish()));
    let image = format!("{GUN}:1.0");
    let run = |what: &[&str], own: Option<&str>, named: Option<&std::path::Path>, server: &Server| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_img-authz"));
        command.env_clear().env("CONFIG_DIR", place.path("etc/img-authz")).env("DOCKER_CONFIG", place.path("docker"));
        command.env("STATE_DIR", place.path("gate")).env("NOTARY", server.host()).args(["trust"]).args(what);
        command.envs(own.map(|own| ("NOTARY_PINS", own)));
        if let Some(named) = named {
            command.arg("--pins").arg(named);
        }
        ended(start(command.arg("--json").arg("--root-ca").arg(place.write("ca.crt", &server.ca))))
    };
    let kept = || std::fs::read_dir(place.path("gate/trust")).into_iter().flatten().count();
    let first = place.write("first.json", r#"{"disable_tofu": false}"#);
    // Nothing is known yet. These pins trust on first use; the gate's do not, and what passed there is nothing to the gate.
    let none = r#"{"disable_tofu": true}"#;
    for own in [Some(none), None] {
        run(&["verify", &image], own, Some(&first), &other).yes();
        assert_eq!(run(&["inspect", GUN], own, Some(&first), &other).code, Some(0));
    }
    assert_eq!(kept(), 0);
    // The gate's own first use is of its own server, and not bound by what was asked by hand.
    run(&["verify", &image], None, None, &gates).yes();
    assert!(kept() > 0);
    // The same pins are the same, however they are laid out: there the root that came first binds, here another memory has another.
    let laid_out = place.write("same.json", "{\n  \"disable_tofu\":   false\n}\n");
    run(&["verify", &image], Some(r#"{"disable_tofu":false}"#), Some(&laid_out), &other).no(TrustCode::RolledBack.as_str());
    run(&["verify", &image], None, None, &other).no(TrustCode::RolledBack.as_str());
    run(&["verify", &image], None, Some(&first), &other).yes();
    // What other pins refuse is not remembered of the gate's either.
    let strict = place.write("strict.json", none);
    run(&["verify", &image], None, Some(&strict), &gates).no(TrustCode::RootNotTrusted.as_str());
    run(&["verify", &image], None, None, &gates).yes();
}

#[test]
fn a_new_file_of_pins_has_those_that_are_set_already() {
    let (place, server) = (Place::new(), Server::files(good()));
    let set =
        json!({ "disable_tofu": true, "certs": { GUN: ["0".repeat(64)], "r.example/other": ["1".repeat(64)] } }).to_string();
    let free = json!({ "certs": { "r.example/other": ["1".repeat(64)] } }).to_string();
    let pins = place.write("new/x", "").with_file_name("pins.json");
    let wrote = ended(start(place.about("pin", &server).arg("--write").arg(&pins).env("NOTARY_PINS", &free)));
    assert_eq!(wrote.code, Some(0), "{wrote:?}");
    assert!(wrote.out.contains("not in force until NOTARY_PINS has it") && wrote.out.contains("were set before"), "{wrote:?}");
    let written = std::fs::read_to_string(&pins).unwrap();
    assert!(written.contains("r.example/other") && written.contains(GUN), "{written}");
    // A root that the pins refuse is not written into any.
    let refused = place.write("refused/x", "").with_file_name("pins.json");
    let ran = ended(start(place.about("pin", &server).arg("--write").arg(&refused).env("NOTARY_PINS", &set)));
    assert!(ran.code == Some(2) && !refused.exists(), "{ran:?}");
}

#[test]
fn the_ids_of_a_root_that_is_refused_are_shown_for_comparing_and_nothing_of_them_is_written() {
    let (place, server) = (Place::new(), Server::files(good()));
    let keys = ended(start(place.about("pin", &server).arg("--json")));
    let keys: Value = serde_json::from_str(&keys.out).unwrap();
    let key = keys["certs"][GUN][0].as_str().unwrap().to_owned();
    let other = Place::new();
    let pins = other.write("pins.json", &json!({ "certs": { GUN: ["0".repeat(64)] } }).to_string());
    let written = other.write("written.json", "{}");
    let refused = ended(start(other.about("pin", &server).arg("--pins").arg(&pins).arg("--write").arg(&written)));
    assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
    let ids = refused.err.split("NOT TRUSTED").nth(1).unwrap_or_else(|| panic!("{refused:?}"));
    let line = ids.lines().find(|line| line.contains(&key)).unwrap_or_else(|| panic!("{key}: {ids}"));
    assert_eq!(line.split_whitespace().filter(|id| id.len() == 64).count(), 2, "{line}");
    assert_eq!(std::fs::read_to_string(&written).unwrap(), "{}");
}

#[test]
fn a_pin_is_written_in_the_place_of_the_same_one_in_another_case() {
    let (place, server) = (Place::new(), Server::files(good()));
    let zeros = ["0".repeat(64)];
    for block in [
        json!({ "certs": { GUN.to_uppercase(): zeros } }),
        json!({ "certs": { GUN: zeros, "reg.example:5000/*": zeros } }),
        json!({ "Trust_Pinning": { "disable_tofu": true, "CERTS": { "Reg.Example:5000/team/app": zeros } } }),
        json!({ "disable_tofu": true }),
    ] {
        let pins = place.write("pins.json", &block.to_string());
        let wrote = ended(start(place.about("pin", &server).arg("--write").arg(&pins)));
        assert_eq!(wrote.code, Some(0), "{block}: {wrote:?}");
        place.verify_with(&server, |command| command.arg("--pins").arg(&pins)).yes();
        let written: Value = serde_json::from_str(&std::fs::read_to_string(&pins).unwrap()).unwrap();
        assert!(written.to_string().matches("team/app").count() == 1, "{written}");
    }
}
