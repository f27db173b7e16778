//! Which managed plugins may be enabled, and that none changes between the look and the engine's act.
//!
//! A plugin is known by its id and a digest of what inspect shows (`engine::Plugin`). Known are those that were enabled when the
//! gate first started, and those that came by a verified digest. Kept in the state folder; what is there and cannot be read
//! approves nothing.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Gate, call_key};
use crate::audit::{Entry, Event};
use crate::engine::Plugin;
use crate::image::{Digest, Reference};
use crate::policy::{Reason, Verdict};
use crate::request::{Intent, PluginCall, PluginChange};
use crate::wire::Call;

/// Most plugins remembered; the oldest goes. A host has a handful, and each new one was vouched for.
const MAX_KNOWN: usize = 256;
/// Largest file read back: [`MAX_KNOWN`] lines of some 200 bytes, with room.
const MAX_BYTES: u64 = 256 << 10;
/// Most plugin calls under way. Nobody has so many; more are refused.
const MAX_CALLS: usize = 64;
/// For how long a call without an end holds others up: another plugin may have refused it, and then it never ends.
const HELD: Duration = Duration::from_mins(1);
/// For how long the start of a pull is remembered. One that takes longer is not recorded, and its plugin is to be named.
const PULLING: Duration = Duration::from_hours(1);
/// How long before a pull a `set` may have been let pass and still be on its way.
const SET_DELAY: Duration = Duration::from_secs(10);

/// A plugin that may be enabled while it is equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    id: String,
    digest: Digest,
}

/// What is kept.
#[derive(Debug)]
enum Kept {
    /// Nothing yet: what is enabled is to be recorded.
    Due,
    /// These.
    Known(Vec<Known>),
    /// Something that cannot be read.
    Lost,
}

/// A plugin call that was let pass.
#[derive(Debug)]
struct Turn {
    number: u64,
    /// Of the call, as dockerd repeats it in AuthZRes.
    key: String,
    kind: Kind,
    began: Instant,
    judged: Option<Known>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Enable,
    /// `set` and `rm`: what another plugin could come to stand in place by.
    Alter,
    Pull,
}

#[derive(Debug)]
struct State {
    kept: Kept,
    turns: Vec<Turn>,
    numbers: u64,
    last_set: Option<Instant>,
}

/// The plugins that may be enabled.
#[derive(Debug)]
pub struct Plugins {
    /// Where they are kept; nowhere in a command that asks once.
    path: Option<PathBuf>,
    state: Mutex<State>,
}

impl Default for Plugins {
    fn default() -> Self {
        Self { path: None, state: Mutex::new(State { kept: Kept::Due, turns: Vec::new(), numbers: 0, last_set: None }) }
    }
}

