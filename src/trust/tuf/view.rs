//! Verified trust data for people: `trust inspect`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::Fault;
use super::file::Signers;
use super::knowledge::Knowledge;
use super::role::RoleName;
use crate::image::{Digest, Repository, Tag};

/// Trust data for people.
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
        for name in self.roles.accepted().names() {
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
}
