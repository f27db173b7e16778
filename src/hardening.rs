//! What is weak about an image, the Dockerfile it is made from, or a host: findings by the names that the field has for them, each with its
//! evidence, its remedy, and what it means for somebody who reads of it for the first time.
//!
//! What the policy's rules judge is judged by them here too ([`crate::policy`]); this room adds what no decision waits for: Dockerfiles, the
//! files in an image's layers, the engine's settings. It refuses nothing and changes nothing.

pub mod archive;
pub mod dockerfile;
pub mod host;
pub mod image;
mod rules;
mod shell;

use serde::Serialize;

pub use rules::{OwnRule, Rule, RuleName, Severity};

use crate::text::fit;

/// Longest evidence or remedy, characters. Stops foreign text from filling the screen.
const TEXT_CHARS: usize = 400;

/// One weakness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which rule is not kept.
    pub rule: RuleName,
    /// How bad it is.
    pub severity: Severity,
    /// Where: a Dockerfile, an image, a container, the engine.
    pub target: String,
    /// The line of a Dockerfile, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What shows it.
    pub evidence: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Finding {
    /// A finding of a rule.
    #[must_use]
    pub fn new(rule: impl Into<RuleName>, target: &str, line: Option<usize>, evidence: &str) -> Self {
        let rule = rule.into();
        let about = rule.about();
        let (target, evidence) = (fit(target, TEXT_CHARS), fit(evidence, TEXT_CHARS));
        Self { rule, severity: about.severity, target, line, evidence, remedy: about.remedy }
    }
}
