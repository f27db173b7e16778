//! Floods of refusals, and of calls to plugins that pass whatever they name: of one user, code and action the first is written at
//! once, the rest as one line a second with a count. Names do not tell them apart, since a client varies them. They do where a
//! refusal was not carried out: then something may have run, and which one must be told. Of what a candidate for the policy would refuse
//! only so many are told apart: all of that has passed, and most of it is in the log anyway.
//!
//! What is notable is in the log one by one; in the file of what is notable it is counted too, by the minute, where a client can make as much of it as they like.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Entry, Event};

/// Most kinds counted at once. Stops many users from filling memory; an entry beyond is written at once.
const KINDS: usize = 1024;

/// Most things told apart by name, within a second, that a candidate would refuse. Stops calls that are otherwise recorded nowhere from
/// filling the log.
const NAMED: usize = 32;

/// Most names of images, and beginnings of notes, told apart within a minute in the file of what is notable. Stops a client from pushing out there
/// what happened before.
const NOTABLE_NAMED: usize = 8;

/// What makes entries alike: event, user, code, action; and image and path of a refusal that was not carried out.
type Kind = (Event, String, &'static str, &'static str, Option<(String, String)>);

/// Entries that are counted and not yet written.
#[derive(Default)]
pub(super) struct Floods(Mutex<HashMap<Kind, Option<Entry>>>);

impl Floods {
    /// Whether this entry is counted, to be written later.
    pub(super) fn take(&self, entry: &Entry) -> bool {
        match entry.event {
            // Who calls as `doctor` does can do so as often as anybody.
            Event::Blocked | Event::Probe | Event::WouldDeny | Event::WouldAllow => {}
            // They let nothing in, and what they name need not be there.
            Event::Allowed if matches!(entry.action, "plugin-disable" | "plugin-set" | "plugin-remove") => {}
            // They are all about one plugin.
            Event::Gate if entry.is_plugin_call() => {}
            Event::Allowed
            | Event::Created
            | Event::Mismatch
            | Event::Killed
            | Event::Changed
            | Event::Gate
            | Event::Unapproved
            | Event::Stopped
            | Event::Removed
            | Event::Held
            | Event::Audited => return false,
        }
        let mut kinds = self.lock();
        let passed = (!entry.enforced).then(|| (entry.image.clone(), entry.path.clone()));
        let code = if entry.event == Event::WouldDeny { entry.shadow_code } else { entry.code };
        let mut kind = (entry.event, entry.user.clone(), code, entry.action, passed);
        if entry.event == Event::WouldDeny && !kinds.contains_key(&kind) {
            let is_named = |(event, .., passed): &&Kind| *event == Event::WouldDeny && passed.is_some();
            if kinds.keys().filter(is_named).count() >= NAMED {
                kind.4 = None;
            }
        }
        is_counted(&mut kinds, kind, entry)
    }

    /// Whether this entry, which is notable, is counted, to be written later to the file of what is notable.
    pub(super) fn take_notable(&self, entry: &Entry) -> bool {
        let name = match entry.event {
            Event::Mismatch => entry.image.as_str(),
            // What it is about stands behind the first words.
            Event::Gate => entry.message.split(':').next().unwrap_or_default(),
            Event::Allowed
            | Event::Blocked
            | Event::Created
            | Event::Killed
            | Event::Changed
            | Event::Probe
            | Event::Unapproved
            | Event::Stopped
            | Event::Removed
            | Event::Held
            | Event::Audited
            | Event::WouldDeny
            | Event::WouldAllow => return false,
        };
        let mut kinds = self.lock();
        let mut kind = (entry.event, String::new(), "", entry.action, Some((name.to_owned(), String::new())));
        if !kinds.contains_key(&kind) && kinds.keys().filter(|kind| kind.0 == entry.event).count() >= NOTABLE_NAMED {
            kind.4 = None;
        }
        is_counted(&mut kinds, kind, entry)
    }

