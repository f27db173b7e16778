//! All that lies beside an image in its registry, of every kind and whoever made it: for people, and to be carried to a host that does not reach
//! that registry. What it says of itself is told as such; whether one counts, a verifier says, to which each is shown alone ([`Beside::alone`]).
//!
//! One that cannot be read never hides others. All is bounded, and what was not looked at is told.

use crate::order::sort_by_key;
use std::fmt;

use oci_spec::image::{Descriptor, ImageManifest};
use tokio::time::Instant;

use super::claims::Claims;
use super::{cosign, notation};
use crate::image::{Digest, Repository, Tag};
use crate::registry::{Api, Carried, Content, Listing, Manifest, RegistryError, Wanted, list_tag, part, signature_tag};
use crate::text::{clean, fit};

/// Most manifests of platforms of an index that are looked at.
const PLATFORMS: usize = 16;
/// Most things beside an image, and most bytes of them.
const ITEMS: usize = 256;
const BYTES: u64 = 64 << 20;
/// Largest single one.
const LARGEST: u64 = 8 << 20;
/// Most layers of one manifest.
const LAYERS: usize = 64;
/// Longest text that is kept of one.
const TEXT_CHARS: usize = 300;
/// How an index names what its builder put beside an image, and how that names what it states.
const BUILDX: (&str, &str) = ("vnd.docker.reference.type", "attestation-manifest");
const BUILDX_OF: &str = "vnd.docker.reference.digest";
const BUILDX_TYPE: &str = "in-toto.io/predicate-type";

/// What lies beside an image.
#[derive(Debug)]
pub struct Beside {
    /// The image and all of it, to be carried elsewhere.
    pub carried: Carried,
    /// What may be signed: the image itself, and of an index each platform.
    pub subjects: Vec<Subject>,
    /// Each signature and statement.
    pub items: Vec<Item>,
    /// What could not be looked at, and why.
    pub missed: Vec<String>,
}

/// What may be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its digest.
    pub digest: Digest,
    /// `index`, `image`, or a platform: `linux/amd64`.
    pub is: String,
}

/// A signature or a statement.
#[derive(Debug)]
pub struct Item {
    /// Beside what it lies.
    pub of: Digest,
    /// Whose it is.
    pub kind: Kind,
    /// How it is kept.
    pub form: &'static str,
    /// The manifest that holds it.
    pub manifest: Digest,
    /// The tag under which cosign 2 keeps it; `None`: it points at what it is of.
    pub tag: Option<Tag>,
    /// Which layer of the manifest it is.
    layer: usize,
    /// What it says of itself, or why it cannot be read.
    pub claims: Result<Claims, String>,
}

/// Whose a thing beside an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A signature of cosign.
    Cosign,
    /// A signature of notation.
    Notation,
    /// A statement that somebody may have signed.
    Attestation,
    /// What a builder states, which nobody signed.
    Unsigned,
    /// Something else that points there.
    Other,
}

