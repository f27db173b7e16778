//! Who waits to be audited, and who is next: those of which a container runs; then by turns the newest, the oldest, and any, so that nobody
//! waits for all of a crowd: who makes one chooses by the dates that its images claim which others are in its middle. One that was asked for in vain stands behind, and holds up no other.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use tokio::time::Instant;

use crate::image::Digest;

/// Each so manieth turn is of those that were asked for in vain, where others wait too.
const AGAIN_TURN: usize = 8;

/// One that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: Digest,
    pub(super) name: String,
    /// How often it was asked for in vain.
    pub(super) tries: u8,
    /// It was said already that it cannot be looked at, though it is listed.
    pub(super) is_told: bool,
}

/// Those that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    running: VecDeque<Waiting>,
    others: VecDeque<Waiting>,
    again: VecDeque<(Instant, Waiting)>,
    turn: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.running.len() + self.others.len() + self.again.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = Digest> + '_ {
        let again = self.again.iter().map(|(_, waiting)| waiting);
        self.running.iter().chain(&self.others).chain(again).map(|waiting| waiting.id)
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.others.push_back(waiting);
    }

    /// One that was asked for in vain; not before.
    pub(super) fn put_back(&mut self, waiting: Waiting, not_before: Instant) {
        self.again.push_back((not_before, waiting));
    }

    /// Those that are there no more leave, and are given back.
    pub(super) fn leave(&mut self, held: &BTreeSet<Digest>) -> Vec<Waiting> {
        let mut gone = Vec::new();
        for queue in [&mut self.running, &mut self.others] {
            let (stay, leave) =
                std::mem::take(queue).into_iter().partition::<VecDeque<_>, _>(|waiting| held.contains(&waiting.id));
            *queue = stay;
            gone.extend(leave);
        }
        let again = std::mem::take(&mut self.again);
        let (stay, leave) = again.into_iter().partition::<VecDeque<_>, _>(|(_, waiting)| held.contains(&waiting.id));
        self.again = stay;
        gone.extend(leave.into_iter().map(|(_, waiting)| waiting));
        gone
    }

    /// Those of which a container runs are next.
    pub(super) fn prefer(&mut self, running: &BTreeSet<Digest>) {
        let others = std::mem::take(&mut self.others);
        let (first, others) = others.into_iter().partition::<VecDeque<_>, _>(|waiting| running.contains(&waiting.id));
        self.others = others;
        self.running.extend(first);
    }

    /// Who is next.
    pub(super) fn next(&mut self, now: Instant) -> Option<Waiting> {
        self.turn = self.turn.wrapping_add(1);
        let is_due = self.again.front().is_some_and(|(not_before, _)| now >= *not_before);
        if is_due && self.turn.is_multiple_of(AGAIN_TURN) {
            return self.again.pop_front().map(|(_, waiting)| waiting);
        }
        let count = self.others.len();
        let at = match self.turn % 3 {
            0 => any(count),
            1 => 0,
            _ => count.saturating_sub(1),
        };
        let next = self.running.pop_front().or_else(|| self.others.remove(at));
        next.or_else(|| if is_due { self.again.pop_front().map(|(_, waiting)| waiting) } else { None })
    }
}

/// One of so many that nobody can foretell.
fn any(of: usize) -> usize {
    let random = RandomState::new().build_hasher().finish();
    usize::try_from(random.checked_rem(of as u64).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_crowd_does_not_wait_for_all_of_it() {
        // By newest and oldest alone each would be the last of its crowd, the 301st; it is the 226th on average, and the sum of a hundred six standard
        // deviations from this bound.
        let turns = |_| {
            let mut queue = Queue::default();
            for number in 0..301 {
                let (id, name) = (Digest::of(format!("{number}").as_bytes()), number.to_string());
                queue.push(Waiting { id, name, tries: 0, is_told: false });
            }
            let now = Instant::now();
            1 + std::iter::from_fn(|| queue.next(now)).position(|waiting| waiting.name == "150").unwrap()
        };
        let all: usize = (0..100).map(turns).sum();
        assert!(all < 100 * 270, "{all}");
        assert!(Queue::default().next(Instant::now()).is_none());
    }
}
