//! What a call has to do with names of containers and plugins. Others can move a name between the question about a call and what the
//! daemon then does, so the gate holds it meanwhile. A new kind of call is sorted in here once.

use super::{Create, Intent, PluginCall, Start};

/// The names that a call uses or gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming<'i> {
    /// It starts the container that a name or an id means, or arms it to be started.
    Start(&'i Start),
    /// It gives a name to a new container.
    Create {
        /// The call.
        create: &'i Create,
        /// The name, as in the call.
        name: &'i str,
    },
    /// It gives another name to a container.
    Rename {
        /// The container, as named in the call.
        container: &'i str,
        /// The name it is to have, as in the call.
        name: &'i str,
    },
    /// It is about a plugin.
    Plugin(&'i PluginCall),
    /// What it means does not change with a name, or nobody is hurt if it does.
    Nothing,
}

impl Intent {
    /// The names that it uses or gives.
    #[must_use]
    pub fn naming(&self) -> Naming<'_> {
        match self {
            Self::Start(start) => Naming::Start(start),
            Self::Create(create) => match &create.name {
                Some(name) => Naming::Create { create, name },
                None => Naming::Nothing,
            },
            Self::Rename { container, name } => Naming::Rename { container, name },
            Self::Plugin(plugin) => Naming::Plugin(plugin),
            Self::Read
            | Self::Harmless
            | Self::Pull(_)
            | Self::Remove { .. }
            | Self::Service(_)
            | Self::Build(_)
            | Self::Ingest(_)
            | Self::ContainerAccess(_)
            | Self::Swarm
            | Self::Volume { .. }
            | Self::Network { .. }
            | Self::NetworkPlugin { .. }
            | Self::Unknown { .. }
            | Self::Unreadable(_) => Naming::Nothing,
        }
    }

    /// Whether it makes or starts a container of what is on this host, for which answers that are kept may do.
    #[must_use]
    pub const fn runs(&self) -> bool {
        match self {
            Self::Create(_) | Self::Start(_) => true,
            Self::Read
            | Self::Harmless
            | Self::Pull(_)
            | Self::Rename { .. }
            | Self::Remove { .. }
            | Self::Service(_)
            | Self::Build(_)
            | Self::Ingest(_)
            | Self::ContainerAccess(_)
            | Self::Plugin(_)
            | Self::Swarm
            | Self::Volume { .. }
            | Self::Network { .. }
            | Self::NetworkPlugin { .. }
            | Self::Unknown { .. }
            | Self::Unreadable(_) => false,
        }
    }
}
