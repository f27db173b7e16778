//! Sinks that take, are slow, go away and come back, against sockets and servers of the test.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::queue::Queue;
use super::{Failure, Place, Way, encode, local, start, telemetry};
use crate::audit::{Beside, Carrier, Entry, Event, FileJournal, Journal, JournalLimits, LogPart, verify};
use crate::policy::{AlertsSetting, SinkFormat, SinkSetting, SyslogAt, TelemetrySetting};

const SOON: Duration = Duration::from_secs(20);

fn entry(event: Event, message: &str) -> Entry {
    let mut entry = Entry::new(jiff::Timestamp::from_nanosecond(1_800_000_000_123_456_789).unwrap(), event);
    message.clone_into(&mut entry.message);
    "registry.example:5000/app:1.0".clone_into(&mut entry.image);
    entry
}

fn line(text: &str) -> Arc<[u8]> {
    let entry = serde_json::to_value(entry(Event::Blocked, text)).unwrap();
    let mut text = entry.to_string();
    text.truncate(text.len() - 1);
    format!("{text},\"chain\":\"{}\"}}\n", "a".repeat(64)).into_bytes().into()
}

fn place(workers: &tokio::runtime::Runtime, folder: &Path, format: SinkFormat) -> Place {
    Place { format, certs: Vec::new(), token: folder.join("otlp.token"), workers: workers.handle().clone() }
}

