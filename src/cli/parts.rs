//! Joins the real parts: from settings to rules in force, a journal, and the engine.

use std::path::Path;
use std::sync::Arc;

use crate::audit::{Entry, FileJournal, Journal, Limits};
use crate::engine::Engine;
use crate::gate::{Gate, Identity, Records, Rules};
use crate::policy::{AllowlistSetting, PolicyFault, Settings};
use crate::trust::Verifier;
use crate::trust::allowlist::Allowlist;

/// The settings that were last in force without a fault, in the state folder.
const LAST_GOOD: &str = "settings.json";
/// The audit log, in the state folder.
pub(super) const AUDIT_LOG: &str = "audit.jsonl";
/// The records of approvals, in the state folder.
const RECORDS: &str = "approvals.jsonl";

/// A journal for when there is no file: entries are counted as lost, decisions go on.
#[derive(Default)]
struct NoJournal(std::sync::atomic::AtomicU64);

impl Journal for NoJournal {
    fn record(&self, _: &Entry) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn lost(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// A gate that serves: it keeps records, a journal, and the settings that worked.
pub(super) fn serving(settings: &Settings, socket: &Path, workers: tokio::runtime::Handle) -> Result<Gate, String> {
    let state = settings.state_dir();
    if let Err(error) = std::fs::create_dir_all(&state) {
        tracing::error!(folder = %state.display(), %error, "the state folder cannot be made; nothing is kept across restarts");
    }
    let journal: Arc<dyn Journal> = match FileJournal::open(&state.join(AUDIT_LOG), Limits::default()) {
        Ok(journal) => journal,
        Err(error) => {
            tracing::error!(%error, "decisions go on without an audit log");
            Arc::new(NoJournal::default())
        }
    };
    let engine = Arc::new(Engine::at(settings.docker_host()).map_err(|error| error.to_string())?);
    let records = Records::open(&state.join(RECORDS));
    Ok(Gate::new(rules(settings), engine, journal, records, Identity::of_process(socket), workers))
}

/// A gate that only says what it would say.
pub(super) fn asking(settings: &Settings, workers: tokio::runtime::Handle) -> Result<Gate, String> {
    let rules = match build(settings) {
        Ok(rules) => rules,
        Err(faults) => Rules::Faulty { fault: list(&faults) },
    };
    let engine = Arc::new(Engine::at(settings.docker_host()).map_err(|error| error.to_string())?);
    let records = Records::open(&settings.state_dir().join(RECORDS));
    Ok(Gate::new(rules, engine, Arc::new(NoJournal::default()), records, Identity::default(), workers))
}

/// The rules of these settings; where they are faulty, those of the last good ones; where there are none, refusals.
pub(super) fn rules(settings: &Settings) -> Rules {
    let kept = settings.state_dir().join(LAST_GOOD);
    match build(settings) {
        Ok(rules) => {
            if let Err(error) = keep(&kept, settings) {
                tracing::warn!(%error, "the settings could not be kept for the next start");
            }
            rules
        }
        Err(faults) => {
            for fault in &faults {
                tracing::error!(key = fault.key, "setting at fault: {fault}");
            }
            let last = std::fs::read(&kept).ok().and_then(|bytes| serde_json::from_slice::<Settings>(&bytes).ok());
            match last.as_ref().map(build) {
                Some(Ok(rules)) => {
                    tracing::error!("the settings are faulty: the last good ones stay in force");
                    rules
                }
                Some(Err(_)) | None => {
                    tracing::error!(
                        "the settings are faulty and no earlier good ones are kept: calls that touch an image are refused"
                    );
                    Rules::Faulty { fault: list(&faults) }
                }
            }
        }
    }
}

fn list(faults: &[PolicyFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Everything that settings can have wrong, at once.
fn build(settings: &Settings) -> Result<Rules, Vec<PolicyFault>> {
    let (present, list) = match settings.allowlist() {
        AllowlistSetting::IfPresent(path) => (path.exists(), path.exists().then_some(path)),
        AllowlistSetting::Required(path) => (false, Some(path)),
        AllowlistSetting::Off => (false, None),
    };
    let policy = settings.resolve(present)?;
    let mut verifiers: Vec<Arc<dyn Verifier>> = Vec::new();
    if let Some(path) = list {
        verifiers.push(Arc::new(Allowlist::load(path)));
    }
    Ok(Rules::Good { policy, verifiers })
}

fn keep(path: &Path, settings: &Settings) -> std::io::Result<()> {
    use std::io::Write as _;
    let folder = path.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    // Made with mode 0600: settings hold a CA and pins, no secrets, but they are nobody else's business.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec_pretty(settings)?)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
