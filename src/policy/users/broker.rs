//! authz-broker's users file, as that broker reads it (2fa4df2), and stricter where it slips.
//!
//! A line is a JSON object or binds nobody. The first that lists a user decides. Its actions are patterns ([`Pattern`]), of which one
//! must fit the broker's own word for the call; for calls that it has no word for, that is the empty text. Where Go would make more of a
//! line than it says (an element that is no text becomes `""`, which fits everything; `"readonly": "true"` is `false`), the line allows
//! nothing here, and still decides for all that Go would take it to list: nothing behind it opens what it would have closed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::actions::{self, ActionSet};
use super::pattern::Pattern;
use super::{Group, Listed, Remark, Rights, bounded};
use crate::request::Action;
use crate::text::clean;

/// Largest file, in bytes; most lines that bind somebody; most patterns that differ. Stops another file from becoming the policy, and
/// patterns from costing seconds.
const FILE_BYTES: usize = 1 << 20;
const MAX_LINES: usize = 10_000;
const MAX_PATTERNS: usize = 500;

/// A line's members that count. `None`: absent.
#[derive(Default)]
struct Line {
    name: String,
    users: Vec<String>,
    /// Those of earlier lists of the same line. Where the later one is odd, Go keeps some of them.
    earlier: Vec<String>,
    actions: Vec<String>,
    readonly: bool,
    /// Why it allows nothing.
    fault: Option<String>,
    unknown: Option<String>,
}

/// What patterns stand for, each worked out and told of once.
#[derive(Default)]
struct Patterns(HashMap<String, ActionSet>);

pub(super) fn read(file: &str, bytes: &[u8]) -> Result<(Rights, Vec<Remark>), Remark> {
    let whole = |message: String| Remark { place: file.to_owned(), message };
    if bytes.len() > FILE_BYTES {
        return Err(whole(format!("larger than {FILE_BYTES} bytes")));
    }
    let (mut rights, mut remarks, mut patterns) = (Rights::default(), Vec::new(), Patterns::default());
    for (number, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let place = format!("{file}:{number}");
        let mut remark = |message: String| remarks.push(Remark { place: place.clone(), message });
        // As in Go, what is no text becomes U+FFFD; no caller has that in a name.
        let text = String::from_utf8_lossy(bytes);
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') || trimmed.starts_with("//") {
            continue;
        }
        if !is_json(&text) {
            remark("is not one JSON object on one line: it lists nobody".to_owned());
            continue;
        }
        // JSON that cannot be read: nobody can tell whom it lists.
        let line = line_of(&text).map_err(|why| Remark { place: place.clone(), message: why })?;
        let Some(line) = line else {
            remark("is not a JSON object: it lists nobody".to_owned());
            continue;
        };
        if rights.groups.len() >= MAX_LINES {
            return Err(whole(format!("more than {MAX_LINES} lines")));
        }
        if let Some(fault) = &line.fault {
            remark(format!("{fault}: the line allows nothing"));
        }
        if let Some(name) = &line.unknown {
            remark(format!("`{}` is not a member of a line (name, users, actions, readonly)", clean(name)));
        }
        let mut may = ActionSet::default();
        for written in line.actions.iter().filter(|_| line.fault.is_none()) {
            may = may.or(&patterns.actions(written, &mut remark));
        }
        if patterns.0.len() > MAX_PATTERNS {
            return Err(whole(format!("more than {MAX_PATTERNS} different patterns")));
        }
        let is_faulty = line.fault.is_some();
        let may = if line.readonly { may.and(&ActionSet::of(reads)) } else { may };
        let group = rights.push(Group {
            name: line.name,
            place: place.clone(),
            may,
            reads_only: line.readonly,
            scopes: None,
            exempt_from: Vec::new(),
            fault: line.fault,
        });
        if line.users.is_empty() {
            remark("lists no users".to_owned());
        }
        let earlier = line.earlier.into_iter().filter(|_| is_faulty);
        for user in line.users.into_iter().chain(earlier) {
            match user.as_str() {
                "*" => remark("users: `*` is not a wildcard: it is the user whose CN is `*`".to_owned()),
                super::LOCAL => {
                    remark("users: `local` is the user whose CN is `local`; calls without a certificate are \"\"".to_owned());
                }
                _ => {}
            }
            let told = clean(&user);
            let listed = if user.is_empty() { Listed::Local } else { Listed::Named(user) };
            if let Some(first) = rights.list(listed, group) {
                remark(format!("users: \"{told}\" is in {} already, which decides; this line does not", rights.told(first)));
            }
        }
    }
    if rights.local.is_none() {
        let message = "no line lists the user \"\": calls on the local socket are refused, those of root too".to_owned();
        remarks.insert(0, Remark { place: file.to_owned(), message });
    }
    Ok((rights, bounded(remarks)))
}

/// What a read-only line may do: what is a GET and reads. Attaching to a websocket is a GET that does not.
fn reads(action: Action) -> bool {
    action.method() == "GET" && action.reads()
}

