//! A policy's text before it is parsed: its words, how deep its brackets go, which functions it calls, and in which of Rego's two
//! dialects it is written. The words are those of regorus' lexer; nothing here runs.

use crate::order::Ordered as _;
use std::collections::{BTreeMap, BTreeSet};

use super::builtins;

/// Deepest nesting of brackets. regorus takes about twice the time for each level: 12 take a tenth of a second, 20 take 15 s.
const DEPTH: usize = 12;

/// Most operators of one expression. Each is a level of the tree that regorus makes of it, and walks down with the stack: some
/// thousands end the process.
const OPERATORS: usize = 256;

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Text,
    Number,
    Symbol,
}

/// A word, and where it stands.
#[derive(Debug, Clone, Copy)]
struct Word<'t> {
    kind: Kind,
    /// A string without its quotes, as written.
    text: &'t str,
    line: usize,
    end: usize,
    /// How many brackets are open before it.
    depth: usize,
}

/// A fault, and its line.
pub(super) type Fault = (usize, String);

/// A name with its parts (`input.User`, `data.lib.f`), and what stands around it.
#[derive(Debug, PartialEq, Eq)]
struct Chain {
    parts: Vec<String>,
    line: usize,
    is_called: bool,
    /// Called with a text that is written there as its first argument: that.
    literal: Option<String>,
    /// Whether it begins a rule.
    is_head: bool,
    /// Whether it stands behind `as`, and may be a function that is called in the place of another.
    is_replacement: bool,
}

/// A policy's text, read.
#[derive(Debug)]
pub(super) struct Text<'t> {
    whole: &'t str,
    words: Vec<Word<'t>>,
    chains: Vec<Chain>,
    /// The package, with its parts.
    pub(super) package: Vec<String>,
    /// Where the package's name ends.
    package_end: usize,
    /// Imports: the name used here, and what it stands for.
    imports: BTreeMap<String, Vec<String>>,
}

impl<'t> Text<'t> {
    /// Reads a text. What it does not understand is for the parser to refuse.
    pub(super) fn read(text: &'t str) -> Result<Self, Fault> {
        let words = words(text)?;
        let opens = |word: &&Word<'_>| word.kind == Kind::Symbol && matches!(word.text, "(" | "[" | "{");
        if let Some(deep) = words.iter().filter(opens).find(|word| word.depth >= DEPTH) {
            return Err((
                deep.line,
                format!("brackets are nested more than {DEPTH} deep; move the inner ones to rules of their own"),
            ));
        }
        if let Some(line) = too_long(&words, OPERATORS) {
            return Err((line, format!("an expression has more than {OPERATORS} operators; use a list, or several rules")));
        }
        let (package, package_end) = package(&words);
        let mut read = Self { whole: text, chains: Vec::new(), package, package_end, imports: imports(&words), words };
        read.chains = chains(&read.words);
        Ok(read)
    }

    /// The functions and rules that it defines, as whole paths (`data.docker.authz.allow`).
    pub(super) fn defined(&self) -> impl Iterator<Item = String> {
        let heads = self.chains.iter().filter(|chain| chain.is_head);
        heads.map(|head| format!("data.{}.{}", self.package.join("."), head.parts.join(".")))
    }

    /// Calls of what is not there, or may not be called. regorus finds the first only when the rule is evaluated.
    pub(super) fn faults(&self, defined: &BTreeSet<String>) -> Vec<Fault> {
        let mut faults = Vec::new();
        for chain in &self.chains {
            let name = chain.parts.join(".");
            if let Some(forbidden) = builtins::FORBIDDEN.iter().find(|forbidden| name == **forbidden) {
                let why = "nothing is fetched inside a decision";
                faults.push((chain.line, format!("function `{forbidden}` is not there: {why}; use what `input` has")));
            } else if chain.is_called && !chain.is_head && !self.is_known(chain, defined) {
                faults
                    .push((chain.line, format!("function `{name}` is not known; a policy with a call of it would never answer")));
            }
        }
        faults
    }

    fn is_known(&self, chain: &Chain, defined: &BTreeSet<String>) -> bool {
        builtins::is_there(&chain.parts.join(".")) || self.meant(chain, defined).is_some()
    }

