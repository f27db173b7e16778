//! What the engine's answers say, reduced to what the gate needs (Docker Engine API, `ImageInspect`, `ContainerInspect` …): a file for each
//! kind of thing. This one has what they read alike.
//!
//! Go writes `null` for empty lists and maps, and leaves some members out by version; both mean empty here.

mod container;
mod host;
mod image;
mod plugin;
mod service;

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

pub use self::container::{
    Container, ContainerId, ContainerIdError, ContainerSummary, Exec, Killed, Listed, Removed, Stopped, Task, TaskClaim,
};
pub use self::host::{Info, Store, Version};
pub(super) use self::image::Inspected;
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

/// Most entries of one list or map of an image. Honest ones have dozens. Stops who made the image from filling memory, and from taking the
/// time of the thread that reads it.
pub(super) const ENTRIES: usize = 4096;

/// A list of which at most [`ENTRIES`] are kept.
struct Few<T> {
    kept: Vec<T>,
    is_more: bool,
}

/// The same of a map, in the order in which its members stand.
struct FewMembers<V> {
    kept: Vec<(String, V)>,
    is_more: bool,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), is_more: false }
    }
}

impl<V> Default for FewMembers<V> {
    fn default() -> Self {
        Self { kept: Vec::new(), is_more: false }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Counting(PhantomData::<T>))
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for FewMembers<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CountingMembers(PhantomData::<V>))
    }
}

struct Counting<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Counting<T> {
    type Value = Few<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < ENTRIES {
            match entries.next_element()? {
                Some(entry) => kept.push(entry),
                None => return Ok(Few { kept, is_more: false }),
            }
        }
        let mut is_more = false;
        while entries.next_element::<IgnoredAny>()?.is_some() {
            is_more = true;
        }
        Ok(Few { kept, is_more })
    }
}

struct CountingMembers<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for CountingMembers<V> {
    type Value = FewMembers<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < ENTRIES {
            match members.next_entry()? {
                Some(member) => kept.push(member),
                None => return Ok(FewMembers { kept, is_more: false }),
            }
        }
        let mut is_more = false;
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            is_more = true;
        }
        Ok(FewMembers { kept, is_more })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_with_more_of_a_kind_than_images_have_is_not_read() {
        let id = Digest::of(b"x");
        let read = |config: String| serde_json::from_str::<Inspected>(&format!(r#"{{"Id":"{id}","Config":{config}}}"#)).unwrap();
        let image = |config: String| match read(config) {
            Inspected::Image(image) => image.config,
            Inspected::TooMany(what) => panic!("{what}"),
        };
        let too_many = |config: String| match read(config) {
            Inspected::Image(_) => None,
            Inspected::TooMany(what) => Some(what),
        };
        let members = |count: usize| (0..count).map(|number| format!("\"{number}\":\"\"")).collect::<Vec<_>>().join(",");
        let texts = |count: usize| vec!["\"A=1\""; count].join(",");
        for (name, what) in [("Labels", "labels"), ("ExposedPorts", "exposed ports")] {
            assert_eq!(too_many(format!("{{\"{name}\":{{{}}}}}", members(ENTRIES))), None);
            assert_eq!(too_many(format!("{{\"{name}\":{{{}}}}}", members(ENTRIES + 1))), Some(what));
        }
        assert_eq!(image(format!("{{\"Env\":[{}]}}", texts(ENTRIES))).env.len(), ENTRIES);
        assert_eq!(too_many(format!("{{\"Env\":[{}]}}", texts(ENTRIES + 1))), Some("variables"));
        let test = format!("{{\"Healthcheck\":{{\"Test\":[{}]}}}}", texts(ENTRIES + 1));
        assert_eq!(too_many(test), Some("words of its health check"));
        let none = image(r#"{"Env":null,"Labels":null,"ExposedPorts":null}"#.to_owned());
        assert!(none.env.is_empty() && none.labels.is_empty() && none.ports.is_empty());
    }

    #[test]
    fn what_a_container_runs_as_stays_text() {
        let (id, many) = ("a".repeat(64), (0..200_000).map(|number| format!("\"{number}\":\"\"")).collect::<Vec<_>>().join(","));
        let text = format!(
            r#"{{"Id":"{id}","State":{{"Running":false}},"Config":{{"Image":"x","User":"1","Labels":{{{many}}},"Env":null,"Other":[]}}}}"#
        );
        let runs_as = serde_json::from_str::<Container>(&text).unwrap().runs_as;
        assert!(runs_as.bytes() < text.len());
        let members = runs_as.members();
        assert_eq!((&members["User"], members.len()), (&serde_json::json!("1"), 2));
        assert_eq!(members["Labels"].as_object().unwrap().len(), 200_000);
    }
}
