//! JSON as signed metadata may be written, and its canonical form (docs/notary-v1.md, sections 4 and 13).
//!
//! Stricter than any JSON library: what two parsers may read differently is refused. Duplicate members, numbers that are
//! not plain integers below 2^53, lone surrogates and invalid UTF-8 do not pass.
//!
//! A document is one vector of values beside its text, and not a tree of small pieces of memory: a targets file has four values
//! per tag, and many tags.

use std::cmp::Ordering;

/// Deepest nesting read. Stops a document of brackets from overflowing the stack.
const DEPTH: usize = 128;
/// Most values in one document. With 24 bytes per value it stops a small file from growing into gigabytes; a targets
/// file has four values per tag.
const VALUES: usize = 400_000;
/// Largest document, so that places in it, and in what its escapes stand for, are numbers of 32 bits. Far above what is fetched or kept.
const BYTES: usize = 1 << 30;
/// Integers beyond this do not survive the Go client's floating point (2^53 - 1).
const INTEGER_MOST: i64 = (1 << 53) - 1;

/// A whole document.
#[derive(Debug)]
pub(super) struct Document<'a> {
    text: &'a str,
    /// What strings with escapes stand for, one after the other. Their places count on from the end of the text.
    unescaped: String,
    /// The items of one array or object are together.
    items: Vec<Item>,
    root: Node,
}

/// A value of a [`Document`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'d> {
    Null,
    Bool(bool),
    Integer(i64),
    Text(&'d str),
    Array(Array<'d>),
    Object(Object<'d>),
}

/// The values of an array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Array<'d> {
    document: &'d Document<'d>,
    items: &'d [Item],
}

/// The members of an object, sorted by name (UTF-8 bytes), each name once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'d> {
    document: &'d Document<'d>,
    items: &'d [Item],
}

/// Why a document cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub(super) struct JsonError {
    what: &'static str,
    at: usize,
}

/// A value, and its name where it is a member.
#[derive(Debug, Clone, Copy)]
struct Item {
    name: Span,
    node: Node,
}

#[derive(Debug, Clone, Copy)]
enum Node {
    Null,
    Bool(bool),
    Integer(i64),
    Text(Span),
    /// Of the document's items.
    Array(Span),
    Object(Span),
}

/// Where something is.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    at: u32,
    length: u32,
}

impl<'a> Document<'a> {
    /// Reads a whole document.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, JsonError> {
        let text =
            std::str::from_utf8(bytes).map_err(|error| JsonError { what: "text is not UTF-8", at: error.valid_up_to() })?;
        if text.len() > BYTES {
            return Err(JsonError { what: "document is too large", at: BYTES });
        }
        let mut reader = Reader { text, at: 0, values: 0, unescaped: String::new(), items: Vec::new(), open: Vec::new() };
        let root = reader.value(DEPTH)?;
        reader.space();
        if reader.at < text.len() {
            return Err(reader.fail("something follows the document"));
        }
        Ok(Self { text, unescaped: reader.unescaped, items: reader.items, root })
    }

    /// The value that it is.
    pub(super) fn value(&self) -> Value<'_> {
        self.of(self.root)
    }

    fn of(&self, node: Node) -> Value<'_> {
        match node {
            Node::Null => Value::Null,
            Node::Bool(bool) => Value::Bool(bool),
            Node::Integer(number) => Value::Integer(number),
            Node::Text(span) => Value::Text(self.text(span)),
            Node::Array(span) => Value::Array(Array { document: self, items: self.items(span) }),
            Node::Object(span) => Value::Object(Object { document: self, items: self.items(span) }),
        }
    }

    fn items(&self, span: Span) -> &[Item] {
        self.items.get(span.range()).unwrap_or_default()
    }

    fn text(&self, span: Span) -> &str {
        text_of(self.text, &self.unescaped, span)
    }
}

impl Span {
    /// INVARIANT: what is counted is within [`BYTES`], so that it fits.
    fn new(at: usize, length: usize) -> Self {
        let short = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self { at: short(at), length: short(length) }
    }

    const fn range(self) -> std::ops::Range<usize> {
        let at = self.at as usize;
        at..at + self.length as usize
    }
}

fn text_of<'t>(text: &'t str, unescaped: &'t str, span: Span) -> &'t str {
    let (from, at) = (span.at as usize).checked_sub(text.len()).map_or((text, span.at as usize), |at| (unescaped, at));
    from.get(at..at + span.length as usize).unwrap_or_default()
}

impl<'d> Array<'d> {
    pub(super) const fn len(self) -> usize {
        self.items.len()
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Value<'d>> {
        self.items.iter().map(move |item| self.document.of(item.node))
    }
}

impl<'d> Object<'d> {
    pub(super) const fn len(self) -> usize {
        self.items.len()
    }

    /// Names and values, in order.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'d str, Value<'d>)> {
        self.items.iter().map(move |item| (self.document.text(item.name), self.document.of(item.node)))
    }

    /// A member by its exact name.
    pub(super) fn member(self, name: &str) -> Option<Value<'d>> {
        let at = self.items.binary_search_by(|item| self.document.text(item.name).cmp(name)).ok()?;
        self.items.get(at).map(|item| self.document.of(item.node))
    }
}

