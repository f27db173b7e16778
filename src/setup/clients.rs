//! A client of each kind, made of settings and the files that they name: docker's credentials, registries, Notary.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::last_good::LastGood;
use super::state::{EVIDENCE, NEWEST, TRUST};
use crate::files::{Texts, read_owned, read_text};
use crate::image::Digest;
use crate::net::auth::DockerConfig;
use crate::net::{Tls, Url, authority, server_files, without_user};
use crate::policy::{AllowlistSettings, CosignSettings, Given, NotarySettings, PolicyFault, Resolved, Settings};
use crate::registry::{self, Registry};
use crate::trust::VerifierName;
use crate::trust::allowlist::file::FileFault;
use crate::trust::allowlist::kept::{Keeping, Shelf};
use crate::trust::allowlist::signed::{ListKey, Opened};
use crate::trust::cosign::{Cosign, CosignVerifier, Keys as CosignKeys};
use crate::trust::evidence::Evidence;
use crate::trust::notary::{self, Notary, RequiredSigners, Source};
use crate::trust::sigstore::{Identities, TrustedRoot};
use crate::trust::tuf::{Pins, PinsError};

/// Largest `config.json`, certificate or bundle read. Stops a wrong path from filling memory.
const CONFIG_BYTES: u64 = 4 << 20;
/// How long the server gets for a command. A person waits longer than dockerd does.
pub(crate) const NETWORK_TIME: Duration = Duration::from_secs(12);
/// The Notary server where none is named, as docker has it.
pub(crate) const DEFAULT_SERVER: &str = "https://notary.docker.io";

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn fault(key: impl Into<std::borrow::Cow<'static, str>>, message: impl ToString) -> Vec<PolicyFault> {
    vec![PolicyFault::of(key, message.to_string())]
}

/// Registries, as the gate and the commands ask them; `given`: what lies in the folders of some has been read already.
pub(crate) fn registry(settings: &Settings, credentials: DockerConfig, given: HashMap<String, Texts>) -> Registry {
    Registry::new(registry_settings(settings, credentials, given))
}

fn registry_settings(settings: &Settings, credentials: DockerConfig, given: HashMap<String, Texts>) -> registry::Settings {
    registry::Settings { credentials, certs: certificate_folders(settings), given, ..registry::Settings::default() }
}

/// The same for a gate: certificates of these hosts, which the policy names, are read now, or are what they last were.
pub(crate) fn registry_of<'a>(
    settings: &Settings,
    hosts: impl Iterator<Item = &'a str>,
    credentials: DockerConfig,
    last: &mut LastGood,
) -> Registry {
    let certs = certificate_folders(settings);
    let named: HashSet<String> = hosts.map(str::to_owned).collect();
    let given = named.iter().filter_map(|host| certificates_of(host, &certs, last)).collect();
    Registry::new(registry::Settings { named, ..registry_settings(settings, credentials, given) })
}

/// Docker's credentials of the person who asks: those of the first folder that has some, `DOCKER_CONFIG` before the home's.
pub(crate) fn credentials_of_person(settings: &Settings) -> Result<DockerConfig, String> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker"));
    first_credentials(std::iter::once(settings.docker_config()).chain(home))
}

fn first_credentials(folders: impl Iterator<Item = PathBuf>) -> Result<DockerConfig, String> {
    for folder in folders {
        let path = folder.join("config.json");
        match read_text(&path, CONFIG_BYTES) {
            Ok(text) => return DockerConfig::read(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("`{}` cannot be read: {error}", path.display())),
        }
    }
    Ok(DockerConfig::default())
}

/// Docker's credentials as they are now; none where there is no file.
pub(crate) fn credentials(settings: &Settings) -> Result<DockerConfig, Vec<PolicyFault>> {
    credentials_of(settings, &mut LastGood::default())
}

