//! `settings`: which settings are in force, whose they are, and what is wrong with those that were given; and, before a gate is
//! disabled to change one, whether it would take the new one.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::out::{self, Table};
use super::{NO, UNKNOWN, YES};
use crate::image::Digest;
use crate::net::{proxy_fault, without_user};
use crate::policy::{PolicyFault, Settings, VARIABLES, may_be_secret, quoted};
use crate::setup::{self, Alive, Kept, LastGood, Place, View, host_path};
use crate::text::{clean, escaped, fit};

/// Longest value in the table, characters. A folder of the engine's would push all else off the screen.
const CELL_CHARS: usize = 48;

/// What counts where a variable is unset, in words, in the order of [`VARIABLES`].
const DEFAULTS: [&str; VARIABLES.len()] = [
    "docker.io",
    "https://notary.docker.io",
    "the system's CAs",
    "trust on first use",
    "none",
    "30",
    "run",
    "24",
    "allowlist.json in CONFIG_DIR if it exists",
    "none",
    "enforce",
    "go-on",
    "0",
    "none",
    "json",
    "none",
    "alerts.toml in CONFIG_DIR if it exists",
    "images",
    "none",
    "deny",
    "none",
    "open",
    "report",
    "10",
    "off",
    "policy.toml in CONFIG_DIR if it exists",
    "unix:///run/docker.sock",
    "CONFIG_DIR",
    "none",
    "none",
    "info",
    "/var/lib/img-authz",
    "/etc/docker/img-authz",
];

/// Show which settings are in force, and judge others before they are set.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Exit code 0: in force and without a fault; 2: something is at fault, or not in force; 1: could not tell.\n\n\
                  Example: img-authz settings"
)]
pub(super) struct SettingsArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Say whether the gate would take these settings, before it is disabled to set them
    ///
    /// The others stay as they are. Paths are the plugin's own, as with docker plugin set. No server is asked.
    ///
    /// Example: img-authz settings check REGISTRY=registry.example:5000 MODE=permissive
    Check(CheckArgs),
}

#[derive(Args)]
struct CheckArgs {
    /// NAME=value, as for docker plugin set; an empty value unsets
    #[arg(required = true, value_name = "NAME=value")]
    settings: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One variable.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    /// What is in force; absent where it is unset, and the default counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<String>,
    default: &'static str,
    /// What was given, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    given: Option<String>,
}

/// What `settings` prints.
#[derive(Debug, Serialize)]
struct Report {
    gate: String,
    state: &'static str,
    source: String,
    settings: Vec<Row>,
    faults: Vec<String>,
}

pub(super) fn run(arguments: &SettingsArgs, env: Settings) -> ExitCode {
    let place = Place::find(env);
    ExitCode::from(match &arguments.command {
        None => show(&place, arguments.json),
        Some(Command::Check(check)) => judge(check, &place),
    })
}

