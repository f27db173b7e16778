//! A connection to the engine's process that is kept and not used. It ends when that process does, and with it all that was found
//! out about the process: whoever answers after that may be another one, of another release and with other settings.

use std::io::{ErrorKind, Read as _};
use std::os::unix::net::UnixStream as Stream;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::EngineError;

/// Most bytes read of the answer to the one call. Stops a server from filling memory.
const ANSWER_BYTES: usize = 16 << 10;
/// An answer shows that the connection has been taken: what waits in a socket that systemd holds may go to the next process. HEAD has
/// no body, so nothing is left to be read.
const QUESTION: &[u8] =
    concat!("HEAD /_ping HTTP/1.1\r\nHost: docker\r\nUser-Agent: img-authz/", env!("CARGO_PKG_VERSION"), "\r\n\r\n").as_bytes();

/// A connection that ends with the engine's process.
#[derive(Debug)]
pub struct Link(Stream);

impl Link {
    pub(super) async fn to(path: &Path, deadline: Instant) -> Result<Self, EngineError> {
        let unreachable =
            |error: std::io::Error| EngineError::Unreachable { socket: path.display().to_string(), cause: error.to_string() };
        let timeout = |_| EngineError::Timeout { call: "HEAD /_ping".to_owned() };
        timeout_at(deadline, answered(path)).await.map_err(timeout)?.map(Self).map_err(unreachable)
    }

    /// A link to no engine, and its other end: it is open until that is dropped.
    pub fn pair() -> std::io::Result<(Self, Stream)> {
        let (own, other) = Stream::pair()?;
        own.set_nonblocking(true)?;
        Ok((Self(own), other))
    }

    /// Whether the process is still there. Asks the system and nobody else, so the answer is of this very moment.
    #[must_use]
    pub fn is_open(&self) -> bool {
        // Nothing is due: bytes that come are an end as well.
        (&self.0).read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

async fn answered(path: &Path) -> std::io::Result<Stream> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(QUESTION).await?;
    let mut answer = Vec::new();
    let mut chunk = [0u8; 1024];
    while !answer.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await?;
        answer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if read == 0 || answer.len() > ANSWER_BYTES {
            return Err(std::io::Error::new(ErrorKind::InvalidData, "no answer to HEAD /_ping"));
        }
    }
    // Stays non-blocking, as tokio made it.
    stream.into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn at(answer: Vec<u8>) -> (Result<Link, EngineError>, Option<UnixStream>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = vec![0u8; QUESTION.len()];
            stream.read_exact(&mut question).await.unwrap();
            stream.write_all(&answer).await.unwrap();
            stream
        });
        let link = Link::to(&path, Instant::now() + std::time::Duration::from_millis(300)).await;
        (link, served.await.ok())
    }

    #[tokio::test]
    async fn a_link_is_open_until_the_other_end_is_closed() {
        let (link, served) = at(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n".to_vec()).await;
        let link = link.unwrap();
        assert!(link.is_open() && link.is_open());
        drop(served);
        assert!(!link.is_open() && !link.is_open());
        let (link, other) = Link::pair().unwrap();
        assert!(link.is_open());
        drop(other);
        assert!(!link.is_open());
    }

    #[tokio::test]
    async fn what_does_not_answer_is_no_link() {
        assert!(matches!(at(Vec::new()).await.0, Err(EngineError::Timeout { .. })));
        let nobody = Link::to(Path::new("/nowhere/s"), Instant::now() + std::time::Duration::from_secs(1)).await;
        assert!(matches!(nobody, Err(EngineError::Unreachable { .. })));
        assert!(matches!(at(vec![b'x'; 20 << 10]).await.0, Err(EngineError::Unreachable { .. })));
    }

    #[tokio::test]
    async fn bytes_that_nobody_asked_for_end_it() {
        let (link, mut served) = at(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).await;
        let link = link.unwrap();
        served.as_mut().unwrap().write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        assert!(!link.is_open());
    }
}
