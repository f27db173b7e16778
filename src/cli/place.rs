//! Finds the gate that serves on this host. A managed plugin's settings and state are the engine's: its settings are asked
//! for, and paths inside the plugin are told as paths on the host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::{Api as _, Engine};
use crate::policy::{Settings, VARIABLES};

/// How long the engine is asked. A command on a host whose engine hangs still answers.
const PATIENCE: Duration = Duration::from_secs(2);
/// The plugin's name unless the environment variable `PLUGIN` gives another.
const PLUGIN: &str = "img-authz";

/// What the managed plugin mounts: the folder inside it, and the host's (plugin/config.json).
const MOUNTS: [(&str, &str); 2] = [("/config", "/etc/docker"), ("/host-run", "/run")];

/// From where the host is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// On it.
    Host,
    /// From inside the managed plugin, whose own files are not the host's.
    Plugin,
}

impl View {
    /// The engine's socket is where the host's folder is mounted, inside the plugin alone.
    pub(super) fn of(settings: &Settings) -> Self {
        let [_, (run, _)] = MOUNTS;
        let socket = settings.docker_host().strip_prefix("unix://").unwrap_or_default();
        if Path::new(socket).starts_with(run) { Self::Plugin } else { Self::Host }
    }

    /// Where a path of the host is found; `None`: it cannot be seen.
    pub(super) fn find(self, path: &str) -> Option<PathBuf> {
        match self {
            Self::Host => Some(path.into()),
            Self::Plugin => MOUNTS.iter().find_map(|(inside, host)| {
                let rest = Path::new(path).strip_prefix(host).ok()?;
                Some(Path::new(inside).join(rest))
            }),
        }
    }
}

/// These settings; where they name no state folder and this host has a managed gate, that gate's, as seen from the host.
/// What the environment sets itself goes before.
pub(super) fn on_host(settings: Settings) -> Settings {
    if settings.get("STATE_DIR").is_some() {
        return settings;
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return settings };
    let name = plugin_name();
    let found = runtime.block_on(async {
        let engine = Engine::at(settings.docker_host()).ok()?;
        let deadline = Instant::now() + PATIENCE;
        let plugin = engine.plugin(&name, deadline).await.ok()??;
        let info = engine.info(deadline).await.ok()?;
        Some((plugin, info))
    });
    let Some((plugin, info)) = found else { return settings };
    let given = plugin.settings.iter().filter_map(|setting| setting.split_once('='));
    merge(settings, given, &Path::new(&info.data_root).join("plugins").join(&plugin.id).join("propagated-mount"))
}

/// What the gate on this host is called.
pub(super) fn plugin_name() -> String {
    std::env::var("PLUGIN").ok().filter(|name| !name.trim().is_empty()).unwrap_or_else(|| PLUGIN.to_owned())
}

fn merge<'a>(mut settings: Settings, given: impl Iterator<Item = (&'a str, &'a str)>, state: &Path) -> Settings {
    for (name, value) in given {
        if !VARIABLES.contains(&name) || settings.get(name).is_some() || value.trim().is_empty() {
            continue;
        }
        match name {
            // The engine is the one that was asked.
            "DOCKER_HOST" => {}
            "STATE_DIR" => settings = settings.with(name, state.display().to_string()),
            "CONFIG_DIR" | "DOCKER_CONFIG" | "ALLOWLIST" => settings = settings.with(name, outside(value)),
            _ => settings = settings.with(name, value),
        }
    }
    settings
}

/// A path inside the plugin, as the host has it.
fn outside(path: &str) -> String {
    for (inside, host) in MOUNTS {
        if let Some(rest) = path.strip_prefix(inside).filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            return format!("{host}{rest}");
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_managed_gates_settings_are_told_as_the_host_sees_them() {
        let given = [
            ("REGISTRY", "r.example"),
            ("NOTARY", ""),
            ("STATE_DIR", "/state"),
            ("CONFIG_DIR", "/config/img-authz"),
            ("ALLOWLIST", "off"),
            ("DOCKER_HOST", "unix:///host-run/docker.sock"),
            ("MODE", "audit"),
            ("PATH", "/bin"),
        ];
        let settings =
            merge(Settings::default().with("MODE", "enforce"), given.into_iter(), Path::new("/data/plugins/x/propagated-mount"));
        assert_eq!(settings.get("REGISTRY"), Some("r.example"));
        assert_eq!(settings.get("NOTARY"), None);
        assert_eq!(settings.get("STATE_DIR"), Some("/data/plugins/x/propagated-mount"));
        assert_eq!(settings.get("CONFIG_DIR"), Some("/etc/docker/img-authz"));
        assert_eq!(settings.get("ALLOWLIST"), Some("off"));
        assert_eq!((settings.get("DOCKER_HOST"), settings.get("PATH")), (None, None));
        assert_eq!(settings.get("MODE"), Some("enforce"));
        assert_eq!(outside("/configured/x"), "/configured/x");
    }

    #[test]
    fn the_hosts_files_are_looked_for_where_they_are_seen() {
        let inside = View::of(&Settings::default().with("DOCKER_HOST", "unix:///host-run/docker.sock"));
        assert_eq!(inside, View::Plugin);
        let found = |path: &str| inside.find(path).map(|path| path.display().to_string());
        assert_eq!(found("/run/docker/plugins").as_deref(), Some("/host-run/docker/plugins"));
        assert_eq!(found("/etc/docker/plugins").as_deref(), Some("/config/plugins"));
        assert_eq!((found("/etc/group"), found("/running"), found("/usr/lib/docker/plugins")), (None, None, None));
        for settings in [Settings::default(), Settings::default().with("DOCKER_HOST", "unix:///host-runner/docker.sock")] {
            assert_eq!(View::of(&settings), View::Host);
        }
        assert_eq!(View::Host.find("/etc/group"), Some("/etc/group".into()));
    }
}
