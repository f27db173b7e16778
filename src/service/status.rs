//! How the gate of this host is doing, as one piece of plain data: what `img-authz status` prints and what the page shows. Made from the gate
//! that serves ([`Look`]), read back by whoever asked. Each list in it is bounded; what was left out is counted.
//!
//! All texts may hold what others have written: who shows them escapes them.

mod look;
#[cfg(test)]
pub(crate) mod sample;
mod troubles;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(super) use self::look::Look;
use crate::audit::Told;
use crate::monitor::{Act, Arrived, Finding};
use crate::policy::MonitorRule;

/// How the gate is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// When this was made.
    pub(crate) at: Timestamp,
    /// The gate's version.
    pub(crate) version: String,
    /// Since when it is up.
    pub(crate) started: Timestamp,
    /// `enforce` or `permissive`.
    pub(crate) mode: String,
    /// `images` or `lockdown`.
    pub(crate) posture: String,
    /// What somebody has to see to, the worst first.
    pub(crate) troubles: Vec<Trouble>,
    /// Calls that were decided since the start.
    pub(crate) decided: Decided,
    /// Entries of the audit log that were lost since the start.
    pub(crate) entries_lost: u64,
    /// Images that were ever approved, as far as they are remembered.
    pub(crate) approved_ever: usize,
    /// What is on the host, judged; nothing where that is not known yet.
    pub(crate) host: Option<Host>,
    /// The containers that run, as the monitor sees them; nothing where none looks.
    pub(crate) running: Option<Running>,
    /// The images that arrived, audited; nothing where nobody looks.
    #[serde(default)]
    pub(crate) arrived: Option<Arrived>,
    /// The newest entries of the audit log, the newest first.
    pub(crate) events: Vec<Told>,
    /// What is in force.
    pub(crate) policy: PolicyTold,
    /// The exceptions of the policy.
    pub(crate) exceptions: Vec<ExceptionTold>,
    /// Where the page is, if there is one.
    pub(crate) page: Option<String>,
}

/// What became of the page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Page {
    /// Nobody asked for one, or it is not served yet.
    #[default]
    None,
    /// It is served here, by this gate.
    Served(String),
    /// It is not.
    Missing {
        /// Where it should be.
        address: String,
        /// Why.
        why: String,
    },
}

/// How many calls were decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decided {
    /// They passed.
    pub(crate) allowed: u64,
    /// They were refused.
    pub(crate) blocked: u64,
    /// They would have been refused, and passed because mode or scope is permissive.
    pub(crate) would_block: u64,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The gate is not in force, or something runs that it would refuse.
    Critical,
    /// It is weaker than it looks, or will be.
    Warning,
    /// Worth knowing.
    Info,
}

/// Something that somebody has to see to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What was seen.
    pub(crate) evidence: String,
    /// What to do.
    pub(crate) remedy: String,
}

/// What is on the host, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Host {
    /// When.
    pub(crate) at: Timestamp,
    /// Why it is not known.
    pub(crate) fault: Option<String>,
    /// Images.
    pub(crate) images: Vec<Item>,
    /// Containers, those that run before others.
    pub(crate) containers: Vec<Item>,
    /// How many were not judged: there are too many, or it took too long.
    pub(crate) left: usize,
    /// Trust data that is kept, what expires first in front.
    pub(crate) trust: Vec<TrustData>,
    /// How many repositories are left out.
    pub(crate) trust_left: usize,
}

/// An image or a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// Its id.
    pub(crate) id: String,
    /// Its name or first tag.
    pub(crate) name: String,
    /// The image that a container was asked for with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) image: String,
    /// Whether it is a container that runs.
    pub(crate) is_running: bool,
    /// What the gate would say now to its start, or to a container made of it.
    pub(crate) verdict: Verdict,
    /// The refusal's code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) code: String,
    /// The refusal's line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    /// Why: the scopes that decide, and for a refusal what would have to be otherwise.
    pub(crate) why: Vec<String>,
    /// By which digests it was approved, with the repository that vouched.
    pub(crate) approved_by: Vec<String>,
}

/// What the gate would say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// No.
    Refused,
    /// No, and it approved it before: its tag is signed for other content now.
    Superseded,
    /// It cannot tell at the moment, which is a no.
    CannotTell,
    /// No, and it would let it pass because a scope is permissive.
    Forgiven,
    /// Yes.
    Allowed,
}

