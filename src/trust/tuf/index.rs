//! Answers worked out ahead: which tags a digest is vouched for under, who signed them, and what keeps a tag from counting. Made where
//! trust data is verified, so that an answer costs the same however much was signed. Dates stay open until somebody asks.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use jiff::Timestamp;

use super::knowledge::{Held, Refusal, Roles, covers};
use super::role::RoleName;
use crate::image::{Digest, Tag};

/// Most tags and most signers named in the answer about a digest. Stops a digest under thousands of tags, or a tag that a thousand have
/// signed, from slowing every start.
pub(super) const NAMED: usize = 16;
/// Most tags whose signer is named though he does not count. That is for a message alone; stops entries of a few bytes each from filling
/// memory.
const ALONE: usize = 4096;

/// What roles that do not count themselves say of tags.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    /// What stands below `targets/releases`, by the prefixes of tags that it may speak for.
    below: HashMap<Box<str>, Edge>,
    /// Tags that a role below `targets/releases` has an entry for, and `targets/releases` has none. By a hash that nobody can foresee:
    /// entries of a few bytes each are many, and two that were taken for one would refuse.
    entered: HashMap<u64, Arc<RoleName>>,
    hash: RandomState,
    /// Tags that neither `targets/releases` nor `targets` has an entry for: the first role that does. At most [`ALONE`].
    alone: HashMap<Box<str>, Arc<RoleName>>,
}

/// All roles that may speak for one prefix.
#[derive(Debug)]
struct Edge {
    /// One that does not hold.
    left_out: Option<Arc<RoleName>>,
    /// The one that expires first.
    first: (Timestamp, Arc<RoleName>),
}

/// The answers about digests.
#[derive(Debug)]
pub(super) struct Index {
    /// Who must agree.
    require: Vec<RoleName>,
    by_digest: HashMap<Digest, Under>,
    signers: HashMap<Box<str>, Arc<[u32]>>,
    roles: Vec<(RoleName, Timestamp)>,
    bytes: usize,
}

/// The tags of one digest.
#[derive(Debug, Default)]
pub(super) struct Under {
    /// Tags that are vouched for, and until when; those that hold longest, at most [`NAMED`].
    pub(super) live: Vec<(Tag, Timestamp)>,
    /// A tag that lists the digest and is refused.
    pub(super) refused: Option<Tag>,
}

impl Lookup {
    pub(super) fn new(held: &BTreeMap<RoleName, Held>) -> Self {
        let (releases, targets) = (RoleName::releases(), RoleName::targets());
        let has = |role: &RoleName, tag: &str| held.get(role).is_some_and(|held| held.file.body.targets.contains_key(tag));
        let mut lookup = Self::default();
        for (name, role) in held.iter().filter(|(name, _)| **name != releases && **name != targets) {
            let shared = Arc::new(name.clone());
            let is_below = name.is_within(&releases);
            for path in role.paths.iter().filter(|_| is_below) {
                let expires = role.file.expires;
                let edge = lookup
                    .below
                    .entry(path.as_str().into())
                    .or_insert_with(|| Edge { left_out: None, first: (expires, Arc::clone(&shared)) });
                if role.left_out.is_some() {
                    edge.left_out = Some(Arc::clone(&shared));
                } else if expires < edge.first.0 {
                    edge.first = (expires, Arc::clone(&shared));
                }
            }
            if role.left_out.is_some() {
                continue;
            }
            for tag in role.file.body.targets.keys().filter(|tag| !has(&releases, tag)) {
                if is_below && covers(&role.paths, tag) {
                    let hash = lookup.hash.hash_one(&**tag);
                    lookup.entered.entry(hash).or_insert_with(|| Arc::clone(&shared));
                }
                if lookup.alone.len() < ALONE && !has(&targets, tag) {
                    lookup.alone.entry(tag.clone()).or_insert_with(|| Arc::clone(&shared));
                }
            }
        }
        lookup
    }

    /// Roles below `targets/releases` that may speak for a tag: of each prefix one that does not hold, and the one that expires first.
    pub(super) fn below(&self, tag: &str) -> impl Iterator<Item = &RoleName> {
        let ends = 0..if self.below.is_empty() { 0 } else { tag.len() + 1 };
        let edges = ends.filter_map(|end| self.below.get(tag.get(..end)?));
        edges.flat_map(|edge| edge.left_out.as_deref().into_iter().chain([&*edge.first.1]))
    }

