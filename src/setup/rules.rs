//! Joins the real parts: from settings to rules in force, a journal, and the engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::host::Place;
use super::last_good::LastGood;
use crate::audit::{Entry, FileJournal, Journal, Limits, Recorded};
use crate::engine::Engine;
use crate::files::{Outlives, Texts, read_text, replace};
use crate::gate::{Approvals, Gate, Identity, Limits as GateLimits, Own, OwnHost, Plugins, Rules};
use crate::net::auth::DockerConfig;
use crate::net::{Tls, Url, authority, server_files};
use crate::policy::{AllowlistSetting, NotarySettings, Policy, PolicyFault, Settings};
use crate::registry::{self, Registry};
use crate::text::fit;
use crate::trust::allowlist::Allowlist;
use crate::trust::notary::{self, Notary, Source};
use crate::trust::registry::RegistryVerifier;
use crate::trust::tuf::Pins;
use crate::trust::{Verifier, VerifierName};

/// The settings that were last in force without a fault, in the state folder.
pub(crate) const LAST_GOOD: &str = "settings.json";
/// What the gate that serves has in force, in the state folder.
pub(crate) const IN_FORCE: &str = "in-force.json";
/// The audit log, in the state folder.
pub(crate) const AUDIT_LOG: &str = "audit.jsonl";
/// The gate's figures, in the state folder.
pub(crate) const METRICS: &str = "metrics.prom";
/// The records of approvals, in the state folder.
const APPROVALS: &str = "approvals.jsonl";
/// Renames under way.
pub(crate) const RENAMES: &str = "renames.json";
/// The plugins that may be enabled, in the state folder.
const PLUGINS: &str = "plugins.json";

/// Which resolvers are asked.
const RESOLVERS: &str = "/etc/resolv.conf";
/// What is asked about images of Docker Hub.
const DOCKER_HUB: [&str; 2] = ["registry-1.docker.io", "auth.docker.io"];

/// Largest `config.json`, certificate or bundle read. Stops a wrong path from filling memory.
const CONFIG_BYTES: u64 = 4 << 20;

/// Longest list of faults in an entry of the audit log, characters. Stops foreign text from filling it.
const FAULT_CHARS: usize = 512;

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

/// What outlives a reload, and what of it a restart.
#[derive(Default)]
pub(crate) struct Kept {
    /// Its last good content holds when the file is gone: so does the requirement.
    allowlist: Option<Arc<Allowlist>>,
    /// What the other files held when they last were good.
    files: LastGood,
    /// Where trust data is kept fresh; nowhere in a command that asks once.
    workers: Option<tokio::runtime::Handle>,
    /// What came of reading settings and files the last time.
    reading: Reading,
}

/// What came of reading settings and files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The settings in force; `None`: none, and calls that touch an image are refused.
    pub(crate) in_force: Option<Settings>,
    /// What is wrong with those that were given, so that others are in force, or none.
    pub(crate) faults: Vec<String>,
    /// What is wrong with files in whose place their last good content counts.
    pub(crate) file_faults: Vec<String>,
}

impl Reading {
    /// What is in force though it is not what settings and files say now, for people.
    pub(crate) fn told(&self) -> Option<String> {
        let whys: Vec<&str> = self.faults.iter().chain(&self.file_faults).map(String::as_str).collect();
        let is_told = self.in_force.is_some() && !whys.is_empty();
        is_told.then(|| format!("faulty, so that what last was good counts: {}", fit(&whys.join("; "), FAULT_CHARS)))
    }
}

impl Kept {
    /// For a gate that goes on.
    pub(crate) fn serving(settings: &Settings, workers: tokio::runtime::Handle) -> Self {
        Self { files: LastGood::of(&settings.state_dir()), workers: Some(workers), ..Self::default() }
    }

    /// For a look from outside: by what the gate kept, and by the allowlist that it requires, where that is known.
    pub(crate) fn looking(files: LastGood, allowlist: Option<Allowlist>) -> Self {
        Self { files, allowlist: allowlist.map(Arc::new), ..Self::default() }
    }

