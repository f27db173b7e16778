//! Policy files: what they mean, and everything that is wrong with them, with its place.

use super::*;
use crate::policy::{ImageRule, Level};
use crate::trust::Binding;

fn read_all(files: &[(&str, &str)]) -> Read {
    let files = files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    PolicyFile(files).read(Policy::closed(Posture::Images))
}

fn policy(text: &str) -> Resolved {
    read_all(&[("/etc/x/policy.toml", text)]).resolved.unwrap()
}

fn faults(text: &str) -> Vec<String> {
    let faults = read_all(&[("p.toml", text)]).resolved.expect_err("it is faulty");
    faults.iter().map(ToString::to_string).collect()
}

const GOOD: &str = r#"
version = 1
mode = "permissive"
build = "allow"
allow_host_access = ["bind=/srv/app"]

[verifiers.release]
type = "notary"
server = "https://notary.example:4443"
root_ca = "ca.crt"
signers = ["release-team", "qa"]
freshness = 0

[verifiers.other]
type = "notary"
server = "import"

[verifiers.listed]
type = "allowlist"
file = "/srv/list.json"

[[scope]]
match = ["r.example/**", "s.example/team/*"]
require = "release"

[[scope]]
name = "the lab"
match = "r.example/lab/**"
require = { all = ["listed", { any = ["release", "other"] }] }
"#;

#[test]
fn a_good_file_means_what_it_says() {
    let Resolved { policy, verifiers, .. } = policy(GOOD);
    assert_eq!((policy.mode, policy.posture, policy.build), (Mode::Permissive, Posture::Images, BuildRule::Allow));
    assert_eq!(policy.host_access.len(), 1);
    let name = |text: &str| text.parse::<VerifierName>().unwrap();
    assert_eq!(policy.verifiers[&name("release")], Binding::TagToDigest);
    assert_eq!(policy.verifiers[&name("listed")], Binding::Listed);
    let VerifierSettings::Notary(notary) = &verifiers[&name("release")] else { panic!() };
    assert_eq!(notary.source, "https://notary.example:4443".into());
    assert_eq!(notary.root_ca, Some(crate::policy::Given::File("/etc/x/ca.crt".into())));
    assert_eq!(notary.signers.of(&"r.example/x".parse().unwrap()).len(), 2);
    assert_eq!(notary.freshness, std::time::Duration::ZERO);
    assert_eq!(verifiers[&name("listed")], VerifierSettings::Allowlist(std::path::PathBuf::from("/srv/list.json").into()));
    let scope = |repository: &str| policy.scope(&repository.parse().unwrap()).map(Scope::label);
    assert_eq!(scope("r.example/lab/x"), Some("the lab"));
    assert_eq!(scope("r.example/x"), Some("r.example"));
    assert_eq!(scope("s.example/team/x"), Some("r.example"));
    assert_eq!(scope("s.example/x"), None);
    let lab = policy.scope(&"r.example/lab/x".parse().unwrap()).unwrap();
    assert_eq!(lab.require.verifiers().len(), 3);
    assert_eq!(lab.position.as_ref().unwrap().line, 26);
}

#[test]
fn all_faults_are_told_at_once_each_with_line_key_and_what_is_right() {
    let told = faults(
        r#"version = 2
posture = "lockdwon"
mod = "enforce"
allow_plugins = ["x"]

[verifiers.release]
type = "notary"
sever = "https://n.example"
freshness = "30"
stale_limit = 0

[verifiers.Bad]
type = "registry"

[verifiers.listed]
type = "alowlist"

[verifiers.off]
type = "notary"
server = "http://n.example"
signers = ["QA"]
root_ca = "../ca.crt"

[[scope]]
match = "busybox"
require = "relese"

[[scope]]
match = "r.example/*"
require = { all = [], any = ["release"] }
colour = "red"

[[scope]]
match = []
"#,
    );
    for expected in [
        "p.toml:1: version: is not 1: the version that this gate reads",
        "p.toml:2: posture: `lockdwon` is not `images` or `lockdown`; `lockdown` was meant?",
        "p.toml:3: mod: there is no such key; `mode` was meant?",
        "p.toml:4: allow_plugins[0]: `x` is not NAME@sha256:DIGEST",
        "p.toml:6: verifiers.release.server: is missing",
        "p.toml:8: verifiers.release.sever: there is no such key; `server` was meant?",
        "p.toml:9: verifiers.release.freshness: is a text and should be a number of seconds from 0 to 3600",
        "p.toml:10: verifiers.release.stale_limit: `0` is not a number of hours from 1 to 720",
        "p.toml:12: verifiers.Bad: a verifier's name is made of",
        "p.toml:16: verifiers.listed.type: `alowlist` is not `notary` or `allowlist` or `registry` or `cosign` or `notation` or `attestation`; `allowlist` was meant?",
        "p.toml:20: verifiers.off.server: `http://n.example` is plain http",
        "p.toml:21: verifiers.off.signers[0]: `QA` is not a signer's name",
        "p.toml:22: verifiers.off.root_ca: leaves the folder of the policy",
        "p.toml:25: scope[0].match: `busybox` names no registry; write `docker.io/library/busybox`",
        "p.toml:30: scope[1].require: has `all` and `any` in one table",
        "p.toml:31: scope[1].colour: there is no such key",
        "p.toml:33: scope[2]: matches nothing",
        "p.toml:33: scope[2].require: is missing",
    ] {
        assert!(told.iter().any(|fault| fault.starts_with(expected)), "{expected}\n{}", told.join("\n"));
    }
    assert_eq!(
        faults("version = 1\n[[scope]]\nmatch = \"r.example/x\"\nrequire = \"a\"\n[verifiers.aa]\ntype = \"registry\"\n"),
        ["p.toml:2: scope.require: there is no verifier `a`; `aa` was meant?"]
    );
}

