//! The cookbook of policies holds its promises, and `policy test` and `policy diff` say what is not so.
#![expect(clippy::disallowed_methods, reason = "the command is what is tested")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const COOKBOOK: &str = include_str!("../../docs/policy-cookbook.md");

fn recipes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// Exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_img-authz")).arg("policy").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn of(recipe: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(recipes().iter().find(|path| path.ends_with(recipe)).unwrap()).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// A file of the recipe with a part of it replaced.
    fn change(&self, name: &str, to: &str, from: &str, by: &str) -> String {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{from}");
        self.write(to, &text.replace(from, by))
    }
}

#[test]
fn every_recipe_keeps_its_cases_and_leaves_no_scope_and_no_rule_of_its_own_untried() {
    let recipes = recipes();
    assert!(recipes.len() >= 9);
    for recipe in recipes {
        let name = recipe.file_name().unwrap().to_str().unwrap();
        assert!(COOKBOOK.contains(&format!("| [{name}](")), "docs/policy-cookbook.md: {name}");
        let (code, out, err) = run(&["test", recipe.to_str().unwrap(), "--json"]);
        assert_eq!(code, 0, "{name}: {out}{err}");
        let said: Value = serde_json::from_str(&out).unwrap();
        let cases = said["cases"].as_array().unwrap();
        let of = |verdict: &str| cases.iter().filter(|case| case["got"]["verdict"] == verdict).count();
        assert!(of("allow") > 0 && of("deny") > 0, "{name}: every yes has its no");
        assert_eq!(said["not_reached"], serde_json::json!({ "scopes": [], "rules": [] }), "{name}");
    }
}

/// A recipe's own words: weaken the policy, and its cases say so.
#[test]
fn a_policy_that_was_weakened_fails_its_cases_and_the_report_says_which() {
    let folder = Folder::of("01-two-registries");
    let weak = folder.change("policy.toml", "weak.toml", "tag-latest = \"deny\"", "tag-latest = \"off\"");
    let report = folder.path("report.xml");
    let (code, out, _) = run(&["test", &folder.path("cases.toml"), "--policy", &weak, "--junit", &report]);
    assert_eq!(code, 2, "{out}");
    assert!(out.contains("FAILED  latest does not run  (cases.toml:"), "{out}");
    assert!(out.contains("expected deny image-rule, got allow") && out.contains("11 cases: 10 ok, 1 failed"), "{out}");
    let xml = std::fs::read_to_string(report).unwrap();
    assert!(xml.contains("tests=\"11\" failures=\"1\"") && xml.contains("<failure message=\"expected deny image-rule"), "{xml}");
    assert_eq!(xml.matches("<testcase ").count(), 11);

    // What is refused for another reason than expected is shown with its whole refusal.
    let stricter = folder.change("policy.toml", "strict.toml", "registry2.example/**", "registry2.example/ours/**");
    let (code, out, _) = run(&["test", &folder.path("cases.toml"), "--policy", &stricter]);
    assert_eq!(code, 2);
    assert!(out.contains("expected allow, got deny registry-not-allowed"), "{out}");
    assert!(out.contains("        registry-not-allowed: no scope of the policy matches `registry2.example/app`; "), "{out}");
    // Whole, with its remedy, and what would have to change.
    assert!(out.contains("a `match` there covers `registry2.example/app`\n") && !out.contains('…'), "{out}");
}

#[test]
fn what_no_case_tries_is_named() {
    let folder = Folder::of("02-stages");
    let one = folder
        .write("one.toml", "version = 1\n[[case]]\nname = \"a\"\nimage = \"registry.example/prod/a:1\"\nexpect = \"deny\"\n");
    let (code, out, _) = run(&["test", &one]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("no case reached scope `dev` (policy.toml:11)"), "{out}");
    assert!(out.contains("no case broke rule `user-root` (policy.toml:24) of scope `prod`\n"), "{out}");
    let (_, out, _) = run(&["test", &folder.path("cases.toml")]);
    assert!(out.contains("every scope was reached") && !out.contains("no case broke"), "{out}");
}

