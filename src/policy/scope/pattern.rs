//! Patterns over whole names of repositories, and which of two is the more specific one (docs/policy.md, "Scopes").

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::image::{Host, Repository};
use crate::text::{fit, fits_pieces};

/// Longest pattern, bytes: names of repositories have 255.
const BYTES: usize = 255;
/// Longest piece of a pattern that a fault repeats, in characters.
const SHOWN: usize = 80;

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

/// What stands for one part of a name, or for many.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Part {
    /// This one.
    Written(String),
    /// One with `*` for some of its letters: what stands between the stars.
    Partly(Vec<String>),
    /// `*`: any one.
    One,
    /// `**`: any number.
    Many,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not written as a name is.
    #[error("`{0}` is not a pattern for whole names of repositories (`registry.example/team/*`, `registry.example/**`)")]
    Form(String),
    /// No registry in front.
    #[error("`{written}` names no registry; write `{meant}`")]
    NoRegistry {
        /// The pattern.
        written: String,
        /// With docker's default.
        meant: String,
    },
    /// A registry that is matched by part.
    #[error("`{0}`: a registry is written out, with its port; `**` alone is every registry")]
    Registry(String),
    /// Docker Hub's official images without the folder that they lie in.
    #[error("`{written}` matches no image: official images of Docker Hub are called `{meant}`")]
    Library {
        /// The pattern.
        written: String,
        /// Their name.
        meant: String,
    },
    /// A tag or a digest.
    #[error("`{0}` has a tag or digest: a scope is about whole repositories")]
    Tagged(String),
    /// `**` twice.
    #[error("`{0}` has `**` more than once")]
    ManyTwice(String),
}

impl Pattern {
    /// All repositories of a registry.
    #[must_use]
    pub fn all_of(host: &Host) -> Self {
        Self { text: format!("{host}/**"), parts: vec![Part::Written(host.to_string()), Part::Many] }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The registry that it is about; `None`: every registry.
    #[must_use]
    pub fn registry(&self) -> Option<Host> {
        match self.parts.first() {
            Some(Part::Written(host)) => host.parse().ok(),
            Some(Part::Partly(_) | Part::One | Part::Many) | None => None,
        }
    }

    /// Whether it matches a name, whatever others do.
    #[must_use]
    pub fn matches(&self, repository: &Repository) -> bool {
        let names: Vec<&str> = repository.as_str().split('/').collect();
        let all = |parts: &[Part], names: &[&str]| {
            parts.len() == names.len() && parts.iter().zip(names).all(|(part, name)| part.fits(name))
        };
        let Some(many) = self.parts.iter().position(|part| *part == Part::Many) else { return all(&self.parts, &names) };
        let (before, behind) = (self.parts.get(..many).unwrap_or_default(), self.parts.get(many + 1..).unwrap_or_default());
        let Some(last) = names.len().checked_sub(behind.len()).filter(|last| *last >= many) else { return false };
        all(before, names.get(..many).unwrap_or_default()) && all(behind, names.get(last..).unwrap_or_default())
    }

    /// Whether this pattern and another can match one name.
    pub(in crate::policy) fn meets(&self, other: &Self) -> bool {
        meet(&self.parts, &other.parts)
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether this pattern and another can match one name, and nothing says which of them is the more specific one: they are the same, or
    /// the first parts in which they differ have equally many letters.
    #[must_use]
    pub fn ties_with(&self, other: &Self) -> bool {
        let differ = self.parts.iter().zip(&other.parts).position(|(one, other)| one != other);
        match differ {
            None => self.parts.len() == other.parts.len(),
            Some(at) => match (self.parts.get(at..), other.parts.get(at..)) {
                (Some([Part::Partly(one), ..]), Some([Part::Partly(other), ..])) if letters(one) != letters(other) => false,
                (Some(one @ [Part::Partly(_), ..]), Some(other @ [Part::Partly(_), ..])) => meet(one, other),
                _ => false,
            },
        }
    }

    /// What ties have in common: the parts before the first one with a star among its letters. `None`: there is no such part, and the
    /// pattern ties with itself alone.
    #[must_use]
    pub(in crate::policy) fn tie_key(&self) -> Option<&[Part]> {
        let first = self.parts.iter().position(|part| matches!(part, Part::Partly(_)))?;
        self.parts.get(..first)
    }
}

/// Whether two runs of parts can match one name.
fn meet(one: &[Part], other: &[Part]) -> bool {
    match (one, other) {
        ([], []) => true,
        ([Part::Many, rest @ ..], _) => meet(rest, other) || other.split_first().is_some_and(|(_, behind)| meet(one, behind)),
        (_, [Part::Many, rest @ ..]) => meet(one, rest) || one.split_first().is_some_and(|(_, behind)| meet(behind, other)),
        ([first, one @ ..], [second, other @ ..]) => first.meets(second) && meet(one, other),
        ([], [..]) | ([..], []) => false,
    }
}

fn letters(pieces: &[String]) -> usize {
    pieces.iter().map(String::len).sum()
}

impl Part {
    /// The more specific one is less.
    pub(super) fn rank(&self, other: &Self) -> Ordering {
        let of = |part: &Self| match part {
            Self::Written(_) => (0, 0),
            // Of more letters first.
            Self::Partly(pieces) => (1, usize::MAX - letters(pieces)),
            Self::One => (2, 0),
            Self::Many => (3, 0),
        };
        of(self).cmp(&of(other))
    }

    pub(super) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Written(written) => written == text,
            Self::Partly(pieces) => fits_pieces(pieces, text),
            Self::One | Self::Many => true,
        }
    }

