//! From settings to rules in force, and to the last good ones where they are at fault.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::kept::{Kept, Reading};
use super::last_good::LastGood;
use super::mounts::View;
use super::policy_file;
use super::recording::recording;
use super::state::LAST_GOOD;
use super::verifiers::{self, Made};
use crate::files::{Outlives, owned_or_absent, read_text, replace};
use crate::gate::Rules;
use crate::order::Ordered as _;
use crate::policy::{
    AllowlistSetting, Policy, PolicyFault, PolicyFile, Posture, RegoSettings, Resolved, Settings, Users, VerifierSettings,
};
use crate::rego::{self, Compiled};
use crate::trust::VerifierName;

/// Largest file of settings read. Stops a foreign one from filling memory.
const SETTINGS_BYTES: u64 = 4 << 20;

/// The rules of these settings, and whether these are they: where the settings are faulty, those of the last good ones; where
/// there are none, refusals. A file that is faulty counts as what it last was.
pub(crate) fn rules(settings: &Settings, kept: &mut Kept) -> (Rules, bool) {
    let (rules, is_good) = rules_of(settings, kept);
    if matches!(rules, Rules::Good { .. }) {
        for fault in kept.files.faults() {
            tracing::error!("a file is faulty; what it last held counts, unless it is gone: {}", fault.why);
        }
        kept.reading.file_faults = kept.file_faults();
        kept.files.keep();
        kept.files.keep_allowlists(kept.allowlists.values().map(|list| &**list));
    } else {
        // What is gone is kept no more, also where nothing takes its place.
        kept.files.write_out();
    }
    (rules, is_good && kept.files.faults().is_empty())
}

fn rules_of(given: &Settings, kept: &mut Kept) -> (Rules, bool) {
    let last_good = given.state_dir().join(LAST_GOOD);
    kept.watched.clear();
    kept.seen.clear();
    kept.watch_policy(given);
    let mut settings = given.clone();
    let read = still_there(given, kept).and_then(|()| policy_file::with_file(given));
    let built = read.and_then(|read| {
        settings = read;
        build(&settings, kept).and_then(may_record)
    });
    match built {
        Ok(rules) => {
            if let Err(error) = keep(&last_good, &settings) {
                tracing::warn!(%error, "the settings could not be kept for the next start");
            }
            kept.reading = Reading { in_force: Some(settings), ..Reading::default() };
            (rules, true)
        }
        Err(faults) => {
            for fault in &faults {
                tracing::error!(key = &*fault.key, "setting at fault: {fault}");
            }
            kept.reading.faults = faults.iter().map(ToString::to_string).collect();
            let last = self::last_good(&given.state_dir());
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
                    (faulty(&settings, &faults), false)
                }
            }
        }
    }
}

/// A folder for the record that others may look into is a fault. Of what is last good it is none: nothing is then kept there.
fn may_record(rules: Rules) -> Result<Rules, Vec<PolicyFault>> {
    if let Rules::Good { policy: Policy { record: Some(record), .. }, .. } = &rules
        && let Err(error) = owned_or_absent(&record.folder)
    {
        let message = format!("`{}` cannot be used: {error}", record.folder.display());
        return Err(vec![PolicyFault::of("record", message)]);
    }
    Ok(rules)
}

/// A policy file that was in force and is gone leaves no other policy behind, also not at a start: its folder may not be mounted yet, or
/// somebody is about to write it again. Who wants the variables instead says so.
fn still_there(given: &Settings, kept: &Kept) -> Result<(), Vec<PolicyFault>> {
    let Some((path, _)) = given.policy_path().filter(|_| !given.says_what_a_file_says()) else { return Ok(()) };
    if !matches!(path.try_exists(), Ok(false)) {
        return Ok(());
    }
    let has_file = |settings: &Settings| settings.policy_file().is_some();
    let had =
        kept.reading.in_force.as_ref().is_some_and(has_file) || last_good(&given.state_dir()).as_ref().is_some_and(has_file);
    if had {
        let message = format!("`{}` is gone; what it said stays in force. To have none, set POLICY=off", path.display());
        return Err(vec![PolicyFault::of("POLICY", message)]);
    }
    Ok(())
}

/// What is in force where nothing can be resolved.
pub(crate) fn faulty(settings: &Settings, faults: &[PolicyFault]) -> Rules {
    // What a policy file that cannot be read says of the host is not known: it is taken for the stricter.
    let is_unread = settings.policy_file().is_none() && faults.iter().any(|fault| fault.key == "POLICY");
    faulty_as(settings, list(faults), is_unread)
}

/// The same with this text. `is_unread`: there is a policy file, and nothing of it is known.
pub(super) fn faulty_as(settings: &Settings, fault: String, is_unread: bool) -> Rules {
    let posture = if is_unread { Posture::Lockdown } else { settings.posture() };
    let rights = is_unread || settings.policy_file().is_some_and(PolicyFile::gives_rights);
    Rules::Faulty { fault, posture, rights }
}

