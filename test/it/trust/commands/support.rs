//! A place that commands are run in, and how they ended.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::trust_repo::*;
use crate::support::trust_server::Server;

/// A folder with docker's configuration, the gate's, and state.
pub struct Place {
    pub folder: tempfile::TempDir,
}

#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    pub took: Duration,
    pub peak_kib: u64,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Not twice: another process may be reading it.
        if std::fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
            std::fs::write(&path, text).unwrap();
        }
        path
    }

    /// `trust verify`, ready to be changed and run.
    pub fn command(&self, server: &Server) -> Command {
        let mut command = self.asking(&server.url);
        command.arg("--root-ca").arg(self.write("ca.crt", &server.ca));
        command
    }

    pub fn asking(&self, server: &str) -> Command {
        let mut command = self.trust("verify");
        command.args(["--json", "--server", server]);
        command
    }

    /// `trust COMMAND` with this place's state.
    pub fn trust(&self, what: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_img-authz"));
        command.env_clear().env("CONFIG_DIR", self.path("etc/img-authz")).env("DOCKER_CONFIG", self.path("docker"));
        command.args(["trust", what, "--state"]).arg(self.path("state"));
        command
    }

    /// `trust inspect`, or another that asks the server about the repository.
    pub fn about(&self, what: &str, server: &Server) -> Command {
        let mut command = self.trust(what);
        command.args([GUN, "--server", &server.url, "--root-ca"]).arg(self.write("ca.crt", &server.ca));
        command
    }

    pub fn verify_with(&self, server: &Server, change: impl FnOnce(&mut Command) -> &mut Command) -> Ran {
        let mut command = self.command(server);
        change(&mut command);
        ended(start(command.arg(format!("{GUN}:1.0"))))
    }

    pub fn verify(&self, server: &Server) -> Ran {
        self.verify_with(server, |command| command)
    }

    /// Credentials for a host.
    pub fn login(&self, host: &str, entry: &Value) {
        self.write("docker/config.json", &json!({ "auths": { host: entry } }).to_string());
    }
}

pub fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits, with an eye on time and memory.
pub fn ended(mut child: Child) -> Ran {
    let (started, mut peak_kib) = (Instant::now(), 0);
    let status = loop {
        // Until it is the command, its memory is that of this process, from which it comes.
        let is_command = std::fs::read_link(format!("/proc/{}/exe", child.id())).is_ok_and(|path| path.ends_with("img-authz"));
        let text =
            std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok().filter(|_| is_command).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak_kib = peak_kib.max(peak.unwrap_or_default());
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if started.elapsed() > Duration::from_secs(30) => {
                child.kill().unwrap();
                panic!("it goes on for ever");
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    Ran { code: status.code(), out, err, took: started.elapsed(), peak_kib }
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A yes for the content `one`.
    #[track_caller]
    pub fn yes(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.json()["digest"], digest("one"), "{self:?}");
    }

    /// A no: the message.
    #[track_caller]
    pub fn no(&self, code: &str) -> String {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(self.took < Duration::from_secs(20) && self.peak_kib < 256 << 10, "{self:?}");
        let answer = self.json();
        assert_eq!(answer["code"], code, "{self:?}");
        answer["message"].as_str().filter(|message| message.len() > 10).expect("it says why").to_owned()
    }
}

/// Everything that came to a server, as text.
pub fn told(server: &Server) -> String {
    server.seen.lock().unwrap().iter().map(crate::support::trust_server::Seen::text).collect()
}

pub fn password() -> Value {
    json!({ "auth": STANDARD.encode("rig:secret") })
}

/// One state file's path, after a verification that was good.
pub fn state_file(place: &Place) -> PathBuf {
    let found = std::fs::read_dir(place.path("state")).unwrap().map(|entry| entry.unwrap().path());
    found.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "state")).expect("a state file")
}

pub fn forget(place: &Place) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_img-authz"));
    ended(start(command.args(["trust", "forget", GUN, "--state"]).arg(place.path("state"))))
}
