//! A JSON body as Go's `encoding/json` reads it into a struct, or a refusal where that cannot be said for certain. What of a body
//! counts is said by a [`Shape`]; the rest is skipped, unkept, as Go skips it. Names are matched in any case (with U+017F for `s`
//! and U+212A for `k`), `null` changes nothing, and a name that counts and stands there twice is refused: Go takes the last of two
//! scalars, merges two objects, and mixes the elements of two lists. So is a name that stands twice in a map: Go keeps the last.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Unreadable;
use crate::text::fit;

/// Most values that are kept of a body. Stops lists of millions of tiny values from filling memory; a container that publishes 10,000 ports
/// has 40,000.
const VALUES: usize = 100_000;
/// Longest piece of a map's name that is shown. Stops foreign text from filling the refusal.
const NAME_SHOWN: usize = 40;

/// What of a value counts.
#[derive(Debug)]
pub(super) enum Shape {
    /// A string, a boolean, a number or `null`.
    Scalar,
    /// A list; also a scalar alone, where Go takes both (`strslice.StrSlice`).
    List(&'static Shape),
    /// A struct: these fields count. In groups, because Go embeds structs.
    Struct(&'static [&'static Fields]),
    /// A map from any name to a scalar.
    Map,
    /// A map from any name to such values.
    MapOf(&'static Shape),
}

/// A struct's field: its name in Go's spelling, and what it holds.
#[derive(Debug)]
pub(super) struct Field {
    name: Name,
    shape: Shape,
}

/// Fields of a struct, to be found by their names.
#[derive(Debug)]
pub(super) struct Fields {
    list: &'static [Field],
    /// Where in the list a field stands, counted from 1, at the place that its sign gives or at the next that was free; 0: nowhere.
    places: [u8; PLACES],
}

/// Places of fields, as a power of two. So many fields would fill them all.
const PLACES_BITS: u32 = 6;
const PLACES: usize = 1 << PLACES_BITS;

/// These fields. Worked out by the compiler.
#[expect(clippy::indexing_slicing, reason = "the compiler says what is out of bounds")]
#[expect(clippy::cast_possible_truncation, reason = "there are fewer fields than places")]
pub(super) const fn fields(list: &'static [Field]) -> Fields {
    let mut places = [0; PLACES];
    let mut at = 0;
    while at < list.len() {
        let mut place = place_of(list[at].name.sign);
        while places[place] != 0 {
            place = (place + 1) % PLACES;
        }
        at += 1;
        places[place] = at as u8;
    }
    Fields { list, places }
}

const fn place_of(sign: u32) -> usize {
    (sign.wrapping_mul(0x9e37_79b1) >> (u32::BITS - PLACES_BITS)) as usize
}

impl Fields {
    /// The field that is called so, but for the case of ASCII letters.
    fn find(&self, key: &str, sign: u32) -> Option<&'static Field> {
        let from = place_of(sign);
        // There is always a place that is free.
        for place in from..from + PLACES {
            let at = usize::from(*self.places.get(place % PLACES)?);
            let field = self.list.get(at.checked_sub(1)?)?;
            let Name { sign: found, text } = field.name;
            // Honest clients write Go's spelling.
            if found == sign && (text == key || text.eq_ignore_ascii_case(key)) {
                return Some(field);
            }
        }
        None
    }
}

/// A field of this name that holds this.
pub(super) const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name: Name { text: name, sign: sign(name) }, shape }
}

/// A field's name, and a sign by which most others are told apart at one look: every member of every body is looked for among all fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name {
    sign: u32,
    text: &'static str,
}

/// The same for names that differ in the case of ASCII letters alone.
const fn sign(name: &str) -> u32 {
    let [length, ..] = name.len().to_le_bytes();
    let [first, second, last] = match name.as_bytes() {
        [first, second, .., last] => [*first, *second, *last],
        [first, last] => [*first, *last, *last],
        [one] => [*one; 3],
        [] => [0; 3],
    };
    // The bit that tells a small letter from its capital.
    u32::from_le_bytes([length, first | 0x20, second | 0x20, last | 0x20])
}

