//! Evidence that lasts: what proved a yes, with its bytes, in the state folder. It is kept for hosts whose registry is away, and so that
//! what verified once is not asked about for ever. Nothing that is read here is believed: whoever reads a [`Record`] verifies its bytes
//! again, with the keys and the roots of trust that count then.
//!
//! One file for each verifier, repository and digest. Only what verified is kept, so that nobody fills the folder but who may sign; beyond
//! the bounds goes what has not been used for longest.

mod record;
mod withdrawn;

use crate::order::sort_by_key;
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};

use self::record::{FILE_BYTES, read};
pub use self::record::{Key, Origin, Parts, Record};
use super::hand::Hand;
use crate::files::{Outlives, read_owned, replace};
use crate::image::Digest;

/// Most records, and most bytes of them. A host runs some hundred images, of 1 to 20 KB each; bills of materials of some hundred.
const RECORDS: usize = 4096;
const BYTES: u64 = 64 << 20;
/// Most records that are being withdrawn at one time. Beyond it nothing that is kept counts until the disk has done its work.
const WITHDRAWN: usize = 4096;
/// How long a decision waits for the disk; the disk's work goes on.
const DISK_TIME: Duration = Duration::from_millis(250);
/// The time of a file's use; when it was read says nothing.
const NOW: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
};
/// Its time says when something was last forgotten by a command: a gate that sees another one begins anew.
pub const FORGOTTEN: &str = "forgotten";

/// The folder of evidence.
#[derive(Debug)]
pub struct Evidence {
    folder: PathBuf,
    /// Whether anything is written: by a gate, and not by a command that looks at what a gate has.
    is_kept: bool,
    held: Mutex<Option<Held>>,
    turns: Mutex<Turns>,
    /// Who reads, and who writes and removes: in the order in which it was asked for.
    reads: Hand,
    changes: Hand,
}

/// What is under way, by the names of files: a write that a slow disk holds up must not bring back what was withdrawn meanwhile, and what
/// is withdrawn is not read any more, also while its file cannot be removed.
#[derive(Debug, Default)]
struct Turns {
    /// How many writes are under way, and in which turn the file was last withdrawn.
    writes: HashMap<String, (usize, u64)>,
    withdrawn: HashSet<String>,
    turn: u64,
}

/// What a look into the folder comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// There is none.
    Nothing,
    /// There may be something, and it cannot be read, or not in time.
    Unread,
    /// This. Its bytes have to be verified.
    Record(Box<Record>),
}

/// What lies in the folder, by the names of its files.
#[derive(Debug, Default)]
struct Held {
    /// Size, and last use.
    files: HashMap<String, (u64, Used)>,
    bytes: u64,
    /// How many uses were counted.
    uses: u64,
}

/// Which room a file takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// That of what was not used for longest.
    Made,
    /// What nothing else takes.
    Free,
}

/// When something was last used, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Used {
    /// By an earlier process: the time of its file.
    Earlier(SystemTime),
    /// By this one, in this turn.
    Here(u64),
}

impl Evidence {
    /// What is kept in `folder`, which is made where it is first needed.
    #[must_use]
    pub fn kept_in(folder: PathBuf) -> Arc<Self> {
        Arc::new(Self::new(folder, true))
    }

    /// The same to look at: nothing is changed.
    #[must_use]
    pub fn looked_at(folder: PathBuf) -> Arc<Self> {
        Arc::new(Self::new(folder, false))
    }

    fn new(folder: PathBuf, is_kept: bool) -> Self {
        let (held, turns, reads, changes) = Default::default();
        Self { folder, is_kept, held, turns, reads, changes }
    }

    /// Where it lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether anything is written.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether nothing is kept of this, as far as that is known without a look at the disk.
    #[must_use]
    pub fn is_new(&self, key: &Key) -> bool {
        let held = self.held.try_lock().ok();
        held.is_some_and(|held| held.as_ref().is_some_and(|held| !held.files.contains_key(&key.file_name())))
    }