#[test]
fn a_mirror_is_one_folder_in_place_of_another() {
    let text = |matched: &str, origin: &str| {
        format!(
            "version = 1\n[verifiers.r]\ntype = \"registry\"\n[[scope]]\nmatch = {matched}\norigin = \"{origin}\"\nrequire = \"r\"\n"
        )
    };
    let policy = policy(&text("\"m.example/hub/**\"", "docker.io")).policy;
    let name = "m.example/hub/library/x".parse().unwrap();
    assert_eq!(policy.scope(&name).unwrap().asks(&name).unwrap().as_str(), "docker.io/library/x");
    assert_eq!(policy.registries_of_weak().len(), 2);
    for (matched, origin) in [
        ("\"m.example/hub/*\"", "docker.io"),
        ("\"**\"", "docker.io"),
        ("[\"m.example/a/**\", \"m.example/b/**\"]", "docker.io"),
        ("\"m.example/hub/**\"", "team"),
        ("\"m.example/hub/**\"", "docker.io/*"),
        ("\"m.example/hub/**\"", "docker.io/x:1"),
    ] {
        let told = faults(&text(matched, origin));
        assert!(told[0].starts_with("p.toml:6: scope[0].origin: "), "{told:?}");
    }
}

#[test]
fn what_ties_is_a_fault_with_both_places() {
    let text = |one: &str, other: &str| {
        format!(
            "version = 1\n[verifiers.r]\ntype = \"registry\"\n[[scope]]\nmatch = \"{one}\"\nrequire = \"r\"\n[[scope]]\nmatch = \"{other}\"\nrequire = \"r\"\n"
        )
    };
    assert_eq!(
        faults(&text("r.example/a", "r.example/a")),
        ["p.toml:7: scope.match: `r.example/a` is there already, in p.toml:4"]
    );
    let told = faults(&text("r.example/a*", "r.example/*b"));
    assert!(
        told[0].starts_with("p.toml:7: scope.match: `r.example/*b` and `r.example/a*` (p.toml:4) are equally specific"),
        "{told:?}"
    );
    policy(&text("r.example/a*", "r.example/b*"));
    policy(&text("r.example/**", "r.example/*"));
}

#[test]
fn further_files_add_verifiers_and_scopes_and_say_nothing_for_the_whole_host() {
    let further = "version = 1\n[verifiers.b]\ntype = \"registry\"\n[[scope]]\nmatch = \"b.example/**\"\nrequire = [\"a\"]\n";
    let main = "version = 1\n[verifiers.a]\ntype = \"registry\"\n[[scope]]\nmatch = \"a.example/**\"\nrequire = \"b\"\n";
    let read = read_all(&[("p.toml", main), ("policy.d/b.toml", further)]);
    let told = read.resolved.unwrap_err();
    assert_eq!(told[0].to_string(), "policy.d/b.toml:6: scope[0].require: is a list; write { all = [...] } or { any = [...] }");
    let further = further.replace("[\"a\"]", "\"a\"");
    let read = read_all(&[("p.toml", main), ("policy.d/b.toml", &further)]);
    assert_eq!(read.resolved.unwrap().policy.scopes.iter().count(), 2);
    let read = read_all(&[("p.toml", main), ("policy.d/b.toml", &format!("mode = \"permissive\"\n{further}"))]);
    assert!(read.resolved.unwrap_err()[0].to_string().contains("it belongs into policy.toml"));
    let read = read_all(&[("p.toml", main), ("policy.d/b.toml", &further.replace("verifiers.b", "verifiers.a"))]);
    assert!(read.resolved.unwrap_err()[0].to_string().contains("is there already, in p.toml:2"));
}

#[test]
fn lockdown_refuses_a_scope_that_is_weak_by_its_weakest_member() {
    let text = |require: &str| {
        format!(
            "version = 1\nposture = \"lockdown\"\n[verifiers.r]\ntype = \"registry\"\n[verifiers.n]\ntype = \"notary\"\nserver = \"n.example\"\n[[scope]]\nmatch = \"r.example/**\"\nrequire = {require}\n"
        )
    };
    let told = faults(&text("{ any = [\"n\", \"r\"] }"));
    assert_eq!(
        told,
        [
            "p.toml:2: posture: lockdown needs signatures or an allowlist: in scope `r.example` (p.toml:8) the registry's word is enough"
        ]
    );
    policy(&text("{ all = [\"n\", \"r\"] }"));
}

#[test]
fn what_is_most_likely_not_meant_is_a_warning() {
    let read = read_all(&[("p.toml", "version = 1\n[verifiers.r]\ntype = \"registry\"\n")]);
    assert!(read.resolved.is_ok());
    let told: Vec<String> = read.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["p.toml:2: verifiers.r: no scope requires it: it is never asked", "scope: there is none: every image is refused"]
    );
}

