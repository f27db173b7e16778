//! Images with all that lies beside them: shown, learnt from, carried to a host that does not reach their registry, and moved away from Notary.

use base64::Engine as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use img_authz::image::Digest;
use serde_json::json;

use super::support::{Place, Ran, ended, start};
use crate::support::registry::{Fake, Say};
use crate::support::trust_repo::{Repo, root_key};
use crate::support::trust_server::{Reply, Server};

fn fixtures(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("test/fixtures/cosign").join(part)
}

/// A registry with what the real cosign signed; what is asked for by a name in `gone` is not there.
fn registry(gone: &Arc<Mutex<Vec<String>>>) -> Fake {
    let mut held: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for entry in std::fs::read_dir(fixtures("manifests")).unwrap() {
        let path = entry.unwrap().path();
        let body = std::fs::read(&path).unwrap();
        held.insert(format!("manifests/{}", path.file_stem().unwrap().to_str().unwrap()), body.clone());
        held.insert(format!("manifests/{}", Digest::of(&body)), body);
    }
    for entry in std::fs::read_dir(fixtures("blobs")).unwrap() {
        let body = std::fs::read(entry.unwrap().path()).unwrap();
        held.insert(format!("blobs/{}", Digest::of(&body)), body);
    }
    let gone = Arc::clone(gone);
    Fake::new(None, move |head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path == "/v2/" {
            return Say::status("200 OK");
        }
        let name = path.strip_prefix("/v2/team/app/").unwrap_or_default();
        if gone.lock().unwrap().iter().any(|gone| name.contains(gone.as_str())) {
            return Say::status("404 Not Found");
        }
        match held.get(name) {
            Some(body) => {
                let kind = serde_json::from_slice::<serde_json::Value>(body).ok();
                let kind = kind.as_ref().and_then(|body| body["mediaType"].as_str()).unwrap_or("application/octet-stream");
                let mut say = Say::status("200 OK").with(&format!("Content-Type: {kind}"));
                say.body.clone_from(body);
                say
            }
            None => Say::status("404 Not Found"),
        }
    })
}

fn recorded(name: &str) -> String {
    Digest::of(&std::fs::read(fixtures("manifests").join(format!("{name}.json"))).unwrap()).to_string()
}

/// A host with a policy that asks for signatures by this key.
struct Host {
    place: Place,
    policy: PathBuf,
}

impl Host {
    fn new(image: &str, key: &str) -> Self {
        let place = Place::new();
        let pem = std::fs::read_to_string(fixtures("keys").join(format!("{key}.pub"))).unwrap();
        place.write("etc/img-authz/release.pub", &pem);
        let policy = place.write(
            "etc/img-authz/policy.toml",
            &format!(
                "version = 1\n\n[verifiers.release]\ntype = \"cosign\"\nkeys = [\"release.pub\"]\n\n[[scope]]\nmatch = \"{image}\"\nrequire = \"release\"\n"
            ),
        );
        std::fs::create_dir_all(place.path("gate")).unwrap();
        Self { place, policy }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = command(&self.place);
        command.env("POLICY", &self.policy).env("STATE_DIR", self.place.path("gate")).args(arguments);
        ended(start(&mut command))
    }

    fn kept(&self) -> usize {
        let ran = self.run(&["trust", "status", "--json"]);
        ran.json().as_array().unwrap().len()
    }
}

fn command(place: &Place) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_img-authz"));
    command.env_clear().env("CONFIG_DIR", place.path("etc/img-authz")).env("DOCKER_CONFIG", place.path("docker"));
    command
}

#[test]
fn inspect_shows_every_signature_and_judges_each_where_there_is_a_policy() {
    let registry = registry(&Arc::default());
    let host = Host::new(registry.app().as_str(), "p256");
    let policy = host.policy.to_str().unwrap();
    let image = |name: &str| format!("{}:{name}", registry.app());
    let inspect = |name: &str, more: &[&str]| {
        let mut command = command(&host.place);
        command.env("NOTARY", "off").env("STATE_DIR", host.place.path("gate"));
        command.args(["trust", "inspect", &image(name), "--json"]).args(more);
        let ran = ended(start(&mut command));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.json()
    };
    // cosign 2 signed it for a registry of another name.
    for (name, verdicts, code) in [
        ("legacy-both", vec![false, false], "not-signed"),
        ("bundle-both", vec![true, false], "signer-missing"),
        ("bundle-rsa", vec![false], "signer-missing"),
        ("unsigned", vec![], ""),
    ] {
        let told = inspect(name, &["--policy", policy]);
        assert_eq!((told["digest"].as_str(), &told["judged"]), (Some(&*recorded(name)), &json!(true)), "{told}");
        let mut counts: Vec<bool> = Vec::new();
        for signature in told["signatures"].as_array().unwrap() {
            assert_eq!((&signature["kind"], &signature["of"]), (&json!("cosign"), &json!(recorded(name))), "{told}");
            let [verdict] = signature["verdicts"].as_array().unwrap().as_slice() else { panic!("{told}") };
            assert_eq!(verdict["verifier"], "release");
            counts.push(verdict["counts"].as_bool().unwrap());
            assert!(verdict["counts"] == json!(true) || verdict["code"] == code, "{told}");
        }
        counts.sort_unstable_by_key(|counts| !counts);
        assert_eq!(counts, verdicts, "{told}");
        // Without a policy the same is shown, and nothing judged.
        let bare = inspect(name, &[]);
        assert_eq!(bare["judged"], false);
        assert_eq!(bare["signatures"].as_array().unwrap().len(), verdicts.len(), "{bare}");
    }
    let index = inspect("index", &["--policy", policy]);
    assert!(index["subjects"].as_array().unwrap().len() > 1 && index["signatures"][0]["is"] == "index", "{index}");
    let text = host.run(&["trust", "inspect", &image("attested"), "--policy", policy]).out;
    assert!(text.contains("attestation, ") && text.contains("https://example.com/scan/v1"), "{text}");
    let none = host.run(&["trust", "inspect", &image("missing"), "--json"]);
    assert_eq!((none.code, none.json()["code"].clone()), (Some(2), json!("not-in-registry")), "{none:?}");
}

