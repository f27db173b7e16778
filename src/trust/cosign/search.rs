//! Looks for one good signature of a digest, in all places where cosign keeps them, within bounds: what is cheap to see comes before
//! what has to be fetched, that before what has to be verified, and what is usual before what costs more.

use crate::order::sort_by_key;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_spec::image::Descriptor;

use super::Cosign;
use super::beside;
use super::bundle::{self, Proofs};
use super::cost::{Cost, Memo, Purse};
use super::error::Unfit;
use super::proof::{Claim, Proof};
use crate::image::Digest;
use crate::registry::{Content, Listing, Manifest, Pointer, signature_tag};
use crate::text::fit;
use crate::trust::registry::NotVouched;
use crate::trust::signatures::{Arriving, Asked, Found, Good, Hunt, Known, Layer, Mark, No, Origin, Place, Seen, Sizes};
use crate::trust::sigstore::Annotations;

/// The media type of a layer whose blob is what cosign 2 signs.
pub(super) const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
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
/// Up to this size, bytes, a manifest is a likely one; cosign's have some 800.
const LIKELY_BYTES: u64 = 4 << 10;
/// Longest signature as text; RSA with 8192 bits makes 1368 characters.
const SIGNATURE_CHARS: usize = 4096;
/// Longest name that is shown.
const NAME_CHARS: usize = 80;
/// From this size on, bytes, a bundle is fetched when no smaller one is left.
const SMALL_BYTES: u64 = 32 << 10;
/// Most times that a key is tried on a signature in one search: [`FETCHED`] signatures by strangers, and 16 keys. 1024 take some 120 ms, with the
/// slowest keys 800. What is no key's form of a signature, and the same once more, is not tried. Most checks of strangers' certificates, 16 for each,
/// and of what proves signatures that are genuine.
const SPENT: Purse = Purse { trials: 1024, certified: 1024, proofs: 1024 };
/// What those may cost then for which nothing was left, and most bytes of these.
const SPENT_LATER: usize = 512;
const LATER_BYTES: usize = 4 << 20;
/// After so many signatures of one blob others have their turn.
const IN_A_ROW: usize = 32;

/// One search.
#[derive(Clone, Copy)]
pub(super) struct Search<'s> {
    pub(super) cosign: &'s Cosign,
    pub(super) hunt: Hunt<'s>,
}

/// What was seen, and what is judged when the others were.
struct Trials {
    seen: Seen<Unfit>,
    purse: Purse,
    memo: Memo,
    later: Vec<Later>,
    is_last: bool,
}

/// What nothing was left for.
struct Later {
    proof: Proof,
    /// Where it lies.
    from: Origin,
    /// Nobody is known to have issued its certificate: those of whom that is known come first.
    is_stranger: bool,
}

/// What comes of judging one.
enum Judged {
    Good(Good, Mark),
    Bad,
    /// Nothing is left for it now.
    Later {
        is_stranger: bool,
    },
}

/// Signatures by the blob, its digest and size, that they are of. Whoever writes another size beside it takes nothing away.
type Layers = BTreeMap<(Digest, u64), Signatures>;
type Signatures = Vec<(Vec<u8>, Annotations)>;

