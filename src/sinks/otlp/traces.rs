//! Spans of decisions, pushed as `sinks::spans` has written them.

use std::sync::Arc;

use super::settled::Settled;
use super::{Collector, Failure, Way, resource};
use crate::sinks::Place;

/// Spans, pushed.
pub(in crate::sinks) struct Traces {
    collector: Collector,
    settled: Settled,
}

impl Traces {
    pub(in crate::sinks) fn new(url: &str, place: &Place) -> Self {
        Self { collector: Collector::new(format!("{url}/v1/traces"), place), settled: Settled::default() }
    }
}

impl Way for Traces {
    fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure> {
        let Self { collector, settled } = self;
        settled.send(lines, |part| collector.push(request(part), part.len(), "rejectedSpans"))
    }

    fn what(&self) -> &'static str {
        "spans of decisions"
    }
}

/// As `ExportTraceServiceRequest`; each line is a span already.
fn request(lines: &[Arc<[u8]>]) -> String {
    let spans: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
    format!(
        r#"{{"resourceSpans":[{{"resource":{},"scopeSpans":[{{"scope":{{"name":"img_authz","version":"{}"}},"spans":[{}]}}]}}]}}"#,
        resource(),
        env!("CARGO_PKG_VERSION"),
        spans.join(",")
    )
}
