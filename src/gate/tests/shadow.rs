//! A candidate beside the policy in force: what it would say is recorded and counted, and nothing of it reaches a client or the gate.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::support::*;
use crate::audit::{Entry, Event};
use crate::engine::{Api, CALL_HEADER, Fake, own_mark};
use crate::gate::{Candidate, Gate, Plugins, Rules, Shadow};
use crate::image::Digest;
use crate::policy::{GroupSetting, Mode, Policy, Posture, Users};
use crate::trust::{Fake as Notary, TrustCode, TrustError};
use crate::wire::{Answer, Call};

const START: &str = "/v1.41/containers/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/start";

fn signs() -> Notary {
    Notary::default().with(GOOD, digest("good manifest"))
}

fn rules(policy: Policy, notary: Notary) -> Rules {
    Rules::Good { policy, verifiers: vec![Arc::new(notary)], registry: None }
}

fn candidate(faults: &[&str]) -> Candidate {
    let faults = faults.iter().map(|fault| (*fault).to_owned()).collect();
    Candidate { file: "/etc/docker/img-authz/policy.shadow.toml".into(), digest: Some(Digest::of(b"text")), faults }
}

fn judged_by(house: &House, engine: Arc<dyn Api>, rules: Rules) -> Arc<Shadow> {
    let shadow = Shadow::beside(&house.gate, engine, Plugins::default(), tokio::runtime::Handle::current());
    shadow.judge_by(Some(candidate(&[])), Some(rules));
    house.gate.shadowed_by(Arc::clone(&shadow));
    shadow
}

/// A host with a container of the signed image, and one of another; a policy in force, and a candidate.
fn beside(in_force: (Policy, Notary), candidate: (Policy, Notary)) -> House {
    let house = house_with(in_force.0, in_force.1);
    house.engine.put_container(container('a', "good", Some(digest("good config"))));
    house.engine.put_container(container('b', "evil", Some(digest("evil config"))));
    judged_by(&house, house.engine.clone(), rules(candidate.0, candidate.1));
    house
}

fn images() -> Policy {
    policy(Posture::Images)
}

fn permissive() -> Policy {
    Policy { mode: Mode::Permissive, ..images() }
}

/// What is counted of the candidate so far.
fn counted(gate: &Gate) -> Vec<String> {
    let lines = gate.metrics();
    let of_verdict = |line: &str| line.strip_prefix("img_authz_shadow_verdicts_total").map(str::to_owned);
    let mut counted: Vec<String> = lines.lines().filter_map(of_verdict).collect();
    counted.sort();
    counted
}

