//! Starts, judged by the image that the container was made from.

use std::sync::Arc;

use super::support::{GOOD, call_without_body, container, create, digest, house, image, policy, refused, start};
use crate::audit::Event;
use crate::gate::Rules;
use crate::policy::{Posture, Verdict};
use crate::request::Intent;
use crate::trust::Fake as Notary;
use crate::wire::{Answer, Call};

#[tokio::test]
async fn starts_are_judged_by_the_image_the_container_was_made_from() {
    let house = house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    house.engine.put_container(container('b', "bad", Some(digest("evil config"))));
    house.engine.put_container(container('c', "bare", None));
    let mut mounts = container('d', "mounts", Some(digest("good config")));
    mounts.mounts = vec!["evil.example/evil:1".to_owned()];
    house.engine.put_container(mounts);
    let mut pinned = container('e', "pinned", Some(digest("good config")));
    pinned.mounts = vec![digest("evil config").to_string()];
    house.engine.put_container(pinned);
    for (name, says) in [
        ("web", "allow"),
        (&"a".repeat(64), "allow"),
        ("bad", "registry-not-allowed"),
        ("bare", "no-image"),
        ("none", "container-unknown"),
        ("web/alias", "container-unknown"),
        ("mounts", "mount-needs-digest"),
        ("pinned", "registry-not-allowed"),
    ] {
        assert_eq!(house.says(&start(name)).await, says, "{name}");
    }
}

#[tokio::test]
async fn an_approved_container_starts_when_its_image_has_lost_every_name() {
    let house = house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    house.engine.remove_images();
    assert_eq!(house.says(&start("web")).await, "image-unapproved");
    house.engine.put_image(image("good", &[GOOD], &["r.example/team/good"]));
    let Verdict::Allow(permit) = house.gate.judge(&create(GOOD)).await.verdict else { panic!() };
    permit.approvals().iter().for_each(|approval| house.gate.keep(approval));
    house.engine.remove_images();
    assert_eq!(house.says(&start("web")).await, "allow");
    // The record says what to ask about; it is no yes of its own.
    house.gate.replace(Rules::Good {
        policy: policy(Posture::Images),
        verifiers: vec![Arc::new(Notary::default())],
        registry: None,
    });
    assert_eq!(house.says(&start("web")).await, "not-signed");
}

#[tokio::test]
async fn a_container_made_of_other_content_than_was_judged_is_recorded() {
    let house = house();
    let image = digest("good config");
    house.engine.put_container(container('a', "web", Some(image)));
    house.engine.put_container(container('b', "bad", Some(digest("evil config"))));
    let Verdict::Allow(permit) = house.gate.judge(&create(GOOD)).await.verdict else { panic!() };
    permit.approvals().iter().for_each(|approval| house.gate.keep(approval));
    for id in ["a", "b"] {
        let call = Call {
            user: String::new(),
            user_authn_method: String::new(),
            method: "POST".into(),
            uri: "/containers/create".into(),
            headers: [("Content-Type".to_owned(), "application/json".to_owned())].into(),
            body: Some(br#"{"Image":"r.example/team/good:1"}"#.to_vec()),
            outcome: Some(crate::wire::Outcome {
                status: 201,
                body: Some(format!(r#"{{"Id":"{}"}}"#, id.repeat(64)).into_bytes()),
            }),
            certificate: None,
        };
        house.gate.response(&call).await;
    }
    let entries = house.journal.0.lock().unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.event, entry.container_id.chars().next())).collect();
    assert_eq!(seen, [(Event::Created, Some('a')), (Event::Mismatch, Some('b'))]);
}

/// The engine starts it later by itself, and asks nobody.
#[tokio::test]
async fn a_container_is_armed_to_start_if_it_may_start() {
    let house = house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    house.engine.put_container(container('b', "bad", Some(digest("evil config"))));
    let update = |name: &str, policy: &str| {
        let body = format!(r#"{{"RestartPolicy":{{"Name":"{policy}"}}}}"#).into_bytes();
        let headers = [("Content-Type".to_owned(), "application/json".to_owned())].into();
        let uri = format!("/containers/{name}/update");
        let call = Call { method: "POST".into(), uri, headers, body: Some(body), ..call_without_body() };
        let intent = Intent::of(&call);
        (call, intent)
    };
    assert_eq!(refused(&house.gate.request(Ok(update("bad", "always"))).await), "registry-not-allowed");
    assert_eq!(refused(&house.gate.request(Ok(update("bad", "no"))).await), "allow");
    let armed = update("web", "always");
    assert_eq!(house.gate.request(Ok(armed.clone())).await, Answer::Allow);
    // The name stays what it was until the engine has looked it up.
    assert_eq!(refused(&house.lives("POST", "/containers/bad/rename?name=web").await), "name-busy");
    house.gate.response(&armed.0).await;
    assert_eq!(refused(&house.lives("POST", "/containers/bad/rename?name=web").await), "name-taken");
}
