//! Floods of refusals: of one user, code and action the first is written at once, the rest as one line a second with a count.
//! Names of images do not tell refusals apart, since a client varies them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Entry, Event};

/// Most kinds of refusals counted at once. Stops many users from filling memory; a refusal beyond is written at once.
const KINDS: usize = 1024;

/// What makes refusals alike: event, user, code, action, whether it was carried out.
type Kind = (Event, String, &'static str, &'static str, bool);

/// Refusals that are counted and not yet written.
#[derive(Default)]
pub(super) struct Floods(Mutex<HashMap<Kind, Option<Entry>>>);

impl Floods {
    /// Whether this entry is counted, to be written later.
    pub(super) fn take(&self, entry: &Entry) -> bool {
        match entry.event {
            // Who calls as `doctor` does can do so as often as anybody.
            Event::Blocked | Event::Probe => {}
            Event::Allowed | Event::Created | Event::Mismatch | Event::Killed | Event::Changed | Event::Gate => return false,
        }
        let mut kinds = self.lock();
        let kind = (entry.event, entry.user.clone(), entry.code, entry.action, entry.enforced);
        let Some(counted) = kinds.get_mut(&kind) else {
            if kinds.len() < KINDS {
                kinds.insert(kind, None);
            }
            return false;
        };
        let count = counted.as_ref().map_or(0, |counted| counted.count);
        let mut last = entry.clone();
        last.count = count.saturating_add(1);
        *counted = Some(last);
        true
    }

    /// What was counted since the last time: the last refusal of each kind, and how many there were. Kinds without any are
    /// written at once again. Called each second.
    pub(super) fn drain(&self) -> Vec<Entry> {
        let mut kinds = self.lock();
        kinds.retain(|_, counted| counted.is_some());
        kinds.values_mut().filter_map(Option::take).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Option<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(user: &str, image: &str) -> Entry {
        let mut entry = Entry::new(jiff::Timestamp::UNIX_EPOCH, Event::Blocked);
        user.clone_into(&mut entry.user);
        image.clone_into(&mut entry.image);
        entry
    }

    #[test]
    fn the_first_is_written_and_the_rest_counted() {
        let floods = Floods::default();
        assert!(!floods.take(&refusal("a", "0")));
        for image in ["1", "2", "3"] {
            assert!(floods.take(&refusal("a", image)));
        }
        assert!(!floods.take(&refusal("b", "1")), "another user's");
        let counted = floods.drain();
        assert_eq!(counted.iter().map(|entry| (entry.count, entry.image.as_str())).collect::<Vec<_>>(), [(3, "3")]);
        assert!(floods.take(&refusal("a", "4")), "the flood goes on");
        assert_eq!(floods.drain().len(), 1);
        assert!(floods.drain().is_empty());
        assert!(!floods.take(&refusal("a", "5")), "the flood is over");
    }

    #[test]
    fn only_refusals_are_counted_and_no_more_kinds_than_fit() {
        let floods = Floods::default();
        let mut probe = refusal("a", "1");
        assert!(!floods.take(&probe));
        probe.event = Event::Probe;
        assert!(!floods.take(&probe) && floods.take(&probe), "a probe stands for no refusal, nor the reverse");
        floods.lock().clear();
        let allowed = Entry::new(jiff::Timestamp::UNIX_EPOCH, Event::Allowed);
        assert!(!floods.take(&allowed) && !floods.take(&allowed));
        for user in 0..2 * KINDS {
            assert!(!floods.take(&refusal(&user.to_string(), "")));
        }
        assert_eq!(floods.lock().len(), KINDS);
    }
}
