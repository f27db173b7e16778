#![allow(clippy::string_slice, reason = "tests cut their own text")]

//! The journey with an engine and a verifier in memory: each yes beside its refusing fake.

mod rego;

use std::sync::Arc;
use std::time::Duration;

use super::approvals::Record;
use super::{Approvals, Gate, Identity, Limits, Own, OwnHost, Rules};
use crate::audit::{Event, MemoryJournal};
use crate::engine::{
    Container, EngineError, Fake, Http2, Image, ImageConfig, Network, Platform, Plugin, Service as EngineService, ServiceSpec,
    Store,
};
use crate::image::{Digest, ImageName, Reference, Repository};
use crate::policy::{AuditRule, Http2Rule, Mode, Policy, Posture, Verdict};
use crate::request::{Create, Intent, PluginCall, PluginChange, Pull, Pulled, Service, Start, StartAction};
use crate::trust::{Binding, Fake as Notary, TrustCode, TrustError, Verifier, VerifierName};
use crate::wire::{Answer, Call};

const GOOD: &str = "r.example/team/good:1";

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn policy(posture: Posture) -> Policy {
    Policy::of(posture, "r.example", &VerifierName::NOTARY, Binding::TagToDigest)
}

/// An image of the classic store: its id is `<name> config`, it was pulled as `<repository>@<name> manifest`.
fn image(name: &str, tags: &[&str], pulled: &[&str]) -> Image {
    Image {
        id: digest(&format!("{name} config")),
        store: Some(Store::Classic),
        repo_tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        repo_digests: pulled.iter().map(|from| (from.parse().unwrap(), digest(&format!("{name} manifest")))).collect(),
        created: None,
        platform: Platform::default(),
        layers: Vec::new(),
        config: ImageConfig::default(),
    }
}

fn container(id: char, name: &str, image: Option<Digest>) -> Container {
    Container {
        id: id.to_string().repeat(64).parse().unwrap(),
        name: name.to_owned(),
        image,
        manifest: None,
        image_ref: String::new(),
        mounts: Vec::new(),
        running: false,
        started_at: None,
    }
}

struct House {
    gate: Arc<Gate>,
    engine: Arc<Fake>,
    journal: Arc<MemoryJournal>,
}

/// A host with a signed image, an evil one, and a Notary that vouches for the signed one.
fn house() -> House {
    house_with(policy(Posture::Images), Notary::default().with(GOOD, digest("good manifest")))
}

fn house_with(policy: Policy, notary: Notary) -> House {
    let engine = Arc::new(Fake::new());
    engine.put_image(image("good", &[GOOD], &["r.example/team/good"]));
    engine.put_image(image("evil", &["evil.example/evil:1"], &["evil.example/evil"]));
    let journal = Arc::new(MemoryJournal::default());
    let rules = Rules::Good { policy, verifiers: vec![Arc::new(notary)] };
    let limits = Limits {
        decision: Duration::from_millis(400),
        name: Duration::from_millis(200),
        look: Duration::from_millis(200),
        after: Duration::from_millis(200),
        places: 64,
    };
    let workers = tokio::runtime::Handle::current();
    let gate = Gate::new(rules, engine.clone(), journal.clone(), Approvals::in_memory(), Identity::default(), workers);
    House { gate: Arc::new(gate.with_limits(limits)), engine, journal }
}

fn create(image: &str) -> Intent {
    Intent::Create(Box::new(Create {
        image: Some(ImageName::parse(image).unwrap()),
        name: None,
        image_mounts: Vec::new(),
        host_access: Vec::new(),
    }))
}

fn start(container: &str) -> Intent {
    Intent::Start(Start { container: container.to_owned(), action: StartAction::Start, extra: None })
}

fn pull(reference: &str) -> Intent {
    let reference: Reference = reference.parse().unwrap();
    let what = match (reference.digest, reference.tag) {
        (Some(digest), _) => Pulled::Digest(digest),
        (None, Some(tag)) => Pulled::Tag(tag),
        (None, None) => Pulled::AllTags,
    };
    Intent::Pull(Pull { repository: reference.repository, what })
}

impl House {
    /// `allow`, or the refusal's code.
    async fn says(&self, intent: &Intent) -> &'static str {
        match self.gate.judge(intent).await.verdict {
            Verdict::Allow(_) => "allow",
            Verdict::WouldDeny(reason) | Verdict::Deny(reason) => reason.code(),
        }
    }
}

#[tokio::test]
async fn pulls_are_judged_by_registry_tag_and_digest() {
    let house = house();
    let signed = format!("r.example/team/good@{}", digest("good manifest"));
    let unsigned = format!("r.example/team/good@{}", digest("evil manifest"));
    for (reference, says) in [
        (GOOD, "allow"),
        ("r.example/team/good:2", "not-signed"),
        ("r.example/team/other:1", "not-signed"),
        ("evil.example/team/good:1", "registry-not-allowed"),
        ("r.example/team/good", "pull-all-tags"),
        (&signed, "allow"),
        (&unsigned, "not-signed"),
    ] {
        assert_eq!(house.says(&pull(reference)).await, says, "{reference}");
    }
}

#[tokio::test]
async fn creates_are_bound_to_the_content_on_the_host() {
    let house = house();
    let config = digest("good config").to_string();
    let evil = digest("evil config").to_string();
    for (name, says) in [
        (GOOD, "allow"),
        (config.as_str(), "allow"),
        (&config["sha256:".len()..], "allow"),
        (&config[..20], "allow"),
        (&config["sha256:".len()..20], "allow"),
        (evil.as_str(), "registry-not-allowed"),
        ("evil.example/evil:1", "registry-not-allowed"),
        // Not on the host: judged by name, the engine answers 404 and the client pulls.
        ("r.example/team/good:2", "not-signed"),
        ("sha256:ffff", "image-unknown"),
    ] {
        assert_eq!(house.says(&create(name)).await, says, "{name}");
    }
}

#[tokio::test]
async fn a_retagged_image_is_not_what_its_name_says() {
    let house = house();
    house.engine.put_image(image("evil", &[GOOD], &["evil.example/evil"]));
    assert_eq!(house.says(&create(GOOD)).await, "content-mismatch");
    // Nor is a loaded one, which has no digest at all.
    house.engine.put_image(image("loaded", &[GOOD], &[]));
    assert_eq!(house.says(&create(GOOD)).await, "content-mismatch");
}

#[tokio::test]
async fn an_image_not_on_the_host_is_judged_by_name_so_that_it_can_be_pulled() {
    let house = house();
    house.engine.remove_images();
    assert_eq!(house.says(&create(GOOD)).await, "allow");
    assert_eq!(house.says(&create("r.example/team/good:9")).await, "not-signed");
}

#[tokio::test]
async fn in_the_containerd_store_the_id_is_the_digest() {
    let house = house();
    let mut stored = image("good", &[GOOD], &[]);
    stored.id = digest("good manifest");
    stored.store = Some(Store::Containerd);
    house.engine.put_image(stored);
    assert_eq!(house.says(&create(GOOD)).await, "allow");
    let mut stored = image("evil", &[GOOD], &["r.example/team/good"]);
    stored.id = digest("evil manifest");
    stored.store = Some(Store::Containerd);
    house.engine.put_image(stored);
    assert_eq!(house.says(&create(GOOD)).await, "content-mismatch");
    // RepoDigests follow the name there: they are no evidence of origin.
    assert_eq!(house.says(&create(&digest("evil manifest").to_string())).await, "not-signed");
}

/// The attack: the bytes of a signed manifest, loaded as a configuration, give an image whose id is that digest and whose layers
/// are others.
#[tokio::test]
async fn in_the_classic_store_an_id_is_no_digest_that_anybody_signed() {
    for store in [Some(Store::Classic), None] {
        let house = house();
        let mut evil = image("evil", &[GOOD], &[]);
        evil.id = digest("good manifest");
        // Where the image does not show its store, the engine (here: of the classic store) is asked.
        evil.store = store;
        house.engine.put_image(evil);
        let signed = digest("good manifest");
        for name in [GOOD.to_owned(), signed.to_string(), signed.hex()[..12].to_owned()] {
            assert_ne!(house.says(&create(&name)).await, "allow", "{name} {store:?}");
        }
        let mut made = container('a', "web", Some(signed));
        made.image_ref = GOOD.to_owned();
        house.engine.put_container(made);
        // A record that an earlier gate kept of such an approval does not help it, nor that the image is gone.
        house.gate.approvals.keep(&Record {
            image_id: signed,
            repository: "r.example/team/good".parse().unwrap(),
            digest: signed,
        });
        assert_eq!(house.says(&start("web")).await, "not-signed", "{store:?}");
        house.engine.remove_images();
        assert_eq!(house.says(&start("web")).await, "not-signed", "{store:?}");
        // Beside it: the same digest as a manifest, with the configuration that it names.
        house.engine.put_image(image("good", &[GOOD], &["r.example/team/good"]));
        assert_eq!(house.says(&create(GOOD)).await, "allow");
    }
}

