//! What calls of several kinds have in common: the images that they name, and the host access that they ask for. A new kind of call is
//! sorted in here once, for all rules.

use super::{HostAccess, Intent, Service};
use crate::image::ImageName;

/// The images that a create or a service names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Named<'i> {
    /// What the containers are made from.
    pub image: Option<&'i ImageName>,
    /// What is mounted into them.
    pub mounts: &'i [ImageName],
}

impl<'i> Named<'i> {
    /// All of them, the containers' image first.
    pub fn all(self) -> impl Iterator<Item = &'i ImageName> {
        self.image.into_iter().chain(self.mounts)
    }
}

/// Where a call says how the container of its image is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunSpec {
    /// In the body (create).
    Body,
    /// In the body's `TaskTemplate.ContainerSpec` (service).
    ContainerSpec,
    /// The daemon has it, and it is not known here (a service's previous specification).
    Unknown,
    /// Nowhere: whatever stands in its body counts for nothing.
    #[default]
    Nothing,
}

impl Intent {
    /// Where it says how a container is to run.
    #[must_use]
    pub const fn run_spec(&self) -> RunSpec {
        match self {
            Self::Create(_) => RunSpec::Body,
            Self::Service(Service::Spec { .. }) => RunSpec::ContainerSpec,
            Self::Service(Service::Rollback { .. }) => RunSpec::Unknown,
            Self::Read
            | Self::Harmless
            | Self::Pull(_)
            | Self::Start(_)
            | Self::Rename { .. }
            | Self::Remove { .. }
            | Self::Build(_)
            | Self::Ingest(_)
            | Self::ContainerAccess(_)
            | Self::Plugin(_)
            | Self::Swarm
            | Self::Volume { .. }
            | Self::Network { .. }
            | Self::NetworkPlugin { .. }
            | Self::Unknown { .. }
            | Self::Unreadable(_) => RunSpec::Nothing,
        }
    }

    /// The images that it names by what it would make. None where it acts on what is there, or brings content in.
    #[must_use]
    pub fn named(&self) -> Named<'_> {
        match self {
            Self::Create(create) => Named { image: create.image.as_ref(), mounts: &create.image_mounts },
            Self::Service(Service::Spec { image, image_mounts, .. }) => Named { image: image.as_ref(), mounts: image_mounts },
            Self::Service(Service::Rollback { .. })
            | Self::Read
            | Self::Harmless
            | Self::Pull(_)
            | Self::Start(_)
            | Self::Rename { .. }
            | Self::Remove { .. }
            | Self::Build(_)
            | Self::Ingest(_)
            | Self::ContainerAccess(_)
            | Self::Plugin(_)
            | Self::Swarm
            | Self::Volume { .. }
            | Self::Network { .. }
            | Self::NetworkPlugin { .. }
            | Self::Unknown { .. }
            | Self::Unreadable(_) => Named::default(),
        }
    }

    /// The ways to the host that it opens by what it asks for.
    #[must_use]
    pub fn host_access(&self) -> &[HostAccess] {
        match self {
            Self::Create(create) => &create.host_access,
            Self::Service(Service::Spec { host_access, .. })
            | Self::Volume { host_access }
            | Self::Network { host_access, .. } => host_access,
            Self::Service(Service::Rollback { .. })
            | Self::Read
            | Self::Harmless
            | Self::Pull(_)
            | Self::Start(_)
            | Self::Rename { .. }
            | Self::Remove { .. }
            | Self::Build(_)
            | Self::Ingest(_)
            | Self::ContainerAccess(_)
            | Self::Plugin(_)
            | Self::Swarm
            | Self::NetworkPlugin { .. }
            | Self::Unknown { .. }
            | Self::Unreadable(_) => &[],
        }
    }
}
