//! Rules about what an image *is*: by id, each refused (`deny`) or recorded (`warn`). They say nothing of who vouches, and are asked after
//! the vouches have held: which of them apply is said by the scope of the repository that vouched, never by a name.

mod age;
mod base;
mod labels;
mod ports;
mod preset;
mod running;
mod secrets;
mod size;
mod tags;

use std::fmt;

use jiff::Timestamp;

pub(in crate::policy) use age::DAYS_MOST;
pub use age::{AgeOf, MaxAge};
pub use base::{Base, BaseImage};
pub use labels::RequiredLabels;
pub use ports::ExposedPorts;
pub use preset::Preset;
pub(super) use running::is_root;
pub use secrets::Secrets;
pub use size::{MaxSize, Platforms};
pub use tags::TagPattern;

use super::levels::RuleId;
pub use super::levels::{About, Finding, Level};
use super::levels::{RuleInForce, RuleSet};
use crate::image::{ImageConfig, Tag};

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is explained by its row in `ImageRuleId::about`")]
pub enum ImageRuleId {
    TagLatest,
    TagMissing,
    TagPattern,
    MaxAge,
    UserRoot,
    Healthcheck,
    Secrets,
    ExposedPorts,
    RequiredLabels,
    BaseImage,
    MaxSize,
    Platform,
}

impl ImageRuleId {
    /// Every rule, in the order in which they are asked.
    pub const ALL: [Self; 12] = [
        Self::TagLatest,
        Self::TagMissing,
        Self::TagPattern,
        Self::MaxAge,
        Self::UserRoot,
        Self::Healthcheck,
        Self::Secrets,
        Self::ExposedPorts,
        Self::RequiredLabels,
        Self::BaseImage,
        Self::MaxSize,
        Self::Platform,
    ];

    /// What people are told of it.
    #[must_use]
    pub const fn about(self) -> About {
        match self {
            Self::TagLatest => About {
                id: "tag-latest",
                refs: &["CIS-5.28", "DKL-DI-0006", "DL3007", "DS-0001"],
                refuses: "the tag `latest`, also where it is filled in",
                keys: "",
                remedy: "use a tag that says which version, or NAME@sha256:DIGEST",
            },
            Self::TagMissing => About {
                id: "tag-missing",
                refs: &["DL3006"],
                refuses: "a name without a tag and without a digest",
                keys: "",
                remedy: "write the tag, or NAME@sha256:DIGEST",
            },
            Self::TagPattern => About {
                id: "tag-pattern",
                refs: &[],
                refuses: "a tag that the pattern does not match",
                keys: "`pattern`: a regular expression, such as `'^v\\d+'`; required",
                remedy: "use a tag that this host's policy allows",
            },
            Self::MaxAge => About {
                id: "max-age",
                refs: &["CIS-4.4", "CIS-DI-0004"],
                refuses: "an image that is older, or whose age is not known",
                keys: "`days`: 1 to 3650, required; `of`: `\"created\"` (default) or `\"signature\"`",
                remedy: "use a newer image, or have its publisher build it again",
            },
            Self::UserRoot => About {
                id: "user-root",
                refs: &["CIS-4.1", "CIS-DI-0001", "DL3002", "DS-0002"],
                refuses: "an image that runs as root: `USER` is missing, `root` or 0",
                keys: "",
                remedy: "have its publisher build it with a USER other than root",
            },
            Self::Healthcheck => About {
                id: "healthcheck",
                refs: &["CIS-4.6", "CIS-DI-0006", "DL3057", "DS-0026"],
                refuses: "an image without `HEALTHCHECK`, or with `NONE`",
                keys: "",
                remedy: "have its publisher build it with a HEALTHCHECK",
            },
            Self::Secrets => About {
                id: "secrets",
                refs: &["CIS-4.10", "CIS-DI-0010", "DS-0031"],
                refuses: "what looks like a secret in `ENV`, labels or history",
                keys: "`allow`: names of variables and labels that hold none",
                remedy: "have its publisher build it without the secret, and replace that: who has the image has it",
            },
            Self::ExposedPorts => About {
                id: "exposed-ports",
                refs: &["CIS-5.7", "DS-0004"],
                refuses: "an image that exposes one of these ports",
                keys: "`forbid`: list of ports; default `[22]`",
                remedy: "have its publisher build it without EXPOSE of that port",
            },
            Self::RequiredLabels => About {
                id: "required-labels",
                refs: &["DL3049"],
                refuses: "an image that lacks one of these labels, or has another value",
                keys: "`labels`: `{ NAME = [VALUE, …] }`, `*` for any letters; required",
                remedy: "have its publisher build it with that label",
            },
            Self::BaseImage => About {
                id: "base-image",
                refs: &["CIS-4.2", "CIS-DI-0002", "DL3026"],
                refuses: "an image that is not built on one of these",
                keys: "`allow`: patterns over names, as in `match`, and `@sha256:…` behind one; `layers`: `{ NAME = [DIGEST, …] }`; one of the two is required",
                remedy: "have its publisher build it from a base image that this host's policy allows",
            },
            Self::MaxSize => About {
                id: "max-size",
                refs: &[],
                refuses: "a larger image",
                keys: "`megabytes`: millions of bytes, required",
                remedy: "have its publisher make it smaller",
            },
            Self::Platform => About {
                id: "platform",
                refs: &[],
                refuses: "an image for another platform",
                keys: "`allow`: list such as `[\"linux/amd64\"]`, required",
                remedy: "use an image for a platform that this host's policy allows",
            },
        }
    }

    /// The rule that is called this, by itself or by others. Trivy's older spellings count too.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let of_trivy = text.strip_prefix("AVD-").unwrap_or(text);
        let of_trivy = match of_trivy.strip_prefix("DS").filter(|rest| rest.len() == 3) {
            Some(number) => format!("DS-0{number}"),
            None => of_trivy.to_owned(),
        };
        Self::ALL.into_iter().find(|id| {
            let about = id.about();
            about.id == text || about.refs.contains(&of_trivy.as_str())
        })
    }

    /// Whether it is about how a container of the image runs, and says nothing of an image that is only mounted.
    const fn is_about_running(self) -> bool {
        match self {
            Self::UserRoot | Self::Healthcheck | Self::ExposedPorts => true,
            Self::TagLatest
            | Self::TagMissing
            | Self::TagPattern
            | Self::MaxAge
            | Self::Secrets
            | Self::RequiredLabels
            | Self::BaseImage
            | Self::MaxSize
            | Self::Platform => false,
        }
    }
}

impl fmt::Display for ImageRuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.about().id)
    }
}

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
            Self::TagLatest | Self::TagMissing | Self::TagPattern(_) | Self::MaxAge(MaxAge { of: AgeOf::Signature, .. }) => {
                Looks::default()
            }
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
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) struct Subject<'a> {
    /// The tag by which it is taken, or was; `None` where that is a digest or an id.
    pub(in crate::policy) tag: Option<&'a Tag>,
    /// No tag was written: it was filled in.
    pub(in crate::policy) is_tag_missing: bool,
    /// The tags under which it is vouched for, as far as known.
    pub(in crate::policy) vouched: &'a [&'a Tag],
    /// When it was signed, where that is known: the newest signature.
    pub(in crate::policy) signed_at: Option<Timestamp>,
    /// What it says of itself, where that is known.
    pub(in crate::policy) config: Option<&'a ImageConfig>,
    /// The time by which its age is judged.
    pub(in crate::policy) now: Option<Timestamp>,
    /// A container is to run from it; else it is only mounted.
    pub(in crate::policy) runs: bool,
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
