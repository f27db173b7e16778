//! What the entry of the gate's start says: its version, what the settings are, and what is otherwise than at the start before.
//! Names and values of settings, never a secret: certificates and pins are told by their hash, addresses without user and password.

use crate::order::Ordered as _;
use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::state::STARTED;
use crate::audit::{Entry, Event};
use crate::files::{Outlives, read_bytes, replace};
use crate::image::Digest;
use crate::net::without_user;
use crate::policy::{Settings, VARIABLES, may_be_secret};
use crate::text::fit;

/// Largest such file read, bytes. Stops a foreign one from filling memory.
const FILE_BYTES: u64 = 1 << 20;
/// Longest value told as it is, characters; of a longer one its hash.
const VALUE_CHARS: usize = 200;

/// A start, as the next one remembers it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    version: String,
    settings: BTreeMap<String, String>,
}

impl Started {
    /// This start.
    pub(crate) fn of(settings: &Settings) -> Self {
        let told = VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), told(name, settings.get(name)?))));
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), settings: told.ordered() }
    }

    /// The entry that says so; mode and posture are the gate's to say.
    pub(crate) fn entry(&self, folder: &Path) -> Entry {
        let mut entry = Entry::new(crate::clock::now(), Event::Gate);
        entry.version = env!("CARGO_PKG_VERSION");
        // A map of texts always serialises.
        entry.settings = Digest::of(&serde_json::to_vec(&self.settings).unwrap_or_default()).to_string();
        let last = read_bytes(&folder.join(STARTED), FILE_BYTES).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        entry.changed = last.map_or_else(Vec::new, |last| self.differences(&last));
        entry
    }

    /// For the next start; called once the entry is written, so that what is not told is told then.
    pub(crate) fn remember(&self, folder: &Path) {
        let written = serde_json::to_vec_pretty(self)
            .map_err(std::io::Error::from)
            .and_then(|bytes| replace(&folder.join(STARTED), &bytes, 0o600, Outlives::Power));
        if let Err(error) = written {
            tracing::warn!(%error, "what this start had could not be kept: the next one cannot say what changed");
        }
    }

    fn differences(&self, last: &Self) -> Vec<String> {
        let mut all = Vec::new();
        if self.version != last.version {
            all.push(format!("version {} (was {})", self.version, fit(&last.version, VALUE_CHARS)));
        }
        let names: std::collections::BTreeSet<&String> = self.settings.keys().chain(last.settings.keys()).ordered();
        for name in names {
            match (self.settings.get(name), last.settings.get(name)) {
                (Some(now), Some(before)) if now != before => all.push(format!("{name}={now} (was {before})")),
                (Some(now), None) => all.push(format!("{name}={now} (was unset)")),
                (None, Some(before)) => all.push(format!("{name} unset (was {before})")),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        all
    }
}

/// A setting's value as it may be told.
fn told(name: &str, value: &str) -> String {
    let value = value.trim();
    let hash = || Digest::of(value.as_bytes()).to_string();
    match name {
        "NOTARY_ROOT_CA" | "NOTARY_PINS" => hash(),
        _ if may_be_secret(name, value) => hash(),
        _ if value.chars().count() > VALUE_CHARS => hash(),
        "NOTARY" | "DOCKER_HOST" | "HTTPS_PROXY" => fit(&without_user(value), VALUE_CHARS),
        _ => fit(value, VALUE_CHARS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_says_what_changed_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default()
            .with("MODE", "enforce")
            .with("NOTARY", "https://user:password@notary.example")
            .with("HTTPS_PROXY", "http://user:password@proxy.example:3128")
            .with("AUDIT_SINKS", "journald otlp=https://user:password@c.example")
            .with("ALERTS", "hooks.example/services/password")
            .with("NOTARY_ROOT_CA", "-----BEGIN CERTIFICATE----- one");
        let first = Started::of(&settings);
        let entry = first.entry(folder.path());
        assert_eq!((entry.version, entry.changed.len(), entry.settings.len()), (env!("CARGO_PKG_VERSION"), 0, 71));
        first.remember(folder.path());
        assert_eq!(first.entry(folder.path()).changed, Vec::<String>::new(), "the same again");
        let kept = std::fs::read_to_string(folder.path().join(STARTED)).unwrap();
        assert!(!kept.contains("password") && !kept.contains("BEGIN"), "{kept}");

        let next = Started {
            version: "0.0.9".to_owned(),
            ..Started::of(&settings.with("MODE", "permissive").with("BUILD", "allow").with("NOTARY_ROOT_CA", "two"))
        };
        let entry = next.entry(folder.path());
        let changed = entry.changed.join("; ");
        assert!(
            changed.starts_with(&format!(
                "version 0.0.9 (was {}); BUILD=allow (was unset); MODE=permissive (was enforce); NOTARY_ROOT_CA=sha256:",
                env!("CARGO_PKG_VERSION")
            )),
            "{changed}"
        );
        let back = Started::of(&Settings::default()).differences(&next);
        assert!(back.contains(&"NOTARY unset (was https://notary.example)".to_owned()), "{back:?}");
    }
}
