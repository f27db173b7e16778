//! Is the gate installed, and does dockerd ask it? Its being listed proves neither.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::daemon::Names;
use super::{ENGINE_TIME, Finding, files};
use crate::engine::{ContainerId, Engine, EngineError, Plugin, Started};
use crate::gate::{DaemonFile, Listed};
use crate::policy::{Settings, quoted};
use crate::setup::{Alive, Flags, is_alive};
use crate::text::clean;

/// Where dockerd looks for plugins that are no managed ones, in this order, and what the files are called there.
const FOLDERS: [(&str, &[&str]); 3] = [
    ("/run/docker/plugins", &["sock"]),
    ("/etc/docker/plugins", &["spec", "json"]),
    ("/usr/lib/docker/plugins", &["spec", "json"]),
];
/// How the engine tells a refusal.
const REFUSED: &str = "authorization denied by plugin ";
/// How it tells that a plugin does not work.
const FAILED: &str = "plugin ";

/// What became of the call that must be refused.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// The gate refused it, with this code.
    Refused { plugin: String, code: String },
    /// Somebody else did.
    ByOther(String),
    /// A plugin was asked and gave no answer.
    Broken(String),
    /// It reached the engine.
    Passed,
    /// Something else.
    Unknown(String),
}

/// Whether there is a plugin of this name, and one alone. `find` says where a path of the host is.
pub(super) async fn plugin(
    gate: &str,
    managed: Result<Option<Plugin>, EngineError>,
    find: impl Fn(&str) -> Option<PathBuf>,
) -> Vec<Finding> {
    let shown = quoted(gate);
    // A managed plugin's name has a tag, which the socket beside it has not.
    let legacy = sockets(gate.strip_suffix(":latest").unwrap_or(gate), find);
    let by_socket = match legacy.first() {
        Some(path) => Some((quoted(&path.display().to_string()), listens(&shown, path).await)),
        None => None,
    };
    match (managed, by_socket) {
        (Ok(Some(plugin)), Some((path, other))) => {
            let evidence = format!("there is a managed plugin {shown} and a plugin socket {path}: dockerd asks the managed one");
            let remedy = if other.id == "plugin-dead" {
                format!("no `img-authz serve` runs behind it: rm {}", path.trim_matches('`'))
            } else {
                format!(
                    "remove the one that you do not mean: stop `img-authz serve` (its unit), or docker plugin disable and docker plugin rm \
                     the managed one. If no `img-authz serve` runs: rm {}",
                    path.trim_matches('`')
                )
            };
            let mut found = vec![Finding::warning("plugin-shadowed", evidence, &remedy)];
            found.extend((!plugin.enabled).then(|| disabled(gate)));
            found
        }
        (Ok(Some(plugin)), None) if plugin.enabled => {
            vec![Finding::ok("plugin", format!("managed plugin {shown} is enabled"))]
        }
        (Ok(Some(_)), None) => vec![disabled(gate)],
        (Ok(None), Some((_, finding))) => vec![finding],
        (Ok(None), None) => {
            let evidence = format!("there is no managed plugin {shown} and no plugin socket of that name");
            let remedy = "install the gate (README, Install); if it has another name, give that in PLUGIN. Do not name it in daemon.json before \
                          docker plugin ls shows it as enabled";
            vec![Finding::critical("plugin-missing", evidence, remedy)]
        }
        (Err(error), by_socket) => {
            let evidence = format!("whether {shown} is a managed plugin is not known: {}", clean(&error.to_string()));
            let mut found = vec![Finding::warning("plugin-unknown", evidence, "repeat this once the engine answers")];
            found.extend(by_socket.map(|(_, finding)| finding));
            found
        }
    }
}

/// What to do where there is no gate, and daemon.json names it: dockerd refuses every call, so nothing can be installed.
pub(super) const GONE: &str = "remove it from daemon.json, reload dockerd, then install and enable the gate (README, Install); once docker \
                               plugin ls shows it as enabled, name it in daemon.json again and reload";

/// Whether anybody listens on a plugin's socket.
async fn listens(shown: &str, path: &Path) -> Finding {
    let told = quoted(&path.display().to_string());
    if path.extension().is_none_or(|ending| ending != "sock") {
        return Finding::ok("plugin", format!("{shown} is described in {told}"));
    }
    match is_alive(path).await {
        Alive::Yes => Finding::ok("plugin", format!("{shown} answers on {told}")),
        Alive::Silent => silent(shown.trim_matches('`'), false),
        Alive::Unknown(why) => Finding::info("plugin", format!("{told} may not be opened: {why}"), "run this as root"),
        Alive::No => {
            let evidence = format!("nobody answers on {told}: the engine refuses every call, or does not start");
            let remedy = "start the gate (img-authz serve, or its unit); to get into Docker meanwhile, take it out of daemon.json and reload \
                          dockerd";
            Finding::critical("plugin-dead", evidence, remedy)
        }
    }
}

