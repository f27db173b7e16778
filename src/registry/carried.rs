//! A part of a registry that was carried here: an image's manifests and what lies beside it, in memory, for whoever would ask a registry for them.
//! It has no more authority than a registry that anybody may write to: all is hashed again when it is read, and nothing of it is believed.
//!
//! A [`Bundle`] is such parts as one file: JSON, which names no files, so that nothing is ever written where it says.

use crate::order::Ordered as _;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::Instant;

use super::{Api, Content, Listing, Manifest, Pointer, RegistryError, Reply, Wanted, has_one_reading};
use crate::image::{Digest, Host, Repository, Tag};
use crate::text::clean;

/// How bundles are written.
const VERSION: u32 = 1;
/// What tells a bundle of signatures from other files.
const KIND: &str = "img-authz signatures";
/// Most images of one bundle, and most manifests, blobs, tags and pointers of one image: stops a file from costing more than it may.
const IMAGES: usize = 256;
const PARTS: usize = 1024;
/// Most platforms of an image that may be signed.
const PLATFORMS: usize = 64;
/// Largest manifest and blob, bytes, and all manifests of a bundle: what is read of them is in memory larger than they are.
const MANIFEST_BYTES: usize = 4 << 20;
const BLOB_BYTES: usize = 8 << 20;
const MANIFESTS_BYTES: usize = 16 << 20;

/// An image's manifests, and what lies beside it.
#[derive(Debug, Clone)]
pub struct Carried {
    repository: Repository,
    /// Of which image.
    digest: Digest,
    manifests: BTreeMap<Digest, (Manifest, Arc<[u8]>)>,
    tags: BTreeMap<Tag, Digest>,
    /// What points at what.
    lists: BTreeMap<Digest, Vec<Digest>>,
    blobs: BTreeMap<Digest, Arc<[u8]>>,
}

/// Several images with what lies beside them.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// When it was made, as it says.
    pub exported: Timestamp,
    /// The images.
    pub images: Vec<Carried>,
}

/// Why a file is no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleFault {
    /// It is something else.
    #[error("it is not a bundle of signatures")]
    Other,
    /// It was made by a later version.
    #[error("it is a bundle of version {0}, which is not known here")]
    Version(u32),
    /// It cannot be read.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It holds more than one bundle may.
    #[error("it has more than {most} {what}")]
    Large {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kind: String,
    version: u32,
    exported: Timestamp,
    images: List<WrittenImage, IMAGES>,
}

/// A list, of which no more is read than there may be.
#[derive(Serialize)]
struct List<T, const MOST: usize>(Vec<T>);

/// The same of names.
#[derive(Serialize)]
struct Table<T, const MOST: usize>(BTreeMap<String, T>);

struct Bounded<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Bounded<List<T, MOST>, MOST> {
    type Value = List<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {MOST} at most")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some(part) = parts.next_element()? {
            if read.len() >= MOST {
                return Err(A::Error::custom(format_args!("a list has more than {MOST} parts")));
            }
            read.push(part);
        }
        Ok(List(read))
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Bounded<Table<T, MOST>, MOST> {
    type Value = Table<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of {MOST} members at most")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut read = BTreeMap::new();
        while let Some((name, part)) = parts.next_entry()? {
            if read.len() >= MOST {
                return Err(A::Error::custom(format_args!("an object has more than {MOST} members")));
            }
            read.insert(name, part);
        }
        Ok(Table(read))
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Bounded::<Self, MOST>(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Table<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Bounded::<Self, MOST>(PhantomData))
    }
}

