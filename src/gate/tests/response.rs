//! Ends of calls: what came in or began otherwise than judged is recorded, and killed.

use std::time::Duration;

use super::support::{GOOD, container, digest, house, house_with, image, policy, pull, start, started_call};
use crate::audit::Event;
use crate::engine::{Container, EngineError};
use crate::gate::approvals::Record;
use crate::policy::Posture;
use crate::trust::{Fake as Notary, TrustCode, TrustError};
use crate::wire::{Answer, Call};

#[tokio::test]
async fn a_pull_that_brought_other_content_is_recorded() {
    // As dockerd 20.10.24 shows the end of a pull: without a status, since the answer was streamed.
    let ended = |status: &str| {
        let text = format!(
            r#"{{"RequestMethod":"POST","RequestUri":"/v1.41/images/create?fromImage=r.example%2Fteam%2Fgood&tag=1",
            "RequestHeaders":{{"Content-Length":"0"}}{status}}}"#
        );
        Call::decode(text.as_bytes()).unwrap()
    };
    let house = house();
    let mismatches = || house.journal.0.lock().unwrap().iter().filter(|entry| entry.event == Event::Mismatch).count();
    house.gate.after(&ended("")).await;
    assert_eq!(mismatches(), 0, "what is vouched for has arrived");
    house.engine.put_image(image("evil", &[GOOD], &["r.example/team/good"]));
    house.gate.after(&ended(r#","ResponseStatusCode":500"#)).await;
    assert_eq!(mismatches(), 0, "nothing has arrived");
    house.gate.after(&ended("")).await;
    assert_eq!(mismatches(), 1);
}

/// A pull that failed has no status, either: on older engines once its answer had begun, on those from 29.2 on always.
#[tokio::test]
async fn a_pull_that_brought_nothing_is_no_mismatch() {
    let house = house();
    let text = r#"{"RequestMethod":"POST","RequestUri":"/v1.56/images/create?fromImage=r.example%2Fteam%2Fgood&tag=1",
        "RequestHeaders":{"Content-Length":"0"}}"#;
    let call = Call::decode(text.as_bytes()).unwrap();
    let mismatches = || house.journal.0.lock().unwrap().iter().filter(|entry| entry.event == Event::Mismatch).count();
    // The signed tag has moved on, and the host holds what it was signed as before.
    house.engine.put_image(image("old", &[GOOD], &["r.example/team/good"]));
    assert_eq!(house.gate.request(Ok((call.clone(), pull(GOOD)))).await, Answer::Allow);
    house.gate.response(&call).await;
    assert_eq!(mismatches(), 0);
    assert_eq!(house.gate.request(Ok((call.clone(), pull(GOOD)))).await, Answer::Allow);
    house.engine.put_image(image("evil", &[GOOD], &["r.example/team/good"]));
    house.gate.response(&call).await;
    assert_eq!(mismatches(), 1);
}

/// The gate was restarted between the question and the end.
#[tokio::test(start_paused = true)]
async fn a_start_whose_lease_is_gone_kills_only_what_it_started_and_nobody_approves() {
    let now = crate::clock::now();
    let long_ago = now.checked_sub(jiff::SignedDuration::from_hours(1)).unwrap();
    for (image, running, started_at, kills) in [
        ("evil config", true, now, 1),
        ("good config", true, now, 0),
        ("evil config", false, now, 0),
        ("evil config", true, long_ago, 0),
    ] {
        let house = house();
        let started = Container { running, started_at: Some(started_at), ..container('a', "web", Some(digest(image))) };
        house.engine.put_container(started);
        house.gate.response(&started_call(Some(204))).await;
        assert_eq!(house.engine.killed().len(), kills, "{image} {running} {started_at}");
    }
    let failure = Some(TrustError::new(TrustCode::Unreachable, "no route"));
    let house = house_with(policy(Posture::Images), Notary { failure, ..Notary::default() });
    let started = Container { running: true, started_at: Some(now), ..container('a', "web", Some(digest("good config"))) };
    house.engine.put_container(started);
    let record = Record {
        image_id: digest("good config"),
        repository: "r.example/team/good".parse().unwrap(),
        digest: digest("good manifest"),
        forgiven: false,
    };
    house.gate.approvals.keep(&record);
    house.gate.response(&started_call(Some(204))).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(house.engine.killed().is_empty());
}

