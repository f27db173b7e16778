//! Spans of decisions for an OpenTelemetry collector. Rooms open spans of one target with `tracing`'s own macros; while nobody wants
//! them, such a span costs the look at one flag. Here they are timed, and handed to a queue that drops what there is no room for.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::nanoseconds;
use super::queue::Queue;
use crate::audit::Carrier as _;
use crate::text::fit;

/// The target of spans that are pushed. What else is logged is none of these.
const TARGET: &str = "img_authz::trace";
/// The span that begins a trace.
const ROOT: &str = "decision";
/// Longest value of an attribute, characters. Stops foreign text from filling the queue.
const VALUE_CHARS: usize = 256;
/// Most attributes of a span.
const ATTRIBUTES: usize = 16;

/// Where they go. The log is set up before anything else, and the sinks' threads are started later.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// From now on spans go there.
pub(super) fn go_to(queue: Arc<Queue>) {
    // The first one stays: there is one gate in a process.
    let _ = QUEUE.set(queue);
}

/// Times spans.
struct Spans<T> {
    /// No other process numbers its spans alike.
    seed: RandomState,
    number: AtomicU64,
    /// Takes a span that has ended.
    take: T,
}

/// A span that is open.
struct Open {
    trace: u128,
    id: u64,
    parent: Option<u64>,
    began: u64,
    /// When it was left last; zero: never. What it began may go on after it.
    left: u64,
    attributes: Vec<Value>,
}

/// The layer that times them, and takes nothing else.
#[must_use]
pub fn spans<S>() -> impl Layer<S>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    timed(|span: Vec<u8>| {
        if let Some(queue) = QUEUE.get() {
            queue.carry(&Arc::from(span));
        }
    })
}

fn timed<S, T>(take: T) -> impl Layer<S>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    T: Fn(Vec<u8>) + Send + Sync + 'static,
{
    let filter = filter_fn(|metadata: &Metadata<'_>| metadata.is_span() && metadata.target() == TARGET);
    Spans { seed: RandomState::new(), number: AtomicU64::new(0), take }.with_filter(filter)
}

impl<T> Spans<T> {
    /// Not to be guessed from others, and not zero, which no id may be.
    fn fresh(&self) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write_u64(self.number.fetch_add(1, Ordering::Relaxed));
        hasher.finish().max(1)
    }
}

impl<S, T> Layer<S> for Spans<T>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    T: Fn(Vec<u8>) + Send + Sync + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parent = span.parent().and_then(|parent| {
            let of = parent.extensions();
            let open = of.get::<Open>()?;
            Some((open.trace, open.id))
        });
        // Other work of this process (a push of these very spans, upkeep) is no part of a decision.
        if parent.is_none() && span.name() != ROOT {
            return;
        }
        let trace = parent.map_or_else(|| (u128::from(self.fresh()) << 64) | u128::from(self.fresh()), |(trace, _)| trace);
        let parent = parent.map(|(_, id)| id);
        let mut open = Open { trace, id: self.fresh(), parent, began: nanoseconds(), left: 0, attributes: Vec::new() };
        attributes.record(&mut open);
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(open);
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            open.left = nanoseconds();
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else { return };
        (self.take)(open.ended(span.name(), nanoseconds()).to_string().into_bytes());
    }
}

impl Open {
    /// As OTLP's JSON has it.
    fn ended(self, name: &str, at: u64) -> Value {
        let Self { trace, id, parent, began, left, attributes } = self;
        let at = if left == 0 { at } else { left };
        json!({
            "traceId": format!("{trace:032x}"),
            "spanId": format!("{id:016x}"),
            "parentSpanId": parent.map(|id| format!("{id:016x}")).unwrap_or_default(),
            "name": name,
            "kind": 1,
            "startTimeUnixNano": began.to_string(),
            "endTimeUnixNano": at.max(began).to_string(),
            "attributes": attributes,
        })
    }

    fn put(&mut self, field: &Field, value: &Value) {
        if self.attributes.len() < ATTRIBUTES {
            self.attributes.push(json!({ "key": format!("img_authz.{}", field.name()), "value": value }));
        }
    }
}

impl Visit for Open {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, &json!({ "stringValue": fit(value, VALUE_CHARS) }));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, &json!({ "boolValue": value }));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, &json!({ "stringValue": fit(&format!("{value:?}"), VALUE_CHARS) }));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_span_ends_when_it_is_left_though_what_it_began_goes_on() {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&taken);
        let layer = timed(move |span| own.lock().unwrap().push(serde_json::from_slice::<Value>(&span).unwrap()));
        let left = tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let root = tracing::trace_span!(target: "img_authz::trace", "decision", action = "pull");
            let flight = root.in_scope(|| tracing::trace_span!(target: "img_authz::trace", "http", host = "n.example"));
            drop(root);
            let left = nanoseconds();
            std::thread::sleep(std::time::Duration::from_millis(2));
            flight.in_scope(|| ());
            left
        });
        let taken = taken.lock().unwrap();
        let [http, root] = &taken[..] else { panic!("{taken:?}") };
        let ended = |span: &Value| span["endTimeUnixNano"].as_str().unwrap().parse::<u64>().unwrap();
        assert!(ended(root) <= left && left < ended(http), "{root} {http}");
    }

    #[test]
    fn spans_of_a_decision_are_one_trace_and_other_work_is_none() {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&taken);
        let layer = timed(move |span| own.lock().unwrap().push(serde_json::from_slice::<Value>(&span).unwrap()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let other = tracing::trace_span!(target: "img_authz::trace", "http", host = "c.example");
            drop(other.entered());
            drop(tracing::info_span!("decision").entered());
            let root = tracing::trace_span!(target: "img_authz::trace", "decision", action = "pull", decision_id = tracing::field::Empty);
            root.in_scope(|| {
                tracing::trace_span!(target: "img_authz::trace", "gather").in_scope(|| {
                    drop(tracing::trace_span!(target: "img_authz::trace", "verifier", verifier = %"a\u{1b}b").entered());
                });
                tracing::error!(target: "img_authz::trace", "an event");
            });
            root.record("decision_id", "1-7");
        });
        let taken = taken.lock().unwrap();
        let names: Vec<&str> = taken.iter().map(|span| span["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["verifier", "gather", "decision"]);
        let [verifier, gather, root] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((&verifier["parentSpanId"], &gather["parentSpanId"]), (&gather["spanId"], &root["spanId"]));
        assert_eq!((&root["parentSpanId"], &verifier["traceId"]), (&"".into(), &root["traceId"]));
        assert_eq!((root["traceId"].as_str().unwrap().len(), root["spanId"].as_str().unwrap().len()), (32, 16));
        assert_eq!(root["attributes"][1]["value"]["stringValue"], "1-7");
        assert!(!verifier.to_string().contains('\u{1b}'));
    }
}
