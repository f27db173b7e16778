//! What statements say that held, and what an operator's own reports say: for rules in Rego, the audit log and people.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How bad a finding is, as scanners order it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The scanner does not know.
    Unknown,
    /// Grype's word for less than low.
    Negligible,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

impl Severity {
    /// From the least to the worst, with their names.
    pub const ALL: [(&'static str, Self); 6] = [
        ("unknown", Self::Unknown),
        ("negligible", Self::Negligible),
        ("low", Self::Low),
        ("medium", Self::Medium),
        ("high", Self::High),
        ("critical", Self::Critical),
    ];

    /// What a scanner calls it. A finding without a severity, or with one that nobody knows, counts as the worst.
    pub(in crate::trust) fn of(written: Option<&str>) -> Self {
        written.and_then(|written| written.parse().ok()).unwrap_or(Self::Critical)
    }
}

impl FromStr for Severity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let found = Self::ALL.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, severity)| severity).ok_or(())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::ALL.into_iter().find(|(_, severity)| severity == self);
        f.write_str(found.map_or("", |(name, _)| name))
    }
}

/// A statement about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stated {
    /// The type of its predicate.
    pub predicate_type: String,
    /// When what it states was so, where it says that: the end of a scan or of a build.
    pub at: Option<Timestamp>,
    /// What it says.
    #[serde(flatten)]
    pub facts: Facts,
    /// Of a scan: whether its findings were judged, and not just that there is one.
    #[serde(skip)]
    pub is_judged: bool,
}

impl Stated {
    /// When the build ended, where it states how the image was built.
    #[must_use]
    pub const fn built_at(&self) -> Option<Timestamp> {
        match self.facts {
            Facts::Provenance { .. } => self.at,
            Facts::Sbom(_) | Facts::Scan(_) | Facts::Other => None,
        }
    }

    /// Whether it is what a scanner found, and nothing in it was too severe.
    #[must_use]
    pub const fn is_passed_scan(&self) -> bool {
        self.is_judged && matches!(self.facts, Facts::Scan(_))
    }
}

/// What is said of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Facts {
    /// How it was built. Empty: it does not say.
    Provenance {
        /// By whom.
        builder: String,
        /// From which repository.
        source: String,
        /// From which branch or tag of that.
        #[serde(rename = "ref")]
        reference: String,
    },
    /// What is in it.
    Sbom(Contents),
    /// What a scanner found.
    Scan(Findings),
    /// Something that is not understood.
    Other,
}

/// What a bill of materials lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// `spdx`, `cyclonedx`
    pub format: String,
    /// How many packages.
    pub packages: usize,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Findings {
    /// The scanner's address or name.
    pub scanner: String,
    /// When it ended.
    pub at: Timestamp,
    /// How many findings there are of each severity that occurs.
    pub found: BTreeMap<Severity, usize>,
    /// The worst, each by its id; no more than `LISTED`.
    pub worst: Vec<String>,
}
