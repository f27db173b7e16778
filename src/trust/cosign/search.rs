//! Looks for one good signature of a digest, in all places where cosign keeps them, within bounds: what is cheap to see comes before
//! what has to be fetched, and that before what has to be verified.

use std::collections::{BTreeMap, HashSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use super::bundle;
use super::error::{NotSigned, Unfit};
use super::keys::Keys;
use super::proof::{Claim, Proof};
use crate::image::{Digest, Tag};
use crate::registry::{Content, Listing, Manifest, Pointer, RegistryError, Wanted, list_tag, part, signature_tag};
use crate::text::fit;
use crate::trust::registry::{Errand, NotVouched, Registries};

/// The media type of a layer whose blob is what cosign 2 signs.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
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
/// Longest name that is shown.
const NAME_CHARS: usize = 80;
/// Most times that a key is tried on a signature in one search, as 50 signatures and 10 keys need: 512 take some 60 ms, with the slowest
/// keys 400. What is no key's form of a signature, and the same once more, is not tried.
const CHECKS: usize = 512;

/// A good signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Good {
    /// What the key is called.
    pub(super) by: String,
    /// The tag that it is for; `None`: any.
    pub(super) tag: Option<Tag>,
}

impl Good {
    /// Whether it is good for what is asked for by this tag.
    pub(super) fn is_for(&self, tag: Option<&Tag>) -> bool {
        tag.is_none_or(|tag| self.tag.as_ref().is_none_or(|own| own == tag))
    }
}

/// One search.
#[derive(Clone, Copy)]
pub(super) struct Search<'s> {
    pub(super) keys: &'s Keys,
    pub(super) registries: &'s Registries,
    pub(super) errand: Errand<'s>,
    pub(super) digest: Digest,
    /// By which tag it is asked for.
    pub(super) tag: Option<&'s Tag>,
}

/// What was found besides.
#[derive(Default)]
struct Seen {
    /// What could not be looked at, the first of it.
    unknown: Option<NotVouched>,
    /// What is the matter with the signature that says most.
    unfit: Option<Unfit>,
    /// There is more than is looked at.
    is_cut: bool,
    /// Nothing more is to be found out: the time is over, no trial is left, or the registry is gone.
    is_over: bool,
    /// What was tried: hashes of the message and of the signature.
    tried: HashSet<(Digest, Digest)>,
    checks: usize,
}

/// Why no signature is good, and which were looked at: hashes of the message and of the signature.
#[derive(Debug)]
pub(super) struct No {
    pub(super) why: NotSigned,
    pub(super) met: HashSet<(Digest, Digest)>,
}

/// Signatures by the blob, its digest and size, that they are of. Whoever writes another size beside it takes nothing away.
type Layers = BTreeMap<(Digest, u64), Vec<Vec<u8>>>;

/// Bytes on their way; none where they are not there.
type Asked<'a> = Pin<Box<dyn Future<Output = Found> + Send + 'a>>;
type Found = Result<Option<Vec<u8>>, NotVouched>;

