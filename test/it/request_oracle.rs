//! The reading of requests against an oracle in Go (`test/oracle`): whatever it would act on, the gate names, or refuses.
//!
//! `ORACLE_CASES` sets how many requests are made (10,000 by default, a million by night), `ORACLE_SEED` which ones, `ORACLE_GO`
//! the `go` that builds the oracle. A disagreement prints the request; it then belongs into `test/fixtures/requests/found.jsonl`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::LazyLock;

use img_authz::image::{ImageName, Reference};
use img_authz::request::{
    Build, ContainerAccess, HostAccess, Ingest, Intent, PluginCall, PluginChange, Pulled, Service, Start, StartAction,
    StartExtra, Transport,
};
use img_authz::wire::Call;
use serde_json::{Value, json};

use crate::support::request_generator::Generator;

/// Requests per batch. The oracle answers when it has read all that came.
const BATCH: usize = 500;

/// The oracle, running.
struct Oracle {
    child: Child,
    answers: BufReader<ChildStdout>,
}

/// The oracle's program, built once. A missing `go` fails the tests: without an oracle nothing was compared.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(build);

#[expect(clippy::disallowed_methods, reason = "a test may start programs; the gate does not")]
fn build() -> PathBuf {
    let go = std::env::var("ORACLE_GO").unwrap_or_else(|_| "go".to_owned());
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("test/oracle");
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let program = target.join("oracle");
    let built = std::process::Command::new(&go)
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source)
        .env("GOCACHE", target.join("gocache"))
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off")
        .env("CGO_ENABLED", "0")
        .status();
    let built = built.unwrap_or_else(|error| panic!("`{go}` cannot be started ({error}): install Go, or name it in ORACLE_GO"));
    assert!(built.success(), "the oracle does not build");
    program
}

