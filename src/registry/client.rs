//! Registries over HTTPS, each with the CA and the credentials that docker would use.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::attached::next_page;
use super::manifest::MEDIA_TYPES;
use super::{Api, Listing, Manifest, Mirrors, RegistryError, Reply, Wanted};
use crate::files::Texts;
use crate::image::{Digest, Host, Repository};
use crate::net::auth::{Asker, DockerConfig, Session};
use crate::net::{
    self, Bounds, Client, HeaderMap, HeaderValue, HttpAnswer, Identity, NetError, Plain, Roots, Tls, certificate_files,
};

/// Where Docker Hub's registry is; its references say `docker.io`.
const DOCKER_HUB: &str = "registry-1.docker.io";
/// Largest manifest read, bytes; what registries accept at most. Stops a registry from filling memory.
pub(super) const MANIFEST_BYTES: u64 = 4 << 20;
/// Manifests up to this are read without more ado; an image's have a few KB, an index's some dozen.
pub(super) const SMALL_BYTES: u64 = 64 << 10;
/// How many larger ones are read at once of one registry. Stops a repository of large ones from filling memory.
const LARGE_AT_ONCE: usize = 2;
/// Most pages of a list of what points at a digest. Stops a registry that never ends.
const PAGES: usize = 8;
/// How often a registry is asked that is busy or in trouble (429, 5xx), and the first pause in between; the next is twice as long.
const TRIES: usize = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The header of registries that are the reference implementation (distribution), or wish to be taken for it.
const REFERENCE: &str = "docker-distribution-api-version";
/// Largest answer to a greeting, bytes.
const GREETING_BYTES: u64 = 64 << 10;
/// Most registries whose connections and tokens are kept beside those that the policy names. Stops made-up hosts from filling memory.
const PEERS: usize = 64;

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Docker's `config.json`.
    pub credentials: DockerConfig,
    /// Folders as docker's `certs.d`: `HOST[:PORT]/*.crt` are CAs for that registry besides the system's; a pair
    /// `NAME.cert` and `NAME.key` is shown to it. All folders count.
    pub certs: Vec<PathBuf>,
    /// Registries that the policy names.
    pub named: HashSet<String>,
    /// By registry, what lies in those folders, where that has been read already.
    pub given: HashMap<String, Texts>,
    /// PEM of CAs for every registry, besides the system's; empty for none.
    pub extra_roots: String,
    /// Registries that may be asked over plain HTTP if they do not speak TLS. Those on loopback always may, as the
    /// engine does (`InsecureRegistryCIDRs`).
    pub insecure: Vec<Host>,
}

/// Registries. Needs a tokio runtime when called. Built anew when settings change.
#[derive(Debug)]
pub struct Registry {
    pub(super) settings: Settings,
    /// Those that the policy names; and others, of which clients make up as many as they like.
    named: Mutex<HashMap<String, Arc<Peer>>>,
    strange: Mutex<HashMap<String, Arc<Peer>>>,
    mirrors: Mirrors,
    /// How many questions there were.
    questions: AtomicU64,
}

/// One registry.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) https: Session,
    /// For those that may be asked over plain HTTP.
    http: Option<Session>,
    /// Plain HTTP was what worked last.
    is_plain: AtomicBool,
    /// It has answered.
    is_there: AtomicBool,
    /// When it was last asked for, in questions to all of them.
    used: AtomicU64,
    /// Large manifests on their way.
    large: Semaphore,
    /// Whether it keeps lists of what points at a digest: as it last answered to a question for one, else as it names itself.
    lists: Mutex<Option<bool>>,
}

