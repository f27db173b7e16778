//! What is on the host, as the Docker Engine tells it over its unix socket: images, containers, services, plugins.
//!
//! The room reads (GET, of the API version that it and the engine have in common) and has three effects, [`Api::kill`], [`Api::stop`] and
//! [`Api::remove`], each by full id; its two probes have none.
//! It knows nothing of policy: absence is `None`, everything else that goes wrong is an [`EngineError`]. [`Api`] is the seam:
//! [`Engine`] is the real engine, [`Fake`] the one in memory for tests.

mod client;
mod fake;
mod inspect;
mod link;
mod nudges;
mod own_calls;
mod probe;
mod rows;
mod saved;

use std::future::Future;
use std::pin::Pin;

use tokio::time::Instant;

use crate::image::Digest;

pub use client::{CallLimits, Engine, EngineHostError};
pub use fake::Fake;
pub use inspect::{
    Container, ContainerId, ContainerIdError, ContainerSummary, Exec, Image, ImageSummary, Info, Killed, Listed, Made, Network,
    Plugin, Present, PresentImage, Removed, Service, ServiceSpec, Stopped, Store, Task, TaskClaim, Version,
};
pub use link::Link;
pub use nudges::Nudges;
#[cfg(test)]
pub(crate) use own_calls::of_this_process as own_mark;
pub use own_calls::{CALL_HEADER, PROBE_HEADER};

/// How a stop's path ends. The engine gives the container so many seconds before it kills it.
pub const STOP: &str = "/stop?t=10";
pub use probe::{Http2, Started};
pub use saved::Saved;

/// An answer on its way.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'a>>;

/// What is asked of an engine. Every call ends by its `deadline`, with [`EngineError::Timeout`] if nothing else.
///
/// Names go to the engine as they are given (percent-escaped): the engine decides what they mean, as it will when it acts.
pub trait Api: Send + Sync {
    /// An image by whatever names it: reference, id, beginning of an id. `None`: there is none (404).
    fn image<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Option<Image>>;

    /// What made an image, newest first; by its id. `None`: there is none (404).
    fn history<'a>(&'a self, id: &'a Digest, deadline: Instant) -> Reply<'a, Option<Vec<Made>>>;

    /// A container by name, id or beginning of an id. `None`: there is none (404).
    fn container<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Option<Container>>;

    /// A swarm service by id or name. `None`: there is none (404).
    fn service<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Option<Service>>;

    /// A network by name, id or beginning of an id. `None`: there is none (404).
    fn network<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Option<Network>>;

    /// A managed plugin by name or id. `None`: there is none (404).
    fn plugin<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Option<Plugin>>;

    /// All managed plugins.
    fn plugins(&self, deadline: Instant) -> Reply<'_, Vec<Plugin>>;

    /// An exec instance by its id. `None`: there is none (404).
    fn exec<'a>(&'a self, id: &'a str, deadline: Instant) -> Reply<'a, Option<Exec>>;

    /// All containers, stopped ones included. A row that cannot be read costs no other.
    fn containers(&self, deadline: Instant) -> Reply<'_, Listed>;

    /// The containers that run, paused and restarting ones included, likewise.
    fn running(&self, deadline: Instant) -> Reply<'_, Listed>;

    /// Tells that a container has begun, as the engine's events have it, and nothing of which: it is listed then. The stream must begin by
    /// the deadline, and goes on.
    fn nudges(&self, deadline: Instant) -> Reply<'_, Nudges>;

    /// Tells that an image has come or got another name, likewise and no more: images are listed then.
    fn arrivals(&self, deadline: Instant) -> Reply<'_, Nudges>;

    /// A task of the swarm by its id, as a manager knows it. `None`: there is none (404).
    fn task<'a>(&'a self, id: &'a str, deadline: Instant) -> Reply<'a, Option<Task>>;

    /// The containers with this name, stopped ones included: none or one. Unlike [`Api::container`] it waits for no container's
    /// lock, which a client can hold.
    fn named<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Vec<ContainerSummary>>;

    /// The containers whose ids begin like this, likewise.
    fn beginning<'a>(&'a self, id: &'a str, deadline: Instant) -> Reply<'a, Vec<ContainerSummary>>;

    /// All images but intermediate ones.
    fn images(&self, deadline: Instant) -> Reply<'_, Vec<ImageSummary>>;

    /// Which images there are, likewise, and no more than what each is called. A row that cannot be read costs no other.
    fn present(&self, deadline: Instant) -> Reply<'_, Present>;

    /// The engine's version.
    fn version(&self, deadline: Instant) -> Reply<'_, Version>;

    /// How the engine is set up.
    fn info(&self, deadline: Instant) -> Reply<'_, Info>;

    /// What the socket makes of a gRPC call over cleartext HTTP/2, about which no plugin is asked.
    fn http2(&self, deadline: Instant) -> Reply<'_, Http2>;

    /// A connection that ends when the engine's process does.
    fn link(&self, deadline: Instant) -> Reply<'_, Link>;

    /// Kills a container. By id alone, because a name can come to mean another container meanwhile.
    fn kill<'a>(&'a self, id: &'a ContainerId, deadline: Instant) -> Reply<'a, Killed>;

    /// Stops a container, likewise by id alone; the engine kills one that does not stop by itself ([`STOP`]).
    fn stop<'a>(&'a self, id: &'a ContainerId, deadline: Instant) -> Reply<'a, Stopped>;

    /// Removes a container that does not run, likewise. Its volumes stay.
    fn remove<'a>(&'a self, id: &'a ContainerId, deadline: Instant) -> Reply<'a, Removed>;
}

/// Why the engine's answer is not known. None of these means "there is none".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No connection, or one that broke.
    #[error("the engine at `{socket}` cannot be reached: {cause}")]
    Unreachable {
        /// The socket's path.
        socket: String,
        /// What the system said.
        cause: String,
    },
    /// No whole answer by the deadline.
    #[error("the engine did not answer `{call}` in time")]
    Timeout {
        /// Method and path, bounded.
        call: String,
    },
    /// A status that is neither success nor "there is none".
    #[error("the engine answered `{call}` with status {status}: `{message}`")]
    Status {
        /// Method and path, bounded.
        call: String,
        /// The HTTP status.
        status: u16,
        /// The engine's words: bounded, and escaped.
        message: String,
    },
    /// An answer that is not what the API promises.
    #[error("the engine's answer to `{call}` cannot be decoded: {cause}")]
    Undecodable {
        /// Method and path, bounded.
        call: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A name or an answer beyond [`CallLimits`].
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The bound, bytes.
        limit: u64,
    },
    /// An image that says more of itself than is read.
    #[error("the image has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
}

impl EngineError {
    /// Whether it is about the one thing that was asked for, and not about the engine: others may be asked about.
    #[must_use]
    pub const fn is_of_one(&self) -> bool {
        match self {
            Self::Status { .. } | Self::Undecodable { .. } | Self::TooLarge { .. } | Self::TooMany { .. } => true,
            Self::Unreachable { .. } | Self::Timeout { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
