//! Create rules that scopes may begin with.

use super::{CreateCheck, CreateRuleId, Level, Mounts};
use crate::policy::Preset;

impl Preset {
    /// Its rules about containers: at the first level of CIS what opens the host is refused, and what lacks limits is recorded.
    #[must_use]
    pub fn create_rules(self) -> Vec<(CreateRuleId, Level, CreateCheck)> {
        let level = |id: CreateRuleId| match (self, id) {
            (
                Self::Baseline,
                CreateRuleId::Privileged
                | CreateRuleId::HostPid
                | CreateRuleId::HostIpc
                | CreateRuleId::HostUserns
                | CreateRuleId::DockerSocket
                | CreateRuleId::MountPropagation
                | CreateRuleId::Seccomp
                | CreateRuleId::SystemPaths
                | CreateRuleId::ExecPrivileged,
            ) => Some(Level::Deny),
            (
                Self::Baseline,
                CreateRuleId::HostNetwork
                | CreateRuleId::HostUts
                | CreateRuleId::HostCgroupns
                | CreateRuleId::Capabilities
                | CreateRuleId::Mounts
                | CreateRuleId::Devices
                | CreateRuleId::AppArmor
                | CreateRuleId::SeLinux
                | CreateRuleId::CgroupParent
                | CreateRuleId::RunAsRoot,
            ) => Some(Level::Warn),
            (
                Self::CisL1,
                CreateRuleId::NoNewPrivileges
                | CreateRuleId::ReadOnlyRoot
                | CreateRuleId::MemoryLimit
                | CreateRuleId::CpuLimit
                | CreateRuleId::PidsLimit
                | CreateRuleId::RestartPolicy
                | CreateRuleId::HostIp
                | CreateRuleId::ExecRoot,
            ) => Some(Level::Warn),
            (Self::Baseline, _) | (_, CreateRuleId::Ulimits) => None,
            (Self::CisL1 | Self::CisL2, _) => Some(Level::Deny),
        };
        let check = |id: CreateRuleId| match id {
            // The list that CIS has.
            CreateRuleId::Mounts => CreateCheck::Mounts(Mounts { sensitive: true, ..Mounts::default() }),
            other => CreateCheck::default_of(other),
        };
        CreateRuleId::ALL.into_iter().filter_map(|id| Some((id, level(id)?, check(id)))).collect()
    }
}
