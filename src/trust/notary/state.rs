//! Verified trust data kept on disk, one file per repository (docs/notary-v1.md, sections 10 and 14, "State").
//!
//! A file is named by the hash of the repository's name, so that no two names share one and none can leave the folder. It is
//! checksummed, replaced atomically under a lock that other processes respect, and never trusted: what is read is verified
//! again from the root down. What does not verify or cannot be read is reported and never quietly replaced: versions and the
//! root that was trusted count, so that only a pin or a person (`trust forget`) begins anew.
//!
//! Beside the trust data stands the server's last answer, if that was a bad one: a restart during an outage must not revive
//! what was withdrawn.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::format::{Bad, Edition, MAGIC, decode, encode, size, take_text};
use crate::trust::tuf::Stored;

/// Largest state file read: the files of one verification and some floors. Stops a planted file from filling memory.
pub(super) const FILE_BYTES: u64 = 32 << 20;
/// Longest wait for another process that is writing the same repository.
const LOCK_TIME: Duration = Duration::from_secs(2);
/// Most repositories kept. Stops a server that serves endless valid repositories from filling the disk.
pub(super) const REPOSITORIES: usize = 10_000;
/// Most bytes in the folder for one more repository to be kept: ten times what so many ordinary ones take. Stops the same server from
/// filling the disk with large ones.
const FOLDER_BYTES: u64 = 2 << 30;

/// Errors of the system that say nothing about the file.
const FAILURES: [Errno; 8] =
    [Errno::ACCESS, Errno::PERM, Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO, Errno::STALE, Errno::INTR];

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct StateDir {
    path: PathBuf,
}

/// Names one time that a person had a repository forgotten: whoever knows it from before begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark([u8; 32]);

/// What a process has built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Base {
    /// The edition on disk.
    pub(super) edition: Option<Edition>,
    /// The last time it was forgotten before that was read.
    pub(super) mark: Option<Mark>,
}

/// What reading found.
#[derive(Debug)]
pub(super) enum Read {
    /// Nothing kept.
    Nothing,
    /// A whole file; not verified. With the server's last answer, if that was bad.
    Kept(Stored, Option<Bad>, Edition),
    /// Something that is no state of ours; why.
    Damaged(String),
    /// It may well be there and whole, and cannot be looked at now; why. Not the same as none: versions and the root that was
    /// trusted count, or anybody who can use up descriptors is rid of them.
    Failed(String),
}

impl Base {
    /// Whether a person had it forgotten since.
    pub(super) fn is_forgotten(self, mark: Option<Mark>) -> bool {
        mark.is_some() && mark != self.mark
    }
}

/// Why a file was not read.
enum Unread {
    /// What stands there is no file of ours.
    Wrong(String),
    /// The system could not, this time.
    Failed(String),
}

/// What writing did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is on disk.
    Done(Edition),
    /// Another process wrote first; what it wrote is to be read and built on.
    Moved,
    /// Files that should be there are not, so that nothing was written.
    Lost,
    /// The same, but the bad answer and the versions seen were: beside what stands there, or alone, which does not load and refuses.
    Noted(Edition),
}

impl StateDir {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn file(&self, repository: &str, ending: &str) -> PathBuf {
        let name = crate::image::Digest::of(repository.as_bytes()).hex();
        self.path.join(format!("{name}.{ending}"))
    }

    /// Reads what is kept of a repository. Does not wait, whatever kind of file stands there.
    pub(super) fn read(&self, repository: &str) -> Read {
        let path = self.file(repository, "state");
        let bytes = match read_regular(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Read::Nothing,
            Err(Unread::Wrong(why)) => return Read::Damaged(why),
            Err(Unread::Failed(why)) => return Read::Failed(why),
        };
        match decode(&bytes) {
            Some((stored, bad, edition)) if stored.repository == repository => Read::Kept(stored, bad, edition),
            Some(_) => Read::Damaged("it is another repository's".to_owned()),
            None => Read::Damaged("its checksum or form is wrong".to_owned()),
        }
    }

