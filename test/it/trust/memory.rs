//! What large repositories cost in memory: 64 of some 6 MB each, pulled at once. Measures, and so does not run by itself:
//!
//! ```text
//! cargo test --release --test it trust::memory -- --ignored --nocapture      (without --release: the same sizes, other times)
//! ```
//!
//! The server is another process: what it holds does not count.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use img_authz::image::Repository;
use img_authz::net::Tls;
use img_authz::trust::notary::{Config, Notary};
use img_authz::trust::{Asking, Purpose, Question, TrustCode};
use serde_json::json;

use crate::support::trust_repo::*;
use crate::support::trust_server::{Client, Reply, Server, file, good, now};

/// Set for the process that serves, and for the one that is measured.
const SERVE: &str = "TRUST_MEMORY_SERVE";
const MEASURE: &str = "TRUST_MEMORY_MEASURE";
/// What the plugin's environment is, settings aside.
const PLUGIN: &str = include_str!("../../../plugin/config.json");
const REPOSITORIES: usize = 64;
const TAGS: usize = 70_000;
const PATIENCE: Duration = Duration::from_mins(5);
/// Most of memory beyond what the process has before, in MB, while they are verified and afterwards. One is verified at a time, and
/// takes five times its bytes for a while; four are kept, of 4 MB each.
const PEAK: u64 = 60;
const KEPT: u64 = 32;

fn name(index: usize) -> String {
    format!("reg.example:5000/large/r{index}")
}

/// Files of all repositories: each a root of its own, all the same large targets.
fn files(repositories: usize, tags: usize) -> BTreeMap<String, Arc<Vec<u8>>> {
    let mut repo = Repo::docker(root_key("shared"));
    let tags: serde_json::Map<_, _> = (0..tags).map(|tag| (format!("t{tag}"), target(&tag.to_string()))).collect();
    repo.role("targets/releases")["targets"] = tags.into();
    let shared = repo.publish();
    let snapshot: serde_json::Value = serde_json::from_slice(&shared["snapshot.json"]).unwrap();
    let mut all = BTreeMap::new();
    let large: BTreeMap<&String, Arc<Vec<u8>>> =
        shared.iter().filter(|(file, _)| file.starts_with("targets")).map(|(file, raw)| (file, Arc::new(raw.clone()))).collect();
    repo.signed.retain(|role, _| !role.starts_with("targets"));
    for index in 0..repositories {
        let key = root_key(&name(index));
        let mut own = repo.clone();
        own.rekey("root", &[&key], 1);
        own.signers.insert("root".into(), vec![key]);
        let meta = snapshot["signed"]["meta"].clone();
        own.edit_listing("snapshot", move |signed| {
            for role in ["targets", "targets/releases", "targets/alice"] {
                signed["meta"][role] = meta[role].clone();
            }
        });
        let path = |file: &str| format!("/v2/{}/_trust/tuf/{file}", name(index));
        all.extend(own.publish().into_iter().map(|(file, raw)| (path(&file), Arc::new(raw))));
        all.extend(large.iter().map(|(file, raw)| (path(file), Arc::clone(raw))));
    }
    all
}

#[test]
#[ignore = "serves for the measurement beside it"]
fn serves() {
    if std::env::var_os(SERVE).is_none() {
        return;
    }
    let files = files(REPOSITORIES, TAGS);
    let server = Server::start(move |seen| match files.get(&seen.path) {
        Some(raw) => Reply::File(raw.to_vec()),
        None => Reply::Status(404, Vec::new(), Vec::new()),
    });
    println!("\n{}", json!({ "url": server.url, "ca": server.ca }));
    // Until whoever asked is gone.
    let _ = std::io::stdin().lines().next();
}

/// A line of `/proc/self/status`, in MB.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn large_repositories_go_in_turn_and_small_ones_pass_them() {
    let (files, all) = (files(4, 8000), good());
    // Large files on their way, and the most there were at once.
    let under_way = Arc::new(Mutex::new((0, 0)));
    let shared = Arc::clone(&under_way);
    let server = Server::start(move |seen| {
        let Some(raw) = files.get(&seen.path) else { return file(&all, seen) };
        if raw.len() > 512 << 10 {
            let mut count = shared.lock().unwrap();
            *count = (count.0 + 1, count.1.max(count.0 + 1));
            drop(count);
            std::thread::sleep(Duration::from_millis(300));
            shared.lock().unwrap().0 -= 1;
        }
        Reply::File(raw.to_vec())
    });
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(&server, folder.path(), |config| config.network_time = PATIENCE);
    client.runtime.block_on(async {
        let ask = |name: String, question: Question| {
            let notary = client.notary.clone();
            let end = tokio::time::Instant::now() + PATIENCE;
            tokio::spawn(async move {
                notary
                    .vouch(&name.parse().unwrap(), &question, Asking { purpose: Purpose::Pull, now: now(), deadline: end })
                    .await
                    .unwrap()
            })
        };
        let large: Vec<_> = (0..4).map(|index| ask(name(index), Question::AnyOf(vec![digest("7").parse().unwrap()]))).collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        ask(GUN.to_owned(), Question::Tag("1.0".parse().unwrap())).await.unwrap();
        assert!(large.iter().any(|one| !one.is_finished()), "the small one waited for all the large ones");
        for one in large {
            one.await.unwrap();
        }
    });
    assert_eq!(*under_way.lock().unwrap(), (0, 1));
}

