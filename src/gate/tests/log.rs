//! What is recorded, and what passes where that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::support::{GOOD, create, digest, house, house_that_records, policy, pull};
use crate::audit::{Event, MemoryJournal};
use crate::gate::{Approvals, Gate, Identity, Rules};
use crate::policy::{AuditRule, Mode, Policy, Posture};
use crate::request::Intent;
use crate::trust::{Fake as Notary, Verifier};
use crate::wire::{Answer, Call};

#[tokio::test]
async fn refusals_and_images_are_recorded_and_mode_permissive_lets_pass() {
    let house = house();
    let call = Call::decode(br#"{"RequestMethod":"POST","RequestUri":"/images/create?fromImage=x","User":"u"}"#).unwrap();
    let answer = house.gate.request(Ok((call.clone(), pull("evil.example/x:1")))).await;
    let Answer::Deny(message) = answer else { panic!() };
    assert!(message.starts_with("registry-not-allowed: registry `evil.example`"), "{message}");
    assert_eq!(house.gate.request(Ok((call.clone(), Intent::Read))).await, Answer::Allow);
    assert_eq!(house.gate.request(Ok((call.clone(), pull(GOOD)))).await, Answer::Allow);
    let audited = Policy { mode: Mode::Permissive, ..policy(Posture::Images) };
    house.gate.replace(Rules::Good { policy: audited, verifiers: Vec::new(), registry: None });
    assert_eq!(house.gate.request(Ok((call, pull("evil.example/x:1")))).await, Answer::Allow);
    let entries = house.journal.0.lock().unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.event, entry.code, entry.enforced)).collect();
    assert_eq!(
        seen,
        [
            (Event::Blocked, "registry-not-allowed", true),
            (Event::Allowed, "", true),
            (Event::Blocked, "registry-not-allowed", false),
        ]
    );
    assert_eq!((entries[0].user.as_str(), entries[0].path.as_str()), ("u", "/images/create"));
    assert_eq!(entries[1].signers, ["alice"]);
}

/// A log that loses an entry each time that it is asked.
#[derive(Default)]
struct Losing(AtomicU64);

impl crate::audit::Journal for Losing {
    fn record(&self, _: &crate::audit::Entry) -> crate::audit::Recorded {
        crate::audit::Recorded::Lost
    }

    fn lost(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[tokio::test]
async fn two_who_ask_for_the_figures_at_once_count_nothing_twice() {
    let gate = house_that_records(Arc::new(Losing::default()));
    let told = || -> u64 {
        let text = gate.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix("img_authz_audit_entries_lost_total ")).unwrap();
        line.parse().unwrap()
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| (0..250).for_each(|_| drop(gate.metrics()))))));
    assert_eq!(told(), 1001);
}

/// A log on a disk that is full, or not.
#[derive(Default)]
struct FullDisk {
    is_full: std::sync::atomic::AtomicBool,
    kept: MemoryJournal,
}

impl crate::audit::Journal for FullDisk {
    fn record(&self, entry: &crate::audit::Entry) -> crate::audit::Recorded {
        if self.is_full.load(std::sync::atomic::Ordering::Relaxed) {
            return crate::audit::Recorded::Lost;
        }
        self.kept.record(entry)
    }

