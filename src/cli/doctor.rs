//! `doctor`: what it found, for people and for programs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::out::{self, Colour};
use super::{NO, UNKNOWN, YES};
use crate::doctor::{self, Finding, Severity, UNKNOWN_SETTINGS, many};
use crate::policy::Settings;
use crate::setup::Place;

/// Say whether this host is really protected: every finding with its remedy.
#[derive(Args)]
#[command(after_help = "Example: img-authz doctor --json")]
#[command(after_help = "Exit code 0: nothing critical and no warning; 2: there are some; 1: could not tell. Run it as root, on \
    the engine's host. PLUGIN names a plugin that is not called img-authz.\n\nExample: img-authz doctor")]
pub(super) struct DoctorArgs {
    /// The engine's daemon.json (default: the one dockerd was started with)
    #[arg(long, value_name = "PATH")]
    daemon_json: Option<PathBuf>,
    /// Print JSON: a list of findings, worst first
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &DoctorArgs, settings: Settings) -> ExitCode {
    let place = Place::find(settings);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            out::fault(&error.to_string());
            return ExitCode::from(UNKNOWN);
        }
    };
    let workers = runtime.handle().clone();
    let look = doctor::examine(arguments.daemon_json.as_deref(), &place, workers, &out::progress);
    let findings = runtime.block_on(look);
    // Nothing that still runs (a name lookup that hangs) holds up the answer.
    runtime.shutdown_background();
    if arguments.json {
        out::json(&findings);
    } else {
        out::print(&text(&findings));
    }
    ExitCode::from(code(&findings))
}

fn code(findings: &[Finding]) -> u8 {
    let worst = findings.iter().map(|finding| finding.severity).min();
    match worst {
        Some(Severity::Critical) => NO,
        // What was not found out may be as bad as it likes.
        Some(Severity::Warning) if findings.iter().any(|finding| finding.id == UNKNOWN_SETTINGS) => UNKNOWN,
        Some(Severity::Warning) => NO,
        Some(Severity::Info | Severity::Ok) | None => YES,
    }
}

/// For people: what is bad with its remedy, what is good on a line.
fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    let width = findings.iter().map(|finding| finding.id.len()).max().unwrap_or_default();
    for finding in findings {
        let (word, colour) = match finding.severity {
            Severity::Critical => ("CRITICAL", Colour::Red),
            Severity::Warning => ("WARNING ", Colour::Yellow),
            Severity::Info => ("info    ", Colour::None),
            Severity::Ok => ("ok      ", Colour::Green),
        };
        text.push_str(&format!("{}  {:width$}  {}\n", out::paint(word, colour), finding.id, finding.evidence));
        if !finding.remedy.is_empty() {
            text.push_str(&format!("{:10}{:width$}  → {}\n", "", "", finding.remedy));
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (critical, warnings) = (count(Severity::Critical), count(Severity::Warning));
    text.push_str(&match (critical, warnings) {
        (0, 0) => "\nThis host is protected as far as can be seen.\n".to_owned(),
        (0, warnings) => format!("\n{}: img-authz help ID explains each.\n", many(warnings, "warning")),
        (critical, warnings) => {
            format!(
                "\nThis host is not protected as it should be: {} critical, {}; img-authz help ID explains each.\n",
                critical,
                many(warnings, "warning")
            )
        }
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_critical_or_a_warning_makes_the_exit_code_a_no() {
        let of = |severity| code(&[Finding::new("x", severity, "", ""), Finding::ok("y", "")]);
        assert_eq!([Severity::Critical, Severity::Warning, Severity::Info, Severity::Ok].map(of), [NO, NO, YES, YES]);
        // Where the settings are not known, nothing else is a no but what is critical.
        let unknown = || Finding::warning(UNKNOWN_SETTINGS, "", "");
        assert_eq!(code(&[unknown(), Finding::ok("y", "")]), UNKNOWN);
        assert_eq!(code(&[unknown(), Finding::critical("x", "", "")]), NO);
    }

    #[test]
    fn findings_are_told_with_their_remedies_and_foreign_text_is_harmless() {
        let findings =
            [Finding::critical("not-in-chain", "a\u{1b}[31m\u{202e}b", "correct it"), Finding::ok("engine-version", "20.10.24")];
        let expected = "CRITICAL  not-in-chain    a\\u{1b}[31m\\u{202e}b\n                          → correct it\n\
                        ok        engine-version  20.10.24\n\n\
                        This host is not protected as it should be: 1 critical, 0 warnings; img-authz help ID explains each.\n";
        assert_eq!(text(&findings), expected);
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json[0]["severity"], "critical");
        assert_eq!(json[0]["remedy"], "correct it");
    }
}
