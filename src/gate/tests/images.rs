//! Rules about what images are: at a pull by the registry's word for what the digest commits to, at create and start by the engine's.

use std::sync::Arc;

use super::support::{call_without_body, container, create, digest, house_with, image, pull, start};
use crate::engine::{Container, Image, Store};
use crate::gate::Rules;
use crate::image::{Digest, ImageConfig, Repository};
use crate::policy::{Policy, PolicyFile, Posture, Request, Verdict};
use crate::registry::{self, RegistryError};
use crate::request::Intent;
use crate::trust::Fake as Notary;
use crate::wire::Call;

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A policy of these rules for `r.example`, and none for what lies in `lax`.
fn ruled(rules: &str) -> Policy {
    let text = format!(
        "version = 1\n[verifiers.notary]\ntype = \"notary\"\nserver = \"n.example\"\n[[scope]]\nname = \"strict\"\nmatch = \"r.example/**\"\nrequire = \"notary\"\n\
         [scope.rules]\n{rules}\n[[scope]]\nmatch = \"r.example/lax/**\"\nrequire = \"notary\"\n"
    );
    PolicyFile(vec![("/etc/x/policy.toml".into(), text)]).read(Policy::closed(Posture::Images)).resolved.unwrap().policy
}

fn app(user: &str) -> ImageConfig {
    ImageConfig {
        user: user.into(),
        platform: "linux/amd64".parse().unwrap(),
        history: Some(Vec::new()),
        ..ImageConfig::default()
    }
}

fn held(name: &str, config: ImageConfig) -> Image {
    Image { config, ..image(name, &[&format!("r.example/{name}:1")], &[&format!("r.example/{name}")]) }
}

/// `good` runs as somebody, `root` as root; both are signed.
fn house(rules: &str, registry: Option<Arc<registry::Fake>>) -> super::support::House {
    let notary = || {
        Notary::default()
            .with("r.example/good:1", digest("good manifest"))
            .with("r.example/root:1", digest("root manifest"))
            .with("r.example/lax/other:1", digest("other manifest"))
    };
    let house = house_with(ruled(rules), notary());
    let registry = registry.map(|registry| registry as Arc<dyn registry::Api>);
    house.gate.replace(Rules::Good { policy: ruled(rules), verifiers: vec![Arc::new(notary())], registry });
    house.engine.put_image(held("good", app("app")));
    house.engine.put_image(held("root", app("")));
    for (id, name) in [('a', "good"), ('b', "root")] {
        let image_ref = format!("r.example/{name}:1");
        house.engine.put_container(Container { image_ref, ..container(id, name, Some(digest(&format!("{name} config")))) });
    }
    house
}

async fn message(house: &super::support::House, intent: &Intent) -> String {
    match house.gate.judge(intent).await.verdict {
        Verdict::Allow(_) => "allow".to_owned(),
        Verdict::WouldDeny(reason) | Verdict::Deny(reason) => reason.message(),
    }
}

#[tokio::test]
async fn what_is_here_is_judged_by_its_configuration_at_create_and_start() {
    let house = house("user-root = \"deny\"", None);
    for (name, says) in [("good", "allow"), ("root", "image-rule")] {
        assert_eq!(house.says(&create(&format!("r.example/{name}:1"))).await, says, "{name}");
        assert_eq!(house.says(&create(&digest(&format!("{name} config")).to_string())).await, says, "{name} by id");
        assert_eq!(house.says(&start(name)).await, says, "{name}");
    }
    assert_eq!(
        message(&house, &create("r.example/root:1")).await,
        "image-rule: rule user-root (scope `strict`, policy.toml:10) refuses `r.example/root:1`: USER is not set, which is root; have its publisher build it with a USER other than root"
    );
    let started = message(&house, &start("root")).await;
    assert!(
        started.starts_with("image-rule: `root`: rule user-root (scope `strict`, policy.toml:10) refuses `r.example/root`: "),
        "{started}"
    );
    // What is not here is pulled first: the engine says so, and what comes is judged.
    assert_eq!(house.says(&create("r.example/lax/other:1")).await, "allow");
    let call = Call { method: "POST".into(), uri: "/containers/good/start".into(), ..call_without_body() };
    assert_eq!(super::support::refused(&house.gate.request(Ok((call, start("good")))).await), "allow");
    house.engine.remove_images();
    assert_eq!(house.says(&create("r.example/root:1")).await, "allow");
    // What a container was made of may be gone, and nobody knows what it was.
    assert_eq!(house.says(&start("good")).await, "image-config-unknown");
}

