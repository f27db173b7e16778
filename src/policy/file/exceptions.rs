//! `[[exception]]`: what passes for a time, and who answers for it.

use jiff::Timestamp;

use super::table::{Section, Value};
use crate::policy::fault::nearest;
use crate::policy::lifted::{Excepted, Exception, all_liftable, end, liftable};
use crate::text::{escaped, fit};

/// Most patterns, and most rules, of one.
const LISTED: usize = 256;
/// Longest name of an owner and of a ticket, and longest reason, in characters. They go into messages and the audit log.
const NAME_CHARS: usize = 80;
const REASON_CHARS: usize = 300;

/// Reads one.
pub(super) fn read(value: &Value<'_>) -> Option<Exception> {
    let section = value.section()?;
    let matched = section.get("match");
    let (digest, image_id) = (section.get("digest"), section.get("image_id"));
    let count = [&matched, &digest, &image_id].into_iter().flatten().count();
    if count != 1 {
        section.fault("is about one of `match`, `digest` and `image_id`");
    }
    let is_by_reference = matched.is_some();
    let of_patterns = matched.and_then(|value| {
        let patterns: Vec<_> = value.list_or_one(LISTED)?.iter().filter_map(Value::parsed).collect();
        (!patterns.is_empty()).then_some(Excepted::Repositories(patterns))
    });
    let of_digest = digest.and_then(|value| value.parsed().map(Excepted::Digest));
    let of_image_id = image_id.and_then(|value| value.parsed().map(Excepted::ImageId));
    let named = section.get("lift");
    let names_none = named.as_ref().is_none_or(Value::is_empty_list);
    let lift = named.and_then(|value| lift(&value));
    if is_by_reference && names_none {
        section.fault("lifts nothing: name the rules in `lift`");
    }
    let (owner, reason) = (text(&section, "owner", NAME_CHARS), text(&section, "reason", REASON_CHARS));
    let ticket = section.get("ticket").map(|value| words(&value, NAME_CHARS));
    let expires = section.required("expires").and_then(|value| moment(&value));
    let position = Some(section.position());
    section.finish();
    Some(Exception {
        of: of_patterns.or(of_digest).or(of_image_id)?,
        lift: lift.unwrap_or_default(),
        owner: owner?,
        reason: reason?,
        ticket: match ticket {
            Some(ticket) => Some(ticket?),
            None => None,
        },
        expires: expires?,
        position,
    })
}

/// The rules that are lifted, by their own names, each once.
fn lift(value: &Value<'_>) -> Option<Vec<&'static str>> {
    let mut lift = Vec::new();
    for value in value.list_or_one(LISTED)? {
        let Some(name) = value.text() else { continue };
        match liftable(name) {
            Some(rule) if lift.contains(&rule) => value.fault(format!("`{rule}` is there twice")),
            Some(rule) => lift.push(rule),
            None => {
                let hint = match nearest(name, all_liftable()) {
                    Some(meant) => format!("`{meant}` was meant?"),
                    None => format!("there are {}", all_liftable().collect::<Vec<_>>().join(", ")),
                };
                value.fault(format!("there is no rule `{}` that an exception may lift; {hint}", fit(name, 80)));
            }
        }
    }
    Some(lift)
}

fn text(section: &Section<'_>, key: &'static str, most: usize) -> Option<String> {
    section.required(key).and_then(|value| words(&value, most))
}

/// A text that people read in messages.
fn words(value: &Value<'_>, most: usize) -> Option<String> {
    let text = value.text()?.trim();
    if text.chars().count() > most || escaped(text) != text {
        value.fault(format!("is one line of at most {most} printable characters"));
        return None;
    }
    Some(text.to_owned())
}

/// A time; a date alone is the end of that day in UTC.
fn moment(value: &Value<'_>) -> Option<Timestamp> {
    let text = value.time_or_date()?;
    let found = end(&text);
    if found.is_none() {
        let shown = fit(&text, 40);
        value.fault(format!("`{shown}` is not a time such as 2026-12-04T18:00:00Z (with Z or an offset), nor a date"));
    }
    found
}
