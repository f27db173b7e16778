//! `log`: what was decided, and why.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::{UNKNOWN, YES, parts};
use crate::policy::Settings;

/// How often `--follow` looks for new entries.
const LOOK: Duration = Duration::from_millis(300);
/// Longest line read, bytes. An entry has a few hundred; stops a foreign file from filling memory.
const LINE_BYTES: usize = 64 << 10;

/// Show what was decided, and why.
#[derive(Args)]
#[command(after_help = "Example: img-authz log --follow --blocked")]
pub(super) struct LogArgs {
    /// Keep going: show entries as they come
    #[arg(long, short)]
    follow: bool,
    /// How many of the last entries to show first
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT")]
    lines: usize,
    /// Only refusals
    #[arg(long)]
    blocked: bool,
    /// Print the entries as they are kept, JSON Lines
    #[arg(long)]
    json: bool,
}

#[expect(clippy::print_stderr, reason = "a command's output")]
pub(super) fn run(arguments: &LogArgs, settings: &Settings) -> ExitCode {
    let path = settings.state_dir().join(parts::AUDIT_LOG);
    match show(arguments, &path) {
        Ok(()) => ExitCode::from(YES),
        // The reader went away (`| head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::from(YES),
        Err(error) => {
            eprintln!(
                "img-authz: the audit log `{}` cannot be read: {error}; is the gate's STATE_DIR elsewhere?",
                path.display()
            );
            ExitCode::from(UNKNOWN)
        }
    }
}

fn show(arguments: &LogArgs, path: &Path) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut reader = BufReader::new(File::open(path)?);
    let mut last = VecDeque::new();
    while let Some(line) = next(&mut reader)? {
        if let Some(text) = text(&line, arguments) {
            last.push_back(text);
            if last.len() > arguments.lines {
                last.pop_front();
            }
        }
    }
    for text in last {
        writeln!(out, "{text}")?;
    }
    if !arguments.follow {
        return Ok(());
    }
    loop {
        out.flush()?;
        match next(&mut reader)? {
            Some(line) => {
                if let Some(text) = text(&line, arguments) {
                    writeln!(out, "{text}")?;
                }
            }
            None => {
                std::thread::sleep(LOOK);
                // Rotated: what is left of the old file was read above.
                let inode = |file: &File| file.metadata().map(|metadata| metadata.ino());
                if let Ok(file) = File::open(path)
                    && inode(&file).ok() != inode(reader.get_ref()).ok()
                {
                    reader = BufReader::new(file);
                }
            }
        }
    }
}

/// The next whole line, without its end; `None` where there is none yet.
fn next(reader: &mut BufReader<File>) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let found = reader.fill_buf()?;
        if found.is_empty() {
            // The rest of a line that is being written comes at the next look.
            let unread = i64::try_from(line.len()).unwrap_or(0);
            reader.seek_relative(-unread)?;
            return Ok(None);
        }
        let (taken, ended) = match found.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (found.len(), false),
        };
        line.extend(found.iter().take(taken));
        reader.consume(taken);
        if ended {
            line.pop();
            return Ok(Some(line));
        }
        if line.len() > LINE_BYTES {
            return Err(std::io::Error::other("a line is longer than any entry"));
        }
    }
}

/// An entry for people, or as it is; `None` where it is not wanted.
fn text(line: &[u8], arguments: &LogArgs) -> Option<String> {
    let entry: Value = serde_json::from_slice(line).ok()?;
    let field = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    if arguments.blocked && field("event") != "BLOCKED" {
        return None;
    }
    if arguments.json {
        return Some(String::from_utf8_lossy(line).into_owned());
    }
    let time = field("timestamp").split('.').next().unwrap_or_default();
    let mode = if entry.get("enforced") == Some(&Value::Bool(false)) { " (let pass: mode audit)" } else { "" };
    let said = match field("message") {
        "" => field("digest"),
        message => message,
    };
    let told = format!("{time}Z {:8} {:8} {} {said}{mode}", field("event"), field("action"), field("image"));
    Some(told.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_in_a_line_and_foreign_text_is_cleaned() {
        let all = LogArgs { follow: false, lines: 1, blocked: false, json: false };
        let line = br#"{"timestamp":"2026-01-02T03:04:05.6Z","event":"BLOCKED","action":"pull","image":"a\u001b[31m","message":"no","enforced":false}"#;
        let told = text(line, &all).unwrap();
        assert!(told.starts_with("2026-01-02T03:04:05Z BLOCKED  pull"), "{told}");
        assert!(told.ends_with("no (let pass: mode audit)") && !told.contains('\u{1b}'), "{told}");
        assert_eq!(text(b"no entry", &all), None);
        let blocked = LogArgs { blocked: true, ..all };
        assert_eq!(text(br#"{"event":"ALLOWED"}"#, &blocked), None);
    }

    #[test]
    fn a_line_that_is_being_written_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "one\ntw").unwrap();
        let mut reader = BufReader::new(File::open(&path).unwrap());
        assert_eq!(next(&mut reader).unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(next(&mut reader).unwrap(), None);
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"o\n").unwrap();
        assert_eq!(next(&mut reader).unwrap().as_deref(), Some(&b"two"[..]));
    }
}
