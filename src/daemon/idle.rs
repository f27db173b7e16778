//! Which connections have no request under way, and since when: they may be closed, the one that is idle the longest first.
//!
//! A request costs a look at the clock here and no more: that a connection has been idle for too long is found out by one look at all of
//! them each second, not by a timer of each.

use crate::order::sort_by_key;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long one that has asked is left alone: the daemon keeps some, and takes the one that it used last.
const KEPT: Duration = Duration::from_secs(5);

/// Most that are closed at once: a thousand silent peers that come back at once are got rid of in less than a second.
const AT_ONCE: usize = 64;

/// How often it is looked which have been idle for too long.
const LOOK: Duration = Duration::from_secs(1);

/// All connections.
#[derive(Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<Vec<Arc<Seat>>>>);

/// One connection's place among them.
pub(super) struct Place {
    crowd: Crowd,
    seat: Arc<Seat>,
}

struct Seat {
    now: Mutex<Now>,
    /// Said when it is asked to end.
    wake: Notify,
}

#[derive(Clone, Copy)]
struct Now {
    /// No request is under way.
    is_idle: bool,
    /// Since when that is so.
    since: Instant,
    has_asked: bool,
    /// It was asked to end, and no request has begun since.
    is_to_end: bool,
}

/// A request under way; when it is dropped, the connection is idle again.
pub(super) struct Busy<'p>(&'p Seat);

impl Crowd {
    /// A new connection, idle until its first request.
    pub(super) fn join(&self) -> Place {
        let now = Now { is_idle: true, since: Instant::now(), has_asked: false, is_to_end: false };
        let seat = Arc::new(Seat { now: Mutex::new(now), wake: Notify::new() });
        self.seats().push(Arc::clone(&seat));
        Place { crowd: self.clone(), seat }
    }

    /// Asks connections to end that have been idle the longest: of those that never asked what is older than `patience`.
    pub(super) fn close_oldest(&self, patience: Duration) {
        self.close(patience, KEPT, AT_ONCE);
    }

    /// From now on, connections are asked to end that have been idle for `idle`; before their first request, for `head`. For as long
    /// as there is a crowd.
    pub(super) fn look_after(&self, head: Duration, idle: Duration) -> impl Future<Output = ()> + use<> {
        let crowd: Weak<_> = Arc::downgrade(&self.0);
        async move {
            while let Some(crowd) = crowd.upgrade() {
                Self(crowd).close(head, idle, usize::MAX);
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Asks so many to end that have been idle for so long (`silent`: those that never asked), the longest first.
    fn close(&self, silent: Duration, asked: Duration, most: usize) {
        let seats = self.seats();
        let is_over =
            |now: &Now| now.is_idle && !now.is_to_end && now.since.elapsed() >= if now.has_asked { asked } else { silent };
        let idle_since = |seat: &Arc<Seat>| Some(seat.now()).filter(|now| is_over(now)).map(|now| now.since);
        let mut over: Vec<(Instant, &Arc<Seat>)> = seats.iter().filter_map(|seat| Some((idle_since(seat)?, seat))).collect();
        sort_by_key(&mut over, |(since, _)| *since);
        for (_, seat) in over.into_iter().take(most) {
            // Looked at again: a request may have begun there meanwhile, which its client would repeat without a body.
            let mut now = seat.now();
            if is_over(&now) {
                now.is_to_end = true;
                seat.wake.notify_one();
            }
        }
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A request has begun.
    pub(super) fn busy(&self) -> Busy<'_> {
        let mut now = self.seat.now();
        (now.is_idle, now.has_asked, now.is_to_end) = (false, true, false);
        drop(now);
        Busy(&self.seat)
    }

    /// Ends when the connection is idle and was asked to end.
    pub(super) async fn is_to_end(&self) {
        // A wake-up alone may come from before a request.
        while !self.seat.now().is_to_end {
            self.seat.wake.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.seats().retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut now = self.0.now();
        (now.is_idle, now.since) = (true, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_mins(10);
    const NEW: Duration = Duration::from_millis(25);

    async fn ends_within(place: &Place, time: Duration) -> bool {
        tokio::time::timeout(time, place.is_to_end()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_idle_connection_ends_and_a_busy_one_does_not() {
        let crowd = Crowd::default();
        tokio::spawn(crowd.look_after(HEAD, IDLE));
        let [first, second] = [crowd.join(), crowd.join()];
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
        tokio::spawn(crowd.look_after(HEAD, IDLE));
        let place = crowd.join();
        assert!(!ends_within(&place, HEAD / 2).await);
        assert!(ends_within(&place, HEAD).await);
        drop(place);
        let place = crowd.join();
        drop(place.busy());
        assert!(!ends_within(&place, HEAD * 2).await);
        assert!(ends_within(&place, IDLE).await);
        drop(place);
        assert_eq!(crowd.seats().len(), 0);
    }

    /// Of many that are over at once, those go first that have been idle the longest, and a request that has begun meanwhile is served.
    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_go_first_and_who_asks_meanwhile_stays() {
        let crowd = Crowd::default();
        let mut places = Vec::new();
        for _ in 0..AT_ONCE + 2 {
            places.push(crowd.join());
            tokio::time::advance(NEW).await;
        }
        crowd.close_oldest(NEW);
        let are_to_end = places.iter().filter(|place| place.seat.now().is_to_end).count();
        assert_eq!(are_to_end, AT_ONCE);
        assert!(!places[AT_ONCE].seat.now().is_to_end);
        let busy = places[0].busy();
        assert!(!ends_within(&places[0], IDLE).await, "its request is under way");
        drop(busy);
        assert!(!ends_within(&places[0], IDLE).await, "it was asked to end before that");
        assert!(ends_within(&places[1], NEW).await);
    }
}
