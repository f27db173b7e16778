//! `policy diff --record`: decisions that a gate has kept, judged by two policies. What comes out differently is told in groups, by verdicts
//! and by what decides in either policy; what lacks facts is counted apart, and never guessed.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::super::{NO, UNKNOWN, YES, out};
use super::cases::{Answer, found};
use crate::cases::Bench;
use crate::files::read_text;
use crate::policy::{CASE_BYTES, Case, Recorded};
use crate::text::{clean, escaped};

/// Decisions of a group that are named.
const NAMED: usize = 4;

/// What became of a decision, compared with its other judge.
enum Compared {
    Same,
    Changed(Box<[Answer; 2]>),
    Unknown(String),
}

/// Decisions that come out differently in the same way.
struct Group<'c> {
    answers: Box<[Answer; 2]>,
    cases: Vec<&'c Case>,
}

/// All that was compared.
#[derive(Default)]
struct Told<'c> {
    same: usize,
    changed: Vec<Group<'c>>,
    unknown: BTreeMap<String, Vec<&'c Case>>,
    /// Those that were decided by another policy than the old one, and come out otherwise by that.
    otherwise: usize,
    /// Files that are no record.
    unread: Vec<String>,
}

pub(super) fn run(
    folder: &Path,
    since: Option<Timestamp>,
    benches: [&Bench; 2],
    runtime: &tokio::runtime::Runtime,
    json: bool,
) -> u8 {
    if !folder.exists() {
        out::fault(&format!("`{}` is not there: give the folder of `record` in the policy", folder.display()));
        return UNKNOWN;
    }
    let paths = match found(folder) {
        Ok(paths) => paths,
        Err(why) => {
            out::fault(&why);
            return UNKNOWN;
        }
    };
    let mut told = Told::default();
    let mut cases = Vec::new();
    for path in paths {
        match read(&path) {
            Ok(read) => cases.extend(read.into_iter().filter(|case| is_since(case, since))),
            Err(why) => told.unread.push(why),
        }
    }
    for case in &cases {
        told.add(case, runtime.block_on(compare(benches, case)), benches);
    }
    if json {
        out::json(&told.json());
    } else {
        told.lines();
    }
    if let (Some(since), true) = (since, cases.is_empty()) {
        out::fault(&format!("nothing in `{}` was decided since {since}: nothing was compared", folder.display()));
        return UNKNOWN;
    }
    match (told.changed.is_empty(), told.unknown.is_empty() && told.unread.is_empty()) {
        (false, _) => NO,
        (true, false) => UNKNOWN,
        (true, true) => YES,
    }
}

/// The records of a file, or why it has none.
fn read(path: &Path) -> Result<Vec<Case>, String> {
    let told = |why: &dyn std::fmt::Display| format!("`{}`: {why}", path.display());
    let text = read_text(path, CASE_BYTES).map_err(|error| told(&error))?;
    let cases = Case::read(path, &text);
    let cases = cases.map_err(|faults| faults.first().map_or_else(|| told(&"is no record"), ToString::to_string))?;
    if cases.iter().any(|case| case.recorded.is_none()) {
        return Err(told(&"has a case that no gate has recorded; use --cases"));
    }
    Ok(cases)
}

fn is_since(case: &Case, since: Option<Timestamp>) -> bool {
    since.is_none_or(|since| case.recorded.as_ref().is_some_and(|recorded| recorded.seen.last >= since))
}

async fn compare(benches: [&Bench; 2], case: &Case) -> Compared {
    let mut answers = Vec::new();
    for (bench, name) in benches.into_iter().zip(["old", "new"]) {
        match bench.replay(case).await {
            Ok(outcome) => answers.push(Answer::of(bench, &outcome)),
            Err(why) => return Compared::Unknown(format!("by the {name} policy: {why}")),
        }
    }
    let Ok([old, new]) = <[Answer; 2]>::try_from(answers) else { return Compared::Unknown("it was not judged".to_owned()) };
    // By the policy that decided it, it comes out as it did, or something that it hung on is not kept.
    if is_of(benches, case) && !is_as_recorded(case, &old) {
        return Compared::Unknown(
            "by the policy that decided it, it comes out otherwise now: something that it hung on is not kept".to_owned(),
        );
    }
    if old.is_same(&new) { Compared::Same } else { Compared::Changed(Box::new([old, new])) }
}

/// Whether the old policy is the one that was in force.
fn is_of(benches: [&Bench; 2], case: &Case) -> bool {
    let [old, _] = benches;
    let recorded = case.recorded.as_ref().map(|recorded| recorded.policy);
    old.recording.as_ref().is_some_and(|recording| Some(recording.policy) == recorded)
}

fn is_as_recorded(case: &Case, answer: &Answer) -> bool {
    case.expected.allow == answer.allow && case.expected.code.as_deref().unwrap_or_default() == answer.code
}

/// How often it was so decided.
fn times(case: &Case) -> u64 {
    case.recorded.as_ref().map_or(1, |recorded: &Recorded| recorded.seen.times)
}

