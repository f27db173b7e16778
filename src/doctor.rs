//! `doctor`: is this host really protected? Every finding with its evidence and its remedy; `docs/doctor.md` lists them.
//!
//! It looks and changes nothing. Two questions to the engine are more than looks, and have no effect on any engine: see
//! [`Engine::start_nobody`] and [`Engine::http2`].

mod daemon;
mod engine;
mod enrolment;
mod files;
mod inventory;
mod network;
mod standing;

use crate::order::sort_by_key;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::clock;
use crate::engine::{Api as _, Engine, EngineError};
use crate::gate::DaemonFile;
use crate::policy::{Http2Rule, Settings, quoted};
use crate::setup::{self, Alive, Basis, Flags, Place, Process, View};
use crate::text::{clean, fit};

pub(crate) use daemon::Stands;
pub(crate) use standing::{Standing, Wanted};

/// How long the engine gets for one answer.
const ENGINE_TIME: Duration = Duration::from_secs(5);
/// The finding that the settings are not known.
pub(crate) const UNKNOWN_SETTINGS: &str = "settings-unknown";
/// Longest evidence or remedy, characters. Stops foreign text from filling the screen.
const TEXT_CHARS: usize = 600;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The gate is not in force, can be gone around, or cannot do its work.
    Critical,
    /// It is weaker than it looks, or will be.
    Warning,
    /// Worth knowing.
    Info,
    /// Looked at and found good.
    Ok,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Its name in docs/doctor.md.
    pub(crate) id: &'static str,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What was seen.
    pub(crate) evidence: String,
    /// What to do; empty where there is nothing to do.
    pub(crate) remedy: String,
}

impl Finding {
    pub(crate) fn new(id: &'static str, severity: Severity, evidence: impl AsRef<str>, remedy: &str) -> Self {
        Self { id, severity, evidence: fit(evidence.as_ref(), TEXT_CHARS), remedy: fit(remedy, TEXT_CHARS) }
    }

    pub(crate) fn critical(id: &'static str, evidence: impl AsRef<str>, remedy: &str) -> Self {
        Self::new(id, Severity::Critical, evidence, remedy)
    }

    pub(crate) fn warning(id: &'static str, evidence: impl AsRef<str>, remedy: &str) -> Self {
        Self::new(id, Severity::Warning, evidence, remedy)
    }

    pub(crate) fn info(id: &'static str, evidence: impl AsRef<str>, remedy: &str) -> Self {
        Self::new(id, Severity::Info, evidence, remedy)
    }

    pub(crate) fn ok(id: &'static str, evidence: impl AsRef<str>) -> Self {
        Self::new(id, Severity::Ok, evidence, "")
    }
}

/// Leaves one of what two looks find; the worse comes first.
fn once(findings: &mut Vec<Finding>) {
    let mut seen = Vec::new();
    findings.retain(|finding| {
        let is_again = matches!(finding.id, "mode-permissive" | "gate-not-answering") && seen.contains(&finding.id);
        seen.push(finding.id);
        !is_again
    });
}

/// What a long look says of how far it is.
pub(crate) type Progress<'a> = &'a dyn Fn(&str);

/// Looks at this host: what is found, the worst first. `daemon_json` is the engine's file where one is named.
pub(crate) async fn examine(
    daemon_json: Option<&Path>,
    place: &Place,
    workers: tokio::runtime::Handle,
    progress: Progress<'_>,
) -> Vec<Finding> {
    let mut findings = find(daemon_json, place, workers, progress, clock::now()).await;
    sort_by_key(&mut findings, |finding| finding.severity);
    once(&mut findings);
    findings
}

