//! The lines of a Dockerfile as they would be without a finding. What only its author knows (a version, a list of files, what tells that the
//! program is well) is left for them, in capital letters. Nothing is written.

use crate::order::sort_by_key;
use std::collections::BTreeMap;

use serde::Serialize;

use super::parse::{Parsed, parse, words};
use super::{OwnRule, PORTS, RuleName, is_everything};
use crate::hardening::Finding;
use crate::hardening::shell::{NETWORK_PACKAGES, is_for_all};
use crate::policy::{ImageRuleId, Secrets};

/// Lines that take the place of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The first line that is replaced, from 1; beyond the last: they are added.
    pub line: usize,
    /// The lines as they are.
    pub old: Vec<String>,
    /// The lines as they would be.
    pub new: Vec<String>,
}

/// What would change for these findings. Those that no line can answer for (`update-alone`, `setuid-files` …) have their remedies alone.
#[must_use]
pub fn fixed(text: &str, findings: &[Finding]) -> Vec<Change> {
    let parsed = parse(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut by_line: BTreeMap<usize, Vec<RuleName>> = BTreeMap::new();
    let mut added = Vec::new();
    for finding in findings {
        let line = finding.line.unwrap_or(1);
        let keyword = parsed.instructions.iter().find(|one| one.lines.0 == line).map(|one| one.keyword);
        match (finding.rule, keyword) {
            (RuleName::Image(ImageRuleId::Healthcheck), Some("FROM") | None) => {
                added.push("HEALTHCHECK CMD [\"/PROGRAM\", \"THAT-FAILS-WHEN-YOURS-DOES\"]".to_owned());
            }
            (RuleName::Image(ImageRuleId::UserRoot), Some("FROM") | None) => added.push("USER 10001".to_owned()),
            (rule, _) => by_line.entry(line).or_default().push(rule),
        }
    }
    let mut changes = Vec::new();
    for (line, rules) in by_line {
        let Some(instruction) = parsed.instructions.iter().find(|one| one.lines.0 == line) else { continue };
        let old: Vec<String> =
            lines.get(line - 1..instruction.lines.1).unwrap_or_default().iter().map(|line| (*line).to_owned()).collect();
        let mut new = old.clone();
        for rule in rules {
            new = replaced(new, rule, &parsed);
        }
        if new != old {
            changes.push(Change { line, old, new });
        }
    }
    if !added.is_empty() {
        // Before what starts the program, so that a reader meets it there.
        let start = parsed.instructions.iter().rev().find(|one| matches!(one.keyword, "CMD" | "ENTRYPOINT") && !one.on_build);
        let is_last = |line: usize| !parsed.instructions.iter().any(|one| one.keyword == "FROM" && one.lines.0 > line);
        let line = start.map(|start| start.lines.0).filter(|line| is_last(*line)).unwrap_or(lines.len() + 1);
        changes.push(Change { line, old: Vec::new(), new: added });
    }
    sort_by_key(&mut changes, |change| change.line);
    changes
}

/// The lines of one instruction without what breaks a rule.
fn replaced(lines: Vec<String>, rule: RuleName, parsed: &Parsed) -> Vec<String> {
    let escape = parsed.escape;
    let each = |change: &dyn Fn(&str) -> String| lines.iter().map(|line| by_word(line, escape, change)).collect::<Vec<_>>();
    match rule {
        RuleName::Image(ImageRuleId::TagLatest) => from(&lines, escape),
        RuleName::Image(ImageRuleId::UserRoot) => vec!["USER 10001".to_owned()],
        RuleName::Image(ImageRuleId::Healthcheck) => {
            vec!["HEALTHCHECK CMD [\"/PROGRAM\", \"THAT-FAILS-WHEN-YOURS-DOES\"]".to_owned()]
        }
        RuleName::Image(ImageRuleId::Secrets) => {
            let secrets = Secrets::default();
            let joined = lines.concat();
            let (keyword, rest) = joined.trim().split_once(char::is_whitespace).unwrap_or((&joined, ""));
            let is_pairs = matches!(keyword.to_ascii_uppercase().as_str(), "ENV" | "LABEL" | "ARG");
            let is_one =
                |word: &str| word.split_once('=').is_some_and(|(name, value)| secrets.is_one(name, value.trim_matches('"')));
            if !is_pairs {
                return lines;
            }
            if !words(rest, escape).first().is_some_and(|word| word.contains('=')) {
                return Vec::new();
            }
            kept(each(&|word| if is_one(word) { String::new() } else { word.to_owned() }), 1, escape)
        }
        RuleName::Image(ImageRuleId::ExposedPorts) => {
            let is_one =
                |word: &str| word.split('/').next().is_some_and(|port| port.parse().is_ok_and(|port| PORTS.contains(&port)));
            kept(each(&|word| if is_one(word) { String::new() } else { word.to_owned() }), 1, escape)
        }
        RuleName::Own(OwnRule::WorldWritable) => each(&|word| closed(word)),
        RuleName::Own(OwnRule::NetworkTools) => {
            let is_tool = |word: &str| NETWORK_PACKAGES.contains(&word.split('=').next().unwrap_or(word));
            without_tools(each(&|word| if is_tool(word) { String::new() } else { word.to_owned() }), escape)
        }
        RuleName::Own(OwnRule::PackageCache) => cleaned(lines),
        RuleName::Own(OwnRule::CopyAll) => {
            let count = std::cell::Cell::new(0);
            each(&|word| {
                let is_argument = count.replace(count.get() + 1) > 0 && !word.starts_with("--");
                if is_argument && is_everything(word) { "WHAT-IT-NEEDS/".to_owned() } else { word.to_owned() }
            })
        }
        RuleName::Own(OwnRule::AddNotCopy) => {
            let is_address = lines.iter().any(|line| line.contains("://") || line.contains("git@"));
            let first = std::cell::Cell::new(true);
            if is_address { lines } else { each(&|word| if first.replace(false) { "COPY".to_owned() } else { word.to_owned() }) }
        }
        RuleName::Own(OwnRule::Sudo) => each(&|word| if word == "sudo" { String::new() } else { word.to_owned() }),
        // No line answers for these.
        RuleName::Own(_) | RuleName::Image(_) | RuleName::Create(_) => lines,
    }
}

/// A line with each of its words changed; one that becomes nothing takes the blanks before it along.
fn by_word(line: &str, escape: char, change: &dyn Fn(&str) -> String) -> String {
    let (mut out, mut rest) = (String::new(), line);
    for word in words(line, escape) {
        let Some((before, behind)) = rest.split_once(word) else { continue };
        let new = change(word);
        if !new.is_empty() || out.is_empty() {
            out.extend([before, new.as_str()]);
        }
        rest = behind;
    }
    out + rest
}

/// The lines, or none where nothing is left behind so many words.
fn kept(lines: Vec<String>, count: usize, escape: char) -> Vec<String> {
    let left = lines.iter().flat_map(|line| line.split_whitespace()).filter(|word| word.chars().ne([escape])).count();
    if left <= count { Vec::new() } else { lines }
}

fn from(lines: &[String], escape: char) -> Vec<String> {
    let count = std::cell::Cell::new(0);
    let change = |word: &str| {
        if word.starts_with("--") || count.replace(count.get() + 1) != 1 {
            return word.to_owned();
        }
        let name = word.strip_suffix(":latest").unwrap_or(word);
        format!("{name}:VERSION")
    };
    lines.iter().map(|line| by_word(line, escape, &change)).collect()
}

/// A mode without the right of all others to write.
fn closed(word: &str) -> String {
    let (flag, mode) = word.strip_prefix("--chmod=").map_or(("", word), |mode| ("--chmod=", mode));
    if !is_for_all(mode) {
        return word.to_owned();
    }
    match u32::from_str_radix(mode, 8) {
        Ok(bits) => format!("{flag}{:o}", bits & !0o022),
        Err(_) => {
            let part = |part: &str| {
                if is_for_all(part) { part.replacen(['a', 'o'], "u", 1).replacen("uu", "u", 1) } else { part.to_owned() }
            };
            flag.to_owned() + &mode.split(',').map(part).collect::<Vec<_>>().join(",")
        }
    }
}

/// Where nothing else is installed, nothing is to be done.
fn without_tools(lines: Vec<String>, escape: char) -> Vec<String> {
    let is_left = |word: &&str| !word.starts_with('-') && word.chars().ne([escape]);
    let text = lines.join(" ");
    let installs = crate::hardening::shell::commands(&text.replace(escape, " "));
    let names = |words: &Vec<String>| {
        let at = words.iter().position(|word| matches!(word.as_str(), "install" | "add" | "in"));
        at.map(|at| words.iter().skip(at + 1).map(String::as_str).filter(is_left).count())
    };
    if installs.iter().filter_map(names).any(|names| names == 0) { Vec::new() } else { lines }
}

fn cleaned(mut lines: Vec<String>) -> Vec<String> {
    let text = lines.join("\n");
    if text.contains("apk add") {
        return lines.iter().map(|line| line.replace("apk add", "apk add --no-cache")).collect();
    }
    let end = ["dnf", "yum", "zypper"].into_iter().find(|name| text.contains(&format!("{name} ")));
    let end = match end {
        Some(name) => format!(" && {name} clean {}", if name == "zypper" { "--all" } else { "all" }),
        None => " && rm -rf /var/lib/apt/lists/*".to_owned(),
    };
    // A heredoc or a JSON list has no end to put this behind.
    if let Some(last) = lines.last_mut().filter(|_| !text.contains("<<") && !text.contains('[')) {
        *last = last.trim_end().to_owned() + &end;
    }
    lines
}
