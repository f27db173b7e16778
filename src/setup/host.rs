//! Finds the gate that serves on this host, and by what it judges: what it says itself of what it has in force; else its
//! variables, as the engine or the engine's files have them; else, for a gate that runs by itself, this environment. Where none of
//! these is to be had, the settings are not known, and nobody makes them up.
//!
//! Paths inside a managed plugin are told as paths on the host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::dockerd::{Process, daemon_file};
use super::in_force::{Alive, InForce, ListInForce, is_alive};
use super::kept::Kept;
use super::last_good::LastGood;
use super::mounts::{MOUNTS, View, host_path};
use super::policy_file::with_file;
use super::resolve;
use crate::engine::{Api as _, Engine, EngineError, Plugin};
use crate::files::read_text;
use crate::gate::{DaemonFile, Listed};
use crate::image::Reference;
use crate::policy::{Policy, Settings, quoted};
use crate::text::clean;
use crate::trust::VerifierName;
use crate::trust::allowlist::signed::ListKey;

/// How long the engine is asked. A command on a host whose engine hangs still answers.
const PATIENCE: Duration = Duration::from_secs(2);
/// The plugin's name unless the environment variable `PLUGIN` gives another, or one of another name is found.
const PLUGIN: &str = "img-authz";
/// The name of a gate that runs by itself: its socket's, which the Debian package fixes.
pub(crate) const SERVICE: &str = PLUGIN;
/// What the gate's plugin starts (plugin/config.json): by this it is known, whatever its name.
const ENTRYPOINT: &str = "/img-authz";
/// Its socket's name (plugin/config.json), and the folder in which the engine keeps plugins' sockets by id.
const SOCKET: &str = "img-authz.sock";
const SOCKETS: &str = "/run/docker/plugins";
/// The engine's data root unless daemon.json or a flag says otherwise.
const DATA_ROOT: &str = "/var/lib/docker";
/// Largest of the engine's files about a plugin. Its configuration has some kilobytes; settings may hold certificates.
const PLUGIN_BYTES: u64 = 4 << 20;
/// Most plugins read. Stops a crowded folder from taking for ever.
const PLUGINS: usize = 256;
/// Largest daemon.json read.
const DAEMON_BYTES: u64 = 1 << 20;

/// What to do where no gate is found.
const WHERE: &str = "run this as root on the gate's host; PLUGIN names the gate's plugin, STATE_DIR its state folder (<the engine's data \
                     root>/plugins/ID/propagated-mount)";
/// What says where things are, and nothing of what is allowed.
const PLACES: [&str; 5] = ["DOCKER_HOST", "DOCKER_CONFIG", "HTTPS_PROXY", "NO_PROXY", "LOG"];

/// The gate of this host, as far as it was found.
pub(crate) struct Place {
    /// By what it judges, and where its things are, as seen from here. Where `basis` is an error: this environment's.
    pub(crate) settings: Settings,
    /// Whose settings these are; or why the gate's are not known.
    pub(crate) basis: Result<Basis, String>,
    /// The settings that the gate was given, likewise.
    pub(crate) given: Settings,
    /// Folders of the host that the gate is shown: there, and inside.
    pub(crate) mounts: Vec<(String, String)>,
    /// What is wrong with the settings that the gate was given; others than those are in force then.
    pub(crate) faults: Vec<String>,
    /// What is wrong with files in whose place their last good content counts.
    pub(crate) file_faults: Vec<String>,
    /// None are in force: calls that touch an image are refused.
    pub(crate) is_void: bool,
    /// What it says itself.
    pub(crate) in_force: Option<InForce>,
    /// The managed plugin that it is.
    pub(crate) plugin: Option<Plugin>,
    /// All managed plugins of this host; `None`: not known.
    pub(crate) plugins: Option<Vec<Plugin>>,
}

/// Whose settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basis {
    /// The gate's own word of what it has in force.
    Gate,
    /// The managed plugin's variables, which its next start will read.
    Variables,
    /// This environment's.
    Environment,
}

