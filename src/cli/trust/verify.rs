//! `trust verify`: one reference against the Notary server, or with the verifiers of a policy file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::judges::Judges;
use super::{Common, Stop, asking, reference, to_json};
use crate::image::{Digest, Reference};
use crate::policy::Settings;
use crate::setup;
use crate::trust::notary::{RequiredSigners, signer};
use crate::trust::{Question, TrustCode, Verifier as _, VerifierName, Vouch};

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
    /// Ask the verifiers of this policy file; with --verifier that one alone
    #[arg(long, value_name = "FILE", conflicts_with_all = ["server", "root_ca", "pins", "require"])]
    pub(super) policy: Option<PathBuf>,
}

/// What the verifiers of a policy agree on.
#[derive(Serialize)]
struct Agreed {
    digest: String,
    verifiers: Vec<Vouching>,
}

#[derive(Serialize)]
struct Vouching {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    signers: Vec<String>,
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
    if let Some(path) = &arguments.policy {
        return by_policy(arguments, path, reference, settings).await;
    }
    // Those of the settings, and those asked for here.
    let configured = setup::signers(settings, arguments.common.verifier.as_ref())?;
    let mut require = configured.of(&reference.repository).to_vec();
    for name in &arguments.require {
        require.push(signer(name).map_err(|error| Stop::Unknown(error.to_string()))?);
    }
    let notary = arguments.common.notary(settings, RequiredSigners::everywhere(require))?;
    let question = question(&reference);
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

fn question(reference: &Reference) -> Question {
    match (reference.digest, reference.tag.clone()) {
        (Some(digest), _) => Question::AnyOf(vec![digest]),
        (None, Some(tag)) => Question::Tag(tag),
        (None, None) => Question::Tag(crate::image::Tag::latest()),
    }
}

/// Asks those whom the policy requires for the repository, as for a pull, and takes the digest on which enough of them agree.
async fn by_policy(arguments: &Verify, path: &Path, reference: Reference, given: &Settings) -> Result<String, Stop> {
    let judges = Judges::of_file(path, arguments.common.state.as_deref(), given)?;
    let (scope, asks) = judges.scope(&reference.repository)?;
    let only = arguments.common.verifier.as_ref();
    let asked: Vec<&VerifierName> = match only {
        Some(name) => vec![name],
        None => scope.require.verifiers(),
    };
    let (mut vouches, mut refusal): (Vec<Vouch>, Option<Stop>) = (Vec::new(), None);
    for name in asked {
        match judges.named(name)?.vouch(&asks, &question(&reference), asking()).await {
            Ok(vouch) => vouches.push(vouch),
            Err(error) => drop(refusal.get_or_insert(Stop::of(&error, name))),
        }
    }
    let is_agreed = |digest: &Digest| {
        let says_yes = |name: &VerifierName| vouches.iter().any(|vouch| vouch.verifier() == name && vouch.digest() == digest);
        only.map_or_else(|| scope.require.is_met(&says_yes), says_yes)
    };
    let Some(digest) = vouches.iter().map(Vouch::digest).find(|digest| is_agreed(digest)) else {
        let differ = || Stop::Refused {
            code: TrustCode::NotSigned.as_str(),
            message: "the verifiers vouch for different digests; repeat, or ask its publisher to sign one".to_owned(),
        };
        return Err(refusal.unwrap_or_else(differ));
    };
    let agreeing = vouches.iter().filter(|vouch| vouch.digest() == digest).map(|vouch| Vouching {
        name: vouch.verifier().to_string(),
        kind: judges.kind(vouch.verifier()),
        signers: vouch.signers().to_vec(),
    });
    let agreed = Agreed { digest: digest.to_string(), verifiers: agreeing.collect() };
    if arguments.common.json {
        return to_json(&agreed);
    }
    let line = |by: &Vouching| format!("\n{}  {}  {}", by.name, by.kind, by.signers.join(", "));
    Ok(agreed.digest.clone() + &agreed.verifiers.iter().map(line).collect::<String>())
}
