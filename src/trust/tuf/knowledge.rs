//! What verified trust data says: which tag has which digest, in which role, and who signed (docs/notary-v1.md, section 11).

use crate::order::{Ordered as _, sort_by};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::certificate::Certificate;
use super::file::{File, Root, Snapshot, Stamp};
use super::index::{Index, Live, NAMED};
use super::proof::Proof;
use super::role::{Expiry, RoleKind, RoleName};
use super::roles::{Refusal, Roles};
use crate::image::{Digest, Repository, Tag};

/// Characters of a digest in a message, as people compare them.
const SHORT: usize = 19;

/// The newest version of a role that was seen, and what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Floor {
    pub(super) version: u64,
    pub(super) content: [u8; 32],
}

/// Where the files of the roles that hold targets are, as served. They are most of what is kept, and needed again only where something
/// new was signed, and for writing.
#[derive(Debug, Clone)]
pub(super) enum Files {
    /// In memory.
    Here(Arc<BTreeMap<RoleName, Arc<[u8]>>>),
    /// Where what is verified is kept: as the snapshot lists them.
    Kept,
    /// They were kept, and are there no more.
    Lost,
}

/// Verified trust data of one repository. Made only by an update or a load in which everything verified.
#[derive(Debug, Clone)]
pub struct Knowledge {
    pub(super) repository: Repository,
    pub(super) root: Arc<File<Root>>,
    pub(super) timestamp: Arc<File<Stamp>>,
    pub(super) snapshot: Arc<File<Snapshot>>,
    pub(super) roles: Arc<Roles>,
    pub(super) files: Files,
    pub(super) floors: Arc<BTreeMap<String, Floor>>,
    /// The latest time at which this, or an ancestor of it, was verified with the server.
    pub(super) seen: Timestamp,
    pub(super) proof: Proof,
}

/// A yes: the digest, and on whose word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTag {
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

/// Everything that is kept of a repository, as raw files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The repository.
    pub repository: String,
    /// File names without `.json` → bytes as served.
    pub files: BTreeMap<String, Arc<[u8]>>,
    /// Names of files that are kept already and go on being so, and what they are.
    pub kept: BTreeMap<String, Listed>,
    /// Role → newest version seen.
    pub floors: BTreeMap<String, StoredFloor>,
    /// The latest time at which it was verified with the server: dates count from there on, whatever the clock says.
    pub seen: Timestamp,
    /// When it was last verified with the server, by the clock of then. Before `seen` where the clock went back since.
    pub checked: Timestamp,
}

/// What tells a file from others: its length, and its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Bytes it has.
    pub length: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
}

/// The newest version seen of a role, and the hash of what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFloor {
    /// The version.
    pub version: u64,
    /// SHA-256 of the canonical signed part.
    pub content: [u8; 32],
}

impl Stored {
    /// The same, with the files in it that are kept already; nothing where one of them is not among these.
    #[must_use]
    pub fn whole(mut self, there: &BTreeMap<String, Arc<[u8]>>) -> Option<Self> {
        for (name, listed) in std::mem::take(&mut self.kept) {
            let raw = there.get(&name).filter(|raw| listed.fits(raw))?;
            self.files.insert(name, Arc::clone(raw));
        }
        Some(self)
    }

    /// The versions seen of both, with the files of `there` alone.
    #[must_use]
    pub fn noted(self, there: Option<&Self>) -> Self {
        let mut floors = self.floors;
        for (role, theirs) in there.iter().flat_map(|there| &there.floors) {
            let own = floors.entry(role.clone()).or_insert(*theirs);
            if own.version < theirs.version {
                *own = *theirs;
            }
        }
        Self {
            repository: self.repository,
            files: there.map(|there| there.files.clone()).unwrap_or_default(),
            kept: BTreeMap::new(),
            floors,
            seen: there.map_or(self.seen, |there| self.seen.max(there.seen)),
            checked: there.map_or(self.checked, |there| there.checked),
        }
    }
}

impl Listed {
    fn fits(&self, raw: &[u8]) -> bool {
        self.length == raw.len() as u64 && Sha256::digest(raw)[..] == self.sha256
    }
}

impl Files {
    /// The file of a role, if it is in memory.
    pub(super) fn here(&self, role: &RoleName) -> Option<&Arc<[u8]>> {
        match self {
            Self::Here(files) => files.get(role),
            Self::Kept | Self::Lost => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Here(files) => files.values().map(|raw| raw.len()).sum(),
            Self::Kept | Self::Lost => 0,
        }
    }
}

impl Knowledge {
    /// The same, its files in memory no more: they were written, or read from where they are kept.
    #[must_use]
    pub fn kept(self) -> Self {
        Self { files: Files::Kept, ..self }
    }

