//! Does the gate still stand where it should? A gate that is taken out of the chain is asked nothing and would never know: so
//! now and then it calls the engine and watches whether dockerd asks it about that call.
//!
//! It tells, once per change, in the log and in the audit log; it mends nothing. What may be true for a moment (a reload under
//! way) is told when it was found twice.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Gate;
use super::daemon_file::{DaemonFile, Listed};
use super::process::Served;
use crate::engine::Http2;

/// How long the engine is asked in one beat.
const PATIENCE: Duration = Duration::from_secs(5);
/// Calls in a row that the gate is not asked about before it says that it is out of the chain.
const UNASKED: u32 = 2;

/// What the beats so far have found.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// Whether dockerd asks; `None`: not known yet.
    is_asked: Option<bool>,
    unasked: u32,
    listing: Option<Listing>,
    shadow: Option<String>,
    lost: u64,
    /// Whether the engine serves gRPC that nobody is asked about; `None`: not known yet.
    is_grpc_open: Option<bool>,
    /// Whether `HTTP2=closed` is set and the engine's socket says otherwise.
    is_disbelieved: bool,
}

/// Whether daemon.json names this gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    Named,
    NotNamed,
    Broken,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// dockerd does not ask.
    OutOfChain,
    /// dockerd asks again.
    BackInChain,
    /// daemon.json named this gate, and does no more.
    NoMoreListed,
    /// daemon.json never named this gate since it started. dockerd may have it from a flag.
    NotListed,
    /// daemon.json names this gate again.
    ListedAgain,
    /// daemon.json is there and cannot be read.
    FileBroken {
        /// Why.
        why: String,
    },
    /// There is a managed plugin of this gate's name that is not this gate.
    Shadowed {
        /// Its id.
        id: String,
    },
    /// It is gone.
    NoMoreShadowed,
    /// Entries of the audit log could not be written.
    EntriesLost {
        /// How many since this was last told.
        count: u64,
    },
    /// The engine's socket serves gRPC over cleartext HTTP/2, about which no plugin is asked.
    GrpcOpen,
    /// It does no more.
    GrpcClosed,
    /// `HTTP2=closed` is set, and the engine's socket speaks HTTP/2.
    NotBelieved,
    /// It is set, and the socket does no more.
    Believed,
}

impl Change {
    /// Whether somebody must see to it.
    #[must_use]
    pub const fn is_bad(&self) -> bool {
        match self {
            Self::OutOfChain
            | Self::NoMoreListed
            | Self::NotListed
            | Self::FileBroken { .. }
            | Self::Shadowed { .. }
            | Self::EntriesLost { .. }
            | Self::GrpcOpen
            | Self::NotBelieved => true,
            Self::GrpcClosed | Self::Believed | Self::BackInChain | Self::ListedAgain | Self::NoMoreShadowed => false,
        }
    }

    /// A line for the logs.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::OutOfChain => "dockerd does not ask this gate: nothing is refused any more; \
                                 see authorization-plugins in daemon.json, then reload the daemon (img-authz doctor)"
                .to_owned(),
            Self::BackInChain => "dockerd asks this gate again".to_owned(),
            Self::NoMoreListed => "daemon.json does not name this gate any more: \
                                   the daemon's next reload or start ends what it enforces"
                .to_owned(),
            Self::NotListed => "daemon.json does not name this gate: unless dockerd is started with --authorization-plugin, \
                                it is not asked after the daemon's next start"
                .to_owned(),
            Self::ListedAgain => "daemon.json names this gate again".to_owned(),
            Self::FileBroken { why } => {
                format!("daemon.json cannot be read ({}): dockerd will not start with it", crate::text::clean(why))
            }
            Self::Shadowed { id } => format!(
                "another plugin ({}) has this gate's name: the daemon's next start asks that one instead; \
                 docker plugin rm it",
                crate::text::clean(id)
            ),
            Self::NoMoreShadowed => "no other plugin has this gate's name any more".to_owned(),
            Self::EntriesLost { count } => format!("{count} entries of the audit log could not be written"),
            Self::GrpcOpen => {
                "the engine answers gRPC over cleartext HTTP/2 and asks no plugin about it: who may open its socket can \
                               build and run anything; set GODEBUG=http2server=0 in dockerd's environment, then restart it \
                               (img-authz doctor)"
                    .to_owned()
            }
            Self::NotBelieved => {
                "HTTP2=closed is set, but the engine's socket does not refuse HTTP/2: the setting is not believed; \
                                  set GODEBUG=http2server=0 in dockerd's environment, then restart it"
                    .to_owned()
            }
            Self::Believed => "the engine's socket refuses HTTP/2: HTTP2=closed is believed".to_owned(),
            Self::GrpcClosed => "the engine does not answer gRPC over cleartext HTTP/2 any more".to_owned(),
        }
    }
}

