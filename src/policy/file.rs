//! The policy file: text to [`Resolved`], with everything that is wrong at once, each fault with file, line and key (docs/policy.md).

mod attestations;
mod cases;
mod exceptions;
mod rules;
mod scopes;
mod table;
mod users;
mod verifiers;
mod write;

use crate::order::Ordered as _;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

pub use self::cases::{
    Answered, Asks, CASE_BYTES, Case, CaseConfig, CaseImage, CaseVouch, Expected, Made, Recorded, Seen, When, members, recorded,
    written,
};
use self::rules::HostRules;
use self::table::{Section, Source, Value};
pub(super) use self::verifiers::lines as verifier_lines;
pub(super) use self::write::{list, quoted};
use super::exceptions::HostAccessRule;
use super::fault::{PolicyFault, Position};
use super::lifted::{EXCEPTIONS, Exception, Exceptions, PATTERNS, without_effect};
use super::resolved::{RegoSettings, Resolved, VerifierSettings, plugin};
use super::scope::{Scope, Scopes};
use super::users::Users;
use super::{BuildRule, Mode, Policy, Posture};
use crate::image::{Digest, Reference};
use crate::trust::VerifierName;

/// The one version of the format.
const VERSION: u64 = 1;
/// Most bytes of all files of a policy together.
pub const POLICY_BYTES: u64 = 1 << 20;
/// Most files in `policy.d`.
pub const FURTHER_FILES: usize = 64;
/// Most scopes, and most verifiers, of a policy.
const SCOPES: usize = 10_000;
const VERIFIERS: usize = 256;
/// Most files in Rego, and most queries; and the query where none is written, as opa-docker-authz has it.
const REGO_FILES: usize = 64;
const REGO_QUERIES: usize = 16;
const REGO_QUERY: &str = "data.docker.authz.allow";
/// Most ways to the host opened, and plugins named, one by one.
const LISTED: usize = 256;

/// The files of a policy as they were read: `policy.toml` first, then those of `policy.d`. Kept as text, so that the last good ones can
/// be kept across restarts.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PolicyFile(pub Vec<(PathBuf, String)>);

impl fmt::Debug for PolicyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(path, text)| (path, text.len()))).finish()
    }
}

/// What a policy file says.
#[derive(Debug)]
pub struct Read {
    /// What it means; or everything that is wrong with it.
    pub resolved: Result<Resolved, Vec<PolicyFault>>,
    /// What is not wrong and most likely not meant.
    pub warnings: Vec<PolicyFault>,
}

/// What is gathered from the files.
#[derive(Default)]
struct Gathered {
    verifiers: BTreeMap<VerifierName, (VerifierSettings, Position)>,
    /// All that verifiers are called, the faulty ones too: who requires one of these has nothing wrong.
    called: BTreeSet<VerifierName>,
    scopes: Vec<Scope>,
    exceptions: Vec<Exception>,
    /// Where they stand, by their ids.
    excepted: BTreeMap<String, Position>,
    rules: HostRules,
    mode: Option<Mode>,
    posture: Option<(Posture, Position)>,
    build: Option<BuildRule>,
    host_access: Vec<HostAccessRule>,
    plugins: Vec<Reference>,
    users: Option<users::Written>,
    rego: Option<RegoSettings>,
    record: Option<PathBuf>,
}

