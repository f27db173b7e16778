//! Two questions: does anybody refuse what must be refused (`doctor` alone asks), and does the socket serve gRPC over cleartext
//! HTTP/2, which no plugin is asked about (the gate asks too)? Neither has an effect on any engine, guarded or not.

use std::path::Path;

use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::{ContainerId, Engine, EngineError};

/// Most bytes read of an HTTP/2 answer. The first frames say all; stops a server from filling memory.
const ANSWER_BYTES: usize = 64 << 10;
/// Largest HTTP/2 frame a server may send before it was told otherwise (RFC 9113, 4.2).
const FRAME_BYTES: usize = 16 << 10;
/// Largest answer to a start, bytes.
const REFUSAL_BYTES: usize = 64 << 10;

/// What came of a start of a container that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The HTTP status.
    pub status: u16,
    /// What the engine said: bounded, and escaped.
    pub message: String,
}

/// What a socket makes of a gRPC call over cleartext HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http2 {
    /// It answered in another protocol: it does not speak HTTP/2 without TLS.
    Refused,
    /// It closed the connection without a word: as a proxy may that does not speak HTTP/2, and a server that is about to end.
    HungUp,
    /// It speaks it, and a gRPC server answered the call: nobody is asked about such calls.
    Grpc,
    /// It speaks it, and answered as the REST API does, with this status where it could be read.
    Rest(Option<u16>),
    /// It took the call and said nothing in time.
    Silent,
}

impl Engine {
    /// Starts a container by an id that no container has. Where the gate is asked, it refuses; where it is not, the engine
    /// answers 404: no name is looked up on a network, nothing is pulled, nothing can start.
    pub async fn start_nobody(&self, nobody: &ContainerId, deadline: Instant) -> Result<Started, EngineError> {
        let answer = self.call(Method::POST, &format!("/containers/{nobody}/start"), REFUSAL_BYTES, deadline).await?;
        Ok(Started { status: answer.status.as_u16(), message: crate::text::escaped(&answer.message().unwrap_or_default()) })
    }
}

/// Lists BuildKit's workers over gRPC (`ListWorkers` reads, and does no more), as a client with prior knowledge of HTTP/2.
pub(super) async fn http2(socket: &Path, deadline: Instant) -> Result<Http2, EngineError> {
    let unreachable =
        |error: std::io::Error| EngineError::Unreachable { socket: socket.display().to_string(), cause: error.to_string() };
    match timeout_at(deadline, ask(socket)).await {
        Ok(answer) => answer.map_err(unreachable),
        Err(_) => Ok(Http2::Silent),
    }
}

async fn ask(path: &Path) -> std::io::Result<Http2> {
    let mut stream = UnixStream::connect(path).await?;
    // A server that closes at the first line it does not know has answered as well.
    if stream.write_all(&question()).await.is_err() {
        return Ok(Http2::HungUp);
    }
    let mut answer = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        let read = match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return Ok(ended(&answer)),
            Ok(read) => read,
        };
        answer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if let Some(verdict) = verdict(&answer) {
            return Ok(verdict);
        }
        if answer.len() > ANSWER_BYTES {
            return Ok(Http2::Rest(None));
        }
    }
}

/// Preface, empty SETTINGS, and one call with one empty message (RFC 9113, 3.4; RFC 7541 without Huffman or tables).
fn question() -> Vec<u8> {
    let mut fields = vec![0x83, 0x86]; // `:method: POST`, `:scheme: http` of the static table
    for (name, value) in [
        (&[0x04][..], "/moby.buildkit.v1.Control/ListWorkers"), // `:path`
        (&[0x01], "localhost"),                                 // `:authority`
        (&[0x0f, 0x10], "application/grpc"),                    // `content-type`
        (b"\x00\x02te", "trailers"),
    ] {
        fields.extend_from_slice(name);
        // All are shorter than the 127 bytes that one byte of length can say.
        fields.push(u8::try_from(value.len()).unwrap_or(0x7e));
        fields.extend_from_slice(value.as_bytes());
    }
    let mut question = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let [.., high, middle, low] = payload.len().to_be_bytes();
        question.extend_from_slice(&[high, middle, low, kind, flags, 0, 0, 0, stream]);
        question.extend_from_slice(payload);
    };
    frame(4, 0, 0, &[]);
    frame(1, 4, 1, &fields); // END_HEADERS
    frame(0, 1, 1, &[0; 5]); // END_STREAM: one gRPC message of no bytes
    question
}

/// What an answer says that has ended and said nothing before.
fn ended(answer: &[u8]) -> Http2 {
    match answer {
        [] => Http2::HungUp,
        // SETTINGS, or the beginning of it.
        [_, _, _, 4, ..] | [0] | [0, _] | [0, _, _] => Http2::Rest(None),
        _ => Http2::Refused,
    }
}

