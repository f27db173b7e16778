//! What registries took back: an empty file for each, so that a bundle that was made before does not bring it back. Its name says of which digest,
//! and for whom and where it was; its time is when. It counts for its digest whoever asks, and wherever: a bundle chooses its repository itself.
//!
//! A note ends when that registry gives a good signature again, when it is forgotten, or on a person's word: never to make room.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, OFlags, utimensat};

use super::record::Key;
use crate::image::Digest;

const ENDING: &str = ".withdrawn";
/// Stands for all: there were more than are noted one by one. It stays until a person removes it.
const ALL: &str = "all.withdrawn";
/// Most of them. Only what verified once is withdrawn.
const MOST: usize = 4096;

/// A note that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    path: PathBuf,
    /// By which another one of this name is known.
    is: (u64, i64, i64),
}

fn file_name(key: &Key) -> String {
    format!("{}.{}{ENDING}", key.digest.hex(), key.hex())
}

/// It was withdrawn now. The record becomes the note: that needs no space, and there is no moment at which neither is there. Gives whether the
/// record is gone.
pub(super) fn withdraw(folder: &Path, key: &Key) -> std::io::Result<bool> {
    std::fs::DirBuilder::new().recursive(true).create(folder)?;
    let (record, mut note) = (folder.join(key.file_name()), folder.join(file_name(key)));
    let is_new = matches!(std::fs::symlink_metadata(&note), Err(error) if error.kind() == ErrorKind::NotFound);
    if is_new && names(folder)?.len() >= MOST {
        note = folder.join(ALL);
    }
    let is_file = std::fs::symlink_metadata(&record).map(|found| found.is_file());
    let gone = match is_file {
        Ok(true) => std::fs::rename(&record, &note).is_ok(),
        Ok(false) => false,
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    // Nothing stands in it: what the record held is not needed, and an empty file fits on a full disk.
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(&note)?.sync_all()?;
    let _ = utimensat(CWD, &note, &super::NOW, AtFlags::SYMLINK_NOFOLLOW);
    File::open(folder)?.sync_all()?;
    Ok(gone)
}

/// It is there again: its registry says so.
pub(super) fn end(folder: &Path, key: &Key) {
    let _ = std::fs::remove_file(folder.join(file_name(key)));
}

/// Whether there is a note of this itself. What cannot be looked at is one.
pub(super) fn is_noted(folder: &Path, key: &Key) -> bool {
    !matches!(std::fs::symlink_metadata(folder.join(file_name(key))), Err(error) if error.kind() == ErrorKind::NotFound)
}

/// All notes that count for a digest.
pub(super) fn notes(folder: &Path, digest: &Digest) -> std::io::Result<Vec<Note>> {
    let mut notes = Vec::new();
    for name in names(folder)?.into_iter().filter(|name| name == ALL || is_of(name, digest)) {
        let path = folder.join(name);
        match std::fs::symlink_metadata(&path) {
            Ok(found) => notes.push(Note { path, is: (found.ino(), found.mtime(), found.mtime_nsec()) }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(notes)
}

/// When the last of these was made; `None`: there is none.
pub(super) fn last(notes: &[Note]) -> Option<Timestamp> {
    notes.iter().map(|note| Timestamp::from_second(note.is.1).unwrap_or(Timestamp::UNIX_EPOCH)).max()
}

/// A person says that it was signed again since: ends these, as they were seen, but not what stands for all.
pub(super) fn undo(notes: &[Note]) {
    for note in notes.iter().filter(|note| !note.path.ends_with(ALL)) {
        let is_same =
            std::fs::symlink_metadata(&note.path).is_ok_and(|found| (found.ino(), found.mtime(), found.mtime_nsec()) == note.is);
        if is_same {
            let _ = std::fs::remove_file(&note.path);
        }
    }
}

/// Forgets of a digest that it was withdrawn, wherever that was.
pub(super) fn forget(folder: &Path, digest: &Digest) -> std::io::Result<()> {
    for name in names(folder)?.into_iter().filter(|name| is_of(name, digest)) {
        match std::fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn is_of(name: &str, digest: &Digest) -> bool {
    name.strip_prefix(&digest.hex()).is_some_and(|rest| rest.starts_with('.'))
}

fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && name.ends_with(ENDING)
        {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(repository: &str, content: &[u8]) -> Key {
        Key { verifier: "release".parse().unwrap(), repository: repository.parse().unwrap(), digest: Digest::of(content) }
    }

    #[test]
    fn at_the_bound_no_note_goes_and_all_counts_as_withdrawn() {
        let folder = tempfile::tempdir().unwrap();
        let known = key("r.example/app", b"known");
        withdraw(folder.path(), &known).unwrap();
        for number in 1..MOST {
            std::fs::write(folder.path().join(format!("{number}{ENDING}")), b"").unwrap();
        }
        // One that is noted takes no place.
        withdraw(folder.path(), &known).unwrap();
        assert_eq!(names(folder.path()).unwrap().len(), MOST);
        assert!(notes(folder.path(), &Digest::of(b"other")).unwrap().is_empty());
        withdraw(folder.path(), &key("r.example/app", b"more")).unwrap();
        for content in [b"more".as_slice(), b"known", b"other"] {
            let notes = notes(folder.path(), &Digest::of(content)).unwrap();
            assert!(last(&notes).is_some());
            undo(&notes);
        }
        assert!(!notes(folder.path(), &Digest::of(b"other")).unwrap().is_empty(), "it stays");
        assert!(!is_noted(folder.path(), &known));
    }

    #[test]
    fn a_note_that_was_made_since_is_not_undone() {
        let folder = tempfile::tempdir().unwrap();
        let key = key("r.example/app", b"a");
        withdraw(folder.path(), &key).unwrap();
        let seen = notes(folder.path(), &key.digest).unwrap();
        std::fs::write(folder.path().join(key.file_name()), b"{}").unwrap();
        assert!(withdraw(folder.path(), &key).unwrap());
        undo(&seen);
        assert!(is_noted(folder.path(), &key));
        forget(folder.path(), &key.digest).unwrap();
        assert!(!is_noted(folder.path(), &key));
    }
}
