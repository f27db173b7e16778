//! `serve`: the plugin.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{UNKNOWN, YES, own_log, told_of};
use crate::policy::Settings;
use crate::service;

/// Serve the plugin's socket; dockerd is the client.
#[derive(Args)]
#[command(after_help = "Example: img-authz serve --socket /run/docker/plugins/img-authz.sock")]
pub(super) struct ServeArgs {
    /// Where to listen, unless systemd passes a socket
    #[arg(long, value_name = "PATH", default_value = "/run/docker/plugins/img-authz.sock")]
    socket: PathBuf,
}

pub(super) fn run(arguments: &ServeArgs, settings: Settings) -> ExitCode {
    let log = own_log::start(&settings);
    tell_of_panics();
    let code = match service::serve(&arguments.socket, settings) {
        Ok(()) => ExitCode::from(YES),
        Err(message) => {
            tracing::error!("{message}");
            ExitCode::from(UNKNOWN)
        }
    };
    log.end();
    code
}

/// A panic is told in the gate's own log, which waits for nobody. Else the thread that panics would write to stderr, and where nobody empties that
/// pipe, it would stop for ever instead of refusing.
fn tell_of_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!("{}", told_of(panic))));
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::panic::catch_unwind;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// The test itself, as another process, whose hook, log and stderr are its own.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test in a process of its own")]
    fn who_panics_waits_for_no_reader_of_stderr() {
        const MARK: &str = "IMG_AUTHZ_TEST_OF_PANICS";
        if std::env::var_os(MARK).is_some() {
            let log = own_log::start(&Settings::default());
            tell_of_panics();
            for _ in 0..3 {
                assert!(catch_unwind(|| panic!("a call that nobody foresaw\u{1b}")).is_err());
            }
            log.end();
            return;
        }
        // A pipe that is full, and that nobody reads.
        let (reader, mut full) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&full, true).unwrap();
        while full.write(&[b'x'; 4096]).is_ok() {}
        rustix::io::ioctl_fionbio(&full, false).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cli::serve::tests::who_panics_waits_for_no_reader_of_stderr", "--nocapture"])
            .env(MARK, "1")
            .stdout(Stdio::piped())
            .stderr(full)
            .spawn()
            .unwrap();
        let patience = Instant::now() + Duration::from_secs(30);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > patience {
                child.kill().unwrap();
                panic!("it waits");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{said}");
        assert_eq!(said.matches("a fault of this program, please report it").count(), 3, "{said}");
        assert!(!said.contains('\u{1b}'));
        drop(reader);
    }
}