impl Place {
    /// Finds the gate. `env` are the settings of this environment.
    pub(crate) fn find(env: Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(Self::look(env)),
            Err(error) => Self::unknown(env, error.to_string()),
        }
    }

    async fn look(env: Settings) -> Self {
        if env.get("STATE_DIR").is_some() {
            let state = env.state_dir();
            let place = Self::of_folder(env, &state, &MOUNTS.map(|(inside, host)| (host.to_owned(), inside.to_owned())));
            place.go_its_way();
            return place;
        }
        let found = plugins(&env).await;
        let listed = listed(&env);
        let chosen = match &found {
            Ok((plugins, root)) => {
                choose(plugins, wanted().as_deref(), &listed).map(|plugin| plugin.cloned().zip(Some(root.clone())))
            }
            Err(_) => Ok(None),
        };
        let plugins = found.as_ref().ok().map(|(plugins, _)| plugins.clone());
        let place = match (chosen, found.err()) {
            (Err(why), _) => Self::unknown(env, why),
            (Ok(Some((plugin, root))), _) => Self::of_plugin(&env, plugin, &root),
            (Ok(None), why) => {
                let state = env.state_dir();
                let by_itself = Self::of_folder(env, &state, &[]);
                let why = why.unwrap_or_else(|| "there is no managed plugin of the gate".to_owned());
                let basis = by_itself.basis.map_err(|missing| format!("{why}; {missing}; {WHERE}"));
                Self { basis, ..by_itself }
            }
        };
        let place = Self { plugins, ..place };
        place.go_its_way();
        place
    }

    /// The gate of a managed plugin.
    fn of_plugin(env: &Settings, plugin: Plugin, root: &Path) -> Self {
        let given = given(&plugin);
        let folder = root.join("plugins").join(&plugin.id).join("propagated-mount");
        let seen = |settings: &Settings| outside(settings, &plugin.mounts, &folder, env);
        // What it said counts as long as it was said of these very variables.
        let said = InForce::read(&folder).filter(|said| said.given == given);
        let place = match said {
            Some(said) => Self {
                settings: seen(said.settings.as_ref().unwrap_or(&said.given)),
                given: seen(&said.given),
                mounts: Vec::new(),
                basis: Ok(Basis::Gate),
                faults: said.faults.clone(),
                file_faults: said.file_faults.clone(),
                is_void: said.settings.is_none(),
                in_force: Some(said.seen(&plugin.mounts)),
                plugin: None,
                plugins: None,
            },
            None => Self::judged(seen(&given), Basis::Variables, &plugin.mounts, |last| seen(&last)),
        };
        Self { mounts: plugin.mounts.clone(), plugin: Some(plugin), ..place }
    }

    /// A gate that keeps its state in this folder: by what it says there, or by this environment.
    pub(crate) fn of_folder(env: Settings, folder: &Path, mounts: &[(String, String)]) -> Self {
        if let Some(said) = InForce::read(folder) {
            // The folder may be a managed plugin's, which has other paths than we.
            let is_elsewhere = said.given.state_dir() != folder;
            let mounts = if is_elsewhere { mounts } else { &[] };
            let seen = |settings: &Settings| outside(settings, mounts, folder, &env);
            return Self {
                settings: seen(said.settings.as_ref().unwrap_or(&said.given)),
                given: seen(&said.given),
                mounts: mounts.to_vec(),
                basis: Ok(Basis::Gate),
                faults: said.faults.clone(),
                file_faults: said.file_faults.clone(),
                is_void: said.settings.is_none(),
                in_force: Some(said.seen(mounts)),
                plugin: None,
                plugins: None,
            };
        }
        if env.written().any(|(name, _)| !PLACES.contains(&name) && name != "STATE_DIR" && name != "CONFIG_DIR") {
            return Self::judged(env, Basis::Environment, &[], |last| last);
        }
        let why = format!("no gate says in {} what it has in force", quoted(&folder.display().to_string()));
        Self::unknown(env, why)
    }

    /// By settings that no running gate answers for: those, or the last good ones where they are at fault.
    pub(crate) fn judged(
        given: Settings,
        basis: Basis,
        mounts: &[(String, String)],
        seen: impl Fn(Settings) -> Settings,
    ) -> Self {
        let state = given.state_dir();
        let judge = |settings: &Settings| {
            let mut kept = Kept::looking(LastGood::look(&state, mounts), []);
            match resolve::policy(settings, &mut kept) {
                Ok(_) => Ok(kept.file_faults()),
                Err(faults) => Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>()),
            }
        };
        let last = || {
            let last = resolve::last_good(&state).map(seen)?;
            Some((judge(&last).ok()?, last))
        };
        let (given, unread) = match with_file(&given) {
            Ok(read) => (read, Vec::new()),
            Err(faults) => (given, faults.iter().map(ToString::to_string).collect()),
        };
        let judged = if unread.is_empty() { judge(&given) } else { Err(unread) };
        let (settings, faults, file_faults, is_void) = match judged {
            Ok(file_faults) => (given.clone(), Vec::new(), file_faults, false),
            Err(faults) => match last() {
                Some((file_faults, last)) => (last, faults, file_faults, false),
                None => (given.clone(), faults, Vec::new(), true),
            },
        };
        Self {
            settings,
            basis: Ok(basis),
            given,
            mounts: mounts.to_vec(),
            faults,
            file_faults,
            is_void,
            in_force: None,
            plugin: None,
            plugins: None,
        }
    }

    fn unknown(env: Settings, why: String) -> Self {
        Self {
            given: env.clone(),
            mounts: Vec::new(),
            settings: env,
            basis: Err(why),
            faults: Vec::new(),
            file_faults: Vec::new(),
            is_void: false,
            in_force: None,
            plugin: None,
            plugins: None,
        }
    }

    /// Servers are asked by the way that the gate asks them.
    fn go_its_way(&self) {
        if matches!(self.basis, Ok(Basis::Gate | Basis::Variables)) {
            crate::net::use_proxies(self.settings.written().filter(|(name, _)| name.ends_with("_PROXY")));
        }
    }

    /// Whether the gate itself says what it has in force.
    pub(crate) fn is_told(&self) -> bool {
        self.basis == Ok(Basis::Gate)
    }

    /// What it had read before, for judging as it does: its allowlist is required, and its last good content holds.
    pub(crate) fn kept(&self) -> Kept {
        let files = LastGood::look(&self.settings.state_dir(), &self.mounts);
        let said = self.in_force.as_ref().map(|said| said.allowlists.as_slice()).unwrap_or_default();
        // One of which the gate never read a good one refuses everything, whatever an earlier gate kept.
        let of = |list: &ListInForce| {
            let name: VerifierName = list.verifier.parse().ok()?;
            let key = list.key.as_ref().map(|key| ListKey::read(key).unwrap_or_else(|_| ListKey::ended()).of_list(name.clone()));
            let allowlist = match list.entries {
                Some(_) => files.allowlist_in_force(&list.path, key),
                None => LastGood::default().allowlist(&list.path, key),
            };
            Some((name.clone(), allowlist.named(name)))
        };
        let lists: Vec<_> = said.iter().filter_map(of).collect();
        Kept::looking(files, lists)
    }

    /// Where the record of this policy lies, as seen from here.
    pub(crate) fn record_of(&self, policy: &Policy) -> Option<PathBuf> {
        let folder = &policy.record.as_ref()?.folder;
        let in_state = self.plugin.as_ref().and_then(|plugin| folder.strip_prefix(given(plugin).state_dir()).ok());
        Some(match in_state {
            Some(rest) => self.settings.state_dir().join(rest),
            None => folder.to_str().map_or_else(|| folder.clone(), |path| host_path(path, &self.mounts).into()),
        })
    }

    /// These settings for what a person does here: with that person's credentials, where they are set.
    pub(crate) fn for_person(&self, env: &Settings) -> Settings {
        let settings = self.settings.clone();
        match env.get("DOCKER_CONFIG") {
            Some(folder) => settings.with("DOCKER_CONFIG", folder),
            None => settings,
        }
    }

    /// What the gate is called, exactly, as daemon.json must have it.
    pub(crate) fn name(&self) -> String {
        let by_socket = || self.in_force.as_ref()?.socket.file_stem()?.to_str().map(str::to_owned);
        let plugin = self.plugin.as_ref().map(|plugin| plugin.name.clone());
        plugin.or_else(wanted).or_else(by_socket).unwrap_or_else(|| PLUGIN.to_owned())
    }

    /// Whether the gate answers; nothing where it is not known where it listens.
    pub(crate) async fn alive(&self, view: View) -> Option<Alive> {
        let socket = match (&self.plugin, &self.in_force) {
            (Some(plugin), _) => view.find(&format!("{SOCKETS}/{}/{SOCKET}", plugin.id))?,
            // Inside a plugin that is not known by its id, its path is not ours.
            (None, Some(said)) if self.mounts.is_empty() => said.socket.clone(),
            (None, Some(_) | None) => return None,
        };
        Some(is_alive(&socket).await)
    }

    /// The gate among these plugins, where it was not looked for among plugins.
    pub(crate) fn among(&self, plugins: &[Plugin]) -> Option<Plugin> {
        choose(plugins, wanted().as_deref(), &listed(&self.settings)).ok().flatten().cloned()
    }

    /// Which settings these are, in a line.
    pub(crate) fn told(&self) -> String {
        let name = quoted(&self.name());
        let faults = match (self.faults.first(), self.is_void) {
            (None, _) => match self.file_faults.first() {
                None => String::new(),
                Some(fault) => format!("; a file is wrong and NOT used; what it last held is: {}", clean(fault)),
            },
            (Some(fault), true) => format!("; they are wrong, and there are no earlier good ones: {}", clean(fault)),
            (Some(fault), false) => {
                format!("; the new settings are wrong and NOT used; the last good ones are: {}", clean(fault))
            }
        };
        let whose = match (&self.basis, &self.in_force) {
            (Ok(Basis::Gate), Some(said)) => format!("in force in {name} since {:.0}", said.read),
            (Ok(Basis::Gate), None) => format!("in force in {name}"),
            (Ok(Basis::Variables), _) => {
                let is_enabled = self.plugin.as_ref().is_some_and(|plugin| plugin.enabled);
                let state = if is_enabled { "which has not said what it has in force" } else { "which is disabled" };
                format!("the variables of plugin {name}, {state}")
            }
            (Ok(Basis::Environment), _) => "this environment's variables; no running gate was asked".to_owned(),
            (Err(why), _) => return format!("the gate's settings are not known: {why}"),
        };
        format!("{whose}{faults}")
    }
}

