//! The engine over its unix socket: HTTP/1.1, connections kept alive and reused, everything bounded. Which calls there are says `calls`.

mod calls;

use std::fmt::Write as _;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyperlocal::UnixConnector;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use super::rows::Rows;
use super::{EngineError, Nudges, Version, own_calls};

/// Where the engine listens unless told otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// Longest path of a unix socket that Linux can connect to (`sun_path` and its closing zero).
const SOCKET_PATH_BYTES: usize = 107;
/// Newest API version that own calls ask for. From 1.53 on an image's inspect computes an `Identity`, which may fetch from the
/// network for seconds.
const NEWEST_API: ApiVersion = ApiVersion { major: 1, minor: 52 };
/// Most of an engine's error message, and of a call's path, that goes into our messages.
const TEXT_CHARS: usize = 200;
/// How long a call about a container keeps its turn. An ordinary one takes a millisecond; one that takes longer waits for the
/// container's lock, which a client can hold, and goes on in one of the few slow turns.
const QUICK: Duration = Duration::from_millis(100);

/// What the engine may cost us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Largest answer about one object, bytes. Stops a container made with megabytes of labels from filling memory.
    pub object_bytes: usize,
    /// Largest list that is read whole, bytes: of images with all their names, for commands, and of plugins.
    pub list_bytes: usize,
    /// Largest list of containers or of images, bytes, where it is read row by row: of each row no more than `object_bytes` is kept. Stops a
    /// list without an end; one that is too large leaves the gate without eyes, so it is far above what a host's containers come to.
    pub rows_bytes: usize,
    /// Most rows of such a list that are kept, many times what a host has. Those beyond are counted.
    pub rows: usize,
    /// Longest name put into a path, bytes before escaping. Longer than any name the engine gives; stops a client from
    /// having us send its megabytes back.
    pub name_bytes: usize,
    /// Calls about containers at one time, and likewise slow ones of these, kills, and others; more wait in line, inside their
    /// deadline, but slow ones, which are given up. Together with `object_bytes` it bounds memory.
    pub in_flight: usize,
    /// Idle connections kept.
    pub idle: usize,
    /// How long an idle connection is kept.
    pub idle_for: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            object_bytes: 2 << 20,
            list_bytes: 32 << 20,
            rows_bytes: 512 << 20,
            rows: 50_000,
            name_bytes: 4096,
            in_flight: 16,
            idle: 8,
            idle_for: Duration::from_secs(30),
        }
    }
}

/// Why a `DOCKER_HOST` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineHostError {
    /// Not a unix socket. The gate stands on the engine's host and has no use for TCP.
    #[error("DOCKER_HOST `{0}` is not supported: only unix:///path/to/docker.sock is")]
    Scheme(String),
    /// No absolute path, or one that no socket can have.
    #[error("DOCKER_HOST `{0}` has no absolute socket path of at most {SOCKET_PATH_BYTES} bytes")]
    Path(String),
}

/// A Docker Engine. Needs a tokio runtime with I/O and time to be called on (a current-thread one will do); connections
/// belong to the runtime they were opened on.
#[derive(Debug)]
pub struct Engine {
    socket: PathBuf,
    /// The socket as hyperlocal's connector takes it, with the path `/`.
    base: Uri,
    client: Client<UnixConnector, Empty<Bytes>>,
    /// Turns of looks at containers, which a client can make hang; of those that do hang; of kills; and of all others.
    container_turns: Semaphore,
    slow_turns: Semaphore,
    kill_turns: Semaphore,
    turns: Semaphore,
    limits: CallLimits,
    /// The API version that calls carry; `None`: the engine is asked for its own first.
    spoken: Mutex<Option<ApiVersion>>,
}

/// An API version, `1.52`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    fn read(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// The lower of the engine's and [`NEWEST_API`]; an engine that takes only newer ones is asked with its oldest.
    fn common(version: &Version) -> Option<Self> {
        let newest = Self::read(&version.api)?.min(NEWEST_API);
        Some(Self::read(&version.api_min).map_or(newest, |oldest| newest.max(oldest)))
    }
}

impl Engine {
    /// The engine at `docker_host`, as `DOCKER_HOST` has it; empty means Docker's default socket. Connects when called.
    pub fn at(docker_host: &str) -> Result<Self, EngineHostError> {
        Self::with_limits(docker_host, CallLimits::default())
    }

