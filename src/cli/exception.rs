//! `exception`: lets something pass for a time, in a file of its own beside the policy file. The whole policy is checked with the change
//! before it is made.

mod beside;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use beside::Beside;
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::out::{self, Cell, Colour, Table};
use super::trail::Change;
use super::{NO, UNKNOWN, YES, when};
use crate::clock;
use crate::engine::{self, Engine, Store};
use crate::policy::{Excepted, Exception, Pattern, Settings, Standing, Times, all_liftable, exception_end, liftable};
use crate::text::clean;

/// How long another command that changes the file is waited for.
const LOCKED: Duration = Duration::from_secs(5);
/// How long the engine gets for one answer.
const ENGINE_TIME: Duration = Duration::from_secs(2);

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

/// What a command comes to whose change the gate has, or has not, in force; `None`: nobody said.
const fn code(in_force: Option<bool>) -> u8 {
    match in_force {
        Some(true) | None => YES,
        Some(false) => UNKNOWN,
    }
}

fn add(arguments: &AddArgs, env: Settings, now: Timestamp) -> Result<u8, String> {
    let exception = Arc::new(exception(arguments, now)?);
    let beside = Beside::find(&arguments.policy, env)?;
    let times = beside.times(now);
    if exception.standing(times) == Standing::Ended {
        let (end, latest) = (exception.expires, times.latest);
        return Err(format!(
            "it would end at {end:.0}, and the gate has seen {latest:.0}: it would not count (exceptions.json, docs/settings.md, STATE_DIR)"
        ));
    }
    // An engine that does not answer leaves it at that.
    if let Some(place) = &beside.gate
        && let Ok(engine) = Engine::at(place.settings.docker_host())
        && let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build()
        && let Some(warning) = runtime.block_on(mistaken(&exception.of, &engine))
    {
        out::note(&format!("warning: {warning}"));
    }
    let (_lock, before) = beside.lock(LOCKED)?;
    let mut exceptions = beside.exceptions(&before)?;
    beside.has_room(&exceptions, &exception, times)?;
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
    Ok(code(in_force))
}

