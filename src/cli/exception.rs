//! `exception`: lets something pass for a time, in a file of its own beside the policy file. The whole policy is checked with the change
//! before it is made.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::out::{self, Cell, Colour, Table};
use super::trail::{Change, Trail};
use super::{NO, UNKNOWN, YES, when};
use crate::clock;
use crate::files::{read_owned, replace_regular};
use crate::policy::{
    Excepted, Exception, Pattern, PolicyFault, PolicyFile, Read, Settings, Standing, all_liftable, exception_end, liftable,
};
use crate::setup::{self, Kept, LastGood, Place};
use crate::text::clean;

/// The command's own file, in the folder of further files beside the policy file.
const FOLDER: &str = "policy.d";
const FILE: &str = "exceptions.toml";
const LOCK: &str = ".exceptions.lock";
/// What stands at its head.
const HEAD: &str = "# Written by `img-authz exception`, which writes it anew each time: comments are lost. To write exceptions by hand, use another\n\
                    # file of this folder, or policy.toml.\nversion = 1\n";
/// How long the gate gets to take the change in, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(6);
const ASKED: Duration = Duration::from_millis(200);

/// Let something pass for a time that the policy refuses.
///
/// Example: img-authz exception list
#[derive(Args)]
pub(super) struct ExceptionArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add an exception
    ///
    /// A digest may then run though nobody vouches for it, whatever it is called. Of what a matching repository vouched for, the rules
    /// named by --lift are lifted.
    ///
    /// Example: img-authz exception add sha256:DIGEST --for 4h --reason "hotfix" --ticket OPS-1
    Add(AddArgs),
    /// Show the exceptions, also those that have ended
    ///
    /// Example: img-authz exception list --json
    List(PolicyArgs),
    /// Take exceptions back: what they let pass is refused from then on
    ///
    /// Example: img-authz exception remove x1f0c2a9b
    Remove(RemoveArgs),
}

#[derive(Args)]
struct AddArgs {
    /// The digest (sha256:…), or a pattern over names of repositories
    #[arg(value_name = "DIGEST|PATTERN")]
    subject: String,
    /// The digest is an image id: of the classic store, for what was built or loaded here
    #[arg(long)]
    image_id: bool,
    /// Rules that are lifted, by any of their names
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    lift: Vec<String>,
    /// For how long: 30m, 4h, 7d, 2w
    #[arg(long, value_name = "SPAN", conflicts_with = "until", required_unless_present = "until")]
    r#for: Option<String>,
    /// Until when: 2026-12-04 (the end of that day in UTC) or 2026-12-04T18:00:00Z
    #[arg(long, value_name = "DATE")]
    until: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who answers for it; without it who called sudo, or logged in
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Where it is followed up
    #[arg(long, value_name = "TICKET")]
    ticket: Option<String>,
    #[command(flatten)]
    policy: PolicyArgs,
}

#[derive(Args)]
struct RemoveArgs {
    /// Ids of exceptions, as `exception list` shows them
    #[arg(value_name = "ID", required_unless_present = "ended")]
    ids: Vec<String>,
    /// All that have ended
    #[arg(long)]
    ended: bool,
    #[command(flatten)]
    policy: PolicyArgs,
}

