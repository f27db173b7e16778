//! Which digest an image was approved by: names, RepoDigests and even the image may be gone when its container is started
//! again. A record says *what to ask about*, it is never itself a yes.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::files::{Outlives, replace};
use crate::image::{Digest, Repository};

/// Most images remembered. Stops state from growing for ever; far above what a host holds.
const MAX_IMAGES: usize = 20_000;
/// Most approvals remembered of one image.
const MAX_PER_IMAGE: usize = 16;
/// Largest file read back.
const MAX_BYTES: u64 = 64 << 20;
/// Lines of the file that no approval in memory needs any more, before it is written anew. Stops names that take turns from
/// growing it for ever.
const SPARE_LINES: usize = 1024;
/// Most approvals that wait for the disk. Of more the file is written anew from memory, once the disk takes it: stops a disk that
/// hangs from filling memory.
const MAX_DUE: usize = 4096;
/// How long the end of the gate waits for what is not on disk yet.
const ENDING: Duration = Duration::from_secs(1);

/// One approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The image's id on the host.
    pub image_id: Digest,
    /// The repository that it was approved as.
    pub repository: Repository,
    /// The digest it vouched for.
    pub digest: Digest,
    /// It did not, and a permissive scope let the image pass: a trail, and no approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgiven: bool,
}

/// All approvals, in memory and in `approvals.jsonl`.
pub struct Approvals {
    shared: Arc<Shared>,
    /// Where the file is written; by whoever keeps an approval, if nowhere.
    workers: Option<tokio::runtime::Handle>,
}

struct Shared {
    path: Option<PathBuf>,
    known: Mutex<Known>,
    due: Mutex<Due>,
    /// Everything that was due is on disk.
    idle: Condvar,
    /// Lines of the file that are not needed any more; held while the file is written.
    spare: Mutex<usize>,
}

#[derive(Default)]
struct Known {
    images: HashMap<Digest, Vec<Record>>,
    /// Those that have vouched for anything. Nobody can add to these by asking.
    repositories: HashSet<Repository>,
}

/// What is in memory and not on disk yet, in the order of memory.
#[derive(Default)]
struct Due {
    lines: Vec<(Record, Change)>,
    /// There were too many lines.
    is_anew: bool,
    is_written: bool,
}

/// What a new approval does to those known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It is known, or there is no room for it.
    None,
    Added,
    /// It took the place of the image's oldest, or of the same that was forgiven.
    Replaced,
}

impl Approvals {
    /// Reads what an earlier gate kept. Lines that cannot be read are left out; the file is made anew without them.
    pub fn open(path: &Path) -> Self {
        let (known, torn, spare) = match File::open(path) {
            Ok(file) => load(&file),
            Err(_) => (Known::default(), false, 0),
        };
        let approvals = Self::with(Some(path.to_owned()), known, spare);
        if torn {
            tracing::warn!(path = %path.display(), "some records of approvals could not be read and are dropped");
        }
        if torn || spare > SPARE_LINES {
            approvals.shared.rewrite();
        }
        approvals
    }

    /// What a gate keeps in this file, for a command that asks: the file is the gate's, and stays as it is.
    #[must_use]
    pub fn look(path: &Path) -> Self {
        let known = File::open(path).map(|file| load(&file).0).unwrap_or_default();
        Self::with(None, known, 0)
    }

    /// Approvals that are kept in memory alone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::with(None, Known::default(), 0)
    }

    fn with(path: Option<PathBuf>, known: Known, spare: usize) -> Self {
        let shared =
            Shared { path, known: Mutex::new(known), due: Mutex::default(), idle: Condvar::new(), spare: Mutex::new(spare) };
        Self { shared: Arc::new(shared), workers: None }
    }

    /// From now on another thread writes the file: who keeps an approval does not wait for the disk.
    pub(super) fn write_on(&mut self, workers: tokio::runtime::Handle) {
        self.workers = Some(workers);
    }

    /// What there is to ask about an image: what it was approved by, and what was forgiven; newest last.
    #[must_use]
    pub fn of(&self, image_id: &Digest) -> Vec<(Repository, Digest)> {
        let known = self.shared.lock();
        let records = known.images.get(image_id).into_iter().flatten();
        records.map(|record| (record.repository.clone(), record.digest)).collect()
    }

    /// Whether this image was ever approved as one of this repository.
    pub(super) fn has_vouched(&self, repository: &Repository, image_id: &Digest) -> bool {
        let known = self.shared.lock();
        let mut records = known.images.get(image_id).into_iter().flatten();
        records.any(|record| record.repository == *repository && !record.forgiven)
    }

    /// How many images are remembered.
    pub(super) fn images(&self) -> usize {
        self.shared.lock().images.len()
    }

    /// Whether this image was ever approved.
    pub(super) fn knows_image(&self, image_id: &Digest) -> bool {
        self.shared.lock().images.contains_key(image_id)
    }

    /// Remembers, until the gate stops, that an image was approved of which there is nothing to ask about: an exception names its id.
    pub(super) fn note(&self, image_id: Digest) {
        let mut known = self.shared.lock();
        if known.images.len() < MAX_IMAGES {
            known.images.entry(image_id).or_default();
        }
    }

    /// Whether this repository has vouched for anything.
    pub(super) fn knows(&self, repository: &Repository) -> bool {
        self.shared.lock().repositories.contains(repository)
    }

    /// Keeps an approval, in memory at once. New ones are appended to the file; a full disk leaves them in memory, told in the log.
    pub fn keep(&self, record: &Record) {
        if self.shared.lock().images.get(&record.image_id).is_some_and(|approvals| holds(approvals, record)) {
            return;
        }
        let mut due = self.shared.due();
        let change = add(&mut self.shared.lock(), record);
        if self.shared.path.is_none() || change == Change::None {
            return;
        }
        due.lines.push((record.clone(), change));
        if due.lines.len() > MAX_DUE {
            due.lines.clear();
            due.is_anew = true;
        }
        if std::mem::replace(&mut due.is_written, true) {
            return;
        }
        drop(due);
        let shared = Arc::clone(&self.shared);
        match &self.workers {
            Some(workers) => drop(workers.spawn_blocking(move || shared.write())),
            None => shared.write(),
        }
    }

    /// Waits until everything is on disk, if the disk takes it.
    pub(super) fn end(&self) {
        let due = self.shared.due();
        drop(self.shared.idle.wait_timeout_while(due, ENDING, |due| due.is_written));
    }
}