impl Registry {
    /// Registries reached as `settings` say. Connects when asked.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (named, strange, mirrors) = Default::default();
        Self { settings, named, strange, mirrors, questions: AtomicU64::new(0) }
    }

    /// Asks `/v2/`, where every registry answers, without credentials: whether it is there, with these CAs. Any answer counts,
    /// also "who are you?" (401).
    pub async fn greet(&self, host: &Host, deadline: Instant) -> Result<HttpAnswer, RegistryError> {
        let peer = self.peer(host.as_str())?;
        let time = deadline.saturating_duration_since(Instant::now());
        let bounds = Bounds { bytes: GREETING_BYTES, time };
        let over = async |session: &Session| session.client().get(&session.url("v2/")?, HeaderMap::new(), bounds).await;
        match (over(&peer.https).await, &peer.http) {
            (Err(NetError::Tls { .. } | NetError::Unreachable { .. }), Some(http)) => Ok(over(http).await?),
            (answer, _) => Ok(answer?),
        }
    }

    async fn fetch(
        &self,
        repository: &Repository,
        wanted: &Wanted,
        deadline: Instant,
    ) -> Result<(Manifest, Vec<u8>), RegistryError> {
        let host = repository.host_str();
        let what = || wanted.in_repository(repository);
        let peer = self.peer(host)?;
        let path = format!("v2/{}/manifests/{wanted}", repository.path());
        let accept = MEDIA_TYPES.map(|(media_type, _)| media_type);
        let scope = format!("repository:{}:pull", repository.path());
        let asker = Asker { scope: &scope, credentials: self.settings.credentials.for_host(host) };
        let (mut answer, mut _large) = (peer.get(&path, asker, SMALL_BYTES, deadline, &accept).await, None);
        if matches!(answer, Err(NetError::TooLarge { .. })) {
            _large = Some(peer.turn_of_large(deadline, what).await?);
            answer = peer.get(&path, asker, MANIFEST_BYTES, deadline, &accept).await;
        }
        let answer = answer.map_err(|error| self.explain(host, asker, error))?;
        let answer = accepted(answer, host, what)?;
        let host = host.to_owned();
        let sent = Digest::of(&answer.body);
        let header = answer.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        let due = match wanted {
            Wanted::Digest(digest) => Some(*digest),
            // Only the bytes count; but a registry whose header and bytes differ is not to be relied on.
            Wanted::Tag(_) => header,
        };
        match due {
            Some(due) if due != sent => Err(RegistryError::WrongDigest { host, due, sent }),
            Some(_) | None => Ok((Manifest::read(&answer.body, answer.header("content-type"))?, answer.body)),
        }
    }

    /// All pages of the registry's list of what points at a digest. Statuses by which registries say that they keep none make `None`;
    /// any other is not known to mean so.
    async fn fetch_referrers(
        &self,
        repository: &Repository,
        digest: Digest,
        deadline: Instant,
    ) -> Result<Option<Listing>, RegistryError> {
        let host = repository.host_str();
        let what = || format!("the list of what points at {repository}@{digest}");
        let odd = |cause: &str| RegistryError::Undecodable { what: what(), cause: cause.to_owned() };
        let peer = self.peer(host)?;
        let path = format!("v2/{}/referrers/{digest}", repository.path());
        let accept = MEDIA_TYPES.first().map(|(media_type, _)| *media_type);
        let scope = format!("repository:{}:pull", repository.path());
        let asker = Asker { scope: &scope, credentials: self.settings.credentials.for_host(host) };
        let (mut listing, mut seen, mut query) = (Listing::default(), HashSet::new(), None);
        // One page: `None`: there is no list; else whether there is another page, and which.
        let read = async |listing: &mut Listing, query: &Option<String>| {
            let page = query.as_ref().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
            let (mut answer, mut _large) = (peer.get(&page, asker, SMALL_BYTES, deadline, accept.as_slice()).await, None);
            if matches!(answer, Err(NetError::TooLarge { .. })) {
                _large = Some(peer.turn_of_large(deadline, what).await?);
                answer = peer.get(&page, asker, MANIFEST_BYTES, deadline, accept.as_slice()).await;
            }
            let answer = answer.map_err(|error| self.explain(host, asker, error))?;
            match answer.status {
                400 | 404 | 405 | 501 if query.is_none() => {
                    *peer.lists() = Some(false);
                    return Ok(None);
                }
                404 => return Err(odd("its next page is not there")),
                _ => {}
            }
            let answer = accepted(answer, host, what)?;
            listing.add_page(&answer.body, answer.header("content-type")).map_err(|cause| odd(&cause))?;
            *peer.lists() = Some(true);
            let links = answer.headers.get_all("link").iter().filter_map(|value| value.to_str().ok());
            let here = peer.session().url(&path).map_err(RegistryError::Net)?;
            next_page(links, &here).map_err(odd).map(Some)
        };
        for _ in 0..PAGES {
            let next = match read(&mut listing, &query).await {
                Ok(None) => return Ok(None),
                Ok(Some(None)) => return Ok(Some(listing)),
                Ok(Some(Some(next))) if seen.insert(next.clone()) => next,
                Ok(Some(Some(_))) => return Ok(Some(listing.without(odd("its pages go round in a circle")))),
                // Nobody hides what was read before by a bad page behind it, nor is that all there is.
                Err(error) if query.is_some() || !listing.pointers.is_empty() => return Ok(Some(listing.without(error))),
                Err(error) => return Err(error),
            };
            query = Some(next);
        }
        Ok(Some(Listing { is_cut: true, ..listing }))
    }

    pub(super) fn peer(&self, host: &str) -> Result<Arc<Peer>, RegistryError> {
        let is_named = self.settings.named.contains(host);
        let peers = if is_named { &self.named } else { &self.strange };
        let mut peers = peers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.questions.fetch_add(1, Ordering::Relaxed);
        if let Some(peer) = peers.get(host) {
            peer.used.store(number, Ordering::Relaxed);
            return Ok(Arc::clone(peer));
        }
        let peer = Arc::new(self.open(host)?);
        peer.used.store(number, Ordering::Relaxed);
        if !is_named && peers.len() >= PEERS {
            peers.retain(|_, peer| peer.is_there.load(Ordering::Relaxed));
            // Of those that answer, whoever was not asked for the longest goes: made-up ones that answer push out each other.
            let oldest = peers.iter().min_by_key(|(_, peer)| peer.used.load(Ordering::Relaxed)).map(|(host, _)| host.clone());
            if let Some(oldest) = oldest.filter(|_| peers.len() >= PEERS) {
                peers.remove(&oldest);
            }
        }
        peers.insert(host.to_owned(), Arc::clone(&peer));
        Ok(peer)
    }

    fn open(&self, host: &str) -> Result<Peer, RegistryError> {
        let misconfigured = |cause: String| RegistryError::Misconfigured { host: host.to_owned(), cause };
        let setting = |error: NetError| misconfigured(error.to_string());
        let (roots, identity) = self.certificates(host).map_err(misconfigured)?;
        let address = if host == "docker.io" { DOCKER_HUB } else { host };
        let https = Client::new(&Tls { roots, identity, plain: Plain::Refused }).map_err(setting)?;
        let may_be_plain = is_loopback(host) || self.settings.insecure.iter().any(|insecure| insecure.as_str() == host);
        let plain = may_be_plain.then(|| Session::new(https.plain_too(), &format!("http://{address}")));
        let http = plain.transpose().map_err(setting)?;
        let https = Session::new(https, &format!("https://{address}")).map_err(setting)?;
        let (is_plain, is_there, used, lists) = Default::default();
        Ok(Peer { https, http, is_plain, is_there, used, large: Semaphore::new(LARGE_AT_ONCE), lists })
    }

    /// Who may vouch for this registry, and what we show it.
    fn certificates(&self, host: &str) -> Result<(Roots, Option<Identity>), String> {
        let files = match self.settings.given.get(host) {
            Some(files) => files.clone(),
            None => host_files(host, &self.settings.certs)?,
        };
        let Tls { roots, identity, .. } = Tls::of_files(None, &files).map_err(|error| error.to_string())?;
        let extra = &self.settings.extra_roots;
        if extra.trim().is_empty() {
            return Ok((roots, identity));
        }
        let mut all = match Roots::system_and_pem(extra).map_err(|error| error.to_string())? {
            Roots::SystemAnd(extra) | Roots::Only(extra) => extra,
            Roots::System => Vec::new(),
        };
        if let Roots::SystemAnd(own) | Roots::Only(own) = roots {
            all.extend(own);
        }
        Ok((Roots::SystemAnd(all), identity))
    }

    /// "No credentials" with what the operator can do about it.
    pub(super) fn explain(&self, host: &str, asker: Asker<'_>, error: NetError) -> RegistryError {
        match error {
            NetError::Unauthorized { host: address, .. } if asker.credentials.is_none() => {
                RegistryError::Net(NetError::Unauthorized { host: address, why: self.settings.credentials.missing(host) })
            }
            error => RegistryError::Net(error),
        }
    }
}