fn workers() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn wait_for(what: &str, is: impl Fn() -> bool) {
    let patience = Instant::now() + SOON;
    while !is() {
        assert!(Instant::now() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A server that answers each POST as it is told, and passes on head and body.
fn server(answer: impl Fn(usize) -> (u16, &'static str) + Send + 'static) -> (u16, Receiver<(String, String)>) {
    server_of(move |number, _| answer(number))
}

/// The same, by the body too.
fn server_of(answer: impl Fn(usize, &str) -> (u16, &'static str) + Send + 'static) -> (u16, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (came, coming): (Sender<(String, String)>, _) = channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let head = head.to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let body = String::from_utf8(body).unwrap();
            let (status, text) = answer(number, &body);
            let reply = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            let _ = stream.write_all(reply.as_bytes());
            if came.send((head, body)).is_err() {
                return;
            }
        }
    });
    (port, coming)
}

#[test]
fn an_entry_in_other_words_loses_nothing_and_keeps_its_link() {
    let line = line("not approved");
    assert_eq!(&*encode(SinkFormat::Json, &line), line.trim_ascii_end());
    let ecs: Value = serde_json::from_slice(&encode(SinkFormat::Ecs, &line)).unwrap();
    assert_eq!(ecs["@timestamp"], "2027-01-15T08:00:00.123456789Z");
    assert_eq!((ecs["event"]["type"][0].as_str(), ecs["event"]["outcome"].as_str()), (Some("denied"), Some("failure")));
    assert_eq!(
        (ecs["event"]["hash"].as_str(), ecs["img_authz"]["chain"].as_str()),
        (Some("a".repeat(64).as_str()), Some("a".repeat(64).as_str()))
    );
    assert_eq!(ecs["container"]["image"], serde_json::json!({"name": "registry.example:5000/app", "tag": ["1.0"]}));
    assert_eq!((ecs["message"].as_str(), ecs["img_authz"]["event"].as_str()), (Some("not approved"), Some("BLOCKED")));
    let ocsf: Value = serde_json::from_slice(&encode(SinkFormat::Ocsf, &line)).unwrap();
    assert_eq!((ocsf["class_uid"].as_u64(), ocsf["type_uid"].as_u64()), (Some(6003), Some(600_399)));
    assert_eq!(ocsf["actor"]["authorizations"][0]["decision"], "Denied");
    assert_eq!((ocsf["time"].as_i64(), ocsf["status_id"].as_u64()), (Some(1_800_000_000_123), Some(2)));
    assert_eq!(
        (ocsf["unmapped"]["chain"].as_str(), ocsf["resources"][0]["type"].as_str()),
        (Some("a".repeat(64).as_str()), Some("image"))
    );
    // A refusal that was not carried out is none.
    let mut passed = entry(Event::Blocked, "x");
    passed.enforced = false;
    let passed = serde_json::to_vec(&passed).unwrap();
    let ecs: Value = serde_json::from_slice(&encode(SinkFormat::Ecs, &passed)).unwrap();
    let ocsf: Value = serde_json::from_slice(&encode(SinkFormat::Ocsf, &passed)).unwrap();
    assert_eq!((ecs["event"]["type"][0].as_str(), ocsf["status_id"].as_u64()), (Some("allowed"), Some(1)));
    // Each event has its words, and what is no entry stays as it is.
    for event in Event::ALL {
        for format in [SinkFormat::Ecs, SinkFormat::Ocsf] {
            let line = serde_json::to_vec(&entry(event, "x")).unwrap();
            assert!(serde_json::from_slice::<Value>(&encode(format, &line)).is_ok_and(|value| value["message"] == "x"));
            assert_eq!(&*encode(format, b"{half\n"), b"{half");
        }
    }
}

/// The next datagram.
fn next(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut bytes = vec![0; 1 << 16];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn the_journal_gets_fields_and_a_journal_that_starts_again_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    let way = local::Journald::at(vec![dir.path().join("none"), path.clone()], SinkFormat::Json);
    let queue = Queue::start("journald", |_| true, Box::new(way)).unwrap();
    queue.carry(&line("one"));
    let told = next(&socket);
    for field in [
        "PRIORITY=5\n",
        "SYSLOG_IDENTIFIER=img-authz\n",
        "IMG_AUTHZ_EVENT=BLOCKED\n",
        "IMG_AUTHZ_CHAIN=aaaa",
        "\"message\":\"one\"",
    ] {
        assert!(told.contains(field), "{field}: {told}");
    }
    assert_eq!(told.matches("MESSAGE={").count(), 1);
    drop(socket);
    fs::remove_file(&path).unwrap();
    queue.carry(&line("two"));
    queue.carry(&line("three"));
    wait_for("it is away", || queue.carried().away.is_some());
    let socket = UnixDatagram::bind(&path).unwrap();
    assert!(next(&socket).contains("\"two\"") && next(&socket).contains("\"three\""));
    wait_for("it is back", || queue.carried().away.is_none() && queue.carried().sent == 3);
    assert_eq!(queue.carried().dropped, 0);
    queue.end();
}

#[test]
fn syslog_is_told_here_as_the_c_library_does_and_elsewhere_by_rfc_5424() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let workers = workers();
    let place = place(&workers, dir.path(), SinkFormat::Json);
    let sinks = start(&[SinkSetting::Syslog(SyslogAt::Socket(path))], &AlertsSetting::Off, &place).unwrap();
    sinks[0].carry(&line("one"));
    let told = next(&socket);
    let head = format!("<85>Jan 15 08:00:00 img-authz[{}]: {{", std::process::id());
    assert!(told.starts_with(&head) && told.ends_with('}'), "{told}");
    let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
    elsewhere.set_read_timeout(Some(SOON)).unwrap();
    let at = SyslogAt::Udp(elsewhere.local_addr().unwrap().to_string());
    let sinks = start(&[SinkSetting::Syslog(at)], &AlertsSetting::Off, &place).unwrap();
    sinks[0].carry(&line("one"));
    let mut bytes = [0; 4096];
    let length = elsewhere.recv(&mut bytes).unwrap();
    let told = String::from_utf8_lossy(&bytes[..length]).into_owned();
    assert!(told.starts_with("<85>1 2027-01-15T08:00:00.123456Z "), "{told}");
    assert!(told.contains(&format!(" img-authz {} BLOCKED - {{", std::process::id())), "{told}");
    sinks[0].end();
}

#[test]
fn a_collector_gets_records_and_is_asked_again_when_it_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let workers = workers();
    let (port, coming) = server(|number| match number {
        0 => (503, ""),
        1 => (200, r#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"x"}}"#),
        2 => (400, ""),
        _ => (200, "{}"),
    });
    let place = place(&workers, dir.path(), SinkFormat::Json);
    let url = format!("http://127.0.0.1:{port}");
    let sinks = start(&[SinkSetting::Otlp(url)], &AlertsSetting::Off, &place).unwrap();
    let told = || sinks[0].carried();
    sinks[0].carry(&line("one"));
    let (head, body) = coming.recv_timeout(SOON).unwrap();
    assert!(head.starts_with("post /v1/logs "), "{head}");
    wait_for("it is away", || told().away.is_some());
    let record =
        serde_json::from_str::<Value>(&body).unwrap().pointer("/resourceLogs/0/scopeLogs/0/logRecords/0").unwrap().clone();
    assert_eq!(record["timeUnixNano"], "1800000000123456789");
    assert_eq!(record["attributes"][1]["value"]["stringValue"], "a".repeat(64));
    assert!(record["body"]["stringValue"].as_str().unwrap().contains("\"one\""));
    // Busy: once more. Then it takes all but one; then it refuses for good.
    coming.recv_timeout(SOON).unwrap();
    wait_for("one was rejected", || told().dropped == 1 && told().away.is_none());
    sinks[0].carry(&line("two"));
    coming.recv_timeout(SOON).unwrap();
    wait_for("one was refused", || told().dropped == 2);
    assert_eq!(told().away.as_deref(), Some("it refuses them: the collector says 400"));
    sinks[0].carry(&line("three"));
    coming.recv_timeout(SOON).unwrap();
    wait_for("one arrived", || told().sent == 1 && told().away.is_none());
    assert_eq!(told().dropped, 2);
}

#[test]
fn figures_and_spans_reach_their_collectors_and_wait_for_one_that_is_busy() {
    use tracing_subscriber::layer::SubscriberExt as _;
    let dir = tempfile::tempdir().unwrap();
    let workers = workers();
    let (port, coming) = server(|number| if number == 0 { (503, "") } else { (200, "{}") });
    let url = format!("http://127.0.0.1:{port}");
    let place = place(&workers, dir.path(), SinkFormat::Json);
    let setting = TelemetrySetting { metrics: Some(url.clone()), traces: Some(url) };
    let figures = telemetry(&setting, &place).unwrap().unwrap();
    figures.push("# TYPE up gauge\nup 1\n# EOF\n");
    for _ in 0..2 {
        let (head, body) = coming.recv_timeout(SOON).unwrap();
        assert!(head.starts_with("post /v1/metrics "), "{head}");
        let said: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(said.pointer("/resourceMetrics/0/scopeMetrics/0/metrics/0/gauge/dataPoints/0/asDouble"), Some(&1.0.into()));
    }
    tracing::subscriber::with_default(tracing_subscriber::registry().with(super::spans()), || {
        let root = tracing::trace_span!(target: "img_authz::trace", "decision", action = "pull");
        root.in_scope(|| drop(tracing::trace_span!(target: "img_authz::trace", "gather").entered()));
    });
    let mut names = Vec::new();
    while names.len() < 2 {
        let (head, body) = coming.recv_timeout(SOON).unwrap();
        assert!(head.starts_with("post /v1/traces "), "{head}");
        let said: Value = serde_json::from_str(&body).unwrap();
        let spans = said.pointer("/resourceSpans/0/scopeSpans/0/spans").unwrap().as_array().unwrap().clone();
        names.extend(spans.iter().map(|span| span["name"].as_str().unwrap().to_owned()));
    }
    assert_eq!(names, ["gather", "decision"]);
    assert!(telemetry(&TelemetrySetting::default(), &place).unwrap().is_none());
}

#[test]
fn a_token_is_not_sent_to_whoever_holds_a_port_of_this_host_and_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let workers = workers();
    fs::write(dir.path().join("otlp.token"), "geheim\n").unwrap();
    let (port, coming) = server(|number| if number == 0 { (200, "{}") } else { (401, "") });
    let place = place(&workers, dir.path(), SinkFormat::Json);
    let sinks = start(&[SinkSetting::Otlp(format!("http://127.0.0.1:{port}"))], &AlertsSetting::Off, &place).unwrap();
    for text in ["one", "two"] {
        sinks[0].carry(&line(text));
        let (head, body) = coming.recv_timeout(SOON).unwrap();
        assert!(!head.contains("authorization") && !head.contains("geheim") && !body.contains("geheim"), "{head}");
    }
    wait_for("it is told why", || {
        sinks[0].carried().away.is_some_and(|why| why.contains("401") && why.contains("over https alone"))
    });
    assert_eq!(sinks[0].carried().sent, 1);
}