pub(crate) fn credentials_of(settings: &Settings, last: &mut LastGood) -> Result<DockerConfig, Vec<PolicyFault>> {
    let path = settings.docker_config().join("config.json");
    let told = |why: &dyn std::fmt::Display| format!("`{}` cannot be used: {why}", path.display());
    let now = match read_text(&path, CONFIG_BYTES) {
        Ok(text) => Ok(Texts(vec![(path.clone(), text)])),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Texts::default()),
        Err(error) => Err(told(&error)),
    };
    let read = |texts: &Texts| match texts.0.first() {
        Some((kept, text)) if *kept == path => DockerConfig::read(text).map_err(|error| told(&error)),
        // Those of another folder are not these.
        Some(_) => Err(told(&"it was never read")),
        None => Ok(DockerConfig::default()),
    };
    last.make("credentials", now, std::slice::from_ref(&path), read).map_err(|why| fault("DOCKER_CONFIG", why))
}

/// The certificates for a registry, read now; `None` where there are none, or they are faulty and never were good: then the registry
/// itself looks at the folder when it is asked, and refuses.
fn certificates_of(host: &str, folders: &[PathBuf], last: &mut LastGood) -> Option<(String, Texts)> {
    let at: Vec<PathBuf> = folders.iter().map(|folder| folder.join(host)).collect();
    let usable = |texts: &Texts| Tls::of_files(None, texts).map(|_| texts.clone()).map_err(|error| error.to_string());
    let texts = last.make(&format!("certificates of registry {host}"), registry::host_files(host, folders), &at, usable);
    texts.ok().filter(|texts| !texts.0.is_empty()).map(|texts| (host.to_owned(), texts))
}

/// What the parts of a Notary are called where they are written.
struct Keys {
    server: String,
    root_ca: String,
    pins: String,
}

impl Keys {
    fn of(settings: &Settings, name: &VerifierName) -> Self {
        match settings.policy_file() {
            Some(_) => {
                let key = |part| format!("verifiers.{name}.{part}");
                Self { server: key("server"), root_ca: key("root_ca"), pins: key("pins") }
            }
            None => Self { server: "NOTARY".into(), root_ca: "NOTARY_ROOT_CA".into(), pins: "NOTARY_PINS".into() },
        }
    }
}

/// What was given as a text or as a file; a file that is faulty counts as what it last held.
fn text_of(key: &str, given: &Given, last: &mut LastGood) -> Result<String, Vec<PolicyFault>> {
    match given {
        Given::Text(text) => Ok(text.clone()),
        Given::File(path) => {
            let text = |texts: &Texts| Ok(texts.0.first().map(|(_, text)| text.clone()).unwrap_or_default());
            last.named(key, std::slice::from_ref(path), text).map_err(|why| fault(key.to_owned(), why))
        }
    }
}

/// How a Notary's server is spoken to; nobody is, where trust data is imported.
pub(crate) fn notary_tls(settings: &Settings, name: &VerifierName, written: &NotarySettings) -> Result<Tls, Vec<PolicyFault>> {
    notary_tls_of(settings, &Keys::of(settings, name), written, &mut LastGood::default())
}

fn notary_tls_of(
    settings: &Settings,
    keys: &Keys,
    written: &NotarySettings,
    last: &mut LastGood,
) -> Result<Tls, Vec<PolicyFault>> {
    let Source::Server(server) = &written.source else { return Ok(Tls::default()) };
    let server = Url::parse(server).map_err(|error| fault(keys.server.clone(), error))?;
    let folders = notary_folders(settings, &settings.docker_config());
    let server = authority(&server);
    let pem = written.root_ca.as_ref().map(|given| text_of(&keys.root_ca, given, last)).transpose()?;
    let pem = pem.as_deref();
    // A setting that is no certificate is a fault of the setting, whatever lies in folders.
    Tls::of_files(pem, &Texts::default()).map_err(|error| fault(keys.root_ca.clone(), error))?;
    let at: Vec<PathBuf> = folders.iter().map(|folder| folder.join(&server)).collect();
    let make = |texts: &Texts| Tls::of_files(pem, texts).map_err(|error| error.to_string());
    last.make(&format!("certificates of {} {server}", keys.server), server_files(&server, pem, &folders), &at, make)
        .map_err(|why| fault(keys.root_ca.clone(), why))
}

