//! The policy: what was written ([`Settings`]), what it means ([`Policy`]), and the decision ([`decide`]), a plain function
//! of policy, intent, facts and time. Nothing here touches a socket or a file.

mod decide;
mod facts;
mod host_access;
mod reason;
mod settings;
#[cfg(test)]
mod tests;

pub use decide::{Approval, Grounds, Permit, Verdict, decide, decide_without_policy, precheck, questions};
pub use facts::{Asked, ContainerFacts, Facts, ImageFacts, Local, NetworkFacts, PluginFacts, ServiceFacts};
pub use host_access::{HostAccessRule, HostAccessRuleError};
pub use reason::{MESSAGE_CHARS, Reason, quoted, trust_remedy};
pub use settings::{AllowlistSetting, NotarySettings, PolicyFault, Settings, VARIABLES};

use crate::image::{Host, Reference, Repository};
use crate::request::HostAccess;
use crate::trust::VerifierKind;

/// What the settings mean: nothing left to interpret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Enforce, or only record.
    pub mode: Mode,
    /// What becomes of calls while nothing can be recorded.
    pub audit: AuditRule,
    /// What is refused besides images.
    pub posture: Posture,
    /// Ways to the host that posture `lockdown` lets pass.
    pub host_access: Vec<HostAccessRule>,
    /// Whether builds may run.
    pub build: BuildRule,
    /// What the operator says of cleartext HTTP/2.
    pub http2: Http2Rule,
    /// Plugins that may be enabled: name with tag, and the digest of content and configuration.
    pub plugins: Vec<Reference>,
    /// The registries allowed, each with what it requires. Matched by exact host.
    pub scopes: Vec<Scope>,
}

/// A part of the reference space and what vouches for images in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The registry.
    pub host: Host,
    /// All of these must vouch. Empty: the registry itself must hold the manifest.
    pub require: Vec<VerifierKind>,
}

/// Whether refusals are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Refuse.
    Enforce,
    /// Decide and record, but let pass.
    Permissive,
}

/// What becomes of an allowed call that should be recorded and cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditRule {
    /// It passes; that entries were lost is told and counted.
    GoOn,
    /// It is refused.
    Require,
}

/// What is refused besides images (DESIGN, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Posture {
    /// Unapproved content does not enter or run.
    Images,
    /// API clients may be hostile: ways to the host are refused as well.
    Lockdown,
}

/// Whether builds may run. Their base images are not seen by any plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildRule {
    /// Refuse.
    Deny,
    /// Let pass (posture `images` only).
    Allow,
}

/// What the operator says of cleartext HTTP/2 on the engine's listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Http2Rule {
    /// A call may have come over it.
    Open,
    /// None reaches the engine. Believed only while its own socket refuses it.
    Closed,
}

impl Policy {
    /// The first of these ways to the host that is forbidden: in posture `lockdown`, one that no rule opens.
    #[must_use]
    pub fn forbidden<'d>(&self, host_access: &'d [HostAccess]) -> Option<&'d HostAccess> {
        match self.posture {
            Posture::Images => None,
            Posture::Lockdown => host_access.iter().find(|access| !self.host_access.iter().any(|rule| rule.allows(access))),
        }
    }

    /// The scope a repository belongs to; `None` refuses it.
    #[must_use]
    pub fn scope(&self, repository: &Repository) -> Option<&Scope> {
        self.scopes.iter().find(|scope| scope.host.as_str() == repository.host_str())
    }
}

impl Scope {
    /// The verifiers to ask: those required, or the registry where none is.
    #[must_use]
    pub fn verifiers(&self) -> &[VerifierKind] {
        if self.require.is_empty() { &[VerifierKind::Registry] } else { &self.require }
    }

    /// Whether no signature and no list stands behind images of this scope.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.require.is_empty()
    }
}
