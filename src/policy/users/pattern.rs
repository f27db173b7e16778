//! A pattern of authz-broker's users file: a regular expression of Go (RE2), and which texts it fits.
//!
//! Go's dialect is read here and written again in what both have in common, for the `regex` crate to match: to hand a pattern over as it
//! stands would let it mean more (`[a&&b]`, `a**`, `(?x)`), or other things (`[[]`, `{,5}`). The texts are names of actions, which are
//! ASCII: classes become the ASCII characters in them, and what could only matter elsewhere is refused. What Go does not compile fits
//! nothing, there and here.

use regex::bytes::{Regex, RegexBuilder};

/// Longest pattern, in characters. Names of actions have 30 at most.
const PATTERN_CHARS: usize = 1024;
/// Deepest nesting of groups. Stops the reader's own stack from being used up.
const DEPTH: usize = 50;
/// Largest count of a repetition, and of nested ones together: Go's.
const REPEATS: u32 = 1000;
/// Largest compiled pattern, in bytes. Stops `((a{10}){10}){10}` and its like from filling memory.
const COMPILED_BYTES: usize = 256 << 10;
/// What no text here has.
const NEVER: &str = r"\x80";
/// How many characters ASCII has.
const ASCII: usize = 128;

/// Why a pattern fits nothing.
pub(super) type Why = &'static str;

/// A pattern that Go compiles, and that is read here as Go reads it.
#[derive(Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Reads a pattern.
    pub(super) fn read(written: &str) -> Result<Self, Why> {
        let chars: Vec<char> = written.chars().take(PATTERN_CHARS + 1).collect();
        if chars.len() > PATTERN_CHARS {
            return Err("it is too long");
        }
        let mut reader = Reader { chars, at: 0, out: String::new(), fold: false };
        reader.alternatives(0)?;
        if reader.peek().is_some() {
            return Err("a `)` closes nothing");
        }
        let built = RegexBuilder::new(&reader.out).unicode(false).size_limit(COMPILED_BYTES).build();
        built.map(Self).map_err(|_| "it is too large")
    }

    /// Whether it fits a text anywhere, as Go's `MatchString` says.
    pub(super) fn fits(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }
}

/// ASCII characters.
type Set = [bool; ASCII];