/// The name that the environment gives.
fn wanted() -> Option<String> {
    std::env::var("PLUGIN").ok().filter(|name| !name.trim().is_empty())
}

/// The variables of a plugin that are settings of the gate.
fn given(plugin: &Plugin) -> Settings {
    Settings::read(|name| {
        let mut given = plugin.settings.iter().filter_map(|setting| setting.split_once('='));
        given.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    })
}

/// All managed plugins and the engine's data root: as the engine tells, or, where it does not, as its files have them.
async fn plugins(env: &Settings) -> Result<(Vec<Plugin>, PathBuf), String> {
    let engine = Engine::at(env.docker_host()).map_err(|error| error.to_string())?;
    let deadline = Instant::now() + PATIENCE;
    let told = async { Ok::<_, EngineError>((engine.plugins(deadline).await?, engine.info(deadline).await?.data_root)) };
    let error = match told.await {
        Ok((plugins, root)) => return Ok((plugins, root.into())),
        Err(error) => error,
    };
    let process = Process::behind(engine.socket()).await;
    let root = process.and_then(|process| process.flags.data_root).or_else(|| data_root(&daemon_file(env)));
    let root = root.unwrap_or_else(|| DATA_ROOT.into());
    match on_disk(&root) {
        Ok(plugins) => Ok((plugins, root)),
        Err(why) => Err(format!("{}, and {why}", clean(&error.to_string()))),
    }
}

