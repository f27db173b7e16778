//! That an entry is in a log: the path from it to a root (RFC 9162, 2.1.3), and the log's signed note of that root.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::fault::Fault;
use super::root::{Log, LogKind};
use super::signature::signed;

/// Most hashes of a path: of a log with 2^64 entries.
const HASHES: usize = 64;
/// Largest note, bytes, and most lines of it, witnesses' too.
const NOTE_BYTES: usize = 16 << 10;
const NOTE_LINES: usize = 32;
const WHAT: &str = "its proof of inclusion";

/// A proof as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inclusion {
    /// The place in its tree.
    pub(super) index: u64,
    pub(super) size: u64,
    pub(super) root: Vec<u8>,
    pub(super) path: Vec<Vec<u8>>,
    /// The signed note.
    pub(super) note: String,
}

impl Inclusion {
    /// Whether the log says that `body` is in it.
    pub(super) fn holds(&self, log: &Log, body: &[u8]) -> Result<(), Fault> {
        let not = |cause: &str| Fault::unproven(WHAT, cause);
        let Note { size, root } = Note::read(&self.note, log)?;
        // What is stated beside the note is nothing that was signed.
        if self.size != size || self.root != root {
            return Err(not("states another root than the note of its log"));
        }
        let found = self.root_of(Sha256::new().chain_update([0]).chain_update(body).finalize().into());
        if found.as_ref().map(<[u8; 32]>::as_slice) == Some(&*root) { Ok(()) } else { Err(not("does not lead to the root")) }
    }

    /// The root that the path leads to; `None`: it is too short or too long for its place.
    fn root_of(&self, leaf: [u8; 32]) -> Option<[u8; 32]> {
        if self.index >= self.size || self.path.len() > HASHES {
            return None;
        }
        let (mut at, mut last, mut hash) = (self.index, self.size - 1, leaf);
        for step in &self.path {
            let step: &[u8; 32] = step.as_slice().try_into().ok()?;
            if last == 0 {
                return None;
            }
            if at & 1 == 1 || at == last {
                hash = inner(step, &hash);
                while at & 1 == 0 && at != 0 {
                    (at, last) = (at >> 1, last >> 1);
                }
            } else {
                hash = inner(&hash, step);
            }
            (at, last) = (at >> 1, last >> 1);
        }
        (last == 0).then_some(hash)
    }
}

fn inner(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// What a note says that the log has signed.
#[derive(Debug, PartialEq, Eq)]
struct Note {
    size: u64,
    root: Vec<u8>,
}

impl Note {
    /// Reads one that this log has signed in its own name. Signatures of others beside it say nothing.
    fn read(text: &str, log: &Log) -> Result<Self, Fault> {
        let not = |cause: &str| Fault::unproven("the note of its log", cause);
        if text.len() > NOTE_BYTES || text.lines().count() > NOTE_LINES {
            return Err(not("is too large"));
        }
        let (said, signatures) = text.split_once("\n\n").ok_or_else(|| not("has no signature"))?;
        let mut lines = said.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(not("has fewer than three lines"));
        };
        // Rekor v1 adds the number of its tree.
        let name = match log.kind {
            LogKind::V1 => origin.split_once(" - ").map_or(origin, |(name, _)| name),
            LogKind::V2 { .. } => origin,
        };
        if !log.is_called(name) {
            return Err(not("is of another log"));
        }
        let size = number(size).ok_or_else(|| not("has no size"))?;
        let root = STANDARD.decode(root).ok().filter(|root| root.len() == 32).ok_or_else(|| not("has no root"))?;
        // Signed is the text, its last newline included.
        let message = format!("{said}\n");
        // The first line that says it is the log's: of forged ones beside it none is tried.
        let own = |line: &str| {
            let parts = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' '));
            let signature = parts.filter(|(signer, _)| *signer == name).and_then(|(_, text)| STANDARD.decode(text).ok());
            let signature = signature.as_deref().and_then(|bytes| bytes.split_at_checked(4));
            signature.filter(|(hint, _)| log.id.starts_with(hint)).map(|(_, signature)| signature.to_vec())
        };
        let own = signatures.lines().find_map(own);
        if own.is_some_and(|signature| signed(&log.key, message.as_bytes(), &signature)) {
            Ok(Self { size, root })
        } else {
            Err(not("is not signed by it"))
        }
    }
}

/// Decimal, in its one spelling.
pub(super) fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::Tree;
    use super::*;

    proptest! {
        /// A path leads to the root at its own place and length alone.
        #[test]
        fn paths_lead_to_the_root_from_their_place_alone(size in 1_u64..40, at in any::<prop::sample::Index>(), other in any::<prop::sample::Index>()) {
            let leaves: Vec<Vec<u8>> = (0..size).map(|number| number.to_be_bytes().to_vec()).collect();
            let tree = Tree(leaves.clone());
            let at = at.index(leaves.len());
            let proof = |index: u64, size: u64, path: Vec<Vec<u8>>| {
                let leaf = Sha256::new().chain_update([0]).chain_update(&leaves[at]).finalize().into();
                Inclusion { index, size, root: vec![], path, note: String::new() }.root_of(leaf).map(|root| root.to_vec())
            };
            let path = tree.path(at);
            prop_assert_eq!(proof(at as u64, size, path.clone()), Some(tree.root()));
            let wrong = other.index(leaves.len());
            if wrong != at {
                prop_assert_ne!(proof(wrong as u64, size, path.clone()), Some(tree.root()));
            }
            prop_assert_eq!(proof(size, size, path.clone()), None);
            prop_assert_ne!(proof(at as u64, size, [path.clone(), vec![vec![0; 32]]].concat()), Some(tree.root()));
            if let Some((_, shorter)) = path.split_last() {
                prop_assert_ne!(proof(at as u64, size, shorter.to_vec()), Some(tree.root()));
            }
            prop_assert_eq!(proof(at as u64, u64::MAX, vec![vec![0; 32]; 65]), None);
        }
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!((number("0"), number("17"), number(&u64::MAX.to_string())), (Some(0), Some(17), Some(u64::MAX)));
        for odd in ["", "00", "017", "+1", "-1", " 1", "1 ", "1e3", "18446744073709551616"] {
            assert_eq!(number(odd), None, "{odd}");
        }
    }
}
