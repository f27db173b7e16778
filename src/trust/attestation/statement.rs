//! in-toto's statements, versions 0.1 and 1: of which images, and of which type. What is stated is read by kind.
//!
//! Strict where two readers could differ: no member twice in whatever case, objects that are objects, one type, digests in one spelling.
//! Members that nobody knows here are passed over, as in-toto wants it.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::Unfit;
use crate::image::Digest;
use crate::registry::has_one_reading;
use crate::text::{clean, fit};
use crate::trust::object::{self, Object};
use crate::trust::subject::Subject;

/// What a signed statement calls itself.
const TYPES: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
/// Most subjects of one statement. cosign names one, builders some dozen files.
const SUBJECTS: usize = 1024;
/// Longest type that is shown.
const TYPE_CHARS: usize = 80;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Object<Subject>>,
}

#[derive(Deserialize)]
struct Whole<T> {
    predicate: Object<T>,
}

/// The type of the predicate alone, which costs little of a large statement that is not meant.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    predicate_type: String,
    #[serde(rename = "predicate")]
    _predicate: Option<IgnoredAny>,
}

/// Whether this states something of this type about this digest, in one reading. That anybody has signed it is not known here.
pub(super) fn fits(statement: &[u8], predicate_type: &str, digest: Digest) -> Result<(), Unfit> {
    let named: Named = serde_json::from_slice(statement).map_err(|error| Unfit::form(error.to_string()))?;
    if named.predicate_type != predicate_type {
        return Err(Unfit::None { predicate_type: predicate_type.to_owned() });
    }
    has_one_reading(statement).map_err(Unfit::form)?;
    let head: Head = object::parsed(statement).map_err(Unfit::form)?;
    if !TYPES.contains(&&*head.kind) {
        return Err(Unfit::form(format!("its statement is `{}`", fit(&head.kind, TYPE_CHARS))));
    }
    // Again, of the object alone.
    if head.predicate_type != predicate_type {
        return Err(Unfit::form("its predicate has two types"));
    }
    if head.subject.len() > SUBJECTS {
        return Err(Unfit::form(format!("it has more than {SUBJECTS} subjects")));
    }
    let hex = digest.hex();
    let is_it = |Object(subject): &Object<Subject>| subject.sha256() == Some(&*hex);
    if head.subject.iter().any(is_it) { Ok(()) } else { Err(Unfit::OtherDigest) }
}

/// What a statement states, which has one reading.
pub(super) fn predicate<'s, T: Deserialize<'s>>(statement: &'s [u8]) -> Result<T, String> {
    let Whole { predicate: Object(predicate) } =
        object::parsed(statement).map_err(|cause| format!("its predicate cannot be read: {}", clean(&cause)))?;
    Ok(predicate)
}
