//! What notation signs: a JSON with the descriptor of the artifact.

use serde::Deserialize;

use super::error::Unfit;
use crate::image::Digest;
use crate::trust::object::{self, Object};
use crate::trust::signatures::Subject;

/// What is asked about, of bytes that were hashed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Artifact<'a> {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: &'a str,
}

impl From<Subject> for Artifact<'static> {
    fn from(subject: Subject) -> Self {
        Self { digest: subject.digest, size: subject.size, media_type: subject.media_type }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    target_artifact: Object<Descriptor>,
}

/// Annotations and the artifact's type are of the signer, and decide nothing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

/// Whether it is of this: the same digest, size and media type.
pub(super) fn is_of(payload: &[u8], artifact: &Artifact<'_>) -> Result<(), Unfit> {
    let Payload { target_artifact: Object(signed) } = object::read(payload).map_err(Unfit::form)?;
    let is_it =
        signed.digest == artifact.digest.to_string() && signed.size == artifact.size && signed.media_type == artifact.media_type;
    if is_it { Ok(()) } else { Err(Unfit::OtherArtifact) }
}