/// What the answer so far says; `None` while it says nothing yet.
fn verdict(answer: &[u8]) -> Option<Http2> {
    if answer.len() < 9 {
        return None;
    }
    let mut rest = answer;
    let mut is_first = true;
    while let [high, middle, low, kind, flags, _, _, _, stream, behind @ ..] = rest {
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        // A server begins with its SETTINGS. Anything else (`HTTP/1.1 400 …`) is another protocol.
        if is_first && *kind != 4 {
            return Some(Http2::Refused);
        }
        if length > FRAME_BYTES {
            return Some(if is_first { Http2::Refused } else { Http2::Rest(None) });
        }
        is_first = false;
        let payload = behind.get(..length)?;
        match (kind, stream) {
            (1, 1) => {
                let status = status(payload, *flags);
                // The REST API has no such path: 404, or 403 of a plugin. A gRPC server answers 200, whatever it then says.
                return Some(if status == Some(200) { Http2::Grpc } else { Http2::Rest(status) });
            }
            // RST_STREAM, GOAWAY: it speaks HTTP/2 and does not answer this.
            (3 | 7, _) => return Some(Http2::Rest(None)),
            _ => {}
        }
        rest = behind.get(length..)?;
    }
    None
}

/// `:status` of an answer's header block, which always comes first; `None` where it is not one of the static table.
fn status(payload: &[u8], flags: u8) -> Option<u16> {
    let padded = usize::from(flags & 0x08 != 0);
    let priority = if flags & 0x20 == 0 { 0 } else { 5 };
    let mut fields = payload.get(padded + priority..)?.iter().skip_while(|byte| (0x20..0x40).contains(*byte));
    match fields.next()? {
        0x88 => Some(200),
        0x89 => Some(204),
        0x8a => Some(206),
        0x8b => Some(304),
        0x8c => Some(400),
        0x8d => Some(404),
        0x8e => Some(500),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Api as _;

    /// A server's SETTINGS, as Go sends them, and a header block with this first byte.
    fn served(first: u8) -> Vec<u8> {
        let mut answer = vec![0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 250];
        answer.extend([0, 0, 2, 1, 4, 0, 0, 0, 1, first, 0x40]);
        answer
    }

    #[test]
    fn a_grpc_server_behind_the_socket_is_found() {
        assert_eq!(verdict(&served(0x88)), Some(Http2::Grpc));
    }

    #[test]
    fn the_rest_api_and_other_protocols_are_not_taken_for_one() {
        assert_eq!(verdict(&served(0x8d)), Some(Http2::Rest(Some(404))));
        assert_eq!(verdict(&served(0x48)), Some(Http2::Rest(None)));
        assert_eq!(verdict(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Some(Http2::Refused));
        assert_eq!(
            verdict(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            Some(Http2::Rest(None))
        );
        assert_eq!(verdict(&[0xff; 32]), Some(Http2::Refused));
    }

    #[test]
    fn an_answer_that_breaks_off_is_not_taken_for_a_refusal() {
        let whole = served(0x88);
        for length in 1..whole.len() - 1 {
            assert_eq!(ended(&whole[..length]), Http2::Rest(None), "{length}");
        }
        assert_eq!(ended(b""), Http2::HungUp);
        assert_eq!(ended(b"HTTP/1.1"), Http2::Refused);
    }

    #[test]
    fn what_has_not_come_yet_is_waited_for() {
        let whole = served(0x88);
        for length in 0..whole.len() - 1 {
            assert_eq!(verdict(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn the_question_is_one_that_go_reads() {
        let question = question();
        let behind = question.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let (settings, behind) = behind.split_at(9);
        assert_eq!(settings, [0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let length = usize::from(behind[2]);
        assert_eq!(behind[3..9], [1, 4, 0, 0, 0, 1]);
        assert_eq!(behind[9 + length..], [0, 0, 5, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    }

    async fn against(answer: &'static [u8]) -> Http2 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = [0u8; 24];
            stream.read_exact(&mut question).await.unwrap();
            stream.write_all(answer).await.unwrap();
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
        });
        let engine = Engine::at(&format!("unix://{}", path.display())).unwrap();
        engine.http2(Instant::now() + std::time::Duration::from_millis(300)).await.unwrap()
    }

    #[tokio::test]
    async fn a_socket_is_asked_within_bounds() {
        assert_eq!(against(b"HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n").await, Http2::Refused);
        assert_eq!(against(b"").await, Http2::Silent);
        assert_eq!(against(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88]).await, Http2::Grpc);
    }
}
