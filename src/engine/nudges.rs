//! The engine's events, reduced to this: something has begun or come, look again. What an event says is neither read nor believed, so nobody can
//! say anything by it; and whoever makes many makes one.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;

/// Tells that something has begun or come.
#[derive(Debug)]
pub struct Nudges(mpsc::Receiver<()>);

impl Nudges {
    /// Some, and who gives them.
    #[must_use]
    pub fn pair() -> (mpsc::Sender<()>, Self) {
        // Those that come while one waits are that one.
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self(receiver))
    }

    /// Of a stream of events. It is let go of once nobody waits for it.
    pub(super) fn of(mut events: Incoming) -> Self {
        let (sender, nudges) = Self::pair();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    frame = events.frame() => match frame {
                        Some(Ok(_)) => {
                            let _ = sender.try_send(());
                        }
                        Some(Err(_)) | None => return,
                    },
                    () = sender.closed() => return,
                }
            }
        });
        nudges
    }

    /// Waits for one; `false`: the stream has ended, and something may have begun unseen.
    pub async fn next(&mut self) -> bool {
        self.0.recv().await.is_some()
    }
}
