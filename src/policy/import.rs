//! Policies of other tools, read and written again as a policy file (docs/policy-import.md). What cannot be carried over is listed with its
//! place and never becomes an allow: its images lie in scopes that refuse, or in none.

mod broker;
mod containers;
mod content_trust;
mod course;
mod digests;
mod draft;
mod json;
mod notation;
mod variables;

use std::fmt;

use self::draft::Draft;
use self::json::Json;
use super::file::POLICY_BYTES;
use crate::text::fit;

/// Largest source, bytes: about what an allowlist of the largest size takes. Stops another file from filling memory.
pub const SOURCE_BYTES: u64 = 8 << 20;
/// Longest piece of a source that is repeated, in characters.
const SHOWN: usize = 120;

/// Whose policy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// authz-broker's users file, JSON lines.
    AuthzBroker,
    /// `policy.json` of podman, skopeo, CRI-O.
    Containers,
    /// `trustpolicy.json` of notation.
    Notation,
    /// `daemon.json` with `content-trust`.
    ContentTrust,
    /// The trust policy of signers and their repositories.
    Course,
    /// The digest tool's `policy.json`.
    Digests,
    /// The original plugin's settings.
    Variables,
}

impl Format {
    /// Each with its name.
    pub const ALL: [(&str, Self); 7] = [
        ("authz-broker", Self::AuthzBroker),
        ("containers", Self::Containers),
        ("notation", Self::Notation),
        ("content-trust", Self::ContentTrust),
        ("course", Self::Course),
        ("digests", Self::Digests),
        ("variables", Self::Variables),
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name)
    }
}

/// What became of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What it was.
    pub format: Format,
    /// The policy file.
    pub policy: String,
    /// The files that it names, by name.
    pub files: Vec<(&'static str, String)>,
    /// What could not be carried over.
    pub left_out: Vec<LeftOut>,
}

/// Something that is not in the policy, or not as it was.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LeftOut {
    /// Where in the source.
    pub place: String,
    /// What became of it, and why.
    pub why: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// Why nothing was imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Nothing in it says whose it is.
    #[error("whose policy this is cannot be told; name the format (img-authz policy import FORMAT FILE)")]
    Unknown,
    /// Not JSON, or a member twice.
    #[error("is not JSON that means one thing: {0}")]
    Json(String),
    /// Not of the format's shape.
    #[error("{place}: {what}")]
    Form {
        /// Where.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// More than a policy may have.
    #[error("the policy would have more than {POLICY_BYTES} bytes, or more scopes than a policy may have; split the source")]
    TooLarge,
    /// What was written is not a policy.
    #[error("the imported policy is faulty, please report it: {0}")]
    Faulty(String),
}

/// Reads a source; `format` where it was named, `server` where signatures are to be looked for.
pub fn import(format: Option<Format>, text: &str, server: Option<&str>) -> Result<Imported, ImportError> {
    if text.len() as u64 > SOURCE_BYTES {
        return Err(ImportError::TooLarge);
    }
    let parsed = json::read(text);
    let format = match format {
        Some(format) => format,
        None => told(text, &parsed)?,
    };
    let mut draft = Draft::default();
    match format {
        Format::AuthzBroker => broker::read(text, &mut draft)?,
        Format::Containers => containers::read(&parsed?, &mut draft)?,
        Format::Notation => notation::read(&parsed?, &mut draft)?,
        Format::ContentTrust => content_trust::read(&parsed?, &mut draft)?,
        Format::Course => course::read(&parsed?, server, &mut draft)?,
        Format::Digests => digests::read(&parsed?, &mut draft)?,
        Format::Variables => variables::read(text, parsed.ok().as_ref(), &mut draft)?,
    }
    draft.finish(format)
}

/// Whose it is, by what no other has.
fn told(text: &str, parsed: &Result<Json, ImportError>) -> Result<Format, ImportError> {
    // Each line of the broker's is an object; a file of one line is JSON as a whole.
    if broker::is_one(text) {
        return Ok(Format::AuthzBroker);
    }
    let json = match parsed {
        Ok(json) => json,
        Err(_) if variables::is_env_file(text) => return Ok(Format::Variables),
        Err(error) if text.trim_start().starts_with(['{', '[']) => return Err(error.clone()),
        Err(_) => return Err(ImportError::Unknown),
    };
    let has = |name: &str| json.get(name).is_some();
    if variables::is_inspect(json) {
        Ok(Format::Variables)
    } else if has("trustPolicies") {
        Ok(Format::Notation)
    } else if has("content-trust") {
        Ok(Format::ContentTrust)
    } else if has("trust") {
        Ok(Format::Course)
    } else if has("default") || has("transports") {
        Ok(Format::Containers)
    } else if digests::is_one(json) {
        Ok(Format::Digests)
    } else {
        Err(ImportError::Unknown)
    }
}

/// A source's fault.
fn form(place: impl Into<String>, what: impl Into<String>) -> ImportError {
    ImportError::Form { place: place.into(), what: what.into() }
}

fn shown(text: &str) -> String {
    format!("`{}`", fit(text, SHOWN))
}

#[cfg(test)]
mod tests;
