//! What is kept on the disk, and shared with other processes.

use std::sync::{Arc, Mutex};

use img_authz::trust::{Purpose, TrustCode};
use jiff::Timestamp;
use serde_json::json;

use crate::support::trust_repo::*;
use crate::support::trust_server::{Client, Server, changing, code, file, good, now};

#[test]
fn a_bad_answer_outlives_a_restart_during_an_outage() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    let new = repo.publish();
    let stranger = Repo::docker(root_key(GUN)).publish();
    let mut broken = new.clone();
    broken.insert("timestamp.json".into(), b"<html>".to_vec());
    for (bad, expected) in [
        (old, TrustCode::RolledBack),
        (stranger, TrustCode::RolledBack),
        (broken, TrustCode::Invalid),
        (Files::new(), TrustCode::Withdrawn),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (files, server) = changing();
        *files.lock().unwrap() = Some(new.clone());
        Client::new(&server, folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
        *files.lock().unwrap() = Some(bad);
        assert_eq!(code(&Client::new(&server, folder.path(), |_| ()).ask(Purpose::Run)), Some(expected));
        *files.lock().unwrap() = None;
        assert_eq!(code(&Client::new(&server, folder.path(), |_| ()).ask(Purpose::Run)), Some(expected));
    }
}

#[test]
fn a_wrong_pin_is_forgotten_with_the_right_one_and_a_bad_answer_is_not() {
    let pins = |text: &str| img_authz::trust::tuf::Pins::read(text, |_| Err(String::new())).unwrap();
    let wrong = pins(&json!({ "certs": { GUN: ["0".repeat(64)] } }).to_string());
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = |pins: &img_authz::trust::tuf::Pins| {
        let pins = pins.clone();
        Client::new(&server, folder.path(), |config| config.pins = pins)
    };
    let first = client(&pins("{}"));
    first.ask(Purpose::Pull).unwrap();
    let (_, keys) = first.runtime.block_on(first.notary.root(&GUN.parse().unwrap())).unwrap();
    let right = pins(&json!({ "certs": { GUN: keys } }).to_string());
    let mistaken = client(&wrong);
    for purpose in [Purpose::Pull, Purpose::Run] {
        assert_eq!(code(&mistaken.ask(purpose)), Some(TrustCode::RootNotTrusted));
    }
    *files.lock().unwrap() = None;
    assert_eq!(code(&mistaken.ask(Purpose::Run)), Some(TrustCode::RootNotTrusted));
    assert_eq!(code(&client(&wrong).ask(Purpose::Run)), Some(TrustCode::RootNotTrusted));
    // Who has the right pin, or none, goes on: also while the server is gone.
    assert!(client(&right).ask(Purpose::Run).is_ok());
    assert!(first.ask(Purpose::Run).is_ok());
    // What the server did wrong is remembered, whoever asks with a wrong pin in between.
    for bad in [Files::new(), Repo::docker(root_key(GUN)).publish()] {
        *files.lock().unwrap() = Some(bad);
        let expected = code(&client(&right).ask(Purpose::Pull));
        assert!(matches!(expected, Some(TrustCode::Withdrawn | TrustCode::RolledBack)), "{expected:?}");
        assert!(client(&wrong).ask(Purpose::Pull).is_err());
        *files.lock().unwrap() = None;
        assert_eq!(code(&client(&right).ask(Purpose::Run)), expected);
    }
    *files.lock().unwrap() = Some(good());
    assert!(client(&right).ask(Purpose::Pull).is_ok());
}

