//! The gate's figures as OTLP has them, made of the same text that `/metrics` shows: one account of what is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::settled::Settled;
use super::{Collector, Failure, Way, resource};
use crate::sinks::Place;

/// What every name begins with in the text.
const TOTAL: &str = "_total";

/// Figures, pushed. Each line that is sent is a whole text.
pub(in crate::sinks) struct Metrics {
    collector: Collector,
    /// From when counts count, nanoseconds.
    began: String,
    settled: Settled,
}

impl Metrics {
    pub(in crate::sinks) fn new(url: &str, place: &Place) -> Self {
        let (collector, began) = (Collector::new(format!("{url}/v1/metrics"), place), crate::sinks::nanoseconds().to_string());
        Self { collector, began, settled: Settled::default() }
    }
}

impl Way for Metrics {
    /// Of several texts the newest says what the others said.
    fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure> {
        let Self { collector, began, settled } = self;
        settled.send(lines, |part| {
            let (at, text) = part.last().map_or_else(Default::default, |newest| split(newest));
            // What of a text was not taken is not counted by texts.
            collector.push(request(&text, began, &at).to_string(), part.len(), "")
        })
    }

    fn what(&self) -> &'static str {
        "figures"
    }
}

/// A text with the time at which it was made in front.
pub(in crate::sinks) fn stamped(text: &str) -> Arc<[u8]> {
    Arc::from(format!("{}\n{text}", crate::sinks::nanoseconds()).into_bytes())
}

fn split(line: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(line);
    let (at, text) = text.split_once('\n').unwrap_or(("0", ""));
    (at.to_owned(), text.to_owned())
}

/// A sample of the text.
struct Sample<'t> {
    name: &'t str,
    labels: Vec<(String, String)>,
    value: f64,
}

/// The text as `ExportMetricsServiceRequest`.
fn request(text: &str, began: &str, at: &str) -> Value {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut helps: BTreeMap<&str, &str> = BTreeMap::new();
    let mut families: BTreeMap<&str, Vec<Sample<'_>>> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kinds.insert(name, kind);
        } else if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name, help);
        } else if !line.starts_with('#')
            && let Some(sample) = sample(line)
        {
            let endings = ["", TOTAL, "_bucket", "_sum", "_count"];
            let family = endings.iter().filter_map(|end| sample.name.strip_suffix(end)).find(|name| kinds.contains_key(name));
            families.entry(family.unwrap_or(sample.name)).or_default().push(sample);
        }
    }
    let of = |(name, samples): (&&str, &Vec<Sample<'_>>)| {
        let point = |sample: &Sample<'_>| json!({ "attributes": attributes(&sample.labels), "startTimeUnixNano": began, "timeUnixNano": at, "asDouble": sample.value });
        let points = || samples.iter().map(point).collect::<Vec<_>>();
        let mut metric = json!({ "name": name, "description": helps.get(name).copied().unwrap_or_default() });
        let (kind, data) = match kinds.get(name).copied() {
            // Cumulative since the start.
            Some("counter") => ("sum", json!({ "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": points() })),
            Some("histogram") => {
                ("histogram", json!({ "aggregationTemporality": 2, "dataPoints": [histogram(samples, began, at)] }))
            }
            Some(_) | None => ("gauge", json!({ "dataPoints": points() })),
        };
        if let Some(metric) = metric.as_object_mut() {
            metric.insert(kind.to_owned(), data);
        }
        metric
    };
    let metrics: Vec<Value> = families.iter().map(of).collect();
    json!({ "resourceMetrics": [{
        "resource": resource(),
        "scopeMetrics": [{ "scope": { "name": "img_authz", "version": env!("CARGO_PKG_VERSION") }, "metrics": metrics }],
    }] })
}

/// The text counts what is at most so much; OTLP what lies between two bounds.
fn histogram(samples: &[Sample<'_>], began: &str, at: &str) -> Value {
    let ends = |end: &str| samples.iter().find(|sample| sample.name.ends_with(end)).map_or(0.0, |sample| sample.value);
    let (mut bounds, mut counts, mut before) = (Vec::new(), Vec::new(), 0.0);
    for sample in samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let bound = sample.labels.iter().find(|(name, _)| name == "le").and_then(|(_, value)| value.parse::<f64>().ok());
        bounds.extend(bound.filter(|bound| bound.is_finite()));
        counts.push(whole(sample.value - before));
        before = sample.value;
    }
    json!({
        "startTimeUnixNano": began, "timeUnixNano": at, "sum": ends("_sum"), "count": whole(ends("_count")),
        "explicitBounds": bounds, "bucketCounts": counts,
    })
}

/// 64-bit numbers are texts in this form of JSON.
fn whole(value: f64) -> String {
    format!("{:.0}", value.max(0.0))
}

fn attributes(labels: &[(String, String)]) -> Vec<Value> {
    labels.iter().map(|(name, value)| json!({ "key": name, "value": { "stringValue": value } })).collect()
}

/// `name{label="value",…} 1.0`, as this program writes it.
fn sample(line: &str) -> Option<Sample<'_>> {
    let Some((name, rest)) = line.split_once('{') else {
        let (name, value) = line.split_once(' ')?;
        return Some(Sample { name, labels: Vec::new(), value: value.parse().ok()? });
    };
    let mut labels = Vec::new();
    let mut rest = rest;
    loop {
        let (label, behind) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = behind.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.push((label.to_owned(), value));
        rest = behind.get(end + 1..)?;
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
    }
    let value = rest.strip_prefix("} ")?.parse().ok()?;
    Some(Sample { name, labels, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_figures_is_said_again_and_nothing_is_lost() {
        let text = "# HELP x_calls Calls\n# TYPE x_calls counter\nx_calls_total{action=\"a\\\"b\",code=\"c,d}\"} 3\n\
                    # HELP x_up Up.\n# TYPE x_up gauge\nx_up -1\n# HELP x_s Seconds.\n# TYPE x_s histogram\nx_s_sum 0.5\nx_s_count 5\n\
                    x_s_bucket{le=\"0.1\"} 2\nx_s_bucket{le=\"1.0\"} 4\nx_s_bucket{le=\"+Inf\"} 5\nbroken{\n# EOF\n";
        let said = request(text, "1", "2");
        let metrics = said.pointer("/resourceMetrics/0/scopeMetrics/0/metrics").unwrap().as_array().unwrap();
        assert_eq!(metrics.iter().map(|metric| metric["name"].as_str().unwrap()).collect::<Vec<_>>(), ["x_calls", "x_s", "x_up"]);
        let sum = &metrics[0]["sum"];
        assert_eq!((&sum["isMonotonic"], &sum["dataPoints"][0]["asDouble"]), (&true.into(), &3.0.into()));
        assert_eq!(sum["dataPoints"][0]["attributes"][0]["value"]["stringValue"], "a\"b");
        assert_eq!(sum["dataPoints"][0]["attributes"][1]["value"]["stringValue"], "c,d}");
        let histogram = &metrics[1]["histogram"]["dataPoints"][0];
        assert_eq!((&histogram["count"], &histogram["sum"]), (&"5".into(), &0.5.into()));
        assert_eq!((&histogram["bucketCounts"], &histogram["explicitBounds"]), (&json!(["2", "2", "1"]), &json!([0.1, 1.0])));
        assert_eq!(metrics[2]["gauge"]["dataPoints"][0]["asDouble"], -1.0);
        let stamped = stamped(text);
        assert_eq!(split(&stamped).1, text);
    }
}
