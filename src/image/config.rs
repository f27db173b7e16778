//! What an image says of itself: its configuration, which its digest commits to, and what of its manifest belongs to that.

use crate::order::Ordered as _;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::Digest;

/// How something runs, with Docker's names: `User`, `Env`, `Labels`, `ExposedPorts`, `Healthcheck`. What may be secrets does not print.
///
/// It stays text until somebody looks at it: who makes a container says how much that is, and as values it takes ten times the room.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RunsAs(Arc<str>);

impl RunsAs {
    /// Of these members: names, each with its JSON.
    pub fn of<'m>(members: impl IntoIterator<Item = (&'static str, &'m str)>) -> Self {
        let members: Vec<String> = members.into_iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
        Self(format!("{{{}}}", members.join(",")).into())
    }

    /// Of members as values.
    #[must_use]
    pub fn of_members(members: &serde_json::Map<String, serde_json::Value>) -> Self {
        Self(serde_json::json!(members).to_string().into())
    }

    /// How many bytes it has as text.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Its members as values.
    #[must_use]
    pub fn members(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_slice(self.0.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for RunsAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members().keys()).finish()
    }
}

/// What an image runs on. A part it does not name is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`
    pub architecture: String,
    /// `v8`
    pub variant: String,
}

impl Platform {
    /// Whether this is what `wanted` asks for, as engines compare them. A variant that it does not name is any.
    #[must_use]
    pub fn is(&self, wanted: &Self) -> bool {
        let (own, other) = (self.normal(), wanted.normal());
        own.os == other.os
            && own.architecture == other.architecture
            && (wanted.variant.is_empty() || own.variant == other.variant)
    }

    /// Whether both are one platform, as engines compare them.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.normal() == other.normal()
    }

    /// As engines read it (containerd/platforms, `database.go`): architectures have several names, and some variants are what none means.
    fn normal(&self) -> Self {
        let lower = |text: &str| text.to_ascii_lowercase();
        let (os, architecture, variant) = (lower(&self.os), lower(&self.architecture), lower(&self.variant));
        let os = if os == "macos" { "darwin".to_owned() } else { os };
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386", _) => ("386", String::new()),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", String::new()),
            ("x86_64" | "x86-64", _) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8") => ("arm64", String::new()),
            ("aarch64", _) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7".to_owned()),
            ("armel", _) => ("arm", "v6".to_owned()),
            ("arm", "" | "7") => ("arm", "v7".to_owned()),
            ("arm", "5" | "6" | "8") => ("arm", format!("v{variant}")),
            (other, _) => (other, variant),
        };
        let architecture = architecture.to_owned();
        Self { os, architecture, variant }
    }
}

/// `os/architecture[/variant]`, as `--platform` takes it.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// What is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform (os/architecture[/variant], such as linux/amd64)")]
pub struct PlatformError(String);

impl std::str::FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let is_word = |part: &&str| {
            let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
            !part.is_empty() && part.bytes().all(is_good)
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (*os, *architecture, ""),
            [os, architecture, variant] if is_word(variant) => (*os, *architecture, *variant),
            _ => return Err(PlatformError(crate::text::fit(text, 80))),
        };
        if !is_word(&os) || !is_word(&architecture) {
            return Err(PlatformError(crate::text::fit(text, 80)));
        }
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.to_owned() })
    }
}

/// What of an image rules may look at. All of it is its publisher's word.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// When it was made; `None` where it does not say.
    pub created: Option<Timestamp>,
    /// What it runs on.
    pub platform: Platform,
    /// Digests of its uncompressed layers, bottom first, up to the first that has no SHA-256 digest.
    pub layers: Vec<Digest>,
    /// `USER`; empty is root.
    pub user: String,
    /// `ENV`, as `NAME=value`. Values may be secrets: `Debug` shows names only.
    pub env: Vec<String>,
    /// `LABEL`. Values may be secrets.
    pub labels: BTreeMap<String, String>,
    /// `EXPOSE`, as `80/tcp`.
    pub ports: Vec<String>,
    /// `HEALTHCHECK`, as `["CMD", …]`; `["NONE"]` switches a base's off, empty says nothing.
    pub healthcheck: Vec<String>,
    /// What made its layers, bottom first; may hold secrets. `None` where nobody looked.
    pub history: Option<Vec<String>>,
    /// Annotations of its manifest; `None` where nobody looked.
    pub annotations: Option<BTreeMap<String, String>>,
    /// Bytes: as the host holds it, or as the registry sends it. `None` where that is not known.
    pub size: Option<u64>,
}

impl ImageConfig {
    /// The names of the environment variables it sets.
    pub fn env_names(&self) -> impl Iterator<Item = &str> {
        self.env.iter().map(|variable| variable.split_once('=').map_or(variable.as_str(), |(name, _)| name))
    }

