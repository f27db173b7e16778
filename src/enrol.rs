//! `enable` and `disable`: the gate comes into daemon.json, or goes out of it, and dockerd reads the file.
//!
//! INVARIANT: dockerd is not told to read a file that names a plugin which is not there and enabled, since that ends it. If it ends all
//! the same, the file is put back as it was.

mod dockerd;
mod drop_in;
mod edit;
mod file;
mod reload;

use std::path::Path;

use serde::Serialize;

use self::dockerd::Word;
use self::file::{Before, about, shown};
use self::reload::Chain;
use crate::doctor::{self, Finding, Severity, Standing, Stands, Wanted};
use crate::engine::Engine;
use crate::policy::quoted;
use crate::setup::Place;
use crate::text::clean;

/// Into the file, or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The gate is to be asked.
    Enable,
    /// It is not to be asked any more.
    Disable,
}

/// What is wished for.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) change: Change,
    pub(crate) wanted: Wanted,
    /// The engine's file, where one is named.
    pub(crate) daemon_json: Option<&'a Path>,
    /// Nothing is written, and nobody signalled.
    pub(crate) dry_run: bool,
    /// dockerd is to read the file.
    pub(crate) reload: bool,
    /// The drop-in against cleartext HTTP/2 is to be written.
    pub(crate) close_http2: bool,
}

/// How it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// dockerd asks the gate; or does not any more, as was wished.
    Done,
    /// The file is as was wished, and counts from dockerd's next start or reload on.
    Written,
    /// A dry run: so it would be.
    Would,
    /// Nothing was changed.
    Refused,
    /// The file is as was wished, and dockerd does not act so.
    NotInForce,
}

/// What stands in the way, or deserves a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Trouble {
    pub(crate) evidence: String,
    pub(crate) remedy: String,
}

/// What was done.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) state: State,
    pub(crate) gate: String,
    pub(crate) file: String,
    /// Whether the file was changed, or would be.
    pub(crate) changed: bool,
    /// Where the file as it was lies.
    pub(crate) backup: Option<String>,
    /// Whether dockerd said that it would start with it; nothing where it could not be asked.
    pub(crate) validated: Option<bool>,
    /// Whether dockerd was told to read it.
    pub(crate) reloaded: bool,
    /// The drop-in that was written.
    pub(crate) drop_in: Option<String>,
    /// The new text, of a dry run.
    pub(crate) text: Option<String>,
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) notes: Vec<String>,
}

/// Does it, as far as it may be done.
pub(crate) async fn enrol(wish: &Wish<'_>, place: &Place) -> Outcome {
    let engine = match Engine::at(place.settings.docker_host()) {
        Ok(engine) => engine,
        Err(error) => {
            let mut outcome = Outcome::new("img-authz", Path::new("daemon.json"));
            outcome.refuse(error.to_string(), "set DOCKER_HOST to the engine's own socket");
            return outcome;
        }
    };
    let standing = Standing::look(wish.daemon_json, wish.wanted, place, &engine).await;
    let mut outcome = Outcome::new(&standing.gate, &standing.path);
    if let Some(namesake) = &standing.namesake {
        return outcome.of_namesake(wish, namesake);
    }
    outcome.troubles = in_the_way(wish.change, &standing, place);
    if !outcome.troubles.is_empty() || is_by_flag(wish.change, &standing, &mut outcome) {
        return outcome;
    }
    let before = match Before::read(&standing.path) {
        Ok(before) => before,
        Err(error) => {
            let evidence = format!("{} cannot be edited: {error}", shown(&standing.path));
            outcome.refuse(evidence, "where another program makes this file, name the gate there; then reload dockerd");
            return outcome;
        }
    };
    let text = before.text();
    let edited = match wish.change {
        Change::Enable if is_listed(&standing) => Ok(text.to_owned()),
        Change::Enable => edit::put_in(text, &standing.gate),
        Change::Disable if !is_listed(&standing) => Ok(text.to_owned()),
        Change::Disable => edit::take_out(text, |name| standing.is_gate(name)),
    };
    let new = match edited {
        Ok(new) => new,
        Err(why) => {
            let evidence = format!("{} cannot be edited: {}", shown(&standing.path), clean(&why));
            outcome.refuse(evidence, "edit it by hand (README, Switch on), then reload dockerd");
            return outcome;
        }
    };
    outcome.changed = new != text;
    if outcome.changed && !outcome.is_accepted(&standing, &new) {
        return outcome;
    }
    // Where dockerd cannot be told, it asks the gate until its next start, and nobody from then on.
    if outcome.changed
        && wish.change == Change::Disable
        && wish.reload
        && standing.process.is_some()
        && let Some(other) = reload::would_end(&standing)
    {
        outcome.changed = false;
        outcome.refuse(reload::not_told(other), &other.remedy);
        return outcome;
    }
    if wish.dry_run {
        outcome.state = State::Would;
        outcome.text = Some(new);
        return outcome;
    }
    if outcome.changed {
        match before.replace(&standing.path, &new) {
            Ok(kept) => outcome.backup = kept.map(|path| path.display().to_string()),
            Err(why) => {
                outcome.changed = false;
                outcome.refuse(format!("the file was not written: {why}"), "repeat this as root, with room on the disk");
                return outcome;
            }
        }
    }
    outcome.state = State::Written;
    if wish.reload {
        let chain = Chain { change: wish.change, standing: &standing, engine: &engine, settings: &place.settings };
        let put_back = outcome.changed.then_some((&before, &*new));
        outcome.reload(&chain, put_back).await;
        if wish.change == Change::Disable && outcome.state == State::NotInForce && outcome.changed {
            outcome.put_back(&before, &standing.path, &new);
        }
    }
    if wish.change == Change::Enable {
        outcome.http2(wish, &standing, &engine).await;
    }
    outcome
}

