//! The corpus of what real daemons put to a plugin, judged by the whole gate (decoding, gathering, deciding) in both postures.
//! `test/fixtures/corpus/README.md` says what the lines mean.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use img_authz::audit::{Entry, Journal, Recorded};
use img_authz::engine::{
    Api, Container, ContainerId, ContainerSummary, EngineError, Exec, Fake, Http2, Image, ImageSummary, Info, Killed, Link,
    Listed, Made, Network, Nudges, Plugin, Present, Removed, Reply, Service, ServiceSpec, Stopped, Store, Task, Version,
};
use img_authz::gate::{Approvals, Gate, Identity, Rules};
use img_authz::image::{Digest, ImageConfig};
use img_authz::policy::Settings;
use img_authz::trust::Verifier;
use img_authz::trust::allowlist::Allowlist;
use img_authz::wire::{Answer, Call, Outcome};
use serde_json::Value;
use tokio::time::Instant;

/// The two images of the capture: name, configuration digest, manifest digest.
const IMAGES: [(&str, &str, &str); 2] = [
    (
        "good",
        "sha256:549c580d58305f700cd469dec62d04c1b56b80a1ceebb7922649447fa0eed375",
        "sha256:b823c6da46264d7af5ef5a61afd14fe13778400b5d94efe9126c3a2ab7982e72",
    ),
    (
        "evil",
        "sha256:916eba1a7b68bfdc1b62d0059a8220f16d0aab7deacb4b94174025e701cdad67",
        "sha256:329f9f409a390fd78efa01db698b3974b7aad636e4987c9d9ab54bfd52054e3d",
    ),
];

struct Silent;

impl Journal for Silent {
    fn record(&self, _: &Entry) -> Recorded {
        Recorded::Kept
    }

    fn lost(&self) -> u64 {
        0
    }
}

/// An engine whose whole state changes from line to line.
#[derive(Default)]
struct Stage(Mutex<Arc<Fake>>);

impl Stage {
    fn fake(&self) -> Arc<Fake> {
        self.0.lock().unwrap().clone()
    }
}

