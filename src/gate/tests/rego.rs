//! Rules in Rego in the journey: they take away, and never add.

use std::sync::Arc;

use super::support::*;
use crate::engine::{Container, Image};
use crate::gate::Rules;
use crate::image::{ImageConfig, RunsAs};
use crate::policy::{Mode, Policy, PolicyFile, Posture};
use crate::rego::{Compiled, File, Sources};
use crate::request::Intent;
use crate::trust::{Fake as Notary, Verifier};
use crate::wire::{Answer, Call};

pub(super) fn compiled(files: &[&str], queries: &[&str]) -> Arc<Compiled> {
    let files = files.iter().map(|text| File { name: "a.rego".into(), text: (*text).to_owned() }).collect();
    let queries = queries.iter().map(|query| (*query).to_owned()).collect();
    let sources = Sources { files, queries, environment: "production".into(), sees_host: false };
    Arc::new(Compiled::of(sources).unwrap_or_else(|faults| panic!("{faults:?}")))
}

fn with_rego(posture: Posture, files: &[&str], queries: &[&str]) -> House {
    let rego = Some(compiled(files, queries));
    let house = house_with(Policy { rego, ..policy(posture) }, Notary::default().with(GOOD, digest("good manifest")));
    house.engine.put_container(container('a', "good", Some(digest("good config"))));
    house.engine.put_container(container('b', "evil", Some(digest("evil config"))));
    house
}

const QUERY: &str = "data.docker.authz.allow";

fn call(method: &str, uri: &str, body: Option<&str>) -> Call {
    let headers = body.map(|_| ("Content-Type".to_owned(), "application/json".to_owned()));
    Call {
        user: "alice".into(),
        user_authn_method: "TLS".into(),
        method: method.into(),
        uri: uri.into(),
        headers: headers.into_iter().collect(),
        body: body.map(|body| body.as_bytes().to_vec()),
        outcome: None,
        certificate: None,
    }
}

async fn says(house: &House, call: Call) -> String {
    let intent = Intent::of(&call);
    match house.gate.request(Ok((call, intent))).await {
        Answer::Allow => "allow".to_owned(),
        Answer::Deny(message) => message,
    }
}

fn start_of(id: char) -> Call {
    call("POST", &format!("/v1.41/containers/{}/start", id.to_string().repeat(64)), None)
}