#[test]
fn hostile_files_are_faults_and_quick() {
    let began = std::time::Instant::now();
    for text in [
        "[".repeat(200_000),
        "a = ".to_owned() + &"[".repeat(200_000),
        "a.".repeat(200_000) + "b = 1",
        "{".repeat(100_000),
        "\0".repeat(1000),
    ] {
        assert!(!faults(&text).is_empty());
    }
    let nested = |depth: usize| "{ all = [".repeat(depth) + "\"r\"" + &"] }".repeat(depth);
    let told = faults(&format!("version = 1\n[[scope]]\nmatch = \"r.example/**\"\nrequire = {}\n", nested(20)));
    assert!(told[0].contains("nests more than 8 deep"), "{told:?}");
    let large = "#".repeat(usize::try_from(POLICY_BYTES).unwrap() + 1);
    assert!(faults(&large)[0].contains("more than 1048576 bytes"));
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn the_posture_is_known_of_a_faulty_file() {
    let posture = |text: &str| PolicyFile(vec![("p.toml".into(), text.to_owned())]).posture();
    assert_eq!(posture("posture = \"lockdown\"\nversion = \"x\""), Posture::Lockdown);
    assert_eq!(posture("posture = \"lockdwon\""), Posture::Lockdown);
    assert_eq!(posture("posture = lockdown\n[["), Posture::Lockdown);
    assert_eq!(posture("version = 3"), Posture::Images);
    assert_eq!(posture("posture = \"images\"\nversion = 3"), Posture::Images);
}

#[test]
fn users_are_groups_or_a_file() {
    let text = |users: &str| {
        format!(
            "version = 1\n[verifiers.r]\ntype = \"registry\"\n[[scope]]\nname = \"lab\"\nmatch = \"r.example/**\"\nrequire = \"r\"\n{users}"
        )
    };
    let group = "[[users.group]]\nname = \"ops\"\nusers = [\"olga\"]\nactions = [\"container_run\"]\n";
    let resolved = policy(&text(&format!("{group}scopes = [\"lab\"]\nexempt_from = [\"host-access\"]\nread_only = false\n")));
    assert!(resolved.policy.users.is_some() && resolved.users_file.is_none());
    let resolved = policy(&text("[users]\nfile = \"users.jsonl\"\n"));
    assert_eq!((resolved.policy.users, resolved.users_file), (None, Some("/etc/x/users.jsonl".into())));
    for (users, told) in [
        ("[users]\n", "p.toml:8: users: has neither `file` nor groups"),
        (
            "[users]\nfile = \"u\"\n[[users.group]]\nname = \"a\"\nusers = [\"b\"]\nactions = [\"*\"]\n",
            "users.group: stands beside `file`",
        ),
        (&format!("{group}scopes = [\"labs\"]\n"), "users.group.scopes: there is no scope called `labs`"),
        (&group.replace("container_run", "container_rum"), "p.toml:8: users.group: "),
        (&group.replace("[\"olga\"]", "\"olga\""), "p.toml:10: users.group[0].users: is a text and should be a list"),
    ] {
        let found = faults(&text(users));
        assert!(found.iter().any(|fault| fault.contains(told)), "{told}\n{}", found.join("\n"));
    }
}

#[test]
fn that_it_gives_rights_is_known_of_a_faulty_file() {
    let gives = |text: &str| {
        PolicyFile(vec![("p.toml".into(), "version = 1\n".to_owned()), ("d.toml".into(), text.to_owned())]).gives_rights()
    };
    for text in [
        "[users]\nfile",
        " [ users ]",
        "[\"\\u0075sers\"]",
        "x = [",
        "[[users.group]]",
        "users = {",
        "\"users\".file = 1",
        "[rego]",
        "[[[users",
    ] {
        assert!(gives(text), "{text}");
    }
    assert!(!gives("# [users]\n[verifiers.users]\n[[scope]]"));
}

const RULED: &str = r#"version = 1
[verifiers.r]
type = "registry"

[rules]
extends = "cis-l1"
max-age = { level = "warn", days = 30 }
tag-pattern = { pattern = '^v\d+' }
healthcheck = "off"
required-labels = { labels = { "a.b" = ["x*", "y"], c = [] } }
base-image = { allow = ["r.example/base/*"], layers = { debian = ["sha256:e4bc2012c97453873ab95d7e086cf2f00ef94f7f46ffd8af486e805fb0489f9c"] } }
max-size = { megabytes = 500 }
platform = { allow = ["linux/amd64", "linux/arm/v7"] }
mounts = { allow = ["/srv/", "/etc/localtime"], containers = true, drivers = ["vieux/sshfs:*", "nfs"] }
capabilities = { allow = ["default", "SYS_PTRACE"] }
devices = { allow = ["/dev/snd/", "nvidia"] }
apparmor = { level = "warn", allow = ["mine"] }
host-pid = { containers = true }
memory-limit = { megabytes = 4096 }
cpu-limit = { cpus = 4 }
pids-limit = { most = 100 }
privileged-ports = { allow = [80, 443] }
host-ip = { allow = ["127.0.0.1", "::1"] }
ulimits = { allow = { nofile = 1024 } }
CIS-5.15 = { most = 9 }

[[scope]]
match = "r.example/**"
require = "r"

[[scope]]
match = "r.example/lab/**"
require = "r"
[scope.rules]
DL3002 = "warn"
max-age = "deny"
secrets = { allow = ["SEED_TOKEN"] }
exposed-ports = { level = "deny", forbid = [22, 5432] }
tag-latest = "off"
CIS-5.5 = "warn"
memory-limit = "warn"
mounts = { sensitive = true }
"#;

#[test]
fn rules_stand_over_each_other_the_nearer_over_the_farther() {
    let Resolved { policy, .. } = policy(RULED);
    let rules = |repository: &str| {
        let scope = policy.scope(&repository.parse().unwrap()).unwrap();
        scope.rules.iter().map(|(id, rule)| (id.about().id, rule.clone())).collect::<BTreeMap<_, _>>()
    };
    let (host, lab) = (rules("r.example/x"), rules("r.example/lab/x"));
    assert_eq!((host["user-root"].level, lab["user-root"].level), (Level::Deny, Level::Warn));
    // A level alone keeps the keys.
    assert_eq!((host["max-age"].level, lab["max-age"].level), (Level::Warn, Level::Deny));
    assert_eq!(host["max-age"].check, lab["max-age"].check);
    assert!(!host.contains_key("healthcheck") && !lab.contains_key("tag-latest") && host.contains_key("tag-latest"));
    assert_ne!(host["exposed-ports"].check, lab["exposed-ports"].check);
    // Each knows its line: of a preset's rule that of the preset.
    let line = |rule: &ImageRule| rule.position.as_ref().map(|position| position.line);
    assert_eq!((line(&host["user-root"]), line(&host["max-age"]), line(&lab["user-root"])), (Some(6), Some(7), Some(35)));
    let create_rules = |repository: &str| {
        let scope = policy.scope(&repository.parse().unwrap()).unwrap();
        scope.create_rules.iter().map(|(id, rule)| (id.about().id, rule.clone())).collect::<BTreeMap<_, _>>()
    };
    let (host, lab) = (create_rules("r.example/x"), create_rules("r.example/lab/x"));
    assert_eq!((host["privileged"].level, lab["privileged"].level), (Level::Deny, Level::Warn));
    assert_eq!((host["memory-limit"].level, lab["memory-limit"].level), (Level::Deny, Level::Warn));
    assert_eq!(host["memory-limit"].check, lab["memory-limit"].check);
    assert_ne!(host["mounts"].check, lab["mounts"].check);
    assert_eq!(lab["privileged"].position.as_ref().map(|position| position.line), Some(40));
}

#[test]
fn rules_that_are_shown_read_back_as_the_same() {
    let shown = policy(RULED).to_toml();
    let again = policy(&shown);
    assert_eq!(again.to_toml(), shown);
    assert_eq!(shown.matches("max-age = ").count(), 2);
    let checks = |resolved: &Resolved| {
        let of = |scope: &Scope| {
            let of_images = scope.rules.iter().map(|(id, rule)| (id, rule.level, rule.check.clone())).collect::<Vec<_>>();
            let of_creates = scope.create_rules.iter().map(|(id, rule)| (id, rule.level, rule.check.clone()));
            (of_images, of_creates.collect::<Vec<_>>())
        };
        resolved.policy.scopes.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(checks(&again), checks(&policy(RULED)));
}

#[test]
fn faults_in_rules_are_told_with_line_and_key() {
    let told = faults(
        r#"version = 1
[verifiers.r]
type = "registry"
[rules]
extends = "cis-l3"
user-rot = "deny"
user-root = "dney"
CIS-4.6 = "warn"
healthcheck = "deny"
max-age = "deny"
max-size = { level = "warn" }
tag-pattern = { pattern = "(" }
exposed-ports = { forbid = [0] }
platform = { allow = ["amd64"] }
base-image = { allow = ["debian"], layers = { x = [] } }
required-labels = { labels = {} }
secrets = { allowed = ["X"] }
tag-latest = 3
priviliged = "deny"
host-pid = { containers = "yes" }
mounts = { allow = ["srv"], sensitiv = true }
memory-limit = { megabytes = 0 }
privileged-ports = { allow = [8080] }
host-ip = { allow = ["localhost"] }
CIS-5.29 = "deny"
pids-limit = "deny"
[[scope]]
match = "r.example/**"
require = "r"
rules = { max-age = { days = 0 } }
[[scope]]
rules = { max-age = 30 }
"#,
    );
    for expected in [
        "p.toml:5: rules.extends: `cis-l3` is not `baseline` or `cis-l1` or `cis-l2`",
        "p.toml:6: rules.user-rot: there is no rule `user-rot`; `user-root` was meant?",
        "p.toml:7: rules.user-root: `dney` is not `deny` or `warn` or `off`; `deny` was meant?",
        ": `healthcheck` is there twice, once by another name",
        "p.toml:10: rules.max-age: needs more than a level: `days`",
        "p.toml:11: rules.max-size: needs more than a level: `megabytes`",
        "p.toml:12: rules.tag-pattern.pattern: is not a regular expression",
        "p.toml:13: rules.exposed-ports.forbid[0]: `0` is not a number of ports from 1 to 65535",
        "p.toml:14: rules.platform.allow[0]: `amd64` is not a platform",
        "p.toml:15: rules.base-image.allow[0]: `debian` names no registry",
        "p.toml:15: rules.base-image.layers.x: is empty",
        "p.toml:16: rules.required-labels.labels: is empty",
        "p.toml:17: rules.secrets.allowed: there is no such key; `allow` was meant?",
        "p.toml:18: rules.tag-latest: is a number and should be \"deny\", \"warn\" or \"off\", or a table",
        "p.toml:32: scope[1].rules.max-age: is a number and should be \"deny\", \"warn\" or \"off\", or a table: `days`: 1 to 3650",
        "p.toml:19: rules.priviliged: there is no rule `priviliged`; `privileged` was meant?",
        "p.toml:20: rules.host-pid.containers: is a text and should be true or false",
        "p.toml:21: rules.mounts.allow[0]: `bind=srv` is not a clean absolute path",
        "p.toml:21: rules.mounts.sensitiv: there is no such key; `sensitive` was meant?",
        "p.toml:22: rules.memory-limit.megabytes: `0` is not a number of megabytes from 1",
        "p.toml:23: rules.privileged-ports.allow[0]: `8080` is not a number of ports from 1 to 1023",
        "p.toml:24: rules.host-ip.allow[0]: ",
        "p.toml:26: rules.pids-limit: `pids-limit` is there twice, once by another name",
        "p.toml:30: scope[0].rules.max-age.days: `0` is not a number of days from 1 to 3650",
    ] {
        assert!(told.iter().any(|fault| fault.contains(expected)), "{expected}\n{}", told.join("\n"));
    }
    let further = "version = 1\n[rules]\nuser-root = \"deny\"\n";
    let main = "version = 1\n[verifiers.a]\ntype = \"registry\"\n[[scope]]\nmatch = \"a.example/**\"\nrequire = \"a\"\n";
    let told = read_all(&[("p.toml", main), ("policy.d/b.toml", further)]).resolved.unwrap_err();
    assert!(told[0].to_string().contains("rules: is said for the whole host"), "{told:?}");
}

#[test]
fn a_faulty_verifier_is_told_of_once_and_a_policy_is_told_from_others_by_its_text() {
    let text = "version = 1\n[verifiers.release]\ntype = \"notary\"\nsever = \"n.example\"\n[[scope]]\nmatch = \"r.example/**\"\nrequire = \"release\"\n";
    assert!(faults(text).iter().all(|fault| !fault.contains("there is no verifier")), "{:?}", faults(text));
    let digest = |files: &[(&str, &str)]| {
        PolicyFile(files.iter().map(|(path, text)| ((*path).into(), (*text).to_owned())).collect()).digest()
    };
    assert_eq!(digest(&[("a", "b")]), digest(&[("a", "b")]));
    assert_ne!(digest(&[("a", "b")]), digest(&[("a", "c")]));
    assert_ne!(digest(&[("a", "bc")]), digest(&[("a", "b"), ("", "c")]));
}

#[test]
fn a_scope_refuses_by_its_own_words_or_says_who_must_vouch_and_never_both() {
    let text = |more: &str| {
        format!(
            "version = 1\n[verifiers.a]\ntype = \"registry\"\n[[scope]]\nmatch = \"r.example/**\"\nrequire = \"a\"\n[[scope]]\nmatch = \"r.example/bad/**\"\n{more}"
        )
    };
    let read = read_all(&[("p.toml", &text("refuse = true"))]).resolved.unwrap();
    let refusal = |name: &str| {
        let repository = name.parse().unwrap();
        read.policy.scope(&repository).is_none().then(|| read.policy.outside(&repository).to_string())
    };
    assert_eq!(refusal("r.example/good"), None);
    assert!(refusal("r.example/bad/x").unwrap().contains("the scope `r.example/bad/**` (p.toml:7) refuses `r.example/bad/x`"));
    assert!(refusal("s.example/x").unwrap().contains("no scope of the policy matches"));
    for (more, told) in [
        ("refuse = true\nrequire = \"a\"", "stands beside `require`"),
        ("refuse = false\nrequire = \"a\"", "is `true` or not there"),
        ("refuse = false", "is `true` or not there"),
        ("refuse = \"yes\"", "should be true or false"),
        ("", "scope[1].require: is missing"),
        ("require = { any = [] }", "is empty"),
    ] {
        let found = faults(&text(more));
        assert!(found.iter().any(|fault| fault.contains(told)), "{more}: {found:?}");
    }
}

const EXCEPTED: &str = r#"version = 1
[verifiers.r]
type = "registry"
[[scope]]
match = "r.example/**"
require = "r"
[scope.rules]
user-root = "deny"
max-age = { level = "warn", days = 3 }

[[exception]]
match = ["r.example/old", "r.example/older/*"]
lift = ["CIS-4.1"]
owner = "alice"
reason = "the new build is late"
ticket = "OPS-1"
expires = 2026-12-04T18:00:00+01:00

[[exception]]
digest = "sha256:e4bc2012c97453873ab95d7e086cf2f00ef94f7f46ffd8af486e805fb0489f9c"
owner = "bob"
reason = "hotfix"
expires = 2026-12-04

[[exception]]
image_id = "sha256:e4bc2012c97453873ab95d7e086cf2f00ef94f7f46ffd8af486e805fb0489f9c"
lift = "user-root"
owner = "bob"
reason = "built \"here\""
expires = "2026-12-04T18:00:00Z"
"#;

#[test]
fn exceptions_mean_what_they_say_and_read_back_as_the_same() {
    let resolved = policy(EXCEPTED);
    let told: Vec<_> = resolved.policy.exceptions.iter().map(|one| (one.told(), one.expires.to_string())).collect();
    let ids: Vec<_> = resolved.policy.exceptions.iter().map(|one| one.id()).collect();
    assert_eq!(
        told,
        [
            (
                format!("exception {} of alice (OPS-1) for r.example/old, r.example/older/*", ids[0]),
                "2026-12-04T17:00:00Z".to_owned()
            ),
            (
                format!(
                    "exception {} of bob for sha256:e4bc2012c97453873ab95d7e086cf2f00ef94f7f46ffd8af486e805fb0489f9c",
                    ids[1]
                ),
                "2026-12-05T00:00:00Z".to_owned()
            ),
            (
                format!(
                    "exception {} of bob for image id sha256:e4bc2012c97453873ab95d7e086cf2f00ef94f7f46ffd8af486e805fb0489f9c",
                    ids[2]
                ),
                "2026-12-04T18:00:00Z".to_owned()
            ),
        ]
    );
    let again = policy(&resolved.to_toml());
    assert_eq!(again.policy.exceptions.iter().map(|one| one.id()).collect::<Vec<_>>(), ids);
    assert_eq!(again.to_toml(), resolved.to_toml());
    // Time that has passed is no fault.
    let old = EXCEPTED.replace("2026", "2019");
    assert_eq!(policy(&old).policy.exceptions.iter().count(), 3);
    assert_eq!(policy(&old).policy.exceptions.warnings("2026-12-01T00:00:00Z".parse().unwrap()).len(), 3);
}

#[test]
fn faulty_exceptions_say_what_is_wrong() {
    let good = "digest = \"sha256:e4bc2012c97453873ab95d7e086cf2f00ef94f7f46ffd8af486e805fb0489f9c\"\nowner = \"a\"\nreason = \"b\"\nexpires = 2026-12-04\n";
    let head =
        "version = 1\n[verifiers.r]\ntype = \"registry\"\n[[scope]]\nmatch = \"r.example/**\"\nrequire = \"r\"\n[[exception]]\n";
    policy(&format!("{head}{good}"));
    for (text, told) in [
        (good.replace("expires = 2026-12-04\n", ""), "exception[0].expires: is missing"),
        (good.replace("owner = \"a\"\n", ""), "exception[0].owner: is missing"),
        (good.replace("reason = \"b\"\n", ""), "exception[0].reason: is missing"),
        (good.replace("reason = \"b\"", "reason = \"  \""), "exception[0].reason: is empty"),
        (good.replace("\"b\"", "\"b\\n\\u0007c\""), "exception[0].reason: is one line of at most 300 printable characters"),
        (good.replace("\"a\"", "\"a\u{202e}\""), "exception[0].owner: is one line of at most 80 printable characters"),
        (format!("ticket = \"a\u{200b}\"\n{good}"), "exception[0].ticket: is one line of at most 80 printable characters"),
        (good.replace("\"b\"", "\"b\u{202e}\""), "exception[0].reason: is one line of at most 300 printable characters"),
        (good.replace("2026-12-04", "2026-12-04T18:00:00"), "is not a time such as 2026-12-04T18:00:00Z"),
        (good.replace("2026-12-04", "18:00:00"), "is not a time such as"),
        (good.replace("2026-12-04", "7"), "exception[0].expires: is a number and should be a time or a date"),
        (good.replace("digest", "match"), "exception[0].match"),
        (good.replace("digest = \"sha256:", "digest = \"sha512:"), "exception[0].digest: digest algorithm"),
        (format!("match = \"r.example/x\"\n{good}"), "is about one of `match`, `digest` and `image_id`"),
        (good.lines().skip(1).collect::<Vec<_>>().join("\n"), "is about one of `match`, `digest` and `image_id`"),
        (
            good.lines().skip(1).fold("match = \"r.example/x\"\n".to_owned(), |text, line| text + line + "\n"),
            "lifts nothing: name the rules in `lift`",
        ),
        (
            format!("lift = [\"user-rot\"]\n{good}"),
            "there is no rule `user-rot` that an exception may lift; `user-root` was meant?",
        ),
        (format!("lift = [\"self-protect\"]\n{good}"), "there is no rule `self-protect` that an exception may lift; there are"),
        (format!("lift = [\"user-root\", \"CIS-4.1\"]\n{good}"), "`user-root` is there twice"),
        (format!("{good}[[exception]]\n{good}"), "is there already, in p.toml:7"),
        (format!("ticket = 7\n{good}"), "exception[0].ticket: is a number and should be a text"),
        (format!("expiry = 7\n{good}"), "exception[0].expiry: there is no such key; `expires` was meant?"),
    ] {
        let found = faults(&format!("{head}{text}"));
        assert!(found.iter().any(|fault| fault.contains(told)), "{told}\n{}", found.join("\n"));
    }
    // One slip is one fault.
    let slip =
        good.lines().skip(1).fold("match = \"r.example/x\"\nlift = \"user-rot\"\n".to_owned(), |text, line| text + line + "\n");
    assert_eq!(faults(&format!("{head}{slip}")).len(), 1);
    let mut many = String::new();
    for number in 0..257 {
        many.push_str("[[exception]]\n");
        many.push_str(&good.replace("\"b\"", &format!("\"{number}\"")));
    }
    let told = faults(&format!("{}{many}", head.trim_end_matches("[[exception]]\n")));
    assert!(told[0].contains("has more than 256 entries"), "{told:?}");
    // All of them together have so many patterns, however they are shared out.
    let patterns = |count: usize| {
        let list = (0..count).map(|number| format!("\"r.example/x{number}\"")).collect::<Vec<_>>().join(", ");
        good.replace(good.lines().next().unwrap(), &format!("match = [{list}]\nlift = [\"user-root\"]"))
    };
    let shared = |last: usize| {
        let four: String = (252..256).map(|number| patterns(number) + "[[exception]]\n").collect();
        format!("{head}{four}{}", patterns(last))
    };
    policy(&shared(10));
    let told = faults(&shared(11));
    assert!(told[0].contains("more than 1024 patterns together"), "{told:?}");
}

#[test]
fn an_exception_that_comes_to_nothing_is_a_warning() {
    let warnings = |text: &str| {
        let read = read_all(&[("p.toml", text)]);
        assert!(read.resolved.is_ok(), "{:?}", read.resolved.unwrap_err());
        read.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(warnings(EXCEPTED), [""; 0]);
    assert_eq!(
        warnings(&EXCEPTED.replace("lift = [\"CIS-4.1\"]", "lift = [\"max-age\", \"secrets\", \"privileged\"]")),
        [
            "p.toml:11: exception.lift: rule `max-age` refuses nothing there: it is off, or only warns",
            "p.toml:11: exception.lift: rule `secrets` refuses nothing there: it is off, or only warns",
            "p.toml:11: exception.lift: rule `privileged` refuses nothing there: it is off, or only warns",
        ]
    );
    assert_eq!(
        warnings(&EXCEPTED.replace("[\"r.example/old\", \"r.example/older/*\"]", "\"s.example/**\"")),
        ["p.toml:11: exception.match: no scope holds what it matches: nothing is vouched for there"]
    );
}

#[test]
fn a_permissive_scope_asks_the_registry_warns_and_is_refused_in_lockdown() {
    let text = |head: &str, verifiers: &str| {
        format!(
            "version = 1\n{head}[verifiers.n]\ntype = \"notary\"\nserver = \"n.example\"\n{verifiers}[[scope]]\nmatch = \"r.example/**\"\nrequire = \"n\"\nmode = \"permissive\"\n"
        )
    };
    let resolved = policy(&text("", ""));
    let registry: VerifierName = "registry".parse().unwrap();
    assert_eq!(resolved.policy.evidence(), Some(&registry));
    assert_eq!(resolved.verifiers[&registry], VerifierSettings::Registry);
    assert_eq!(resolved.policy.weak_scopes().count(), 1);
    assert_eq!(resolved.policy.registries_of_weak().len(), 1);
    assert_eq!(policy(&resolved.to_toml()).to_toml(), resolved.to_toml());
    let own = "[verifiers.held]\ntype = \"registry\"\n";
    assert_eq!(policy(&text("", own)).policy.evidence().map(VerifierName::as_str), Some("held"));
    let read = read_all(&[("p.toml", &text("", own))]);
    let told: Vec<String> = read.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["p.toml:7: scope.mode: is permissive: whatever its registry holds may run, and refusals are only recorded"]
    );
    assert_eq!(
        faults(&text("posture = \"lockdown\"\n", "")),
        ["p.toml:6: scope.mode: posture lockdown refuses scope `r.example`: whatever its registry holds may run"]
    );
    let taken = "[verifiers.registry]\ntype = \"allowlist\"\nfile = \"/l\"\n";
    assert!(faults(&text("", taken))[0].contains("add one of type `registry`"));
    assert!(faults(&text("", "").replace("permissive", "lax"))[0].contains("`lax` is not `enforce` or `permissive`"));
    // Without one nobody else is asked.
    let strict = policy(&text("", "").replace("mode = \"permissive\"\n", ""));
    assert_eq!((strict.policy.evidence(), strict.verifiers.len()), (None, 1));
}

#[test]
fn signatures_of_cosign_are_asked_for_by_identity() {
    let text = r#"version = 1
[verifiers.ci]
type = "cosign"
keys = ["/srv/a.pub"]
trusted_root = "root.json"
identities = [{ issuer = "https://i.example", subject = "https://ci.example/acme/*" }, { issuer = "https://i.example", subject = "*@x.example" }]
[[scope]]
match = "r.example/**"
require = "ci"
"#;
    let Resolved { verifiers, .. } = policy(text);
    let VerifierSettings::Cosign(read) = &verifiers[&"ci".parse().unwrap()] else { panic!("{verifiers:?}") };
    assert_eq!(read.identities[0].subject, "https://ci.example/acme/*");
    let files: Vec<_> = verifiers.values().flat_map(VerifierSettings::files).map(|path| path.display().to_string()).collect();
    assert_eq!(files, ["/srv/a.pub", "/etc/x/root.json"]);
    let shown = policy(text).to_toml();
    assert!(
        shown.contains("trusted_root = \"/etc/x/root.json\"\n") && shown.contains("subject = \"*@x.example\" }]\n"),
        "{shown}"
    );
    assert_eq!(policy(&shown).to_toml(), shown);
    // A pattern that is wider than it looks is warned of.
    let wide = read_all(&[("p.toml", &text.replace("https://ci.example/acme/*", "https://ci.example/acme*"))]);
    let told: Vec<String> = wide.warnings.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("verifiers.ci.identities: `https://ci.example/acme*`"), "{told:?}");
}

#[test]
fn signatures_of_cosign_are_asked_for_by_key() {
    let of = |keys: &str| {
        format!(
            "version = 1\n[verifiers.release]\ntype = \"cosign\"\n{keys}\n[[scope]]\nmatch = \"r.example/**\"\nrequire = \"release\"\n"
        )
    };
    let release: VerifierName = "release".parse().unwrap();
    let Resolved { policy: good, verifiers, .. } = policy(&of(r#"keys = ["a.pub", "/srv/b.pub"]"#));
    assert_eq!(good.verifiers[&release], Binding::Digest);
    assert!(!good.scopes.iter().any(|scope| scope.require.is_weak(&good.verifiers)));
    let files: Vec<_> = verifiers[&release].files().map(|path| path.display().to_string()).collect();
    assert_eq!(files, ["/etc/x/a.pub", "/srv/b.pub"]);
    let shown = policy(&of(r#"keys = "a.pub""#)).to_toml();
    assert!(shown.contains("type = \"cosign\"\nkeys = [\"/etc/x/a.pub\"]\n"), "{shown}");
    assert_eq!(policy(&shown).to_toml(), shown);
    for (written, hours) in [(r#"recheck = "never""#, None), ("recheck = 24", Some(24))] {
        let text = of(&format!("keys = \"a.pub\"\n{written}"));
        let Resolved { verifiers, .. } = policy(&text);
        let VerifierSettings::Cosign(read) = &verifiers[&release] else { panic!("{verifiers:?}") };
        assert_eq!(read.recheck, hours.map(std::time::Duration::from_hours), "{written}");
        assert_eq!(policy(&text).to_toml().contains("recheck = 24\n"), hours.is_some());
    }

    for (keys, why) in [
        ("", "has neither `keys` nor `identities`"),
        ("keys = \"a.pub\"\nrecheck = \"daily\"", "recheck: `daily` is not `never`"),
        ("keys = \"a.pub\"\nrecheck = 0", "recheck: `0` is not a number of hours from 1 to 8760"),
        ("keys = []", "names no file"),
        (r#"keys = ["a.pub", "a.pub"]"#, "is named twice"),
        (r#"keys = ["../a.pub"]"#, "leaves the folder"),
        ("keys = 1", "should be a text or a list of texts"),
        ("keys = \"a.pub\"\ntrusted_root = \"../root.json\"", "leaves the folder"),
        ("keys = \"a.pub\"\ntrusted_roots = \"root.json\"", "trusted_roots: there is no such key"),
        (r#"identities = [{ issuer = "https://i.example", subject = "x" }]"#, "no `trusted_root`"),
        (
            r#"keys = "a.pub"
identities = [{ issuer = "https://i.example", subject = "x" }]"#,
            "no `trusted_root`",
        ),
        ("trusted_root = \"root.json\"\nidentities = []", "names nobody"),
        (
            r#"trusted_root = "root.json"
identities = [{ subject = "x" }]"#,
            "identities[0].issuer: is missing",
        ),
        (
            r#"trusted_root = "root.json"
identities = [{ issuer = "https://i.example" }]"#,
            "identities[0].subject: is missing",
        ),
        (
            r#"trusted_root = "root.json"
identities = [{ issuer = "https://*", subject = "x" }]"#,
            "an issuer is compared to the byte",
        ),
        (
            r#"trusted_root = "root.json"
identities = [{ issuer = "https://i.example", subject = "" }]"#,
            "identities[0].subject: is empty",
        ),
        (
            r#"trusted_root = "root.json"
identities = [{ issuer = "https://i.example", subject = "x", regexp = "y" }]"#,
            "regexp: there is no such key",
        ),
    ] {
        let faults = faults(&of(keys));
        assert!(faults.len() == 1 && faults[0].contains(why), "{keys}: {faults:?}");
    }
}

#[test]
fn signatures_of_notation_are_asked_for_by_its_own_files() {
    let of = |keys: &str| {
        format!(
            "version = 1\n[verifiers.corp]\ntype = \"notation\"\n{keys}\n[[scope]]\nmatch = \"r.example/**\"\nrequire = \"corp\"\n"
        )
    };
    let corp: VerifierName = "corp".parse().unwrap();
    let good = "trust_policy = \"trustpolicy.json\"\ntrust_store = \"truststore\"\ncrls = \"crls\"\nrevocation_fetch = true\nrecheck = 24";
    let Resolved { policy: read, verifiers, .. } = policy(&of(good));
    assert_eq!(read.verifiers[&corp], Binding::Digest);
    let VerifierSettings::Notation(settings) = &verifiers[&corp] else { panic!("{verifiers:?}") };
    assert_eq!(settings.crls.as_deref(), Some(Path::new("/etc/x/crls")));
    assert_eq!((settings.recheck, settings.fetch), (Some(std::time::Duration::from_hours(24)), true));
    let shown = policy(&of(good)).to_toml();
    let lines = "trust_policy = \"/etc/x/trustpolicy.json\"\ntrust_store = \"/etc/x/truststore\"\ncrls = \"/etc/x/crls\"\n\
                 revocation_fetch = true\nrecheck = 24\n";
    assert!(shown.contains(&format!("type = \"notation\"\n{lines}")), "{shown}");
    assert_eq!(policy(&shown).to_toml(), shown);
    // Nothing is fetched unless that is said.
    let Resolved { verifiers, .. } = policy(&of("trust_policy = \"t\"\ntrust_store = \"t\""));
    assert!(matches!(&verifiers[&corp], VerifierSettings::Notation(settings) if !settings.fetch));
    for (keys, why) in [
        ("trust_store = \"t\"", "trust_policy: is missing"),
        ("trust_policy = \"t\"", "trust_store: is missing"),
        ("trust_policy = \"t\"\ntrust_store = \"t\"\ncrls = \"../c\"", "leaves the folder"),
        (
            "trust_policy = \"t\"\ntrust_store = \"t\"\nrevocation_fetch = \"yes\"",
            "revocation_fetch: is a text and should be true or false",
        ),
    ] {
        let faults = faults(&of(keys));
        assert!(faults.len() == 1 && faults[0].contains(why), "{keys}: {faults:?}");
    }
}
