//! What users may do, by who calls and what the call is called ([`Action`]): groups of the policy file, or the users file of
//! authz-broker. Both come to one thing: **the first group that lists the caller decides, alone**. Who is in none may do nothing.
//!
//! Rights only take away: what a user may do is still judged by every rule and by those who vouch.

mod actions;
mod broker;
mod groups;
mod native;
mod pattern;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{Caller, Posture, Reason, Request};
use crate::request::{Action, Intent, PluginCall, PluginChange};
use crate::wire::Call;

use actions::ActionSet;
pub use groups::GroupSetting;

/// How a client without a certificate is written. No CN makes it: a certificate that says `local` is not it.
pub const LOCAL: &str = "local";
/// Most things that are told of one file. Stops a file of another kind from filling the log.
const MAX_REMARKS: usize = 100;

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Users {
    /// By groups.
    Rights(Rights),
    /// What is written is faulty, and no earlier version is kept: calls that read pass, and those by which the gate's settings are
    /// corrected; all others are refused.
    Faulty {
        /// The first fault.
        fault: String,
    },
}

/// Groups, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    groups: Vec<Group>,
    /// The first group that lists a CN.
    named: BTreeMap<String, usize>,
    /// The first that lists callers without a certificate.
    local: Option<usize>,
    /// The first that lists a unit (OU) of certificates.
    units: BTreeMap<String, usize>,
    /// The first that lists everybody.
    everybody: Option<usize>,
}

/// Some users, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    /// File and line.
    place: String,
    may: ActionSet,
    /// Only what reads of that.
    reads_only: bool,
    /// Scopes that they may use; `None`: all.
    scopes: Option<Vec<String>>,
    /// Ids of rules that do not bind them.
    exempt_from: Vec<String>,
    /// What is wrong with it: it allows nothing, and still decides for those whom it lists.
    fault: Option<String>,
}

/// Something to report about what is written: a fault, or what does perhaps not mean what it seems to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Remark {
    /// File and line.
    pub place: String,
    /// What is wrong, and what it should be.
    pub message: String,
}

/// Why a user's rights do not cover a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forbidden {
    /// No group lists them.
    NotListed,
    /// The certificate has no name.
    Nameless,
    /// Groups list units, and the certificate does not say which it has.
    Unreadable,
    /// Their group has not this action.
    Action {
        /// The group.
        by: String,
    },
    /// Their group only reads.
    ReadOnly {
        /// The group.
        by: String,
    },
    /// Their group is faulty.
    Faulty {
        /// The group.
        by: String,
        /// What is wrong.
        fault: String,
    },
    /// Their group has not this scope.
    Scope {
        /// The scope's name; `None` where it has none.
        scope: Option<String>,
        /// The group.
        by: String,
    },
}

/// How a caller is decided about.
enum Decider<'u> {
    /// Nobody has to.
    None,
    /// This group.
    Group(&'u Group),
    /// There is no group for it.
    Refused(Forbidden),
}

impl Users {
    /// The groups of a policy file, and what is to be said of them; or all faults. `liftable`: ids of rules from which groups may be
    /// exempt.
    pub fn of_groups(groups: Vec<GroupSetting>, liftable: &[&str]) -> Result<(Self, Vec<Remark>), Vec<Remark>> {
        groups::resolve(groups, liftable).map(|(rights, remarks)| (Self::Rights(rights), remarks))
    }

    /// authz-broker's users file, `name` being what it is called in reports; what is to be said of its lines; or why it cannot be used
    /// at all.
    pub fn of_broker_file(name: &str, bytes: &[u8]) -> Result<(Self, Vec<Remark>), Remark> {
        broker::read(name, bytes).map(|(rights, remarks)| (Self::Rights(rights), remarks))
    }

    /// Groups of a policy file that mean the same, if there are such; else why not.
    pub(super) fn as_groups(&self) -> Result<Vec<GroupSetting>, String> {
        match self {
            Self::Rights(rights) => native::groups(rights),
            Self::Faulty { fault } => Err(fault.clone()),
        }
    }