/// The settings that are kept as the last good ones, as they were written.
pub(crate) fn last_good(state: &Path) -> Option<Settings> {
    let text = read_text(&state.join(LAST_GOOD), SETTINGS_BYTES).ok()?;
    serde_json::from_slice(text.as_bytes()).ok()
}

/// The policy of these settings, or everything they have wrong, going on from what was read before.
pub(crate) fn policy(settings: &Settings, kept: &mut Kept) -> Result<Policy, Vec<PolicyFault>> {
    match build(settings, kept)? {
        Rules::Good { policy, .. } => Ok(policy),
        Rules::Faulty { fault, .. } => Err(vec![PolicyFault::of("", fault)]),
    }
}

pub(crate) fn list(faults: &[PolicyFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What a policy means, and what its verifiers are made of, without making any of them: for cases, which say what verifiers say.
pub(crate) fn meaning(settings: &Settings, kept: &mut Kept) -> Result<Meaning, Vec<PolicyFault>> {
    let (meaning, faults) = read(settings, kept)?;
    if faults.is_empty() { Ok(meaning) } else { Err(faults) }
}

/// A policy, and what its verifiers are made of.
pub(crate) type Meaning = (Policy, MadeOf);
/// What verifiers are made of.
pub(crate) type MadeOf = BTreeMap<VerifierName, VerifierSettings>;

/// Settings with the files that say who may do what; and what is wrong with these files.
fn read(settings: &Settings, kept: &mut Kept) -> Result<(Meaning, Vec<PolicyFault>), Vec<PolicyFault>> {
    kept.files.begin();
    let is_listed = || match settings.allowlist() {
        // One that cannot be looked at is there, and refuses: only "not found" is "none".
        AllowlistSetting::IfPresent(path) => path.try_exists().unwrap_or(true) || !kept.allowlists.is_empty(),
        AllowlistSetting::Required(_) | AllowlistSetting::Off => false,
    };
    // A policy file says it itself.
    let Resolved { mut policy, verifiers: made_of, users_file, rego, record } =
        settings.resolve(settings.policy_file().is_none() && is_listed())?;
    policy.record = record.map(|folder| Arc::new(recording(settings, folder, &made_of)));
    kept.watch(made_of.values().flat_map(VerifierSettings::files).map(Path::to_owned));
    let mut faults = Vec::new();
    if let Some(path) = users_file {
        kept.watch([path.clone()]);
        match users_of(&path, &mut kept.files) {
            Ok(users) => policy.users = Some(Arc::new(users)),
            Err(why) => faults.push(PolicyFault::of("users.file", why)),
        }
    }
    if let Some(rego) = rego {
        kept.watch(rego.files.iter().cloned());
        match rego_of(settings, &rego, &mut kept.files) {
            Ok(compiled) => policy.rego = Some(Arc::new(compiled)),
            Err(why) => faults.push(PolicyFault::of("rego.files", why)),
        }
    }
    Ok(((policy, made_of), faults))
}

/// Everything that settings can have wrong, at once.
pub(crate) fn build(settings: &Settings, kept: &mut Kept) -> Result<Rules, Vec<PolicyFault>> {
    build_of(settings, kept).map(|(rules, _)| rules)
}

/// The same, and what its verifiers are made of.
pub(crate) fn build_of(settings: &Settings, kept: &mut Kept) -> Result<(Rules, MadeOf), Vec<PolicyFault>> {
    let ((policy, made_of), faults) = read(settings, kept)?;
    let Made { verifiers, registry, lists } = verifiers::made(settings, &policy, &made_of, kept, faults)?;
    kept.allowlists = lists;
    Ok((Rules::Good { policy, verifiers, registry }, made_of))
}

/// Who may do what, by the file of authz-broker.
fn users_of(path: &Path, last: &mut LastGood) -> Result<Users, String> {
    let name = path.display().to_string();
    let (users, remarks) = last.named("users", &[path.to_owned()], |texts| {
        let text = texts.0.first().map(|(_, text)| text.as_bytes()).unwrap_or_default();
        Users::of_broker_file(&name, text).map_err(|remark| format!("`{name}` cannot be used: {remark}"))
    })?;
    for remark in remarks {
        tracing::warn!("users file: {remark}");
    }
    Ok(users)
}

/// Rules in Rego.
fn rego_of(settings: &Settings, written: &RegoSettings, last: &mut LastGood) -> Result<Compiled, String> {
    last.named("rego", &written.files, |texts| {
        let files = texts.0.iter().map(|(path, text)| rego::File { name: path.display().to_string(), text: text.clone() });
        let sources = rego::Sources {
            files: files.ordered(),
            queries: written.queries.clone(),
            environment: written.environment.clone(),
            // In the managed plugin paths of the host are not paths.
            sees_host: View::of(settings) == View::Host,
        };
        Compiled::of(sources).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })
}

fn keep(path: &Path, settings: &Settings) -> std::io::Result<()> {
    // What the gate keeps is nobody else's business.
    replace(path, &serde_json::to_vec_pretty(settings)?, 0o600, Outlives::Power)
}

#[cfg(test)]
mod tests;
