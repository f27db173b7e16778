//! Pulls by tag under way, with what the host held under that name before. Engines tell a pull's end without a status,
//! whether it failed or not: older ones once the answer has begun, those from 29.2 on always. Only a change of what the name means
//! shows that something came.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::image::Digest;

/// Most pulls remembered; the oldest makes room. One that is not remembered is taken for one that brought something.
const MAX: usize = 256;

/// The pulls under way.
#[derive(Default)]
pub(super) struct Pulls(Mutex<VecDeque<(Digest, Option<Digest>)>>);

impl Pulls {
    /// Remembers what the host held when the pull `call` was let pass.
    pub(super) fn begin(&self, call: &str, held: Option<Digest>) {
        let mut pulls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pulls.len() >= MAX {
            pulls.pop_front();
        }
        pulls.push_back((Digest::of(call.as_bytes()), held));
    }

    /// The end of the pull `call`: whether the host held `now` already when it began.
    pub(super) fn brought_nothing(&self, call: &str, now: Option<Digest>) -> bool {
        let call = Digest::of(call.as_bytes());
        let mut pulls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of several, the newest: those before it may have failed unseen.
        let at = pulls.iter().rposition(|(pull, _)| *pull == call);
        at.and_then(|at| pulls.remove(at)).is_some_and(|(_, held)| held.is_some() && held == now)
    }
}
