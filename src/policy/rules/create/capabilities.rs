//! `capabilities`: what a container may do of what only root may.

use crate::order::Ordered as _;
use std::collections::BTreeSet;

use super::Judged;
use crate::request::{Run, RunKind};
use crate::text::clean;

/// What an engine gives a container that says nothing of it.
const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Stands for all of these in a list.
const WORD: &str = "default";

/// Capabilities that a container may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// As they are written.
    written: Vec<String>,
    /// By the names of the kernel's, without `CAP_`.
    allow: BTreeSet<String>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::new(vec![WORD.to_owned()])
    }
}

impl Capabilities {
    /// Those of a list of names; `default` stands for the engine's own.
    #[must_use]
    pub fn new(written: Vec<String>) -> Self {
        let mut allow = BTreeSet::new();
        for name in &written {
            if name == WORD {
                allow.extend(DEFAULT.map(str::to_owned));
            } else {
                allow.insert(kernels(name));
            }
        }
        Self { written, allow }
    }

    /// As they were written.
    #[must_use]
    pub fn written(&self) -> &[String] {
        &self.written
    }

    /// Compares with what the container has in the end (moby, `TweakCapabilities`): nothing but what is added where all are dropped;
    /// else the engine's own without what is dropped, and what is added.
    pub(super) fn judge(&self, run: &Run<'_>) -> Judged {
        match run.kind {
            RunKind::Container | RunKind::Service => {}
            RunKind::Update | RunKind::Exec { .. } | RunKind::Volume => return Ok(()),
        }
        if run.host_access.iter().any(|access| access.id == "privileged") {
            return Err("privileged, it has all of them".to_owned());
        }
        let added = run.host_access.iter().filter(|access| access.id == "capability").map(|access| kernels(&access.what));
        let dropped: BTreeSet<String> = run.terms.iter().flat_map(|terms| &terms.dropped).map(|name| kernels(name)).ordered();
        let kept = DEFAULT.into_iter().filter(|name| !dropped.contains("ALL") && !dropped.contains(*name)).map(str::to_owned);
        let has: BTreeSet<String> = added.chain(kept).ordered();
        match has.difference(&self.allow).next() {
            None => Ok(()),
            Some(name) => Err(format!("it has the capability {}", clean(name))),
        }
    }
}

/// The engine takes names in any case, with `CAP_` in front or without.
fn kernels(name: &str) -> String {
    let upper = name.to_uppercase();
    upper.strip_prefix("CAP_").map(str::to_owned).unwrap_or(upper)
}
