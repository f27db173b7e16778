//! HTTP, TLS, sockets and their bounds. Knows nothing of registries, Notary or engines.
//!
//! [`Client`] asks one question and reads one bounded answer: TLS 1.2 at least, redirects never followed by itself, gzip undone under
//! the same bound, proxies taken from the environment. [`auth`] knows docker's `config.json` and the token protocol.

pub mod auth;
mod proxy;
mod reach;
mod resolver;
mod tls;

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::Instrument as _;

use crate::names::{Crowded, Names};
use crate::text::clean;

use proxy::Proxies;
pub use proxy::{fault as proxy_fault, use_instead as use_proxies};
use reach::Barred;
pub use reach::Reach;
pub use reqwest::Url;
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rustix::io::Errno;
pub use tls::{Identity, Roots, Tls, certificate_files, server_files};

/// Longest wait for a connection, the proxy's part and the TLS handshake included. Stops a dead address from taking the whole deadline.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// Most header fields in an answer. With the HTTP parser's own bound on the head (408 KiB) it stops a head without end.
const HEADER_FIELDS: usize = 64;
/// Idle connections kept per host, so that 64 verifications at once need no new handshakes.
const IDLE_PER_HOST: usize = 64;
/// Turns given to the tasks that put a connection back: that of the connection, and the one that waits for it.
const POOL_TURNS: usize = 2;
/// How long an idle connection is kept; below what servers and firewalls commonly keep.
const IDLE_TIME: Duration = Duration::from_mins(1);
/// How often it is looked, while an answer is waited for, whether this process comes to run at all.
const TICK: Duration = Duration::from_millis(100);
/// A time-out says nothing about the server if this process did not come to run for this part of the time.
const LATE_PART: u32 = 2;
/// Descriptors that must be free for a connection that failed to count as the server's doing: for the lookup of a name, whose
/// failure does not say why, and for the connection.
const SPARE: usize = 8;
/// What the system says where a limit of this host is met.
const OURS: [Errno; 6] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL, Errno::AGAIN];

/// Whether a URL may be plain HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plain {
    /// Only `https`.
    #[default]
    Refused,
    /// `http` too: the operator named the registry as an insecure one. Credentials still go over `https` only.
    Allowed,
}

/// What one answer may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Largest body, after gzip is undone. Stops a server from filling memory.
    pub bytes: u64,
    /// From the first connection attempt to the last byte. Stops a server that trickles or never answers.
    pub time: Duration,
}

/// A whole answer, whatever its status.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The header, at most 64 fields.
    pub headers: HeaderMap,
    /// The body, gzip undone.
    pub body: Vec<u8>,
    /// How near the server is that answered; not known, and so far away, of one behind a proxy.
    pub reach: Reach,
}

impl HttpAnswer {
    /// A header's value, where it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the server says that it is there, and has too much to do.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.status == 429 || (self.status == 503 && self.headers.contains_key("retry-after"))
    }

    /// How long the server wants to be left alone, where it says so in seconds.
    #[must_use]
    pub fn rest(&self) -> Option<Duration> {
        self.header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs)
    }
}

/// Whether a server that does this is gone: no connection, no TLS, no answer, or a 5xx. Not one that is busy, slow or wants to know
/// who asks; and never a limit of this host.
#[must_use]
pub fn is_gone(answer: &Result<HttpAnswer, NetError>) -> bool {
    match answer {
        Ok(answer) => answer.status >= 500 && !answer.is_busy(),
        Err(NetError::Unreachable { .. } | NetError::Timeout { .. } | NetError::Tls { .. } | NetError::CaRefused { .. }) => true,
        Err(
            NetError::Stalled { .. }
            | NetError::Cut { .. }
            | NetError::Busy { .. }
            | NetError::Ours { .. }
            | NetError::TooLarge { .. }
            | NetError::Unauthorized { .. }
            | NetError::Barred { .. }
            | NetError::Bad(_),
        ) => false,
    }
}