/// The CA bundles that pins name.
fn pins_of(
    key: &str,
    text: &str,
    folder: &Path,
    read_text: impl Fn(&Path, u64) -> std::io::Result<String>,
    last: &mut LastGood,
) -> Result<Pins, Vec<PolicyFault>> {
    let mut now = Texts::default();
    let mut at = Vec::new();
    // Which files it names, the text says while it is read.
    let read = Pins::read(text, |path| {
        let path = folder.join(path);
        at.push(path.clone());
        let text = read_text(&path, CONFIG_BYTES).map_err(|error| error.to_string())?;
        now.0.push((path, text.clone()));
        Ok(text)
    });
    let now = read.map(|_| now).map_err(|error| error.to_string());
    let make = |texts: &Texts| {
        let load = |path: &str| {
            let path = folder.join(path);
            let found = texts.0.iter().find(|(other, _)| *other == path);
            found.map(|(_, text)| text.clone()).ok_or_else(|| "it was never read".to_owned())
        };
        Pins::read(text, load).map_err(|error| error.to_string())
    };
    last.make(&format!("CA bundles of {key}"), now, &at, make).map_err(|why| fault(key.to_owned(), why))
}

/// A Notary as the files are now.
pub(crate) fn notary(
    settings: &Settings,
    name: &VerifierName,
    written: &NotarySettings,
    credentials: DockerConfig,
) -> Result<Notary, Vec<PolicyFault>> {
    notary_of(settings, name, written, credentials, &mut LastGood::default())
}

pub(crate) fn notary_of(
    settings: &Settings,
    name: &VerifierName,
    written: &NotarySettings,
    credentials: DockerConfig,
    last: &mut LastGood,
) -> Result<Notary, Vec<PolicyFault>> {
    let keys = Keys::of(settings, name);
    let tls = notary_tls_of(settings, &keys, written, last)?;
    let pins = match &written.pins {
        Some(given) => {
            let text = text_of(&keys.pins, given, last)?;
            // What pins name lies beside them.
            match given {
                Given::Text(_) => pins_of(&keys.pins, &text, &settings.config_dir(), read_text, last)?,
                // What the policy names is root's, and so is what that names.
                Given::File(path) => pins_of(&keys.pins, &text, path.parent().unwrap_or(Path::new("")), read_owned, last)?,
            }
        }
        None => Pins::default(),
    };
    let config = notary::Config {
        name: name.clone(),
        tls,
        pins,
        credentials,
        freshness: written.freshness,
        on_outage: written.on_outage,
        stale_limit: written.stale_limit,
        require: written.signers.clone(),
        ..notary::Config::new(written.source.clone(), trust_folder(settings, name))
    };
    Notary::new(config).map_err(|error| fault(keys.server, error))
}

/// Where signatures that verified are kept.
pub(crate) fn evidence_folder(settings: &Settings) -> PathBuf {
    settings.state_dir().join(EVIDENCE)
}

/// Where it is kept which report of a scan was the newest.
pub(crate) fn newest_folder(settings: &Settings) -> PathBuf {
    settings.state_dir().join(NEWEST)
}