/// A gate that is there and does not answer.
pub(super) fn silent(gate: &str, is_managed: bool) -> Finding {
    let shown = quoted(gate);
    let evidence =
        format!("the gate {shown} runs and does not answer: the engine waits for it at every call, and then refuses the call");
    let again = if is_managed {
        format!("docker plugin disable {gate} and docker plugin enable {gate}")
    } else {
        "restart its unit".to_owned()
    };
    let remedy =
        format!("to get into Docker, take it out of daemon.json and reload the daemon; then {again}, put it back and reload");
    Finding::critical("gate-not-answering", evidence, &remedy)
}

fn disabled(name: &str) -> Finding {
    let shown = quoted(name);
    let evidence =
        format!("managed plugin {shown} is disabled: nothing is enforced, and dockerd does not start with it in daemon.json");
    let remedy = format!(
        "docker plugin enable {name}, then reload the daemon (systemctl reload docker): enabling alone does not put it back in the chain. \
         Where dockerd does not start, first take it out of daemon.json"
    );
    Finding::critical("plugin-disabled", evidence, &remedy)
}

/// Whether a plugin that is not a managed one has this name.
pub(super) fn has_socket(name: &str, find: impl Fn(&str) -> Option<PathBuf>) -> bool {
    !sockets(name, find).is_empty()
}

