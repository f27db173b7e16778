//! The decision: no rule refuses, and those who must vouch do. The last line refuses.

use super::approve::{Kind, approve_all, of_id};
use super::rules::{self, create, is_allowed_by_setting};
use super::{
    Approval, BuildRule, ContainerFacts, Facts, Finding, Grounds, ImageFacts, Local, Policy, Posture, Reason, Request,
    ServiceFacts, Users, Verdict,
};
use crate::request::{Intent, PluginCall, PluginChange, Service};

/// The decision. Total: whatever is not allowed by a line of this file is refused. `facts` are what [`super::needs()`] asks for;
/// where that is nothing, their default.
#[must_use]
pub fn decide(policy: &Policy, request: &Request<'_>, facts: &Facts) -> Verdict {
    let judged = grounds(policy, request, facts).and_then(|mut grounds| {
        let warnings = keeps_create_rules(policy, request, facts, &mut grounds)?;
        Ok(Verdict::allowing_with(grounds, warnings))
    });
    match judged {
        Ok(verdict) => verdict,
        Err(reason) => Verdict::refusing(reason, policy.mode),
    }
}

fn grounds(policy: &Policy, request: &Request<'_>, facts: &Facts) -> Result<Grounds, Reason> {
    let forbidden = rules::forbid(policy, request);
    let unsure = || facts.unknown.clone();
    let refused = || rules::refuse(policy, request, facts);
    let by_rego = || refused_by_rego(policy, request, facts);
    if let Some(reason) = forbidden.or_else(by_rego).or_else(unsure).or_else(refused) {
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
        Intent::Pull(_) => approved(policy, request, facts, 1, Kind::Image),
        // A plugin is no image: rules about images say nothing of it.
        Intent::Plugin(PluginCall::Pull { .. } | PluginCall::Upgrade { .. }) => approved(policy, request, facts, 1, Kind::Plugin),
        Intent::Create(_) | Intent::Service(Service::Spec { .. }) => {
            approved(policy, request, facts, 1 + intent.named().mounts.len(), Kind::Image)
        }
        Intent::Service(Service::Rollback { .. }) => match &facts.service {
            Some(ServiceFacts::Previous { images }) => approved(policy, request, facts, images.len(), Kind::Image),
            Some(ServiceFacts::Missing) | None => Err(Reason::Internal),
        },
        Intent::Start(start) => match &facts.container {
            Some(ContainerFacts::Found { image: Some(_), image_mounts, .. }) => {
                approved(policy, request, facts, 1 + image_mounts.len(), Kind::Image)
                    .map_err(|reason| of_id(&start.container, reason))
            }
            Some(ContainerFacts::Found { image: None, .. } | ContainerFacts::Missing) | None => Err(Reason::Internal),
        },
        // A rule has refused these; if it ever does not, silence means no.
        Intent::Unknown { .. } | Intent::Unreadable(_) => Err(Reason::Internal),
    }
}

fn approved(policy: &Policy, request: &Request<'_>, facts: &Facts, due: usize, kind: Kind) -> Result<Grounds, Reason> {
    let approvals: Vec<Approval> = approve_all(policy, facts, due, kind)?;
    if let Some(users) = &policy.users {
        let of = |approval: &Approval| {
            let scope = approval.repository.as_ref().and_then(|repository| policy.scope(repository));
            let scope = scope.and_then(|scope| scope.name.as_deref());
            users.scope_refusal(request, scope)
        };
        if let Some(reason) = approvals.iter().find_map(of) {
            return Err(reason);
        }
    }
    if policy.rego.as_ref().is_some_and(|rego| rego.asks_of_images()) {
        facts.images.iter().try_for_each(passed_by_rego)?;
    }
    Ok(Grounds::Content(approvals))
}

/// Whether a call keeps the rules about containers: those of the scope of the repository that vouched for what runs, or of all scopes
/// where it names no image, or none has vouched. What it does not keep of those that only warn, or that exceptions lift, it is allowed with.
fn keeps_create_rules(
    policy: &Policy,
    request: &Request<'_>,
    facts: &Facts,
    grounds: &mut Grounds,
) -> Result<Vec<Finding>, Reason> {
    match grounds {
        Grounds::Content(approvals) => {
            let approval = approvals.first_mut().ok_or(Reason::Internal)?;
            let Some(repository) = &approval.repository else {
                let mut warnings: Vec<Finding> = Vec::new();
                for scope in policy.scopes.with_create_rules() {
                    let found = create::of_content(policy, request, scope, facts, &mut approval.exceptions)?;
                    warnings.extend(
                        found
                            .into_iter()
                            .filter(|finding| !warnings.iter().any(|known| known.rule == finding.rule))
                            .collect::<Vec<_>>(),
                    );
                }
                return Ok(warnings);
            };
            let scope = policy.scope(repository).ok_or(Reason::Internal)?;
            create::of_content(policy, request, scope, facts, &mut approval.exceptions)
        }
        Grounds::NoImage => create::of_no_image(policy, request),
        Grounds::Setting(_) => Ok(Vec::new()),
    }
}

/// What the rules in Rego say of a call. What the gate judges of its own accord is no call, and they are not asked.
fn refused_by_rego(policy: &Policy, request: &Request<'_>, facts: &Facts) -> Option<Reason> {
    policy.rego.as_ref()?;
    request.call?;
    match &facts.rego {
        Some(Ok(_)) => None,
        Some(Err(refusal)) => Some(Reason::Rego(refusal.clone())),
        None => Some(Reason::Internal),
    }
}

/// What they say of an image. Of one that is not here yet the engine makes nothing: it is asked about when it is pulled, and when it
/// is started.
fn passed_by_rego(image: &ImageFacts) -> Result<(), Reason> {
    match (&image.rego, &image.local) {
        (Some(Ok(_)), _) | (None, Local::Absent) => Ok(()),
        (Some(Err(refusal)), _) => Err(Reason::Rego(refusal.clone())),
        (None, Local::NotAsked | Local::Present { .. }) => Err(Reason::Internal),
    }
}

/// The decision while the settings are faulty and no earlier good ones are kept: nothing that touches an image may pass, nor
/// what the posture forbids; where users have rights (`rights`), only what reads; and the host stays usable otherwise.
#[must_use]
pub fn decide_without_policy(fault: &str, posture: Posture, rights: bool, request: &Request<'_>) -> Verdict {
    let intent = request.intent;
    if rights && let Some(reason) = (Users::Faulty { fault: fault.to_owned() }).refusal(request, posture) {
        return Verdict::Deny(reason);
    }
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
    let forbidden = rules::forbid(&closed, &request);
    // Whether a plugin is the gate itself is not known: none is changed. Of the others nothing has to be found out.
    forbidden.or_else(|| rules::refuse(&closed, &request, &Facts::default()))
}
