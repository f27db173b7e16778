//! From settings to rules in force, and to the last good ones where they are at fault.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clients::{allowlist_key, cosign_of, credentials_of, evidence_folder, newest_folder, notary_of, registry_of};
use super::last_good::LastGood;
use super::mounts::View;
use super::notation;
use super::policy_file;
use super::recording::recording;
use super::state::LAST_GOOD;
use crate::files::{Outlives, owned_or_absent, read_text, replace};
use crate::gate::Rules;
use crate::image::{Digest, Host};
use crate::net::auth::DockerConfig;
use crate::policy::{
    AllowlistSetting, AttestationSettings, Policy, PolicyFault, PolicyFile, Posture, RegoSettings, Resolved, Settings, Users,
    VerifierSettings,
};
use crate::registry::{Api, Registry};
use crate::rego::{self, Compiled};
use crate::text::fit;
use crate::trust::allowlist::Allowlist;
use crate::trust::allowlist::file::Stamp;
use crate::trust::allowlist::signed::ListKey;
use crate::trust::attestation::{AttestationVerifier, Newest};
use crate::trust::cosign::Cosign;
use crate::trust::evidence::{Evidence, FORGOTTEN};
use crate::trust::registry::RegistryVerifier;
use crate::trust::{Verifier, VerifierName};

/// Largest file of settings read. Stops a foreign one from filling memory.
const SETTINGS_BYTES: u64 = 4 << 20;
/// Longest list of faults in an entry of the audit log, characters. Stops foreign text from filling it.
const FAULT_CHARS: usize = 512;

/// What outlives a reload, and what of it a restart.
#[derive(Default)]
pub(crate) struct Kept {
    /// Their last good content holds when the files are gone: so does the requirement.
    allowlists: BTreeMap<VerifierName, Arc<Allowlist>>,
    /// What the other files held when they last were good.
    files: LastGood,
    /// Where trust data is kept fresh; nowhere in a command that asks once.
    workers: Option<tokio::runtime::Handle>,
    /// What came of reading settings and files the last time.
    reading: Reading,
    /// The signatures that verified: one view of their folder, so that its bounds hold.
    evidence: Option<Arc<Evidence>>,
    /// Which reports of scans were the newest, likewise.
    newest: Option<Arc<Newest>>,
    /// The files of the policy, and what each was before it was read: once one is another, all are read again.
    watched: Vec<(PathBuf, Option<Stamp>)>,
    /// What they were at the last look.
    seen: Vec<Option<Stamp>>,
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

    /// For a look from outside: by what the gate kept, and by the allowlists that it requires, where these are known.
    pub(crate) fn looking(files: LastGood, allowlists: impl IntoIterator<Item = (VerifierName, Allowlist)>) -> Self {
        let allowlists = allowlists.into_iter().map(|(name, list)| (name, Arc::new(list))).collect();
        Self { allowlists, files, ..Self::default() }
    }

    /// The same for a command that takes in what was carried here: what verifies is kept where the gate keeps it.
    pub(crate) fn taking_in(self, settings: &Settings) -> Self {
        let evidence = Some(Evidence::kept_in(evidence_folder(settings)));
        let newest = Some(Newest::kept_in(newest_folder(settings)));
        Self { evidence, newest, ..self }
    }

    /// Keeps allowlists for the next start, where one has changed, and what could not be kept before. Called each second.
    pub(crate) fn look(&mut self) {
        self.files.write_out();
        if !self.allowlists.is_empty() {
            self.files.keep_allowlists(self.allowlists.values().map(|list| &**list));
        }
    }

    /// Whether a file that was faulty, or one of the policy, has changed since it was read. While one of the policy is being written all are
    /// left alone: until these are what they were at the look before, also where another file is the reason to read them.
    pub(crate) fn is_worth_a_look(&mut self) -> bool {
        let now: Vec<Option<Stamp>> = self.watched.iter().map(|(path, _)| Stamp::of(path)).collect();
        let has_changed = self.watched.iter().zip(&now).any(|((_, stamp), now)| stamp != now);
        let has_settled = self.seen == now;
        self.seen = now;
        has_settled && (has_changed || self.files.is_worth_a_look())
    }