/// In the log, and in the audit log.
fn tell(gate: &Gate, changes: &[Change]) {
    for change in changes {
        match change {
            Change::NotListed => tracing::warn!("{}", change.message()),
            change if change.is_bad() => tracing::error!("{}", change.message()),
            change => tracing::info!("{}", change.message()),
        }
        gate.note(&change.message());
    }
}

impl Watchdog {
    /// Looks once. `daemon_file` is the text of daemon.json; `None`: there is none, or the gate is not shown it.
    pub async fn beat(&mut self, gate: &Gate, daemon_file: Option<&str>) -> Vec<Change> {
        let deadline = Instant::now() + PATIENCE;
        let mut changes = Vec::new();
        changes.extend(self.chain(gate, deadline).await);
        changes.extend(self.file(gate, daemon_file, deadline).await);
        changes.extend(self.shadow(gate, deadline).await);
        changes.extend(self.http2(gate, deadline).await);
        let lost = gate.journal.lost();
        if lost > self.lost {
            changes.push(Change::EntriesLost { count: lost - self.lost });
        }
        tell(gate, &changes);
        // Names that other plugins refused to give must not be held for ever.
        let _ = tokio::time::timeout(PATIENCE, gate.settle(None)).await;
        // The note about losses may have been lost itself; that one is not told again.
        self.lost = gate.journal.lost();
        changes
    }

    /// The one look that is made at once after a start, and not only with the first beat: what is open is open to everybody.
    pub async fn look_for_http2(&mut self, gate: &Gate) -> Vec<Change> {
        let changes = self.http2(gate, Instant::now() + PATIENCE).await;
        tell(gate, &changes);
        changes
    }

    async fn http2(&mut self, gate: &Gate, deadline: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        let Ok(found) = gate.process.look(&*gate.engine, deadline).await else { return changes };
        let (is_grpc_open, is_refused) = match found.served {
            Served::Asked(Http2::Grpc) => (true, false),
            Served::Asked(Http2::Rest(_) | Http2::HungUp) => (false, false),
            Served::Asked(Http2::Refused) | Served::Never => (false, true),
            Served::Asked(Http2::Silent) => return changes,
        };
        gate.metrics.grpc(is_grpc_open);
        match (self.is_grpc_open.replace(is_grpc_open), is_grpc_open) {
            (Some(false) | None, true) => changes.push(Change::GrpcOpen),
            (Some(true), false) => changes.push(Change::GrpcClosed),
            (Some(true), true) | (Some(false) | None, false) => {}
        }
        let is_said = gate.rules.load().says_closed();
        let was_disbelieved = std::mem::replace(&mut self.is_disbelieved, is_said && !is_refused);
        match (was_disbelieved, self.is_disbelieved) {
            (false, true) => changes.push(Change::NotBelieved),
            (true, false) if is_said => changes.push(Change::Believed),
            (true | false, false) | (true, true) => {}
        }
        changes
    }

