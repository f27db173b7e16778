//! `audit`: findings of a Dockerfile, an image or this host, for people, programs and forges; what a rule means; the lines without what was found.

mod host;
mod image;
mod sarif;

use crate::order::sort_by_key;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::out::{self, Cell, Colour, Table};
use super::{NO, UNKNOWN, YES};
use crate::engine::Engine;
use crate::hardening::archive::Contents;
use crate::hardening::dockerfile::{self, Change, DOCKERFILE_BYTES};
use crate::hardening::{self, Finding, RuleName, Severity};
use crate::image::ImageName;
use crate::policy::Settings;
use crate::text::clean;

/// Say what is weak about a Dockerfile, an image or this host: findings by rule id, with remedies.
#[derive(Args)]
#[command(after_help = "Exit code 0: no finding from --fail-on up; 2: there are some; 1: could not tell.\n\n\
    Examples: img-authz audit Dockerfile\n          img-authz audit registry.example/app:1.0\n          img-authz audit host --fix\n          img-authz audit --explain user-root")]
pub(super) struct AuditArgs {
    /// A Dockerfile, an image's archive (docker save), the name of an image on the engine, or `host`
    #[arg(required_unless_present = "explain")]
    target: Option<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// Print SARIF 2.1.0, as forges show it
    #[arg(long)]
    sarif: bool,
    /// Print the lines, flags and settings that would close findings; nothing is written
    #[arg(long, conflicts_with = "sarif")]
    fix: bool,
    /// Exit with 2 from this severity up: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITY", default_value = "medium", value_parser = severity)]
    fail_on: Severity,
    /// Say what a rule means, by any of its names (user-root, CIS-4.1, DL3002)
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
}

fn severity(text: &str) -> Result<Severity, String> {
    let names = Severity::ALL.map(Severity::as_str).join(", ");
    Severity::ALL.into_iter().find(|severity| severity.as_str() == text).ok_or_else(|| format!("not one of {names}"))
}

/// What an audit came to.
#[derive(Serialize)]
struct Report {
    target: String,
    findings: Vec<Finding>,
    /// What could not be looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
    /// Lines of a Dockerfile that would change.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<Change>>,
    /// What would close findings of a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<HostFix>,
}

/// Members for daemon.json; of each container, flags to add and what to leave out.
#[derive(Serialize)]
struct HostFix {
    daemon_json: serde_json::Map<String, serde_json::Value>,
    containers: Vec<(String, Vec<&'static str>, Vec<&'static str>)>,
}

pub(super) fn run(arguments: &AuditArgs, settings: &Settings) -> ExitCode {
    if let Some(name) = &arguments.explain {
        return explain(name, arguments.json);
    }
    let target = arguments.target.as_deref().unwrap_or_default();
    let mut report = match look(target, arguments.fix, settings) {
        Ok(report) => report,
        Err(why) => {
            out::fault(&why);
            return ExitCode::from(UNKNOWN);
        }
    };
    sort_by_key(&mut report.findings, |finding| std::cmp::Reverse(finding.severity));
    if arguments.json {
        out::json(&report);
    } else if arguments.sarif {
        out::json(&sarif::of(&report.findings));
    } else if let Some(fix) = &report.settings {
        show_host_fix(fix);
    } else if let Some(changes) = &report.changes {
        show_changes(&report.target, changes);
    } else {
        show(&report);
    }
    for unread in &report.unread {
        out::fault(unread);
    }
    ExitCode::from(code(&report, arguments.fail_on))
}

fn code(report: &Report, fail_on: Severity) -> u8 {
    if report.findings.iter().any(|finding| finding.severity >= fail_on) {
        NO
    } else if report.unread.is_empty() {
        YES
    } else {
        UNKNOWN
    }
}

fn look(target: &str, fix: bool, settings: &Settings) -> Result<Report, String> {
    let path = Path::new(target);
    let shown = clean(target);
    let is_path = target.starts_with(['/', '.']) || target.ends_with("ockerfile");
    let image = |contents: Contents| {
        let name = ImageName::parse(target).ok().filter(|_| !path.is_file());
        let findings = hardening::image::audit(&contents, target, name.as_ref(), crate::clock::now());
        let unread = contents.unread.iter().map(|why| format!("`{shown}`, {why}")).collect();
        Report { target: target.to_owned(), findings, unread, changes: None, settings: None }
    };
    if target == "host" {
        let (findings, unread) = with_engine(settings, async |engine| host::look(engine, settings).await)?;
        let settings = fix.then(|| host_fix(&findings));
        return Ok(Report { target: target.to_owned(), findings, unread, changes: None, settings });
    }
    if !is_path && !path.is_file() {
        let contents = with_engine(settings, async |engine| image::of_engine(engine, target).await);
        return contents.map(image).map_err(|why| format!("`{shown}`: {why}"));
    }
    match begin_of(path) {
        Ok(true) => image::of_file(path).map(image).map_err(|why| format!("`{shown}`: {why}")),
        Ok(false) => dockerfile(target, fix),
        Err(error) => Err(format!("`{shown}`: {error}")),
    }
}

/// Whether a file begins as an archive does.
fn begin_of(path: &Path) -> std::io::Result<bool> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut begin = Vec::new();
    std::fs::File::open(path)?.take(512).read_to_end(&mut begin)?;
    Ok(hardening::archive::is_archive(&begin))
}

