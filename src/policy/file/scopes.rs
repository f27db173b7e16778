//! `[[scope]]`: a part of the name space of images, and who must vouch there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::rules::HostRules;
use super::table::Value;
use crate::policy::Mode;
use crate::policy::fault::{PolicyFault, Position, nearest};
use crate::policy::resolved::VerifierSettings;
use crate::policy::scope::{Origin, Part, Pattern, Requirement, Scope};
use crate::text::fit;
use crate::trust::VerifierName;
use crate::trust::sigstore::Identity;

/// Most patterns of one scope, members of one `all` or `any`, and how deep these nest.
const PATTERNS: usize = 256;
const MEMBERS: usize = 64;
const DEPTH: usize = 8;
/// Longest name of a scope, in characters. It goes into messages and the audit log.
const NAME_CHARS: usize = 80;

/// Reads one.
pub(super) fn read(value: &Value<'_>, of_host: &HostRules) -> Option<Scope> {
    let section = value.section()?;
    let matched = section.required("match").and_then(|value| value.list_or_one(PATTERNS));
    if matched.as_ref().is_some_and(Vec::is_empty) {
        section.fault("matches nothing: `match` is an empty list");
    }
    let patterns: Vec<Pattern> = matched.unwrap_or_default().iter().filter_map(Value::parsed).collect();
    let require = match section.get("refuse") {
        Some(refuse) => refusal(&refuse, section.get("require").as_ref()),
        None => section.required("require").and_then(|value| requirement(&value, DEPTH)),
    };
    let name = section.get("name").and_then(|value| {
        let name = value.text()?;
        let is_clean =
            name.chars().count() <= NAME_CHARS && name.chars().all(|letter| letter.is_ascii_graphic() || letter == ' ');
        if !is_clean {
            value.fault(format!("is made of printable ASCII characters, at most {NAME_CHARS}"));
        }
        is_clean.then(|| name.to_owned())
    });
    let modes = [("enforce", Mode::Enforce), ("permissive", Mode::Permissive)];
    let mode = section.get("mode").and_then(|value| value.choice(&modes)).unwrap_or(Mode::Enforce);
    let origin = section.get("origin").and_then(|value| origin(&value, &patterns));
    let (rules, create_rules) = match section.get("rules") {
        Some(value) => {
            let mut said = of_host.said.clone();
            said.read(&value);
            (Arc::new(said.rules()), Arc::new(said.create_rules()))
        }
        None => (Arc::clone(&of_host.rules), Arc::clone(&of_host.create_rules)),
    };
    let position = section.position();
    section.finish();
    Some(Scope { name, patterns, require: require?, mode, origin, rules, create_rules, position: Some(position) })
        .filter(|scope| !scope.patterns.is_empty())
}

/// `refuse = true`, in place of `require`. `false` would say nothing, and could be taken for "anything passes".
fn refusal(value: &Value<'_>, require: Option<&Value<'_>>) -> Option<Requirement> {
    match (value.truth()?, require) {
        (true, None) => return Some(Requirement::nobody()),
        (true, Some(_)) => value.fault("stands beside `require`: a scope that refuses asks nobody"),
        (false, _) => value.fault("is `true` or not there; who must vouch is said by `require`"),
    }
    None
}

/// The folder in whose place the mirror's stands.
fn origin(value: &Value<'_>, patterns: &[Pattern]) -> Option<Origin> {
    let folder = value.text()?;
    // A folder is written as a pattern for all that lies in it.
    let written: Pattern = match format!("{folder}/**").parse() {
        Ok(pattern) => pattern,
        Err(error) => {
            value.fault(format!("`{}` is not a folder of repositories: {error}", fit(folder, 80)));
            return None;
        }
    };
    let [mirror] = patterns else {
        value.fault("needs `match` to be one pattern that ends in /**");
        return None;
    };
    let of = Origin::new(mirror, written.as_str().trim_end_matches("/**")).filter(|_| !folder.contains('*'));
    if of.is_none() {
        value.fault("needs `match` to end in /**, with no other `*` in it, and has no `*` itself");
    }
    of
}

