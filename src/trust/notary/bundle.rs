//! The air gap: verified trust data as one file, carried to a host without a server, taken in there, and used there (ADR 8).
//!
//! A bundle proves nothing by itself: it is verified like an answer of the server, and against what this host has seen before.
//! Its checksums tell damage, not forgery.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::budget::Share;
use super::error::{Busy, NotaryError, State};
use super::format::{Bad, decode, encode, put, take};
use super::memory::{Entry, Known, OnDisk, Outcome};
use super::outage::Miss;
use super::server::{FetchError, Server};
use super::state::{FILE_BYTES, REPOSITORIES, Read, Written};
use super::{Inner, Notary, ROUNDS, lock};
use crate::image::Repository;
use crate::net::NetError;
use crate::trust::tuf::{Failure, FaultKind, Fetch, Stored, Subject, roots_before, update};
use crate::trust::{TrustCode, TrustError};

/// First bytes of a bundle.
const BUNDLE: &[u8] = b"img-authz trust bundle 1\n";
/// Earlier roots are fetched one by one; so many times what one answer gets is enough for all of a repository.
const CHAIN_TIMES: u32 = 3;

/// Whether a bundle carries the roots before the one in use: a host that knows but an old one needs them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootHistory {
    /// Fetched from the server.
    Fetched,
    /// Left out: nobody is asked.
    Left,
}

/// What a bundle means for trust data that a server took back: deleted, begun anew, or set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// Nothing. Trust data has no time of signing: whether it is from before or after, no bundle can show.
    Stays,
    /// It is over, on a person's word.
    Undone,
}

/// What a bundle holds of one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The repository.
    pub repository: Repository,
    /// Version of its root.
    pub root: u64,
    /// The oldest root that is carried: a host that knows this one, or a later one, can follow.
    pub oldest_root: u64,
    /// When the first of the files expires: no host uses them longer.
    pub expires: Timestamp,
}

impl Notary {
    /// What is kept of these repositories as one file, for [`Notary::import`] elsewhere. Only what verifies is exported.
    pub async fn export(
        &self,
        repositories: &[Repository],
        earlier: RootHistory,
    ) -> Result<(Vec<u8>, Vec<Exported>), TrustError> {
        let (mut all, mut done) = (Vec::new(), Vec::new());
        for repository in repositories {
            let entry = self.inner.memory.entry(repository);
            self.inner.looked_up(&entry, &self.inner.share(true, self.inner.network_time)).await?;
            let (known, refused) = entry.remembered();
            self.inner.memory.tidy(&entry);
            if let Some(bad) = refused {
                return Err(bad.error);
            }
            let Some(known) = known else {
                return Err(NotaryError::NothingKnown { repository: repository.clone() }.into());
            };
            let knowledge = known.knowledge;
            // For the host that takes it in its age counts; a clock that was ahead here is not its own.
            let seen = known.since.min(knowledge.seen());
            let kept = match self.inner.state.read(repository.as_str()) {
                Read::Kept(kept, ..) => kept.files,
                Read::Nothing | Read::Damaged(_) | Read::Failed(_) => BTreeMap::new(),
            };
            let Some(stored) = knowledge.stored().whole(&kept) else {
                return Err(NotaryError::Busy(Busy::Writing(repository.clone())).into());
            };
            drop(kept);
            let mut stored = Stored { seen, checked: seen, ..stored };
            let root = knowledge.root_version();
            let mut oldest_root = root;
            if let (Some(session), RootHistory::Fetched) = (&self.inner.session, earlier) {
                let (begun, time) = (Instant::now(), self.inner.network_time * CHAIN_TIMES);
                let share = self.inner.share(true, time);
                let server = Earliest(self.inner.server(session, repository, share, begun, begun + time));
                let roots = roots_before(&server, &knowledge, self.inner.limits).await;
                let roots = match roots {
                    Ok(roots) => roots,
                    Err(error) => match self.inner.reach.missed(session, error, seen).await {
                        Miss::NoAnswer(error) | Miss::Refused(error) | Miss::Pinned(error) | Miss::Unsure(error) => {
                            return Err(error);
                        }
                    },
                };
                oldest_root = roots.keys().next().copied().unwrap_or(root);
                stored.files.extend(roots.into_iter().map(|(version, raw)| (format!("{version}.root"), raw)));
            }
            all.push(stored);
            done.push(Exported { repository: repository.clone(), root, oldest_root, expires: knowledge.expires() });
        }
        Ok((bundle(&all), done))
    }

    /// Takes in a bundle: each repository is verified as if a server had answered it, on the same terms, pins, dates and
    /// rollback included. Says per repository what came of it.
    pub async fn import(
        &self,
        bundle: &[u8],
        withdrawal: Withdrawal,
        now: Timestamp,
    ) -> Result<Vec<(Repository, Result<(), TrustError>)>, TrustError> {
        let parts = unbundle(bundle).ok_or(NotaryError::BundleDamaged)?;
        if parts.len() > REPOSITORIES {
            return Err(NotaryError::BundleTooLarge { most: REPOSITORIES }.into());
        }
        let mut done = Vec::new();
        for (repository, part) in parts {
            let (stored, ..) = decode(part).ok_or(NotaryError::BundleDamaged)?;
            let entry = self.inner.memory.entry(&repository);
            let result = self.inner.take_in(&entry, &stored, withdrawal, now).await;
            self.inner.memory.tidy(&entry);
            done.push((repository, result));
        }
        Ok(done)
    }
}

