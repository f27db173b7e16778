//! What verified trust data says: which tag has which digest, in which role, and who signed (spec/notary-tuf.md, section 11).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde::Serialize;

use super::certificate::Certificate;
use super::file::{Delegation, File, Root, Signers, Snapshot, Stamp, Targets};
use super::index::{Index, Lookup, NAMED};
use super::role::{Expiry, RoleKind, RoleName};
use super::update::Proof;
use super::{Fault, FaultKind, hex};
use crate::image::{Digest, Repository, Tag};

/// Characters of a digest in a message, as people compare them.
const SHORT: usize = 19;

/// The newest version of a role that was seen, and what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Floor {
    pub(super) version: u64,
    pub(super) content: [u8; 32],
}

/// A role that is delegated and listed.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) file: File<Targets>,
    /// Prefixes of tags it may speak for, those of its parents taken into account.
    pub(super) paths: Vec<String>,
    /// The signers its parent names.
    pub(super) signers: Signers,
    /// Why it is left out; only delegations are.
    pub(super) left_out: Option<Fault>,
}

/// All roles that hold targets.
#[derive(Debug, Default)]
pub(super) struct Roles {
    pub(super) held: BTreeMap<RoleName, Held>,
    /// `targets`, and the delegation that expires first.
    first: Vec<Expiry>,
    bytes: usize,
    lookup: OnceLock<Lookup>,
    index: OnceLock<Index>,
}

/// Verified trust data of one repository. Made only by an update or a load in which everything verified.
#[derive(Debug, Clone)]
pub struct Knowledge {
    pub(super) repository: Repository,
    pub(super) root: Arc<File<Root>>,
    pub(super) timestamp: Arc<File<Stamp>>,
    pub(super) snapshot: Arc<File<Snapshot>>,
    pub(super) roles: Arc<Roles>,
    pub(super) floors: Arc<BTreeMap<String, Floor>>,
    /// The latest time at which this, or an ancestor of it, was verified with the server.
    pub(super) seen: Timestamp,
    pub(super) proof: Proof,
}

/// A yes: the digest, and on whose word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Yes {
    /// The digest.
    pub digest: Digest,
    /// Tags it is vouched for under; of many some.
    pub tags: Vec<Tag>,
    /// `targets/releases` or `targets`.
    pub role: RoleName,
    /// Delegations that list the same tag with the same digest; of many some.
    pub signers: Vec<String>,
    /// When the first of the files behind it expires.
    pub expires: Timestamp,
}

/// A no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing accepted vouches for it; why, in words.
    #[error("{0}")]
    NotSigned(String),
    /// A signer who must agree does not; why, in words behind his name.
    #[error("required signer `{}` {why}", signer.signer())]
    SignerMissing {
        /// The signer.
        signer: RoleName,
        /// What he has done instead.
        why: String,
    },
    /// A file that the answer depends on does not hold (any more).
    #[error("{0}")]
    Fault(Fault),
}

/// Everything that is kept of a repository, as raw files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The repository.
    pub repository: String,
    /// File names without `.json` → bytes as served.
    pub files: BTreeMap<String, Arc<[u8]>>,
    /// Role → newest version seen.
    pub floors: BTreeMap<String, StoredFloor>,
    /// The latest time at which it was verified with the server: dates count from there on, whatever the clock says.
    pub seen: Timestamp,
    /// When it was last verified with the server, by the clock of then. Before `seen` where the clock went back since.
    pub checked: Timestamp,
}

/// The newest version seen of a role, and the hash of what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFloor {
    /// The version.
    pub version: u64,
    /// SHA-256 of the canonical signed part.
    pub content: [u8; 32],
}

/// Trust data for people: `trust inspect`.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// The repository.
    pub repository: Repository,
    /// When it was last verified with the server.
    pub checked: Timestamp,
    /// Root, timestamp, snapshot and every role that holds targets.
    pub roles: Vec<RoleView>,
    /// Accepted tags and what they are vouched to be.
    pub tags: BTreeMap<String, TagView>,
    /// Tags that an accepted role lists and that are refused all the same; why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refused_tags: BTreeMap<String, String>,
}

/// One tag of a [`View`].
#[derive(Debug, Clone, Serialize)]
pub struct TagView {
    /// The digest.
    pub digest: Digest,
    /// The role.
    pub role: String,
    /// Who signed.
    pub signers: Vec<String>,
}

