//! The documentation is complete and true: what the code can say is explained, and what is explained can be said.
//!
//! The code has no list of its refusals, so they are read from the two functions that name them.

use std::collections::BTreeSet;

use img_authz::policy::{MESSAGE_CHARS, VARIABLES};

const REASON: &str = include_str!("../../src/policy/reason.rs");
const VOUCH: &str = include_str!("../../src/trust/vouch.rs");
const ENTRY: &str = include_str!("../../src/audit/entry.rs");
const DESCRIBE: &str = include_str!("../../src/request/describe.rs");
const REASONS: &str = include_str!("../../docs/reasons.md");
const SETTINGS: &str = include_str!("../../docs/settings.md");
const AUDIT_LOG: &str = include_str!("../../docs/audit-log.md");
const README: &str = include_str!("../../README.md");
const PLUGIN: &str = include_str!("../../plugin/config.json");

/// The text of a function, from its signature to the closing brace in the same column.
fn body<'a>(source: &'a str, signature: &str) -> &'a str {
    let start = source.find(signature).unwrap_or_else(|| panic!("no `{signature}`"));
    let indent = source[..start].len() - source[..start].trim_end_matches(' ').len();
    let end = source[start..].find(&format!("\n{}}}", " ".repeat(indent))).unwrap_or_else(|| panic!("`{signature}` has no end"));
    &source[start..start + end]
}

/// The string literals in a piece of source that holds no escapes inside them.
fn literals(source: &str) -> BTreeSet<&str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
}

fn codes() -> BTreeSet<&'static str> {
    let codes: BTreeSet<_> =
        literals(body(REASON, "fn code(&self)")).union(&literals(body(VOUCH, "fn as_str(self)"))).copied().collect();
    assert!(codes.len() > 30, "the codes are not where they were: {codes:?}");
    codes
}

#[test]
fn every_refusal_is_explained_and_no_other() {
    let explained: BTreeSet<_> = REASONS.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(codes(), explained);
    for code in explained {
        assert_eq!(REASONS.matches(&format!("`{code}`")).count().min(1), 1, "`{code}` is not in the table");
    }
}

#[test]
fn every_refusal_has_an_example_that_the_gate_could_say() {
    let remedies: BTreeSet<_> =
        literals(body(REASON, "fn remedy(&self)")).union(&literals(body(REASON, "fn trust_remedy("))).copied().collect();
    for section in REASONS.split("\n### ").skip(1) {
        let code = section.lines().next().unwrap();
        let examples: Vec<_> = section.lines().filter(|line| line.starts_with(&format!("{code}: "))).collect();
        assert!(!examples.is_empty(), "{code}: no example");
        for example in examples {
            assert!(example.chars().count() <= MESSAGE_CHARS, "{example}");
            assert!(remedies.iter().any(|remedy| example.ends_with(&format!("; {remedy}"))), "no such remedy: {example}");
        }
    }
}

#[test]
fn every_setting_is_explained_and_can_be_set() {
    for name in VARIABLES {
        assert!(SETTINGS.contains(&format!("\n## {name}\n")), "docs/settings.md: {name}");
        assert!(README.contains(&format!("\n| `{name}` | ")), "README.md: {name}");
        assert!(PLUGIN.contains(&format!("{{\"name\": \"{name}\", ")), "plugin/config.json: {name}");
    }
}

#[test]
fn every_way_to_the_host_is_explained() {
    for id in img_authz::request::Door::IDS {
        assert!(SETTINGS.contains(&format!("`{id}`")), "docs/settings.md: {id}");
    }
}

#[test]
fn every_event_field_and_action_of_the_audit_log_is_explained() {
    let events = body(ENTRY, "pub enum Event").lines().map(|line| line.trim().trim_end_matches(','));
    let events = events.filter(|line| line.starts_with(char::is_uppercase)).map(str::to_uppercase);
    let fields = body(ENTRY, "pub struct Entry").lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": "));
    let fields = fields.map(|(field, _)| field.to_owned());
    let actions = literals(body(DESCRIBE, "fn action(&self)")).into_iter().map(str::to_owned);
    let all: Vec<String> = events.chain(fields).chain(actions).collect();
    assert!(all.len() > 40, "they are not where they were: {all:?}");
    for word in all {
        assert!(AUDIT_LOG.contains(&format!("`{word}`")), "docs/audit-log.md: {word}");
    }
}
