//! What somebody states about an image and signs with cosign, in all places where cosign keeps it: bundles in the registry's list, or in the tag
//! that stands in for one, and envelopes under cosign 2's own tag. What is stated is the reader's business: here it is found, and judged who has
//! signed it.

use std::io::Read as _;
use std::io::Write as _;
use std::ops::ControlFlow;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use jiff::Timestamp;
use oci_spec::image::{Descriptor, ImageManifest};

use super::beside;
use super::bundle::{self, Proofs};
use super::envelope::{self, Offer};
use super::error::Unfit;
use super::{Cosign, Cost};
use crate::image::{Digest, Tag};
use crate::registry::{Content, Listing, Manifest, Pointer, list_tag};
use crate::trust::evidence::Parts;
use crate::trust::signatures::{self, Arriving, Asked, Hunt, Layer, Seen, Sizes};
use crate::trust::sigstore::Annotations;

/// The media type of a layer whose blob is an envelope.
pub(super) const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// What a manifest, and a layer, says of the type of what is stated. Nobody has signed it: by it is only decided what need not be fetched. Who
/// could write a wrong one could as well remove the manifest.
const TYPE_OF_BUNDLE: &str = "dev.sigstore.bundle.predicateType";
const TYPE_OF_LAYER: &str = "predicateType";
/// Largest envelope or bundle, bytes: a bill of materials of 6 MB, in base64. Held to what the registry's client reads.
const ATTESTED_BYTES: u64 = 8 << 20;
/// Largest manifest of a bundle, bytes; most manifests, or layers, that are fetched in one search, and how many of them at once: two large ones
/// are in memory then.
const MANIFEST_BYTES: u64 = 64 << 10;
const FETCHED: usize = 64;
const AT_ONCE: usize = 2;
/// Most layers of one manifest of cosign 2.
const LAYERS: usize = 256;
/// From this size on, bytes, it is first looked at who has signed a statement.
const LARGE_BYTES: usize = 64 << 10;
/// Most units of work in one search: checks of signatures, and 64 KiB that are hashed for one. They take some 300 ms.
const UNITS: usize = 2048;
/// From this size on, bytes, what is kept is compressed.
const SMALL_BYTES: usize = 16 << 10;

const PART_ENVELOPE: &str = "envelope";
const PART_BUNDLE: &str = "bundle";
/// What stands behind the name of a part that is compressed.
const COMPRESSED: &str = ".z";

/// Who looks at statements, one after the other.
pub(in crate::trust) trait Reader: Send + Sync {
    /// Why one does not count.
    type Unfit: signatures::Unfit;

    /// Of which type the statements are that are looked for.
    fn predicate_type(&self) -> &str;

    /// Whether a statement is what is looked for. Nobody is known to have signed it yet.
    fn is_meant(&self, statement: &[u8]) -> Result<(), Self::Unfit>;

    /// Why one is not signed by who must sign.
    fn not_signed(&self, unfit: Unfit) -> Self::Unfit;

    /// Takes in one that is signed; whether that is enough.
    fn take(&mut self, attested: Attested) -> ControlFlow<()>;
}

/// A statement that is signed by who must sign.
pub(in crate::trust) struct Attested {
    /// Who signed.
    pub(in crate::trust) by: Vec<String>,
    offer: Offer,
    carried: Carried,
}

/// A statement as it lies in a registry.
enum Carried {
    /// cosign 2: with what is written beside it.
    Envelope(Vec<u8>, Annotations),
    Bundle(Vec<u8>),
}

impl Attested {
    pub(in crate::trust) fn statement(&self) -> &[u8] {
        self.offer.payload()
    }

    /// As it is kept.
    pub(in crate::trust) fn into_parts(self) -> Parts {
        let (name, bytes, annotations) = match self.carried {
            Carried::Envelope(bytes, annotations) => (PART_ENVELOPE, bytes, annotations),
            Carried::Bundle(bytes) => (PART_BUNDLE, bytes, Annotations::default()),
        };
        drop(self.offer);
        let beside = beside::parts(annotations);
        if bytes.len() < SMALL_BYTES {
            return beside.chain([(name.to_owned(), bytes)]).collect();
        }
        let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
        // Into memory it is always written.
        let written = out.write_all(&bytes).and_then(|()| out.finish()).unwrap_or_default();
        beside.chain([(format!("{name}{COMPRESSED}"), written)]).collect()
    }
}

