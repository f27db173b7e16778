//! Lists of revoked certificates, fetched in the background (`revocation_fetch`): no decision waits for one, and a fetch that fails changes nothing.
//!
//! They are fetched from where certificates say that their issuer keeps them, and only of chains that lead to a trust store: over http or https,
//! without credentials or redirects, and from no address of this host or its link. What comes counts as a file in a folder of the state: if the
//! issuer signed it, it is current, and it takes back none that was there.

use crate::order::{Ordered as _, sort_by_key};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::revocation::{Crl, Edition, addresses_of};
use crate::files::{Outlives, read_owned, read_owned_bytes, replace};
use crate::image::Digest;
use crate::net::{Bounds, Client, HeaderMap, NetError, Plain, Reach, Tls, Url};
use crate::trust::pki::Certificate;

/// Most lists that are fetched, and most servers that are asked: certificates name them.
const LISTS: usize = 32;
const SERVERS: usize = 8;
/// Longest address.
const ADDRESS_BYTES: usize = 512;
/// Most authorities above one certificate that are remembered.
const ABOVE: usize = 32;
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
/// When one is fetched again: after half of the time that it is still good for, within these. Who is on the way may answer with the list that was
/// there before: so much later a new one is seen.
const SOONEST: Duration = Duration::from_mins(1);
const LATEST: Duration = Duration::from_hours(4);
/// The same where the next one could be there already, and was not.
const AWAITED: Duration = Duration::from_mins(15);
/// An address that no signature has named for so long makes place for others.
const UNUSED: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Where the addresses are kept, and how large that is at most.
const ADDRESSES: &str = "addresses.json";
const ADDRESSES_BYTES: u64 = 4 << 20;
const DAY: i64 = 24 * 60 * 60;
const FILE_MODE: u32 = 0o600;

/// What is fetched, and where it is put.
#[derive(Debug)]
pub struct Refresher {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    points: BTreeMap<Key, Point>,
    /// What the trust stores hold, by hash; `None`: they were not read yet.
    trusted: Option<BTreeSet<Digest>>,
    /// Files of what is fetched no more.
    left: Vec<PathBuf>,
    /// Whether it was told that one has no place.
    is_full: bool,
}

/// An address, and the hash of its issuer's certificate: at one address there may be the lists of several, one after the other.
type Key = (String, Digest);

/// An address, and whose list is there.
#[derive(Debug, Clone)]
struct Point {
    url: Url,
    issuer: Certificate,
    /// The authorities of the chains that it was named in, by hash: one of them lies in a trust store.
    above: BTreeSet<Digest>,
    /// When a signature named it last.
    noted: Timestamp,
    /// The newest list that ever came, also where its file is damaged or gone.
    newest: Option<Edition>,
    /// When it is fetched; `None`: now.
    due: Option<Instant>,
    has_failed: bool,
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Written {
    address: String,
    issuer: String,
    above: Vec<String>,
    noted: Timestamp,
    newest: Option<Edition>,
}

impl Refresher {
    /// For lists in this folder, which a start before may have filled.
    #[must_use]
    pub fn kept_in(folder: PathBuf) -> Arc<Self> {
        let written = read_owned(&folder.join(ADDRESSES), ADDRESSES_BYTES).ok();
        let written: Vec<Written> = written.and_then(|text| serde_json::from_slice(text.as_bytes()).ok()).unwrap_or_default();
        let of = |written: Written| {
            let issuer = Certificate::read(&STANDARD.decode(&written.issuer).ok()?).ok()?;
            let url = usable(&written.address)?;
            let above = written.above.iter().take(ABOVE).filter_map(|digest| digest.parse::<Digest>().ok()).ordered();
            let key = (url.as_str().to_owned(), Digest::of(issuer.der()));
            let Written { noted, newest, .. } = written;
            Some((key, Point { url, issuer, above, noted, newest, due: None, has_failed: false }))
        };
        let points = written.into_iter().filter_map(of).take(LISTS).ordered();
        Arc::new(Self { folder, state: Mutex::new(State { points, ..State::default() }) })
    }

    /// Where the lists are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// From now on these certificates lie in trust stores, by hash: addresses of chains that lead to none of them are forgotten, with their lists.
    pub fn trusts(&self, held: BTreeSet<Digest>) {
        self.state().trusted = Some(held);
    }

    /// Takes in where the lists are of a chain's certificates, leaf first. It leads to a trust store, and who has signed counts. Asked in
    /// decisions: it only notes.
    pub(super) fn note(&self, chain: &[Certificate], now: Timestamp) {
        let above: BTreeSet<Digest> = chain.iter().skip(1).map(|certificate| Digest::of(certificate.der())).ordered();
        for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
            if let Some(url) = addresses_of(certificate).into_iter().find_map(usable) {
                self.note_url(url, issuer, &above, now);
            }
        }
    }

