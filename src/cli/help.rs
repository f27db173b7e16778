//! `help`: what a refusal's code, a finding of doctor or a setting means, and what to do. The host of a gate has no clone of the
//! repository, so the documents that say it are in the binary.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};

use super::{Arguments, UNKNOWN, YES, out};

/// The documents whose sections are topics, each section under a heading of this kind.
const DOCUMENTS: [(&str, &str, &str); 3] = [
    ("refusal", include_str!("../../docs/reasons.md"), "### "),
    ("finding of doctor", include_str!("../../docs/doctor.md"), "### "),
    ("setting", include_str!("../../docs/settings.md"), "## "),
];

/// Documents that sections refer to as a whole.
const PAGES: [(&str, &str); 4] = [
    ("recovery", include_str!("../../docs/recovery.md")),
    ("postures", include_str!("../../docs/postures.md")),
    ("audit-log", include_str!("../../docs/audit-log.md")),
    ("clients", include_str!("../../docs/clients.md")),
];

/// Most topics that are proposed in place of one that is not there.
const MAX_PROPOSED: usize = 5;

/// Explain a refusal's code, a finding of doctor, a setting, or a command.
#[derive(Args)]
#[command(after_help = "Examples: img-authz help content-mismatch\n          img-authz help MODE")]
pub(super) struct HelpArgs {
    /// A code, the id of a finding, the name of a setting or of a command; without it: the commands
    topic: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A topic's explanation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
struct Section {
    topic: String,
    kind: &'static str,
    text: String,
}

pub(super) fn run(arguments: &HelpArgs) -> ExitCode {
    let mut command = Arguments::command();
    let Some(topic) = &arguments.topic else {
        out::print(&command.render_long_help().to_string());
        return ExitCode::from(YES);
    };
    let sections: Vec<Section> = sections().into_iter().filter(|section| section.topic.eq_ignore_ascii_case(topic)).collect();
    if !sections.is_empty() {
        if arguments.json {
            out::json(&sections);
        } else {
            let texts = sections.iter().map(|section| format!("{} ({})\n\n{}\n", section.topic, section.kind, section.text));
            out::print(&texts.collect::<Vec<_>>().join("\n"));
        }
        return ExitCode::from(YES);
    }
    command.build();
    if let Some(found) = command.find_subcommand_mut(topic) {
        out::print(&found.render_long_help().to_string());
        return ExitCode::from(YES);
    }
    out::fault(&format!("nothing is called {}{}", crate::policy::quoted(topic), proposal(topic)));
    ExitCode::from(UNKNOWN)
}

/// What may have been meant: topics that contain the word, or share its beginning.
fn proposal(topic: &str) -> String {
    let lower = topic.to_ascii_lowercase();
    let beginning: String = lower.chars().take(4).collect();
    let mut alike: Vec<String> = sections().into_iter().map(|section| section.topic).collect();
    alike.retain(|other| {
        let other = other.to_ascii_lowercase();
        other.contains(&lower) || other.starts_with(&beginning)
    });
    alike.dedup();
    alike.truncate(MAX_PROPOSED);
    if alike.is_empty() { "; see img-authz help".to_owned() } else { format!("; perhaps: {}", alike.join(", ")) }
}

/// All sections, in the order of the documents.
fn sections() -> Vec<Section> {
    let mut found = Vec::new();
    for (kind, document, heading) in DOCUMENTS {
        for (head, body) in parts(document, heading) {
            for topic in head.split(", ").map(|topic| topic.trim_matches('`')).filter(|topic| !topic.contains(' ')) {
                found.push((topic, kind, body));
            }
        }
    }
    found.extend(PAGES.map(|(topic, document)| (topic, "document", document)));
    let topics: Vec<&str> = found.iter().map(|(topic, _, _)| *topic).collect();
    found.iter().map(|(topic, kind, body)| Section { topic: (*topic).to_owned(), kind, text: plain(body, &topics) }).collect()
}

/// The headings of one kind, each with the text up to the next heading of that kind or of a higher one.
fn parts<'d>(document: &'d str, heading: &str) -> Vec<(&'d str, &'d str)> {
    let depth = heading.trim_end().len();
    let mut out = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    let mut at = 0;
    let mut fenced = false;
    for line in document.split_inclusive('\n') {
        fenced ^= line.starts_with("```");
        let level = line.len() - line.trim_start_matches('#').len();
        if !fenced && (1..=depth).contains(&level) {
            if let Some((head, from)) = open.take() {
                out.extend(document.get(from..at).map(|body| (head, body)));
            }
            if level == depth {
                open = line.strip_prefix(heading).map(|head| (head.trim_end(), at + line.len()));
            }
        }
        at += line.len();
    }
    if let Some((head, from)) = open {
        out.extend(document.get(from..).map(|body| (head, body)));
    }
    out
}

