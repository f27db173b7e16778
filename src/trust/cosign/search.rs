//! Looks for one good signature of a digest, in all places where cosign keeps them, within bounds: what is cheap to see comes before
//! what has to be fetched, and that before what has to be verified.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_spec::image::Descriptor;

use super::Cosign;
use super::bundle::{self, Proofs};
use super::error::Unfit;
use super::proof::{Claim, Proof};
use crate::image::Digest;
use crate::registry::{Content, Listing, Manifest, Pointer, list_tag, signature_tag};
use crate::text::fit;
use crate::trust::registry::NotVouched;
use crate::trust::signatures::{Asked, Good, Hunt, Layer, No, Seen, together};
use crate::trust::sigstore::Annotations;

/// The media type of a layer whose blob is what cosign 2 signs.
pub(super) const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
pub(super) const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
pub(super) const CHAIN: &str = "dev.sigstore.cosign/chain";
pub(super) const ENTRY: &str = "dev.sigstore.cosign/bundle";
pub(super) const STAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
/// Most layers, each a signature, of one manifest of cosign 2.
const LAYERS: usize = 256;
/// Most manifests, or payloads, that are fetched in one search, and how many of them at once.
const FETCHED: usize = 64;
const AT_ONCE: usize = 8;
/// Largest payload, bytes; cosign's have some 300.
const PAYLOAD_BYTES: u64 = 64 << 10;
/// Largest bundle, and largest manifest of one, bytes. Bundles of signatures have 0.7 to 12 KB; larger ones hold what is attested.
const BUNDLE_BYTES: u64 = 256 << 10;
const BUNDLE_MANIFEST_BYTES: u64 = 64 << 10;
/// Longest signature as text; RSA with 8192 bits makes 1368 characters.
const SIGNATURE_CHARS: usize = 4096;
/// Longest text beside a signature that is read: certificates, a log's entry, a timestamp. Honest ones have 1 to 8 thousand characters.
const BESIDE_CHARS: usize = 64 << 10;
/// Longest name that is shown.
const NAME_CHARS: usize = 80;
/// Most times that a key is tried on a signature in one search, as 50 signatures and 10 keys need: 512 take some 60 ms, with the slowest
/// keys 400. What is no key's form of a signature, and the same once more, is not tried.
const CHECKS: usize = 512;

/// One search.
#[derive(Clone, Copy)]
pub(super) struct Search<'s> {
    pub(super) cosign: &'s Cosign,
    pub(super) hunt: Hunt<'s>,
}

type Trials = Seen<Unfit>;

/// Signatures by the blob, its digest and size, that they are of. Whoever writes another size beside it takes nothing away.
type Layers = BTreeMap<(Digest, u64), Vec<(Vec<u8>, Annotations)>>;