/// Sockets and descriptions of that name, in the order dockerd looks for them.
fn sockets(gate: &str, find: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    // A name with a slash or a tag is a managed plugin's alone.
    if gate.is_empty() || gate.contains(['/', ':']) || gate.starts_with('.') {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (folder, endings) in FOLDERS {
        let Some(folder) = find(folder) else { continue };
        for ending in endings {
            let name = format!("{gate}.{ending}");
            found.extend([folder.join(&name), folder.join(gate).join(&name)]);
        }
    }
    let is_there = |path: &PathBuf| {
        let kind = std::fs::metadata(path).map(|metadata| metadata.file_type());
        kind.is_ok_and(|kind| kind.is_socket() || (kind.is_file() && path.extension().is_none_or(|ending| ending != "sock")))
    };
    found.retain(is_there);
    found
}

/// Asks the engine for what the gate must refuse: the start of a container by a new random id. No container has it, so that an
/// engine without a gate answers 404, and nothing is looked up, pulled or started anywhere.
pub(super) async fn asked(
    engine: &Engine,
    names: Names<'_>,
    settings: &Settings,
    file: Option<&DaemonFile>,
    flags: Option<&Flags>,
) -> Vec<Finding> {
    let Some(nobody) = nobody() else {
        return vec![Finding::warning("chain-unknown", "the system gives no random numbers", "repeat this")];
    };
    let started = engine.start_nobody(&nobody, Instant::now() + ENGINE_TIME * 3).await;
    let asked = match &started {
        Ok(started) => read(started),
        Err(error) => Asked::Unknown(error.to_string()),
    };
    let is_recorded = files::is_recorded(settings, nobody.as_str());
    let listed = match file.map(DaemonFile::plugins) {
        Some(Listed::Plugins(names)) => names.len(),
        Some(Listed::Nothing | Listed::NotAList) | None => 0,
    };
    let any_listed = listed + flags.map_or(0, |flags| flags.plugins.len()) > 0;
    told(asked, names, is_recorded, any_listed)
}

fn told(asked: Asked, names: Names<'_>, is_recorded: Option<bool>, any_listed: bool) -> Vec<Finding> {
    let shown = quoted(names.gate);
    match asked {
        Asked::Refused { plugin, code } => {
            let by = quoted(&plugin);
            let mut found = match code.as_str() {
                "engine-unreachable" | "deadline" => vec![Finding::critical(
                    "gate-without-engine",
                    format!("{by} is asked, but cannot ask the engine itself ({code}): every create and start is refused"),
                    "set the gate's DOCKER_HOST to the engine's socket as the gate sees it, and see its log",
                )],
                "setting-fault" => vec![Finding::critical(
                    "gate-without-policy",
                    format!("{by} is asked, but its settings are faulty: every call that touches an image is refused"),
                    "see settings-fault for what to change",
                )],
                _ => vec![Finding::ok("in-chain", format!("{by} was asked about a call and refused it ({code})"))],
            };
            if is_recorded == Some(false) {
                found.push(Finding::warning(
                    "audit-unrecorded",
                    "the gate's refusal a moment ago is not in the audit log that was looked at",
                    "see that STATE_DIR names the gate's own folder here, and the gate's log for lost entries",
                ));
            }
            found
        }
        Asked::Passed if is_recorded == Some(true) => vec![Finding::warning(
            "mode-permissive",
            format!("{shown} was asked about a call it should refuse, recorded it, and allowed it: MODE is permissive"),
            "set MODE=enforce once the audit log holds no surprises",
        )],
        Asked::Passed => {
            let why = if any_listed {
                "a reload or restart of the daemon has not happened since it was listed, or it was disabled and enabled since"
            } else {
                "no authorization plugin is listed"
            };
            vec![Finding::critical(
                "not-in-chain",
                format!("a call that {shown} must refuse reached the engine: the gate is not asked, nothing is enforced ({why})"),
                &names.put_in(),
            )]
        }
        Asked::Broken(why) => vec![Finding::critical(
            "gate-not-answering",
            format!("the engine asks a plugin that does not answer, and so refuses the call: {}", clean(&why)),
            "to get into Docker, take the gate out of daemon.json and reload dockerd; then docker plugin disable and docker plugin enable it \
             (or start its unit), put it back into daemon.json and reload",
        )],
        Asked::ByOther(why) => vec![Finding::warning(
            "chain-unknown",
            format!("another plugin refused the call before {shown} could: {}", clean(&why)),
            "list the gate first in daemon.json, or let that plugin allow the start of an unknown container",
        )],
        Asked::Unknown(why) => vec![Finding::warning(
            "chain-unknown",
            format!("whether {shown} is asked could not be found out: {}", clean(&why)),
            "repeat this; see the daemon's log",
        )],
    }
}

fn read(started: &Started) -> Asked {
    let message = started.message.trim();
    if let Some(rest) = message.strip_prefix(REFUSED) {
        let mut parts = rest.splitn(3, ": ");
        return match (started.status, parts.next(), parts.next()) {
            (403, Some(plugin), Some(code)) if is_ours(code) => {
                Asked::Refused { plugin: plugin.to_owned(), code: code.to_owned() }
            }
            _ => Asked::ByOther(rest.to_owned()),
        };
    }
    match started.status {
        500 if message.starts_with(FAILED) && message.contains("AuthZPlugin.") => Asked::Broken(message.to_owned()),
        // "No such container", or a start that did nothing (304).
        404 => Asked::Passed,
        status => Asked::Unknown(format!("the engine answered with status {status}: {message}")),
    }
}

/// What this gate says to the start of a container that is not there.
fn is_ours(code: &str) -> bool {
    matches!(
        code,
        "container-unknown"
            | "user-forbidden"
            | "engine-unreachable"
            | "setting-fault"
            | "deadline"
            | "overloaded"
            | "internal"
            | "start-with-body"
    )
}

/// An id that no container has.
fn nobody() -> Option<ContainerId> {
    let mut bytes = [0u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    crate::image::Digest::from_bytes(bytes).hex().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{self, Critical, Ok as Good, Warning};
    use super::*;

    fn of(status: u16, message: &str) -> Asked {
        read(&Started { status, message: message.to_owned() })
    }

    #[test]
    fn only_the_gates_own_words_prove_that_it_is_asked() {
        let refused = "authorization denied by plugin img-authz:latest: container-unknown: no container `00`; see docker ps -a";
        assert_eq!(of(403, refused), Asked::Refused { plugin: "img-authz:latest".into(), code: "container-unknown".into() });
        assert!(matches!(of(403, "authorization denied by plugin opa: no: never"), Asked::ByOther(_)));
        assert!(matches!(of(403, "authorization denied by plugin opa: "), Asked::ByOther(_)));
        assert!(matches!(of(500, refused), Asked::ByOther(_)));
        assert!(matches!(of(500, "plugin x failed with error: AuthZPlugin.AuthZReq: dial unix"), Asked::Broken(_)));
        assert_eq!(of(404, "No such container: 00"), Asked::Passed);
        assert!(matches!(of(500, "server error"), Asked::Unknown(_)));
        assert!(matches!(of(204, ""), Asked::Unknown(_)));
    }

    fn says(asked: Asked, recorded: Option<bool>) -> Vec<(&'static str, Severity)> {
        told(asked, Names { gate: "img-authz", id: None, stands: super::super::daemon::Stands::There }, recorded, true)
            .iter()
            .map(|finding| (finding.id, finding.severity))
            .collect()
    }

    #[test]
    fn a_call_that_passed_means_that_nothing_is_enforced() {
        let refused = |code: &str| Asked::Refused { plugin: "img-authz".into(), code: code.into() };
        assert_eq!(says(refused("container-unknown"), Some(true)), [("in-chain", Good)]);
        assert_eq!(says(refused("container-unknown"), None), [("in-chain", Good)]);
        assert_eq!(says(refused("container-unknown"), Some(false)), [("in-chain", Good), ("audit-unrecorded", Warning)]);
        assert_eq!(says(refused("engine-unreachable"), None), [("gate-without-engine", Critical)]);
        assert_eq!(says(refused("setting-fault"), None), [("gate-without-policy", Critical)]);
        assert_eq!(says(Asked::Passed, None), [("not-in-chain", Critical)]);
        assert_eq!(says(Asked::Passed, Some(false)), [("not-in-chain", Critical)]);
        assert_eq!(says(Asked::Passed, Some(true)), [("mode-permissive", Warning)]);
        assert_eq!(says(Asked::Broken(String::new()), None), [("gate-not-answering", Critical)]);
        assert_eq!(says(Asked::ByOther(String::new()), None), [("chain-unknown", Warning)]);
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the engine answers")]
    fn managed(enabled: bool) -> Result<Option<Plugin>, EngineError> {
        Ok(Some(Plugin { id: "5".repeat(64), name: "img-authz:latest".into(), enabled, ..Plugin::default() }))
    }

    #[tokio::test]
    async fn a_plugin_is_there_once_and_alive() {
        let root = tempfile::tempdir().unwrap();
        let ids = async |managed| -> Vec<_> {
            let find = |path: &str| Some(root.path().join(path.trim_start_matches('/')));
            plugin("img-authz", managed, find).await.iter().map(|finding| (finding.id, finding.severity)).collect()
        };
        assert_eq!(ids(managed(true)).await, [("plugin", Good)]);
        assert_eq!(ids(managed(false)).await, [("plugin-disabled", Critical)]);
        assert_eq!(ids(Ok(None)).await, [("plugin-missing", Critical)]);
        let folder = root.path().join("run/docker/plugins");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("img-authz.sock"), "no socket").unwrap();
        assert_eq!(ids(Ok(None)).await, [("plugin-missing", Critical)]);
        std::fs::remove_file(folder.join("img-authz.sock")).unwrap();
        let listener = tokio::net::UnixListener::bind(folder.join("img-authz.sock")).unwrap();
        assert_eq!(ids(Ok(None)).await, [("gate-not-answering", Critical)]);
        let answers = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0u8; 512]).await;
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n").await;
            }
        });
        assert_eq!(ids(Ok(None)).await, [("plugin", Good)]);
        assert_eq!(ids(managed(true)).await, [("plugin-shadowed", Warning)]);
        let find = |path: &str| Some(root.path().join(path.trim_start_matches('/')));
        assert_eq!(plugin("img-authz:latest", managed(true), find).await[0].id, "plugin-shadowed");
        assert_eq!(plugin("img-authz:2", managed(true), find).await[0].id, "plugin");
        assert_eq!(ids(managed(false)).await, [("plugin-shadowed", Warning), ("plugin-disabled", Critical)]);
        let remedy = async || {
            let find = |path: &str| Some(root.path().join(path.trim_start_matches('/')));
            plugin("img-authz", managed(true), find).await[0].remedy.clone()
        };
        assert!(remedy().await.starts_with("remove the one that you do not mean"));
        answers.abort();
        let _ = answers.await;
        assert!(remedy().await.starts_with("no `img-authz serve` runs behind it: rm /"));
        assert_eq!(ids(Ok(None)).await, [("plugin-dead", Critical)]);
        let unanswered = || Err(EngineError::Timeout { call: "GET".into() });
        assert_eq!(ids(unanswered()).await, [("plugin-unknown", Warning), ("plugin-dead", Critical)]);
        std::fs::remove_file(folder.join("img-authz.sock")).unwrap();
        assert_eq!(ids(unanswered()).await, [("plugin-unknown", Warning)]);
    }

    #[test]
    fn nobody_is_a_new_id_each_time() {
        assert_ne!(nobody().unwrap(), nobody().unwrap());
    }
}
