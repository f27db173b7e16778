//! Finds the scope of a repository among many: a tree of patterns, walked from the most specific branch on.

use std::collections::HashMap;

use super::pattern::{Part, Pattern};

/// A tree of patterns. What is found first is the most specific, so nothing else has to be compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// Where a pattern ends: the scope's number.
    end: Option<usize>,
    written: HashMap<String, Index>,
    /// Of more letters first.
    partly: Vec<(Part, Index)>,
    one: Option<Box<Index>>,
    /// `**`, and what comes behind it, the more specific first.
    many: Vec<(Vec<Part>, usize)>,
}

impl Index {
    /// Adds a pattern. Of two that are the same, the first counts: [`Pattern::ties_with`] has told of the other.
    pub(super) fn add(&mut self, pattern: &Pattern, scope: usize) {
        let mut at = self;
        let parts = pattern.parts();
        for (depth, part) in parts.iter().enumerate() {
            at = match part {
                Part::Written(text) => at.written.entry(text.clone()).or_default(),
                Part::Partly(_) => {
                    let found = at.partly.iter().position(|(other, _)| other == part);
                    let place = found.unwrap_or_else(|| {
                        let place = at.partly.partition_point(|(other, _)| other.rank(part).is_le());
                        at.partly.insert(place, (part.clone(), Self::default()));
                        place
                    });
                    match at.partly.get_mut(place) {
                        Some((_, next)) => next,
                        None => return,
                    }
                }
                Part::One => at.one.get_or_insert_default(),
                Part::Many => {
                    let behind = parts.get(depth + 1..).unwrap_or_default();
                    let place = at.many.partition_point(|(other, _)| !is_before(behind, other));
                    at.many.insert(place, (behind.to_vec(), scope));
                    return;
                }
            };
        }
        at.end.get_or_insert(scope);
    }

    /// The number of the most specific scope for a name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let parts: Vec<&str> = name.split('/').collect();
        self.find_from(&parts)
    }

    fn find_from(&self, parts: &[&str]) -> Option<usize> {
        let Some((first, rest)) = parts.split_first() else { return self.end.or_else(|| self.find_many(parts)) };
        let written = || self.written.get(*first).and_then(|next| next.find_from(rest));
        let partly = || self.partly.iter().filter(|(part, _)| part.fits(first)).find_map(|(_, next)| next.find_from(rest));
        let one = || self.one.as_ref().and_then(|next| next.find_from(rest));
        written().or_else(partly).or_else(one).or_else(|| self.find_many(parts))
    }

    fn find_many(&self, parts: &[&str]) -> Option<usize> {
        let ends_so = |behind: &[Part]| {
            let Some(skipped) = parts.len().checked_sub(behind.len()) else { return false };
            behind.iter().zip(parts.iter().skip(skipped)).all(|(part, text)| part.fits(text))
        };
        self.many.iter().find(|(behind, _)| ends_so(behind)).map(|(_, scope)| *scope)
    }
}

/// Whether what stands behind `**` is more specific than another: from the left, and longer before shorter.
fn is_before(one: &[Part], other: &[Part]) -> bool {
    let ranks = one.iter().zip(other).map(|(one, other)| one.rank(other)).find(|order| order.is_ne());
    ranks.map_or(one.len() > other.len(), std::cmp::Ordering::is_lt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'p>(patterns: &[&'p str], name: &str) -> Option<&'p str> {
        // Whatever the order in which they were added.
        let find = |order: &[usize]| {
            let mut index = Index::default();
            for at in order {
                index.add(&patterns[*at].parse().unwrap(), *at);
            }
            index.find(name).map(|at| patterns[at])
        };
        let order: Vec<usize> = (0..patterns.len()).collect();
        let back: Vec<usize> = order.iter().rev().copied().collect();
        assert_eq!(find(&order), find(&back), "{name}");
        find(&order)
    }

    #[test]
    fn the_most_specific_pattern_wins_whatever_the_order() {
        let patterns = [
            "**",
            "r.example/**",
            "r.example/*",
            "r.example/app",
            "r.example/app-*",
            "r.example/app-x*",
            "r.example/team/**",
            "r.example/team/*/deep",
            "r.example/team/**/deep",
            "r.example/**/end",
        ];
        for (name, expected) in [
            ("r.example/app", Some("r.example/app")),
            ("r.example/app-y", Some("r.example/app-*")),
            ("r.example/app-xy", Some("r.example/app-x*")),
            ("r.example/other", Some("r.example/*")),
            ("r.example/a/b", Some("r.example/**")),
            ("r.example/a/end", Some("r.example/**/end")),
            ("r.example/end", Some("r.example/*")),
            ("r.example/team", Some("r.example/team/**")),
            ("r.example/team/a/b", Some("r.example/team/**")),
            ("r.example/team/a/deep", Some("r.example/team/*/deep")),
            ("r.example/team/a/b/deep", Some("r.example/team/**/deep")),
            ("r.example/team/a/end", Some("r.example/team/**")),
            ("s.example/x", Some("**")),
            ("r.example:5000/app", Some("**")),
        ] {
            assert_eq!(found(&patterns, name), expected, "{name}");
        }
        assert_eq!(found(&["r.example/team/*"], "r.example/team/a/b"), None);
        assert_eq!(found(&["r.example/team/*"], "r.example/teams/a"), None);
    }
}
