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
use std::fmt;

pub use capabilities::Capabilities;
pub use limits::{CpuLimit, Most};
pub use mounts::Mounts;
pub use ports::{HostAddresses, PrivilegedPorts};

use super::host_access;
use super::image::is_root;
use super::levels::{About, Finding, Level, RuleId, RuleInForce, RuleSet};
use crate::policy::{Facts, HostAccessRule, Policy, Reason, Request, Scope};
use crate::request::{HostAccess, Intent, Run, RunKind, Terms};
use crate::text::clean;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is explained by its row in `CreateRuleId::about`")]
pub enum CreateRuleId {
    Privileged,
    HostNetwork,
    HostPid,
    HostIpc,
    HostUts,
    HostUserns,
    HostCgroupns,
    Capabilities,
    Mounts,
    DockerSocket,
    MountPropagation,
    Devices,
    Seccomp,
    AppArmor,
    SeLinux,
    SystemPaths,
    CgroupParent,
    NoNewPrivileges,
    ReadOnlyRoot,
    RunAsRoot,
    MemoryLimit,
    CpuLimit,
    PidsLimit,
    RestartPolicy,
    PrivilegedPorts,
    HostIp,
    HealthcheckOff,
    Ulimits,
    ExecPrivileged,
    ExecRoot,
}

impl CreateRuleId {
    /// Every rule, in the order in which they are asked.
    pub const ALL: [Self; 30] = [
        Self::Privileged,
        Self::HostNetwork,
        Self::HostPid,
        Self::HostIpc,
        Self::HostUts,
        Self::HostUserns,
        Self::HostCgroupns,
        Self::Capabilities,
        Self::Mounts,
        Self::DockerSocket,
        Self::MountPropagation,
        Self::Devices,
        Self::Seccomp,
        Self::AppArmor,
        Self::SeLinux,
        Self::SystemPaths,
        Self::CgroupParent,
        Self::NoNewPrivileges,
        Self::ReadOnlyRoot,
        Self::RunAsRoot,
        Self::MemoryLimit,
        Self::CpuLimit,
        Self::PidsLimit,
        Self::RestartPolicy,
        Self::PrivilegedPorts,
        Self::HostIp,
        Self::HealthcheckOff,
        Self::Ulimits,
        Self::ExecPrivileged,
        Self::ExecRoot,
    ];

