//! Rules that the policy has, in its own words, with what an audit says beside them: how bad it is, and what it means.

use super::{Rule, Severity};
use crate::policy::{self, CreateRuleId, ImageRuleId};

const EVERYWHERE: &str = "Dockerfile, image, host";

/// A rule of the policy's, by its own names and words.
const fn of_policy(about: policy::About, severity: Severity, at: &'static str, means: &'static str) -> Rule {
    Rule { id: about.id, refs: about.refs, severity, at, finds: about.refuses, remedy: about.remedy, means }
}

pub(super) const fn image(id: ImageRuleId) -> Rule {
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

pub(super) const fn create(id: CreateRuleId) -> Rule {
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