impl Shared {
    /// Writes what is due, and what becomes due meanwhile.
    fn write(&self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (lines, is_anew) = {
                let mut due = self.due();
                if due.lines.is_empty() && !due.is_anew {
                    due.is_written = false;
                    self.idle.notify_all();
                    return;
                }
                (std::mem::take(&mut due.lines), std::mem::take(&mut due.is_anew))
            };
            if let Some(path) = &self.path
                && !is_anew
                && let Err(error) = append(path, &lines)
            {
                tracing::error!(%error, "an approval could not be recorded on disk; it is kept in memory until the gate stops");
            }
            *spare += lines.iter().filter(|(_, change)| *change == Change::Replaced).count();
            if is_anew || *spare > SPARE_LINES {
                self.rewrite();
                *spare = 0;
            }
        }
    }

    fn rewrite(&self) {
        let Some(path) = &self.path else { return };
        let lines: Vec<u8> = self
            .lock()
            .images
            .values()
            .flatten()
            .filter_map(|record| serde_json::to_vec(record).ok())
            .flat_map(|mut line| {
                line.push(b'\n');
                line
            })
            .collect();
        if let Err(error) = replace(path, &lines, 0o600, Outlives::Power) {
            tracing::error!(%error, "the records of approvals could not be written again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(path: &Path, records: &[(Record, Change)]) -> std::io::Result<()> {
    let mut lines = Vec::new();
    for (record, _) in records {
        serde_json::to_writer(&mut lines, record)?;
        lines.push(b'\n');
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)?.write_all(&lines)
}

fn is_same(one: &Record, other: &Record) -> bool {
    one.repository == other.repository && one.digest == other.digest
}

/// Whether there is nothing new in it.
fn holds(approvals: &[Record], record: &Record) -> bool {
    approvals.iter().any(|known| is_same(known, record) && (record.forgiven || !known.forgiven))
}

/// The same for what comes and for what is read back, so that a restart knows what memory knew.
fn add(known: &mut Known, record: &Record) -> Change {
    if known.images.len() >= MAX_IMAGES && !known.images.contains_key(&record.image_id) {
        return Change::None;
    }
    if known.repositories.len() < MAX_IMAGES && !record.forgiven {
        known.repositories.insert(record.repository.clone());
    }
    let approvals = known.images.entry(record.image_id).or_default();
    if holds(approvals, record) {
        return Change::None;
    }
    let was_forgiven = approvals.iter().position(|known| is_same(known, record));
    let replaced = was_forgiven.or_else(|| (approvals.len() >= MAX_PER_IMAGE).then_some(0));
    if let Some(at) = replaced {
        approvals.remove(at);
    }
    approvals.push(record.clone());
    if replaced.is_some() { Change::Replaced } else { Change::Added }
}

/// What the file says, whether some of it could not be read, and how many lines are not needed.
fn load(file: &File) -> (Known, bool, usize) {
    let mut known = Known::default();
    let (mut torn, mut spare) = (false, 0);
    for line in BufReader::new(file.take(MAX_BYTES)).split(b'\n') {
        let Ok(line) = line else { return (known, true, spare) };
        let Ok(record) = serde_json::from_slice::<Record>(&line) else {
            torn = true;
            continue;
        };
        spare += usize::from(add(&mut known, &record) != Change::Added);
    }
    (known, torn, spare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> Record {
        let (image_id, digest) = (Digest::of(b"image"), Digest::of(b"manifest"));
        Record { image_id, repository: name.parse().unwrap(), digest, forgiven: false }
    }

    #[test]
    fn approvals_outlive_the_gate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("approvals.jsonl");
        Approvals::open(&path).keep(&record("r.example/a"));
        let again = Approvals::open(&path);
        assert_eq!(again.of(&Digest::of(b"image")), [("r.example/a".parse().unwrap(), Digest::of(b"manifest"))]);
        assert!(again.of(&Digest::of(b"other")).is_empty());
    }

    /// What a permissive scope let pass is asked about again, and was never approved, also not after a restart.
    #[test]
    fn what_was_forgiven_is_no_approval_until_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("approvals.jsonl");
        let (repository, image) = ("r.example/a".parse().unwrap(), Digest::of(b"image"));
        let approvals = Approvals::open(&path);
        let says = |approvals: &Approvals| {
            (approvals.of(&image).len(), approvals.has_vouched(&repository, &image), approvals.knows(&repository))
        };
        let forgiven = Record { forgiven: true, ..record("r.example/a") };
        approvals.keep(&forgiven);
        assert_eq!((says(&approvals), says(&Approvals::open(&path))), ((1, false, false), (1, false, false)));
        assert!(approvals.knows_image(&image));
        approvals.keep(&record("r.example/a"));
        assert_eq!((says(&approvals), says(&Approvals::open(&path))), ((1, true, true), (1, true, true)));
        // What was approved once stays so.
        approvals.keep(&forgiven);
        assert_eq!((says(&approvals), says(&Approvals::open(&path))), ((1, true, true), (1, true, true)));
        approvals.shared.rewrite();
        assert_eq!(says(&Approvals::open(&path)), (1, true, true));
        // What an older gate wrote was all approved, as far as it knew.
        let old = format!(r#"{{"image_id":"{image}","repository":"r.example/a","digest":"{image}"}}"#);
        std::fs::write(&path, old + "\n").unwrap();
        assert_eq!(says(&Approvals::open(&path)), (1, true, true));
    }

    #[test]
    fn torn_lines_are_dropped_and_the_rest_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("approvals.jsonl");
        Approvals::open(&path).keep(&record("r.example/a"));
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"image_id\":").unwrap();
        assert_eq!(Approvals::open(&path).of(&Digest::of(b"image")).len(), 1);
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("}\n"));
    }

    #[test]
    fn who_only_looks_leaves_the_file_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("approvals.jsonl");
        Approvals::open(&path).keep(&record("r.example/a"));
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"image_id\":").unwrap();
        let before = std::fs::read(&path).unwrap();
        let looking = Approvals::look(&path);
        assert_eq!(looking.of(&Digest::of(b"image")).len(), 1);
        looking.keep(&record("r.example/b"));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    /// A disk that hangs: an approval counts at once, and who keeps one does not wait.
    #[tokio::test]
    async fn an_approval_counts_before_it_is_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("approvals.jsonl");
        let mut approvals = Approvals::open(&path);
        approvals.write_on(tokio::runtime::Handle::current());
        let disk = Arc::clone(&approvals.shared);
        let disk = disk.spare.lock().unwrap();
        for number in 0..MAX_DUE + 10 {
            let image_id = Digest::of(number.to_string().as_bytes());
            approvals.keep(&Record { image_id, ..record("r.example/a") });
        }
        assert!(approvals.knows(&"r.example/a".parse().unwrap()) && !approvals.knows(&"r.example/b".parse().unwrap()));
        assert!(approvals.shared.due().lines.len() <= MAX_DUE, "what waits for the disk is bounded");
        assert!(!path.exists());
        drop(disk);
        approvals.end();
        let again = Approvals::open(&path);
        for number in [0, MAX_DUE + 9] {
            assert_eq!(again.of(&Digest::of(number.to_string().as_bytes())).len(), 1, "{number}");
        }
    }

    #[test]
    fn one_image_does_not_fill_the_records() {
        let approvals = Approvals::in_memory();
        for number in 0..100 {
            approvals.keep(&record(&format!("r.example/a{number}")));
        }
        assert_eq!(approvals.of(&Digest::of(b"image")).len(), MAX_PER_IMAGE);
    }
    #[test]
    fn a_restart_knows_the_newest_as_memory_did_and_the_file_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("approvals.jsonl");
        let approvals = Approvals::open(&path);
        for number in 0..=MAX_PER_IMAGE {
            approvals.keep(&record(&format!("r.example/a{number}")));
        }
        assert_eq!(Approvals::open(&path).of(&Digest::of(b"image")), approvals.of(&Digest::of(b"image")));
        // Names that take turns: each pushes out the next.
        for number in 0..3 * SPARE_LINES {
            approvals.keep(&record(&format!("r.example/a{}", number % (MAX_PER_IMAGE + 1))));
        }
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= SPARE_LINES + MAX_PER_IMAGE + 1, "{lines}");
        assert_eq!(Approvals::open(&path).of(&Digest::of(b"image")), approvals.of(&Digest::of(b"image")));
    }
}
