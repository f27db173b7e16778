//! When the watchdog beats; what it looks at, [`Watchdog`] knows.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::doctor;
use crate::gate::{Gate, Watchdog};

/// How often the self-check asks for an engine that is not up yet.
const ENGINE_RETRY: Duration = Duration::from_secs(1);
/// How long it asks. dockerd starts its plugins before its API.
const ENGINE_PATIENCE: Duration = Duration::from_secs(30);
/// How often the gate looks whether it is still asked, seconds. Chance adds to it, so that many hosts do not beat together.
const BEAT_SECONDS: u64 = 50;
/// The most by which chance makes a beat later, seconds.
const JITTER_SECONDS: u64 = 20;
/// Largest daemon.json read. Stops a wrong path from filling memory.
const DAEMON_FILE_BYTES: u64 = 1 << 20;

/// Looks now and then whether the gate still stands where it should; first at the engine, once it answers.
pub(super) async fn beat(gate: Arc<Gate>, daemon_file: PathBuf) {
    let mut watchdog = Watchdog::default();
    if let Some(version) = engine_version(&gate).await {
        doctor::log_engine(&version);
        watchdog.look_for_http2(&gate).await;
    }
    loop {
        let mut chance = [0u8; 1];
        // Without chance it beats all the same.
        let _ = aws_lc_rs::rand::fill(&mut chance);
        let seconds = BEAT_SECONDS + u64::from(chance[0]) % (JITTER_SECONDS + 1);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let text = crate::files::read_text(&daemon_file, DAEMON_FILE_BYTES).ok();
        watchdog.beat(&gate, text.as_deref()).await;
    }
}

/// The engine's version, once it answers: dockerd starts its plugins before its API.
async fn engine_version(gate: &Gate) -> Option<String> {
    let deadline = tokio::time::Instant::now() + ENGINE_PATIENCE;
    loop {
        match gate.engine_version(tokio::time::Instant::now() + ENGINE_RETRY).await {
            Ok(version) => {
                tracing::info!(engine = version, "the engine answers");
                gate.know_plugins(tokio::time::Instant::now() + ENGINE_RETRY).await;
                return Some(version);
            }
            Err(error) if tokio::time::Instant::now() >= deadline => {
                tracing::error!(%error, "the engine does not answer: create and start will be refused; check DOCKER_HOST");
                return None;
            }
            Err(_) => tokio::time::sleep(ENGINE_RETRY).await,
        }
    }
}