/// As daemon.json has it.
fn data_root(file: &Path) -> Option<PathBuf> {
    let file = DaemonFile::read(&read_text(file, DAEMON_BYTES).ok()?).ok()?;
    Some(file.get("data-root")?.as_str()?.into())
}

/// The plugins in the engine's own files (moby, `plugin/v2`).
fn on_disk(root: &Path) -> Result<Vec<Plugin>, String> {
    #[derive(Deserialize)]
    struct File {
        plugin: Plugin,
    }
    let folder = root.join("plugins");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", quoted(&folder.display().to_string())))?;
    let mut plugins = Vec::new();
    for entry in entries.take(PLUGINS).flatten() {
        // Beside the plugins lie folders of the engine's own.
        let Ok(text) = read_text(&entry.path().join("config.json"), PLUGIN_BYTES) else { continue };
        let Ok(File { plugin }) = serde_json::from_slice(text.as_bytes()) else { continue };
        plugins.push(plugin);
    }
    Ok(plugins)
}

/// The plugins that daemon.json names.
fn listed(env: &Settings) -> Vec<String> {
    let text = read_text(&daemon_file(env), DAEMON_BYTES).unwrap_or_default();
    match DaemonFile::read(&text).map(|file| file.plugins()) {
        Ok(Listed::Plugins(names)) => names,
        Ok(Listed::Nothing | Listed::NotAList) | Err(_) => Vec::new(),
    }
}

