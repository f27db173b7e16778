use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::request::Transport;

fn sources(files: &[(&str, &str)], queries: &[&str]) -> Sources {
    Sources {
        files: files.iter().map(|(name, text)| File { name: (*name).to_owned(), text: (*text).to_owned() }).collect(),
        queries: queries.iter().map(|query| (*query).to_owned()).collect(),
        environment: "production".to_owned(),
        sees_host: false,
    }
}

const QUERY: &str = "data.docker.authz.allow";

fn load(text: &str) -> Result<Compiled, Vec<String>> {
    let faults = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect();
    Compiled::of(sources(&[("authz.rego", text)], &[QUERY])).map_err(faults)
}

fn call(method: &str, uri: &str, body: Option<&str>) -> Call {
    Call {
        user: String::new(),
        user_authn_method: String::new(),
        method: method.into(),
        uri: uri.into(),
        headers: body.map(|_| ("Content-Type".to_owned(), "application/json".to_owned())).into_iter().collect(),
        body: body.map(|body| body.as_bytes().to_vec()),
        outcome: None,
        certificate: None,
    }
}

fn about(call: Call) -> About {
    About { call: Some(Arc::new(call)), manner: Transport::Http1.into(), image: None }
}

fn ask(policies: &Compiled, about: &About) -> Result<Passed, Refusal> {
    policies.evaluate(&mut policies.engine.clone(), about, |_| {})
}

fn denied(answer: Result<Passed, Refusal>) -> Option<String> {
    match answer {
        Ok(Passed(())) => None,
        Err(Refusal::Denied { says, .. }) => Some(says),
        Err(other) => Some(format!("{other:?}")),
    }
}

fn create(body: &str) -> Call {
    call("POST", "/v1.41/containers/create", Some(body))
}

fn allow(rule: &str, body: &str) -> Option<String> {
    let policies = load(&format!("package docker.authz\n{rule}")).unwrap_or_else(|faults| panic!("{rule}: {faults:?}"));
    denied(ask(&policies, &about(create(body))))
}