#[tokio::test]
async fn what_rego_allows_still_has_to_be_vouched_for() {
    let house = with_rego(Posture::Images, &["package docker.authz\nallow := true"], &[QUERY]);
    assert_eq!(says(&house, start_of('a')).await, "allow");
    assert_eq!(says(&house, call("GET", "/info", None)).await, "allow");
    for refused in [
        start_of('b'),
        call("POST", "/v1.41/containers/create", Some(r#"{"Image":"evil.example/evil:1"}"#)),
        call("POST", "/v1.41/containers/create", Some(r#"{"Cmd":["sh"]}"#)),
        call("POST", "/unknown", None),
        call("POST", "/v1.41/build", None),
    ] {
        let said = says(&house, refused).await;
        assert!(said != "allow" && !said.starts_with("rego-"), "{said}");
    }
}

#[tokio::test]
async fn what_rego_does_not_allow_is_refused_whoever_vouches() {
    let rule = "package docker.authz\nallow if input.User == \"bob\"\ndeny contains \"no starts\" if endswith(input.PathPlain, \"/start\")";
    let house = with_rego(Posture::Images, &[rule], &[QUERY]);
    for (call, code) in [
        (start_of('a'), "rego-denied: `data.docker.authz.allow`: no starts;"),
        (call("GET", "/info", None), "rego-denied: `data.docker.authz.allow`: it is undefined;"),
        (call("HEAD", "/v1.41/_ping", None), "rego-denied"),
        (call("POST", "/v1.41/containers/x/stop", None), "rego-denied"),
        (call("POST", "/v1.41/containers/good/rename?name=xy", None), "rego-denied"),
        (call("POST", "/plugins/x/disable", None), "rego-denied"),
        (call("POST", "/v1.41/containers/create", Some(&format!(r#"{{"Image":"{GOOD}"}}"#))), "rego-denied"),
        // Another rule refuses it as it is, and says so.
        (call("POST", "/unknown", None), "route-unknown"),
    ] {
        let said = says(&house, call).await;
        assert!(said.starts_with(code), "{said}");
    }
    assert_eq!(says(&house, call("HEAD", "/_ping", None)).await, "allow");
    let bob = Call { user: "bob".into(), ..call("GET", "/info", None) };
    assert_eq!(says(&house, bob).await, "allow");
    // The gate's own calls, which are about what it has to know, are not asked about.
    let mut own = call("GET", "/v1.41/containers/json", None);
    own.headers.insert(crate::engine::CALL_HEADER.to_owned(), crate::engine::own_mark());
    assert_eq!(says(&house, own).await, "allow");
    // What has begun is judged by whoever vouches: there is no call.
    assert_eq!(house.says(&start("good")).await, "allow");
}

#[tokio::test]
async fn errors_refuse_and_are_no_proof_against_an_image() {
    let rule = "package docker.authz\nallow := \"yes\"";
    let house = with_rego(Posture::Images, &[rule], &[QUERY]);
    let said = says(&house, call("GET", "/info", None)).await;
    assert!(said.starts_with("rego-error: `data.docker.authz.allow` cannot be evaluated: it is a string"), "{said}");
    let said = says(&house, call("POST", "/v1.41/containers/create", Some(r#"{"Image":"a","Memory":1}"#))).await;
    assert!(said.starts_with("request-unreadable"), "{said}");
    let error = crate::rego::Refusal::Error { query: String::new(), why: String::new() };
    assert!(crate::policy::Reason::Rego(error).is_unsure());
    let denied = crate::rego::Refusal::Denied { query: String::new(), says: String::new() };
    assert!(!crate::policy::Reason::Rego(denied).is_unsure());
}

/// One repository's verifier says yes, and its scope requires more: rules are told of the repository that vouches as required.
#[tokio::test]
async fn rules_about_images_are_told_of_the_repository_that_vouches_as_required() {
    let text = "version = 1\n[verifiers.notary]\ntype = \"notary\"\nserver = \"n.example\"\n\
                [verifiers.ci]\ntype = \"notary\"\nserver = \"c.example\"\n\
                [[scope]]\nmatch = \"a.example/**\"\nrequire = { all = [\"notary\", \"ci\"] }\n\
                [[scope]]\nmatch = \"r.example/**\"\nrequire = \"notary\"\n";
    let file = PolicyFile(vec![("/etc/x/policy.toml".into(), text.to_owned())]);
    let rule = "package docker.registry
allow if { input.image.repository == \"r.example/team/good\"; count(input.image.signatures) == 1 }";
    let house = with_rego(Posture::Images, &[rule], &["data.docker.registry.allow"]);
    let Rules::Good { policy: Policy { rego, .. }, .. } = &**house.gate.rules.load() else { panic!("no rules") };
    let policy = file.read(Policy::closed(Posture::Images)).resolved.unwrap().policy;
    let notary = Notary::default().with("a.example/good:1", digest("good manifest")).with(GOOD, digest("good manifest"));
    let policy = Policy { rego: rego.clone(), ..policy };
    house.gate.replace(Rules::Good { policy, verifiers: vec![Arc::new(notary)], registry: None });
    house.engine.put_image(image("good", &[], &["a.example/good", "r.example/team/good"]));
    assert_eq!(says(&house, start_of('a')).await, "allow");
}

#[tokio::test]
async fn rules_about_images_are_told_who_signed_the_bytes() {
    let rule = "package docker.registry
allow if {
  some signature in input.image.signatures
  signature.verified
  signature.type == \"notary\"
  \"alice\" in signature.signers
}
deny contains sprintf(\"%s is not 1\", [input.image.tag]) if not input.image.tag in {\"1\"}
deny contains \"registry\" if input.image.registry != \"r.example\"
deny contains \"repository\" if input.image.repository != \"r.example/team/good\"";
    // At start an image has no tag: it is what it is.
    let at_start = rule.replace("deny contains sprintf", "deny contains sprintf(\"\", []) if false\nother contains sprintf");
    let house = with_rego(Posture::Images, &[rule], &["data.docker.registry.allow"]);
    let create = |image: &str| call("POST", "/v1.41/containers/create", Some(&format!(r#"{{"Image":"{image}"}}"#)));
    assert_eq!(says(&house, create(GOOD)).await, "allow");
    assert_eq!(says(&house, call("POST", "/v1.41/images/create?fromImage=r.example/team/good&tag=1", None)).await, "allow");
    assert_eq!(says(&house, call("GET", "/info", None)).await, "allow");
    let starting = with_rego(Posture::Images, &[&at_start], &["data.docker.registry.allow"]);
    assert_eq!(says(&starting, start_of('a')).await, "allow");
    assert_eq!(starting.says(&start("good")).await, "allow");
    // Who is refused anyway is refused for that.
    let said = says(&house, start_of('b')).await;
    assert!(said.starts_with("registry-not-allowed") || said.starts_with("image-unapproved"), "{said}");

    let never = "package docker.registry\nallow := true\ndeny contains \"not this one\" if input.image.registry == \"r.example\"";
    let house = with_rego(Posture::Images, &[never], &["data.docker.registry.allow"]);
    for refused in [create(GOOD), start_of('a'), call("POST", "/v1.41/images/create?fromImage=r.example/team/good&tag=1", None)] {
        let said = says(&house, refused).await;
        assert!(said.starts_with("rego-denied: `data.docker.registry.allow`: not this one;"), "{said}");
    }
    // Also what has begun beside a start.
    assert_eq!(house.says(&start("good")).await, "rego-denied");
    // An image that is not here yet is asked about when it comes, so that `docker run` gets to pull it.
    let house = with_rego(Posture::Images, &[never], &["data.docker.registry.allow"]);
    house.engine.remove_images();
    assert_eq!(says(&house, create(GOOD)).await, "allow");
}

#[tokio::test]
async fn rules_about_images_are_told_how_it_will_run() {
    let rule = "package docker.image\nallow := true\ndeny contains \"root\" if input.Config.User in {\"\", \"root\"}
deny contains \"password\" if { some entry in input.Config.Env; startswith(entry, \"PASSWORD=\") }";
    let house = with_rego(Posture::Images, &[rule], &["data.docker.image.allow"]);
    let create = |more: &str| call("POST", "/v1.41/containers/create", Some(&format!(r#"{{"Image":"{GOOD}"{more}}}"#)));
    let refused = |said: &str| {
        said.strip_prefix("rego-denied: `data.docker.image.allow`: ").map(|rest| rest.split(';').next().unwrap().to_owned())
    };
    // The image says nothing of a user: root.
    assert_eq!(refused(&says(&house, create("")).await).as_deref(), Some("root"));
    assert_eq!(says(&house, create(r#","User":"1000""#)).await, "allow");
    let config = ImageConfig { user: "1000".into(), env: vec!["A=1".into()], ..ImageConfig::default() };
    house.engine.put_image(Image { config, ..image("good", &[GOOD], &["r.example/team/good"]) });
    assert_eq!(says(&house, create("")).await, "allow");
    assert_eq!(says(&house, create(r#","user":"""#)).await, "allow");
    // What the call says is what runs.
    assert_eq!(refused(&says(&house, create(r#","user":"root""#)).await).as_deref(), Some("root"));
    assert_eq!(refused(&says(&house, create(r#","Env":["A=2","PASSWORD=x"]"#)).await).as_deref(), Some("password"));
    // And at a start, what the container was made with.
    assert_eq!(refused(&says(&house, start_of('a')).await).as_deref(), Some("root"));
    house.engine.put_container(Container { runs_as: runs_as("1000"), ..container('a', "good", Some(digest("good config"))) });
    assert_eq!(says(&house, start_of('a')).await, "allow");
    house.engine.put_container(Container { runs_as: runs_as("root"), ..container('a', "good", Some(digest("good config"))) });
    assert_eq!(refused(&says(&house, start_of('a')).await).as_deref(), Some("root"));
    assert_eq!(house.says(&start("good")).await, "rego-denied");
    // More than containers say of themselves is not shown to rules, which might take it for nothing.
    let runs_as = RunsAs::of([("User", &*format!("\"{}\"", "x".repeat(300 << 10)))]);
    house.engine.put_container(Container { runs_as, ..container('a', "good", Some(digest("good config"))) });
    assert!(says(&house, start_of('a')).await.starts_with("container-too-large: "));
    house
        .engine
        .put_container(Container { runs_as: self::runs_as("root"), ..container('a', "good", Some(digest("good config"))) });
    // What dockerd takes nothing from says nothing: a service's member in a create, a create's in a start, a restart or an update.
    let decoy = r#","TaskTemplate":{"ContainerSpec":{"User":"1000"}}"#;
    assert_eq!(refused(&says(&house, create(&format!(r#","User":"root"{decoy}"#))).await).as_deref(), Some("root"));
    let id = "a".repeat(64);
    for (target, body) in [("restart", r#"{"User":"1000"}"#), ("update", r#"{"RestartPolicy":{"Name":"always"},"User":"1000"}"#)]
    {
        let call = call("POST", &format!("/v1.41/containers/{id}/{target}"), Some(body));
        assert_eq!(refused(&says(&house, call).await).as_deref(), Some("root"), "{target}");
    }
    // At a pull nobody is there to say it.
    let said = says(&house, call("POST", "/v1.41/images/create?fromImage=r.example/team/good&tag=1", None)).await;
    assert!(said.starts_with("rego-error") && said.contains("not known"), "{said}");
}

#[tokio::test]
async fn in_mode_permissive_it_is_recorded_and_passes() {
    let house = with_rego(Posture::Images, &["package docker.authz\nallow := false"], &[QUERY]);
    let rules = house.gate.rules.load_full();
    let Rules::Good { policy, .. } = &*rules else { panic!() };
    let policy = Policy { mode: Mode::Permissive, ..policy.clone() };
    let notary: Arc<dyn Verifier> = Arc::new(Notary::default().with(GOOD, digest("good manifest")));
    assert!(house.gate.replace(Rules::Good { policy, verifiers: vec![notary], registry: None }));
    assert_eq!(says(&house, start_of('a')).await, "allow");
    assert!(house.journal.0.lock().unwrap().iter().any(|entry| entry.code == "rego-denied" && !entry.enforced));
}

/// How a container of this user runs.
fn runs_as(user: &str) -> RunsAs {
    RunsAs::of([("User", &*format!("{user:?}")), ("Env", "[]")])
}
