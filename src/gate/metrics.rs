//! Stats for those who watch many hosts, in the OpenMetrics text format. No names of images are among the labels: clients
//! choose those, and could choose endlessly many.

mod arrivals;

use crate::order::Ordered as _;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use self::arrivals::Arrivals;
use super::monitored::{Arriving, Watched};
use crate::audit::Carried;
use crate::policy::Standing;
use crate::record::Lost;
use crate::rego;
use crate::trust::{ListStats, Stats, VerifierName};

/// Upper bounds of the durations told apart, in seconds. The last is the decision's own deadline.
const SECONDS: [f64; 9] = [0.000_1, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 3.0, 8.0];

/// What is counted. Clones of a metric share its value.
pub(super) struct Metrics {
    registry: Registry,
    turn: Mutex<()>,
    requests: Family<Request, Counter>,
    decided: Decided<AtomicU64>,
    violations: Family<Violation, Counter>,
    exceptions: Family<Label, Gauge>,
    exception_uses: Family<Query, Counter>,
    seconds: Histogram,
    lost: Counter<u64, AtomicU64>,
    unrecorded: Family<Label, Counter>,
    carried: Family<Carrying, Counter>,
    in_chain: Gauge<i64, AtomicI64>,
    grpc: Gauge<i64, AtomicI64>,
    reloaded: Gauge<i64, AtomicI64>,
    places: Gauge,
    unplaced: Family<Label, Counter>,
    unapproved: Gauge,
    unjudged: Gauge,
    unread: Gauge,
    listed: Gauge<i64, AtomicI64>,
    acted: Family<Label, Counter>,
    arrivals: Arrivals,
    rego: Rego,
    trust: Trust,
    lists: Lists,
    shadow: ShadowCounts,
}

/// How many calls were decided, by what was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decided<N = u64> {
    /// They passed.
    pub allowed: N,
    /// They were refused.
    pub refused: N,
    /// They would have been refused, and passed because mode or scope is permissive.
    pub forgiven: N,
}

/// A sink, and what became of entries for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Carrying {
    sink: &'static str,
    outcome: &'static str,
}

/// A label, and its one value.
type Label = [(&'static str, &'static str); 1];

/// What the verifier that asks a server tells of itself.
struct Trust {
    checks: Family<Label, Counter>,
    last_good: Gauge<i64, AtomicI64>,
    reachable: Gauge<i64, AtomicI64>,
    repositories: Family<Label, Gauge>,
    expires: Family<Label, Gauge>,
}

/// What allowlists tell of their files.
struct Lists {
    good: Family<Query, Gauge>,
    entries: Family<Query, Gauge>,
    serial: Family<Query, Gauge>,
}

/// What the evaluation of rules in Rego tells of itself. Queries are the operator's, and few.
struct Rego {
    abandoned: Family<Query, Counter>,
    overloaded: Family<Query, Counter>,
    held: Family<Query, Gauge>,
}

/// What is counted of a candidate for the policy.
#[derive(Clone)]
pub(super) struct ShadowCounts {
    verdicts: Family<Shadowed, Counter>,
    reloaded: Gauge<i64, AtomicI64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Shadowed {
    verdict: &'static str,
    code: &'static str,
}

impl ShadowCounts {
    fn new(registry: &mut Registry) -> Self {
        let counts = Self { verdicts: Family::default(), reloaded: Gauge::default() };
        registry.register(
            "shadow_verdicts",
            "Calls that a candidate for the policy was to judge, by how its verdict compares, and the refusal's code",
            counts.verdicts.clone(),
        );
        registry.register(
            "shadow_last_reload_successful",
            "1: calls are judged by the candidate too; 0: it is faulty; -1: there is none",
            counts.reloaded.clone(),
        );
        counts.reloaded.set(-1);
        counts
    }

    pub(super) fn count(&self, verdict: &'static str, code: &'static str) {
        self.verdicts.get_or_create(&Shadowed { verdict, code }).inc();
    }

