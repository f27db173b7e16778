//! Dates, and clocks that are wrong.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use img_authz::net::Tls;
use img_authz::trust::notary::{Config, Notary};
use img_authz::trust::{Asking, Freshness, Purpose, Question, TrustCode, Verifier as _};
use jiff::Timestamp;
use serde_json::json;

use crate::support::trust_repo::*;
use crate::support::trust_server::{Client, Reply, Server, changing, code, file, good, now};

#[test]
fn a_clock_that_was_ahead_once_does_not_end_what_runs_during_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = || Client::new(&server, folder.path(), |_| ());
    let gone = |is_gone: bool| *files.lock().unwrap() = (!is_gone).then(good);
    let ahead: Timestamp = "2030-06-02T00:00:00Z".parse().unwrap();
    let first = client();
    first.ask_at(Purpose::Pull, ahead).unwrap();
    // The clock is right again. Nobody has asked since: after a restart the age is not known.
    gone(true);
    let refused = client().ask(Purpose::Run).unwrap_err();
    assert!(refused.code == TrustCode::Unreachable && refused.to_string().contains("went back"), "{refused}");
    // The process that asked knows how long that is ago.
    assert!(first.ask(Purpose::Run).is_ok());
    // One good check, and age counts from there: in this process and after a restart.
    gone(false);
    let status = |client: &Client| client.runtime.block_on(client.notary.statuses()).remove(0);
    client().ask(Purpose::Pull).unwrap();
    gone(true);
    let again = client();
    assert_eq!(again.ask(Purpose::Run).unwrap().freshness(), Freshness::Stale { since: now() });
    let told = status(&again);
    assert_eq!((told.checked, told.seen, told.is_ahead(now()), told.is_ahead(ahead)), (now(), ahead, true, false));
    // The limit counts from there as well.
    let later: Timestamp = "2030-06-02T00:00:01Z".parse().unwrap();
    assert_eq!(code(&client().ask_at(Purpose::Run, later)), Some(TrustCode::Unreachable));
    // A bad answer about it keeps both times.
    *files.lock().unwrap() = Some(Files::new());
    assert_eq!(code(&client().ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    assert_eq!((status(&again).checked, status(&again).seen), (now(), ahead));
}

#[test]
fn dates_count_from_the_latest_check_whatever_the_clock_says_since() {
    let mut repo = Repo::docker(root_key(GUN));
    repo.role("timestamp")["expires"] = json!("2030-06-01T12:00:00Z");
    let old = repo.publish();
    repo.bump();
    repo.role("timestamp")["expires"] = json!(LATER);
    let (folder, files) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(Some(repo.publish()))));
    let shared = Arc::clone(&files);
    let server = Server::start(move |seen| match &*shared.lock().unwrap() {
        Some(files) => file(files, seen),
        None => Reply::Status(503, Vec::new(), Vec::new()),
    });
    let client = Client::new(&server, folder.path(), |_| ());
    client.ask_at(Purpose::Pull, "2030-06-02T00:00:00Z".parse().unwrap()).unwrap();
    // The clock goes back to before the end of what had ended then; a server that replays it is refused for more than one reason.
    *files.lock().unwrap() = Some(old);
    assert!(matches!(code(&client.ask(Purpose::Pull)), Some(TrustCode::Expired | TrustCode::RolledBack)));
}

#[test]
fn the_log_says_that_the_clock_went_back() {
    let (server, folder) = (Server::files(good()), tempfile::tempdir().unwrap());
    let (log, _guard) = Log::of_thread();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut config = Config::new(server.url.clone(), folder.path());
    config.tls = Tls::only(&server.ca).unwrap();
    config.freshness = Duration::ZERO;
    let notary = Notary::new(config).unwrap();
    let ask = |at: Timestamp| {
        let question = Question::Tag("1.0".parse().unwrap());
        let end = tokio::time::Instant::now() + Duration::from_secs(8);
        runtime
            .block_on(notary.vouch(&GUN.parse().unwrap(), &question, Asking { purpose: Purpose::Pull, now: at, deadline: end }))
            .unwrap();
        log.count("clock went back")
    };
    let ahead = "2030-06-02T00:00:00Z".parse().unwrap();
    assert_eq!([ask(now()), ask(ahead), ask(now()), ask(now())], [0, 0, 1, 1]);
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// A log of this thread's own, until the guard is dropped.
    fn of_thread() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn count(&self, words: &str) -> usize {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().matches(words).count()
    }
}

#[test]
fn the_log_warns_of_what_expires_once_a_day() {
    const WARNING: &str = "trust data expires soon; its owner must sign again";
    let mut repo = Repo::docker(root_key(GUN));
    repo.role("targets")["expires"] = json!("2030-06-20T00:00:00Z");
    for (files, is_asked, warnings) in
        [(repo.publish(), true, 1), (repo.publish(), false, 1), (good(), true, 0), (good(), false, 0)]
    {
        let (server, folder) = (Server::files(files), tempfile::tempdir().unwrap());
        let (log, _guard) = Log::of_thread();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = || {
            let mut config = Config::new(server.url.clone(), folder.path());
            config.tls = Tls::only(&server.ca).unwrap();
            config.freshness = Duration::ZERO;
            Notary::new(config).unwrap()
        };
        runtime.block_on(async {
            // Known from questions, or only from the disk, left there by another process.
            let mut notary = client();
            let question = Question::Tag("1.0".parse().unwrap());
            let end = tokio::time::Instant::now() + Duration::from_secs(8);
            notary
                .vouch(&GUN.parse().unwrap(), &question, Asking { purpose: Purpose::Pull, now: now(), deadline: end })
                .await
                .unwrap();
            if !is_asked {
                notary = client();
            }
            tokio::spawn(notary.keep_fresh(now));
            // The disk is read by threads of their own, for which the clock goes on.
            tokio::time::sleep(Duration::from_millis(700)).await;
            tokio::time::pause();
            let pass = async |minutes: u64| {
                for _ in 0..minutes {
                    tokio::time::advance(Duration::from_mins(1)).await;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            pass(3).await;
            assert_eq!(log.count(WARNING), warnings, "at once");
            pass(5 * 60).await;
            assert_eq!(log.count(WARNING), warnings, "the same day");
            tokio::time::advance(Duration::from_hours(19)).await;
            pass(3).await;
            assert_eq!(log.count(WARNING), 2 * warnings, "the next day");
            let stats = notary.stats(now()).unwrap();
            let expected_state = if warnings > 0 { "expiring" } else { "good" };
            assert_eq!(stats.repositories[expected_state], 1, "{stats:?}");
            let expected = if warnings > 0 { "2030-06-20T00:00:00Z" } else { LATER };
            assert_eq!(stats.expires["targets"], expected.parse().unwrap());
            // The server's own files matter only where it does not renew them.
            assert_eq!(stats.expires.get("timestamp"), None);
        });
    }
}
