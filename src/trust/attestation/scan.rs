//! What a scanner found in an image: cosign's report of a scan, with the result of Trivy or Grype in it.
//!
//! What cannot be read as a finding is not "nothing found": a result of another form is refused where somebody asks for its severities.

use crate::order::sort_by_key;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::statement;
use super::terms::ScanTerms;
use crate::image::Digest;
use crate::text::{clean, fit, stands_for};
use crate::trust::object::{self, Object};
use crate::trust::stated::{Facts, Findings, Severity};

/// Most findings that are named.
const LISTED: usize = 64;
/// Longest id of one. CVE-2026-12345678 has 17.
const ID_CHARS: usize = 64;
/// How far a scanner's clock may be ahead of ours.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// Before this nobody scanned: cosign writes the year 1 where it is told nothing.
const FIRST: i64 = 946_684_800;

#[derive(Deserialize)]
struct Predicate {
    scanner: Object<Scanner>,
    metadata: Object<Metadata>,
}

#[derive(Deserialize)]
struct Scanner {
    uri: String,
    result: Option<Object<Report>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    scan_started_on: Option<String>,
    scan_finished_on: Option<String>,
}

/// A result, by Trivy or by Grype.
#[derive(Deserialize)]
struct Report {
    #[serde(rename = "SchemaVersion")]
    schema: Option<IgnoredAny>,
    #[serde(rename = "CreatedAt")]
    created: Option<String>,
    #[serde(rename = "Results")]
    results: Option<Vec<Object<Target>>>,
    matches: Option<Vec<Object<Match>>>,
    #[serde(rename = "Metadata")]
    metadata: Option<Object<OfImage>>,
}

/// Which image Trivy looked at.
#[derive(Deserialize)]
struct OfImage {
    #[serde(rename = "ImageID")]
    id: Option<String>,
    #[serde(rename = "RepoDigests")]
    digests: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "Vulnerabilities")]
    vulnerabilities: Option<Vec<Object<OfTrivy>>>,
}

#[derive(Deserialize)]
struct OfTrivy {
    #[serde(rename = "VulnerabilityID")]
    id: String,
    #[serde(rename = "Severity")]
    severity: Option<String>,
}

#[derive(Deserialize)]
struct Match {
    vulnerability: Object<OfGrype>,
}

#[derive(Deserialize)]
struct OfGrype {
    id: String,
    severity: Option<String>,
}

/// A report that was read.
#[derive(Debug)]
pub(super) struct Scan {
    scanner: String,
    pub(super) at: Timestamp,
    /// What was found; `None`: nobody can tell from this.
    found: Option<Vec<(Severity, String)>>,
}

impl Scan {
    /// What a statement says. `now`: nobody has scanned later.
    pub(super) fn of_statement(statement: &[u8], now: Timestamp) -> Result<Self, String> {
        let Predicate { scanner: Object(scanner), metadata: Object(metadata) } = statement::predicate(statement)?;
        let time = |written: Option<String>| {
            let time: Timestamp = written?.parse().ok()?;
            (time.as_second() >= FIRST).then_some(time)
        };
        let at = time(metadata.scan_finished_on).or_else(|| time(metadata.scan_started_on));
        let at = at.ok_or("it does not say when the scan was")?;
        let found = scanner.result.and_then(|Object(report)| report.findings());
        Self { scanner: scanner.uri, at, found }.not_after(now)
    }

    /// What a file of Trivy's or Grype's says, for which `at` is taken where it does not say when that was; and which image it is of, by the
    /// digests and the id that it names.
    pub(super) fn of_file(text: &[u8], at: Timestamp) -> Result<(Self, Vec<Digest>), String> {
        let report: Report = object::read(text)?;
        let scanner = if report.matches.is_some() { "grype" } else { "trivy" };
        let created = report.created.as_deref().and_then(|created| created.parse().ok());
        let images = report.images();
        let found = report.findings().ok_or("it is not a report of Trivy or Grype in JSON")?;
        let scan = Self { scanner: scanner.to_owned(), at: created.unwrap_or(at), found: Some(found) };
        Ok((scan.not_after(at)?, images))
    }

    fn not_after(self, now: Timestamp) -> Result<Self, String> {
        if self.at.duration_since(now) > AHEAD {
            return Err(format!("its scan is said to be of {}, which is still to come", self.at));
        }
        Ok(self)
    }

    /// Whether it is by a scanner that counts.
    pub(super) fn is_by(&self, terms: &ScanTerms) -> bool {
        terms.scanner.is_empty() || terms.scanner.iter().any(|pattern| stands_for(pattern, &self.scanner))
    }

