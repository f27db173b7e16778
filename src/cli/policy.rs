//! `policy`: what is wrong with a policy file before it is put in place, which policy is in force, and the format for editors.

mod cases;
mod diff;
mod import;
mod junit;
mod replay;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::out;
use super::{NO, UNKNOWN, YES};
use crate::clock;
use crate::files::read_text;
use crate::policy::{PolicyFault, Read, Settings};
use crate::setup::{self, Kept, LastGood, Place};
use crate::text::clean;

/// The format of the file (JSON Schema).
const SCHEMA: &str = include_str!("../../docs/policy.schema.json");

/// Check a policy file, and show the policy in force.
#[derive(Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say everything that is wrong with a policy file, before it is put in place
    ///
    /// Files of `policy.d` beside it are read with it, and the files that they name: certificates, pins, users, rules in Rego. No server is
    /// asked.
    /// Exit code 0: good; 2: it has faults; 1: could not tell.
    ///
    /// Example: img-authz policy check policy.toml
    Check(CheckArgs),
    /// Show the policy in force, as a policy file; also the one that variables mean
    ///
    /// With --shadow the candidate that is judged beside it (`policy.shadow.toml`), as its file is now.
    /// Exit code 0: in force, or judged, and without a fault; 2: a newer one, or the candidate, has faults, or there is no candidate; 1: could
    /// not tell.
    ///
    /// Example: img-authz policy show
    Show(ShowArgs),
    /// Judge cases by a policy, without an engine or a registry
    ///
    /// A case says what is known about an image, what is done with it, and what the gate must answer (docs/policy-test.md).
    /// Exit code 0: all as expected; 2: at least one is not; 1: could not tell.
    ///
    /// Example: img-authz policy test . --junit policy-tests.xml
    Test(test::TestArgs),
    /// Say which cases another policy would answer differently, and why
    ///
    /// With --record the cases are decisions that the gate has made, where its policy keeps their facts (docs/policy-test.md).
    /// Exit code 0: none; 2: some; 1: could not tell, or only ones are left that lack facts.
    ///
    /// Example: img-authz policy diff policy.toml new.toml --cases cases.toml
    Diff(diff::DiffArgs),
    /// Print the policy of another tool as a policy file, and what could not be carried over
    ///
    /// Reads the policies of authz-broker, of podman and skopeo, of notation, `content-trust` of daemon.json, and others: see
    /// docs/policy-import.md. What cannot be carried over never becomes an allow. No server is asked, nothing on the host is changed.
    /// Exit code 0: all of it was carried over; 2: not all; 1: could not tell.
    ///
    /// Example: img-authz policy import /etc/containers/policy.json > policy.toml
    #[command(allow_missing_positional = true)]
    Import(import::ImportArgs),
    /// Print the JSON Schema of the policy file, for editors
    ///
    /// Example: img-authz policy schema > policy.schema.json
    Schema,
}

