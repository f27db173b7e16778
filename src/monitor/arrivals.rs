//! Images that arrive by pull, load or import, audited beside everything else: each once, by its configuration and its history, as
//! `img-authz audit` judges them. It refuses nothing and does nothing about them; it records, and writes down what `status` shows.
//!
//! The engine's events say only that images are to be listed again: what they say is not believed, and what came while nobody listened is in
//! the list. Layers are not read: the engine would write out each image whole, for whoever makes it pull. After each question and each audit
//! there is a rest of several times as long as it took: whoever makes them costly makes them seldom.

mod entries;
mod judged;
mod queue;
mod told;

use crate::order::Ordered as _;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use self::entries::Entries;
use self::judged::{Report, judge};
use self::queue::{Queue, Waiting};
use self::told::Kept;
pub use self::told::{Arrived, Audited, Weakness};
use super::picture::{self, Unread};
use crate::clock;
use crate::engine::{Api, EngineError, Nudges, Present};
use crate::files::Outlives;
use crate::gate::{Arriving, Gate};
use crate::hardening::Finding;
use crate::image::{Digest, ImageConfig};
use crate::policy::MonitorRule;
use crate::text::fit;

/// How often it looks whether something is due, and so the shortest time between two audits.
const TICK: Duration = Duration::from_millis(100);
/// How long arrivals are gathered before images are listed.
const DEBOUNCE: Duration = Duration::from_secs(1);
/// How many times as long as it took the rest is.
const REST_TIMES: u32 = 10;
/// How often images are listed though no event came.
const SCAN: Duration = Duration::from_mins(5);
/// How long the engine gets for a list, and to begin with its events; and when it is asked again after a failure, or for events that ended at
/// once again and again.
const TIME: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_MOST: Duration = Duration::from_mins(1);
/// After how many failures in a row that is loud.
const UNLISTED: u32 = 10;
/// How long the engine gets for an image, each time that it is asked for it. Few at first: others wait.
const TIMES: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];
/// How many wait where it is looked of which a container runs, and how often.
const CROWD: usize = 20;
const PREFER: Duration = Duration::from_secs(10);
/// Most images that are known. Stops a host's crowd from filling memory and the file; those beyond are counted, and not audited.
const KNOWN: usize = 10_000;
/// Most audited images that are told, and most weaknesses of each.
const TOLD: usize = 100;
const WEAKNESSES: usize = 12;
/// Longest name and evidence, characters.
const NAME_CHARS: usize = 256;
const EVIDENCE_CHARS: usize = 160;
/// How often the file is written at most, and at least.
const WRITE: Duration = Duration::from_secs(2);
const TELL: Duration = Duration::from_secs(30);

/// When images are listed next.
struct Looks {
    due: Instant,
    not_before: Instant,
}

/// The engine's events, and when they are asked for again.
struct Events {
    nudges: Option<Nudges>,
    opened: Instant,
    open: Instant,
    again: Duration,
}

/// Audits what arrives.
pub struct Arrivals {
    gate: Weak<Gate>,
    engine: Arc<dyn Api>,
    path: PathBuf,
    kept: Kept,
    /// Whether nothing is known of before: then what is there did not arrive.
    is_new: bool,
    /// Why what was known of before cannot be read.
    lost: Option<String>,
    looks: Looks,
    queue: Queue,
    /// Those that are not there where they are asked for, and when that was: the list says whether they have gone.
    absent: Vec<(Instant, Waiting)>,
    /// When the next is audited, and when it is looked next of which a container runs.
    next: Instant,
    prefer: Instant,
    entries: Entries,
    /// When images were last listed, and how often that failed since.
    listed: Option<Timestamp>,
    unlisted: u32,
    /// When the file is written next where that is news.
    write: Instant,
    written: Option<Instant>,
    is_changed: bool,
    is_unwritten: bool,
}

impl Looks {
    fn soon(&mut self, at: Instant) {
        self.due = self.due.min(at.max(self.not_before));
    }
}

