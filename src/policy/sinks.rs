//! Where entries of the audit log go besides its file, as it is written: `journald syslog=udp://log.example:514 otlp=https://…`.

use std::path::PathBuf;

use crate::image::Host;
use crate::trust::allowlist::signed::ListKey;

/// Most sinks named. Stops a paste accident from starting a thread for each word.
const MAX_SINKS: usize = 8;
/// Longest word that reads as a sink's name. Keys and tokens are longer.
const NAME_BYTES: usize = 12;

/// Somebody who is sent each entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkSetting {
    /// The process' own output: of the managed plugin, the engine's log.
    Stdout,
    /// A syslog daemon.
    Syslog(SyslogAt),
    /// The journal of this host.
    Journald,
    /// An `OpenTelemetry` collector, by the address that `/v1/logs` is added to.
    Otlp(String),
}

/// Where a syslog daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogAt {
    /// Where this host has its socket.
    Here,
    /// Behind this socket.
    Socket(PathBuf),
    /// Elsewhere, `host:port`, by UDP.
    Udp(String),
}

impl SinkSetting {
    /// What it is called.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Syslog(_) => "syslog",
            Self::Journald => "journald",
            Self::Otlp(_) => "otlp",
        }
    }
}

/// Where figures and spans of decisions are pushed: collectors, by the addresses that `/v1/metrics` and `/v1/traces` are added to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TelemetrySetting {
    /// Where figures go.
    pub metrics: Option<String>,
    /// Where spans go.
    pub traces: Option<String>,
}

/// Where it is written who is alerted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertsSetting {
    /// Nobody is.
    Off,
    /// In this file, which must be there.
    Required(PathBuf),
    /// In this file, if it is there.
    IfPresent(PathBuf),
}

/// How an entry is written for sinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SinkFormat {
    /// As it is in the file.
    #[default]
    Json,
    /// As Elastic's Common Schema has it.
    Ecs,
    /// As the Open Cybersecurity Schema Framework has it.
    Ocsf,
}

/// Whether a setting holds what does not belong there and may be a secret: a password, a query, a webhook's address, a private key.
#[must_use]
pub fn may_be_secret(name: &str, value: &str) -> bool {
    match name {
        "AUDIT_SINKS" | "TELEMETRY" => value.contains(['@', '?', '#']) || words(value).any(|word| !is_name(name_of(word))),
        "ALERTS" => value.trim() != "off" && !is_path(value),
        // The private one, most likely.
        "ALLOWLIST_KEY" => ListKey::read(value).is_err(),
        _ => false,
    }
}

/// Whether that is the path of a file, and no webhook's address: those are pasted without `https:` too.
pub(super) fn is_path(alerts: &str) -> bool {
    let alerts = alerts.trim();
    alerts.starts_with('/') && !alerts.contains("//") && !alerts.contains(['@', '?', '#'])
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}

fn name_of(word: &str) -> &str {
    word.split_once('=').map_or(word, |(name, _)| name)
}

/// Whether it reads as a sink's name, known or not: an address does not.
fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// The sinks that a text names, and what is wrong with it. No fault says an address: whoever wrote it may have written a password into it, and
/// faults are logged. Nor does it say anything of a text that may hold one anywhere, which may have broken into words.
pub(super) fn read(text: &str) -> (Vec<SinkSetting>, Vec<String>) {
    let (mut sinks, mut faults) = (Vec::<SinkSetting>::new(), Vec::new());
    let may_be_told = !may_be_secret("AUDIT_SINKS", text);
    for word in words(text) {
        match sink(word, may_be_told) {
            Ok(sink) if sinks.iter().any(|known| known.name() == sink.name()) => {
                faults.push(format!("names `{}` twice", sink.name()));
            }
            Ok(sink) => sinks.push(sink),
            Err(fault) => faults.push(fault),
        }
        if faults.len() >= MAX_SINKS {
            break;
        }
    }
    (sinks, faults)
}