/// An answer that is what was asked for.
pub(super) fn accepted(answer: HttpAnswer, host: &str, what: impl Fn() -> String) -> Result<HttpAnswer, RegistryError> {
    let host = host.to_owned();
    match answer.status {
        200 => Ok(answer),
        404 => Err(RegistryError::NotFound { host, what: what() }),
        status if answer.is_busy() => Err(RegistryError::Busy { host, what: what(), status }),
        403 => Err(RegistryError::Denied { host, what: what() }),
        status => Err(RegistryError::Status { host, what: what(), status }),
    }
}

impl Api for Registry {
    fn manifest<'a>(&'a self, repository: &'a Repository, wanted: &'a Wanted, deadline: Instant) -> Reply<'a, Manifest> {
        Box::pin(async move { Ok(self.fetch(repository, wanted, deadline).await?.0) })
    }

    fn written<'a>(
        &'a self,
        repository: &'a Repository,
        wanted: &'a Wanted,
        deadline: Instant,
    ) -> Reply<'a, (Manifest, Vec<u8>)> {
        Box::pin(self.fetch(repository, wanted, deadline))
    }

    fn blob<'a>(&'a self, repository: &'a Repository, digest: Digest, size: u64, deadline: Instant) -> Reply<'a, Vec<u8>> {
        Box::pin(self.fetch_blob(repository, digest, size, deadline))
    }

    fn referrers<'a>(&'a self, repository: &'a Repository, digest: Digest, deadline: Instant) -> Reply<'a, Option<Listing>> {
        Box::pin(self.fetch_referrers(repository, digest, deadline))
    }

    fn may_list(&self, repository: &Repository) -> bool {
        self.peer(repository.host_str()).ok().is_none_or(|peer| peer.lists().unwrap_or(true))
    }

    fn mirrors(&self) -> Option<&Mirrors> {
        Some(&self.mirrors)
    }

    fn is_gone<'a>(&'a self, host: &'a Host, deadline: Instant) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move {
            match self.greet(host, deadline).await {
                Ok(answer) => net::is_gone(&Ok(answer)),
                Err(RegistryError::Net(error)) => net::is_gone(&Err(error)),
                Err(_) => false,
            }
        })
    }
}

