//! `allowlist sign`: a list is signed where the private key lies, which is never the guarded host.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use clap::Args;

use crate::cli::{YES, out};
use crate::files::{read_text, replace_regular};
use crate::policy::Settings;
use crate::setup::InForce;
use crate::trust::VerifierName;
use crate::trust::allowlist::file::ListFile;
use crate::trust::allowlist::signed::sign;

/// Largest key read. Stops a wrong path from filling memory.
const KEY_BYTES: u64 = 16 << 10;
/// Who besides its owner may do anything with the key.
const OTHERS: u32 = 0o077;

/// What is signed, and by what.
#[derive(Args)]
pub(super) struct SignArgs {
    /// The private key: Ed25519, PKCS#8, PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The list, as `register --out` writes it; it is signed in place
    #[arg(value_name = "LIST")]
    list: PathBuf,
    /// Write the signed list to this file, and leave the other as it is
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The list's serial, if not the one in it: higher than that of the list in force
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    serial: Option<u64>,
    /// The verifier whose list it is, if not the one in it: `allowlist`, or the name in the policy file
    #[arg(long = "list", value_name = "NAME")]
    of: Option<VerifierName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &SignArgs, settings: &Settings) -> Result<u8, String> {
    let key = &arguments.key;
    let mode =
        std::fs::metadata(key).map_err(|error| format!("`{}` cannot be read: {error}", key.display()))?.permissions().mode();
    if mode & OTHERS != 0 {
        return Err(format!("`{}` may be used by others (mode {:04o}): chmod 600", key.display(), mode & 0o7777));
    }
    if InForce::read(&settings.state_dir()).is_some() {
        out::note("note: a gate serves on this host: whoever becomes root here has the key now, and can approve what they like");
    }
    let private = read_text(key, KEY_BYTES).map_err(|error| format!("`{}` cannot be read: {error}", key.display()))?;
    let list = ListFile::read(&arguments.list).map_err(|fault| format!("`{}`: {fault}", arguments.list.display()))?;
    let of = arguments.of.as_ref().map(ToString::to_string);
    let list = ListFile { serial: arguments.serial.or(list.serial), list: of.or(list.list), ..list };
    let serial = list.serial.ok_or_else(|| {
        format!("`{}` has no serial: say --serial NUMBER, higher than that of the list in force", arguments.list.display())
    })?;
    let (text, public) = sign(&list, &private).map_err(|why| format!("`{}`: {why}", key.display()))?;
    let path = arguments.out.as_ref().unwrap_or(&arguments.list);
    replace_regular(path, text.as_bytes(), 0o644).map_err(|error| format!("`{}` cannot be written: {error}", path.display()))?;
    if arguments.json {
        out::json(&serde_json::json!({
            "file": path.display().to_string(), "serial": serial, "entries": list.entries.len(),
            "key_id": public.id(), "key": public.to_base64()
        }));
    } else {
        out::line(&format!(
            "`{}`: {} entries, serial {serial}, signed by key {}\nALLOWLIST_KEY={}",
            path.display(),
            list.entries.len(),
            public.id(),
            public.to_base64()
        ));
    }
    Ok(YES)
}
