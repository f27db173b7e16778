//! Unix sockets of the gate's own, and the way to them: a managed plugin's state folder has a path that is longer than a socket's address
//! holds, so the folder is opened and its socket named through it.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Longest name of a socket in its folder, bytes: an address holds 107, with the way through the folder.
const NAME_BYTES: usize = 60;

/// An open folder; paths through it count as long as it is.
pub(super) struct Folder(OwnedFd);

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// A file in it.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()).into()
    }
}

/// A new socket at `path`, mode 0600 from the first moment that others can find it. One that an earlier gate left gives way; one that is
/// served, and what is no socket, stay.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no file"));
    };
    if name.len() > NAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("its name is longer than {NAME_BYTES} bytes")));
    }
    let folder = Folder::open(folder)?;
    let (there, new) = (folder.at(name), folder.at(&format!(".{name}.{}", std::process::id())));
    match std::fs::symlink_metadata(&there) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "what stands there is not a socket; remove it"));
        }
        Ok(_) if UnixStream::connect(&there).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process serves it"));
        }
        Ok(_) | Err(_) => {}
    }
    // An earlier process of this id, which broke off.
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, &there)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_gives_way_and_what_is_served_or_no_socket_stays() {
        let deep = tempfile::tempdir().unwrap().keep().join("x".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("status.sock");
        drop(bind(&path).unwrap());
        let _serving = bind(&path).unwrap();
        assert_eq!(std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let file = deep.join("file");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(bind(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
        assert!(bind(&deep.join("x".repeat(61))).is_err());
        assert_eq!(std::fs::read_dir(&deep).unwrap().count(), 2, "nothing else is left");
        std::fs::remove_dir_all(deep.parent().unwrap()).unwrap();
    }
}