#[tokio::test]
async fn an_allowlist_takes_a_digest_and_an_image_id_each_for_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("allowlist.json");
    let (manifest, config) = (digest("good manifest"), digest("local config"));
    let entries = serde_json::json!([
        { "digest": manifest, "references": ["r.example/team/good:1"] },
        { "image_id": config, "references": ["r.example/local:1"] },
    ]);
    std::fs::write(&path, serde_json::json!({ "version": 1, "entries": entries }).to_string()).unwrap();
    let rules = || Rules::Good {
        policy: Policy::of(Posture::Images, "r.example", &VerifierName::ALLOWLIST, Binding::Listed),
        verifiers: vec![Arc::new(crate::trust::allowlist::Allowlist::load(&path))],
    };
    let house = house();
    house.gate.replace(rules());
    house.engine.put_image(image("local", &["r.example/local:1"], &[]));
    assert_eq!(house.says(&create(GOOD)).await, "allow");
    assert_eq!(house.says(&create("r.example/local:1")).await, "allow");
    assert_eq!(house.says(&create(&config.to_string())).await, "allow");
    // Each as the other: a listed manifest loaded as a configuration; a listed configuration pulled as a manifest.
    let mut as_config = image("evil", &[GOOD], &[]);
    as_config.id = manifest;
    house.engine.put_image(as_config);
    assert_eq!(house.says(&create(GOOD)).await, "not-in-allowlist");
    assert_eq!(house.says(&create(&manifest.to_string())).await, "not-in-allowlist");
    assert_eq!(house.says(&pull(&format!("r.example/local@{config}"))).await, "not-in-allowlist");
    assert_eq!(house.says(&pull(&format!("r.example/team/good@{manifest}"))).await, "allow");
    let mut as_manifest = image("evil", &["r.example/local:1"], &[]);
    as_manifest.repo_digests = vec![("r.example/local".parse().unwrap(), config)];
    house.engine.put_image(as_manifest);
    assert_eq!(house.says(&create("r.example/local:1")).await, "not-in-allowlist");
    let mut in_containerd = image("evil", &["r.example/local:1"], &[]);
    (in_containerd.id, in_containerd.store) = (config, Some(Store::Containerd));
    house.engine.put_image(in_containerd);
    assert_eq!(house.says(&create("r.example/local:1")).await, "not-in-allowlist");
}

#[tokio::test]
async fn starts_are_judged_by_the_image_the_container_was_made_from() {
    let house = house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    house.engine.put_container(container('b', "bad", Some(digest("evil config"))));
    house.engine.put_container(container('c', "bare", None));
    let mut mounts = container('d', "mounts", Some(digest("good config")));
    mounts.mounts = vec!["evil.example/evil:1".to_owned()];
    house.engine.put_container(mounts);
    let mut pinned = container('e', "pinned", Some(digest("good config")));
    pinned.mounts = vec![digest("evil config").to_string()];
    house.engine.put_container(pinned);
    for (name, says) in [
        ("web", "allow"),
        (&"a".repeat(64), "allow"),
        ("bad", "registry-not-allowed"),
        ("bare", "no-image"),
        ("none", "container-unknown"),
        ("web/alias", "container-unknown"),
        ("mounts", "mount-needs-digest"),
        ("pinned", "registry-not-allowed"),
    ] {
        assert_eq!(house.says(&start(name)).await, says, "{name}");
    }
}

/// The engine falls back from names to beginnings of ids, and a container can lose its name without a call (`--rm`).
#[tokio::test]
async fn a_name_that_begins_another_containers_id_starts_nothing() {
    let house = house();
    house.engine.put_container(container('a', "bbb", Some(digest("good config"))));
    house.engine.put_container(container('c', "cc", Some(digest("good config"))));
    assert_eq!(house.says(&start("bbb")).await, "allow");
    let good = Container {
        id: format!("bbb{}", "c".repeat(61)).parse().unwrap(),
        ..container('b', "fine", Some(digest("good config")))
    };
    house.engine.put_container(good);
    assert_eq!(house.says(&start("bbb")).await, "allow", "what would start instead is as good");
    let id = format!("bbb{}", "c".repeat(61)).parse().unwrap();
    house.engine.put_container(Container { id, ..container('b', "bad", Some(digest("evil config"))) });
    assert_ne!(house.says(&start("bbb")).await, "allow");
    // One of two others can be removed before the engine looks.
    let id = format!("bbb{}", "d".repeat(61)).parse().unwrap();
    house.engine.put_container(Container { id, ..container('b', "fine", Some(digest("good config"))) });
    assert_ne!(house.says(&start("bbb")).await, "allow");
    let rename = Call::decode(
        br#"{"RequestMethod":"POST","RequestUri":"/containers/bbb/rename?name=x","RequestHeaders":{"Content-Length":"0"}}"#,
    )
    .unwrap();
    let intent = Intent::of(&rename);
    let Answer::Deny(message) = house.gate.request(Ok((rename, intent))).await else { panic!() };
    assert!(message.starts_with("request-unreadable"), "{message}");
    for sure in ["a".repeat(64).as_str(), "aaa", "cc"] {
        assert_eq!(house.says(&start(sure)).await, "allow", "{sure}");
    }
}