/// Why there is no answer. Foreign text in messages is bounded and escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// No connection, or one that broke: DNS, refused, reset, cut short.
    #[error("`{host}` cannot be reached: {cause}")]
    Unreachable {
        /// Host and port asked.
        host: String,
        /// What the system said.
        cause: String,
    },
    /// No whole answer in time.
    #[error("`{host}` did not answer within {after:?}")]
    Timeout {
        /// Host and port asked.
        host: String,
        /// The time it had.
        after: Duration,
    },
    /// An answer began, and was not whole in time.
    #[error("`{host}` began to answer and did not end within {after:?}")]
    Stalled {
        /// Host and port asked.
        host: String,
        /// The time it had.
        after: Duration,
    },
    /// An answer began, and broke off.
    #[error("`{host}` began to answer and broke off: {cause}")]
    Cut {
        /// Host and port asked.
        host: String,
        /// What the system said.
        cause: String,
    },
    /// It is there, and has too much to do.
    #[error("`{host}` is too busy to answer (status {status})")]
    Busy {
        /// Host and port asked.
        host: String,
        /// Its HTTP status.
        status: u16,
    },
    /// A limit of this host or process: it says nothing about the server.
    #[error("`{host}` could not be asked, for a limit of this host: {cause}")]
    Ours {
        /// Host and port that was to be asked.
        host: String,
        /// Which limit.
        cause: String,
    },
    /// The server's certificate is not from a CA we trust.
    #[error("the TLS certificate of `{host}` is not from a trusted CA: {cause}")]
    CaRefused {
        /// Host and port asked.
        host: String,
        /// What the TLS library said.
        cause: String,
    },
    /// TLS failed for another reason: wrong name, out of date, too old a version, no TLS at all.
    #[error("TLS with `{host}` failed: {cause}")]
    Tls {
        /// Host and port asked.
        host: String,
        /// What the TLS library said.
        cause: String,
    },
    /// The answer is larger than its bound.
    #[error("the answer of `{host}` is larger than {limit} bytes")]
    TooLarge {
        /// Host and port asked.
        host: String,
        /// The bound.
        limit: u64,
    },
    /// The server wants credentials that are missing, wrong, or may not be sent.
    #[error("`{host}` wants credentials: {why}")]
    Unauthorized {
        /// Host and port asked.
        host: String,
        /// What is missing.
        why: String,
    },
    /// A server named this place, and it is nearer to this host than that server.
    #[error("`{host}` is not asked: a server that is farther from this host than its address has named it")]
    Barred {
        /// Host and port that were to be asked.
        host: String,
    },
    /// An answer or a setting that makes no sense: HTTP that cannot be read, a broken URL, PEM without certificates.
    #[error("{0}")]
    Bad(String),
}

/// An HTTPS client with one set of roots. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    inner: reqwest::Client,
    /// For hosts the client certificate is not for, where there is one.
    stranger: Option<reqwest::Client>,
    proxies: Proxies,
    /// TLS without a client certificate.
    config: rustls::ClientConfig,
    /// What asks places that servers name, by how near they may be: made when first needed.
    fenced: Arc<[OnceLock<reqwest::Client>; Reach::ALL.len()]>,
    /// How near that may be which is asked; `None`: the operator or a user has named it.
    within: Option<Reach>,
    /// Who looks up here what a proxy is asked for, where that is done.
    names: Option<Names>,
    plain: Plain,
}

impl Client {
    /// A client that trusts what `tls` says.
    pub fn new(tls: &Tls) -> Result<Self, NetError> {
        let proxies = proxy::from_env(proxy::variable, tls.identity.is_some())?;
        let config = tls.config(None)?;
        let bare = || Self::build(config.clone(), proxies.all.clone(), None);
        let (inner, stranger) = match &tls.identity {
            Some(identity) => (Self::build(tls.config(Some(identity))?, proxies.all.clone(), None)?, Some(bare()?)),
            None => (bare()?, None),
        };
        Ok(Self { inner, stranger, proxies, config, fenced: Arc::default(), within: None, names: None, plain: tls.plain })
    }

    /// The same, showing no client certificate: for a host that it is not for.
    #[must_use]
    pub fn without_identity(&self) -> Self {
        Self { inner: self.stranger.as_ref().unwrap_or(&self.inner).clone(), stranger: None, ..self.clone() }
    }

