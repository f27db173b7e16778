//! The verifiers that a policy names, each made of what was written of it, and the registry's client that they share. Goes on from what was
//! there before: lists, last good files, evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::clients::{allowlist_key, cosign_of, credentials_of, evidence_folder, newest_folder, notary_of, registry_of};
use super::kept::Kept;
use super::notation;
use super::state::CRLS;
use crate::image::{Digest, Host};
use crate::net::auth::DockerConfig;
use crate::policy::{AllowlistSettings, AttestationSettings, Policy, PolicyFault, Settings, VerifierSettings};
use crate::registry::{Api, Registry};
use crate::trust::allowlist::Allowlist;
use crate::trust::allowlist::signed::ListKey;
use crate::trust::attestation::{AttestationVerifier, Newest};
use crate::trust::cosign::Cosign;
use crate::trust::evidence::{Evidence, FORGOTTEN};
use crate::trust::registry::RegistryVerifier;
use crate::trust::{Verifier, VerifierName};

/// What was made.
pub(super) struct Made {
    pub(super) verifiers: Vec<Arc<dyn Verifier>>,
    /// For rules about what images are and for signatures beside them, where there are any.
    pub(super) registry: Option<Arc<dyn Api>>,
    /// The allowlists among them.
    pub(super) lists: BTreeMap<VerifierName, Arc<Allowlist>>,
}

/// Makes one verifier after the other.
struct Maker<'m> {
    settings: &'m Settings,
    kept: &'m mut Kept,
    credentials: DockerConfig,
    /// The registries that are asked.
    hosts: BTreeSet<Host>,
    registry: Option<Arc<Registry>>,
    evidence: Arc<Evidence>,
    newest: Arc<Newest>,
    lists: BTreeMap<VerifierName, Arc<Allowlist>>,
    /// Whose list each key signs.
    list_keys: BTreeMap<String, VerifierName>,
    /// By whom statements must be signed.
    signers: BTreeMap<VerifierName, Arc<Cosign>>,
    /// Certificates of whose chains CRLs are fetched, by hash.
    anchors: BTreeSet<Digest>,
    faults: Vec<PolicyFault>,
}

/// The verifiers of a policy; or everything that they have wrong, and what was wrong before.
pub(super) fn made(
    settings: &Settings,
    policy: &Policy,
    made_of: &BTreeMap<VerifierName, VerifierSettings>,
    kept: &mut Kept,
    mut faults: Vec<PolicyFault>,
) -> Result<Made, Vec<PolicyFault>> {
    let credentials = credentials_of(settings, &mut kept.files).unwrap_or_else(|found| {
        faults.extend(found);
        DockerConfig::default()
    });
    let is_read = policy.rego.as_ref().is_some_and(|rego| rego.reads_config());
    let is_ruled = is_read || policy.scopes.distinct_rules().into_iter().any(|rules| rules.looks().config);
    // Signatures of cosign and notation lie in every registry, what nobody signs is looked for in those of weak scopes.
    let is_signed = made_of.values().any(|made_of| {
        matches!(made_of, VerifierSettings::Cosign(_) | VerifierSettings::Notation(_) | VerifierSettings::Attestation(_))
    });
    let hosts = if is_ruled || is_signed { policy.scopes.registries() } else { policy.registries_of_weak() };
    let evidence = kept.evidence(evidence_folder(settings));
    if is_signed {
        // A command forgets what is known here in memory as well.
        kept.watch([evidence.folder().join(FORGOTTEN)]);
    }
    let newest = kept.newest(newest_folder(settings));
    let fetches = |made_of: &VerifierSettings| matches!(made_of, VerifierSettings::Notation(made_of) if made_of.fetch);
    if !made_of.values().any(fetches) {
        kept.refresher = None;
    }
    let mut maker = Maker {
        settings,
        kept,
        credentials,
        hosts,
        registry: None,
        evidence,
        newest,
        lists: BTreeMap::new(),
        list_keys: BTreeMap::new(),
        signers: BTreeMap::new(),
        anchors: BTreeSet::new(),
        faults,
    };
    // Statements are signed by other verifiers, which have to be there.
    let (stated, others): (Vec<_>, Vec<_>) =
        made_of.iter().partition(|(_, made_of)| matches!(made_of, VerifierSettings::Attestation(_)));
    let verifiers = others.into_iter().chain(stated).filter_map(|(name, made_of)| maker.one(name, made_of)).collect();
    // Rules about what images are need to know it before these are here.
    // What the engine's mirrors are is told to the client that signatures are asked for with.
    let registry = (is_ruled || is_signed).then(|| maker.registry() as Arc<dyn Api>);
    let Maker { kept, lists, anchors, faults, .. } = maker;
    // With one at fault it is not known what all stores hold.
    if let Some(refresher) = kept.refresher.as_ref().filter(|_| faults.is_empty()) {
        refresher.trusts(anchors);
    }
    if faults.is_empty() { Ok(Made { verifiers, registry, lists }) } else { Err(faults) }
}

