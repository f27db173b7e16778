//! Rules about what an image *is*: by id, each refused (`deny`) or recorded (`warn`). They say nothing of who vouches, and are asked after
//! the vouches have held: which of them apply is said by the scope of the repository that vouched, never by a name.

mod age;
mod base;
mod hidden;
mod labels;
mod ports;
mod preset;
mod running;
mod secrets;
mod size;
mod tags;

use jiff::Timestamp;

pub use super::image_ids::{ImageRuleId, is_called};
pub(in crate::policy) use age::DAYS_MOST;
pub use age::{AgeOf, MaxAge};
pub use base::{Base, BaseImage};
pub use hidden::Hider;
pub use labels::RequiredLabels;
pub use ports::ExposedPorts;
pub use preset::Preset;
pub(super) use running::is_root;
pub use secrets::Secrets;
pub use size::{MaxSize, Platforms};
pub use tags::TagPattern;

pub use super::findings::Finding;
use super::findings::RuleId;
pub use super::levels::{About, Level};
use super::levels::{RuleInForce, RuleSet};
use crate::image::{ImageConfig, Tag};

/// A rule with what is said of it beside its level.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `ImageRuleId`")]
pub enum Check {
    TagLatest,
    TagMissing,
    TagPattern(TagPattern),
    MaxAge(MaxAge),
    UserRoot,
    Healthcheck,
    Secrets(Secrets),
    ExposedPorts(ExposedPorts),
    RequiredLabels(RequiredLabels),
    BaseImage(BaseImage),
    MaxSize(MaxSize),
    Platform(Platforms),
}

impl Check {
    /// The rule where nothing more is said of it; `None` where something must be.
    #[must_use]
    pub fn default_of(id: ImageRuleId) -> Option<Self> {
        match id {
            ImageRuleId::TagLatest => Some(Self::TagLatest),
            ImageRuleId::TagMissing => Some(Self::TagMissing),
            ImageRuleId::UserRoot => Some(Self::UserRoot),
            ImageRuleId::Healthcheck => Some(Self::Healthcheck),
            ImageRuleId::Secrets => Some(Self::Secrets(Secrets::default())),
            ImageRuleId::ExposedPorts => Some(Self::ExposedPorts(ExposedPorts::default())),
            ImageRuleId::TagPattern
            | ImageRuleId::MaxAge
            | ImageRuleId::RequiredLabels
            | ImageRuleId::BaseImage
            | ImageRuleId::MaxSize
            | ImageRuleId::Platform => None,
        }
    }

    /// What shows that an image does not keep it; `None` also where what it looks at is not known.
    #[must_use]
    pub fn shows(&self, image: &Subject<'_>) -> Option<String> {
        match self.judge(image) {
            Err(Broken::By(evidence)) => Some(evidence),
            Ok(()) | Err(Broken::Unknown) => None,
        }
    }

    fn judge(&self, image: &Subject<'_>) -> Result<(), Broken> {
        match self {
            Self::TagLatest => tags::latest(image),
            Self::TagMissing => tags::missing(image),
            Self::TagPattern(pattern) => pattern.judge(image),
            Self::MaxAge(age) => age.judge(image),
            Self::UserRoot => running::user(image),
            Self::Healthcheck => running::healthcheck(image),
            Self::Secrets(secrets) => secrets.judge(image),
            Self::ExposedPorts(ports) => ports.judge(image),
            Self::RequiredLabels(labels) => labels.judge(image),
            Self::BaseImage(base) => base.judge(image),
            Self::MaxSize(size) => size.judge(image),
            Self::Platform(platforms) => platforms.judge(image),
        }
    }

    /// What of an image it looks at.
    fn looks(&self) -> Looks {
        let config = Looks { config: true, ..Looks::default() };
        match self {
            Self::TagLatest
            | Self::TagMissing
            | Self::TagPattern(_)
            | Self::MaxAge(MaxAge { of: AgeOf::Signature | AgeOf::Provenance, .. }) => Looks::default(),
            Self::Secrets(_) => Looks { history: true, ..config },
            Self::BaseImage(base) => Looks { annotations: !base.allow.is_empty(), ..config },
            Self::MaxAge(_)
            | Self::UserRoot
            | Self::Healthcheck
            | Self::ExposedPorts(_)
            | Self::RequiredLabels(_)
            | Self::MaxSize(_)
            | Self::Platform(_) => config,
        }
    }
}

/// What has to be known of an image before rules can judge it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looks {
    /// Its configuration.
    pub config: bool,
    /// And that configuration's history.
    pub history: bool,
    /// And the annotations of its manifest.
    pub annotations: bool,
}

/// An image, as rules look at it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The tag by which it is taken, or was; `None` where that is a digest or an id.
    pub tag: Option<&'a Tag>,
    /// No tag was written: it was filled in.
    pub is_tag_missing: bool,
    /// The tags under which it is vouched for, as far as known.
    pub vouched: &'a [&'a Tag],
    /// When it was signed, where that is known: the newest signature.
    pub signed_at: Option<Timestamp>,
    /// When it was built, as a statement says that vouches for it: the newest.
    pub built_at: Option<Timestamp>,
    /// What it says of itself, where that is known.
    pub config: Option<&'a ImageConfig>,
    /// The time by which its age is judged.
    pub now: Option<Timestamp>,
    /// A container is to run from it; else it is only mounted.
    pub runs: bool,
}

impl<'a> Subject<'a> {
    fn config(&self) -> Result<&'a ImageConfig, Broken> {
        self.config.ok_or(Broken::Unknown)
    }
}

/// Why an image does not keep a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Broken {
    /// It breaks it, and what shows that.
    By(String),
    /// What it looks at is not known.
    Unknown,
}

fn broken(evidence: impl Into<String>) -> Result<(), Broken> {
    Err(Broken::By(evidence.into()))
}

/// An image rule in force.
pub type ImageRule = RuleInForce<Check>;

/// The image rules of a scope.
pub type ImageRules = RuleSet<ImageRuleId, Check>;

impl ImageRules {
    /// What has to be known of an image.
    #[must_use]
    pub fn looks(&self) -> Looks {
        let both = |one: Looks, other: Looks| Looks {
            config: one.config || other.config,
            history: one.history || other.history,
            annotations: one.annotations || other.annotations,
        };
        self.iter().map(|(_, rule)| rule.check.looks()).fold(Looks::default(), both)
    }

    /// What an image does not keep, in the order of the rules.
    pub(in crate::policy) fn judge(&self, image: &Subject<'_>) -> Vec<Finding> {
        let binding = self.iter().filter(|(id, _)| image.runs || !id.is_about_running());
        let judged = binding.filter_map(|(id, rule)| {
            let evidence = match rule.check.judge(image) {
                Ok(()) => return None,
                Err(Broken::By(evidence)) => Some(evidence),
                Err(Broken::Unknown) => None,
            };
            Some(Finding { rule: RuleId::Image(id), level: rule.level, evidence, position: rule.position.clone() })
        });
        judged.collect()
    }
}

#[cfg(test)]
mod tests;