/// What must be put right before the file is touched.
fn in_the_way(change: Change, standing: &Standing, place: &Place) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if change == Change::Enable && standing.stands != Stands::There {
        let found = standing.findings.iter().find(|finding| finding.id.starts_with("plugin") && finding.severity != Severity::Ok);
        let evidence =
            found.map_or_else(|| format!("the gate {} does not answer", quoted(&standing.gate)), |one| one.evidence.clone());
        let several = place.basis.as_ref().err().filter(|why| why.starts_with("several")).map(|why| format!("; {why}"));
        troubles.push(Trouble::new(format!("{evidence}{}", several.unwrap_or_default()), &standing.put_in()));
    }
    // That the gate is missing is what `enable` is for. What else the file names, or what dockerd was given beside it, stays as it is: only
    // `enable` would have dockerd meet it.
    let passed: &[&str] = match change {
        Change::Enable => &["daemon-json-gate-missing"],
        Change::Disable => &["daemon-json-gate-missing", "daemon-json-plugin", "daemon-json-key-typo", "daemon-json-and-flag"],
    };
    let is_of_file = |finding: &&Finding| {
        finding.severity < Severity::Info && finding.id.starts_with("daemon-json") && !passed.contains(&finding.id)
    };
    troubles.extend(standing.findings.iter().filter(is_of_file).map(Trouble::of));
    troubles
}

/// A gate that dockerd was started with as a flag is not the file's.
fn is_by_flag(change: Change, standing: &Standing, outcome: &mut Outcome) -> bool {
    let flags = standing.flags().map(|flags| flags.plugins.as_slice()).unwrap_or_default();
    let is_ours = flags.iter().any(|name| standing.is_gate(name));
    match change {
        Change::Enable if is_ours => {
            outcome.state = State::Done;
            outcome
                .notes
                .push("dockerd is started with this gate as its --authorization-plugin; the file stays as it is".to_owned());
            true
        }
        Change::Enable if !flags.is_empty() => {
            let names = flags.iter().take(8).map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
            outcome.refuse(
                format!("dockerd is started with --authorization-plugin {names}: it does not start where daemon.json names plugins too"),
                "move these names from dockerd's flags to \"authorization-plugins\" in daemon.json, restart dockerd, then repeat this",
            );
            true
        }
        Change::Disable if is_ours => {
            outcome.refuse(
                "dockerd is started with this gate as its --authorization-plugin".to_owned(),
                "take the flag out of dockerd's unit (systemctl cat docker shows it), then systemctl daemon-reload and restart docker",
            );
            true
        }
        Change::Enable | Change::Disable => false,
    }
}

fn is_listed(standing: &Standing) -> bool {
    matches!(standing.file.as_ref().map(crate::gate::DaemonFile::plugins), Some(crate::gate::Listed::Plugins(names)) if names.iter().any(|name| standing.is_gate(name)))
}

impl Trouble {
    fn new(evidence: String, remedy: &str) -> Self {
        Self { evidence, remedy: remedy.to_owned() }
    }

    fn of(finding: &Finding) -> Self {
        Self::new(finding.evidence.clone(), &finding.remedy)
    }
}

