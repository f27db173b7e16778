//! What runs and what has ended, listed for looks at ended starts: one list at a time, and one for all that waited while another was made.
//! Clients decide how many starts end at once, and how long a list takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::engine::{Api, EngineError, Listed};

/// Which containers are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Running,
    All,
}

/// Lists of one kind.
#[derive(Debug)]
pub(super) struct Lists {
    which: Which,
    /// When the last one was begun, and what came of it; kept for as long as somebody waits.
    last: Mutex<Option<(Instant, Made)>>,
    waiting: AtomicUsize,
}

type Made = Result<Arc<Listed>, EngineError>;

impl Lists {
    pub(super) fn of(which: Which) -> Self {
        Self { which, last: Mutex::default(), waiting: AtomicUsize::new(0) }
    }

    /// A list that was begun after now. It may take `time`, and as long again where another is being made.
    pub(super) async fn made_after_now(&self, engine: &dyn Api, time: Duration) -> Made {
        let now = Instant::now();
        let waits = Waits::at(&self.waiting);
        let mut last = self.last.lock().await;
        let made = match &*last {
            Some((begun, made)) if *begun > now => made.clone(),
            _ => {
                let begun = Instant::now();
                let made = match self.which {
                    Which::Running => engine.running(begun + time).await,
                    Which::All => engine.containers(begun + time).await,
                };
                let made = made.map(Arc::new);
                *last = Some((begun, made.clone()));
                made
            }
        };
        if waits.is_last() {
            *last = None;
        }
        made
    }
}

/// One that waits for a list.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn at(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }

    fn is_last(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Fake;

    #[tokio::test]
    async fn one_list_serves_all_that_wait_and_none_that_was_begun_before_they_asked() {
        let engine = Arc::new(Fake::new());
        let lists = Arc::new(Lists::of(Which::Running));
        let made = || {
            let (engine, lists) = (Arc::clone(&engine), Arc::clone(&lists));
            async move { lists.made_after_now(&*engine, Duration::from_secs(1)).await.unwrap() }
        };
        let held = lists.last.lock().await;
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..100 {
            crowd.spawn(made());
        }
        tokio::task::yield_now().await;
        drop(held);
        assert_eq!(crowd.join_all().await.len(), 100);
        assert_eq!(engine.calls().len(), 1);
        made().await;
        made().await;
        assert_eq!(engine.calls().len(), 3, "who asks later gets a later one");
        assert!(lists.last.lock().await.is_none(), "and none is kept that nobody waits for");
    }
}
