//! The gate that serves is asked how it is doing, by who may open its state folder.

use std::io;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::sockets::Folder;
use crate::service::status::Snapshot;
use crate::setup;

/// How long an answer may take: what is on the host is judged meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer read. Stops whatever serves that socket from filling memory.
const ANSWER_BYTES: usize = 16 << 20;

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Nobody listens.
    #[error("no gate serves there: {0}")]
    Nobody(io::Error),
    /// The folder or the socket may not be opened.
    #[error("it may not be asked: {0}")]
    Forbidden(io::Error),
    /// It was asked, and there was no answer that can be read.
    #[error("it does not answer: {0}")]
    Silent(String),
}

/// Asks the gate of this state folder.
pub(crate) async fn ask(state: &Path) -> Result<Snapshot, Unanswered> {
    match tokio::time::timeout(PATIENCE, asked(state)).await {
        Ok(answer) => answer,
        Err(_) => Err(Unanswered::Silent(format!("not within {} s", PATIENCE.as_secs()))),
    }
}

async fn asked(state: &Path) -> Result<Snapshot, Unanswered> {
    let unconnected = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => Unanswered::Forbidden(error),
        _ => Unanswered::Nobody(error),
    };
    let folder = Folder::open(state).map_err(unconnected)?;
    let stream = UnixStream::connect(folder.at(setup::STATUS_SOCKET)).await.map_err(unconnected)?;
    let silent = |error: &dyn std::fmt::Display| Unanswered::Silent(error.to_string());
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| silent(&error))?;
    let driven = tokio::spawn(connection);
    let request = Request::get("/status").header("Host", "gate").body(Empty::<Bytes>::new()).map_err(|error| silent(&error))?;
    let response = sender.send_request(request).await.map_err(|error| silent(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(|error| silent(&error))?;
    driven.abort();
    if !status.is_success() {
        return Err(Unanswered::Silent(format!("status {status}")));
    }
    serde_json::from_slice(&body.to_bytes()).map_err(|error| Unanswered::Silent(format!("what it says cannot be read: {error}")))
}
