//! `trust verify`: one reference against the Notary server.

use std::ffi::OsString;

use clap::Args;
use serde::Serialize;

use super::{Common, Stop, asking, reference, to_json};
use crate::policy::Settings;
use crate::setup;
use crate::trust::notary::{RequiredSigners, signer};
use crate::trust::{Question, Verifier as _};

#[derive(Args)]
pub(super) struct Verify {
    /// The image, by tag or digest
    #[arg(allow_hyphen_values = true)]
    pub(super) reference: OsString,
    #[command(flatten)]
    pub(super) common: Common,
    /// A signer that must agree (`release-team`), besides those of `NOTARY_SIGNERS`; may be given several times
    #[arg(long = "require", value_name = "SIGNER")]
    pub(super) require: Vec<String>,
}

#[derive(Serialize)]
struct Verified {
    digest: String,
    role: String,
    signers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

pub(super) async fn verify(arguments: &Verify, settings: &Settings) -> Result<String, Stop> {
    // What is no text is no reference.
    let reference = reference(&arguments.reference.to_string_lossy())?;
    // Those of the settings, and those asked for here.
    let configured = setup::signers(settings, arguments.common.verifier.as_ref())?;
    let mut require = configured.of(&reference.repository).to_vec();
    for name in &arguments.require {
        require.push(signer(name).map_err(|error| Stop::Unknown(error.to_string()))?);
    }
    let notary = arguments.common.notary(settings, RequiredSigners::everywhere(require))?;
    let question = match (reference.digest, reference.tag) {
        (Some(digest), _) => Question::AnyOf(vec![digest]),
        (None, Some(tag)) => Question::Tag(tag),
        (None, None) => Question::Tag(crate::image::Tag::latest()),
    };
    let vouch =
        notary.vouch(&reference.repository, &question, asking()).await.map_err(|error| Stop::of(&error, notary.name()))?;
    let verified = Verified {
        digest: vouch.digest().to_string(),
        role: vouch.role().to_owned(),
        signers: vouch.signers().to_vec(),
        expires: vouch.expires().map(|expires| expires.to_string()),
    };
    if arguments.common.json {
        return to_json(&verified);
    }
    let signers = if verified.signers.is_empty() { "the repository's owner".to_owned() } else { verified.signers.join(", ") };
    Ok(format!(
        "{}\nrole     {}\nsigners  {signers}\nexpires  {}",
        verified.digest,
        verified.role,
        verified.expires.unwrap_or_default()
    ))
}