/// A sink that takes nothing until it is let.
struct Gate(Arc<Mutex<()>>, Arc<AtomicUsize>);

impl Way for Gate {
    fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure> {
        drop(self.0.lock().unwrap());
        self.1.fetch_add(lines.len(), Ordering::Relaxed);
        Ok(lines.len() as u64)
    }
}

#[test]
fn a_sink_that_hangs_delays_nobody_and_what_it_misses_is_counted() {
    const ENTRIES: usize = 20_000;
    let (gate, arrived) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
    let held = gate.lock().unwrap();
    let queue = Queue::start("slow", |_| true, Box::new(Gate(Arc::clone(&gate), Arc::clone(&arrived)))).unwrap();
    let line = line("x");
    let begun = Instant::now();
    (0..ENTRIES).for_each(|_| queue.carry(&line));
    assert!(begun.elapsed() < Duration::from_secs(5));
    let dropped = queue.carried().dropped;
    assert!(dropped > 0 && dropped < ENTRIES as u64);
    // Nor does the stop wait for it for ever, nor for several one after the other.
    let another =
        || Queue::start("slow", |_| true, Box::new(Gate(Arc::clone(&gate), Arc::default()))).unwrap() as Arc<dyn Carrier>;
    let all = vec![queue, another(), another(), another(), another()];
    let dir = tempfile::tempdir().unwrap();
    let journal = FileJournal::open_with(&dir.path().join("audit.jsonl"), JournalLimits::default(), all).unwrap();
    journal.record(&entry(Event::Allowed, "x"));
    let begun = Instant::now();
    journal.end();
    assert!(begun.elapsed() < Duration::from_secs(7));
    // Before it is let: what it takes then is its own affair.
    assert_eq!(arrived.load(Ordering::Relaxed), 0);
    drop(held);
}

