//! Answers worked out ahead: which tags a digest is vouched for under, who signed them, and what keeps a tag from counting. Made where
//! trust data is verified, so that an answer costs the same however much was signed. Dates stay open until somebody asks.
//!
//! Sorted vectors of numbers: what is numbered has its names and digests in the roles' entries, and is not here once more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::entries::{Accepted, Entries, short};
use super::held::{Held, covers};
use super::role::RoleName;
use crate::image::{Digest, Tag};

/// Most tags and most signers named in the answer about a digest. Stops a digest under thousands of tags, or a tag that a thousand have
/// signed, from slowing every start.
pub(super) const NAMED: usize = 16;
/// Most tags whose signer is named though he does not count. That is for a message alone; stops entries of a few bytes each from filling
/// memory.
const ALONE: usize = 4096;
/// Stands for a tag that is refused, in the place of its time.
const REFUSED: u32 = u32::MAX;

/// What roles that do not count themselves say of tags.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    /// The roles, as they are numbered here.
    roles: Vec<RoleName>,
    /// What stands below `targets/releases`, by the prefixes of tags that it may speak for.
    below: HashMap<Box<str>, Edge>,
    /// Tags that a role below `targets/releases` has an entry for, and `targets/releases` has none: the role and the number of its entry,
    /// sorted by the entry's name, each name once.
    entered: Vec<(u32, u32)>,
    /// Tags that neither `targets/releases` nor `targets` has an entry for: the first role that does. At most [`ALONE`].
    alone: HashMap<Box<str>, u32>,
}

/// All roles that may speak for one prefix.
#[derive(Debug)]
struct Edge {
    /// One that does not hold.
    left_out: Option<u32>,
    /// The one that expires first.
    first: (Timestamp, u32),
}

/// The answers about digests.
#[derive(Debug)]
pub(super) struct Index {
    /// Who must agree.
    require: Vec<RoleName>,
    /// Every accepted entry that has a digest, but for those of `targets` that `targets/releases` hides. Sorted by digest, and of one
    /// digest by how long they hold, longest first; then by number.
    lines: Vec<Line>,
    /// The times until which entries hold; these are those of roles, and few.
    untils: Vec<Timestamp>,
    /// The numbers of entries that count, and a role that has signed the same: pairs, sorted.
    signers: Vec<(u32, u32)>,
    roles: Vec<(RoleName, Timestamp)>,
}

/// An accepted entry.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Its number, as [`Accepted`] has it.
    number: u32,
    /// Until when it holds, by the place in [`Index::untils`]; or [`REFUSED`].
    until: u32,
}

/// The tags of one digest.
#[derive(Debug, Default)]
pub(super) struct Under {
    /// Tags that are vouched for, and until when; those that hold longest, at most [`NAMED`].
    pub(super) live: Vec<Live>,
    /// A tag that lists the digest and is refused, where all that do are.
    pub(super) refused: Option<Tag>,
}

/// A tag that is vouched for.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) tag: Tag,
    pub(super) until: Timestamp,
    /// Its entry's.
    pub(super) number: u32,
}

impl Lookup {
    pub(super) fn new(held: &BTreeMap<RoleName, Held>) -> Self {
        let (releases, targets) = (RoleName::releases(), RoleName::targets());
        let has = |role: &RoleName, tag: &str| held.get(role).is_some_and(|held| held.file.body.targets.number(tag).is_some());
        let mut lookup = Self::default();
        let mut all: Vec<&Entries> = Vec::new();
        for (name, role) in held.iter().filter(|(name, _)| **name != releases && **name != targets) {
            let place = short(lookup.roles.len());
            lookup.roles.push(name.clone());
            all.push(&role.file.body.targets);
            let is_below = name.is_within(&releases);
            for path in role.paths.iter().filter(|_| is_below) {
                let expires = role.file.expires;
                let edge =
                    lookup.below.entry(path.as_str().into()).or_insert_with(|| Edge { left_out: None, first: (expires, place) });
                if role.left_out.is_some() {
                    edge.left_out = Some(place);
                } else if expires < edge.first.0 {
                    edge.first = (expires, place);
                }
            }
            if role.left_out.is_some() {
                continue;
            }
            for (number, tag) in role.file.body.targets.names().enumerate().filter(|(_, tag)| !has(&releases, tag)) {
                if is_below && covers(&role.paths, tag) {
                    lookup.entered.push((place, short(number)));
                }
                if lookup.alone.len() < ALONE && !has(&targets, tag) {
                    lookup.alone.entry(tag.into()).or_insert(place);
                }
            }
        }
        let tag = |(place, number): (u32, u32)| all.get(place as usize).and_then(|entries| entries.name(number as usize));
        // Each role's are sorted already, which this sort makes use of; of one name the first role's stays.
        #[expect(clippy::disallowed_methods, reason = "a hundred thousand, sorted already for the most part")]
        lookup.entered.sort_by_key(|at| tag(*at));
        lookup.entered.dedup_by_key(|at| tag(*at));
        lookup.entered.shrink_to_fit();
        lookup
    }

    /// Roles below `targets/releases` that may speak for a tag: of each prefix one that does not hold, and the one that expires first.
    pub(super) fn below(&self, tag: &str) -> impl Iterator<Item = &RoleName> {
        let ends = 0..if self.below.is_empty() { 0 } else { tag.len() + 1 };
        let edges = ends.filter_map(|end| self.below.get(tag.get(..end)?));
        let places = edges.flat_map(|edge| edge.left_out.into_iter().chain([edge.first.1]));
        places.filter_map(|place| self.role(place))
    }

