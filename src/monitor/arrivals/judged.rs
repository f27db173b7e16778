//! How much of an image is judged, and what comes of it. Who makes an image chooses what it carries: bytes bound what judging it costs, and what
//! is left out is told.

use crate::order::sort_by_key;
use jiff::Timestamp;

use crate::engine::EngineError;
use crate::hardening::{self, Finding};
use crate::image::{ImageConfig, ImageName};
use crate::text::fit;

/// What of an image is judged. Honest ones have less; more would let who made it choose how long this thread works.
const LABELS: usize = 256;
const VARIABLES: usize = 256;
const PORTS: usize = 256;
const LINES: usize = 512;
const WORDS: usize = 64;
const HISTORY_BYTES: usize = 128 << 10;
/// Longest name of a label, and value of a label or a variable, bytes; and all of them together.
const NAME_BYTES: usize = 256;
const VALUE_BYTES: usize = 4096;
const CONFIG_BYTES: usize = 128 << 10;
/// Longest other text, bytes: a port, a user, a word of the health check.
const WORD_BYTES: usize = 256;
/// Longest reason, characters.
const REASON_CHARS: usize = 160;

/// What an audit came to: findings, the worst first, and what was not looked at.
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) unread: Option<String>,
}

impl Report {
    /// Of one that cannot be looked at.
    pub(super) fn unread(why: &str) -> Self {
        Self { findings: Vec::new(), unread: Some(fit(why, REASON_CHARS)) }
    }

    /// The same, as the engine has it.
    pub(super) fn failed(error: &EngineError) -> Self {
        Self::unread(&error.to_string())
    }

    /// The rules that are not kept, the worst first.
    pub(super) fn rules(&self) -> Vec<&'static str> {
        let mut rules: Vec<&'static str> = self.findings.iter().map(|finding| finding.rule.about().id).collect();
        rules.dedup();
        rules
    }
}

/// Judges as much of an image as is read.
pub(super) fn judge(mut config: ImageConfig, name: &str, now: Timestamp) -> Report {
    let unread = cut(&mut config);
    let mut findings = hardening::image::of_config(&config, name, ImageName::parse(name).ok().as_ref(), now);
    sort_by_key(&mut findings, |finding| (std::cmp::Reverse(finding.severity), finding.rule));
    Report { findings, unread: (!unread.is_empty()).then(|| unread.join(", ")) }
}

/// Leaves out what is too much, and says what.
fn cut(config: &mut ImageConfig) -> Vec<String> {
    let mut unread = Vec::new();
    let mut told = |count: usize, kept: usize, what: &str| {
        if kept < count {
            unread.push(format!("{} of its {count} {what}", count - kept));
        }
    };
    let (mut bytes, mut shortened) = (0, 0);
    let labels = std::mem::take(&mut config.labels);
    let count = labels.len();
    for (name, mut value) in labels {
        // One that is too long is left out alone: the next may be short.
        if config.labels.len() < LABELS
            && name.len() <= NAME_BYTES
            && bytes + name.len() + value.len().min(VALUE_BYTES) <= CONFIG_BYTES
        {
            shortened += usize::from(shorten(&mut value, VALUE_BYTES));
            bytes += name.len() + value.len();
            config.labels.insert(name, value);
        }
    }
    told(count, config.labels.len(), "labels");
    let variables = std::mem::take(&mut config.env);
    let count = variables.len();
    // Labels leave them as much as they have themselves.
    bytes = 0;
    for mut variable in variables {
        let name = variable.find('=').unwrap_or(variable.len());
        if config.env.len() < VARIABLES && name <= NAME_BYTES && bytes + variable.len().min(VALUE_BYTES) <= CONFIG_BYTES {
            shortened += usize::from(shorten(&mut variable, VALUE_BYTES));
            bytes += variable.len();
            config.env.push(variable);
        }
    }
    told(count, config.env.len(), "variables");
    let count = config.ports.len();
    config.ports.retain(|port| port.len() <= WORD_BYTES);
    config.ports.truncate(PORTS);
    told(count, config.ports.len(), "ports");
    if let Some(history) = &mut config.history {
        let (count, mut bytes) = (history.len(), 0);
        let fit = history.iter().take(LINES).take_while(|line| {
            bytes += line.len();
            bytes <= HISTORY_BYTES
        });
        let fit = fit.count();
        history.truncate(fit);
        told(count, fit, "lines of its history");
    }
    if shortened > 0 {
        unread.push(format!("the ends of {shortened} long values"));
    }
    // What these say is in their beginning.
    shorten(&mut config.user, WORD_BYTES);
    config.healthcheck.truncate(WORDS);
    for word in &mut config.healthcheck {
        shorten(word, WORD_BYTES);
    }
    unread
}

/// Cuts a text. Whether it was longer.
fn shorten(text: &mut String, most: usize) -> bool {
    let is_longer = text.len() > most;
    if is_longer {
        text.truncate(text.floor_char_boundary(most));
    }
    is_longer
}
