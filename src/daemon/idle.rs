//! Which connections have no request under way, and since when: they may be closed, the one that is idle the longest first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a connection is left alone. The daemon connects when it has a request; with many at once that is not read yet, or it goes
/// over a connection that has become free, and this one is used a little later. What it had sent over one that is closed before its
/// first answer it sends again without its body, which is refused.
const LEFT_ALONE: Duration = Duration::from_millis(500);

/// All connections that are idle now.
#[derive(Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<Idle>>);

#[derive(Default)]
struct Idle {
    /// Counts on with each connection that becomes idle: the lowest of `waiting` has been so the longest.
    turn: u64,
    waiting: BTreeMap<u64, (Instant, Arc<Notify>)>,
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
        let turn = self.wait(&wake);
        Place { crowd: self.clone(), wake, now: Mutex::new(Now { turn: Some(turn), since: Instant::now(), has_asked: false }) }
    }

    /// Asks the connection that has been idle the longest to end, if that is long enough.
    pub(super) fn close_oldest(&self) {
        let mut idle = self.lock();
        if let Some(oldest) = idle.waiting.first_entry()
            && oldest.get().0.elapsed() >= LEFT_ALONE
        {
            oldest.remove().1.notify_one();
        }
    }

    fn wait(&self, wake: &Arc<Notify>) -> u64 {
        let mut idle = self.lock();
        idle.turn += 1;
        let turn = idle.turn;
        idle.waiting.insert(turn, (Instant::now(), Arc::clone(wake)));
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
        now.turn = Some(self.0.crowd.wait(&self.0.wake));
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

    async fn ends_within(place: &Place, time: Duration) -> bool {
        tokio::time::timeout(time, place.idle_for_too_long(HEAD, IDLE)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_idle_connection_ends_and_a_busy_one_does_not() {
        let crowd = Crowd::default();
        let [first, second] = [Arc::new(crowd.join()), Arc::new(crowd.join())];
        let busy = first.busy();
        // A new one has a request on its way.
        crowd.close_oldest();
        assert!(!ends_within(&second, LEFT_ALONE).await);
        crowd.close_oldest();
        assert!(ends_within(&second, Duration::from_secs(1)).await);
        crowd.close_oldest();
        assert!(!ends_within(&first, IDLE * 2).await);
        drop(busy);
        assert!(!ends_within(&first, Duration::from_secs(1)).await);
        crowd.close_oldest();
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
