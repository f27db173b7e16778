//! The monitor at work: when it looks, what it asks engine and gate, and what it carries out and records. What is to become of a container
//! [`Brain`] says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::claims::{self, Claims};
use super::{Act, Approved, Brain, Found, Hold, Memory, Picture, Seen, Standing, Why, Word};
use crate::audit::{Entry, Event};
use crate::clock;
use crate::engine::{Api, ContainerId, EngineError, Listed, Nudges, Removed, Stopped};
use crate::gate::inventory::Says;
use crate::gate::{Gate, Watched};
use crate::image::Digest;
use crate::policy::{Mode, MonitorRule, Reason};

/// How often it looks whether something is due.
const TICK: Duration = Duration::from_millis(250);
/// How long what begins is gathered before it is looked at: a host that starts begins many. And at most so long where looks take time:
/// whoever makes the engine slow does not make it stand still, nor keeps it busy with nothing else.
const DEBOUNCE: Duration = Duration::from_millis(200);
const DEBOUNCE_MOST: Duration = Duration::from_secs(2);
/// How often all that run are judged again.
const SCAN: Duration = Duration::from_mins(1);
/// How long the engine gets for a list, or to begin with its events.
const LIST_TIME: Duration = Duration::from_secs(5);
/// When its events are asked for again after they ended.
const RECONNECT: Duration = Duration::from_secs(1);
/// When a list that failed is asked for again; and after how many failures in a row that is loud. An engine that restarts fails a few.
const RELIST: Duration = Duration::from_secs(1);
const UNLISTED: u32 = 10;
/// Most containers judged in one go, and how long that may take. The rest is judged in the next.
const BATCH: usize = 100;
const JUDGE_TIME: Duration = Duration::from_secs(10);
/// Most acts under way at a time. The others wait here, where what changes meanwhile counts for them, and not in a line for the engine.
const ACTS: usize = 8;
/// How long an act may take: the engine gives a container ten seconds to stop by itself.
const ACT_TIME: Duration = Duration::from_secs(30);
/// How long a single look asks about claims to be a task. What is left then counts as not told.
const CLAIMS_AT_ONCE: Duration = Duration::from_secs(30);
/// Most findings recorded one by one in a minute; more are one entry. Stops a crowd from pushing other entries out.
const ENTRIES: usize = 20;
const MINUTE: Duration = Duration::from_mins(1);
/// How seldom a kind of hold is told again that was away meanwhile: a client can bring it about at will.
const RETELL: Duration = Duration::from_mins(10);
/// How far the clock may be set forwards before that is a change. Corrections of a clock that is kept right are smaller.
const STEP: SignedDuration = SignedDuration::from_secs(10);
/// How many are named where there are many.
const NAMED: usize = 5;
/// How often the picture is written where nothing changed.
const TELL: Duration = Duration::from_secs(15);

/// What whoever reads settings and files believes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Believed {
    /// What tells what is in force from anything else.
    pub fingerprint: Digest,
    /// Whether it is what was written.
    pub is_sound: bool,
}

/// Where its files are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The picture.
    pub picture: PathBuf,
    /// The operator's answer.
    pub approved: PathBuf,
}

/// What came of one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How many run unapproved.
    pub unapproved: usize,
    /// Of how many it could not be told.
    pub unsure: usize,
    /// How many were acted on.
    pub acted: usize,
}

/// What came of an act.
struct Done {
    act: Act,
    why: Why,
    stopped: Result<Stopped, EngineError>,
    removed: Option<Result<Removed, NotRemoved>>,
}

