//! From texts to policies that can be asked: bounds, the dialect, functions that are not there, queries that name no rule. Parsing
//! runs on a thread of its own, under a deadline: there are texts that regorus takes years for.

use crate::order::Ordered as _;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::mpsc;
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use super::remembered::{CHANGING, Remembered};
use super::text::{Text, recursion};
use super::{Compiled, Fault, Query, STACK, Sources, builtins, here};
use crate::text::{clean, fit};

/// Largest file, in bytes. Honest ones have some kilobytes.
const FILE_BYTES: usize = 1 << 20;
/// Most files, and most queries: each query is evaluated for every call.
const FILES: usize = 64;
const QUERIES: usize = 16;
/// How long all files may take to be parsed and compiled. A large honest file takes a tenth of a second.
const PARSES: Duration = Duration::from_secs(5);
/// How long one rule may take, as far as regorus looks: between steps. A function that takes longer is not stopped by it.
const RULE: ExecutionTimerConfig =
    ExecutionTimerConfig { limit: Duration::from_millis(500), check_interval: NonZeroU32::MIN.saturating_add(99) };
/// Longest fault that is shown, in characters.
const FAULT: usize = 240;
/// The package of the rules that ask.
const ASKED: &str = "img_authz_asked";
/// Packages whose queries are about images.
const OF_IMAGES: [&str; 2] = ["docker.registry", "docker.image"];
/// Members that only an image's configuration has; where it is not known, a policy that reads one cannot be answered.
const OF_CONFIG: [&str; 4] = ["Config", "labels", "scan_status", "created"];

/// Reads, checks and compiles, for as long as [`PARSES`].
pub(super) fn in_time(sources: Sources) -> Result<Compiled, Vec<Fault>> {
    let files = sources.files.iter().map(|file| file.name.clone()).collect::<Vec<_>>().join(", ");
    let (answer, answered) = mpsc::sync_channel(1);
    let started = std::thread::Builder::new().name("rego-load".into()).stack_size(STACK).spawn(move || {
        // Whoever waited may have given up.
        let _ = answer.send(compiled(sources));
    });
    let failed = |what: String| Err(vec![Fault { file: None, line: None, what }]);
    match started {
        Err(error) => failed(format!("no thread can be started to read Rego policies: {error}")),
        Ok(_) => match answered.recv_timeout(PARSES) {
            Ok(compiled) => compiled,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let seconds = PARSES.as_secs();
                failed(fit(
                    &format!("{files}: not parsed within {seconds} s; write nested brackets as rules of their own"),
                    FAULT,
                ))
            }
            // The thread has panicked.
            Err(mpsc::RecvTimeoutError::Disconnected) => failed(fit(&format!("{files}: the parser failed"), FAULT)),
        },
    }
}

