//! The process from outside: `serve` started and stopped many times, commands that are stopped or lack descriptors, and what a
//! command leaves in the audit log beside a gate that runs.
#![expect(clippy::disallowed_methods, reason = "the process is what is tested")]

use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const BINARY: &str = env!("CARGO_BIN_EXE_img-authz");
/// How long a gate may take to stop.
const STOPS: Duration = Duration::from_secs(20);

/// Folders, and servers that take connections and never say a word.
struct Place {
    folder: tempfile::TempDir,
    server: TcpListener,
    _engine: UnixListener,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["state", "config"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let engine = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        Self { folder, server: TcpListener::bind("127.0.0.1:0").unwrap(), _engine: engine }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// With a Notary and an engine that hang, or with neither.
    fn command(&self, hangs: bool, arguments: &[&str]) -> Command {
        let server = self.server.local_addr().unwrap();
        let engine = if hangs { self.path("docker.sock") } else { self.path("none.sock") };
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .env_clear()
            .envs([("STATE_DIR", self.path("state")), ("CONFIG_DIR", self.path("config"))])
            .envs([("DOCKER_HOST", format!("unix://{engine}")), ("REGISTRY", server.to_string())])
            .env("NOTARY", if hangs { format!("https://{server}") } else { "off".to_owned() })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

/// Some milliseconds, other ones each time.
fn chance(below: u64) -> Duration {
    let mut bytes = [0u8; 8];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    Duration::from_millis(u64::from_le_bytes(bytes) % below)
}

/// Sends the signal and returns what the process said, once it has ended.
fn stopped(mut child: Child, signal: Signal) -> String {
    kill_process(Pid::from_child(&child), signal).unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > STOPS {
            child.kill().unwrap();
            panic!("it does not stop");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

#[test]
fn a_gate_stops_a_hundred_times_without_a_panic() {
    std::thread::scope(|scope| {
        for hangs in [true, false] {
            scope.spawn(move || {
                let place = Place::new();
                for number in 0..50 {
                    let child = place.command(hangs, &["serve", "--socket", &place.path("gate.sock")]).spawn().unwrap();
                    std::thread::sleep(chance(400));
                    let said = stopped(child, Signal::TERM);
                    assert!(!said.contains("panicked"), "hangs: {hangs}, start {number}: {said}");
                }
            });
        }
    });
}

#[test]
fn a_command_that_is_stopped_says_nothing_of_a_panic() {
    let place = Place::new();
    for arguments in [
        &["check", "r.example/app:1"][..],
        &["doctor"],
        &["trust", "verify", "r.example/app:1"],
        &["register", "--from-registry", "--yes", "r.example/app:1"],
    ] {
        for signal in [Signal::TERM, Signal::INT] {
            let child = place.command(true, arguments).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(50) + chance(300));
            let said = stopped(child, signal);
            assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn a_command_that_lacks_descriptors_says_so() {
    let place = Place::new();
    for (arguments, expected) in [
        (&["check", "r.example/app:1"][..], 1),
        (&["doctor"], 1),
        (&["log"], 1),
        (&["trust", "status"], 1),
        (&["register", "--yes", "r.example/app:1"], 1),
        // Not being able to tell is a no.
        (&["trust", "verify", "r.example/app:1"], 2),
    ] {
        for descriptors in 6..=12 {
            let own = place.command(false, arguments);
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &format!("ulimit -n {descriptors}; exec \"$@\""), "sh", BINARY]).args(arguments).env_clear();
            command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let ran = command.stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8_lossy(&ran.stderr);
            assert_eq!(ran.status.code(), Some(expected), "{descriptors}: {arguments:?}: {said}");
            assert!(said.contains("ulimit -n") && !said.contains("panicked"), "{descriptors}: {arguments:?}: {said}");
        }
    }
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn what_commands_change_stands_in_the_log_of_the_gate_that_runs_and_a_start_says_what_changed() {
    let place = Place::new();
    let log = place.folder.path().join("state/audit.jsonl");
    let serve = |mode: &str| {
        let child = place.command(false, &["serve", "--socket", &place.path("gate.sock")]).env("MODE", mode).spawn().unwrap();
        let begun = Instant::now();
        let starts = |line: &serde_json::Value| line["message"] == "the gate has started" && line["mode"] == mode;
        while !lines(&log).iter().any(starts) {
            assert!(begun.elapsed() < STOPS, "the gate does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    };
    let gate = serve("enforce");
    let list = place.folder.path().join("config/allowlist.json");
    let digest = format!("sha256:{}", "a".repeat(64));
    std::fs::write(&list, format!(r#"{{"version":1,"entries":[{{"digest":"{digest}","references":["r.example/app:1"]}},{{"digest":"sha256:{}","expires":"2020-01-01T00:00:00Z"}}]}}"#, "b".repeat(64))).unwrap();
    // Whoever may read the folder may lock it, and holds up nobody.
    let folder = std::fs::File::open(list.parent().unwrap()).unwrap();
    rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    for arguments in [&["allowlist", "prune", "--yes"][..], &["unregister", "r.example/app:1"]] {
        let ran = place.command(false, arguments).env("SUDO_USER", "eve").output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    let lock = std::fs::metadata(place.folder.path().join("config/.allowlist.json.lock")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&lock.permissions()) & 0o777, 0o600);
    // A list that is not the gate's is none of its log's business.
    let other = place.path("config/other.json");
    std::fs::copy(&list, &other).unwrap();
    place.command(false, &["unregister", "--file", &other, "r.example/app:1"]).output().unwrap();
    stopped(gate, Signal::TERM);
    stopped(serve("permissive"), Signal::TERM);

    let all = lines(&log);
    let changed: Vec<_> = all.iter().filter(|line| line["event"] == "CHANGED").collect();
    assert_eq!(
        changed.iter().map(|line| line["action"].as_str().unwrap()).collect::<Vec<_>>(),
        ["allowlist-prune", "unregister"]
    );
    assert_eq!((&changed[1]["image"], &changed[1]["sudo_user"]), (&"r.example/app:1".into(), &"eve".into()));
    let newest = all.iter().rfind(|line| line["message"] == "the gate has started").unwrap();
    assert_eq!(newest["changed"], serde_json::json!(["MODE=permissive (was enforce)"]));
    assert_eq!((&newest["posture"], &newest["version"]), (&"images".into(), &env!("CARGO_PKG_VERSION").into()));
}

#[test]
fn a_start_that_meets_half_written_credentials_says_so_and_goes_by_the_last_good_ones() {
    let place = Place::new();
    let log = place.folder.path().join("state/audit.jsonl");
    let config = place.folder.path().join("config/config.json");
    // Once the entry of the start is there, what the files hold has been kept.
    let start = || {
        let before = lines(&log).len();
        let gate = place.command(false, &["serve", "--socket", &place.path("gate.sock")]).spawn().unwrap();
        let begun = Instant::now();
        while !lines(&log).iter().skip(before).any(|line| line["message"] == "the gate has started") {
            assert!(begun.elapsed() < STOPS, "the gate does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        stopped(gate, Signal::TERM);
        lines(&log).iter().skip(before).map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let whole = r#"{"auths":{"r.example":{"auth":"YTpzZWNyZXQ="}}}"#;
    std::fs::write(&config, whole).unwrap();
    let told = start();
    assert!(!told.contains("faulty"), "{told}");
    std::fs::write(&config, &whole[..20]).unwrap();
    let told = start();
    assert!(told.contains("faulty, so that what last was good counts") && told.contains("config.json"), "{told}");
    assert!(!told.contains("YTpz"), "{told}");
    let kept = std::fs::metadata(place.path("state/last-good-files.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept.permissions()) & 0o777, 0o600);
    std::fs::remove_file(&config).unwrap();
    let told = start();
    assert!(!told.contains("faulty"), "{told}");
    assert!(!Path::new(&place.path("state/last-good-files.json")).exists(), "what was taken away is kept nowhere");
}