/// The course's deliberately bad image: all that is wrong with it fits into the one line.
#[tokio::test]
async fn a_refusal_names_every_rule_that_refuses() {
    let house = house("extends = \"cis-l2\"\nmax-age = \"off\"", None);
    let bad = ImageConfig { env: vec!["PASSWORD=hunter2".into()], ports: vec!["22/tcp".into()], ..app("") };
    house.engine.put_image(held("root", bad));
    assert_eq!(
        message(&house, &create("r.example/root:1")).await,
        "image-rule: rule user-root (scope `strict`, policy.toml:10) refuses `r.example/root:1`: USER is not set, which is root; also healthcheck, secrets, exposed-ports; have its publisher build it with a USER other than root"
    );
    let Verdict::Deny(reason) = house.gate.judge(&create("r.example/root:1")).await.verdict else { panic!() };
    let found: Vec<String> = reason.findings().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "user-root: USER is not set, which is root",
            "healthcheck: it has no HEALTHCHECK",
            "secrets: ENV `PASSWORD` looks like a secret",
            "exposed-ports: it exposes port 22"
        ]
    );
}

#[tokio::test]
async fn a_name_in_another_scope_gets_nobody_its_rules() {
    let house = house("user-root = \"deny\"", None);
    house.engine.put_image(Image { repo_tags: vec!["r.example/lax/other:1".parse().unwrap()], ..held("root", app("")) });
    assert_eq!(house.says(&create("r.example/lax/other:1")).await, "content-mismatch");
    let id = digest("root config").to_string();
    assert_eq!(house.says(&create(&id)).await, "image-rule");
    // In the containerd store digests follow the name.
    let moved = Image {
        id: digest("root manifest"),
        store: Some(Store::Containerd),
        repo_digests: vec![("r.example/lax/other".parse().unwrap(), digest("root manifest"))],
        repo_tags: vec!["r.example/lax/other:1".parse().unwrap(), "r.example/root:1".parse().unwrap()],
        ..held("root", app(""))
    };
    house.engine.remove_images();
    house.engine.put_image(moved);
    assert_eq!(house.says(&create("r.example/lax/other:1")).await, "content-mismatch");
    assert_eq!(house.says(&create(&digest("root manifest").to_string())).await, "image-rule");
}

