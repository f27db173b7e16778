//! Names to addresses, on threads that do nothing else: a zone that does not answer holds a lookup for half a minute, and must not
//! hold what else waits for a thread.

use std::cell::Cell;
use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

/// Lookups at once, each a thread for as long as it takes: of names that were found before, and as many of others. Names that a
/// client makes up do not take the places of those that are in use.
const LOOKUPS: usize = 16;
/// Longest wait for a place; less than what a connection gets, so that it ends as what it is.
const WAIT: Duration = Duration::from_secs(1);
/// Most names remembered as found. Beyond it all are strange again, until they are found.
const FOUND: usize = 1024;

/// The one for this process; and the one for what must not take places from it.
static SYSTEM: LazyLock<Names> = LazyLock::new(by_the_library);
static APART: LazyLock<Names> = LazyLock::new(by_the_library);

thread_local! {
    static IS_APART: Cell<bool> = const { Cell::new(false) };
}

/// From now on clients that are made on this thread look names up in places apart from those of all others.
pub fn look_up_apart() {
    IS_APART.set(true);
}

fn by_the_library() -> Names {
    Names::new(|name| (name, 0).to_socket_addrs().map(Iterator::collect))
}

type Look = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Looks names up.
#[derive(Clone)]
pub struct Names {
    look: Arc<Look>,
    found: Arc<Mutex<HashSet<Box<str>>>>,
    known: Arc<Semaphore>,
    strange: Arc<Semaphore>,
}

/// All threads for lookups are taken: that says nothing about the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many lookups of names are under way")]
pub struct Crowded;

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    /// Looked up by `look`, which may take its time.
    pub fn new(look: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        let places = || Arc::new(Semaphore::new(LOOKUPS));
        Self { look: Arc::new(look), found: Arc::default(), known: places(), strange: places() }
    }

    /// By the C library, as `/etc/nsswitch.conf` and `/etc/resolv.conf` say. All share the same threads,
    /// but for what is [apart](look_up_apart).
    #[must_use]
    pub fn system() -> Self {
        if IS_APART.get() { APART.clone() } else { SYSTEM.clone() }
    }

    /// The addresses of a name, their ports 0. An error that wraps [`Crowded`] says nothing about the name. Who gives up leaves the
    /// lookup to come to its own end.
    pub async fn addresses(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let places = if self.found().contains(name) { &self.known } else { &self.strange };
        let place = tokio::time::timeout(WAIT, Arc::clone(places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(io::Error::other(Crowded)) };
        let (sender, receiver) = oneshot::channel();
        let (names, owned) = (self.clone(), name.to_owned());
        std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
            let answer = (names.look)(&owned);
            if answer.is_ok() {
                names.remember(&owned);
            }
            drop(place);
            let _ = sender.send(answer);
        })?;
        receiver.await.map_err(io::Error::other)?
    }

    fn remember(&self, name: &str) {
        let mut found = self.found();
        if found.len() >= FOUND {
            found.clear();
        }
        found.insert(name.into());
    }

    fn found(&self) -> std::sync::MutexGuard<'_, HashSet<Box<str>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_zone_that_hangs_takes_no_thread_of_others_and_no_place_of_what_was_found() {
        let hangs = Arc::new(AtomicBool::new(true));
        let shared = Arc::clone(&hangs);
        let names = Names::new(move |name| {
            while name.rsplit('.').next() == Some("dead") && shared.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(vec![SocketAddr::from(([10, 0, 0, 1], 0))])
        });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).max_blocking_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            assert_eq!(names.addresses("notary.test").await.unwrap().len(), 1);
            let mut hanging = tokio::task::JoinSet::new();
            for index in 0..LOOKUPS {
                let names = names.clone();
                hanging.spawn(async move { names.addresses(&format!("{index}.dead")).await });
            }
            while names.strange.available_permits() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let soon = async |future| tokio::time::timeout(Duration::from_secs(5), future).await.unwrap();
            let crowded = soon(names.addresses("other.test")).await.unwrap_err();
            assert_eq!(crowded.get_ref().and_then(|error| error.downcast_ref()), Some(&Crowded));
            // What is in use goes on, and what else needs a thread.
            assert!(soon(names.addresses("notary.test")).await.is_ok());
            tokio::time::timeout(Duration::from_secs(5), tokio::task::spawn_blocking(|| ())).await.unwrap().unwrap();
            // Who gives up frees no place: the thread is still there.
            hanging.abort_all();
            while hanging.join_next().await.is_some() {}
            assert_eq!(names.strange.available_permits(), 0);
            hangs.store(false, Ordering::Relaxed);
            assert!(soon(names.addresses("other.test")).await.is_ok());
        });
    }
}
