//! How files of the operator are read: regular ones, bounded, without waiting. And how a file is put in the place of another.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// What a written file is to outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlives {
    /// The process alone: what is meaningless once the host has gone down is not waited for.
    Process,
    /// The host's power as well: its bytes are synced first, and then its name.
    Power,
}

/// Files with their text, in the order they were read. Some hold secrets: `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Texts(pub Vec<(PathBuf, String)>);

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(path, _)| path)).finish()
    }
}

/// A regular file of at most `limit` bytes. Does not wait, whatever stands in its place: a FIFO would, for ever.
pub fn read_bytes(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    read_opened(OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?, limit)
}

fn read_opened(file: File, limit: u64) -> std::io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if read as u64 > limit { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// [`read_bytes`] of a file that is text.
pub fn read_text(path: &Path, limit: u64) -> std::io::Result<String> {
    text(read_bytes(path, limit)?)
}

fn text(bytes: Vec<u8>) -> std::io::Result<String> {
    String::from_utf8(bytes).map_err(|_| std::io::Error::new(ErrorKind::InvalidData, "it is not text"))
}

/// [`read_text`] of a file that only root, or who runs this, may change: no symbolic link, and neither it nor its folder open to others, nor
/// a folder above in which others may put another in the place of the next.
pub fn read_owned(path: &Path, limit: u64) -> std::io::Result<String> {
    text(read_owned_bytes(path, limit)?)
}

/// The same of a file that need not be text.
pub fn read_owned_bytes(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        let is_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        if is_link { std::io::Error::new(ErrorKind::InvalidInput, "it is a symbolic link") } else { error }
    })?;
    // What was opened is looked at, whatever stands in its place by then.
    let opened = file.metadata()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    closed_to_others("it", &opened, false)?;
    closed_to_others("its folder", &std::fs::metadata(folder)?, false)?;
    closed_above(folder)?;
    read_opened(file, limit)
}

/// Refuses a folder that others than root, or who runs this, may change, as [`read_owned`] does for the files in it; and what is none.
pub fn owned_folder(folder: &Path) -> std::io::Result<()> {
    let found = std::fs::symlink_metadata(folder)?;
    if !found.is_dir() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a folder, or is a symbolic link"));
    }
    closed_to_others("it", &found, false)?;
    closed_above(folder)
}

/// Refuses a folder that is there and is not root's alone, or that of whoever runs this: open to nobody else in any way. Of one that is not there,
/// those above are looked at.
pub fn owned_or_absent(folder: &Path) -> std::io::Result<()> {
    match std::fs::symlink_metadata(folder) {
        Ok(found) => {
            owned_folder(folder)?;
            if found.mode() & 0o077 != 0 {
                let why = format!("it is open to others (mode {:04o}): chmod 0700", found.mode() & 0o7777);
                return Err(std::io::Error::new(ErrorKind::PermissionDenied, why));
            }
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            // What is nowhere is open to nobody.
            if above.exists() { owned_folder(above) } else { Ok(()) }
        }
        Err(error) => Err(error),
    }
}

/// Opens a file of which only the lock counts, and makes it where there is none: a regular one, and no link. Does not wait.
pub fn open_lock(path: &Path) -> std::io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

/// Refuses a folder above this one in which others may put another in the place of the next.
fn closed_above(folder: &Path) -> std::io::Result<()> {
    // As it is written and as it is: a link on the way lies in a folder too.
    for way in [std::path::absolute(folder)?, folder.canonicalize()?] {
        for above in way.ancestors().skip(1) {
            closed_to_others(&format!("the folder `{}`", above.display()), &std::fs::metadata(above)?, true)?;
        }
    }
    Ok(())
}

