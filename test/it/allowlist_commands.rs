//! `register`, `unregister`, `allowlist list` and `allowlist prune`, as an operator runs them.
#![expect(clippy::disallowed_methods, reason = "the command is what is tested")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use img_authz::image::Digest;
use serde_json::Value;

use crate::support::registry::{Fake, Say, manifest};

/// A host: folders of its own, an engine with one image, and a registry with one manifest.
struct Host {
    folder: tempfile::TempDir,
    registry: Fake,
    image: Digest,
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = Digest::of(b"image on the host");
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let json = format!(r#"{{"Id":"{image}","RepoTags":["local:1"],"Os":"linux","Architecture":"amd64"}}"#);
                let path = head.split(' ').nth(1).unwrap_or_default();
                let (status, body) = match path.strip_prefix("/v1.41").unwrap_or(path) {
                    "/version" => (200, r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#.to_owned()),
                    "/images/local%3A1/json" => (200, json),
                    "/images/json" => (200, format!("[{json}]")),
                    "/containers/json?all=1" => (200, "[]".to_owned()),
                    _ => (404, r#"{"message":"No such image"}"#.to_owned()),
                };
                let length = body.len();
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let registry = Fake::new(None, |head| {
            if head.contains("/v2/team/app/manifests/1.0 ") { Say::manifest() } else { Say::status("404 Not Found") }
        });
        Self { folder, registry, image }
    }

    fn list(&self) -> PathBuf {
        self.folder.path().join("conf/allowlist.json")
    }

    fn app(&self) -> String {
        format!("{}/team/app:1.0", self.registry.host)
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    fn run_with(&self, arguments: &[&str], env: &[(&str, &str)]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_img-authz"))
            .args(arguments)
            .env_clear()
            .env("CONFIG_DIR", self.folder.path().join("conf"))
            .env("STATE_DIR", self.folder.path().join("state"))
            .env("DOCKER_HOST", format!("unix://{}/docker.sock", self.folder.path().display()))
            .env("SUDO_USER", "alice")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[test]
fn an_image_is_approved_from_the_host_and_from_the_registry_listed_and_taken_back() {
    let host = Host::new();
    let register = |more: [&str; 2]| {
        let common = ["register", "--yes", "--json", "--reason", "first", "--expires", "1d"];
        let ran = host.run(&[&common[..], &more[..]].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.json()["entries"][0].clone()
    };
    let entry = register(["--from-host", "local:1"]);
    assert_eq!((&entry["outcome"], &entry["source"]), (&"added".into(), &"host".into()));
    assert_eq!(entry["image_id"], host.image.to_string());
    let entry = register(["--from-registry", &host.app()]);
    assert_eq!((&entry["source"], &entry["added_by"]), (&"registry".into(), &"alice".into()));
    assert_eq!(entry["digest"], Digest::of(manifest().as_bytes()).to_string());

    let ran = host.run(&["allowlist", "list"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("docker.io/library/local:1") && ran.out.contains("first"), "{}", ran.out);
    assert!(!ran.out.contains('\u{1b}'), "no colours into a pipe");

    let ran = host.run(&["unregister", "local:1", &host.app(), "--json"]);
    assert_eq!((ran.code, ran.json()["left"].as_u64()), (0, Some(0)), "{}", ran.err);
    assert!(ran.err.contains("every image is refused"), "{}", ran.err);
    assert_eq!(host.run(&["unregister", "local:1"]).code, 2);
}

#[test]
fn what_a_gate_kept_of_the_list_before_does_not_outlive_a_change() {
    let host = Host::new();
    let state = host.folder.path().join("state");
    let kept = state.join("last-good-allowlist.json");
    std::fs::create_dir(&state).unwrap();
    assert_eq!(host.run(&["register", "--yes", "--from-host", "local:1"]).code, 0);
    let keep = || {
        let text = std::fs::read_to_string(host.list()).unwrap();
        std::fs::write(&kept, serde_json::json!([{ "path": "/config/allowlist.json", "text": text }]).to_string()).unwrap();
    };
    keep();
    assert_eq!(host.run(&["unregister", "other:1"]).code, 2);
    assert!(kept.exists(), "nothing was changed");
    let elsewhere = host.folder.path().join("elsewhere.json");
    std::fs::copy(host.list(), &elsewhere).unwrap();
    assert_eq!(host.run(&["unregister", "local:1", "--file", elsewhere.to_str().unwrap()]).code, 0);
    assert!(kept.exists(), "another list");
    assert_eq!(host.run(&["allowlist", "prune", "--absent", "--yes"]).code, 0);
    assert!(kept.exists(), "nothing went");
    assert_eq!(host.run(&["register", "--yes", "--from-host", "local:1", "--expires", "1d"]).code, 0);
    assert!(!kept.exists());
    keep();
    assert_eq!(host.run(&["unregister", "local:1"]).code, 0);
    assert!(!kept.exists());
}

#[test]
fn what_turns_the_requirement_on_says_so_and_does_nothing_unasked() {
    let host = Host::new();
    let ran = host.run(&["register", "--from-host", "local:1"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("every image that is not listed in it will be refused") && ran.err.contains("--yes"), "{}", ran.err);
    assert!(!host.list().exists());
    assert_eq!(host.run(&["register", "--from-host", "local:1", "--yes"]).code, 0);
    // Once it is on, nothing is asked.
    let ran = host.run(&["register", "--from-host", "local:1"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("unchanged"), "{}", ran.out);
    // A list elsewhere turns nothing on.
    let elsewhere = host.folder.path().join("elsewhere.json");
    let ran = host.run(&["register", "--from-host", "local:1", "--file", elsewhere.to_str().unwrap()]);
    assert!(ran.code == 0 && ran.err.contains("do not name"), "{}", ran.err);
}

#[test]
fn one_reference_that_is_nowhere_leaves_the_list_as_it_is() {
    let host = Host::new();
    let none = host.app().replace("1.0", "2.0");
    let ran = host.run(&["register", "--from-registry", &host.app(), &none, "--yes"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("has no") && ran.err.contains("nothing was changed"), "{}", ran.err);
    assert!(!host.list().exists());
    assert_eq!(host.run(&["register", "local:1", "--from-registry", "--from-host"]).code, 1, "a contradiction");
    assert_eq!(host.run(&["register", "Not A Name", "--yes"]).code, 1);
    assert_eq!(host.run(&["register", "local:1", "--expires", "yesterday", "--yes"]).code, 1);
    assert!(!host.list().exists());
}

#[test]
fn a_list_that_is_no_good_is_neither_read_nor_overwritten() {
    let host = Host::new();
    std::fs::create_dir(host.folder.path().join("conf")).unwrap();
    for text in ["{", r#"{"version": 2}"#, r#"{"version": 1, "entries": [{"digset": "x"}]}"#] {
        std::fs::write(host.list(), text).unwrap();
        let app = host.app();
        for arguments in [&["allowlist", "list"][..], &["register", &app, "--yes"], &["unregister", "a"], &["allowlist", "prune"]]
        {
            let ran = host.run(arguments);
            assert_eq!(ran.code, 1, "{arguments:?}: {}{}", ran.out, ran.err);
        }
        assert_eq!(std::fs::read_to_string(host.list()).unwrap(), text);
    }
    std::fs::remove_file(host.list()).unwrap();
    for arguments in [["allowlist", "list"], ["allowlist", "prune"]] {
        assert_eq!(host.run(&arguments).code, 2, "there is none");
    }
}

#[test]
fn pruning_asks_and_takes_what_is_expired_or_absent() {
    let host = Host::new();
    assert_eq!(host.run(&["register", "--from-host", "local:1", "--yes"]).code, 0);
    assert_eq!(host.run(&["register", &host.app()]).code, 0);
    let ended = r#"{"digest": "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "expires": "2020-01-01T00:00:00Z"}"#;
    let text = std::fs::read_to_string(host.list()).unwrap().replacen("\"entries\": [", &format!("\"entries\": [{ended},"), 1);
    std::fs::write(host.list(), &text).unwrap();
    let ran = host.run(&["allowlist", "prune"]);
    assert!(ran.code == 1 && ran.out.contains("expired 2020") && ran.err.contains("--yes"), "{}{}", ran.out, ran.err);
    assert_eq!(std::fs::read_to_string(host.list()).unwrap(), text);
    let ran = host.run(&["allowlist", "prune", "--yes", "--json"]);
    assert_eq!((ran.json()["count"].as_u64(), &ran.json()["removed"][0]["why"]), (Some(1), &"expired".into()));
    let ran = host.run(&["allowlist", "prune", "--absent", "--yes", "--json"]);
    assert_eq!((ran.json()["count"].as_u64(), &ran.json()["removed"][0]["why"]), (Some(1), &"absent".into()));
    let list = host.run(&["allowlist", "list", "--json"]).json();
    assert_eq!(list["entries"].as_array().unwrap().len(), 1);
    assert_eq!(list["entries"][0]["image_id"], host.image.to_string());
    assert_eq!(host.run(&["allowlist", "prune", "--absent"]).code, 0, "nothing left to remove");
}

/// The private key of a list, as `openssl genpkey -algorithm ed25519` writes it.
const LIST_KEY: &str =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINETWJpsUagly8UqddBoWoqRCx+/TCzzu1C8/QBHSSDn\n-----END PRIVATE KEY-----\n";

#[test]
fn a_list_that_must_be_signed_is_written_here_signed_elsewhere_and_never_changed_in_place() {
    use std::os::unix::fs::PermissionsExt as _;
    let host = Host::new();
    let at = |name: &str| host.folder.path().join(name).display().to_string();
    std::fs::create_dir_all(host.folder.path().join("conf")).unwrap();
    std::fs::write(at("list.key"), LIST_KEY).unwrap();
    let chmod = |mode| std::fs::set_permissions(at("list.key"), std::fs::Permissions::from_mode(mode)).unwrap();
    // Written on the host, where no key is set yet.
    let ran = host.run(&["register", "--out", &at("next.json"), &host.app()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!host.list().exists() && ran.err.contains("is to be signed (serial 1)"), "{}", ran.err);
    let again = host.run(&["register", "--out", &at("next.json"), &host.app()]);
    assert_eq!((again.code, again.err.contains("there is such a file already")), (1, true), "{}", again.err);
    // Signed elsewhere.
    chmod(0o644);
    let open = host.run(&["allowlist", "sign", "--key", &at("list.key"), &at("next.json")]);
    assert_eq!((open.code, open.err.contains("chmod 600")), (1, true), "{}", open.err);
    chmod(0o600);
    let signed = host.run(&["allowlist", "sign", "--key", &at("list.key"), &at("next.json"), "--json"]).json();
    assert_eq!((&signed["serial"], &signed["entries"]), (&1.into(), &1.into()));
    std::fs::rename(at("next.json"), host.list()).unwrap();
    let listed = host.run(&["allowlist", "list", "--json"]).json();
    assert_eq!((&listed["is_signed"], &listed["serial"]), (&true.into(), &1.into()));
    // With the key set, and without: a signed list is not changed in place.
    let key = signed["key"].as_str().unwrap();
    for env in [&[("ALLOWLIST_KEY", key)][..], &[]] {
        for arguments in [&["register", "--yes", "--from-host", "local:1"][..], &["unregister", &host.app()]] {
            let ran = host.run_with(arguments, env);
            assert_eq!((ran.code, ran.err.contains("--out FILE")), (1, true), "{arguments:?}: {}", ran.err);
        }
    }
    let out = host.run_with(&["unregister", &host.app(), "--out", &at("empty.json")], &[("ALLOWLIST_KEY", key)]);
    assert_eq!((out.code, out.err.contains("(serial 2)")), (0, true), "{}", out.err);
    // What somebody wrote into the file is not gone on from.
    let forged = std::fs::read_to_string(host.list()).unwrap().replace("\"serial\": 1", "\"serial\": 9");
    std::fs::write(host.list(), forged).unwrap();
    let out = host.run_with(&["register", "--from-host", "local:1", "--out", &at("third.json")], &[("ALLOWLIST_KEY", key)]);
    assert_eq!((out.code, out.err.contains("changed after it was signed")), (0, true), "{}", out.err);
    let third = std::fs::read_to_string(at("third.json")).unwrap();
    assert!(third.contains("local:1") && !third.contains("team/app") && third.contains("\"serial\": 1"), "{third}");
    let bad = host.run_with(&["register", "--out", &at("x.json"), "a"], &[("ALLOWLIST_KEY", LIST_KEY)]);
    assert_eq!((bad.code, bad.err.contains("is a private key")), (1, true), "{}", bad.err);
    assert!(!bad.err.contains("MC4C"), "{}", bad.err);
}

#[test]
fn a_compose_file_is_registered_and_one_with_variables_is_not() {
    let host = Host::new();
    let file = host.folder.path().join("compose.yaml");
    let with =
        |image: &str| std::fs::write(&file, format!("services:\n  app:\n    image: {image}\n  own: {{build: .}}\n")).unwrap();
    with("r.example/app:${TAG}");
    let path = file.display().to_string();
    let ran = host.run(&["register", "--yes", "--compose", &path]);
    assert_eq!((ran.code, host.list().exists()), (1, false), "{}", ran.err);
    assert!(ran.err.contains("docker compose config |"), "{}", ran.err);
    with(&host.app());
    let ran = host.run(&["register", "--yes", "--compose", &path]);
    assert_eq!((ran.code, ran.err.contains("service `own` is built")), (0, true), "{}", ran.err);
    assert!(std::fs::read_to_string(host.list()).unwrap().contains("team/app:1.0"));
}
