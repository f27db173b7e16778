//! daemon.json on the disk: read, put in place whole with the one before beside it, and put back.

use std::io::{Error, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::files::{read_text, replace_regular};
use crate::policy::quoted;

/// Largest daemon.json that is edited.
const BYTES: u64 = 1 << 20;
/// What the file before the last change is called, behind its own name.
const BACKUP: &str = ".before-img-authz";
/// Mode of a daemon.json that was not there.
const MODE: u32 = 0o644;

/// daemon.json as it was found.
pub(super) enum Before {
    /// There is none.
    Missing,
    /// A regular file.
    File { text: String, mode: u32 },
}

impl Before {
    /// Reads a regular file. A link is of whoever made it: another program keeps that file.
    pub(super) fn read(path: &Path) -> std::io::Result<Self> {
        let found = match std::fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::Missing),
            Err(error) => return Err(error),
        };
        if !found.is_file() {
            return Err(Error::new(ErrorKind::InvalidInput, "it is a link, or not a file"));
        }
        Ok(Self::File { text: read_text(path, BYTES)?, mode: found.permissions().mode() & 0o7777 })
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Missing => "",
            Self::File { text, .. } => text,
        }
    }

    /// Puts the text in place, and the old one beside it, whose path it gives; not where the file has changed since it was read.
    pub(super) fn replace(&self, path: &Path, new: &str) -> Result<Option<PathBuf>, String> {
        let (kept, mode) = match self {
            Self::Missing => (None, MODE),
            Self::File { text, mode } => {
                let mut beside = path.as_os_str().to_owned();
                beside.push(BACKUP);
                let beside = PathBuf::from(beside);
                replace_regular(&beside, text.as_bytes(), *mode).map_err(|error| about(&beside, &error))?;
                (Some(beside), *mode)
            }
        };
        if !self.is_still(path) {
            return Err(format!("{} was changed by somebody else meanwhile", shown(path)));
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| about(folder, &error))?;
        }
        replace_regular(path, new.as_bytes(), mode).map_err(|error| about(path, &error))?;
        Ok(kept)
    }

    fn is_still(&self, path: &Path) -> bool {
        match (self, Self::read(path)) {
            (Self::Missing, Ok(Self::Missing)) => true,
            (Self::File { text, .. }, Ok(Self::File { text: now, .. })) => *text == now,
            _ => false,
        }
    }

    /// Puts the file back as it was, where it still is what was written: nobody else's change is taken away.
    pub(super) fn put_back(&self, path: &Path, written: &str) -> std::io::Result<()> {
        match (self, Self::read(path)?) {
            (Self::Missing, Self::Missing) => Ok(()),
            (_, Self::File { text, .. }) if text != written => Err(Error::other("it was changed by somebody else meanwhile")),
            (_, Self::Missing) => Err(Error::other("it was removed by somebody else meanwhile")),
            (Self::Missing, Self::File { .. }) => std::fs::remove_file(path),
            (Self::File { text, mode }, Self::File { .. }) => replace_regular(path, text.as_bytes(), *mode),
        }
    }
}

/// A path for people.
pub(super) fn shown(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// An error with the path it is about.
pub(super) fn about(path: &Path, error: &Error) -> String {
    format!("{}: {error}", shown(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changed_meanwhile_is_not_written_over_and_one_that_did_not_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.json");
        let says = || std::fs::read_to_string(&path).unwrap();
        let missing = Before::read(&path).unwrap();
        std::fs::write(&path, "{}").unwrap();
        assert!(missing.replace(&path, "new").unwrap_err().contains("somebody else"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let before = Before::read(&path).unwrap();
        let kept = before.replace(&path, "new").unwrap().unwrap();
        assert_eq!((says().as_str(), std::fs::read_to_string(&kept).unwrap().as_str()), ("new", "{}"));
        assert!(before.replace(&path, "newer").is_err());
        std::fs::write(&path, "theirs").unwrap();
        for before in [&before, &missing] {
            assert!(before.put_back(&path, "new").unwrap_err().to_string().contains("somebody else"));
            assert_eq!(says(), "theirs");
        }
        std::fs::write(&path, "new").unwrap();
        before.put_back(&path, "new").unwrap();
        assert_eq!(says(), "{}");
        for file in [&path, &kept] {
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        missing.put_back(&path, "{}").unwrap();
        assert!(!path.exists() && missing.put_back(&path, "{}").is_ok());
    }
}
