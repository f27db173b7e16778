//! The functions that policies may call: regorus', and those of OPA that it lacks and that cost little. Regular expressions are read
//! as Go means them.

use crate::order::Ordered as _;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use regex::{Regex, RegexBuilder};
use regorus::{Engine, Value};

/// Functions that reach out of the decision, or tell of the process. regorus would leave them undefined, which makes `not f(x)` true.
pub(super) const FORBIDDEN: [&str; 3] = ["http.send", "net.lookup_ip_addr", "opa.runtime"];

/// regorus' own, with the features that are asked for in `Cargo.toml`.
const BUILT_IN: [&str; 118] = [
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "base64url.decode",
    "base64url.encode",
    "base64url.encode_no_pad",
    "bits.and",
    "bits.lsh",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "graph.reachable",
    "graph.reachable_paths",
    "hex.decode",
    "hex.encode",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.marshal_with_options",
    "json.patch",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "net.cidr_contains",
    "net.cidr_expand",
    "net.cidr_is_valid",
    "numbers.range",
    "numbers.range_step",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "print",
    "product",
    "rand.intn",
    "regex.find_n",
    "regex.is_valid",
    "regex.match",
    "regex.replace",
    "regex.split",
    "regex.template_match",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "set",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.replace_n",
    "strings.reverse",
    "substring",
    "sum",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.diff",
    "time.format",
    "time.now_ns",
    "time.parse_duration_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trace",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "units.parse",
    "units.parse_bytes",
    "upper",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
    "uuid.parse",
    "uuid.rfc4122",
    "walk",
    "__builtin_sets.union",
    "__builtin_sets.intersection",
];

/// A function of ours.
type Own = fn(&[Value]) -> Result<Value, Bad>;

/// A regular expression that does not compile: Go might know what it means, so nothing is said to be undefined.
#[derive(Debug, thiserror::Error)]
#[error("regular expression `{0}` cannot be read")]
struct Bad(String);

/// Ours: name, how many arguments, what it does. Where OPA has an error, the result is undefined, as it is there,
/// but for expressions that cannot be read.
const OWN: [(&str, u8, Own); 15] = [
    ("re_match", 2, is_match),
    ("regex.match", 2, is_match),
    ("regex.is_valid", 1, |args| Ok(is_valid(args))),
    ("regex.split", 2, split),
    ("regex.replace", 3, replace),
    ("regex.find_n", 3, find_n),
    ("any", 1, |args| Ok(any(args))),
    ("all", 1, |args| Ok(all(args))),
    ("set_diff", 2, |args| Ok(set_diff(args))),
    ("cast_array", 1, |args| Ok(cast_array(args))),
    ("cast_set", 1, |args| Ok(cast_set(args))),
    ("cast_string", 1, |args| Ok(only(args, |value| matches!(value, Value::String(_))))),
    ("cast_boolean", 1, |args| Ok(only(args, |value| matches!(value, Value::Bool(_))))),
    ("cast_null", 1, |args| Ok(only(args, |value| matches!(value, Value::Null)))),
    ("cast_object", 1, |args| Ok(only(args, |value| matches!(value, Value::Object(_))))),
];

/// Whether a policy may call it.
pub(super) fn is_there(name: &str) -> bool {
    BUILT_IN.contains(&name) || OWN.iter().any(|(own, _, _)| *own == name)
}