/// A decoded value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Json<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A string.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Self>),
    /// A struct.
    Struct(Members<'a>),
    /// A map, in the order written. No name stands there twice.
    Map(Vec<(Cow<'a, str>, Self)>),
    /// A whole number, as Go has them.
    Number(i64),
    /// Another number, which no call turns on, or a list or an object where the shape has none.
    Other,
}

/// A struct's members that count, each at most once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Members<'a>(Vec<(Name, Json<'a>)>);

/// Decodes a body that must be an object of these fields.
pub(super) fn read<'a>(body: &'a [u8], shape: &'static Shape) -> Result<Members<'a>, Unreadable> {
    let state = State { left: Cell::new(VALUES), fault: Cell::new(None) };
    let seed = Seed { state: &state, shape };
    // Text is looked at once for what is no UTF-8, bytes again in each string. Go takes what is none in strings.
    let value = match std::str::from_utf8(body) {
        Ok(text) => whole(serde_json::Deserializer::from_str(text), seed),
        Err(_) => whole(serde_json::Deserializer::from_slice(body), seed),
    };
    match (value, state.fault.take()) {
        (_, Some(Fault::TooComplex)) => Err(Unreadable::TooComplex),
        (_, Some(Fault::Twice(name))) => Err(Unreadable::Ambiguous(name)),
        (Err(error), None) => Err(Unreadable::Json(error.to_string())),
        (Ok(Json::Struct(members)), None) => Ok(members),
        (Ok(_), None) => Err(Unreadable::Type("the body".to_owned())),
    }
}

/// The value, if it is all there is.
fn whole<'a, R: serde_json::de::Read<'a>>(
    mut reader: serde_json::Deserializer<R>,
    seed: Seed<'_>,
) -> serde_json::Result<Json<'a>> {
    let value = seed.deserialize(&mut reader)?;
    reader.end().map(|()| value)
}

impl<'a> Members<'a> {
    /// The member of this name; absent and `null` are one thing.
    pub(super) fn get(&self, name: &str) -> Option<&Json<'a>> {
        let sign = sign(name);
        let found = self.0.iter().find(|(found, _)| found.sign == sign && found.text == name);
        found.map(|(_, value)| value).filter(|value| !matches!(value, Json::Null))
    }

    /// A string member; absent and empty are one thing to dockerd wherever this is asked.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Unreadable> {
        match self.get(name) {
            Some(Json::Text(text)) => Ok(Some(text.as_ref()).filter(|text| !text.is_empty())),
            None => Ok(None),
            Some(_) => Err(wrong(name)),
        }
    }

    /// A boolean member; absent is `false`.
    pub(super) fn truth(&self, name: &str) -> Result<bool, Unreadable> {
        match self.get(name) {
            Some(Json::Bool(truth)) => Ok(*truth),
            None => Ok(false),
            Some(_) => Err(wrong(name)),
        }
    }

    /// A member that is a whole number; absent is none. Go takes no other number for one.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Unreadable> {
        match self.get(name) {
            Some(Json::Number(number)) => Ok(Some(*number)),
            None => Ok(None),
            Some(_) => Err(wrong(name)),
        }
    }

    /// A struct member.
    pub(super) fn object(&self, name: &str) -> Result<Option<&Self>, Unreadable> {
        match self.get(name) {
            Some(Json::Struct(members)) => Ok(Some(members)),
            None => Ok(None),
            Some(_) => Err(wrong(name)),
        }
    }

    /// A map member, entry by entry; names count as written.
    pub(super) fn map(&self, name: &str) -> Result<&[(Cow<'a, str>, Json<'a>)], Unreadable> {
        match self.get(name) {
            Some(Json::Map(entries)) => Ok(entries),
            None => Ok(&[]),
            Some(_) => Err(wrong(name)),
        }
    }

    /// A list member; `None` is absent, which is not always the same as an empty list.
    pub(super) fn list(&self, name: &str) -> Result<Option<&[Json<'a>]>, Unreadable> {
        match self.get(name) {
            Some(Json::List(list)) => Ok(Some(list)),
            None => Ok(None),
            Some(_) => Err(wrong(name)),
        }
    }

    /// A list of strings; `null` in it is an empty string to Go.
    pub(super) fn texts(&self, name: &str) -> Result<impl Iterator<Item = Result<&str, Unreadable>>, Unreadable> {
        Ok(self.list(name)?.unwrap_or_default().iter().map(move |value| word(value, name)))
    }

    /// One string, or a list of them.
    pub(super) fn words(&self, name: &str) -> impl Iterator<Item = Result<&str, Unreadable>> {
        let words = match self.get(name) {
            Some(Json::List(words)) => words.as_slice(),
            Some(alone) => std::slice::from_ref(alone),
            None => &[],
        };
        words.iter().map(move |value| word(value, name))
    }

    /// A list of structs; `null` in it would be one of empty fields, which no honest body has.
    pub(super) fn objects(&self, name: &str) -> Result<impl Iterator<Item = Result<&Self, Unreadable>>, Unreadable> {
        let list = self.list(name)?.unwrap_or_default();
        Ok(list.iter().map(move |value| if let Json::Struct(members) = value { Ok(members) } else { Err(wrong(name)) }))
    }
}

