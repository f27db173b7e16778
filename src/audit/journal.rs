//! Where entries go: the audit log, and what is notable, and calls to plugins, also to files that nothing else fills; in tests, memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::carry::Telling;
use super::file::{LogFile, ROTATED};
use super::floods::Floods;
use super::{Carried, Carrier, Entry, Event};

/// The file of what is notable, beside the audit log.
pub const NOTABLE: &str = "audit-notable.jsonl";

/// The file of calls to plugins that were let pass, beside the audit log. Apart from what is notable, since clients fill it.
pub const PLUGINS: &str = "audit-plugins.jsonl";

/// How often files are looked at and synced, and floods counted.
const TICK: Duration = Duration::from_secs(1);

/// How often what was counted is written to the file of what is notable.
const NOTABLE_TICK: Duration = Duration::from_mins(1);

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The kernel has it; or it is counted, and written within a second.
    Kept,
    /// It could not be written.
    Lost,
}

/// Keeps entries. Never blocks on anything but the kernel, never fails the caller, who is told, as is [`Journal::lost`].
pub trait Journal: Send + Sync {
    /// Hands one entry to the kernel.
    fn record(&self, entry: &Entry) -> Recorded;
    /// Entries that could not be written since the start.
    fn lost(&self) -> u64;
    /// How those fare who carry entries away.
    fn carried(&self) -> Vec<(&'static str, Carried)> {
        Vec::new()
    }
    /// Writes what is counted only. Called at stop.
    fn end(&self) {}
}

/// Bounds of the log's files.
#[derive(Debug, Clone, Copy)]
pub struct JournalLimits {
    /// Size at which a file is rotated, in bytes. Stops one file from growing for ever.
    pub file_bytes: u64,
    /// Rotated files kept. Stops the folder from growing for ever.
    pub files: u32,
    /// Age at which a file is rotated though it is not full, from its first entry to the one to be written.
    pub age: Option<Duration>,
}

impl Default for JournalLimits {
    fn default() -> Self {
        Self { file_bytes: 16 << 20, files: ROTATED, age: None }
    }
}

/// Bounds of the files of what is notable, and of calls to plugins: years of either.
const NOTABLE_LIMITS: JournalLimits = JournalLimits { file_bytes: 4 << 20, files: 4, age: None };

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[error("the audit log `{path}` cannot be looked after: {source}", path = path.display())]
pub struct JournalError {
    /// Which file.
    path: PathBuf,
    /// Why.
    source: io::Error,
}

/// The log, what is notable of it, and the calls to plugins.
struct Files {
    all: LogFile,
    notable: LogFile,
    plugins: LogFile,
    /// What is notable and counted.
    counted: Floods,
}

impl Files {
    fn new(path: &Path, limits: JournalLimits, notable: JournalLimits) -> Self {
        let beside = |name| LogFile::new(path.with_file_name(name), notable);
        Self {
            all: LogFile::new(path.to_owned(), limits),
            notable: beside(NOTABLE),
            plugins: beside(PLUGINS),
            counted: Floods::default(),
        }
    }

    const fn each(&self) -> [&LogFile; 3] {
        [&self.all, &self.notable, &self.plugins]
    }

    /// Each file is tried, whatever becomes of another. Says the line where the log of all does not have it.
    fn write(&self, entry: &Entry) -> (Option<Vec<u8>>, io::Result<()>) {
        let line = match serde_json::to_vec(entry) {
            Ok(line) => line,
            Err(error) => return (None, Err(error.into())),
        };
        let beside = |file: &LogFile| file.write(&line);
        let is_notable = entry.is_notable() && !self.counted.take_notable(entry);
        let notable = if is_notable { beside(&self.notable) } else { Ok(()) };
        let plugins = if entry.is_plugin_call() { beside(&self.plugins) } else { Ok(()) };
        match self.all.write(&line) {
            Ok(()) => (None, notable.and(plugins)),
            Err(error) => (Some(line), Err(error)),
        }
    }

    /// Writes to the file of what is notable what was counted there.
    fn write_counted(&self) {
        for entry in self.counted.drain() {
            let written = serde_json::to_vec(&entry).map_err(io::Error::from).and_then(|line| self.notable.write(&line));
            if let Err(error) = written {
                tracing::error!(%error, "what is notable is in the audit log alone");
            }
        }
    }

