//! `enable`, `disable`: the gate into daemon.json and out of it, for people and for programs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::out::{self, Colour};
use super::{NO, UNKNOWN, YES};
use crate::doctor::Wanted;
use crate::enrol::{Change, Outcome, State, Wish, enrol};
use crate::policy::Settings;
use crate::setup::Place;
use crate::text::clean;

/// Have dockerd ask the gate: name it in daemon.json, and reload.
#[derive(Args)]
#[command(
    after_help = "The gate must be there and answer. All else in the file stays as it is written, the file before lies beside it \
    (.before-img-authz), and dockerd is asked first whether it would start with the new one (from 23.0 on).\n\nExit code 0: done; 2: refused, or dockerd does not act so; 1: could not tell. Run it as root, on the engine's \
    host. PLUGIN names a plugin that is not called img-authz.\n\nExample: img-authz enable --dry-run"
)]
pub(super) struct EnableArgs {
    #[command(flatten)]
    common: Common,
    /// Also write a drop-in for docker's systemd unit that switches cleartext HTTP/2 off, over which engines from 29.2 on ask nobody
    #[arg(long)]
    close_http2: bool,
}

/// Have dockerd ask the gate no more: take it out of daemon.json, and reload.
#[derive(Args)]
#[command(
    after_help = "Nothing is checked from then on. The gate goes on running; a managed plugin may be disabled then.\n\nExit code 0: done; 2: refused, or dockerd does not act so; 1: could not tell. Run it as root, on the engine's \
    host.\n\nExample: img-authz disable"
)]
pub(super) struct DisableArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "the switches of a command line")]
struct Common {
    /// The engine's daemon.json (default: the one dockerd was started with)
    #[arg(long, value_name = "PATH")]
    daemon_json: Option<PathBuf>,
    /// The gate that runs by itself (a systemd service), whatever managed plugins there are
    #[arg(long)]
    service: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave dockerd alone: the file counts from its next start or reload on
    #[arg(long)]
    no_reload: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn enable(arguments: &EnableArgs, settings: Settings) -> ExitCode {
    run(Change::Enable, &arguments.common, arguments.close_http2, settings)
}

pub(super) fn disable(arguments: &DisableArgs, settings: Settings) -> ExitCode {
    run(Change::Disable, &arguments.common, false, settings)
}

fn run(change: Change, arguments: &Common, close_http2: bool, settings: Settings) -> ExitCode {
    if !arguments.dry_run && !rustix::process::geteuid().is_root() {
        out::fault("daemon.json is root's: run this as root (--dry-run says what would be done)");
        return ExitCode::from(UNKNOWN);
    }
    let place = Place::find(settings);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            out::fault(&error.to_string());
            return ExitCode::from(UNKNOWN);
        }
    };
    let wish = Wish {
        change,
        wanted: if arguments.service { Wanted::Service } else { Wanted::Found },
        daemon_json: arguments.daemon_json.as_deref(),
        dry_run: arguments.dry_run,
        reload: !arguments.no_reload,
        close_http2,
    };
    let outcome = runtime.block_on(enrol(&wish, &place));
    runtime.shutdown_background();
    if arguments.json {
        out::json(&outcome);
    } else {
        out::print(&text(change, &outcome));
    }
    ExitCode::from(match outcome.state {
        State::Done | State::Written | State::Would => YES,
        State::Refused | State::NotInForce => NO,
    })
}

/// For people: what it came to, then what to see to.
fn text(change: Change, outcome: &Outcome) -> String {
    let (gate, file) = (clean(&outcome.gate), clean(&outcome.file));
    let changed = if outcome.changed { "is changed" } else { "is as it was" };
    let (colour, mut text) = match (outcome.state, change) {
        (State::Done, Change::Enable) => (Colour::Green, format!("dockerd asks {gate}: {file} {changed}")),
        (State::Done, Change::Disable) => {
            (Colour::Yellow, format!("dockerd does not ask {gate}, NOTHING IS CHECKED: {file} {changed}"))
        }
        (State::Written, _) => (Colour::Yellow, format!("{file} {changed}; it counts from dockerd's next start or reload on")),
        (State::Would, _) if outcome.changed => (Colour::None, format!("{file} would be changed to:")),
        (State::Would, _) => (Colour::None, format!("{file} would stay as it is")),
        (State::Refused, _) => (Colour::Red, format!("nothing was changed in {file}")),
        (State::NotInForce, _) => (Colour::Red, format!("{file} {changed}, and dockerd does not act as it should")),
    };
    text = format!("{}\n", out::paint(&text, colour));
    if let Some(new) = outcome.text.as_ref().filter(|_| outcome.changed) {
        text.extend(new.lines().map(|line| format!("  {}\n", line.replace(char::is_control, " "))));
    }
    if let Some(backup) = &outcome.backup {
        text.push_str(&format!("the file as it was: {}\n", clean(backup)));
    }
    for trouble in &outcome.troubles {
        text.push_str(&format!("{}\n  → {}\n", trouble.evidence, trouble.remedy));
    }
    for note in &outcome.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}