    fn note_url(&self, url: Url, issuer: &Certificate, above: &BTreeSet<Digest>, now: Timestamp) {
        let key = (url.as_str().to_owned(), Digest::of(issuer.der()));
        let mut state = self.state();
        if let Some(known) = state.points.get_mut(&key) {
            known.noted = known.noted.max(now);
            if known.above.len() < ABOVE {
                known.above.extend(above);
            }
            return;
        }
        if !self.makes_place(&mut state, &url, now) {
            if !std::mem::replace(&mut state.is_full, true) {
                tracing::warn!(
                    address = url.as_str(),
                    "a CRL is not fetched: {LISTS} lists on {SERVERS} servers are fetched, and no more; others are not told"
                );
            }
            return;
        }
        let (issuer, above) = (issuer.clone(), above.clone());
        state.points.insert(key, Point { url, issuer, above, noted: now, newest: None, due: None, has_failed: false });
    }

    /// Whether there is place for this address, once those have gone that never gave a list, or that nobody has named for long.
    fn makes_place(&self, state: &mut State, url: &Url, now: Timestamp) -> bool {
        let mut kept = state.points.clone();
        while kept.len() >= LISTS || servers_beside(&kept, url) >= SERVERS {
            let is_unused = |point: &Point| now.duration_since(point.noted) > UNUSED;
            let may_go = |(_, point): &(&Key, &Point)| point.newest.is_none() || is_unused(point);
            let first = kept.iter().filter(may_go).min_by_key(|(_, point)| (point.newest.is_some(), point.noted));
            let Some(first) = first.map(|(key, _)| key.clone()) else { return false };
            kept.remove(&first);
        }
        let left = state.points.iter().filter(|(key, _)| !kept.contains_key(key)).map(|(_, point)| self.file_of(point));
        let left: Vec<PathBuf> = left.collect();
        state.left.extend(left);
        state.points = kept;
        true
    }

    /// All are.
    #[cfg(test)]
    pub(super) fn due_now(&self) {
        self.state().points.values_mut().for_each(|point| point.due = None);
    }

    /// After which time the first one is fetched again.
    #[cfg(test)]
    pub(super) fn next(&self) -> Option<Duration> {
        self.state().points.values().filter_map(|point| point.due).min().map(|due| due - Instant::now())
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

    /// Forgets what no trust store leads to any more, and fetches all that is due now: what failed the last time comes last.
    pub(super) async fn round<F>(&self, fetch: impl Fn(Url) -> F + Send, clock: fn() -> Timestamp)
    where
        F: Future<Output = Result<Vec<u8>, String>> + Send,
    {
        let has_changed = self.tidied();
        let is_due = |(_, point): &(&Key, &Point)| point.due.is_none_or(|due| Instant::now() >= due);
        let mut due: Vec<(Key, Point)> =
            self.state().points.iter().filter(is_due).map(|(key, point)| (key.clone(), point.clone())).collect();
        if has_changed || !due.is_empty() {
            self.keep_addresses();
        }
        if due.is_empty() {
            return;
        }
        sort_by_key(&mut due, |(_, point)| point.has_failed);
        for (key, point) in due {
            let address = point.url.as_str();
            let came = fetch(point.url.clone()).await.and_then(|bytes| self.take(&point, &bytes, clock()));
            let (next, edition) = match came {
                Ok((next, edition)) => (next, Some(edition)),
                Err(why) => {
                    tracing::warn!(address, why, "a CRL could not be fetched; what was fetched before counts");
                    (RETRY, None)
                }
            };
            if let Some(point) = self.state().points.get_mut(&key) {
                point.due = Some(Instant::now() + next);
                point.has_failed = edition.is_none();
                point.newest = edition.or_else(|| point.newest.take());
            }
        }
        self.keep_addresses();
    }

    /// Removes what is not to be fetched any more; whether there was any. Done by whoever fetches, for the files are of who serves.
    fn tidied(&self) -> bool {
        let mut state = self.state();
        let State { points, trusted, left, .. } = &mut *state;
        if let Some(trusted) = trusted {
            points.retain(|_, point| {
                let is_trusted = !point.above.is_disjoint(trusted);
                if !is_trusted {
                    left.push(self.file_of(point));
                }
                is_trusted
            });
        }
        let gone = std::mem::take(left);
        drop(state);
        for path in &gone {
            if let Err(error) = std::fs::remove_file(path)
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a CRL that is fetched no more cannot be removed");
            }
        }
        !gone.is_empty()
    }