/// Why one that was stopped was not removed.
#[derive(Debug, thiserror::Error)]
enum NotRemoved {
    /// The engine did not do it.
    #[error("could not be removed ({0})")]
    Failed(EngineError),
    /// It is to be no more: what is in force is another, or it was not refused again.
    #[error("left there, because {0}")]
    Left(&'static str),
}

/// What was told of a kind of hold: how many, when, and whether there was none of it since.
struct ToldHold {
    count: usize,
    at: Instant,
    was_away: bool,
}

/// What an act is carried out with.
struct Hands {
    gate: Arc<Gate>,
    engine: Arc<dyn Api>,
    believed: watch::Receiver<Believed>,
    rule: Option<MonitorRule>,
    /// What was in force when it was decided.
    standing: Standing,
}

/// The monitor.
pub struct Monitor {
    gate: Arc<Gate>,
    /// Over connections of its own, so that no client can use them up.
    engine: Arc<dyn Api>,
    places: Places,
    believed: watch::Receiver<Believed>,
    /// What is done, whatever the settings say.
    rule: Option<MonitorRule>,
    brain: Brain,
    acts: JoinSet<Done>,
    /// Which container each act is about, so that one that met a fault of its own is over too.
    acting: BTreeMap<tokio::task::Id, ContainerId>,
    /// What was found out about containers that say they are tasks.
    claims: Claims,
    /// What is held back and was told, by kind.
    held: BTreeMap<&'static str, ToldHold>,
    /// Whether the last entry was recorded, or need not be.
    is_recorded: bool,
    /// Findings recorded since, and those that were only counted.
    minute: (Instant, usize, usize),
    picture: Option<(Picture, Instant)>,
    is_unwritten: bool,
    last_round: Duration,
    /// When it was what time by the clock, which can be set.
    clock: (Instant, Timestamp),
    /// When the list of what runs was last read, how often that failed since, and how many of its rows could not be read.
    listed: Option<Timestamp>,
    unlisted: u32,
    unread: usize,
}

impl Monitor {
    /// One over a gate and an engine. `rule`: what is done, whatever the settings say.
    #[must_use]
    pub fn new(
        gate: Arc<Gate>,
        engine: Arc<dyn Api>,
        places: Places,
        believed: watch::Receiver<Believed>,
        rule: Option<MonitorRule>,
    ) -> Self {
        let memory = match Picture::read(&places.picture) {
            Ok(picture) => picture.memory(),
            Err(error) => {
                // That is how a first start is; otherwise it begins with a pause.
                tracing::debug!(%error, "nothing is known of an earlier monitor");
                Memory::default()
            }
        };
        let standing = standing(&gate, *believed.borrow(), rule);
        Self {
            brain: Brain::new(standing, memory, clock::now()),
            gate,
            engine,
            places,
            believed,
            rule,
            acts: JoinSet::new(),
            acting: BTreeMap::new(),
            claims: Claims::default(),
            held: BTreeMap::new(),
            is_recorded: true,
            minute: (Instant::now(), 0, 0),
            picture: None,
            is_unwritten: false,
            last_round: Duration::ZERO,
            clock: (Instant::now(), clock::now()),
            listed: None,
            unlisted: 0,
            unread: 0,
        }
    }

