//! What commands print: tables for people, JSON for programs, questions only on a terminal.
//!
//! Answers go to stdout; notes, faults and questions to stderr, so that `--json` stays clean.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::text::clean;

/// A colour of the terminal (SGR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    /// As the terminal has it.
    None,
    /// Good news.
    Green,
    /// Worth a look.
    Yellow,
    /// Bad news.
    Red,
}

/// One cell of a table.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    colour: Colour,
}

/// A table with a head line. Cells hold foreign text: it is escaped here.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    heads: [&'static str; N],
    rows: Vec<[Cell; N]>,
}

/// What a question was answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// Yes, or `--yes`.
    Given,
    /// Anything else.
    Refused,
    /// There is nobody to ask.
    NobodyThere,
}

impl Cell {
    /// A cell in a colour.
    pub(super) fn new(text: impl AsRef<str>, colour: Colour) -> Self {
        Self { text: clean(text.as_ref()), colour }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Colour::None)
    }
}

impl<const N: usize> Table<N> {
    /// A table with these heads and no rows.
    pub(super) const fn new(heads: [&'static str; N]) -> Self {
        Self { heads, rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// Prints it, in colour where stdout is a terminal and `NO_COLOR` is not set.
    pub(super) fn print(&self) {
        print(&self.to_text());
    }

    /// What [`Table::print`] prints.
    pub(super) fn to_text(&self) -> String {
        self.text(is_coloured())
    }

    /// The table as text: columns as wide as their widest cell, nothing behind the last one.
    pub(super) fn text(&self, coloured: bool) -> String {
        let mut widths = self.heads.map(str::len);
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut text = String::new();
        let heads = self.heads.map(Cell::from);
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                let pad = width.saturating_sub(cell.text.chars().count());
                match (coloured, cell.colour.code()) {
                    (true, Some(code)) => line.extend(["\u{1b}[", code, "m", &cell.text, "\u{1b}[0m"]),
                    (_, _) => line.push_str(&cell.text),
                }
                line.push_str(&" ".repeat(pad + 2));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

impl Colour {
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Green => Some("32"),
            Self::Yellow => Some("33"),
            Self::Red => Some("31"),
        }
    }
}

/// Whether stdout takes colours: a terminal, and the user did not say no (<https://no-color.org>).
pub(super) fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Text in a colour, where stdout takes colours. The text is ours, or clean.
pub(super) fn paint(text: &str, colour: Colour) -> String {
    match colour.code() {
        Some(code) if is_coloured() => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        Some(_) | None => text.to_owned(),
    }
}

/// Text to stdout. A reader that went away (`| head`) is no fault of ours.
pub(super) fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// A line to stdout.
pub(super) fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// A value as JSON, to stdout.
pub(super) fn json(value: &impl Serialize) {
    // The values that commands print have no maps with keys that are no text, so they serialise.
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A line beside the answer, to stderr.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// What went wrong, to stderr.
pub(super) fn fault(text: &str) {
    note(&format!("img-authz: {text}"));
}

/// A word about long work, where somebody watches.
pub(super) fn progress(text: &str) {
    if io::stderr().is_terminal() {
        note(text);
    }
}

/// Asks on the terminal. `yes`: `--yes` was given, and nothing is asked.
pub(super) fn ask(question: &str, yes: bool) -> Consent {
    if yes {
        return Consent::Given;
    }
    if !io::stdin().is_terminal() {
        return Consent::NobodyThere;
    }
    let _ = write!(io::stderr().lock(), "{question} [y/N] ");
    let mut answer = String::new();
    match io::stdin().lock().read_line(&mut answer) {
        Ok(_) if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") => Consent::Given,
        Ok(_) | Err(_) => Consent::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<3> {
        let mut table = Table::new(["STATUS", "REFERENCE", "REASON"]);
        table.row([Cell::new("added", Colour::Green), "a:1".into(), "".into()]);
        table.row(["kept".into(), "registry.example/team/app:1.0".into(), "line\nbreak \u{1b}[31mred".into()]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_foreign_text_is_escaped() {
        let expected = "STATUS  REFERENCE                      REASON\n\
                        added   a:1\n\
                        kept    registry.example/team/app:1.0  line\\nbreak \\u{1b}[31mred\n";
        assert_eq!(table().text(false), expected);
    }

    #[test]
    fn colour_changes_nothing_but_the_colour() {
        let text = table().text(true);
        assert!(text.contains("\u{1b}[32madded\u{1b}[0m   a:1"));
        assert_eq!(text.replace("\u{1b}[32m", "").replace("\u{1b}[0m", ""), table().text(false));
    }
}
