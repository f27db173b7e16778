//! `trust`: what a Notary server's trust data says, verified here and now; no gate needs to run.

mod carry;
mod export;
mod forget;
pub(in crate::cli) mod image;
mod import;
mod inspect;
mod judges;
mod learn;
mod migrate;
mod pin;
mod root;
mod status;
mod table;
mod verify;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use self::export::{Export, export};
use self::forget::{Forget, forget};
use self::import::{Import, import};
use self::inspect::{Inspect, inspect};
pub(super) use self::migrate::Migrate;
use self::migrate::migrate;
use self::pin::{Pin, pin};
use self::root::{Root, root};
use self::status::{Status, status};
use self::verify::{Verify, verify};
use super::later::Later;
use super::trail::{Change, Trail};
use super::{NO, UNKNOWN, YES};
use crate::clock;
use crate::image::{Reference, Repository};
use crate::policy::Settings;
use crate::setup::{self, DEFAULT_SERVER, Kept, LastGood, NETWORK_TIME, NotaryFault, NotaryOf, Place};
use crate::trust::cosign;
use crate::trust::evidence::Record;
use crate::trust::notary::{Notary, RequiredSigners};
use crate::trust::{Asking, Purpose, Question, TrustCode, TrustError, Verifier as _, VerifierName};

/// Signers, keys and expiries of trust data; verify one reference
#[derive(Args)]
pub(super) struct TrustArgs {
    #[command(subcommand)]
    command: Command,
}

impl Migrate {
    /// Whether the state folder is given, and the server that is asked, so that the gate of this host need not be looked for.
    pub(super) const fn needs_no_gate(&self) -> bool {
        self.common.state.is_some() && self.common.server.is_some()
    }
}

impl TrustArgs {
    /// Whether it is asked if an image may run: then not being able to tell is a no.
    pub(super) const fn is_question(&self) -> bool {
        matches!(self.command, Command::Verify(_))
    }

    /// Whether the state folder is given, and the server that is asked, so that the gate of this host need not be looked for.
    pub(super) fn needs_no_gate(&self) -> bool {
        let common = match &self.command {
            Command::Verify(verify) if verify.policy.is_some() => return verify.common.state.is_some(),
            Command::Verify(verify) => &verify.common,
            Command::Inspect(inspect) if inspect.policy.is_some() => return inspect.common.state.is_some(),
            Command::Inspect(inspect) => &inspect.common,
            Command::Pin(pin) => &pin.common,
            Command::Export(export) => &export.common,
            Command::Import(import) => &import.common,
            Command::Status(status) => return status.state.is_some(),
            Command::Forget(forget) => return forget.state.is_some(),
            Command::Root(_) => return true,
        };
        common.state.is_some() && common.server.is_some()
    }
}