#[tokio::test]
async fn a_removal_waits_for_no_start() {
    let house = house();
    house.engine.put_container(container('a', "db", Some(digest("good config"))));
    house.engine.put_container(container('c', "c", Some(digest("good config"))));
    let call =
        |method: &str, uri: &str| Call::decode(format!(r#"{{"RequestMethod":"{method}","RequestUri":"{uri}"}}"#).as_bytes());
    for (method, uri) in
        [("POST", "/containers/db/restart"), ("DELETE", "/containers/other"), ("POST", "/containers/c/rename?name=xy")]
    {
        let call = call(method, uri).unwrap();
        let intent = Intent::of(&call);
        assert_eq!(house.gate.request(Ok((call, intent))).await, Answer::Allow, "{uri}");
    }
}

/// Nobody typed the repository that an id's content is traced to.
#[tokio::test]
async fn a_refusal_by_id_names_the_id_that_was_typed_beside_the_repository_asked() {
    let house = house_with(policy(Posture::Images), Notary::default());
    let id = digest("good config");
    let held = container('a', "web", Some(id));
    let typed = held.id.to_string();
    house.engine.put_container(held);
    let message = |verdict: Verdict| verdict.refusal().unwrap().message();
    for (intent, named) in
        [(create(&id.to_string()), id.to_string()), (start(&typed), typed.clone()), (start("web"), "web".into())]
    {
        let told = message(house.gate.judge(&intent).await.verdict);
        let shown: String = named.chars().take(19).collect();
        assert!(told.starts_with(&format!("not-signed: `{shown}")), "{told}");
        assert!(told.contains("`r.example/team/good`"), "{told}");
        assert!(told.chars().count() < 300, "{told}");
    }
    // By its own name nothing else is said.
    let told = message(house.gate.judge(&create(GOOD)).await.verdict);
    assert!(told.starts_with(&format!("not-signed: `{GOOD}`: ")), "{told}");
}

/// The mark passes what the gate itself calls, and nothing beside it.
#[tokio::test]
async fn the_gates_own_mark_passes_reads_and_kills_by_full_id_alone() {
    let house = house_with(policy(Posture::Lockdown), Notary::default());
    let id = "a".repeat(64);
    for (method, uri, ours) in [
        ("GET", "/v1.41/images/x/json".to_owned(), true),
        ("HEAD", "/_ping".to_owned(), true),
        ("POST", format!("/containers/{id}/kill"), true),
        ("POST", format!("/v1.41/containers/{id}/kill"), true),
        ("GET", "/containers/web/attach/ws".to_owned(), false),
        ("OPTIONS", "/info".to_owned(), false),
        ("POST", "/containers/web/kill".to_owned(), false),
        ("POST", format!("/containers/{id}x/kill"), false),
        ("POST", format!("/containers/{id}/kill?signal=HUP"), false),
        ("POST", format!("/x/containers/{id}/kill"), false),
        ("POST", format!("/containers/{id}/start"), false),
        ("POST", "/containers/create".to_owned(), false),
        ("POST", "/images/load".to_owned(), false),
        ("DELETE", format!("/containers/{id}"), false),
    ] {
        let mut call = Call { method: method.to_owned(), uri: uri.clone(), ..call_without_body() };
        call.headers.insert(crate::engine::CALL_HEADER.to_owned(), crate::engine::own_mark());
        let intent = Intent::of(&call);
        assert_eq!(super::is_ours(&call, &intent), ours, "{method} {uri}");
        let refused = matches!(house.gate.request(Ok((call, intent))).await, Answer::Deny(_));
        assert!(!(ours && refused), "{method} {uri}");
        let would_be = ["start", "create", "load"].iter().any(|end| uri.ends_with(end));
        assert!(refused || !would_be, "{method} {uri}");
    }
}

#[tokio::test]
async fn an_approved_container_starts_when_its_image_has_lost_every_name() {
    let house = house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    house.engine.remove_images();
    assert_eq!(house.says(&start("web")).await, "image-unapproved");
    house.engine.put_image(image("good", &[GOOD], &["r.example/team/good"]));
    let Verdict::Allow(permit) = house.gate.judge(&create(GOOD)).await.verdict else { panic!() };
    permit.approvals().iter().for_each(|approval| house.gate.keep(approval));
    house.engine.remove_images();
    assert_eq!(house.says(&start("web")).await, "allow");
    // The record says what to ask about; it is no yes of its own.
    house.gate.replace(Rules::Good { policy: policy(Posture::Images), verifiers: vec![Arc::new(Notary::default())] });
    assert_eq!(house.says(&start("web")).await, "not-signed");
}

#[tokio::test]
async fn what_cannot_be_found_out_is_refused() {
    let house = house();
    house.engine.fail_with(Some(EngineError::Timeout { call: "GET /images".into() }));
    assert_eq!(house.says(&create(GOOD)).await, "engine-unreachable");
    // A container that does not answer may be held by a client; an engine that does not is away.
    assert_eq!(house.says(&start("web")).await, "container-busy");
    house.engine.fail_with(Some(EngineError::Unreachable { socket: String::new(), cause: String::new() }));
    assert_eq!(house.says(&start("web")).await, "engine-unreachable");
    let hanging = house_with(policy(Posture::Images), Notary { hangs: true, ..Notary::default() });
    assert_eq!(hanging.says(&pull(GOOD)).await, "deadline");
    let failure = Some(TrustError::new(TrustCode::Unreachable, "no route"));
    let failing = house_with(policy(Posture::Images), Notary { failure, ..Notary::default() });
    assert_eq!(failing.says(&pull(GOOD)).await, "trust-unreachable");
    house.gate.replace(Rules::Good { policy: policy(Posture::Images), verifiers: Vec::new() });
    assert_eq!(house.says(&pull(GOOD)).await, "trust-misconfigured");
}

/// A reload that meets a half-written `config.json` finds no good rules, also not by the last good settings.
#[tokio::test]
async fn good_rules_are_never_replaced_by_none() {
    let house = house();
    let none = || Rules::Faulty { fault: "DOCKER_CONFIG: x".into(), posture: Posture::Images };
    assert!(!house.gate.replace(none()));
    assert_eq!(house.says(&pull(GOOD)).await, "allow");
    assert_eq!(house.says(&pull("r.example/team/evil:1")).await, "not-signed");
    // A gate that never had good rules goes on refusing, and takes good ones when they come.
    house.gate.rules.store(Arc::new(none()));
    assert!(house.gate.replace(none()));
    assert_eq!(house.says(&pull(GOOD)).await, "setting-fault");
    assert!(house.gate.replace(Rules::Good { policy: policy(Posture::Images), verifiers: Vec::new() }));
    assert_eq!(house.says(&pull(GOOD)).await, "trust-misconfigured");
}

#[tokio::test]
async fn faulty_settings_refuse_images_and_nothing_else() {
    let house = house();
    house.gate.rules.store(Arc::new(Rules::Faulty { fault: "REGISTRY: x".into(), posture: Posture::Images }));
    assert_eq!(house.says(&pull(GOOD)).await, "setting-fault");
    assert_eq!(house.says(&start("web")).await, "setting-fault");
    assert_eq!(house.says(&Intent::Read).await, "allow");
    assert_eq!(house.says(&Intent::Harmless).await, "allow");
    let set = PluginCall::Change { plugin: "img-authz".into(), change: PluginChange::Set };
    assert_eq!(house.says(&Intent::Plugin(set.clone())).await, "allow");
    house.gate.replace(Rules::Faulty { fault: "REGISTRY: x".into(), posture: Posture::Lockdown });
    assert_eq!(house.says(&Intent::Read).await, "allow");
    assert_eq!(house.says(&Intent::Harmless).await, "allow");
    assert_eq!(house.says(&start("web")).await, "setting-fault");
    assert_eq!(house.says(&Intent::Swarm).await, "posture-forbids");
    assert_eq!(house.says(&Intent::Plugin(set)).await, "posture-forbids");
}

#[tokio::test]
async fn services_are_pinned_and_a_rollback_acts_on_the_previous_specification() {
    let house = house();
    let signed = format!("r.example/team/good:1@{}", digest("good manifest"));
    let unsigned = format!("r.example/team/good:1@{}", digest("evil manifest"));
    let spec = |image: &str| {
        Intent::Service(Service::Spec {
            image: Some(ImageName::parse(image).unwrap()),
            image_mounts: Vec::new(),
            plugin: None,
            host_access: Vec::new(),
            networks: Vec::new(),
        })
    };
    for (image, says) in [(signed.as_str(), "allow"), (&unsigned, "not-signed"), (GOOD, "service-needs-digest")] {
        assert_eq!(house.says(&spec(image)).await, says, "{image}");
        let previous = Some(ServiceSpec { image: Some(image.to_owned()), ..ServiceSpec::default() });
        house.engine.put_service(EngineService { id: says.to_owned(), spec: ServiceSpec::default(), previous });
        let rollback = Intent::Service(Service::Rollback { service: says.to_owned() });
        assert_eq!(house.says(&rollback).await, says, "{image}");
    }
    assert_eq!(house.says(&Intent::Service(Service::Rollback { service: "none".into() })).await, "service-unknown");
}

#[tokio::test]
async fn in_lockdown_a_service_is_in_networks_that_are_none_of_the_hosts() {
    let house = house();
    let hexes = |hex: &str| hex.repeat(64);
    let (swarm, like_an_id) = ("k".repeat(25), "h".repeat(25));
    for (id, name, driver, scope) in [
        (hexes("a"), "host", "host", "local"),
        (hexes("b"), "bridge", "bridge", "local"),
        (hexes("c"), "plain", "bridge", "local"),
        (swarm.clone(), "stack_default", "overlay", "swarm"),
        ("m".repeat(25), like_an_id.as_str(), "overlay", "swarm"),
    ] {
        let text = str::to_owned;
        house.engine.put_network(Network { id, name: text(name), driver: text(driver), scope: text(scope) });
    }
    let policy = |host_access: &[&str]| Policy {
        host_access: host_access.iter().map(|rule| rule.parse().unwrap()).collect(),
        ..policy(Posture::Lockdown)
    };
    let put = |policy: Policy| {
        let verifiers: Vec<Arc<dyn Verifier>> = vec![Arc::new(Notary::default().with(GOOD, digest("good manifest")))];
        house.gate.replace(Rules::Good { policy, verifiers });
    };
    let spec = |network: &str| {
        Intent::Service(Service::Spec {
            image: Some(ImageName::parse(&format!("{GOOD}@{}", digest("good manifest"))).unwrap()),
            image_mounts: Vec::new(),
            plugin: None,
            host_access: Vec::new(),
            networks: vec![network.to_owned()],
        })
    };
    // In posture `images` nobody asks.
    assert_eq!(house.says(&spec(&hexes("a"))).await, "allow");
    for (network, shut, open) in [
        (hexes("a").as_str(), "host-access", "allow"),
        (&hexes("a")[..12], "host-access", "allow"),
        (&hexes("b"), "allow", "allow"),
        ("bridge", "allow", "allow"),
        (&hexes("c"), "allow", "allow"),
        // The engine might find a network of the swarm by these.
        ("plain", "host-access", "host-access"),
        (&hexes("c")[..12], "host-access", "host-access"),
        (&like_an_id, "host-access", "host-access"),
        ("k", "host-access", "host-access"),
        ("elsewhere", "host-access", "host-access"),
        ("stack_default", "allow", "allow"),
        (&swarm, "allow", "allow"),
    ] {
        put(policy(&[]));
        assert_eq!(house.says(&spec(network)).await, shut, "{network}");
        put(policy(&["namespace=network:host"]));
        assert_eq!(house.says(&spec(network)).await, open, "{network}");
    }
    house.engine.fail_with(Some(EngineError::Timeout { call: "GET /networks/x".into() }));
    assert_eq!(house.says(&spec("bridge")).await, "engine-unreachable");
}

#[tokio::test]
async fn plugins_come_by_digest_and_never_in_the_gates_place() {
    let house = house();
    let install = |remote: &str, name: Option<&str>| {
        let name = name.map(|name| name.parse().unwrap());
        Intent::Plugin(PluginCall::Pull { remote: remote.parse().unwrap(), name })
    };
    let signed = format!("r.example/team/good@{}", digest("good manifest"));
    assert_eq!(house.says(&install(&signed, None)).await, "allow");
    assert_eq!(house.says(&install(GOOD, None)).await, "plugin-needs-digest");
    assert_eq!(house.says(&install("evil.example/p:1", None)).await, "plugin-needs-digest");
    let identity = Identity::of_process(std::path::Path::new("/run/docker/plugins/img-authz.sock"));
    let engine = Arc::new(Fake::new());
    engine.put_plugin(Plugin { id: "f".repeat(64), name: "other:latest".into(), enabled: true, ..Plugin::default() });
    let rules = |posture| Rules::Good {
        policy: policy(posture),
        verifiers: vec![Arc::new(Notary::default().with(GOOD, digest("good manifest")))],
    };
    let workers = tokio::runtime::Handle::current();
    let journal = Arc::new(MemoryJournal::default());
    let gate = Gate::new(rules(Posture::Images), engine.clone(), journal.clone(), Approvals::in_memory(), identity, workers);
    let house = House { gate: Arc::new(gate), engine, journal };
    assert_eq!(house.says(&install(&signed, Some("img-authz"))).await, "self-protect");
    let change = |plugin: &str, change| Intent::Plugin(PluginCall::Change { plugin: plugin.to_owned(), change });
    assert_eq!(house.says(&change("img-authz:latest", PluginChange::Disable)).await, "allow");
    // The daemon refuses to remove it while it is enabled; with force it would be gone, and the audit log with it.
    assert_eq!(house.says(&change("img-authz:latest", PluginChange::Remove)).await, "allow");
    assert_eq!(house.says(&change("img-authz:latest", PluginChange::RemoveByForce)).await, "self-protect");
    assert_eq!(house.says(&change("other", PluginChange::RemoveByForce)).await, "allow");
    house.gate.replace(rules(Posture::Lockdown));
    assert_eq!(house.says(&change("img-authz:latest", PluginChange::Disable)).await, "self-protect");
    assert_eq!(house.says(&change("other", PluginChange::Disable)).await, "posture-forbids");
}

/// A gate that is the managed plugin `own/gate:1`, on an engine with another plugin beside it.
fn managed(posture: Posture) -> House {
    let engine = Arc::new(Fake::new());
    let id = format!("5a{}", "0".repeat(62));
    engine.put_plugin(Plugin {
        id: id.clone(),
        name: "own/gate:1".into(),
        enabled: true,
        digest: Some(digest("own")),
        ..Plugin::default()
    });
    engine.put_plugin(Plugin {
        id: "b".repeat(64),
        name: "other:latest".into(),
        enabled: true,
        digest: Some(digest("other")),
        ..Plugin::default()
    });
    let rules =
        Rules::Good { policy: policy(posture), verifiers: vec![Arc::new(Notary::default().with(GOOD, digest("good manifest")))] };
    let journal = Arc::new(MemoryJournal::default());
    let workers = tokio::runtime::Handle::current();
    let gate = Gate::new(rules, engine.clone(), journal.clone(), Approvals::in_memory(), Identity::managed(&id), workers);
    House { gate: Arc::new(gate), engine, journal }
}

/// What a client sends, read as dockerd posts it.
fn sent(method: &str, uri: &str) -> Intent {
    Intent::of(&Call { method: method.into(), uri: uri.into(), ..call_without_body() })
}

#[tokio::test]
async fn in_lockdown_the_gate_is_not_touched_under_any_of_its_names() {
    let house = managed(Posture::Lockdown);
    let whole = format!("5a{}", "0".repeat(62));
    let remote = format!("remote=r.example/team/good@{}", digest("good manifest"));
    let mine = [
        "own/gate:1",
        "docker.io/own/gate:1",
        "index.docker.io/own/gate:1",
        &whole,
        "5a00",
        "5",
        // Decoded once, as the router does.
        "own%2fgate%3a1",
        "%6fwn/g%61te:1",
        "%35a00",
    ];
    for (names, says) in [(&mine[..], "self-protect"), (&["other", "own/gate", "own/gate:2", "bbbb", "5b"], "posture-forbids")] {
        for name in names {
            for (method, uri) in [
                ("POST", format!("/v1.41/plugins/{name}/disable?force=1")),
                ("POST", format!("/plugins/{name}/set")),
                ("POST", format!("/plugins/{name}/enable?timeout=0")),
                ("POST", format!("/v1.41/plugins/{name}/upgrade?{remote}")),
                ("DELETE", format!("/plugins/{name}?force=1")),
                ("DELETE", format!("http://docker/v1.24/plugins/{name}")),
            ] {
                assert_eq!(house.says(&sent(method, &uri)).await, says, "{method} {uri}");
            }
        }
    }
}

#[tokio::test]
async fn no_plugin_takes_the_gates_name_in_any_posture() {
    let signed = format!("r.example/team/good@{}", digest("good manifest"));
    for (posture, otherwise) in [(Posture::Images, "allow"), (Posture::Lockdown, "posture-forbids")] {
        let house = managed(posture);
        for (uri, says) in [
            ("/plugins/create?name=own/gate:1".to_owned(), "self-protect"),
            ("/plugins/create?name=own%2Fgate:1".to_owned(), "self-protect"),
            ("/plugins/create?name=own/gate:2".to_owned(), otherwise),
            (format!("/plugins/pull?remote={signed}&name=own/gate:1"), "self-protect"),
            (format!("/plugins/pull?remote={signed}&name=docker.io%2fown%2fgate:1"), "self-protect"),
            (format!("/plugins/pull?remote={signed}&name=own/gate"), otherwise),
            (format!("/plugins/pull?remote={signed}"), otherwise),
            ("/plugins/pull?remote=own/gate:1".to_owned(), "self-protect"),
            (format!("/plugins/own/gate:1/upgrade?remote={signed}"), "self-protect"),
            (format!("/plugins/5a/upgrade?remote={signed}"), "self-protect"),
            (format!("/plugins/other/upgrade?remote={signed}"), otherwise),
        ] {
            assert_eq!(house.says(&sent("POST", &uri)).await, says, "{uri} in {posture:?}");
        }
    }
}

#[tokio::test]
async fn in_posture_images_the_gate_is_reconfigured_and_that_is_recorded() {
    let house = managed(Posture::Images);
    for (method, uri) in [
        ("POST", "/plugins/own/gate:1/disable"),
        ("POST", "/plugins/5a00/set"),
        ("POST", "/plugins/own/gate:1/enable"),
        ("DELETE", "/plugins/own%2fgate:1"),
    ] {
        assert_eq!(house.lives(method, uri).await, Answer::Allow, "{uri}");
        house.ends(method, uri).await;
    }
    let entries = house.journal.0.lock().unwrap();
    assert!(entries.iter().all(|entry| entry.event == Event::Gate) && entries.len() == 4, "{entries:?}");
}

fn call_without_body() -> Call {
    Call {
        user: String::new(),
        user_authn_method: String::new(),
        method: String::new(),
        uri: String::new(),
        headers: [("Content-Length".to_owned(), "0".to_owned())].into(),
        body: None,
        outcome: None,
    }
}

#[tokio::test]
async fn a_gate_that_cannot_learn_its_name_lets_no_plugin_in() {
    let house = managed(Posture::Images);
    house.engine.fail_with(Some(EngineError::Timeout { call: "GET /plugins".into() }));
    let signed = format!("r.example/team/good@{}", digest("good manifest"));
    for uri in ["/plugins/create?name=x".to_owned(), format!("/plugins/pull?remote={signed}")] {
        assert_eq!(house.says(&sent("POST", &uri)).await, "engine-unreachable", "{uri}");
    }
    // Settings can still be corrected; with force nothing is removed.
    assert_eq!(house.says(&sent("POST", "/plugins/x/disable")).await, "allow");
    assert_eq!(house.says(&sent("DELETE", "/plugins/x")).await, "allow");
    assert_eq!(house.says(&sent("DELETE", "/plugins/x?force=1")).await, "engine-unreachable");
    house.engine.fail_with(None);
    assert_eq!(house.says(&sent("POST", "/plugins/create?name=x")).await, "allow");
}

#[tokio::test]
async fn a_name_is_not_moved_between_the_look_and_the_start() {
    let house = house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    let call = |method: &str, uri: &str| Call {
        user: String::new(),
        user_authn_method: String::new(),
        method: method.into(),
        uri: uri.into(),
        headers: [("Content-Length".to_owned(), "0".to_owned())].into(),
        body: None,
        outcome: None,
    };
    house.engine.put_container(container('b', "b", Some(digest("good config"))));
    let started = call("POST", "/v1.41/containers/web/start");
    assert_eq!(house.gate.request(Ok((started.clone(), start("web")))).await, Answer::Allow);
    let rename =
        || Ok((call("POST", "/containers/b/rename?name=web"), Intent::Rename { container: "b".into(), name: "web".into() }));
    let Answer::Deny(message) = house.gate.request(rename()).await else { panic!() };
    assert!(message.starts_with("name-busy"), "{message}");
    assert!(house.gate.leases.end("POST /v1.41/containers/web/start").is_some());
    // The name is another container's: the engine would wait, and give it once it is free.
    let Answer::Deny(message) = house.gate.request(rename()).await else { panic!() };
    assert!(message.starts_with("name-taken"), "{message}");
    house.engine.rename(&"a".repeat(64).parse().unwrap(), "old");
    assert_eq!(house.gate.request(rename()).await, Answer::Allow);
    // Until it is given, nothing starts by it; the full id does.
    let Answer::Deny(message) = house.gate.request(Ok((started.clone(), start("web")))).await else { panic!() };
    assert!(message.starts_with("name-busy"), "{message}");
    let id = "a".repeat(64);
    assert_eq!(house.gate.request(Ok((call("POST", &format!("/containers/{id}/start")), start(&id)))).await, Answer::Allow);
    house
        .gate
        .response(&Call {
            outcome: Some(crate::wire::Outcome { status: 204, body: None }),
            ..call("POST", "/containers/b/rename?name=web")
        })
        .await;
    house.engine.put_container(container('b', "web", Some(digest("good config"))));
    assert_eq!(house.gate.request(Ok((started, start("web")))).await, Answer::Allow);
}

#[tokio::test]
async fn refusals_and_images_are_recorded_and_mode_permissive_lets_pass() {
    let house = house();
    let call = Call::decode(br#"{"RequestMethod":"POST","RequestUri":"/images/create?fromImage=x","User":"u"}"#).unwrap();
    let answer = house.gate.request(Ok((call.clone(), pull("evil.example/x:1")))).await;
    let Answer::Deny(message) = answer else { panic!() };
    assert!(message.starts_with("registry-not-allowed: registry `evil.example`"), "{message}");
    assert_eq!(house.gate.request(Ok((call.clone(), Intent::Read))).await, Answer::Allow);
    assert_eq!(house.gate.request(Ok((call.clone(), pull(GOOD)))).await, Answer::Allow);
    let audited = Policy { mode: Mode::Permissive, ..policy(Posture::Images) };
    house.gate.replace(Rules::Good { policy: audited, verifiers: Vec::new() });
    assert_eq!(house.gate.request(Ok((call, pull("evil.example/x:1")))).await, Answer::Allow);
    let entries = house.journal.0.lock().unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.event, entry.code, entry.enforced)).collect();
    assert_eq!(
        seen,
        [
            (Event::Blocked, "registry-not-allowed", true),
            (Event::Allowed, "", true),
            (Event::Blocked, "registry-not-allowed", false),
        ]
    );
    assert_eq!((entries[0].user.as_str(), entries[0].path.as_str()), ("u", "/images/create"));
    assert_eq!(entries[1].signers, ["alice"]);
}

#[tokio::test]
async fn a_pull_that_brought_other_content_is_recorded() {
    // As dockerd 20.10.24 shows the end of a pull: without a status, since the answer was streamed.
    let ended = |status: &str| {
        let text = format!(
            r#"{{"RequestMethod":"POST","RequestUri":"/v1.41/images/create?fromImage=r.example%2Fteam%2Fgood&tag=1",
            "RequestHeaders":{{"Content-Length":"0"}}{status}}}"#
        );
        Call::decode(text.as_bytes()).unwrap()
    };
    let house = house();
    let mismatches = || house.journal.0.lock().unwrap().iter().filter(|entry| entry.event == Event::Mismatch).count();
    house.gate.after(&ended("")).await;
    assert_eq!(mismatches(), 0, "what is vouched for has arrived");
    house.engine.put_image(image("evil", &[GOOD], &["r.example/team/good"]));
    house.gate.after(&ended(r#","ResponseStatusCode":500"#)).await;
    assert_eq!(mismatches(), 0, "nothing has arrived");
    house.gate.after(&ended("")).await;
    assert_eq!(mismatches(), 1);
}

/// A pull that failed has no status, either: on older engines once its answer had begun, on those from 29.2 on always.
#[tokio::test]
async fn a_pull_that_brought_nothing_is_no_mismatch() {
    let house = house();
    let text = r#"{"RequestMethod":"POST","RequestUri":"/v1.56/images/create?fromImage=r.example%2Fteam%2Fgood&tag=1",
        "RequestHeaders":{"Content-Length":"0"}}"#;
    let call = Call::decode(text.as_bytes()).unwrap();
    let mismatches = || house.journal.0.lock().unwrap().iter().filter(|entry| entry.event == Event::Mismatch).count();
    // The signed tag has moved on, and the host holds what it was signed as before.
    house.engine.put_image(image("old", &[GOOD], &["r.example/team/good"]));
    assert_eq!(house.gate.request(Ok((call.clone(), pull(GOOD)))).await, Answer::Allow);
    house.gate.response(&call).await;
    assert_eq!(mismatches(), 0);
    assert_eq!(house.gate.request(Ok((call.clone(), pull(GOOD)))).await, Answer::Allow);
    house.engine.put_image(image("evil", &[GOOD], &["r.example/team/good"]));
    house.gate.response(&call).await;
    assert_eq!(mismatches(), 1);
}

