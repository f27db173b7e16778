//! The monitor over an engine, a verifier and a journal in memory: what it calls, records and writes.

use std::time::Duration;

use super::*;
use crate::audit::MemoryJournal;
use crate::engine::{Container, Fake, Image, Store, Task, TaskClaim};
use crate::gate::{Approvals, Identity, Rules};
use crate::image::{ImageConfig, RunsAs};
use crate::policy::{Policy, Posture};
use crate::trust::{Binding, Fake as Notary, TrustCode, TrustError, VerifierName};

struct House {
    engine: Arc<Fake>,
    journal: Arc<MemoryJournal>,
    gate: Arc<Gate>,
    told: watch::Sender<Believed>,
    places: Places,
    _folder: tempfile::TempDir,
}

/// What can be changed while an act goes on.
struct Held {
    engine: Arc<Fake>,
    gate: Arc<Gate>,
    told: watch::Sender<Believed>,
}

const EVIL: char = 'e';
const GOOD: char = 'a';

fn id(letter: char) -> ContainerId {
    letter.to_string().repeat(64).parse().unwrap()
}

fn image(name: &str) -> Image {
    Image {
        id: Digest::of(format!("{name} config").as_bytes()),
        store: Some(Store::Classic),
        repo_tags: vec![format!("r.example/{name}:1").parse().unwrap()],
        repo_digests: vec![(format!("r.example/{name}").parse().unwrap(), Digest::of(name.as_bytes()))],
        config: ImageConfig::default(),
    }
}

fn runs(letter: char, image: &Image) -> Container {
    Container {
        id: id(letter),
        name: format!("c-{letter}"),
        image: Some(image.id),
        manifest: None,
        platform: None,
        image_ref: image.repo_tags.first().map(ToString::to_string).unwrap_or_default(),
        runs_as: RunsAs::default(),
        mounts: Vec::new(),
        running: true,
        started_at: None,
    }
}

fn signed() -> Notary {
    Notary::default().with("r.example/good:1", Digest::of(b"good"))
}

fn both_signed() -> Notary {
    signed().with("r.example/evil:1", Digest::of(b"evil"))
}

fn rules(rule: MonitorRule, notary: Notary) -> Rules {
    let policy = Policy {
        monitor: rule,
        monitor_pause: Duration::ZERO,
        ..Policy::of(Posture::Images, "r.example", &VerifierName::NOTARY, Binding::TagToDigest)
    };
    Rules::Good { policy, verifiers: vec![Arc::new(notary)], registry: None }
}

/// A host on which an approved container runs, and one that is not.
fn house(rule: MonitorRule, notary: Notary) -> House {
    let engine = Arc::new(Fake::new());
    for (letter, name) in [(GOOD, "good"), (EVIL, "evil")] {
        engine.put_image(image(name));
        engine.put_container(runs(letter, &image(name)));
    }
    let rules = rules(rule, notary);
    let journal = Arc::new(MemoryJournal::default());
    let workers = tokio::runtime::Handle::current();
    let gate = Gate::new(rules, engine.clone(), journal.clone(), Approvals::in_memory(), Identity::default(), workers);
    let folder = tempfile::tempdir().unwrap();
    let places = Places { picture: folder.path().join("monitor.json"), approved: folder.path().join("approved.json") };
    let (told, _) = watch::channel(Believed { fingerprint: Digest::of(b"policy"), is_sound: true });
    House { engine, journal, gate: Arc::new(gate), told, places, _folder: folder }
}

impl House {
    fn monitor(&self) -> Monitor {
        let heard = self.told.subscribe();
        Monitor::new(Arc::clone(&self.gate), self.engine.clone(), self.places.clone(), heard, None)
    }

    /// What was changed on the host so far.
    fn effects(&self) -> Vec<String> {
        let is_effect = |call: &String| ["stop", "remove", "kill"].iter().any(|verb| call.starts_with(verb));
        self.engine.calls().into_iter().filter(is_effect).collect()
    }

    /// Events and codes on record, but those of the gate itself.
    fn recorded(&self) -> Vec<(Event, &'static str)> {
        let entries = self.journal.0.lock().unwrap().clone();
        entries.iter().filter(|entry| entry.event != Event::Gate).map(|entry| (entry.event, entry.code)).collect()
    }

    fn picture(&self) -> Picture {
        Picture::read(&self.places.picture).unwrap()
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..200 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{what}: {:?} {:?}", self.recorded(), self.effects());
    }
}

