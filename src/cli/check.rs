//! `check` and `explain`: the verdict the gate would give, with every step.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{NO, UNKNOWN, YES, out};
use crate::gate::{Gate, Judgement};
use crate::image::{ImageName, Reference};
use crate::policy::{
    Caller, ConfigFacts, ContainerFacts, Facts, Grounds, LOCAL, Local, Mode, Permit, Reason, Request, Verdict, quoted,
    written_case,
};
use crate::request::{self, Create, Intent, Pull, Pulled, Start, StartAction, Transport};
use crate::setup::{self, Alive, Place, View};
use crate::trust::{Freshness, Question, Vouch};

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
    /// Who would do it: the CN of a client certificate; `local`: a client without one
    #[arg(long, value_name = "NAME", default_value = LOCAL)]
    user: String,
    /// A unit (OU) of that certificate; may be given several times
    #[arg(long = "unit", value_name = "OU", requires = "user")]
    units: Vec<String>,
    /// Print what was found out as a case for `policy test`; values of the environment are hashed
    #[arg(long, conflicts_with = "json")]
    case: bool,
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
    /// Who calls, and what the call is called where users are given rights; empty where they are not.
    #[serde(skip_serializing_if = "String::is_empty")]
    caller: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    right: &'static str,
    /// By which settings it was judged, and whose they are.
    settings: String,
    steps: Vec<String>,
    allow: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    code: &'static str,
    message: String,
}

pub(super) fn check(arguments: &CheckArgs, place: &Place) -> ExitCode {
    let caller = match arguments.user.as_str() {
        LOCAL => Caller::Local,
        "" => Caller::Nameless,
        name => Caller::Named(name),
    };
    let judged = intent_of(arguments).and_then(|intent| {
        let request = Request { units: &arguments.units, ..Request::by(caller, arguments.action.right(), &intent) };
        judge(&request, place)
    });
    match judged {
        Ok((report, Judgement { facts, verdict })) if arguments.case => {
            let user = (arguments.user != LOCAL).then_some(arguments.user.as_str());
            let Some(case) = written_case(&report.subject, arguments.action.name(), user, &facts, &verdict) else {
                out::fault("it is not known of one image; there is no case to write");
                return ExitCode::from(UNKNOWN);
            };
            out::print(&case);
            ExitCode::from(if report.allow { YES } else { NO })
        }
        judged => finish(judged.map(|(report, _)| report), arguments.json),
    }
}

impl Action {
    /// What a case calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Create => "create",
            Self::Start => "start",
        }
    }

    /// What the call is called where users are given rights.
    fn right(self) -> request::Action {
        let name = match self {
            Self::Pull => "image_create",
            Self::Create => "container_create",
            Self::Start => "container_start",
        };
        request::Action::named(name).unwrap_or(request::Action::UNKNOWN)
    }
}

