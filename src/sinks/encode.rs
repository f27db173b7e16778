//! An entry as others read it: Elastic's Common Schema 9 (ECS), and class 6003 (*API Activity*) of the Open Cybersecurity Schema Framework
//! 1.3 (OCSF). What these have no field for stays under its own name: nothing is lost, the entry's link least of all.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::policy::SinkFormat;

/// A line of the log in this format, without a line's end. What is no JSON object stays as it is.
#[must_use]
pub fn encode(format: SinkFormat, line: &[u8]) -> Cow<'_, [u8]> {
    let line = line.trim_ascii_end();
    let encode = match format {
        SinkFormat::Json => return Cow::Borrowed(line),
        SinkFormat::Ecs => ecs,
        SinkFormat::Ocsf => ocsf,
    };
    match serde_json::from_slice::<Map<String, Value>>(line) {
        Ok(entry) => Cow::Owned(encode(Fields(entry)).to_string().into_bytes()),
        Err(_) => Cow::Borrowed(line),
    }
}

/// How much an entry matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// What happens all day.
    Info,
    /// Something was refused or changed.
    Notice,
    /// Somebody should look.
    Warning,
}

/// The fields of an entry.
pub(super) struct Fields(pub(super) Map<String, Value>);

impl Fields {
    /// Of a line, where it is an entry.
    pub(super) fn of(line: &[u8]) -> Self {
        Self(serde_json::from_slice(line).unwrap_or_default())
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub(super) fn is_enforced(&self) -> bool {
        self.0.get("enforced").and_then(Value::as_bool) != Some(false)
    }

    pub(super) fn weight(&self) -> Weight {
        match self.text("event") {
            "MISMATCH" | "KILLED" | "UNAPPROVED" | "STOPPED" | "REMOVED" | "HELD" => Weight::Warning,
            "BLOCKED" | "CHANGED" | "GATE" => Weight::Notice,
            _ => Weight::Info,
        }
    }

    pub(super) fn time(&self) -> Option<Timestamp> {
        self.text("timestamp").parse().ok()
    }
}

/// Puts a value at a dotted path, where there is one.
fn put(into: &mut Value, path: &str, value: Option<Value>) {
    let Some(value) = value else { return };
    let mut at = into;
    for part in path.split('.') {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Some(map) = at.as_object_mut() else { return };
        at = map.entry(part).or_insert(Value::Null);
    }
    *at = value;
}

fn ecs(mut entry: Fields) -> Value {
    let event = entry.text("event").to_owned();
    let is_enforced = entry.is_enforced();
    let (category, kind, outcome) = match event.as_str() {
        "ALLOWED" => ("api", "allowed", "success"),
        "BLOCKED" | "PROBE" if is_enforced => ("api", "denied", "failure"),
        "BLOCKED" | "PROBE" => ("api", "allowed", "success"),
        "CREATED" => ("process", "info", "success"),
        "KILLED" | "STOPPED" | "REMOVED" => ("process", "end", "success"),
        "CHANGED" => ("configuration", "change", "success"),
        "GATE" => ("configuration", "info", "unknown"),
        _ => ("process", "info", "unknown"),
    };
    let is_alert = entry.weight() == Weight::Warning;
    let mut out = json!({
        "ecs": {"version": "9.0.0"},
        "event": {
            "kind": if is_alert { "alert" } else { "event" },
            "category": [category],
            "type": [kind],
            "outcome": outcome,
            "module": "img_authz",
            "dataset": "img_authz.audit",
        },
        "service": {"name": "img-authz", "type": "img-authz", "version": env!("CARGO_PKG_VERSION")},
    });
    let duration = entry.0.get("duration_us").and_then(Value::as_u64).map(|us| json!(us.saturating_mul(1000)));
    let action = match entry.text("action") {
        "" => event.to_lowercase(),
        action => action.to_owned(),
    };
    put(&mut out, "event.action", Some(json!(action)));
    put(&mut out, "event.duration", duration);
    let digests = entry.take("digest").map(|digest| json!([digest]));
    for (name, path) in [
        ("timestamp", "@timestamp"),
        ("message", "message"),
        ("decision_id", "event.id"),
        ("code", "event.code"),
        // "to be able to demonstrate log integrity", as ECS says.
        ("chain", "event.hash"),
        ("user", "user.name"),
        ("method", "http.request.method"),
        ("path", "url.path"),
        ("container_id", "container.id"),
        ("container_name", "container.name"),
        ("rules", "rule.id"),
    ] {
        let value = if name == "chain" { entry.0.get(name).cloned() } else { entry.take(name) };
        put(&mut out, path, value);
    }
    if let Some(image) = entry.take("image") {
        let (name, tag) = named(image.as_str().unwrap_or_default());
        put(&mut out, "container.image.name", Some(json!(name)));
        put(&mut out, "container.image.tag", tag.map(|tag| json!([tag])));
    }
    put(&mut out, "container.image.hash.all", digests);
    for done in ["duration_us", "action"] {
        entry.take(done);
    }
    put(&mut out, "img_authz", Some(Value::Object(entry.0)));
    out
}

/// Name and tag of an image as it was named.
fn named(image: &str) -> (&str, Option<&str>) {
    let name = image.split('@').next().unwrap_or(image);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        Some(_) | None => (name, None),
    }
}

