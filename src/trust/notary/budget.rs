//! One budget for what verifications hold in memory: files on their way, the same parsed, and what is read from disk.
//!
//! A verification holds several times the bytes of its files. Ordinary repositories are small and need no leave; how many may
//! be larger at once is bounded, in two sizes, so that large ones wait for large ones alone. What is known has places of its
//! own: a publisher of new names cannot take them.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::error::{Busy, NotaryError};
use crate::trust::TrustError;

/// Bytes of files that a verification may hold without leave: some hundred tags.
const SMALL: u64 = 64 << 10;
/// Bytes up to which it is one of several at a time; some thousand tags.
const MEDIUM: u64 = 512 << 10;
/// How many of medium size at once, for known repositories and for strange ones.
const MEDIUM_AT_ONCE: usize = 8;
/// And larger ones. Each may hold some ten times its bytes, and all of one processor.
const LARGE_AT_ONCE: usize = 1;

/// Room for verifications.
#[derive(Debug, Default)]
pub(super) struct Budget {
    known: Sizes,
    strange: Sizes,
}

#[derive(Debug)]
struct Sizes {
    medium: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// What one verification has of it, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    is_known: bool,
    deadline: Instant,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: u64,
    medium: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { medium: Arc::new(Semaphore::new(MEDIUM_AT_ONCE)), large: Arc::new(Semaphore::new(LARGE_AT_ONCE)) }
    }
}

impl Budget {
    /// For one verification, of a repository that is known or is not; it waits no longer than the deadline.
    pub(super) fn share(self: &Arc<Self>, is_known: bool, deadline: Instant) -> Arc<Share> {
        Arc::new(Share { budget: Arc::clone(self), is_known, deadline, taken: Mutex::default() })
    }
}

impl Share {
    /// Takes room for so many bytes more; waits for it.
    pub(super) async fn take(&self, bytes: u64) -> Result<(), TrustError> {
        let full = || TrustError::from(NotaryError::Busy(Busy::Large));
        let sizes = if self.is_known { &self.budget.known } else { &self.budget.strange };
        // The files of one verification take turns.
        let mut taken = self.taken.lock().await;
        let sum = taken.bytes.saturating_add(bytes);
        let wait = async |of: &Arc<Semaphore>| {
            let permit = tokio::time::timeout_at(self.deadline, Arc::clone(of).acquire_owned()).await;
            permit.ok().and_then(Result::ok).ok_or_else(full)
        };
        if sum > MEDIUM && taken.large.is_none() {
            // One that holds a place does not wait with it for another.
            let permit = match taken.medium {
                Some(_) => Arc::clone(&sizes.large).try_acquire_owned().map_err(|_| full())?,
                None => wait(&sizes.large).await?,
            };
            taken.large = Some(permit);
            taken.medium = None;
        } else if sum > SMALL && taken.large.is_none() && taken.medium.is_none() {
            taken.medium = Some(wait(&sizes.medium).await?);
        }
        taken.bytes = sum;
        Ok(())
    }

    /// Gives back what was taken and not used. The place stays taken.
    pub(super) async fn give_back(&self, bytes: u64) {
        let mut taken = self.taken.lock().await;
        taken.bytes = taken.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trust::TrustCode;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(3)
    }

    #[tokio::test(start_paused = true)]
    async fn large_ones_wait_for_large_ones_alone_and_no_longer_than_their_time() {
        let budget = Arc::new(Budget::default());
        let large = budget.share(true, soon());
        large.take(1000).await.unwrap();
        large.take(MEDIUM).await.unwrap();
        // Once it is in, it may grow.
        large.take(16 << 20).await.unwrap();
        let before = Instant::now();
        assert_eq!(budget.share(true, soon()).take(MEDIUM + 1).await.unwrap_err().code, TrustCode::Busy);
        assert_eq!(before.elapsed(), Duration::from_secs(3));
        // Strange ones have a place of their own, and small and medium ones do not wait.
        budget.share(false, soon()).take(MEDIUM + 1).await.unwrap();
        let before = Instant::now();
        budget.share(true, soon()).take(SMALL).await.unwrap();
        budget.share(true, soon()).take(MEDIUM).await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
        let next = budget.share(true, soon());
        let (taken, ()) = tokio::join!(next.take(MEDIUM + 1), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(large);
        });
        taken.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn many_of_medium_size_go_in_turn_and_do_not_wait_with_a_place_in_hand() {
        let budget = Arc::new(Budget::default());
        let mut held = Vec::new();
        for _ in 0..MEDIUM_AT_ONCE {
            let share = budget.share(true, soon());
            share.take(SMALL + 1).await.unwrap();
            // What was not needed counts no more.
            share.give_back(SMALL).await;
            share.take(SMALL).await.unwrap();
            held.push(share);
        }
        let late = budget.share(true, soon());
        late.take(SMALL).await.unwrap();
        assert!(late.take(1).await.is_err());
        // One grows; the next that would refuses at once.
        held[0].take(MEDIUM).await.unwrap();
        let before = Instant::now();
        assert!(held[1].take(MEDIUM).await.is_err());
        assert_eq!(before.elapsed(), Duration::ZERO);
        held.clear();
        budget.share(true, soon()).take(MEDIUM + 1).await.unwrap();
    }
}