impl Oracle {
    #[expect(clippy::disallowed_methods, reason = "a test may start programs; the gate does not")]
    fn start() -> Self {
        let mut child = std::process::Command::new(&*PROGRAM)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the oracle starts");
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    /// What every engine makes of every request.
    fn ask(&mut self, requests: &[Value]) -> Vec<Vec<Value>> {
        let input = self.child.stdin.as_mut().unwrap();
        let mut lines = Vec::new();
        for request in requests {
            serde_json::to_writer(&mut lines, request).unwrap();
            lines.push(b'\n');
        }
        // The oracle reads ahead no further than its buffer, so that both sides writing at once would block both.
        std::thread::scope(|scope| {
            scope.spawn(move || {
                input.write_all(&lines).unwrap();
                input.flush().unwrap();
            });
            let answers = &mut self.answers;
            let mut line = String::new();
            let mut next = || {
                line.clear();
                answers.read_line(&mut line).unwrap();
                engines(&line)
            };
            requests.iter().map(|_| next()).collect()
        })
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn engines(line: &str) -> Vec<Value> {
    match serde_json::from_str::<Value>(line).unwrap()["engines"].take() {
        Value::Array(engines) => engines,
        other => panic!("{other}"),
    }
}

/// How often each outcome came.
#[derive(Default, Debug)]
struct Tally {
    named: usize,
    refused: usize,
    nothing: usize,
}

/// Holds the gate's reading against one engine's act. `Ok(true)` is named, `Ok(false)` refused.
fn agrees(intent: &Intent, act: &Value) -> Result<bool, String> {
    if matches!(intent, Intent::Unreadable(_) | Intent::Unknown { .. }) {
        return Ok(false);
    }
    let same = match act["do"].as_str().unwrap() {
        "read" => *intent == Intent::Read,
        "harmless" => *intent == Intent::Harmless,
        "load" => *intent == Intent::Ingest(Ingest::Load),
        "commit" => *intent == Intent::Ingest(Ingest::Commit),
        "import" => *intent == Intent::Ingest(Ingest::Import),
        "swarm" => *intent == Intent::Swarm,
        "build" => matches!(intent, Intent::Build(Build::Classic | Build::Session | Build::Grpc)),
        "pull" => is_pull(intent, act),
        "tag" => matches!(intent, Intent::Ingest(Ingest::Tag { source, target })
            if act["source"] == **source && target.as_ref().is_some_and(|target| same_reference(target, &act["target"]))),
        "create" => matches!(intent, Intent::Create(create)
            if same_image(create.image.as_ref(), &act["image"])
                && act["name"] == create.name.as_deref().unwrap_or_default()
                && same_mounts(&create.image_mounts, &act["mounts"])
                && has_host_access(&create.host_access, &act["host_access"])),
        "start" | "restart" => is_start(intent, act),
        "rename" => {
            matches!(intent, Intent::Rename { container, name } if act["container"] == **container && act["name"] == **name)
        }
        "remove" => matches!(intent, Intent::Remove { container } if act["container"] == **container),
        "service" => is_service(intent, act),
        "rollback" => {
            matches!(intent, Intent::Service(Service::Rollback { service }) if act["service"] == **service)
        }
        // With a restart policy it is judged like a start.
        "drive" if matches!(intent, Intent::Start(Start { action: StartAction::Update, .. })) => act["how"] == "update",
        "drive" => *intent == Intent::ContainerAccess(drive(act["how"].as_str().unwrap())),
        "plugin-pull" => matches!(intent, Intent::Plugin(PluginCall::Pull { remote, name: Some(name) })
            if same_reference(remote, &act["remote"]) && same_reference(name, &act["name"])),
        "plugin-upgrade" => matches!(intent, Intent::Plugin(PluginCall::Upgrade { plugin, remote })
            if act["plugin"] == **plugin && same_reference(remote, &act["remote"])),
        "plugin-create" => matches!(intent, Intent::Plugin(PluginCall::Create { name }) if act["name"] == **name),
        "plugin-change" => matches!(intent, Intent::Plugin(PluginCall::Change { plugin, change })
            if act["plugin"] == **plugin && unforced(*change) == plugin_change(act["change"].as_str().unwrap())),
        "volume" => matches!(intent, Intent::Volume { host_access, .. } if has_host_access(host_access, &act["host_access"])),
        "volume-update" => matches!(intent, Intent::Volume { host_access, .. } if !host_access.is_empty()),
        "network" => is_network(intent, act),
        other => panic!("the oracle does `{other}`"),
    };
    if same { Ok(true) } else { Err(format!("the engine would do {act}\nthe gate reads {intent:?}")) }
}

fn is_pull(intent: &Intent, act: &Value) -> bool {
    let Intent::Pull(pull) = intent else { return false };
    let image = &act["image"];
    let what = match &pull.what {
        Pulled::Tag(tag) => image["tag"] == tag.as_str() && image["digest"].is_null(),
        Pulled::Digest(digest) => image["digest"] == digest.to_string(),
        Pulled::AllTags => act["all"] == true,
    };
    what && image["repository"] == pull.repository.as_str()
}

fn is_start(intent: &Intent, act: &Value) -> bool {
    let Intent::Start(Start { container, action, extra, terms: _ }) = intent else { return false };
    let extra = match extra {
        Some(StartExtra::Body) => true,
        Some(StartExtra::Checkpoint) => act["body"] == false,
        None => act["body"] == false && act["checkpoint"] == false,
    };
    let action = match action {
        StartAction::Start => act["do"] == "start",
        StartAction::Restart => act["do"] == "restart",
        StartAction::Update => false,
    };
    extra && action && act["container"] == **container
}

fn is_service(intent: &Intent, act: &Value) -> bool {
    let Intent::Service(Service::Spec { image, image_mounts, plugin, host_access, .. }) = intent else { return false };
    let runtime = act["runtime"].as_str().unwrap();
    if !matches!(runtime, "" | "container") {
        return plugin
            .as_deref()
            .is_some_and(|plugin| act["remote"].as_str().is_none_or(|remote| remote.is_empty() || remote == plugin));
    }
    same_image(image.as_ref(), &act["image"])
        && same_mounts(image_mounts, &act["mounts"])
        && has_host_access(host_access, &act["host_access"])
}

fn is_network(intent: &Intent, act: &Value) -> bool {
    let own = ["", "default", "bridge", "host", "null", "none", "overlay", "macvlan", "ipvlan"];
    let foreign: Vec<&str> =
        act["drivers"].as_array().unwrap().iter().filter_map(Value::as_str).filter(|driver| !own.contains(driver)).collect();
    match intent {
        Intent::NetworkPlugin { driver } => foreign.contains(&driver.as_str()),
        Intent::Network { host_access, .. } => foreign.is_empty() && has_host_access(host_access, &act["host_access"]),
        _ => foreign.is_empty() && *intent == Intent::Harmless && has_host_access(&[], &act["host_access"]),
    }
}

fn drive(how: &str) -> ContainerAccess {
    match how {
        "exec" => ContainerAccess::Exec { user: None },
        "privileged-exec" => ContainerAccess::PrivilegedExec { user: None },
        "attach" => ContainerAccess::Attach,
        "put-archive" => ContainerAccess::PutArchive,
        "update" => ContainerAccess::Update(Box::default()),
        "checkpoint" => ContainerAccess::Checkpoint,
        other => panic!("the oracle drives by `{other}`"),
    }
}

/// The oracle does not say whether a plugin is removed by force.
fn unforced(change: PluginChange) -> PluginChange {
    if change == PluginChange::RemoveByForce { PluginChange::Remove } else { change }
}

fn plugin_change(change: &str) -> PluginChange {
    match change {
        "enable" => PluginChange::Enable,
        "disable" => PluginChange::Disable,
        "set" => PluginChange::Set,
        "remove" => PluginChange::Remove,
        other => panic!("the oracle changes by `{other}`"),
    }
}

fn same_reference(reference: &Reference, named: &Value) -> bool {
    named["repository"] == reference.repository.as_str()
        && named["tag"].as_str() == reference.tag.as_ref().map(img_authz::image::Tag::as_str)
        && named["digest"].as_str() == reference.digest.map(|digest| digest.to_string()).as_deref()
}

fn same_image(image: Option<&ImageName>, acted: &Value) -> bool {
    match image {
        None => acted.is_null(),
        Some(ImageName::Id(id)) => acted["id"] == id.to_string(),
        // To the engine this is a name first; the gate asks it for the very text.
        Some(ImageName::IdPrefix(text)) => acted["raw"] == **text,
        Some(ImageName::Named { reference, written }) => acted["raw"] == **written && same_reference(reference, acted),
    }
}

fn same_mounts(mounts: &[ImageName], acted: &Value) -> bool {
    let acted = acted.as_array().map_or(&[][..], Vec::as_slice);
    acted.iter().all(|source| mounts.iter().any(|mount| ImageName::parse(source.as_str().unwrap()).as_ref() == Ok(mount)))
}

/// Whether every way to the host that the engine opens is named. The gate may name more.
fn has_host_access(host_access: &[HostAccess], opened: &Value) -> bool {
    let opened = opened.as_array().map_or(&[][..], Vec::as_slice);
    opened.iter().all(|open| {
        host_access.iter().any(|access| {
            let what = open["what"].as_str().unwrap();
            // Long evidence is cut; of a bind, the path is what matters.
            open["id"] == access.id
                && (!matches!(access.id, "bind" | "network-parent" | "network-bridge" | "network-subnet")
                    || access.what == what
                    || access.what.ends_with('…'))
        })
    })
}

/// Compares one request with all that the engines make of it.
fn compare(request: &Value, engines: &[Value], tally: &mut Tally) -> Result<(), String> {
    let transport = if request["http2"] == true { Transport::MaybeHttp2 } else { Transport::Http1 };
    for engine in engines {
        let call = Call::decode(&serde_json::to_vec(&engine["call"]).unwrap()).map_err(|error| error.to_string())?;
        let intent = Intent::over(&call, transport);
        if engine["act"].is_null() {
            tally.nothing += 1;
            continue;
        }
        match agrees(&intent, &engine["act"]) {
            Ok(true) => tally.named += 1,
            Ok(false) => tally.refused += 1,
            Err(why) => return Err(format!("{}: {why}\ncall: {}\nrequest: {request}", engine["engine"], engine["call"])),
        }
    }
    Ok(())
}

#[test]
fn whatever_an_engine_would_act_on_the_gate_names_or_refuses() {
    let number = |name: &str, default: u64| std::env::var(name).ok().map_or(default, |text| text.parse().expect(name));
    let (cases, seed) = (number("ORACLE_CASES", 10_000), number("ORACLE_SEED", 20_260_823));
    let mut oracle = Oracle::start();
    let mut generator = Generator::new(seed);
    let mut tally = Tally::default();
    let mut families: BTreeMap<&'static str, [usize; 2]> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut left = usize::try_from(cases).unwrap();
    while left > 0 {
        let batch: Vec<(&'static str, Value)> = (0..left.min(BATCH)).map(|_| generator.request()).collect();
        left -= batch.len();
        let requests: Vec<Value> = batch.iter().map(|(_, request)| request.clone()).collect();
        for ((family, request), engines) in batch.iter().zip(oracle.ask(&requests)) {
            let before = tally.named;
            if let Err(why) = compare(request, &engines, &mut tally) {
                wrong.push(why);
            }
            let counts = families.entry(family).or_default();
            counts[0] += 1;
            counts[1] += usize::from(tally.named > before);
        }
        assert!(wrong.len() < 20, "seed {seed}: {} disagreements, among them\n{}", wrong.len(), wrong.join("\n\n"));
    }
    println!("seed {seed}, {cases} requests: {tally:?}; per family [made, named] {families:?}");
    assert!(wrong.is_empty(), "seed {seed}: {} disagreements\n{}", wrong.len(), wrong.join("\n\n"));
    // An oracle that refuses everything, or a gate that does, would agree with anything.
    assert!(tally.named * 5 > usize::try_from(cases).unwrap(), "{tally:?}");
    assert!(cases < 10_000 || families.values().all(|[_, named]| *named > 0), "{families:?}");
}

/// The oracle itself against what real daemons showed a plugin and did.
#[test]
fn the_oracle_agrees_with_what_daemons_did() {
    let corpus = include_str!("../fixtures/corpus/public.jsonl");
    let mut oracle = Oracle::start();
    let mut compared = 0;
    for row in corpus.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let Some(raw) = row["request_b64"].as_str() else { continue };
        let id = row["id"].as_str().unwrap();
        let engines = oracle.ask(&[json!({"raw": raw})]).remove(0);
        let name = if row["daemon"] == "20.10.24" { "20.10" } else { "new" };
        let Some(engine) = engines.iter().find(|engine| engine["engine"] == name) else { panic!("{id}: not asked") };
        for field in ["RequestMethod", "RequestUri", "RequestBody"] {
            assert_eq!(engine["call"][field], row["authz_request"][field], "{id}: {field} is shown otherwise");
        }
        let effect = row["daemon_effect"].as_str().unwrap();
        let act = engine["act"]["do"].as_str();
        let same = match effect {
            "pull" | "create" | "import" | "load" | "commit" | "tag" | "swarm" => act == Some(effect),
            "run" => matches!(act, Some("start" | "restart")),
            "build" | "session" => act == Some("build"),
            "service" => matches!(act, Some("service" | "rollback")),
            "volume" => act == Some("volume"),
            "container" => act == Some("drive"),
            // The host's state decides these as well.
            _ => true,
        };
        assert!(same, "{id}: the daemon did {effect}, the oracle says {engine}");
        compared += 1;
    }
    assert!(compared > 200, "{compared}");
}

/// Requests on which gate and oracle once disagreed.
#[test]
fn what_was_once_misread_stays_read() {
    let found = include_str!("../fixtures/requests/found.jsonl");
    let mut oracle = Oracle::start();
    for request in found.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let engines = oracle.ask(std::slice::from_ref(&request)).remove(0);
        assert!(!engines.is_empty(), "no engine is asked: {request}");
        compare(&request, &engines, &mut Tally::default()).unwrap();
    }
}