    /// The whole path of what a name means, if a file defines it.
    fn meant(&self, chain: &Chain, defined: &BTreeSet<String>) -> Option<String> {
        let name = chain.parts.join(".");
        let imported = || {
            let (first, rest) = chain.parts.split_first()?;
            let path: Vec<&str> = self.imports.get(first)?.iter().chain(rest).map(String::as_str).collect();
            Some(path.join("."))
        };
        let of_package = format!("data.{}.{name}", self.package.join("."));
        [Some(of_package), imported(), Some(name)].into_iter().flatten().find(|path| defined.contains(path))
    }

    /// Whether no functions are called but those that files define, and those that are let: by name, and their first argument where that
    /// is a text that is written there.
    pub(super) fn calls_only(&self, defined: &BTreeSet<String>, is_let: impl Fn(&str, Option<&str>) -> bool) -> bool {
        let mut called = self.chains.iter().filter(|chain| chain.is_called && !chain.is_head);
        // What a file defines under the name of one that is let is short as well; a built-in one is never taken for a file's.
        called.all(|chain| {
            let name = chain.parts.join(".");
            is_let(&name, chain.literal.as_deref()) || (!builtins::is_there(&name) && self.meant(chain, defined).is_some())
        })
    }

    /// Whether an expression has more operators.
    pub(super) fn has_longer(&self, most: usize) -> bool {
        too_long(&self.words, most).is_some()
    }

    /// Which functions each function calls, by whole paths, and the line where it stands.
    pub(super) fn calls(&self, defined: &BTreeSet<String>) -> Vec<(String, usize, String)> {
        let mut calls = Vec::new();
        let mut head: Option<(String, usize)> = None;
        for chain in &self.chains {
            if chain.is_head {
                let path = || Some(format!("data.{}.{}", self.package.join("."), chain.parts.join(".")));
                head = chain.is_called.then(path).flatten().map(|path| (path, chain.line));
            } else if let (Some((from, line)), true) = (&head, chain.is_called || chain.is_replacement)
                && let Some(to) = self.meant(chain, defined)
            {
                calls.push((from.clone(), *line, to));
            }
        }
        calls
    }

    /// The line of the first mention of a member's name, also as a string.
    pub(super) fn mentions(&self, name: &str) -> Option<usize> {
        let is_it = |word: &&Word<'_>| matches!(word.kind, Kind::Name | Kind::Text) && word.text == name;
        self.words.iter().find(is_it).map(|word| word.line)
    }

    /// Whether a text that is not of the new dialect, because a word `if` or `contains` is missing, may be read as one of the old. There
    /// `allow if { … }` without its import is a rule that always holds, so a text with such a word is of the old dialect only if it
    /// imports it.
    pub(super) fn may_be_old(&self) -> bool {
        let imports = |keyword: &str| {
            let of = |path: &[String]| match path {
                [future, keywords] => future == "future" && keywords == "keywords",
                [future, keywords, word] => future == "future" && keywords == "keywords" && word == keyword,
                _ => false,
            };
            self.future().any(of)
        };
        (!self.has_word("if") || imports("if")) && (!self.has_word("contains") || imports("contains"))
    }

    /// The text with `import future.keywords.in` behind its package, on the same line; `None` where it has no word `in`, or the import.
    pub(super) fn with_in(&self) -> Option<String> {
        if !self.has_word("in")
            || self.future().any(|path| path.len() == 2 || path.last().is_some_and(|last| last == "in" || last == "every"))
        {
            return None;
        }
        let (before, after) = (self.whole.get(..self.package_end)?, self.whole.get(self.package_end..)?);
        Some(format!("{before} import future.keywords.in {after}"))
    }

    fn future(&self) -> impl Iterator<Item = &[String]> {
        self.imports.values().map(Vec::as_slice).filter(|path| path.first().is_some_and(|first| first == "future"))
    }

    /// Whether a keyword stands there as one: not as a member's name, and not as the function of that name.
    fn has_word(&self, keyword: &str) -> bool {
        self.words.iter().enumerate().any(|(at, word)| {
            let before = at.checked_sub(1).and_then(|at| self.words.get(at));
            let is_member = before.is_some_and(|before| before.text == "." && before.kind == Kind::Symbol);
            let is_call =
                keyword == "contains" && self.words.get(at + 1).is_some_and(|next| next.kind == Kind::Symbol && next.text == "(");
            word.kind == Kind::Name && word.text == keyword && !is_member && !is_call
        })
    }
}

