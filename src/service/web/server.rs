//! HTTP for those who look at the gate, on a thread of its own: whatever a peer does here costs decisions nothing but what the kernel gives
//! that thread, which stands back behind all others. Connections are few, short, and give way: the oldest that has shown no key first.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::AbortHandle;

use super::site::Site;

/// Most connections at a time. Stops many from taking descriptors and memory.
const CONNECTIONS: usize = 48;
/// Largest head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// How long a head may take, and a connection may be idle. Stops who sends a byte now and then.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection lasts at most, whatever goes on over it. Stops who reads a byte now and then.
const LIFE: Duration = Duration::from_mins(1);
/// How long nothing is accepted after the system could not.
const PAUSE: Duration = Duration::from_millis(200);

/// Where peers come from.
pub(super) enum Listener {
    /// A socket of this host; root, and who runs the gate.
    Unix(UnixListener),
    /// A port of this host's own address.
    Local(TcpListener),
}

/// The connections there are.
#[derive(Default)]
struct Crowd(VecDeque<Held>);

struct Held {
    task: AbortHandle,
    /// Whether it has shown a key.
    is_known: Arc<AtomicBool>,
}

impl Crowd {
    /// Makes room for one more: what has ended goes, else the oldest that is not known, else the oldest.
    fn make_room(&mut self) {
        self.0.retain(|held| !held.task.is_finished());
        if self.0.len() < CONNECTIONS {
            return;
        }
        let at = self.0.iter().position(|held| !held.is_known.load(Ordering::Relaxed)).unwrap_or_default();
        if let Some(held) = self.0.remove(at) {
            held.task.abort();
        }
    }
}

/// Serves for as long as the process runs.
pub(super) async fn serve(listener: Listener, site: Arc<Site>) {
    let mut crowd = Crowd::default();
    loop {
        let is_known = Arc::new(AtomicBool::new(false));
        let task = match &listener {
            Listener::Unix(listener) => match listener.accept().await {
                Ok((stream, _)) => {
                    let own = rustix::process::geteuid().as_raw();
                    if !stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own) {
                        continue;
                    }
                    crowd.make_room();
                    tokio::spawn(converse(stream, Arc::clone(&site), Arc::clone(&is_known)))
                }
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            Listener::Local(listener) => match listener.accept().await {
                Ok((stream, _)) => {
                    crowd.make_room();
                    tokio::spawn(converse(stream, Arc::clone(&site), Arc::clone(&is_known)))
                }
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        crowd.0.push_back(Held { task: task.abort_handle(), is_known });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, site: Arc<Site>, is_known: Arc<AtomicBool>) {
    let service = service_fn(|request| {
        let (site, is_known) = (Arc::clone(&site), Arc::clone(&is_known));
        async move { Ok::<_, Infallible>(site.answer(request, &is_known).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // How it ends is the peer's.
    let _ = tokio::time::timeout(LIFE, connection).await;
}
