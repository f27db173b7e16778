//! `status`: how the gate that serves on this host is doing, by its own word.

mod view;
mod watch;

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::out::{self, Cell, Colour, Table};
use super::{NO, UNKNOWN, YES, state_of};
use crate::clock;
use crate::monitor::{Arrived, Picture};
use crate::policy::Settings;
use crate::service::{self, Severity, Snapshot, Unanswered, Verdict, distance};
use crate::setup::{self, Place};
use crate::text::{clean, fit};

/// Most rows of a table.
const ROWS: usize = 10;
/// Longest cell of a table, characters.
const CELL_CHARS: usize = 60;

/// Show how the gate of this host is doing: what it allowed and refused, what would be refused now, and what needs somebody.
#[derive(Args)]
#[command(
    after_help = "Exit code 0: nothing to see to; 2: something is; 1: could not tell (no gate serves, or it does not answer). Run it as \
    root, on the gate's host. PLUGIN names a plugin that is not called img-authz.\n\nExample: img-authz status\n\
    Example: img-authz status --watch\nExample: img-authz status --json"
)]
pub(super) struct StatusArgs {
    /// Print JSON: everything, as the gate says it
    #[arg(long)]
    json: bool,
    /// Show it live, until `q`
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

pub(super) fn run(arguments: &StatusArgs, settings: Settings) -> ExitCode {
    if arguments.watch && !(std::io::stdout().is_terminal() && std::io::stdin().is_terminal()) {
        out::fault("--watch needs a terminal; for programs there is --json");
        return ExitCode::from(UNKNOWN);
    }
    let asked = state_of(Place::find(settings)).and_then(|settings| {
        let state = settings.state_dir();
        let snapshot = ask(&state)?;
        if arguments.watch {
            watch::watch(&state)?;
        }
        Ok((snapshot, state))
    });
    let (snapshot, state) = match asked {
        Ok(asked) => asked,
        Err(why) => {
            out::fault(&why);
            return ExitCode::from(UNKNOWN);
        }
    };
    if arguments.watch {
        return ExitCode::from(YES);
    }
    if arguments.json {
        out::json(&snapshot);
    } else {
        out::print(&text(&snapshot, &state));
    }
    ExitCode::from(code(&snapshot))
}

/// Asks the gate of this state folder, or says what to do where none answers.
fn ask(state: &Path) -> Result<Snapshot, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(service::ask(state)).map_err(|error| told(state, &error))
}

/// Why nobody answers, and what to do.
fn told(state: &Path, error: &Unanswered) -> String {
    let (shown, what) = (clean(&state.display().to_string()), clean(&error.to_string()));
    match error {
        Unanswered::Nobody(_) if is_monitored(state) => format!(
            "no gate serves on this host, a monitor by itself does: `img-authz monitor status` shows what it finds (`{shown}`: {what})"
        ),
        Unanswered::Nobody(_) => format!(
            "`{shown}`: {what}; enable the plugin, or start `img-authz serve`; a gate of an earlier version has no `status`"
        ),
        Unanswered::Forbidden(_) => format!("`{shown}`: {what}; run this as root, on the gate's host"),
        Unanswered::Silent(_) => format!("`{shown}`: {what}; see the gate's log, and `img-authz doctor`"),
    }
}

/// Whether a monitor without a gate has looked not long ago.
fn is_monitored(state: &Path) -> bool {
    Picture::read(&state.join(setup::MONITOR)).is_ok_and(|picture| clock::now().duration_since(picture.told).as_secs() < 90)
}

fn code(snapshot: &Snapshot) -> u8 {
    match snapshot.worst() {
        Some(Severity::Critical | Severity::Warning) => NO,
        Some(Severity::Info) | None => YES,
    }
}