async fn counts(gate: &Gate, expected: &[&str]) {
    let until = Instant::now() + Duration::from_secs(10);
    while counted(gate) != expected {
        assert!(Instant::now() < until, "{:?} is not {expected:?}", counted(gate));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn recorded(house: &House, event: Event) -> Vec<Entry> {
    house.journal.0.lock().unwrap().iter().filter(|entry| entry.event == event).cloned().collect()
}

#[tokio::test]
async fn what_the_candidate_would_refuse_passes_and_is_recorded_with_both_codes() {
    let house = beside((images(), signs()), (images(), Notary::default()));
    assert_eq!(refused(&house.lives("POST", START).await), "allow");
    counts(&house.gate, &[r#"{verdict="would-deny",code="not-signed"} 1"#]).await;
    let [passed] = &recorded(&house, Event::Allowed)[..] else { panic!() };
    let [told] = &recorded(&house, Event::WouldDeny)[..] else { panic!() };
    assert_eq!((told.code, told.shadow_code, told.enforced), ("", "not-signed", false));
    assert!(told.message.starts_with("not-signed: "), "{}", told.message);
    assert_eq!(told.decision_id, passed.decision_id);
    assert_eq!((told.action, &told.path, &told.image_id), ("start", &START.to_owned(), &passed.image_id));
    // It does not count among the decisions.
    assert!(!house.gate.metrics().contains("decision=\"deny\"") && recorded(&house, Event::Blocked).is_empty());
}

#[tokio::test]
async fn what_the_candidate_would_let_pass_is_refused_and_is_recorded_and_nothing_is_approved() {
    let lax = Notary::default().with("r.example/team/good:1", digest("good manifest"));
    let house = beside((images(), Notary::default()), (images(), lax));
    for _ in 0..2 {
        assert_eq!(refused(&house.lives("POST", START).await), "not-signed");
    }
    counts(&house.gate, &[r#"{verdict="would-allow",code="not-signed"} 2"#]).await;
    let told = &recorded(&house, Event::WouldAllow)[0];
    assert_eq!((told.code, told.shadow_code, told.enforced), ("not-signed", "", true));
    assert!(told.message.starts_with("the candidate lets pass what is refused: not-signed: "), "{}", told.message);
    assert_eq!(told.verifiers.len(), 1, "who vouches to the candidate");
    // Its yes is no record that the policy in force would read.
    assert!(house.gate.approvals.of(&digest("good config")).is_empty());
    assert!(!house.gate.approvals.knows_image(&digest("good config")));
    assert!(house.journal.0.lock().unwrap().iter().all(|entry| entry.event != Event::Allowed));
}

#[tokio::test]
async fn equal_verdicts_are_counted_and_recorded_nowhere() {
    let house = beside((images(), signs()), (images(), signs()));
    assert_eq!(refused(&house.lives("POST", START).await), "allow");
    assert_eq!(refused(&house.lives("POST", &START.replace('a', "b")).await), "route-unknown");
    let evil = format!("/v1.41/containers/{}/start", "b".repeat(64));
    assert_ne!(refused(&house.lives("POST", &evil).await), "allow");
    counts(&house.gate, &[r#"{verdict="same",code=""} 3"#]).await;
    let before = house.journal.0.lock().unwrap().len();
    assert_eq!(before, 3, "three decisions, and nothing beside them");
}

#[tokio::test]
async fn modes_count_as_they_meet_clients() {
    // Switched off beside enforced: nobody would be refused.
    let house = beside((images(), Notary::default()), (permissive(), Notary::default()));
    assert_eq!(refused(&house.lives("POST", START).await), "not-signed");
    counts(&house.gate, &[r#"{verdict="would-allow",code="not-signed"} 1"#]).await;
    assert_eq!(recorded(&house, Event::WouldAllow)[0].shadow_code, "not-signed");
    // And the other way: what will be refused.
    let house = beside((permissive(), Notary::default()), (images(), Notary::default()));
    assert_eq!(refused(&house.lives("POST", START).await), "allow");
    counts(&house.gate, &[r#"{verdict="would-deny",code="not-signed"} 1"#]).await;
    let told = &recorded(&house, Event::WouldDeny)[0];
    assert_eq!((told.code, told.shadow_code), ("not-signed", "not-signed"));
}

#[tokio::test]
async fn what_only_reads_is_judged_where_users_may_be_refused_and_else_not() {
    let house = beside((images(), signs()), (images(), Notary::default()));
    assert_eq!(refused(&house.lives("GET", "/v1.41/containers/json").await), "allow");
    tokio::time::sleep(Duration::from_millis(50)).await;
    counts(&house.gate, &[]).await;
    let group = GroupSetting {
        name: "stoppers".to_owned(),
        place: "policy.toml:3".to_owned(),
        users: vec!["local".to_owned()],
        actions: vec!["container_stop".to_owned()],
        ..GroupSetting::default()
    };
    let users = Some(Arc::new(Users::of_groups(vec![group], &[]).unwrap().0));
    let house = beside((images(), signs()), (Policy { users, ..images() }, signs()));
    assert_eq!(refused(&house.lives("GET", "/v1.41/containers/json").await), "allow");
    counts(&house.gate, &[r#"{verdict="would-deny",code="user-forbidden"} 1"#]).await;
    let told = &recorded(&house, Event::WouldDeny)[0];
    assert_eq!((told.decision_id.as_str(), told.right), ("", "container_list"), "what reads has no decision on record");
}

#[tokio::test]
async fn the_gates_own_calls_and_what_was_refused_for_want_of_places_are_not_judged() {
    let house = beside((images(), signs()), (images(), Notary::default()));
    let mut own = Call { method: "GET".into(), uri: START.replace("start", "json"), ..call_without_body() };
    own.headers.insert(CALL_HEADER.to_owned(), own_mark());
    let intent = crate::request::Intent::of(&own);
    assert_eq!(house.gate.request(Ok((own, intent))).await, Answer::Allow);
    assert!(matches!(house.gate.request(Err(Call::decode(b"{").unwrap_err())).await, Answer::Deny(_)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    counts(&house.gate, &[]).await;
}

#[tokio::test]
async fn a_host_that_has_changed_meanwhile_is_no_difference() {
    for (id, expected) in [
        (None, r#"{verdict="unknown",code="container-unknown"} 1"#),
        (Some("other config"), r#"{verdict="unknown",code=""} 1"#),
        (Some("good config"), r#"{verdict="would-deny",code="not-signed"} 1"#),
    ] {
        let house = house();
        house.engine.put_container(container('a', "good", Some(digest("good config"))));
        let later = Arc::new(Fake::new());
        later.put_image(image("good", &[GOOD], &["r.example/team/good"]));
        if let Some(id) = id {
            later.put_container(container('a', "good", Some(digest(id))));
        }
        judged_by(&house, later, rules(images(), Notary::default()));
        assert_eq!(refused(&house.lives("POST", START).await), "allow");
        counts(&house.gate, &[expected]).await;
        assert_eq!(recorded(&house, Event::WouldDeny).len(), usize::from(id == Some("good config")));
    }
}

#[tokio::test]
async fn a_server_that_is_out_of_reach_is_no_difference_and_one_that_is_set_up_wrongly_is() {
    for (code, expected) in [
        (TrustCode::Unreachable, r#"{verdict="unknown",code="trust-unreachable"} 1"#),
        (TrustCode::CaRefused, r#"{verdict="would-deny",code="trust-ca-refused"} 1"#),
    ] {
        let failure = Some(TrustError::new(code, "no"));
        let house = beside((images(), signs()), (images(), Notary { failure, ..Notary::default() }));
        assert_eq!(refused(&house.lives("POST", START).await), "allow");
        counts(&house.gate, &[expected]).await;
    }
}

/// The attack: every call is one that the candidate hangs on.
#[tokio::test]
async fn a_candidate_that_hangs_takes_no_time_and_no_place_of_what_is_decided() {
    let house = beside((images(), signs()), (images(), Notary { hangs: true, ..Notary::default() }));
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(refused(&house.lives("POST", START).await), "allow");
    }
    assert!(began.elapsed() < house.gate.limits.decision * 5, "{:?}: not one after the other", began.elapsed());
    assert_eq!((house.gate.places.used(), house.gate.places.refused(), house.gate.asking.refused()), (0, 0, 0));
    let dropped = |counted: &[String]| counted.iter().any(|line| line.starts_with(r#"{verdict="dropped""#));
    assert!(dropped(&counted(&house.gate)), "{:?}", counted(&house.gate));
    // All of them come to an end, and the next is judged again.
    let until = Instant::now() + Duration::from_secs(10);
    let number = |line: &String| line.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap();
    while counted(&house.gate).iter().map(number).sum::<u64>() < 100 {
        assert!(Instant::now() < until, "{:?}", counted(&house.gate));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(counted(&house.gate).iter().any(|line| line.starts_with(r#"{verdict="unknown",code="deadline"}"#)));
}

/// The attack: creates as large as they may be.
#[tokio::test]
async fn calls_that_wait_hold_no_more_than_their_share_of_memory() {
    let house = beside((images(), signs()), (images(), Notary { hangs: true, ..Notary::default() }));
    for _ in 0..8 {
        let call = Call { body: Some(vec![b' '; 4 << 20]), method: "POST".into(), uri: START.into(), ..call_without_body() };
        house.gate.request(Ok((call, sent("POST", START)))).await;
    }
    // Of 4 MiB and a few bytes each, three are less than 16 MiB.
    assert_eq!(counted(&house.gate), [r#"{verdict="dropped",code=""} 5"#]);
}

#[tokio::test]
async fn a_fault_of_the_candidate_touches_nothing_and_is_shown() {
    let house = house();
    house.engine.put_container(container('a', "good", Some(digest("good config"))));
    let stands = |number: &str| house.gate.metrics().contains(&format!("\nimg_authz_shadow_last_reload_successful {number}\n"));
    assert!(stands("-1") && house.gate.candidate().is_none());
    let shadow = judged_by(&house, house.engine.clone(), rules(images(), Notary::default()));
    assert!(stands("1"));
    shadow.judge_by(Some(candidate(&["scope.match: is missing"])), None);
    assert!(stands("0"));
    assert!(house.gate.candidate().unwrap().told().contains("is faulty, and nothing is judged by it: scope.match: is missing"));
    assert!(house.gate.metrics().contains("img_authz_policy_last_reload_successful 0"), "that is of the settings alone");
    assert_eq!(refused(&house.lives("POST", START).await), "allow");
    shadow.judge_by(None, None);
    assert!(stands("-1") && house.gate.candidate().is_none());
    assert_eq!(refused(&house.lives("POST", START).await), "allow");
    tokio::time::sleep(Duration::from_millis(50)).await;
    counts(&house.gate, &[]).await;
    // And there is one again.
    shadow.judge_by(Some(candidate(&[])), Some(rules(images(), Notary::default())));
    assert_eq!(refused(&house.lives("POST", START).await), "allow");
    counts(&house.gate, &[r#"{verdict="would-deny",code="not-signed"} 1"#]).await;
}

/// A container whose image has lost its names is known by the record of its approval: also to the candidate, as it would be in force.
#[tokio::test]
async fn the_candidate_reads_the_records_of_approvals() {
    let house = house();
    house.engine.put_container(container('a', "good", Some(digest("good config"))));
    assert_eq!(refused(&house.lives("POST", START).await), "allow");
    assert_eq!(house.gate.approvals.of(&digest("good config")).len(), 1);
    house.engine.remove_images();
    house.engine.put_image(image("good", &[], &[]));
    judged_by(&house, house.engine.clone(), rules(images(), signs()));
    assert_eq!(refused(&house.lives("POST", START).await), "allow");
    counts(&house.gate, &[r#"{verdict="same",code=""} 1"#]).await;
}
