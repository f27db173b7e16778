//! The candidate for the policy: `policy.shadow.toml` beside the policy file, with the files that it names and a trust state of its own.
//! What is wrong with it is the candidate's alone.

use std::path::PathBuf;
use std::sync::Arc;

use super::kept::Kept;
use super::policy_file::with_file;
use super::resolve::build;
use super::state::{PLUGINS, SHADOW};
use crate::engine::{CallLimits, Engine};
use crate::gate::{Candidate, Gate, Plugins, Rules, Shadow};
use crate::policy::{PolicyFile, Settings};

/// What the file is called.
const SHADOW_FILE: &str = "policy.shadow.toml";
/// Calls to the engine at one time, and connections that are kept: no more than are judged at one time.
const IN_FLIGHT: usize = 4;

/// Where a candidate is looked for: beside the policy file, also where that is not there.
pub(crate) fn shadow_path(settings: &Settings) -> PathBuf {
    let folder = settings.policy_path().and_then(|(path, _)| Some(path.parent()?.to_owned()));
    folder.unwrap_or_else(|| settings.config_dir()).join(SHADOW_FILE)
}

/// Judges by candidates beside this gate. It has connections to the engine, and all else, of its own.
pub(crate) fn shadow(settings: &Settings, gate: &Gate, workers: tokio::runtime::Handle) -> Result<Arc<Shadow>, String> {
    let limits = CallLimits { in_flight: IN_FLIGHT, idle: IN_FLIGHT, ..CallLimits::default() };
    let engine = Engine::with_limits(settings.docker_host(), limits).map_err(|error| error.to_string())?;
    let plugins = Plugins::look(&settings.state_dir().join(PLUGINS));
    Ok(Shadow::beside(gate, Arc::new(engine), plugins, workers))
}

/// The candidate, as its files are looked at.
pub(crate) struct Candidates {
    /// The settings that the candidate would be in force with, and the folder in which its trust state is kept.
    settings: Settings,
    path: PathBuf,
    /// What was read is watched here; of what was good before nothing is kept.
    kept: Kept,
    is_read: bool,
}

impl Candidates {
    /// For a gate with these settings.
    pub(crate) fn of(given: &Settings) -> Self {
        let path = shadow_path(given);
        let state = given.state_dir().join(SHADOW);
        let settings = given.clone().without_what_a_file_says();
        let settings = settings.with("POLICY", path.display().to_string()).with("STATE_DIR", state.display().to_string());
        Self { settings, path, kept: Kept::default(), is_read: false }
    }