/// Whether a plugin goes by this name: as the engine completes names, or by the beginning of its id.
pub(crate) fn is_called(plugin: &Plugin, name: &str) -> bool {
    let complete = |text: &str| text.parse::<Reference>().ok().map(Reference::or_latest);
    let is_named = plugin.name == name || complete(name).is_some_and(|name| Some(name) == complete(&plugin.name));
    is_named || (!name.is_empty() && plugin.id.starts_with(name))
}

/// The plugin that is the gate: the one that is asked for; else the one that starts this program, whatever its name. Of several,
/// the one that daemon.json names, or the one that is enabled.
fn choose<'a>(plugins: &'a [Plugin], wanted: Option<&str>, listed: &[String]) -> Result<Option<&'a Plugin>, String> {
    if let Some(wanted) = wanted {
        return Ok(plugins.iter().find(|plugin| is_called(plugin, wanted)));
    }
    let is_gate =
        |plugin: &&Plugin| plugin.entrypoint.first().is_some_and(|program| program == ENTRYPOINT) || is_called(plugin, PLUGIN);
    let gates: Vec<&Plugin> = plugins.iter().filter(is_gate).collect();
    let is_listed = |plugin: &&Plugin| listed.iter().any(|name| is_called(plugin, name));
    let only = |some: Vec<&'a Plugin>| if let [one] = some[..] { Some(one) } else { None };
    let chosen = only(gates.clone())
        .or_else(|| only(gates.iter().copied().filter(is_listed).collect()))
        .or_else(|| only(gates.iter().copied().filter(|plugin| plugin.enabled).collect()));
    match chosen {
        None if !gates.is_empty() => {
            let names: Vec<String> = gates.iter().take(8).map(|plugin| quoted(&plugin.name)).collect();
            Err(format!("several plugins are gates: {}; name one of them: PLUGIN=NAME", names.join(", ")))
        }
        chosen => Ok(chosen),
    }
}