#[tokio::test]
async fn many_other_names_do_not_push_the_one_that_vouches_out() {
    let house = house();
    let mut stored = image("good", &[], &[]);
    stored.repo_digests = (0..40)
        .map(|number| (format!("evil.example/x{number}").parse::<Repository>().unwrap(), digest("good manifest")))
        .chain([("r.example/team/good".parse().unwrap(), digest("good manifest"))])
        .collect();
    house.engine.put_image(stored);
    assert_eq!(house.says(&create(&digest("good config").to_string())).await, "allow");
}

#[tokio::test]
async fn a_container_made_of_other_content_than_was_judged_is_recorded() {
    let house = house();
    let image = digest("good config");
    house.engine.put_container(container('a', "web", Some(image)));
    house.engine.put_container(container('b', "bad", Some(digest("evil config"))));
    let Verdict::Allow(permit) = house.gate.judge(&create(GOOD)).await.verdict else { panic!() };
    permit.approvals().iter().for_each(|approval| house.gate.keep(approval));
    for id in ["a", "b"] {
        let call = Call {
            user: String::new(),
            user_authn_method: String::new(),
            method: "POST".into(),
            uri: "/containers/create".into(),
            headers: [("Content-Type".to_owned(), "application/json".to_owned())].into(),
            body: Some(br#"{"Image":"r.example/team/good:1"}"#.to_vec()),
            outcome: Some(crate::wire::Outcome {
                status: 201,
                body: Some(format!(r#"{{"Id":"{}"}}"#, id.repeat(64)).into_bytes()),
            }),
        };
        house.gate.response(&call).await;
    }
    let entries = house.journal.0.lock().unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.event, entry.container_id.chars().next())).collect();
    assert_eq!(seen, [(Event::Created, Some('a')), (Event::Mismatch, Some('b'))]);
}

fn started_call(status: Option<u16>) -> Call {
    let text = r#"{"RequestMethod":"POST","RequestUri":"/containers/web/start","RequestHeaders":{"Content-Length":"0"}}"#;
    let outcome = status.map(|status| crate::wire::Outcome { status, body: None });
    Call { outcome, ..Call::decode(text.as_bytes()).unwrap() }
}

/// The gate was restarted between the question and the end.
#[tokio::test(start_paused = true)]
async fn a_start_whose_lease_is_gone_kills_only_what_it_started_and_nobody_approves() {
    let now = crate::clock::now();
    let long_ago = now.checked_sub(jiff::SignedDuration::from_hours(1)).unwrap();
    for (image, running, started_at, kills) in [
        ("evil config", true, now, 1),
        ("good config", true, now, 0),
        ("evil config", false, now, 0),
        ("evil config", true, long_ago, 0),
    ] {
        let house = house();
        let started = Container { running, started_at: Some(started_at), ..container('a', "web", Some(digest(image))) };
        house.engine.put_container(started);
        house.gate.response(&started_call(Some(204))).await;
        assert_eq!(house.engine.killed().len(), kills, "{image} {running} {started_at}");
    }
    let failure = Some(TrustError::new(TrustCode::Unreachable, "no route"));
    let house = house_with(policy(Posture::Images), Notary { failure, ..Notary::default() });
    let started = Container { running: true, started_at: Some(now), ..container('a', "web", Some(digest("good config"))) };
    house.engine.put_container(started);
    let record = Record {
        image_id: digest("good config"),
        repository: "r.example/team/good".parse().unwrap(),
        digest: digest("good manifest"),
    };
    house.gate.approvals.keep(&record);
    house.gate.response(&started_call(Some(204))).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(house.engine.killed().is_empty());
}

/// A client names its image in an allowed repository, whose verifier cannot answer: the judgement cannot be made.
#[tokio::test(start_paused = true)]
async fn what_nothing_ever_approved_is_killed_though_it_cannot_be_judged() {
    let failure = Some(TrustError::new(TrustCode::Unreachable, "no route"));
    let house = house_with(policy(Posture::Images), Notary { failure, ..Notary::default() });
    let mut evil = image("evil", &["r.example/team/good:1"], &[]);
    evil.id = digest("evil config");
    house.engine.put_image(evil);
    let now = crate::clock::now();
    let began = Container { running: true, started_at: Some(now), ..container('a', "web", Some(digest("evil config"))) };
    house.engine.put_container(began);
    house.gate.response(&started_call(Some(204))).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(house.engine.killed().len(), 1);
}

/// The name came to mean another container after the look, and lost it again before the end: 4 of 4 tries on a real engine.
#[tokio::test]
async fn what_began_in_place_of_the_judged_container_is_killed_under_whatever_name() {
    let evil = |running| Container {
        running,
        started_at: Some(crate::clock::now()),
        ..container('e', "elsewhere", Some(digest("evil config")))
    };
    for (status, running, events) in [
        (Some(204), true, vec![Event::Killed]),
        // No status: the handler failed, by the engine's own account.
        (None, true, vec![Event::Killed]),
        (Some(500), true, vec![Event::Killed]),
        // It ended by itself; that it ran is recorded.
        (Some(204), false, vec![Event::Mismatch]),
        (Some(304), true, vec![]),
    ] {
        let house = house();
        house.engine.put_container(container('a', "web", Some(digest("good config"))));
        let asked = house.gate.request(Ok((started_call(None), start("web")))).await;
        assert_eq!(asked, Answer::Allow);
        house.engine.put_container(evil(running));
        house.gate.response(&started_call(status)).await;
        let entries = house.journal.0.lock().unwrap();
        let seen: Vec<_> = entries.iter().map(|entry| entry.event).filter(|event| *event != Event::Allowed).collect();
        assert_eq!(seen, events, "{status:?} {running}");
        assert_eq!(house.engine.killed().len(), usize::from(events == [Event::Killed]));
    }
    // Another call has started the judged one meanwhile, so that it begins and this call starts another.
    let house = house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    assert_eq!(house.gate.request(Ok((started_call(None), start("web")))).await, Answer::Allow);
    let id = "a".repeat(64);
    assert_eq!(house.gate.request(Ok((started_call(None), start(&id)))).await, Answer::Allow);
    let begun =
        Container { running: true, started_at: Some(crate::clock::now()), ..container('a', "web", Some(digest("good config"))) };
    house.engine.put_container(begun);
    house.engine.put_container(evil(true));
    house.gate.response(&started_call(Some(204))).await;
    assert_eq!(house.engine.killed().len(), 1);
    // The judged one began, as its restart policy or an earlier start would have it; so did another.
    let house = self::house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    assert_eq!(house.gate.request(Ok((started_call(None), start("web")))).await, Answer::Allow);
    let begun =
        Container { running: true, started_at: Some(crate::clock::now()), ..container('a', "web", Some(digest("good config"))) };
    house.engine.put_container(begun);
    house.engine.put_container(evil(true));
    house.gate.response(&started_call(Some(204))).await;
    assert_eq!(house.engine.killed(), [evil(true).id]);
}

#[test]
fn the_lists_words_say_what_may_have_begun() {
    let age = jiff::SignedDuration::from_secs(5);
    for (state, status, may) in [
        ("running", "Up Less than a second", true),
        ("running", "Up 3 seconds", true),
        ("running", "Up 3 seconds (health: starting)", true),
        ("paused", "Up 2 seconds (Paused)", true),
        ("running", "Up 40 seconds", false),
        ("running", "Up 3 minutes", false),
        ("running", "Up About an hour", false),
        ("running", "Up 5 weeks", false),
        ("running", "?", true),
        ("exited", "Exited (0) 1 second ago", true),
        ("exited", "Exited (0) 3 weeks ago", false),
        ("restarting", "Restarting (1) 2 seconds ago", true),
        ("created", "Created", false),
    ] {
        let listed = crate::engine::ContainerSummary {
            id: "a".repeat(64).parse().unwrap(),
            names: Vec::new(),
            image: None,
            image_ref: String::new(),
            state: state.to_owned(),
            status: status.to_owned(),
        };
        assert_eq!(super::response::may_have_begun(&listed, age), may, "{status}");
    }
}

/// A pull that is empty as it is shown, with a Content-Type: over HTTP/2 a form may hide in it.
fn maybe_form() -> Result<(Call, Intent), crate::wire::CallError> {
    let text = r#"{"RequestMethod":"POST","RequestUri":"/images/create?fromImage=r.example%2Fteam%2Fgood&tag=1",
        "RequestHeaders":{"Content-Length":"0","Content-Type":"plain/text"}}"#;
    Gate::read(text.as_bytes(), crate::request::Transport::MaybeHttp2)
}

