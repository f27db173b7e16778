//! How each repository stands that is kept on disk, for `trust status`, `doctor` and the figures. Asks nobody.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::format::Bad;
use super::state::StateDir;
use super::{CLOCK_STEP, Inner, Notary};
use crate::image::Repository;
use crate::trust::TrustCode;
use crate::trust::tuf::{Expiry, Knowledge, Stored, load};

/// One line of `trust status`.
#[derive(Debug, Clone, Serialize)]
pub struct RepositoryStatus {
    /// The repository.
    pub repository: String,
    /// When the server was last asked with success.
    pub checked: Timestamp,
    /// Dates count from then on at least: the latest time of a check, later than the last one where the clock went back.
    pub seen: Timestamp,
    /// When the first of its base files expires; absent where what is kept does not verify.
    pub expires: Option<Timestamp>,
    /// When each of its files does, the first in front.
    pub roles: Vec<Expiry>,
    /// Whether there is a server that renews what it signs.
    #[serde(skip)]
    pub is_renewed: bool,
    /// What is wrong with what is kept, or with what the server answered last: it is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The code by which its images are refused for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
}

impl Notary {
    /// All repositories kept on disk, and when their files expire.
    pub async fn statuses(&self) -> Vec<RepositoryStatus> {
        let mut statuses = Vec::new();
        for path in self.inner.state.paths() {
            statuses.push(self.inner.status(StateDir::read_path(&path)).await);
        }
        let key = |status: &RepositoryStatus| (status.first().map(|first| first.expires), status.repository.clone());
        statuses.sort_by_cached_key(key);
        statuses
    }
}

impl RepositoryStatus {
    /// What somebody must sign again first. What a server signs it renews when it is asked; where there is none, all counts.
    #[must_use]
    pub fn first(&self) -> Option<&Expiry> {
        self.roles.iter().find(|expiry| expiry.matters(self.is_renewed))
    }

    /// Until when it may be used while nobody can check it; nothing where it is not used at all.
    #[must_use]
    pub fn usable_until(&self, limit: Duration) -> Option<Timestamp> {
        let expires = self.expires.filter(|_| self.fault.is_none())?;
        // A limit that cannot be added never comes.
        let limit = SignedDuration::try_from(limit).ok().and_then(|limit| self.checked.checked_add(limit).ok());
        Some(limit.map_or(expires, |limit| expires.min(limit)))
    }

    /// Whether this host's clock went back since some check.
    #[must_use]
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        self.seen.duration_since(now) > CLOCK_STEP
    }

    /// Whether it was last checked longer ago than it may be used without that.
    #[must_use]
    pub fn is_outdated(&self, limit: Duration, now: Timestamp) -> bool {
        now.duration_since(self.checked) > SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX)
    }

    /// What somebody must sign again, soon or at once.
    pub fn soon(&self, now: Timestamp) -> impl Iterator<Item = &Expiry> {
        self.roles.iter().filter(move |expiry| expiry.matters(self.is_renewed) && expiry.is_soon(now))
    }
}

impl Inner {
    /// What is kept of one repository, verified for looking at.
    pub(super) async fn status(&self, read: Result<(Stored, Option<Bad>), (String, String)>) -> RepositoryStatus {
        let (stored, bad) = match read {
            Ok(read) => read,
            Err((repository, why)) => {
                return RepositoryStatus {
                    repository,
                    checked: Timestamp::UNIX_EPOCH,
                    seen: Timestamp::UNIX_EPOCH,
                    expires: None,
                    roles: Vec::new(),
                    is_renewed: self.session.is_some(),
                    fault: Some(why),
                    code: Some(TrustCode::Misconfigured.as_str()),
                };
            }
        };
        let known = match stored.repository.parse::<Repository>() {
            Ok(repository) => load(&stored, &repository).await.map_err(|fault| fault.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let damaged = known.as_ref().err().map(|why| (TrustCode::Misconfigured, why.clone()));
        let refused = damaged.or(bad.map(|bad| (bad.error.code, bad.error.to_string())));
        let (code, fault) = refused.map(|(code, why)| (code.as_str(), why)).unzip();
        RepositoryStatus {
            repository: stored.repository.clone(),
            checked: stored.checked,
            seen: stored.seen,
            expires: known.as_ref().ok().map(Knowledge::expires),
            roles: known.as_ref().map(Knowledge::expiries).unwrap_or_default(),
            is_renewed: self.session.is_some(),
            fault,
            code,
        }
    }
}
