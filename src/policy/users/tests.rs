#![allow(clippy::string_slice, reason = "tests cut their own text")]

//! Rights of users: the three policies of the authz talk, authz-broker's file, and what does not open anything.

use std::sync::Arc;

use super::*;
use crate::policy::{Facts, Needs, Policy, Verdict, decide, needs};
use crate::wire::Call;

/// A call of a user; `None`: without a certificate.
fn call(user: Option<&str>, method: &str, uri: &str) -> Call {
    let tls = user.map(|_| "TLS");
    let post = serde_json::json!({ "User": user, "UserAuthNMethod": tls, "RequestMethod": method, "RequestUri": uri });
    Call::decode(post.to_string().as_bytes()).unwrap()
}

/// What a policy with these users says, by its code; `allow` where nothing stands against it.
fn says(users: &Users, user: Option<&str>, method: &str, uri: &str) -> &'static str {
    says_in(users, Posture::Images, user, method, uri)
}

fn says_in(users: &Users, posture: Posture, user: Option<&str>, method: &str, uri: &str) -> &'static str {
    let policy = Policy { users: Some(Arc::new(users.clone())), ..Policy::closed(posture) };
    let call = call(user, method, uri);
    let intent = Intent::of(&call);
    let request = Request::of(&call, &intent);
    match (needs(&policy, &request), decide(&policy, &request, &Facts::default())) {
        (Needs::Refused(early), Verdict::Deny(late)) if early == late => early.code(),
        (Needs::Nothing | Needs::Plugin(_), Verdict::Allow(_)) => "allow",
        // By what is found out about images.
        (_, Verdict::Deny(reason)) if reason.code() != "user-forbidden" => "asked",
        (needs, verdict) => panic!("{needs:?} {verdict:?}"),
    }
}

fn group(name: &str, users: &[&str], actions: &[&str]) -> GroupSetting {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    GroupSetting {
        name: name.to_owned(),
        place: "policy.toml:7".to_owned(),
        users: owned(users),
        actions: owned(actions),
        ..GroupSetting::default()
    }
}

fn groups(settings: Vec<GroupSetting>) -> Users {
    Users::of_groups(settings, &crate::policy::exemptible()).unwrap().0
}

fn broker(lines: &str) -> (Users, Vec<String>) {
    let (users, remarks) = Users::of_broker_file("users.jsonl", lines.as_bytes()).unwrap();
    (users, remarks.iter().map(ToString::to_string).collect())
}

/// So many lines, with so many patterns.
fn many(lines: usize, patterns: usize) -> String {
    let line = |at| serde_json::json!({ "users": [format!("user-{at}")], "actions": [format!("container_{}", at % patterns)] });
    (0..lines).map(|at| line(at).to_string()).collect::<Vec<_>>().join("\n")
}

const STOP: (&str, &str) = ("POST", "/v1.41/containers/c/stop");
const EXEC: (&str, &str) = ("POST", "/v1.41/exec/e/start");
const LIST: (&str, &str) = ("GET", "/v1.41/containers/json");
const REMOVE: (&str, &str) = ("DELETE", "/v1.41/containers/c");
const START: (&str, &str) = ("POST", "/v1.41/containers/c/start");
const WAIT: (&str, &str) = ("POST", "/v1.41/containers/c/wait");
const PING: (&str, &str) = ("HEAD", "/_ping");
const UPDATE: (&str, &str) = ("POST", "/v1.41/containers/c/update");
const DISABLE: (&str, &str) = ("POST", "/v1.41/plugins/p/disable");
const WEBSOCKET: (&str, &str) = ("GET", "/v1.41/containers/c/attach/ws");

