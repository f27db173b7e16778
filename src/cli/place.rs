//! Finds the gate that serves on this host. A managed plugin's settings and state are the engine's: its settings are asked
//! for, and paths inside the plugin are told as paths on the host.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::{Api as _, Engine};
use crate::policy::{Settings, VARIABLES};

/// How long the engine is asked. A command on a host whose engine hangs still answers.
const PATIENCE: Duration = Duration::from_secs(2);
/// The plugin's name unless the environment variable `PLUGIN` gives another.
const PLUGIN: &str = "img-authz";

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

/// `/config` inside the plugin is `/etc/docker` on the host, `/host-run` is `/run` (plugin/config.json).
fn outside(path: &str) -> String {
    for (inside, host) in [("/config", "/etc/docker"), ("/host-run", "/run")] {
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
}
