//! Tables of the policy file, read key by key: each value says what it should be, all that is wrong is collected, and what nobody asked
//! for is a fault with the key that was most likely meant.

use crate::order::sort_by_key;
use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::policy::fault::{PolicyFault, Position, nearest};
use crate::text::fit;

/// Most faults told of one file. A file of another kind has as many as lines.
const FAULTS: usize = 64;
/// Longest text that is taken for a value, bytes.
pub(super) const TEXT_BYTES: usize = 4096;
/// Longest piece of what was written that a fault repeats, in characters.
const SHOWN: usize = 80;
/// Most words that a fault lists where one of them is due. Stops a long list from pushing the one that was meant out of the message.
const CHOICES: usize = 12;

/// Longest period after which what verified is asked about again, hours: a year. Who wants it longer wants it never.
const RECHECK_MOST: u64 = 8760;

/// A file, and what was found wrong in it so far.
pub(super) struct Source {
    file: Arc<Path>,
    /// Where each line begins, bytes.
    lines: Vec<usize>,
    faults: RefCell<Vec<PolicyFault>>,
}

impl Source {
    pub(super) fn new(file: &Path, text: &str) -> Self {
        let begins = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { file: file.into(), lines: std::iter::once(0).chain(begins).collect(), faults: RefCell::default() }
    }

    pub(super) fn position(&self, at: usize) -> Position {
        Position { file: Arc::clone(&self.file), line: self.lines.partition_point(|begin| *begin <= at) }
    }

    pub(super) fn fault(&self, key: impl Into<String>, at: usize, message: impl Into<String>) {
        self.add(PolicyFault::of(key.into(), message).at(self.position(at)));
    }

    pub(super) fn add(&self, fault: PolicyFault) {
        let mut faults = self.faults.borrow_mut();
        if faults.len() < FAULTS {
            faults.push(fault);
        }
    }

    pub(super) fn into_faults(self) -> Vec<PolicyFault> {
        let mut faults = self.faults.into_inner();
        sort_by_key(&mut faults, |fault| fault.position.as_ref().map(|position| position.line));
        faults
    }

    /// How many faults were told so far.
    pub(super) fn told(&self) -> usize {
        self.faults.borrow().len()
    }

    /// The folder that paths are relative to.
    pub(super) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }
}

/// A table that is being read.
pub(super) struct Section<'s> {
    source: &'s Source,
    path: String,
    table: &'s DeTable<'s>,
    at: usize,
    asked: RefCell<Vec<&'static str>>,
}

/// A value, with its place.
#[derive(Clone)]
pub(super) struct Value<'s> {
    pub(super) source: &'s Source,
    /// The keys that lead to it: `verifiers.release.server`.
    pub(super) path: String,
    written: &'s Spanned<DeValue<'s>>,
}

impl<'s> Section<'s> {
    pub(super) fn new(source: &'s Source, path: String, table: &'s DeTable<'s>, span: &Range<usize>) -> Self {
        Self { source, path, table, at: span.start, asked: RefCell::default() }
    }

    pub(super) fn position(&self) -> Position {
        self.source.position(self.at)
    }

    pub(super) fn get(&self, key: &'static str) -> Option<Value<'s>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        drop(asked);
        self.entries().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// As [`Section::get`] of a key that has to be there.
    pub(super) fn required(&self, key: &'static str) -> Option<Value<'s>> {
        let found = self.get(key);
        if found.is_none() {
            self.source.fault(self.join(key), self.at, "is missing");
        }
        found
    }

    /// All that is in it, by key; nothing of it counts as asked for.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'s str, Value<'s>)> {
        let (source, path) = (self.source, self.path.clone());
        self.table.iter().map(move |(key, value)| {
            let key: &'s str = key.get_ref();
            (key, Value { source, path: join(&path, key), written: value })
        })
    }

    /// What nobody asked for is a fault.
    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        for (key, _) in self.table.iter().filter(|(key, _)| !asked.contains(&key.get_ref().as_ref())) {
            let meant = match nearest(key.get_ref(), asked.iter().copied()) {
                Some(meant) => format!("there is no such key; `{meant}` was meant?"),
                None => format!("there is no such key; there are {}", asked.join(", ")),
            };
            self.source.fault(self.join(key.get_ref()), key.span().start, meant);
        }
    }

    pub(super) fn fault(&self, message: impl Into<String>) {
        self.source.fault(self.path.clone(), self.at, message);
    }

