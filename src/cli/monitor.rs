//! `monitor`: containers that run and would be refused now. By itself on hosts without the plugin; beside a gate that serves, what that one
//! found, and the operator's answer.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::out::{self, Colour, Consent, Table};
use super::trail::{Change, Trail};
use super::{NO, UNKNOWN, YES, own_log, state_of};
use crate::clock::{self, Timestamp};
use crate::monitor::{Approved, Finding, Picture};
use crate::policy::{MonitorRule, Settings};
use crate::service::{self, Watch};
use crate::setup::{self, Alive, Place, View};
use crate::text::{clean, fit};

/// A picture that is older is nobody's who still looks: one that runs draws it every quarter of a minute.
const FRESH: Duration = Duration::from_secs(90);
/// Longest cell of a table, characters.
const CELL_CHARS: usize = 60;
/// How much of an id is shown, as docker shows ids.
const ID_DIGITS: usize = 12;

/// Find containers that run and would be refused now; stop them, on a host without the plugin.
///
/// Without a subcommand it looks after this host's containers until it is stopped: it stops and removes those that run unapproved.
/// Where a gate serves, that one does (MONITOR, docs/monitor.md).
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Exit code of --once: 0: all that run are approved; 2: some are not; 1: could not tell.\n\n\
                  Example: img-authz monitor --once --allow-unregistered"
)]
pub(super) struct MonitorArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// Look once, do what is to be done, and end
    #[arg(long)]
    once: bool,
    /// Stop containers, and remove none
    #[arg(long, conflicts_with = "allow_unregistered")]
    safe_mode: bool,
    /// Only report
    #[arg(long)]
    allow_unregistered: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Show what was found, what was done, and what waits for you
    ///
    /// Example: img-authz monitor status
    Status(StatusArgs),
    /// Show what waits for you because it is too much at once, and let it be done
    ///
    /// Example: img-authz monitor approve
    Approve(ApproveArgs),
}

