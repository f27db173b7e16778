//! Where a candidate for the policy is judged: on a thread of its own, which starts with the first candidate and stands back behind all
//! others. What goes wrong there ends there.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::gate::Gate;
use crate::policy::Settings;
use crate::setup::{self, Candidates};

/// How often it is looked whether the candidate has changed.
const LOOK: Duration = Duration::from_secs(1);
/// How far the thread stands back, in steps of `nice`: behind those that verify, too.
const STAND_BACK: i32 = 10;
/// Threads for its files.
const BLOCKING_THREADS: usize = 2;

/// Waits for a candidate, and from then on has it judged.
pub(super) async fn watch(gate: Weak<Gate>, settings: Settings) {
    let candidates = Candidates::of(&settings);
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        if candidates.is_there() {
            break;
        }
    }
    let started = std::thread::Builder::new().name("shadow".to_owned()).spawn(move || {
        if let Err(error) = run(&gate, &settings, candidates) {
            tracing::error!(error, "no candidate for the policy can be judged");
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, "no candidate for the policy can be judged");
    }
}

fn run(gate: &Weak<Gate>, settings: &Settings, mut candidates: Candidates) -> Result<(), String> {
    if let Err(error) = rustix::process::nice(STAND_BACK) {
        tracing::debug!(%error, "the thread of the candidate keeps the priority of the others");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("shadow")
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let Some(serving) = gate.upgrade() else { return Ok(()) };
    let shadow = setup::shadow(settings, &serving, runtime.handle().clone())?;
    serving.shadowed_by(Arc::clone(&shadow));
    drop(serving);
    runtime.block_on(async {
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            let Some(serving) = gate.upgrade() else { return };
            if let Some(told) = candidates.look(&shadow) {
                tracing::info!("{told}");
                serving.note(&told);
            }
        }
    });
    Ok(())
}
