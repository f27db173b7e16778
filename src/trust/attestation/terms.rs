//! What a statement about an image must say, as the policy has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::trust::stated::{Contents, Facts, Findings, Severity, Stated};

/// Provenance of SLSA, both versions that are in use.
const PROVENANCE_0_2: &str = "https://slsa.dev/provenance/v0.2";
const PROVENANCE_1: &str = "https://slsa.dev/provenance/v1";
/// Bills of materials; a version may stand behind.
const SPDX: &str = "https://spdx.dev/Document";
const CYCLONE_DX: &str = "https://cyclonedx.org/bom";
/// cosign's report of a scan.
const SCAN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";

/// What is understood of a predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// How an image was built: SLSA provenance, version 0.2.
    Provenance02,
    /// The same, version 1.
    Provenance1,
    /// What is in an image, as SPDX lists it.
    Spdx,
    /// What is in an image, as `CycloneDX` lists it.
    CycloneDx,
    /// What a scanner found.
    Scan,
    /// Anything else: members that a policy names by their paths.
    Other,
}

impl Kind {
    /// The kind of predicates of this type.
    #[must_use]
    pub fn of(predicate_type: &str) -> Self {
        let is_version_of = |family: &str| {
            let rest = predicate_type.strip_prefix(family);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("/v"))
        };
        match predicate_type {
            PROVENANCE_0_2 => Self::Provenance02,
            PROVENANCE_1 => Self::Provenance1,
            SCAN => Self::Scan,
            _ if is_version_of(SPDX) => Self::Spdx,
            _ if is_version_of(CYCLONE_DX) => Self::CycloneDx,
            _ => Self::Other,
        }
    }
}

/// What a statement must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The type of its predicate, to the letter.
    pub predicate_type: String,
    /// Members of the predicate, each with the values that it may have.
    pub require: Vec<Required>,
    /// What is asked of the kind of predicate that it is.
    pub conditions: Conditions,
}

/// A member of a predicate, and what it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Required {
    /// The names that lead to it.
    pub path: Vec<String>,
    /// Patterns, `*` for anything, one of which must fit.
    pub values: Vec<String>,
}

/// What is asked of a predicate beside its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conditions {
    /// Nothing: that it is there is enough.
    None,
    /// Of provenance.
    Provenance(ProvenanceTerms),
    /// Of a bill of materials.
    Sbom(SbomTerms),
    /// Of a scan.
    Scan(ScanTerms),
}

/// Who must have built an image, and from what. Patterns, `*` for anything; of none: whatever it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProvenanceTerms {
    /// The builder's id.
    pub builder: Vec<String>,
    /// The repository of its source.
    pub source: Vec<String>,
    /// The branch or tag of that.
    pub reference: Vec<String>,
}

/// What may be in an image. Patterns, `*` for anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SbomTerms {
    /// Packages that must not be in it: `NAME`, `NAME@VERSION`, or `pkg:…`.
    pub forbid_packages: Vec<String>,
    /// The only packages that may be in it; `None`: any.
    pub allow_packages: Option<Vec<String>>,
    /// Licences that nothing in it may need.
    pub forbid_licences: Vec<String>,
    /// The only licences that may be in it; `None`: any.
    pub allow_licences: Option<Vec<String>>,
}

/// What a scan may have found, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanTerms {
    /// Patterns over the scanner's address; reports of others are left aside. Of none: any.
    pub scanner: Vec<String>,
    /// How old a report may be.
    pub max_age: Option<Duration>,
    /// From this severity on nothing may be found.
    pub severity: Option<Severity>,
    /// But these.
    pub except: BTreeSet<String>,
}

impl Terms {
    /// Such a statement, of which nobody says more than that it holds: for cases.
    #[must_use]
    pub fn unsaid(&self) -> Stated {
        let text = String::new;
        let facts = match Kind::of(&self.predicate_type) {
            Kind::Provenance02 | Kind::Provenance1 => Facts::Provenance { builder: text(), source: text(), reference: text() },
            Kind::Spdx => Facts::Sbom(Contents { format: "spdx".to_owned(), packages: 0 }),
            Kind::CycloneDx => Facts::Sbom(Contents { format: "cyclonedx".to_owned(), packages: 0 }),
            Kind::Scan => {
                Facts::Scan(Findings { scanner: text(), at: Timestamp::UNIX_EPOCH, found: BTreeMap::new(), worst: Vec::new() })
            }
            Kind::Other => Facts::Other,
        };
        Stated { predicate_type: self.predicate_type.clone(), at: None, facts, is_judged: self.judges_findings() }
    }

    /// Whether what a scan found is looked at.
    #[must_use]
    pub const fn judges_findings(&self) -> bool {
        matches!(&self.conditions, Conditions::Scan(terms) if terms.severity.is_some())
    }

    /// Whether what is good now may not be good tomorrow, though nothing has changed: by age, or by what is found later.
    #[must_use]
    pub const fn is_of_the_day(&self) -> bool {
        match &self.conditions {
            // Where it has no terms, rules in Rego may have some.
            Conditions::Scan(_) => true,
            Conditions::None | Conditions::Provenance(_) | Conditions::Sbom(_) => false,
        }
    }
}
