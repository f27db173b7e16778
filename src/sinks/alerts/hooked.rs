//! One webhook, and what waits for it: lanes with a rate each, a rest after a failure, and what becomes of an alert that it does not take.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::config::{Hook, Shape};
use crate::sinks::encode::Fields;

/// Most alerts that wait for one webhook. Stops one that is away from filling memory; what is beyond is told as a number.
const WAITING: usize = 64;
/// How long a webhook is left alone after a failure, at first, and at most.
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_mins(5);
/// How often an alert is told in its own words to a webhook that answers with a status that may be about them. Stops one, in which a client has
/// written what a firewall on the way does not like, from stopping all behind it.
const TRIES: u32 = 5;
const MINUTE: Duration = Duration::from_mins(1);
/// What somebody should look at, each with a lane of its own, in the order in which they are told. Clients can bring about the last ones at will: they
/// use up nothing of the others.
const URGENT: [&str; 6] = ["KILLED", "UNAPPROVED", "STOPPED", "REMOVED", "HELD", "MISMATCH"];

/// What became of a call; of a failure, why.
pub(super) type Came = Result<(), (String, Failed)>;

/// Why an alert was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// It never will be.
    Refused,
    /// There was an answer: it may be about this alert.
    Answered,
    /// It may be, later.
    Away,
}

/// What waits for a webhook, with a rate of its own.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Alert>,
    /// Alerts since the minute began.
    told: u32,
}

/// Something to be told.
struct Alert {
    event: String,
    body: String,
    /// How often it was answered with a status that may be about its words.
    tries: u32,
    /// The words are the gate's, none of a client's.
    is_plain: bool,
}

/// A webhook, and what waits for it.
pub(super) struct Hooked {
    pub(super) hook: Hook,
    /// What is [`URGENT`], in that order; then the rest, which clients can make as much of as they like.
    lanes: [Lane; URGENT.len() + 1],
    /// What is being told.
    calling: Option<Alert>,
    /// When the minute began, and what was beyond the rate, by event.
    minute: Option<Instant>,
    beyond: BTreeMap<String, u64>,
    rest: Duration,
    not_before: Option<Instant>,
    /// It took plain words where it had not taken an alert's own.
    is_choosy: bool,
    pub(super) trouble: Option<String>,
}

impl Hooked {
    /// One with nothing to tell but what waited for the one of its name before.
    pub(super) fn new(hook: Hook, before: Option<Self>) -> Self {
        let mut hooked = Self {
            hook,
            lanes: Default::default(),
            calling: None,
            minute: None,
            beyond: BTreeMap::new(),
            rest: FIRST_REST,
            not_before: None,
            is_choosy: false,
            trouble: None,
        };
        if let Some(Self { hook, lanes, calling, minute, beyond, .. }) = before {
            let is_reshaped = hook.shape != hooked.hook.shape;
            (hooked.lanes, hooked.calling, hooked.minute, hooked.beyond) = (lanes, calling, minute, beyond);
            let Self { lanes, calling, hook, .. } = &mut hooked;
            for alert in lanes.iter_mut().flat_map(|lane| &mut lane.waiting).chain(calling) {
                alert.tries = 0;
                if is_reshaped {
                    alert.body = reshaped(&alert.body, hook.shape);
                }
            }
        }
        hooked
    }

    pub(super) fn take(&mut self, entry: &Fields, host: &str) {
        self.end_minute(Instant::now(), host);
        self.minute.get_or_insert_with(Instant::now);
        let count = entry.0.get("count").and_then(Value::as_u64).unwrap_or(1);
        let per_minute = self.hook.per_minute;
        let lane = self.lane_of(entry.text("event"));
        if lane.told >= per_minute || lane.waiting.len() >= WAITING {
            let beyond = self.beyond.entry(entry.text("event").to_owned()).or_default();
            *beyond = beyond.saturating_add(count);
            return;
        }
        let shape = self.hook.shape;
        let text = self.hook.template.fill(|name| match name {
            "host" => written(shape, host),
            name => written(shape, entry.text(name)),
        });
        let text = if count > 1 { format!("{text} ({count} times)") } else { text };
        let body = match shape {
            Shape::Slack => json!({"text": text}),
            Shape::Json => json!({"text": text, "host": host, "entry": entry.0}),
        };
        let alert = Alert { event: entry.text("event").to_owned(), body: body.to_string(), tries: 0, is_plain: false };
        let lane = self.lane_of(entry.text("event"));
        lane.told = lane.told.saturating_add(1);
        lane.waiting.push_back(alert);
    }

