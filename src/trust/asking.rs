//! What the verifiers that ask servers share: room for questions that made-up names cannot take, the question whether a server is
//! gone, one question for all who ask the same, a memory of answers, and a short one of noes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio::time::Instant;

use super::TrustError;

/// Questions at once for pulls, and as many again for starts: starts never wait behind pulls.
pub(super) const FLIGHTS: usize = 64;
/// How long the question gets that confirms an outage, and the wait for somebody else's.
pub(super) const PROBE_TIME: Duration = Duration::from_millis(750);
/// How long it is remembered that a server knows nothing of a name; whoever then pushes or signs it does not wait long.
const NO_TIME: Duration = Duration::from_secs(3);
/// Most noes in one of two generations, and the longest message of one that is kept: 1 MB in all.
const NOES: usize = 512;
const NO_BYTES: usize = 512;

/// Questions under way.
pub(super) struct Lanes {
    pub(super) pulls: Semaphore,
    pub(super) starts: Semaphore,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { pulls: Semaphore::new(FLIGHTS), starts: Semaphore::new(FLIGHTS) }
    }
}

/// Whether a server is gone, by one question about no repository, which those who want to know share.
#[derive(Default)]
pub(super) struct Probe {
    /// When it was last asked, and whether it was gone.
    last: Mutex<Option<(Instant, bool)>>,
}

impl Probe {
    /// `ask` has [`PROBE_TIME`], all of it: one that had less would say little. What does not come out in time is "no".
    pub(super) async fn is_gone(&self, ask: impl Future<Output = bool>) -> bool {
        let asked = Instant::now();
        let Ok(mut last) = tokio::time::timeout_at(asked + PROBE_TIME, self.last.lock()).await else { return false };
        if let Some((_, is_gone)) = last.filter(|(at, _)| *at > asked) {
            return is_gone;
        }
        let is_gone = ask.await;
        *last = Some((Instant::now(), is_gone));
        is_gone
    }
}

/// Questions on their way: whoever asks the same waits for the one answer, by what they share of it.
pub(super) struct Flights<K: Eq + Hash, T = Mutex<()>>(std::sync::Mutex<HashMap<K, Arc<T>>>);

impl<K: Eq + Hash, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self(std::sync::Mutex::default())
    }
}

impl<K: Eq + Hash + Clone, T: Default> Flights<K, T> {
    pub(super) fn of(&self, key: K) -> Flight<'_, K, T> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = Arc::clone(flights.entry(key.clone()).or_default());
        drop(flights);
        Flight { flights: self, key, shared }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

/// A question on its way. When the last that asks it is done, or gave up, it is forgotten.
pub(super) struct Flight<'f, K: Eq + Hash, T = Mutex<()>> {
    flights: &'f Flights<K, T>,
    key: K,
    pub(super) shared: Arc<T>,
}

impl<K: Eq + Hash> Flight<'_, K> {
    /// Waits until nobody else asks; `None`: that took too long.
    pub(super) async fn turn(&self, until: Instant) -> Option<MutexGuard<'_, ()>> {
        tokio::time::timeout_at(until, self.shared.lock()).await.ok()
    }
}

impl<K: Eq + Hash, T> Drop for Flight<'_, K, T> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The map has one, this has one: nobody else waits.
        if Arc::strong_count(&self.shared) <= 2 {
            flights.remove(&self.key);
        }
    }
}

/// What was found out, in two generations: when the young one is full it becomes the old one, and the old one is forgotten.
pub(super) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Generations<K, V> {
    pub(super) fn of(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.young.keys().chain(self.old.keys())
    }

    /// `most`: how many one generation holds.
    pub(super) fn remember(&mut self, key: K, value: V, most: usize) {
        if self.young.len() >= most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

/// Noes about what is not known, in two generations: made-up names cost the server one question each, and no memory beyond a bound.
pub(super) struct Noes<K> {
    young: HashMap<K, (Instant, TrustError)>,
    old: HashMap<K, (Instant, TrustError)>,
}

impl<K> Default for Noes<K> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash> Noes<K> {
    pub(super) fn of(&self, key: &K) -> Option<TrustError> {
        let (at, error) = self.young.get(key).or_else(|| self.old.get(key))?;
        (at.elapsed() < NO_TIME).then(|| error.clone())
    }

    pub(super) fn remember(&mut self, key: K, error: TrustError) {
        if error.to_string().len() > NO_BYTES {
            return;
        }
        if self.young.len() >= NOES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, (Instant::now(), error));
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::TrustCode;

    #[test]
    fn what_was_found_out_is_kept_within_a_bound_the_young_longest() {
        let mut known = Generations::default();
        for number in 0..300 {
            known.remember(number, (), 100);
        }
        assert!(known.keys().count() <= 200);
        assert!(known.of(&299).is_some() && known.of(&200).is_some() && known.of(&0).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn noes_are_remembered_for_seconds_and_within_a_bound() {
        let mut noes = Noes::default();
        let no = |text: &str| TrustError::new(TrustCode::NoTrustData, text);
        for name in 0..5000 {
            noes.remember(name, no("none"));
        }
        assert!(noes.young.len() + noes.old.len() <= 2 * NOES);
        assert_eq!((noes.of(&4999), noes.of(&0)), (Some(no("none")), None));
        noes.remember(7, no(&"x".repeat(NO_BYTES + 1)));
        assert_eq!(noes.of(&7), None);
        noes.forget(&4999);
        assert_eq!(noes.of(&4999), None);
        assert!(noes.of(&4998).is_some());
        tokio::time::advance(NO_TIME).await;
        assert_eq!(noes.of(&4998), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_wants_to_know_shares_one_question_and_one_that_broke_off_tells_nothing() {
        let (probe, asked) = (Probe::default(), std::cell::Cell::new(0));
        let ask = |time: Duration, is_gone: bool| {
            let asked = &asked;
            async move {
                asked.set(asked.get() + 1);
                tokio::time::sleep(time).await;
                is_gone
            }
        };
        let slow = Duration::from_millis(300);
        assert_eq!(tokio::join!(probe.is_gone(ask(slow, true)), probe.is_gone(ask(slow, false))), (true, true));
        assert_eq!(asked.get(), 1);
        // Later it is asked again.
        assert!(!probe.is_gone(ask(slow, false)).await);
        // The one who asks gives up: who waited asks himself, and has the whole time.
        let given_up = tokio::time::timeout(Duration::from_millis(700), probe.is_gone(ask(Duration::MAX, true)));
        let (given_up, own) = tokio::join!(given_up, probe.is_gone(ask(Duration::from_millis(700), true)));
        assert!(given_up.is_err() && own);
    }
}