#[test]
fn what_pin_prints_for_a_key_is_a_policy_that_accepts_the_image() {
    let registry = registry(&Arc::default());
    let place = Place::new();
    let image = format!("{}:bundle-p256", registry.app());
    let pin = |arguments: &[&str]| {
        let mut command = command(&place);
        command.env("NOTARY", "off").env("STATE_DIR", place.path("gate")).args(["trust", "pin", &image]).args(arguments);
        ended(start(&mut command))
    };
    let hint = pin(&[]);
    assert!(
        hint.code == Some(0) && hint.out.contains("--key FILE") && hint.out.contains("nothing can be pinned yet"),
        "{hint:?}"
    );
    for (key, made) in [("p256", "has made 1 of the 1"), ("rsa", "no key that was given has signed")] {
        let told = pin(&["--json", "--key", fixtures("keys").join(format!("{key}.pub")).to_str().unwrap()]).json();
        assert!(told["compare"].to_string().contains(made), "{told}");
        let folder = Place::new();
        for (name, text) in told["files"].as_object().unwrap() {
            folder.write(name, text.as_str().unwrap());
        }
        let policy = folder.write("policy.toml", &format!("version = 1\n\n{}", told["policy"].as_str().unwrap()));
        let policy = policy.to_str().unwrap();
        let check = ended(start(command(&folder).args(["policy", "check", policy])));
        assert_eq!(check.code, Some(0), "{check:?}");
        let state = folder.path("state");
        let verify = ["trust", "verify", &image, "--json", "--policy", policy, "--state", state.to_str().unwrap()];
        let verified = ended(start(command(&folder).args(verify)));
        assert_eq!(verified.code, Some(if key == "p256" { 0 } else { 2 }), "{verified:?}");
    }
}

