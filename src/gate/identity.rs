//! Which plugin this process is, so that calls about it can be told from others.
//!
//! How it learns that. A managed plugin's root is `<data-root>/plugins/<id>/rootfs`; the id stands in `/proc/self/mountinfo` as
//! the source of the root mount, where no client can change it. Its name is asked of the engine, by that id, because an
//! operator may have given it any; it is asked once, a plugin is never renamed. A plain binary is known by its socket's name,
//! which is how dockerd knows it too.
//!
//! What dockerd takes for a plugin (moby, `plugin/store.go`, `resolvePluginID`): a whole id; a name, with `latest` where it has
//! no tag; else the beginning of one id. A name with a digest is none.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::engine::{Api, EngineError, Plugin};
use crate::image::Reference;

/// Length of an id. Any beginning of it is taken for it, also one that the engine would call ambiguous: refusing too much is
/// safe.
const ID_CHARS: usize = 64;

/// Which plugin this process is.
#[derive(Debug, Default)]
pub struct Identity {
    id: Option<String>,
    /// The socket's name without `.sock`, for a plain binary.
    socket_name: Option<String>,
    name: Mutex<Option<Reference>>,
}

impl Identity {
    /// Reads this process's mounts; `socket` is where it serves.
    #[must_use]
    pub fn of_process(socket: &std::path::Path) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let socket_name = socket.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
        Self { id: plugin_id(&mounts), socket_name, name: Mutex::default() }
    }

    /// The same, for another gate of this process.
    pub(super) fn again(&self) -> Self {
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { id: self.id.clone(), socket_name: self.socket_name.clone(), name: Mutex::new(name) }
    }

    /// This plugin's id, if it is a managed one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether `given`, as a client names a plugin (name, name with tag, id, beginning of an id), is this one.
    pub(super) async fn is_meant(&self, engine: &dyn Api, given: &str, deadline: Instant) -> Result<bool, EngineError> {
        if let Some(id) = &self.id
            && !given.is_empty()
            && given.len() <= ID_CHARS
            && id.starts_with(given)
        {
            return Ok(true);
        }
        match given.parse::<Reference>() {
            Ok(reference) => self.is_named(engine, &reference, deadline).await,
            // What the engine cannot read as a name either means nothing.
            Err(_) => Ok(false),
        }
    }

    /// Whether a plugin of this name would be this one, or stand in its place.
    pub(super) async fn is_named(&self, engine: &dyn Api, given: &Reference, deadline: Instant) -> Result<bool, EngineError> {
        let given = Reference { digest: None, ..given.clone() }.or_latest();
        if self.socket_name.as_deref().and_then(reference).is_some_and(|name| name == given) {
            return Ok(true);
        }
        Ok(self.own_name(engine, deadline).await?.is_some_and(|name| name == given))
    }

    /// Whether one of these names of authorization plugins, as daemon.json lists them, is this one's.
    pub(super) async fn is_listed(&self, engine: &dyn Api, listed: &[String], deadline: Instant) -> Result<bool, EngineError> {
        let Some(id) = &self.id else { return Ok(listed.iter().any(|name| Some(name) == self.socket_name.as_ref())) };
        let own = self.own_name(engine, deadline).await?;
        let fits =
            |name: &String| (!name.is_empty() && id.starts_with(name.as_str())) || (own.is_some() && reference(name) == own);
        Ok(listed.iter().any(fits))
    }

    /// A managed plugin of this one's name that is not this one: dockerd would ask that one after its next start.
    pub(super) async fn shadow(&self, engine: &dyn Api, deadline: Instant) -> Result<Option<Plugin>, EngineError> {
        let name = match (&self.id, &self.socket_name) {
            (Some(_), _) => self.own_name(engine, deadline).await?.map(|name| name.to_string()),
            (None, name) => name.clone(),
        };
        let Some(name) = name else { return Ok(None) };
        let found = engine.plugin(&name, deadline).await?;
        Ok(found.filter(|plugin| Some(&plugin.id) != self.id.as_ref()))
    }

    async fn own_name(&self, engine: &dyn Api, deadline: Instant) -> Result<Option<Reference>, EngineError> {
        let known = self.name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(id) = &self.id else { return Ok(None) };
        if known.is_some() {
            return Ok(known);
        }
        let name = engine.plugin(id, deadline).await?.and_then(|plugin| reference(&plugin.name));
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&name);
        Ok(name)
    }

    /// A managed plugin's identity, for tests.
    #[cfg(test)]
    pub(super) fn managed(id: &str) -> Self {
        Self { id: Some(id.to_owned()), ..Self::default() }
    }
}

/// A plugin's name as dockerd completes it.
fn reference(name: &str) -> Option<Reference> {
    name.parse::<Reference>().ok().map(Reference::or_latest)
}

/// Whether a container is named by its whole id, which never means another one.
pub(super) fn is_full_id(container: &str) -> bool {
    container.len() == ID_CHARS && container.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The id in the root mount's source, `…/plugins/<64 hex>/rootfs`.
fn plugin_id(mountinfo: &str) -> Option<String> {
    let root = mountinfo.lines().find(|line| line.split(' ').nth(4) == Some("/"))?;
    let source = root.split(' ').nth(3)?;
    let id = source.strip_suffix("/rootfs")?.rsplit_once("/plugins/").map(|(_, id)| id)?;
    is_full_id(id).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_in_the_root_mount() {
        let id = "0123456789abcdef".repeat(4);
        let line = format!("812 811 254:0 /var/lib/docker/plugins/{id}/rootfs / rw,relatime master:1 - ext4 /dev/vda rw\n");
        assert_eq!(plugin_id(&format!("1 2 0:1 / /proc rw - proc proc rw\n{line}")), Some(id.clone()));
        for other in ["", "1 2 0:1 / / rw - ext4 /dev/vda rw", "1 2 0:1 /x/plugins/short/rootfs / rw - ext4 /dev/vda rw"] {
            assert_eq!(plugin_id(other), None);
        }
    }
}
