//! One file of lines: appended to, rotated, and made anew where it was moved away, deleted, or could not be opened before.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::JournalLimits;

/// Rotated files that wait for the disk. Stops a slow one from holding all descriptors.
const UNSYNCED: usize = 8;

/// The file; closed where it could not be opened yet.
pub(super) struct LogFile {
    path: PathBuf,
    limits: JournalLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Rotated files that are still to be synced.
    rotated: Vec<Arc<File>>,
}

struct Open {
    file: Arc<File>,
    bytes: u64,
    /// The last write failed, so the file may end inside a line.
    torn: bool,
    /// Something was written since the last sync.
    dirty: bool,
    /// Lines since the file was last seen in its place.
    lines: u64,
}

/// What became of a file that is not where it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// Lines that were written to it since it was last seen and are in no file any more.
    pub(super) lost: u64,
}

impl LogFile {
    pub(super) fn new(path: PathBuf, limits: JournalLimits) -> Self {
        Self { path, limits, state: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Hands a line to the kernel.
    pub(super) fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let full = |open: &Open, bytes: u64| open.bytes > 0 && open.bytes.saturating_add(line.len() as u64) > bytes;
        if state.open.as_ref().is_some_and(|open| full(open, self.limits.file_bytes)) {
            let rotated = self.rotate(&mut state);
            // One that cannot be rotated goes on, for a time.
            if state.open.as_ref().is_some_and(|open| full(open, self.limits.file_bytes.saturating_mul(2))) {
                rotated?;
            }
        }
        let open = state.open.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        if open.torn {
            (&*open.file).write_all(b"\n")?;
            open.torn = false;
        }
        open.dirty = true;
        let written = (&*open.file).write_all(line);
        open.torn = written.is_err();
        if written.is_ok() {
            open.bytes = open.bytes.saturating_add(line.len() as u64);
            open.lines = open.lines.saturating_add(1);
        }
        written
    }

    /// Opens the file where that was not possible before, and makes it anew where it is not in its place any more.
    pub(super) fn look(&self) -> io::Result<Option<Moved>> {
        let mut state = self.lock();
        let Some(open) = &mut state.open else {
            state.open = Some(open(&self.path)?);
            return Ok(None);
        };
        let held = open.file.metadata()?;
        if is_at(&self.path, &held)? {
            // Somebody else has written too (`Beside`), and may have been stopped inside a line.
            if open.bytes != held.len() && held.len() > 0 {
                open.torn |= !ends_in_newline(&self.path);
            }
            open.bytes = held.len();
            open.lines = 0;
            return Ok(None);
        }
        // What was moved is in another file; what was deleted is gone.
        let lost = if held.nlink() == 0 { open.lines } else { 0 };
        state.open = Some(self::open(&self.path)?);
        Ok(Some(Moved { lost }))
    }

    /// Syncs what was written since the last time, files that were rotated meanwhile included.
    pub(super) fn sync(&self) {
        let mut files = std::mem::take(&mut self.lock().rotated);
        if let Some(open) = self.lock().open.as_mut().filter(|open| open.dirty) {
            open.dirty = false;
            files.push(Arc::clone(&open.file));
        }
        // Outside the lock: decisions do not wait for the disk.
        for error in files.iter().filter_map(|file| file.sync_data().err()) {
            tracing::error!(%error, path = %self.path.display(), "the audit log cannot be synced");
        }
    }

    /// `audit.jsonl` becomes `audit.jsonl.1`, and so on; the oldest goes. What is repeated after a failure moves nothing twice.
    fn rotate(&self, state: &mut State) -> io::Result<()> {
        let Some(full) = &state.open else { return Ok(()) };
        // Where the file is not in its place any more there is nothing to rotate.
        if is_at(&self.path, &full.file.metadata()?)? {
            let numbered = |number: u32| PathBuf::from(format!("{}.{number}", self.path.display()));
            // Only what stands before the first gap moves, so that the older ones are not pushed out for nothing.
            let gap = (1..self.limits.files).find(|number| !numbered(*number).exists()).unwrap_or(self.limits.files);
            for number in (1..gap).rev() {
                done(fs::rename(numbered(number), numbered(number + 1)))?;
            }
            done(fs::rename(&self.path, numbered(1)))?;
        }
        let full = Arc::clone(&full.file);
        state.open = Some(open(&self.path)?);
        state.rotated.push(full);
        if state.rotated.len() > UNSYNCED {
            state.rotated.remove(0);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A rename of what is not there any more is done.
fn done(renamed: io::Result<()>) -> io::Result<()> {
    match renamed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether this open file is the one under its name.
fn is_at(path: &Path, held: &fs::Metadata) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<Open> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // Without waiting: a pipe that somebody put there must not hold the gate.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(nonblock).open(path)?;
    let bytes = file.metadata()?.len();
    // What an earlier gate left half written is ended before the first new line.
    Ok(Open { file: Arc::new(file), bytes, torn: bytes > 0 && !ends_in_newline(path), dirty: false, lines: 0 })
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: JournalLimits = JournalLimits { file_bytes: 10, files: 3 };

    fn log(dir: &Path) -> LogFile {
        let log = LogFile::new(dir.join("log"), LIMITS);
        log.look().unwrap();
        log
    }

    fn text(dir: &Path, name: &str) -> String {
        fs::read_to_string(dir.join(name)).unwrap_or_default()
    }

    #[test]
    fn a_full_file_that_was_moved_away_destroys_no_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path());
        for number in 0..4 {
            log.write(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert_eq!((text(dir.path(), "log.3"), text(dir.path(), "log")), ("line 0\n".into(), "line 3\n".into()));
        fs::rename(dir.path().join("log"), dir.path().join("elsewhere")).unwrap();
        log.write(b"line 4\n").unwrap();
        assert_eq!(text(dir.path(), "log"), "line 4\n");
        for number in 1..=3 {
            assert_eq!(text(dir.path(), &format!("log.{number}")), format!("line {}\n", 3 - number));
        }
        assert!(log.lock().rotated.len() <= UNSYNCED);
    }

    #[test]
    fn a_rotation_that_fails_shifts_once_and_the_entry_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path());
        log.write(b"line 0\n").unwrap();
        // Only an empty folder can be replaced by nothing that is no folder: the rename fails.
        fs::create_dir(dir.path().join("log.1")).unwrap();
        fs::create_dir(dir.path().join("log.2")).unwrap();
        fs::create_dir(dir.path().join("log.3")).unwrap();
        fs::write(dir.path().join("log.3/x"), "").unwrap();
        log.write(b"line 1\n").unwrap();
        assert_eq!(text(dir.path(), "log"), "line 0\nline 1\n");
        // Beyond twice its size it is full.
        log.write(b"line 2\n").unwrap_err();
        assert!(dir.path().join("log.1").is_dir() && dir.path().join("log.2").is_dir());
    }

    #[test]
    fn a_file_that_was_deleted_is_made_anew_with_its_folder_and_what_it_held_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        let log = log(&folder);
        log.write(b"a\n").unwrap();
        assert_eq!(log.look().unwrap(), None);
        log.write(b"b\n").unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(log.look().unwrap(), Some(Moved { lost: 1 }));
        log.write(b"c\n").unwrap();
        assert_eq!(text(&folder, "log"), "c\n");
        // One that was moved lost nothing.
        fs::rename(folder.join("log"), folder.join("moved")).unwrap();
        assert_eq!(log.look().unwrap(), Some(Moved { lost: 0 }));
        assert_eq!((text(&folder, "moved"), text(&folder, "log")), ("c\n".into(), String::new()));
    }

    #[test]
    fn a_pipe_in_its_place_does_not_hold_the_gate() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("log"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        LogFile::new(dir.path().join("log"), LIMITS).look().unwrap_err();
    }
}
