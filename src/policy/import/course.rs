//! The course's trust policy: signers, each with the repositories in which their word is enough.

use crate::order::Ordered as _;
use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Draft, notary, notary_of};
use super::json::Json;
use super::{ImportError, form, shown};
use crate::image::Host;
use crate::policy::resolved::{VerifierSettings, notary_source};
use crate::policy::scope::{Pattern, PatternError, Requirement};
use crate::trust::VerifierName;
use crate::trust::notary::{RequiredSigners, Source, signer};
use crate::trust::tuf::RoleName;

/// Most keys of a signer, and most signers of one scope, as the policy file has them.
const KEYS: usize = 16;
const MEMBERS: usize = 64;

/// A signer, and where their word is enough.
struct Signer<'j> {
    name: &'j str,
    roles: Vec<RoleName>,
    patterns: Vec<Pattern>,
}

pub(super) fn read(json: &Json, server: Option<&str>, draft: &mut Draft) -> Result<(), ImportError> {
    json.object("the file", &["version", "trust"])?;
    if json.get("version").map(|version| version.text("version")).transpose()? != Some("1.0") {
        return Err(form("version", "is not \"1.0\""));
    }
    let server = match server.map(notary_source) {
        None => None,
        Some(Ok(Some(Source::Server(server)))) => Some(server),
        Some(Ok(Some(Source::Import) | None)) => return Err(form("--server", "is not https://host:port")),
        Some(Err(message)) => return Err(form("--server", message)),
    };
    let trust = json.get("trust").ok_or_else(|| form("trust", "is missing"))?;
    trust.object("trust", &["enabled", "signers"])?;
    let enabled = trust.get("enabled").ok_or_else(|| form("trust.enabled", "is missing"))?.truth("trust.enabled")?;
    if !enabled {
        draft.permissive();
    }
    let mut signers = Vec::new();
    for (name, value) in trust.get("signers").ok_or_else(|| form("trust.signers", "is missing"))?.members("trust.signers")? {
        signers.extend(one(name, value, draft)?);
    }
    if server.is_none() && !signers.is_empty() {
        draft.leave_out(
            "trust.signers",
            "no server is named: the Notary of each registry is asked, as docker does; --server URL names another one",
        );
    }
    let patterns: BTreeMap<&str, &Pattern> =
        signers.iter().flat_map(|signer| &signer.patterns).map(|pattern| (pattern.as_str(), pattern)).ordered();
    let mut taken: Vec<Pattern> = Vec::new();
    for pattern in patterns.into_values() {
        let place = format!("trust.signers, {}", shown(pattern.as_str()));
        if taken.iter().any(|other| other.ties_with(pattern)) {
            draft.leave_out(place, "matches names that another glob matches, and neither is the narrower one: it is left out");
            continue;
        }
        taken.push(pattern.clone());
        let Some(server) = server.clone().or_else(|| pattern.registry().map(|host: Host| notary_of(&host))) else {
            draft.leave_out(place, "is about every registry, and no server is named: --server URL; it is left out");
            continue;
        };
        let enough: BTreeSet<VerifierName> = signers
            .iter()
            .filter(|signer| signer.patterns.iter().any(|wider| covers(wider, pattern)))
            .map(|signer| {
                let mut settings = notary(server.clone());
                settings.signers = RequiredSigners::everywhere(signer.roles.clone());
                draft.verifier(signer.name, VerifierSettings::Notary(settings))
            })
            .ordered();
        if enough.len() > MEMBERS {
            draft.leave_out(place, format!("has more than {MEMBERS} signers; it takes the first {MEMBERS} by name"));
        }
        let any: Vec<Requirement> = enough.into_iter().take(MEMBERS).map(Requirement::One).collect();
        draft.scopes([pattern.clone()], &Requirement::Any(any));
    }
    Ok(())
}

fn one<'j>(name: &'j str, value: &Json, draft: &mut Draft) -> Result<Option<Signer<'j>>, ImportError> {
    let place = format!("trust.signers.\"{name}\"");
    value.object(&place, &["keys", "repos"])?;
    let keys = value.get("keys").ok_or_else(|| form(&place, "`keys` is missing"))?.texts(&place)?;
    let repos = value.get("repos").ok_or_else(|| form(&place, "`repos` is missing"))?.texts(&place)?;
    let mut roles: Vec<RoleName> = Vec::new();
    for key in &keys {
        match signer(key.strip_prefix("targets/").unwrap_or(key)) {
            Ok(role) if roles.contains(&role) => {}
            Ok(role) => roles.push(role),
            Err(error) => {
                draft.leave_out(place, format!("is left out, and vouches for nothing: {error}"));
                return Ok(None);
            }
        }
    }
    if roles.is_empty() || roles.len() > KEYS {
        draft.leave_out(place, format!("is left out, and vouches for nothing: it has no key, or more than {KEYS}"));
        return Ok(None);
    }
    if roles.len() > 1 {
        draft.leave_out(&place, "has several keys: all of them must have signed, as the source does not say that one is enough");
    }
    let mut patterns = Vec::new();
    for repo in repos {
        match glob(repo) {
            Ok(pattern) => patterns.push(pattern),
            Err(why) => draft.leave_out(format!("{place}.repos"), format!("{}: {why}; it is left out", shown(repo))),
        }
    }
    Ok(Some(Signer { name, roles, patterns }))
}

/// A glob over references in which `*` stands for slashes as well.
fn glob(repo: &str) -> Result<Pattern, String> {
    let folder = repo.strip_suffix('*').map(|before| before.strip_suffix('/').ok_or(before));
    let written = match folder {
        None if !repo.contains('*') => repo.to_owned(),
        Some(Err("")) => "**".to_owned(),
        // A registry, or a folder of Docker Hub: neither is a repository itself.
        Some(Ok(folder)) if !folder.contains(['*', '/']) && !folder.is_empty() => format!("{folder}/**"),
        // `team/**` would be `team` too.
        Some(Ok(folder)) if !folder.contains('*') && !folder.is_empty() => format!("{folder}/*/**"),
        // `team-*` is also what lies below.
        Some(Err(before)) if !before.contains('*') && before.contains('/') => format!("{before}*/**"),
        None | Some(_) => {
            return Err("is not a repository, nor a folder or the beginning of a name with `*` behind it".to_owned());
        }
    };
    let parsed = written.parse::<Pattern>().or_else(|error| match error {
        // A bare name is Docker Hub's, as for docker.
        PatternError::NoRegistry { meant, .. } => meant.parse(),
        error => Err(error),
    });
    parsed.map_err(|error| error.to_string())
}

/// Whether all that `pattern` matches, `wider` matches: said of folders, where it is certain.
fn covers(wider: &Pattern, pattern: &Pattern) -> bool {
    let below = wider.as_str().strip_suffix("*/**").filter(|folder| folder.ends_with('/'));
    let folder = below.or_else(|| wider.as_str().strip_suffix("**")).filter(|folder| !folder.contains('*'));
    wider == pattern || folder.is_some_and(|folder| pattern.as_str().starts_with(folder))
}