impl Inner {
    /// The disk in place of a server: what was imported since the last look, if anything.
    pub(super) async fn look(&self, entry: &Entry, share: &Share, now: Timestamp) -> Outcome {
        let started = Instant::now();
        self.read(entry, share).await.map_err(Miss::Unsure)?;
        let (known, refused) = entry.remembered();
        if let Some(bad) = refused {
            return Err(Miss::Refused(bad.error));
        }
        let Some(known) = known else {
            return Err(Miss::Refused(NotaryError::NotImported { repository: entry.repository.clone() }.into()));
        };
        let proven = self.proven(entry, known, now).map_err(|fault| {
            let miss = if fault.kind == FaultKind::Root { Miss::Pinned } else { Miss::Refused };
            miss(NotaryError::of(fault, &entry.repository, true).imported().into())
        })?;
        let known = Known { checked: Some((started, now)), ..proven };
        lock(&entry.now).known = Some(known.clone());
        Ok(known)
    }

    /// One repository of a bundle.
    async fn take_in(&self, entry: &Entry, carried: &Stored, withdrawal: Withdrawal, now: Timestamp) -> Result<(), TrustError> {
        let share = self.share(true, self.network_time);
        self.looked_up(entry, &share).await?;
        for _ in 0..ROUNDS {
            let (known, base, bad) = {
                let remembered = lock(&entry.now);
                (remembered.knowledge(), remembered.base, remembered.refused.clone())
            };
            match &bad {
                Some(Bad { error, at }) if takes_back(error.code) => {
                    if withdrawal == Withdrawal::Stays {
                        let (repository, why) = (entry.repository.clone(), Box::new(error.clone()));
                        return Err(NotaryError::TakenBack { repository, at: *at, why }.into());
                    }
                }
                Some(_) | None => {}
            }
            let subject = Subject {
                repository: entry.repository.clone(),
                pins: Arc::clone(&self.pins),
                limits: self.limits,
                known: known.clone(),
            };
            let knowledge = match update(carried, &subject, now).await {
                Ok(knowledge) => knowledge.carried(carried.seen, known.as_ref().map(|known| known.seen())),
                Err(Failure::Fault(fault)) if fault.kind == FaultKind::Missing => {
                    return Err(NotaryError::NotInBundle { repository: entry.repository.clone(), role: fault.role }.into());
                }
                Err(Failure::Fault(fault)) => return Err(NotaryError::of(fault, &entry.repository, known.is_some()).into()),
                Err(Failure::Fetch(never)) => match never {},
            };
            // When it was carried nobody signed: only a newer timestamp shows that the server has answered better since.
            let is_newer = known.as_ref().is_none_or(|known| knowledge.timestamp_version() > known.timestamp_version());
            if let Some(bad) = bad.filter(|_| withdrawal == Withdrawal::Stays && !is_newer) {
                return Err(bad.error);
            }
            if known.is_none() {
                self.first_use(&entry.repository, &knowledge);
            }
            match self.state.write(knowledge.stored(), None, base) {
                Ok(Written::Done(edition)) => {
                    let since = knowledge.seen();
                    let known = self.known(entry, knowledge.kept(), None, since);
                    let mut remembered = lock(&entry.now);
                    remembered.refused = None;
                    remembered.on_disk = OnDisk::All;
                    remembered.base.edition = Some(edition);
                    remembered.written = Some(known.since);
                    remembered.known = Some(known);
                    return Ok(());
                }
                Ok(Written::Moved) => self.read(entry, &share).await?,
                Ok(Written::Lost | Written::Noted(_)) => lock(&entry.now).on_disk = OnDisk::Lost,
                Err(why) => return Err(NotaryError::State(State::Unwritable(why)).into()),
            }
        }
        Err(NotaryError::State(State::Contended).into())
    }
}

/// Whether a server's bad answer may be what a publisher wanted: trust data deleted, or begun anew. Others are the server's own.
const fn takes_back(code: TrustCode) -> bool {
    !matches!(code, TrustCode::Invalid | TrustCode::Expired)
}

/// A server, asked for earlier roots: one that is too large ends the chain as one that is missing does.
#[derive(Debug, Clone)]
struct Earliest(Server);

impl Fetch for Earliest {
    type Error = FetchError;
    const PARALLEL: bool = false;

    async fn fetch(&self, name: String, most: u64) -> Result<Option<Vec<u8>>, FetchError> {
        match self.0.fetch(name, most).await {
            Err(FetchError::Net(NetError::TooLarge { .. })) => Ok(None),
            done => done,
        }
    }
}

/// Several repositories as one file.
fn bundle(all: &[Stored]) -> Vec<u8> {
    let mut bytes = BUNDLE.to_vec();
    for stored in all {
        put(&mut bytes, &encode(stored, None).0);
    }
    bytes
}

/// Takes a bundle apart; `None` if any part of it is damaged, or larger than what is kept of a repository. Nothing is verified yet.
/// Parts are read again when they are taken in, so that a large bundle is not in memory twice.
fn unbundle(bytes: &[u8]) -> Option<Vec<(Repository, &[u8])>> {
    let mut rest = bytes.strip_prefix(BUNDLE)?;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let part = take(&mut rest).filter(|part| part.len() as u64 <= FILE_BYTES)?;
        parts.push((decode(part)?.0.repository.parse().ok()?, part));
    }
    Some(parts)
}
