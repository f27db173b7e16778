//! In posture `lockdown`: calls that bring content in past every verifier, drive what runs beyond its own means, or change the host.

use super::{Policy, Reason, Request, Rule};
use crate::policy::Posture;
use crate::request::{ContainerAccess, Ingest, Intent};

#[derive(Debug)]
pub(super) struct Ingests;

impl Rule for Ingests {
    fn id(&self) -> &'static str {
        "ingest"
    }

    fn forbids(&self, policy: &Policy, request: &Request<'_>) -> Option<Reason> {
        let what = match request.intent {
            Intent::Ingest(Ingest::Load) => "loading images from an archive".to_owned(),
            Intent::Ingest(Ingest::Import) => "importing an image".to_owned(),
            Intent::Ingest(Ingest::Commit) => "committing a container to an image".to_owned(),
            Intent::Ingest(Ingest::Tag { .. }) => "naming an image".to_owned(),
            Intent::ContainerAccess(ContainerAccess::PrivilegedExec { .. }) => "a privileged exec".to_owned(),
            Intent::ContainerAccess(ContainerAccess::PutArchive) => "putting files into a container".to_owned(),
            Intent::ContainerAccess(ContainerAccess::Checkpoint) => "checkpoints".to_owned(),
            Intent::Swarm => "swarm membership changes".to_owned(),
            Intent::NetworkPlugin { driver } => format!("network driver {driver}"),
            Intent::ContainerAccess(ContainerAccess::Exec { .. } | ContainerAccess::Attach | ContainerAccess::Update(_))
            | Intent::Read
            | Intent::Harmless
            | Intent::Pull(_)
            | Intent::Create(_)
            | Intent::Start(_)
            | Intent::Service(_)
            | Intent::Rename { .. }
            | Intent::Remove { .. }
            | Intent::Build(_)
            | Intent::Plugin(_)
            | Intent::Volume { .. }
            | Intent::Network { .. }
            | Intent::Unknown { .. }
            | Intent::Unreadable(_) => return None,
        };
        match policy.posture {
            Posture::Images => None,
            Posture::Lockdown => Some(Reason::PostureForbids { what }),
        }
    }
}
