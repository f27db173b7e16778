//! The table of rules: names, severity, remedy, and what each means for a beginner. What the policy has rules for keeps their names.

mod of_policy;
mod own;

use std::fmt;

use serde::{Serialize, Serializer};

pub use own::OwnRule;

use crate::policy::{CreateRuleId, ImageRuleId, is_called};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// One wall less.
    Low,
    /// Helps an attacker who is inside.
    Medium,
    /// Lets somebody in, or leaves little between a container and its host.
    High,
    /// Nothing is left between a container, or whoever reaches a port, and the host.
    Critical,
}

impl Severity {
    /// All, from the least.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What people are told of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: &'static str,
    /// What others call the same check.
    pub refs: &'static [&'static str],
    /// How bad it is.
    pub severity: Severity,
    /// What is looked at: `Dockerfile`, `image`, `host`.
    pub at: &'static str,
    /// What it finds, in Markdown.
    pub finds: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// What it means, for somebody who has never heard of it.
    pub means: &'static str,
}

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleName {
    /// One that the policy has about images.
    Image(ImageRuleId),
    /// One that the policy has about containers.
    Create(CreateRuleId),
    /// One that only an audit has.
    Own(OwnRule),
}

impl From<ImageRuleId> for RuleName {
    fn from(id: ImageRuleId) -> Self {
        Self::Image(id)
    }
}

impl From<CreateRuleId> for RuleName {
    fn from(id: CreateRuleId) -> Self {
        Self::Create(id)
    }
}

impl From<OwnRule> for RuleName {
    fn from(id: OwnRule) -> Self {
        Self::Own(id)
    }
}

impl RuleName {
    /// The policy's rules about images that an audit asks too. The others need what only an operator can say: patterns, labels, bases, sizes.
    pub const IMAGE: [ImageRuleId; 6] = [
        ImageRuleId::TagLatest,
        ImageRuleId::MaxAge,
        ImageRuleId::UserRoot,
        ImageRuleId::Healthcheck,
        ImageRuleId::Secrets,
        ImageRuleId::ExposedPorts,
    ];

    /// The policy's rules about containers that an audit asks too.
    pub const CREATE: [CreateRuleId; 26] = [
        CreateRuleId::Privileged,
        CreateRuleId::HostNetwork,
        CreateRuleId::HostPid,
        CreateRuleId::HostIpc,
        CreateRuleId::HostUts,
        CreateRuleId::HostUserns,
        CreateRuleId::HostCgroupns,
        CreateRuleId::Capabilities,
        CreateRuleId::Mounts,
        CreateRuleId::DockerSocket,
        CreateRuleId::MountPropagation,
        CreateRuleId::Devices,
        CreateRuleId::Seccomp,
        CreateRuleId::AppArmor,
        CreateRuleId::SeLinux,
        CreateRuleId::SystemPaths,
        CreateRuleId::CgroupParent,
        CreateRuleId::NoNewPrivileges,
        CreateRuleId::ReadOnlyRoot,
        CreateRuleId::MemoryLimit,
        CreateRuleId::CpuLimit,
        CreateRuleId::PidsLimit,
        CreateRuleId::RestartPolicy,
        CreateRuleId::PrivilegedPorts,
        CreateRuleId::HostIp,
        CreateRuleId::Ulimits,
    ];

    /// Every rule of an audit.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_policy = Self::IMAGE.into_iter().map(Self::Image).chain(Self::CREATE.into_iter().map(Self::Create));
        of_policy.chain(OwnRule::ALL.into_iter().map(Self::Own))
    }

    /// The rule that is called this, by itself or by others. Without a tag is `latest` to engines, and here.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        if ImageRuleId::named(text) == Some(ImageRuleId::TagMissing) {
            return Some(Self::Image(ImageRuleId::TagLatest));
        }
        Self::all().find(|name| {
            let about = name.about();
            is_called(text, about.id, about.refs)
        })
    }

    /// What people are told of it.
    #[must_use]
    pub const fn about(self) -> Rule {
        match self {
            Self::Image(id) => of_policy::image(id),
            Self::Create(id) => of_policy::create(id),
            Self::Own(id) => id.about(),
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.about().id)
    }
}

impl Serialize for RuleName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.about().id)
    }
}