/// One role of a [`View`].
#[derive(Debug, Clone, Serialize)]
pub struct RoleView {
    /// The role's name.
    pub name: String,
    /// The version.
    pub version: u64,
    /// The expiry.
    pub expires: Timestamp,
    /// How many signers are needed.
    pub threshold: u64,
    /// Ids of the keys that may sign, as the files and pins have them.
    pub keys: Vec<String>,
    /// The same as `docker trust inspect` shows them: of the keys inside certificates.
    pub docker_keys: Vec<String>,
    /// It has expired, or will soon: for what the server signs, within two days.
    pub is_expiring: bool,
    /// Why the role is left out, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

impl Knowledge {
    /// When this was last verified with the server.
    #[must_use]
    pub const fn seen(&self) -> Timestamp {
        self.seen
    }

    /// The same, seen later. For a check that found nothing new.
    #[must_use]
    pub(super) fn seen_at(&self, now: Timestamp) -> Self {
        Self { seen: self.seen.max(now), ..self.clone() }
    }

    /// The same, last verified with the server no later than `at`, and no earlier than `floor`: for what was carried here. Nor
    /// earlier than the certificates of its root begin, before which nobody verified it: at an invented time no pin would let it
    /// pass, and what no pin ever let pass binds nobody.
    #[must_use]
    pub fn carried(self, at: Timestamp, floor: Option<Timestamp>) -> Self {
        let certificates = self.root.body.root.keys.iter().flat_map(|key| &key.certificates);
        let begun = certificates.map(Certificate::from).max().unwrap_or(at);
        let seen = self.seen.min(at.max(begun));
        Self { seen: floor.map_or(seen, |floor| seen.max(floor)), ..self }
    }

    /// Whether it has seen a newer root than `other`, or beside the same root a newer version of any role.
    #[must_use]
    pub fn is_above(&self, other: &Self) -> bool {
        match self.root.version.cmp(&other.root.version) {
            Ordering::Equal => self.floors.iter().any(|(role, own)| {
                let theirs = other.floors.get(role);
                theirs.is_some_and(|theirs| theirs.version < own.version)
            }),
            order => order.is_gt(),
        }
    }

    /// The same, having seen what `other` has: dates count from its time on, and its versions bind where both have the same root.
    #[must_use]
    pub fn with_floors_of(&self, other: &Self) -> Self {
        let mut floors = (*self.floors).clone();
        let bound = other.floors.iter().filter(|_| self.root.raw == other.root.raw);
        for (role, theirs) in bound {
            let own = floors.entry(role.clone()).or_insert(*theirs);
            if own.version < theirs.version {
                *own = *theirs;
            }
        }
        Self { floors: Arc::new(floors), ..self.seen_at(other.seen) }
    }

    /// The newest version seen of the timestamp.
    #[must_use]
    pub fn timestamp_version(&self) -> u64 {
        self.floors.get("timestamp").map_or(self.timestamp.version, |floor| floor.version.max(self.timestamp.version))
    }

    /// The timestamp file as served.
    #[must_use]
    pub fn timestamp_raw(&self) -> &[u8] {
        &self.timestamp.raw
    }

