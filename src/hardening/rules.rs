//! The table of rules: names, severity, remedy, and what each means for a beginner. What the policy has rules for keeps their names.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::policy::{self, CreateRuleId, ImageRuleId, is_called};

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

/// A rule that only an audit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is explained by its row in `OwnRule::about`")]
pub enum OwnRule {
    WorldWritable,
    NetworkTools,
    PackageCache,
    CopyAll,
    AddNotCopy,
    UpdateAlone,
    Sudo,
    SystemFolder,
    SetuidFiles,
    SecretFiles,
    PackageManager,
    DefaultBridge,
    RootDaemon,
    InterContainer,
    LogLevel,
    IptablesOff,
    InsecureRegistries,
    StorageDriver,
    TcpOpen,
    DefaultUlimits,
    UserNamespaces,
    DaemonCgroupParent,
    BaseDeviceSize,
    NoAuthorization,
    LocalLogs,
    DaemonNewPrivileges,
    LiveRestore,
    UserlandProxy,
    DaemonSeccomp,
    Experimental,
    Swarm,
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
            Self::Image(id) => image(id),
            Self::Create(id) => create(id),
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

const EVERYWHERE: &str = "Dockerfile, image, host";
const BUILT: &str = "Dockerfile, image";

/// A rule of the policy's, by its own names and words.
const fn of_policy(about: policy::About, severity: Severity, at: &'static str, means: &'static str) -> Rule {
    Rule { id: about.id, refs: about.refs, severity, at, finds: about.refuses, remedy: about.remedy, means }
}

const fn image(id: ImageRuleId) -> Rule {
    use ImageRuleId as I;
    use Severity::{Critical, High, Low, Medium};
    let (severity, at, remedy, means) = match id {
        I::TagLatest | I::TagMissing => (
            Medium,
            EVERYWHERE,
            "write the version, or better NAME:VERSION@sha256:DIGEST",
            "A tag is a label that its publisher can move. With `latest`, or none, the same file builds something else tomorrow, and nobody can say what runs.",
        ),
        I::MaxAge => (
            Low,
            "image, host",
            "build it again, or use a newer one; 90 days are counted",
            "Holes become known every week. An image keeps the programs of the day it was built; only building it again on a new base brings what was mended since.",
        ),
        I::UserRoot => (
            High,
            EVERYWHERE,
            "make a user in the Dockerfile and switch to it at the end of the last stage: USER 10001",
            "Root in a container is root for the kernel, held back only by namespaces and a shorter list of rights. A hole in the program or the kernel is then worth the host.",
        ),
        I::Healthcheck => (
            Low,
            EVERYWHERE,
            "add HEALTHCHECK CMD with a command that fails when the program does not answer",
            "Without it the engine knows that a process exists, not that it works: a program that hangs, or was broken by an attack, counts as healthy.",
        ),
        I::Secrets => (
            Critical,
            EVERYWHERE,
            "take it out and replace the secret itself; give it at build with RUN --mount=type=secret, at run as a file",
            "Variables, labels and the build's history are part of the image: `docker inspect` and `docker history` show them to everybody who can pull it. Deleting it later does not help.",
        ),
        I::ExposedPorts => (
            Medium,
            EVERYWHERE,
            "leave out EXPOSE of that port; reach a shell with docker exec, a database over a private network",
            "22 is a remote shell, 3306, 5432 and 6379 are databases. `docker run -P` opens every exposed port on the host, and scanners try exactly these first.",
        ),
        _ => (Low, "image", id.about().remedy, ""),
    };
    let about = id.about();
    Rule { remedy, ..of_policy(about, severity, at, means) }
}

const fn create(id: CreateRuleId) -> Rule {
    use CreateRuleId as C;
    use Severity::{Critical, High, Info, Low, Medium};
    let (severity, means) = match id {
        C::Privileged => (
            Critical,
            "--privileged takes nearly every wall down: all devices, all rights, no seccomp. One command leads to the host's disk.",
        ),
        C::HostNetwork => (
            High,
            "In the host's network a container sees its traffic, reaches what listens on 127.0.0.1 only, and can take its ports.",
        ),
        C::HostPid => {
            (High, "It sees every process of the host, with their arguments and variables, and as root may stop or change them.")
        }
        C::HostIpc => (High, "Shared memory of the host's programs is open to it."),
        C::HostUts => (Medium, "It may change the host's name, by which other machines and logs know it."),
        C::HostUserns => (High, "Its root is the host's root, though this engine keeps them apart for all others."),
        C::HostCgroupns => {
            (Low, "It sees the control groups of all others, which is where several ways out of containers began.")
        }
        C::Capabilities => (
            High,
            "Capabilities are pieces of root's rights. SYS_ADMIN, SYS_PTRACE, SYS_MODULE, DAC_READ_SEARCH alone are enough to leave a container.",
        ),
        C::Mounts => (
            High,
            "What it may write in /etc, /usr, /root or the like is the host itself: a job for cron, a key for ssh, a user more.",
        ),
        C::DockerSocket => (
            Critical,
            "Who has the engine's socket is root on the host: one request starts a container with the whole disk in it.",
        ),
        C::MountPropagation => (Medium, "What it mounts appears on the host and in other containers."),
        C::Devices => {
            (High, "A disk can be read and written past all permissions of files; other devices reach the kernel directly.")
        }
        C::Seccomp => {
            (High, "seccomp closes system calls that programs rarely need and that had holes. Without it all of them are open.")
        }
        C::AppArmor => {
            (Medium, "The profile forbids mounts and writing to the kernel's files. Without it only the other walls are left.")
        }
        C::SeLinux => {
            (Medium, "The labels keep a container from files that are not its own. Without them only the other walls are left.")
        }
        C::SystemPaths => (High, "Masked files of /proc and /sys show the host's secrets, and some of them change the kernel."),
        C::CgroupParent => (Low, "Under a group of another, its limits are that group's, or none."),
        C::NoNewPrivileges => (Medium, "Without it, a setuid program in the image can make an ordinary user root."),
        C::ReadOnlyRoot => (
            Low,
            "What can be written can be changed: an attacker's tools stay, programs are replaced. With --read-only they have nowhere to go.",
        ),
        C::MemoryLimit => (Low, "One program that takes all memory makes the kernel end others, perhaps the engine."),
        C::CpuLimit => (Low, "One program that computes without end slows all others."),
        C::PidsLimit => {
            (Medium, "A line of shell that starts itself twice, again and again, stops the whole host, unless there is a limit.")
        }
        C::RestartPolicy => (
            Low,
            "A program that is broken, or attacked and crashing, is started again without end, and each time is another attempt.",
        ),
        C::PrivilegedPorts => (Low, "Ports below 1024 are those of well-known services; who holds one is taken for it."),
        C::HostIp => {
            (Medium, "Without an address, a port is open on every network of the host, past the firewall rules that you made.")
        }
        C::Ulimits => (Info, "Higher limits of the kernel's than the engine's own let one container use up what all share."),
        // Of a container that runs, `user-root` and `healthcheck` say these; of execs there is no record.
        C::RunAsRoot | C::HealthcheckOff | C::ExecPrivileged | C::ExecRoot => (Low, ""),
    };
    of_policy(id.about(), severity, "host", means)
}

impl OwnRule {
    /// Every one.
    pub const ALL: [Self; 31] = [
        Self::WorldWritable,
        Self::NetworkTools,
        Self::PackageCache,
        Self::CopyAll,
        Self::AddNotCopy,
        Self::UpdateAlone,
        Self::Sudo,
        Self::SystemFolder,
        Self::SetuidFiles,
        Self::SecretFiles,
        Self::PackageManager,
        Self::DefaultBridge,
        Self::RootDaemon,
        Self::InterContainer,
        Self::LogLevel,
        Self::IptablesOff,
        Self::InsecureRegistries,
        Self::StorageDriver,
        Self::TcpOpen,
        Self::DefaultUlimits,
        Self::UserNamespaces,
        Self::DaemonCgroupParent,
        Self::BaseDeviceSize,
        Self::NoAuthorization,
        Self::LocalLogs,
        Self::DaemonNewPrivileges,
        Self::LiveRestore,
        Self::UserlandProxy,
        Self::DaemonSeccomp,
        Self::Experimental,
        Self::Swarm,
    ];

