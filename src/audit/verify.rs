//! Whether a log is as it was written: its chain is followed from the first entry that is there to the last.
//!
//! What this can say: between two entries with good links nothing was edited, taken out or moved. What it cannot say: whether the end
//! was cut off, or all of it written again by somebody who may write to the file; that shows against a link kept elsewhere.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::Serialize;

use super::chain::{self, End, Link, Pieces, Sealed, Unlinked};
use super::file::{ROTATED, rotated};

/// Remarks that are listed one by one. Stops a log full of them from filling memory.
const MAX_REMARKS: usize = 20;

/// An open file of a log.
pub struct LogPart {
    /// What it is called.
    pub name: String,
    /// The file.
    pub file: File,
}

/// A place in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// When the entry there was made, by its own word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub timestamp: String,
}

/// What a log's first link follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Begin {
    /// Nothing: it is the first of all.
    Start,
    /// An entry that is not here: it rotated away, or its file is elsewhere.
    Earlier,
}

/// Why an entry is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// Its link does not fit it and the entry before.
    Link,
    /// It follows another entry than the last one that is here.
    Gap,
    /// It is the first of its file, and does not say what it follows.
    Beginning,
    /// What stands before it without a link is not what was there when it was written.
    Covered,
    /// It has no link, and nothing behind it covers it.
    NoLink,
}

impl Wrong {
    /// What that means.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Link => "its link does not fit: it was edited, or entries before it were edited, taken out or moved",
            Self::Gap => {
                "it follows another entry than the last one before it: entries between them, or a whole file, are missing or moved"
            }
            Self::Beginning => {
                "it is the first entry of its file and does not say which entry it follows: entries before it were taken out"
            }
            Self::Covered => "lines without a link, here or before it, are not those that were there when it was written",
            Self::NoLink => {
                "it has no link, and no later entry covers it: it was added or edited, or a gate without a chain wrote it"
            }
        }
    }
}

/// The first entry that is not good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where.
    pub at: Spot,
    /// Why.
    pub why: Wrong,
}

/// Lines without a link of their own, which are no fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Where they begin.
    pub at: Spot,
    /// How many, a last one that is not whole included.
    pub lines: u64,
    /// And what they are.
    pub what: What,
}

/// What lines without a link are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// They are older than the chain; nothing can be said of them.
    Old,
    /// The next entry covers them: a line that was not written to its end, or entries of a gate without a chain.
    Covered,
    /// The last line is not whole: it is being written, or the writer was stopped; the next entry will cover it.
    Unfinished,
}

/// What was found out about one log, rotated files included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Its name: that of the file that is written to.
    pub log: String,
    /// Entries with a good link, up to the first that is not.
    pub entries: u64,
    /// What the first of them follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin: Option<Begin>,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Spot>,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Spot>,
    /// The link of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Link>,
    /// The first entry that is not good; what follows it was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// What else there is to say, the first of it.
    pub remarks: Vec<Remark>,
    /// Remarks beyond those.
    #[serde(skip_serializing_if = "is_none")]
    pub more_remarks: u64,
    /// Those of the links kept elsewhere that are among the good ones, with the good entries that came after each.
    pub found: Vec<(Link, u64)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it skips so")]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

/// The files of a log that are there, the oldest first; with the name of the one that is written to. A file that a rotation moves
/// meanwhile is taken once.
pub fn parts(path: &Path) -> io::Result<Vec<LogPart>> {
    let mut parts = Vec::new();
    let mut known = Vec::new();
    // The newest first: what is rotated meanwhile is met again, and not missed.
    for number in 0..=ROTATED {
        let path = if number == 0 { path.to_owned() } else { rotated(path, number) };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))),
        };
        let found = file.metadata()?;
        let id = (found.dev(), found.ino());
        if !known.contains(&id) {
            known.push(id);
            parts.push(LogPart { name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), file });
        }
    }
    parts.reverse();
    Ok(parts)
}

