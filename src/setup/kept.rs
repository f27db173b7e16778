//! What a gate has read and goes on from at the next reading: lists, last good files, what is watched; and what came of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::clients::{evidence_folder, newest_folder};
use super::last_good::LastGood;
use super::policy_file;
use crate::image::Digest;
use crate::order::Ordered as _;
use crate::policy::Settings;
use crate::text::fit;
use crate::trust::VerifierName;
use crate::trust::allowlist::Allowlist;
use crate::trust::allowlist::file::Stamp;
use crate::trust::attestation::Newest;
use crate::trust::evidence::Evidence;
use crate::trust::notation::Refresher;

/// Longest list of faults in an entry of the audit log, characters. Stops foreign text from filling it.
const FAULT_CHARS: usize = 512;

/// What outlives a reload, and what of it a restart.
#[derive(Default)]
pub(crate) struct Kept {
    /// Their last good content holds when the files are gone: so does the requirement.
    pub(super) allowlists: BTreeMap<VerifierName, Arc<Allowlist>>,
    /// What the other files held when they last were good.
    pub(super) files: LastGood,
    /// Where trust data is kept fresh; nowhere in a command that asks once.
    pub(super) workers: Option<tokio::runtime::Handle>,
    /// What came of reading settings and files the last time.
    pub(super) reading: Reading,
    /// The signatures that verified: one view of their folder, so that its bounds hold.
    pub(super) evidence: Option<Arc<Evidence>>,
    /// Which reports of scans were the newest, likewise.
    pub(super) newest: Option<Arc<Newest>>,
    /// Who fetches lists of revoked certificates, while a verifier wants them.
    pub(super) refresher: Option<Arc<Refresher>>,
    /// The files of the policy, and what each was before it was read: once one is another, all are read again.
    pub(super) watched: Vec<(PathBuf, Option<Stamp>)>,
    /// What they were at the last look.
    pub(super) seen: Vec<Option<Stamp>>,
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
        let allowlists = allowlists.into_iter().map(|(name, list)| (name, Arc::new(list))).ordered();
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
        if let Some(newest) = &self.newest {
            newest.write_out();
        }
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
    /// CRLs that are fetched are left out: a new one each hour must not have who waits for a while begin anew.
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

    /// These files as well.
    pub(super) fn watch(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        self.watched.extend(paths.into_iter().map(|path| {
            let stamp = Stamp::of(&path);
            (path, stamp)
        }));
    }

    /// The signatures in this folder; a command changes nothing of them.
    pub(super) fn evidence(&mut self, folder: PathBuf) -> Arc<Evidence> {
        if let Some(same) = self.evidence.as_ref().filter(|evidence| evidence.folder() == folder) {
            return Arc::clone(same);
        }
        let evidence = if self.workers.is_some() { Evidence::kept_in(folder) } else { Evidence::looked_at(folder) };
        self.evidence = Some(Arc::clone(&evidence));
        evidence
    }

    /// The newest reports of scans that were seen; a command changes nothing of them.
    pub(super) fn newest(&mut self, folder: PathBuf) -> Arc<Newest> {
        if let Some(same) = self.newest.as_ref().filter(|newest| newest.folder() == folder) {
            same.begin_anew();
            return Arc::clone(same);
        }
        let newest = if self.workers.is_some() { Newest::kept_in(folder) } else { Newest::looked_at(folder) };
        self.newest = Some(Arc::clone(&newest));
        newest
    }

    /// Who fetches lists of revoked certificates into this folder; a command fetches none.
    pub(super) fn refresher(&mut self, folder: PathBuf) -> Arc<Refresher> {
        if let Some(same) = self.refresher.as_ref().filter(|refresher| refresher.folder() == folder) {
            return Arc::clone(same);
        }
        let refresher = Refresher::kept_in(folder);
        if let Some(workers) = &self.workers {
            workers.spawn(refresher.keep_fresh(crate::clock::now));
        }
        self.refresher = Some(Arc::clone(&refresher));
        refresher
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
