//! Alerts: some entries, told to webhooks in words. Each webhook has its own rate: what is beyond is told as a number when the minute is over.
//! Each has a short queue, and rests after a failure, so that one that is away costs the others nothing.

mod config;
mod template;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::config::{Hook, Shape};
use super::encode::{Fields, Weight};
use super::{Failure, Place, Way, host_name};
use crate::files::read_owned;
use crate::net::{Bounds, Client, HeaderMap, Plain, Tls, authority};

/// What an answer may cost; nobody reads it.
const BOUNDS: Bounds = Bounds { bytes: 64 << 10, time: Duration::from_secs(10) };
/// Largest file read. Stops a wrong path from filling memory.
const FILE_BYTES: u64 = 256 << 10;
/// Most alerts that wait for one webhook. Stops one that is away from filling memory; what is beyond is told as a number.
const WAITING: usize = 64;
/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long a webhook is left alone after a failure, at first, and at most.
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_mins(5);
const MINUTE: Duration = Duration::from_mins(1);
/// How long the next answer of any webhook is waited for before entries are taken again, and how long at most while they answer.
const PATIENCE: Duration = Duration::from_secs(1);
const ROUND: Duration = Duration::from_secs(2);
/// What is no news: each start and each reload says so.
const NO_NEWS: [&str; 2] = ["the gate has started", "settings and files were read again"];

/// Whether anybody can be alerted of such a line: looked at for each entry, before it takes room.
pub(super) fn may_alert(line: &[u8]) -> bool {
    // What entries begin with.
    let head = line.get(..96).unwrap_or(line);
    !["\"event\":\"ALLOWED\"", "\"event\":\"CREATED\"", "\"event\":\"PROBE\""]
        .iter()
        .any(|event| head.windows(event.len()).any(|part| part == event.as_bytes()))
}

/// The webhooks of a file.
pub(super) struct Alerts {
    path: PathBuf,
    /// The file must be there.
    is_required: bool,
    certs: Vec<PathBuf>,
    workers: tokio::runtime::Handle,
    host: String,
    hooks: Vec<Hooked>,
    /// Calls under way, by their webhook's place.
    calls: JoinSet<(usize, Came)>,
    fault: Option<String>,
    looked: Option<Instant>,
    /// The text that the hooks were made of, with those of files it names.
    made_of: Option<Vec<String>>,
    /// Alerts that were given up, of those that have been counted as arrived.
    lost: u64,
}

/// What waits for a webhook, with a rate of its own.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<String>,
    /// Alerts since the minute began.
    told: u32,
}

/// A webhook, and what waits for it.
struct Hooked {
    hook: Hook,
    /// What somebody should look at. Goes before the rest, which clients can make as much of as they like.
    urgent: Lane,
    usual: Lane,
    /// What is being told, and whether it is urgent.
    calling: Option<(Weight, String)>,
    /// When the minute began, and what was beyond the rate, by event.
    minute: Option<Instant>,
    beyond: BTreeMap<String, u64>,
    rest: Duration,
    not_before: Option<Instant>,
    trouble: Option<String>,
}

impl Alerts {
    pub(super) fn new(path: PathBuf, is_required: bool, place: &Place) -> Self {
        Self {
            path,
            is_required,
            certs: place.certs.clone(),
            workers: place.workers.clone(),
            host: host_name(),
            hooks: Vec::new(),
            calls: JoinSet::new(),
            fault: None,
            looked: None,
            made_of: None,
            lost: 0,
        }
    }

