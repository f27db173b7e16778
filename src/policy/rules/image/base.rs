//! `base-image`. The name of a base is the publisher's word (OCI annotations, or labels of the same names); that an image begins with the
//! layers of an approved one is proof.

use std::collections::BTreeMap;

use super::{Broken, Subject, broken};
use crate::image::{Digest, ImageConfig, Reference};
use crate::policy::{Pattern, PatternError};
use crate::text::clean;

/// OCI image-spec, annotations.md, "Pre-Defined Annotation Keys".
const NAME: &str = "org.opencontainers.image.base.name";
const DIGEST: &str = "org.opencontainers.image.base.digest";

/// What images may be built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// Names that a base may have.
    pub allow: Vec<Base>,
    /// Layers of approved bases, bottom first, by what each is called.
    pub layers: BTreeMap<String, Vec<Digest>>,
}

/// Names of bases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Over the whole name of the repository.
    pub pattern: Pattern,
    /// Where it must have this one.
    pub digest: Option<Digest>,
}

/// As it is written: `registry.example/base/*`, `registry.example/base/debian@sha256:…`.
impl std::str::FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pattern, digest) = match text.split_once('@') {
            Some((pattern, digest)) => (pattern, Some(digest.parse::<Digest>().map_err(|error| error.to_string())?)),
            None => (text, None),
        };
        Ok(Self { pattern: pattern.parse().map_err(|error: PatternError| error.to_string())?, digest })
    }
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.pattern)?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl BaseImage {
    pub(super) fn judge(&self, image: &Subject<'_>) -> Result<(), Broken> {
        let config = image.config()?;
        // An empty list of layers is the beginning of everything.
        let begins = |layers: &Vec<Digest>| !layers.is_empty() && config.layers.starts_with(layers);
        if self.layers.values().any(begins) {
            return Ok(());
        }
        if self.allow.is_empty() {
            return broken("it does not begin with the layers of an approved base image");
        }
        let Some((name, digest)) = said(config) else {
            let why = "it does not say which base image it is built on";
            return if config.annotations.is_some() { broken(why) } else { Err(Broken::Unknown) };
        };
        let Ok(reference) = name.parse::<Reference>() else {
            return broken(format!("it says its base image is `{}`, which is not a reference", clean(name)));
        };
        let digest = digest.and_then(|digest| digest.parse::<Digest>().ok()).or(reference.digest);
        let fits =
            |base: &Base| base.pattern.matches(&reference.repository) && base.digest.is_none_or(|wanted| digest == Some(wanted));
        if self.allow.iter().any(fits) {
            return Ok(());
        }
        broken(format!("it says its base image is `{}`", clean(name)))
    }
}

/// Which base it says it has: its own annotations count before its labels, which it may have from its base.
fn said(config: &ImageConfig) -> Option<(&str, Option<&str>)> {
    let said = config.annotations.as_ref().filter(|annotations| annotations.contains_key(NAME)).unwrap_or(&config.labels);
    Some((said.get(NAME)?.as_str(), said.get(DIGEST).map(String::as_str)))
}
