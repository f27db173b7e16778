//! Joins the real parts: from settings to rules in force, a journal, and the engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::Place;
use crate::audit::{Entry, FileJournal, Journal, Limits, Recorded};
use crate::engine::Engine;
use crate::files::read_text;
use crate::gate::{Gate, Identity, Plugins, Records, Rules};
use crate::net::auth::DockerConfig;
use crate::net::{Tls, Url, authority};
use crate::policy::{AllowlistSetting, NotarySettings, Policy, PolicyFault, Scope, Settings};
use crate::registry::{self, Registry};
use crate::trust::Verifier;
use crate::trust::allowlist::Allowlist;
use crate::trust::notary::{self, Notary, Source};
use crate::trust::registry::RegistryVerifier;
use crate::trust::tuf::Pins;

/// The settings that were last in force without a fault, in the state folder.
pub(super) const LAST_GOOD: &str = "settings.json";
/// What the gate that serves has in force, in the state folder.
pub(super) const IN_FORCE: &str = "in-force.json";
/// The allowlist as it was last read without a fault, in the state folder.
pub(super) const LIST_COPY: &str = "allowlist-in-force.json";
/// The audit log, in the state folder.
pub(super) const AUDIT_LOG: &str = "audit.jsonl";
/// The gate's figures, in the state folder.
pub(super) const METRICS: &str = "metrics.prom";
/// The records of approvals, in the state folder.
const RECORDS: &str = "approvals.jsonl";
/// Renames under way.
pub(super) const RENAMES: &str = "renames.json";
/// The plugins that may be enabled, in the state folder.
const PLUGINS: &str = "plugins.json";

/// Largest `config.json`, certificate or bundle read. Stops a wrong path from filling memory.
const CONFIG_BYTES: u64 = 4 << 20;

/// A journal for when there is no file: entries are counted as lost, decisions go on.
#[derive(Default)]
struct NoJournal(std::sync::atomic::AtomicU64);

impl Journal for NoJournal {
    fn record(&self, _: &Entry) -> Recorded {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Recorded::Lost
    }

    fn lost(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// What outlives a reload.
#[derive(Default)]
pub(super) struct Kept {
    /// Its last good content holds when the file is gone: so does the requirement.
    allowlist: Option<Arc<Allowlist>>,
    /// Where trust data is kept fresh; nowhere in a command that asks once.
    workers: Option<tokio::runtime::Handle>,
    /// What came of reading settings and files the last time.
    reading: Reading,
}

/// What came of reading settings and files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// The settings in force; `None`: none, and calls that touch an image are refused.
    pub(super) in_force: Option<Settings>,
    /// What is wrong with those that were given, or with files they name.
    pub(super) faults: Vec<String>,
}

impl Kept {
    /// For a gate that goes on.
    pub(super) fn serving(workers: tokio::runtime::Handle) -> Self {
        Self { workers: Some(workers), ..Self::default() }
    }

    /// For a look from outside at a gate that required this allowlist, or none.
    pub(super) fn after(allowlist: Option<Allowlist>) -> Self {
        Self { allowlist: allowlist.map(Arc::new), ..Self::default() }
    }

    /// What came of reading settings and files the last time.
    pub(super) const fn reading(&self) -> &Reading {
        &self.reading
    }

