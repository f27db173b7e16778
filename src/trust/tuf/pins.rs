//! Which roots of trust count for which repository (docs/notary-v1.md, section 9).

use std::collections::HashMap;

use jiff::Timestamp;

use super::certificate::{Certificate, authorities, chains};
use super::json::{Document, Value};

/// Most entries of a pins file. Stops a wrong file from filling memory.
const ENTRIES: usize = 10_000;

/// notary's `trust_pinning` block, read. The default trusts on first use.
#[derive(Debug, Clone, Default)]
pub struct Pins {
    /// Nothing is trusted that no pin covers.
    disable_tofu: bool,
    /// Repository, or prefix with `*` at its end → key ids.
    certs: HashMap<String, Vec<String>>,
    /// Prefix of repositories → CA bundle.
    authorities: HashMap<String, Vec<Certificate>>,
    text: String,
}

/// Why a `trust_pinning` block cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinsError {
    /// Not JSON, or JSON of another shape.
    #[error("pins: {0}")]
    Form(String),
    /// The CA bundle of a prefix.
    #[error("pins: CA bundle `{path}` for `{prefix}`: {why}")]
    Bundle {
        /// The prefix it stands for.
        prefix: String,
        /// As written in the block.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The one pin that applies to a repository.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pin<'a> {
    /// Only these key ids.
    Certs(&'a [String]),
    /// Only what chains to this bundle.
    Authorities(&'a [Certificate]),
    /// Nothing covers it, and first use is trusted.
    FirstUse,
    /// Nothing covers it, and first use is not trusted.
    Nothing,
}

impl Pins {
    /// Reads the block, or a whole notary configuration that has one. `load` reads the file of a CA bundle by the path in
    /// the block.
    pub fn read(text: &str, mut load: impl FnMut(&str) -> Result<String, String>) -> Result<Self, PinsError> {
        let form = |what: &str| PinsError::Form(what.to_owned());
        let document = Document::read(text.trim().as_bytes()).map_err(|error| PinsError::Form(error.to_string()))?;
        let Value::Object(mut members) = document.value() else { return Err(form("a JSON object is expected")) };
        // notary's reader takes member names in any case.
        if let Some((_, inner)) = members.iter().find(|(name, _)| name.eq_ignore_ascii_case("trust_pinning")) {
            match inner {
                Value::Object(inner) => members = inner,
                _ => return Err(form("`trust_pinning` must be an object")),
            }
        }
        let mut pins = Self { text: text.trim().to_owned(), ..Self::default() };
        let mut seen = Vec::new();
        for (name, value) in members.iter() {
            let name = name.to_ascii_lowercase();
            if seen.contains(&name) {
                return Err(PinsError::Form(format!("`{name}` is there twice")));
            }
            match (name.as_str(), value) {
                ("disable_tofu", Value::Bool(off)) => pins.disable_tofu = off,
                ("certs", Value::Object(entries)) => {
                    for (prefix, ids) in entries.iter() {
                        let Value::Array(ids) = ids else {
                            return Err(PinsError::Form(format!("`certs` of `{prefix}` must be a list of key ids")));
                        };
                        let ids: Option<Vec<String>> = ids
                            .iter()
                            .map(|id| match id {
                                Value::Text(id) if is_key_id(id) => Some(id.to_owned()),
                                _ => None,
                            })
                            .collect();
                        let ids = ids.ok_or_else(|| {
                            PinsError::Form(format!("`certs` of `{prefix}`: a key id is 64 lower-case hex digits"))
                        })?;
                        if pins.certs.insert(prefix.to_lowercase(), ids).is_some() {
                            return Err(PinsError::Form(format!("`certs` has `{prefix}` twice")));
                        }
                    }
                }
                ("ca", Value::Object(entries)) => {
                    for (prefix, path) in entries.iter() {
                        let Value::Text(path) = path else {
                            return Err(PinsError::Form(format!("`ca` of `{prefix}` must be a path")));
                        };
                        let broken = |why: String| PinsError::Bundle { prefix: prefix.to_owned(), path: path.to_owned(), why };
                        let pem = load(path).map_err(broken)?;
                        let bundle = authorities(&pem)
                            .ok_or_else(|| broken("a certificate in it cannot be read, or it has none".to_owned()))?;
                        if pins.authorities.insert(prefix.to_lowercase(), bundle).is_some() {
                            return Err(PinsError::Form(format!("`ca` has `{prefix}` twice")));
                        }
                    }
                }
                (name @ ("disable_tofu" | "certs" | "ca"), _) => {
                    return Err(PinsError::Form(format!("`{name}` has a value of the wrong kind")));
                }
                (name, _) => return Err(PinsError::Form(format!("`{name}` is not known"))),
            }
            seen.push(name);
        }
        if pins.certs.len() + pins.authorities.len() > ENTRIES {
            return Err(form("too many entries"));
        }
        Ok(pins)
    }

    /// Whether an entry says which roots count for a repository, so that it does not rest on what was seen first.
    #[must_use]
    pub fn names(&self, repository: &str) -> bool {
        match self.pin(repository) {
            Pin::Certs(_) | Pin::Authorities(_) => true,
            Pin::FirstUse | Pin::Nothing => false,
        }
    }

    /// The pins as they were written, for `trust inspect`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What applies to a repository, in words.
    #[must_use]
    pub fn describe(&self, repository: &str) -> String {
        match self.pin(repository) {
            Pin::Certs(ids) => format!("root keys {}", ids.join(", ")),
            Pin::Authorities(bundle) => format!("a CA bundle of {} certificates", bundle.len()),
            Pin::FirstUse => "trust on first use".to_owned(),
            Pin::Nothing => "nothing is trusted (no pin covers it, `disable_tofu` is set)".to_owned(),
        }
    }

    /// Exact `certs`, then the longest `certs` prefix, then the longest `ca` prefix, then first use. One alone applies.
    pub(super) fn pin(&self, repository: &str) -> Pin<'_> {
        // notary's reader lower-cases the keys; only a host can have upper case.
        let repository = repository.to_lowercase();
        if let Some(ids) = self.certs.get(&repository) {
            return Pin::Certs(ids);
        }
        let prefixed = self
            .certs
            .iter()
            .filter_map(|(key, ids)| key.strip_suffix('*').map(|prefix| (prefix, ids)))
            .filter(|(prefix, _)| repository.starts_with(prefix))
            .max_by_key(|(prefix, _)| prefix.len());
        if let Some((_, ids)) = prefixed {
            return Pin::Certs(ids);
        }
        let bundle = self
            .authorities
            .iter()
            .filter(|(prefix, _)| repository.starts_with(prefix.as_str()))
            .max_by_key(|(prefix, _)| prefix.len());
        match bundle {
            Some((_, bundle)) => Pin::Authorities(bundle),
            None if self.disable_tofu => Pin::Nothing,
            None => Pin::FirstUse,
        }
    }

    /// Whether a root key passes what applies to the repository. `bundle` is its certificates, the leaf first.
    pub(super) fn pass(&self, repository: &str, key_id: &str, bundle: &[Certificate], now: Timestamp) -> bool {
        match self.pin(repository) {
            Pin::Certs(ids) => ids.iter().any(|id| id == key_id),
            Pin::Authorities(authorities) => match bundle.split_first() {
                Some((leaf, between)) => chains(leaf, between, authorities, now),
                None => false,
            },
            Pin::FirstUse => true,
            Pin::Nothing => false,
        }
    }

    /// The CAs that decide about the repository; none where other pins do.
    pub(super) fn authorities(&self, repository: &str) -> &[Certificate] {
        match self.pin(repository) {
            Pin::Authorities(bundle) => bundle,
            Pin::Certs(_) | Pin::FirstUse | Pin::Nothing => &[],
        }
    }

    /// How many CAs a chain has to be tried to, for [`Pins::pass`] to answer.
    pub(super) fn chains(&self, repository: &str, bundle: &[Certificate]) -> usize {
        self.authorities(repository).iter().filter(|ca| ca.is_issuer_in(bundle)).count()
    }

    /// Whether the repository is trusted only because it is the first time.
    #[must_use]
    pub fn first_use(&self, repository: &str) -> bool {
        matches!(self.pin(repository), Pin::FirstUse)
    }
}

fn is_key_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
