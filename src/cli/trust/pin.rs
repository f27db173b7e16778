//! `trust pin`: the root of trust that would be pinned, and a file of pins.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Common, Stop, check, reference, to_json, unread};
use super::{image, learn};
use crate::files::read_text;
use crate::image::Repository;
use crate::policy::Settings;
use crate::trust::notary::RequiredSigners;
use crate::trust::tuf::OfferedRoot;
use crate::trust::{TrustCode, VerifierName};

/// Largest pins file.
const FILE_BYTES: u64 = 4 << 20;

#[derive(Args)]
pub(super) struct Pin {
    /// The image, by tag or digest; a repository alone: the root of trust that a Notary has of it
    pub(super) reference: String,
    /// A file with the public key that the publisher of the image gave you
    #[arg(long, value_name = "FILE", conflicts_with = "write")]
    pub(super) key: Vec<PathBuf>,
    /// Of several signers of the image, the one that is its publisher's, as it is listed without this
    #[arg(long, value_name = "ID", conflicts_with_all = ["write", "key"])]
    pub(super) signer: Option<String>,
    /// What the verifier is to be called
    #[arg(long, value_name = "NAME", default_value = "release")]
    pub(super) name: VerifierName,
    #[command(flatten)]
    pub(super) common: Common,
    /// Add the pin to this file
    #[arg(long, value_name = "FILE")]
    pub(super) write: Option<PathBuf>,
}

pub(super) async fn pin(arguments: &Pin, settings: &Settings) -> Result<String, Stop> {
    let reference = reference(&arguments.reference)?;
    let is_of_notary = arguments.common.server.is_some() || arguments.write.is_some();
    if !is_of_notary && image::is_meant(&reference, &arguments.common, settings) {
        let Pin { name, key: keys, signer, .. } = arguments;
        let choice = learn::Choice { name, keys, signer: signer.as_deref() };
        return learn::learn(&reference, &choice, arguments.common.json, settings).await;
    }
    let repository = reference.repository;
    let notary = arguments.common.notary(settings, RequiredSigners::default())?;
    if let Err(stop) = check(&notary, &repository).await {
        return Err(match stop {
            Stop::Refused { code, message } if code == TrustCode::RootNotTrusted.as_str() => {
                let offered = notary.offered(&repository).await;
                Stop::Refused { code, message: format!("{message}{}", offered.as_ref().map_or_else(String::new, not_trusted)) }
            }
            stop => stop,
        });
    }
    let (version, keys) =
        notary.root(&repository).await.ok_or_else(|| Stop::Unknown("the root of trust was not kept".to_owned()))?;
    let mut is_continued = false;
    if let Some(path) = &arguments.write {
        // A new file begins with the pins that are in force: whoever sets NOTARY_PINS to it drops none of them.
        let set = match &arguments.common.pins {
            Some(pins) => Some(read_text(pins, FILE_BYTES).map_err(|error| unread(pins, &error))?),
            None => settings.get("NOTARY_PINS").map(str::to_owned),
        };
        is_continued = set.is_some() && !path.exists();
        add_pin(path, set.as_deref(), &repository, &keys).map_err(|why| Stop::Unknown(format!("`{}`: {why}", path.display())))?;
    }
    if arguments.common.json {
        return to_json(&json!({ "repository": repository, "version": version, "certs": { repository.as_str(): keys } }));
    }
    let mut text = format!("{repository}\nroot version {version}, keys:\n");
    for key in &keys {
        text.push_str(&format!("  {key}\n"));
    }
    match &arguments.write {
        Some(path) => {
            text.push_str(&format!(
                "written to {0}; not in force until NOTARY_PINS has it: docker plugin disable, docker plugin set NOTARY_PINS=\"$(cat {0})\", \
                 docker plugin enable, then reload dockerd",
                path.display()
            ));
            if is_continued {
                text.push_str("\nthe file has the pins that were set before as well, so that none of them is dropped");
            }
        }
        None => text.push_str("compare them with what the owner says, then pin them with --write FILE"),
    }
    Ok(text)
}

/// The ids of a root that was refused, for comparing: without them nobody could pin it.
fn not_trusted(root: &OfferedRoot) -> String {
    let mut text = format!(
        "\n\nNOT TRUSTED: the root that the server offers, version {}: what NOTARY_PINS and `docker trust inspect` call the key, then \
         what `notary key list` calls it\n",
        root.version
    );
    for (key, bare) in &root.keys {
        text.push_str(&format!("  {key}  {bare}\n"));
    }
    text + "pin it only if the publisher reads you the same id, by phone or in person"
}

/// The member of this name in any case, as pins are read.
fn name_in(object: &serde_json::Map<String, serde_json::Value>, name: &str) -> Option<String> {
    object.keys().find(|have| have.to_lowercase() == name.to_lowercase()).cloned()
}

/// Adds the keys to the `certs` of a pins file; if it is not there it is made, of the pins that are set. Replaced atomically.
fn add_pin(path: &Path, set: Option<&str>, repository: &Repository, keys: &[String]) -> Result<(), String> {
    let read = |text: &str| serde_json::from_slice::<serde_json::Value>(text.as_bytes()).map_err(|error| error.to_string());
    let mut block = match std::fs::read_to_string(path) {
        Ok(text) => read(&text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => set.map_or_else(|| Ok(json!({})), read)?,
        Err(error) => return Err(error.to_string()),
    };
    let top = block.as_object_mut().ok_or("it is not a JSON object")?;
    let top = match name_in(top, "trust_pinning") {
        Some(name) => top.get_mut(&name).and_then(|inner| inner.as_object_mut()).ok_or("`trust_pinning` is not a JSON object")?,
        None => top,
    };
    let name = name_in(top, "certs").unwrap_or_else(|| "certs".to_owned());
    let certs = top.entry(name).or_insert_with(|| json!({}));
    let certs = certs.as_object_mut().ok_or("`certs` is not a JSON object")?;
    // The same repository in another case is the same pin: both would be one too many.
    while let Some(name) = name_in(certs, repository.as_str()) {
        certs.remove(&name);
    }
    certs.insert(repository.as_str().to_owned(), json!(keys));
    crate::files::replace(path, format!("{block:#}\n").as_bytes(), 0o600, crate::files::Outlives::Power)
        .map_err(|error| error.to_string())
}
