//! `check` and `explain`: the verdict the gate would give, with every step.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{NO, UNKNOWN, YES, parts};
use crate::gate::{Gate, Judgement};
use crate::image::{ImageName, Reference};
use crate::policy::{ContainerFacts, Facts, Local, Settings, Verdict};
use crate::request::{Create, Intent, Pull, Pulled, Start, StartAction, Transport};
use crate::trust::Question;

/// Largest file `explain` reads: what dockerd may post.
const POST_BYTES: u64 = 6 << 20;

/// Say whether an image would be let in, with every step.
#[derive(Args)]
#[command(after_help = "Example: img-authz check registry.example/team/app:1.0 --action pull")]
pub(super) struct CheckArgs {
    /// The image (for `start`: the container)
    reference: String,
    /// What would be done with it
    #[arg(long, value_enum, default_value_t = Action::Create)]
    action: Action,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    Pull,
    Create,
    Start,
}

/// Explain what an AuthZ request means and what the gate would answer.
#[derive(Args)]
#[command(after_help = "Example: img-authz explain request.json")]
pub(super) struct ExplainArgs {
    /// The JSON that dockerd posts to /AuthZPlugin.AuthZReq; `-` or nothing: standard input
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    action: &'static str,
    subject: String,
    steps: Vec<String>,
    allow: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    code: &'static str,
    message: String,
}

pub(super) fn check(arguments: &CheckArgs, settings: &Settings) -> ExitCode {
    finish(intent_of(arguments).and_then(|intent| judge(&intent, settings)), arguments.json)
}

pub(super) fn explain(arguments: &ExplainArgs, settings: &Settings) -> ExitCode {
    let report = read(arguments.file.as_ref()).and_then(|posted| match Gate::read(&posted, Transport::Http1) {
        // A post does not say over which HTTP the call came; over HTTP/1, it is taken.
        Ok((_, intent)) => judge(&intent, settings),
        Err(error) => Ok(Report {
            action: "unreadable",
            subject: String::new(),
            steps: Vec::new(),
            allow: false,
            code: "request-unreadable",
            message: error.to_string(),
        }),
    });
    finish(report, arguments.json)
}

fn intent_of(arguments: &CheckArgs) -> Result<Intent, String> {
    let given = &arguments.reference;
    match arguments.action {
        Action::Pull => {
            let reference = given.parse::<Reference>().map_err(|error| error.to_string())?.or_latest();
            let what = match (reference.digest, reference.tag) {
                (Some(digest), _) => Pulled::Digest(digest),
                (None, Some(tag)) => Pulled::Tag(tag),
                (None, None) => Pulled::AllTags,
            };
            Ok(Intent::Pull(Pull { repository: reference.repository, what }))
        }
        Action::Create => {
            let image = ImageName::parse(given).map_err(|error| error.to_string())?;
            let create = Create { image: Some(image), name: None, image_mounts: Vec::new(), doors: Vec::new() };
            Ok(Intent::Create(Box::new(create)))
        }
        Action::Start => Ok(Intent::Start(Start { container: given.clone(), action: StartAction::Start, extra: None })),
    }
}

fn read(file: Option<&PathBuf>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let copied = match file {
        Some(path) if path.as_os_str() != "-" => {
            let file = std::fs::File::open(path).map_err(|error| format!("`{}`: {error}", path.display()))?;
            file.take(POST_BYTES + 1).read_to_end(&mut bytes)
        }
        Some(_) | None => std::io::stdin().lock().take(POST_BYTES + 1).read_to_end(&mut bytes),
    };
    let read = copied.map_err(|error| error.to_string())? as u64;
    if read > POST_BYTES { Err(format!("larger than {POST_BYTES} bytes")) } else { Ok(bytes) }
}

fn judge(intent: &Intent, settings: &Settings) -> Result<Report, String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|error| error.to_string())?;
    let gate = parts::asking(settings, runtime.handle().clone())?;
    let Judgement { facts, verdict } = runtime.block_on(gate.judge(intent));
    let (allow, code, message) = match &verdict {
        Verdict::Allow(_) => (true, "", "allowed".to_owned()),
        Verdict::Deny(reason) => (false, reason.code(), reason.message()),
    };
    Ok(Report { action: intent.action(), subject: intent.subject(), steps: steps(&facts), allow, code, message })
}

/// What was found out, a line each.
fn steps(facts: &Facts) -> Vec<String> {
    let mut steps = Vec::new();
    match &facts.container {
        Some(ContainerFacts::Missing) => steps.push("host: no such container".to_owned()),
        Some(ContainerFacts::Found { id, image, .. }) => {
            let image = image.map_or("no image".to_owned(), |image| image.to_string());
            steps.push(format!("host: container {id} of image {image}"));
        }
        None => {}
    }
    for image in &facts.images {
        steps.push(match &image.local {
            Local::NotAsked => format!("{}: judged by its name", image.name),
            Local::Absent => format!("{}: not on this host", image.name),
            Local::Present { id, by_name, digests, .. } => {
                let how = if *by_name { "by its name" } else { "by its id" };
                let digests = digests.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                format!("{}: on this host as {id}, judged {how}; known digests: {digests}", image.name)
            }
        });
        for asked in &image.asked {
            let question = match &asked.question {
                Question::Tag(tag) => format!("what is tag {tag}?"),
                Question::AnyOf(_) | Question::Content { .. } => "is one of these digests vouched for?".to_owned(),
            };
            let answer = match &asked.answer {
                Ok(vouch) => format!("{} ({})", vouch.digest(), [vouch.role(), &vouch.signers().join(", ")].join(" ").trim()),
                Err(error) => format!("{}: {error}", error.code.as_str()),
            };
            steps.push(format!("{:?} of {}: {question} {answer}", asked.verifier, asked.repository));
        }
    }
    steps
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's output")]
fn finish(report: Result<Report, String>, json: bool) -> ExitCode {
    match report {
        Ok(report) if json => {
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
            ExitCode::from(if report.allow { YES } else { NO })
        }
        Ok(report) => {
            println!("{} {}", report.action, report.subject);
            for step in &report.steps {
                println!("  {step}");
            }
            println!("{}: {}", if report.allow { "ALLOW" } else { "DENY" }, report.message);
            ExitCode::from(if report.allow { YES } else { NO })
        }
        Err(message) => {
            eprintln!("img-authz: {message}");
            ExitCode::from(UNKNOWN)
        }
    }
}
