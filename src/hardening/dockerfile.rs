//! A Dockerfile: what the image will be, as far as the file says it. Only what lands in the last stage counts, but for names of bases and for
//! secrets, which the file itself shows to whoever reads it.

mod fix;
mod parse;
mod stages;
mod variables;

pub use fix::{Change, fixed};
pub use parse::DockerfileFault;

use crate::order::sort_by_key;
use parse::{Instruction, Parsed, words};
use stages::{Stage, State, pairs};

use super::{Finding, OwnRule, RuleName, shell};
use crate::image::{ImageConfig, ImageName};
use crate::policy::{Check, ExposedPorts, ImageRuleId, Secrets, Subject};

/// Largest Dockerfile that is read, bytes. Stops a wrong path from filling memory.
pub const DOCKERFILE_BYTES: u64 = 256 << 10;
/// Ports of remote shells and desktops, of databases and of engines.
pub(super) const PORTS: [u16; 15] = [21, 22, 23, 1433, 1521, 2375, 2376, 3306, 3389, 5432, 5900, 6379, 9200, 11211, 27017];
/// Folders that belong to the system with all that is in them; and those that do by themselves.
const SYSTEM: [&str; 8] = ["/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/sbin", "/sys"];
const SYSTEM_ALONE: [&str; 5] = ["/usr", "/usr/bin", "/usr/lib", "/usr/sbin", "/var"];
/// Archives that ADD unpacks.
const ARCHIVES: [&str; 8] = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst"];

/// What was found in a Dockerfile.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// In the order of its lines.
    pub findings: Vec<Finding>,
    /// Where it is no Dockerfile. What stands there was not looked at.
    pub faults: Vec<DockerfileFault>,
}

/// Looks at a Dockerfile. `target`: what it is called.
#[must_use]
pub fn audit(text: &str, target: &str) -> Audited {
    let mut parsed = parse::parse(text);
    let stages = stages::stages(&parsed);
    let mut look = Look { target, escape: parsed.escape, findings: Vec::new() };
    match stages.last() {
        Some(last) => look.all(&parsed, &stages, last),
        None => {
            let what = "it has no FROM: it is not a Dockerfile".to_owned();
            let mut faults = std::mem::take(&mut parsed.faults);
            faults.push(DockerfileFault { line: 1, what });
            return Audited { findings: Vec::new(), faults };
        }
    }
    let mut findings = look.findings;
    sort_by_key(&mut findings, |finding| finding.line);
    findings.dedup_by(|one, other| (one.rule, one.line, &one.evidence) == (other.rule, other.line, &other.evidence));
    Audited { findings, faults: parsed.faults }
}

struct Look<'a> {
    target: &'a str,
    escape: char,
    findings: Vec<Finding>,
}

