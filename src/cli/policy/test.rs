//! `policy test`: cases judged by a policy, each held against what it expects, and what no case has reached.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};

use super::super::{NO, UNKNOWN, YES, out};
use super::cases::{Answer, CaseFile, Tried, bench, read, runtime};
use super::junit;
use crate::cases::{Bench, Outcome};
use crate::files::replace_regular;
use crate::policy::{Case, Scope};
use crate::text::{clean, escaped};

#[derive(Args)]
pub(super) struct TestArgs {
    /// A file of cases, or a folder with files whose names end with `cases.toml`
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The policy; without it `policy.toml` in the folder of the cases
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a report for CI servers, in the XML of `JUnit`
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// What cases have reached.
#[derive(Default)]
struct Reached {
    scopes: BTreeSet<String>,
    rules: BTreeSet<(String, &'static str)>,
}

pub(super) fn run(arguments: &TestArgs) -> u8 {
    let Some(files) = read(&arguments.path) else { return UNKNOWN };
    let folder = if arguments.path.is_dir() { Some(arguments.path.as_path()) } else { arguments.path.parent() };
    let beside = || folder.unwrap_or(Path::new(".")).join("policy.toml");
    let Some(runtime) = runtime() else { return UNKNOWN };
    let policy = arguments.policy.clone().unwrap_or_else(beside);
    let Some(bench) = bench(&policy, runtime.handle().clone()) else { return UNKNOWN };
    let mut reached = Reached::default();
    let mut tried: Vec<(&CaseFile, Vec<Tried<'_>>)> = Vec::new();
    for file in &files {
        let of = |case| runtime.block_on(attempt(&bench, case, &mut reached));
        tried.push((file, file.cases.iter().map(of).collect()));
    }
    let failed = tried.iter().flat_map(|(_, tried)| tried).filter(|tried| !tried.wrong.is_empty()).count();
    let (scopes, rules) = missed(&bench, &reached);
    if arguments.json {
        let cases: Vec<Json> = tried.iter().flat_map(|(_, tried)| tried).map(json_of).collect();
        out::json(&json!({ "good": failed == 0, "cases": cases, "not_reached": { "scopes": scopes, "rules": rules } }));
    } else {
        tell(&tried, failed);
        for scope in &scopes {
            out::line(&format!("no case reached scope {}", clean(scope)));
        }
        for rule in &rules {
            out::line(&format!("no case broke rule {}", clean(rule)));
        }
        if scopes.is_empty() {
            out::line("every scope was reached");
        }
    }
    if let Some(path) = &arguments.junit {
        let suites: Vec<_> = tried.iter().map(|(file, tried)| (file.path.as_path(), tried.as_slice())).collect();
        if let Err(error) = replace_regular(path, junit::report(&suites).as_bytes(), 0o644) {
            out::fault(&format!("`{}` cannot be written: {error}", path.display()));
            return UNKNOWN;
        }
    }
    if failed == 0 { YES } else { NO }
}

fn tell(tried: &[(&CaseFile, Vec<Tried<'_>>)], failed: usize) {
    let mut count = 0;
    for tried in tried.iter().flat_map(|(_, tried)| tried) {
        count += 1;
        let name = clean(&tried.case.name);
        if tried.wrong.is_empty() {
            out::line(&format!("ok      {name}"));
            continue;
        }
        out::line(&format!("FAILED  {name}  ({})", tried.case.position.short()));
        for line in &tried.wrong {
            out::line(&format!("        {}", escaped(line)));
        }
    }
    let cases = if count == 1 { "case" } else { "cases" };
    let failed_told = if failed == 0 { String::new() } else { format!(", {failed} failed") };
    out::line(&format!("{count} {cases}: {} ok{failed_told}", count - failed));
}

async fn attempt<'c>(bench: &Bench, case: &'c Case, reached: &mut Reached) -> Tried<'c> {
    let judged = match bench.unknown_verifier(case) {
        Some(why) => Err(why),
        None if case.recorded.is_some() => bench.replay(case).await.map_err(|why| format!("unknown: {why}")),
        None => bench.judge(case, &[]).await,
    };
    match judged {
        Ok(outcome) => {
            let answer = Answer::of(bench, &outcome);
            reached.note(bench, &outcome);
            let mut wrong = differences(case, &answer, &outcome.lacks);
            if !wrong.is_empty() && outcome.lacks.is_empty() {
                wrong.extend(bench.policy.explained(&outcome.judgement.facts, &outcome.judgement.verdict));
            }
            Tried { case, answer: Some(answer), wrong }
        }
        Err(why) => Tried { case, answer: None, wrong: vec![format!("could not be judged: {why}")] },
    }
}

/// What is not as the case expects it.
fn differences(case: &Case, answer: &Answer, lacks: &[String]) -> Vec<String> {
    let expected = &case.expected;
    if !lacks.is_empty() {
        return vec![format!("unknown: {}", lacks.join("; "))];
    }
    let mut wrong = Vec::new();
    let due_code = expected.code.as_deref().unwrap_or_default();
    if expected.allow != answer.allow || (!due_code.is_empty() && due_code != answer.code) {
        let due = if expected.allow { "allow".to_owned() } else { format!("deny {due_code}").trim_end().to_owned() };
        wrong.push(format!("expected {due}, got {}", answer.told()));
    }
    if let Some(part) = &expected.message
        && !answer.message.contains(part.as_str())
        && !answer.allow
    {
        wrong.push(format!("expected `{part}` in the refusal"));
    }
    if let Some(scope) = &expected.scope
        && answer.scope.as_ref() != Some(scope)
    {
        wrong.push(format!("expected scope `{scope}`, got {}", answer.scope.as_ref().map_or("none", String::as_str)));
    }
    if let Some(due) = &expected.findings {
        let due: Vec<&str> = due.iter().map(|rule| rule.about().id).collect();
        if due.iter().collect::<BTreeSet<_>>() != answer.findings.iter().collect() {
            let told = |ids: &[&str]| if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
            wrong.push(format!("expected findings {}, got {}", told(&due), told(&answer.findings)));
        }
    }
    if !wrong.is_empty() && !answer.allow {
        wrong.push(answer.message.clone());
    }
    wrong
}

/// What a scope is called here: two may have one name.
fn called(scope: &Scope) -> String {
    let at = scope.position.as_ref().map(|position| format!(" ({})", position.short())).unwrap_or_default();
    format!("`{}`{at}", scope.label())
}

impl Reached {
    fn note(&mut self, bench: &Bench, outcome: &Outcome) {
        let repositories = outcome.judgement.facts.images.iter().flat_map(|image| &image.repositories);
        self.scopes.extend(repositories.filter_map(|repository| bench.policy.scope(repository)).map(called));
        if let Some(scope) = bench.policy.judged_in(&outcome.judgement.facts, &outcome.judgement.verdict) {
            let broken = outcome.judgement.verdict.findings();
            self.rules.extend(broken.iter().map(|finding| (called(scope), finding.rule.about().id)));
        }
    }
}

/// The scopes that no case reached; and the image rules of the others that no case broke.
fn missed(bench: &Bench, reached: &Reached) -> (Vec<String>, Vec<String>) {
    let (mut scopes, mut rules) = (Vec::new(), Vec::new());
    for scope in &bench.policy.scopes {
        let name = called(scope);
        if !reached.scopes.contains(&name) {
            scopes.push(name);
            continue;
        }
        for (id, rule) in scope.rules.iter() {
            let id = id.about().id;
            if !reached.rules.contains(&(name.clone(), id)) {
                let at = rule.position.as_ref().map(|position| format!(" ({})", position.short())).unwrap_or_default();
                rules.push(format!("`{id}`{at} of scope `{}`", scope.label()));
            }
        }
    }
    (scopes, rules)
}

fn json_of(tried: &Tried<'_>) -> Json {
    let got = tried.answer.as_ref().map(|answer| {
        json!({
            "verdict": if answer.allow { "allow" } else { "deny" },
            "code": answer.code,
            "message": answer.message,
            "scope": answer.scope,
            "findings": answer.findings,
        })
    });
    json!({
        "name": tried.case.name,
        "file": tried.case.position.file.display().to_string(),
        "line": tried.case.position.line,
        "ok": tried.wrong.is_empty(),
        "wrong": tried.wrong,
        "got": got,
    })
}
