//! An intent in words, for logs and people.

use super::{Build, ContainerAccess, Ingest, Intent, PluginCall, PluginChange, Pulled, Service, StartAction};
impl Intent {
    /// What the call would do, in one stable word or two.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Harmless => "other",
            Self::Pull(_) => "pull",
            Self::Create(_) => "create",
            Self::Start(start) => match start.action {
                StartAction::Start => "start",
                StartAction::Restart => "restart",
                StartAction::Update => "update",
            },
            Self::Rename { .. } => "rename",
            Self::Remove { .. } => "remove",
            Self::Service(Service::Spec { .. }) => "service",
            Self::Service(Service::Rollback { .. }) => "service-rollback",
            Self::Build(Build::Classic) => "build",
            Self::Build(Build::Session) => "build-session",
            Self::Build(Build::Grpc) => "build-grpc",
            Self::Ingest(Ingest::Load) => "load",
            Self::Ingest(Ingest::Import) => "import",
            Self::Ingest(Ingest::Commit) => "commit",
            Self::Ingest(Ingest::Tag { .. }) => "tag",
            Self::ContainerAccess(ContainerAccess::Exec { .. }) => "exec",
            Self::ContainerAccess(ContainerAccess::PrivilegedExec { .. }) => "exec-privileged",
            Self::ContainerAccess(ContainerAccess::Attach) => "attach",
            Self::ContainerAccess(ContainerAccess::PutArchive) => "archive-put",
            Self::ContainerAccess(ContainerAccess::Update(_)) => "update",
            Self::ContainerAccess(ContainerAccess::Checkpoint) => "checkpoint",
            Self::Plugin(PluginCall::Pull { .. }) => "plugin-install",
            Self::Plugin(PluginCall::Upgrade { .. }) => "plugin-upgrade",
            Self::Plugin(PluginCall::Create { .. }) => "plugin-create",
            Self::Plugin(PluginCall::Change { change, .. }) => match change {
                PluginChange::Enable => "plugin-enable",
                PluginChange::Disable => "plugin-disable",
                PluginChange::Set => "plugin-set",
                PluginChange::Remove | PluginChange::RemoveByForce => "plugin-remove",
            },
            Self::Swarm => "swarm",
            Self::Volume { .. } => "volume",
            Self::Network { .. } => "network",
            Self::NetworkPlugin { .. } => "network-plugin",
            Self::Unknown { .. } => "unknown",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// The image, container or plugin that the call is about, as far as it names one.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Pull(pull) => match &pull.what {
                Pulled::Tag(tag) => format!("{}:{tag}", pull.repository),
                Pulled::Digest(digest) => format!("{}@{digest}", pull.repository),
                Pulled::AllTags => pull.repository.to_string(),
            },
            Self::Create(create) => create.image.as_ref().map(ToString::to_string).unwrap_or_default(),
            Self::Start(start) => start.container.clone(),
            Self::Rename { container, .. } | Self::Remove { container } => container.clone(),
            Self::Service(Service::Spec { image, .. }) => image.as_ref().map(ToString::to_string).unwrap_or_default(),
            Self::Service(Service::Rollback { service }) => service.clone(),
            Self::Ingest(Ingest::Tag { source, target }) => match target {
                Some(target) => format!("{source} as {target}"),
                None => source.clone(),
            },
            Self::Plugin(PluginCall::Pull { remote, name }) => match name {
                Some(name) => format!("{remote} as {name}"),
                None => remote.to_string(),
            },
            Self::Plugin(PluginCall::Upgrade { plugin, remote }) => format!("{plugin} to {remote}"),
            Self::Plugin(PluginCall::Create { name } | PluginCall::Change { plugin: name, .. }) => name.clone(),
            Self::NetworkPlugin { driver } => driver.clone(),
            Self::Unknown { route } => route.clone(),
            Self::Read
            | Self::Harmless
            | Self::Build(_)
            | Self::Ingest(Ingest::Load | Ingest::Import | Ingest::Commit)
            | Self::ContainerAccess(_)
            | Self::Swarm
            | Self::Volume { .. }
            | Self::Network { .. }
            | Self::Unreadable(_) => String::new(),
        }
    }
}