/// What stands before a repetition.
#[derive(Clone, Copy)]
enum Last {
    /// Nothing that could be repeated.
    Nothing,
    /// What was written from here on, with the product of the repetitions in it.
    Item(usize, u32),
    /// A repetition.
    Repetition,
    /// Flags or an empty quotation: Go repeats what stands before them.
    Unseen,
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    out: String,
    /// Flag `i`. The others (`m`, `s`, `U`) say nothing about texts of one line that fit or do not.
    fold: bool,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Option<char> {
        self.chars.get(self.at + by).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    fn skip(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.at += usize::from(is_there);
        is_there
    }

    /// Alternatives up to a `)` or the end; the product of the repetitions in them.
    fn alternatives(&mut self, depth: usize) -> Result<u32, Why> {
        if depth > DEPTH {
            return Err("its groups are nested too deep");
        }
        let (mut last, mut most) = (Last::Nothing, 1);
        while let Some(next) = self.peek().filter(|next| *next != ')') {
            last = match next {
                '|' => {
                    self.at += 1;
                    self.out.push('|');
                    Last::Nothing
                }
                '*' | '+' | '?' => {
                    self.at += 1;
                    self.repeat(last, &next.to_string(), 1)?;
                    Last::Repetition
                }
                '{' => match self.counts() {
                    Some((low, high, end)) => {
                        self.at = end;
                        let (low, high) = (low?, high.transpose()?);
                        if high.is_some_and(|high| high < low) {
                            return Err("a repetition ends before it begins");
                        }
                        let count = high.map_or(format!("{{{low},}}"), |high| format!("{{{low},{high}}}"));
                        most = most.max(self.repeat(last, &count, high.unwrap_or(low))?);
                        Last::Repetition
                    }
                    None => {
                        self.at += 1;
                        self.literal('{')?
                    }
                },
                _ => self.item(next, depth)?,
            };
            if let Last::Item(_, product) = last {
                most = most.max(product);
            }
        }
        Ok(most)
    }

    /// Repeats what stands before; the product of its repetitions.
    fn repeat(&mut self, last: Last, how: &str, times: u32) -> Result<u32, Why> {
        let (begin, product) = match last {
            Last::Item(begin, product) => (begin, product),
            Last::Nothing => return Err("there is nothing to repeat"),
            Last::Repetition => return Err("it repeats a repetition"),
            Last::Unseen => return Err("it repeats what stands before flags, which this gate does not read"),
        };
        let product = if times == 0 { 1 } else { product.saturating_mul(times) };
        if product > REPEATS {
            return Err("it repeats more than 1000 times");
        }
        // Greedy or not is one thing to what fits.
        self.skip('?');
        let item = self.out.split_off(begin);
        self.out.push_str(&format!("(?:{item}){how}"));
        Ok(product)
    }

    /// The counts of `{n}`, `{n,}`, `{n,m}` here, and where they end. `None` where Go takes the brace for itself.
    #[expect(clippy::type_complexity, reason = "two counts, of which one may be absent and both too large")]
    fn counts(&self) -> Option<(Result<u32, Why>, Option<Result<u32, Why>>, usize)> {
        let number = |from: usize| {
            let digits: Vec<char> = self.chars.iter().skip(from).copied().take_while(char::is_ascii_digit).collect();
            let leads_with_zero = digits.len() > 1 && digits.first() == Some(&'0');
            if digits.is_empty() || leads_with_zero {
                return None;
            }
            let value = digits.iter().collect::<String>().parse().ok().filter(|value: &u32| *value <= REPEATS);
            Some((value.ok_or("it repeats more than 1000 times"), from + digits.len()))
        };
        let is = |at: usize, wanted: char| self.chars.get(at) == Some(&wanted);
        let (low, at) = number(self.at + 1)?;
        let (high, at) = match (is(at, ','), is(at + 1, '}')) {
            (false, _) => (Some(low), at),
            (true, true) => (None, at + 1),
            (true, false) => number(at + 1).map(|(high, at)| (Some(high), at))?,
        };
        is(at, '}').then_some((low, high, at + 1))
    }

    /// What is no repetition.
    fn item(&mut self, next: char, depth: usize) -> Result<Last, Why> {
        let begin = self.out.len();
        self.at += 1;
        match next {
            '(' => return self.group(depth),
            '[' => {
                let set = self.class()?;
                self.write(&set);
            }
            '.' => self.write(&[true; ASCII]),
            '^' => self.out.push_str(r"\A"),
            '$' => self.out.push_str(r"\z"),
            '\\' => match self.peek() {
                Some('A') => self.edge(r"\A"),
                Some('z') => self.edge(r"\z"),
                Some('b') => self.edge(r"\b"),
                Some('B') => self.edge(r"\B"),
                Some('Q') => return self.quotation(),
                _ => match self.perl_class()? {
                    Some(set) => self.write(&set),
                    None => {
                        let escaped = self.escape()?;
                        return self.literal(escaped);
                    }
                },
            },
            other => return self.literal(other),
        }
        Ok(Last::Item(begin, 1))
    }

    fn edge(&mut self, edge: &str) {
        self.at += 1;
        self.out.push_str(edge);
    }

    /// A character that stands for itself.
    fn literal(&mut self, character: char) -> Result<Last, Why> {
        let begin = self.out.len();
        let mut set = [false; ASCII];
        add(&mut set, character, character, self.fold)?;
        self.write(&set);
        Ok(Last::Item(begin, 1))
    }

    /// `\Q…\E`, behind the backslash.
    fn quotation(&mut self) -> Result<Last, Why> {
        self.at += 1;
        let mut last = Last::Unseen;
        while let Some(next) = self.next() {
            if next == '\\' && self.skip('E') {
                break;
            }
            last = self.literal(next)?;
        }
        Ok(last)
    }

    /// A group, or flags, behind the `(`.
    fn group(&mut self, depth: usize) -> Result<Last, Why> {
        let begin = self.out.len();
        let outside = self.fold;
        if self.skip('?') {
            if self.skip('P') {
                self.name()?;
            } else if !self.flags()? {
                return Ok(Last::Unseen);
            }
        }
        self.out.push_str("(?:");
        let product = self.alternatives(depth + 1)?;
        if !self.skip(')') {
            return Err("a `(` is not closed");
        }
        self.fold = outside;
        self.out.push(')');
        Ok(Last::Item(begin, product))
    }

    /// `<name>`
    fn name(&mut self) -> Result<(), Why> {
        const BAD: Why = "a group's name is not one";
        if !self.skip('<') {
            return Err(BAD);
        }
        let mut is_empty = true;
        loop {
            match self.next() {
                Some('>') if !is_empty => return Ok(()),
                Some(part) if part.is_ascii_alphanumeric() || part == '_' => is_empty = false,
                _ => return Err(BAD),
            }
        }
    }

    /// Flags behind `(?`. Whether a group follows.
    fn flags(&mut self) -> Result<bool, Why> {
        let (mut fold, mut sets, mut saw_flag) = (self.fold, true, false);
        loop {
            match self.next() {
                Some('i') => (fold, saw_flag) = (sets, true),
                Some('m' | 's' | 'U') => saw_flag = true,
                Some('-') if sets => (sets, saw_flag) = (false, false),
                Some(end @ (':' | ')')) if sets || saw_flag => {
                    self.fold = fold;
                    return Ok(end == ':');
                }
                _ => return Err("Go has no such group (no look-around, no flag x)"),
            }
        }
    }

    /// A class, behind its `[`.
    fn class(&mut self) -> Result<Set, Why> {
        let negated = self.skip('^');
        let mut set = [false; ASCII];
        let mut is_first = true;
        while is_first || self.peek() != Some(']') {
            is_first = false;
            if self.peek() == Some('[') && self.ahead(1) == Some(':') && self.posix_class(&mut set)? {
                continue;
            }
            if self.peek() == Some('\\') {
                self.at += 1;
                if let Some(found) = self.perl_class()? {
                    join(&mut set, &found);
                    continue;
                }
                self.at -= 1;
            }
            let low = self.class_character()?;
            let mut high = low;
            if self.peek() == Some('-') && self.ahead(1).is_some_and(|next| next != ']') {
                self.at += 1;
                high = self.class_character()?;
                if high < low {
                    return Err("a range in a class ends before it begins");
                }
            }
            add(&mut set, low, high, self.fold)?;
        }
        self.at += 1;
        if negated {
            for has in &mut set {
                *has = !*has;
            }
        }
        Ok(set)
    }

    fn class_character(&mut self) -> Result<char, Why> {
        match self.next() {
            Some('\\') => self.escape(),
            Some(character) => Ok(character),
            None => Err("a `[` is not closed"),
        }
    }

    /// `[:alpha:]`, `[:^alpha:]`. Whether it is one: without `:]` anywhere behind it, it is only characters.
    fn posix_class(&mut self, set: &mut Set) -> Result<bool, Why> {
        let behind = self.chars.get(self.at + 2..).unwrap_or_default();
        let Some(end) = behind.windows(2).position(|pair| pair == [':', ']']) else { return Ok(false) };
        let name: String = behind.iter().take(end).collect();
        self.at += 2 + end + 2;
        let (negated, name) = name.strip_prefix('^').map_or((false, name.as_str()), |name| (true, name));
        let holds: fn(char) -> bool = match name {
            "alnum" => |c| c.is_ascii_alphanumeric(),
            "alpha" => |c| c.is_ascii_alphabetic(),
            "ascii" => |_| true,
            "blank" => |c| matches!(c, '\t' | ' '),
            "cntrl" => |c| c.is_ascii_control(),
            "digit" => |c| c.is_ascii_digit(),
            "graph" => |c| c.is_ascii_graphic(),
            "lower" => |c| c.is_ascii_lowercase(),
            "print" => |c| c.is_ascii_graphic() || c == ' ',
            "punct" => |c| c.is_ascii_punctuation(),
            "space" => |c| matches!(c, '\t' | '\n' | '\x0b' | '\x0c' | '\r' | ' '),
            "upper" => |c| c.is_ascii_uppercase(),
            "word" => |c| c.is_ascii_alphanumeric() || c == '_',
            "xdigit" => |c| c.is_ascii_hexdigit(),
            _ => return Err("Go has no such class of characters"),
        };
        join(set, &named_set(holds, negated, self.fold));
        Ok(true)
    }

    /// `\d` and its like, behind the backslash.
    fn perl_class(&mut self) -> Result<Option<Set>, Why> {
        let Some(letter) = self.peek() else { return Ok(None) };
        let holds: fn(char) -> bool = match letter.to_ascii_lowercase() {
            'd' => |c| c.is_ascii_digit(),
            's' => |c| matches!(c, '\t' | '\n' | '\x0c' | '\r' | ' '),
            'w' => |c| c.is_ascii_alphanumeric() || c == '_',
            'p' => return Err("classes of Unicode are not read by this gate: names of actions are ASCII"),
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(named_set(holds, letter.is_ascii_uppercase(), self.fold)))
    }

    /// An escaped character, behind the backslash.
    fn escape(&mut self) -> Result<char, Why> {
        const BAD: Why = "Go has no such escape";
        let octal = |character: Option<char>| character.and_then(|character| character.to_digit(8));
        let Some(escaped) = self.next() else { return Err("it ends in a backslash") };
        let code = match escaped {
            'a' => 0x07,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            'x' => self.hexadecimal().ok_or(BAD)?,
            // One digit alone would be a backreference.
            '0'..='7' if escaped == '0' || octal(self.peek()).is_some() => {
                let mut code = octal(Some(escaped)).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = octal(self.peek()) else { break };
                    self.at += 1;
                    code = code * 8 + digit;
                }
                code
            }
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => u32::from(other),
            _ => return Err(BAD),
        };
        char::from_u32(code).ok_or(BAD)
    }

