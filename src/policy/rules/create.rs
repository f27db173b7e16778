//! Rules about what a call asks for of containers: how they are made, updated and driven, and volumes for them. By id, each refused
//! (`deny`) or recorded (`warn`), in every posture. They judge the same evidence as `host-access`, and what a call leaves out besides.
//!
//! Which of them bind a call is said by the scope of the repository that vouched for its image, and by who calls ([`binding`]). A call
//! that names no image (exec, update, volume) is bound by those of every scope.

mod capabilities;
mod limits;
mod mounts;
mod ports;
mod preset;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use super::create_ids::CreateRuleId;
pub use capabilities::Capabilities;
pub use limits::{CpuLimit, Most};
pub use mounts::Mounts;
pub use ports::{HostAddresses, PrivilegedPorts};

use super::findings::{Finding, RuleId};
use super::host_access;
use super::image::is_root;
use super::levels::{Level, RuleInForce, RuleSet};
use crate::policy::{Applied, Facts, HostAccessRule, Policy, Reason, Request, Scope};
use crate::request::{HostAccess, Intent, Run, RunKind, Terms};
use crate::text::clean;

/// A rule with what is said of it beside its level.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `CreateRuleId`")]
pub enum CreateCheck {
    Privileged,
    HostNetwork(Join),
    HostPid(Join),
    HostIpc(Join),
    HostUts,
    HostUserns,
    HostCgroupns,
    Capabilities(Capabilities),
    Mounts(Mounts),
    DockerSocket,
    MountPropagation,
    Devices(Allowed),
    Seccomp,
    AppArmor(Vec<String>),
    SeLinux,
    SystemPaths,
    CgroupParent(Allowed),
    NoNewPrivileges,
    ReadOnlyRoot,
    RunAsRoot,
    MemoryLimit(Most),
    CpuLimit(CpuLimit),
    PidsLimit(Most),
    RestartPolicy(Most),
    PrivilegedPorts(PrivilegedPorts),
    HostIp(HostAddresses),
    HealthcheckOff,
    Ulimits(BTreeMap<String, u64>),
    ExecPrivileged,
    ExecRoot,
}

/// Whether another container's namespace may be joined. What that container has was judged when it was made, for whoever made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Join {
    /// It may not.
    #[default]
    Never,
    /// It may.
    Containers,
}

/// Ways to the host of one kind that pass.
pub type Allowed = Vec<HostAccessRule>;

/// A create rule in force.
pub type CreateRule = RuleInForce<CreateCheck>;

/// The create rules of a scope.
pub type CreateRules = RuleSet<CreateRuleId, CreateCheck>;

/// What shows that a rule is broken.
type Judged = Result<(), String>;

/// The attempts of a restart policy that CIS has.
const ATTEMPTS: u64 = 5;

impl CreateCheck {
    /// The rule where nothing more is said of it.
    #[must_use]
    pub fn default_of(id: CreateRuleId) -> Self {
        match id {
            CreateRuleId::Privileged => Self::Privileged,
            CreateRuleId::HostNetwork => Self::HostNetwork(Join::default()),
            CreateRuleId::HostPid => Self::HostPid(Join::default()),
            CreateRuleId::HostIpc => Self::HostIpc(Join::default()),
            CreateRuleId::HostUts => Self::HostUts,
            CreateRuleId::HostUserns => Self::HostUserns,
            CreateRuleId::HostCgroupns => Self::HostCgroupns,
            CreateRuleId::Capabilities => Self::Capabilities(Capabilities::default()),
            CreateRuleId::Mounts => Self::Mounts(Mounts::default()),
            CreateRuleId::DockerSocket => Self::DockerSocket,
            CreateRuleId::MountPropagation => Self::MountPropagation,
            CreateRuleId::Devices => Self::Devices(Allowed::new()),
            CreateRuleId::Seccomp => Self::Seccomp,
            CreateRuleId::AppArmor => Self::AppArmor(Vec::new()),
            CreateRuleId::SeLinux => Self::SeLinux,
            CreateRuleId::SystemPaths => Self::SystemPaths,
            CreateRuleId::CgroupParent => Self::CgroupParent(Allowed::new()),
            CreateRuleId::NoNewPrivileges => Self::NoNewPrivileges,
            CreateRuleId::ReadOnlyRoot => Self::ReadOnlyRoot,
            CreateRuleId::RunAsRoot => Self::RunAsRoot,
            CreateRuleId::MemoryLimit => Self::MemoryLimit(Most(None)),
            CreateRuleId::CpuLimit => Self::CpuLimit(CpuLimit::default()),
            CreateRuleId::PidsLimit => Self::PidsLimit(Most(None)),
            CreateRuleId::RestartPolicy => Self::RestartPolicy(Most(Some(ATTEMPTS))),
            CreateRuleId::PrivilegedPorts => Self::PrivilegedPorts(PrivilegedPorts::default()),
            CreateRuleId::HostIp => Self::HostIp(HostAddresses::default()),
            CreateRuleId::HealthcheckOff => Self::HealthcheckOff,
            CreateRuleId::Ulimits => Self::Ulimits(BTreeMap::new()),
            CreateRuleId::ExecPrivileged => Self::ExecPrivileged,
            CreateRuleId::ExecRoot => Self::ExecRoot,
        }
    }