fn word<'t>(value: &'t Json<'_>, name: &str) -> Result<&'t str, Unreadable> {
    match value {
        Json::Text(text) => Ok(text),
        Json::Null => Ok(""),
        Json::Bool(_) | Json::List(_) | Json::Struct(_) | Json::Map(_) | Json::Number(_) | Json::Other => Err(wrong(name)),
    }
}

fn wrong(name: &str) -> Unreadable {
    Unreadable::Type(name.to_owned())
}

/// The field that Go takes the member `key` for (`encoding/json`, `fold.go`). Of all letters only `k` and `s` have a partner
/// outside ASCII.
fn field_of(fields: &'static [&'static Fields], key: &str) -> Option<&'static Field> {
    let sign = sign(key);
    let found = fields.iter().find_map(|group| group.find(key, sign));
    if found.is_some() || key.is_ascii() {
        return found;
    }
    fields.iter().flat_map(|group| group.list).find(|field| same_name(field.name.text, key))
}

/// Whether Go takes both for one name.
pub(super) fn same_name(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    one.chars().map(plain).eq(other.chars().map(plain))
}

const fn plain(letter: char) -> char {
    match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

/// Counts and faults of one body.
struct State {
    left: Cell<usize>,
    fault: Cell<Option<Fault>>,
}

/// What was found besides bad JSON.
enum Fault {
    TooComplex,
    Twice(String),
}

impl State {
    fn fail<E: serde::de::Error>(&self, fault: Fault) -> E {
        self.fault.set(Some(fault));
        E::custom("refused")
    }

    /// Takes one value off the bound.
    fn keep<E: serde::de::Error>(&self) -> Result<(), E> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.fail(Fault::TooComplex)),
        }
    }
}

/// Builds one value of a shape.
#[derive(Clone, Copy)]
struct Seed<'c> {
    state: &'c State,
    shape: &'static Shape,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        self.state.keep()?;
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

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(number).map_or(Json::Other, Json::Number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json<'de>, A::Error> {
        let Shape::List(shape) = self.shape else {
            while values.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Json::Other);
        };
        let mut list = Vec::new();
        while let Some(value) = values.next_element_seed(Seed { shape, ..self })? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        match self.shape {
            Shape::Struct(fields) => {
                // Honest bodies have most of them.
                let most = fields.iter().map(|group| group.list.len()).sum();
                let mut members: Vec<(Name, Json<'de>)> = Vec::with_capacity(most);
                while let Some(field) = entries.next_key_seed(FieldOf(fields))? {
                    let Some(Field { name, shape }) = field else {
                        entries.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    if members.iter().any(|(found, _)| found == name) {
                        return Err(self.state.fail(Fault::Twice(name.text.to_owned())));
                    }
                    members.push((*name, entries.next_value_seed(Seed { shape, ..self })?));
                }
                Ok(Json::Struct(Members(members)))
            }
            Shape::Map => self.map(entries, &Shape::Scalar),
            Shape::MapOf(shape) => self.map(entries, shape),
            Shape::Scalar | Shape::List(_) => {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Json::Other)
            }
        }
    }
}

impl Seed<'_> {
    fn map<'de, A: MapAccess<'de>>(self, mut entries: A, shape: &'static Shape) -> Result<Json<'de>, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            map.push((key, entries.next_value_seed(Seed { shape, ..self })?));
        }
        if let Some(name) = twice(&map) {
            return Err(self.state.fail(Fault::Twice(fit(name, NAME_SHOWN))));
        }
        Ok(Json::Map(map))
    }
}

/// A name that stands twice in a map. Sorted, because a map may have as many names as [`VALUES`].
fn twice<'m>(map: &'m [(Cow<'_, str>, Json<'_>)]) -> Option<&'m str> {
    let mut names: Vec<&str> = map.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next).map(|(name, _)| *name)
}

/// Reads a member's name and finds the field that Go would take it for.
struct FieldOf(&'static [&'static Fields]);

impl<'de> DeserializeSeed<'de> for FieldOf {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldOf {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(field_of(self.0, key))
    }
}