#[test]
fn a_case_that_tests_nothing_fails_and_a_faulty_file_could_not_tell() {
    let folder = Folder::of("01-two-registries");
    let case = |lines: &str| format!("version = 1\n[[case]]\nname = \"a\"\nimage = \"registry.example/a:1\"\n{lines}");
    for (text, code, due) in [
        (case("vouched_by = [\"release\"]\nexpect = \"deny\"\n"), 2, "unknown: the policy looks at the image's configuration"),
        (case("vouched_by = [\"relase\"]\nexpect = \"deny\"\n"), 2, "no verifier `relase`; `release` was meant?"),
        (case("request = \"gone.json\"\nexpect = \"deny\"\n"), 2, "gone.json"),
        (case("expct = \"deny\"\n"), 1, "cases.toml:5: case[0].expct: there is no such key; `expect` was meant?"),
        ("version = 1\n".to_owned(), 1, "case: is missing"),
    ] {
        let path = folder.write("cases.toml", &text);
        let (found, out, err) = run(&["test", &path]);
        assert!(found == code && format!("{out}{err}").contains(due), "{text}: {found} {out}{err}");
    }
    let good = folder.write("cases.toml", &case("expect = \"deny\"\ncode = \"not-signed\"\n"));
    assert_eq!(run(&["test", &good]).0, 0);
    for (path, policy) in [(good.as_str(), folder.path("gone.toml")), (&folder.path("gone"), folder.path("policy.toml"))] {
        assert_eq!(run(&["test", path, "--policy", &policy]).0, 1);
    }
    folder.write("policy.toml", "version = 2\n");
    assert_eq!(run(&["test", &good]).0, 1, "a faulty policy");
}

