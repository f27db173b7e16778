//! What one call costs on the serving thread beside the largest repositories that pass. `bench/size.sh` shows the figures of a
//! release build.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use img_authz::image::{Digest, Repository};
use img_authz::trust::notary::RequiredSigners;
use img_authz::trust::tuf::RoleName;
use img_authz::trust::{Asking, Purpose, Question};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::trust_repo::*;
use crate::support::trust_server::{Client, Server, now};

/// What one call may cost where nothing else is asked for: a promise of the release build, with room for one that is not optimised
/// and for a machine that is busy.
const MOST: Duration = Duration::from_millis(1);
/// Calls of one kind; their median counts.
const CALLS: usize = 21;

/// As small as a target is.
fn small(content: &str) -> Value {
    json!({ "hashes": { "sha256": STANDARD.encode(Sha256::digest(content)) } })
}

fn tags(repo: &mut Repo, role: &str, count: usize, content: &str) {
    let targets = repo.role(role)["targets"].as_object_mut().unwrap();
    targets.extend((0..count).map(|index| (format!("t{index}"), small(content))));
}

/// Signers of nothing that matters, with as many paths as there may be.
fn crowd(repo: &mut Repo, below: &str, count: usize, paths: usize) {
    let key = Key::ecdsa();
    let paths: Vec<String> = (0..paths).map(|index| format!("t{index}x")).chain([String::new()]).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    for index in 0..count {
        let role = format!("{below}/s{index}");
        repo.delegate(&role, std::slice::from_ref(&key), &paths);
        repo.role(&role)["targets"]["other"] = small("other");
    }
}

/// Name, repository, signers that must agree.
fn largest() -> Vec<(&'static str, Repo, &'static [&'static str])> {
    let mut one = Repo::new(root_key(GUN));
    tags(&mut one, "targets", 90_000, "one");

    // Each tag has the digest in `targets`, and another one in `targets/releases`, which counts.
    let mut hidden = Repo::docker(root_key(GUN));
    tags(&mut hidden, "targets", 30_000, "one");
    tags(&mut hidden, "targets/releases", 30_000, "two");
    hidden.role("targets")["targets"].as_object_mut().unwrap().remove("1.0");
    crowd(&mut hidden, "targets", 300, 0);

    let mut lacking = Repo::docker(root_key(GUN));
    tags(&mut lacking, "targets/releases", 30_000, "one");
    crowd(&mut lacking, "targets", 300, 100);

    // What `targets` says counts only where nobody below `targets/releases` says anything.
    let mut below = Repo::docker(root_key(GUN));
    tags(&mut below, "targets", 30_000, "one");
    crowd(&mut below, "targets/releases", 500, 100);

    // Everyone signs the same.
    let mut all = Repo::docker(root_key(GUN));
    tags(&mut all, "targets/releases", 200, "one");
    crowd(&mut all, "targets", 500, 10);
    for role in all.signed.keys().filter(|role| role.starts_with("targets/s")).cloned().collect::<Vec<_>>() {
        tags(&mut all, &role, 200, "one");
    }
    vec![
        ("90,000 tags of one digest", one, &[]),
        ("30,000 tags and 300 signers, all hidden", hidden, &[]),
        ("30,000 tags and 300 signers, one lacking", lacking, &["targets/s1"]),
        ("30,000 tags below 500 roles of 100 paths", below, &[]),
        ("500 signers of each of 200 tags", all, &[]),
    ]
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

#[test]
fn one_call_beside_the_largest_repositories_takes_less_than_a_millisecond() {
    let of = |content: &str| Question::AnyOf(vec![digest(content).parse::<Digest>().unwrap()]);
    let tag = |tag: &str| Question::Tag(tag.parse().unwrap());
    let questions = [
        ("first of the digest", of("one")),
        ("digest", of("one")),
        ("another digest", of("two")),
        ("unknown digest", of("evil")),
        ("tag", tag("t77")),
        ("unknown tag", tag("none")),
        ("tag of a signer alone", tag("other")),
    ];
    let repository: Repository = GUN.parse().unwrap();
    let mut slow = Vec::new();
    for (name, repo, require) in largest() {
        let files = repo.publish();
        let bytes: usize = files.values().map(Vec::len).sum::<usize>() / 2;
        let (server, folder) = (Server::files(files), tempfile::tempdir().unwrap());
        let client = Client::new(&server, folder.path(), |config| {
            config.freshness = Duration::from_hours(1);
            config.network_time = Duration::from_mins(5);
            let require = require.iter().map(|role| RoleName::delegation(role).unwrap()).collect();
            config.require = RequiredSigners::everywhere(require);
        });
        let started = Instant::now();
        let deadline = tokio::time::Instant::now() + Duration::from_mins(5);
        let question = tag("t1");
        let asked = client.notary.vouch(&repository, &question, Asking { purpose: Purpose::Pull, now: now(), deadline });
        let answer = client.runtime.block_on(asked);
        assert!(answer.as_ref().is_ok_and(|_| require.is_empty()) || !require.is_empty(), "{name}: {answer:?}");
        println!("{name}: {} KiB, verified in {:?}", bytes >> 10, started.elapsed());
        for (what, question) in &questions {
            let calls = if what.starts_with("first") { 1 } else { CALLS };
            let call = |_| {
                let started = Instant::now();
                let answer = client.notary.ready(&repository, question, now());
                (started.elapsed(), answer)
            };
            let (times, answers): (Vec<_>, Vec<_>) = (0..calls).map(call).unzip();
            let time = median(times);
            let said =
                answers.first().and_then(Option::as_ref).map(|answer| answer.as_ref().map(|_| ()).map_err(|no| no.code.as_str()));
            println!("    {what:24} {time:>12.1?}  {said:?}");
            if time >= MOST {
                slow.push(format!("{name}: {what}: {time:?}"));
            }
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}
