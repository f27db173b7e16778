//! Findings as SARIF 2.1.0 (OASIS), as forges show them beside the code.

use serde_json::{Value, json};

use crate::hardening::{Finding, RuleName, Severity};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// One run, with the rules that it has findings of.
pub(super) fn of(findings: &[Finding]) -> Value {
    let mut rules: Vec<RuleName> = findings.iter().map(|finding| finding.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    let results = findings.iter().map(|finding| result(finding, rules.binary_search(&finding.rule).unwrap_or_default()));
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "img-authz",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().copied().map(rule).collect::<Vec<_>>(),
            } },
            "results": results.collect::<Vec<_>>(),
        }],
    })
}

fn rule(name: RuleName) -> Value {
    let about = name.about();
    json!({
        "id": about.id,
        "shortDescription": { "text": about.finds },
        "fullDescription": { "text": about.means },
        "help": { "text": about.remedy },
        "defaultConfiguration": { "level": level(about.severity) },
        "properties": { "security-severity": score(about.severity), "tags": about.refs },
    })
}

fn result(finding: &Finding, index: usize) -> Value {
    json!({
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": level(finding.severity),
        "message": { "text": format!("{}: {}; {}", finding.target, finding.evidence, finding.remedy) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&finding.target) },
            "region": { "startLine": finding.line.unwrap_or(1) },
        } }],
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// As forges sort by: a number between 0 and 10.
const fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.5",
        Severity::Info => "0.5",
    }
}

/// A path or a name as a relative reference.
fn uri(target: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/');
    let target = target.strip_prefix("./").unwrap_or(target);
    target.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardening::OwnRule;
    use crate::policy::ImageRuleId;

    /// What the schema requires of each object, and what it lets a member be.
    #[test]
    fn every_member_that_the_schema_requires_is_there() {
        let findings = [
            Finding::new(ImageRuleId::UserRoot, "./a b/Dockerfile", Some(3), "x"),
            Finding::new(OwnRule::CopyAll, "Dockerfile", Some(7), "y"),
            Finding::new(ImageRuleId::UserRoot, "r.example/a:1", None, "z"),
        ];
        let log = of(&findings);
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let driver = &run["tool"]["driver"];
        assert_eq!(driver["name"], "img-authz");
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 3);
        for result in results {
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            assert!(["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
            let rule = &driver["rules"][usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert_eq!(rule["id"], result["ruleId"]);
            for text in ["shortDescription", "fullDescription", "help"] {
                assert!(rule[text]["text"].is_string(), "{text}");
            }
            let place = &result["locations"][0]["physicalLocation"];
            assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
            assert!(place["artifactLocation"]["uri"].is_string());
        }
        assert_eq!(results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "a%20b/Dockerfile");
        assert!(of(&[])["runs"][0]["results"].as_array().unwrap().is_empty());
    }
}