/// The three policies of the talk: operators may run and remove, auditors list only, alice may do all.
#[test]
fn the_policies_of_the_authz_talk() {
    let listing = GroupSetting { read_only: true, ..group("auditors", &["bob"], &["container_list"]) };
    let native = groups(vec![
        group("operators", &["olga", "oscar"], &["container_run", "container_rm"]),
        listing,
        group("everything", &["alice"], &["*"]),
    ]);
    let (of_broker, remarks) = broker(
        r#"{"name":"operators","users":["olga","oscar"],"actions":["container_(create|start|attach|wait|resize|delete)$","docker_ping","^$"]}
{"name":"auditors","users":["bob"],"actions":["container_list","docker_ping"],"readonly":true}
{"name":"everything","users":["alice"],"actions":[".*"]}"#,
    );
    assert_eq!(remarks, ["users.jsonl: no line lists the user \"\": calls on the local socket are refused, those of root too"]);
    for users in [&native, &of_broker] {
        for (user, (method, uri), verdict) in [
            (Some("olga"), START, "asked"),
            (Some("oscar"), REMOVE, "allow"),
            (Some("olga"), WAIT, "allow"),
            (Some("olga"), PING, "allow"),
            (Some("olga"), LIST, "user-forbidden"),
            (Some("olga"), STOP, "user-forbidden"),
            (Some("olga"), EXEC, "user-forbidden"),
            (Some("bob"), LIST, "allow"),
            (Some("bob"), ("GET", "/_ping"), "allow"),
            (Some("bob"), START, "user-forbidden"),
            (Some("bob"), ("GET", "/v1.41/images/json"), "user-forbidden"),
            (Some("alice"), START, "asked"),
            (Some("alice"), EXEC, "allow"),
            (Some("alice"), DISABLE, "allow"),
            // No rights make a call that is unknown pass.
            (Some("alice"), ("POST", "/v1.41/what/is/new"), "route-unknown"),
            (Some("alice"), ("GET", "/v1.41/what/is/new"), "allow"),
            // Who is in none may do nothing.
            (Some("mallory"), LIST, "user-forbidden"),
            (None, LIST, "user-forbidden"),
            (None, PING, "user-forbidden"),
            // A certificate without a name, also where a line lists calls without a certificate.
            (Some(""), LIST, "user-forbidden"),
            // Bytes, not letters.
            (Some("Alice"), LIST, "user-forbidden"),
            (Some("alice "), LIST, "user-forbidden"),
        ] {
            assert_eq!(says(users, user, method, uri), verdict, "{user:?} {method} {uri}");
        }
    }
}

#[test]
fn the_first_group_that_lists_the_caller_decides_alone() {
    let users = groups(vec![
        group("list", &["bob", "local"], &["container_list"]),
        group("stop", &["bob", "carol", "local"], &["container_stop"]),
        group("rest", &["*"], &["docker_info"]),
        group("late", &["dave"], &["*"]),
    ]);
    for (user, (method, uri), verdict) in [
        (Some("bob"), LIST, "allow"),
        (Some("bob"), STOP, "user-forbidden"),
        (Some("carol"), STOP, "allow"),
        (Some("carol"), LIST, "user-forbidden"),
        (None, LIST, "allow"),
        (None, STOP, "user-forbidden"),
        (Some("dave"), STOP, "user-forbidden"),
        (Some("dave"), ("GET", "/info"), "allow"),
        // A certificate that says so is not the absence of one.
        (Some("local"), LIST, "user-forbidden"),
        (Some("local"), ("GET", "/info"), "allow"),
        (Some(""), ("GET", "/info"), "user-forbidden"),
    ] {
        assert_eq!(says(&users, user, method, uri), verdict, "{user:?} {method} {uri}");
    }
    let (_, remarks) = Users::of_groups(vec![group("a", &["bob"], &[]), group("b", &["bob", "local"], &["*"])], &[]).unwrap();
    assert_eq!(
        remarks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["policy.toml:7: users: `bob` is in a (policy.toml:7) already, which decides; this group does not"]
    );
    for (user, remarks) in [("bob", 1), ("local", 0), ("*", 0)] {
        let (_, told) = Users::of_groups(vec![group("a", &[user], &[])], &[]).unwrap();
        assert_eq!(told.len(), remarks, "{user}");
        assert!(told.iter().all(|remark| remark.message.starts_with("no group lists `local`")), "{user}");
    }
}