/// Why an exception comes to nothing on this host: its digest is of the other kind.
async fn mistaken(of: &Excepted, engine: &dyn engine::Api) -> Option<String> {
    let deadline = || tokio::time::Instant::now() + ENGINE_TIME;
    match of {
        Excepted::Repositories(_) => None,
        Excepted::Digest(digest) => {
            let found = engine.image(&digest.to_string(), deadline()).await.ok()??;
            let is_id = found.store == Some(Store::Classic) && found.id == *digest;
            is_id.then(|| {
                format!("{digest} is the id of an image here, which is no digest of a manifest and lets nothing pass: add it with --image-id")
            })
        }
        Excepted::ImageId(_) => {
            let store = engine.info(deadline()).await.ok()?.store;
            (store == Store::Containerd).then(|| {
                "this host has the containerd store, where an image's id is its digest and --image-id lets nothing pass: add it without".to_owned()
            })
        }
    }
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
    let times = beside.times(now);
    let exceptions = beside.exceptions(&beside.read()?)?;
    if arguments.json {
        let of = |exception: &Arc<Exception>| {
            serde_json::json!({
                "id": exception.id(),
                "state": exception.standing(times),
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
        table(&exceptions, times).print();
    }
    Ok(YES)
}

fn table(exceptions: &[Arc<Exception>], times: Times) -> Table<7> {
    let mut table = Table::new(["ID", "EXPIRES", "FOR", "LIFTS", "OWNER", "TICKET", "REASON"]);
    for exception in exceptions {
        let standing = exception.standing(times);
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
    let times = beside.times(now);
    let (_lock, before) = beside.lock(LOCKED)?;
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
        arguments.ids.contains(&exception.id()) || (arguments.ended && exception.standing(times) == Standing::Ended)
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
    Ok(code(in_force))
}

#[cfg(test)]
mod tests {
    use super::beside::{HEAD, LOCK, own};
    use super::*;
    use crate::files::read_owned;
    use crate::policy::{EXCEPTIONS, FURTHER_FILES};
    use crate::setup;
    use clap::Parser as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

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
            let super::super::Command::Exception(super::super::Later(ExceptionArgs { command })) = parsed.command else {
                panic!("{words:?}")
            };
            // No gate of this host is looked for.
            let env = Settings::default().with("STATE_DIR", self.0.path().join("none").display().to_string());
            let now = clock::now();
            match &command {
                Command::Add(arguments) => add(arguments, env, now),
                Command::List(arguments) => list(arguments, env, now),
                Command::Remove(arguments) => remove(arguments, env, now),
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

    fn beside(host: &Host) -> Beside {
        let path = host.0.path().join("policy.toml");
        Beside { own: own(&path), path, settings: Settings::default(), gate: None }
    }

    #[test]
    fn what_others_wrote_into_the_commands_file_is_not_lost() {
        let host = Host::new(POLICY);
        let add = || host.does(&["add", DIGEST, "--for", "4h", "--owner", "alice", "--reason", "late"]);
        assert_eq!(add(), Ok(YES));
        let (good, id) = (host.text(), host.ids()[0].clone());
        let scope = "[[scope]]\nmatch = \"s.example/**\"\nrequire = \"r\"\n";
        for (foreign, due) in [
            (format!("{good}{scope}"), "it has `scope`"),
            (format!("{good}[verifiers.x]\ntype = \"registry\"\n"), "it has `verifiers`"),
            (good.lines().skip(1).collect::<Vec<_>>().join("\n"), "its first line"),
            ("version = 1\n".to_owned(), "its first line"),
            (format!("{}\n[[exception]]", good.lines().next().unwrap()), ""),
        ] {
            std::fs::write(host.own(), &foreign).unwrap();
            for told in [add().unwrap_err(), host.does(&["remove", &id]).unwrap_err()] {
                assert!(told.contains(due) && told.contains("exceptions.toml"), "{told}");
            }
            assert_eq!(host.text(), foreign);
        }
        std::fs::write(host.own(), good).unwrap();
        assert_eq!(host.does(&["remove", &id]), Ok(YES));
        assert_eq!(add(), Ok(YES));
    }

    #[test]
    fn a_folder_that_others_may_change_gets_nothing_and_one_that_is_full_no_file_more() {
        let host = Host::new(POLICY);
        let add = || host.does(&["add", DIGEST, "--for", "4h", "--owner", "alice", "--reason", "late"]);
        let (folder, elsewhere) = (host.0.path().join("policy.d"), host.0.path().join("elsewhere"));
        let names = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o775)).unwrap();
        let told = add().unwrap_err();
        assert!(told.contains("policy.d` cannot be used: it may be changed by others") && names(&folder) == 0, "{told}");
        std::fs::remove_dir(&folder).unwrap();
        std::fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
        let told = add().unwrap_err();
        assert!(told.contains("symbolic link") && names(&elsewhere) == 0, "{told}");
        std::fs::remove_file(&folder).unwrap();
        std::fs::create_dir(&folder).unwrap();
        for number in 0..FURTHER_FILES {
            std::fs::write(folder.join(format!("{number}.toml")), "version = 1\n").unwrap();
        }
        assert!(add().unwrap_err().contains("holds 64 files already"));
        assert_eq!(host.text(), "");
        std::fs::remove_file(folder.join("0.toml")).unwrap();
        assert_eq!(add(), Ok(YES));
    }

    #[test]
    fn ended_exceptions_in_all_places_are_named_as_what_to_remove() {
        let host = Host::new(POLICY);
        let add = || host.does(&["add", DIGEST, "--for", "4h", "--owner", "alice", "--reason", "late"]);
        let of = |number: usize, expires: &str| {
            format!("\n[[exception]]\ndigest = \"sha256:{number:064x}\"\nowner = \"a\"\nreason = \"b\"\nexpires = {expires}\n")
        };
        std::fs::create_dir(host.0.path().join("policy.d")).unwrap();
        let many = |expires| (0..EXCEPTIONS).map(|number| of(number, expires)).collect::<String>();
        std::fs::write(host.own(), format!("{HEAD}{}", many("2126-12-04"))).unwrap();
        assert_eq!(add(), Ok(NO));
        std::fs::write(host.own(), format!("{HEAD}{}", many("2020-12-04"))).unwrap();
        let told = add().unwrap_err();
        assert!(told.contains("256 of them have ended: img-authz exception remove --ended"), "{told}");
        assert_eq!(host.does(&["remove", "--ended"]), Ok(YES));
        assert_eq!(add(), Ok(YES));
    }

    #[tokio::test]
    async fn a_digest_of_the_other_kind_is_warned_about_where_the_engine_says_so() {
        let engine = engine::Fake::new();
        let (id, manifest) = (crate::image::Digest::of(b"id"), crate::image::Digest::of(b"manifest"));
        let put = |id, store| {
            let repo_digests = vec![("r.example/x".parse().unwrap(), manifest)];
            let config = crate::image::ImageConfig::default();
            engine.put_image(engine::Image { id, store: Some(store), repo_tags: Vec::new(), repo_digests, config });
        };
        put(id, Store::Classic);
        assert!(mistaken(&Excepted::Digest(id), &engine).await.unwrap().contains("--image-id"));
        for right in [Excepted::Digest(manifest), Excepted::ImageId(id)] {
            assert_eq!(mistaken(&right, &engine).await, None, "{right:?}");
        }
        engine.remove_images();
        put(manifest, Store::Containerd);
        assert_eq!(mistaken(&Excepted::Digest(manifest), &engine).await, None);
        assert!(mistaken(&Excepted::ImageId(manifest), &engine).await.unwrap().contains("add it without"));
        engine.fail_with(Some(engine::EngineError::Timeout { call: "x".to_owned() }));
        assert_eq!(mistaken(&Excepted::Digest(id), &engine).await, None);
    }

    #[test]
    fn nobody_waits_for_ever_for_a_lock() {
        let host = Host::new(POLICY);
        let beside = beside(&host);
        let (held, _) = beside.lock(LOCKED).unwrap();
        assert!(beside.lock(Duration::from_millis(60)).unwrap_err().contains("another command holds"));
        drop(held);
        beside.lock(Duration::ZERO).unwrap();
        let lock = host.0.path().join("policy.d").join(LOCK);
        let other = host.0.path().join("other");
        std::fs::remove_file(&lock).unwrap();
        std::os::unix::fs::symlink(&other, &lock).unwrap();
        beside.lock(Duration::ZERO).unwrap_err();
        assert!(!other.exists());
        std::fs::remove_file(&lock).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &lock, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        beside.lock(Duration::ZERO).unwrap_err();
    }

    #[test]
    fn what_the_gate_would_not_take_in_is_taken_back() {
        let host = Host::new(POLICY);
        let beside = beside(&host);
        drop(beside.lock(LOCKED).unwrap());
        let told = beside.put("version = 2\n", None).unwrap_err();
        assert!(told.starts_with("nothing was changed") && !host.own().exists(), "{told}");
        beside.put(HEAD, None).unwrap();
        beside.put("version = 1\nmode = \"permissive\"\n", Some(HEAD)).unwrap_err();
        assert_eq!(host.text(), HEAD);
        assert_eq!([Some(true), None, Some(false)].map(code), [YES, YES, UNKNOWN]);
    }

    #[test]
    fn a_change_of_the_gates_own_file_is_on_record_however_its_path_is_written() {
        let host = Host::new(POLICY);
        let (state, other) = (host.0.path().join("state"), host.0.path().join("other.toml"));
        std::fs::create_dir(&state).unwrap();
        std::fs::write(&other, POLICY).unwrap();
        let path = host.0.path().join("policy.toml");
        let env = || {
            let env = Settings::default().with("STATE_DIR", state.display().to_string());
            env.with("POLICY", path.display().to_string())
        };
        let find = |path: PathBuf| Beside::find(&PolicyArgs { policy: Some(path), json: false }, env()).unwrap();
        let found = find(state.join("../policy.toml"));
        assert!(found.gate.is_some() && found.own == own(&path));
        found.trail().unwrap().record("exception-add", [Change::default()]);
        assert!(std::fs::read_to_string(state.join("audit.jsonl")).unwrap().contains("exception-add"));
        assert!(find(other).gate.is_none());
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
        let text = table(&all, now.into()).text(false);
        assert!(text.contains("2026-12-30T00:53:20Z"), "{text}");
        assert!(text.contains("expired 2026-11-30T00:52:20Z  r.example/x  user-root  alice  -       late\\u{202e}"), "{text}");
    }
}
