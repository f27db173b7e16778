//! What a specification asks for: ways to the host that it opens, and the terms on which its containers are to run. `HostConfig`, a
//! service's container specification and a volume may carry them. Whether that may be is for `policy`; here each is found and named.

use super::json::{Fields, Json, Members, Shape, field, fields};
use super::{Cpu, HostAccess, Port, Restart, Terms, Ulimit, Unreadable, VolumeOptions};
use crate::image::ImageName;

/// Longest evidence of host access. Stops foreign text from filling logs and answers.
const EVIDENCE: usize = 256;
/// Longest piece of an unknown mount type that is shown, for the same reason.
const MOUNT_TYPE: usize = 40;

/// A list of strings.
pub(super) const TEXTS: Shape = Shape::List(&Shape::Scalar);

/// What counts of an element of `Mounts`.
pub(super) const MOUNTS: Shape = Shape::List(&Shape::Struct(&[&fields(&[
    field("Type", Shape::Scalar),
    field("Source", Shape::Scalar),
    field("BindOptions", Shape::Struct(&[&fields(&[field("Propagation", Shape::Scalar)])])),
    field(
        "VolumeOptions",
        Shape::Struct(&[&fields(&[field(
            "DriverConfig",
            Shape::Struct(&[&fields(&[field("Name", Shape::Scalar), field("Options", Shape::Map)])]),
        )])]),
    ),
])]));

/// What counts of `Ulimits`, of a container or of a service.
pub(super) const ULIMITS: Shape =
    Shape::List(&Shape::Struct(&[&fields(&[field("Name", Shape::Scalar), field("Hard", Shape::Scalar)])]));

/// What counts of `Healthcheck`, likewise.
pub(super) const HEALTHCHECK: Shape = Shape::Struct(&[&fields(&[field("Test", TEXTS)])]);

/// What counts of `RestartPolicy`.
const RESTART: Shape = Shape::Struct(&[&fields(&[field("Name", Shape::Scalar), field("MaximumRetryCount", Shape::Scalar)])]);

/// What counts of a container's log configuration (`Type`, `Config`), and of a service's (`Name`, `Options`).
pub(super) const LOG: Shape = Shape::Struct(&[&fields(&[
    field("Type", Shape::Scalar),
    field("Config", Shape::Map),
    field("Name", Shape::Scalar),
    field("Options", Shape::Map),
])]);

/// What an update may change of `HostConfig`.
pub(super) const UPDATED: &Fields = &fields(&[
    field("Memory", Shape::Scalar),
    field("MemorySwap", Shape::Scalar),
    field("NanoCpus", Shape::Scalar),
    field("CpuQuota", Shape::Scalar),
    field("CpuPeriod", Shape::Scalar),
    field("CpuShares", Shape::Scalar),
    field("PidsLimit", Shape::Scalar),
    field("RestartPolicy", RESTART),
]);

/// What counts of `HostConfig` besides.
pub(super) const HOST_CONFIG: &Fields = &fields(&[
    field("Privileged", Shape::Scalar),
    field("Binds", TEXTS),
    field("Mounts", MOUNTS),
    field("VolumesFrom", TEXTS),
    field("VolumeDriver", Shape::Scalar),
    field("Devices", Shape::List(&Shape::Struct(&[&fields(&[field("PathOnHost", Shape::Scalar)])]))),
    field("DeviceCgroupRules", TEXTS),
    field("DeviceRequests", Shape::List(&Shape::Struct(&[&fields(&[field("Driver", Shape::Scalar)])]))),
    field("CapAdd", TEXTS),
    field("CapDrop", TEXTS),
    field("ReadonlyRootfs", Shape::Scalar),
    field("Ulimits", ULIMITS),
    field("PublishAllPorts", Shape::Scalar),
    field(
        "PortBindings",
        Shape::MapOf(&Shape::List(&Shape::Struct(&[&fields(&[
            field("HostIp", Shape::Scalar),
            field("HostPort", Shape::Scalar),
        ])]))),
    ),
    field("SecurityOpt", TEXTS),
    field("NetworkMode", Shape::Scalar),
    field("PidMode", Shape::Scalar),
    field("IpcMode", Shape::Scalar),
    field("UTSMode", Shape::Scalar),
    field("UsernsMode", Shape::Scalar),
    field("CgroupnsMode", Shape::Scalar),
    field("Cgroup", Shape::Scalar),
    field("Runtime", Shape::Scalar),
    field("CgroupParent", Shape::Scalar),
    field("Sysctls", Shape::Map),
    field("Annotations", Shape::Map),
    field("LogConfig", LOG),
    field("MaskedPaths", TEXTS),
    field("ReadonlyPaths", TEXTS),
]);

