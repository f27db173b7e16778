//! `trust`: what a Notary server's trust data says, verified here and now; no gate needs to run.

use std::ffi::OsString;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::trail::{Change, Trail};
use super::{NO, UNKNOWN, YES};
use crate::clock;
use crate::files::{read_bytes, read_text, replace_regular};
use crate::image::{Digest, Reference, Repository};
use crate::net::auth::DockerConfig;
use crate::net::{Tls, Url, authority};
use crate::policy::{Resolved, Settings, trust_remedy};
use crate::setup::{self, list};
use crate::text::clean;
use crate::trust::notary::{
    Config, Inspection, Notary, OnOutage, RepositoryStatus, RequiredSigners, RootHistory, Source, Withdrawal, signer,
};
use crate::trust::tuf::{OfferedRoot, Pins, PinsError, TagView};
use crate::trust::{Asking, Purpose, Question, TrustCode, TrustError};

/// How long the server gets. A person waits longer than dockerd does.
const NETWORK_TIME: Duration = Duration::from_secs(12);
/// Largest bundle taken in.
const BUNDLE_BYTES: u64 = 256 << 20;
/// The mode of a bundle: it holds nothing that the server does not tell everybody.
const BUNDLE_MODE: u32 = 0o644;
/// Largest pins file or CA bundle.
const FILE_BYTES: u64 = 4 << 20;
/// The server where none is named, as docker has it.
const DEFAULT_SERVER: &str = "https://notary.docker.io";

/// Signers, keys and expiries of trust data; verify one reference
#[derive(Args)]
pub(super) struct TrustArgs {
    #[command(subcommand)]
    command: Command,
}

impl TrustArgs {
    /// Whether it is asked if an image may run: then not being able to tell is a no.
    pub(super) const fn is_question(&self) -> bool {
        matches!(self.command, Command::Verify(_))
    }

    /// Whether the state folder is given, and the server that is asked, so that the gate of this host need not be looked for.
    pub(super) fn needs_no_gate(&self) -> bool {
        let common = match &self.command {
            Command::Verify(verify) => &verify.common,
            Command::Inspect(inspect) => &inspect.common,
            Command::Pin(pin) => &pin.common,
            Command::Export(export) => &export.common,
            Command::Import(import) => &import.common,
            Command::Status(status) => return status.state.is_some(),
            Command::Forget(forget) => return forget.state.is_some(),
        };
        common.state.is_some() && common.server.is_some()
    }
}

#[derive(Subcommand)]
enum Command {
    /// Verify one reference against the Notary server
    ///
    /// Exit code 0 is a yes. Whatever keeps it from finding out is a no, 2; only a command line that cannot be read is 1.
    ///
    /// Example: img-authz trust verify registry.example/team/app:1.0 --server notary.example:4443
    Verify(Verify),
    /// Show a repository's tags, signers, keys and expiries
    ///
    /// Example: img-authz trust inspect registry.example/team/app
    Inspect(Inspect),
    /// Show the root of trust that would be pinned, and write it
    ///
    /// Example: img-authz trust pin registry.example/team/app --write /etc/docker/img-authz/pins.json
    Pin(Pin),
    /// Show all repositories known here, the one that expires first in front
    ///
    /// Exit code 2 if one is refused, has expired, or must be signed again soon: root within 90 days, targets and delegations
    /// within 30; or if the gate of this host cannot reach the server. What the server signs it renews when it is asked, so that does
    /// not count.
    ///
    /// Example: img-authz trust status
    Status(Status),
    /// Write verified trust data to a file, for a host that cannot reach the server
    ///
    /// Example: img-authz trust export registry.example/team/app --file trust.bundle
    Export(Export),
    /// Take in such a file; pins, dates and rollback count as if the server had answered
    ///
    /// What a server took back stays so: a bundle does not show whether it was signed before or since.
    ///
    /// Example: img-authz trust import trust.bundle
    Import(Import),
    /// Forget what is known of a repository: its root, the versions seen, a withdrawal
    ///
    /// For a Notary server that was installed again, or state that is damaged. What the server answers next counts as the first time,
    /// unless a pin says which root counts; compare the root key with the publisher (trust pin shows it).
    ///
    /// Example: img-authz trust forget registry.example/team/app
    Forget(Forget),
}

