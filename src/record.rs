//! The facts of decisions, kept as case files where the policy has `record = DIR`: `policy diff` judges them by another policy. What is kept
//! never holds up a decision: it goes through a short queue to a thread of its own, and what does not fit is counted, not waited for.

mod call;
mod folder;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use self::folder::Folder;
use crate::files::{Outlives, read_bytes, replace};
use crate::policy::{Code, Facts, Hider, Recording, Verdict, recorded_case};
use crate::request::Intent;
use crate::wire::Call;

/// Decisions that wait to be written. Stops a slow disk from filling memory: with the bytes below, 24 MiB.
const QUEUE: usize = 128;
/// Largest body of a call that is kept, bytes. Honest ones have a few thousand.
const BODY_BYTES: usize = 64 << 10;
/// Largest of what is known of a call's images, bytes. Honest ones have a few thousand.
const FACTS_BYTES: usize = 128 << 10;
/// Largest record, bytes. Stops images that say a lot of themselves from filling the folder.
const RECORD_BYTES: usize = 32 << 10;
/// How often what was seen again is counted in its file.
const FLUSH: Duration = Duration::from_secs(30);
/// How long a folder that cannot be used is left alone.
const PAUSE: Duration = Duration::from_secs(5);
/// Bytes of the salt.
const SALT_BYTES: usize = 32;
/// Why what comes too fast is lost.
const TOO_MANY: &str = "decisions come faster than they are written";
/// How far the thread stands back behind those that decide, in steps of `nice`.
const STAND_BACK: i32 = 10;

/// A decision, as it is handed over.
pub(crate) struct Decision {
    pub(crate) call: Call,
    pub(crate) intent: Intent,
    pub(crate) facts: Facts,
    pub(crate) verdict: Verdict,
    /// By which policy, and where it is kept.
    pub(crate) recording: Arc<Recording>,
}

/// Why decisions were not kept, and how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The queue was full.
    pub(crate) busy: u64,
    /// The call, or what is known of it, is too large.
    pub(crate) large: u64,
    /// The folder cannot be written.
    pub(crate) disk: u64,
}

#[derive(Default)]
struct Counts {
    busy: AtomicU64,
    large: AtomicU64,
    disk: AtomicU64,
}

/// Keeps decisions. The thread starts with the first.
pub(crate) struct Recorder {
    /// Where the salt of hidden values is kept: in the gate's own folder, so that who takes the records away has no salt.
    salt: PathBuf,
    queue: OnceLock<Option<SyncSender<Box<Decision>>>>,
    counts: Arc<Counts>,
}

impl Recorder {
    pub(crate) fn new(salt: PathBuf) -> Self {
        Self { salt, queue: OnceLock::new(), counts: Arc::default() }
    }

    /// Whether a decision is to be kept: not if it is one that no policy makes, or is too large, before anything of it is copied.
    pub(crate) fn takes(&self, read: (&Call, &Intent), facts: &Facts, verdict: &Verdict) -> bool {
        let is_kept = is_kept(read.1, facts, verdict);
        let is_large =
            is_kept && (read.0.body.as_ref().is_some_and(|body| body.len() > BODY_BYTES) || facts.bytes() > FACTS_BYTES);
        if is_large {
            lose(&self.counts.large, "the call, or what is known of its images, is too large");
        }
        is_kept && !is_large
    }

    /// Takes a decision, unless there is no room. Never waits.
    pub(crate) fn offer(&self, decision: Decision) {
        let queue = self.queue.get_or_init(|| start(&self.salt, &self.counts));
        if queue.as_ref().is_none_or(|queue| queue.try_send(Box::new(decision)).is_err()) {
            lose(&self.counts.busy, TOO_MANY);
        }
    }

    /// What was not kept since the start.
    pub(crate) fn lost(&self) -> Lost {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Lost { busy: of(&self.counts.busy), large: of(&self.counts.large), disk: of(&self.counts.disk) }
    }
}

/// Counts a loss; the first of its kind is told.
fn lose(count: &AtomicU64, why: &str) {
    if count.fetch_add(1, Ordering::Relaxed) == 0 {
        tracing::warn!("a decision was not kept in the record: {why}; further ones are counted (img_authz_record_lost_total)");
    }
}