#[test]
fn only_true_lets_pass() {
    assert_eq!(allow("allow := true", "{}"), None);
    for (rule, said) in [
        ("allow := false", "it is not true"),
        ("allow if input.nothing", "it is undefined"),
        ("allow := \"true\"", "it is a string"),
        ("allow := 1", "it is a number"),
        ("allow := {true}", "it is a set"),
        ("allow := x if x := {1: true}", "it is an object"),
        ("allow := input.Body.a\nallow := input.Body.b", "Error"),
    ] {
        let found = allow(rule, r#"{"a":true,"b":false}"#).unwrap();
        assert!(found.contains(said), "{rule}: {found}");
    }
}

#[test]
fn strings_of_deny_refuse_and_are_the_message() {
    for (rules, said) in [
        ("deny contains \"no\" if false", None),
        ("deny contains \"no\" if true", Some("no")),
        ("deny := [\"a\", \"b\"]", Some("a; b")),
        ("deny contains msg if { msg := \"line\\nfeed \\u001b[31m\" }", Some("line\\nfeed \\u{1b}[31m")),
        // As in published policies, where it is a rule of their own that `allow` reads.
        ("deny if true", None),
        ("deny if false", None),
    ] {
        assert_eq!(allow(&format!("allow := true\n{rules}"), "{}").as_deref(), said, "{rules}");
    }
    let long = allow(
        "allow := true\ndeny contains sprintf(\"%d %s\", [x, input.Body.Image]) if some x in [1, 2, 3, 4]",
        &format!(r#"{{"Image":"{}"}}"#, "x".repeat(5000)),
    );
    assert!(long.unwrap().chars().count() <= MESSAGE);
    let error = allow("allow := true\ndeny := input.Body.a\ndeny := input.Body.b", r#"{"a":["x"],"b":["y"]}"#).unwrap();
    assert!(error.contains("Error"), "{error}");
}

#[test]
fn of_several_queries_all_must_allow() {
    let files = [
        ("a.rego", "package a\nallow := true"),
        ("b.rego", "package b\nallow if input.User == \"alice\"\ndeny contains \"b says no\" if input.User == \"\""),
    ];
    let policies = Compiled::of(sources(&files, &["data.a.allow", "data.b.allow"])).unwrap();
    assert_eq!(denied(ask(&policies, &about(create("{}")))).as_deref(), Some("b says no"));
    let alice = Call { user: "alice".into(), ..create("{}") };
    assert_eq!(ask(&policies, &about(alice)), Ok(Passed(())));
}

/// Each with the way in which a reading of the text alone would let it pass.
#[test]
fn clients_cannot_hide_from_a_policy() {
    let policy = "package docker.authz\nallow if true\ndeny contains \"privileged\" if input.Body.HostConfig.Privileged\ndeny contains \"capability\" if input.Body.HostConfig.CapAdd[_] == \"SYS_ADMIN\"";
    let policies = load(policy).unwrap();
    for (body, said) in [
        (r#"{"HostConfig":{"Privileged":false,"CapAdd":null}}"#, None),
        (r#"{"HostConfig":{"Privileged":true}}"#, Some("privileged")),
        (r#"{"hostconfig":{"privileged":true}}"#, Some("privileged")),
        ("{\"Ho\u{17f}tConfig\":{\"Privileged\":true}}", Some("privileged")),
        (r#"{"HostConfig":{"CapAdd":"SYS_ADMIN"}}"#, Some("capability")),
        (r#"{"HostConfig":{"Privileged":true},"HostConfig":{"Privileged":false}}"#, Some("Unreadable")),
        (r#"{"HostConfig":{"Privileged":true,"privileged":false}}"#, Some("Unreadable")),
        (r#"{"Privileged":true}"#, Some("Unreadable")),
    ] {
        let found = denied(ask(&policies, &about(create(body))));
        assert!(
            found.is_some() == said.is_some() && said.is_none_or(|said| found.as_deref().unwrap_or_default().contains(said)),
            "{body}: {found:?}"
        );
    }
    // The type that is shown last is not the one that dockerd goes by.
    let mut odd = create(r#"{"HostConfig":{"Privileged":true}}"#);
    odd.headers.insert("Content-Type".into(), "text/plain; charset=utf-8".into());
    assert_eq!(denied(ask(&policies, &about(odd))).as_deref(), Some("privileged"));
}

#[test]
fn what_docker_sends_is_no_error() {
    let body = r#"{"Image":"a","Cmd":null,"Env":[],"Volumes":{},"HostConfig":{"Binds":null,"CapAdd":null,"Mounts":null,"SecurityOpt":null}}"#;
    for rule in [
        "allow if { every x in input.BindMounts { x.ReadOnly } }",
        "allow if not any_capability\nany_capability if { some x in input.Body.HostConfig.CapAdd; x == \"ALL\" }",
        "allow if count(input.BindMounts) == 0",
        "allow if not bad\nbad if input.Body.HostConfig.Binds[_] == \"/\"",
    ] {
        assert_eq!(allow(rule, body), None, "{rule}");
    }
}

#[test]
fn both_dialects_are_read_and_none_is_guessed() {
    let evil = create(r#"{"HostConfig":{"Privileged":true}}"#);
    for text in [
        "package docker.authz\nallow if not privileged\nprivileged if input.Body.HostConfig.Privileged",
        "package docker.authz\nimport rego.v1\nallow if not input.Body.HostConfig.Privileged",
        "package docker.authz\nallow { not privileged }\nprivileged { input.Body.HostConfig.Privileged }",
        "package docker.authz\nimport future.keywords.if\nallow if not privileged\nprivileged { input.Body.HostConfig.Privileged }",
        "package docker.authz\nallow { not bad }\nbad { true in [input.Body.HostConfig.Privileged] }",
        "package docker.authz\nallow { count(bad) == 0 }\nbad[x] { x := 1; any([input.Body.HostConfig.Privileged]) }",
    ] {
        let policies = load(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        assert_eq!(ask(&policies, &about(create("{}"))), Ok(Passed(())), "{text}");
        assert!(denied(ask(&policies, &about(evil.clone()))).is_some(), "{text}");
    }
    // In the old dialect the first of these would be a rule that always holds.
    for text in [
        "package docker.authz\nallow if { input.User == \"root\" }\nother { true }",
        "package docker.authz\nimport future.keywords.in\nallow if { input.User in [\"root\"] }\nother { true }",
        "package docker.authz\ndeny contains x { x := 1 }\nallow { true }",
    ] {
        let faults = load(text).unwrap_err();
        assert!(faults.iter().all(|fault| fault.starts_with("authz.rego:")), "{faults:?}");
    }
}

#[test]
fn faults_have_file_and_line_and_come_together() {
    let deep = format!("package docker.authz\n\nallow := {}{}", "[".repeat(30), "]".repeat(30));
    for (text, line, what) in [
        ("package docker.authz\nallow if {\n  input.x ==\n}\n", 4, "expecting expression"),
        ("package docker.authz\n\nallow if not http.send({\"url\": \"http://x\"})", 3, "http.send"),
        ("package docker.authz\nallow := crypto.sha256(\"a\") == \"b\"", 2, "crypto.sha256"),
        ("package docker.authz\nallow if input.BindMounts[_].Resolved == \"/\"", 2, "Resolved"),
        ("package docker.authz\nallow := true\nb := input[\"BindMounts\"][0][\"Resolved\"]", 3, "Resolved"),
        (&deep, 3, "nested"),
        ("allow := true", 1, "package"),
        ("package docker.authz\nallow := true\n\u{0}", 3, "NUL"),
    ] {
        let faults = load(text).unwrap_err();
        assert!(
            matches!(&faults[..], [fault] if fault.starts_with(&format!("authz.rego:{line}: ")) && fault.contains(what)),
            "{text}: {faults:?}"
        );
    }
    let files = [
        ("a.rego", "package a\nx := nofun(1)\ny := nofun(2)"),
        ("b.rego", "package b\nallow :="),
        ("c.rego", "package c\nallow := true"),
    ];
    let faults = Compiled::of(sources(&files, &["data.c.allow"])).unwrap_err();
    let places: Vec<_> = faults.iter().map(|fault| (fault.file.as_deref().unwrap(), fault.line.unwrap())).collect();
    assert_eq!(places, [("a.rego", 2), ("a.rego", 3), ("b.rego", 2)]);
    for query in [
        "data.docker.authz.alow",
        "data.docker.authz",
        "data",
        "docker.authz.allow",
        "data.docker.authz.allow == true",
        "data.x.allow",
        "",
    ] {
        let faults = Compiled::of(sources(&[("a.rego", "package docker.authz\nallow := true")], &[query])).unwrap_err();
        assert!(faults.iter().any(|fault| fault.what.contains("query")), "{query}: {faults:?}");
    }
    let large = format!("package docker.authz\nallow := true\n# {}", "x".repeat(1 << 20));
    assert!(load(&large).unwrap_err().iter().any(|fault| fault.contains("bytes")));
    let many: Vec<(String, String)> = (0..65).map(|number| (format!("{number}.rego"), "package a".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert!(Compiled::of(sources(&many, &[])).is_err());
}

/// regorus takes twice as long for each level of brackets. What the bound lets pass must be quick.
#[test]
fn the_deepest_text_that_is_let_in_is_parsed_in_time() {
    for (open, close) in [("[", "]"), ("{", "}"), ("(", ")")] {
        let text = format!("package docker.authz\nallow := {}1{}", open.repeat(12), close.repeat(12));
        let began = Instant::now();
        let _ = load(&text);
        assert!(began.elapsed() < Duration::from_secs(3), "{open}: {:?}", began.elapsed());
    }
}

/// regorus follows functions that call themselves until the stack is full, and the process ends.
#[test]
fn what_calls_itself_is_a_fault_and_ends_nothing() {
    for (text, line) in [
        ("package docker.authz\nallow if f(input.Body)\nf(x) := f(x)", 3),
        ("package docker.authz\nallow if f(1)\nf(x) := g(x)\n\ng(x) := y if {\n  y := [z | z := f(x)]\n}", 3),
        ("package docker.authz\nallow if f(1)\nf(x) := data.docker.authz.g(x)\ng(x) := y if y := h(x) with h as f\nh(x) := x", 3),
    ] {
        let faults = load(text).unwrap_err();
        assert!(
            matches!(&faults[..], [fault] if fault.starts_with(&format!("authz.rego:{line}: ")) && fault.contains("calls itself")),
            "{faults:?}"
        );
    }
    let files = [
        ("a.rego", "package a\nimport data.b\nallow := f(1)\nf(x) := b.g(x)"),
        ("b.rego", "package b\nimport data.a.f\ng(x) := f(x)"),
    ];
    assert_eq!(Compiled::of(sources(&files, &["data.a.allow"])).unwrap_err().len(), 1);
    for text in [
        "package docker.authz\nallow if a\na if b\nb if a",
        "package docker.authz\nallow if f(1) == 1\nf(x) := r if x > 0\nr := f(2)",
    ] {
        match load(text) {
            Ok(policies) => assert!(denied(ask(&policies, &about(create("{}")))).is_some(), "{text}"),
            Err(faults) => assert!(!faults.is_empty()),
        }
    }
    let infix = "package docker.authz\nallow := true\ndeny contains (x) if { x := \"no\"; contains(input.Body.Image, x) }\n";
    assert_eq!(denied(ask(&load(infix).unwrap(), &about(create(r#"{"Image":"no"}"#)))).as_deref(), Some("no"));
    // One that calls another of a like name, and one that is used twice.
    let fine = "package docker.authz\nallow if g(1) == 2\nf(x) := x + 1\ng(x) := f(x) if { f(0) == 1 }\n";
    assert_eq!(denied(ask(&load(fine).unwrap(), &about(create("{}")))), None);
}

/// Each operator is a level of the tree that regorus makes of an expression, and walks down with the stack.
#[test]
fn long_expressions_are_faults_and_end_nothing() {
    for part in ["1 +\n", "{1} |\n", "(1) *\n"] {
        let of = |count: usize| format!("package docker.authz\nallow if x == 1\nx := {}1", part.repeat(count));
        assert!(load(&of(40_000)).unwrap_err().iter().any(|fault| fault.contains("operators")), "{part}");
        let policies = load(&of(250)).unwrap();
        let _ = std::thread::Builder::new().stack_size(2 << 20).spawn(move || drop(policies)).unwrap().join();
    }
    let long = format!("package docker.authz\nallow if x == 1\nx := input{}", ".a".repeat(300));
    assert!(load(&long).is_err());
    let rules = format!("package docker.authz\nallow if {{\n{}}}", "  input.a.b == 1 + 2\n".repeat(2000));
    assert!(load(&rules).is_ok());
}

#[test]
fn the_greeting_is_never_asked() {
    let ping = |method: &str, uri: &str| Compiled::is_exempt(&call(method, uri, None));
    assert!(ping("HEAD", "/_ping"));
    for (method, uri) in
        [("GET", "/_ping"), ("HEAD", "/v1.41/_ping"), ("HEAD", "/_ping?x"), ("HEAD", "/_ping/"), ("head", "/_ping")]
    {
        assert!(!ping(method, uri), "{method} {uri}");
    }
}

#[test]
fn what_passed_is_remembered_and_nothing_else() {
    let policies = load("package docker.authz\nallow if input.Headers.Token == \"yes\"").unwrap();
    let by = |token: &str| {
        let mut call = create("{}");
        call.headers.insert("Token".into(), token.into());
        about(call)
    };
    for (asked, passes) in [(by("yes"), true), (by("no"), false)] {
        assert!(!policies.passes_unasked(&asked));
        assert_eq!(ask(&policies, &asked).is_ok(), passes);
        assert_eq!(policies.passes_unasked(&asked), passes);
    }
    // Whatever a rule could see is another call.
    let same = || by("yes").call.unwrap();
    for (what, change) in [
        ("user", (|call| call.user = "x".into()) as fn(&mut Call)),
        ("method", |call| call.user_authn_method = "TLS".into()),
        ("uri", |call| call.uri.push('?')),
        ("verb", |call| call.method = "PUT".into()),
        ("headers", |call| _ = call.headers.insert("A".into(), String::new())),
        ("body", |call| call.body = Some(b"{ }".to_vec())),
        ("no body", |call| call.body = None),
    ] {
        let mut call = Call::clone(&same());
        change(&mut call);
        assert!(!policies.passes_unasked(&about(call)), "{what}");
    }
    let call = Call { certificate: Some("another of the same name".into()), ..Call::clone(&same()) };
    assert!(policies.passes_unasked(&about(call)));
    let other = About { manner: Transport::MaybeHttp2.into(), ..by("yes") };
    assert!(!policies.passes_unasked(&other), "it may be read in another way");
    let of_image = About { image: Some(Image::default()), ..by("yes") };
    assert!(policies.memory_for(&of_image).is_none());
}

#[test]
fn what_rules_say_of_more_than_the_call_is_not_remembered() {
    for rule in [
        "allow if time.now_ns() > 1",
        "allow if rand.intn(\"x\", 5) < 5",
        "allow if uuid.rfc4122(\"x\") != \"\"",
        "allow if f with f as time.now_ns\nf() := 1",
    ] {
        if let Ok(policies) = load(&format!("package docker.authz\n{rule}")) {
            let asked = about(create("{}"));
            let _ = ask(&policies, &asked);
            assert!(!policies.passes_unasked(&asked), "{rule}");
        }
    }
    let text = "package docker.authz\nallow if count([x | some x in input.BindMounts; x.Resolved == \"/\"]) == 0";
    let sources = Sources { sees_host: true, ..sources(&[("a.rego", text)], &[QUERY]) };
    let (policies, asked) = (Compiled::of(sources).unwrap(), about(create("{}")));
    assert_eq!(ask(&policies, &asked), Ok(Passed(())));
    assert!(!policies.passes_unasked(&asked), "where a link leads may change");
}

#[test]
fn what_is_remembered_is_bounded() {
    let policies = load("package docker.authz\nallow := true").unwrap();
    let large = about(create(&format!(r#"{{"Image":"{}"}}"#, "x".repeat(8 << 10))));
    assert_eq!(ask(&policies, &large), Ok(Passed(())));
    assert!(!policies.passes_unasked(&large));
    let numbered = |number: usize| about(call("GET", &format!("/{number}"), None));
    for number in 0..1000 {
        assert_eq!(ask(&policies, &numbered(number)), Ok(Passed(())));
    }
    let kept = (0..1000).filter(|number| policies.passes_unasked(&numbered(*number))).count();
    assert!((1..=128).contains(&kept), "{kept}");
}

mod here {
    use super::*;

    /// Whether a policy's answer to a small create comes without a thread.
    async fn is_at_once(text: &str) -> bool {
        let policies = Arc::new(load(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}")));
        super::super::has_room();
        // Tried again where the machine lets others go before for longer than that may take.
        for number in 0..5 {
            // Another call, since one that passed passes again unasked.
            let call = create(&json!({"Image": "a", "Hostname": number.to_string()}).to_string());
            let evaluator = Evaluator::default();
            let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
            let _ = evaluator.ask(&policies, about(call), deadline).await;
            if evaluator.is_unused() {
                return true;
            }
        }
        false
    }

    #[tokio::test]
    async fn short_policies_are_asked_at_once_and_no_others() {
        for text in [
            "allow := true",
            "allow if { some bind in input.BindMounts; startswith(bind.Source, \"/srv/\") }",
            "allow if f(input.Body.Image)\nf(x) if x == \"a\"",
            "deny contains sprintf(\"%v\", [x]) if x := input.Body.Image\nallow if time.now_ns() > 0",
            "allow { re_match(`^a$`, input.Body.Image) }",
            // What a file calls so is that file's, and read as what it is.
            "count(x) := y if y := startswith(x, \"a\")\nallow if count(\"a\")",
        ] {
            assert!(is_at_once(&format!("package docker.authz\n{text}")).await, "{text}");
        }
        let rules = (0..40).map(|number| format!("r{number} if true")).collect::<Vec<_>>().join("\n");
        let long = format!("allow if 0{} > 0", " + 1".repeat(40));
        for text in [
            // What the call says makes these long.
            "allow if count(numbers.range(1, input.Body.Memory)) > 0",
            "allow if re_match(input.Body.Image, \"a\")",
            "deny contains sprintf(input.Body.Image, [1])\nallow := true",
            "allow if { walk(input, [_, 1]) }",
            "allow if input.x == 1 with input as {\"x\": 1}",
            "replace(x, y, z) := true\nallow if replace(1, 2, 3)",
            "allow if glob.match(\"*.a\", input.Body.Cmd, \"a\")",
            "allow if trim(input.Body.Image, input.Body.User) == \"\"",
            "allow if regex.match(`([a-z]{1,63}\\.){1,20}`, input.Body.Image)",
            &long,
            &format!("{rules}\nallow := true"),
        ] {
            assert!(!is_at_once(&format!("package docker.authz\n{text}")).await, "{text}");
        }
    }

    /// Its answer at once; tried again where the machine lets others go before for longer than that may take.
    fn at_once(here: &super::super::here::Here, policies: &Arc<Compiled>, about: &About) -> Option<Result<Passed, Refusal>> {
        (0..40).find_map(|number| {
            std::thread::sleep(Duration::from_millis(number * 5));
            here.ask(policies, about)
        })
    }

    #[tokio::test]
    async fn large_calls_and_images_are_asked_elsewhere() {
        let policies = Arc::new(load("package docker.authz\nallow if input.Body.Image == \"a\"").unwrap());
        let here = super::super::here::Here::default();
        // Not on a thread with a stack of any size.
        assert_eq!(here.ask(&policies, &about(create(r#"{"Image":"a"}"#))), None);
        super::super::has_room();
        assert_eq!(at_once(&here, &policies, &about(create(r#"{"Image":"a"}"#))), Some(Ok(Passed(()))));
        assert!(matches!(at_once(&here, &policies, &about(create(r#"{"Image":"b"}"#))), Some(Err(Refusal::Denied { .. }))));
        let large = format!(r#"{{"Image":"a","Labels":{{"a":"{}"}}}}"#, "x".repeat(8 << 10));
        assert_eq!(here.ask(&policies, &about(create(&large))), None);
        let mut of_image = about(create("{}"));
        of_image.image = Some(Image::default());
        assert_eq!(here.ask(&policies, &of_image), None);
        // What cannot be read is refused as by a thread; an error is a thread's to tell.
        assert!(matches!(at_once(&here, &policies, &about(create("{"))), Some(Err(Refusal::Unreadable(_)))));
        let twice = Arc::new(load("package docker.authz\nallow := input.Body.a\nallow := input.Body.b").unwrap());
        assert_eq!(here.ask(&twice, &about(create(r#"{"a":true,"b":false}"#))), None);
        assert_eq!(at_once(&here, &twice, &about(create(r#"{"a":true,"b":true}"#))), Some(Ok(Passed(()))));
    }

    /// Small calls over which a short policy takes long: a list with itself, and with itself.
    #[tokio::test]
    async fn one_that_takes_long_is_stopped_and_many_are_asked_elsewhere() {
        let cubes =
            "allow if { some x in input.Body.Cmd; some y in input.Body.Cmd; some z in input.Body.Cmd; count([x, y, z]) == 4 }";
        let policies = Arc::new(load(&format!("package docker.authz\nallow if input.Method == \"GET\"\n{cubes}")).unwrap());
        let here = super::super::here::Here::default();
        super::super::has_room();
        let quick = about(call("GET", "/info", None));
        assert_eq!(at_once(&here, &policies, &quick), Some(Ok(Passed(()))));
        let of = |many: usize| about(create(&json!({"Cmd": vec!["x"; many]}).to_string()));
        let began = Instant::now();
        assert_eq!(here.ask(&policies, &of(400)), None);
        assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
        // Those that end in time owe as well: soon none is tried, the quick ones among them, and after a while they are again.
        let tried = (0..200).filter(|_| here.ask(&policies, &of(10)).is_some()).count();
        assert!(tried < 200, "{tried}");
        assert_eq!((here.ask(&policies, &of(400)), here.ask(&policies, &quick)), (None, None));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(at_once(&here, &policies, &quick), Some(Ok(Passed(()))));
    }
}

mod threads {
    use super::*;

    const SLOW: &str = "package docker.authz\nallow if input.Method == \"GET\"\nallow if { input.Method == \"POST\"; some x in numbers.range(1, 300); some y in numbers.range(1, 300); some z in numbers.range(1, 300); x + y + z == 0 }";

    fn evaluator(limits: EvaluationLimits) -> (Evaluator, Arc<Compiled>) {
        (Evaluator::with_limits(limits), Arc::new(load(SLOW).unwrap()))
    }

    fn soon() -> tokio::time::Instant {
        tokio::time::Instant::now() + Duration::from_secs(8)
    }

    #[tokio::test]
    async fn answers_come_from_threads_and_reuse_them() {
        let (evaluator, policies) = evaluator(EvaluationLimits::default());
        for _ in 0..3 {
            assert_eq!(evaluator.ask(&policies, about(call("GET", "/info", None)), soon()).await, Ok(Passed(())));
        }
        let other = Arc::new(load("package docker.authz\nallow if numbers.range(1, 2) == []").unwrap());
        assert!(matches!(evaluator.ask(&other, about(call("GET", "/info", None)), soon()).await, Err(Refusal::Denied { .. })));
        assert_eq!(evaluator.ask(&other, about(call("HEAD", "/_ping", None)), soon()).await, Ok(Passed(())));
        assert_eq!(evaluator.stats(), Stats::default());
    }

    /// A loop ends by regorus' own clock; the call is refused and the thread is free again.
    #[tokio::test]
    async fn a_loop_ends_by_itself() {
        let (evaluator, policies) = evaluator(EvaluationLimits::default());
        let answer = evaluator.ask(&policies, about(create("{}")), soon()).await;
        assert!(matches!(&answer, Err(Refusal::Error { .. })), "{answer:?}");
        assert_eq!(evaluator.ask(&policies, about(call("GET", "/info", None)), soon()).await, Ok(Passed(())));
    }

    #[tokio::test]
    async fn with_all_threads_held_nobody_waits() {
        let limits = EvaluationLimits {
            answer: Duration::from_millis(60),
            evaluation: Duration::from_millis(20),
            ..EvaluationLimits::default()
        };
        let (evaluator, policies) = evaluator(limits);
        let slow = || evaluator.ask(&policies, about(create("{}")), soon());
        let (one, other) = tokio::join!(slow(), slow());
        for answer in [one, other] {
            assert!(matches!(&answer, Err(Refusal::Error { why, .. }) if why.contains("did not end")), "{answer:?}");
        }
        let began = Instant::now();
        let refused = evaluator.ask(&policies, about(call("GET", "/info", None)), soon()).await;
        assert_eq!(refused, Err(Refusal::Overloaded { query: QUERY.into() }));
        assert!(began.elapsed() < Duration::from_millis(50));
        let stats = evaluator.stats();
        assert_eq!(
            (stats.abandoned.get(QUERY), stats.overloaded.get(QUERY), stats.held.get(QUERY)),
            (Some(&2), Some(&1), Some(&2))
        );
        // They end, and all goes on.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(evaluator.stats().held.get(QUERY), None);
        assert_eq!(evaluator.ask(&policies, about(call("GET", "/info", None)), soon()).await, Ok(Passed(())));
    }

    #[tokio::test]
    async fn bodies_that_wait_are_bounded_together() {
        let limits = EvaluationLimits { threads: 1, bytes: 10, ..EvaluationLimits::default() };
        let (evaluator, policies) = evaluator(limits);
        let ask = |body: &str| evaluator.ask(&policies, about(create(body)), soon());
        let answers = tokio::join!(ask("{}"), ask(r#"{"a":1}"#), ask(r#"{"a":1}"#));
        let refused =
            [answers.0, answers.1, answers.2].iter().filter(|answer| matches!(answer, Err(Refusal::Overloaded { .. }))).count();
        assert!(refused >= 1);
    }

    #[tokio::test]
    async fn no_more_wait_than_have_a_place() {
        let limits = EvaluationLimits { threads: 1, waiting: 2, ..EvaluationLimits::default() };
        let (evaluator, policies) = evaluator(limits);
        let slow = || evaluator.ask(&policies, about(create("{}")), soon());
        let answers = tokio::join!(slow(), slow(), slow(), slow());
        let answers = [answers.0, answers.1, answers.2, answers.3];
        assert!(answers.iter().any(|answer| matches!(answer, Err(Refusal::Overloaded { .. }))), "{answers:?}");
    }
}

mod examples {
    use super::*;

    fn example(name: &str, query: &str) -> Compiled {
        let text = std::fs::read_to_string(format!("examples/rego/{name}.rego")).unwrap();
        Compiled::of(sources(&[(name, &text)], &[query])).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    #[test]
    fn a_policy_of_the_new_dialect_runs_as_it_is() {
        let policies = example("docker_authz_v1", QUERY);
        let by = |user: &str, call: Call| denied(ask(&policies, &about(Call { user: user.into(), ..call })));
        let plain = || create(r#"{"Image":"a","HostConfig":{"Binds":["/srv/a:/a"],"SecurityOpt":null}}"#);
        assert_eq!(by("alice", plain()), None);
        assert_eq!(by("", plain()), None);
        assert_eq!(by("bob", call("GET", "/v1.41/containers/json?all=1", None)), None);
        assert_eq!(by("bob", plain()).as_deref(), Some("it is not true"));
        assert_eq!(by("mallory", call("GET", "/info", None)).as_deref(), Some("it is not true"));
        for (body, said) in [
            (r#"{"HostConfig":{"Privileged":true}}"#, "privileged containers"),
            (r#"{"HostConfig":{"SecurityOpt":["seccomp=unconfined"]}}"#, "switches the system call filter off"),
            (r#"{"HostConfig":{"Binds":["/:/host"]}}"#, "/ of the host may not be mounted"),
            (r#"{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/etc"}]}}"#, "/etc of the host"),
        ] {
            assert!(by("alice", create(body)).unwrap().contains(said), "{body}");
        }
    }

    #[test]
    fn a_policy_of_the_old_dialect_runs_as_it_is() {
        let policies = example("docker_authz_v0", QUERY);
        let by = |user: &str, mut call: Call| {
            call.headers.insert("Authz-User".into(), user.into());
            denied(ask(&policies, &about(call)))
        };
        assert_eq!(by("carol", create(r#"{"Image":"a"}"#)), None);
        assert_eq!(by("dave", call("GET", "/info", None)), None);
        assert_eq!(by("dave", create(r#"{"Image":"a"}"#)).as_deref(), Some("it is not true"));
        for body in
            [r#"{"HostConfig":{"SecurityOpt":["label=x","seccomp:unconfined"]}}"#, r#"{"HostConfig":{"Privileged":true}}"#]
        {
            assert!(by("carol", create(body)).is_some(), "{body}");
        }
    }

    fn image(change: impl FnOnce(&mut Image)) -> About {
        let members = |value: serde_json::Value| value.as_object().cloned().unwrap();
        let now = i64::try_from(crate::clock::now().as_nanosecond()).unwrap();
        let mut image = Image {
            reference: "registry.example:5000/team/app:1".into(),
            repository: "registry.example:5000/team/app".into(),
            registry: "registry.example:5000".into(),
            tag: Some("1".into()),
            digest: Some("sha256:00".into()),
            id: None,
            statements: Vec::new(),
            signatures: vec![Signature {
                verifier: "dct".into(),
                kind: "notary",
                signers: vec!["release-team".into()],
                digest: "sha256:00".into(),
            }],
            scan_status: None,
            config: Some(Config {
                created: Some(now - 1_000_000_000),
                labels: members(json!({"security.scan": "passed", "org.opencontainers.image.base.name": "debian:12-slim"})),
                config: members(json!({"User": "1000", "Env": ["PATH=/bin"], "Healthcheck": {"Test": ["CMD", "true"]}})),
            }),
            run_spec: crate::request::RunSpec::Body,
        };
        change(&mut image);
        About { image: Some(image), ..about(create(r#"{"Image":"a"}"#)) }
    }

    #[test]
    fn where_images_come_from() {
        let policies = example("registry", "data.docker.registry.allow");
        let of = |change: fn(&mut Image)| denied(ask(&policies, &image(change))).unwrap_or_default();
        assert_eq!(of(|_| {}), "");
        let config = |image: &mut Image, change: fn(&mut Config)| image.config.iter_mut().for_each(change);
        assert!(of(|image| image.registry = "evil.example".into()).contains("images of evil.example are not approved"));
        assert!(of(|image| image.signatures.clear()).contains("has no signature"));
        assert!(of(|image| image.tag = Some("latest".into())).contains("by the tag latest"));
        assert!(of(|image| (image.tag, image.digest) = (None, None)).contains("by the tag latest"));
        assert_eq!(of(|image| image.tag = None), "");
        assert!(
            denied(ask(
                &policies,
                &image(|image| config(image, |config| {
                    config.labels.clear();
                }))
            ))
            .unwrap()
            .contains("scan is missing")
        );
        assert!(
            denied(ask(&policies, &image(|image| config(image, |config| config.created = None))))
                .unwrap()
                .contains("older than 30 days")
        );
        let unknown = ask(&policies, &image(|image| image.config = None));
        assert!(matches!(unknown, Err(Refusal::Error { .. })), "a label or a time that is not known may have refused it");
    }

    #[test]
    fn what_images_are() {
        let policies = example("image", "data.docker.image.allow");
        let of = |change: fn(&mut Config)| {
            denied(ask(&policies, &image(|image| image.config.iter_mut().for_each(change)))).unwrap_or_default()
        };
        assert_eq!(of(|_| {}), "");
        for user in ["", "root", "0", "root:root", "0:0", "00", "+0", "-0", ":0", ":100"] {
            let found = denied(ask(
                &policies,
                &image(|image| {
                    image.config.iter_mut().for_each(|config| _ = config.config.insert("User".into(), user.into()));
                }),
            ));
            assert!(found.unwrap_or_default().contains("runs as root"), "{user}");
        }
        assert!(of(|config| _ = config.config.remove("Healthcheck")).contains("no HEALTHCHECK"));
        assert!(
            of(|config| _ = config.config.insert("Healthcheck".into(), json!({"Test": ["NONE"]}))).contains("no HEALTHCHECK")
        );
        assert!(of(|config| _ = config.config.insert("Env".into(), json!(["DB_PASSWORD=x"]))).contains("a secret: DB_PASSWORD"));
        assert!(of(|config| _ = config.labels.remove("org.opencontainers.image.base.name")).contains("base image"));
        // Without the configuration a rule about a secret in it could not fire.
        let unknown = ask(&policies, &image(|image| image.config = None));
        assert!(matches!(&unknown, Err(Refusal::Error { why, .. }) if why.contains("not known")), "{unknown:?}");
    }

    #[test]
    fn queries_about_images_are_asked_of_images_alone() {
        let policies = example("image", "data.docker.image.allow");
        assert!(policies.asks_of_images());
        assert!(policies.passes_unasked(&about(call("POST", "/containers/c/stop", None))));
        assert!(!policies.passes_unasked(&image(|_| {})));
    }
}

/// A policy of 20 lines, in the state of a host that has been running for a while. Prints what one decision costs.
#[test]
#[ignore = "a measurement: cargo test --release --lib rego::tests::cost -- --ignored --nocapture"]
fn cost() {
    let text = std::fs::read_to_string("examples/rego/docker_authz_v0.rego").unwrap();
    let policies = Compiled::of(sources(&[("a", &text)], &[QUERY])).unwrap();
    let body = r#"{"Hostname":"","User":"","Image":"registry.example/app:1","Cmd":["sh","-c","true"],"Env":["A=1","B=2"],"Labels":{},"HostConfig":{"Binds":["/srv/a:/a"],"NetworkMode":"default","PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"CapAdd":null,"SecurityOpt":["label=x"],"Privileged":false,"Memory":0}}"#;
    let mut call = create(body);
    call.headers.insert("Authz-User".into(), "carol".into());
    let about = about(call);
    let mut engine = policies.engine.clone();
    for _ in 0..100 {
        policies.evaluate(&mut engine, &about, |_| {}).unwrap();
    }
    let (began, rounds) = (Instant::now(), 5_000_u32);
    for _ in 0..rounds {
        policies.evaluate(&mut engine, &about, |_| {}).unwrap();
    }
    println!("one decision: {:?}", began.elapsed() / rounds);
}