fn says_closed() -> Policy {
    Policy { http2: Http2Rule::Closed, ..policy(Posture::Images) }
}

#[tokio::test]
async fn a_call_that_only_http2_could_hide_a_form_in_is_refused_from_29_2_on() {
    for (version, passes) in
        [("20.10.24+dfsg1", true), ("28.5.2", true), ("29.1.0", true), ("29.2.0", false), ("30.0.0-rc.1", false), ("dev", false)]
    {
        let house = house();
        house.engine.upgrade(version);
        house.engine.serve_http2(Http2::Refused);
        let answer = house.gate.request(maybe_form()).await;
        assert_eq!(answer == Answer::Allow, passes, "{version}: {answer:?}");
        if let Answer::Deny(message) = answer {
            assert!(message.contains("Content-Type") && message.contains("HTTP2=closed"), "{message}");
            assert!(message.len() < 300, "{message}");
        }
    }
}

#[tokio::test]
async fn http2_closed_is_believed_while_the_engines_socket_agrees() {
    for (probed, passes) in [
        (Http2::Refused, true),
        (Http2::Grpc, false),
        (Http2::Rest(Some(404)), false),
        (Http2::Rest(None), false),
        (Http2::HungUp, false),
        (Http2::Silent, false),
    ] {
        let house = house_with(says_closed(), Notary::default().with(GOOD, digest("good manifest")));
        house.engine.upgrade("29.7.2");
        house.engine.serve_http2(probed);
        for _ in 0..2 {
            assert_eq!(house.gate.request(maybe_form()).await == Answer::Allow, passes, "{probed:?}");
        }
        // One look is enough for a process that has answered.
        let looks = house.engine.calls().iter().filter(|call| *call == "http2").count();
        assert_eq!(looks, if probed == Http2::Silent { 2 } else { 1 }, "{probed:?}");
    }
}

