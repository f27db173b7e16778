//! When the server is asked, how often, and how many wait for one answer.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use img_authz::image::Repository;
use img_authz::trust::{Asking, Freshness, Purpose, Question, TrustCode};
use jiff::Timestamp;

use crate::support::trust_repo::*;
use crate::support::trust_server::{Client, Reply, Server, changing, code, file, good, known_then, now};

#[test]
fn within_the_window_nobody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::files(good());
    let client = Client::new(&server, folder.path(), |config| config.freshness = Duration::from_secs(30));
    client.ask(Purpose::Pull).unwrap();
    let asked = server.count();
    client.ask(Purpose::Pull).unwrap();
    client.ask(Purpose::Run).unwrap();
    assert_eq!(server.count(), asked);
    let repository: Repository = GUN.parse().unwrap();
    let question = Question::Tag("1.0".parse().unwrap());
    assert!(client.notary.ready(&repository, &question, now()).is_some_and(|answer| answer.is_ok()));
    // The window is one of both clocks.
    let later: Timestamp = "2030-06-01T00:00:31Z".parse().unwrap();
    assert!(client.notary.ready(&repository, &question, later).is_none());
    // Past the date nothing is ready with a yes.
    let end: Timestamp = "2031-06-01T00:00:00Z".parse().unwrap();
    assert!(client.notary.ready(&repository, &question, end).is_none());
}

#[test]
fn what_is_in_use_is_checked_before_its_window_ends_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::files(good());
    let client = Client::new(&server, folder.path(), |config| {
        config.freshness = Duration::from_secs(4);
        config.in_use = Duration::from_secs(2);
    });
    // The verifier is told one time for ever; the steady clock alone makes the window end.
    client.runtime.spawn(client.notary.keep_fresh(now));
    client.ask(Purpose::Pull).unwrap();
    let (repository, question): (Repository, _) = (GUN.parse().unwrap(), Question::Tag("1.0".parse().unwrap()));
    let (asked, started) = (server.count(), Instant::now());
    while started.elapsed() < Duration::from_secs(8) {
        // Never a wait: the answer is ready all the time.
        assert!(client.notary.ready(&repository, &question, now()).is_some_and(|answer| answer.is_ok()));
        std::thread::sleep(Duration::from_millis(50));
    }
    let checks = server.count() - asked;
    assert!((2..=3).contains(&checks), "{checks} checks in two windows");
    assert!(server.paths().iter().skip(asked).all(|path| path.ends_with("/timestamp.json")));
    // Nobody asks any more: the window ends.
    std::thread::sleep(Duration::from_secs(5));
    let before = server.count();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(server.count(), before);
    assert!(client.notary.ready(&repository, &question, now()).is_none());
}

#[test]
fn an_outage_is_not_asked_after_ahead_of_questions() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = Client::new(&server, folder.path(), |config| config.freshness = Duration::from_secs(2));
    client.runtime.spawn(client.notary.keep_fresh(now));
    client.ask(Purpose::Pull).unwrap();
    *files.lock().unwrap() = None;
    let asked = server.count();
    std::thread::sleep(Duration::from_secs(4));
    // Each check tries a busy server three times; a failed one is not repeated at every look.
    assert!(server.count() - asked <= 9, "{} requests", server.count() - asked);
    // The bad check changed nothing about what may run.
    assert!(client.ask(Purpose::Run).is_ok());
    assert_eq!(code(&client.ask(Purpose::Pull)), Some(TrustCode::Unreachable));
}

#[test]
fn a_name_of_which_the_server_knows_nothing_is_asked_for_once_in_some_seconds() {
    let (folder, files) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(Files::new())));
    let shared = Arc::clone(&files);
    let server = Server::start(move |seen| file(&shared.lock().unwrap(), seen));
    let client = Client::new(&server, folder.path(), |_| ());
    for purpose in [Purpose::Pull, Purpose::Run, Purpose::Pull] {
        assert_eq!(code(&client.ask(purpose)), Some(TrustCode::NoTrustData));
    }
    assert_eq!(server.count(), 1);
    *files.lock().unwrap() = good();
    std::thread::sleep(Duration::from_millis(3100));
    assert!(client.ask(Purpose::Pull).is_ok());
    // What is known is asked about each time, also when the answer is no.
    *files.lock().unwrap() = Files::new();
    for _ in 0..2 {
        let before = server.count();
        assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
        assert!(server.count() > before);
    }
}

