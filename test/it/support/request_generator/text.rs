//! Names, tags, JSON: what stands in bodies and queries.

use std::fmt::Write as _;

use super::Generator;
use super::words::{HEX, IMAGES, OTHER};

impl Generator {
    /// An image's name: one of the list, or with a tag or a digest.
    pub(super) fn image(&mut self) -> String {
        let image = self.pick_odd(IMAGES, 12);
        match self.odd(12, 8).unwrap_or(8) {
            0 => format!("{image}@sha256:{HEX}"),
            1 => format!("{image}:v1@sha256:{OTHER}"),
            2 => format!("{image}:{}", self.pick(&["v1", "latest", "", "-", "V_1", "é"])),
            3 => self.pick(&[HEX, OTHER]).to_owned(),
            4 => format!("sha256:{}", self.digits(65)),
            5 => self.digits(65),
            6 => {
                let length = 120 + self.below(150);
                format!("{image}{}", "a".repeat(length))
            }
            7 => {
                let letter = self.pick(&['/', ':', '@', '.', '-', '_', 'a', 'A', '0', '[', ']', ' ', '%']);
                let mut text: Vec<char> = image.chars().collect();
                let at = self.below(text.len() + 1);
                text.insert(at, letter);
                text.into_iter().collect()
            }
            _ => image.to_owned(),
        }
    }

    /// Fewer than `bound` hex digits of an id.
    pub(super) fn digits(&mut self, bound: usize) -> String {
        HEX.chars().take(self.below(bound)).collect()
    }

    pub(super) fn tag_text(&mut self) -> String {
        if self.once_in(8) {
            return format!("sha256:{HEX}");
        }
        match self.odd(10, 6).unwrap_or(6) {
            0 => format!("sha256:{OTHER}"),
            1 => format!("SHA256:{HEX}"),
            2 => format!("sha512:{HEX}{OTHER}"),
            3 => format!("sha256:{}", self.digits(64)),
            4 => self
                .pick(&["", " latest", "latest ", "latest\0", "-x", "a/b", "a:b", "a@b", "é", "latest#", "latest;x"])
                .to_owned(),
            5 => "t".repeat(127 + self.below(3)),
            _ => self.pick(&["latest", "v1", "evil", "1.0"]).to_owned(),
        }
    }

    /// A JSON string, in one of its spellings.
    pub(super) fn text(&mut self, text: &str) -> String {
        if self.once_in(8) {
            let mut spelt = String::from("\"");
            for unit in text.encode_utf16() {
                let _ = write!(spelt, "\\u{unit:04x}");
            }
            return spelt + "\"";
        }
        serde_json::to_string(text).unwrap()
    }

    /// An object of these members, in any order, some of them in odd spellings, twice, or as null.
    pub(super) fn object(&mut self, members: Vec<(&str, String)>) -> String {
        let mut written: Vec<String> = Vec::new();
        for (name, value) in members {
            if self.odd(40, 1).is_some() {
                let other = self.pick(&["null", "\"evil\"", "{}", "[]", "false", "true", "\"\""]);
                let name = self.member(name);
                let at = self.below(written.len() + 1);
                written.insert(at, format!("{name}:{other}"));
            }
            let name = self.member(name);
            let at = self.below(written.len() + 1);
            written.insert(at, format!("{name}:{value}"));
        }
        format!("{{{}}}", written.join(if self.once_in(10) { " ,\n" } else { "," }))
    }

    /// A member's name, in a spelling that Go may or may not take for it.
    pub(super) fn member(&mut self, name: &str) -> String {
        let odd: String = match self.odd(30, 7).unwrap_or(7) {
            0 => name.to_lowercase(),
            1 => name.to_uppercase(),
            2 => name.replace('s', "\u{17f}"),
            3 => name.replace(['k', 'K'], "\u{212a}"),
            4 => name.replace('I', "\u{131}").replace('i', "\u{130}"),
            5 => format!("{name} "),
            6 => return self.text_escaped(name),
            _ => name.to_owned(),
        };
        serde_json::to_string(&odd).unwrap()
    }

    pub(super) fn text_escaped(&mut self, name: &str) -> String {
        let at = self.below(name.len());
        let spelt = name
            .char_indices()
            .map(|(index, letter)| if index == at { format!("\\u{:04x}", u32::from(letter)) } else { letter.to_string() });
        format!("\"{}\"", spelt.collect::<String>())
    }

    /// Bytes of a body, now and then with something wrong about them.
    pub(super) fn spoiled(&mut self, body: String) -> Vec<u8> {
        let mut bytes = body.into_bytes();
        // 20.10 shows no body of a mebibyte, newer engines refuse one of four.
        if self.once_in(800) {
            let pad = if self.once_in(3) { 4 << 20 } else { 1 << 20 };
            bytes.splice(1..1, std::iter::repeat_n(b' ', pad)).for_each(drop);
        }
        match self.odd(60, 17).unwrap_or(17) {
            0 => bytes.extend_from_slice(b"{\"Image\":\"good\"}"),
            1 => bytes.extend_from_slice(b"xyz"),
            2 => bytes.push(0),
            3 => bytes.push(b'}'),
            4 => bytes.push(b']'),
            5 => bytes.extend_from_slice(b" \r\n"),
            6 => bytes.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
            7 => bytes.splice(0..0, *b" \t\n").for_each(drop),
            8 => bytes.truncate(bytes.len() / 2),
            9 => bytes = b"null".to_vec(),
            10 => bytes = b"[]".to_vec(),
            11 => bytes.clear(),
            12 => {
                let at = self.below(bytes.len());
                bytes[at] = u8::try_from(self.below(256)).unwrap();
            }
            13 => {
                let at = self.below(bytes.len());
                bytes.remove(at);
            }
            14 => bytes.splice(1..1, *b"\"X\":\"\xff\",").for_each(drop),
            15 => bytes.splice(1..1, *b"\"X\":\"\\ud800\",").for_each(drop),
            16 => {
                let deep = format!("\"X\":{}{},", "[".repeat(300), "]".repeat(300));
                bytes.splice(1..1, deep.into_bytes()).for_each(drop);
            }
            _ => {}
        }
        bytes
    }

    /// One of the names, percent-encoded where it must be and here and there where it need not be.
    pub(super) fn escaped(&mut self, names: &[&str]) -> String {
        let name = self.pick_odd(names, 13);
        let mut path = String::new();
        let raw = self.once_in(8);
        for letter in name.chars() {
            let plain = letter.is_ascii_alphanumeric() || "/._-:+;".contains(letter) || (raw && !letter.is_ascii());
            if plain && !self.once_in(40) {
                path.push(letter);
            } else {
                for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(path, "%{byte:02x}");
                }
            }
        }
        path
    }
}