/// The drop-in is taken away, or the engine upgraded, and the engine restarted; the gate goes on.
#[tokio::test]
async fn what_is_known_of_the_engine_ends_with_its_process() {
    let house = house_with(says_closed(), Notary::default().with(GOOD, digest("good manifest")));
    house.engine.upgrade("29.7.2");
    assert_eq!(house.gate.request(maybe_form()).await, Answer::Allow);
    house.engine.serve_http2(Http2::Grpc);
    house.engine.restart();
    assert!(matches!(house.gate.request(maybe_form()).await, Answer::Deny(_)));
    house.engine.serve_http2(Http2::Refused);
    assert!(matches!(house.gate.request(maybe_form()).await, Answer::Deny(_)), "it is the same process");
    house.engine.restart();
    assert_eq!(house.gate.request(maybe_form()).await, Answer::Allow);

    let upgraded = self::house();
    assert_eq!(upgraded.gate.request(maybe_form()).await, Answer::Allow);
    upgraded.engine.upgrade("29.2.0");
    upgraded.engine.restart();
    assert!(matches!(upgraded.gate.request(maybe_form()).await, Answer::Deny(_)));
}

#[tokio::test]
async fn an_engine_that_cannot_be_asked_may_speak_http2() {
    for policy in [policy(Posture::Images), says_closed()] {
        let house = house_with(policy, Notary::default().with(GOOD, digest("good manifest")));
        house.engine.fail_with(Some(EngineError::Timeout { call: "GET /version".into() }));
        assert!(matches!(house.gate.request(maybe_form()).await, Answer::Deny(_)));
    }
}

impl House {
    /// A call's answer, as dockerd gets it.
    async fn lives(&self, method: &str, uri: &str) -> Answer {
        let call = Call { method: method.into(), uri: uri.into(), ..call_without_body() };
        self.gate.request(Ok((call, sent(method, uri)))).await
    }

    /// The end of a call, as dockerd posts it.
    async fn ends(&self, method: &str, uri: &str) {
        self.gate.response(&Call { method: method.into(), uri: uri.into(), ..call_without_body() }).await;
    }

    fn is_enabled_later(&self, plugin: &str, content: &str) {
        let id = digest(plugin).hex();
        self.engine.put_plugin(Plugin { id, name: plugin.into(), digest: Some(digest(content)), ..Plugin::default() });
    }
}

fn enable(plugin: &str) -> Intent {
    sent("POST", &format!("/plugins/{plugin}/enable?timeout=30"))
}

#[tokio::test]
async fn a_plugin_that_nothing_approves_is_not_enabled() {
    let house = managed(Posture::Images);
    house.is_enabled_later("made:1", "made");
    assert_eq!(house.says(&enable("other")).await, "allow", "it was enabled when the gate started");
    assert_eq!(house.says(&enable("made:1")).await, "plugin-unapproved");
    assert_eq!(house.says(&enable("nothing")).await, "plugin-unapproved");
    // What is equal to nothing that was there then: other settings of the same plugin.
    house.engine.remove_plugins();
    let changed = Plugin { id: "b".repeat(64), name: "other:latest".into(), digest: Some(digest("set")), ..Plugin::default() };
    house.engine.put_plugin(changed);
    assert_eq!(house.says(&enable("other")).await, "plugin-unapproved");
    // The content of one under the id of another.
    house.engine.remove_plugins();
    house.is_enabled_later("other:latest", "other");
    assert_eq!(house.says(&enable("other")).await, "plugin-unapproved");
}

#[tokio::test]
async fn a_plugin_is_enabled_by_its_setting_while_its_digest_is_equal() {
    let named = |text: String| Policy { plugins: vec![text.parse().unwrap()], ..policy(Posture::Images) };
    for (setting, says) in [
        (format!("docker.io/library/made:1@{}", digest("made")), "allow"),
        (format!("docker.io/library/made:2@{}", digest("made")), "plugin-unapproved"),
        (format!("docker.io/library/made:1@{}", digest("other")), "plugin-unapproved"),
    ] {
        let house = house_with(named(setting.clone()), Notary::default());
        house.is_enabled_later("made:1", "made");
        assert_eq!(house.says(&enable("made:1")).await, says, "{setting}");
    }
}

#[tokio::test]
async fn a_plugin_that_came_by_a_verified_digest_is_enabled_and_no_other_is_taken_for_it() {
    let by_digest = format!("r.example/team/good@{}", digest("good manifest"));
    let pull = format!("/plugins/pull?remote={by_digest}&name=came:1");
    let came = |reference: &str, defaults| Plugin {
        id: "c".repeat(64),
        name: "docker.io/library/came:1".into(),
        reference: reference.into(),
        digest: Some(digest("came")),
        has_default_settings: defaults,
        ..Plugin::default()
    };
    for (plugin, is_set, says) in [
        (came(&by_digest, true), false, "allow"),
        // Made by `plugin create` while the pull was on its way.
        (came("came:1", true), false, "plugin-unapproved"),
        (came(&by_digest, false), false, "plugin-unapproved"),
        (came(&by_digest, true), true, "plugin-unapproved"),
    ] {
        let house = managed(Posture::Images);
        assert_eq!(house.lives("POST", &pull).await, Answer::Allow);
        house.engine.put_plugin(plugin.clone());
        if is_set {
            assert_eq!(house.lives("POST", "/plugins/came:1/set").await, Answer::Allow);
        }
        house.ends("POST", &pull).await;
        assert_eq!(house.says(&enable(&"c".repeat(64))).await, says, "{plugin:?}, set: {is_set}");
    }
}

#[tokio::test]
async fn a_plugin_is_not_changed_between_the_look_and_its_enable() {
    let house = managed(Posture::Images);
    let (on, set, rm) = ("/plugins/other/enable?timeout=30", "/plugins/other/set", "/plugins/other");
    let busy = |answer: &Answer| matches!(answer, Answer::Deny(why) if why.starts_with("plugin-busy: "));
    assert_eq!(house.lives("POST", on).await, Answer::Allow);
    assert!(busy(&house.lives("POST", set).await) && busy(&house.lives("DELETE", rm).await));
    house.ends("POST", on).await;
    assert_eq!(house.lives("POST", set).await, Answer::Allow);
    assert!(busy(&house.lives("POST", on).await));
    house.ends("POST", set).await;
    assert_eq!(house.lives("POST", on).await, Answer::Allow);
    // Something else stands there when the engine has acted.
    house.engine.remove_plugins();
    house.is_enabled_later("other:latest", "evil");
    house.ends("POST", on).await;
    let told = house.journal.0.lock().unwrap().iter().any(|entry| entry.event == Event::Mismatch);
    assert!(told);
}

/// Its turn is over, by time or because the gate was restarted, before the engine carries the enable out.
#[tokio::test]
async fn what_was_enabled_without_a_turn_is_looked_at() {
    let told = |house: &House| house.journal.0.lock().unwrap().iter().filter(|entry| entry.event == Event::Mismatch).count();
    for (plugin, content, mismatches) in [("other:latest", "other", 0), ("made:1", "made", 1)] {
        let house = managed(Posture::Images);
        house.is_enabled_later(plugin, content);
        let call = Call { method: "POST".into(), uri: format!("/plugins/{plugin}/enable"), ..call_without_body() };
        let outcome = |status| Some(crate::wire::Outcome { status, body: None });
        house.gate.response(&Call { outcome: outcome(500), ..call.clone() }).await;
        assert_eq!(told(&house), 0, "{plugin}");
        house.gate.response(&Call { outcome: outcome(200), ..call }).await;
        assert_eq!(told(&house), mismatches, "{plugin}");
    }
}