#[test]
fn read_only_is_that_whatever_actions_are_listed() {
    let native = groups(vec![GroupSetting { read_only: true, ..group("auditors", &["bob"], &["*"]) }]);
    let (of_broker, _) = broker(r#"{"users":["bob"],"actions":[".*"],"readonly":true}"#);
    for (users, ping) in [(&native, "allow"), (&of_broker, "user-forbidden")] {
        for ((method, uri), verdict) in [
            (LIST, "allow"),
            (("GET", "/v1.41/what/is/new"), "allow"),
            (STOP, "user-forbidden"),
            (WAIT, "user-forbidden"),
            (WEBSOCKET, "user-forbidden"),
            // To the broker, only GET reads.
            (PING, ping),
        ] {
            assert_eq!(says(users, Some("bob"), method, uri), verdict, "{method} {uri}");
        }
    }
    let call = call(Some("bob"), "POST", "/containers/c/stop");
    let intent = Intent::of(&call);
    let reason = native.refusal(&Request::of(&call, &intent), Posture::Images).unwrap();
    insta::assert_snapshot!(reason.message(), @"user-forbidden: user `bob` may only read, and container_stop does more, by `auditors (policy.toml:7)`; ask this host's administrator for this right (img-authz help user-forbidden)");
}

#[test]
fn a_group_lists_whoever_has_its_unit_in_the_certificate_and_the_first_group_decides() {
    use base64::Engine as _;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    let unit =
        |name: &str, unit: &str, actions: &[&str]| GroupSetting { units: vec![unit.to_owned()], ..group(name, &[], actions) };
    let users = groups(vec![
        group("barred", &["mallory"], &[]),
        unit("interns", "interns", &["container_list"]),
        unit("operators", "operators", &["container"]),
    ]);
    let key = KeyPair::generate().unwrap();
    let shown = |name: &str, units: &[&str]| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        for unit in units {
            params.distinguished_name.push(DnType::OrganizationalUnitName, *unit);
        }
        base64::engine::general_purpose::STANDARD.encode(params.self_signed(&key).unwrap().pem())
    };
    let says = |user: &str, certificate: Option<String>| {
        let call = Call { certificate, ..call(Some(user), "POST", "/containers/c/stop") };
        let intent = Intent::of(&call);
        let request = Request::of(&call, &intent);
        users.refusal(&request, Posture::Images).map_or_else(|| "allow".to_owned(), |reason| reason.message())
    };
    assert_eq!(says("olga", Some(shown("olga", &["operators"]))), "allow");
    assert!(says("olga", Some(shown("olga", &["Operators"]))).contains("no group of users lists"));
    assert!(says("olga", Some(shown("olga", &[]))).contains("no group of users lists"));
    // The first group that lists them, by name or by unit, decides alone.
    assert!(says("mallory", Some(shown("mallory", &["operators"]))).contains("by `barred"));
    assert!(says("ivan", Some(shown("ivan", &["interns"]))).contains("by `interns"));
    // Another's certificate, none, and one that cannot be read.
    for certificate in [Some(shown("mallory", &["operators"])), None, Some("!".to_owned())] {
        assert!(says("olga", certificate).contains("does not show which units"));
    }
}

