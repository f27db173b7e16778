//! The socket: given by systemd, or made here in place of a stale one.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process answers on it.
    #[error("another process serves `{}`; stop it, or give another --socket", path.display())]
    Busy {
        /// The socket.
        path: PathBuf,
    },
    /// Something else than a socket stands there.
    #[error("`{}` is not a socket; remove it, or give another --socket", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The system said no.
    #[error("the socket `{}` cannot be made: {source}", path.display())]
    System {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The first socket that systemd passed (`LISTEN_FDS`), or else a new one at `path`, mode 0600.
pub fn listen(path: &Path) -> Result<UnixListener, ListenError> {
    let system = |source| ListenError::System { path: path.to_owned(), source };
    let listener = match listenfd::ListenFd::from_env().take_unix_listener(0).map_err(system)? {
        Some(passed) => passed,
        None => bind(path)?,
    };
    listener.set_nonblocking(true).map_err(system)?;
    Ok(listener)
}

fn bind(path: &Path) -> Result<UnixListener, ListenError> {
    let system = |source| ListenError::System { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(ListenError::NotASocket { path: path.to_owned() }),
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(ListenError::Busy { path: path.to_owned() }),
        // Nobody answers: an earlier gate left it.
        Ok(_) => std::fs::remove_file(path).map_err(system)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system(error)),
    }
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(system)?;
    }
    let listener = UnixListener::bind(path).map_err(system)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(system)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x/img-authz.sock");
        drop(bind(&path).unwrap());
        assert!(path.exists());
        bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_served_socket_and_other_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("img-authz.sock");
        let _serving = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(ListenError::Busy { .. })));
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(bind(&file), Err(ListenError::NotASocket { .. })));
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
    }
}