    /// What tells what is in force from anything else: settings, the policy, the files that they name, allowlists, and the program that
    /// judges by them. Equal ones judge alike, also after a restart. A faulty allowlist counts as what it last was.
    pub(crate) fn fingerprint(&self) -> Digest {
        // What says nothing of what may run.
        const BESIDE: [&str; 10] = [
            "LOG",
            "AUDIT_ROTATE",
            "AUDIT_SINKS",
            "AUDIT_FORMAT",
            "TELEMETRY",
            "ALERTS",
            "MONITOR_PAUSE",
            "WEB",
            "HTTPS_PROXY",
            "NO_PROXY",
        ];
        let settings = self.reading.in_force.clone().map(|settings| BESIDE.iter().fold(settings, |of, name| of.without(name)));
        let lists = self.allowlists.values();
        let lists: Vec<_> = lists.map(|list| (list.path().as_os_str().as_encoded_bytes(), list.digest())).collect();
        // Maps of texts always serialise.
        let all = serde_json::to_vec(&(env!("CARGO_PKG_VERSION"), settings, lists, self.files.good())).unwrap_or_default();
        Digest::of(&all)
    }

    /// What became of signed allowlists since the last call, for the record.
    pub(crate) fn news(&self) -> Vec<String> {
        self.allowlists.values().flat_map(|list| list.news()).collect()
    }

    /// Whether what was written is what is in force, settings and files.
    pub(crate) fn is_sound(&self) -> bool {
        self.reading.in_force.is_some()
            && self.reading.faults.is_empty()
            && self.files.faults().is_empty()
            && self.allowlists.values().all(|list| list.status().fault.is_none())
    }

    /// The policy file of these settings, and those read with it, are to be watched.
    pub(super) fn watch_policy(&mut self, settings: &Settings) {
        self.watch(policy_file::watched(settings));
    }

    fn watch(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        self.watched.extend(paths.into_iter().map(|path| {
            let stamp = Stamp::of(&path);
            (path, stamp)
        }));
    }

    /// The signatures in this folder; a command changes nothing of them.
    fn evidence(&mut self, folder: PathBuf) -> Arc<Evidence> {
        if let Some(same) = self.evidence.as_ref().filter(|evidence| evidence.folder() == folder) {
            return Arc::clone(same);
        }
        let evidence = if self.workers.is_some() { Evidence::kept_in(folder) } else { Evidence::looked_at(folder) };
        self.evidence = Some(Arc::clone(&evidence));
        evidence
    }

    /// The newest reports of scans that were seen; a command changes nothing of them.
    fn newest(&mut self, folder: PathBuf) -> Arc<Newest> {
        if let Some(same) = self.newest.as_ref().filter(|newest| newest.folder() == folder) {
            same.begin_anew();
            return Arc::clone(same);
        }
        let newest = if self.workers.is_some() { Newest::kept_in(folder) } else { Newest::looked_at(folder) };
        self.newest = Some(Arc::clone(&newest));
        newest
    }

    /// What came of reading settings and files the last time.
    pub(crate) const fn reading(&self) -> &Reading {
        &self.reading
    }

    /// What is wrong with files in whose place their last good content counts.
    pub(crate) fn file_faults(&self) -> Vec<String> {
        self.files.faults().iter().map(|fault| fault.why.clone()).collect()
    }

    /// The allowlists that are required, by the names of the verifiers that they are.
    pub(crate) const fn allowlists(&self) -> &BTreeMap<VerifierName, Arc<Allowlist>> {
        &self.allowlists
    }
}

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
    serde_json::from_str(&text).ok()
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
pub(crate) type Meaning = (Policy, BTreeMap<VerifierName, VerifierSettings>);

