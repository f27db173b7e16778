//! `trust inspect` of a repository: the tags, signers, keys and expiries that a Notary has of it.

use std::path::PathBuf;

use clap::Args;

use super::image;
use super::table::{second, table};
use super::{Common, Stop, check, reference, to_json};
use crate::clock;
use crate::image::Repository;
use crate::policy::Settings;
use crate::setup::{self, Kept};
use crate::text::clean;
use crate::trust::TrustCode;
use crate::trust::notary::Inspection;
use crate::trust::tuf::TagView;

#[derive(Args)]
pub(super) struct Inspect {
    /// The image, by tag or digest; a repository alone: what a Notary has of it
    pub(super) reference: String,
    /// Judge each signature by the verifiers of this policy file (default: the gate's)
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(super) common: Common,
    /// Ask nobody: show what is known here of the repository
    #[arg(long)]
    pub(super) offline: bool,
}

pub(super) async fn inspect(arguments: &Inspect, settings: &Settings, kept: Kept) -> Result<String, Stop> {
    let reference = reference(&arguments.reference)?;
    if image::is_meant(&reference, &arguments.common, settings) && !arguments.offline {
        return image::inspect(&reference, &arguments.common, arguments.policy.as_deref(), settings, kept).await;
    }
    let repository = reference.repository;
    let signers = setup::signers(settings, arguments.common.verifier.as_ref())?;
    let notary = arguments.common.notary(settings, signers)?;
    if !arguments.offline {
        check(&notary, &repository).await?;
    }
    let Some(found) = notary.inspect(&repository, clock::now()).await else {
        let message = format!("nothing is known of `{repository}` here");
        return Err(Stop::Refused { code: TrustCode::NoTrustData.as_str(), message });
    };
    if arguments.common.json {
        return to_json(&found);
    }
    Ok(inspection(&repository, &found))
}

/// The same for people, in docker's order: tags, signers, keys.
fn inspection(repository: &Repository, found: &Inspection) -> String {
    let view = &found.view;
    let mut text = format!("{repository}\nserver   {}\npinned   {}\nchecked  {}\n", found.server, found.pin, view.checked);
    if let Some(why) = &found.refused {
        text.push_str(&format!("refused  {}: nothing below is used until the server gives a good answer\n", clean(why)));
    }
    let owner = |signers: &[String]| if signers.is_empty() { "(owner)".to_owned() } else { signers.join(", ") };
    let row = |tag: &String, view: &TagView| vec![clean(tag), view.digest.to_string(), view.role.clone(), owner(&view.signers)];
    let tags = view.tags.iter().map(|(tag, view)| row(tag, view));
    let refused = view.refused_tags.iter().map(|(tag, why)| vec![clean(tag), format!("refused: {}", clean(why))]);
    text.push_str(&table(&["TAG", "DIGEST", "ROLE", "SIGNERS"], tags.chain(refused)));
    // Docker shows who may sign, and hides the role that all of them fill.
    let signers = view.roles.iter().filter_map(|role| {
        let name = role.name.strip_prefix("targets/").filter(|name| *name != "releases")?;
        let keys: Vec<String> = role.docker_keys.iter().map(|key| key.chars().take(12).collect()).collect();
        Some(vec![name.to_owned(), keys.join(", ")])
    });
    text.push_str(&table(&["SIGNER", "KEYS"], signers));
    let roles = view.roles.iter().map(|role| {
        let state = match &role.left_out {
            Some(why) => format!("left out: {}", clean(why)),
            None if role.is_expiring && role.expires <= clock::now() => "expired".to_owned(),
            None if role.is_expiring => "expires soon".to_owned(),
            None => String::new(),
        };
        let keys: Vec<String> = role.keys.iter().map(|key| key.chars().take(12).collect()).collect();
        let threshold = format!("{} of {}", role.threshold, role.keys.len());
        vec![role.name.clone(), role.version.to_string(), second(role.expires), threshold, keys.join(" "), state]
    });
    text.push_str(&table(&["ROLE", "VERSION", "EXPIRES", "NEEDS", "KEYS", ""], roles));
    text.push_str(
        "\nroot keys: what NOTARY_PINS and `docker trust inspect` call the key, then what `notary key list` calls it\n",
    );
    for role in view.roles.iter().filter(|role| role.name == "root") {
        for (key, bare) in role.keys.iter().zip(&role.docker_keys) {
            text.push_str(&format!("  {key}  {bare}\n"));
        }
    }
    text.trim_end().to_owned()
}
