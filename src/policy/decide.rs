//! The decision: no rule refuses, and those who must vouch do. The last line refuses.

use super::approve::{Kind, approve_all, of_id};
use super::rules::{self, is_allowed_by_setting};
use super::{Approval, BuildRule, ContainerFacts, Facts, Grounds, Policy, Posture, Reason, Request, ServiceFacts, Verdict};
use crate::request::{Intent, PluginCall, PluginChange, Service};

/// The decision. Total: whatever is not allowed by a line of this file is refused. `facts` are what [`super::needs()`] asks for;
/// where that is nothing, their default.
#[must_use]
pub fn decide(policy: &Policy, request: &Request<'_>, facts: &Facts) -> Verdict {
    match grounds(policy, request, facts) {
        Ok(grounds) => Verdict::allowing(grounds),
        Err(reason) => Verdict::refusing(reason, policy.mode),
    }
}

fn grounds(policy: &Policy, request: &Request<'_>, facts: &Facts) -> Result<Grounds, Reason> {
    let forbidden = rules::binding(policy, request).find_map(|rule| rule.forbids(policy, request));
    let unsure = || facts.unknown.clone();
    let refused = || rules::binding(policy, request).find_map(|rule| rule.refuses(policy, request, facts));
    if let Some(reason) = forbidden.or_else(unsure).or_else(refused) {
        return Err(reason);
    }
    let intent = request.intent;
    match intent {
        Intent::Read
        | Intent::Harmless
        | Intent::Rename { .. }
        | Intent::Remove { .. }
        | Intent::Ingest(_)
        | Intent::ContainerAccess(_)
        | Intent::Swarm
        | Intent::Volume { .. }
        | Intent::Network { .. }
        | Intent::NetworkPlugin { .. }
        | Intent::Plugin(
            PluginCall::Create { .. }
            | PluginCall::Change {
                change: PluginChange::Disable | PluginChange::Set | PluginChange::Remove | PluginChange::RemoveByForce,
                ..
            },
        ) => Ok(Grounds::NoImage),
        Intent::Build(_) if policy.build == BuildRule::Deny || policy.posture == Posture::Lockdown => {
            Ok(Grounds::Setting("the user's group is exempt from the rule `build`"))
        }
        Intent::Build(_) => Ok(Grounds::Setting("BUILD=allow")),
        Intent::Plugin(PluginCall::Change { change: PluginChange::Enable, .. }) => match &facts.plugin {
            Some(found) if found.is_known => Ok(Grounds::NoImage),
            Some(found) if is_allowed_by_setting(policy, found) => Ok(Grounds::Setting("ALLOW_PLUGINS")),
            Some(_) | None => Err(Reason::Internal),
        },
        Intent::Pull(_) => approved(policy, facts, 1),
        // A plugin is no image: rules about images say nothing of it.
        Intent::Plugin(PluginCall::Pull { .. } | PluginCall::Upgrade { .. }) => {
            approve_all(policy, facts, 1, Kind::Plugin).map(Grounds::Content)
        }
        Intent::Create(_) | Intent::Service(Service::Spec { .. }) => approved(policy, facts, 1 + intent.named().mounts.len()),
        Intent::Service(Service::Rollback { .. }) => match &facts.service {
            Some(ServiceFacts::Previous { images }) => approved(policy, facts, images.len()),
            Some(ServiceFacts::Missing) | None => Err(Reason::Internal),
        },
        Intent::Start(start) => match &facts.container {
            Some(ContainerFacts::Found { image: Some(_), image_mounts, .. }) => {
                approved(policy, facts, 1 + image_mounts.len()).map_err(|reason| of_id(&start.container, reason))
            }
            Some(ContainerFacts::Found { image: None, .. } | ContainerFacts::Missing) | None => Err(Reason::Internal),
        },
        // A rule has refused these; if it ever does not, silence means no.
        Intent::Unknown { .. } | Intent::Unreadable(_) => Err(Reason::Internal),
    }
}

fn approved(policy: &Policy, facts: &Facts, due: usize) -> Result<Grounds, Reason> {
    let approvals: Vec<Approval> = approve_all(policy, facts, due, Kind::Image)?;
    Ok(Grounds::Content(approvals))
}

/// The decision while the settings are faulty and no earlier good ones are kept: nothing that touches an image may pass, nor
/// what the posture forbids, and the host stays usable otherwise.
#[must_use]
pub fn decide_without_policy(fault: &str, posture: Posture, intent: &Intent) -> Verdict {
    let refusal = match intent {
        Intent::Read
        | Intent::Harmless
        | Intent::Rename { .. }
        | Intent::Remove { .. }
        | Intent::ContainerAccess(_)
        | Intent::Swarm
        | Intent::Volume { .. }
        | Intent::Network { .. }
        | Intent::NetworkPlugin { .. }
        // Settings are fixed by disable, set and enable; a gate that is disabled is not asked about its own enable.
        | Intent::Plugin(PluginCall::Change {
            change: PluginChange::Disable | PluginChange::Set | PluginChange::Remove, ..
        })
        | Intent::Unknown { .. }
        | Intent::Unreadable(_) => forbidden_without_policy(posture, intent).map(|reason| of_fault(reason, fault)),
        Intent::Pull(_)
        | Intent::Create(_)
        | Intent::Start(_)
        | Intent::Service(_)
        | Intent::Build(_)
        | Intent::Ingest(_)
        | Intent::Plugin(
            PluginCall::Create { .. }
            | PluginCall::Pull { .. }
            | PluginCall::Upgrade { .. }
            // Whether a plugin is the gate itself is not known; one that is disabled goes without force.
            | PluginCall::Change { change: PluginChange::Enable | PluginChange::RemoveByForce, .. },
        ) => Some(Reason::SettingFault { fault: fault.to_owned(), posture }),
    };
    refusal.map_or_else(|| Verdict::allowing(Grounds::NoImage), Verdict::Deny)
}

/// Who is refused by the posture that a fault means is told of the fault as well: it is what has to be corrected.
fn of_fault(reason: Reason, fault: &str) -> Reason {
    match reason {
        Reason::PostureForbids { what } => Reason::FaultForbids { what, fault: fault.to_owned() },
        reason => reason,
    }
}

/// What is refused of the calls that touch no image. `ALLOW_HOST_ACCESS` may be what is at fault: none is allowed.
fn forbidden_without_policy(posture: Posture, intent: &Intent) -> Option<Reason> {
    let closed = Policy::closed(posture);
    let request = Request::by_gate(intent);
    let forbidden = rules::binding(&closed, &request).find_map(|rule| rule.forbids(&closed, &request));
    // Whether a plugin is the gate itself is not known: none is changed. Of the others nothing has to be found out.
    forbidden.or_else(|| rules::binding(&closed, &request).find_map(|rule| rule.refuses(&closed, &request, &Facts::default())))
}