/// Where figures and spans go, and what is wrong with the text. As with sinks, no fault says an address.
pub(super) fn telemetry(text: &str) -> (TelemetrySetting, Vec<String>) {
    let (mut setting, mut faults) = (TelemetrySetting::default(), Vec::new());
    for word in words(text).take(MAX_SINKS) {
        let (name, at) = word.split_once('=').unwrap_or((word, ""));
        let place = match name {
            "metrics" => &mut setting.metrics,
            "traces" => &mut setting.traces,
            _ => {
                faults.push("a word of it is neither `metrics=https://HOST:PORT` nor `traces=https://HOST:PORT`".to_owned());
                continue;
            }
        };
        match collector(name, at) {
            Ok(_) if place.is_some() => faults.push(format!("names `{name}` twice")),
            Ok(url) => *place = Some(url),
            Err(fault) => faults.push(fault),
        }
    }
    (setting, faults)
}

fn sink(word: &str, may_be_told: bool) -> Result<SinkSetting, String> {
    let (name, at) = word.split_once('=').map_or((word, None), |(name, at)| (name, Some(at)));
    match (name, at) {
        ("stdout", None) => Ok(SinkSetting::Stdout),
        ("journald", None) => Ok(SinkSetting::Journald),
        ("syslog", None) => Ok(SinkSetting::Syslog(SyslogAt::Here)),
        ("syslog", Some(at)) => match (at.strip_prefix("unix:"), at.strip_prefix("udp://")) {
            (Some(path), _) if path.starts_with('/') => Ok(SinkSetting::Syslog(SyslogAt::Socket(path.into()))),
            (_, Some(host)) if host.rsplit_once(':').is_some() && host.parse::<Host>().is_ok() => {
                Ok(SinkSetting::Syslog(SyslogAt::Udp(host.to_owned())))
            }
            _ => Err("`syslog=` is followed by neither `unix:/PATH` nor `udp://HOST:PORT`".to_owned()),
        },
        ("otlp", Some(at)) => collector("otlp", at).map(SinkSetting::Otlp),
        ("otlp", None) => Err("`otlp` needs the collector's address: `otlp=https://HOST:4318`".to_owned()),
        ("stdout" | "journald", Some(_)) => Err(format!("`{name}` takes no address")),
        _ => {
            let name = if may_be_told { format!("`{name}`") } else { "a word of it".to_owned() };
            Err(format!("{name} is not one of `stdout`, `syslog`, `journald` and `otlp=https://HOST:PORT`"))
        }
    }
}