#[test]
fn what_a_sink_kept_is_a_log_that_is_verified_and_what_commands_write_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let queue = Queue::start("kept", |_| true, Box::new(Kept(Arc::clone(&kept)))).unwrap();
    let log = dir.path().join("audit.jsonl");
    let journal = FileJournal::open_with(&log, JournalLimits::default(), vec![queue]).unwrap();
    journal.record(&entry(Event::Allowed, "by the gate"));
    Beside::open(&log).unwrap().record(&entry(Event::Changed, "by a command")).unwrap();
    journal.end();
    fs::write(dir.path().join("kept"), kept.lock().unwrap().concat()).unwrap();
    let part = LogPart { name: "kept".into(), file: fs::File::open(dir.path().join("kept")).unwrap() };
    let verified = verify("kept", &[part], &[]).unwrap();
    assert_eq!((verified.fault, verified.entries), (None, 2));
    let head = verified.head.unwrap();
    let found = verify("log", &crate::audit::parts(&log).unwrap(), &[head]).unwrap();
    assert_eq!(found.found, [(head, 0)]);
    assert_eq!(journal.carried()[0].1.sent, 2);
}

/// A sink in memory.
struct Kept(Arc<Mutex<Vec<Vec<u8>>>>);

impl Way for Kept {
    fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure> {
        self.0.lock().unwrap().extend(lines.iter().map(|line| line.to_vec()));
        Ok(lines.len() as u64)
    }
}

#[test]
fn what_the_disk_does_not_take_goes_out_without_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.jsonl");
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let queue = Queue::start("kept", |_| true, Box::new(Kept(Arc::clone(&kept)))).unwrap();
    let journal = FileJournal::open_with(&log, JournalLimits::default(), vec![queue]).unwrap();
    journal.record(&entry(Event::Allowed, "x"));
    assert_eq!(journal.lost(), 1);
    wait_for("it arrives", || !kept.lock().unwrap().is_empty());
    let line: Value = serde_json::from_slice(&kept.lock().unwrap()[0]).unwrap();
    assert!(line["message"] == "x" && line.get("chain").is_none());
}