/// Adds ours to an engine.
pub(super) fn add_to(engine: &mut Engine) -> Result<(), String> {
    for (name, count, own) in OWN {
        let run = move |args: Vec<Value>| Ok(own(&args)?);
        engine.add_extension(name.to_owned(), count, Box::new(run)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn only(args: &[Value], test: fn(&Value) -> bool) -> Value {
    args.first().filter(|value| test(value)).cloned().unwrap_or(Value::Undefined)
}

/// The elements of a list or a set.
fn elements(value: Option<&Value>) -> Option<Vec<Value>> {
    match value {
        Some(Value::Array(list)) => Some(list.iter().cloned().collect()),
        Some(Value::Set(set)) => Some(set.iter().cloned().collect()),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) | Value::Undefined) | None => {
            None
        }
    }
}

fn any(args: &[Value]) -> Value {
    elements(args.first()).map_or(Value::Undefined, |found| Value::Bool(found.contains(&Value::Bool(true))))
}

fn all(args: &[Value]) -> Value {
    elements(args.first()).map_or(Value::Undefined, |found| Value::Bool(found.iter().all(|one| *one == Value::Bool(true))))
}

fn set_diff(args: &[Value]) -> Value {
    match args {
        [Value::Set(one), Value::Set(other)] => {
            let left: BTreeSet<Value> = one.iter().filter(|value| !other.contains(value)).cloned().ordered();
            Value::from(left)
        }
        _ => Value::Undefined,
    }
}

fn cast_array(args: &[Value]) -> Value {
    elements(args.first()).map_or(Value::Undefined, Value::from)
}

fn cast_set(args: &[Value]) -> Value {
    elements(args.first()).map_or(Value::Undefined, |found| Value::from(found.into_iter().ordered::<BTreeSet<_>>()))
}

/// Most expressions that are kept compiled, of one thread. A policy has a few; one that makes them of its input makes endlessly many.
const MAX_KEPT: usize = 256;
/// Largest compiled expression, in bytes. Stops a pattern from filling memory.
const REGEX_BYTES: usize = 1 << 20;
/// Longest pattern.
const PATTERN_BYTES: usize = 16 << 10;

thread_local! {
    static KEPT: RefCell<HashMap<String, Option<Regex>>> = RefCell::default();
}

/// The expression, as Go means it.
fn compiled(pattern: &str) -> Result<Regex, Bad> {
    let bad = || Bad(crate::text::clean(pattern));
    if let Some(kept) = KEPT.with_borrow(|kept| kept.get(pattern).cloned()) {
        return kept.ok_or_else(bad);
    }
    let meant = (pattern.len() <= PATTERN_BYTES).then(|| gos_meaning(pattern)).flatten();
    let made = meant.and_then(|meant| RegexBuilder::new(&meant).size_limit(REGEX_BYTES).build().ok());
    KEPT.with_borrow_mut(|kept| {
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(pattern.to_owned(), made.clone());
    });
    made.ok_or_else(bad)
}

/// A pattern of Go's (RE2) in Rust's words: its classes are ASCII, and inside of brackets it knows no brackets and no operators.
/// `None` where it has what only Rust knows.
fn gos_meaning(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut characters = pattern.chars().peekable();
    // Inside of brackets; and the character before, for the operators that are two of one.
    let (mut in_class, mut before) = (false, '\0');
    while let Some(character) = characters.next() {
        let last = std::mem::replace(&mut before, character);
        match (character, in_class) {
            ('\\', _) => {
                before = '\0';
                let escaped = characters.next()?;
                let (class, is_negated) = match escaped {
                    'w' => ("0-9A-Za-z_", false),
                    'W' => ("0-9A-Za-z_", true),
                    'd' => ("0-9", false),
                    'D' => ("0-9", true),
                    's' => ("\\t\\n\\f\\r ", false),
                    'S' => ("\\t\\n\\f\\r ", true),
                    'b' if !in_class => {
                        out.push_str("(?-u:\\b)");
                        continue;
                    }
                    'Q' => {
                        let rest: String = characters.clone().collect();
                        let quoted = rest.split_once("\\E").map_or(rest.as_str(), |(quoted, _)| quoted);
                        out.push_str(&regex::escape(quoted));
                        let ending = if quoted.len() == rest.len() { 0 } else { 2 };
                        characters.by_ref().take(quoted.chars().count() + ending).for_each(drop);
                        continue;
                    }
                    // Words of Rust's alone.
                    '<' | '>' | 'u' | 'U' => return None,
                    other => {
                        out.extend(['\\', other]);
                        if matches!(other, 'p' | 'P' | 'x') && characters.next_if_eq(&'{').is_some() {
                            out.push('{');
                            out.extend(characters.by_ref().take_while(|character| *character != '}'));
                            out.push('}');
                        }
                        continue;
                    }
                };
                match (is_negated, in_class) {
                    (false, true) => out.push_str(class),
                    (false, false) => out.extend(["[", class, "]"]),
                    (true, _) => out.extend(["[^", class, "]"]),
                }
            }
            ('[', false) => {
                in_class = true;
                before = '\0';
                out.push('[');
                // A bracket that closes is a character at the beginning.
                if characters.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if characters.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            ('(', false) => {
                out.push('(');
                // Flags: Go has i, m, s and U.
                let rest: String = characters.clone().take(8).collect();
                if let Some(flags) = rest.strip_prefix('?')
                    && flags
                        .chars()
                        .take_while(|flag| flag.is_ascii_alphabetic() || *flag == '-')
                        .any(|flag| "xuR".contains(flag))
                {
                    return None;
                }
            }
            ('{', false) if !is_repetition(characters.clone()) => out.push_str("\\{"),
            ('[', true) if characters.peek() == Some(&':') => out.push('['),
            ('[', true) => out.push_str("\\["),
            (']', true) if last == ':' => out.push(']'),
            (']', true) => {
                in_class = false;
                out.push(']');
            }
            ('&' | '~' | '-', true) if last == character => {
                before = '\0';
                out.extend(['\\', character]);
            }
            (character, _) => out.push(character),
        }
    }
    Some(out)
}

/// Whether what stands behind a bracket makes it a repetition: `{3}`, `{3,}`, `{3,4}`. Any other is a character to Go.
fn is_repetition(rest: impl Iterator<Item = char>) -> bool {
    let inside: String = rest.take_while(|character| *character != '}').take(16).collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    inside
        .split_once(',')
        .map_or_else(|| is_number(&inside), |(least, most)| is_number(least) && (most.is_empty() || is_number(most)))
}

fn texts<const N: usize>(args: &[Value]) -> Option<[&str; N]> {
    let mut found = [""; N];
    for (place, value) in found.iter_mut().zip(args) {
        let Value::String(text) = value else { return None };
        *place = text;
    }
    (args.len() >= N).then_some(found)
}

fn is_match(args: &[Value]) -> Result<Value, Bad> {
    let Some([pattern, text]) = texts(args) else { return Ok(Value::Undefined) };
    Ok(Value::Bool(compiled(pattern)?.is_match(text)))
}

fn is_valid(args: &[Value]) -> Value {
    Value::Bool(texts(args).is_some_and(|[pattern]| compiled(pattern).is_ok()))
}

fn split(args: &[Value]) -> Result<Value, Bad> {
    let Some([pattern, text]) = texts(args) else { return Ok(Value::Undefined) };
    Ok(Value::from(compiled(pattern)?.split(text).map(Value::from).collect::<Vec<_>>()))
}

fn replace(args: &[Value]) -> Result<Value, Bad> {
    let Some([text, pattern, by]) = texts(args) else { return Ok(Value::Undefined) };
    Ok(Value::from(compiled(pattern)?.replace_all(text, by).as_ref()))
}

fn find_n(args: &[Value]) -> Result<Value, Bad> {
    let (Some([pattern, text]), Some(Ok(count))) = (texts(args), args.get(2).map(Value::as_i64)) else {
        return Ok(Value::Undefined);
    };
    // A negative number is all of them.
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let regex = compiled(pattern)?;
    Ok(Value::from(regex.find_iter(text).take(most).map(|found| Value::from(found.as_str())).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(expression: &str) -> Value {
        let mut engine = Engine::new();
        add_to(&mut engine).unwrap();
        engine.set_strict_builtin_errors(false);
        engine.add_policy("t.rego".into(), format!("package t\nx := {expression}\n")).unwrap();
        engine.eval_rule("data.t.x".into()).unwrap()
    }

    /// regorus says that a function is not there when it is called, whatever its arguments are.
    #[test]
    fn every_function_that_is_said_to_be_there_is() {
        let is_missing = |name: &&&str| {
            let mut engine = Engine::new();
            engine.set_gather_prints(true);
            engine.add_policy("t.rego".into(), format!("package t\nx := {name}(1, 2, 3, 4, 5)\n")).unwrap();
            engine.eval_rule("data.t.x".into()).is_err_and(|error| error.to_string().contains("could not find"))
        };
        let missing: Vec<_> = BUILT_IN.iter().filter(|name| **name != "set").filter(is_missing).collect();
        assert!(missing.is_empty(), "{missing:?}");
        for name in FORBIDDEN {
            assert!(!is_there(name), "{name}");
        }
    }

    #[test]
    fn the_old_functions_mean_what_they_mean_in_opa() {
        for (expression, expected) in [
            ("any([false, true])", "true"),
            ("any([])", "false"),
            ("any({1})", "false"),
            ("all([true, true])", "true"),
            ("all([])", "true"),
            ("all([true, 1])", "false"),
            ("set_diff({1, 2}, {2})", "{1}"),
            ("cast_array({1})", "[1]"),
            ("cast_set([1, 1])", "{1}"),
            ("cast_string(\"a\")", "\"a\""),
            ("cast_boolean(true)", "true"),
            ("cast_null(null)", "null"),
            ("cast_object({\"a\": 1})", "{\"a\": 1}"),
            ("re_match(\"^a\", \"ab\")", "true"),
            ("re_match(\"^b\", \"ab\")", "false"),
            ("regex.split(\",\", \"a,b\")", "[\"a\", \"b\"]"),
            ("regex.replace(\"abc\", \"b+\", \"x\")", "\"axc\""),
            ("regex.find_n(\"[a-z]\", \"a1b2\", -1)", "[\"a\", \"b\"]"),
            ("regex.find_n(\"[a-z]\", \"a1b2\", 1)", "[\"a\"]"),
            ("regex.is_valid(\"a(\")", "false"),
        ] {
            assert_eq!(value(expression), value(expected), "{expression}");
        }
        for expression in ["cast_string(1)", "cast_array(\"a\")", "any(1)", "re_match(1, \"a\")", "set_diff([1], {1})"] {
            assert_eq!(value(expression), Value::Undefined, "{expression}");
        }
    }

    #[test]
    fn zones_are_those_of_the_iana_database() {
        let (summer, winter) = ("1751371200000000000", "1735732800000000000");
        for (time, zone, clock) in [
            (summer, "Europe/Berlin", "[14, 0, 0]"),
            (winter, "Europe/Berlin", "[13, 0, 0]"),
            (winter, "America/New_York", "[7, 0, 0]"),
            (winter, "US/Pacific", "[4, 0, 0]"),
            (winter, "Asia/Kathmandu", "[17, 45, 0]"),
            (winter, "Asia/Calcutta", "[17, 30, 0]"),
            (winter, "Etc/UTC", "[12, 0, 0]"),
            (winter, "Etc/GMT+5", "[7, 0, 0]"),
            (winter, "GMT", "[12, 0, 0]"),
            (winter, "UTC", "[12, 0, 0]"),
            ("4102444800000000000", "Europe/Berlin", "[1, 0, 0]"),
            ("-9000000000000000000", "Asia/Tokyo", "[17, 18, 59]"),
        ] {
            assert_eq!(value(&format!("time.clock([{time}, \"{zone}\"])")), value(clock), "{zone} {time}");
        }
        assert_eq!(value("time.weekday([1735743600000000000, \"Asia/Tokyo\"])"), Value::from("Thursday"));
        for zone in ["Europe/Berln", "europe/berlin", "Etc/Unknown", "../etc/passwd", "CEST"] {
            assert_eq!(value(&format!("time.clock([0, \"{zone}\"])")), Value::Undefined, "{zone}");
        }
    }

    #[test]
    fn expressions_mean_what_they_mean_in_go() {
        for (pattern, text, matches) in [
            (r"^\w{1,128}$", "abc_1", true),
            (r"^\w+$", "é", false),
            (r"^\d+$", "١", false),
            (r"^\W$", "é", true),
            (r"^[\w.-]+$", "a.b-c", true),
            (r"^[^\s]+$", "a\u{a0}b", true),
            (r"\bé", "aé", true),
            (r"^[[a]$", "[", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[[:alpha:]x-]+$", "ax-", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]$", "b", true),
            (r"^\[a\]$", "[a]", true),
            (r"^a{,5}$", "aaa", false),
            (r"^a{,5}$", "a{,5}", true),
            (r"^{$", "{", true),
            (r"^a{2,}$", "aaa", true),
            (r"^\Qa.b\E.$", "a.bc", true),
            (r"^\Qa.b\E.$", "axbc", false),
            (r"^\p{Greek}$", "α", true),
            (r"(?i)^A$", "a", true),
        ] {
            let regex = compiled(pattern).unwrap_or_else(|_| panic!("{pattern}: {:?}", gos_meaning(pattern)));
            assert_eq!(regex.is_match(text), matches, "{pattern} {text}");
        }
        // What cannot be read is an error: undefined, `not` would make true of it.
        let long = "a".repeat(PATTERN_BYTES + 1);
        for pattern in ["a(", r"\<a", "(?x)a", r"\u0061", r"a(?=b)", "((a{100}){100}){100}", &long] {
            assert!(compiled(pattern).is_err(), "{pattern}");
        }
    }
}