    /// Whether it has a health check that engines carry out. Kinds that they do not know are none.
    #[must_use]
    pub fn has_healthcheck(&self) -> bool {
        let is_known = |kind: &str| matches!(kind, "CMD" | "CMD-SHELL");
        matches!(self.healthcheck.as_slice(), [kind, first, ..] if is_known(kind) && !first.trim().is_empty())
    }

    /// How it runs, with Docker's names, for rules that others have written. It holds what may be secrets.
    #[must_use]
    pub fn runs_as(&self) -> serde_json::Map<String, serde_json::Value> {
        let ports = self.ports.iter().map(|port| (port.clone(), serde_json::json!({})));
        let mut members = serde_json::Map::new();
        members.insert("User".to_owned(), self.user.as_str().into());
        members.insert("Env".to_owned(), self.env.clone().into());
        members.insert("Labels".to_owned(), serde_json::json!(self.labels));
        members.insert("ExposedPorts".to_owned(), serde_json::Value::Object(ports.ordered()));
        if self.has_healthcheck() {
            members.insert("Healthcheck".to_owned(), serde_json::json!({ "Test": self.healthcheck }));
        }
        members
    }

    /// How much room it takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// What a text takes besides its bytes.
        const EACH: usize = 64;
        let lists = [Some(&self.env), Some(&self.ports), Some(&self.healthcheck), self.history.as_ref()];
        let texts = lists.into_iter().flatten().flatten();
        let pairs = [Some(&self.labels), self.annotations.as_ref()].into_iter().flatten().flatten();
        texts.chain(pairs.flat_map(|(name, value)| [name, value])).map(|text| text.len() + EACH).sum()
    }
}

impl fmt::Debug for ImageConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageConfig")
            .field("created", &self.created)
            .field("platform", &self.platform)
            .field("layers", &self.layers)
            .field("user", &self.user)
            .field("env", &self.env_names().collect::<Vec<_>>())
            .field("labels", &self.labels.keys().collect::<Vec<_>>())
            .field("ports", &self.ports)
            .field("healthcheck", &self.healthcheck)
            .field("history", &self.history.as_ref().map(Vec::len))
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_compared_as_engines_do() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        for (one, other, is_same) in [
            ("linux/x86_64", "linux/amd64", true),
            ("linux/amd64/v1", "linux/amd64", true),
            ("linux/amd64/v3", "linux/amd64", false),
            ("linux/x86_64/v3", "linux/amd64/v3", true),
            ("linux/aarch64", "linux/arm64/v8", true),
            ("linux/arm", "linux/arm/v7", true),
            ("linux/arm/v6", "linux/armel", true),
            ("linux/arm/v6", "linux/arm", false),
            ("linux/amd64", "windows/amd64", false),
        ] {
            assert_eq!(platform(one).is_same(&platform(other)), is_same, "{one} {other}");
        }
        assert!(platform("linux/x86_64/v3").is(&platform("linux/amd64")));
        assert!(!platform("linux/amd64").is(&platform("linux/amd64/v3")));
    }

    #[test]
    fn platforms_are_read_as_they_are_written() {
        for text in ["linux/amd64", "linux/arm64/v8", "windows/amd64"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in ["", "linux", "linux/", "/amd64", "linux/amd64/", "linux/amd64/v1/x", "Linux/amd64", "linux/amd 64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
        let is = |one: &str, other: &str| one.parse::<Platform>().unwrap().is(&other.parse().unwrap());
        assert!(is("linux/arm64/v8", "linux/arm64") && is("linux/arm/v7", "linux/arm/v7"));
        assert!(!is("linux/arm64", "linux/arm64/v9") && !is("linux/arm64", "linux/amd64"));
    }

    #[test]
    fn a_health_check_is_one_that_engines_carry_out() {
        let of = |test: &[&str]| ImageConfig {
            healthcheck: test.iter().map(|text| (*text).to_owned()).collect(),
            ..ImageConfig::default()
        };
        let is = |test: &[&str]| of(test).has_healthcheck();
        assert_eq!(of(&["CMD", "x"]).runs_as()["Healthcheck"]["Test"][1], "x");
        assert!(!of(&["NONE"]).runs_as().contains_key("Healthcheck"));
        assert!(is(&["CMD", "true"]) && is(&["CMD-SHELL", "true || exit 1"]));
        assert!(
            !is(&[]) && !is(&["NONE"]) && !is(&["CMD"]) && !is(&["CMD-SHELL", " "]) && !is(&["cmd", "true"]) && !is(&["x", "y"])
        );
    }

    #[test]
    fn values_that_may_be_secrets_do_not_print() {
        let config = ImageConfig {
            env: vec!["PASSWORD=hunter2".into()],
            labels: BTreeMap::from([("token".into(), "hunter2".into())]),
            history: Some(vec!["ENV A=hunter2".into()]),
            annotations: Some(BTreeMap::from([("a".into(), "hunter2".into())])),
            ..ImageConfig::default()
        };
        let printed = format!("{config:?}");
        assert!(printed.contains("PASSWORD") && printed.contains("token") && !printed.contains("hunter2"), "{printed}");
    }
}