/// A client names its image in an allowed repository, whose verifier cannot answer: the judgement cannot be made.
#[tokio::test(start_paused = true)]
async fn what_nothing_ever_approved_is_killed_though_it_cannot_be_judged() {
    let failure = Some(TrustError::new(TrustCode::Unreachable, "no route"));
    let house = house_with(policy(Posture::Images), Notary { failure, ..Notary::default() });
    let mut evil = image("evil", &["r.example/team/good:1"], &[]);
    evil.id = digest("evil config");
    house.engine.put_image(evil);
    let now = crate::clock::now();
    let began = Container { running: true, started_at: Some(now), ..container('a', "web", Some(digest("evil config"))) };
    house.engine.put_container(began);
    house.gate.response(&started_call(Some(204))).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(house.engine.killed().len(), 1);
}

/// The name came to mean another container after the look, and lost it again before the end: 4 of 4 tries on a real engine.
#[tokio::test]
async fn what_began_in_place_of_the_judged_container_is_killed_under_whatever_name() {
    let evil = |running| Container {
        running,
        started_at: Some(crate::clock::now()),
        ..container('e', "elsewhere", Some(digest("evil config")))
    };
    for (status, running, events) in [
        (Some(204), true, vec![Event::Killed]),
        // No status: the handler failed, by the engine's own account.
        (None, true, vec![Event::Killed]),
        (Some(500), true, vec![Event::Killed]),
        // It ended by itself; that it ran is recorded.
        (Some(204), false, vec![Event::Mismatch]),
        (Some(304), true, vec![]),
    ] {
        let house = house();
        house.engine.put_container(container('a', "web", Some(digest("good config"))));
        let asked = house.gate.request(Ok((started_call(None), start("web")))).await;
        assert_eq!(asked, Answer::Allow);
        house.engine.put_container(evil(running));
        house.gate.response(&started_call(status)).await;
        let entries = house.journal.0.lock().unwrap();
        let seen: Vec<_> = entries.iter().map(|entry| entry.event).filter(|event| *event != Event::Allowed).collect();
        assert_eq!(seen, events, "{status:?} {running}");
        assert_eq!(house.engine.killed().len(), usize::from(events == [Event::Killed]));
    }
    // Another call has started the judged one meanwhile, so that it begins and this call starts another.
    let house = house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    assert_eq!(house.gate.request(Ok((started_call(None), start("web")))).await, Answer::Allow);
    let id = "a".repeat(64);
    assert_eq!(house.gate.request(Ok((started_call(None), start(&id)))).await, Answer::Allow);
    let begun =
        Container { running: true, started_at: Some(crate::clock::now()), ..container('a', "web", Some(digest("good config"))) };
    house.engine.put_container(begun);
    house.engine.put_container(evil(true));
    house.gate.response(&started_call(Some(204))).await;
    assert_eq!(house.engine.killed().len(), 1);
    // The judged one began, as its restart policy or an earlier start would have it; so did another.
    let house = self::house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    assert_eq!(house.gate.request(Ok((started_call(None), start("web")))).await, Answer::Allow);
    let begun =
        Container { running: true, started_at: Some(crate::clock::now()), ..container('a', "web", Some(digest("good config"))) };
    house.engine.put_container(begun);
    house.engine.put_container(evil(true));
    house.gate.response(&started_call(Some(204))).await;
    assert_eq!(house.engine.killed(), [evil(true).id]);
}

#[test]
fn the_lists_words_say_what_may_have_begun() {
    let age = jiff::SignedDuration::from_secs(5);
    for (state, status, may) in [
        ("running", "Up Less than a second", true),
        ("running", "Up 3 seconds", true),
        ("running", "Up 3 seconds (health: starting)", true),
        ("paused", "Up 2 seconds (Paused)", true),
        ("running", "Up 40 seconds", false),
        ("running", "Up 3 minutes", false),
        ("running", "Up About an hour", false),
        ("running", "Up 5 weeks", false),
        ("running", "?", true),
        ("exited", "Exited (0) 1 second ago", true),
        ("exited", "Exited (0) 3 weeks ago", false),
        ("restarting", "Restarting (1) 2 seconds ago", true),
        ("created", "Created", false),
    ] {
        let listed = crate::engine::ContainerSummary {
            id: "a".repeat(64).parse().unwrap(),
            names: Vec::new(),
            image: None,
            image_ref: String::new(),
            state: state.to_owned(),
            status: status.to_owned(),
            created: None,
            claim: None,
        };
        assert_eq!(crate::gate::response::may_have_begun(&listed, age), may, "{status}");
    }
}