#[test]
#[ignore = "measures memory and takes a minute"]
fn large_repositories_stay_within_their_bound() {
    if std::env::var_os(MEASURE).is_none() {
        // In a process of its own, with what the C library is told where the gate runs.
        let plugin: serde_json::Value = serde_json::from_str(PLUGIN).unwrap();
        let fixed = plugin["env"].as_array().unwrap().iter().filter(|env| env["settable"].is_null());
        let ran = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "trust::memory::large_repositories_stay_within_their_bound", "--nocapture"])
            .envs(fixed.map(|env| (env["name"].as_str().unwrap(), env["value"].as_str().unwrap())))
            .env(MEASURE, "1")
            .status();
        assert!(ran.unwrap().success());
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "trust::memory::serves", "--nocapture"])
        .env(SERVE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Kept: the test harness there says after a minute that it is still running, and ends if nobody reads.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told: serde_json::Value = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(&line).unwrap())
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(told["url"].as_str().unwrap(), folder.path());
    config.tls = Tls::only(told["ca"].as_str().unwrap()).unwrap();
    // What is measured is memory, and on a slow machine as well.
    config.network_time = PATIENCE;
    let notary = Notary::new(config).unwrap();
    // As the gate has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let before = memory("VmRSS");
    let mut left: Vec<usize> = (0..REPOSITORIES).collect();
    let mut round = 0;
    while !left.is_empty() {
        round += 1;
        assert!(round <= 64, "{} repositories are never verified", left.len());
        let started = Instant::now();
        let answers = runtime.block_on(async {
            let mut all = tokio::task::JoinSet::new();
            for index in left.drain(..) {
                let notary = notary.clone();
                all.spawn(async move {
                    let repository: Repository = name(index).parse().unwrap();
                    let question = Question::AnyOf(vec![digest("7").parse().unwrap()]);
                    let end = tokio::time::Instant::now() + PATIENCE;
                    (
                        index,
                        notary.vouch(&repository, &question, Asking { purpose: Purpose::Pull, now: now(), deadline: end }).await,
                    )
                });
            }
            all.join_all().await
        });
        let mut last = String::new();
        for (index, answer) in answers {
            match answer {
                Ok(_) => {}
                Err(error) if matches!(error.code, TrustCode::Busy | TrustCode::Unreachable) => {
                    left.push(index);
                    last = error.to_string();
                }
                Err(error) => panic!("{error}"),
            }
        }
        if !left.is_empty() {
            println!("{last}");
            // As somebody would who repeats the call.
            std::thread::sleep(Duration::from_secs(5));
        }
        println!(
            "round {round}: {} left after {:?}; {} MB at peak, {} MB now",
            left.len(),
            started.elapsed(),
            memory("VmHWM"),
            memory("VmRSS")
        );
    }
    std::thread::sleep(Duration::from_secs(2));
    println!("before {before} MB, peak {} MB, afterwards {} MB", memory("VmHWM"), memory("VmRSS"));
    drop((child.stdin.take(), lines));
    let _ = child.wait();
    assert!(memory("VmHWM") - before <= PEAK && memory("VmRSS").saturating_sub(before) <= KEPT);
}

/// A change of one small file, in a repository of medium size that would be a large one if what was read from the disk for it counted
/// twice.
#[test]
fn what_was_read_after_a_restart_does_not_count_again_when_something_changed() {
    let (shared_files, large) = (files(2, 8000), name(1));
    let mut repo = Repo::new(root_key(GUN));
    repo.delegate("targets/releases", &[Key::ed25519()], &[""]);
    let tags: serde_json::Map<_, _> = (0..4000).map(|tag| (format!("t{tag}"), target(&tag.to_string()))).collect();
    repo.role("targets/releases")["targets"] = tags.into();
    let mut publish = || {
        for role in ["targets", "snapshot", "timestamp"] {
            let version = repo.role(role)["version"].as_u64().unwrap();
            repo.role(role)["version"] = json!(version + 1);
        }
        repo.publish()
    };
    let old = publish();
    let bytes = old.values().map(Vec::len).max().unwrap();
    assert!((300 << 10..450 << 10).contains(&bytes), "{bytes}");
    let on_server = Arc::new(Mutex::new((old, Duration::ZERO)));
    let shared = Arc::clone(&on_server);
    let server = Server::start(move |seen| {
        let (all, wait) = shared.lock().unwrap().clone();
        let Some(raw) = shared_files.get(&seen.path) else { return file(&all, seen) };
        std::thread::sleep(wait);
        Reply::File(raw.to_vec())
    });
    let folder = tempfile::tempdir().unwrap();
    let ask = |client: &Client, name: &str| {
        let (notary, repository) = (client.notary.clone(), name.parse().unwrap());
        let question = Question::AnyOf(vec![digest("7").parse().unwrap()]);
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        client.runtime.spawn(async move {
            notary.vouch(&repository, &question, Asking { purpose: Purpose::Pull, now: now(), deadline: end }).await.unwrap()
        })
    };
    let restarted = || Client::new(&server, folder.path(), |config| config.network_time = Duration::from_secs(20));
    let client = restarted();
    for name in [GUN, &large] {
        let asked = ask(&client, name);
        client.runtime.block_on(asked).unwrap();
    }
    drop(client);
    *on_server.lock().unwrap() = (publish(), Duration::from_secs(4));
    let client = restarted();
    // The large one has the place of large ones while its server takes its time.
    let slow = ask(&client, &large);
    std::thread::sleep(Duration::from_secs(1));
    let changed = ask(&client, GUN);
    client.runtime.block_on(changed).unwrap();
    assert!(!slow.is_finished(), "the changed one waited for the large one");
    client.runtime.block_on(slow).unwrap();
}
