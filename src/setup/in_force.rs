//! What a gate that serves has in force, written to its state folder for commands that look at it from outside: they judge by
//! what it judges by, and need not guess. A gate that starts takes the last one's word away first.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::kept::Kept;
use super::mounts::host_path;
use super::state::IN_FORCE;
use crate::clock;
use crate::files::{Outlives, read_text, replace};
use crate::gate::{Candidate, Gate};
use crate::policy::{PolicyFile, Settings};
use crate::trust::VerifierName;
use crate::trust::allowlist::Allowlist;

/// How often it is written again where nothing changed, so that its age tells whether the gate is alive.
const TELL: Duration = Duration::from_secs(15);
/// Largest file read: a gate's settings twice over, certificates and pins included. Stops a wrong one from filling memory.
const FILE_BYTES: u64 = 8 << 20;

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InForce {
    /// The gate's version.
    pub(crate) version: String,
    /// Its process, in its own namespace.
    pub(crate) pid: u32,
    /// Where it listens, as it sees it.
    pub(crate) socket: PathBuf,
    /// When it started.
    pub(crate) started: Timestamp,
    /// When it last read settings and files.
    pub(crate) read: Timestamp,
    /// When this was written.
    pub(crate) told: Timestamp,
    /// The settings that it was given: its environment.
    pub(crate) given: Settings,
    /// Those in force; the last good ones where what was given is at fault. None: calls that touch an image are refused.
    pub(crate) settings: Option<Settings>,
    /// What is wrong with what was given.
    pub(crate) faults: Vec<String>,
    /// What is wrong with files in whose place their last good content counts.
    pub(crate) file_faults: Vec<String>,
    /// The allowlists that are required.
    pub(crate) allowlists: Vec<ListInForce>,
    /// Since when Notary is out of reach, as far as the gate asked.
    pub(crate) notary_out_since: Option<Timestamp>,
    /// The candidate for the policy that is judged beside it.
    #[serde(default)]
    pub(crate) candidate: Option<Candidate>,
}

/// The allowlist that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListInForce {
    /// The verifier that it is.
    pub(crate) verifier: String,
    /// The file, as the gate sees it.
    pub(crate) path: PathBuf,
    /// Entries in force; none where there never was a good file.
    pub(crate) entries: Option<usize>,
    /// What is wrong with the file as it is now; the last good content holds.
    pub(crate) fault: Option<String>,
    /// The key that must have signed it; empty: it was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// The serial of what is in force, where that must be signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) serial: Option<u64>,
}

impl InForce {
    /// What the gate of this state folder says.
    pub(crate) fn read(state: &Path) -> Option<Self> {
        serde_json::from_slice(read_text(&state.join(IN_FORCE), FILE_BYTES).ok()?.as_bytes()).ok()
    }

    /// The same with the paths of allowlists, and of the candidate, as this process sees them; `mounts` are folders of the host that the gate is shown.
    pub(crate) fn seen(mut self, mounts: &[(String, String)]) -> Self {
        for list in &mut self.allowlists {
            list.path = host_path(&list.path.display().to_string(), mounts).into();
        }
        if let Some(candidate) = &mut self.candidate {
            candidate.file = host_path(&candidate.file.display().to_string(), mounts).into();
        }
        self
    }
}

/// The policy file that the gate of this state folder has in force, by its own word.
pub(crate) fn policy_in_force(state: &Path) -> Option<PolicyFile> {
    InForce::read(state)?.settings?.policy_file().cloned()
}

/// Writes it, as long as the gate serves.
pub(crate) struct Teller {
    folder: PathBuf,
    last: InForce,
    written: Option<Instant>,
    /// Whether the last writing failed, which is said once.
    is_failing: bool,
}

impl Teller {
    /// For the gate of these settings. What the last one said is taken away.
    pub(crate) fn new(given: &Settings, socket: &Path) -> Self {
        let folder = given.state_dir();
        // What is not there need not go.
        let _ = std::fs::remove_file(folder.join(IN_FORCE));
        let now = clock::now();
        let last = InForce {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            socket: socket.to_owned(),
            started: now,
            read: now,
            told: now,
            given: given.clone(),
            settings: None,
            faults: Vec::new(),
            file_faults: Vec::new(),
            allowlists: Vec::new(),
            notary_out_since: None,
            candidate: None,
        };
        Self { folder, last, written: None, is_failing: false }
    }

    /// Settings and files were read again.
    pub(crate) fn read_again(&mut self) {
        self.last.read = clock::now();
        self.written = None;
    }

