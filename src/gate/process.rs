//! What the engine's process does with a call that the call itself does not show: over which HTTP it may have come, and in which
//! control groups a container is put that does not say. Where it may have been HTTP/2, headers can hide a form
//! (`request::Transport`), and gRPC is answered without a question to anybody.
//!
//! What is found out is of one process of the engine, and ends with it: the next may be of another release, or have another
//! environment. Before the first look, and from a restart to the next look, the worse is taken to be true.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::engine::{Api, EngineError, Http2, Info, Link};
use crate::request::Cgroupns;

/// What is known.
#[derive(Default)]
pub(super) struct Process {
    known: Mutex<Option<Known>>,
    /// One look at a time: who waits finds its result.
    looking: tokio::sync::Mutex<()>,
}

struct Known {
    link: Link,
    found: Found,
}

/// What a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// What it makes of cleartext HTTP/2.
    pub served: Served,
    /// Its default for control groups.
    pub cgroupns: Cgroupns,
}

/// What the engine makes of cleartext HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// A release before 29.2, which has no such server.
    Never,
    /// What its socket did when it was asked.
    Asked(Http2),
}

impl Process {
    /// What is known of the process that serves now; `None`: nothing.
    pub(super) fn known(&self) -> Option<Found> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| !known.link.is_open()) {
            *known = None;
        }
        known.as_ref().map(|known| known.found)
    }

    /// As [`Process::known`], after a look if nothing is known.
    pub(super) async fn known_or_look(&self, engine: &dyn Api, deadline: Instant) -> Option<Found> {
        if let Some(found) = self.known() {
            return Some(found);
        }
        let _turn = tokio::time::timeout_at(deadline, self.looking.lock()).await.ok()?;
        match self.known() {
            Some(found) => Some(found),
            None => self.find_out(engine, deadline).await.ok(),
        }
    }

    /// Looks, whatever is known. An error says that nothing new is.
    pub(super) async fn look(&self, engine: &dyn Api, deadline: Instant) -> Result<Found, EngineError> {
        let turn = tokio::time::timeout_at(deadline, self.looking.lock()).await;
        let _turn = turn.map_err(|_| EngineError::Timeout { call: "HEAD /_ping".to_owned() })?;
        self.find_out(engine, deadline).await
    }

    async fn find_out(&self, engine: &dyn Api, deadline: Instant) -> Result<Found, EngineError> {
        // First the link: if it is open at the end, one process has answered everything.
        let link = engine.link(deadline).await?;
        let served = if serves_http2(&engine.version(deadline).await?.engine) {
            Served::Asked(engine.http2(deadline).await?)
        } else {
            Served::Never
        };
        let found = Found { served, cgroupns: cgroupns(&engine.info(deadline).await?) };
        // Silence says nothing. What was known of this process stays true.
        if served != Served::Asked(Http2::Silent) && link.is_open() {
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known { link, found });
        }
        Ok(found)
    }
}

/// Whether an engine of this version serves cleartext HTTP/2 (docs/engines.md: from 29.2 on). A version that is no
/// release's may.
fn serves_http2(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (29, 2),
        _ => true,
    }
}

/// In which control groups a create is put that does not say (moby, `cgroupNamespacesEnabled`: `cgroupns` among the security
/// options says that the daemon's default is a namespace of its own; `postContainersCreate`: with control groups version 1 and an API
/// before 1.41 it is the host's all the same).
fn cgroupns(info: &Info) -> Cgroupns {
    let is_private = info.security.iter().any(|option| option == "cgroupns");
    match (is_private, info.cgroup.as_str()) {
        (false, _) | (true, "2") => Cgroupns::Daemons,
        (true, _) => Cgroupns::HostBefore141,
    }
}
