//! Places of decisions under way, and that nobody takes those of others.

use std::sync::Arc;
use std::time::Duration;

use super::support::{GOOD, House, call_without_body, container, create, digest, house_with, policy, pull, refused};
use crate::gate::DecisionLimits;
use crate::gate::approvals::Record;
use crate::policy::Posture;
use crate::request::{Create, Intent};
use crate::trust::Fake as Notary;
use crate::wire::{Answer, Call};

/// Creates that wait for names which one client holds are counted by these, not by the repository.
#[tokio::test]
async fn creates_that_wait_for_a_name_take_no_places_of_their_repository() {
    let house = house_with(policy(Posture::Images), Notary::default().with(GOOD, digest("good manifest")));
    let limits = DecisionLimits {
        decision: Duration::from_secs(4),
        name: Duration::from_secs(3),
        places: 64,
        ..DecisionLimits::default()
    };
    let gate = Arc::into_inner(house.gate).unwrap().with_limits(limits);
    let house = House { gate: Arc::new(gate), ..house };
    let named = |name: String| {
        let Intent::Create(create) = create(GOOD) else { panic!() };
        let call = Call { method: "POST".into(), uri: format!("/containers/create?name={name}"), ..call_without_body() };
        (call, Intent::Create(Box::new(Create { name: Some(name), ..*create })))
    };
    let digits = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
    let mut waiting = Vec::new();
    for digit in digits {
        house.engine.put_container(container(digit, &format!("n-{digit}"), Some(digest("good config"))));
        assert_eq!(house.lives("POST", &format!("/containers/n-{digit}/start")).await, Answer::Allow);
        let (gate, asked) = (house.gate.clone(), named(format!("n-{digit}")));
        waiting.push(tokio::spawn(async move { gate.request(Ok(asked)).await }));
    }
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    assert_eq!(house.gate.request(Ok(named("free".into()))).await, Answer::Allow);
    assert_eq!(house.gate.request(Ok((call_without_body(), create(GOOD)))).await, Answer::Allow);
    for waiting in waiting {
        waiting.abort();
    }
}

/// One client's decisions that hang, all of repositories that it has made up.
#[tokio::test]
async fn decisions_that_hang_leave_places_to_others_and_are_refused_at_once_when_there_are_too_many() {
    let house = house_with(policy(Posture::Images), Notary { hangs: true, ..Notary::default() });
    let record = Record {
        image_id: digest("good config"),
        repository: "r.example/team/good".parse().unwrap(),
        digest: digest("good manifest"),
        forgiven: false,
    };
    house.gate.approvals.keep(&record);
    let ask = |reference: &str| {
        let (gate, intent) = (house.gate.clone(), pull(reference));
        async move { gate.request(Ok((call_without_body(), intent))).await }
    };
    let hanging: Vec<_> = (0..200).map(|number| tokio::spawn(ask(&format!("r.example/made-up{number}:1")))).collect();
    tokio::task::yield_now().await;
    let begun = std::time::Instant::now();
    assert_eq!(refused(&ask("r.example/one-more:1").await), "overloaded");
    assert_eq!(house.lives("GET", "/containers/json").await, Answer::Allow);
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    // A repository that has vouched for something is asked about.
    assert_eq!(refused(&ask(GOOD).await), "deadline");
    let mut counts = std::collections::BTreeMap::new();
    for answer in hanging {
        *counts.entry(refused(&answer.await.unwrap()).to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts, [("deadline".to_owned(), 8), ("overloaded".to_owned(), 192)].into());
    let text = house.gate.metrics();
    assert!(text.contains("img_authz_places_used 0\n") && text.contains("refused_total{what=\"question\"} 193\n"), "{text}");
}
