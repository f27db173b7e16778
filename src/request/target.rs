//! The request target as Go reads it (`net/url`, `ParseRequestURI`) and as dockerd's router wants it (`gorilla/mux`):
//! an absolute form's scheme and authority cut off, the query cut off at the first `?`, the path percent-decoded once.
//! `#` is an ordinary character here. What the query means is for `query`.

use std::borrow::Cow;

use super::Unreadable;

/// Longest target of a call that changes something. Stops long paths and queries from costing time and memory; honest ones have a
/// few hundred bytes. Reads may be longer (filters with a thousand ids); Go bounds them at 1 MiB, and nothing of them is kept.
pub(super) const CHANGE_BYTES: usize = 64 * 1024;

/// A request target, cut in two.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The path, decoded once.
    pub path: Cow<'a, str>,
    /// What stands behind the first `?`, as written.
    pub query: &'a str,
}

impl<'a> Target<'a> {
    /// Cuts and decodes `uri`. An error is what Go, or the router, answers without asking a plugin, or what cannot be
    /// told apart here from something else.
    pub(super) fn read(uri: &'a str) -> Result<Self, Unreadable> {
        // Go refuses control characters; in the JSON of a call, U+FFFD stands for bytes that were no UTF-8.
        if uri.bytes().any(|byte| byte.is_ascii_control()) || (!uri.is_ascii() && uri.contains(char::REPLACEMENT_CHARACTER)) {
            return Err(wrong("it holds characters that are not text"));
        }
        let rest = match scheme_end(uri) {
            Some(end) => uri.get(end..).unwrap_or_default(),
            None => uri,
        };
        let absolute = rest.len() != uri.len();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let raw = match rest.strip_prefix("//") {
            // The authority ends at the next slash; without one there is no path.
            Some(behind) if absolute => behind.find('/').and_then(|slash| behind.get(slash..)).unwrap_or_default(),
            Some(_) | None => rest,
        };
        if !raw.starts_with('/') {
            return Err(wrong("it has no path"));
        }
        let path = decode(raw, Plus::Kept)?;
        // The router redirects these (301) and asks no plugin; as a name they would be another container's path.
        if has_odd_parts(path.as_bytes()) {
            return Err(wrong("its path holds empty or dotted parts"));
        }
        Ok(Self { path, query })
    }
}

/// Whether a part of the path is dotted, or empty before its end.
fn has_odd_parts(path: &[u8]) -> bool {
    let mut parts = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(part) = parts.next() {
        if matches!(part, b"." | b"..") || (part.is_empty() && parts.peek().is_some()) {
            return true;
        }
    }
    false
}

/// What a `+` is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    /// Itself, in a path.
    Kept,
    /// A space, in a query.
    Space,
}

/// Percent-decodes once. A bad escape, or bytes that are no UTF-8, is an error.
pub(super) fn decode(text: &str, plus: Plus) -> Result<Cow<'_, str>, Unreadable> {
    let coded = |byte: u8| byte == b'%' || (byte == b'+' && plus == Plus::Space);
    if !text.bytes().any(coded) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                (Some(high), Some(low)) => (high << 4) | low,
                (None, _) | (_, None) => return Err(wrong("it holds a bad percent escape")),
            },
            b'+' if plus == Plus::Space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| wrong("it holds escapes that are no UTF-8"))
}

/// Where the scheme of an absolute form ends, behind its colon.
fn scheme_end(uri: &str) -> Option<usize> {
    let colon = uri.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')))?;
    let begins = uri.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    (begins && uri.as_bytes().get(colon) == Some(&b':')).then_some(colon + 1)
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

pub(super) fn wrong(why: &str) -> Unreadable {
    Unreadable::Uri(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> Option<(String, &str)> {
        Target::read(uri).ok().map(|target| (target.path.into_owned(), target.query))
    }

    #[test]
    fn a_target_is_cut_and_decoded_as_go_does_it() {
        for (uri, path, query) in [
            ("/v1.41/images/create?fromImage=a", "/v1.41/images/create", "fromImage=a"),
            ("/images/%63reate", "/images/create", ""),
            ("/v1.41%2fimages/create", "/v1.41/images/create", ""),
            ("/%76%31.41/images/create", "/v1.41/images/create", ""),
            ("/images/a%252fb/tag", "/images/a%2fb/tag", ""),
            ("/images/a+b/tag", "/images/a+b/tag", ""),
            ("/containers/create?x=1#/y?z", "/containers/create", "x=1#/y?z"),
            ("/containers/x#/start", "/containers/x#/start", ""),
            ("/a%3fb=c?d", "/a?b=c", "d"),
            ("http://docker/v1.41/info", "/v1.41/info", ""),
            ("HTTP://docker/info?a", "/info", "a"),
            ("http:///info", "/info", ""),
            ("unix:///var/run/docker.sock", "/var/run/docker.sock", ""),
            ("http:/info", "/info", ""),
            ("http://a?b/info", "", ""),
            ("/http://x/info", "", ""),
            ("//host/info", "", ""),
            ("/containers/é/start", "/containers/é/start", ""),
            ("/containers/%c3%a9/start", "/containers/é/start", ""),
            ("/info/", "/info/", ""),
        ] {
            let expected = (!path.is_empty()).then(|| (path.to_owned(), query));
            assert_eq!(read(uri), expected, "{uri}");
        }
    }

    #[test]
    fn what_go_or_the_router_does_not_take_is_no_target() {
        for uri in [
            "",
            "*",
            "info",
            "http:info",
            "http:",
            "http://docker",
            "/a//b",
            "/a/./b",
            "/a/../b",
            "/a/%2e%2e/b",
            "/..",
            "//a",
            "/a%2f%2fb",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a\nb",
            "/a\u{7f}",
            "/a%ff",
            "/a\u{fffd}",
            "1http://x/info",
            ":/info",
        ] {
            assert_eq!(read(uri), None, "{uri:?}");
        }
    }
}
