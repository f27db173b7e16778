//! `trust forget`: what was known of a repository is set aside, or the signatures that are kept of a digest.

use crate::order::Ordered as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::table::second;
use super::{Change, Stop, changed, kept, reference, to_json, trail, unread};
use crate::clock;
use crate::image::Digest;
use crate::policy::Settings;
use crate::setup;
use crate::text::clean;
use crate::trust::notary::Source;
use crate::trust::{Verifier as _, VerifierName, attestation, evidence};

#[derive(Args)]
pub(super) struct Forget {
    /// The repository, of which a tag is ignored; or a digest (`sha256:…`), whose kept signatures are dropped
    pub(super) reference: String,
    /// Which Notary verifier of the policy file (default: the first)
    #[arg(long, value_name = "NAME")]
    pub(super) verifier: Option<VerifierName>,
    /// Folder for verified trust data (default: the gate's)
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What was known of a repository is set aside; a gate that runs notices at its next check. What that was is printed, for the record.
pub(super) async fn forget(arguments: &Forget, settings: &Settings) -> Result<String, Stop> {
    if let Ok(digest) = arguments.reference.parse() {
        return forget_digest(&digest, arguments, settings);
    }
    let repository = reference(&arguments.reference)?.repository;
    let trail = trail(arguments.state.as_deref(), settings)?;
    let notary = setup::notary_of_folder(settings, arguments.verifier.as_ref(), arguments.state.as_deref(), Source::Import)?;
    let known = notary.inspect(&repository, clock::now()).await;
    let was_known = notary.forget(&repository).map_err(|error| Stop::of(&error, notary.name()))?;
    if was_known {
        trail.record("trust-forget", [changed(&repository, "what was known of its trust data is forgotten")]);
    }
    let root = known.as_ref().and_then(|known| known.view.roles.iter().find(|role| role.name == "root"));
    let root = root.map(|root| json!({ "version": root.version, "keys": root.keys }));
    let refused = known.as_ref().and_then(|known| known.refused.as_ref());
    if arguments.json {
        let what = json!({
            "root": root,
            "checked": known.as_ref().map(|known| known.view.checked),
            "tags": known.as_ref().map(|known| known.view.tags.iter().map(|(tag, view)| (tag.clone(), view.digest.to_string())).ordered::<std::collections::BTreeMap<_, _>>()),
            "refused": refused,
        });
        return to_json(&json!({ "repository": repository, "forgotten": was_known, "what": what }));
    }
    if !was_known {
        return Ok(format!("{repository}  nothing was known"));
    }
    let mut text =
        format!("{repository}  forgotten; what the server answers next counts as the first time, unless a pin names its root");
    match &known {
        None => text.push_str("\nwhat was kept could not be read"),
        Some(known) => {
            for role in &known.view.roles {
                text.push_str(&format!("\n{}  version {}  keys {}", role.name, role.version, role.keys.join(" ")));
            }
            for (tag, view) in &known.view.tags {
                text.push_str(&format!("\ntag {}  {}", clean(tag), view.digest));
            }
            text.push_str(&format!("\nlast checked  {}", known.view.checked));
        }
    }
    if let Some(refused) = refused {
        text.push_str(&format!("\nwas refused  {}", clean(refused)));
    }
    Ok(text)
}

/// The signatures that are kept of a digest are dropped, whoever looked for them and wherever; a gate that runs forgets them too.
fn forget_digest(digest: &Digest, arguments: &Forget, settings: &Settings) -> Result<String, Stop> {
    if arguments.verifier.is_some() || arguments.state.is_some() {
        return Err(Stop::Unknown(
            "what is kept of a digest is forgotten for all verifiers of the gate: leave out --verifier and --state".to_owned(),
        ));
    }
    let folder = setup::evidence_folder(settings);
    let trail = trail(None, settings)?;
    // The older reports count again only once nothing is known of the newer: first that, then what tells the gate to begin anew.
    let newest = setup::newest_folder(settings);
    let scans = attestation::forget(&newest, digest).map_err(|error| unread(&newest, &error))?;
    if scans > 0 {
        // There it lies what tells the gate.
        std::fs::create_dir_all(&folder).map_err(|error| unread(&folder, &error))?;
    }
    let dropped = evidence::forget(&folder, digest).map_err(|error| unread(&folder, &error))?;
    if !dropped.is_empty() {
        trail.record(
            "trust-forget",
            dropped.iter().map(|record| Change {
                digest: digest.to_string(),
                ..changed(&record.key.repository, "what was kept of its signature is forgotten")
            }),
        );
    }
    if scans > 0 {
        let message = "which scan of it was the newest is forgotten".to_owned();
        trail.record("trust-forget", std::iter::once(Change { digest: digest.to_string(), message, ..Change::default() }));
    }
    let is_forgotten = !dropped.is_empty() || scans > 0;
    if arguments.json {
        let what: Vec<_> = dropped.iter().map(kept).collect();
        return to_json(&json!({ "digest": digest, "forgotten": is_forgotten, "what": what, "newest_scans": scans }));
    }
    if !is_forgotten {
        return Ok(format!("{digest}  nothing was kept"));
    }
    let mut text = format!("{digest}  forgotten; its registry is asked at the next pull, create or start");
    for record in &dropped {
        text.push_str(&format!("\n{}  verifier {}  since {}", record.key.repository, record.key.verifier, second(record.found)));
    }
    if scans > 0 {
        text.push_str("\nwhich scan was the newest is forgotten too: what the registry has counts as the first that was seen");
    }
    Ok(text)
}
