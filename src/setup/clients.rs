//! A client of each kind, made of settings and the files that they name: docker's credentials, registries, Notary.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::last_good::LastGood;
use super::state::TRUST;
use crate::files::{Texts, read_owned, read_text};
use crate::net::auth::DockerConfig;
use crate::net::{Tls, Url, authority, server_files};
use crate::policy::{Given, NotarySettings, PolicyFault, Settings};
use crate::registry::{self, Registry};
use crate::trust::VerifierName;
use crate::trust::notary::{self, Notary, Source};
use crate::trust::tuf::Pins;

/// Largest `config.json`, certificate or bundle read. Stops a wrong path from filling memory.
const CONFIG_BYTES: u64 = 4 << 20;

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn fault(key: impl Into<std::borrow::Cow<'static, str>>, message: impl ToString) -> Vec<PolicyFault> {
    vec![PolicyFault::of(key, message.to_string())]
}

/// Registries, as the gate and the commands ask them; `given`: what lies in the folders of some has been read already.
pub(crate) fn registry(settings: &Settings, credentials: DockerConfig, given: HashMap<String, Texts>) -> Registry {
    let certs = certificate_folders(settings);
    Registry::new(registry::Settings { credentials, certs, given, ..registry::Settings::default() })
}

/// The same for a gate: certificates of these hosts are read now, or are what they last were.
pub(crate) fn registry_of<'a>(
    settings: &Settings,
    hosts: impl Iterator<Item = &'a str>,
    credentials: DockerConfig,
    last: &mut LastGood,
) -> Registry {
    let certs = certificate_folders(settings);
    let given = hosts.filter_map(|host| certificates_of(host, &certs, last)).collect();
    registry(settings, credentials, given)
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
            let told = |why: &dyn std::fmt::Display| format!("`{}` cannot be used: {why}", path.display());
            let now = read_owned(path, CONFIG_BYTES).map(|text| Texts(vec![(path.clone(), text)])).map_err(|error| told(&error));
            let text = |texts: &Texts| texts.0.first().map(|(_, text)| text.clone()).ok_or_else(|| told(&"it was never read"));
            last.make(key, now, std::slice::from_ref(path), text).map_err(|why| fault(key.to_owned(), why))
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
    last.make(&format!("certificates of Notary {server}"), server_files(&server, pem, &folders), &at, make)
        .map_err(|why| fault(keys.root_ca.clone(), why))
}

/// The CA bundles that pins name.
fn pins_of(key: &str, text: &str, folder: &Path, last: &mut LastGood) -> Result<Pins, Vec<PolicyFault>> {
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
            let folder = match given {
                Given::Text(_) => settings.config_dir(),
                Given::File(path) => path.parent().map_or_else(|| settings.config_dir(), Path::to_owned),
            };
            pins_of(&keys.pins, &text, &folder, last)?
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

/// Where what a Notary learned is kept: by the verifier's name, so that what one believes says nothing to another.
pub(crate) fn trust_folder(settings: &Settings, name: &VerifierName) -> PathBuf {
    let state = settings.state_dir();
    if *name == VerifierName::NOTARY { state.join(TRUST) } else { state.join(format!("{TRUST}-{name}")) }
}

/// Where certificates of a Notary's server lie: with those of registries, and in `tls` of docker's own folder.
pub(crate) fn notary_folders(settings: &Settings, docker: &Path) -> Vec<PathBuf> {
    let mut folders = certificate_folders(settings);
    folders.push(docker.join("tls"));
    folders
}

/// Where certificates of registries lie: the gate's own folder and the engine's (`/etc/docker/certs.d`).
fn certificate_folders(settings: &Settings) -> Vec<PathBuf> {
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
