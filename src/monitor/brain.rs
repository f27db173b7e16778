//! What is to become of containers that run: a plain state machine. Time, the list of what runs, and what the gate says of each go in;
//! what to report, what to judge again and what to stop come out. It touches nothing itself, and names containers by their whole ids alone.
//!
//! INVARIANT: nothing is let go of ([`Brain::confirm`]) that was not refused twice, [`CONFIRM`] apart, the second time in that very call;
//! and never more than the brakes let pass. Whatever is not known is a reason to wait.

mod hold;
mod word;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::hold::Hold;
pub(super) use self::word::{Spare, Why, Word};
use crate::engine::{ContainerId, TaskClaim};
use crate::image::Digest;
use crate::order::{Ordered as _, sort_by_key};
use crate::policy::MonitorRule;

/// How far apart two refusals are at least. Stops a moment (a file that is being written, a repository that is being signed again) from
/// counting as an answer.
pub(super) const CONFIRM: SignedDuration = SignedDuration::from_secs(1);
/// Most containers that are acted on in one [`WINDOW`], whatever else runs.
const MOST: usize = 5;
/// And one in this many of those that run; one at least.
const SHARE: usize = 10;
/// What is "at once". Stops one mistake from stopping a host bit by bit.
pub(super) const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// How long what the operator let happen beyond that may be done.
pub(super) const GRANTED: SignedDuration = SignedDuration::from_mins(10);
/// The pause before the second act on the same image; it doubles, to at most the second. Stops a fight with whoever starts it again.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);
const LONGEST: SignedDuration = SignedDuration::from_mins(5);
/// After this long without an act an image begins anew.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(1);
/// Most images whose acts are remembered. Stops ever new ones from filling memory; the oldest goes.
const IMAGES: usize = 1024;
/// Most acts remembered; of those that the operator let happen, which no brake counts, the oldest goes.
const ACTS: usize = 1000;
/// When a container of which it could not be found out is judged again.
const UNSURE: SignedDuration = SignedDuration::from_secs(10);
/// After how long that is loud. Outages are shorter, and an attack that is not stopped must not be silent.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// How long one that does not run any more is remembered, so that one that starts again and again is one finding.
const GONE: SignedDuration = SignedDuration::from_mins(1);

/// A container that runs, as the engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its whole id.
    pub id: ContainerId,
    /// What it is called.
    pub name: String,
    /// What it was asked for with. No evidence.
    pub image_ref: String,
    /// The image that it was made of.
    pub image: Option<Digest>,
    /// What its labels say of the swarm, as far as that was looked into.
    pub task: TaskOf,
}

/// Whether the swarm made a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TaskOf {
    /// It does not say so; or it does, and that is not true.
    Nobody,
    /// A manager knows it as a task of this service.
    Service(String),
    /// It says so, and nobody here can tell.
    Claimed(TaskClaim),
}

/// What is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// What tells the policy, and what it rests on, from any other.
    pub fingerprint: Digest,
    /// Whether it is what was written: no setting or file is faulty.
    pub is_sound: bool,
    /// What becomes of what is found.
    pub rule: MonitorRule,
    /// Whether the gate refuses anything, or only records.
    pub is_enforced: bool,
    /// How long only reports are made after a change.
    pub pause: SignedDuration,
}

/// A container that runs unapproved, or of which it cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The container.
    pub seen: Seen,
    /// Why it would be refused.
    pub why: Why,
    /// Since when it is known.
    pub since: Timestamp,
    /// Not acted on before this.
    pub not_before: Timestamp,
    /// Why nothing is done; none where something is about to be, or nothing is to be.
    pub hold: Option<Hold>,
}

/// An act, for the brake and for those who look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// When.
    pub at: Timestamp,
    /// Which container.
    pub container: ContainerId,
    /// What it was called.
    pub name: String,
    /// The image that it was asked for with.
    pub image: String,
    /// Whether it was within the brakes, or let happen by the operator.
    pub is_granted: bool,
}