    /// What people are told of it.
    #[must_use]
    pub const fn about(self) -> Rule {
        use Severity::{Info, Low, Medium};
        const fn row(
            id: &'static str,
            refs: &'static [&'static str],
            (severity, at): (Severity, &'static str),
            finds: &'static str,
            remedy: &'static str,
            means: &'static str,
        ) -> Rule {
            Rule { id, refs, severity, at, finds, remedy, means }
        }
        match self {
            Self::WorldWritable => row(
                "world-writable",
                &[],
                (Medium, BUILT),
                "files that everybody may change: `chmod 777`, `a+w`, `--chmod=777`",
                "give rights to the user that needs them: chown, chmod 755 or 750",
                "Whoever breaks into the program can change these files: its code, scripts, configuration. What only root may change survives an attack on another user.",
            ),
            Self::NetworkTools => row(
                "network-tools",
                &["CIS-4.3", "CIS-DI-0003"],
                (Low, BUILT),
                "curl, wget, netcat, nmap, telnet, ssh, tcpdump and the like in the last stage",
                "leave them out, or use them in an earlier stage and COPY --from what they fetched",
                "An attacker who gets in first fetches more tools and looks at the network. Without curl or netcat in the image that is much harder, and your program rarely needs them.",
            ),
            Self::PackageCache => row(
                "package-cache",
                &[
                    "DKL-DI-0005",
                    "DKL-DI-0004",
                    "DL3009",
                    "DL3019",
                    "DL3032",
                    "DL3036",
                    "DL3040",
                    "DS-0025",
                    "DS-0015",
                    "DS-0019",
                    "DS-0020",
                    "DS-0027",
                ],
                (Low, BUILT),
                "lists and archives of apt, apk, yum, dnf, zypper left in a layer",
                "end the same RUN with rm -rf /var/lib/apt/lists/* (apk: --no-cache; yum, dnf: clean all; zypper: clean)",
                "They make the image larger and tell an attacker which versions to look up. A later RUN cannot take them out: each RUN is a layer of its own.",
            ),
            Self::CopyAll => row(
                "copy-all",
                &[],
                (Medium, "Dockerfile"),
                "`COPY .`: the whole folder into the last stage",
                "name what the image needs (COPY src package.json ./), or build in an earlier stage and COPY --from",
                "It takes along whatever lies there on the day of the build: .git with all history, .env with passwords, keys. A .dockerignore must name each of them; a list of what is needed cannot forget one.",
            ),
            Self::AddNotCopy => row(
                "add-not-copy",
                &["CIS-4.9", "CIS-DI-0009", "DL3020", "DS-0005"],
                (Low, BUILT),
                "`ADD` where `COPY` does, or from an address without `--checksum`",
                "use COPY; for an address ADD --checksum=sha256:…",
                "ADD also fetches from the network and unpacks archives. A file that was only to be copied may then become something else, and what is fetched is checked by nobody.",
            ),
            Self::UpdateAlone => row(
                "update-alone",
                &["CIS-4.7", "CIS-DI-0007", "DS-0017"],
                (Low, BUILT),
                "`apt-get update` (apk, yum, dnf, zypper likewise) in a RUN of its own",
                "update and install in one RUN: apt-get update && apt-get install -y --no-install-recommends NAME",
                "Builds keep the layers of lines that did not change. The update then stays the one of months ago, and the next line installs old versions with known holes.",
            ),
            Self::Sudo => row(
                "sudo",
                &["DKL-DI-0001", "DL3004", "DS-0010"],
                (Medium, BUILT),
                "`sudo` in a RUN",
                "do what needs root before USER, and leave sudo out",
                "sudo turns a user into root again, for you and for whoever breaks in. A build is root until USER says otherwise, so it is never needed.",
            ),
            Self::SystemFolder => row(
                "system-folder",
                &["DKL-DI-0002", "DS-0030"],
                (Info, "Dockerfile"),
                "`VOLUME` or `WORKDIR` on `/`, `/dev`, `/proc`, `/sys`, `/etc`, `/usr`, `/boot` or the like",
                "use a folder of the program's own, such as /app or /data",
                "What the program writes there mixes with the system's own files; a volume over them hides updates and may open the kernel's settings.",
            ),
            Self::SecretFiles => row(
                "secret-files",
                &[],
                (Severity::Critical, "image"),
                "private keys and files with credentials in a layer, also where a later layer deletes them",
                "build it again without the file and replace the secret itself; at build RUN --mount=type=secret, at run a mounted file",
                "A layer keeps what a later one deletes, and whoever pulls the image gets all layers. A key that was ever in one is known to everybody who has it.",
            ),
            Self::PackageManager => row(
                "package-manager",
                &[],
                (Info, "image"),
                "apk, apt, dnf, yum, zypper or pacman left in the image",
                "ship a last stage without one: FROM scratch, or a distroless base",
                "Your program does not need it once it is built. An attacker who is in, and root, installs with it what is missing.",
            ),
            Self::DefaultBridge => row(
                "default-bridge",
                &["CIS-5.30"],
                (Low, "host"),
                "containers on the default bridge `docker0`",
                "make a network for what belongs together (docker network create) and use --network",
                "All containers that name no network may speak to each other on docker0. Who breaks into one tries the others next.",
            ),
            Self::RootDaemon => row(
                "root-daemon",
                &["CIS-2.1"],
                (Info, "host"),
                "an engine that runs as root",
                "where it fits, run the engine rootless (docs.docker.com, Rootless mode)",
                "What breaks out of a container is what the engine is: as root it owns the host, as an ordinary user only that user's files. Authorization plugins, some networks and limits may not work rootless.",
            ),
            Self::InterContainer => row(
                "inter-container",
                &["CIS-2.2"],
                (Medium, "host"),
                "an engine that lets all containers on the default bridge speak to each other",
                "\"icc\": false in daemon.json, and networks of your own for those that must",
                "A web server has no need to reach the database of another program. With icc off, containers on docker0 reach each other only where it was asked for.",
            ),
            Self::LogLevel => row(
                "log-level",
                &["CIS-2.3"],
                (Low, "host"),
                "a logging level other than `info`",
                "\"log-level\": \"info\" in daemon.json",
                "`debug` writes requests, with what may be secret, into the log; `error` leaves out what you need after an incident.",
            ),
            Self::IptablesOff => row(
                "iptables-off",
                &["CIS-2.4"],
                (Medium, "host"),
                "an engine that may not make firewall rules",
                "leave out \"iptables\": false, unless you write all rules yourself",
                "The engine's own rules keep networks of containers apart. Without them you must, for each one.",
            ),
            Self::InsecureRegistries => row(
                "insecure-registry",
                &["CIS-2.5"],
                (Severity::High, "host"),
                "registries that are spoken to without TLS, or without looking at their certificate",
                "give the registry a certificate and put its CA into /etc/docker/certs.d/HOST:PORT/",
                "Whoever sits between the engine and the registry can hand out an image of their own, and read the passwords that are sent.",
            ),
            Self::StorageDriver => row(
                "storage-driver",
                &["CIS-2.6"],
                (Low, "host"),
                "an outdated storage driver: `aufs`, `devicemapper`, `overlay`",
                "use overlay2",
                "Nobody mends these drivers any more, and newer engines do not have them.",
            ),
            Self::TcpOpen => row(
                "tcp-open",
                &["CIS-2.7"],
                (Severity::Critical, "host"),
                "an engine that listens on TCP without asking for certificates",
                "leave that listener out, use ssh://, or set tlsverify with tlscacert, tlscert and tlskey",
                "Whoever reaches the port is root on this host. Such ports are found within hours, also behind a firewall that lets one neighbour in.",
            ),
            Self::DefaultUlimits => row(
                "default-ulimits",
                &["CIS-2.8"],
                (Info, "host"),
                "an engine that sets no limits of the kernel's for containers",
                "\"default-ulimits\" in daemon.json, such as nofile",
                "A program that opens files or starts processes without end then does so until the host has none left.",
            ),
            Self::UserNamespaces => row(
                "user-namespaces",
                &["CIS-2.9"],
                (Low, "host"),
                "an engine whose containers' root is the host's",
                "\"userns-remap\": \"default\" in daemon.json, with care: images and volumes begin anew",
                "With user namespaces, root in a container is an ordinary user of the host. What breaks out is nobody there.",
            ),
            Self::DaemonCgroupParent => row(
                "daemon-cgroup-parent",
                &["CIS-2.10"],
                (Low, "host"),
                "an engine that puts containers under control groups of another's",
                "leave out cgroup-parent, or see that this group has limits",
                "Limits of groups add up from the top. Under a foreign group they may be another's, or none.",
            ),
            Self::BaseDeviceSize => row(
                "base-device-size",
                &["CIS-2.11"],
                (Low, "host"),
                "a size of base devices that was raised (`dm.basesize`)",
                "leave out dm.basesize",
                "A container may then fill more of the disk, and with it the host.",
            ),
            Self::NoAuthorization => row(
                "no-authorization",
                &["CIS-2.12"],
                (Severity::High, "host"),
                "an engine that asks no authorization plugin",
                "install the gate and name it in daemon.json (README); img-authz doctor says whether it is really asked",
                "Without one, whoever may speak to the engine may do everything: any image, any mount, root on the host.",
            ),
            Self::LocalLogs => row(
                "local-logs",
                &["CIS-2.13"],
                (Info, "host"),
                "logs of containers that stay on this host",
                "use a logging driver that sends them elsewhere (journald with a collector, syslog, fluentd …)",
                "Who breaks into a host deletes the logs first. What was sent elsewhere still says what happened.",
            ),
            Self::DaemonNewPrivileges => row(
                "daemon-no-new-privileges",
                &["CIS-2.14"],
                (Low, "host"),
                "an engine that does not set no-new-privileges for every container",
                "\"no-new-privileges\": true in daemon.json",
                "With it, no setuid program in any container makes its caller root.",
            ),
            Self::LiveRestore => row(
                "live-restore",
                &["CIS-2.15"],
                (Low, "host"),
                "an engine whose containers end with it",
                "\"live-restore\": true in daemon.json (not with swarm)",
                "Updates of the engine are put off where they stop every program. With live-restore, containers go on meanwhile.",
            ),
            Self::UserlandProxy => row(
                "userland-proxy",
                &["CIS-2.16"],
                (Low, "host"),
                "a helper process for each published port",
                "\"userland-proxy\": false in daemon.json",
                "The kernel can do this. Each helper is a program that runs as root for nothing, and hides from where a caller comes.",
            ),
            Self::DaemonSeccomp => row(
                "daemon-seccomp",
                &["CIS-2.17"],
                (Severity::High, "host"),
                "an engine without a seccomp profile",
                "leave out seccomp-profile=unconfined, or use a kernel with seccomp",
                "seccomp closes some fifty system calls, several of which had holes that led out of containers.",
            ),
            Self::Experimental => row(
                "experimental",
                &["CIS-2.18"],
                (Low, "host"),
                "experimental features",
                "\"experimental\": false in daemon.json",
                "They are there to be tried, and not yet looked at as the rest is.",
            ),
            Self::Swarm => row(
                "swarm",
                &["CIS-5.1"],
                (Info, "host"),
                "swarm mode",
                "docker swarm leave, if nothing uses it",
                "Swarm opens ports of its own (2377, 7946) and starts containers that nobody on this host asked for.",
            ),
            Self::SetuidFiles => row(
                "setuid-files",
                &["CIS-4.8", "CIS-DI-0008"],
                (Low, BUILT),
                "programs that run as their owner or group (setuid, setgid)",
                "RUN find / -xdev -perm /6000 -type f -exec chmod a-s {} +, or run with --security-opt no-new-privileges",
                "Such a program makes whoever starts it root while it runs. A fault in one of them turns an ordinary user into root. Most images never need them.",
            ),
        }
    }
}

impl fmt::Display for OwnRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.about().id)
    }
}