    /// When the minute is over, what was beyond the rate is told as a number.
    pub(super) fn end_minute(&mut self, now: Instant, host: &str) {
        if self.minute.is_none_or(|began| now.duration_since(began) < MINUTE) {
            return;
        }
        self.minute = None;
        self.lanes.iter_mut().for_each(|lane| lane.told = 0);
        if !self.beyond.is_empty() && self.lane_of("").waiting.len() >= WAITING {
            self.minute = Some(now);
            return;
        }
        let beyond = std::mem::take(&mut self.beyond);
        if !beyond.is_empty() {
            let what: Vec<String> = beyond.iter().map(|(event, count)| format!("{count} {event}")).collect();
            let alert = self.plain("", host, &format!("{} more; see the audit log", what.join(", ")));
            self.lane_of("").waiting.push_back(alert);
        }
    }

    /// The gate stops: nothing is waited for any more.
    pub(super) fn hurry(&mut self, host: &str) {
        if self.minute.is_some() {
            self.end_minute(Instant::now() + MINUTE, host);
        }
        self.not_before = None;
    }

    /// What is to be told now, where none is and this webhook is not left alone.
    pub(super) fn begin(&mut self, now: Instant) -> Option<String> {
        if self.calling.is_some() || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        self.calling = self.lanes.iter_mut().find_map(|lane| lane.waiting.pop_front());
        self.calling.as_ref().map(|alert| alert.body.clone())
    }

    pub(super) const fn is_calling(&self) -> bool {
        self.calling.is_some()
    }

    /// How many are not told yet.
    pub(super) fn waiting(&self) -> u64 {
        let waiting: usize = self.lanes.iter().map(|lane| lane.waiting.len()).sum();
        self.beyond.values().fold(waiting as u64, |sum, count| sum.saturating_add(*count))
    }

    /// What became of the call; says how many alerts are given up.
    pub(super) fn after(&mut self, came: Came, host: &str) -> u64 {
        let called = self.calling.take();
        let Err((why, failed)) = came else {
            (self.rest, self.not_before, self.trouble) = (FIRST_REST, None, None);
            self.is_choosy |= called.is_some_and(|alert| alert.tries > 0 && alert.is_plain);
            return 0;
        };
        if self.trouble.is_none() {
            tracing::warn!(webhook = self.hook.name, why, "an alert could not be told");
        }
        self.not_before = Some(Instant::now() + self.rest);
        self.rest = (self.rest * 2).min(LONGEST_REST);
        let given_up = match (failed, called) {
            (_, None) => 0,
            // It answers: what is behind it is not left waiting.
            (Failed::Refused, Some(_)) => {
                self.rest = FIRST_REST;
                1
            }
            (Failed::Answered, Some(mut alert)) => {
                alert.tries = alert.tries.saturating_add(1);
                if alert.is_plain {
                    self.is_choosy = false;
                } else if self.is_choosy || alert.tries >= TRIES {
                    let told = format!("an alert of {} was not taken in its own words ({why}); see the audit log", alert.event);
                    alert = Alert { tries: alert.tries, ..self.plain(&alert.event, host, &told) };
                    self.not_before = None;
                }
                self.lane_of(&alert.event).waiting.push_front(alert);
                0
            }
            (Failed::Away, Some(alert)) => {
                self.lane_of(&alert.event).waiting.push_front(alert);
                0
            }
        };
        self.trouble = Some(why);
        given_up
    }

    fn lane_of(&mut self, event: &str) -> &mut Lane {
        let [urgent @ .., usual] = &mut self.lanes;
        URGENT.iter().zip(urgent).find(|(name, _)| **name == event).map_or(usual, |(_, lane)| lane)
    }

