//! What a person gives: references, servers, files, pins, settings.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use serde_json::json;

use super::support::{Place, ended, start};
use crate::support::trust_repo::*;
use crate::support::trust_server::{Server, good};

#[test]
fn a_signed_tag_is_a_yes_and_another_is_a_no() {
    let (place, server) = (Place::new(), Server::files(good()));
    place.verify(&server).yes();
    let other = ended(start(place.command(&server).arg(format!("{GUN}:2.0"))));
    assert!(other.no("not-signed").contains("tag `2.0` is not signed; ask its publisher to sign this tag"));
}

#[test]
fn what_is_no_reference_is_refused_without_asking() {
    let (place, server) = (Place::new(), Server::files(good()));
    let long = format!("reg.example/{}:1", "a".repeat(5000));
    for name in [
        "",
        " ",
        ":",
        "@",
        "/",
        "-",
        "--",
        "-x",
        "a b",
        "reg.example/App:1.0",
        "reg.example//app:1.0",
        "reg.example/app:",
        "reg.example/app@",
        "reg.example/app@sha256:00",
        "reg.example/app@md5:d41d8cd98f00b204e9800998ecf8427e",
        "https://reg.example/app:1.0",
        "reg.example/../app:1.0",
        "reg.example:port/app:1.0",
        "reg.example/app:1.0\n",
        "reg.example/app:1.0\u{0}x",
        "réf.example/app:1.0",
        "reg.example/app:a/b",
        "reg.example/app:1.0?x=y",
        "reg.example/app%2fx:1.0",
        "user:pass@reg.example/app:1.0",
        "[::1/app:1.0",
        &long,
    ] {
        // The system takes no NUL in an argument.
        let name = name.replace('\0', "\u{1}");
        ended(start(place.command(&server).args(["--", &name]))).no("reference-invalid");
    }
    let mut command = place.command(&server);
    ended(start(command.arg(std::ffi::OsStr::from_bytes(b"reg.example/\xff:1.0")))).no("reference-invalid");
    ended(start(place.command(&server).arg("-x:1.0"))).no("reference-invalid");
    assert_eq!(server.count(), 0);
}

#[test]
fn a_server_that_is_none_is_refused() {
    let place = Place::new();
    for url in [
        "http://localhost:1",
        "ftp://localhost:1",
        "https://",
        "https://user:secret@localhost:1",
        "https://localhost:1/?a=b",
        "https://localhost:99999",
        "https://local host",
        "https://[::1",
        "://x",
        "",
    ] {
        let message = ended(start(place.asking(url).arg(format!("{GUN}:1.0")))).no("trust-misconfigured");
        assert!(!message.contains("secret"), "{message}");
    }
}