impl Carried {
    /// What was kept; `None`: it is something else.
    fn of_parts(mut parts: Parts) -> Option<Self> {
        let annotations = beside::taken(&mut parts)?;
        let (name, bytes) = parts.pop_first()?;
        if !parts.is_empty() {
            return None;
        }
        let (name, bytes) = match name.strip_suffix(COMPRESSED) {
            Some(name) => {
                let mut out = Vec::new();
                ZlibDecoder::new(&*bytes).take(ATTESTED_BYTES + 1).read_to_end(&mut out).ok()?;
                (name, out)
            }
            None => (&*name, bytes),
        };
        match name {
            _ if bytes.len() as u64 > ATTESTED_BYTES => None,
            PART_ENVELOPE => Some(Self::Envelope(bytes, annotations)),
            PART_BUNDLE if annotations == Annotations::default() => Some(Self::Bundle(bytes)),
            _ => None,
        }
    }

    fn offer(&self, proofs: Proofs) -> Result<Offer, Unfit> {
        match self {
            Self::Envelope(bytes, annotations) => Ok(envelope::read(bytes)?.with(beside::material(annotations, proofs)?)),
            Self::Bundle(bytes) => bundle::opened(bytes, proofs),
        }
    }
}

impl Cosign {
    /// Shows the reader all statements that are looked for, until it has enough.
    pub(in crate::trust) async fn attested<R: Reader>(&self, hunt: Hunt<'_>, seen: &mut Seen<R::Unfit>, reader: &mut R) {
        let mut listing = hunt.listed(seen).await;
        if self.of_listing(hunt, &listing, 0, seen, reader).await.is_break() || !hunt.goes_on(seen) {
            return;
        }
        match hunt.tagged(attestation_tag(&hunt.digest)).await {
            Ok(Some(manifest)) => {
                if self.of_layers(hunt, &manifest, seen, reader).await.is_break() {
                    return;
                }
            }
            Ok(None) => {}
            Err(why) => seen.missed(why),
        }
        if !hunt.goes_on(seen) {
            return;
        }
        // Also beside a list: the registry may have learned to keep one since.
        let known = listing.pointers.len();
        match hunt.tagged(list_tag(&hunt.digest)).await {
            Ok(Some(index)) => listing.add(&index),
            Ok(None) => {}
            Err(why) => seen.missed(why),
        }
        // Whether it has enough, the reader knows.
        let _ = self.of_listing(hunt, &listing, known, seen, reader).await;
    }

    /// What was kept, if it is signed by who must sign now.
    pub(in crate::trust) fn attested_by(&self, parts: Parts, now: Timestamp) -> Option<Attested> {
        let carried = Carried::of_parts(parts)?;
        let offer = carried.offer(self.proofs()).ok()?;
        // Of one statement no more is checked than it may have.
        let by = self.who(&offer, now, |_| true).ok()??.by;
        let by = vec![by];
        Some(Attested { by, offer, carried })
    }

    /// Who has signed what is offered, as far as that is proven; `None`: it was not looked at, as no work is left.
    fn signers<U: signatures::Unfit>(
        &self,
        offer: &Offer,
        now: Timestamp,
        seen: &mut Seen<U>,
    ) -> Result<Option<Vec<String>>, Unfit> {
        let who = self.who(offer, now, |cost| {
            seen.proofs += match cost {
                Cost::Trial => 1 + offer.signed.len() / LARGE_BYTES,
                Cost::Way(checks) | Cost::Proofs(checks) => checks,
            };
            seen.proofs <= UNITS
        })?;
        seen.is_cut |= who.is_none();
        Ok(who.map(|signer| vec![signer.by]))
    }

