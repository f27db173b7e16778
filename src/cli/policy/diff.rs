//! `policy diff`: the same cases judged by two policies, and those that come out differently.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::{NO, UNKNOWN, YES, out, when};
use super::cases::{Answer, CaseFile, bench, read, runtime};
use super::replay;
use crate::cases::Bench;
use crate::clock;
use crate::policy::Case;
use crate::text::{clean, escaped};
use crate::trust::VerifierName;

#[derive(Args)]
pub(super) struct DiffArgs {
    /// The policy as it is
    old: PathBuf,
    /// The policy as it may become
    new: PathBuf,
    /// Files of cases, or folders with files whose names end with `cases.toml`
    #[arg(long, value_name = "PATH", required_unless_present = "record", num_args = 1..)]
    cases: Vec<PathBuf>,
    /// The folder in which the gate keeps the facts of its decisions (`record` in the policy file)
    #[arg(long, value_name = "DIR", conflicts_with = "cases")]
    record: Option<PathBuf>,
    /// Of the record, only what was decided since: `7d`, `2027-01-31`, `2027-01-31T12:00:00Z`
    #[arg(long, value_name = "TIME", requires = "record")]
    since: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &DiffArgs) -> u8 {
    let since = arguments.since.as_deref().map(|since| when::ago(since, clock::now())).transpose();
    let since = match since {
        Ok(since) => since,
        Err(why) => {
            out::fault(&why);
            return UNKNOWN;
        }
    };
    let read: Option<Vec<Vec<CaseFile>>> = arguments.cases.iter().map(|path| read(path)).collect();
    let Some(files) = read else { return UNKNOWN };
    let Some(runtime) = runtime() else { return UNKNOWN };
    let benches = [&arguments.old, &arguments.new].map(|path| bench(path, runtime.handle().clone()));
    let [Some(old), Some(new)] = &benches else { return UNKNOWN };
    if let Some(folder) = &arguments.record {
        return replay::run(folder, since, [old, new], &runtime, arguments.json);
    }
    let (mut all, mut changed, mut unknown) = (0_usize, Vec::new(), Vec::new());
    for case in files.iter().flatten().flat_map(|file| &file.cases) {
        all += 1;
        match runtime.block_on(say(old, new, case)) {
            Ok([before, after]) if !before.is_same(&after) => {
                changed.push((case, before, after));
            }
            Ok(_) => {}
            Err(why) => unknown.push((case, why)),
        }
    }
    if arguments.json {
        let told = |answer: &Answer| json!({ "allow": answer.allow, "passes": answer.passes, "code": answer.code, "message": answer.message });
        let place = |case: &Case| json!({ "file": case.position.file.display().to_string(), "line": case.position.line });
        let of = |(case, before, after): &(&Case, Answer, Answer)| json!({ "name": case.name, "at": place(case), "old": told(before), "new": told(after) });
        let of_unknown = |(case, why): &(&Case, String)| json!({ "name": case.name, "at": place(case), "why": why });
        out::json(&json!({
            "cases": all,
            "changed": changed.iter().map(of).collect::<Vec<_>>(),
            "unknown": unknown.iter().map(of_unknown).collect::<Vec<_>>(),
        }));
    } else {
        for (case, before, after) in &changed {
            out::line(&format!("{} -> {}   {}", before.told(), after.told(), clean(&case.name)));
            for (name, answer) in [("old", before), ("new", after)].iter().filter(|(_, answer)| !answer.allow) {
                out::line(&format!("        {name}: {}", escaped(&answer.message)));
            }
        }
        for (case, why) in &unknown {
            out::line(&format!("unknown   {}: {}", clean(&case.name), clean(why)));
        }
        let cases = if all == 1 { "case" } else { "cases" };
        let more = if unknown.is_empty() { String::new() } else { format!(", {} unknown", unknown.len()) };
        out::line(&format!("{} of {all} {cases} would change{more}", changed.len()));
    }
    match (changed.is_empty(), unknown.is_empty()) {
        (false, _) => NO,
        (true, false) => UNKNOWN,
        (true, true) => YES,
    }
}

/// What both policies say of a case, as far as the case says what that hangs on.
async fn say(old: &Bench, new: &Bench, case: &Case) -> Result<[Answer; 2], String> {
    if case.recorded.is_some() {
        let (before, after) = (old.replay(case).await?, new.replay(case).await?);
        return Ok([Answer::of(old, &before), Answer::of(new, &after)]);
    }
    let (before, after) = (old.judge(case, &[]).await?, new.judge(case, &[]).await?);
    if let Some(lack) = before.lacks.iter().chain(&after.lacks).next() {
        return Err(lack.clone());
    }
    let (answer, then) = (Answer::of(old, &before), Answer::of(new, &after));
    // Whom the old policy asks, the case means by its silence too: he does not vouch.
    let silent: Vec<VerifierName> = after.silent.into_iter().filter(|name| !before.silent.contains(name)).collect();
    if silent.is_empty() {
        return Ok([answer, then]);
    }
    let other = new.judge(case, &silent).await?;
    let is_same = other.lacks.is_empty() && {
        let other = Answer::of(new, &other);
        (other.allow, other.code) == (then.allow, then.code)
    };
    if is_same {
        return Ok([answer, then]);
    }
    let silent: Vec<String> = silent.iter().map(|name| format!("`{name}`")).collect();
    Err(format!("the case does not say what {} says (`vouched_by`, `refused_by`)", silent.join(", ")))
}
