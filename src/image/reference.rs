//! References as Docker's grammar reads and normalises them (distribution/reference, `normalize.go` and `regexp.go`).
//! Written by hand because the gate must agree with the daemon on every byte; a test compares it with `oci-spec`'s.

use std::fmt;
use std::str::FromStr;

use super::digest::{Digest, DigestError};

/// The host that names without one mean.
const DEFAULT_HOST: &str = "docker.io";
/// The other spelling of the default host that the grammar folds.
const LEGACY_HOST: &str = "index.docker.io";
/// Longest repository name, host included, that the grammar of all supported engines accepts.
const NAME_BYTES: usize = 255;
/// Longest tag.
const TAG_BYTES: usize = 128;

/// A registry's `host[:port]`, spelt as the client spelt it. Two spellings of one address are two hosts: the gate compares exactly.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(Box<str>);

/// A repository on a registry: [`Host`] and path, normalised (`docker.io/library/busybox`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    /// `host/path`, one allocation.
    full: Box<str>,
    /// Length of the host part.
    host: usize,
}

/// A tag of a repository, `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

/// A normalised reference: a repository, and a tag, a digest, both, or neither.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reference {
    /// Where it points.
    pub repository: Repository,
    /// The tag, as written; absent when none was.
    pub tag: Option<Tag>,
    /// The digest; engines ignore the tag beside one.
    pub digest: Option<Digest>,
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("the reference is empty")]
    Empty,
    /// 64 hex digits are an id, never a name.
    #[error("`{0}` is an image id, not a name")]
    IsId(String),
    /// Upper case in the repository path.
    #[error("repository name of `{0}` must be lower case")]
    UpperCase(String),
    /// Not the grammar.
    #[error("`{0}` is not an image reference")]
    Form(String),
    /// Over 255 bytes.
    #[error("repository name is longer than {NAME_BYTES} bytes")]
    TooLong,
    /// The part behind `@`.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// Why a text is no registry host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a registry host (host or host:port, without scheme or path)")]
pub struct HostError(String);

impl Host {
    /// The host as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is Docker Hub.
    #[must_use]
    pub fn is_docker_hub(&self) -> bool {
        &*self.0 == DEFAULT_HOST
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if !is_host(text) {
            return Err(HostError(crate::text::fit(text, 80)));
        }
        Ok(Self(if text == LEGACY_HOST { DEFAULT_HOST } else { text }.into()))
    }
}

impl Repository {
    /// The registry's host.
    #[must_use]
    pub fn host(&self) -> Host {
        Host(self.host_str().into())
    }

    /// The registry's host as text.
    #[must_use]
    pub fn host_str(&self) -> &str {
        self.full.get(..self.host).unwrap_or_default()
    }

    /// The path on the registry, without the host (`library/busybox`).
    #[must_use]
    pub fn path(&self) -> &str {
        self.full.get(self.host + 1..).unwrap_or_default()
    }

    /// `host/path`; also the repository's name in Notary (GUN).
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.full
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let reference: Reference = text.parse()?;
        match (reference.tag, reference.digest) {
            (None, None) => Ok(reference.repository),
            (Some(_), _) | (_, Some(_)) => Err(ReferenceError::Form(shorten(text))),
        }
    }
}

impl Tag {
    /// The tag that a reference without one means at create.
    #[must_use]
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut bytes = text.bytes();
        let good = text.len() <= TAG_BYTES
            && bytes.next().is_some_and(word)
            && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if good { Ok(Self(text.into())) } else { Err(ReferenceError::Form(shorten(text))) }
    }
}

impl Reference {
    /// This reference with the tag `latest` where it has neither tag nor digest, as the engine reads it at create.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(Tag::latest());
        }
        self
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        // `ParseNormalizedNamed` refuses these, because the engine takes them for ids.
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            return Err(ReferenceError::IsId(text.to_owned()));
        }
        let (host, rest) = split_host(text);
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (rest, None),
        };
        // A colon behind the last slash begins the tag; ports stand in the host, which is cut off already.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => {
                (path, Some(tag.parse::<Tag>().map_err(|_| ReferenceError::Form(shorten(text)))?))
            }
            Some(_) | None => (rest, None),
        };
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase(shorten(text)));
        }
        if !is_host(host) || !path.split('/').all(is_component) {
            return Err(ReferenceError::Form(shorten(text)));
        }
        let official = host == DEFAULT_HOST && !path.contains('/');
        let full = if official { format!("{host}/library/{path}") } else { format!("{host}/{path}") };
        if full.len() > NAME_BYTES {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self { repository: Repository { full: full.into(), host: host.len() }, tag, digest })
    }
}

/// What stands before the first slash is a host if it could not be a path component of Docker Hub.
fn split_host(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((LEGACY_HOST, rest)) => (DEFAULT_HOST, rest),
        // Newer engines take an upper-case first part for a host as well, older ones refuse it as a name; reading it as
        // a host that no policy lists refuses it on both.
        Some((host, rest))
            if host.contains(['.', ':']) || host == "localhost" || host.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (host, rest)
        }
        Some(_) | None => (DEFAULT_HOST, text),
    }
}

