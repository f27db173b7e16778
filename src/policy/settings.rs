//! The settings: the variables of the environment, and the policy file that they name, as they were written; checked all at once, and
//! read to the end ([`Resolved`]). An empty variable is unset.

use crate::order::Ordered as _;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::exceptions::HostAccessRule;
use super::fault::PolicyFault;
use super::file::{PolicyFile, Read};
use super::resolved::{
    AllowlistSettings, FRESHNESS, FRESHNESS_MOST, Given, NotarySettings, Resolved, STALE_LIMIT, STALE_LIMIT_MOST,
    VerifierSettings, notary_source, plugin,
};
use super::scope::{Requirement, Scope, Scopes};
use super::variables::VARIABLES;
use super::{
    AlertsSetting, AuditRule, BuildRule, Http2Rule, MONITOR_PAUSE, Mode, MonitorRule, Policy, Posture, SinkFormat, SinkSetting,
    TelemetrySetting, WebAddress, WebAddressError, sinks,
};
use crate::image::{Host, Reference};
use crate::text::fit;
use crate::trust::VerifierName;
use crate::trust::notary::{OnOutage, RequiredSigners, SignersError, Source};

/// Docker Hub's own Notary, the default of the plugin since its first days.
const DEFAULT_NOTARY: &str = "https://notary.docker.io";
/// What stands in a text for what was none.
const LOST: char = char::REPLACEMENT_CHARACTER;
/// Most registries a host lists. Stops a paste accident from becoming the policy.
const MAX_REGISTRIES: usize = 256;
/// Most ways to the host that may be opened one by one. Stops the same.
const MAX_HOST_ACCESS: usize = 256;

/// Longest time that the monitor only reports after a change, minutes: a week. Stops a slip from switching it off for good.
const MAX_PAUSE: u64 = 7 * 24 * 60;
/// Longest age of a file of the audit log, hours: a year. Stops a slip of the unit.
const MAX_ROTATE: u64 = 366 * 24;
/// Most plugins named. Stops the same.
const MAX_PLUGINS: usize = 64;

/// What the policy file says, where there is one. A variable that says the same as well is a fault.
const SAID_BY_FILE: [&str; 15] = [
    "REGISTRY",
    "NOTARY",
    "NOTARY_ROOT_CA",
    "NOTARY_PINS",
    "NOTARY_SIGNERS",
    "FRESHNESS",
    "ON_OUTAGE",
    "STALE_LIMIT",
    "ALLOWLIST",
    "ALLOWLIST_KEY",
    "MODE",
    "POSTURE",
    "ALLOW_HOST_ACCESS",
    "BUILD",
    "ALLOW_PLUGINS",
];

