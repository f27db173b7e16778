//! What rules with a level have in common: what people are told of each, and what is in force of them.

use std::collections::BTreeMap;

use crate::policy::fault::Position;

/// What people are told of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub id: &'static str,
    /// What others call the same check: names that are taken for its own.
    pub refs: &'static [&'static str],
    /// What it refuses, in Markdown.
    pub refuses: &'static str,
    /// Its own keys, in Markdown.
    pub keys: &'static str,
    /// What to do about a refusal.
    pub remedy: &'static str,
}

/// What becomes of what breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// It is refused.
    Deny,
    /// It passes, and that is recorded.
    Warn,
}

impl Level {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Warn => "warn",
        }
    }
}

/// A rule in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInForce<C> {
    /// What becomes of what breaks it.
    pub level: Level,
    /// What it looks for.
    pub check: C,
    /// Where it is written; of a rule of a preset, where that is named.
    pub position: Option<Position>,
}

/// The rules of a scope. Those that are off are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet<I, C>(BTreeMap<I, RuleInForce<C>>);

impl<I, C> Default for RuleSet<I, C> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<I: Copy + Ord, C> RuleSet<I, C> {
    /// Puts a rule in force, or in the place of what was said of it before.
    pub fn set(&mut self, id: I, rule: RuleInForce<C>) {
        self.0.insert(id, rule);
    }

    /// Each, with its name.
    pub fn iter(&self) -> impl Iterator<Item = (I, &RuleInForce<C>)> {
        self.0.iter().map(|(id, rule)| (*id, rule))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