/// Cuts a text into words, without comments.
fn words(text: &str) -> Result<Vec<Word<'_>>, Fault> {
    let bytes = text.as_bytes();
    let (mut at, mut line, mut depth) = (0, 1, 0_usize);
    let mut words = Vec::new();
    let is_in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    while let Some(&byte) = bytes.get(at) {
        let from = at;
        let count = |test: &dyn Fn(u8) -> bool| bytes.iter().skip(from).take_while(|byte| test(**byte)).count();
        let mut word = Word { kind: Kind::Symbol, text: "", line, end: 0, depth };
        match byte {
            // The lexer ends there, and would leave out what stands behind.
            0 => return Err((line, "a NUL character is not text".to_owned())),
            b'#' => {
                at += count(&|byte| byte != b'\n' && byte != 0);
                continue;
            }
            byte if byte.is_ascii_whitespace() => {
                line += usize::from(byte == b'\n');
                at += 1;
                continue;
            }
            b'"' | b'`' => {
                word.kind = Kind::Text;
                at += 1;
                loop {
                    match bytes.get(at) {
                        Some(&found) if found == byte => break,
                        Some(b'\\') if byte == b'"' => at += 1,
                        Some(b'\n') => line += 1,
                        Some(0) => return Err((line, "a NUL character is not text".to_owned())),
                        Some(_) => {}
                        None => return Err((word.line, "a string does not end".to_owned())),
                    }
                    at += 1;
                }
                word.text = text.get(from + 1..at).unwrap_or_default();
                at += 1;
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                word.kind = Kind::Name;
                at += count(&is_in_name);
                word.text = text.get(from..at).unwrap_or_default();
            }
            byte if byte.is_ascii_digit() => {
                word.kind = Kind::Number;
                at += count(&is_in_name);
                word.text = text.get(from..at).unwrap_or_default();
            }
            byte => {
                let is_double = matches!(byte, b':' | b'<' | b'>' | b'=' | b'!') && bytes.get(at + 1) == Some(&b'=');
                let size = text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
                at += if is_double { 2 } else { size };
                word.text = text.get(from..at).unwrap_or_default();
                match byte {
                    b'(' | b'[' | b'{' => depth += 1,
                    b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
        }
        word.end = at;
        words.push(word);
    }
    Ok(words)
}

/// The line of an expression with more operators than `most`, those of brackets inside not counted. An expression ends at a separator, and at the
/// end of a line unless an operator stands there or goes on behind it.
fn too_long(words: &[Word<'_>], most: usize) -> Option<usize> {
    let is_operator =
        |word: &Word<'_>| word.kind == Kind::Symbol && !matches!(word.text, "(" | ")" | "[" | "]" | "{" | "}" | "," | ";");
    // Of each level of brackets that is open.
    let mut counts = vec![0_usize];
    let mut last: Option<&Word<'_>> = None;
    for word in words {
        let goes_on = last.is_none_or(|last| last.line == word.line || is_operator(last)) || is_operator(word);
        counts.resize(word.depth + 1, 0);
        if let Some(count) = counts.last_mut() {
            match word.text {
                "," | ";" if word.kind == Kind::Symbol => *count = 0,
                // An index is a level too.
                "[" if word.kind == Kind::Symbol && goes_on => *count += 1,
                _ if !goes_on => *count = 0,
                _ => *count += usize::from(is_operator(word)),
            }
            if *count > most {
                return Some(word.line);
            }
        }
        last = Some(word);
    }
    None
}

/// A cycle among calls of functions: the line of one, and its name. OPA knows no recursion; regorus follows it until the stack is full.
pub(super) fn recursion(calls: &[(String, usize, String)]) -> Option<(&str, usize)> {
    // Who calls none that is left, or is called by none, is in no cycle; what stays when there is no such one is.
    let mut left: Vec<&(String, usize, String)> = calls.iter().collect();
    loop {
        let callers: BTreeSet<&str> = left.iter().map(|(from, _, _)| from.as_str()).ordered();
        let called: BTreeSet<&str> = left.iter().map(|(_, _, to)| to.as_str()).ordered();
        let count = left.len();
        left.retain(|(from, _, to)| callers.contains(to.as_str()) && called.contains(from.as_str()));
        if left.len() == count {
            return left.first().map(|(from, line, _)| (from.as_str(), *line));
        }
    }
}

/// The path that begins at this word (`a.b["c"]`), and how many words it has.
fn path(words: &[Word<'_>]) -> (Vec<String>, usize) {
    let Some(first) = words.first().filter(|word| word.kind == Kind::Name) else { return (Vec::new(), 0) };
    let (mut parts, mut used) = (vec![first.text.to_owned()], 1);
    loop {
        match words.get(used..).unwrap_or_default() {
            [dot, name, ..] if dot.text == "." && dot.kind == Kind::Symbol && name.kind == Kind::Name => {
                parts.push(name.text.to_owned());
                used += 2;
            }
            [open, name, close, ..] if open.text == "[" && name.kind == Kind::Text && close.text == "]" => {
                parts.push(name.text.to_owned());
                used += 3;
            }
            _ => return (parts, used),
        }
    }
}

fn package(words: &[Word<'_>]) -> (Vec<String>, usize) {
    match words.split_first() {
        Some((first, rest)) if first.text == "package" => {
            let (parts, used) = path(rest);
            (parts, words.get(used).map_or(0, |last| last.end))
        }
        Some(_) | None => (Vec::new(), 0),
    }
}

fn imports(words: &[Word<'_>]) -> BTreeMap<String, Vec<String>> {
    let mut imports = BTreeMap::new();
    for (at, word) in words.iter().enumerate() {
        if word.kind != Kind::Name || word.text != "import" || word.depth != 0 {
            continue;
        }
        let rest = words.get(at + 1..).unwrap_or_default();
        let (parts, used) = path(rest);
        let alias = match rest.get(used..) {
            Some([keyword, alias, ..]) if keyword.text == "as" => Some(alias.text.to_owned()),
            _ => parts.last().cloned(),
        };
        if let Some(alias) = alias {
            // Several keywords may be imported, each under its own name.
            imports.insert(alias, parts);
        }
    }
    imports
}

/// Words that are no names, and behind which a bracket opens an expression.
const KEYWORDS: [&str; 11] = ["if", "in", "not", "some", "every", "else", "with", "as", "default", "import", "package"];

fn chains(words: &[Word<'_>]) -> Vec<Chain> {
    let mut chains = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let before = at.checked_sub(1).and_then(|at| words.get(at));
        let (parts, used) = path(words.get(at..).unwrap_or_default());
        let is_keyword = used == 1 && KEYWORDS.contains(&word.text);
        // Behind `]` and `)` a dot goes on with what they end.
        let is_member = before.is_some_and(|before| before.kind == Kind::Symbol && before.text == ".");
        if used == 0 || is_keyword || is_member {
            at += used.max(1);
            continue;
        }
        let is_called = words.get(at + used).is_some_and(|next| next.kind == Kind::Symbol && next.text == "(");
        let first = words.get(at + used + 1).filter(|first| is_called && first.kind == Kind::Text);
        let literal = first.map(|first| first.text.to_owned());
        // A rule begins where an expression has ended: two never stand side by side.
        let begins = match before {
            None => false,
            Some(before) if before.text == "default" && before.kind == Kind::Name => true,
            Some(before) => match before.kind {
                Kind::Name => !KEYWORDS.contains(&before.text) && before.text != "contains",
                Kind::Text | Kind::Number => true,
                Kind::Symbol => matches!(before.text, ")" | "]" | "}" | ";"),
            },
        };
        let is_replacement = before.is_some_and(|before| before.kind == Kind::Name && before.text == "as");
        let is_head = word.depth == 0 && begins;
        // `deny contains (x)`: the keyword, not the function of that name.
        if is_head && word.text == "contains" && used == 1 {
            at += 1;
            continue;
        }
        chains.push(Chain { parts, line: word.line, is_called, literal, is_head, is_replacement });
        at += used;
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<Fault> {
        let read = Text::read(text).unwrap();
        let defined = read.defined().collect();
        read.faults(&defined)
    }

    #[test]
    fn functions_that_are_not_there_are_found() {
        for text in [
            "package a\nallow if count(input.x) > 1\n",
            "package a\nf(x) := y if y := x + 1\nallow if f(1) == 2",
            "package a\nallow { f(1) }\nf(x) { x == 1 }\nf(x) = 2 { x == 3 }\ndefault g(_) := 1\nb = g(1)",
            "package a\nimport data.lib\nimport data.lib.g as h\nallow if not (input.x)\nb := lower(\"A\")",
            "package a\nallow if { some x in (input.y); x in (input.z) }\ndeny contains (x) if x := 1",
            "package a\nx := {y | y := input.z[_]}\nempty := set()\nb := data.a.f(1)\nf(x) := x",
            "package a\n# nofun(1)\nx := \"nofun(1)\"\ny := `nofun(1)`\n",
            "package a\nf(x) := x\ndeny contains (f(x)) if { x := 1; contains(\"a\", \"b\") }",
            "package a\nallow if { any([true]); re_match(\"a\", \"b\"); set_diff({1}, {2}); cast_string(\"a\") }",
        ] {
            assert_eq!(faults(text), vec![], "{text}");
        }
        for (text, line, name) in [
            ("package a\n\nallow if nofun(1)", 3, "nofun"),
            ("package a\nallow if { crypto.sha256(\"a\") == 1 }", 2, "crypto.sha256"),
            ("package a\nallow if { crypto[\"sha256\"](\"a\") == 1 }", 2, "crypto.sha256"),
            ("package a\nallow if not nofun (1)", 2, "nofun"),
            ("package a\nimport data.lib\nallow if lib.f(1)", 3, "lib.f"),
        ] {
            let found = faults(text);
            assert!(
                matches!(&found[..], [(at, what)] if *at == line && what.contains(&format!("`{name}` is not known"))),
                "{found:?}"
            );
        }
        for text in [
            "allow if not http.send({})",
            "x := http[\"send\"]",
            "allow if f with count as http.send",
            "x := net.lookup_ip_addr(\"a\")",
        ] {
            let found = faults(&format!("package a\n{text}"));
            assert!(matches!(&found[..], [(2, what)] if what.contains("is not there")), "{text}: {found:?}");
        }
    }

    #[test]
    fn functions_of_other_files_are_known_by_their_imports() {
        let lib = Text::read("package lib.more\nf(x) := x").unwrap();
        let defined: BTreeSet<String> = lib.defined().collect();
        for text in [
            "package a\nimport data.lib.more\nb := more.f(1)",
            "package a\nimport data.lib.more as m\nb := m.f(1)",
            "package a\nimport data.lib.more.f\nb := f(1)",
            "package a\nb := data.lib.more.f(1)",
            "package lib.more\nb := f(1)",
        ] {
            assert_eq!(Text::read(text).unwrap().faults(&defined), vec![], "{text}");
        }
        assert_eq!(Text::read("package b\nb := f(1)").unwrap().faults(&defined).len(), 1);
    }

    #[test]
    fn depth_is_known_before_anything_is_parsed() {
        let of = |depth: usize| {
            format!("package a\n# [[[[[[[[[[[[[[[[\nx := \"[[[[[[[[[[[[[[[[[\"\ny := {}{}", "[".repeat(depth), "]".repeat(depth))
        };
        assert!(Text::read(&of(DEPTH)).is_ok());
        assert!(matches!(Text::read(&of(DEPTH + 1)), Err((4, what)) if what.contains("nested")));
        assert!(matches!(Text::read("package a\nallow if {\0"), Err((2, what)) if what.contains("NUL")));
        assert!(matches!(Text::read("package a # \0\nallow := true"), Err((1, _))));
        assert!(matches!(Text::read("package a\nx := \"a"), Err((2, _))));
    }

    #[test]
    fn the_old_dialect_is_never_a_guess() {
        for (text, is_old) in [
            ("package a\nallow { true }", true),
            ("package a\nallow { input.if == 1; contains(input.x, \"a\") }", true),
            ("package a\n# if\nallow { \"if\" == `if` }", true),
            ("package a\nallow if { false }", false),
            ("package a\nallow if input.x\nb { true }", false),
            ("package a\nimport future.keywords.in\nallow if { false }", false),
            ("package a\nimport future.keywords.if\nallow if { false }\nb { true }", true),
            ("package a\nimport future.keywords\nallow if { false }\ndeny contains x { x := 1 }", true),
            ("package a\nimport future.keywords.if\nallow if { false }\ndeny contains x { x := 1 }", false),
            ("package a\ndeny contains x { x := 1 }", false),
        ] {
            assert_eq!(Text::read(text).unwrap().may_be_old(), is_old, "{text}");
        }
    }

    #[test]
    fn the_import_of_in_is_added_where_it_is_missing() {
        let with = |text: &str| Text::read(text).unwrap().with_in();
        assert_eq!(
            with("# a\npackage a.b # c\nallow { 1 in [1] }").as_deref(),
            Some("# a\npackage a.b import future.keywords.in  # c\nallow { 1 in [1] }")
        );
        for text in [
            "package a\nallow { input.in }",
            "package a\nimport future.keywords.in\nallow { 1 in [1] }",
            "package a\nimport future.keywords\nallow { 1 in [1] }",
        ] {
            assert_eq!(with(text), None, "{text}");
        }
    }
}
