//! Images that arrive by pull, load or import, audited beside everything else: each once, by its configuration and its history, as
//! `img-authz audit` judges them. It refuses nothing and does nothing about them; it records, and writes down what `status` shows.
//!
//! The engine's events say only that images are to be listed again: what they say is not believed, and what came while nobody listened is in
//! the list. Layers are not read: the engine would write out each image whole, for whoever makes it pull.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::picture;
use crate::audit::{Entry, Event};
use crate::clock;
use crate::engine::{Api, EngineError, Nudges};
use crate::gate::Gate;
use crate::hardening::{self, Finding};
use crate::image::{Digest, ImageConfig, ImageName};
use crate::policy::MonitorRule;
use crate::text::fit;

/// How often it looks whether something is due, and so the shortest time between two audits: a crowd is worked off, and no core is full.
const TICK: Duration = Duration::from_millis(100);
/// How long arrivals are gathered before images are listed; and at least so many times as long as the last list took.
const DEBOUNCE: Duration = Duration::from_secs(1);
const DEBOUNCE_TIMES: u32 = 10;
/// How often images are listed though no event came.
const SCAN: Duration = Duration::from_mins(5);
/// How long the engine gets for an answer, and when it is asked again after a failure.
const TIME: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(5);
/// How often an image is asked for that gets no answer in time.
const TRIES: u8 = 3;
/// Most images that are known. Stops a host's crowd from filling memory and the file; those beyond are counted, and not audited.
const KNOWN: usize = 10_000;
/// Most audited images that are told, and most weaknesses of each.
const TOLD: usize = 100;
const WEAKNESSES: usize = 12;
/// Longest name and evidence, characters.
const NAME_CHARS: usize = 256;
const EVIDENCE_CHARS: usize = 160;
/// What of an image is judged. Honest ones have less; more would let who made it choose how long this thread works. The rest is told.
const LABELS: usize = 256;
const VARIABLES: usize = 256;
const PORTS: usize = 256;
const LINES: usize = 512;
const HISTORY_BYTES: usize = 128 << 10;
/// Most entries of the audit log in a minute; more are one entry. Stops a crowd from pushing other entries out.
const ENTRIES: usize = 20;
const MINUTE: Duration = Duration::from_mins(1);
/// How often the file is written at most, and at least.
const WRITE: Duration = Duration::from_secs(2);
const TELL: Duration = Duration::from_secs(30);

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// When this was written.
    pub told: Timestamp,
    /// Since when arrivals are looked for. What was there before did not arrive.
    pub since: Timestamp,
    /// How many wait to be audited.
    pub waiting: usize,
    /// How many are on the host beyond those that are known. They are not audited.
    pub left: usize,
    /// Why images cannot be listed.
    pub fault: Option<String>,
    /// The newest that were audited, the newest first.
    pub images: Vec<Audited>,
}

/// An image that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// When it was audited.
    pub at: Timestamp,
    /// Its id.
    pub id: Digest,
    /// Its first name, or its id.
    pub name: String,
    /// What is weak about it, the worst first.
    pub weak: Vec<Weakness>,
    /// How many more there are.
    pub more: usize,
    /// What of it could not be looked at, and why.
    pub unread: Option<String>,
}

/// A rule of the audit that an image does not keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weakness {
    /// The rule's id.
    pub rule: String,
    /// How bad it is.
    pub severity: String,
    /// What shows it.
    pub evidence: String,
}

impl Arrived {
    /// The one in this file.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        picture::read::<Kept>(path).ok().map(|kept| kept.arrived)
    }
}

impl Audited {
    /// How bad the worst is.
    #[must_use]
    pub fn worst(&self) -> Option<&str> {
        self.weak.first().map(|weak| weak.severity.as_str())
    }

    /// Whether that lets somebody in, or leaves little between a container and its host.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        matches!(self.worst(), Some("critical" | "high"))
    }

    /// The rules that it does not keep, on a line; and what could not be looked at.
    #[must_use]
    pub fn told(&self) -> String {
        let mut rules: Vec<&str> = self.weak.iter().map(|weak| weak.rule.as_str()).collect();
        rules.dedup();
        let more = if self.more > 0 { format!(" and {} more", self.more) } else { String::new() };
        let found = if rules.is_empty() { "none found".to_owned() } else { rules.join(", ") + &more };
        match &self.unread {
            Some(why) if rules.is_empty() => format!("not looked at: {why}"),
            Some(why) => format!("{found}; not looked at: {why}"),
            None => found,
        }
    }
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    arrived: Arrived,
    /// Images that are known: audited, waiting, or there from before.
    known: BTreeSet<Digest>,
}

/// One that waits.
struct Waiting {
    id: Digest,
    name: String,
    tries: u8,
}

/// Audits what arrives.
pub struct Arrivals {
    gate: Weak<Gate>,
    engine: Arc<dyn Api>,
    path: PathBuf,
    kept: Kept,
    /// Whether nothing is known of before: then what is there did not arrive.
    is_new: bool,
    waiting: VecDeque<Waiting>,
    /// Entries made since, and those that were only counted.
    minute: (Instant, usize, u64),
    written: Option<Instant>,
    is_changed: bool,
}

