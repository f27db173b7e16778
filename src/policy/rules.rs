//! Rules: each refuses some calls, and none lets one pass. What no rule refuses is decided by who vouches ([`super::decide()`]).

mod build;
mod host_access;
pub(super) mod image;
mod ingest;
mod malformed;
mod pinning;
mod plugins;
mod registry;
mod users;

use std::fmt;
use std::sync::Arc;

use super::{Approval, Facts, Policy, Reason, Request};

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

    /// Why what is vouched for may not be used so. Asked last, of what an exception for that very content may lift: those are with the
    /// approvals, the first of which is what runs.
    fn refuses_content(&self, policy: &Policy, request: &Request<'_>, approvals: &mut [Approval]) -> Option<Reason> {
        let _ = (policy, request, approvals);
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

/// What the rule about ways to the host is called, which exceptions may lift as well.
pub(super) const HOST_ACCESS: &str = "host-access";
/// The built-in rules from which users may be exempt. The others say what cannot be read or judged, or keep the gate in its place.
pub const LIFTABLE: [&str; 3] = [HOST_ACCESS, "ingest", "build"];

/// The rules of a policy that bind who asks.
pub(super) fn binding<'p>(policy: &'p Policy, request: &Request<'p>) -> impl Iterator<Item = &'p dyn Rule> {
    let exempt_from = policy.users.as_ref().map_or(&[][..], |users| users.exempt_from(request.caller));
    let binds = move |rule: &&dyn Rule| !exempt_from.iter().any(|id| id == rule.id());
    BUILT_IN.into_iter().chain(policy.rules.0.iter().map(|rule| &**rule)).filter(binds)
}
