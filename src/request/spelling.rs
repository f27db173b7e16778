//! Go's spelling of what the bodies of calls hold (moby, `api/types`, API 1.24 to 1.56): which members a struct has, and where a map
//! begins, whose keys count as written. For policies; what the gate itself decides by has shapes of its own ([`super::json`]).

use super::json::same_name;

/// How a value of a body is spelled.
#[derive(Debug)]
pub(super) enum Spelled {
    /// A number, a boolean, or what this table does not know: kept as it is.
    Any,
    /// A string.
    Text,
    /// A list.
    List(&'static Self),
    /// A list of strings, or one string alone (`strslice.StrSlice`).
    Words,
    /// A struct's members. In groups, because Go embeds structs.
    Struct(&'static [&'static [Field]]),
    /// A map from any name.
    Map(&'static Self),
}

/// A struct's field.
pub(super) type Field = (&'static str, Spelled);

/// What the body of a call is.
pub(super) struct Expected {
    pub(super) shape: &'static Spelled,
    /// Whether dockerd decodes one whatever its type is, so that one that is not shown may act (20.10).
    pub(super) is_required: bool,
    /// Whether it is a create's, which 20.10 reads in a way of its own.
    pub(super) is_create: bool,
}

/// The field that Go takes a member for.
pub(super) fn field_of(groups: &'static [&'static [Field]], key: &str) -> Option<(&'static &'static str, &'static Spelled)> {
    groups.iter().copied().flatten().find(|(name, _)| same_name(name, key)).map(|(name, shape)| (name, shape))
}

/// Whether this is a member of `HostConfig`, or was one beside it.
pub(super) fn is_of_host_config(name: &str) -> bool {
    same_name(name, "Cpuset") || field_of(&[HOST_CONFIG, RESOURCES], name).is_some()
}

/// The body of a call, by its method and its path without a version.
pub(super) fn body_of(method: &str, path: &str) -> Expected {
    let mut parts = path.strip_prefix('/').unwrap_or(path).split('/');
    let (head, rest) = (parts.next().unwrap_or_default(), path.rsplit('/').next().unwrap_or_default());
    let (shape, is_required) = match (method, head, rest) {
        ("POST", "containers", "create") => return Expected { shape: &CREATE, is_required: true, is_create: true },
        ("POST", "commit", _) => (&CONFIG_ALONE, false),
        ("POST", "containers", "exec") => (&EXEC, true),
        ("POST", "exec", _) => (&EXEC_START, false),
        ("POST", "containers", "update") => (&UPDATE, true),
        ("POST", "containers", "start") => (&HOST_CONFIG_ALONE, false),
        ("POST", "containers", _) => (&CONTAINER, false),
        ("POST", "volumes", "create") | ("PUT", "volumes", _) => (&VOLUME, false),
        ("POST", "networks", "create") => (&NETWORK, true),
        ("POST", "networks", "connect" | "disconnect") => (&CONNECT, true),
        ("POST", "services", _) => (&SERVICE, false),
        ("POST", "swarm", "init" | "join" | "update" | "unlock") => (&SWARM, true),
        ("POST", "nodes", "update") => (&NODE, true),
        ("POST", "secrets" | "configs", _) => (&SECRET, true),
        ("POST", "plugins", "pull" | "upgrade") => (&PRIVILEGES, false),
        ("POST", "plugins", "set") => (&TEXTS, false),
        ("POST", "auth", _) => (&AUTH, false),
        (_, _, _) => (&Spelled::Any, false),
    };
    Expected { shape, is_required, is_create: false }
}

const TEXTS: Spelled = Spelled::List(&Spelled::Text);
const TEXT_MAP: Spelled = Spelled::Map(&Spelled::Text);
/// A set: Go's map of empty structs.
const SET: Spelled = Spelled::Map(&Spelled::Struct(&[]));

const CREATE: Spelled = Spelled::Struct(&[CONFIG, &[("HostConfig", HOST_CONFIG_ALONE), ("NetworkingConfig", NETWORKING)]]);
const CONFIG_ALONE: Spelled = Spelled::Struct(&[CONFIG]);
const HOST_CONFIG_ALONE: Spelled = Spelled::Struct(&[HOST_CONFIG, RESOURCES]);
const NETWORKING: Spelled = Spelled::Struct(&[&[("EndpointsConfig", Spelled::Map(&ENDPOINT))]]);

/// `container.Config`.
const CONFIG: &[Field] = &[
    ("Hostname", Spelled::Text),
    ("Domainname", Spelled::Text),
    ("User", Spelled::Text),
    ("AttachStdin", Spelled::Any),
    ("AttachStdout", Spelled::Any),
    ("AttachStderr", Spelled::Any),
    ("ExposedPorts", SET),
    ("Tty", Spelled::Any),
    ("OpenStdin", Spelled::Any),
    ("StdinOnce", Spelled::Any),
    ("Env", TEXTS),
    ("Cmd", Spelled::Words),
    ("Healthcheck", HEALTH),
    ("ArgsEscaped", Spelled::Any),
    ("Image", Spelled::Text),
    ("Volumes", SET),
    ("WorkingDir", Spelled::Text),
    ("Entrypoint", Spelled::Words),
    ("NetworkDisabled", Spelled::Any),
    ("MacAddress", Spelled::Text),
    ("OnBuild", TEXTS),
    ("Labels", TEXT_MAP),
    ("StopSignal", Spelled::Text),
    ("StopTimeout", Spelled::Any),
    ("Shell", Spelled::Words),
];

const HEALTH: Spelled = Spelled::Struct(&[&[
    ("Test", TEXTS),
    ("Interval", Spelled::Any),
    ("Timeout", Spelled::Any),
    ("StartPeriod", Spelled::Any),
    ("StartInterval", Spelled::Any),
    ("Retries", Spelled::Any),
]]);

/// `container.HostConfig`, without [`RESOURCES`], which it embeds.
const HOST_CONFIG: &[Field] = &[
    ("Binds", TEXTS),
    ("ContainerIDFile", Spelled::Text),
    ("LogConfig", Spelled::Struct(&[&[("Type", Spelled::Text), ("Config", TEXT_MAP)]])),
    ("NetworkMode", Spelled::Text),
    (
        "PortBindings",
        Spelled::Map(&Spelled::List(&Spelled::Struct(&[&[("HostIp", Spelled::Text), ("HostPort", Spelled::Text)]]))),
    ),
    ("RestartPolicy", RESTART),
    ("AutoRemove", Spelled::Any),
    ("VolumeDriver", Spelled::Text),
    ("VolumesFrom", TEXTS),
    ("ConsoleSize", Spelled::Any),
    ("Annotations", TEXT_MAP),
    ("CapAdd", Spelled::Words),
    ("CapDrop", Spelled::Words),
    ("Capabilities", TEXTS),
    ("CgroupnsMode", Spelled::Text),
    ("Dns", TEXTS),
    ("DnsOptions", TEXTS),
    ("DnsSearch", TEXTS),
    ("ExtraHosts", TEXTS),
    ("GroupAdd", TEXTS),
    ("IpcMode", Spelled::Text),
    ("Cgroup", Spelled::Text),
    ("Links", TEXTS),
    ("OomScoreAdj", Spelled::Any),
    ("PidMode", Spelled::Text),
    ("Privileged", Spelled::Any),
    ("PublishAllPorts", Spelled::Any),
    ("ReadonlyRootfs", Spelled::Any),
    ("SecurityOpt", TEXTS),
    ("StorageOpt", TEXT_MAP),
    ("Tmpfs", TEXT_MAP),
    ("UTSMode", Spelled::Text),
    ("UsernsMode", Spelled::Text),
    ("ShmSize", Spelled::Any),
    ("Sysctls", TEXT_MAP),
    ("Runtime", Spelled::Text),
    ("Isolation", Spelled::Text),
    ("Mounts", MOUNTS),
    ("MaskedPaths", TEXTS),
    ("ReadonlyPaths", TEXTS),
    ("Init", Spelled::Any),
];

/// `container.Resources`.
const RESOURCES: &[Field] = &[
    ("CpuShares", Spelled::Any),
    ("Memory", Spelled::Any),
    ("NanoCpus", Spelled::Any),
    ("CgroupParent", Spelled::Text),
    ("BlkioWeight", Spelled::Any),
    ("BlkioWeightDevice", Spelled::List(&Spelled::Struct(&[&[("Path", Spelled::Text), ("Weight", Spelled::Any)]]))),
    ("BlkioDeviceReadBps", RATES),
    ("BlkioDeviceWriteBps", RATES),
    ("BlkioDeviceReadIOps", RATES),
    ("BlkioDeviceWriteIOps", RATES),
    ("CpuPeriod", Spelled::Any),
    ("CpuQuota", Spelled::Any),
    ("CpuRealtimePeriod", Spelled::Any),
    ("CpuRealtimeRuntime", Spelled::Any),
    ("CpusetCpus", Spelled::Text),
    ("CpusetMems", Spelled::Text),
    (
        "Devices",
        Spelled::List(&Spelled::Struct(&[&[
            ("PathOnHost", Spelled::Text),
            ("PathInContainer", Spelled::Text),
            ("CgroupPermissions", Spelled::Text),
        ]])),
    ),
    ("DeviceCgroupRules", TEXTS),
    (
        "DeviceRequests",
        Spelled::List(&Spelled::Struct(&[&[
            ("Driver", Spelled::Text),
            ("Count", Spelled::Any),
            ("DeviceIDs", TEXTS),
            ("Capabilities", Spelled::List(&TEXTS)),
            ("Options", TEXT_MAP),
        ]])),
    ),
    ("KernelMemory", Spelled::Any),
    ("KernelMemoryTCP", Spelled::Any),
    ("MemoryReservation", Spelled::Any),
    ("MemorySwap", Spelled::Any),
    ("MemorySwappiness", Spelled::Any),
    ("OomKillDisable", Spelled::Any),
    ("PidsLimit", Spelled::Any),
    ("Ulimits", ULIMITS),
    ("CpuCount", Spelled::Any),
    ("CpuPercent", Spelled::Any),
    ("IOMaximumIOps", Spelled::Any),
    ("IOMaximumBandwidth", Spelled::Any),
];

const RATES: Spelled = Spelled::List(&Spelled::Struct(&[&[("Path", Spelled::Text), ("Rate", Spelled::Any)]]));
const ULIMITS: Spelled =
    Spelled::List(&Spelled::Struct(&[&[("Name", Spelled::Text), ("Hard", Spelled::Any), ("Soft", Spelled::Any)]]));
const RESTART: Spelled = Spelled::Struct(&[&[("Name", Spelled::Text), ("MaximumRetryCount", Spelled::Any)]]);
const DRIVER: Spelled = Spelled::Struct(&[&[("Name", Spelled::Text), ("Options", TEXT_MAP)]]);

const MOUNTS: Spelled = Spelled::List(&Spelled::Struct(&[&[
    ("Type", Spelled::Text),
    ("Source", Spelled::Text),
    ("Target", Spelled::Text),
    ("ReadOnly", Spelled::Any),
    ("Consistency", Spelled::Text),
    (
        "BindOptions",
        Spelled::Struct(&[&[
            ("Propagation", Spelled::Text),
            ("NonRecursive", Spelled::Any),
            ("CreateMountpoint", Spelled::Any),
            ("ReadOnlyNonRecursive", Spelled::Any),
            ("ReadOnlyForceRecursive", Spelled::Any),
        ]]),
    ),
    (
        "VolumeOptions",
        Spelled::Struct(&[&[
            ("NoCopy", Spelled::Any),
            ("Labels", TEXT_MAP),
            ("Subpath", Spelled::Text),
            ("DriverConfig", DRIVER),
        ]]),
    ),
    ("ImageOptions", Spelled::Struct(&[&[("Subpath", Spelled::Text)]])),
    (
        "TmpfsOptions",
        Spelled::Struct(&[&[("SizeBytes", Spelled::Any), ("Mode", Spelled::Any), ("Options", Spelled::List(&TEXTS))]]),
    ),
    ("ClusterOptions", Spelled::Struct(&[])),
]]));

/// `network.EndpointSettings`.
const ENDPOINT: Spelled = Spelled::Struct(&[&[
    (
        "IPAMConfig",
        Spelled::Struct(&[&[("IPv4Address", Spelled::Text), ("IPv6Address", Spelled::Text), ("LinkLocalIPs", TEXTS)]]),
    ),
    ("Links", TEXTS),
    ("Aliases", TEXTS),
    ("DriverOpts", TEXT_MAP),
    ("GwPriority", Spelled::Any),
    ("NetworkID", Spelled::Text),
    ("EndpointID", Spelled::Text),
    ("Gateway", Spelled::Text),
    ("IPAddress", Spelled::Text),
    ("IPPrefixLen", Spelled::Any),
    ("IPv6Gateway", Spelled::Text),
    ("GlobalIPv6Address", Spelled::Text),
    ("GlobalIPv6PrefixLen", Spelled::Any),
    ("MacAddress", Spelled::Text),
    ("DNSNames", TEXTS),
]]);

const EXEC: Spelled = Spelled::Struct(&[&[
    ("User", Spelled::Text),
    ("Privileged", Spelled::Any),
    ("Tty", Spelled::Any),
    ("ConsoleSize", Spelled::Any),
    ("AttachStdin", Spelled::Any),
    ("AttachStderr", Spelled::Any),
    ("AttachStdout", Spelled::Any),
    ("Detach", Spelled::Any),
    ("DetachKeys", Spelled::Text),
    ("Env", TEXTS),
    ("WorkingDir", Spelled::Text),
    ("Cmd", TEXTS),
]]);
const EXEC_START: Spelled = Spelled::Struct(&[&[("Detach", Spelled::Any), ("Tty", Spelled::Any), ("ConsoleSize", Spelled::Any)]]);
const UPDATE: Spelled = Spelled::Struct(&[RESOURCES, &[("RestartPolicy", RESTART)]]);
/// Of the calls about a container that have a body besides: copy, checkpoints.
const CONTAINER: Spelled = Spelled::Struct(&[&[
    ("Resource", Spelled::Text),
    ("CheckpointID", Spelled::Text),
    ("CheckpointDir", Spelled::Text),
    ("Exit", Spelled::Any),
]]);
const VOLUME: Spelled = Spelled::Struct(&[&[
    ("ClusterVolumeSpec", Spelled::Struct(&[])),
    ("Driver", Spelled::Text),
    ("DriverOpts", TEXT_MAP),
    ("Labels", TEXT_MAP),
    ("Name", Spelled::Text),
    ("Spec", Spelled::Struct(&[])),
]]);
const NETWORK: Spelled = Spelled::Struct(&[&[
    ("Name", Spelled::Text),
    ("CheckDuplicate", Spelled::Any),
    ("Driver", Spelled::Text),
    ("Scope", Spelled::Text),
    ("EnableIPv4", Spelled::Any),
    ("EnableIPv6", Spelled::Any),
    (
        "IPAM",
        Spelled::Struct(&[&[
            ("Driver", Spelled::Text),
            ("Options", TEXT_MAP),
            (
                "Config",
                Spelled::List(&Spelled::Struct(&[&[
                    ("Subnet", Spelled::Text),
                    ("IPRange", Spelled::Text),
                    ("Gateway", Spelled::Text),
                    ("AuxiliaryAddresses", TEXT_MAP),
                ]])),
            ),
        ]]),
    ),
    ("Internal", Spelled::Any),
    ("Attachable", Spelled::Any),
    ("Ingress", Spelled::Any),
    ("ConfigOnly", Spelled::Any),
    ("ConfigFrom", Spelled::Struct(&[&[("Network", Spelled::Text)]])),
    ("Options", TEXT_MAP),
    ("Labels", TEXT_MAP),
]]);
const CONNECT: Spelled =
    Spelled::Struct(&[&[("Container", Spelled::Text), ("Force", Spelled::Any), ("EndpointConfig", ENDPOINT)]]);

/// `swarm.ServiceSpec`.
const SERVICE: Spelled = Spelled::Struct(&[&[
    ("Name", Spelled::Text),
    ("Labels", TEXT_MAP),
    ("TaskTemplate", TASK),
    (
        "Mode",
        Spelled::Struct(&[&[
            ("Replicated", Spelled::Struct(&[&[("Replicas", Spelled::Any)]])),
            ("Global", Spelled::Struct(&[])),
            ("ReplicatedJob", Spelled::Struct(&[&[("MaxConcurrent", Spelled::Any), ("TotalCompletions", Spelled::Any)]])),
            ("GlobalJob", Spelled::Struct(&[])),
        ]]),
    ),
    ("UpdateConfig", ROLLOUT),
    ("RollbackConfig", ROLLOUT),
    ("Networks", ATTACHMENTS),
    (
        "EndpointSpec",
        Spelled::Struct(&[&[
            ("Mode", Spelled::Text),
            (
                "Ports",
                Spelled::List(&Spelled::Struct(&[&[
                    ("Name", Spelled::Text),
                    ("Protocol", Spelled::Text),
                    ("TargetPort", Spelled::Any),
                    ("PublishedPort", Spelled::Any),
                    ("PublishMode", Spelled::Text),
                ]])),
            ),
        ]]),
    ),
]]);
const ROLLOUT: Spelled = Spelled::Struct(&[&[
    ("Parallelism", Spelled::Any),
    ("Delay", Spelled::Any),
    ("FailureAction", Spelled::Text),
    ("Monitor", Spelled::Any),
    ("MaxFailureRatio", Spelled::Any),
    ("Order", Spelled::Text),
]]);
const ATTACHMENTS: Spelled =
    Spelled::List(&Spelled::Struct(&[&[("Target", Spelled::Text), ("Aliases", TEXTS), ("DriverOpts", TEXT_MAP)]]));
const TASK: Spelled = Spelled::Struct(&[&[
    ("ContainerSpec", CONTAINER_SPEC),
    (
        "PluginSpec",
        Spelled::Struct(&[&[
            ("Name", Spelled::Text),
            ("Remote", Spelled::Text),
            ("Privileges", PRIVILEGES),
            ("Disabled", Spelled::Any),
            ("Env", TEXTS),
        ]]),
    ),
    ("NetworkAttachmentSpec", Spelled::Struct(&[&[("ContainerID", Spelled::Text)]])),
    (
        "Resources",
        Spelled::Struct(&[&[
            ("Limits", QUANTITIES),
            ("Reservations", QUANTITIES),
            ("SwapBytes", Spelled::Any),
            ("MemorySwappiness", Spelled::Any),
        ]]),
    ),
    (
        "RestartPolicy",
        Spelled::Struct(&[&[
            ("Condition", Spelled::Text),
            ("Delay", Spelled::Any),
            ("MaxAttempts", Spelled::Any),
            ("Window", Spelled::Any),
        ]]),
    ),
    (
        "Placement",
        Spelled::Struct(&[&[
            ("Constraints", TEXTS),
            (
                "Preferences",
                Spelled::List(&Spelled::Struct(&[&[("Spread", Spelled::Struct(&[&[("SpreadDescriptor", Spelled::Text)]]))]])),
            ),
            ("MaxReplicas", Spelled::Any),
            ("Platforms", Spelled::List(&Spelled::Struct(&[&[("Architecture", Spelled::Text), ("OS", Spelled::Text)]]))),
        ]]),
    ),
    ("Networks", ATTACHMENTS),
    ("LogDriver", DRIVER),
    ("ForceUpdate", Spelled::Any),
    ("Runtime", Spelled::Text),
]]);
const QUANTITIES: Spelled = Spelled::Struct(&[&[
    ("NanoCPUs", Spelled::Any),
    ("MemoryBytes", Spelled::Any),
    ("Pids", Spelled::Any),
    (
        "GenericResources",
        Spelled::List(&Spelled::Struct(&[&[
            ("NamedResourceSpec", Spelled::Struct(&[&[("Kind", Spelled::Text), ("Value", Spelled::Text)]])),
            ("DiscreteResourceSpec", Spelled::Struct(&[&[("Kind", Spelled::Text), ("Value", Spelled::Any)]])),
        ]])),
    ),
]]);
const FILE: Spelled =
    Spelled::Struct(&[&[("Name", Spelled::Text), ("UID", Spelled::Text), ("GID", Spelled::Text), ("Mode", Spelled::Any)]]);

/// `swarm.ContainerSpec`.
const CONTAINER_SPEC: Spelled = Spelled::Struct(&[&[
    ("Image", Spelled::Text),
    ("Labels", TEXT_MAP),
    ("Command", TEXTS),
    ("Args", TEXTS),
    ("Hostname", Spelled::Text),
    ("Env", TEXTS),
    ("Dir", Spelled::Text),
    ("User", Spelled::Text),
    ("Groups", TEXTS),
    (
        "Privileges",
        Spelled::Struct(&[&[
            (
                "CredentialSpec",
                Spelled::Struct(&[&[("Config", Spelled::Text), ("File", Spelled::Text), ("Registry", Spelled::Text)]]),
            ),
            (
                "SELinuxContext",
                Spelled::Struct(&[&[
                    ("Disable", Spelled::Any),
                    ("User", Spelled::Text),
                    ("Role", Spelled::Text),
                    ("Type", Spelled::Text),
                    ("Level", Spelled::Text),
                ]]),
            ),
            ("Seccomp", Spelled::Struct(&[&[("Mode", Spelled::Text), ("Profile", Spelled::Any)]])),
            ("AppArmor", Spelled::Struct(&[&[("Mode", Spelled::Text)]])),
            ("NoNewPrivileges", Spelled::Any),
        ]]),
    ),
    ("Init", Spelled::Any),
    ("StopSignal", Spelled::Text),
    ("TTY", Spelled::Any),
    ("OpenStdin", Spelled::Any),
    ("ReadOnly", Spelled::Any),
    ("Mounts", MOUNTS),
    ("StopGracePeriod", Spelled::Any),
    ("Healthcheck", HEALTH),
    ("Hosts", TEXTS),
    ("DNSConfig", Spelled::Struct(&[&[("Nameservers", TEXTS), ("Search", TEXTS), ("Options", TEXTS)]])),
    (
        "Secrets",
        Spelled::List(&Spelled::Struct(&[&[("File", FILE), ("SecretID", Spelled::Text), ("SecretName", Spelled::Text)]])),
    ),
    (
        "Configs",
        Spelled::List(&Spelled::Struct(&[&[
            ("File", FILE),
            ("Runtime", Spelled::Struct(&[])),
            ("ConfigID", Spelled::Text),
            ("ConfigName", Spelled::Text),
        ]])),
    ),
    ("Isolation", Spelled::Text),
    ("Sysctls", TEXT_MAP),
    ("CapabilityAdd", TEXTS),
    ("CapabilityDrop", TEXTS),
    ("Ulimits", ULIMITS),
    ("OomScoreAdj", Spelled::Any),
]]);

/// Of init, join, update and unlock together. The specification's own members are those of `update`'s body.
const SWARM: Spelled = Spelled::Struct(&[
    &[
        ("ListenAddr", Spelled::Text),
        ("AdvertiseAddr", Spelled::Text),
        ("DataPathAddr", Spelled::Text),
        ("DataPathPort", Spelled::Any),
        ("ForceNewCluster", Spelled::Any),
        ("Spec", Spelled::Struct(&[SWARM_SPEC])),
        ("AutoLockManagers", Spelled::Any),
        ("Availability", Spelled::Text),
        ("DefaultAddrPool", TEXTS),
        ("SubnetSize", Spelled::Any),
        ("RemoteAddrs", TEXTS),
        ("JoinToken", Spelled::Text),
        ("UnlockKey", Spelled::Text),
    ],
    SWARM_SPEC,
]);
const SWARM_SPEC: &[Field] = &[
    ("Name", Spelled::Text),
    ("Labels", TEXT_MAP),
    ("Orchestration", Spelled::Struct(&[&[("TaskHistoryRetentionLimit", Spelled::Any)]])),
    ("Raft", Spelled::Struct(&[])),
    ("Dispatcher", Spelled::Struct(&[&[("HeartbeatPeriod", Spelled::Any)]])),
    ("CAConfig", Spelled::Struct(&[])),
    ("TaskDefaults", Spelled::Struct(&[&[("LogDriver", DRIVER)]])),
    ("EncryptionConfig", Spelled::Struct(&[&[("AutoLockManagers", Spelled::Any)]])),
];
const NODE: Spelled = Spelled::Struct(&[&[
    ("Name", Spelled::Text),
    ("Labels", TEXT_MAP),
    ("Role", Spelled::Text),
    ("Availability", Spelled::Text),
]]);
/// A secret's or a config's.
const SECRET: Spelled = Spelled::Struct(&[&[
    ("Name", Spelled::Text),
    ("Labels", TEXT_MAP),
    ("Data", Spelled::Text),
    ("Driver", DRIVER),
    ("Templating", DRIVER),
]]);
const PRIVILEGES: Spelled =
    Spelled::List(&Spelled::Struct(&[&[("Name", Spelled::Text), ("Description", Spelled::Text), ("Value", TEXTS)]]));
const AUTH: Spelled = Spelled::Struct(&[&[
    ("username", Spelled::Text),
    ("password", Spelled::Text),
    ("auth", Spelled::Text),
    ("email", Spelled::Text),
    ("serveraddress", Spelled::Text),
    ("identitytoken", Spelled::Text),
    ("registrytoken", Spelled::Text),
]]);