/// For people.
fn text(snapshot: &Snapshot, state: &Path) -> String {
    let now = snapshot.at;
    let mut text = String::new();
    let mut line = |name: &str, said: String| text.push_str(&format!("{name:9} {said}\n"));
    line(
        "gate",
        format!(
            "img-authz {}, up since {:.0}; mode {}, posture {}",
            clean(&snapshot.version),
            snapshot.started,
            clean(&snapshot.mode),
            clean(&snapshot.posture)
        ),
    );
    let would = match snapshot.decided.would_block {
        0 => String::new(),
        count => format!(", {count} would have been"),
    };
    line("calls", format!("{} allowed, {} blocked{would}, since the start", snapshot.decided.allowed, snapshot.decided.blocked));
    let read = snapshot.policy.read.map(|at| format!(", read {}", distance(at, now))).unwrap_or_default();
    line("policy", format!("{}{read}", clean(&snapshot.policy.place)));
    if let Some(host) = &snapshot.host {
        let refused = snapshot.refused().count();
        let left = if host.left > 0 { format!(", {} not judged", host.left) } else { String::new() };
        line(
            "images",
            format!(
                "{} of {} may run; {refused} images and containers would be refused now{left}",
                snapshot.allowed_images(),
                host.images.len()
            ),
        );
    }
    if let Some(running) = &snapshot.running {
        line("running", format!("{} containers, {} of them unapproved", running.count, running.unapproved));
    }
    if let Some(arrived) = &snapshot.arrived {
        line("arrived", arrivals(arrived));
    }
    if let Some(page) = &snapshot.page {
        line("page", format!("{}; its token: {}", clean(page), clean(&state.join(setup::WEB_TOKEN).display().to_string())));
    }
    troubles(&mut text, snapshot);
    unapproved(&mut text, snapshot);
    refused(&mut text, snapshot);
    arrived(&mut text, snapshot);
    trust(&mut text, snapshot);
    events(&mut text, snapshot);
    text
}

fn troubles(text: &mut String, snapshot: &Snapshot) {
    text.push('\n');
    if snapshot.worst().is_none_or(|worst| worst == Severity::Info) {
        text.push_str(&format!("{}\n", out::paint("Nothing to see to.", Colour::Green)));
    }
    for trouble in &snapshot.troubles {
        let (word, colour) = match trouble.severity {
            Severity::Critical => ("CRITICAL", Colour::Red),
            Severity::Warning => ("WARNING ", Colour::Yellow),
            Severity::Info => ("info    ", Colour::None),
        };
        let (evidence, remedy) = (fit(&trouble.evidence, 400), clean(&trouble.remedy));
        text.push_str(&format!("{}  {evidence}\n{:10}→ {remedy}\n", out::paint(word, colour), ""));
    }
}

/// A table under a title, with what was left out.
fn push<const N: usize>(text: &mut String, title: &str, table: &Table<N>, left: usize) {
    text.push_str(&format!("\n{title}\n{}", table.to_text()));
    if left > 0 {
        text.push_str(&format!("… and {left} more (--json)\n"));
    }
}

fn unapproved(text: &mut String, snapshot: &Snapshot) {
    let Some(running) = snapshot.running.as_ref().filter(|running| !running.findings.is_empty()) else { return };
    let mut table = Table::new(["CONTAINER", "IMAGE", "CODE", "WHAT IS DONE"]);
    for finding in running.findings.iter().take(ROWS) {
        table.row([
            Cell::new(fit(&finding.name, CELL_CHARS), Colour::Red),
            fit(&finding.image, CELL_CHARS).into(),
            clean(&finding.code).into(),
            finding.held.as_deref().map(clean).unwrap_or_default().into(),
        ]);
    }
    push(text, "Running unapproved", &table, running.unapproved.saturating_sub(ROWS));
}

fn refused(text: &mut String, snapshot: &Snapshot) {
    let all: Vec<_> = snapshot.refused().collect();
    if all.is_empty() {
        return;
    }
    let mut table = Table::new(["WOULD BE REFUSED", "VERDICT", "CODE"]);
    for item in all.iter().take(ROWS) {
        let colour = if item.verdict == Verdict::Refused { Colour::Red } else { Colour::Yellow };
        table.row([fit(&item.name, CELL_CHARS).into(), Cell::new(item.verdict.as_str(), colour), clean(&item.code).into()]);
    }
    push(text, "Refused now (img-authz check NAME says why)", &table, all.len().saturating_sub(ROWS));
}