/// A client makes the row of what it started so large that its id alone is listed (`docker create --link`, labels).
#[tokio::test(start_paused = true)]
async fn what_a_client_made_too_large_to_list_is_judged_by_its_id() {
    let house = house();
    let began = |id, image| Container {
        running: true,
        started_at: Some(crate::clock::now()),
        ..container(id, "elsewhere", Some(digest(image)))
    };
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    assert_eq!(house.gate.request(Ok((started_call(None), start("web")))).await, Answer::Allow);
    let [evil, good, silent] = [began('e', "evil config"), began('f', "good config"), began('d', "good config")];
    for overgrown in [&evil, &good, &silent] {
        house.engine.put_container(overgrown.clone());
        house.engine.overgrow(&overgrown.id);
    }
    // Nobody knows what this one was made of: it is told, and an approved container is not killed for what others do to its row.
    house.engine.enlarge(&silent.id);
    house.gate.response(&started_call(Some(204))).await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(house.engine.killed(), [evil.id]);
    let told = |text: &str| house.journal.0.lock().unwrap().iter().filter(|entry| entry.message.contains(text)).count();
    assert_eq!((told("could not be looked at"), told(&silent.id.to_string())), (1, 1));
}

/// Clients decide how many starts end that cannot be looked at; what is noted of it must not push out what else is.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_looked_at_is_told_once_a_minute() {
    let house = house();
    let told = || {
        let entries = house.journal.0.lock().unwrap();
        entries
            .iter()
            .filter(|entry| entry.message.contains("could not be looked at"))
            .map(|entry| entry.message.clone())
            .collect::<Vec<_>>()
    };
    house.engine.fail_with(Some(EngineError::Unreachable { socket: "s".to_owned(), cause: "gone".to_owned() }));
    for _ in 0..1000 {
        house.gate.response(&started_call(Some(204))).await;
    }
    assert_eq!(told().len(), 1);
    tokio::time::advance(Duration::from_mins(1)).await;
    house.gate.response(&started_call(Some(204))).await;
    assert_eq!(told().len(), 2);
    assert!(told()[1].ends_with("(999 more since this was told last)"), "{told:?}", told = told());
}

/// A client that takes every place does not switch off what finds and kills what was started in another's place.
#[tokio::test]
async fn what_began_unjudged_is_killed_whatever_clients_have_taken() {
    let house = house();
    let mut unsigned = image("evil", &["r.example/team/evil:1"], &["r.example/team/evil"]);
    unsigned.id = digest("evil config");
    house.engine.put_image(unsigned);
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    assert_eq!(house.gate.request(Ok((started_call(None), start("web")))).await, Answer::Allow);
    let other = Container {
        running: true,
        started_at: Some(crate::clock::now()),
        ..container('e', "elsewhere", Some(digest("evil config")))
    };
    house.engine.put_container(other);
    let questions: Vec<_> = std::iter::from_fn(|| house.gate.asking.enter(false)).collect();
    let decisions: Vec<_> = (0..100).filter_map(|number| house.gate.places.enter(&number.to_string())).collect();
    let looks = house.gate.looking.acquire_many(u32::try_from(crate::gate::response::MAX_LOOKS).unwrap()).await.unwrap();
    let begun = std::time::Instant::now();
    house.gate.response(&started_call(Some(204))).await;
    assert!(begun.elapsed() < Duration::from_millis(100), "its call waits for no other look");
    assert!(house.engine.killed().is_empty());
    drop(looks);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if !house.engine.killed().is_empty() {
            break;
        }
    }
    assert_eq!(house.engine.killed().len(), 1);
    drop((questions, decisions));
}

/// A client holds the lock of what it started in another's place, for longer than anybody waits, and starts more meanwhile.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_killed_yet_is_killed_in_the_end_and_holds_up_no_other_look() {
    let house = house();
    let began = |id| Container {
        running: true,
        started_at: Some(crate::clock::now()),
        ..container(id, &format!("elsewhere-{id}"), Some(digest("evil config")))
    };
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    let held = began('e');
    for _ in 0..crate::gate::response::MAX_LOOKS + 8 {
        assert_eq!(house.gate.request(Ok((started_call(None), start("web")))).await, Answer::Allow);
        house.engine.lock_container(&held.id, true);
        house.engine.put_container(began('e'));
        house.gate.response(&started_call(Some(204))).await;
        house.gate.leases.open("web");
    }
    assert!(house.engine.killed().is_empty());
    assert_eq!(house.gate.request(Ok((started_call(None), start("web")))).await, Answer::Allow);
    let free = began('f');
    house.engine.put_container(free.clone());
    house.gate.response(&started_call(Some(500))).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(house.engine.killed(), [free.id]);
    tokio::time::sleep(Duration::from_hours(3)).await;
    house.engine.lock_container(&held.id, false);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(house.engine.killed().contains(&held.id));
    let told = house.journal.0.lock().unwrap().iter().filter(|entry| entry.event == Event::Killed).count();
    assert_eq!(told, 2, "each is told once");
}
