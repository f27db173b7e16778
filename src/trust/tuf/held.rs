//! A role that holds targets, as it is delegated and listed: the file, and what it may speak for.

use jiff::Timestamp;

use super::Fault;
use super::file::{Delegation, File, Signers, Targets};
use super::role::RoleName;

/// A role that is delegated and listed.
#[derive(Debug)]
pub(super) struct Held {
    /// Without its bytes as served.
    pub(super) file: File<Targets>,
    /// Prefixes of tags it may speak for, those of its parents taken into account.
    pub(super) paths: Vec<String>,
    /// The signers its parent names.
    pub(super) signers: Signers,
    /// Why it is left out; only delegations are.
    pub(super) left_out: Option<Fault>,
}

impl Held {
    /// Bytes this takes, roughly: its entries, and the prefixes it has or hands on.
    pub(super) fn bytes(&self) -> usize {
        let handed_on = self.file.body.delegations.iter().flat_map(|delegation| &delegation.paths);
        let paths: usize = self.paths.iter().chain(handed_on).map(|path| size_of::<String>() + path.len()).sum();
        self.file.body.targets.bytes() + paths
    }

    /// Whether it counts now.
    pub(super) fn holds(&self, name: &RoleName, now: Timestamp) -> Result<(), Fault> {
        self.left_out.clone().map_or_else(|| self.file.in_date(name.as_str(), now), Err)
    }
}

/// Whether a role with these paths may speak for a tag.
pub(super) fn covers(paths: &[String], tag: &str) -> bool {
    paths.iter().any(|path| tag.starts_with(path.as_str()))
}

/// The prefixes a delegation may speak for: its own, as far as they extend one of its parent's.
pub(super) fn narrowed(delegation: &Delegation, parent: &[String]) -> Vec<String> {
    delegation.paths.iter().filter(|path| parent.iter().any(|above| path.starts_with(above.as_str()))).cloned().collect()
}
