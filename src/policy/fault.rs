//! What was written wrong: a setting or a key, where it stands, and what it should be.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::text::{distance, fit};

/// Longest message, in characters: it may quote what was written.
const MESSAGE_CHARS: usize = 400;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: usize,
}

impl Position {
    /// The file without its folders, and the line: for refusals, which are short.
    #[must_use]
    pub fn short(&self) -> String {
        let file = self.file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        format!("{file}:{}", self.line)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What a setting, or a key of the policy file, has wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    /// Which one: `NOTARY`, `verifiers.release.server`.
    pub key: Cow<'static, str>,
    /// Where it stands; a variable stands in no file.
    pub position: Option<Position>,
    /// What is wrong, and what it should be.
    pub message: String,
}

impl PolicyFault {
    /// A variable's.
    #[must_use]
    pub fn of(key: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { key: key.into(), position: None, message: fit(&message.into(), MESSAGE_CHARS) }
    }

    /// The same, standing here.
    #[must_use]
    pub fn at(self, position: Position) -> Self {
        Self { position: Some(position), ..self }
    }
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        match self.key.as_ref() {
            "" => f.write_str(&self.message),
            key => write!(f, "{key}: {}", self.message),
        }
    }
}

/// The one of `known` that was most likely meant, if any is near.
#[must_use]
pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let with_slips = known.into_iter().map(|known| (distance(written, known), known));
    with_slips.filter(|(slips, known)| *slips <= known.len().div_ceil(3)).min_by_key(|(slips, _)| *slips).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_gets_the_nearest_one_and_another_word_none() {
        let known = ["server", "signers", "root_ca"];
        assert_eq!(nearest("sever", known), Some("server"));
        assert_eq!(nearest("signer", known), Some("signers"));
        assert_eq!(nearest("rootca", known), Some("root_ca"));
        assert_eq!(nearest("freshness", known), None);
    }
}
