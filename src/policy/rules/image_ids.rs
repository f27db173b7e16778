//! Rules about images by name.

use std::fmt;

use super::levels::About;

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
                keys: "`days`: 1 to 3650, required; `of`: `\"created\"` (default), `\"signature\"` or `\"provenance\"`",
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
        Self::ALL.into_iter().find(|id| {
            let about = id.about();
            is_called(text, about.id, about.refs)
        })
    }

    /// Whether it is about how a container of the image runs, and says nothing of an image that is only mounted.
    pub(super) const fn is_about_running(self) -> bool {
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

/// Whether a rule with this name, and these that others have for it, is called so. Trivy's older spellings (`AVD-DS-0002`, `DS002`) count too.
#[must_use]
pub fn is_called(text: &str, id: &str, refs: &[&str]) -> bool {
    let of_trivy = text.strip_prefix("AVD-").unwrap_or(text);
    let older = of_trivy.strip_prefix("DS").filter(|rest| rest.len() == 3).map(|number| format!("DS-0{number}"));
    id == text || refs.contains(&older.as_deref().unwrap_or(of_trivy))
}

impl fmt::Display for ImageRuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.about().id)
    }
}
