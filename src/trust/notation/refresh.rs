//! Lists of revoked certificates, fetched in the background (`revocation_fetch`): no decision waits for one, and a fetch that fails changes nothing.
//!
//! They are fetched from where certificates say that their issuer keeps them, and only of chains that lead to a trust store: over http or https,
//! without credentials or redirects, and from no address of this host or its link. What comes counts as a file in a folder of the state: if the
//! issuer signed it, it is current, and it takes back none that was there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::revocation::{Crl, address_of};
use crate::files::{Outlives, read_owned, read_owned_bytes, replace};
use crate::image::Digest;
use crate::net::{Bounds, Client, HeaderMap, NetError, Plain, Reach, Tls, Url};
use crate::trust::pki::Certificate;

/// Most lists that are fetched, and most servers that are asked: certificates name them.
const LISTS: usize = 32;
const SERVERS: usize = 8;
/// Longest address.
const ADDRESS_BYTES: usize = 512;
/// Largest list, and all of them, bytes.
const LIST_BYTES: u64 = 2 << 20;
/// All of them. What is kept of them beside the policy is as large.
pub const LISTS_BYTES: u64 = 4 << 20;
/// Longest time that one server gets.
const TIME: Duration = Duration::from_secs(5);
/// How often it is looked which are due.
const LOOK: Duration = Duration::from_secs(2);
/// When one is tried again that could not be had.
const RETRY: Duration = Duration::from_mins(5);
/// When one is fetched again: after half of the time that it is good for, within these.
const SOONEST: Duration = Duration::from_mins(15);
const LATEST: Duration = Duration::from_hours(24);
/// Where the addresses are kept, and how large that is at most.
const ADDRESSES: &str = "addresses.json";
const ADDRESSES_BYTES: u64 = 1 << 20;
const FILE_MODE: u32 = 0o600;

/// What is fetched, and where it is put.
#[derive(Debug)]
pub struct Refresher {
    folder: PathBuf,
    state: Mutex<BTreeMap<Key, Point>>,
}

/// An address, and the hash of its issuer's key: at one address there may be the lists of several, one after the other.
type Key = (String, Digest);

/// An address, and whose list is there.
#[derive(Debug, Clone)]
struct Point {
    url: Url,
    issuer: Certificate,
    /// When it is fetched; `None`: now.
    due: Option<Instant>,
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Written {
    address: String,
    issuer: String,
}

impl Refresher {
    /// For lists in this folder, which a start before may have filled.
    #[must_use]
    pub fn kept_in(folder: PathBuf) -> Arc<Self> {
        let written = read_owned(&folder.join(ADDRESSES), ADDRESSES_BYTES).ok();
        let written: Vec<Written> = written.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let of = |written: Written| {
            let issuer = Certificate::read(&STANDARD.decode(&written.issuer).ok()?).ok()?;
            let url = usable(&written.address)?;
            Some(((written.address, Digest::of(issuer.spki())), Point { url, issuer, due: None }))
        };
        let state = Mutex::new(written.into_iter().filter_map(of).take(LISTS).collect());
        Arc::new(Self { folder, state })
    }

    /// Where the lists are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes in where the lists are of a chain's certificates, leaf first. It leads to a trust store. Asked in decisions: it only notes.
    pub(super) fn note(&self, chain: &[Certificate]) {
        for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
            if let Some(address) = address_of(certificate) {
                self.note_address(&address, issuer);
            }
        }
    }

    pub(super) fn note_address(&self, address: &str, issuer: &Certificate) {
        let key = (address.to_owned(), Digest::of(issuer.spki()));
        let mut points = self.state();
        if points.contains_key(&key) {
            return;
        }
        let Some(url) = usable(address) else { return };
        let others: BTreeSet<_> =
            points.values().filter(|point| point.url.host() != url.host()).map(|point| point.url.host_str()).collect();
        if points.len() >= LISTS || others.len() >= SERVERS {
            tracing::debug!(address, "a CRL is not fetched: as many addresses of CRLs are known already as are looked at");
            return;
        }
        points.insert(key, Point { url, issuer: issuer.clone(), due: None });
    }

    /// All are.
    #[cfg(test)]
    pub(super) fn due_now(&self) {
        self.state().values_mut().for_each(|point| point.due = None);
    }

