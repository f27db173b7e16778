//! One file of lines: appended to, chained, rotated, and made anew where it was moved away, deleted, or could not be opened before.
//!
//! The gate writes, and beside it commands do, so both hold the file's lock for the moment of a write, and look first whether the
//! file ends where they left it: what others have written, or left half written, is read, and the next line is chained to it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::{CWD, RenameFlags};

use super::JournalLimits;
use super::chain::{self, End, Link, Pieces, Unlinked};

/// Rotated files that are looked for: all that the gate keeps of a log.
pub const ROTATED: u32 = 8;

/// Rotated files that wait for the disk. Stops a slow one from holding all descriptors.
const UNSYNCED: usize = 8;
/// How long the gate waits for the lock of the file: a command holds it for microseconds. It waits so once a second at most, and
/// then writes without it. Stops whoever stopped while holding it from holding up decisions.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long a command waits for it.
const PATIENCE_OF_COMMANDS: Duration = Duration::from_secs(2);
/// How often the lock is tried meanwhile.
const TRY: Duration = Duration::from_micros(200);
/// Most of a file that is read for the last link, bytes: what it has is at most twice the size at which it is rotated.
/// Stops a foreign file from holding up the start.
const READ_BYTES: u64 = 64 << 20;
/// Most lines that wait to be carried away, beyond which those of others are dropped: a command writes a few. Stops a foreign file from filling memory.
const OTHERS: usize = 1024;
/// How often the file is opened again that was rotated meanwhile. Stops a race that does not end.
const REOPENS: usize = 8;

/// The file; closed where it could not be opened yet.
pub(super) struct LogFile {
    path: PathBuf,
    limits: JournalLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// The link of the last entry; `None` where none has been looked for.
    last: Option<Link>,
    /// Somebody has been waited for since the last look.
    waited: bool,
    /// What became since the last look of a file that was not in its place when it was to be written.
    moved: Option<Moved>,
    /// Lines that nobody has carried away yet, of this process and of others, as they follow each other in the file; `None`: nobody will.
    waiting: Option<Vec<Vec<u8>>>,
    /// Rotated files that are still to be synced.
    rotated: Vec<Arc<File>>,
}

struct Open {
    file: Arc<File>,
    /// Which file it is, whatever its name.
    id: FileId,
    /// How long it was when it was last seen in its place, for the look that follows.
    seen: Option<u64>,
    /// The same for reading; none of what is not a file (a pipe).
    reader: Option<File>,
    /// Up to where it has been read or written: the end of a line, or of a part of one that is longer than any entry.
    end: u64,
    /// It ends there inside a line.
    is_inside: bool,
    /// An entry of it has a link.
    is_linked: bool,
    /// What follows the last link.
    unlinked: Unlinked,
    /// When its first entry was made, by that entry's word, where it has one.
    begun: Option<Timestamp>,
    /// Something was written since the last sync.
    dirty: bool,
    /// Lines since the file was last seen in its place.
    lines: u64,
}

/// Device and inode.
type FileId = (u64, u64);

/// What became of a file that is not where it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// Lines that were written to it since it was last seen and are in no file any more.
    pub(super) lost: u64,
}

/// The lock of an open file, until it is dropped.
struct Held(Arc<File>);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// A rotated file of a log.
pub(super) fn rotated(path: &Path, number: u32) -> PathBuf {
    PathBuf::from(format!("{}.{number}", path.display()))
}

