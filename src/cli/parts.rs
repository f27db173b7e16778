//! Joins the real parts: from settings to rules in force, a journal, and the engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audit::{Entry, FileJournal, Journal, Limits, Recorded};
use crate::engine::Engine;
use crate::files::read_text;
use crate::gate::{Gate, Identity, Limits as GateLimits, Own, OwnHost, Plugins, Records, Rules};
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

/// Which resolvers are asked.
const RESOLVERS: &str = "/etc/resolv.conf";
/// What is asked about images of Docker Hub.
const DOCKER_HUB: [&str; 2] = ["registry-1.docker.io", "auth.docker.io"];

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
}

impl Kept {
    /// For a gate that goes on.
    pub(super) fn serving(workers: tokio::runtime::Handle) -> Self {
        Self { workers: Some(workers), ..Self::default() }
    }
}

/// A gate that serves: it keeps records, a journal, and the settings that worked.
pub(super) fn serving(
    settings: &Settings,
    kept: &mut Kept,
    socket: &Path,
    limits: GateLimits,
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
        .with_limits(limits)
        .serving(state.join(RENAMES), ends, own(settings));
    gate.settings_hold(is_good);
    Ok(gate)
}

/// What the gate talks to, as far as the settings can be read.
fn own(settings: &Settings) -> Own {
    let mut hosts = Vec::new();
    if let Ok(Some(NotarySettings { source: Source::Server(server), .. })) = settings.notary()
        && let Ok(url) = Url::parse(&server)
    {
        hosts.push(url);
    }
    let scopes = settings.resolve(false).map(|policy| policy.scopes).unwrap_or_default();
    for scope in scopes {
        let asked: &[&str] = if scope.host.is_docker_hub() { &DOCKER_HUB } else { &[scope.host.as_str()] };
        hosts.extend(asked.iter().filter_map(|host| Url::parse(&format!("https://{host}/")).ok()));
    }
    let named = |url: &Url| {
        let name = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(OwnHost { name, port: url.port_or_known_default().unwrap_or(443) })
    };
    Own::new(hosts.iter().filter_map(named).collect(), RESOLVERS.into())
}

/// A gate that only says what it would say.
pub(super) fn asking(settings: &Settings, workers: tokio::runtime::Handle) -> Result<Gate, String> {
    let rules = match build(settings, &mut Kept::default()) {
        Ok(rules) => rules,
        Err(faults) => faulty(settings, &faults),
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
            if let Err(error) = keep(&last_good, settings) {
                tracing::warn!(%error, "the settings could not be kept for the next start");
            }
            (rules, true)
        }
        Err(faults) => {
            for fault in &faults {
                tracing::error!(key = fault.key, "setting at fault: {fault}");
            }
            let last = std::fs::read(&last_good).ok().and_then(|bytes| serde_json::from_slice::<Settings>(&bytes).ok());
            match last.as_ref().map(|last| build(last, kept)) {
                Some(Ok(rules)) => {
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

/// The policy of these settings, or everything they have wrong.
pub(super) fn policy(settings: &Settings) -> Result<Policy, Vec<PolicyFault>> {
    match build(settings, &mut Kept::default())? {
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