impl Arrivals {
    /// Over a gate and an engine. `path`: the file.
    #[must_use]
    pub fn new(gate: Weak<Gate>, engine: Arc<dyn Api>, path: PathBuf) -> Self {
        let read = picture::read::<Kept>(&path);
        let is_new = matches!(&read, Err(Unread::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound);
        let lost = read.as_ref().err().filter(|_| !is_new).map(ToString::to_string);
        let now = Instant::now();
        Self {
            gate,
            engine,
            path,
            kept: read.unwrap_or(Kept { arrived: Arrived::new(clock::now()), known: BTreeSet::new() }),
            is_new,
            lost,
            looks: Looks { due: now, not_before: now },
            queue: Queue::default(),
            absent: Vec::new(),
            next: now,
            prefer: now,
            entries: Entries::new(),
            listed: None,
            unlisted: 0,
            write: now,
            written: None,
            is_changed: true,
            is_unwritten: false,
        }
    }

    /// Goes on for as long as the gate is there.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let now = Instant::now();
        let mut events = Events { nudges: None, opened: now, open: now, again: AGAIN };
        loop {
            tokio::select! {
                is_open = super::run::next(&mut events.nudges) => {
                    if !is_open {
                        events.ended();
                    }
                    self.looks.soon(Instant::now() + DEBOUNCE);
                    continue;
                }
                _ = tick.tick() => {}
            }
            let Some(gate) = self.gate.upgrade() else { return };
            if gate.monitoring().0 == MonitorRule::Off {
                events.nudges = None;
                continue;
            }
            let now = Instant::now();
            if events.nudges.is_none() && now >= events.open {
                match self.engine.arrivals(now + TIME).await {
                    Ok(opened) => {
                        (events.nudges, events.opened) = (Some(opened), now);
                        // What came meanwhile was not told.
                        self.looks.soon(now);
                    }
                    Err(_) => events.open = now + AGAIN,
                }
            }
            self.step(&gate).await;
        }
    }

    /// What is due.
    async fn step(&mut self, gate: &Gate) {
        let now = Instant::now();
        if now >= self.looks.due {
            self.list(gate).await;
        } else if now >= self.next {
            if self.queue.len() > CROWD && now >= self.prefer {
                self.prefer().await;
            }
            self.audit_one(gate).await;
        }
        self.tell(gate);
    }

    /// Lists images, and has those wait that are not known.
    async fn list(&mut self, gate: &Gate) {
        let began = Instant::now();
        let listed = self.engine.present(began + TIME).await;
        let (now, rest) = (Instant::now(), began.elapsed() * REST_TIMES);
        let (due, not_before) = match &listed {
            Ok(_) => (SCAN, DEBOUNCE),
            Err(_) => (AGAIN.max(rest), AGAIN),
        };
        self.looks = Looks { due: now + due, not_before: now + not_before.max(rest) };
        match listed {
            Ok(present) => self.take(gate, &present),
            Err(error) => self.not_listed(gate, &error),
        }
    }

    fn take(&mut self, gate: &Gate, present: &Present) {
        if let Some(why) = self.lost.take() {
            let told = format!("what was known of images that arrived is lost, so all that are on the host are audited: {why}");
            self.entries.blind(gate, "lost", &told);
        }
        (self.listed, self.unlisted) = (Some(clock::now()), 0);
        if present.unread > 0 {
            let rows = present.unread;
            let told = format!(
                "{rows} rows of the engine's list of images cannot be read, are too large or too many: those images are not audited"
            );
            self.entries.blind(gate, "unread", &told);
        }
        let held: BTreeSet<Digest> = present.images.iter().map(|image| image.id).ordered();
        let gone = self.queue.leave(&held);
        self.have_gone(&gone);
        self.hear_of_absent(gate, &held);
        let Kept { arrived, known } = &mut self.kept;
        // One that goes and comes again is the same, as long as it is told.
        let told: BTreeSet<Digest> = arrived.images.iter().map(|image| image.id).ordered();
        let before = known.len();
        known.retain(|id| held.contains(id) || told.contains(id));
        self.is_changed |= before != known.len() || arrived.fault.is_some() || arrived.unread != present.unread;
        (arrived.fault, arrived.left, arrived.unread) = (None, 0, present.unread);
        for image in &present.images {
            if known.contains(&image.id) {
                continue;
            }
            if known.len() >= KNOWN {
                arrived.left += 1;
                continue;
            }
            known.insert(image.id);
            self.is_changed = true;
            if !self.is_new {
                let name = image.name.clone().unwrap_or_else(|| image.id.to_string());
                self.queue.push(Waiting { id: image.id, name, tries: 0, is_told: false });
            }
        }
        self.is_new = false;
        let left = arrived.left;
        if left > 0 {
            let told = format!("{left} images are not audited: more than {KNOWN} are on the host");
            self.entries.blind(gate, "left", &told);
        }
    }

