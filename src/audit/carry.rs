//! Who carries entries away from this host, as the log sees them: named, never waited for, and asked now and then how they fare.

use std::sync::Arc;

/// Carries entries away. Sees each line as it is in the file; one that the file could not take has no link.
pub trait Carrier: Send + Sync {
    /// What it is called.
    fn name(&self) -> &'static str;
    /// Takes a line. Never waits: where there is no room, it is dropped and counted.
    fn carry(&self, line: &Arc<[u8]>);
    /// How it fares.
    fn carried(&self) -> Carried;
    /// Waits a moment until what it has taken is where it should be. Called at stop.
    fn end(&self);
}

/// How a carrier fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Entries that arrived.
    pub sent: u64,
    /// Entries that never will.
    pub dropped: u64,
    /// Why nothing arrives now.
    pub away: Option<String>,
}