#[derive(Subcommand)]
enum Command {
    /// Verify one reference against the Notary server, or with all that a policy file requires
    ///
    /// With --policy every verifier of the image's scope is asked, of whatever type, and they must agree on one digest.
    ///
    /// Exit code 0 is a yes. Whatever keeps it from finding out is a no, 2; only a command line that cannot be read is 1.
    ///
    /// Example: img-authz trust verify registry.example/team/app:1.0 --server notary.example:4443
    Verify(Later<Verify>),
    /// Show all signatures of an image, of every kind; or what a Notary has of a repository
    ///
    /// Of an image, by tag or digest: signatures of cosign and notation, attestations, what a builder put beside it, and what a Notary has signed;
    /// each with its signer, and whether it counts for the verifiers of the policy, and why not. Of a repository: its tags, signers, keys and
    /// expiries at the Notary.
    ///
    /// Example: img-authz trust inspect registry.example/team/app:1.0 --policy policy.toml
    Inspect(Later<Inspect>),
    /// Learn from an image whom to trust, as a block for the policy file; or show the root of a Notary, and write it
    ///
    /// Of an image, by tag or digest: the verifiers that its signatures would need, to paste into policy.toml, with what has to be compared with
    /// the publisher first. Of a repository: the root of trust that would be pinned.
    ///
    /// Example: img-authz trust pin registry.example/team/app:1.0 --key release.pub
    ///
    /// Example: img-authz trust pin registry.example/team/app --write /etc/docker/img-authz/pins.json
    Pin(Later<Pin>),
    /// Show all repositories known here, the one that expires first in front, and the signatures that are kept
    ///
    /// What is kept of signatures serves while their registry is away, as long as a key of the policy has made them.
    ///
    /// Exit code 2 if one is refused, has expired, or must be signed again soon: root within 90 days, targets and delegations
    /// within 30; or if the gate of this host cannot reach the server. What the server signs it renews when it is asked, so that does
    /// not count.
    ///
    /// Example: img-authz trust status
    Status(Later<Status>),
    /// Write verified trust data, or the signatures of images, to a file for a host that cannot reach the server
    ///
    /// With --signatures: what lies beside the images in their registry, whoever made it. The host that takes it in judges it.
    ///
    /// Example: img-authz trust export registry.example/team/app --file trust.bundle
    Export(Later<Export>),
    /// Take in such a file; pins, dates and rollback count as if the server had answered
    ///
    /// Of a bundle of signatures those images are taken in that are named. They are verified by the verifiers of the policy as though the registry
    /// had sent them; what counts is kept as evidence.
    ///
    /// What a server or a registry took back stays so: a bundle does not show whether it was signed before or since.
    ///
    /// Example: img-authz trust import trust.bundle
    Import(Later<Import>),
    /// Forget what is known of a repository: its root, the versions seen, a withdrawal; or the signatures kept of a digest
    ///
    /// For a Notary server that was installed again, or state that is damaged. What the server answers next counts as the first time,
    /// unless a pin says which root counts; compare the root key with the publisher (trust pin shows it).
    ///
    /// Example: img-authz trust forget registry.example/team/app
    Forget(Later<Forget>),
    /// Show what a trusted root of Sigstore trusts (`trusted_root.json`), or check whether it is still up to date
    ///
    /// Such a file belongs to a verifier of type cosign (`trusted_root` in the policy file): what its logs and authorities do not prove does not
    /// count. A machine that reaches Sigstore makes it: cosign trusted-root create --with-default-services --out FILE
    ///
    /// Exit code 2 of check: something runs out within 90 days or has run out, or the youngest log is more than a year old.
    ///
    /// Example: img-authz trust root check /etc/docker/img-authz/trusted_root.json
    Root(Later<Root>),
}

#[derive(Args)]
struct Common {
    /// The Notary server (default: NOTARY)
    #[arg(long)]
    server: Option<String>,
    /// PEM file of the CA of the server's certificate (default: `NOTARY_ROOT_CA`, docker's folders, the system's CAs)
    #[arg(long, value_name = "FILE")]
    root_ca: Option<PathBuf>,
    /// Which Notary verifier of the policy file (default: the first)
    #[arg(long, value_name = "NAME")]
    verifier: Option<VerifierName>,
    /// Folder for verified trust data (default: the gate's; for another server than NOTARY, or other pins than `NOTARY_PINS`, one of
    /// its own)
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// File with notary's `trust_pinning` block (default: `NOTARY_PINS`)
    #[arg(long, value_name = "FILE")]
    pins: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Why a command ends without a yes.
enum Stop {
    /// Several questions, and a no among the answers; all of them.
    Partly(String),
    /// A refusal, with its code.
    Refused { code: &'static str, message: String },
    /// Usage or our own failure.
    Unknown(String),
}

impl From<NotaryFault> for Stop {
    fn from(fault: NotaryFault) -> Self {
        match fault {
            NotaryFault::Refused(message) => Self::Refused { code: TrustCode::Misconfigured.as_str(), message },
            NotaryFault::Unknown(message) => Self::Unknown(message),
        }
    }
}

impl Common {
    fn notary(&self, settings: &Settings, require: RequiredSigners) -> Result<Notary, Stop> {
        self.notary_at(settings, require).map(|(notary, _)| notary)
    }