    /// `41`, `{10ffff}`
    fn hexadecimal(&mut self) -> Option<u32> {
        let mut code = 0;
        if !self.skip('{') {
            for _ in 0..2 {
                code = code * 16 + self.next()?.to_digit(16)?;
            }
            return Some(code);
        }
        let mut digits = 0;
        while !self.skip('}') {
            code = code * 16 + self.next()?.to_digit(16)?;
            digits += 1;
            if code > u32::from(char::MAX) {
                return None;
            }
        }
        (digits > 0).then_some(code)
    }

    /// Writes one character of a set.
    fn write(&mut self, set: &Set) {
        if !set.contains(&true) {
            return self.out.push_str(NEVER);
        }
        self.out.push('[');
        let has = |code: usize| set.get(code).copied().unwrap_or_default();
        let begins = (0..ASCII).filter(|code| has(*code) && (*code == 0 || !has(code - 1)));
        for begin in begins {
            let end = (begin..ASCII).take_while(|code| has(*code)).last().unwrap_or(begin);
            self.out.push_str(&format!(r"\x{begin:02X}-\x{end:02X}"));
        }
        self.out.push(']');
    }
}

/// Adds a range; in either case, under flag `i`.
fn add(set: &mut Set, low: char, high: char, fold: bool) -> Result<(), Why> {
    // U+017F and U+212A are letters of ASCII in another case.
    if fold && !high.is_ascii() {
        return Err("characters that are not ASCII are not read by this gate under flag i");
    }
    let range = u32::from(low)..=u32::from(high);
    for (code, has) in (0u8..).zip(set.iter_mut()) {
        let holds = |code: u8| range.contains(&u32::from(code));
        *has |= holds(code) || (fold && (holds(code.to_ascii_lowercase()) || holds(code.to_ascii_uppercase())));
    }
    Ok(())
}

