//! JSON of a source, read strictly: a member that is there twice means one thing to one reader and another to the next.

use crate::order::Ordered as _;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::{ImportError, form, shown};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// A number: no format turns on one.
    Number,
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Reads a text that is one value. How deep it may nest, `serde_json` bounds; how much it may hold, the size of the source.
pub(super) fn read(text: &str) -> Result<Json, ImportError> {
    serde_json::from_slice(text.as_bytes()).map_err(|error| ImportError::Json(error.to_string()))
}

impl Json {
    /// A member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Self::Object(members) => members.iter().find(|(found, _)| found == name).map(|(_, value)| value),
            Self::Null | Self::Bool(_) | Self::Number | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// The members, all of them known.
    pub(super) fn object(&self, place: &str, known: &[&str]) -> Result<&[(String, Json)], ImportError> {
        let members = self.members(place)?;
        match members.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(form(place, format!("{} is not a member of it; there are {}", shown(name), known.join(", ")))),
            None => Ok(members),
        }
    }

    /// The members, whatever they are called.
    pub(super) fn members(&self, place: &str) -> Result<&[(String, Json)], ImportError> {
        match self {
            Self::Object(members) => Ok(members),
            Self::Null | Self::Bool(_) | Self::Number | Self::Text(_) | Self::List(_) => Err(form(place, "is not an object")),
        }
    }

    pub(super) fn list(&self, place: &str) -> Result<&[Json], ImportError> {
        match self {
            Self::List(values) => Ok(values),
            Self::Null | Self::Bool(_) | Self::Number | Self::Text(_) | Self::Object(_) => Err(form(place, "is not a list")),
        }
    }

    pub(super) fn text(&self, place: &str) -> Result<&str, ImportError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Null | Self::Bool(_) | Self::Number | Self::List(_) | Self::Object(_) => Err(form(place, "is not text")),
        }
    }

    pub(super) fn truth(&self, place: &str) -> Result<bool, ImportError> {
        match self {
            Self::Bool(truth) => Ok(*truth),
            Self::Null | Self::Number | Self::Text(_) | Self::List(_) | Self::Object(_) => {
                Err(form(place, "is neither true nor false"))
            }
        }
    }

    /// The same as it is written; a number, on which nothing turns, as null.
    pub(super) fn value(&self) -> serde_json::Value {
        match self {
            Self::Null | Self::Number => serde_json::Value::Null,
            Self::Bool(truth) => (*truth).into(),
            Self::Text(text) => text.as_str().into(),
            Self::List(values) => values.iter().map(Self::value).collect(),
            Self::Object(members) => {
                serde_json::Value::Object(members.iter().map(|(name, value)| (name.clone(), value.value())).ordered())
            }
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self, place: &str) -> Result<Vec<&str>, ImportError> {
        self.list(place)?.iter().map(|value| value.text(place)).collect()
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
                Ok(Json::Number)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
                Ok(Json::Number)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
                Ok(Json::Number)
            }

            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Json::List(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
                let (mut members, mut seen) = (Vec::new(), HashSet::new());
                while let Some((name, value)) = entries.next_entry::<String, Json>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("{} is there twice", shown(&name))));
                    }
                    members.push((name, value));
                }
                Ok(Json::Object(members))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
