//! What is an outage and what is none; what runs meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use img_authz::image::Repository;
use img_authz::trust::notary::{Config, OnOutage, RootHistory};
use img_authz::trust::{Freshness, Purpose, TrustCode, Verifier as _};
use jiff::Timestamp;

use crate::support::trust_repo::*;
use crate::support::trust_server::{Client, Reply, Seen, Server, changing, code, file, good, guarded, known_then, now, pull};

#[test]
fn out_of_reach_pulls_are_refused_and_what_is_here_runs_until_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = Client::new(&server, folder.path(), |_| ());
    client.ask(Purpose::Pull).unwrap();
    *files.lock().unwrap() = None;
    assert_eq!(code(&client.ask(Purpose::Pull)), Some(TrustCode::Unreachable));
    let since = now();
    let stale = client.ask(Purpose::Run).unwrap();
    assert_eq!(stale.freshness(), Freshness::Stale { since });
    // What it is good for ends with the limit, before its own dates do.
    assert_eq!(stale.expires(), Some(since + jiff::SignedDuration::from_hours(24)));
    // A new process, too; until the limit; and not past the date.
    let fresh = |change: fn(&mut Config)| Client::new(&server, folder.path(), change);
    assert!(fresh(|_| ()).ask(Purpose::Run).is_ok());
    let two_days: Timestamp = "2030-06-03T00:00:00Z".parse().unwrap();
    assert_eq!(code(&fresh(|_| ()).ask_at(Purpose::Run, two_days)), Some(TrustCode::Unreachable));
    let generous = |config: &mut Config| config.stale_limit = Duration::from_hours(24 * 1000);
    assert!(fresh(generous).ask_at(Purpose::Run, two_days).is_ok());
    let expired: Timestamp = "2031-06-03T00:00:00Z".parse().unwrap();
    assert_eq!(code(&fresh(generous).ask_at(Purpose::Run, expired)), Some(TrustCode::Expired));
    let earlier: Timestamp = "2030-05-01T00:00:00Z".parse().unwrap();
    assert_eq!(code(&fresh(generous).ask_at(Purpose::Run, earlier)), Some(TrustCode::Unreachable));
    assert_eq!(code(&fresh(|config| config.on_outage = OnOutage::Deny).ask(Purpose::Run)), Some(TrustCode::Unreachable));
    // A pin that is set meanwhile counts at once.
    let pinned = |config: &mut Config| {
        config.pins = img_authz::trust::tuf::Pins::read("{\"disable_tofu\":true}", |_| Err(String::new())).unwrap();
    };
    assert_eq!(code(&fresh(pinned).ask(Purpose::Run)), Some(TrustCode::RootNotTrusted));
}

fn of_timestamp(seen: &Seen, reply: Reply) -> Option<Reply> {
    seen.path.contains("timestamp").then_some(reply)
}

#[test]
fn a_slow_or_busy_repository_is_refused_and_what_is_known_of_it_is_not_used() {
    for reply in [
        (|seen| of_timestamp(seen, Reply::Drip("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", " ")))
            as fn(&Seen) -> Option<Reply>,
        |seen| of_timestamp(seen, Reply::Status(429, Vec::new(), Vec::new())),
        |seen| of_timestamp(seen, Reply::Status(503, vec![("retry-after", "60".to_owned())], Vec::new())),
        |_| Some(Reply::Status(429, Vec::new(), Vec::new())),
    ] {
        let (_folder, _files, is_bad, _server, client) = known_then(reply);
        assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Busy));
        // And it is no outage: the next question is asked.
        *is_bad.lock().unwrap() = false;
        assert_eq!(client.ask(Purpose::Run).unwrap().freshness(), Freshness::Fresh);
    }
}

/// A front end takes its time to say that the server behind it is away, and the last try runs out of time.
#[test]
fn a_server_that_fails_slowly_is_an_outage() {
    let slowly = |_: &Seen| {
        std::thread::sleep(Duration::from_millis(1200));
        Some(Reply::Status(502, Vec::new(), Vec::new()))
    };
    let (_folder, _files, _, _server, client) = known_then(slowly);
    for _ in 0..2 {
        assert_eq!(client.ask(Purpose::Run).unwrap().freshness(), Freshness::Stale { since: now() });
    }
}

#[test]
fn one_repository_without_an_answer_is_no_outage_and_what_is_withdrawn_then_stays_out() {
    for reply in [
        (|seen| of_timestamp(seen, Reply::Stall)) as fn(&Seen) -> Option<Reply>,
        |seen| of_timestamp(seen, Reply::Close),
        |seen| of_timestamp(seen, Reply::Status(500, Vec::new(), Vec::new())),
    ] {
        let (_folder, files, is_bad, _server, client) = known_then(reply);
        let _ = client.ask(Purpose::Run);
        *files.lock().unwrap() = Some(Files::new());
        *is_bad.lock().unwrap() = false;
        assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    }
}

