//! That the root in use has passed pins, certificates and dates, and for how long that need not be found out again.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Pins;
use super::certificate::Certificate;
use super::file::{File, Root};
use crate::image::Repository;

/// Longest time a root's signatures are not checked again.
const PROOF_TIME: SignedDuration = SignedDuration::from_hours(1);

/// That the root in use has passed every check of a root, under which pins, from when on and until when: signatures and chains do not
/// change, only dates and pins do. Made by who has checked.
#[derive(Debug, Clone, Default)]
pub(super) struct Proof(Option<(Arc<Pins>, Timestamp, Timestamp)>);

impl Proof {
    /// Ends with the first of the certificates that still counted, those of a pinned CA included.
    pub(super) fn new(root: &File<Root>, repository: &Repository, pins: &Arc<Pins>, now: Timestamp) -> Self {
        let own = root.body.root.keys.iter().flat_map(|key| &key.certificates);
        let certificates = own.chain(pins.authorities(repository.as_str()));
        let dates = certificates.map(Certificate::until).filter(|until| *until >= now);
        let until = dates.chain([root.expires, now.saturating_add(PROOF_TIME).unwrap_or(now)]).min();
        Self(until.map(|until| (Arc::clone(pins), now, until)))
    }

    pub(super) fn holds(&self, pins: &Arc<Pins>, now: Timestamp) -> bool {
        self.0.as_ref().is_some_and(|(own, from, until)| Arc::ptr_eq(own, pins) && *from <= now && now < *until)
    }
}
