//! What cosign 2 signs: a JSON of its own ("simple signing"), in which stand the digest and the repository.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::Unfit;
use crate::image::{Digest, Reference, Repository, Tag};
use crate::text::fit;
use crate::trust::object::{self, Object};

/// What it says it is; containers/image demands the same.
const TYPE: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Payload {
    critical: Object<Critical>,
    // Anything: of who signs, and signed by them, but no evidence.
    #[serde(rename = "optional")]
    _optional: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Critical {
    identity: Object<Identity>,
    image: Object<Image>,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Whether this is said of the digest in the repository; with the tag that it is said for, if any.
pub(super) fn fits(payload: &[u8], repository: &Repository, digest: Digest) -> Result<Option<Tag>, Unfit> {
    let Payload { critical: Object(critical), _optional } = object::read(payload).map_err(Unfit::form)?;
    if critical.kind != TYPE {
        return Err(Unfit::form(format!("its type is `{}`", fit(&critical.kind, 40))));
    }
    if critical.image.0.digest != digest.to_string() {
        return Err(Unfit::OtherDigest);
    }
    let elsewhere = || Unfit::Elsewhere { signed: fit(&critical.identity.0.reference, 80) };
    let signed: Reference = critical.identity.0.reference.parse().map_err(|_| elsewhere())?;
    if signed.repository != *repository || signed.digest.is_some_and(|signed| signed != digest) {
        return Err(elsewhere());
    }
    Ok(signed.tag)
}