/// Reads a name as it stands, borrowed where it holds no escape.
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

    const SHAPE: Shape = Shape::Struct(&[&fields(&[
        field("Image", Shape::Scalar),
        field("List", Shape::List(&Shape::Scalar)),
        field("Map", Shape::Map),
    ])]);

    fn image(body: &str) -> Result<Option<String>, Unreadable> {
        read(body.as_bytes(), &SHAPE)?.text("Image").map(|text| text.map(str::to_owned))
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
        let folded = |name: &str, key: &str| {
            const FIELDS: &[&Fields] = &[&fields(&[
                field("HostConfig", Shape::Map),
                field("NetworkMode", Shape::Map),
                field("TaskTemplate", Shape::Map),
                field("Binds", Shape::Map),
            ])];
            field_of(FIELDS, key).is_some_and(|found| found.name.text == name)
        };
        assert!(folded("HostConfig", "Ho\u{17f}tConfig"));
        assert!(folded("NetworkMode", "Networ\u{212a}Mode"));
        assert!(folded("TaskTemplate", "ta\u{17f}\u{212a}template"));
        assert!(!folded("Binds", "B\u{131}nds"));
        assert!(!folded("Binds", "Binds\u{17f}"));
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
            r#"{"Image":"\ud800"}"#,
            r#"{"Image":1e999}"#,
            r#"{"X":01}"#,
            "{1:2}",
        ] {
            assert!(matches!(image(body), Err(Unreadable::Json(_))), "{body:?}");
        }
        assert!(matches!(read(b"{\"Image\":\"\xff\"}", &SHAPE), Err(Unreadable::Json(_))));
        for body in ["null", "[]", "1", "\"a\"", r#"{"Image":1}"#, r#"{"Image":["a"]}"#, r#"{"Image":{}}"#, r#"{"Image":true}"#] {
            assert!(matches!(image(body), Err(Unreadable::Type(_))), "{body:?}");
        }
    }

    #[test]
    fn what_does_not_count_is_skipped_however_it_looks() {
        let deep = format!("{}{}", "[".repeat(9_000), "]".repeat(9_000));
        let wide = format!("[{}1]", "1,".repeat(100_000));
        for value in ["1e999", r#""\ud800""#, r#"{"Image":"b","Image":"c"}"#, "123456789012345678901234567890", &deep, &wide] {
            let body = format!(r#"{{"X":{value},"Image":"a","x":{value}}}"#);
            assert_eq!(image(&body), Ok(Some("a".into())));
        }
        assert!(read(b"{\"X\":\"\xff\",\"Image\":\"a\"}", &SHAPE).is_ok());
        assert!(matches!(image(r#"{"Image":"a","X":[1,}"#), Err(Unreadable::Json(_))));
    }

    #[test]
    fn what_counts_is_bounded_and_of_its_type() {
        let list = |values: usize| read(format!("{{\"List\":[{}1]}}", "1,".repeat(values)).as_bytes(), &SHAPE).map(|_| ());
        assert_eq!(list(VALUES - 3), Ok(()));
        assert_eq!(list(VALUES - 2), Err(Unreadable::TooComplex));
        for body in [r#"{"List":[{}]}"#, r#"{"List":[[1]]}"#, r#"{"List":[1]}"#, r#"{"List":{}}"#, r#"{"List":"a"}"#] {
            let members = read(body.as_bytes(), &SHAPE).unwrap();
            let texts =
                members.texts("List").and_then(|texts| texts.map(|text| text.map(str::to_owned)).collect::<Result<Vec<_>, _>>());
            assert_eq!(texts, Err(Unreadable::Type("List".into())), "{body}");
        }
        for body in [r#"{"Map":[]}"#, r#"{"Map":"a"}"#] {
            assert_eq!(read(body.as_bytes(), &SHAPE).unwrap().map("Map"), Err(Unreadable::Type("Map".into())), "{body}");
        }
        let number = |body: &str| read(body.as_bytes(), &SHAPE).unwrap().number("Image");
        for (body, found) in [
            (r#"{"Image":5}"#, Ok(Some(5))),
            (r#"{"image":-1}"#, Ok(Some(-1))),
            (r#"{"Image":null}"#, Ok(None)),
            (r#"{"Image":9223372036854775807}"#, Ok(Some(i64::MAX))),
            (r#"{"Image":9223372036854775808}"#, Err(())),
            (r#"{"Image":1.0}"#, Err(())),
            (r#"{"Image":1e3}"#, Err(())),
            (r#"{"Image":"5"}"#, Err(())),
        ] {
            assert_eq!(number(body).map_err(|_| ()), found, "{body}");
        }
        let members = read(br#"{"MAP":{"a":"1","A":null,"b":[]},"List":"one"}"#, &SHAPE).unwrap();
        let keys: Vec<_> = members.map("Map").unwrap().iter().map(|(key, _)| key.as_ref()).collect();
        assert_eq!(keys, ["a", "A", "b"]);
        for body in [r#"{"Map":{"a":"1","b":"","a":"2"}}"#, r#"{"Map":{"a":"1","\u0061":null}}"#] {
            assert_eq!(read(body.as_bytes(), &SHAPE), Err(Unreadable::Ambiguous("a".into())), "{body}");
        }
        assert_eq!(members.words("List").collect::<Result<Vec<_>, _>>(), Ok(vec!["one"]));
    }
}
