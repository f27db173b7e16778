//! What cosign 2 writes beside a signature, in the annotations of its layer: the certificate, its chain, a log's entry, a timestamp. Read within a
//! bound, and kept with the signature.

use oci_spec::image::Descriptor;

use super::bundle::Proofs;
use super::error::Unfit;
use crate::trust::evidence::Parts;
use crate::trust::sigstore::{Annotations, Material};

const CERTIFICATE: &str = "certificate";
const CHAIN: &str = "chain";
const ENTRY: &str = "entry";
const STAMP: &str = "timestamp";
/// As annotations are called, in the order of the above.
const WRITTEN: [&str; 4] = [
    "dev.sigstore.cosign/certificate",
    "dev.sigstore.cosign/chain",
    "dev.sigstore.cosign/bundle",
    "dev.sigstore.cosign/rfc3161timestamp",
];
/// Longest text that is read. Honest ones have 1 to 8 thousand characters.
const CHARS: usize = 64 << 10;

/// What is written beside the signature in this layer.
pub(super) fn of(layer: &Descriptor, proofs: Proofs) -> Result<Annotations, Unfit> {
    let annotation = |key: &str| layer.annotations().as_ref().and_then(|annotations| annotations.get(key));
    let beside = WRITTEN.map(|key| annotation(key).filter(|text| !text.is_empty()).cloned());
    if beside.iter().flatten().any(|text| text.len() > CHARS) {
        return Err(Unfit::form("what is written beside a signature is too large"));
    }
    let [certificate, chain, entry, stamp] = beside;
    if proofs == Proofs::Ignored && certificate.is_some() {
        return Err(Unfit::Certificate);
    }
    Ok(Annotations { certificate, chain, entry, stamp })
}

/// What proves the signature, where there is a root by which that can be judged.
pub(super) fn material(annotations: &Annotations, proofs: Proofs) -> Result<Material, Unfit> {
    match proofs {
        Proofs::Read => Ok(Material::of_annotations(annotations)?),
        Proofs::Ignored if annotations.certificate.is_some() => Err(Unfit::Certificate),
        Proofs::Ignored => Ok(Material::default()),
    }
}

/// As it is kept.
pub(super) fn parts(annotations: Annotations) -> impl Iterator<Item = (String, Vec<u8>)> {
    let Annotations { certificate, chain, entry, stamp } = annotations;
    let beside = [(CERTIFICATE, certificate), (CHAIN, chain), (ENTRY, entry), (STAMP, stamp)];
    beside.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into_bytes())))
}

/// Takes it out of what was kept; `None`: it is something else.
pub(super) fn taken(parts: &mut Parts) -> Option<Annotations> {
    let mut text = |name| parts.remove(name).map(String::from_utf8).transpose().ok();
    Some(Annotations { certificate: text(CERTIFICATE)?, chain: text(CHAIN)?, entry: text(ENTRY)?, stamp: text(STAMP)? })
}