    /// What is kept of this. Its bytes have to be verified. A disk that takes its time has nothing.
    pub async fn of(self: &Arc<Self>, key: &Key) -> Option<Record> {
        if self.turns().is_withdrawn(&key.file_name()) {
            return None;
        }
        // What is withdrawn meanwhile is not there either.
        match self.suspended(key).await {
            Kept::Record(record) => Some(*record).filter(|_| !self.turns().is_withdrawn(&key.file_name())),
            Kept::Nothing | Kept::Unread => None,
        }
    }

    /// Keeps what has just verified. A disk that takes nothing costs the evidence, and no answer.
    pub async fn keep(self: &Arc<Self>, record: Record) {
        if !self.is_kept {
            return;
        }
        let (here, name) = (Arc::clone(self), record.key.file_name());
        let begun = self.turns().write_begins(&name);
        let written = self.changes.give(move || {
            if let Err(error) = here.write(&record, begun) {
                tracing::warn!(%error, folder = %here.folder.display(), "a signature that verified could not be kept");
            }
            here.turns().write_ends(&record.key.file_name());
        });
        match written {
            Some(written) => drop(tokio::time::timeout(DISK_TIME, written).await),
            None => self.turns().write_ends(&name),
        }
    }

    /// Keeps what a person carried here and has just verified, unless a registry took it back: at once, and it is told where that cannot be. It takes
    /// no other's place. Gives when it was taken back, where it was; `undoes`: that person says that it was signed again since.
    pub fn take_in(&self, record: &Record, undoes: bool) -> std::io::Result<Option<Timestamp>> {
        if !self.is_kept {
            return Ok(None);
        }
        let digest = &record.key.digest;
        let seen = withdrawn::notes(&self.folder, digest)?;
        if let (Some(at), false) = (withdrawn::last(&seen), undoes) {
            return Ok(Some(at));
        }
        let (name, text) = (record.key.file_name(), record.written()?);
        self.store(&name, &text, Room::Free)?;
        // Again: the gate notes it first and looks for nothing afterwards.
        let since = withdrawn::notes(&self.folder, digest);
        if let Ok(since) = &since
            && since.iter().all(|note| seen.contains(note))
        {
            withdrawn::undo(&seen);
            return Ok(None);
        }
        if let Some(held) = self.held().as_mut() {
            held.forget(&name);
        }
        std::fs::remove_file(self.folder.join(&name))?;
        Ok(withdrawn::last(&since?).or(Some(Timestamp::UNIX_EPOCH)))
    }

    /// When a registry last took this digest back, whoever asked it; `None`: none did, or it gave a good one since. What cannot be looked at was.
    #[must_use]
    pub fn withdrawn_since(&self, digest: &Digest) -> Option<Timestamp> {
        withdrawn::notes(&self.folder, digest).map_or(Some(Timestamp::UNIX_EPOCH), |notes| withdrawn::last(&notes))
    }

    /// Its registry may have it no more: until [`Self::withdraw`] has found that out, or the next good answer of a registry, it does not count.
    pub fn suspend(&self, key: &Key) {
        self.turns().withdrawal_begins(&key.file_name());
    }

    /// What is kept of what is suspended.
    pub async fn suspended(self: &Arc<Self>, key: &Key) -> Kept {
        let (here, key) = (Arc::clone(self), key.clone());
        let Some(read) = self.reads.give(move || here.find(&key)) else { return Kept::Unread };
        tokio::time::timeout(DISK_TIME, read).await.ok().and_then(Result::ok).unwrap_or(Kept::Unread)
    }

    fn is_being_kept(&self, key: &Key) -> bool {
        self.turns().writes.contains_key(&key.file_name())
    }

    fn resume(&self, key: &Key) {
        self.turns().withdrawn.remove(&key.file_name());
    }