#[test]
fn files_that_are_named_and_no_good_are_refused() {
    let (place, server) = (Place::new(), Server::files(good()));
    let fifo = place.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let huge = place.path("huge");
    std::fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    let (missing, folder) = (place.path("missing"), place.folder.path().to_owned());
    let device = PathBuf::from("/dev/zero");
    let files = [&fifo, &huge, &missing, &folder, &device];
    let mut bad: Vec<PathBuf> = files.into_iter().cloned().collect();
    for (index, text) in
        ["", "\u{0}", "{", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"].into_iter().enumerate()
    {
        bad.push(place.write(&format!("bad{index}"), text));
    }
    let latin = place.path("latin");
    std::fs::write(&latin, b"\xff\xfe").unwrap();
    bad.push(latin);
    for path in &bad {
        let ran = ended(start(place.asking(&server.url).arg("--root-ca").arg(path).arg(format!("{GUN}:1.0"))));
        ran.no("trust-misconfigured");
        // An unreadable docker configuration is none; pins that cannot be read let nothing pass.
        place.verify_with(&server, |command| command.arg("--pins").arg(path)).no("trust-misconfigured");
    }
    assert_eq!(server.count(), 0);
    place.verify(&server).yes();
}

#[test]
fn pins_that_are_malformed_let_nothing_pass() {
    let (place, server) = (Place::new(), Server::files(good()));
    let root = place.verify(&server);
    root.yes();
    let zeros = "0".repeat(64);
    let bundle = place.write("bundle.pem", "no certificate");
    let asked = server.count();
    for text in [
        "[]".to_owned(),
        "null".to_owned(),
        "{\"certs\": []}".to_owned(),
        "{\"certs\": null}".to_owned(),
        format!("{{\"certs\": {{\"{GUN}\": \"{zeros}\"}}}}"),
        format!("{{\"certs\": {{\"{GUN}\": [\"abc\"]}}}}"),
        format!("{{\"certs\": {{\"{GUN}\": [\"{}\"]}}}}", zeros.replace('0', "A")),
        format!("{{\"certs\": {{\"{GUN}\": [], \"{GUN}\": []}}}}"),
        "{\"disable_tofu\": \"true\"}".to_owned(),
        "{\"disable_tofu\": 1}".to_owned(),
        "{\"disable_tofu\": true, \"Disable_TOFU\": false}".to_owned(),
        "{\"disable-tofu\": true}".to_owned(),
        "{\"trust_pinning\": []}".to_owned(),
        format!("{{\"ca\": {{\"{GUN}\": \"{}\"}}}}", bundle.display()),
        format!("{{\"ca\": {{\"{GUN}\": \"/nowhere\"}}}}"),
        format!("{{\"ca\": {{\"{GUN}\": \"/dev/zero\"}}}}"),
        format!("{{}}{}", "x".repeat(10)),
        format!("{{\"certs\": {}1{}}}", "[".repeat(5000), "]".repeat(5000)),
    ] {
        let pins = place.write("pins.json", &text);
        place.verify_with(&server, |command| command.arg("--pins").arg(pins)).no("trust-misconfigured");
    }
    assert_eq!(server.count(), asked);
    for (text, expected) in [
        (format!("{{\"certs\": {{\"{GUN}\": []}}}}"), Some("root-not-trusted")),
        (format!("{{\"certs\": {{\"{GUN}\": [\"{zeros}\"]}}}}"), Some("root-not-trusted")),
        (format!("{{\"certs\": {{\"reg.example:5000/*\": [\"{zeros}\"]}}}}"), Some("root-not-trusted")),
        ("{\"disable_tofu\": true}".to_owned(), Some("root-not-trusted")),
        ("{\"certs\": {}}".to_owned(), None),
        ("{}".to_owned(), None),
    ] {
        let pins = place.write("pins.json", &text);
        let ran = place.verify_with(&server, |command| command.arg("--pins").arg(pins));
        match expected {
            Some(code) => drop(ran.no(code)),
            None => ran.yes(),
        }
    }
}

#[test]
fn bundles_of_pins_in_the_settings_lie_beside_them_and_not_where_one_happens_to_stand() {
    let ca = Authority::new(Authority::params("owner CA"));
    let planted = Authority::new(Authority::params("owner CA"));
    let (place, server) = (Place::new(), Server::files(Repo::docker(ca.issue(&params(GUN), "")).publish()));
    let evil = Server::files(Repo::docker(planted.issue(&params(GUN), "")).publish());
    place.write("etc/img-authz/ca.pem", &ca.pem);
    let folder = place.write("here/ca.pem", &planted.pem).parent().unwrap().to_owned();
    let pins = json!({ "disable_tofu": true, "ca": { "reg.example:5000/": "ca.pem" } }).to_string();
    place.verify_with(&evil, |command| command.env("NOTARY_PINS", &pins).current_dir(&folder)).no("root-not-trusted");
    place.verify_with(&server, |command| command.env("NOTARY_PINS", &pins).current_dir(&folder)).yes();
    place.verify_with(&server, |command| command.env("NOTARY_PINS", &pins).current_dir("/")).yes();
}

#[test]
fn a_setting_that_is_no_text_is_a_fault_and_not_unset() {
    let (place, server) = (Place::new(), Server::files(good()));
    let broken = |text: &str| std::ffi::OsStr::from_bytes(&[text.as_bytes(), b"\xff"].concat()).to_owned();
    for (name, text) in [
        ("NOTARY_PINS", "{\"disable_tofu\": true}"),
        ("NOTARY_SIGNERS", "*=qa"),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("https_proxy", "http://user:pass@127.0.0.1:1/"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
    ] {
        place.verify_with(&server, |command| command.env(name, broken(text))).no("trust-misconfigured");
    }
    let inside = [b"{\"certs\": {\"reg.example:5000\xff/*\": []}}".as_slice()].concat();
    place
        .verify_with(&server, |command| command.env("NOTARY_PINS", std::ffi::OsStr::from_bytes(&inside)))
        .no("trust-misconfigured");
    let mut unread = place.asking(&server.url);
    unread.env("NOTARY_ROOT_CA", broken(&server.ca)).arg(format!("{GUN}:1.0"));
    ended(start(&mut unread)).no("trust-misconfigured");
    assert_eq!(server.count(), 0);
}