    /// Which edition is on disk, by the file's own word: enough to see that another process wrote.
    pub(super) fn edition(&self, repository: &str) -> Option<Edition> {
        let path = self.file(repository, "state");
        let file = OpenOptions::new().read(true).custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK)).open(path).ok()?;
        let mut head = Vec::new();
        file.take((MAGIC.len() + 32) as u64).read_to_end(&mut head).ok()?;
        head.strip_prefix(MAGIC)?.try_into().ok().map(Edition)
    }

    /// How large the file is; none has no bytes.
    pub(super) fn size(&self, repository: &str) -> u64 {
        std::fs::symlink_metadata(self.file(repository, "state")).map_or(0, |kept| kept.len().min(FILE_BYTES))
    }

    /// Moves a file that is no state of ours out of the way, once, over an earlier one.
    pub(super) fn set_aside(&self, repository: &str) {
        set_aside(&self.file(repository, "state"));
    }

    /// Sets aside what is kept, on a person's word, and says so to processes that have any edition of it in memory. Whether there was
    /// any.
    pub(super) fn forget(&self, repository: &str) -> Result<bool, String> {
        let path = self.file(repository, "state");
        if !self.path.is_dir() {
            return Ok(false);
        }
        let _lock = self.lock(repository)?;
        let mut mark = [0; 32];
        aws_lc_rs::rand::fill(&mut mark).map_err(|_| "the system has no random numbers".to_owned())?;
        let stands = || std::fs::symlink_metadata(&path).is_ok();
        let was_kept = stands();
        // Before the mark, which is read first: no reader has the new mark and the old state.
        set_aside(&path);
        if stands() {
            return Err(format!("`{}` cannot be moved away", path.display()));
        }
        // Also where nothing stood: a gate may have it in memory.
        let (new, marker) = (self.file(repository, "new"), self.file(repository, "forgotten"));
        replace(&new, &marker, &mark).map_err(|error| format!("`{}`: {error}", marker.display()))?;
        Ok(was_kept)
    }

    /// The last time a person had the repository forgotten. Not being able to look is not the same as never: nor as just now.
    pub(super) fn mark(&self, repository: &str) -> Result<Option<Mark>, String> {
        match read_regular(&self.file(repository, "forgotten")) {
            Ok(bytes) => Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(Mark)),
            Err(Unread::Wrong(_)) => Ok(None),
            Err(Unread::Failed(why)) => Err(why),
        }
    }

    /// Replaces what is kept, if it still is what the writer built on (`base`). Files that it says are there already are taken over.
    pub(super) fn write(&self, stored: Stored, bad: Option<&Bad>, base: Base) -> Result<Written, String> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|error| format!("the folder `{}` cannot be made: {error}", self.path.display()))?;
        let path = self.file(&stored.repository, "state");
        // Before the lock, which is a file as well and stays.
        if !path.exists() {
            self.room_for(size(&stored) as u64)?;
        }
        let _lock = self.lock(&stored.repository)?;
        let mark = self.mark(&stored.repository).map_err(|why| format!("`{}`: {why}", path.display()))?;
        if base.is_forgotten(mark) {
            return Ok(Written::Moved);
        }
        let (there, is_damaged) = match (self.read(&stored.repository), base.edition) {
            (Read::Kept(there, _, edition), Some(base)) if edition == base => (Some(there), false),
            (Read::Kept(..), _) => return Ok(Written::Moved),
            (Read::Failed(why), _) => return Err(format!("`{}`: {why}", path.display())),
            // What is in memory was verified and built on what stood here.
            (Read::Damaged(_), Some(_)) => (None, true),
            // The reader says what that means: nobody begins anew over it.
            (Read::Damaged(_), None) => return Ok(Written::Moved),
            (Read::Nothing, _) => (None, false),
        };
        let none = BTreeMap::new();
        let files = there.as_ref().map_or(&none, |there| &there.files);
        let (stored, is_whole) = match (stored.clone().whole(files), bad) {
            (Some(whole), _) => (whole, true),
            (None, None) => return Ok(Written::Lost),
            // What the server took back stays so after a restart, whatever became of the files.
            (None, Some(_)) => (stored.noted(there.as_ref()), false),
        };
        let (bytes, edition) = encode(&stored, bad);
        if is_damaged {
            set_aside(&path);
        }
        let new = self.file(&stored.repository, "new");
        replace(&new, &path, &bytes).map_err(|error| format!("`{}`: {error}", path.display()))?;
        Ok(if is_whole { Written::Done(edition) } else { Written::Noted(edition) })
    }

    /// Whether one more repository of so many bytes may be kept.
    fn room_for(&self, more: u64) -> Result<(), String> {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return Ok(()) };
        let (mut files, mut bytes) = (0, more);
        for entry in entries.flatten() {
            files += 1;
            bytes = bytes.saturating_add(entry.metadata().map_or(0, |kept| kept.len()));
            if files > 2 * REPOSITORIES {
                return Err(format!("the folder `{}` holds {REPOSITORIES} repositories, its limit", self.path.display()));
            }
            if bytes > FOLDER_BYTES {
                return Err(format!("the folder `{}` holds {FOLDER_BYTES} bytes, its limit for new ones", self.path.display()));
            }
        }
        Ok(())
    }

    /// The files of all repositories kept.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return Vec::new() };
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "state"))
            .take(2 * REPOSITORIES)
            .collect()
    }

    /// What one of them holds, read but not verified; where that fails, whose it is, as far as it tells, and why.
    pub(super) fn read_path(path: &Path) -> Result<(Stored, Option<Bad>), (String, String)> {
        let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = match read_regular(path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err((name(), "it is gone".to_owned())),
            Err(Unread::Wrong(why) | Unread::Failed(why)) => return Err((name(), why)),
        };
        let whose = || {
            let mut rest = bytes.strip_prefix(MAGIC)?.get(32..)?;
            let whose = take_text(&mut rest)?;
            let stem = crate::image::Digest::of(whose.as_bytes()).hex();
            (path.file_stem()?.to_str()? == stem).then_some(whose)
        };
        decode(&bytes)
            .map(|(stored, bad, _)| (stored, bad))
            .ok_or_else(|| (whose().unwrap_or_else(name), "its checksum or form is wrong".to_owned()))
    }

    /// The repository's lock. Held until dropped; a process that dies lets go of it.
    fn lock(&self, repository: &str) -> Result<File, String> {
        let path = self.file(repository, "lock");
        let open = || {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
                .open(&path)
        };
        let file = match open() {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::PermissionDenied || is_failure(&error) => {
                return Err(format!("`{}`: {error}", path.display()));
            }
            // Another kind of file stands there.
            Err(_) => {
                set_aside(&path);
                open().map_err(|error| format!("`{}`: {error}", path.display()))?
            }
        };
        let end = Instant::now() + LOCK_TIME;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(format!("`{}` is locked: {error}", path.display())),
            }
        }
    }
}

