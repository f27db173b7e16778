//! In posture `lockdown`: ways to the host, unless `ALLOW_HOST_ACCESS` allows them.

use std::net::IpAddr;

use super::{Facts, HOST_ACCESS, Policy, Reason, Request, Rule};
use crate::policy::{Approval, NetworkFacts, Posture};
use crate::request::{HostAccess, Intent, Service, Subnet};

#[derive(Debug)]
pub(super) struct HostAccessRules;

impl Rule for HostAccessRules {
    fn id(&self) -> &'static str {
        HOST_ACCESS
    }

    fn forbids(&self, policy: &Policy, request: &Request<'_>) -> Option<Reason> {
        // What is vouched for may have an exception.
        if is_liftable(policy, request.intent) { None } else { forbidden(policy, request.intent.host_access()) }
    }

    fn refuses_content(&self, policy: &Policy, request: &Request<'_>, approvals: &mut [Approval]) -> Option<Reason> {
        if !is_liftable(policy, request.intent) {
            return None;
        }
        let reason = forbidden(policy, request.intent.host_access())?;
        let Some(approval) = approvals.first_mut() else { return Some(reason) };
        (!approval.exceptions.lift(HOST_ACCESS)).then(|| approval.exceptions.not_lifted(HOST_ACCESS, reason))
    }

    fn refuses(&self, policy: &Policy, request: &Request<'_>, facts: &Facts) -> Option<Reason> {
        if let Intent::Network { subnets, .. } = request.intent {
            return covering(policy, subnets, &facts.own_addresses);
        }
        let Intent::Service(Service::Spec { networks, .. }) = request.intent else { return None };
        outside(policy, networks, &facts.networks)
    }
}

/// Whether exceptions may lift this rule of what the call is about: a container, whose image is known.
fn is_liftable(policy: &Policy, intent: &Intent) -> bool {
    matches!(intent, Intent::Create(_)) && policy.exceptions.may_lift(HOST_ACCESS)
}

/// The refusal of the first way to the host that no rule opens.
fn forbidden(policy: &Policy, host_access: &[HostAccess]) -> Option<Reason> {
    policy.forbidden(host_access).map(|access| Reason::HostAccess { access: access.id, what: access.what.clone() })
}

/// The refusal of the first subnet that takes the way to an address that the gate itself uses.
fn covering(policy: &Policy, subnets: &[Subnet], own: &[IpAddr]) -> Option<Reason> {
    let covers = |subnet: &&Subnet| own.iter().any(|address| subnet.covers(*address));
    let host_access: Vec<HostAccess> =
        subnets.iter().filter(covers).map(|subnet| HostAccess { id: "network-subnet", what: subnet.to_string() }).collect();
    forbidden(policy, &host_access)
}

/// Each network of a service must be known to be none of the host's.
fn outside(policy: &Policy, networks: &[String], facts: &[NetworkFacts]) -> Option<Reason> {
    if policy.posture == Posture::Images {
        return None;
    }
    // INVARIANT: facts hold every network of the intent, as with images.
    if networks.len() != facts.len() {
        return Some(Reason::Internal);
    }
    networks.iter().zip(facts).find_map(|(network, fact)| {
        let what = match fact {
            NetworkFacts::Ordinary => return None,
            NetworkFacts::Host => "network:host".to_owned(),
            NetworkFacts::Unsure => format!("network:{network}"),
        };
        forbidden(policy, &[HostAccess { id: "namespace", what }])
    })
}