/// Who may sign a file of a repository may make somebody in between break off where that file passes.
#[test]
fn a_connection_that_breaks_at_one_file_is_no_outage() {
    let mut repo = Repo::docker(root_key(GUN));
    let first = repo.publish();
    repo.bump();
    let second = repo.publish();
    for broken in ["/tuf/snapshot", "/tuf/targets/alice"] {
        let (folder, files) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(first.clone())));
        let shared = Arc::clone(&files);
        let is_broken = Arc::new(Mutex::new(false));
        let breaks = Arc::clone(&is_broken);
        let server = Server::start(move |seen| {
            if *breaks.lock().unwrap() && seen.path.contains(broken) {
                return Reply::Close;
            }
            file(&shared.lock().unwrap(), seen)
        });
        let client = Client::new(&server, folder.path(), |_| ());
        client.ask(Purpose::Pull).unwrap();
        *files.lock().unwrap() = second.clone();
        *is_broken.lock().unwrap() = true;
        assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Unreachable), "{broken}");
        *is_broken.lock().unwrap() = false;
        assert_eq!(client.ask(Purpose::Run).unwrap().freshness(), Freshness::Fresh, "{broken}");
    }
}

/// The first answer says that it is gone, the second question comes to nothing: that does not undo the first.
#[test]
fn what_is_withdrawn_is_not_brought_back_by_a_root_that_does_not_come() {
    for reply in [(|| Reply::Close) as fn() -> Reply, || Reply::Status(500, Vec::new(), Vec::new()), || Reply::Stall] {
        let folder = tempfile::tempdir().unwrap();
        let (files, is_gone) = (good(), Arc::new(Mutex::new(false)));
        let gone = Arc::clone(&is_gone);
        let server = Server::start(move |seen| match (*gone.lock().unwrap(), seen.path.ends_with("/root.json")) {
            (true, true) => reply(),
            (true, false) => Reply::Status(404, Vec::new(), Vec::new()),
            (false, _) => file(&files, seen),
        });
        let client = Client::new(&server, folder.path(), |config| config.network_time = Duration::from_millis(1500));
        client.ask(Purpose::Pull).unwrap();
        *is_gone.lock().unwrap() = true;
        let refused = client.ask(Purpose::Run).unwrap_err();
        assert!(matches!(refused.code, TrustCode::Unreachable | TrustCode::Busy), "{refused}");
    }
}

#[test]
fn a_page_of_somebody_in_between_is_an_outage_and_a_timestamp_that_is_none_is_not() {
    let (_folder, _files, _, _server, client) =
        known_then(|_| Some(Reply::Status(200, Vec::new(), b"<html>login</html>".to_vec())));
    assert_eq!(client.ask(Purpose::Run).unwrap().freshness(), Freshness::Stale { since: now() });
    assert_eq!(code(&client.ask(Purpose::Pull)), Some(TrustCode::Unreachable));
    let (_folder, _files, _, _server, client) =
        known_then(|seen| of_timestamp(seen, Reply::Status(200, Vec::new(), b"<html>login</html>".to_vec())));
    assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Invalid));
}

#[test]
fn after_an_outage_begins_the_server_is_asked_again_within_a_second_or_so() {
    let (_folder, files, is_bad, server, client) = known_then(|_| Some(Reply::Status(500, Vec::new(), Vec::new())));
    assert!(client.ask(Purpose::Run).is_ok());
    *files.lock().unwrap() = Some(Files::new());
    *is_bad.lock().unwrap() = false;
    let asked = server.count();
    assert!(client.ask(Purpose::Run).is_ok());
    assert_eq!(server.count(), asked, "it is left alone at first");
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
}

/// Takes all descriptors that are left.
fn take_descriptors() -> Vec<std::fs::File> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), maximum }).unwrap();
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

/// In a process of its own: descriptors are everybody's.
#[test]
#[ignore = "takes all descriptors; run by the test below"]
fn without_descriptors_nobody_knows_whether_the_server_is_there() {
    // Answers on one connection each.
    let (files, folder) = (good(), tempfile::tempdir().unwrap());
    let server = Server::start(move |seen| match file(&files, seen) {
        Reply::File(body) => Reply::Raw(
            [format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), &body]
                .concat(),
        ),
        other => other,
    });
    let client = Client::new(&server, folder.path(), |config| config.network_time = Duration::from_millis(1500));
    client.ask(Purpose::Pull).unwrap();
    let taken = take_descriptors();
    for _ in 0..2 {
        assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Busy));
    }
    // With descriptors again it is there; and when it then is gone, that is seen.
    drop(taken);
    assert_eq!(client.ask(Purpose::Run).unwrap().freshness(), Freshness::Fresh);
}

