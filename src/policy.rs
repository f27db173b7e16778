//! The policy: what was written ([`Settings`]), what it means ([`Policy`]), what has to be found out about a call ([`needs()`]), and the
//! decision ([`decide()`]), a plain function of policy, [`Request`] and facts. Nothing here touches a socket, a file or the clock.

mod approve;
mod code;
mod decide;
mod exceptions;
mod explain;
mod facts;
mod fault;
mod file;
pub mod import;
mod lifted;
mod needs;
mod reason;
mod request;
mod resolved;
mod rules;
mod scope;
mod settings;
mod show;
mod sinks;
#[cfg(test)]
mod tests;
mod users;
mod variables;
mod verdict;
mod web;

pub use approve::{judge_image, questions};
pub use code::Code;
pub use decide::{decide, decide_without_policy};
pub use exceptions::{HostAccessRule, HostAccessRuleError};
pub use facts::{Asked, ConfigFacts, ContainerFacts, Facts, ImageFacts, Local, NetworkFacts, PluginFacts, ServiceFacts};
pub use fault::{PolicyFault, Position, nearest};
pub use file::{
    Answered, Asks, CASE_BYTES, Case, CaseConfig, CaseImage, CaseVouch, Expected, FURTHER_FILES, Made, POLICY_BYTES, PolicyFile,
    Read, Recorded, Seen, When, members, recorded as recorded_case, written as written_case,
};
pub use lifted::{
    Applied, Content, EXCEPTIONS, Excepted, Exception, ExceptionUse, Exceptions, PATTERNS, Standing, Times, all_liftable,
    end as exception_end, end_told as exception_end_told, liftable,
};
pub use needs::{Needs, needs};
pub use reason::{MESSAGE_CHARS, Reason, quoted};
pub use request::{Caller, Request};
pub use resolved::{
    AllowlistSettings, CosignSettings, Given, NotarySettings, NotationSettings, Recording, RegoSettings, Resolved,
    VerifierSettings,
};
pub use rules::create::{
    Allowed, Capabilities, CpuLimit, CreateCheck, CreateRule, CreateRuleId, CreateRules, HostAddresses, Join, Most, Mounts,
    PrivilegedPorts,
};
pub use rules::image::{
    About, AgeOf, Base, BaseImage, Check, ExposedPorts, Finding, Hider, ImageRule, ImageRuleId, ImageRules, Level, Looks, MaxAge,
    MaxSize, Platforms, Preset, RequiredLabels, Secrets, Subject, TagPattern, is_called,
};
pub use rules::{FurtherRules, LIFTABLE, Rule, RuleId, RuleInForce, RuleSet, exemptible};
use scope::stands_for;
pub use scope::{Origin, Pattern, PatternError, Requirement, Scope, Scopes};
pub use settings::{AllowlistSetting, Settings};
pub use sinks::{AlertsSetting, SinkFormat, SinkSetting, SyslogAt, TelemetrySetting, may_be_secret};
pub use users::{Forbidden, GroupSetting, LOCAL, Remark, Rights, Users};
pub use variables::{TABLE as VARIABLE_TABLE, VARIABLES, Variable};
pub use verdict::{Approval, Grounds, Permit, Verdict};
pub use web::{WebAddress, WebAddressError};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::image::{Host, Reference, Repository};
use crate::rego::Compiled;
use crate::request::HostAccess;
use crate::trust::{Binding, VerifierName};

/// How long the monitor only reports after a change, unless a setting says otherwise.
pub const MONITOR_PAUSE: Duration = Duration::from_mins(10);

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
    /// What becomes of containers that run unapproved.
    pub monitor: MonitorRule,
    /// How long they are reported only, after the policy or what it rests on has changed.
    pub monitor_pause: Duration,
    /// Plugins that may be enabled: name with tag, and the digest of content and configuration.
    pub plugins: Vec<Reference>,
    /// Who may do what; `None`: everybody everything, as far as the rest of the policy lets it pass.
    pub users: Option<Arc<Users>>,
    /// Who can be asked, and what a yes of theirs binds.
    pub verifiers: BTreeMap<VerifierName, Binding>,
    /// Parts of the name space of images, each with what it requires. What lies in none is refused.
    pub scopes: Scopes,
    /// What passes for a time though the rest of the policy refuses it.
    pub exceptions: Box<Exceptions>,
    /// Rules beside those that every gate has.
    pub rules: FurtherRules,
    /// The operator's rules in Rego. Evaluated while facts are gathered; the decision reads what they said.
    pub rego: Option<Arc<Compiled>>,
    /// Where the facts of decisions are kept, and what they are made by; `None`: nowhere.
    pub record: Option<Arc<Recording>>,
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

/// What is refused besides images (docs/postures.md).
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

