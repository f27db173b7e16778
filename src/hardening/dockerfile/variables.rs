//! `$NAME` and its like in instructions: what ARG and ENV say. What is given only at the build, or by the base, is not known here.

use std::cell::Cell;
use std::collections::BTreeMap;

/// Most bytes that variables are filled in with, all together. Stops variables of variables from growing without end.
const BUDGET: usize = 1 << 20;
/// Names in names in names: `${A:-${B:-…}}`.
const DEPTH: usize = 8;

/// What is known of variables.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    /// `None`: declared, and given at the build.
    known: BTreeMap<String, Option<String>>,
    spent: Cell<usize>,
}

impl Variables {
    pub(super) fn set(&mut self, name: &str, value: Option<String>) {
        self.known.insert(name.to_owned(), value);
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.known.get(name)?.as_deref()
    }

    /// A word without its quotes and with its variables filled in; `None` where one is not known.
    pub(super) fn fill(&self, word: &str, escape: char) -> Option<String> {
        let chars: Vec<char> = word.chars().collect();
        let filled = self.filled(&chars, escape, 0)?;
        let spent = self.spent.get().saturating_add(filled.len());
        self.spent.set(spent);
        (spent <= BUDGET).then_some(filled)
    }

    fn filled(&self, chars: &[char], escape: char, depth: usize) -> Option<String> {
        let (mut out, mut here, mut quote) = (String::new(), 0, None);
        while let Some(char) = chars.get(here).copied() {
            here += 1;
            match (char, quote) {
                ('\'', Some('\'')) => quote = None,
                (_, Some('\'')) => out.push(char),
                ('\'', None) => quote = Some('\''),
                ('"', Some('"')) => quote = None,
                ('"', None) => quote = Some('"'),
                (_, _) if char == escape => {
                    out.extend(chars.get(here));
                    here += 1;
                }
                ('$', _) => out.push_str(&self.variable(chars, &mut here, escape, depth)?),
                (_, _) => out.push(char),
            }
            if out.len() > BUDGET {
                return None;
            }
        }
        Some(out)
    }

    /// What stands behind `$`.
    fn variable(&self, chars: &[char], here: &mut usize, escape: char, depth: usize) -> Option<String> {
        let is_name = |char: &&char| char.is_ascii_alphanumeric() || **char == '_';
        let name_at = |at: usize| chars.iter().skip(at).take_while(is_name).collect::<String>();
        if chars.get(*here) != Some(&'{') {
            let name = name_at(*here);
            *here += name.len();
            return if name.is_empty() { Some("$".to_owned()) } else { self.get(&name).map(str::to_owned) };
        }
        let name = name_at(*here + 1);
        let rest = *here + 1 + name.len();
        // The brace that closes this one.
        let mut open = 1_usize;
        let length = chars.iter().skip(rest).position(|char| {
            open = match char {
                '{' => open + 1,
                '}' => open - 1,
                _ => open,
            };
            open == 0
        })?;
        *here = rest + length + 1;
        let modifier: Vec<char> = chars.iter().skip(rest).take(length).copied().collect();
        let word = |from: usize| {
            if depth == DEPTH { None } else { self.filled(modifier.get(from..)?, escape, depth + 1) }
        };
        let set = self.get(&name);
        match (modifier.first(), modifier.get(1)) {
            (None, _) => set.map(str::to_owned),
            (Some(':'), Some('-')) => set.filter(|set| !set.is_empty()).map(str::to_owned).or_else(|| word(2)),
            (Some('-'), _) => set.map(str::to_owned).or_else(|| word(1)),
            (Some(':'), Some('+')) if set.is_some_and(|set| !set.is_empty()) => word(2),
            (Some('+'), _) if set.is_some() => word(1),
            (Some(':'), Some('+')) | (Some('+'), _) => Some(String::new()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_as_the_builder_does() {
        let mut variables = Variables::default();
        variables.set("A", Some("one".into()));
        variables.set("E", Some(String::new()));
        variables.set("GIVEN", None);
        for (word, filled) in [
            ("$A", Some("one")),
            ("x${A}y", Some("xoney")),
            ("\"$A b\"", Some("one b")),
            ("'$A'", Some("$A")),
            ("\\$A", Some("$A")),
            ("${B:-two}", Some("two")),
            ("${E:-two}", Some("two")),
            ("${E-two}", Some("")),
            ("${B:-${A}}", Some("one")),
            ("${A:+x}", Some("x")),
            ("${B:+x}", Some("")),
            ("$B", None),
            ("$GIVEN", None),
            ("${A", None),
            ("${A#x}", None),
            ("$", Some("$")),
            ("$$A", Some("$one")),
        ] {
            assert_eq!(variables.fill(word, '\\').as_deref(), filled, "{word}");
        }
    }

    #[test]
    fn variables_of_variables_do_not_grow_without_end() {
        let mut variables = Variables::default();
        variables.set("A", Some("x".repeat(1000)));
        for _ in 0..100 {
            let twice = variables.fill("$A$A", '\\');
            variables.set("A", twice);
        }
        assert_eq!(variables.get("A"), None);
        assert_eq!(variables.fill(&"${A:-".repeat(10_000), '\\'), None);
    }
}
