//! What calls of several kinds have in common: the images that they name, the host access that they ask for, and the terms on which
//! containers are to run. A new kind of call is sorted in here once, for all rules.

use super::{ContainerAccess, HostAccess, Intent, Service, StartAction, Terms, VolumeOptions};
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

/// What a call asks for of containers, made or driven: what rules about that look at.
#[derive(Debug, Clone, Copy)]
pub struct Run<'i> {
    /// Of what.
    pub kind: RunKind<'i>,
    /// Ways to the host that it opens.
    pub host_access: &'i [HostAccess],
    /// How containers are to run.
    pub terms: Option<&'i Terms>,
    /// Volumes that are made with options.
    pub volumes: &'i [VolumeOptions],
}

/// Of what a call asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind<'i> {
    /// A new container.
    Container,
    /// The containers of a service.
    Service,
    /// A container that is there: what is not said stays as it is.
    Update,
    /// A process in a container that runs.
    Exec {
        /// Whether it may do all that root may.
        is_privileged: bool,
        /// As whom it runs, where the call says so.
        user: Option<&'i str>,
    },
    /// A volume, for containers to come.
    Volume,
}

impl Intent {
    /// What it asks for of containers.
    #[must_use]
    pub fn run(&self) -> Option<Run<'_>> {
        let of = |kind, terms| self.run_on(kind, terms);
        let other = |kind| Run { kind, host_access: self.host_access(), terms: None, volumes: &[] };
        let exec = |is_privileged, user| Some(other(RunKind::Exec { is_privileged, user }));
        match self {
            Self::Create(create) => of(RunKind::Container, create.terms.as_ref()),
            Self::Service(Service::Spec { terms, .. }) => of(RunKind::Service, terms.as_deref()),
            Self::Start(start) => match start.action {
                StartAction::Update => of(RunKind::Update, start.terms.as_deref()),
                // As the engine has it: it was judged when it was made.
                StartAction::Start | StartAction::Restart => None,
            },
            Self::ContainerAccess(ContainerAccess::Update(terms)) => of(RunKind::Update, Some(terms)),
            Self::ContainerAccess(ContainerAccess::Exec { user }) => exec(false, user.as_deref()),
            Self::ContainerAccess(ContainerAccess::PrivilegedExec { user }) => exec(true, user.as_deref()),
            Self::Volume { volumes, .. } => Some(Run { volumes, ..other(RunKind::Volume) }),
            Self::ContainerAccess(ContainerAccess::Attach | ContainerAccess::PutArchive | ContainerAccess::Checkpoint)
            | Self::Service(Service::Rollback { .. })
            | Self::Read
            | Self::Harmless
            | Self::Pull(_)
            | Self::Rename { .. }
            | Self::Remove { .. }
            | Self::Build(_)
            | Self::Ingest(_)
            | Self::Plugin(_)
            | Self::Swarm
            | Self::Network { .. }
            | Self::NetworkPlugin { .. }
            | Self::Unknown { .. }
            | Self::Unreadable(_) => None,
        }
    }

    fn run_on<'i>(&'i self, kind: RunKind<'i>, terms: Option<&'i Terms>) -> Option<Run<'i>> {
        terms.map(|terms| Run { kind, host_access: self.host_access(), terms: Some(terms), volumes: &terms.volumes })
    }

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
            | Self::Volume { host_access, .. }
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
