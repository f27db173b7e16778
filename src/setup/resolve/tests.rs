use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::state::{LAST_GOOD_ALLOWLIST, LAST_GOOD_FILES};
use super::super::{Basis, Place};
use super::*;
use crate::policy::CosignSettings;
use crate::setup::clients::{cosign_of, credentials_of};
use crate::trust::allowlist::Status;
use crate::trust::evidence::Evidence;

const GOOD: &str = r#"{"auths":{"r.example":{"auth":"YTpzZWNyZXQ="}}}"#;
const HALF: &str = r#"{"auths":{"r.example":{"#;
const LIST: &str = r#"{"version":1,"entries":[]}"#;

/// A host's folders; each start is a gate with nothing but the state folder to remember by.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        for folder in ["state", "config"] {
            std::fs::create_dir(host.at(folder)).unwrap();
        }
        host
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        std::fs::write(self.at(path), text).unwrap();
        std::fs::set_permissions(self.at(path), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn settings(&self) -> Settings {
        Settings::default()
            .with("REGISTRY", "r.example")
            .with("NOTARY", "off")
            .with("STATE_DIR", self.at("state").display().to_string())
            .with("CONFIG_DIR", self.at("config").display().to_string())
    }

    fn start(settings: &Settings) -> (Rules, bool, Kept) {
        let mut kept = Kept { files: LastGood::of(&settings.state_dir()), ..Kept::default() };
        let (rules, is_good) = rules(settings, &mut kept);
        (rules, is_good, kept)
    }

    /// Whether there is a password for the registry after a start; `None`: the rules are refusals.
    fn knows_password(&self) -> Option<bool> {
        let (rules, _, kept) = Self::start(&self.settings());
        matches!(rules, Rules::Good { .. }).then(|| {
            let mut files = LastGood::look(&self.at("state"), &[]);
            files.begin();
            drop(kept);
            credentials_of(&self.settings(), &mut files).unwrap().for_host("r.example").is_some()
        })
    }
}

