//! DSSE, the envelope of statements: what is signed is the payload with its type in front, each with its length. Exactly one signature; the type is
//! looked at before anything of the payload.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::Unfit;
use crate::text::fit;
use crate::trust::object::{self, Few, Object};
use crate::trust::sigstore::{Candidate, Material};

const IN_TOTO: &str = "application/vnd.in-toto+json";

/// What has to be verified yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// The bytes that are signed.
    pub(super) signed: Vec<u8>,
    pub(super) signature: Vec<u8>,
    /// What lies beside it to prove it; nothing where that is not read.
    pub(super) material: Material,
    /// Where in what is signed the payload begins.
    payload_at: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Envelope<'e> {
    // Large, and borrowed where nothing in it is escaped.
    #[serde(borrow)]
    payload: Cow<'e, str>,
    payload_type: String,
    // One; of more than some not even the number is said.
    signatures: Few<Object<Signature>, 16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    sig: String,
    #[serde(rename = "keyid")]
    _key: Option<IgnoredAny>,
}

impl Offer {
    /// A payload that is signed as it is.
    pub(super) const fn bare(signed: Vec<u8>, signature: Vec<u8>, material: Material) -> Self {
        Self { signed, signature, material, payload_at: 0 }
    }

    /// The same, with what lies beside it.
    pub(super) fn with(self, material: Material) -> Self {
        Self { material, ..self }
    }

    /// As it is judged.
    pub(super) fn candidate(&self) -> Candidate<'_> {
        let payload = (self.payload_at > 0).then(|| self.payload());
        Candidate { signed: &self.signed, payload, signature: &self.signature, material: &self.material }
    }

    /// What is stated.
    pub(super) fn payload(&self) -> &[u8] {
        self.signed.get(self.payload_at..).unwrap_or_default()
    }
}

impl Envelope<'_> {
    /// What it offers. That it is signed is not known yet.
    pub(super) fn offer(&self) -> Result<Offer, Unfit> {
        if self.payload_type != IN_TOTO {
            return Err(Unfit::form(format!("its payload is `{}`", fit(&self.payload_type, 60))));
        }
        let [Object(signature)] = self.signatures.0.as_slice() else {
            return Err(Unfit::form("it has no signature, or several"));
        };
        let not_base64 = |_| Unfit::form("it is not standard base64");
        let signature = STANDARD.decode(&signature.sig).map_err(not_base64)?;
        // The length stands in front of what is decoded: four characters for three bytes, but where one or two are filled up.
        let filled = self.payload.bytes().rev().take_while(|byte| *byte == b'=').count();
        let length = (self.payload.len() / 4 * 3).saturating_sub(filled);
        let mut signed = format!("DSSEv1 {} {} {length} ", self.payload_type.len(), self.payload_type).into_bytes();
        let payload_at = signed.len();
        signed.reserve_exact(length + 2);
        STANDARD.decode_vec(&*self.payload, &mut signed).map_err(not_base64)?;
        if signed.len() != payload_at + length {
            return Err(Unfit::form("it is not standard base64"));
        }
        Ok(Offer { signed, signature, material: Material::default(), payload_at })
    }
}

/// What a bare envelope offers.
pub(super) fn read(bytes: &[u8]) -> Result<Offer, Unfit> {
    let envelope: Envelope<'_> = object::read(bytes).map_err(Unfit::form)?;
    envelope.offer()
}