macro_rules! staged {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        impl Api for Stage {$(
            fn $name<'a>(&'a self, $($argument: $kind,)* deadline: Instant) -> Reply<'a, $answer> {
                Box::pin(async move { self.fake().$name($($argument,)* deadline).await })
            }
        )*}
    };
}
staged! {
    image(name: &'a str) -> Option<Image>;
    history(id: &'a Digest) -> Option<Vec<Made>>;
    container(name: &'a str) -> Option<Container>;
    service(name: &'a str) -> Option<Service>;
    network(name: &'a str) -> Option<Network>;
    plugin(name: &'a str) -> Option<Plugin>;
    plugins() -> Vec<Plugin>;
    exec(id: &'a str) -> Option<Exec>;
    containers() -> Listed;
    named(name: &'a str) -> Vec<ContainerSummary>;
    beginning(id: &'a str) -> Vec<ContainerSummary>;
    images() -> Vec<ImageSummary>;
    version() -> Version;
    info() -> Info;
    http2() -> Http2;
    link() -> Link;
    kill(id: &'a ContainerId) -> Killed;
    running() -> Listed;
    present() -> Present;
    nudges() -> Nudges;
    arrivals() -> Nudges;
    task(id: &'a str) -> Option<Task>;
    stop(id: &'a ContainerId) -> Stopped;
    remove(id: &'a ContainerId) -> Removed;
}

fn image_id(store: &str, name: &str) -> Option<Digest> {
    let (_, config, manifest) = IMAGES.iter().find(|(image, ..)| *image == name)?;
    Some(if store == "containerd" { manifest } else { config }.parse().unwrap())
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn fake(state: &Value) -> Fake {
    let engine = Fake::new();
    let store = state["store"].as_str().unwrap_or("graph");
    for (name, _, manifest) in IMAGES {
        let held = &state["images"][name];
        if held.is_null() {
            continue;
        }
        engine.put_image(Image {
            id: image_id(store, name).unwrap(),
            store: Some(if store == "containerd" { Store::Containerd } else { Store::Classic }),
            repo_tags: texts(&held["tags"]).iter().map(|tag| tag.parse().unwrap()).collect(),
            repo_digests: texts(&held["pulled_as"])
                .iter()
                .map(|from| (from.parse().unwrap(), manifest.parse().unwrap()))
                .collect(),
            config: ImageConfig::default(),
        });
    }
    for held in state["containers"].as_array().into_iter().flatten() {
        let mounts = held["host_config"]["Mounts"].as_array().into_iter().flatten();
        let image_mounts = mounts.filter(|mount| mount["Type"] == "image").filter_map(|mount| mount["Source"].as_str());
        engine.put_container(Container {
            id: held["id"].as_str().unwrap().parse().unwrap(),
            name: held["name"].as_str().unwrap().to_owned(),
            image: image_id(store, held["image"].as_str().unwrap()),
            manifest: None,
            platform: None,
            image_ref: held["ref"].as_str().unwrap_or_default().to_owned(),
            runs_as: img_authz::image::RunsAs::default(),
            mounts: image_mounts.map(str::to_owned).collect(),
            running: held["running"] == true,
            started_at: None,
        });
    }
    for held in state["services"].as_array().into_iter().flatten() {
        let spec = ServiceSpec { image: held["image"].as_str().map(str::to_owned), ..ServiceSpec::default() };
        engine.put_service(Service { id: held["id"].as_str().unwrap().to_owned(), spec, previous: None });
    }
    engine
}

fn gate(folder: &std::path::Path, engine: Arc<Stage>, posture: &str, policy: &Value) -> Gate {
    let approved = policy["approved"].as_array().unwrap().iter().map(|image| {
        let references: Vec<String> =
            texts(&image["tags"]).iter().map(|tag| format!("{}:{tag}", image["repository"].as_str().unwrap())).collect();
        serde_json::json!({"digest": image["manifest_digest"], "image_id": image["image_id"], "references": references})
    });
    let path = folder.join(format!("{posture}.json"));
    let entries: Vec<Value> = approved.collect();
    std::fs::write(&path, serde_json::json!({"version": 1, "entries": entries}).to_string()).unwrap();
    let settings = Settings::default()
        .with("REGISTRY", policy["registry"].as_str().unwrap())
        .with("NOTARY", "off")
        .with("POSTURE", posture)
        .with("ALLOWLIST", path.to_str().unwrap());
    let policy = settings.resolve(true).unwrap().policy;
    let verifiers: Vec<Arc<dyn Verifier>> = vec![Arc::new(Allowlist::load(path))];
    let workers = tokio::runtime::Handle::current();
    Gate::new(
        Rules::Good { policy, verifiers, registry: None },
        engine,
        Arc::new(Silent),
        Approvals::in_memory(),
        Identity::default(),
        workers,
    )
}

/// What is wrong with the answer, if anything.
fn fault(line: &Value, posture: &str, answer: &Answer) -> Option<&'static str> {
    let allowed = *answer == Answer::Allow;
    let free = posture == "images" && line["posture"] == "lockdown";
    match line["expect"].as_str().unwrap() {
        "deny" if allowed && !free => Some("bypass"),
        "allow" if !allowed => Some("over-block"),
        _ if line["benign"] == true && !allowed && line["expect"] != "deny" => Some("over-block"),
        _ => None,
    }
}

#[tokio::test]
async fn no_line_is_misjudged_in_either_posture() {
    let folder = tempfile::tempdir().unwrap();
    let text = include_str!("../fixtures/corpus/public.jsonl");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 300, "the corpus is cut short");
    let engine = Arc::new(Stage::default());
    let mut wrong = Vec::new();
    for posture in ["images", "lockdown"] {
        let gate = Arc::new(gate(folder.path(), engine.clone(), posture, &lines[0]["policy"]));
        let (mut denials, mut permits) = (0, 0);
        for line in &lines {
            *engine.0.lock().unwrap() = Arc::new(fake(&line["engine_state"]));
            let posted = match line["authz_raw_b64"].as_str() {
                Some(raw) => base64::engine::general_purpose::STANDARD.decode(raw).unwrap(),
                None => line["authz_request"].to_string().into_bytes(),
            };
            let read = Gate::read(&posted, gate.manner());
            let answer = gate.request(read.clone()).await;
            if let Some(fault) = fault(line, posture, &answer) {
                wrong.push(format!("{fault} ({posture}) {}: {}: {answer:?}", line["id"], line["name"]));
            }
            match &answer {
                Answer::Allow => {
                    permits += 1;
                    let Ok((call, _)) = read else { continue };
                    let status = line["daemon_status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
                    gate.response(&Call { outcome: Some(Outcome { status, body: None }), ..call }).await;
                }
                Answer::Deny(message) => {
                    denials += 1;
                    let one_line = !message.is_empty() && !message.contains('\n') && message.chars().count() < 300;
                    assert!(one_line, "{}: {message}", line["id"]);
                }
            }
        }
        assert!(denials > 100 && permits > 30, "{posture}: {denials} denials, {permits} permits");
    }
    assert!(wrong.is_empty(), "{} lines misjudged:\n{}", wrong.len(), wrong.join("\n"));
}

/// The seam's errors are refusals too: an engine that fails lets nothing pass that needs a look.
#[tokio::test]
async fn a_failing_engine_lets_no_container_start() {
    let folder = tempfile::tempdir().unwrap();
    let text = include_str!("../fixtures/corpus/public.jsonl");
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let engine = Arc::new(Stage::default());
    engine.fake().fail_with(Some(EngineError::Timeout { call: "x".to_owned() }));
    let gate = gate(folder.path(), engine, "images", &line["policy"]);
    let posted = br#"{"RequestMethod":"POST","RequestUri":"/containers/web/start","RequestHeaders":{"Content-Length":"0"}}"#;
    let Answer::Deny(message) = gate.request(Gate::read(posted, gate.manner())).await else { panic!("started") };
    assert!(message.starts_with("container-busy"), "{message}");
}