    /// What was counted since the last time: the last entry of each kind, and how many there were. Kinds without any are
    /// written at once again. Called each second; of what is notable, each minute.
    pub(super) fn drain(&self) -> Vec<Entry> {
        let mut kinds = self.lock();
        kinds.retain(|_, counted| counted.is_some());
        kinds.values_mut().filter_map(Option::take).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Option<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one like this was there; this one is counted then.
fn is_counted(kinds: &mut HashMap<Kind, Option<Entry>>, kind: Kind, entry: &Entry) -> bool {
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
    fn refusals_that_were_not_carried_out_are_told_apart_by_what_passed() {
        let floods = Floods::default();
        for image in ["1", "2"] {
            let mut passed = refusal("a", image);
            passed.enforced = false;
            assert!(!floods.take(&passed), "{image} may run");
            assert!(floods.take(&passed));
        }
        assert!(!floods.take(&refusal("a", "1")), "one that was carried out is another");
    }

    #[test]
    fn plugin_calls_that_pass_whatever_they_name_are_counted_and_those_that_let_something_in_are_not() {
        let floods = Floods::default();
        let mut call = Entry::new(jiff::Timestamp::UNIX_EPOCH, Event::Allowed);
        for (event, action, is_counted) in [
            (Event::Allowed, "plugin-disable", true),
            (Event::Allowed, "plugin-set", true),
            (Event::Allowed, "plugin-remove", true),
            (Event::Allowed, "plugin-enable", false),
            (Event::Allowed, "plugin-install", false),
            (Event::Gate, "plugin-disable", true),
            (Event::Gate, "plugin-enable", true),
            (Event::Gate, "", false),
            (Event::Mismatch, "plugin-enable", false),
        ] {
            (call.event, call.action) = (event, action);
            assert!(!floods.take(&call), "the first {action}");
            "another".clone_into(&mut call.image);
            assert_eq!(floods.take(&call), is_counted, "{event:?} {action}");
        }
    }

    #[test]
    fn what_a_candidate_would_refuse_is_told_apart_by_name_up_to_a_bound_and_what_it_would_allow_is_not() {
        let floods = Floods::default();
        let would = |event, name: &str| {
            let mut entry = refusal("a", name);
            (entry.event, entry.enforced) = (event, event == Event::WouldAllow);
            (entry.code, entry.shadow_code) = if entry.enforced { ("not-signed", "") } else { ("", "not-signed") };
            entry
        };
        let written = |event| (0..1000).filter(|name| !floods.take(&would(event, &name.to_string()))).count();
        assert_eq!(written(Event::WouldAllow), 1);
        // Those that are told apart, and the first of the others.
        assert_eq!(written(Event::WouldDeny), NAMED + 1);
        let counted = floods.drain();
        assert_eq!(counted.iter().map(|entry| entry.count).sum::<u64>(), 2 * 1000 - 1 - (NAMED as u64 + 1));
        assert!(!floods.take(&refusal("a", "1")), "a refusal is another");
    }

    #[test]
    fn what_a_client_can_bring_about_at_will_is_counted_by_image_or_first_words_where_it_is_notable() {
        let floods = Floods::default();
        let written = |event, text: &dyn Fn(u32) -> String| {
            let mut entry = Entry::new(jiff::Timestamp::UNIX_EPOCH, event);
            let is_written = |number: &u32| {
                (entry.image, entry.message) = (text(*number), text(*number));
                !floods.take_notable(&entry)
            };
            (0..1000).filter(is_written).count()
        };
        assert_eq!(written(Event::Mismatch, &|_| "app:1".to_owned()), 1);
        assert_eq!(written(Event::Gate, &|number| format!("a start could not be looked at: {number}")), 1);
        assert_eq!(written(Event::Gate, &|_| "settings were read again".to_owned()), 1);
        // Many names are one, from a bound on; and hide no note.
        assert_eq!(written(Event::Mismatch, &|number| format!("app:{number}x")), NOTABLE_NAMED);
        assert_eq!(written(Event::Gate, &|_| "the gate has started".to_owned()), 1);
        assert_eq!(written(Event::Killed, &|_| String::new()), 1000);
        assert_eq!(floods.drain().iter().map(|entry| entry.count).sum::<u64>(), 5 * 1000 - 4 - NOTABLE_NAMED as u64);
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
