//! `help`: what a refusal's code, a finding of doctor or a setting means, and what to do. The host of a gate has no clone of the
//! repository, so the documents that say it are in the binary.

use std::borrow::Cow;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};

use super::{Arguments, UNKNOWN, YES, out};
use crate::text::distance;

/// The documents whose sections are topics, each section under a heading of this kind.
const DOCUMENTS: [(&str, &str, &str); 3] = [
    ("refusal", include_str!("../../docs/reasons.md"), "### "),
    ("finding of doctor", include_str!("../../docs/doctor.md"), "### "),
    ("setting", include_str!("../../docs/settings.md"), "## "),
];

/// Documents whose tables have a topic in each row: keys of the policy file, ids of rules.
const TABLES: [(&str, &str); 2] = [
    ("key of the policy file", include_str!("../../docs/policy.md")),
    ("key of a case", include_str!("../../docs/policy-test.md")),
];

/// Documents that sections refer to as a whole.
const PAGES: [(&str, &str); 8] = [
    ("policy", include_str!("../../docs/policy.md")),
    ("policy-test", include_str!("../../docs/policy-test.md")),
    ("policy-rego", include_str!("../../docs/policy-rego.md")),
    ("recovery", include_str!("../../docs/recovery.md")),
    ("postures", include_str!("../../docs/postures.md")),
    ("audit-log", include_str!("../../docs/audit-log.md")),
    ("policy-users", include_str!("../../docs/policy-users.md")),
    ("clients", include_str!("../../docs/clients.md")),
];

/// The topic that lists all others, and the one of a command under which settings are looked for.
const LIST: &str = "codes";
const SETTINGS: &str = "settings";
/// Longest line of a list of topics, characters.
const LIST_WIDTH: usize = 100;
/// One slip in so many characters of a topic is taken for a slip.
const SLIPS: usize = 4;
/// Most topics that are proposed in place of one that is not there.
const MAX_PROPOSED: usize = 5;

/// Explain a refusal's code, a finding of doctor, a setting, or a command.
#[derive(Args)]
#[command(after_help = "Examples: img-authz help content-mismatch\n          img-authz help MODE")]
pub(super) struct HelpArgs {
    /// A code, the id of a finding, the name of a setting or of a command; without it, or with `codes`: all of them
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
        out::print(&format!("{}\n{}", command.render_long_help(), list()));
        return ExitCode::from(YES);
    };
    if topic.eq_ignore_ascii_case(LIST) {
        out::print(&list());
        return ExitCode::from(YES);
    }
    let sections = about(topic);
    command.build();
    let of_command = command.find_subcommand_mut(topic).map(|found| found.render_long_help().to_string());
    if arguments.json && !sections.is_empty() {
        out::json(&sections);
        return ExitCode::from(YES);
    }
    // A command first: `settings` and `plugin` are findings as well.
    let of_settings = topic.eq_ignore_ascii_case(SETTINGS).then(|| names("the settings", "setting"));
    let texts = sections.iter().map(|section| format!("{} ({})\n\n{}\n", section.topic, section.kind, section.text));
    let texts: Vec<String> = of_command.into_iter().chain(of_settings).chain(texts).collect();
    if !texts.is_empty() {
        out::print(&texts.join("\n"));
        return ExitCode::from(YES);
    }
    out::fault(&format!("nothing is called {}{}", crate::policy::quoted(topic), proposal(topic)));
    ExitCode::from(UNKNOWN)
}

/// The sections of a topic. A document that has the name of one of them is not put behind it; it has a name of its own.
fn about(topic: &str) -> Vec<Section> {
    let mut found = sections();
    found.retain(|section| section.topic.eq_ignore_ascii_case(topic));
    let page = |section: &Section| section.kind == "document";
    if found.len() > 1 && found.iter().any(page) {
        found.retain(|section| !page(section));
        if let Some(last) = found.last_mut() {
            last.text.push_str(&format!("\nThe whole document: img-authz help {}.md\n", last.topic));
        }
    }
    match (found.is_empty(), topic.strip_suffix(".md")) {
        (true, Some(name)) => {
            sections().into_iter().filter(|section| page(section) && section.topic.eq_ignore_ascii_case(name)).collect()
        }
        _ => found,
    }
}

/// All topics, by what they are.
fn list() -> String {
    let kinds = [
        ("codes of refusals", "refusal"),
        ("findings of doctor", "finding of doctor"),
        ("settings", "setting"),
        ("the policy file", "key of the policy file"),
        ("files of cases (`policy test`)", "key of a case"),
    ];
    let mut text: String = kinds.map(|(title, kind)| names(title, kind)).join("\n");
    text.push_str("\nimg-authz help TOPIC explains one of them.\n");
    text
}

/// The topics of one kind, as many on a line as fit.
fn names(title: &str, kind: &str) -> String {
    let mut text = format!("{title}:\n");
    let mut line = String::new();
    for section in sections().into_iter().filter(|section| section.kind == kind) {
        if line.len() + section.topic.len() > LIST_WIDTH {
            text.extend(["  ", line.trim_end(), "\n"]);
            line.clear();
        }
        line.extend([section.topic.as_str(), "  "]);
    }
    text.extend(["  ", line.trim_end(), "\n"]);
    text
}

