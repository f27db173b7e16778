//! A policy that is being put together, and what could not go into it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Format, ImportError, Imported, LeftOut};
use crate::image::Host;
use crate::policy::file::{list, quoted};
use crate::policy::resolved::{FRESHNESS, Given, NotarySettings, Resolved, STALE_LIMIT, VerifierSettings};
use crate::policy::scope::{Pattern, Requirement, Scope, Scopes};
use crate::policy::users::GroupSetting;
use crate::policy::{Mode, Policy, PolicyFile, Posture};
use crate::text::fit;
use crate::trust::VerifierName;
use crate::trust::notary::{OnOutage, RequiredSigners, Source};

/// Most patterns of one scope, as the policy file has it; most scopes; most things that are listed as left out.
const PATTERNS: usize = 256;
const SCOPES: usize = 10_000;
const LEFT_OUT: usize = 10_000;
/// Longest piece of a verifier's name that comes from the source, so that a number fits behind it.
const NAME: usize = 34;
/// Docker Hub's Notary has a host of its own; other registries are asked themselves, as docker's client does.
const HUB_NOTARY: &str = "https://notary.docker.io";
/// Longest place, and longest reason, in characters. Foreign text in them is escaped, so that neither ends a comment.
const PLACE: usize = 200;
const WHY: usize = 320;

/// The policy so far.
pub(super) struct Draft {
    resolved: Resolved,
    scopes: Vec<Scope>,
    patterns: BTreeSet<String>,
    users: String,
    files: Vec<(&'static str, String)>,
    left_out: Vec<LeftOut>,
}

impl Default for Draft {
    fn default() -> Self {
        let policy = Policy::closed(Posture::Images);
        let resolved = Resolved { policy, verifiers: BTreeMap::new(), users_file: None, rego: None, record: None };
        Self {
            resolved,
            scopes: Vec::new(),
            patterns: BTreeSet::new(),
            users: String::new(),
            files: Vec::new(),
            left_out: Vec::new(),
        }
    }
}

impl Draft {
    /// Lists what is not in the policy, or not as it was.
    pub(super) fn leave_out(&mut self, place: impl Into<String>, why: impl Into<String>) {
        if self.left_out.len() < LEFT_OUT {
            self.left_out.push(LeftOut { place: fit(&place.into(), PLACE), why: fit(&why.into(), WHY) });
        }
    }

    pub(super) const fn permissive(&mut self) {
        self.resolved.policy.mode = Mode::Permissive;
    }

    /// A file that the policy names.
    pub(super) fn file(&mut self, name: &'static str, content: String) {
        self.files.push((name, content));
    }

    /// These patterns refuse.
    pub(super) fn refuse(&mut self, patterns: impl IntoIterator<Item = Pattern>) {
        self.scopes(patterns, &Requirement::nobody());
    }

    /// In these patterns this is required. What is there already stays as it is: who adds the same twice says so first.
    pub(super) fn scopes(&mut self, patterns: impl IntoIterator<Item = Pattern>, require: &Requirement) {
        let new: Vec<Pattern> =
            patterns.into_iter().filter(|pattern| self.patterns.insert(pattern.as_str().to_owned())).collect();
        for some in new.chunks(PATTERNS) {
            self.scopes.push(Scope::of_patterns(some.to_vec(), require.clone()));
        }
    }

    /// A verifier of a name like this one.
    pub(super) fn verifier(&mut self, like: &str, settings: VerifierSettings) -> VerifierName {
        let lower = like.to_ascii_lowercase();
        let word: String =
            lower.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).take(NAME).collect();
        let word = if word.starts_with(|first: char| first.is_ascii_lowercase()) { word } else { format!("v-{word}") };
        let is_like = |name: &VerifierName| {
            name.as_str().strip_prefix(word.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        if let Some((name, _)) = self.resolved.verifiers.iter().find(|(name, known)| **known == settings && is_like(name)) {
            return name.clone();
        }
        let numbered = (1..).map(|number: usize| if number == 1 { word.clone() } else { format!("{word}-{number}") });
        let free = numbered.filter_map(|name| name.parse().ok()).find(|name| !self.resolved.verifiers.contains_key(name));
        let name = free.unwrap_or(VerifierName::NOTARY);
        self.resolved.verifiers.insert(name.clone(), settings);
        name
    }

    pub(super) fn groups(&mut self, groups: &[GroupSetting]) {
        for group in groups {
            let texts = |texts: &[String]| list(texts.iter().cloned());
            self.users.push_str("\n[[users.group]]\n");
            self.users.push_str(&format!("name = {}\n", quoted(&group.name)));
            self.users.push_str(&format!("users = {}\n", texts(&group.users)));
            self.users.push_str(&format!("actions = {}\n", texts(&group.actions)));
            if group.read_only {
                self.users.push_str("read_only = true\n");
            }
        }
    }

    pub(super) fn users_file(&mut self, name: &'static str, content: String) {
        self.users.push_str(&format!("\n[users]\nfile = {}\n", quoted(name)));
        self.file(name, content);
    }

    /// Takes the place of all that was said of images.
    pub(super) fn replace(&mut self, resolved: Resolved) {
        self.scopes = resolved.policy.scopes.iter().cloned().collect();
        self.resolved = resolved;
    }

    pub(super) const fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// The text, held against the reader of policy files.
    pub(super) fn finish(mut self, format: Format) -> Result<Imported, ImportError> {
        if self.scopes.len() > SCOPES {
            return Err(ImportError::TooLarge);
        }
        self.resolved.policy.scopes = Scopes::new(self.scopes);
        let mut policy = String::from("# Made by `img-authz policy import`. What could not be carried over is refused:\n");
        if self.left_out.is_empty() {
            policy = String::from("# Made by `img-authz policy import`. Everything was carried over.\n");
        }
        for left_out in &self.left_out {
            policy.push_str(&format!("# - {left_out}\n"));
        }
        policy.push_str(&self.resolved.to_toml());
        policy.push_str(&self.users);
        if policy.len() as u64 > super::POLICY_BYTES {
            return Err(ImportError::TooLarge);
        }
        let read = PolicyFile(vec![("policy.toml".into(), policy.clone())]).read(Policy::closed(Posture::Images));
        if let Err(faults) = read.resolved {
            return Err(ImportError::Faulty(faults.first().map(ToString::to_string).unwrap_or_default()));
        }
        Ok(Imported { format, policy, files: self.files, left_out: self.left_out })
    }
}

/// The Notary of a registry, as docker's client finds it.
pub(super) fn notary_of(host: &Host) -> String {
    if host.is_docker_hub() { HUB_NOTARY.to_owned() } else { format!("https://{host}") }
}

/// A Notary with nothing said of it but where it is.
pub(super) fn notary(server: String) -> NotarySettings {
    NotarySettings {
        source: Source::Server(server),
        root_ca: None,
        pins: None,
        signers: RequiredSigners::default(),
        freshness: Duration::from_secs(FRESHNESS),
        on_outage: OnOutage::default(),
        stale_limit: Duration::from_hours(STALE_LIMIT),
    }
}

/// A file beside the policy.
pub(super) fn beside(name: &str) -> Given {
    Given::File(name.into())
}
