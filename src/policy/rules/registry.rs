//! Names of registries that are not allowed.

use super::{Policy, Reason, Request, Rule};
use crate::image::{ImageName, Reference, Repository};
use crate::request::{Intent, Pulled};

#[derive(Debug)]
pub(super) struct Registries;

impl Rule for Registries {
    fn id(&self) -> &'static str {
        "registry"
    }

    fn forbids(&self, policy: &Policy, request: &Request<'_>) -> Option<Reason> {
        // What starts and rolls back is judged by what it is; a plugin's name is a fact.
        if let Intent::Pull(pull) = request.intent {
            let is_named = matches!(&pull.what, Pulled::Digest(digest) if policy.exceptions.name_digest(digest));
            return if is_named { None } else { outside(policy, &pull.repository) };
        }
        request.intent.named().all().find_map(|name| named_outside(policy, name))
    }
}

/// A name that cannot be an id and lies outside every scope needs no look at the host.
fn named_outside(policy: &Policy, name: &ImageName) -> Option<Reason> {
    // Unless an exception may name what the host has under it, or what it asks for: that is judged by what it is.
    let may_be_named = |reference: &Reference| match &reference.digest {
        Some(digest) => policy.exceptions.name_digest(digest),
        None => policy.exceptions.name_content(),
    };
    match name.reference() {
        Some(reference) if may_be_named(reference) => None,
        Some(reference) if !name.may_be_id_prefix() => outside(policy, &reference.repository),
        Some(_) | None => None,
    }
}

fn outside(policy: &Policy, repository: &Repository) -> Option<Reason> {
    match policy.scope(repository) {
        Some(_) => None,
        None => Some(policy.outside(repository)),
    }
}
