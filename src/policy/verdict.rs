//! What a decision comes to: leave to pass and what it rests on, or a refusal, carried out or only recorded.

use super::Finding;
use super::lifted::{Applied, ExceptionUse};
use super::{Mode, Reason};
use crate::image::{Digest, Repository};
use crate::trust::{Freshness, Vouch};

/// The decision about one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass.
    Allow(Permit),
    /// It may not, and is only recorded: mode `permissive`.
    WouldDeny(Reason),
    /// It may not.
    Deny(Reason),
}

impl Verdict {
    /// A refusal, as the mode carries it out.
    #[must_use]
    pub const fn refusing(reason: Reason, mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Deny(reason),
            Mode::Permissive => Self::WouldDeny(reason),
        }
    }

    /// What is not kept of the rules with levels: what refuses the call, or what is recorded of one that may pass.
    #[must_use]
    pub fn findings(&self) -> Vec<&Finding> {
        match self {
            Self::Allow(permit) => {
                let mut findings: Vec<&Finding> = Vec::new();
                for approval in permit.approvals() {
                    findings.extend(&approval.warnings);
                    findings.extend(approval.forgiven.iter().flat_map(|reason| reason.findings()));
                }
                findings.extend(&permit.warnings);
                findings
            }
            Self::WouldDeny(reason) | Self::Deny(reason) => reason.findings().iter().collect(),
        }
    }

    /// The exceptions that it rests on, each once, for all of its images.
    #[must_use]
    pub fn exceptions(&self) -> Vec<ExceptionUse> {
        match self {
            Self::Allow(permit) => permit.exceptions(),
            Self::WouldDeny(_) | Self::Deny(_) => Vec::new(),
        }
    }

    /// Leave to pass.
    pub(super) const fn allowing(grounds: Grounds) -> Self {
        Self::allowing_with(grounds, Vec::new())
    }

    /// Leave to pass, with what it does not keep of rules that only warn.
    pub(super) const fn allowing_with(grounds: Grounds, warnings: Vec<Finding>) -> Self {
        Self::Allow(Permit { grounds, warnings })
    }

    /// Why it may not pass, carried out or not.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Reason> {
        match self {
            Self::Allow(_) => None,
            Self::WouldDeny(reason) | Self::Deny(reason) => Some(reason),
        }
    }
}

/// Leave to pass, with what it rests on. Made only in this room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    grounds: Grounds,
    warnings: Vec<Finding>,
}

/// What a permit rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grounds {
    /// The call brings no content in and runs none that has not been judged.
    NoImage,
    /// A setting lets it pass.
    Setting(&'static str),
    /// Content that is vouched for, by image, each with its id where it is on the host.
    Content(Vec<Approval>),
}

/// One image's approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Its id on the host, where it is there.
    pub id: Option<Digest>,
    /// The repository that it was approved as: the one that was asked for, also where its origin vouched. `None`: nobody vouched, an
    /// exception names its digest.
    pub repository: Option<Repository>,
    /// Who vouched; empty where a registry-only scope lets a name be asked for, and where an exception stands in their place.
    pub vouches: Vec<Vouch>,
    /// Where nobody vouched: the digest that an exception names. For the record.
    pub named: Option<Digest>,
    /// What it does not keep of rules with level `warn`.
    pub warnings: Vec<Finding>,
    /// What refuses it, and its permissive scope forgives.
    pub forgiven: Option<Box<Reason>>,
    /// The exceptions about it, and those without which it would not pass.
    pub exceptions: Applied,
}

impl Permit {
    /// What it rests on.
    #[must_use]
    pub const fn grounds(&self) -> &Grounds {
        &self.grounds
    }

    /// What the call itself does not keep of rules about containers with level `warn`.
    #[must_use]
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// Where it rests on what a server that is out of reach said before: since when nobody checked, and until when that counts.
    /// Of several, the oldest and the first to end.
    #[must_use]
    pub fn stale(&self) -> Option<(jiff::Timestamp, Option<jiff::Timestamp>)> {
        let of = |vouch: &Vouch| match vouch.freshness() {
            Freshness::Stale { since } => Some((since, vouch.expires())),
            Freshness::Fresh | Freshness::Imported { .. } => None,
        };
        let stale: Vec<_> = self.approvals().iter().flat_map(|approval| &approval.vouches).filter_map(of).collect();
        let since = stale.iter().map(|(since, _)| *since).min()?;
        Some((since, stale.iter().filter_map(|(_, until)| *until).min()))
    }

    /// What would refuse it, did its scope not forgive that.
    #[must_use]
    pub fn forgiven(&self) -> Option<&Reason> {
        self.approvals().iter().find_map(|approval| approval.forgiven.as_deref())
    }

    /// The exceptions it rests on, each once.
    fn exceptions(&self) -> Vec<ExceptionUse> {
        let mut all: Vec<ExceptionUse> = Vec::new();
        for used in self.approvals().iter().flat_map(|approval| approval.exceptions.uses()) {
            let Some(known) = all.iter_mut().find(|known| known.id == used.id) else {
                all.push(used.clone());
                continue;
            };
            known.vouches |= used.vouches;
            let others: Vec<_> = used.lifts.iter().filter(|rule| !known.lifts.contains(rule)).collect();
            known.lifts.extend(others);
        }
        all
    }

    /// The approvals it rests on.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        match &self.grounds {
            Grounds::Content(approvals) => approvals,
            Grounds::NoImage | Grounds::Setting(_) => &[],
        }
    }
}
