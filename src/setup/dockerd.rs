//! dockerd's process behind its socket, what it was started with, and where its daemon.json lies.

use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;

use crate::policy::Settings;

/// Longest command line read, bytes.
const COMMAND_BYTES: u64 = 128 << 10;
/// Most processes looked at. Stops a crowded host from taking for ever.
const MOST: usize = 100_000;
/// How long the socket gets to take a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// dockerd's process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) flags: Flags,
    /// Its command line.
    pub(crate) words: Vec<String>,
}

/// What dockerd was started with, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) config_file: Option<PathBuf>,
    pub(crate) data_root: Option<PathBuf>,
    pub(crate) plugins: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) tls: bool,
    pub(crate) verify: bool,
}

impl Process {
    /// The process behind the engine's socket; where systemd listens in its stead, the only dockerd there is.
    pub(crate) async fn behind(socket: &Path) -> Option<Self> {
        let stream = tokio::time::timeout(PATIENCE, UnixStream::connect(socket)).await.ok()?.ok()?;
        let listener = stream.peer_cred().ok()?.pid().and_then(|pid| u32::try_from(pid).ok());
        let pid = engine_behind(listener?, program, the_only_one)?;
        let mut command = Vec::new();
        std::fs::File::open(format!("/proc/{pid}/cmdline")).ok()?.take(COMMAND_BYTES).read_to_end(&mut command).ok()?;
        let words: Vec<String> =
            command.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        Some(Self { pid, flags: Flags::read(&words), words })
    }

    /// Whether it is root's own dockerd, and not something else that was given its name.
    pub(crate) fn is_roots(&self) -> bool {
        is_roots(self.pid)
    }
}

/// Anybody may call a process dockerd, also one of a program that is root's (`su`, by a link of that name). Whose it is and what it runs
/// cannot be made up; what it runs, only root is told.
fn is_roots(pid: u32) -> bool {
    let owner = std::fs::metadata(format!("/proc/{pid}")).map(|found| found.uid());
    let runs = std::fs::read_link(format!("/proc/{pid}/exe"));
    let is_named = |path: PathBuf| {
        // An upgraded one runs on from a file that is gone.
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| matches!(name, "dockerd" | "dockerd (deleted)"))
    };
    owner.is_ok_and(|owner| owner == 0) && runs.map_or_else(|error| error.kind() == ErrorKind::PermissionDenied, is_named)
}

/// Another program is nobody's engine: who looked further would take another daemon's folders for this one's.
fn engine_behind(listener: u32, program: impl Fn(u32) -> String, the_only_one: impl FnOnce() -> Option<u32>) -> Option<u32> {
    match program(listener).as_str() {
        "dockerd" => Some(listener),
        "systemd" => the_only_one(),
        _ => None,
    }
}

/// The name of a process's program.
fn program(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).map(|name| name.trim_end().to_owned()).unwrap_or_default()
}

fn the_only_one() -> Option<u32> {
    let entries = std::fs::read_dir("/proc").ok()?.take(MOST).flatten();
    let found = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| program(*pid) == "dockerd" && is_roots(*pid));
    of_this_host(found.collect(), is_in_the_hosts)
}

/// A container's is none, whatever it is called there. Mounts of its own a host's dockerd may have too, where its unit says so: by them only
/// several are told apart.
fn of_this_host(mut found: Vec<u32>, is_in_the_hosts: impl Fn(u32, &str) -> bool) -> Option<u32> {
    found.retain(|pid| is_in_the_hosts(*pid, "pid"));
    if found.len() > 1 {
        found.retain(|pid| is_in_the_hosts(*pid, "mnt"));
    }
    if let [one] = found.as_slice() { Some(*one) } else { None }
}

/// Whether a process shares this namespace with the host's first one; where that is not told, it may.
fn is_in_the_hosts(pid: u32, namespace: &str) -> bool {
    let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}"));
    match (of("1"), of(&pid.to_string())) {
        (Ok(first), Ok(its)) => first == its,
        _ => true,
    }
}