/// One that is refused takes no other's turn, though both are spelled alike.
#[tokio::test]
async fn an_enable_that_is_refused_leaves_an_equal_one_its_turn() {
    let house = managed(Posture::Images);
    let on = "/plugins/other/enable?timeout=30";
    assert_eq!(house.lives("POST", on).await, Answer::Allow);
    house.engine.remove_plugins();
    assert_eq!(refused(&house.lives("POST", on).await), "plugin-unapproved");
    assert_eq!(refused(&house.lives("POST", "/plugins/other/set").await), "plugin-busy");
}

/// The second is refused for its name, which has been taken meanwhile; the first is still under way, held up by a client.
#[tokio::test(start_paused = true)]
async fn a_rename_that_is_refused_leaves_an_equal_one_its_name() {
    let house = house();
    house.engine.put_container(container('e', "bad", Some(digest("evil config"))));
    let rename = "/containers/bad/rename?name=web";
    assert_eq!(house.lives("POST", rename).await, Answer::Allow);
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    assert_eq!(refused(&house.lives("POST", rename).await), "name-taken");
    // A client holds its lock.
    house.engine.fail_with(Some(EngineError::Timeout { call: "GET /containers/e".into() }));
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(refused(&house.lives("POST", "/containers/web/start").await), "name-busy");
}