#[derive(Args)]
struct CheckArgs {
    /// The file; without it, the gate's
    path: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ShowArgs {
    /// The candidate that is judged beside the policy in force
    #[arg(long)]
    shadow: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &PolicyArgs, env: Settings) -> ExitCode {
    let code = match &arguments.command {
        Command::Check(check) => judge(check, env),
        Command::Show(show) if show.shadow => show_candidate(&Place::find(env), show.json),
        Command::Show(show) => self::show(&Place::find(env), show.json),
        Command::Test(test) => test::run(test),
        Command::Diff(diff) => diff::run(diff),
        Command::Import(arguments) => import::run(arguments),
        Command::Schema => {
            out::print(SCHEMA);
            YES
        }
    };
    ExitCode::from(code)
}

fn judge(arguments: &CheckArgs, env: Settings) -> u8 {
    // A file by its path is judged by itself, on any machine: who may change it there is for `serve` to refuse.
    let (path, of_host) = match &arguments.path {
        Some(path) => (path.clone(), Settings::default()),
        None => {
            let place = Place::find(env);
            if let Err(why) = &place.basis {
                out::fault(&format!("the gate's settings are not known: {why}; name the file"));
                return UNKNOWN;
            }
            let Some((path, _)) = place.given.policy_path() else {
                out::fault("POLICY is `off`: the gate reads no policy file; name the file");
                return UNKNOWN;
            };
            (path, place.given.with_policy(None))
        }
    };
    let file = match setup::read_policy(&path, &read_text) {
        Ok(file) => file,
        Err(faults) => {
            for fault in &faults {
                out::fault(&fault.message);
            }
            return UNKNOWN;
        }
    };
    let Read { mut resolved, mut warnings } = of_host.resolve_file(&file);
    if resolved.is_ok() {
        // The files that it names: certificates, pins, users, rules in Rego.
        let mut kept = Kept::looking(LastGood::default(), []);
        if let Err(faults) = setup::policy(&of_host.with_policy(Some(file.clone())), &mut kept) {
            resolved = Err(faults);
        }
    }
    warnings.extend(resolved.iter().flat_map(|resolved| resolved.policy.exceptions.warnings(clock::now())));
    warnings.extend(file.0.iter().filter_map(|(path, _)| open_to_others(path)));
    let faults = resolved.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    if arguments.json {
        out::json(&serde_json::json!({ "good": faults.is_empty(), "faults": listed(faults), "warnings": listed(&warnings) }));
    } else {
        for fault in faults {
            out::line(&format!("fault    {}", clean(&fault.to_string())));
        }
        for warning in &warnings {
            out::line(&format!("warning  {}", clean(&warning.to_string())));
        }
        match &resolved {
            Ok(resolved) => {
                let rules = resolved.rego.as_ref().map(|rego| counted(rego.queries.len(), "query in Rego", "queries in Rego"));
                let users = (resolved.policy.users.is_some() || resolved.users_file.is_some()).then(|| "users".to_owned());
                let scopes = counted(resolved.policy.scopes.iter().count(), "scope", "scopes");
                let verifiers = counted(resolved.verifiers.len(), "verifier", "verifiers");
                let exceptions = resolved.policy.exceptions.iter().count();
                let exceptions = (exceptions > 0).then(|| counted(exceptions, "exception", "exceptions"));
                let all: Vec<String> = [Some(scopes), Some(verifiers), exceptions, users, rules].into_iter().flatten().collect();
                out::line(&format!("good: {}; no server was asked", all.join(", ")));
            }
            Err(faults) => {
                out::line(&format!("the gate would not take this policy: {}", counted(faults.len(), "fault", "faults")));
            }
        }
    }
    if faults.is_empty() { YES } else { NO }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What `serve` would refuse of a file on the gate's host.
fn open_to_others(path: &Path) -> Option<PolicyFault> {
    let error = crate::files::read_owned(path, crate::policy::POLICY_BYTES).err()?;
    Some(PolicyFault::of("", format!("`{}` would be refused on the gate's host: {error}", path.display())))
}

fn listed(faults: &[PolicyFault]) -> Vec<serde_json::Value> {
    let of = |fault: &PolicyFault| {
        serde_json::json!({
            "file": fault.position.as_ref().map(|position| position.file.display().to_string()),
            "line": fault.position.as_ref().map(|position| position.line),
            "key": fault.key,
            "message": fault.message,
        })
    };
    faults.iter().map(of).collect()
}

fn show(place: &Place, json: bool) -> u8 {
    if place.basis.is_err() {
        out::fault(&place.told());
        return UNKNOWN;
    }
    let faults: Vec<&String> = place.faults.iter().chain(&place.file_faults).collect();
    let text = match (place.is_void, place.settings.policy_file()) {
        (true, _) => None,
        (false, Some(file)) => {
            let of = |(path, text): &(PathBuf, String)| format!("# {}\n{text}", path.display());
            Some(file.0.iter().map(of).collect::<Vec<_>>().join("\n"))
        }
        (false, None) => {
            // With a default allowlist where the gate requires one.
            let is_listed = !place.kept().allowlists().is_empty();
            place.settings.resolve(is_listed).ok().map(|resolved| format!("# what the variables mean\n{}", resolved.to_toml()))
        }
    };
    if json {
        let path = place.settings.policy_file().map(|file| file.path().display().to_string());
        out::json(&serde_json::json!({ "source": place.told(), "file": path, "policy": text, "faults": faults }));
    } else {
        out::note(&format!("# {}", place.told()));
        for fault in &faults {
            out::note(&format!("# fault: {}", clean(fault)));
        }
        match &text {
            Some(text) => out::print(text),
            None => out::note("# no policy is in force: calls that touch an image are refused"),
        }
        if let Some(candidate) = place.in_force.as_ref().and_then(|said| said.candidate.as_ref()) {
            out::note(&format!("# {}", candidate.told()));
        }
    }
    if faults.is_empty() && text.is_some() { YES } else { NO }
}

/// The candidate, by the gate's own word of it; its text as it is now.
fn show_candidate(place: &Place, json: bool) -> u8 {
    let Some(said) = place.in_force.as_ref().filter(|_| place.basis.is_ok()) else {
        out::fault(&format!("no gate that serves says whether it has a candidate: {}", place.told()));
        return UNKNOWN;
    };
    let Some(candidate) = &said.candidate else {
        let path = setup::shadow_path(&place.given);
        out::fault(&format!("there is no candidate: the gate looks for `{}`", path.display()));
        return NO;
    };
    let text = read_text(&candidate.file, crate::policy::POLICY_BYTES).map_err(|error| error.to_string());
    let is_judged = candidate.faults.is_empty();
    if json {
        out::json(&serde_json::json!({
            "file": candidate.file.display().to_string(), "policy": text.as_ref().ok(), "faults": candidate.faults, "judged": is_judged,
        }));
    } else {
        out::note(&format!("# {}", candidate.told()));
        match &text {
            Ok(text) => out::print(text),
            Err(error) => out::fault(&format!("`{}` cannot be read: {error}", candidate.file.display())),
        }
    }
    match (is_judged, text) {
        (true, Ok(_)) => YES,
        (false, Ok(_)) => NO,
        (_, Err(_)) => UNKNOWN,
    }
}