/// What a specification asks for, as it is found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub host_access: Vec<HostAccess>,
    pub image_mounts: Vec<ImageName>,
    pub terms: Terms,
}

/// Where members of `HostConfig` stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    /// In `HostConfig`: every engine acts on them.
    Inside,
    /// Beside it, where engines differ (see `create`): what they open counts, what they close does not.
    Beside,
}

impl Found {
    /// Notes a way to the host.
    pub(super) fn access(&mut self, id: &'static str, what: &str) {
        let mut what: String = match what.char_indices().nth(EVIDENCE) {
            Some((end, _)) => what.get(..end).unwrap_or_default().to_owned() + "…",
            None => what.to_owned(),
        };
        what.shrink_to_fit();
        self.host_access.push(HostAccess { id, what });
    }

    /// Reads `HostConfig`, or the top level of a body that may carry its members (see `create`).
    pub(super) fn host_config(&mut self, config: &Members<'_>, stands: Stands) -> Result<(), Unreadable> {
        self.terms_of(config, stands)?;
        if config.truth("Privileged")? {
            self.access("privileged", "privileged");
        }
        for bind in config.texts("Binds")? {
            self.bind(bind?);
        }
        for mount in config.objects("Mounts")? {
            self.mount(mount?)?;
        }
        for from in config.texts("VolumesFrom")? {
            self.access("volumes-from", from?);
        }
        self.volume_driver(config.text("VolumeDriver")?);
        for device in config.objects("Devices")? {
            self.access("device", &clean(device?.text("PathOnHost")?.unwrap_or("unnamed")));
        }
        for rule in config.texts("DeviceCgroupRules")? {
            self.access("device", rule?);
        }
        for request in config.objects("DeviceRequests")? {
            self.access("device", request?.text("Driver")?.unwrap_or("request"));
        }
        for capability in config.words("CapAdd") {
            self.access("capability", capability?);
        }
        for option in config.texts("SecurityOpt")? {
            let option = option?;
            if matches!(option, "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true") {
                self.terms.no_new_privileges |= stands == Stands::Inside;
            } else {
                self.access("security-opt", option);
            }
        }
        // Of several the engine takes the last.
        if self.host_access.iter().any(|access| access.id == "security-opt" && access.what.starts_with("no-new-privileges")) {
            self.terms.no_new_privileges = false;
        }
        for (member, kind, plain) in NAMESPACES {
            if let Some(mode) = config.text(member)?
                && !plain.contains(&mode)
            {
                self.access("namespace", &format!("{kind}:{mode}"));
            }
        }
        if let Some(mode) = config.text("NetworkMode")?
            && (mode.trim().eq_ignore_ascii_case("host") || mode.contains(':'))
        {
            self.access("namespace", &format!("network:{mode}"));
        }
        if let Some(runtime) = config.text("Runtime")? {
            self.access("runtime", runtime);
        }
        if let Some(parent) = config.text("CgroupParent")? {
            self.access("cgroup-parent", &clean(parent));
        }
        self.keys("sysctl", config, "Sysctls")?;
        // The runtime acts on some of these (hooks, other groups, other roots).
        self.keys("annotation", config, "Annotations")?;
        if let Some(log) = config.object("LogConfig")? {
            self.log(log, "Type", "Config")?;
        }
        // A list of any length replaces the engine's own; `null` leaves that in force.
        for (member, id) in [("MaskedPaths", "masked-paths"), ("ReadonlyPaths", "readonly-paths")] {
            if config.list(member)?.is_some() {
                self.access(id, "replaced");
            }
        }
        Ok(())
    }

