//! How the containers of a call are to run: limits, and what it leaves out. What a call *opens* is host access; here is what it closes,
//! and what else rules about containers ask for. What closes counts only where every engine acts on it.

/// How containers of a call are to run. What is absent, the call does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Capabilities that are taken away, as written.
    pub dropped: Vec<String>,
    /// Whether processes may gain no rights beyond those they begin with.
    pub no_new_privileges: bool,
    /// Whether the root file system is read-only.
    pub read_only_root: bool,
    /// The user that it runs as, where the call says so.
    pub user: Option<String>,
    /// Most memory, in bytes.
    pub memory: Option<i64>,
    /// Most memory and swap together, in bytes; below 0: as much as there is.
    pub memory_swap: Option<i64>,
    /// Most processor time.
    pub cpu: Cpu,
    /// Most processes.
    pub pids: Option<i64>,
    /// When the engine starts it again by itself.
    pub restart: Restart,
    /// Ports of the host that lead to it.
    pub ports: Vec<Port>,
    /// The first word of the health check, where the call gives one.
    pub health: Option<String>,
    /// Mounts whose own mounts come back to the host, as written.
    pub shared: Vec<String>,
    /// Limits of the kernel's for each process.
    pub ulimits: Vec<Ulimit>,
    /// Volumes that are made with options of the engine's own driver.
    pub volumes: Vec<VolumeOptions>,
}

/// Processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cpu {
    /// Processors, in billionths.
    pub nanos: i64,
    /// Microseconds of each period.
    pub quota: i64,
    /// The period, in microseconds; 0: the engine's own.
    pub period: i64,
    /// A weight against others: no limit.
    pub shares: i64,
}

/// When the engine starts a container again by itself, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Restart {
    /// Never, or the call does not say.
    #[default]
    Never,
    /// At most so often, after a failure.
    Times(u64),
    /// Without end.
    Endless,
}

/// A port of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The host's address; `None`: every one.
    pub address: Option<String>,
    /// The port or range, as written; empty: one of the engine's choice.
    pub number: String,
}

/// A limit of the kernel's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// Which.
    pub name: String,
    /// The hard limit; -1: none.
    pub hard: i64,
}

/// What the engine's own volume driver is told, by name. No name is there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeOptions(pub Vec<(String, String)>);

impl VolumeOptions {
    /// What is written under a name; absent and empty are one thing to the driver.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

impl Restart {
    /// What a container's policy says (`RestartPolicy.Name`, `.MaximumRetryCount`).
    pub(super) fn of_container(name: Option<&str>, count: Option<i64>) -> Self {
        match name {
            None | Some("no") => Self::Never,
            Some("on-failure") => Self::at_most(count),
            Some(_) => Self::Endless,
        }
    }

    /// What a service's says (`RestartPolicy.Condition`, `.MaxAttempts`): without one, its tasks start again without end.
    pub(super) fn of_service(condition: Option<&str>, count: Option<i64>) -> Self {
        match condition {
            Some("none") => Self::Never,
            Some(_) | None => Self::at_most(count),
        }
    }

    fn at_most(count: Option<i64>) -> Self {
        match count.and_then(|count| u64::try_from(count).ok()) {
            Some(count) if count > 0 => Self::Times(count),
            Some(_) | None => Self::Endless,
        }
    }
}