    fn lost(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_passes_or_is_refused_as_audit_says_and_the_host_is_never_locked() {
    for (rule, mode, is_refused) in [
        (AuditRule::GoOn, Mode::Enforce, false),
        (AuditRule::Require, Mode::Enforce, true),
        // In mode `permissive` nothing is refused.
        (AuditRule::Require, Mode::Permissive, false),
    ] {
        let house = house();
        let journal = Arc::new(FullDisk::default());
        let verifiers: Vec<Arc<dyn Verifier>> = vec![Arc::new(Notary::default().with(GOOD, digest("good manifest")))];
        let policy = Policy { audit: rule, mode, ..policy(Posture::Images) };
        let gate = Gate::new(
            Rules::Good { policy, verifiers, registry: None },
            house.engine.clone(),
            journal.clone(),
            Approvals::in_memory(),
            Identity::default(),
            tokio::runtime::Handle::current(),
        );
        journal.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
        let call = |uri: &str| Call::decode(format!(r#"{{"RequestMethod":"POST","RequestUri":"{uri}"}}"#).as_bytes()).unwrap();
        let answer = gate.request(Ok((call("/images/create"), pull(GOOD)))).await;
        match answer {
            Answer::Deny(message) => assert!(is_refused && message.starts_with("audit-unavailable: "), "{message}"),
            Answer::Allow => assert!(!is_refused),
        }
        for harmless in [Intent::Read, Intent::Harmless] {
            assert_eq!(gate.request(Ok((call("/containers/x/stop"), harmless))).await, Answer::Allow);
        }
        // A name that was refused is free again at once.
        let Intent::Create(mut named) = create(GOOD) else { panic!() };
        named.name = Some("web".to_owned());
        gate.request(Ok((call("/containers/create?name=web"), Intent::Create(named)))).await;
        let soon = tokio::time::Instant::now() + Duration::from_millis(50);
        let held = gate.leases.hold("other", &crate::gate::leases::Claim::Start("web".to_owned()), soon).await;
        assert_eq!(held.is_ok(), is_refused);
        assert!(!is_refused || journal.kept.0.lock().unwrap().iter().all(|entry| entry.code != "audit-unavailable"));
    }
}

#[tokio::test]
async fn doctors_question_is_marked_and_hides_nothing_else() {
    const PROBE: &str = r#","X-Img-Authz-Probe":"1""#;
    let house = house();
    let nobody = "0".repeat(64);
    let call = |headers: &str, id: &str| {
        let text = format!(
            r#"{{"RequestMethod":"POST","RequestUri":"/v1.41/containers/{id}/start","RequestHeaders":{{"Content-Length":"0"{headers}}}}}"#
        );
        let call = Call::decode(text.as_bytes()).unwrap();
        let intent = Intent::of(&call);
        Ok((call, intent))
    };
    for (headers, id, event) in
        [(PROBE, nobody.as_str(), Event::Probe), ("", nobody.as_str(), Event::Blocked), (PROBE, "nobody", Event::Blocked)]
    {
        assert!(matches!(house.gate.request(call(headers, id)).await, Answer::Deny(_)));
        assert_eq!(house.journal.0.lock().unwrap().last().unwrap().event, event, "{headers} {id}");
    }
    let probed =
        Call::decode(br#"{"RequestMethod":"POST","RequestUri":"/images/create","RequestHeaders":{"X-Img-Authz-Probe":"1"}}"#)
            .unwrap();
    house.gate.request(Ok((probed, pull("evil.example/x:1")))).await;
    assert_eq!(house.journal.0.lock().unwrap().last().unwrap().event, Event::Blocked);
    assert!(house.gate.metrics().contains(r#"code="container-unknown""#));
    let counted = house.gate.metrics().lines().find(|line| line.contains("container-unknown")).unwrap().ends_with(" 2");
    assert!(counted, "the probe is not counted");
}

/// The log as it would be without a chain: each entry one write.
struct Unchained(std::sync::Mutex<std::fs::File>);

impl crate::audit::Journal for Unchained {
    fn record(&self, entry: &crate::audit::Entry) -> crate::audit::Recorded {
        let mut line = serde_json::to_vec(entry).unwrap();
        line.push(b'\n');
        std::io::Write::write_all(&mut *self.0.lock().unwrap(), &line).unwrap();
        crate::audit::Recorded::Kept
    }

    fn lost(&self) -> u64 {
        0
    }
}

#[tokio::test]
#[ignore = "a measurement: cargo test --lib gate::tests::log::what_the_chain_costs -- --ignored --nocapture"]
async fn what_the_chain_costs_a_decision() {
    const ROUNDS: usize = 10;
    const DECISIONS: u32 = 2000;
    let dir = tempfile::tempdir().unwrap();
    let plain = std::fs::File::options().append(true).create(true).open(dir.path().join("plain")).unwrap();
    let chained = crate::audit::FileJournal::open(&dir.path().join("audit.jsonl"), crate::audit::JournalLimits::default());
    let journals: [Arc<dyn crate::audit::Journal>; 2] = [Arc::new(Unchained(plain.into())), chained.unwrap()];
    let gates = journals.map(house_that_records);
    let call = Call::decode(br#"{"RequestMethod":"POST","RequestUri":"/containers/create"}"#).unwrap();
    let mut best = [f64::MAX; 2];
    // In turn, so that what else the machine does falls on both.
    for _ in 0..ROUNDS {
        for (gate, best) in gates.iter().zip(&mut best) {
            let begun = std::time::Instant::now();
            for _ in 0..DECISIONS {
                assert_eq!(gate.request(Ok((call.clone(), create(GOOD)))).await, Answer::Allow);
            }
            *best = best.min(begun.elapsed().as_secs_f64() * 1e6 / f64::from(DECISIONS));
        }
    }
    println!(
        "a create: {:.1} µs without a chain, {:.1} µs with it ({:+.1} %)",
        best[0],
        best[1],
        (best[1] / best[0] - 1.0) * 100.0
    );
}
