//! Rules: each refuses some calls, and none lets one pass. What no rule refuses is decided by who vouches ([`super::decide()`]).

mod build;
pub(super) mod create;
mod create_ids;
mod findings;
mod host_access;
pub(super) mod image;
mod image_ids;
mod ingest;
mod levels;
mod malformed;
mod pinning;
mod plugins;
mod registry;
mod users;

use std::fmt;
use std::sync::Arc;

use super::{Facts, Policy, Reason, Request};

pub use findings::RuleId;
pub use levels::{RuleInForce, RuleSet};
pub(super) use plugins::is_allowed_by_setting;

/// One rule.
pub trait Rule: fmt::Debug + Send + Sync {
    /// What it is called.
    fn id(&self) -> &'static str;

    /// Why a call may not pass, as far as policy and call alone say so. Asked first, and before anything is found out.
    fn forbids(&self, policy: &Policy, request: &Request<'_>) -> Option<Reason>;

    /// Why it may not pass, by what was found out. Of calls that need no facts ([`super::needs()`]) that is nothing: the default.
    fn refuses(&self, policy: &Policy, request: &Request<'_>, facts: &Facts) -> Option<Reason> {
        let _ = (policy, request, facts);
        None
    }
}

/// The rules that every gate has, in the order in which they are asked: of several that refuse a call, the first says why.
pub(super) const BUILT_IN: [&dyn Rule; 8] = [
    &users::UserRights,
    &malformed::Malformed,
    &pinning::Pinning,
    &host_access::HostAccessRules,
    &ingest::Ingests,
    &build::Builds,
    &plugins::Plugins,
    &registry::Registries,
];

/// Rules that somebody adds.
#[derive(Debug, Clone, Default)]
pub struct FurtherRules(Vec<Arc<dyn Rule>>);

impl FurtherRules {
    /// Adds one; it is asked after all others.
    pub fn add(&mut self, rule: Arc<dyn Rule>) {
        self.0.push(rule);
    }
}

/// By name: a rule of one name says one thing.
impl PartialEq for FurtherRules {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|rule| rule.id()).eq(other.0.iter().map(|rule| rule.id()))
    }
}

impl Eq for FurtherRules {}

/// The built-in rules from which users may be exempt. The others say what cannot be read or judged, or keep the gate in its place.
pub const LIFTABLE: [&str; 3] = ["host-access", "ingest", "build"];

/// Every rule from which users may be exempt: those, and rules about what a call asks for of containers.
#[must_use]
pub fn exemptible() -> Vec<&'static str> {
    LIFTABLE.into_iter().chain(create::CreateRuleId::ALL.into_iter().map(|id| id.about().id)).collect()
}

/// Why a call may not pass, by the first rule that says so ([`Rule::forbids`]).
pub(super) fn forbid(policy: &Policy, request: &Request<'_>) -> Option<Reason> {
    first(policy, request, |rule| rule.forbids(policy, request))
}

/// The same by what was found out ([`Rule::refuses`]).
pub(super) fn refuse(policy: &Policy, request: &Request<'_>, facts: &Facts) -> Option<Reason> {
    first(policy, request, |rule| rule.refuses(policy, request, facts))
}

/// What the first of the rules says that bind who asks.
fn first(policy: &Policy, request: &Request<'_>, says: impl Fn(&dyn Rule) -> Option<Reason>) -> Option<Reason> {
    let exempt_from = policy.users.as_ref().map_or(&[][..], |users| users.exempt_from(request));
    let asked = |rule: &dyn Rule| if exempt_from.iter().any(|id| id == rule.id()) { None } else { says(rule) };
    // Plain loops: every decision asks all rules several times.
    for rule in BUILT_IN {
        if let Some(reason) = asked(rule) {
            return Some(reason);
        }
    }
    policy.rules.0.iter().find_map(|rule| asked(&**rule))
}
