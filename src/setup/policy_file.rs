//! Finds the policy file and those of `policy.d` beside it, and reads them: only what nobody but root may change counts.

use std::path::{Path, PathBuf};

use crate::files::read_owned;
use crate::policy::{FURTHER_FILES, POLICY_BYTES, PolicyFault, PolicyFile, Settings};

/// The folder beside the policy file with further ones.
const FURTHER: &str = "policy.d";

/// These settings with the policy file as it is now; unchanged where there is none.
pub(crate) fn with_file(settings: &Settings) -> Result<Settings, Vec<PolicyFault>> {
    let Some((path, is_required)) = settings.policy_path() else { return Ok(settings.clone().with_policy(None)) };
    // One that cannot be looked at is there: only "not found" is "none".
    if !is_required && matches!(path.try_exists(), Ok(false)) && !path.is_symlink() {
        return Ok(settings.clone().with_policy(None));
    }
    let file = read(&path, &|path, limit| read_owned(path, limit))?;
    Ok(settings.clone().with_policy(Some(file)))
}

/// The policy of a file, read by `read_text`.
pub(crate) fn read(
    path: &Path,
    read_text: &dyn Fn(&Path, u64) -> std::io::Result<String>,
) -> Result<PolicyFile, Vec<PolicyFault>> {
    let told = |path: &Path, why: &dyn std::fmt::Display| {
        PolicyFault::of("POLICY", format!("`{}` cannot be used: {why}", path.display()))
    };
    let mut files = Vec::new();
    let mut faults = Vec::new();
    let further = further(path).map_err(|why| vec![PolicyFault::of("POLICY", why)])?;
    for path in std::iter::once(path.to_owned()).chain(further) {
        match read_text(&path, POLICY_BYTES) {
            Ok(text) => files.push((path, text)),
            Err(error) => faults.push(told(&path, &error)),
        }
    }
    if faults.is_empty() { Ok(PolicyFile(files)) } else { Err(faults) }
}

/// The files of `policy.d`, in the order of their names.
fn further(path: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = path.with_file_name(FURTHER);
    let told = |error: std::io::Error| format!("`{}` cannot be read: {error}", folder.display());
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(told(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(told)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            paths.push(path);
        }
        if paths.len() > FURTHER_FILES {
            return Err(format!("`{}` holds more than {FURTHER_FILES} files", folder.display()));
        }
    }
    paths.sort();
    Ok(paths)
}

/// What is looked at each second: once one of these changes, the policy is read again.
pub(crate) fn watched(settings: &Settings) -> Vec<PathBuf> {
    let Some((path, _)) = settings.policy_path() else { return Vec::new() };
    let mut out = further(&path).unwrap_or_default();
    out.push(path.with_file_name(FURTHER));
    out.push(path);
    out
}