impl Value<'_> {
    /// A member of an object, by its exact name.
    pub(super) fn member(self, name: &str) -> Option<Self> {
        match self {
            Self::Object(members) => members.member(name),
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Text(_) | Self::Array(_) => None,
        }
    }

    /// Appends the canonical form: no white space, members sorted by UTF-8 bytes, only `\` and `"` escaped.
    pub(super) fn canonical(self, out: &mut Vec<u8>) {
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
    unescaped: String,
    /// Items of arrays and objects that were read to their end.
    items: Vec<Item>,
    /// Those of the ones that are still open, the innermost last.
    open: Vec<Item>,
}

impl Reader<'_> {
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

    fn word(&mut self, word: &str, node: Node) -> Result<Node, JsonError> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            Ok(node)
        } else {
            Err(self.fail("unknown word"))
        }
    }

    /// One value, with white space before it skipped. `depth` is how many levels may still open.
    fn value(&mut self, depth: usize) -> Result<Node, JsonError> {
        self.values += 1;
        if self.values > VALUES {
            return Err(self.fail("too many values"));
        }
        self.space();
        match self.peek() {
            Some(b'n') => self.word("null", Node::Null),
            Some(b't') => self.word("true", Node::Bool(true)),
            Some(b'f') => self.word("false", Node::Bool(false)),
            Some(b'"') => self.string().map(Node::Text),
            Some(b'-' | b'0'..=b'9') => self.integer(),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(_) => Err(self.fail("no JSON value")),
            None => Err(self.fail("document ends early")),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Node, JsonError> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.fail("nesting too deep"))?;
        let first = self.open.len();
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(Node::Array(Span::default()));
        }
        loop {
            let node = self.value(depth)?;
            self.open.push(Item { name: Span::default(), node });
            self.space();
            if self.take(b']') {
                return Ok(Node::Array(self.close(first)));
            }
            if !self.take(b',') {
                return Err(self.fail("comma or end of the array expected"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node, JsonError> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.fail("nesting too deep"))?;
        let first = self.open.len();
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(Node::Object(Span::default()));
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
            let node = self.value(depth)?;
            self.open.push(Item { name, node });
            self.space();
            if self.take(b'}') {
                break;
            }
            if !self.take(b',') {
                return Err(self.fail("comma or end of the object expected"));
            }
        }
        if !self.sort(first) {
            return Err(self.fail("an object has a member twice"));
        }
        Ok(Node::Object(self.close(first)))
    }

    /// Sorts the members of the innermost object by name; whether each is there once.
    fn sort(&mut self, first: usize) -> bool {
        let (text, unescaped) = (self.text, self.unescaped.as_str());
        let compare = |a: &Item, b: &Item| text_of(text, unescaped, a.name).cmp(text_of(text, unescaped, b.name));
        let members = self.open.get_mut(first..).unwrap_or_default();
        // Canonical files are sorted already, which this sort finds in one pass.
        members.sort_unstable_by(compare);
        members.iter().zip(members.iter().skip(1)).all(|(a, b)| compare(a, b) == Ordering::Less)
    }

    /// The items of the innermost array or object are complete.
    fn close(&mut self, first: usize) -> Span {
        let span = Span::new(self.items.len(), self.open.len() - first);
        self.items.extend(self.open.drain(first..));
        span
    }

    /// `-?(0|[1-9][0-9]*)` within 2^53, and `-0` excluded: Go would write it as `0`.
    fn integer(&mut self) -> Result<Node, JsonError> {
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
        number.map(Node::Integer).ok_or_else(|| self.fail("number is not an integer below 2^53"))
    }

    fn string(&mut self) -> Result<Span, JsonError> {
        self.at += 1;
        let start = self.at;
        let (text, bytes) = (self.text, self.text.as_bytes());
        // Where what it stands for begins, once there is an escape in it.
        let mut unescaped: Option<usize> = None;
        let mut run = start;
        loop {
            // A run without escapes; its bytes are valid UTF-8 and it ends before an ASCII byte.
            while matches!(bytes.get(self.at), Some(byte) if !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            let piece = text.get(run..self.at).unwrap_or_default();
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    let Some(begun) = unescaped else { return Ok(Span::new(start, piece.len())) };
                    self.unescaped.push_str(piece);
                    return Ok(Span::new(text.len() + begun, self.unescaped.len() - begun));
                }
                Some(b'\\') => {
                    unescaped.get_or_insert(self.unescaped.len());
                    self.unescaped.push_str(piece);
                    let escaped = self.escape()?;
                    self.unescaped.push(escaped);
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
        Document::read(text.as_bytes())?.value().canonical(&mut out);
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
        assert!(Document::read(b"\"\xff\"").is_err());
        assert!(Document::read(b"\"\xed\xa0\x80\"").is_err());
        assert!(canonical(&("[".repeat(128) + &"]".repeat(128))).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Document::read(&bytes);
        }

        #[test]
        fn no_json_like_text_makes_the_reader_panic(text in r#"[\[\]{}",:\\u0-9a-f.\-e tnrulse\u{80}-\u{10ffff}]{0,60}"#) {
            if let Ok(document) = Document::read(text.as_bytes()) {
                // What we read, serde_json reads as well, and the same.
                let mut ours = Vec::new();
                document.value().canonical(&mut ours);
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }
    }
}
