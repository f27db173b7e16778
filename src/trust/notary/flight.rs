//! The flight to the server: at most one per repository, shared by all who ask meanwhile; what it brings is verified, kept, and
//! remembered.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::budget::Share;
use super::disk::Kept;
use super::error::{Busy, NotaryError};
use super::format::Bad;
use super::memory::{Entry, Flight, Known, OnDisk, Outcome, SEEN_TIME};
use super::outage::Miss;
use super::{CLOCK_STEP, Inner, ROUNDS, lock};
use crate::image::Repository;
use crate::net::auth::Session;
use crate::trust::asking::PROBE_TIME;
use crate::trust::tuf::{Failure, FaultKind, Knowledge, Stored, Subject, update};
use crate::trust::{Asking, Purpose, Question, TrustError, Vouch};

/// Longest a verification goes on after the network's time: a time-out of the network is then told as such.
const SLACK: Duration = Duration::from_millis(200);
/// How often the log says that the clock went back.
const CLOCK_WARNING: Duration = Duration::from_hours(1);

/// Ends a flight however it ends, so that a panic or a runtime that stops does not leave one that never lands.
struct Landing<'a> {
    entry: &'a Entry,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        *lock(&self.entry.flight) = None;
    }
}

impl Inner {
    pub(super) async fn ask(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        question: &Question,
        asking: Asking,
    ) -> Result<Vouch, TrustError> {
        let Asking { purpose, now, deadline } = asking;
        lock(&entry.now).used = Some(Instant::now());
        if let (Purpose::Run, Some(error)) = (purpose, self.reach.out_of_reach()) {
            let late = |_| NotaryError::Busy(Busy::Reading(entry.repository.clone()));
            let share = self.budget.share(true, deadline);
            tokio::time::timeout_at(deadline, self.looked_up(entry, &share)).await.map_err(late)??;
            return self.without(entry, question, error, now);
        }
        let flight = self.flight(entry, purpose, now);
        let end = deadline.min(Instant::now() + self.network_time + PROBE_TIME + SLACK * 2);
        let mut outcome = flight.outcome.clone();
        let landed = tokio::time::timeout_at(end, outcome.wait_for(Option::is_some)).await;
        let outcome = match landed {
            Ok(Ok(outcome)) => outcome.clone(),
            Ok(Err(_)) => None,
            Err(_) => Some(Err(Miss::Unsure(NotaryError::Silent { server: self.source() }.into()))),
        };
        match (outcome, purpose) {
            (Some(Ok(known)), _) => self.current(entry, &known, question, now),
            (Some(Err(Miss::NoAnswer(error))), Purpose::Run) => self.without(entry, question, error, now),
            (Some(Err(Miss::NoAnswer(error) | Miss::Refused(error) | Miss::Pinned(error) | Miss::Unsure(error))), _) => {
                Err(error)
            }
            (None, _) => Err(NotaryError::BrokeOff.into()),
        }
    }

    /// The flight under way, or a new one.
    pub(super) fn flight(self: &Arc<Self>, entry: &Arc<Entry>, purpose: Purpose, now: Timestamp) -> Arc<Flight> {
        let mut slot = lock(&entry.flight);
        let flight = match &*slot {
            Some(flight) => Arc::clone(flight),
            None => {
                let (sender, receiver) = watch::channel(None);
                let flight = Arc::new(Flight { outcome: receiver, hurry: Notify::new() });
                *slot = Some(Arc::clone(&flight));
                let (inner, entry, shared) = (Arc::clone(self), Arc::clone(entry), Arc::clone(&flight));
                let flying = async move {
                    let landing = Landing { entry: &entry };
                    let outcome = inner.fly(&entry, &shared, now).await;
                    drop(landing);
                    inner.memory.tidy(&entry);
                    let _ = sender.send(Some(outcome));
                };
                // Its calls are in the trace of who asked first.
                tokio::spawn(flying.in_current_span());
                flight
            }
        };
        drop(slot);
        if purpose == Purpose::Run {
            flight.hurry.notify_one();
        }
        flight
    }

