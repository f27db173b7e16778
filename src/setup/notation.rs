//! A verifier of notation's signatures, made of notation's own files: its trust policy, its trust stores, and lists of revoked certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::last_good::LastGood;
use crate::files::{Texts, owned_folder, read_owned, read_owned_bytes};
use crate::policy::{NotationSettings, PolicyFault};
use crate::registry;
use crate::trust::VerifierName;
use crate::trust::evidence::Evidence;
use crate::trust::notation::{Crls, LISTS_BYTES, Notation, NotationVerifier, Refresher, StoreName, TrustPolicy, TrustStores};

/// Largest trust policy, and largest file of certificates, bytes.
const FILE_BYTES: u64 = 1 << 20;
/// Largest CRL, and all of them, bytes: what is kept of them beside the policy is as large.
const CRL_BYTES: u64 = 4 << 20;
const CRLS_BYTES: usize = 8 << 20;
/// Most files in one folder.
const FILES: usize = 256;
const CERTIFICATES: [&str; 3] = ["pem", "crt", "cer"];
const LISTS: [&str; 3] = ["crl", "pem", "der"];
const CERTIFICATE: &str = "CERTIFICATE";
const LIST: &str = "X509 CRL";

/// The verifier as the files are now, or as they last were good.
pub(super) fn notation_of(
    name: &VerifierName,
    written: &NotationSettings,
    refresher: Option<Arc<Refresher>>,
    (registry, evidence): (Arc<dyn registry::Api>, Arc<Evidence>),
    last: &mut LastGood,
) -> Result<NotationVerifier, Vec<PolicyFault>> {
    let key = |part: &str| format!("verifiers.{name}.{part}");
    let fault = |part: &str, why: String| vec![PolicyFault::of(key(part), why)];
    let read = |texts: &Texts| TrustPolicy::read(texts.0.first().map(|(_, text)| text.as_str()).unwrap_or_default());
    let policy = last.named(&key("trust_policy"), std::slice::from_ref(&written.trust_policy), read);
    let policy = policy.map_err(|why| fault("trust_policy", why))?;
    let stores: Vec<(StoreName, PathBuf)> = policy.stores().map(|store| (store.clone(), folder(written, store))).collect();
    let of_store = |texts: &Texts| {
        let file = |(path, text): &'_ (PathBuf, String)| {
            let (store, _) = stores.iter().find(|(_, folder)| path.parent() == Some(folder))?;
            Some((store.clone(), path.display().to_string(), text.clone()))
        };
        let files: Vec<_> = texts.0.iter().filter_map(file).collect();
        TrustStores::read(files.iter().map(|(store, name, text)| (store, name.as_str(), text.as_str())))
    };
    let folders: Vec<PathBuf> = stores.iter().map(|(_, folder)| folder.clone()).collect();
    let certificates = of_folders(&folders, &CERTIFICATES, CERTIFICATE, FILE_BYTES);
    let crls: Vec<PathBuf> = written.crls.iter().cloned().collect();
    let lists = of_folders(&crls, &LISTS, LIST, CRL_BYTES);
    let certificates = last.make(&key("trust_store"), certificates, &folders, of_store).map_err(|why| fault("trust_store", why));
    let lists = last.make(&key("crls"), lists, &crls, of_lists).map_err(|why| fault("crls", why));
    match (certificates, lists) {
        (Ok(stores), Ok(lists)) => {
            let fetched = refresher.as_ref().map(|refresher| fetched(refresher.folder())).unwrap_or_default();
            let notation = Notation::of(policy, stores, lists.and(fetched)).refreshed(refresher);
            Ok(NotationVerifier::new(name.clone(), notation, registry).keeping(evidence, written.recheck))
        }
        (certificates, lists) => Err(certificates.err().into_iter().chain(lists.err()).flatten().collect()),
    }
}

/// What changes where its folders do: themselves, and the files in them.
pub(super) fn watched(written: &NotationSettings) -> Vec<PathBuf> {
    let stores = stores_now(written);
    let files_of = |folders: &[PathBuf], endings: &[&str]| -> Vec<PathBuf> {
        folders.iter().flat_map(|folder| files_in(folder, endings).unwrap_or_default()).collect()
    };
    let crls: Vec<PathBuf> = written.crls.iter().cloned().collect();
    let (certificates, lists) = (files_of(&stores, &CERTIFICATES), files_of(&crls, &LISTS));
    [stores, crls, certificates, lists].concat()
}

