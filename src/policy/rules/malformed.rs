//! What no policy lets pass: calls that cannot be read, and those that name no image, or more than can be judged.

use super::{Facts, Policy, Reason, Request, Rule};
use crate::policy::{ContainerFacts, ServiceFacts};
use crate::request::{Intent, Pulled, Service, Start, StartExtra};

#[derive(Debug)]
pub(super) struct Malformed;

impl Rule for Malformed {
    fn id(&self) -> &'static str {
        "malformed"
    }

    fn forbids(&self, _: &Policy, request: &Request<'_>) -> Option<Reason> {
        match request.intent {
            Intent::Unknown { route } => Some(Reason::RouteUnknown { route: route.clone() }),
            Intent::Unreadable(why) => Some(Reason::Unreadable(why.clone())),
            Intent::Pull(pull) => match pull.what {
                Pulled::AllTags => Some(Reason::PullAllTags { repository: pull.repository.clone() }),
                Pulled::Tag(_) | Pulled::Digest(_) => None,
            },
            Intent::Create(create) => create.image.is_none().then_some(Reason::NoImage),
            Intent::Start(Start { extra, .. }) => match extra {
                Some(StartExtra::Body) => Some(Reason::StartWithBody),
                Some(StartExtra::Checkpoint) => Some(Reason::StartFromCheckpoint),
                None => None,
            },
            Intent::Service(Service::Spec { plugin: Some(plugin), .. }) => Some(Reason::ServicePlugin { plugin: plugin.clone() }),
            Intent::Service(Service::Spec { image, .. }) => image.is_none().then_some(Reason::NoImage),
            Intent::Service(Service::Rollback { .. })
            | Intent::Read
            | Intent::Harmless
            | Intent::Rename { .. }
            | Intent::Remove { .. }
            | Intent::Build(_)
            | Intent::Ingest(_)
            | Intent::ContainerAccess(_)
            | Intent::Plugin(_)
            | Intent::Swarm
            | Intent::Volume { .. }
            | Intent::Network { .. }
            | Intent::NetworkPlugin { .. } => None,
        }
    }

    fn refuses(&self, _: &Policy, request: &Request<'_>, facts: &Facts) -> Option<Reason> {
        if let Intent::Start(start) = request.intent {
            return match &facts.container {
                Some(ContainerFacts::Missing) | None => Some(Reason::ContainerUnknown { container: start.container.clone() }),
                Some(ContainerFacts::Found { image, .. }) => image.is_none().then_some(Reason::NoImage),
            };
        }
        let Intent::Service(Service::Rollback { service }) = request.intent else { return None };
        match &facts.service {
            Some(ServiceFacts::Missing) | None => Some(Reason::ServiceUnknown { service: service.clone() }),
            Some(ServiceFacts::Previous { images }) => images.is_empty().then_some(Reason::NoImage),
        }
    }
}