    /// Its registry gives nothing good for this any more. What is kept is dropped, and noted, so that no bundle brings it back; it does not count
    /// from now on, whatever the disk does. But a record stays that `is_met` in the registry: it is judged by its bytes wherever it is used. Of what
    /// nobody knew (`was_known`) and nobody kept nothing is noted. All of this is found out when earlier writes are done, however long the disk takes.
    pub async fn withdraw(self: &Arc<Self>, key: &Key, was_known: bool, is_met: impl FnOnce(Record) -> bool + Send + 'static) {
        if !self.is_kept {
            return;
        }
        let (here, name, gone) = (Arc::clone(self), key.file_name(), key.clone());
        // A write that is under way may be of what is withdrawn.
        let was_known = was_known || self.is_being_kept(key);
        self.turns().withdrawal_begins(&name);
        let removed = self.changes.must(move || {
            let is_there = match here.find(&gone) {
                Kept::Nothing => !was_known,
                Kept::Record(record) => is_met(*record),
                // It does not count while it cannot be read.
                Kept::Unread if !was_known => return,
                Kept::Unread => false,
            };
            if is_there { here.resume(&gone) } else { here.note_withdrawn(&gone, &name) }
        });
        drop(tokio::time::timeout(DISK_TIME, removed).await);
    }

    fn note_withdrawn(&self, gone: &Key, name: &str) {
        match withdrawn::withdraw(&self.folder, gone) {
            Ok(is_gone) => {
                tracing::warn!(
                    repository = %gone.repository, digest = %gone.digest,
                    "its registry has this signature no more: what was kept of it is dropped"
                );
                if let Some(held) = self.held().as_mut() {
                    held.forget(name);
                }
                if is_gone {
                    self.turns().withdrawn.remove(name);
                }
            }
            Err(error) => tracing::error!(
                %error, folder = %self.folder.display(), digest = %gone.digest,
                "it could not be noted that a signature was withdrawn: until the gate starts anew it does not count; then a bundle may bring it back"
            ),
        }
    }

    /// It was used: others go first.
    pub fn used(&self, key: &Key) {
        // Called where nobody waits: who finds the list in use leaves it.
        if let Ok(mut held) = self.held.try_lock()
            && let Some(held) = held.as_mut()
        {
            held.uses += 1;
            if let Some(file) = held.files.get_mut(&key.file_name()) {
                file.1 = Used::Here(held.uses);
            }
        }
    }

    fn find(&self, key: &Key) -> Kept {
        // A gate that was stopped between the two left a record beside its note.
        if withdrawn::is_noted(&self.folder, key) {
            return Kept::Nothing;
        }
        let path = self.folder.join(key.file_name());
        let text = match read_owned(&path, FILE_BYTES) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() == ErrorKind::NotFound {
                    return Kept::Nothing;
                }
                tracing::warn!(%error, path = %path.display(), "kept evidence cannot be read, and does not count");
                return Kept::Unread;
            }
        };
        match read(&text) {
            Ok(record) if record.key == *key => {
                if self.is_kept {
                    // The order in which records go, also for the next process.
                    let _ = utimensat(CWD, &path, &NOW, AtFlags::SYMLINK_NOFOLLOW);
                    self.used(key);
                }
                Kept::Record(Box::new(record))
            }
            Ok(_) => {
                tracing::warn!(path = %path.display(), "kept evidence is of something else, and does not count");
                Kept::Unread
            }
            Err(why) => {
                tracing::warn!(why, path = %path.display(), "kept evidence is damaged, and does not count");
                Kept::Unread
            }
        }
    }

    fn write(&self, record: &Record, begun: u64) -> std::io::Result<()> {
        let (name, text) = (record.key.file_name(), record.written()?);
        if self.turns().is_withdrawn_since(&name, begun) {
            return Ok(());
        }
        self.store(&name, &text, Room::Made)?;
        let mut turns = self.turns();
        if !turns.is_withdrawn_since(&name, begun) {
            turns.withdrawn.remove(&name);
            drop(turns);
            withdrawn::end(&self.folder, &record.key);
        }
        Ok(())
    }

    fn store(&self, name: &str, text: &[u8], room: Room) -> std::io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).create(&self.folder)?;
        let gone = {
            let mut held = self.held();
            if held.is_none() {
                *held = Some(Held::look(&self.folder)?);
            }
            let size = text.len() as u64;
            if let (Room::Free, Some(held)) = (room, held.as_ref())
                && !held.has_room(name, size)
            {
                return Err(std::io::Error::other("as much is kept as may be: forget what is not needed (trust forget)"));
            }
            held.as_mut().map(|held| held.make_room(name, size)).unwrap_or_default()
        };
        for name in gone {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
        replace(&self.folder.join(name), text, 0o600, Outlives::Power)
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    fn write_begins(&mut self, name: &str) -> u64 {
        self.turn += 1;
        self.writes.entry(name.to_owned()).or_default().0 += 1;
        self.turn
    }

    fn write_ends(&mut self, name: &str) {
        if let Some((under_way, _)) = self.writes.get_mut(name) {
            *under_way -= 1;
            if *under_way == 0 {
                self.writes.remove(name);
            }
        }
    }

    fn withdrawal_begins(&mut self, name: &str) {
        self.turn += 1;
        if let Some((_, withdrawn)) = self.writes.get_mut(name) {
            *withdrawn = self.turn;
        }
        self.withdrawn.insert(name.to_owned());
    }

    fn is_withdrawn(&self, name: &str) -> bool {
        self.withdrawn.len() > WITHDRAWN || self.withdrawn.contains(name)
    }

    fn is_withdrawn_since(&self, name: &str, turn: u64) -> bool {
        self.writes.get(name).is_some_and(|(_, withdrawn)| *withdrawn > turn)
    }
}