impl Maker<'_> {
    /// `None`: it is at fault, which is noted.
    fn one(&mut self, name: &VerifierName, made_of: &VerifierSettings) -> Option<Arc<dyn Verifier>> {
        match made_of {
            VerifierSettings::Allowlist(written) => Some(self.allowlist(name, written)?),
            VerifierSettings::Notary(notary) => {
                let made = notary_of(self.settings, name, notary, self.credentials.clone(), &mut self.kept.files);
                let notary = self.or_noted(made)?;
                if let Some(workers) = &self.kept.workers {
                    workers.spawn(notary.keep_fresh(crate::clock::now));
                }
                Some(Arc::new(notary))
            }
            VerifierSettings::Registry => Some(Arc::new(RegistryVerifier::new(self.registry()).named(name.clone()))),
            VerifierSettings::Cosign(cosign) => {
                let (registry, evidence) = (self.registry(), Arc::clone(&self.evidence));
                let made = cosign_of(name, cosign, registry, evidence, &mut self.kept.files);
                let cosign = self.or_noted(made)?;
                self.signers.insert(name.clone(), cosign.scheme());
                Some(Arc::new(cosign))
            }
            VerifierSettings::Notation(made_of) => {
                let (registry, evidence) = (self.registry(), Arc::clone(&self.evidence));
                self.kept.watch(notation::watched(made_of));
                let refresher = made_of.fetch.then(|| self.kept.refresher(self.settings.state_dir().join(CRLS)));
                if let Some(refresher) = &refresher {
                    self.kept.watch(notation::watched_lists(refresher.folder()));
                }
                let made = notation::notation_of(name, made_of, refresher, (registry, evidence), &mut self.kept.files);
                let notation = self.or_noted(made)?;
                if made_of.fetch {
                    self.anchors.extend(notation.scheme().anchors());
                }
                Some(Arc::new(notation))
            }
            VerifierSettings::Attestation(AttestationSettings { signed_by, terms, recheck }) => {
                // One that is missing is a fault that was told.
                let signer = (signed_by, Arc::clone(self.signers.get(signed_by)?));
                let (newest, registry) = (Arc::clone(&self.newest), self.registry());
                let made = AttestationVerifier::new(name.clone(), signer, terms.clone(), newest, registry);
                Some(Arc::new(made.keeping(Arc::clone(&self.evidence), *recheck)))
            }
        }
    }

    /// A list; the one that is there, if it is the same.
    fn allowlist(&mut self, name: &VerifierName, written: &AllowlistSettings) -> Option<Arc<Allowlist>> {
        let made = allowlist_key(name, written, &mut self.kept.files);
        let key = self.or_noted(made)?;
        // What a key has signed last is kept by the key: another list of it would stand in for this one.
        if let Some(id) = key.as_ref().filter(|key| !key.has_ended()).map(ListKey::id)
            && let Some(other) = self.list_keys.insert(id, name.clone())
        {
            let why = format!("signs the lists of verifier `{other}` too; each signed list needs a key of its own");
            self.faults.push(PolicyFault::of(format!("verifiers.{name}.key"), why));
        }
        let is_same =
            |list: &&Arc<Allowlist>| list.path() == written.file && list.signing().map(|signing| &signing.key) == key.as_ref();
        let list = self.kept.allowlists.get(name).filter(is_same).cloned();
        let list = list.unwrap_or_else(|| Arc::new(self.kept.files.allowlist(&written.file, key).named(name.clone())));
        self.lists.insert(name.clone(), Arc::clone(&list));
        Some(list)
    }

    /// The client of all registries, once somebody needs one.
    fn registry(&mut self) -> Arc<Registry> {
        let Self { settings, kept, credentials, hosts, registry, .. } = self;
        let made = || Arc::new(registry_of(settings, hosts.iter().map(Host::as_str), credentials.clone(), &mut kept.files));
        Arc::clone(registry.get_or_insert_with(made))
    }

    fn or_noted<T>(&mut self, made: Result<T, Vec<PolicyFault>>) -> Option<T> {
        made.map_err(|found| self.faults.extend(found)).ok()
    }
}
