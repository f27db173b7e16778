//! A client of each kind, made of settings and the files that they name: docker's credentials, registries, Notary.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::last_good::LastGood;
use super::state::TRUST;
use crate::files::{Texts, read_text};
use crate::net::auth::DockerConfig;
use crate::net::{Tls, Url, authority, server_files};
use crate::policy::{NotarySettings, PolicyFault, Settings};
use crate::registry::{self, Registry};
use crate::trust::notary::{self, Notary, Source};
use crate::trust::tuf::Pins;

/// Largest `config.json`, certificate or bundle read. Stops a wrong path from filling memory.
const CONFIG_BYTES: u64 = 4 << 20;

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn fault(key: &'static str, message: impl ToString) -> Vec<PolicyFault> {
    vec![PolicyFault { key, message: message.to_string() }]
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

/// How the Notary's server is spoken to; nobody is, where trust data is imported.
pub(crate) fn notary_tls(settings: &Settings, written: &NotarySettings) -> Result<Tls, Vec<PolicyFault>> {
    notary_tls_of(settings, written, &mut LastGood::default())
}

fn notary_tls_of(settings: &Settings, written: &NotarySettings, last: &mut LastGood) -> Result<Tls, Vec<PolicyFault>> {
    let Source::Server(server) = &written.source else { return Ok(Tls::default()) };
    let server = Url::parse(server).map_err(|error| fault("NOTARY", error))?;
    let folders = notary_folders(settings, &settings.docker_config());
    let (server, pem) = (authority(&server), written.root_ca.as_deref());
    // A setting that is no certificate is a fault of the setting, whatever lies in folders.
    Tls::of_files(pem, &Texts::default()).map_err(|error| fault("NOTARY_ROOT_CA", error))?;
    let at: Vec<PathBuf> = folders.iter().map(|folder| folder.join(&server)).collect();
    let make = |texts: &Texts| Tls::of_files(pem, texts).map_err(|error| error.to_string());
    last.make(&format!("certificates of Notary {server}"), server_files(&server, pem, &folders), &at, make)
        .map_err(|why| fault("NOTARY_ROOT_CA", why))
}

/// The CA bundles that pins name.
fn pins_of(text: &str, folder: &Path, last: &mut LastGood) -> Result<Pins, Vec<PolicyFault>> {
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
    last.make("CA bundles of NOTARY_PINS", now, &at, make).map_err(|why| fault("NOTARY_PINS", why))
}

/// The Notary as the files are now.
pub(crate) fn notary(
    settings: &Settings,
    written: &NotarySettings,
    credentials: DockerConfig,
) -> Result<Notary, Vec<PolicyFault>> {
    notary_of(settings, written, credentials, &mut LastGood::default())
}

pub(crate) fn notary_of(
    settings: &Settings,
    written: &NotarySettings,
    credentials: DockerConfig,
    last: &mut LastGood,
) -> Result<Notary, Vec<PolicyFault>> {
    let tls = notary_tls_of(settings, written, last)?;
    let pins = match &written.pins {
        Some(text) => pins_of(text, &settings.config_dir(), last)?,
        None => Pins::default(),
    };
    let state = settings.state_dir().join(TRUST);
    let config = notary::Config {
        tls,
        pins,
        credentials,
        freshness: written.freshness,
        on_outage: written.on_outage,
        stale_limit: written.stale_limit,
        require: written.signers.clone(),
        ..notary::Config::new(written.source.clone(), state)
    };
    Notary::new(config).map_err(|error| fault("NOTARY", error))
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
