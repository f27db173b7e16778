//! Over which HTTP may a call have come to the engine? Where it may have been HTTP/2, headers can hide a form
//! (`request::Transport`), and gRPC is answered without a question to anybody.
//!
//! What is found out is of one process of the engine, and ends with it: the next may be of another release, or have another
//! environment. Before the first look, and from a restart to the next look, a call may have come over HTTP/2.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::engine::{Api, EngineError, Http2, Link};

/// What is known.
#[derive(Default)]
pub(super) struct Transport {
    known: Mutex<Option<Known>>,
    /// One look at a time: who waits finds its result.
    looking: tokio::sync::Mutex<()>,
}

struct Known {
    link: Link,
    served: Served,
}

/// What the engine makes of cleartext HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// A release before 29.2, which has no such server.
    Never,
    /// What its socket did when it was asked.
    Asked(Http2),
}

impl Transport {
    /// What is known of the process that serves now; `None`: nothing.
    pub(super) fn served(&self) -> Option<Served> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| !known.link.is_open()) {
            *known = None;
        }
        known.as_ref().map(|known| known.served)
    }

    /// As [`Transport::served`], after a look if nothing is known.
    pub(super) async fn served_or_look(&self, engine: &dyn Api, deadline: Instant) -> Option<Served> {
        if let Some(served) = self.served() {
            return Some(served);
        }
        let _turn = tokio::time::timeout_at(deadline, self.looking.lock()).await.ok()?;
        match self.served() {
            Some(served) => Some(served),
            None => self.find_out(engine, deadline).await.ok(),
        }
    }

    /// Looks, whatever is known. An error says that nothing new is.
    pub(super) async fn look(&self, engine: &dyn Api, deadline: Instant) -> Result<Served, EngineError> {
        let turn = tokio::time::timeout_at(deadline, self.looking.lock()).await;
        let _turn = turn.map_err(|_| EngineError::Timeout { call: "HEAD /_ping".to_owned() })?;
        self.find_out(engine, deadline).await
    }

    async fn find_out(&self, engine: &dyn Api, deadline: Instant) -> Result<Served, EngineError> {
        // First the link: if it is open at the end, one process has answered everything.
        let link = engine.link(deadline).await?;
        let served = if serves_http2(&engine.version(deadline).await?.engine) {
            Served::Asked(engine.http2(deadline).await?)
        } else {
            Served::Never
        };
        // Silence says nothing. What was known of this process stays true.
        if served != Served::Asked(Http2::Silent) && link.is_open() {
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known { link, served });
        }
        Ok(served)
    }
}

/// Whether an engine of this version serves cleartext HTTP/2 (spec of dockerd, finding 1: from 29.2 on). A version that is no
/// release's may.
fn serves_http2(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (29, 2),
        _ => true,
    }
}