/// A class by what its characters are. Under flag `i` it is folded before it is negated, as in Go.
fn named_set(holds: fn(char) -> bool, negated: bool, fold: bool) -> Set {
    let mut set = [false; ASCII];
    for (code, has) in (0u8..).zip(set.iter_mut()) {
        let holds = |code: u8| holds(char::from(code));
        let folded = holds(code) || (fold && (holds(code.to_ascii_lowercase()) || holds(code.to_ascii_uppercase())));
        *has = folded != negated;
    }
    set
}

fn join(set: &mut Set, other: &Set) {
    set.iter_mut().zip(other).for_each(|(has, other)| *has |= other);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go makes of some thousand patterns (`test/oracle/users`).
    const OF_GO: &str = include_str!("../../../test/fixtures/users/patterns.jsonl");
    /// What this gate does not read though Go does.
    const NOT_READ: [&str; 4] = [
        "it repeats what stands before flags, which this gate does not read",
        "classes of Unicode are not read by this gate: names of actions are ASCII",
        "characters that are not ASCII are not read by this gate under flag i",
        "it is too large",
    ];

    #[derive(serde::Deserialize)]
    struct Line {
        pattern: String,
        compiles: bool,
        fits: Vec<usize>,
    }

    #[test]
    fn a_pattern_fits_what_it_fits_in_go_or_is_refused() {
        let (texts, lines) = OF_GO.split_once('\n').unwrap();
        let texts: Vec<String> = serde_json::from_str(texts).unwrap();
        let (mut alike, mut not_read, mut bad) = (0, 0, 0);
        for line in lines.lines() {
            let line: Line = serde_json::from_str(line).unwrap();
            let written = &line.pattern;
            match Pattern::read(written) {
                // Texts that are not ASCII are no names of actions.
                Ok(pattern) => {
                    let fits = |text: &String| pattern.fits(text);
                    let here: Vec<usize> = (0..texts.len()).filter(|at| texts[*at].is_ascii() && fits(&texts[*at])).collect();
                    let there: Vec<usize> = line.fits.into_iter().filter(|at| texts[*at].is_ascii()).collect();
                    assert!(line.compiles, "{written}: Go does not compile it");
                    assert_eq!(here, there, "{written}");
                    alike += 1;
                }
                Err(why) if line.compiles => {
                    assert!(NOT_READ.contains(&why), "{written}: {why}");
                    not_read += 1;
                }
                Err(_) => bad += 1,
            }
        }
        assert!(alike > 1000 && bad > 1000 && not_read < alike / 10, "{alike} {not_read} {bad}");
    }

    #[test]
    fn what_would_cost_too_much_is_refused() {
        for (written, why) in [
            ("a".repeat(2000), "it is too long"),
            (format!("{}{}", "(".repeat(60), ")".repeat(60)), "its groups are nested too deep"),
            (format!("({}){{1000}}", "a".repeat(900)), "it is too large"),
        ] {
            assert_eq!(Pattern::read(&written).err(), Some(why));
        }
        assert!(Pattern::read("(a{100}){10}").is_ok());
    }
}