impl Arrivals {
    /// Over a gate and an engine. `path`: the file.
    #[must_use]
    pub fn new(gate: Weak<Gate>, engine: Arc<dyn Api>, path: PathBuf) -> Self {
        let read = picture::read::<Kept>(&path);
        if let Err(error) = &read {
            // That is how a first start is.
            tracing::debug!(%error, "nothing is known of images that arrived before");
        }
        let is_new = read.is_err();
        let now = clock::now();
        let arrived = Arrived { told: now, since: now, waiting: 0, left: 0, fault: None, images: Vec::new() };
        let kept = read.unwrap_or(Kept { arrived, known: BTreeSet::new() });
        let minute = (Instant::now(), 0, 0);
        Self { gate, engine, path, kept, is_new, waiting: VecDeque::new(), minute, written: None, is_changed: true }
    }

    /// Goes on for as long as the gate is there.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut events: Option<Nudges> = None;
        let (mut look, mut open, mut next) = (Some(Instant::now()), Instant::now(), Instant::now());
        let mut debounce = DEBOUNCE;
        loop {
            tokio::select! {
                is_open = super::run::next(&mut events) => {
                    if !is_open {
                        (events, open) = (None, Instant::now() + AGAIN);
                    }
                    let soon = Instant::now() + debounce;
                    look = Some(look.map_or(soon, |at| at.min(soon)));
                    continue;
                }
                _ = tick.tick() => {}
            }
            let Some(gate) = self.gate.upgrade() else { return };
            if gate.monitoring().0 == MonitorRule::Off {
                events = None;
                continue;
            }
            let now = Instant::now();
            if events.is_none() && now >= open {
                match self.engine.arrivals(now + TIME).await {
                    // What came meanwhile was not told.
                    Ok(opened) => (events, look) = (Some(opened), look.or(Some(now))),
                    Err(_) => open = now + AGAIN,
                }
            }
            if look.is_some_and(|at| now >= at) {
                look = Some(now + if self.list().await { SCAN } else { AGAIN });
                debounce = DEBOUNCE.max(now.elapsed() * DEBOUNCE_TIMES);
            } else if now >= next && !self.audit_one(&gate).await {
                next = now + AGAIN;
            }
            self.tell(&gate);
        }
    }

    /// Lists images, and has those wait that are not known. Whether there was a list.
    async fn list(&mut self) -> bool {
        let listed = match self.engine.images(Instant::now() + TIME).await {
            Ok(listed) => listed,
            Err(error) => {
                let fault = Some(fit(&error.to_string(), EVIDENCE_CHARS));
                self.is_changed |= self.kept.arrived.fault != fault;
                self.kept.arrived.fault = fault;
                return false;
            }
        };
        let Kept { arrived, known } = &mut self.kept;
        let held: BTreeSet<Digest> = listed.iter().map(|image| image.id).collect();
        // One that goes and comes again is the same, as long as it is told.
        let before = known.len();
        known.retain(|id| held.contains(id) || arrived.images.iter().any(|image| image.id == *id));
        self.waiting.retain(|waiting| held.contains(&waiting.id));
        self.is_changed |= before != known.len() || arrived.fault.is_some();
        arrived.fault = None;
        arrived.left = 0;
        for image in &listed {
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
                let name = image.repo_tags.first().map_or_else(|| image.id.to_string(), ToString::to_string);
                self.waiting.push_back(Waiting { id: image.id, name, tries: 0 });
            }
        }
        self.is_new = false;
        true
    }

    /// Audits who waits longest. Whether to go on at once.
    async fn audit_one(&mut self, gate: &Gate) -> bool {
        let Some(mut waiting) = self.waiting.pop_front() else { return true };
        let audited = match self.look_at(&waiting).await {
            Ok(Some(audited)) => audited,
            // It has gone meanwhile.
            Ok(None) => return true,
            Err(error) if error.is_of_one() || waiting.tries + 1 >= TRIES => {
                let unread = Some(fit(&error.to_string(), EVIDENCE_CHARS));
                Report { unread, findings: Vec::new() }
            }
            Err(error) => {
                tracing::debug!(%error, "an image that arrived is looked at later");
                waiting.tries += u8::from(matches!(error, EngineError::Timeout { .. }));
                self.waiting.push_back(waiting);
                return false;
            }
        };
        self.record(gate, &waiting, &audited);
        let Report { findings, unread } = audited;
        let told = |finding: &Finding| Weakness {
            rule: finding.rule.about().id.to_owned(),
            severity: finding.severity.as_str().to_owned(),
            evidence: fit(&finding.evidence, EVIDENCE_CHARS),
        };
        let images = &mut self.kept.arrived.images;
        images.insert(
            0,
            Audited {
                at: clock::now(),
                id: waiting.id,
                name: fit(&waiting.name, NAME_CHARS),
                weak: findings.iter().take(WEAKNESSES).map(told).collect(),
                more: findings.len().saturating_sub(WEAKNESSES),
                unread,
            },
        );
        images.truncate(TOLD);
        self.is_changed = true;
        true
    }

    /// What is weak about one; `None`: it has gone.
    async fn look_at(&self, waiting: &Waiting) -> Result<Option<Report>, EngineError> {
        let deadline = Instant::now() + TIME;
        let Some(image) = self.engine.image(&waiting.id.to_string(), deadline).await? else { return Ok(None) };
        let Some(made) = self.engine.history(&waiting.id, deadline).await? else { return Ok(None) };
        // Oldest first, as in the configuration.
        let history = made.into_iter().rev().map(|made| made.created_by).collect();
        Ok(Some(judge(ImageConfig { history: Some(history), ..image.config }, &waiting.name, clock::now())))
    }

    fn record(&mut self, gate: &Gate, waiting: &Waiting, Report { findings, unread }: &Report) {
        if self.minute.1 >= ENTRIES {
            self.minute.2 += 1;
            return;
        }
        self.minute.1 += 1;
        let mut rules: Vec<&'static str> = findings.iter().map(|finding| finding.rule.about().id).collect();
        rules.dedup();
        let found = match findings.first().map(|worst| worst.severity.as_str()) {
            Some(worst) => format!("weaknesses: {}, the worst {worst}; img-authz audit IMAGE says more", findings.len()),
            None => "its configuration and its history show no weakness".to_owned(),
        };
        let mut entry = Entry::new(clock::now(), Event::Audited);
        entry.image = Entry::text(&waiting.name);
        entry.image_id = waiting.id.to_string();
        entry.rules = rules;
        entry.message = Entry::text(&match unread {
            Some(why) if findings.is_empty() => format!("arrived, and not looked at: {why}"),
            Some(why) => format!("arrived; {found}; not looked at: {why}"),
            None => format!("arrived; {found}"),
        });
        // Nothing is let pass because of it: where it cannot be recorded, the log's own count tells.
        let _ = gate.record_monitored(&entry);
    }

    /// What was only counted is recorded each minute; the file is written where that is news, or the last is old.
    fn tell(&mut self, gate: &Gate) {
        if self.minute.0.elapsed() >= MINUTE {
            let beyond = std::mem::take(&mut self.minute.2);
            self.minute = (Instant::now(), 0, 0);
            if beyond > 0 {
                let mut entry = Entry::new(clock::now(), Event::Audited);
                entry.count = beyond;
                entry.message = format!("{beyond} more images arrived and were audited: img-authz status");
                let _ = gate.record_monitored(&entry);
            }
        }
        let age = self.written.map(|at| at.elapsed());
        if age.is_some_and(|age| age < if self.is_changed { WRITE } else { TELL }) {
            return;
        }
        let arrived = &mut self.kept.arrived;
        (arrived.told, arrived.waiting) = (clock::now(), self.waiting.len());
        // Those that wait would not wait again.
        let waiting: Vec<Digest> = self.waiting.iter().map(|waiting| waiting.id).collect();
        for id in &waiting {
            self.kept.known.remove(id);
        }
        if let Err(error) = picture::write(&self.path, &self.kept) {
            tracing::debug!(%error, "what arrived could not be written: status does not show it");
        }
        self.kept.known.extend(waiting);
        (self.written, self.is_changed) = (Some(Instant::now()), false);
    }
}