    async fn chain(&mut self, gate: &Gate, deadline: Instant) -> Option<Change> {
        let before = gate.own_calls.load(Ordering::Relaxed);
        let answer = gate.engine_version(deadline).await;
        let is_asked = gate.own_calls.load(Ordering::Relaxed) != before;
        let was_asked = self.is_asked;
        if is_asked {
            self.unasked = 0;
            self.is_asked = Some(true);
            gate.metrics.asked(true);
            return (was_asked == Some(false)).then_some(Change::BackInChain);
        }
        // An engine that does not answer may not have read the call either.
        answer.ok()?;
        self.unasked = self.unasked.saturating_add(1);
        if self.unasked < UNASKED {
            return None;
        }
        self.is_asked = Some(false);
        gate.metrics.asked(false);
        (was_asked != Some(false)).then_some(Change::OutOfChain)
    }

    async fn file(&mut self, gate: &Gate, text: Option<&str>, deadline: Instant) -> Option<Change> {
        let (listing, why) = match DaemonFile::read(text.unwrap_or_default()) {
            Err(why) => (Listing::Broken, why),
            Ok(file) => {
                let is_listed = match file.plugins() {
                    // A name that cannot be found out now is looked at in the next beat.
                    Listed::Plugins(names) => gate.identity.is_listed(&*gate.engine, &names, deadline).await.ok()?,
                    Listed::Nothing | Listed::NotAList => false,
                };
                (if is_listed { Listing::Named } else { Listing::NotNamed }, String::new())
            }
        };
        match (self.listing.replace(listing), listing) {
            (before, now) if before == Some(now) => None,
            (_, Listing::Broken) => Some(Change::FileBroken { why }),
            (None, Listing::NotNamed) => Some(Change::NotListed),
            (Some(_), Listing::NotNamed) => Some(Change::NoMoreListed),
            (None, Listing::Named) => None,
            (Some(_), Listing::Named) => Some(Change::ListedAgain),
        }
    }

