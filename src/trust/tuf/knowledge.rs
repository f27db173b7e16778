//! What verified trust data says: which tag has which digest, in which role, and who signed (spec/notary-tuf.md, section 11).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde::Serialize;

use super::certificate::Certificate;
use super::file::{Delegation, File, Root, Signers, Snapshot, Stamp, Targets};
use super::role::{Expiry, RoleKind, RoleName};
use super::update::Proof;
use super::{Fault, FaultKind, hex};
use crate::image::{Digest, Repository, Tag};

/// Most tags named in the answer about a digest. Stops a digest under thousands of tags from slowing every start.
const TAGS_NAMED: usize = 16;

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
    by_digest: OnceLock<HashMap<Digest, Vec<Tag>>>,
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
    /// Tags it is vouched for under.
    pub tags: Vec<Tag>,
    /// `targets/releases` or `targets`.
    pub role: RoleName,
    /// Delegations that list the same tag with the same digest.
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
        let base = [
            ("root", RoleKind::Root, self.root.expires),
            ("timestamp", RoleKind::Timestamp, self.timestamp.expires),
            ("snapshot", RoleKind::Snapshot, self.snapshot.expires),
        ];
        let held = self.roles.held.iter().map(|(name, held)| {
            let kind = if *name == RoleName::targets() { RoleKind::Targets } else { RoleKind::Delegation };
            (name.as_str(), kind, held.file.expires)
        });
        let mut all: Vec<Expiry> =
            base.into_iter().chain(held).map(|(role, kind, expires)| Expiry { role: role.to_owned(), kind, expires }).collect();
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
        let roles: usize = self.roles.held.values().map(|held| held.file.raw.len() + 96 * held.file.body.targets.len()).sum();
        self.root.raw.len() + self.timestamp.raw.len() + self.snapshot.raw.len() + roles
    }

    /// Whether all files, base and accepted roles, are the same as in `other`.
    #[must_use]
    pub fn same_files(&self, other: &Self) -> bool {
        self.root.raw == other.root.raw && self.timestamp.raw == other.timestamp.raw && self.snapshot.raw == other.snapshot.raw
    }

    /// Whether somebody with a key has signed something since `other`: a later timestamp, or another root.
    #[must_use]
    pub fn is_signed_after(&self, other: &Self) -> bool {
        self.timestamp.version > other.timestamp.version || self.root.content != other.root.content
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
        self.judge(tag, require, now)
    }

    /// Whether one of these digests is vouched for under any tag.
    pub fn any_of(&self, digests: &[Digest], require: &[RoleName], now: Timestamp) -> Result<Yes, Refusal> {
        self.base_in_date(now)?;
        let index = self.roles.by_digest.get_or_init(|| self.roles.index());
        let mut worst = None;
        for digest in digests {
            let mut found: Option<Yes> = None;
            for tag in index.get(digest).into_iter().flatten() {
                match (self.judge(tag, require, now), &mut found) {
                    (Ok(yes), _) if yes.digest != *digest => {}
                    (Ok(yes), None) => found = Some(yes),
                    (Ok(yes), Some(found)) => {
                        found.tags.extend(yes.tags);
                        for signer in yes.signers {
                            if !found.signers.contains(&signer) {
                                found.signers.push(signer);
                            }
                        }
                    }
                    (Err(refusal), _) => worst = Some(refusal),
                }
                if found.as_ref().is_some_and(|found| found.tags.len() >= TAGS_NAMED) {
                    break;
                }
            }
            if let Some(yes) = found {
                return Ok(yes);
            }
        }
        Err(worst.unwrap_or_else(|| Refusal::NotSigned("no tag of the repository is signed with this digest".to_owned())))
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

    fn judge(&self, tag: &Tag, require: &[RoleName], now: Timestamp) -> Result<Yes, Refusal> {
        let now = now.max(self.seen);
        let (digest, role, until) = self.roles.judge(tag.as_str(), now)?;
        for required in require {
            self.agrees(required, tag, digest, now)?;
        }
        let signers = self
            .roles
            .held
            .keys()
            .filter(|name| **name != RoleName::targets() && !name.is_within(&RoleName::releases()))
            .filter(|name| {
                matches!(self.roles.usable(name, tag.as_str(), now), Ok(Some(held))
                    if held.file.body.targets.get(tag.as_str()).copied().flatten() == Some(digest))
            })
            .map(|name| name.signer().to_owned())
            .collect();
        Ok(Yes { digest, tags: vec![tag.clone()], role, signers, expires: until.min(self.expires()) })
    }

    /// Whether a signer who must agree vouches for the tag with this digest.
    fn agrees(&self, signer: &RoleName, tag: &Tag, digest: Digest, now: Timestamp) -> Result<(), Refusal> {
        let missing = |why: String| Err(Refusal::SignerMissing { signer: signer.clone(), why });
        let Some(held) = self.roles.usable(signer, tag.as_str(), now).map_err(Refusal::Fault)? else {
            // Whom the owner has added and who has signed nothing at all has no file yet.
            let is_added = |held: &Held| held.file.body.delegations.iter().any(|delegation| delegation.name == *signer);
            return missing(match self.roles.held.get(signer) {
                Some(_) => format!("may not sign tag `{tag}`: its paths do not cover it"),
                None if self.roles.held.values().any(is_added) => format!("has not signed tag `{tag}`"),
                None => format!("is no signer of `{}`", self.repository),
            });
        };
        match held.file.body.targets.get(tag.as_str()) {
            Some(Some(theirs)) if *theirs == digest => Ok(()),
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
            match self.judge(&tag, require, now) {
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
        Self { held, by_digest: OnceLock::new() }
    }

    /// The role, if it may speak for `tag`; `Err` if it might but does not hold.
    fn usable(&self, name: &RoleName, tag: &str, now: Timestamp) -> Result<Option<&Held>, Fault> {
        let Some(held) = self.held.get(name) else { return Ok(None) };
        if !held.paths.iter().any(|path| tag.starts_with(path.as_str())) {
            return Ok(None);
        }
        if let Some(fault) = &held.left_out {
            return Err(fault.clone());
        }
        held.file.in_date(name.as_str(), now)?;
        Ok(Some(held))
    }

    /// Docker's lookup: the subtree of `targets/releases`, of which a hit counts in the role itself alone, then `targets`. An
    /// unverifiable role of the subtree refuses: it may hold another answer.
    fn judge(&self, tag: &str, now: Timestamp) -> Result<(Digest, RoleName, Timestamp), Refusal> {
        let releases = RoleName::releases();
        let entry = |held: &Held| held.file.body.targets.get(tag).copied();
        let accept = |digest: Option<Digest>, role: RoleName, held: &Held| {
            digest.map(|digest| (digest, role.clone(), held.file.expires)).ok_or_else(|| {
                let why = format!("its entry for the tag `{tag}` has no SHA-256 digest");
                Refusal::Fault(Fault::new(FaultKind::Invalid, role.as_str(), why))
            })
        };
        if let Some(held) = self.usable(&releases, tag, now).map_err(Refusal::Fault)? {
            if let Some(digest) = entry(held) {
                return accept(digest, releases, held);
            }
            let below = self.held.keys().filter(|name| name.is_within(&releases) && **name != releases);
            for name in below {
                // The parent of a child may be left out; then `usable` of the parent has refused already or does now.
                if let Some(held) = self.usable(name, tag, now).map_err(Refusal::Fault)?
                    && entry(held).is_some()
                {
                    return Err(Refusal::NotSigned(format!(
                        "tag `{tag}` is signed in `{name}` alone, which docker does not accept"
                    )));
                }
            }
        }
        let targets = RoleName::targets();
        if let Some(held) = self.usable(&targets, tag, now).map_err(Refusal::Fault)?
            && let Some(digest) = entry(held)
        {
            return accept(digest, targets, held);
        }
        let elsewhere = self.held.iter().find(|(_, held)| held.left_out.is_none() && entry(held).is_some());
        Err(Refusal::NotSigned(match elsewhere {
            Some((name, _)) => format!("tag `{tag}` is signed in `{name}` alone, which docker does not accept"),
            None => format!("tag `{tag}` is not signed"),
        }))
    }

    fn accepted_names(&self) -> impl Iterator<Item = &str> {
        let names = |role: RoleName| self.held.get(&role).into_iter().flat_map(|held| held.file.body.targets.keys());
        let mut names: Vec<&str> = names(RoleName::releases()).chain(names(RoleName::targets())).map(|name| &**name).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter()
    }

    /// Digest → tags that an accepted role gives it. Candidates: each is judged again when asked, for dates and precedence.
    fn index(&self) -> HashMap<Digest, Vec<Tag>> {
        let mut index: HashMap<Digest, Vec<Tag>> = HashMap::new();
        for role in [RoleName::releases(), RoleName::targets()] {
            let Some(held) = self.held.get(&role) else { continue };
            for (name, digest) in &held.file.body.targets {
                if let (Some(digest), Ok(tag)) = (digest, name.parse::<Tag>()) {
                    let tags = index.entry(*digest).or_default();
                    if !tags.contains(&tag) {
                        tags.push(tag);
                    }
                }
            }
        }
        index
    }
}

/// The prefixes a delegation may speak for: its own, as far as they extend one of its parent's.
pub(super) fn narrowed(delegation: &Delegation, parent: &[String]) -> Vec<String> {
    delegation.paths.iter().filter(|path| parent.iter().any(|above| path.starts_with(above.as_str()))).cloned().collect()
}