/// What an audit came to: findings, the worst first, and what was not looked at.
struct Report {
    findings: Vec<Finding>,
    unread: Option<String>,
}

/// Judges as much of an image as is read.
fn judge(mut config: ImageConfig, name: &str, now: Timestamp) -> Report {
    let unread = cut(&mut config);
    let mut findings = hardening::image::of_config(&config, name, ImageName::parse(name).ok().as_ref(), now);
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.rule));
    Report { findings, unread: (!unread.is_empty()).then(|| unread.join(", ")) }
}

/// Leaves out what is too much, and says what.
fn cut(config: &mut ImageConfig) -> Vec<String> {
    let mut unread = Vec::new();
    let mut told = |count: usize, most: usize, what: &str| {
        if count > most {
            unread.push(format!("{} of its {count} {what}", count - most));
        }
    };
    told(config.labels.len(), LABELS, "labels");
    told(config.env.len(), VARIABLES, "variables");
    told(config.ports.len(), PORTS, "ports");
    while config.labels.len() > LABELS {
        config.labels.pop_last();
    }
    config.env.truncate(VARIABLES);
    config.ports.truncate(PORTS);
    if let Some(history) = &mut config.history {
        let count = history.len();
        let mut bytes = 0;
        let fit = history.iter().take(LINES).take_while(|line| {
            bytes += line.len();
            bytes <= HISTORY_BYTES
        });
        let fit = fit.count();
        history.truncate(fit);
        if fit < count {
            unread.push(format!("{} of the {count} lines of its history", count - fit));
        }
    }
    unread
}

#[cfg(test)]
mod tests;
