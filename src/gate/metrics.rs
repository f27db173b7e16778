//! Figures for those who watch many hosts, in the OpenMetrics text format. No names of images are among the labels: clients
//! choose those, and could choose endlessly many.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the durations told apart, in seconds. The last is the decision's own deadline.
const SECONDS: [f64; 9] = [0.000_1, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 3.0, 8.0];

/// What is counted. Clones of a metric share its value.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Histogram,
    lost: Counter<u64, AtomicU64>,
    in_chain: Gauge<i64, AtomicI64>,
    reloaded: Gauge<i64, AtomicI64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    action: &'static str,
    decision: &'static str,
    code: &'static str,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("img_authz");
        let requests = Family::default();
        registry.register(
            "requests",
            "Decisions, by what the call does, what was decided, and the refusal's code",
            requests.clone(),
        );
        let seconds = Histogram::new(SECONDS);
        registry.register("decision_duration_seconds", "How long decisions took", seconds.clone());
        let lost = Counter::default();
        registry.register("audit_entries_lost", "Entries of the audit log that could not be written", lost.clone());
        let in_chain = Gauge::default();
        registry.register("in_chain", "1: dockerd asks this gate; 0: it does not; -1: not known yet", in_chain.clone());
        in_chain.set(-1);
        let reloaded = Gauge::default();
        registry.register(
            "policy_last_reload_successful",
            "1: the settings are in force; 0: faulty, see the log",
            reloaded.clone(),
        );
        let build: Family<Vec<(&'static str, &'static str)>, Gauge> = Family::default();
        registry.register("build_info", "Always 1, with the version", build.clone());
        build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION"))]).set(1);
        Self { registry, requests, seconds, lost, in_chain, reloaded }
    }

    pub(super) fn decided(&self, action: &'static str, decision: &'static str, code: &'static str, took: Duration) {
        self.requests.get_or_create(&Request { action, decision, code }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(super) fn asked(&self, is_asked: bool) {
        self.in_chain.set(i64::from(is_asked));
    }

    pub(super) fn reloaded(&self, is_good: bool) {
        self.reloaded.set(i64::from(is_good));
    }

    /// The whole text. `lost` is the journal's own count.
    pub(super) fn text(&self, lost: u64) -> String {
        self.lost.inc_by(lost.saturating_sub(self.lost.get()));
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_by_action_and_decision() {
        let metrics = Metrics::new();
        metrics.decided("pull", "deny", "not-signed", Duration::from_millis(2));
        metrics.decided("pull", "deny", "not-signed", Duration::from_millis(2));
        metrics.asked(false);
        metrics.reloaded(true);
        let text = metrics.text(3);
        for line in [
            r#"img_authz_requests_total{action="pull",decision="deny",code="not-signed"} 2"#,
            "img_authz_decision_duration_seconds_count 2",
            "img_authz_audit_entries_lost_total 3",
            "img_authz_in_chain 0",
            "img_authz_policy_last_reload_successful 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
        assert!(metrics.text(3).contains("lost_total 3"));
    }
}
