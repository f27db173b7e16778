//! Builds, whose base images no plugin sees.

use super::{Policy, Reason, Request, Rule};
use crate::policy::{BuildRule, Posture};
use crate::request::{Build, Intent};

#[derive(Debug)]
pub(super) struct Builds;

impl Rule for Builds {
    fn id(&self) -> &'static str {
        "build"
    }

    fn forbids(&self, policy: &Policy, request: &Request<'_>) -> Option<Reason> {
        let Intent::Build(build) = request.intent else { return None };
        match (policy.posture, policy.build) {
            (Posture::Images, BuildRule::Allow) => None,
            (Posture::Lockdown, _) | (_, BuildRule::Deny) => Some(Reason::BuildDenied {
                what: match build {
                    Build::Classic => "a build",
                    Build::Session => "a BuildKit session",
                    Build::Grpc => "a BuildKit connection",
                },
            }),
        }
    }
}
