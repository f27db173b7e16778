//! What is kept on the disk: damaged, replaced, shared, locked, full.

use std::process::{Child, Command};
use std::time::Duration;

use serde_json::json;

use super::support::{Place, ended, forget, start, state_file};
use crate::support::trust_repo::*;
use crate::support::trust_server::{Server, good};

fn mkfifo(path: &std::path::Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
}

/// Replaces what stands at `path`, whatever it is.
fn clear(path: &std::path::Path) {
    let _ = std::fs::remove_dir_all(path).or_else(|_| std::fs::remove_file(path));
}

#[test]
fn whatever_stands_in_the_place_of_state_refuses_until_a_pin_or_a_person_says_go_on() {
    let server = Server::files(good());
    let place = Place::new();
    place.verify(&server).yes();
    let keys = ended(start(place.about("pin", &server).arg("--json")));
    let pins = place.write("pins.json", &json!({ "certs": keys.json()["certs"] }).to_string());
    let path = state_file(&place);
    let whole = std::fs::read(&path).unwrap();
    let victim = place.write("victim", "untouched");
    let fake = path.with_file_name(format!("{}.state", "0".repeat(64)));
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let another = String::from_utf8_lossy(&whole).replace("team/app", "team/ape").into_bytes();
    let damages: Vec<(&str, Box<dyn Fn()>)> = vec![
        ("empty", Box::new(|| std::fs::write(&path, "").unwrap())),
        ("cut", Box::new(|| std::fs::write(&path, &whole[..whole.len() / 2]).unwrap())),
        ("a bit flipped", Box::new(|| std::fs::write(&path, &flipped).unwrap())),
        ("bytes behind", Box::new(|| std::fs::write(&path, [&whole[..], b"x"].concat()).unwrap())),
        ("changed by hand", Box::new(|| std::fs::write(&path, &another).unwrap())),
        ("of a version to come", Box::new(|| std::fs::write(&path, b"img-authz trust state 9\n").unwrap())),
        ("JSON", Box::new(|| std::fs::write(&path, "{}").unwrap())),
        ("huge", Box::new(|| std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap())),
        ("a folder", Box::new(|| std::fs::create_dir(&path).unwrap())),
        ("a folder with something in it", Box::new(|| std::fs::create_dir_all(path.join("x/y")).unwrap())),
        ("a FIFO", Box::new(|| mkfifo(&path))),
        ("a socket", Box::new(|| drop(std::os::unix::net::UnixListener::bind(&path).unwrap()))),
        ("a symbolic link", Box::new(|| std::os::unix::fs::symlink(&victim, &path).unwrap())),
        ("a link to itself", Box::new(|| std::os::unix::fs::symlink(&path, &path).unwrap())),
        ("a link to a device", Box::new(|| std::os::unix::fs::symlink("/dev/zero", &path).unwrap())),
    ];
    for (what, damage) in &damages {
        clear(&path);
        damage();
        let message = place.verify(&server).no("trust-misconfigured");
        assert!(message.contains(&format!("img-authz trust forget {GUN}")), "{what}: {message}");
        let ran = place.verify_with(&server, |command| command.arg("--pins").arg(&pins));
        ran.yes();
        assert!(ran.err.contains("kept trust data is damaged"), "{what}: it is told: {ran:?}");
        clear(&path);
        damage();
        assert!(forget(&place).out.contains("forgotten"), "{what}");
        place.verify(&server).yes();
        let again = place.verify(&server);
        again.yes();
        assert!(!again.err.contains("damaged"), "{what}: it is mended: {again:?}");
    }
    // The state of another repository, under this one's name.
    std::fs::write(&fake, &whole).unwrap();
    place.verify(&server).yes();
    // The other files of the folder.
    for ending in ["lock", "new", "state.bad"] {
        let path = path.with_extension(ending);
        for damage in [
            mkfifo as fn(&std::path::Path),
            |path: &std::path::Path| std::fs::create_dir_all(path.join("x")).unwrap(),
            |path| {
                std::os::unix::fs::symlink("/dev/zero", path).unwrap();
            },
        ] {
            clear(&path);
            damage(&path);
            std::fs::write(state_file(&place), "damaged").unwrap();
            place.verify_with(&server, |command| command.arg("--pins").arg(&pins)).yes();
            place.verify(&server).yes();
        }
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
}

#[test]
fn a_person_has_a_repository_forgotten_and_nobody_else() {
    let place = Place::new();
    assert!(forget(&place).out.contains("nothing was known"));
    let (server, rebuilt) = (Server::files(good()), Server::files(Repo::docker(root_key(GUN)).publish()));
    place.verify(&server).yes();
    place.verify(&rebuilt).no("trust-rolled-back");
    assert!(forget(&place).out.contains("forgotten"));
    place.verify(&rebuilt).yes();
    place.verify(&server).no("trust-rolled-back");
}

#[test]
fn a_state_folder_that_is_none_does_not_stop_a_verification_and_is_told() {
    let server = Server::files(good());
    for make in [
        |path: &std::path::Path| std::fs::write(path, "a file").unwrap(),
        mkfifo,
        |path: &std::path::Path| std::os::unix::fs::symlink("/proc/no/such/place", path).unwrap(),
        |path: &std::path::Path| std::os::unix::fs::symlink("/dev/null", path).unwrap(),
    ] {
        let place = Place::new();
        make(&place.path("state"));
        let ran = place.verify(&server);
        ran.yes();
        assert!(ran.err.contains("protection against rollback ends with this process"), "{ran:?}");
        // It is no way around a pin.
        let pins = place.write("pins.json", "{\"disable_tofu\": true}");
        place.verify_with(&server, |command| command.arg("--pins").arg(pins)).no("root-not-trusted");
    }
    // One that is somewhere else is as good as any.
    let place = Place::new();
    std::fs::create_dir(place.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(place.path("elsewhere"), place.path("state")).unwrap();
    let ran = place.verify(&server);
    ran.yes();
    assert!(!ran.err.contains("rollback"), "{ran:?}");
}

#[test]
fn state_that_is_damaged_lets_nothing_pass_that_pins_forbid() {
    let place = Place::new();
    let (server, stranger) = (Server::files(good()), Server::files(Repo::docker(root_key(GUN)).publish()));
    place.verify(&server).yes();
    let keys = ended(start(place.about("pin", &server).arg("--json")));
    let pins = place.write("pins.json", &json!({ "certs": keys.json()["certs"] }).to_string());
    let path = state_file(&place);
    for server_is_honest in [true, false] {
        std::fs::write(&path, "damaged").unwrap();
        let server = if server_is_honest { &server } else { &stranger };
        let ran = place.verify_with(server, |command| command.arg("--pins").arg(&pins));
        if server_is_honest { ran.yes() } else { drop(ran.no("root-not-trusted")) }
    }
    // Whole state and a stranger's root: refused without any pin.
    place.verify(&server).yes();
    place.verify(&stranger).no("trust-rolled-back");
}

#[test]
fn processes_that_share_a_folder_never_fail_for_each_other_nor_go_back() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = Server::files(repo.publish());
    repo.bump();
    let new = Server::files(repo.publish());
    for _ in 0..3 {
        let place = Place::new();
        let children: Vec<Child> = (0..12).map(|_| start(place.command(&new).arg(format!("{GUN}:1.0")))).collect();
        for child in children {
            let ran = ended(child);
            ran.yes();
            assert!(!ran.err.contains("cannot be kept"), "{ran:?}");
        }
        place.verify(&old).no("trust-rolled-back");
    }
    // The old and the new at the same time: whoever is late with the old is refused or was first; the new always stays.
    for _ in 0..5 {
        let place = Place::new();
        let ask =
            |index: usize| start(place.command(if index.is_multiple_of(2) { &old } else { &new }).arg(format!("{GUN}:1.0")));
        let children: Vec<(usize, Child)> = (0..10).map(|index| (index, ask(index))).collect();
        for (index, child) in children {
            let ran = ended(child);
            match (index.is_multiple_of(2), ran.code) {
                (_, Some(0)) => ran.yes(),
                (true, _) => drop(ran.no("trust-rolled-back")),
                (false, _) => panic!("the newest was refused: {ran:?}"),
            }
        }
        place.verify(&old).no("trust-rolled-back");
        place.verify(&new).yes();
    }
}

#[test]
fn a_process_killed_at_any_point_leaves_state_that_the_next_can_use() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = Server::files(repo.publish());
    let place = Place::new();
    let mut took = place.verify(&old).took;
    for round in 0..20u32 {
        repo.bump();
        let server = Server::files(repo.publish());
        let mut child = start(place.command(&server).arg(format!("{GUN}:1.0")));
        std::thread::sleep(took * round / 20);
        child.kill().unwrap();
        child.wait().unwrap();
        let ran = place.verify(&server);
        ran.yes();
        assert!(ran.err.is_empty(), "{ran:?}");
        took = ran.took;
    }
    place.verify(&old).no("trust-rolled-back");
}