impl Look<'_> {
    fn note(&mut self, rule: impl Into<RuleName>, line: usize, evidence: &str) {
        self.findings.push(Finding::new(rule, self.target, Some(line), evidence));
    }

    fn all(&mut self, parsed: &Parsed, stages: &[Stage<'_>], last: &Stage<'_>) {
        for stage in stages {
            self.base(stage);
        }
        for instruction in &parsed.instructions {
            self.secrets(instruction, &last.state);
        }
        for instruction in &last.instructions {
            self.instruction(instruction, &last.state);
        }
        self.config(last);
    }

    fn base(&mut self, stage: &Stage<'_>) {
        let Some(name) = stage.image.as_ref().and_then(|image| ImageName::parse(image).ok()) else { return };
        let ImageName::Named { reference, written } = name else { return };
        if reference.digest.is_some() {
            return;
        }
        let is_tag_missing = !written.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let subject = Subject { tag: reference.tag.as_ref(), is_tag_missing, ..Subject::default() };
        if let Some(evidence) = Check::TagLatest.shows(&subject) {
            self.note(ImageRuleId::TagLatest, stage.from.lines.0, &format!("FROM `{written}`: {evidence}"));
        }
    }

    /// By the names and the looks that the policy knows.
    fn secrets(&mut self, instruction: &Instruction, state: &State) {
        let (secrets, line) = (Secrets::default(), instruction.lines.0);
        if matches!(instruction.keyword, "ENV" | "LABEL" | "ARG") {
            for (name, value) in pairs(instruction, &state.variables, self.escape) {
                if value.is_some_and(|value| secrets.is_one(&name, &value)) {
                    let evidence = format!("{} `{}` looks like a secret", instruction.keyword, crate::text::clean(&name));
                    self.note(ImageRuleId::Secrets, line, &evidence);
                }
            }
        } else if instruction.keyword == "RUN" {
            let texts = std::iter::once(&instruction.args).chain(&instruction.heredocs);
            let found = texts.flat_map(|text| text.lines()).find_map(|text| secrets.in_instruction(text));
            if let Some(what) = found {
                self.note(ImageRuleId::Secrets, line, &format!("RUN has {what}"));
            }
        }
    }

    fn instruction(&mut self, instruction: &Instruction, state: &State) {
        let line = instruction.lines.0;
        match instruction.keyword {
            "RUN" => {
                let mounts: Vec<&str> = instruction.flags("mount").filter_map(mounted).collect();
                for (rule, evidence) in shell::judge(&script(instruction), &mounts) {
                    self.note(rule, line, &evidence);
                }
            }
            "COPY" | "ADD" => self.files(instruction, state),
            "VOLUME" | "WORKDIR" => {
                let json = instruction.json();
                let folders =
                    json.unwrap_or_else(|| words(&instruction.args, self.escape).into_iter().map(str::to_owned).collect());
                if let Some(folder) = folders.iter().find(|folder| is_system(folder, instruction.keyword)) {
                    self.note(OwnRule::SystemFolder, line, &format!("{} `{folder}`", instruction.keyword));
                }
            }
            _ => {}
        }
    }

    fn files(&mut self, instruction: &Instruction, state: &State) {
        let (line, keyword) = (instruction.lines.0, instruction.keyword);
        if let Some(mode) = instruction.flag("chmod").filter(|mode| shell::is_for_all(mode)) {
            self.note(OwnRule::WorldWritable, line, &format!("{keyword} --chmod={mode} lets everybody write"));
        }
        if instruction.flag("from").is_some() {
            return;
        }
        let paths = instruction.json().unwrap_or_else(|| {
            let filled = |word: &str| state.variables.fill(word, self.escape).unwrap_or_else(|| word.to_owned());
            words(&instruction.args, self.escape).into_iter().filter(|word| !word.starts_with("<<")).map(filled).collect()
        });
        let sources = paths.split_last().map_or(&[][..], |(_, sources)| sources);
        if let Some(source) = sources.iter().find(|source| is_everything(source)) {
            self.note(OwnRule::CopyAll, line, &format!("{keyword} `{source}` takes the whole folder along"));
        }
        if keyword == "ADD"
            && let Some(source) = sources.iter().find(|source| !is_for_add(source, instruction))
        {
            self.note(OwnRule::AddNotCopy, line, &format!("ADD `{source}`"));
        }
    }

    /// What the last stage ends with, by the policy's own rules.
    fn config(&mut self, last: &Stage<'_>) {
        let state = &last.state;
        let from = last.from.lines.0;
        let config: &ImageConfig = &state.config;
        let subject = Subject { config: Some(config), runs: true, ..Subject::default() };
        let ports = Check::ExposedPorts(ExposedPorts { forbid: PORTS.into() });
        let checks = [
            (ImageRuleId::UserRoot, Check::UserRoot, state.user),
            (ImageRuleId::Healthcheck, Check::Healthcheck, state.healthcheck),
            (ImageRuleId::ExposedPorts, ports, state.ports),
        ];
        for (id, check, line) in checks {
            if let Some(evidence) = check.shows(&subject) {
                self.note(id, line.unwrap_or(from), &evidence);
            }
        }
    }
}

/// What the shell of a RUN is given: its arguments, the last of a JSON list, or its heredoc.
fn script(instruction: &Instruction) -> String {
    if let Some(json) = instruction.json() {
        let is_shell = json.first().is_some_and(|program| program.ends_with("sh"));
        let script = json.get(2).filter(|_| is_shell && json.get(1).is_some_and(|option| option.ends_with('c')));
        return script.cloned().unwrap_or_else(|| json.join(" "));
    }
    // `RUN <<EOF`, `RUN <<EOF bash`; what another program is given is no script of a shell.
    let is_script = instruction.args.starts_with("<<")
        && !instruction
            .args
            .split_whitespace()
            .nth(1)
            .is_some_and(|program| !program.starts_with("<<") && !program.ends_with("sh"));
    if is_script { instruction.heredocs.concat() } else { instruction.args.clone() }
}

/// Where a mount of RUN lies that no layer has: `type=cache,target=/x`.
fn mounted(mount: &str) -> Option<&str> {
    let is = |kind: &str| mount.split(',').any(|part| part == kind);
    let target = mount.split(',').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        matches!(name, "target" | "dst" | "destination").then_some(value)
    });
    target.filter(|_| is("type=cache") || is("type=tmpfs") || is("type=bind"))
}

fn is_everything(source: &str) -> bool {
    matches!(source.trim_start_matches("./").trim_end_matches('/'), "" | "." | "*")
}

fn is_for_add(source: &str, instruction: &Instruction) -> bool {
    if source.contains("://") || source.starts_with("git@") {
        return instruction.flag("checksum").is_some() || source.contains(".git#");
    }
    ARCHIVES.iter().any(|ending| source.ends_with(ending))
}

fn is_system(folder: &str, keyword: &str) -> bool {
    let folder = match folder.trim_end_matches('/') {
        "" => return keyword == "VOLUME" && !folder.is_empty(),
        folder => folder,
    };
    let lies_in = |system: &&str| folder.strip_prefix(*system).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    SYSTEM_ALONE.contains(&folder) || SYSTEM.iter().any(lies_in)
}

#[cfg(test)]
mod tests;
