//! Trust stores: certificates by the type and the name of their store, as notation keeps them (`x509/ca/NAME/*.pem`).

use std::collections::BTreeMap;

use super::policy::{Statement, StoreKind, StoreName};
use crate::trust::pki::Certificate;

/// Most certificates of one file.
const CERTIFICATES: usize = 256;

/// Certificates by store. One that is not here is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustStores(BTreeMap<StoreName, Vec<Certificate>>);

impl TrustStores {
    /// The certificates of files in PEM, each with the store that it lies in and what it is called. One that cannot be used makes all of its
    /// store unusable, and is a fault.
    pub fn read<'f>(files: impl Iterator<Item = (&'f StoreName, &'f str, &'f str)>) -> Result<Self, String> {
        let mut stores = Self::default();
        for (store, file, text) in files {
            let found =
                Certificate::of_pem(text.as_bytes(), CERTIFICATES).map_err(|fault| format!("{store}: `{file}` {fault}"))?;
            for certificate in &found {
                let is_root = || certificate.is_self_issued() && certificate.issued(certificate).is_ok();
                match store.kind {
                    StoreKind::Tsa if !is_root() => {
                        return Err(format!("{store}: `{file}` holds a certificate that is not a self-signed root"));
                    }
                    StoreKind::Ca | StoreKind::SigningAuthority if !certificate.is_ca() && !is_root() => {
                        return Err(format!("{store}: `{file}` holds a certificate that is neither a CA nor self-signed"));
                    }
                    StoreKind::Ca | StoreKind::SigningAuthority | StoreKind::Tsa => {}
                }
            }
            stores.0.entry(store.clone()).or_default().extend(found);
        }
        Ok(stores)
    }

    /// The certificates of a store; none where it is empty or absent.
    pub(super) fn of(&self, store: &StoreName) -> &[Certificate] {
        self.0.get(store).map(Vec::as_slice).unwrap_or_default()
    }

    /// All certificates.
    pub(super) fn all(&self) -> impl Iterator<Item = &Certificate> {
        self.0.values().flatten()
    }

    /// The stores of a kind that a statement names, with what is in them; or the first that is empty.
    pub(super) fn named<'s>(
        &'s self,
        statement: &'s Statement,
        kind: StoreKind,
    ) -> Result<Vec<(&'s StoreName, &'s [Certificate])>, &'s StoreName> {
        let with = |store| match self.of(store) {
            [] => Err(store),
            found => Ok((store, found)),
        };
        statement.stores_of(kind).map(with).collect()
    }
}