/// By which a file is known before it is read.
#[derive(Deserialize)]
struct Known {
    kind: Option<String>,
    version: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenImage {
    repository: String,
    digest: String,
    manifests: List<WrittenManifest, PARTS>,
    tags: Table<Digest, PARTS>,
    pointing: Table<List<Digest, PARTS>, PLATFORMS>,
    blobs: List<String, PARTS>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenManifest {
    media_type: String,
    bytes: String,
}

impl Carried {
    /// Nothing of this image yet.
    #[must_use]
    pub fn of(repository: Repository, digest: Digest) -> Self {
        let (manifests, tags, lists, blobs) = Default::default();
        Self { repository, digest, manifests, tags, lists, blobs }
    }

    /// The same under another name: that of what a mirror mirrors.
    #[must_use]
    pub fn under(self, repository: Repository) -> Self {
        Self { repository, ..self }
    }

    /// Of which repository.
    #[must_use]
    pub const fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Of which image.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What is signed, or may be: the image itself first, then its platforms, as its own manifest names them.
    #[must_use]
    pub fn subjects(&self) -> Vec<Digest> {
        let mut subjects = vec![self.digest];
        let children = self.manifests.get(&self.digest).map(|(manifest, _)| manifest.children()).unwrap_or_default();
        for child in children {
            // What a builder states of them is none.
            let is_one = child.platform.as_deref() != Some("unknown/unknown");
            if is_one && subjects.len() <= PLATFORMS && !subjects.contains(&child.digest) {
                subjects.push(child.digest);
            }
        }
        subjects
    }

    /// Whether all that is here lies beside the image, or a platform of it.
    fn is_of_one_image(&self) -> bool {
        let subjects = self.subjects();
        let of_tag = |tag: &Tag| {
            let hex = tag.as_str().strip_prefix("sha256-")?;
            Digest::from_hex(hex.split('.').next().unwrap_or_default()).ok()
        };
        self.lists.keys().all(|at| subjects.contains(at))
            && self.tags.keys().all(|tag| of_tag(tag).is_some_and(|at| subjects.contains(&at)))
    }

    /// A manifest, under its digest.
    pub fn add(&mut self, manifest: Manifest, bytes: impl Into<Arc<[u8]>>) {
        self.manifests.insert(*manifest.digest(), (manifest, bytes.into()));
    }

    /// A manifest that is here, under a tag.
    pub fn tag(&mut self, tag: Tag, manifest: Digest) {
        self.tags.insert(tag, manifest);
    }

    /// A manifest that is here points at a digest.
    pub fn point(&mut self, at: Digest, manifest: Digest) {
        let list = self.lists.entry(at).or_default();
        if !list.contains(&manifest) {
            list.push(manifest);
        }
    }

    /// A blob, under its digest.
    pub fn add_blob(&mut self, bytes: impl Into<Arc<[u8]>>) {
        let bytes = bytes.into();
        self.blobs.insert(Digest::of(&bytes), bytes);
    }

    /// A blob that is here.
    #[must_use]
    pub fn blob_of(&self, digest: &Digest) -> Option<&Arc<[u8]>> {
        self.blobs.get(digest)
    }

    /// A manifest that is here, with its bytes.
    #[must_use]
    pub fn manifest_of(&self, digest: &Digest) -> Option<&(Manifest, Arc<[u8]>)> {
        self.manifests.get(digest)
    }

    fn find(&self, repository: &Repository, wanted: &Wanted) -> Result<&(Manifest, Arc<[u8]>), RegistryError> {
        let digest = match wanted {
            Wanted::Digest(digest) => Some(digest),
            Wanted::Tag(tag) => self.tags.get(tag),
        };
        let found = digest.filter(|_| *repository == self.repository).and_then(|digest| self.manifests.get(digest));
        found.ok_or_else(|| RegistryError::missing(repository, wanted.in_repository(repository)))
    }

    fn written_image(&self) -> WrittenImage {
        let manifest = |(manifest, bytes): &(Manifest, Arc<[u8]>)| WrittenManifest {
            media_type: manifest.media_type().to_owned(),
            bytes: STANDARD.encode(bytes),
        };
        let list = |(at, list): (&Digest, &Vec<Digest>)| (at.to_string(), List(list.clone()));
        WrittenImage {
            repository: self.repository.to_string(),
            digest: self.digest.to_string(),
            manifests: List(self.manifests.values().map(manifest).collect()),
            tags: Table(self.tags.iter().map(|(tag, digest)| (tag.to_string(), *digest)).ordered()),
            pointing: Table(self.lists.iter().map(list).ordered()),
            blobs: List(self.blobs.values().map(|bytes| STANDARD.encode(bytes)).collect()),
        }
    }

    fn read(image: &WrittenImage) -> Result<Self, BundleFault> {
        let damaged = |why: &str| BundleFault::Damaged(why.to_owned());
        let digest = |text: &str| text.parse::<Digest>().map_err(|_| damaged("a digest is none"));
        let bytes = |text: &str, most: usize| {
            // Before anything of it is decoded.
            if text.len() / 4 * 3 > most + 2 {
                return Err(BundleFault::Large { what: "bytes of one part", most });
            }
            STANDARD.decode(text).map_err(|_| damaged("bytes are not base64"))
        };
        let pointers: usize = image.pointing.0.values().map(|list| list.0.len()).sum();
        if image.manifests.0.len() + image.blobs.0.len() + image.tags.0.len() + pointers > PARTS {
            return Err(BundleFault::Large { what: "parts of one image", most: PARTS });
        }
        let repository: Repository = image.repository.parse().map_err(|_| damaged("a repository is none"))?;
        // One spelling for one thing.
        if repository.to_string() != image.repository {
            return Err(damaged("a repository is spelt otherwise than it is written"));
        }
        let mut carried = Self::of(repository, digest(&image.digest)?);
        for written in &image.manifests.0 {
            let bytes = bytes(&written.bytes, MANIFEST_BYTES)?;
            let read = Manifest::read(&bytes, Some(&written.media_type));
            carried.add(read.map_err(|error| BundleFault::Damaged(error.to_string()))?, bytes);
        }
        for text in &image.blobs.0 {
            carried.add_blob(bytes(text, BLOB_BYTES)?);
        }
        for (tag, of) in &image.tags.0 {
            carried.tag(tag.parse().map_err(|_| damaged("a tag is none"))?, *of);
        }
        for (at, list) in &image.pointing.0 {
            for of in &list.0 {
                carried.point(digest(at)?, *of);
            }
        }
        if carried.is_of_one_image() { Ok(carried) } else { Err(damaged("it signs what is no part of its image")) }
    }
}

impl Bundle {
    /// Largest file, bytes: it is read whole, and in memory twice.
    pub const BYTES: u64 = 64 << 20;

    /// As it is written.
    pub fn written(&self) -> std::io::Result<Vec<u8>> {
        let images = List(self.images.iter().map(Carried::written_image).collect());
        let written = serde_json::to_vec(&File { kind: KIND.to_owned(), version: VERSION, exported: self.exported, images })?;
        if written.len() as u64 > Self::BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        Ok(written)
    }

    /// Whether a file says that it is one.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(b"{")
    }

    /// What a file holds.
    pub fn read(bytes: &[u8]) -> Result<Self, BundleFault> {
        if bytes.len() as u64 > Self::BYTES {
            return Err(BundleFault::Large { what: "bytes", most: usize::try_from(Self::BYTES).unwrap_or(usize::MAX) });
        }
        let known: Known = serde_json::from_slice(bytes).map_err(|_| BundleFault::Other)?;
        if known.kind.as_deref() != Some(KIND) {
            return Err(BundleFault::Other);
        }
        if let Some(version) = known.version.filter(|version| *version != VERSION) {
            return Err(BundleFault::Version(version));
        }
        let file: File = serde_json::from_slice(bytes).map_err(|error| BundleFault::Damaged(clean(&error.to_string())))?;
        has_one_reading(bytes).map_err(BundleFault::Damaged)?;
        let written = file.images.0.iter().flat_map(|image| &image.manifests.0);
        if written.map(|manifest| manifest.bytes.len() / 4 * 3).sum::<usize>() > MANIFESTS_BYTES {
            return Err(BundleFault::Large { what: "bytes of manifests", most: MANIFESTS_BYTES });
        }
        let images = file.images.0.iter().map(Carried::read).collect::<Result<Vec<_>, _>>()?;
        let mut known = std::collections::HashSet::new();
        if !images.iter().all(|image| known.insert((image.repository(), image.digest()))) {
            return Err(BundleFault::Damaged("an image is there twice".to_owned()));
        }
        Ok(Self { exported: file.exported, images })
    }
}

/// The kind of a manifest, as registries list it.
fn kind(manifest: &Manifest) -> String {
    match manifest.content() {
        Content::Image(image) => image.artifact_type().as_ref().unwrap_or_else(|| image.config().media_type()).to_string(),
        Content::Index(_) => String::new(),
    }
}

impl Api for Carried {
    fn manifest<'a>(&'a self, repository: &'a Repository, wanted: &'a Wanted, _: Instant) -> Reply<'a, Manifest> {
        Box::pin(async move { self.find(repository, wanted).map(|(manifest, _)| manifest.clone()) })
    }

    fn written<'a>(&'a self, repository: &'a Repository, wanted: &'a Wanted, _: Instant) -> Reply<'a, (Manifest, Vec<u8>)> {
        Box::pin(async move { self.find(repository, wanted).map(|(manifest, bytes)| (manifest.clone(), bytes.to_vec())) })
    }

    fn referrers<'a>(&'a self, repository: &'a Repository, digest: Digest, _: Instant) -> Reply<'a, Option<Listing>> {
        Box::pin(async move {
            let list = self.lists.get(&digest).filter(|_| *repository == self.repository);
            let pointers = list.into_iter().flatten().filter_map(|digest| {
                let (manifest, bytes) = self.manifests.get(digest)?;
                Some(Pointer { digest: *digest, size: bytes.len() as u64, kind: kind(manifest) })
            });
            Ok(Some(Listing { pointers: pointers.collect(), ..Listing::default() }))
        })
    }

    fn blob<'a>(&'a self, repository: &'a Repository, digest: Digest, _: u64, _: Instant) -> Reply<'a, Vec<u8>> {
        Box::pin(async move {
            let found = self.blobs.get(&digest).filter(|_| *repository == self.repository);
            found.map(|bytes| bytes.to_vec()).ok_or_else(|| RegistryError::missing(repository, format!("{repository}@{digest}")))
        })
    }

    fn is_gone<'a>(&'a self, _: &'a Host, _: Instant) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async { false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;

    fn bundle() -> Bundle {
        let manifest = Manifest::read(IMAGE.as_bytes(), None).unwrap();
        let mut carried = Carried::of("r.example/app".parse().unwrap(), *manifest.digest());
        let digest = *manifest.digest();
        carried.add(manifest, IMAGE.as_bytes());
        carried.add_blob(b"{}".as_slice());
        carried.tag(format!("sha256-{}.sig", digest.hex()).parse().unwrap(), digest);
        carried.point(digest, digest);
        Bundle { exported: Timestamp::UNIX_EPOCH, images: vec![carried] }
    }

    #[tokio::test]
    async fn what_was_carried_is_what_a_registry_would_say_and_nothing_is_there_under_another_name() {
        let read = Bundle::read(&bundle().written().unwrap()).unwrap();
        let [carried] = read.images.as_slice() else { panic!() };
        let (repository, deadline) = (carried.repository().clone(), Instant::now());
        let other: Repository = "r.example/other".parse().unwrap();
        let wanted = Wanted::Digest(carried.digest());
        let (manifest, bytes) = carried.written(&repository, &wanted, deadline).await.unwrap();
        assert_eq!((*manifest.digest(), bytes.as_slice()), (carried.digest(), IMAGE.as_bytes()));
        assert!(carried.manifest(&other, &wanted, deadline).await.is_err());
        assert!(carried.manifest(&repository, &Wanted::Tag(Tag::latest()), deadline).await.is_err());
        let config = Digest::of(b"{}");
        assert_eq!(carried.blob(&repository, config, 2, deadline).await.unwrap(), b"{}");
        assert!(carried.blob(&other, config, 2, deadline).await.is_err());
        let listing = carried.referrers(&repository, carried.digest(), deadline).await.unwrap().unwrap();
        assert_eq!(listing.pointers.len(), 1);
        assert_eq!(carried.subjects(), [carried.digest()]);
    }

    #[test]
    fn what_is_no_bundle_is_refused_whole() {
        let good = String::from_utf8(bundle().written().unwrap()).unwrap();
        for (from, to) in [
            ("img-authz signatures", "img-authz"),
            ("\"version\":1", "\"version\":2"),
            ("\"version\":1", "\"version\":1,\"Version\":1"),
            ("\"version\":1", "\"version\":1,\"more\":1"),
            ("r.example/app", "../../etc/passwd"),
            ("r.example/app", "app"),
            (".sig", "/../x"),
            ("sha256:", "sha256:../"),
            ("\"e30=\"", "\"e30\""),
            ("image.manifest.v1", "image.index.v1"),
            ("1970-01-01T00:00:00Z", "then"),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good, "{from}");
            assert!(Bundle::read(bad.as_bytes()).is_err(), "{from} {to}");
        }
        assert!(Bundle::read(good.trim_end_matches('}').as_bytes()).is_err());
        let blobs = |count: usize| good.replace("[\"e30=\"]", &format!("[{}\"e30=\"]", "\"e30=\",".repeat(count)));
        let large = Bundle::read(blobs(PARTS - 1).as_bytes());
        assert_eq!(large.unwrap_err(), BundleFault::Large { what: "parts of one image", most: PARTS });
        // No more of a list is read than there may be.
        let endless = Bundle::read(blobs(1 << 20).as_bytes()).unwrap_err();
        assert!(endless.to_string().contains("more than 1024 parts"), "{endless}");
        let large = "A".repeat((BLOB_BYTES + 4) / 3 * 4);
        let large = Bundle::read(good.replace("e30=", &large).as_bytes());
        assert_eq!(large.unwrap_err(), BundleFault::Large { what: "bytes of one part", most: BLOB_BYTES });
        // What is signed is the image or a platform of it.
        let digest = bundle().images.remove(0).digest().hex();
        let other = "ab".repeat(32);
        for (from, to) in [
            (format!("sha256-{digest}.sig"), format!("sha256-{other}.sig")),
            (format!("\"sha256:{digest}\":["), format!("\"sha256:{other}\":[")),
        ] {
            let bad = good.replace(&from, &to);
            assert_ne!(bad, good);
            let why = Bundle::read(bad.as_bytes()).unwrap_err().to_string();
            assert!(why.contains("no part of its image"), "{why}");
        }
        let (before, images) = good.split_once("\"images\":[").unwrap();
        let image = images.strip_suffix("]}").unwrap();
        let twice = Bundle::read(format!("{before}\"images\":[{image},{image}]}}").as_bytes()).unwrap_err();
        assert_eq!(twice, BundleFault::Damaged("an image is there twice".to_owned()));
        // Bytes that were changed are other bytes: what was named is not there.
        let edited = Bundle::read(good.replace("e30=", "W10=").as_bytes()).unwrap();
        assert_eq!(edited.images[0].blob_of(&Digest::of(b"{}")), None);
    }
}
