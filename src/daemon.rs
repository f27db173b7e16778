//! The plugin's server: HTTP on a unix socket, bounded, on one thread; it answers every post with status 200 and closes no
//! connection unanswered.

mod body;
mod idle;
mod listen;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::gate::Gate;
use crate::policy::Reason;
use crate::wire::{ACTIVATION, Answer};

use idle::{Crowd, Place};
pub use listen::{ListenError, listen};

/// The server's bounds.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections served at once. Stops descriptors from running out; dockerd opens a few.
    pub connections: usize,
    /// Largest request head.
    pub head_bytes: usize,
    /// How long a new connection may take with its first request head. dockerd connects when it has one to send.
    pub head: Duration,
    /// How long a connection may then go on without another request. dockerd connects anew when it finds one closed: what it
    /// had sent nothing over, it sends again whole.
    pub idle: Duration,
    /// How long calls under way may take when the server stops.
    pub grace: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head_bytes: 64 << 10,
            head: Duration::from_secs(10),
            idle: Duration::from_mins(10),
            grace: Duration::from_secs(9),
        }
    }
}

/// How long nothing has to end, where all room is taken, before idle connections are closed. The daemon sends what it had sent over a
/// closed one again without its body, which is refused: none is closed that need not be.
const STUCK: Duration = Duration::from_millis(20);
/// How long a connection over which nothing ever came is left alone then, for each that there is room for: a second for a
/// thousand. The daemon connects when it has a request, and with two thousand at once takes some hundred milliseconds until it sends
/// each. Where there is little room, silent peers that come back would hold it for as long.
const PATIENCE: Duration = Duration::from_millis(1);

/// The gate once it is built; calls that come earlier wait for it, activation does not.
pub type Coming = watch::Receiver<Option<Arc<Gate>>>;

struct Server {
    gate: Coming,
    bodies: body::Budget,
}

/// Serves until `stop` resolves; then answers what is under way and returns.
pub async fn serve(
    listener: UnixListener,
    gate: Coming,
    workers: tokio::runtime::Handle,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
) {
    let server = Arc::new(Server { gate, bodies: body::Budget::new(workers) });
    let (stopping, stopped) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let patience = PATIENCE * u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let crowd = Crowd::default();
    tokio::spawn(crowd.look_after(limits.head, limits.idle));
    let mut stop = pin!(stop);
    loop {
        let slot = tokio::select! {
            biased;
            () = &mut stop => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
            // Calls end all the time. Where none does, silent peers have the room.
            () = read_on(STUCK) => {
                crowd.close_oldest(patience);
                continue;
            }
        };
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let (Ok(slot), Ok((stream, _))) = (slot, accepted) else {
            // Out of descriptors, most likely: others must end first.
            read_on(STUCK).await;
            crowd.close_oldest(patience);
            continue;
        };
        let conversation = converse(stream, Arc::clone(&server), crowd.join(), limits, stopped.clone());
        tokio::spawn(async move {
            conversation.await;
            drop(slot);
        });
    }
    drop(listener);
    let _ = stopping.send(true);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(limits.grace, slots.acquire_many(all)).await.is_err() {
        tracing::warn!("calls were still under way when the gate stopped");
    }
}