impl PolicyFile {
    /// The path of `policy.toml`.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.first().map_or(Path::new("policy.toml"), |(path, _)| path)
    }

    /// The keys at the top of such a file; `None`: it is not TOML.
    #[must_use]
    pub fn top_keys(text: &str) -> Option<Vec<String>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        errors.is_empty().then(|| table.get_ref().keys().map(|key| key.get_ref().to_string()).collect())
    }

    /// What tells this policy's text from any other's.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut all = Vec::new();
        for (path, text) in &self.0 {
            // Lengths in front, so that no two lists of files read alike.
            let path = path.as_os_str().as_encoded_bytes();
            all.extend((path.len() as u64).to_be_bytes());
            all.extend(path);
            all.extend((text.len() as u64).to_be_bytes());
            all.extend(text.as_bytes());
        }
        Digest::of(&all)
    }

    /// The same files by the paths that `of` makes of theirs.
    #[must_use]
    pub fn seen(&self, of: impl Fn(&str) -> PathBuf) -> Self {
        Self(self.0.iter().map(|(path, text)| (path.to_str().map_or_else(|| path.clone(), &of), text.clone())).collect())
    }

    /// Reads the files. What else the gate has to be told, and is a variable, stands in `base`.
    #[must_use]
    pub fn read(&self, base: Policy) -> Read {
        let mut gathered = Gathered::default();
        let mut faults = Vec::new();
        if self.0.iter().map(|(_, text)| text.len() as u64).sum::<u64>() > POLICY_BYTES {
            faults.push(PolicyFault::of("", format!("the files of the policy have more than {POLICY_BYTES} bytes")));
            return Read { resolved: Err(faults), warnings: Vec::new() };
        }
        for (number, (path, text)) in self.0.iter().enumerate() {
            let source = Source::new(path, text);
            let (table, errors) = DeTable::parse_recoverable(text);
            for error in &errors {
                source.fault("", error.span().map_or(0, |span| span.start), format!("is not TOML: {}", error.message()));
            }
            // What could not be read as TOML would be told again as keys that are missing.
            if errors.is_empty() {
                let top = Section::new(&source, String::new(), table.get_ref(), &table.span());
                gathered.gather(top, number == 0);
            }
            faults.extend(source.into_faults());
        }
        let mut warnings = Vec::new();
        let users = match gathered.users.take() {
            Some(users::Written::Groups(groups)) => match users::resolve(groups, &gathered.scopes, &mut warnings) {
                Ok(users) => Some(Ok(users)),
                Err(found) => {
                    faults.extend(found);
                    None
                }
            },
            Some(users::Written::File(path)) => Some(Err(path)),
            None => None,
        };
        faults.extend(attestations::check(&gathered.verifiers, |name| gathered.called.contains(name)));
        let is_read = faults.is_empty();
        faults.extend(scopes::check(&gathered.scopes, &gathered.verifiers, &gathered.called, &mut warnings));
        if !is_read {
            // What could not be read would be told again as what is missing.
            warnings.clear();
        }
        let resolved = if faults.is_empty() { gathered.resolve(base, users) } else { Err(faults) };
        if let Ok(resolved) = &resolved {
            warnings.extend(without_effect(&resolved.policy));
        }
        Read { resolved, warnings }
    }

    /// Whether it says who may do what, also where it is at fault: a section for users, or rules of the operator's own.
    #[must_use]
    pub fn gives_rights(&self) -> bool {
        self.0.iter().any(|(_, text)| {
            let (table, errors) = DeTable::parse_recoverable(text);
            // What is not TOML may say anything.
            !errors.is_empty() || table.get_ref().keys().any(|key| matches!(key.get_ref().as_ref(), "users" | "rego"))
        })
    }

    /// The posture, also where other parts are at fault. One that cannot be read was not meant to be the weaker one, or it would not
    /// have been written.
    #[must_use]
    pub fn posture(&self) -> Posture {
        let of = |text: &String| {
            let (table, errors) = DeTable::parse_recoverable(text);
            let written = table.get_ref().iter().find(|(key, _)| key.get_ref() == "posture").map(|(_, value)| value.get_ref());
            match written {
                Some(value) => value.as_str() != Some("images"),
                None => !errors.is_empty() && text.contains("lockdown"),
            }
        };
        let is_lockdown = self.0.first().is_some_and(|(_, text)| of(text));
        if is_lockdown { Posture::Lockdown } else { Posture::Images }
    }
}

