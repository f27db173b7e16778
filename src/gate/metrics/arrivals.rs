//! The figures of images that arrive.

use std::sync::atomic::{AtomicI64, AtomicU64};

use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::super::monitored::Arriving;

/// What whoever audits them says.
pub(super) struct Arrivals {
    waiting: Gauge,
    unread: Gauge,
    gone: Gauge<u64, AtomicU64>,
    listed: Gauge<i64, AtomicI64>,
}

impl Arrivals {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let figures =
            Self { waiting: Gauge::default(), unread: Gauge::default(), gone: Gauge::default(), listed: Gauge::default() };
        registry.register("arrivals_waiting", "Images that arrived and wait to be audited", figures.waiting.clone());
        let help = "Images of the engine's list that are not audited: they cannot be read there, or are too many";
        registry.register("arrivals_unread", help, figures.unread.clone());
        registry.register("arrivals_gone", "Images that arrived and went before they were audited", figures.gone.clone());
        let help = "When images were last listed; 0: not yet";
        registry.register("arrivals_last_list_timestamp_seconds", help, figures.listed.clone());
        figures
    }

    pub(super) fn take(&self, arriving: &Arriving) {
        let figure = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.waiting.set(figure(arriving.waiting));
        self.unread.set(figure(arriving.unread));
        self.gone.set(arriving.gone);
        self.listed.set(arriving.listed.map_or(0, Timestamp::as_second));
    }
}
