//! Where entries of the audit log go besides its file, as it is written: `journald syslog=udp://log.example:514 otlp=https://…`.

use std::path::PathBuf;

use crate::image::Host;
use crate::text::fit;

/// Most sinks named. Stops a paste accident from starting a thread for each word.
const MAX_SINKS: usize = 8;

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

/// The sinks that a text names, and what is wrong with it.
pub(super) fn read(text: &str) -> (Vec<SinkSetting>, Vec<String>) {
    let (mut sinks, mut faults) = (Vec::<SinkSetting>::new(), Vec::new());
    for word in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty()) {
        match sink(word) {
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

fn sink(word: &str) -> Result<SinkSetting, String> {
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
            _ => Err(format!("`syslog={}` is neither `syslog=unix:/PATH` nor `syslog=udp://HOST:PORT`", fit(at, 60))),
        },
        ("otlp", Some(at)) => collector(at).map(SinkSetting::Otlp),
        ("otlp", None) => Err("`otlp` needs the collector's address: `otlp=https://HOST:4318`".to_owned()),
        ("stdout" | "journald", Some(_)) => Err(format!("`{name}` takes no address")),
        _ => Err(format!("`{}` is not one of `stdout`, `syslog`, `journald` and `otlp=https://HOST:PORT`", fit(name, 40))),
    }
}

/// The address of a collector. What it is not said in the log, since whoever writes it here may have written a password into it.
fn collector(at: &str) -> Result<String, String> {
    let (is_plain, rest) = match (at.strip_prefix("https://"), at.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err("`otlp=` is not followed by `https://HOST:PORT`".to_owned()),
    };
    let rest = rest.trim_end_matches('/');
    if rest.contains(['@', '?', '#', '\\', '%']) {
        return Err(
            "`otlp=` takes an address without user, password and query; a token lies in `otlp.token` in CONFIG_DIR".to_owned()
        );
    }
    let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
    let is_here = ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|here| authority.strip_prefix(here).is_some_and(|port| port.is_empty() || port.starts_with(':')));
    if authority.parse::<Host>().is_err() {
        return Err(format!("`{}` in `otlp=` is not a host", fit(authority, 60)));
    }
    if is_plain && !is_here {
        return Err(format!("`http://{}` in `otlp=` is not this host itself: use https", fit(authority, 60)));
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
        ] {
            let (_, faults) = read(text);
            assert_eq!(faults.len(), 1, "{text}");
            assert!(faults[0].contains(told) && !faults[0].contains("geheim"), "{text}: {faults:?}");
        }
    }
}