    /// Writes what is in force now, if that is news or the last word is old.
    pub(crate) fn tell(&mut self, gate: &Gate, kept: &Kept) {
        let of = |(name, list): (&VerifierName, &Arc<Allowlist>)| {
            let status = list.status();
            let fault = status.fault.as_ref().map(ToString::to_string);
            let key = list.signing().map(|signing| signing.key.to_base64());
            let (path, serial) = (list.path().to_owned(), status.serial);
            ListInForce { verifier: name.to_string(), path, entries: status.entries, fault, key, serial }
        };
        let allowlists = kept.allowlists().iter().map(of).collect();
        let reading = kept.reading().clone();
        let next = InForce {
            settings: reading.in_force,
            faults: reading.faults,
            file_faults: reading.file_faults,
            allowlists,
            notary_out_since: gate.notary_out_since(),
            candidate: gate.candidate(),
            ..self.last.clone()
        };
        if next == self.last && self.written.is_some_and(|at| at.elapsed() < TELL) {
            return;
        }
        self.last = InForce { told: clock::now(), ..next };
        let content = serde_json::to_vec_pretty(&self.last).unwrap_or_default();
        let written = replace(&self.folder.join(IN_FORCE), &content, 0o600, Outlives::Process);
        if let Err(error) = &written
            && !self.is_failing
        {
            tracing::warn!(%error, "what is in force could not be written; check and doctor will not know it");
        }
        self.is_failing = written.is_err();
        self.written = Some(Instant::now());
    }
}

/// What comes of a greeting at a plugin's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Alive {
    /// It answers.
    Yes,
    /// It takes connections, or is there, and does not answer in time.
    Silent,
    /// Nobody listens.
    No,
    /// It may not be asked from here.
    Unknown(String),
}

/// How long a gate gets for an answer that takes it microseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the gate behind this socket answers: to the greeting that dockerd begins with, which has no effect.
pub(crate) async fn is_alive(socket: &Path) -> Alive {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let ask = async {
        let mut stream = tokio::net::UnixStream::connect(socket).await?;
        stream
            .write_all(b"POST /Plugin.Activate HTTP/1.1\r\nHost: plugin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = [0u8; 64];
        stream.read(&mut answer).await
    };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(1..)) => Alive::Yes,
        Ok(Ok(0)) | Err(_) => Alive::Silent,
        Ok(Err(error)) => match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => Alive::No,
            std::io::ErrorKind::PermissionDenied => Alive::Unknown(error.to_string()),
            // It hangs up.
            _ => Alive::Silent,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Place, rules};
    use super::*;
    use crate::audit::MemoryJournal;
    use crate::engine::Fake;
    use crate::gate::{Approvals, Identity};

    const LIST: &str = r#"{"version": 1, "entries": []}"#;

    #[tokio::test]
    async fn what_is_in_force_is_written_and_judged_by_with_the_last_good_allowlist_and_goes_with_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let given = Settings::default().with("STATE_DIR", &path).with("CONFIG_DIR", &path).with("NOTARY", "off");
        let given = given.with("REGISTRY", "r.example").with("MODE", "permissive");
        let list = folder.path().join("allowlist.json");
        std::fs::write(&list, LIST).unwrap();
        let workers = tokio::runtime::Handle::current();
        let mut kept = Kept::serving(&given, workers.clone());
        let (rules, is_good) = rules(&given, &mut kept);
        assert!(is_good);
        let journal = Arc::new(MemoryJournal::default());
        let gate = Gate::new(rules, Arc::new(Fake::new()), journal, Approvals::in_memory(), Identity::default(), workers);
        let mut teller = Teller::new(&given, Path::new("/run/docker/plugins/gate.sock"));
        assert_eq!(InForce::read(folder.path()), None);
        teller.tell(&gate, &kept);
        let said = InForce::read(folder.path()).unwrap();
        assert_eq!((&said.given, said.settings.as_ref(), said.notary_out_since), (&given, Some(&given), None));
        let told = said.allowlists[0].clone();
        assert_eq!((told.path.as_path(), told.entries, told.fault), (list.as_path(), Some(0), None));
        // Whoever looks from outside goes on as the gate does: where the list is broken, and where it is gone.
        let state = Settings::default().with("STATE_DIR", &path);
        let seen =
            || Place::of_folder(state.clone(), folder.path(), &[]).kept().allowlists()[&VerifierName::ALLOWLIST].status().entries;
        std::fs::write(&list, "{").unwrap();
        teller.tell(&gate, &kept);
        let told = InForce::read(folder.path()).unwrap().allowlists[0].clone();
        assert!(told.entries == Some(0) && told.fault.is_some());
        assert_eq!(seen(), Some(0));
        std::fs::remove_file(&list).unwrap();
        assert_eq!(seen(), Some(0));
        // A gate that began without a good one has none, whatever an earlier one kept.
        let mut next = Teller::new(&given, Path::new("/x.sock"));
        assert_eq!(InForce::read(folder.path()), None);
        let required = given.clone().with("ALLOWLIST", list.display().to_string());
        let mut kept = Kept::serving(&required, tokio::runtime::Handle::current());
        super::super::rules(&required, &mut kept);
        next.tell(&gate, &kept);
        assert_eq!(seen(), None);
    }
}
