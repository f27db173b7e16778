//! What is taken by name after the check must be named so that it cannot move: image mounts, and images of services.

use super::{Facts, Policy, Reason, Request, Rule};
use crate::image::ImageName;
use crate::policy::{ContainerFacts, ServiceFacts};
use crate::request::Intent;

#[derive(Debug)]
pub(super) struct Pinning;

impl Rule for Pinning {
    fn id(&self) -> &'static str {
        "pinning"
    }

    fn forbids(&self, _: &Policy, request: &Request<'_>) -> Option<Reason> {
        let named = request.intent.named();
        // A container is made from what was judged, by its id.
        let pinned = named.image.filter(|_| matches!(request.intent, Intent::Service(_)));
        let of_service = pinned.and_then(unpinned_service);
        of_service.or_else(|| named.mounts.iter().find_map(unpinned))
    }

    /// What an existing container and a service's previous specification were made with, the engine alone knows.
    fn refuses(&self, _: &Policy, _: &Request<'_>, facts: &Facts) -> Option<Reason> {
        let of_container = match &facts.container {
            Some(ContainerFacts::Found { image_mounts, .. }) => image_mounts.iter().find_map(|source| unpinned_text(source)),
            Some(ContainerFacts::Missing) | None => None,
        };
        of_container.or_else(|| match &facts.service {
            Some(ServiceFacts::Previous { images }) => {
                let (first, mounts) = images.split_first()?;
                let first = match ImageName::parse(first) {
                    Ok(image) => unpinned_service(&image),
                    Err(_) => Some(Reason::ServiceNeedsDigest { image: first.clone() }),
                };
                first.or_else(|| mounts.iter().find_map(|source| unpinned_text(source)))
            }
            Some(ServiceFacts::Missing) | None => None,
        })
    }
}

/// An image mount's snapshot is taken by name after the check: only what cannot move is accepted.
fn unpinned(name: &ImageName) -> Option<Reason> {
    match name {
        ImageName::Id(_) => None,
        ImageName::Named { reference, .. } if reference.digest.is_some() => None,
        ImageName::Named { .. } | ImageName::IdPrefix(_) => Some(Reason::MountNeedsDigest { source: name.to_string() }),
    }
}

fn unpinned_text(source: &str) -> Option<Reason> {
    match ImageName::parse(source) {
        Ok(name) => unpinned(&name),
        Err(_) => Some(Reason::MountNeedsDigest { source: source.to_owned() }),
    }
}

/// Tasks are placed later, on any node, unasked: the image must be pinned by a digest of its repository.
fn unpinned_service(image: &ImageName) -> Option<Reason> {
    match image.reference() {
        Some(reference) if reference.digest.is_some() => None,
        Some(_) | None => Some(Reason::ServiceNeedsDigest { image: image.to_string() }),
    }
}