/// The settings of a gate as they are seen from here: its state in `state`, its paths by its mounts, the engine where we found it.
fn outside(settings: &Settings, mounts: &[(String, String)], state: &Path, env: &Settings) -> Settings {
    let mut seen = settings.clone().with("STATE_DIR", state.display().to_string());
    if !mounts.is_empty() {
        seen = seen.without("DOCKER_HOST");
    }
    for name in ["CONFIG_DIR", "DOCKER_CONFIG", "ALLOWLIST", "POLICY", "ALERTS"] {
        if let Some(path) = settings.get(name) {
            seen = seen.with(name, host_path(path, mounts));
        }
    }
    seen = seen.with_policy(settings.policy_file().map(|file| file.seen(|path| host_path(path, mounts).into())));
    match env.get("DOCKER_HOST") {
        Some(host) => seen.with("DOCKER_HOST", host),
        None => seen,
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{IN_FORCE, LAST_GOOD};
    use super::*;

    fn plugin(name: &str, enabled: bool, settings: &[&str]) -> Plugin {
        Plugin {
            id: crate::image::Digest::of(name.as_bytes()).hex(),
            name: name.to_owned(),
            enabled,
            entrypoint: vec!["/img-authz".to_owned(), "serve".to_owned()],
            mounts: vec![("/etc/other".to_owned(), "/config".to_owned())],
            settings: settings.iter().map(|text| (*text).to_owned()).collect(),
            ..Plugin::default()
        }
    }

    #[test]
    fn the_gate_is_found_whatever_its_name_and_another_plugin_is_not_taken_for_it() {
        let (gate, other) =
            (plugin("gate:3", true, &[]), Plugin { entrypoint: vec!["/sshfs".into()], ..plugin("sshfs:latest", true, &[]) });
        let both = [other.clone(), gate.clone()];
        assert_eq!(choose(&both, None, &[]), Ok(Some(&gate)));
        assert_eq!(choose(&both, Some("sshfs"), &[]), Ok(Some(&other)));
        assert_eq!(choose(&both, Some(&gate.id), &[]), Ok(Some(&gate)));
        assert_eq!(choose(&both, Some("img-authz"), &[]), Ok(None));
        assert_eq!(choose(&both[..1], None, &[]), Ok(None));
        // Of several, the one that daemon.json names; or the one that is enabled; else nobody guesses.
        let old = plugin("img-authz:latest", false, &[]);
        let two = [gate.clone(), old.clone()];
        assert_eq!(choose(&two, None, &["img-authz".to_owned()]), Ok(Some(&old)));
        assert_eq!(choose(&two, None, &[]), Ok(Some(&gate)));
        assert!(choose(&[gate, Plugin { enabled: true, ..old }], None, &[]).is_err());
    }

    #[test]
    fn a_managed_gates_variables_are_told_as_the_host_sees_them() {
        let root = tempfile::tempdir().unwrap();
        let variables = [
            "REGISTRY=r.example",
            "NOTARY=",
            "STATE_DIR=/state",
            "CONFIG_DIR=/config/img-authz",
            "ALLOWLIST=off",
            "DOCKER_HOST=unix:///host-run/docker.sock",
            "PATH=/bin",
            "DOCKER_CONFIG=/config/docker",
        ];
        // What the environment sets is not the gate's.
        let env = Settings::default()
            .with("MODE", "permissive")
            .with("DOCKER_CONFIG", "/root/.docker")
            .with("DOCKER_HOST", "unix:///x");
        let found = plugin("gate:3", true, &variables);
        let place = Place::of_plugin(&env, found.clone(), root.path());
        let settings = &place.settings;
        assert_eq!(settings.get("REGISTRY"), Some("r.example"));
        assert_eq!((settings.get("NOTARY"), settings.get("MODE"), settings.get("PATH")), (None, None, None));
        let state = root.path().join("plugins").join(&found.id).join("propagated-mount");
        assert_eq!(settings.state_dir(), state);
        assert_eq!(settings.get("CONFIG_DIR"), Some("/etc/other/img-authz"));
        assert_eq!(settings.get("DOCKER_CONFIG"), Some("/etc/other/docker"));
        assert_eq!((settings.get("ALLOWLIST"), settings.docker_host()), (Some("off"), "unix:///x"));
        assert_eq!((place.basis.clone(), place.name()), (Ok(Basis::Variables), "gate:3".to_owned()));
        assert_eq!(place.for_person(&env).get("DOCKER_CONFIG"), Some("/root/.docker"));
        assert_eq!(host_path("/configured/x", &found.mounts), "/configured/x");
    }

    fn said(given: &Settings, settings: Option<Settings>) -> InForce {
        let at = "2026-11-22T00:00:00Z".parse().unwrap();
        InForce {
            version: "1".into(),
            pid: 1,
            socket: "/run/docker/plugins/img-authz.sock".into(),
            started: at,
            read: at,
            told: at,
            given: given.clone(),
            settings,
            faults: vec!["MODE: `x` is neither".into()],
            file_faults: Vec::new(),
            allowlists: Vec::new(),
            notary_out_since: None,
            candidate: None,
        }
    }

    #[test]
    fn what_the_gate_says_counts_as_long_as_it_has_these_variables() {
        let root = tempfile::tempdir().unwrap();
        let found = plugin("gate:3", true, &["REGISTRY=r.example", "MODE=x"]);
        let state = root.path().join("plugins").join(&found.id).join("propagated-mount");
        std::fs::create_dir_all(&state).unwrap();
        let given = Settings::default().with("REGISTRY", "r.example").with("MODE", "x");
        let write = |said: &InForce| std::fs::write(state.join(IN_FORCE), serde_json::to_vec(said).unwrap()).unwrap();
        // The last good ones are in force.
        write(&said(&given, Some(Settings::default().with("REGISTRY", "good.example"))));
        let place = Place::of_plugin(&Settings::default(), found.clone(), root.path());
        assert_eq!((place.basis.clone(), place.settings.get("REGISTRY")), (Ok(Basis::Gate), Some("good.example")));
        assert!(!place.is_void && place.told().contains("the last good ones are"), "{}", place.told());
        // None are.
        write(&said(&given, None));
        let place = Place::of_plugin(&Settings::default(), found.clone(), root.path());
        assert!(place.is_void && place.is_told());
        // It was set to something else since: its next start counts.
        let set = Plugin { settings: vec!["REGISTRY=new.example".into()], ..found };
        let place = Place::of_plugin(&Settings::default(), set, root.path());
        assert_eq!((place.basis.clone(), place.settings.get("REGISTRY")), (Ok(Basis::Variables), Some("new.example")));
    }

    #[test]
    fn settings_that_nobody_gave_are_not_made_up() {
        let folder = tempfile::tempdir().unwrap();
        let state = Settings::default().with("STATE_DIR", folder.path().display().to_string());
        let place = Place::find(state.clone().with("DOCKER_CONFIG", "/root/.docker"));
        assert!(place.basis.is_err() && place.told().contains("not known"), "{}", place.told());
        assert_eq!(Place::find(state.clone().with("REGISTRY", "r.example")).basis, Ok(Basis::Environment));
        std::fs::write(folder.path().join(IN_FORCE), serde_json::to_vec(&said(&state, Some(state.clone()))).unwrap()).unwrap();
        assert_eq!(Place::find(state).basis, Ok(Basis::Gate));
    }

    #[test]
    fn faulty_variables_are_judged_as_a_start_of_the_gate_would() {
        let folder = tempfile::tempdir().unwrap();
        let state = Settings::default()
            .with("STATE_DIR", folder.path().display().to_string())
            .with("CONFIG_DIR", folder.path().display().to_string())
            .with("NOTARY", "off");
        let faulty = state.clone().with("REGISTRY", "https://r.example");
        let place = Place::find(faulty.clone());
        assert!(place.is_void && place.faults[0].starts_with("REGISTRY: "), "{:?}", place.faults);
        let good = state.with("REGISTRY", "r.example");
        std::fs::write(folder.path().join(LAST_GOOD), serde_json::to_vec(&good).unwrap()).unwrap();
        let place = Place::find(faulty);
        assert!(!place.is_void && !place.faults.is_empty());
        assert_eq!(place.settings, good);
    }

    #[test]
    fn the_engines_files_tell_of_its_plugins_when_it_does_not() {
        let root = tempfile::tempdir().unwrap();
        assert!(on_disk(root.path()).is_err());
        let of = |id: &str, text: &str| {
            let folder = root.path().join("plugins").join(id);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("config.json"), text).unwrap();
        };
        // As dockerd 20.10 writes it.
        of(
            &"5".repeat(64),
            r#"{"plugin":{"Config":{"Entrypoint":["/img-authz","serve"],"Env":null},"Enabled":false,
            "Id":"5555555555555555555555555555555555555555555555555555555555555555","Name":"gate:3","Settings":{"Args":[],"Devices":[],
            "Env":["REGISTRY=r.example"],"Mounts":[{"Source":"/etc/docker","Destination":"/config"}]}},"Rootfs":"/x","Config":"sha256:00"}"#,
        );
        of("tmp", "{}");
        of("storage", "no JSON");
        let found = on_disk(root.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].name.as_str(), found[0].enabled, found[0].settings.join("")),
            ("gate:3", false, "REGISTRY=r.example".to_owned())
        );
        let file = root.path().join("daemon.json");
        std::fs::write(&file, r#"{"data-root":"/srv/docker"}"#).unwrap();
        assert_eq!(data_root(&file), Some("/srv/docker".into()));
    }
}
