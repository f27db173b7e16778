//! `log`: what was decided, and why; whether the record of it is whole; its format.

mod verify;
mod wanted;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, StdoutLock, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{UNKNOWN, YES, out};
use crate::audit::{self, LogPart};
use crate::policy::Settings;
use crate::setup;
use crate::text::escaped;
use wanted::{Wanted, WantedArgs};

/// The format of the entries (JSON Schema).
const SCHEMA: &str = include_str!("../../docs/audit-log.schema.json");

/// How often `--follow` looks for new entries.
const LOOK: Duration = Duration::from_millis(300);
/// Longest line read, bytes. An entry has a few hundred; stops a foreign file from filling memory.
const LINE_BYTES: usize = 64 << 10;

/// Most of an id that is shown, as docker shows ids.
const ID_DIGITS: usize = 12;
/// How the gate's own message about an outage begins.
const OUT_OF_REACH: &str = "Notary is out of reach: ";
/// How many entries are shown first, where nothing says since when.
const LINES: usize = 20;

/// Show what was decided, and why.
#[derive(Args)]
#[command(
    after_help = "Example: img-authz log --follow --blocked\nExample: img-authz log --since 10m --user alice --image registry.example/team\n\
Example: img-authz log verify",
    args_conflicts_with_subcommands = true
)]
pub(super) struct LogArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// Keep going: show entries as they come
    #[arg(long, short)]
    follow: bool,
    /// How many of the last entries to show first (default: 20; with --since: all)
    #[arg(long, short = 'n', value_name = "COUNT")]
    lines: Option<usize>,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Print the entries as they are kept, JSON Lines
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Say whether the log is as it was written: up to where it is good, which entry is the first that is not, what its head is
    ///
    /// An end that was cut off, or a log that root wrote again as a whole, shows only against a head that was kept on another machine:
    /// keep what this prints, and give it with --head later.
    /// Exit code 0: good; 2: it is not; 1: could not tell.
    ///
    /// Example: img-authz log verify
    Verify(verify::VerifyArgs),
    /// Print the JSON Schema of an entry
    ///
    /// Example: img-authz log schema > audit-log.schema.json
    Schema,
}

impl LogArgs {
    /// Whether this asks for nothing that a gate keeps.
    pub(super) fn needs_no_gate(&self) -> bool {
        match &self.command {
            Some(Command::Verify(arguments)) => arguments.needs_no_gate(),
            Some(Command::Schema) => true,
            None => false,
        }
    }
}

/// `settings`: of the gate whose log it is, where one is needed.
pub(super) fn run(arguments: &LogArgs, settings: Option<&Settings>) -> ExitCode {
    let state = settings.map(Settings::state_dir);
    match (&arguments.command, &state) {
        (Some(Command::Verify(arguments)), _) => ExitCode::from(verify::run(arguments, state.as_deref())),
        (Some(Command::Schema), _) => {
            out::print(SCHEMA);
            ExitCode::from(YES)
        }
        (None, Some(state)) => entries(arguments, &state.join(setup::AUDIT_LOG)),
        (None, None) => ExitCode::from(UNKNOWN),
    }
}

fn entries(arguments: &LogArgs, path: &Path) -> ExitCode {
    let wanted = match arguments.wanted.read(crate::clock::now()) {
        Ok(wanted) => wanted,
        Err(why) => {
            out::fault(&why);
            return ExitCode::from(UNKNOWN);
        }
    };
    match show(arguments, &wanted, path) {
        Ok(()) => ExitCode::from(YES),
        // The reader went away (`| head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::from(YES),
        Err(error) => {
            out::fault(&format!(
                "the audit log `{}` cannot be read: {error}; is the gate's STATE_DIR elsewhere?",
                path.display()
            ));
            ExitCode::from(UNKNOWN)
        }
    }
}

fn show(arguments: &LogArgs, wanted: &Wanted, path: &Path) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut parts: Vec<BufReader<File>> = audit::parts(path)?.into_iter().map(reader).collect();
    let mut newest = match parts.pop() {
        Some(newest) => newest,
        None => BufReader::new(File::open(path)?),
    };
    let text = |line: &[u8]| text(line, wanted, arguments.json);
    match arguments.lines.unwrap_or(if wanted.since.is_some() { usize::MAX } else { LINES }) {
        // All of them need not be held.
        usize::MAX => {
            for part in parts.iter_mut().chain([&mut newest]) {
                print(part, &text, &mut out)?;
            }
        }
        most => {
            let mut last = last_of(&mut newest, most, &text)?;
            while let Some(mut part) = parts.pop().filter(|_| last.len() < most) {
                let mut earlier = last_of(&mut part, most.saturating_sub(last.len()), &text)?;
                earlier.append(&mut last);
                last = earlier;
            }
            for text in last {
                writeln!(out, "{text}")?;
            }
        }
    }
    if arguments.follow { follow(path, newest, &text, &mut out) } else { Ok(()) }
}

