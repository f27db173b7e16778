//! What `policy test` and `policy diff` have in common: a policy made into a bench, case files found and read, a verdict in words.

use crate::order::Ordered as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::out;
use crate::cases::{Bench, Outcome};
use crate::files::read_text;
use crate::policy::{CASE_BYTES, Case, PolicyFault, Settings, Verdict, VerifierSettings};
use crate::setup::{self, Kept, LastGood, Meaning};
use crate::text::clean;

/// How the names of case files in a folder end.
const ENDING: &str = "cases.toml";
/// Most case files of a folder.
const FILES: usize = 1_024;

/// A file and its cases.
pub(super) struct CaseFile {
    pub(super) path: PathBuf,
    pub(super) cases: Vec<Case>,
}

/// The answer to a case.
pub(super) struct Answer {
    pub(super) allow: bool,
    /// A client would be let pass: allowed, or refused where refusals are only recorded.
    pub(super) passes: bool,
    pub(super) code: &'static str,
    /// The whole refusal; empty for a yes.
    pub(super) message: String,
    /// What the scope is called that decides.
    pub(super) scope: Option<String>,
    /// The same with its file and line.
    pub(super) at: Option<String>,
    /// The image rules that are not kept.
    pub(super) findings: Vec<&'static str>,
}

/// A case and what came of it.
pub(super) struct Tried<'c> {
    pub(super) case: &'c Case,
    /// `None`: it could not be judged.
    pub(super) answer: Option<Answer>,
    /// What is not as expected, a line each.
    pub(super) wrong: Vec<String>,
}

/// The policy of a file, to judge cases by.
pub(super) fn bench(path: &Path, workers: tokio::runtime::Handle) -> Option<Bench> {
    let tell = |faults: &[PolicyFault]| {
        for fault in faults {
            out::fault(&clean(&fault.to_string()));
        }
    };
    let file = setup::read_policy(path, &read_text).map_err(|faults| tell(&faults)).ok()?;
    let settings = Settings::default().with_policy(Some(file));
    let mut kept = Kept::looking(LastGood::default(), []);
    let (policy, made_of): Meaning = setup::meaning(&settings, &mut kept).map_err(|faults| tell(&faults)).ok()?;
    let recording = setup::recording(&settings, PathBuf::new(), &made_of);
    let stated = made_of.iter().filter_map(|(name, made_of)| match made_of {
        VerifierSettings::Attestation(settings) => Some((name.clone(), Arc::new(settings.terms.unsaid()))),
        VerifierSettings::Notary(_)
        | VerifierSettings::Cosign(_)
        | VerifierSettings::Notation(_)
        | VerifierSettings::Allowlist(_)
        | VerifierSettings::Registry => None,
    });
    let stated = stated.ordered();
    let signers = made_of.into_iter().filter_map(|(name, made_of)| match made_of {
        VerifierSettings::Notary(notary) => Some((name, notary.signers)),
        VerifierSettings::Cosign(_)
        | VerifierSettings::Notation(_)
        | VerifierSettings::Attestation(_)
        | VerifierSettings::Allowlist(_)
        | VerifierSettings::Registry => None,
    });
    Some(Bench::new(policy, signers.ordered(), workers).stating(stated).of(recording))
}

/// Threads for a bench.
pub(super) fn runtime() -> Option<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    built.map_err(|error| out::fault(&error.to_string())).ok()
}

/// The cases of a file, or of the files of a folder, as far as these can be read; `None`: something is wrong, and was told.
pub(super) fn read(path: &Path) -> Option<Vec<CaseFile>> {
    let paths = found(path).map_err(|why| out::fault(&why)).ok()?;
    let mut is_good = true;
    let mut files = Vec::new();
    for path in paths {
        let text = match read_text(&path, CASE_BYTES) {
            Ok(text) => text,
            Err(error) => {
                out::fault(&format!("`{}`: {error}", path.display()));
                is_good = false;
                continue;
            }
        };
        match Case::read(&path, &text) {
            Ok(cases) => files.push(CaseFile { path, cases }),
            Err(faults) => {
                for fault in faults {
                    out::fault(&clean(&fault.to_string()));
                }
                is_good = false;
            }
        }
    }
    is_good.then_some(files)
}

pub(super) fn found(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let told = |error: std::io::Error| format!("`{}`: {error}", path.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(told)? {
        let file = entry.map_err(told)?.path();
        if file.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ENDING)) {
            paths.push(file);
        }
        if paths.len() > FILES {
            return Err(format!("`{}` holds more than {FILES} files of cases", path.display()));
        }
    }
    if paths.is_empty() {
        return Err(format!("`{}` holds no file whose name ends with `{ENDING}`", path.display()));
    }
    paths.sort();
    Ok(paths)
}

impl Answer {
    pub(super) fn of(bench: &Bench, outcome: &Outcome) -> Self {
        let verdict = &outcome.judgement.verdict;
        let (allow, code, message) = match verdict {
            Verdict::Allow(_) => (true, "", String::new()),
            Verdict::WouldDeny(reason) | Verdict::Deny(reason) => (false, reason.code(), reason.message()),
        };
        let passes = !matches!(verdict, Verdict::Deny(_));
        let scope = bench.policy.judged_in(&outcome.judgement.facts, verdict);
        let at = scope.map(|scope| {
            let at = scope.position.as_ref().map(|position| format!(" ({position})")).unwrap_or_default();
            format!("scope `{}`{at}", scope.label())
        });
        let scope = scope.map(|scope| scope.label().to_owned());
        let findings = verdict.findings().iter().map(|finding| finding.rule.about().id).collect();
        Self { allow, passes, code, message, scope, at, findings }
    }

    /// `allow`, or `deny` with the code, and whether a client would meet that.
    pub(super) fn told(&self) -> String {
        match (self.allow, self.passes) {
            (true, _) => "allow".to_owned(),
            (false, false) => format!("deny {}", self.code),
            (false, true) => format!("deny {} (mode permissive: it passes)", self.code),
        }
    }

    /// Whether a client would meet the same, for the same reason.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.allow, self.passes, self.code) == (other.allow, other.passes, other.code)
    }
}