    /// There was no list. One that fails again and again leaves nobody who sees what arrives, whoever made it fail.
    fn not_listed(&mut self, gate: &Gate, error: &EngineError) {
        self.unlisted = self.unlisted.saturating_add(1);
        let fault = Some(fit(&error.to_string(), EVIDENCE_CHARS));
        self.is_changed |= self.kept.arrived.fault != fault;
        self.kept.arrived.fault = fault;
        if self.unlisted >= UNLISTED {
            let times = self.unlisted;
            let since = self.listed.map_or_else(|| "not yet".to_owned(), |at| format!("last at {at:.0}"));
            let told = format!(
                "what arrives is not seen: the engine's list of images was read {since}, and failed {times} times: {error}"
            );
            self.entries.blind(gate, "unlisted", &told);
        }
    }

    fn have_gone(&mut self, gone: &[Waiting]) {
        // One of which it was said that it cannot be looked at has had its say.
        for waiting in gone.iter().filter(|waiting| !waiting.is_told) {
            self.entries.gone(waiting);
            self.kept.arrived.gone = self.kept.arrived.gone.saturating_add(1);
            self.is_changed = true;
        }
    }

    /// Those that were not there: they have gone, or the engine lists what it does not have. That may come yet, so they are asked for again.
    fn hear_of_absent(&mut self, gate: &Gate, held: &BTreeSet<Digest>) {
        for (at, mut waiting) in std::mem::take(&mut self.absent) {
            if !held.contains(&waiting.id) {
                self.have_gone(&[waiting]);
            } else if !waiting.is_told {
                self.record(gate, &waiting, &Report::unread("the engine lists it, and does not have it"));
                waiting.is_told = true;
                self.absent.push((at, waiting));
            } else if at.elapsed() >= SCAN {
                self.queue.push(waiting);
            } else {
                self.absent.push((at, waiting));
            }
        }
    }

    /// Those of which a container runs are audited before a crowd.
    async fn prefer(&mut self) {
        let began = Instant::now();
        if let Ok(listed) = self.engine.running(began + TIME).await {
            self.queue.prefer(&listed.containers.iter().filter_map(|container| container.image).ordered());
        }
        self.prefer = Instant::now() + PREFER.max(began.elapsed() * REST_TIMES);
    }

    /// Audits the one that is next.
    async fn audit_one(&mut self, gate: &Gate) {
        let began = Instant::now();
        let Some(mut waiting) = self.queue.next(began) else { return };
        let report = match self.look_at(&waiting).await {
            Ok(Some(report)) => report,
            Ok(None) => {
                self.absent.push((Instant::now(), waiting));
                return self.looks.soon(Instant::now() + DEBOUNCE);
            }
            Err(error) if error.is_of_one() => Report::failed(&error),
            Err(error) => {
                tracing::debug!(%error, "an image that arrived is looked at later");
                // An engine that answers else has no answer about this one: it stands behind, and holds up no other.
                let is_of_one =
                    matches!(error, EngineError::Timeout { .. }) && self.engine.version(Instant::now() + TIMES[0]).await.is_ok();
                waiting.tries += u8::from(is_of_one);
                if usize::from(waiting.tries) < TIMES.len() {
                    let now = Instant::now();
                    self.next = now + if is_of_one { (began.elapsed() * REST_TIMES).min(AGAIN) } else { AGAIN };
                    return self.queue.put_back(waiting, now + AGAIN);
                }
                Report::failed(&error)
            }
        };
        self.record(gate, &waiting, &report);
        self.next = Instant::now() + (began.elapsed() * REST_TIMES).min(AGAIN);
    }

