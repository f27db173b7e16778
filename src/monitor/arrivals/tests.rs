//! Images that come to an engine in memory: what is judged, recorded and written of them, and how much of it where there are very many.

use super::*;
use crate::audit::{Entry, Event, MemoryJournal};
use crate::engine::{Fake, Image, Store};
use crate::gate::{Approvals, Identity, Rules};
use crate::policy::{Policy, Posture};
use crate::trust::{Binding, VerifierName};

struct House {
    engine: Arc<Fake>,
    journal: Arc<MemoryJournal>,
    gate: Arc<Gate>,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn image(name: &str, config: ImageConfig) -> Image {
    Image {
        id: Digest::of(name.as_bytes()),
        store: Some(Store::Classic),
        repo_tags: vec![format!("r.example/{name}:1").parse().unwrap()],
        repo_digests: Vec::new(),
        config,
    }
}

/// One that keeps every rule of an audit.
fn good() -> ImageConfig {
    ImageConfig {
        created: Some(clock::now()),
        user: "app".into(),
        healthcheck: vec!["CMD".into(), "x".into()],
        history: Some(vec!["COPY a /a # buildkit".into()]),
        ..ImageConfig::default()
    }
}

fn bad() -> ImageConfig {
    ImageConfig { env: vec!["DB_PASSWORD=hunter2".into()], user: String::new(), ..good() }
}

fn house(rule: MonitorRule) -> House {
    let engine = Arc::new(Fake::new());
    let policy =
        Policy { monitor: rule, ..Policy::of(Posture::Images, "r.example", &VerifierName::NOTARY, Binding::TagToDigest) };
    let rules = Rules::Good { policy, verifiers: Vec::new(), registry: None };
    let journal = Arc::new(MemoryJournal::default());
    let workers = tokio::runtime::Handle::current();
    let gate = Gate::new(rules, engine.clone(), journal.clone(), Approvals::in_memory(), Identity::default(), workers);
    let folder = tempfile::tempdir().unwrap();
    House { engine, journal, gate: Arc::new(gate), path: folder.path().join("arrived.json"), _folder: folder }
}

impl House {
    fn arrivals(&self) -> Arrivals {
        Arrivals::new(Arc::downgrade(&self.gate), self.engine.clone(), self.path.clone())
    }

    /// Lists, and audits all that wait.
    async fn all(&self, arrivals: &mut Arrivals) {
        arrivals.list(&self.gate).await;
        while arrivals.queue.len() > 0 {
            arrivals.audit_one(&self.gate).await;
        }
        self.tell(arrivals);
    }

    fn tell(&self, arrivals: &mut Arrivals) {
        arrivals.written = None;
        arrivals.tell(&self.gate);
    }

    fn arrived(&self) -> Arrived {
        Arrived::read(&self.path, clock::now()).unwrap()
    }

    fn entries(&self) -> Vec<Entry> {
        self.entries_of(Event::Audited)
    }

    fn entries_of(&self, event: Event) -> Vec<Entry> {
        let entries = self.journal.0.lock().unwrap().clone();
        entries.into_iter().filter(|entry| entry.event == event).collect()
    }

    /// Goes on for so long, as it does by itself.
    async fn go_on(&self, arrivals: &mut Arrivals, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            arrivals.step(&self.gate).await;
            tokio::time::sleep(TICK).await;
        }
    }
}

#[tokio::test]
async fn what_arrives_is_audited_once_recorded_and_told_and_what_was_there_before_is_not() {
    let house = house(MonitorRule::Report);
    house.engine.put_image(image("before", bad()));
    let mut arrivals = house.arrivals();
    house.all(&mut arrivals).await;
    assert!(house.entries().is_empty(), "it did not arrive");
    house.engine.put_image(image("bad", bad()));
    house.engine.put_image(image("good", good()));
    house.all(&mut arrivals).await;
    house.all(&mut arrivals).await;
    let entries = house.entries();
    assert_eq!(entries.len(), 2, "once each");
    assert_eq!((entries[0].image.as_str(), &entries[0].rules), ("r.example/bad:1", &vec!["secrets", "user-root"]));
    assert!(entries[0].message.starts_with("arrived; weaknesses: 2, the worst critical"), "{}", entries[0].message);
    assert!(entries[1].rules.is_empty() && entries[1].message.contains("no weakness"), "{}", entries[1].message);
    let arrived = house.arrived();
    assert_eq!(arrived.images.iter().map(Audited::told).collect::<Vec<_>>(), ["none found", "secrets, user-root"]);
    assert!(arrived.images[1].is_bad() && !arrived.images[0].is_bad());
    let file = std::fs::read_to_string(&house.path).unwrap();
    assert!(!format!("{file}{entries:?}").contains("hunter2"), "a secret is never shown");
}