/// A verifier of cosign's signatures, with what lies in its files now: keys, and a trusted root; signatures are looked for in `registry`, and what
/// verified is kept as `evidence`.
pub(crate) fn cosign_of(
    name: &VerifierName,
    written: &CosignSettings,
    registry: Arc<dyn registry::Api>,
    evidence: Arc<Evidence>,
    last: &mut LastGood,
) -> Result<CosignVerifier, Vec<PolicyFault>> {
    let of = |key: &str| format!("verifiers.{name}.{key}");
    let called = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let read = |texts: &Texts| {
        let files: Vec<(String, &str)> = texts.0.iter().map(|(path, text)| (called(path), text.as_str())).collect();
        // All were taken away: nobody can sign.
        if !files.is_empty() && files.iter().all(|(_, text)| text.is_empty()) {
            return Ok(CosignKeys::none());
        }
        let files = files.iter().filter(|(_, text)| !text.is_empty());
        CosignKeys::read(files.map(|(name, text)| (name.as_str(), *text)))
    };
    let (keys, root) = (of("keys"), of("trusted_root"));
    let keys = match written.keys.as_slice() {
        [] => Ok(CosignKeys::none()),
        files => last.named_keys(&keys, files, read).map_err(|why| fault(keys, why)),
    };
    let root = written.trusted_root.as_ref().map(|path| {
        let read = |texts: &Texts| root_in(texts, !written.identities.is_empty());
        last.named(&root, std::slice::from_ref(path), read).map_err(|why| fault(root, why))
    });
    let identities = Identities::of(written.identities.clone()).map_err(|why| fault(of("identities"), why));
    let (keys, root, identities) = match (keys, root.transpose(), identities) {
        (Ok(keys), Ok(root), Ok(identities)) => (keys, root, identities),
        (keys, root, identities) => {
            return Err([keys.err(), root.err(), identities.err()].into_iter().flatten().flatten().collect());
        }
    };
    Ok(CosignVerifier::by(name.clone(), Cosign { keys, identities, root }, registry).keeping(evidence, written.recheck))
}

/// The trusted root in its file.
fn root_in(texts: &Texts, has_identities: bool) -> Result<TrustedRoot, String> {
    let (path, text) = texts.0.first().ok_or("there is no file")?;
    let root = TrustedRoot::read(text).map_err(|faults| format!("`{}`: {}", path.display(), faults.join("; ")))?;
    match root.lacks().filter(|_| has_identities) {
        Some(lacks) => Err(format!("`{}` has {lacks}, which `identities` need", path.display())),
        None => Ok(root),
    }
}

/// Who must have signed an allowlist; `None`: nobody must.
pub(crate) fn allowlist_key(
    name: &VerifierName,
    written: &AllowlistSettings,
    last: &mut LastGood,
) -> Result<Option<ListKey>, Vec<PolicyFault>> {
    let of_list = |key: ListKey| Some(key.of_list(name.clone()));
    match &written.key {
        None => Ok(None),
        Some(Given::Text(text)) => ListKey::read(text).map(of_list).map_err(|why| fault("ALLOWLIST_KEY", why)),
        Some(Given::File(path)) => {
            let key = format!("verifiers.{name}.key");
            let read = last.named_keys(&key, std::slice::from_ref(path), |texts| match texts.0.first() {
                Some((_, text)) if !text.is_empty() => ListKey::read(text).map_err(|why| format!("`{}` {why}", path.display())),
                Some(_) | None => Ok(ListKey::ended()),
            });
            read.map(of_list).map_err(|why| fault(key, why))
        }
    }
}

/// Who must have signed the allowlist that `register` fills, as a command finds it written; `None`: nobody must.
pub(crate) fn list_key(settings: &Settings) -> Result<Option<ListKey>, String> {
    let (shown, text) = match settings.allowlist_key() {
        None => return Ok(None),
        Some(Given::Text(text)) => ("ALLOWLIST_KEY".to_owned(), text),
        Some(Given::File(path)) => (format!("`{}`", path.display()), read_of_person(&path)?),
    };
    ListKey::read(&text).map(|key| Some(key.of_list(settings.allowlist_name()))).map_err(|why| format!("{shown} {why}"))
}

/// The newest list by this key: in the file, or as the gate of this state folder keeps it; and what is wrong with the file.
pub(crate) fn newest_signed(path: &Path, key: &ListKey, state: &Path) -> (Option<Opened>, Option<FileFault>) {
    let kept = Shelf::new(Some(state.to_owned()), Keeping::Looks).newest(key).unwrap_or_default();
    let file = key.read_file(path);
    match (file, kept) {
        (Ok(file), Some(kept)) if file.serial < kept.serial => {
            let fault = FileFault::Older { found: file.serial, seen: kept.serial };
            (Some(kept), Some(fault))
        }
        (Ok(file), _) => (Some(file), None),
        (Err(fault), kept) => (kept, Some(fault)),
    }
}

