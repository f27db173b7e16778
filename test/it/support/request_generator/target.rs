//! The whole of a request: target, query, headers, as dockerd posts it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Generator;
use super::words::{FORM, TYPES, VERSIONS};

impl Generator {
    pub(super) fn json(&mut self, path: &str, pairs: Vec<(&str, String)>, body: Vec<u8>) -> Value {
        let mut headers = Vec::new();
        match self.odd(12, 3).unwrap_or(3) {
            0 => {}
            1 => headers.push(("Content-Type", self.pick(TYPES))),
            2 => headers.extend([("Content-Type", "application/json"), ("Content-Type", self.pick(TYPES))]),
            _ => headers.push(("Content-Type", "application/json")),
        }
        let target = self.target(path, pairs);
        self.whole("POST", &target, &headers, body)
    }

    pub(super) fn with_query(&mut self, method: &str, path: &str, pairs: Vec<(&str, String)>, body: Vec<u8>) -> Value {
        let mut headers = Vec::new();
        if !body.is_empty() && self.once_in(2) {
            headers.push(("Content-Type", if body.starts_with(b"{") || body == b"[]" { TYPES[0] } else { FORM }));
        }
        match self.odd(12, 4).unwrap_or(4) {
            0..3 => headers.insert(0, ("Content-Type", self.pick(TYPES))),
            3 => headers.extend([("Content-Type", self.pick(TYPES)), ("Content-Type", self.pick(TYPES))]),
            _ => {}
        }
        let target = self.target(path, pairs);
        self.whole(method, &target, &headers, body)
    }

    /// The request target: version, path and query, in odd spellings now and then.
    pub(super) fn target(&mut self, path: &str, mut pairs: Vec<(&str, String)>) -> String {
        let mut target = if path.starts_with("/v1.") { String::new() } else { self.pick_odd(VERSIONS, 5).to_owned() } + path;
        if self.once_in(12) {
            let letters: Vec<(usize, char)> =
                target.char_indices().filter(|(_, letter)| letter.is_ascii_alphanumeric() || *letter == '/').collect();
            if let Some((at, letter)) = letters.get(self.below(letters.len().max(1))).copied() {
                // Not inside an escape that is there already.
                let before = &target.as_bytes()[..at];
                if !before.iter().rev().take(2).any(|byte| *byte == b'%') {
                    target.replace_range(at..=at, &format!("%{:02x}", u32::from(letter)));
                }
            }
        }
        match self.odd(60, 12).unwrap_or(12) {
            0 => target.push('/'),
            1 => target.push_str("%00"),
            2 => target.insert(0, '/'),
            3 => target.insert_str(0, "/."),
            4 => target.insert_str(0, "/x/.."),
            5 => target.insert_str(0, "http://docker"),
            6 => target.insert_str(0, "http://"),
            7 => target.insert_str(0, "unix:"),
            8 => target.insert_str(0, "HTTPS://u@h:1"),
            9 => target.push_str("%zz"),
            10 => target.push(';'),
            11 => target.push('#'),
            _ => {}
        }
        if !pairs.is_empty() && self.odd(10, 1).is_some() {
            let (key, value) = pairs[self.below(pairs.len())].clone();
            let value = if self.once_in(2) { value } else { self.pick(&["", "evil", "good", "previous"]).to_owned() };
            let at = self.below(pairs.len() + 1);
            pairs.insert(at, (key, value));
        }
        let mut written: Vec<String> = Vec::new();
        for (key, value) in pairs {
            let mut pair = self.coded(key) + "=" + &self.coded(&value);
            match self.odd(80, 10).unwrap_or(10) {
                0 => pair.push(';'),
                1 => pair.insert_str(0, "x;"),
                2 => pair.push_str("%zz"),
                3 => pair.insert(0, '+'),
                4 => pair.insert_str(0, "amp;"),
                5 => pair.push_str(";x=y"),
                6 => pair.push('#'),
                7 => pair.insert(0, '?'),
                8 => pair = pair.replace('=', "[]="),
                9 => pair.push('&'),
                _ => {}
            }
            let at = self.below(written.len() + 1);
            written.insert(at, pair);
        }
        if !written.is_empty() || self.once_in(10) {
            target.push('?');
            target.push_str(&written.join("&"));
        }
        match self.odd(60, 3).unwrap_or(3) {
            0 => target.push_str("#frag"),
            1 => target.push_str("&x=#%zz"),
            2 => target.push_str("#/auth"),
            _ => {}
        }
        target
    }

    /// A part of a query, escaped more or less as needed.
    pub(super) fn coded(&mut self, text: &str) -> String {
        let twice = self.odd(60, 1).is_some();
        let mut coded = String::new();
        for byte in text.bytes() {
            let plain = byte.is_ascii_alphanumeric() || b"/._-:@?".contains(&byte);
            if byte == b' ' {
                coded.push('+');
            } else if plain && !self.once_in(40) {
                coded.push(char::from(byte));
            } else {
                let _ = write!(coded, "{}{byte:02x}", if twice { "%25" } else { "%" });
            }
        }
        coded
    }

    pub(super) fn whole(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Value {
        let mut headers: Vec<[String; 2]> =
            headers.iter().map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]).collect();
        let http2 = self.once_in(6);
        if http2 {
            for header in &mut headers {
                *header = [header[0].clone(), header[1].trim().to_owned()];
            }
            // A header that the gate takes for a proof of HTTP/1: Go's server must ask nobody about such a call.
            if self.once_in(8) {
                headers
                    .push([self.pick(&["Connection", "Keep-Alive", "Proxy-Connection", "Upgrade"]).to_owned(), "x".to_owned()]);
            }
            if !self.once_in(3) {
                headers.push(["Content-Length".to_owned(), body.len().to_string()]);
                let form = headers.iter().any(|[name, value]| name == "Content-Type" && value.starts_with(FORM));
                if form || self.odd(4, 1).is_some() {
                    headers.push(["Content-Length".to_owned(), self.pick(&["0", "1", "29"]).to_owned()]);
                }
            }
        }
        let chunked = !http2 && self.once_in(10);
        if !http2 && !chunked && body.is_empty() && self.once_in(6) {
            headers.push(["Content-Length".to_owned(), self.pick(&["0", "00"]).to_owned()]);
        }
        json!({
            "method": method, "target": target, "headers": headers, "body": STANDARD.encode(body), "chunked": chunked, "http2": http2,
        })
    }
}