    fn sync(&self) {
        for file in self.each() {
            file.sync();
        }
    }
}

/// The log of a gate that may be running, for a command that has something to record: each entry is one write at the file's end,
/// as the gate's are. It never rotates; what the gate rotates meanwhile is in the file before.
pub struct Beside(Files);

impl Beside {
    /// Opens the log at `path`, whose folder must be there.
    pub fn open(path: &Path) -> io::Result<Self> {
        const NEVER: JournalLimits = JournalLimits { file_bytes: u64::MAX, files: 0, age: None };
        std::fs::metadata(path.parent().unwrap_or(path))?;
        let files = Files::new(path, NEVER, NEVER);
        for file in files.each() {
            file.look()?;
        }
        Ok(Self(files))
    }

    /// Approvals, and waits for the disk.
    pub fn record(&self, entry: &Entry) -> io::Result<()> {
        for file in self.0.each() {
            file.look()?;
        }
        self.0.write(entry).1?;
        // One that was deleted between the look and the write took the entry with it.
        let mut lost = 0;
        for file in self.0.each() {
            lost += file.look()?.map_or(0, |moved| moved.lost);
        }
        if lost > 0 {
            self.0.write(entry).1?;
        }
        self.0.sync();
        Ok(())
    }
}

/// The log files.
pub struct FileJournal {
    files: Files,
    floods: Floods,
    lost: AtomicU64,
    /// Losses that an entry tells of.
    told: AtomicU64,
    carriers: Vec<Carriage>,
    /// Held while lines are taken from the log and handed on, so that they go out in the order of the log. Nothing waits meanwhile.
    carrying: Mutex<()>,
}

/// A carrier, and what has been told of it.
struct Carriage {
    carrier: Arc<dyn Carrier>,
    told: Mutex<Telling>,
}

impl FileJournal {
    /// Opens the log for appending, mode 0600, and starts the thread that looks after it once a second. A file that cannot be
    /// opened is tried again by that thread; what is recorded meanwhile is lost, counted, and told.
    pub fn open(path: &Path, limits: JournalLimits) -> Result<Arc<Self>, JournalError> {
        Self::open_with(path, limits, Vec::new())
    }

    /// The same; these carry each entry away, those of commands too.
    pub fn open_with(path: &Path, limits: JournalLimits, carriers: Vec<Arc<dyn Carrier>>) -> Result<Arc<Self>, JournalError> {
        let journal = Arc::new(Self {
            files: Files::new(path, limits, NOTABLE_LIMITS),
            floods: Floods::default(),
            lost: AtomicU64::new(0),
            told: AtomicU64::new(0),
            carriers: carriers.into_iter().map(|carrier| Carriage { carrier, told: Mutex::default() }).collect(),
            carrying: Mutex::default(),
        });
        for file in journal.files.each() {
            if let Err(error) = file.look() {
                tracing::error!(%error, path = %file.path().display(), "the audit log cannot be opened; tried again each second");
            }
        }
        if !journal.carriers.is_empty() {
            journal.files.all.listen();
        }
        let weak = Arc::downgrade(&journal);
        let mut counted = Instant::now();
        let keeper = move || {
            loop {
                std::thread::sleep(TICK);
                let Some(journal) = weak.upgrade() else { return };
                if counted.elapsed() >= NOTABLE_TICK {
                    counted = Instant::now();
                    journal.files.write_counted();
                }
                journal.tick();
            }
        };
        std::thread::Builder::new()
            .name("audit-sync".to_owned())
            .spawn(keeper)
            .map_err(|source| JournalError { path: path.to_owned(), source })?;
        Ok(journal)
    }

    /// What is done each second.
    fn tick(&self) {
        for file in self.files.each() {
            // What cannot be looked at is told by the losses.
            if let Ok(Some(moved)) = file.look() {
                self.lost.fetch_add(moved.lost, Ordering::Relaxed);
                let name = file.path().file_name().unwrap_or_default().to_string_lossy();
                self.note(format!("`{name}` was moved or deleted while it was written, and has been made again"));
            }
        }
        self.write_counted();
        self.tell_losses();
        self.carry_others();
        self.tell_of_carriers();
        self.sync();
    }