/// Where what a Notary learned is kept: by the verifier's name, so that what one believes says nothing to another.
pub(crate) fn trust_folder(settings: &Settings, name: &VerifierName) -> PathBuf {
    let state = settings.state_dir();
    if *name == VerifierName::NOTARY { state.join(TRUST) } else { state.join(format!("{TRUST}-{name}")) }
}

/// What a person says of the Notary verifier that a command asks; what is not said is the gate's.
pub(crate) struct NotaryOf<'a> {
    /// Which of several in a policy file.
    pub(crate) verifier: Option<&'a VerifierName>,
    pub(crate) server: Option<&'a str>,
    pub(crate) root_ca: Option<&'a Path>,
    pub(crate) state: Option<&'a Path>,
    pub(crate) pins: Option<&'a Path>,
}

/// Why there is nobody for a command to ask.
pub(crate) enum NotaryFault {
    /// What is written lets nothing pass.
    Refused(String),
    /// It could not be found out.
    Unknown(String),
}

/// The gate's own Notary, as a command goes by it.
struct Gates {
    name: VerifierName,
    /// A server, `import`, or `off`.
    server: String,
    root_ca: Option<String>,
    /// The pins, and the folder in which the bundles lie that they name.
    pins: Option<(String, PathBuf)>,
    stale_limit: Option<Duration>,
    signers: RequiredSigners,
}

/// Which signers the gate's Notary requires.
pub(crate) fn signers(settings: &Settings, verifier: Option<&VerifierName>) -> Result<RequiredSigners, NotaryFault> {
    Gates::of(settings, verifier).map(|gates| gates.signers)
}

impl Gates {
    /// Of several in a policy file, the one of this name, or the first.
    fn of(settings: &Settings, name: Option<&VerifierName>) -> Result<Self, NotaryFault> {
        let unknown = |message: String| NotaryFault::Unknown(message);
        if settings.policy_file().is_none() {
            let pins = settings.get("NOTARY_PINS").map(|text| (text.to_owned(), settings.config_dir()));
            // A pull, which is what is asked for here, waits for a server as it is.
            let imported = settings.is_import().then(|| settings.stale_limit(Some(&Source::Import)));
            let stale_limit = imported.transpose().map_err(|fault| unknown(fault.to_string()))?;
            return Ok(Self {
                name: VerifierName::NOTARY,
                server: settings.get("NOTARY").unwrap_or(DEFAULT_SERVER).trim().to_owned(),
                root_ca: settings.get("NOTARY_ROOT_CA").map(str::to_owned),
                pins,
                stale_limit,
                signers: settings.signers().map_err(|faults| unknown(super::list(&faults)))?,
            });
        }
        let resolved = settings.resolve(false).map_err(|faults| unknown(super::list(&faults)))?;
        let mut notaries = resolved.notaries().filter(|(found, _)| name.is_none_or(|name| *found == name));
        let Some((found, written)) = notaries.next() else {
            let which = name.map(|name| format!(" `{name}`")).unwrap_or_default();
            return Err(unknown(format!("the policy has no verifier{which} of type notary; name a server with --server")));
        };
        let text = |given: &Given| match given {
            Given::Text(text) => Ok((text.clone(), settings.config_dir())),
            Given::File(path) => {
                let folder = path.parent().unwrap_or(Path::new("")).to_owned();
                read_of_person(path).map(|text| (text, folder)).map_err(NotaryFault::Unknown)
            }
        };
        let (server, stale_limit) = match &written.source {
            Source::Server(server) => (server.clone(), None),
            Source::Import => ("import".to_owned(), Some(written.stale_limit)),
        };
        Ok(Self {
            name: found.clone(),
            server,
            root_ca: written.root_ca.as_ref().map(text).transpose()?.map(|(text, _)| text),
            pins: written.pins.as_ref().map(text).transpose()?,
            stale_limit,
            signers: written.signers.clone(),
        })
    }
}