#[test]
fn made_up_names_do_not_take_the_flights_of_what_is_known() {
    let (_folder, _files, _, _server, client) = known_then(|seen| seen.path.contains("/made/").then_some(Reply::Stall));
    client.runtime.block_on(async {
        let question = Question::Tag("1.0".parse().unwrap());
        for index in 0..150 {
            let (notary, question) = (client.notary.clone(), question.clone());
            let purpose = if index % 2 == 0 { Purpose::Run } else { Purpose::Pull };
            tokio::spawn(async move {
                let name: Repository = format!("reg.example:5000/made/up{index}").parse().unwrap();
                let end = tokio::time::Instant::now() + Duration::from_secs(8);
                notary.vouch(&name, &question, Asking { purpose, now: now(), deadline: end }).await
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let end = tokio::time::Instant::now() + Duration::from_secs(8);
        let vouch = client
            .notary
            .vouch(&GUN.parse().unwrap(), &question, Asking { purpose: Purpose::Run, now: now(), deadline: end })
            .await
            .unwrap();
        assert_eq!(vouch.freshness(), Freshness::Fresh);
    });
}

#[test]
fn a_server_that_hangs_costs_a_hundred_starts_one_wait() {
    let folder = tempfile::tempdir().unwrap();
    {
        let server = Server::files(good());
        Client::new(&server, folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    }
    let server = Server::start(|_| Reply::Stall);
    let client = Client::new(&server, folder.path(), |config| config.network_time = Duration::from_millis(1500));
    let started = Instant::now();
    client.runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for index in 0..100 {
            let notary = client.notary.clone();
            all.spawn(async move {
                // A pull of another name is in everybody's way.
                let name = if index % 2 == 0 { GUN.to_owned() } else { format!("reg.example:5000/made/up{index}") };
                let purpose = if index % 2 == 0 { Purpose::Run } else { Purpose::Pull };
                let question = Question::Tag("1.0".parse().unwrap());
                let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
                (purpose, notary.vouch(&name.parse().unwrap(), &question, Asking { purpose, now: now(), deadline }).await)
            });
        }
        while let Some(done) = all.join_next().await {
            let (purpose, answer) = done.unwrap();
            assert_eq!(answer.is_ok(), purpose == Purpose::Run, "{answer:?}");
        }
    });
    assert!(started.elapsed() < Duration::from_secs(3), "took {:?}", started.elapsed());
    // The outage is remembered.
    let started = Instant::now();
    assert!(client.ask(Purpose::Run).is_ok());
    assert!(started.elapsed() < Duration::from_millis(100));
}

#[test]
fn many_at_once_share_one_flight() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::files(good());
    let client = Client::new(&server, folder.path(), |_| ());
    client.runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let notary = client.notary.clone();
            all.spawn(async move {
                let question = Question::Tag("1.0".parse().unwrap());
                let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
                notary.vouch(&GUN.parse().unwrap(), &question, Asking { purpose: Purpose::Pull, now: now(), deadline }).await
            });
        }
        while let Some(done) = all.join_next().await {
            done.unwrap().unwrap();
        }
    });
    assert!(server.paths().iter().filter(|path| path.ends_with("/root.json")).count() <= 2);
}

#[test]
fn made_up_names_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::files(good());
    let client = Client::new(&server, folder.path(), |_| ());
    for index in 0..20 {
        let repository: Repository = format!("reg.example:5000/made/up{index}").parse().unwrap();
        let question = Question::Tag("1.0".parse().unwrap());
        let answer = client.runtime.block_on(async {
            client
                .notary
                .vouch(
                    &repository,
                    &question,
                    Asking { purpose: Purpose::Pull, now: now(), deadline: tokio::time::Instant::now() + Duration::from_secs(8) },
                )
                .await
        });
        assert_eq!(code(&answer), Some(TrustCode::NoTrustData));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
