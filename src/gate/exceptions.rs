//! Exceptions come to an end by themselves: that is told ahead, and when it has happened, also where it happened while no gate ran. One
//! that has ended stays ended when the clock is set back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Gate, Rules};
use crate::files::{Outlives, read_text, replace};
use crate::policy::{Exception, Standing, Times, exception_end_told};

/// Largest file that is read: a line of some ten bytes for each exception.
const FILE_BYTES: u64 = 1 << 20;
/// How old the latest time in the file may be: so often it is written, and so far a clock may be set back unnoticed while no gate runs.
const WRITTEN: SignedDuration = SignedDuration::from_secs(60);

/// What has been told of each exception, and the latest time that was seen.
#[derive(Default)]
pub(super) struct Told {
    state: Mutex<State>,
    /// Where that outlives the gate.
    file: Option<PathBuf>,
    is_being_written: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    now: Kept,
    written: Kept,
    /// It has been told that the clock is behind.
    is_behind: bool,
}

/// What the next gate goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Kept {
    /// The latest time that the clock has shown.
    latest: Option<Timestamp>,
    /// By the exceptions' ids.
    told: BTreeMap<String, Standing>,
}

impl Told {
    /// As an earlier gate left it.
    pub(super) fn kept_in(file: PathBuf) -> Self {
        let kept = match read_text(&file, FILE_BYTES).map(|text| serde_json::from_slice::<Kept>(text.as_bytes())) {
            Ok(Ok(kept)) => kept,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::default(),
            Ok(Err(error)) => faulty(&file, &error),
            Err(error) => faulty(&file, &error),
        };
        let state = State { written: kept.clone(), now: kept, is_behind: false };
        Self { state: Mutex::new(state), file: Some(file), is_being_written: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest time that was seen.
    pub(super) fn latest(&self) -> Option<Timestamp> {
        self.lock().now.latest
    }

    /// What is to be written now, if anything.
    fn due(&self, state: &mut State) -> Option<(PathBuf, Vec<u8>)> {
        let file = self.file.clone()?;
        let is_old = match (state.now.latest, state.written.latest) {
            (Some(now), Some(written)) => now.duration_since(written) >= WRITTEN,
            (now, written) => now != written,
        };
        if !is_old && state.now.told == state.written.told {
            return None;
        }
        // What is being written is not the newest: the next look comes in a second.
        if self.is_being_written.swap(true, Ordering::AcqRel) {
            return None;
        }
        state.written = state.now.clone();
        Some((file, serde_json::to_vec(&state.now).unwrap_or_default()))
    }
}

/// The latest time that a gate has seen, as its file says, for commands that judge exceptions as it does; `None`: it says none.
#[must_use]
pub fn latest_seen(file: &Path) -> Option<Timestamp> {
    let text = read_text(file, FILE_BYTES).ok()?;
    serde_json::from_slice::<Kept>(text.as_bytes()).ok()?.latest
}

fn faulty(file: &Path, error: &dyn std::fmt::Display) -> Kept {
    tracing::error!(file = %file.display(), %error, "the latest time seen cannot be read; exceptions are judged by this host's clock alone");
    Kept::default()
}

impl State {
    /// The time by which exceptions are judged, and what is to be told of the clock.
    fn times(&mut self, now: Timestamp) -> (Times, Option<String>) {
        // A second's part would be nothing that people compare.
        let seen = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let latest = self.now.latest.map_or(seen, |latest| latest.max(seen));
        self.now.latest = Some(latest);
        let is_behind = latest.duration_since(now) > WRITTEN;
        let was_behind = std::mem::replace(&mut self.is_behind, is_behind);
        let told = (is_behind && !was_behind).then(|| {
            format!(
                "this host's clock shows {now:.0}, and has shown {latest:.0}: exceptions that ended by then stay ended; if that time was wrong, \
                 stop the gate, remove `exceptions.json` from its state folder, and start it again"
            )
        });
        (Times { now, latest }, told)
    }
}

impl Gate {
    /// The same gate with what earlier gates told of exceptions, and the latest time that they saw.
    #[must_use]
    pub fn with_exceptions_told(mut self, file: PathBuf) -> Self {
        self.told_exceptions = Told::kept_in(file);
        self
    }

    /// The exceptions of the policy in force.
    pub(super) fn exceptions(&self) -> Vec<Arc<Exception>> {
        match &**self.rules.load() {
            Rules::Good { policy, .. } => policy.exceptions.iter().cloned().collect(),
            Rules::Faulty { .. } => Vec::new(),
        }
    }

    /// Tells of those that end soon, have ended, count again, or are too far ahead; once each. Called each second.
    pub fn tell_exceptions(&self) {
        self.tell_exceptions_at(self.now());
    }

    pub(super) fn tell_exceptions_at(&self, now: Timestamp) {
        let mut state = self.told_exceptions.lock();
        let (times, of_clock) = state.times(now);
        if let Some(told) = of_clock {
            tracing::warn!("{told}");
            self.note(&told);
        }
        // Of a policy with faults nothing is known, and what was told of the one before stays told.
        if let Rules::Good { policy, .. } = &**self.rules.load() {
            let before = std::mem::take(&mut state.now.told);
            for exception in policy.exceptions.iter() {
                let (id, standing) = (exception.id(), exception.standing(times));
                self.tell_exception(exception, before.get(&id).copied(), standing);
                state.now.told.insert(id, standing);
            }
        }
        if let Some((file, content)) = self.told_exceptions.due(&mut state) {
            let is_being_written = Arc::clone(&self.told_exceptions.is_being_written);
            self.workers.spawn_blocking(move || {
                if let Err(error) = replace(&file, &content, 0o600, Outlives::Power) {
                    tracing::error!(file = %file.display(), %error, "the latest time seen cannot be written");
                }
                is_being_written.store(false, Ordering::Release);
            });
        }
    }

    /// Tells of a change. Whether it counts is on record, each time that this changes.
    fn tell_exception(&self, exception: &Exception, before: Option<Standing>, standing: Standing) {
        if before == Some(standing) {
            return;
        }
        let (line, at) = (exception.told(), exception_end_told(exception.expires));
        let is_change = before.is_some_and(|before| before.counts() != standing.counts());
        let message = match standing {
            Standing::InForce if !is_change => return,
            Standing::InForce => format!("{line} counts from now on, until {at}"),
            Standing::Ending if is_change => format!("{line} counts from now on, and ends at {at}"),
            Standing::Ending => format!("{line} ends at {at}"),
            Standing::Ahead => format!("{line} ends at {at}: it does not count until that is at most 366 days ahead"),
            Standing::Ended => format!("{line} expired at {at}: what it let pass is refused"),
        };
        tracing::warn!("{message}");
        if is_change {
            self.note(&message);
        }
    }
}
