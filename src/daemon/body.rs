//! Reading what the daemon posts, within one budget for all posts under way.

use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::sync::Semaphore;

use crate::policy::Reason;

/// Largest post read: dockerd forwards bodies to 4 MiB, which base64 makes 5.6, and headers beside.
const POST_BYTES: usize = 6 << 20;
/// All posts under way that are not small, together. Stops many large ones from filling memory.
const BUDGET_BYTES: usize = 32 << 20;
/// Posts up to this size are not counted: ordinary calls never wait for large ones.
const SMALL_BYTES: usize = 64 << 10;
/// Posts from this size on are decoded off the serving thread, which they would hold for milliseconds.
const LARGE_BYTES: usize = 128 << 10;
/// How long a large post waits for others to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the daemon may take to send a post that it has begun.
const SENDING: Duration = Duration::from_secs(10);

/// The budget, and where large posts are decoded.
pub(super) struct Budget {
    /// In KiB.
    kib: Semaphore,
    workers: tokio::runtime::Handle,
}

impl Budget {
    pub(super) fn new(workers: tokio::runtime::Handle) -> Self {
        Self { kib: Semaphore::new(BUDGET_BYTES >> 10), workers }
    }

    /// The post, decoded by `decode`.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        body: Incoming,
        decode: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, Reason> {
        // Without a length (the daemon always gives one) the largest is assumed.
        let announced = body.size_hint().upper().map_or(POST_BYTES, |upper| usize::try_from(upper).unwrap_or(usize::MAX));
        if announced > POST_BYTES {
            return Err(too_large());
        }
        let permits = if announced > SMALL_BYTES { u32::try_from(announced >> 10).unwrap_or(u32::MAX) } else { 0 };
        let reserved = tokio::time::timeout(PATIENCE, self.kib.acquire_many(permits)).await;
        let Ok(Ok(_reserved)) = reserved else { return Err(Reason::Overloaded) };
        let collected = tokio::time::timeout(SENDING, Limited::new(body, POST_BYTES).collect()).await;
        let bytes: Bytes = match collected {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Err(_)) | Err(_) => return Err(Reason::CallUnreadable { why: "the daemon's post broke off".to_owned() }),
        };
        if bytes.len() < LARGE_BYTES {
            return Ok(decode(&bytes));
        }
        self.workers.spawn_blocking(move || decode(&bytes)).await.map_err(|_| Reason::Internal)
    }
}

fn too_large() -> Reason {
    Reason::CallUnreadable { why: format!("the daemon's post is larger than {POST_BYTES} bytes") }
}