#[test]
fn a_host_without_descriptors_is_no_outage_of_the_server() {
    let done = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "trust::server::outage::without_descriptors_nobody_knows_whether_the_server_is_there"])
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_token_service_that_is_busy_or_slow_is_no_outage() {
    for (reply, expected) in [
        ((|| Reply::Status(429, Vec::new(), Vec::new())) as fn() -> Reply, TrustCode::Busy),
        (|| Reply::Status(503, vec![("retry-after", "9".to_owned())], Vec::new()), TrustCode::Busy),
        (|| Reply::Status(503, Vec::new(), Vec::new()), TrustCode::Unreachable),
    ] {
        let tokens = Server::start(move |_| reply());
        let server = guarded(format!("Bearer realm=\"{}/token\"", tokens.url), "Bearer never".into());
        assert_eq!(code(&pull(&server, |_| ())), Some(expected));
    }
    // The server takes its time to ask who that is, and the token service has none left.
    let tokens = Server::start(|_| Reply::Stall);
    let challenge = format!("Bearer realm=\"{}/token\"", tokens.url);
    let server = Server::start(move |seen| {
        if seen.path != "/v2/" {
            std::thread::sleep(Duration::from_millis(900));
        }
        Reply::Status(401, vec![("www-authenticate", challenge.clone())], Vec::new())
    });
    assert_eq!(code(&pull(&server, |config| config.network_time = Duration::from_millis(1500))), Some(TrustCode::Busy));
}

#[test]
fn withdrawn_is_no_outage_and_stays_withdrawn() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = Client::new(&server, folder.path(), |_| ());
    client.ask(Purpose::Pull).unwrap();
    *files.lock().unwrap() = Some(Files::new());
    assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    *files.lock().unwrap() = None;
    assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    // A restart during the outage does not bring back what was withdrawn, nor does a bundle from before.
    let again = Client::new(&server, folder.path(), |_| ());
    assert_eq!(code(&again.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    assert_eq!(code(&again.ask(Purpose::Pull)), Some(TrustCode::Unreachable));
    let gun: Repository = GUN.parse().unwrap();
    assert_eq!(
        again.runtime.block_on(again.notary.export(std::slice::from_ref(&gun), RootHistory::Left)).unwrap_err().code,
        TrustCode::Withdrawn
    );
    assert!(again.runtime.block_on(again.notary.statuses())[0].fault.is_some());
    *files.lock().unwrap() = Some(good());
    // Pulls ask at once, where starts leave a server alone that has just been gone.
    assert!(again.ask(Purpose::Pull).is_ok());
    // Nor does one after it is good again find anything of it.
    *files.lock().unwrap() = None;
    assert!(Client::new(&server, folder.path(), |_| ()).ask(Purpose::Run).is_ok());
}

#[test]
fn figures_tell_of_checks_and_of_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = Client::new(&server, folder.path(), |_| ());
    let stats = || client.notary.stats(now()).unwrap();
    assert_eq!((stats().is_reachable, stats().last_good, stats().checks.len()), (None, None, 0));
    client.ask(Purpose::Pull).unwrap();
    assert_eq!((stats().is_reachable, stats().last_good), (Some(true), Some(now())));
    *files.lock().unwrap() = None;
    let later: Timestamp = "2030-06-01T00:01:00Z".parse().unwrap();
    client.ask_at(Purpose::Pull, later).unwrap_err();
    assert_eq!((stats().is_reachable, stats().last_good), (Some(false), Some(now())));
    // While it is gone nobody renews the timestamp: its end matters.
    assert_eq!(stats().expires["timestamp"], LATER.parse().unwrap());
    *files.lock().unwrap() = Some(Files::new());
    client.ask_at(Purpose::Pull, later).unwrap_err();
    assert_eq!((stats().is_reachable, stats().repositories["refused"]), (Some(true), 1));
    *files.lock().unwrap() = Some(good());
    client.ask_at(Purpose::Pull, later).unwrap();
    let all = stats();
    assert_eq!((all.last_good, all.repositories["good"], all.repositories["refused"]), (Some(later), 1, 0));
    assert_eq!(all.checks, [("good", 2), ("trust-unreachable", 1), ("trust-withdrawn", 1)].into());
}

#[test]
fn an_answer_that_breaks_off_is_no_outage() {
    let folder = tempfile::tempdir().unwrap();
    Client::new(&Server::files(good()), folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    let cut = Server::start(|_| Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"signed\":".to_vec()));
    let client = Client::new(&cut, folder.path(), |_| ());
    for purpose in [Purpose::Pull, Purpose::Run] {
        assert_eq!(code(&client.ask(purpose)), Some(TrustCode::Busy), "{purpose:?}");
    }
}