    /// Hands on what the log has that was not handed on yet, of the gate and of commands beside it; then this line, which the log does not have.
    fn carry(&self, lost: Option<Vec<u8>>) {
        if self.carriers.is_empty() {
            return;
        }
        let _carrying = self.carrying.lock().unwrap_or_else(PoisonError::into_inner);
        for line in self.files.all.waiting().into_iter().chain(lost) {
            let line: Arc<[u8]> = line.into();
            for carriage in &self.carriers {
                carriage.carrier.carry(&line);
            }
        }
    }

    /// What commands wrote beside the gate.
    fn carry_others(&self) {
        if !self.carriers.is_empty() {
            self.files.all.look_for_others();
            self.carry(None);
        }
    }

    /// Says how those fare who carry entries away, where there is something to say.
    fn tell_of_carriers(&self) {
        for Carriage { carrier, told } in &self.carriers {
            let now = carrier.carried();
            let tidings = told.lock().unwrap_or_else(PoisonError::into_inner).tidings(carrier.name(), &now, Instant::now());
            if let Some(tidings) = tidings {
                self.note(tidings);
            }
        }
    }

    /// An entry about the log itself.
    fn note(&self, message: String) -> Recorded {
        tracing::error!("the audit log: {message}");
        let mut entry = Entry::new(crate::clock::now(), Event::Gate);
        entry.message = message;
        self.write(&entry)
    }

    fn tell_losses(&self) {
        let lost = self.lost.load(Ordering::Relaxed);
        let untold = lost.saturating_sub(self.told.load(Ordering::Relaxed));
        if untold == 0 {
            return;
        }
        let mut entry = Entry::new(crate::clock::now(), Event::Gate);
        entry.message = format!("{untold} entries of the audit log could not be written");
        if self.files.write(&entry).1.is_ok() {
            self.carry(None);
            self.told.store(lost, Ordering::Relaxed);
            tracing::error!("{}; they can be again", entry.message);
        }
    }

    fn write_counted(&self) {
        for entry in self.floods.drain() {
            self.write(&entry);
        }
    }

    /// Syncs what was written since the last time.
    pub fn sync(&self) {
        self.files.sync();
    }

    fn write(&self, entry: &Entry) -> Recorded {
        let (lost, written) = self.files.write(entry);
        self.carry(lost);
        match written {
            Ok(()) => Recorded::Kept,
            Err(error) => {
                // The first loss is told, and then about every 1000th: a full disk must not fill the daemon's log as well.
                let before = self.lost.fetch_add(entry.count, Ordering::Relaxed);
                if before == 0 || before / 1000 != before.saturating_add(entry.count) / 1000 {
                    tracing::error!(%error, "an audit entry was lost");
                }
                Recorded::Lost
            }
        }
    }
}

impl Journal for FileJournal {
    fn record(&self, entry: &Entry) -> Recorded {
        if self.floods.take(entry) { Recorded::Kept } else { self.write(entry) }
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn carried(&self) -> Vec<(&'static str, Carried)> {
        self.carriers.iter().map(|Carriage { carrier, .. }| (carrier.name(), carrier.carried())).collect()
    }

    fn end(&self) {
        self.write_counted();
        self.tell_losses();
        self.files.write_counted();
        self.carry_others();
        self.sync();
        // At once, so that several that are away are waited for no longer than one.
        std::thread::scope(|scope| {
            for Carriage { carrier, .. } in &self.carriers {
                let ending = std::thread::Builder::new().spawn_scoped(scope, || carrier.end());
                if let Err(error) = ending {
                    tracing::warn!(%error, sink = carrier.name(), "what waits for a sink is not waited for");
                }
            }
        });
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        self.end();
    }
}

/// Entries in memory, for tests.
#[cfg(test)]
#[derive(Default)]
pub struct MemoryJournal(pub Mutex<Vec<Entry>>);

#[cfg(test)]
impl Journal for MemoryJournal {
    fn record(&self, entry: &Entry) -> Recorded {
        super::tests::hold_against_the_schema(&serde_json::to_value(entry).unwrap());
        self.0.lock().unwrap().push(entry.clone());
        Recorded::Kept
    }