impl Gathered {
    /// Reads one file. What is said once for the host is said in the first.
    fn gather(&mut self, top: Section<'_>, is_first: bool) {
        if let Some(version) = top.required("version")
            && version.whole_number() != Some(VERSION)
        {
            let quotes = if version.is_text() { ", without quotes" } else { "" };
            version.fault(format!("is not {VERSION}{quotes}: the version that this gate reads"));
        }
        if let Some(verifiers) = top.get("verifiers").and_then(|value| value.section()) {
            for (name, value) in verifiers.entries() {
                if self.verifiers.len() >= VERIFIERS {
                    value.fault(format!("there are more than {VERIFIERS} verifiers"));
                    break;
                }
                self.called.extend(name.parse::<VerifierName>());
                verifiers::read(name, &value, &mut self.verifiers);
            }
        }
        // What is said for the host stands below what scopes say of themselves.
        if is_first && let Some(value) = top.get("rules") {
            self.rules = HostRules::read(&value);
        }
        for value in top.get("scope").and_then(|value| value.list(SCOPES)).unwrap_or_default() {
            if self.scopes.len() >= SCOPES {
                value.fault(format!("there are more than {SCOPES} scopes"));
                break;
            }
            self.scopes.extend(scopes::read(&value, &self.rules));
        }
        for value in top.get("exception").and_then(|value| value.list(EXCEPTIONS)).unwrap_or_default() {
            let Some(exception) = exceptions::read(&value) else { continue };
            if self.exceptions.len() >= EXCEPTIONS {
                value.fault(format!("there are more than {EXCEPTIONS} exceptions"));
                break;
            }
            let patterns: usize = self.exceptions.iter().map(Exception::patterns).sum();
            if patterns + exception.patterns() > PATTERNS {
                value.fault(format!("the exceptions have more than {PATTERNS} patterns together"));
                break;
            }
            match self.excepted.entry(exception.id()) {
                Entry::Occupied(same) => value.fault(format!("is there already, in {}", same.get())),
                Entry::Vacant(free) => {
                    free.insert(value.position());
                    self.exceptions.push(exception);
                }
            }
        }
        if is_first {
            self.gather_once(&top);
        } else {
            for key in [
                "mode",
                "posture",
                "build",
                "allow_host_access",
                "allow_plugins",
                "environment",
                "users",
                "rego",
                "rules",
                "record",
            ] {
                if let Some(value) = top.get(key) {
                    value.fault("is said for the whole host: it belongs into policy.toml");
                }
            }
        }
        top.finish();
    }

    fn gather_once(&mut self, top: &Section<'_>) {
        let mode = [("enforce", Mode::Enforce), ("permissive", Mode::Permissive)];
        self.mode = top.get("mode").and_then(|value| value.choice(&mode));
        let posture = [("images", Posture::Images), ("lockdown", Posture::Lockdown)];
        self.posture = top.get("posture").and_then(|value| Some((value.choice(&posture)?, value.position())));
        let build = [("deny", BuildRule::Deny), ("allow", BuildRule::Allow)];
        self.build = top.get("build").and_then(|value| value.choice(&build));
        let listed = |key| top.get(key).and_then(|value| value.list(LISTED)).unwrap_or_default();
        self.host_access = listed("allow_host_access").iter().filter_map(Value::parsed).collect();
        let plugin_of = |value: &Value<'_>| plugin(value.text()?).map_err(|message| value.fault(message)).ok();
        self.plugins = listed("allow_plugins").iter().filter_map(plugin_of).collect();
        let environment = top.get("environment").and_then(|value| value.text()).unwrap_or_default().to_owned();
        self.rego = top.get("rego").and_then(|value| value.section()).map(|section| rego(section, environment));
        self.users = top.get("users").and_then(|value| value.section()).and_then(users::read);
        self.record = top.get("record").and_then(|value| value.path());
    }

