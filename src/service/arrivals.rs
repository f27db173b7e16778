//! Images that arrive are audited on a thread of their own, over connections of their own: it stands back behind all others, and no decision
//! waits for it.

use std::sync::{Arc, Weak};

use crate::engine::Engine;
use crate::gate::Gate;
use crate::monitor::Arrivals;
use crate::policy::Settings;
use crate::setup;

/// How far the thread stands back, in steps of `nice`: behind those that verify, too.
const STAND_BACK: i32 = 10;

/// Audits what arrives from now on, for as long as the gate is there.
pub(super) fn audit_arrivals(gate: &Arc<Gate>, settings: &Settings) {
    let (gate, settings) = (Arc::downgrade(gate), settings.clone());
    let run = move || {
        if let Err(error) = run(gate, &settings) {
            tracing::error!(error, "images that arrive are not audited");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("arrivals".to_owned()).spawn(run) {
        tracing::error!(%error, "images that arrive are not audited");
    }
}

fn run(gate: Weak<Gate>, settings: &Settings) -> Result<(), String> {
    if let Err(error) = rustix::process::nice(STAND_BACK) {
        tracing::debug!(%error, "the thread that audits what arrives keeps the priority of the others");
    }
    let engine = Engine::at(settings.docker_host()).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(Arrivals::new(gate, Arc::new(engine), settings.state_dir().join(setup::ARRIVED)).run());
    Ok(())
}
