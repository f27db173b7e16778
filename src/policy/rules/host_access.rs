//! In posture `lockdown`: ways to the host, unless `ALLOW_HOST_ACCESS` allows them.

use std::net::IpAddr;

use super::{Facts, Policy, Reason, Request, Rule};
use crate::policy::NetworkFacts;
use crate::request::{HostAccess, Intent, Service, Subnet};

#[derive(Debug)]
pub(super) struct HostAccessRules;

impl Rule for HostAccessRules {
    fn id(&self) -> &'static str {
        "host-access"
    }

    fn forbids(&self, policy: &Policy, request: &Request<'_>) -> Option<Reason> {
        forbidden(policy, request.intent.host_access())
    }

    fn refuses(&self, policy: &Policy, request: &Request<'_>, facts: &Facts) -> Option<Reason> {
        if let Intent::Network { subnets, .. } = request.intent {
            return covering(policy, subnets, &facts.own_addresses);
        }
        match networks(policy, request.intent, facts) {
            Ok(host_access) => forbidden(policy, &host_access),
            Err(reason) => Some(reason),
        }
    }
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

/// The ways to the host that networks of a service are: each that is not known to be none.
pub(super) fn networks(policy: &Policy, intent: &Intent, facts: &Facts) -> Result<Vec<HostAccess>, Reason> {
    let Intent::Service(Service::Spec { networks, .. }) = intent else { return Ok(Vec::new()) };
    if !policy.looks_at_networks() {
        return Ok(Vec::new());
    }
    // INVARIANT: facts hold every network of the intent, as with images.
    if networks.len() != facts.networks.len() {
        return Err(Reason::Internal);
    }
    let of = |(network, fact): (&String, &NetworkFacts)| {
        let what = match fact {
            NetworkFacts::Ordinary => return None,
            NetworkFacts::Host => "network:host".to_owned(),
            NetworkFacts::Unsure => format!("network:{network}"),
        };
        Some(HostAccess { id: "namespace", what })
    };
    Ok(networks.iter().zip(&facts.networks).filter_map(of).collect())
}