#[tokio::test]
async fn what_only_warns_passes_and_is_recorded_and_counted() {
    let house = house("user-root = \"warn\"\nhealthcheck = \"warn\"", None);
    let call = Call { method: "POST".into(), uri: "/containers/root/start".into(), ..call_without_body() };
    let answer = house.gate.request(Ok((call, start("root")))).await;
    assert_eq!(super::support::refused(&answer), "allow");
    let entry = house.journal.0.lock().unwrap().last().unwrap().clone();
    assert_eq!(entry.rules, ["user-root", "healthcheck"]);
    assert_eq!(entry.warnings, ["user-root: USER is not set, which is root", "healthcheck: it has no HEALTHCHECK"]);
    let metrics = house.gate.metrics();
    assert!(metrics.contains(r#"img_authz_rule_violations_total{rule="healthcheck",level="warn"} 1"#), "{metrics}");
}

#[tokio::test]
async fn tags_count_as_written_and_at_a_start_as_the_container_was_asked_for() {
    let house = house("tag-latest = \"deny\"\ntag-missing = \"deny\"", None);
    let notary = Notary::default()
        .with("r.example/good:latest", digest("good manifest"))
        .with("r.example/good:1", digest("good manifest"));
    let rules = Rules::Good { policy: ruled("tag-latest = \"deny\""), verifiers: vec![Arc::new(notary)], registry: None };
    house.gate.replace(rules);
    let both = Image {
        repo_tags: vec!["r.example/good:1".parse().unwrap(), "r.example/good:latest".parse().unwrap()],
        ..held("good", app("app"))
    };
    house.engine.put_image(both);
    for (name, says) in [
        ("r.example/good:1", "allow"),
        ("r.example/good:latest", "image-rule"),
        ("r.example/good", "image-rule"),
        (&format!("r.example/good@{}", digest("good manifest")), "image-rule"),
    ] {
        let found = house.says(&create(name)).await;
        // The fake knows one tag of a digest, the first: `latest` alone.
        assert_eq!(found, says, "{name}");
    }
    house.engine.put_container(Container {
        image_ref: "r.example/good".into(),
        ..container('c', "nameless", Some(digest("good config")))
    });
    assert_eq!(house.says(&start("nameless")).await, "image-rule");
    assert_eq!(house.says(&start("good")).await, "allow");
    assert_eq!(house.says(&pull("r.example/good:latest")).await, "image-rule");
    assert_eq!(house.says(&pull("r.example/good:1")).await, "allow");
}

fn config(user: &str) -> Vec<u8> {
    format!(r#"{{"os":"linux","architecture":"amd64","config":{{"User":"{user}"}}}}"#).into_bytes()
}

fn manifest(config: &[u8]) -> Vec<u8> {
    let (config, size) = (Digest::of(config), config.len());
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json",
            "digest":"{config}","size":{size}}},"layers":[]}}"#
    )
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_judged_by_what_the_registry_has_behind_the_digest() {
    let registry = Arc::new(registry::Fake::new());
    let mut notary = Notary::default();
    for (name, user) in [("good", "app"), ("root", "")] {
        let repository: Repository = format!("r.example/{name}").parse().unwrap();
        registry.push_blob(&repository, &config(user));
        let image = registry.push(&repository, None, &manifest(&config(user))).unwrap();
        let other = registry.push(&repository, None, &manifest(b"elsewhere")).unwrap();
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[
                {{"mediaType":"{OCI}","digest":"{other}","size":5,"platform":{{"architecture":"arm64","os":"linux"}}}},
                {{"mediaType":"{OCI}","digest":"{image}","size":5,"platform":{{"architecture":"amd64","os":"linux"}}}}]}}"#
        );
        let index = registry.push(&repository, None, index.as_bytes()).unwrap();
        notary = notary.with(&format!("r.example/{name}:1"), image).with(&format!("r.example/{name}:all"), index);
    }
    let house = house("user-root = \"deny\"", None);
    let rules = Rules::Good {
        policy: ruled("user-root = \"deny\""),
        verifiers: vec![Arc::new(notary)],
        registry: Some(registry.clone()),
    };
    house.gate.replace(rules);
    for (reference, says) in [
        ("r.example/good:1", "allow"),
        ("r.example/good:all", "allow"),
        ("r.example/root:1", "image-rule"),
        ("r.example/root:all", "image-rule"),
        ("r.example/root:2", "not-signed"),
    ] {
        assert_eq!(house.says(&pull(reference)).await, says, "{reference}");
    }
    // For another platform it is another configuration, which the registry has not.
    let call = |query: &str| Call {
        method: "POST".into(),
        uri: format!("/images/create?fromImage=r.example/good&tag=all{query}"),
        ..call_without_body()
    };
    for (query, says) in
        [("", "allow"), ("&platform=linux/amd64", "allow"), ("&platform=linux/arm64", "deny"), ("&platform=x", "deny")]
    {
        let call = call(query);
        let intent = Intent::of(&call);
        let verdict = house.gate.judge_request(&Request::of(&call, &intent)).await.verdict;
        let code = verdict.refusal().map_or("allow", |reason| reason.code());
        assert_eq!(code, if says == "allow" { "allow" } else { "image-config-unknown" }, "{query}");
    }
    // What was seen once is remembered: it cannot become other content.
    registry.fail_with(Some(RegistryError::Status { host: "r.example".into(), what: "x".into(), status: 503 }));
    assert_eq!(house.says(&pull("r.example/good:1")).await, "allow");
}