#[test]
fn a_bad_answer_that_is_repeated_is_kept_again_where_another_process_forgot_it() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = || Client::new(&server, folder.path(), |_| ());
    let first = client();
    first.ask(Purpose::Pull).unwrap();
    *files.lock().unwrap() = Some(Files::new());
    assert_eq!(code(&first.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    // For another process it was good again in between.
    *files.lock().unwrap() = Some(good());
    client().ask(Purpose::Pull).unwrap();
    *files.lock().unwrap() = Some(Files::new());
    assert_eq!(code(&first.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    *files.lock().unwrap() = None;
    assert_eq!(code(&client().ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    // Nor does its age stay that of the first one.
    *files.lock().unwrap() = Some(Files::new());
    let later: Timestamp = "2030-06-02T00:00:00Z".parse().unwrap();
    assert_eq!(code(&first.ask_at(Purpose::Run, later)), Some(TrustCode::Withdrawn));
    let again: Timestamp = "2030-06-02T00:00:01Z".parse().unwrap();
    assert_eq!(code(&first.ask_at(Purpose::Run, again)), Some(TrustCode::Withdrawn));
    let state = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path());
    let state = state.filter(|path| path.extension().is_some_and(|ending| ending == "state"));
    let text = String::from_utf8_lossy(&std::fs::read(state.last().unwrap()).unwrap()).into_owned();
    assert!(text.contains("2030-06-02T00:00:00Z"));
}

#[test]
fn rollback_is_refused_across_restarts_and_without_a_disk() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    let new = repo.publish();
    let folder = tempfile::tempdir().unwrap();
    Client::new(&Server::files(new.clone()), folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    let back = Server::files(old.clone());
    assert_eq!(code(&Client::new(&back, folder.path(), |_| ()).ask(Purpose::Pull)), Some(TrustCode::RolledBack));
    // No disk at all: in memory the protection holds.
    let files = Arc::new(Mutex::new(new));
    let shared = Arc::clone(&files);
    let server = Server::start(move |seen| file(&shared.lock().unwrap(), seen));
    let client = Client::new(&server, std::path::Path::new("/proc/no/such/place"), |_| ());
    assert!(client.ask(Purpose::Pull).is_ok());
    *files.lock().unwrap() = old;
    assert_eq!(code(&client.ask(Purpose::Pull)), Some(TrustCode::RolledBack));
}

#[test]
fn several_processes_share_a_folder_and_the_newest_stays() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    let new = repo.publish();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Server::files(old.clone()), Server::files(new));
    // One that knows the old state in memory does not overwrite the newer one on disk.
    let behind = Client::new(&first, folder.path(), |_| ());
    behind.ask(Purpose::Pull).unwrap();
    Client::new(&second, folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    assert_eq!(code(&behind.ask(Purpose::Pull)), Some(TrustCode::RolledBack));
    assert_eq!(code(&Client::new(&Server::files(old), folder.path(), |_| ()).ask(Purpose::Pull)), Some(TrustCode::RolledBack));
    // Many at once, on first use: none fails for the others' sake.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Client::new(&second, &path, |_| ()).ask(Purpose::Pull))).collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
    });
}

fn minutes(after: i64) -> Timestamp {
    now() + jiff::SignedDuration::from_mins(after)
}

#[test]
fn a_gate_knows_what_a_command_beside_it_has_seen_whatever_the_times_of_their_checks() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    let new = repo.publish();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Server::files(old), Server::files(new));
    let gate = Client::new(&first, folder.path(), |_| ());
    gate.ask(Purpose::Pull).unwrap();
    Client::new(&second, folder.path(), |_| ()).ask_at(Purpose::Pull, minutes(1)).unwrap();
    // The server goes back to what the gate knows to the letter. Some of these checks write, others do not.
    for after in [2, 4, 8, 16] {
        assert_eq!(code(&gate.ask_at(Purpose::Pull, minutes(after))), Some(TrustCode::RolledBack), "{after}");
    }
    let asked = |server: &Server, after| code(&Client::new(server, folder.path(), |_| ()).ask_at(Purpose::Pull, minutes(after)));
    assert_eq!(asked(&first, 17), Some(TrustCode::RolledBack));
    assert_eq!(asked(&second, 18), None);
}

#[test]
fn what_a_command_writes_during_a_check_of_the_gate_is_built_on_even_if_its_clock_is_behind() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    let second = Server::files(repo.publish());
    let folder = tempfile::tempdir().unwrap();
    let command: Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>> = Arc::default();
    let shared = Arc::clone(&command);
    let first = Server::start(move |seen| {
        let run = shared.lock().unwrap().take();
        if let Some(run) = run {
            run();
        }
        file(&old, seen)
    });
    let gate = Client::new(&first, folder.path(), |_| ());
    gate.ask(Purpose::Pull).unwrap();
    gate.ask_at(Purpose::Pull, minutes(4)).unwrap();
    let path = folder.path().to_owned();
    *command.lock().unwrap() = Some(Box::new(move || {
        Client::new(&second, &path, |_| ()).ask_at(Purpose::Pull, minutes(3)).unwrap();
    }));
    for after in [10, 16] {
        assert_eq!(code(&gate.ask_at(Purpose::Pull, minutes(after))), Some(TrustCode::RolledBack), "{after}");
    }
    let fresh = Client::new(&first, folder.path(), |_| ());
    assert_eq!(code(&fresh.ask_at(Purpose::Pull, minutes(17))), Some(TrustCode::RolledBack));
}

#[test]
fn a_withdrawal_that_a_command_saw_counts_for_the_gate_in_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let gate = Client::new(&server, folder.path(), |_| ());
    gate.ask(Purpose::Pull).unwrap();
    *files.lock().unwrap() = None;
    assert!(gate.ask_at(Purpose::Run, minutes(1)).is_ok());
    let gone = Server::files(Files::new());
    let command = Client::new(&gone, folder.path(), |_| ()).ask_at(Purpose::Pull, minutes(2));
    assert_eq!(code(&command), Some(TrustCode::Withdrawn));
    assert_eq!(code(&gate.ask_at(Purpose::Run, minutes(3))), Some(TrustCode::Withdrawn));
    // And a newer good one makes it good again, also without the server.
    let back = Server::files(good());
    Client::new(&back, folder.path(), |_| ()).ask_at(Purpose::Pull, minutes(4)).unwrap();
    assert!(gate.ask_at(Purpose::Run, minutes(5)).is_ok());
}

