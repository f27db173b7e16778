//! The chain: each line ends in a link, the SHA-256 of the link before it and of the line's own bytes. What a line is linked to is
//! written here, and read; which lines follow each other is for others.
//!
//! ```text
//! {"timestamp":…,"count":3,"chain":"LINK"}        LINK = SHA-256(the link before, as written, and `{"timestamp":…,"count":3}`)
//! ```
//!
//! The first entry of a file also says which link it follows (`chain_from`), and one that comes behind bytes without a link says
//! what these are (`chain_over`): a line that was not written to its end, or entries of a gate without a chain.

use std::fmt;
use std::io::{self, BufRead, Read as _};
use std::str::FromStr;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

/// Digits of a link: SHA-256 in hexadecimal.
const DIGITS: usize = 64;
/// Longest line that is looked at as a whole, bytes: more than any entry has. Stops a foreign file from filling memory.
const LINE_BYTES: u64 = 1 << 20;
/// Most of what a sealed line has besides its entry, bytes.
pub(super) const SEAL_BYTES: usize = 256;

const LINK: &[u8] = b",\"chain\":\"";
const FROM: &[u8] = b",\"chain_from\":\"";
const OVER: &[u8] = b",\"chain_over\":\"";

/// What an entry is known by in its chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link([u8; DIGITS]);

impl Link {
    /// What the first entry of all follows.
    pub(super) const START: Self = Self([b'0'; DIGITS]);

    fn of(hash: Sha256) -> Self {
        let mut digits = [b'0'; DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(hash.finalize()) {
            for (digit, half) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = if half < 10 { b'0' + half } else { b'a' + half - 10 };
            }
        }
        Self(digits)
    }

    /// The link of a line (without its end and its closing brace) that follows this one.
    fn next(self, line: &[u8]) -> Self {
        Self::of(Sha256::new().chain_update(self.0).chain_update(line).chain_update(b"}"))
    }

    fn read(digits: &[u8]) -> Option<Self> {
        let digits: [u8; DIGITS] = digits.try_into().ok()?;
        digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')).then_some(Self(digits))
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| fmt::Write::write_char(f, char::from(*digit)))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Link {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// No link: it has not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("it is not a link: 64 hexadecimal digits")]
pub struct NoLink;

impl FromStr for Link {
    type Err = NoLink;

    fn from_str(text: &str) -> Result<Self, NoLink> {
        Self::read(text.to_ascii_lowercase().as_bytes()).ok_or(NoLink)
    }
}

/// Bytes that have no link of their own, until one covers them.
#[derive(Clone, Default)]
pub(super) struct Unlinked {
    hash: Sha256,
    bytes: u64,
}

impl Unlinked {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 of them, where there are any.
    pub(super) fn digest(&self) -> Option<Link> {
        (self.bytes > 0).then(|| Link::of(self.hash.clone()))
    }
}

/// Writes an entry (a JSON object) as a line behind this one, and says its link.
pub(super) fn seal(entry: &[u8], before: Link, from: Option<Link>, over: Option<Link>, out: &mut Vec<u8>) -> Link {
    let begin = out.len();
    out.reserve(entry.len().saturating_add(SEAL_BYTES));
    out.extend_from_slice(entry.strip_suffix(b"}").unwrap_or(entry));
    for (key, said) in [(FROM, from), (OVER, over)] {
        if let Some(said) = said {
            out.extend_from_slice(key);
            out.extend_from_slice(&said.0);
            out.push(b'"');
        }
    }
    let link = before.next(out.get(begin..).unwrap_or_default());
    out.extend_from_slice(LINK);
    out.extend_from_slice(&link.0);
    out.extend_from_slice(b"\"}\n");
    link
}

/// What a line says of its place in the chain.
pub(super) struct Sealed<'a> {
    /// The line up to its link.
    body: &'a [u8],
    /// What it says it follows: the first entry of a file.
    pub(super) from: Option<Link>,
    /// What it says lies between: SHA-256 of the bytes without a link.
    pub(super) over: Option<Link>,
    /// Its link.
    pub(super) link: Link,
}

impl Sealed<'_> {
    /// Whether its link is the one it has behind this one.
    pub(super) fn follows(&self, before: Link) -> bool {
        before.next(self.body) == self.link
    }
}

/// A line (without its end) that has the form of one with a link; whether that is right is another question.
pub(super) fn sealed(text: &[u8]) -> Option<Sealed<'_>> {
    let (body, link) = said(text.strip_suffix(b"}").filter(|_| text.starts_with(b"{"))?, LINK)?;
    let (rest, over) = said(body, OVER).map_or((body, None), |(rest, over)| (rest, Some(over)));
    Some(Sealed { body, from: said(rest, FROM).map(|(_, from)| from), over, link })
}

