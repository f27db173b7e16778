//! Ahead of questions: the timestamp of repositories in use is checked before the freshness window ends, so that the window
//! seldom costs a wait; and the log warns of what expires (issue 4; spec/notary-tuf.md, section 12).
//!
//! Few at a time, spread, and only while there is room: what somebody waits for comes first.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Entry, FLIGHTS, Inner, Notary, Urgency, lock};

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
/// A server that was not asked with success for so long will not have renewed a timestamp.
const UNRENEWED: Duration = Duration::from_mins(15);

impl Notary {
    /// Keeps what is in use fresh and warns ahead of expiry, until the last clone of this verifier is dropped. `clock` tells
    /// the time.
    pub fn keep_fresh(&self, clock: fn() -> Timestamp) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::downgrade(&self.inner);
        let look = (self.inner.freshness / 10).clamp(Duration::from_millis(100), LOOK);
        async move {
            let mut warned: Option<Instant> = None;
            loop {
                tokio::time::sleep(look).await;
                let Some(inner) = shared.upgrade() else { return };
                let now = clock();
                inner.refresh(now);
                if warned.is_none_or(|at| at.elapsed() >= LOOK_AHEAD) {
                    warned = Some(Instant::now());
                    inner.warn(now);
                }
            }
        }
    }
}

impl Inner {
    /// Begins checks of what is about to leave its window, most recently used first.
    fn refresh(self: &Arc<Self>, now: Timestamp) {
        // Pulls have half of the flights to themselves; a server out of reach is found again by those who ask.
        let room = self.pulls.available_permits().saturating_sub(FLIGHTS / 2).min(AT_ONCE);
        if self.freshness < LEAST_WINDOW || room == 0 || self.out_of_reach().is_some() {
            return;
        }
        let entries: Vec<Arc<Entry>> = lock(&self.entries).values().cloned().collect();
        let mut due: Vec<(Instant, Arc<Entry>)> = entries
            .into_iter()
            .filter_map(|entry| {
                let after = spread(self.freshness, self.spread.hash_one(&entry.repository));
                Some((entry.due(after, self.in_use, now)?, entry))
            })
            .collect();
        due.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
        for (_, entry) in due.into_iter().take(room) {
            lock(&entry.now).tried = Some(Instant::now());
            self.flight(&entry, Urgency::Pull, now);
        }
    }

    /// Says in the log what expires, once a day for each repository that was asked about.
    fn warn(&self, now: Timestamp) {
        let entries: Vec<Arc<Entry>> = lock(&self.entries).values().cloned().collect();
        for entry in entries {
            let mut remembered = lock(&entry.now);
            if remembered.warned.is_some_and(|at| at.elapsed() < WARN_AGAIN) {
                continue;
            }
            let Some(known) = &remembered.known else { continue };
            let has_server = self.session.is_some();
            let renewed = has_server && known.checked.is_some_and(|(at, _)| at.elapsed() < UNRENEWED);
            let soon = known.knowledge.expiring(now, renewed);
            if soon.is_empty() {
                continue;
            }
            let soon: Vec<String> = soon.into_iter().map(|(role, at)| format!("{role} at {at}")).collect();
            let (repository, expires) = (entry.repository.as_str(), soon.join(", "));
            let what = match (has_server, renewed) {
                (true, true) => "trust data expires soon; its owner must sign anew",
                (true, false) => "trust data expires soon, and the Notary server is not there to renew it",
                (false, _) => "imported trust data expires soon; import a newer bundle",
            };
            tracing::warn!(repository, expires, "{what}");
            remembered.warned = Some(Instant::now());
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
