//! Folders that the gate and its host see under different paths.

use std::path::{Path, PathBuf};

use crate::policy::Settings;

/// What the managed plugin mounts: the folder inside it, and the host's (plugin/config.json).
pub(crate) const MOUNTS: [(&str, &str); 2] = [("/config", "/etc/docker"), ("/host-run", "/run")];

/// From where the host is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// On it.
    Host,
    /// From inside the managed plugin, whose own files are not the host's.
    Plugin,
}

impl View {
    /// The engine's socket is where the host's folder is mounted, inside the plugin alone.
    pub(crate) fn of(settings: &Settings) -> Self {
        let [_, (run, _)] = MOUNTS;
        let socket = settings.docker_host().strip_prefix("unix://").unwrap_or_default();
        if Path::new(socket).starts_with(run) { Self::Plugin } else { Self::Host }
    }

    /// Where a path of the host is found; `None`: it cannot be seen.
    pub(crate) fn find(self, path: &str) -> Option<PathBuf> {
        match self {
            Self::Host => Some(path.into()),
            Self::Plugin => MOUNTS.iter().find_map(|(inside, host)| {
                let rest = Path::new(path).strip_prefix(host).ok()?;
                Some(Path::new(inside).join(rest))
            }),
        }
    }
}

/// A path inside the plugin, as the host has it.
pub(crate) fn host_path(path: &str, mounts: &[(String, String)]) -> String {
    for (host, inside) in mounts {
        if let Some(rest) = path.strip_prefix(inside.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            return format!("{host}{rest}");
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