#[tokio::test]
async fn what_runs_unapproved_is_found_stopped_and_recorded_and_what_is_approved_runs_on() {
    for (rule, effects, events) in [
        (MonitorRule::Report, vec![], vec![(Event::Unapproved, "not-signed")]),
        (MonitorRule::Stop, vec!["stop"], vec![(Event::Unapproved, "not-signed"), (Event::Stopped, "not-signed")]),
        (MonitorRule::Remove, vec!["stop", "remove"], vec![(Event::Unapproved, "not-signed"), (Event::Removed, "not-signed")]),
    ] {
        let house = house(rule, signed());
        let outcome = house.monitor().once().await.unwrap();
        let acted = usize::from(!effects.is_empty());
        assert_eq!(outcome, Outcome { unapproved: 1, unsure: 0, acted }, "{rule:?}");
        let expected: Vec<String> = effects.iter().map(|verb| format!("{verb} {}", id(EVIL))).collect();
        assert_eq!(house.effects(), expected);
        assert_eq!(house.recorded(), events);
        let entry = house.journal.0.lock().unwrap().pop().unwrap();
        assert_eq!((entry.container_id, entry.container_name.as_str()), (id(EVIL).to_string(), "c-e"));
        assert!(house.gate.metrics().contains(&format!("img_authz_monitor_unapproved {}\n", 1 - acted)));
    }
}

#[tokio::test]
async fn what_cannot_be_told_is_not_touched() {
    let failure = Some(TrustError::new(TrustCode::Unreachable, "no route"));
    let house = house(MonitorRule::Remove, Notary { failure, ..signed() });
    let outcome = house.monitor().once().await.unwrap();
    assert_eq!(outcome, Outcome { unapproved: 0, unsure: 2, acted: 0 });
    assert_eq!(house.effects(), Vec::<String>::new());
    assert_eq!(house.picture().unsure.len(), 2);
    // Nor with settings that are faulty, or a gate that only records.
    let house = self::house(MonitorRule::Remove, signed());
    house.told.send_modify(|believed| believed.is_sound = false);
    assert_eq!(house.monitor().once().await.unwrap(), Outcome { unapproved: 1, unsure: 0, acted: 0 });
    assert_eq!(house.effects(), Vec::<String>::new());
    assert_eq!(house.recorded(), [(Event::Unapproved, "not-signed"), (Event::Held, "")]);
}

/// Thirty that do not stop when they are told to: for those that are not begun yet counts what the operator changes meanwhile.
#[tokio::test]
async fn few_are_acted_on_at_a_time_and_the_others_by_what_is_in_force_then() {
    let house = house(MonitorRule::Stop, signed());
    let crowd: Vec<ContainerId> = (0..30).map(|number| format!("{number:064}").parse().unwrap()).collect();
    for id in &crowd {
        house.engine.put_container(Container { id: id.clone(), name: id.to_string(), ..runs(EVIL, &image("evil")) });
    }
    house.engine.slow_stops();
    let mut monitor = house.monitor();
    monitor.round().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let awaited = monitor.brain.awaited(clock::now());
    assert_eq!(awaited.len(), 31);
    assert_eq!(monitor.brain.approve(awaited, clock::now()), 31);
    assert_eq!((monitor.act().await, monitor.act().await), (ACTS, 0));
    tokio::time::pause();
    for _ in 0..ACTS {
        let done = monitor.acts.join_next_with_id().await.unwrap();
        monitor.done(done);
    }
    assert_eq!(house.effects().len(), ACTS);
    assert!(house.gate.replace(rules(MonitorRule::Report, signed())));
    assert_eq!((monitor.act().await, house.effects().len()), (0, ACTS));
}

#[tokio::test]
async fn too_many_wait_for_the_operator_who_approves_these() {
    let house = house(MonitorRule::Stop, signed());
    house.engine.put_container(runs('f', &image("evil")));
    let first = house.monitor().once().await.unwrap();
    assert_eq!((first.unapproved, first.acted), (2, 0));
    let picture = house.picture();
    assert_eq!((picture.awaited.len(), picture.limit), (2, 1));
    assert!(house.recorded().contains(&(Event::Held, "")));
    let say = |containers| {
        let approved = Approved { at: clock::now(), rule: MonitorRule::Stop, containers };
        approved.write(&house.places.approved).unwrap();
    };
    say([id(EVIL), id(GOOD)].into());
    assert_eq!(house.monitor().once().await.unwrap().acted, 0, "another set");
    say(picture.awaited);
    assert_eq!(house.monitor().once().await.unwrap().acted, 2);
    assert_eq!(house.effects().len(), 2);
    assert!(!house.places.approved.exists(), "it counts once");
}

