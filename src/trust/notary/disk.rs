//! Between memory and disk: what is kept is read and verified again before it counts, and written where there is something new.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::budget::Share;
use super::error::{Busy, NotaryError, State};
use super::format::Bad;
use super::memory::{Entry, Known, OnDisk, Remembered};
use super::state::{Base, Read, Written};
use super::{Inner, lock};
use crate::trust::TrustError;
use crate::trust::tuf::{Knowledge, Stored, load};

/// Longest it takes to verify what is kept, again from the root down. What was accepted costs a few seconds at the very most; it takes
/// turns with other verifications.
const LOAD_TIME: Duration = Duration::from_secs(10);

/// What came of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is on disk; what there is now to build on.
    Done(Base),
    /// The disk does not take it.
    Failed,
    /// Another process wrote first.
    Moved,
    /// Files that were kept are there no more, so that they cannot be kept on.
    Lost,
}

impl Inner {
    /// Room in memory for one verification.
    pub(super) fn share(&self, is_known: bool, time: Duration) -> Arc<Share> {
        self.budget.share(is_known, Instant::now() + time)
    }

    /// Looks at the disk once per entry.
    pub(super) async fn loaded(&self, entry: &Entry, share: &Share) -> Result<(), TrustError> {
        entry.loaded.get_or_try_init(|| self.read(entry, share)).await.copied()
    }

    /// The same, and again where a person had it forgotten since, or another process wrote: a command may have seen something newer,
    /// or a withdrawal.
    pub(super) async fn looked_up(&self, entry: &Entry, share: &Share) -> Result<(), TrustError> {
        self.loaded(entry, share).await?;
        let (name, base) = (entry.repository.as_str(), lock(&entry.now).base);
        // Where it cannot be looked, what is known goes on.
        let is_forgotten = self.state.mark(name).is_ok_and(|mark| base.is_forgotten(mark));
        if is_forgotten || self.state.edition(name).is_some_and(|edition| base.edition != Some(edition)) {
            self.read(entry, share).await?;
        }
        Ok(())
    }

    /// Reads what is kept into memory, verified.
    pub(super) async fn read(&self, entry: &Entry, share: &Share) -> Result<(), TrustError> {
        let name = entry.repository.as_str();
        let size = self.state.size(name);
        share.take(size).await?;
        // Going on as if nothing were known would be trust on first use.
        let unread = |why: String| NotaryError::State(State::Unreadable(entry.repository.clone(), why));
        let unusable = |why: String| NotaryError::State(State::Unusable(entry.repository.clone(), why));
        // Before the state: one that is forgotten in between is looked at again.
        let mark = self.state.mark(name).map_err(unread)?;
        {
            let mut remembered = lock(&entry.now);
            if remembered.base.is_forgotten(mark) {
                if remembered.known.is_some() {
                    tracing::warn!(repository = name, "what was known is forgotten: `trust forget` was run");
                }
                *remembered = Remembered { used: remembered.used, ..Remembered::default() };
            }
            remembered.base.mark = mark;
        }
        let (stored, bad, edition) = match self.state.read(name) {
            Read::Nothing => {
                lock(&entry.now).base.edition = None;
                return Ok(());
            }
            Read::Failed(why) => return Err(unread(why).into()),
            Read::Kept(stored, bad, edition) => (stored, bad, edition),
            // What is in memory was verified and built on what stood here: it is written again.
            Read::Damaged(why) if self.session.is_some() && entry.is_built_on_disk() => {
                tracing::error!(repository = name, why, "kept trust data is damaged; it is written again at the next check");
                lock(&entry.now).unsaved();
                return Ok(());
            }
            // The pin says which root counts; versions begin anew.
            Read::Damaged(why) if self.pins.names(name) => {
                tracing::error!(repository = name, why, "kept trust data is damaged; it is set aside and fetched again");
                self.state.set_aside(name);
                lock(&entry.now).base.edition = None;
                return Ok(());
            }
            Read::Damaged(why) => return Err(unusable(format!("is damaged ({why}), and no pin says which root counts")).into()),
        };
        if entry.holds(edition) {
            return Ok(());
        }
        let Ok(loaded) = tokio::time::timeout(LOAD_TIME, load(&stored, &entry.repository)).await else {
            return Err(NotaryError::Busy(Busy::Loading(entry.repository.clone(), LOAD_TIME)).into());
        };
        match loaded {
            Ok(knowledge) => {
                let known = self.known(entry, knowledge.kept(), None, stored.checked);
                lock(&entry.now).found(known, bad, edition);
                // The files are in memory no more: a check that follows takes room for those that it needs.
                drop(stored);
                share.give_back(size).await;
            }
            // Whole as it was written, so that it was accepted once: who could make it go away would be rid of its root.
            Err(fault) => return Err(unusable(format!("does not verify ({fault})")).into()),
        }
        Ok(())
    }