#[test]
fn a_disk_that_takes_no_more_is_told_and_keeps_what_it_had() {
    let mut repo = Repo::docker(root_key(GUN));
    let mut publish = || {
        repo.bump();
        Server::files(repo.publish())
    };
    let (oldest, old, new) = (publish(), publish(), publish());
    let place = Place::new();
    place.verify(&old).yes();
    let kept = std::fs::read(state_file(&place)).unwrap();
    // Every file ends at 1 KiB: the write fails in its middle, as on a full disk.
    let full = |server: &Server| {
        let plain = place.command(server);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
        command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        ended(start(command.arg(format!("{GUN}:1.0"))))
    };
    let ran = full(&new);
    ran.yes();
    assert!(
        ran.err.contains("verified trust data cannot be kept; protection against rollback ends with this process"),
        "{ran:?}"
    );
    assert_eq!(std::fs::read(state_file(&place)).unwrap(), kept);
    full(&oldest).no("trust-rolled-back");
    place.verify(&oldest).no("trust-rolled-back");
    place.verify(&new).yes();
    full(&old).no("trust-rolled-back");
}

#[test]
fn a_lock_that_somebody_keeps_costs_little_time() {
    let (place, server) = (Place::new(), Server::files(good()));
    place.verify(&server).yes();
    let lock = std::fs::File::create(state_file(&place).with_extension("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    // Nothing is new, so nothing is written.
    place.verify(&server).yes();
    std::fs::remove_file(state_file(&place)).unwrap();
    let ran = place.verify(&server);
    ran.yes();
    assert!(ran.took < Duration::from_secs(8) && ran.err.contains("is locked"), "{ran:?}");
}

#[test]
fn documents_that_grow_in_memory_stay_within_their_bounds() {
    const LARGEST: usize = (8 << 20) - 100_000;
    // What is unknown is signed as well, so all of it is read.
    for (unit, expected) in [
        ("[]", Some("trust-invalid")),
        ("{\"a\":{}}", Some("trust-invalid")),
        ("0", Some("trust-invalid")),
        ("[[[[[[[[\"\"]]]]]]]]", Some("trust-invalid")),
        ("\"a text of some length, as honest ones have it, sixty-four letters\"", None),
    ] {
        let mut repo = Repo::docker(root_key(GUN));
        let filler = format!("{unit},").repeat(LARGEST / (unit.len() + 1));
        repo.role("targets")["x"] = serde_json::from_str(&format!("[{}]", filler.trim_end_matches(','))).unwrap();
        let place = Place::new();
        let ran = place.verify(&Server::files(repo.publish()));
        println!("{unit:12} {} MiB {:?} {:?}", ran.peak_kib >> 10, ran.took, ran.code);
        match expected {
            Some(code) => drop(ran.no(code)),
            None => ran.yes(),
        }
        assert!(ran.peak_kib < 256 << 10, "{ran:?}");
    }
}

#[test]
fn the_largest_repository_that_passes_does_so_beside_what_is_kept_of_it() {
    let mut repo = Repo::docker(root_key(GUN));
    for role in ["targets", "targets/releases"] {
        let notes: Vec<String> = (0..70_000).map(|index| format!("{index:0>95}")).collect();
        repo.role(role)["x"] = json!(notes);
    }
    let place = Place::new();
    let old = Server::files(repo.publish());
    repo.bump();
    let new = Server::files(repo.publish());
    for (turn, server) in [("first use", &old), ("a later publication, all of it new", &new), ("nothing new", &new)] {
        let ran = place.verify(server);
        ran.yes();
        println!("{turn}: {} MiB {:?}", ran.peak_kib >> 10, ran.took);
        assert!(ran.peak_kib < 256 << 10 && ran.took < Duration::from_secs(20), "{turn}: {ran:?}");
    }
    assert!(std::fs::metadata(state_file(&place)).unwrap().len() > 13 << 20);
}