impl Kind {
    /// The type of the verifiers that go by it; nothing where none does.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cosign => "cosign",
            Self::Notation => "notation",
            Self::Attestation => "attestation",
            Self::Unsigned => "buildx",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Beside {
    /// Looks at all that lies beside the image that is wanted.
    pub async fn of(api: &dyn Api, repository: &Repository, wanted: &Wanted, deadline: Instant) -> Result<Self, RegistryError> {
        let (manifest, bytes) = api.written(repository, wanted, deadline).await?;
        let digest = *manifest.digest();
        let mut builder = Vec::new();
        let mut subjects = Vec::new();
        let mut is_cut = false;
        match manifest.content() {
            Content::Image(_) => subjects.push(Subject { digest, is: "image".to_owned() }),
            Content::Index(index) => {
                subjects.push(Subject { digest, is: "index".to_owned() });
                for child in index.manifests() {
                    let annotation = |key: &str| child.annotations().as_ref()?.get(key);
                    let Ok(of) = child.digest().as_ref().parse::<Digest>() else { continue };
                    if annotation(BUILDX.0).is_some_and(|kind| kind == BUILDX.1) {
                        builder.push((of, annotation(BUILDX_OF).and_then(|of| of.parse().ok()).unwrap_or(digest)));
                    } else if subjects.len() > PLATFORMS {
                        is_cut = true;
                    } else {
                        let platform = child.platform().as_ref();
                        let is = platform.map(|platform| format!("{}/{}", platform.os(), platform.architecture()));
                        subjects.push(Subject { digest: of, is: fit(&is.unwrap_or_else(|| "platform".to_owned()), TEXT_CHARS) });
                    }
                }
            }
        }
        let mut carried = Carried::of(repository.clone(), digest);
        carried.add(manifest, bytes);
        let mut look = Look { api, repository, deadline, carried, items: Vec::new(), missed: Vec::new(), bytes: 0 };
        if is_cut {
            look.missed.push(format!("the index has more than {PLATFORMS} platforms"));
        }
        for subject in &subjects {
            look.at(subject.digest).await;
        }
        for (manifest, of) in builder.into_iter().take(PLATFORMS) {
            look.builder(manifest, of).await;
        }
        let Look { carried, mut items, missed, .. } = look;
        sort_by_key(&mut items, |item| item.kind);
        Ok(Self { carried, subjects, items, missed })
    }

    /// A registry in which the image has this one thing beside it, and nothing else.
    #[must_use]
    pub fn alone(&self, item: &Item) -> Carried {
        let mut alone = Carried::of(self.carried.repository().clone(), self.carried.digest());
        for subject in &self.subjects {
            if let Some((manifest, bytes)) = self.carried.manifest_of(&subject.digest) {
                alone.add(manifest.clone(), bytes.clone());
            }
        }
        let Some((manifest, bytes)) = self.carried.manifest_of(&item.manifest) else { return alone };
        let Content::Image(image) = manifest.content() else { return alone };
        let blob = image.layers().get(item.layer).and_then(|layer| layer.digest().as_ref().parse::<Digest>().ok());
        if let Some(blob) = blob.and_then(|digest| self.carried.blob_of(&digest)) {
            alone.add_blob(blob.clone());
        }
        match &item.tag {
            None => {
                alone.add(manifest.clone(), bytes.clone());
                alone.point(item.of, item.manifest);
            }
            Some(tag) => {
                if let Some((manifest, bytes)) = with_layer(manifest, bytes, item.layer) {
                    let digest = *manifest.digest();
                    alone.add(manifest, bytes);
                    alone.tag(tag.clone(), digest);
                }
            }
        }
        alone
    }
}

/// The same manifest with this one of its layers.
fn with_layer(manifest: &Manifest, bytes: &[u8], layer: usize) -> Option<(Manifest, Vec<u8>)> {
    let mut written: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let layers = written.get_mut("layers")?.as_array_mut()?;
    if layer >= layers.len() {
        return None;
    }
    *layers = vec![layers.swap_remove(layer)];
    let bytes = serde_json::to_vec(&written).ok()?;
    Some((Manifest::read(&bytes, Some(manifest.media_type())).ok()?, bytes))
}

/// The tag under which cosign 2 keeps what is stated about a digest.
fn attestation_tag(digest: &Digest) -> Option<Tag> {
    format!("sha256-{}.att", digest.hex()).parse().ok()
}

/// A look at what lies beside an image.
struct Look<'l> {
    api: &'l dyn Api,
    repository: &'l Repository,
    deadline: Instant,
    carried: Carried,
    items: Vec<Item>,
    missed: Vec<String>,
    bytes: u64,
}