    /// Whether there is a candidate, and whether it is good.
    pub(super) fn stands(&self, is_good: Option<bool>) {
        self.reloaded.set(is_good.map_or(-1, i64::from));
    }
}

/// A label whose value is the operator's.
type Query = [(&'static str, String); 1];

impl Rego {
    fn new(registry: &mut Registry) -> Self {
        let rego = Self { abandoned: Family::default(), overloaded: Family::default(), held: Family::default() };
        let (abandoned, overloaded, held) = (rego.abandoned.clone(), rego.overloaded.clone(), rego.held.clone());
        registry.register("rego_abandoned", "Evaluations of rules in Rego that did not end in time, by query", abandoned);
        registry.register("rego_refused", "Calls refused because earlier evaluations do not end, by their query", overloaded);
        registry.register("rego_threads_held", "Threads that an evaluation holds beyond its time, by query", held);
        rego
    }
}

impl Lists {
    fn new(registry: &mut Registry) -> Self {
        let lists = Self { good: Family::default(), entries: Family::default(), serial: Family::default() };
        registry.register(
            "allowlist_last_reload_successful",
            "1: the allowlist's file is in force; 0: it is refused or faulty, and what was in force before still is, or everything is refused",
            lists.good.clone(),
        );
        registry.register("allowlist_entries", "Entries of an allowlist that are in force", lists.entries.clone());
        registry.register("allowlist_serial", "The serial of a signed allowlist that is in force", lists.serial.clone());
        lists
    }
}

impl Trust {
    fn new(registry: &mut Registry) -> Self {
        let trust = Self {
            checks: Family::default(),
            last_good: Gauge::default(),
            reachable: Gauge::default(),
            repositories: Family::default(),
            expires: Family::default(),
        };
        registry.register("trust_checks", "Checks with the Notary server, by what came of them", trust.checks.clone());
        registry.register(
            "trust_last_check_timestamp_seconds",
            "When the Notary server was last asked with success; 0: not yet",
            trust.last_good.clone(),
        );
        registry.register(
            "trust_server_reachable",
            "1: the Notary server answered last; 0: it did not; -1: not asked yet",
            trust.reachable.clone(),
        );
        trust.reachable.set(-1);
        registry.register("trust_repositories", "Repositories whose trust data is known, by state", trust.repositories.clone());
        registry.register(
            "trust_expiry_timestamp_seconds",
            "When the first trust data of each kind of role expires",
            trust.expires.clone(),
        );
        trust
    }

    /// Stats that are gone, and counts of a verifier that was replaced, do not stay behind.
    fn set(&self, stats: &Stats) {
        self.checks.clear();
        for (outcome, count) in &stats.checks {
            self.checks.get_or_create(&[("outcome", outcome)]).inc_by(*count);
        }
        self.last_good.set(stats.last_good.map_or(0, Timestamp::as_second));
        self.reachable.set(stats.is_reachable.map_or(-1, i64::from));
        for (state, count) in &stats.repositories {
            self.repositories.get_or_create(&[("state", state)]).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        self.expires.clear();
        for (role, at) in &stats.expires {
            self.expires.get_or_create(&[("role", role)]).set(at.as_second());
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    action: &'static str,
    decision: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Violation {
    rule: &'static str,
    level: &'static str,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("img_authz");
        let requests = Family::default();
        registry.register(
            "requests",
            "Decisions, by what the call does, what was decided, and the refusal's code",
            requests.clone(),
        );
        let violations = Family::default();
        registry.register(
            "rule_violations",
            "Images that do not keep a rule, by the rule, and by its level: refused, or recorded",
            violations.clone(),
        );
        let (exceptions, exception_uses) = (Family::default(), Family::default());
        registry.register("exceptions", "Exceptions of the policy, by whether they count", exceptions.clone());
        registry.register("exception_uses", "Decisions that rest on an exception, by its id", exception_uses.clone());
        let seconds = Histogram::new(SECONDS);
        registry.register("decision_duration_seconds", "How long decisions took", seconds.clone());
        let unrecorded = Family::default();
        registry.register("record_lost", "Decisions whose facts were not kept in the record, by why", unrecorded.clone());
        let lost = Counter::default();
        registry.register("audit_entries_lost", "Entries of the audit log that could not be written", lost.clone());
        let carried = Family::default();
        registry.register(
            "audit_sink_entries",
            "Entries of the audit log by sink, and whether they arrived there",
            carried.clone(),
        );
        let in_chain = Gauge::default();
        registry.register("in_chain", "1: dockerd asks this gate; 0: it does not; -1: not known yet", in_chain.clone());
        in_chain.set(-1);
        let grpc = Gauge::default();
        registry.register(
            "engine_grpc_unasked",
            "1: the engine serves gRPC over cleartext HTTP/2, unasked; 0: it does not; -1: not known yet",
            grpc.clone(),
        );
        grpc.set(-1);
        let reloaded = Gauge::default();
        registry.register(
            "policy_last_reload_successful",
            "1: the settings are in force; 0: faulty, see the log",
            reloaded.clone(),
        );
        let places = Gauge::default();
        registry.register("places_used", "Decisions under way that could not be made at once", places.clone());
        let unplaced = Family::default();
        registry.register(
            "places_refused",
            "Calls refused as too many at once, by what there was no place for",
            unplaced.clone(),
        );
        let unapproved = Gauge::default();
        registry.register("monitor_unapproved", "Containers that run and would be refused now", unapproved.clone());
        let unjudged = Gauge::default();
        let help = "Containers that run and of which it cannot be told, for ten minutes or for good";
        registry.register("monitor_unjudged", help, unjudged.clone());
        let (unread, listed) = (Gauge::default(), Gauge::<i64, AtomicI64>::default());
        let help = "Containers of the engine's list that could not be read";
        registry.register("monitor_unread", help, unread.clone());
        let help = "When the monitor last read what runs; 0: not yet";
        registry.register("monitor_last_list_timestamp_seconds", help, listed.clone());
        let acted = Family::default();
        registry.register("monitor_actions", "What the monitor did with containers, and what it could not do", acted.clone());
        let arrivals = Arrivals::new(&mut registry);
        let (rego, trust, lists) = (Rego::new(&mut registry), Trust::new(&mut registry), Lists::new(&mut registry));
        let shadow = ShadowCounts::new(&mut registry);
        let build: Family<Vec<(&'static str, &'static str)>, Gauge> = Family::default();
        registry.register("build_info", "Always 1, with the version", build.clone());
        build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION"))]).set(1);
        Self {
            registry,
            turn: Mutex::default(),
            requests,
            decided: Decided::default(),
            violations,
            exceptions,
            exception_uses,
            seconds,
            lost,
            unrecorded,
            carried,
            in_chain,
            grpc,
            reloaded,
            places,
            unplaced,
            unapproved,
            unjudged,
            unread,
            listed,
            acted,
            arrivals,
            rego,
            trust,
            lists,
            shadow,
        }
    }

    /// For who takes over what others count, and makes the text: two at once (the file, and who looks) would add the same twice.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn decided(&self, action: &'static str, decision: &'static str, code: &'static str, took: Duration) {
        let Decided { allowed, refused, forgiven } = &self.decided;
        let total = match decision {
            "allow" => allowed,
            "deny" => refused,
            _ => forgiven,
        };
        total.fetch_add(1, Ordering::Relaxed);
        self.requests.get_or_create(&Request { action, decision, code }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// For what judges by a candidate.
    pub(super) fn shadow(&self) -> ShadowCounts {
        self.shadow.clone()
    }

    pub(super) fn violated(&self, rule: &'static str, level: &'static str) {
        self.violations.get_or_create(&Violation { rule, level }).inc();
    }

    /// An exception was used. Ids are the operator's, and few.
    pub(super) fn excepted(&self, id: &str) {
        self.exception_uses.get_or_create(&[("exception", id.to_owned())]).inc();
    }

    /// These are not in the policy any more.
    pub(super) fn forget_exceptions<'i>(&self, ids: impl Iterator<Item = &'i String>) {
        for id in ids {
            self.exception_uses.remove(&[("exception", id.clone())]);
        }
    }

    /// How many exceptions there are of each standing.
    pub(super) fn exceptions(&self, standings: impl Iterator<Item = Standing>) {
        let mut counts: BTreeMap<&'static str, i64> =
            [Standing::InForce, Standing::Ending, Standing::Ended, Standing::Ahead].map(|one| (one.as_str(), 0)).ordered();
        for standing in standings {
            *counts.entry(standing.as_str()).or_default() += 1;
        }
        for (state, count) in counts {
            self.exceptions.get_or_create(&[("state", state)]).set(count);
        }
    }

    pub(super) fn watched(&self, watched: &Watched) {
        let figure = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.unapproved.set(figure(watched.unapproved));
        self.unjudged.set(figure(watched.unjudged));
        self.unread.set(figure(watched.unread));
        self.listed.set(watched.listed.map_or(0, Timestamp::as_second));
    }

    pub(super) fn arriving(&self, arriving: &Arriving) {
        self.arrivals.take(arriving);
    }

    pub(super) fn acted(&self, action: &'static str) {
        self.acted.get_or_create(&[("action", action)]).inc();
    }

    /// How many calls were decided.
    pub(super) fn totals(&self) -> Decided {
        let Decided { allowed, refused, forgiven } = &self.decided;
        let [allowed, refused, forgiven] = [allowed, refused, forgiven].map(|total| total.load(Ordering::Relaxed));
        Decided { allowed, refused, forgiven }
    }

    /// Whether dockerd asks this gate, and whether its engine serves gRPC unasked; `None`: not known yet.
    pub(super) fn seen(&self) -> [Option<bool>; 2] {
        [&self.in_chain, &self.grpc].map(|gauge| match gauge.get() {
            0 => Some(false),
            1.. => Some(true),
            ..0 => None,
        })
    }

    pub(super) fn asked(&self, is_asked: bool) {
        self.in_chain.set(i64::from(is_asked));
    }

    pub(super) fn grpc(&self, is_open: bool) {
        self.grpc.set(i64::from(is_open));
    }

    /// The places of decisions: taken now; calls so far that found none, and that found none for a question to a verifier.
    pub(super) fn places(&self, used: usize, refused: u64, unasked: u64) {
        self.places.set(i64::try_from(used).unwrap_or(i64::MAX));
        for (what, count) in [("decision", refused), ("question", unasked)] {
            let counter = self.unplaced.get_or_create(&[("what", what)]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    /// What the evaluation of rules in Rego has counted so far, and what holds it up now.
    pub(super) fn rego(&self, stats: &rego::Stats) {
        for (family, counts) in [(&self.rego.abandoned, &stats.abandoned), (&self.rego.overloaded, &stats.overloaded)] {
            for (query, count) in counts {
                let counter = family.get_or_create(&[("query", query.clone())]);
                counter.inc_by(count.saturating_sub(counter.get()));
            }
        }
        self.rego.held.clear();
        for (query, count) in &stats.held {
            self.rego.held.get_or_create(&[("query", query.clone())]).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }

    /// What the allowlists tell of their files; of one that is gone nothing stays behind.
    pub(super) fn lists<'l>(&self, lists: impl Iterator<Item = (&'l VerifierName, ListStats)>) {
        for family in [&self.lists.good, &self.lists.entries, &self.lists.serial] {
            family.clear();
        }
        for (name, list) in lists {
            let set = |family: &Family<Query, Gauge>, value| family.get_or_create(&[("verifier", name.to_string())]).set(value);
            set(&self.lists.good, i64::from(list.is_good));
            set(&self.lists.entries, i64::try_from(list.entries).unwrap_or(i64::MAX));
            if let Some(serial) = list.serial {
                set(&self.lists.serial, i64::try_from(serial).unwrap_or(i64::MAX));
            }
        }
    }

    pub(super) fn reloaded(&self, is_good: bool) {
        self.reloaded.set(i64::from(is_good));
    }

    /// Decisions that the record lacks.
    pub(super) fn record(&self, lost: Lost) {
        let Lost { busy, large, disk } = lost;
        for (why, count) in [("busy", busy), ("large", large), ("disk", disk)] {
            let counter = self.unrecorded.get_or_create(&[("why", why)]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    /// How sinks of the audit log fare, by their own counts.
    pub(super) fn carried(&self, sinks: &[(&'static str, Carried)]) {
        for (sink, carried) in sinks {
            for (outcome, count) in [("sent", carried.sent), ("dropped", carried.dropped)] {
                let counter = self.carried.get_or_create(&Carrying { sink, outcome });
                counter.inc_by(count.saturating_sub(counter.get()));
            }
        }
    }

    /// The whole text. `lost` is the journal's own count, `trust` what the verifier says that asks a server, if there is one.
    pub(super) fn text(&self, lost: u64, trust: Option<&Stats>) -> String {
        self.trust.set(trust.unwrap_or(&Stats::default()));
        self.lost.inc_by(lost.saturating_sub(self.lost.get()));
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_are_reported_by_action_and_decision() {
        let metrics = Metrics::new();
        metrics.decided("pull", "deny", "not-signed", Duration::from_millis(2));
        metrics.decided("pull", "deny", "not-signed", Duration::from_millis(2));
        metrics.violated("user-root", "warn");
        metrics.asked(false);
        metrics.watched(&Watched { unapproved: 2, unjudged: 4, unread: 3, listed: Timestamp::from_second(1_800_000_000).ok() });
        metrics.acted("stop");
        let listed = Timestamp::from_second(1_800_000_000).ok();
        metrics.arriving(&Arriving { waiting: 6, unread: 7, gone: 8, listed });
        metrics.places(5, 2, 7);
        metrics.places(3, 2, 9);
        metrics.reloaded(true);
        assert_eq!(metrics.totals(), Decided { allowed: 0, refused: 2, forgiven: 0 });
        assert_eq!(metrics.seen(), [Some(false), None]);
        let text = metrics.text(3, None);
        for line in [
            r#"img_authz_requests_total{action="pull",decision="deny",code="not-signed"} 2"#,
            r#"img_authz_rule_violations_total{rule="user-root",level="warn"} 1"#,
            "img_authz_decision_duration_seconds_count 2",
            "img_authz_audit_entries_lost_total 3",
            "img_authz_in_chain 0",
            "img_authz_monitor_unapproved 2",
            "img_authz_monitor_unjudged 4",
            "img_authz_monitor_unread 3",
            "img_authz_monitor_last_list_timestamp_seconds 1800000000",
            r#"img_authz_monitor_actions_total{action="stop"} 1"#,
            "img_authz_arrivals_waiting 6",
            "img_authz_arrivals_unread 7",
            "img_authz_arrivals_gone 8",
            "img_authz_arrivals_last_list_timestamp_seconds 1800000000",
            "img_authz_places_used 3",
            r#"img_authz_places_refused_total{what="decision"} 2"#,
            r#"img_authz_places_refused_total{what="question"} 9"#,
            "img_authz_policy_last_reload_successful 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
        assert!(metrics.text(3, None).contains("lost_total 3"));
    }

    #[test]
    fn rules_in_rego_that_do_not_end_are_named() {
        let metrics = Metrics::new();
        let query = || "data.docker.authz.allow".to_owned();
        let counts = |count| [(query(), count)].into();
        metrics.rego(&rego::Stats { abandoned: counts(2), overloaded: counts(3), held: counts(1) });
        metrics.rego(&rego::Stats { abandoned: counts(4), overloaded: counts(3), held: counts(2) });
        let text = metrics.text(0, None);
        for line in [
            r#"img_authz_rego_abandoned_total{query="data.docker.authz.allow"} 4"#,
            r#"img_authz_rego_refused_total{query="data.docker.authz.allow"} 3"#,
            r#"img_authz_rego_threads_held{query="data.docker.authz.allow"} 2"#,
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
        metrics.rego(&rego::Stats::default());
        assert!(!metrics.text(0, None).contains("threads_held{"));
    }

    #[test]
    fn trust_is_told_by_kind_and_never_by_name() {
        let metrics = Metrics::new();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let stats = Stats {
            checks: [("good", 7), ("trust-unreachable", 2)].into(),
            last_good: Some(at("2030-01-01T00:00:00Z")),
            is_reachable: Some(false),
            repositories: [("good", 3), ("expired", 1)].into(),
            expires: [("root", at("2031-01-01T00:00:00Z"))].into(),
        };
        let text = metrics.text(0, Some(&stats));
        for line in [
            r#"img_authz_trust_checks_total{outcome="good"} 7"#,
            r#"img_authz_trust_checks_total{outcome="trust-unreachable"} 2"#,
            "img_authz_trust_last_check_timestamp_seconds 1893456000",
            "img_authz_trust_server_reachable 0",
            r#"img_authz_trust_repositories{state="expired"} 1"#,
            r#"img_authz_trust_expiry_timestamp_seconds{role="root"} 1924992000"#,
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
        // Told again it is the same; of a verifier that is gone nothing stays.
        assert_eq!(metrics.text(0, Some(&stats)), text);
        let text = metrics.text(0, None);
        assert!(!text.contains("outcome=") && !text.contains("role=") && text.contains("img_authz_trust_server_reachable -1"));
    }
}
