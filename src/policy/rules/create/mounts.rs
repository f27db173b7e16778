//! `mounts` and `docker-socket`: what of the host is mounted into containers, or will be by a volume.
//!
//! A path is judged as it is written, without `.` and `..`. Symbolic links are not seen, and a volume that is there already says nothing.

use super::Judged;
use crate::policy::HostAccessRule;
use crate::request::{HostAccess, Run, VolumeOptions};
use crate::text::clean;

/// Folders of the host's system: those of CIS, what they are on hosts of today, and where engines keep everybody's data.
const SENSITIVE: [&str; 16] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/run",
    "/var/spool/cron",
];

/// Where the sockets of engines are.
const SOCKETS: [&str; 6] =
    ["/run/containerd", "/run/docker", "/run/docker.sock", "/var/run/containerd", "/var/run/docker", "/var/run/docker.sock"];
/// What they are called elsewhere.
const SOCKET_NAMES: [&str; 2] = ["docker.sock", "containerd.sock"];

/// File systems that a volume may be of without anything of the host in it.
const OF_OTHERS: [&str; 5] = ["nfs", "nfs4", "cifs", "smb3", "smbfs"];

/// What may be mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts {
    /// Paths of the host.
    pub allow: Vec<HostAccessRule>,
    /// Everything else of the host but its system may be mounted too.
    pub sensitive: bool,
    /// Volumes of another container may be.
    pub containers: bool,
}

/// Something that is mounted.
enum Mounted {
    /// A path of the host.
    Path(HostAccess),
    /// What the host has in another way: a device, layers of other folders.
    Host(String),
    /// What lies elsewhere, or what another program knows.
    Elsewhere(String),
}

impl Mounts {
    pub(super) fn judge(&self, run: &Run<'_>) -> Judged {
        for mounted in mounted(run) {
            match mounted {
                Mounted::Path(path) if self.allow.iter().any(|rule| rule.allows(&path)) => {}
                Mounted::Path(path) if self.sensitive && !is_sensitive(&path.what) => {}
                Mounted::Path(path) => return Err(format!("it mounts `{}` of the host", clean(&path.what))),
                Mounted::Elsewhere(_) if self.sensitive => {}
                Mounted::Host(what) | Mounted::Elsewhere(what) => return Err(format!("it mounts `{}`", clean(&what))),
            }
        }
        let others = run.host_access.iter().find(|access| access.id == "volumes-from");
        match others.filter(|_| !self.containers) {
            Some(access) => Err(format!("it mounts the volumes of container `{}`", clean(&access.what))),
            None => Ok(()),
        }
    }
}

pub(super) fn socket(run: &Run<'_>) -> Judged {
    for mounted in mounted(run) {
        let Mounted::Path(HostAccess { what, .. }) = mounted else { continue };
        let is_called_so = what.rsplit('/').next().is_some_and(|name| SOCKET_NAMES.contains(&name));
        if is_called_so || SOCKETS.iter().any(|socket| overlap(&what, socket)) {
            return Err(format!("it mounts `{}` of the host", clean(&what)));
        }
    }
    Ok(())
}

/// Of a path that does not begin at the root nobody knows where it leads.
fn is_sensitive(path: &str) -> bool {
    !path.starts_with('/') || path == "/" || SENSITIVE.iter().any(|folder| overlap(path, folder))
}

/// Whether one lies in the other.
fn overlap(one: &str, other: &str) -> bool {
    let lies_in = |path: &str, folder: &str| {
        path.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    lies_in(one, other) || lies_in(other, one)
}

fn mounted(run: &Run<'_>) -> Vec<Mounted> {
    let by_access = run.host_access.iter().filter_map(|access| match access.id {
        "bind" => Some(Mounted::Path(access.clone())),
        "mount" | "volume-driver" => Some(Mounted::Elsewhere(format!("{} {}", access.id, access.what))),
        _ => None,
    });
    by_access.chain(run.volumes.iter().flat_map(of_options)).collect()
}

/// What the engine's own driver mounts (moby, `volume/local`): it hands type, options and device to mount(2).
fn of_options(options: &VolumeOptions) -> Option<Mounted> {
    let mut words = options.value("o").split(',').map(|word| word.trim().to_ascii_lowercase());
    let all = || {
        let told: Vec<String> = options.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        told.join(",")
    };
    if words.any(|word| matches!(word.as_str(), "bind" | "rbind")) {
        // A relative device is taken from the engine's own folder, which is the root.
        return Some(match options.value("device") {
            "" => Mounted::Host(all()),
            device => Mounted::Path(HostAccess::bind(device)),
        });
    }
    match options.value("type") {
        "" if options.0.iter().all(|(name, _)| name == "size") => None,
        "tmpfs" => None,
        kind if OF_OTHERS.contains(&kind) => Some(Mounted::Elsewhere(all())),
        _ => Some(Mounted::Host(all())),
    }
}