impl Flags {
    /// Reads a command line as pflag does: `--name value`, `--name=value`, `-H value`, `-Hvalue`; switches take no second word.
    pub(crate) fn read(words: &[String]) -> Self {
        let mut flags = Self::default();
        let mut words = words.iter().skip(1);
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => match word.strip_prefix("-H") {
                    Some(host) if !host.is_empty() => ("-H", Some(host)),
                    Some(_) | None => (word.as_str(), None),
                },
            };
            let is_on = || !value.is_some_and(|value| matches!(value, "false" | "0" | "f" | "F" | "False" | "FALSE"));
            match name {
                "--tls" => flags.tls = is_on(),
                "--tlsverify" => flags.verify = is_on(),
                "-H" | "--host" | "--config-file" | "--data-root" | "-g" | "--graph" | "--authorization-plugin" => {
                    let Some(value) = value.map(str::to_owned).or_else(|| words.next().cloned()) else { continue };
                    match name {
                        "--config-file" => flags.config_file = Some(value.into()),
                        "--data-root" | "-g" | "--graph" => flags.data_root = Some(value.into()),
                        "--authorization-plugin" => flags.plugins.push(value),
                        _ => flags.hosts.push(value),
                    }
                }
                _ => {}
            }
        }
        flags
    }
}

/// The engine's own settings: daemon.json beside the gate's folder, on the host and inside the plugin alike.
pub(crate) fn daemon_file(settings: &Settings) -> PathBuf {
    settings.config_dir().parent().unwrap_or_else(|| Path::new("/etc/docker")).join("daemon.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Flags {
        Flags::read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn another_daemon_is_not_taken_for_the_one_behind_a_socket() {
        let behind = |listener: &str| engine_behind(7, |_| listener.to_owned(), || Some(9));
        assert_eq!(["dockerd", "systemd", "socat", ""].map(behind), [Some(7), Some(9), None, None]);
        assert_ne!(program(std::process::id()), "dockerd");
    }

    #[test]
    fn a_dockerd_in_a_container_hides_none_of_the_host() {
        // The second is a container's, the third a container's that sees the host's processes, the fifth the host's, with mounts of its own.
        let is_hosts = |pid: u32, namespace: &str| match (pid, namespace) {
            (2, _) | (3 | 5, "mnt") => false,
            (_, _) => true,
        };
        for (found, one) in [
            (vec![], None),
            (vec![1], Some(1)),
            (vec![2], None),
            (vec![2, 1], Some(1)),
            (vec![1, 2, 3], Some(1)),
            (vec![2, 5], Some(5)),
            (vec![3, 5], None),
            (vec![1, 4], None),
        ] {
            assert_eq!(of_this_host(found.clone(), is_hosts), one, "{found:?}");
        }
        assert!(is_in_the_hosts(1, "pid") && is_in_the_hosts(u32::MAX, "pid"));
    }

    /// Whoever calls a process dockerd is not run by root for it.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test")]
    fn a_process_that_was_given_the_name_is_not_roots_dockerd() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("dockerd");
        std::os::unix::fs::symlink("/bin/sleep", &link).unwrap();
        let mut other = std::process::Command::new(&link).arg("60").spawn().unwrap();
        let named = || program(other.id()) == "dockerd";
        for _ in 0..500 {
            if named() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(named() && !is_roots(other.id()));
        assert!(!is_roots(std::process::id()) && !is_roots(u32::MAX));
        let _ = other.kill();
        let _ = other.wait();
    }

    #[test]
    fn flags_are_read_as_dockerd_reads_them() {
        let read = flags(
            "dockerd -H unix:///a --host=tcp://0.0.0.0:2375 -Htcp://b:1 -H=fd:// --config-file /x/daemon.json --tlsverify \
             --authorization-plugin img-authz --authorization-plugin=other --data-root /authorization-plugin",
        );
        assert_eq!(read.hosts, ["unix:///a", "tcp://0.0.0.0:2375", "tcp://b:1", "fd://"]);
        assert_eq!(read.config_file.as_deref(), Some(Path::new("/x/daemon.json")));
        assert_eq!(read.data_root.as_deref(), Some(Path::new("/authorization-plugin")));
        assert_eq!(read.plugins, ["img-authz", "other"]);
        assert!(read.verify && !read.tls);
        assert!(!flags("dockerd --tlsverify=false").verify);
        assert_eq!(flags("dockerd -H"), Flags::default());
    }
}
