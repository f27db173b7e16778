//! Where entries of the audit log go besides its file: standard output, syslog, the journal, an OpenTelemetry collector; and who is alerted of
//! some. Each has a thread and a bounded queue of its own (`queue`), so that no decision waits for any of them, and none for another.
//!
//! Each entry goes out with its link (`chain`), which is what `log verify --head` is given later.

mod alerts;
mod encode;
mod local;
mod otlp;
mod queue;
mod spans;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audit::Carrier;
use crate::clock;
use crate::policy::{AlertsSetting, SinkFormat, SinkSetting, TelemetrySetting};

use self::queue::Queue;
pub use encode::encode;
pub use spans::spans;

/// Why nothing arrived.
enum Failure {
    /// It may later.
    Away {
        /// Why not now.
        why: String,
        /// How long it wants to be left alone.
        rest: Option<Duration>,
    },
    /// It never will.
    Refused(String),
}

impl Failure {
    #[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
    fn away(why: impl ToString) -> Self {
        Self::Away { why: why.to_string(), rest: None }
    }
}

/// The way to a sink.
trait Way: Send {
    /// Sends entries, and says how many of them have arrived; the others never will.
    fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure>;

    /// What it sends.
    fn what(&self) -> &'static str {
        "entries of the audit log"
    }

    /// What is wrong though entries are taken.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Whether it has something to do each second, entries or none.
    fn has_a_beat(&self) -> bool {
        false
    }

    /// Sends what it has taken and not sent yet, until then at most. Nothing is sent after it.
    fn finish(&mut self, _until: Instant) {}
}

/// What sinks need of their host.
pub struct Place {
    /// How entries are written.
    pub format: SinkFormat,
    /// Folders of servers' certificates.
    pub certs: Vec<PathBuf>,
    /// Where a token for the collector lies, if there is one.
    pub token: PathBuf,
    /// Where asynchronous work is done.
    pub workers: tokio::runtime::Handle,
}

/// Starts the sinks of these settings, and those who are alerted.
pub fn start(sinks: &[SinkSetting], alerts: &AlertsSetting, place: &Place) -> std::io::Result<Vec<Arc<dyn Carrier>>> {
    let way = |sink: &SinkSetting| -> Box<dyn Way> {
        match sink {
            SinkSetting::Stdout => Box::new(local::Stdout(place.format)),
            SinkSetting::Syslog(at) => Box::new(local::Syslog::new(at, place.format)),
            SinkSetting::Journald => Box::new(local::Journald::here(place.format)),
            SinkSetting::Otlp(url) => Box::new(otlp::Logs::new(url, place)),
        }
    };
    let mut all: Vec<Arc<dyn Carrier>> = Vec::new();
    for sink in sinks {
        all.push(Queue::start(sink.name(), |_| true, way(sink))?);
    }
    let alerts = match alerts {
        AlertsSetting::Off => None,
        AlertsSetting::Required(path) => Some(alerts::Alerts::new(path.clone(), true, place)),
        AlertsSetting::IfPresent(path) => Some(alerts::Alerts::new(path.clone(), false, place)),
    };
    if let Some(alerts) = alerts {
        all.push(Queue::start("alerts", alerts::may_alert, Box::new(alerts))?);
    }
    Ok(all)
}

/// Where the gate's figures are pushed.
pub struct Figures(Arc<Queue>);

impl Figures {
    /// Pushes this text, as `/metrics` shows it. Never waits.
    pub fn push(&self, text: &str) {
        self.0.carry(&otlp::metrics::stamped(text));
    }
}

/// Starts what pushes figures and spans, as far as it is set.
pub fn telemetry(setting: &TelemetrySetting, place: &Place) -> std::io::Result<Option<Figures>> {
    if let Some(url) = &setting.traces {
        spans::go_to(Queue::start("otlp-traces", |_| true, Box::new(otlp::traces::Traces::new(url, place)))?);
    }
    let Some(url) = &setting.metrics else { return Ok(None) };
    let way = Box::new(otlp::metrics::Metrics::new(url, place));
    Ok(Some(Figures(Queue::start("otlp-metrics", |_| true, way)?)))
}

/// The time as OTLP has it: nanoseconds since 1970.
fn nanoseconds() -> u64 {
    u64::try_from(clock::now().as_nanosecond()).unwrap_or(0)
}

/// What this host calls itself.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    crate::text::fit(name.trim(), 64)
}

#[cfg(test)]
mod tests;
