//! What only commands ask of an engine: an image as the engine saves it, and a container or itself as it describes them, whole.

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use tokio::time::{Instant, timeout_at};

use super::{ContainerId, Engine, EngineError};

/// An image's archive, as it comes.
#[derive(Debug)]
pub struct Saved(Incoming);

impl Saved {
    /// The next bytes; `None`: that was all.
    pub async fn chunk(&mut self, deadline: Instant) -> Option<std::io::Result<Bytes>> {
        loop {
            let Ok(frame) = timeout_at(deadline, self.0.frame()).await else {
                return Some(Err(std::io::Error::other("the engine did not send the image in time")));
            };
            match frame? {
                // Trailers are no bytes.
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Err(error) => return Some(Err(std::io::Error::other(error))),
            }
        }
    }
}

impl Engine {
    /// An image's archive, by whatever names the image. Its first bytes come by the deadline. `None`: there is no such image.
    pub async fn saved(&self, name: &str, deadline: Instant) -> Result<Option<Saved>, EngineError> {
        Ok(self.stream(&self.path("/images/", name, "/get")?, deadline).await?.map(Saved))
    }

    /// How the engine is set up, with all that it says of itself.
    pub async fn described_itself(&self, deadline: Instant) -> Result<serde_json::Value, EngineError> {
        self.object("/info".to_owned(), deadline).await.map(Option::unwrap_or_default)
    }

    /// A container with all that the engine says of it. `None`: there is none.
    pub async fn described(&self, id: &ContainerId, deadline: Instant) -> Result<Option<serde_json::Value>, EngineError> {
        self.object(self.path("/containers/", id.as_str(), "/json")?, deadline).await
    }
}