    /// Whether there is one. One that cannot be looked at is there.
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self.path.try_exists(), Ok(false)) || self.path.is_symlink()
    }

    /// Puts the candidate as it is now in the place of the one before, if a file of it has changed; then says what is to be recorded of
    /// that. Called each second.
    pub(crate) fn look(&mut self, shadow: &Shadow) -> Option<String> {
        if self.is_read && !self.kept.is_worth_a_look() {
            return None;
        }
        self.is_read = true;
        let (candidate, rules) = self.read();
        if let (Some(_), Some((_, settings))) = (&candidate, &rules) {
            shadow.talks_to(super::own(settings));
        }
        let gone = || "there is no candidate for the policy".to_owned();
        let told = candidate.as_ref().map_or_else(gone, Candidate::told);
        shadow.judge_by(candidate, rules.map(|(rules, _)| rules));
        Some(told)
    }

    fn read(&mut self) -> (Option<Candidate>, Option<(Rules, Settings)>) {
        self.kept = Kept::default();
        self.kept.watch_policy(&self.settings);
        if !self.is_there() {
            return (None, None);
        }
        let settings = with_file(&self.settings);
        let digest = settings.as_ref().ok().and_then(Settings::policy_file).map(PolicyFile::digest);
        let built = settings.and_then(|settings| Ok((build(&settings, &mut self.kept)?, settings)));
        let (rules, faults) = match built {
            Ok(built) => (Some(built), Vec::new()),
            Err(faults) => (None, faults.iter().map(ToString::to_string).collect()),
        };
        (Some(Candidate { file: self.path.clone(), digest, faults }), rules)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::clients::trust_folder;
    use super::*;
    use crate::audit::NoJournal;
    use crate::engine::Fake;
    use crate::gate::{Approvals, Identity};

    const POLICY: &str = "version = 1\n[verifiers.n]\ntype = \"notary\"\nserver = \"https://n.example\"\n\
                          [[scope]]\nmatch = \"r.example/**\"\nrequire = \"n\"\n";

    /// A gate by variables, and what looks for a candidate beside it.
    struct Host {
        folder: tempfile::TempDir,
        gate: Gate,
        shadow: Arc<Shadow>,
        candidates: Candidates,
    }

    impl Host {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name).display().to_string();
            for name in ["state", "config"] {
                std::fs::create_dir(folder.path().join(name)).unwrap();
            }
            let given = Settings::default().with("STATE_DIR", at("state")).with("CONFIG_DIR", at("config"));
            let given = given.with("REGISTRY", "r.example").with("NOTARY", "off").with("MODE", "permissive");
            let workers = tokio::runtime::Handle::current();
            let (rules, is_good) = super::super::rules(&given, &mut Kept::serving(&given, workers.clone()));
            assert!(is_good);
            let engine = Arc::new(Fake::new());
            let journal = Arc::new(NoJournal::default());
            let gate = Gate::new(rules, engine, journal, Approvals::in_memory(), Identity::default(), workers.clone());
            let shadow = shadow(&given, &gate, workers).unwrap();
            gate.shadowed_by(Arc::clone(&shadow));
            Self { candidates: Candidates::of(&given), folder, gate, shadow }
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("config").join(SHADOW_FILE)
        }

        /// The next news.
        fn news(&mut self) -> Option<Candidate> {
            (0..5).find_map(|_| self.candidates.look(&self.shadow)).expect("nothing is news");
            self.gate.candidate()
        }

        fn state(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.folder.path().join("state")).unwrap();
            let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    #[tokio::test]
    async fn a_candidate_is_read_when_it_changes_and_its_faults_are_its_own() {
        let mut host = Host::new();
        let before = host.state();
        assert!(!host.candidates.is_there());
        assert_eq!(host.news(), None, "there is none");
        std::fs::write(host.file(), POLICY).unwrap();
        assert!(host.candidates.is_there());
        let found = host.news().unwrap();
        // What the variables say counts not, where the file says it.
        assert_eq!((found.faults.as_slice(), &found.file), ([].as_slice(), &host.file()));
        assert_eq!(host.gate.candidate(), Some(found.clone()));
        assert!((0..5).all(|_| host.candidates.look(&host.shadow).is_none()), "nothing has changed");
        std::fs::write(host.file(), POLICY.replace("require", "requires")).unwrap();
        let faulty = host.news().unwrap();
        assert!(faulty.faults.iter().any(|fault| fault.contains("policy.shadow.toml:7")), "{:?}", faulty.faults);
        assert_ne!(faulty.digest, found.digest);
        std::fs::write(host.file(), [0xff]).unwrap();
        let unread = host.news().unwrap();
        assert!(unread.digest.is_none() && !unread.faults.is_empty());
        std::fs::remove_file(host.file()).unwrap();
        assert_eq!((host.news(), host.gate.candidate()), (None, None));
        // A link is refused as in the place of the policy: others may change what it leads to.
        std::fs::write(host.folder.path().join("other.toml"), POLICY).unwrap();
        std::os::unix::fs::symlink("../other.toml", host.file()).unwrap();
        assert!(host.news().unwrap().faults[0].contains("symbolic link"));
        assert_eq!(host.state(), before, "nothing of it is kept where the gate would read it");
    }

    #[tokio::test]
    async fn the_trust_state_of_a_candidate_is_apart_from_that_in_force() {
        let host = Host::new();
        let name = "n".parse().unwrap();
        let own = trust_folder(&host.candidates.settings, &name);
        assert_eq!(own, host.folder.path().join("state/shadow/trust-n"));
        let notary = trust_folder(&host.candidates.settings, &crate::trust::VerifierName::NOTARY);
        assert_eq!(notary, host.folder.path().join("state/shadow/trust"));
    }

    #[test]
    fn a_candidate_lies_beside_the_policy_file_wherever_that_is() {
        let of = |written: &[(&str, &str)]| {
            let settings = written.iter().fold(Settings::default(), |settings, (name, value)| settings.with(name, *value));
            shadow_path(&settings)
        };
        for (written, expected) in [
            (&[][..], "/etc/docker/img-authz/policy.shadow.toml"),
            (&[("CONFIG_DIR", "/config/img-authz")], "/config/img-authz/policy.shadow.toml"),
            (&[("POLICY", "off")], "/etc/docker/img-authz/policy.shadow.toml"),
            (&[("POLICY", "/srv/host.toml")], "/srv/policy.shadow.toml"),
        ] {
            assert_eq!(of(written), Path::new(expected), "{written:?}");
        }
    }
}
