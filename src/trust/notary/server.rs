//! A Notary server, asked over HTTPS (docs/notary-v1.md, sections 1 and 2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::budget::Share;
use super::state::{Read, StateDir};
use crate::image::Repository;
use crate::net::auth::{Asker, DockerConfig, Session};
use crate::net::{Bounds, HeaderMap, NetError};
use crate::trust::TrustError;
use crate::trust::tuf::{Fetch, RoleName};

/// Tries per file, where the server is busy or the connection broke.
const TRIES: u32 = 3;
/// Wait before the second try; doubled for the third.
const BACKOFF: Duration = Duration::from_millis(100);

/// Files of which nobody has said how large they are are asked for with these bounds first, so that room is taken for what comes
/// and not for what might.
const CAUTIOUS: [u64; 2] = [16 << 10, 256 << 10];
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
    /// The connection broke, after the server had answered: that may be one file's doing.
    Broken(NetError),
    /// It came too slowly, or was asked for too late: that says nothing about the server.
    Slow(NetError),
    /// There was no room for it here.
    Full(TrustError),
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
    /// Where files are kept of what was verified before.
    pub(super) state: StateDir,
    /// Those, once they were needed.
    pub(super) kept: Arc<OnceCell<BTreeMap<String, Arc<[u8]>>>>,
    /// What the check may hold in memory.
    pub(super) share: Arc<Share>,
    /// Whether it has answered in this check: then it is there.
    pub(super) answered: Arc<AtomicBool>,
    /// When the check began.
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
}

impl Fetch for Server {
    type Error = FetchError;
    const PARALLEL: bool = true;

    async fn fetch(&self, name: String, most: u64) -> Result<Option<Vec<u8>>, FetchError> {
        // A file by its hash has the length that its parent lists.
        let is_listed = !name.ends_with("root.json") && name != "timestamp.json";
        let steps = CAUTIOUS.iter().copied().filter(|step| !is_listed && *step < most).chain([most]);
        let mut taken = 0;
        for step in steps {
            self.share.take(step.saturating_sub(taken)).await.map_err(FetchError::Full)?;
            taken = step;
            let answer = self.ask(&name, step).await;
            if step < most && matches!(answer, Err(FetchError::Net(NetError::TooLarge { .. }))) {
                continue;
            }
            let used = answer.as_ref().map_or(0, |raw| raw.as_ref().map_or(0, Vec::len));
            self.share.give_back(taken.saturating_sub(used as u64)).await;
            return answer;
        }
        Ok(None)
    }

    async fn kept(&self, role: &RoleName) -> Option<Arc<[u8]>> {
        let kept = self.kept.get_or_init(|| async {
            let (state, name) = (self.state.clone(), self.repository.as_str().to_owned());
            // Without room for them they are asked for, which needs room as well.
            if self.share.take(state.size(&name)).await.is_err() {
                return BTreeMap::new();
            }
            match tokio::task::spawn_blocking(move || state.read(&name)).await {
                Ok(Read::Kept(stored, ..)) => stored.files,
                Ok(Read::Nothing | Read::Damaged(_) | Read::Failed(_)) | Err(_) => BTreeMap::new(),
            }
        });
        kept.await.get(role.as_str()).cloned()
    }
}

impl Server {
    /// One file of at most so many bytes.
    async fn ask(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let path = format!("v2/{}/_trust/tuf/{name}", self.repository);
        let scope = format!("repository:{}:pull", self.repository);
        let asker = Asker { scope: &scope, credentials: self.credentials.for_host(self.repository.host_str()) };
        let mut wait = BACKOFF;
        // What is asked first shows whether the server is there; the rest may be one repository's.
        let is_first = matches!(name, "timestamp.json" | "root.json") && !self.answered.load(Ordering::Relaxed);
        for tries_left in (0..TRIES).rev() {
            let is_early = is_first && self.begun.elapsed() < EARLY;
            let time = self.deadline.saturating_duration_since(Instant::now());
            let answer = self.session.get(&path, HeaderMap::new(), asker, Bounds { bytes: most, time }).await;
            let error = match answer {
                Ok(answer) => match answer.status {
                    200 if name == "timestamp.json" && answer.body.trim_ascii_start().first() != Some(&b'{') => {
                        return Err(FetchError::NoJson { host: self.session.host() });
                    }
                    200 => {
                        self.answered.store(true, Ordering::Relaxed);
                        return Ok(Some(answer.body));
                    }
                    404 => {
                        self.answered.store(true, Ordering::Relaxed);
                        return Ok(None);
                    }
                    403 => {
                        let why = "it refuses access (403)".to_owned();
                        return Err(FetchError::Net(NetError::Unauthorized { host: self.session.host(), why }));
                    }
                    status => {
                        let (rest, is_busy) = (answer.rest(), answer.is_busy());
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
                Err(error @ NetError::Unreachable { .. }) if is_first => FetchError::Net(error),
                Err(error @ NetError::Unreachable { .. }) => FetchError::Broken(error),
                Err(error @ NetError::Cut { .. }) => FetchError::Slow(error),
                Err(error @ (NetError::Tls { .. } | NetError::CaRefused { .. })) if !is_first => {
                    return Err(FetchError::Broken(error));
                }
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
