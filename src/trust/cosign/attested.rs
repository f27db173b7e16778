//! What somebody states about an image and signs with cosign, in all places where cosign keeps it: bundles in the registry's list, or in the tag
//! that stands in for one, and envelopes under cosign 2's own tag. What is stated is the reader's business: here it is found, and judged who has
//! signed it.

use crate::order::sort_by_key;
use std::io::Read as _;
use std::io::Write as _;
use std::ops::ControlFlow;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use jiff::Timestamp;
use oci_spec::image::{Descriptor, ImageManifest};

use super::Cosign;
use super::beside;
use super::bundle::{self, Proofs};
use super::cost::{Cost, Memo, Purse};
use super::envelope::{self, Offer};
use super::error::Unfit;
use crate::image::{Digest, Tag};
use crate::registry::{Content, Listing, Manifest, Pointer};
use crate::trust::evidence::Parts;
use crate::trust::registry::NotVouched;
use crate::trust::signatures::{self, Arriving, Asked, Hunt, Known, Layer, Mark, Origin, Part, Place, Seen, Sizes};
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
/// From this size on, bytes, a statement comes after the small ones of all places, and it is first looked at who has signed it.
const LARGE_BYTES: u64 = 64 << 10;
/// Most work in one search: tries of keys, checks of certificates, and of what proves signatures; small statements and large ones apart, so that no
/// stranger's large ones take anything from a small one. Of a large one each 64 KiB that are read count as a check: some 128 MB, or 300 ms.
const SPENT: Purse = Purse { trials: 2048, certified: 2048, proofs: 2048 };
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
    /// Where it lies; `None`: it was kept.
    origin: Option<Origin>,
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

    /// Where it is looked for first from now on.
    pub(in crate::trust) fn known(&self) -> Option<Known> {
        Some(Known { origin: self.origin?, mark: self.carried.mark() })
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

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Envelope(bytes, _) | Self::Bundle(bytes) => bytes,
        }
    }

    /// What tells it from others: the blob that it is. Who else has signed it, what is beside it says.
    fn mark(&self) -> Mark {
        let blob = Digest::of(self.bytes());
        (blob, blob)
    }

    fn offer(&self, proofs: Proofs) -> Result<Offer, Unfit> {
        match self {
            Self::Envelope(bytes, annotations) => Ok(envelope::read(bytes)?.with(beside::material(annotations, proofs)?)),
            Self::Bundle(bytes) => bundle::opened(bytes, proofs),
        }
    }
}

/// One search.
struct Search<'s, R: Reader> {
    cosign: &'s Cosign,
    hunt: Hunt<'s>,
    seen: &'s mut Seen<R::Unfit>,
    reader: &'s mut R,
    memo: Memo,
    small: Purse,
    large: Purse,
    /// What is fetched when all small ones have been looked at.
    later: Vec<Later>,
}

/// A large statement that was not fetched yet.
enum Later {
    /// With the manifest that holds it.
    Bundle(Part<()>, Digest),
    /// With all that is written beside it.
    Envelope(Digest, u64, Vec<Annotations>),
}

impl Later {
    /// What is fetched, and how many bytes that is said to have.
    const fn blob(&self) -> (Digest, u64) {
        match self {
            Self::Bundle(part, _) => (part.digest, part.size),
            Self::Envelope(digest, size, _) => (*digest, *size),
        }
    }
}

impl Cosign {
    /// Shows the reader all statements that are looked for, until it has enough.
    pub(in crate::trust) async fn attested<R: Reader>(&self, hunt: Hunt<'_>, seen: &mut Seen<R::Unfit>, reader: &mut R) {
        let memo = Memo::default();
        let mut search = Search { cosign: self, hunt, seen, reader, memo, small: SPENT, large: SPENT, later: Vec::new() };
        // Whether it has enough, the reader knows.
        let _ = search.run().await;
    }

    /// What tells a statement that was kept from others.
    pub(in crate::trust) fn mark_of_attested(parts: Parts) -> Option<Mark> {
        Carried::of_parts(parts).map(|carried| carried.mark())
    }

    /// What was kept, if it is signed by who must sign now.
    pub(in crate::trust) fn attested_by(&self, parts: Parts, now: Timestamp) -> Option<Attested> {
        let carried = Carried::of_parts(parts)?;
        let offer = carried.offer(self.proofs()).ok()?;
        // Of one statement no more is checked than it may have.
        let by = self.who(&offer, now, &mut Memo::default(), |_| true).ok()??.by;
        let by = vec![by];
        Some(Attested { by, origin: None, offer, carried })
    }
}