    /// The same, where files that were kept are there no more: the next update asks for all of them.
    #[must_use]
    pub fn lost(&self) -> Self {
        let files = match &self.files {
            here @ Files::Here(_) => here.clone(),
            Files::Kept | Files::Lost => Files::Lost,
        };
        Self { files, ..self.clone() }
    }

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
        self.sorted(self.roles.first_expiries().iter().cloned())
    }

    fn sorted(&self, held: impl Iterator<Item = Expiry>) -> Vec<Expiry> {
        let base = [
            ("root", RoleKind::Root, self.root.expires),
            ("timestamp", RoleKind::Timestamp, self.timestamp.expires),
            ("snapshot", RoleKind::Snapshot, self.snapshot.expires),
        ];
        let base = base.into_iter().map(|(role, kind, expires)| Expiry { role: role.to_owned(), kind, expires });
        let mut all: Vec<Expiry> = base.chain(held).collect();
        sort_by(&mut all, |a, b| a.expires.cmp(&b.expires).then_with(|| a.role.cmp(&b.role)));
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
        self.root.raw.len() + self.timestamp.raw.len() + self.snapshot.raw.len() + self.roles.bytes() + self.files.bytes()
    }

    /// Whether all files, base and accepted roles, are the same as in `other`.
    #[must_use]
    pub fn same_files(&self, other: &Self) -> bool {
        self.root.raw == other.root.raw && self.timestamp.raw == other.timestamp.raw && self.snapshot.raw == other.snapshot.raw
    }

    /// What is to be kept.
    #[must_use]
    pub fn stored(&self) -> Stored {
        let (mut files, mut kept) = (BTreeMap::new(), BTreeMap::new());
        for name in self.roles.held.keys() {
            match (self.files.here(name), self.snapshot.body.of(name)) {
                (Some(raw), _) => drop(files.insert(name.as_str().to_owned(), Arc::clone(raw))),
                (None, Some(meta)) => {
                    let listed = Listed { length: meta.length, sha256: meta.sha256 };
                    kept.insert(name.as_str().to_owned(), listed);
                }
                // What is held is listed.
                (None, None) => {}
            }
        }
        files.insert("root".to_owned(), Arc::clone(&self.root.raw));
        files.insert("timestamp".to_owned(), Arc::clone(&self.timestamp.raw));
        files.insert("snapshot".to_owned(), Arc::clone(&self.snapshot.raw));
        let floors = self
            .floors
            .iter()
            .map(|(role, floor)| (role.clone(), StoredFloor { version: floor.version, content: floor.content }))
            .ordered();
        Stored { repository: self.repository.as_str().to_owned(), files, kept, floors, seen: self.seen, checked: self.seen }
    }

    /// Which digest a tag has, on docker's terms: `targets/releases`, else `targets`, and nothing else. `require` names
    /// delegations that must agree.
    pub fn tag(&self, tag: &Tag, require: &[RoleName], now: Timestamp) -> Result<SignedTag, Refusal> {
        self.base_in_date(now)?;
        self.judge(tag, require, now, NAMED)
    }

    /// Whether one of these digests is vouched for under any tag.
    pub fn any_of(&self, digests: &[Digest], require: &[RoleName], now: Timestamp) -> Result<SignedTag, Refusal> {
        self.base_in_date(now)?;
        self.with_index(require, |index| {
            let at = now.max(self.seen);
            let mut worst = None;
            let accepted = self.roles.accepted();
            for under in digests.iter().map(|digest| index.under(accepted, digest)) {
                let mut live = under.live.iter().filter(|live| at < live.until);
                // Without one that holds, the one that held longest says why not; or one that never did.
                let tag = live.next().or(under.live.first()).map(|live| &live.tag).or(under.refused.as_ref());
                match tag.map(|tag| self.judge(tag, require, now, NAMED)) {
                    Some(Ok(mut yes)) => {
                        for Live { tag, number, .. } in live {
                            let more = index.signers_of(*number, at).take(NAMED).map(str::to_owned);
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
        let make =
            || Index::new(&self.roles.held, self.roles.accepted(), require, |tag| self.ruled(tag, require, Timestamp::MIN).ok());
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
    pub(super) fn judge(&self, tag: &Tag, require: &[RoleName], now: Timestamp, named: usize) -> Result<SignedTag, Refusal> {
        let now = now.max(self.seen);
        let (digest, role, until) = self.ruled(tag, require, now)?;
        let signers = self.with_index(require, |index| {
            index.signers(self.roles.accepted(), tag, now).take(named).map(str::to_owned).collect::<Vec<String>>()
        });
        Ok(SignedTag { digest, tags: vec![tag.clone()], role, signers, expires: until.min(self.expires()) })
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
        match held.file.body.targets.get(tag.as_str()).map(|entry| entry.digest) {
            Some(Some(theirs)) if theirs == digest => Ok(held.file.expires),
            Some(Some(theirs)) => {
                let short = |digest: &Digest| digest.to_string().chars().take(SHORT).collect::<String>();
                missing(format!("signed tag `{tag}` as {}…, not {}…", short(&theirs), short(&digest)))
            }
            Some(None) => missing(format!("signed tag `{tag}` without a SHA-256 digest")),
            None => missing(format!("has not signed tag `{tag}`")),
        }
    }
}
