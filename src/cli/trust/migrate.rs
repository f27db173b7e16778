//! `migrate`: which tags that a Notary has signed have a signature of cosign or notation already, which need one, and the commands that make it. It
//! reads, and writes nothing.
//!
//! A command is printed for a digest that the Notary's trust data vouches for, and for no other: neither for what the tag is for at the registry now,
//! nor for a tag that the trust data refuses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::image::{LOOK_TIME, registry};
use super::judges::Judges;
use super::table::table;
use super::{Common, Stop, check, reference, to_json};
use crate::cli::{NO, YES};
use crate::clock;
use crate::image::{Digest, Repository, Tag};
use crate::policy::{Requirement, Settings};
use crate::registry::{Api, Registry, RegistryError, Wanted};
use crate::setup::{self, NETWORK_TIME};
use crate::text::clean;
use crate::trust::beside::{Beside, Kind};
use crate::trust::notary::Inspection;
use crate::trust::{Asking, Keeping, Purpose, Signer, TrustCode, VerifierName};

/// Most tags of one repository that are looked at, and how long all of it may take.
const TAGS: usize = 1024;
const ALL_TIME: Duration = Duration::from_mins(5);
/// Most signers that are named of one digest.
const SIGNERS: usize = 4;

/// Say which images that a Notary has signed need a signature of cosign or notation, and how to make it
///
/// A signature that lies there already is anybody's: whether it counts, `trust inspect REPOSITORY:TAG --policy FILE` says.
///
/// Exit code 0: of each tag a signature counts by the policy file (--policy). Exit code 2: of a tag none does, or nobody judged it, or there is no tag.
///
/// Example: img-authz migrate registry.example/team/app --server notary.example:4443
#[derive(Args)]
pub(in crate::cli) struct Migrate {
    /// The repository; a tag is ignored
    pub(super) reference: String,
    /// The policy file that is to count once the Notary does not: its verifiers judge what is there
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Whose signatures are to count.
struct Policy {
    judges: Judges,
    require: Requirement,
    asks: Repository,
}

impl Policy {
    fn of(path: &Path, repository: &Repository, settings: &Settings) -> Result<Self, Stop> {
        let judges = Judges::of_file(path, None, settings)?;
        let (scope, asks) = judges.scope(repository)?;
        let require = scope.require.clone();
        Ok(Self { judges, require, asks })
    }

