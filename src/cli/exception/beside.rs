//! The command's own file of exceptions, and the policy that it stands beside: locked while it is changed, checked as the gate will read it,
//! and taken back where the gate would not take it in.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::PolicyArgs;
use crate::cli::out;
use crate::cli::trail::Trail;
use crate::files::{open_lock, owned_folder, read_owned, replace_regular};
use crate::policy::{EXCEPTIONS, Exception, FURTHER_FILES, PATTERNS, PolicyFault, PolicyFile, Read, Settings, Standing, Times};
use crate::setup::{self, Kept, LastGood, Place};
use crate::text::clean;

/// The command's own file, in the folder of further files beside the policy file.
const FOLDER: &str = "policy.d";
const FILE: &str = "exceptions.toml";
pub(super) const LOCK: &str = ".exceptions.lock";
/// What stands at its head.
pub(super) const HEAD: &str = "# Written by `img-authz exception`, which writes it anew each time: comments are lost. To write exceptions by hand, use another\n\
                    # file of this folder, or policy.toml.\nversion = 1\n";
/// How long the gate gets to take the change in, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(6);
const ASKED: Duration = Duration::from_millis(200);
/// How often it is looked whether another command is done.
const LOOKED: Duration = Duration::from_millis(50);
/// What stands in the command's own file, beside comments.
const KEYS: [&str; 2] = ["version", "exception"];

/// The exceptions of a policy, or what is wrong with it; and what it warns of.
type Judged = (Result<Vec<Arc<Exception>>, Vec<PolicyFault>>, Vec<PolicyFault>);

/// The policy that exceptions are beside.
pub(super) struct Beside {
    /// Its file, and the command's own.
    pub(super) path: PathBuf,
    pub(super) own: PathBuf,
    /// The variables that stand beside it.
    pub(super) settings: Settings,
    /// The gate whose policy it is; none, where it was named by its path.
    pub(super) gate: Option<Place>,
}

impl Beside {
    pub(super) fn find(arguments: &PolicyArgs, env: Settings) -> Result<Self, String> {
        let place = Place::find(env);
        if let Some(path) = &arguments.policy
            && !is_the_gates(path, &place)
        {
            let settings = Settings::default();
            return Ok(Self { own: own(path), path: path.clone(), settings, gate: None });
        }
        if let (Err(why), None) = (&place.basis, &arguments.policy) {
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
    pub(super) fn read(&self) -> Result<PolicyFile, String> {
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
    pub(super) fn exceptions(&self, file: &PolicyFile) -> Result<Vec<Arc<Exception>>, String> {
        self.judge(file).0.map_err(|faults| {
            let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
            format!("the policy has faults, correct them first: {}", told.join("; "))
        })
    }

    /// The command's own file as it is now, of which nothing may be lost when it is written again; `None`: there is none.
    fn own_text<'f>(&self, file: &'f PolicyFile) -> Result<Option<&'f str>, String> {
        let Some((_, text)) = file.0.iter().find(|(path, _)| *path == self.own) else { return Ok(None) };
        let keys = PolicyFile::top_keys(text).unwrap_or_default();
        let is_headed = text.lines().next() == HEAD.lines().next();
        let foreign = keys.iter().find(|key| !KEYS.contains(&key.as_str()));
        let why = match foreign {
            Some(key) => format!("it has `{}`", clean(key)),
            None if !is_headed => "its first line is not the command's own".to_owned(),
            None if !keys.iter().any(|key| key == "version") => "it has no `version`".to_owned(),
            None => return Ok(Some(text)),
        };
        Err(format!(
            "`{}` was not written by this command ({why}), and would be lost: rename it (by-hand.toml), then repeat this",
            self.own.display()
        ))
    }

    /// Those in the command's own file.
    pub(super) fn is_own(&self, exception: &Exception) -> bool {
        exception.position.as_ref().is_some_and(|position| *position.file == *self.own)
    }

    /// By which time the gate judges them.
    pub(super) fn times(&self, now: Timestamp) -> Times {
        let state = self.gate.as_ref().map(|place| place.settings.state_dir());
        state.map_or_else(|| now.into(), |state| setup::exception_times(&state, now))
    }

    /// Those that have ended take places until they are removed.
    pub(super) fn has_room(&self, all: &[Arc<Exception>], new: &Exception, times: Times) -> Result<(), String> {
        let patterns: usize = all.iter().map(|exception| exception.patterns()).sum();
        let is_ended = |exception: &&Arc<Exception>| exception.standing(times) == Standing::Ended;
        let ended = all.iter().filter(|exception| self.is_own(exception)).filter(is_ended).count();
        if ended > 0 && (all.len() >= EXCEPTIONS || patterns + new.patterns() > PATTERNS) {
            return Err(format!(
                "there are as many exceptions as a policy may have, and {ended} of them have ended: img-authz exception remove --ended, then \
                 repeat this"
            ));
        }
        Ok(())
    }

    /// Writes these into the command's own file, after a look at the policy that this makes. `None`: it would have faults, which are told.
    pub(super) fn write(&self, before: &PolicyFile, exceptions: &[Arc<Exception>]) -> Result<Option<String>, String> {
        let mut text = HEAD.to_owned();
        for exception in exceptions {
            text.extend(["\n", &exception.to_toml()]);
        }
        let old = self.own_text(before)?;
        let mut file = before.clone();
        file.0.retain(|(path, _)| *path != self.own);
        if old.is_none() && file.0.len() > FURTHER_FILES {
            let folder = self.own.parent().unwrap_or(Path::new("."));
            return Err(format!("`{}` holds {FURTHER_FILES} files already, which is the most that count", folder.display()));
        }
        // In the order in which the gate reads them: behind policy.toml, by name.
        let at = file.0.iter().skip(1).position(|(path, _)| *path > self.own).map_or(file.0.len(), |at| at + 1);
        file.0.insert(at, (self.own.clone(), text.clone()));
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
        self.put(&text, old)?;
        Ok(Some(text))
    }

    /// Writes the command's own file, and reads the policy again as the gate does. What it would refuse is taken back.
    pub(super) fn put(&self, text: &str, old: Option<&str>) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("`{}` cannot be written: {error}", self.own.display());
        replace_regular(&self.own, text.as_bytes(), 0o600).map_err(failed)?;
        let Err(why) = self.read().and_then(|file| self.exceptions(&file)) else { return Ok(()) };
        let taken_back = match old {
            Some(old) => replace_regular(&self.own, old.as_bytes(), 0o600),
            None => std::fs::remove_file(&self.own),
        };
        match taken_back {
            Ok(()) => Err(format!("nothing was changed, because the gate would not take it in: {why}")),
            Err(error) => Err(format!("`{}` is at fault and cannot be taken back ({error}): {why}", self.own.display())),
        }
    }

