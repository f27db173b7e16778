//! The users file of authz-broker.

use super::draft::Draft;
use super::{ImportError, form, json};
use crate::policy::users::Users;

/// What it is called beside the policy, and in reports.
const FILE: &str = "users.jsonl";

/// Whether a line is one of that broker's.
pub(super) fn is_one(text: &str) -> bool {
    let is_line = |line: &str| {
        let json = json::read(line);
        json.is_ok_and(|json| json.get("actions").is_some() || json.get("users").is_some())
    };
    text.lines().filter(|line| line.trim_start().starts_with('{')).any(is_line)
}

pub(super) fn read(text: &str, draft: &mut Draft) -> Result<(), ImportError> {
    let (users, remarks) = Users::of_broker_file(FILE, text.as_bytes()).map_err(|remark| form(remark.place, remark.message))?;
    for remark in remarks {
        draft.leave_out(remark.place, remark.message);
    }
    match users.as_groups() {
        Ok(groups) if groups.is_empty() => draft.users_file(FILE, text.to_owned()),
        Ok(groups) => draft.groups(&groups),
        Err(why) => {
            draft.leave_out(
                FILE,
                format!("stays a file, which the gate reads with its exact meaning; groups cannot say the same: {why}"),
            );
            draft.users_file(FILE, text.to_owned());
        }
    }
    draft.leave_out(FILE, "says nothing of images, and without a scope every image is refused: add verifiers and scopes");
    Ok(())
}