/// Settings with the files that say who may do what; and what is wrong with these files.
fn read(settings: &Settings, kept: &mut Kept) -> Result<(Meaning, Vec<PolicyFault>), Vec<PolicyFault>> {
    kept.files.begin();
    let is_listed = match settings.allowlist() {
        // One that cannot be looked at is there, and refuses: only "not found" is "none".
        AllowlistSetting::IfPresent(path) => path.try_exists().unwrap_or(true) || !kept.allowlists.is_empty(),
        AllowlistSetting::Required(_) | AllowlistSetting::Off => false,
    };
    let Resolved { mut policy, verifiers: made_of, users_file, rego, record } = settings.resolve(is_listed)?;
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
    let ((policy, made_of), mut faults) = read(settings, kept)?;
    let credentials = credentials_of(settings, &mut kept.files).unwrap_or_else(|found| {
        faults.extend(found);
        DockerConfig::default()
    });
    let mut lists = BTreeMap::new();
    let mut verifiers: Vec<Arc<dyn Verifier>> = Vec::new();
    let is_read = policy.rego.as_ref().is_some_and(|rego| rego.reads_config());
    let is_ruled = is_read || policy.scopes.distinct_rules().into_iter().any(|rules| rules.looks().config);
    // Signatures of cosign and notation lie in every registry, what nobody signs is looked for in those of weak scopes.
    let is_signed = made_of.values().any(|made_of| {
        matches!(made_of, VerifierSettings::Cosign(_) | VerifierSettings::Notation(_) | VerifierSettings::Attestation(_))
    });
    let hosts = if is_ruled || is_signed { policy.scopes.registries() } else { policy.registries_of_weak() };
    let mut registry: Option<Arc<Registry>> = None;
    let mut the_registry = |files: &mut LastGood| {
        let made = || Arc::new(registry_of(settings, hosts.iter().map(Host::as_str), credentials.clone(), files));
        Arc::<Registry>::clone(registry.get_or_insert_with(made))
    };
    let evidence = kept.evidence(evidence_folder(settings));
    if is_signed {
        // A command forgets what is known here in memory as well.
        kept.watch([evidence.folder().join(FORGOTTEN)]);
    }
    let newest = kept.newest(newest_folder(settings));
    let mut list_keys: BTreeMap<String, &VerifierName> = BTreeMap::new();
    // By whom statements must be signed.
    let mut signers: BTreeMap<&VerifierName, Arc<Cosign>> = BTreeMap::new();
    for (name, made_of) in &made_of {
        match made_of {
            VerifierSettings::Allowlist(written) => match allowlist_key(name, written, &mut kept.files) {
                Ok(key) => {
                    // What a key has signed last is kept by the key: another list of it would stand in for this one.
                    if let Some(id) = key.as_ref().filter(|key| **key != ListKey::ended()).map(ListKey::id)
                        && let Some(other) = list_keys.insert(id, name)
                    {
                        let why = format!("signs the lists of verifier `{other}` too; each signed list needs a key of its own");
                        faults.push(PolicyFault::of(format!("verifiers.{name}.key"), why));
                    }
                    let is_same = |list: &&Arc<Allowlist>| {
                        list.path() == written.file && list.signing().map(|signing| &signing.key) == key.as_ref()
                    };
                    let list = kept.allowlists.get(name).filter(is_same).cloned();
                    let list = list.unwrap_or_else(|| Arc::new(kept.files.allowlist(&written.file, key).named(name.clone())));
                    lists.insert(name.clone(), Arc::clone(&list));
                    verifiers.push(list);
                }
                Err(found) => faults.extend(found),
            },
            VerifierSettings::Notary(notary) => match notary_of(settings, name, notary, credentials.clone(), &mut kept.files) {
                Ok(notary) => {
                    if let Some(workers) = &kept.workers {
                        workers.spawn(notary.keep_fresh(crate::clock::now));
                    }
                    verifiers.push(Arc::new(notary));
                }
                Err(found) => faults.extend(found),
            },
            VerifierSettings::Registry => {
                verifiers.push(Arc::new(RegistryVerifier::new(the_registry(&mut kept.files)).named(name.clone())));
            }
            VerifierSettings::Cosign(cosign) => {
                let registry = the_registry(&mut kept.files);
                match cosign_of(name, cosign, registry, Arc::clone(&evidence), &mut kept.files) {
                    Ok(cosign) => {
                        signers.insert(name, cosign.scheme());
                        verifiers.push(Arc::new(cosign));
                    }
                    Err(found) => faults.extend(found),
                }
            }
            VerifierSettings::Notation(made_of) => {
                let registry = the_registry(&mut kept.files);
                kept.watch(notation::watched(made_of));
                match notation::notation_of(name, made_of, registry, Arc::clone(&evidence), &mut kept.files) {
                    Ok(notation) => verifiers.push(Arc::new(notation)),
                    Err(found) => faults.extend(found),
                }
            }
            // Made below, of the signers.
            VerifierSettings::Attestation(_) => {}
        }
    }
    for (name, made_of) in &made_of {
        let VerifierSettings::Attestation(AttestationSettings { signed_by, terms, recheck }) = made_of else { continue };
        // One that is missing is a fault that was told.
        let Some(signer) = signers.get(signed_by) else { continue };
        let (signer, registry) = ((signed_by, Arc::clone(signer)), the_registry(&mut kept.files));
        let made = AttestationVerifier::new(name.clone(), signer, terms.clone(), Arc::clone(&newest), registry);
        verifiers.push(Arc::new(made.keeping(Arc::clone(&evidence), *recheck)));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    // Rules about what images are need to know it before these are here.
    let registry = is_ruled.then(|| the_registry(&mut kept.files) as Arc<dyn Api>);
    kept.allowlists = lists;
    Ok(Rules::Good { policy, verifiers, registry })
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
            files: files.collect(),
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
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::super::state::{LAST_GOOD_ALLOWLIST, LAST_GOOD_FILES};
    use super::super::{Basis, Place};
    use super::*;
    use crate::policy::CosignSettings;
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
        let (rules, is_good, mut kept) = Host::start(&host.settings());
        assert!(matches!(rules, Rules::Good { .. }) && !is_good);
        assert!(kept.reading().told().unwrap().contains("config.json` cannot be used"), "{:?}", kept.reading().told());
        assert!(!kept.is_worth_a_look());
        assert_eq!(host.knows_password(), Some(true), "also at the start after that");
        host.write("config/config.json", "{\"auths\":{\"r");
        assert!(kept.is_worth_a_look());
        for name in [LAST_GOOD_FILES, LAST_GOOD] {
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
        assert!(!host.at("state").join(LAST_GOOD_FILES).exists());
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
        assert_eq!(kept.allowlists()[&VerifierName::ALLOWLIST].status().entries, Some(0));
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
        let status = |kept: &Kept| kept.allowlists.values().next().map(|list| list.status());
        let entries = |kept: &Kept| status(kept).map(|Status { entries, fault, .. }| (entries, fault.is_some()));
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
        assert!(!host.at("state").join(LAST_GOOD_ALLOWLIST).exists());
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
    fn a_key_file_that_is_gone_ends_its_key_and_a_faulty_one_says_what_still_counts() {
        let host = Host::new();
        let key = |name: &str| {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/test/fixtures/cosign/keys/").to_owned() + name;
            std::fs::read_to_string(path).unwrap()
        };
        let policy = "version = 1\n[verifiers.release]\ntype = \"cosign\"\nkeys = [\"a.pub\", \"b.pub\"]\n\
                      [[scope]]\nmatch = \"r.example/**\"\nrequire = \"release\"\n";
        host.write("config/policy.toml", policy);
        let settings = Settings::default()
            .with("POLICY", host.at("config/policy.toml").display().to_string())
            .with("STATE_DIR", host.at("state").display().to_string())
            .with("CONFIG_DIR", host.at("config").display().to_string());
        // Which keys count, and what is said; `None`: refused as a whole.
        let start = || {
            let (rules, is_good, kept) = Host::start(&settings);
            let told = kept.reading().told().unwrap_or_default();
            assert_eq!(is_good, matches!(rules, Rules::Good { .. }) && told.is_empty(), "{told}");
            drop(kept);
            matches!(rules, Rules::Good { .. }).then(|| {
                let mut files = LastGood::look(&host.at("state"), &[]);
                files.begin();
                let keys = ["a.pub", "b.pub"].map(|name| host.at("config").join(name)).to_vec();
                let registry = Arc::new(crate::registry::Fake::new());
                let (evidence, written) =
                    (Evidence::looked_at(host.at("state")), CosignSettings { keys, ..CosignSettings::default() });
                let made = cosign_of(&"release".parse().unwrap(), &written, registry, evidence, &mut files).unwrap();
                (format!("{made:?}"), told)
            })
        };
        let has = |found: &Option<(String, String)>, name: &str| found.as_ref().unwrap().0.contains(name);
        host.write("config/a.pub", &key("p256.pub"));
        assert!(start().is_none(), "b.pub was never there: a fault of the policy");
        host.write("config/b.pub", &key("rsa.pub"));
        let found = start();
        assert!(has(&found, "a.pub") && has(&found, "b.pub"), "{found:?}");
        // A faulty one: what it last held counts, and that is said.
        for faulty in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            host.write("config/b.pub", faulty);
            let found = start();
            assert!(has(&found, "b.pub"), "{found:?}");
            assert!(found.as_ref().unwrap().1.contains("last held in `b.pub` still counts"), "{found:?}");
        }
        // Gone is gone, also beside a faulty one and after a restart.
        std::fs::remove_file(host.at("config/b.pub")).unwrap();
        host.write("config/a.pub", "");
        for _ in 0..2 {
            let found = start();
            assert!(has(&found, "a.pub") && !has(&found, "b.pub"), "{found:?}");
        }
        host.write("config/a.pub", &key("p256.pub"));
        let found = start();
        assert!(has(&found, "a.pub") && !has(&found, "b.pub"), "{found:?}");
        assert!(found.as_ref().unwrap().1.contains("b.pub` is gone"), "{found:?}");
        // Half of what comes back does not bring back what was.
        host.write("config/b.pub", "");
        let found = start();
        assert!(has(&found, "a.pub") && !has(&found, "b.pub"), "{found:?}");
        for name in ["a.pub", "b.pub"] {
            std::fs::remove_file(host.at("config").join(name)).unwrap();
        }
        for _ in 0..2 {
            let found = start();
            assert!(!has(&found, "a.pub") && !has(&found, "b.pub"), "{found:?}");
        }
        host.write("config/b.pub", &key("rsa.pub"));
        let found = start();
        assert!(!has(&found, "a.pub") && has(&found, "b.pub"), "{found:?}");
        host.write("config/a.pub", &key("p256.pub"));
        let found = start();
        assert!(has(&found, "a.pub") && has(&found, "b.pub"), "{found:?}");
        assert_eq!(found.unwrap().1, "");
    }

    #[test]
    fn an_older_allowlist_does_not_count_again_after_a_write_that_failed_and_the_write_is_tried_again() {
        let host = Host::new();
        let entries = || Host::start(&host.settings()).2.allowlists[&VerifierName::ALLOWLIST].status().entries;
        let entry = r#"{"digest":"sha256:"#.to_owned() + &"a".repeat(64) + r#""}"#;
        let evil = LIST.replace("[]", &format!("[{entry}]"));
        let kept_at = host.at("state").join(LAST_GOOD_ALLOWLIST);
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
        let files_at = host.at("state").join(LAST_GOOD_FILES);
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
        let entries = || Host::start(&host.settings()).2.allowlists[&VerifierName::ALLOWLIST].status().entries;
        let entry = r#"{"digest":"sha256:"#.to_owned() + &"a".repeat(64) + r#""}"#;
        host.write("config/allowlist.json", &LIST.replace("[]", &format!("[{entry}]")));
        assert_eq!(entries(), Some(1));
        // What is kept as it is now stays.
        forget_earlier(&state, &path).unwrap();
        assert!(state.join(LAST_GOOD_ALLOWLIST).exists());
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
        assert_eq!(kept.allowlists[&VerifierName::ALLOWLIST].status().entries, Some(1));
    }
}