#[expect(clippy::cast_possible_wrap, reason = "open(2) flags are small positive numbers")]
const fn flags(flags: OFlags) -> i32 {
    flags.bits() as i32
}

/// Whether an error says nothing about the file.
fn is_failure(error: &std::io::Error) -> bool {
    FAILURES.iter().any(|failure| error.raw_os_error() == Some(failure.raw_os_error()))
}

/// The bytes of a regular file; `None` if there is none.
fn read_regular(path: &Path) -> Result<Option<Vec<u8>>, Unread> {
    let failed = |error: std::io::Error| Unread::Failed(error.to_string());
    let opened = OpenOptions::new().read(true).custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK)).open(path);
    let file = match opened {
        Ok(file) => file,
        // Where the folder is none, there is no state either.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) if is_failure(&error) => {
            return Err(failed(error));
        }
        Err(error) => return Err(Unread::Wrong(error.to_string())),
    };
    let kind = file.metadata().map_err(failed)?;
    if !kind.is_file() || kind.len() > FILE_BYTES {
        return Err(Unread::Wrong("it is not a file, or too large".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Renames to `.bad`, replacing an earlier one; what cannot be renamed over is left where it is.
fn set_aside(path: &Path) {
    let mut bad = path.as_os_str().to_owned();
    bad.push(".bad");
    if std::fs::rename(path, &bad).is_err() {
        // A folder stands on one side of the rename: clear the old one, which is ours, and try again.
        let _ = std::fs::remove_dir_all(&bad).or_else(|_| std::fs::remove_file(&bad));
        let _ = std::fs::rename(path, &bad);
    }
}

/// Writes `new`, syncs it, and puts it in the place of `path`. The lock makes the name `new` ours alone, so that what a
/// killed process left there is overwritten.
fn replace(new: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let open = || {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
            .open(new)
    };
    let mut file = open().or_else(|_| {
        set_aside(new);
        open()
    })?;
    file.write_all(bytes)?;
    // The content reaches the disk before the name does, so that a power cut leaves the old file or the new one, whole. The
    // folder is not synced: losing the newest of two good states is losing what the server says again.
    file.sync_data()?;
    std::fs::rename(new, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::trust::tuf::{Listed, StoredFloor};
    use crate::trust::{TrustCode, TrustError};

    const NOTHING: Base = Base { edition: None, mark: None };

    fn on(edition: Edition) -> Base {
        Base { edition: Some(edition), mark: None }
    }

    fn stored(repository: &str, raw: &[u8]) -> Stored {
        Stored {
            repository: repository.to_owned(),
            files: [("root".to_owned(), Arc::from(raw))].into(),
            kept: BTreeMap::new(),
            floors: [("root".to_owned(), StoredFloor { version: 7, content: [1; 32] })].into(),
            seen: "2030-01-01T00:00:00Z".parse().unwrap(),
            checked: "2030-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().join("trust"));
        let one = stored("r.example/a", b"raw");
        let Ok(Written::Done(edition)) = state.write(one.clone(), None, NOTHING) else { panic!("not written") };
        let Read::Kept(read, None, same) = state.read("r.example/a") else { panic!("not read") };
        assert_eq!((read, same), (one.clone(), edition));
        assert!(matches!(state.read("r.example/A"), Read::Nothing));
        // Written by another since: not overwritten.
        assert_eq!(state.write(one.clone(), None, NOTHING), Ok(Written::Moved));
        assert!(matches!(state.write(stored("r.example/a", b"new"), None, on(edition)), Ok(Written::Done(_))));
        assert_eq!(state.write(one.clone(), None, on(edition)), Ok(Written::Moved));
        assert_eq!(state.paths().iter().filter(|path| StateDir::read_path(path).is_ok()).count(), 1);
    }

    #[test]
    fn files_that_are_there_are_kept_on_and_none_is_made_up() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let listed = |raw: &[u8]| Listed { length: raw.len() as u64, sha256: Sha256::digest(raw).into() };
        let mut one = stored("r.example/a", b"raw");
        one.files.insert("targets".to_owned(), Arc::from(&b"tags"[..]));
        let next = |raw: &[u8]| Stored { kept: [("targets".to_owned(), listed(raw))].into(), ..stored("r.example/a", b"new") };
        // Nothing is there yet.
        assert_eq!(state.write(next(b"tags"), None, NOTHING), Ok(Written::Lost));
        assert!(matches!(state.read("r.example/a"), Read::Nothing));
        let Ok(Written::Done(edition)) = state.write(one.clone(), None, NOTHING) else { panic!("not written") };
        // Another file stands in its place.
        assert_eq!(state.write(next(b"tagS"), None, on(edition)), Ok(Written::Lost));
        assert!(matches!(state.read("r.example/a"), Read::Kept(same, ..) if same == one));
        let Ok(Written::Done(second)) = state.write(next(b"tags"), None, on(edition)) else { panic!("not written") };
        one.files.insert("root".to_owned(), Arc::from(&b"new"[..]));
        assert!(matches!(state.read("r.example/a"), Read::Kept(same, ..) if same == one));
        // A bad answer is noted all the same, with the highest versions seen, beside what stands there.
        let bad = Bad { error: TrustError::new(TrustCode::Withdrawn, "gone"), at: one.checked };
        let mut above = next(b"tagS");
        above.floors.insert("targets".to_owned(), StoredFloor { version: 9, content: [9; 32] });
        let Ok(Written::Noted(second)) = state.write(above, Some(&bad), on(second)) else { panic!("not noted") };
        let Read::Kept(noted, Some(_), _) = state.read("r.example/a") else { panic!("not read") };
        assert_eq!((&noted.files, noted.floors["targets"].version), (&one.files, 9));
        // What is damaged is left to who has all of it.
        let path = state.file("r.example/a", "state");
        std::fs::write(&path, "damaged").unwrap();
        assert_eq!(state.write(next(b"tags"), None, on(second)), Ok(Written::Lost));
        assert_eq!(std::fs::read(&path).unwrap(), b"damaged");
        // With a bad answer alone it is no state that loads: after a restart it refuses.
        assert!(matches!(state.write(next(b"tags"), Some(&bad), on(second)), Ok(Written::Noted(_))));
        assert!(matches!(state.read("r.example/a"), Read::Kept(noted, Some(_), _) if noted.files.is_empty()));
        let Read::Kept(_, _, edition) = state.read("r.example/a") else { panic!("not read") };
        assert!(matches!(state.write(one, None, on(edition)), Ok(Written::Done(_))));
    }

    #[test]
    fn what_a_person_had_forgotten_is_built_on_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let one = stored("r.example/a", b"raw");
        assert_eq!(StateDir::new(folder.path().join("none")).forget("r.example/a"), Ok(false));
        // Nothing is on disk, and all the same somebody may have it in memory.
        assert_eq!(state.forget("r.example/a"), Ok(false));
        let early = state.mark("r.example/a").unwrap();
        assert!(early.is_some() && state.write(one.clone(), None, NOTHING) == Ok(Written::Moved));
        std::fs::remove_file(state.file("r.example/a", "forgotten")).unwrap();
        let Ok(Written::Done(first)) = state.write(one.clone(), None, NOTHING) else { panic!("not written") };
        let new = stored("r.example/a", b"new");
        let Ok(Written::Done(second)) = state.write(new.clone(), None, on(first)) else { panic!("not written") };
        assert!(!on(second).is_forgotten(state.mark("r.example/a").unwrap()));
        assert_eq!(state.forget("r.example/a"), Ok(true));
        assert!(matches!(state.read("r.example/a"), Read::Nothing));
        // Nor by who has an older edition in memory, or has lost track of what he had.
        let mark = state.mark("r.example/a").unwrap();
        for base in [on(first), on(second), NOTHING] {
            assert!(base.is_forgotten(mark));
            assert_eq!(state.write(new.clone(), None, base), Ok(Written::Moved));
        }
        let Ok(Written::Done(next)) = state.write(new.clone(), None, Base { edition: None, mark }) else { panic!("not written") };
        assert!(matches!(state.write(one.clone(), None, Base { edition: Some(next), mark }), Ok(Written::Done(_))));
        // The same again, to the letter, is forgotten again.
        assert_eq!(state.forget("r.example/a"), Ok(true));
        assert_ne!(state.mark("r.example/a").unwrap(), mark);
        assert_eq!(state.write(new.clone(), None, Base { edition: None, mark }), Ok(Written::Moved));
    }

    #[test]
    fn a_bad_answer_is_kept_beside_what_was_known() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut one = stored("r.example/a", b"raw");
        for (index, code) in TrustCode::ALL.into_iter().enumerate() {
            // With the time of a check before the clock went back, and without.
            one.checked = if index % 2 == 0 { one.seen } else { "2029-12-31T00:00:00Z".parse().unwrap() };
            let bad = Bad { error: TrustError::new(code, "why `é`"), at: "2030-01-02T00:00:00.5Z".parse().unwrap() };
            let base = if let Read::Kept(_, _, edition) = state.read("r.example/a") { on(edition) } else { NOTHING };
            assert!(matches!(state.write(one.clone(), Some(&bad), base), Ok(Written::Done(_))));
            let Read::Kept(read, kept, _) = state.read("r.example/a") else { panic!("not read") };
            assert_eq!((read, kept), (one.clone(), Some(bad)));
        }
    }

    #[test]
    fn whatever_stands_in_the_place_of_a_state_file_is_told_and_replaced_only_by_who_knew_better() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let one = stored("r.example/a", b"raw");
        let path = state.file("r.example/a", "state");
        let Ok(Written::Done(known)) = state.write(one.clone(), None, NOTHING) else { panic!("not written") };
        let whole = std::fs::read(&path).unwrap();
        let mut cases: Vec<Box<dyn Fn()>> = Vec::new();
        for length in [0, 5, 30, 60, whole.len() - 1] {
            let cut = whole[..length].to_vec();
            let path = path.clone();
            cases.push(Box::new(move || std::fs::write(&path, &cut).unwrap()));
        }
        let (a, b, c, d) = (path.clone(), path.clone(), path.clone(), path.clone());
        cases.push(Box::new(move || std::fs::create_dir(&a).unwrap()));
        cases.push(Box::new(move || std::os::unix::fs::symlink("/etc/passwd", &b).unwrap()));
        cases.push(Box::new(move || {
            rustix::fs::mkfifoat(rustix::fs::CWD, &c, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        }));
        cases.push(Box::new(move || File::create(&d).unwrap().set_len(1 << 40).unwrap()));
        for damage in cases {
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
            damage();
            assert!(matches!(state.read("r.example/a"), Read::Damaged(_)));
            assert!(StateDir::read_path(&path).is_err());
            assert_eq!(state.write(one.clone(), None, NOTHING), Ok(Written::Moved));
            assert!(matches!(state.write(one.clone(), None, on(known)), Ok(Written::Done(_))));
            assert!(matches!(state.read("r.example/a"), Read::Kept(..)));
        }
        for ending in ["lock", "new"] {
            let path = state.file("r.example/a", ending);
            let _ = std::fs::remove_file(&path);
            std::fs::create_dir(&path).unwrap();
            let Read::Kept(_, _, edition) = state.read("r.example/a") else { panic!("not read") };
            assert!(matches!(state.write(one.clone(), None, on(edition)), Ok(Written::Done(_))));
        }
    }

    #[test]
    fn a_file_that_may_not_be_read_is_not_taken_for_a_damaged_one() {
        // Root reads whatever there is, so that the error is made here.
        for errno in [Errno::ACCESS, Errno::PERM, Errno::MFILE, Errno::IO] {
            assert!(is_failure(&errno.into()), "{errno}");
        }
        // What stands there is another kind of thing, and no state.
        for errno in [Errno::LOOP, Errno::ISDIR, Errno::NXIO] {
            assert!(!is_failure(&errno.into()), "{errno}");
        }
    }

    #[test]
    fn a_full_folder_takes_nothing_more_not_even_locks() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        state.write(stored("r.example/known", b"raw"), None, NOTHING).unwrap();
        let full = 2 * REPOSITORIES + 1;
        for index in 2..full {
            File::create(folder.path().join(format!("{index}.state"))).unwrap();
        }
        let count = || std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(count(), full);
        for name in ["r.example/a", "r.example/b", "r.example/c"] {
            assert!(state.write(stored(name, b"raw"), None, NOTHING).is_err());
        }
        assert_eq!(count(), full);
        // What is known is kept on.
        let Read::Kept(_, _, edition) = state.read("r.example/known") else { panic!("not read") };
        assert!(matches!(state.write(stored("r.example/known", b"new"), None, on(edition)), Ok(Written::Done(_))));
    }

    #[test]
    fn a_folder_full_of_bytes_takes_no_new_repository_and_keeps_on_what_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let Ok(Written::Done(edition)) = state.write(stored("r.example/known", b"raw"), None, NOTHING) else {
            panic!("not written")
        };
        File::create(folder.path().join("large.state")).unwrap().set_len(FOLDER_BYTES - 400).unwrap();
        assert!(state.write(stored("r.example/a", &[b' '; 400]), None, NOTHING).unwrap_err().contains("its limit"));
        assert!(matches!(state.write(stored("r.example/known", &[b' '; 400]), None, on(edition)), Ok(Written::Done(_))));
        std::fs::remove_file(folder.path().join("large.state")).unwrap();
        assert!(matches!(state.write(stored("r.example/a", &[b' '; 400]), None, NOTHING), Ok(Written::Done(_))));
    }

    #[test]
    fn no_reader_finds_the_new_mark_beside_the_old_state() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut marks = vec![None];
        let mut seen = Vec::new();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0_u8..200 {
                    let base = Base { edition: None, mark: state.mark("r.example/a").unwrap() };
                    assert!(matches!(state.write(stored("r.example/a", &[round]), None, base), Ok(Written::Done(_))));
                    assert_eq!(state.forget("r.example/a"), Ok(true));
                    marks.push(state.mark("r.example/a").unwrap());
                }
            });
            // As the verifier reads, without the lock.
            while !writer.is_finished() {
                let mark = state.mark("r.example/a").unwrap();
                if let Read::Kept(stored, ..) = state.read("r.example/a") {
                    seen.push((mark, stored.files["root"][0]));
                }
            }
        });
        seen.dedup();
        for (mark, round) in seen {
            let forgotten = marks.iter().position(|one| *one == mark).unwrap();
            assert!(usize::from(round) >= forgotten, "round {round} under mark {forgotten}");
        }
    }

    proptest! {
        #[test]
        fn no_file_makes_the_reader_panic(tail in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&Sha256::digest(&tail));
            bytes.extend_from_slice(&tail);
            let _ = decode(&bytes);
        }
    }
}