#[derive(Args)]
struct PolicyArgs {
    /// The policy file, if not the gate's
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `exception`.
#[must_use]
pub(super) fn run(arguments: &ExceptionArgs, env: Settings) -> ExitCode {
    let code = match &arguments.command {
        Command::Add(arguments) => add(arguments, env, clock::now()),
        Command::List(arguments) => list(arguments, env, clock::now()),
        Command::Remove(arguments) => remove(arguments, env, clock::now()),
    };
    ExitCode::from(code.unwrap_or_else(|fault| {
        out::fault(&fault);
        UNKNOWN
    }))
}

/// The exceptions of a policy, or what is wrong with it; and what it warns of.
type Judged = (Result<Vec<Arc<Exception>>, Vec<PolicyFault>>, Vec<PolicyFault>);

/// The policy that exceptions are beside.
struct Beside {
    /// Its file, and the command's own.
    path: PathBuf,
    own: PathBuf,
    /// The variables that stand beside it.
    settings: Settings,
    /// The gate whose policy it is; none, where it was named by its path.
    gate: Option<Place>,
}

impl Beside {
    fn find(arguments: &PolicyArgs, env: Settings) -> Result<Self, String> {
        if let Some(path) = &arguments.policy {
            let settings = Settings::default();
            return Ok(Self { own: own(path), path: path.clone(), settings, gate: None });
        }
        let place = Place::find(env);
        if let Err(why) = &place.basis {
            return Err(format!("the gate's settings are not known: {why}; name the policy file (--policy PATH)"));
        }
        let none = |path: &str| {
            format!(
                "exceptions stand beside a policy file, and this gate has none; make one of its variables (img-authz policy show > {path}), \
                 unset them, then repeat this"
            )
        };
        match place.given.policy_path() {
            Some((path, _)) if path.exists() => {
                let settings = place.given.clone().with_policy(None);
                Ok(Self { own: own(&path), path, settings, gate: Some(place) })
            }
            Some((path, _)) => Err(none(&path.display().to_string())),
            None => Err(none("policy.toml")),
        }
    }

    /// The policy as it is now. Who may change its files is looked at here as the gate does: what somebody else has written is not
    /// written again as root's.
    fn read(&self) -> Result<PolicyFile, String> {
        setup::read_policy(&self.path, &read_owned)
            .map_err(|faults| faults.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>().join("; "))
    }

    /// Everything that is wrong with a policy, also with the files that it names.
    fn judge(&self, file: &PolicyFile) -> Judged {
        let Read { resolved, warnings } = self.settings.resolve_file(file);
        let resolved = resolved.and_then(|resolved| {
            let mut kept = Kept::looking(LastGood::default(), []);
            setup::policy(&self.settings.clone().with_policy(Some(file.clone())), &mut kept)?;
            Ok(resolved.policy.exceptions.iter().cloned().collect())
        });
        (resolved, warnings)
    }

    /// The exceptions as they are now; those of a policy with faults are not known.
    fn exceptions(&self, file: &PolicyFile) -> Result<Vec<Arc<Exception>>, String> {
        self.judge(file).0.map_err(|faults| {
            let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
            format!("the policy has faults, correct them first: {}", told.join("; "))
        })
    }

    /// Those in the command's own file.
    fn is_own(&self, exception: &Exception) -> bool {
        exception.position.as_ref().is_some_and(|position| *position.file == *self.own)
    }

    /// Writes these into the command's own file, after a look at the policy that this makes. `None`: it would have faults, which are told.
    fn write(&self, before: &PolicyFile, exceptions: &[Arc<Exception>]) -> Result<Option<String>, String> {
        let mut text = HEAD.to_owned();
        for exception in exceptions {
            text.extend(["\n", &exception.to_toml()]);
        }
        let mut file = before.clone();
        file.0.retain(|(path, _)| *path != self.own);
        file.0.push((self.own.clone(), text.clone()));
        let (was, now) = (self.judge(before).1, self.judge(&file));
        if let Err(faults) = now.0 {
            for fault in &faults {
                out::fault(&clean(&fault.to_string()));
            }
            out::fault("nothing was changed");
            return Ok(None);
        }
        for warning in now.1.iter().filter(|warning| !was.iter().any(|before| before.message == warning.message)) {
            out::note(&format!("warning: {}", clean(&warning.to_string())));
        }
        let failed = |error: std::io::Error| format!("`{}` cannot be written: {error}", self.own.display());
        replace_regular(&self.own, text.as_bytes(), 0o600).map_err(failed)?;
        Ok(Some(text))
    }