    /// The same that takes plain `http` besides, where nobody is to be recognized: it shows no client certificate.
    #[must_use]
    pub fn plain_too(&self) -> Self {
        Self { plain: Plain::Allowed, ..self.without_identity() }
    }

    /// The same for a place that a server names which is this near: no client certificate, and no connection to an address that is nearer.
    /// What a proxy is asked for, the proxy connects to, wherever that is; an address in the place of a name is looked at here.
    #[must_use]
    pub fn within(&self, reach: Reach) -> Self {
        Self { within: Some(reach), ..self.without_identity() }
    }

    /// The same that looks names up here as well before a proxy is asked for them: one that leads nearer is not asked for. What this host cannot
    /// look up, or the proxy finds elsewhere, is the proxy's to bar.
    #[must_use]
    pub fn looking_up(self) -> Self {
        Self { names: Some(Names::system()), ..self }
    }

    /// Refuses a name that leads nearer than may be, as far as is known here.
    async fn look_up(&self, url: &Url, host: &str) -> Result<(), NetError> {
        if let (Some(names), Some(reach), Some(name)) = (&self.names, self.within, url.domain())
            && reach::leads_nearer(names, name, reach).await
        {
            return Err(NetError::Barred { host: host.to_owned() });
        }
        Ok(())
    }

    fn build(
        config: rustls::ClientConfig,
        proxies: Vec<reqwest::Proxy>,
        within: Option<Reach>,
    ) -> Result<reqwest::Client, NetError> {
        proxies
            .into_iter()
            .fold(reqwest::Client::builder().no_proxy(), reqwest::ClientBuilder::proxy)
            .tls_backend_preconfigured(config)
            .dns_resolver(resolver::Resolver { names: Names::system(), within })
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_gzip()
            .http1_only()
            .http1_max_headers(HEADER_FIELDS)
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIME)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .pool_idle_timeout(IDLE_TIME)
            .user_agent(concat!("img-authz/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| NetError::Bad(format!("HTTP client: {}", chain(&error))))
    }

    /// What asks this.
    fn asking(&self, url: &Url, is_proxied: bool, host: &str) -> Result<reqwest::Client, NetError> {
        let Some(reach) = self.within else { return Ok(self.inner.clone()) };
        if reach::literal(url).is_some_and(|address| !reach.covers(address)) {
            return Err(NetError::Barred { host: host.to_owned() });
        }
        if is_proxied {
            return Ok(self.inner.clone());
        }
        let [public, private, own] = &*self.fenced;
        let made = match reach {
            Reach::Public => public,
            Reach::Private => private,
            Reach::Own => own,
        };
        if let Some(client) = made.get() {
            return Ok(client.clone());
        }
        // No proxy at all: what goes this way goes straight.
        let client = Self::build(self.config.clone(), Vec::new(), Some(reach))?;
        Ok(made.get_or_init(|| client).clone())
    }

    /// GET, without credentials unless `headers` has them.
    pub async fn get(&self, url: &Url, headers: HeaderMap, bounds: Bounds) -> Result<HttpAnswer, NetError> {
        self.send(reqwest::Method::GET, url, headers, None, bounds).await
    }

    /// POST of a form, as `OAuth2` token services want it.
    pub async fn post_form(
        &self,
        url: &Url,
        mut headers: HeaderMap,
        form: &[(&str, &str)],
        bounds: Bounds,
    ) -> Result<HttpAnswer, NetError> {
        let mut body = Url::parse("form:").map_err(|error| NetError::Bad(format!("form: {error}")))?;
        body.query_pairs_mut().extend_pairs(form);
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        let text = body.query().unwrap_or_default().to_owned();
        self.send(reqwest::Method::POST, url, headers, Some(text), bounds).await
    }

    /// POST of a JSON text.
    pub async fn post_json(
        &self,
        url: &Url,
        mut headers: HeaderMap,
        text: String,
        bounds: Bounds,
    ) -> Result<HttpAnswer, NetError> {
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        self.send(reqwest::Method::POST, url, headers, Some(text), bounds).await
    }

    async fn send(
        &self,
        method: reqwest::Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<String>,
        bounds: Bounds,
    ) -> Result<HttpAnswer, NetError> {
        // Notary, registries and their token services; the path may name what a secret opens.
        let span = tracing::trace_span!(
            target: "img_authz::trace", "http",
            host = host_of(url), status = tracing::field::Empty
        );
        let answer = self.send_now(method, url, headers, body, bounds).instrument(span.clone()).await;
        if let Ok(answer) = &answer {
            span.record("status", tracing::field::display(answer.status));
        }
        answer
    }

    async fn send_now(
        &self,
        method: reqwest::Method,
        url: &Url,
        mut headers: HeaderMap,
        body: Option<String>,
        bounds: Bounds,
    ) -> Result<HttpAnswer, NetError> {
        let host = host_of(url);
        match (url.scheme(), self.plain) {
            ("https", _) | ("http", Plain::Allowed) => {}
            (scheme, _) => return Err(NetError::Bad(format!("`{}://{host}` is not https", clean(scheme)))),
        }
        headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
        let is_proxied = self.proxies.take(url);
        if is_proxied {
            self.look_up(url, &host).await?;
        }
        let mut request = self.asking(url, is_proxied, &host)?.request(method, url.clone()).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let (began, mut late) = (AtomicBool::new(false), Duration::ZERO);
        let asked = async {
            let mut reading = std::pin::pin!(read(request, &host, bounds.bytes, &began));
            let mut tick = tokio::time::interval(TICK);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    answer = &mut reading => break answer,
                    due = tick.tick() => late += due.elapsed(),
                }
            }
        };
        // The bound holds for the whole exchange, the body included.
        let answer = match tokio::time::timeout(bounds.time, asked).await {
            Ok(answer) => answer,
            Err(_elapsed) if began.into_inner() => Err(NetError::Stalled { host, after: bounds.time }),
            Err(_elapsed) => Err(NetError::Timeout { host, after: bounds.time }),
        };
        match answer {
            // The connection is the proxy's.
            Ok(answer) if is_proxied => Ok(HttpAnswer { reach: Reach::Public, ..answer }),
            Err(NetError::Timeout { host, after }) if late >= after / LATE_PART => {
                Err(NetError::Ours { host, cause: format!("this process did not come to run for {late:?} of {after:?}") })
            }
            Err(NetError::Unreachable { host, .. }) if is_short() => {
                Err(NetError::Ours { host, cause: "too few file descriptors are free".to_owned() })
            }
            // The proxy is not named: its URL may hold a password.
            Err(NetError::Unreachable { host, cause }) if is_proxied => {
                Err(NetError::Unreachable { host, cause: format!("{cause} (by way of a proxy)") })
            }
            answer => answer,
        }
    }
}

