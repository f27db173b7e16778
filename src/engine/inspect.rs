//! What the engine's answers say, reduced to what the gate needs (Docker Engine API, `ImageInspect`, `ContainerInspect` …): a file for each
//! kind of thing. This one has what they read alike.
//!
//! Go writes `null` for empty lists and maps, and leaves some members out by version; both mean empty here.

mod container;
mod host;
mod image;
mod plugin;
mod service;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

pub use self::container::{
    Container, ContainerId, ContainerIdError, ContainerSummary, Exec, Killed, Listed, Removed, Stopped, Task, TaskClaim,
};
pub use self::host::{Info, Store, Version};
pub use self::image::{Image, ImageSummary, Made};
pub use self::plugin::Plugin;
pub use self::service::{Network, Service, ServiceSpec};
use crate::image::Digest;

/// `null` and absence are the same to Go.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The engine's "no image" is the empty string. Anything else must be a digest.
fn image_id<E: serde::de::Error>(text: &str) -> Result<Option<Digest>, E> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(E::custom) }
}

/// A time of the engine; Go's zero time (year 1) and what cannot be read are `None`.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|_| !text.starts_with("0001-"))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MountJson {
    #[serde(default, deserialize_with = "or_default")]
    r#type: String,
    #[serde(default, deserialize_with = "or_default")]
    source: String,
}

/// An image mount without a source stays in the list, as empty text: what cannot be traced must not vanish.
fn image_sources(mounts: Vec<MountJson>) -> Vec<String> {
    mounts.into_iter().filter(|mount| mount.r#type.eq_ignore_ascii_case("image")).map(|mount| mount.source).collect()
}
