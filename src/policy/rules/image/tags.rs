//! `tag-latest`, `tag-missing`, `tag-pattern`. A digest or an id is no tag: of those the tags count under which a verifier vouches for the
//! content, where it knows some.

use regex::bytes::{Regex, RegexBuilder};

use super::{Broken, Subject, broken};
use crate::image::Tag;

/// Longest pattern, and how large it may become when it is compiled. Stops a pattern from filling memory.
const PATTERN_BYTES: usize = 512;
const COMPILED_BYTES: usize = 64 << 10;
/// Tags that a message names.
const NAMED: usize = 3;

pub(super) fn latest(image: &Subject<'_>) -> Result<(), Broken> {
    let latest = Tag::latest();
    match image.tag {
        Some(tag) if *tag == latest && image.is_tag_missing => broken("no tag is written, which means `latest`"),
        Some(tag) if *tag == latest => broken("`latest` can come to mean other content"),
        Some(_) => Ok(()),
        None if !image.vouched.is_empty() && image.vouched.iter().all(|tag| **tag == latest) => {
            broken("it is vouched for as `latest` alone")
        }
        None => Ok(()),
    }
}

pub(super) fn missing(image: &Subject<'_>) -> Result<(), Broken> {
    if image.is_tag_missing { broken("neither a tag nor a digest is written") } else { Ok(()) }
}

/// What a tag must look like.
#[derive(Debug, Clone)]
pub struct TagPattern {
    text: String,
    regex: Regex,
}

impl TagPattern {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn judge(&self, image: &Subject<'_>) -> Result<(), Broken> {
        let fits = |tag: &&Tag| self.regex.is_match(tag.as_str().as_bytes());
        match image.tag {
            Some(tag) if fits(&tag) => Ok(()),
            Some(tag) => broken(format!("tag `{tag}` does not match `{}`", self.text)),
            None if image.vouched.is_empty() || image.vouched.iter().any(fits) => Ok(()),
            None => {
                let tags: Vec<&str> = image.vouched.iter().take(NAMED).map(|tag| tag.as_str()).collect();
                broken(format!("it is vouched for as `{}`, which does not match `{}`", tags.join(", "), self.text))
            }
        }
    }
}

impl PartialEq for TagPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TagPattern {}

impl std::str::FromStr for TagPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES {
            return Err(format!("is longer than {PATTERN_BYTES} bytes"));
        }
        // Tags are ASCII, and so are classes: `\d` is 0 to 9.
        let built = RegexBuilder::new(text).unicode(false).size_limit(COMPILED_BYTES).build();
        let regex = built.map_err(|error| match error {
            regex::Error::CompiledTooBig(most) => format!("becomes larger than {most} bytes; write a simpler pattern"),
            error => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                format!("is not a regular expression: {last}")
            }
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }
}