    /// The verifier, and the folder of its state.
    fn notary_at(&self, settings: &Settings, require: RequiredSigners) -> Result<(Notary, PathBuf), Stop> {
        if self.server.is_none() && settings.policy_file().is_none() && settings.get("NOTARY").is_none() {
            super::out::note(&format!("note: NOTARY is not set here, so {DEFAULT_SERVER} is asked; --server names another"));
        }
        let named = NotaryOf {
            verifier: self.verifier.as_ref(),
            server: self.server.as_deref(),
            root_ca: self.root_ca.as_deref(),
            state: self.state.as_deref(),
            pins: self.pins.as_deref(),
        };
        Ok(setup::notary_of_person(settings, &named, require)?)
    }
}

impl Stop {
    /// For people.
    fn message(self) -> String {
        match self {
            Self::Partly(message) | Self::Refused { message, .. } | Self::Unknown(message) => message,
        }
    }

    /// Which no it is.
    const fn code(&self) -> &'static str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Partly(_) | Self::Unknown(_) => TrustCode::Misconfigured.as_str(),
        }
    }

    /// A no of the verifier of this name.
    fn of(error: &TrustError, verifier: &VerifierName) -> Self {
        Self::with(error.code, error.to_string(), &error.remedy(verifier))
    }

    fn with(code: TrustCode, message: String, remedy: &str) -> Self {
        match code {
            TrustCode::Misconfigured => Self::Unknown(message),
            code => Self::Refused { code: code.as_str(), message: format!("{message}; {remedy}") },
        }
    }

    /// The same as a no: where the question was whether an image may run, not being able to tell is one.
    fn refused(self) -> Self {
        match self {
            Self::Unknown(message) => Self::Refused { code: TrustCode::Misconfigured.as_str(), message },
            no @ (Self::Refused { .. } | Self::Partly(_)) => no,
        }
    }
}

/// `place`: the gate of this host, where it was looked for.
pub(super) fn run(arguments: &TrustArgs, settings: &Settings, place: Option<&Place>) -> ExitCode {
    warnings_to_the_person();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(stop) => {
            return match &arguments.command {
                Command::Verify(arguments) => finish(Err(stop.refused()), arguments.common.json),
                _ => finish(Err(stop), false),
            };
        }
    };
    let yes = |text| (text, YES);
    let (done, json) = match &arguments.command {
        Command::Verify(arguments) => {
            // A fault of our own is a no as well.
            let verified = catch_unwind(AssertUnwindSafe(|| runtime.block_on(verify(arguments, settings))));
            let verified = verified.unwrap_or_else(|_| Err(Stop::Unknown("the verification broke off".to_owned())));
            (verified.map(yes).map_err(Stop::refused), arguments.common.json)
        }
        Command::Inspect(arguments) => {
            (runtime.block_on(inspect(arguments, settings, kept_by(place))).map(yes), arguments.common.json)
        }
        Command::Pin(arguments) => (runtime.block_on(pin(arguments, settings)).map(yes), arguments.common.json),
        Command::Export(arguments) => (runtime.block_on(export(arguments, settings)).map(yes), arguments.common.json),
        Command::Import(arguments) => {
            (runtime.block_on(import(arguments, settings, kept_by(place))).map(yes), arguments.common.json)
        }
        Command::Status(arguments) => {
            // Since when the gate of this host cannot reach the server.
            let out_since = place.and_then(|place| place.in_force.as_ref()?.notary_out_since);
            (runtime.block_on(status(arguments, settings, out_since)), arguments.json)
        }
        Command::Forget(arguments) => (runtime.block_on(forget(arguments, settings)).map(yes), arguments.json),
        Command::Root(arguments) => (root(arguments, clock::now()), arguments.is_json()),
    };
    // Nothing that still runs (a name lookup that hangs) holds up the answer.
    runtime.shutdown_background();
    finish(done, json)
}

