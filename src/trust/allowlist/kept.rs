//! The newest list that a key has signed, as it is kept in the state folder: what holds where the file is refused, and how far the key's
//! serials have got. It is the signed file itself, so what is read back is believed for its signature alone.

use std::path::PathBuf;

use super::file::{FILE_BYTES, FileFault};
use super::signed::{ListKey, Opened};
use crate::files::{Outlives, read_bytes, replace};

/// What is done with the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// A gate keeps what is newer.
    Keeps,
    /// Others only look.
    Looks,
}

/// Where the newest list of each key lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    /// `None`: nothing is known of what was before, and nothing is kept.
    folder: Option<PathBuf>,
    keeping: Keeping,
}

impl Shelf {
    /// In this folder.
    #[must_use]
    pub const fn new(folder: Option<PathBuf>, keeping: Keeping) -> Self {
        Self { folder, keeping }
    }

    /// By the key: what another one signed says nothing of what this one did.
    fn path(&self, key: &ListKey) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("signed-allowlist-{}.json", key.id())))
    }

    /// The newest list of this key; `None`: none was kept. What is there and is not signed by the key is a fault, and counts for nothing.
    pub fn newest(&self, key: &ListKey) -> Result<Option<Opened>, FileFault> {
        let Some(path) = self.path(key) else { return Ok(None) };
        match read_bytes(&path, FILE_BYTES) {
            Ok(text) => key.open(&text).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileFault::Io(error.to_string())),
        }
    }

    /// Keeps the text of a list that this key has signed, in the place of an older one.
    pub(super) fn keep(&self, key: &ListKey, text: &[u8]) -> std::io::Result<()> {
        match (self.keeping, self.path(key)) {
            (Keeping::Keeps, Some(path)) => replace(&path, text, 0o600, Outlives::Power),
            (Keeping::Keeps, None) | (Keeping::Looks, _) => Ok(()),
        }
    }
}
