//! What is on the host already, judged.

use std::time::Duration;

use super::support::{GOOD, container, digest, house, house_with, policy};
use crate::engine::EngineError;
use crate::gate::inventory::{Kind, MOST, Says};
use crate::order::sort_by_key;
use crate::policy::{Mode, Policy, Posture};
use crate::trust::{Fake as Notary, TrustCode, TrustError};

const TIME: Duration = Duration::from_secs(5);

/// What is said of each: `yes`, the refusal's code, or `?` and the code.
fn told(says: &Says) -> String {
    match says {
        Says::Yes => "yes".to_owned(),
        Says::No(reason) => reason.code().to_owned(),
        Says::Forgiven(reason) => format!("~{}", reason.code()),
        Says::Superseded(reason) => format!("^{}", reason.code()),
        Says::CannotTell(reason) => format!("?{}", reason.code()),
    }
}

#[tokio::test]
async fn containers_and_images_are_told_with_why_they_would_be_refused_running_ones_first() {
    let unsigned = Notary::default();
    let signed = || Notary::default().with(GOOD, digest("good manifest"));
    let silent = || Notary { failure: Some(TrustError::new(TrustCode::Unreachable, "no route")), ..signed() };
    let permissive = || Policy { mode: Mode::Permissive, ..policy(Posture::Images) };
    for (policy, notary, good) in [
        (policy(Posture::Images), signed(), "yes"),
        (policy(Posture::Images), unsigned, "not-signed"),
        (policy(Posture::Images), silent(), "?trust-unreachable"),
        // What is not carried out is told as well.
        (permissive(), Notary::default(), "not-signed"),
    ] {
        let house = house_with(policy, notary);
        house.engine.put_container(container('a', "stopped", Some(digest("good config"))));
        let mut running = container('b', "running", Some(digest("evil config")));
        running.running = true;
        house.engine.put_container(running);
        let found = house.gate.inventory(8, TIME, |_, _| ()).await.unwrap();
        let items: Vec<_> = found.items.iter().map(|item| (item.kind, item.name.as_str(), told(&item.says))).collect();
        let evil = "registry-not-allowed".to_owned();
        assert_eq!(items[..2], [(Kind::Running, "running", evil.clone()), (Kind::Stopped, "stopped", good.to_owned())]);
        let mut images: Vec<_> = items[2..].to_vec();
        sort_by_key(&mut images, |(_, name, _)| *name);
        assert_eq!(images, [(Kind::Image, "evil.example/evil:1", evil), (Kind::Image, GOOD, good.to_owned())]);
        assert_eq!(found.left, 0);
    }
}

#[tokio::test]
async fn who_looks_changes_no_approval_and_the_monitor_remembers_what_it_approves() {
    let house = house();
    let one = container('a', "one", Some(digest("good config")));
    let id = one.id.clone();
    house.engine.put_container(one);
    let found = house.gate.inventory(8, TIME, |_, _| ()).await.unwrap();
    assert_eq!(told(&found.items[0].says), "yes");
    let approved = || (house.gate.figures().approved, house.gate.approved_by(&digest("good config")).len());
    assert_eq!(approved(), (0, 0));
    let judged = house.gate.judge_containers(vec![id], TIME).await;
    assert_eq!((told(&judged[0].1).as_str(), approved()), ("yes", (1, 1)));
}

#[tokio::test]
async fn a_crowd_is_judged_in_part_and_an_engine_without_an_answer_is_none() {
    let house = house();
    for number in 0..=MOST {
        let mut one = container('a', "one", Some(digest("good config")));
        one.id = format!("{number:064x}").parse().unwrap();
        house.engine.put_container(one);
    }
    let mut steps = Vec::new();
    let found = house.gate.inventory(8, TIME, |done, of| steps.push((done, of))).await.unwrap();
    assert_eq!((found.items.len(), found.left), (MOST + 2, 1));
    assert_eq!(steps.last(), Some(&(MOST, MOST + 2)), "{steps:?}");
    house.engine.fail_with(Some(EngineError::Timeout { call: "GET /containers/json".into() }));
    assert!(house.gate.inventory(8, TIME, |_, _| ()).await.is_err());
}
