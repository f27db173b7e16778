//! dockerd's own part: what it says of a file before it is put in place, and that it reads the one that is.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::setup::Process;
use crate::text::{clean, fit};

/// Where dockerd lies, where none runs.
const PROGRAMS: [&str; 4] = ["/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd", "/usr/local/sbin/dockerd"];
/// How long it may look at a file. It does not start anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most of its words that are read.
const SAID_BYTES: u64 = 16 << 10;
/// Longest part of them that is shown, characters.
const SAID_CHARS: usize = 400;
/// Neither is it run for its word, nor signalled.
const NOT_ROOTS: &str = "the process behind the engine's socket is not root's dockerd";

/// What dockerd says of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It would start with it.
    Good,
    /// It would not, and says why.
    Bad(String),
    /// It was not asked, and why.
    None(String),
}

/// Asks dockerd whether it would start with this file, beside the flags that it runs with (`--validate`, from 23.0 on).
pub(super) fn judges(file: &Path, process: Option<&Process>) -> Word {
    let program = match process {
        Some(process) if !process.is_roots() => return Word::None(NOT_ROOTS.to_owned()),
        Some(process) if is_elsewhere(process.pid) => {
            return Word::None("dockerd runs in another root file system".to_owned());
        }
        Some(process) => std::fs::read_link(format!("/proc/{}/exe", process.pid)).ok(),
        None => PROGRAMS.iter().map(PathBuf::from).find(|path| is_program(path)),
    };
    let Some(program) = program.filter(|path| is_program(path)) else {
        return Word::None("dockerd's program was not found".to_owned());
    };
    let own = process.map(|process| process.words.as_slice()).unwrap_or_default();
    let mut arguments: Vec<&str> = own.iter().skip(1).map(String::as_str).filter(|word| !word.is_empty()).collect();
    // Of a flag that is given twice the last counts.
    let file = format!("--config-file={}", file.display());
    arguments.extend(["--validate", &file]);
    match run(&program, &arguments) {
        Ok((true, _)) => Word::Good,
        Ok((false, said)) if said.contains("unknown flag: --validate") => {
            Word::None("this dockerd cannot validate a file (before 23.0)".to_owned())
        }
        Ok((false, said)) => Word::Bad(fit(&clean(last_line(&said)), SAID_CHARS)),
        Err(error) => Word::None(format!("dockerd could not be asked: {error}")),
    }
}

/// Has dockerd read its file again. It ends where the file names a plugin that is not there: see that all are, first.
pub(super) fn reload(process: &Process) -> std::io::Result<()> {
    if !process.is_roots() {
        return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, NOT_ROOTS));
    }
    Ok(kill_process(pid(process)?, Signal::HUP)?)
}

/// Whether the process is still there.
pub(super) fn runs(process: &Process) -> bool {
    pid(process).is_ok_and(|pid| test_kill_process(pid).is_ok())
}

fn pid(process: &Process) -> std::io::Result<Pid> {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidInput, "it has no process id"))
}

/// Whether paths mean another file to that process than to this one.
fn is_elsewhere(pid: u32) -> bool {
    let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    of(&pid.to_string()) != of("self")
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Whether it ended well, and what it said.
#[expect(
    clippy::disallowed_methods,
    reason = "`enable` asks dockerd itself, as root on its host; the gate starts no process (docs/adr/0005-one-static-binary.md)"
)]
fn run(program: &Path, arguments: &[&str]) -> std::io::Result<(bool, String)> {
    let mut child =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let end = Instant::now() + PATIENCE;
    let ended = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() > end => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let Some(status) = ended else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(std::io::ErrorKind::TimedOut.into());
    };
    let mut said = Vec::new();
    if let Some(pipe) = child.stderr.take() {
        pipe.take(SAID_BYTES).read_to_end(&mut said)?;
    }
    Ok((status.success(), String::from_utf8_lossy(&said).into_owned()))
}

fn last_line(said: &str) -> &str {
    said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dockerd_says_of_a_file_is_told_apart_from_its_not_being_asked() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("dockerd");
        let says = |script: &str| {
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            run(&program, &["--validate", "--config-file=x"]).unwrap()
        };
        assert!(says("echo 'configuration OK' >&2").0);
        let (good, said) = says("echo one >&2; echo 'unable to configure the Docker daemon with file x' >&2; echo >&2; exit 1");
        assert!(!good);
        assert_eq!(last_line(&said), "unable to configure the Docker daemon with file x");
        // Not more than a pipe holds, whatever it says.
        assert!(says("head -c 60000 /dev/zero >&2").1.len() <= 16 << 10);
        assert!(run(Path::new("/none"), &[]).is_err());
    }

    #[test]
    fn a_process_of_this_root_is_not_elsewhere() {
        assert!(!is_elsewhere(std::process::id()));
    }
}
