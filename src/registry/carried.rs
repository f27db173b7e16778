//! A part of a registry that was carried here: an image's manifests and what lies beside it, in memory, for whoever would ask a registry for them.
//! It has no more authority than a registry that anybody may write to: all is hashed again when it is read, and nothing of it is believed.
//!
//! A [`Bundle`] is such parts as one file: JSON, which names no files, so that nothing is ever written where it says.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
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
    images: Vec<WrittenImage>,
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
    manifests: Vec<WrittenManifest>,
    tags: BTreeMap<String, String>,
    pointing: BTreeMap<String, Vec<String>>,
    blobs: Vec<String>,
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

    /// What is signed, or may be: the image itself first, then what else something points at or a tag of cosign stands for.
    #[must_use]
    pub fn subjects(&self) -> Vec<Digest> {
        let named = self.tags.keys().filter_map(|tag| {
            let hex = tag.as_str().strip_prefix("sha256-")?;
            Digest::from_hex(hex.split('.').next().unwrap_or_default()).ok()
        });
        let mut subjects = vec![self.digest];
        for digest in self.lists.keys().copied().chain(named) {
            if !subjects.contains(&digest) {
                subjects.push(digest);
            }
        }
        subjects
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
        let list = |(at, list): (&Digest, &Vec<Digest>)| (at.to_string(), list.iter().map(Digest::to_string).collect());
        WrittenImage {
            repository: self.repository.to_string(),
            digest: self.digest.to_string(),
            manifests: self.manifests.values().map(manifest).collect(),
            tags: self.tags.iter().map(|(tag, digest)| (tag.to_string(), digest.to_string())).collect(),
            pointing: self.lists.iter().map(list).collect(),
            blobs: self.blobs.values().map(|bytes| STANDARD.encode(bytes)).collect(),
        }
    }

    fn read(image: &WrittenImage) -> Result<Self, BundleFault> {
        let damaged = |why: &str| BundleFault::Damaged(why.to_owned());
        let digest = |text: &str| text.parse::<Digest>().map_err(|_| damaged("a digest is none"));
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| damaged("bytes are not base64"));
        let pointers: usize = image.pointing.values().map(Vec::len).sum();
        if image.manifests.len() + image.blobs.len() + image.tags.len() + pointers > PARTS {
            return Err(BundleFault::Large { what: "parts of one image", most: PARTS });
        }
        let repository: Repository = image.repository.parse().map_err(|_| damaged("a repository is none"))?;
        // One spelling for one thing.
        if repository.to_string() != image.repository {
            return Err(damaged("a repository is spelt otherwise than it is written"));
        }
        let mut carried = Self::of(repository, digest(&image.digest)?);
        for written in &image.manifests {
            let bytes = bytes(&written.bytes)?;
            let read = Manifest::read(&bytes, Some(&written.media_type));
            carried.add(read.map_err(|error| BundleFault::Damaged(error.to_string()))?, bytes);
        }
        for text in &image.blobs {
            carried.add_blob(bytes(text)?);
        }
        for (tag, of) in &image.tags {
            carried.tag(tag.parse().map_err(|_| damaged("a tag is none"))?, digest(of)?);
        }
        for (at, list) in &image.pointing {
            for of in list {
                carried.point(digest(at)?, digest(of)?);
            }
        }
        Ok(carried)
    }
}

impl Bundle {
    /// Largest file, bytes: it is read whole, and in memory twice.
    pub const BYTES: u64 = 64 << 20;

    /// As it is written.
    pub fn written(&self) -> std::io::Result<Vec<u8>> {
        let images = self.images.iter().map(Carried::written_image).collect();
        let written = serde_json::to_vec(&File { kind: KIND.to_owned(), version: VERSION, exported: self.exported, images })?;
        if written.len() as u64 > Self::BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        Ok(written)
    }

    /// Whether a file says that it is one.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.trim_ascii_start().starts_with(b"{")
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
        has_one_reading(bytes).map_err(BundleFault::Damaged)?;
        let file: File = serde_json::from_slice(bytes).map_err(|error| BundleFault::Damaged(clean(&error.to_string())))?;
        if file.images.len() > IMAGES {
            return Err(BundleFault::Large { what: "images", most: IMAGES });
        }
        let images = file.images.iter().map(Carried::read).collect::<Result<_, _>>()?;
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
        let many = format!("[{}\"e30=\"]", "\"e30=\",".repeat(PARTS));
        let large = Bundle::read(good.replace("[\"e30=\"]", &many).as_bytes());
        assert_eq!(large.unwrap_err(), BundleFault::Large { what: "parts of one image", most: PARTS });
        // Bytes that were changed are other bytes: what was named is not there.
        let edited = Bundle::read(good.replace("e30=", "W10=").as_bytes()).unwrap();
        assert_eq!(edited.images[0].blob_of(&Digest::of(b"{}")), None);
    }
}
