//! Looks at containers that are under way. The engine answers one only once it has the container's lock, which any client can
//! hold: a container that does not answer must not take the places of others.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A look that takes longer hangs: an ordinary one takes a millisecond.
const HANGS: Duration = Duration::from_millis(500);
/// Most looks at one container at once. `docker start` of one container by many at once is nobody's ordinary work.
const MAX_AT_ONE: usize = 4;
/// Most looks at once. Stops memory from being filled; far below the connections that dockerd may open.
const MAX: usize = 256;

/// The looks under way.
#[derive(Default)]
pub struct Looks(Mutex<Vec<(String, Instant)>>);

/// One of them, until it is dropped.
pub struct Look<'a> {
    looks: &'a Looks,
    container: String,
    since: Instant,
}

impl Looks {
    /// A place for a look at `container`; `None` where one hangs, or there are too many.
    pub fn enter(&self, container: &str) -> Option<Look<'_>> {
        let since = Instant::now();
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = || looks.iter().filter(|(other, _)| other == container);
        if looks.len() >= MAX || of_it().count() >= MAX_AT_ONE || of_it().any(|(_, begun)| *begun + HANGS < since) {
            return None;
        }
        looks.push((container.to_owned(), since));
        Some(Look { looks: self, container: container.to_owned(), since })
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        let mut looks = self.looks.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = looks.iter().position(|(container, since)| *container == self.container && *since == self.since) {
            looks.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_refuses_the_next_and_nobody_elses() {
        let looks = Looks::default();
        let first = looks.enter("locked").unwrap();
        assert!(looks.enter("locked").is_some());
        tokio::time::advance(HANGS * 2).await;
        assert!(looks.enter("locked").is_none());
        assert!(looks.enter("web").is_some());
        drop(first);
        assert!(looks.enter("locked").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn looks_at_one_container_are_few() {
        let looks = Looks::default();
        let held: Vec<_> = (0..MAX_AT_ONE).map(|_| looks.enter("web").unwrap()).collect();
        assert!(looks.enter("web").is_none());
        assert!(looks.enter("db").is_some());
        drop(held);
        assert!(looks.enter("web").is_some());
    }
}
