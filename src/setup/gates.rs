//! Gates: the one that serves, and one that only says what the one of this host would say.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::clients::certificate_folders;
use super::host::Place;
use super::kept::Kept;
use super::resolve::{build, faulty, faulty_as, list, rules};
use super::state::{APPROVALS, AUDIT_LOG, EXCEPTIONS, PLUGINS, RECORD_SALT, RENAMES};
use crate::audit::{Carrier, FileJournal, Journal, JournalLimits, NoJournal};
use crate::engine::Engine;
use crate::gate::{Approvals, DecisionLimits, Gate, Identity, Own, OwnHost, Plugins, latest_seen};
use crate::net::Url;
use crate::policy::{Resolved, Settings, Times};
use crate::sinks;
use crate::trust::notary::Source;

/// Which resolvers are asked.
const RESOLVERS: &str = "/etc/resolv.conf";
/// What is asked about images of Docker Hub.
const DOCKER_HUB: [&str; 2] = ["registry-1.docker.io", "auth.docker.io"];

/// A gate that serves: it keeps records, a journal, and the settings that worked.
pub(crate) fn serving(
    settings: &Settings,
    kept: &mut Kept,
    socket: &Path,
    limits: DecisionLimits,
    workers: tokio::runtime::Handle,
) -> Result<Gate, String> {
    let state = settings.state_dir();
    if let Err(error) = std::fs::create_dir_all(&state) {
        tracing::error!(folder = %state.display(), %error, "the state folder cannot be made; nothing is kept across restarts");
    }
    let limits_of_log = JournalLimits { age: settings.audit_rotate(), ..JournalLimits::default() };
    let journal: Arc<dyn Journal> =
        match FileJournal::open_with(&state.join(AUDIT_LOG), limits_of_log, carriers(settings, &workers)) {
            Ok(journal) => journal,
            Err(error) => {
                tracing::error!(%error, "decisions go on without an audit log");
                Arc::new(NoJournal::default())
            }
        };
    let engine = Arc::new(Engine::at(settings.docker_host()).map_err(|error| error.to_string())?);
    let approvals = Approvals::open(&state.join(APPROVALS));
    let (rules, is_good) = rules(settings, kept);
    let ends = Arc::new(Engine::at(settings.docker_host()).map_err(|error| error.to_string())?);
    let gate = Gate::new(rules, engine, journal, approvals, Identity::of_process(socket), workers)
        .with_plugins(Plugins::open(&state.join(PLUGINS)))
        .with_limits(limits)
        .with_exceptions_told(state.join(EXCEPTIONS))
        .that_records(state.join(RECORD_SALT))
        .serving(state.join(RENAMES), ends, own(kept.reading().in_force.as_ref().unwrap_or(settings)));
    gate.settings_hold(is_good);
    Ok(gate)
}

/// Where figures are pushed, if they are; where spans of decisions are, these begin to arrive.
pub(crate) fn telemetry(settings: &Settings, workers: &tokio::runtime::Handle) -> Option<sinks::Figures> {
    sinks::telemetry(&settings.telemetry(), &sink_place(settings, workers)).unwrap_or_else(|error| {
        tracing::error!(%error, "figures and spans are pushed nowhere: no thread can be started");
        None
    })
}

fn sink_place(settings: &Settings, workers: &tokio::runtime::Handle) -> sinks::Place {
    sinks::Place {
        format: settings.audit_format(),
        certs: certificate_folders(settings),
        token: settings.config_dir().join("otlp.token"),
        workers: workers.clone(),
    }
}

/// Who carries entries of the audit log away.
fn carriers(settings: &Settings, workers: &tokio::runtime::Handle) -> Vec<Arc<dyn Carrier>> {
    let place = sink_place(settings, workers);
    sinks::start(&settings.audit_sinks(), &settings.alerts(), &place).unwrap_or_else(|error| {
        tracing::error!(%error, "entries of the audit log are carried nowhere: no thread can be started");
        Vec::new()
    })
}

/// What the gate talks to, as far as the settings can be read.
pub(crate) fn own(settings: &Settings) -> Own {
    let mut hosts = Vec::new();
    let resolved = settings.resolve(false).ok();
    for (_, notary) in resolved.iter().flat_map(Resolved::notaries) {
        if let Source::Server(server) = &notary.source {
            hosts.extend(Url::parse(server));
        }
    }
    for registry in resolved.iter().flat_map(|resolved| resolved.policy.scopes.registries()) {
        let asked: &[&str] = if registry.is_docker_hub() { &DOCKER_HUB } else { &[registry.as_str()] };
        hosts.extend(asked.iter().filter_map(|host| Url::parse(&format!("https://{host}/")).ok()));
    }
    let named = |url: &Url| {
        let name = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(OwnHost { name, port: url.port_or_known_default().unwrap_or(443) })
    };
    Own::new(hosts.iter().filter_map(named).collect(), RESOLVERS.into())
}

/// By which time a gate with this state folder judges exceptions.
pub(crate) fn exception_times(state: &Path, now: Timestamp) -> Times {
    let latest = latest_seen(&state.join(EXCEPTIONS)).map_or(now, |latest| latest.max(now));
    Times { now, latest }
}

/// A gate that only says what the one of this host would say.
pub(crate) fn asking(place: &Place, workers: tokio::runtime::Handle) -> Result<Gate, String> {
    let settings = &place.settings;
    let rules = match (place.is_void, build(settings, &mut place.kept())) {
        (true, _) => faulty_as(settings, place.faults.join("; "), false),
        (false, Ok(rules)) => rules,
        (false, Err(faults)) if place.is_told() => {
            let faults = list(&faults);
            return Err(format!("files that the gate read are at fault now, and it goes on with what it read before: {faults}"));
        }
        (false, Err(faults)) => faulty(settings, &faults),
    };
    let engine = Arc::new(Engine::at(settings.docker_host()).map_err(|error| error.to_string())?);
    let approvals = Approvals::look(&settings.state_dir().join(APPROVALS));
    let plugins = Plugins::look(&settings.state_dir().join(PLUGINS));
    let gate = Gate::new(rules, engine, Arc::new(NoJournal::default()), approvals, Identity::default(), workers);
    Ok(gate.with_plugins(plugins).with_exceptions_told(settings.state_dir().join(EXCEPTIONS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_judged_by_the_latest_time_that_a_gate_has_seen_where_its_file_says_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-01-01T12:00:00Z");
        let latest = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(folder.path().join(EXCEPTIONS), text).unwrap();
            }
            exception_times(folder.path(), now)
        };
        assert_eq!(latest(None), now.into());
        assert_eq!(latest(Some("{")), now.into());
        assert_eq!(latest(Some(r#"{"latest":null,"told":{}}"#)), now.into());
        assert_eq!(latest(Some(r#"{"latest":"2026-01-01T11:00:00Z","told":{}}"#)), now.into());
        let ahead = at("2026-01-02T12:00:00Z");
        assert_eq!(latest(Some(r#"{"latest":"2026-01-02T12:00:00Z","told":{}}"#)), Times { now, latest: ahead });
    }
}