impl Search<'_> {
    /// The first good one, with what proves it. Bad ones beside it, and places that do not answer, change nothing; without one they say
    /// why.
    pub(super) async fn run(self) -> Result<Found, No<Unfit>> {
        let mut trials = Trials { seen: Seen::default(), purse: SPENT, memo: Memo::default(), later: Vec::new(), is_last: false };
        if let Some(good) = self.all(&mut trials).await {
            return Ok(good);
        }
        trials.is_last = true;
        trials.purse = Purse { certified: SPENT_LATER, proofs: SPENT_LATER, ..trials.purse };
        let mut later = std::mem::take(&mut trials.later);
        sort_by_key(&mut later, |one| one.is_stranger);
        for (at, Later { proof, from, .. }) in later.into_iter().enumerate() {
            if !self.has_turn(at, &mut trials).await {
                break;
            }
            if let Some(good) = self.taken(proof, from, &mut trials) {
                return Ok(good);
            }
        }
        Err(trials.seen.told(self.hunt.digest))
    }

    /// One place after the other.
    async fn all(&self, trials: &mut Trials) -> Option<Found> {
        let mut listing = Listing::default();
        for (at, place) in self.hunt.places().into_iter().enumerate() {
            if at > 0 && !self.hunt.goes_on(&mut trials.seen) {
                return None;
            }
            let found = match place {
                Place::OwnTag => self.of_tag(trials).await,
                Place::List | Place::StandIn => {
                    let known = listing.pointers.len();
                    self.hunt.list(place, &mut listing, &mut trials.seen).await;
                    self.of_listing(&listing, known, trials).await
                }
            };
            if found.is_some() {
                return found;
            }
        }
        self.hunt.lists_are_read(&listing, &mut trials.seen);
        None
    }

    /// cosign 2: its own tag.
    async fn of_tag(&self, trials: &mut Trials) -> Option<Found> {
        match self.hunt.tagged(signature_tag(&self.hunt.digest)).await {
            Ok(Some(manifest)) => {
                let proofs = self.cosign.proofs();
                self.hunt.own_tag_is_read(&mut trials.seen, |mark| is_among(&manifest, mark, proofs));
                let layers = layers_of(&manifest, proofs, &mut trials.seen);
                // Of a large manifest little stays while payloads are waited for.
                drop(manifest);
                self.of_layers(layers, trials).await
            }
            Ok(None) => {
                self.hunt.own_tag_is_read(&mut trials.seen, |_| false);
                None
            }
            Err(why) => {
                trials.seen.missed(why);
                None
            }
        }
    }

    /// Each is a signature of a blob; several may be of one.
    async fn of_layers(&self, payloads: Layers, trials: &mut Trials) -> Option<Found> {
        trials.seen.is_cut |= payloads.len() > FETCHED;
        let payloads = payloads.into_iter().take(FETCHED).map(|((digest, size), signatures)| {
            Box::pin(async move { (self.hunt.part(digest, size).await, signatures) })
                as Asked<'_, (Result<Vec<u8>, NotVouched>, Signatures)>
        });
        let mut arriving = Arriving::of(payloads, AT_ONCE);
        while let Some((bytes, signatures)) = arriving.next().await {
            match bytes {
                Ok(bytes) => {
                    for (at, (signature, annotations)) in signatures.into_iter().enumerate() {
                        if !self.has_turn(at, trials).await {
                            break;
                        }
                        let proof = Proof::Payload { payload: bytes.clone(), signature, annotations };
                        if let Some(good) = self.taken(proof, Origin::OwnTag, trials) {
                            return Some(good);
                        }
                    }
                }
                Err(why) => trials.seen.missed(why),
            }
            if arriving.is_waiting() && !self.hunt.goes_on(&mut trials.seen) {
                arriving.ends();
            }
        }
        None
    }

    /// cosign 3: each manifest of a list may hold a bundle. The first `known` were looked at before.
    async fn of_listing(&self, listing: &Listing, known: usize, trials: &mut Trials) -> Option<Found> {
        // What a list says of their kind is a hint: it may be wrong in either direction (cosign 3.1 itself writes `empty`), so all are
        // looked at, and the likely ones first; of these the small ones, as honest ones are.
        let rank = |pointer: &Pointer| {
            let kind = match &*pointer.kind {
                kind if bundle::MEDIA_TYPES.contains(&kind) => 0,
                "" | "application/vnd.oci.empty.v1+json" => 1,
                _ => 2,
            };
            (kind, pointer.size > LIKELY_BYTES)
        };
        let (digests, is_cut) = self.hunt.likely(listing, known, |_| true, rank, (FETCHED, BUNDLE_MANIFEST_BYTES));
        trials.seen.is_cut |= is_cut;
        let asked = digests.into_iter().map(|digest| {
            Box::pin(async move { (digest, self.bundle(digest).await) }) as Asked<'_, (Digest, Result<Layer<()>, NotVouched>)>
        });
        let mut arriving = Arriving::of(asked, AT_ONCE);
        while let Some((digest, found)) = arriving.next().await {
            match found {
                Ok(Layer::Whole((), bytes)) => {
                    if let Some(good) = self.taken(Proof::Bundle(bytes), Origin::Manifest(digest), trials) {
                        return Some(good);
                    }
                }
                Ok(Layer::Later(part)) => {
                    arriving.later(part.size, Box::pin(async move { (digest, self.hunt.fetched(part).await) }));
                }
                Ok(Layer::Large) => trials.seen.is_cut = true,
                Ok(Layer::Other) => self.hunt.holds_nothing(digest, &mut trials.seen),
                Err(why) => trials.seen.missed(why),
            }
            if arriving.is_waiting() && !self.hunt.goes_on(&mut trials.seen) {
                arriving.ends();
            }
        }
        None
    }

    /// The bundle that a manifest holds.
    async fn bundle(&self, digest: Digest) -> Result<Layer<()>, NotVouched> {
        let is_bundle = |layer: &Descriptor| bundle::MEDIA_TYPES.contains(&layer.media_type().as_ref());
        let sizes = Sizes { small: SMALL_BYTES, most: BUNDLE_BYTES };
        self.hunt.layer(digest, sizes, |_, layer| is_bundle(layer).then_some(())).await
    }

    /// Whether the one at this place of many is looked at. What has come is, and of those behind it what there is time for.
    async fn has_turn(&self, at: usize, trials: &mut Trials) -> bool {
        if at > 0 && at.is_multiple_of(IN_A_ROW) {
            tokio::task::yield_now().await;
        }
        at == 0 || self.hunt.goes_on(&mut trials.seen)
    }

    /// What a proof shows, if it is one of a good signature.
    fn taken(&self, proof: Proof, origin: Origin, trials: &mut Trials) -> Option<Found> {
        match self.judged(&proof, trials) {
            Judged::Good(good, mark) => Some(Found { good, parts: proof.parts(), known: Known { origin, mark } }),
            Judged::Bad => None,
            Judged::Later { is_stranger } => {
                let waiting: usize = trials.later.iter().map(|one| one.proof.bytes()).sum();
                if waiting + proof.bytes() <= LATER_BYTES {
                    trials.later.push(Later { proof, from: origin, is_stranger });
                } else {
                    trials.seen.is_cut = true;
                }
                None
            }
        }
    }

    fn judged(&self, proof: &Proof, trials: &mut Trials) -> Judged {
        let Trials { seen, purse, memo, is_last, .. } = trials;
        let proofs = self.cosign.proofs();
        let Claim { offer, tag } = match proof.claim(self.hunt.errand.repository, self.hunt.digest, proofs) {
            Ok(claim) => claim,
            Err(unfit) => {
                seen.unfit(unfit);
                return Judged::Bad;
            }
        };
        let mark = proof.mark(&offer, proofs);
        if !seen.tried.insert(mark) && !*is_last {
            return Judged::Bad;
        }
        let mut refused = None;
        let who = self.cosign.who(&offer, self.hunt.now, memo, |cost| {
            let may = purse.pays(cost);
            refused = (!may).then_some(cost);
            may
        });
        let has_trials = refused != Some(Cost::Trial);
        let good = match who {
            Ok(Some(signer)) => signer.good(tag),
            Ok(None) if has_trials && !*is_last => {
                return Judged::Later { is_stranger: matches!(refused, Some(Cost::Certified(_))) };
            }
            Ok(None) => {
                seen.is_cut = true;
                // Who signs with a certificate needs no trial.
                seen.is_over |= !has_trials && self.cosign.identities.are_none();
                return Judged::Bad;
            }
            Err(unfit) => {
                seen.unfit(unfit);
                return Judged::Bad;
            }
        };
        if good.is_for(self.hunt.tag) {
            return Judged::Good(good, mark);
        }
        let other = good.tag.map(|tag| format!("{}:{tag}", self.hunt.errand.repository)).unwrap_or_default();
        seen.unfit(Unfit::OtherTag { signed: fit(&other, NAME_CHARS) });
        Judged::Bad
    }
}