    /// The policy as it is now, which nobody else's command changes meanwhile. The lock goes with the process.
    ///
    /// Whose the folders are is looked at before anything is made in them.
    pub(super) fn lock(&self, patience: Duration) -> Result<(File, PolicyFile), String> {
        let folder = self.own.parent().unwrap_or(Path::new("."));
        let failed = |error: std::io::Error| format!("`{}` cannot be used: {error}", folder.display());
        self.own_text(&self.read()?)?;
        match owned_folder(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                DirBuilder::new().mode(0o755).create(folder).map_err(failed)?;
                owned_folder(folder).map_err(failed)?;
            }
            found => found.map_err(failed)?,
        }
        let path = folder.join(LOCK);
        let failed = |error: std::io::Error| format!("`{}` cannot be used: {error}", path.display());
        let file = open_lock(&path).map_err(failed)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok((file, self.read()?)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if began.elapsed() < patience => std::thread::sleep(LOOKED),
                Err(TryLockError::WouldBlock) => {
                    return Err(format!("another command holds `{}`: repeat this once it is done", path.display()));
                }
            }
        }
    }

    pub(super) fn trail(&self) -> Result<Trail, String> {
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
    pub(super) fn told(&self, text: &str) -> Option<bool> {
        let is_in_force = self.is_taken_in(text);
        match is_in_force {
            Some(true) => out::note("in force"),
            Some(false) => out::note("written; the gate has not taken it in yet: see img-authz policy show"),
            None => out::note("written; no gate was asked whether it is in force"),
        }
        is_in_force
    }
}

/// Whether a policy file is the one that the gate reads, however its path is written. A gate whose settings are not known reads the one
/// that this environment names.
fn is_the_gates(path: &Path, place: &Place) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    place.given.policy_path().is_some_and(|(own, _)| real(&own) == real(path))
}

/// The command's own file beside a policy file.
pub(super) fn own(policy: &Path) -> PathBuf {
    policy.with_file_name(FOLDER).join(FILE)
}