fn ocsf(mut entry: Fields) -> Value {
    const CLASS: u64 = 6003;
    let event = entry.text("event").to_owned();
    let action = match entry.text("action") {
        "" => event.to_lowercase(),
        action => action.to_owned(),
    };
    let activity: u64 = match action.as_str() {
        "create" | "pull" | "load" | "import" | "commit" | "build" | "created" => 1,
        "start" | "restart" | "update" | "tag" | "rename" | "changed" => 3,
        "removed" => 4,
        _ => 99,
    };
    let is_refused = matches!(event.as_str(), "BLOCKED" | "PROBE");
    let is_denied = is_refused && entry.is_enforced();
    let severity: u64 = match entry.weight() {
        Weight::Info => 1,
        Weight::Notice => 2,
        Weight::Warning => 4,
    };
    let mut out = json!({
        "class_uid": CLASS,
        "class_name": "API Activity",
        "category_uid": 6,
        "category_name": "Application Activity",
        "activity_id": activity,
        "type_uid": CLASS * 100 + activity,
        "severity_id": severity,
        "status_id": if is_denied { 2 } else { 1 },
        "action_id": if is_denied { 2 } else { 1 },
        "time": entry.time().map_or(0, Timestamp::as_millisecond),
        "metadata": {
            "version": "1.3.0",
            "profiles": ["security_control"],
            "log_name": "img_authz.audit",
            "product": {"name": "img-authz", "vendor_name": "img-authz", "version": env!("CARGO_PKG_VERSION")},
        },
        "api": {"operation": action, "service": {"name": "docker"}},
        "src_endpoint": {"name": super::host_name()},
    });
    if activity == 99 {
        put(&mut out, "activity_name", Some(json!(event)));
    }
    if is_refused || event == "ALLOWED" {
        let mut decision = json!({"decision": if is_denied { "Denied" } else { "Allowed" }});
        put(&mut decision, "policy.name", entry.0.get("code").cloned());
        put(&mut out, "actor.authorizations", Some(json!([decision])));
    }
    let name = entry.take("image");
    let mut resources = Vec::new();
    if let Some(name) = name {
        let mut image = json!({"type": "image", "name": name});
        put(&mut image, "uid", entry.take("digest"));
        resources.push(image);
    }
    if let Some(id) = entry.take("container_id") {
        let mut container = json!({"type": "container", "uid": id});
        put(&mut container, "name", entry.take("container_name"));
        resources.push(container);
    }
    if !resources.is_empty() {
        put(&mut out, "resources", Some(Value::Array(resources)));
    }
    let micros = entry.take("duration_us").and_then(|us| us.as_u64()).filter(|us| *us > 0);
    put(&mut out, "duration", micros.map(|us| json!(us / 1000)));
    for (name, path) in [
        ("message", "message"),
        ("decision_id", "metadata.uid"),
        ("code", "status_code"),
        ("user", "actor.user.name"),
        ("method", "http_request.http_method"),
        ("path", "http_request.url.path"),
        ("count", "count"),
    ] {
        let value = entry.take(name);
        put(&mut out, path, value);
    }
    for done in ["timestamp", "action"] {
        entry.take(done);
    }
    put(&mut out, "unmapped", Some(Value::Object(entry.0)));
    out
}
