//! `alerts.toml`: who is alerted, of what, and in which words. A webhook's address is a secret as a whole: whoever knows it can write there.
//! So no fault quotes a value of this file, and nothing here prints an address.

use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::template::Template;
use crate::audit::Event;
use crate::net::Url;
use crate::text::fit;

/// Most webhooks. Stops a paste accident from asking the world.
const MAX_HOOKS: usize = 8;
/// Most alerts of one webhook a minute, unless the file says otherwise, and most that it may say.
const PER_MINUTE: u32 = 10;
const MAX_PER_MINUTE: u32 = 600;
/// What a refusal is called that was not carried out.
const WOULD_BLOCK: &str = "WOULD-BLOCK";
/// Events that are too many to alert of; sinks are for these.
const NEVER: [Event; 3] = [Event::Allowed, Event::Created, Event::Probe];
/// What is alerted of, unless the file says otherwise.
const USUAL: [Event; 8] =
    [Event::Blocked, Event::Mismatch, Event::Killed, Event::Gate, Event::Unapproved, Event::Stopped, Event::Removed, Event::Held];

/// Where Slack's own webhooks are.
const SLACK: &str = "hooks.slack.com";

/// What the body of a call looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `{"text": …, "host": …, "entry": {…}}`.
    Json,
    /// `{"text": …}`, with what Slack reads as markup escaped.
    Slack,
}

/// Somebody who is alerted.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) name: String,
    pub(super) url: Url,
    pub(super) shape: Shape,
    pub(super) template: Template,
    pub(super) per_minute: u32,
    events: Vec<&'static str>,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("name", &self.name).field("url", &"<redacted>").finish_non_exhaustive()
    }
}

impl Hook {
    /// Whether it wants to hear of such an entry.
    pub(super) fn wants(&self, event: &str, is_enforced: bool) -> bool {
        let event = if event == Event::Blocked.as_str() && !is_enforced { WOULD_BLOCK } else { event };
        self.events.contains(&event)
    }
}

/// Reads the file's text. `load` reads a file beside it that holds an address.
pub(super) fn read(text: &str, load: impl Fn(&Path) -> Result<String, String>) -> Result<Vec<Hook>, String> {
    // What the parser says of a fault may quote the line, which may hold an address: only its place is told.
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
        format!("line {line} is not TOML")
    })?;
    let table = table.get_ref();
    if let Some(key) = table.keys().find(|key| &**key.get_ref() != "webhook") {
        return Err(format!("`{}` is not a key; the file has `[[webhook]]` alone", fit(key.get_ref(), 40)));
    }
    let tables = match table.get("webhook").map(toml::Spanned::get_ref) {
        None => return Ok(Vec::new()),
        Some(DeValue::Array(tables)) if tables.len() <= MAX_HOOKS => tables,
        Some(DeValue::Array(_)) => return Err(format!("there are more than {MAX_HOOKS} webhooks")),
        Some(_) => return Err("`webhook` is not `[[webhook]]`".to_owned()),
    };
    let mut hooks: Vec<Hook> = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        let said = |why: String| format!("webhook {}: {why}", number + 1);
        let hook = hook(table.get_ref(), &load).map_err(said)?;
        if hooks.iter().any(|known| known.name == hook.name) {
            return Err(said("another has this `name`".to_owned()));
        }
        hooks.push(hook);
    }
    Ok(hooks)
}

fn hook(table: &DeValue<'_>, load: &impl Fn(&Path) -> Result<String, String>) -> Result<Hook, String> {
    const KEYS: [&str; 7] = ["name", "url", "url_file", "format", "template", "events", "per_minute"];
    let DeValue::Table(table) = table else { return Err("is not a table".to_owned()) };
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&&**key.get_ref())) {
        return Err(format!("`{}` is not a key; the keys are {}", fit(key.get_ref(), 40), KEYS.join(", ")));
    }
    let value = |key: &str| table.get(key).map(toml::Spanned::get_ref);
    let text = |key: &str| match value(key) {
        None => Ok(None),
        Some(DeValue::String(text)) => Ok(Some(&**text)),
        Some(_) => Err(format!("`{key}` is not a text")),
    };
    let name = text("name")?.ok_or("`name` is missing")?;
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if name.is_empty() || name.len() > 32 || !is_name(name) {
        return Err("`name` is not made of up to 32 of a-z, 0-9 and -".to_owned());
    }
    let written = match (text("url")?, text("url_file")?) {
        (Some(url), None) => url.to_owned(),
        (None, Some(file)) => load(Path::new(file))?,
        (Some(_), Some(_)) => return Err("`url` and `url_file` are both there".to_owned()),
        (None, None) => return Err("`url` or `url_file` is missing".to_owned()),
    };
    let url = address(written.trim())?;
    let shape = match text("format")? {
        // There, another body would be read for markup all the same.
        None if url.host_str() == Some(SLACK) => Shape::Slack,
        None | Some("json") => Shape::Json,
        Some("slack") => Shape::Slack,
        Some(_) => return Err("`format` is neither `json` nor `slack`".to_owned()),
    };
    let template = text("template")?.map_or_else(|| Ok(Template::default()), Template::read)?;
    let per_minute = match value("per_minute") {
        None => PER_MINUTE,
        Some(written) => {
            let DeValue::Integer(number) = written else { return Err("`per_minute` is not a number".to_owned()) };
            let number = (number.radix() == 10).then(|| number.as_str().parse::<u32>().ok()).flatten();
            number
                .filter(|number| (1..=MAX_PER_MINUTE).contains(number))
                .ok_or_else(|| format!("`per_minute` is not a number from 1 to {MAX_PER_MINUTE}"))?
        }
    };
    let events = match value("events") {
        None => USUAL.map(Event::as_str).to_vec(),
        Some(DeValue::Array(named)) => named.iter().map(|named| event(named.get_ref())).collect::<Result<_, _>>()?,
        Some(_) => return Err("`events` is not a list".to_owned()),
    };
    Ok(Hook { name: name.to_owned(), url, shape, template, per_minute, events })
}

fn event(named: &DeValue<'_>) -> Result<&'static str, String> {
    let may_be = || Event::ALL.into_iter().filter(|event| !NEVER.contains(event)).map(Event::as_str).chain([WOULD_BLOCK]);
    let is_named = |event: &&str| matches!(named, DeValue::String(named) if **named == **event);
    may_be().find(is_named).ok_or_else(|| format!("`events` has one that is none of {}", may_be().collect::<Vec<_>>().join(", ")))
}

/// An address: `https`, or this host itself.
fn address(written: &str) -> Result<Url, String> {
    let url = Url::parse(written).map_err(|_| "its address is not a URL".to_owned())?;
    let is_here = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => Err("its address has a user or a password".to_owned()),
        "https" if url.has_host() => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err("its address is neither https nor this host itself".to_owned()),
    }
}