impl LogFile {
    pub(super) fn new(path: PathBuf, limits: JournalLimits) -> Self {
        Self { path, limits, state: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Hands an entry (a JSON object) to the kernel, as a line with its link.
    pub(super) fn write(&self, entry: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let _held = self.hold(&mut state)?;
        let mut found = Found::look(&mut state)?;
        let most = entry.len().saturating_add(chain::SEAL_BYTES) as u64;
        let full = |found: &Found, bytes: u64| found.len > 0 && found.len.saturating_add(most) > bytes;
        let is_old = self.is_old(&mut state, entry) && found.len > 0;
        // What has no link yet gets it in its own file.
        let _held_too = if (is_old || full(&found, self.limits.file_bytes)) && found.is_covered(&state) {
            let rotated = self.rotate(&mut state);
            // One that cannot be rotated goes on, for a time; not where another has its place.
            if rotated.is_err() && (full(&found, self.limits.file_bytes.saturating_mul(2)) || !self.is_in_place(&mut state)) {
                return rotated;
            }
            let held = rotated.is_ok().then(|| self.hold(&mut state)).transpose()?;
            found = Found::look(&mut state)?;
            held
        } else {
            None
        };
        let state = &mut *state;
        let mut last = state.last.unwrap_or(Link::START);
        let open = state.open.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let (mut unlinked, mut is_linked) = (open.unlinked.clone(), open.is_linked);
        let mut text = Vec::new();
        if !found.rest.is_empty() || open.is_inside {
            // What was left half written is ended before the new line.
            text.push(b'\n');
            match chain::sealed(&found.rest).filter(|_| !open.is_inside) {
                // It lacks nothing but its end.
                Some(sealed) => {
                    (last, unlinked, is_linked) = (sealed.link, Unlinked::default(), true);
                    if let Some(waiting) = &mut state.waiting {
                        waiting.push([&*found.rest, b"\n"].concat());
                    }
                }
                None => {
                    unlinked.add(&found.rest);
                    unlinked.add(b"\n");
                }
            }
        }
        let begin = text.len();
        let link = chain::seal(entry, last, (!is_linked).then_some(last), unlinked.digest(), &mut text);
        open.dirty = true;
        // Where it fails, what there is of it is found the next time.
        (&*open.file).write_all(&text)?;
        open.end = found.len.saturating_add(text.len() as u64);
        (open.is_inside, open.is_linked, open.unlinked) = (false, true, Unlinked::default());
        open.begun = open.begun.or_else(|| chain::timestamp(entry));
        open.lines = open.lines.saturating_add(1);
        state.last = Some(link);
        if let Some(waiting) = &mut state.waiting {
            waiting.push(text.split_off(begin));
        }
        Ok(())
    }

    /// From here on, what is written here by anybody is kept until it is carried away.
    pub(super) fn listen(&self) {
        self.lock().waiting.get_or_insert_default();
    }

    /// Looks for what others have written.
    pub(super) fn look_for_others(&self) {
        let mut state = self.lock();
        if let Ok(Some(_held)) = self.hold(&mut state) {
            let _ = Found::look(&mut state);
        }
    }

    /// What is to be carried away: whole lines, in the order that they have in the file.
    pub(super) fn waiting(&self) -> Vec<Vec<u8>> {
        self.lock().waiting.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Opens the file where that was not possible before, and makes it anew where it is not in its place any more.
    pub(super) fn look(&self) -> io::Result<Option<Moved>> {
        let mut state = self.lock();
        state.waited = false;
        let Some(open) = &mut state.open else {
            self.open(&mut state)?;
            return Ok(None);
        };
        if is_at(&self.path, open.id)? {
            open.lines = 0;
        } else {
            self.reopen(&mut state)?;
        }
        Ok(state.moved.take())
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

    /// The lock of the file, for one write; and that file in its place, for another process may have rotated it meanwhile.
    fn hold(&self, state: &mut State) -> io::Result<Option<Held>> {
        let is_command = self.limits.files == 0;
        let mut held = None;
        for _ in 0..REOPENS {
            let open = state.open.as_ref().ok_or(io::ErrorKind::NotConnected)?;
            let patience = match (is_command, state.waited) {
                (true, _) => PATIENCE_OF_COMMANDS,
                (false, true) => Duration::ZERO,
                (false, false) => PATIENCE,
            };
            held = locked(&Arc::clone(&open.file), patience);
            state.waited |= held.is_none();
            if self.is_in_place(state) {
                break;
            }
            drop(held.take());
            self.reopen(state)?;
        }
        Ok(held)
    }

    /// Whether the open file is the one under its name, as far as that can be told.
    fn is_in_place(&self, state: &mut State) -> bool {
        let Some(open) = &mut state.open else { return true };
        open.seen = None;
        match fs::metadata(&self.path) {
            Ok(found) if id_of(&found) == open.id => {
                open.seen = Some(found.len());
                true
            }
            Ok(_) => false,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Opens the file that is in its place now. Where another process has rotated the one before, the next entry follows what others
    /// wrote there to the last; where somebody has moved or deleted it, the next entry follows it too, so that it is missed.
    fn reopen(&self, state: &mut State) -> io::Result<()> {
        if let Some(held) = state.open.as_ref().map(|open| open.file.metadata()).transpose()? {
            let found = Found::look(state)?;
            let of_rest = chain::sealed(&found.rest).map(|sealed| sealed.link);
            let place = (1..=ROTATED).find(|number| is_at(&rotated(&self.path, *number), id_of(&held)).unwrap_or_default());
            let of_later = place.filter(|place| *place > 1).and_then(|_| last_link(&rotated(&self.path, 1)).unwrap_or_default());
            state.last = of_later.or(of_rest).or(state.last);
            if place.is_none() {
                // What was moved is in another file; what was deleted is gone.
                let lines = state.open.as_ref().map_or(0, |open| open.lines);
                let lost = if held.nlink() == 0 { lines } else { 0 };
                let before = state.moved.as_ref().map_or(0, |moved| moved.lost);
                self.open(state)?;
                state.moved = Some(Moved { lost: before.saturating_add(lost) });
                return Ok(());
            }
        }
        self.open(state)
    }

    /// Whether the file's first entry is older than a file may be. Where the clock was set back, its age counts from then.
    fn is_old(&self, state: &mut State, entry: &[u8]) -> bool {
        let (Some(age), Some(now), Some(open)) = (self.limits.age, chain::timestamp(entry), state.open.as_mut()) else {
            return false;
        };
        let begun = open.begun.filter(|begun| *begun <= now).unwrap_or(now);
        open.begun = Some(begun);
        now.duration_since(begun).unsigned_abs() >= age
    }

    /// Opens the file, and finds out what the next entry follows: the last one of this file, or of the one before.
    fn open(&self, state: &mut State) -> io::Result<()> {
        state.open = Some(open(&self.path)?);
        let (mut here, mut before) = (None, state.last);
        Found::read(state, &mut here)?;
        if here.is_none() && before.is_none() {
            before = last_link(&rotated(&self.path, 1)).unwrap_or_default();
        }
        state.last = here.or(before);
        Ok(())
    }

    /// `audit.jsonl` becomes `audit.jsonl.1`, and so on; the oldest goes. What is repeated after a failure moves nothing twice.
    fn rotate(&self, state: &mut State) -> io::Result<()> {
        let Some(full) = &state.open else { return Ok(()) };
        // Where the file is not in its place any more there is nothing to rotate.
        if is_at(&self.path, full.id)? {
            let numbered = |number: u32| rotated(&self.path, number);
            // Only what stands before the first gap moves, so that the older ones are not pushed out for nothing.
            let gap = (1..self.limits.files).find(|number| !numbered(*number).exists()).unwrap_or(self.limits.files);
            for number in (1..gap).rev() {
                done(fs::rename(numbered(number), numbered(number + 1)))?;
            }
            done(fs::rename(&self.path, numbered(1)))?;
        }
        let full = Arc::clone(&full.file);
        if let Err(error) = self.open(state) {
            // The full one goes on, unless somebody has made another meanwhile.
            let _ = rustix::fs::renameat_with(CWD, rotated(&self.path, 1), CWD, &self.path, RenameFlags::NOREPLACE);
            return Err(error);
        }
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

/// How an open file ends.
#[derive(Default)]
struct Found {
    len: u64,
    /// What stands behind the last whole line.
    rest: Vec<u8>,
}

impl Found {
    /// Reads what others have written since the last time; what they left is what the next entry follows.
    fn look(state: &mut State) -> io::Result<Self> {
        let mut last = state.last;
        let found = Self::read(state, &mut last)?;
        state.last = last;
        Ok(found)
    }

    fn read(state: &mut State, last: &mut Option<Link>) -> io::Result<Self> {
        let State { open, waiting, .. } = state;
        let open = open.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let Some(reader) = &open.reader else { return Ok(Self::default()) };
        let len = match open.seen.take() {
            Some(len) => len,
            None => open.file.metadata()?.len(),
        };
        if len == open.end {
            return Ok(Self { len, rest: Vec::new() });
        }
        let mut of_cut = None;
        let last = if len < open.end {
            // Somebody has cut it. The next entry says what it follows all the same, so that the cut shows.
            (open.end, open.is_inside, open.is_linked, open.unlinked) = (0, false, false, Unlinked::default());
            &mut of_cut
        } else {
            last
        };
        let begin = open.end.max(len.saturating_sub(READ_BYTES));
        let begins = begin == open.end && !open.is_inside;
        open.end = begin;
        let mut rest = Vec::new();
        let mut read = || -> io::Result<()> {
            let mut reader = reader;
            reader.seek(SeekFrom::Start(begin))?;
            let mut pieces = Pieces::new(BufReader::with_capacity(64 << 10, reader.take(len.saturating_sub(begin))), begins);
            while let Some(piece) = pieces.next()? {
                if open.end == 0 {
                    open.begun = chain::timestamp(piece.bytes);
                }
                match (piece.sealed(), piece.end) {
                    (_, End::File) => {
                        rest.extend_from_slice(piece.bytes);
                        return Ok(());
                    }
                    (Some(sealed), _) => {
                        *last = Some(sealed.link);
                        if let Some(waiting) = waiting.as_mut().filter(|waiting| waiting.len() < OTHERS) {
                            waiting.push(piece.bytes.to_vec());
                        }
                        (open.is_linked, open.unlinked) = (true, Unlinked::default());
                    }
                    (None, _) => open.unlinked.add(piece.bytes),
                }
                open.is_inside = piece.end == End::Long;
                open.end = open.end.saturating_add(piece.bytes.len() as u64);
            }
            Ok(())
        };
        if let Err(error) = read() {
            // The entries go on; that they are chained to what could not be read cannot be said of them.
            tracing::error!(%error, "the audit log cannot be read: its chain breaks here");
            open.end = len;
        }
        Ok(Self { len, rest })
    }

    /// Whether nothing waits for a link.
    fn is_covered(&self, state: &State) -> bool {
        self.rest.is_empty() && state.open.as_ref().is_some_and(|open| open.unlinked.bytes() == 0 && !open.is_inside)
    }
}

/// The last link of a file that nobody writes to any more, where it has one.
fn last_link(path: &Path) -> io::Result<Option<Link>> {
    let mut pieces = Pieces::new(BufReader::new(File::open(path)?.take(READ_BYTES)), true);
    let mut last = None;
    while let Some(piece) = pieces.next()? {
        last = piece.sealed().map(|sealed| sealed.link).or(last);
    }
    Ok(last)
}

/// The lock of a file, where it comes in time.
fn locked(file: &Arc<File>, patience: Duration) -> Option<Held> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Some(Held(Arc::clone(file))),
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() < patience => std::thread::sleep(TRY),
            // Or files here have no locks.
            Err(fs::TryLockError::WouldBlock | fs::TryLockError::Error(_)) => return None,
        }
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
fn is_at(path: &Path, held: FileId) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) => Ok(id_of(&found) == held),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn id_of(file: &fs::Metadata) -> FileId {
    (file.dev(), file.ino())
}

fn open(path: &Path) -> io::Result<Open> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // Without waiting: a pipe that somebody put there must not hold the gate.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = || -> io::Result<_> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(nonblock).open(path)?;
        let held = file.metadata()?;
        let reader = held.is_file().then(|| File::open(path)).transpose()?;
        if let Some(reader) = &reader
            && id_of(&reader.metadata()?) != id_of(&held)
        {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it was replaced while it was opened"));
        }
        Ok((file, held, reader))
    };
    // Another process may rotate it between the two.
    let is_gone =
        |opened: &io::Result<_>| opened.as_ref().is_err_and(|error: &io::Error| error.kind() == io::ErrorKind::NotFound);
    let mut again = (1..REOPENS).map(|_| opened());
    let (file, held, reader) = match opened() {
        first if is_gone(&first) => again.find(|opened| !is_gone(opened)).unwrap_or(first),
        first => first,
    }?;
    Ok(Open {
        file: Arc::new(file),
        id: id_of(&held),
        seen: None,
        reader,
        end: 0,
        is_inside: false,
        is_linked: false,
        unlinked: Unlinked::default(),
        begun: None,
        dirty: false,
        lines: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: JournalLimits = JournalLimits { file_bytes: 250, files: 3, age: None };

    fn log(dir: &Path) -> LogFile {
        let log = LogFile::new(dir.join("log"), LIMITS);
        log.look().unwrap();
        log
    }

    /// The lines of a file without their links.
    fn text(dir: &Path, name: &str) -> String {
        let text = fs::read_to_string(dir.join(name)).unwrap_or_default();
        text.lines().fold(String::new(), |all, line| all + line.split(",\"chain").next().unwrap() + "\n")
    }

    /// An entry, as it is before it has a link.
    fn entry(text: &str) -> Vec<u8> {
        format!("{text}}}").into_bytes()
    }

    #[test]
    fn a_full_file_that_was_moved_away_destroys_no_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path());
        for number in 0..4 {
            log.write(&entry(&format!("{{line {number}"))).unwrap();
        }
        assert_eq!((text(dir.path(), "log.3"), text(dir.path(), "log")), ("{line 0\n".into(), "{line 3\n".into()));
        fs::rename(dir.path().join("log"), dir.path().join("elsewhere")).unwrap();
        log.write(&entry("{line 4")).unwrap();
        assert_eq!(text(dir.path(), "log"), "{line 4\n");
        for number in 1..=3 {
            assert_eq!(text(dir.path(), &format!("log.{number}")), format!("{{line {}\n", 3 - number));
        }
        assert!(log.lock().rotated.len() <= UNSYNCED);
    }

    #[test]
    fn a_rotation_that_fails_shifts_once_and_the_entry_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path());
        log.write(&entry("{line 0")).unwrap();
        // Only an empty folder can be replaced by nothing that is no folder: the rename fails.
        fs::create_dir(dir.path().join("log.1")).unwrap();
        fs::create_dir(dir.path().join("log.2")).unwrap();
        fs::create_dir(dir.path().join("log.3")).unwrap();
        fs::write(dir.path().join("log.3/x"), "").unwrap();
        log.write(&entry("{line 1")).unwrap();
        assert_eq!(text(dir.path(), "log"), "{line 0\n{line 1\n");
        // Beyond twice its size it is full.
        log.write(&entry("{line 2")).unwrap_err();
        assert!(dir.path().join("log.1").is_dir() && dir.path().join("log.2").is_dir());
    }

    #[test]
    fn a_file_that_was_deleted_is_made_anew_with_its_folder_and_what_it_held_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        let log = log(&folder);
        log.write(&entry("{a")).unwrap();
        assert_eq!(log.look().unwrap(), None);
        log.write(&entry("{b")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(log.look().unwrap(), Some(Moved { lost: 1 }));
        log.write(&entry("{c")).unwrap();
        assert_eq!(text(&folder, "log"), "{c\n");
        // One that was moved lost nothing.
        fs::rename(folder.join("log"), folder.join("moved")).unwrap();
        assert_eq!(log.look().unwrap(), Some(Moved { lost: 0 }));
        assert_eq!((text(&folder, "moved"), text(&folder, "log")), ("{c\n".into(), String::new()));
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