    /// Goes on for as long as settings and files are looked after.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut nudges: Option<Nudges> = None;
        // Since when a look is due.
        let mut look = Some(Instant::now());
        let (mut reconnect_at, mut scan_at) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                is_open = next(&mut nudges) => {
                    if !is_open {
                        (nudges, reconnect_at) = (None, Instant::now() + RECONNECT);
                        self.claims.engine_ended();
                    }
                    look.get_or_insert_with(Instant::now);
                }
                changed = self.believed.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Some(done) = self.acts.join_next_with_id() => self.done(done),
                _ = tick.tick() => {}
            }
            let is_another = self.stand();
            if self.brain.standing().rule == MonitorRule::Off {
                nudges = None;
                continue;
            }
            if nudges.is_none() && Instant::now() >= reconnect_at {
                match self.engine.nudges(Instant::now() + LIST_TIME).await {
                    // What began meanwhile was not told.
                    Ok(opened) => (nudges, look) = (Some(opened), look.or_else(|| Some(Instant::now()))),
                    Err(_) => reconnect_at = Instant::now() + RECONNECT,
                }
            }
            if Instant::now() >= scan_at {
                self.brain.scan(clock::now());
                (scan_at, look) = (Instant::now() + SCAN, look.or_else(|| Some(Instant::now())));
            }
            if look.is_none() && (!self.brain.wanted(clock::now(), 1).is_empty() || self.claims.are_due(&self.brain.refused())) {
                look = Some(Instant::now());
            }
            let debounce = DEBOUNCE.max(self.last_round.min(DEBOUNCE_MOST));
            if is_another || look.is_some_and(|since| since.elapsed() >= debounce) {
                // An engine that does not answer is asked again.
                look = if self.round().await.is_ok() { None } else { Some(Instant::now()) };
            }
            self.hear().await;
            self.act().await;
            self.tell();
        }
    }

    /// One look, and what follows from it.
    pub async fn once(mut self) -> Result<Outcome, EngineError> {
        self.engine.version(Instant::now() + LIST_TIME).await?;
        // In as many goes as there are containers for.
        self.round().await?;
        let until = Instant::now() + CLAIMS_AT_ONCE;
        while !self.brain.wanted(clock::now(), 1).is_empty()
            || Instant::now() < until && self.claims.are_due(&self.brain.refused())
        {
            self.round().await?;
        }
        tokio::time::sleep(Duration::try_from(super::brain::CONFIRM).unwrap_or_default()).await;
        self.hear().await;
        let (unapproved, unsure) = (self.brain.found(clock::now()).len(), self.brain.unsure(clock::now()).len());
        let mut acted = 0;
        loop {
            let begun = self.act().await;
            acted += begun;
            if begun == 0 {
                let Some(done) = self.acts.join_next_with_id().await else { break };
                self.done(done);
            }
        }
        self.tell();
        Ok(Outcome { unapproved, unsure, acted })
    }

    /// Takes up what is in force. Whether that is another than before.
    fn stand(&mut self) -> bool {
        self.look_at_clock(Instant::now(), clock::now());
        let believed = *self.believed.borrow_and_update();
        let standing = standing(&self.gate, believed, self.rule);
        self.brain.stand(standing, clock::now())
    }

    /// All brakes go by the clock, and so does what expires.
    fn look_at_clock(&mut self, at: Instant, now: Timestamp) {
        let (before, then) = self.clock;
        let passed = SignedDuration::try_from(at.saturating_duration_since(before)).unwrap_or(SignedDuration::MAX);
        let step = now.duration_since(then).saturating_sub(passed);
        if step > STEP {
            let told = format!(
                "the clock was set forwards by {} s: for {} min containers are only reported",
                step.as_secs(),
                self.brain.standing().pause.as_mins()
            );
            tracing::warn!("{told}");
            self.gate.note(&told);
            self.brain.stepped(step, now);
        }
        // One that was set back is measured from there; less than a step adds up.
        if step > STEP || step.is_negative() {
            self.clock = (at, now);
        }
    }

    /// Lists what runs, and judges what is to be judged.
    async fn round(&mut self) -> Result<(), EngineError> {
        let began = Instant::now();
        let listed = match self.engine.running(began + LIST_TIME).await {
            Ok(listed) => listed,
            Err(error) => {
                self.last_round = began.elapsed().max(RELIST);
                self.not_listed(&error);
                return Err(error);
            }
        };
        let Listed { containers: listed, unread } = listed;
        if self.unlisted >= UNLISTED {
            tracing::warn!("what runs is listed again");
        }
        (self.listed, self.unlisted) = (Some(clock::now()), 0);
        if unread > self.unread {
            self.blind(&format!(
                "{unread} rows of the engine's list of what runs cannot be read: those containers are not judged"
            ));
        }
        self.unread = unread;
        self.brain.listed(self.claims.seen(listed), clock::now());
        let wanted = self.brain.wanted(clock::now(), BATCH);
        let mut said: BTreeMap<ContainerId, Says> =
            self.gate.judge_containers(wanted.clone(), JUDGE_TIME).await.into_iter().collect();
        let now = clock::now();
        let mut news = Vec::new();
        for id in wanted {
            let late = || Says::CannotTell(Reason::Deadline { seconds: JUDGE_TIME.as_secs() });
            let word = said.remove(&id).unwrap_or_else(late).into();
            news.extend(self.brain.judged(&id, word, now));
        }
        self.report(&news);
        for (id, task) in self.claims.ask(&*self.engine, &self.brain.refused(), claims::TIME).await {
            self.brain.is_made_by(&id, task);
        }
        self.last_round = began.elapsed();
        Ok(())
    }

    /// There was no list. One that fails again and again leaves the monitor without eyes, whoever made it fail.
    fn not_listed(&mut self, error: &EngineError) {
        self.unlisted = self.unlisted.saturating_add(1);
        tracing::debug!(%error, "what runs could not be listed");
        if self.unlisted == UNLISTED {
            let since = self.listed.map_or_else(|| "not yet".to_owned(), |at| format!("last at {at:.0}"));
            self.blind(&format!(
                "what runs is not known: the engine's list was read {since}, and failed {UNLISTED} times: {error}"
            ));
        }
    }

    /// Records that something is not seen.
    fn blind(&mut self, told: &str) {
        let mut entry = Entry::new(clock::now(), Event::Held);
        entry.message = Entry::text(told);
        tracing::error!("{}", entry.message);
        self.record(&entry);
    }

    /// Hears the operator's answer, where there is one.
    async fn hear(&mut self) {
        let path = self.places.approved.clone();
        let Ok(Some(taken)) = tokio::task::spawn_blocking(move || Approved::take(&path)).await else { return };
        let (now, rule) = (clock::now(), self.brain.standing().rule);
        let told = match taken {
            Ok(approved) => {
                let count = if approved.is_for(rule, now) { self.brain.approve(approved.containers, now) } else { 0 };
                if count > 0 {
                    format!("the operator lets {count} containers be acted on, as img-authz monitor approve showed them")
                } else {
                    "the approval is not for what is waited for now: look again with img-authz monitor approve".to_owned()
                }
            }
            Err(error) => format!("the operator's approval does not count: {error}"),
        };
        tracing::warn!("{told}");
        self.gate.note(&told);
    }

    /// Begins what is due, each directly after one more judgement. How many were begun.
    async fn act(&mut self) -> usize {
        let mut begun = 0;
        for id in self.brain.due(clock::now()).into_iter().take(ACTS.saturating_sub(self.acts.len())) {
            if !self.is_recorded {
                let mut entry = Entry::new(clock::now(), Event::Held);
                "nothing is done while it cannot be recorded (AUDIT=require)".clone_into(&mut entry.message);
                self.record(&entry);
                if !self.is_recorded {
                    return begun;
                }
            }
            let said = self.gate.judge_containers(vec![id.clone()], JUDGE_TIME).await;
            // What is in force may be another by now.
            if self.stand() {
                return begun;
            }
            let Some((_, says)) = said.into_iter().next() else { continue };
            let word = Word::from(says);
            let why = if let Word::No(why) = &word { Some(why.clone()) } else { None };
            let act = self.brain.confirm(&id, word, clock::now());
            let news = self.brain.news();
            self.report(&news);
            let (Some(act), Some(why)) = (act, why) else { continue };
            begun += 1;
            let hands = Hands {
                gate: Arc::clone(&self.gate),
                engine: Arc::clone(&self.engine),
                believed: self.believed.clone(),
                rule: self.rule,
                standing: *self.brain.standing(),
            };
            let task = self.acts.spawn(async move { hands.carry_out(act, why).await });
            self.acting.insert(task.id(), id);
        }
        begun
    }

    /// Records what came of an act.
    fn done(&mut self, done: Result<(tokio::task::Id, Done), JoinError>) {
        let (task, done) = match done {
            Ok((task, done)) => (task, Some(done)),
            Err(error) => (error.id(), None),
        };
        let Some(id) = self.acting.remove(&task) else { return };
        self.brain.over(&id, clock::now());
        let Some(Done { act, why, stopped, removed }) = done else { return };
        let (event, action, told) = match (&stopped, &removed) {
            (Ok(Stopped::Done), None) => (Event::Stopped, "stop", format!("stopped: {}", why.message)),
            (Ok(Stopped::Done), Some(Ok(Removed::Done | Removed::Gone))) => {
                (Event::Removed, "remove", format!("stopped and removed, its volumes stay: {}", why.message))
            }
            (Ok(Stopped::Done), Some(Err(not))) => (Event::Stopped, "stop", format!("stopped, and {not}: {}", why.message)),
            // It ended by itself, or somebody was quicker.
            (Ok(Stopped::NotRunning | Stopped::Gone), _) => return,
            (Err(error), _) => (Event::Held, "failed", format!("could not be stopped ({error}): {}", why.message)),
        };
        self.gate.acted(action);
        let mut entry = Entry::new(clock::now(), event);
        entry.container_id = act.container.to_string();
        entry.container_name = Entry::text(&act.name);
        entry.container_image = Entry::text(&act.image);
        (entry.code, entry.message) = (why.code, Entry::text(&told));
        if event == Event::Held {
            tracing::error!(container = %act.container, name = entry.container_name, "{}", entry.message);
        } else {
            tracing::warn!(container = %act.container, name = entry.container_name, "{}", entry.message);
        }
        self.record(&entry);
    }

    /// Records findings: one by one, or as one entry where there are very many.
    fn report(&mut self, news: &[Found]) {
        if self.minute.0.elapsed() >= MINUTE {
            let beyond = std::mem::take(&mut self.minute.2);
            self.minute = (Instant::now(), 0, 0);
            if beyond > 0 {
                let mut entry = Entry::new(clock::now(), Event::Unapproved);
                entry.count = u64::try_from(beyond).unwrap_or(u64::MAX);
                entry.message = format!("{beyond} more containers were found unapproved: img-authz monitor status");
                self.record(&entry);
            }
        }
        for found in news {
            if self.minute.1 >= ENTRIES {
                self.minute.2 += 1;
                continue;
            }
            self.minute.1 += 1;
            let mut entry = of_container(Event::Unapproved, &found.seen);
            (entry.code, entry.message) = (found.why.code, Entry::text(&found.why.message));
            tracing::warn!(container = %found.seen.id, name = entry.container_name, "runs unapproved: {}", entry.message);
            self.record(&entry);
        }
    }

    /// Records what is held back, where a kind of that is new, or more wait for the operator.
    fn report_held<'f>(&mut self, found: impl Iterator<Item = &'f Found>) {
        let mut by_kind: BTreeMap<&'static str, Vec<(&Seen, &Hold)>> = BTreeMap::new();
        for (seen, hold) in found.filter_map(|found| Some((&found.seen, found.hold.as_ref()?))) {
            by_kind.entry(hold.kind()).or_default().push((seen, hold));
        }
        for (kind, told) in &mut self.held {
            told.was_away |= !by_kind.contains_key(kind);
        }
        self.held.retain(|_, told| !told.was_away || told.at.elapsed() < RETELL);
        for (kind, held) in by_kind {
            // More at once are worth a word each time they double: a crowd that grows does not fill the log.
            let is_news = self.held.get(kind).is_none_or(|told| {
                matches!(held.first(), Some((_, Hold::Brake { .. } | Hold::Unjudged { .. }))) && held.len() >= told.count * 2
            });
            let (true, Some((first, hold))) = (is_news, held.first()) else { continue };
            self.held.insert(kind, ToldHold { count: held.len(), at: Instant::now(), was_away: false });
            let names: Vec<String> = held.iter().take(NAMED).map(|(seen, _)| crate::policy::quoted(&seen.name)).collect();
            let more = if held.len() > NAMED { ", …" } else { "" };
            let mut entry =
                if held.len() == 1 { of_container(Event::Held, first) } else { Entry::new(clock::now(), Event::Held) };
            entry.count = u64::try_from(held.len()).unwrap_or(u64::MAX);
            entry.message = Entry::text(&format!("not touched: {hold}: {}{more}", names.join(", ")));
            match hold {
                Hold::Brake { .. } | Hold::Claims { .. } | Hold::Unjudged { .. } => tracing::error!("{}", entry.message),
                Hold::Permissive
                | Hold::Faulty
                | Hold::Changed { .. }
                | Hold::Window { .. }
                | Hold::BacksOff { .. }
                | Hold::Superseded
                | Hold::Task { .. } => tracing::warn!("{}", entry.message),
            }
            self.record(&entry);
        }
    }

    fn record(&mut self, entry: &Entry) {
        self.is_recorded = self.gate.record_monitored(entry);
    }

    /// Figures, what is held back, and the picture, where that is news or the last one is old.
    fn tell(&mut self) {
        let now = clock::now();
        let found = self.brain.found(now);
        let unsure = self.brain.unsure(now);
        let unjudged = unsure.iter().filter(|found| found.hold.is_some()).count();
        self.gate.watched(&Watched { unapproved: found.len(), unjudged, unread: self.unread, listed: self.listed });
        self.report_held(found.iter().chain(&unsure));
        let (running, limit) = self.brain.figures();
        let Memory { fingerprint, changed, acts, not_before, approved } = self.brain.memory();
        let mut picture = Picture {
            told: now,
            listed: self.listed,
            unread: self.unread,
            rule: self.brain.standing().rule,
            paused_until: self.brain.paused_until(now),
            running,
            limit,
            unapproved: 0,
            findings: Vec::new(),
            unsure: Vec::new(),
            awaited: self.brain.awaited(now),
            acts,
            fingerprint,
            changed,
            not_before,
            approved,
        };
        picture.tell(&found, &unsure);
        if let Some((last, at)) = &self.picture
            && at.elapsed() < TELL
            && *last == (Picture { told: last.told, listed: last.listed, ..picture.clone() })
        {
            return;
        }
        let written = picture.write(&self.places.picture);
        // A full disk is told once.
        if let Err(error) = &written
            && !self.is_unwritten
        {
            tracing::warn!(%error, "what the monitor found could not be written: status does not show it, and a restart counts as a change");
        }
        self.is_unwritten = written.is_err();
        self.picture = Some((picture, Instant::now()));
    }
}

