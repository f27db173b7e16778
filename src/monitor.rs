//! Containers that run and that the gate would refuse to start now: nobody was asked about their start (a restart policy, the swarm, from
//! before the gate), or what was approved then is not now. They are found, reported and, where that is set, stopped (docs/monitor.md).
//!
//! Images that arrive are audited beside that, and nothing is done about them ([`Arrivals`]).
//!
//! `Brain` decides and touches nothing; [`Monitor`] asks engine and gate, carries out and records; [`Picture`] is the file that
//! `img-authz monitor status` shows, and what outlives a restart.

mod arrivals;
mod brain;
mod claims;
mod picture;
mod run;

pub use arrivals::{Arrivals, Arrived, Audited, Weakness};
pub use brain::{Act, Hold};
pub use picture::{Approved, Finding, Picture, Unread};
pub use run::{Believed, Monitor, Outcome, Places};

use brain::{Brain, Found, Memory, Seen, Standing, TaskOf, Why, Word};