/// The settings as they were written. Kept and compared as text, so that the last good ones can be kept across restarts.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    #[serde(rename = "variables")]
    written: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<Arc<PolicyFile>>,
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
            .ordered();
        Self { written, policy: None }
    }

    /// These settings with this policy file, or none.
    #[must_use]
    pub fn with_policy(self, policy: Option<PolicyFile>) -> Self {
        Self { policy: policy.map(Arc::new), ..self }
    }

    /// The policy file, where there is one.
    #[must_use]
    pub fn policy_file(&self) -> Option<&PolicyFile> {
        self.policy.as_deref()
    }

    /// Where a policy file is looked for, and whether it has to be there; `None`: nowhere (`off`).
    #[must_use]
    pub fn policy_path(&self) -> Option<(PathBuf, bool)> {
        match self.get("POLICY").map(str::trim) {
            Some("off") => None,
            Some(path) => Some((path.into(), true)),
            None => Some((self.config_dir().join("policy.toml"), false)),
        }
    }

    /// Whether a variable says what a policy file would.
    #[must_use]
    pub fn says_what_a_file_says(&self) -> bool {
        SAID_BY_FILE.iter().any(|name| self.get(name).is_some())
    }

    /// These settings without what a policy file says in their place.
    #[must_use]
    pub fn without_what_a_file_says(mut self) -> Self {
        self.written.retain(|name, _| !SAID_BY_FILE.contains(&name.as_str()));
        self
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
        self.policy.is_none() && self.get("REGISTRY").is_none() && self.get("NOTARY").is_none()
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

    /// Where the page is served; `None`: nowhere.
    pub fn web(&self) -> Result<Option<WebAddress>, PolicyFault> {
        match self.get("WEB").map(str::trim) {
            None | Some("off") => Ok(None),
            Some(written) => {
                written.parse().map(Some).map_err(|error: WebAddressError| PolicyFault::of("WEB", error.to_string()))
            }
        }
    }

    /// The posture, also where other settings are at fault. One that cannot be read was not meant to be the weaker one, or it
    /// would not have been set.
    #[must_use]
    pub fn posture(&self) -> Posture {
        if let Some(file) = &self.policy {
            return file.posture();
        }
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

    /// The age at which a file of the audit log is rotated though it is not full, where there is one. A fault is [`Settings::resolve`]'s to
    /// tell.
    #[must_use]
    pub fn audit_rotate(&self) -> Option<Duration> {
        let hours = self.rotate_hours(&mut Vec::new());
        (hours > 0).then(|| Duration::from_hours(hours))
    }

    /// Where entries of the audit log go besides its file, as far as that can be read.
    #[must_use]
    pub fn audit_sinks(&self) -> Vec<SinkSetting> {
        sinks::read(self.get("AUDIT_SINKS").unwrap_or_default()).0
    }

    /// Where it is written who is alerted of some.
    #[must_use]
    pub fn alerts(&self) -> AlertsSetting {
        match self.get("ALERTS").map(str::trim) {
            Some("off") => AlertsSetting::Off,
            Some(path) if sinks::is_path(path) => AlertsSetting::Required(path.into()),
            // A fault; nobody must try to open it, and quote it.
            Some(_) => AlertsSetting::Off,
            None => AlertsSetting::IfPresent(self.config_dir().join("alerts.toml")),
        }
    }

    /// How they are written there.
    #[must_use]
    pub fn audit_format(&self) -> SinkFormat {
        self.sink_format(&mut Vec::new())
    }

    fn sink_format(&self, faults: &mut Vec<PolicyFault>) -> SinkFormat {
        match self.get("AUDIT_FORMAT").map(str::trim) {
            None | Some("json") => SinkFormat::Json,
            Some("ecs") => SinkFormat::Ecs,
            Some("ocsf") => SinkFormat::Ocsf,
            Some(other) => {
                let message = format!("`{}` is not one of `json`, `ecs` and `ocsf`", fit(other, 40));
                faults.push(PolicyFault::of("AUDIT_FORMAT", message));
                SinkFormat::Json
            }
        }
    }

    fn rotate_hours(&self, faults: &mut Vec<PolicyFault>) -> u64 {
        self.number("AUDIT_ROTATE", "hours", 0, 0..=MAX_ROTATE, faults)
    }

    /// The place of the allowlist that `register` fills: of several in a policy file, of the first by name.
    #[must_use]
    pub fn allowlist(&self) -> AllowlistSetting {
        if self.policy.is_some() {
            let listed =
                self.resolve(false).ok().and_then(|resolved| resolved.allowlists().next().map(|(_, list)| list.file.clone()));
            return listed.map_or(AllowlistSetting::Off, AllowlistSetting::Required);
        }
        match self.get("ALLOWLIST").map(str::trim) {
            Some("off") => AllowlistSetting::Off,
            Some(path) => AllowlistSetting::Required(path.into()),
            // Who must have signed it has to: a file that is taken away does not end that.
            None if self.get("ALLOWLIST_KEY").is_some() => AllowlistSetting::Required(self.config_dir().join("allowlist.json")),
            None => AllowlistSetting::IfPresent(self.config_dir().join("allowlist.json")),
        }
    }

    /// The verifier whose list that is.
    #[must_use]
    pub fn allowlist_name(&self) -> VerifierName {
        let resolved = self.policy.is_some().then(|| self.resolve(false).ok()).flatten();
        let named = resolved.and_then(|resolved| resolved.allowlists().next().map(|(name, _)| name.clone()));
        named.unwrap_or(VerifierName::ALLOWLIST)
    }

    /// The key that must have signed that allowlist; `None`: nobody must.
    #[must_use]
    pub fn allowlist_key(&self) -> Option<Given> {
        if self.policy.is_some() {
            return self
                .resolve(false)
                .ok()
                .and_then(|resolved| resolved.allowlists().next().and_then(|(_, list)| list.key.clone()));
        }
        self.get("ALLOWLIST_KEY").map(|text| Given::Text(text.to_owned()))
    }

    /// Where figures and spans of decisions are pushed; what cannot be read is left out.
    #[must_use]
    pub fn telemetry(&self) -> TelemetrySetting {
        sinks::telemetry(self.get("TELEMETRY").unwrap_or_default()).0
    }

    /// The Notary of the variables, or `None` for `off`.
    pub(super) fn notary(&self) -> Result<Option<NotarySettings>, Vec<PolicyFault>> {
        let mut faults = Vec::new();
        let source = match notary_source(self.get("NOTARY").map_or(DEFAULT_NOTARY, str::trim)) {
            Ok(source) => source,
            Err(message) => {
                faults.push(PolicyFault::of("NOTARY", message));
                None
            }
        };
        let root_ca =
            self.get("NOTARY_ROOT_CA").map(|text| text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\'' | '"')));
        if root_ca.is_some_and(|text| !text.contains("-----BEGIN CERTIFICATE-----")) {
            let message =
                "is not a PEM certificate (-----BEGIN CERTIFICATE----- …); give the CA's certificate itself, not a path";
            faults.push(PolicyFault::of("NOTARY_ROOT_CA", message));
        }
        let pins = self.get("NOTARY_PINS").map(str::trim);
        if pins.is_some_and(|text| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(text.as_bytes()).is_err())
        {
            let message = "is not a JSON object (notary's trust_pinning block)".to_owned();
            faults.push(PolicyFault::of("NOTARY_PINS", message));
        }
        let signers = self.signers().unwrap_or_else(|found| {
            faults.extend(found);
            RequiredSigners::default()
        });
        if source.is_none() && self.get("NOTARY_SIGNERS").is_some() && faults.is_empty() {
            let message = "needs NOTARY: where it is off nobody signs".to_owned();
            faults.push(PolicyFault::of("NOTARY_SIGNERS", message));
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
            root_ca: root_ca.map(|text| Given::Text(text.to_owned())),
            pins: pins.map(|text| Given::Text(text.to_owned())),
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
        if self.policy.is_some() {
            let resolved = self.resolve(false);
            return resolved.is_ok_and(|resolved| resolved.notaries().any(|(_, notary)| notary.source == Source::Import));
        }
        self.get("NOTARY").is_some_and(|written| notary_source(written) == Ok(Some(Source::Import)))
    }

    /// Which signers must agree on an image.
    pub fn signers(&self) -> Result<RequiredSigners, Vec<PolicyFault>> {
        let fault = |error: SignersError| PolicyFault::of("NOTARY_SIGNERS", error.to_string());
        RequiredSigners::read(self.get("NOTARY_SIGNERS").unwrap_or_default())
            .map_err(|errors| errors.into_iter().map(fault).collect())
    }

    /// What the settings mean. `allowlist_present` says whether an [`AllowlistSetting::IfPresent`] file exists.
    pub fn resolve(&self, allowlist_present: bool) -> Result<Resolved, Vec<PolicyFault>> {
        match &self.policy {
            Some(file) => self.resolve_file(file).resolved,
            None => self.resolve_variables(allowlist_present),
        }
    }

    /// What the settings mean with this policy file, and what in it is most likely not meant.
    #[must_use]
    pub fn resolve_file(&self, file: &PolicyFile) -> Read {
        let mut faults = Vec::new();
        for name in SAID_BY_FILE.into_iter().filter(|name| self.get(name).is_some()) {
            let message =
                format!("is set, and `{}` says it as well: unset the variable, or remove the file", file.path().display());
            faults.push(PolicyFault::of(name, message));
        }
        let base = self.of_both(&mut faults);
        let mut read = file.read(base);
        if !faults.is_empty() {
            faults.extend(read.resolved.err().into_iter().flatten());
            read.resolved = Err(faults);
        }
        read
    }

    /// What stays a variable beside a policy file.
    fn of_both(&self, faults: &mut Vec<PolicyFault>) -> Policy {
        if !self.docker_host().starts_with("unix://") {
            let message = format!("`{}` is not unix://PATH; the gate talks to the engine's own socket only", self.docker_host());
            faults.push(PolicyFault::of("DOCKER_HOST", message));
        }
        faults.extend(self.web().err());
        self.rotate_hours(faults);
        self.sink_format(faults);
        if self.get("ALERTS").is_some_and(|alerts| alerts.trim() != "off" && !sinks::is_path(alerts)) {
            let message = "is neither `off` nor the path of a file, which begins with `/`. A webhook's address is a secret, and settings \
                           are shown: it belongs into that file";
            faults.push(PolicyFault::of("ALERTS", message));
        }
        let (_, wrong) = sinks::telemetry(self.get("TELEMETRY").unwrap_or_default());
        faults.extend(wrong.into_iter().map(|message| PolicyFault::of("TELEMETRY", message)));
        let (_, wrong) = sinks::read(self.get("AUDIT_SINKS").unwrap_or_default());
        faults.extend(wrong.into_iter().map(|message| PolicyFault::of("AUDIT_SINKS", message)));
        Policy {
            audit: self.choice("AUDIT", &[("go-on", AuditRule::GoOn), ("require", AuditRule::Require)], faults),
            http2: self.choice("HTTP2", &[("open", Http2Rule::Open), ("closed", Http2Rule::Closed)], faults),
            monitor: self.monitor(faults),
            monitor_pause: Duration::from_mins(self.number(
                "MONITOR_PAUSE",
                "minutes",
                MONITOR_PAUSE.as_secs() / 60,
                0..=MAX_PAUSE,
                faults,
            )),
            ..Policy::closed(Posture::Images)
        }
    }

    /// What becomes of containers that run unapproved.
    fn monitor(&self, faults: &mut Vec<PolicyFault>) -> MonitorRule {
        match self.get("MONITOR").map(str::trim) {
            Some("off") => MonitorRule::Off,
            None | Some("report") => MonitorRule::Report,
            Some("stop") => MonitorRule::Stop,
            Some("remove") => MonitorRule::Remove,
            Some(other) => {
                let message = format!("`{}` is not one of `off`, `report`, `stop` and `remove`", fit(other, 40));
                faults.push(PolicyFault::of("MONITOR", message));
                MonitorRule::Report
            }
        }
    }

    fn resolve_variables(&self, allowlist_present: bool) -> Result<Resolved, Vec<PolicyFault>> {
        let mut faults = Vec::new();
        let notary = self.notary().unwrap_or_else(|found| {
            faults.extend(found);
            None
        });
        let mode = self.choice("MODE", &[("enforce", Mode::Enforce), ("permissive", Mode::Permissive)], &mut faults);
        let posture = self.choice("POSTURE", &[("images", Posture::Images), ("lockdown", Posture::Lockdown)], &mut faults);
        let host_access = self.host_access(&mut faults);
        let build = self.choice("BUILD", &[("deny", BuildRule::Deny), ("allow", BuildRule::Allow)], &mut faults);
        let plugins = self.plugins(&mut faults);
        let hosts = self.registries(&mut faults);
        for unheard in notary.iter().flat_map(|notary| notary.signers.hosts()) {
            // A rule that no image can meet is a misspelt one, and its signers would be asked for nowhere.
            if !hosts.iter().any(|host| host.as_str() == unheard) {
                faults.push(PolicyFault::of("NOTARY_SIGNERS", format!("registry `{unheard}` is not in REGISTRY")));
            }
        }
        let base = self.of_both(&mut faults);
        let listed = match self.allowlist() {
            AllowlistSetting::IfPresent(path) if allowlist_present => Some(path),
            AllowlistSetting::Required(path) => Some(path),
            AllowlistSetting::IfPresent(_) | AllowlistSetting::Off => None,
        };
        let key = self.allowlist_key();
        if key.is_some() && listed.is_none() {
            let message = "is set, and ALLOWLIST is `off`: there is no list that it could sign".to_owned();
            faults.push(PolicyFault::of("ALLOWLIST_KEY", message));
        }
        if posture == Posture::Lockdown && notary.is_none() && listed.is_none() && faults.is_empty() {
            let message = "lockdown needs signatures or an allowlist; set NOTARY or ALLOWLIST, names alone are not evidence";
            faults.push(PolicyFault::of("POSTURE", message));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        // Signatures are asked about first. Where nobody signs and nobody lists, the registry is all there is.
        let mut verifiers = Vec::new();
        verifiers.extend(notary.map(|notary| (VerifierName::NOTARY, VerifierSettings::Notary(notary))));
        verifiers
            .extend(listed.map(|file| (VerifierName::ALLOWLIST, VerifierSettings::Allowlist(AllowlistSettings { file, key }))));
        if verifiers.is_empty() {
            verifiers.push((VerifierName::REGISTRY, VerifierSettings::Registry));
        }
        let require = Requirement::All(verifiers.iter().map(|(name, _)| Requirement::One(name.clone())).collect());
        let scopes = Scopes::new(hosts.iter().map(|host| Scope::of_registry(host, require.clone())).collect());
        let bindings = verifiers.iter().map(|(name, settings)| (name.clone(), settings.binding())).ordered();
        let policy = Policy { mode, posture, host_access, build, plugins, verifiers: bindings, scopes, ..base };
        Ok(Resolved { policy, verifiers: verifiers.into_iter().ordered(), users_file: None, rego: None, record: None })
    }

    fn registries(&self, faults: &mut Vec<PolicyFault>) -> Vec<Host> {
        let mut hosts: Vec<Host> = Vec::new();
        let written = self.get("REGISTRY").unwrap_or("docker.io");
        for part in written.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty()) {
            match part.parse::<Host>() {
                Ok(host) if !hosts.contains(&host) => hosts.push(host),
                Ok(_) => {}
                Err(error) => faults.push(PolicyFault::of("REGISTRY", error.to_string())),
            }
        }
        if hosts.is_empty() && faults.is_empty() {
            faults.push(PolicyFault::of("REGISTRY", "names no registry".to_owned()));
        }
        if hosts.len() > MAX_REGISTRIES {
            faults.push(PolicyFault::of("REGISTRY", format!("names more than {MAX_REGISTRIES} registries")));
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
                Err(error) => faults.push(PolicyFault::of("ALLOW_HOST_ACCESS", error.to_string())),
            }
        }
        if host_access.len() > MAX_HOST_ACCESS {
            faults.push(PolicyFault::of("ALLOW_HOST_ACCESS", format!("has more than {MAX_HOST_ACCESS} entries")));
        }
        host_access
    }

    /// The plugins that may be enabled, each with its digest.
    fn plugins(&self, faults: &mut Vec<PolicyFault>) -> Vec<Reference> {
        let written = self.get("ALLOW_PLUGINS").unwrap_or_default();
        let mut plugins = Vec::new();
        for part in written.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty()) {
            match plugin(part) {
                Ok(plugin) => plugins.push(plugin),
                Err(message) => faults.push(PolicyFault::of("ALLOW_PLUGINS", message)),
            }
        }
        if plugins.len() > MAX_PLUGINS {
            faults.push(PolicyFault::of("ALLOW_PLUGINS", format!("names more than {MAX_PLUGINS} plugins")));
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
                faults.push(PolicyFault::of(key, message));
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
                faults.push(PolicyFault::of(key, format!("`{written}` is neither {names}")));
                *default
            }
        }
    }
}