    /// Fetches what is due, one after the other, until the last one who goes by it is gone. `clock` tells the time.
    pub fn keep_fresh(self: &Arc<Self>, clock: fn() -> Timestamp) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::downgrade(self);
        async move {
            let client = match client() {
                Ok(client) => client,
                Err(error) => {
                    tracing::error!(%error, "no CRL can be fetched");
                    return;
                }
            };
            let client = &client;
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(refresher) = shared.upgrade() else { return };
                refresher.round(|url| async move { fetched(client, &url).await }, clock).await;
            }
        }
    }

    /// Fetches all that is due now.
    pub(super) async fn round<F>(&self, fetch: impl Fn(Url) -> F + Send, clock: fn() -> Timestamp)
    where
        F: Future<Output = Result<Vec<u8>, String>> + Send,
    {
        let is_due = |(_, point): &(&Key, &Point)| point.due.is_none_or(|due| Instant::now() >= due);
        let due: Vec<(Key, Point)> =
            self.state().iter().filter(is_due).map(|(key, point)| (key.clone(), point.clone())).collect();
        if due.is_empty() {
            return;
        }
        self.keep_addresses();
        for (key, point) in due {
            let address = point.url.as_str();
            let came = fetch(point.url.clone()).await.and_then(|bytes| self.take(&point, &bytes, clock()));
            let next = match came {
                Ok(next) => next,
                Err(why) => {
                    tracing::warn!(address, why, "a CRL could not be fetched; what was fetched before counts");
                    RETRY
                }
            };
            if let Some(point) = self.state().get_mut(&key) {
                point.due = Some(Instant::now() + next);
            }
        }
    }

    /// Puts a list in the place of the one before, if it may take it; after which time it is to be fetched again.
    fn take(&self, point: &Point, bytes: &[u8], now: Timestamp) -> Result<Duration, String> {
        let list = Crl::of_bytes(bytes)?;
        list.is_by(&point.issuer)?;
        list.is_current(now)?;
        let path = self.file_of(point);
        let before = read_owned_bytes(&path, LIST_BYTES).ok();
        if before.as_deref() != Some(bytes) {
            // What is there and cannot be read, or is another issuer's, is no reason against it.
            let known = before.and_then(|bytes| Crl::of_bytes(&bytes).ok()).filter(|known| known.is_by(&point.issuer).is_ok());
            if known.is_some_and(|known| list.is_older_than(&known)) {
                return Err("it is older than the one that is here".to_owned());
            }
            self.has_room(&path, bytes.len() as u64)?;
            self.is_there()?;
            replace(&path, bytes, FILE_MODE, Outlives::Power).map_err(|error| format!("it cannot be kept: {error}"))?;
        }
        Ok((list.lasts() / 2).clamp(SOONEST, LATEST))
    }

    /// By issuer and address: a list of the same address by another key is another.
    fn file_of(&self, point: &Point) -> PathBuf {
        let name = Digest::of(&[point.issuer.spki(), point.url.as_str().as_bytes()].concat());
        self.folder.join(format!("{}.crl", name.hex()))
    }

    fn has_room(&self, path: &Path, size: u64) -> Result<(), String> {
        let others = std::fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok);
        let others = others.filter(|entry| entry.path() != path).filter_map(|entry| entry.metadata().ok());
        let held: u64 = others.map(|found| found.len()).sum();
        if held + size > LISTS_BYTES { Err(format!("all together would have more than {LISTS_BYTES} bytes")) } else { Ok(()) }
    }

    fn is_there(&self) -> Result<(), String> {
        std::fs::create_dir_all(&self.folder).map_err(|error| format!("it cannot be kept: {error}"))
    }

    /// For the next start: what was seen then is not seen before it is asked for again.
    fn keep_addresses(&self) {
        let points = self.state();
        let of = |((address, _), point): (&Key, &Point)| Written {
            address: address.clone(),
            issuer: STANDARD.encode(point.issuer.der()),
        };
        let written: Vec<Written> = points.iter().map(of).collect();
        drop(points);
        let Ok(text) = serde_json::to_string(&written) else { return };
        let path = self.folder.join(ADDRESSES);
        if read_owned(&path, ADDRESSES_BYTES).ok().as_ref() == Some(&text) {
            return;
        }
        let kept = self.is_there().and_then(|()| {
            replace(&path, text.as_bytes(), FILE_MODE, Outlives::Process).map_err(|error| format!("it cannot be kept: {error}"))
        });
        if let Err(why) = kept {
            tracing::warn!(why, "where CRLs are is not kept for the next start");
        }
    }

    fn state(&self) -> MutexGuard<'_, BTreeMap<Key, Point>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address that may be fetched from; whether it is near, the connection finds out.
fn usable(address: &str) -> Option<Url> {
    let url: Url = (address.len() <= ADDRESS_BYTES).then(|| address.parse().ok())??;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none() && url.host().is_some();
    (is_plain && matches!(url.scheme(), "http" | "https")).then_some(url)
}

/// What asks: nobody is shown who does, and nothing is asked that is nearer than the networks around this host.
pub(super) fn client() -> Result<Client, NetError> {
    Ok(Client::new(&Tls { plain: Plain::Allowed, ..Tls::default() })?.within(Reach::Private))
}

pub(super) async fn fetched(client: &Client, url: &Url) -> Result<Vec<u8>, String> {
    let bounds = Bounds { bytes: LIST_BYTES, time: TIME };
    let answer = client.get(url, HeaderMap::new(), bounds).await.map_err(|error| error.to_string())?;
    if answer.status == 200 { Ok(answer.body) } else { Err(format!("the answer is status {}", answer.status)) }
}