/// How many images arrived, and how many of those are weak.
fn arrivals(arrived: &Arrived) -> String {
    let weak = arrived.images.iter().filter(|image| !image.weak.is_empty()).count();
    let mut told = format!("{} images audited since {:.0}, {weak} of them have weaknesses", arrived.images.len(), arrived.since);
    if arrived.waiting > 0 {
        told.push_str(&format!(", {} wait", arrived.waiting));
    }
    if arrived.left > 0 {
        told.push_str(&format!(", {} are too many and not audited", arrived.left));
    }
    if let Some(fault) = &arrived.fault {
        told.push_str(&format!("; images cannot be listed: {}", fit(fault, CELL_CHARS)));
    }
    told
}

fn arrived(text: &mut String, snapshot: &Snapshot) {
    let Some(arrived) = snapshot.arrived.as_ref().filter(|arrived| !arrived.images.is_empty()) else { return };
    let mut table = Table::new(["ARRIVED", "WHEN", "WORST", "WEAKNESSES"]);
    for image in arrived.images.iter().take(ROWS) {
        let colour = if image.is_bad() { Colour::Red } else { Colour::None };
        table.row([
            fit(&image.name, CELL_CHARS).into(),
            distance(image.at, snapshot.at).into(),
            Cell::new(clean(image.worst().unwrap_or("-")), colour),
            fit(&image.told(), CELL_CHARS).into(),
        ]);
    }
    let title = "What arrived (img-authz audit IMAGE says more, and looks into layers)";
    push(text, title, &table, arrived.images.len().saturating_sub(ROWS));
}

fn trust(text: &mut String, snapshot: &Snapshot) {
    let Some(host) = snapshot.host.as_ref().filter(|host| !host.trust.is_empty()) else { return };
    let mut table = Table::new(["REPOSITORY", "EXPIRES FIRST", "ROLE", "STATE"]);
    for one in host.trust.iter().take(ROWS) {
        let first = one.expires_first.as_ref();
        table.row([
            fit(&one.repository, CELL_CHARS).into(),
            first.map(|first| format!("{:.0}", first.at)).unwrap_or_default().into(),
            first.map(|first| clean(&first.role)).unwrap_or_default().into(),
            Cell::new(fit(&one.state, CELL_CHARS), if one.is_good { Colour::Green } else { Colour::Yellow }),
        ]);
    }
    push(text, "Trust data", &table, (host.trust.len() + host.trust_left).saturating_sub(ROWS));
}

fn events(text: &mut String, snapshot: &Snapshot) {
    if snapshot.events.is_empty() {
        return;
    }
    let mut table = Table::new(["WHEN", "EVENT", "ABOUT", "CODE"]);
    for event in snapshot.events.iter().take(ROWS) {
        let colour = match event.event.as_str() {
            "BLOCKED" | "KILLED" | "MISMATCH" | "UNAPPROVED" => Colour::Red,
            _ => Colour::None,
        };
        let about = [&event.container_name, &event.image, &event.container_image].into_iter().find(|text| !text.is_empty());
        let said = if event.code.is_empty() { &event.message } else { &event.code };
        table.row([
            distance(event.timestamp, snapshot.at).into(),
            Cell::new(&event.event, colour),
            about.map(|text| fit(text, CELL_CHARS)).unwrap_or_default().into(),
            fit(said, CELL_CHARS).into(),
        ]);
    }
    push(text, "Last events (img-authz log shows all)", &table, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::sample;

    #[test]
    fn everything_is_told_and_foreign_text_is_harmless() {
        let told = text(&sample("a\u{1b}[31m\u{202e}b"), Path::new("/state"));
        for part in [
            "12 allowed, 3 blocked, 1 would have been",
            "1 of 5 may run; 4 images and containers",
            "2 containers, 1 of them unapproved",
            "CRITICAL",
            "Running unapproved",
            "Trust data",
            "What arrived",
            "2 images audited",
            "Last events",
            "/state/web-token",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
        assert!(!told.contains('\u{1b}') && !told.contains('\u{202e}'));
    }

    #[test]
    fn a_trouble_is_a_no_and_news_are_none() {
        let mut snapshot = sample("x");
        assert_eq!(code(&snapshot), NO);
        snapshot.troubles[0].severity = Severity::Info;
        assert_eq!(code(&snapshot), YES);
    }

    #[test]
    fn where_no_gate_serves_that_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let why = ask(folder.path()).unwrap_err();
        assert!(why.contains("no gate serves there") && why.contains("enable the plugin"), "{why}");
    }
}