    /// Whether containers keep it, or what shows that they do not.
    pub fn judge(&self, run: &Run<'_>) -> Result<(), String> {
        let terms = run.terms;
        match self {
            Self::Privileged => none(run, "privileged", |_| true),
            Self::HostNetwork(join) => namespace(run, "network", *join),
            Self::HostPid(join) => namespace(run, "pid", *join),
            Self::HostIpc(join) => namespace(run, "ipc", *join),
            Self::HostUts => namespace(run, "uts", Join::Never),
            Self::HostUserns => namespace(run, "user", Join::Never),
            Self::HostCgroupns => {
                namespace(run, "cgroup", Join::Never)?;
                none(run, "security-opt", |access| matches!(option(access), ("writable-cgroups", on) if on != "false"))
            }
            Self::Capabilities(capabilities) => capabilities.judge(run),
            Self::Mounts(mounts) => mounts.judge(run),
            Self::DockerSocket => mounts::socket(run),
            Self::MountPropagation => match terms.and_then(|terms| terms.shared.first()) {
                Some(mount) => Err(format!("mount `{}` is shared with the host", clean(mount))),
                None => Ok(()),
            },
            Self::Devices(allowed) => none(run, "device", |access| !allowed.iter().any(|rule| rule.allows(access))),
            Self::Seccomp => none(run, "security-opt", |access| match option(access) {
                ("seccomp", profile) => profile != "builtin",
                (option, _) => option == "Seccomp",
            }),
            Self::AppArmor(profiles) => none(run, "security-opt", |access| match option(access) {
                ("apparmor", profile) => profile != "docker-default" && !profiles.iter().any(|own| own == profile),
                (option, _) => option == "AppArmor",
            }),
            Self::SeLinux => {
                none(run, "security-opt", |access| matches!(option(access).0, "label" | "disable" | "SELinuxContext"))
            }
            Self::SystemPaths => {
                none(run, "masked-paths", |_| true)?;
                none(run, "readonly-paths", |_| true)
            }
            Self::CgroupParent(allowed) => none(run, "cgroup-parent", |access| !allowed.iter().any(|rule| rule.allows(access))),
            Self::NoNewPrivileges => made(run, |terms| terms.no_new_privileges, "no-new-privileges is not set"),
            Self::ReadOnlyRoot => made(run, |terms| terms.read_only_root, "its root file system can be written"),
            Self::RunAsRoot => as_root(terms.and_then(|terms| terms.user.as_deref())),
            Self::MemoryLimit(most) => limits::memory(run, most),
            Self::CpuLimit(limit) => limit.judge(run),
            Self::PidsLimit(most) => limits::pids(run, most),
            Self::RestartPolicy(most) => limits::restart(run, most),
            Self::PrivilegedPorts(ports) => ports.judge(run),
            Self::HostIp(addresses) => addresses.judge(run),
            // What the engine does not know, it does not run.
            Self::HealthcheckOff => match terms.and_then(|terms| terms.health.as_deref()) {
                None | Some("CMD" | "CMD-SHELL") => Ok(()),
                Some(test) => Err(format!("its health check is `{}`", clean(test))),
            },
            Self::Ulimits(highest) => limits::ulimits(run, highest),
            Self::ExecPrivileged => match run.kind {
                RunKind::Exec { is_privileged: true, .. } => Err("the exec is privileged".to_owned()),
                RunKind::Exec { .. } | RunKind::Container | RunKind::Service | RunKind::Update | RunKind::Volume => Ok(()),
            },
            Self::ExecRoot => match run.kind {
                RunKind::Exec { user, .. } => as_root(user),
                RunKind::Container | RunKind::Service | RunKind::Update | RunKind::Volume => Ok(()),
            },
        }
    }
}

/// A way to the host that must not be there.
fn none(run: &Run<'_>, id: &str, is_refused: impl Fn(&HostAccess) -> bool) -> Judged {
    match run.host_access.iter().find(|access| access.id == id && is_refused(access)) {
        Some(access) if access.what == access.id => Err(format!("it is {}", access.id)),
        Some(access) => Err(format!("{} `{}`", access.id, clean(&access.what))),
        None => Ok(()),
    }
}

/// A namespace of the host, or of another container.
fn namespace(run: &Run<'_>, kind: &str, join: Join) -> Judged {
    none(run, "namespace", |access| match access.what.split_once(':') {
        Some((found, mode)) if found == kind => join == Join::Never || !mode.starts_with("container:"),
        Some(_) | None => false,
    })
}