/// The same of lists that are fetched.
pub(super) fn watched_lists(folder: &Path) -> Vec<PathBuf> {
    let lists = files_in(folder, &LISTS).unwrap_or_default();
    std::iter::once(folder.to_owned()).chain(lists).collect()
}

/// The lists that were fetched. They were good when they came: one that is damaged since is as one that could not be fetched.
fn fetched(folder: &Path) -> Crls {
    let mut lists = Crls::default();
    let mut left = LISTS_BYTES;
    for path in files_in(folder, &LISTS).unwrap_or_default() {
        let read = read_owned_bytes(&path, left).map_err(|error| told(&path, &error));
        let list = read.and_then(|bytes| {
            left -= bytes.len() as u64;
            Crls::of_one(&bytes).map_err(|why| format!("`{}`: {why}", path.display()))
        });
        match list {
            Ok(list) => lists = lists.and(list),
            Err(why) => tracing::warn!(why, "a CRL that was fetched does not count"),
        }
    }
    lists
}

/// What its stores hold now, for whoever compares one with another: names within them, and content.
pub(super) fn held(written: &NotationSettings) -> Vec<(String, String)> {
    let certificates = of_folders(&stores_now(written), &CERTIFICATES, CERTIFICATE, FILE_BYTES);
    let relative = |path: PathBuf| path.strip_prefix(&written.trust_store).unwrap_or(&path).display().to_string();
    certificates.unwrap_or_default().0.into_iter().map(|(path, text)| (relative(path), text)).collect()
}

/// The folders of the stores that the trust policy names as it is now.
fn stores_now(written: &NotationSettings) -> Vec<PathBuf> {
    let text = read_owned(&written.trust_policy, FILE_BYTES).ok();
    let policy = text.and_then(|text| TrustPolicy::read(&text).ok());
    policy.iter().flat_map(TrustPolicy::stores).map(|store| folder(written, store)).collect()
}

fn folder(written: &NotationSettings, store: &StoreName) -> PathBuf {
    store.folder().iter().fold(written.trust_store.clone(), |folder, part| folder.join(part))
}

/// The files of folders that have one of these endings, as PEM. A folder that is not there is empty.
fn of_folders(folders: &[PathBuf], endings: &[&str], label: &str, most: u64) -> Result<Texts, String> {
    let mut texts = Texts::default();
    for folder in folders {
        for path in files_in(folder, endings)? {
            let bytes = read_owned_bytes(&path, most).map_err(|error| told(&path, &error))?;
            texts.0.push((path, as_pem(bytes, label)));
        }
    }
    Ok(texts)
}

