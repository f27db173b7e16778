//! Registries in memory, for tests of whoever asks them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{Api, Listing, Manifest, Mirrors, RegistryError, Reply, Wanted};
use crate::image::{Digest, Host, Repository, Tag};
use crate::net;

/// Registries in memory.
#[derive(Debug, Default)]
pub struct Fake {
    state: Mutex<State>,
    mirrors: Mirrors,
}

#[derive(Debug, Default)]
struct State {
    manifests: HashMap<(Repository, Wanted), (Manifest, Vec<u8>)>,
    blobs: HashMap<(Repository, Digest), Vec<u8>>,
    /// By what they point at; a registry with none in it keeps no such lists.
    referrers: HashMap<(Repository, Digest), Listing>,
    /// Who asks takes it that none are kept.
    is_listless: bool,
    outage: Option<RegistryError>,
    /// Ends of calls about one repository.
    faults: HashMap<Repository, RegistryError>,
    /// Ends of single calls, as [`Fake::calls`] writes them.
    failing: HashMap<String, RegistryError>,
    greeted: usize,
    calls: Vec<String>,
}

impl Fake {
    /// Registries with nothing in them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Pushes the bytes of a manifest, under its digest and, where given, a tag. Gives its digest.
    pub fn push(&self, repository: &Repository, tag: Option<&Tag>, body: &[u8]) -> Result<Digest, RegistryError> {
        let manifest = (Manifest::read(body, None)?, body.to_owned());
        let digest = *manifest.0.digest();
        let mut state = self.lock();
        if let Some(tag) = tag {
            state.manifests.insert((repository.clone(), Wanted::Tag(tag.clone())), manifest.clone());
        }
        state.manifests.insert((repository.clone(), Wanted::Digest(digest)), manifest);
        Ok(digest)
    }

    /// Puts a blob there. Gives its digest.
    pub fn push_blob(&self, repository: &Repository, body: &[u8]) -> Digest {
        let digest = Digest::of(body);
        self.lock().blobs.insert((repository.clone(), digest), body.to_owned());
        digest
    }

    /// Lists, in this registry, what the bytes of an index name as pointing at the digest.
    pub fn list(&self, repository: &Repository, digest: Digest, index: &[u8]) -> Result<(), RegistryError> {
        let mut listing = Listing::default();
        listing.add(&Manifest::read(index, None)?);
        self.lock().referrers.insert((repository.clone(), digest), listing);
        Ok(())
    }

    /// A later page of the list of what points at this digest cannot be read.
    pub fn miss(&self, repository: &Repository, digest: Digest, error: RegistryError) {
        self.lock().referrers.entry((repository.clone(), digest)).or_default().missed = Some(error);
    }

    /// From now on it is taken that no lists are kept of what points at a digest, whatever is true.
    pub fn seems_to_keep_no_lists(&self) {
        self.lock().is_listless = true;
    }

    /// From now on this one call ends like this.
    pub fn fail_call(&self, call: &str, error: RegistryError) {
        self.lock().failing.insert(call.to_owned(), error);
    }

    /// Takes everything out of the registries.
    pub fn clear(&self) {
        self.lock().manifests.clear();
    }

    /// From now on every call ends like this; `None` ends the outage.
    pub fn fail_with(&self, error: Option<RegistryError>) {
        self.lock().outage = error;
    }

    /// From now on every call about this repository ends like this; the registry itself is there.
    pub fn fail_one(&self, repository: &Repository, error: RegistryError) {
        self.lock().faults.insert(repository.clone(), error);
    }

    /// How often it was asked whether a registry is gone.
    #[must_use]
    pub fn greeted(&self) -> usize {
        self.lock().greeted
    }

    /// The calls so far, as references.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How the last call ends, where it does not end well.
    fn fault(&self, repository: &Repository) -> Option<RegistryError> {
        let of_call = || self.calls.last().and_then(|call| self.failing.get(call));
        self.outage.as_ref().or_else(|| self.faults.get(repository)).or_else(of_call).cloned()
    }
}

impl Api for Fake {
    fn manifest<'a>(&'a self, repository: &'a Repository, wanted: &'a Wanted, deadline: Instant) -> Reply<'a, Manifest> {
        Box::pin(async move { Ok(self.written(repository, wanted, deadline).await?.0) })
    }

    fn written<'a>(&'a self, repository: &'a Repository, wanted: &'a Wanted, _: Instant) -> Reply<'a, (Manifest, Vec<u8>)> {
        Box::pin(async move {
            // A turn for the others, as a network would give: what asks twice at once is seen to do so.
            tokio::task::yield_now().await;
            let mut state = self.lock();
            let what = wanted.in_repository(repository);
            state.calls.push(what.clone());
            match state.fault(repository) {
                Some(error) => Err(error),
                None => state
                    .manifests
                    .get(&(repository.clone(), wanted.clone()))
                    .cloned()
                    .ok_or_else(|| RegistryError::NotFound { host: repository.host_str().to_owned(), what }),
            }
        })
    }

    fn blob<'a>(&'a self, repository: &'a Repository, digest: Digest, _: u64, _: Instant) -> Reply<'a, Vec<u8>> {
        Box::pin(async move {
            let mut state = self.lock();
            let what = format!("{repository}@{digest}");
            state.calls.push(format!("blob {what}"));
            match state.fault(repository) {
                Some(error) => Err(error),
                None => state
                    .blobs
                    .get(&(repository.clone(), digest))
                    .cloned()
                    .ok_or_else(|| RegistryError::NotFound { host: repository.host_str().to_owned(), what }),
            }
        })
    }

    fn referrers<'a>(&'a self, repository: &'a Repository, digest: Digest, _: Instant) -> Reply<'a, Option<Listing>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut state = self.lock();
            state.calls.push(format!("referrers {repository}@{digest}"));
            match state.fault(repository) {
                Some(error) => Err(error),
                None if state.referrers.is_empty() => Ok(None),
                None => Ok(Some(state.referrers.get(&(repository.clone(), digest)).cloned().unwrap_or_default())),
            }
        })
    }

    fn may_list(&self, _: &Repository) -> bool {
        !self.lock().is_listless
    }

    fn mirrors(&self) -> Option<&Mirrors> {
        Some(&self.mirrors)
    }

    fn is_gone<'a>(&'a self, _: &'a Host, _: Instant) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move {
            let mut state = self.lock();
            state.greeted += 1;
            match &state.outage {
                Some(RegistryError::Net(error)) => net::is_gone(&Err(error.clone())),
                Some(RegistryError::Status { status, .. }) => *status >= 500,
                Some(_) | None => false,
            }
        })
    }
}