/// What becomes of a container that runs and that the gate would refuse to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MonitorRule {
    /// Nobody looks.
    Off,
    /// It is reported.
    Report,
    /// It is stopped.
    Stop,
    /// It is stopped and removed. Its volumes stay.
    Remove,
}

impl Policy {
    /// One that allows no image, and nothing that a setting has to allow.
    #[must_use]
    pub fn closed(posture: Posture) -> Self {
        Self {
            mode: Mode::Enforce,
            audit: AuditRule::GoOn,
            posture,
            host_access: Vec::new(),
            build: BuildRule::Deny,
            http2: Http2Rule::Open,
            monitor: MonitorRule::Report,
            monitor_pause: MONITOR_PAUSE,
            plugins: Vec::new(),
            users: None,
            verifiers: BTreeMap::new(),
            scopes: Scopes::default(),
            exceptions: Box::default(),
            rules: FurtherRules::default(),
            rego: None,
            record: None,
        }
    }

    /// One registry, whose images this verifier vouches for. For tests.
    ///
    /// # Panics
    /// If `host` is not one.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn of(posture: Posture, host: &str, verifier: &VerifierName, binding: Binding) -> Self {
        let require = Requirement::One(verifier.clone());
        Self {
            verifiers: BTreeMap::from([(verifier.clone(), binding)]),
            scopes: Scopes::new(vec![Scope::of_registry(&host.parse().unwrap(), require)]),
            ..Self::closed(posture)
        }
    }

    /// The first of these ways to the host that is forbidden: in posture `lockdown`, one that no rule opens.
    #[must_use]
    pub fn forbidden<'d>(&self, host_access: &'d [HostAccess]) -> Option<&'d HostAccess> {
        match self.posture {
            Posture::Images => None,
            Posture::Lockdown => host_access.iter().find(|access| !self.host_access.iter().any(|rule| rule.allows(access))),
        }
    }

    /// Whether it matters what a service's networks are: in posture `lockdown`, and where a create rule looks at them.
    #[must_use]
    pub fn looks_at_networks(&self) -> bool {
        let is_about_networks = |scope: &Scope| scope.create_rules.iter().any(|(id, _)| id == CreateRuleId::HostNetwork);
        self.posture == Posture::Lockdown || self.scopes.with_create_rules().any(is_about_networks)
    }

    /// The scope a repository belongs to; `None` refuses it.
    #[must_use]
    pub fn scope(&self, repository: &Repository) -> Option<&Scope> {
        self.scopes.of(repository)
    }

    /// The scope in which an image of a call was judged: that of the repository that vouched, else of the first that might have.
    #[must_use]
    pub fn judged_in(&self, facts: &Facts, verdict: &Verdict) -> Option<&Scope> {
        let approved = match verdict {
            Verdict::Allow(permit) => permit.approvals().first().and_then(|approval| approval.repository.as_ref()),
            Verdict::WouldDeny(_) | Verdict::Deny(_) => None,
        };
        if let Some(repository) = approved {
            return self.scope(repository);
        }
        let image = facts.images.first()?;
        let vouched =
            |repository: &&Repository| image.asked.iter().any(|asked| asked.repository == **repository && asked.answer.is_ok());
        let vouching = image.repositories.iter().find(vouched).and_then(|repository| self.scope(repository));
        vouching.or_else(|| image.repositories.iter().find_map(|repository| self.scope(repository)))
    }

    /// Who says whether content lies in a repository of a permissive scope: a verifier that asks the registry. Where there is such a scope,
    /// there is one.
    pub(crate) fn evidence(&self) -> Option<&VerifierName> {
        self.verifiers.iter().find(|(_, binding)| **binding == Binding::Held).map(|(name, _)| name)
    }

    /// Why a repository that belongs to no scope is refused.
    pub(crate) fn outside(&self, repository: &Repository) -> Reason {
        let by = self.scopes.refusing(repository);
        let repository = repository.clone();
        if let Some(scope) = by {
            let place = scope.position.as_ref().map(Position::short).unwrap_or_default();
            return Reason::ScopeRefuses { repository, scope: scope.label().to_owned(), place };
        }
        // Variables know registries, a file knows scopes.
        let is_of_file = self.scopes.iter().any(|scope| scope.position.is_some());
        if is_of_file { Reason::OutsideScopes { repository } } else { Reason::RegistryNotAllowed { repository } }
    }

    /// The registries of scopes in which their word is enough, each once.
    #[must_use]
    pub fn registries_of_weak(&self) -> BTreeSet<Host> {
        self.weak_scopes().flat_map(Scope::registries).collect()
    }

    /// The scopes in which no signature and no list stands behind images.
    pub fn weak_scopes(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.iter().filter(|scope| scope.is_weak(&self.verifiers))
    }
}