async fn find(
    daemon_json: Option<&Path>,
    place: &Place,
    workers: tokio::runtime::Handle,
    progress: Progress<'_>,
    now: Timestamp,
) -> Vec<Finding> {
    let settings = &place.settings;
    let view = View::of(settings);
    let mut findings = Vec::new();
    let mut policy = None;
    progress("settings, registries, Notary …");
    if place.basis.is_ok() {
        findings.extend(network::settings(place, now, &mut policy));
        findings.extend(network::network(place, policy.as_ref(), now).await);
        findings.extend(files::state(settings));
        findings.extend(files::credentials(settings, policy.as_ref()));
        findings.extend(files::secrets_of_sinks(settings));
        findings.extend(policy.as_ref().and_then(|policy| place.record_of(policy)).map(|folder| files::record(&folder)));
    } else {
        findings.push(Finding::warning("settings-unknown", place.told(), unknown_settings(rustix::process::geteuid().is_root())));
    }

    progress("the engine …");
    let engine = match Engine::at(settings.docker_host()) {
        Ok(engine) => engine,
        Err(error) => {
            findings.push(Finding::critical(
                "engine-unreachable",
                error.to_string(),
                "set DOCKER_HOST to the engine's own socket",
            ));
            return findings;
        }
    };
    let standing = Standing::look(daemon_json, Wanted::Found, place, &engine).await;
    let alive = place.alive(view).await;
    findings.extend(standing.findings.iter().cloned());
    if standing.findings.iter().any(|finding| finding.id == "daemon-json") {
        is_gone(&mut findings);
    }
    if alive == Some(Alive::Silent) {
        findings.push(enrolment::silent(&standing.gate, standing.plugin.is_some()));
    }
    let deadline = || Instant::now() + ENGINE_TIME;
    let version = match engine.version(deadline()).await {
        Ok(version) => version,
        Err(error) => {
            findings.push(unreachable(&error, engine.socket(), alive.as_ref()));
            return findings;
        }
    };
    let info = engine.info(deadline()).await.ok();
    let swarm = info.as_ref().is_some_and(|info| info.swarm == "active");
    findings.extend(engine::holes(&version.engine, engine::debian_package(&version.engine).as_deref()));
    let http2 = engine.http2(deadline()).await;
    findings.push(engine::grpc(&http2, &version.engine));
    if policy.as_ref().is_some_and(|policy| policy.http2 == Http2Rule::Closed) {
        findings.push(engine::http2_setting(&http2, &version.engine));
    }
    findings.extend(standing.asked(&engine, settings).await);
    findings.extend(daemon::listeners(standing.process.as_ref(), standing.file.as_ref(), swarm));
    findings.extend(files::sockets(engine.socket(), view, policy.as_ref()));
    if policy.is_some() {
        findings.extend(inventory::judge(place, &engine, workers, progress).await);
    }
    findings
}

/// Whether the engine answers gRPC over cleartext HTTP/2 that no plugin is asked about; nothing where it does not answer at all.
pub(crate) async fn grpc(engine: &Engine) -> Option<Finding> {
    let deadline = Instant::now() + ENGINE_TIME;
    let version = engine.version(deadline).await.ok()?;
    Some(engine::grpc(&engine.http2(deadline).await, &version.engine))
}

/// dockerd as it runs: its command line, its file, and where it listens for everybody.
pub(crate) struct Dockerd {
    pub(crate) words: Option<Vec<String>>,
    pub(crate) file: Option<DaemonFile>,
    pub(crate) open: Option<String>,
}

/// What an audit of the host asks too.
pub(crate) async fn dockerd(engine: &Engine, settings: &Settings, swarm: bool) -> Dockerd {
    let process = Process::behind(engine.socket()).await;
    let path = daemon_file(None, settings, process.as_ref().map(|process| &process.flags));
    let text = crate::files::read_text(&path, daemon::FILE_BYTES).ok();
    let file = text.and_then(|text| DaemonFile::read(&text).ok());
    let listeners = daemon::listeners(process.as_ref(), file.as_ref(), swarm);
    let open = listeners.into_iter().find(|finding| finding.id == "listener-tcp-open").map(|finding| finding.evidence);
    Dockerd { words: process.map(|process| process.words), file, open }
}

/// What to do where the gate's settings are not known.
const fn unknown_settings(is_root: bool) -> &'static str {
    if is_root {
        "if dockerd does not run, the engine's data root may not be known: STATE_DIR=<data root>/plugins/ID/propagated-mount img-authz doctor; \
         for a gate without a managed plugin set STATE_DIR to its state folder"
    } else {
        "run this as root on the gate's host; for a gate without a managed plugin set STATE_DIR to its state folder"
    }
}

/// daemon.json names the gate: where that is not there, dockerd refuses every call, also the one that would install it.
fn is_gone(findings: &mut [Finding]) {
    for finding in findings.iter_mut().filter(|finding| finding.id == "plugin-missing") {
        enrolment::GONE.clone_into(&mut finding.remedy);
    }
}

/// An engine that does not answer, and why as far as that is known.
fn unreachable(error: &EngineError, socket: &Path, alive: Option<&Alive>) -> Finding {
    let evidence = clean(&error.to_string());
    let connected = std::os::unix::net::UnixStream::connect(socket);
    if connected.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
        let evidence = format!("{} may not be opened by this user", quoted(&socket.display().to_string()));
        return Finding::warning("engine-unreachable", evidence, "run this as root");
    }
    if alive == Some(&Alive::Silent) {
        let evidence = format!("{evidence}: the engine waits for the gate, which does not answer");
        return Finding::critical("engine-unreachable", evidence, "first get rid of the cause: see gate-not-answering");
    }
    if connected.is_ok() {
        // It runs: what it waits for, or fails with, may be a plugin.
        let remedy = "the engine runs, and may wait for the gate: take the gate out of daemon.json and reload dockerd (kill -HUP \"$(cat \
                      /run/docker.pid)\"), then run this again; else see journalctl -u docker";
        return Finding::critical("engine-unreachable", evidence, remedy);
    }
    let remedy = "start the engine (journalctl -u docker says why it does not), or set DOCKER_HOST to its socket; it does not start \
                  while daemon.json names a plugin that is disabled or missing";
    Finding::critical("engine-unreachable", evidence, remedy)
}