    /// Whether two can match one text.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Written(one), Self::Written(other)) => one == other,
            (Self::Written(text), part @ Self::Partly(_)) | (part @ Self::Partly(_), Self::Written(text)) => part.fits(text),
            (Self::Partly(one), Self::Partly(other)) => globs_meet(&glob(one), &glob(other)),
            _ => true,
        }
    }
}

/// Letters, and `None` for a star.
fn glob(pieces: &[String]) -> Vec<Option<u8>> {
    let mut out = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        if at > 0 {
            out.push(None);
        }
        out.extend(piece.bytes().map(Some));
    }
    out
}

/// Whether two patterns of letters and stars can match one text: by a table of what is left of each.
fn globs_meet(one: &[Option<u8>], other: &[Option<u8>]) -> bool {
    // row[j]: whether what is left of `one` meets what is left of `other` from j on. From the end.
    let mut below: Vec<bool> = vec![false; other.len() + 1];
    for i in (0..=one.len()).rev() {
        let mut row = vec![false; other.len() + 1];
        for j in (0..=other.len()).rev() {
            let next = |row: &[bool], at: usize| row.get(at).copied().unwrap_or(false);
            let meets = match (one.get(i), other.get(j)) {
                (None, None) => true,
                (Some(None), _) if next(&below, j) => true,
                (_, Some(None)) if next(&row, j + 1) => true,
                // A star takes one letter more.
                (Some(None), Some(Some(_))) => next(&row, j + 1),
                (Some(Some(_)), Some(None)) => next(&below, j),
                (Some(Some(a)), Some(Some(b))) => a == b && next(&below, j + 1),
                _ => false,
            };
            if let Some(cell) = row.get_mut(j) {
                *cell = meets;
            }
        }
        below = row;
    }
    below.first().copied().unwrap_or(false)
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let shown = || fit(text, SHOWN);
        let form = || PatternError::Form(shown());
        if text == "**" {
            return Ok(Self { text: text.to_owned(), parts: vec![Part::Many] });
        }
        if text.is_empty() || text.len() > BYTES {
            return Err(form());
        }
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        if host.contains('*') {
            return Err(PatternError::Registry(shown()));
        }
        let is_registry = host.contains(['.', ':']) || host == "localhost" || host.bytes().any(|byte| byte.is_ascii_uppercase());
        // Behind the registry, a colon begins a tag.
        if path.contains([':', '@']) || host.contains('@') {
            return Err(PatternError::Tagged(shown()));
        }
        if !is_registry {
            let folder = if path.is_empty() { "docker.io/library" } else { "docker.io" };
            return Err(PatternError::NoRegistry { written: shown(), meant: format!("{folder}/{}", shown()) });
        }
        let host: Host = host.parse().map_err(|_| form())?;
        if path.is_empty() {
            return Err(form());
        }
        if host.is_docker_hub() && !path.contains('/') && path != "**" {
            return Err(PatternError::Library { written: shown(), meant: format!("{host}/library/{}", fit(path, SHOWN)) });
        }
        let mut parts = vec![Part::Written(host.as_str().to_owned())];
        for part in path.split('/') {
            parts.push(part_of(part).ok_or_else(form)?);
        }
        if parts.iter().filter(|part| **part == Part::Many).count() > 1 {
            return Err(PatternError::ManyTwice(shown()));
        }
        Ok(Self { text: format!("{host}/{path}"), parts })
    }
}