/// Waits, and until all that has come over other connections by then is read: who has sent something is not idle.
async fn read_on(time: Duration) {
    tokio::time::sleep(time).await;
    // The first turn brings what the system has told, in the second everybody has had his.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}

/// One connection, until either side ends it. Between requests it ends when it has been idle for too long, or the longest
/// of all when there are too many; never while a request is under way.
async fn converse(
    stream: UnixStream,
    server: Arc<Server>,
    place: Place,
    limits: ConnectionLimits,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let server = &server;
        let busy = place.busy();
        async move {
            let answer = server.answer(request).await;
            drop(busy);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        // First, so that a request that is there already makes the connection busy before it is looked at whether it is idle.
        biased;
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = place.is_to_end() => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the daemon ended early");
    }
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return status(StatusCode::METHOD_NOT_ALLOWED);
        }
        let answer = match request.uri().path() {
            "/Plugin.Activate" => return reply(Bytes::from_static(ACTIVATION)),
            "/AuthZPlugin.AuthZReq" => caught(pin!(self.request(request.into_body()))).await,
            "/AuthZPlugin.AuthZRes" => caught(pin!(self.response(request.into_body()))).await.or(Some(Answer::Allow)),
            _ => return status(StatusCode::NOT_FOUND),
        };
        let answer = answer.unwrap_or_else(|| {
            tracing::error!("a decision met a fault of the gate's own; it is refused");
            Answer::Deny(Reason::Internal.message())
        });
        reply(answer.encode().into())
    }

    async fn request(&self, body: Incoming) -> Answer {
        let Some(gate) = self.gate().await else { return Answer::Deny(Reason::Internal.message()) };
        let manner = gate.manner();
        match self.bodies.read(body, move |posted| Gate::read(posted, manner)).await {
            Ok(read) => gate.request(read).await,
            Err(reason) => gate.refuse(reason),
        }
    }

    async fn response(&self, body: Incoming) -> Answer {
        if let Some(gate) = self.gate().await
            && let Some(call) = self.bodies.read_end(body, Gate::read_end).await
        {
            // Boxed, as all is that waits: see the test of the size of an answer.
            Box::pin(gate.response(&call)).await;
        }
        Answer::Allow
    }

    async fn gate(&self) -> Option<Arc<Gate>> {
        let built = self.gate.borrow().clone();
        if built.is_some() {
            return built;
        }
        let mut coming = self.gate.clone();
        coming.wait_for(Option::is_some).await.ok()?;
        coming.borrow().clone()
    }
}

/// The future's output; `None` if it panics. A panic must not cost the daemon its answer.
async fn caught<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}