    /// What people are told of it.
    #[must_use]
    pub const fn about(self) -> About {
        const JOIN: &str = "`containers = true`: another container's passes";
        const PATHS: &str = "`allow`: paths; a folder with all in it ends in `/`";
        const fn row(
            id: &'static str,
            refs: &'static [&'static str],
            refuses: &'static str,
            keys: &'static str,
            remedy: &'static str,
        ) -> About {
            About { id, refs, refuses, keys, remedy }
        }
        match self {
            Self::Privileged => row("privileged", &["CIS-5.5"], "`--privileged`", "", "leave out --privileged"),
            Self::HostNetwork => row(
                "host-network",
                &["CIS-5.10"],
                "the network namespace of the host or of another container",
                JOIN,
                "use a network of its own",
            ),
            Self::HostPid => row("host-pid", &["CIS-5.16"], "the same of processes (`--pid`)", JOIN, "leave out --pid"),
            Self::HostIpc => row("host-ipc", &["CIS-5.17"], "the same of shared memory (`--ipc`)", JOIN, "leave out --ipc"),
            Self::HostUts => row("host-uts", &["CIS-5.21"], "the host's name (`--uts host`)", "", "leave out --uts"),
            Self::HostUserns => row("host-userns", &["CIS-5.31"], "the host's users (`--userns host`)", "", "leave out --userns"),
            Self::HostCgroupns => {
                row("host-cgroupns", &[], "the host's control groups (`--cgroupns host`)", "", "use --cgroupns private")
            }
            Self::Capabilities => row(
                "capabilities",
                &["CIS-5.4"],
                "a container that has other capabilities than these",
                "`allow`: list of names, `default` for the engine's own; default `[\"default\"]`; `[]`: none at all",
                "use --cap-drop ALL, and --cap-add of what is allowed",
            ),
            Self::Mounts => row(
                "mounts",
                &["CIS-5.6"],
                "folders and files of the host, in every spelling; volumes of another container",
                "`allow`: paths; a folder with all in it ends in `/`; `sensitive = true`: all but system folders pass; `containers = true`: `--volumes-from` passes",
                "use a named volume, or a path that this host's policy allows",
            ),
            Self::DockerSocket => row(
                "docker-socket",
                &["CIS-5.32"],
                "the engine's or containerd's socket, or a folder above it",
                "",
                "leave out that mount",
            ),
            Self::MountPropagation => row(
                "mount-propagation",
                &["CIS-5.20"],
                "a mount with the propagation `shared` or `rshared`",
                "",
                "mount it private or slave",
            ),
            Self::Devices => row(
                "devices",
                &["CIS-5.18"],
                "devices of the host: `--device`, `--device-cgroup-rule`, `--gpus`",
                "`allow`: paths as in `mounts`, drivers such as `nvidia`",
                "leave out the device",
            ),
            Self::Seccomp => row(
                "seccomp",
                &["CIS-5.22"],
                "another seccomp profile than the engine's, or none",
                "",
                "leave out --security-opt seccomp",
            ),
            Self::AppArmor => row(
                "apparmor",
                &["CIS-5.2"],
                "another AppArmor profile than the engine's, or none",
                "`allow`: names of profiles",
                "leave out --security-opt apparmor",
            ),
            Self::SeLinux => row(
                "selinux",
                &["CIS-5.3"],
                "other SELinux labels than the engine's, or none",
                "",
                "leave out --security-opt label",
            ),
            Self::SystemPaths => row(
                "system-paths",
                &[],
                "files of the kernel unmasked (`--security-opt systempaths=unconfined`)",
                "",
                "leave out --security-opt systempaths",
            ),
            Self::CgroupParent => row("cgroup-parent", &["CIS-5.25"], "`--cgroup-parent`", PATHS, "leave out --cgroup-parent"),
            Self::NoNewPrivileges => {
                row("no-new-privileges", &["CIS-5.26"], "a container without it", "", "add --security-opt no-new-privileges")
            }
            Self::ReadOnlyRoot => row(
                "read-only-root",
                &["CIS-5.13"],
                "a root file system that can be written",
                "",
                "add --read-only, with --tmpfs or volumes for what is written",
            ),
            Self::RunAsRoot => row(
                "run-as-root",
                &[],
                "`--user` root or 0. What the image says is for `user-root`",
                "",
                "leave out --user, or name another user",
            ),
            Self::MemoryLimit => row(
                "memory-limit",
                &["CIS-5.11"],
                "a container without a limit of memory, or with a higher one",
                "`megabytes`: the highest, in MiB",
                "add --memory, as much as is allowed",
            ),
            Self::CpuLimit => row(
                "cpu-limit",
                &["CIS-5.12"],
                "one without `--cpus`, `--cpu-quota` or `--cpu-shares`",
                "`cpus`: the most; then shares are not enough",
                "add --cpus, as many as are allowed",
            ),
            Self::PidsLimit => row(
                "pids-limit",
                &["CIS-5.29"],
                "one without a limit of processes, or with a higher one",
                "`most`: the highest",
                "add --pids-limit, as many as are allowed",
            ),
            Self::RestartPolicy => row(
                "restart-policy",
                &["CIS-5.15"],
                "a restart without end, or more often",
                "`most`: attempts; default 5",
                "use --restart no or on-failure:N (services: --restart-max-attempts N)",
            ),
            Self::PrivilegedPorts => row(
                "privileged-ports",
                &["CIS-5.8"],
                "a port of the host below 1024",
                "`allow`: list of ports",
                "publish a port from 1024 on",
            ),
            Self::HostIp => row(
                "host-ip",
                &["CIS-5.14"],
                "a port on every address of the host",
                "`allow`: list of addresses; default: every single one",
                "publish it on one address (-p ADDRESS:PORT:PORT)",
            ),
            Self::HealthcheckOff => {
                row("healthcheck-off", &["CIS-5.27"], "the image's health check switched off", "", "leave out --no-healthcheck")
            }
            Self::Ulimits => row(
                "ulimits",
                &["CIS-5.19"],
                "`--ulimit`",
                "`allow`: `{ NAME = HIGHEST }`: these pass, up to that",
                "leave out --ulimit, or make it lower",
            ),
            Self::ExecPrivileged => {
                row("exec-privileged", &["CIS-5.23"], "`docker exec --privileged`", "", "leave out --privileged")
            }
            Self::ExecRoot => {
                row("exec-root", &["CIS-5.24"], "`docker exec --user` root or 0", "", "leave out --user, or name another user")
            }
        }
    }

    /// The rule that is called this, by itself or by others.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|id| {
            let about = id.about();
            about.id == text || about.refs.contains(&text)
        })
    }
}

impl fmt::Display for CreateRuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.about().id)
    }
}

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

    fn judge(&self, run: &Run<'_>) -> Judged {
        let terms = run.terms;
        match self {
            Self::Privileged => none(run, "privileged", |_| true),
            Self::HostNetwork(join) => namespace(run, "network", *join),
            Self::HostPid(join) => namespace(run, "pid", *join),
            Self::HostIpc(join) => namespace(run, "ipc", *join),
            Self::HostUts => namespace(run, "uts", Join::Never),
            Self::HostUserns => namespace(run, "user", Join::Never),
            Self::HostCgroupns => namespace(run, "cgroup", Join::Never),
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

/// The create rules of a scope that bind who asks. What lifts a rule of content that is vouched for belongs here, and nowhere else.
fn binding<'p>(
    policy: &'p Policy,
    request: &Request<'p>,
    scope: &'p Scope,
) -> impl Iterator<Item = (CreateRuleId, &'p CreateRule)> {
    let exempt_from = policy.users.as_ref().map_or(&[][..], |users| users.exempt_from(request.caller));
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
    passed(found(policy, request, &run, scope), || Reason::CreateRule {
        what,
        image,
        scope: scope.label().to_owned(),
        findings: Vec::new(),
    })
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
