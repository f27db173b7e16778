//! Groups of users as the policy file has them.

use super::actions::{self, ActionSet};
use super::{Group, LOCAL, Listed, Remark, Rights, bounded};
use crate::request::Action;
use crate::text::clean;

/// Most groups, and most users of all of them. Stops a paste accident from becoming the policy.
const MAX_GROUPS: usize = 1_000;
const MAX_USERS: usize = 100_000;
/// Longest name of a group or a user, in bytes.
const NAME_BYTES: usize = 1_024;
/// What everybody in a group may do: the command line asks it before anything else.
const PING: &str = "docker_ping";

/// A group as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupSetting {
    /// What it is called in refusals.
    pub name: String,
    /// File and line, for reports.
    pub place: String,
    /// CNs of client certificates; `local`: calls without one; `*`: everybody.
    pub users: Vec<String>,
    /// Units (OU) of client certificates.
    pub units: Vec<String>,
    /// Names of actions, `container_run`, `container_rm`, what several names begin with (`container`), `*`.
    pub actions: Vec<String>,
    /// Whether they may only read.
    pub read_only: bool,
    /// Names of the scopes that they may use; `None`: all.
    pub scopes: Option<Vec<String>>,
    /// Ids of rules that do not bind them.
    pub exempt_from: Vec<String>,
}

pub(super) fn resolve(settings: Vec<GroupSetting>, liftable: &[&str]) -> Result<(Rights, Vec<Remark>), Vec<Remark>> {
    let (mut rights, mut faults, mut remarks) = (Rights::default(), Vec::new(), Vec::new());
    let users: usize = settings.iter().map(|setting| setting.users.len() + setting.units.len()).sum();
    if settings.len() > MAX_GROUPS || users > MAX_USERS {
        let place = settings.first().map(|setting| setting.place.clone()).unwrap_or_default();
        let message = format!("more than {MAX_GROUPS} groups, or {MAX_USERS} users in them");
        return Err(vec![Remark { place, message }]);
    }
    let mut names: Vec<String> = Vec::new();
    for setting in settings {
        let mut fault = |message: String| faults.push(Remark { place: setting.place.clone(), message });
        if setting.name.trim().is_empty() || setting.name.len() > NAME_BYTES {
            fault(format!("name: a group needs a name of at most {NAME_BYTES} bytes"));
        } else if names.contains(&setting.name) {
            fault(format!("name: another group is called `{}`", clean(&setting.name)));
        }
        if setting.users.is_empty() && setting.units.is_empty() {
            fault(format!(
                "users: list at least one (a certificate's CN, `{LOCAL}` for calls without a certificate, `*`), or one of `units`"
            ));
        }
        let may = actions_of(&setting.actions, &mut fault);
        for rule in setting.exempt_from.iter().filter(|rule| !liftable.contains(&rule.as_str())) {
            let known = liftable.join(", ");
            fault(format!("exempt_from: `{}` is not a rule that can be lifted for users; there are {known}", clean(rule)));
        }
        let may = if setting.read_only { may.and(&ActionSet::of(Action::reads)) } else { may };
        let group = rights.push(Group {
            name: setting.name.clone(),
            place: setting.place.clone(),
            may,
            reads_only: setting.read_only,
            scopes: setting.scopes,
            exempt_from: setting.exempt_from,
            fault: None,
        });
        for user in setting.users {
            let listed = match user.as_str() {
                "" => {
                    fault(format!("users: \"\" is not a CN; write `{LOCAL}` for calls without a certificate"));
                    continue;
                }
                LOCAL => Listed::Local,
                "*" => Listed::Everybody,
                name if name.len() > NAME_BYTES => {
                    fault(format!("users: `{}` is longer than {NAME_BYTES} bytes", clean(name)));
                    continue;
                }
                name => Listed::Named(name.to_owned()),
            };
            let told = clean(&user);
            if let Some(first) = rights.list(listed, group) {
                let message = format!("users: `{told}` is in {} already, which decides; this group does not", rights.told(first));
                remarks.push(Remark { place: setting.place.clone(), message });
            }
        }
        for unit in setting.units {
            if unit.is_empty() || unit.len() > NAME_BYTES {
                fault(format!("units: `{}` is not a unit (OU) of a certificate of at most {NAME_BYTES} bytes", clean(&unit)));
                continue;
            }
            let told = clean(&unit);
            if let Some(first) = rights.list(Listed::Unit(unit), group) {
                let message = format!("units: `{told}` is in {} already, which decides; this group does not", rights.told(first));
                remarks.push(Remark { place: setting.place.clone(), message });
            }
        }
        names.push(setting.name);
    }
    if rights.local.is_none() && rights.everybody.is_none() {
        let place = rights.groups.first().map_or("[users]".to_owned(), |group| group.place.clone());
        let message = format!("no group lists `{LOCAL}`: calls on the local socket are refused, those of root too");
        remarks.insert(0, Remark { place, message });
    }
    if faults.is_empty() { Ok((rights, bounded(remarks))) } else { Err(bounded(faults)) }
}

fn actions_of(words: &[String], fault: &mut impl FnMut(String)) -> ActionSet {
    let mut may = ActionSet::of(|action| action.name() == PING);
    for word in words {
        match ActionSet::of_word(word) {
            Some(actions) => may = may.or(&actions),
            None => {
                let hint = actions::nearest(word).map(|name| format!("; is `{name}` meant?")).unwrap_or_default();
                fault(format!("actions: `{}` is not an action{hint}", clean(word)));
            }
        }
    }
    may
}