#[test]
fn a_start_with_half_written_credentials_goes_by_the_last_good_ones_and_says_so() {
    let host = Host::new();
    host.write("config/config.json", HALF);
    assert_eq!(host.knows_password(), None, "none were ever good: refused");
    host.write("config/config.json", GOOD);
    assert_eq!(host.knows_password(), Some(true));
    host.write("config/config.json", HALF);
    let (rules, is_good, mut kept) = Host::start(&host.settings());
    assert!(matches!(rules, Rules::Good { .. }) && !is_good);
    assert!(kept.reading().told().unwrap().contains("config.json` cannot be used"), "{:?}", kept.reading().told());
    assert!(!kept.is_worth_a_look());
    assert_eq!(host.knows_password(), Some(true), "also at the start after that");
    host.write("config/config.json", "{\"auths\":{\"r");
    assert!(kept.is_worth_a_look());
    for name in [LAST_GOOD_FILES, LAST_GOOD] {
        let mode = std::fs::metadata(host.at("state").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn credentials_that_were_taken_away_are_kept_nowhere() {
    let host = Host::new();
    host.write("config/config.json", GOOD);
    assert_eq!(host.knows_password(), Some(true));
    std::fs::remove_file(host.at("config/config.json")).unwrap();
    assert_eq!(host.knows_password(), Some(false));
    assert!(!host.at("state").join(LAST_GOOD_FILES).exists());
    host.write("config/config.json", "{");
    assert_eq!(host.knows_password(), None, "what is faulty now was never good since");
}

#[test]
fn faulty_settings_and_a_faulty_file_together_go_by_what_last_was_good() {
    let host = Host::new();
    host.write("config/config.json", GOOD);
    assert_eq!(host.knows_password(), Some(true));
    host.write("config/config.json", "{");
    let (rules, is_good, kept) = Host::start(&host.settings().with("MODE", "nonsense"));
    assert!(matches!(rules, Rules::Good { .. }) && !is_good);
    let faults = kept.reading().told().unwrap();
    assert!(faults.contains("MODE: `nonsense`") && faults.contains("config.json"), "{faults}");
}

#[test]
fn what_a_managed_gate_kept_counts_for_a_command_that_has_its_folders_elsewhere() {
    let host = Host::new();
    host.write("config/config.json", GOOD);
    host.write("config/allowlist.json", LIST);
    assert!(Host::start(&host.settings()).1);
    std::fs::rename(host.at("config"), host.at("there")).unwrap();
    host.write("there/config.json", HALF);
    host.write("there/allowlist.json", "{");
    let folder = |name: &str| host.at(name).display().to_string();
    let settings = host.settings().with("CONFIG_DIR", folder("there"));
    let place = |mounts: &[(String, String)]| {
        Place::judged(settings.clone(), Basis::Variables, mounts, |last| last.with("CONFIG_DIR", folder("there")))
    };
    let found = place(&[(folder("there"), folder("config"))]);
    assert_eq!((found.faults.len(), found.file_faults.len(), found.is_void), (0, 1, false), "{}", found.told());
    assert!(found.told().contains("config.json"), "{}", found.told());
    let mut kept = found.kept();
    policy(&found.settings, &mut kept).unwrap();
    assert_eq!(kept.allowlists()[&VerifierName::ALLOWLIST].status().entries, Some(0));
    // What was kept of other folders is not what these held.
    assert!(place(&[]).is_void);
}

#[test]
fn certificates_of_notary_of_a_registry_and_of_pins_are_kept_likewise() {
    let pem = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    let host = Host::new();
    let notary = host.settings().with("NOTARY", "https://n.example").with("NOTARY_PINS", r#"{"ca":{"r.example/":"pins.crt"}}"#);
    let files = ["certs.d/r.example/ca.crt", "certs.d/n.example:443/ca.crt", "certs.d/n.example/ca.crt", "pins.crt"];
    for (settings, used) in [(host.settings(), &files[..1]), (notary, &files[1..])] {
        for file in used {
            host.write(&format!("config/{file}"), &pem);
        }
        assert!(Host::start(&settings).1);
        for file in used {
            host.write(&format!("config/{file}"), "-----BEGIN CERT");
        }
        let (rules, is_good, kept) = Host::start(&settings);
        assert!(matches!(rules, Rules::Good { .. }) && !is_good, "{:?}", kept.reading().told());
        std::fs::remove_dir_all(host.at("state")).unwrap();
        std::fs::create_dir(host.at("state")).unwrap();
        // Without what was kept: a registry is refused by itself when it is asked, the others are faults.
        assert_eq!(matches!(Host::start(&settings).0, Rules::Good { .. }), used.len() == 1);
    }
}

#[test]
fn a_faulty_allowlist_begins_with_the_last_good_one_and_a_removed_one_ends_at_a_new_start() {
    let host = Host::new();
    let path = host.at("config/allowlist.json");
    let status = |kept: &Kept| kept.allowlists.values().next().map(|list| list.status());
    let entries = |kept: &Kept| status(kept).map(|Status { entries, fault, .. }| (entries, fault.is_some()));
    host.write("config/allowlist.json", "{");
    assert_eq!(entries(&Host::start(&host.settings()).2), Some((None, true)), "none was ever good: refused");
    host.write("config/allowlist.json", LIST);
    assert_eq!(entries(&Host::start(&host.settings()).2), Some((Some(0), false)));
    for faulty in ["", "{\"version\":1,\"ent"] {
        host.write("config/allowlist.json", faulty);
        assert_eq!(entries(&Host::start(&host.settings()).2), Some((Some(0), true)), "{faulty:?}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(entries(&Host::start(&host.settings()).2), Some((Some(0), true)));
    // Another path was never good; one that is required and gone was taken away, and nothing was put in its place.
    let other = host.settings().with("ALLOWLIST", host.at("config/other.json").display().to_string());
    host.write("config/other.json", "{");
    assert_eq!(entries(&Host::start(&other).2), Some((None, true)));
    let required = host.settings().with("ALLOWLIST", path.display().to_string());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(entries(&Host::start(&required).2), Some((None, true)));

    host.write("config/allowlist.json", LIST);
    let (_, _, mut kept) = Host::start(&host.settings());
    std::fs::remove_file(&path).unwrap();
    let (rules, _) = rules(&host.settings(), &mut kept);
    assert!(matches!(rules, Rules::Good { policy, .. } if policy.weak_scopes().next().is_none()), "a reload: required still");
    assert_eq!(entries(&Host::start(&host.settings()).2), None, "a new start without the file");
    assert!(!host.at("state").join(LAST_GOOD_ALLOWLIST).exists());
    host.write("config/allowlist.json", "{");
    assert_eq!(entries(&Host::start(&host.settings()).2), Some((None, true)), "what was ended does not come back");
}

#[test]
fn a_bundle_and_a_key_that_are_gone_count_no_more() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let host = Host::new();
    let of_pins = host.settings().with("NOTARY", "https://n.example").with("NOTARY_PINS", r#"{"ca":{"r.example/":"pins.crt"}}"#);
    let of_notary = host.settings().with("NOTARY", "https://n.example");
    let cert = "config/certs.d/n.example/a.cert";
    for (settings, gone) in [(of_pins, "config/pins.crt"), (of_notary, "config/certs.d/n.example/a.key")] {
        let is_good = || matches!(Host::start(&settings).0, Rules::Good { .. });
        if gone.ends_with("key") {
            host.write(cert, &pem);
        }
        let content = if gone.ends_with("key") { &key } else { &pem };
        host.write(gone, content);
        assert!(is_good(), "{gone}");
        host.write(gone, "-----BEGIN");
        assert!(is_good(), "{gone}: half written counts as what it was");
        std::fs::remove_file(host.at(gone)).unwrap();
        assert!(!is_good(), "{gone} was taken away");
        host.write(gone, "-----BEGIN");
        assert!(!is_good(), "{gone}: nothing is kept of it");
        host.write(gone, content);
        assert!(is_good(), "{gone} is back");
    }
}

#[test]
fn a_key_file_that_is_gone_ends_its_key_and_a_faulty_one_says_what_still_counts() {
    let host = Host::new();
    let key = |name: &str| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/test/fixtures/cosign/keys/").to_owned() + name;
        std::fs::read_to_string(path).unwrap()
    };
    let policy = "version = 1\n[verifiers.release]\ntype = \"cosign\"\nkeys = [\"a.pub\", \"b.pub\"]\n\
                  [[scope]]\nmatch = \"r.example/**\"\nrequire = \"release\"\n";
    host.write("config/policy.toml", policy);
    let settings = Settings::default()
        .with("POLICY", host.at("config/policy.toml").display().to_string())
        .with("STATE_DIR", host.at("state").display().to_string())
        .with("CONFIG_DIR", host.at("config").display().to_string());
    // Which keys count, and what is said; `None`: refused as a whole.
    let start = || {
        let (rules, is_good, kept) = Host::start(&settings);
        let told = kept.reading().told().unwrap_or_default();
        assert_eq!(is_good, matches!(rules, Rules::Good { .. }) && told.is_empty(), "{told}");
        drop(kept);
        matches!(rules, Rules::Good { .. }).then(|| {
            let mut files = LastGood::look(&host.at("state"), &[]);
            files.begin();
            let keys = ["a.pub", "b.pub"].map(|name| host.at("config").join(name)).to_vec();
            let registry = Arc::new(crate::registry::Fake::new());
            let (evidence, written) =
                (Evidence::looked_at(host.at("state")), CosignSettings { keys, ..CosignSettings::default() });
            let made = cosign_of(&"release".parse().unwrap(), &written, registry, evidence, &mut files).unwrap();
            (format!("{made:?}"), told)
        })
    };
    let has = |found: &Option<(String, String)>, name: &str| found.as_ref().unwrap().0.contains(name);
    host.write("config/a.pub", &key("p256.pub"));
    assert!(start().is_none(), "b.pub was never there: a fault of the policy");
    host.write("config/b.pub", &key("rsa.pub"));
    let found = start();
    assert!(has(&found, "a.pub") && has(&found, "b.pub"), "{found:?}");
    // A faulty one: what it last held counts, and that is said.
    for faulty in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        host.write("config/b.pub", faulty);
        let found = start();
        assert!(has(&found, "b.pub"), "{found:?}");
        assert!(found.as_ref().unwrap().1.contains("last held in `b.pub` still counts"), "{found:?}");
    }
    // Gone is gone, also beside a faulty one and after a restart.
    std::fs::remove_file(host.at("config/b.pub")).unwrap();
    host.write("config/a.pub", "");
    for _ in 0..2 {
        let found = start();
        assert!(has(&found, "a.pub") && !has(&found, "b.pub"), "{found:?}");
    }
    host.write("config/a.pub", &key("p256.pub"));
    let found = start();
    assert!(has(&found, "a.pub") && !has(&found, "b.pub"), "{found:?}");
    assert!(found.as_ref().unwrap().1.contains("b.pub` is gone"), "{found:?}");
    // Half of what comes back does not bring back what was.
    host.write("config/b.pub", "");
    let found = start();
    assert!(has(&found, "a.pub") && !has(&found, "b.pub"), "{found:?}");
    for name in ["a.pub", "b.pub"] {
        std::fs::remove_file(host.at("config").join(name)).unwrap();
    }
    for _ in 0..2 {
        let found = start();
        assert!(!has(&found, "a.pub") && !has(&found, "b.pub"), "{found:?}");
    }
    host.write("config/b.pub", &key("rsa.pub"));
    let found = start();
    assert!(!has(&found, "a.pub") && has(&found, "b.pub"), "{found:?}");
    host.write("config/a.pub", &key("p256.pub"));
    let found = start();
    assert!(has(&found, "a.pub") && has(&found, "b.pub"), "{found:?}");
    assert_eq!(found.unwrap().1, "");
}

#[test]
fn an_older_allowlist_does_not_count_again_after_a_write_that_failed_and_the_write_is_tried_again() {
    let host = Host::new();
    let entries = || Host::start(&host.settings()).2.allowlists[&VerifierName::ALLOWLIST].status().entries;
    let entry = r#"{"digest":"sha256:"#.to_owned() + &"a".repeat(64) + r#""}"#;
    let evil = LIST.replace("[]", &format!("[{entry}]"));
    let kept_at = host.at("state").join(LAST_GOOD_ALLOWLIST);
    // A folder in its place: nothing can be put there, as on a full disk.
    let block = || {
        let _ = std::fs::remove_file(&kept_at);
        std::fs::create_dir_all(kept_at.join("full")).unwrap();
    };
    host.write("config/allowlist.json", &evil);
    let (_, _, mut kept) = Host::start(&host.settings());
    let before = std::fs::read(&kept_at).unwrap();
    block();
    host.write("config/allowlist.json", LIST);
    kept.look();
    std::fs::remove_dir_all(&kept_at).unwrap();
    std::fs::write(&kept_at, before).unwrap();
    kept.look();
    host.write("config/allowlist.json", "{");
    assert_eq!(entries(), Some(0), "the later look has kept the later list");

    // The same of other files.
    let files_at = host.at("state").join(LAST_GOOD_FILES);
    std::fs::remove_file(host.at("config/allowlist.json")).unwrap();
    std::fs::create_dir_all(files_at.join("full")).unwrap();
    host.write("config/config.json", GOOD);
    let (_, _, mut kept) = Host::start(&host.settings());
    std::fs::remove_dir_all(&files_at).unwrap();
    kept.look();
    assert!(std::fs::read_to_string(&files_at).unwrap().contains("YTpzZWNyZXQ="));
}

#[test]
fn what_a_command_took_back_while_the_gate_stood_still_does_not_count_again() {
    use super::super::last_good::forget_earlier;
    let host = Host::new();
    let (state, path) = (host.at("state"), host.at("config/allowlist.json"));
    let entries = || Host::start(&host.settings()).2.allowlists[&VerifierName::ALLOWLIST].status().entries;
    let entry = r#"{"digest":"sha256:"#.to_owned() + &"a".repeat(64) + r#""}"#;
    host.write("config/allowlist.json", &LIST.replace("[]", &format!("[{entry}]")));
    assert_eq!(entries(), Some(1));
    // What is kept as it is now stays.
    forget_earlier(&state, &path).unwrap();
    assert!(state.join(LAST_GOOD_ALLOWLIST).exists());
    host.write("config/allowlist.json", LIST);
    forget_earlier(&state, &path).unwrap();
    host.write("config/allowlist.json", "{");
    assert_eq!(entries(), None);
    forget_earlier(&host.at("none"), &path).unwrap();
}

#[test]
fn an_allowlist_that_changes_is_kept_within_a_look() {
    let host = Host::new();
    host.write("config/allowlist.json", LIST);
    let (_, _, mut kept) = Host::start(&host.settings());
    let entry = r#"{"digest":"sha256:"#.to_owned() + &"a".repeat(64) + r#""}"#;
    host.write("config/allowlist.json", &LIST.replace("[]", &format!("[{entry}]")));
    kept.look();
    host.write("config/allowlist.json", "{");
    kept.look();
    let (_, _, kept) = Host::start(&host.settings());
    assert_eq!(kept.allowlists[&VerifierName::ALLOWLIST].status().entries, Some(1));
}