fn part_of(text: &str) -> Option<Part> {
    match text {
        "**" => return Some(Part::Many),
        "*" => return Some(Part::One),
        _ => {}
    }
    // Filled in, it must be a part that a name can have.
    let filled = text.replace('*', "x");
    if text.contains("**") || format!("registry.example/{filled}").parse::<Repository>().is_err() {
        return None;
    }
    if text.contains('*') {
        return Some(Part::Partly(text.split('*').map(str::to_owned).collect()));
    }
    Some(Part::Written(text.to_owned()))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_that_can_match_no_name_is_refused_with_what_was_meant() {
        for (text, told) in [
            ("busybox", "write `docker.io/library/busybox`"),
            ("team/*", "write `docker.io/team/*`"),
            ("docker.io/busybox", "called `docker.io/library/busybox`"),
            ("*.example/app", "a registry is written out"),
            ("*/app", "a registry is written out"),
            ("**/app", "a registry is written out"),
            ("r.example/app:1.0", "has a tag"),
            ("r.example/app@sha256:00", "has a tag"),
            ("r.example:5000", "is not a pattern"),
            ("r.example", "is not a pattern"),
            ("r.example/", "is not a pattern"),
            ("r.example/App", "is not a pattern"),
            ("r.example//app", "is not a pattern"),
            ("r.example/a**", "is not a pattern"),
            ("r.example/**/a/**", "more than once"),
            ("r.example/a b", "is not a pattern"),
            ("", "is not a pattern"),
        ] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
        for good in ["**", "r.example/**", "r.example:5000/a/*-b/*", "docker.io/*/x", "docker.io/library/busybox", "localhost/x"]
        {
            assert_eq!(pattern(good).as_str(), good);
        }
        assert_eq!(pattern("index.docker.io/library/x").as_str(), "docker.io/library/x");
    }

    #[test]
    fn equally_specific_patterns_tie_where_one_name_meets_both() {
        for (one, other, ties) in [
            ("r.example/a", "r.example/a", true),
            ("r.example/a*", "r.example/*a", true),
            ("r.example/ab*", "r.example/cd*", false),
            ("r.example/a*c", "r.example/ab*", true),
            ("r.example/a*c", "r.example/*d", false),
            ("r.example/**/x", "r.example/**/y", false),
            ("r.example/**/x", "r.example/*/x", false),
            ("r.example/*/x", "s.example/*/x", false),
            ("r.example/*a*a", "r.example/a*a*", true),
            // Whichever was found first would win: what comes behind does not say which is meant.
            ("r.example/app-*/**", "r.example/*-dev/tool", true),
            ("r.example/app-*/x", "r.example/*-dev/tool", false),
            ("r.example/app-*/x", "r.example/*-dev/**/x", true),
            ("r.example/app-*/**", "r.example/app-*/x", false),
            ("r.example/*/app-*", "r.example/app-*/*", false),
        ] {
            assert_eq!(pattern(one).ties_with(&pattern(other)), ties, "{one} {other}");
            assert_eq!(pattern(other).ties_with(&pattern(one)), ties, "{other} {one}");
        }
    }

    #[test]
    fn pieces_fit_in_their_order_and_without_overlap() {
        let fits = |pattern: &str, text: &str| part_of(pattern).unwrap().fits(text);
        assert!(fits("a*a", "aa") && fits("a*a", "aba") && !fits("a*a", "a"));
        assert!(fits("app-*", "app-x") && !fits("app-*", "ap-x") && fits("*-x*y", "a-xby") && !fits("*-x*y", "a-x"));
    }
}