    /// Whether what lies there is all that the scope requires. Nobody else is asked: a scope that requires a Notary as well is not met.
    async fn counts(&self, beside: &Beside, digest: Digest) -> bool {
        let here: Arc<dyn Api> = Arc::new(beside.carried.clone().under(self.asks.clone()));
        let mut yes = Vec::new();
        for name in self.require.verifiers() {
            let Ok(verifier) = self.judges.named(name) else { continue };
            let asking = Asking { purpose: Purpose::Pull, now: clock::now(), deadline: Instant::now() + NETWORK_TIME };
            if let Some(answer) = verifier.by_carried(Arc::clone(&here), (&self.asks, digest), asking, Keeping::Looks)
                && answer.await.is_ok()
            {
                yes.push(name);
            }
        }
        is_met(&self.require, &yes)
    }
}

fn is_met(require: &Requirement, yes: &[&VerifierName]) -> bool {
    match require {
        Requirement::One(name) => yes.contains(&name),
        Requirement::All(parts) => !parts.is_empty() && parts.iter().all(|part| is_met(part, yes)),
        Requirement::Any(parts) => parts.iter().any(|part| is_met(part, yes)),
    }
}

/// What is known of a tag.
#[derive(Serialize)]
struct Row {
    tag: String,
    /// As the Notary has signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    state: State,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cosign: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notation: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// What lies there is all that the policy requires.
    Signed,
    /// Something of either says that it signs it; it does not count, or nobody judged it.
    Unproven,
    /// It has none.
    Needs,
    /// The registry does not hold it.
    Missing,
    /// It could not be found out.
    Unknown,
    /// The trust data does not vouch for it.
    Refused,
}

/// What lies beside one digest.
#[derive(Clone)]
enum Found {
    Signed { cosign: Vec<String>, notation: Vec<String>, missed: Option<String>, counts: bool },
    Missing,
    Unknown(String),
}

pub(super) async fn migrate(arguments: &Migrate, settings: &Settings) -> Result<(String, u8), Stop> {
    let repository = reference(&arguments.reference)?.repository;
    let policy = arguments.policy.as_deref().map(|path| Policy::of(path, &repository, settings)).transpose()?;
    let signers = setup::signers(settings, arguments.common.verifier.as_ref())?;
    let notary = arguments.common.notary(settings, signers)?;
    check(&notary, &repository).await?;
    let Some(inspection) = notary.inspect(&repository, clock::now()).await else {
        let message = format!("nothing is known of `{repository}` here");
        return Err(Stop::Refused { code: TrustCode::NoTrustData.as_str(), message });
    };
    if let Some(why) = &inspection.refused {
        // What the server answered last is not to be signed again.
        return Err(Stop::Refused { code: TrustCode::Invalid.as_str(), message: clean(why) });
    }
    let registry = registry(settings).map_err(Stop::Unknown)?;
    let rows = rows(&registry, &repository, &inspection, policy.as_ref()).await;
    let is_cut = inspection.view.tags.len() > TAGS;
    let mut needs: Vec<Digest> = rows.iter().filter(|row| row.state == State::Needs).filter_map(|row| row.digest).collect();
    needs.sort();
    needs.dedup();
    let commands = |digest: &Digest| {
        let image = format!("{repository}@{digest}");
        [format!("cosign sign --key cosign.key {image}"), format!("notation sign {image}")]
    };
    let is_done = !is_cut && !rows.is_empty() && rows.iter().all(|row| row.state == State::Signed);
    let code = if is_done { YES } else { NO };
    if arguments.common.json {
        let commands: Vec<_> = needs
            .iter()
            .map(|digest| {
                let [cosign, notation] = commands(digest);
                json!({ "digest": digest, "cosign": cosign, "notation": notation })
            })
            .collect();
        let told = json!({ "repository": repository, "server": inspection.server, "tags": rows, "commands": commands, "is_cut": is_cut });
        return Ok((to_json(&told)?, code));
    }
    let mut text = format!("{repository}\nserver  {}\n", inspection.server);
    text.push_str(&table(&["TAG", "SIGNED BY NOTARY", "STATE", ""], rows.iter().map(Row::cells)));
    if rows.is_empty() {
        text.push_str("\nit has no tag that the Notary vouches for\n");
    }
    if rows.iter().any(|row| row.state == State::Unproven) {
        text.push_str("\nWhat is not proven does not count, or was not judged: name the policy with --policy, and keep the Notary until all tags are signed.\n");
    }
    if is_cut {
        text.push_str(&format!("\nonly the first {TAGS} of {} tags were looked at\n", inspection.view.tags.len()));
    }
    for (number, tool) in ["cosign", "notation"].into_iter().enumerate().filter(|_| !needs.is_empty()) {
        let how = if number == 0 { "Sign what needs it, with" } else { "or with" };
        text.push_str(&format!("\n{how} {tool}:\n"));
        for digest in &needs {
            if let Some(command) = commands(digest).get(number) {
                text.push_str(&format!("  {command}\n"));
            }
        }
    }
    Ok((text.trim_end().to_owned(), code))
}

impl Row {
    fn of(tag: &str, digest: Option<Digest>, state: State) -> Self {
        Self { tag: clean(tag), digest, state, cosign: Vec::new(), notation: Vec::new(), note: None }
    }

