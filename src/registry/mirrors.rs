//! Where else the bytes of Docker Hub are: the engine's `registry-mirrors`. What comes from there is evidence of bytes that are asked for by their
//! digest, and of nothing else: what a tag is for, and what points at a digest, the origin alone says.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::RegistryError;
use crate::image::{Host, Repository};

const DOCKER_HUB: &str = "docker.io";
/// Most mirrors that are asked. Engines have one or two.
const MIRRORS: usize = 4;
/// How long it is known which they are: the engine may read its settings again.
const KNOWN: Duration = Duration::from_mins(1);
/// How long one that gives no answer is left alone: else each question would wait for it.
const REST: Duration = Duration::from_secs(30);

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
    /// Whether the engine has to be asked which they are, for what is asked of this repository.
    #[must_use]
    pub fn are_due(&self, repository: &Repository) -> bool {
        repository.host_str() == DOCKER_HUB && self.state().since.is_none_or(|since| since.elapsed() >= KNOWN)
    }

    /// What the engine says.
    pub fn take(&self, urls: Vec<String>) {
        let mut state = self.state();
        (state.urls, state.since) = (urls, Some(Instant::now()));
        state.resting.retain(|_, until| Instant::now() < *until);
    }

    /// What the first of them has that gives an answer; `None`: the origin is to be asked. Each gets half of the time that is left, so that a silent
    /// one leaves some to the next, and to the origin.
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
                // It is there, and has not this.
                Ok(Err(RegistryError::NotFound { .. })) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a mirror of the engine has no usable answer");
                    self.rest(host);
                }
                Err(_elapsed) => self.rest(host),
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

    #[tokio::test(start_paused = true)]
    async fn the_first_mirror_with_an_answer_is_enough_and_one_without_is_left_alone_for_a_while() {
        let mirrors = Mirrors::default();
        let (hub, other): (Repository, Repository) = ("busybox".parse().unwrap(), "r.example/busybox".parse().unwrap());
        assert!(mirrors.are_due(&hub) && !mirrors.are_due(&other));
        mirrors.take(vec!["https://silent.example".into(), "https://empty.example".into(), "https://good.example".into()]);
        assert!(!mirrors.are_due(&hub));
        let asked = Mutex::new(Vec::new());
        let ask = |mirror: Repository, _: Instant| {
            asked.lock().unwrap().push(mirror.host_str().to_owned());
            async move {
                match mirror.host_str() {
                    "silent.example" => std::future::pending().await,
                    "empty.example" => Err(RegistryError::NotFound { host: String::new(), what: String::new() }),
                    host => Ok(host.to_owned()),
                }
            }
        };
        let within = || Instant::now() + Duration::from_secs(3);
        let begun = Instant::now();
        assert_eq!(mirrors.ask(&hub, within(), ask).await.as_deref(), Some("good.example"));
        assert!(begun.elapsed() <= Duration::from_millis(1600));
        assert_eq!(std::mem::take(&mut *asked.lock().unwrap()), ["silent.example", "empty.example", "good.example"]);
        assert_eq!(mirrors.ask(&hub, within(), ask).await.as_deref(), Some("good.example"));
        assert_eq!(std::mem::take(&mut *asked.lock().unwrap()), ["empty.example", "good.example"]);
        tokio::time::advance(KNOWN).await;
        assert!(mirrors.are_due(&hub));
        assert_eq!(mirrors.ask(&hub, within(), ask).await.as_deref(), Some("good.example"));
        assert_eq!(std::mem::take(&mut *asked.lock().unwrap()).first().map(String::as_str), Some("silent.example"));
        // Nobody else's bytes are looked for there.
        assert_eq!(mirrors.ask(&other, within(), ask).await, None);
        mirrors.take(Vec::new());
        assert_eq!(mirrors.ask(&hub, within(), ask).await, None);
    }
}
