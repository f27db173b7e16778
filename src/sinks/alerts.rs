//! Alerts: some entries, told to webhooks in words. Each webhook has its own rate: what is beyond is told as a number when the minute is over.
//! Each has a short queue, and rests after a failure, so that one that is away costs the others nothing.

mod config;
mod hooked;
mod template;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use self::config::Hook;
use self::hooked::{Came, Failed, Hooked};
use super::encode::Fields;
use super::{Failure, Place, Way, host_name};
use crate::files::read_secret;
use crate::net::{Bounds, Client, HeaderMap, Plain, Tls, authority};

/// What an answer may cost; nobody reads it.
const BOUNDS: Bounds = Bounds { bytes: 64 << 10, time: Duration::from_secs(10) };
/// Largest file read. Stops a wrong path from filling memory.
const FILE_BYTES: u64 = 256 << 10;
/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);
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
    /// Calls under way, by their webhook's name.
    calls: JoinSet<(String, Came)>,
    fault: Option<String>,
    looked: Option<Instant>,
    /// The text that the hooks were made of, with those of files it names.
    made_of: Option<Vec<String>>,
    /// Alerts that were given up, of those that have been counted as arrived.
    lost: u64,
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
                read_secret(&folder.join(path), FILE_BYTES).map_err(|error| format!("`url_file` cannot be read: {error}"))?;
            texts.borrow_mut().push(read.clone());
            Ok(read)
        };
        let made = match read_secret(&self.path, FILE_BYTES) {
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
                    self.are_now(hooks);
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

    /// Takes up other webhooks. What waits for one waits for the one of its name; what no name is left for is lost.
    fn are_now(&mut self, hooks: Vec<Hook>) {
        let mut before = std::mem::take(&mut self.hooks);
        for hook in hooks {
            let at = before.iter().position(|hooked| hooked.hook.name == hook.name);
            self.hooks.push(Hooked::new(hook, at.map(|at| before.swap_remove(at))));
        }
        let lost = before.iter().map(Hooked::waiting).fold(0, u64::saturating_add);
        if lost > 0 {
            tracing::warn!(alerts = lost, "alerts waited for webhooks that are no more: they are not told");
        }
        self.lost = self.lost.saturating_add(lost);
    }

    /// Sends what is due, a call at a time to each webhook, for as long as they answer. Who does not is waited for beside the others.
    fn tell(&mut self) {
        let end = Instant::now() + ROUND;
        while Instant::now() < end {
            self.call();
            let next = async { tokio::time::timeout(PATIENCE, self.calls.join_next()).await };
            let (name, came) = match self.workers.block_on(next) {
                Ok(Some(Ok(called))) => called,
                // One that met a fault of its own says nothing of itself; the others go on.
                Ok(Some(Err(_))) => continue,
                Ok(None) => {
                    self.end_calls();
                    break;
                }
                Err(_) => break,
            };
            self.after(&name, came);
        }
    }

    fn after(&mut self, name: &str, came: Came) {
        let lost = match self.hooks.iter_mut().find(|hooked| hooked.hook.name == name) {
            Some(hooked) => hooked.after(came, &self.host),
            // Nobody is there who would tell it again.
            None => u64::from(came.is_err()),
        };
        self.lost = self.lost.saturating_add(lost);
    }

    /// Begins a call to each webhook for which something is due.
    fn call(&mut self) {
        let now = Instant::now();
        for hooked in &mut self.hooks {
            hooked.end_minute(now, &self.host);
            let Some(body) = hooked.begin(now) else { continue };
            let (hook, certs) = (hooked.hook.clone(), self.certs.clone());
            self.calls.spawn_on(async move { (hook.name.clone(), call(&hook, &certs, body).await) }, &self.workers);
        }
    }

    /// No call is under way: what waits for one has none.
    fn end_calls(&mut self) {
        for hooked in self.hooks.iter_mut().filter(|hooked| hooked.is_calling()) {
            hooked.after(Err(("the call broke off".to_owned(), Failed::Away)), &self.host);
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

    fn finish(&mut self, until: Instant) {
        for hooked in &mut self.hooks {
            hooked.hurry(&self.host);
        }
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.call();
            let next = async { tokio::time::timeout(left, self.calls.join_next()).await };
            match self.workers.block_on(next) {
                Ok(Some(Ok((name, came)))) => self.after(&name, came),
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => break,
            }
        }
        let untold = self.hooks.iter().map(Hooked::waiting).fold(self.lost, u64::saturating_add);
        if untold > 0 {
            tracing::warn!(alerts = untold, "alerts were not told before the stop");
        }
    }
}

/// One call. What is said of a failure names the host at most: the rest of the address is a secret.
async fn call(hook: &Hook, certs: &[PathBuf], body: String) -> Came {
    let again = |why: String| (why, Failed::Away);
    let mut tls = Tls::for_server(&authority(&hook.url), None, certs).map_err(|error| again(error.to_string()))?;
    tls.plain = if hook.url.scheme() == "http" { Plain::Allowed } else { Plain::Refused };
    let client = Client::new(&tls).map_err(|error| again(error.to_string()))?;
    let answer = client.post_json(&hook.url, HeaderMap::new(), body, BOUNDS).await.map_err(|error| again(error.to_string()))?;
    let failed = match answer.status {
        200..=299 => return Ok(()),
        // What it will not take however often it is sent.
        400 | 413 | 422 => Failed::Refused,
        // Those are about who asks, or how busy it is, whatever is sent.
        401 | 407 | 408 | 429 | 502..=504 => Failed::Away,
        _ => Failed::Answered,
    };
    Err((format!("status {}", answer.status), failed))
}