#[test]
fn a_sink_that_goes_away_and_comes_back_is_recorded() {
    struct Away(Arc<Mutex<bool>>);
    impl Way for Away {
        fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure> {
            if *self.0.lock().unwrap() { Err(Failure::away("nobody there")) } else { Ok(lines.len() as u64) }
        }
    }
    struct Refusing;
    impl Way for Refusing {
        fn send(&mut self, _: &[Arc<[u8]>]) -> Result<u64, Failure> {
            Err(Failure::Refused("never".to_owned()))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.jsonl");
    let is_away = Arc::new(Mutex::new(true));
    let refusing = Queue::start("refusing", |_| true, Box::new(Refusing)).unwrap();
    let queue = Queue::start("test", |_| true, Box::new(Away(Arc::clone(&is_away)))).unwrap();
    let journal = FileJournal::open_with(&log, JournalLimits::default(), vec![queue, refusing]).unwrap();
    journal.record(&entry(Event::Allowed, "x"));
    let told = |text: &str| fs::read_to_string(&log).unwrap().contains(text);
    wait_for("it is told", || told("the sink `test` does not take entries: nobody there"));
    wait_for("a refusal is told", || told("the sink `refusing` does not take entries: it refuses them: never; it has missed "));
    assert!(fs::read_to_string(dir.path().join(crate::audit::NOTABLE)).unwrap().contains("the sink `test`"));
}

/// A file of alerts, as its reader wants it.
fn alerts(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("alerts.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Whether files of the test's folder pass as the operator's: not where a folder above is open to others without the sticky bit.
fn is_ours(path: &Path) -> bool {
    crate::files::read_owned(path, 1 << 20).is_ok()
}

#[test]
fn webhooks_are_told_of_what_matters_at_their_rate_and_again_when_they_fail() {
    let dir = tempfile::tempdir().unwrap();
    let workers = workers();
    let (slack, slack_came) = server(|number| if number == 0 { (500, "") } else { (200, "ok") });
    let (json, json_came) = server(|_| (204, ""));
    let path = alerts(
        dir.path(),
        &format!(
            "[[webhook]]\nname = \"slack\"\nurl = \"http://127.0.0.1:{slack}/services/geheim\"\nformat = \"slack\"\n\
             template = \"{{event}}: {{message}}\"\nper_minute = 2\n\
             [[webhook]]\nname = \"json\"\nurl = \"http://127.0.0.1:{json}/\"\nevents = [\"WOULD-BLOCK\", \"CHANGED\"]\n"
        ),
    );
    assert!(is_ours(&path));
    let place = place(&workers, dir.path(), SinkFormat::Json);
    let sinks = start(&[], &AlertsSetting::Required(path), &place).unwrap();
    let carry = |entry: &Entry| sinks[0].carry(&serde_json::to_vec(entry).unwrap().into());
    carry(&entry(Event::Allowed, "all day"));
    carry(&entry(Event::Gate, "the gate has started"));
    carry(&entry(Event::Blocked, "<!channel> & no"));
    let mut passed = entry(Event::Blocked, "passed");
    passed.enforced = false;
    carry(&passed);
    let (head, first) = slack_came.recv_timeout(SOON).unwrap();
    assert!(head.starts_with("post /services/geheim ") && head.contains("content-type: application/json"));
    let (_, again) = slack_came.recv_timeout(SOON).unwrap();
    assert_eq!((first.as_str(), first.clone()), (r#"{"text":"BLOCKED: &lt;!channel&gt; &amp; no"}"#, again), "it failed once");
    let (_, told) = json_came.recv_timeout(SOON).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert!(told["entry"]["message"] == "passed" && told["text"].as_str().unwrap().starts_with("BLOCKED on "));
    // Beyond the rate nothing is told at once; what somebody should look at has a rate of its own.
    for _ in 0..5 {
        carry(&entry(Event::Blocked, "another"));
    }
    assert!(slack_came.recv_timeout(SOON).unwrap().1.contains("BLOCKED"));
    for _ in 0..5 {
        carry(&entry(Event::Mismatch, "another"));
    }
    for _ in 0..2 {
        assert!(slack_came.recv_timeout(SOON).unwrap().1.contains("MISMATCH"));
    }
    assert!(slack_came.recv_timeout(Duration::from_secs(3)).is_err());
    assert!(json_came.try_recv().is_err());
    assert_eq!(sinks[0].carried().dropped, 0);
    sinks[0].end();
}

#[test]
fn a_webhook_that_does_not_answer_holds_up_no_other() {
    const SILENCE: Duration = Duration::from_secs(6);
    let dir = tempfile::tempdir().unwrap();
    let workers = workers();
    let (slow, slow_came) = server(|_| {
        std::thread::sleep(SILENCE);
        (200, "ok")
    });
    let (quick, quick_came) = server(|_| (200, "ok"));
    let hook = |name: &str, port: u16| format!("[[webhook]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}/\"\n");
    let path = alerts(dir.path(), &format!("{}{}", hook("slow", slow), hook("quick", quick)));
    let sinks = start(&[], &AlertsSetting::Required(path), &place(&workers, dir.path(), SinkFormat::Json)).unwrap();
    let begun = Instant::now();
    for text in ["one", "two", "three"] {
        sinks[0].carry(&line(text));
        assert!(quick_came.recv_timeout(SOON).unwrap().1.contains(text));
    }
    assert!(begun.elapsed() < SILENCE, "{:?}", begun.elapsed());
    // It is told as well, once each.
    for text in ["one", "two"] {
        assert!(slow_came.recv_timeout(SOON).unwrap().1.contains(text));
    }
    assert!(quick_came.try_recv().is_err());
    sinks[0].end();
}

#[test]
fn a_file_of_alerts_that_is_faulty_is_told_and_its_addresses_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let workers = workers();
    let hook = "[[webhook]]\nname = \"a\"\n";
    for (text, told) in [
        ("[[webhook]]\nname = \"a\"\nurl = \"https://x/geheim\n".to_owned(), "line 3 is not TOML"),
        (format!("{hook}url = \"http://x.example/geheim\""), "neither https"),
        (format!("{hook}url = \"https://geheim@x.example/\""), "has a user"),
        (format!("{hook}url = \"geheim\""), "is not a URL"),
        (
            format!("{hook}url = \"https://x.example/\"\nevents = [\"geheim\"]"),
            "`events` has one that is none of BLOCKED, MISMATCH",
        ),
        (format!("{hook}url = \"https://x.example/\"\nevents = [\"ALLOWED\"]"), "`events` has one"),
        (format!("{hook}url = \"https://x.example/\"\nformat = \"geheim\""), "`format` is neither"),
        (format!("{hook}url = \"https://x.example/\"\ntemplate = \"{{geheim}}\""), "`template` has a field"),
        (format!("{hook}url = \"https://x.example/\"\nper_minute = 0"), "`per_minute` is not"),
        (format!("{hook}url_file = \"none\""), "`url_file` cannot be read"),
        (format!("{hook}uri = \"https://x.example/geheim\""), "`uri` is not a key"),
        ("[[webhook]]\nurl = \"https://x.example/geheim\"".to_owned(), "`name` is missing"),
        ("webhooks = 1".to_owned(), "`webhooks` is not a key"),
    ] {
        let path = alerts(dir.path(), &text);
        let place = place(&workers, dir.path(), SinkFormat::Json);
        let sinks = start(&[], &AlertsSetting::IfPresent(path), &place).unwrap();
        wait_for(told, || sinks[0].carried().away.is_some());
        let away = sinks[0].carried().away.unwrap();
        assert!(away.contains(told) && !away.contains("geheim"), "{text}\n{away}");
        sinks[0].end();
    }
    // One that is not there is none where nobody asked for it.
    for (setting, is_away) in
        [(AlertsSetting::IfPresent(dir.path().join("none")), false), (AlertsSetting::Required(dir.path().join("none")), true)]
    {
        let sinks = start(&[], &setting, &place(&workers, dir.path(), SinkFormat::Json)).unwrap();
        std::thread::sleep(Duration::from_millis(2500));
        assert_eq!(sinks[0].carried().away.is_some(), is_away);
        sinks[0].end();
    }
}

#[test]
fn what_waits_for_a_webhook_goes_to_its_new_address() {
    let dir = tempfile::tempdir().unwrap();
    let workers = workers();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port, came) = server(|_| (200, "ok"));
    let text = |port: u16| format!("[[webhook]]\nname = \"a\"\nurl = \"http://127.0.0.1:{port}/\"\n");
    let path = alerts(dir.path(), &text(nobody));
    let sinks = start(&[], &AlertsSetting::Required(path), &place(&workers, dir.path(), SinkFormat::Json)).unwrap();
    for words in ["one", "two", "three"] {
        sinks[0].carry(&line(words));
    }
    wait_for("nobody is there", || sinks[0].carried().away.is_some());
    alerts(dir.path(), &text(port));
    for words in ["one", "two", "three"] {
        assert!(came.recv_timeout(SOON).unwrap().1.contains(words));
    }
    // What waits for one that is no more is counted, with the next entry.
    alerts(dir.path(), &text(nobody));
    std::thread::sleep(Duration::from_millis(2500));
    sinks[0].carry(&line("four"));
    wait_for("nobody is there", || sinks[0].carried().away.is_some());
    alerts(dir.path(), &text(port).replace("\"a\"", "\"b\""));
    wait_for("it is another's", || sinks[0].carried().away.is_none());
    sinks[0].carry(&line("five"));
    assert!(came.recv_timeout(SOON).unwrap().1.contains("five"));
    wait_for("one is lost", || sinks[0].carried().dropped == 1);
    sinks[0].end();
}

#[test]
fn alerts_that_wait_when_the_gate_stops_are_told_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let workers = workers();
    let (port, came) = server(|number| if number == 0 { (503, "") } else { (200, "ok") });
    let hook = |name: &str, port: u16| format!("[[webhook]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}/\"\n");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = alerts(dir.path(), &(hook("a", port) + &hook("b", silent.local_addr().unwrap().port())));
    let sinks = start(&[], &AlertsSetting::Required(path), &place(&workers, dir.path(), SinkFormat::Json)).unwrap();
    sinks[0].carry(&line("one"));
    came.recv_timeout(SOON).unwrap();
    wait_for("it rests", || sinks[0].carried().away.is_some());
    let begun = Instant::now();
    sinks[0].end();
    assert!(came.try_recv().unwrap().1.contains("one"));
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
}

#[test]
fn files_with_addresses_are_their_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let workers = workers();
    let place = place(&workers, dir.path(), SinkFormat::Json);
    let set = |name: &str, mode| fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    fs::write(dir.path().join("a.url"), "https://x.example/geheim").unwrap();
    let path = alerts(dir.path(), "[[webhook]]\nname = \"a\"\nurl_file = \"a.url\"\n");
    for (open, mode, told) in [
        ("alerts.toml", 0o640, "may be read by others (mode 0640): chmod 0600"),
        ("alerts.toml", 0o602, "may be changed by others"),
        ("a.url", 0o604, "may be read by others (mode 0604): chmod 0600"),
        ("a.url", 0o660, "may be changed by others"),
    ] {
        for name in ["alerts.toml", "a.url"] {
            set(name, if name == open { mode } else { 0o600 });
        }
        let sinks = start(&[], &AlertsSetting::IfPresent(path.clone()), &place).unwrap();
        wait_for(told, || sinks[0].carried().away.is_some());
        let away = sinks[0].carried().away.unwrap();
        assert!(away.contains(told) && !away.contains("geheim"), "{away}");
        sinks[0].end();
    }
}

/// A firewall before a collector, and one entry in which a client has written what it does not like.
#[test]
fn an_entry_that_is_not_let_through_stops_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let workers = workers();
    let (port, came) = server_of(|_, body| if body.contains("${jndi") { (403, "") } else { (200, "{}") });
    let mut logs = super::otlp::Logs::new(&format!("http://127.0.0.1:{port}"), &place(&workers, dir.path(), SinkFormat::Json));
    let lines = ["killed", "${jndi:ldap://x}", "mismatch"].map(line);
    let sent = (0..20).find_map(|_| logs.send(&lines).ok());
    assert_eq!(sent, Some(2));
    let arrived: Vec<String> = came.try_iter().map(|(_, body)| body).filter(|body| !body.contains("${jndi")).collect();
    for text in ["killed", "mismatch"] {
        assert_eq!(arrived.iter().filter(|body| body.contains(text)).count(), 1, "{text}");
    }
}

/// A way, and lines for it.
type WithLines<'a> = (&'a mut dyn Way, [Arc<[u8]>; 3]);