    /// What answers are made of is worked out here, where trust data was verified, and not by who asks.
    pub(super) fn known(
        &self,
        entry: &Entry,
        knowledge: Knowledge,
        checked: Option<(Instant, Timestamp)>,
        since: Timestamp,
    ) -> Known {
        knowledge.prepare(self.require.of(&entry.repository));
        Known { knowledge: Arc::new(knowledge), checked, since }
    }

    /// Writes to disk. Where that fails decisions go on, on what is in memory.
    pub(super) async fn keep(&self, entry: &Entry, stored: Stored, bad: Option<Bad>, base: Base) -> Kept {
        let (state, checked) = (self.state.clone(), stored.checked);
        // The lock may be another process's, and the disk slow: not on the thread of everybody else's verification.
        let written = tokio::task::spawn_blocking(move || state.write(stored, bad.as_ref(), base)).await;
        match written.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(Written::Done(edition)) => {
                let mut remembered = lock(&entry.now);
                remembered.base.edition = Some(edition);
                remembered.written = Some(checked);
                remembered.on_disk = OnDisk::All;
                Kept::Done(Base { edition: Some(edition), ..base })
            }
            Ok(Written::Moved) => Kept::Moved,
            Ok(written @ (Written::Lost | Written::Noted(_))) => {
                if let Written::Noted(edition) = written {
                    lock(&entry.now).base.edition = Some(edition);
                }
                let repository = entry.repository.as_str();
                tracing::warn!(
                    repository,
                    "files of verified trust data are gone from the state folder; they are asked for again"
                );
                lock(&entry.now).on_disk = OnDisk::Lost;
                Kept::Lost
            }
            Err(why) => {
                tracing::error!(
                    repository = entry.repository.as_str(),
                    why,
                    "verified trust data cannot be kept; protection against rollback ends with this process"
                );
                lock(&entry.now).unsaved();
                Kept::Failed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Notary};
    use super::*;

    #[tokio::test]
    async fn what_is_not_on_disk_is_forgotten_last() {
        let folder = tempfile::tempdir().unwrap();
        let stored = Stored {
            repository: "r.example/a".to_owned(),
            files: std::collections::BTreeMap::new(),
            kept: std::collections::BTreeMap::new(),
            floors: std::collections::BTreeMap::new(),
            seen: Timestamp::UNIX_EPOCH,
            checked: Timestamp::UNIX_EPOCH,
        };
        let notary = Notary::new(Config::new("https://notary.invalid", folder.path())).unwrap();
        let entry = notary.inner.memory.entry(&"r.example/a".parse().unwrap());
        assert!(lock(&entry.now).rank().0);
        let Kept::Done(base) = notary.inner.keep(&entry, stored.clone(), None, Base::default()).await else { panic!("moved") };
        assert!(!lock(&entry.now).rank().0);
        // What is on disk is older than what could not be written.
        std::fs::remove_dir_all(folder.path()).unwrap();
        std::fs::write(folder.path(), "no folder").unwrap();
        assert_eq!(notary.inner.keep(&entry, stored, None, base).await, Kept::Failed);
        assert!(lock(&entry.now).rank().0);
        std::fs::remove_file(folder.path()).unwrap();
    }
}