pub(super) fn explain(arguments: &ExplainArgs, place: &Place) -> ExitCode {
    let report = read(arguments.file.as_ref()).and_then(|posted| match Gate::read(&posted, Transport::Http1) {
        // A post does not say over which HTTP the call came; over HTTP/1, it is taken.
        Ok((call, intent)) => judge(&Request::of(&call, &intent), place).map(|(report, _)| report),
        Err(error) => Ok(Report {
            action: "unreadable",
            subject: String::new(),
            caller: String::new(),
            right: "",
            settings: "no settings matter to that".to_owned(),
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
            let create = Create { image: Some(image), ..Create::default() };
            Ok(Intent::Create(Box::new(create)))
        }
        Action::Start => {
            Ok(Intent::Start(Start { container: given.clone(), action: StartAction::Start, extra: None, terms: None }))
        }
    }
}

/// The refusal of what would be done first with an image, a pull, or a create where it is named by an id; none where it would be let
/// pass, or that cannot be told.
pub(super) fn refusal(image: &str, place: &Place) -> Option<String> {
    let is_id = matches!(ImageName::parse(image), Ok(ImageName::Id(_) | ImageName::IdPrefix(_)));
    let action = if is_id { Action::Create } else { Action::Pull };
    let arguments =
        CheckArgs { reference: image.to_owned(), action, user: LOCAL.to_owned(), units: Vec::new(), case: false, json: false };
    let intent = intent_of(&arguments).ok()?;
    let (report, _) = judge(&Request::by_gate(&intent), place).ok()?;
    (!report.allow).then_some(report.message)
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

fn judge(request: &Request<'_>, place: &Place) -> Result<(Report, Judgement), String> {
    let intent = request.intent;
    if place.basis.is_err() {
        return Err(place.told());
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|error| error.to_string())?;
    let gate = setup::asking(place, runtime.handle().clone())?;
    let judgement = runtime.block_on(gate.judge_request(request));
    let explained = gate.explained(&judgement);
    let Judgement { facts, verdict } = &judgement;
    let (allow, code, message) = match verdict {
        Verdict::Allow(permit) => match permit.forgiven() {
            Some(reason) => {
                (true, reason.code(), format!("the scope is permissive, so this is only recorded: {}", reason.message()))
            }
            None => (true, "", allowed(permit)),
        },
        Verdict::WouldDeny(reason) | Verdict::Deny(reason) => {
            if is_ours_to_find_out(reason) {
                let alive = runtime.block_on(place.alive(View::of(&place.settings)));
                return Err(untold(reason, &place.name(), alive.as_ref()));
            }
            (false, reason.code(), reason.message())
        }
    };
    let mut steps = steps(facts);
    let rights = gate.rights_of(request);
    if let Some(rights) = &rights {
        steps.insert(0, format!("users: {} asks for {}; {rights}", named(request.caller), request.action().name()));
    }
    let (caller, right) = rights.map(|_| (named(request.caller), request.action().name())).unwrap_or_default();
    steps.extend(verdict.findings().into_iter().map(|finding| {
        let at = finding.position.as_ref().map(|position| format!(", {position}")).unwrap_or_default();
        format!("rule ({}{at}) {finding}", finding.level.as_str())
    }));
    steps.extend(explained);
    steps.extend(verdict.exceptions().into_iter().map(|used| {
        let does = if used.vouches { vec!["stands in the place of who must vouch"] } else { Vec::new() };
        let lifts = (!used.lifts.is_empty()).then(|| format!("lifts {}", used.lifts.join(", ")));
        let does: Vec<String> = does.into_iter().map(str::to_owned).chain(lifts).collect();
        format!("exception {} of {} until {:.0}: {}", used.id, quoted(&used.owner), used.expires, does.join(", "))
    }));
    if let Some(since) = place.in_force.as_ref().and_then(|said| said.notary_out_since) {
        steps.push(format!("Notary: out of reach for the gate since {since:.0}"));
    }
    if gate.mode() == Mode::Permissive {
        steps.push("MODE is permissive: whatever is refused is recorded, and passes".to_owned());
    }
    let (action, subject, settings) = (intent.action(), intent.subject(), place.told());
    let report = Report { action, subject, caller, right, settings, steps, allow, code, message };
    Ok((report, judgement))
}

/// Who calls, in words.
fn named(caller: Caller<'_>) -> String {
    match caller {
        Caller::Gate => "the gate".to_owned(),
        Caller::Local => format!("{LOCAL} (no certificate)"),
        Caller::Named(name) => quoted(name),
        Caller::Nameless => "a certificate without a CN".to_owned(),
    }
}

/// Why it is allowed.
fn allowed(permit: &Permit) -> String {
    match permit.grounds() {
        Grounds::NoImage => "it needs nobody's approval".to_owned(),
        Grounds::Setting(setting) => format!("{setting} lets it pass"),
        Grounds::Content(approvals) => {
            let vouches = approvals.iter().flat_map(|approval| &approval.vouches);
            let mut by: Vec<String> = vouches.map(|vouch| vouch.verifier().to_string()).collect();
            by.dedup();
            let excepted = approvals.iter().flat_map(|approval| approval.exceptions.uses()).filter(|used| used.vouches);
            by.extend(excepted.map(|used| format!("exception {}", used.id)));
            if by.is_empty() {
                "the registry is allowed, and nobody has to vouch".to_owned()
            } else {
                format!("approved by {}", by.join(" and "))
            }
        }
    }
}

/// Whether a refusal only says that it could not be found out *here*: the gate may well find it out.
const fn is_ours_to_find_out(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::EngineUnreachable { .. }
            | Reason::ContainerBusy { .. }
            | Reason::Deadline { .. }
            | Reason::Overloaded
            | Reason::Internal
    )
}

/// Could not tell, and why.
fn untold(reason: &Reason, gate: &str, alive: Option<&Alive>) -> String {
    let gate = quoted(gate);
    match alive {
        Some(Alive::Silent) => {
            format!(
                "could not tell: the gate {gate} does not answer, and the engine waits for it at every call; see img-authz doctor"
            )
        }
        Some(Alive::Yes | Alive::No | Alive::Unknown(_)) | None => {
            format!("could not tell: {}; is the engine up, and is this run as root?", reason.evidence())
        }
    }
}

/// A yes in words: what is vouched for, by whom, and until when where that is not checked.
fn yes(vouch: &Vouch) -> String {
    let signers = vouch.signers().join(", ");
    let by: Vec<&str> = [vouch.role(), signers.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
    let by = if by.is_empty() { String::new() } else { format!(" ({})", by.join(" ")) };
    let stale = match vouch.freshness() {
        Freshness::Fresh => String::new(),
        Freshness::Imported { since } => format!(", imported; checked with Notary at {since:.0}"),
        Freshness::Stale { since } => {
            let until = vouch.expires().map(|until| format!(", counts until {until:.0}")).unwrap_or_default();
            format!(", Notary is out of reach: last checked at {since:.0}{until}")
        }
    };
    format!("{}{by}{stale}", vouch.digest())
}

/// What was found out, a line each.
fn steps(facts: &Facts) -> Vec<String> {
    let mut steps = Vec::new();
    match &facts.rego {
        Some(Ok(_)) => steps.push("Rego: every rule about calls lets it pass".to_owned()),
        Some(Err(refusal)) => steps.push(Reason::Rego(refusal.clone()).message()),
        None => {}
    }
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
        match &image.rego {
            Some(Ok(_)) => steps.push(format!("{}: every rule in Rego about images lets it pass", image.name)),
            Some(Err(refusal)) => steps.push(format!("{}: {}", image.name, Reason::Rego(refusal.clone()).message())),
            None => {}
        }
        if let ConfigFacts::Unknown(why) = &image.config {
            steps.push(format!("{}: its configuration is not known: {why}", image.name));
        }
        for asked in &image.asked {
            let question = match &asked.question {
                Question::Tag(tag) => format!("what is tag {tag}?"),
                Question::AnyOf(_) | Question::Content { .. } => "is one of these digests vouched for?".to_owned(),
            };
            let answer = match &asked.answer {
                Ok(vouch) => yes(vouch),
                Err(error) => format!("{}: {error}", error.code.as_str()),
            };
            steps.push(format!("{:?} of {}: {question} {answer}", asked.verifier, asked.repository));
        }
    }
    steps
}

fn finish(report: Result<Report, String>, json: bool) -> ExitCode {
    match report {
        Ok(report) if json => {
            out::line(&serde_json::to_string(&report).unwrap_or_default());
            ExitCode::from(if report.allow { YES } else { NO })
        }
        Ok(report) => {
            out::line(&format!("{} {}", report.action, report.subject));
            out::line(&format!("  settings: {}", report.settings));
            for step in &report.steps {
                out::line(&format!("  {step}"));
            }
            out::line(&format!("{}: {}", if report.allow { "ALLOW" } else { "DENY" }, report.message));
            ExitCode::from(if report.allow { YES } else { NO })
        }
        Err(message) => {
            out::fault(&message);
            ExitCode::from(UNKNOWN)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_command_could_not_find_out_is_no_refusal() {
        let engine = Reason::EngineUnreachable { why: "no socket".into() };
        assert!(is_ours_to_find_out(&engine) && is_ours_to_find_out(&Reason::Deadline { seconds: 8 }));
        // What the gate itself would say is one.
        assert!(!is_ours_to_find_out(&Reason::NoImage));
        assert!(!is_ours_to_find_out(&Reason::SettingFault { fault: String::new(), posture: crate::policy::Posture::Images }));
        assert!(untold(&engine, "gate:3", Some(&Alive::Silent)).contains("`gate:3` does not answer"));
        assert!(untold(&engine, "gate:3", Some(&Alive::Yes)).contains("no socket"));
    }
}