    async fn shadow(&mut self, gate: &Gate, deadline: Instant) -> Option<Change> {
        let found = gate.identity.shadow(&*gate.engine, deadline).await.ok()?.map(|plugin| plugin.id);
        if found == self.shadow {
            return None;
        }
        self.shadow.clone_from(&found);
        Some(found.map_or(Change::NoMoreShadowed, |id| Change::Shadowed { id }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audit::{Event, MemoryJournal};
    use crate::engine::{CALL_HEADER, EngineError, Fake, Plugin, own_mark};
    use crate::gate::{Approvals, Identity, Rules};
    use crate::policy::Settings;
    use crate::request::Intent;
    use crate::wire::{Answer, Call};

    const FILE: &str = r#"{"authorization-plugins":["img-authz"]}"#;

    struct House {
        gate: Arc<Gate>,
        engine: Arc<Fake>,
        journal: Arc<MemoryJournal>,
        watchdog: Watchdog,
    }

    fn house(identity: Identity) -> House {
        let engine = Arc::new(Fake::new());
        let journal = Arc::new(MemoryJournal::default());
        let rules = Rules::Faulty { fault: String::new(), posture: crate::policy::Posture::Images, rights: false };
        let workers = tokio::runtime::Handle::current();
        let gate = Gate::new(rules, engine.clone(), journal.clone(), Approvals::in_memory(), identity, workers);
        House { gate: Arc::new(gate), engine, journal, watchdog: Watchdog::default() }
    }

    fn legacy() -> House {
        house(Identity::of_process(std::path::Path::new("/run/docker/plugins/img-authz.sock")))
    }

    fn call(mark: &str) -> Call {
        Call {
            user: String::new(),
            user_authn_method: String::new(),
            method: "GET".into(),
            uri: "/version".into(),
            headers: [(CALL_HEADER.to_owned(), mark.to_owned())].into(),
            body: None,
            outcome: None,
            certificate: None,
        }
    }

    impl House {
        /// The engine asks the gate about each call, which carries `mark`; `None`: it asks nobody.
        fn asks(&self, mark: Option<String>) {
            let gate = Arc::downgrade(&self.gate);
            self.engine.asks(mark.map(|mark| -> Arc<dyn Fn() + Send + Sync> {
                Arc::new(move || {
                    gate.upgrade().unwrap().is_own(&call(&mark));
                })
            }));
        }

        async fn beat(&mut self, file: &str) -> Vec<Change> {
            self.watchdog.beat(&self.gate.clone(), Some(file)).await
        }
    }

    #[tokio::test]
    async fn a_gate_that_is_asked_says_nothing() {
        let mut house = legacy();
        house.asks(Some(own_mark()));
        for _ in 0..3 {
            assert_eq!(house.beat(FILE).await, []);
        }
        assert!(house.journal.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_gate_that_is_not_asked_twice_in_a_row_says_so_once() {
        let mut house = legacy();
        house.asks(None);
        assert_eq!(house.beat(FILE).await, []);
        assert_eq!(house.beat(FILE).await, [Change::OutOfChain]);
        assert_eq!(house.beat(FILE).await, []);
        house.asks(Some(own_mark()));
        assert_eq!(house.beat(FILE).await, [Change::BackInChain]);
        house.asks(None);
        assert_eq!(house.beat(FILE).await, []);
        house.asks(Some(own_mark()));
        assert_eq!(house.beat(FILE).await, []);
        let told: Vec<_> = house.journal.0.lock().unwrap().iter().map(|entry| (entry.event, entry.message.clone())).collect();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0], (Event::Gate, Change::OutOfChain.message()));
    }

    #[tokio::test]
    async fn calls_of_others_do_not_count_as_the_gates_own() {
        let mut house = legacy();
        house.asks(Some("0".repeat(32)));
        house.beat(FILE).await;
        assert_eq!(house.beat(FILE).await, [Change::OutOfChain]);
    }

    #[tokio::test]
    async fn an_engine_that_does_not_answer_says_nothing_about_the_chain() {
        let mut house = legacy();
        house.asks(None);
        house.engine.fail_with(Some(EngineError::Timeout { call: "GET /version".into() }));
        for _ in 0..4 {
            assert_eq!(house.beat(FILE).await, []);
        }
    }

    #[tokio::test]
    async fn the_call_that_dockerd_asks_about_is_let_pass_and_counted() {
        let house = legacy();
        let read = |mark: &str| Ok((call(mark), Intent::Read));
        assert_eq!(house.gate.request(read(&own_mark())).await, Answer::Allow);
        assert_eq!(house.gate.request(read("forged")).await, Answer::Allow);
        assert_eq!(house.gate.own_calls.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn grpc_that_nobody_is_asked_about_is_told_once_and_counted() {
        let mut house = legacy();
        house.asks(Some(own_mark()));
        // An engine before 29.2 has none: it is not even asked.
        house.engine.serve_http2(Http2::Grpc);
        assert_eq!(house.beat(FILE).await, []);
        assert!(!house.engine.calls().contains(&"http2".to_owned()));
        assert!(house.gate.metrics().contains("img_authz_engine_grpc_unasked 0"));
        house.engine.upgrade("29.2.0");
        assert_eq!(house.beat(FILE).await, [Change::GrpcOpen]);
        assert!(house.gate.metrics().contains("img_authz_engine_grpc_unasked 1"));
        house.engine.serve_http2(Http2::Silent);
        assert_eq!(house.beat(FILE).await, []);
        assert!(house.gate.metrics().contains("img_authz_engine_grpc_unasked 1"));
        house.engine.serve_http2(Http2::Refused);
        assert_eq!(house.beat(FILE).await, [Change::GrpcClosed]);
        let told: Vec<_> = house.journal.0.lock().unwrap().iter().map(|entry| (entry.event, entry.message.clone())).collect();
        assert_eq!(told, [Change::GrpcOpen, Change::GrpcClosed].map(|change| (Event::Gate, change.message())));
        assert!(Change::GrpcOpen.message().len() < 300 && Change::GrpcOpen.message().contains("GODEBUG=http2server=0"));
    }

    #[tokio::test]
    async fn grpc_is_looked_for_at_a_start() {
        let mut house = legacy();
        house.engine.upgrade("29.7.2");
        house.engine.serve_http2(Http2::Grpc);
        assert_eq!(house.watchdog.look_for_http2(&house.gate).await, [Change::GrpcOpen]);
        assert_eq!(house.watchdog.look_for_http2(&house.gate).await, []);
    }

    #[tokio::test]
    async fn http2_closed_that_the_engine_does_not_agree_with_is_told_once() {
        let mut house = legacy();
        house.asks(Some(own_mark()));
        house.engine.upgrade("29.7.2");
        let policy = Settings::default().with("HTTP2", "closed").resolve(false).unwrap().policy;
        house.gate.replace(Rules::Good { policy, verifiers: Vec::new(), registry: None });
        house.engine.serve_http2(Http2::Rest(Some(404)));
        assert_eq!(house.beat(FILE).await, [Change::NotBelieved]);
        house.engine.serve_http2(Http2::Grpc);
        assert_eq!(house.beat(FILE).await, [Change::GrpcOpen]);
        house.engine.serve_http2(Http2::Silent);
        assert_eq!(house.beat(FILE).await, []);
        house.engine.serve_http2(Http2::Refused);
        assert_eq!(house.beat(FILE).await, [Change::GrpcClosed, Change::Believed]);
        assert!(Change::NotBelieved.message().len() < 300 && Change::NotBelieved.message().contains("GODEBUG=http2server=0"));
    }

    #[tokio::test]
    async fn daemon_json_is_watched() {
        let mut house = legacy();
        house.asks(Some(own_mark()));
        assert_eq!(house.beat(FILE).await, []);
        assert_eq!(house.beat(r#"{"authorization-plugin":["img-authz"]}"#).await, [Change::NoMoreListed]);
        assert_eq!(house.beat("{}").await, []);
        assert!(matches!(house.beat("{").await[..], [Change::FileBroken { .. }]));
        assert_eq!(house.beat(FILE).await, [Change::ListedAgain]);
        let mut flagged = legacy();
        flagged.asks(Some(own_mark()));
        assert_eq!(flagged.watchdog.beat(&flagged.gate.clone(), None).await, [Change::NotListed]);
        assert_eq!(flagged.watchdog.beat(&flagged.gate.clone(), None).await, []);
    }

    #[tokio::test]
    async fn a_managed_gate_is_listed_by_the_name_the_engine_has_for_it() {
        let id = "5".repeat(64);
        for (listed, is_listed) in
            [("own/gate:1", true), ("docker.io/own/gate:1", true), ("5555", true), ("own/gate", false), ("img-authz", false)]
        {
            let mut house = house(Identity::managed(&id));
            house.engine.put_plugin(Plugin { id: id.clone(), name: "own/gate:1".into(), enabled: true, ..Plugin::default() });
            house.asks(Some(own_mark()));
            let expected: &[Change] = if is_listed { &[] } else { &[Change::NotListed] };
            assert_eq!(house.beat(&format!(r#"{{"authorization-plugins":["{listed}"]}}"#)).await, expected, "{listed}");
        }
    }

    #[tokio::test]
    async fn a_plugin_of_the_gates_name_is_noticed_and_the_gate_itself_is_none() {
        let mut house = legacy();
        house.asks(Some(own_mark()));
        assert_eq!(house.beat(FILE).await, []);
        let id = "6".repeat(64);
        house.engine.put_plugin(Plugin { id: id.clone(), name: "img-authz:latest".into(), enabled: false, ..Plugin::default() });
        assert_eq!(house.beat(FILE).await, [Change::Shadowed { id }]);
        assert_eq!(house.beat(FILE).await, []);
        house.engine.remove_plugins();
        assert_eq!(house.beat(FILE).await, [Change::NoMoreShadowed]);
    }
}
