//! What a verifier is called, and what its word binds.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Longest name. It goes into messages, the audit log and metrics.
const NAME_CHARS: usize = 40;

/// What a verifier is called: in scopes, facts, vouches, the audit log and commands. Lower-case letters, digits and `-`, with a letter in
/// front; at most 40.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VerifierName(Cow<'static, str>);

/// Why a text is not the name of a verifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a verifier's name is made of a-z, 0-9 and `-`, begins with a letter, and has at most {NAME_CHARS} characters")]
pub struct VerifierNameError;

/// What a verifier's yes binds, and so how it is asked. The policy knows this of each verifier, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binding {
    /// A tag to a digest: what runs under the tag must have the digest that it is signed as now (Notary).
    TagToDigest,
    /// A digest, whatever tag it is asked for by (signatures that are attached to a digest).
    Digest,
    /// A list of digests, with or without tags; image ids too, where the list says so.
    Listed,
    /// That the repository holds the manifest, and nothing more: it has nobody to ask about a name.
    Held,
}

impl VerifierName {
    /// The Notary of the variables (`NOTARY`).
    pub const NOTARY: Self = Self(Cow::Borrowed("notary"));
    /// The allowlist of the variables (`ALLOWLIST`).
    pub const ALLOWLIST: Self = Self(Cow::Borrowed("allowlist"));
    /// The registry itself, where nobody else vouches.
    pub const REGISTRY: Self = Self(Cow::Borrowed("registry"));

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VerifierName {
    type Err = VerifierNameError;

    fn from_str(text: &str) -> Result<Self, VerifierNameError> {
        let is_clean = text.len() <= NAME_CHARS
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if is_clean { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(VerifierNameError) }
    }
}

impl fmt::Display for VerifierName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for VerifierName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_clean() {
        for good in ["notary", "release-keys2", "a", &"a".repeat(40)] {
            assert_eq!(good.parse::<VerifierName>().unwrap().as_str(), good);
        }
        for bad in ["", "2a", "-a", "A", "a_b", "a b", "a\u{301}", &"a".repeat(41)] {
            assert_eq!(bad.parse::<VerifierName>(), Err(VerifierNameError), "{bad}");
        }
    }
}
