//! Ahead of questions: the timestamp of repositories in use is checked before the freshness window ends, so that the window
//! seldom costs a wait; and the log warns of what expires (docs/notary-v1.md, section 12).
//!
//! Few at a time, spread, and only while there is room: what somebody waits for comes first.

use crate::order::sort_by_key;
use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::memory::Entry;
use super::state::StateDir;
use super::{Inner, Notary, lock};
use crate::trust::Purpose;
use crate::trust::asking::FLIGHTS;
use crate::trust::tuf::Knowledge;

/// Shortest window that is kept open. Below it whoever asks also waits, which is what a window that short asks for.
const LEAST_WINDOW: Duration = Duration::from_secs(2);
/// Longest time between two looks; short windows are looked at more often.
const LOOK: Duration = Duration::from_secs(1);
/// Checks begun at one look. Stops many repositories from being asked about in one burst.
const AT_ONCE: usize = 8;
/// How often it is looked whether something expires.
const LOOK_AHEAD: Duration = Duration::from_mins(1);
/// How often the log says so of one repository.
const WARN_AGAIN: Duration = Duration::from_hours(24);
/// How often it is looked what is kept of repositories that nobody asks about.
const LOOK_AT_DISK: Duration = Duration::from_hours(6);

/// How long the look at what is kept waits at a time while somebody waits for a verification, and how often for one repository: it comes
/// to an end on a host that is never at rest, too.
const REST: Duration = Duration::from_millis(20);
const RESTS: usize = 50;

impl Notary {
    /// Keeps what is in use fresh and warns ahead of expiry, until the last clone of this verifier is dropped. `clock` tells
    /// the time.
    pub fn keep_fresh(&self, clock: fn() -> Timestamp) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::downgrade(&self.inner);
        let look = (self.inner.freshness / 10).clamp(Duration::from_millis(100), LOOK);
        async move {
            let (mut looked, mut looked_at_disk): (Option<Instant>, Option<Instant>) = (None, None);
            let mut warned = HashMap::new();
            loop {
                tokio::time::sleep(look).await;
                let Some(inner) = shared.upgrade() else { return };
                let now = clock();
                inner.refresh(now);
                if looked_at_disk.is_none_or(|at| at.elapsed() >= LOOK_AT_DISK) {
                    looked_at_disk = Some(Instant::now());
                    // Beside the checks, which do not wait for it.
                    tokio::spawn(async move { inner.look_at_disk().await });
                } else if looked.is_none_or(|at| at.elapsed() >= LOOK_AHEAD) {
                    looked = Some(Instant::now());
                    inner.warn(&mut warned, now);
                }
            }
        }
    }
}

impl Inner {
    /// Whether somebody waits for a verification.
    fn is_flying(&self) -> bool {
        let lanes = [&self.known.pulls, &self.known.starts, &self.strange.pulls, &self.strange.starts];
        lanes.iter().any(|lane| lane.available_permits() < FLIGHTS)
    }

    /// Begins checks of what is about to leave its window, most recently used first.
    fn refresh(self: &Arc<Self>, now: Timestamp) {
        // Pulls have half of the flights to themselves; a server out of reach is found again by those who ask.
        let room = self.known.pulls.available_permits().saturating_sub(FLIGHTS / 2).min(AT_ONCE);
        if self.freshness < LEAST_WINDOW || room == 0 || self.reach.is_out() {
            return;
        }
        let mut due: Vec<(Instant, Arc<Entry>)> = self
            .memory
            .all()
            .into_iter()
            .filter_map(|entry| {
                let after = spread(self.freshness, self.spread.hash_one(&entry.repository));
                Some((entry.due(after, self.in_use, now)?, entry))
            })
            .collect();
        sort_by_key(&mut due, |(used, _)| std::cmp::Reverse(*used));
        for (_, entry) in due.into_iter().take(room) {
            lock(&entry.now).tried = Some(Instant::now());
            self.flight(&entry, Purpose::Pull, now);
        }
    }

