//! Names that a call holds until it ends: it waits for what excludes it, and whether names are still being given is found out, because
//! the daemon does not always tell.

use std::time::Duration;

use tokio::time::Instant;

use super::leases::{Busy, Claim, To};
use super::{Gate, call_key};
use crate::engine::{ContainerId, EngineError};
use crate::policy::Reason;
use crate::request::{Create, Intent, Naming, Unreadable};
use crate::wire::Call;

/// Most calls at once that find out whether names are still being given. Others take them for being given.
pub(super) const MAX_SETTLING: usize = 8;
/// How long a create waits for the disk, which keeps its name for a gate that is restarted meanwhile. Renames are refused instead.
const KEEPS: Duration = Duration::from_secs(1);
/// One look whether a call that gives a name is over. An ordinary one takes a millisecond; what takes longer is held by a client.
const SETTLES: Duration = Duration::from_millis(300);

impl Gate {
    /// A call that gives a name waits for starts by that name to end. Returns its lease's number.
    pub(super) async fn hold_name(&self, call: &Call, intent: &Intent, began: Instant) -> Result<Option<u64>, Reason> {
        let key = call_key(call);
        match intent.naming() {
            Naming::Create { create, name } => {
                let claim = Claim::Create { name: bare(name), image: image_text(create) };
                let lease = self.hold(&key, &claim, began).await?;
                // A full disk is no reason to make no containers.
                let _ = tokio::time::timeout(KEEPS, self.leases.save()).await;
                Ok(Some(lease))
            }
            Naming::Rename { container, name } => {
                let (from, name) = (bare(container), bare(name));
                let claim = Claim::Rename { name: name.clone(), from: from.clone() };
                let lease = self.hold(&key, &claim, began).await?;
                let held = self.hold_rename(lease, &from, name, began).await;
                if held.is_err() {
                    self.leases.give_up(lease);
                }
                held.map(|()| Some(lease))
            }
            Naming::Start(_) | Naming::Plugin(_) | Naming::Nothing => Ok(None),
        }
    }

    /// What a rename means is looked at once nobody can be given its names any more, and written down.
    async fn hold_rename(&self, lease: u64, from: &str, name: String, began: Instant) -> Result<(), Reason> {
        let unreachable = |error: EngineError| Reason::EngineUnreachable { why: error.to_string() };
        let meant = self.meant(from, began).await?;
        // The engine would wait for the container's lock first, as long as a client likes, and then say no; or yes, if the name
        // has become free meanwhile.
        let found = self.engine.named(&name, began + self.limits.decision).await.map_err(unreachable)?;
        if found.iter().any(|other| other.id != meant) {
            return Err(Reason::NameTaken { name });
        }
        let written = tokio::time::timeout_at(began + self.limits.decision, self.leases.rename_of(lease, meant)).await;
        written.unwrap_or(Err(Busy::Unwritable)).map_err(|busy| refused(&busy, &name))
    }

    /// The container that a rename means. A name that begins another container's id may come to mean that one, if it is lost before
    /// the engine looks.
    async fn meant(&self, container: &str, began: Instant) -> Result<ContainerId, Reason> {
        let unreachable = |error: EngineError| Reason::EngineUnreachable { why: error.to_string() };
        let deadline = began + self.limits.decision;
        if let Ok(id) = container.parse() {
            return Ok(id);
        }
        let mut found = self.engine.named(container, deadline).await.map_err(unreachable)?;
        if !container.is_empty() && container.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            found.extend(self.engine.beginning(container, deadline).await.map_err(unreachable)?);
            found.dedup_by(|one, other| one.id == other.id);
        }
        let first = found.pop().ok_or_else(|| Reason::ContainerUnknown { container: container.to_owned() })?;
        if found.iter().any(|other| other.id != first.id) {
            return Err(Reason::Unreadable(Unreadable::Reference(format!(
                "`{container}` means more than one container, by its name or by the beginning of its id; use the whole id"
            ))));
        }
        Ok(first.id)
    }

    /// Holds `claim` for the call, once what excludes it has ended. Returns the lease's number.
    pub(super) async fn hold(&self, key: &str, claim: &Claim, began: Instant) -> Result<u64, Reason> {
        let deadline = began + self.limits.name;
        // Those that do not end by then are still under way.
        if !self.leases.pending(Some(claim)).is_empty()
            && let Ok(_turn) = self.settling.try_acquire()
        {
            let _ = tokio::time::timeout_at(deadline, self.settle(Some(claim))).await;
        }
        let held = match self.leases.hold(key, claim, deadline).await {
            // One settles for all. Who comes meanwhile is refused at once.
            Err(Busy::Full) if let Ok(_turn) = self.making_room.try_acquire() => {
                let _ = tokio::time::timeout_at(deadline, self.settle(None)).await;
                self.leases.hold(key, claim, deadline).await
            }
            held => held,
        };
        held.map_err(|busy| refused(&busy, claim.name()))
    }

    /// Ends the leases of names that are given or dropped though the daemon never told so; those alone that exclude `claim`, if one is
    /// given.
    pub(super) async fn settle(&self, claim: Option<&Claim>) {
        for pending in self.leases.pending(claim) {
            let is_over = match &pending.to {
                To::Container(container) => self.is_renamed(container).await,
                To::Image(image) => pending.is_old || (pending.is_whole && self.is_created(image, &pending.name).await),
                To::Nothing => true,
            };
            if is_over {
                self.leases.settle(&pending);
            }
        }
    }

    /// Whether a rename whose end the daemon has not told is carried out, or was dropped (by another plugin, by a restart of the
    /// engine). It waits in the line for its container's lock; who comes later and has had the lock twice has passed it.
    async fn is_renamed(&self, container: &ContainerId) -> bool {
        for _ in 0..2 {
            // The gate's own wait for that lock must not become what holds others up.
            let Some(look) = self.looks.enter(container.as_str()) else { return false };
            match look.ended(self.ends.container(container.as_str(), Instant::now() + SETTLES).await) {
                Ok(None) => return true,
                Ok(Some(_)) => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Whether a create whose end the daemon has not told is over. Before it has the name it waits for what every look at its image
    /// waits for: who comes later and has looked twice has passed it. Then it holds the name, until the container is there. So: once
    /// it is passed, and a container has the name, it has none to give any more.
    async fn is_created(&self, image: &str, name: &str) -> bool {
        for _ in 0..2 {
            if self.ends.image(image, Instant::now() + SETTLES).await.is_err() {
                return false;
            }
        }
        self.ends.named(name, Instant::now() + SETTLES).await.is_ok_and(|found| !found.is_empty())
    }
}

/// The image of a create, as its lease notes it.
pub(super) fn image_text(create: &Create) -> String {
    create.image.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn refused(busy: &Busy, name: &str) -> Reason {
    match busy {
        Busy::Held => Reason::NameBusy { name: name.to_owned() },
        Busy::Full => Reason::Overloaded,
        Busy::Unwritable => Reason::StateUnwritable,
    }
}

/// A container's name without the leading slash, which the engine does not mind.
pub(super) fn bare(name: &str) -> String {
    name.trim_start_matches('/').to_owned()
}
