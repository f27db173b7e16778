//! Sigstore's bundle, version 0.3: what cosign 3 writes. Without a root of trust nothing is read of its log entries and timestamps: they prove
//! nothing then, and the signature alone counts.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::envelope::{Envelope, Offer};
use super::error::Unfit;
use crate::image::Digest;
use crate::text::fit;
use crate::trust::object::{self, Few, Object};
use crate::trust::sigstore::{Material, WrittenMaterial};

/// Its two spellings, which are the media type of its layer as well.
pub(super) const MEDIA_TYPES: [&str; 2] =
    ["application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"];
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What cosign states of an image that it signs. Whatever else is stated of one (an SBOM, a failed scan) is no signature.
const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";
/// Most subjects of one statement. cosign names one.
const SUBJECTS: usize = 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Bundle<'b> {
    media_type: String,
    verification_material: Object<Beside>,
    #[serde(borrow)]
    dsse_envelope: Option<Object<Envelope<'b>>>,
    // Of bytes, whatever these are: it does not state that they are an image.
    message_signature: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Beside {
    certificate: Option<IgnoredAny>,
    x509_certificate_chain: Option<IgnoredAny>,
    public_key: Option<IgnoredAny>,
    #[serde(rename = "tlogEntries")]
    _entries: Option<IgnoredAny>,
    #[serde(rename = "timestampVerificationData")]
    _timestamps: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Few<Object<Subject>, SUBJECTS>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Object<Hashes>,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

/// What is read of a bundle besides the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proofs {
    /// Nothing: there is no root by which they could be judged.
    Ignored,
    /// Certificate, log entries and timestamps.
    Read,
}

/// The part of a bundle that holds its proofs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Proven {
    verification_material: Object<WrittenMaterial>,
}

/// What a bundle offers for this digest. That it is signed is not known yet.
pub(super) fn offer(bytes: &[u8], digest: Digest, proofs: Proofs) -> Result<Offer, Unfit> {
    let offer = opened(bytes, proofs)?;
    says(offer.payload(), digest)?;
    Ok(offer)
}

/// What a bundle offers, whatever it states.
pub(super) fn opened(bytes: &[u8], proofs: Proofs) -> Result<Offer, Unfit> {
    let bundle: Bundle<'_> = object::read(bytes).map_err(Unfit::form)?;
    if !MEDIA_TYPES.contains(&&*bundle.media_type) {
        return Err(Unfit::form(format!("its version is `{}`", fit(&bundle.media_type, 60))));
    }
    let Object(material) = bundle.verification_material;
    match (material.public_key.is_some(), material.certificate.is_some() || material.x509_certificate_chain.is_some()) {
        (true, false) => {}
        (false, true) if proofs == Proofs::Read => {}
        (false, true) => return Err(Unfit::Certificate),
        (true, true) | (false, false) => return Err(Unfit::form("it names no key, or more than one")),
    }
    match (bundle.dsse_envelope, bundle.message_signature) {
        (Some(Object(envelope)), None) => match proofs {
            Proofs::Ignored => envelope.offer(),
            Proofs::Read => {
                let Proven { verification_material: Object(written) } = object::parsed(bytes).map_err(Unfit::form)?;
                Ok(envelope.offer()?.with(Material::of_bundle(written)?))
            }
        },
        (None, Some(_)) => Err(Unfit::Blob),
        (Some(_), Some(_)) | (None, None) => Err(Unfit::form("it has no content, or two")),
    }
}

/// Whether the statement is that an image is signed, and of this digest.
fn says(statement: &[u8], digest: Digest) -> Result<(), Unfit> {
    let statement: Statement = object::read(statement).map_err(Unfit::form)?;
    if statement.predicate_type != SIGNS {
        return Err(Unfit::Attestation { kind: fit(&statement.predicate_type, 80) });
    }
    if statement.kind != STATEMENT {
        return Err(Unfit::form(format!("its statement is `{}`", fit(&statement.kind, 60))));
    }
    let hex = digest.hex();
    let is_it = |Object(subject): &Object<Subject>| subject.digest.0.sha256.as_deref() == Some(&*hex);
    if statement.subject.0.iter().any(is_it) { Ok(()) } else { Err(Unfit::OtherDigest) }
}