impl Patterns {
    /// What a pattern lets be done.
    fn actions(&mut self, written: &str, remark: &mut impl FnMut(String)) -> ActionSet {
        if let Some(known) = self.0.get(written) {
            return *known;
        }
        let shown = clean(written);
        let found = Pattern::read(written).map(|pattern| fitting(&pattern));
        let actions = found.unwrap_or_default();
        match found {
            Err(why) => {
                let hint = if written == "*" { "; `.*` is meant" } else { "" };
                remark(format!("actions: `{shown}` fits nothing: {why}{hint}"));
            }
            Ok(_) if actions.is_empty() => {
                let hint = actions::nearest(written).map(|name| format!("; is `{name}` meant?")).unwrap_or_default();
                remark(format!("actions: `{shown}` fits no action{hint}"));
            }
            Ok(_) => {
                // A name that is the beginning of others: `container_archive` is also `container_archive_extract`, which writes.
                let other = Action::all().find(|action| actions.contains(*action) && action.name() != written);
                if let (Some(_), Some(other)) = (Action::named(written), other) {
                    remark(format!("actions: `{shown}` also fits {}; is `^{shown}$` meant?", other.name()));
                }
            }
        }
        self.0.insert(written.to_owned(), actions);
        actions
    }
}

/// The actions that a pattern fits.
fn fitting(pattern: &Pattern) -> ActionSet {
    let fits_empty = pattern.fits("");
    // A pattern that fits none of the broker's names is written for this gate: it may fit names that the broker has not.
    let is_ours = !fits_empty && !Action::all().any(|action| action.has_broker_name() && pattern.fits(action.name()));
    ActionSet::of(|action| match action.broker_word() {
        "" if is_ours => !action.has_broker_name() && !action.is_unknown() && pattern.fits(action.name()),
        "" => fits_empty,
        word => pattern.fits(word),
    })
}

/// Whether Go takes it for JSON. Texts are not looked into, and numbers not worked out: what Go takes, this takes.
fn is_json(text: &str) -> bool {
    serde_json::from_slice::<IgnoredAny>(text.as_bytes()).is_ok()
}

/// The line of a text that is JSON; `None` where it is no object.
fn line_of(text: &str) -> Result<Option<Line>, String> {
    if !text.trim_start().starts_with('{') {
        return Ok(None);
    }
    let text = without_halves(text);
    let mut reader = serde_json::Deserializer::from_str(&text);
    reader.deserialize_map(Members).map(Some).map_err(|error| format!("cannot be read: {error}"))
}

/// Halves of surrogate pairs that stand alone in escapes become U+FFFD, as in Go.
fn without_halves(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let code = |rest: &str| rest.strip_prefix("\\u").and_then(|rest| u32::from_str_radix(rest.get(..4)?, 16).ok());
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        let behind = escape.get(6..).unwrap_or_default();
        let length = match code(escape) {
            Some(0xd800..=0xdbff) if matches!(code(behind), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                out.push_str("\\ufffd");
                rest = behind;
                continue;
            }
            Some(_) => 6,
            None => 2,
        };
        let (escape, behind) = escape.split_at_checked(length).unwrap_or((escape, ""));
        out.push_str(escape);
        rest = behind;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A value of a member that counts, or of a list in it.
enum Value {
    Null,
    Bool(bool),
    Text(String),
    List(Vec<Value>),
    Other,
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Line, A::Error> {
        let mut line = Line::default();
        while let Some(name) = members.next_key::<String>()? {
            // Go folds the case of names: U+017F is an `s`.
            let folded: String = name.chars().map(|c| if c == '\u{17f}' { 's' } else { c.to_ascii_lowercase() }).collect();
            if !matches!(folded.as_str(), "name" | "users" | "actions" | "readonly") {
                members.next_value::<IgnoredAny>()?;
                line.unknown.get_or_insert(name);
                continue;
            }
            // The later of two counts. To Go, `null` is an empty list, and changes nothing else.
            match (folded.as_str(), members.next_value::<Value>()?) {
                ("users", Value::List(values)) => {
                    let texts = line.texts("users", values);
                    line.earlier.append(&mut std::mem::replace(&mut line.users, texts));
                }
                ("users", Value::Null) => line.users.clear(),
                ("actions", Value::List(values)) => line.actions = line.texts("actions", values),
                ("actions", Value::Null) => line.actions.clear(),
                ("readonly", Value::Bool(value)) => line.readonly = value,
                ("readonly", Value::Null) => {}
                ("readonly", _) => line.fault("readonly is neither true nor false"),
                ("name", Value::Text(value)) => line.name = value,
                ("name", _) => {}
                (list, _) => line.fault(&format!("{list} is not a list")),
            }
        }
        Ok(line)
    }
}

impl Line {
    fn fault(&mut self, fault: &str) {
        self.fault.get_or_insert(fault.to_owned());
    }

    /// The texts of a list. What is none becomes `""` in Go, which is a caller, and fits every action.
    fn texts(&mut self, list: &str, values: Vec<Value>) -> Vec<String> {
        let text = |value: Value| if let Value::Text(text) = value { Some(text) } else { None };
        let texts: Vec<Option<String>> = values.into_iter().map(text).collect();
        if texts.contains(&None) {
            self.fault(&format!("{list} has something that is not text"));
        }
        texts.into_iter().map(Option::unwrap_or_default).collect()
    }
}

impl<'de> serde::Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Value::List(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
