//! What has to be found out about a call before it can be decided.

use super::{Policy, Posture, Reason, Request, rules};
use crate::image::{ImageName, Reference};
use crate::request::{Intent, PluginCall, Pull, Pulled, Service};

/// What has to be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needs<'i> {
    /// Nothing: policy and call alone decide.
    Nothing,
    /// Nothing: a rule refuses it.
    Refused(Reason),
    /// Who vouches for this name. What the host holds does not matter: a pull replaces it.
    Named(Reference),
    /// What the host holds under these names, and who vouches for it.
    Held(Vec<&'i ImageName>),
    /// What this container is, and who vouches for its image and image mounts.
    Container(&'i str),
    /// Who vouches for the images of a service, and what its networks are.
    Service {
        /// The containers' image first, then image mounts.
        images: Vec<&'i ImageName>,
        /// Its networks, as written.
        networks: &'i [String],
    },
    /// What this service was before.
    Rollback(&'i str),
    /// What this plugin is, and who vouches for it.
    Plugin(&'i PluginCall),
    /// Which addresses the gate itself uses.
    OwnAddresses,
}

/// What has to be found out about a call before [`super::decide()`] can say more than no.
#[must_use]
pub fn needs<'i>(policy: &Policy, request: &Request<'i>) -> Needs<'i> {
    if let Some(reason) = rules::forbid(policy, request) {
        return Needs::Refused(reason);
    }
    let intent = request.intent;
    match intent {
        Intent::Pull(pull) => Needs::Named(named(pull)),
        Intent::Create(_) => Needs::Held(intent.named().all().collect()),
        Intent::Start(start) => Needs::Container(&start.container),
        Intent::Service(Service::Spec { networks, .. }) => Needs::Service { images: intent.named().all().collect(), networks },
        Intent::Service(Service::Rollback { service }) => Needs::Rollback(service),
        Intent::Plugin(call) => Needs::Plugin(call),
        Intent::Network { subnets, .. } if policy.posture == Posture::Lockdown && !subnets.is_empty() => Needs::OwnAddresses,
        Intent::Network { .. }
        | Intent::Read
        | Intent::Harmless
        | Intent::Rename { .. }
        | Intent::Remove { .. }
        | Intent::Build(_)
        | Intent::Ingest(_)
        | Intent::ContainerAccess(_)
        | Intent::Swarm
        | Intent::Volume { .. }
        | Intent::NetworkPlugin { .. }
        | Intent::Unknown { .. }
        | Intent::Unreadable(_) => Needs::Nothing,
    }
}

fn named(pull: &Pull) -> Reference {
    let (tag, digest) = match &pull.what {
        Pulled::Tag(tag) => (Some(tag.clone()), None),
        Pulled::Digest(digest) => (None, Some(*digest)),
        Pulled::AllTags => (None, None),
    };
    Reference { repository: pull.repository.clone(), tag, digest }
}
