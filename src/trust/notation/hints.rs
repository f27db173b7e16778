//! What a signature of notation says of itself, for people: nothing of it is proven, and no verifier goes by it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::envelope::{Kind, Scheme};
use super::identity::{self, Name};
use super::{cose, jws, x509};
use crate::image::Digest;
use crate::trust::claims::{Certified, Claims, Signer};
use crate::trust::object::{self, Object};

/// How wide PEM is.
const WIDTH: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    target_artifact: Object<Target>,
}

#[derive(Deserialize)]
struct Target {
    digest: String,
}

/// What an envelope of this media type says; `None`: it is none of notation's.
pub(in crate::trust) fn of_envelope(media_type: &str, bytes: &[u8]) -> Option<Result<Claims, String>> {
    Kind::of(media_type).map(|kind| read(kind, bytes))
}

/// Whether a layer of this media type is one of notation's envelopes.
pub(in crate::trust) fn is_envelope(media_type: &str) -> bool {
    Kind::of(media_type).is_some()
}

fn read(kind: Kind, bytes: &[u8]) -> Result<Claims, String> {
    let envelope = match kind {
        Kind::Jws => jws::read(bytes),
        Kind::Cose => cose::read(bytes),
    };
    let envelope = envelope.map_err(|unfit| unfit.to_string())?;
    let Payload { target_artifact: Object(target) } = object::read(&envelope.payload)?;
    let chain = x509::chain(&envelope.chain).map_err(|unfit| unfit.to_string())?;
    let (Some(leaf), Some(root)) = (chain.first(), chain.last()) else { return Err("it has no certificate".to_owned()) };
    let subject = identity::shown(leaf);
    // What is printed must be read again as the same name.
    let identity = Name::read(&subject).ok().filter(|name| name.is_of(leaf)).map(|_| subject.clone());
    let certified = Certified {
        subject,
        identity,
        root: identity::shown(root),
        fingerprint: Digest::of(root.der()).hex(),
        pem: pem(root.der()),
        is_authority: envelope.claims.scheme == Scheme::Authority,
    };
    Ok(Claims {
        digests: vec![target.digest],
        signer: Some(Signer::Certificate(Box::new(certified))),
        signed_at: Some(envelope.claims.signed_at),
        expires: envelope.claims.expiry,
        ..Claims::default()
    })
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(WIDTH) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + "-----END CERTIFICATE-----\n"
}
