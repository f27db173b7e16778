//! A server that gives no answer: what that shows, whether the server is gone, and for how long it is then not asked.
//!
//! An outage is what the server did, never what one repository costs: one question about no repository confirms it.

use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::error::NotaryError;
use super::lock;
use super::server::FetchError;
use crate::net::auth::Session;
use crate::net::{self, Bounds, HeaderMap, NetError};
use crate::trust::TrustError;
use crate::trust::asking::{PROBE_TIME, Probe};

/// How long a server that is gone is not asked again on behalf of a start; at first, doubling, and at most.
const OUTAGE_FIRST: Duration = Duration::from_secs(1);
const OUTAGE_TIME: Duration = Duration::from_secs(30);
/// Largest answer to the question that confirms an outage.
const PROBE_BYTES: u64 = 64 << 10;

/// Whether the server is there, as far as anybody asked.
pub(super) struct Reach {
    /// The server, for people.
    server: String,
    /// How long the network gets for one answer.
    time: Duration,
    outage: Mutex<Option<Outage>>,
    probe: Probe,
}

/// A server that is gone.
struct Outage {
    /// Since when, as far as anybody asked.
    since: Timestamp,
    found: Instant,
    /// When it is asked again.
    until: Instant,
    wait: Duration,
    error: TrustError,
}

/// Why a flight brought nothing.
#[derive(Debug, Clone)]
pub(super) enum Miss {
    /// The server answered, and the answer is no.
    Refused(TrustError),
    /// Our own pins refuse what is known: a no, which says nothing about the server and is not remembered. Pins are checked
    /// at every use, so that nothing passes by it; and a pin that was wrong is made good by the right one.
    Pinned(TrustError),
    /// The server gave no answer.
    NoAnswer(TrustError),
    /// It could not be found out, and that was not the server's being away: what is known is not used in its place.
    Unsure(TrustError),
}

impl Reach {
    pub(super) fn new(server: String, time: Duration) -> Self {
        Self { server, time, outage: Mutex::default(), probe: Probe::default() }
    }

    /// Since when it is gone.
    pub(super) fn out_since(&self) -> Option<Timestamp> {
        lock(&self.outage).as_ref().map(|outage| outage.since)
    }

    /// The outage that is remembered. When its time is over, one who asks finds out whether it lasts; the others go on without.
    pub(super) fn out_of_reach(&self) -> Option<TrustError> {
        let mut outage = lock(&self.outage);
        let remembered = outage.as_mut()?;
        let now = Instant::now();
        if remembered.until > now {
            return Some(remembered.error.clone());
        }
        remembered.until = now + self.time + PROBE_TIME;
        None
    }

    /// Whether the server is taken to be gone.
    pub(super) fn is_out(&self) -> bool {
        lock(&self.outage).as_ref().is_some_and(|outage| outage.until > Instant::now())
    }

    pub(super) fn reached(&self) {
        *lock(&self.outage) = None;
    }

    /// Remembers that the server is gone, for the other repositories: asked again after a second, and then ever more seldom.
    fn gone(&self, error: &TrustError, asked: Instant, now: Timestamp) {
        let mut outage = lock(&self.outage);
        let (since, wait) = match &*outage {
            None => {
                tracing::warn!(server = self.server, error = %error, "the Notary server is out of reach");
                (now, OUTAGE_FIRST)
            }
            // Many find out at once: one of them counts.
            Some(before) if before.found > asked => return,
            Some(before) => (before.since, before.wait.saturating_mul(2).min(OUTAGE_TIME)),
        };
        let found = Instant::now();
        *outage = Some(Outage { since, found, until: found + wait, wait, error: error.clone() });
    }

    /// Whether the server itself is gone, by one question about no repository, which those who want to know share.
    async fn is_gone(&self, session: &Session) -> bool {
        let ask = async {
            let Ok(url) = session.url("v2/") else { return false };
            let answer = session.client().get(&url, HeaderMap::new(), Bounds { bytes: PROBE_BYTES, time: PROBE_TIME }).await;
            match &answer {
                // Notary answers `{}`; a page of somebody in between is no answer of the server.
                Ok(answer) if answer.status == 200 => answer.body.trim_ascii_start().first().is_some_and(|byte| *byte != b'{'),
                answer => net::is_gone(answer),
            }
        };
        self.probe.is_gone(ask).await
    }

    /// What follows where a file did not come. An outage is what the server did, never what one repository costs: only that lets
    /// what is known be used, and it counts for other repositories only once a question about none confirms it.
    pub(super) async fn missed(&self, session: &Session, error: FetchError, now: Timestamp) -> Miss {
        let asked = Instant::now();
        let (error, otherwise): (NotaryError, fn(TrustError) -> Miss) = match error {
            FetchError::Full(error) => return Miss::Unsure(error),
            FetchError::Status { host, status, rest, is_busy, is_first } => {
                let error = NotaryError::Status { host, status, rest, is_busy };
                if is_busy {
                    return Miss::Unsure(error.into());
                }
                (error, if is_first && status >= 500 { Miss::NoAnswer } else { Miss::Unsure })
            }
            FetchError::Broken(error) => (NotaryError::Broken(error), Miss::Unsure),
            // A try that began late shows nothing by itself: whether the server is gone, the question about none tells.
            FetchError::Slow(error) => (NotaryError::Slow(error), Miss::Unsure),
            FetchError::NoJson { host } => (NotaryError::NoJson { host }, Miss::Refused),
            FetchError::Net(error) => match error {
                NetError::Unreachable { .. } | NetError::Timeout { .. } | NetError::Tls { .. } | NetError::CaRefused { .. } => {
                    (NotaryError::Net(error), Miss::NoAnswer)
                }
                NetError::Stalled { .. }
                | NetError::Cut { .. }
                | NetError::Busy { .. }
                | NetError::Ours { .. }
                | NetError::Unauthorized { .. } => return Miss::Unsure(NotaryError::Net(error).into()),
                NetError::TooLarge { .. } | NetError::Barred { .. } | NetError::Bad(_) => {
                    return Miss::Refused(NotaryError::Net(error).into());
                }
            },
        };
        if self.is_gone(session).await {
            let error = match error {
                slow @ (NotaryError::Slow(_) | NotaryError::NoJson { .. }) => NotaryError::Gone(Box::new(slow)),
                error => error,
            };
            let error = TrustError::from(error);
            self.gone(&error, asked, now);
            return Miss::NoAnswer(error);
        }
        otherwise(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::TrustCode;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stays_away_is_asked_ever_more_seldom_and_soon_again_at_first() {
        let reach = Reach::new("https://notary.invalid".to_owned(), Duration::from_secs(3));
        let error = TrustError::new(TrustCode::Unreachable, "gone");
        let mut waits = Vec::new();
        for _ in 0..7 {
            reach.gone(&error, Instant::now(), Timestamp::UNIX_EPOCH);
            let wait = lock(&reach.outage).as_ref().unwrap().wait;
            waits.push(wait.as_secs());
            // Many find out at once: that is one step.
            reach.gone(&error, Instant::now() - Duration::from_millis(1), Timestamp::UNIX_EPOCH);
            assert!(reach.out_of_reach().is_some());
            tokio::time::advance(wait).await;
            // One who asks finds out; the others go on without.
            assert!(reach.out_of_reach().is_none() && reach.out_of_reach().is_some());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        reach.reached();
        assert!(reach.out_of_reach().is_none());
        reach.gone(&error, Instant::now(), Timestamp::UNIX_EPOCH);
        assert_eq!(lock(&reach.outage).as_ref().unwrap().wait, OUTAGE_FIRST);
    }
}