/// The verifier as a person asks it, and the folder of its state.
pub(crate) fn notary_of_person(
    settings: &Settings,
    named: &NotaryOf<'_>,
    require: RequiredSigners,
) -> Result<(Notary, PathBuf), NotaryFault> {
    let docker = docker_config_dir(settings);
    let gates = match (Gates::of(settings, named.verifier), named.server) {
        (Ok(gates), _) => gates,
        // Whoever names the server needs nothing of the gate's.
        (Err(_), Some(server)) => {
            let signers = RequiredSigners::default();
            Gates { name: VerifierName::NOTARY, server: server.to_owned(), root_ca: None, pins: None, stale_limit: None, signers }
        }
        (Err(fault), None) => return Err(fault),
    };
    let written = named.server.map_or(gates.server.as_str(), str::trim);
    let (source, tls) = match (written, named.server) {
        ("import", None) => (Source::Import, Tls::default()),
        ("off", None) => return Err(NotaryFault::Unknown("NOTARY is `off`; name a server with --server".to_owned())),
        (written, _) => {
            let server = if written.contains("://") { written.to_owned() } else { format!("https://{written}") };
            if !server.starts_with("https://") {
                let message = format!("the Notary server `{}` must be an https URL", without_user(&server));
                return Err(NotaryFault::Refused(message));
            }
            let pem = match named.root_ca {
                Some(path) => Some(read_of_person(path).map_err(NotaryFault::Unknown)?),
                None => gates.root_ca,
            };
            let host = Url::parse(&server).map(|url| authority(&url)).unwrap_or_default();
            let folders = notary_folders(settings, &docker);
            let tls =
                Tls::for_server(&host, pem.as_deref(), &folders).map_err(|error| NotaryFault::Unknown(error.to_string()))?;
            (Source::Server(server), tls)
        }
    };
    // Those of the settings lie where the gate looks for them, whatever stands in the working folder.
    let gates_pins = match &gates.pins {
        Some((text, folder)) => read_pins(text, |path| read_of_person(&folder.join(path))).map(Some),
        None => Ok(None),
    };
    let (pins, others) = match named.pins {
        Some(path) => {
            let (pins, name) = pins_of_person(
                &read_of_person(path).map_err(NotaryFault::Unknown)?,
                path.parent().unwrap_or_else(|| Path::new("")),
            )?;
            let is_gates = gates_pins.is_ok_and(|gates| gates.is_some_and(|(_, gates)| gates == name));
            (pins, (!is_gates).then_some(name))
        }
        None => (gates_pins?.map_or_else(Pins::default, |(pins, _)| pins), None),
    };
    let own = trust_folder(settings, &gates.name);
    let state = named.state.map_or_else(|| state_of(&source, &gates.server, others, settings, own), Path::to_owned);
    let mut config = notary::Config::new(source, &state);
    config.name = gates.name;
    config.tls = tls;
    config.pins = pins;
    config.credentials = credentials_or_none(&docker);
    config.freshness = Duration::ZERO;
    config.network_time = NETWORK_TIME;
    config.require = require;
    config.stale_limit = gates.stale_limit.unwrap_or(config.stale_limit);
    let notary = Notary::new(config).map_err(|error| NotaryFault::Unknown(error.to_string()))?;
    Ok((notary, state))
}

/// The verifier over what is kept in a folder, the gate's where none is named. Nobody is asked.
pub(crate) fn notary_of_folder(
    settings: &Settings,
    verifier: Option<&VerifierName>,
    state: Option<&Path>,
    source: impl Into<Source>,
) -> Result<Notary, NotaryFault> {
    let own = || Gates::of(settings, verifier).map_or(VerifierName::NOTARY, |gates| gates.name);
    let folder = state.map_or_else(|| trust_folder(settings, &own()), Path::to_owned);
    Notary::new(notary::Config::new(source, folder)).map_err(|error| NotaryFault::Unknown(error.to_string()))
}

/// The verifiers over what is kept for each Notary of these settings. Nobody is asked.
pub(crate) fn notaries_kept(settings: &Settings) -> Vec<(VerifierName, Result<Notary, NotaryFault>)> {
    let source = if settings.is_import() { Source::Import } else { DEFAULT_SERVER.into() };
    let resolved = settings.resolve(false).ok();
    let names = resolved.iter().flat_map(Resolved::notaries).map(|(name, _)| name.clone());
    names.map(|name| (name.clone(), notary_of_folder(settings, Some(&name), None, source.clone()))).collect()
}

