//! An `OpenTelemetry` collector: OTLP over HTTP, in its JSON form. The entry is the record's body, its event and link are attributes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::encode::{Fields, Weight};
use super::{Failure, Place, Way, encode, host_name};
use crate::files::read_text;
use crate::net::{Bounds, Client, HeaderMap, HeaderValue, HttpAnswer, Plain, Tls, Url, authority};
use crate::policy::SinkFormat;

/// What an answer may cost: it says how many records were not taken.
const BOUNDS: Bounds = Bounds { bytes: 64 << 10, time: Duration::from_secs(10) };
/// Largest token read. Stops a wrong path from filling memory.
const TOKEN_BYTES: u64 = 16 << 10;

/// Why a collector that wants a token gets none.
const WITHHELD: &str = "the collector's token is sent over https alone: who else holds a port of this host would have it";

/// Entries as log records.
pub(super) struct Logs {
    url: String,
    certs: Vec<PathBuf>,
    token: PathBuf,
    format: SinkFormat,
    workers: tokio::runtime::Handle,
    /// Whether it was told that a token is not sent.
    is_told: bool,
    /// Made when it is needed, and again after each failure: certificates and the token may have been another's.
    ready: Option<Ready>,
}

struct Ready {
    client: Client,
    url: Url,
    headers: HeaderMap,
    /// A token that is not sent.
    is_withheld: bool,
}

impl Logs {
    pub(super) fn new(url: &str, place: &Place) -> Self {
        Self {
            url: format!("{url}/v1/logs"),
            certs: place.certs.clone(),
            token: place.token.clone(),
            format: place.format,
            workers: place.workers.clone(),
            is_told: false,
            ready: None,
        }
    }

    fn prepare(&self) -> Result<Ready, String> {
        let url = Url::parse(&self.url).map_err(|error| error.to_string())?;
        let mut tls = Tls::for_server(&authority(&url), None, &self.certs).map_err(|error| error.to_string())?;
        // The settings take `http` for this host alone.
        let is_plain = url.scheme() == "http";
        tls.plain = if is_plain { Plain::Allowed } else { Plain::Refused };
        let client = Client::new(&tls).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        // While the collector is not up, anybody on this host may hold its port. A certificate says who answers, a port does not.
        if is_plain {
            let is_withheld = self.token.symlink_metadata().is_ok();
            return Ok(Ready { client, url, headers, is_withheld });
        }
        match read_text(&self.token, TOKEN_BYTES) {
            Ok(token) => {
                let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
                let mut value = value.map_err(|_| format!("`{}` is not a token", self.token.display()))?;
                value.set_sensitive(true);
                headers.insert("authorization", value);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("`{}` cannot be read: {error}", self.token.display())),
        }
        Ok(Ready { client, url, headers, is_withheld: false })
    }
}

impl Way for Logs {
    fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure> {
        let ready = match self.ready.take() {
            Some(ready) => ready,
            None => self.prepare().map_err(Failure::away)?,
        };
        if ready.is_withheld && !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(token = %self.token.display(), "{WITHHELD}");
        }
        let body = logs(lines, self.format).to_string();
        let asked = ready.client.post_json(&ready.url, ready.headers.clone(), body, BOUNDS);
        let answer = self.workers.block_on(asked).map_err(Failure::away)?;
        if ready.is_withheld && matches!(answer.status, 401 | 403) {
            return Err(Failure::away(format!("the collector says {}; {WITHHELD}", answer.status)));
        }
        let arrived = arrived(&answer, lines.len() as u64)?;
        self.ready = Some(ready);
        Ok(arrived)
    }
}

/// How many of so many records the collector has taken.
fn arrived(answer: &HttpAnswer, records: u64) -> Result<u64, Failure> {
    match answer.status {
        200..=299 => {
            let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            // 64-bit numbers are texts in this form of JSON.
            let rejected = said.pointer("/partialSuccess/rejectedLogRecords");
            let rejected = rejected.and_then(|told| told.as_u64().or_else(|| told.as_str()?.parse().ok())).unwrap_or(0);
            Ok(records.saturating_sub(rejected))
        }
        // What it will not take however often it is sent. A token that is wrong can be put right.
        status @ (400 | 413 | 415 | 422) => Err(Failure::Refused(format!("the collector says {status}"))),
        status => Err(Failure::Away { why: format!("the collector says {status}"), rest: answer.rest() }),
    }
}

/// Entries as `ExportLogsServiceRequest`.
fn logs(lines: &[Arc<[u8]>], format: SinkFormat) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let record = |line: &Arc<[u8]>| {
        let entry = Fields::of(line);
        let (number, severity) = match entry.weight() {
            Weight::Info => (9, "INFO"),
            Weight::Notice => (10, "INFO2"),
            Weight::Warning => (13, "WARN"),
        };
        let time = entry.time().map_or(0, jiff::Timestamp::as_nanosecond).to_string();
        let attributes: Vec<Value> = ["event", "code", "chain"]
            .into_iter()
            .filter(|name| !entry.text(name).is_empty())
            .map(|name| text(&format!("img_authz.{name}"), entry.text(name)))
            .collect();
        json!({
            "timeUnixNano": time,
            "observedTimeUnixNano": time,
            "severityNumber": number,
            "severityText": severity,
            "body": {"stringValue": String::from_utf8_lossy(&encode(format, line))},
            "attributes": attributes,
        })
    };
    let version = env!("CARGO_PKG_VERSION");
    json!({"resourceLogs": [{
        "resource": {"attributes": [
            text("service.name", "img-authz"),
            text("service.version", version),
            text("host.name", &host_name()),
        ]},
        "scopeLogs": [{
            "scope": {"name": "img_authz.audit", "version": version},
            "logRecords": lines.iter().map(record).collect::<Vec<_>>(),
        }],
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_over_https_and_to_no_port_of_this_host() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("otlp.token"), "geheim\n").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let place = Place {
            format: SinkFormat::Json,
            certs: Vec::new(),
            token: folder.path().join("otlp.token"),
            workers: runtime.handle().clone(),
        };
        for (url, sent) in [("https://c.example:4318", Some("Bearer geheim")), ("http://127.0.0.1:4318", None)] {
            let ready = Logs::new(url, &place).prepare().unwrap();
            assert_eq!(ready.headers.get("authorization").map(|value| value.to_str().unwrap()), sent, "{url}");
            assert_eq!(ready.is_withheld, sent.is_none(), "{url}");
        }
    }
}
