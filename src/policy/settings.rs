//! The settings of the environment: what was written, checked all at once, and turned into a [`Policy`] and the gate's
//! places. An empty variable is unset.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{
    AuditRule, BuildRule, FurtherRules, HostAccessRule, Http2Rule, Mode, Policy, Posture, Requirement, Scope, VARIABLES,
};
use crate::image::{Host, Reference};
use crate::text::fit;
use crate::trust::notary::{OnOutage, RequiredSigners, SignersError, Source};
use crate::trust::{Binding, VerifierName};

/// Docker Hub's own Notary, the default of the plugin since its first days.
const DEFAULT_NOTARY: &str = "https://notary.docker.io";
/// How long a verified answer is used again, in seconds, and the most that may be set: what is revoked counts until then.
const FRESHNESS: u64 = 30;
const FRESHNESS_MOST: u64 = 3600;
/// How long what runs here goes on without the server, in hours, and the most: trust data that nobody could check for longer
/// than a month is no evidence.
const STALE_LIMIT: u64 = 24;
const STALE_LIMIT_MOST: u64 = 720;
/// What stands in a text for what was none.
const LOST: char = char::REPLACEMENT_CHARACTER;
/// Most registries a host lists. Stops a paste accident from becoming the policy.
const MAX_REGISTRIES: usize = 256;
/// Most ways to the host that may be opened one by one. Stops the same.
const MAX_HOST_ACCESS: usize = 256;

/// Most plugins named. Stops the same.
const MAX_PLUGINS: usize = 64;

/// What a setting has wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    /// Which setting.
    pub key: &'static str,
    /// What is wrong, and what it should be.
    pub message: String,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// The settings as they were written. Kept and compared as text, so that the last good ones can be kept across restarts.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Settings {
    written: BTreeMap<String, String>,
}

/// Where Notary's trust data comes from, and on what terms it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotarySettings {
    /// A server, `https://host[:port][/path]` without a trailing slash; or bundles.
    pub source: Source,
    /// PEM of the CA of the server's TLS certificate; `None`: the system's roots.
    pub root_ca: Option<String>,
    /// notary's `trust_pinning` block, JSON.
    pub pins: Option<String>,
    /// Which signers must agree on an image.
    pub signers: RequiredSigners,
    /// How long a verified answer is used again without asking, or looking.
    pub freshness: Duration,
    /// What becomes of what is here when the server is out of reach.
    pub on_outage: OnOutage,
    /// For how long what was verified may be used without the server.
    pub stale_limit: Duration,
}

/// Where the allowlist is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowlistSetting {
    /// Not asked.
    Off,
    /// Required.
    Required(PathBuf),
    /// Required if the file exists.
    IfPresent(PathBuf),
}