    /// Nobody else changes the file meanwhile. The lock goes with the process.
    fn lock(&self) -> Result<File, String> {
        let folder = self.own.parent().unwrap_or(Path::new("."));
        let failed = |error: std::io::Error| format!("`{}` cannot be written: {error}", folder.display());
        match DirBuilder::new().mode(0o755).create(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let file = options.open(folder.join(LOCK)).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    fn trail(&self) -> Result<Trail, String> {
        match &self.gate {
            Some(place) => Trail::open(&place.settings, &place.settings.state_dir()),
            None => Ok(Trail::none()),
        }
    }

    /// Whether the gate says that it has this text in force; `None`: no gate says anything.
    fn is_taken_in(&self, text: &str) -> Option<bool> {
        let place = self.gate.as_ref().filter(|place| place.is_told())?;
        let began = Instant::now();
        loop {
            let in_force = setup::policy_in_force(&place.settings.state_dir());
            if in_force.is_some_and(|file| file.0.iter().any(|(_, other)| other == text)) {
                return Some(true);
            }
            if began.elapsed() > PATIENCE {
                return Some(false);
            }
            std::thread::sleep(ASKED);
        }
    }

    /// Says how the gate took it in.
    fn told(&self, text: &str) -> Option<bool> {
        let is_in_force = self.is_taken_in(text);
        match is_in_force {
            Some(true) => out::note("in force"),
            Some(false) => out::note("written; the gate has not taken it in yet: see img-authz policy show"),
            None => out::note("written; no gate was asked whether it is in force"),
        }
        is_in_force
    }
}

fn own(policy: &Path) -> PathBuf {
    policy.with_file_name(FOLDER).join(FILE)
}

fn add(arguments: &AddArgs, env: Settings, now: Timestamp) -> Result<u8, String> {
    let exception = Arc::new(exception(arguments, now)?);
    let beside = Beside::find(&arguments.policy, env)?;
    let _lock = beside.lock()?;
    let before = beside.read()?;
    let mut exceptions = beside.exceptions(&before)?;
    exceptions.retain(|exception| beside.is_own(exception));
    exceptions.push(Arc::clone(&exception));
    let trail = beside.trail()?;
    let Some(text) = beside.write(&before, &exceptions)? else { return Ok(NO) };
    trail.record("exception-add", [changed(&exception, "added")]);
    let id = exception.id();
    if !arguments.policy.json {
        out::line(&format!("{id}: {} until {:.0}", exception.subject(), exception.expires));
    }
    let in_force = beside.told(&text);
    if arguments.policy.json {
        out::json(&serde_json::json!({
            "id": id, "file": beside.own.display().to_string(), "expires": exception.expires, "in_force": in_force,
        }));
    }
    Ok(YES)
}

/// What the arguments say.
fn exception(arguments: &AddArgs, now: Timestamp) -> Result<Exception, String> {
    let subject = arguments.subject.trim();
    let of = if subject.starts_with("sha256:") {
        let digest = subject.parse().map_err(|error: crate::image::DigestError| error.to_string())?;
        if arguments.image_id { Excepted::ImageId(digest) } else { Excepted::Digest(digest) }
    } else if arguments.image_id {
        return Err(format!("`{}` is not an image id (sha256: and 64 hex digits)", clean(subject)));
    } else if subject.contains("@sha256:") {
        return Err("an exception is about a digest or about names: write the digest alone, sha256:…".to_owned());
    } else {
        let pattern: Pattern = subject.parse().map_err(|error: crate::policy::PatternError| error.to_string())?;
        Excepted::Repositories(vec![pattern])
    };
    let mut lift: Vec<&'static str> = Vec::new();
    for name in &arguments.lift {
        let known = || all_liftable().collect::<Vec<_>>().join(", ");
        let rule = liftable(name.trim())
            .ok_or_else(|| format!("there is no rule `{}` that an exception may lift; there are {}", clean(name), known()))?;
        if !lift.contains(&rule) {
            lift.push(rule);
        }
    }
    let expires = match (&arguments.r#for, &arguments.until) {
        (Some(span), _) => {
            let span = when::span(span).filter(SignedDuration::is_positive);
            let end = span.and_then(|span| now.checked_add(span).ok());
            end.ok_or("--for is not a span such as 30m, 4h, 7d, 2w")?
        }
        (None, Some(until)) => {
            exception_end(until).ok_or("--until is neither a date (2026-12-04) nor a time (2026-12-04T18:00:00Z)")?
        }
        (None, None) => return Err("say --for or --until".to_owned()),
    };
    // A second's part would be nothing that people compare.
    let expires = Timestamp::from_second(expires.as_second()).unwrap_or(expires);
    let owner = match &arguments.owner {
        Some(owner) => owner.clone(),
        None => who().ok_or("nobody is logged in: say who answers for it (--owner NAME)")?,
    };
    let (reason, ticket) = (arguments.reason.trim().to_owned(), arguments.ticket.clone());
    let exception = Exception { of, lift, owner: owner.trim().to_owned(), reason, ticket, expires, position: None };
    match exception.standing(now) {
        Standing::InForce | Standing::Ending => Ok(exception),
        Standing::Ended => Err(format!("it would have ended already, at {expires:.0}")),
        Standing::Ahead => Err(format!("it would end at {expires:.0}: an exception ends within 366 days")),
    }
}

/// Who called sudo, or logged in.
fn who() -> Option<String> {
    let named = |name: &str| std::env::var(name).ok().filter(|name| !name.trim().is_empty());
    named("SUDO_USER").or_else(|| named("LOGNAME")).or_else(|| named("USER"))
}

fn changed(exception: &Exception, what: &str) -> Change {
    let digest = match exception.of {
        Excepted::Digest(digest) => digest.to_string(),
        Excepted::Repositories(_) | Excepted::ImageId(_) => String::new(),
    };
    let image_id = match exception.of {
        Excepted::ImageId(id) => id.to_string(),
        Excepted::Repositories(_) | Excepted::Digest(_) => String::new(),
    };
    let lifts = if exception.lift.is_empty() { String::new() } else { format!(", lifts {}", exception.lift.join(", ")) };
    let message = format!("{what}: {}{lifts}, until {:.0}: {}", exception.told(), exception.expires, exception.reason);
    Change { image: exception.subject(), digest, image_id, message }
}

fn list(arguments: &PolicyArgs, env: Settings, now: Timestamp) -> Result<u8, String> {
    let beside = Beside::find(arguments, env)?;
    let exceptions = beside.exceptions(&beside.read()?)?;
    if arguments.json {
        let of = |exception: &Arc<Exception>| {
            serde_json::json!({
                "id": exception.id(),
                "state": exception.standing(now),
                "subject": exception.subject(),
                "lift": exception.lift,
                "owner": exception.owner,
                "reason": exception.reason,
                "ticket": exception.ticket,
                "expires": exception.expires,
                "file": exception.position.as_ref().map(|position| position.file.display().to_string()),
                "line": exception.position.as_ref().map(|position| position.line),
            })
        };
        out::json(&serde_json::json!({ "exceptions": exceptions.iter().map(of).collect::<Vec<_>>() }));
    } else if exceptions.is_empty() {
        out::line("there are no exceptions");
    } else {
        table(&exceptions, now).print();
    }
    Ok(YES)
}

fn table(exceptions: &[Arc<Exception>], now: Timestamp) -> Table<7> {
    let mut table = Table::new(["ID", "EXPIRES", "FOR", "LIFTS", "OWNER", "TICKET", "REASON"]);
    for exception in exceptions {
        let standing = exception.standing(now);
        let colour = match standing {
            Standing::InForce => Colour::None,
            Standing::Ending => Colour::Yellow,
            Standing::Ended | Standing::Ahead => Colour::Red,
        };
        let word = match standing {
            Standing::InForce | Standing::Ending => "",
            Standing::Ended => "expired ",
            Standing::Ahead => "too far ahead ",
        };
        table.row([
            exception.id().into(),
            Cell::new(format!("{word}{:.0}", exception.expires), colour),
            exception.subject().into(),
            exception.lift.join(", ").into(),
            exception.owner.as_str().into(),
            exception.ticket.as_deref().unwrap_or("-").into(),
            exception.reason.as_str().into(),
        ]);
    }
    table
}

fn remove(arguments: &RemoveArgs, env: Settings, now: Timestamp) -> Result<u8, String> {
    let beside = Beside::find(&arguments.policy, env)?;
    let _lock = beside.lock()?;
    let before = beside.read()?;
    let all = beside.exceptions(&before)?;
    for id in &arguments.ids {
        match all.iter().find(|exception| exception.id() == *id) {
            None => {
                out::fault(&format!("there is no exception `{}`: see img-authz exception list", clean(id)));
                return Ok(NO);
            }
            Some(exception) if !beside.is_own(exception) => {
                let place = exception.position.as_ref().map(ToString::to_string).unwrap_or_default();
                return Err(format!("exception {id} stands in {place}: remove it there"));
            }
            Some(_) => {}
        }
    }
    let is_doomed = |exception: &Arc<Exception>| {
        arguments.ids.contains(&exception.id()) || (arguments.ended && exception.standing(now) == Standing::Ended)
    };
    let (doomed, left): (Vec<_>, Vec<_>) = all.into_iter().filter(|exception| beside.is_own(exception)).partition(is_doomed);
    if doomed.is_empty() {
        out::note("nothing was changed");
        return Ok(YES);
    }
    let trail = beside.trail()?;
    let Some(text) = beside.write(&before, &left)? else { return Ok(NO) };
    trail.record("exception-remove", doomed.iter().map(|exception| changed(exception, "removed")));
    if !arguments.policy.json {
        for exception in &doomed {
            out::line(&format!("{} removed: {}", exception.id(), exception.subject()));
        }
    }
    let in_force = beside.told(&text);
    if arguments.policy.json {
        let ids: Vec<String> = doomed.iter().map(|exception| exception.id()).collect();
        out::json(&serde_json::json!({ "removed": ids, "file": beside.own.display().to_string(), "in_force": in_force }));
    }
    Ok(YES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use std::os::unix::fs::PermissionsExt as _;

    const DIGEST: &str = "sha256:e4bc2012c97453873ab95d7e086cf2f00ef94f7f46ffd8af486e805fb0489f9c";
    const POLICY: &str = "version = 1\n[verifiers.r]\ntype = \"registry\"\n[rules]\nuser-root = \"deny\"\n[[scope]]\nmatch = \"r.example/**\"\nrequire = \"r\"\n";

    struct Host(tempfile::TempDir);

    impl Host {
        fn new(policy: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
            Self(folder)
        }

        fn own(&self) -> PathBuf {
            self.0.path().join("policy.d/exceptions.toml")
        }

        fn text(&self) -> String {
            std::fs::read_to_string(self.own()).unwrap_or_default()
        }

        /// What `exception` with these words comes to.
        fn does(&self, words: &[&str]) -> Result<u8, String> {
            let path = self.0.path().join("policy.toml").display().to_string();
            let all = ["img-authz", "exception"].into_iter().chain(words.iter().copied()).chain(["--policy", &path, "--json"]);
            let parsed = super::super::Arguments::try_parse_from(all).map_err(|error| error.to_string())?;
            let super::super::Command::Exception(ExceptionArgs { command }) = parsed.command else { panic!("{words:?}") };
            let now = clock::now();
            match &command {
                Command::Add(arguments) => add(arguments, Settings::default(), now),
                Command::List(arguments) => list(arguments, Settings::default(), now),
                Command::Remove(arguments) => remove(arguments, Settings::default(), now),
            }
        }

        fn ids(&self) -> Vec<String> {
            let file = setup::read_policy(&self.0.path().join("policy.toml"), &read_owned).unwrap();
            let resolved = Settings::default().resolve_file(&file).resolved.unwrap();
            resolved.policy.exceptions.iter().map(|exception| exception.id()).collect()
        }
    }

    #[test]
    fn exceptions_are_added_and_removed_in_a_file_of_their_own() {
        let host = Host::new(POLICY);
        let owner = ["--owner", "alice", "--reason", "late \"build\""];
        let add = |words: &[&str]| host.does(&[&["add"][..], words, &owner[..]].concat());
        assert_eq!(add(&[DIGEST, "--for", "4h", "--lift", "CIS-4.1,max-age", "--ticket", "OPS-1"]), Ok(YES));
        assert_eq!(add(&["r.example/x", "--until", "2026-12-30", "--lift", "user-root"]), Ok(YES));
        assert_eq!(add(&[DIGEST, "--image-id", "--for", "1d"]), Ok(YES));
        let text = host.text();
        assert!(text.starts_with("# Written by `img-authz exception`") && text.matches("[[exception]]").count() == 3, "{text}");
        assert!(text.contains("lift = [\"user-root\", \"max-age\"]") && text.contains("ticket = \"OPS-1\""), "{text}");
        assert_eq!(std::fs::metadata(host.own()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(host.does(&["list"]), Ok(YES));
        let ids = host.ids();
        assert_eq!(host.does(&["remove", "x00000000"]), Ok(NO));
        assert_eq!(host.does(&["remove", &ids[0], &ids[2]]), Ok(YES));
        assert_eq!(host.ids(), [ids[1].clone()]);
        // None has ended.
        assert_eq!(host.does(&["remove", "--ended"]), Ok(YES));
        assert_eq!(host.ids().len(), 1);
    }

    #[test]
    fn what_would_make_a_faulty_policy_or_none_that_ends_changes_nothing() {
        let host = Host::new(POLICY);
        let add = |words: &[&str]| host.does(&[&["add"][..], words, &["--owner", "alice", "--reason", "late"][..]].concat());
        for wrong in [
            &[DIGEST][..],
            &[DIGEST, "--for", "0h"],
            &[DIGEST, "--for", "4"],
            &[DIGEST, "--for", "53w"],
            &[DIGEST, "--for", "4h", "--until", "2026-12-30"],
            &[DIGEST, "--until", "2020-01-01"],
            &[DIGEST, "--for", "4h", "--lift", "self-protect"],
            &["sha256:e4bc", "--for", "4h"],
            &["busybox", "--for", "4h", "--lift", "user-root"],
            &["r.example/x@sha256:e4bc", "--for", "4h"],
            &["r.example/x", "--image-id", "--for", "4h"],
        ] {
            assert!(add(wrong).is_err(), "{wrong:?}");
        }
        // The policy itself says what is wrong: nothing is lifted; two lines.
        assert_eq!(add(&["r.example/x", "--for", "4h"]), Ok(NO));
        assert_eq!(add(&[DIGEST, "--for", "4h", "--ticket", "a\nb"]), Ok(NO));
        assert_eq!(host.text(), "");
        assert_eq!(add(&[DIGEST, "--until", "2026-12-30"]).unwrap(), YES);
        let text = host.text();
        assert_eq!(add(&[DIGEST, "--until", "2026-12-30"]), Ok(NO), "it is there already");
        assert_eq!(host.text(), text);
        // A policy with faults, or one that others may write, is left alone.
        std::fs::write(host.0.path().join("policy.toml"), POLICY.replace("version", "vresion")).unwrap();
        assert!(add(&["r.example/x", "--for", "4h", "--lift", "user-root"]).unwrap_err().contains("the policy has faults"));
        std::fs::write(host.0.path().join("policy.toml"), POLICY).unwrap();
        std::fs::set_permissions(host.own(), std::fs::Permissions::from_mode(0o622)).unwrap();
        assert!(add(&["r.example/x", "--for", "4h", "--lift", "user-root"]).unwrap_err().contains("may be changed by others"));
        assert_eq!(host.text(), text);
    }

    #[test]
    fn what_stands_elsewhere_is_listed_and_left_alone() {
        let there = format!("[[exception]]\ndigest = \"{DIGEST}\"\nowner = \"bob\"\nreason = \"x\"\nexpires = 2026-12-30\n");
        let host = Host::new(&format!("{POLICY}{there}"));
        let ids = host.ids();
        let told = host.does(&["remove", &ids[0]]).unwrap_err();
        assert!(told.contains("policy.toml:9: remove it there"), "{told}");
        assert_eq!(host.does(&["list"]), Ok(YES));
        assert_eq!(host.text(), "");
    }

    #[test]
    fn the_list_is_a_table() {
        let now = Timestamp::constant(1_796_000_000, 0);
        let exception = |seconds: i64, of| {
            Arc::new(Exception {
                of,
                lift: vec!["user-root"],
                owner: "alice".to_owned(),
                reason: "late\u{202e}".to_owned(),
                ticket: None,
                expires: now + SignedDuration::from_secs(seconds),
                position: None,
            })
        };
        let repositories = Excepted::Repositories(vec!["r.example/x".parse().unwrap()]);
        let all = [exception(30 * 86_400, repositories.clone()), exception(-60, repositories)];
        let text = table(&all, now).text(false);
        assert!(text.contains("2026-12-30T00:53:20Z"), "{text}");
        assert!(text.contains("expired 2026-11-30T00:52:20Z  r.example/x  user-root  alice  -       late\\u{202e}"), "{text}");
    }
}