fn times_of(cases: &[&Case]) -> u64 {
    cases.iter().map(|case| times(case)).fold(0, u64::saturating_add)
}

impl<'c> Told<'c> {
    fn add(&mut self, case: &'c Case, compared: Compared, benches: [&Bench; 2]) {
        match compared {
            Compared::Unknown(why) => self.unknown.entry(why).or_default().push(case),
            Compared::Same => self.same += 1,
            Compared::Changed(answers) => {
                let key = |answers: &[Answer; 2]| answers.each_ref().map(|answer| (answer.told(), answer.at.clone()));
                if !is_of(benches, case) && answers.first().is_some_and(|old| !is_as_recorded(case, old)) {
                    self.otherwise += 1;
                }
                match self.changed.iter_mut().find(|group| key(&group.answers) == key(&answers)) {
                    Some(group) => group.cases.push(case),
                    None => self.changed.push(Group { answers, cases: vec![case] }),
                }
            }
        }
    }

    fn changed_to(&self, passes: bool) -> usize {
        let is_so = |group: &&Group<'_>| {
            let [old, new] = &*group.answers;
            new.passes == passes && old.passes != passes
        };
        self.changed.iter().filter(is_so).map(|group| group.cases.len()).sum()
    }

    fn count(&self) -> usize {
        let changed: usize = self.changed.iter().map(|group| group.cases.len()).sum();
        self.same + changed + self.unknown.values().map(Vec::len).sum::<usize>()
    }

    fn lines(&self) {
        for group in &self.changed {
            let [old, new] = &*group.answers;
            out::line(&format!("{} -> {}   {}", old.told(), new.told(), of(&group.cases)));
            for (name, answer) in [("old", old), ("new", new)] {
                let at = answer.at.as_deref().unwrap_or("no scope");
                let why = if answer.allow { String::new() } else { format!(": {}", answer.message) };
                out::line(&format!("        {name}: {}", escaped(&format!("{at}{why}"))));
            }
            named(&group.cases);
        }
        for (why, cases) in &self.unknown {
            out::line(&format!("unknown   {}: {}", of(cases), escaped(why)));
            named(cases);
        }
        for why in &self.unread {
            out::line(&format!("not read   {}", escaped(why)));
        }
        if self.otherwise > 0 {
            out::line(&format!(
                "{} of those that would change were decided by another policy than the old one here, and otherwise",
                self.otherwise
            ));
        }
        let (deny, allow) = (self.changed_to(false), self.changed_to(true));
        let changed: usize = self.changed.iter().map(|group| group.cases.len()).sum();
        out::line(&format!(
            "{}: {} the same, {deny} allow -> deny, {allow} deny -> allow, {} for another reason, {} unknown",
            counted(self.count()),
            self.same,
            changed - deny - allow,
            self.unknown.values().map(Vec::len).sum::<usize>()
        ));
    }

    fn json(&self) -> Json {
        let answer = |answer: &Answer| json!({ "allow": answer.allow, "passes": answer.passes, "code": answer.code, "message": answer.message, "at": answer.at });
        let decision = |case: &&Case| {
            let recorded = case.recorded.as_ref();
            json!({
                "name": case.name,
                "file": case.position.file.display().to_string(),
                "times": times(case),
                "first": recorded.map(|recorded| recorded.seen.first.to_string()),
                "last": recorded.map(|recorded| recorded.seen.last.to_string()),
            })
        };
        let decisions = |cases: &[&Case]| cases.iter().map(decision).collect::<Vec<_>>();
        let group = |group: &Group<'_>| {
            let [old, new] = &*group.answers;
            json!({ "old": answer(old), "new": answer(new), "decisions": decisions(&group.cases) })
        };
        let unknown = |(why, cases): (&String, &Vec<&Case>)| json!({ "why": why, "decisions": decisions(cases) });
        json!({
            "decisions": self.count(),
            "same": self.same,
            "to_deny": self.changed_to(false),
            "to_allow": self.changed_to(true),
            "changed": self.changed.iter().map(group).collect::<Vec<_>>(),
            "unknown": self.unknown.iter().map(unknown).collect::<Vec<_>>(),
            "not_read": self.unread,
            "otherwise_then": self.otherwise,
        })
    }
}

/// How many they are.
fn of(cases: &[&Case]) -> String {
    let (kinds, times) = (counted(cases.len()), times_of(cases));
    if times == cases.len() as u64 { kinds } else { format!("{kinds}, made {times} times") }
}

fn counted(decisions: usize) -> String {
    if decisions == 1 { "1 decision".to_owned() } else { format!("{decisions} decisions") }
}

/// The first of them by name.
fn named(cases: &[&Case]) {
    for case in cases.iter().take(NAMED) {
        out::line(&format!("        {}", clean(&case.name)));
    }
    if let Some(more) = cases.len().checked_sub(NAMED).filter(|more| *more > 0) {
        out::line(&format!("        and {more} more"));
    }
}
