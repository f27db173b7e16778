//! Rules about containers by name.

use std::fmt;

use super::levels::About;

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
    #[expect(clippy::too_many_lines, reason = "a table")]
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
            Self::HostCgroupns => row(
                "host-cgroupns",
                &[],
                "the host's control groups (`--cgroupns host`), or a writable tree of them (`--security-opt writable-cgroups`)",
                "",
                "use --cgroupns private, and leave out writable-cgroups",
            ),
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
                "`allow`: paths; a folder with all in it ends in `/`; `sensitive = true`: all but system folders pass; `containers = true`: `--volumes-from` passes; `drivers`: list of volume drivers, whatever they mount",
                "use a named volume, or a path that this host's policy allows",
            ),
            Self::DockerSocket => row(
                "docker-socket",
                &["CIS-5.32"],
                "the engine's or containerd's socket, a folder above it, and what may lead there",
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
                "a container without a limit of memory, with a higher one, or with swap without end",
                "`megabytes`: the highest, in MiB; with swap, twice that",
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