#[tokio::test]
async fn a_list_that_fails_again_and_again_is_told_loudly_and_once() {
    let house = house(MonitorRule::Stop, signed());
    let mut monitor = house.monitor();
    monitor.round().await.unwrap();
    monitor.tell();
    let listed = house.picture().listed.unwrap();
    let error = EngineError::TooLarge { what: "the list".to_owned(), limit: 1 };
    house.engine.fail_with(Some(error));
    let before = house.recorded().len();
    for _ in 1..UNLISTED {
        monitor.round().await.unwrap_err();
    }
    assert_eq!(house.recorded().len(), before, "an engine that restarts fails a few");
    for _ in 0..5 {
        monitor.round().await.unwrap_err();
    }
    assert_eq!(house.recorded()[before..], [(Event::Held, "")]);
    let entry = house.journal.0.lock().unwrap().last().unwrap().clone();
    assert!(entry.message.contains("what runs is not known") && entry.message.contains("larger than 1 bytes"), "{entry:?}");
    monitor.picture = None;
    monitor.tell();
    assert_eq!(house.picture().listed, Some(listed), "status says since when");
    assert!(house.gate.metrics().contains(&format!("img_authz_monitor_last_list_timestamp_seconds {}\n", listed.as_second())));
    house.engine.fail_with(None);
    monitor.round().await.unwrap();
    assert_eq!(monitor.unlisted, 0);
}

#[tokio::test]
async fn rows_that_cannot_be_read_cost_no_other_and_are_told_once() {
    let house = house(MonitorRule::Report, signed());
    house.engine.leave_unread(2);
    let mut monitor = house.monitor();
    for _ in 0..2 {
        monitor.round().await.unwrap();
    }
    monitor.tell();
    assert_eq!((house.picture().unread, house.picture().unapproved), (2, 1));
    assert_eq!(house.recorded(), [(Event::Held, ""), (Event::Unapproved, "not-signed")]);
    assert!(house.gate.metrics().contains("img_authz_monitor_unread 2\n"));
}

/// Anybody who may create containers can make another one's row as large as he likes (`--link VICTIM:ALIAS`).
#[tokio::test]
async fn one_of_which_the_list_says_no_more_than_its_id_is_judged_and_acted_on_like_any_other() {
    let house = house(MonitorRule::Remove, signed());
    house.engine.overgrow(&id(EVIL));
    let outcome = house.monitor().once().await.unwrap();
    assert_eq!((outcome.unapproved, outcome.acted), (1, 1));
    assert!(house.recorded().contains(&(Event::Unapproved, "not-signed")));
}

