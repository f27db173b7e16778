//! The gate's bounds.

use std::time::Duration;

/// The gate's bounds in time.
#[derive(Debug, Clone, Copy)]
pub struct DecisionLimits {
    /// A decision, all told. Below dockerd's patience (30 s for a managed plugin), with room for its retry.
    pub decision: Duration,
    /// The part of a decision that may be spent waiting for a name.
    pub name: Duration,
    /// One look at a container, whose lock a client can hold.
    pub look: Duration,
    /// What follows a call's end (AuthZRes), which the client waits for.
    pub after: Duration,
    /// Decisions under way that cannot be made at once. Well below the connections that are served (`daemon::ConnectionLimits`), so that calls
    /// which wait for nothing are always answered.
    pub places: usize,
}

impl Default for DecisionLimits {
    fn default() -> Self {
        Self {
            decision: Duration::from_secs(8),
            name: Duration::from_secs(5),
            look: Duration::from_secs(2),
            after: Duration::from_secs(2),
            places: 512,
        }
    }
}