    /// `users`: the groups, or the file that says who may do what.
    fn resolve(self, base: Policy, users: Option<Result<Users, PathBuf>>) -> Result<Resolved, Vec<PolicyFault>> {
        let mut verifiers: BTreeMap<_, _> = self.verifiers.into_iter().map(|(name, (settings, _))| (name, settings)).ordered();
        if let Some(permissive) = self.scopes.iter().find(|scope| scope.mode == Mode::Permissive) {
            has_evidence(permissive, &mut verifiers)?;
        }
        let policy = Policy {
            mode: self.mode.unwrap_or(Mode::Enforce),
            posture: self.posture.as_ref().map_or(Posture::Images, |(posture, _)| *posture),
            build: self.build.unwrap_or(BuildRule::Deny),
            host_access: self.host_access,
            plugins: self.plugins,
            verifiers: verifiers.iter().map(|(name, settings)| (name.clone(), settings.binding())).ordered(),
            scopes: Scopes::new(self.scopes),
            exceptions: Box::new(Exceptions::new(self.exceptions)),
            users: users.as_ref().and_then(|users| users.as_ref().ok()).map(|users| Arc::new(users.clone())),
            ..base
        };
        if policy.posture == Posture::Lockdown
            && let Some(permissive) = policy.scopes.iter().find(|scope| scope.mode == Mode::Permissive)
        {
            let message = format!("posture lockdown refuses scope `{}`: whatever its registry holds may run", permissive.label());
            let fault = PolicyFault::of("scope.mode", message);
            return Err(vec![permissive.position.iter().cloned().fold(fault, PolicyFault::at)]);
        }
        if policy.posture == Posture::Lockdown
            && let Some(weak) = policy.weak_scopes().next()
        {
            let at = weak.position.as_ref().map(|position| format!(" ({position})")).unwrap_or_default();
            let message = format!(
                "lockdown needs signatures or an allowlist: in scope `{}`{at} the registry's word is enough",
                weak.label()
            );
            let fault = PolicyFault::of("posture", message);
            return Err(vec![match self.posture {
                Some((_, position)) => fault.at(position),
                None => fault,
            }]);
        }
        Ok(Resolved { policy, verifiers, users_file: users.and_then(Result::err), rego: self.rego, record: self.record })
    }
}

/// A permissive scope needs a verifier of type `registry`, which says whether content lies there: it is there, or is added.
fn has_evidence(scope: &Scope, verifiers: &mut BTreeMap<VerifierName, VerifierSettings>) -> Result<(), Vec<PolicyFault>> {
    if verifiers.values().any(|settings| *settings == VerifierSettings::Registry) {
        return Ok(());
    }
    if verifiers.contains_key(&VerifierName::REGISTRY) {
        let message =
            "a permissive scope asks the registry, and another verifier is called `registry`: add one of type `registry`";
        let fault = PolicyFault::of("scope.mode", message);
        return Err(vec![scope.position.iter().cloned().fold(fault, PolicyFault::at)]);
    }
    verifiers.insert(VerifierName::REGISTRY, VerifierSettings::Registry);
    Ok(())
}

/// `[rego]`: rules of the operator's own, and which of them must be true.
fn rego(section: Section<'_>, environment: String) -> RegoSettings {
    let files = section.required("files").and_then(|value| value.list_or_one(REGO_FILES)).unwrap_or_default();
    let files: Vec<PathBuf> = files.iter().filter_map(Value::path).collect();
    let queries = match section.get("query") {
        Some(value) => {
            value.list_or_one(REGO_QUERIES).unwrap_or_default().iter().filter_map(Value::text).map(str::to_owned).collect()
        }
        None => vec![REGO_QUERY.to_owned()],
    };
    if files.is_empty() || queries.is_empty() {
        section.fault("needs at least one file, and one query");
    }
    section.finish();
    RegoSettings { files, queries, environment }
}

#[cfg(test)]
mod tests;