/// What the gate says of itself when it starts: settings, folders, credentials, Notary and registries. In the log, because that
/// is where an operator looks first.
pub(crate) async fn log_own(settings: &Settings) {
    let now = clock::now();
    let mut policy = None;
    let place = Place::judged(settings.clone(), Basis::Environment, &[], |last| last);
    let mut findings = network::settings(&place, now, &mut policy);
    findings.extend(files::state(settings));
    findings.extend(files::credentials(settings, policy.as_ref()));
    findings.extend(files::secrets_of_sinks(settings));
    findings.extend(policy.as_ref().and_then(|policy| place.record_of(policy)).map(|folder| files::record(&folder)));
    findings.extend(network::network(&place, policy.as_ref(), now).await);
    log(findings);
}

/// What the gate says of its engine when it starts.
pub(crate) fn log_engine(version: &str) {
    log(engine::holes(version, None));
}

fn log(findings: Vec<Finding>) {
    for Finding { id, severity, evidence, remedy } in findings {
        match severity {
            Severity::Critical => tracing::error!(id, remedy, "self-check: {evidence}"),
            Severity::Warning => tracing::warn!(id, remedy, "self-check: {evidence}"),
            Severity::Info | Severity::Ok => tracing::info!(id, "self-check: {evidence}"),
        }
    }
}

/// The one that was named, else the one dockerd was started with, else the one beside the gate's settings.
fn daemon_file(named: Option<&Path>, settings: &Settings, flags: Option<&Flags>) -> PathBuf {
    named
        .map(Path::to_owned)
        .or_else(|| flags.and_then(|flags| flags.config_file.clone()))
        .unwrap_or_else(|| setup::daemon_file(settings))
}

/// `1 warning`, `2 warnings`.
pub(crate) fn many(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_looks_find_is_told_once() {
        let mut findings = vec![
            Finding::warning("mode-permissive", "seen", ""),
            Finding::warning("mode-permissive", "set", ""),
            Finding::ok("y", ""),
        ];
        findings.extend([Finding::warning("settings-fault", "one", ""), Finding::warning("settings-fault", "two", "")]);
        once(&mut findings);
        assert_eq!(findings.iter().map(|one| one.evidence.as_str()).collect::<Vec<_>>(), ["seen", "", "one", "two"]);
    }

    #[test]
    fn a_gate_that_is_gone_is_taken_out_before_it_is_installed_and_root_is_not_told_to_be_root() {
        let mut findings = [Finding::critical("plugin-missing", "x", "install the gate"), Finding::ok("daemon-json", "y")];
        is_gone(&mut findings);
        assert!(findings[0].remedy.starts_with("remove it from daemon.json, reload dockerd, then install"));
        assert_eq!(findings[1].remedy, "");
        assert!(unknown_settings(true).contains("STATE_DIR=<data root>/plugins/ID/propagated-mount"));
        assert!(!unknown_settings(true).contains("as root") && unknown_settings(false).contains("as root"));
    }

    #[test]
    fn an_engine_that_runs_and_does_not_answer_may_wait_for_the_gate() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let error = EngineError::Timeout { call: "GET /version".into() };
        assert!(unreachable(&error, &socket, None).remedy.starts_with("start the engine"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let found = unreachable(&error, &socket, None);
        assert!(found.remedy.contains("take the gate out of daemon.json and reload"), "{}", found.remedy);
        assert!(unreachable(&error, &socket, Some(&Alive::Silent)).remedy.contains("gate-not-answering"));
    }

    #[test]
    fn every_finding_is_in_the_manual_and_nothing_else_is() {
        let manual = include_str!("../docs/doctor.md");
        let mut told: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
        let sources = [
            include_str!("doctor.rs"),
            include_str!("doctor/enrolment.rs"),
            include_str!("doctor/inventory.rs"),
            include_str!("doctor/daemon.rs"),
            include_str!("doctor/engine.rs"),
            include_str!("doctor/files.rs"),
            include_str!("doctor/network.rs"),
            include_str!("doctor/standing.rs"),
        ];
        let mut made: Vec<&str> = Vec::new();
        for source in sources {
            let source = source.split("#[cfg(test)]").next().unwrap();
            for part in source.split("Finding::").skip(1) {
                let Some((kind, rest)) = part.split_once('(') else { continue };
                if matches!(kind, "critical" | "warning" | "info" | "ok" | "new") {
                    let id = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                    made.extend(id.filter(|id| !made.contains(id)));
                }
            }
        }
        told.sort_unstable();
        made.sort_unstable();
        assert_eq!(made, told);
    }
}