#[test]
fn a_recorded_request_is_read_from_a_file() {
    let folder = Folder::of("04-users");
    let list = r#"{"RequestMethod": "GET", "RequestUri": "/v1.43/containers/json", "User": "bob", "UserAuthNMethod": "TLS"}"#;
    folder.write("list.json", list);
    folder.write("logs.json", &list.replace("containers/json", "containers/web/logs"));
    let cases = folder.write(
        "recorded.toml",
        "version = 1\n[[case]]\nname = \"list\"\nrequest = \"list.json\"\nexpect = \"allow\"\n\
         [[case]]\nname = \"logs\"\nrequest = \"logs.json\"\nexpect = \"deny\"\ncode = \"user-forbidden\"\n",
    );
    let (code, out, err) = run(&["test", &cases]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn diff_says_what_would_change_and_what_cannot_be_told() {
    let folder = Folder::of("01-two-registries");
    let (policy, cases) = (folder.path("policy.toml"), folder.path("cases.toml"));
    let (code, out, _) = run(&["diff", &policy, &policy, "--cases", &cases]);
    assert_eq!((code, out.as_str()), (0, "0 of 11 cases would change\n"));

    let strict = folder.change("policy.toml", "strict.toml", "days = 30", "days = 7");
    let (code, out, _) = run(&["diff", &policy, &strict, "--cases", &cases]);
    assert_eq!(code, 2, "{out}");
    assert!(out.contains("allow -> deny image-rule   and one of the second may be pulled\n        new: image-rule: "), "{out}");
    assert!(out.ends_with("1 of 11 cases would change\n"), "{out}");

    // A verifier of whom no case says anything: only where its word would matter it is not known.
    folder.change("policy.toml", "other.toml", "[verifiers.release]", "[verifiers.corp]");
    let other = folder.change("other.toml", "other.toml", "require = \"release\"", "require = \"corp\"");
    let (code, out, _) = run(&["diff", &policy, &other, "--cases", &cases, "--json"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    let unknown: Vec<&str> = said["unknown"].as_array().unwrap().iter().map(|case| case["name"].as_str().unwrap()).collect();
    assert!(unknown.contains(&"a young release of the first registry may run"), "{out}");
    assert!(!unknown.contains(&"another registry is not ours"), "{out}");
    assert!(said["unknown"][0]["why"].as_str().unwrap().contains("`corp`"), "{out}");
    assert!(code != 0);

    // A rule that looks at what no case says.
    let plain = folder.write(
        "plain.toml",
        "version = 1\n[[case]]\nname = \"a\"\nimage = \"registry.example/a:1\"\nvouched_by = [\"release\"]\nexpect = \"allow\"\n",
    );
    let lax = folder.change("policy.toml", "lax.toml", "max-age = { level = \"deny\", days = 30 }\n", "");
    let (code, out, _) = run(&["diff", &lax, &policy, "--cases", &plain]);
    assert!(code == 1 && out.contains("unknown   a: ") && out.ends_with("0 of 1 case would change, 1 unknown\n"), "{out}");
}

#[test]
fn diff_of_a_record_tells_changes_in_groups_and_survives_whatever_lies_there() {
    let folder = Folder::of("01-two-registries");
    let policy = folder.path("policy.toml");
    let record = folder.path("record");
    std::fs::create_dir(&record).unwrap();
    let build = format!(
        "version = 1\n[[case]]\nname = \"build\"\ncall = \"POST /v1.43/build\"\nexpect = \"deny\"\ncode = \"build-denied\"\nfindings = []\n\
         [case.recorded]\npolicy = \"sha256:{}\"\nasked = []\nlacks = []\ncertificate = false\n\n[case.recorded.seen]\n\
         first = 2026-11-01T00:00:00Z\nlast = 2026-11-30T00:00:00Z\ntimes = 7\n",
        "0".repeat(64)
    );
    folder.write("record/a.cases.toml", &build);
    folder.write("record/b.cases.toml", &build.replace("lacks = []", "lacks = [\"all of the call\"]"));
    folder.write("record/README", "none of it");
    let lax = folder.change("policy.toml", "lax.toml", "version = 1\n", "version = 1\nbuild = \"allow\"\n");
    let (code, out, err) = run(&["diff", &policy, &lax, "--record", &record]);
    assert_eq!(code, 2, "{out}{err}");
    assert!(out.starts_with("deny build-denied -> allow   1 decision, made 7 times\n"), "{out}");
    assert!(out.contains("unknown   1 decision, made 7 times: by the old policy: all of the call is not kept\n"), "{out}");
    assert!(
        out.ends_with("2 decisions: 0 the same, 0 allow -> deny, 1 deny -> allow, 0 for another reason, 1 unknown\n"),
        "{out}"
    );
    // What is refused and passes all the same is another answer to a client.
    let permissive = folder.change("policy.toml", "permissive.toml", "version = 1\n", "version = 1\nmode = \"permissive\"\n");
    for (old, new, due) in [
        (&policy, &permissive, "2 decisions: 0 the same, 0 allow -> deny, 1 deny -> allow, 0 for another reason, 1 unknown\n"),
        (&permissive, &policy, "2 decisions: 0 the same, 1 allow -> deny, 0 deny -> allow, 0 for another reason, 1 unknown\n"),
    ] {
        let (code, out, err) = run(&["diff", old, new, "--record", &record]);
        assert_eq!(code, 2, "{out}{err}");
        assert!(out.contains("deny build-denied (mode permissive: it passes)") && out.ends_with(due), "{out}");
    }
    // The record is cases like any other.
    assert_eq!(run(&["test", &folder.path("record/a.cases.toml"), "--policy", &policy]).0, 0);
    // Nothing is left to be compared: that is no proof that nothing changes.
    let (code, out, err) = run(&["diff", &policy, &lax, "--record", &record, "--since", "2026-12-01", "--json"]);
    assert!(err.contains("nothing was compared"), "{err}");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &said["decisions"], &said["changed"]), (1, &0.into(), &Value::Array(Vec::new())), "{out}");

    folder.write("record/b.cases.toml", "");
    std::fs::create_dir(folder.path("record/c.cases.toml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path("record/d.cases.toml")).unwrap();
    folder.write("record/e.cases.toml", &format!("a = {}", "[".repeat(100_000)));
    folder.write("record/f.cases.toml", &build.replace("times = 7", "times = -7"));
    folder.write("record/g.cases.toml", &build.replace("[case.recorded", "[case.recrded"));
    std::fs::write(folder.path("record/h.cases.toml"), b"\xff\xfe").unwrap();
    let (code, out, err) = run(&["diff", &policy, &policy, "--record", &record]);
    assert_eq!(code, 1, "{out}{err}");
    assert_eq!(out.lines().filter(|line| line.starts_with("not read   ")).count(), 7, "{out}");
    assert!(
        out.ends_with("1 decision: 1 the same, 0 allow -> deny, 0 deny -> allow, 0 for another reason, 0 unknown\n"),
        "{out}"
    );

    for (arguments, due) in [
        (&["--record", "/nowhere"][..], "/nowhere"),
        (&["--record", &record, "--since", "soon"], "is not a time"),
        (&["--record", &record, "--cases", &record], "cannot be used with"),
        (&[], "--cases"),
    ] {
        let (code, out, err) = run(&[&["diff", &policy, &policy], arguments].concat());
        assert!(code != 0 && code != 2 || arguments.is_empty() || due.contains("cannot"), "{out}{err}");
        assert!(err.contains(due), "{out}{err}");
    }
}