/// `domain[:port]`; a domain is dot-separated labels, or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    let (domain, port) = match text.strip_prefix('[') {
        Some(inner) => match inner.split_once(']') {
            Some((address, "")) => (Err(address), None),
            Some((address, port)) => match port.strip_prefix(':') {
                Some(port) => (Err(address), Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match text.split_once(':') {
            Some((domain, port)) => (Ok(domain), Some(port)),
            None => (Ok(text), None),
        },
    };
    let named = match domain {
        Ok(domain) => domain.split('.').all(is_label),
        Err(address) => !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':'),
    };
    named
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
        && text.len() <= NAME_BYTES
}

/// One label of a domain: letters, digits, inner hyphens.
fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// One component of a path: runs of lower-case letters and digits, joined by `.`, `_`, `__` or hyphens.
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separator = String::new();
    let mut seen = false;
    for byte in component.bytes() {
        if alphanumeric(byte) {
            let joined = matches!(separator.as_str(), "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
            if !joined || (!seen && !separator.is_empty()) {
                return false;
            }
            separator.clear();
            seen = true;
        } else if matches!(byte, b'.' | b'_' | b'-') {
            separator.push(char::from(byte));
        } else {
            return false;
        }
    }
    seen && separator.is_empty()
}

const fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// At most 80 characters of foreign text, for messages.
fn shorten(text: &str) -> String {
    crate::text::fit(text, 80)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Host, Repository, Tag);

impl serde::Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "b823c6da46264d7af5ef5a61afd14fe13778400b5d94efe9126c3a2ab7982e72";

    #[test]
    fn names_are_normalised_as_docker_normalises_them() {
        let digested = format!("r.example/a@sha256:{HEX}");
        let both = format!("r.example/a:1@sha256:{HEX}");
        for (given, full) in [
            ("busybox", "docker.io/library/busybox"),
            ("busybox:1.0", "docker.io/library/busybox:1.0"),
            ("team/app", "docker.io/team/app"),
            ("docker.io/busybox", "docker.io/library/busybox"),
            ("index.docker.io/busybox", "docker.io/library/busybox"),
            ("registry-1.docker.io/busybox", "registry-1.docker.io/busybox"),
            ("DOCKER.IO/busybox", "DOCKER.IO/busybox"),
            ("localhost/app", "localhost/app"),
            ("localhost:5000/app:x", "localhost:5000/app:x"),
            ("127.0.0.1:05555/app", "127.0.0.1:05555/app"),
            ("[::1]:5000/app", "[::1]:5000/app"),
            ("r.example/a__b/c-d.e---f", "r.example/a__b/c-d.e---f"),
            ("MYHOST/foo", "MYHOST/foo"),
            (&digested, &digested),
            (&both, &both),
        ] {
            assert_eq!(given.parse::<Reference>().map(|reference| reference.to_string()), Ok(full.to_owned()), "{given}");
        }
    }

    #[test]
    fn what_docker_does_not_read_is_no_reference() {
        let long = "a".repeat(256);
        for text in [
            "",
            HEX,
            "Busybox",
            "a b",
            " a",
            "a ",
            "a:",
            "a:-x",
            "a@",
            "a@sha256:12",
            "a//b",
            "/a",
            "a/",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "r.example:/a",
            "r.example:x/a",
            "[::1/a",
            "[]:1/a",
            "a:b:c",
            "a\0",
            "é",
            "http://r.example/a",
            "r..example/a",
            "a@b@c",
            &long,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn hosts_are_read_without_scheme_or_path() {
        for text in ["docker.io", "localhost:5000", "[::1]:5000", "10.0.0.1"] {
            assert_eq!(text.parse::<Host>().unwrap().as_str(), text);
        }
        assert_eq!("index.docker.io".parse::<Host>().unwrap().as_str(), "docker.io");
        for text in ["", "https://r.example", "r.example/", "r.example:", "a b", ":5000"] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_prints_as_something_that_reads_the_same(text in "[a-zA-Z0-9._:/@\\[\\]-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>(), Ok(reference));
            }
        }

        /// Where both parsers read a text, they read the same. `oci-spec` keeps an upper-case first part as a path and
        /// takes ids for names; those are the known differences and are left out.
        #[test]
        fn the_reading_is_that_of_oci_spec(text in "([a-z]{1,5}(\\.[a-z]{1,3})?(:[0-9]{1,4})?/)?[a-z0-9._-]{1,8}(/[a-z0-9._-]{1,6})?(:[A-Za-z0-9._-]{1,6})?") {
            let ours = text.parse::<Reference>();
            let theirs = text.parse::<oci_spec::distribution::Reference>();
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => {
                    prop_assert_eq!(ours.repository.host_str(), theirs.registry());
                    prop_assert_eq!(ours.repository.path(), theirs.repository());
                    if let Some(tag) = ours.tag {
                        prop_assert_eq!(Some(tag.as_str()), theirs.tag());
                    }
                }
                (Ok(ours), Err(error)) => prop_assert!(false, "{} read, oci-spec: {}", ours, error),
                (Err(_), _) => {}
            }
        }
    }
}