/// `"NAME"`, `{ all = [...] }` or `{ any = [...] }`.
fn requirement(value: &Value<'_>, depth: usize) -> Option<Requirement> {
    if value.is_text() {
        return value.parsed().map(Requirement::One);
    }
    let Some(depth) = depth.checked_sub(1) else {
        value.fault(format!("nests more than {DEPTH} deep"));
        return None;
    };
    if value.is_list() {
        value.fault("is a list; write { all = [...] } or { any = [...] }");
        return None;
    }
    let section = value.section()?;
    let parts = |value: &Value<'_>| {
        let values = value.list(MEMBERS)?;
        if values.is_empty() {
            value.fault("is empty: nobody would vouch. For the registry's own word, name a verifier of type `registry`");
        }
        values.iter().map(|value| requirement(value, depth)).collect::<Option<Vec<_>>>().filter(|parts| !parts.is_empty())
    };
    let found = match (section.get("all"), section.get("any")) {
        (Some(all), None) => parts(&all).map(Requirement::All),
        (None, Some(any)) => parts(&any).map(Requirement::Any),
        (Some(_), Some(_)) => {
            section.fault("has `all` and `any` in one table; nest one in the other");
            None
        }
        (None, None) => {
            section.fault("is neither a verifier's name, nor { all = [...] }, nor { any = [...] }");
            None
        }
    };
    section.finish();
    found
}

/// What the scopes of all files together have wrong, and what is most likely not meant.
pub(super) fn check(
    scopes: &[Scope],
    verifiers: &BTreeMap<VerifierName, (VerifierSettings, Position)>,
    called: &BTreeSet<VerifierName>,
    warnings: &mut Vec<PolicyFault>,
) -> Vec<PolicyFault> {
    let mut faults = ties(scopes);
    let mut names: HashMap<&str, &Scope> = HashMap::new();
    for scope in scopes {
        if let Some(name) = &scope.name
            && let Some(earlier) = names.insert(name, scope)
        {
            faults.push(at(scope, "scope.name", format!("`{name}` is the name of another scope, in {}", place(earlier))));
        }
        for name in scope.require.verifiers().into_iter().filter(|name| !called.contains(name)) {
            let meant = nearest(name.as_str(), called.iter().map(VerifierName::as_str));
            let meant = meant.map(|meant| format!("; `{meant}` was meant?")).unwrap_or_default();
            faults.push(at(scope, "scope.require", format!("there is no verifier `{name}`{meant}")));
        }
    }
    for scope in scopes.iter().filter(|scope| scope.mode == Mode::Permissive) {
        let message = "is permissive: whatever its registry holds may run, and refusals are only recorded";
        warnings.push(at(scope, "scope.mode", message.to_owned()));
    }
    let is_evidence = |settings: &VerifierSettings| {
        *settings == VerifierSettings::Registry && scopes.iter().any(|scope| scope.mode == Mode::Permissive)
    };
    for (name, (settings, position)) in verifiers {
        if !is_evidence(settings) && !scopes.iter().any(|scope| scope.require.verifiers().contains(&name)) {
            let warning = PolicyFault::of(format!("verifiers.{name}"), "no scope requires it: it is never asked");
            warnings.push(warning.at(position.clone()));
        }
        if let VerifierSettings::Cosign(cosign) = settings {
            for warning in cosign.identities.iter().filter_map(Identity::warning) {
                warnings.push(PolicyFault::of(format!("verifiers.{name}.identities"), warning).at(position.clone()));
            }
        }
    }
    if scopes.is_empty() && faults.is_empty() {
        warnings.push(PolicyFault::of("scope", "there is none: every image is refused"));
    }
    faults
}

/// Most patterns in one folder with a star among the letters of a part: each is compared with each.
const ALIKE: usize = 1_000;

fn ties(scopes: &[Scope]) -> Vec<PolicyFault> {
    let mut faults = Vec::new();
    let mut same: HashMap<&str, &Scope> = HashMap::new();
    let mut alike: HashMap<&[Part], Vec<(&Pattern, &Scope)>> = HashMap::new();
    for scope in scopes {
        let fault = |message: String| at(scope, "scope.match", message);
        for pattern in &scope.patterns {
            if let Some(first) = same.insert(pattern.as_str(), scope) {
                faults.push(fault(format!("`{pattern}` is there already, in {}", place(first))));
                continue;
            }
            let Some(key) = pattern.tie_key() else { continue };
            let earlier = alike.entry(key).or_default();
            if earlier.len() >= ALIKE {
                faults.push(fault(format!("there are more than {ALIKE} patterns like `{pattern}` beside each other")));
                return faults;
            }
            if let Some((other, first)) = earlier.iter().find(|(other, _)| other.ties_with(pattern)) {
                faults.push(fault(format!(
                    "`{pattern}` and `{other}` ({}) are equally specific and can match one name; write one out further",
                    place(first)
                )));
            }
            earlier.push((pattern, scope));
        }
    }
    faults
}

fn place(scope: &Scope) -> String {
    scope.position.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn at(scope: &Scope, key: &'static str, message: String) -> PolicyFault {
    let fault = PolicyFault::of(key, message);
    match &scope.position {
        Some(position) => fault.at(position.clone()),
        None => fault,
    }
}