    fn join(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

fn join(path: &str, key: &str) -> String {
    let key = fit(key, SHOWN);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

impl<'s> Value<'s> {
    pub(super) fn position(&self) -> Position {
        self.source.position(self.written.span().start)
    }

    pub(super) fn fault(&self, message: impl Into<String>) {
        self.source.fault(self.path.clone(), self.written.span().start, message);
    }

    /// What it is not, as a fault.
    pub(super) fn is_not<T>(&self, what: &str) -> Option<T> {
        self.fault(format!("is {} and should be {what}", of_type(self.written.get_ref())));
        None
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.written.get_ref(), DeValue::String(_))
    }

    pub(super) fn is_empty_list(&self) -> bool {
        matches!(self.written.get_ref(), DeValue::Array(values) if values.is_empty())
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.written.get_ref(), DeValue::Table(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.written.get_ref(), DeValue::Array(_))
    }

    pub(super) fn text(&self) -> Option<&'s str> {
        match self.written.get_ref() {
            DeValue::String(text) if text.len() > TEXT_BYTES => {
                self.fault(format!("is longer than {TEXT_BYTES} bytes"));
                None
            }
            DeValue::String(text) if text.trim().is_empty() => {
                self.fault("is empty");
                None
            }
            DeValue::String(text) => Some(text),
            _ => self.is_not("a text in quotes"),
        }
    }

    /// What a text reads as.
    pub(super) fn parsed<T: std::str::FromStr<Err: ToString>>(&self) -> Option<T> {
        let text = self.text()?;
        text.parse().map_err(|error: T::Err| self.fault(error.to_string())).ok()
    }

    /// A time, with or without quotes; a date alone is the beginning of that day in UTC.
    pub(super) fn time(&self) -> Option<jiff::Timestamp> {
        let text = self.time_or_date()?;
        let of_day = || {
            let date = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == "2026-11-30".len())?;
            Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        };
        let found = of_day().or_else(|| text.parse().ok());
        if found.is_none() {
            let shown = fit(&text, SHOWN);
            self.fault(format!("`{shown}` is not a time with its zone, such as 2026-11-30T12:00:00Z, nor a date"));
        }
        found
    }

    pub(super) fn truth(&self) -> Option<bool> {
        match self.written.get_ref() {
            DeValue::Boolean(truth) => Some(*truth),
            _ => self.is_not("true or false"),
        }
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names = choices.iter().take(CHOICES).map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
            let names = if choices.len() > CHOICES { names + " …" } else { names };
            let hint = nearest(text, choices.iter().map(|(name, _)| *name)).map(|meant| format!("; `{meant}` was meant?"));
            self.fault(format!("`{}` is not {names}{}", fit(text, SHOWN), hint.unwrap_or_default()));
        }
        found
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, unit: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let told = format!("a number of {unit} from {} to {}", bounds.start(), bounds.end());
        let DeValue::Integer(written) = self.written.get_ref() else { return self.is_not(&told) };
        let number = self.whole_number().filter(|number| bounds.contains(number));
        if number.is_none() {
            self.fault(format!("`{}` is not {told}", fit(&written.to_string(), SHOWN)));
        }
        number
    }

    /// `"never"`, or hours: when what verified is asked about again.
    pub(super) fn recheck(&self) -> Option<Duration> {
        if self.is_text() {
            return self.choice(&[("never", ())]).and(None);
        }
        self.number("hours", 1..=RECHECK_MOST).map(Duration::from_hours)
    }

    /// A time or a date as it is written, with or without quotes.
    pub(super) fn time_or_date(&self) -> Option<String> {
        match self.written.get_ref() {
            DeValue::Datetime(time) => Some(time.to_string()),
            DeValue::String(_) => self.text().map(|text| text.trim().to_owned()),
            _ => self.is_not("a time or a date"),
        }
    }

    /// A whole number that is not negative.
    pub(super) fn whole_number(&self) -> Option<u64> {
        let DeValue::Integer(number) = self.written.get_ref() else { return None };
        u64::from_str_radix(number.as_str(), number.radix()).ok()
    }

    /// The members of a list of at most so many.
    pub(super) fn list(&self, most: usize) -> Option<Vec<Value<'s>>> {
        let DeValue::Array(values) = self.written.get_ref() else { return self.is_not("a list") };
        if values.len() > most {
            self.fault(format!("has more than {most} entries"));
            return None;
        }
        let of = |(at, written)| Self { source: self.source, path: format!("{}[{at}]", self.path), written };
        Some(values.iter().enumerate().map(of).collect())
    }

    /// The members of a list, or the one value that stands in place of a list.
    pub(super) fn list_or_one(&self, most: usize) -> Option<Vec<Value<'s>>> {
        match self.written.get_ref() {
            DeValue::String(_) => Some(vec![self.clone()]),
            DeValue::Array(_) => self.list(most),
            _ => self.is_not("a text or a list of texts"),
        }
    }

    pub(super) fn section(&self) -> Option<Section<'s>> {
        match self.written.get_ref() {
            DeValue::Table(table) => Some(Section::new(self.source, self.path.clone(), table, &self.written.span())),
            _ => self.is_not("a table"),
        }
    }

    /// The table that it is, where it is one and `is_meant` as one.
    pub(super) fn section_of(&self, is_meant: impl FnOnce() -> bool) -> Option<Section<'s>> {
        (self.is_table() && is_meant()).then(|| self.section()).flatten()
    }

    /// A path: relative to the file's folder, which it does not leave, or absolute.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let path = Path::new(self.text()?);
        let is_odd = |part: Component<'_>| matches!(part, Component::ParentDir | Component::Prefix(_));
        if path.components().any(is_odd) {
            self.fault("leaves the folder of the policy (`..`); give an absolute path");
            return None;
        }
        Some(self.source.folder().join(path))
    }
}

fn of_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