fn compiled(sources: Sources) -> Result<Compiled, Vec<Fault>> {
    let too_many = |what: &str, most: usize| vec![Fault { file: None, line: None, what: format!("more than {most} {what}") }];
    if sources.files.len() > FILES {
        return Err(too_many("Rego files", FILES));
    }
    if sources.queries.len() > QUERIES {
        return Err(too_many("Rego queries", QUERIES));
    }
    let mut faults = Vec::new();
    let mut texts = Vec::new();
    for file in &sources.files {
        let read = if file.text.len() > FILE_BYTES {
            Err((1, format!("the file has more than {FILE_BYTES} bytes")))
        } else {
            Text::read(&file.text)
        };
        match read {
            Ok(text) => texts.push((file, text)),
            Err((line, what)) => faults.push(Fault { file: Some(file.name.clone()), line: Some(line), what }),
        }
    }
    let heads: Vec<String> = texts.iter().flat_map(|(_, text)| text.defined().collect::<Vec<_>>()).collect();
    let count = heads.len();
    let defined: BTreeSet<String> = heads.into_iter().ordered();
    let calls: Vec<_> = texts.iter().map(|(file, text)| (file.name.clone(), text.calls(&defined))).collect();
    let all: Vec<_> = calls.iter().flat_map(|(_, calls)| calls.iter().cloned()).collect();
    if let Some((name, line)) = recursion(&all) {
        let file = calls.iter().find(|(_, calls)| calls.iter().any(|(from, at, _)| from == name && *at == line));
        let what = format!("function `{}` calls itself, directly or by others", clean(name));
        faults.push(Fault { file: file.map(|(file, _)| file.clone()), line: Some(line), what });
    }
    let mut engine = Engine::new();
    engine.set_strict_builtin_errors(false);
    // Or they would go to the gate's own output, with bodies and all.
    engine.set_gather_prints(true);
    engine.set_execution_timer_config(RULE);
    if let Err(what) = builtins::add_to(&mut engine) {
        faults.push(Fault { file: None, line: None, what });
    }
    for (file, text) in &texts {
        let mut found = text.faults(&defined);
        if let (Some(line), false) = (text.mentions("Resolved"), sources.sees_host) {
            found.push((line, "`BindMounts[].Resolved` is not known here: the managed plugin does not see the host's paths; compare `Source`, or run the plain binary".to_owned()));
        }
        if found.is_empty()
            && let Err((line, what)) = add(&mut engine, &file.name, &file.text, text)
        {
            found.push((line, what));
        }
        faults.extend(found.into_iter().map(|(line, what)| Fault { file: Some(file.name.clone()), line: Some(line), what }));
    }
    // Where a file is at fault, what others refer to is missing.
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut queries = Vec::new();
    let mut asked = format!("package {ASKED}\n");
    for (number, rule) in sources.queries.iter().enumerate() {
        match query(&engine, &texts, rule, number) {
            Ok((query, text)) => {
                queries.push(query);
                asked.push_str(&text);
            }
            Err(what) => faults.push(Fault { file: None, line: None, what }),
        }
    }
    engine.set_rego_v0(false);
    if let Err(error) = engine.add_policy(ASKED.to_owned(), asked) {
        faults.push(Fault { file: None, line: None, what: plain(&error.to_string()).1 });
    }
    // The first evaluation compiles: recursion, conflicts, variables that nothing binds.
    engine.set_input(Value::new_object());
    if let (Some(first), true) = (queries.first(), faults.is_empty())
        && let Err(error) = engine.eval_rule(first.asked.clone())
        && let (Some((file, line)), what) = plain_at(&error.to_string(), &sources)
        && is_static(&what)
    {
        faults.push(Fault { file: Some(file), line: Some(line), what });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let mentions = |name: &str| texts.iter().any(|(_, text)| text.mentions(name).is_some());
    let (looks, reads_config) = (sources.sees_host && mentions("Resolved"), OF_CONFIG.iter().any(|name| mentions(name)));
    let remembered = (!looks && !CHANGING.iter().any(|name| mentions(name))).then(Remembered::default);
    let is_quick = !looks && here::is_quick(texts.iter().map(|(_, text)| text), &defined, [count, queries.len()]);
    drop(texts);
    Ok(Compiled { sources, engine, queries, looks, reads_config, remembered, is_quick })
}

/// Adds a file in the dialect that it is written in.
fn add(engine: &mut Engine, name: &str, text: &str, read: &Text<'_>) -> Result<(), (usize, String)> {
    engine.set_rego_v0(false);
    let Err(new) = engine.add_policy(name.to_owned(), text.to_owned()) else { return Ok(()) };
    let (new_line, new) = plain(&new.to_string());
    let is_of_the_old = ["`if` keyword is required", "`contains` keyword is required", "must have a body or assignment"]
        .iter()
        .any(|complaint| new.contains(complaint));
    if !is_of_the_old || !read.may_be_old() {
        return Err((new_line, new));
    }
    engine.set_rego_v0(true);
    let Err(old) = engine.add_policy(name.to_owned(), text.to_owned()) else { return Ok(()) };
    let (old_line, old) = plain(&old.to_string());
    match read.with_in() {
        // Published policies use `in` without its import.
        Some(with_in) => engine.add_policy(name.to_owned(), with_in).map(drop).map_err(|_| (old_line, old)),
        None => Err((old_line, old)),
    }
}

/// A query must name a rule that is there. With the text of the rule that asks it, which has this number.
fn query(engine: &Engine, texts: &[(&super::File, Text<'_>)], rule: &str, number: usize) -> Result<(Query, String), String> {
    let shown = clean(rule);
    let wrong = || format!("query `{shown}` is not the path of a rule, such as `data.docker.authz.allow`");
    let parts: Vec<&str> = rule.split('.').collect();
    let is_name = |part: &&str| {
        part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && part.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
    };
    let (package, name) = match parts.as_slice() {
        ["data", package @ .., name] if !package.is_empty() && parts.iter().all(is_name) => (package, *name),
        _ => return Err(wrong()),
    };
    let has = |name: &str| {
        texts
            .iter()
            .filter(|(_, text)| text.package == package)
            .any(|(file, _)| engine.has_declared_rule_rooted_at(&file.name, name).unwrap_or_default())
    };
    if !has(name) {
        return Err(format!("query `{shown}` names a rule that no file has"));
    }
    let package = package.join(".");
    let deny = has("deny").then(|| format!("data.{package}.deny"));
    let text = asked(number, deny.as_deref(), rule);
    let of_images = OF_IMAGES.contains(&package.as_str());
    let named = |name: &str| format!("data.{ASKED}.{name}{number}");
    Ok((Query { rule: rule.to_owned(), asked: named("both"), asked_apart: named("each"), of_images }, text))
}

/// The rules that ask a query: what `deny` comes to, and what the rule does, each in a list. Of `each` a list is empty where that is
/// undefined; `both` costs less, and is undefined itself then.
fn asked(number: usize, deny: Option<&str>, rule: &str) -> String {
    let lists = |value: fn(&str) -> String| format!("[{}, {}]", deny.map_or_else(|| "[]".to_owned(), value), value(rule));
    let [both, each] = [lists(|of| format!("[{of}]")), lists(|of| format!("[value | value := {of}]"))];
    format!("both{number} := {both}\neach{number} := {each}\n")
}

/// What such a rule has answered: `deny`, and the rule.
pub(super) fn answered(answer: &Value) -> [Value; 2] {
    let items = |list: &Value| if let Value::Array(items) = list { items.iter().cloned().collect() } else { Vec::new() };
    let mut lists = items(answer).into_iter();
    [(); 2].map(|()| lists.next().and_then(|list| items(&list).into_iter().next()).unwrap_or(Value::Undefined))
}

/// Whether an error is of the policy itself, whatever the input is.
fn is_static(what: &str) -> bool {
    ["recursion", "unsafe", "could not find", "cyclic", "undefined variable", "not bound"].iter().any(|word| what.contains(word))
}

/// regorus' error in one line, with the line of the text that it is about: it draws an arrow below a piece of the text.
pub(super) fn plain(error: &str) -> (usize, String) {
    let what = error.rsplit_once("error: ").map_or(error, |(_, what)| what);
    let at = error.split("--> ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let line = at.rsplit(':').nth(1).and_then(|line| line.parse().ok()).unwrap_or(1);
    (line, fit(what.trim(), FAULT))
}

fn plain_at(error: &str, sources: &Sources) -> (Option<(String, usize)>, String) {
    let (line, what) = plain(error);
    let file = sources.files.iter().find(|file| error.contains(&format!("--> {}:", file.name)));
    (file.map(|file| (file.name.clone(), line)), what)
}