/// What outlives the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// What was in force.
    pub fingerprint: Option<Digest>,
    /// Since when.
    pub changed: Option<Timestamp>,
    /// What was done not long ago.
    pub acts: Vec<Act>,
    /// What was found, and not to be acted on before.
    pub not_before: BTreeMap<ContainerId, Timestamp>,
    /// What was approved when it was last judged.
    pub approved: BTreeSet<ContainerId>,
}

#[derive(Debug)]
struct Known {
    seen: Seen,
    word: Option<Word>,
    /// When it was judged last, and how often in a row it could not be told.
    judged: Option<Timestamp>,
    unsure: u32,
    unsure_since: Option<Timestamp>,
    /// Whether it was approved when that could last be told.
    was_approved: bool,
    /// Since when it has been refused without a break.
    since: Option<Timestamp>,
    not_before: Timestamp,
    /// The code that was reported, and whether as one that is only reported.
    told: Option<(&'static str, Option<Spare>)>,
    is_acted_on: bool,
    /// Since when it is known to run: what ran before an act on its image is no repeat.
    began: Timestamp,
    gone: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Repeats {
    count: u32,
    last: Timestamp,
}

/// What the operator lets happen beyond the brakes.
#[derive(Debug, Default)]
struct Grant {
    ids: BTreeSet<ContainerId>,
    until: Option<Timestamp>,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Brain {
    standing: Standing,
    /// Since when what is in force is in force.
    changed: Timestamp,
    known: BTreeMap<ContainerId, Known>,
    /// Those judged before are judged again.
    stale: Timestamp,
    /// No act until all that run were judged since.
    whole_since: Timestamp,
    acts: VecDeque<Act>,
    repeats: BTreeMap<String, Repeats>,
    grant: Grant,
    remembered: Memory,
    /// Findings of last judgements, to be reported.
    news: Vec<Found>,
}

impl Brain {
    /// One that begins, with what an earlier one knew. Where nothing is known of what was in force, that is a change.
    #[must_use]
    pub(super) fn new(standing: Standing, memory: Memory, now: Timestamp) -> Self {
        let same = memory.fingerprint == Some(standing.fingerprint);
        let changed = memory.changed.filter(|changed| same && *changed <= now).unwrap_or(now);
        let acts = memory.acts.iter().filter(|act| now.duration_since(act.at) < WINDOW).cloned().collect();
        let remembered = if same { memory } else { Memory::default() };
        Self {
            standing,
            changed,
            known: BTreeMap::new(),
            stale: now,
            whole_since: now,
            acts,
            repeats: BTreeMap::new(),
            grant: Grant::default(),
            remembered,
            news: Vec::new(),
        }
    }

    /// What is in force has been looked at. Whether all is to be judged again, because it is another.
    pub(super) fn stand(&mut self, standing: Standing, now: Timestamp) -> bool {
        let is_another = standing.fingerprint != self.standing.fingerprint;
        // A word that began to count, or a fault that is gone, is a change as well.
        if standing != self.standing {
            self.grant = Grant::default();
        }
        let begins = standing.is_sound && !self.standing.is_sound || standing.is_enforced && !self.standing.is_enforced;
        self.standing = standing;
        // A clock that was set back does not shorten the pause.
        if is_another || begins || self.changed > now {
            self.changed = now;
        }
        if is_another {
            (self.stale, self.whole_since) = (now, now);
            self.remembered = Memory::default();
            for known in self.known.values_mut() {
                known.was_approved = false;
            }
        }
        is_another
    }

    /// The clock was set forwards by so much. No time has passed by that: it is a change, for all, and what lasts a while lasts as long as before.
    pub(super) fn stepped(&mut self, by: SignedDuration, now: Timestamp) {
        (self.changed, self.grant) = (now, Grant::default());
        for known in self.known.values_mut() {
            known.began = later(known.began, by);
            known.since = known.since.map(|since| later(since, by));
            known.unsure_since = known.unsure_since.map(|since| later(since, by));
            if known.not_before > Timestamp::MIN {
                known.not_before = later(known.not_before, by);
            }
        }
        for act in &mut self.acts {
            act.at = later(act.at, by);
        }
        for repeats in self.repeats.values_mut() {
            repeats.last = later(repeats.last, by);
        }
    }

    /// All are to be judged again.
    pub(super) const fn scan(&mut self, now: Timestamp) {
        self.stale = now;
    }

    /// What runs now, all of it.
    pub(super) fn listed(&mut self, all: Vec<Seen>, now: Timestamp) {
        let ids: BTreeSet<ContainerId> = all.iter().map(|seen| seen.id.clone()).ordered();
        for (id, known) in &mut self.known {
            known.gone = if ids.contains(id) { None } else { known.gone.or(Some(now)) };
        }
        self.known.retain(|_, known| known.gone.is_none_or(|gone| gone <= now && now.duration_since(gone) < GONE));
        let longest = later(now, self.standing.pause);
        for seen in all {
            let known = self.known.entry(seen.id.clone()).or_insert_with(|| Known {
                seen: seen.clone(),
                word: None,
                judged: None,
                unsure: 0,
                unsure_since: None,
                was_approved: self.remembered.approved.contains(&seen.id),
                since: None,
                not_before: self.remembered.not_before.get(&seen.id).map_or(Timestamp::MIN, |at| (*at).min(longest)),
                told: None,
                is_acted_on: false,
                began: now,
                gone: None,
            });
            known.seen = seen;
        }
        // A clock that was set back does not make anything last longer than from now on.
        for act in &mut self.acts {
            act.at = act.at.min(now);
        }
        for repeats in self.repeats.values_mut() {
            repeats.last = repeats.last.min(now);
        }
        self.acts.retain(|act| now.duration_since(act.at) < WINDOW);
        self.repeats.retain(|_, repeats| now.duration_since(repeats.last) < FORGOTTEN);
    }

    /// Which are to be judged now: those never judged first, then those that were told apart before, the longest ago first; at most so many.
    #[must_use]
    pub(super) fn wanted(&self, now: Timestamp, most: usize) -> Vec<ContainerId> {
        let due = |known: &&Known| {
            let is_unsure = matches!(known.word, Some(Word::CannotTell(_)));
            known.gone.is_none()
                && match known.judged {
                    None => true,
                    Some(judged) => judged < self.stale || judged > now || is_unsure && now.duration_since(judged) >= UNSURE,
                }
        };
        let mut due: Vec<&Known> = self.known.values().filter(due).collect();
        // One that a client keeps from being judged does not keep others from it.
        sort_by_key(&mut due, |known| (known.unsure, known.judged));
        due.into_iter().take(most).map(|known| known.seen.id.clone()).collect()
    }

    /// Those that are refused: of these alone it matters who made them.
    #[must_use]
    pub(super) fn refused(&self) -> BTreeSet<ContainerId> {
        let is_refused = |known: &&Known| known.gone.is_none() && matches!(known.word, Some(Word::No(_)));
        self.known.values().filter(is_refused).map(|known| known.seen.id.clone()).ordered()
    }

    /// What was found out about a container's claim to be a task.
    pub(super) fn is_made_by(&mut self, id: &ContainerId, task: TaskOf) {
        if let Some(known) = self.known.get_mut(id) {
            known.seen.task = task;
        }
    }

    /// What the gate says of a container. A finding, where it is one and is news.
    pub(super) fn judged(&mut self, id: &ContainerId, word: Word, now: Timestamp) -> Option<Found> {
        let (pause, changed) = (self.standing.pause, self.changed);
        let known = self.known.get_mut(id)?;
        known.word = Some(word);
        known.judged = Some(now);
        match &known.word {
            Some(Word::Yes) | None => {
                (known.since, known.told, known.unsure, known.unsure_since) = (None, None, 0, None);
                (known.was_approved, known.not_before) = (true, Timestamp::MIN);
                None
            }
            // It says nothing; what was refused before has to be refused twice again.
            Some(Word::CannotTell(_)) => {
                known.unsure = known.unsure.saturating_add(1);
                known.unsure_since = Some(known.unsure_since.map_or(now, |since| since.min(now)));
                known.since = None;
                None
            }
            Some(Word::No(why) | Word::Spared(why, _)) => {
                (known.unsure, known.unsure_since) = (0, None);
                let spare = known.word.as_ref().and_then(Word::spare);
                // What is spared no more has to be refused twice from now on.
                if known.since.is_none_or(|since| since > now) || known.told.is_some_and(|(_, told)| told != spare) {
                    known.since = Some(now);
                }
                // It was approved under what is in force, or let pass: who did so has changed his mind.
                if spare.is_some() {
                    known.was_approved = true;
                } else {
                    // Once: one that comes back has no pause again.
                    self.remembered.approved.remove(id);
                    if std::mem::take(&mut known.was_approved) {
                        known.not_before = later(now, pause);
                    }
                }
                // Whether the clock is right nobody knows here: for a pause it is only reported.
                if why.hangs_on_clock && known.not_before == Timestamp::MIN {
                    known.not_before = later(now, pause);
                }
                if known.told == Some((why.code, spare)) {
                    return None;
                }
                known.told = Some((why.code, spare));
                let since = known.since.unwrap_or(now);
                let not_before = known.not_before.max(later(changed, pause));
                Some(Found { seen: known.seen.clone(), why: why.clone(), since, not_before, hold: None })
            }
        }
    }

    /// All that run unapproved, each with why nothing is done about it.
    #[must_use]
    pub(super) fn found(&self, now: Timestamp) -> Vec<Found> {
        let (free, limit) = (self.free(now), self.limit());
        let room = limit.saturating_sub(self.recent(now));
        let mut place = 0;
        let mut found = Vec::new();
        for known in self.known.values().filter(|known| known.gone.is_none()) {
            let (Some(Word::No(why) | Word::Spared(why, _)), Some(since)) = (&known.word, known.since) else { continue };
            let not_before = known.not_before.max(later(self.changed, self.standing.pause));
            let hold = match self.held_alone(known, now) {
                _ if !self.acts_at_all() => None,
                Some(hold) => Some(hold),
                None if self.is_granted(&known.seen.id, now) => None,
                None if free > limit => Some(Hold::Brake { count: free, limit }),
                None => {
                    place += usize::from(!known.is_acted_on);
                    (place > room && !known.is_acted_on).then(|| Hold::Window { until: self.window_ends(now) })
                }
            };
            found.push(Found { seen: known.seen.clone(), why: why.clone(), since, not_before, hold });
        }
        found
    }

    /// Those of which it could not be told; where that lasts, held for it.
    #[must_use]
    pub(super) fn unsure(&self, now: Timestamp) -> Vec<Found> {
        let told = |known: &Known| {
            let Some(Word::CannotTell(why)) = &known.word else { return None };
            let since = known.unsure_since.unwrap_or(now);
            let lasts = why.is_lasting || now.duration_since(since) >= PATIENCE;
            let hold = lasts.then(|| Hold::Unjudged { since, code: why.code.to_owned() });
            Some(Found { seen: known.seen.clone(), why: why.clone(), since, not_before: Timestamp::MAX, hold })
        };
        self.known.values().filter(|known| known.gone.is_none()).filter_map(told).collect()
    }

    /// Which are to be judged once more, to be acted on if that is a no again. None while some that run were not judged by what is in force:
    /// how many there are is not known then.
    #[must_use]
    pub(super) fn due(&self, now: Timestamp) -> Vec<ContainerId> {
        if !self.acts_at_all() || !self.is_whole() {
            return Vec::new();
        }
        let is_due = |found: &Found| found.hold.is_none() && found.since <= now && now.duration_since(found.since) >= CONFIRM;
        let is_free = |found: &Found| self.known.get(&found.seen.id).is_some_and(|known| !known.is_acted_on);
        self.found(now).into_iter().filter(|found| is_due(found) && is_free(found)).map(|found| found.seen.id).collect()
    }

    /// The last judgement, directly before the act. `Some`: it is to be carried out now, and counts as done.
    pub(super) fn confirm(&mut self, id: &ContainerId, word: Word, now: Timestamp) -> Option<Act> {
        let is_due = self.due(now).contains(id);
        let is_no = matches!(word, Word::No(_));
        let news = self.judged(id, word, now);
        self.news.extend(news);
        // It may be refused for another reason now, which has a pause of its own.
        let is_held = self.known.get(id).is_none_or(|known| self.held_alone(known, now).is_some());
        if !is_due || !is_no || is_held {
            return None;
        }
        let is_granted = self.is_granted(id, now);
        let known = self.known.get_mut(id)?;
        known.is_acted_on = true;
        let (seen, began) = (known.seen.clone(), known.began);
        let act = Act { at: now, container: id.clone(), name: seen.name.clone(), image: seen.image_ref.clone(), is_granted };
        self.grant.ids.remove(id);
        self.acts.push_back(act.clone());
        if self.acts.len() > ACTS
            && let Some(granted) = self.acts.iter().position(|act| act.is_granted)
        {
            self.acts.remove(granted);
        }
        let before = self.repeats.get(&repeats_of(&seen));
        let count = before.map_or(1, |before| if began >= before.last { before.count.saturating_add(1) } else { before.count });
        self.repeats.insert(repeats_of(&seen), Repeats { count, last: now });
        if self.repeats.len() > IMAGES
            && let Some(oldest) = self.repeats.iter().min_by_key(|(_, repeats)| repeats.last).map(|(image, _)| image.clone())
        {
            self.repeats.remove(&oldest);
        }
        Some(act)
    }

    /// What the last judgements found that is news.
    pub(super) fn news(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.news)
    }

    /// The act is over, whatever came of it: one that runs on is judged anew.
    pub(super) fn over(&mut self, id: &ContainerId, now: Timestamp) {
        if let Some(known) = self.known.get_mut(id) {
            (known.is_acted_on, known.since, known.judged, known.told, known.began) = (false, None, None, None, now);
        }
    }

    /// What the operator is waited for: exactly these.
    #[must_use]
    pub(super) fn awaited(&self, now: Timestamp) -> BTreeSet<ContainerId> {
        let is_awaited = |found: &Found| matches!(found.hold, Some(Hold::Brake { .. }));
        self.found(now).into_iter().filter(is_awaited).map(|found| found.seen.id).ordered()
    }

    /// The operator lets these be acted on. How many of them are waited for; none, where one of them is not, and is not away or unsure either: a
    /// client can bring that about at any moment. What was not shown stays braked.
    pub(super) fn approve(&mut self, mut ids: BTreeSet<ContainerId>, now: Timestamp) -> usize {
        let mut awaited = self.awaited(now);
        let refused = self.refused();
        awaited.extend(ids.iter().filter(|id| refused.contains(*id) && self.is_granted(id, now)).cloned());
        let is_out_of_sight = |known: &Known| known.gone.is_some() || matches!(known.word, None | Some(Word::CannotTell(_)));
        if !ids.iter().all(|id| awaited.contains(id) || self.known.get(id).is_none_or(is_out_of_sight)) {
            return 0;
        }
        ids.retain(|id| awaited.contains(id));
        let count = ids.len();
        if count > 0 {
            self.grant = Grant { ids, until: Some(later(now, GRANTED)) };
        }
        count
    }

    /// For the next process.
    #[must_use]
    pub(super) fn memory(&self) -> Memory {
        let put_off = self.known.values().filter(|known| known.not_before > Timestamp::MIN);
        Memory {
            fingerprint: Some(self.standing.fingerprint),
            changed: Some(self.changed),
            acts: self.acts.iter().cloned().ordered(),
            not_before: put_off.map(|known| (known.seen.id.clone(), known.not_before)).ordered(),
            approved: self.known.values().filter(|known| known.was_approved).map(|known| known.seen.id.clone()).ordered(),
        }
    }

    /// Until when only reports are made, after a change.
    #[must_use]
    pub(super) fn paused_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = later(self.changed, self.standing.pause);
        (until > now).then_some(until)
    }

    /// How many run, and how many of these may be acted on at once.
    #[must_use]
    pub(super) fn figures(&self) -> (usize, usize) {
        (self.running(), self.limit())
    }

    /// What is in force.
    #[must_use]
    pub(super) const fn standing(&self) -> &Standing {
        &self.standing
    }

    fn running(&self) -> usize {
        self.known.values().filter(|known| known.gone.is_none()).count()
    }

    fn acts_at_all(&self) -> bool {
        match self.standing.rule {
            MonitorRule::Off | MonitorRule::Report => false,
            MonitorRule::Stop | MonitorRule::Remove => true,
        }
    }

    /// Whether all that run were judged by what is in force.
    fn is_whole(&self) -> bool {
        self.known.values().all(|known| known.gone.is_some() || known.judged.is_some_and(|judged| judged >= self.whole_since))
    }

    /// More than five, or more than a tenth: whichever is less. On a host with few containers a tenth is none, so it is one there.
    fn limit(&self) -> usize {
        (self.running() / SHARE).clamp(1, MOST)
    }

    /// How many are to be acted on, also where the operator lets that be: what was not shown waits until they are.
    fn free(&self, now: Timestamp) -> usize {
        let is_free = |known: &&Known| {
            known.gone.is_none()
                && matches!(known.word, Some(Word::No(_)))
                && !matches!(self.held_alone(known, now), Some(hold) if !matches!(hold, Hold::BacksOff { .. }))
        };
        self.known.values().filter(is_free).count()
    }

    /// How many acts there were within the window, but those that the operator let be.
    fn recent(&self, now: Timestamp) -> usize {
        let is_recent = |act: &&Act| !act.is_granted && now.duration_since(act.at) < WINDOW;
        self.acts.iter().filter(is_recent).count()
    }

    fn window_ends(&self, now: Timestamp) -> Timestamp {
        self.acts
            .iter()
            .filter(|act| !act.is_granted)
            .map(|act| later(act.at, WINDOW))
            .filter(|until| *until > now)
            .min()
            .unwrap_or(now)
    }

    fn is_granted(&self, id: &ContainerId, now: Timestamp) -> bool {
        self.grant.until.is_some_and(|until| now < until) && self.grant.ids.contains(id)
    }

    /// Why nothing is done about this one, however many there are.
    fn held_alone(&self, known: &Known, now: Timestamp) -> Option<Hold> {
        if !self.standing.is_enforced {
            return Some(Hold::Permissive);
        }
        match known.word.as_ref().and_then(Word::spare) {
            Some(Spare::Forgiven) => return Some(Hold::Permissive),
            Some(Spare::Superseded) => return Some(Hold::Superseded),
            None => {}
        }
        if !self.standing.is_sound {
            return Some(Hold::Faulty);
        }
        match &known.seen.task {
            TaskOf::Service(service) => return Some(Hold::Task { service: service.clone() }),
            TaskOf::Claimed(claim) => return Some(Hold::Claims { service: claim.service.clone() }),
            TaskOf::Nobody => {}
        }
        let until = known.not_before.max(later(self.changed, self.standing.pause));
        if now < until || now < self.changed {
            return Some(Hold::Changed { until });
        }
        let repeats = self.repeats.get(&repeats_of(&known.seen)).filter(|repeats| known.began >= repeats.last)?;
        let until = later(repeats.last, backs_off(repeats.count));
        (now < until && !known.is_acted_on).then_some(Hold::BacksOff { until })
    }
}

/// By what repeats are known: the image; without one, the container.
fn repeats_of(seen: &Seen) -> String {
    seen.image.map_or_else(|| seen.id.to_string(), |image| image.to_string())
}

/// How long after so many acts the next one waits.
fn backs_off(count: u32) -> SignedDuration {
    let doubled = 1_i32.checked_shl(count.saturating_sub(1).min(16)).unwrap_or(i32::MAX);
    PAUSE.checked_mul(doubled).map_or(LONGEST, |pause| pause.min(LONGEST))
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
