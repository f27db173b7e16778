//! Notary v1 metadata, verified (docs/notary-v1.md). Pure: files come through the [`Fetch`] seam, the time is given, nothing
//! is kept here. What comes out, [`Knowledge`], exists only after everything verified.
//!
//! Stricter than the Go client wherever the specification marks it: section numbers in comments are that document's.

mod certificate;
mod entries;
mod file;
mod held;
mod index;
mod json;
mod keys;
mod knowledge;
mod limits;
mod pins;
mod proof;
mod role;
mod roles;
mod update;
mod view;

use std::fmt;

pub use knowledge::{Knowledge, Listed, SignedTag, Stored, StoredFloor};
pub use limits::MetadataLimits;
pub use pins::{Pins, PinsError};
pub use role::{Expiry, RoleKind, RoleName};
pub use roles::Refusal;
pub use update::{Failure, Fetch, OfferedRoot, Subject, load, offered_root, roots_before, update};
pub use view::{RoleView, TagView, View};

/// What is wrong with trust data, in which role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of wrong.
    pub kind: FaultKind,
    /// The role's name as in its file name.
    pub role: String,
    /// What exactly; lower-case, without foreign text.
    pub why: String,
}

/// Kinds of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Cannot be read, does not fit its hash, or breaks a rule of structure.
    Invalid,
    /// Fewer signers than the threshold.
    UnderSigned,
    /// Past its date.
    Expired,
    /// Older than what was seen, or another file of the same version, or gone.
    RolledBack,
    /// The root is not pinned, not for this repository, or not the successor of the one we know.
    Root,
    /// The server does not have the file.
    Missing,
}

impl Fault {
    fn new(kind: FaultKind, role: &str, why: impl Into<String>) -> Self {
        Self { kind, role: role.to_owned(), why: why.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.role, self.why)
    }
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
pub(crate) mod tests;