    /// What is weak about one; `None`: it is not there.
    async fn look_at(&self, waiting: &Waiting) -> Result<Option<Report>, EngineError> {
        let [.., longest] = TIMES;
        let deadline = Instant::now() + TIMES.get(usize::from(waiting.tries)).copied().unwrap_or(longest);
        let Some(image) = self.engine.image(&waiting.id.to_string(), deadline).await? else { return Ok(None) };
        let Some(made) = self.engine.history(&waiting.id, deadline).await? else { return Ok(None) };
        // Oldest first, as in the configuration.
        let history = made.into_iter().rev().map(|made| made.created_by).collect();
        let config = ImageConfig { history: Some(history), ..image.config };
        // One that is beyond us takes no other with it.
        let judged = catch_unwind(AssertUnwindSafe(|| judge(config, &waiting.name, clock::now())));
        Ok(Some(judged.unwrap_or_else(|_| Report::unread("a fault of img-authz: see the gate's log"))))
    }

    /// What came of one is recorded, and told.
    fn record(&mut self, gate: &Gate, waiting: &Waiting, report: &Report) {
        self.entries.audited(gate, waiting, report);
        let Report { findings, unread } = report;
        let told = |finding: &Finding| Weakness {
            rule: finding.rule.about().id.to_owned(),
            severity: finding.severity.as_str().to_owned(),
            evidence: fit(&finding.evidence, EVIDENCE_CHARS),
        };
        let images = &mut self.kept.arrived.images;
        images.retain(|image| image.id != waiting.id);
        images.insert(
            0,
            Audited {
                at: clock::now(),
                id: waiting.id,
                name: fit(&waiting.name, NAME_CHARS),
                weak: findings.iter().take(WEAKNESSES).map(told).collect(),
                more: findings.len().saturating_sub(WEAKNESSES),
                unread: unread.clone(),
            },
        );
        images.truncate(TOLD);
        self.is_changed = true;
    }

    /// Figures and what was only counted; and the file, where that is news, or the last is old.
    fn tell(&mut self, gate: &Gate) {
        self.entries.tell(gate);
        let waiting = self.queue.len() + self.absent.iter().filter(|(_, waiting)| !waiting.is_told).count();
        let arrived = &mut self.kept.arrived;
        gate.arriving(&Arriving { waiting, unread: arrived.unread + arrived.left, gone: arrived.gone, listed: self.listed });
        let now = Instant::now();
        let is_old = self.written.is_none_or(|at| now.duration_since(at) >= TELL);
        // Before the first list nothing is known: what would be written makes all that is on the host arrive at the next start.
        if self.is_new || !is_old && (!self.is_changed || now < self.write) {
            return;
        }
        (arrived.told, arrived.waiting) = (clock::now(), waiting);
        // Those that wait would not wait again.
        let waiting: Vec<Digest> = self.queue.ids().chain(self.absent.iter().map(|(_, waiting)| waiting.id)).collect();
        for id in &waiting {
            self.kept.known.remove(id);
        }
        // One that the host's end tears has nobody know what was there before.
        let written = picture::write(&self.path, &self.kept, Outlives::Power);
        self.kept.known.extend(waiting);
        if let Err(error) = &written
            && !self.is_unwritten
        {
            tracing::warn!(%error, "what arrived could not be written: status does not show it");
        }
        self.is_unwritten = written.is_err();
        self.write = Instant::now() + WRITE.max(now.elapsed() * REST_TIMES);
        (self.written, self.is_changed) = (Some(now), false);
    }
}

impl Events {
    fn ended(&mut self) {
        let now = Instant::now();
        // A stream that ends at once, and again, is not opened as often.
        let is_short = now.duration_since(self.opened) < AGAIN_MOST;
        self.again = if is_short { (self.again * 2).min(AGAIN_MOST) } else { AGAIN };
        (self.nudges, self.open) = (None, now + self.again);
    }
}

#[cfg(test)]
mod tests;