/// Asks the engine, on a runtime of its own.
fn with_engine<T>(settings: &Settings, ask: impl AsyncFnOnce(&Engine) -> Result<T, String>) -> Result<T, String> {
    let engine = Engine::at(settings.docker_host()).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let answer = runtime.block_on(ask(&engine));
    runtime.shutdown_background();
    answer
}

fn dockerfile(target: &str, fix: bool) -> Result<Report, String> {
    let shown = clean(target);
    let bytes = crate::files::read_bytes(Path::new(target), DOCKERFILE_BYTES).map_err(|error| format!("`{shown}`: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let audited = dockerfile::audit(&text, target);
    let changes = fix.then(|| dockerfile::fixed(&text, &audited.findings));
    let unread = audited.faults.iter().map(|fault| format!("`{shown}`, line {}: {}", fault.line, fault.what)).collect();
    Ok(Report { target: target.to_owned(), findings: audited.findings, unread, changes, settings: None })
}

const fn colour(severity: Severity) -> Colour {
    match severity {
        Severity::Critical | Severity::High => Colour::Red,
        Severity::Medium => Colour::Yellow,
        Severity::Low | Severity::Info => Colour::None,
    }
}

fn place(finding: &Finding) -> String {
    finding.line.map_or_else(|| finding.target.clone(), |line| format!("{}:{line}", finding.target))
}

fn show(report: &Report) {
    if report.findings.is_empty() {
        if report.unread.is_empty() {
            out::line(&format!("{}: nothing found", clean(&report.target)));
        }
        return;
    }
    let mut table = Table::new(["SEVERITY", "RULE", "WHERE", "EVIDENCE"]);
    for finding in &report.findings {
        table.row([
            Cell::new(finding.severity.as_str(), colour(finding.severity)),
            finding.rule.about().id.into(),
            place(finding).into(),
            finding.evidence.as_str().into(),
        ]);
    }
    table.print();
    out::line("\nWhat each means and what to do: img-authz audit --explain RULE");
}

fn show_changes(target: &str, changes: &[Change]) {
    for change in changes {
        out::line(&format!("{}:{}", clean(target), change.line));
        for (mark, lines, colour) in [('-', &change.old, Colour::Red), ('+', &change.new, Colour::Green)] {
            for line in lines {
                out::line(&out::paint(&format!("{mark} {}", crate::text::escaped(line)), colour));
            }
        }
    }
    if changes.is_empty() {
        out::line(&format!("{}: no line would change", clean(target)));
    }
}

fn host_fix(findings: &[Finding]) -> HostFix {
    let mut targets: Vec<&str> = findings.iter().map(|finding| finding.target.as_str()).collect();
    targets.retain(|target| target.starts_with("container "));
    targets.sort_unstable();
    targets.dedup();
    let of = |target: &str| {
        let own: Vec<&Finding> = findings.iter().filter(|finding| finding.target == target).collect();
        let (add, leave) = hardening::host::run_fix(&own);
        (target.to_owned(), add, leave)
    };
    HostFix { daemon_json: hardening::host::daemon_fix(findings), containers: targets.into_iter().map(of).collect() }
}

fn show_host_fix(fix: &HostFix) {
    if !fix.daemon_json.is_empty() {
        out::line("daemon.json: add these, then dockerd --validate, and restart the engine");
        out::json(&fix.daemon_json);
    }
    for (target, add, leave) in &fix.containers {
        out::line(&format!("{}: docker run {}", clean(target), add.join(" ")));
        for remedy in leave {
            out::line(&format!("    {remedy}"));
        }
    }
}

fn explain(name: &str, json: bool) -> ExitCode {
    let Some(rule) = RuleName::named(name) else {
        let near = RuleName::all().map(|rule| rule.about().id).min_by_key(|id| crate::text::distance(id, name));
        out::fault(&format!("no rule is called `{}`; perhaps `{}`", clean(name), near.unwrap_or_default()));
        return ExitCode::from(UNKNOWN);
    };
    let about = rule.about();
    if json {
        out::json(&serde_json::json!({
            "rule": about.id, "severity": about.severity, "also_called": about.refs, "looked_at": about.at,
            "finds": about.finds, "means": about.means, "remedy": about.remedy,
        }));
        return ExitCode::from(YES);
    }
    let also = if about.refs.is_empty() { String::new() } else { format!("; also called {}", about.refs.join(", ")) };
    out::line(&format!(
        "{} ({}, looked for in {}{also})\n\nFinds: {}\nMeans: {}\nDo:    {}",
        about.id,
        about.severity.as_str(),
        about.at,
        about.finds,
        about.means,
        about.remedy
    ));
    ExitCode::from(YES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ImageRuleId;

    #[test]
    fn only_a_finding_from_the_severity_up_makes_the_exit_code_a_no() {
        let report = |rule: ImageRuleId, unread: &[&str]| Report {
            target: "x".into(),
            findings: vec![Finding::new(rule, "x", None, "")],
            unread: unread.iter().map(|text| (*text).to_owned()).collect(),
            changes: None,
            settings: None,
        };
        let low = report(ImageRuleId::Healthcheck, &[]);
        assert_eq!([Severity::Low, Severity::Medium].map(|from| code(&low, from)), [NO, YES]);
        let unread = report(ImageRuleId::Healthcheck, &["line 3"]);
        assert_eq!([Severity::Low, Severity::Medium].map(|from| code(&unread, from)), [NO, UNKNOWN]);
        assert!(severity("high") == Ok(Severity::High) && severity("HIGH").is_err());
    }
}