    /// The allowlist, where one is required.
    pub(super) const fn allowlist(&self) -> Option<&Arc<Allowlist>> {
        self.allowlist.as_ref()
    }
}

/// A gate that serves: it keeps records, a journal, and the settings that worked.
pub(super) fn serving(
    settings: &Settings,
    kept: &mut Kept,
    socket: &Path,
    workers: tokio::runtime::Handle,
) -> Result<Gate, String> {
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
    let (rules, is_good) = rules(settings, kept);
    let ends = Arc::new(Engine::at(settings.docker_host()).map_err(|error| error.to_string())?);
    let gate = Gate::new(rules, engine, journal, records, Identity::of_process(socket), workers)
        .with_plugins(Plugins::open(&state.join(PLUGINS)))
        .serving(state.join(RENAMES), ends);
    gate.settings_hold(is_good);
    Ok(gate)
}

/// A gate that only says what the one of this host would say.
pub(super) fn asking(place: &Place, workers: tokio::runtime::Handle) -> Result<Gate, String> {
    let settings = &place.settings;
    let rules = match (place.is_void, build(settings, &mut place.kept())) {
        (true, _) => Rules::Faulty { fault: place.faults.join("; "), posture: settings.posture() },
        (false, Ok(rules)) => rules,
        (false, Err(faults)) if place.is_told() => {
            let faults = list(&faults);
            return Err(format!("files that the gate read are at fault now, and it goes on with what it read before: {faults}"));
        }
        (false, Err(faults)) => faulty(settings, &faults),
    };
    let engine = Arc::new(Engine::at(settings.docker_host()).map_err(|error| error.to_string())?);
    let records = Records::look(&settings.state_dir().join(RECORDS));
    let plugins = Plugins::look(&settings.state_dir().join(PLUGINS));
    let gate = Gate::new(rules, engine, Arc::new(NoJournal::default()), records, Identity::default(), workers);
    Ok(gate.with_plugins(plugins))
}

/// The rules of these settings, and whether these are they: where the settings are faulty, those of the last good ones; where
/// there are none, refusals.
pub(super) fn rules(settings: &Settings, kept: &mut Kept) -> (Rules, bool) {
    let last_good = settings.state_dir().join(LAST_GOOD);
    match build(settings, kept) {
        Ok(rules) => {
            kept.reading = Reading { in_force: Some(settings.clone()), faults: Vec::new() };
            if let Err(error) = keep(&last_good, settings) {
                tracing::warn!(%error, "the settings could not be kept for the next start");
            }
            (rules, true)
        }
        Err(faults) => {
            for fault in &faults {
                tracing::error!(key = fault.key, "setting at fault: {fault}");
            }
            kept.reading.faults = faults.iter().map(ToString::to_string).collect();
            let last = self::last_good(&settings.state_dir());
            match last.as_ref().map(|last| build(last, kept)) {
                Some(Ok(rules)) => {
                    kept.reading.in_force = last;
                    tracing::error!("the settings are faulty: the last good ones stay in force");
                    (rules, false)
                }
                Some(Err(_)) | None => {
                    tracing::error!(
                        "the settings are faulty and no earlier good ones are kept: calls that touch an image are refused"
                    );
                    (faulty(settings, &faults), false)
                }
            }
        }
    }
}

/// What is in force where nothing can be resolved.
fn faulty(settings: &Settings, faults: &[PolicyFault]) -> Rules {
    Rules::Faulty { fault: list(faults), posture: settings.posture() }
}

/// The settings that are kept as the last good ones, as they were written.
pub(super) fn last_good(state: &Path) -> Option<Settings> {
    let text = read_text(&state.join(LAST_GOOD), CONFIG_BYTES).ok()?;
    serde_json::from_str(&text).ok()
}

/// The policy of these settings, or everything they have wrong.
pub(super) fn policy(settings: &Settings) -> Result<Policy, Vec<PolicyFault>> {
    policy_with(settings, &mut Kept::default())
}

/// The same, going on from what was read before.
pub(super) fn policy_with(settings: &Settings, kept: &mut Kept) -> Result<Policy, Vec<PolicyFault>> {
    match build(settings, kept)? {
        Rules::Good { policy, .. } => Ok(policy),
        Rules::Faulty { fault, .. } => Err(vec![PolicyFault { key: "", message: fault }]),
    }
}

pub(super) fn list(faults: &[PolicyFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Everything that settings can have wrong, at once.
fn build(settings: &Settings, kept: &mut Kept) -> Result<Rules, Vec<PolicyFault>> {
    let (present, path) = match settings.allowlist() {
        // One that cannot be looked at is there, and refuses: only "not found" is "none".
        AllowlistSetting::IfPresent(path) => match path.try_exists() {
            Ok(false) if kept.allowlist.is_none() => (false, None),
            Ok(_) | Err(_) => (true, Some(path)),
        },
        AllowlistSetting::Required(path) => (true, Some(path)),
        AllowlistSetting::Off => (false, None),
    };
    let policy = settings.resolve(present)?;
    let mut verifiers: Vec<Arc<dyn Verifier>> = Vec::new();
    if let Some(path) = path {
        let same = kept.allowlist.take().filter(|list| list.path() == path);
        let allowlist = same.unwrap_or_else(|| Arc::new(Allowlist::load(path)));
        kept.allowlist = Some(Arc::clone(&allowlist));
        verifiers.push(allowlist);
    }
    let credentials = credentials(settings)?;
    if let Some(notary) = settings.notary()? {
        let notary = self::notary(settings, &notary, credentials.clone())?;
        if let Some(workers) = &kept.workers {
            workers.spawn(notary.keep_fresh(crate::clock::now));
        }
        verifiers.push(Arc::new(notary));
    }
    if policy.scopes.iter().any(Scope::is_weak) {
        let certs = certificate_folders(settings);
        let registry = Registry::new(registry::Settings { credentials, certs, ..registry::Settings::default() });
        verifiers.push(Arc::new(RegistryVerifier::new(Arc::new(registry))));
    }
    Ok(Rules::Good { policy, verifiers })
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn fault(key: &'static str, message: impl ToString) -> Vec<PolicyFault> {
    vec![PolicyFault { key, message: message.to_string() }]
}

/// Docker's credentials; none where there is no file.
pub(super) fn credentials(settings: &Settings) -> Result<DockerConfig, Vec<PolicyFault>> {
    let path = settings.docker_config().join("config.json");
    match read_text(&path, CONFIG_BYTES) {
        Ok(text) => DockerConfig::read(&text).map_err(|error| fault("DOCKER_CONFIG", error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(DockerConfig::default()),
        Err(error) => Err(fault("DOCKER_CONFIG", format!("`{}` cannot be read: {error}", path.display()))),
    }
}

/// How the Notary's server is spoken to; nobody is, where trust data is imported.
pub(super) fn notary_tls(settings: &Settings, written: &NotarySettings) -> Result<Tls, Vec<PolicyFault>> {
    let Source::Server(server) = &written.source else { return Ok(Tls::default()) };
    let server = Url::parse(server).map_err(|error| fault("NOTARY", error))?;
    let mut folders = certificate_folders(settings);
    folders.push(settings.docker_config().join("tls"));
    Tls::for_server(&authority(&server), written.root_ca.as_deref(), &folders).map_err(|error| fault("NOTARY_ROOT_CA", error))
}

pub(super) fn notary(
    settings: &Settings,
    written: &NotarySettings,
    credentials: DockerConfig,
) -> Result<Notary, Vec<PolicyFault>> {
    let tls = notary_tls(settings, written)?;
    let folder = settings.config_dir();
    let load = |path: &str| read_text(&folder.join(path), CONFIG_BYTES).map_err(|error| error.to_string());
    let pins = match &written.pins {
        Some(text) => Pins::read(text, load).map_err(|error| fault("NOTARY_PINS", error))?,
        None => Pins::default(),
    };
    let state = settings.state_dir().join("trust");
    let config = notary::Config {
        tls,
        pins,
        credentials,
        freshness: written.freshness,
        on_outage: written.on_outage,
        stale_limit: written.stale_limit,
        require: written.signers.clone(),
        ..notary::Config::new(written.source.clone(), state)
    };
    Notary::new(config).map_err(|error| fault("NOTARY", error))
}

/// Where certificates of registries lie: the gate's own folder and the engine's (`/etc/docker/certs.d`).
pub(super) fn certificate_folders(settings: &Settings) -> Vec<PathBuf> {
    let own = settings.config_dir();
    own.parent().into_iter().chain([own.as_path()]).map(|folder| folder.join("certs.d")).collect()
}

/// The engine's own settings: daemon.json beside the gate's folder, on the host and inside the plugin alike.
pub(super) fn daemon_file(settings: &Settings) -> PathBuf {
    settings.config_dir().parent().unwrap_or_else(|| Path::new("/etc/docker")).join("daemon.json")
}

fn keep(path: &Path, settings: &Settings) -> std::io::Result<()> {
    replace(path, &serde_json::to_vec_pretty(settings)?)
}

/// Puts a file in the place of another, whole or not at all. Its mode is 0600: what the gate keeps is nobody else's business.
pub(super) fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let folder = path.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
