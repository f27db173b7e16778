//! JSON as signed metadata may be written, and its canonical form (spec/notary-tuf.md, sections 4 and 13).
//!
//! Stricter than any JSON library: what two parsers may read differently is refused. Duplicate members, numbers that are
//! not plain integers below 2^53, lone surrogates and invalid UTF-8 do not pass.

use std::borrow::Cow;

/// Deepest nesting read. Stops a document of brackets from overflowing the stack.
const DEPTH: usize = 128;
/// Most values in one document. With 32 bytes per value it stops a small file from growing into gigabytes; a targets
/// file has four values per tag.
const VALUES: usize = 400_000;
/// Integers beyond this do not survive the Go client's floating point (2^53 - 1).
const INTEGER_MOST: i64 = (1 << 53) - 1;

/// A JSON value. Strings borrow from the document where they hold no escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Text(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    /// Sorted by name (UTF-8 bytes), each name once.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// Why a document cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub(super) struct JsonError {
    what: &'static str,
    at: usize,
}

impl<'a> Value<'a> {
    /// Reads a whole document.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, JsonError> {
        let text =
            std::str::from_utf8(bytes).map_err(|error| JsonError { what: "text is not UTF-8", at: error.valid_up_to() })?;
        let mut reader = Reader { text, at: 0, values: 0 };
        let value = reader.value(DEPTH)?;
        reader.space();
        if reader.at < text.len() {
            return Err(reader.fail("something follows the document"));
        }
        Ok(value)
    }

    /// A member of an object, by its exact name.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        let at = members.binary_search_by(|(have, _)| have.as_bytes().cmp(name.as_bytes())).ok()?;
        members.get(at).map(|(_, value)| value)
    }

    /// Appends the canonical form: no white space, members sorted by UTF-8 bytes, only `\` and `"` escaped.
    pub(super) fn canonical(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Text(text) => canonical_text(text, out),
            Self::Array(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.canonical(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    canonical_text(name, out);
                    out.push(b':');
                    value.canonical(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Appends a string in canonical form.
pub(super) fn canonical_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    const fn fail(&self, what: &'static str) -> JsonError {
        JsonError { what, at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes `byte` if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, JsonError> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.fail("unknown word"))
        }
    }

    /// One value, with white space before it skipped. `depth` is how many levels may still open.
    fn value(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.values += 1;
        if self.values > VALUES {
            return Err(self.fail("too many values"));
        }
        self.space();
        match self.peek() {
            Some(b'n') => self.word("null", Value::Null),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.integer(),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(_) => Err(self.fail("no JSON value")),
            None => Err(self.fail("document ends early")),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.fail("nesting too deep"))?;
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err(self.fail("comma or end of the array expected"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.fail("nesting too deep"))?;
        self.at += 1;
        let mut members: Vec<(Cow<'a, str>, Value<'a>)> = Vec::new();
        self.space();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.fail("name of a member expected"));
            }
            let name = self.string()?;
            self.space();
            if !self.take(b':') {
                return Err(self.fail("colon expected"));
            }
            members.push((name, self.value(depth)?));
            self.space();
            if self.take(b'}') {
                break;
            }
            if !self.take(b',') {
                return Err(self.fail("comma or end of the object expected"));
            }
        }
        // Canonical files are sorted already, which this sort finds in one pass.
        members.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
        let twice = members.iter().zip(members.iter().skip(1)).any(|((a, _), (b, _))| a == b);
        if twice {
            return Err(self.fail("an object has a member twice"));
        }
        Ok(Value::Object(members))
    }

    /// `-?(0|[1-9][0-9]*)` within 2^53, and `-0` excluded: Go would write it as `0`.
    fn integer(&mut self) -> Result<Value<'a>, JsonError> {
        let start = self.at;
        self.take(b'-');
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Err(self.fail("number is not a plain integer"));
        }
        let digits = self.text.get(start..self.at).unwrap_or_default();
        let bare = digits.strip_prefix('-').unwrap_or(digits);
        let good = !bare.is_empty() && (bare == "0" || !bare.starts_with('0')) && digits != "-0";
        let number = digits.parse::<i64>().ok().filter(|number| good && number.abs() <= INTEGER_MOST);
        number.map(Value::Integer).ok_or_else(|| self.fail("number is no integer below 2^53"))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut owned: Option<String> = None;
        let mut run = start;
        loop {
            // A run without escapes; its bytes are valid UTF-8 and it ends before an ASCII byte.
            while matches!(bytes.get(self.at), Some(byte) if !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            let piece = self.text.get(run..self.at).unwrap_or_default();
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(piece),
                        Some(mut text) => {
                            text.push_str(piece);
                            Cow::Owned(text)
                        }
                    });
                }
                Some(b'\\') => {
                    let text = owned.get_or_insert_with(String::new);
                    text.push_str(piece);
                    let escaped = self.escape()?;
                    owned.get_or_insert_with(String::new).push(escaped);
                    run = self.at;
                }
                Some(_) => return Err(self.fail("control character in a string")),
                None => return Err(self.fail("document ends early")),
            }
        }
    }

    /// The character behind a backslash.
    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let letter = self.peek();
        self.at += 1;
        Ok(match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex()?;
                let code = match first {
                    0xd800..=0xdbff => {
                        if !(self.take(b'\\') && self.take(b'u')) {
                            return Err(self.fail("lone surrogate"));
                        }
                        match self.hex()? {
                            second @ 0xdc00..=0xdfff => 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                            _ => return Err(self.fail("lone surrogate")),
                        }
                    }
                    code => code,
                };
                char::from_u32(code).ok_or_else(|| self.fail("lone surrogate"))?
            }
            _ => return Err(self.fail("unknown escape")),
        })
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.fail("four hex digits expected"))?;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> Result<String, JsonError> {
        let mut out = Vec::new();
        Value::read(text.as_bytes())?.canonical(&mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_canonical_form_is_that_of_the_go_client() {
        for (given, expected) in [
            (" { \"b\" : 1 , \"a\" : [ true , false , null ] } ", r#"{"a":[true,false,null],"b":1}"#),
            (r#""\u00e9\/\u0041""#, "\"é/A\""),
            (r#""\n\u007f\u2028<>&""#, "\"\n\u{7f}\u{2028}<>&\""),
            (r#""\\\"""#, r#""\\\"""#),
            (r#""\ud83d\ude00""#, "\"😀\""),
            (r#"{"é":1,"z":2,"A":3,"":4}"#, r#"{"":4,"A":3,"z":2,"é":1}"#),
            ("-12", "-12"),
            ("9007199254740991", "9007199254740991"),
            ("[]", "[]"),
            ("{}", "{}"),
        ] {
            assert_eq!(canonical(given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn what_two_parsers_may_read_differently_is_refused() {
        let deep = "[".repeat(129) + &"]".repeat(129);
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "[,1]",
            r#"{"a":1,}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            "{a:1}",
            "{'a':1}",
            "1.0",
            "1e2",
            "1E2",
            "-0",
            "01",
            "+1",
            "--1",
            "-",
            "0x1",
            "9007199254740992",
            "-9007199254740992",
            "NaN",
            "Infinity",
            "99999999999999999999999",
            "nul",
            "True",
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\u0041""#,
            r#""\x41""#,
            r#""\u12""#,
            "\"a\nb\"",
            "\"abc",
            "1 2",
            "{} {}",
            "\u{feff}{}",
            "{}\0",
            "//x\n1",
            "[1 2]",
            &deep,
        ] {
            assert!(canonical(text).is_err(), "{text}");
        }
        assert!(Value::read(b"\"\xff\"").is_err());
        assert!(Value::read(b"\"\xed\xa0\x80\"").is_err());
        assert!(canonical(&("[".repeat(128) + &"]".repeat(128))).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Value::read(&bytes);
        }

        #[test]
        fn no_json_like_text_makes_the_reader_panic(text in r#"[\[\]{}",:\\u0-9a-f.\-e tnrulse\u{80}-\u{10ffff}]{0,60}"#) {
            if let Ok(value) = Value::read(text.as_bytes()) {
                // What we read, serde_json reads as well, and the same.
                let mut ours = Vec::new();
                value.canonical(&mut ours);
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }
    }
}
