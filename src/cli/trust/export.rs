//! `trust export`: verified trust data as a file, for a host that cannot reach the server.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::carry::{self, BUNDLE_MODE};
use super::{Common, Stop, check, reference, to_json};
use crate::files::replace_regular;
use crate::policy::Settings;
use crate::trust::Verifier as _;
use crate::trust::notary::{RequiredSigners, RootHistory};

#[derive(Args)]
pub(super) struct Export {
    /// The repositories; with --signatures the images, by tag or digest
    #[arg(required = true)]
    pub(super) repositories: Vec<String>,
    /// The file to write
    #[arg(long)]
    pub(super) file: PathBuf,
    /// Carry what lies beside these images in their registry: signatures of cosign and notation, and attestations
    #[arg(long, conflicts_with_all = ["server", "root_ca", "verifier", "state", "pins", "offline"])]
    pub(super) signatures: bool,
    #[command(flatten)]
    pub(super) common: Common,
    /// Ask nobody: export what is known here, without the roots before it, which a host that knows an older one needs
    #[arg(long)]
    pub(super) offline: bool,
}

pub(super) async fn export(arguments: &Export, settings: &Settings) -> Result<String, Stop> {
    if arguments.signatures {
        return carry::export(&arguments.repositories, &arguments.file, arguments.common.json, settings).await;
    }
    let notary = arguments.common.notary(settings, RequiredSigners::default())?;
    let mut repositories = Vec::new();
    for text in &arguments.repositories {
        let repository = reference(text)?.repository;
        if !arguments.offline {
            check(&notary, &repository).await?;
        }
        repositories.push(repository);
    }
    let earlier = if arguments.offline { RootHistory::Left } else { RootHistory::Fetched };
    let (bundle, exported) = notary.export(&repositories, earlier).await.map_err(|error| Stop::of(&error, notary.name()))?;
    replace_regular(&arguments.file, &bundle, BUNDLE_MODE)
        .map_err(|error| Stop::Unknown(format!("`{}` cannot be written: {error}", arguments.file.display())))?;
    if arguments.common.json {
        return to_json(&json!({ "file": arguments.file, "repositories": exported }));
    }
    let mut text = format!("written to {}", arguments.file.display());
    for one in exported {
        let until = one.expires.strftime("%Y-%m-%dT%H:%M:%SZ");
        text.push_str(&format!(
            "\n{}  for hosts that know root {} to {}, or none; usable until {until}",
            one.repository, one.oldest_root, one.root
        ));
    }
    Ok(text)
}
