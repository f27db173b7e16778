//! What becomes of a list when an approval is added to it, or taken back.

use jiff::Timestamp;
use serde::Serialize;

use crate::image::{Digest, ImageName, Reference};
use crate::trust::allowlist::file::{Entry, ListFile};

/// Shortest beginning of a digest that `unregister` takes for one; tables show twelve digits.
const PREFIX_DIGITS: usize = 8;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Added,
    Updated,
    Unchanged,
}

/// Puts `new` into the list; what `given` says about the approval (who, when, why, until) goes with it, and changes nothing
/// for names that were not registered now.
pub(super) fn add(list: &mut ListFile, new: &Entry, given: &Entry, now: Timestamp) -> (Outcome, Entry) {
    let has = |old: &Entry| new.references.iter().all(|reference| old.references.contains(reference));
    // Registered already, and nothing else asked for: its end stays.
    let kept = |old: &Entry| is_same_content(old, new) && has(old) && given.expires.is_none() && !old.is_expired(now);
    // One approval for several names.
    let joined = |old: &Entry| {
        let same_reason = given.reason.is_none() || given.reason == old.reason;
        is_same_content(old, new) && old.expires == given.expires && same_reason && !old.is_expired(now)
    };
    let place = list.entries.iter().position(kept).or_else(|| list.entries.iter().position(joined));
    if let Some(old) = place.and_then(|place| list.entries.get_mut(place)) {
        let before = old.clone();
        complete(old, new);
        // A report of now takes the place of an earlier one.
        old.scan = new.scan.clone().or_else(|| old.scan.take());
        old.sbom = new.sbom.clone().or_else(|| old.sbom.take());
        if given.reason.is_some() {
            old.reason.clone_from(&given.reason);
        }
        if *old == before {
            return (Outcome::Unchanged, before);
        }
        old.added_by.clone_from(&given.added_by);
        old.added_at = given.added_at;
        return (Outcome::Updated, old.clone());
    }
    // What is registered now takes the place of what was said about these names; other names of the content keep theirs.
    let before = list.entries.len();
    let mut shrunk = false;
    let mut merged = new.clone();
    list.entries.retain_mut(|old| {
        if !is_same_content(old, new) {
            return true;
        }
        let others: Vec<Reference> =
            old.references.iter().filter(|reference| !new.references.contains(reference)).cloned().collect();
        shrunk |= others.len() < old.references.len();
        if others.is_empty() {
            complete(&mut merged, old);
        }
        old.references = others;
        !old.references.is_empty()
    });
    let outcome = if shrunk || list.entries.len() < before { Outcome::Updated } else { Outcome::Added };
    let approval = given.clone();
    let entry = Entry {
        added_by: approval.added_by,
        added_at: approval.added_at,
        reason: approval.reason,
        expires: approval.expires,
        ..merged
    };
    list.entries.push(entry.clone());
    (outcome, entry)
}

/// Whether two entries are about one image, and as wide: an entry for any repository is neither made narrower by another
/// one, nor another one as wide.
fn is_same_content(old: &Entry, new: &Entry) -> bool {
    let agree = |old: Option<Digest>, new: Option<Digest>| old.is_none() || new.is_none() || old == new;
    let same_digest = new.digest.is_some() && old.digest == new.digest && agree(old.image_id, new.image_id);
    let same_id = new.image_id.is_some() && old.image_id == new.image_id && agree(old.digest, new.digest);
    (same_digest || same_id) && old.references.is_empty() == new.references.is_empty()
}

/// Adds to an entry what another one about the same content knows besides.
fn complete(entry: &mut Entry, other: &Entry) {
    entry.digest = entry.digest.or(other.digest);
    entry.image_id = entry.image_id.or(other.image_id);
    for reference in &other.references {
        if !entry.references.contains(reference) {
            entry.references.push(reference.clone());
        }
    }
    if entry.platform.is_none() {
        entry.platform.clone_from(&other.platform);
    }
    if entry.layers.is_empty() {
        entry.layers.clone_from(&other.layers);
    }
    if entry.scan.is_none() {
        entry.scan.clone_from(&other.scan);
    }
    if entry.sbom.is_none() {
        entry.sbom.clone_from(&other.sbom);
    }
    if entry.platforms.is_empty() {
        entry.platforms.clone_from(&other.platforms);
    }
}

/// Takes `name` out of the list. Gives the number of entries that it was taken from.
pub(super) fn remove(list: &mut ListFile, name: &ImageName) -> Result<usize, String> {
    let count = match name {
        ImageName::Id(digest) => remove_digest(list, digest),
        ImageName::IdPrefix(text) => remove_prefix(list, text)?,
        ImageName::Named { reference, .. } => remove_reference(list, reference),
    };
    if count == 0 && name.may_be_id_prefix() { remove_prefix(list, &name.to_string()) } else { Ok(count) }
}

fn remove_digest(list: &mut ListFile, digest: &Digest) -> usize {
    let before = list.entries.len();
    list.entries.retain(|entry| !entry.is_for(digest));
    before - list.entries.len()
}

fn remove_prefix(list: &mut ListFile, text: &str) -> Result<usize, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() < PREFIX_DIGITS {
        return Ok(0);
    }
    let mut fits: Vec<Digest> =
        list.entries.iter().flat_map(Entry::digests).filter(|digest| digest.hex().starts_with(digits)).collect();
    fits.sort();
    fits.dedup();
    match fits.as_slice() {
        [] => Ok(0),
        [digest] => Ok(remove_digest(list, digest)),
        [..] => Err(format!("{} digests begin like this; write one out", fits.len())),
    }
}

/// An entry that loses its last reference goes: without one it would vouch in any repository.
fn remove_reference(list: &mut ListFile, reference: &Reference) -> usize {
    let mut count = 0;
    list.entries.retain_mut(|entry| {
        if entry.references.is_empty() {
            return true;
        }
        let before = entry.references.len();
        let digests: Vec<Digest> = entry.digests().collect();
        entry.references.retain(|listed| {
            let is_it = listed.repository == reference.repository
                && match &reference.digest {
                    // All names of that content in the repository.
                    Some(digest) => digests.contains(digest),
                    None => Entry::listed_tag(listed) == reference.tag,
                };
            !is_it
        });
        if entry.references.len() < before {
            count += 1;
        }
        !entry.references.is_empty()
    });
    count
}
