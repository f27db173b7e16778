//! Rules with a level by their names, and what does not keep them.

use std::fmt;

use super::create_ids::CreateRuleId;
use super::image_ids::ImageRuleId;
use super::levels::{About, Level};
use crate::policy::fault::Position;

/// A rule with a level: about what an image is, or about what a call asks for of containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleId {
    /// About images.
    Image(ImageRuleId),
    /// About containers.
    Create(CreateRuleId),
}

impl RuleId {
    /// What people are told of it.
    #[must_use]
    pub const fn about(self) -> About {
        match self {
            Self::Image(id) => id.about(),
            Self::Create(id) => id.about(),
        }
    }

    /// Every rule.
    pub fn all() -> impl Iterator<Item = Self> {
        ImageRuleId::ALL.into_iter().map(Self::Image).chain(CreateRuleId::ALL.into_iter().map(Self::Create))
    }

    /// The rule that is called this, by itself or by others.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        ImageRuleId::named(text).map(Self::Image).or_else(|| CreateRuleId::named(text).map(Self::Create))
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.about().id)
    }
}

/// A rule that is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub rule: RuleId,
    /// What becomes of it.
    pub level: Level,
    /// What shows it; `None` where the configuration is not known that it looks at.
    pub evidence: Option<String>,
    /// Where the rule is written.
    pub position: Option<Position>,
}

/// As people are told: `user-root: USER is empty, which is root`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.evidence.as_deref().unwrap_or("the image's configuration is not known"))
    }
}