/// Follows the chain of one log through its files, the oldest first. `kept`: links that were kept elsewhere.
pub fn verify(log: &str, parts: &[LogPart], kept: &[Link]) -> io::Result<Verified> {
    let mut verified = Verified {
        log: log.to_owned(),
        entries: 0,
        begin: None,
        first: None,
        last: None,
        head: None,
        fault: None,
        remarks: Vec::new(),
        more_remarks: 0,
        found: Vec::new(),
    };
    for (index, part) in parts.iter().enumerate() {
        verified.part(part, index + 1 == parts.len(), kept)?;
        if verified.fault.is_some() {
            break;
        }
    }
    for (_, at) in &mut verified.found {
        *at = verified.entries.saturating_sub(*at);
    }
    Ok(verified)
}

/// Where lines without a link begin, and how they end.
struct Open {
    at: Spot,
    lines: u64,
    /// The first of them is the last of its file, and not whole.
    is_unfinished: bool,
}

impl Verified {
    /// Follows the chain through one file, up to the first entry that is not good.
    fn part(&mut self, part: &LogPart, is_last: bool, kept: &[Link]) -> io::Result<()> {
        let mut pieces = Pieces::new(BufReader::with_capacity(64 << 10, &part.file), true);
        let mut line = 1;
        let mut is_linked = false;
        let mut unlinked = Unlinked::default();
        let mut open: Option<Open> = None;
        while let Some(piece) = pieces.next()? {
            let spot = || Spot { file: part.name.clone(), line, timestamp: timestamp(piece.bytes) };
            match piece.sealed() {
                Some(sealed) => {
                    let begin = self.begin;
                    if let Err(why) = self.entry(&sealed, is_linked, unlinked.digest()) {
                        // What was put in before it is what is wrong.
                        let at = open.filter(|_| why == Wrong::Covered).map_or_else(spot, |open| open.at);
                        self.fault = Some(Fault { at, why });
                        return Ok(());
                    }
                    if let Some(open) = open.take() {
                        let is_old = begin.is_none() && sealed.from == Some(Link::START);
                        self.remark(open.at, open.lines, if is_old { What::Old } else { What::Covered });
                    }
                    (is_linked, unlinked) = (true, Unlinked::default());
                    self.entries += 1;
                    if self.first.is_none() {
                        self.first = Some(spot());
                    }
                    self.last = Some(spot());
                    if kept.contains(&sealed.link) {
                        self.found.push((sealed.link, self.entries));
                    }
                }
                None => {
                    unlinked.add(piece.bytes);
                    let is_unfinished = piece.end == End::File;
                    let open = open.get_or_insert_with(|| Open { at: spot(), lines: 0, is_unfinished });
                    open.lines += u64::from(piece.end != End::Long);
                }
            }
            line += u64::from(piece.end == End::Line);
        }
        match open {
            None => {}
            Some(open) if self.begin.is_none() => self.remark(open.at, open.lines, What::Old),
            Some(open) if is_last && open.is_unfinished => self.remark(open.at, open.lines, What::Unfinished),
            Some(open) => self.fault = Some(Fault { at: open.at, why: Wrong::NoLink }),
        }
        Ok(())
    }

    /// Whether an entry follows the one before.
    fn entry(&mut self, sealed: &Sealed<'_>, is_linked: bool, over: Option<Link>) -> Result<(), Wrong> {
        if sealed.over != over {
            return Err(Wrong::Covered);
        }
        let before = match (sealed.from, self.head) {
            (None, Some(head)) if is_linked => head,
            (None, _) => return Err(Wrong::Beginning),
            (Some(from), Some(head)) if from != head => return Err(Wrong::Gap),
            // What is in the files before has lost its links.
            (Some(from), None) if from != Link::START && self.holds_old() => return Err(Wrong::Gap),
            (Some(from), _) => from,
        };
        if !sealed.follows(before) {
            return Err(Wrong::Link);
        }
        let begin = if before == Link::START { Begin::Start } else { Begin::Earlier };
        self.begin.get_or_insert(begin);
        self.head = Some(sealed.link);
        Ok(())
    }

    fn holds_old(&self) -> bool {
        self.remarks.iter().any(|remark| remark.what == What::Old)
    }

    fn remark(&mut self, at: Spot, lines: u64, what: What) {
        if self.remarks.len() < MAX_REMARKS {
            self.remarks.push(Remark { at, lines, what });
        } else {
            self.more_remarks += 1;
        }
    }
}

/// When an entry was made, by its own word.
fn timestamp(line: &[u8]) -> String {
    chain::timestamp(line).map(|time| time.to_string()).unwrap_or_default()
}
