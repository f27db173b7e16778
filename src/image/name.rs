//! What a client gives where the engine takes "an image": a reference, an id, or the beginning of one.

use std::fmt;

use super::digest::{Digest, DigestError};
use super::reference::{Reference, ReferenceError};

/// An image as a create call, an image mount or `docker tag` names it (moby, `reference.ParseAnyReference`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ImageName {
    /// A whole image id, with or without `sha256:`.
    Id(Digest),
    /// `sha256:` and fewer than 64 hex digits: read as the beginning of an id. (The engine would prefer an image that is
    /// called `sha256` with that tag; what it resolves to is asked of the engine with this same text.)
    IdPrefix(Box<str>),
    /// A reference. The engine looks for the name first and, if there is none, for an id that begins like it: see
    /// [`ImageName::may_be_id_prefix`]. Kept as written beside it, because that is what the engine is to be asked for.
    Named {
        /// What the text means as a name, with `latest` filled in.
        reference: Reference,
        /// The text as it was written.
        written: Box<str>,
    },
}

impl ImageName {
    /// Reads `text` as the engine does at create.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let all_hex = !hex.is_empty() && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if all_hex && let Ok(digest) = Digest::from_hex(hex) {
            return Ok(Self::Id(digest));
        }
        if all_hex && hex.len() < 64 && hex.len() != text.len() {
            return Ok(Self::IdPrefix(text.into()));
        }
        if let Some((algorithm @ ("sha384" | "sha512"), hex)) = text.split_once(':') {
            let digits = if algorithm == "sha384" { 96 } else { 128 };
            if hex.len() == digits && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                // An id to the engine, not a repository called `sha512` with a long tag.
                return Err(DigestError::Algorithm(algorithm.to_owned()).into());
            }
        }
        let reference = text.parse::<Reference>()?.or_latest();
        Ok(Self::Named { reference, written: text.into() })
    }

    /// Whether the engine may take this for the beginning of an image id.
    #[must_use]
    pub fn may_be_id_prefix(&self) -> bool {
        match self {
            Self::Id(_) => false,
            Self::IdPrefix(_) => true,
            Self::Named { written, .. } => written.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        }
    }

    /// The reference, where it is one.
    #[must_use]
    pub const fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Named { reference, .. } => Some(reference),
            Self::Id(_) | Self::IdPrefix(_) => None,
        }
    }
}

/// As the engine is to be asked for it.
impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(digest) => write!(f, "{digest}"),
            Self::IdPrefix(text) => f.write_str(text),
            Self::Named { written, .. } => f.write_str(written),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "b823c6da46264d7af5ef5a61afd14fe13778400b5d94efe9126c3a2ab7982e72";

    #[test]
    fn ids_are_told_apart_from_names() {
        let id = Digest::from_hex(HEX).unwrap();
        assert_eq!(ImageName::parse(HEX), Ok(ImageName::Id(id)));
        assert_eq!(ImageName::parse(&format!("sha256:{HEX}")), Ok(ImageName::Id(id)));
        assert_eq!(ImageName::parse("sha256:b823"), Ok(ImageName::IdPrefix("sha256:b823".into())));
        let short = ImageName::parse("b823").unwrap();
        assert!(short.may_be_id_prefix());
        assert_eq!(short.reference().unwrap().to_string(), "docker.io/library/b823:latest");
        assert!(!ImageName::parse("good").unwrap().may_be_id_prefix());
        // A tag or a repository in front rules the id out.
        assert!(!ImageName::parse("sha256:v1").unwrap().may_be_id_prefix());
        assert!(!ImageName::parse("b823:1").unwrap().may_be_id_prefix());
    }

    #[test]
    fn an_id_of_another_algorithm_is_no_name() {
        for (algorithm, digits) in [("sha384", 96), ("sha512", 128)] {
            assert!(ImageName::parse(&format!("{algorithm}:{}", "a".repeat(digits))).is_err());
            // One digit off, the engine reads a name as well.
            assert!(ImageName::parse(&format!("{algorithm}:{}", "a".repeat(digits - 1))).unwrap().reference().is_some());
        }
    }
}
