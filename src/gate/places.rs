//! Places of decisions that wait: for a verifier, for a name, for a container that a client holds. Of one container or repository a few
//! may hang, and all together leave most of dockerd's connections to calls that wait for nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::image::Digest;
use crate::request::{Intent, PluginCall, Service};

/// A decision that takes longer hangs: one whose trust data is known takes some milliseconds, and a first question to Notary some
/// hundred.
const HANGS: Duration = Duration::from_secs(1);
/// Most decisions about one container or repository that hang. More are refused at once until these are over.
const MAX_HANGING: usize = 8;
/// Most decisions about one container or repository at all: `docker compose up` with a hundred replicas.
const MAX_OF_ONE: usize = 128;

/// The places.
pub(super) struct Places {
    all: usize,
    state: Mutex<State>,
    refused: AtomicU64,
}

#[derive(Default)]
struct State {
    used: usize,
    of: HashMap<Key, Vec<Instant>>,
}

/// A place, until it is dropped.
pub(super) struct Place<'a> {
    places: &'a Places,
    key: Key,
    since: Instant,
}

/// Clients choose names, of any length; what is compared is their hash.
type Key = Digest;

impl Places {
    /// So many places, all together.
    pub(super) fn new(all: usize) -> Self {
        Self { all, state: Mutex::default(), refused: AtomicU64::new(0) }
    }

    /// A place for a decision about `what`; `None` where too many hang.
    pub(super) fn enter(&self, what: &str) -> Option<Place<'_>> {
        let (key, since) = (Digest::of(what.as_bytes()), Instant::now());
        let mut state = self.lock();
        let of_it = state.of.get(&key).map(Vec::as_slice).unwrap_or_default();
        let hanging = of_it.iter().filter(|begun| **begun + HANGS <= since).count();
        if state.used >= self.all || of_it.len() >= MAX_OF_ONE || hanging >= MAX_HANGING {
            drop(state);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        state.used += 1;
        state.of.entry(key).or_default().push(since);
        drop(state);
        Some(Place { places: self, key, since })
    }

    /// How many are taken.
    pub(super) fn used(&self) -> usize {
        self.lock().used
    }

    /// How many calls found none.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.used = state.used.saturating_sub(1);
        let Some(of_it) = state.of.get_mut(&self.key) else { return };
        if let Some(at) = of_it.iter().position(|begun| *begun == self.since) {
            of_it.swap_remove(at);
        }
        if of_it.is_empty() {
            state.of.remove(&self.key);
        }
    }
}

/// Places of questions to verifiers. Made-up names cannot take those of repositories that have vouched for something.
pub(super) struct AskingPlaces {
    known: Semaphore,
    strange: Semaphore,
    refused: AtomicU64,
}

impl AskingPlaces {
    /// Half of the places of all decisions for repositories that are known, an eighth for others.
    pub(super) fn new(all: usize) -> Self {
        Self { known: Semaphore::new((all / 2).max(1)), strange: Semaphore::new((all / 8).max(1)), refused: AtomicU64::new(0) }
    }

    /// A place; `None` where there are too many.
    pub(super) fn enter(&self, is_known: bool) -> Option<SemaphorePermit<'_>> {
        let places = if is_known { &self.known } else { &self.strange };
        let place = places.try_acquire().ok();
        self.refused.fetch_add(u64::from(place.is_none()), Ordering::Relaxed);
        place
    }

    /// How many calls found none.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// What a decision is counted by: the container as the call names it, the repository, or the kind of call.
pub(super) fn counted_by(intent: &Intent) -> String {
    match intent {
        Intent::Start(start) => format!("container {}", start.container),
        Intent::Rename { container, .. } | Intent::Remove { container } => format!("container {container}"),
        Intent::Pull(pull) => pull.repository.to_string(),
        Intent::Create(create) => create.image.as_ref().map(of_image).unwrap_or_default(),
        Intent::Service(Service::Spec { image, .. }) => image.as_ref().map(of_image).unwrap_or_default(),
        Intent::Service(Service::Rollback { service }) => format!("service {service}"),
        Intent::Plugin(PluginCall::Pull { remote, .. } | PluginCall::Upgrade { remote, .. }) => remote.repository.to_string(),
        Intent::Plugin(PluginCall::Create { .. } | PluginCall::Change { .. }) => "plugins".to_owned(),
        Intent::Read
        | Intent::Harmless
        | Intent::Build(_)
        | Intent::Ingest(_)
        | Intent::ContainerAccess(_)
        | Intent::Swarm
        | Intent::Volume { .. }
        | Intent::Network { .. }
        | Intent::NetworkPlugin { .. }
        | Intent::Unknown { .. }
        | Intent::Unreadable(_) => "others".to_owned(),
    }
}

/// What the wait of a create for its name is counted by.
pub(super) fn counted_by_name(name: &str) -> String {
    format!("name {name}")
}

fn of_image(name: &crate::image::ImageName) -> String {
    name.reference().map_or_else(|| name.to_string(), |reference| reference.repository.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_hangs_leaves_places_to_others() {
        let places = Places::new(512);
        let hanging: Vec<_> = std::iter::from_fn(|| places.enter("evil")).collect();
        assert_eq!(hanging.len(), MAX_OF_ONE);
        drop(places.enter("good").unwrap());
        drop(hanging);
        // Those that came later find that these hang.
        let hanging: Vec<_> = (0..MAX_HANGING).map(|_| places.enter("evil").unwrap()).collect();
        let quick = places.enter("good").unwrap();
        tokio::time::advance(HANGS).await;
        assert!(places.enter("evil").is_none());
        drop(places.enter("good").unwrap());
        drop((hanging, quick));
        drop(places.enter("evil").unwrap());
        assert_eq!((places.used(), places.refused()), (0, 2));
        assert!(places.lock().of.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn all_together_are_bounded() {
        let places = Places::new(64);
        let held: Vec<_> = (0..64).map(|number| places.enter(&number.to_string()).unwrap()).collect();
        assert!(places.enter("one-more").is_none());
        drop(held);
        assert!(places.enter("one-more").is_some());
    }
}