impl Plugins {
    /// Reads what an earlier gate kept, and keeps it there.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        Self { path: Some(path.to_owned()), ..Self::look(path) }
    }

    /// Reads what a gate kept, and writes nothing.
    #[must_use]
    pub fn look(path: &Path) -> Self {
        let read = match crate::files::read_bytes(path, MAX_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Kept::Known).map_err(|error| error.to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Kept::Due),
            Err(error) => Err(error.to_string()),
        };
        let kept = read.unwrap_or_else(|why| {
            tracing::error!(path = %path.display(), why, "the record of plugins cannot be read: only ALLOW_PLUGINS approves any");
            Kept::Lost
        });
        Self { path: None, state: Mutex::new(State { kept, turns: Vec::new(), numbers: 0, last_set: None }) }
    }

    fn is_due(&self) -> bool {
        matches!(self.lock().kept, Kept::Due)
    }

    /// Whether this very plugin is known, as it is now.
    pub(super) fn knows(&self, plugin: &Plugin) -> bool {
        let Kept::Known(known) = &self.lock().kept else { return false };
        known.iter().any(|known| known.id == plugin.id && Some(known.digest) == plugin.digest)
    }

    fn keep(&self, plugins: impl Iterator<Item = Known>) {
        let mut state = self.lock();
        let mut known = match &mut state.kept {
            Kept::Due => Vec::new(),
            Kept::Known(known) => std::mem::take(known),
            Kept::Lost => return,
        };
        for plugin in plugins {
            known.retain(|other| other.id != plugin.id);
            known.push(plugin);
        }
        known.drain(..known.len().saturating_sub(MAX_KNOWN));
        let written = self.path.as_deref().map_or(Ok(()), |path| write(path, &known));
        state.kept = Kept::Known(known);
        drop(state);
        if let Err(error) = written {
            tracing::error!(%error, "the record of plugins could not be written; it is kept in memory until the gate stops");
        }
    }

    /// Lets a call begin, unless it would cross another: a plugin is not set or removed while one is being enabled, nor enabled
    /// while one is being set or removed. Plugins have too many spellings for this to go by name.
    /// Returns its turn's number.
    pub(super) fn begin(&self, key: &str, call: &PluginCall) -> Result<Option<u64>, Reason> {
        let Some(kind) = kind(call) else { return Ok(None) };
        let now = Instant::now();
        let mut state = self.lock();
        state.turns.retain(|turn| now.duration_since(turn.began) < if turn.kind == Kind::Pull { PULLING } else { HELD });
        let crosses = |turn: &Turn| matches!((kind, turn.kind), (Kind::Enable, Kind::Alter) | (Kind::Alter, Kind::Enable));
        if state.turns.len() >= MAX_CALLS || state.turns.iter().any(crosses) {
            return Err(Reason::PluginBusy);
        }
        if matches!(call, PluginCall::Change { change: PluginChange::Set, .. }) {
            state.last_set = Some(now);
        }
        state.numbers += 1;
        let number = state.numbers;
        state.turns.push(Turn { number, key: key.to_owned(), kind, began: now, judged: None });
        drop(state);
        Ok(Some(number))
    }

    /// Notes what the enable of this turn was judged by.
    pub(super) fn judged(&self, number: u64, id: &str, digest: Digest) {
        if let Some(turn) = self.lock().turns.iter_mut().find(|turn| turn.number == number) {
            turn.judged = Some(Known { id: id.to_owned(), digest });
        }
    }

    /// Gives up the turn of a call that is refused.
    pub(super) fn give_up(&self, number: u64) {
        self.lock().turns.retain(|turn| turn.number != number);
    }

    /// Ends a call that was carried out: of equal ones the oldest, so that the turn that is left lasts longest.
    fn take(&self, key: &str) -> Option<Turn> {
        let mut state = self.lock();
        let at = state.turns.iter().position(|turn| turn.key == key)?;
        Some(state.turns.remove(at))
    }

    fn was_set_since(&self, began: Instant) -> bool {
        self.lock().last_set.is_some_and(|set| set + SET_DELAY > began)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn kind(call: &PluginCall) -> Option<Kind> {
    match call {
        PluginCall::Pull { .. } | PluginCall::Upgrade { .. } => Some(Kind::Pull),
        PluginCall::Change { change: PluginChange::Enable, .. } => Some(Kind::Enable),
        PluginCall::Change { change: PluginChange::Set | PluginChange::Remove | PluginChange::RemoveByForce, .. } => {
            Some(Kind::Alter)
        }
        PluginCall::Create { .. } | PluginCall::Change { change: PluginChange::Disable, .. } => None,
    }
}

fn write(path: &Path, known: &[Known]) -> std::io::Result<()> {
    crate::files::replace(path, &serde_json::to_vec(known)?, 0o600, crate::files::Outlives::Power)
}

impl Gate {
    /// At the first start of a gate, records what is enabled, and the gate itself. Until the engine has told, nothing is known.
    pub async fn know_plugins(&self, deadline: Instant) {
        if !self.plugins.is_due() {
            return;
        }
        match self.engine.plugins(deadline).await {
            Ok(found) => {
                let is_meant = |plugin: &Plugin| plugin.enabled || self.identity.id() == Some(&plugin.id);
                let known = |plugin: Plugin| Some(Known { digest: plugin.digest?, id: plugin.id });
                self.plugins.keep(found.into_iter().filter(is_meant).filter_map(known));
            }
            Err(error) => tracing::warn!(%error, "the plugins that are enabled could not be recorded; until then none may be"),
        }
    }

    /// What follows the end of a plugin call.
    pub(super) async fn plugin_ended(&self, call: &Call, plugin: &PluginCall, succeeded: bool) {
        let turn = self.plugins.take(&call_key(call));
        if !succeeded {
            return;
        }
        match (plugin, turn) {
            (PluginCall::Pull { remote, name }, Some(turn)) => {
                let name = name.as_ref().unwrap_or(remote).to_string();
                self.plugin_arrived(&name, remote, plugin, turn.began).await;
            }
            (PluginCall::Upgrade { plugin: name, remote }, Some(turn)) => {
                self.plugin_arrived(name, remote, plugin, turn.began).await;
            }
            // A turn can be over before the engine acts: by time, or because the gate was restarted.
            (PluginCall::Change { plugin: name, change: PluginChange::Enable }, turn) => {
                self.plugin_enabled(name, plugin, turn.and_then(|turn| turn.judged)).await;
            }
            (PluginCall::Pull { .. } | PluginCall::Upgrade { .. } | PluginCall::Create { .. } | PluginCall::Change { .. }, _) => {
            }
        }
    }

    /// Approvals a plugin that came by a verified digest. The engine notes the reference it pulled, which no create can give; a
    /// `set` since the pull began, or settings kept by an upgrade, would be recorded as if they had come along.
    async fn plugin_arrived(&self, name: &str, remote: &Reference, call: &PluginCall, began: Instant) {
        let judgement = self.judge(&Intent::Plugin(call.clone())).await;
        if !matches!(judgement.verdict, Verdict::Allow(_)) || remote.digest.is_none() {
            return;
        }
        self.know_plugins(Instant::now() + self.limits.after).await;
        let Ok(Some(found)) = self.engine.plugin(name, Instant::now() + self.limits.after).await else { return };
        let came = found.reference.parse::<Reference>().ok();
        let is_it = came.is_some_and(|came| came.digest == remote.digest && came.repository == remote.repository);
        // Asked last: what is set from here on, the next look shows.
        if is_it
            && found.has_default_settings
            && !self.plugins.was_set_since(began)
            && let Some(digest) = found.digest
        {
            self.plugins.keep(std::iter::once(Known { id: found.id, digest }));
        }
    }

    /// Looks again at what was enabled. The gate cannot disable it, so it is told loudly.
    async fn plugin_enabled(&self, name: &str, call: &PluginCall, judged: Option<Known>) {
        let Ok(Some(found)) = self.engine.plugin(name, Instant::now() + self.limits.after).await else { return };
        let is_as_judged = match judged {
            Some(judged) => found.id == judged.id && found.digest == Some(judged.digest),
            None => match self.judge(&Intent::Plugin(call.clone())).await.verdict {
                Verdict::Allow(_) | Verdict::WouldDeny(_) => true,
                Verdict::Deny(reason) => reason.is_unsure(),
            },
        };
        if is_as_judged {
            return;
        }
        let mut entry = Entry::new(crate::clock::now(), Event::Mismatch);
        entry.action = "plugin-enable";
        entry.image = Entry::text(name);
        "the plugin that was enabled is not the one that was judged; disable it".clone_into(&mut entry.message);
        tracing::error!(plugin = name, id = found.id, "the plugin that was enabled is not the one that was judged; disable it");
        self.journal.record(&entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(number: usize) -> Known {
        Known { id: number.to_string(), digest: Digest::of(b"x") }
    }

    fn plugin(number: usize) -> Plugin {
        Plugin { id: number.to_string(), digest: Some(Digest::of(b"x")), ..Plugin::default() }
    }

    #[test]
    fn what_is_known_outlives_the_gate_and_stays_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plugins.json");
        let plugins = Plugins::open(&path);
        assert!(plugins.is_due());
        plugins.keep((0..MAX_KNOWN + 10).map(known));
        let again = Plugins::open(&path);
        assert!(!again.is_due() && again.knows(&plugin(MAX_KNOWN)) && !again.knows(&plugin(9)));
        assert!(!again.knows(&Plugin { digest: None, ..plugin(MAX_KNOWN) }));
        assert!(std::fs::metadata(&path).unwrap().len() < MAX_BYTES);
    }

    #[test]
    fn what_cannot_be_read_approves_nothing_and_is_not_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plugins.json");
        std::fs::write(&path, b"[{").unwrap();
        let plugins = Plugins::open(&path);
        plugins.keep(std::iter::once(known(1)));
        assert!(!plugins.is_due() && !plugins.knows(&plugin(1)));
        assert_eq!(std::fs::read(&path).unwrap(), b"[{");
    }

    #[test]
    fn a_command_that_asks_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        Plugins::look(&dir.path().join("plugins.json")).keep(std::iter::once(known(1)));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
