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
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
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

/// Most entries of one list or map of an image. Honest ones have dozens. Stops who made the image from filling memory, and from taking the
/// time of the thread that reads it.
const ENTRIES: usize = 4096;

/// The same of a list of at most [`ENTRIES`].
fn few<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Few<T>>::deserialize(deserializer)?.map(|few| few.0).unwrap_or_default())
}

/// The same of a map, in the order in which its members stand.
fn few_members<'de, D, V>(deserializer: D) -> Result<Vec<(String, V)>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    Ok(Option::<FewMembers<V>>::deserialize(deserializer)?.map(|few| few.0).unwrap_or_default())
}

struct Few<T>(Vec<T>);

struct FewMembers<V>(Vec<(String, V)>);

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
        write!(f, "a list of at most {ENTRIES} entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = entries.next_element()? {
            if all.len() == ENTRIES {
                return Err(A::Error::invalid_length(ENTRIES + 1, &self));
            }
            all.push(entry);
        }
        Ok(Few(all))
    }
}

struct CountingMembers<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for CountingMembers<V> {
    type Value = FewMembers<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {ENTRIES} members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            if all.len() == ENTRIES {
                return Err(A::Error::invalid_length(ENTRIES + 1, &self));
            }
            all.push(member);
        }
        Ok(FewMembers(all))
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
        let read = |config: String| serde_json::from_str::<Image>(&format!(r#"{{"Id":"{id}","Config":{config}}}"#));
        let members = |count: usize| (0..count).map(|number| format!("\"{number}\":\"\"")).collect::<Vec<_>>().join(",");
        let texts = |count: usize| vec!["\"A=1\""; count].join(",");
        for name in ["Labels", "ExposedPorts"] {
            assert!(read(format!("{{\"{name}\":{{{}}}}}", members(ENTRIES))).is_ok());
            let error = read(format!("{{\"{name}\":{{{}}}}}", members(ENTRIES + 1))).unwrap_err();
            assert!(error.to_string().contains("at most 4096"), "{error}");
        }
        assert_eq!(read(format!("{{\"Env\":[{}]}}", texts(ENTRIES))).unwrap().config.env.len(), ENTRIES);
        assert!(read(format!("{{\"Env\":[{}]}}", texts(ENTRIES + 1))).is_err());
        let none = read(r#"{"Env":null,"Labels":null,"ExposedPorts":null}"#.to_owned()).unwrap().config;
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