    /// What of the terms it does not keep, but its age.
    pub(super) fn breaks(&self, terms: &ScanTerms) -> Option<String> {
        // Also where only rules in Rego look at what was found: nothing would be found in it.
        let Some(found) = &self.found else {
            return Some("its result is not in Trivy's or Grype's form, so that its severities are not known".to_owned());
        };
        let severity = terms.severity?;
        let counts = |(of, id): &&(Severity, String)| *of >= severity && !terms.except.contains(id);
        let mut bad: Vec<&(Severity, String)> = found.iter().filter(counts).collect();
        sort_by_key(&mut bad, |(of, _)| std::cmp::Reverse(*of));
        bad.dedup_by(|one, other| one.1 == other.1);
        let (worst, id) = bad.first()?;
        let more = if bad.len() > 1 { format!(" and {} more", bad.len() - 1) } else { String::new() };
        Some(format!("the scan found `{}` ({worst}){more}, and nothing from `{severity}` on may be found", clean(id)))
    }

    pub(super) fn findings(&self) -> Findings {
        let mut counted = BTreeMap::new();
        let mut all: Vec<&(Severity, String)> = self.found.iter().flatten().collect();
        for (severity, _) in &all {
            *counted.entry(*severity).or_default() += 1;
        }
        sort_by_key(&mut all, |(severity, _)| std::cmp::Reverse(*severity));
        let mut worst: Vec<String> = Vec::new();
        for (_, id) in all {
            let id = fit(id, ID_CHARS);
            if worst.len() < LISTED && !worst.contains(&id) {
                worst.push(id);
            }
        }
        Findings { scanner: clean(&self.scanner), at: self.at, found: counted, worst }
    }

    pub(super) fn facts(&self) -> Facts {
        Facts::Scan(self.findings())
    }
}

impl Report {
    fn images(&self) -> Vec<Digest> {
        let Some(Object(named)) = &self.metadata else { return Vec::new() };
        let digests = named.digests.iter().flatten().filter_map(|written| written.rsplit_once('@').map(|(_, digest)| digest));
        digests.chain(named.id.as_deref()).filter_map(|digest| digest.parse().ok()).collect()
    }

