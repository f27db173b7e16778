//! A host that comes up while Notary hangs, and a host with many images in use: how long anybody waits, and whom the server sees.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use img_authz::audit::{FileJournal, JournalLimits};
use img_authz::engine::{Container, Fake, Image};
use img_authz::gate::{Approvals, Gate, Identity, Rules};
use img_authz::image::{Digest, ImageConfig, Repository};
use img_authz::net::Tls;
use img_authz::policy::Settings;
use img_authz::trust::notary::{Config, Notary, OnOutage};
use img_authz::trust::{Asking, Purpose, Question};
use img_authz::wire::Answer;
use serde_json::json;

use crate::support::trust_repo::*;
use crate::support::trust_server::{Reply, Server};

/// Repositories in use, and containers of each.
const REPOSITORIES: usize = 20;
const EACH: usize = 5;

fn repository(index: usize) -> Repository {
    format!("reg.example:5000/team/app{index}").parse().unwrap()
}

/// One publication that is good for every repository below `team`, today and for long.
fn shared() -> Files {
    let mut root = params("reg.example:5000/team/*");
    (root.not_before, root.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2100, 1, 1));
    let mut repo = Repo::docker(root_key_with(&root));
    for signed in repo.signed.values_mut() {
        signed["expires"] = json!("2100-01-01T00:00:00Z");
    }
    repo.publish()
}

/// A server of them, which notes when it is asked for what.
fn server() -> (Server, Arc<Mutex<Vec<(Instant, String)>>>) {
    let (files, asked) = (shared(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&asked);
    let server = Server::start(move |seen| {
        noted.lock().unwrap().push((Instant::now(), seen.path.clone()));
        match seen.path.split_once("/_trust/tuf/").and_then(|(_, name)| files.get(name)) {
            Some(bytes) => Reply::File(bytes.clone()),
            None => Reply::Status(404, Vec::new(), Vec::new()),
        }
    });
    (server, asked)
}

fn notary(server: &Server, url: &str, folder: &std::path::Path, change: impl FnOnce(&mut Config)) -> Notary {
    let mut config = Config::new(url, folder);
    config.tls = Tls::only(&server.ca).unwrap();
    change(&mut config);
    Notary::new(config).unwrap()
}

async fn learn(notary: &Notary, index: usize) {
    let (question, deadline) = (Question::Tag("1.0".parse().unwrap()), tokio::time::Instant::now() + Duration::from_secs(8));
    notary
        .vouch(&repository(index), &question, Asking { purpose: Purpose::Pull, now: img_authz::clock::now(), deadline })
        .await
        .unwrap();
}

/// The content that container `index` runs: of a signed image, of one that is unsigned, of a repository that nobody asked about.
enum Content {
    Signed(usize),
    Unsigned,
    Unknown,
}

/// An engine with one container.
fn put(engine: &Fake, name: &str, content: &Content) {
    let (from, manifest) = match content {
        Content::Signed(index) => (repository(*index), digest("one").parse().unwrap()),
        Content::Unsigned => (repository(0), Digest::of(b"unsigned manifest")),
        Content::Unknown => ("reg.example:5000/other/app".parse().unwrap(), digest("one").parse().unwrap()),
    };
    let id = Digest::of(format!("{from} {manifest}").as_bytes());
    engine.put_image(Image {
        id,
        store: Some(img_authz::engine::Store::Classic),
        repo_tags: Vec::new(),
        repo_digests: vec![(from, manifest)],
        config: ImageConfig::default(),
    });
    engine.put_container(Container {
        id: Digest::of(name.as_bytes()).hex().parse().unwrap(),
        name: name.to_owned(),
        image: Some(id),
        manifest: None,
        platform: None,
        image_ref: String::new(),
        runs_as: img_authz::image::RunsAs::default(),
        mounts: Vec::new(),
        running: false,
        started_at: None,
    });
}

/// As dockerd posts it.
async fn posted(gate: &Gate, target: &str) -> Result<(), String> {
    let post = json!({ "RequestMethod": "POST", "RequestUri": target, "RequestHeaders": { "Content-Length": "0" } });
    match gate.request(Gate::read(post.to_string().as_bytes(), gate.manner())).await {
        Answer::Allow => Ok(()),
        Answer::Deny(message) => Err(message),
    }
}

#[test]
fn after_a_reboot_with_a_notary_that_hangs_a_hundred_containers_wait_once_together() {
    let folder = tempfile::tempdir().unwrap();
    let workers = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (server, _) = server();
    {
        // Before the reboot.
        let before = notary(&server, &server.url, folder.path(), |_| ());
        workers.block_on(async {
            for index in 0..REPOSITORIES {
                learn(&before, index).await;
            }
        });
    }
    // What the gate before the reboot has approved: repositories that were never approved have fewer places.
    let approvals = folder.path().join("approvals.jsonl");
    let approved =
        |index| json!({ "image_id": digest("one"), "repository": repository(index), "digest": digest("one") }).to_string();
    std::fs::write(&approvals, (0..REPOSITORIES).map(|index| approved(index) + "\n").collect::<String>()).unwrap();
    // The kernel takes connections, and nobody answers them.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", hanging.local_addr().unwrap().port());
    let engine = Arc::new(Fake::new());
    for index in 0..REPOSITORIES * EACH {
        put(&engine, &format!("web-{index}"), &Content::Signed(index % REPOSITORIES));
    }
    put(&engine, "unsigned", &Content::Unsigned);
    put(&engine, "unknown", &Content::Unknown);
    let settings = Settings::default().with("REGISTRY", "reg.example:5000").with("NOTARY", &url).with("ALLOWLIST", "off");
    let journal = FileJournal::open(&folder.path().join("audit.jsonl"), JournalLimits::default()).unwrap();
    let gate_on = |on_outage| {
        let notary = notary(&server, &url, folder.path(), |config| config.on_outage = on_outage);
        let rules =
            Rules::Good { policy: settings.resolve(false).unwrap().policy, verifiers: vec![Arc::new(notary)], registry: None };
        let workers = workers.handle().clone();
        Arc::new(Gate::new(rules, engine.clone(), journal.clone(), Approvals::open(&approvals), Identity::default(), workers))
    };
    let serving = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    serving.block_on(async {
        let gate = gate_on(OnOutage::UseKnown);
        let began = Instant::now();
        let mut all = tokio::task::JoinSet::new();
        for index in 0..REPOSITORIES * EACH {
            let gate = Arc::clone(&gate);
            all.spawn(async move { posted(&gate, &format!("/v1.43/containers/web-{index}/start")).await });
        }
        for (name, code) in [("unsigned", "not-signed: "), ("unknown", "trust-unreachable: ")] {
            let gate = Arc::clone(&gate);
            all.spawn(async move {
                let answer = posted(&gate, &format!("/v1.43/containers/{name}/start")).await;
                assert!(answer.as_ref().is_err_and(|message| message.starts_with(code)), "{name}: {answer:?}");
                Ok(())
            });
        }
        let pull = {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { posted(&gate, "/v1.43/images/create?fromImage=reg.example:5000/team/app0&tag=1.0").await })
        };
        while let Some(answer) = all.join_next().await {
            assert_eq!(answer.unwrap(), Ok(()));
        }
        // The network gets three seconds, once.
        let took = began.elapsed();
        println!("{} starts in {took:?}", REPOSITORIES * EACH);
        assert!((Duration::from_secs(2)..Duration::from_millis(4500)).contains(&took), "took {took:?}");
        assert!(pull.await.unwrap().is_err_and(|message| message.starts_with("trust-unreachable: ")));
        // The outage is remembered: those that come one after another wait no more.
        let began = Instant::now();
        for index in 0..REPOSITORIES * EACH {
            assert_eq!(posted(&gate, &format!("/v1.43/containers/web-{index}/restart")).await, Ok(()), "{index}");
        }
        assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
        // Who wants nothing to run unasked gets that.
        let strict = gate_on(OnOutage::Deny);
        let answer = posted(&strict, "/v1.43/containers/web-0/start").await;
        assert!(answer.is_err_and(|message| message.starts_with("trust-unreachable: ")));
    });
    drop(hanging);
}

