//! `log verify`: whether the audit log is as it was written.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::audit::{self, Begin, Link, LogPart, Spot, Verified, What};
use crate::cli::{NO, UNKNOWN, YES, out};
use crate::setup;
use crate::text::{clean, escaped};

/// What no chain can show by itself.
const LIMITS: &str = "\
This finds what was edited, taken out or moved between two entries. An end that was cut off, or a log that somebody with root wrote
again as a whole, shows only against a head that was kept on another machine: --head HASH.";

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// Files of a log, or of several, as they were copied; without any: those of this host's gate
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A head that an earlier run printed and that was kept elsewhere: the log must still hold it
    #[arg(long, value_name = "HASH")]
    head: Vec<Link>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl VerifyArgs {
    pub(super) fn needs_no_gate(&self) -> bool {
        !self.files.is_empty()
    }
}

/// The whole answer.
#[derive(Serialize)]
struct Answer {
    good: bool,
    logs: Vec<Verified>,
    kept: Vec<Kept>,
}

/// What became of a head that was kept elsewhere.
#[derive(Serialize)]
struct Kept {
    head: Link,
    /// The log that holds it among its good entries.
    log: Option<String>,
    /// Good entries that came after it.
    later: Option<u64>,
}

/// A log's name and its files, the oldest first.
type Log = (String, Vec<LogPart>);

pub(super) fn run(arguments: &VerifyArgs, state: Option<&Path>) -> u8 {
    let logs = match state {
        Some(state) if arguments.files.is_empty() => of_gate(state),
        Some(_) | None => of_files(&arguments.files),
    };
    let verified = logs.and_then(|logs| {
        let verify = |(name, parts): &Log| {
            audit::verify(name, parts, &arguments.head).map_err(|error| format!("`{name}` cannot be read: {error}"))
        };
        logs.iter().map(verify).collect::<Result<Vec<Verified>, String>>()
    });
    match verified {
        Ok(logs) => tell(logs, &arguments.head, arguments.json),
        Err(why) => {
            out::fault(&escaped(&why));
            UNKNOWN
        }
    }
}

/// The logs in a state folder.
fn of_gate(state: &Path) -> Result<Vec<Log>, String> {
    let mut logs = Vec::new();
    for name in [setup::AUDIT_LOG, audit::NOTABLE, audit::PLUGINS] {
        let path = state.join(name);
        let parts = audit::parts(&path).map_err(|error| format!("the audit log cannot be read: {error}"))?;
        if parts.is_empty() && name == setup::AUDIT_LOG {
            return Err(format!("there is no audit log `{}`; is the gate's STATE_DIR elsewhere?", path.display()));
        }
        logs.push((name.to_owned(), parts));
    }
    Ok(logs)
}

/// The logs that these files are of, by their names: `x.2` is older than `x.1`, and that one than `x`.
fn of_files(files: &[PathBuf]) -> Result<Vec<Log>, String> {
    let mut logs: BTreeMap<String, BTreeMap<std::cmp::Reverse<u32>, LogPart>> = BTreeMap::new();
    for path in files {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
        let (log, number) = numbered(&name);
        if logs
            .entry(log.to_owned())
            .or_default()
            .insert(std::cmp::Reverse(number), LogPart { name: name.clone(), file })
            .is_some()
        {
            return Err(format!("`{name}` is named twice"));
        }
    }
    Ok(logs.into_iter().map(|(log, parts)| (log, parts.into_values().collect())).collect())
}