/// Where trust data of a source is kept. What another server says than the gate's own, or other pins let pass, is nothing that the gate
/// goes on: its root, or its versions, would count there from then on.
fn state_of(source: &Source, gates: &str, pins: Option<Digest>, settings: &Settings, own: PathBuf) -> PathBuf {
    let whole = |written: &str| {
        let written = if written.contains("://") { written.to_owned() } else { format!("https://{written}") };
        Url::parse(&written).map_or(written, |url| url.as_str().trim_end_matches('/').to_owned())
    };
    let server = match source {
        Source::Server(server) if whole(server) != whole(gates) => Some(whole(server)),
        Source::Server(_) | Source::Import => None,
    };
    let name = match (server, pins) {
        (None, None) => return own,
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

/// Docker's credentials in a folder; none where they cannot be used, which the log says.
fn credentials_or_none(folder: &Path) -> DockerConfig {
    let path = folder.join("config.json");
    if !path.is_file() {
        return DockerConfig::default();
    }
    let read = read_of_person(&path).and_then(|text| DockerConfig::read(&text).map_err(|error| error.to_string()));
    read.unwrap_or_else(|why| {
        tracing::warn!(why, "docker's config.json is left out: going on without credentials");
        DockerConfig::default()
    })
}

/// Reads a pins block. Paths of CA bundles are relative to the working folder, as notary has it, else to the file's.
fn pins_of_person(text: &str, folder: &Path) -> Result<(Pins, Digest), NotaryFault> {
    read_pins(text, |path| {
        let path = if Path::new(path).exists() { PathBuf::from(path) } else { folder.join(path) };
        read_of_person(&path)
    })
}

/// Pins, and what tells them from others: the block, however it is laid out, and the bundles that it names.
fn read_pins(text: &str, mut load: impl FnMut(&str) -> Result<String, String>) -> Result<(Pins, Digest), NotaryFault> {
    let block = serde_json::from_slice::<serde_json::Value>(text.as_bytes());
    let mut all = block.map_or_else(|_| text.to_owned(), |block| block.to_string());
    let pins = Pins::read(text, |path| {
        let bundle = load(path)?;
        all.push_str(&Digest::of(bundle.as_bytes()).hex());
        Ok(bundle)
    });
    // Pins that cannot be read let nothing pass: that is a refusal, and no reason to go on without them.
    let pins = pins.map_err(|error: PinsError| NotaryFault::Refused(error.to_string()))?;
    Ok((pins, Digest::of(all.as_bytes())))
}

fn read_of_person(path: &Path) -> Result<String, String> {
    read_text(path, CONFIG_BYTES).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))
}

/// Where certificates of a Notary's server lie: with those of registries, and in `tls` of docker's own folder.
fn notary_folders(settings: &Settings, docker: &Path) -> Vec<PathBuf> {
    let mut folders = certificate_folders(settings);
    folders.push(docker.join("tls"));
    folders
}

/// Where certificates of registries lie: the gate's own folder and the engine's (`/etc/docker/certs.d`).
pub(super) fn certificate_folders(settings: &Settings) -> Vec<PathBuf> {
    let own = settings.config_dir();
    own.parent().into_iter().chain([own.as_path()]).map(|folder| folder.join("certs.d")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_credentials_are_those_of_the_first_folder_that_has_some() {
        let folder = tempfile::tempdir().unwrap();
        let (gate, home) = (folder.path().join("img-authz"), folder.path().join("home"));
        std::fs::create_dir(&home).unwrap();
        let found = || first_credentials([gate.clone(), home.clone()].into_iter());
        assert!(found().unwrap().for_host("r.example").is_none());
        std::fs::write(home.join("config.json"), r#"{"auths":{"r.example":{"auth":"YTpi"}}}"#).unwrap();
        assert!(found().unwrap().for_host("r.example").is_some());
        std::fs::write(home.join("config.json"), "{").unwrap();
        assert!(found().is_err());
    }
}