/// The containers that run, as the monitor sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// When the monitor last said so.
    pub(crate) at: Timestamp,
    /// When it last read the engine's list.
    pub(crate) listed: Option<Timestamp>,
    /// What becomes of what it finds.
    pub(crate) rule: MonitorRule,
    /// Until when it only reports, after a change.
    pub(crate) paused_until: Option<Timestamp>,
    /// How many run.
    pub(crate) count: usize,
    /// Rows of the engine's list that cannot be read: those containers are not judged.
    pub(crate) unread: usize,
    /// How many run unapproved.
    pub(crate) unapproved: usize,
    /// Those, as far as they are told.
    pub(crate) findings: Vec<Finding>,
    /// Those of which it cannot be told.
    pub(crate) unsure: Vec<Finding>,
    /// How many wait for the operator (`img-authz monitor approve`).
    pub(crate) awaited: usize,
    /// What was done within the last ten minutes.
    pub(crate) acts: Vec<Act>,
}

/// Trust data of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrustData {
    /// The verifier that keeps it.
    pub(crate) verifier: String,
    /// The repository.
    pub(crate) repository: String,
    /// When the server was last asked with success.
    pub(crate) checked: Timestamp,
    /// What somebody has to sign again first, and by when.
    pub(crate) expires_first: Option<Expiry>,
    /// When each of its files expires, the first in front.
    pub(crate) roles: Vec<Expiry>,
    /// `good`, or what is the matter.
    pub(crate) state: String,
    /// Whether it is.
    pub(crate) is_good: bool,
}

/// When a file of trust data expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expiry {
    /// Its role.
    pub(crate) role: String,
    /// When.
    pub(crate) at: Timestamp,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyTold {
    /// The policy file, or that variables say it.
    pub(crate) place: String,
    /// The digest of the file.
    pub(crate) digest: Option<String>,
    /// When settings and files were last read.
    pub(crate) read: Option<Timestamp>,
    /// The policy, as a policy file says it; cut where it is very long. `None`: none is in force.
    pub(crate) text: Option<String>,
    /// The allowlists that are required.
    pub(crate) allowlists: Vec<Allowlist>,
}

/// An allowlist that is required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Allowlist {
    /// The verifier that it is.
    pub(crate) verifier: String,
    /// The file, as the gate sees it.
    pub(crate) path: String,
    /// Entries in force.
    pub(crate) entries: Option<usize>,
    /// What is wrong with the file.
    pub(crate) fault: Option<String>,
    /// The serial of what is in force, where that must be signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) serial: Option<u64>,
}

/// An exception of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExceptionTold {
    /// Its id.
    pub(crate) id: String,
    /// What it is about.
    pub(crate) subject: String,
    /// The rules that it lifts.
    pub(crate) lift: Vec<String>,
    /// Who answers for it.
    pub(crate) owner: String,
    /// Why.
    pub(crate) reason: String,
    /// Where it is followed up.
    pub(crate) ticket: Option<String>,
    /// When it ends.
    pub(crate) expires: Timestamp,
    /// `in-force`, `ending`, `ended` or `ahead`.
    pub(crate) standing: String,
}

impl Snapshot {
    /// How many images on the host may run.
    pub(crate) fn allowed_images(&self) -> usize {
        let images = self.host.iter().flat_map(|host| &host.images);
        images.filter(|image| image.verdict == Verdict::Allowed).count()
    }

    /// Containers and images that would be refused now.
    pub(crate) fn refused(&self) -> impl Iterator<Item = &Item> {
        let items = self.host.iter().flat_map(|host| host.containers.iter().chain(&host.images));
        items.filter(|item| !matches!(item.verdict, Verdict::Allowed | Verdict::Forgiven))
    }

    /// How bad the worst is.
    pub(crate) fn worst(&self) -> Option<Severity> {
        self.troubles.iter().map(|trouble| trouble.severity).min()
    }
}

impl Severity {
    /// As it is shown.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl Verdict {
    /// As it is shown.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Superseded => "superseded",
            Self::CannotTell => "cannot tell",
            Self::Forgiven => "forgiven",
            Self::Allowed => "allowed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sample::sample;
    use super::*;

    #[test]
    fn a_snapshot_is_read_back_as_it_was_made() {
        let made = sample("r.example/app:1");
        let read: Snapshot = serde_json::from_str(&serde_json::to_string(&made).unwrap()).unwrap();
        assert_eq!(read, made);
        assert_eq!((made.allowed_images(), made.refused().count(), made.worst()), (1, 4, Some(Severity::Critical)));
    }
}