    /// As [`Engine::at`], within other bounds.
    pub fn with_limits(docker_host: &str, limits: CallLimits) -> Result<Self, EngineHostError> {
        let docker_host = if docker_host.is_empty() { DEFAULT_HOST } else { docker_host };
        let shown = || shown(docker_host);
        let path = docker_host.strip_prefix("unix://").ok_or_else(|| EngineHostError::Scheme(shown()))?;
        if !path.starts_with('/') || path.len() > SOCKET_PATH_BYTES || path.contains('\0') {
            return Err(EngineHostError::Path(shown()));
        }
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(limits.idle)
            .pool_idle_timeout(limits.idle_for)
            .build(UnixConnector);
        Ok(Self {
            socket: path.into(),
            // A constant path and a hex host: the one call of `hyperlocal::Uri::new`, which panics on others.
            base: hyperlocal::Uri::new(path, "/").into(),
            client,
            container_turns: Semaphore::new(limits.in_flight),
            slow_turns: Semaphore::new(limits.in_flight),
            kill_turns: Semaphore::new(limits.in_flight),
            turns: Semaphore::new(limits.in_flight),
            limits,
            spoken: Mutex::default(),
        })
    }

    /// The same engine, whose API version is known already.
    #[cfg(test)]
    pub(super) fn speaking(self, major: u16, minor: u16) -> Self {
        self.speak(Some(ApiVersion { major, minor }));
        self
    }

    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.speak(None);
    }

    /// Whether a call that dockerd asks about carries the mark of this very process: the value of [`super::CALL_HEADER`].
    #[must_use]
    pub fn is_own(header: Option<&str>) -> bool {
        own_calls::is_own(header)
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) async fn object<T: DeserializeOwned>(&self, path: String, deadline: Instant) -> Result<Option<T>, EngineError> {
        let answer = self.call(Method::GET, &path, self.limits.object_bytes, deadline).await?;
        match answer.status {
            StatusCode::OK => answer.decode().map(Some),
            StatusCode::NOT_FOUND if answer.is_about_the_object() => Ok(None),
            _ => Err(answer.refused()),
        }
    }

    async fn whole<T: DeserializeOwned>(&self, path: &str, limit: usize, deadline: Instant) -> Result<T, EngineError> {
        let answer = self.call(Method::GET, path, limit, deadline).await?;
        if answer.status == StatusCode::OK { answer.decode() } else { Err(answer.refused()) }
    }

    /// A path with `name` in it, whatever the name holds.
    pub(super) fn path(&self, before: &str, name: &str, after: &str) -> Result<String, EngineError> {
        if name.len() > self.limits.name_bytes {
            return Err(EngineError::TooLarge { what: "the name in the call".to_owned(), limit: self.limits.name_bytes as u64 });
        }
        let mut path = String::with_capacity(before.len() + name.len() + after.len() + 16);
        path.push_str(before);
        escape(name, &mut path);
        path.push_str(after);
        Ok(path)
    }

    /// One call with an API version, its answer read whole.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        limit: usize,
        deadline: Instant,
    ) -> Result<EngineAnswer, EngineError> {
        let call = shown(&format!("{method} {path}"));
        let span = tracing::trace_span!(target: "img_authz::trace", "engine", call);
        self.call_in_turn(method, path, limit, deadline, call).instrument(span).await
    }

    async fn call_in_turn(
        &self,
        method: Method,
        path: &str,
        limit: usize,
        deadline: Instant,
        call: String,
    ) -> Result<EngineAnswer, EngineError> {
        let talk = async {
            let answer = self.versioned(&method, path, limit, &call).await?;
            if !answer.is_about_the_version() {
                return Ok(answer);
            }
            // Another engine has taken the place of the one that was asked for its version.
            self.speak(None);
            self.versioned(&method, path, limit, &call).await
        };
        // Lists wait for no container's lock.
        let may_hang = path.starts_with("/containers/") && !path.starts_with("/containers/json");
        match (may_hang, &method) {
            (true, &Method::GET) => {
                let slow = || EngineError::Timeout { call: call.clone() };
                timeout_at(deadline, self.without_holding_up(talk)).await.ok().flatten().ok_or_else(slow)?
            }
            (true, _) => self.in_time(&call, &self.kill_turns, deadline, talk).await,
            (false, _) => self.in_time(&call, &self.turns, deadline, talk).await,
        }
    }

    /// A talk that may hang gives its turn back after a moment, and goes on in a slow one; `None` where there is none left.
    async fn without_holding_up<T>(&self, talk: impl Future<Output = T>) -> Option<T> {
        let mut talk = std::pin::pin!(talk);
        {
            // The semaphores are never closed.
            let _turn = self.container_turns.acquire().await;
            if let Ok(answer) = tokio::time::timeout(QUICK, talk.as_mut()).await {
                return Some(answer);
            }
        }
        let _turn = self.slow_turns.try_acquire().ok()?;
        Some(talk.await)
    }

    /// Waits for a turn and for the talk, both by the deadline.
    async fn in_time<T>(
        &self,
        call: &str,
        turns: &Semaphore,
        deadline: Instant,
        talk: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let in_turn = async {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            talk.await
        };
        timeout_at(deadline, in_turn).await.unwrap_or_else(|_| Err(EngineError::Timeout { call: call.to_owned() }))
    }

    async fn versioned(&self, method: &Method, path: &str, limit: usize, call: &str) -> Result<EngineAnswer, EngineError> {
        let ApiVersion { major, minor } = self.speaks().await?;
        self.ask(method, &format!("/v{major}.{minor}{path}"), limit, call).await
    }

    /// The API version that calls carry.
    async fn speaks(&self) -> Result<ApiVersion, EngineError> {
        let known = *self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(version) => Ok(version),
            None => Ok(self.learn().await?.1),
        }
    }

    /// Asks the engine for its version, the one call without one, and speaks what follows from it from now on.
    async fn learn(&self) -> Result<(Version, ApiVersion), EngineError> {
        let call = "GET /version";
        let answer = self.ask(&Method::GET, "/version", self.limits.object_bytes, call).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.refused());
        }
        let version: Version = answer.decode()?;
        let spoken = ApiVersion::common(&version).ok_or_else(|| EngineError::Undecodable {
            call: call.to_owned(),
            cause: format!("`{}` is no API version", shown(&version.api)),
        })?;
        self.speak(Some(spoken));
        Ok((version, spoken))
    }

    fn speak(&self, version: Option<ApiVersion>) {
        *self.spoken.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }

    async fn ask(&self, method: &Method, path: &str, limit: usize, call: &str) -> Result<EngineAnswer, EngineError> {
        let response = self.sent(method, path).await?;
        self.answer(response, limit, call).await
    }

    async fn sent(&self, method: &Method, path: &str) -> Result<Response<Incoming>, EngineError> {
        match self.send(method, path).await {
            Ok(response) => Ok(response),
            // An engine that restarts drops kept connections, sometimes only once it has read from them. All our
            // calls may be repeated: they read, or end by its id what stays ended.
            Err(error) if !error.is_connect() => self.send(method, path).await.map_err(|error| self.unreachable(&error)),
            Err(error) => {
                // What comes back may be another engine.
                self.speak(None);
                Err(self.unreachable(&error))
            }
        }
    }

    /// An answer, read whole.
    async fn answer(&self, response: Response<Incoming>, limit: usize, call: &str) -> Result<EngineAnswer, EngineError> {
        let status = response.status();
        match Limited::new(response.into_body(), limit).collect().await {
            Ok(body) => Ok(EngineAnswer { call: call.to_owned(), status, body: body.to_bytes() }),
            Err(error) => Err(self.broken_off(&*error, limit, call)),
        }
    }

    /// Why an answer did not come whole.
    fn broken_off(&self, error: &(dyn std::error::Error + 'static), limit: usize, call: &str) -> EngineError {
        if error.is::<LengthLimitError>() {
            EngineError::TooLarge { what: format!("the engine's answer to `{call}`"), limit: limit as u64 }
        } else {
            self.unreachable(error)
        }
    }

    /// A list read row by row, and how many of its rows could not be read.
    async fn rows<T: DeserializeOwned>(&self, path: &str, call: &str) -> Result<(Vec<T>, usize), EngineError> {
        let ApiVersion { major, minor } = self.speaks().await?;
        let response = self.sent(&Method::GET, &format!("/v{major}.{minor}{path}")).await?;
        if response.status() != StatusCode::OK {
            // Another engine may have taken the place of the one that was asked for its version.
            self.speak(None);
            return Err(self.answer(response, self.limits.object_bytes, call).await?.refused());
        }
        let limit = self.limits.rows_bytes;
        let undecodable = |_| EngineError::Undecodable { call: call.to_owned(), cause: "it is not a list of objects".to_owned() };
        let mut body = Limited::new(response.into_body(), limit);
        let mut rows = Rows::new(self.limits.object_bytes, self.limits.rows);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broken_off(&*error, limit, call))?;
            if let Some(bytes) = frame.data_ref() {
                rows.feed(bytes).map_err(undecodable)?;
            }
        }
        rows.end().map_err(undecodable)
    }

    async fn send(&self, method: &Method, path: &str) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        let mut uri = self.base.clone().into_parts();
        // `path` is ours with escaped names, and bounded: it always parses. `/` would be answered by a 404.
        uri.path_and_query = Some(path.parse().unwrap_or(PathAndQuery::from_static("/")));
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method.clone();
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_else(|_| self.base.clone());
        let headers = request.headers_mut();
        // The one start that this client ever makes.
        if *method == Method::POST && path.ends_with("/start") {
            headers.insert(super::PROBE_HEADER, header::HeaderValue::from_static("1"));
        }
        headers.insert(header::HOST, header::HeaderValue::from_static("docker"));
        headers.insert(header::USER_AGENT, header::HeaderValue::from_static(concat!("img-authz/", env!("CARGO_PKG_VERSION"))));
        if let Some(mark) = own_calls::value() {
            headers.insert("x-img-authz-call", mark);
        }
        self.client.request(request).await
    }

    /// A long answer as it comes; `None`: there is no such thing.
    pub(super) async fn stream(&self, path: &str, deadline: Instant) -> Result<Option<Incoming>, EngineError> {
        let call = shown(&format!("GET {path}"));
        let talk = async {
            let ApiVersion { major, minor } = self.speaks().await?;
            let response = self.sent(&Method::GET, &format!("/v{major}.{minor}{path}")).await?;
            if response.status() == StatusCode::OK {
                return Ok(Some(response.into_body()));
            }
            let answer = self.answer(response, self.limits.object_bytes, &call).await?;
            if answer.status == StatusCode::NOT_FOUND && answer.is_about_the_object() { Ok(None) } else { Err(answer.refused()) }
        };
        self.in_time(&call, &self.turns, deadline, talk).await
    }

    /// The engine's events of one kind of thing, as they come.
    async fn events(&self, of: &str, which: &[&str]) -> Result<Nudges, EngineError> {
        let call = "GET /events";
        let ApiVersion { major, minor } = self.speaks().await?;
        let filters = serde_json::json!({ "type": [of], "event": which }).to_string();
        let path = self.path(&format!("/v{major}.{minor}/events?filters="), &filters, "")?;
        let response = self.send(&Method::GET, &path).await.map_err(|error| self.unreachable(&error))?;
        if response.status() != StatusCode::OK {
            // Another engine may have taken the place of the one that was asked for its version.
            self.speak(None);
            let (status, message) = (response.status().as_u16(), "no events".to_owned());
            return Err(EngineError::Status { call: call.to_owned(), status, message });
        }
        Ok(Nudges::of(response.into_body()))
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> EngineError {
        // hyper's own words are "client error (Connect)"; what helps is at the bottom.
        let mut cause = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        EngineError::Unreachable { socket: self.socket.display().to_string(), cause: shown(&cause.to_string()) }
    }
}