    /// Keeps the allowlist for the next start, where it has changed, and what could not be kept before. Called each second.
    pub(crate) fn look(&mut self) {
        self.files.write_out();
        if let Some(list) = &self.allowlist {
            self.files.keep_allowlist(Some(list));
        }
    }

    /// Whether a file that was faulty has changed since.
    pub(crate) fn is_worth_a_look(&self) -> bool {
        self.files.is_worth_a_look()
    }

    /// What came of reading settings and files the last time.
    pub(crate) const fn reading(&self) -> &Reading {
        &self.reading
    }

    /// What is wrong with files in whose place their last good content counts.
    pub(crate) fn file_faults(&self) -> Vec<String> {
        self.files.faults().iter().map(|fault| fault.why.clone()).collect()
    }

    /// The allowlist, where one is required.
    pub(crate) const fn allowlist(&self) -> Option<&Arc<Allowlist>> {
        self.allowlist.as_ref()
    }
}

/// A gate that serves: it keeps records, a journal, and the settings that worked.
pub(crate) fn serving(
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
    let approvals = Approvals::open(&state.join(APPROVALS));
    let (rules, is_good) = rules(settings, kept);
    let ends = Arc::new(Engine::at(settings.docker_host()).map_err(|error| error.to_string())?);
    let gate = Gate::new(rules, engine, journal, approvals, Identity::of_process(socket), workers)
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

/// A gate that only says what the one of this host would say.
pub(crate) fn asking(place: &Place, workers: tokio::runtime::Handle) -> Result<Gate, String> {
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
    let approvals = Approvals::look(&settings.state_dir().join(APPROVALS));
    let plugins = Plugins::look(&settings.state_dir().join(PLUGINS));
    let gate = Gate::new(rules, engine, Arc::new(NoJournal::default()), approvals, Identity::default(), workers);
    Ok(gate.with_plugins(plugins))
}

/// The rules of these settings, and whether these are they: where the settings are faulty, those of the last good ones; where
/// there are none, refusals. A file that is faulty counts as what it last was.
pub(crate) fn rules(settings: &Settings, kept: &mut Kept) -> (Rules, bool) {
    let (rules, is_good) = rules_of(settings, kept);
    if matches!(rules, Rules::Good { .. }) {
        for fault in kept.files.faults() {
            tracing::error!("a file is faulty, what it held when it last was good counts: {}", fault.why);
        }
        kept.reading.file_faults = kept.file_faults();
        kept.files.keep();
        kept.files.keep_allowlist(kept.allowlist.as_deref());
    } else {
        // What is gone is kept no more, also where nothing takes its place.
        kept.files.write_out();
    }
    (rules, is_good && kept.files.faults().is_empty())
}

fn rules_of(settings: &Settings, kept: &mut Kept) -> (Rules, bool) {
    let last_good = settings.state_dir().join(LAST_GOOD);
    match build(settings, kept) {
        Ok(rules) => {
            kept.reading = Reading { in_force: Some(settings.clone()), ..Reading::default() };
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
pub(crate) fn last_good(state: &Path) -> Option<Settings> {
    let text = read_text(&state.join(LAST_GOOD), CONFIG_BYTES).ok()?;
    serde_json::from_str(&text).ok()
}

/// The policy of these settings, or everything they have wrong, going on from what was read before.
pub(crate) fn policy(settings: &Settings, kept: &mut Kept) -> Result<Policy, Vec<PolicyFault>> {
    match build(settings, kept)? {
        Rules::Good { policy, .. } => Ok(policy),
        Rules::Faulty { fault, .. } => Err(vec![PolicyFault { key: "", message: fault }]),
    }
}

pub(crate) fn list(faults: &[PolicyFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Everything that settings can have wrong, at once.
fn build(settings: &Settings, kept: &mut Kept) -> Result<Rules, Vec<PolicyFault>> {
    kept.files.begin();
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
        let allowlist = same.unwrap_or_else(|| Arc::new(kept.files.allowlist(&path)));
        kept.allowlist = Some(Arc::clone(&allowlist));
        verifiers.push(allowlist);
    }
    let credentials = credentials_of(settings, &mut kept.files)?;
    if let Some(notary) = settings.notary()? {
        let notary = notary_of(settings, &notary, credentials.clone(), &mut kept.files)?;
        if let Some(workers) = &kept.workers {
            workers.spawn(notary.keep_fresh(crate::clock::now));
        }
        verifiers.push(Arc::new(notary));
    }
    if policy.verifiers.contains_key(&VerifierName::REGISTRY) {
        let certs = certificate_folders(settings);
        let given =
            policy.weak_scopes().filter_map(|scope| certificates_of(scope.host.as_str(), &certs, &mut kept.files)).collect();
        let registry = Registry::new(registry::Settings { credentials, certs, given, ..registry::Settings::default() });
        verifiers.push(Arc::new(RegistryVerifier::new(Arc::new(registry))));
    }
    Ok(Rules::Good { policy, verifiers })
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn fault(key: &'static str, message: impl ToString) -> Vec<PolicyFault> {
    vec![PolicyFault { key, message: message.to_string() }]
}

/// Docker's credentials as they are now; none where there is no file.
pub(crate) fn credentials(settings: &Settings) -> Result<DockerConfig, Vec<PolicyFault>> {
    credentials_of(settings, &mut LastGood::default())
}

fn credentials_of(settings: &Settings, last: &mut LastGood) -> Result<DockerConfig, Vec<PolicyFault>> {
    let path = settings.docker_config().join("config.json");
    let told = |why: &dyn std::fmt::Display| format!("`{}` cannot be used: {why}", path.display());
    let now = match read_text(&path, CONFIG_BYTES) {
        Ok(text) => Ok(Texts(vec![(path.clone(), text)])),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Texts::default()),
        Err(error) => Err(told(&error)),
    };
    let read = |texts: &Texts| match texts.0.first() {
        Some((kept, text)) if *kept == path => DockerConfig::read(text).map_err(|error| told(&error)),
        // Those of another folder are not these.
        Some(_) => Err(told(&"it was never read")),
        None => Ok(DockerConfig::default()),
    };
    last.make("credentials", now, std::slice::from_ref(&path), read).map_err(|why| fault("DOCKER_CONFIG", why))
}

/// The certificates for a registry, read now; `None` where there are none, or they are faulty and never were good: then the registry
/// itself looks at the folder when it is asked, and refuses.
fn certificates_of(host: &str, folders: &[PathBuf], last: &mut LastGood) -> Option<(String, Texts)> {
    let at: Vec<PathBuf> = folders.iter().map(|folder| folder.join(host)).collect();
    let usable = |texts: &Texts| Tls::of_files(None, texts).map(|_| texts.clone()).map_err(|error| error.to_string());
    let texts = last.make(&format!("certificates of registry {host}"), registry::host_files(host, folders), &at, usable);
    texts.ok().filter(|texts| !texts.0.is_empty()).map(|texts| (host.to_owned(), texts))
}

/// How the Notary's server is spoken to; nobody is, where trust data is imported.
pub(crate) fn notary_tls(settings: &Settings, written: &NotarySettings) -> Result<Tls, Vec<PolicyFault>> {
    notary_tls_of(settings, written, &mut LastGood::default())
}

fn notary_tls_of(settings: &Settings, written: &NotarySettings, last: &mut LastGood) -> Result<Tls, Vec<PolicyFault>> {
    let Source::Server(server) = &written.source else { return Ok(Tls::default()) };
    let server = Url::parse(server).map_err(|error| fault("NOTARY", error))?;
    let mut folders = certificate_folders(settings);
    folders.push(settings.docker_config().join("tls"));
    let (server, pem) = (authority(&server), written.root_ca.as_deref());
    // A setting that is no certificate is a fault of the setting, whatever lies in folders.
    Tls::of_files(pem, &Texts::default()).map_err(|error| fault("NOTARY_ROOT_CA", error))?;
    let at: Vec<PathBuf> = folders.iter().map(|folder| folder.join(&server)).collect();
    let make = |texts: &Texts| Tls::of_files(pem, texts).map_err(|error| error.to_string());
    last.make(&format!("certificates of Notary {server}"), server_files(&server, pem, &folders), &at, make)
        .map_err(|why| fault("NOTARY_ROOT_CA", why))
}

/// The CA bundles that pins name.
fn pins_of(text: &str, folder: &Path, last: &mut LastGood) -> Result<Pins, Vec<PolicyFault>> {
    let mut now = Texts::default();
    let mut at = Vec::new();
    // Which files it names, the text says while it is read.
    let read = Pins::read(text, |path| {
        let path = folder.join(path);
        at.push(path.clone());
        let text = read_text(&path, CONFIG_BYTES).map_err(|error| error.to_string())?;
        now.0.push((path, text.clone()));
        Ok(text)
    });
    let now = read.map(|_| now).map_err(|error| error.to_string());
    let make = |texts: &Texts| {
        let load = |path: &str| {
            let path = folder.join(path);
            let found = texts.0.iter().find(|(other, _)| *other == path);
            found.map(|(_, text)| text.clone()).ok_or_else(|| "it was never read".to_owned())
        };
        Pins::read(text, load).map_err(|error| error.to_string())
    };
    last.make("CA bundles of NOTARY_PINS", now, &at, make).map_err(|why| fault("NOTARY_PINS", why))
}

/// The Notary as the files are now.
pub(crate) fn notary(
    settings: &Settings,
    written: &NotarySettings,
    credentials: DockerConfig,
) -> Result<Notary, Vec<PolicyFault>> {
    notary_of(settings, written, credentials, &mut LastGood::default())
}

fn notary_of(
    settings: &Settings,
    written: &NotarySettings,
    credentials: DockerConfig,
    last: &mut LastGood,
) -> Result<Notary, Vec<PolicyFault>> {
    let tls = notary_tls_of(settings, written, last)?;
    let pins = match &written.pins {
        Some(text) => pins_of(text, &settings.config_dir(), last)?,
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
pub(crate) fn certificate_folders(settings: &Settings) -> Vec<PathBuf> {
    let own = settings.config_dir();
    own.parent().into_iter().chain([own.as_path()]).map(|folder| folder.join("certs.d")).collect()
}

/// The engine's own settings: daemon.json beside the gate's folder, on the host and inside the plugin alike.
pub(crate) fn daemon_file(settings: &Settings) -> PathBuf {
    settings.config_dir().parent().unwrap_or_else(|| Path::new("/etc/docker")).join("daemon.json")
}

fn keep(path: &Path, settings: &Settings) -> std::io::Result<()> {
    // What the gate keeps is nobody else's business.
    replace(path, &serde_json::to_vec_pretty(settings)?, 0o600, Outlives::Power)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Basis;
    use super::*;
    use crate::trust::allowlist::Status;

    const GOOD: &str = r#"{"auths":{"r.example":{"auth":"YTpzZWNyZXQ="}}}"#;
    const HALF: &str = r#"{"auths":{"r.example":{"#;
    const LIST: &str = r#"{"version":1,"entries":[]}"#;

    /// A host's folders; each start is a gate with nothing but the state folder to remember by.
    struct Host(tempfile::TempDir);

    impl Host {
        fn new() -> Self {
            let host = Self(tempfile::tempdir().unwrap());
            for folder in ["state", "config"] {
                std::fs::create_dir(host.at(folder)).unwrap();
            }
            host
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn write(&self, path: &str, text: &str) {
            std::fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
            std::fs::write(self.at(path), text).unwrap();
            std::fs::set_permissions(self.at(path), std::fs::Permissions::from_mode(0o600)).unwrap();
        }

        fn settings(&self) -> Settings {
            Settings::default()
                .with("REGISTRY", "r.example")
                .with("NOTARY", "off")
                .with("STATE_DIR", self.at("state").display().to_string())
                .with("CONFIG_DIR", self.at("config").display().to_string())
        }

        fn start(settings: &Settings) -> (Rules, bool, Kept) {
            let mut kept = Kept { files: LastGood::of(&settings.state_dir()), ..Kept::default() };
            let (rules, is_good) = rules(settings, &mut kept);
            (rules, is_good, kept)
        }

        /// Whether there is a password for the registry after a start; `None`: the rules are refusals.
        fn knows_password(&self) -> Option<bool> {
            let (rules, _, kept) = Self::start(&self.settings());
            matches!(rules, Rules::Good { .. }).then(|| {
                let mut files = LastGood::look(&self.at("state"), &[]);
                files.begin();
                drop(kept);
                credentials_of(&self.settings(), &mut files).unwrap().for_host("r.example").is_some()
            })
        }
    }

    #[test]
    fn a_start_with_half_written_credentials_goes_by_the_last_good_ones_and_says_so() {
        let host = Host::new();
        host.write("config/config.json", HALF);
        assert_eq!(host.knows_password(), None, "none were ever good: refused");
        host.write("config/config.json", GOOD);
        assert_eq!(host.knows_password(), Some(true));
        host.write("config/config.json", HALF);
        let (rules, is_good, kept) = Host::start(&host.settings());
        assert!(matches!(rules, Rules::Good { .. }) && !is_good);
        assert!(kept.reading().told().unwrap().contains("config.json` cannot be used"), "{:?}", kept.reading().told());
        assert!(!kept.is_worth_a_look());
        assert_eq!(host.knows_password(), Some(true), "also at the start after that");
        host.write("config/config.json", "{\"auths\":{\"r");
        assert!(kept.is_worth_a_look());
        for name in [super::super::last_good::FILES, LAST_GOOD] {
            let mode = std::fs::metadata(host.at("state").join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn credentials_that_were_taken_away_are_kept_nowhere() {
        let host = Host::new();
        host.write("config/config.json", GOOD);
        assert_eq!(host.knows_password(), Some(true));
        std::fs::remove_file(host.at("config/config.json")).unwrap();
        assert_eq!(host.knows_password(), Some(false));
        assert!(!host.at("state").join(super::super::last_good::FILES).exists());
        host.write("config/config.json", "{");
        assert_eq!(host.knows_password(), None, "what is faulty now was never good since");
    }

    #[test]
    fn faulty_settings_and_a_faulty_file_together_go_by_what_last_was_good() {
        let host = Host::new();
        host.write("config/config.json", GOOD);
        assert_eq!(host.knows_password(), Some(true));
        host.write("config/config.json", "{");
        let (rules, is_good, kept) = Host::start(&host.settings().with("MODE", "nonsense"));
        assert!(matches!(rules, Rules::Good { .. }) && !is_good);
        let faults = kept.reading().told().unwrap();
        assert!(faults.contains("MODE: `nonsense`") && faults.contains("config.json"), "{faults}");
    }

    #[test]
    fn what_a_managed_gate_kept_counts_for_a_command_that_has_its_folders_elsewhere() {
        let host = Host::new();
        host.write("config/config.json", GOOD);
        host.write("config/allowlist.json", LIST);
        assert!(Host::start(&host.settings()).1);
        std::fs::rename(host.at("config"), host.at("there")).unwrap();
        host.write("there/config.json", HALF);
        host.write("there/allowlist.json", "{");
        let folder = |name: &str| host.at(name).display().to_string();
        let settings = host.settings().with("CONFIG_DIR", folder("there"));
        let place = |mounts: &[(String, String)]| {
            Place::judged(settings.clone(), Basis::Variables, mounts, |last| last.with("CONFIG_DIR", folder("there")))
        };
        let found = place(&[(folder("there"), folder("config"))]);
        assert_eq!((found.faults.len(), found.file_faults.len(), found.is_void), (0, 1, false), "{}", found.told());
        assert!(found.told().contains("config.json"), "{}", found.told());
        let mut kept = found.kept();
        policy(&found.settings, &mut kept).unwrap();
        assert_eq!(kept.allowlist().unwrap().status().entries, Some(0));
        // What was kept of other folders is not what these held.
        assert!(place(&[]).is_void);
    }

    #[test]
    fn certificates_of_notary_of_a_registry_and_of_pins_are_kept_likewise() {
        let pem = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
        let host = Host::new();
        let notary =
            host.settings().with("NOTARY", "https://n.example").with("NOTARY_PINS", r#"{"ca":{"r.example/":"pins.crt"}}"#);
        let files = ["certs.d/r.example/ca.crt", "certs.d/n.example:443/ca.crt", "certs.d/n.example/ca.crt", "pins.crt"];
        for (settings, used) in [(host.settings(), &files[..1]), (notary, &files[1..])] {
            for file in used {
                host.write(&format!("config/{file}"), &pem);
            }
            assert!(Host::start(&settings).1);
            for file in used {
                host.write(&format!("config/{file}"), "-----BEGIN CERT");
            }
            let (rules, is_good, kept) = Host::start(&settings);
            assert!(matches!(rules, Rules::Good { .. }) && !is_good, "{:?}", kept.reading().told());
            std::fs::remove_dir_all(host.at("state")).unwrap();
            std::fs::create_dir(host.at("state")).unwrap();
            // Without what was kept: a registry is refused by itself when it is asked, the others are faults.
            assert_eq!(matches!(Host::start(&settings).0, Rules::Good { .. }), used.len() == 1);
        }
    }

    #[test]
    fn a_faulty_allowlist_begins_with_the_last_good_one_and_a_removed_one_ends_at_a_new_start() {
        let host = Host::new();
        let path = host.at("config/allowlist.json");
        let status = |kept: &Kept| kept.allowlist.as_ref().map(|list| list.status());
        let entries = |kept: &Kept| status(kept).map(|Status { entries, fault }| (entries, fault.is_some()));
        host.write("config/allowlist.json", "{");
        assert_eq!(entries(&Host::start(&host.settings()).2), Some((None, true)), "none was ever good: refused");
        host.write("config/allowlist.json", LIST);
        assert_eq!(entries(&Host::start(&host.settings()).2), Some((Some(0), false)));
        for faulty in ["", "{\"version\":1,\"ent"] {
            host.write("config/allowlist.json", faulty);
            assert_eq!(entries(&Host::start(&host.settings()).2), Some((Some(0), true)), "{faulty:?}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(entries(&Host::start(&host.settings()).2), Some((Some(0), true)));
        // Another path was never good; one that is required and gone was taken away, and nothing was put in its place.
        let other = host.settings().with("ALLOWLIST", host.at("config/other.json").display().to_string());
        host.write("config/other.json", "{");
        assert_eq!(entries(&Host::start(&other).2), Some((None, true)));
        let required = host.settings().with("ALLOWLIST", path.display().to_string());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(entries(&Host::start(&required).2), Some((None, true)));

        host.write("config/allowlist.json", LIST);
        let (_, _, mut kept) = Host::start(&host.settings());
        std::fs::remove_file(&path).unwrap();
        let (rules, _) = rules(&host.settings(), &mut kept);
        assert!(matches!(rules, Rules::Good { policy, .. } if policy.weak_scopes().next().is_none()), "a reload: required still");
        assert_eq!(entries(&Host::start(&host.settings()).2), None, "a new start without the file");
        assert!(!host.at("state").join(super::super::last_good::ALLOWLIST).exists());
        host.write("config/allowlist.json", "{");
        assert_eq!(entries(&Host::start(&host.settings()).2), Some((None, true)), "what was ended does not come back");
    }

    #[test]
    fn a_bundle_and_a_key_that_are_gone_count_no_more() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let host = Host::new();
        let of_pins =
            host.settings().with("NOTARY", "https://n.example").with("NOTARY_PINS", r#"{"ca":{"r.example/":"pins.crt"}}"#);
        let of_notary = host.settings().with("NOTARY", "https://n.example");
        let cert = "config/certs.d/n.example/a.cert";
        for (settings, gone) in [(of_pins, "config/pins.crt"), (of_notary, "config/certs.d/n.example/a.key")] {
            let is_good = || matches!(Host::start(&settings).0, Rules::Good { .. });
            if gone.ends_with("key") {
                host.write(cert, &pem);
            }
            let content = if gone.ends_with("key") { &key } else { &pem };
            host.write(gone, content);
            assert!(is_good(), "{gone}");
            host.write(gone, "-----BEGIN");
            assert!(is_good(), "{gone}: half written counts as what it was");
            std::fs::remove_file(host.at(gone)).unwrap();
            assert!(!is_good(), "{gone} was taken away");
            host.write(gone, "-----BEGIN");
            assert!(!is_good(), "{gone}: nothing is kept of it");
            host.write(gone, content);
            assert!(is_good(), "{gone} is back");
        }
    }

    #[test]
    fn an_older_allowlist_does_not_count_again_after_a_write_that_failed_and_the_write_is_tried_again() {
        let host = Host::new();
        let entries = || Host::start(&host.settings()).2.allowlist.unwrap().status().entries;
        let entry = r#"{"digest":"sha256:"#.to_owned() + &"a".repeat(64) + r#""}"#;
        let evil = LIST.replace("[]", &format!("[{entry}]"));
        let kept_at = host.at("state").join(super::super::last_good::ALLOWLIST);
        // A folder in its place: nothing can be put there, as on a full disk.
        let block = || {
            let _ = std::fs::remove_file(&kept_at);
            std::fs::create_dir_all(kept_at.join("full")).unwrap();
        };
        host.write("config/allowlist.json", &evil);
        let (_, _, mut kept) = Host::start(&host.settings());
        let before = std::fs::read(&kept_at).unwrap();
        block();
        host.write("config/allowlist.json", LIST);
        kept.look();
        std::fs::remove_dir_all(&kept_at).unwrap();
        std::fs::write(&kept_at, before).unwrap();
        kept.look();
        host.write("config/allowlist.json", "{");
        assert_eq!(entries(), Some(0), "the later look has kept the later list");

        // The same of other files.
        let files_at = host.at("state").join(super::super::last_good::FILES);
        std::fs::remove_file(host.at("config/allowlist.json")).unwrap();
        std::fs::create_dir_all(files_at.join("full")).unwrap();
        host.write("config/config.json", GOOD);
        let (_, _, mut kept) = Host::start(&host.settings());
        std::fs::remove_dir_all(&files_at).unwrap();
        kept.look();
        assert!(std::fs::read_to_string(&files_at).unwrap().contains("YTpzZWNyZXQ="));
    }

    #[test]
    fn what_a_command_took_back_while_the_gate_stood_still_does_not_count_again() {
        use super::super::last_good::forget_earlier;
        let host = Host::new();
        let (state, path) = (host.at("state"), host.at("config/allowlist.json"));
        let entries = || Host::start(&host.settings()).2.allowlist.unwrap().status().entries;
        let entry = r#"{"digest":"sha256:"#.to_owned() + &"a".repeat(64) + r#""}"#;
        host.write("config/allowlist.json", &LIST.replace("[]", &format!("[{entry}]")));
        assert_eq!(entries(), Some(1));
        // What is kept as it is now stays.
        forget_earlier(&state, &path).unwrap();
        assert!(state.join(super::super::last_good::ALLOWLIST).exists());
        host.write("config/allowlist.json", LIST);
        forget_earlier(&state, &path).unwrap();
        host.write("config/allowlist.json", "{");
        assert_eq!(entries(), None);
        forget_earlier(&host.at("none"), &path).unwrap();
    }

    #[test]
    fn an_allowlist_that_changes_is_kept_within_a_look() {
        let host = Host::new();
        host.write("config/allowlist.json", LIST);
        let (_, _, mut kept) = Host::start(&host.settings());
        let entry = r#"{"digest":"sha256:"#.to_owned() + &"a".repeat(64) + r#""}"#;
        host.write("config/allowlist.json", &LIST.replace("[]", &format!("[{entry}]")));
        kept.look();
        host.write("config/allowlist.json", "{");
        kept.look();
        let (_, _, kept) = Host::start(&host.settings());
        assert_eq!(kept.allowlist.unwrap().status().entries, Some(1));
    }
}
