//! Sets of actions, and the words that stand for them.

use crate::request::Action;
use crate::text::distance;

/// Bits of one part of a set.
const BITS: usize = u64::BITS as usize;
/// Parts of a set: room for every action.
const PARTS: usize = 3;
const _: () = assert!(Action::COUNT <= PARTS * BITS);

/// What `docker run` does: it creates, attaches, waits, starts, and says how large its terminal is.
const RUN: [&str; 5] = ["container_create", "container_start", "container_attach", "container_wait", "container_resize"];
/// Words that are not names of actions, and what they stand for.
const SHORT: [(&str, &[&str]); 2] = [("container_run", &RUN), ("container_rm", &["container_delete"])];
/// Most slips between a word and the one that is suggested for it.
const SLIPS: usize = 2;

/// Some of the actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ActionSet([u64; PARTS]);

impl ActionSet {
    /// Those of which this is so.
    pub(super) fn of(holds: impl Fn(Action) -> bool) -> Self {
        let mut set = Self::default();
        for action in Action::all().filter(|action| holds(*action)) {
            if let Some(part) = set.0.get_mut(action.index() / BITS) {
                *part |= 1 << (action.index() % BITS);
            }
        }
        set
    }

    pub(super) fn contains(&self, action: Action) -> bool {
        self.0.get(action.index() / BITS).is_some_and(|part| part >> (action.index() % BITS) & 1 == 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self::of(|action| self.contains(action) && other.contains(action))
    }

    pub(super) fn or(&self, other: &Self) -> Self {
        Self::of(|action| self.contains(action) || other.contains(action))
    }

    /// What a word of the native form stands for: `*`, a name, a short word, or what the names of several begin with. `None` where
    /// that is nothing.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        if word == "*" {
            return Some(Self::of(|_| true));
        }
        if let Some((_, names)) = SHORT.iter().find(|(short, _)| *short == word) {
            return Some(Self::of(|action| names.contains(&action.name())));
        }
        let exactly = Self::of(|action| action.name() == word);
        if !exactly.is_empty() {
            return Some(exactly);
        }
        // The first word of names: `container`, `image` (of images there are two), `volume` …
        let first = |action: Action| action.name().split_once('_').map(|(first, _)| first);
        let about = Self::of(|action| match first(action) {
            Some("images") => matches!(word, "image" | "images"),
            first => first == Some(word),
        });
        (!about.is_empty()).then_some(about)
    }
}

/// The name of an action that was perhaps meant.
pub(super) fn nearest(word: &str) -> Option<&'static str> {
    let names = Action::all().map(Action::name).chain(SHORT.iter().map(|(short, _)| *short));
    let slips = names.map(|name| (distance(word, name), name));
    slips.min().filter(|(slips, _)| *slips <= SLIPS).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(set: ActionSet) -> Vec<&'static str> {
        let mut names: Vec<_> = Action::all().filter(|action| set.contains(*action)).map(Action::name).collect();
        names.dedup();
        names
    }

    #[test]
    fn a_word_stands_for_what_it_says_and_no_more() {
        let of = |word| ActionSet::of_word(word).map(names);
        let run = ["container_attach", "container_create", "container_resize", "container_start", "container_wait"];
        let mut found = of("container_run").unwrap();
        found.sort_unstable();
        assert_eq!(found, run);
        assert_eq!(of("container_rm").unwrap(), ["container_delete"]);
        assert_eq!(of("container_start").unwrap(), ["container_start"]);
        // An exact name, where others begin like it.
        assert_eq!(of("container_archive").unwrap(), ["container_archive"]);
        assert_eq!(of("container_attach").unwrap(), ["container_attach"]);
        let container = of("container").unwrap();
        assert!(container.iter().all(|name| name.starts_with("container_")) && container.contains(&"container_exec_start"));
        assert!(of("image").unwrap().contains(&"images_load"));
        assert_eq!(of("images").unwrap(), ["images_search", "images_archive", "images_load"]);
        assert_eq!(ActionSet::of_word("*").unwrap(), ActionSet::of(|_| true));
        for nothing in ["", "container_", "Container", "container_*", "containers", ".*", "cont", "container_exec", "run"] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_slip_is_told_from_another_word() {
        assert_eq!(nearest("container_strat"), Some("container_start"));
        assert_eq!(nearest("container_rnu"), Some("container_run"));
        assert_eq!(nearest("container_processes"), None);
        assert_eq!(nearest("containr_rm"), Some("container_rm"));
        assert_eq!(nearest(&"x".repeat(100_000)), None);
    }
}
