//! The rights of a users file as groups of the policy file, where these can say exactly the same.

use super::actions::ActionSet;
use super::{GroupSetting, LOCAL, Rights};
use crate::request::Action;

/// Groups that mean the same; or why there are none.
pub(super) fn groups(rights: &Rights) -> Result<Vec<GroupSetting>, String> {
    let mut users: Vec<Vec<String>> = vec![Vec::new(); rights.groups.len()];
    let mut list = |group: usize, user: &str| {
        if let Some(users) = users.get_mut(group) {
            users.push(user.to_owned());
        }
    };
    for (name, group) in &rights.named {
        if matches!(name.as_str(), LOCAL | "*") {
            return Err(format!("it lists a user whose CN is `{name}`, which means something else in groups"));
        }
        list(*group, name);
    }
    if let Some(group) = rights.local {
        list(group, LOCAL);
    }
    let (mut groups, mut mays): (Vec<GroupSetting>, Vec<ActionSet>) = (Vec::new(), Vec::new());
    for (group, users) in rights.groups.iter().zip(users).filter(|(_, users)| !users.is_empty()) {
        if let Some(fault) = &group.fault {
            return Err(format!("{}: {fault}", group.place));
        }
        let is_free = !group.name.trim().is_empty() && groups.iter().all(|other| other.name != group.name);
        groups.push(GroupSetting {
            name: if is_free { group.name.clone() } else { group.place.clone() },
            place: group.place.clone(),
            users,
            units: Vec::new(),
            actions: words(&group.may),
            read_only: group.reads_only,
            scopes: None,
            exempt_from: Vec::new(),
        });
        mays.push(group.may);
    }
    let (read, _) = super::groups::resolve(groups.clone(), &[])
        .map_err(|faults| faults.first().map(ToString::to_string).unwrap_or_default())?;
    for (group, may) in read.groups.iter().zip(mays) {
        if let Some(action) = Action::all().find(|action| group.may.contains(*action) != may.contains(*action)) {
            let (place, method, name) = (&group.place, action.method(), action.name());
            return Err(if may.contains(action) {
                format!("{place}: no word of groups means `{name}` by {method} alone")
            } else {
                format!("{place}: a group may also do `{name}` by {method}, which this line does not say")
            });
        }
    }
    Ok(groups)
}

/// The words for a set: `*`, or each name of which all calls are in it.
fn words(may: &ActionSet) -> Vec<String> {
    if *may == ActionSet::of(|_| true) {
        return vec!["*".to_owned()];
    }
    let is_whole = |name: &str| Action::all().filter(|action| action.name() == name).all(|action| may.contains(action));
    let mut names: Vec<&str> = Action::all().map(Action::name).filter(|name| is_whole(name)).collect();
    names.dedup();
    names.into_iter().map(str::to_owned).collect()
}