    /// The terms in `HostConfig`, or beside it.
    fn terms_of(&mut self, config: &Members<'_>, stands: Stands) -> Result<(), Unreadable> {
        let terms = &mut self.terms;
        let dropped: Vec<String> = config.words("CapDrop").map(|word| word.map(str::to_owned)).collect::<Result<_, _>>()?;
        let read_only_root = config.truth("ReadonlyRootfs")?;
        let limits = Limits::read(config)?;
        if stands == Stands::Inside {
            terms.dropped = dropped;
            terms.read_only_root = read_only_root;
            limits.put(terms);
        } else {
            terms.memory_swap = more(terms.memory_swap, limits.memory_swap);
        }
        if let Some(policy) = config.object("RestartPolicy")? {
            let restart = Restart::of_container(policy.text("Name")?, policy.number("MaximumRetryCount")?);
            terms.restart = terms.restart.max(restart);
        }
        if config.truth("PublishAllPorts")? {
            terms.ports.push(Port { address: None, number: String::new() });
        }
        for (_, bindings) in config.map("PortBindings")? {
            ports(bindings, &mut terms.ports)?;
        }
        self.ulimits(config)
    }

    /// Notes `Ulimits`.
    pub(super) fn ulimits(&mut self, config: &Members<'_>) -> Result<(), Unreadable> {
        for ulimit in config.objects("Ulimits")? {
            let ulimit = ulimit?;
            let (name, hard) = (ulimit.text("Name")?.unwrap_or_default().to_owned(), ulimit.number("Hard")?.unwrap_or_default());
            self.terms.ulimits.push(Ulimit { name, hard });
        }
        Ok(())
    }

    /// Notes the first word of `Healthcheck.Test`. An empty one leaves the image's own in force.
    pub(super) fn healthcheck(&mut self, config: &Members<'_>) -> Result<(), Unreadable> {
        if let Some(check) = config.object("Healthcheck")? {
            self.terms.health = check.texts("Test")?.next().transpose()?.map(str::to_owned);
        }
        Ok(())
    }

    /// Reads one element of `Binds`: `source:target[:mode]`, or a target alone, which makes a new volume.
    fn bind(&mut self, bind: &str) {
        let Some((source, rest)) = bind.split_once(':') else { return };
        let mode = rest.rsplit_once(':').map(|(_, mode)| mode).unwrap_or_default();
        if mode.split(',').any(is_shared) {
            self.terms.shared.push(bind.to_owned());
        }
        if !is_volume_name(source) {
            self.access("bind", &clean(source));
        }
    }

    /// Reads one element of `Mounts`, of a container or of a service.
    pub(super) fn mount(&mut self, mount: &Members<'_>) -> Result<(), Unreadable> {
        let source = mount.text("Source")?;
        if let Some(options) = mount.object("BindOptions")?
            && options.text("Propagation")?.is_some_and(is_shared)
        {
            self.terms.shared.push(source.unwrap_or_default().to_owned());
        }
        match mount.text("Type")? {
            Some("bind" | "npipe") => self.access("bind", &clean(source.unwrap_or_default())),
            Some("volume") => {
                let options = mount.object("VolumeOptions")?;
                if let Some(driver) = options.map(|options| options.object("DriverConfig")).transpose()?.flatten() {
                    self.volume(driver.text("Name")?, driver, "Options")?;
                }
            }
            Some("image") => {
                let name = ImageName::parse(source.unwrap_or_default());
                self.image_mounts.push(name.map_err(|error| Unreadable::Reference(error.to_string()))?);
            }
            Some("tmpfs") => {}
            Some("cluster") => self.access("mount", "cluster"),
            // What a newer engine may bring could be content, as image mounts were. Without a type dockerd mounts nothing.
            other => {
                let shown = crate::text::fit(other.unwrap_or_default(), MOUNT_TYPE);
                return Err(Unreadable::MountType(shown));
            }
        }
        Ok(())
    }

