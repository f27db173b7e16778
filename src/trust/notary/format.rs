//! A state file byte by byte: what is kept of a repository, the server's last bad answer, and a checksum over both.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::error::NotaryError;
use crate::trust::tuf::{Stored, StoredFloor};
use crate::trust::{TrustCode, TrustError};

/// Marks the time of the last check, where that is not the latest one seen.
const CHECKED: &[u8] = b"checked";
/// First bytes of a state file; the number is the format's version.
pub(super) const MAGIC: &[u8] = b"img-authz trust state 1\n";
/// Most files or floors in one state file.
const ENTRIES: u32 = 8192;

/// Names one content of a state file, so that a writer knows whether it changed under him.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edition(pub(super) [u8; 32]);

/// A bad answer of the server, and when it was given: what was known before is not used in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) error: TrustError,
    pub(super) at: Timestamp,
}

/// About how large a state file is.
pub(super) fn size(stored: &Stored) -> usize {
    let files: usize = stored.files.iter().map(|(name, raw)| name.len() + raw.len() + 8).sum();
    files + 64 * (stored.floors.len() + 16)
}

/// The bytes of a state file. Of what is whole: files that are kept elsewhere are not in it.
pub(super) fn encode(stored: &Stored, bad: Option<&Bad>) -> (Vec<u8>, Edition) {
    // At once in the memory it takes: files are large.
    let mut bytes = Vec::with_capacity(size(stored));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[0; 32]);
    put(&mut bytes, stored.repository.as_bytes());
    put(&mut bytes, stored.seen.to_string().as_bytes());
    put_count(&mut bytes, stored.files.len());
    for (name, raw) in &stored.files {
        put(&mut bytes, name.as_bytes());
        put(&mut bytes, raw);
    }
    put_count(&mut bytes, stored.floors.len());
    for (role, floor) in &stored.floors {
        put(&mut bytes, role.as_bytes());
        bytes.extend_from_slice(&floor.version.to_be_bytes());
        bytes.extend_from_slice(&floor.content);
    }
    if stored.checked != stored.seen {
        put(&mut bytes, CHECKED);
        put(&mut bytes, stored.checked.to_string().as_bytes());
    }
    if let Some(bad) = bad {
        put(&mut bytes, bad.at.to_string().as_bytes());
        put(&mut bytes, bad.error.code.as_str().as_bytes());
        put(&mut bytes, bad.error.to_string().as_bytes());
    }
    let sum: [u8; 32] = Sha256::digest(bytes.get(MAGIC.len() + 32..).unwrap_or_default()).into();
    if let Some(slot) = bytes.get_mut(MAGIC.len()..MAGIC.len() + 32) {
        slot.copy_from_slice(&sum);
    }
    (bytes, Edition(sum))
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

pub(super) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub(super) fn decode(bytes: &[u8]) -> Option<(Stored, Option<Bad>, Edition)> {
    let (sum, body) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
    let found: [u8; 32] = Sha256::digest(body).into();
    if found != *sum {
        return None;
    }
    let mut rest = body;
    let repository = take_text(&mut rest)?;
    let seen: Timestamp = take_text(&mut rest)?.parse().ok()?;
    let mut files = BTreeMap::new();
    for _ in 0..take_count(&mut rest)? {
        let name = take_text(&mut rest)?;
        files.insert(name, Arc::from(take(&mut rest)?));
    }
    let mut floors = BTreeMap::new();
    for _ in 0..take_count(&mut rest)? {
        let role = take_text(&mut rest)?;
        let (version, after) = rest.split_first_chunk::<8>()?;
        let (content, after) = after.split_first_chunk::<32>()?;
        rest = after;
        floors.insert(role, StoredFloor { version: u64::from_be_bytes(*version), content: *content });
    }
    let mut after = rest;
    let mut checked = seen;
    if take(&mut after) == Some(CHECKED) {
        checked = take_text(&mut after)?.parse().ok()?;
        rest = after;
    }
    let bad = if rest.is_empty() { None } else { Some(take_bad(&mut rest)?) };
    rest.is_empty().then_some((Stored { repository, files, kept: BTreeMap::new(), floors, seen, checked }, bad, Edition(*sum)))
}

fn take_bad(rest: &mut &[u8]) -> Option<Bad> {
    let at = take_text(rest)?.parse().ok()?;
    // A code of a version to come is a refusal all the same.
    let code = TrustCode::parse(&take_text(rest)?).unwrap_or(TrustCode::Invalid);
    Some(Bad { error: NotaryError::Earlier { code, text: take_text(rest)? }.into(), at })
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

fn take_count(rest: &mut &[u8]) -> Option<u32> {
    take_number(rest).filter(|count| *count <= ENTRIES)
}

pub(super) fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

pub(super) fn take_text(rest: &mut &[u8]) -> Option<String> {
    std::str::from_utf8(take(rest)?).ok().map(str::to_owned)
}