fn standing(gate: &Gate, believed: Believed, rule: Option<MonitorRule>) -> Standing {
    let (of_settings, pause) = gate.monitoring();
    Standing {
        fingerprint: believed.fingerprint,
        is_sound: believed.is_sound,
        rule: rule.unwrap_or(of_settings),
        is_enforced: gate.mode() == Mode::Enforce,
        pause: SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX),
    }
}

/// The next nudge; for ever where there are none.
pub(super) async fn next(nudges: &mut Option<Nudges>) -> bool {
    match nudges {
        Some(nudges) => nudges.next().await,
        None => std::future::pending().await,
    }
}

impl Hands {
    async fn carry_out(self, act: Act, why: Why) -> Done {
        let stopped = self.engine.stop(&act.container, Instant::now() + ACT_TIME).await;
        let removed = match (self.standing.rule, &stopped) {
            (MonitorRule::Remove, Ok(Stopped::Done)) => Some(self.remove(&act.container).await),
            (MonitorRule::Remove | MonitorRule::Stop | MonitorRule::Report | MonitorRule::Off, _) => None,
        };
        Done { act, why, stopped, removed }
    }

    /// A removal cannot be taken back, and a stop takes ten seconds: it is judged again by what is in force then, which must be the same.
    async fn remove(&self, id: &ContainerId) -> Result<Removed, NotRemoved> {
        let said = self.gate.judge_containers(vec![id.clone()], JUDGE_TIME).await;
        if standing(&self.gate, *self.believed.borrow(), self.rule) != self.standing {
            return Err(NotRemoved::Left("settings, policy or trust have changed meanwhile"));
        }
        match said.into_iter().next().map(|(_, says)| says) {
            Some(Says::No(_)) => self.engine.remove(id, Instant::now() + ACT_TIME).await.map_err(NotRemoved::Failed),
            Some(Says::Yes) => Err(NotRemoved::Left("the gate would let it start now, or it is gone")),
            Some(Says::Forgiven(_) | Says::Superseded(_) | Says::CannotTell(_)) | None => {
                Err(NotRemoved::Left("it was not refused again"))
            }
        }
    }
}

fn of_container(event: Event, seen: &Seen) -> Entry {
    let mut entry = Entry::new(clock::now(), event);
    entry.container_id = seen.id.to_string();
    entry.container_name = Entry::text(&seen.name);
    entry.container_image = Entry::text(&seen.image_ref);
    entry.image_id = seen.image.map(|image| image.to_string()).unwrap_or_default();
    entry
}

#[cfg(test)]
mod tests;