impl Held {
    fn look(folder: &Path) -> std::io::Result<Self> {
        let mut held = Self::default();
        for (name, _) in files(folder)? {
            let Ok(found) = std::fs::symlink_metadata(folder.join(&name)) else { continue };
            held.bytes += found.len();
            held.files.insert(name, (found.len(), Used::Earlier(found.modified().unwrap_or(SystemTime::UNIX_EPOCH))));
        }
        Ok(held)
    }

    /// Whether a file has room beside all others.
    fn has_room(&self, name: &str, size: u64) -> bool {
        let (count, own) = self.files.get(name).map_or((1, 0), |(own, _)| (0, *own));
        self.files.len() + count <= RECORDS && self.bytes.saturating_sub(own) + size <= BYTES
    }

    /// Counts a file that comes, and says which go for it: what was not used for longest.
    fn make_room(&mut self, name: &str, size: u64) -> Vec<String> {
        self.forget(name);
        let mut gone = Vec::new();
        while self.files.len() >= RECORDS || self.bytes + size > BYTES {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else { break };
            self.forget(&oldest);
            gone.push(oldest);
        }
        self.bytes += size;
        self.uses += 1;
        self.files.insert(name.to_owned(), (size, Used::Here(self.uses)));
        gone
    }

    fn forget(&mut self, name: &str) {
        if let Some((size, _)) = self.files.remove(name) {
            self.bytes = self.bytes.saturating_sub(size);
        }
    }
}

/// All records of a folder that can be read, the latest found first. Nothing says that they still verify.
pub fn all(folder: &Path) -> std::io::Result<Vec<Record>> {
    let mut records: Vec<Record> =
        files(folder)?.into_iter().filter_map(|(_, path)| read(&read_owned(&path, FILE_BYTES).ok()?).ok()).collect();
    sort_by_key(&mut records, |record| std::cmp::Reverse(record.found));
    Ok(records)
}

/// Drops all records of a digest, and lets the gate know. Gives what they were of.
pub fn forget(folder: &Path, digest: &Digest) -> std::io::Result<Vec<Record>> {
    let records: Vec<Record> = all(folder)?.into_iter().filter(|record| record.key.digest == *digest).collect();
    for record in &records {
        match std::fs::remove_file(folder.join(record.key.file_name())) {
            // The gate may have dropped it meanwhile; it is still told.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    withdrawn::forget(folder, digest)?;
    // Also where nothing was kept: a gate may know of it in memory alone.
    if folder.is_dir() {
        begin_anew(folder)?;
    }
    Ok(records)
}

/// Lets the gate know that something was changed here: it begins anew.
pub fn begin_anew(folder: &Path) -> std::io::Result<()> {
    replace(&folder.join(FORGOTTEN), b"", 0o600, Outlives::Power)
}

/// The files of records: name and path, no more than there may be. None where there is no folder.
fn files(folder: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let named = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        record::is_file_name(&name).then(|| (name, entry.path()))
    });
    Ok(named.take(2 * RECORDS).collect())
}

#[cfg(test)]
mod tests {
    use super::super::hand;
    use super::*;

