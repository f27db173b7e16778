//! Where else the bytes of Docker Hub are: the engine's `registry-mirrors`. What comes from there is evidence of bytes that are asked for by their
//! digest, and of nothing else: what a tag is for, and what points at a digest, the origin alone says.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::RegistryError;
use crate::image::{Host, Repository};
use crate::net::is_gone;

const DOCKER_HUB: &str = "docker.io";
/// Most mirrors that are asked. Engines have one or two.
const MIRRORS: usize = 4;
/// How long it is known which they are: the engine may read its settings again.
const KNOWN: Duration = Duration::from_secs(10);
/// How long one that gives no answer is left alone: else each question would wait for it.
const REST: Duration = Duration::from_secs(30);
/// No answer in less says nothing about who was asked.
const LEAST: Duration = Duration::from_millis(500);

/// The mirrors of the host's engine.
#[derive(Debug, Default)]
pub struct Mirrors {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    urls: Vec<String>,
    /// Since when that is known.
    since: Option<Instant>,
    /// Those that are left alone, until when.
    resting: HashMap<Host, Instant>,
}

impl Mirrors {
    /// Asks the engine which they are, if that is due for what is asked of this repository. One asks at a time, others go by what is known; where the
    /// engine does not tell, what it said before stays as long as if it had said it again.
    pub async fn learn(&self, repository: &Repository, ask: impl Future<Output = Option<Vec<String>>>) {
        if repository.host_str() == DOCKER_HUB
            && self.is_due()
            && let Some(urls) = ask.await
        {
            self.take(urls);
        }
    }

    /// Whether the engine is to be asked: then whoever hears that asks it, and nobody else.
    fn is_due(&self) -> bool {
        let mut state = self.state();
        let is_due = state.since.is_none_or(|since| since.elapsed() >= KNOWN);
        if is_due {
            state.since = Some(Instant::now());
        }
        is_due
    }

    /// What the engine says.
    pub fn take(&self, urls: Vec<String>) {
        let mut state = self.state();
        (state.urls, state.since) = (urls, Some(Instant::now()));
        state.resting.retain(|_, until| Instant::now() < *until);
    }

