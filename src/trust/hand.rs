//! Work for the disk, done one after the other by one thread of the pool, and by none while there is nothing to do: a disk that hangs takes
//! no more of those that everybody shares.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Most that waits. Beyond it nothing is taken: stops a disk that hangs from filling memory.
pub(in crate::trust) const QUEUE: usize = 64;

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Turn {
    waiting: VecDeque<Work>,
    is_busy: bool,
}

/// Who does it.
///
/// What must be done is taken at any length of the queue, so who gives it keeps it bounded.
#[derive(Clone, Default)]
pub(in crate::trust) struct Hand(Arc<Mutex<Turn>>);

impl Hand {
    /// Has it done, and gives what comes of it; `None`: there is no place. It is done also if nobody waits for it. Called in a runtime.
    pub(in crate::trust) fn give<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<oneshot::Receiver<T>> {
        if self.turn().waiting.len() >= QUEUE { None } else { Some(self.must(work)) }
    }

    /// Has done what may not be left out.
    pub(in crate::trust) fn must<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (done, answer) = oneshot::channel();
        let work = Box::new(move || {
            let _ = done.send(work());
        });
        let mut turn = self.turn();
        turn.waiting.push_back(work);
        if !turn.is_busy {
            turn.is_busy = true;
            let here = self.clone();
            tokio::task::spawn_blocking(move || while here.does_one() {});
        }
        answer
    }

    /// Whether there was anything to do.
    fn does_one(&self) -> bool {
        let work = {
            let mut turn = self.turn();
            let work = turn.waiting.pop_front();
            turn.is_busy = work.is_some();
            work
        };
        // What waits behind one that panics is done all the same.
        work.map(|work| catch_unwind(AssertUnwindSafe(work))).is_some()
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hand").finish_non_exhaustive()
    }
}
