//! What cosign's signatures and statements say of themselves, for people: nothing of it is proven, and no verifier goes by it.

use oci_spec::image::Descriptor;
use serde::Deserialize;

use super::attested::ENVELOPE;
use super::beside;
use super::bundle::{self, Proofs};
use super::envelope::{self, Offer};
use super::search::SIMPLE_SIGNING;
use crate::image::Digest;
use crate::trust::claims::{Claims, Signer};
use crate::trust::object::{self, Object};
use crate::trust::sigstore::Material;
use crate::trust::subject::Subject;

/// What a signature states.
const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";
/// Most digests that are shown of one statement.
const DIGESTS: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    predicate_type: String,
    #[serde(default)]
    subject: Vec<Object<Subject>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hinted {
    verification_material: Object<Beside>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Beside {
    public_key: Option<Object<Hint>>,
}

#[derive(Deserialize)]
struct Hint {
    hint: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    critical: Object<Critical>,
}

#[derive(Deserialize)]
struct Critical {
    identity: Object<Named>,
    image: Object<Image>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// In which form cosign keeps something beside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) enum Form {
    /// cosign 2: a payload, with its signature in an annotation.
    Payload,
    /// cosign 2: an envelope of what is attested.
    Envelope,
    /// cosign 3: a bundle of either.
    Bundle,
}

impl Form {
    /// Of a layer's media type; `None`: it is not cosign's.
    pub(in crate::trust) fn of(media_type: &str) -> Option<Self> {
        match media_type {
            SIMPLE_SIGNING => Some(Self::Payload),
            ENVELOPE => Some(Self::Envelope),
            media_type => bundle::MEDIA_TYPES.contains(&media_type).then_some(Self::Bundle),
        }
    }
}

/// What a layer says, with what is written beside it.
pub(in crate::trust) fn of_layer(form: Form, layer: &Descriptor, bytes: &[u8]) -> Result<Claims, String> {
    let read = || beside::material(&beside::of(layer, Proofs::Read)?, Proofs::Read);
    let material = || read().map_err(|unfit| unfit.to_string());
    match form {
        Form::Payload => of_payload(bytes, &material()?),
        Form::Envelope => stated(&envelope::read(bytes).map_err(|unfit| unfit.to_string())?.with(material()?), None),
        Form::Bundle => of_bundle(bytes),
    }
}

/// What a bundle says.
fn of_bundle(bytes: &[u8]) -> Result<Claims, String> {
    let offer = bundle::opened(bytes, Proofs::Read).map_err(|unfit| unfit.to_string())?;
    let hint = object::parsed::<Hinted>(bytes).ok().and_then(|hinted| hinted.verification_material.0.public_key?.0.hint);
    stated(&offer, hint)
}

/// What a payload of cosign 2 says.
fn of_payload(payload: &[u8], material: &Material) -> Result<Claims, String> {
    let Payload { critical: Object(critical) } = object::read(payload)?;
    let claims =
        Claims { digests: vec![critical.image.0.digest], name: Some(critical.identity.0.reference), ..Claims::default() };
    by(claims, material, None)
}

fn stated(offer: &Offer, hint: Option<String>) -> Result<Claims, String> {
    let Statement { predicate_type, subject } = object::read(offer.payload())?;
    let digests = subject.iter().filter_map(|Object(subject)| Digest::from_hex(subject.sha256()?).ok());
    let digests = digests.take(DIGESTS).map(|digest| digest.to_string()).collect();
    let predicate_type = (predicate_type != SIGNS).then_some(predicate_type);
    by(Claims { digests, predicate_type, ..Claims::default() }, &offer.material, hint)
}

fn by(claims: Claims, material: &Material, hint: Option<String>) -> Result<Claims, String> {
    let signer = match material.identity() {
        Some(identity) => Signer::Identity { subject: identity.subject, issuer: identity.issuer },
        None if material.has_certificate() => return Err("its certificate names nobody, or cannot be read".to_owned()),
        None => Signer::Key { hint },
    };
    Ok(Claims { signer: Some(signer), signed_at: material.time(), log: material.indexes(), ..claims })
}
