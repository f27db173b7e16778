//! The gate's figures, in a file; and pushed, where that is set.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::files::{Outlives, replace};
use crate::gate::Gate;
use crate::setup::{self, Figures};

/// How often the metrics are written.
const TELL: Duration = Duration::from_secs(15);
/// Of so many texts one is pushed: each minute.
const PUSHED: u32 = 4;

/// Writes the gate's figures where node_exporter's textfile collector, or anyone, can read them.
pub(super) async fn write(gate: Arc<Gate>, folder: PathBuf, figures: Option<Figures>) {
    let (mut told, mut turn) = (true, 0_u32);
    loop {
        let text = gate.metrics();
        if let Some(figures) = figures.as_ref().filter(|_| turn.is_multiple_of(PUSHED)) {
            figures.push(&text);
        }
        turn = turn.wrapping_add(1);
        let written = replace(&folder.join(setup::METRICS), text.as_bytes(), 0o600, Outlives::Process);
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