fn reader(part: LogPart) -> BufReader<File> {
    BufReader::new(part.file)
}

/// The last entries of a file that are wanted.
fn last_of(
    part: &mut BufReader<File>,
    most: usize,
    text: &impl Fn(&[u8]) -> Option<String>,
) -> std::io::Result<VecDeque<String>> {
    let mut last = VecDeque::new();
    while let Some(line) = next(part)? {
        last.extend(text(&line));
        if last.len() > most {
            last.pop_front();
        }
    }
    Ok(last)
}

/// Prints what is wanted of the rest of a file.
fn print(part: &mut BufReader<File>, text: &impl Fn(&[u8]) -> Option<String>, out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    while let Some(line) = next(part)? {
        if let Some(text) = text(&line) {
            writeln!(out, "{text}")?;
        }
    }
    out.flush()
}

/// Prints entries as they come, for ever.
fn follow(
    path: &Path,
    mut newest: BufReader<File>,
    text: &impl Fn(&[u8]) -> Option<String>,
    out: &mut StdoutLock<'_>,
) -> std::io::Result<()> {
    loop {
        print(&mut newest, text, out)?;
        std::thread::sleep(LOOK);
        for part in later(path, newest.get_ref())? {
            // What was written to the file before between the last look and its rotation.
            print(&mut newest, text, out)?;
            newest = reader(part);
        }
    }
}

/// The files that have come after this one. Where it is none of the log's any more: the newest.
fn later(path: &Path, read: &File) -> std::io::Result<Vec<LogPart>> {
    let id = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    let read = id(read)?;
    // In most looks nothing has changed.
    if std::fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == read) {
        return Ok(Vec::new());
    }
    let mut parts = audit::parts(path)?;
    match parts.iter().position(|part| id(&part.file).ok() == Some(read)) {
        Some(at) => Ok(parts.split_off(at.saturating_add(1))),
        // Moved away, or deleted; the gate makes it anew within a second.
        None => Ok(parts.split_off(parts.len().saturating_sub(1))),
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
fn text(line: &[u8], wanted: &Wanted, json: bool) -> Option<String> {
    let entry: Value = serde_json::from_slice(line).ok()?;
    let field = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    if !wanted.takes(&entry) {
        return None;
    }
    if json {
        return Some(String::from_utf8_lossy(line).into_owned());
    }
    let time = field("timestamp").split('.').next().unwrap_or_default();
    let event = match (field("event"), entry.get("enforced")) {
        ("BLOCKED", Some(Value::Bool(false))) => "WOULD-BLOCK",
        (event, _) => event,
    };
    let said = match field("message") {
        "" => field("digest").to_owned(),
        message => message.to_owned(),
    };
    let more = |name: &str, what: &str| match entry.get(name) {
        Some(Value::Number(number)) => format!(" ({what} {number})"),
        Some(Value::String(text)) => format!(" ({what} {text})"),
        Some(Value::Array(all)) => {
            let all: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
            format!(" ({what} {})", all.join("; "))
        }
        _ => String::new(),
    };
    let about = about(&field);
    // The gate's own message has both times already.
    let stale = |name: &str, what: &str| if said.starts_with(OUT_OF_REACH) { String::new() } else { more(name, what) };
    let ends = [
        stale("stale_since", "Notary is out of reach: last checked at"),
        stale("stale_until", "counts until"),
        more("count", "refusals:"),
        more("user", "by user"),
        more("login_uid", "by login uid"),
        more("sudo_user", "by sudo of"),
        more("changed", "changed:"),
    ];
    let told = format!(
        "{time}Z {event:11} {:8} {about}{}{said}{}",
        field("action"),
        if about.is_empty() { "" } else { "  " },
        ends.concat()
    );
    // What the gate has escaped stays as it is.
    Some(escaped(told.trim_end()))
}

/// What an entry is about: an image; or a container by its name, its id as docker shows it, and its image.
fn about<'a>(field: &impl Fn(&str) -> &'a str) -> String {
    let short = |id: &'a str| if is_id(id) { id.get(..ID_DIGITS).unwrap_or(id) } else { id };
    let (id, name, image) = (field("container_id"), field("container_name"), field("image"));
    let is_of_container = matches!(field("action"), "start" | "restart");
    let container = match (short(id), name) {
        // As it was named, where the engine knows it by no other name.
        ("", "") if is_of_container => short(image).to_owned(),
        ("", name) | (name, "") => name.to_owned(),
        (id, name) => format!("{name} ({id})"),
    };
    let image = match (field("container_image"), is_of_container) {
        ("", true) => "",
        ("", false) => short(image),
        (image, _) => short(image),
    };
    match (container.as_str(), image) {
        ("", image) => image.to_owned(),
        (container, "") => container.to_owned(),
        (container, image) => format!("{container} of {image}"),
    }
}

