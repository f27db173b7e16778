//! What is in force: a policy and those who vouch, or no more than a fault.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Gate;
use crate::policy::{AuditRule, Http2Rule, Mode, MonitorRule, Policy, Posture};
use crate::registry;
use crate::trust::Verifier;

/// What is in force.
#[expect(clippy::large_enum_variant, reason = "a gate has one of them at a time")]
pub enum Rules {
    /// A policy and those who vouch.
    Good {
        /// The policy.
        policy: Policy,
        /// Those that the policy requires, by their names.
        verifiers: Vec<Arc<dyn Verifier>>,
        /// Who tells what images are before they are here; `None`: no rule asks.
        registry: Option<Arc<dyn registry::Api>>,
    },
    /// Faulty settings, and no earlier good ones: what touches an image is refused, all else passes.
    Faulty {
        /// The first fault.
        fault: String,
        /// What they say about the host, as far as it can be read: what `lockdown` forbids stays forbidden.
        posture: Posture,
        /// Whether they give users rights, as far as that can be read: who has which is not known, and only what reads passes.
        rights: bool,
    },
}

impl Rules {
    /// What is refused besides images.
    pub(super) const fn posture(&self) -> Posture {
        match self {
            Self::Good { policy, .. } => policy.posture,
            Self::Faulty { posture, .. } => *posture,
        }
    }

    /// Whether refusals are carried out.
    pub(super) const fn mode(&self) -> Mode {
        match self {
            Self::Good { policy, .. } => policy.mode,
            Self::Faulty { .. } => Mode::Enforce,
        }
    }

    /// Whether users have rights of their own.
    pub(super) const fn has_users(&self) -> bool {
        match self {
            Self::Good { policy, .. } => policy.users.is_some(),
            Self::Faulty { .. } => false,
        }
    }

    /// Whether there are rules in Rego.
    pub(super) const fn has_rego(&self) -> bool {
        match self {
            Self::Good { policy, .. } => policy.rego.is_some(),
            Self::Faulty { .. } => false,
        }
    }

    /// What becomes of a call that cannot be recorded.
    pub(super) const fn audit(&self) -> AuditRule {
        match self {
            Self::Good { policy, .. } => policy.audit,
            // What touches an image is refused as it is.
            Self::Faulty { .. } => AuditRule::GoOn,
        }
    }

    /// What becomes of containers that run unapproved, and how long they are reported only after a change. Without a policy nobody can
    /// tell which these are.
    pub(super) const fn monitor(&self) -> (MonitorRule, Duration) {
        match self {
            Self::Good { policy, .. } => (policy.monitor, policy.monitor_pause),
            Self::Faulty { .. } => (MonitorRule::Report, crate::policy::MONITOR_PAUSE),
        }
    }

    /// Whether the operator says that no HTTP/2 reaches the engine.
    pub(super) fn says_closed(&self) -> bool {
        match self {
            Self::Good { policy, .. } => policy.http2 == Http2Rule::Closed,
            Self::Faulty { .. } => false,
        }
    }
}

impl Gate {
    /// Puts other rules in force. Refusals for want of rules never take the place of good rules: then `false`, and all stays as
    /// it was, with the content of files that those rules were made of.
    pub fn replace(&self, rules: Rules) -> bool {
        if matches!((&**self.rules.load(), &rules), (Rules::Good { .. }, Rules::Faulty { .. })) {
            return false;
        }
        let ids = |rules: &Rules| match rules {
            Rules::Good { policy, .. } => policy.exceptions.iter().map(|exception| exception.id()).collect(),
            Rules::Faulty { .. } => BTreeSet::new(),
        };
        let current = ids(&rules);
        let before = self.rules.swap(Arc::new(rules));
        self.metrics.forget_exceptions(ids(&before).difference(&current));
        true
    }

    /// What is refused besides images.
    pub(super) fn posture(&self) -> Posture {
        self.rules.load().posture()
    }

    /// Whether refusals are carried out.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.rules.load().mode()
    }
}