/// An answer, read whole.
pub(super) struct EngineAnswer {
    call: String,
    pub(super) status: StatusCode,
    body: Bytes,
}

impl EngineAnswer {
    fn decode<T: DeserializeOwned>(self) -> Result<T, EngineError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| EngineError::Undecodable { call: self.call, cause: shown(&error.to_string()) })
    }

    /// What the engine says when it refuses.
    pub(super) fn message(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Refusal {
            message: String,
        }
        serde_json::from_slice::<Refusal>(&self.body).ok().map(|refusal| refusal.message)
    }

    /// A 404 of the router (`page not found`: this engine has no such route) says nothing about the object.
    fn is_about_the_object(&self) -> bool {
        self.message().is_some_and(|message| message != "page not found")
    }

    /// `client version 1.52 is too new …`, or too old: in these words since 1.12.
    fn is_about_the_version(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST && self.message().is_some_and(|message| message.starts_with("client version "))
    }

    fn refused(self) -> EngineError {
        let message = self.message().map_or_else(|| "no message".to_owned(), |message| shown(&message));
        EngineError::Status { call: self.call, status: self.status.as_u16(), message }
    }
}

/// At most [`TEXT_CHARS`] characters of foreign text on one line.
fn shown(text: &str) -> String {
    crate::text::fit(text, TEXT_CHARS)
}

/// Percent-escapes all but RFC 3986's unreserved characters; `/` as well, so that a name stays one part of the path.
fn escape(name: &str, path: &mut String) {
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            path.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
}
