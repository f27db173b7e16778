//! What lies beside a signature, for people: nothing of it is proven.

use jiff::Timestamp;

use super::identity::{Claimed, Identity};
use super::material::Material;
use crate::trust::pki::{Certificate, Form, Token};

impl Material {
    /// Whose signature it says it is; `None`: it is made with a key, or with a certificate that names nobody.
    pub(in crate::trust) fn identity(&self) -> Option<Identity> {
        let leaf = Certificate::read(self.certificate.as_deref()?).ok()?;
        let Claimed { subject, issuer, .. } = Claimed::of(&leaf).ok()?;
        Some(Identity { issuer, subject })
    }

    /// Its numbers in logs.
    pub(in crate::trust) fn indexes(&self) -> Vec<u64> {
        self.entries.iter().map(|entry| entry.index).collect()
    }

    /// The earliest time that a log or an authority names.
    pub(in crate::trust) fn time(&self) -> Option<Timestamp> {
        let logged = self.entries.iter().filter_map(|entry| Timestamp::from_second(entry.time?).ok());
        let stamped = self.stamps.iter().filter_map(|der| Some(Token::read(der, Form::TokenOrAnswer).ok()?.at()));
        logged.chain(stamped).min()
    }
}