    /// Why the caller may not do this, if so. Asked before anything is found out.
    pub(super) fn refusal(&self, request: &Request<'_>, posture: Posture) -> Option<Reason> {
        match self {
            Self::Rights(rights) => {
                let why = match rights.decider(request) {
                    Decider::None => None,
                    Decider::Group(group) => group.forbids(request.action()),
                    Decider::Refused(why) => Some(why),
                };
                why.map(|why| forbidden(request, why))
            }
            Self::Faulty { fault } => {
                let passes = request.caller == Caller::Gate || passes_a_fault(request.intent, posture);
                (!passes).then(|| Reason::SettingFault { fault: fault.clone(), posture })
            }
        }
    }

    /// Why the caller may not use a scope, if so: asked for each repository that is to vouch, with its scope's name where it has one.
    #[must_use]
    pub fn scope_refusal(&self, request: &Request<'_>, scope: Option<&str>) -> Option<Reason> {
        let Self::Rights(rights) = self else { return None };
        let why = match rights.decider(request) {
            Decider::None => return None,
            Decider::Refused(why) => why,
            Decider::Group(group) => {
                let scopes = group.scopes.as_ref()?;
                if scope.is_some_and(|scope| scopes.iter().any(|own| own == scope)) {
                    return None;
                }
                Forbidden::Scope { scope: scope.map(str::to_owned), by: group.told() }
            }
        };
        Some(forbidden(request, why))
    }

    /// Ids of the rules that do not bind the caller.
    #[must_use]
    pub fn exempt_from(&self, request: &Request<'_>) -> &[String] {
        match self {
            Self::Rights(rights) => match rights.decider(request) {
                Decider::Group(group) => &group.exempt_from,
                Decider::None | Decider::Refused(_) => &[],
            },
            Self::Faulty { .. } => &[],
        }
    }

    /// Whether it matters which units (OU) a certificate has.
    #[must_use]
    pub fn asks_for_units(&self) -> bool {
        match self {
            Self::Rights(rights) => !rights.units.is_empty(),
            Self::Faulty { .. } => false,
        }
    }

    /// Which group decides for a caller, in words.
    #[must_use]
    pub fn told(&self, request: &Request<'_>) -> String {
        match self {
            Self::Rights(rights) => match rights.decider(request) {
                Decider::None => "rights of users do not bind the gate".to_owned(),
                Decider::Group(group) => format!("the group {} decides", group.told()),
                Decider::Refused(_) => "no group decides, so everything is refused".to_owned(),
            },
            Self::Faulty { fault } => format!("faulty ({fault}): what changes something is refused"),
        }
    }

    /// Every scope that some group may use by name, with the group: whether there is one of that name, who reads the scopes knows.
    pub fn scopes(&self) -> impl Iterator<Item = (&str, String)> {
        let groups = match self {
            Self::Rights(rights) => rights.groups.as_slice(),
            Self::Faulty { .. } => &[],
        };
        groups.iter().flat_map(|group| group.scopes.iter().flatten().map(|scope| (scope.as_str(), group.told())))
    }
}

