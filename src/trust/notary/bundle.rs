//! Bundles: verified trust data as one file, to be carried to a host without a server, and taken in there.
//!
//! A bundle proves nothing by itself: it is verified like an answer of the server. Its checksums tell damage, not forgery.

use std::sync::Arc;

use jiff::Timestamp;

use super::state::{Written, decode, encode, put, take};
use super::{Entry, Inner, Known, Notary, ROUNDS, lock, refused};
use crate::image::Repository;
use crate::trust::tuf::{Failure, Stored, Subject, update};
use crate::trust::{TrustCode, TrustError};

/// First bytes of a bundle.
const BUNDLE: &[u8] = b"img-authz trust bundle 1\n";

impl Notary {
    /// What is kept of these repositories as one file, for [`Notary::import`] elsewhere. Only what verifies is exported.
    pub async fn export(&self, repositories: &[Repository]) -> Result<Vec<u8>, TrustError> {
        let mut all = Vec::new();
        for repository in repositories {
            let entry = self.inner.entry(repository);
            self.inner.loaded(&entry).await;
            let (known, refused) = entry.remembered();
            self.inner.tidy(&entry);
            if let Some(bad) = refused {
                return Err(bad.error);
            }
            let Some(known) = known else {
                return Err(TrustError::new(TrustCode::NoTrustData, format!("nothing is known of `{repository}` here")));
            };
            all.push(known.knowledge.stored());
        }
        Ok(bundle(&all))
    }

    /// Takes in a bundle: each repository is verified as if a server had answered it, on the same terms, pins, dates and
    /// rollback included. Says per repository what came of it.
    pub async fn import(&self, bundle: &[u8], now: Timestamp) -> Result<Vec<(Repository, Result<(), TrustError>)>, TrustError> {
        let damaged = || TrustError::new(TrustCode::Invalid, "the bundle is damaged, or none of ours");
        let mut done = Vec::new();
        for stored in unbundle(bundle).ok_or_else(damaged)? {
            let repository: Repository = stored.repository.parse().map_err(|_| damaged())?;
            let entry = self.inner.entry(&repository);
            let result = self.inner.take_in(&entry, &stored, now).await;
            self.inner.tidy(&entry);
            done.push((repository, result));
        }
        Ok(done)
    }
}

impl Inner {
    /// One repository of a bundle.
    async fn take_in(&self, entry: &Entry, carried: &Stored, now: Timestamp) -> Result<(), TrustError> {
        self.loaded(entry).await;
        for _ in 0..ROUNDS {
            let (known, edition, bad) = {
                let remembered = lock(&entry.now);
                let known = remembered.known.clone().map(|known| known.knowledge);
                (known, remembered.edition, remembered.refused.clone())
            };
            // What was carried from before the server's bad answer does not make that undone.
            if let Some(bad) = bad.filter(|bad| carried.seen <= bad.at) {
                return Err(bad.error);
            }
            let subject = Subject {
                repository: entry.repository.clone(),
                pins: Arc::clone(&self.pins),
                limits: self.limits,
                known: known.clone(),
            };
            let knowledge = match update(carried, &subject, now).await {
                Ok(knowledge) => knowledge.carried(carried.seen, known.as_ref().map(|known| known.seen())),
                Err(Failure::Fault(fault)) => return Err(refused(&fault, &entry.repository, known.is_some())),
                Err(Failure::Fetch(never)) => match never {},
            };
            match self.state.write(&knowledge.stored(), None, edition) {
                Ok(Written::Done(edition)) => {
                    let mut remembered = lock(&entry.now);
                    remembered.refused = None;
                    remembered.edition = Some(edition);
                    remembered.written = Some(knowledge.seen());
                    remembered.known = Some(Known { knowledge: Arc::new(knowledge), checked: None });
                    return Ok(());
                }
                Ok(Written::Moved) => self.read(entry).await,
                Err(why) => return Err(TrustError::new(TrustCode::Misconfigured, format!("it cannot be kept: {why}"))),
            }
        }
        Err(TrustError::new(TrustCode::Misconfigured, "other processes keep writing the same state"))
    }
}

/// Several repositories as one file, to be carried to a host without a server.
fn bundle(all: &[Stored]) -> Vec<u8> {
    let mut bytes = BUNDLE.to_vec();
    for stored in all {
        put(&mut bytes, &encode(stored, None).0);
    }
    bytes
}

/// Reads a bundle; `None` if any part of it is damaged. Nothing is verified yet.
fn unbundle(bytes: &[u8]) -> Option<Vec<Stored>> {
    let mut rest = bytes.strip_prefix(BUNDLE)?;
    let mut all = Vec::new();
    while !rest.is_empty() {
        all.push(decode(take(&mut rest)?)?.0);
    }
    Some(all)
}
