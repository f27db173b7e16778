//! What goes on around the gate: threads, signals, reloads, the watchdog's beat, the monitor, the metrics. It always activates; what is wrong
//! is told in the log and in refusals.

mod arrivals;
mod beat;
mod containers;
mod shadow;
mod stats;
mod status;
mod upkeep;
mod web;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::arrivals::audit_arrivals;
use self::containers::watch_containers;
pub(crate) use self::containers::{Watch, monitor};
#[cfg(test)]
pub(crate) use self::status::sample::sample;
pub(crate) use self::status::{Item, Severity, Snapshot, Verdict};
pub(crate) use self::web::{Unanswered, ask, distance};
use crate::daemon;
use crate::gate;
use crate::policy::Settings;
use crate::rego;
use crate::setup::{self, Teller};

/// Threads that verify: TLS and signatures, beside the one that serves.
const WORKERS: usize = 2;
/// How far those threads stand back behind the one that serves, in steps of `nice`: a daemon's `ps` does not wait until a
/// signature is checked. A third of the weight, so that they get on beside other work too.
const STAND_BACK: i32 = 5;
/// Threads for decoding large posts and for files.
const BLOCKING_THREADS: usize = 8;
/// Descriptors that the gate wants: its connections four times over. Many systems begin with 1,024.
const DESCRIPTORS: u64 = 4096;
/// Of the descriptors, connections on the plugin's socket take one in this many at most.
const CONNECTIONS_SHARE: u64 = 4;
/// Of the connections, decisions that wait take one in this many at most.
const PLACES_SHARE: usize = 2;

/// How long what looks after the gate may take to end. It ends at once, unless the gate is still being built.
const ENDING: Duration = Duration::from_secs(1);

/// Serves until it is told to stop.
pub(crate) fn serve(at: &Path, settings: Settings) -> Result<(), String> {
    let listener = daemon::listen(at).map_err(|error| error.to_string())?;
    drop_privileges();
    // Not on the first thread: how large its stack is, is said by whoever starts the program.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("serve".to_owned()).stack_size(rego::STACK);
        let serving = thread.spawn_scoped(scope, || {
            rego::has_room();
            serve_here(listener, at, settings)
        });
        let served = serving.map_err(|error| format!("no thread can be started: {error}"))?.join();
        served.unwrap_or_else(|_| Err("the thread that serves has failed".to_owned()))
    })
}

fn serve_here(listener: std::os::unix::net::UnixListener, at: &Path, settings: Settings) -> Result<(), String> {
    let serving = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let workers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("verify")
        .on_thread_start(stand_back)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let handle = workers.handle().clone();
    let (built, coming) = watch::channel(None);
    let limits = limits();
    let of_decisions = gate::DecisionLimits { places: limits.connections / PLACES_SHARE, ..gate::DecisionLimits::default() };
    // Under systemd's socket the gate's name is that socket's, whatever was asked for.
    let bound = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
    let socket = bound.unwrap_or_else(|| at.to_owned());
    let (ending, mut ended) = watch::channel(false);
    // Built beside the server, so that activation does not wait for it. Whatever cannot be built is refused, not a crash.
    let looking_after = workers.spawn_blocking({
        let handle = handle.clone();
        move || {
            let mut kept = setup::Kept::serving(&settings, handle.clone());
            let teller = Teller::new(&settings, &socket);
            match setup::serving(&settings, &mut kept, &socket, of_decisions, handle.clone()) {
                Ok(gate) => {
                    let gate = Arc::new(gate);
                    built.send_replace(Some(Arc::clone(&gate)));
                    web::answer(Arc::clone(&gate), &settings, handle.clone());
                    handle.block_on(async {
                        tokio::select! {
                            biased;
                            _ = ended.wait_for(|ended| *ended) => {}
                            () = upkeep::look_after(gate, settings, kept, teller) => {}
                        }
                    });
                }
                Err(message) => tracing::error!("the gate cannot be built, every call is refused: {message}"),
            }
        }
    });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), socket = %at.display(), "serving");
    let last = coming.clone();
    serving.block_on(async {
        let listener = tokio::net::UnixListener::from_std(listener).map_err(|error| error.to_string())?;
        daemon::serve(listener, coming, handle, limits, stopped()).await;
        Ok::<_, String>(())
    })?;
    // First the task, then the runtime: a clock that is asked after its runtime's end panics.
    ending.send_replace(true);
    serving.block_on(async {
        if tokio::time::timeout(ENDING, looking_after).await.is_err() {
            tracing::warn!("the gate was still being built when it stopped");
        }
    });
    if let Some(gate) = &*last.borrow() {
        gate.end();
    }
    tracing::info!("stopped");
    // Its end would be met by tasks that still look at its clock, and panic. They end with the process.
    std::mem::forget(workers);
    Ok(())
}

/// Raises the soft limit of descriptors to what it may be, and takes no more connections than leave the greater part of them for
/// files, the engine and servers.
fn limits() -> daemon::ConnectionLimits {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS).max(current.unwrap_or(DESCRIPTORS));
    let is_raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok();
    let descriptors = if is_raised { wanted } else { current.unwrap_or(DESCRIPTORS) };
    let limits = daemon::ConnectionLimits::default();
    let share = usize::try_from(descriptors / CONNECTIONS_SHARE).unwrap_or(usize::MAX).max(1);
    daemon::ConnectionLimits { connections: limits.connections.min(share), ..limits }
}

/// The process needs no capability once it listens: files are root's own, connections need none.
fn drop_privileges() {
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        tracing::warn!(%error, "no_new_privs could not be set");
    }
    let none = rustix::thread::CapabilitySet::empty();
    let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
    if let Err(error) = rustix::thread::set_capabilities(None, sets) {
        tracing::warn!(%error, "capabilities could not be dropped");
    }
}

/// For the calling thread alone, as Linux has it.
fn stand_back() {
    if let Err(error) = rustix::process::nice(STAND_BACK) {
        tracing::debug!(%error, "a verifying thread keeps the priority of the serving one");
    }
}

async fn stopped() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be received; stop the gate with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