    /// Finds out how repositories stand that are kept and not in memory: a container of theirs may start any day.
    async fn look_at_disk(self: Arc<Self>) {
        let state = self.state.clone();
        let Ok(paths) = tokio::task::spawn_blocking(move || state.paths()).await else { return };
        let mut kept = Vec::new();
        for path in paths {
            // One after the other, and in turn with those who wait for something.
            let share = self.share(false, LOOK_AT_DISK);
            let size = std::fs::metadata(&path).map_or(0, |kept| kept.len());
            if share.take(size).await.is_err() {
                return;
            }
            let read = tokio::task::spawn_blocking(move || StateDir::read_path(&path)).await;
            let Ok(read) = read else { continue };
            let begun = Instant::now();
            kept.push(self.status(read).await.into());
            // Whoever waits for the place has it while this rests.
            drop(share);
            // Decisions come first: as long a rest as the work took, and a while more where somebody waits.
            tokio::time::sleep(begun.elapsed()).await;
            for _ in 0..RESTS {
                if !self.is_flying() {
                    break;
                }
                tokio::time::sleep(REST).await;
            }
        }
        lock(&self.tally).found(kept);
    }

    /// Says in the log what expires, once a day for each repository.
    fn warn(&self, warned: &mut HashMap<Arc<str>, Instant>, now: Timestamp) {
        warned.retain(|_, at| at.elapsed() < WARN_AGAIN);
        for one in self.repository_stats(Knowledge::expiries) {
            let soon: Vec<String> = one.soon(now).map(ToString::to_string).collect();
            if soon.is_empty() || warned.contains_key(&one.repository) {
                continue;
            }
            let (repository, expires) = (&*one.repository, soon.join(", "));
            let what = match (self.session.is_some(), one.is_renewed) {
                (true, true) => "trust data expires soon; its owner must sign again",
                (true, false) => "trust data expires soon, and the Notary server is not there to renew it",
                (false, _) => "imported trust data expires soon; import a newer bundle",
            };
            tracing::warn!(repository, expires, "{what}");
            warned.insert(one.repository, Instant::now());
        }
    }
}

impl Entry {
    /// Whether it should be checked now, ahead of questions: when it was last used, if so.
    fn due(&self, after: Duration, in_use: Duration, now: Timestamp) -> Option<Instant> {
        if lock(&self.flight).is_some() {
            return None;
        }
        let remembered = lock(&self.now);
        let used = remembered.used.filter(|used| used.elapsed() < in_use)?;
        if remembered.refused.is_some() || remembered.tried.is_some_and(|tried| tried.elapsed() < after) {
            return None;
        }
        let (at, wall) = remembered.known.as_ref()?.checked?;
        let age = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
        (at.elapsed() >= after || now.duration_since(wall) >= age).then_some(used)
    }
}

/// When in the window to check: between six and nine tenths of it, by chance.
fn spread(window: Duration, chance: u64) -> Duration {
    let tenths = u32::try_from(chance % 301).unwrap_or(0);
    window * (600 + tenths) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::OnceCell;

    #[test]
    fn checks_are_spread_over_the_last_part_of_the_window() {
        let window = Duration::from_secs(30);
        let all: Vec<Duration> = (0..1000).map(|chance| spread(window, chance)).collect();
        assert_eq!((all.iter().min(), all.iter().max()), (Some(&(window * 6 / 10)), Some(&(window * 9 / 10))));
        assert!(spread(window, u64::MAX) < window);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_about_is_not_checked() {
        let entry = Entry {
            repository: "r.example/a".parse().unwrap(),
            loaded: OnceCell::new(),
            now: std::sync::Mutex::default(),
            flight: std::sync::Mutex::default(),
        };
        let now: Timestamp = "2030-06-01T00:00:00Z".parse().unwrap();
        let due = || entry.due(Duration::from_secs(20), Duration::from_mins(5), now).is_some();
        assert!(!due());
        lock(&entry.now).used = Some(Instant::now());
        // Nothing is known: there is nothing to keep fresh.
        assert!(!due());
    }
}
