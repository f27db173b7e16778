//! The monitor beside a gate that serves, and by itself on hosts without one.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::upkeep::{believed, keep_up};
use super::{BLOCKING_THREADS, WORKERS, audit_arrivals, stopped};
use crate::engine::Engine;
use crate::gate::{DecisionLimits, Gate};
use crate::monitor::{Believed, Monitor, Outcome, Places};
use crate::policy::{MonitorRule, Settings};
use crate::setup;

/// What the monitor does by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    /// What becomes of what is found.
    pub(crate) rule: MonitorRule,
    /// Look once, and no more.
    pub(crate) is_once: bool,
}

fn places(settings: &Settings) -> Places {
    let state = settings.state_dir();
    Places { picture: state.join(setup::MONITOR), approved: state.join(setup::MONITOR_APPROVED) }
}

fn of(
    gate: &Arc<Gate>,
    settings: &Settings,
    kept: &mut setup::Kept,
    rule: Option<MonitorRule>,
) -> Result<(watch::Sender<Believed>, Monitor), String> {
    let engine = Arc::new(Engine::at(settings.docker_host()).map_err(|error| error.to_string())?);
    let (told, heard) = watch::channel(believed(kept));
    Ok((told, Monitor::new(Arc::clone(gate), engine, places(settings), heard, rule)))
}

/// Begins to look after containers, beside a gate that serves. Who is given back is told what is in force.
pub(super) fn watch_containers(gate: &Arc<Gate>, settings: &Settings, kept: &mut setup::Kept) -> Option<watch::Sender<Believed>> {
    match of(gate, settings, kept, None) {
        Ok((told, monitor)) => {
            tokio::spawn(monitor.run());
            Some(told)
        }
        // The gate that serves has the same engine, or is not there.
        Err(why) => {
            tracing::error!(why, "containers that run are not looked after");
            None
        }
    }
}

/// Looks after the containers of a host on which no gate serves, until it is told to stop; or once.
pub(crate) fn monitor(settings: &Settings, watch: Watch) -> Result<Option<Outcome>, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let handle = runtime.handle().clone();
    let outcome = runtime.block_on(async {
        let mut kept = setup::Kept::serving(settings, handle.clone());
        // It listens nowhere; no plugin is this one.
        let gate = setup::serving(settings, &mut kept, Path::new(""), DecisionLimits::default(), handle.clone())?;
        let gate = Arc::new(gate);
        let (told, monitor) = of(&gate, settings, &mut kept, Some(watch.rule))?;
        let outcome = if watch.is_once {
            Some(monitor.once().await.map_err(|error| error.to_string())?)
        } else {
            audit_arrivals(&gate, settings);
            let running = tokio::spawn(monitor.run());
            tokio::select! {
                () = keep_up(&gate, settings, kept, None, Some(told)) => {}
                () = stopped() => {}
            }
            running.abort();
            None
        };
        gate.end();
        Ok::<_, String>(outcome)
    });
    // Nothing that still runs holds up the answer.
    runtime.shutdown_background();
    outcome
}
