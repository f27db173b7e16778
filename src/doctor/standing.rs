//! How the gate stands with dockerd: which process it is, which file it reads, by which name the gate may be given there, and what is
//! wrong with these.

use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::daemon::{self, Names, Stands};
use super::{ENGINE_TIME, Finding, Severity, daemon_file, enrolment};
use crate::engine::{Api as _, Engine, Plugin};
use crate::files::read_text;
use crate::gate::DaemonFile;
use crate::setup::{Flags, Place, Process, SERVICE, View, is_called};

/// Which gate is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The one that is found: a managed plugin before a gate that runs by itself.
    Found,
    /// The one that runs by itself, whatever managed plugins there are.
    Service,
}

/// What was seen.
pub(crate) struct Standing {
    /// dockerd, where its process was found.
    pub(crate) process: Option<Process>,
    /// Its daemon.json.
    pub(crate) path: PathBuf,
    /// What that says; `None`: it is not there, or cannot be understood, and then a finding says so.
    pub(crate) file: Option<DaemonFile>,
    /// The gate's exact name.
    pub(crate) gate: String,
    /// The managed plugin that it is.
    pub(crate) plugin: Option<Plugin>,
    /// Whether it may be named.
    pub(crate) stands: Stands,
    /// The managed plugin that dockerd takes for the service, since it has the same name.
    pub(crate) namesake: Option<String>,
    /// What is good and bad about the gate's plugin and the file.
    pub(crate) findings: Vec<Finding>,
}

impl Standing {
    /// Looks. `daemon_json` is the engine's file where one is named.
    pub(crate) async fn look(daemon_json: Option<&Path>, wanted: Wanted, place: &Place, engine: &Engine) -> Self {
        let (settings, view) = (&place.settings, View::of(&place.settings));
        let process = Process::behind(engine.socket()).await;
        let flags = process.as_ref().map(|process| &process.flags);
        let path = daemon_file(daemon_json, settings, flags);
        let read = read_text(&path, daemon::FILE_BYTES);
        let plugins = match &place.plugins {
            Some(plugins) => Ok(plugins.clone()),
            None => engine.plugins(Instant::now() + ENGINE_TIME).await,
        };
        let known = plugins.as_deref().ok();
        let (gate, plugin) = match wanted {
            Wanted::Service => (SERVICE.to_owned(), None),
            Wanted::Found => {
                let plugin = place.plugin.clone().or_else(|| place.among(known.unwrap_or_default()));
                (plugin.as_ref().map_or_else(|| place.name(), |plugin| plugin.name.clone()), plugin)
            }
        };
        let namesake = match wanted {
            Wanted::Service => {
                known.into_iter().flatten().find(|plugin| is_called(plugin, SERVICE)).map(|plugin| plugin.name.clone())
            }
            Wanted::Found => None,
        };
        let managed = plugins.as_ref().map(|_| plugin.clone()).map_err(Clone::clone);
        let mut findings = enrolment::plugin(&gate, managed, |path| view.find(path)).await;
        let stands = if let Some(plugin) = &plugin {
            // Also where a socket of the same name lies beside it.
            if plugin.enabled { Stands::There } else { Stands::Disabled }
        } else if findings.iter().any(|finding| finding.id == "plugin" && finding.severity == Severity::Ok) {
            Stands::There
        } else if plugins.is_ok() {
            Stands::Missing
        } else {
            Stands::Unknown
        };
        let names = Names { gate: &gate, id: plugin.as_ref().map(|plugin| plugin.id.as_str()), stands };
        let (file, mut found) = daemon::file(&path, read, flags, names);
        let is_socket = |name: &str| enrolment::has_socket(name, |path| view.find(path));
        match daemon::misspelt(&path, file.as_ref(), known, names, is_socket) {
            Some(misspelt) => {
                found.retain(|finding| finding.id != "daemon-json-gate-missing");
                found.push(misspelt);
            }
            None => found.extend(daemon::others(&path, file.as_ref(), known, names, is_socket)),
        }
        findings.extend(found);
        Self { process, path, file, gate, plugin, stands, namesake, findings }
    }

    /// Whether dockerd asks the gate, by a call that it must refuse.
    pub(crate) async fn asked(&self, engine: &Engine, settings: &crate::policy::Settings) -> Vec<Finding> {
        enrolment::asked(engine, self.names(), settings, self.file.as_ref(), self.flags()).await
    }

    /// dockerd's flags, where its process was found.
    pub(crate) fn flags(&self) -> Option<&Flags> {
        self.process.as_ref().map(|process| &process.flags)
    }

    /// Whether a name in daemon.json is this gate's.
    pub(crate) fn is_gate(&self, listed: &str) -> bool {
        self.names().fits(listed)
    }

    /// What to do so that the gate may be named.
    pub(crate) fn put_in(&self) -> String {
        self.names().put_in()
    }

    fn names(&self) -> Names<'_> {
        Names { gate: &self.gate, id: self.plugin.as_ref().map(|plugin| plugin.id.as_str()), stands: self.stands }
    }
}
