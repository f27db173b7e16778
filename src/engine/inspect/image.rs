//! Images, and what is made of them.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::{Few, FewMembers, Store, or_default, time};
use crate::image::{Digest, ImageConfig, Platform, Reference, Repository};

/// An image on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The image id: config digest in the classic store, digest of the index or manifest in the containerd store.
    pub id: Digest,
    /// The store that has it, which says what the id is; `None` where the answer leaves that open.
    pub store: Option<Store>,
    /// Its names. What is no reference (`<none>:<none>`) is left out.
    pub repo_tags: Vec<Reference>,
    /// The digests it was pulled by, with the repository. In the containerd store the repository follows every local
    /// name and is no evidence of origin; a digest other than the id is one that only a name claims, and is left out, as is what
    /// is not `repository@sha256:…`.
    pub repo_digests: Vec<(Repository, Digest)>,
    /// What it says of itself, and its size here. Its history and the annotations of its manifest the engine shows elsewhere.
    pub config: ImageConfig,
}

/// An image in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// The image id.
    pub id: Digest,
    /// As [`Image::repo_tags`].
    pub repo_tags: Vec<Reference>,
    /// As [`Image::repo_digests`].
    pub repo_digests: Vec<(Repository, Digest)>,
}

/// A layer in an image's history, with what made it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Made {
    /// The instruction; may hold secrets.
    #[serde(default, deserialize_with = "or_default")]
    pub created_by: String,
}

fn references(texts: &[String]) -> Vec<Reference> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn pulled(texts: &[String]) -> Vec<(Repository, Digest)> {
    let one = |text: &String| {
        let reference = text.parse::<Reference>().ok()?;
        Some((reference.repository, reference.digest?))
    };
    texts.iter().filter_map(one).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageJson {
    id: Digest,
    #[serde(default, deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    repo_digests: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    created: String,
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    variant: String,
    #[serde(default)]
    size: Option<i64>,
    #[serde(default, rename = "RootFS", deserialize_with = "or_default")]
    root_fs: RootFsJson,
    #[serde(default, deserialize_with = "or_default")]
    config: ImageConfigJson,
    /// What the containerd store has under the name; the classic store has none (API 1.48 and newer).
    #[serde(default)]
    descriptor: Option<IgnoredAny>,
    #[serde(default)]
    graph_driver: Option<GraphDriverJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriverJson {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default)]
    data: Option<IgnoredAny>,
}

impl ImageJson {
    /// The store that has it. Before API 1.48 a snapshotter shows itself as a driver without data; of the graph drivers these
    /// two have none, and others may have none either (aufs, drivers that are plugins): such an answer leaves it open.
    fn store(&self, pulled: &[(Repository, Digest)]) -> Option<Store> {
        let is_graph = |driver: &GraphDriverJson| driver.data.is_some() || matches!(&*driver.name, "vfs" | "btrfs");
        // No configuration has the digest of the manifest that names it.
        let is_digest = pulled.iter().any(|(_, digest)| *digest == self.id);
        if self.descriptor.is_some() || is_digest {
            Some(Store::Containerd)
        } else {
            self.graph_driver.as_ref().is_some_and(is_graph).then_some(Store::Classic)
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct RootFsJson {
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct ImageConfigJson {
    #[serde(default, deserialize_with = "or_default")]
    user: String,
    #[serde(default, deserialize_with = "or_default")]
    env: Few<String>,
    #[serde(default, deserialize_with = "or_default")]
    labels: FewMembers<String>,
    #[serde(default, deserialize_with = "or_default")]
    exposed_ports: FewMembers<IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    healthcheck: HealthcheckJson,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct HealthcheckJson {
    #[serde(default, deserialize_with = "or_default")]
    test: Few<String>,
}

/// What the engine says of an image: the image, or of what it has more than is read.
pub(in super::super) enum Inspected {
    Image(Box<Image>),
    TooMany(&'static str),
}

impl ImageConfigJson {
    /// Of what there is more than is kept.
    fn too_many(&self) -> Option<&'static str> {
        let counted = [
            (self.labels.is_more, "labels"),
            (self.env.is_more, "variables"),
            (self.exposed_ports.is_more, "exposed ports"),
            (self.healthcheck.test.is_more, "words of its health check"),
        ];
        counted.into_iter().find_map(|(is_more, what)| is_more.then_some(what))
    }
}

impl<'de> Deserialize<'de> for Inspected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = ImageJson::deserialize(deserializer)?;
        if let Some(what) = json.config.too_many() {
            return Ok(Self::TooMany(what));
        }
        let mut repo_digests = pulled(&json.repo_digests);
        let store = json.store(&repo_digests);
        // An answer that leaves it open is read the strict way.
        if store != Some(Store::Classic) {
            // A name there may hold any digest (`docker load` takes it as it stands in the archive), and is shown like one that
            // was pulled by (moby, daemon/containerd/image_inspect.go).
            repo_digests.retain(|(_, digest)| *digest == json.id);
        }
        Ok(Self::Image(Box::new(Image {
            id: json.id,
            store,
            repo_tags: references(&json.repo_tags),
            repo_digests,
            config: ImageConfig {
                created: time(&json.created),
                platform: Platform { os: json.os, architecture: json.architecture, variant: json.variant },
                layers: json.root_fs.layers.iter().map_while(|layer| layer.parse().ok()).collect(),
                user: json.config.user,
                env: json.config.env.kept,
                labels: json.config.labels.kept.into_iter().collect(),
                ports: json.config.exposed_ports.kept.into_iter().map(|(port, _)| port).collect(),
                healthcheck: json.config.healthcheck.test.kept,
                size: json.size.and_then(|size| u64::try_from(size).ok()),
                history: None,
                annotations: None,
            },
        })))
    }
}

/// Tests say an image in the engine's words.
#[cfg(test)]
impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Inspected::deserialize(deserializer)? {
            Inspected::Image(image) => Ok(*image),
            Inspected::TooMany(what) => Err(serde::de::Error::custom(what)),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageSummaryJson {
    id: Digest,
    #[serde(default, deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    repo_digests: Vec<String>,
}

impl<'de> Deserialize<'de> for ImageSummary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = ImageSummaryJson::deserialize(deserializer)?;
        Ok(Self { id: json.id, repo_tags: references(&json.repo_tags), repo_digests: pulled(&json.repo_digests) })
    }
}