/// When an entry was made, by its own word: what entries begin with.
pub(super) fn timestamp(line: &[u8]) -> Option<Timestamp> {
    let said = line.strip_prefix(b"{\"timestamp\":\"").and_then(|rest| rest.split(|byte| *byte == b'"').next())?;
    std::str::from_utf8(said).ok()?.parse().ok()
}

/// What stands before this key at the end of a line, and what the key says.
fn said<'a>(line: &'a [u8], key: &[u8]) -> Option<(&'a [u8], Link)> {
    let line = line.strip_suffix(b"\"")?;
    let (line, digits) = line.split_at_checked(line.len().checked_sub(DIGITS)?)?;
    Some((line.strip_suffix(key)?, Link::read(digits)?))
}

/// How a piece of a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With its line.
    Line,
    /// With the file, inside a line.
    File,
    /// Inside a line that is longer than any entry; more of it follows.
    Long,
}

/// A line, or a part of one.
pub(super) struct Piece<'a> {
    /// Its bytes, with the line's end where it has one.
    pub(super) bytes: &'a [u8],
    /// How it ends.
    pub(super) end: End,
    /// Whether it is a line from its beginning.
    begins: bool,
}

impl Piece<'_> {
    /// What it says of its place in the chain, where it is a whole line.
    pub(super) fn sealed(&self) -> Option<Sealed<'_>> {
        let is_whole = self.begins && self.end != End::Long;
        sealed(self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes)).filter(|_| is_whole)
    }
}

/// The lines of a file.
pub(super) struct Pieces<R> {
    reader: R,
    bytes: Vec<u8>,
    begins: bool,
}

impl<R: BufRead> Pieces<R> {
    /// From here on, at the beginning of a line or inside one.
    pub(super) const fn new(reader: R, begins: bool) -> Self {
        Self { reader, bytes: Vec::new(), begins }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        self.bytes.clear();
        let read = (&mut self.reader).take(LINE_BYTES).read_until(b'\n', &mut self.bytes)?;
        if read == 0 {
            return Ok(None);
        }
        let end = match self.bytes.last() {
            Some(b'\n') => End::Line,
            Some(_) | None if read as u64 == LINE_BYTES => End::Long,
            Some(_) | None => End::File,
        };
        let begins = std::mem::replace(&mut self.begins, end == End::Line);
        Ok(Some(Piece { bytes: &self.bytes, end, begins }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_the_hash_of_the_link_before_and_of_the_line_and_can_be_worked_out_by_hand() {
        let mut out = Vec::new();
        let first = seal(br#"{"a":1}"#, Link::START, Some(Link::START), None, &mut out);
        let second = seal(br#"{"b":2}"#, first, None, None, &mut out);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], format!(r#"{{"b":2,"chain":"{second}"}}"#));
        let by_hand = |text: &str| Link::of(Sha256::new().chain_update(text)).to_string();
        assert_eq!(first.to_string(), by_hand(&format!(r#"{0}{{"a":1,"chain_from":"{0}"}}"#, "0".repeat(64))));
        assert_eq!(second.to_string(), by_hand(&format!(r#"{first}{{"b":2}}"#)));
        let read = sealed(lines[1].as_bytes()).unwrap();
        assert!(read.follows(first) && !read.follows(Link::START) && read.from.is_none());
        assert_eq!(sealed(lines[0].as_bytes()).unwrap().from, Some(Link::START));
    }

    #[test]
    fn what_a_client_writes_is_no_link() {
        let mut entry = super::super::Entry::new(jiff::Timestamp::UNIX_EPOCH, super::super::Event::Blocked);
        entry.message = format!(r#"x","chain":"{}"}}"#, "a".repeat(64));
        entry.count = 2;
        let text = serde_json::to_vec(&entry).unwrap();
        assert!(sealed(&text).is_none());
        for line in [&b"{"[..], b"", b"}", br#"{"a":1}"#, format!(r#""chain":"{}"}}"#, "a".repeat(64)).as_bytes()] {
            assert!(sealed(line).is_none());
        }
        assert!("A".repeat(64).parse::<Link>().is_ok() && "a".repeat(63).parse::<Link>().is_err());
    }

    #[test]
    fn no_line_is_longer_than_what_is_held_of_it() {
        let long = [vec![b'x'; usize::try_from(LINE_BYTES).unwrap() + 1], b"\nnext\nlast".to_vec()].concat();
        let mut pieces = Pieces::new(&long[..], true);
        let mut ends = Vec::new();
        while let Some(piece) = pieces.next().unwrap() {
            ends.push((piece.bytes.len(), piece.end, piece.begins));
        }
        assert_eq!(ends, [(1 << 20, End::Long, true), (2, End::Line, false), (5, End::Line, true), (4, End::File, true)]);
    }
}