    /// One check with the server, and what follows from it.
    async fn fly(&self, entry: &Arc<Entry>, flight: &Flight, now: Timestamp) -> Outcome {
        let begun = Instant::now();
        let deadline = begun + self.network_time;
        let is_known = lock(&entry.now).known.is_some() || self.state.edition(entry.repository.as_str()).is_some();
        let lanes = if is_known { &self.known } else { &self.strange };
        let queued = async {
            tokio::select! {
                permit = lanes.pulls.acquire() => permit,
                () = flight.hurry.notified() => lanes.starts.acquire().await,
            }
        };
        let late = || TrustError::from(NotaryError::Busy(Busy::Verifications));
        let Ok(Ok(_permit)) = tokio::time::timeout_at(deadline, queued).await else { return Err(Miss::Unsure(late())) };
        let share = self.budget.share(is_known, deadline);
        let Some(session) = &self.session else { return self.look(entry, &share, now).await };
        self.looked_up(entry, &share).await.map_err(Miss::Unsure)?;
        let mut outcome = Err(Miss::Unsure(late()));
        for _ in 0..ROUNDS {
            match self.check(session, entry, &share, now, begun).await {
                Ok(Some(known)) => {
                    outcome = Ok(known);
                    break;
                }
                // Another process wrote first: what it wrote is the new base.
                Ok(None) => self.read(entry, &share).await.map_err(Miss::Unsure)?,
                Err(miss) => {
                    outcome = Err(miss);
                    break;
                }
            }
        }
        lock(&self.tally).count(&outcome, now);
        let mut remembered = lock(&entry.now);
        if let (Err(Miss::Refused(error)), None) = (&outcome, &remembered.known) {
            lock(&self.noes).remember(entry.repository.clone(), error.clone());
        }
        remembered.is_missed = matches!(outcome, Err(Miss::NoAnswer(_)));
        match &outcome {
            // The time of one that is repeated is the one on disk.
            Err(Miss::Refused(error)) if remembered.refused.as_ref().is_some_and(|bad| bad.is_repeated(error, now)) => {}
            Err(Miss::Refused(error)) => remembered.refused = Some(Bad { error: error.clone(), at: now }),
            Ok(_) | Err(Miss::NoAnswer(_) | Miss::Pinned(_) | Miss::Unsure(_)) => {}
        }
        outcome
    }

