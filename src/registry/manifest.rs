//! A manifest or index: its bytes, their digest, and what they say (OCI image-spec; Docker's schema 2).

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::RegistryError;
use crate::image::Digest;
use crate::text::clean;

/// The kinds of manifests that engines pull, best known first; also what we accept.
pub(super) const MEDIA_TYPES: [(&str, Kind); 4] = [
    ("application/vnd.oci.image.index.v1+json", Kind::Index),
    ("application/vnd.docker.distribution.manifest.list.v2+json", Kind::Index),
    ("application/vnd.oci.image.manifest.v1+json", Kind::Image),
    ("application/vnd.docker.distribution.manifest.v2+json", Kind::Image),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Index,
}

/// A manifest that was read whole and hashed.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    digest: Digest,
    size: u64,
    media_type: &'static str,
    content: Content,
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// One image for one platform.
    Image(Box<ImageManifest>),
    /// Images for several platforms.
    Index(Box<ImageIndex>),
}

/// A manifest that an index names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its digest.
    pub digest: Digest,
    /// `os/architecture[/variant]`; `None` where the index does not say.
    pub platform: Option<String>,
}

/// The members that tell a manifest from an index.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
}

/// Top-level members by which engines know manifests, indexes, or what is neither.
const OWN: [&str; 5] = ["schemaversion", "mediatype", "config", "layers", "manifests"];
/// Those of configurations and of manifests of schema 1: a file with one of these could be a manifest and an image's configuration
/// at once, with two different lists of layers.
const FOREIGN: [&str; 3] = ["rootfs", "history", "fslayers"];

/// Go's `bytes.EqualFold`: lower case, and the two letters beyond ASCII that fold into it.
pub(crate) fn fold(key: &str) -> String {
    key.to_lowercase().chars().map(|char| if char == 'ſ' { 's' } else { char }).collect()
}

/// The member that makes this something else than a manifest or an index, or something else to Go than to us.
fn odd_member(members: &serde_json::Map<String, serde_json::Value>) -> Option<&str> {
    let is_exact = |key: &str| matches!(key, "schemaVersion" | "mediaType" | "config" | "layers" | "manifests");
    members.keys().map(String::as_str).find(|key| {
        let folded = fold(key);
        FOREIGN.contains(&&*folded) || (OWN.contains(&&*folded) && !is_exact(key))
    })
}

/// Any JSON whose objects have no two members that Go takes for one. Go folds case, and the last one wins; we do not fold,
/// and would take another one than the engine does.
pub(super) struct OneReading;

impl<'de> Deserialize<'de> for OneReading {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Walk { open: &Cell::new(0), hasher: &RandomState::new() }.deserialize(deserializer)
    }
}

/// Whether this is JSON that every reader takes for the same: no object has a member twice, also not in other case.
pub fn has_one_reading(body: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<OneReading>(body).map(|_| ()).map_err(|error| clean(&error.to_string()))
}

/// Most members of the objects that lead to one place, and so are in memory at once. Stops a text of many tiny members, which need not be signed by
/// anybody; a configuration has some thousand labels at most.
const MEMBERS: usize = 64 << 10;

/// Walks through a text, and keeps of it hashes of the members of open objects alone.
#[derive(Clone, Copy)]
struct Walk<'w> {
    /// How many there are.
    open: &'w Cell<usize>,
    hasher: &'w RandomState,
}