impl Look<'_> {
    fn miss(&mut self, what: impl fmt::Display) {
        let what = clean(&what.to_string());
        if self.missed.len() < ITEMS && !self.missed.contains(&what) {
            self.missed.push(what);
        }
    }

    /// A manifest; `None`: it is not there, or it was missed.
    async fn manifest(&mut self, wanted: &Wanted) -> Option<Manifest> {
        let answer = self.api.written(self.repository, wanted, self.deadline).await;
        self.taken(answer)
    }

    fn taken(&mut self, answer: Result<(Manifest, Vec<u8>), RegistryError>) -> Option<Manifest> {
        match answer {
            Ok((manifest, bytes)) => {
                self.bytes += bytes.len() as u64;
                self.carried.add(manifest.clone(), bytes);
                Some(manifest)
            }
            Err(RegistryError::NotFound { .. }) => None,
            Err(error) => {
                self.miss(error);
                None
            }
        }
    }

    async fn tagged(&mut self, tag: Option<Tag>) -> Option<(Tag, Manifest)> {
        let tag = tag?;
        let manifest = self.manifest(&Wanted::Tag(tag.clone())).await?;
        Some((tag, manifest))
    }

    /// What lies beside one digest.
    async fn at(&mut self, of: Digest) {
        let before = self.items.len();
        let mut listing = match self.api.referrers(self.repository, of, self.deadline).await {
            Ok(listing) => listing.unwrap_or_default(),
            Err(error) => {
                self.miss(error);
                Listing::default()
            }
        };
        if let Some(error) = listing.missed.take() {
            self.miss(error);
        }
        // Also beside a list: the registry may have learned to keep one since. What it lists is carried as a list.
        if let Some(tag) = list_tag(&of) {
            match self.api.manifest(self.repository, &Wanted::Tag(tag), self.deadline).await {
                Ok(index) => listing.add(&index),
                Err(RegistryError::NotFound { .. }) => {}
                Err(error) => self.miss(error),
            }
        }
        if listing.is_cut {
            self.miss(format!("more points at {of} than is looked at"));
        }
        for pointer in listing.pointers {
            if self.is_full() {
                return;
            }
            let manifest = match self.api.written(self.repository, &Wanted::Digest(pointer.digest), self.deadline).await {
                // What is no manifest to us is no signature to anybody.
                Err(RegistryError::Undecodable { cause, .. }) => {
                    let (manifest, claims) = (pointer.digest, Err(fit(&cause, TEXT_CHARS)));
                    self.items.push(Item { of, kind: Kind::Other, form: "artifact", manifest, tag: None, layer: 0, claims });
                    continue;
                }
                answer => self.taken(answer),
            };
            let Some(manifest) = manifest else { continue };
            self.carried.point(of, pointer.digest);
            let Content::Image(image) = manifest.content() else { continue };
            self.pointing(of, pointer.digest, image).await;
        }
        for tag in [signature_tag(&of), attestation_tag(&of)] {
            let Some((tag, manifest)) = self.tagged(tag).await else { continue };
            let Content::Image(image) = manifest.content() else {
                self.miss(format!("an index stands under `{tag}`"));
                continue;
            };
            self.carried.tag(tag.clone(), *manifest.digest());
            if image.layers().len() > LAYERS {
                self.miss(format!("`{tag}` has more than {LAYERS} layers"));
            }
            for (at, layer) in image.layers().iter().enumerate().take(LAYERS) {
                if self.is_full() {
                    return;
                }
                self.layer(of, (*manifest.digest(), Some(tag.clone()), at), layer).await;
            }
        }
        // What signs a platform may name size and type of what it signs.
        if self.items.len() > before && self.carried.manifest_of(&of).is_none() {
            self.manifest(&Wanted::Digest(of)).await;
        }
    }

    fn is_full(&mut self) -> bool {
        let is_full = self.items.len() >= ITEMS || self.bytes >= BYTES || Instant::now() >= self.deadline;
        if is_full {
            self.miss("there is more than is looked at, or the time is over");
        }
        is_full
    }

    /// A manifest that points at a digest.
    async fn pointing(&mut self, of: Digest, manifest: Digest, image: &ImageManifest) {
        if let [layer] = image.layers().as_slice()
            && (cosign::Form::of(layer.media_type().as_ref()).is_some() || notation::is_envelope(layer.media_type().as_ref()))
        {
            return self.layer(of, (manifest, None, 0), layer).await;
        }
        let kind = image.artifact_type().as_ref().unwrap_or_else(|| image.config().media_type());
        let claims = Claims { predicate_type: Some(fit(kind.as_ref(), TEXT_CHARS)), ..Claims::default() };
        self.items.push(Item { of, kind: Kind::Other, form: "artifact", manifest, tag: None, layer: 0, claims: Ok(claims) });
    }

    /// A layer that may be a signature or a statement.
    async fn layer(&mut self, of: Digest, (manifest, tag, at): (Digest, Option<Tag>, usize), layer: &Descriptor) {
        let media_type = layer.media_type().as_ref();
        let form = cosign::Form::of(media_type);
        let (kind, name) = match form {
            Some(cosign::Form::Payload) => (Kind::Cosign, "cosign 2, tag"),
            Some(cosign::Form::Envelope) => (Kind::Attestation, "cosign 2, tag"),
            Some(cosign::Form::Bundle) => (Kind::Cosign, "Sigstore bundle 0.3"),
            None if media_type == "application/cose" => (Kind::Notation, "COSE"),
            None if notation::is_envelope(media_type) => (Kind::Notation, "JWS"),
            None => return,
        };
        let claims = match self.blob(layer).await {
            Err(why) => Err(why),
            Ok(bytes) => match form {
                Some(form) => cosign::of_layer(form, layer, &bytes),
                None => notation::of_envelope(media_type, &bytes).unwrap_or_else(|| Err("it is none of notation's".to_owned())),
            },
        };
        let claims = claims.map_err(|why| fit(&why, TEXT_CHARS));
        let kind = match &claims {
            Ok(claims) if kind == Kind::Cosign && claims.predicate_type.is_some() => Kind::Attestation,
            Ok(_) | Err(_) => kind,
        };
        self.items.push(Item { of, kind, form: name, manifest, tag, layer: at, claims });
    }

    /// What no verifier reads either is not missed.
    async fn blob(&mut self, layer: &Descriptor) -> Result<Vec<u8>, String> {
        let digest: Digest = layer.digest().as_ref().parse().map_err(|_| "its digest is none".to_owned())?;
        if !(1..=LARGEST).contains(&layer.size()) {
            return Err(format!("it has {} bytes, more than are read, or none", layer.size()));
        }
        match part(self.api, self.repository, digest, layer.size(), self.deadline).await {
            Ok(bytes) => {
                self.bytes += bytes.len() as u64;
                self.carried.add_blob(bytes.as_slice());
                Ok(bytes)
            }
            Err(error) => {
                self.miss(&error);
                Err(error.to_string())
            }
        }
    }

    /// What a builder states of an image.
    async fn builder(&mut self, manifest: Digest, of: Digest) {
        if self.is_full() {
            return;
        }
        let Some(found) = self.manifest(&Wanted::Digest(manifest)).await else { return };
        let Content::Image(image) = found.content() else { return };
        for (at, layer) in image.layers().iter().enumerate().take(LAYERS) {
            let predicate_type = layer.annotations().as_ref().and_then(|annotations| annotations.get(BUILDX_TYPE));
            let predicate_type = predicate_type.map(|text| fit(text, TEXT_CHARS));
            let claims = Ok(Claims { digests: vec![of.to_string()], predicate_type, ..Claims::default() });
            self.items.push(Item {
                of,
                kind: Kind::Unsigned,
                form: "attestation manifest",
                manifest,
                tag: None,
                layer: at,
                claims,
            });
        }
    }
}
