//! The entries of a tar archive, as Go's reader takes them: ustar, pax and GNU names, sizes in base 256. Read once from the front, nothing is
//! unpacked, and every length is bounded before it is believed.

use std::io::{ErrorKind, Read};

const BLOCK: usize = 512;
/// Longest pax header or GNU name. Stops one from filling memory.
const NAME_BYTES: u64 = 256 << 10;
/// Longest path, as Linux has it, and the deepest: each folder of one costs a look in every layer.
const PATH_BYTES: usize = 4096;
const PATH_DEPTH: usize = 128;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// Another name of a file.
    HardLink,
    SymbolicLink,
    /// A device, a pipe.
    Other,
}

/// An entry; its bytes follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// From the root, without a slash before it.
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) link: String,
}

/// Why an archive cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum TarError {
    /// The bytes stopped, or could not be had.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// They are no archive.
    #[error("it is not a tar archive: {0}")]
    Malformed(&'static str),
}

/// An archive that is read.
pub(super) struct Tar<R> {
    reader: R,
    /// Bytes of the entry that are left, and what fills its last block.
    left: u64,
    padding: u64,
}

/// What extended headers say of the next entry.
#[derive(Default)]
struct Extended {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

/// Whether a block is the header of an entry.
pub(super) fn is_header(block: &[u8]) -> bool {
    block.len() >= BLOCK && number(block.get(148..156).unwrap_or_default()) == Some(checksum(block))
}

impl<R: Read> Tar<R> {
    pub(super) const fn new(reader: R) -> Self {
        Self { reader, left: 0, padding: 0 }
    }

    /// The bytes of the entry.
    pub(super) fn body(&mut self) -> Body<'_, R> {
        Body(self)
    }

    /// The next entry; `None`: there are no more.
    pub(super) fn entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extended = Extended::default();
        loop {
            let rest = self.left + self.padding;
            if std::io::copy(&mut (&mut self.reader).take(rest), &mut std::io::sink())? < rest {
                return Err(TarError::Malformed("it ends inside an entry"));
            }
            (self.left, self.padding) = (0, 0);
            let mut block = [0; BLOCK];
            match self.reader.read_exact(&mut block) {
                Ok(()) => {}
                // Some writers leave the closing blocks out.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            if !is_header(&block) {
                return Err(TarError::Malformed("a checksum is wrong"));
            }
            let field = |from: usize, to: usize| block.get(from..to).unwrap_or_default();
            let size = number(field(124, 136)).ok_or(TarError::Malformed("a size is not a number"))?;
            let kind = field(156, 157).first().copied().unwrap_or_default();
            match kind {
                b'x' | b'g' | b'L' | b'K' => {
                    self.set(size);
                    if size > NAME_BYTES {
                        return Err(TarError::Malformed("a name is too long"));
                    }
                    let mut bytes = Vec::new();
                    self.body().read_to_end(&mut bytes)?;
                    match kind {
                        b'x' => pax(&bytes, &mut extended),
                        b'L' => extended.path = Some(text(&bytes)),
                        b'K' => extended.link = Some(text(&bytes)),
                        _ => {}
                    }
                }
                b'S' => return Err(TarError::Malformed("it has a sparse file")),
                _ => {
                    let (kind, has_body) = match kind {
                        b'0' | b'\0' | b'7' => (Kind::File, true),
                        b'1' => (Kind::HardLink, false),
                        b'2' => (Kind::SymbolicLink, false),
                        b'5' => (Kind::Folder, false),
                        b'3' | b'4' | b'6' => (Kind::Other, false),
                        _ => (Kind::Other, true),
                    };
                    let size = if has_body { extended.size.unwrap_or(size) } else { 0 };
                    self.set(size);
                    let prefix = if field(257, 262) == b"ustar" { text(field(345, 500)) } else { String::new() };
                    let name = text(field(0, 100));
                    let own = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                    let path = path(&extended.path.unwrap_or(own));
                    if path.len() > PATH_BYTES || path.matches('/').count() > PATH_DEPTH {
                        return Err(TarError::Malformed("a path is too long"));
                    }
                    let mode = u32::try_from(number(field(100, 108)).unwrap_or_default()).unwrap_or_default();
                    let link = extended.link.unwrap_or_else(|| text(field(157, 257)));
                    return Ok(Some(Entry { path, kind, mode, size, link }));
                }
            }
        }
    }

    const fn set(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }
}

/// The bytes of one entry.
pub(super) struct Body<'t, R>(&'t mut Tar<R>);

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Self(tar) = self;
        let read = (&mut tar.reader).take(tar.left).read(buffer)?;
        if read == 0 && tar.left > 0 && !buffer.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        tar.left -= read as u64;
        Ok(read)
    }
}

fn checksum(block: &[u8]) -> u64 {
    let sum = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { u64::from(b' ') } else { u64::from(*byte) };
    block.iter().take(BLOCK).enumerate().map(sum).sum()
}

/// Octal digits between blanks, or base 256 where the first bit is set. Sizes below 0 are no numbers.
fn number(field: &[u8]) -> Option<u64> {
    if let Some(first) = field.first().filter(|first| **first & 0x80 != 0) {
        let bytes = std::iter::once(first & 0x7f).chain(field.iter().skip(1).copied());
        return bytes
            .into_iter()
            .try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(byte)))
            .filter(|size| *size < 1 << 60);
    }
    let digits = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok().filter(|size| *size < 1 << 60) }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

/// `LENGTH NAME=VALUE\n`, one behind another. What is none ends them.
fn pax(mut bytes: &[u8], extended: &mut Extended) {
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length = bytes.get(..space).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
        let Some(record) = length.and_then(|length| bytes.get(space + 1..length)) else { return };
        let text = String::from_utf8_lossy(record.strip_suffix(b"\n").unwrap_or(record)).into_owned();
        match text.split_once('=') {
            Some(("path", value)) => extended.path = Some(value.to_owned()),
            Some(("linkpath", value)) => extended.link = Some(value.to_owned()),
            Some(("size", value)) => extended.size = value.parse().ok().filter(|size| *size < 1 << 60),
            _ => {}
        }
        bytes = bytes.get(space + 1 + record.len()..).unwrap_or_default();
    }
}

/// A path from the root: without `.` and empty parts, and no higher than that.
pub(super) fn path(written: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in written.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