    fn lost(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::audit::Event;

    fn entry(message: &str) -> Entry {
        let mut entry = Entry::new(jiff::Timestamp::UNIX_EPOCH, Event::Allowed);
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
        let journal = FileJournal::open(&path, JournalLimits::default()).unwrap();
        journal.record(&entry("a\nb\u{1b}[31m\"c"));
        let lines = lines(&path);
        assert_eq!(lines[0]["message"], "a\nb\u{1b}[31m\"c");
        assert_eq!(lines[0]["event"], "ALLOWED");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let raw = fs::read(&path).unwrap();
        assert_eq!(raw.iter().filter(|byte| byte.is_ascii_control()).count(), 1);
    }

    #[test]
    fn files_are_rotated_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let journal = FileJournal::open(&path, JournalLimits { file_bytes: 200, files: 2, age: None }).unwrap();
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
        let journal = FileJournal::open(&path, JournalLimits::default()).unwrap();
        journal.record(&entry("whole"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(text.lines().nth(1).unwrap()).is_ok());
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_the_caller_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let journal = FileJournal::open(&path, JournalLimits::default()).unwrap();
        assert_eq!(journal.record(&entry("x")), Recorded::Lost);
        assert_eq!(journal.lost(), 1);
        fs::remove_file(&path).unwrap();
        journal.tick();
        assert_eq!(journal.record(&entry("y")), Recorded::Kept);
    }

    #[test]
    fn a_log_that_cannot_be_opened_at_start_is_opened_later_and_tells_what_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        // No folder can be made where a file is.
        fs::write(&folder, "").unwrap();
        let path = folder.join("audit.jsonl");
        let journal = FileJournal::open(&path, JournalLimits::default()).unwrap();
        for _ in 0..3 {
            assert_eq!(journal.record(&entry("x")), Recorded::Lost);
        }
        fs::remove_file(&folder).unwrap();
        let patience = std::time::Instant::now() + Duration::from_secs(10);
        while !fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')) {
            assert!(std::time::Instant::now() < patience, "nobody tried again");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(lines(&path)[0]["event"], "GATE");
        assert_eq!(lines(&path)[0]["message"], "3 entries of the audit log could not be written");
        assert_eq!(lines(&path.with_file_name(NOTABLE)).len(), 1);
    }

    #[test]
    fn a_log_that_is_deleted_is_made_anew_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let journal = FileJournal::open(&path, JournalLimits::default()).unwrap();
        journal.record(&entry("gone"));
        fs::remove_file(&path).unwrap();
        journal.tick();
        journal.record(&entry("kept"));
        let messages: Vec<_> = lines(&path).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
        assert_eq!(
            messages,
            [
                "`audit.jsonl` was moved or deleted while it was written, and has been made again",
                "1 entries of the audit log could not be written",
                "kept"
            ]
        );
        assert_eq!(journal.lost(), 1);
    }

