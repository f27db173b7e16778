//! A list that is read row by row as it comes, so that what it costs is a row and what is kept of each, however long it is; and one row that
//! cannot be read costs no other. Of a row that is too large its id is kept: clients decide how large it is.

use serde::de::DeserializeOwned;

/// Where in a row its id stands, bytes: before it the engine puts two numbers at most (moby, api/types: `Containers` and `Created` of an
/// image; of a container it is the first).
const HEAD: usize = 256;

/// A list, as far as it has come.
pub(super) struct Rows<T> {
    read: Vec<T>,
    unread: usize,
    /// The row that is under way.
    row: Vec<u8>,
    /// It is larger than may be, and is not kept.
    is_cut: bool,
    most: usize,
    /// Most rows that are kept.
    most_kept: usize,
    /// How many brackets are open: 0 outside of the list, 1 between two rows.
    depth: usize,
    text: Text,
    is_over: bool,
}

/// Where a byte stands as to texts, in which brackets mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

/// It is not a list of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoList;

impl<T: DeserializeOwned> Rows<T> {
    /// One whose rows are read up to so many bytes each, and so many of them. Of a larger row, and of one that is no `T`, `T` is made of the
    /// id alone. Those beyond, and those without an id, count as not read.
    pub(super) fn new(most: usize, most_kept: usize) -> Self {
        let (read, row, text) = (Vec::new(), Vec::new(), Text::Outside);
        Self { read, unread: 0, row, is_cut: false, most, most_kept, depth: 0, text, is_over: false }
    }

    /// Takes what has come.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), NoList> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            // A label may be a megabyte of text.
            let text = match self.text {
                Text::Inside => rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len()),
                Text::Outside | Text::Escaped => 0,
            };
            rest = if text > 0 {
                let (text, after) = rest.split_at(text);
                self.keep(text);
                after
            } else {
                self.take(byte)?;
                after
            };
        }
        Ok(())
    }

    /// What was read, and how many rows could not be.
    pub(super) fn end(self) -> Result<(Vec<T>, usize), NoList> {
        if self.is_over { Ok((self.read, self.unread)) } else { Err(NoList) }
    }

    fn take(&mut self, byte: u8) -> Result<(), NoList> {
        if self.depth <= 1 {
            match (byte, self.depth) {
                (b' ' | b'\t' | b'\r' | b'\n', _) | (b',', 1) => {}
                (b'[', 0) if !self.is_over => self.depth = 1,
                (b']', 1) => (self.depth, self.is_over) = (0, true),
                (b'{', 1) => {
                    self.depth = 2;
                    self.keep(&[byte]);
                }
                _ => return Err(NoList),
            }
            return Ok(());
        }
        self.keep(&[byte]);
        match (self.text, byte) {
            (Text::Escaped, _) => self.text = Text::Inside,
            (Text::Inside, b'\\') => self.text = Text::Escaped,
            (Text::Inside, b'"') => self.text = Text::Outside,
            (Text::Outside, b'"') => self.text = Text::Inside,
            (Text::Outside, b'{' | b'[') => self.depth += 1,
            (Text::Outside, b'}' | b']') => self.depth -= 1,
            (Text::Inside | Text::Outside, _) => {}
        }
        if self.depth == 1 {
            let whole = if self.is_cut { None } else { serde_json::from_slice(&self.row).ok() };
            let row = whole.or_else(|| serde_json::from_str(&id_alone(&self.row)?).ok());
            match row {
                Some(row) if self.read.len() < self.most_kept => self.read.push(row),
                Some(_) | None => self.unread += 1,
            }
            self.row.clear();
            self.is_cut = false;
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.most.saturating_sub(self.row.len());
        self.is_cut |= bytes.len() > room;
        self.row.extend(bytes.iter().take(room));
    }
}

/// A row with nothing but the id of this one. What a client decides stands behind the id; a quote in a text is escaped, so this is the
/// member and no text.
fn id_alone(row: &[u8]) -> Option<String> {
    const MEMBER: &[u8] = b"\"Id\":\"";
    let head = row.get(1..row.len().min(HEAD))?;
    let at = head.windows(MEMBER.len()).position(|part| part == MEMBER)?;
    let (before, behind) = head.split_at_checked(at)?;
    if before.iter().any(|byte| matches!(byte, b'{' | b'[')) {
        return None;
    }
    let id: String = behind.get(MEMBER.len()..)?.iter().take_while(|byte| **byte != b'"').map(|byte| char::from(*byte)).collect();
    let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b':');
    is_id.then(|| format!("{{\"Id\":\"{id}\"}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = std::collections::BTreeMap<String, u8>;

    fn rows(text: &str, most: usize, step: usize) -> Result<(Vec<Row>, usize), NoList> {
        let mut rows = Rows::new(most, 3);
        for part in text.as_bytes().chunks(step) {
            rows.feed(part)?;
        }
        rows.end()
    }

    #[test]
    fn rows_are_read_wherever_the_list_is_cut_and_one_that_cannot_be_read_costs_no_other() {
        let text = r#" [{"a":1}, {"b":"x"},{"c]}\"{":2} ,{"long":3,"e":1},{"d":[1,{}]},{"f":4}]
        "#;
        let whole = |letters: &[(&str, u8)]| -> Vec<Row> {
            letters.iter().map(|(letter, number)| Row::from([((*letter).to_owned(), *number)])).collect()
        };
        for step in [1, 2, 3, 7, 1000] {
            let expected = Ok((whole(&[("a", 1), ("c]}\"{", 2), ("f", 4)]), 3));
            assert_eq!(rows(text, 14, step), expected, "{step}");
        }
        assert_eq!(rows("[]", 9, 1), Ok((Vec::new(), 0)));
        let many = rows(r#"[{"a":1},{"a":2},{"a":3},{"a":4},{"a":5}]"#, 14, 7);
        assert_eq!(many, Ok((whole(&[("a", 1), ("a", 2), ("a", 3)]), 2)), "no more are kept than may be");
    }

    #[test]
    fn what_is_no_list_or_breaks_off_is_none() {
        for text in ["", "null", "{}", "[1]", "[\"a\"]", "[[]]", "[{}", "[{\"a]", "[]]", "[][]", "[}", "x[]", "[{}x]"] {
            assert_eq!(rows(text, 100, 1), Err(NoList), "{text}");
        }
    }
}