#[test]
fn a_withdrawal_that_could_not_be_written_is_written_at_the_next_check() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let gate = Client::new(&server, folder.path(), |_| ());
    gate.ask(Purpose::Pull).unwrap();
    let lock = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let lock = lock.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "lock")).unwrap();
    let held = std::fs::OpenOptions::new().write(true).open(lock).unwrap();
    held.lock().unwrap();
    *files.lock().unwrap() = Some(Files::new());
    assert_eq!(code(&gate.ask_at(Purpose::Pull, minutes(1))), Some(TrustCode::Withdrawn));
    drop(held);
    assert_eq!(code(&gate.ask_at(Purpose::Pull, minutes(2))), Some(TrustCode::Withdrawn));
    // Another process finds it, while nobody can be asked.
    *files.lock().unwrap() = None;
    let next = Client::new(&server, folder.path(), |_| ());
    assert_eq!(code(&next.ask_at(Purpose::Run, minutes(3))), Some(TrustCode::Withdrawn));
}

#[test]
fn what_did_not_change_is_read_from_the_disk_and_what_is_gone_from_there_is_asked_for() {
    // Signatures of this kind are the same each time, and so is the file.
    let mut repo = Repo::new(root_key(GUN));
    repo.delegate("targets/releases", &[Key::ed25519()], &[""]);
    repo.role("targets/releases")["targets"]["1.0"] = target("one");
    let mut publish = || {
        for role in ["targets", "snapshot", "timestamp"] {
            let version = repo.role(role)["version"].as_u64().unwrap();
            repo.role(role)["version"] = json!(version + 1);
        }
        Some(repo.publish())
    };
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let asked = || server.paths().iter().filter(|path| path.contains("targets/releases.")).count();
    let state = || {
        let mut paths = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|ending| ending == "state")).unwrap()
    };
    *files.lock().unwrap() = publish();
    let gate = Client::new(&server, folder.path(), |_| ());
    gate.ask(Purpose::Pull).unwrap();
    let path = state();
    let first = std::fs::read(&path).unwrap();
    assert_eq!(asked(), 1);
    *files.lock().unwrap() = publish();
    gate.ask_at(Purpose::Pull, minutes(1)).unwrap();
    // And where only the time of the check is written.
    gate.ask_at(Purpose::Pull, minutes(10)).unwrap();
    assert_eq!(asked(), 1);

    let changed = {
        let mut changed = std::fs::read(&path).unwrap();
        let at = changed.windows(8).position(|part| part == b"releases").unwrap();
        changed[at + 40] ^= 1;
        changed
    };
    let damages: [(&str, &dyn Fn()); 3] = [
        ("gone", &|| std::fs::remove_file(&path).unwrap()),
        ("cut", &|| std::fs::write(&path, &first[..first.len() / 2]).unwrap()),
        ("changed", &|| std::fs::write(&path, &changed).unwrap()),
    ];
    let mut after = 20;
    for (what, damage) in damages {
        for is_new in [true, false] {
            let before = asked();
            damage();
            if is_new {
                *files.lock().unwrap() = publish();
            }
            gate.ask_at(Purpose::Pull, minutes(after)).unwrap();
            assert_eq!(asked(), before + 1, "{what}, {is_new}");
            // It is whole again: another process goes on it, without the server.
            let good = files.lock().unwrap().take();
            let again = Client::new(&server, folder.path(), |_| ());
            assert!(again.ask_at(Purpose::Run, minutes(after)).is_ok(), "{what}, {is_new}");
            *files.lock().unwrap() = good;
            gate.ask_at(Purpose::Pull, minutes(after + 1)).unwrap();
            assert_eq!(asked(), before + 1, "{what}, {is_new}");
            after += 20;
        }
    }
    // What the server took back is not asked for in their place.
    std::fs::remove_file(&path).unwrap();
    *files.lock().unwrap() = Some(Files::new());
    assert_eq!(code(&gate.ask_at(Purpose::Run, minutes(after))), Some(TrustCode::Withdrawn));
    assert_eq!(code(&gate.ask_at(Purpose::Run, minutes(after + 1))), Some(TrustCode::Withdrawn));
}

#[test]
fn where_nothing_can_be_written_what_did_not_change_is_still_in_memory() {
    let mut repo = Repo::new(root_key(GUN));
    repo.delegate("targets/releases", &[Key::ed25519()], &[""]);
    repo.role("targets/releases")["targets"]["1.0"] = target("one");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("state");
    std::fs::write(&place, "no folder").unwrap();
    let (files, server) = changing();
    *files.lock().unwrap() = Some(repo.publish());
    let gate = Client::new(&server, &place, |_| ());
    gate.ask(Purpose::Pull).unwrap();
    for role in ["targets", "snapshot", "timestamp"] {
        repo.role(role)["version"] = json!(2);
    }
    *files.lock().unwrap() = Some(repo.publish());
    gate.ask_at(Purpose::Pull, minutes(1)).unwrap();
    assert_eq!(server.paths().iter().filter(|path| path.contains("targets/releases.")).count(), 1);
    // And is written as soon as that can be.
    std::fs::remove_file(&place).unwrap();
    gate.ask_at(Purpose::Pull, minutes(2)).unwrap();
    *files.lock().unwrap() = None;
    assert!(Client::new(&server, &place, |_| ()).ask_at(Purpose::Run, minutes(3)).is_ok());
}
