//! A journal for where there is no file.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Entry, Journal, Recorded};

/// A journal for when there is no file: entries are counted as lost, decisions go on.
#[derive(Default)]
pub struct NoJournal(AtomicU64);

impl Journal for NoJournal {
    fn record(&self, _: &Entry) -> Recorded {
        self.0.fetch_add(1, Ordering::Relaxed);
        Recorded::Lost
    }

    fn lost(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