/// Whether one that is known lies in a manifest of cosign 2, whatever else does.
fn is_among(manifest: &Manifest, mark: &Mark, proofs: Proofs) -> bool {
    let Content::Image(image) = manifest.content() else { return false };
    let of_it = image.layers().iter().filter(|layer| layer.digest().as_ref().parse() == Ok(mark.0));
    of_it.filter_map(|layer| Some((signature_of(layer)?, beside::of(layer, proofs).ok()?))).any(|(signature, annotations)| {
        let proof = Proof::Payload { payload: Vec::new(), signature, annotations };
        proof.marked_beside(proofs) == Some(mark.1)
    })
}

fn signature_of(layer: &Descriptor) -> Option<Vec<u8>> {
    let text = layer.annotations().as_ref()?.get(SIGNATURE)?;
    if text.len() <= SIGNATURE_CHARS { STANDARD.decode(text).ok() } else { None }
}

/// The signatures in a manifest of cosign 2.
fn layers_of(manifest: &Manifest, proofs: Proofs, seen: &mut Seen<Unfit>) -> Layers {
    let mut layers = Layers::new();
    let Content::Image(image) = manifest.content() else {
        seen.unfit(Unfit::form("an index stands where signatures should"));
        return layers;
    };
    seen.is_cut |= image.layers().len() > LAYERS;
    for layer in image.layers().iter().take(LAYERS).filter(|layer| layer.media_type().as_ref() == SIMPLE_SIGNING) {
        let Ok(digest) = layer.digest().as_ref().parse() else { continue };
        let annotations = match beside::of(layer, proofs) {
            Ok(annotations) => annotations,
            Err(unfit) => {
                seen.unfit(unfit);
                continue;
            }
        };
        match signature_of(layer).filter(|_| (1..=PAYLOAD_BYTES).contains(&layer.size())) {
            Some(signature) => layers.entry((digest, layer.size())).or_default().push((signature, annotations)),
            None => seen.unfit(Unfit::form("a layer has no signature, or is too large")),
        }
    }
    layers
}