    /// When the first of the base files expires; every answer ends there at the latest.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        let targets = self.roles.held.get(&RoleName::targets()).map(|held| held.file.expires);
        [Some(self.root.expires), Some(self.timestamp.expires), Some(self.snapshot.expires), targets]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.timestamp.expires)
    }

    /// When each of its files expires, the first in front.
    #[must_use]
    pub fn expiries(&self) -> Vec<Expiry> {
        self.sorted(self.roles.expiries())
    }

    /// The same, of delegations the first alone: costs the same however many there are.
    #[must_use]
    pub fn first_expiries(&self) -> Vec<Expiry> {
        self.sorted(self.roles.first.iter().cloned())
    }

    fn sorted(&self, held: impl Iterator<Item = Expiry>) -> Vec<Expiry> {
        let base = [
            ("root", RoleKind::Root, self.root.expires),
            ("timestamp", RoleKind::Timestamp, self.timestamp.expires),
            ("snapshot", RoleKind::Snapshot, self.snapshot.expires),
        ];
        let base = base.into_iter().map(|(role, kind, expires)| Expiry { role: role.to_owned(), kind, expires });
        let mut all: Vec<Expiry> = base.chain(held).collect();
        all.sort_by(|a, b| a.expires.cmp(&b.expires).then_with(|| a.role.cmp(&b.role)));
        all
    }

    /// Ids of the keys in the root role, for the log and for `trust pin`.
    #[must_use]
    pub fn root_keys(&self) -> Vec<String> {
        self.root.body.root.keys.iter().map(|key| key.id.clone()).collect()
    }

    /// The version of the root.
    #[must_use]
    pub fn root_version(&self) -> u64 {
        self.root.version
    }

    /// Bytes this holds, roughly: for the bound on what is kept in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let index = self.roles.index.get().map_or(0, Index::bytes) + self.roles.lookup.get().map_or(0, Lookup::bytes);
        self.root.raw.len() + self.timestamp.raw.len() + self.snapshot.raw.len() + self.roles.bytes + index
    }

    /// Whether all files, base and accepted roles, are the same as in `other`.
    #[must_use]
    pub fn same_files(&self, other: &Self) -> bool {
        self.root.raw == other.root.raw && self.timestamp.raw == other.timestamp.raw && self.snapshot.raw == other.snapshot.raw
    }

    /// What is to be kept.
    #[must_use]
    pub fn stored(&self) -> Stored {
        let mut files: BTreeMap<String, Arc<[u8]>> =
            self.roles.held.iter().map(|(name, held)| (name.as_str().to_owned(), Arc::clone(&held.file.raw))).collect();
        files.insert("root".to_owned(), Arc::clone(&self.root.raw));
        files.insert("timestamp".to_owned(), Arc::clone(&self.timestamp.raw));
        files.insert("snapshot".to_owned(), Arc::clone(&self.snapshot.raw));
        let floors = self
            .floors
            .iter()
            .map(|(role, floor)| (role.clone(), StoredFloor { version: floor.version, content: floor.content }))
            .collect();
        Stored { repository: self.repository.as_str().to_owned(), files, floors, seen: self.seen, checked: self.seen }
    }

    /// Which digest a tag has, on docker's terms: `targets/releases`, else `targets`, and nothing else. `require` names
    /// delegations that must agree.
    pub fn tag(&self, tag: &Tag, require: &[RoleName], now: Timestamp) -> Result<Yes, Refusal> {
        self.base_in_date(now)?;
        self.judge(tag, require, now, NAMED)
    }

    /// Whether one of these digests is vouched for under any tag.
    pub fn any_of(&self, digests: &[Digest], require: &[RoleName], now: Timestamp) -> Result<Yes, Refusal> {
        self.base_in_date(now)?;
        self.with_index(require, |index| {
            let at = now.max(self.seen);
            let mut worst = None;
            for under in digests.iter().filter_map(|digest| index.under(digest)) {
                let mut live = under.live.iter().filter(|(_, until)| at < *until).map(|(tag, _)| tag);
                // Without one that holds, the one that held longest says why not; or one that never did.
                let tag = live.next().or(under.live.first().map(|(tag, _)| tag)).or(under.refused.as_ref());
                match tag.map(|tag| self.judge(tag, require, now, NAMED)) {
                    Some(Ok(mut yes)) => {
                        for tag in live {
                            let more = index.signers(tag, at).take(NAMED).map(str::to_owned);
                            let more: Vec<String> = more.filter(|signer| !yes.signers.contains(signer)).collect();
                            yes.signers.extend(more);
                            yes.tags.push(tag.clone());
                        }
                        yes.signers.truncate(NAMED);
                        return Ok(yes);
                    }
                    Some(Err(refusal)) => worst = Some(refusal),
                    None => {}
                }
            }
            Err(worst.unwrap_or_else(|| Refusal::NotSigned("no tag of the repository is signed with this digest".to_owned())))
        })
    }

    /// Works out ahead what answers are made of. For the task that has verified: whoever asks does not wait for it.
    pub fn prepare(&self, require: &[RoleName]) {
        self.with_index(require, |_| ());
    }

    /// Made for other signers than those that it was prepared for, it is made for this question alone.
    fn with_index<T>(&self, require: &[RoleName], ask: impl FnOnce(&Index) -> T) -> T {
        let make = || Index::new(&self.roles, require, |tag| self.ruled(tag, require, Timestamp::MIN));
        let index = self.roles.index.get_or_init(make);
        if index.is_for(require) { ask(index) } else { ask(&make()) }
    }

    fn base_in_date(&self, now: Timestamp) -> Result<(), Refusal> {
        let now = now.max(self.seen);
        let targets = self.roles.held.get(&RoleName::targets());
        self.root
            .in_date("root", now)
            .and_then(|()| self.timestamp.in_date("timestamp", now))
            .and_then(|()| self.snapshot.in_date("snapshot", now))
            .and_then(|()| targets.map_or(Ok(()), |held| held.file.in_date("targets", now)))
            .map_err(Refusal::Fault)
    }

    /// The answer about a tag, with so many signers named.
    fn judge(&self, tag: &Tag, require: &[RoleName], now: Timestamp, named: usize) -> Result<Yes, Refusal> {
        let now = now.max(self.seen);
        let (digest, role, until) = self.ruled(tag, require, now)?;
        let signers =
            self.with_index(require, |index| index.signers(tag, now).take(named).map(str::to_owned).collect::<Vec<String>>());
        Ok(Yes { digest, tags: vec![tag.clone()], role, signers, expires: until.min(self.expires()) })
    }

    /// Which digest a tag has, in which role, and until when the roles behind that hold.
    fn ruled(&self, tag: &Tag, require: &[RoleName], now: Timestamp) -> Result<(Digest, RoleName, Timestamp), Refusal> {
        let (digest, role, mut until) = self.roles.judge(tag.as_str(), now)?;
        for required in require {
            until = until.min(self.agrees(required, tag, digest, now)?);
        }
        Ok((digest, role, until))
    }

    /// Whether a signer who must agree vouches for the tag with this digest, and until when.
    fn agrees(&self, signer: &RoleName, tag: &Tag, digest: Digest, now: Timestamp) -> Result<Timestamp, Refusal> {
        let missing = |why: String| Err(Refusal::SignerMissing { signer: signer.clone(), why });
        let Some(held) = self.roles.usable(signer, tag.as_str(), now).map_err(Refusal::Fault)? else {
            // Whom the owner has added and who has signed nothing at all has no file yet.
            let parent = signer.parent().and_then(|parent| self.roles.held.get(&parent));
            let is_added = parent.is_some_and(|held| held.file.body.delegates(signer));
            return missing(match self.roles.held.get(signer) {
                Some(_) => format!("may not sign tag `{tag}`: its paths do not cover it"),
                None if is_added => format!("has not signed tag `{tag}`"),
                None => format!("is not a signer of `{}`", self.repository),
            });
        };
        match held.file.body.targets.get(tag.as_str()) {
            Some(Some(theirs)) if *theirs == digest => Ok(held.file.expires),
            Some(Some(theirs)) => {
                let short = |digest: &Digest| digest.to_string().chars().take(SHORT).collect::<String>();
                missing(format!("signed tag `{tag}` as {}…, not {}…", short(theirs), short(&digest)))
            }
            Some(None) => missing(format!("signed tag `{tag}` without a SHA-256 digest")),
            None => missing(format!("has not signed tag `{tag}`")),
        }
    }

    /// All of it, for people; `require` as for [`Knowledge::tag`].
    #[must_use]
    pub fn view(&self, require: &[RoleName], now: Timestamp) -> View {
        let soon: Vec<String> =
            self.expiries().into_iter().filter(|expiry| expiry.is_soon(now)).map(|expiry| expiry.role).collect();
        let role = |name: &str, version, expires, signers: &Signers, left_out: Option<&Fault>| RoleView {
            name: name.to_owned(),
            version,
            expires,
            threshold: signers.threshold,
            keys: signers.keys.iter().map(|key| key.id.clone()).collect(),
            docker_keys: signers.keys.iter().map(|key| key.bare_id()).collect(),
            is_expiring: soon.iter().any(|role| role == name),
            left_out: left_out.map(ToString::to_string),
        };
        let root = &self.root.body;
        let mut roles = vec![
            role("root", self.root.version, self.root.expires, &root.root, None),
            role("timestamp", self.timestamp.version, self.timestamp.expires, &root.timestamp, None),
            role("snapshot", self.snapshot.version, self.snapshot.expires, &root.snapshot, None),
        ];
        roles.extend(self.roles.held.iter().map(|(name, held)| {
            role(name.as_str(), held.file.version, held.file.expires, &held.signers, held.left_out.as_ref())
        }));
        let (mut tags, mut refused_tags) = (BTreeMap::new(), BTreeMap::new());
        for name in self.roles.accepted_names() {
            let Ok(tag) = name.parse::<Tag>() else { continue };
            match self.judge(&tag, require, now, usize::MAX) {
                Ok(yes) => {
                    let view = TagView { digest: yes.digest, role: yes.role.to_string(), signers: yes.signers };
                    tags.insert(name.to_owned(), view);
                }
                Err(refusal) => drop(refused_tags.insert(name.to_owned(), refusal.to_string())),
            }
        }
        View { repository: self.repository.clone(), checked: self.seen, roles, tags, refused_tags }
    }

    /// A short text that names this state, for messages and tests.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex(&self.timestamp.content)
    }
}