#[tokio::test]
async fn what_was_stopped_is_removed_only_where_it_is_refused_again_by_what_is_still_in_force() {
    type Meanwhile = fn(&Held);
    let cases: [(Meanwhile, bool); 4] = [
        (|_| {}, true),
        // It is approved when it is looked at again.
        (|house| house.engine.put_container(Container { running: false, ..runs(EVIL, &image("good")) }), false),
        (|house| assert!(house.gate.replace(rules(MonitorRule::Stop, signed()))), false),
        (|house| house.told.send_modify(|believed| believed.fingerprint = Digest::of(b"other")), false),
    ];
    for (number, (meanwhile, is_removed)) in cases.into_iter().enumerate() {
        let house = house(MonitorRule::Remove, signed());
        let there = Held { engine: Arc::clone(&house.engine), gate: Arc::clone(&house.gate), told: house.told.clone() };
        let engine = Arc::clone(&house.engine);
        // Whatever is called next after the stop finds it so.
        house.engine.asks(Some(Arc::new(move || {
            if engine.calls().last().is_some_and(|call| call.starts_with("stop")) {
                meanwhile(&there);
            }
        })));
        assert_eq!(house.monitor().once().await.unwrap().acted, 1);
        house.engine.asks(None);
        let expected: &[&str] = if is_removed { &["stop", "remove"] } else { &["stop"] };
        let expected: Vec<String> = expected.iter().map(|verb| format!("{verb} {}", id(EVIL))).collect();
        assert_eq!(house.effects(), expected, "{number}");
        let event = if is_removed { Event::Removed } else { Event::Stopped };
        assert_eq!(house.recorded().last(), Some(&(event, "not-signed")), "{number}");
        let entry = house.journal.0.lock().unwrap().last().unwrap().clone();
        assert_eq!(entry.message.contains("left there"), !is_removed, "{}", entry.message);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_forwards_is_noticed_and_one_that_goes_is_not() {
    let house = house(MonitorRule::Stop, signed());
    let mut monitor = house.monitor();
    let (began, at) = (Instant::now(), clock::now());
    monitor.clock = (began, at);
    let look = |monitor: &mut Monitor, passed, by_clock| {
        let before = monitor.brain.memory().changed;
        monitor.look_at_clock(began + Duration::from_secs(passed), at + SignedDuration::from_secs(by_clock));
        monitor.brain.memory().changed != before
    };
    assert!(!look(&mut monitor, 3600, 3600));
    assert!(!look(&mut monitor, 3601, 3610));
    assert!(look(&mut monitor, 3602, 3613), "small steps add up");
    assert!(!look(&mut monitor, 3603, 3614), "that was it");
    assert!(!look(&mut monitor, 3604, 0), "set back, which the machine itself sees");
    assert!(look(&mut monitor, 3605, 100));
}

/// A client holds the lock of a container, and lets it go.
#[tokio::test(start_paused = true)]
async fn a_kind_of_hold_that_comes_and_goes_is_told_every_ten_minutes_at_most() {
    let house = house(MonitorRule::Stop, signed());
    let mut monitor = house.monitor();
    let found = Found {
        seen: Seen {
            id: id(EVIL),
            name: "e".into(),
            image_ref: String::new(),
            image: None,
            task: crate::monitor::TaskOf::Nobody,
        },
        why: Why { code: "deadline", message: String::new(), is_lasting: false, hangs_on_clock: false },
        since: clock::now(),
        not_before: clock::now(),
        hold: Some(Hold::Unjudged { since: clock::now(), code: "deadline".into() }),
    };
    for _ in 0..100 {
        monitor.report_held(std::iter::once(&found));
        monitor.report_held(std::iter::empty());
    }
    assert_eq!(house.recorded().len(), 1);
    tokio::time::advance(RETELL).await;
    monitor.report_held(std::iter::once(&found));
    assert_eq!(house.recorded().len(), 2, "it is told again, where it is still so");
}

#[tokio::test]
async fn a_tag_that_is_signed_again_stops_nothing_and_one_that_is_signed_no_more_does() {
    let newer = || Notary::default().with("r.example/good:1", Digest::of(b"newer"));
    let revoked = || Notary::default().with("r.example/good:2", Digest::of(b"newer"));
    let (tag, digest) = ("r.example/good:1", Digest::of(b"good"));
    let (pinned, by_digest) = (format!("{tag}@{digest}"), format!("r.example/good@{digest}"));
    for (approves_first, asked_for, notary, hold) in [
        (true, tag, newer(), Some(Hold::Superseded)),
        // It was never approved, or is signed for nothing.
        (false, tag, newer(), None),
        (true, tag, revoked(), None),
        (true, tag, Notary::default(), None),
        // The tag beside a digest says nothing of what runs.
        (true, pinned.as_str(), newer(), None),
        (true, by_digest.as_str(), newer(), None),
    ] {
        let house = house(MonitorRule::Report, both_signed());
        house.engine.put_container(Container { running: false, ..runs(EVIL, &image("evil")) });
        house.engine.put_container(Container { image_ref: asked_for.to_owned(), ..runs(GOOD, &image("good")) });
        if approves_first {
            assert_eq!(house.monitor().once().await.unwrap().unapproved, 0);
        }
        assert!(house.gate.replace(rules(MonitorRule::Stop, notary)));
        let outcome = house.monitor().once().await.unwrap();
        assert_eq!((outcome.unapproved, outcome.acted), (1, usize::from(hold.is_none())), "{hold:?}");
        if hold.is_some() {
            assert_eq!(house.picture().findings[0].hold, hold);
            assert_eq!(house.recorded(), [(Event::Unapproved, "not-signed"), (Event::Held, "")]);
        }
    }
}

#[tokio::test]
async fn one_that_is_too_large_to_be_judged_is_told_at_once_and_not_touched() {
    let house = house(MonitorRule::Remove, signed());
    house.engine.enlarge(&id(EVIL));
    let outcome = house.monitor().once().await.unwrap();
    assert_eq!((outcome.unsure, outcome.acted, house.effects()), (1, 0, Vec::new()));
    assert_eq!(house.recorded(), [(Event::Held, "")]);
    let picture = house.picture();
    assert_eq!(picture.unsure[0].code, "container-too-large");
    assert!(matches!(picture.unsure[0].hold, Some(Hold::Unjudged { .. })));
    assert!(house.gate.metrics().contains("img_authz_monitor_unjudged 1\n"));
}

#[tokio::test]
async fn one_whose_image_says_too_much_is_told_at_once_and_not_touched() {
    let house = house(MonitorRule::Remove, signed());
    house.engine.label(image("evil").id);
    let outcome = house.monitor().once().await.unwrap();
    assert_eq!((outcome.unsure, outcome.unapproved, outcome.acted, house.effects()), (1, 0, 0, Vec::new()));
    assert_eq!(house.recorded(), [(Event::Held, "")]);
    let unsure = &house.picture().unsure[0];
    assert_eq!((unsure.container.clone(), unsure.code.as_str()), (id(EVIL), "image-too-large"));
    assert!(unsure.message.contains("more than 4096 labels; build the image with less of that"), "{}", unsure.message);
    assert!(matches!(unsure.hold, Some(Hold::Unjudged { .. })));
}

#[tokio::test]
async fn a_claim_to_be_a_task_is_believed_only_as_far_as_a_manager_knows_it() {
    let claim = || TaskClaim { service: "web".into(), task: "0123456789abcdefghijklmno".into() };
    let is_it = Some(Task { container: Some(id(EVIL)) });
    let is_other = Some(Task { container: Some(id(GOOD)) });
    let waits = Some(Task { container: None });
    for (is_swarm, known, acted) in
        [(false, is_it.clone(), 1), (true, is_it, 0), (true, is_other, 1), (true, waits, 1), (true, None, 1)]
    {
        let house = house(MonitorRule::Stop, signed());
        if is_swarm {
            house.engine.join_swarm();
        }
        house.engine.claims_task(&id(EVIL), claim(), known.clone());
        assert_eq!(house.monitor().once().await.unwrap().acted, acted, "{is_swarm} {known:?}");
    }
}

/// A client starts sixty approved containers with the same labels after the one that is to be spared.
#[tokio::test]
async fn labels_of_a_crowd_shield_nothing() {
    let claim = || TaskClaim { service: "web".into(), task: "0123456789abcdefghijklmno".into() };
    for is_swarm in [false, true] {
        let house = house(MonitorRule::Stop, signed());
        if is_swarm {
            house.engine.join_swarm();
        }
        for number in 0..60 {
            let id: ContainerId = format!("{number:064x}").parse().unwrap();
            house.engine.put_container(Container {
                id: id.clone(),
                name: format!("crowd-{number}"),
                ..runs(GOOD, &image("good"))
            });
            house.engine.claims_task(&id, claim(), None);
        }
        house.engine.claims_task(&id(EVIL), claim(), None);
        assert_eq!(house.monitor().once().await.unwrap().acted, 1);
        assert_eq!(house.effects(), [format!("stop {}", id(EVIL))]);
        let asked = house.engine.calls().iter().filter(|call| call.starts_with("task ") || *call == "info").count();
        assert!(asked <= 4, "nobody is asked about what is approved: {asked}");
    }
}

#[tokio::test]
async fn a_running_monitor_finds_what_begins_and_survives_the_end_of_the_events() {
    let house = house(MonitorRule::Stop, signed());
    let running = tokio::spawn(house.monitor().run());
    house.until("the first", |house| house.effects().len() == 1).await;
    house.until("its record", |house| house.recorded().contains(&(Event::Stopped, "not-signed"))).await;
    // It starts again, as a restart policy does: found at once, and left for now.
    house.engine.put_container(runs(EVIL, &image("evil")));
    let began = Instant::now();
    house.engine.nudge();
    let found = |house: &House| house.recorded().iter().filter(|(event, _)| *event == Event::Unapproved).count();
    house.until("the second", |house| found(house) == 2).await;
    assert!(began.elapsed() < Duration::from_secs(2));
    house.engine.end_nudges();
    house.engine.put_container(runs('f', &image("evil")));
    house.until("what began in the gap", |house| found(house) == 3).await;
    assert!(!house.effects().iter().any(|call| call.contains(&id(GOOD).to_string())));
    running.abort();
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_asked_again_and_an_act_that_fails_is_told() {
    let house = house(MonitorRule::Stop, signed());
    house.engine.lock_container(&id(EVIL), true);
    let outcome = house.monitor().once().await.unwrap();
    assert_eq!(outcome.acted, 1);
    assert_eq!(house.recorded(), [(Event::Unapproved, "not-signed"), (Event::Held, "not-signed")]);
    let gone = EngineError::Timeout { call: "GET /containers/json".to_owned() };
    house.engine.fail_with(Some(gone));
    assert!(house.monitor().once().await.is_err());
    let running = tokio::spawn(house.monitor().run());
    tokio::time::sleep(Duration::from_millis(600)).await;
    let before = house.recorded().len();
    house.engine.fail_with(None);
    house.until("found again", |house| house.recorded().len() > before).await;
    running.abort();
}
