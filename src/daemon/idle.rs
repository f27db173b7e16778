//! Which connections have no request under way, and since when: they may be closed, the one that is idle the longest first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long one that has asked is left alone: the daemon keeps some, and takes the one that it used last.
const KEPT: Duration = Duration::from_secs(5);

/// Most that are closed at once: a thousand silent peers that come back at once are got rid of in less than a second.
const AT_ONCE: usize = 64;

/// All connections that are idle now.
#[derive(Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<Idle>>);

#[derive(Default)]
struct Idle {
    /// Counts on with each connection that becomes idle: the lowest of `waiting` has been so the longest.
    turn: u64,
    waiting: BTreeMap<u64, Waiting>,
}

/// A connection that is idle.
struct Waiting {
    since: Instant,
    has_asked: bool,
    wake: Arc<Notify>,
}

/// One connection's place among them.
pub(super) struct Place {
    crowd: Crowd,
    wake: Arc<Notify>,
    now: Mutex<Now>,
}

#[derive(Clone, Copy)]
struct Now {
    /// `None`: a request is under way.
    turn: Option<u64>,
    since: Instant,
    has_asked: bool,
}

/// A request under way; when it is dropped, the connection is idle again.
pub(super) struct Busy(Arc<Place>);

impl Crowd {
    /// A new connection, idle until its first request.
    pub(super) fn join(&self) -> Place {
        let wake = Arc::new(Notify::new());
        let turn = self.wait(&wake, false);
        Place { crowd: self.clone(), wake, now: Mutex::new(Now { turn: Some(turn), since: Instant::now(), has_asked: false }) }
    }

    /// Asks connections to end that have been idle the longest: of those that never asked what is older than `patience`.
    pub(super) fn close_oldest(&self, patience: Duration) {
        let mut idle = self.lock();
        let is_over = |one: &Waiting| one.since.elapsed() >= if one.has_asked { KEPT } else { patience };
        let oldest: Vec<u64> = idle.waiting.iter().filter(|(_, one)| is_over(one)).map(|(turn, _)| *turn).take(AT_ONCE).collect();
        for turn in oldest {
            if let Some(one) = idle.waiting.remove(&turn) {
                one.wake.notify_one();
            }
        }
    }

    fn wait(&self, wake: &Arc<Notify>, has_asked: bool) -> u64 {
        let mut idle = self.lock();
        idle.turn += 1;
        let turn = idle.turn;
        idle.waiting.insert(turn, Waiting { since: Instant::now(), has_asked, wake: Arc::clone(wake) });
        turn
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A request has begun.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        let mut now = self.now();
        if let Some(turn) = now.turn.take() {
            self.crowd.lock().waiting.remove(&turn);
        }
        now.has_asked = true;
        Busy(Arc::clone(self))
    }

    /// Ends when the connection is idle and was asked to end, or has been idle for too long.
    pub(super) async fn idle_for_too_long(&self, head: Duration, idle: Duration) {
        loop {
            let Now { turn, since, has_asked } = *self.now();
            let end = since + if has_asked { idle } else { head };
            if turn.is_some() && end <= Instant::now() {
                return;
            }
            match turn {
                // Taken off the list: it was asked to end. A wake-up alone may come from an earlier request.
                Some(turn) if !self.crowd.lock().waiting.contains_key(&turn) => return,
                Some(_) => {
                    // Either way it is looked at again.
                    let _ = tokio::time::timeout_at(end, self.wake.notified()).await;
                }
                // A busy one is looked at again when it is idle.
                None => self.wake.notified().await,
            }
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(turn) = self.now().turn {
            self.crowd.lock().waiting.remove(&turn);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut now = self.0.now();
        now.since = Instant::now();
        now.turn = Some(self.0.crowd.wait(&self.0.wake, true));
        drop(now);
        // Whoever watches this connection begins its time anew.
        self.0.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_mins(10);
    const NEW: Duration = Duration::from_millis(25);

    async fn ends_within(place: &Place, time: Duration) -> bool {
        tokio::time::timeout(time, place.idle_for_too_long(HEAD, IDLE)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_idle_connection_ends_and_a_busy_one_does_not() {
        let crowd = Crowd::default();
        let [first, second] = [Arc::new(crowd.join()), Arc::new(crowd.join())];
        let busy = first.busy();
        // A new one has a request on its way.
        crowd.close_oldest(NEW);
        assert!(!ends_within(&second, NEW).await);
        crowd.close_oldest(NEW);
        assert!(ends_within(&second, Duration::from_secs(1)).await);
        crowd.close_oldest(NEW);
        assert!(!ends_within(&first, IDLE * 2).await);
        drop(busy);
        // One that has asked may be used again.
        crowd.close_oldest(NEW);
        assert!(!ends_within(&first, KEPT).await);
        crowd.close_oldest(NEW);
        assert!(ends_within(&first, Duration::from_secs(1)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_ends_soon_and_one_that_has_asked_late() {
        let crowd = Crowd::default();
        let place = Arc::new(crowd.join());
        assert!(!ends_within(&place, HEAD / 2).await);
        assert!(ends_within(&place, HEAD).await);
        drop(place);
        let place = Arc::new(crowd.join());
        drop(place.busy());
        assert!(!ends_within(&place, HEAD * 2).await);
        assert!(ends_within(&place, IDLE).await);
        drop(place);
        assert_eq!(crowd.lock().waiting.len(), 0);
    }
}
