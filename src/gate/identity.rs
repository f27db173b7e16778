//! Which plugin this process is, so that calls about it can be told from others.
//!
//! A managed plugin's root is `<data-root>/plugins/<id>/rootfs`; the id stands in `/proc/self/mountinfo` as the source of the
//! root mount. Its name is asked of the engine, because an operator may have given it any. A plain binary is known by its
//! socket's name, which is how dockerd knows it too.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::engine::Api;
use crate::image::Reference;

/// Shortest beginning of an id that is taken for one. Shorter ones are taken too where they fit: refusing too much is safe.
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

    /// This plugin's id, if it is a managed one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether `given`, as a client names a plugin (name, name with tag, id, beginning of an id), is this one.
    pub(super) async fn is_meant(&self, engine: &dyn Api, given: &str, deadline: Instant) -> bool {
        if let Some(id) = &self.id
            && !given.is_empty()
            && given.len() <= ID_CHARS
            && id.starts_with(given)
        {
            return true;
        }
        match given.parse::<Reference>() {
            Ok(reference) => self.is_named(engine, &reference, deadline).await,
            // What the engine cannot read as a name either means nothing.
            Err(_) => false,
        }
    }

    /// Whether a plugin of this name would be this one, or stand in its place.
    pub(super) async fn is_named(&self, engine: &dyn Api, given: &Reference, deadline: Instant) -> bool {
        let given = Reference { digest: None, ..given.clone() }.or_latest();
        let own = self.own_name(engine, deadline).await;
        let socket = self.socket_name.as_ref().and_then(|name| name.parse::<Reference>().ok()).map(Reference::or_latest);
        [own, socket].into_iter().flatten().any(|name| name == given)
    }

    async fn own_name(&self, engine: &dyn Api, deadline: Instant) -> Option<Reference> {
        let known = self.name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return known;
        }
        let plugin = engine.plugin(self.id.as_deref()?, deadline).await.ok()??;
        let name = plugin.name.parse::<Reference>().ok()?.or_latest();
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.clone());
        Some(name)
    }
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