/// The name of a member.
struct Key<'w> {
    walk: Walk<'w>,
    keys: &'w mut HashSet<u64>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<(), E> {
        let mut hasher = self.walk.hasher.build_hasher();
        // Most names are folded as they are.
        if key.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
            hasher.write(key.as_bytes());
        } else {
            hasher.write(fold(key).as_bytes());
        }
        if !self.keys.insert(hasher.finish()) {
            return Err(E::custom(format!("member `{}` is there twice", clean(key))));
        }
        self.walk.open.set(self.walk.open.get() + 1);
        if self.walk.open.get() > MEMBERS {
            return Err(E::custom(format!("it has more than {MEMBERS} members in one place")));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = OneReading;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<OneReading, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = OneReading;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OneReading, A::Error> {
        let mut keys = HashSet::new();
        while map.next_key_seed(Key { walk: self, keys: &mut keys })?.is_some() {
            map.next_value_seed(self)?;
        }
        self.open.set(self.open.get() - keys.len());
        Ok(OneReading)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneReading, A::Error> {
        while seq.next_element_seed(self)?.is_some() {}
        Ok(OneReading)
    }

    fn visit_bool<E>(self, _: bool) -> Result<OneReading, E> {
        Ok(OneReading)
    }

    fn visit_i64<E>(self, _: i64) -> Result<OneReading, E> {
        Ok(OneReading)
    }

    fn visit_u64<E>(self, _: u64) -> Result<OneReading, E> {
        Ok(OneReading)
    }

    fn visit_f64<E>(self, _: f64) -> Result<OneReading, E> {
        Ok(OneReading)
    }

    fn visit_str<E>(self, _: &str) -> Result<OneReading, E> {
        Ok(OneReading)
    }

    fn visit_unit<E>(self) -> Result<OneReading, E> {
        Ok(OneReading)
    }
}

impl Manifest {
    /// Reads `body`, which came as `content_type`. The two must agree, and the body must have one reading only: bytes
    /// that are manifest and index at once have one digest and two meanings (CVE-2021-41190).
    pub fn read(body: &[u8], content_type: Option<&str>) -> Result<Self, RegistryError> {
        let digest = Digest::of(body);
        let unusable = |cause: String| RegistryError::Undecodable { what: digest.to_string(), cause };
        let json = |error: serde_json::Error| unusable(clean(&error.to_string()));
        let _: OneReading = serde_json::from_slice(body).map_err(json)?;
        let members = serde_json::from_slice(body).map_err(json)?;
        if let Some(member) = odd_member(&members) {
            return Err(unusable(format!("member `{}` makes it something else besides", clean(member))));
        }
        let shape: Shape = serde_json::from_slice(body).map_err(json)?;
        if shape.schema_version != 2 {
            return Err(unusable(format!("its schema version is {}, not 2", shape.schema_version)));
        }
        let said = content_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        if let (Some(said), Some(own)) = (&said, &shape.media_type)
            && said != own
        {
            let (said, own) = (clean(said), clean(own));
            return Err(unusable(format!("it came as `{said}` and calls itself `{own}`")));
        }
        let Some(name) = shape.media_type.or(said) else { return Err(unusable("it has no media type".to_owned())) };
        let Some((media_type, kind)) = MEDIA_TYPES.into_iter().find(|(known, _)| *known == name) else {
            return Err(unusable(format!("its media type `{}` is not an image's", clean(&name))));
        };
        let as_image = shape.config.is_some() || shape.layers.is_some();
        let content = match (kind, as_image, shape.manifests.is_some()) {
            (Kind::Image, true, false) => Content::Image(Box::new(serde_json::from_slice(body).map_err(json)?)),
            (Kind::Index, false, true) => Content::Index(Box::new(serde_json::from_slice(body).map_err(json)?)),
            (Kind::Image | Kind::Index, _, _) => {
                return Err(unusable("it is neither a manifest nor an index, or both at once".to_owned()));
            }
        };
        Ok(Self { digest, size: body.len() as u64, media_type, content })
    }

    /// The hash of its bytes.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// What it says.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// The digest of its configuration, which is the image id in the classic store. `None` for an index, and for
    /// digests other than SHA-256.
    #[must_use]
    pub fn config(&self) -> Option<Digest> {
        match &self.content {
            Content::Image(image) => image.config().digest().as_ref().parse().ok(),
            Content::Index(_) => None,
        }
    }

    /// The manifests that an index names; empty for an image. Those with digests other than SHA-256 are left out.
    #[must_use]
    pub fn children(&self) -> Vec<Child> {
        let Content::Index(index) = &self.content else { return Vec::new() };
        let child = |descriptor: &oci_spec::image::Descriptor| {
            let platform = descriptor.platform().as_ref().map(|platform| {
                let variant = platform.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
                format!("{}/{}{variant}", platform.os(), platform.architecture())
            });
            Some(Child { digest: descriptor.digest().as_ref().parse().ok()?, platform })
        };
        index.manifests().iter().filter_map(child).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

    fn image(media_type: &str, more: &str) -> String {
        let digest = Digest::of(b"config");
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}",{more}"config":{{"mediaType":"application/vnd.oci.image.config.v1+json",
                "digest":"{digest}","size":6}},"layers":[]}}"#
        )
    }

    fn index(media_type: &str) -> String {
        let digest = Digest::of(b"child");
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{{"mediaType":"{OCI}","digest":"{digest}","size":5,
                "platform":{{"architecture":"arm64","os":"linux","variant":"v8"}}}},
                {{"mediaType":"{OCI}","digest":"sha512:{}","size":5}}]}}"#,
            "0".repeat(128)
        )
    }

    #[test]
    fn manifests_of_both_dialects_are_read_and_hashed() {
        for media_type in [OCI, DOCKER] {
            let body = image(media_type, "");
            for said in [None, Some(media_type.to_owned()), Some(format!("{media_type}; charset=utf-8"))] {
                let manifest = Manifest::read(body.as_bytes(), said.as_deref()).unwrap();
                assert_eq!((manifest.digest(), manifest.media_type()), (&Digest::of(body.as_bytes()), media_type));
                assert_eq!((manifest.config(), manifest.children()), (Some(Digest::of(b"config")), vec![]));
            }
        }
        for media_type in [INDEX, LIST] {
            let manifest = Manifest::read(index(media_type).as_bytes(), Some(media_type)).unwrap();
            let child = Child { digest: Digest::of(b"child"), platform: Some("linux/arm64/v8".to_owned()) };
            assert_eq!((manifest.config(), manifest.children()), (None, vec![child]));
        }
    }

    /// One file that is a manifest and an image's configuration at once names two lists of layers by one digest.
    #[test]
    fn what_is_a_configuration_besides_is_no_manifest() {
        for member in ["rootfs", "RootFS", "rootfſ", "history", "History", "fsLayers", "fslayers"] {
            let refused = Manifest::read(image(OCI, &format!(r#""{member}":[],"#)).as_bytes(), None);
            assert!(matches!(refused, Err(RegistryError::Undecodable { .. })), "{member}: {refused:?}");
            let listed = index(INDEX).replacen('{', &format!(r#"{{"{member}":null,"#), 1);
            let refused = Manifest::read(listed.as_bytes(), None);
            assert!(matches!(refused, Err(RegistryError::Undecodable { .. })), "{member}: {refused:?}");
        }
        // What Go takes for a member of ours, in other case.
        assert!(Manifest::read(image(OCI, r#""Manifests":[],"#).as_bytes(), None).is_err());
        for member in ["annotations", "artifactType", "subject"] {
            let value = if member == "artifactType" {
                "\"x/y\"".to_owned()
            } else if member == "subject" {
                format!(r#"{{"mediaType":"{OCI}","digest":"{}","size":1}}"#, Digest::of(b"x"))
            } else {
                "{}".to_owned()
            };
            assert!(Manifest::read(image(OCI, &format!(r#""{member}":{value},"#)).as_bytes(), None).is_ok(), "{member}");
        }
    }

    #[test]
    fn the_header_tells_the_kind_where_the_body_does_not() {
        let body = image("x", "").replace(r#""mediaType":"x","#, "");
        assert!(Manifest::read(body.as_bytes(), Some(OCI)).is_ok());
        assert!(Manifest::read(body.as_bytes(), Some(INDEX)).is_err());
        assert!(Manifest::read(body.as_bytes(), Some("application/json")).is_err());
        assert!(Manifest::read(body.as_bytes(), None).is_err());
    }

    #[test]
    fn what_has_two_readings_or_none_is_no_manifest() {
        let both = image(OCI, r#""manifests":[],"#);
        let both_as_index = image(INDEX, r#""manifests":[],"#);
        let twice = image(OCI, r#""config":{},"#);
        let folded = image(OCI, r#""Config":{},"#);
        let long_s = image(OCI, r#""layerſ":[],"#);
        let nested = image(OCI, "").replace(r#""size":6"#, r#""size":6,"DIGEST":"sha256:00""#);
        let old = image(OCI, "").replace(r#""schemaVersion":2"#, r#""schemaVersion":1"#);
        let artifact = image("application/vnd.oci.artifact.manifest.v1+json", "");
        let bare = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI}"}}"#);
        let image_as_index = image(INDEX, "");
        let odd = [both, both_as_index, twice, folded, long_s, nested, old, artifact, bare, image_as_index];
        for body in ["", "{}", "[]", "null"].into_iter().chain(odd.iter().map(String::as_str)) {
            let refused = Manifest::read(body.as_bytes(), None);
            assert!(matches!(refused, Err(RegistryError::Undecodable { .. })), "{body}: {refused:?}");
        }
        assert!(Manifest::read(image(OCI, "").as_bytes(), Some(DOCKER)).is_err());
    }
}
