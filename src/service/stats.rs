//! The gate's figures, in a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::files::{Outlives, replace};
use crate::gate::Gate;
use crate::setup;

/// How often the metrics are written.
const TELL: Duration = Duration::from_secs(15);

/// Writes the gate's figures where node_exporter's textfile collector, or anyone, can read them.
pub(super) async fn write(gate: Arc<Gate>, folder: PathBuf) {
    let mut told = true;
    loop {
        let written = replace(&folder.join(setup::METRICS), gate.metrics().as_bytes(), 0o600, Outlives::Process);
        // A full disk is told once, not four times a minute.
        if let Err(error) = &written
            && told
        {
            tracing::warn!(%error, "the metrics could not be written");
        }
        told = written.is_ok();
        tokio::time::sleep(TELL).await;
    }
}