#[test]
fn signatures_are_carried_and_judged_again_where_they_arrive() {
    let gone: Arc<Mutex<Vec<String>>> = Arc::default();
    let registry = registry(&gone);
    let host = Host::new(registry.app().as_str(), "p256");
    let image = |name: &str| format!("{}:{name}", registry.app());
    let bundle = host.place.path("b.json");
    let bundle = bundle.to_str().unwrap();
    let export = |names: &[&str]| {
        let images: Vec<String> = names.iter().map(|name| image(name)).collect();
        let mut command = command(&host.place);
        command.args(["trust", "export", "--signatures", "--json", "--file", bundle]).args(images);
        ended(start(&mut command))
    };
    let import = |file: &str, more: &[&str]| host.run(&[&["trust", "import", file, "--json"], more].concat());
    let exported = export(&["bundle-p256", "bundle-both"]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    assert_eq!(exported.json()["images"][0]["cosign"], 1);
    let good = std::fs::read_to_string(bundle).unwrap();
    // Edited: another digest, another repository, other bytes, half of it, and something else.
    for (from, to) in [
        (recorded("bundle-p256"), recorded("unsigned")),
        (registry.app().to_string(), format!("{}/team/../../etc", registry.host)),
        ("\"images\"".to_owned(), "\"Images\"".to_owned()),
        ("\"blobs\":[\"".to_owned(), "\"blobs\":[\"e30=\",\"e".to_owned()),
        ("}]}".to_owned(), String::new()),
    ] {
        let bad = good.replace(&from, &to);
        assert_ne!(bad, good, "{from}");
        let file = host.place.write("bad.json", &bad);
        let ran = import(file.to_str().unwrap(), &["--all"]);
        assert_eq!(ran.code, Some(2), "{from}: {ran:?}");
    }
    let giant = host.place.path("giant.json");
    std::fs::write(&giant, "{").unwrap();
    std::fs::File::options().write(true).open(&giant).unwrap().set_len(300 << 20).unwrap();
    let ran = import(giant.to_str().unwrap(), &[]);
    assert!(ran.code == Some(1) && ran.peak_kib < 128 << 10, "{ran:?}");
    let before = host.kept();
    // Whoever carried it chose what it holds: one that is not named is not taken in.
    let ran = import(bundle, &[]);
    assert!(ran.code == Some(1) && host.kept() == before, "{ran:?}");
    let other = format!("{}@{}", registry.app(), recorded("unsigned"));
    assert_eq!(import(bundle, &[&other]).code, Some(1));
    let named = format!("{}@{}", registry.app(), recorded("bundle-p256"));
    let ran = import(bundle, &[&named]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.json()["signatures"].as_array().unwrap().len(), 1, "{ran:?}");
    // Nothing of it was taken back: whoever thinks so is told.
    let undo = format!("--undo-withdrawal={}", recorded("bundle-p256"));
    assert_eq!(import(bundle, &[&named, &undo]).code, Some(2));
    assert_eq!(import(bundle, &[&named, "--undo-withdrawal"]).code, Some(1));
    let none = host
        .place
        .write("none.json", r#"{"kind":"img-authz signatures","version":1,"exported":"2026-11-30T12:00:00Z","images":[]}"#);
    assert_eq!(import(none.to_str().unwrap(), &["--all"]).code, Some(2));
    let ran = import(bundle, &["--all"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.json()["signatures"].as_array().unwrap().len(), 2, "{ran:?}");
    assert!(host.kept() >= 2 && host.kept() >= before, "kept");
    // By nobody who counts: a partial yes is a no that says which.
    assert_eq!(export(&["bundle-p256", "bundle-rsa"]).code, Some(0));
    let ran = import(bundle, &["--all"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(ran.json()["refused"][0]["code"], "signer-missing");
    assert_eq!(ran.json()["signatures"].as_array().unwrap().len(), 1);
    // What could not be looked at whole is not carried.
    gone.lock().unwrap().push("bundle-p256".to_owned());
    assert_eq!(export(&["bundle-p256"]).code, Some(2));
    // A host without a policy has nobody to judge.
    let mut bare = command(&host.place);
    bare.env("STATE_DIR", host.place.path("bare")).env("POLICY", "off").args(["trust", "import", bundle]);
    assert_eq!(ended(start(&mut bare)).code, Some(1));
}

#[test]
fn migrate_says_tag_by_tag_what_needs_a_signature_and_prints_commands_for_what_notary_signed_alone() {
    let registry = registry(&Arc::default());
    let gun = registry.app().to_string();
    let mut repo = Repo::docker(root_key(&gun));
    let target = |name: &str| {
        let body = std::fs::read(fixtures("manifests").join(format!("{name}.json"))).unwrap();
        let hex = Digest::of(&body).hex();
        let bytes: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        let hash = base64::engine::general_purpose::STANDARD.encode(bytes);
        json!({ "hashes": { "sha256": hash }, "length": body.len() })
    };
    let targets = &mut repo.role("targets/releases")["targets"];
    *targets = json!({
        "1.0": target("unsigned"), "bundle-p256": target("bundle-p256"), "legacy-p256": target("legacy-p256"),
        "gone": { "hashes": { "sha256": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }, "length": 7 },
    });
    let files = repo.publish();
    let (place, server) = (
        Place::new(),
        Server::start(move |seen| {
            let name = seen.path.rsplit_once("/_trust/tuf/").map(|(_, name)| name);
            name.and_then(|name| files.get(name))
                .map_or(Reply::Status(404, Vec::new(), Vec::new()), |file| Reply::File(file.clone()))
        }),
    );
    let ca = place.write("ca.crt", &server.ca);
    let state = place.path("state");
    let run = |more: &[&str]| {
        let mut command = command(&place);
        command.args(["migrate", &gun, "--server", &server.url, "--root-ca"]).arg(&ca).arg("--state").arg(&state).args(more);
        ended(start(&mut command))
    };
    let ran = run(&["--json"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let told = ran.json();
    let state_of = |tag: &str| {
        let rows = told["tags"].as_array().unwrap();
        rows.iter().find(|row| row["tag"] == tag).unwrap_or_else(|| panic!("{tag}: {told}"))["state"].clone()
    };
    assert_eq!(
        [state_of("1.0"), state_of("bundle-p256"), state_of("legacy-p256"), state_of("gone")],
        [json!("needs"), json!("unproven"), json!("unproven"), json!("missing")]
    );
    let image = format!("{gun}@{}", recorded("unsigned"));
    let commands = json!([{
        "digest": recorded("unsigned"), "cosign": format!("cosign sign --key cosign.key {image}"), "notation": format!("notation sign {image}"),
    }]);
    assert_eq!(told["commands"], commands);
    let text = run(&[]).out;
    assert!(
        text.contains(&format!("  notation sign {image}")) && !text.contains(&format!("sign {gun}@{}", recorded("bundle-p256"))),
        "{text}"
    );
}