    async fn of_listing<R: Reader>(
        &self,
        hunt: Hunt<'_>,
        listing: &Listing,
        known: usize,
        seen: &mut Seen<R::Unfit>,
        reader: &mut R,
    ) -> ControlFlow<()> {
        seen.is_cut |= listing.is_cut;
        let mut pointers: Vec<&Pointer> = listing.pointers.iter().skip(known).collect();
        let all = pointers.len();
        pointers.retain(|pointer| pointer.size <= MANIFEST_BYTES);
        seen.is_cut |= pointers.len() < all || pointers.len() > FETCHED;
        // The likely ones first.
        pointers.sort_by_key(|pointer| !bundle::MEDIA_TYPES.contains(&&*pointer.kind));
        pointers.truncate(FETCHED);
        let sizes = Sizes { small: LARGE_BYTES as u64, most: ATTESTED_BYTES };
        let wanted = reader.predicate_type().to_owned();
        let is_bundle = |manifest: &ImageManifest, layer: &Descriptor| {
            let stated = manifest.annotations().as_ref().and_then(|of| of.get(TYPE_OF_BUNDLE));
            let is_other = stated.is_some_and(|stated| *stated != wanted);
            (bundle::MEDIA_TYPES.contains(&layer.media_type().as_ref()) && !is_other).then_some(())
        };
        let asked = pointers.iter().map(|pointer| Box::pin(hunt.layer(pointer.digest, sizes, &is_bundle)) as Asked<'_, _>);
        let mut arriving = Arriving::of(asked, AT_ONCE);
        while let Some(found) = arriving.next().await {
            match found {
                Ok(Layer::Whole((), bytes)) => self.shown(Carried::Bundle(bytes), hunt.now, seen, reader)?,
                Ok(Layer::Later(part)) => arriving.later(part.size, Box::pin(hunt.fetched(part))),
                Ok(Layer::Large) => seen.is_cut = true,
                Ok(Layer::Other) => {}
                Err(why) => seen.missed(why),
            }
            if arriving.is_waiting() && !hunt.goes_on(seen) {
                arriving.ends();
            }
        }
        ControlFlow::Continue(())
    }

    /// cosign 2: each layer is an envelope.
    async fn of_layers<R: Reader>(
        &self,
        hunt: Hunt<'_>,
        manifest: &Manifest,
        seen: &mut Seen<R::Unfit>,
        reader: &mut R,
    ) -> ControlFlow<()> {
        let Content::Image(image) = manifest.content() else {
            seen.unfit(reader.not_signed(Unfit::form("an index stands where attestations should")));
            return ControlFlow::Continue(());
        };
        seen.is_cut |= image.layers().len() > LAYERS;
        let mut fetched = 0;
        for layer in image.layers().iter().take(LAYERS).filter(|layer| layer.media_type().as_ref() == ENVELOPE) {
            let annotation = |key: &str| layer.annotations().as_ref().and_then(|annotations| annotations.get(key));
            if annotation(TYPE_OF_LAYER).is_some_and(|stated| stated != reader.predicate_type()) {
                continue;
            }
            let Ok(digest) = layer.digest().as_ref().parse::<Digest>() else { continue };
            let annotations = match beside::of(layer, self.proofs()) {
                Ok(annotations) => annotations,
                Err(unfit) => {
                    seen.unfit(reader.not_signed(unfit));
                    continue;
                }
            };
            if !(1..=ATTESTED_BYTES).contains(&layer.size()) || fetched >= FETCHED {
                seen.is_cut = true;
                continue;
            }
            if !hunt.goes_on(seen) {
                break;
            }
            fetched += 1;
            match hunt.part(digest, layer.size()).await {
                Ok(bytes) => self.shown(Carried::Envelope(bytes, annotations), hunt.now, seen, reader)?,
                Err(why) => seen.missed(why),
            }
        }
        ControlFlow::Continue(())
    }

    /// One statement: what is cheap to see comes before what is not. To read a large one costs more than to find out that a stranger made it.
    fn shown<R: Reader>(&self, carried: Carried, now: Timestamp, seen: &mut Seen<R::Unfit>, reader: &mut R) -> ControlFlow<()> {
        let offer = match carried.offer(self.proofs()) {
            Ok(offer) => offer,
            Err(unfit) => {
                seen.unfit(reader.not_signed(unfit));
                return ControlFlow::Continue(());
            }
        };
        let is_large = offer.payload().len() > LARGE_BYTES;
        let known = match is_large.then(|| self.signers(&offer, now, seen)).transpose() {
            Ok(Some(None)) => return ControlFlow::Continue(()),
            Ok(known) => known.flatten(),
            Err(unfit) => {
                seen.unfit(reader.not_signed(unfit));
                return ControlFlow::Continue(());
            }
        };
        if let Err(unfit) = reader.is_meant(offer.payload()) {
            seen.unfit(unfit);
            return ControlFlow::Continue(());
        }
        match known.map_or_else(|| self.signers(&offer, now, seen), |by| Ok(Some(by))) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(by)) => reader.take(Attested { by, offer, carried }),
            Err(unfit) => {
                seen.unfit(reader.not_signed(unfit));
                ControlFlow::Continue(())
            }
        }
    }
}

/// The tag under which cosign 2 keeps what is stated about a digest.
fn attestation_tag(digest: &Digest) -> Option<Tag> {
    format!("sha256-{}.att", digest.hex()).parse().ok()
}
