//! What registries took back: a file for each record that was withdrawn, so that a bundle that was made before does not bring it back. It ends when
//! a registry gives a good signature again, when it is forgotten, or on a person's word. Its time is that of the file.

use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;

use super::record::Key;
use crate::files::{Outlives, read_owned, replace};
use crate::image::Digest;

const ENDING: &str = ".withdrawn";
/// Most of them; beyond it go the oldest. Only what verified once is withdrawn.
const MOST: usize = 4096;
/// Largest file; a digest has 71 characters.
const FILE_BYTES: u64 = 128;

fn file_name(key: &Key) -> String {
    format!("{}{ENDING}", key.hex())
}

/// It was withdrawn now.
pub(super) fn note(folder: &Path, key: &Key) -> std::io::Result<()> {
    let mut files = files(folder);
    if files.len() >= MOST {
        files.sort_by_key(|path| path.metadata().and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH));
        for path in files.iter().take(MOST / 8) {
            let _ = std::fs::remove_file(path);
        }
    }
    replace(&folder.join(file_name(key)), key.digest.to_string().as_bytes(), 0o600, Outlives::Power)
}

/// It is there again.
pub(super) fn end(folder: &Path, key: &Key) {
    let _ = std::fs::remove_file(folder.join(file_name(key)));
}

/// When it was withdrawn; `None`: it was not. Of one that cannot be looked at nobody knows when.
pub(super) fn since(folder: &Path, key: &Key) -> Option<Timestamp> {
    match std::fs::symlink_metadata(folder.join(file_name(key))) {
        Ok(found) => Some(found.modified().ok().and_then(|at| Timestamp::try_from(at).ok()).unwrap_or(Timestamp::UNIX_EPOCH)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(_) => Some(Timestamp::UNIX_EPOCH),
    }
}

/// Forgets of a digest that it was withdrawn, wherever that was.
pub(super) fn forget(folder: &Path, digest: &Digest) -> std::io::Result<usize> {
    let mut forgotten = 0;
    for path in files(folder) {
        if read_owned(&path, FILE_BYTES).is_ok_and(|text| text == digest.to_string()) {
            std::fs::remove_file(&path)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_one = |path: &std::path::PathBuf| path.to_str().is_some_and(|path| path.ends_with(ENDING));
    entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_one).take(2 * MOST).collect()
}
