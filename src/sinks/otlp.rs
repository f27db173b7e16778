//! An `OpenTelemetry` collector: OTLP over HTTP, in its JSON form. Of the audit log the entry is the record's body, its event and link are
//! attributes; figures (`metrics`) and spans (`traces`) go the same way.

pub(super) mod metrics;
mod settled;
pub(super) mod traces;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use self::settled::{Settled, Untaken};
use super::encode::{Fields, Weight};
use super::{Failure, Place, Way, encode, host_name};
use crate::files::read_secret;
use crate::net::{Bounds, Client, HeaderMap, HeaderValue, HttpAnswer, Plain, Tls, Url, authority};
use crate::policy::SinkFormat;

/// What an answer may cost: it says how many records were not taken.
const BOUNDS: Bounds = Bounds { bytes: 64 << 10, time: Duration::from_secs(10) };
/// Largest call. What is larger is sent in parts; a collector takes 20 MiB where nobody said otherwise.
const BODY_BYTES: usize = 4 << 20;
/// Largest token read. Stops a wrong path from filling memory.
const TOKEN_BYTES: u64 = 16 << 10;

/// Why a collector that wants a token gets none.
const WITHHELD: &str = "the collector's token is sent over https alone: who else holds a port of this host would have it";

/// A collector, and what it takes to talk to it.
struct Collector {
    url: String,
    certs: Vec<PathBuf>,
    token: PathBuf,
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

impl Collector {
    fn new(url: String, place: &Place) -> Self {
        Self {
            url,
            certs: place.certs.clone(),
            token: place.token.clone(),
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
        match read_secret(&self.token, TOKEN_BYTES) {
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

    fn post(&mut self, body: String) -> Result<HttpAnswer, Failure> {
        let ready = match self.ready.take() {
            Some(ready) => ready,
            None => self.prepare().map_err(Failure::away)?,
        };
        if ready.is_withheld && !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(token = %self.token.display(), "{WITHHELD}");
        }
        let asked = ready.client.post_json(&ready.url, ready.headers.clone(), body, BOUNDS);
        let answer = self.workers.block_on(asked).map_err(Failure::away)?;
        if ready.is_withheld && matches!(answer.status, 401 | 403) {
            return Err(Failure::away(format!("the collector says {}; {WITHHELD}", answer.status)));
        }
        if matches!(answer.status, 200..=299) || is_refusal(answer.status) {
            self.ready = Some(ready);
        }
        Ok(answer)
    }

    /// Posts so many records; how many it has taken. `rejected` is what it calls those of them that it has not.
    fn push(&mut self, body: String, records: usize, rejected: &str) -> Result<u64, Untaken> {
        if body.len() > BODY_BYTES && records > 1 {
            return Err(Untaken::Large);
        }
        let answer = self.post(body).map_err(Untaken::Away)?;
        arrived(&answer, records as u64, rejected)
    }
}

/// What it will not take however often it is sent. A token that is wrong can be put right.
const fn is_refusal(status: u16) -> bool {
    matches!(status, 400 | 413 | 415 | 422)
}

/// Who tells.
fn resource() -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    json!({"attributes": [
        text("service.name", "img-authz"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("host.name", &host_name()),
    ]})
}

/// Entries as log records.
pub(super) struct Logs {
    collector: Collector,
    format: SinkFormat,
    /// What became of the first lines of a batch whose others wait.
    settled: Settled,
}

impl Logs {
    pub(super) fn new(url: &str, place: &Place) -> Self {
        Self { collector: Collector::new(format!("{url}/v1/logs"), place), format: place.format, settled: Settled::default() }
    }
}

impl Way for Logs {
    fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure> {
        let Self { collector, format, settled } = self;
        settled.send(lines, |part| collector.push(logs(part, *format).to_string(), part.len(), "rejectedLogRecords"))
    }
}

/// How many of so many records the collector has taken.
fn arrived(answer: &HttpAnswer, records: u64, rejected: &str) -> Result<u64, Untaken> {
    match answer.status {
        200..=299 => {
            let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            // 64-bit numbers are texts in this form of JSON.
            let rejected = said.get("partialSuccess").and_then(|said| said.get(rejected));
            let rejected = rejected.and_then(|told| told.as_u64().or_else(|| told.as_str()?.parse().ok())).unwrap_or(0);
            Ok(records.saturating_sub(rejected))
        }
        status if is_refusal(status) => Err(Untaken::Refused(format!("the collector says {status}"))),
        status => {
            let why = format!("the collector says {status}");
            let away = Failure::Away { why: why.clone(), rest: answer.rest() };
            // Those are about who asks, or how busy it is, whatever is sent.
            let is_of_moment = matches!(status, 401 | 407 | 408 | 429 | 502..=504);
            Err(if is_of_moment { Untaken::Away(away) } else { Untaken::Answered(why, away) })
        }
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
        "resource": resource(),
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
        let token = folder.path().join("otlp.token");
        std::fs::write(&token, "geheim\n").unwrap();
        let set = |mode| std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        set(0o600);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let place =
            Place { format: SinkFormat::Json, certs: Vec::new(), token: token.clone(), workers: runtime.handle().clone() };
        for (url, sent) in [("https://c.example:4318", Some("Bearer geheim")), ("http://127.0.0.1:4318", None)] {
            let ready = Collector::new(url.to_owned(), &place).prepare().unwrap();
            assert_eq!(ready.headers.get("authorization").map(|value| value.to_str().unwrap()), sent, "{url}");
            assert_eq!(ready.is_withheld, sent.is_none(), "{url}");
        }
        // What others may read or change is no secret.
        for (mode, told) in [(0o644, "may be read by others (mode 0644): chmod 0600"), (0o620, "may be changed by others")] {
            set(mode);
            let why = Collector::new("https://c.example:4318".to_owned(), &place).prepare().err().unwrap();
            assert!(why.contains(told), "{why}");
        }
    }
}