/// Whether there are too few descriptors left to ask anybody.
fn is_short() -> bool {
    use rustix::net::{AddressFamily, SocketType, socket};
    let mut held = Vec::new();
    (0..SPARE).any(|_| socket(AddressFamily::UNIX, SocketType::STREAM, None).map(|one| held.push(one)).is_err())
}

/// Sends, and reads up to `limit` bytes of body. `began` tells that the head has come.
async fn read(request: reqwest::RequestBuilder, host: &str, limit: u64, began: &AtomicBool) -> Result<HttpAnswer, NetError> {
    let mut response = request.send().await.map_err(|error| classify(&error, host))?;
    began.store(true, Ordering::Relaxed);
    let too_large = || NetError::TooLarge { host: host.to_owned(), limit };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken_off(&error, host))? {
        if (body.len() as u64).saturating_add(chunk.len() as u64) > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    // The connection goes back to the pool by tasks of its own: let them run, or the next request, which comes at once, begins
    // another connection beside it, with a handshake that both sides pay for.
    for _ in 0..POOL_TURNS {
        tokio::task::yield_now().await;
    }
    let status = response.status().as_u16();
    let reach = response.remote_addr().and_then(|address| Reach::of(address.ip())).unwrap_or(Reach::Public);
    let headers = std::mem::take(response.headers_mut());
    let mut encodings = headers.get_all("content-encoding").iter();
    let encoding = encodings.next().map(HeaderValue::as_bytes);
    let body = match (encoding, encodings.next()) {
        (None | Some(b"" | b"identity"), None) => body,
        (Some(b"gzip" | b"x-gzip"), None) => gunzip(&body, limit, host)?,
        (_, _) => return Err(NetError::Bad(format!("`{host}` answers in an encoding that was not asked for"))),
    };
    Ok(HttpAnswer { status, headers, body, reach })
}

