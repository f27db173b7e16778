//! The digest tool's `policy.json`: one object, keyed by tag and by digest, of the images that may run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::draft::Draft;
use super::json::Json;
use super::{ImportError, form, shown};
use crate::image::{Digest, Reference};
use crate::policy::resolved::VerifierSettings;
use crate::policy::scope::{Pattern, Requirement};
use crate::trust::allowlist::file::{Entry, ListFile};

const FILE: &str = "allowlist.json";

/// Whether every member is an image with a digest, or an id in its place.
pub(super) fn is_one(json: &Json) -> bool {
    let Json::Object(members) = json else { return false };
    let is_image = |value: &Json| ["digest", "image_id", "id"].iter().any(|name| value.get(name).is_some());
    !members.is_empty() && members.iter().all(|(_, value)| is_image(value))
}

/// What a digest is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Manifest,
    Id,
    /// The source does not say.
    Either,
}

impl Kind {
    /// Of one digest in two places: what one of them says.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Either, said) | (said, Self::Either) => said,
            (one, other) if one == other => one,
            _ => Self::Either,
        }
    }
}

pub(super) fn read(json: &Json, draft: &mut Draft) -> Result<(), ImportError> {
    let mut found: BTreeMap<Digest, (Kind, Entry)> = BTreeMap::new();
    for (key, value) in json.members("the file")? {
        let place = format!("\"{key}\"");
        value.object(&place, &["digest", "image_id", "id", "layers", "tag", "tags"])?;
        let (digest, kind, new) = match entry(key, value, &place)? {
            Ok(entry) => entry,
            Err(why) => {
                draft.leave_out(place, format!("{why}: it is left out"));
                continue;
            }
        };
        let (known, entry) = found.entry(digest).or_insert((kind, Entry::default()));
        *known = known.and(kind);
        for reference in new.references {
            if !entry.references.contains(&reference) {
                entry.references.push(reference);
            }
        }
        if entry.layers.is_empty() {
            entry.layers = new.layers;
        } else if !new.layers.is_empty() && entry.layers != new.layers {
            return Err(form(place, "has other layers than another entry of the same digest"));
        }
    }
    let mut entries = Vec::new();
    for (digest, (kind, mut entry)) in found {
        (entry.digest, entry.image_id) = match kind {
            Kind::Manifest => (Some(digest), None),
            Kind::Id => (None, Some(digest)),
            Kind::Either => (Some(digest), Some(digest)),
        };
        if kind == Kind::Either {
            draft.leave_out(format!("{digest}"), "may be a digest or an image id: it is entered as both, as the source takes it");
        }
        entries.push(entry);
    }
    let mut patterns: BTreeMap<String, Pattern> = BTreeMap::new();
    for entry in &entries {
        for reference in &entry.references {
            let name = reference.repository.as_str();
            match name.parse() {
                Ok(pattern) => {
                    patterns.insert(name.to_owned(), pattern);
                }
                Err(error) => draft.leave_out(format!("{reference}"), format!("no scope matches it: {error}")),
            }
        }
    }
    if entries.is_empty() {
        draft.leave_out("the file", "nothing is approved: there is no scope, so every image is refused");
        return Ok(());
    }
    let list = ListFile { entries, ..ListFile::default() }.to_text();
    ListFile::parse(list.as_bytes()).map_err(|fault| form("the file", format!("makes no allowlist: {fault}")))?;
    draft.file(FILE, list);
    let name = draft.verifier("listed", VerifierSettings::Allowlist(PathBuf::from(FILE).into()));
    draft.scopes(patterns.into_values(), &Requirement::One(name));
    Ok(())
}

/// An image; or why it cannot be carried over.
type Image = Result<(Digest, Kind, Entry), String>;

fn entry(key: &str, value: &Json, place: &str) -> Result<Image, ImportError> {
    let text = |name: &str| value.get(name).map(|value| value.text(place)).transpose();
    let tags: Vec<&str> = match value.get("tags") {
        Some(tags) => tags.texts(place)?,
        None => text("tag")?.into_iter().collect(),
    };
    let layers = value.get("layers").map(|layers| layers.texts(place)).transpose()?.unwrap_or_default();
    let written = text("digest")?.filter(|digest| !digest.is_empty());
    Ok(image(key, written, text("image_id")?.or(text("id")?), &tags, &layers))
}

fn image(key: &str, written: Option<&str>, id: Option<&str>, tags: &[&str], layers: &[&str]) -> Image {
    let parsed = |text: &str| text.parse::<Digest>().map_err(|error| error.to_string());
    let (digest, kind) = match (written, id) {
        (Some(written), id) => match written.split_once('@') {
            Some((_, digest)) => (parsed(digest)?, Kind::Manifest),
            // Beside an id of its own it is none.
            None if id.is_some_and(|id| id != written) => (parsed(written)?, Kind::Manifest),
            None if id.is_some() => (parsed(written)?, Kind::Id),
            None => (parsed(written)?, Kind::Either),
        },
        (None, Some(id)) => (parsed(id)?, Kind::Id),
        (None, None) => return Err("has neither a digest nor an id".to_owned()),
    };
    let mut references: Vec<Reference> = Vec::new();
    for tag in tags {
        let reference: Reference = tag.parse().map_err(|error| format!("{}: {error}", shown(tag)))?;
        if reference.digest.is_some_and(|other| other != digest) {
            return Err(format!("{} has another digest than `{digest}`", shown(tag)));
        }
        references.push(Reference { digest: None, ..reference }.or_latest());
    }
    // The key says the same as the value: its digest, or one of its tags.
    match key.rsplit('@').next().and_then(|text| text.parse::<Digest>().ok()) {
        Some(other) if other != digest && id.is_none_or(|id| parsed(id) != Ok(other)) => {
            return Err(format!("stands under another digest than its own, `{digest}`"));
        }
        Some(_) => {}
        None => {
            let reference: Reference = key.parse().map_err(|error| format!("{error}"))?;
            let reference = reference.or_latest();
            if references.is_empty() {
                references.push(reference);
            } else if !references.contains(&reference) {
                return Err("stands under another tag than its own".to_owned());
            }
        }
    }
    if references.is_empty() {
        return Err("has no tag, so nothing says in which repository it is approved".to_owned());
    }
    let layers =
        layers.iter().map(|layer| parsed(layer)).collect::<Result<Vec<_>, _>>().map_err(|why| format!("a layer: {why}"))?;
    Ok((digest, kind, Entry { references, layers, ..Entry::default() }))
}