    fn cells(&self) -> Vec<String> {
        let by = |tool: &str, signers: &[String]| (!signers.is_empty()).then(|| format!("{tool}: {}", signers.join("; ")));
        let state = match self.state {
            State::Signed => "signed",
            State::Unproven => "not proven",
            State::Needs => "needs one",
            State::Missing => "not in its registry",
            State::Unknown => "not known",
            State::Refused => "refused",
        };
        let parts = [by("cosign", &self.cosign), by("notation", &self.notation), self.note.clone()];
        let told: Vec<String> = parts.into_iter().flatten().collect();
        let digest = self.digest.map(|digest| digest.to_string()).unwrap_or_default();
        vec![self.tag.clone(), digest, state.to_owned(), told.join(", ")]
    }
}

async fn rows(registry: &Registry, repository: &Repository, inspection: &Inspection, policy: Option<&Policy>) -> Vec<Row> {
    let end = Instant::now() + ALL_TIME;
    let mut known: BTreeMap<Digest, Found> = BTreeMap::new();
    let mut rows = Vec::new();
    for (tag, view) in inspection.view.tags.iter().take(TAGS) {
        let digest = view.digest;
        let found = match known.get(&digest) {
            Some(found) => found.clone(),
            None if Instant::now() >= end => Found::Unknown("the time is over".to_owned()),
            None => {
                let deadline = end.min(Instant::now() + LOOK_TIME);
                let looked = Beside::of(registry, repository, &Wanted::Digest(digest), deadline).await;
                let found = Found::of(looked, policy).await;
                known.insert(digest, found.clone());
                found
            }
        };
        let mut row = match found {
            Found::Missing => Row::of(tag, Some(digest), State::Missing),
            Found::Unknown(why) => Row { note: Some(why), ..Row::of(tag, Some(digest), State::Unknown) },
            Found::Signed { cosign, notation, missed, counts } => {
                let state = match (cosign.is_empty() && notation.is_empty(), &missed) {
                    _ if counts => State::Signed,
                    (_, Some(_)) => State::Unknown,
                    (false, None) => State::Unproven,
                    (true, None) => State::Needs,
                };
                Row { cosign, notation, note: missed, ..Row::of(tag, Some(digest), state) }
            }
        };
        // Only told: what is signed is what the Notary says.
        if let (None, Ok(tag), true) = (&row.note, tag.parse::<Tag>(), Instant::now() < end) {
            let deadline = end.min(Instant::now() + NETWORK_TIME);
            let now = registry.manifest(repository, &Wanted::Tag(tag), deadline).await;
            row.note = match now {
                Ok(manifest) if *manifest.digest() == digest => None,
                Ok(manifest) => Some(format!("the tag is for {} at the registry now", manifest.digest())),
                Err(RegistryError::NotFound { .. }) => Some("the registry has no such tag".to_owned()),
                Err(error) => Some(clean(&error.to_string())),
            };
        }
        rows.push(row);
    }
    let refused = inspection.view.refused_tags.iter().take(TAGS);
    rows.extend(refused.map(|(tag, why)| Row { note: Some(clean(why)), ..Row::of(tag, None, State::Refused) }));
    rows
}

impl Found {
    async fn of(looked: Result<Beside, RegistryError>, policy: Option<&Policy>) -> Self {
        let beside = match looked {
            Ok(beside) => beside,
            Err(RegistryError::NotFound { .. }) => return Self::Missing,
            Err(error) => return Self::Unknown(clean(&error.to_string())),
        };
        let digest = beside.carried.digest();
        let by = |kind: Kind| {
            let mut signers = Vec::new();
            // Of a platform alone it is no signature of what the tag is for; one that cannot be read is none, nor is one of something else.
            for item in beside.items.iter().filter(|item| item.kind == kind && item.of == digest) {
                let Ok(claims) = &item.claims else { continue };
                if !claims.digests.contains(&digest.to_string()) {
                    continue;
                }
                let signer = claims.signer.as_ref().map(Signer::told).map(|signer| clean(&signer)).unwrap_or_default();
                if !signers.contains(&signer) && signers.len() < SIGNERS {
                    signers.push(signer);
                }
            }
            signers
        };
        let counts = match policy {
            Some(policy) => policy.counts(&beside, digest).await,
            None => false,
        };
        Self::Signed { counts, cosign: by(Kind::Cosign), notation: by(Kind::Notation), missed: beside.missed.first().cloned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_all_are_required_one_yes_is_none() {
        let (a, b): (VerifierName, VerifierName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let both = vec![Requirement::One(a.clone()), Requirement::One(b.clone())];
        assert!(is_met(&Requirement::Any(both.clone()), &[&b]) && !is_met(&Requirement::All(both.clone()), &[&b]));
        assert!(is_met(&Requirement::All(both), &[&a, &b]) && !is_met(&Requirement::All(Vec::new()), &[&a]));
        assert!(!is_met(&Requirement::nobody(), &[&a]));
    }
}