impl Outcome {
    fn new(gate: &str, file: &Path) -> Self {
        Self {
            state: State::Refused,
            gate: gate.to_owned(),
            file: file.display().to_string(),
            changed: false,
            backup: None,
            validated: None,
            reloaded: false,
            drop_in: None,
            text: None,
            troubles: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn refuse(&mut self, evidence: String, remedy: &str) {
        self.state = State::Refused;
        self.troubles.push(Trouble::new(evidence, remedy));
    }

    /// dockerd takes a managed plugin before a socket of the same name: what the file names is that one.
    fn of_namesake(mut self, wish: &Wish<'_>, namesake: &str) -> Self {
        let evidence = format!(
            "there is a managed plugin {}: that is what dockerd asks by this name, and not the service",
            quoted(namesake)
        );
        match wish.change {
            Change::Enable => self.refuse(
                evidence,
                "remove the managed plugin (README, Upgrade, stop, uninstall), or enable that one: without --service",
            ),
            Change::Disable => {
                self.state = State::Done;
                self.notes.push(format!("{evidence}; the file stays as it is"));
            }
        }
        self
    }

    /// Whether dockerd would start with this text, as far as it can be asked.
    fn is_accepted(&mut self, standing: &Standing, new: &str) -> bool {
        let written = tempfile::Builder::new().prefix("img-authz-").suffix(".json").tempfile().and_then(|file| {
            std::fs::write(file.path(), new)?;
            Ok(file)
        });
        let word = match &written {
            Ok(file) => dockerd::judges(file.path(), standing.process.as_ref()),
            Err(error) => Word::None(error.to_string()),
        };
        match word {
            Word::Good => self.validated = Some(true),
            Word::None(why) => self.notes.push(format!("not validated by dockerd: {why}")),
            Word::Bad(said) => {
                self.validated = Some(false);
                self.refuse(
                    format!("dockerd would not start with {} as it would be: {said}", shown(&standing.path)),
                    "correct what it names, then repeat this",
                );
                return false;
            }
        }
        true
    }

    /// dockerd asks the gate still: so it does after its next start.
    fn put_back(&mut self, before: &Before, path: &Path, written: &str) {
        match before.put_back(path, written) {
            Ok(()) => {
                (self.state, self.changed) = (State::Refused, false);
                self.notes
                    .push(format!("{} is as it was, so that the gate is asked after dockerd's next start too", shown(path)));
            }
            Err(error) => self.troubles.push(Trouble::new(
                format!("{} could not be put back: {error}", shown(path)),
                "img-authz enable names the gate again: at its next start dockerd asks nobody",
            )),
        }
    }

    /// Closes the way past every plugin, or says that it is open.
    async fn http2(&mut self, wish: &Wish<'_>, standing: &Standing, engine: &Engine) {
        let open = doctor::grpc(engine).await.filter(|finding| finding.severity == Severity::Critical);
        if !wish.close_http2 {
            if let Some(open) = open {
                self.troubles.push(Trouble::new(
                    open.evidence,
                    "img-authz enable --close-http2 writes a drop-in for docker's unit that switches it off; it counts from dockerd's next start on",
                ));
            }
            return;
        }
        let godebug = standing.process.as_ref().and_then(|process| drop_in::godebug(process.pid));
        let path = Path::new(drop_in::PATH);
        let written =
            drop_in::text(godebug.as_deref()).and_then(|text| drop_in::write(path, &text).map_err(|error| about(path, &error)));
        match written {
            Ok(is_new) => {
                self.drop_in = is_new.then(|| drop_in::PATH.to_owned());
                if is_new {
                    let stops = "this stops running containers, unless live-restore is on";
                    self.notes.push(format!(
                        "to have {} count: systemctl daemon-reload && systemctl restart docker ({stops})",
                        drop_in::PATH
                    ));
                    if let Some(set) = godebug.filter(|set| !set.is_empty()) {
                        self.notes.push(format!(
                            "dockerd has GODEBUG={} already: if a file that its unit reads sets it (/etc/default/docker), that one counts and not the drop-in; add http2server=0 there",
                            clean(&set)
                        ));
                    }
                } else if let Some(open) = open {
                    self.troubles.push(Trouble::new(
                        format!("{} is there, and does not count: {}", drop_in::PATH, open.evidence),
                        "restart docker (systemctl daemon-reload && systemctl restart docker); if it stays so, GODEBUG is set in /etc/default/docker or in a \
                         later drop-in, which count more: see systemctl cat docker",
                    ));
                }
            }
            Err(why) => {
                let evidence = format!("the drop-in was not written: {why}");
                self.troubles.push(Trouble::new(evidence, "see img-authz help grpc-unasked"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
