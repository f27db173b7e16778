//! `mounts` and `docker-socket`: what of the host is mounted into containers, or will be by a volume.
//!
//! A path is judged as it is written, without `.` and `..`. Symbolic links are not seen, and a volume that is there already says nothing.
//! What these rules cannot say where it leads is refused: paths that do not begin at the root, options that the engine does not know,
//! templates (which `request` refuses first, of services, whose nodes expand them).

use super::Judged;
use crate::policy::HostAccessRule;
use crate::request::{HostAccess, Run, VolumeOptions, is_template};
use crate::text::clean;

/// Folders of the host's system: those of CIS, what they are on hosts of today, where people and engines keep everybody's data, and the
/// gate's own state. Its configuration and its socket are below `/etc` and `/run`.
const SENSITIVE: [&str; 24] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/img-authz",
    "/var/lib/kubelet",
    "/var/lib/rancher",
    "/var/run",
    "/var/snap",
    "/var/spool/at",
    "/var/spool/cron",
];

/// Where the sockets of engines are.
const SOCKETS: [&str; 6] =
    ["/run/containerd", "/run/docker", "/run/docker.sock", "/var/run/containerd", "/var/run/docker", "/var/run/docker.sock"];
/// What they are called elsewhere.
const SOCKET_NAMES: [&str; 2] = ["docker.sock", "containerd.sock"];
/// Where links lead to the whole host (`/proc/1/root`), and the second by a way through the first.
const EVERYWHERE: [&str; 2] = ["/proc", "/dev/fd"];

/// File systems that a volume may be of without anything of the host in it.
const OF_OTHERS: [&str; 5] = ["nfs", "nfs4", "cifs", "smb3", "smbfs"];
/// File systems on a device of the host: a socket in one is nobody's who listens.
const ON_DEVICES: [&str; 6] = ["btrfs", "ext2", "ext3", "ext4", "vfat", "xfs"];

/// What may be mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts {
    /// Paths of the host.
    pub allow: Vec<HostAccessRule>,
    /// Everything else of the host but its system may be mounted too.
    pub sensitive: bool,
    /// Volumes of another container may be.
    pub containers: bool,
    /// Volume drivers that may, whatever it is that they mount.
    pub drivers: Vec<HostAccessRule>,
}

/// Something that is mounted.
enum Mounted {
    /// A path of the host.
    Path(HostAccess),
    /// A file system on a device of the host.
    Device(String),
    /// What the host has in another way, such as layers of other folders, or what nobody can say.
    Host(String),
    /// What lies on another host.
    Elsewhere(String),
    /// What another program knows.
    Driver(HostAccess),
}

impl Mounts {
    pub(super) fn judge(&self, run: &Run<'_>) -> Judged {
        for mounted in mounted(run) {
            match mounted {
                Mounted::Path(path) if self.allow.iter().any(|rule| rule.allows(&path)) => {}
                Mounted::Path(path) if self.sensitive && !is_sensitive(&path.what) => {}
                Mounted::Path(path) => return Err(format!("it mounts `{}` of the host", clean(&path.what))),
                Mounted::Elsewhere(_) if self.sensitive => {}
                Mounted::Driver(driver) if self.drivers.iter().any(|rule| rule.allows(&driver)) => {}
                Mounted::Driver(HostAccess { id, what }) => return Err(format!("it mounts `{id} {}`", clean(&what))),
                Mounted::Device(what) | Mounted::Host(what) | Mounted::Elsewhere(what) => {
                    return Err(format!("it mounts `{}`", clean(&what)));
                }
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
        match mounted {
            Mounted::Path(HostAccess { what, .. }) if may_lead_to_a_socket(&what) => {
                return Err(format!("it mounts `{}` of the host", clean(&what)));
            }
            Mounted::Host(what) => return Err(format!("it mounts `{}`", clean(&what))),
            Mounted::Path(_) | Mounted::Device(_) | Mounted::Elsewhere(_) | Mounted::Driver(_) => {}
        }
    }
    Ok(())
}

fn may_lead_to_a_socket(path: &str) -> bool {
    let is_called_so = path.rsplit('/').next().is_some_and(|name| SOCKET_NAMES.contains(&name));
    // What was cut off may be a socket's name.
    let is_unknown = !path.starts_with('/') || path.ends_with('…') || is_template(path);
    let leads_everywhere = EVERYWHERE.iter().any(|folder| lies_in(path, folder));
    is_called_so || is_unknown || leads_everywhere || SOCKETS.iter().any(|socket| overlap(path, socket))
}

/// Of a path that does not begin at the root, or that something else may be made of, nobody knows where it leads.
fn is_sensitive(path: &str) -> bool {
    !path.starts_with('/') || is_template(path) || path == "/" || SENSITIVE.iter().any(|folder| overlap(path, folder))
}

/// Whether one lies in the other.
fn overlap(one: &str, other: &str) -> bool {
    lies_in(one, other) || lies_in(other, one)
}

fn lies_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn mounted(run: &Run<'_>) -> Vec<Mounted> {
    let by_access = run.host_access.iter().filter_map(|access| match access.id {
        "bind" => Some(Mounted::Path(access.clone())),
        "mount" | "volume-driver" => Some(Mounted::Driver(access.clone())),
        _ => None,
    });
    by_access.chain(run.volumes.iter().filter_map(of_options)).collect()
}

/// What the engine's own driver mounts (moby, `volume/local`): it hands type, options and device to mount(2). Words of the options that it
/// knows, in one spelling alone, become flags; the rest goes to the file system, and some of those pass over what they do not know.
fn of_options(options: &VolumeOptions) -> Option<Mounted> {
    let words = || options.value("o").split(',');
    let is_bind = |word: &str| matches!(word, "bind" | "rbind");
    let all = || {
        let told: Vec<String> = options.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        told.join(",")
    };
    if options.0.iter().any(|(_, value)| is_template(value)) {
        return Some(Mounted::Host(all()));
    }
    if words().any(is_bind) {
        // A relative device is taken from the folder that the engine was started in.
        return Some(match options.value("device") {
            device if device.starts_with('/') => Mounted::Path(HostAccess::bind(device)),
            _ => Mounted::Host(all()),
        });
    }
    match options.value("type") {
        _ if words().any(|word| is_bind(word.trim().to_ascii_lowercase().as_str())) => Some(Mounted::Host(all())),
        "" if options.0.iter().all(|(name, _)| name == "size") => None,
        "tmpfs" => None,
        kind if OF_OTHERS.contains(&kind) => Some(Mounted::Elsewhere(all())),
        kind if ON_DEVICES.contains(&kind) => Some(Mounted::Device(all())),
        _ => Some(Mounted::Host(all())),
    }
}