    /// The role below `targets/releases` that has an entry for the tag.
    pub(super) fn entered(&self, tag: &str) -> Option<&RoleName> {
        self.entered.get(&self.hash.hash_one(tag)).map(|name| &**name)
    }

    /// The role that has an entry for a tag that no accepted role has.
    pub(super) fn alone(&self, tag: &str) -> Option<&RoleName> {
        self.alone.get(tag).map(|name| &**name)
    }

    /// Bytes this takes, roughly.
    pub(super) fn bytes(&self) -> usize {
        128 * (self.below.len() + self.alone.len()) + 32 * self.entered.len()
    }
}

impl Index {
    /// `ruled` says what a tag has, and in which role, dates aside.
    pub(super) fn new(
        roles: &Roles,
        require: &[RoleName],
        ruled: impl Fn(&Tag) -> Result<(Digest, RoleName, Timestamp), Refusal>,
    ) -> Self {
        let mut by_digest: HashMap<Digest, Under> = HashMap::new();
        let mut counting: HashMap<&str, Digest> = HashMap::new();
        let (releases, targets) = (RoleName::releases(), RoleName::targets());
        for role in [&releases, &targets] {
            for (name, listed) in roles.held.get(role).into_iter().flat_map(|held| &held.file.body.targets) {
                let (Some(listed), Ok(tag)) = (listed, name.parse::<Tag>()) else { continue };
                match ruled(&tag) {
                    // What the other role says of the tag is its own line.
                    Ok((_, by, _)) if by != *role => {}
                    Ok((digest, _, until)) => {
                        counting.insert(name, digest);
                        by_digest.entry(digest).or_default().add(tag, until);
                    }
                    Err(_) => drop(by_digest.entry(*listed).or_default().refused.get_or_insert(tag)),
                }
            }
        }
        by_digest.values_mut().for_each(Under::settle);

        let signing = |name: &RoleName| *name != targets && !name.is_within(&releases);
        let mut named: Vec<(RoleName, Timestamp)> = Vec::new();
        let mut by_tag: HashMap<&str, Vec<u32>> = HashMap::new();
        for (name, held) in roles.held.iter().filter(|(name, held)| signing(name) && held.left_out.is_none()) {
            let place = u32::try_from(named.len()).unwrap_or(u32::MAX);
            named.push((name.clone(), held.file.expires));
            for (tag, digest) in &held.file.body.targets {
                if digest.is_some() && counting.get(&**tag) == digest.as_ref() && covers(&held.paths, tag) {
                    by_tag.entry(tag).or_default().push(place);
                }
            }
        }
        // Most tags have the same signers.
        let mut known: HashMap<Vec<u32>, Arc<[u32]>> = HashMap::new();
        let signers: HashMap<Box<str>, Arc<[u32]>> = by_tag
            .into_iter()
            .map(|(tag, places)| {
                let shared = known.entry(places).or_insert_with_key(|places| places.as_slice().into());
                (tag.into(), Arc::clone(shared))
            })
            .collect();
        let tags: usize = by_digest.values().map(|under| under.live.len()).sum();
        let sets: usize = known.values().map(|places| places.len()).sum();
        let bytes = 128 * by_digest.len() + 64 * tags + 96 * signers.len() + 4 * sets;
        Self { require: require.to_vec(), by_digest, signers, roles: named, bytes }
    }

    /// Whether these are the signers it was made for.
    pub(super) fn is_for(&self, require: &[RoleName]) -> bool {
        self.require == require
    }

    /// The tags of a digest.
    pub(super) fn under(&self, digest: &Digest) -> Option<&Under> {
        self.by_digest.get(digest)
    }

    /// Who signed a tag that counts, as docker has it, and still holds.
    pub(super) fn signers(&self, tag: &Tag, now: Timestamp) -> impl Iterator<Item = &str> {
        let places = self.signers.get(tag.as_str()).into_iter().flat_map(|places| places.iter());
        let roles = places.filter_map(|place| self.roles.get(usize::try_from(*place).ok()?));
        roles.filter(move |(_, expires)| now < *expires).map(|(name, _)| name.signer())
    }

    /// Bytes this takes, roughly.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Under {
    fn add(&mut self, tag: Tag, until: Timestamp) {
        self.live.push((tag, until));
        if self.live.len() >= 4 * NAMED {
            self.settle();
        }
    }

    /// Those that hold longest, in the order they came where they hold equally long.
    fn settle(&mut self) {
        self.live.sort_by_key(|(_, until)| std::cmp::Reverse(*until));
        self.live.truncate(NAMED);
        self.live.shrink_to_fit();
    }
}
