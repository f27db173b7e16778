//! The entries of a targets file: names and their digests, in few bytes. A repository may have ninety thousand tags, and all that is
//! known of it is in memory.

use crate::image::Digest;

/// Stands for an entry without a digest.
const NONE: u32 = u32::MAX;

/// Names with their digests, sorted by name. No larger than the text they were read from.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    /// All names, one behind the other.
    names: String,
    /// Per entry where its name ends, and the place of its digest.
    ends: Vec<(u32, u32)>,
    digests: Vec<Digest>,
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) digest: Option<Digest>,
}

impl Entries {
    /// Adds one behind the others.
    ///
    /// INVARIANT: names come sorted and each once, as the members of an object do. They fit: a document is smaller than 4 GB.
    pub(super) fn push(&mut self, name: &str, digest: Option<Digest>) {
        debug_assert!(self.names().next_back().is_none_or(|last| last < name), "entries are not sorted");
        self.names.push_str(name);
        let place = if digest.is_some() { short(self.digests.len()) } else { NONE };
        self.digests.extend(digest);
        self.ends.push((short(self.names.len()), place));
    }

    /// The same, in no more memory than it needs.
    pub(super) fn shrunk(mut self) -> Self {
        self.names.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.digests.shrink_to_fit();
        self
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// The number of an entry, counted from 0.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.name(middle)?.cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The entry of that name.
    pub(super) fn get(&self, name: &str) -> Option<Entry> {
        self.number(name).map(|number| Entry { digest: self.digest(number) })
    }

    /// The name of an entry by its number.
    pub(super) fn name(&self, number: usize) -> Option<&str> {
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |(end, _)| *end as usize);
        self.names.get(start..self.ends.get(number)?.0 as usize)
    }

    /// The digest of an entry by its number.
    pub(super) fn digest(&self, number: usize) -> Option<Digest> {
        self.digests.get(self.ends.get(number)?.1 as usize).copied()
    }

    /// All names, in order.
    pub(super) fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        (0..self.len()).filter_map(|number| self.name(number))
    }

    /// Bytes this takes.
    pub(super) const fn bytes(&self) -> usize {
        self.names.capacity() + size_of::<(u32, u32)>() * self.ends.capacity() + size_of::<Digest>() * self.digests.capacity()
    }
}

/// The entries of the two roles that docker accepts, numbered through: those of `targets/releases` first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted<'a> {
    pub(super) releases: Option<&'a Entries>,
    pub(super) targets: Option<&'a Entries>,
}

impl<'a> Accepted<'a> {
    /// How many there are of `targets/releases`.
    pub(super) fn of_releases(self) -> usize {
        self.releases.map_or(0, Entries::len)
    }

    /// How many there are.
    pub(super) fn len(self) -> usize {
        self.of_releases() + self.targets.map_or(0, Entries::len)
    }

    pub(super) fn name(self, number: usize) -> Option<&'a str> {
        self.place(number).and_then(|(entries, number)| entries.name(number))
    }

    pub(super) fn digest(self, number: usize) -> Option<Digest> {
        self.place(number).and_then(|(entries, number)| entries.digest(number))
    }

    /// The numbers of the entries for one tag.
    pub(super) fn numbers(self, tag: &str) -> impl Iterator<Item = usize> {
        let of_targets = self.targets.and_then(|entries| entries.number(tag)).map(|number| self.of_releases() + number);
        self.releases.and_then(|entries| entries.number(tag)).into_iter().chain(of_targets)
    }

    /// All names, in order and each once.
    pub(super) fn names(self) -> Vec<&'a str> {
        let mut names: Vec<&str> = [self.releases, self.targets].into_iter().flatten().flat_map(Entries::names).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn place(self, number: usize) -> Option<(&'a Entries, usize)> {
        match number.checked_sub(self.of_releases()) {
            Some(number) => Some((self.targets?, number)),
            None => Some((self.releases?, number)),
        }
    }
}

/// A number that fits.
pub(super) fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_are_found_as_in_a_map(
            all in proptest::collection::btree_map("[a-cé]{0,3}", proptest::option::of(any::<u8>()), 0..40),
            asked in "[a-cé]{0,3}",
        ) {
            let of = |content: &Option<u8>| content.map(|content| Digest::of(&[content]));
            let mut entries = Entries::default();
            for (name, content) in &all {
                entries.push(name, of(content));
            }
            let entries = entries.shrunk();
            prop_assert_eq!(entries.len(), all.len());
            prop_assert_eq!(entries.names().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
            for (number, (name, content)) in all.iter().enumerate() {
                prop_assert_eq!(entries.get(name), Some(Entry { digest: of(content) }));
                prop_assert_eq!((entries.number(name), entries.name(number)), (Some(number), Some(name.as_str())));
            }
            prop_assert_eq!(entries.get(&asked), all.get(&asked).map(|content| Entry { digest: of(content) }));
            prop_assert_eq!((entries.name(all.len()), entries.digest(all.len())), (None, None));
        }
    }

    #[test]
    fn entries_take_less_than_the_text_they_were_read_from() {
        let mut entries = Entries::default();
        let names: BTreeMap<String, u32> = (0..1000).map(|index| (format!("t{index}"), index)).collect();
        let mut text = 0;
        for (name, index) in names {
            entries.push(&name, Some(Digest::of(&index.to_be_bytes())));
            text += format!("\"{name}\":{{\"hashes\":{{\"sha256\":\"{}\"}}}},", "=".repeat(44)).len();
        }
        assert!(entries.shrunk().bytes() < text * 2 / 3);
        // The smallest entry there is.
        let mut bare = Entries::default();
        bare.push("", None);
        assert!(bare.shrunk().bytes() <= "\"\":{},".len() + 2);
    }
}
