//! A JSON body as Go's `encoding/json` reads it into a struct, or a refusal where that cannot be said for certain. Names are
//! matched in any case (with U+017F for `s` and U+212A for `k`), `null` changes nothing, and a name that counts and stands there
//! twice is refused: Go takes the last of two scalars, merges two objects, and mixes the elements of two lists.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::Unreadable;

/// Most values in a body, names not counted. Stops a body of millions of tiny values from filling memory.
const VALUES: usize = 20_000;
/// Most levels. Go reads 10,000; honest bodies have seven.
const LEVELS: usize = 64;

/// A decoded value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Json<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Any number; no call turns on one.
    Number,
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Self>),
    /// An object, in the order written.
    Object(Members<'a>),
}

/// An object's members.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Json<'a> {
    /// Decodes a whole body.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Unreadable> {
        let left = Cell::new(VALUES);
        let mut reader = serde_json::Deserializer::from_slice(body);
        Seed { left: &left, levels: LEVELS }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value)).map_err(
            |error| {
                if left.get() == EXHAUSTED { Unreadable::TooComplex } else { Unreadable::Json(error.to_string()) }
            },
        )
    }

    /// Decodes a body that must be an object.
    pub(super) fn members(body: &'a [u8]) -> Result<Members<'a>, Unreadable> {
        match Self::read(body)? {
            Self::Object(members) => Ok(members),
            Self::Null | Self::Bool(_) | Self::Number | Self::Text(_) | Self::List(_) => {
                Err(Unreadable::Type("the body".to_owned()))
            }
        }
    }
}

impl<'a> Members<'a> {
    /// The member that Go's struct field `name` takes; absent and `null` are one thing.
    pub(super) fn get(&self, name: &str) -> Result<Option<&Json<'a>>, Unreadable> {
        let mut found = self.0.iter().filter(|(key, _)| folds_to(key, name)).map(|(_, value)| value);
        let value = found.next();
        match found.next() {
            Some(_) => Err(Unreadable::Ambiguous(name.to_owned())),
            None => Ok(value.filter(|value| **value != Json::Null)),
        }
    }

    /// A string member; absent and empty are one thing to dockerd wherever this is asked.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Unreadable> {
        match self.get(name)? {
            Some(Json::Text(text)) => Ok(Some(text.as_ref()).filter(|text| !text.is_empty())),
            None => Ok(None),
            Some(_) => Err(Unreadable::Type(name.to_owned())),
        }
    }

    /// A boolean member; absent is `false`.
    pub(super) fn truth(&self, name: &str) -> Result<bool, Unreadable> {
        match self.get(name)? {
            Some(Json::Bool(truth)) => Ok(*truth),
            None => Ok(false),
            Some(_) => Err(Unreadable::Type(name.to_owned())),
        }
    }

    /// An object member.
    pub(super) fn object(&self, name: &str) -> Result<Option<&Self>, Unreadable> {
        match self.get(name)? {
            Some(Json::Object(members)) => Ok(Some(members)),
            None => Ok(None),
            Some(_) => Err(Unreadable::Type(name.to_owned())),
        }
    }

    /// A list member; `None` is absent, which is not always the same as an empty list.
    pub(super) fn list(&self, name: &str) -> Result<Option<&[Json<'a>]>, Unreadable> {
        match self.get(name)? {
            Some(Json::List(list)) => Ok(Some(list)),
            None => Ok(None),
            Some(_) => Err(Unreadable::Type(name.to_owned())),
        }
    }

    /// A list of strings; `null` in it is an empty string to Go.
    pub(super) fn texts(&self, name: &str) -> Result<impl Iterator<Item = Result<&str, Unreadable>>, Unreadable> {
        let list = self.list(name)?.unwrap_or_default();
        Ok(list.iter().map(move |value| match value {
            Json::Text(text) => Ok(text.as_ref()),
            Json::Null => Ok(""),
            Json::Bool(_) | Json::Number | Json::List(_) | Json::Object(_) => Err(Unreadable::Type(name.to_owned())),
        }))
    }

    /// A list of objects; `null` in it would be an object of empty fields, which no honest body has.
    pub(super) fn objects(&self, name: &str) -> Result<impl Iterator<Item = Result<&Self, Unreadable>>, Unreadable> {
        let list = self.list(name)?.unwrap_or_default();
        Ok(list.iter().map(move |value| match value {
            Json::Object(members) => Ok(members),
            Json::Null | Json::Bool(_) | Json::Number | Json::Text(_) | Json::List(_) => Err(Unreadable::Type(name.to_owned())),
        }))
    }

    /// The members as they stand, for objects that are maps to Go: names count as written.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }
}

/// Whether Go takes the member `key` for the field `name` (`encoding/json`, `fold.go`). Of all letters only `k` and `s` have a
/// partner outside ASCII.
fn folds_to(key: &str, name: &str) -> bool {
    if key.len() == name.len() {
        return key.eq_ignore_ascii_case(name);
    }
    // The long s has two bytes and the Kelvin sign three: an equal name is longer than the field's.
    key.len() > name.len() && key.chars().map(plain).eq(name.chars().map(|letter| letter.to_ascii_lowercase()))
}