/// The address of a collector.
fn collector(name: &str, at: &str) -> Result<String, String> {
    let (is_plain, rest) = match (at.strip_prefix("https://"), at.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err(format!("`{name}=` is not followed by `https://HOST:PORT`")),
    };
    let rest = rest.trim_end_matches('/');
    if rest.contains(['@', '?', '#', '\\', '%']) {
        return Err(format!(
            "`{name}=` takes an address without user, password and query; a token lies in `otlp.token` in CONFIG_DIR"
        ));
    }
    let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
    let is_here = ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|here| authority.strip_prefix(here).is_some_and(|port| port.is_empty() || port.starts_with(':')));
    if authority.parse::<Host>().is_err() {
        return Err(format!("what follows `https://` in `{name}=` is not a host"));
    }
    if is_plain && !is_here {
        return Err(format!("`http://` in `{name}=` is for this host itself: use https"));
    }
    Ok(at.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_are_named_with_their_addresses() {
        let (sinks, faults) = read("stdout, journald syslog=udp://log.example:514,otlp=https://c.example:4318/base/");
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(
            sinks,
            [
                SinkSetting::Stdout,
                SinkSetting::Journald,
                SinkSetting::Syslog(SyslogAt::Udp("log.example:514".into())),
                SinkSetting::Otlp("https://c.example:4318/base".into())
            ]
        );
        assert_eq!(read("syslog=unix:/run/x").0, [SinkSetting::Syslog(SyslogAt::Socket("/run/x".into()))]);
        assert_eq!(read("syslog otlp=http://127.0.0.1:4318").1, Vec::<String>::new());
        assert!(read(" ").0.is_empty());
    }

    #[test]
    fn what_is_no_sink_is_a_fault_and_no_password_is_told() {
        for (text, told) in [
            ("file", "is not one of"),
            ("journald=x", "takes no address"),
            ("syslog syslog", "twice"),
            ("syslog=tcp://x:1", "neither"),
            ("syslog=udp://x", "neither"),
            ("syslog=unix:run", "neither"),
            ("otlp", "needs the collector's address"),
            ("otlp=c.example", "not followed"),
            ("otlp=http://c.example:4318", "use https"),
            ("otlp=http://127.0.0.1.evil.example", "use https"),
            ("otlp=https://u:geheim@c.example", "without user"),
            ("otlp=https://c.example/?key=geheim", "without user"),
            ("otlp=https://", "is not a host"),
            ("https://u:geheim@c.example", "a word of it is not one of"),
            ("hooks.slack.com/services/T/B/geheim", "a word of it is not one of"),
            ("geheim-0123456789", "a word of it is not one of"),
            ("syslog=tcp://u:geheim@h", "neither"),
            ("syslog=udp://u:geheim@h:1", "neither"),
            ("otlp=u:geheim@c.example", "not followed"),
        ] {
            let (_, faults) = read(text);
            assert_eq!(faults.len(), 1, "{text}");
            assert!(faults[0].contains(told) && !faults[0].contains("geheim"), "{text}: {faults:?}");
            assert_eq!(may_be_secret("AUDIT_SINKS", text), text.contains("geheim"), "{text}");
        }
        // A password with a comma breaks into words.
        let (_, faults) = read("otlp=https://u:geheim,geheim,b@c.example");
        assert!(faults.len() == 3 && !faults.concat().contains("geheim"), "{faults:?}");
    }

    #[test]
    fn figures_and_spans_each_have_a_collector_and_no_password_is_told() {
        let (setting, faults) = telemetry("metrics=https://c.example:4318 traces=http://127.0.0.1:4318/");
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(setting.metrics.as_deref(), Some("https://c.example:4318"));
        assert_eq!(setting.traces.as_deref(), Some("http://127.0.0.1:4318"));
        assert_eq!(telemetry("").0, TelemetrySetting::default());
        for (text, told) in [
            ("https://u:geheim@c.example", "a word of it"),
            ("metrics", "not followed"),
            ("traces=https://u:geheim@c.example", "without user"),
            ("metrics=http://c.example", "use https"),
            ("traces=https://a traces=https://b", "twice"),
        ] {
            let (_, faults) = telemetry(text);
            assert!(faults.len() == 1 && faults[0].contains(told) && !faults[0].contains("geheim"), "{text}: {faults:?}");
            assert_eq!(may_be_secret("TELEMETRY", text), text.contains("geheim"), "{text}");
        }
    }

    #[test]
    fn a_file_of_alerts_is_a_path_and_no_address() {
        for (text, is_file) in [
            ("/etc/alerts.toml", true),
            (" /etc/alerts.toml ", true),
            ("hooks.slack.com/services/T/B/geheim", false),
            ("https://hooks.slack.com/services/T/B/geheim", false),
            ("//hooks.slack.com/services/T/B/geheim", false),
            ("alerts.toml", false),
            ("/x?geheim", false),
        ] {
            assert_eq!((is_path(text), may_be_secret("ALERTS", text)), (is_file, !is_file), "{text}");
        }
        assert!(!may_be_secret("ALERTS", "off"));
        for (text, may_be) in
            [("MCowBQYDK2VwAyEAEPQ5nfe97hE8e03LMMkYmD2eBTwgjPvhjBn1gSld7yQ=", false), ("MC4CAQAwBQYDK2Vw", true)]
        {
            assert_eq!(may_be_secret("ALLOWLIST_KEY", text), may_be, "{text}");
        }
    }
}