/// Bytes by digest may come from where the engine gets them; that a repository holds them, and what a tag is, only its registry says.
#[tokio::test(flavor = "multi_thread")]
async fn what_docker_hub_has_may_be_read_at_the_engines_mirror() {
    let registry = Arc::new(registry::Fake::new());
    let mut notary = Notary::default();
    let behind: Repository = "mirror.example:5000/library/good".parse().unwrap();
    registry.push_blob(&behind, &config("app"));
    let image = registry.push(&behind, Some(&"2".parse().unwrap()), &manifest(&config("app"))).unwrap();
    for name in ["docker.io/library/good:1", "r.example/library/good:1"] {
        notary = notary.with(name, image);
    }
    let notary = Arc::new(notary);
    let house = house("user-root = \"deny\"", None);
    let text = "version = 1\n[verifiers.notary]\ntype = \"notary\"\nserver = \"n.example\"\n[rules]\nuser-root = \"deny\"\n\
                [[scope]]\nmatch = \"**\"\nrequire = \"notary\"\n";
    let file = PolicyFile(vec![("/etc/x/policy.toml".into(), text.to_owned())]);
    let policy = file.read(Policy::closed(Posture::Images)).resolved.unwrap().policy;
    house.gate.replace(Rules::Good { policy, verifiers: vec![notary], registry: Some(registry.clone()) });
    // A mirror that the engine does not name is none.
    assert_eq!(house.says(&pull("r.example/library/good:1")).await, "image-config-unknown");
    house.engine.has_mirror("https://silent.example/");
    house.engine.has_mirror("https://mirror.example:5000/");
    assert_eq!(house.says(&pull("docker.io/library/good:1")).await, "allow");
    assert_eq!(house.says(&pull("r.example/library/good:1")).await, "image-config-unknown");
    let calls = registry.calls();
    assert!(calls.iter().all(|call| !call.starts_with("mirror.example") || call.contains("@sha256:")), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_cannot_tell_lets_nothing_in_that_a_rule_needs_it_for() {
    let registry = Arc::new(registry::Fake::new());
    let refusing = house("user-root = \"deny\"", Some(registry.clone()));
    assert_eq!(refusing.says(&pull("r.example/good:1")).await, "image-config-unknown");
    let without = house("user-root = \"deny\"", None);
    assert_eq!(without.says(&pull("r.example/good:1")).await, "image-config-unknown");
    let warning = house("user-root = \"warn\"", Some(registry.clone()));
    assert_eq!(warning.says(&pull("r.example/good:1")).await, "allow");
    // Nobody is asked where no rule needs it, or nobody vouches.
    let calls = registry.calls().len();
    let tags = house("tag-latest = \"deny\"", Some(registry.clone()));
    assert_eq!(tags.says(&pull("r.example/good:1")).await, "allow");
    assert_eq!(refusing.says(&pull("r.example/good:2")).await, "not-signed");
    assert_eq!(registry.calls().len(), calls);
}

/// Where the registry's word is enough nobody says which digest a tag is: it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_nobody_signs_is_judged_by_what_the_registry_has_under_it() {
    let text = "version = 1\n[verifiers.held]\ntype = \"registry\"\n[rules]\nuser-root = \"deny\"\n[[scope]]\nmatch = \"r.example/**\"\nrequire = \"held\"\n";
    let read = PolicyFile(vec![("/etc/x/policy.toml".into(), text.into())]).read(Policy::closed(Posture::Images));
    let registry = Arc::new(registry::Fake::new());
    for (name, user) in [("good", "app"), ("root", "0")] {
        let repository: Repository = format!("r.example/{name}").parse().unwrap();
        registry.push_blob(&repository, &config(user));
        registry.push(&repository, Some(&"1".parse().unwrap()), &manifest(&config(user))).unwrap();
    }
    let house = house("user-root = \"deny\"", None);
    let rules = Rules::Good { policy: read.resolved.unwrap().policy, verifiers: Vec::new(), registry: Some(registry) };
    house.gate.replace(rules);
    for (reference, says) in [("good:1", "allow"), ("root:1", "image-rule"), ("good:2", "image-config-unknown")] {
        assert_eq!(house.says(&pull(&format!("r.example/{reference}"))).await, says, "{reference}");
    }
}

/// In the containerd store an id is that of an index: the engine shows the image for its own platform, and runs the one asked for.
#[tokio::test]
async fn another_platform_than_the_engine_shows_is_not_known() {
    let house = house("user-root = \"deny\"", None);
    let index = Image { id: digest("good manifest"), store: Some(Store::Containerd), ..held("good", app("app")) };
    house.engine.remove_images();
    house.engine.put_image(index);
    let says = async |query: &str| {
        let call = Call { method: "POST".into(), uri: format!("/containers/create{query}"), ..call_without_body() };
        let intent = create("r.example/good:1");
        let verdict = house.gate.judge_request(&Request::of(&call, &intent)).await.verdict;
        verdict.refusal().map_or("allow", |reason| reason.code())
    };
    for query in ["", "?platform=", "?platform=linux/amd64"] {
        assert_eq!(says(query).await, "allow", "{query}");
    }
    for query in
        ["?platform=linux/arm64", "?platform=amd64", "?platform=linux/amd64&platform=linux/arm64", "?platform=linux%2Farm64"]
    {
        assert_eq!(says(query).await, "image-config-unknown", "{query}");
    }
    // Nor of a container that runs on another.
    for (platform, says) in [("linux/amd64", "allow"), ("linux/arm64", "image-config-unknown")] {
        let platform = Some(platform.parse().unwrap());
        house.engine.put_container(Container { platform, ..container('a', "good", Some(digest("good manifest"))) });
        assert_eq!(house.says(&start("good")).await, says);
    }
}

/// Engines show no annotations: the registry is asked for the manifest that is vouched for.
#[tokio::test(flavor = "multi_thread")]
async fn the_base_that_a_manifest_names_counts_at_create_too() {
    let registry = Arc::new(registry::Fake::new());
    let repository: Repository = "r.example/good".parse().unwrap();
    let annotated = |base: &str| {
        registry.push_blob(&repository, &config("app"));
        let text = String::from_utf8(manifest(&config("app"))).unwrap();
        let annotations = format!(r#""annotations":{{"org.opencontainers.image.base.name":"{base}"}},"layers""#);
        registry.push(&repository, None, text.replace("\"layers\"", &annotations).as_bytes()).unwrap()
    };
    let rules = "base-image = { allow = [\"r.example/base/*\"] }";
    for (base, says) in [("r.example/base/debian:12", "allow"), ("r.example/other:1", "image-rule")] {
        let digest = annotated(base);
        let house = house(rules, None);
        let notary = Arc::new(Notary::default().with("r.example/good:1", digest));
        house.gate.replace(Rules::Good { policy: ruled(rules), verifiers: vec![notary], registry: Some(registry.clone()) });
        house.engine.put_image(Image { repo_digests: vec![(repository.clone(), digest)], ..held("good", app("app")) });
        for intent in [create("r.example/good:1"), start("good"), pull("r.example/good:1")] {
            assert_eq!(house.says(&intent).await, says, "{base} {intent:?}");
        }
    }
    // Without the registry only what the image itself says counts.
    let house = house(rules, None);
    assert_eq!(house.says(&create("r.example/good:1")).await, "image-config-unknown");
    let labels = [("org.opencontainers.image.base.name".to_owned(), "r.example/base/debian:12".to_owned())].into();
    house.engine.put_image(held("good", ImageConfig { labels, ..app("app") }));
    assert_eq!(house.says(&create("r.example/good:1")).await, "allow");
}

#[tokio::test]
async fn secrets_in_the_history_are_found_and_it_is_asked_for_once() {
    let house = house("secrets = \"deny\"", None);
    let bad = ImageConfig { history: Some(vec!["COPY x".into(), "ENV DB_PASSWORD=hunter2".into()]), ..app("app") };
    house.engine.put_image(held("root", bad));
    assert_eq!(house.says(&create("r.example/good:1")).await, "allow");
    let refused = message(&house, &create("r.example/root:1")).await;
    assert!(refused.contains("line 2 of its history has `DB_PASSWORD`") && !refused.contains("hunter2"), "{refused}");
    let asked = || house.engine.calls().iter().filter(|call| call.starts_with("history")).count();
    assert_eq!(asked(), 2);
    house.says(&start("good")).await;
    assert_eq!(asked(), 2);
}
