//! A container's name can move between the gate's look and the daemon's. So calls that start by a name, and calls that give
//! that name, exclude each other from AuthZReq until the matching AuthZRes, bounded in time (DESIGN, section 4). A name that is
//! lost (also without a call: a container that removes itself) means nothing any more, or another container by the beginning
//! of its id; `gather` refuses to start by a name of which that can be.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a lease holds when no AuthZRes ends it (another plugin refused the call, the daemon went away). Longer than
/// ordinary starts take; what takes longer is looked at again when it ends.
const HELD: Duration = Duration::from_secs(20);
/// How long an ended-by-time lease is remembered, so that its AuthZRes can be told that it was too late.
const REMEMBERED: Duration = Duration::from_mins(10);
/// Most leases at once, remembered ones included. Stops memory from being filled by calls that never end; reached only under
/// attack. Remembered ones make room for new ones.
const MAX_LEASES: usize = 4096;

/// What a call does to names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Starts what this name or id prefix means.
    Start(String),
    /// Gives this name to a container.
    Give(String),
}

/// A lease is not to be had in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy;

/// How a start's lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It held until now: the container started is the one judged.
    InTime,
    /// It ran out before; the container judged is named.
    TooLate {
        /// Its whole id.
        judged: Option<String>,
    },
    /// There was none (the gate was restarted in between).
    Unknown,
}

/// All leases.
#[derive(Default)]
pub struct Leases {
    held: Mutex<Vec<Held>>,
    changed: Notify,
}

struct Held {
    /// Of method and target of the call, as dockerd repeats them in AuthZRes.
    call: Key,
    is_start: bool,
    name: Key,
    until: Instant,
    judged: Option<String>,
}

/// Clients choose targets and names, up to the size of a request's head; what is kept of them is their hash.
type Key = [u8; 32];

fn key(text: &str) -> Key {
    Sha256::digest(text.as_bytes()).into()
}

impl Claim {
    /// Whether it starts, and the name.
    fn parts(&self) -> (bool, Key) {
        match self {
            Self::Start(name) => (true, key(name)),
            Self::Give(name) => (false, key(name)),
        }
    }
}

impl Leases {
    /// Waits until `claim` excludes nothing that is held, at most until `deadline`, and holds it for `call`.
    pub async fn hold(&self, call: &str, claim: &Claim, deadline: Instant) -> Result<(), Busy> {
        let (call, (is_start, name)) = (key(call), claim.parts());
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = Instant::now();
            let next = {
                let mut held = self.lock();
                // Only a start is told that it was too late. Calls that another plugin refuses never end here, and must not pile up.
                let is_remembered = |lease: &Held| lease.is_start && lease.until + REMEMBERED > now;
                held.retain(|lease| lease.until > now || is_remembered(lease));
                if held.len() >= MAX_LEASES {
                    held.retain(|lease| lease.until > now);
                }
                let excludes = |lease: &&Held| lease.until > now && lease.is_start != is_start && lease.name == name;
                let blocking = held.iter().filter(excludes);
                match blocking.map(|lease| lease.until).min() {
                    None if held.len() >= MAX_LEASES => return Err(Busy),
                    None => {
                        held.push(Held { call, is_start, name, until: now + HELD, judged: None });
                        return Ok(());
                    }
                    Some(until) => until,
                }
            };
            if now >= deadline {
                return Err(Busy);
            }
            tokio::select! {
                () = &mut changed => {}
                () = tokio::time::sleep_until(next.min(deadline)) => {}
            }
        }
    }

    /// Notes which container a start was judged by.
    pub fn judged(&self, call: &str, container: &str) {
        let call = key(call);
        if let Some(lease) = self.lock().iter_mut().rev().find(|lease| lease.call == call) {
            lease.judged = Some(container.to_owned());
        }
    }

    /// Ends the oldest lease of `call`.
    pub fn end(&self, call: &str) -> Ended {
        let call = key(call);
        let mut held = self.lock();
        let Some(at) = held.iter().position(|lease| lease.call == call) else { return Ended::Unknown };
        let lease = held.remove(at);
        drop(held);
        self.changed.notify_waiters();
        if lease.until > Instant::now() { Ended::InTime } else { Ended::TooLate { judged: lease.judged } }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_not_given_while_a_start_by_it_is_under_way() {
        let leases = Leases::default();
        leases.hold("POST /containers/web/start", &Claim::Start("web".into()), soon()).await.unwrap();
        assert_eq!(leases.hold("rename", &Claim::Give("web".into()), soon()).await, Err(Busy));
        assert_eq!(leases.hold("create", &Claim::Give("web".into()), soon()).await, Err(Busy));
        leases.hold("create", &Claim::Give("other".into()), soon()).await.unwrap();
        assert_eq!(leases.end("POST /containers/web/start"), Ended::InTime);
        leases.hold("rename", &Claim::Give("web".into()), soon()).await.unwrap();
        assert_eq!(leases.hold("start", &Claim::Start("web".into()), soon()).await, Err(Busy));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_never_end_do_not_fill_the_leases() {
        let leases = Leases::default();
        for number in 0..MAX_LEASES {
            leases.hold("create", &Claim::Give(format!("c{number}")), soon()).await.unwrap();
        }
        assert_eq!(leases.hold("create", &Claim::Give("one-more".into()), soon()).await, Err(Busy));
        tokio::time::advance(HELD).await;
        leases.hold("create", &Claim::Give("later".into()), soon()).await.unwrap();
        assert_eq!(leases.lock().len(), 1);
        for number in 1..MAX_LEASES {
            leases.hold("start", &Claim::Start(format!("c{number}")), soon()).await.unwrap();
        }
        tokio::time::advance(HELD).await;
        for name in ["one", "two"] {
            leases.hold("start", &Claim::Start(name.into()), soon()).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_on_when_the_lease_ends_or_runs_out() {
        let leases = std::sync::Arc::new(Leases::default());
        leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
        leases.judged("start", "c1");
        let waiting = {
            let leases = leases.clone();
            tokio::spawn(async move { leases.hold("rename", &Claim::Give("web".into()), Instant::now() + HELD * 2).await })
        };
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert_eq!(leases.end("start"), Ended::TooLate { judged: Some("c1".into()) });
        assert_eq!(leases.end("start"), Ended::Unknown);
    }
}