fn files_in(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, String> {
    match owned_folder(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(told(folder, &error)),
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| told(folder, &error))? {
        let path = entry.map_err(|error| told(folder, &error))?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
        if ending.is_some_and(|ending| endings.contains(&ending)) && !is_folder {
            paths.push(path);
        }
        if paths.len() > FILES {
            return Err(format!("`{}` holds more than {FILES} files", folder.display()));
        }
    }
    paths.sort();
    Ok(paths)
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("`{}` cannot be used: {error}", path.display())
}

/// PEM as it is; anything else as DER, put into PEM.
fn as_pem(bytes: Vec<u8>, label: &str) -> String {
    match String::from_utf8(bytes) {
        Ok(text) if text.contains("-----BEGIN ") => text,
        Ok(text) => armoured(text.as_bytes(), label),
        Err(bytes) => armoured(bytes.as_bytes(), label),
    }
}

fn armoured(der: &[u8], label: &str) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn of_lists(texts: &Texts) -> Result<Crls, String> {
    if texts.0.iter().map(|(_, text)| text.len()).sum::<usize>() > CRLS_BYTES {
        return Err(format!("the CRLs have more than {CRLS_BYTES} bytes"));
    }
    Crls::read(texts.0.iter().map(|(path, text)| {
        (path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(), text.as_str())
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::registry::Fake;

    /// The verifier's files in a folder of their own.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir_all(place.store()).unwrap();
            std::fs::write(place.at("trustpolicy.json"), include_str!("../../examples/policies/10-notation/trustpolicy.json"))
                .unwrap();
            std::fs::copy(fixture("ca.crt"), place.store().join("ca.crt")).unwrap();
            place
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn store(&self) -> PathBuf {
            self.at("truststore/x509/ca/company")
        }

        fn settings(&self) -> NotationSettings {
            let (trust_policy, trust_store) = (self.at("trustpolicy.json"), self.at("truststore"));
            NotationSettings { trust_policy, trust_store, crls: Some(self.at("crls")), fetch: false, recheck: None }
        }

        /// What the verifier is made of; or the fault's key and text.
        fn made(&self, last: &mut LastGood) -> Result<String, String> {
            last.begin();
            let evidence = Evidence::looked_at(self.at("evidence"));
            let made = notation_of(&"corp".parse().unwrap(), &self.settings(), None, (Arc::new(Fake::new()), evidence), last);
            last.keep();
            made.map(|made| format!("{made:?}")).map_err(|faults| faults.iter().map(ToString::to_string).collect())
        }
    }

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("test/fixtures/notation").join(name)
    }

    #[test]
    fn certificates_count_in_pem_and_der_and_one_that_is_taken_away_counts_no_more() {
        let (place, mut last) = (Place::new(), LastGood::default());
        let of_pem = place.made(&mut last).unwrap();
        assert_eq!(of_pem.matches("Certificate {").count(), 1, "{of_pem}");
        let pem = std::fs::read_to_string(fixture("ca.crt")).unwrap();
        let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        std::fs::remove_file(place.store().join("ca.crt")).unwrap();
        std::fs::write(place.store().join("ca.cer"), STANDARD.decode(base64).unwrap()).unwrap();
        assert_eq!(place.made(&mut last), Ok(of_pem.clone()));
        // What is called otherwise, and what lies deeper, is passed over.
        std::fs::write(place.store().join("README"), "").unwrap();
        std::fs::create_dir(place.store().join("old.pem")).unwrap();
        assert_eq!(place.made(&mut last), Ok(of_pem.clone()));
        let watched = watched(&place.settings());
        assert!(watched.contains(&place.store()) && watched.contains(&place.store().join("ca.cer")), "{watched:?}");
        assert_eq!(held(&place.settings()).len(), 1);
        // A faulty file beside it changes nothing, and is told; without the certificate there is none.
        std::fs::write(place.store().join("new.pem"), "half a").unwrap();
        assert_eq!(place.made(&mut last), Ok(of_pem));
        assert!(last.faults().iter().any(|fault| fault.why.contains("new.pem")));
        std::fs::remove_file(place.store().join("ca.cer")).unwrap();
        assert!(place.made(&mut last).is_err(), "what is gone does not count again");
        std::fs::remove_dir_all(place.store()).unwrap();
        assert!(!place.made(&mut last).unwrap().contains("Certificate {"));
    }

    #[test]
    fn what_proves_nothing_or_is_open_to_others_is_a_fault_of_its_key() {
        let fault = |change: &dyn Fn(&Place)| {
            let place = Place::new();
            change(&place);
            place.made(&mut LastGood::default()).unwrap_err()
        };
        let policy = |from: &str, to: &str| {
            let text = include_str!("../../examples/policies/10-notation/trustpolicy.json").replace(from, to);
            fault(&|place| std::fs::write(place.at("trustpolicy.json"), &text).unwrap())
        };
        let skip = policy("strict", "skip");
        assert!(skip.starts_with("verifiers.corp.trust_policy") && skip.contains("proves nothing"), "{skip}");
        assert!(policy("\"1.0\"", "\"2.0\"").contains("not 1.0"));
        assert!(fault(&|place| std::fs::remove_file(place.at("trustpolicy.json")).unwrap()).contains("trust_policy"));
        let linked = fault(&|place| {
            std::fs::rename(place.store(), place.at("elsewhere")).unwrap();
            symlink(place.at("elsewhere"), place.store()).unwrap();
        });
        assert!(linked.starts_with("verifiers.corp.trust_store") && linked.contains("symbolic link"), "{linked}");
        let file = fault(&|place| {
            std::fs::rename(place.store().join("ca.crt"), place.at("ca.crt")).unwrap();
            symlink(place.at("ca.crt"), place.store().join("ca.crt")).unwrap();
        });
        assert!(file.contains("symbolic link"), "{file}");
        let list = fault(&|place| {
            std::fs::create_dir(place.at("crls")).unwrap();
            std::fs::write(place.at("crls/ca.crl"), "no list").unwrap();
        });
        assert!(list.starts_with("verifiers.corp.crls"), "{list}");
    }
}
