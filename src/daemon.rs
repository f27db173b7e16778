//! The plugin's server: HTTP on a unix socket, bounded, on one thread; it answers every post with status 200 and closes no
//! connection unanswered.

mod body;
mod listen;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, watch};

use crate::gate::Gate;
use crate::policy::Reason;
use crate::wire::{ACTIVATION, Answer};

pub use listen::{ListenError, listen};

/// The server's bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections served at once. Stops descriptors from running out; dockerd opens a few.
    pub connections: usize,
    /// Largest request head.
    pub head_bytes: usize,
    /// How long calls under way may take when the server stops.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1024, head_bytes: 64 << 10, grace: Duration::from_secs(9) }
    }
}

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
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let server = Arc::new(Server { gate, bodies: body::Budget::new(workers) });
    let (stopping, stopped) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut stop = pin!(stop);
    loop {
        let slot = tokio::select! {
            () = &mut stop => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let (Ok(slot), Ok((stream, _))) = (slot, accepted) else {
            // Out of descriptors, most likely: others must end first.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let server = Arc::clone(&server);
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .max_buf_size(limits.head_bytes)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection of the daemon ended early");
            }
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

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return status(StatusCode::METHOD_NOT_ALLOWED);
        }
        let answer = match request.uri().path() {
            "/Plugin.Activate" => return reply(Bytes::from_static(ACTIVATION)),
            "/AuthZPlugin.AuthZReq" => caught(self.request(request.into_body())).await,
            "/AuthZPlugin.AuthZRes" => caught(self.response(request.into_body())).await.or(Some(Answer::Allow)),
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
        let transport = gate.transport();
        match self.bodies.read(body, move |posted| Gate::read(posted, transport)).await {
            Ok(read) => gate.request(read).await,
            Err(reason) => gate.refuse(reason),
        }
    }

    async fn response(&self, body: Incoming) -> Answer {
        if let Some(gate) = self.gate().await
            && let Ok(Some(call)) = self.bodies.read(body, Gate::read_end).await
        {
            gate.response(&call).await;
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
async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
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