    fn findings(self) -> Option<Vec<(Severity, String)>> {
        match (self.schema.is_some() || self.results.is_some(), self.matches) {
            (true, None) => {
                let targets = self.results.into_iter().flatten();
                let found = targets.flat_map(|Object(target)| target.vulnerabilities.into_iter().flatten());
                Some(found.map(|Object(found)| (Severity::of(found.severity.as_deref()), found.id)).collect())
            }
            (false, Some(matches)) => {
                let found = matches.into_iter().map(|Object(Match { vulnerability: Object(found) })| found);
                Some(found.map(|found| (Severity::of(found.severity.as_deref()), found.id)).collect())
            }
            // Neither, or both at once.
            (_, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-30T12:00:00Z".parse().unwrap()
    }

    fn statement(result: &str, finished: &str) -> String {
        format!(
            r#"{{"predicate":{{"invocation":{{"uri":""}},"scanner":{{"uri":"pkg:github/aquasecurity/trivy@0.57","version":"0.57","db":{{}},"result":{result}}},"metadata":{{"scanStartedOn":"2026-11-30T10:00:00Z","scanFinishedOn":"{finished}"}}}}}}"#
        )
    }

    fn scan(result: &str) -> Scan {
        Scan::of_statement(statement(result, "2026-11-30T11:00:00Z").as_bytes(), now()).unwrap()
    }

    fn trivy(findings: &[(&str, &str)]) -> String {
        let of = |(id, severity): &(&str, &str)| format!(r#"{{"VulnerabilityID":"{id}","PkgName":"x","Severity":"{severity}"}}"#);
        let found: Vec<String> = findings.iter().map(of).collect();
        format!(
            r#"{{"SchemaVersion":2,"Results":[{{"Target":"a","Class":"os-pkgs"}},{{"Target":"b","Vulnerabilities":[{}]}}]}}"#,
            found.join(",")
        )
    }

    fn grype(findings: &[(&str, &str)]) -> String {
        let of = |(id, severity): &(&str, &str)| {
            format!(r#"{{"vulnerability":{{"id":"{id}","severity":"{severity}"}},"artifact":{{}}}}"#)
        };
        let found: Vec<String> = findings.iter().map(of).collect();
        format!(r#"{{"matches":[{}],"source":{{}}}}"#, found.join(","))
    }

    #[test]
    fn nothing_at_or_above_a_severity_but_what_is_listed() {
        let found = [("CVE-1", "LOW"), ("CVE-2", "High"), ("CVE-3", "UNKNOWN"), ("CVE-2", "HIGH")];
        for result in [trivy(&found), grype(&found)] {
            let breaks = |severity, except: &[&str]| {
                let except = except.iter().map(|id| (*id).to_owned()).collect();
                scan(&result).breaks(&ScanTerms { severity, except, ..ScanTerms::default() })
            };
            for (severity, except, is_broken) in [
                (None, &[][..], false),
                (Some(Severity::Critical), &[][..], false),
                (Some(Severity::High), &[][..], true),
                (Some(Severity::High), &["CVE-2"][..], false),
                (Some(Severity::High), &["CVE-1", "cve-2"][..], true),
                (Some(Severity::Low), &["CVE-2"][..], true),
                (Some(Severity::Low), &["CVE-2", "CVE-1"][..], false),
                (Some(Severity::Unknown), &["CVE-2", "CVE-1"][..], true),
            ] {
                assert_eq!(breaks(severity, except).is_some(), is_broken, "{severity:?} {except:?}");
            }
            assert!(breaks(Some(Severity::Low), &[]).unwrap().contains("`CVE-2` (high) and 1 more"));
            let findings = scan(&result).findings();
            assert_eq!(findings.found, BTreeMap::from([(Severity::Low, 1), (Severity::High, 2), (Severity::Unknown, 1)]));
            assert_eq!(findings.worst, ["CVE-2", "CVE-1", "CVE-3"]);
        }
    }

    #[test]
    fn a_severity_that_nobody_knows_is_the_worst_and_a_result_that_nobody_can_read_is_not_clean() {
        let strict = ScanTerms { severity: Some(Severity::Critical), ..ScanTerms::default() };
        for bad in [
            trivy(&[("CVE-1", "SEVERE")]),
            trivy(&[("CVE-1", "")]),
            r#"{"Results":[{"Vulnerabilities":[{"VulnerabilityID":"CVE-1"}]}]}"#.to_owned(),
            "{}".to_owned(),
            "null".to_owned(),
            r#"{"runs":[]}"#.to_owned(),
            r#"{"SchemaVersion":2,"matches":[]}"#.to_owned(),
        ] {
            assert!(scan(&bad).breaks(&strict).is_some(), "{bad}");
            // What cannot be read is not for rules in Rego either, which would find nothing in it.
            assert_eq!(scan(&bad).breaks(&ScanTerms::default()).is_some(), scan(&bad).found.is_none(), "{bad}");
        }
        for clean in [r#"{"SchemaVersion":2}"#, r#"{"SchemaVersion":2,"Results":null}"#, r#"{"matches":[]}"#] {
            assert_eq!(scan(clean).breaks(&strict), None, "{clean}");
        }
        for unreadable in
            ["[]", "7", r#"{"Results":{}}"#, r#"{"Results":[[]]}"#, r#"{"Results":[{"Vulnerabilities":[{"Severity":"LOW"}]}]}"#]
        {
            assert!(Scan::of_statement(statement(unreadable, "2026-11-30T11:00:00Z").as_bytes(), now()).is_err(), "{unreadable}");
        }
    }

    #[test]
    fn a_report_is_of_a_time_and_not_of_one_to_come() {
        let at = |finished: &str| Scan::of_statement(statement("{}", finished).as_bytes(), now()).map(|scan| scan.at.to_string());
        for (finished, expected) in [
            ("2026-11-30T11:00:00Z", "2026-11-30T11:00:00Z"),
            ("2026-11-30T12:00:00+01:00", "2026-11-30T11:00:00Z"),
            ("2026-11-30T12:04:00Z", "2026-11-30T12:04:00Z"),
            // The begin, where there is no end.
            ("0001-01-01T00:00:00Z", "2026-11-30T10:00:00Z"),
            ("yesterday", "2026-11-30T10:00:00Z"),
        ] {
            assert_eq!(at(finished).as_deref(), Ok(expected), "{finished}");
        }
        assert!(at("2026-11-30T12:06:00Z").is_err());
        let none = statement("{}", "").replace("2026-11-30T10:00:00Z", "");
        assert!(Scan::of_statement(none.as_bytes(), now()).is_err());
    }

    #[test]
    fn only_reports_of_a_scanner_that_counts_are_taken() {
        let by = |patterns: &[&str]| {
            let scanner = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            scan("{}").is_by(&ScanTerms { scanner, ..ScanTerms::default() })
        };
        assert!(by(&[]) && by(&["pkg:github/aquasecurity/trivy@*"]) && by(&["x", "*trivy*"]));
        assert!(!by(&["pkg:github/aquasecurity/trivy"]) && !by(&["*grype*"]));
    }

    #[test]
    fn a_file_of_a_scanner_is_read_as_it_is() {
        let text = trivy(&[("CVE-1", "HIGH")]).replacen('{', r#"{"CreatedAt":"2026-11-29T12:00:00.5Z","#, 1);
        let (found, images) = Scan::of_file(text.as_bytes(), now()).unwrap();
        assert_eq!(images, []);
        assert_eq!((found.scanner.as_str(), found.at), ("trivy", "2026-11-29T12:00:00.5Z".parse().unwrap()));
        assert_eq!(Scan::of_file(grype(&[]).as_bytes(), now()).unwrap().0.at, now());
        let digest = Digest::of(b"x");
        let named = format!(
            r#"{{"SchemaVersion":2,"Metadata":{{"RepoDigests":["r.example/app@{digest}","odd"],"ImageID":"{digest}"}}}}"#
        );
        assert_eq!(Scan::of_file(named.as_bytes(), now()).unwrap().1, [digest, digest]);
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"SchemaVersion":2,"schemaversion":2}"#,
            r#"{"SchemaVersion":2,"CreatedAt":"2027-01-01T00:00:00Z"}"#,
        ] {
            assert!(Scan::of_file(bad.as_bytes(), now()).is_err(), "{bad}");
        }
    }
}