    /// What the first of them has that gives an answer; `None`: the origin is to be asked. Each gets half of the time that is left, so that a silent
    /// one leaves some to the next, and to the origin. One that is not there is left alone for a while; one that has no good answer to this may have it
    /// to the next question, which another client asks.
    pub async fn ask<T, F>(
        &self,
        repository: &Repository,
        deadline: Instant,
        ask: impl Fn(Repository, Instant) -> F + Send,
    ) -> Option<T>
    where
        F: Future<Output = Result<T, RegistryError>> + Send,
    {
        for mirror in self.of(repository) {
            let now = Instant::now();
            let half = now + deadline.saturating_duration_since(now) / 2;
            let host = mirror.host();
            match timeout_at(half, ask(mirror, half)).await {
                Ok(Ok(found)) => return Some(found),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a mirror of the engine has no usable answer");
                    if let RegistryError::Net(error) = error
                        && is_gone(&Err(error))
                    {
                        self.rest(host);
                    }
                }
                Err(_elapsed) if half - now >= LEAST => self.rest(host),
                Err(_elapsed) => {}
            }
        }
        None
    }

    /// Those that are asked for the bytes of a repository, as it is called there.
    fn of(&self, repository: &Repository) -> Vec<Repository> {
        let state = self.state();
        let there = state.urls.iter().filter_map(|url| mirrored(repository, url));
        let is_up = |mirror: &Repository| state.resting.get(&mirror.host()).is_none_or(|until| Instant::now() >= *until);
        there.take(MIRRORS).filter(is_up).collect()
    }

    fn rest(&self, host: Host) {
        self.state().resting.insert(host, Instant::now() + REST);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The repository on a mirror that stands for this one; `None` where it is not Docker Hub's, or the mirror is no `scheme://host[:port]`.
fn mirrored(repository: &Repository, mirror: &str) -> Option<Repository> {
    if repository.host_str() != DOCKER_HUB {
        return None;
    }
    let (_, host) = mirror.split_once("://")?;
    let name = format!("{}/{}", host.trim_end_matches('/').parse::<Host>().ok()?, repository.path());
    name.parse::<Repository>().ok().filter(|found| found.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetError;

    #[test]
    fn a_mirror_stands_for_docker_hub_alone() {
        let of = |name: &str, mirror: &str| mirrored(&name.parse().unwrap(), mirror).map(|found| found.to_string());
        let found = Some("mirror.example:5000/library/busybox".to_owned());
        assert_eq!(of("busybox", "https://mirror.example:5000/"), found);
        assert_eq!(of("busybox", "https://mirror.example:5000"), found);
        for (name, mirror) in [
            ("r.example/busybox", "https://mirror.example"),
            ("busybox", "mirror.example"),
            ("busybox", "https://user:word@mirror.example"),
            ("busybox", "https://mirror.example/below"),
        ] {
            assert_eq!(of(name, mirror), None, "{name} {mirror}");
        }
    }

    /// What a mirror says to one client's question is nothing about those of others; one that is not there is left alone.
    #[tokio::test(start_paused = true)]
    async fn the_first_mirror_with_an_answer_is_enough_and_one_that_is_not_there_is_left_alone_for_a_while() {
        let mirrors = Mirrors::default();
        let (hub, other): (Repository, Repository) = ("busybox".parse().unwrap(), "r.example/busybox".parse().unwrap());
        let names = ["silent", "gone", "empty", "denies", "busy", "broken", "good"].map(|name| format!("{name}.example"));
        mirrors.take(names.iter().map(|name| format!("https://{name}")).take(MIRRORS).collect());
        let asked = Mutex::new(Vec::new());
        let ask = |mirror: Repository, _: Instant| {
            let (host, what) = (mirror.host_str().to_owned(), String::new());
            asked.lock().unwrap().push(host.clone());
            async move {
                Err(match host.as_str() {
                    "silent.example" => std::future::pending().await,
                    "gone.example" => RegistryError::Net(NetError::Unreachable { host, cause: what }),
                    "empty.example" => RegistryError::NotFound { host, what },
                    "denies.example" => RegistryError::Denied { host, what },
                    "busy.example" => RegistryError::Busy { host, what, status: 429 },
                    "broken.example" => RegistryError::Undecodable { what, cause: String::new() },
                    _ => return Ok(host),
                })
            }
        };
        let within = |time| Instant::now() + Duration::from_millis(time);
        let asked_now = || std::mem::take(&mut *asked.lock().unwrap());
        let begun = Instant::now();
        assert_eq!(mirrors.ask(&hub, within(8000), ask).await, None);
        assert!(begun.elapsed() <= Duration::from_millis(4100));
        assert_eq!(asked_now(), names.get(..4).unwrap());
        assert_eq!(mirrors.ask(&hub, within(8000), ask).await, None);
        assert_eq!(asked_now(), names.get(2..4).unwrap());
        mirrors.take(names.iter().map(|name| format!("https://{name}")).skip(3).collect());
        for _ in 0..2 {
            assert_eq!(mirrors.ask(&hub, within(8000), ask).await.as_deref(), Some("good.example"));
            assert_eq!(asked_now(), names.get(3..).unwrap());
        }
        // After a while it is asked again; and who has hardly any time left says nothing about it.
        mirrors.take(names.iter().map(|name| format!("https://{name}")).take(1).collect());
        tokio::time::advance(REST).await;
        for (time, expected) in [(20, 1), (900, 1), (1100, 1), (1100, 0)] {
            assert_eq!(mirrors.ask(&hub, within(time), ask).await, None);
            assert_eq!(asked_now().len(), expected, "{time}");
        }
        // Nobody else's bytes are looked for there.
        tokio::time::advance(REST).await;
        assert_eq!(mirrors.ask(&other, within(8000), ask).await, None);
        mirrors.take(Vec::new());
        assert_eq!(mirrors.ask(&hub, within(8000), ask).await, None);
        assert_eq!(asked_now(), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_engine_is_asked_now_and_then_also_where_it_does_not_tell() {
        let mirrors = Mirrors::default();
        let (hub, other): (Repository, Repository) = ("busybox".parse().unwrap(), "r.example/busybox".parse().unwrap());
        let asked = Mutex::new(0);
        let learn = async |repository: &Repository, says: Option<&str>| {
            let says = says.map(|url| vec![url.to_owned()]);
            let ask = async {
                *asked.lock().unwrap() += 1;
                says
            };
            mirrors.learn(repository, ask).await;
            (std::mem::take(&mut *asked.lock().unwrap()), mirrors.of(&hub).len())
        };
        assert_eq!(learn(&other, Some("https://m.example")).await, (0, 0));
        assert_eq!(learn(&hub, Some("https://m.example")).await, (1, 1));
        assert_eq!(learn(&hub, None).await, (0, 1));
        tokio::time::advance(KNOWN).await;
        // It does not tell: what it said stays, and it is not asked by each call.
        assert_eq!(learn(&hub, None).await, (1, 1));
        assert_eq!(learn(&hub, None).await, (0, 1));
        tokio::time::advance(KNOWN).await;
        // While one waits for it, and when that one has given up, the others do not.
        let waiting = tokio::time::timeout(Duration::from_millis(300), mirrors.learn(&hub, std::future::pending()));
        let (ended, beside) = tokio::join!(waiting, learn(&hub, Some("https://m.example")));
        assert!(ended.is_err());
        assert_eq!(beside, (0, 1));
        assert_eq!(learn(&hub, None).await, (0, 1));
    }
}