/// A whole id, of a container or (without its algorithm) of an image.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_in_a_line_and_foreign_text_is_escaped() {
        let line = br#"{"timestamp":"2026-01-02T03:04:05.6Z","event":"BLOCKED","action":"pull","image":"a\u001b[31m\u202e","message":"no","enforced":false}"#;
        assert_eq!(
            text(line, &Wanted::default(), false).unwrap(),
            "2026-01-02T03:04:05Z WOULD-BLOCK pull     a\\u{1b}[31m\\u{202e}  no"
        );
        assert_eq!(text(b"no entry", &Wanted::default(), false), None);
    }

    #[test]
    fn containers_are_told_by_name_short_id_and_image() {
        let id = "0123456789ab".to_owned() + &"c".repeat(52);
        for (entry, expected) in [
            (format!(r#""event":"ALLOWED","action":"start","container_id":"{id}","container_name":"web","container_image":"r.example/app:1","image":"web","digest":"sha256:d""#),
             "ALLOWED     start    web (0123456789ab) of r.example/app:1  sha256:d"),
            (format!(r#""event":"BLOCKED","enforced":true,"action":"start","image":"{id}","message":"no","count":3"#),
             "BLOCKED     start    0123456789ab  no (refusals: 3)"),
            (format!(r#""event":"CREATED","action":"create","container_id":"{id}","image":"app:1""#),
             "CREATED     create   0123456789ab of app:1"),
            (r#""event":"ALLOWED","action":"create","image":"app:1","digest":"sha256:d","stale_since":"2026-01-02T01:00:00Z","stale_until":"2026-01-03T01:00:00Z""#.to_owned(),
             "ALLOWED     create   app:1  sha256:d (Notary is out of reach: last checked at 2026-01-02T01:00:00Z) (counts until 2026-01-03T01:00:00Z)"),
            (r#""event":"ALLOWED","action":"create","image":"app:1","message":"Notary is out of reach: its trust data was last checked at 2026-01-02T01:00:00Z","stale_since":"2026-01-02T01:00:00Z""#.to_owned(),
             "ALLOWED     create   app:1  Notary is out of reach: its trust data was last checked at 2026-01-02T01:00:00Z"),
            (r#""event":"CHANGED","action":"register","image":"app:1","message":"approved","login_uid":1000,"sudo_user":"eve""#.to_owned(),
             "CHANGED     register app:1  approved (by login uid 1000) (by sudo of eve)"),
            (r#""event":"ALLOWED","user":"alice","action":"pull","image":"app:1","digest":"sha256:d""#.to_owned(),
             "ALLOWED     pull     app:1  sha256:d (by user alice)"),
            (r#""event":"GATE","message":"the gate has started","changed":["MODE=permissive (was enforce)","NOTARY=off (was unset)"]"#.to_owned(),
             "GATE                 the gate has started (changed: MODE=permissive (was enforce); NOTARY=off (was unset))"),
        ] {
            let line = format!(r#"{{"timestamp":"2026-01-02T03:04:05.6Z",{entry}}}"#);
            assert_eq!(text(line.as_bytes(), &Wanted::default(), false).unwrap(), format!("2026-01-02T03:04:05Z {expected}"));
        }
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

    #[test]
    fn following_goes_through_every_file_that_was_rotated_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let numbered = |number: u32| dir.path().join(format!("log.{number}"));
        std::fs::write(&path, "one\n").unwrap();
        let mut read = BufReader::new(File::open(&path).unwrap());
        assert_eq!(next(&mut read).unwrap().as_deref(), Some(&b"one"[..]));
        assert!(later(&path, read.get_ref()).unwrap().is_empty());
        // Written to, and rotated twice, between two looks.
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"two\n").unwrap();
        std::fs::rename(&path, numbered(1)).unwrap();
        std::fs::write(&path, "three\n").unwrap();
        std::fs::rename(numbered(1), numbered(2)).unwrap();
        std::fs::rename(&path, numbered(1)).unwrap();
        std::fs::write(&path, "four\n").unwrap();
        let parts = later(&path, read.get_ref()).unwrap();
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["log.1", "log"]);
        assert_eq!(next(&mut read).unwrap().as_deref(), Some(&b"two"[..]), "what is left of the first is not lost");
        // What is none of the log's any more.
        std::fs::remove_file(numbered(2)).unwrap();
        let parts = later(&path, read.get_ref()).unwrap();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].name, "log");
    }
}
