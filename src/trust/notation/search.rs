//! Looks for one good signature of a digest: manifests of the registry's list, or of the tag that stands in for it, with one envelope each.

use oci_spec::image::{Descriptor, ImageManifest};

use super::envelope::Kind;
use super::error::Unfit;
use super::payload::Artifact;
use super::{Notation, mark, parts};
use crate::image::Digest;
use crate::registry::{Listing, Pointer, Wanted};
use crate::trust::registry::NotVouched;
use crate::trust::signatures::{Arriving, Asked, Found, Good, Hunt, Known, Layer, No, Origin, Place, Seen, Sizes, Subject};

/// What signatures are: the type of the artifact, or of its configuration as notation 1 pushes it.
const SIGNATURE: &str = "application/vnd.cncf.notary.signature";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Most signatures that are tried of one digest, as in notation, and how many are fetched at once.
const TRIED: usize = 100;
const AT_ONCE: usize = 8;
/// Largest manifest of a signature, and largest envelope, bytes; notation's have 0.7 and 1.5 to 10 KB.
const MANIFEST_BYTES: u64 = 256 << 10;
const ENVELOPE_BYTES: u64 = 1 << 20;
/// Up to these sizes, bytes, they are likely ones, which come before all others.
const LIKELY_BYTES: u64 = 4 << 10;
const SMALL_BYTES: u64 = 32 << 10;

/// One search.
pub(super) struct Search<'s> {
    pub(super) notation: &'s Notation,
    pub(super) hunt: Hunt<'s>,
}

impl Search<'_> {
    /// The first good one. Bad ones beside it, and places that do not answer, change nothing; without one they say why.
    pub(super) async fn run(self) -> Result<Found, No<Unfit>> {
        let digest = self.hunt.digest;
        let mut seen = Seen::default();
        let mut listing = Listing::default();
        let lists = self.hunt.places().into_iter().filter(|place| *place != Place::OwnTag);
        for (at, place) in lists.enumerate() {
            if at > 0 && !self.hunt.goes_on(&mut seen) {
                return Err(seen.told(digest));
            }
            let known = listing.pointers.len();
            self.hunt.list(place, &mut listing, &mut seen).await;
            if let Some(found) = self.of_listing(&listing, known, &mut seen).await {
                return Ok(found);
            }
        }
        self.hunt.lists_are_read(&listing, &mut seen);
        Err(seen.told(digest))
    }

    /// The first `known` were looked at before.
    async fn of_listing(&self, listing: &Listing, known: usize, seen: &mut Seen<Unfit>) -> Option<Found> {
        // A list names the type of the artifact, or of its configuration; one that says nothing may mean either.
        let may_be = |pointer: &Pointer| [SIGNATURE, EMPTY, ""].contains(&&*pointer.kind);
        // Honest ones are small.
        let rank = |pointer: &Pointer| pointer.size > LIKELY_BYTES;
        let (digests, is_cut) = self.hunt.likely(listing, known, may_be, rank, (TRIED, MANIFEST_BYTES));
        seen.is_cut |= is_cut;
        if digests.is_empty() {
            return None;
        }
        let artifact = Artifact::from(self.subject(seen).await?);
        let asked = digests.into_iter().map(|digest| {
            Box::pin(async move { (digest, self.envelope(digest).await) }) as Asked<'_, (Digest, Result<Layer<Kind>, NotVouched>)>
        });
        let mut arriving = Arriving::of(asked, AT_ONCE);
        while let Some((digest, found)) = arriving.next().await {
            match found {
                Ok(Layer::Whole(kind, envelope)) => {
                    if let Some(good) = self.judged(&artifact, kind, &envelope, seen) {
                        let mark = mark(kind, &envelope);
                        let parts = parts(&artifact, kind, envelope);
                        return Some(Found { good, parts, known: Known { origin: Origin::Manifest(digest), mark } });
                    }
                }
                Ok(Layer::Later(part)) => {
                    arriving.later(part.size, Box::pin(async move { (digest, self.hunt.fetched(part).await) }));
                }
                Ok(Layer::Large) => seen.is_cut = true,
                Ok(Layer::Other) => self.hunt.holds_nothing(digest, seen),
                Err(why) => seen.missed(why),
            }
            // What has come is judged, however late it is: it costs little.
            if arriving.is_waiting() && !self.hunt.goes_on(seen) {
                arriving.ends();
            }
        }
        None
    }

    fn judged(&self, artifact: &Artifact<'_>, kind: Kind, envelope: &[u8], seen: &mut Seen<Unfit>) -> Option<Good> {
        if !seen.tried.insert(mark(kind, envelope)) {
            return None;
        }
        let judged = self.notation.judge(self.hunt.errand.repository, artifact, kind, envelope, self.hunt.now);
        judged.map_err(|unfit| seen.unfit(unfit)).ok()
    }

    /// Size and type of what is signed, of its bytes.
    async fn subject(&self, seen: &mut Seen<Unfit>) -> Option<Subject> {
        if let Some(subject) = self.hunt.subject {
            return Some(subject);
        }
        let wanted = Wanted::Digest(self.hunt.digest);
        let asked = self.hunt.registries.api().manifest(self.hunt.errand.repository, &wanted, self.hunt.errand.network);
        match self.hunt.ask(asked).await {
            Ok(manifest) => Some(Subject::of(&manifest)),
            Err(why) => {
                seen.missed(why);
                None
            }
        }
    }

    /// The envelope that a manifest of a signature holds.
    async fn envelope(&self, manifest: Digest) -> Result<Layer<Kind>, NotVouched> {
        let kind = |image: &ImageManifest, layer: &Descriptor| {
            let config = image.config().media_type();
            let is_signature = match image.artifact_type() {
                Some(artifact) => artifact.as_ref() == SIGNATURE && config.as_ref() == EMPTY,
                None => config.as_ref() == SIGNATURE,
            };
            let is_of_it =
                image.subject().as_ref().is_some_and(|subject| subject.digest().as_ref() == self.hunt.digest.to_string());
            if is_signature && is_of_it { Kind::of(layer.media_type().as_ref()) } else { None }
        };
        self.hunt.layer(manifest, Sizes { small: SMALL_BYTES, most: ENVELOPE_BYTES }, kind).await
    }
}