/// A section for a terminal: links tell the topic that they lead to, code blocks are indented instead of fenced.
fn plain(body: &str, topics: &[&str]) -> String {
    let mut out = String::new();
    // Text between fences is every second part, behind the language's name.
    for (index, part) in body.trim().split("```").enumerate() {
        if index % 2 == 0 {
            out.push_str(&unlinked(part, topics));
        } else {
            let code = part.split_once('\n').map_or("", |(_, code)| code);
            for line in code.lines() {
                out.extend(["    ", line, "\n"]);
            }
        }
    }
    out.trim_end().to_owned() + "\n"
}

/// Text with `[words](target)` as `words`, and how to read on where the target is a topic that the words do not name.
fn unlinked(text: &str, topics: &[&str]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("](") {
        let Some(((lead, words), (target, behind))) = before.rsplit_once('[').zip(behind.split_once(')')) else { break };
        out.extend([lead, words]);
        let (page, anchor) = target.split_once('#').unwrap_or((target, ""));
        let wanted = if anchor.is_empty() { page.trim_end_matches(".md") } else { anchor };
        let topic = topics.iter().find(|topic| topic.eq_ignore_ascii_case(wanted));
        if let Some(topic) = topic.filter(|topic| words.trim_matches('`') != **topic) {
            out.push_str(&format!(" (img-authz help {topic})"));
        }
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(topic: &str) -> Vec<Section> {
        sections().into_iter().filter(|section| section.topic == topic).collect()
    }

    #[test]
    fn codes_findings_and_settings_are_topics() {
        for (topic, kind) in [("content-mismatch", "refusal"), ("grpc-unasked", "finding of doctor"), ("NO_PROXY", "setting")] {
            let found = section(topic);
            assert_eq!(found.len(), 1, "{topic}");
            assert_eq!(found[0].kind, kind);
            assert!(found[0].text.len() > 80 && !found[0].text.contains("\n### "), "{}", found[0].text);
        }
        for name in crate::policy::VARIABLES {
            assert_eq!(section(name).len(), 1, "{name}");
        }
    }

    #[test]
    fn what_two_documents_name_is_told_from_both() {
        let kinds: Vec<_> = section("trust-expired").iter().map(|section| section.kind).collect();
        assert_eq!(kinds, ["refusal", "finding of doctor"]);
    }

    #[test]
    fn links_and_fences_are_for_readers_of_the_document() {
        let topics = ["MODE", "recovery"];
        let text = "see [`MODE`](settings.md#mode), [how](settings.md#mode), [a] and [b\nc](c), [page](recovery.md).";
        let read = "see `MODE`, how (img-authz help MODE), [a] and b\nc, page (img-authz help recovery).";
        assert_eq!(unlinked(text, &topics), read);
        assert_eq!(plain("one\n\n```text\ntwo\n```\n", &topics), "one\n\n    two\n");
        assert!(sections().iter().all(|section| !section.text.contains("](")), "a link over two lines");
    }

    #[test]
    fn a_misspelt_topic_is_told_what_it_may_have_been() {
        assert!(proposal("content-missmatch").contains("content-mismatch"));
        assert_eq!(proposal("zzz"), "; see img-authz help");
    }
}
