//! What commands change is recorded in the gate's audit log, beside the gate: who changed which list, and how.

use std::path::Path;

use super::out;
use crate::audit::{Beside, Entry, Event};
use crate::clock;
use crate::files::read_text;
use crate::policy::{AuditRule, Settings};
use crate::setup;

/// The kernel's word on who logged in.
const LOGIN: &str = "/proc/self/loginuid";
/// Largest such file, bytes.
const LOGIN_BYTES: u64 = 64;
/// What stands there for nobody.
const NOBODY: u32 = u32::MAX;

/// One thing that was changed.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// The references it is about.
    pub(super) image: String,
    /// The digest, where it is about one.
    pub(super) digest: String,
    /// The image id, likewise.
    pub(super) image_id: String,
    /// What was done.
    pub(super) message: String,
}

/// The audit log, opened before anything is changed.
pub(super) struct Trail(Option<Beside>);

impl Trail {
    /// The log of the gate with this state folder. Where there is no such folder there is no gate. A log that cannot be opened is
    /// told, or, with `AUDIT=require`, an error: then nothing may be changed.
    pub(super) fn open(settings: &Settings, state: &Path) -> Result<Self, String> {
        if !state.is_dir() {
            return Ok(Self(None));
        }
        let path = state.join(setup::AUDIT_LOG);
        match Beside::open(&path) {
            Ok(log) => Ok(Self(Some(log))),
            Err(error) if settings.audit() == AuditRule::Require => Err(format!(
                "nothing was changed: the audit log `{}` cannot be written ({error}), and AUDIT=require",
                path.display()
            )),
            Err(error) => {
                out::note(&format!(
                    "note: the audit log `{}` cannot be written ({error}): this change is not recorded",
                    path.display()
                ));
                Ok(Self(None))
            }
        }
    }

    /// The log that a change of another list, or of trust data elsewhere, goes to: none.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Approvals changes that have been made.
    pub(super) fn record(&self, action: &'static str, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            if let Err(error) = self.write(action, change) {
                out::note(&format!("note: the change could not be written to the audit log: {error}"));
                return;
            }
        }
    }

    /// What is about to be changed. With `AUDIT=require` nothing may be where this cannot be written.
    pub(super) fn begin(&self, settings: &Settings, action: &'static str, change: Change) -> Result<(), String> {
        match self.write(action, change) {
            Err(error) if settings.audit() == AuditRule::Require => {
                Err(format!("nothing was changed: the audit log cannot be written ({error}), and AUDIT=require"))
            }
            Err(error) => {
                out::note(&format!("note: the change could not be written to the audit log: {error}"));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn write(&self, action: &'static str, change: Change) -> std::io::Result<()> {
        let Some(log) = &self.0 else { return Ok(()) };
        let mut entry = Entry::new(clock::now(), Event::Changed);
        entry.action = action;
        entry.image = Entry::text(&change.image);
        entry.digest = change.digest;
        entry.image_id = change.image_id;
        entry.message = Entry::text(&change.message);
        entry.login_uid = login_uid();
        entry.sudo_user = Entry::text(&std::env::var("SUDO_USER").unwrap_or_default());
        log.record(&entry)
    }
}

/// The user that logged in, whoever they have become since; `None` for what no login began.
fn login_uid() -> Option<u32> {
    read_text(Path::new(LOGIN), LOGIN_BYTES).ok()?.trim().parse().ok().filter(|uid| *uid != NOBODY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Change {
        Change { image: text.to_owned(), message: "added\u{202e}".to_owned(), ..Change::default() }
    }

    #[test]
    fn a_change_is_a_line_behind_the_gates_in_both_files() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.jsonl");
        // The gate was stopped inside a line.
        std::fs::write(&log, "{\"event\":\"ALLOWED\"}\n{\"half").unwrap();
        Trail::open(&Settings::default(), folder.path()).unwrap().record("register", [change("a:1"), change("b:1")]);
        let text = std::fs::read_to_string(&log).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        let entry: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!((&entry["event"], &entry["action"], &entry["image"]), (&"CHANGED".into(), &"register".into(), &"a:1".into()));
        assert_eq!(entry["message"], "added\\u{202e}");
        let notable = std::fs::read_to_string(folder.path().join(crate::audit::NOTABLE)).unwrap();
        assert_eq!(notable.lines().count(), 2);
    }

    #[test]
    fn a_log_that_cannot_be_written_stops_a_change_only_where_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("audit.jsonl")).unwrap();
        let require = Settings::default().with("AUDIT", "require");
        assert!(Trail::open(&Settings::default(), folder.path()).unwrap().0.is_none());
        assert!(Trail::open(&require, folder.path()).is_err());
        // No gate, no log.
        assert!(Trail::open(&require, &folder.path().join("none")).is_ok());
        assert!(!folder.path().join("none").exists());
    }
}