#[tokio::test]
async fn a_restart_forgets_nothing_audits_nothing_twice_and_takes_up_what_came_meanwhile_or_waited() {
    let house = house(MonitorRule::Report);
    let mut first = house.arrivals();
    house.all(&mut first).await;
    house.engine.put_image(image("audited", bad()));
    house.all(&mut first).await;
    house.engine.put_image(image("waits", bad()));
    first.list(&house.gate).await;
    house.tell(&mut first);
    drop(first);
    house.engine.put_image(image("meanwhile", bad()));
    let mut second = house.arrivals();
    house.all(&mut second).await;
    let mut told: Vec<String> = house.entries().into_iter().map(|entry| entry.image).collect();
    told.sort();
    assert_eq!(told, ["r.example/audited:1", "r.example/meanwhile:1", "r.example/waits:1"]);
    // Gone, and there again.
    house.engine.remove_images();
    house.all(&mut second).await;
    house.engine.put_image(image("audited", bad()));
    house.all(&mut second).await;
    assert_eq!(house.entries().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_counted_in_the_log_and_of_it_only_the_newest_are_told() {
    let house = house(MonitorRule::Report);
    let mut arrivals = house.arrivals();
    house.all(&mut arrivals).await;
    for number in 0..150 {
        house.engine.put_image(image(&format!("i{number}"), bad()));
    }
    house.all(&mut arrivals).await;
    assert_eq!(house.entries().len(), 20);
    house.go_on(&mut arrivals, Duration::from_mins(4)).await;
    let entries = house.entries();
    let last = entries.last().unwrap();
    assert_eq!((entries.len(), last.count, &last.rules), (21, 130, &vec!["secrets", "user-root"]));
    assert!(
        last.message.starts_with("130 more images arrived and were audited, the worst weakness is critical"),
        "{}",
        last.message
    );
    assert_eq!(house.arrived().images.len(), TOLD);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_read_is_told_and_an_engine_that_is_away_is_asked_again() {
    let house = house(MonitorRule::Report);
    let mut arrivals = house.arrivals();
    house.all(&mut arrivals).await;
    house.engine.put_image(image("large", bad()));
    arrivals.list(&house.gate).await;
    house.engine.fail_with(Some(EngineError::Unreachable { socket: "x".into(), cause: "gone".into() }));
    arrivals.audit_one(&house.gate).await;
    assert!(arrivals.queue.len() == 1 && arrivals.next > Instant::now());
    arrivals.list(&house.gate).await;
    house.tell(&mut arrivals);
    assert!(house.arrived().fault.unwrap().contains("gone"));
    house.engine.fail_with(None);
    house.engine.label(Digest::of(b"large"));
    house.go_on(&mut arrivals, AGAIN * 2).await;
    house.tell(&mut arrivals);
    let entries = house.entries();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].message, "arrived, and not looked at: the image has more than 4096 labels");
    let arrived = house.arrived();
    assert_eq!((arrived.fault, arrived.images[0].told().as_str()), (None, "not looked at: the image has more than 4096 labels"));
}

#[tokio::test]
async fn an_event_is_enough_and_where_nobody_is_to_look_nothing_is_asked() {
    let house = house(MonitorRule::Report);
    let running = tokio::spawn(house.arrivals().run());
    let seen = async |count: usize| {
        for _ in 0..200 {
            if house.entries().len() == count && house.engine.calls().iter().any(|call| call == "present") {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        false
    };
    assert!(seen(0).await);
    house.engine.put_image(image("new", bad()));
    house.engine.nudge();
    assert!(seen(1).await, "{:?}", house.engine.calls());
    running.abort();
    let off = self::house(MonitorRule::Off);
    let running = tokio::spawn(off.arrivals().run());
    tokio::time::sleep(TICK * 4).await;
    assert!(off.engine.calls().is_empty());
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn what_came_while_no_events_came_is_listed_as_soon_as_they_come_again() {
    let house = house(MonitorRule::Report);
    let running = tokio::spawn(house.arrivals().run());
    tokio::time::sleep(DEBOUNCE * 20).await;
    house.engine.end_nudges();
    tokio::time::sleep(DEBOUNCE * 2).await;
    // The list that follows the end is over.
    house.engine.put_image(image("between", bad()));
    tokio::time::sleep(AGAIN * 2).await;
    assert_eq!(house.entries().len(), 1, "{:?}", house.engine.calls());
    // Where each stream ends at once, not each has its list for ever.
    for _ in 0..600 {
        house.engine.end_nudges();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let lists = house.engine.calls().iter().filter(|call| *call == "present").count();
    assert!(lists < 35, "{lists} lists in ten minutes");
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_is_asked_for_seldom_and_is_loud_once() {
    let house = house(MonitorRule::Report);
    let mut arrivals = house.arrivals();
    house.all(&mut arrivals).await;
    house.engine.slow_list(true);
    let before = house.engine.calls().len();
    house.go_on(&mut arrivals, Duration::from_mins(30)).await;
    let lists = house.engine.calls().len() - before;
    assert!((12..=17).contains(&lists), "{lists}: ten seconds each, and a rest of a hundred");
    let held = house.entries_of(Event::Held);
    assert_eq!(held.len(), 1, "{held:?}");
    assert!(held[0].message.starts_with("what arrives is not seen"), "{}", held[0].message);
    assert!(house.arrived().fault.is_some());
    house.engine.slow_list(false);
    house.engine.put_image(image("late", bad()));
    house.go_on(&mut arrivals, Duration::from_mins(3)).await;
    assert_eq!((house.entries().len(), house.arrived().fault), (1, None));
    assert!(house.gate.metrics().contains("img_authz_arrivals_waiting 0\n"));
}

#[tokio::test(start_paused = true)]
async fn rows_that_cannot_be_read_cost_no_other_and_are_told() {
    let house = house(MonitorRule::Report);
    let mut arrivals = house.arrivals();
    house.all(&mut arrivals).await;
    house.engine.leave_images_unread(3);
    house.engine.put_image(image("good", good()));
    house.all(&mut arrivals).await;
    house.all(&mut arrivals).await;
    let held = house.entries_of(Event::Held);
    assert_eq!((house.entries().len(), held.len()), (1, 1));
    assert!(held[0].message.starts_with("3 rows of the engine's list of images cannot be read"), "{}", held[0].message);
    assert_eq!(house.arrived().left_out(), ["3 cannot be read in the engine's list and are not audited"]);
    assert!(house.gate.metrics().contains("img_authz_arrivals_unread 3\n"));
}

#[tokio::test(start_paused = true)]
async fn what_goes_before_its_turn_is_counted_and_named() {
    let house = house(MonitorRule::Report);
    let mut arrivals = house.arrivals();
    house.all(&mut arrivals).await;
    for number in 0..200 {
        house.engine.put_image(image(&format!("i{number}"), good()));
    }
    arrivals.list(&house.gate).await;
    house.engine.put_image(image("the-one", bad()));
    arrivals.list(&house.gate).await;
    house.engine.remove_image(Digest::of(b"the-one"));
    arrivals.list(&house.gate).await;
    house.go_on(&mut arrivals, Duration::from_mins(70)).await;
    let entries = house.entries();
    let told = entries.iter().find(|entry| entry.message.contains("went before they were audited")).unwrap();
    assert!(told.message.contains("1 arrived and went before they were audited: `r.example/the-one:1`"), "{}", told.message);
    assert_eq!(house.arrived().gone, 1);
    assert!(house.gate.metrics().contains("img_authz_arrivals_gone 1\n"));
}

#[tokio::test(start_paused = true)]
async fn neither_who_comes_after_a_crowd_nor_who_comes_before_it_waits_for_all_of_it() {
    let house = house(MonitorRule::Report);
    let mut arrivals = house.arrivals();
    house.all(&mut arrivals).await;
    house.engine.put_image(image("first", bad()));
    for number in 0..500 {
        house.engine.put_image(image(&format!("i{number}"), good()));
    }
    house.engine.put_image(image("runs", bad()));
    for number in 500..1000 {
        house.engine.put_image(image(&format!("i{number}"), good()));
    }
    house.engine.put_image(image("last", bad()));
    let container = crate::engine::Container {
        id: "a".repeat(64).parse().unwrap(),
        name: "web".into(),
        image: Some(Digest::of(b"runs")),
        manifest: None,
        platform: None,
        image_ref: "r.example/runs:1".into(),
        runs_as: crate::image::RunsAs::default(),
        mounts: Vec::new(),
        running: true,
        started_at: Some(clock::now()),
    };
    house.engine.put_container(container);
    arrivals.list(&house.gate).await;
    house.go_on(&mut arrivals, TICK * 6).await;
    let told: Vec<String> = house.entries().into_iter().map(|entry| entry.image).collect();
    for name in ["first", "runs", "last"] {
        assert!(told.contains(&format!("r.example/{name}:1")), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_listed_and_not_there_is_told_and_audited_once_it_is() {
    let house = house(MonitorRule::Report);
    let mut arrivals = house.arrivals();
    house.all(&mut arrivals).await;
    let id = Digest::of(b"hollow");
    house.engine.put_image(image("hollow", bad()));
    house.engine.hollow(id, true);
    house.go_on(&mut arrivals, SCAN * 3).await;
    let messages: Vec<String> = house.entries().into_iter().map(|entry| entry.message).collect();
    assert_eq!(messages, ["arrived, and not looked at: the engine lists it, and does not have it"]);
    house.engine.hollow(id, false);
    house.go_on(&mut arrivals, SCAN * 3).await;
    let entries = house.entries();
    assert_eq!((entries.len(), &entries[1].rules), (2, &vec!["secrets", "user-root"]));
    assert_eq!(house.arrived().images.len(), 1);
    // One that goes between list and look has gone.
    house.engine.put_image(image("short", bad()));
    arrivals.list(&house.gate).await;
    house.engine.remove_image(Digest::of(b"short"));
    house.go_on(&mut arrivals, SCAN).await;
    assert_eq!(house.arrived().gone, 1);
}

#[tokio::test(start_paused = true)]
async fn images_without_an_answer_hold_up_no_other() {
    let house = house(MonitorRule::Report);
    let mut arrivals = house.arrivals();
    house.all(&mut arrivals).await;
    for name in ["s1", "s2", "s3"] {
        house.engine.put_image(image(name, bad()));
        house.engine.slow(Digest::of(name.as_bytes()));
    }
    arrivals.list(&house.gate).await;
    arrivals.queue.push(Waiting { id: Digest::of(b"s4"), name: "s4".into(), tries: 0, is_told: false });
    house.engine.put_image(image("s4", good()));
    house.go_on(&mut arrivals, Duration::from_secs(15)).await;
    assert!(house.entries().iter().any(|entry| entry.image == "s4"), "{:?}", house.entries());
    house.go_on(&mut arrivals, Duration::from_mins(2)).await;
    let unread = house.entries().into_iter().filter(|entry| entry.message.contains("did not answer")).count();
    assert_eq!(unread, 3, "each was asked for three times, and told");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_read_is_no_first_start() {
    for torn in ["", "{\"arrived\":"] {
        let house = house(MonitorRule::Report);
        house.engine.put_image(image("there", bad()));
        std::fs::write(&house.path, torn).unwrap();
        let mut arrivals = house.arrivals();
        house.all(&mut arrivals).await;
        assert_eq!(house.entries().len(), 1, "it is not known whether it was audited");
        let held = house.entries_of(Event::Held);
        assert!(held.len() == 1 && held[0].message.starts_with("what was known of images that arrived is lost"), "{held:?}");
    }
}

#[tokio::test]
async fn what_was_told_long_ago_is_not_of_now() {
    let house = house(MonitorRule::Report);
    house.all(&mut house.arrivals()).await;
    let later = |seconds| clock::now() + jiff::SignedDuration::from_secs(seconds);
    assert!(Arrived::read(&house.path, later(60)).is_some());
    assert!(Arrived::read(&house.path, later(300)).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_a_whole_day_has_few_hundred_entries() {
    let house = house(MonitorRule::Report);
    let mut entries = Entries::new();
    let report = judge(bad(), "x", clock::now());
    for number in 0..10_000 {
        let id = Digest::of(format!("{number}").as_bytes());
        entries.audited(&house.gate, &Waiting { id, name: "x".into(), tries: 0, is_told: false }, &report);
        entries.tell(&house.gate);
        tokio::time::sleep(Duration::from_millis(8640)).await;
    }
    let told = house.entries();
    assert!((480..600).contains(&told.len()), "{}", told.len());
    let all: u64 = told.iter().map(|entry| entry.count).sum();
    assert!(all > 9_500, "{all}: all but those of the last hour");
}

#[test]
fn a_hostile_image_is_judged_as_far_as_it_is_read_and_in_no_time() {
    let many = |text: &str, count: usize| vec![text.to_owned(); count];
    let env = (0..4096).map(|number| format!("DB_PASSWORD_{number}=hunter2{number}")).collect();
    let labels = (0..4096).map(|number| (format!("token{number}"), "\u{1b}[31mhunter2".to_owned())).collect();
    for history in [
        many("RUN /bin/sh -c sudo make # buildkit", 40_000),
        many(&"((((".repeat(1 << 14), 8),
        many(&"RUN /bin/sh -c a && b || $(c `d` \"e\" ; ".repeat(3000), 4),
        many(&format!("|1 TOKEN=x /bin/sh -c {}", "apt-get update && ".repeat(7000)), 2),
    ] {
        let config = ImageConfig { env: Clone::clone(&env), labels: Clone::clone(&labels), history: Some(history), ..good() };
        let began = std::time::Instant::now();
        let report = judge(config, "r.example/x:1", clock::now());
        let took = began.elapsed();
        // Not optimised, on a machine that does other things: a thirtieth of that where it counts.
        assert!(took < Duration::from_secs(10), "{took:?}");
        println!("judged in {took:?}");
        let unread = report.unread.unwrap();
        assert!(unread.contains("3840 of its 4096 labels") && unread.contains("3840 of its 4096 variables"), "{unread}");
        let shown: String = report.findings.iter().map(|finding| finding.evidence.clone()).collect();
        assert!(!shown.contains("hunter2") && !shown.contains('\u{1b}'));
    }
}

#[test]
fn names_of_megabytes_are_left_out_and_told_and_cost_nothing() {
    let lines = vec!["ENV A=x B=y # buildkit".to_owned(); 512];
    let long = |number: usize| format!("{}{number}_TOKEN", "n".repeat(8 << 10));
    let of = |labels: Vec<(String, String)>, env: Vec<String>| {
        let config = ImageConfig { labels: labels.into_iter().collect(), env, history: Some(lines.clone()), ..good() };
        let began = std::time::Instant::now();
        let report = judge(config, "r.example/x:1", clock::now());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        (report.findings.len(), report.unread.unwrap_or_default())
    };
    let labels = |name: &dyn Fn(usize) -> String, value: &str| (0..256).map(|number| (name(number), value.to_owned())).collect();
    assert_eq!(of(labels(&long, "x"), Vec::new()), (0, "256 of its 256 labels".to_owned()));
    let words = "a.".repeat(1 << 20) + "TOKEN";
    let both = of(vec![(words.clone(), "x".into()), ("TOKEN".into(), "x".into())], vec![words, "B=x".into()]);
    assert_eq!(both, (1, "1 of its 2 labels, 1 of its 2 variables".to_owned()));
    // Many values of megabytes: so many as fit, and of each its beginning.
    let (_, unread) = of(labels(&|number| format!("l{number}"), &"v".repeat(8 << 10)), Vec::new());
    assert_eq!(unread, "225 of its 256 labels, the ends of 31 long values");
}

#[test]
fn a_line_of_the_history_is_never_shown() {
    let lines = ["RUN /bin/sh -c sudo mysql -uroot -phunter2 # buildkit", "ADD https://h.example/x?sig=hunter2 /x # buildkit"];
    let history = Some(lines.map(str::to_owned).to_vec());
    let report = judge(ImageConfig { history, ..good() }, "r.example/x:1", clock::now());
    let evidence: Vec<&str> = report.findings.iter().map(|finding| finding.evidence.as_str()).collect();
    assert_eq!(evidence, ["line 1 of its history", "line 2 of its history"]);
}