    /// Puts a list in the place of the one before, if it may take it; after which time it is to be fetched again, and which one it is.
    fn take(&self, point: &Point, bytes: &[u8], now: Timestamp) -> Result<(Duration, Edition), String> {
        let older = || Err("it is older than the one that is here".to_owned());
        let (list, der) = Crl::of_bytes(bytes)?;
        list.is_by(&point.issuer)?;
        list.is_current(now)?;
        let edition = list.edition();
        if point.newest.as_ref().is_some_and(|newest| edition.is_before(newest)) {
            return older();
        }
        let path = self.file_of(point);
        let before = match read_owned_bytes(&path, LIST_BYTES) {
            Ok(before) => Some(before),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // It may be the newer one: who can keep it from being read must not put another in its place.
            Err(error) => return Err(format!("what is here cannot be read: {error}")),
        };
        let is_same = before.as_ref() == Some(&der);
        if !is_same {
            // One that is damaged, or is another issuer's, is no reason against it: which was the newest is known besides.
            let known = before.and_then(|bytes| Crl::of_bytes(&bytes).ok()).map(|(known, _)| known);
            let known = known.filter(|known| known.is_by(&point.issuer).is_ok());
            if known.is_some_and(|known| edition.is_before(&known.edition())) {
                return older();
            }
            self.has_room(&path, der.len() as u64)?;
            self.is_there()?;
            // What was judged, and not what came: whoever reads it must find the same.
            replace(&path, &der, FILE_MODE, Outlives::Power).map_err(|error| format!("it cannot be kept: {error}"))?;
        }
        let (left, lasts) = list.lasts(now);
        let latest = if is_same && left < lasts / 2 { AWAITED } else { LATEST };
        Ok(((left / 2).clamp(SOONEST, latest), edition))
    }

    /// By issuer and address: a list of the same address by another is another.
    fn file_of(&self, point: &Point) -> PathBuf {
        let name = Digest::of(&[point.issuer.der(), point.url.as_str().as_bytes()].concat());
        self.folder.join(format!("{}.crl", name.hex()))
    }

    fn has_room(&self, path: &Path, size: u64) -> Result<(), String> {
        let others = std::fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok);
        let others = others.filter(|entry| entry.path() != path && entry.file_name() != ADDRESSES);
        let held: u64 = others.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum();
        if held + size > LISTS_BYTES { Err(format!("all together would have more than {LISTS_BYTES} bytes")) } else { Ok(()) }
    }

    fn is_there(&self) -> Result<(), String> {
        std::fs::create_dir_all(&self.folder).map_err(|error| format!("it cannot be kept: {error}"))
    }

    /// For the next start: what was seen then is not seen before it is asked for again.
    fn keep_addresses(&self) {
        let state = self.state();
        let of = |point: &Point| Written {
            address: point.url.as_str().to_owned(),
            issuer: STANDARD.encode(point.issuer.der()),
            above: point.above.iter().map(ToString::to_string).collect(),
            // By the day: who reads this folder anew need not do so for every signature.
            noted: day_of(point.noted),
            newest: point.newest.clone(),
        };
        let written: Vec<Written> = state.points.values().map(of).collect();
        drop(state);
        let Ok(text) = serde_json::to_string(&written) else { return };
        let path = self.folder.join(ADDRESSES);
        if read_owned(&path, ADDRESSES_BYTES).ok().as_ref() == Some(&text) {
            return;
        }
        let kept = self.is_there().and_then(|()| {
            replace(&path, text.as_bytes(), FILE_MODE, Outlives::Power).map_err(|error| format!("it cannot be kept: {error}"))
        });
        if let Err(why) = kept {
            tracing::warn!(why, "where CRLs are is not kept for the next start");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn day_of(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(DAY)).unwrap_or(at)
}

/// How many servers are asked but this one.
fn servers_beside(points: &BTreeMap<Key, Point>, url: &Url) -> usize {
    let others = points.values().filter(|point| point.url.host() != url.host()).map(|point| point.url.host_str());
    others.ordered::<BTreeSet<_>>().len()
}

/// An address that may be fetched from; whether it is near, the connection finds out.
fn usable(address: &str) -> Option<Url> {
    let url: Url = (address.len() <= ADDRESS_BYTES).then(|| address.parse().ok())??;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none() && url.host().is_some();
    // The ports of web servers alone: what else listens somewhere is not to be spoken to.
    let is_web = matches!(url.scheme(), "http" | "https") && matches!(url.port_or_known_default(), Some(80 | 443));
    (is_plain && is_web).then_some(url)
}

/// What asks: nobody is shown who does, and nothing is asked that is nearer than the networks around this host.
pub(super) fn client() -> Result<Client, NetError> {
    Ok(Client::new(&Tls { plain: Plain::Allowed, ..Tls::default() })?.within(Reach::Private).looking_up())
}

pub(super) async fn fetched(client: &Client, url: &Url) -> Result<Vec<u8>, String> {
    let bounds = Bounds { bytes: LIST_BYTES, time: TIME };
    let answer = client.get(url, HeaderMap::new(), bounds).await.map_err(|error| error.to_string())?;
    if answer.status == 200 { Ok(answer.body) } else { Err(format!("the answer is status {}", answer.status)) }
}
