//! Which report of a scan was the newest that was seen of an image, in the state folder: who takes it out of the registry gives no older one
//! its place. A file for each digest and whose reports count; several reports may be of one time.
//!
//! Only what was signed by who must sign is remembered, so that nobody else fills the folder.

use crate::order::sort_by_key;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs::{File as Open, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

use super::error::Unfit;
use crate::files::{Outlives, read_owned, replace};
use crate::image::Digest;
use crate::registry::has_one_reading;
use crate::trust::asking::Generations;
use crate::trust::hand::Hand;

/// Largest file: one with [`REPORTS`] has 5 KB.
const FILE_BYTES: u64 = 16 << 10;
/// Most files. Beyond it goes what was seen for the first time longest ago; a host runs some hundred images.
const FILES: usize = 8192;
/// How many go at once then.
const GONE: usize = 512;
/// Most reports of one time that are remembered.
const REPORTS: usize = 64;
/// Most that are remembered in one of two generations in memory.
const IN_MEMORY: usize = 1024;
/// How long a decision waits for the disk; the write itself goes on.
const DISK_TIME: Duration = Duration::from_secs(1);
const VERSION: u32 = 1;
const ENDING: &str = ".json";
/// Who holds it compares and writes: a gate, and an import beside it.
const LOCK: &str = "lock";

/// The folder of what was seen.
pub struct Newest {
    folder: PathBuf,
    /// Whether anything is written: by a gate, and not by a command that looks at what a gate has.
    is_kept: bool,
    known: Mutex<Generations<String, Seen>>,
    /// What could not be written: it is in memory alone.
    unwritten: Mutex<HashMap<String, (Key, Seen)>>,
    /// Compares and writes, one after the other: what is older never takes the place of what is newer.
    disk: Hand,
}

/// Of what it is the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// What tells the reports that count from others: who signs, of which type, by which scanner.
    pub(super) whose: String,
    /// Of which image.
    pub(super) digest: Digest,
}

/// The newest reports, which are of one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) at: Timestamp,
    /// What was signed, by its hash.
    pub(super) reports: BTreeSet<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    whose: String,
    digest: Digest,
    at: Timestamp,
    reports: BTreeSet<Digest>,
}

impl fmt::Debug for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Newest").field("folder", &self.folder).field("is_kept", &self.is_kept).finish_non_exhaustive()
    }
}

impl Key {
    fn file_name(&self) -> String {
        format!("{}{ENDING}", Digest::of(format!("{}\n{}", self.whose, self.digest).as_bytes()).hex())
    }
}

impl Seen {
    /// What was seen by either.
    fn and(self, other: Self) -> Self {
        match self.at.cmp(&other.at) {
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Equal => Self { at: self.at, reports: self.reports.union(&other.reports).copied().collect() },
        }
    }

    /// Whether all that was seen earlier is here, or something newer.
    fn has_all_of(&self, earlier: &Self) -> bool {
        self.at > earlier.at || self.at == earlier.at && self.reports.is_superset(&earlier.reports)
    }
}

impl Newest {
    /// What is kept in `folder`, which is made where it is first needed.
    #[must_use]
    pub fn kept_in(folder: PathBuf) -> Arc<Self> {
        Arc::new(Self::of(folder, true))
    }

    /// The same to look at: nothing is written.
    #[must_use]
    pub fn looked_at(folder: PathBuf) -> Arc<Self> {
        Arc::new(Self::of(folder, false))
    }

    fn of(folder: PathBuf, is_kept: bool) -> Self {
        Self { folder, is_kept, known: Mutex::default(), unwritten: Mutex::default(), disk: Hand::default() }
    }

    /// Where it lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes in what was found now; what was seen earlier and is newer, or was beside it, is the answer.
    pub(super) async fn take(self: &Arc<Self>, key: Key, found: Seen) -> Result<(), Unfit> {
        let here = Arc::clone(self);
        let taken = self.disk.give(move || here.compare(&key, found)).ok_or(Unfit::Disk)?;
        // Of a disk that hangs nothing is known, and nothing is let pass that may be an older one.
        tokio::time::timeout(DISK_TIME, taken).await.ok().and_then(Result::ok).ok_or(Unfit::Disk)?
    }

    /// Whether nothing newer is known than what was kept, of this time.
    pub(super) fn is_newest(&self, key: &Key, at: Timestamp) -> bool {
        self.earlier(key).is_ok_and(|earlier| earlier.is_none_or(|earlier| earlier.at <= at))
    }

