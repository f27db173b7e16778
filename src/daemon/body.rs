//! Reading what the daemon posts, within one budget for all posts under way.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::policy::Reason;
use crate::wire::NoEnd;

/// Largest post read: dockerd forwards bodies to 4 MiB, which base64 makes 5.6, and headers beside.
const POST_BYTES: usize = 6 << 20;
/// Largest end of a call (AuthZRes) that is read whole: it repeats the question, and adds a few headers and at most 64 KiB of the answer
/// that means anything to the gate. Of larger ones the beginning is kept, which says which call has ended.
const END_BYTES: usize = POST_BYTES + (1 << 20);
/// Most of an end that is read off at all; dockerd buffers whole answers (`docker ps` of a large host).
const DRAINED_BYTES: usize = 256 << 20;
/// All posts under way that are not small, together; and all ends likewise, which questions cannot hold up. Stops many large ones from filling memory.
const BUDGET_BYTES: usize = 32 << 20;
/// Posts up to this size are not counted: ordinary calls never wait for large ones.
const SMALL_BYTES: usize = 64 << 10;
/// Posts from this size on are decoded off the serving thread, which they would hold for milliseconds.
const LARGE_BYTES: usize = 128 << 10;
/// How long a large post waits for others to end, and how many wait. More are refused at once: each holds a connection.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_WAITING: usize = 64;
/// How long the daemon may take to send a post that it has begun.
const SENDING: Duration = Duration::from_secs(10);

/// The budget, and where large posts are decoded.
pub(super) struct Budget {
    /// In KiB.
    kib: Semaphore,
    ends_kib: Semaphore,
    waiting: Semaphore,
    workers: tokio::runtime::Handle,
}

impl Budget {
    pub(super) fn new(workers: tokio::runtime::Handle) -> Self {
        let kib = || Semaphore::new(BUDGET_BYTES >> 10);
        Self { kib: kib(), ends_kib: kib(), waiting: Semaphore::new(MAX_WAITING), workers }
    }

    /// The post, decoded by `decode`.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        mut body: Incoming,
        decode: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, Reason> {
        match self.whole(&mut body).await {
            Ok((bytes, _reserved)) if bytes.len() < LARGE_BYTES => Ok(decode(&bytes)),
            Ok((bytes, _reserved)) => self.workers.spawn_blocking(move || decode(&bytes)).await.map_err(|_| Reason::Internal),
            Err(reason) => {
                // So that the daemon takes the answer: to a connection that breaks it would repeat the question without its body.
                drain(&mut body, Instant::now() + SENDING).await;
                Err(reason)
            }
        }
    }

    /// The post, and its share of the budget until it is decoded.
    async fn whole(&self, body: &mut Incoming) -> Result<(Bytes, SemaphorePermit<'_>), Reason> {
        // Without a length (the daemon always gives one) the largest is assumed.
        let announced = body.size_hint().upper().map_or(POST_BYTES, |upper| usize::try_from(upper).unwrap_or(usize::MAX));
        if announced > POST_BYTES {
            return Err(too_large());
        }
        let permits = if announced > SMALL_BYTES { u32::try_from(announced >> 10).unwrap_or(u32::MAX) } else { 0 };
        let reserved = match self.kib.try_acquire_many(permits) {
            Ok(reserved) => reserved,
            Err(_) => {
                let _place = self.waiting.try_acquire().map_err(|_| Reason::Overloaded)?;
                let reserved = tokio::time::timeout(PATIENCE, self.kib.acquire_many(permits)).await;
                let Ok(Ok(reserved)) = reserved else { return Err(Reason::Overloaded) };
                reserved
            }
        };
        let read = in_time(SENDING, pin!(all_of(body))).await.unwrap_or_else(|| Err(broken_off()))?;
        Ok((read, reserved))
    }

    /// The end of a call, decoded by `decode`, if that wants it. Always read off, so that the connection can go on; of one that is too
    /// large, or finds no room, the beginning is decoded.
    pub(super) async fn read_end<T: Send + 'static>(
        &self,
        mut body: Incoming,
        decode: impl Fn(&[u8]) -> Result<T, NoEnd> + Send + 'static,
    ) -> Option<T> {
        let until = Instant::now() + SENDING;
        let mut read = Vec::new();
        if fill(&mut body, &mut read, SMALL_BYTES, until).await {
            return decode(&read).ok();
        }
        // A long target, of which JSON writes some characters in six bytes, is cut there: it is read on.
        if matches!(decode(&read), Err(NoEnd::Unwanted)) {
            drain(&mut body, until).await;
            return None;
        }
        let kib = u32::try_from(END_BYTES >> 10).unwrap_or(u32::MAX);
        let reserved = tokio::time::timeout(PATIENCE, self.ends_kib.acquire_many(kib)).await;
        if matches!(reserved, Ok(Ok(_))) && fill(&mut body, &mut read, END_BYTES, until).await {
            return self.workers.spawn_blocking(move || decode(&read).ok()).await.ok().flatten();
        }
        drain(&mut body, until).await;
        self.workers.spawn_blocking(move || decode(&read).ok()).await.ok().flatten()
    }
}

/// All of a body, up to [`POST_BYTES`]. What comes in one piece, as small posts do, is not copied.
async fn all_of(body: &mut Incoming) -> Result<Bytes, Reason> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| broken_off())?.into_data() else { continue };
        if read.len().saturating_add(data.len()) > POST_BYTES {
            return Err(too_large());
        }
        if read.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.into())
}

/// What a future comes to within this time. One that is ready at once sets no timer.
async fn in_time<F: Future>(time: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    let at_once = poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    });
    match at_once.await {
        Some(output) => Some(output),
        None => tokio::time::timeout(time, future).await.ok(),
    }
}

/// Reads on until there are `most` bytes or more; whether that was all.
async fn fill(body: &mut Incoming, read: &mut Vec<u8>, most: usize, until: Instant) -> bool {
    while read.len() < most {
        match tokio::time::timeout_at(until, body.frame()).await {
            Ok(Some(Ok(frame))) => read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            // What broke off does not come any more.
            Ok(None | Some(Err(_))) | Err(_) => return true,
        }
    }
    body.is_end_stream()
}

/// Reads the rest and forgets it.
async fn drain(body: &mut Incoming, until: Instant) {
    let mut drained = 0;
    while drained < DRAINED_BYTES {
        match tokio::time::timeout_at(until, body.frame()).await {
            Ok(Some(Ok(frame))) => drained += frame.data_ref().map_or(0, Bytes::len),
            Ok(None | Some(Err(_))) | Err(_) => return,
        }
    }
}

fn broken_off() -> Reason {
    Reason::CallUnreadable { why: "the daemon's post broke off".to_owned() }
}

fn too_large() -> Reason {
    Reason::CallUnreadable { why: format!("the daemon's post is larger than {POST_BYTES} bytes") }
}
