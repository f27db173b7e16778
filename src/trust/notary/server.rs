//! A Notary server, asked over HTTPS (spec/notary-tuf.md, sections 1 and 2).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::image::Repository;
use crate::net::auth::{Asker, DockerConfig, Session};
use crate::net::{Bounds, HeaderMap, NetError};
use crate::trust::tuf::Fetch;

/// Tries per file, where the server is busy or the connection broke.
const TRIES: u32 = 3;
/// Wait before the second try; doubled for the third.
const BACKOFF: Duration = Duration::from_millis(100);

/// A fetch that begins later than this after its check had not the whole time of one answer.
const EARLY: Duration = Duration::from_millis(250);

/// Why a file did not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FetchError {
    /// The network, TLS, or credentials.
    Net(NetError),
    /// An answer that is neither the file nor "there is none".
    Status {
        /// The server.
        host: String,
        /// Its HTTP status.
        status: u16,
        /// How long it wants to be left alone.
        rest: Option<Duration>,
        /// Whether it says that it is there, and has too much to do.
        is_busy: bool,
        /// Whether this was the answer about what every check begins with.
        is_first: bool,
    },
    /// It came too slowly, or was asked for too late: that says nothing about the server.
    Slow(NetError),
    /// Status 200, and no JSON: a page of somebody in between, perhaps.
    NoJson {
        /// The server.
        host: String,
    },
}

/// One repository's files on a server, until a deadline.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) session: Arc<Session>,
    pub(super) credentials: Arc<DockerConfig>,
    pub(super) repository: Repository,
    /// When the check began.
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
}

impl Fetch for Server {
    type Error = FetchError;
    const PARALLEL: bool = true;

    async fn fetch(&self, name: String, most: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let path = format!("v2/{}/_trust/tuf/{name}", self.repository);
        let scope = format!("repository:{}:pull", self.repository);
        let asker = Asker { scope: &scope, credentials: self.credentials.for_host(self.repository.host_str()) };
        let mut wait = BACKOFF;
        // What is asked first shows whether the server is there; the rest may be one repository's.
        let is_first = matches!(name.as_str(), "timestamp.json" | "root.json");
        for tries_left in (0..TRIES).rev() {
            let is_early = is_first && self.begun.elapsed() < EARLY;
            let time = self.deadline.saturating_duration_since(Instant::now());
            let answer = self.session.get(&path, HeaderMap::new(), asker, Bounds { bytes: most, time }).await;
            let error = match answer {
                Ok(answer) => match answer.status {
                    200 if name == "timestamp.json" && answer.body.trim_ascii_start().first() != Some(&b'{') => {
                        return Err(FetchError::NoJson { host: self.session.host() });
                    }
                    200 => return Ok(Some(answer.body)),
                    404 => return Ok(None),
                    403 => {
                        let why = "it refuses access (403)".to_owned();
                        return Err(FetchError::Net(NetError::Unauthorized { host: self.session.host(), why }));
                    }
                    status => {
                        let rest =
                            answer.header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
                        let is_busy = status == 429 || (status == 503 && answer.header("retry-after").is_some());
                        let error = FetchError::Status { host: self.session.host(), status, rest, is_busy, is_first };
                        if status != 429 && status < 500 {
                            return Err(error);
                        }
                        wait = wait.max(rest.unwrap_or_default());
                        error
                    }
                },
                Err(NetError::Unauthorized { host, why }) if asker.credentials.is_none() => {
                    let why = format!("{why}; {}", self.credentials.missing(self.repository.host_str()));
                    return Err(FetchError::Net(NetError::Unauthorized { host, why }));
                }
                Err(error @ NetError::Unreachable { .. }) => FetchError::Net(error),
                Err(error @ NetError::Stalled { .. }) => return Err(FetchError::Slow(error)),
                Err(error @ NetError::Timeout { .. }) if !is_early => return Err(FetchError::Slow(error)),
                Err(error) => return Err(FetchError::Net(error)),
            };
            if tries_left == 0 || self.deadline.saturating_duration_since(Instant::now()) / 2 < wait {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2);
        }
        Err(FetchError::Status { host: self.session.host(), status: 0, rest: None, is_busy: false, is_first: false })
    }
}