/// What may have been meant: topics that differ by a few slips, that contain the word, or share its beginning.
fn proposal(topic: &str) -> String {
    let lower = topic.to_ascii_lowercase();
    let beginning: String = lower.chars().take(4).collect();
    let mut alike: Vec<(usize, String)> = Vec::new();
    for Section { topic: other, .. } in sections() {
        let slips = distance(topic, &other);
        let name = other.to_ascii_lowercase();
        let is_alike = slips <= other.len() / SLIPS || name.contains(&lower) || name.starts_with(&beginning);
        if is_alike && !alike.iter().any(|(_, known)| *known == other) {
            alike.push((slips, other));
        }
    }
    alike.sort();
    let mut alike: Vec<String> = alike.into_iter().map(|(_, topic)| topic).collect();
    alike.truncate(MAX_PROPOSED);
    if alike.is_empty() { "; see img-authz help".to_owned() } else { format!("; perhaps: {}", alike.join(", ")) }
}

/// All sections, in the order of the documents.
fn sections() -> Vec<Section> {
    let mut found = Vec::new();
    for (kind, document, heading) in DOCUMENTS {
        for (head, body) in parts(document, heading) {
            for topic in head.split(", ").map(|topic| topic.trim_matches('`')).filter(|topic| !topic.contains(' ')) {
                found.push((topic, kind, Cow::Borrowed(body)));
            }
        }
    }
    for (kind, document) in TABLES {
        found.extend(rows(document).into_iter().map(|(topic, text)| (topic, kind, Cow::Owned(text))));
    }
    found.extend(PAGES.map(|(topic, document)| (topic, "document", Cow::Borrowed(document))));
    let topics: Vec<&str> = found.iter().map(|(topic, _, _)| *topic).collect();
    found.iter().map(|(topic, kind, body)| Section { topic: (*topic).to_owned(), kind, text: plain(body, &topics) }).collect()
}

/// The rows of a document's tables, each by the name in its first cell: its section's heading, then cell by cell under the table's head.
fn rows(document: &str) -> Vec<(&str, String)> {
    let mut out = Vec::new();
    let (mut section, mut head) = ("", Vec::new());
    for line in document.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        match (line.starts_with('|'), head.is_empty()) {
            (false, _) => {
                head.clear();
                section = line.strip_prefix('#').map_or(section, |heading| heading.trim_start_matches('#').trim());
            }
            (true, true) => head = cells,
            (true, false) => {
                let Some((first, rest)) = cells.split_first() else { continue };
                let Some(name) = first.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else { continue };
                let told = head.iter().skip(1).zip(rest).filter(|(_, cell)| !cell.is_empty());
                let told = told.map(|(head, cell)| format!("{head}: {cell}\n")).collect::<Vec<_>>().concat();
                out.push((name, format!("{section}\n\n{told}")));
            }
        }
    }
    out.retain(|(name, _)| !name.contains(' '));
    out
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
        // The sentence may say it itself.
        let is_said =
            |topic: &str| behind.split("\n\n").next().is_some_and(|near| near.contains(&format!("img-authz help {topic}")));
        if let Some(topic) = topic.filter(|topic| words.trim_matches('`') != **topic && !is_said(topic)) {
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
    fn keys_of_the_policy_file_and_rules_are_topics() {
        let found = section("stale_limit");
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].kind, found[0].text.contains("default: `24`")),
            ("key of the policy file", true),
            "{}",
            found[0].text
        );
        assert!(section("max-age")[0].text.contains("its own keys: `days`"), "{}", section("max-age")[0].text);
        assert_eq!(about("policy.md")[0].kind, "document");
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
    fn what_the_sentence_says_itself_is_not_said_twice() {
        let text = "[all](settings.md#mode): `img-authz help MODE`; and [how](settings.md#mode)\n\n[how](settings.md#mode).";
        let read = "all: `img-authz help MODE`; and how (img-authz help MODE)\n\nhow (img-authz help MODE).";
        assert_eq!(unlinked(text, &["MODE"]), read);
        let twice = |section: &Section| section.text.split("\n\n").any(|part| part.contains("): `img-authz help"));
        assert!(!sections().iter().any(twice));
    }

    #[test]
    fn all_topics_are_listed_and_a_document_is_not_put_behind_a_finding() {
        let all = list();
        for topic in ["content-mismatch", "grpc-unasked", "NO_PROXY"] {
            assert!(all.contains(topic), "{all}");
        }
        assert!(all.lines().all(|line| line.chars().count() < 130), "{all}");
        let found = about("audit-log");
        assert_eq!(found.iter().map(|section| section.kind).collect::<Vec<_>>(), ["finding of doctor"]);
        assert!(found[0].text.contains("img-authz help audit-log.md"));
        assert_eq!(about("audit-log.md")[0].kind, "document");
        assert_eq!((about("recovery")[0].kind, about("x.md").len()), ("document", 0));
    }

    #[test]
    fn a_misspelt_topic_is_told_what_it_may_have_been() {
        assert!(proposal("content-missmatch").contains("content-mismatch"));
        assert_eq!(proposal("zzz"), "; see img-authz help");
        for (typo, meant) in [("no-trust-dat", "no-trust-data"), ("ot-signed", "not-signed"), ("REGISTYR", "REGISTRY")] {
            assert!(proposal(typo).starts_with(&format!("; perhaps: {meant}")), "{}", proposal(typo));
        }
    }
}