const fn plain(letter: char) -> char {
    match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

/// `left` once a bound was crossed.
const EXHAUSTED: usize = usize::MAX;

/// Builds one value, counting.
struct Seed<'c> {
    left: &'c Cell<usize>,
    levels: usize,
}

impl Seed<'_> {
    /// Takes one level and one value off the bounds.
    fn enter<E: serde::de::Error>(&self) -> Result<Self, E> {
        if let Some(levels) = self.levels.checked_sub(1) {
            return Ok(Seed { left: self.left, levels });
        }
        self.left.set(EXHAUSTED);
        Err(E::custom("too many levels"))
    }

    fn again(&self) -> Seed<'_> {
        Seed { left: self.left, levels: self.levels }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        let left = self.left.get();
        if left == 0 || left == EXHAUSTED {
            self.left.set(EXHAUSTED);
            return Err(D::Error::custom("too many values"));
        }
        self.left.set(left - 1);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(truth))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json<'de>, A::Error> {
        let inner = self.enter()?;
        let mut list = Vec::new();
        while let Some(value) = values.next_element_seed(inner.again())? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let inner = self.enter()?;
        let mut members = Vec::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            members.push((key, entries.next_value_seed(inner.again())?));
        }
        Ok(Json::Object(Members(members)))
    }
}

/// Reads a name, borrowed where it holds no escape.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(body: &str) -> Result<Option<String>, Unreadable> {
        Json::members(body.as_bytes())?.text("Image").map(|text| text.map(str::to_owned))
    }

    #[test]
    fn names_are_matched_as_go_matches_them() {
        for (body, found) in [
            (r#"{"Image":"a"}"#, Some("a")),
            (r#"{"IMAGE":"a"}"#, Some("a")),
            (r#"{"\u0049mage":"a"}"#, Some("a")),
            (r#"{"Image":"\u0061"}"#, Some("a")),
            ("\r\n\t {\"image\":\"a\"} \n", Some("a")),
            (r#"{"ımage":"b","Image":"a"}"#, Some("a")),
            (r#"{"İmage":"b"}"#, None),
            (r#"{"Image ":"b"}"#, None),
            (r#"{"Config":{"Image":"b"}}"#, None),
            (r#"{"Image":null}"#, None),
            (r#"{"Image":""}"#, None),
            ("{}", None),
        ] {
            assert_eq!(image(body), Ok(found.map(str::to_owned)), "{body}");
        }
        assert!(folds_to("Ho\u{17f}tConfig", "HostConfig"));
        assert!(folds_to("Networ\u{212a}Mode", "NetworkMode"));
        assert!(folds_to("ta\u{17f}\u{212a}template", "TaskTemplate"));
        assert!(!folds_to("B\u{131}nds", "Binds"));
        assert!(!folds_to("Binds\u{17f}", "Binds"));
    }

    #[test]
    fn a_name_that_counts_stands_there_once() {
        for body in [
            r#"{"Image":"a","Image":"b"}"#,
            r#"{"Image":"a","image":"b"}"#,
            r#"{"Image":"a","Image":null}"#,
            r#"{"Image":null,"Image":"a"}"#,
            r#"{"Image":"a","\u0049mage":"a"}"#,
        ] {
            assert_eq!(image(body), Err(Unreadable::Ambiguous("Image".into())), "{body}");
        }
        assert_eq!(image(r#"{"Image":"a","Labels":{"x":"1","x":"2"},"Other":1,"Other":2}"#), Ok(Some("a".into())));
    }

    #[test]
    fn what_is_no_single_json_object_of_the_right_types_is_refused() {
        for body in [
            "",
            " ",
            "{",
            "{}{}",
            "{}x",
            "{}}",
            "{}\0",
            "\u{feff}{}",
            "/**/{}",
            "{'Image':'a'}",
            r#"{"Image":"a",}"#,
            "{\"Image\":\"a\n\"}",
            r#"{"X":"\ud800"}"#,
            r#"{"X":1e999}"#,
            r#"{"X":01}"#,
            "{1:2}",
        ] {
            assert!(matches!(image(body), Err(Unreadable::Json(_))), "{body:?}");
        }
        assert!(matches!(Json::members(b"{\"Image\":\"\xff\"}"), Err(Unreadable::Json(_))));
        for body in ["null", "[]", "1", "\"a\"", r#"{"Image":1}"#, r#"{"Image":["a"]}"#, r#"{"Image":{}}"#, r#"{"Image":true}"#] {
            assert!(matches!(image(body), Err(Unreadable::Type(_))), "{body:?}");
        }
    }

    #[test]
    fn levels_and_values_are_bounded() {
        let nested = |levels: usize| format!("{{\"X\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(image(&nested(LEVELS - 1)), Ok(None));
        assert_eq!(image(&nested(LEVELS)), Err(Unreadable::TooComplex));
        assert_eq!(image(&nested(9_999)), Err(Unreadable::TooComplex));
        let wide = |values: usize| format!("{{\"X\":[{}1]}}", "1,".repeat(values));
        assert_eq!(image(&wide(VALUES - 3)), Ok(None));
        assert_eq!(image(&wide(VALUES - 2)), Err(Unreadable::TooComplex));
    }
}