impl Search<'_> {
    /// The first good one, with what proves it. Bad ones beside it, and places that do not answer, change nothing; without one they say
    /// why. One place after the other, the newest form first: each that is not needed is a request less.
    pub(super) async fn run(self) -> Result<(Good, Proof), No<Unfit>> {
        let mut seen = Trials::default();
        let mut listing = self.hunt.listed(&mut seen).await;
        if let Some(good) = self.of_listing(&listing, 0, &mut seen).await {
            return Ok(good);
        }
        if self.hunt.goes_on(&mut seen) {
            match self.hunt.tagged(signature_tag(&self.hunt.digest)).await {
                Ok(Some(manifest)) => {
                    let layers = layers_of(&manifest, self.cosign.proofs(), &mut seen);
                    // Of a large manifest little stays while payloads are waited for.
                    drop(manifest);
                    if let Some(good) = self.of_layers(layers, &mut seen).await {
                        return Ok(good);
                    }
                }
                Ok(None) => {}
                Err(why) => seen.missed(why),
            }
        }
        if !self.hunt.goes_on(&mut seen) {
            return Err(seen.told(self.hunt.digest));
        }
        // Also beside a list: the registry may have learned to keep one since.
        let known = listing.pointers.len();
        match self.hunt.tagged(list_tag(&self.hunt.digest)).await {
            Ok(Some(index)) => listing.add(&index),
            Ok(None) => {}
            Err(why) => seen.missed(why),
        }
        if let Some(good) = self.of_listing(&listing, known, &mut seen).await {
            return Ok(good);
        }
        Err(seen.told(self.hunt.digest))
    }

    /// cosign 2: each is a signature of a blob; several may be of one.
    async fn of_layers(&self, payloads: Layers, seen: &mut Trials) -> Option<(Good, Proof)> {
        seen.is_cut |= payloads.len() > FETCHED;
        let payloads: Vec<_> = payloads.into_iter().take(FETCHED).collect();
        for some in payloads.chunks(AT_ONCE) {
            if !self.hunt.goes_on(seen) {
                return None;
            }
            let asked = |((digest, size), _): &((Digest, u64), _)| {
                Box::pin(self.hunt.part(*digest, *size)) as Asked<'_, Result<Vec<u8>, NotVouched>>
            };
            for (bytes, (_, signatures)) in together(some.iter().map(asked).collect()).await.into_iter().zip(some) {
                let bytes = match bytes {
                    Ok(bytes) => bytes,
                    Err(why) => {
                        seen.missed(why);
                        continue;
                    }
                };
                for (signature, annotations) in signatures {
                    let (payload, signature, annotations) = (bytes.clone(), signature.clone(), annotations.clone());
                    let proof = Proof::Payload { payload, signature, annotations };
                    if let Some(good) = self.judged(&proof, seen) {
                        return Some((good, proof));
                    }
                }
            }
        }
        None
    }

    /// cosign 3: each manifest of a list may hold a bundle. The first `known` were looked at before.
    async fn of_listing(&self, listing: &Listing, known: usize, seen: &mut Trials) -> Option<(Good, Proof)> {
        seen.is_cut |= listing.is_cut;
        let mut pointers: Vec<&Pointer> = listing.pointers.iter().skip(known).collect();
        let all = pointers.len();
        pointers.retain(|pointer| pointer.size <= BUNDLE_MANIFEST_BYTES);
        seen.is_cut |= pointers.len() < all;
        // What a list says of their kind is a hint: it may be wrong in either direction (cosign 3.1 itself writes `empty`), so all are
        // looked at, and the likely ones first.
        pointers.sort_by_key(|pointer| match &*pointer.kind {
            kind if bundle::MEDIA_TYPES.contains(&kind) => 0,
            "" | "application/vnd.oci.empty.v1+json" => 1,
            _ => 2,
        });
        seen.is_cut |= pointers.len() > FETCHED;
        pointers.truncate(FETCHED);
        for some in pointers.chunks(AT_ONCE) {
            if !self.hunt.goes_on(seen) {
                return None;
            }
            let asked = some
                .iter()
                .map(|pointer| Box::pin(self.bundle(pointer.digest)) as Asked<'_, Result<Layer<()>, NotVouched>>)
                .collect();
            for found in together(asked).await {
                let bytes = match found {
                    Ok(Layer::Whole((), bytes)) => bytes,
                    Ok(Layer::Large) => {
                        seen.is_cut = true;
                        continue;
                    }
                    Ok(Layer::Other) => continue,
                    Err(why) => {
                        seen.missed(why);
                        continue;
                    }
                };
                let proof = Proof::Bundle(bytes);
                if let Some(good) = self.judged(&proof, seen) {
                    return Some((good, proof));
                }
            }
        }
        None
    }

    /// The bundle that a manifest holds.
    async fn bundle(&self, digest: Digest) -> Result<Layer<()>, NotVouched> {
        let is_bundle = |layer: &Descriptor| bundle::MEDIA_TYPES.contains(&layer.media_type().as_ref());
        self.hunt.layer(digest, BUNDLE_BYTES, |_, layer| is_bundle(layer).then_some(())).await
    }

    /// The good signature that a proof is, if it is one.
    fn judged(&self, proof: &Proof, seen: &mut Trials) -> Option<Good> {
        let proofs = self.cosign.proofs();
        let Claim { offer, tag } = match proof.claim(self.hunt.errand.repository, self.hunt.digest, proofs) {
            Ok(claim) => claim,
            Err(unfit) => {
                seen.unfit(unfit);
                return None;
            }
        };
        if !seen.tried.insert(proof.mark(&offer, proofs)) {
            return None;
        }
        let mut checks = seen.checks;
        let who = self.cosign.who(&offer, self.hunt.now, |more| {
            checks += more;
            checks <= CHECKS
        });
        seen.checks = checks;
        let good = match who {
            Ok(Some(signer)) => signer.good(tag),
            Ok(None) => {
                (seen.is_cut, seen.is_over) = (true, true);
                return None;
            }
            Err(unfit) => {
                seen.unfit(unfit);
                return None;
            }
        };
        if good.is_for(self.hunt.tag) {
            return Some(good);
        }
        let other = good.tag.map(|tag| format!("{}:{tag}", self.hunt.errand.repository)).unwrap_or_default();
        seen.unfit(Unfit::OtherTag { signed: fit(&other, NAME_CHARS) });
        None
    }
}

/// The signatures in a manifest of cosign 2.
fn layers_of(manifest: &Manifest, proofs: Proofs, seen: &mut Trials) -> Layers {
    let mut layers = Layers::new();
    let Content::Image(image) = manifest.content() else {
        seen.unfit(Unfit::form("an index stands where signatures should"));
        return layers;
    };
    seen.is_cut |= image.layers().len() > LAYERS;
    for layer in image.layers().iter().take(LAYERS).filter(|layer| layer.media_type().as_ref() == SIMPLE_SIGNING) {
        let annotation = |key: &str| layer.annotations().as_ref().and_then(|annotations| annotations.get(key));
        let Ok(digest) = layer.digest().as_ref().parse() else { continue };
        let beside = [CERTIFICATE, CHAIN, ENTRY, STAMP].map(|key| annotation(key).filter(|text| !text.is_empty()).cloned());
        if beside.iter().flatten().any(|text| text.len() > BESIDE_CHARS) {
            seen.unfit(Unfit::form("what is written beside a signature is too large"));
            continue;
        }
        let [certificate, chain, entry, stamp] = beside;
        if proofs == Proofs::Ignored && certificate.is_some() {
            seen.unfit(Unfit::Certificate);
            continue;
        }
        let annotations = Annotations { certificate, chain, entry, stamp };
        let signature = annotation(SIGNATURE).filter(|text| text.len() <= SIGNATURE_CHARS);
        let signature = signature.and_then(|text| STANDARD.decode(text).ok());
        match signature.filter(|_| (1..=PAYLOAD_BYTES).contains(&layer.size())) {
            Some(signature) => layers.entry((digest, layer.size())).or_default().push((signature, annotations)),
            None => seen.unfit(Unfit::form("a layer has no signature, or is too large")),
        }
    }
    layers
}