    fn key(repository: &str, content: &[u8]) -> Key {
        Key { verifier: "release".parse().unwrap(), repository: repository.parse().unwrap(), digest: Digest::of(content) }
    }

    fn record(content: &[u8]) -> Record {
        let now = "2026-11-30T12:00:00Z".parse().unwrap();
        let parts = Parts::from([("payload".to_owned(), content.to_vec()), ("signature".to_owned(), vec![0xff])]);
        Record { key: key("r.example/app", content), scheme: "cosign".to_owned(), found: now, asked: now, origin: None, parts }
    }

    fn only_file(folder: &Path) -> PathBuf {
        files(folder).unwrap().remove(0).1
    }

    #[tokio::test]
    async fn what_is_kept_is_there_for_the_next_process_and_gone_when_it_is_withdrawn() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("evidence");
        let (here, next) = (Evidence::kept_in(at.clone()), Evidence::looked_at(at.clone()));
        assert_eq!(here.of(&record(b"a").key).await, None);
        here.keep(record(b"a")).await;
        assert_eq!(next.of(&record(b"a").key).await, Some(record(b"a")));
        for other in
            [key("r.example/other", b"a"), key("r.example/app", b"b"), Key { verifier: "x".parse().unwrap(), ..record(b"a").key }]
        {
            assert_eq!(next.of(&other).await, None);
        }
        // Who only looks changes nothing.
        next.withdraw(&record(b"a").key, true, |_| false).await;
        next.keep(record(b"b")).await;
        assert_eq!(all(&at).unwrap(), [record(b"a")]);
        here.withdraw(&record(b"a").key, true, |_| false).await;
        assert_eq!((here.of(&record(b"a").key).await, all(&at).unwrap()), (None, vec![]));
    }

    /// Holds a thread up until it is told to go on.
    fn held_up(hand: &Hand) -> std::sync::mpsc::Sender<()> {
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        hand.give(move || wait.recv()).unwrap();
        go_on
    }

    async fn settled(here: &Arc<Evidence>) {
        loop {
            match here.changes.give(|| ()) {
                Some(done) => return done.await.unwrap(),
                None => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test]
    async fn no_crowd_of_writes_takes_the_place_of_a_withdrawal() {
        let folder = tempfile::tempdir().unwrap();
        let here = Evidence::kept_in(folder.path().to_owned());
        here.keep(record(b"a")).await;
        let go_on = held_up(&here.changes);
        while here.changes.give(|| ()).is_some() {}
        here.withdraw(&record(b"a").key, true, |_| false).await;
        go_on.send(()).unwrap();
        settled(&here).await;
        let next = Evidence::kept_in(folder.path().to_owned());
        assert_eq!(next.of(&record(b"a").key).await, None);
        assert!(next.withdrawn_since(&Digest::of(b"a")).is_some());
    }

    /// Who asks for made-up digests must not fill the notes, however slow the disk is.
    #[tokio::test]
    async fn of_what_nobody_knew_and_nobody_kept_nothing_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let here = Evidence::kept_in(folder.path().to_owned());
        let go_on = held_up(&here.changes);
        for content in [b"a".as_slice(), b"b"] {
            here.withdraw(&record(content).key, false, |_| false).await;
        }
        go_on.send(()).unwrap();
        settled(&here).await;
        assert_eq!(here.withdrawn_since(&Digest::of(b"a")), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // What was met in the registry stays, whoever signs now.
        here.keep(record(b"a")).await;
        let a = record(b"a");
        here.withdraw(&a.key.clone(), true, move |met| met == a).await;
        assert_eq!((here.of(&record(b"a").key).await, here.withdrawn_since(&Digest::of(b"a"))), (Some(record(b"a")), None));
    }

    #[tokio::test]
    async fn a_write_that_the_disk_holds_up_does_not_bring_back_what_was_withdrawn() {
        let folder = tempfile::tempdir().unwrap();
        let here = Evidence::kept_in(folder.path().to_owned());
        let key = record(b"a").key;
        here.keep(record(b"a")).await;
        let go_on = held_up(&here.changes);
        here.keep(record(b"a")).await;
        here.withdraw(&key, true, |_| false).await;
        // It lies there still, and counts no more.
        assert_eq!((here.of(&key).await, all(folder.path()).unwrap().len()), (None, 1));
        go_on.send(()).unwrap();
        settled(&here).await;
        assert_eq!(all(folder.path()).unwrap(), []);
        // What verifies afterwards is kept.
        here.keep(record(b"a")).await;
        assert_eq!(here.of(&key).await, Some(record(b"a")));
        assert!(here.turns().writes.is_empty() && here.turns().withdrawn.is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_removed_does_not_count_until_it_verifies_again() {
        let folder = tempfile::tempdir().unwrap();
        let here = Evidence::kept_in(folder.path().to_owned());
        let key = record(b"a").key;
        here.keep(record(b"a")).await;
        // A folder in its place is not removed as a file is, whoever asks.
        let path = only_file(folder.path());
        std::fs::rename(&path, folder.path().join("aside")).unwrap();
        std::fs::create_dir(&path).unwrap();
        here.withdraw(&key, true, |_| false).await;
        settled(&here).await;
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(folder.path().join("aside"), &path).unwrap();
        assert_eq!(here.of(&key).await, None);
        here.keep(record(b"a")).await;
        assert_eq!(here.of(&key).await, Some(record(b"a")));
        // What is suspended counts again where its registry has it still.
        here.suspend(&key);
        assert_eq!((here.of(&key).await, here.suspended(&key).await), (None, Kept::Record(Box::new(record(b"a")))));
        here.resume(&key);
        assert_eq!(here.of(&key).await, Some(record(b"a")));
    }

    #[test]
    fn a_disk_that_hangs_takes_two_threads_and_no_more() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(3).enable_time().build().unwrap();
        runtime.block_on(hung_disk());
    }

    async fn hung_disk() {
        let folder = tempfile::tempdir().unwrap();
        let here = Evidence::kept_in(folder.path().to_owned());
        here.keep(record(b"a")).await;
        let hands = [held_up(&here.changes), held_up(&here.reads)];
        let begun = std::time::Instant::now();
        for number in 0..4 * hand::QUEUE {
            // Nobody waits for longer than the disk's time, and what finds no place is not waited for at all.
            let wait = async { here.keep(record(&number.to_le_bytes())).await };
            let _ = tokio::time::timeout(Duration::from_millis(1), wait).await;
        }
        assert_eq!(here.of(&record(b"a").key).await, None);
        // The third is there for others.
        assert_eq!(tokio::task::spawn_blocking(|| 1).await.unwrap(), 1);
        assert!(begun.elapsed() < Duration::from_secs(3));
        assert!(here.turns().writes.len() <= hand::QUEUE);
        for go_on in hands {
            go_on.send(()).unwrap();
        }
        settled(&here).await;
        assert!(here.turns().writes.is_empty());
        assert_eq!(here.of(&record(b"a").key).await, Some(record(b"a")));
    }

    #[tokio::test]
    async fn a_digest_is_forgotten_wherever_it_was_found_and_the_gate_can_see_it() {
        let folder = tempfile::tempdir().unwrap();
        let here = Evidence::kept_in(folder.path().to_owned());
        let elsewhere = Record { key: key("r.example/other", b"a"), ..record(b"a") };
        for record in [record(b"a"), elsewhere, record(b"b")] {
            here.keep(record).await;
        }
        assert_eq!(forget(folder.path(), &Digest::of(b"a")).unwrap().len(), 2);
        assert_eq!(all(folder.path()).unwrap(), [record(b"b")]);
        assert!(folder.path().join(FORGOTTEN).is_file());
        assert_eq!(forget(folder.path(), &Digest::of(b"c")).unwrap(), []);
    }

    #[tokio::test]
    async fn a_file_that_is_damaged_moved_or_open_to_others_does_not_count() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let here = Evidence::kept_in(folder.path().to_owned());
        here.keep(record(b"a")).await;
        let path = only_file(folder.path());
        let good = std::fs::read_to_string(&path).unwrap();
        let write = |path: &Path, text: &str| {
            std::fs::write(path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        for bad in [
            String::new(),
            "{}".to_owned(),
            good.trim_end_matches('}').to_owned(),
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("\"version\":1", "\"version\":1,\"Version\":1"),
            good.replace("\"version\":1", "\"version\":1,\"more\":1"),
            good.replace("r.example/app", "R.EXAMPLE/app"),
            good.replace("/w==", "/w=!"),
            format!("{good}{}", " ".repeat(usize::try_from(FILE_BYTES).unwrap())),
        ] {
            assert_ne!(bad, good);
            write(&path, &bad);
            assert_eq!(here.of(&record(b"a").key).await, None, "{bad:.200}");
        }
        write(&path, &good);
        assert!(here.of(&record(b"a").key).await.is_some());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(here.of(&record(b"a").key).await, None, "others may write it");
        // In the place of another it is not the other.
        write(&path, &good);
        std::fs::rename(&path, folder.path().join(record(b"b").key.file_name())).unwrap();
        assert_eq!(here.of(&record(b"b").key).await, None);
    }

    #[tokio::test]
    async fn what_is_carried_here_takes_no_others_place_and_counts_for_no_digest_that_was_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let (gate, import) = (Evidence::kept_in(folder.path().to_owned()), Evidence::kept_in(folder.path().to_owned()));
        gate.keep(record(b"a")).await;
        gate.withdraw(&record(b"a").key, true, |_| false).await;
        // Under another name, and for another verifier.
        let elsewhere = Record { key: key("r.example/other", b"a"), ..record(b"a") };
        let other = Record { key: Key { verifier: "other".parse().unwrap(), ..key("r.example/app", b"a") }, ..record(b"a") };
        for record in [record(b"a"), elsewhere.clone(), other] {
            assert!(import.take_in(&record, false).unwrap().is_some());
        }
        assert_eq!(all(folder.path()).unwrap(), []);
        // Its registry has it again: that says nothing of another one's.
        gate.withdraw(&elsewhere.key, true, |_| false).await;
        gate.keep(record(b"a")).await;
        assert!(import.take_in(&elsewhere, false).unwrap().is_some());
        assert_eq!(import.take_in(&elsewhere, true).unwrap(), None);
        assert_eq!(import.withdrawn_since(&Digest::of(b"a")), None);
        // Full.
        {
            let mut held = import.held();
            let held = held.as_mut().unwrap();
            held.bytes = BYTES;
        }
        assert!(import.take_in(&record(b"b"), false).is_err());
        assert_eq!(all(folder.path()).unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_record_beside_its_note_does_not_count_in_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let here = Evidence::kept_in(folder.path().to_owned());
        here.keep(record(b"a")).await;
        let path = only_file(folder.path());
        let text = std::fs::read(&path).unwrap();
        here.withdraw(&record(b"a").key, true, |_| false).await;
        replace(&path, &text, 0o600, Outlives::Process).unwrap();
        let next = Evidence::kept_in(folder.path().to_owned());
        assert_eq!(next.of(&record(b"a").key).await, None);
        // Nothing was kept of it, and it was known.
        next.withdraw(&record(b"b").key, true, |_| false).await;
        assert!(next.withdrawn_since(&Digest::of(b"b")).is_some());
        // Where nothing can be looked at, all was taken back.
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(Evidence::kept_in(file).withdrawn_since(&Digest::of(b"c")).is_some());
    }

    #[test]
    fn beyond_the_bounds_goes_what_was_not_used_for_longest() {
        let at = |seconds| Used::Earlier(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let mut held = Held::default();
        for number in 0..RECORDS as u64 {
            held.files.insert(number.to_string(), (1, at(number)));
        }
        held.bytes = RECORDS as u64;
        held.files.get_mut("0").unwrap().1 = Used::Here(0);
        assert_eq!(held.make_room("new", 1), ["1"]);
        assert_eq!((held.files.len(), held.bytes), (RECORDS, RECORDS as u64));
        // The same again takes nobody's place; a large one takes that of several.
        assert_eq!(held.make_room("new", 2), [""; 0]);
        assert_eq!(held.make_room("large", BYTES - 10).len(), RECORDS - 9);
        assert!(held.bytes <= BYTES && held.files.contains_key("0"));
    }
}
