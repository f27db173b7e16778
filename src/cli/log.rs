//! `log`: what was decided, and why.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::{UNKNOWN, YES, when};
use crate::policy::Settings;
use crate::setup;
use crate::text::escaped;

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
/// Rotated files looked into for what is since then: all that the gate keeps.
const ROTATED: u32 = 8;

/// Show what was decided, and why.
#[derive(Args)]
#[command(after_help = "Example: img-authz log --follow --blocked\nExample: img-authz log --since 10m")]
pub(super) struct LogArgs {
    /// Keep going: show entries as they come
    #[arg(long, short)]
    follow: bool,
    /// How many of the last entries to show first (default: 20; with --since: all)
    #[arg(long, short = 'n', value_name = "COUNT")]
    lines: Option<usize>,
    /// Only refusals
    #[arg(long)]
    blocked: bool,
    /// Only what is not older: 30s, 10m, 12h, 7d, 2w, a date, or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Print the entries as they are kept, JSON Lines
    #[arg(long)]
    json: bool,
}

/// Which entries are wanted, and how.
struct Wanted {
    blocked: bool,
    since: Option<Timestamp>,
    json: bool,
}

#[expect(clippy::print_stderr, reason = "a command's output")]
pub(super) fn run(arguments: &LogArgs, settings: &Settings) -> ExitCode {
    let path = settings.state_dir().join(setup::AUDIT_LOG);
    let since = match arguments.since.as_deref().map(|text| since(text, crate::clock::now())).transpose() {
        Ok(since) => since,
        Err(why) => {
            eprintln!("img-authz: {why}");
            return ExitCode::from(UNKNOWN);
        }
    };
    let wanted = Wanted { blocked: arguments.blocked, since, json: arguments.json };
    match show(arguments, &wanted, &path) {
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

/// A span before now, or a moment.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let moment = match when::span(text) {
        Some(span) => now.checked_sub(span).ok(),
        None => when::moment(text),
    };
    moment.ok_or_else(|| {
        format!("`{}` is not a time; write 30s, 10m, 12h, 7d, 2w, 2027-01-31 or 2027-01-31T12:00:00Z", escaped(text))
    })
}

fn show(arguments: &LogArgs, wanted: &Wanted, path: &Path) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut reader = BufReader::new(File::open(path)?);
    let most = arguments.lines.unwrap_or(if wanted.since.is_some() { usize::MAX } else { LINES });
    let mut last = VecDeque::new();
    let mut take = |text: String, out: &mut std::io::StdoutLock<'_>| {
        // All of them need not be held.
        if most == usize::MAX {
            return writeln!(out, "{text}");
        }
        last.push_back(text);
        if last.len() > most {
            last.pop_front();
        }
        Ok(())
    };
    for number in (1..=ROTATED).rev().filter(|_| wanted.since.is_some()) {
        let Ok(file) = File::open(format!("{}.{number}", path.display())) else { continue };
        let mut reader = BufReader::new(file);
        while let Some(line) = next(&mut reader)? {
            if let Some(text) = text(&line, wanted) {
                take(text, &mut out)?;
            }
        }
    }
    while let Some(line) = next(&mut reader)? {
        if let Some(text) = text(&line, wanted) {
            take(text, &mut out)?;
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
                if let Some(text) = text(&line, wanted) {
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
fn text(line: &[u8], wanted: &Wanted) -> Option<String> {
    let entry: Value = serde_json::from_slice(line).ok()?;
    let field = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    if wanted.blocked && field("event") != "BLOCKED" {
        return None;
    }
    if let Some(since) = wanted.since
        && field("timestamp").parse::<Timestamp>().is_ok_and(|time| time < since)
    {
        return None;
    }
    if wanted.json {
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

    const ALL: Wanted = Wanted { blocked: false, since: None, json: false };

    #[test]
    fn entries_are_told_in_a_line_and_foreign_text_is_escaped() {
        let line = br#"{"timestamp":"2026-01-02T03:04:05.6Z","event":"BLOCKED","action":"pull","image":"a\u001b[31m\u202e","message":"no","enforced":false}"#;
        assert_eq!(text(line, &ALL).unwrap(), "2026-01-02T03:04:05Z WOULD-BLOCK pull     a\\u{1b}[31m\\u{202e}  no");
        assert_eq!(text(b"no entry", &ALL), None);
        let blocked = Wanted { blocked: true, ..ALL };
        for event in ["ALLOWED", "PROBE"] {
            assert_eq!(text(format!(r#"{{"event":"{event}"}}"#).as_bytes(), &blocked), None);
        }
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
            (r#""event":"GATE","message":"the gate has started","changed":["MODE=permissive (was enforce)","NOTARY=off (was unset)"]"#.to_owned(),
             "GATE                 the gate has started (changed: MODE=permissive (was enforce); NOTARY=off (was unset))"),
        ] {
            let line = format!(r#"{{"timestamp":"2026-01-02T03:04:05.6Z",{entry}}}"#);
            assert_eq!(text(line.as_bytes(), &ALL).unwrap(), format!("2026-01-02T03:04:05Z {expected}"));
        }
    }

    #[test]
    fn what_is_older_than_asked_for_is_left_out() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let at = |time: &str| format!(r#"{{"timestamp":"{time}","event":"GATE"}}"#);
        for (asked, time, is_shown) in [
            ("10m", "2026-01-02T02:54:05.1Z", true),
            ("10m", "2026-01-02T02:54:04.9Z", false),
            ("2026-01-02", "2026-01-02T00:00:00Z", true),
            ("2026-01-02T00:00:00+01:00", "2026-01-01T22:59:59Z", false),
        ] {
            let wanted = Wanted { since: Some(since(asked, now).unwrap()), ..ALL };
            assert_eq!(text(at(time).as_bytes(), &wanted).is_some(), is_shown, "{asked} {time}");
        }
        for bad in ["", "yesterday", "10", "-10m", "1y"] {
            assert!(since(bad, now).is_err(), "{bad}");
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
}
