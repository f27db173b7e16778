//! The commands. One file each; this one reads the arguments and sets up the log.

mod allowlist;
mod audit;
mod check;
mod doctor;
mod enable;
mod exception;
mod help;
mod later;
mod log;
mod monitor;
mod out;
mod own_log;
mod plugin;
mod policy;
mod register;
mod serve;
mod settings;
mod status;
mod trail;
mod trust;
mod when;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::later::Later;
use crate::policy::Settings;
use crate::setup::{self, Place};
use crate::text::escaped;

/// Yes, or nothing to complain of.
pub(crate) const YES: u8 = 0;
/// Could not tell: usage, failure.
pub(crate) const UNKNOWN: u8 = 1;
/// Refused, or findings.
pub(crate) const NO: u8 = 2;

/// Decides which container images may enter and run on this Docker host.
#[derive(Parser)]
#[command(name = "img-authz", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the plugin's socket; dockerd is the client
    Serve(Later<serve::ServeArgs>),
    /// Say whether an image would be let in, with every step
    Check(Later<check::CheckArgs>),
    /// Explain what an AuthZ request means and what the gate would answer
    Explain(Later<check::ExplainArgs>),
    /// Say whether this host is really protected
    Doctor(Later<doctor::DoctorArgs>),
    /// Have dockerd ask the gate: name it in daemon.json, and reload
    Enable(Later<enable::EnableArgs>),
    /// Have dockerd ask the gate no more: take it out of daemon.json, and reload
    Disable(Later<enable::DisableArgs>),
    /// Say what is weak about a Dockerfile, an image or this host, with remedies
    Audit(Later<audit::AuditArgs>),
    /// Show which settings are in force, and judge others before they are set
    Settings(Later<settings::SettingsArgs>),
    /// Check a policy file, and show the policy in force
    Policy(Later<policy::PolicyArgs>),
    /// Let something pass for a time that the policy refuses
    Exception(Later<exception::ExceptionArgs>),
    /// Show how the gate of this host is doing
    Status(Later<status::StatusArgs>),
    /// Show what was decided, and why
    Log(Later<log::LogArgs>),
    /// Find containers that run and would be refused now; stop them, on a host without the plugin
    Monitor(Later<monitor::MonitorArgs>),
    /// Explain a refusal's code, a finding of doctor, a setting, or a command
    Help(Later<help::HelpArgs>),
    /// Show and verify what a Notary server's trust data says
    Trust(Later<trust::TrustArgs>),
    Migrate(trust::Migrate),
    /// Approve images: add their digests to the allowlist
    Register(Later<register::RegisterArgs>),
    /// Take approvals back: remove images from the allowlist
    Unregister(Later<register::UnregisterArgs>),
    /// Say by which digest a plugin is named in `ALLOW_PLUGINS`
    Plugin(Later<plugin::PluginArgs>),
    /// Read the allowlist, or clear it up
    Allowlist(Later<allowlist::AllowlistArgs>),
}

/// The command line as clap has it: manual pages and completions are made of it.
#[must_use]
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Reads the arguments and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    // Usage errors end with 1, "could not tell"; 2 is a refusal.
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { UNKNOWN } else { YES });
        }
    };
    if !matches!(arguments.command, Command::Serve(_))
        && let Err(why) = has_descriptors()
    {
        out::fault(&why);
        return ExitCode::from(could_not_tell(&arguments.command));
    }
    // What is no text is not unset: what becomes of it is a fault of the setting.
    let settings = Settings::read(|name| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned()));
    if let Command::Serve(arguments) = &arguments.command {
        return serve::run(arguments, settings);
    }
    std::panic::set_hook(Box::new(|panic| out::fault(&told_of(panic))));
    let code = could_not_tell(&arguments.command);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(arguments.command, settings)))
        .unwrap_or_else(|_| ExitCode::from(code))
}

/// What is said of a panic.
fn told_of(panic: &std::panic::PanicHookInfo<'_>) -> String {
    format!("a fault of this program, please report it: {}", escaped(&panic.to_string()))
}

/// The exit code of a command that broke off: where the question was whether an image may run, that is a no.
fn could_not_tell(command: &Command) -> u8 {
    match command {
        Command::Trust(arguments) if arguments.is_question() => NO,
        _ => UNKNOWN,
    }
}

fn run(command: Command, settings: Settings) -> ExitCode {
    let person = |env: Settings| Place::find(env.clone()).for_person(&env);
    match command {
        Command::Serve(arguments) => serve::run(&arguments, settings),
        Command::Check(arguments) => check::check(&arguments, &Place::find(settings)),
        Command::Explain(arguments) => check::explain(&arguments, &Place::find(settings)),
        Command::Doctor(arguments) => doctor::run(&arguments, settings),
        Command::Enable(arguments) => enable::enable(&arguments, settings),
        Command::Disable(arguments) => enable::disable(&arguments, settings),
        Command::Audit(arguments) => audit::run(&arguments, &settings),
        Command::Settings(arguments) => settings::run(&arguments, settings),
        Command::Policy(arguments) => policy::run(&arguments, settings),
        Command::Exception(arguments) => exception::run(&arguments, settings),
        Command::Help(arguments) => help::run(&arguments),
        Command::Log(arguments) if arguments.needs_no_gate() => log::run(&arguments, None),
        Command::Log(arguments) => match state_of(Place::find(settings)) {
            Ok(settings) => log::run(&arguments, Some(&settings)),
            Err(why) => {
                out::fault(&why);
                ExitCode::from(UNKNOWN)
            }
        },
        Command::Status(arguments) => status::run(&arguments, settings),
        Command::Monitor(arguments) => monitor::run(&arguments, settings),
        Command::Register(arguments) => register::run(&arguments, &settings),
        Command::Unregister(arguments) => register::run_unregister(&arguments, &person(settings)),
        Command::Allowlist(arguments) => allowlist::run(&arguments, &person(settings)),
        Command::Plugin(arguments) => plugin::run(&arguments, &settings),
        Command::Migrate(arguments) if arguments.needs_no_gate() => trust::run_migrate(&arguments, &settings),
        Command::Migrate(arguments) => trust::run_migrate(&arguments, &person(settings)),
        Command::Trust(arguments) if arguments.needs_no_gate() => trust::run(&arguments, &settings, None),
        Command::Trust(arguments) => {
            let place = Place::find(settings.clone());
            trust::run(&arguments, &place.for_person(&settings), Some(&place))
        }
    }
}

/// Where the gate's state is, whatever else is known of it; or why that is not known.
fn state_of(place: Place) -> Result<Settings, String> {
    match &place.basis {
        Err(why) if !place.settings.state_dir().join(setup::AUDIT_LOG).exists() => {
            Err(format!("the gate's state folder is not known: {why}"))
        }
        Ok(_) | Err(_) => Ok(place.settings),
    }
}

/// Descriptors that a command needs besides those it has: its runtime, connections, files.
const DESCRIPTORS: usize = 10;

/// Whether there are enough: what lacks one deep inside a library ends in a panic, and says nothing of the cause.
fn has_descriptors() -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < 1024) {
        // As far as it may; what is lacking then is said.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum.map_or(Some(1024), |most| Some(most.min(1024))), maximum });
    }
    let mut held = Vec::with_capacity(DESCRIPTORS);
    for _ in 0..DESCRIPTORS {
        match std::fs::File::open("/") {
            Ok(file) => held.push(file),
            Err(error) => {
                return Err(format!(
                    "this process may open too few files ({error}): a command needs {DESCRIPTORS} besides those it has; raise `ulimit -n`"
                ));
            }
        }
    }
    Ok(())
}