    /// Asks, verifies, writes. `None`: the state on disk moved meanwhile.
    async fn check(
        &self,
        session: &Arc<Session>,
        entry: &Entry,
        share: &Arc<Share>,
        now: Timestamp,
        begun: Instant,
    ) -> Result<Option<Known>, Miss> {
        let deadline = begun + self.network_time;
        let repository = &entry.repository;
        let (known, base, written, unsaved, refused_before) = {
            let remembered = lock(&entry.now);
            let known = remembered.knowledge();
            (known, remembered.base, remembered.written, remembered.on_disk != OnDisk::All, remembered.refused.clone())
        };
        let server = self.server(session, repository, Arc::clone(share), begun, deadline);
        let subject =
            Subject { repository: repository.clone(), pins: Arc::clone(&self.pins), limits: self.limits, known: known.clone() };
        let started = Instant::now();
        let updated = tokio::time::timeout_at(deadline + SLACK, update(&server, &subject, now)).await;
        let knowledge = match updated {
            Ok(Ok(knowledge)) => knowledge,
            Ok(Err(Failure::Fault(fault))) => {
                self.reach.reached();
                let ours = fault.kind == FaultKind::Root && known.as_ref().is_some_and(|known| known.is_void(&self.pins, now));
                let error = NotaryError::of(fault, repository, known.is_some()).into();
                if ours {
                    return Err(Miss::Pinned(error));
                }
                return self.refuse(entry, error, now).await;
            }
            Ok(Err(Failure::Fetch(error))) => match self.reach.missed(session, error, now).await {
                Miss::Refused(error) => return self.refuse(entry, error, now).await,
                miss @ (Miss::NoAnswer(_) | Miss::Pinned(_) | Miss::Unsure(_)) => return Err(miss),
            },
            Err(_elapsed) => {
                return Err(Miss::Unsure(NotaryError::Busy(Busy::Verifying(repository.clone(), self.network_time)).into()));
            }
        };
        self.reach.reached();
        if known.is_none() {
            self.first_use(repository, &knowledge);
        }
        let changed = known.as_ref().is_none_or(|known| !known.same_files(&knowledge));
        self.look_at_clock(repository, knowledge.seen(), now);
        // Also where the clock went back: the age of what is kept counts from this check on.
        let due = written.is_none_or(|written| now.duration_since(written).abs() >= SEEN_TIME);
        let again = changed || due || unsaved || base.edition.is_none() || refused_before.is_some();
        // What it read from the disk is not needed any more.
        drop(server);
        let (base, knowledge) = if again {
            let stored = Stored { checked: now, ..knowledge.stored() };
            match self.keep(entry, stored, None, base).await {
                Kept::Done(base) => (base, knowledge.kept()),
                Kept::Failed => (base, knowledge),
                Kept::Moved | Kept::Lost => return Ok(None),
            }
        } else {
            (base, knowledge)
        };
        let known = self.known(entry, knowledge, Some((started, now)), now);
        let mut remembered = lock(&entry.now);
        // Whoever asked during an outage may have read what another process wrote meanwhile.
        if remembered.base != base {
            return Ok(None);
        }
        remembered.grown |= changed;
        remembered.known = Some(known.clone());
        remembered.refused = None;
        Ok(Some(known))
    }

    /// Says in the log that a root is believed for no better reason than that it came first.
    pub(super) fn first_use(&self, repository: &Repository, knowledge: &Knowledge) {
        if self.pins.first_use(repository.as_str()) {
            let keys = knowledge.root_keys().join(", ");
            tracing::warn!(repository = repository.as_str(), keys, "root of trust accepted on first use; `trust pin` pins it");
        }
    }

    /// Says in the log that the clock went back: dates count from the latest time seen.
    fn look_at_clock(&self, repository: &Repository, seen: Timestamp, now: Timestamp) {
        let mut told = lock(&self.told_clock);
        if seen.duration_since(now) > CLOCK_STEP && told.is_none_or(|at| at.elapsed() >= CLOCK_WARNING) {
            *told = Some(Instant::now());
            tracing::warn!(
                repository = repository.as_str(),
                seen = %seen,
                now = %now,
                "this host's clock went back since an earlier check; dates of trust data count from that check on"
            );
        }
    }

    /// A bad answer about a repository that was known: kept, so that it outlives the process.
    async fn refuse(&self, entry: &Entry, error: TrustError, now: Timestamp) -> Result<Option<Known>, Miss> {
        let (known, before, base, unsaved) = {
            let remembered = lock(&entry.now);
            (remembered.known.clone(), remembered.refused.clone(), remembered.base, remembered.on_disk != OnDisk::All)
        };
        // One that could not be written is written as soon as it can be.
        let same = !unsaved && before.is_some_and(|before| before.is_repeated(&error, now));
        // Another process may have had a better answer since, and have written that.
        let is_kept = same && self.state.edition(entry.repository.as_str()) == base.edition;
        if let Some(known) = known.filter(|_| !is_kept) {
            let bad = Bad { error: error.clone(), at: now };
            let stored = Stored { checked: known.since, ..known.knowledge.stored() };
            match self.keep(entry, stored, Some(bad), base).await {
                Kept::Moved => return Ok(None),
                // It counts in memory, and is noted on disk also where files are gone from there.
                Kept::Done(_) | Kept::Failed | Kept::Lost => {}
            }
        }
        Err(Miss::Refused(error))
    }
}