impl Rights {
    fn decider(&self, request: &Request<'_>) -> Decider<'_> {
        let first = match request.caller {
            Caller::Gate => return Decider::None,
            Caller::Nameless => return Decider::Refused(Forbidden::Nameless),
            Caller::Local => self.local,
            Caller::Named(name) => {
                // Only a call shows a certificate, and it is read only where that matters.
                let units = match request.call.filter(|_| !self.units.is_empty()).map(Call::units) {
                    Some(None) => return Decider::Refused(Forbidden::Unreadable),
                    Some(Some(units)) => units,
                    None => request.units.to_vec(),
                };
                let of_units = units.iter().filter_map(|unit| self.units.get(unit));
                self.named.get(name).into_iter().chain(of_units).min().copied()
            }
        };
        let first = first.into_iter().chain(self.everybody).min();
        match first.and_then(|first| self.groups.get(first)) {
            Some(group) => Decider::Group(group),
            None => Decider::Refused(Forbidden::NotListed),
        }
    }

    /// Adds a group behind all others.
    fn push(&mut self, group: Group) -> usize {
        self.groups.push(group);
        self.groups.len() - 1
    }

    /// Lists a caller in a group, unless an earlier one has it: then that.
    fn list(&mut self, user: Listed, group: usize) -> Option<usize> {
        let first = match user {
            Listed::Local => self.local.get_or_insert(group),
            Listed::Everybody => self.everybody.get_or_insert(group),
            Listed::Named(name) => self.named.entry(name).or_insert(group),
            Listed::Unit(unit) => self.units.entry(unit).or_insert(group),
        };
        (*first != group).then_some(*first)
    }

    fn told(&self, group: usize) -> String {
        self.groups.get(group).map(Group::told).unwrap_or_default()
    }
}

/// Whom a group lists.
enum Listed {
    /// Callers without a certificate.
    Local,
    /// A CN.
    Named(String),
    /// Whoever has this unit (OU) in the certificate.
    Unit(String),
    /// Every caller that has a name, or no certificate.
    Everybody,
}

impl Group {
    fn forbids(&self, action: Action) -> Option<Forbidden> {
        let by = || self.told();
        if let Some(fault) = &self.fault {
            return Some(Forbidden::Faulty { by: by(), fault: fault.clone() });
        }
        if self.may.contains(action) {
            return None;
        }
        // What it lists has been cut down to what reads.
        Some(if self.reads_only && !action.reads() { Forbidden::ReadOnly { by: by() } } else { Forbidden::Action { by: by() } })
    }

    fn told(&self) -> String {
        if self.name.is_empty() { self.place.clone() } else { format!("{} ({})", self.name, self.place) }
    }
}

fn forbidden(request: &Request<'_>, why: Forbidden) -> Reason {
    let user = match request.caller {
        Caller::Named(name) => Some(name.to_owned()),
        Caller::Gate | Caller::Local | Caller::Nameless => None,
    };
    Reason::UserForbidden { user, action: request.action().name(), why }
}

/// What passes while nobody knows who may do what.
fn passes_a_fault(intent: &Intent, posture: Posture) -> bool {
    match intent {
        Intent::Read => true,
        // By these the gate's settings are corrected.
        Intent::Plugin(PluginCall::Change {
            change: PluginChange::Disable | PluginChange::Set | PluginChange::Remove, ..
        }) => posture == Posture::Images,
        Intent::Plugin(
            PluginCall::Change { change: PluginChange::Enable | PluginChange::RemoveByForce, .. }
            | PluginCall::Create { .. }
            | PluginCall::Pull { .. }
            | PluginCall::Upgrade { .. },
        )
        | Intent::Harmless
        | Intent::Pull(_)
        | Intent::Create(_)
        | Intent::Start(_)
        | Intent::Rename { .. }
        | Intent::Remove { .. }
        | Intent::Service(_)
        | Intent::Build(_)
        | Intent::Ingest(_)
        | Intent::ContainerAccess(_)
        | Intent::Swarm
        | Intent::Volume { .. }
        | Intent::Network { .. }
        | Intent::NetworkPlugin { .. }
        | Intent::Unknown { .. }
        | Intent::Unreadable(_) => false,
    }
}

/// Cut to what is told.
fn bounded(mut remarks: Vec<Remark>) -> Vec<Remark> {
    let more = remarks.len().saturating_sub(MAX_REMARKS);
    if more > 0 {
        remarks.truncate(MAX_REMARKS);
        if let Some(last) = remarks.last().cloned() {
            remarks.push(Remark { message: format!("and {more} more like these"), ..last });
        }
    }
    remarks
}
