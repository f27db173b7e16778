//! An image to be looked at: on the engine, or in a file.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::Instant;

use crate::cli::out;
use crate::engine::Engine;
use crate::hardening::archive::{ArchiveError, Contents, read};

/// How long an image may take to come. An engine that saves a large one takes minutes.
const TIME: Duration = Duration::from_mins(15);
/// Pieces that are on their way from the engine. They are a few KiB each.
const PIECES: usize = 64;

/// An image in a file, as `docker save` writes it.
pub(super) fn of_file(path: &Path) -> Result<Contents, ArchiveError> {
    let opened = std::fs::File::open(path);
    let file = opened.map_err(|error| ArchiveError::Unreadable(error.to_string()))?;
    read(std::io::BufReader::with_capacity(64 << 10, file))
}

/// An image on the engine.
pub(super) async fn of_engine(engine: &Engine, name: &str) -> Result<Contents, String> {
    let deadline = Instant::now() + TIME;
    out::progress("the engine saves the image …");
    let saved = engine.saved(name, deadline).await.map_err(|error| error.to_string())?;
    let mut saved = saved.ok_or_else(|| "the engine has no such image, and there is no such file".to_owned())?;
    let (sender, pieces) = channel(PIECES);
    let reading = tokio::task::spawn_blocking(move || read(Pieces { pieces, rest: Bytes::new() }));
    while let Some(piece) = saved.chunk(deadline).await {
        let is_last = piece.is_err();
        if sender.send(piece).await.is_err() || is_last {
            break;
        }
    }
    drop(sender);
    reading.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Bytes that come from elsewhere, for a reader that waits.
struct Pieces {
    pieces: Receiver<std::io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let taken = self.rest.split_to(self.rest.len().min(buffer.len()));
        for (place, byte) in buffer.iter_mut().zip(&taken) {
            *place = *byte;
        }
        Ok(taken.len())
    }
}