/// Undoes gzip into at most `limit` bytes. One member, nothing behind it.
fn gunzip(packed: &[u8], limit: u64, host: &str) -> Result<Vec<u8>, NetError> {
    let mut decoder = flate2::bufread::GzDecoder::new(packed);
    let mut body = Vec::new();
    decoder
        .by_ref()
        .take(limit.saturating_add(1))
        .read_to_end(&mut body)
        .map_err(|_| NetError::Bad(format!("`{host}` answers in broken gzip")))?;
    if body.len() as u64 > limit {
        return Err(NetError::TooLarge { host: host.to_owned(), limit });
    }
    if !decoder.into_inner().is_empty() {
        return Err(NetError::Bad(format!("`{host}` answers with bytes behind its gzip")));
    }
    Ok(body)
}

/// `host:port` of a URL, or `host` where the port is the scheme's own: as docker names the folders of certificates.
#[must_use]
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// `host:port` of a URL, for messages.
fn host_of(url: &Url) -> String {
    let host = clean(url.host_str().unwrap_or("?"));
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

/// The same of an answer that had begun: whoever sent it is there.
fn broken_off(error: &reqwest::Error, host: &str) -> NetError {
    match classify(error, host) {
        NetError::Unreachable { host, cause } | NetError::Tls { host, cause } => NetError::Cut { host, cause },
        NetError::Timeout { host, after } => NetError::Cut { host, cause: format!("no more of it within {after:?}") },
        error => error,
    }
}

/// Which kind of failure this is, by the errors underneath.
fn classify(error: &reqwest::Error, host: &str) -> NetError {
    let host = host.to_owned();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut deepest = String::new();
    while let Some(now) = cause {
        if let Some(tls) = now.downcast_ref::<rustls::Error>() {
            return tls_error(tls, host);
        }
        if now.is::<Barred>() {
            return NetError::Barred { host };
        }
        if now.is::<Crowded>() {
            return NetError::Ours { host, cause: clean(&now.to_string()) };
        }
        let io = now.downcast_ref::<std::io::Error>();
        if let Some(errno) = io.and_then(std::io::Error::raw_os_error)
            && OURS.iter().any(|ours| ours.raw_os_error() == errno)
        {
            return NetError::Ours { host, cause: clean(&now.to_string()) };
        }
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut) {
            return NetError::Timeout { host, after: CONNECT_TIME };
        }
        deepest = now.to_string();
        // What an I/O error wraps is not its source: it stands in its place.
        cause = match io.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => now.source(),
        };
    }
    if error.is_timeout() {
        return NetError::Timeout { host, after: CONNECT_TIME };
    }
    let cause = clean(&deepest);
    if error.is_builder() { NetError::Bad(cause) } else { NetError::Unreachable { host, cause } }
}

fn tls_error(error: &rustls::Error, host: String) -> NetError {
    use rustls::CertificateError as C;
    let cause = clean(&error.to_string());
    match error {
        rustls::Error::InvalidCertificate(C::UnknownIssuer) => NetError::CaRefused { host, cause },
        rustls::Error::InvalidCertificate(C::BadSignature) => {
            NetError::CaRefused { host, cause: format!("{cause} (another CA of that name, or a weak key: RSA below 2048 bits)") }
        }
        _ => NetError::Tls { host, cause },
    }
}

/// An error with its causes, outermost first, without the parts that repeat.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(now) = cause {
        let part = now.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = now.source();
    }
    text
}

/// A URL for a message, without user and password.
#[must_use]
pub fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    clean(&if scheme.is_empty() { format!("{host}{path}") } else { format!("{scheme}://{host}{path}") })
}

#[cfg(test)]
mod tests;