impl<R: Reader> Search<'_, R> {
    /// One place after the other, and what is large when all were looked at.
    async fn run(&mut self) -> ControlFlow<()> {
        let mut listing = Listing::default();
        let mut looked = 0;
        for (at, place) in self.hunt.places().into_iter().enumerate() {
            if at > 0 && !self.hunt.goes_on(self.seen) {
                break;
            }
            looked += 1;
            match place {
                Place::List | Place::StandIn => {
                    let known = listing.pointers.len();
                    self.hunt.list(place, &mut listing, self.seen).await;
                    self.of_listing(&listing, known).await?;
                }
                Place::OwnTag => match self.hunt.tagged(attestation_tag(&self.hunt.digest)).await {
                    Ok(Some(manifest)) => {
                        self.hunt.own_tag_is_read(self.seen, |mark| is_among(&manifest, mark));
                        self.of_layers(&manifest).await?;
                    }
                    Ok(None) => self.hunt.own_tag_is_read(self.seen, |_| false),
                    Err(why) => self.seen.missed(why),
                },
            }
        }
        if looked == self.hunt.places().len() {
            self.hunt.lists_are_read(&listing, self.seen);
        }
        self.of_large().await
    }

    async fn of_listing(&mut self, listing: &Listing, known: usize) -> ControlFlow<()> {
        // The likely ones first.
        let rank = |pointer: &Pointer| !bundle::MEDIA_TYPES.contains(&&*pointer.kind);
        let (digests, is_cut) = self.hunt.likely(listing, known, |_| true, rank, (FETCHED, MANIFEST_BYTES));
        self.seen.is_cut |= is_cut;
        let sizes = Sizes { small: LARGE_BYTES, most: ATTESTED_BYTES };
        let wanted = self.reader.predicate_type().to_owned();
        let is_bundle = |manifest: &ImageManifest, layer: &Descriptor| {
            let stated = manifest.annotations().as_ref().and_then(|of| of.get(TYPE_OF_BUNDLE));
            let is_other = stated.is_some_and(|stated| *stated != wanted);
            (bundle::MEDIA_TYPES.contains(&layer.media_type().as_ref()) && !is_other).then_some(())
        };
        let hunt = self.hunt;
        let asked = digests.into_iter().map(|digest| {
            let is_bundle = &is_bundle;
            let asked = async move { (digest, hunt.layer(digest, sizes, is_bundle).await) };
            Box::pin(asked) as Asked<'_, (Digest, Result<Layer<()>, NotVouched>)>
        });
        let mut arriving = Arriving::of(asked, AT_ONCE);
        while let Some((digest, found)) = arriving.next().await {
            match found {
                Ok(Layer::Whole((), bytes)) => self.shown(Carried::Bundle(bytes), Origin::Manifest(digest))?,
                Ok(Layer::Later(part)) => self.later(Later::Bundle(part, digest)),
                Ok(Layer::Large) => self.seen.is_cut = true,
                Ok(Layer::Other) => self.hunt.holds_nothing(digest, self.seen),
                Err(why) => self.seen.missed(why),
            }
            if arriving.is_waiting() && !self.hunt.goes_on(self.seen) {
                arriving.ends();
            }
        }
        ControlFlow::Continue(())
    }

    /// cosign 2: each layer is an envelope. What several of them are is fetched once.
    async fn of_layers(&mut self, manifest: &Manifest) -> ControlFlow<()> {
        let Content::Image(image) = manifest.content() else {
            self.seen.unfit(self.reader.not_signed(Unfit::form("an index stands where attestations should")));
            return ControlFlow::Continue(());
        };
        self.seen.is_cut |= image.layers().len() > LAYERS;
        let mut envelopes: Vec<(Digest, u64, Vec<Annotations>)> = Vec::new();
        for layer in image.layers().iter().take(LAYERS).filter(|layer| layer.media_type().as_ref() == ENVELOPE) {
            let annotation = |key: &str| layer.annotations().as_ref().and_then(|annotations| annotations.get(key));
            if annotation(TYPE_OF_LAYER).is_some_and(|stated| stated != self.reader.predicate_type()) {
                continue;
            }
            let Ok(digest) = layer.digest().as_ref().parse::<Digest>() else { continue };
            let annotations = match beside::of(layer, self.cosign.proofs()) {
                Ok(annotations) => annotations,
                Err(unfit) => {
                    self.seen.unfit(self.reader.not_signed(unfit));
                    continue;
                }
            };
            let size = layer.size();
            let is_full = envelopes.len() >= FETCHED;
            match envelopes.iter_mut().find(|(known, known_size, _)| (*known, *known_size) == (digest, size)) {
                Some((.., beside)) if beside.contains(&annotations) => {}
                Some((.., beside)) => beside.push(annotations),
                None if !(1..=ATTESTED_BYTES).contains(&size) || is_full => self.seen.is_cut = true,
                None => envelopes.push((digest, size, vec![annotations])),
            }
        }
        for (digest, size, beside) in envelopes {
            if size > LARGE_BYTES {
                self.later(Later::Envelope(digest, size, beside));
                continue;
            }
            if !self.hunt.goes_on(self.seen) {
                break;
            }
            match self.hunt.part(digest, size).await {
                Ok(bytes) => self.envelopes(&bytes, beside)?,
                Err(why) => self.seen.missed(why),
            }
        }
        ControlFlow::Continue(())
    }

    fn later(&mut self, one: Later) {
        let is_bundle = matches!(one, Later::Bundle(..));
        // A bundle is the same one, whichever manifest holds it.
        if !is_bundle || self.later.iter().all(|known| known.blob().0 != one.blob().0) {
            self.later.push(one);
        }
    }

    /// The smallest first: strangers' larger ones come after an honest one.
    async fn of_large(&mut self) -> ControlFlow<()> {
        let mut later = std::mem::take(&mut self.later);
        if later.is_empty() || !self.hunt.goes_on(self.seen) {
            return ControlFlow::Continue(());
        }
        sort_by_key(&mut later, |one| one.blob().1);
        let hunt = self.hunt;
        let asked = later.into_iter().map(|one| {
            Box::pin(async move {
                let (digest, size) = one.blob();
                (hunt.part(digest, size).await, one)
            }) as Asked<'_, (Result<Vec<u8>, NotVouched>, Later)>
        });
        let mut arriving = Arriving::of(asked, AT_ONCE);
        while let Some((found, one)) = arriving.next().await {
            match (found, one) {
                (Ok(bytes), Later::Bundle(_, manifest)) => self.shown(Carried::Bundle(bytes), Origin::Manifest(manifest))?,
                (Ok(bytes), Later::Envelope(_, _, beside)) => self.envelopes(&bytes, beside)?,
                (Err(why), _) => self.seen.missed(why),
            }
            // What is left is no smaller.
            let is_spent = self.large.proofs == 0;
            self.seen.is_cut |= is_spent && arriving.is_waiting();
            if arriving.is_waiting() && (is_spent || !self.hunt.goes_on(self.seen)) {
                arriving.ends();
            }
        }
        ControlFlow::Continue(())
    }

    /// One envelope with each of what is written beside it.
    fn envelopes(&mut self, bytes: &[u8], beside: Vec<Annotations>) -> ControlFlow<()> {
        beside.into_iter().try_for_each(|annotations| self.shown(Carried::Envelope(bytes.to_vec(), annotations), Origin::OwnTag))
    }

    /// One statement: what is cheap to see comes before what is not. To read a large one costs more than to find out that a stranger made it.
    fn shown(&mut self, carried: Carried, origin: Origin) -> ControlFlow<()> {
        self.seen.tried.insert(carried.mark());
        let size = carried.bytes().len() as u64;
        let is_large = size > LARGE_BYTES;
        if is_large {
            let checks = usize::try_from(size / LARGE_BYTES).unwrap_or(usize::MAX);
            if !self.large.pays(Cost::Proofs(checks)) {
                self.large.proofs = 0;
                self.seen.is_cut = true;
                return ControlFlow::Continue(());
            }
        }
        match self.judged(carried, origin, is_large) {
            Ok(Some(attested)) => self.reader.take(attested),
            Ok(None) => {
                self.seen.is_cut = true;
                ControlFlow::Continue(())
            }
            Err(unfit) => {
                self.seen.unfit(unfit);
                ControlFlow::Continue(())
            }
        }
    }

    /// A statement that is meant, and signed by who must sign; `None`: that was not found out, as nothing is left.
    fn judged(&mut self, carried: Carried, origin: Origin, is_large: bool) -> Result<Option<Attested>, R::Unfit> {
        let offer = carried.offer(self.cosign.proofs()).map_err(|unfit| self.reader.not_signed(unfit))?;
        if !is_large {
            self.reader.is_meant(offer.payload())?;
        }
        let purse = if is_large { &mut self.large } else { &mut self.small };
        let who = self.cosign.who(&offer, self.hunt.now, &mut self.memo, |cost| purse.pays(cost));
        let Some(signer) = who.map_err(|unfit| self.reader.not_signed(unfit))? else { return Ok(None) };
        if is_large {
            self.reader.is_meant(offer.payload())?;
        }
        Ok(Some(Attested { by: vec![signer.by], origin: Some(origin), offer, carried }))
    }
}

/// Whether what is known lies in a manifest of cosign 2, whatever else does.
fn is_among(manifest: &Manifest, mark: &Mark) -> bool {
    let Content::Image(image) = manifest.content() else { return false };
    image.layers().iter().any(|layer| layer.digest().as_ref().parse() == Ok(mark.0))
}

/// The tag under which cosign 2 keeps what is stated about a digest.
fn attestation_tag(digest: &Digest) -> Option<Tag> {
    format!("sha256-{}.att", digest.hex()).parse().ok()
}