fn reply(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(crate::wire::CONTENT_TYPE));
    response
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const ACTIVATE: &[u8] = b"POST /Plugin.Activate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";

    async fn is_answered(peer: &mut UnixStream) -> bool {
        let mut answer = [0u8; 512];
        peer.write_all(ACTIVATE).await.is_ok()
            && matches!(tokio::time::timeout(Duration::from_secs(5), peer.read(&mut answer)).await, Ok(Ok(1..)))
    }

    async fn posts(path: &std::path::Path, to: &str, post: &str) -> String {
        let mut peer = UnixStream::connect(path).await.unwrap();
        let head = format!("POST /AuthZPlugin.{to} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", post.len());
        peer.write_all(head.as_bytes()).await.unwrap();
        peer.write_all(post.as_bytes()).await.unwrap();
        let mut answer = [0u8; 2048];
        let read = tokio::time::timeout(Duration::from_secs(10), peer.read(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }

    /// A call's end repeats the whole question, and adds to it: what is let in as a question is never dropped unread as its end.
    #[tokio::test]
    async fn the_end_of_a_call_is_read_however_large_it_is() {
        use crate::audit::MemoryJournal;
        use crate::engine::{Container, Fake};
        use crate::gate::{Approvals, DecisionLimits, Identity, Rules};
        use crate::policy::{Policy, Posture};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let engine = Arc::new(Fake::new());
        for (id, name) in [("a", "web"), ("b", "bad")] {
            engine.put_container(Container {
                id: id.repeat(64).parse().unwrap(),
                name: name.to_owned(),
                image: None,
                manifest: None,
                platform: None,
                image_ref: String::new(),
                runs_as: crate::image::RunsAs::default(),
                mounts: Vec::new(),
                running: false,
                started_at: None,
            });
        }
        let policy = Policy::closed(Posture::Images);
        let rules = Rules::Good { policy, verifiers: Vec::new(), registry: None };
        let workers = tokio::runtime::Handle::current();
        let journal = Arc::new(MemoryJournal::default());
        let gate = Gate::new(rules, engine, journal, Approvals::in_memory(), Identity::default(), workers.clone());
        let gate = gate.with_limits(DecisionLimits { name: Duration::from_millis(100), ..DecisionLimits::default() });
        let (_built, coming) = watch::channel(Some(Arc::new(gate)));
        tokio::spawn(serve(listener, coming, workers, ConnectionLimits::default(), std::future::pending()));
        let call = |uri: &str, more: &str| {
            format!(r#"{{"RequestMethod":"POST","RequestUri":"{uri}","RequestHeaders":{{"Content-Length":"0"}}{more}}}"#)
        };
        let rename = "/containers/bad/rename?name=new";
        assert!(posts(&path, "AuthZReq", &call(rename, "")).await.contains("\"Allow\":true"));
        assert!(posts(&path, "AuthZReq", &call("/containers/new/start", "")).await.contains("name-busy"));
        let large = |bytes: usize| format!(r#","ResponseBody":"{}","ResponseStatusCode":204"#, "A".repeat(bytes));
        // As a question it is refused; of a reading call's end nobody decodes it.
        assert!(posts(&path, "AuthZReq", &call(rename, &large(8 << 20))).await.contains("request-unreadable"));
        let list = call("/containers/json", &large(20 << 20)).replace("POST", "GET");
        assert!(posts(&path, "AuthZRes", &list).await.contains("\"Allow\":true"));
        assert!(posts(&path, "AuthZRes", &call(rename, &large(8 << 20))).await.contains("\"Allow\":true"));
        assert!(posts(&path, "AuthZReq", &call("/containers/new/start", "")).await.contains("container-unknown"));
        // The daemon's JSON writes six bytes for each of these: the target alone is more than the beginning that is read first.
        let long = format!("/containers/bad/rename?name=other&x={}", "\\u003c".repeat(50_000));
        assert!(posts(&path, "AuthZReq", &call(&long, "")).await.contains("\"Allow\":true"));
        assert!(posts(&path, "AuthZReq", &call("/containers/other/start", "")).await.contains("name-busy"));
        assert!(posts(&path, "AuthZRes", &call(&long, &large(10))).await.contains("\"Allow\":true"));
        assert!(posts(&path, "AuthZReq", &call("/containers/other/start", "")).await.contains("container-unknown"));
    }

    /// hyper and tokio move what answers a post several times: when it had all that a decision may wait for in it, `docker ps` moved 300 KB.
    #[test]
    fn what_answers_a_post_is_small() {
        fn size<'s, F: Future>(_: impl FnOnce(&'s Server, Request<Incoming>) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(Server::answer);
        assert!(size <= 4 << 10, "{size} bytes: box what waits");
    }

    /// 12 silent peers, and a daemon that keeps its connection, with room for four.
    #[tokio::test]
    async fn silent_peers_do_not_keep_the_daemon_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let (_built, coming) = watch::channel(None);
        let limits = ConnectionLimits { connections: 4, ..ConnectionLimits::default() };
        tokio::spawn(serve(listener, coming, tokio::runtime::Handle::current(), limits, std::future::pending()));
        let mut daemon = UnixStream::connect(&path).await.unwrap();
        assert!(is_answered(&mut daemon).await);
        assert!(is_answered(&mut daemon).await, "the connection is kept");
        let mut peers = Vec::new();
        for _ in 0..12 {
            peers.push(UnixStream::connect(&path).await.unwrap());
        }
        let mut anew = UnixStream::connect(&path).await.unwrap();
        // A moment for each four of them.
        assert!(is_answered(&mut anew).await);
        // Those that were idle the longest are gone.
        let ended = tokio::time::timeout(Duration::from_secs(5), peers[0].read_u8()).await.unwrap();
        assert!(ended.is_err());
    }
}