/// A file's log, and its number: `audit.jsonl.2` is number 2 of `audit.jsonl`.
fn numbered(name: &str) -> (&str, u32) {
    let number = |(log, number): (&'_ str, &str)| number.parse().ok().map(|number| (log.len(), number));
    let (end, number) = name.rsplit_once('.').and_then(number).unwrap_or((name.len(), 0));
    (name.get(..end).unwrap_or(name), number)
}

fn tell(logs: Vec<Verified>, heads: &[Link], json: bool) -> u8 {
    let kept: Vec<Kept> = heads.iter().map(|head| kept(*head, &logs)).collect();
    let good = logs.iter().all(|log| log.fault.is_none()) && kept.iter().all(|kept| kept.log.is_some());
    let is_chained = logs.iter().any(|log| log.head.is_some());
    if json {
        out::json(&Answer { good: good && is_chained, logs, kept });
    } else {
        out::print(&logs.iter().map(of_log).collect::<String>());
        out::print(&kept.iter().map(of_kept).collect::<String>());
        if heads.is_empty() {
            out::line(LIMITS);
        }
    }
    match (good, is_chained) {
        (false, _) => NO,
        (true, true) => YES,
        (true, false) => {
            out::fault("no entry has a link: a gate without a chain wrote them, or the links were taken out");
            UNKNOWN
        }
    }
}

fn kept(head: Link, logs: &[Verified]) -> Kept {
    let found = logs.iter().find_map(|log| {
        let (_, later) = log.found.iter().find(|(found, _)| *found == head)?;
        Some((log.log.clone(), *later))
    });
    let (log, later) = found.unzip();
    Kept { head, log, later }
}

/// What there is to say of one log.
fn of_log(verified: &Verified) -> String {
    let log = clean(&verified.log);
    let mut text = match &verified.fault {
        Some(fault) => format!(
            "{log}: {}, from {} on: {}\n  before it {} are good\n",
            out::paint("NOT GOOD", out::Colour::Red),
            place(&fault.at),
            fault.why.text(),
            entries(verified.entries)
        ),
        None if verified.head.is_none() => format!("{log}: no entry with a link\n"),
        None => format!("{log}: {}, {}\n", out::paint("good", out::Colour::Green), entries(verified.entries)),
    };
    if let (Some(first), Some(last), Some(begin)) = (&verified.first, &verified.last, verified.begin) {
        let follows = match begin {
            Begin::Start => "the first of all",
            Begin::Earlier => "what it follows is not here: it rotated away, or its file is elsewhere",
        };
        text.push_str(&format!("  first: {} ({follows})\n  last:  {}\n", place(first), place(last)));
    }
    if let Some(head) = verified.head {
        text.push_str(&format!("  head:  {head}\n"));
    }
    for remark in &verified.remarks {
        let what = match remark.what {
            What::Old => "older than the chain: nothing can be said of them",
            What::Covered => "without a link: written by halves, or by a gate without a chain; the entry behind covers them",
            What::Unfinished => {
                "not whole: it is being written, or its writer was stopped or its end cut off; the next entry will cover it"
            }
        };
        let lines = if remark.lines == 1 { "1 line".to_owned() } else { format!("{} lines", remark.lines) };
        text.push_str(&format!("  note:  {lines} from {} on, {what}\n", place(&remark.at)));
    }
    if verified.more_remarks > 0 {
        text.push_str(&format!("  note:  {} more places like these\n", verified.more_remarks));
    }
    text
}

fn of_kept(kept: &Kept) -> String {
    match (&kept.log, kept.later) {
        (Some(log), Some(later)) => {
            let later =
                if later == 0 { "it is the last good one".to_owned() } else { format!("{} came after it", entries(later)) };
            format!("--head {}: {} in {}; {later}\n", kept.head, out::paint("is", out::Colour::Green), clean(log))
        }
        (_, _) => format!(
            "--head {}: {} among the good entries: the end was cut off, the log was written again, or that entry has rotated away\n",
            kept.head,
            out::paint("is NOT", out::Colour::Red)
        ),
    }
}

fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

fn place(spot: &Spot) -> String {
    let time = if spot.timestamp.is_empty() { String::new() } else { format!(", {}", spot.timestamp) };
    format!("{} line {}{time}", clean(&spot.file), spot.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_put_in_order_by_their_numbers_and_logs_apart() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            ["a.jsonl", "a.jsonl.1", "a.jsonl.10", "a.jsonl.2", "b.jsonl"].iter().map(|name| dir.path().join(name)).collect();
        for path in &paths {
            std::fs::write(path, "").unwrap();
        }
        let logs = of_files(&paths).unwrap();
        let names: Vec<Vec<&str>> =
            logs.iter().map(|(_, parts)| parts.iter().map(|part| part.name.rsplit('/').next().unwrap()).collect()).collect();
        assert_eq!(names, [vec!["a.jsonl.10", "a.jsonl.2", "a.jsonl.1", "a.jsonl"], vec!["b.jsonl"]]);
        assert!(of_files(&[paths[0].clone(), paths[0].clone()]).is_err());
    }

    #[test]
    fn a_log_without_any_link_is_not_called_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let run = |head: Vec<Link>| run(&VerifyArgs { files: vec![path.clone()], head, json: true }, None);
        assert_eq!(run(Vec::new()), UNKNOWN, "it is not there");
        std::fs::write(&path, "{\"event\":\"ALLOWED\"}\n").unwrap();
        assert_eq!(run(Vec::new()), UNKNOWN);
        let log = audit::Beside::open(&path).unwrap();
        log.record(&audit::Entry::new(jiff::Timestamp::UNIX_EPOCH, audit::Event::Gate)).unwrap();
        assert_eq!(run(Vec::new()), YES);
        let (_, parts) = of_files(std::slice::from_ref(&path)).unwrap().remove(0);
        let head = audit::verify("audit.jsonl", &parts, &[]).unwrap().head.unwrap();
        assert_eq!(run(vec![head]), YES);
        assert_eq!(run(vec![head, "a".repeat(64).parse().unwrap()]), NO, "that one is not here");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("GATE", "GONE")).unwrap();
        assert_eq!(run(Vec::new()), NO);
    }

    #[test]
    fn what_is_said_names_the_place_the_reason_and_what_to_keep() {
        let head: Link = "ab".repeat(32).parse().unwrap();
        let spot = |line| Spot { file: "audit.jsonl.1".to_owned(), line, timestamp: "2026-01-02T03:04:05Z".to_owned() };
        let verified = Verified {
            log: "audit.jsonl".to_owned(),
            entries: 3,
            begin: Some(Begin::Earlier),
            first: Some(spot(1)),
            last: Some(spot(4)),
            head: Some(head),
            fault: Some(audit::Fault { at: spot(5), why: audit::Wrong::Link }),
            remarks: vec![audit::Remark { at: spot(2), lines: 1, what: What::Covered }],
            more_remarks: 0,
            found: vec![(head, 2)],
        };
        insta::assert_snapshot!(of_log(&verified) + &of_kept(&kept(head, std::slice::from_ref(&verified))), @r"
        audit.jsonl: NOT GOOD, from audit.jsonl.1 line 5, 2026-01-02T03:04:05Z on: its link does not fit: it was edited, or entries before it were edited, taken out or moved
          before it 3 entries are good
          first: audit.jsonl.1 line 1, 2026-01-02T03:04:05Z (what it follows is not here: it rotated away, or its file is elsewhere)
          last:  audit.jsonl.1 line 4, 2026-01-02T03:04:05Z
          head:  abababababababababababababababababababababababababababababababab
          note:  1 line from audit.jsonl.1 line 2, 2026-01-02T03:04:05Z on, without a link: written by halves, or by a gate without a chain; the entry behind covers them
        --head abababababababababababababababababababababababababababababababab: is in audit.jsonl; 2 entries came after it
        ");
    }
}