#[derive(Args)]
struct Forget {
    /// The repository; a tag is ignored
    reference: String,
    /// Folder for verified trust data (default: the gate's)
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Export {
    /// The repositories
    #[arg(required = true)]
    repositories: Vec<String>,
    /// The file to write
    #[arg(long)]
    file: PathBuf,
    #[command(flatten)]
    common: Common,
    /// Ask nobody: export what is known here, without the roots before it, which a host that knows an older one needs
    #[arg(long)]
    offline: bool,
}

#[derive(Args)]
struct Import {
    /// The file
    file: PathBuf,
    /// Take in what the server took back, too: the publisher says that he has signed again since
    #[arg(long)]
    undo_withdrawal: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct Common {
    /// The Notary server (default: NOTARY)
    #[arg(long)]
    server: Option<String>,
    /// PEM file of the CA of the server's certificate (default: `NOTARY_ROOT_CA`, docker's folders, the system's CAs)
    #[arg(long, value_name = "FILE")]
    root_ca: Option<PathBuf>,
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

#[derive(Args)]
struct Verify {
    /// The image, by tag or digest
    #[arg(allow_hyphen_values = true)]
    reference: OsString,
    #[command(flatten)]
    common: Common,
    /// A signer that must agree (`release-team`), besides those of `NOTARY_SIGNERS`; may be given several times
    #[arg(long = "require", value_name = "SIGNER")]
    require: Vec<String>,
}

#[derive(Args)]
struct Inspect {
    /// The repository; a tag is ignored
    reference: String,
    #[command(flatten)]
    common: Common,
    /// Ask nobody: show what is known here
    #[arg(long)]
    offline: bool,
}

#[derive(Args)]
struct Pin {
    /// The repository; a tag is ignored
    reference: String,
    #[command(flatten)]
    common: Common,
    /// Add the pin to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Args)]
struct Status {
    /// Folder for verified trust data (default: the gate's)
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
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

impl Stop {
    fn text(self) -> String {
        match self {
            Self::Partly(text) | Self::Unknown(text) | Self::Refused { message: text, .. } => text,
        }
    }
}

impl From<TrustError> for Stop {
    fn from(error: TrustError) -> Self {
        let remedy = trust_remedy(error.code);
        Self::with(error, remedy)
    }
}

impl Stop {
    fn with(error: TrustError, remedy: &str) -> Self {
        match error.code {
            TrustCode::Misconfigured => Self::Unknown(error.message),
            code => Self::Refused { code: code.as_str(), message: format!("{}; {remedy}", error.message) },
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

#[derive(Serialize)]
struct Verified {
    digest: String,
    role: String,
    signers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// `out_since`: since when the gate of this host cannot reach the server.
pub(super) fn run(arguments: &TrustArgs, settings: &Settings, out_since: Option<Timestamp>) -> ExitCode {
    // Warnings (first use, damaged state) are for the person; the answer alone is on stdout.
    let _ = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .try_init();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let stop = Stop::Unknown(format!("no runtime: {error}"));
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
        Command::Inspect(arguments) => (runtime.block_on(inspect(arguments, settings)).map(yes), arguments.common.json),
        Command::Pin(arguments) => (runtime.block_on(pin(arguments, settings)).map(yes), arguments.common.json),
        Command::Export(arguments) => (runtime.block_on(export(arguments, settings)).map(yes), arguments.common.json),
        Command::Import(arguments) => (runtime.block_on(import(arguments, settings)).map(yes), arguments.common.json),
        Command::Status(arguments) => (runtime.block_on(status(arguments, settings, out_since)), arguments.json),
        Command::Forget(arguments) => (runtime.block_on(forget(arguments, settings)).map(yes), arguments.json),
    };
    // Nothing that still runs (a name lookup that hangs) holds up the answer.
    runtime.shutdown_background();
    finish(done, json)
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

async fn verify(arguments: &Verify, settings: &Settings) -> Result<String, Stop> {
    // What is no text is no reference.
    let reference = reference(&arguments.reference.to_string_lossy())?;
    // Those of the settings, and those asked for here.
    let configured = settings.signers().map_err(|faults| Stop::Unknown(list(&faults)))?;
    let mut require = configured.of(&reference.repository).to_vec();
    for name in &arguments.require {
        require.push(signer(name).map_err(|error| Stop::Unknown(error.to_string()))?);
    }
    let notary = notary(&arguments.common, settings, RequiredSigners::everywhere(require))?;
    let question = match (reference.digest, reference.tag) {
        (Some(digest), _) => Question::AnyOf(vec![digest]),
        (None, Some(tag)) => Question::Tag(tag),
        (None, None) => Question::Tag(crate::image::Tag::latest()),
    };
    let vouch = notary.vouch(&reference.repository, &question, asking()).await?;
    let verified = Verified {
        digest: vouch.digest().to_string(),
        role: vouch.role().to_owned(),
        signers: vouch.signers().to_vec(),
        expires: vouch.expires().map(|expires| expires.to_string()),
    };
    if arguments.common.json {
        return to_json(&verified);
    }
    let signers = if verified.signers.is_empty() { "the repository's owner".to_owned() } else { verified.signers.join(", ") };
    Ok(format!(
        "{}\nrole     {}\nsigners  {signers}\nexpires  {}",
        verified.digest,
        verified.role,
        verified.expires.unwrap_or_default()
    ))
}

async fn inspect(arguments: &Inspect, settings: &Settings) -> Result<String, Stop> {
    let repository = reference(&arguments.reference)?.repository;
    let signers = settings.signers().map_err(|faults| Stop::Unknown(list(&faults)))?;
    let notary = notary(&arguments.common, settings, signers)?;
    if !arguments.offline {
        check(&notary, &repository).await?;
    }
    let Some(found) = notary.inspect(&repository, clock::now()).await else {
        let message = format!("nothing is known of `{repository}` here");
        return Err(Stop::Refused { code: TrustCode::NoTrustData.as_str(), message });
    };
    if arguments.common.json {
        return to_json(&found);
    }
    Ok(inspection(&repository, &found))
}

/// The same for people, in docker's order: tags, signers, keys.
fn inspection(repository: &Repository, found: &Inspection) -> String {
    let view = &found.view;
    let mut text = format!("{repository}\nserver   {}\npinned   {}\nchecked  {}\n", found.server, found.pin, view.checked);
    if let Some(why) = &found.refused {
        text.push_str(&format!("refused  {}: nothing below is used until the server gives a good answer\n", clean(why)));
    }
    let owner = |signers: &[String]| if signers.is_empty() { "(owner)".to_owned() } else { signers.join(", ") };
    let row = |tag: &String, view: &TagView| vec![clean(tag), view.digest.to_string(), view.role.clone(), owner(&view.signers)];
    let tags = view.tags.iter().map(|(tag, view)| row(tag, view));
    let refused = view.refused_tags.iter().map(|(tag, why)| vec![clean(tag), format!("refused: {}", clean(why))]);
    text.push_str(&table(&["TAG", "DIGEST", "ROLE", "SIGNERS"], tags.chain(refused)));
    // Docker shows who may sign, and hides the role that all of them fill.
    let signers = view.roles.iter().filter_map(|role| {
        let name = role.name.strip_prefix("targets/").filter(|name| *name != "releases")?;
        let keys: Vec<String> = role.docker_keys.iter().map(|key| key.chars().take(12).collect()).collect();
        Some(vec![name.to_owned(), keys.join(", ")])
    });
    text.push_str(&table(&["SIGNER", "KEYS"], signers));
    let roles = view.roles.iter().map(|role| {
        let state = match &role.left_out {
            Some(why) => format!("left out: {}", clean(why)),
            None if role.is_expiring && role.expires <= clock::now() => "expired".to_owned(),
            None if role.is_expiring => "expires soon".to_owned(),
            None => String::new(),
        };
        let keys: Vec<String> = role.keys.iter().map(|key| key.chars().take(12).collect()).collect();
        let threshold = format!("{} of {}", role.threshold, role.keys.len());
        vec![role.name.clone(), role.version.to_string(), second(role.expires), threshold, keys.join(" "), state]
    });
    text.push_str(&table(&["ROLE", "VERSION", "EXPIRES", "NEEDS", "KEYS", ""], roles));
    text.push_str(
        "\nroot keys: what NOTARY_PINS and `docker trust inspect` call the key, then what `notary key list` calls it\n",
    );
    for role in view.roles.iter().filter(|role| role.name == "root") {
        for (key, bare) in role.keys.iter().zip(&role.docker_keys) {
            text.push_str(&format!("  {key}  {bare}\n"));
        }
    }
    text.trim_end().to_owned()
}

/// A line above, a head, and rows in columns; nothing where there are no rows.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let width = |column: usize| {
        // The last cell of a row needs no room: it may be a sentence.
        let cells = rows.iter().filter(|row| row.len() > column + 1).filter_map(|row| row.get(column));
        cells.map(String::as_str).chain(head.get(column).copied()).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.enumerate().map(|(column, cell)| format!("{cell:width$}", width = width(column))).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = format!("\n{}", line(&mut head.iter().copied()));
    for row in &rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

async fn pin(arguments: &Pin, settings: &Settings) -> Result<String, Stop> {
    let repository = reference(&arguments.reference)?.repository;
    let notary = notary(&arguments.common, settings, RequiredSigners::default())?;
    if let Err(stop) = check(&notary, &repository).await {
        return Err(match stop {
            Stop::Refused { code, message } if code == TrustCode::RootNotTrusted.as_str() => {
                let offered = notary.offered(&repository).await;
                Stop::Refused { code, message: format!("{message}{}", offered.as_ref().map_or_else(String::new, not_trusted)) }
            }
            stop => stop,
        });
    }
    let (version, keys) =
        notary.root(&repository).await.ok_or_else(|| Stop::Unknown("the root of trust was not kept".to_owned()))?;
    let mut is_continued = false;
    if let Some(path) = &arguments.write {
        // A new file begins with the pins that are in force: whoever sets NOTARY_PINS to it drops none of them.
        let set = match &arguments.common.pins {
            Some(pins) => Some(read(pins)?),
            None => settings.get("NOTARY_PINS").map(str::to_owned),
        };
        is_continued = set.is_some() && !path.exists();
        add_pin(path, set.as_deref(), &repository, &keys).map_err(|why| Stop::Unknown(format!("`{}`: {why}", path.display())))?;
    }
    if arguments.common.json {
        return to_json(&json!({ "repository": repository, "version": version, "certs": { repository.as_str(): keys } }));
    }
    let mut text = format!("{repository}\nroot version {version}, keys:\n");
    for key in &keys {
        text.push_str(&format!("  {key}\n"));
    }
    match &arguments.write {
        Some(path) => {
            text.push_str(&format!(
                "written to {0}; not in force until NOTARY_PINS has it: docker plugin disable, docker plugin set NOTARY_PINS=\"$(cat {0})\", \
                 docker plugin enable, then reload dockerd",
                path.display()
            ));
            if is_continued {
                text.push_str("\nthe file has the pins that were set before as well, so that none of them is dropped");
            }
        }
        None => text.push_str("compare them with what the owner says, then pin them with --write FILE"),
    }
    Ok(text)
}

/// The ids of a root that was refused, for comparing: without them nobody could pin it.
fn not_trusted(root: &OfferedRoot) -> String {
    let mut text = format!(
        "\n\nNOT TRUSTED: the root that the server offers, version {}: what NOTARY_PINS and `docker trust inspect` call the key, then \
         what `notary key list` calls it\n",
        root.version
    );
    for (key, bare) in &root.keys {
        text.push_str(&format!("  {key}  {bare}\n"));
    }
    text + "pin it only if the publisher reads you the same id, by phone or in person"
}

/// All that is kept, and whether somebody has to do something about it.
async fn status(arguments: &Status, settings: &Settings, out_since: Option<Timestamp>) -> Result<(String, u8), Stop> {
    let folder = arguments.state.clone().unwrap_or_else(|| state_dir(settings));
    // Nobody is asked; where bundles are carried here, nobody renews them either.
    let source = if settings.is_import() { Source::Import } else { DEFAULT_SERVER.into() };
    let notary = Notary::new(Config::new(source, folder))?;
    let (statuses, now) = (notary.statuses().await, clock::now());
    let limit = settings.stale_limit(Some(&Source::Import)).ok().filter(|_| settings.is_import());
    let is_outdated = |status: &RepositoryStatus| limit.is_some_and(|limit| status.is_outdated(limit, now));
    let is_finding =
        |status: &RepositoryStatus| status.fault.is_some() || is_outdated(status) || status.soon(now).next().is_some();
    let outage = out_since.map(|since| Outage::of(since, settings));
    let code = if statuses.iter().any(is_finding) || outage.is_some() { NO } else { YES };
    if arguments.json {
        let Some(outage) = &outage else { return Ok((to_json(&statuses)?, code)) };
        let told = statuses.iter().map(|status| {
            let mut told = serde_json::to_value(status).map_err(|error| Stop::Unknown(error.to_string()))?;
            if let Some(told) = told.as_object_mut() {
                told.insert("out_of_reach_since".to_owned(), json!(outage.since));
                told.insert("usable_until".to_owned(), json!(outage.until(status)));
            }
            Ok(told)
        });
        return Ok((to_json(&told.collect::<Result<Vec<_>, Stop>>()?)?, code));
    }
    let rows = statuses.iter().map(|status| {
        let state = match (&status.fault, status.soon(now).next()) {
            (Some(fault), _) => format!("refused ({}): {}", status.code.unwrap_or_default(), clean(fault)),
            (None, _) if is_outdated(status) => "expired: checked longer ago than STALE_LIMIT".to_owned(),
            (None, Some(soon)) if soon.expires <= now => format!("expired: {}", soon.role),
            (None, Some(soon)) => format!("expires soon: {}", soon.role),
            (None, None) => match &outage {
                Some(outage) => outage.state(status, now),
                None if status.is_ahead(now) => {
                    format!("good, but this host's clock went back: dates count from {}", second(status.seen))
                }
                None => "good".to_owned(),
            },
        };
        let first = status.first();
        let (role, expires) = first.map_or_else(Default::default, |first| (first.role.clone(), second(first.expires)));
        vec![clean(&status.repository), expires, role, second(status.checked), state]
    });
    let mut text = table(&["REPOSITORY", "EXPIRES", "EXPIRES FIRST", "CHECKED", "STATE"], rows);
    if let Some(outage) = outage.filter(|_| !text.is_empty()) {
        text.push_str(&format!("\nthe gate cannot reach the Notary server since {}: pulls are refused", second(outage.since)));
    }
    Ok((if text.is_empty() { "no repository is known here".to_owned() } else { text.trim().to_owned() }, code))
}

/// A server that the gate of this host cannot reach.
struct Outage {
    since: Timestamp,
    /// For how long what is known counts meanwhile; nothing where it does not.
    limit: Option<Duration>,
}

impl Outage {
    fn of(since: Timestamp, settings: &Settings) -> Self {
        // Faulty settings are not in force; the gate's are not at fault.
        let resolved = settings.resolve(false).ok();
        let written = resolved.iter().flat_map(Resolved::notaries).map(|(_, written)| written).next();
        let limit = written.filter(|written| written.on_outage == OnOutage::UseKnown).map(|written| written.stale_limit);
        Self { since, limit }
    }

    fn until(&self, status: &RepositoryStatus) -> Option<Timestamp> {
        status.usable_until(self.limit?)
    }

    fn state(&self, status: &RepositoryStatus, now: Timestamp) -> String {
        match self.until(status) {
            None => "refused: the Notary server is out of reach, and ON_OUTAGE is deny".to_owned(),
            Some(until) if until <= now => {
                format!("refused: the Notary server is out of reach, and it counted until {}", second(until))
            }
            Some(until) => format!("starts only, until {}: the Notary server is out of reach", second(until)),
        }
    }
}

/// What was known of a repository is set aside; a gate that runs notices at its next check. What that was is printed, for the record.
async fn forget(arguments: &Forget, settings: &Settings) -> Result<String, Stop> {
    let repository = reference(&arguments.reference)?.repository;
    let folder = arguments.state.clone().unwrap_or_else(|| state_dir(settings));
    let trail = trail(arguments.state.as_deref(), settings)?;
    let notary = Notary::new(Config::new(Source::Import, folder))?;
    let known = notary.inspect(&repository, clock::now()).await;
    let was_known = notary.forget(&repository)?;
    if was_known {
        trail.record("trust-forget", [changed(&repository, "what was known of its trust data is forgotten")]);
    }
    let root = known.as_ref().and_then(|known| known.view.roles.iter().find(|role| role.name == "root"));
    let root = root.map(|root| json!({ "version": root.version, "keys": root.keys }));
    let refused = known.as_ref().and_then(|known| known.refused.as_ref());
    if arguments.json {
        let what = json!({
            "root": root,
            "checked": known.as_ref().map(|known| known.view.checked),
            "tags": known.as_ref().map(|known| known.view.tags.iter().map(|(tag, view)| (tag.clone(), view.digest.to_string())).collect::<std::collections::BTreeMap<_, _>>()),
            "refused": refused,
        });
        return to_json(&json!({ "repository": repository, "forgotten": was_known, "what": what }));
    }
    if !was_known {
        return Ok(format!("{repository}  nothing was known"));
    }
    let mut text =
        format!("{repository}  forgotten; what the server answers next counts as the first time, unless a pin names its root");
    match &known {
        None => text.push_str("\nwhat was kept could not be read"),
        Some(known) => {
            for role in &known.view.roles {
                text.push_str(&format!("\n{}  version {}  keys {}", role.name, role.version, role.keys.join(" ")));
            }
            for (tag, view) in &known.view.tags {
                text.push_str(&format!("\ntag {}  {}", clean(tag), view.digest));
            }
            text.push_str(&format!("\nlast checked  {}", known.view.checked));
        }
    }
    if let Some(refused) = refused {
        text.push_str(&format!("\nwas refused  {}", clean(refused)));
    }
    Ok(text)
}

async fn export(arguments: &Export, settings: &Settings) -> Result<String, Stop> {
    let notary = notary(&arguments.common, settings, RequiredSigners::default())?;
    let mut repositories = Vec::new();
    for text in &arguments.repositories {
        let repository = reference(text)?.repository;
        if !arguments.offline {
            check(&notary, &repository).await?;
        }
        repositories.push(repository);
    }
    let earlier = if arguments.offline { RootHistory::Left } else { RootHistory::Fetched };
    let (bundle, exported) = notary.export(&repositories, earlier).await?;
    replace_regular(&arguments.file, &bundle, BUNDLE_MODE)
        .map_err(|error| Stop::Unknown(format!("`{}` cannot be written: {error}", arguments.file.display())))?;
    if arguments.common.json {
        return to_json(&json!({ "file": arguments.file, "repositories": exported }));
    }
    let mut text = format!("written to {}", arguments.file.display());
    for one in exported {
        let until = one.expires.strftime("%Y-%m-%dT%H:%M:%SZ");
        text.push_str(&format!(
            "\n{}  for hosts that know root {} to {}, or none; usable until {until}",
            one.repository, one.oldest_root, one.root
        ));
    }
    Ok(text)
}

async fn import(arguments: &Import, settings: &Settings) -> Result<String, Stop> {
    let (notary, state) = notary_at(&arguments.common, settings, RequiredSigners::default())?;
    let elsewhere = (state != state_dir(settings)).then_some(state.as_path());
    let bundle = read_bytes(&arguments.file, BUNDLE_BYTES).map_err(|error| match error.kind() {
        std::io::ErrorKind::FileTooLarge => {
            let (file, most) = (arguments.file.display(), BUNDLE_BYTES >> 20);
            Stop::Unknown(format!("`{file}` is larger than {most} MiB; export fewer repositories at once"))
        }
        _ => unread(&arguments.file, &error),
    })?;
    let withdrawal = if arguments.undo_withdrawal { Withdrawal::Undone } else { Withdrawal::Stays };
    let trail = trail(elsewhere, settings)?;
    let done = notary.import(&bundle, withdrawal, clock::now()).await.map_err(|error| {
        let remedy = import_remedy(error.code);
        Stop::with(TrustError { message: format!("`{}`: {}", arguments.file.display(), error.message), ..error }, remedy)
    })?;
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for (repository, result) in done {
        match result {
            Ok(()) => taken.push(repository),
            Err(error) => refused.push((repository, error)),
        }
    }
    let how = format!("trust data taken in from `{}`", arguments.file.display());
    trail.record("trust-import", taken.iter().map(|repository| changed(repository, &how)));
    let is_whole = refused.is_empty();
    let text = if arguments.common.json {
        let refused: Vec<_> = refused
            .into_iter()
            .map(|(repository, error)| {
                let (code, remedy) = (error.code.as_str(), import_remedy(error.code));
                json!({ "repository": repository, "code": code, "message": error.message, "remedy": remedy })
            })
            .collect();
        to_json(&json!({ "repositories": taken, "refused": refused }))?
    } else {
        let taken = taken.iter().map(|repository| format!("{repository}  taken in"));
        let refused = refused.iter().map(|(repository, error)| {
            format!("{repository}  refused ({}): {}; {}", error.code.as_str(), error.message, import_remedy(error.code))
        });
        // Where a folder was named, it was meant.
        let apart = elsewhere.filter(|_| arguments.common.state.is_none());
        let apart = apart.map(|state| {
            format!("kept in `{}`, which the gate does not use: `--server` or `--pins` is not the gate's", state.display())
        });
        taken.chain(refused).chain(apart).collect::<Vec<_>>().join("\n")
    };
    if is_whole { Ok(text) } else { Err(Stop::Partly(text)) }
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

fn changed(repository: &impl std::fmt::Display, message: &str) -> Change {
    Change { image: repository.to_string(), message: message.to_owned(), ..Change::default() }
}

/// What to do about a bundle that is not taken in.
const fn import_remedy(code: TrustCode) -> &'static str {
    match code {
        TrustCode::Expired | TrustCode::ImportExpired => "export it again where Notary is reached, and check this host's clock",
        TrustCode::RolledBack => {
            "this host has seen newer trust data: export again where Notary is reached; if that is refused too, ask the publisher"
        }
        TrustCode::Withdrawn => {
            "no bundle shows whether it was signed before that or since: ask the publisher; if since, import it with --undo-withdrawal"
        }
        TrustCode::RootNotTrusted => {
            "export it again with a way to Notary, so that the roots before it come along; else compare its root key with the publisher"
        }
        TrustCode::Invalid => "it was changed or cut on the way: carry it here again, or export it again",
        TrustCode::Misconfigured => "see who may write the state folder",
        // What only a server, a list or a registry answers.
        TrustCode::Unreachable
        | TrustCode::Busy
        | TrustCode::CaRefused
        | TrustCode::Unauthorized
        | TrustCode::NoTrustData
        | TrustCode::NotSigned
        | TrustCode::SignerMissing
        | TrustCode::NotListed
        | TrustCode::AllowlistUnavailable
        | TrustCode::NotInRegistry
        | TrustCode::NotImported => "export it again",
    }
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
        Err(error) => Err(error.into()),
    }
}

fn reference(text: &str) -> Result<Reference, Stop> {
    // What is no reference is certainly not signed.
    text.parse()
        .map_err(|error: crate::image::ReferenceError| Stop::Refused { code: "reference-invalid", message: error.to_string() })
}

fn notary(common: &Common, settings: &Settings, require: RequiredSigners) -> Result<Notary, Stop> {
    notary_at(common, settings, require).map(|(notary, _)| notary)
}

/// The verifier, and the folder of its state.
fn notary_at(common: &Common, settings: &Settings, require: RequiredSigners) -> Result<(Notary, PathBuf), Stop> {
    let docker = docker_config_dir(settings);
    let gates = settings.get("NOTARY").unwrap_or(DEFAULT_SERVER).trim();
    let written = common.server.as_deref().map_or(gates, str::trim);
    if common.server.is_none() && settings.get("NOTARY").is_none() {
        super::out::note(&format!("note: NOTARY is not set here, so {DEFAULT_SERVER} is asked; --server names another"));
    }
    let (source, tls) = match (written, &common.server) {
        (_, None) if settings.is_import() => (Source::Import, Tls::default()),
        ("off", None) => return Err(Stop::Unknown("NOTARY is `off`; name a server with --server".to_owned())),
        (written, _) => {
            let server = if written.contains("://") { written.to_owned() } else { format!("https://{written}") };
            if !server.starts_with("https://") {
                let message = format!("the Notary server `{}` must be an https URL", crate::net::without_user(&server));
                return Err(Stop::Refused { code: TrustCode::Misconfigured.as_str(), message });
            }
            let pem = match &common.root_ca {
                Some(path) => Some(read(path)?),
                None => settings.get("NOTARY_ROOT_CA").map(str::to_owned),
            };
            let host = Url::parse(&server).map(|url| authority(&url)).unwrap_or_default();
            let folders = setup::notary_folders(settings, &docker);
            let tls = Tls::for_server(&host, pem.as_deref(), &folders).map_err(|error| Stop::Unknown(error.to_string()))?;
            (Source::Server(server), tls)
        }
    };
    // Those of the settings lie where the gate looks for them, whatever stands in the working folder.
    let gates_pins = match settings.get("NOTARY_PINS") {
        Some(text) => read_pins(text, |path| read(&settings.config_dir().join(path)).map_err(Stop::text)).map(Some),
        None => Ok(None),
    };
    let (pins, others) = match &common.pins {
        Some(path) => {
            let (pins, name) = pins(&read(path)?, path.parent().unwrap_or_else(|| Path::new("")))?;
            let is_gates = gates_pins.is_ok_and(|gates| gates.is_some_and(|(_, gates)| gates == name));
            (pins, (!is_gates).then_some(name))
        }
        None => (gates_pins?.map_or_else(Pins::default, |(pins, _)| pins), None),
    };
    let stale_limit = match &source {
        // A pull, which is what is asked for here, waits for the server as it is.
        Source::Server(_) => None,
        Source::Import => Some(settings.stale_limit(Some(&source)).map_err(|fault| Stop::Unknown(fault.to_string()))?),
    };
    let state = common.state.clone().unwrap_or_else(|| state_of(&source, gates, others, settings));
    let mut config = Config::new(source, &state);
    config.tls = tls;
    config.pins = pins;
    config.credentials = credentials(&docker);
    config.freshness = Duration::ZERO;
    config.network_time = NETWORK_TIME;
    config.require = require;
    config.stale_limit = stale_limit.unwrap_or(config.stale_limit);
    Ok((Notary::new(config)?, state))
}

/// Where the gate keeps verified trust data.
fn state_dir(settings: &Settings) -> PathBuf {
    settings.state_dir().join(setup::TRUST)
}

/// Where trust data of a source is kept. What another server says than the gate's own, or other pins let pass, is nothing that the gate
/// goes on: its root, or its versions, would count there from then on.
fn state_of(source: &Source, gates: &str, pins: Option<Digest>, settings: &Settings) -> PathBuf {
    let whole = |written: &str| {
        let written = if written.contains("://") { written.to_owned() } else { format!("https://{written}") };
        Url::parse(&written).map_or(written, |url| url.as_str().trim_end_matches('/').to_owned())
    };
    let server = match source {
        Source::Server(server) if whole(server) != whole(gates) => Some(whole(server)),
        Source::Server(_) | Source::Import => None,
    };
    let name = match (server, pins) {
        (None, None) => return state_dir(settings),
        (Some(server), None) => server,
        (server, Some(pins)) => format!("{} {pins}", server.unwrap_or_default()),
    };
    settings.state_dir().join("trust-elsewhere").join(Digest::of(name.as_bytes()).hex())
}

/// `DOCKER_CONFIG`, or docker's default.
fn docker_config_dir(settings: &Settings) -> PathBuf {
    match (settings.get("DOCKER_CONFIG"), std::env::var_os("HOME")) {
        (Some(folder), _) => folder.into(),
        (None, Some(home)) => Path::new(&home).join(".docker"),
        (None, None) => settings.docker_config(),
    }
}

fn credentials(folder: &Path) -> DockerConfig {
    let path = folder.join("config.json");
    if !path.is_file() {
        return DockerConfig::default();
    }
    let read = read(&path).and_then(|text| DockerConfig::read(&text).map_err(|error| Stop::Unknown(error.to_string())));
    match read {
        Ok(config) => config,
        Err(stop) => {
            tracing::warn!(why = stop.text(), "docker's config.json is left out: going on without credentials");
            DockerConfig::default()
        }
    }
}

/// Reads a pins block. Paths of CA bundles are relative to the working folder, as notary has it, else to the file's.
fn pins(text: &str, folder: &Path) -> Result<(Pins, Digest), Stop> {
    read_pins(text, |path| {
        let path = if Path::new(path).exists() { PathBuf::from(path) } else { folder.join(path) };
        read(&path).map_err(Stop::text)
    })
}

/// Pins, and what tells them from others: the block, however it is laid out, and the bundles that it names.
fn read_pins(text: &str, mut load: impl FnMut(&str) -> Result<String, String>) -> Result<(Pins, Digest), Stop> {
    let block = serde_json::from_str::<serde_json::Value>(text);
    let mut all = block.map_or_else(|_| text.to_owned(), |block| block.to_string());
    let pins = Pins::read(text, |path| {
        let bundle = load(path)?;
        all.push_str(&Digest::of(bundle.as_bytes()).hex());
        Ok(bundle)
    });
    // Pins that cannot be read let nothing pass: that is a refusal, and no reason to go on without them.
    let pins =
        pins.map_err(|error: PinsError| Stop::Refused { code: TrustCode::Misconfigured.as_str(), message: error.to_string() })?;
    Ok((pins, Digest::of(all.as_bytes())))
}

fn read(path: &Path) -> Result<String, Stop> {
    read_text(path, FILE_BYTES).map_err(|error| unread(path, &error))
}

fn unread(path: &Path, error: &std::io::Error) -> Stop {
    Stop::Unknown(format!("`{}` cannot be read: {error}", path.display()))
}

/// The member of this name in any case, as pins are read.
fn name_in(object: &serde_json::Map<String, serde_json::Value>, name: &str) -> Option<String> {
    object.keys().find(|have| have.to_lowercase() == name.to_lowercase()).cloned()
}

/// Adds the keys to the `certs` of a pins file; if it is not there it is made, of the pins that are set. Replaced atomically.
fn add_pin(path: &Path, set: Option<&str>, repository: &Repository, keys: &[String]) -> Result<(), String> {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).map_err(|error| error.to_string());
    let mut block = match std::fs::read_to_string(path) {
        Ok(text) => read(&text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => set.map_or_else(|| Ok(json!({})), read)?,
        Err(error) => return Err(error.to_string()),
    };
    let top = block.as_object_mut().ok_or("it is not a JSON object")?;
    let top = match name_in(top, "trust_pinning") {
        Some(name) => top.get_mut(&name).and_then(|inner| inner.as_object_mut()).ok_or("`trust_pinning` is not a JSON object")?,
        None => top,
    };
    let name = name_in(top, "certs").unwrap_or_else(|| "certs".to_owned());
    let certs = top.entry(name).or_insert_with(|| json!({}));
    let certs = certs.as_object_mut().ok_or("`certs` is not a JSON object")?;
    // The same repository in another case is the same pin: both would be one too many.
    while let Some(name) = name_in(certs, repository.as_str()) {
        certs.remove(&name);
    }
    certs.insert(repository.as_str().to_owned(), json!(keys));
    crate::files::replace(path, format!("{block:#}\n").as_bytes(), 0o600, crate::files::Outlives::Power)
        .map_err(|error| error.to_string())
}

fn to_json(value: &impl Serialize) -> Result<String, Stop> {
    serde_json::to_string(value).map_err(|error| Stop::Unknown(error.to_string()))
}