/// A security option, split as the engine does it: at `=`, and at `:` where there is none.
fn option(access: &HostAccess) -> (&str, &str) {
    let what = access.what.as_str();
    what.split_once('=').or_else(|| what.split_once(':')).unwrap_or((what, ""))
}

/// What a container that is made must have.
fn made(run: &Run<'_>, has: impl Fn(&Terms) -> bool, lacks: &str) -> Judged {
    match (run.kind, run.terms) {
        (RunKind::Container | RunKind::Service, Some(terms)) if has(terms) => Ok(()),
        (RunKind::Container | RunKind::Service, _) => Err(lacks.to_owned()),
        (RunKind::Update | RunKind::Exec { .. } | RunKind::Volume, _) => Ok(()),
    }
}

fn as_root(user: Option<&str>) -> Judged {
    match user {
        Some(user) if is_root(user) => Err(format!("it runs as user `{}`, which is root", clean(user))),
        Some(_) | None => Ok(()),
    }
}

/// The create rules of a scope that bind who asks.
fn binding<'p>(
    policy: &'p Policy,
    request: &Request<'p>,
    scope: &'p Scope,
) -> impl Iterator<Item = (CreateRuleId, &'p CreateRule)> {
    let exempt_from = policy.users.as_ref().map_or(&[][..], |users| users.exempt_from(request));
    scope.create_rules.iter().filter(move |(id, _)| !exempt_from.iter().any(|own| own == id.about().id))
}

/// What a call does not keep of the rules of a scope.
fn found(policy: &Policy, request: &Request<'_>, run: &Run<'_>, scope: &Scope) -> Vec<Finding> {
    let judged = binding(policy, request, scope).filter_map(|(id, rule)| {
        let evidence = Some(rule.check.judge(run).err()?);
        Some(Finding { rule: RuleId::Create(id), level: rule.level, evidence, position: rule.position.clone() })
    });
    judged.collect()
}

/// Judges a call whose image is vouched for, in the scope of the repository that did. What it does not keep of rules that only warn,
/// it is allowed with.
pub(in crate::policy) fn of_content(
    policy: &Policy,
    request: &Request<'_>,
    scope: &Scope,
    facts: &Facts,
    exceptions: &mut Applied,
) -> Result<Vec<Finding>, Reason> {
    let Some(run) = request.intent.run() else { return Ok(Vec::new()) };
    // INVARIANT: facts hold every image of the intent; the first is what runs, others are mounted.
    let image = facts.images.first().ok_or(Reason::Internal)?;
    let host_access: Vec<HostAccess> =
        run.host_access.iter().cloned().chain(host_access::networks(policy, request.intent, facts)?).collect();
    let run = Run { host_access: &host_access, ..run };
    let what = match run.kind {
        RunKind::Container => "a container of",
        RunKind::Service => "a service of",
        RunKind::Update => "this update of",
        RunKind::Exec { .. } | RunKind::Volume => "this call for",
    };
    let image = Some(image.name.to_string());
    let mut findings = found(policy, request, &run, scope);
    findings.retain(|finding| finding.level != Level::Deny || !exceptions.lift(finding.rule.about().id));
    let refusing = findings.iter().find(|finding| finding.level == Level::Deny).map(|finding| finding.rule.about().id);
    let judged = passed(findings, || Reason::CreateRule { what, image, scope: scope.label().to_owned(), findings: Vec::new() });
    judged.map_err(|reason| refusing.into_iter().fold(reason, |reason, rule| exceptions.not_lifted(rule, reason)))
}

/// Judges a call that names no image: by every scope's rules, since nobody knows here whose the container is.
pub(in crate::policy) fn of_no_image(policy: &Policy, request: &Request<'_>) -> Result<Vec<Finding>, Reason> {
    let Some(run) = request.intent.run() else { return Ok(Vec::new()) };
    let what = match request.intent {
        Intent::Volume { .. } => "this volume",
        Intent::ContainerAccess(_) if run.kind == RunKind::Update => "this update",
        _ => "this exec",
    };
    let mut warnings: Vec<Finding> = Vec::new();
    for scope in policy.scopes.with_create_rules() {
        let found = passed(found(policy, request, &run, scope), || Reason::CreateRule {
            what,
            image: None,
            scope: scope.label().to_owned(),
            findings: Vec::new(),
        })?;
        for finding in found {
            if !warnings.iter().any(|known| known.rule == finding.rule) {
                warnings.push(finding);
            }
        }
    }
    Ok(warnings)
}

/// The findings, where none of them refuses; else the refusal.
fn passed(found: Vec<Finding>, reason: impl FnOnce() -> Reason) -> Result<Vec<Finding>, Reason> {
    if found.iter().all(|finding| finding.level == Level::Warn) {
        return Ok(found);
    }
    Err(match reason() {
        Reason::CreateRule { what, image, scope, .. } => Reason::CreateRule { what, image, scope, findings: found },
        other => other,
    })
}
