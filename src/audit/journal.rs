//! Where entries go: a file that is appended to, synced and rotated; in tests, memory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Entry;

/// Keeps entries. Never blocks on anything but the kernel, never fails the caller: a decision goes on without its record,
/// and [`Journal::lost`] tells how many were.
pub trait Journal: Send + Sync {
    /// Hands one entry to the kernel.
    fn record(&self, entry: &Entry);
    /// Entries that could not be written since the start.
    fn lost(&self) -> u64;
}

/// Bounds of the log's files.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Size at which a file is rotated, in bytes. Stops one file from growing for ever.
    pub file_bytes: u64,
    /// Rotated files kept. Stops the folder from growing for ever.
    pub files: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 16 << 20, files: 8 }
    }
}

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the audit log `{path}` cannot be opened: {source}", path = path.display())]
pub struct JournalError {
    /// Which file.
    path: PathBuf,
    /// Why.
    source: io::Error,
}

/// The log file.
pub struct FileJournal {
    path: PathBuf,
    limits: Limits,
    open: Mutex<Open>,
    /// Rotated files that are still to be synced.
    rotated: Mutex<Vec<File>>,
    lost: AtomicU64,
    dirty: AtomicBool,
}

struct Open {
    file: Arc<File>,
    bytes: u64,
    /// The last write failed, so the file may end inside a line.
    torn: bool,
}

impl FileJournal {
    /// Opens the log for appending, mode 0600, and starts the thread that syncs it once a second.
    pub fn open(path: &Path, limits: Limits) -> Result<Arc<Self>, JournalError> {
        let open = open(path).map_err(|source| JournalError { path: path.to_owned(), source })?;
        let journal = Arc::new(Self {
            path: path.to_owned(),
            limits,
            open: Mutex::new(open),
            rotated: Mutex::default(),
            lost: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&journal);
        let syncer = move || {
            while let Some(journal) = weak.upgrade() {
                journal.sync();
                drop(journal);
                std::thread::sleep(Duration::from_secs(1));
            }
        };
        std::thread::Builder::new()
            .name("audit-sync".to_owned())
            .spawn(syncer)
            .map_err(|source| JournalError { path: path.to_owned(), source })?;
        Ok(journal)
    }

    /// Syncs what was written since the last time, files that were rotated meanwhile included.
    pub fn sync(&self) {
        for file in std::mem::take(&mut *self.rotated.lock().unwrap_or_else(PoisonError::into_inner)) {
            if let Err(error) = file.sync_data() {
                tracing::error!(%error, "a rotated audit log cannot be synced");
            }
        }
        if self.dirty.swap(false, Ordering::AcqRel) {
            let file = Arc::clone(&self.open.lock().unwrap_or_else(PoisonError::into_inner).file);
            // Outside the lock: decisions do not wait for the disk.
            if let Err(error) = file.sync_data() {
                tracing::error!(%error, "the audit log cannot be synced");
            }
        }
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.bytes.saturating_add(line.len() as u64) > self.limits.file_bytes && open.bytes > 0 {
            self.rotate(&mut open)?;
        }
        if open.torn {
            (&*open.file).write_all(b"\n")?;
            open.torn = false;
        }
        let written = (&*open.file).write_all(line);
        open.torn = written.is_err();
        open.bytes = open.bytes.saturating_add(line.len() as u64);
        self.dirty.store(true, Ordering::Release);
        written
    }

    /// `audit.jsonl` becomes `audit.jsonl.1`, and so on; the oldest goes.
    fn rotate(&self, current: &mut Open) -> io::Result<()> {
        // Synced by the thread that does so each second: decisions do not wait for the disk.
        self.rotated.lock().unwrap_or_else(PoisonError::into_inner).push(current.file.try_clone()?);
        let numbered = |number: u32| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..self.limits.files).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(&self.path, numbered(1))?;
        *current = open(&self.path)?;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<Open> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let bytes = file.metadata()?.len();
    // What an earlier gate left half written is ended before the first new line.
    Ok(Open { file: Arc::new(file), bytes, torn: bytes > 0 && !ends_in_newline(path) })
}

fn ends_in_newline(path: &Path) -> bool {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let last = || -> io::Result<u8> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0u8; 1];
        file.read_exact(&mut byte)?;
        Ok(byte[0])
    };
    last().is_ok_and(|byte| byte == b'\n')
}

impl Journal for FileJournal {
    fn record(&self, entry: &Entry) {
        let written = serde_json::to_vec(entry).map_err(io::Error::other).and_then(|mut line| {
            line.push(b'\n');
            self.write(&line)
        });
        if let Err(error) = written {
            // The first loss is told, and then every 1000th: a full disk must not fill the daemon's log as well.
            if self.lost.fetch_add(1, Ordering::Relaxed).is_multiple_of(1000) {
                tracing::error!(%error, "an audit entry was lost; decisions go on");
            }
        }
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Entries in memory, for tests.
#[cfg(test)]
#[derive(Default)]
pub struct MemoryJournal(pub Mutex<Vec<Entry>>);

#[cfg(test)]
impl Journal for MemoryJournal {
    fn record(&self, entry: &Entry) {
        self.0.lock().unwrap().push(entry.clone());
    }

    fn lost(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::audit::Event;

    fn entry(message: &str) -> Entry {
        let mut entry = Entry::new(jiff::Timestamp::UNIX_EPOCH, Event::Blocked);
        entry.message = message.to_owned();
        entry
    }

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn an_entry_is_one_private_line_whatever_clients_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let journal = FileJournal::open(&path, Limits::default()).unwrap();
        journal.record(&entry("a\nb\u{1b}[31m\"c"));
        let lines = lines(&path);
        assert_eq!(lines[0]["message"], "a\nb\u{1b}[31m\"c");
        assert_eq!(lines[0]["event"], "BLOCKED");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let raw = fs::read(&path).unwrap();
        assert_eq!(raw.iter().filter(|byte| byte.is_ascii_control()).count(), 1);
    }

    #[test]
    fn files_are_rotated_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let journal = FileJournal::open(&path, Limits { file_bytes: 200, files: 2 }).unwrap();
        for number in 0..10 {
            journal.record(&entry(&format!("{number}")));
        }
        assert_eq!(lines(&path).last().unwrap()["message"], "9");
        assert!(dir.path().join("audit.jsonl.2").exists());
        assert!(!dir.path().join("audit.jsonl.3").exists());
        assert_eq!(journal.lost(), 0);
    }

    #[test]
    fn a_half_written_line_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        fs::write(&path, "{\"half").unwrap();
        let journal = FileJournal::open(&path, Limits::default()).unwrap();
        journal.record(&entry("whole"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(text.lines().nth(1).unwrap()).is_ok());
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let journal = FileJournal::open(Path::new("/dev/full"), Limits::default()).unwrap();
        journal.record(&entry("x"));
        assert_eq!(journal.lost(), 1);
    }
}