impl Search<'_> {
    /// The first good one, with what proves it. Bad ones beside it, and places that do not answer, change nothing; without one they say
    /// why. One place after the other, the newest form first: each that is not needed is a request less.
    pub(super) async fn run(self) -> Result<(Good, Proof), No> {
        let mut seen = Seen::default();
        let mut listing = self.listed().await.unwrap_or_else(|why| {
            seen.missed(why);
            Listing::default()
        });
        if let Some(error) = listing.missed.take() {
            seen.missed(NotVouched::Answer(error));
        }
        if let Some(good) = self.of_listing(&listing, 0, &mut seen).await {
            return Ok(good);
        }
        if self.goes_on(&mut seen) {
            match self.tagged(signature_tag(&self.digest)).await {
                Ok(Some(manifest)) => {
                    let layers = layers_of(&manifest, &mut seen);
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
        if !self.goes_on(&mut seen) {
            return Err(seen.told(self.digest));
        }
        // Also beside a list: the registry may have learned to keep one since.
        let known = listing.pointers.len();
        match self.tagged(list_tag(&self.digest)).await {
            Ok(Some(index)) => listing.add(&index),
            Ok(None) => {}
            Err(why) => seen.missed(why),
        }
        if let Some(good) = self.of_listing(&listing, known, &mut seen).await {
            return Ok(good);
        }
        Err(seen.told(self.digest))
    }

    /// Whether there is anything left to look for, and time for it.
    fn goes_on(&self, seen: &mut Seen) -> bool {
        if Instant::now() >= self.errand.network {
            seen.missed(NotVouched::Late { host: self.errand.repository.host_str().to_owned() });
        }
        !seen.is_over
    }

    async fn ask<T>(&self, asked: impl Future<Output = Result<T, RegistryError>>) -> Result<T, NotVouched> {
        self.registries.ask(self.errand, asked).await
    }

    /// The same, where not to be there is an answer.
    async fn ask_for<T>(&self, asked: impl Future<Output = Result<T, RegistryError>>) -> Result<Option<T>, NotVouched> {
        match self.ask(asked).await {
            Ok(found) => Ok(Some(found)),
            Err(NotVouched::Answer(RegistryError::NotFound { .. })) => Ok(None),
            Err(why) => Err(why),
        }
    }

    async fn tagged(&self, tag: Option<Tag>) -> Result<Option<Manifest>, NotVouched> {
        let Some(tag) = tag.map(Wanted::Tag) else { return Ok(None) };
        self.ask_for(self.registries.api().manifest(self.errand.repository, &tag, self.errand.network)).await
    }

    async fn listed(&self) -> Result<Listing, NotVouched> {
        let asked = self.registries.api().referrers(self.errand.repository, self.digest, self.errand.network);
        Ok(self.ask(asked).await?.unwrap_or_default())
    }

    /// What is named as a part and is not there could not be looked at: it may be what was signed.
    async fn part(&self, digest: Digest, size: u64) -> Found {
        self.ask(part(self.registries.api(), self.errand.repository, digest, size, self.errand.network)).await.map(Some)
    }

    /// cosign 2: each is a signature of a blob; several may be of one.
    async fn of_layers(&self, payloads: Layers, seen: &mut Seen) -> Option<(Good, Proof)> {
        seen.is_cut |= payloads.len() > FETCHED;
        let payloads: Vec<_> = payloads.into_iter().take(FETCHED).collect();
        for some in payloads.chunks(AT_ONCE) {
            if !self.goes_on(seen) {
                return None;
            }
            let asked = some.iter().map(|((digest, size), _)| Box::pin(self.part(*digest, *size)) as Asked<'_>).collect();
            for (bytes, (_, signatures)) in together(asked).await.into_iter().zip(some) {
                let bytes = match bytes {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => continue,
                    Err(why) => {
                        seen.missed(why);
                        continue;
                    }
                };
                for signature in signatures {
                    let proof = Proof::Payload { payload: bytes.clone(), signature: signature.clone() };
                    if let Some(good) = self.judged(&proof, seen) {
                        return Some((good, proof));
                    }
                }
            }
        }
        None
    }

    /// cosign 3: each manifest of a list may hold a bundle. The first `known` were looked at before.
    async fn of_listing(&self, listing: &Listing, known: usize, seen: &mut Seen) -> Option<(Good, Proof)> {
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
            if !self.goes_on(seen) {
                return None;
            }
            let asked = some.iter().map(|pointer| Box::pin(self.bundle(pointer.digest)) as Asked<'_>).collect();
            for found in together(asked).await {
                let bytes = match found {
                    Ok(Some(bytes)) if bytes.is_empty() => {
                        seen.is_cut = true;
                        continue;
                    }
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => continue,
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

    /// The bundle that a manifest holds; `None`: it is something else; no bytes: it is too large.
    async fn bundle(&self, digest: Digest) -> Result<Option<Vec<u8>>, NotVouched> {
        let wanted = Wanted::Digest(digest);
        let asked = self.registries.api().manifest(self.errand.repository, &wanted, self.errand.network);
        let manifest = match self.ask(asked).await {
            Ok(manifest) => manifest,
            // What is no manifest to us holds no bundle.
            Err(NotVouched::Answer(RegistryError::Undecodable { .. })) => return Ok(None),
            Err(why) => return Err(why),
        };
        let Content::Image(image) = manifest.content() else { return Ok(None) };
        let [layer] = image.layers().as_slice() else { return Ok(None) };
        let is_bundle = bundle::MEDIA_TYPES.contains(&layer.media_type().as_ref());
        match layer.digest().as_ref().parse() {
            Ok(_) if is_bundle && !(1..=BUNDLE_BYTES).contains(&layer.size()) => Ok(Some(Vec::new())),
            Ok(digest) if is_bundle => self.part(digest, layer.size()).await,
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// The good signature that a proof is, if it is one.
    fn judged(&self, proof: &Proof, seen: &mut Seen) -> Option<Good> {
        let Claim { offer, tag } = match proof.claim(self.errand.repository, self.digest) {
            Ok(claim) => claim,
            Err(unfit) => {
                seen.unfit(unfit);
                return None;
            }
        };
        let good = Good { by: self.check(&offer.signed, &offer.signature, seen)?, tag };
        if good.is_for(self.tag) {
            return Some(good);
        }
        let other = good.tag.map(|tag| format!("{}:{tag}", self.errand.repository)).unwrap_or_default();
        seen.unfit(Unfit::OtherTag { signed: fit(&other, NAME_CHARS) });
        None
    }

    /// Which key has signed it.
    fn check(&self, message: &[u8], signature: &[u8], seen: &mut Seen) -> Option<String> {
        if !seen.tried.insert((Digest::of(message), Digest::of(signature))) {
            return None;
        }
        for key in self.keys.iter().filter(|key| key.may_have_made(signature)) {
            if seen.checks >= CHECKS {
                (seen.is_cut, seen.is_over) = (true, true);
                return None;
            }
            seen.checks += 1;
            if key.signed(message, signature) {
                return Some(key.name.clone());
            }
        }
        seen.unfit(if self.keys.have_ed25519() { Unfit::StrangerOrEd25519ph } else { Unfit::Stranger });
        None
    }
}

impl Seen {
    fn missed(&mut self, why: NotVouched) {
        self.is_over |= matches!(why, NotVouched::Gone(_) | NotVouched::Late { .. });
        self.unknown.get_or_insert(why);
    }

    fn unfit(&mut self, unfit: Unfit) {
        if self.unfit.as_ref().is_none_or(|known| *known < unfit) {
            self.unfit = Some(unfit);
        }
    }

    /// What to say where none was good: first what could not be found out.
    fn told(self, digest: Digest) -> No {
        let why = match (self.unknown, self.is_cut, self.unfit) {
            (Some(why), _, _) => NotSigned::Unknown(why),
            (None, true, _) => NotSigned::TooMany { digest },
            (None, false, Some(why)) => NotSigned::Unfit { digest, why },
            (None, false, None) => NotSigned::None { digest },
        };
        No { why, met: self.tried }
    }
}

/// The signatures in a manifest of cosign 2.
fn layers_of(manifest: &Manifest, seen: &mut Seen) -> Layers {
    let mut layers = Layers::new();
    let Content::Image(image) = manifest.content() else {
        seen.unfit(Unfit::form("an index stands where signatures should"));
        return layers;
    };
    seen.is_cut |= image.layers().len() > LAYERS;
    for layer in image.layers().iter().take(LAYERS).filter(|layer| layer.media_type().as_ref() == SIMPLE_SIGNING) {
        let annotation = |key: &str| layer.annotations().as_ref().and_then(|annotations| annotations.get(key));
        let Ok(digest) = layer.digest().as_ref().parse() else { continue };
        if annotation(CERTIFICATE).is_some_and(|text| !text.is_empty()) {
            seen.unfit(Unfit::Certificate);
            continue;
        }
        let signature = annotation(SIGNATURE).filter(|text| text.len() <= SIGNATURE_CHARS);
        let signature = signature.and_then(|text| STANDARD.decode(text).ok());
        match signature.filter(|_| (1..=PAYLOAD_BYTES).contains(&layer.size())) {
            Some(signature) => layers.entry((digest, layer.size())).or_default().push(signature),
            None => seen.unfit(Unfit::form("a layer has no signature, or is too large")),
        }
    }
    layers
}

/// The answers to a few questions that are put at once, in their order.
async fn together(mut asked: Vec<Asked<'_>>) -> Vec<Found> {
    let mut answers: Vec<Option<Found>> = asked.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (question, answer) in asked.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(found) = question.as_mut().poll(context)
            {
                *answer = Some(found);
            }
        }
        if answers.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.into_iter().flatten().collect()
}
