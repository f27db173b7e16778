//! `serve`: the plugin. Always activates; what is wrong is told in the log and in refusals.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::audit::Recorded;
use crate::cli::{UNKNOWN, YES};
use crate::daemon;
use crate::doctor;
use crate::files::{Outlives, replace};
use crate::gate::{self, Gate, Watchdog};
use crate::policy::{AllowlistSetting, Settings};
use crate::setup::{self, Started, Teller};

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
/// How often the self-check asks for an engine that is not up yet.
const ENGINE_RETRY: Duration = Duration::from_secs(1);
/// How often the metrics are written.
const TELL: Duration = Duration::from_secs(15);
/// How often the gate looks whether an allowlist has appeared.
const LOOK: Duration = Duration::from_secs(1);
/// How long it asks. dockerd starts its plugins before its API.
const ENGINE_PATIENCE: Duration = Duration::from_secs(30);

/// How often the gate looks whether it is still asked, seconds. Chance adds to it, so that many hosts do not beat together.
const BEAT_SECONDS: u64 = 50;
/// The most by which chance makes a beat later, seconds.
const JITTER_SECONDS: u64 = 20;
/// How long what looks after the gate may take to end. It ends at once, unless the gate is still being built.
const ENDING: Duration = Duration::from_secs(1);
/// Largest daemon.json read. Stops a wrong path from filling memory.
const DAEMON_FILE_BYTES: u64 = 1 << 20;

/// Serve the plugin's socket; dockerd is the client.
#[derive(Args)]
#[command(after_help = "Example: img-authz serve --socket /run/docker/plugins/img-authz.sock")]
pub(crate) struct ServeArgs {
    /// Where to listen, unless systemd passes a socket
    #[arg(long, value_name = "PATH", default_value = "/run/docker/plugins/img-authz.sock")]
    socket: PathBuf,
}

pub(crate) fn run(arguments: &ServeArgs, settings: Settings) -> ExitCode {
    match serve(arguments, settings) {
        Ok(()) => ExitCode::from(YES),
        Err(message) => {
            tracing::error!("{message}");
            ExitCode::from(UNKNOWN)
        }
    }
}

fn serve(arguments: &ServeArgs, settings: Settings) -> Result<(), String> {
    let listener = daemon::listen(&arguments.socket).map_err(|error| error.to_string())?;
    drop_privileges();
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
    let of_decisions = gate::Limits { places: limits.connections / PLACES_SHARE, ..gate::Limits::default() };
    // Under systemd's socket the gate's name is that socket's, whatever `--socket` says.
    let bound = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
    let socket = bound.unwrap_or_else(|| arguments.socket.clone());
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
                    handle.block_on(async {
                        tokio::select! {
                            biased;
                            _ = ended.wait_for(|ended| *ended) => {}
                            () = look_after(gate, settings, kept, teller) => {}
                        }
                    });
                }
                Err(message) => tracing::error!("the gate cannot be built, every call is refused: {message}"),
            }
        }
    });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), socket = %arguments.socket.display(), "serving");
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
fn limits() -> daemon::Limits {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS).max(current.unwrap_or(DESCRIPTORS));
    let is_raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok();
    let descriptors = if is_raised { wanted } else { current.unwrap_or(DESCRIPTORS) };
    let limits = daemon::Limits::default();
    let share = usize::try_from(descriptors / CONNECTIONS_SHARE).unwrap_or(usize::MAX).max(1);
    daemon::Limits { connections: limits.connections.min(share), ..limits }
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

/// The self-check, then reloads: on SIGHUP, and when an allowlist appears where none was.
async fn look_after(gate: Arc<Gate>, settings: Settings, mut kept: setup::Kept, mut teller: Teller) {
    teller.tell(&gate, &kept);
    let (start, state) = (Started::of(&settings), settings.state_dir());
    if gate.note_start(start.entry(&state)) == Recorded::Kept {
        start.remember(&state);
    }
    if let Some(faults) = kept.reading().told() {
        gate.note(&faults);
    }
    let own = settings.clone();
    tokio::spawn(async move { doctor::log_own(&own).await });
    tokio::spawn(beat(Arc::clone(&gate), setup::daemon_file(&settings)));
    tokio::spawn(tell(Arc::clone(&gate), settings.state_dir()));
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let mut listed = is_listed(&settings);
    let mut look = tokio::time::interval(LOOK);
    loop {
        let why = tokio::select! {
            _ = hangup.recv() => "SIGHUP",
            // One that is gone again changes nothing: its last good content holds.
            _ = look.tick() => {
                kept.look();
                teller.tell(&gate, &kept);
                match (!listed && is_listed(&settings), kept.is_worth_a_look()) {
                    (true, _) => "an allowlist appeared",
                    (false, true) => "a file that was faulty has changed",
                    (false, false) => continue,
                }
            }
        };
        listed |= is_listed(&settings);
        let (rules, is_good) = setup::rules(&settings, &mut kept);
        gate.settings_hold(is_good);
        if gate.replace(rules) {
            gate.note(&format!("settings and files were read again: {why}"));
            if let Some(faults) = kept.reading().told() {
                gate.note(&faults);
            }
            tracing::info!(why, "settings and files were read again");
        } else {
            gate.note(&format!("settings or files are faulty, the rules before stay in force: {why}"));
            tracing::error!(why, "settings or files are faulty: the rules before stay in force");
        }
        teller.read_again();
        teller.tell(&gate, &kept);
    }
}

/// Writes the gate's figures where node_exporter's textfile collector, or anyone, can read them.
async fn tell(gate: Arc<Gate>, folder: PathBuf) {
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

/// Looks now and then whether the gate still stands where it should; first at the engine, once it answers.
async fn beat(gate: Arc<Gate>, daemon_file: PathBuf) {
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

/// Whether the default allowlist is there.
fn is_listed(settings: &Settings) -> bool {
    match settings.allowlist() {
        AllowlistSetting::IfPresent(path) => path.exists(),
        AllowlistSetting::Off | AllowlistSetting::Required(_) => false,
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