impl Settings {
    /// Takes every known, non-empty variable from `lookup`.
    #[must_use]
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let written = VARIABLES
            .iter()
            .filter_map(|name| lookup(name).filter(|value| !value.trim().is_empty()).map(|value| ((*name).to_owned(), value)))
            .map(|(name, value)| match name.as_str() {
                // What was no text would be read around the part that is lost, in names and behind certificates.
                "NOTARY_PINS" | "NOTARY_ROOT_CA" if value.contains(LOST) => (name, LOST.to_string()),
                _ => (name, value),
            })
            .collect();
        Self { written }
    }

    /// A setting as written; `None` where unset.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.written.get(name).map(String::as_str)
    }

    /// These settings with one changed.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.written.insert(name.to_owned(), value.into());
        self
    }

    /// These settings without one.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.written.remove(name);
        self
    }

    /// All that are set, as written, by name.
    pub fn written(&self) -> impl Iterator<Item = (&str, &str)> {
        self.written.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether the gate guards Docker Hub by default, because nobody said otherwise.
    #[must_use]
    pub fn is_default_hub(&self) -> bool {
        self.get("REGISTRY").is_none() && self.get("NOTARY").is_none()
    }

    /// The folder for state: trust data, records, the audit log.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.get("STATE_DIR").unwrap_or("/var/lib/img-authz").into()
    }

    /// The folder for the operator's files.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.get("CONFIG_DIR").unwrap_or("/etc/docker/img-authz").into()
    }

    /// Docker's client folder, with credentials for registries and Notary.
    #[must_use]
    pub fn docker_config(&self) -> PathBuf {
        self.get("DOCKER_CONFIG").map_or_else(|| self.config_dir(), PathBuf::from)
    }

    /// The engine's address.
    #[must_use]
    pub fn docker_host(&self) -> &str {
        self.get("DOCKER_HOST").unwrap_or("unix:///run/docker.sock")
    }

    /// The posture, also where other settings are at fault. One that cannot be read was not meant to be the weaker one, or it
    /// would not have been set.
    #[must_use]
    pub fn posture(&self) -> Posture {
        match self.get("POSTURE").map(str::trim) {
            None | Some("images") => Posture::Images,
            Some(_) => Posture::Lockdown,
        }
    }

    /// What becomes of calls that cannot be recorded, also where other settings are at fault. A word that is none was not meant to be
    /// the weaker one.
    #[must_use]
    pub fn audit(&self) -> AuditRule {
        match self.get("AUDIT").map(str::trim) {
            None | Some("go-on") => AuditRule::GoOn,
            Some(_) => AuditRule::Require,
        }
    }

    /// The allowlist's place.
    #[must_use]
    pub fn allowlist(&self) -> AllowlistSetting {
        match self.get("ALLOWLIST").map(str::trim) {
            Some("off") => AllowlistSetting::Off,
            Some(path) => AllowlistSetting::Required(path.into()),
            None => AllowlistSetting::IfPresent(self.config_dir().join("allowlist.json")),
        }
    }

    /// The Notary, or `None` for `off`.
    pub fn notary(&self) -> Result<Option<NotarySettings>, Vec<PolicyFault>> {
        let mut faults = Vec::new();
        let source = match notary_source(self.get("NOTARY").map_or(DEFAULT_NOTARY, str::trim)) {
            Ok(source) => source,
            Err(message) => {
                faults.push(PolicyFault { key: "NOTARY", message });
                None
            }
        };
        let root_ca =
            self.get("NOTARY_ROOT_CA").map(|text| text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\'' | '"')));
        if root_ca.is_some_and(|text| !text.contains("-----BEGIN CERTIFICATE-----")) {
            let message =
                "is not a PEM certificate (-----BEGIN CERTIFICATE----- …); give the CA's certificate itself, not a path";
            faults.push(PolicyFault { key: "NOTARY_ROOT_CA", message: message.to_owned() });
        }
        let pins = self.get("NOTARY_PINS").map(str::trim);
        if pins.is_some_and(|text| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_err()) {
            let message = "is not a JSON object (notary's trust_pinning block)".to_owned();
            faults.push(PolicyFault { key: "NOTARY_PINS", message });
        }
        let signers = self.signers().unwrap_or_else(|found| {
            faults.extend(found);
            RequiredSigners::default()
        });
        if source.is_none() && self.get("NOTARY_SIGNERS").is_some() && faults.is_empty() {
            let message = "needs NOTARY: where it is off nobody signs".to_owned();
            faults.push(PolicyFault { key: "NOTARY_SIGNERS", message });
        }
        let freshness = self.number("FRESHNESS", "seconds", FRESHNESS, 0..=FRESHNESS_MOST, &mut faults);
        let on_outage = self.choice("ON_OUTAGE", &[("run", OnOutage::UseKnown), ("deny", OnOutage::Deny)], &mut faults);
        let stale_limit = self.stale_limit(source.as_ref()).unwrap_or_else(|fault| {
            faults.push(fault);
            Duration::ZERO
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(source.map(|source| NotarySettings {
            source,
            root_ca: root_ca.map(str::to_owned),
            pins: pins.map(str::to_owned),
            signers,
            freshness: Duration::from_secs(freshness),
            on_outage,
            stale_limit,
        }))
    }

    /// For how long what was verified may be used without the server; or, where there is none, what was imported.
    pub fn stale_limit(&self, source: Option<&Source>) -> Result<Duration, PolicyFault> {
        // Bundles come when somebody carries them: where nobody said how often, their own dates alone end their use.
        if source == Some(&Source::Import) && self.get("STALE_LIMIT").is_none() {
            return Ok(Duration::MAX);
        }
        let mut faults = Vec::new();
        let hours = self.number("STALE_LIMIT", "hours", STALE_LIMIT, 1..=STALE_LIMIT_MOST, &mut faults);
        faults.pop().map_or_else(|| Ok(Duration::from_hours(hours)), Err)
    }

    /// Whether trust data is imported on this host.
    #[must_use]
    pub fn is_import(&self) -> bool {
        self.get("NOTARY").is_some_and(|written| notary_source(written) == Ok(Some(Source::Import)))
    }

    /// Which signers must agree on an image.
    pub fn signers(&self) -> Result<RequiredSigners, Vec<PolicyFault>> {
        let fault = |error: SignersError| PolicyFault { key: "NOTARY_SIGNERS", message: error.to_string() };
        RequiredSigners::read(self.get("NOTARY_SIGNERS").unwrap_or_default())
            .map_err(|errors| errors.into_iter().map(fault).collect())
    }

    /// What the settings mean. `allowlist_present` says whether an [`AllowlistSetting::IfPresent`] file exists.
    pub fn resolve(&self, allowlist_present: bool) -> Result<Policy, Vec<PolicyFault>> {
        let mut faults = Vec::new();
        let notary = self.notary().unwrap_or_else(|found| {
            faults.extend(found);
            None
        });
        let mut verifiers = BTreeMap::new();
        if notary.is_some() {
            verifiers.insert(VerifierName::NOTARY, Binding::TagToDigest);
        }
        let listed = match self.allowlist() {
            AllowlistSetting::Off => false,
            AllowlistSetting::Required(_) => true,
            AllowlistSetting::IfPresent(_) => allowlist_present,
        };
        if listed {
            verifiers.insert(VerifierName::ALLOWLIST, Binding::Listed);
        }
        let mode = self.choice("MODE", &[("enforce", Mode::Enforce), ("permissive", Mode::Permissive)], &mut faults);
        let audit = self.choice("AUDIT", &[("go-on", AuditRule::GoOn), ("require", AuditRule::Require)], &mut faults);
        let posture = self.choice("POSTURE", &[("images", Posture::Images), ("lockdown", Posture::Lockdown)], &mut faults);
        let host_access = self.host_access(&mut faults);
        let build = self.choice("BUILD", &[("deny", BuildRule::Deny), ("allow", BuildRule::Allow)], &mut faults);
        let http2 = self.choice("HTTP2", &[("open", Http2Rule::Open), ("closed", Http2Rule::Closed)], &mut faults);
        let plugins = self.plugins(&mut faults);
        let hosts = self.registries(&mut faults);
        for unheard in notary.iter().flat_map(|notary| notary.signers.hosts()) {
            // A rule that no image can meet is a misspelt one, and its signers would be asked for nowhere.
            if !hosts.iter().any(|host| host.as_str() == unheard) {
                let message = format!("registry `{unheard}` is not in REGISTRY");
                faults.push(PolicyFault { key: "NOTARY_SIGNERS", message });
            }
        }
        if !self.docker_host().starts_with("unix://") {
            let message = format!("`{}` is not unix://PATH; the gate talks to the engine's own socket only", self.docker_host());
            faults.push(PolicyFault { key: "DOCKER_HOST", message });
        }
        if posture == Posture::Lockdown && verifiers.is_empty() && faults.is_empty() {
            let message =
                "lockdown needs signatures or an allowlist; set NOTARY or ALLOWLIST, names alone are not evidence".to_owned();
            faults.push(PolicyFault { key: "POSTURE", message });
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        // Where nobody signs and nobody lists, the registry is all there is.
        if verifiers.is_empty() {
            verifiers.insert(VerifierName::REGISTRY, Binding::Held);
        }
        // Signatures are asked about first.
        let asked = [VerifierName::NOTARY, VerifierName::ALLOWLIST, VerifierName::REGISTRY];
        let asked = asked.into_iter().filter(|name| verifiers.contains_key(name)).map(Requirement::One);
        let require = Requirement::All(asked.collect());
        let scopes = hosts.into_iter().map(|host| Scope { host, require: require.clone() }).collect();
        Ok(Policy {
            mode,
            audit,
            posture,
            host_access,
            build,
            http2,
            plugins,
            verifiers,
            scopes,
            rules: FurtherRules::default(),
            rego: None,
        })
    }

    fn registries(&self, faults: &mut Vec<PolicyFault>) -> Vec<Host> {
        let mut hosts: Vec<Host> = Vec::new();
        let written = self.get("REGISTRY").unwrap_or("docker.io");
        for part in written.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty()) {
            match part.parse::<Host>() {
                Ok(host) if !hosts.contains(&host) => hosts.push(host),
                Ok(_) => {}
                Err(error) => faults.push(PolicyFault { key: "REGISTRY", message: error.to_string() }),
            }
        }
        if hosts.is_empty() && faults.is_empty() {
            faults.push(PolicyFault { key: "REGISTRY", message: "names no registry".to_owned() });
        }
        if hosts.len() > MAX_REGISTRIES {
            faults.push(PolicyFault { key: "REGISTRY", message: format!("names more than {MAX_REGISTRIES} registries") });
        }
        hosts
    }

    /// The ways to the host that posture `lockdown` lets pass.
    fn host_access(&self, faults: &mut Vec<PolicyFault>) -> Vec<HostAccessRule> {
        let mut host_access = Vec::new();
        let written = self.get("ALLOW_HOST_ACCESS").unwrap_or_default();
        for part in written.split([',', '\n', '\r']).map(str::trim).filter(|part| !part.is_empty()) {
            match part.parse::<HostAccessRule>() {
                Ok(rule) => host_access.push(rule),
                Err(error) => faults.push(PolicyFault { key: "ALLOW_HOST_ACCESS", message: error.to_string() }),
            }
        }
        if host_access.len() > MAX_HOST_ACCESS {
            faults.push(PolicyFault { key: "ALLOW_HOST_ACCESS", message: format!("has more than {MAX_HOST_ACCESS} entries") });
        }
        host_access
    }

    /// The plugins that may be enabled, each with its digest.
    fn plugins(&self, faults: &mut Vec<PolicyFault>) -> Vec<Reference> {
        let written = self.get("ALLOW_PLUGINS").unwrap_or_default();
        let mut plugins = Vec::new();
        for part in written.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty()) {
            match part.parse::<Reference>() {
                Ok(Reference { repository, tag, digest: Some(digest) }) => {
                    let name = Reference { repository, tag, digest: None }.or_latest();
                    plugins.push(Reference { digest: Some(digest), ..name });
                }
                Ok(_) | Err(_) => {
                    let part = fit(part, 80);
                    let message = format!("`{part}` is not NAME@sha256:DIGEST (img-authz plugin digest NAME)");
                    faults.push(PolicyFault { key: "ALLOW_PLUGINS", message });
                }
            }
        }
        if plugins.len() > MAX_PLUGINS {
            faults.push(PolicyFault { key: "ALLOW_PLUGINS", message: format!("names more than {MAX_PLUGINS} plugins") });
        }
        plugins
    }

    /// A whole number within bounds; digits alone, so that nobody wonders what `1h` or `1e3` came to.
    fn number(
        &self,
        key: &'static str,
        unit: &str,
        default: u64,
        bounds: RangeInclusive<u64>,
        faults: &mut Vec<PolicyFault>,
    ) -> u64 {
        let Some(written) = self.get(key).map(str::trim) else { return default };
        let digits = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit());
        match written.parse() {
            Ok(number) if digits && bounds.contains(&number) => number,
            _ => {
                let written = fit(written, 40);
                let message = format!("`{written}` is not a number of {unit} from {} to {}", bounds.start(), bounds.end());
                faults.push(PolicyFault { key, message });
                default
            }
        }
    }

    /// The chosen value; the first choice is the default.
    fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T); 2], faults: &mut Vec<PolicyFault>) -> T {
        let [(_, default), _] = choices;
        let Some(written) = self.get(key) else { return *default };
        match choices.iter().find(|(name, _)| *name == written.trim()) {
            Some((_, value)) => *value,
            None => {
                let names = choices.map(|(name, _)| format!("`{name}`")).join(" nor ");
                let written = fit(written, 40);
                faults.push(PolicyFault { key, message: format!("`{written}` is neither {names}") });
                *default
            }
        }
    }
}

/// The server, or bundles, from what an operator writes; `None` for `off`.
fn notary_source(written: &str) -> Result<Option<Source>, String> {
    let written = written.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\'' | '"'));
    match written {
        "off" => return Ok(None),
        "import" => return Ok(Some(Source::Import)),
        _ => {}
    }
    // What stands before an `@` may be a password.
    let shown = fit(written.rsplit('@').next().unwrap_or_default(), 80);
    if written.starts_with("http://") {
        return Err(format!("`{shown}` is plain http; trust data must come over https"));
    }
    let rest = written.strip_prefix("https://").unwrap_or(written).trim_end_matches('/');
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let path_good = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~'));
    if host.parse::<Host>().is_err() || !path_good || path.split('/').any(|part| part == "..") {
        return Err(format!("`{shown}` is not https://host:port (nor `import`, nor `off`)"));
    }
    Ok(Some(Source::Server(format!("https://{rest}"))))
}