    /// Reads the file again where it has changed. While it is faulty the webhooks before stay.
    fn look(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        let folder = self.path.parent().unwrap_or(Path::new("")).to_owned();
        let texts = std::cell::RefCell::new(Vec::new());
        let load = |path: &Path| {
            let read =
                read_owned(&folder.join(path), FILE_BYTES).map_err(|error| format!("`url_file` cannot be read: {error}"))?;
            texts.borrow_mut().push(read.clone());
            Ok(read)
        };
        let made = match read_owned(&self.path, FILE_BYTES) {
            Ok(text) => {
                let made = config::read(&text, load);
                texts.borrow_mut().push(text);
                made
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.is_required => Ok(Vec::new()),
            Err(error) => Err(format!("it cannot be read: {error}")),
        };
        match made {
            Ok(hooks) => {
                self.fault = None;
                let texts = Some(texts.into_inner());
                if self.made_of != texts {
                    tracing::info!(file = %self.path.display(), webhooks = hooks.len(), "alerts are told to these webhooks");
                    // Places are others' now.
                    self.calls = JoinSet::new();
                    self.hooks = hooks.into_iter().map(Hooked::new).collect();
                    self.made_of = texts;
                }
            }
            Err(why) => {
                let why = format!("`{}`: {why}", self.path.display());
                if self.fault.as_ref() != Some(&why) {
                    tracing::error!("the file of alerts is faulty, what it said before counts: {why}");
                    self.fault = Some(why);
                }
            }
        }
    }

    /// Sends what is due, a call at a time to each webhook, for as long as they answer. Who does not is waited for beside the others.
    fn tell(&mut self) {
        let end = Instant::now() + ROUND;
        while Instant::now() < end {
            self.call();
            let next = async { tokio::time::timeout(PATIENCE, self.calls.join_next()).await };
            let (index, came) = match self.workers.block_on(next) {
                Ok(Some(Ok(called))) => called,
                // One that met a fault of its own says nothing of itself; the others go on.
                Ok(Some(Err(_))) => continue,
                Ok(None) => {
                    self.end_calls();
                    break;
                }
                Err(_) => break,
            };
            if let Some(hooked) = self.hooks.get_mut(index) {
                self.lost = self.lost.saturating_add(hooked.after(came));
            }
        }
    }

    /// Begins a call to each webhook for which something is due.
    fn call(&mut self) {
        let now = Instant::now();
        for (index, hooked) in self.hooks.iter_mut().enumerate() {
            hooked.end_minute(now, &self.host);
            let Some(body) = hooked.begin(now) else { continue };
            let (hook, certs) = (hooked.hook.clone(), self.certs.clone());
            self.calls.spawn_on(async move { (index, call(&hook, &certs, body).await) }, &self.workers);
        }
    }

    /// No call is under way: what waits for one has none.
    fn end_calls(&mut self) {
        for hooked in self.hooks.iter_mut().filter(|hooked| hooked.calling.is_some()) {
            hooked.after(Err(("the call broke off".to_owned(), IsGivenUp::No)));
        }
    }
}

impl Way for Alerts {
    fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure> {
        self.look();
        for line in lines {
            let entry = Fields::of(line);
            let is_news = !NO_NEWS.iter().any(|no_news| entry.text("message").starts_with(no_news));
            for hooked in
                self.hooks.iter_mut().filter(|hooked| is_news && hooked.hook.wants(entry.text("event"), entry.is_enforced()))
            {
                hooked.take(&entry, &self.host);
            }
        }
        self.tell();
        let lost = self.lost.min(lines.len() as u64);
        self.lost = self.lost.saturating_sub(lost);
        Ok((lines.len() as u64).saturating_sub(lost))
    }

    fn trouble(&self) -> Option<String> {
        let hooks =
            self.hooks.iter().filter_map(|hooked| Some(format!("webhook `{}`: {}", hooked.hook.name, hooked.trouble.as_ref()?)));
        let all: Vec<String> = self.fault.iter().cloned().chain(hooks).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn has_a_beat(&self) -> bool {
        true
    }
}

impl Hooked {
    fn new(hook: Hook) -> Self {
        Self {
            hook,
            urgent: Lane::default(),
            usual: Lane::default(),
            calling: None,
            minute: None,
            beyond: BTreeMap::new(),
            rest: FIRST_REST,
            not_before: None,
            trouble: None,
        }
    }

    fn take(&mut self, entry: &Fields, host: &str) {
        self.end_minute(Instant::now(), host);
        self.minute.get_or_insert_with(Instant::now);
        let count = entry.0.get("count").and_then(Value::as_u64).unwrap_or(1);
        let Lane { waiting, told } = self.lane_of(entry.weight());
        let (waiting, told) = (waiting.len(), *told);
        if told >= self.hook.per_minute || waiting >= WAITING {
            let beyond = self.beyond.entry(entry.text("event").to_owned()).or_default();
            *beyond = beyond.saturating_add(count);
            return;
        }
        let text = self.hook.template.fill(|name| match name {
            "host" => self.written(host),
            name => self.written(entry.text(name)),
        });
        let text = if count > 1 { format!("{text} ({count} times)") } else { text };
        let body = self.body(&text, host, Some(entry));
        let lane = self.lane_of(entry.weight());
        lane.told = lane.told.saturating_add(1);
        lane.waiting.push_back(body);
    }

    /// When the minute is over, what was beyond the rate is told as a number.
    fn end_minute(&mut self, now: Instant, host: &str) {
        if self.minute.is_none_or(|began| now.duration_since(began) < MINUTE) {
            return;
        }
        (self.minute, self.urgent.told, self.usual.told) = (None, 0, 0);
        if !self.beyond.is_empty() && self.usual.waiting.len() >= WAITING {
            self.minute = Some(now);
            return;
        }
        let beyond = std::mem::take(&mut self.beyond);
        if !beyond.is_empty() {
            let what: Vec<String> = beyond.iter().map(|(event, count)| format!("{count} {event}")).collect();
            let text = format!("on {}: {} more; see the audit log", self.written(host), what.join(", "));
            let body = self.body(&text, host, None);
            self.usual.waiting.push_back(body);
        }
    }

    fn lane_of(&mut self, weight: Weight) -> &mut Lane {
        match weight {
            Weight::Warning => &mut self.urgent,
            Weight::Notice | Weight::Info => &mut self.usual,
        }
    }