impl Roles {
    pub(super) fn new(held: BTreeMap<RoleName, Held>) -> Self {
        let bytes = held.values().map(|held| held.file.raw.len() + 96 * held.file.body.targets.len()).sum();
        let mut roles = Self { held, bytes, ..Self::default() };
        let mut first: Vec<Expiry> = roles.expiries().collect();
        first.sort_by_key(|expiry| (expiry.kind, expiry.expires));
        first.dedup_by_key(|expiry| expiry.kind);
        roles.first = first;
        roles
    }

    fn expiries(&self) -> impl Iterator<Item = Expiry> {
        self.held.iter().map(|(name, held)| {
            let kind = if *name == RoleName::targets() { RoleKind::Targets } else { RoleKind::Delegation };
            Expiry { role: name.as_str().to_owned(), kind, expires: held.file.expires }
        })
    }

    fn lookup(&self) -> &Lookup {
        self.lookup.get_or_init(|| Lookup::new(&self.held))
    }

    /// The role, if it may speak for `tag`; `Err` if it might but does not hold.
    fn usable(&self, name: &RoleName, tag: &str, now: Timestamp) -> Result<Option<&Held>, Fault> {
        let Some(held) = self.held.get(name).filter(|held| covers(&held.paths, tag)) else { return Ok(None) };
        held.holds(name, now)?;
        Ok(Some(held))
    }