    /// The role below `targets/releases` that has an entry for the tag; `held` is what this was made of.
    pub(super) fn entered(&self, held: &BTreeMap<RoleName, Held>, tag: &str) -> Option<&RoleName> {
        let at = self.entered.binary_search_by(|at| self.tag(held, *at).cmp(&Some(tag))).ok()?;
        self.entered.get(at).and_then(|(place, _)| self.role(*place))
    }

    /// The role that has an entry for a tag that no accepted role has.
    pub(super) fn alone(&self, tag: &str) -> Option<&RoleName> {
        self.alone.get(tag).and_then(|place| self.role(*place))
    }

    /// Bytes this takes, roughly.
    pub(super) fn bytes(&self) -> usize {
        128 * (self.below.len() + self.alone.len()) + size_of::<(u32, u32)>() * self.entered.capacity()
    }

    fn role(&self, place: u32) -> Option<&RoleName> {
        self.roles.get(place as usize)
    }

    fn tag<'h>(&self, held: &'h BTreeMap<RoleName, Held>, (place, number): (u32, u32)) -> Option<&'h str> {
        held.get(self.role(place)?)?.file.body.targets.name(number as usize)
    }
}

impl Index {
    /// `ruled` says what a tag has, and in which role, dates aside; nothing where it is refused.
    pub(super) fn new(
        held: &BTreeMap<RoleName, Held>,
        accepted: Accepted<'_>,
        require: &[RoleName],
        ruled: impl Fn(&Tag) -> Option<(Digest, RoleName, Timestamp)>,
    ) -> Self {
        let (releases, targets) = (RoleName::releases(), RoleName::targets());
        let (mut lines, mut places) = (Vec::new(), BTreeMap::new());
        let mut counts = vec![false; accepted.len()];
        for (number, counts) in counts.iter_mut().enumerate() {
            let role = if number < accepted.of_releases() { &releases } else { &targets };
            let (Some(name), Some(_)) = (accepted.name(number), accepted.digest(number)) else { continue };
            let Ok(tag) = name.parse::<Tag>() else { continue };
            let until = match ruled(&tag) {
                // What the other role says of the tag is its own line.
                Some((_, by, _)) if by != *role => continue,
                Some((_, _, until)) => {
                    *counts = true;
                    let next = short(places.len());
                    *places.entry(until).or_insert(next)
                }
                None => REFUSED,
            };
            lines.push(Line { number: short(number), until });
        }
        let mut untils = vec![Timestamp::MIN; places.len()];
        for (until, place) in places {
            if let Some(slot) = untils.get_mut(place as usize) {
                *slot = until;
            }
        }
        let digest = |line: &Line| accepted.digest(line.number as usize);
        lines.sort_unstable_by_key(|line| (digest(line), Reverse(untils.get(line.until as usize)), line.number));
        lines.shrink_to_fit();

        let signing = |name: &RoleName| *name != targets && !name.is_within(&releases);
        let (mut roles, mut signers) = (Vec::new(), Vec::new());
        for (name, held) in held.iter().filter(|(name, held)| signing(name) && held.left_out.is_none()) {
            let place = short(roles.len());
            roles.push((name.clone(), held.file.expires));
            let entries = &held.file.body.targets;
            for (tag, digest) in entries.names().enumerate().filter_map(|(number, tag)| Some((tag, entries.digest(number)?))) {
                let same = |number: &usize| counts.get(*number) == Some(&true) && accepted.digest(*number) == Some(digest);
                let number = accepted.numbers(tag).find(same).filter(|_| covers(&held.paths, tag));
                signers.extend(number.map(|number| (short(number), place)));
            }
        }
        signers.sort_unstable();
        signers.shrink_to_fit();
        Self { require: require.to_vec(), lines, untils, signers, roles }
    }

    /// Whether these are the signers it was made for.
    pub(super) fn is_for(&self, require: &[RoleName]) -> bool {
        self.require == require
    }

    /// The tags of a digest; `accepted` is what this was made of, here and below.
    pub(super) fn under(&self, accepted: Accepted<'_>, digest: &Digest) -> Under {
        let of = |line: &Line| accepted.digest(line.number as usize);
        let first = self.lines.partition_point(|line| of(line) < Some(*digest));
        let all = self.lines.get(first..).unwrap_or_default().iter().take_while(|line| of(line) == Some(*digest));
        let mut under = Under::default();
        for line in all.take(NAMED) {
            let Some(tag) = accepted.name(line.number as usize).and_then(|name| name.parse().ok()) else { continue };
            match self.untils.get(line.until as usize) {
                Some(until) => under.live.push(Live { tag, until: *until, number: line.number }),
                // Refused ones come last.
                None => {
                    under.refused = Some(tag);
                    break;
                }
            }
        }
        under
    }

    /// Who signed a tag that counts, as docker has it, and still holds.
    pub(super) fn signers<'i>(&'i self, accepted: Accepted<'i>, tag: &Tag, now: Timestamp) -> impl Iterator<Item = &'i str> {
        accepted.numbers(tag.as_str()).flat_map(move |number| self.signers_of(short(number), now))
    }

    /// The same, of the tag by its entry's number.
    pub(super) fn signers_of(&self, number: u32, now: Timestamp) -> impl Iterator<Item = &str> {
        let first = self.signers.partition_point(|(of, _)| *of < number);
        let places = self.signers.get(first..).unwrap_or_default().iter().take_while(move |(of, _)| *of == number);
        let roles = places.filter_map(|(_, place)| self.roles.get(*place as usize));
        roles.filter(move |(_, expires)| now < *expires).map(|(name, _)| name.signer())
    }

    /// Bytes this takes, roughly.
    pub(super) const fn bytes(&self) -> usize {
        size_of::<Line>() * self.lines.capacity() + size_of::<(u32, u32)>() * self.signers.capacity() + 64 * self.roles.len()
    }
}
