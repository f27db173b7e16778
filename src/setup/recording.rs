//! What tells later, of a decision that was recorded, by which policy it was made, and whether another policy's verifier would have said the
//! same: one that is made of the same.

use crate::order::Ordered as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::files::read_bytes;
use crate::image::Digest;
use crate::policy::{Given, NotarySettings, Recording, Settings, VerifierSettings};
use crate::trust::VerifierName;

/// Most bytes of a file that a verifier is made of.
const FILE_BYTES: u64 = 1 << 20;

/// What decisions by these settings are recorded with. The paths of files do not matter, what is in them does: a policy is compared with one
/// that lies elsewhere.
pub(crate) fn recording(settings: &Settings, folder: PathBuf, made_of: &BTreeMap<VerifierName, VerifierSettings>) -> Recording {
    let written = settings.policy_file();
    let texts: Vec<&str> = written.iter().flat_map(|file| &file.0).map(|(_, text)| text.as_str()).collect();
    let beside = written.and_then(|file| file.path().parent()).unwrap_or(Path::new("."));
    let of = |(name, settings): (&VerifierName, &VerifierSettings)| {
        let own = digest(beside, settings);
        // Who must sign its statements is another verifier, and counts as a part of it.
        let signer = match settings {
            VerifierSettings::Attestation(settings) => made_of.get(&settings.signed_by),
            VerifierSettings::Notary(_)
            | VerifierSettings::Allowlist(_)
            | VerifierSettings::Registry
            | VerifierSettings::Notation(_)
            | VerifierSettings::Cosign(_) => None,
        };
        let own = signer.map_or(own, |signer| Digest::of(format!("{own} {}", digest(beside, signer)).as_bytes()));
        (name.clone(), own)
    };
    // Lists of texts always serialise.
    let policy = Digest::of(&serde_json::to_vec(&texts).unwrap_or_default());
    Recording { folder, policy, verifiers: made_of.iter().map(of).ordered() }
}

/// What tells such a verifier from any other. What an allowlist holds changes from day to day: it is the same by its name.
fn digest(beside: &Path, made_of: &VerifierSettings) -> Digest {
    let settings = match made_of {
        VerifierSettings::Notary(notary) => format!("{:?}", NotarySettings { root_ca: None, pins: None, ..notary.clone() }),
        VerifierSettings::Allowlist(list) => list.file.strip_prefix(beside).unwrap_or(&list.file).display().to_string(),
        VerifierSettings::Cosign(cosign) => format!("{} {:?}", cosign.trusted_root.is_some(), cosign.identities),
        VerifierSettings::Attestation(attestation) => format!("{:?}", attestation.terms),
        VerifierSettings::Registry | VerifierSettings::Notation(_) => String::new(),
    };
    let given = match made_of {
        VerifierSettings::Notary(notary) => {
            format!("{:?}", [&notary.root_ca, &notary.pins].map(|given| given.as_ref().map(text_of)))
        }
        // Of its stores, what they hold and what that is called.
        VerifierSettings::Notation(notation) => format!("{:?}", super::notation::held(notation)),
        VerifierSettings::Allowlist(list) => format!("{:?}", list.key.as_ref().map(text_of)),
        VerifierSettings::Cosign(_) | VerifierSettings::Attestation(_) | VerifierSettings::Registry => String::new(),
    };
    let files: Vec<Option<Digest>> =
        made_of.files().map(|path| read_bytes(path, FILE_BYTES).ok().map(|bytes| Digest::of(&bytes))).collect();
    Digest::of(format!("{} {settings} {given} {files:?}", made_of.kind()).as_bytes())
}

/// A text that is given as itself; of a file only that it is one.
fn text_of(given: &Given) -> &str {
    match given {
        Given::Text(text) => text,
        Given::File(_) => "a file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::CosignSettings;

    #[test]
    fn a_verifier_is_the_same_by_what_its_files_hold_and_not_by_where_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("a.pub", "one"), ("b.pub", "one"), ("c.pub", "other")] {
            std::fs::write(at(name), text).unwrap();
        }
        let of = |name: &str| {
            digest(folder.path(), &VerifierSettings::Cosign(CosignSettings { keys: vec![at(name)], ..CosignSettings::default() }))
        };
        assert_eq!(of("a.pub"), of("b.pub"));
        assert_ne!(of("a.pub"), of("c.pub"));
        assert_ne!(of("a.pub"), of("none.pub"));
        let list = |path: &str| VerifierSettings::Allowlist(PathBuf::from(path).into());
        assert_eq!(digest(Path::new("/a"), &list("/a/list.json")), digest(Path::new("/b"), &list("/b/list.json")));
        assert_ne!(digest(Path::new("/a"), &list("/a/list.json")), digest(Path::new("/a"), &list("/a/other.json")));
        assert_ne!(digest(Path::new("/a"), &list("/a/list.json")), digest(Path::new("/a"), &VerifierSettings::Registry));
    }
}
