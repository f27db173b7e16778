//! Sorting, and collections in order, compiled once for all types.
//!
//! The standard library's sort is five kilobytes of code for each type and each comparison, and collecting into a `BTreeMap` or
//! `BTreeSet` sorts too: together 0.6 MB of the program. Here positions are sorted, by one sort, and collections are filled item by item.
//! `clippy.toml` turns calls of the library's own sorts down.

use std::cmp::Ordering;

/// Sorts by `key`, which is asked for twice in each comparison; equals keep their order.
pub(crate) fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(items, |one, other| key(one).cmp(&key(other)));
}

/// Sorts by `compare`; equals keep their order. Needs two machine words of memory for each item.
pub(crate) fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let order = sorted_positions(items.len(), &|one, other| match (items.get(one), items.get(other)) {
        (Some(one), Some(other)) => compare(one, other),
        _ => Ordering::Equal,
    });
    // Where each item goes, and then the swaps that bring one item to its place each.
    let mut places = vec![0; order.len()];
    for (place, from) in order.into_iter().enumerate() {
        if let Some(to) = places.get_mut(from) {
            *to = place;
        }
    }
    for at in 0..places.len() {
        while let Some(&place) = places.get(at).filter(|place| **place != at) {
            items.swap(at, place);
            places.swap(at, place);
        }
    }
}

/// The positions below `count` in the order of `compare`.
#[expect(clippy::disallowed_methods, reason = "the one sort")]
fn sorted_positions(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..count).collect();
    positions.sort_by(|one, other| compare(*one, *other));
    positions
}

/// Collects into what keeps its own order, or itself holds each item once: what is equal to an earlier key takes its place.
pub(crate) trait Ordered: IntoIterator + Sized {
    /// All items, in a new collection.
    fn ordered<C: Default + Extend<Self::Item>>(self) -> C {
        let mut all = C::default();
        all.extend(self);
        all
    }
}

impl<I: IntoIterator> Ordered for I {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    proptest::proptest! {
        #[test]
        fn the_order_is_that_of_the_library(items: Vec<(u8, u16)>) {
            let mut sorted = items.clone();
            sort_by_key(&mut sorted, |item| item.0);
            #[expect(clippy::disallowed_methods, reason = "what it is compared to")]
            let due = { let mut due = items.clone(); due.sort_by_key(|item| item.0); due };
            proptest::prop_assert_eq!(sorted, due);
            proptest::prop_assert_eq!(items.clone().ordered::<BTreeMap<_, _>>(), items.into_iter().collect::<BTreeMap<_, _>>());
        }
    }
}