    #[test]
    fn a_flood_of_refusals_is_two_lines_and_what_is_notable_is_not_pushed_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let journal = FileJournal::open(&path, JournalLimits { file_bytes: 2000, files: 1, age: None }).unwrap();
        journal.record(&Entry::new(jiff::Timestamp::UNIX_EPOCH, Event::Killed));
        let mut enabled = entry("enabled");
        enabled.action = "plugin-enable";
        journal.record(&enabled);
        for number in 0..100 {
            let mut refusal = entry(&format!("{number}"));
            refusal.event = Event::Blocked;
            journal.record(&refusal);
        }
        journal.end();
        let counted: u64 =
            lines(&path).iter().skip(2).map(|line| line.get("count").map_or(1, |count| count.as_u64().unwrap())).sum();
        assert_eq!(counted, 100);
        assert!(lines(&path).len() <= 4 + 2, "a second may have ended meanwhile");
        for number in 0..100 {
            journal.record(&entry(&format!("{number}")));
        }
        let events: Vec<_> = lines(&path.with_file_name(NOTABLE)).iter().map(|line| line["event"].clone()).collect();
        assert_eq!(events, ["KILLED"]);
        let plugins: Vec<_> = lines(&path.with_file_name(PLUGINS)).iter().map(|line| line["action"].clone()).collect();
        assert_eq!(plugins, ["plugin-enable"]);
        assert!(!fs::read_to_string(&path).unwrap().contains("KILLED"));
    }

    #[test]
    fn no_flood_of_pulls_of_moved_tags_pushes_out_what_is_notable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let journal = FileJournal::open(&path, JournalLimits::default()).unwrap();
        let mut mismatch = Entry::new(jiff::Timestamp::UNIX_EPOCH, Event::Mismatch);
        for number in 0..10_000 {
            mismatch.image = format!("app:{}", number % 50);
            journal.record(&mismatch);
        }
        journal.end();
        let notable = lines(&path.with_file_name(NOTABLE));
        let counted: u64 = notable.iter().map(|line| line.get("count").map_or(1, |count| count.as_u64().unwrap())).sum();
        assert!(notable.len() < 20 && counted == 10_000, "{} {counted}", notable.len());
        assert_eq!(lines(&path).len(), 10_000, "the log has each");
    }

    #[test]
    fn no_flood_of_plugin_calls_pushes_out_what_is_notable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let journal = FileJournal::open(&path, JournalLimits::default()).unwrap();
        journal.record(&Entry::new(jiff::Timestamp::UNIX_EPOCH, Event::Killed));
        let mut call = entry("");
        let long = "a".repeat(500);
        for number in 0..100_000 {
            (call.event, call.action) = match number % 20 {
                0 => (Event::Gate, "plugin-set"),
                1 => (Event::Gate, "plugin-disable"),
                // What passes again and again, though it is approved.
                2 => (Event::Allowed, "plugin-enable"),
                3 => (Event::Allowed, "plugin-remove"),
                _ => (Event::Allowed, "plugin-disable"),
            };
            call.path = format!("/plugins/{number}{long}/disable");
            journal.record(&call);
        }
        journal.end();
        let events: Vec<_> = lines(&path.with_file_name(NOTABLE)).iter().map(|line| line["event"].clone()).collect();
        assert_eq!(events, ["KILLED"]);
        // Of what may pass whatever it names, a few lines a second stand for all.
        let mut others = 0;
        let mut counted = 0;
        for number in 0..5 {
            let name = if number == 0 { PLUGINS.to_owned() } else { format!("{PLUGINS}.{number}") };
            let Ok(text) = fs::read_to_string(path.with_file_name(name)) else { continue };
            for line in text.lines().filter(|line| !line.contains("plugin-enable")) {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                others += 1;
                counted += line["count"].as_u64().unwrap_or(1);
            }
        }
        assert!(others < 2000 && counted > others, "{others} {counted}");
    }

    /// A sink that keeps all lines.
    #[derive(Default)]
    struct Copy(Mutex<Vec<u8>>);

    impl Carrier for Copy {
        fn name(&self) -> &'static str {
            "copy"
        }

        fn carry(&self, line: &Arc<[u8]>) {
            self.0.lock().unwrap().extend_from_slice(line);
        }

        fn carried(&self) -> Carried {
            Carried::default()
        }

        fn end(&self) {}
    }

    #[test]
    fn what_a_sink_has_follows_in_the_order_of_the_log_though_commands_and_threads_write_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let copy = Arc::new(Copy::default());
        let carriers: Vec<Arc<dyn Carrier>> = vec![Arc::<Copy>::clone(&copy)];
        let journal = FileJournal::open_with(&path, JournalLimits { file_bytes: 20_000, files: 8, age: None }, carriers).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..50).for_each(|_| Beside::open(&path).unwrap().record(&entry("command")).unwrap()));
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        journal.record(&entry("gate"));
                        std::thread::sleep(Duration::from_micros(100));
                    }
                });
            }
        });
        journal.end();
        let kept = dir.path().join("copy.jsonl");
        fs::write(&kept, &*copy.0.lock().unwrap()).unwrap();
        let verified = crate::audit::verify("copy", &crate::audit::parts(&kept).unwrap(), &[]).unwrap();
        assert_eq!((verified.fault, verified.entries), (None, 250));
    }

    #[test]
    fn what_is_counted_is_written_though_no_more_calls_come() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let journal = FileJournal::open(&path, JournalLimits::default()).unwrap();
        let mut refusal = entry("no");
        refusal.event = Event::Blocked;
        for _ in 0..3 {
            journal.record(&refusal);
        }
        std::thread::sleep(TICK * 3);
        let counted: u64 = lines(&path).iter().map(|line| line.get("count").map_or(1, |count| count.as_u64().unwrap())).sum();
        assert_eq!(counted, 3);
    }
}
