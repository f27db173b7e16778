//! What the verifier tells of itself: how checks went, and what expires when, over all repositories that are known.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::memory::Outcome;
use super::outage::Miss;
use super::{Inner, RepositoryStatus, lock};
use crate::trust::Stats;
use crate::trust::tuf::{Expiry, Knowledge, RoleKind};

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    checks: BTreeMap<&'static str, u64>,
    last_good: Option<Timestamp>,
    is_reachable: Option<bool>,
    /// Repositories that nobody asks about, as they were found on disk.
    kept: Vec<RepositoryStats>,
}

impl Tally {
    /// What came of one check with the server.
    pub(super) fn count(&mut self, outcome: &Outcome, now: Timestamp) {
        let what = match outcome {
            Ok(_) => {
                self.last_good = Some(now);
                "good"
            }
            Err(Miss::Refused(error) | Miss::Pinned(error) | Miss::NoAnswer(error) | Miss::Unsure(error)) => error.code.as_str(),
        };
        self.is_reachable = Some(!matches!(outcome, Err(Miss::NoAnswer(_))));
        let count = self.checks.entry(what).or_default();
        *count = count.saturating_add(1);
    }

    /// What was found on disk.
    pub(super) fn found(&mut self, kept: Vec<RepositoryStats>) {
        self.kept = kept;
    }
}

/// A repository, as far as its stats go.
#[derive(Debug, Clone)]
pub(super) struct RepositoryStats {
    pub(super) repository: Arc<str>,
    roles: Arc<[Expiry]>,
    /// Whether the server is there to renew what it signs; with one that nobody asks about that does not show.
    pub(super) is_renewed: bool,
    is_refused: bool,
}

impl From<RepositoryStatus> for RepositoryStats {
    /// Of what nobody asks about, the first of each kind of role to expire is enough: there may be ten thousand repositories, of
    /// a thousand roles each.
    fn from(status: RepositoryStatus) -> Self {
        let mut roles = status.roles;
        let mut kinds = HashSet::new();
        roles.retain(|expiry| kinds.insert(expiry.kind));
        Self {
            repository: status.repository.into(),
            roles: roles.into(),
            is_renewed: status.is_renewed,
            is_refused: status.fault.is_some(),
        }
    }
}

impl RepositoryStats {
    /// The roles whose expiry matters, of which some expire soon.
    pub(super) fn soon(&self, now: Timestamp) -> impl Iterator<Item = &Expiry> {
        self.roles.iter().filter(move |expiry| expiry.matters(self.is_renewed) && expiry.is_soon(now))
    }

    fn state(&self, now: Timestamp) -> &'static str {
        let first = self.soon(now).next();
        match first {
            _ if self.is_refused => "refused",
            Some(expiry) if expiry.expires <= now => "expired",
            Some(_) => "expiring",
            None => "good",
        }
    }
}

impl Inner {
    /// All repositories in memory, with these expiries of theirs, and those on disk that were found beside them.
    pub(super) fn repository_stats(&self, expiries: fn(&Knowledge) -> Vec<Expiry>) -> Vec<RepositoryStats> {
        let mut all = Vec::new();
        for entry in self.memory.all() {
            let remembered = lock(&entry.now);
            let Some(known) = &remembered.known else { continue };
            all.push(RepositoryStats {
                repository: entry.repository.as_str().into(),
                roles: expiries(&known.knowledge).into(),
                is_renewed: self.session.is_some() && !remembered.is_missed,
                is_refused: remembered.refused.is_some(),
            });
        }
        let here: HashSet<Arc<str>> = all.iter().map(|repository: &RepositoryStats| Arc::clone(&repository.repository)).collect();
        let tally = lock(&self.tally);
        all.extend(tally.kept.iter().filter(|kept| !here.contains(&kept.repository)).cloned());
        all
    }

    pub(super) fn stats(&self, now: Timestamp) -> Stats {
        let mut stats = {
            let tally = lock(&self.tally);
            Stats {
                checks: tally.checks.clone(),
                last_good: tally.last_good,
                is_reachable: tally.is_reachable,
                ..Stats::default()
            }
        };
        for state in ["good", "expiring", "expired", "refused"] {
            stats.repositories.insert(state, 0);
        }
        // The serving thread asks: of the roles of a kind the first is enough, however many there are.
        for repository in self.repository_stats(Knowledge::first_expiries) {
            *stats.repositories.entry(repository.state(now)).or_default() += 1;
            for kind in RoleKind::ALL {
                let first = repository.roles.iter().find(|expiry| expiry.kind == kind && expiry.matters(repository.is_renewed));
                let Some(first) = first else { continue };
                let least = stats.expires.entry(kind.as_str()).or_insert(first.expires);
                *least = first.expires.min(*least);
            }
        }
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_nobody_asks_about_little_is_kept() {
        let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let expiry = |index: usize| Expiry {
            role: format!("targets/{index}"),
            kind: if index.is_multiple_of(2) { RoleKind::Delegation } else { RoleKind::Root },
            expires: now,
        };
        let status = RepositoryStatus {
            repository: "r.example/a".to_owned(),
            checked: now,
            seen: now,
            expires: Some(now),
            roles: (0..1000).map(expiry).collect(),
            is_renewed: true,
            fault: None,
            code: None,
        };
        let repository = RepositoryStats::from(status);
        assert_eq!(repository.roles.iter().map(|expiry| expiry.role.as_str()).collect::<Vec<_>>(), ["targets/0", "targets/1"]);
        assert_eq!(repository.state(now), "expired");
    }
}