/// Likewise what is pushed beside the log: spans, and figures, of which the newest is asked for again.
#[test]
fn a_span_that_a_firewall_does_not_like_stops_none_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let workers = workers();
    let place = place(&workers, dir.path(), SinkFormat::Json);
    let (port, _came) = server_of(|_, body| if body.contains("${jndi") { (403, "") } else { (200, "{}") });
    let url = format!("http://127.0.0.1:{port}");
    let line = |text: &str| Arc::<[u8]>::from(text.as_bytes());
    let (mut traces, mut figures) =
        (super::otlp::traces::Traces::new(&url, &place), super::otlp::metrics::Metrics::new(&url, &place));
    let ways: [WithLines<'_>; 2] = [
        (&mut traces, [line("{\"name\":\"one\"}"), line("{\"name\":\"${jndi\"}"), line("{\"name\":\"three\"}")]),
        (&mut figures, [line("1\nup 1\n"), line("2\nup 2\n"), line("3\nbad{x=\"${jndi\"} 3\n")]),
    ];
    for (way, lines) in ways {
        for _ in 0..4 {
            assert!(matches!(way.send(&lines), Err(Failure::Away { .. })), "{}", way.what());
        }
        assert!(matches!(way.send(&lines), Ok(2)), "{}", way.what());
    }
}