    /// Docker's lookup: the subtree of `targets/releases`, of which a hit counts in the role itself alone, then `targets`. An
    /// unverifiable role of the subtree refuses: it may hold another answer. Costs the same however much was signed.
    fn judge(&self, tag: &str, now: Timestamp) -> Result<(Digest, RoleName, Timestamp), Refusal> {
        let (releases, targets) = (RoleName::releases(), RoleName::targets());
        let mut until = Timestamp::MAX;
        let entry = |held: &Held| held.file.body.targets.get(tag).copied();
        let accept = |digest: Option<Digest>, role: RoleName, until: Timestamp| {
            digest.map(|digest| (digest, role.clone(), until)).ok_or_else(|| {
                let why = format!("its entry for the tag `{tag}` has no SHA-256 digest");
                Refusal::Fault(Fault::new(FaultKind::Invalid, role.as_str(), why))
            })
        };
        let alone = |name: &RoleName| {
            Refusal::NotSigned(format!("tag `{tag}` is signed in `{name}` alone, which docker does not accept"))
        };
        if let Some(held) = self.usable(&releases, tag, now).map_err(Refusal::Fault)? {
            until = held.file.expires;
            if let Some(digest) = entry(held) {
                return accept(digest, releases, until);
            }
            for name in self.lookup().below(tag) {
                // The parent of a child may be left out; then it is among these itself.
                let Some(held) = self.held.get(name) else { continue };
                held.holds(name, now).map_err(Refusal::Fault)?;
                until = until.min(held.file.expires);
            }
            if let Some(name) = self.lookup().entered(tag) {
                return Err(alone(name));
            }
        }
        if let Some(held) = self.usable(&targets, tag, now).map_err(Refusal::Fault)?
            && let Some(digest) = entry(held)
        {
            return accept(digest, targets, until.min(held.file.expires));
        }
        Err(self.lookup().alone(tag).map_or_else(|| Refusal::NotSigned(format!("tag `{tag}` is not signed")), alone))
    }

    fn accepted_names(&self) -> impl Iterator<Item = &str> {
        let names = |role: RoleName| self.held.get(&role).into_iter().flat_map(|held| held.file.body.targets.keys());
        let mut names: Vec<&str> = names(RoleName::releases()).chain(names(RoleName::targets())).map(|name| &**name).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter()
    }
}

impl Held {
    /// Whether it counts now.
    fn holds(&self, name: &RoleName, now: Timestamp) -> Result<(), Fault> {
        self.left_out.clone().map_or_else(|| self.file.in_date(name.as_str(), now), Err)
    }
}

/// Whether a role with these paths may speak for a tag.
pub(super) fn covers(paths: &[String], tag: &str) -> bool {
    paths.iter().any(|path| tag.starts_with(path.as_str()))
}

/// The prefixes a delegation may speak for: its own, as far as they extend one of its parent's.
pub(super) fn narrowed(delegation: &Delegation, parent: &[String]) -> Vec<String> {
    delegation.paths.iter().filter(|path| parent.iter().any(|above| path.starts_with(above.as_str()))).cloned().collect()
}
