//! An `OpenTelemetry` collector: OTLP over HTTP, in its JSON form. Of the audit log the entry is the record's body, its event and link are
//! attributes; figures (`metrics`) and spans (`traces`) go the same way.

pub(super) mod metrics;
pub(super) mod traces;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::encode::{Fields, Weight};
use super::{Failure, Place, Way, encode, host_name};
use crate::files::read_secret;
use crate::net::{Bounds, Client, HeaderMap, HeaderValue, HttpAnswer, Plain, Tls, Url, authority};
use crate::policy::SinkFormat;

/// What an answer may cost: it says how many records were not taken.
const BOUNDS: Bounds = Bounds { bytes: 64 << 10, time: Duration::from_secs(10) };
/// Largest call. What is larger is sent in parts; a collector takes 20 MiB where nobody said otherwise.
const BODY_BYTES: usize = 4 << 20;
/// How many parts of a batch may be refused before what is left is sent whole, and given up where that is refused. Stops a collector that refuses all
/// from being asked about each entry; enough for a few that are bad among 512.
const REFUSALS: usize = 48;
/// How often in a row a collector answers with a status that may be about an entry before it is found out whether it is. Stops one entry, in which
/// a client has written what a firewall on the way does not like, from stopping all behind it; enough for a restart.
const TRIES: u32 = 5;
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

    /// Posts what is taken as a whole, or not at all.
    fn push(&mut self, body: String) -> Result<(), Failure> {
        let answer = self.post(body)?;
        match answer.status {
            200..=299 => Ok(()),
            status if is_refusal(status) => Err(Failure::Refused(format!("the collector says {status}"))),
            status => Err(Failure::Away { why: format!("the collector says {status}"), rest: answer.rest() }),
        }
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

    fn call(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Untaken> {
        let body = logs(lines, self.format).to_string();
        if body.len() > BODY_BYTES && lines.len() > 1 {
            return Err(Untaken::Large);
        }
        let answer = self.collector.post(body).map_err(Untaken::Away)?;
        arrived(&answer, lines.len() as u64)
    }
}

impl Way for Logs {
    fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure> {
        let mut settled = std::mem::take(&mut self.settled);
        let came = settled.send(lines, |part| self.call(part));
        self.settled = settled;
        came
    }
}

/// Why lines were not taken.
enum Untaken {
    /// Fewer may be.
    Large,
    /// They never will, together: one of them may be why.
    Refused(String),
    /// They may be later, or one of them is why.
    Answered(String, Failure),
    /// They may be later.
    Away(Failure),
}

/// What became of the first of so many lines; what goes on after a failure begins with the same.
#[derive(Default)]
struct Settled {
    lines: usize,
    arrived: u64,
    /// How often the collector has answered with a status that may be about an entry.
    answered: u32,
}

impl Settled {
    /// Sends lines in parts: one that is refused is halved, so that what the collector does not take costs the others nothing.
    fn send(&mut self, lines: &[Arc<[u8]>], mut call: impl FnMut(&[Arc<[u8]>]) -> Result<u64, Untaken>) -> Result<u64, Failure> {
        let (mut size, mut refusals, mut refused, mut is_choosy) = (lines.len(), 0_usize, None, false);
        while let Some(rest) = lines.get(self.lines..).filter(|rest| !rest.is_empty()) {
            let part = rest.get(..size.max(1)).unwrap_or(rest);
            match call(part) {
                Ok(arrived) => {
                    self.lines += part.len();
                    self.arrived = self.arrived.saturating_add(arrived);
                    size = part.len().saturating_mul(2);
                }
                Err(Untaken::Away(failure)) => return Err(failure),
                Err(Untaken::Large) if part.len() > 1 => size = part.len() / 2,
                Err(Untaken::Answered(why, failure)) => {
                    self.answered = self.answered.saturating_add(1);
                    // A call without entries shows whether it answers so whatever is sent.
                    if self.answered < TRIES || matches!(call(&[]), Err(Untaken::Away(_) | Untaken::Answered(..))) {
                        return Err(failure);
                    }
                    is_choosy = true;
                    if part.len() > 1 {
                        size = part.len() / 2;
                    } else {
                        self.lines += part.len();
                        refused = Some(why);
                    }
                }
                Err(Untaken::Refused(_)) if part.len() > 1 && refusals < REFUSALS => {
                    refusals += 1;
                    size = part.len() / 2;
                }
                Err(Untaken::Refused(why)) => {
                    refusals += 1;
                    self.lines += part.len();
                    refused = Some(why);
                    if refusals >= REFUSALS {
                        size = lines.len();
                    }
                }
                // One line is always sent.
                Err(Untaken::Large) => self.lines += part.len(),
            }
        }
        // One that is choosy is not tried so often about the next.
        let Self { arrived, answered, .. } = std::mem::take(self);
        self.answered = if is_choosy { answered } else { 0 };
        match refused {
            Some(why) if arrived == 0 => Err(Failure::Refused(why)),
            Some(_) | None => Ok(arrived),
        }
    }
}

/// How many of so many records the collector has taken.
fn arrived(answer: &HttpAnswer, records: u64) -> Result<u64, Untaken> {
    match answer.status {
        200..=299 => {
            let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            // 64-bit numbers are texts in this form of JSON.
            let rejected = said.pointer("/partialSuccess/rejectedLogRecords");
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

    fn lines(count: u32) -> Vec<Arc<[u8]>> {
        (0..count).map(|number| Arc::from(number.to_be_bytes().as_slice())).collect()
    }

    #[test]
    fn an_entry_that_is_refused_costs_the_others_nothing_and_a_collector_that_refuses_all_few_calls() {
        let all = lines(512);
        for bad in [vec![], vec![0], vec![300], vec![511], vec![7, 8, 400]] {
            let mut came = Vec::new();
            let sent = Settled::default().send(&all, |part| {
                if bad.iter().any(|bad| part.contains(&all[*bad])) {
                    return Err(Untaken::Refused("400".into()));
                }
                came.extend(part.to_vec());
                Ok(part.len() as u64)
            });
            assert!(matches!(sent, Ok(sent) if sent == 512 - bad.len() as u64), "{bad:?}");
            let good = all.iter().enumerate().filter(|(number, _)| !bad.contains(number)).map(|(_, line)| line.clone());
            assert_eq!(came, good.collect::<Vec<_>>(), "{bad:?}");
        }
        let mut calls = 0;
        let refused = Settled::default().send(&all, |_| {
            calls += 1;
            Err(Untaken::Refused("400".into()))
        });
        assert!(matches!(refused, Err(Failure::Refused(why)) if why == "400") && calls <= REFUSALS + 1, "{calls}");
    }

    /// A client writes what a firewall before the collector does not like.
    #[test]
    fn an_entry_that_is_answered_with_a_status_again_and_again_costs_the_others_nothing_and_an_outage_costs_none() {
        let all = lines(512);
        let answered = || Untaken::Answered("403".into(), Failure::away("403"));
        let (mut settled, mut came) = (Settled::default(), Vec::new());
        let mut send = |settled: &mut Settled| {
            settled.send(&all, |part| {
                if part.iter().any(|line| *line == all[0] || *line == all[300]) {
                    return Err(answered());
                }
                came.extend(part.to_vec());
                Ok(part.len() as u64)
            })
        };
        for _ in 1..TRIES {
            assert!(matches!(send(&mut settled), Err(Failure::Away { .. })));
        }
        assert!(matches!(send(&mut settled), Ok(510)));
        // From now on it is known to be choosy.
        assert!(matches!(send(&mut settled), Ok(510)));
        assert_eq!(came.len(), 2 * 510);
        // Without entries it says the same: they wait, however long it takes, and come when it is back.
        for _ in 0..4 * TRIES {
            assert!(matches!(settled.send(&all, |_| Err(answered())), Err(Failure::Away { .. })));
        }
        assert!(matches!(settled.send(&all, |part| Ok(part.len() as u64)), Ok(512)));
        assert_eq!(settled.answered, 0);
    }

    #[test]
    fn what_is_too_large_is_sent_in_parts_and_what_has_arrived_is_not_sent_again() {
        let all = lines(9);
        let (mut settled, mut came) = (Settled::default(), Vec::new());
        let mut call = |part: &[Arc<[u8]>], is_away: bool| {
            if part.len() > 2 {
                return Err(Untaken::Large);
            }
            if is_away && came.len() >= 4 {
                return Err(Untaken::Away(Failure::away("503")));
            }
            came.extend(part.to_vec());
            Ok(part.len() as u64)
        };
        for turn in 0..2 {
            let is_away = turn == 0;
            let sent = settled.send(&all, |part| call(part, is_away));
            assert!(if is_away { matches!(sent, Err(Failure::Away { .. })) } else { matches!(sent, Ok(9)) });
        }
        assert_eq!(came, all);
    }
}
