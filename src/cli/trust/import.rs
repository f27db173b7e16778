//! `trust import`: such a file is taken in.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::carry::{self, Arrived};
use super::{Common, Stop, changed, to_json, trail, unread};
use crate::clock;
use crate::files::read_bytes;
use crate::image::Digest;
use crate::policy::Settings;
use crate::registry::Bundle;
use crate::setup::{self, Kept};
use crate::trust::TrustCode;
use crate::trust::notary::{RequiredSigners, Withdrawal};

/// Largest bundle taken in.
const BUNDLE_BYTES: u64 = 256 << 20;

#[derive(Args)]
pub(super) struct Import {
    /// The file
    pub(super) file: PathBuf,
    /// Of a bundle of signatures: which images, as `REPOSITORY@DIGEST`
    pub(super) images: Vec<String>,
    /// Of a bundle of signatures: whatever it holds. Whoever carried it chose that
    #[arg(long, conflicts_with = "images")]
    pub(super) all: bool,
    /// Take in what was taken back, too: the publisher says that he has signed again since. Bare for what the server took back; for signatures the
    /// digest, each: --undo-withdrawal=sha256:…
    #[arg(long, value_name = "DIGEST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(super) undo_withdrawal: Vec<String>,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) async fn import(arguments: &Import, settings: &Settings, kept: Kept) -> Result<String, Stop> {
    let most = most_of(&arguments.file);
    let bundle = read_bytes(&arguments.file, most).map_err(|error| match error.kind() {
        std::io::ErrorKind::FileTooLarge => {
            let (file, most) = (arguments.file.display(), most >> 20);
            Stop::Unknown(format!("`{file}` is larger than {most} MiB; export fewer repositories at once"))
        }
        _ => unread(&arguments.file, &error),
    })?;
    if Bundle::is_one(&bundle) {
        let digest = |text: &String| {
            let why = || Stop::Unknown("of signatures the digest is named: --undo-withdrawal=sha256:…".to_owned());
            text.parse::<Digest>().map_err(|_| why())
        };
        let undone = arguments.undo_withdrawal.iter().map(digest).collect::<Result<Vec<_>, _>>()?;
        let (file, images) = (arguments.file.as_path(), arguments.images.as_slice());
        let arrived = Arrived { file, bytes: &bundle, images, is_all: arguments.all, undone: &undone };
        return carry::import(&arrived, &arguments.common, settings, kept).await;
    }
    if !arguments.images.is_empty() || arguments.all || arguments.undo_withdrawal.iter().any(|digest| !digest.is_empty()) {
        let message = "it is no bundle of signatures: images, --all and the digest of --undo-withdrawal are of those";
        return Err(Stop::Unknown(message.to_owned()));
    }
    let (notary, state) = arguments.common.notary_at(settings, RequiredSigners::default())?;
    let elsewhere = (state != settings.state_dir().join(setup::TRUST)).then_some(state.as_path());
    let withdrawal = if arguments.undo_withdrawal.is_empty() { Withdrawal::Stays } else { Withdrawal::Undone };
    let trail = trail(elsewhere, settings)?;
    let done = notary
        .import(&bundle, withdrawal, clock::now())
        .await
        .map_err(|error| Stop::with(error.code, format!("`{}`: {error}", arguments.file.display()), import_remedy(error.code)))?;
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for (repository, result) in done {
        match result {
            Ok(()) => taken.push(repository),
            Err(error) => refused.push((repository, error)),
        }
    }
    let how = format!("trust data taken in from `{}`", arguments.file.display());
    trail.record("trust-import", taken.iter().map(|repository| changed(repository, &how)));
    let is_whole = refused.is_empty();
    let text = if arguments.common.json {
        let refused: Vec<_> = refused
            .into_iter()
            .map(|(repository, error)| {
                let (code, remedy) = (error.code.as_str(), import_remedy(error.code));
                json!({ "repository": repository, "code": code, "message": error.to_string(), "remedy": remedy })
            })
            .collect();
        to_json(&json!({ "repositories": taken, "refused": refused }))?
    } else {
        let taken = taken.iter().map(|repository| format!("{repository}  taken in"));
        let refused = refused.iter().map(|(repository, error)| {
            format!("{repository}  refused ({}): {error}; {}", error.code.as_str(), import_remedy(error.code))
        });
        // Where a folder was named, it was meant.
        let apart = elsewhere.filter(|_| arguments.common.state.is_none());
        let apart = apart.map(|state| {
            format!("kept in `{}`, which the gate does not use: `--server` or `--pins` is not the gate's", state.display())
        });
        taken.chain(refused).chain(apart).collect::<Vec<_>>().join("\n")
    };
    if is_whole { Ok(text) } else { Err(Stop::Partly(text)) }
}

/// How large a file may be: one of signatures is text, and is in memory more than once.
fn most_of(path: &Path) -> u64 {
    let mut first = [0];
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    let read = is_file.then(|| std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut first)));
    if read.is_some_and(|read| read.is_ok()) && Bundle::is_one(&first) { Bundle::BYTES } else { BUNDLE_BYTES }
}

/// What to do about a bundle that is not taken in.
const fn import_remedy(code: TrustCode) -> &'static str {
    match code {
        TrustCode::Expired | TrustCode::ImportExpired => {
            "export it again where the server is reached, and check this host's clock"
        }
        TrustCode::RolledBack => {
            "this host has seen newer trust data: export again where the server is reached; if that is refused too, ask the publisher"
        }
        TrustCode::Withdrawn => {
            "no bundle shows whether it was signed before that or since: ask the publisher; if since, import it with --undo-withdrawal"
        }
        TrustCode::RootNotTrusted => {
            "export it again with a way to the server, so that the roots before it come along; else compare its root key with the publisher"
        }
        TrustCode::Invalid => "it was changed or cut on the way: carry it here again, or export it again",
        TrustCode::Misconfigured => "see who may write the state folder",
        // What only a server, a list or a registry answers.
        TrustCode::Unreachable
        | TrustCode::Busy
        | TrustCode::CaRefused
        | TrustCode::Unauthorized
        | TrustCode::NoTrustData
        | TrustCode::NotSigned
        | TrustCode::SignerMissing
        | TrustCode::LogUnknown
        | TrustCode::Revoked
        | TrustCode::RevocationUnknown
        | TrustCode::NeedsPlugin
        | TrustCode::NotAttested
        | TrustCode::AttestationRefused
        | TrustCode::NotListed
        | TrustCode::AllowlistUnavailable
        | TrustCode::NotInRegistry
        | TrustCode::NotImported => "export it again",
    }
}
