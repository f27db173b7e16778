//! Names that are being given, and whom a name may start meanwhile.

use std::time::Duration;

use super::support::{GOOD, call_without_body, container, create, digest, house, refused, start};
use crate::engine::{Container, EngineError};
use crate::request::{Create, Intent};
use crate::wire::{Answer, Call};

/// The engine falls back from names to beginnings of ids, and a container can lose its name without a call (`--rm`).
#[tokio::test]
async fn a_name_that_begins_another_containers_id_starts_nothing() {
    let house = house();
    house.engine.put_container(container('a', "bbb", Some(digest("good config"))));
    house.engine.put_container(container('c', "cc", Some(digest("good config"))));
    assert_eq!(house.says(&start("bbb")).await, "allow");
    let good = Container {
        id: format!("bbb{}", "c".repeat(61)).parse().unwrap(),
        ..container('b', "fine", Some(digest("good config")))
    };
    house.engine.put_container(good);
    assert_eq!(house.says(&start("bbb")).await, "allow", "what would start instead is as good");
    let id = format!("bbb{}", "c".repeat(61)).parse().unwrap();
    house.engine.put_container(Container { id, ..container('b', "bad", Some(digest("evil config"))) });
    assert_ne!(house.says(&start("bbb")).await, "allow");
    // One of two others can be removed before the engine looks.
    let id = format!("bbb{}", "d".repeat(61)).parse().unwrap();
    house.engine.put_container(Container { id, ..container('b', "fine", Some(digest("good config"))) });
    assert_ne!(house.says(&start("bbb")).await, "allow");
    let rename = Call::decode(
        br#"{"RequestMethod":"POST","RequestUri":"/containers/bbb/rename?name=x","RequestHeaders":{"Content-Length":"0"}}"#,
    )
    .unwrap();
    let intent = Intent::of(&rename);
    let Answer::Deny(message) = house.gate.request(Ok((rename, intent))).await else { panic!() };
    assert!(message.starts_with("request-unreadable"), "{message}");
    for sure in ["a".repeat(64).as_str(), "aaa", "cc"] {
        assert_eq!(house.says(&start(sure)).await, "allow", "{sure}");
    }
}

#[tokio::test]
async fn a_removal_waits_for_no_start() {
    let house = house();
    house.engine.put_container(container('a', "db", Some(digest("good config"))));
    house.engine.put_container(container('c', "c", Some(digest("good config"))));
    let call =
        |method: &str, uri: &str| Call::decode(format!(r#"{{"RequestMethod":"{method}","RequestUri":"{uri}"}}"#).as_bytes());
    for (method, uri) in
        [("POST", "/containers/db/restart"), ("DELETE", "/containers/other"), ("POST", "/containers/c/rename?name=xy")]
    {
        let call = call(method, uri).unwrap();
        let intent = Intent::of(&call);
        assert_eq!(house.gate.request(Ok((call, intent))).await, Answer::Allow, "{uri}");
    }
}

#[tokio::test]
async fn a_name_is_not_moved_between_the_look_and_the_start() {
    let house = house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    let call = |method: &str, uri: &str| Call {
        user: String::new(),
        user_authn_method: String::new(),
        method: method.into(),
        uri: uri.into(),
        headers: [("Content-Length".to_owned(), "0".to_owned())].into(),
        body: None,
        outcome: None,
        certificate: None,
    };
    house.engine.put_container(container('b', "b", Some(digest("good config"))));
    let started = call("POST", "/v1.41/containers/web/start");
    assert_eq!(house.gate.request(Ok((started.clone(), start("web")))).await, Answer::Allow);
    let rename =
        || Ok((call("POST", "/containers/b/rename?name=web"), Intent::Rename { container: "b".into(), name: "web".into() }));
    let Answer::Deny(message) = house.gate.request(rename()).await else { panic!() };
    assert!(message.starts_with("name-busy"), "{message}");
    assert!(house.gate.leases.end("POST /v1.41/containers/web/start").is_some());
    // The name is another container's: the engine would wait, and give it once it is free.
    let Answer::Deny(message) = house.gate.request(rename()).await else { panic!() };
    assert!(message.starts_with("name-taken"), "{message}");
    house.engine.rename(&"a".repeat(64).parse().unwrap(), "old");
    assert_eq!(house.gate.request(rename()).await, Answer::Allow);
    // Until it is given, nothing starts by it; the full id does.
    let Answer::Deny(message) = house.gate.request(Ok((started.clone(), start("web")))).await else { panic!() };
    assert!(message.starts_with("name-busy"), "{message}");
    let id = "a".repeat(64);
    assert_eq!(house.gate.request(Ok((call("POST", &format!("/containers/{id}/start")), start(&id)))).await, Answer::Allow);
    house
        .gate
        .response(&Call {
            outcome: Some(crate::wire::Outcome { status: 204, body: None }),
            ..call("POST", "/containers/b/rename?name=web")
        })
        .await;
    house.engine.put_container(container('b', "web", Some(digest("good config"))));
    assert_eq!(house.gate.request(Ok((started, start("web")))).await, Answer::Allow);
}

/// The second is refused for its name, which has been taken meanwhile; the first is still under way, held up by a client.
#[tokio::test(start_paused = true)]
async fn a_rename_that_is_refused_leaves_an_equal_one_its_name() {
    let house = house();
    house.engine.put_container(container('e', "bad", Some(digest("evil config"))));
    let rename = "/containers/bad/rename?name=web";
    assert_eq!(house.lives("POST", rename).await, Answer::Allow);
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    assert_eq!(refused(&house.lives("POST", rename).await), "name-taken");
    // A client holds its lock.
    house.engine.fail_with(Some(EngineError::Timeout { call: "GET /containers/e".into() }));
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(refused(&house.lives("POST", "/containers/web/start").await), "name-busy");
}

/// A create that the engine has not carried out after 20 s, and whose end the daemon does not tell.
#[tokio::test(start_paused = true)]
async fn a_name_that_a_create_gives_starts_nothing_until_the_create_is_over() {
    let house = house();
    let create = |name: &str| {
        let Intent::Create(create) = create(GOOD) else { panic!() };
        let uri = format!("/containers/create?name={name}");
        let call = Call { method: "POST".into(), uri, ..call_without_body() };
        Ok((call, Intent::Create(Box::new(Create { name: Some(name.into()), ..*create }))))
    };
    assert_eq!(house.gate.request(create("web")).await, Answer::Allow);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(refused(&house.lives("POST", "/containers/web/start").await), "name-busy");
    // An engine that does not answer says nothing about it.
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    house.engine.fail_with(Some(EngineError::Timeout { call: "GET /images/x".into() }));
    assert_eq!(refused(&house.lives("POST", "/containers/web/start").await), "name-busy");
    // It is passed, and the name is given.
    house.engine.fail_with(None);
    assert_eq!(house.lives("POST", "/containers/web/start").await, Answer::Allow);
    // An end, whatever it was, needs no such proof.
    assert_eq!(house.gate.request(create("db")).await, Answer::Allow);
    house.ends("POST", "/containers/create?name=db").await;
    assert_eq!(refused(&house.lives("POST", "/containers/db/start").await), "container-unknown");
}
