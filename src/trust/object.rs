//! JSON objects that are objects: serde takes an array for a struct as well, member by member, and no other reader does. And lists that end: what
//! nobody has signed yet fills no memory.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::registry::has_one_reading;
use crate::text::clean;

/// What is read from an object alone.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OfMap(PhantomData)).map(Self)
    }
}

struct OfMap<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// A list of no more than so many: one more is a fault before it is kept.
pub(super) struct Few<T, const MOST: usize>(pub(super) Vec<T>);

impl<T, const MOST: usize> Default for Few<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Few<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OfList(PhantomData))
    }
}

struct OfList<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for OfList<T, MOST> {
    type Value = Few<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Few<T, MOST>, A::Error> {
        let mut found = Vec::new();
        while let Some(one) = seq.next_element()? {
            if found.len() >= MOST {
                return Err(A::Error::custom(format!("a list has more than {MOST}")));
            }
            found.push(one);
        }
        Ok(Few(found))
    }
}

/// A whole text that is one object, of which it is known already that it has one reading.
pub(super) fn parsed<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, String> {
    let Object(read) = serde_json::from_slice(bytes).map_err(|error| clean(&error.to_string()))?;
    Ok(read)
}

/// A whole text that is one object, which every reader takes for the same.
pub(super) fn read<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, String> {
    has_one_reading(bytes)?;
    parsed(bytes)
}