#[test]
fn checks_ahead_are_spread_and_few_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (server, asked) = server();
    let many = 2 * REPOSITORIES;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let notary = notary(&server, &server.url, folder.path(), |config| config.freshness = Duration::from_secs(5));
    runtime.block_on(async {
        for index in 0..many {
            learn(&notary, index).await;
        }
    });
    // All are asked about once more at one time, so that only the spreading keeps their checks apart.
    std::thread::sleep(Duration::from_secs(5));
    runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for index in 0..many {
            let notary = notary.clone();
            all.spawn(async move { learn(&notary, index).await });
        }
        all.join_all().await;
    });
    asked.lock().unwrap().clear();
    runtime.spawn(notary.keep_fresh(img_authz::clock::now));
    std::thread::sleep(Duration::from_millis(5500));
    let asked = asked.lock().unwrap();
    assert!(asked.iter().all(|(_, path)| path.ends_with("/timestamp.json")));
    // It looks ten times in a window, and begins at most eight checks at each look.
    let (Some((first, _)), Some((last, _))) = (asked.first(), asked.last()) else { panic!("nobody was asked") };
    assert!((many / 2..=many).contains(&asked.len()), "{} checks of {many}", asked.len());
    assert!(last.duration_since(*first) > Duration::from_secs(1), "all at once");
    let together = |from: &Instant| {
        let within = |at: &Instant| at >= from && at.duration_since(*from) < Duration::from_millis(300);
        asked.iter().filter(|(at, _)| within(at)).count()
    };
    let most = asked.iter().map(|(at, _)| together(at)).max().unwrap();
    assert!(most <= 8, "{most} at one look");
}
