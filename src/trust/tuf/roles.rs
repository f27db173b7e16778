//! All roles of a repository that hold targets, and what they say of a tag together (docs/notary-v1.md, section 11).

use crate::order::sort_by_key;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::Timestamp;

use super::entries::Accepted;
use super::held::{Held, covers};
use super::index::{Index, Lookup};
use super::role::{Expiry, RoleKind, RoleName};
use super::{Fault, FaultKind};
use crate::image::Digest;

/// All roles that hold targets.
#[derive(Debug, Default)]
pub(super) struct Roles {
    pub(super) held: BTreeMap<RoleName, Held>,
    /// `targets`, and the delegation that expires first.
    first: Vec<Expiry>,
    bytes: usize,
    lookup: OnceLock<Lookup>,
    /// The answers about digests; made by who knows which signers must agree.
    pub(super) index: OnceLock<Index>,
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

impl Roles {
    pub(super) fn new(held: BTreeMap<RoleName, Held>) -> Self {
        let bytes = held.values().map(Held::bytes).sum();
        let mut roles = Self { held, bytes, ..Self::default() };
        let mut first: Vec<Expiry> = roles.expiries().collect();
        sort_by_key(&mut first, |expiry| (expiry.kind, expiry.expires));
        first.dedup_by_key(|expiry| expiry.kind);
        roles.first = first;
        roles
    }

    /// When each of them expires.
    pub(super) fn expiries(&self) -> impl Iterator<Item = Expiry> {
        self.held.iter().map(|(name, held)| {
            let kind = if *name == RoleName::targets() { RoleKind::Targets } else { RoleKind::Delegation };
            Expiry { role: name.as_str().to_owned(), kind, expires: held.file.expires }
        })
    }

    /// When `targets` expires, and the delegation that does so first.
    pub(super) fn first_expiries(&self) -> &[Expiry] {
        &self.first
    }

    /// The entries that docker accepts.
    pub(super) fn accepted(&self) -> Accepted<'_> {
        let entries = |role| self.held.get(&role).map(|held| &held.file.body.targets);
        Accepted { releases: entries(RoleName::releases()), targets: entries(RoleName::targets()) }
    }

    /// Bytes this takes, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.index.get().map_or(0, Index::bytes) + self.lookup.get().map_or(0, Lookup::bytes)
    }

    fn lookup(&self) -> &Lookup {
        self.lookup.get_or_init(|| Lookup::new(&self.held))
    }

    /// The role, if it may speak for `tag`; `Err` if it might but does not hold.
    pub(super) fn usable(&self, name: &RoleName, tag: &str, now: Timestamp) -> Result<Option<&Held>, Fault> {
        let Some(held) = self.held.get(name).filter(|held| covers(&held.paths, tag)) else { return Ok(None) };
        held.holds(name, now)?;
        Ok(Some(held))
    }

    /// Docker's lookup: the subtree of `targets/releases`, of which a hit counts in the role itself alone, then `targets`. An
    /// unverifiable role of the subtree refuses: it may hold another answer. Costs the same however much was signed.
    pub(super) fn judge(&self, tag: &str, now: Timestamp) -> Result<(Digest, RoleName, Timestamp), Refusal> {
        let (releases, targets) = (RoleName::releases(), RoleName::targets());
        let mut until = Timestamp::MAX;
        let entry = |held: &Held| held.file.body.targets.get(tag);
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
            if let Some(entry) = entry(held) {
                return accept(entry.digest, releases, until);
            }
            for name in self.lookup().below(tag) {
                // The parent of a child may be left out; then it is among these itself.
                let Some(held) = self.held.get(name) else { continue };
                held.holds(name, now).map_err(Refusal::Fault)?;
                until = until.min(held.file.expires);
            }
            if let Some(name) = self.lookup().entered(&self.held, tag) {
                return Err(alone(name));
            }
        }
        if let Some(held) = self.usable(&targets, tag, now).map_err(Refusal::Fault)?
            && let Some(entry) = entry(held)
        {
            return accept(entry.digest, targets, until.min(held.file.expires));
        }
        Err(self.lookup().alone(tag).map_or_else(|| Refusal::NotSigned(format!("tag `{tag}` is not signed")), alone))
    }
}
