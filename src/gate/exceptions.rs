//! Exceptions come to an end by themselves: that is told ahead, and when it has happened.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Gate, Rules};
use crate::policy::{Exception, Standing};

/// What has been told of each exception, by its id.
#[derive(Default)]
pub(super) struct Told(Mutex<BTreeMap<String, Standing>>);

impl Gate {
    /// The exceptions of the policy in force.
    pub(super) fn exceptions(&self) -> Vec<Arc<Exception>> {
        match &**self.rules.load() {
            Rules::Good { policy, .. } => policy.exceptions.iter().cloned().collect(),
            Rules::Faulty { .. } => Vec::new(),
        }
    }

    /// Tells of those that end soon, have ended, or are too far ahead; once each. Called each second.
    pub fn tell_exceptions(&self) {
        let now = crate::clock::now();
        let mut told = self.told_exceptions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut current = BTreeMap::new();
        for exception in self.exceptions() {
            let (id, standing) = (exception.id(), exception.standing(now));
            let is_new = told.get(&id) != Some(&standing);
            let is_change = is_new && told.contains_key(&id);
            current.insert(id, standing);
            let (line, at) = (exception.told(), exception.expires);
            match standing {
                Standing::Ending if is_new => tracing::warn!("{line} ends at {at:.0}"),
                Standing::Ahead if is_new => {
                    tracing::warn!("{line} ends at {at:.0}: it does not count until that is at most 366 days ahead");
                }
                Standing::Ended if is_new => {
                    tracing::warn!("{line} expired at {at:.0}: what it let pass is refused");
                    // It ended while the gate looked: that is on record.
                    if is_change {
                        self.note(&format!("{line} expired at {at:.0}: what it let pass is refused"));
                    }
                }
                Standing::InForce | Standing::Ending | Standing::Ahead | Standing::Ended => {}
            }
        }
        *told = current;
    }
}
