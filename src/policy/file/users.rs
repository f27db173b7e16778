//! `[users]`: who may do what, by groups or by the file of authz-broker (docs/policy.md, "Users").

use std::path::PathBuf;

use super::table::{Section, Value};
use crate::policy::fault::{PolicyFault, Position};
use crate::policy::rules::exemptible;
use crate::policy::scope::Scope;
use crate::policy::users::{GroupSetting, Remark, Users};

/// Most groups, and most entries of each list of a group.
const GROUPS: usize = 1_000;
const ENTRIES: usize = 10_000;

/// What is written about users.
pub(super) enum Written {
    /// Groups, with where each is written.
    Groups(Vec<(GroupSetting, Position)>),
    /// The file of authz-broker.
    File(PathBuf),
}

/// Reads the section.
pub(super) fn read(section: Section<'_>) -> Option<Written> {
    let file = section.get("file");
    let groups = section.get("group");
    let written = match (&file, &groups) {
        (Some(file), None) => file.path().map(Written::File),
        (None, Some(groups)) => Some(Written::Groups(groups.list(GROUPS).unwrap_or_default().iter().filter_map(group).collect())),
        (Some(_), Some(groups)) => {
            groups.fault("stands beside `file`; the users are in one of both");
            None
        }
        (None, None) => {
            section.fault("has neither `file` nor groups (`[[users.group]]`)");
            None
        }
    };
    section.finish();
    written
}

fn group(value: &Value<'_>) -> Option<(GroupSetting, Position)> {
    let section = value.section()?;
    let texts = |value: Value<'_>| -> Vec<String> {
        let values = value.list(ENTRIES).unwrap_or_default();
        values.iter().filter_map(Value::text).map(str::to_owned).collect()
    };
    let position = section.position();
    let setting = GroupSetting {
        name: section.required("name").and_then(|value| value.text()).unwrap_or_default().to_owned(),
        place: position.short(),
        users: section.get("users").map(texts).unwrap_or_default(),
        units: section.get("units").map(texts).unwrap_or_default(),
        actions: section.required("actions").map(texts).unwrap_or_default(),
        read_only: section.get("read_only").and_then(|value| value.truth()).unwrap_or_default(),
        scopes: section.get("scopes").map(texts),
        exempt_from: section.get("exempt_from").map(texts).unwrap_or_default(),
    };
    section.finish();
    Some((setting, position))
}

/// The groups, given the scopes that there are; what is odd about them goes to `warnings`.
pub(super) fn resolve(
    groups: Vec<(GroupSetting, Position)>,
    scopes: &[Scope],
    warnings: &mut Vec<PolicyFault>,
) -> Result<Users, Vec<PolicyFault>> {
    let (settings, positions): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
    let placed = |remark: Remark| {
        let fault = PolicyFault::of("users.group", remark.message);
        match positions.iter().find(|position| position.short() == remark.place) {
            Some(position) => fault.at(position.clone()),
            None => fault,
        }
    };
    let (users, remarks) = Users::of_groups(settings, &exemptible()).map_err(|faults| {
        let faults: Vec<PolicyFault> = faults.into_iter().map(&placed).collect();
        faults
    })?;
    warnings.extend(remarks.into_iter().map(&placed));
    let is_there = |name: &str| scopes.iter().any(|scope| scope.name.as_deref() == Some(name));
    let missing: Vec<PolicyFault> = users
        .scopes()
        .filter(|(name, _)| !is_there(name))
        .map(|(name, group)| PolicyFault::of("users.group.scopes", format!("there is no scope called `{name}`: {group}")))
        .collect();
    if missing.is_empty() { Ok(users) } else { Err(missing) }
}