fn show(place: &Place, json: bool) -> u8 {
    if place.basis.is_err() {
        out::fault(&place.told());
        return UNKNOWN;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let alive = runtime.ok().and_then(|runtime| runtime.block_on(place.alive(View::of(&place.settings))));
    let is_disabled = place.plugin.as_ref().is_some_and(|plugin| !plugin.enabled);
    let (state, is_well) = match (is_disabled, &alive) {
        (true, _) => ("is disabled: these count at its next start", false),
        (false, Some(Alive::Yes)) => ("answers", true),
        (false, Some(Alive::Silent)) => ("runs and does not answer", false),
        (false, Some(Alive::No)) => ("does not run", false),
        (false, Some(Alive::Unknown(_)) | None) => ("was not asked", true),
    };
    let report = Report {
        gate: place.name(),
        state,
        source: place.told(),
        settings: VARIABLES.iter().zip(DEFAULTS).map(|(name, default)| row(name, default, place)).collect(),
        faults: place.faults.iter().chain(&place.file_faults).cloned().collect(),
    };
    if json {
        out::json(&report);
    } else {
        out::line(&format!("gate      {} {}", quoted(&report.gate), report.state));
        out::line(&format!("settings  {}", report.source));
        // Whole: it is copied from here.
        out::line(&format!("state     {}", escaped(&place.settings.state_dir().display().to_string())));
        let mut table = Table::new(["NAME", "IN FORCE", "GIVEN, NOT IN FORCE"]);
        for row in &report.settings {
            let unset = || if place.is_void { "none".to_owned() } else { format!("({})", row.default) };
            let in_force = row.in_force.clone().unwrap_or_else(unset);
            let given = row.given.clone().unwrap_or_default();
            table.row([row.name.into(), fit(&in_force, CELL_CHARS).into(), fit(&given, CELL_CHARS).into()]);
        }
        table.print();
        for fault in &report.faults {
            out::line(&format!("fault     {}", clean(fault)));
        }
        for line in not_in_force(&report.settings) {
            out::line(&line);
        }
    }
    if is_well && report.faults.is_empty() { YES } else { NO }
}

/// What was given and does not count, where nobody misses it.
fn not_in_force(rows: &[Row]) -> Vec<String> {
    let line = |row: &Row| Some(format!("NOT IN FORCE: {}={}", row.name, fit(row.given.as_ref()?, CELL_CHARS)));
    rows.iter().filter_map(line).collect()
}

fn row(name: &'static str, default: &'static str, place: &Place) -> Row {
    let in_force = place.settings.get(name).filter(|_| !place.is_void);
    let given = place.given.get(name);
    let differs = given != in_force;
    let unset = || "(unset)".to_owned();
    Row {
        name,
        in_force: in_force.map(|value| shown(name, value)),
        default,
        given: differs.then(|| given.map_or_else(unset, |value| shown(name, value))),
    }
}

/// A value for people: no secrets, and no certificate of many lines.
fn shown(name: &str, value: &str) -> String {
    match name {
        "NOTARY_ROOT_CA" => {
            let digest: String = Digest::of(value.as_bytes()).hex().chars().take(12).collect();
            format!("PEM of {} bytes, SHA-256 {digest}…", value.len())
        }
        "HTTPS_PROXY" | "NOTARY" => without_user(value.trim()),
        _ if may_be_secret(name, value) => "(not shown: it may hold a secret)".to_owned(),
        _ => clean(value.trim()),
    }
}

fn judge(arguments: &CheckArgs, place: &Place) -> u8 {
    let mut faults: Vec<String> = Vec::new();
    let mut then = if place.basis.is_ok() { place.given.clone() } else { place.given.clone().without("NOTARY_SIGNERS") };
    let mut named = Vec::new();
    for written in &arguments.settings {
        let Some((name, value)) = written.split_once('=') else {
            faults.push(format!("{} is not NAME=value", quoted(written)));
            continue;
        };
        let Some(name) = VARIABLES.iter().copied().find(|known| *known == name) else {
            faults.push(format!("{} is not a setting; the settings are {}", quoted(name), VARIABLES.join(", ")));
            continue;
        };
        named.push(name);
        then = match name {
            // Where this host has it.
            _ if value.trim().is_empty() => then.without(name),
            "STATE_DIR" => then,
            "CONFIG_DIR" | "DOCKER_CONFIG" | "ALLOWLIST" | "POLICY" => then.with(name, host_path(value, &place.mounts)),
            _ => then.with(name, value),
        };
    }
    let mut kept = Kept::looking(LastGood::look(&place.settings.state_dir(), &place.mounts), []);
    faults.extend(proxy_fault(|name| then.get(name).map(Into::into)));
    let policy = setup::with_file(&then).and_then(|then| setup::policy(&then, &mut kept));
    faults.extend(policy.as_ref().err().into_iter().flatten().map(PolicyFault::to_string));
    let is_known = place.basis.is_ok();
    let of_file = |fault: String| format!("{fault}{}", setup::in_its_place(&fault));
    let notes: Vec<String> = policy.iter().flat_map(notes).chain(kept.file_faults().into_iter().map(of_file)).collect();
    if arguments.json {
        let others = if is_known { place.told() } else { "defaults".to_owned() };
        out::json(&serde_json::json!({ "good": faults.is_empty(), "faults": faults, "notes": notes, "others": others }));
    } else {
        for fault in &faults {
            out::line(&format!("fault  {}", fault.replace(char::is_control, " ")));
        }
        for name in named {
            let now = place.given.get(name).map_or_else(|| "(unset)".to_owned(), |value| shown(name, value));
            let next = then.get(name).map_or_else(|| "(unset)".to_owned(), |value| shown(name, value));
            out::line(&format!("{name}: {now} → {next}"));
        }
        for note in &notes {
            out::line(&format!("note: {note}"));
        }
        out::line(if faults.is_empty() {
            "good: the gate would take these settings: they are well formed; no server was asked"
        } else {
            "the gate would not take these settings"
        });
        if !is_known {
            out::note(&format!("note: judged beside defaults, not beside the gate's other settings; {}", place.told()));
        }
    }
    if faults.is_empty() { YES } else { NO }
}

/// What good settings have that somebody may not have meant.
fn notes(policy: &crate::policy::Policy) -> Vec<String> {
    let weak: Vec<String> = policy.weak_scopes().map(|scope| quoted(scope.label())).take(8).collect();
    let mut notes = Vec::new();
    if !weak.is_empty() {
        notes.push(format!("nobody vouches for images of {}: whatever that registry holds may run", weak.join(", ")));
    }
    if policy.mode == crate::policy::Mode::Permissive {
        notes.push("MODE is permissive: refusals are recorded, and the calls are allowed".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Basis;

    fn place(pairs: &[(&str, &str)]) -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let base = Settings::default().with("STATE_DIR", &path).with("CONFIG_DIR", &path);
        let settings = pairs.iter().fold(base, |settings, (name, value)| settings.with(name, *value));
        (folder, Place::judged(settings, Basis::Environment, &[], |last| last))
    }

    fn check(place: &Place, settings: &[&str]) -> u8 {
        let settings = settings.iter().map(|text| (*text).to_owned()).collect();
        judge(&CheckArgs { settings, json: true }, place)
    }

    #[test]
    fn proposed_settings_are_judged_as_the_gate_would_judge_them() {
        let (_folder, place) = place(&[("REGISTRY", "r.example"), ("NOTARY", "https://notary.example")]);
        for good in
            [&["REGISTRY=r.example,s.example"][..], &["MODE=permissive", "BUILD=allow"], &["MODE="], &["HTTPS_PROXY=http://p:1"]]
        {
            assert_eq!(check(&place, good), YES, "{good:?}");
        }
        for bad in [
            &["REGISTRY=https://r.example"][..],
            &["MODE=x", "BUILD=allow"],
            &["REGISTYR=r.example"],
            &["MODE"],
            &["HTTPS_PROXY=socks5://p:1"],
            // Faults that only show together with what is set already.
            &["NOTARY=off", "POSTURE=lockdown"],
            &["NOTARY_SIGNERS=s.example/app=alice"],
        ] {
            assert_eq!(check(&place, bad), NO, "{bad:?}");
        }
    }

    #[test]
    fn what_is_given_and_not_in_force_is_shown_beside_what_is() {
        let (folder, _) = place(&[]);
        let path = folder.path().display().to_string();
        let good = Settings::default().with("STATE_DIR", &path).with("NOTARY", "off").with("REGISTRY", "r.example");
        std::fs::write(folder.path().join(setup::LAST_GOOD), serde_json::to_vec(&good).unwrap()).unwrap();
        let place = Place::judged(good.with("MODE", "x"), Basis::Environment, &[], |last| last);
        let found = row("MODE", "enforce", &place);
        assert_eq!((found.in_force.as_deref(), found.given.as_deref()), (None, Some("x")));
        assert_eq!(not_in_force(&[found]), ["NOT IN FORCE: MODE=x"]);
        let found = row("REGISTRY", "docker.io", &place);
        assert_eq!((found.in_force.as_deref(), found.given), (Some("r.example"), None));
        assert_eq!(show(&place, true), NO);
    }

    #[test]
    fn a_password_of_a_proxy_is_not_shown() {
        assert_eq!(shown("HTTPS_PROXY", "http://user:secret@p:3128"), "http://p:3128");
        for (name, value) in [
            ("ALERTS", "hooks.example/services/secret"),
            ("AUDIT_SINKS", "https://u:secret@c.example"),
            ("AUDIT_SINKS", "otlp=https://c.example?key=secret"),
        ] {
            assert_eq!(shown(name, value), "(not shown: it may hold a secret)", "{name}");
        }
        assert_eq!(shown("AUDIT_SINKS", "otlp=https://c.example"), "otlp=https://c.example");
        assert!(!shown("NOTARY_ROOT_CA", "-----BEGIN CERTIFICATE-----\nMII").contains("MII"));
    }
}