/// The engine starts it later by itself, and asks nobody.
#[tokio::test]
async fn a_container_is_armed_to_start_if_it_may_start() {
    let house = house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    house.engine.put_container(container('b', "bad", Some(digest("evil config"))));
    let update = |name: &str, policy: &str| {
        let body = format!(r#"{{"RestartPolicy":{{"Name":"{policy}"}}}}"#).into_bytes();
        let headers = [("Content-Type".to_owned(), "application/json".to_owned())].into();
        let uri = format!("/containers/{name}/update");
        let call = Call { method: "POST".into(), uri, headers, body: Some(body), ..call_without_body() };
        let intent = Intent::of(&call);
        (call, intent)
    };
    assert_eq!(refused(&house.gate.request(Ok(update("bad", "always"))).await), "registry-not-allowed");
    assert_eq!(refused(&house.gate.request(Ok(update("bad", "no"))).await), "allow");
    let armed = update("web", "always");
    assert_eq!(house.gate.request(Ok(armed.clone())).await, Answer::Allow);
    // The name stays what it was until the engine has looked it up.
    assert_eq!(refused(&house.lives("POST", "/containers/bad/rename?name=web").await), "name-busy");
    house.gate.response(&armed.0).await;
    assert_eq!(refused(&house.lives("POST", "/containers/bad/rename?name=web").await), "name-taken");
}

/// Creates that wait for names which one client holds are counted by these, not by the repository.
#[tokio::test]
async fn creates_that_wait_for_a_name_take_no_places_of_their_repository() {
    let house = house_with(policy(Posture::Images), Notary::default().with(GOOD, digest("good manifest")));
    let limits = Limits { decision: Duration::from_secs(4), name: Duration::from_secs(3), places: 64, ..Limits::default() };
    let gate = Arc::into_inner(house.gate).unwrap().with_limits(limits);
    let house = House { gate: Arc::new(gate), ..house };
    let named = |name: String| {
        let Intent::Create(create) = create(GOOD) else { panic!() };
        let call = Call { method: "POST".into(), uri: format!("/containers/create?name={name}"), ..call_without_body() };
        (call, Intent::Create(Box::new(Create { name: Some(name), ..*create })))
    };
    let digits = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
    let mut waiting = Vec::new();
    for digit in digits {
        house.engine.put_container(container(digit, &format!("n-{digit}"), Some(digest("good config"))));
        assert_eq!(house.lives("POST", &format!("/containers/n-{digit}/start")).await, Answer::Allow);
        let (gate, asked) = (house.gate.clone(), named(format!("n-{digit}")));
        waiting.push(tokio::spawn(async move { gate.request(Ok(asked)).await }));
    }
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    assert_eq!(house.gate.request(Ok(named("free".into()))).await, Answer::Allow);
    assert_eq!(house.gate.request(Ok((call_without_body(), create(GOOD)))).await, Answer::Allow);
    for waiting in waiting {
        waiting.abort();
    }
}

#[test]
fn with_faulty_settings_no_plugin_is_enabled() {
    let says = |intent| crate::policy::decide_without_policy("x", Posture::Images, &intent);
    assert!(matches!(says(enable("made:1")), crate::policy::Verdict::Deny(crate::policy::Reason::SettingFault { .. })));
    assert!(matches!(says(sent("POST", "/plugins/img-authz/set")), crate::policy::Verdict::Allow(_)));
}

fn refused(answer: &Answer) -> &str {
    match answer {
        Answer::Allow => "allow",
        Answer::Deny(message) => message.split(':').next().unwrap_or_default(),
    }
}

/// A create that the engine has not carried out after 20 s, and whose end the daemon does not tell.
#[tokio::test(start_paused = true)]
async fn a_name_that_a_create_gives_starts_nothing_until_the_create_is_over() {
    let house = house();
    let create = |name: &str| {
        let Intent::Create(create) = create(GOOD) else { panic!() };
        let uri = format!("/containers/create?name={name}");
        let call = Call { method: "POST".into(), uri, ..call_without_body() };
        Ok((call, Intent::Create(Box::new(Create { name: Some(name.into()), ..*create }))))
    };
    assert_eq!(house.gate.request(create("web")).await, Answer::Allow);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(refused(&house.lives("POST", "/containers/web/start").await), "name-busy");
    // An engine that does not answer says nothing about it.
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    house.engine.fail_with(Some(EngineError::Timeout { call: "GET /images/x".into() }));
    assert_eq!(refused(&house.lives("POST", "/containers/web/start").await), "name-busy");
    // It is passed, and the name is given.
    house.engine.fail_with(None);
    assert_eq!(house.lives("POST", "/containers/web/start").await, Answer::Allow);
    // An end, whatever it was, needs no such proof.
    assert_eq!(house.gate.request(create("db")).await, Answer::Allow);
    house.ends("POST", "/containers/create?name=db").await;
    assert_eq!(refused(&house.lives("POST", "/containers/db/start").await), "container-unknown");
}

/// One client's decisions that hang, all of repositories that it has made up.
#[tokio::test]
async fn decisions_that_hang_leave_places_to_others_and_are_refused_at_once_when_there_are_too_many() {
    let house = house_with(policy(Posture::Images), Notary { hangs: true, ..Notary::default() });
    let record = Record {
        image_id: digest("good config"),
        repository: "r.example/team/good".parse().unwrap(),
        digest: digest("good manifest"),
    };
    house.gate.approvals.keep(&record);
    let ask = |reference: &str| {
        let (gate, intent) = (house.gate.clone(), pull(reference));
        async move { gate.request(Ok((call_without_body(), intent))).await }
    };
    let hanging: Vec<_> = (0..200).map(|number| tokio::spawn(ask(&format!("r.example/made-up{number}:1")))).collect();
    tokio::task::yield_now().await;
    let begun = std::time::Instant::now();
    assert_eq!(refused(&ask("r.example/one-more:1").await), "overloaded");
    assert_eq!(house.lives("GET", "/containers/json").await, Answer::Allow);
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    // A repository that has vouched for something is asked about.
    assert_eq!(refused(&ask(GOOD).await), "deadline");
    let mut counts = std::collections::BTreeMap::new();
    for answer in hanging {
        *counts.entry(refused(&answer.await.unwrap()).to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts, [("deadline".to_owned(), 8), ("overloaded".to_owned(), 192)].into());
    let text = house.gate.metrics();
    assert!(text.contains("img_authz_places_used 0\n") && text.contains("refused_total{what=\"question\"} 193\n"), "{text}");
}

/// A client that takes every place does not switch off what finds and kills what was started in another's place.
#[tokio::test]
async fn what_began_unjudged_is_killed_whatever_clients_have_taken() {
    let house = house();
    let mut unsigned = image("evil", &["r.example/team/evil:1"], &["r.example/team/evil"]);
    unsigned.id = digest("evil config");
    house.engine.put_image(unsigned);
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    assert_eq!(house.gate.request(Ok((started_call(None), start("web")))).await, Answer::Allow);
    let other = Container {
        running: true,
        started_at: Some(crate::clock::now()),
        ..container('e', "elsewhere", Some(digest("evil config")))
    };
    house.engine.put_container(other);
    let questions: Vec<_> = std::iter::from_fn(|| house.gate.asking.enter(false)).collect();
    let decisions: Vec<_> = (0..100).filter_map(|number| house.gate.places.enter(&number.to_string())).collect();
    let looks = house.gate.looking.acquire_many(u32::try_from(super::response::MAX_LOOKS).unwrap()).await.unwrap();
    let begun = std::time::Instant::now();
    house.gate.response(&started_call(Some(204))).await;
    assert!(begun.elapsed() < Duration::from_millis(100), "its call waits for no other look");
    assert!(house.engine.killed().is_empty());
    drop(looks);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if !house.engine.killed().is_empty() {
            break;
        }
    }
    assert_eq!(house.engine.killed().len(), 1);
    drop((questions, decisions));
}

/// An approved update between the check of a rollback and the rollback puts another specification in the place of the judged one.
#[tokio::test]
async fn a_rollback_that_brought_back_what_was_not_judged_is_recorded() {
    let signed = format!("r.example/team/good:1@{}", digest("good manifest"));
    let unsigned = format!("r.example/team/good:1@{}", digest("evil manifest"));
    let service = |image: &str, runtime: &str| EngineService {
        id: "web".into(),
        spec: ServiceSpec { image: Some(image.into()), runtime: runtime.into(), ..ServiceSpec::default() },
        previous: None,
    };
    for (found, status, mismatches) in [
        (service(&signed, ""), 200, 0),
        (service(&signed, "container"), 200, 0),
        (service(&unsigned, ""), 200, 1),
        (service(GOOD, ""), 200, 1),
        (service(&signed, "plugin"), 200, 1),
        (service(&unsigned, ""), 500, 0),
    ] {
        let house = house();
        house.engine.put_service(found.clone());
        let uri = "/services/web/update?version=1&rollback=previous".to_owned();
        let outcome = Some(crate::wire::Outcome { status, body: None });
        house.gate.after(&Call { method: "POST".into(), uri, outcome, ..call_without_body() }).await;
        let entries = house.journal.0.lock().unwrap();
        let seen = entries.iter().filter(|entry| entry.event == Event::Mismatch).count();
        assert_eq!(seen, mismatches, "{found:?} {status}");
    }
}

#[tokio::test]
async fn in_lockdown_no_network_takes_the_way_to_what_the_gate_talks_to() {
    let network = |subnet: &str| {
        let body = format!(r#"{{"Name":"n","IPAM":{{"Config":[{{"Subnet":"{subnet}"}}]}}}}"#);
        let headers = [("Content-Type".to_owned(), "application/json".to_owned())].into();
        Intent::of(&Call {
            method: "POST".into(),
            uri: "/networks/create".into(),
            headers,
            body: Some(body.into_bytes()),
            ..call_without_body()
        })
    };
    for (posture, open, subnet, says) in [
        (Posture::Lockdown, "", "10.1.2.0/24", "host-access"),
        (Posture::Lockdown, "", "10.0.0.0/8", "host-access"),
        (Posture::Lockdown, "", "10.1.3.0/24", "allow"),
        (Posture::Lockdown, "", "192.168.7.0/24", "allow"),
        (Posture::Lockdown, "network-subnet=10.1.2.0/24", "10.1.2.0/24", "allow"),
        (Posture::Images, "", "10.1.2.0/24", "allow"),
    ] {
        let host_access = if open.is_empty() { Vec::new() } else { vec![open.parse().unwrap()] };
        let mut house = house_with(Policy { host_access, ..policy(posture) }, Notary::default());
        let hosts = vec![OwnHost { name: "10.1.2.3".into(), port: 443 }];
        Arc::get_mut(&mut house.gate).unwrap().own = Own::new(hosts, "/nonexistent".into());
        assert_eq!(house.says(&network(subnet)).await, says, "{subnet} {open}");
    }
}

#[tokio::test]
async fn in_lockdown_a_create_is_in_the_control_groups_that_the_engine_puts_it_in() {
    let post = |version: &str| {
        let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!(r#"{{"Image":"{GOOD}"}}"#));
        format!(
            r#"{{"RequestMethod":"POST","RequestUri":"/{version}/containers/create",
            "RequestHeaders":{{"Content-Type":"application/json"}},"RequestBody":"{body}"}}"#
        )
    };
    for (cgroup, security, version, says) in [
        ("2", &["seccomp", "cgroupns"][..], "v1.40", "allow"),
        ("1", &["seccomp", "cgroupns"], "v1.40", "host-access"),
        ("1", &["seccomp", "cgroupns"], "v1.41", "allow"),
        // The daemon's own default is the host's: the operator's choice, whatever the client's version.
        ("2", &["seccomp"], "v1.41", "allow"),
        ("1", &["seccomp"], "v1.40", "allow"),
    ] {
        for posture in [Posture::Lockdown, Posture::Images] {
            let house = house_with(policy(posture), Notary::default().with(GOOD, digest("good manifest")));
            house.engine.host_has(cgroup, security);
            let says = if posture == Posture::Images { "allow" } else { says };
            // The first meets a gate that has not met the engine.
            for _ in 0..2 {
                let read = Gate::read(post(version).as_bytes(), house.gate.manner());
                assert_eq!(refused(&house.gate.request(read).await), says, "{cgroup} {security:?} {version} {posture:?}");
            }
        }
    }
}

/// A log on a disk that is full, or not.
#[derive(Default)]
struct FullDisk {
    is_full: std::sync::atomic::AtomicBool,
    kept: MemoryJournal,
}

impl crate::audit::Journal for FullDisk {
    fn record(&self, entry: &crate::audit::Entry) -> crate::audit::Recorded {
        if self.is_full.load(std::sync::atomic::Ordering::Relaxed) {
            return crate::audit::Recorded::Lost;
        }
        self.kept.record(entry)
    }

    fn lost(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_passes_or_is_refused_as_audit_says_and_the_host_is_never_locked() {
    for (rule, mode, is_refused) in [
        (AuditRule::GoOn, Mode::Enforce, false),
        (AuditRule::Require, Mode::Enforce, true),
        // In mode `permissive` nothing is refused.
        (AuditRule::Require, Mode::Permissive, false),
    ] {
        let house = house();
        let journal = Arc::new(FullDisk::default());
        let verifiers: Vec<Arc<dyn Verifier>> = vec![Arc::new(Notary::default().with(GOOD, digest("good manifest")))];
        let policy = Policy { audit: rule, mode, ..policy(Posture::Images) };
        let gate = Gate::new(
            Rules::Good { policy, verifiers },
            house.engine.clone(),
            journal.clone(),
            Approvals::in_memory(),
            Identity::default(),
            tokio::runtime::Handle::current(),
        );
        journal.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
        let call = |uri: &str| Call::decode(format!(r#"{{"RequestMethod":"POST","RequestUri":"{uri}"}}"#).as_bytes()).unwrap();
        let answer = gate.request(Ok((call("/images/create"), pull(GOOD)))).await;
        match answer {
            Answer::Deny(message) => assert!(is_refused && message.starts_with("audit-unavailable: "), "{message}"),
            Answer::Allow => assert!(!is_refused),
        }
        for harmless in [Intent::Read, Intent::Harmless] {
            assert_eq!(gate.request(Ok((call("/containers/x/stop"), harmless))).await, Answer::Allow);
        }
        // A name that was refused is free again at once.
        let Intent::Create(mut named) = create(GOOD) else { panic!() };
        named.name = Some("web".to_owned());
        gate.request(Ok((call("/containers/create?name=web"), Intent::Create(named)))).await;
        let soon = tokio::time::Instant::now() + Duration::from_millis(50);
        let held = gate.leases.hold("other", &super::leases::Claim::Start("web".to_owned()), soon).await;
        assert_eq!(held.is_ok(), is_refused);
        assert!(!is_refused || journal.kept.0.lock().unwrap().iter().all(|entry| entry.code != "audit-unavailable"));
    }
}

#[tokio::test]
async fn doctors_question_is_marked_and_hides_nothing_else() {
    const PROBE: &str = r#","X-Img-Authz-Probe":"1""#;
    let house = house();
    let nobody = "0".repeat(64);
    let call = |headers: &str, id: &str| {
        let text = format!(
            r#"{{"RequestMethod":"POST","RequestUri":"/v1.41/containers/{id}/start","RequestHeaders":{{"Content-Length":"0"{headers}}}}}"#
        );
        let call = Call::decode(text.as_bytes()).unwrap();
        let intent = Intent::of(&call);
        Ok((call, intent))
    };
    for (headers, id, event) in
        [(PROBE, nobody.as_str(), Event::Probe), ("", nobody.as_str(), Event::Blocked), (PROBE, "nobody", Event::Blocked)]
    {
        assert!(matches!(house.gate.request(call(headers, id)).await, Answer::Deny(_)));
        assert_eq!(house.journal.0.lock().unwrap().last().unwrap().event, event, "{headers} {id}");
    }
    let probed =
        Call::decode(br#"{"RequestMethod":"POST","RequestUri":"/images/create","RequestHeaders":{"X-Img-Authz-Probe":"1"}}"#)
            .unwrap();
    house.gate.request(Ok((probed, pull("evil.example/x:1")))).await;
    assert_eq!(house.journal.0.lock().unwrap().last().unwrap().event, Event::Blocked);
    assert!(house.gate.metrics().contains(r#"code="container-unknown""#));
    let counted = house.gate.metrics().lines().find(|line| line.contains("container-unknown")).unwrap().ends_with(" 2");
    assert!(counted, "the probe is not counted");
}

/// A client holds the lock of what it started in another's place, for longer than anybody waits, and starts more meanwhile.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_killed_yet_is_killed_in_the_end_and_holds_up_no_other_look() {
    let house = house();
    let began = |id| Container {
        running: true,
        started_at: Some(crate::clock::now()),
        ..container(id, &format!("elsewhere-{id}"), Some(digest("evil config")))
    };
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    let held = began('e');
    for _ in 0..super::response::MAX_LOOKS + 8 {
        assert_eq!(house.gate.request(Ok((started_call(None), start("web")))).await, Answer::Allow);
        house.engine.lock_container(&held.id, true);
        house.engine.put_container(began('e'));
        house.gate.response(&started_call(Some(204))).await;
        house.gate.leases.open("web");
    }
    assert!(house.engine.killed().is_empty());
    assert_eq!(house.gate.request(Ok((started_call(None), start("web")))).await, Answer::Allow);
    let free = began('f');
    house.engine.put_container(free.clone());
    house.gate.response(&started_call(Some(500))).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(house.engine.killed(), [free.id]);
    tokio::time::sleep(Duration::from_hours(3)).await;
    house.engine.lock_container(&held.id, false);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(house.engine.killed().contains(&held.id));
    let told = house.journal.0.lock().unwrap().iter().filter(|entry| entry.event == Event::Killed).count();
    assert_eq!(told, 2, "each is told once");
}
