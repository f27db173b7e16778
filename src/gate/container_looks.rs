//! Looks at containers that are under way. The engine answers one only once it has the container's lock, which any client can
//! hold: a container that does not answer must not take the places of others, and is remembered until it answers.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::EngineError;

/// A look that takes longer hangs: an ordinary one takes a millisecond.
const HANGS: Duration = Duration::from_millis(100);
/// How often one look at a container that hangs is made, to find out whether it does still. All others are refused at once.
const AGAIN: Duration = Duration::from_secs(1);
/// Most looks at one container at once. `docker start` of one container by many at once is nobody's ordinary work.
const MAX_AT_ONE: usize = 4;
/// Most looks at once. Stops memory from being filled; far below the connections that dockerd may open.
const MAX: usize = 256;
/// Most containers remembered as hanging; the oldest makes room, and costs one look more.
const MAX_HANGING: usize = 1024;
/// From so many characters on, two beginnings of ids of which one begins the other are taken for the same container's. One hangs under
/// each of them; short ones are many containers'.
const TELLING: usize = 12;

/// The looks under way.
#[derive(Default)]
pub(super) struct Looks(Mutex<State>);

#[derive(Default)]
struct State {
    looks: Vec<(String, Instant)>,
    /// Containers that hang, each with when it was last looked at.
    hanging: VecDeque<(String, Instant)>,
}

/// One of them, until it is dropped.
pub(super) struct Look<'a> {
    looks: &'a Looks,
    container: String,
    since: Instant,
    /// The engine has answered.
    is_answered: bool,
}

impl Looks {
    /// A place for a look at `container`; `None` where one hangs, or there are too many.
    pub(super) fn enter(&self, container: &str) -> Option<Look<'_>> {
        let since = Instant::now();
        let container = container.trim_start_matches('/');
        let mut state = self.lock();
        let of_it = state.looks.iter().filter(|(other, _)| is_same(other, container));
        let (count, hangs) = of_it.fold((0, false), |(count, hangs), (_, begun)| (count + 1, hangs || *begun + HANGS < since));
        if state.looks.len() >= MAX || count >= MAX_AT_ONE || hangs {
            return None;
        }
        if let Some((_, last)) = state.hanging.iter_mut().find(|(other, _)| is_same(other, container)) {
            if count > 0 || *last + AGAIN > since {
                return None;
            }
            *last = since;
        }
        state.looks.push((container.to_owned(), since));
        drop(state);
        Some(Look { looks: self, container: container.to_owned(), since, is_answered: false })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Look<'_> {
    /// Ends the look with what came of it.
    pub(super) fn ended<T>(mut self, answer: Result<T, EngineError>) -> Result<T, EngineError> {
        self.is_answered = !matches!(answer, Err(EngineError::Timeout { .. }));
        answer
    }
}

impl Drop for Look<'_> {
    /// One that is given up before the engine has answered hangs.
    fn drop(&mut self) {
        let mut state = self.looks.lock();
        if let Some(at) = state.looks.iter().position(|(container, since)| *container == self.container && *since == self.since) {
            state.looks.swap_remove(at);
        }
        if self.is_answered {
            state.hanging.retain(|(other, _)| !is_same(other, &self.container));
        } else if self.since + HANGS < Instant::now() && !state.hanging.iter().any(|(other, _)| is_same(other, &self.container)) {
            if state.hanging.len() >= MAX_HANGING {
                state.hanging.pop_front();
            }
            let container = std::mem::take(&mut self.container);
            state.hanging.push_back((container, Instant::now()));
        }
    }
}

/// Whether two spellings mean one container, as far as they show it.
fn is_same(one: &str, other: &str) -> bool {
    let begins_an_id = |text: &str| text.len() >= TELLING && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    one == other || begins_an_id(one) && begins_an_id(other) && (one.starts_with(other) || other.starts_with(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hung() -> Result<(), EngineError> {
        Err(EngineError::Timeout { call: String::new() })
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_refuses_the_next_and_nobody_elses() {
        let looks = Looks::default();
        let first = looks.enter("locked").unwrap();
        assert!(looks.enter("locked").is_some());
        tokio::time::advance(HANGS * 2).await;
        assert!(looks.enter("locked").is_none());
        assert!(looks.enter("web").is_some());
        first.ended(Ok(())).unwrap();
        assert!(looks.enter("locked").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn looks_at_one_container_are_few() {
        let looks = Looks::default();
        let held: Vec<_> = (0..MAX_AT_ONE).map(|_| looks.enter("web").unwrap()).collect();
        assert!(looks.enter("web").is_none());
        assert!(looks.enter("db").is_some());
        for look in held {
            look.ended(Ok(())).unwrap();
        }
        assert!(looks.enter("web").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hung_is_refused_at_once_until_a_look_gets_through() {
        let looks = Looks::default();
        let look = looks.enter("locked").unwrap();
        tokio::time::advance(HANGS * 2).await;
        assert!(look.ended(hung()).is_err());
        assert!(looks.enter("/locked").is_none());
        looks.enter("web").unwrap().ended(Ok(())).unwrap();
        tokio::time::advance(AGAIN).await;
        let again = looks.enter("locked").unwrap();
        assert!(looks.enter("locked").is_none(), "one look finds out, others do not wait for it");
        again.ended(Ok(())).unwrap();
        assert!(looks.enter("locked").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn every_spelling_of_a_beginning_of_an_id_hangs_with_it_and_short_ones_do_not() {
        let looks = Looks::default();
        let look = looks.enter(&"ab".repeat(16)).unwrap();
        tokio::time::advance(HANGS * 2).await;
        drop(look);
        for (spelling, hangs) in
            [("ab".repeat(32), true), ("ab".repeat(6), true), ("ab".repeat(5), false), ("cd".repeat(32), false)]
        {
            assert_eq!(looks.enter(&spelling).is_none(), hangs, "{spelling}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_does_not_fill_memory() {
        let looks = Looks::default();
        for number in 0..MAX_HANGING + 10 {
            let look = looks.enter(&format!("c{number}")).unwrap();
            tokio::time::advance(HANGS * 2).await;
            drop(look);
        }
        assert_eq!(looks.lock().hanging.len(), MAX_HANGING);
    }
}