    /// What is to be told now, where none is and this webhook is not left alone.
    fn begin(&mut self, now: Instant) -> Option<String> {
        if self.calling.is_some() || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        let next = |weight| Some((weight, self.lane_of(weight).waiting.pop_front()?));
        self.calling = [Weight::Warning, Weight::Notice].into_iter().find_map(next);
        self.calling.as_ref().map(|(_, body)| body.clone())
    }

    /// A value as it stands in this webhook's text.
    fn written(&self, value: &str) -> String {
        match self.hook.shape {
            Shape::Json => value.to_owned(),
            Shape::Slack => value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        }
    }

    fn body(&self, text: &str, host: &str, entry: Option<&Fields>) -> String {
        let body = match (self.hook.shape, entry) {
            (Shape::Slack, _) => json!({"text": text}),
            (Shape::Json, Some(entry)) => json!({"text": text, "host": host, "entry": entry.0}),
            (Shape::Json, None) => json!({"text": text, "host": host}),
        };
        body.to_string()
    }

    /// What became of the call; says how many alerts are given up.
    fn after(&mut self, came: Came) -> u64 {
        let called = self.calling.take();
        let Err((why, is_given_up)) = came else {
            (self.rest, self.not_before, self.trouble) = (FIRST_REST, None, None);
            return 0;
        };
        if self.trouble.is_none() {
            tracing::warn!(webhook = self.hook.name, why, "an alert could not be told");
        }
        self.trouble = Some(why);
        self.not_before = Some(Instant::now() + self.rest);
        self.rest = (self.rest * 2).min(LONGEST_REST);
        match (is_given_up, called) {
            (IsGivenUp::No, Some((weight, body))) => {
                self.lane_of(weight).waiting.push_front(body);
                0
            }
            (IsGivenUp::No, None) => 0,
            (IsGivenUp::Yes, _) => 1,
        }
    }
}

/// What became of a call.
type Came = Result<(), (String, IsGivenUp)>;

/// Whether an alert is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IsGivenUp {
    Yes,
    No,
}

/// One call. What is said of a failure names the host at most: the rest of the address is a secret.
async fn call(hook: &Hook, certs: &[PathBuf], body: String) -> Came {
    let again = |why: String| (why, IsGivenUp::No);
    let mut tls = Tls::for_server(&authority(&hook.url), None, certs).map_err(|error| again(error.to_string()))?;
    tls.plain = if hook.url.scheme() == "http" { Plain::Allowed } else { Plain::Refused };
    let client = Client::new(&tls).map_err(|error| again(error.to_string()))?;
    let answer = client.post_json(&hook.url, HeaderMap::new(), body, BOUNDS).await.map_err(|error| again(error.to_string()))?;
    match answer.status {
        200..=299 => Ok(()),
        // What it will not take however often it is sent.
        status @ (400 | 413 | 422) => Err((format!("status {status}"), IsGivenUp::Yes)),
        status => Err(again(format!("status {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_clients_make_use_up_nothing_of_what_somebody_should_look_at() {
        let text = "[[webhook]]\nname = \"a\"\nurl = \"https://x.example/\"\nper_minute = 3\n";
        let mut hooked = Hooked::new(config::read(text, |_| Err(String::new())).unwrap().pop().unwrap());
        let entry = |event: &str| Fields::of(format!("{{\"event\":\"{event}\"}}").as_bytes());
        (0..100).for_each(|_| hooked.take(&entry("BLOCKED"), "host"));
        (0..100).for_each(|_| hooked.take(&entry("KILLED"), "host"));
        assert_eq!((hooked.usual.waiting.len(), hooked.urgent.waiting.len()), (3, 3));
        // It goes in front, and each has its rate; beyond it, both are numbers.
        for event in ["KILLED", "KILLED", "KILLED", "BLOCKED", "BLOCKED", "BLOCKED"] {
            assert!(hooked.begin(Instant::now()).unwrap().contains(event));
            assert_eq!(hooked.begin(Instant::now()), None, "one at a time");
            assert_eq!(hooked.after(Ok(())), 0);
        }
        assert_eq!(hooked.begin(Instant::now()), None);
        hooked.end_minute(Instant::now() + MINUTE, "host");
        hooked.take(&entry("KILLED"), "host");
        // One that failed is told again, after a while, before what came later.
        assert!(hooked.begin(Instant::now()).unwrap().contains("KILLED on"));
        assert_eq!(hooked.after(Err(("500".to_owned(), IsGivenUp::No))), 0);
        assert_eq!(hooked.begin(Instant::now()), None);
        let later = Instant::now() + MINUTE;
        assert!(hooked.begin(later).unwrap().contains("KILLED on"));
        assert_eq!(hooked.after(Err(("400".to_owned(), IsGivenUp::Yes))), 1);
        assert!(hooked.begin(later + MINUTE).unwrap().contains("97 BLOCKED, 97 KILLED"));
    }
}