    /// An alert in words of the gate's.
    fn plain(&self, event: &str, host: &str, told: &str) -> Alert {
        let text = format!("on {}: {told}", written(self.hook.shape, host));
        let body = match self.hook.shape {
            Shape::Slack => json!({"text": text}),
            Shape::Json => json!({"text": text, "host": host}),
        };
        Alert { event: event.to_owned(), body: body.to_string(), tries: 0, is_plain: true }
    }
}

/// A value as it stands in a text of this shape: what Slack reads as a call or a link (`<!channel>`, `<https://…|text>`) is no more than text there.
fn written(shape: Shape, value: &str) -> String {
    match shape {
        Shape::Json => value.to_owned(),
        Shape::Slack => value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
    }
}

/// A body that was made for a webhook of the other shape: its text.
fn reshaped(body: &str, shape: Shape) -> String {
    let body: Value = serde_json::from_slice(body.as_bytes()).unwrap_or_default();
    let text = body.get("text").and_then(Value::as_str).unwrap_or_default();
    json!({"text": written(shape, text)}).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::config;
    use super::*;

    fn hook(more: &str) -> Hook {
        let text = format!("[[webhook]]\nname = \"a\"\nurl = \"https://x.example/\"\n{more}");
        config::read(&text, |_| Err(String::new())).unwrap().pop().unwrap()
    }

    fn entry(event: &str, message: &str) -> Fields {
        Fields::of(json!({"event": event, "message": message}).to_string().as_bytes())
    }

    fn failed(failed: Failed) -> Came {
        Err(("403".to_owned(), failed))
    }

    #[test]
    fn refusals_that_clients_make_use_up_nothing_of_what_somebody_should_look_at() {
        let mut hooked = Hooked::new(hook("per_minute = 3"), None);
        (0..100).for_each(|_| hooked.take(&entry("BLOCKED", ""), "host"));
        (0..100).for_each(|_| hooked.take(&entry("KILLED", ""), "host"));
        assert_eq!((hooked.lane_of("BLOCKED").waiting.len(), hooked.lane_of("KILLED").waiting.len()), (3, 3));
        // It goes in front, and each has its rate; beyond it, both are numbers.
        for event in ["KILLED", "KILLED", "KILLED", "BLOCKED", "BLOCKED", "BLOCKED"] {
            assert!(hooked.begin(Instant::now()).unwrap().contains(event));
            assert_eq!(hooked.begin(Instant::now()), None, "one at a time");
            assert_eq!(hooked.after(Ok(()), "host"), 0);
        }
        assert_eq!(hooked.begin(Instant::now()), None);
        hooked.end_minute(Instant::now() + MINUTE, "host");
        hooked.take(&entry("KILLED", ""), "host");
        // One that failed is told again, after a while, before what came later.
        assert!(hooked.begin(Instant::now()).unwrap().contains("KILLED on"));
        assert_eq!(hooked.after(failed(Failed::Away), "host"), 0);
        assert_eq!(hooked.begin(Instant::now()), None);
        let later = Instant::now() + MINUTE;
        assert!(hooked.begin(later).unwrap().contains("KILLED on"));
        assert_eq!(hooked.after(failed(Failed::Refused), "host"), 1);
        assert!(hooked.begin(later + MINUTE).unwrap().contains("97 BLOCKED, 97 KILLED"));
    }

    #[test]
    fn a_flood_of_one_event_hides_no_other() {
        let mut hooked = Hooked::new(hook("per_minute = 3"), None);
        (0..100).for_each(|_| hooked.take(&entry("MISMATCH", ""), "host"));
        (0..100).for_each(|_| hooked.take(&entry("UNAPPROVED", ""), "host"));
        hooked.take(&entry("KILLED", "that one"), "host");
        let mut told = Vec::new();
        while let Some(alert) = hooked.begin(Instant::now()) {
            told.push(URGENT.into_iter().find(|event| alert.contains(event)).unwrap());
            hooked.after(Ok(()), "host");
        }
        assert_eq!(told, ["KILLED", "UNAPPROVED", "UNAPPROVED", "UNAPPROVED", "MISMATCH", "MISMATCH", "MISMATCH"]);
    }

    /// A client writes what a firewall before the webhook does not like.
    #[test]
    fn an_alert_that_is_not_taken_in_its_own_words_is_told_in_others_and_stops_none() {
        let mut hooked = Hooked::new(hook(""), None);
        hooked.take(&entry("BLOCKED", "<script>"), "host");
        let mut at = Instant::now();
        for _ in 0..TRIES {
            assert!(hooked.begin(at).unwrap().contains("<script>"));
            assert_eq!(hooked.after(failed(Failed::Answered), "host"), 0);
            at += LONGEST_REST;
        }
        let told = hooked.begin(Instant::now()).unwrap();
        assert!(told.contains("on host: an alert of BLOCKED was not taken in its own words (403)") && !told.contains("script"));
        assert_eq!(hooked.after(Ok(()), "host"), 0);
        // It is known now: the next waits for nothing.
        hooked.take(&entry("BLOCKED", "<script>"), "host");
        hooked.take(&entry("KILLED", "x"), "host");
        assert!(hooked.begin(Instant::now()).unwrap().contains("KILLED on"));
        hooked.after(Ok(()), "host");
        assert!(hooked.begin(Instant::now()).unwrap().contains("<script>"));
        hooked.after(failed(Failed::Answered), "host");
        assert!(hooked.begin(Instant::now()).unwrap().contains("in its own words"));
        // One that is away is told all in its own words, however long it takes.
        hooked.after(Ok(()), "host");
        hooked.take(&entry("BLOCKED", "<script>"), "host");
        for _ in 0..2 * TRIES {
            assert!(hooked.begin(at).unwrap().contains("<script>"));
            hooked.after(failed(Failed::Away), "host");
            at += LONGEST_REST;
        }
    }

    #[test]
    fn what_waits_for_a_webhook_waits_for_the_next_of_its_name() {
        let mut hooked = Hooked::new(hook("per_minute = 3"), None);
        (0..4).for_each(|number| hooked.take(&entry("BLOCKED", &format!("<!channel> {number}")), "host"));
        assert!(hooked.begin(Instant::now()).unwrap().contains("<!channel> 0"));
        let mut next = Hooked::new(hook("format = \"slack\""), Some(hooked));
        // The call is still under way; it fails, and is made again, at the other address.
        assert!(next.is_calling() && next.begin(Instant::now()).is_none() && next.waiting() == 3);
        next.after(failed(Failed::Away), "host");
        next.hurry("host");
        for number in 0..3 {
            let body = next.begin(Instant::now()).unwrap();
            assert!(body.contains(&format!("&lt;!channel&gt; {number}")) && !body.contains("entry"), "{body}");
            next.after(Ok(()), "host");
        }
        assert!(next.begin(Instant::now()).unwrap().contains("on host: 1 BLOCKED more"));
    }

    #[test]
    fn foreign_text_calls_nobody_and_links_nowhere_in_slack() {
        let mut hooked = Hooked::new(hook("format = \"slack\"\ntemplate = \"{event} {message} {host}\""), None);
        hooked.take(&entry("BLOCKED", "<!channel> <@U1> <https://x.example|ok> &lt;"), "<!here>");
        assert_eq!(
            hooked.begin(Instant::now()).unwrap(),
            r#"{"text":"BLOCKED &lt;!channel&gt; &lt;@U1&gt; &lt;https://x.example|ok&gt; &amp;lt; &lt;!here&gt;"}"#
        );
        // At Slack's own address that is so unless the file says otherwise.
        for (host, expected) in [("hooks.slack.com", Shape::Slack), ("hooks.slack.com.example", Shape::Json)] {
            let text = format!("[[webhook]]\nname = \"a\"\nurl = \"https://{host}/x\"\n");
            assert_eq!(config::read(&text, |_| Err(String::new())).unwrap().pop().unwrap().shape, expected);
        }
    }
}
