//! What users may do (`[users]`). Asked before every other rule: who may not do a thing learns nothing else about it.

use super::{Policy, Reason, Request, Rule};

#[derive(Debug)]
pub(super) struct UserRights;

impl Rule for UserRights {
    fn id(&self) -> &'static str {
        "users"
    }

    fn forbids(&self, policy: &Policy, request: &Request<'_>) -> Option<Reason> {
        policy.users.as_ref()?.refusal(request, policy.posture)
    }
}