    /// The same, as far as it is in memory: what was found since is.
    pub(super) fn knows_no_newer(&self, key: &Key, at: Timestamp) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.of(&key.file_name()).is_none_or(|known| known.at <= at)
    }

    /// Where nothing was found now: whether there was any.
    pub(super) async fn seen(self: &Arc<Self>, key: Key) -> Result<(), Unfit> {
        let here = Arc::clone(self);
        let seen = self.disk.give(move || here.earlier(&key)).ok_or(Unfit::Disk)?;
        let seen = tokio::time::timeout(DISK_TIME, seen).await.ok().and_then(Result::ok).ok_or(Unfit::Disk)??;
        seen.map_or(Ok(()), |seen| Err(Unfit::Gone { at: seen.at }))
    }

    /// What is in memory is read again: somebody may have removed it, or brought something newer.
    pub fn begin_anew(&self) {
        let unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = Generations::default();
        for (name, (_, seen)) in unwritten.iter() {
            known.remember(name.clone(), seen.clone(), IN_MEMORY);
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Writes what could not be written before. Called now and then: else what this process has seen is forgotten when it ends.
    pub fn write_out(self: &Arc<Self>) {
        if self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return;
        }
        let here = Arc::clone(self);
        // Where there is no place now, there will be.
        drop(self.disk.give(move || {
            let all: Vec<_> = here.unwritten.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
            for (key, seen) in all {
                let Ok(_held) = here.lock() else { return };
                let is_done = match here.earlier(&key) {
                    // Somebody else has written a newer one.
                    Ok(Some(earlier)) if !seen.has_all_of(&earlier) => true,
                    Ok(_) => here.write(&key, &seen).is_ok(),
                    Err(_) => false,
                };
                if is_done {
                    here.unwritten.lock().unwrap_or_else(PoisonError::into_inner).remove(&key.file_name());
                }
            }
        }));
    }

    fn compare(&self, key: &Key, mut found: Seen) -> Result<(), Unfit> {
        let held = if self.is_kept { self.lock().map(Some) } else { Ok(None) };
        let _held = held.map_err(|error| cannot(&error.to_string(), &self.folder))?;
        let earlier = self.earlier(key)?;
        if let Some(earlier) = &earlier {
            if !found.has_all_of(earlier) {
                return Err(Unfit::Gone { at: earlier.at });
            }
            if found == *earlier && !self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key.file_name())
            {
                return Ok(());
            }
        }
        while found.reports.len() > REPORTS {
            found.reports.pop_last();
        }
        if self.is_kept {
            let written = self.write(key, &found);
            let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
            match written {
                Ok(()) => drop(unwritten.remove(&key.file_name())),
                Err(error) => {
                    tracing::warn!(%error, folder = %self.folder.display(), "which scan is the newest could not be kept: it is tried again, and a restart before that forgets it");
                    if unwritten.len() < IN_MEMORY {
                        unwritten.insert(key.file_name(), (key.clone(), found.clone()));
                    }
                }
            }
        }
        self.remember(key, found);
        Ok(())
    }

    fn remember(&self, key: &Key, seen: Seen) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remember(key.file_name(), seen, IN_MEMORY);
    }

    /// The newest that is known here, or lies on the disk: others write there as well.
    fn earlier(&self, key: &Key) -> Result<Option<Seen>, Unfit> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).of(&key.file_name()).cloned();
        let seen = match (known.clone(), self.read(key)?) {
            (Some(known), Some(read)) => Some(known.and(read)),
            (known, read) => known.or(read),
        };
        if let Some(seen) = &seen
            && known.as_ref() != Some(seen)
        {
            self.remember(key, seen.clone());
        }
        Ok(seen)
    }

    fn lock(&self) -> std::io::Result<Open> {
        std::fs::DirBuilder::new().recursive(true).create(&self.folder)?;
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let path = self.folder.join(LOCK);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    fn read(&self, key: &Key) -> Result<Option<Seen>, Unfit> {
        let path = self.folder.join(key.file_name());
        let text = match read_owned(&path, FILE_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot(&error.to_string(), &path)),
        };
        match file(&text) {
            Ok(File { whose, digest, at, reports, .. }) if whose == key.whose && digest == key.digest => {
                Ok(Some(Seen { at, reports }))
            }
            Ok(_) => Err(cannot("it is of something else", &path)),
            Err(why) => Err(cannot(&why, &path)),
        }
    }

    fn write(&self, key: &Key, seen: &Seen) -> std::io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).create(&self.folder)?;
        let path = self.folder.join(key.file_name());
        if !path.exists() {
            self.make_room()?;
        }
        let file =
            File { version: VERSION, whose: key.whose.clone(), digest: key.digest, at: seen.at, reports: seen.reports.clone() };
        replace(&path, &serde_json::to_vec(&file)?, 0o600, Outlives::Power)
    }

    fn make_room(&self) -> std::io::Result<()> {
        let files = files(&self.folder)?;
        if files.len() < FILES {
            return Ok(());
        }
        // Looked up once each: a time that changed meanwhile would leave no order to sort by.
        let changed = |path: &PathBuf| path.metadata().and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut files: Vec<_> = files.into_iter().map(|path| (changed(&path), path)).collect();
        sort_by_key(&mut files, |(changed, _)| *changed);
        for (_, path) in files.iter().take(GONE) {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// What is not known may be that there was a newer one.
fn cannot(why: &str, path: &Path) -> Unfit {
    tracing::error!(
        why, path = %path.display(),
        "which scan is the newest cannot be read: no scan of that image counts until it can, or the file is removed"
    );
    Unfit::Disk
}

fn file(text: &str) -> Result<File, String> {
    has_one_reading(text.as_bytes())?;
    let file: File = serde_json::from_slice(text.as_bytes()).map_err(|error| error.to_string())?;
    if file.version == VERSION { Ok(file) } else { Err(format!("its version is {}", file.version)) }
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let named = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(named.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect())
}

/// Forgets what was the newest of this digest. Gives how many there were.
pub fn forget(folder: &Path, digest: &Digest) -> std::io::Result<usize> {
    let mut count = 0;
    for path in files(folder)? {
        let is_of_it =
            read_owned(&path, FILE_BYTES).ok().and_then(|text| file(&text).ok()).is_some_and(|file| file.digest == *digest);
        if is_of_it {
            std::fs::remove_file(&path)?;
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digest: &[u8]) -> Key {
        Key { whose: "release\ntype".to_owned(), digest: Digest::of(digest) }
    }

    fn seen(hour: u8, reports: &[&[u8]]) -> Seen {
        let at = format!("2026-11-30T{hour:02}:00:00Z").parse().unwrap();
        Seen { at, reports: reports.iter().map(|report| Digest::of(report)).collect() }
    }

    #[tokio::test]
    async fn an_older_report_never_takes_the_place_of_a_newer_one_also_in_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("newest");
        let here = Newest::kept_in(at.clone());
        assert_eq!(here.take(key(b"a"), seen(9, &[b"clean"])).await, Ok(()));
        assert_eq!(here.take(key(b"a"), seen(10, &[b"dirty"])).await, Ok(()));
        for newest in [Arc::clone(&here), Newest::kept_in(at.clone()), Newest::looked_at(at.clone())] {
            assert_eq!(newest.take(key(b"a"), seen(9, &[b"clean"])).await, Err(Unfit::Gone { at: seen(10, &[]).at }));
            assert_eq!(
                newest.take(key(b"a"), seen(10, &[b"other"])).await,
                Err(Unfit::Gone { at: seen(10, &[]).at }),
                "another of the same time"
            );
            assert_eq!(newest.take(key(b"a"), seen(10, &[b"dirty"])).await, Ok(()));
            assert!(newest.is_newest(&key(b"a"), seen(10, &[]).at) && !newest.is_newest(&key(b"a"), seen(9, &[]).at));
            // Of another image, or by somebody else, nothing is known.
            assert!(newest.is_newest(&key(b"b"), seen(9, &[]).at));
            assert!(newest.is_newest(&Key { whose: "other".to_owned(), ..key(b"a") }, seen(9, &[]).at));
        }
        assert_eq!(here.take(key(b"a"), seen(10, &[b"dirty", b"other"])).await, Ok(()));
        assert_eq!(here.take(key(b"a"), seen(10, &[b"other"])).await, Err(Unfit::Gone { at: seen(10, &[]).at }));
        assert_eq!(here.take(key(b"a"), seen(11, &[b"new"])).await, Ok(()));
        assert_eq!((forget(&at, &Digest::of(b"b")).unwrap(), forget(&at, &Digest::of(b"a")).unwrap()), (0, 1));
        assert_eq!(Newest::kept_in(at).take(key(b"a"), seen(9, &[b"clean"])).await, Ok(()));
    }

    #[tokio::test]
    async fn what_another_process_saw_since_counts() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("newest");
        let (gate, import) = (Newest::kept_in(at.clone()), Newest::kept_in(at.clone()));
        assert_eq!(gate.take(key(b"a"), seen(9, &[b"clean"])).await, Ok(()));
        assert_eq!(import.take(key(b"a"), seen(11, &[b"dirty"])).await, Ok(()));
        assert_eq!(gate.take(key(b"a"), seen(10, &[b"clean too"])).await, Err(Unfit::Gone { at: seen(11, &[]).at }));
        assert_eq!(
            Newest::kept_in(at.clone()).take(key(b"a"), seen(10, &[b"x"])).await,
            Err(Unfit::Gone { at: seen(11, &[]).at })
        );
    }

    /// A user fills the disk while a new scan fails, frees it, and the host starts anew: the older scan must not be the first that was ever seen.
    #[tokio::test]
    async fn what_could_not_be_written_is_written_when_the_disk_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("newest");
        let gate = Newest::kept_in(at.clone());
        // As on a full disk: the lock is there, and no new file.
        gate.lock().unwrap();
        let path = at.join(key(b"b").file_name());
        let blocked = gate
            .unwritten
            .lock()
            .unwrap()
            .insert(path.file_name().unwrap().to_str().unwrap().to_owned(), (key(b"b"), seen(11, &[b"dirty"])));
        assert!(blocked.is_none() && !path.exists());
        gate.begin_anew();
        assert!(!gate.knows_no_newer(&key(b"b"), seen(10, &[]).at), "it outlives a new beginning");
        gate.write_out();
        gate.disk.give(|| ()).unwrap().await.unwrap();
        assert!(gate.unwritten.lock().unwrap().is_empty());
        let next = Newest::kept_in(at);
        assert_eq!(next.take(key(b"b"), seen(10, &[b"clean"])).await, Err(Unfit::Gone { at: seen(11, &[]).at }));
    }

    /// Too few descriptors, a file that is no good, a folder that cannot be locked: there may have been a newer one.
    #[tokio::test]
    async fn where_it_cannot_be_read_which_was_the_newest_none_counts() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("newest");
        let gate = Newest::kept_in(at.clone());
        assert_eq!(gate.take(key(b"a"), seen(9, &[b"clean"])).await, Ok(()));
        std::fs::create_dir(at.join(key(b"b").file_name())).unwrap();
        assert_eq!(gate.take(key(b"b"), seen(11, &[b"any"])).await, Err(Unfit::Disk));
        assert_eq!(gate.seen(key(b"b")).await, Err(Unfit::Disk));
        assert!(!gate.is_newest(&key(b"b"), seen(11, &[]).at));
        std::fs::remove_dir(at.join(key(b"b").file_name())).unwrap();
        assert_eq!(gate.take(key(b"b"), seen(11, &[b"any"])).await, Ok(()), "as soon as it can");
        std::fs::remove_file(at.join(LOCK)).unwrap();
        std::fs::create_dir(at.join(LOCK)).unwrap();
        assert_eq!(gate.take(key(b"a"), seen(10, &[b"newer"])).await, Err(Unfit::Disk));
    }

    #[tokio::test]
    async fn who_only_looks_writes_nothing_and_beside_what_is_damaged_none_counts() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("newest");
        assert_eq!(Newest::looked_at(at.clone()).take(key(b"a"), seen(9, &[b"x"])).await, Ok(()));
        assert!(!at.exists());
        assert_eq!(Newest::kept_in(at.clone()).take(key(b"a"), seen(9, &[b"x"])).await, Ok(()));
        let path = files(&at).unwrap().remove(0);
        let good = std::fs::read_to_string(&path).unwrap();
        for bad in [String::new(), good.replace("\"version\":1", "\"version\":2"), good.replace('}', ",\"more\":1}")] {
            assert_ne!(bad, good);
            std::fs::write(&path, bad).unwrap();
            assert!(!Newest::kept_in(at.clone()).is_newest(&key(b"a"), seen(10, &[]).at));
        }
    }
}