/// Whether another policy could have decided it otherwise: not what only reads, and no refusal that says how busy or broken the host is.
fn is_kept(intent: &Intent, facts: &Facts, verdict: &Verdict) -> bool {
    const OF_THE_MOMENT: [Code; 14] = [
        Code::PluginBusy,
        Code::EngineUnreachable,
        Code::NameBusy,
        Code::NameTaken,
        Code::StateUnwritable,
        Code::ContainerBusy,
        Code::ContainerTooLarge,
        Code::ImageTooLarge,
        Code::AuditUnavailable,
        Code::Deadline,
        Code::Overloaded,
        Code::SettingFault,
        Code::RegoOverloaded,
        Code::Internal,
    ];
    let is_of_moment = |code: &str| OF_THE_MOMENT.iter().any(|other| other.as_str() == code);
    *intent != Intent::Read && facts.unknown.is_none() && !verdict.refusal().is_some_and(|reason| is_of_moment(reason.code()))
}

fn start(salt: &std::path::Path, counts: &Arc<Counts>) -> Option<SyncSender<Box<Decision>>> {
    let (sender, receiver) = sync_channel(QUEUE);
    let (salt, counts) = (salt.to_owned(), Arc::clone(counts));
    let run = move || {
        let _ = rustix::process::nice(STAND_BACK);
        Writer { hider: hider(&salt), counts, folder: None, failed: None }.run(&receiver);
    };
    let started = std::thread::Builder::new().name("record".to_owned()).spawn(run);
    started.map_err(|error| tracing::error!(%error, "decisions are not kept: there is no thread")).ok()?;
    Some(sender)
}

/// Values are hidden with a salt that this host keeps for itself; where it cannot be kept, with one for this run.
fn hider(path: &std::path::Path) -> Hider {
    if let Ok(salt) = read_bytes(path, SALT_BYTES as u64)
        && salt.len() == SALT_BYTES
    {
        return Hider::salted(salt);
    }
    let mut salt = vec![0; SALT_BYTES];
    if aws_lc_rs::rand::fill(&mut salt).is_err() {
        tracing::error!("the system gives no random bytes: hidden values of the record may be guessed");
    }
    if let Err(error) = replace(path, &salt, 0o600, Outlives::Power) {
        tracing::warn!(%error, "the salt of the record cannot be kept: after a restart values hide behind other hashes");
    }
    Hider::salted(salt)
}

/// What the thread has.
struct Writer {
    hider: Hider,
    counts: Arc<Counts>,
    folder: Option<Folder>,
    /// When the folder last could not be used.
    failed: Option<Instant>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Box<Decision>>) {
        let mut flush = Instant::now() + FLUSH;
        loop {
            match queue.recv_timeout(flush.saturating_duration_since(Instant::now())) {
                Ok(decision) => self.keep(&decision),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.flush();
                    return;
                }
            }
            if Instant::now() >= flush {
                self.flush();
                flush = Instant::now() + FLUSH;
            }
        }
    }

    fn keep(&mut self, decision: &Decision) {
        let Decision { call, intent, facts, verdict, recording } = decision;
        let made = call::kept(call, intent);
        let text = recorded_case(&made, intent, facts, verdict, recording, &self.hider);
        if !made.fits() || text.len() > RECORD_BYTES {
            lose(&self.counts.large, "what is known of it is too large");
            return;
        }
        let now = facts.now.unwrap_or_else(crate::clock::now);
        let key = folder::Key::of(&made, intent, verdict, &text);
        match self.folder_at(recording).and_then(|folder| folder.keep(&key, &text, now)) {
            Ok(true) => {}
            Ok(false) => lose(&self.counts.busy, TOO_MANY),
            Err(error) => self.failed(&error),
        }
    }

    fn flush(&mut self) {
        if let Some(folder) = &mut self.folder {
            let flushed = folder.flush(crate::clock::now());
            if let Err(error) = flushed {
                self.failed(&error);
            }
        }
    }

    /// The folder, opened where it is another than before.
    fn folder_at(&mut self, recording: &Recording) -> std::io::Result<&mut Folder> {
        if self.folder.as_ref().is_some_and(|folder| folder.path() != recording.folder) {
            self.flush();
            (self.folder, self.failed) = (None, None);
        }
        if self.folder.is_none() {
            if self.failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
                return Err(std::io::ErrorKind::NotConnected.into());
            }
            self.folder = Some(Folder::open(&recording.folder)?);
        }
        self.folder.as_mut().ok_or_else(|| std::io::ErrorKind::NotConnected.into())
    }

    /// What cannot be written is lost, and the folder looked at anew, in a while.
    fn failed(&mut self, error: &std::io::Error) {
        lose(&self.counts.disk, &format!("the folder cannot be used: {error}"));
        if self.folder.take().is_some() || self.failed.is_none_or(|failed| failed.elapsed() >= PAUSE) {
            self.failed = Some(Instant::now());
        }
    }
}
