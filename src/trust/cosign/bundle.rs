//! Sigstore's bundle, version 0.3: what cosign 3 writes. Of its log entries and timestamps nothing is read: without a root of trust
//! they prove nothing, and the signature alone counts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::Unfit;
use crate::image::Digest;
use crate::text::fit;
use crate::trust::object::{self, Object};

/// Its two spellings, which are the media type of its layer as well.
pub(super) const MEDIA_TYPES: [&str; 2] =
    ["application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"];
const IN_TOTO: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What cosign states of an image that it signs. Whatever else is stated of one (an SBOM, a failed scan) is no signature.
const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";
/// Most subjects of one statement. cosign names one.
const SUBJECTS: usize = 1024;

/// What of a bundle has to be verified yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// The bytes that are signed.
    pub(super) signed: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Bundle {
    media_type: String,
    verification_material: Object<Material>,
    dsse_envelope: Option<Object<Envelope>>,
    // Of bytes, whatever these are: it does not state that they are an image.
    message_signature: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Material {
    certificate: Option<IgnoredAny>,
    x509_certificate_chain: Option<IgnoredAny>,
    public_key: Option<IgnoredAny>,
    #[serde(rename = "tlogEntries")]
    _entries: Option<IgnoredAny>,
    #[serde(rename = "timestampVerificationData")]
    _timestamps: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Object<EnvelopeSignature>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    sig: String,
    #[serde(rename = "keyid")]
    _key: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Object<Subject>>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Object<Hashes>,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

/// What a bundle offers for this digest. That it is signed is not known yet.
pub(super) fn offer(bytes: &[u8], digest: Digest) -> Result<Offer, Unfit> {
    let bundle: Bundle = object::read(bytes).map_err(Unfit::form)?;
    if !MEDIA_TYPES.contains(&&*bundle.media_type) {
        return Err(Unfit::form(format!("its version is `{}`", fit(&bundle.media_type, 60))));
    }
    let Object(material) = bundle.verification_material;
    match (material.public_key.is_some(), material.certificate.is_some() || material.x509_certificate_chain.is_some()) {
        (true, false) => {}
        (false, true) => return Err(Unfit::Certificate),
        (true, true) | (false, false) => return Err(Unfit::form("it names no key, or more than one")),
    }
    match (bundle.dsse_envelope, bundle.message_signature) {
        (Some(Object(envelope)), None) => envelope.offer(digest),
        (None, Some(_)) => Err(Unfit::Blob),
        (Some(_), Some(_)) | (None, None) => Err(Unfit::form("it has no content, or two")),
    }
}

impl Envelope {
    fn offer(self, digest: Digest) -> Result<Offer, Unfit> {
        if self.payload_type != IN_TOTO {
            return Err(Unfit::form(format!("its payload is `{}`", fit(&self.payload_type, 60))));
        }
        let [Object(signature)] = self.signatures.as_slice() else { return Err(Unfit::form("it has no signature, or several")) };
        let (payload, signature) = (base64(&self.payload)?, base64(&signature.sig)?);
        says(&payload, digest)?;
        // DSSE: what is signed is type and payload, each with its length in front.
        let head = format!("DSSEv1 {} {} {} ", self.payload_type.len(), self.payload_type, payload.len());
        let mut signed = head.into_bytes();
        signed.extend_from_slice(&payload);
        Ok(Offer { signed, signature })
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
    if statement.subject.len() > SUBJECTS {
        return Err(Unfit::form(format!("it has more than {SUBJECTS} subjects")));
    }
    let hex = digest.hex();
    let is_it = |Object(subject): &Object<Subject>| subject.digest.0.sha256.as_deref() == Some(&*hex);
    if statement.subject.iter().any(is_it) { Ok(()) } else { Err(Unfit::OtherDigest) }
}

fn base64(text: &str) -> Result<Vec<u8>, Unfit> {
    STANDARD.decode(text).map_err(|_| Unfit::form("it is not standard base64"))
}