/// Refuses what others than root, or who runs this, may change. In a sticky folder they may add entries, and change none but their own.
fn closed_to_others(what: &str, metadata: &std::fs::Metadata, may_be_sticky: bool) -> std::io::Result<()> {
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    let is_open = mode & 0o022 != 0 && !(may_be_sticky && mode & 0o1000 != 0);
    if is_open || (owner != 0 && owner != rustix::process::geteuid().as_raw()) {
        let why = format!("{what} may be changed by others than root (mode {mode:04o}, owner {owner}): chown root, chmod go-w");
        return Err(std::io::Error::new(ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

/// The files of a folder that have one of these endings, sorted by name; none where there is no such folder. `count` and `limit`
/// bound how many they may be, and the bytes of each.
pub fn read_folder(folder: &Path, endings: &[&str], count: usize, limit: u64) -> Result<Texts, String> {
    let told = |path: &Path, error: &std::io::Error| format!("`{}` cannot be read: {error}", path.display());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Texts::default()),
        Err(error) => return Err(told(folder, &error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| told(folder, &error))?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| endings.contains(&ending)) {
            paths.push(path);
        }
        if paths.len() > count {
            return Err(format!("`{}` holds more than {count} files", folder.display()));
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| match read_text(&path, limit) {
            Ok(text) => Ok((path, text)),
            Err(error) => Err(told(&path, &error)),
        })
        .collect::<Result<_, _>>()
        .map(Texts)
}

/// Puts a file in the place of another, whole or not at all: who reads sees the old one or the new one, also after a crash.
/// `mode` is what it has then, whatever the umask.
pub fn replace(path: &Path, content: &[u8], mode: u32, outlives: Outlives) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let mut file = tempfile::Builder::new().prefix(".new-").suffix(".tmp").tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    if outlives == Outlives::Power {
        file.as_file().sync_all()?;
    }
    file.persist(path).map_err(|error| error.error)?;
    match outlives {
        Outlives::Process => Ok(()),
        Outlives::Power => File::open(folder)?.sync_all(),
    }
}

/// As [`replace`], where a person says which file: what is there and is not a regular file stays (a link, `/dev/null`).
pub fn replace_regular(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => {
            return Err(std::io::Error::new(ErrorKind::InvalidInput, "what is there is not a regular file"));
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(_) | Err(_) => {}
    }
    replace(path, content, mode, Outlives::Power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_else_may_change_is_read_where_that_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "text").unwrap();
        let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        set(&file, 0o644);
        assert_eq!(read_owned(&file, 4).unwrap(), "text");
        assert_eq!(read_owned(&file, 3).unwrap_err().kind(), ErrorKind::FileTooLarge);
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(read_owned(&link, 4).unwrap_err().to_string().contains("symbolic link"));
        assert!(read_owned(folder.path(), 4).is_err());
        set(&file, 0o664);
        assert!(read_owned(&file, 4).unwrap_err().to_string().contains("may be changed by others than root (mode 0664"));
        set(&file, 0o600);
        set(folder.path(), 0o777);
        assert!(read_owned(&file, 4).unwrap_err().to_string().contains("its folder may be changed by others"));
        // Who may rename the folder may put an older one in its place.
        set(folder.path(), 0o755);
        let (inner, way) = (folder.path().join("inner"), folder.path().join("way"));
        std::fs::create_dir(&inner).unwrap();
        std::fs::rename(&file, inner.join("file")).unwrap();
        std::os::unix::fs::symlink(&inner, &way).unwrap();
        for folder in [&inner, &way] {
            assert_eq!(read_owned(&folder.join("file"), 4).unwrap(), "text");
        }
        set(folder.path(), 0o777);
        for way in [&inner, &way] {
            let told = read_owned(&way.join("file"), 4).unwrap_err().to_string();
            assert!(told.contains(&format!("the folder `{}` may be changed by others", folder.path().display())), "{told}");
        }
        set(folder.path(), 0o1777);
        assert_eq!(read_owned(&inner.join("file"), 4).unwrap(), "text");
    }

    #[test]
    fn neither_a_link_nor_what_it_points_to_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        std::fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace_regular(&link, b"new", 0o644).unwrap_err();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "old");
        assert!(link.is_symlink());
        replace_regular(Path::new("/dev/null"), b"new", 0o644).unwrap_err();
        for path in [target, folder.path().join("none")] {
            replace_regular(&path, b"new", 0o644).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (content, mode, outlives) in [("old", 0o644, Outlives::Power), ("new", 0o600, Outlives::Process)] {
            replace(&path, content.as_bytes(), mode, outlives).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
        // A folder in its place stays, and so does nothing of the new file.
        std::fs::create_dir(folder.path().join("taken")).unwrap();
        replace(&folder.path().join("taken"), b"x", 0o600, Outlives::Power).unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_is_read_within_bounds_and_one_that_is_not_there_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.crt", "a.crt", "README"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let read = |count, limit| read_folder(folder.path(), &["crt"], count, limit);
        let texts: Vec<String> = read(2, 5).unwrap().0.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["a.crt", "b.crt"]);
        assert!(read(1, 5).is_err() && read(2, 4).is_err());
        assert_eq!(read_folder(&folder.path().join("none"), &["crt"], 1, 1), Ok(Texts::default()));
        assert!(read_folder(&folder.path().join("README"), &["crt"], 1, 1).is_err());
        let shown = format!("{:?}", Texts(vec![("a.key".into(), "secret".to_owned())]));
        assert_eq!(shown, "[\"a.key\"]");
    }
}