impl Peer {
    /// The way that worked last.
    pub(super) fn session(&self) -> &Session {
        if self.is_plain.load(Ordering::Relaxed) { self.http.as_ref().unwrap_or(&self.https) } else { &self.https }
    }

    fn lists(&self) -> MutexGuard<'_, Option<bool>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to read a large answer.
    pub(super) async fn turn_of_large(
        &self,
        deadline: Instant,
        what: impl Fn() -> String,
    ) -> Result<SemaphorePermit<'_>, RegistryError> {
        let permit = tokio::time::timeout_at(deadline, self.large.acquire()).await;
        permit.ok().and_then(Result::ok).ok_or_else(|| RegistryError::Full { what: what() })
    }

    /// GET over TLS; over plain HTTP where that is allowed and TLS is not what the registry speaks.
    pub(super) async fn get(
        &self,
        path: &str,
        asker: Asker<'_>,
        most: u64,
        deadline: Instant,
        accept: &[&'static str],
    ) -> Result<HttpAnswer, NetError> {
        let ask = async |session: &Session| {
            let answer = ask(session, path, asker, most, deadline, accept).await;
            if let Ok(answer) = &answer {
                self.is_there.store(true, Ordering::Relaxed);
                // So says the reference implementation in each answer, which keeps no such lists.
                if answer.headers.contains_key(REFERENCE) {
                    self.lists().get_or_insert(false);
                }
            }
            answer
        };
        let Some(http) = &self.http else { return ask(&self.https).await };
        if self.is_plain.load(Ordering::Relaxed)
            && let Ok(answer) = ask(http).await
            && !is_tls_server(&answer)
        {
            return Ok(answer);
        }
        match ask(&self.https).await {
            Ok(answer) => {
                self.is_plain.store(false, Ordering::Relaxed);
                Ok(answer)
            }
            // A certificate that is not to be trusted is no reason to do without one; the rest may be "no TLS here".
            Err(error @ (NetError::Tls { .. } | NetError::Unreachable { .. })) => match ask(http).await {
                Ok(answer) if !is_tls_server(&answer) => {
                    self.is_plain.store(true, Ordering::Relaxed);
                    Ok(answer)
                }
                // It does speak plain HTTP, so what it said there is what matters.
                Err(plain @ (NetError::Unauthorized { .. } | NetError::TooLarge { .. })) => Err(plain),
                Ok(_) | Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }
}

async fn ask(
    session: &Session,
    path: &str,
    asker: Asker<'_>,
    bytes: u64,
    deadline: Instant,
    accept: &[&'static str],
) -> Result<HttpAnswer, NetError> {
    let mut headers = HeaderMap::new();
    for media_type in accept {
        headers.append("accept", HeaderValue::from_static(media_type));
    }
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        let answer = session.get(path, headers.clone(), asker, bounds(bytes, deadline)).await?;
        // Its own word on how long counts; where that leaves no time for another try, this is the answer.
        let rest = answer.rest().unwrap_or(pause);
        if !(answer.is_busy() || matches!(answer.status, 500 | 502..=504)) || Instant::now() + rest + pause >= deadline {
            return Ok(answer);
        }
        tokio::time::sleep(rest).await;
        pause *= 2;
    }
    session.get(path, headers, asker, bounds(bytes, deadline)).await
}

fn bounds(bytes: u64, deadline: Instant) -> Bounds {
    Bounds { bytes, time: deadline.saturating_duration_since(Instant::now()) }
}

/// Go's TLS servers answer plain HTTP with a status of 400.
const fn is_tls_server(answer: &HttpAnswer) -> bool {
    answer.status == 400
}

/// The hosts that the engine takes for insecure ones: 127.0.0.0/8, `::1` and `localhost`, whatever the port.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The certificates for a registry in all of these folders ([`Settings::certs`]).
pub fn host_files(host: &str, folders: &[PathBuf]) -> Result<Texts, String> {
    let mut files = Texts::default();
    for folder in folders {
        // INVARIANT: a `Host` holds no slash and is not `..`, so this stays in the folder.
        files.0.extend(certificate_files(&folder.join(host))?.0);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_told_from_others() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["r.example", "localhost.example:5000", "128.0.0.1", "[::2]:5000", "127.0.0.1.example", "docker.io", "0.0.0.0"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_ca_that_cannot_be_read_is_told_for_its_registry_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("r.example:5000")).unwrap();
        std::fs::write(folder.path().join("r.example:5000/ca.crt"), "no PEM").unwrap();
        std::fs::create_dir(folder.path().join("s.example")).unwrap();
        std::fs::write(folder.path().join("s.example/client.cert"), "without its key").unwrap();
        let registry = Registry::new(Settings { certs: vec![folder.path().to_owned()], ..Settings::default() });
        for host in ["r.example:5000", "s.example"] {
            assert!(matches!(registry.open(host), Err(RegistryError::Misconfigured { .. })), "{host}");
        }
        assert!(registry.open("r.example").is_ok());
    }

    #[test]
    fn made_up_hosts_push_out_nobody_who_is_named_or_was_there() {
        let registry = Registry::new(Settings { named: ["r.example".to_owned()].into(), ..Settings::default() });
        let (named, there) = (registry.peer("r.example").unwrap(), registry.peer("s.example").unwrap());
        there.is_there.store(true, Ordering::Relaxed);
        for number in 0..100 {
            registry.peer(&format!("127.0.0.{number}:5000")).unwrap();
        }
        assert!(Arc::ptr_eq(&named, &registry.peer("r.example").unwrap()));
        assert!(Arc::ptr_eq(&there, &registry.peer("s.example").unwrap()));
        assert!(registry.strange.lock().unwrap().len() <= PEERS);
        // Nor do those that answer, as long as it is asked for in between.
        for number in 0..100 {
            registry.peer(&format!("127.0.1.{number}:5000")).unwrap().is_there.store(true, Ordering::Relaxed);
            if number % 10 == 0 {
                assert!(Arc::ptr_eq(&there, &registry.peer("s.example").unwrap()), "{number}");
            }
        }
        assert!(Arc::ptr_eq(&there, &registry.peer("s.example").unwrap()));
        assert!(registry.strange.lock().unwrap().len() <= PEERS);
    }

    #[test]
    fn a_cas_certificate_is_trusted_besides_the_systems() {
        let folder = tempfile::tempdir().unwrap();
        let ca = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::create_dir(folder.path().join("r.example")).unwrap();
        std::fs::write(folder.path().join("r.example/ca.crt"), ca.cert.pem()).unwrap();
        std::fs::write(folder.path().join("r.example/README"), "no certificate").unwrap();
        let registry = Registry::new(Settings { certs: vec![folder.path().to_owned()], ..Settings::default() });
        assert!(matches!(registry.certificates("r.example"), Ok((Roots::SystemAnd(own), None)) if own.len() == 1));
        assert!(matches!(registry.certificates("s.example"), Ok((Roots::System, None))));
    }
}