#[test]
fn all_faults_of_groups_are_told_and_what_is_told_stays_short() {
    let long = "x".repeat(5000);
    let setting = GroupSetting {
        exempt_from: vec!["host-access".to_owned(), "users".to_owned(), "malformed".to_owned()],
        ..group("a", &["", &long], &["container_strat", "run", ".*"])
    };
    let faults =
        Users::of_groups(vec![setting, group("a", &["bob"], &["*"]), group("", &[], &[])], &["host-access"]).unwrap_err();
    let told: Vec<_> = faults.iter().map(|fault| fault.message.clone()).collect();
    insta::assert_snapshot!(told.join("\n").replace(&"x".repeat(100), "…"), @r##"
    actions: `container_strat` is not an action; is `container_start` meant?
    actions: `run` is not an action
    actions: `.*` is not an action
    exempt_from: `users` is not a rule that can be lifted for users; there are host-access
    exempt_from: `malformed` is not a rule that can be lifted for users; there are host-access
    users: "" is not a CN; write `local` for calls without a certificate
    users: `…xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…` is longer than 1024 bytes
    name: another group is called `a`
    name: a group needs a name of at most 1024 bytes
    users: list at least one (a certificate's CN, `local` for calls without a certificate, `*`), or one of `units`
    "##);
    assert!(Users::of_groups((0..1001).map(|at| group(&at.to_string(), &["u"], &[])).collect(), &[]).is_err());
    let user = "u\u{1b}`".repeat(300);
    let users = groups(vec![group(&long[..900], &[&user], &[]), group("b", &["*"], &[])]);
    for user in [user.as_str(), "other", &long] {
        let call = call(Some(user), "POST", "/containers/c/attach");
        let intent = Intent::of(&call);
        let message = users.refusal(&Request::of(&call, &intent), Posture::Images).unwrap().message();
        assert!(message.chars().count() < 300 && !message.contains('\u{1b}'), "{message}");
        assert!(message.contains("container_attach, by `") && message.ends_with("help user-forbidden)"), "{message}");
    }
}

#[test]
fn scopes_and_rules_are_those_of_the_group_that_decides() {
    let users = groups(vec![
        GroupSetting {
            scopes: Some(vec!["dev".to_owned()]),
            exempt_from: vec!["ingest".to_owned(), "build".to_owned()],
            ..group("dev", &["bob"], &["*"])
        },
        group("all", &["alice", "local"], &["*"]),
    ]);
    let call = call(Some("bob"), "POST", "/images/create");
    let intent = Intent::of(&call);
    let asked = |caller| Request { caller, ..Request::of(&call, &intent) };
    let refused = |caller, scope| users.scope_refusal(&asked(caller), scope).map(|reason| reason.message());
    assert_eq!(refused(Caller::Named("bob"), Some("dev")), None);
    insta::assert_snapshot!(refused(Caller::Named("bob"), Some("prod")).unwrap(), @"user-forbidden: user `bob` has no right to images of scope `prod`, by `dev (policy.toml:7)`; ask this host's administrator for this right (img-authz help user-forbidden)");
    assert!(refused(Caller::Named("bob"), None).is_some());
    assert_eq!((refused(Caller::Named("alice"), None), refused(Caller::Local, Some("prod"))), (None, None));
    assert!(refused(Caller::Named("carol"), Some("dev")).is_some() && refused(Caller::Nameless, Some("dev")).is_some());
    assert_eq!(refused(Caller::Gate, Some("prod")), None);
    assert_eq!(users.scopes().collect::<Vec<_>>(), [("dev", "dev (policy.toml:7)".to_owned())]);
    // Rules of posture `lockdown`.
    let load = ("POST", "/images/load");
    let lockdown = |user, (method, uri)| says_in(&users, Posture::Lockdown, user, method, uri);
    assert_eq!(lockdown(Some("bob"), load), "allow");
    assert_eq!(lockdown(Some("alice"), load), "posture-forbids");
    assert_eq!(lockdown(Some("bob"), ("POST", "/build")), "allow");
    assert_eq!(lockdown(Some("alice"), ("POST", "/build")), "build-denied");
    // What keeps the gate in its place binds everybody.
    assert_eq!(lockdown(Some("bob"), DISABLE), "asked");
    assert_eq!(lockdown(Some("bob"), ("POST", "/what/is/new")), "route-unknown");
}

#[test]
fn with_faulty_users_only_what_reads_or_corrects_passes() {
    let users = Users::Faulty { fault: "users.jsonl: larger than 1048576 bytes".to_owned() };
    for ((method, uri), in_images, in_lockdown) in [
        (LIST, "allow", "allow"),
        (PING, "allow", "allow"),
        (STOP, "setting-fault", "setting-fault"),
        (EXEC, "setting-fault", "setting-fault"),
        (WEBSOCKET, "setting-fault", "setting-fault"),
        (START, "setting-fault", "setting-fault"),
        (DISABLE, "allow", "setting-fault"),
        (("POST", "/plugins/p/set"), "allow", "setting-fault"),
        (("DELETE", "/plugins/p"), "allow", "setting-fault"),
        (("DELETE", "/plugins/p?force=1"), "setting-fault", "setting-fault"),
        (("POST", "/plugins/p/enable"), "setting-fault", "setting-fault"),
        (("POST", "/what/is/new"), "setting-fault", "setting-fault"),
    ] {
        assert_eq!(says_in(&users, Posture::Images, Some("alice"), method, uri), in_images, "{method} {uri}");
        assert_eq!(says_in(&users, Posture::Lockdown, None, method, uri), in_lockdown, "{method} {uri}");
    }
}

#[test]
fn the_gate_itself_is_bound_by_no_rights() {
    let stop = call(None, "POST", "/containers/c/stop");
    let intent = Intent::of(&stop);
    for users in [groups(Vec::new()), Users::Faulty { fault: String::new() }] {
        assert_eq!(users.refusal(&Request::by_gate(&intent), Posture::Lockdown), None);
        assert!(users.refusal(&Request::of(&stop, &intent), Posture::Lockdown).is_some());
    }
}

/// Verdicts of authz-broker 2fa4df2 (and where this gate is stricter, and says so).
#[test]
fn a_brokers_file_means_what_it_means_to_the_broker() {
    for (lines, user, (method, uri), verdict) in [
        (r#"{"users":["bob"],"actions":["container_stop"]}"#, Some("bob"), STOP, "allow"),
        (r#"{"users":["bob"],"actions":["container_stop"]}"#, Some("bob"), LIST, "user-forbidden"),
        // Not anchored.
        (r#"{"users":["bob"],"actions":["stop"]}"#, Some("bob"), STOP, "allow"),
        (r#"{"users":["bob"],"actions":[""]}"#, Some("bob"), STOP, "allow"),
        (r#"{"users":["bob"],"actions":[]}"#, Some("bob"), STOP, "user-forbidden"),
        (r#"{"users":["bob"]}"#, Some("bob"), STOP, "user-forbidden"),
        // What does not compile fits nothing, and the next is tried.
        (r#"{"users":["bob"],"actions":["*"]}"#, Some("bob"), STOP, "user-forbidden"),
        (r#"{"users":["bob"],"actions":["*","stop"]}"#, Some("bob"), STOP, "allow"),
        (
            r#"{"users":["bob"],"actions":["container_s**","a{1001}","(?x)stop","(?=stop)","stop\\Z"]}"#,
            Some("bob"),
            STOP,
            "user-forbidden",
        ),
        // "" are calls without a certificate, not all users.
        (r#"{"users":[""],"actions":[".*"]}"#, None, STOP, "allow"),
        (r#"{"users":[""],"actions":[".*"]}"#, Some("bob"), STOP, "user-forbidden"),
        (r#"{"users":[""],"actions":[".*"]}"#, Some(""), STOP, "user-forbidden"),
        (r#"{"users":["*"],"actions":[".*"]}"#, Some("bob"), STOP, "user-forbidden"),
        (r#"{"users":["local"],"actions":[".*"]}"#, None, STOP, "user-forbidden"),
        // The first line that lists the user decides, also by denying.
        ("{\"users\":[\"bob\"],\"actions\":[]}\n{\"users\":[\"bob\"],\"actions\":[\".*\"]}", Some("bob"), STOP, "user-forbidden"),
        ("{\"users\":[\"carol\"],\"actions\":[]}\n{\"users\":[\"bob\"],\"actions\":[\".*\"]}", Some("bob"), STOP, "allow"),
        // Lines that are no object bind nobody and spoil no other.
        (
            "\u{feff}{\"users\":[\"bob\"]}\n# x\n[]\nnull\n{}{}\n{\n\r\n \t{\"users\":[\"bob\"],\"actions\":[\".*\"]} \r",
            Some("bob"),
            STOP,
            "allow",
        ),
        // Names of members fold case, the later of two counts, null is absent.
        ("{\"U\u{17f}ERS\":[\"bob\"],\"Actions\":[\"stop\"],\"x\":1e999}", Some("bob"), STOP, "allow"),
        (r#"{"users":["x"],"users":["bob"],"actions":["x"],"ACTIONS":["stop"]}"#, Some("bob"), STOP, "allow"),
        (r#"{"users":["bob"],"actions":["stop"],"readonly":null,"name":null}"#, Some("bob"), STOP, "allow"),
        (r#"{"users":["bob"],"actions":["stop"],"readonly":true,"readonly":null}"#, Some("bob"), STOP, "user-forbidden"),
        (r#"{"users":["bob"],"actions":["stop"],"actions":null}"#, Some("bob"), STOP, "user-forbidden"),
        (r#"{"users":["bob"],"actions":["stop"],"readonly":true,"readonly":false}"#, Some("bob"), STOP, "allow"),
        (r#"{"users":["bob"],"actions":["stop"],"name":7}"#, Some("bob"), STOP, "allow"),
        // Half a surrogate pair is U+FFFD, and the rest is read.
        (r#"{"name":"\ud800","users":["\udc00","bob"],"actions":["\\ud800","stop"]}"#, Some("bob"), STOP, "allow"),
        (r#"{"users":["b\ud83d\ude00b"],"actions":["stop"]}"#, Some("b😀b"), STOP, "allow"),
        // Calls that it has no word for: only what fits the empty text.
        (r#"{"users":["bob"],"actions":["container_.*"]}"#, Some("bob"), UPDATE, "user-forbidden"),
        (r#"{"users":["bob"],"actions":["."]}"#, Some("bob"), UPDATE, "user-forbidden"),
        (r#"{"users":["bob"],"actions":[".*"]}"#, Some("bob"), DISABLE, "allow"),
        (r#"{"users":["bob"],"actions":["^$"]}"#, Some("bob"), DISABLE, "allow"),
        (r#"{"users":["bob"],"actions":["^$"]}"#, Some("bob"), STOP, "user-forbidden"),
        (r#"{"users":["bob"],"actions":["docker_ping"]}"#, Some("bob"), PING, "user-forbidden"),
        (r#"{"users":["bob"],"actions":["docker_events"]}"#, Some("bob"), ("GET", "/events"), "user-forbidden"),
        (r#"{"users":["bob"],"actions":["docker_auth"]}"#, Some("bob"), ("POST", "/containers/auth-x/exec"), "user-forbidden"),
        (r#"{"users":["bob"],"actions":["docker"]}"#, Some("bob"), ("GET", "/what/is/new"), "user-forbidden"),
        // Names of this gate, in patterns that can be meant for nothing else.
        (r#"{"users":["bob"],"actions":["^plugin_disable$"]}"#, Some("bob"), DISABLE, "allow"),
        (r#"{"users":["bob"],"actions":["plugin_"]}"#, Some("bob"), DISABLE, "allow"),
        (r#"{"users":["bob"],"actions":["plugin_|image_list"]}"#, Some("bob"), DISABLE, "user-forbidden"),
        (r#"{"users":["bob"],"actions":["unknown"]}"#, Some("bob"), ("GET", "/what/is/new"), "user-forbidden"),
    ] {
        let (users, _) = broker(lines);
        assert_eq!(says(&users, user, method, uri), verdict, "{lines} {user:?} {method} {uri}");
    }
}

/// In Go these lines allow more than they say. Here they allow nothing, and still decide for whom they list there.
#[test]
fn a_faulty_line_opens_nothing_neither_itself_nor_what_follows() {
    let behind = "\n{\"users\":[\"bob\",\"carol\",\"\"],\"actions\":[\".*\"]}";
    for (line, bob, carol, local) in [
        (r#"{"users":["bob"],"actions":["image_list",null]}"#, "user-forbidden", "allow", "allow"),
        (r#"{"users":["bob"],"actions":[7]}"#, "user-forbidden", "allow", "allow"),
        (r#"{"users":["bob"],"actions":[["stop"],{"a":1}]}"#, "user-forbidden", "allow", "allow"),
        (r#"{"users":["bob"],"actions":[".*"],"readonly":"true"}"#, "user-forbidden", "allow", "allow"),
        (r#"{"users":["bob"],"actions":[".*"],"readonly":1}"#, "user-forbidden", "allow", "allow"),
        (r#"{"users":["bob"],"actions":".*"}"#, "user-forbidden", "allow", "allow"),
        (r#"{"users":["bob",null],"actions":[".*"]}"#, "user-forbidden", "allow", "user-forbidden"),
        (r#"{"users":["bob",5],"actions":[".*"]}"#, "user-forbidden", "allow", "user-forbidden"),
        (r#"{"users":["bob"],"users":["carol",[]],"actions":[".*"]}"#, "user-forbidden", "user-forbidden", "user-forbidden"),
        (r#"{"users":"bob","actions":[".*"]}"#, "allow", "allow", "allow"),
        // What is not JSON binds nobody.
        (r#"{"users":["bob"],"actions":[]"#, "allow", "allow", "allow"),
        (r#"{"users":["bob"],"actions":[],}"#, "allow", "allow", "allow"),
    ] {
        let (users, remarks) = broker(&format!("{line}{behind}"));
        assert!(remarks.iter().any(|remark| remark.starts_with("users.jsonl:1: ")), "{line}");
        let of = |user| says(&users, user, STOP.0, STOP.1);
        assert_eq!((of(Some("bob")), of(Some("carol")), of(None)), (bob, carol, local), "{line}");
    }
    // Whom it lists cannot be told: then the file as a whole is none.
    let deep = format!("{{\"users\":[{}{}],\"actions\":[]}}", "[".repeat(500), "]".repeat(500));
    assert!(Users::of_broker_file("u", format!("{deep}{behind}").as_bytes()).is_err());
    assert!(Users::of_broker_file("u", &vec![b' '; (1 << 20) + 1]).is_err());
    assert!(Users::of_broker_file("u", many(501, 501).as_bytes()).unwrap_err().to_string().contains("500 different patterns"));
    let many = "{\"users\":[\"bob\"],\"actions\":[]}\n".repeat(10_001);
    assert!(Users::of_broker_file("u", many.as_bytes()).unwrap_err().to_string().contains("10000 lines"));
    // Bytes that are no text spoil a name, and not the line.
    let (users, _) = Users::of_broker_file("u", b"{\"users\":[\"b\xffb\",\"bob\"],\"actions\":[\"stop\"]}").unwrap();
    assert_eq!(says(&users, Some("bob"), STOP.0, STOP.1), "allow");
    assert_eq!(says(&users, Some("b\u{fffd}b"), STOP.0, STOP.1), "user-forbidden");
}

/// What Go makes of some thousand files (`test/oracle/users`).
#[test]
fn a_file_allows_nothing_that_it_does_not_allow_in_go_and_says_where_it_allows_less() {
    #[derive(serde::Deserialize)]
    struct File {
        file: String,
        allows: Vec<Vec<bool>>,
    }
    let calls = [STOP, ("GET", "/images/json"), ("POST", "/images/load"), DISABLE, ("GET", "/plugins")]
        .map(|(method, uri)| (method, uri));
    let (mut alike, mut less, mut none) = (0, 0, 0);
    for line in include_str!("../../../test/fixtures/users/files.jsonl").lines() {
        let File { file, allows } = serde_json::from_str(line).unwrap();
        let Ok((users, remarks)) = Users::of_broker_file("u", file.as_bytes()) else {
            // A number that has no value: whom its line lists is not read on.
            assert!(file.contains("1e999"), "{file}");
            none += 1;
            continue;
        };
        let is_told = remarks.iter().any(|remark| remark.message.ends_with("the line allows nothing"));
        for (user, row) in [None, Some("bob"), Some("carol")].into_iter().zip(allows) {
            for ((method, uri), there) in calls.into_iter().zip(row) {
                let here = says(&users, user, method, uri) == "allow";
                assert!(there || !here, "{user:?} {method} {uri}: allowed by\n{file}");
                assert!(here || !there || is_told, "{user:?} {method} {uri}: refused by\n{file}");
                if here == there { alike += 1 } else { less += 1 }
            }
        }
    }
    assert!(alike > 20 * less && less > 100 && none < 400, "{alike} {less} {none}");
}

#[test]
fn what_a_brokers_file_seems_to_mean_is_told() {
    let (_, remarks) = broker(
        r#"// users of the host
{"name":"a","users":["bob","*"],"actions":["*","container_strat","container_archive","image_list(?!x)"]}
{"name":"b","users":["bob","local",""],"actions":[".*"],"user":["carol"]}
{"name":"c","actions":["container_create"],"readonly":"true"}
{
"#,
    );
    insta::assert_snapshot!(remarks.join("\n"), @r##"
    users.jsonl:2: actions: `*` fits nothing: there is nothing to repeat; `.*` is meant
    users.jsonl:2: actions: `container_strat` fits no action; is `container_start` meant?
    users.jsonl:2: actions: `container_archive` also fits container_archive_info; is `^container_archive$` meant?
    users.jsonl:2: actions: `image_list(?!x)` fits nothing: Go has no such group (no look-around, no flag x)
    users.jsonl:2: users: `*` is not a wildcard: it is the user whose CN is `*`
    users.jsonl:3: `user` is not a member of a line (name, users, actions, readonly)
    users.jsonl:3: users: "bob" is in a (users.jsonl:2) already, which decides; this line does not
    users.jsonl:3: users: `local` is the user whose CN is `local`; calls without a certificate are ""
    users.jsonl:4: readonly is neither true nor false: the line allows nothing
    users.jsonl:4: lists no users
    users.jsonl:5: is not one JSON object on one line: it lists nobody
    "##);
    // A file of another kind does not fill the log.
    let (_, remarks) = broker(&"x\n".repeat(5_000));
    assert_eq!(remarks.len(), 101);
    assert_eq!(remarks[100], "users.jsonl:99: and 4901 more like these");
}

#[test]
fn a_large_file_is_read_in_a_moment_and_asked_in_less() {
    let lines = many(9_999, 50);
    let began = std::time::Instant::now();
    let (users, _) = Users::of_broker_file("u", lines.as_bytes()).unwrap();
    // Bounds that only something quadratic breaks: a release build takes a tenth.
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    assert_eq!(says(&users, Some("user-9998"), STOP.0, STOP.1), "user-forbidden");
}