#[derive(Args)]
struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ApproveArgs {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// What `status` says.
#[derive(Serialize)]
struct Report {
    /// Whether somebody still looks.
    is_current: bool,
    /// Whether what runs was listed not long ago.
    is_listed: bool,
    #[serde(flatten)]
    picture: Picture,
}

pub(super) fn run(arguments: &MonitorArgs, settings: Settings) -> ExitCode {
    let done = match &arguments.command {
        None => watch(arguments, &settings),
        Some(Command::Status(status)) => picture(settings).map(|(_, picture)| show(status, picture)),
        Some(Command::Approve(approve)) => picture(settings).and_then(|(settings, picture)| answer(approve, &settings, &picture)),
    };
    ExitCode::from(done.unwrap_or_else(|why| {
        out::fault(&why);
        UNKNOWN
    }))
}

/// Looks after containers by itself.
fn watch(arguments: &MonitorArgs, settings: &Settings) -> Result<u8, String> {
    let place = Place::find(settings.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let alive = runtime.block_on(place.alive(View::of(&place.settings)));
    // Two would write one log, and each would count for itself what is done at once.
    if matches!(alive, Some(Alive::Yes | Alive::Silent)) || place.plugin.as_ref().is_some_and(|plugin| plugin.enabled) {
        return Err(
            "a gate serves on this host, and looks after its containers itself: set MONITOR there (docs/monitor.md)".to_owned()
        );
    }
    drop(runtime);
    let rule = match (arguments.allow_unregistered, arguments.safe_mode) {
        (true, _) => MonitorRule::Report,
        (false, true) => MonitorRule::Stop,
        (false, false) => MonitorRule::Remove,
    };
    let log = own_log::start(settings);
    let does = match rule {
        MonitorRule::Off | MonitorRule::Report => "it is reported, and nothing is done",
        MonitorRule::Stop => "it is stopped",
        MonitorRule::Remove => {
            "it is stopped and REMOVED; its volumes stay (--safe-mode: stopped alone; --allow-unregistered: reported alone)"
        }
    };
    out::note(&format!("a container that runs and is not approved: {does}"));
    let ended = service::monitor(settings, Watch { rule, is_once: arguments.once });
    log.end();
    let Some(outcome) = ended? else { return Ok(YES) };
    let service_outcome = format!(
        "{} run unapproved, of {} it cannot be told, {} acted on (img-authz monitor status)",
        outcome.unapproved, outcome.unsure, outcome.acted
    );
    out::line(&service_outcome);
    Ok(match (outcome.unapproved, outcome.unsure) {
        (0, 0) => YES,
        (0, _) => UNKNOWN,
        (_, _) => NO,
    })
}

/// What the monitor of this host says, and where its files are.
fn picture(settings: Settings) -> Result<(Settings, Picture), String> {
    let settings = state_of(Place::find(settings))?;
    let path = settings.state_dir().join(setup::MONITOR);
    let picture = Picture::read(&path).map_err(|error| format!("no monitor says what it found: {error}"))?;
    Ok((settings, picture))
}

fn is_current(picture: &Picture) -> bool {
    is_fresh(picture.told)
}

fn is_listed(picture: &Picture) -> bool {
    picture.listed.is_some_and(is_fresh)
}

fn is_fresh(at: Timestamp) -> bool {
    let age = Duration::try_from(clock::now().duration_since(at)).unwrap_or_default();
    age < FRESH
}

fn show(arguments: &StatusArgs, picture: Picture) -> u8 {
    // What runs and is not seen may be anything: that is no better than what is found.
    let code = match (is_current(&picture), is_listed(&picture), picture.unapproved, picture.unsure.len() + picture.unread) {
        (false, _, _, _) => UNKNOWN,
        (true, false, _, _) => NO,
        (true, true, 0, 0) => YES,
        (true, true, 0, _) => UNKNOWN,
        (true, true, _, _) => NO,
    };
    if arguments.json {
        out::json(&Report { is_current: is_current(&picture), is_listed: is_listed(&picture), picture });
        return code;
    }
    if !is_current(&picture) {
        out::line(&out::paint(
            &format!("NOT CURRENT: nobody has looked since {:.0}; is the gate running, and MONITOR not off?", picture.told),
            Colour::Red,
        ));
    }
    if is_current(&picture) && !is_listed(&picture) {
        let since = picture.listed.map_or_else(|| "never".to_owned(), |at| format!("last at {at:.0}"));
        let told = format!(
            "NOT SEEN: the engine's list of what runs was {since} read; what began since is not known (see the gate's log)"
        );
        out::line(&out::paint(&told, Colour::Red));
    }
    if picture.unread > 0 {
        let told =
            format!("NOT SEEN: {} rows of the engine's list cannot be read; those containers are not judged", picture.unread);
        out::line(&out::paint(&told, Colour::Red));
    }
    let does = match picture.rule {
        MonitorRule::Off => "off",
        MonitorRule::Report => "reported",
        MonitorRule::Stop => "stopped",
        MonitorRule::Remove => "stopped and removed",
    };
    out::line(&format!("{} containers run, {} of them unapproved; these are {does}", picture.running, picture.unapproved));
    if let Some(until) = picture.paused_until {
        out::line(&format!("policy or trust changed: only reported until {until:.0}"));
    }
    if !picture.awaited.is_empty() {
        let told = format!(
            "{} wait for you (at most {} are acted on at once): img-authz monitor approve",
            picture.awaited.len(),
            picture.limit
        );
        out::line(&out::paint(&told, Colour::Yellow));
    }
    table(picture.findings.iter().chain(&picture.unsure));
    for act in &picture.acts {
        let image = if act.image.is_empty() { String::new() } else { format!(" of {}", clean(&act.image)) };
        out::line(&format!("acted on {} ({}){image} at {:.0}", clean(&act.name), short(act.container.as_str()), act.at));
    }
    code
}

fn table<'f>(findings: impl Iterator<Item = &'f Finding>) {
    let mut table = Table::new(["CONTAINER", "NAME", "IMAGE", "SAYS", "WHY NOTHING IS DONE"]);
    let mut is_empty = true;
    for finding in findings {
        is_empty = false;
        let says = if finding.since.is_some() { finding.code.clone() } else { format!("cannot tell: {}", finding.code) };
        let held = finding.held.clone().unwrap_or_default();
        table.row([
            short(finding.container.as_str()).into(),
            fit(&finding.name, CELL_CHARS).into(),
            fit(&finding.image, CELL_CHARS).into(),
            says.into(),
            held.into(),
        ]);
    }
    if !is_empty {
        table.print();
    }
}

fn short(id: &str) -> &str {
    id.get(..ID_DIGITS).unwrap_or(id)
}

/// Shows what waits, asks, and says so to the monitor.
fn answer(arguments: &ApproveArgs, settings: &Settings, picture: &Picture) -> Result<u8, String> {
    if !is_current(picture) {
        return Err(format!("nobody has looked since {:.0}: what runs now is not known", picture.told));
    }
    if picture.awaited.is_empty() {
        out::line("nothing waits for you: img-authz monitor status shows what is found, and why nothing is done");
        return Ok(YES);
    }
    let what = match picture.rule {
        MonitorRule::Remove => "stopped and REMOVED (their volumes stay)",
        MonitorRule::Stop | MonitorRule::Report | MonitorRule::Off => "stopped",
    };
    let shown: Vec<&Finding> = picture.findings.iter().filter(|finding| picture.awaited.contains(&finding.container)).collect();
    // What is not shown is not approved.
    if shown.len() != picture.awaited.len() {
        return Err(format!("{} containers wait, more than can be shown: stop some by hand first", picture.awaited.len()));
    }
    table(shown.iter().copied());
    out::line(&format!("these {} would be {what}, each after it was judged twice more", shown.len()));
    match out::ask("let that be done?", arguments.yes) {
        Consent::Given => {}
        Consent::Refused => return Ok(NO),
        Consent::NobodyThere => return Err("there is nobody to ask: repeat it with --yes".to_owned()),
    }
    let trail = Trail::open(settings, &settings.state_dir())?;
    let approved = Approved { at: clock::now(), rule: picture.rule, containers: picture.awaited.clone() };
    let path = settings.state_dir().join(setup::MONITOR_APPROVED);
    approved.write(&path).map_err(|error| format!("`{}` cannot be written: {error}", path.display()))?;
    let ids: Vec<&str> = shown.iter().map(|finding| short(finding.container.as_str())).collect();
    let message = format!("lets {} containers be {what}, beyond the brake: {}", ids.len(), ids.join(", "));
    trail.record("monitor-approve", [Change { message, ..Change::default() }]);
    out::line("said; it counts for exactly these, once: img-authz monitor status shows what came of it");
    Ok(YES)
}
