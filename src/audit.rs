//! What was decided and why, kept as JSON Lines. One entry is one write, handed to the kernel before the call is answered.
//!
//! Field names follow the audit logs that operators of image gates know (`timestamp`, `event`, `container_id`, `image`,
//! `digest`, `message`); what comes from clients is escaped by the JSON encoding and bounded.

mod carry;
mod chain;
mod entry;
mod file;
mod floods;
mod journal;
mod none;
mod tail;
mod verify;

pub use carry::{Carried, Carrier};
pub use chain::{Link, NoLink};
pub use entry::{Entry, Event};
pub use file::ROTATED;
#[cfg(test)]
pub use journal::MemoryJournal;
pub use journal::{Beside, FileJournal, Journal, JournalError, JournalLimits, NOTABLE, PLUGINS, Recorded};
pub use none::NoJournal;
pub use tail::{Told, newest};
pub use verify::{Begin, Fault, LogPart, Remark, Spot, Verified, What, Wrong, parts, verify};

#[cfg(test)]
mod tests;