    /// Notes what a volume is made with: its driver, and the options in a member.
    pub(super) fn volume(&mut self, driver: Option<&str>, of: &Members<'_>, member: &str) -> Result<(), Unreadable> {
        self.volume_driver(driver);
        self.keys("volume-options", of, member)?;
        let options = of.map(member)?;
        if !options.is_empty() && driver.is_none_or(|driver| driver == "local") {
            let text = |value: &Json<'_>| match value {
                Json::Text(text) => text.clone().into_owned(),
                Json::Null | Json::Bool(_) | Json::List(_) | Json::Struct(_) | Json::Map(_) | Json::Number(_) | Json::Other => {
                    String::new()
                }
            };
            let options = options.iter().map(|(name, value)| (name.clone().into_owned(), text(value))).collect();
            self.terms.volumes.push(VolumeOptions(options));
        }
        Ok(())
    }

    /// Notes a volume driver that is not the engine's own.
    pub(super) fn volume_driver(&mut self, driver: Option<&str>) {
        if let Some(driver) = driver.filter(|driver| *driver != "local") {
            self.access("volume-driver", driver);
        }
    }

    /// Notes a log driver that speaks to other programs, reads files of its own or is a plugin. Without one the engine's default acts,
    /// whichever it is: then options that only such a driver has are noted.
    pub(super) fn log(&mut self, log: &Members<'_>, driver: &str, options: &str) -> Result<(), Unreadable> {
        match log.text(driver)? {
            Some(driver) if PLAIN_LOGS.contains(&driver) => {}
            Some(driver) => self.access("log-driver", driver),
            None => {
                for (option, _) in log.map(options)? {
                    if !PLAIN_LOG_OPTIONS.contains(&option.as_ref()) {
                        self.access("log-driver", &format!("default:{option}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes every entry of a map.
    pub(super) fn keys(&mut self, id: &'static str, of: &Members<'_>, member: &str) -> Result<(), Unreadable> {
        for (key, value) in of.map(member)? {
            match value {
                Json::Text(value) => self.access(id, &format!("{key}={value}")),
                Json::Null | Json::Bool(_) | Json::List(_) | Json::Struct(_) | Json::Map(_) | Json::Number(_) | Json::Other => {
                    self.access(id, key);
                }
            }
        }
        Ok(())
    }
}

/// Limits that a container has, or is given by an update.
#[derive(Debug)]
pub(super) struct Limits {
    memory: Option<i64>,
    memory_swap: Option<i64>,
    cpu: Cpu,
    pids: Option<i64>,
}

impl Limits {
    /// Reads members of `HostConfig`, or of an update.
    pub(super) fn read(config: &Members<'_>) -> Result<Self, Unreadable> {
        let number = |name: &str| Ok::<_, Unreadable>(config.number(name)?.unwrap_or_default());
        let cpu = Cpu {
            nanos: number("NanoCpus")?,
            quota: number("CpuQuota")?,
            period: number("CpuPeriod")?,
            shares: number("CpuShares")?,
        };
        let (memory, memory_swap) = (config.number("Memory")?, config.number("MemorySwap")?);
        Ok(Self { memory, memory_swap, cpu, pids: config.number("PidsLimit")? })
    }

    /// Puts them into force.
    pub(super) fn put(self, terms: &mut Terms) {
        let Self { memory, memory_swap, cpu, pids } = self;
        (terms.memory, terms.memory_swap, terms.cpu, terms.pids) = (memory, memory_swap, cpu, pids);
    }
}

/// Notes the ports of the host that lead to one of the container's.
fn ports(bindings: &Json<'_>, found: &mut Vec<Port>) -> Result<(), Unreadable> {
    let wrong = || Unreadable::Type("PortBindings".to_owned());
    let any = || Port { address: None, number: String::new() };
    match bindings {
        Json::List(bindings) if !bindings.is_empty() => {
            for binding in bindings {
                found.push(match binding {
                    Json::Struct(binding) => Port {
                        address: binding.text("HostIp")?.map(str::to_owned),
                        number: binding.text("HostPort")?.unwrap_or_default().to_owned(),
                    },
                    // To Go it is one of empty fields.
                    Json::Null => any(),
                    Json::Bool(_) | Json::Text(_) | Json::List(_) | Json::Map(_) | Json::Number(_) | Json::Other => {
                        return Err(wrong());
                    }
                });
            }
        }
        // Docker's engines from 25 on put one of empty fields into a list of none (go-connections, `nat.SortPortMap`; from 29 on for older
        // APIs, `BackfillEmptyPBs`). Older ones, and Debian's, publish nothing then.
        Json::List(_) | Json::Null => found.push(any()),
        Json::Bool(_) | Json::Text(_) | Json::Struct(_) | Json::Map(_) | Json::Number(_) | Json::Other => return Err(wrong()),
    }
    Ok(())
}

/// The higher of two limits of which any number below 0 is none at all.
fn more(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    let worst = one.max(other);
    one.into_iter().chain(other).find(|limit| *limit < 0).or(worst)
}

/// A propagation by which what is mounted in the container comes back to the host.
fn is_shared(word: &str) -> bool {
    matches!(word.trim(), "shared" | "rshared")
}

/// Members that name a namespace, with the modes that stay inside.
const NAMESPACES: [(&str, &str, &[&str]); 6] = [
    ("PidMode", "pid", &["private"]),
    ("IpcMode", "ipc", &["none", "private", "shareable"]),
    ("UTSMode", "uts", &["private"]),
    ("UsernsMode", "user", &["private"]),
    ("CgroupnsMode", "cgroup", &["private"]),
    ("Cgroup", "cgroup", &[]),
];

/// Log drivers that stay inside the engine.
const PLAIN_LOGS: [&str; 4] = ["json-file", "local", "journald", "none"];

/// Their options, and those of every driver.
const PLAIN_LOG_OPTIONS: [&str; 11] = [
    "max-size",
    "max-file",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
    "cache-disabled",
];

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]*`: a volume, not a path.
fn is_volume_name(source: &str) -> bool {
    let mut bytes = source.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// The path as the daemon cleans it (Go, `path.Clean`), so that `..` leads nowhere unseen. Symbolic links are for whoever looks at
/// the host.
pub(super) fn clean(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::json;

    fn found(config: &str) -> Result<Found, Unreadable> {
        let mut found = Found::default();
        found.host_config(&json::read(config.as_bytes(), &Shape::Struct(&[UPDATED, HOST_CONFIG]))?, Stands::Inside)?;
        Ok(found)
    }

    #[test]
    fn every_way_to_the_host_is_named() {
        for (config, id, what) in [
            (r#"{"Privileged":true}"#, "privileged", "privileged"),
            (r#"{"privileged":true}"#, "privileged", "privileged"),
            (r#"{"Binds":["/:/h"]}"#, "bind", "/"),
            (r#"{"Binds":["/:/h:ro"]}"#, "bind", "/"),
            ("{\"Bind\u{17f}\":[\"/:/h\"]}", "bind", "/"),
            (r#"{"Binds":["/srv/../etc//ssh/./:/h"]}"#, "bind", "/etc/ssh"),
            (r#"{"Binds":["/../..:/h"]}"#, "bind", "/"),
            (r#"{"Binds":["../x:/h"]}"#, "bind", "../x"),
            (r#"{"Binds":[".:/h"]}"#, "bind", "."),
            (r#"{"Binds":[":/h"]}"#, "bind", ""),
            (r#"{"Mounts":[{"Type":"bind","Source":"/run","Target":"/h"}]}"#, "bind", "/run"),
            (r#"{"Mounts":[{"Type":"npipe","Source":"//./pipe/x"}]}"#, "bind", "/pipe/x"),
            (r#"{"Mounts":[{"Type":"cluster","Source":"v"}]}"#, "mount", "cluster"),
            (
                r#"{"Mounts":[{"Type":"volume","VolumeOptions":{"DriverConfig":{"Options":{"device":"/"}}}}]}"#,
                "volume-options",
                "device=/",
            ),
            (r#"{"Mounts":[{"Type":"volume","VolumeOptions":{"DriverConfig":{"Name":"sshfs"}}}]}"#, "volume-driver", "sshfs"),
            (r#"{"VolumesFrom":["web:ro"]}"#, "volumes-from", "web:ro"),
            (r#"{"VolumeDriver":"sshfs"}"#, "volume-driver", "sshfs"),
            (r#"{"Devices":[{"PathOnHost":"/dev/sda"}]}"#, "device", "/dev/sda"),
            (r#"{"DeviceCgroupRules":["a *:* rwm"]}"#, "device", "a *:* rwm"),
            (r#"{"DeviceRequests":[{"Driver":"nvidia","Count":-1}]}"#, "device", "nvidia"),
            (r#"{"CapAdd":["SYS_ADMIN"]}"#, "capability", "SYS_ADMIN"),
            (r#"{"CapAdd":"ALL"}"#, "capability", "ALL"),
            (r#"{"SecurityOpt":["seccomp=unconfined"]}"#, "security-opt", "seccomp=unconfined"),
            (r#"{"SecurityOpt":["no-new-privileges=false"]}"#, "security-opt", "no-new-privileges=false"),
            (r#"{"PidMode":"host"}"#, "namespace", "pid:host"),
            (r#"{"PidMode":"container:web"}"#, "namespace", "pid:container:web"),
            (r#"{"IpcMode":"host"}"#, "namespace", "ipc:host"),
            (r#"{"UTSMode":"host"}"#, "namespace", "uts:host"),
            (r#"{"UsernsMode":"host"}"#, "namespace", "user:host"),
            (r#"{"CgroupnsMode":"host"}"#, "namespace", "cgroup:host"),
            (r#"{"Cgroup":"container:web"}"#, "namespace", "cgroup:container:web"),
            ("{\"Networ\u{212a}Mode\":\"host\"}", "namespace", "network:host"),
            (r#"{"NetworkMode":"\u00a0host"}"#, "namespace", "network:\u{a0}host"),
            (r#"{"NetworkMode":"container:web"}"#, "namespace", "network:container:web"),
            (r#"{"Runtime":"other"}"#, "runtime", "other"),
            (r#"{"CgroupParent":"/x"}"#, "cgroup-parent", "/x"),
            (r#"{"CgroupParent":"/x/../y"}"#, "cgroup-parent", "/y"),
            (r#"{"Devices":[{"PathOnHost":"/dev/snd/../sda"}]}"#, "device", "/dev/sda"),
            (r#"{"LogConfig":{"Type":"fluentd","Config":{"fluentd-address":"unix:///run/x"}}}"#, "log-driver", "fluentd"),
            (r#"{"LogConfig":{"Type":"JSON-FILE"}}"#, "log-driver", "JSON-FILE"),
            (
                r#"{"LogConfig":{"Config":{"max-size":"1m","syslog-tls-ca-cert":"/x"}}}"#,
                "log-driver",
                "default:syslog-tls-ca-cert",
            ),
            (r#"{"Sysctls":{"net.ipv4.ip_forward":"1"}}"#, "sysctl", "net.ipv4.ip_forward=1"),
            (r#"{"Annotations":{"run.oci.x":"y"}}"#, "annotation", "run.oci.x=y"),
            (r#"{"MaskedPaths":[]}"#, "masked-paths", "replaced"),
            (r#"{"ReadonlyPaths":["/x"]}"#, "readonly-paths", "replaced"),
        ] {
            let found = found(config).unwrap();
            assert_eq!(found.host_access, [HostAccess { id, what: what.into() }], "{config}");
            assert!(HostAccess::IDS.contains(&id), "{id}");
        }
    }

    #[test]
    fn what_stays_inside_is_no_host_access() {
        for config in [
            "{}",
            r#"{"Privileged":false,"Binds":null,"CapAdd":null,"MaskedPaths":null,"SecurityOpt":null,"Sysctls":{},"Devices":[]}"#,
            r#"{"Binds":["data:/data","/anonymous","my.vol-1_x:/y:ro"]}"#,
            r#"{"Mounts":[{"Type":"volume","Source":"v","Target":"/v"},{"Type":"tmpfs","Target":"/t"}]}"#,
            r#"{"Mounts":[{"Type":"volume","VolumeOptions":{"DriverConfig":{"Name":"local","Options":null}}}]}"#,
            r#"{"VolumeDriver":"local","Runtime":"","CgroupParent":""}"#,
            r#"{"SecurityOpt":["no-new-privileges"]}"#,
            r#"{"LogConfig":{"Type":"json-file","Config":{"max-size":"1m"}}}"#,
            r#"{"LogConfig":{"Type":"","Config":{"max-size":"1m","tag":"x"}}}"#,
            r#"{"LogConfig":{"Type":"journald","Config":null}}"#,
            r#"{"LogConfig":null}"#,
            r#"{"PidMode":"","IpcMode":"private","CgroupnsMode":"private","NetworkMode":"none"}"#,
            r#"{"NetworkMode":"my_net","CapDrop":["ALL"],"Tmpfs":{"/run":""},"Memory":1000000000}"#,
        ] {
            assert_eq!(found(config).unwrap().host_access, [], "{config}");
        }
    }

    #[test]
    fn a_config_that_reads_two_ways_is_refused() {
        for config in [
            r#"{"Privileged":true,"privileged":false}"#,
            r#"{"Binds":["/:/h"],"Binds":[]}"#,
            r#"{"Privileged":"true"}"#,
            r#"{"Binds":"/:/h"}"#,
            r#"{"Binds":[1]}"#,
            r#"{"Mounts":[null]}"#,
            r#"{"Mounts":[{"Type":"bind","type":"volume"}]}"#,
            r#"{"Mounts":[{"Type":"image","Source":"A"}]}"#,
            r#"{"Mounts":[{"Type":"image"}]}"#,
            r#"{"CapAdd":1}"#,
            r#"{"Sysctls":[]}"#,
            r#"{"MaskedPaths":"x"}"#,
        ] {
            assert!(found(config).is_err(), "{config}");
        }
    }

    #[test]
    fn an_image_mount_is_an_image_and_no_host_access() {
        let found = found(r#"{"Mounts":[{"Type":"image","Source":"r.example/a","Target":"/i"}]}"#).unwrap();
        assert_eq!((found.host_access, found.image_mounts), (vec![], vec![ImageName::parse("r.example/a").unwrap()]));
    }

    #[test]
    fn a_mount_of_a_type_nobody_knows_is_passed_on_to_nobody() {
        for (kind, shown) in [("\"BIND\"", "BIND"), ("\"layer\"", "layer"), ("\" bind\"", " bind"), ("\"\"", ""), ("null", "")] {
            let config = format!(r#"{{"Mounts":[{{"Type":{kind},"Source":"r.example/evil"}}]}}"#);
            assert_eq!(found(&config).err(), Some(Unreadable::MountType(shown.into())), "{config}");
        }
        let config = format!(r#"{{"Mounts":[{{"Type":"{}"}}]}}"#, "é".repeat(99));
        assert_eq!(found(&config).err(), Some(Unreadable::MountType(format!("{}…", "é".repeat(MOUNT_TYPE - 1)))));
    }

    #[test]
    fn evidence_is_bounded() {
        let config = format!(r#"{{"Binds":["/{}:/h"]}}"#, "é".repeat(1_000));
        let found = found(&config).unwrap();
        assert_eq!(found.host_access[0].what.chars().count(), EVIDENCE + 1);
        assert!(found.host_access[0].what.ends_with('…'));
    }
}