/// `migrate`, which looks at what these commands look at.
pub(super) fn run_migrate(arguments: &Migrate, settings: &Settings) -> ExitCode {
    warnings_to_the_person();
    let done = runtime().and_then(|runtime| {
        let done = runtime.block_on(migrate(arguments, settings));
        runtime.shutdown_background();
        done
    });
    finish(done, arguments.common.json)
}

/// By what the gate of this host judges.
fn kept_by(place: Option<&Place>) -> Kept {
    place.map_or_else(|| Kept::looking(LastGood::default(), []), Place::kept)
}

fn warnings_to_the_person() {
    // Warnings (first use, damaged state) are for the person; the answer alone is on stdout.
    let _ = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .try_init();
}

fn runtime() -> Result<tokio::runtime::Runtime, Stop> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Stop::Unknown(format!("no runtime: {error}")))
}

/// Prints the answer and turns it into the exit code.
fn finish(done: Result<(String, u8), Stop>, json: bool) -> ExitCode {
    let (text, to_stdout, code) = match done {
        Ok((text, code)) => (text, true, code),
        Err(Stop::Partly(text)) => (text, true, NO),
        Err(Stop::Refused { code, message }) if json => (json!({ "code": code, "message": message }).to_string(), true, NO),
        Err(Stop::Refused { code, message }) => (format!("refused ({code}): {message}"), false, NO),
        Err(Stop::Unknown(message)) if json => {
            (json!({ "code": TrustCode::Misconfigured.as_str(), "message": message }).to_string(), true, UNKNOWN)
        }
        Err(Stop::Unknown(message)) => (format!("img-authz trust: {message}"), false, UNKNOWN),
    };
    // A reader that went away changes nothing about the answer.
    let _ = if to_stdout { writeln!(std::io::stdout(), "{text}") } else { writeln!(std::io::stderr(), "{text}") };
    ExitCode::from(code)
}

/// A pull, here and now.
fn asking() -> Asking {
    Asking { purpose: Purpose::Pull, now: clock::now(), deadline: Instant::now() + NETWORK_TIME }
}

/// Asks the server, whatever tag is signed.
async fn check(notary: &Notary, repository: &Repository) -> Result<(), Stop> {
    let question = Question::Tag(crate::image::Tag::latest());
    match notary.vouch(repository, &question, asking()).await {
        Ok(_) => Ok(()),
        Err(error) if error.code == TrustCode::NotSigned => Ok(()),
        Err(error) => Err(Stop::of(&error, notary.name())),
    }
}

/// The audit log of the gate whose trust data is changed; a folder that was named may be no gate's.
fn trail(named: Option<&Path>, settings: &Settings) -> Result<Trail, Stop> {
    let state = match named.map(|folder| folder.parent().unwrap_or(folder)) {
        None => settings.state_dir(),
        Some(parent) if parent.join(setup::AUDIT_LOG).is_file() => parent.to_owned(),
        Some(_) => return Ok(Trail::none()),
    };
    Trail::open(settings, &state).map_err(Stop::Unknown)
}

/// A signature that is kept, for programs.
fn kept(record: &Record) -> serde_json::Value {
    json!({
        "repository": record.key.repository,
        "digest": record.key.digest,
        "verifier": record.key.verifier.to_string(),
        "type": record.scheme,
        "signer": cosign::claims(record),
        "since": record.found,
        "checked": Some(record.asked).filter(|asked| *asked != jiff::Timestamp::UNIX_EPOCH),
    })
}

fn changed(repository: &impl std::fmt::Display, message: &str) -> Change {
    Change { image: repository.to_string(), message: message.to_owned(), ..Change::default() }
}

fn reference(text: &str) -> Result<Reference, Stop> {
    // What is no reference is certainly not signed.
    text.parse()
        .map_err(|error: crate::image::ReferenceError| Stop::Refused { code: "reference-invalid", message: error.to_string() })
}

fn unread(path: &Path, error: &std::io::Error) -> Stop {
    Stop::Unknown(format!("`{}` cannot be read: {error}", path.display()))
}

fn to_json(value: &impl Serialize) -> Result<String, Stop> {
    serde_json::to_string(value).map_err(|error| Stop::Unknown(error.to_string()))
}
