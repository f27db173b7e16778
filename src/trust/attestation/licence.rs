//! Licence expressions as SPDX writes them: whether one can be kept with the licences that may be.

/// Deepest brackets that are followed.
const DEPTH: usize = 32;
/// Most words of one expression.
const WORDS: usize = 512;

/// Whether an expression can be kept where `may` says of one licence whether it may be: of several that are joined by OR one is enough, of
/// those joined by AND all are needed, and AND binds closer. A text that is no expression is one licence, by the name that it is.
pub(super) fn is_kept(written: &str, may: &dyn Fn(&str) -> bool) -> bool {
    let words = words(written);
    if words.len() > WORDS {
        return false;
    }
    let mut reading = Reading { words: &words, may };
    match reading.any_of(0) {
        Some(kept) if reading.words.is_empty() => kept,
        _ => may(written.trim()),
    }
}

const fn is_of_a_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '+' | ':')
}

/// What a text that is no expression may name, however its author has joined it.
pub(super) fn parts(written: &str) -> impl Iterator<Item = &str> {
    let is_expression = Reading { words: &words(written), may: &|_| true }.reads_all();
    written.split(|char| !is_of_a_name(char)).filter(move |part| !is_expression && !part.is_empty())
}

fn words(written: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in written.split_ascii_whitespace() {
        let mut rest = word;
        while let Some(at) = rest.find(['(', ')']) {
            let (before, from) = rest.split_at(at);
            let (bracket, after) = from.split_at(1);
            words.extend([before, bracket].into_iter().filter(|word| !word.is_empty()));
            rest = after;
        }
        words.extend(Some(rest).filter(|rest| !rest.is_empty()));
    }
    words
}

struct Reading<'r> {
    words: &'r [&'r str],
    may: &'r dyn Fn(&str) -> bool,
}

impl Reading<'_> {
    fn reads_all(mut self) -> bool {
        let is_name = |word: &&str| matches!(*word, "(" | ")") || word.chars().all(is_of_a_name);
        self.words.len() <= WORDS && self.words.iter().all(is_name) && self.any_of(0).is_some() && self.words.is_empty()
    }

    fn takes(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if first.eq_ignore_ascii_case(word) => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    fn any_of(&mut self, depth: usize) -> Option<bool> {
        let mut kept = self.all_of(depth)?;
        while self.takes("OR") {
            kept |= self.all_of(depth)?;
        }
        Some(kept)
    }

    fn all_of(&mut self, depth: usize) -> Option<bool> {
        let mut kept = self.one(depth)?;
        while self.takes("AND") {
            kept &= self.one(depth)?;
        }
        Some(kept)
    }

    fn one(&mut self, depth: usize) -> Option<bool> {
        if self.takes("(") {
            let kept = if depth < DEPTH { self.any_of(depth + 1)? } else { return None };
            return self.takes(")").then_some(kept);
        }
        let (licence, rest) = self.words.split_first()?;
        let is_word = |word: &str| ["AND", "OR", "WITH", ")"].iter().any(|other| word.eq_ignore_ascii_case(other));
        if is_word(licence) {
            return None;
        }
        self.words = rest;
        if self.takes("WITH") {
            let (exception, rest) = self.words.split_first()?;
            self.words = rest;
            // Named with its exception it may be another thing than without.
            return Some((self.may)(&format!("{licence} WITH {exception}")));
        }
        Some((self.may)(licence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_is_enough_and_all_of_those_that_are_joined_are_needed() {
        let may = |licence: &str| !licence.starts_with("GPL") && licence != "a free text";
        for (written, kept) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("MIT AND GPL-3.0-only", false),
            ("GPL-2.0-only OR MIT AND Apache-2.0", true),
            ("GPL-2.0-only AND MIT OR Apache-2.0", true),
            ("(GPL-2.0-only OR GPL-3.0-only) AND MIT", false),
            ("(MIT or Apache-2.0) and BSD-3-Clause", true),
            ("GPL-2.0-only WITH Classpath-exception-2.0", false),
            ("a free text", false),
            ("another free text", true),
            ("MIT OR", true),
            ("", true),
        ] {
            assert_eq!(is_kept(written, &may), kept, "{written}");
        }
        for text in ["GPL-3.0-only, MIT", "GPL-3.0-only/MIT", "MIT;GPL-3.0-only", "MIT OR OR GPL-3.0-only"] {
            assert!(parts(text).any(|part| part == "GPL-3.0-only"), "{text}");
        }
        assert_eq!(parts("GPL-3.0-only OR MIT").count(), 0, "an expression says itself what is needed");
        let deep = format!("{}MIT{}", "(".repeat(100), ")".repeat(100));
        assert!(is_kept(&deep, &|licence| licence.starts_with("((((")), "no expression: one licence by its name");
        assert!(!is_kept(&"MIT OR ".repeat(WORDS), &|_| true));
    }
}
