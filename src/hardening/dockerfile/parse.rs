//! The instructions of a Dockerfile, as BuildKit reads them: parser directives, continued lines, comments between them, heredocs, flags, JSON
//! forms. Total: whatever the bytes, there is an answer, and what is no instruction is a fault with its line.

/// Most instructions and faults that are kept. Stops a made-up file from filling memory; real ones have dozens.
const MOST: usize = 5000;
/// Every instruction there is.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
/// Instructions that take flags before their arguments.
const FLAGGED: [&str; 5] = ["ADD", "COPY", "FROM", "HEALTHCHECK", "RUN"];
/// Instructions that take heredocs.
const HEREDOCS: [&str; 3] = ["ADD", "COPY", "RUN"];

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instruction {
    /// In upper case.
    pub(super) keyword: &'static str,
    /// `--name=value` before the arguments.
    pub(super) flags: Vec<(String, String)>,
    /// What follows, on one line.
    pub(super) args: String,
    /// The first line and the last, from 1.
    pub(super) lines: (usize, usize),
    /// Bodies of heredocs.
    pub(super) heredocs: Vec<String>,
    /// It is for images that are built from this one.
    pub(super) on_build: bool,
}

/// Where a file is no Dockerfile, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerfileFault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// A file as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) instructions: Vec<Instruction>,
    pub(super) faults: Vec<DockerfileFault>,
    /// What continues lines and takes a character's meaning.
    pub(super) escape: char,
}

impl Instruction {
    /// The value of a flag.
    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a flag.
    pub(super) fn flags<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.flags.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The arguments where they are a JSON list of texts; what is none is taken by the shell.
    pub(super) fn json(&self) -> Option<Vec<String>> {
        if self.args.starts_with('[') { serde_json::from_slice(self.args.as_bytes()).ok() } else { None }
    }
}

/// The word's parts, each as written, between blanks that are not quoted.
pub(super) fn words(text: &str, escape: char) -> Vec<&str> {
    let (mut found, mut start, mut quote, mut escaped) = (Vec::new(), None, None, false);
    for (at, char) in text.char_indices() {
        if char.is_whitespace() && quote.is_none() && !escaped {
            found.extend(start.take().and_then(|start| text.get(start..at)));
            continue;
        }
        start.get_or_insert(at);
        match (escaped, quote) {
            (true, _) => escaped = false,
            (false, Some('\'')) => quote = quote.filter(|open| *open != char),
            (false, _) if char == escape => escaped = true,
            (false, Some(open)) if open == char => quote = None,
            (false, None) if matches!(char, '"' | '\'') => quote = Some(char),
            (false, _) => {}
        }
    }
    found.extend(start.and_then(|start| text.get(start..)));
    found
}

pub(super) fn parse(text: &str) -> Parsed {
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    let (escape, mut here) = directives(&lines);
    let mut parsed = Parsed { escape, ..Parsed::default() };
    while let Some(line) = lines.get(here) {
        let is_nothing = line.trim_start().is_empty() || line.trim_start().starts_with('#');
        if is_nothing {
            here += 1;
            continue;
        }
        if parsed.instructions.len() + parsed.faults.len() >= MOST {
            parsed.faults.push(DockerfileFault { line: here + 1, what: format!("it has more than {MOST} instructions") });
            break;
        }
        let first = here;
        let joined = join(&lines, &mut here, escape);
        match instruction(&joined, escape) {
            Ok(mut found) => {
                if HEREDOCS.contains(&found.keyword) && found.json().is_none() {
                    bodies(&lines, &mut here, &mut found, escape, &mut parsed.faults);
                }
                found.lines = (first + 1, here.max(first + 1));
                parsed.instructions.push(found);
            }
            Err(what) => parsed.faults.push(DockerfileFault { line: first + 1, what }),
        }
    }
    parsed
}

/// `# escape=…` and its like, which count only before everything else.
fn directives(lines: &[&str]) -> (char, usize) {
    let (mut escape, mut here) = ('\\', 0);
    while let Some((name, value)) = lines.get(here).and_then(|line| line.trim().strip_prefix('#')?.split_once('=')) {
        match (name.trim().to_ascii_lowercase().as_str(), value.trim()) {
            ("escape", "`") => escape = '`',
            ("escape" | "syntax" | "check", _) => {}
            _ => break,
        }
        here += 1;
    }
    (escape, here)
}

/// The line here with those that continue it; comments and empty lines between them count for nothing.
fn join(lines: &[&str], here: &mut usize, escape: char) -> String {
    let mut joined = String::new();
    let mut is_first = true;
    while let Some(line) = lines.get(*here) {
        *here += 1;
        let begin = line.trim_start();
        if !is_first && (begin.is_empty() || begin.starts_with('#')) {
            continue;
        }
        is_first = false;
        let end = line.trim_end_matches([' ', '\t']);
        match end.strip_suffix(escape).filter(|rest| !rest.ends_with(escape)) {
            Some(rest) => joined.push_str(rest),
            None => {
                joined.push_str(line);
                break;
            }
        }
    }
    joined
}

fn instruction(joined: &str, escape: char) -> Result<Instruction, String> {
    let text = joined.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let upper = word.to_ascii_uppercase();
    let Some(keyword) = KEYWORDS.into_iter().find(|keyword| *keyword == upper) else {
        return Err(format!("`{}` is not an instruction", crate::text::fit(word, 40)));
    };
    if keyword == "ONBUILD" {
        // One inside another is refused by the builder.
        let inner = instruction(rest, escape).ok().filter(|inner| !inner.on_build && inner.keyword != "FROM");
        return inner.map(|inner| Instruction { on_build: true, ..inner }).ok_or_else(|| "ONBUILD has no instruction".to_owned());
    }
    let mut args = rest.trim_start();
    let mut flags = Vec::new();
    while FLAGGED.contains(&keyword)
        && let Some(flag) = args.strip_prefix("--")
    {
        let end = words(args, escape).first().map_or(args.len(), |word| word.len());
        let flag = flag.get(..end.saturating_sub(2)).unwrap_or_default();
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        flags.push((name.to_owned(), value.trim_matches('"').to_owned()));
        args = args.get(end..).unwrap_or_default().trim_start();
    }
    Ok(Instruction { keyword, flags, args: args.trim_end().to_owned(), lines: (0, 0), heredocs: Vec::new(), on_build: false })
}

/// What stands under an instruction with `<<NAME`, up to a line that is that name.
fn bodies(lines: &[&str], here: &mut usize, of: &mut Instruction, escape: char, faults: &mut Vec<DockerfileFault>) {
    for word in words(&of.args, escape) {
        let Some(name) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else { continue };
        let (name, has_tabs) = name.strip_prefix('-').map_or((name, false), |name| (name, true));
        let name = name.trim_matches(['"', '\'']);
        if name.is_empty() || name.contains('<') {
            continue;
        }
        let (first, mut body, mut is_closed) = (*here, String::new(), false);
        while let Some(line) = lines.get(*here) {
            *here += 1;
            let line = if has_tabs { line.trim_start_matches('\t') } else { line };
            if line == name {
                is_closed = true;
                break;
            }
            body.extend([line, "\n"]);
        }
        if !is_closed {
            faults.push(DockerfileFault { line: first, what: format!("`<<{}` does not end", crate::text::fit(name, 40)) });
        }
        of.heredocs.push(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(&'static str, String, (usize, usize))> {
        let parsed = parse(text);
        assert_eq!(parsed.faults, [], "{text}");
        parsed.instructions.into_iter().map(|one| (one.keyword, one.args, one.lines)).collect()
    }

    #[test]
    fn lines_are_joined_as_the_builder_joins_them() {
        let text = "# a comment\n\nfrom a:1\nRUN one \\\n  # between\n\n  && two \\ \n  && three\nCMD [\"x\"]\n";
        assert_eq!(
            all(text),
            [
                ("FROM", "a:1".to_owned(), (3, 3)),
                ("RUN", "one   && two   && three".to_owned(), (4, 8)),
                ("CMD", "[\"x\"]".to_owned(), (9, 9))
            ]
        );
        assert_eq!(all("FROM a\nRUN c:\\\\\nUSER b").len(), 3, "two of them end no line");
        assert_eq!(all("FROM a\r\nRUN b \\\r\n c\r\n")[1].1, "b  c");
        assert_eq!(all("FROM a\nRUN b \\")[1].1, "b");
    }

    #[test]
    fn another_escape_counts_only_at_the_top() {
        assert_eq!(all("# syntax=x\n# Escape = `\nFROM a\nRUN dir c:\\\nRUN b `\n c").len(), 3);
        assert_eq!(all("# a comment\n# escape=`\nFROM a\nRUN b \\\n c").len(), 2);
        assert_eq!(all("\n# escape=`\nFROM a\nRUN b \\\n c").len(), 2);
    }

    #[test]
    fn heredocs_hold_no_instructions() {
        let parsed = parse("FROM a\nRUN <<EOF bash <<-'TWO'\nUSER one\nEOF\n\tUSER two\n\tTWO\nCOPY <<F /f\nx\nF\nUSER c");
        assert_eq!(parsed.faults, []);
        let found: Vec<_> = parsed.instructions.iter().map(|one| (one.keyword, one.heredocs.concat(), one.lines.1)).collect();
        assert_eq!(
            found,
            [
                ("FROM", String::new(), 1),
                ("RUN", "USER one\nUSER two\n".into(), 6),
                ("COPY", "x\n".into(), 9),
                ("USER", String::new(), 10)
            ]
        );
        for no in ["RUN echo $((1<<3))", "RUN cat <<< x", "RUN echo \"<<E\"", "RUN a << b", "RUN [\"a\", \"<<E\"]"] {
            assert_eq!(all(&format!("FROM a\n{no}\nUSER b")).len(), 3, "{no}");
        }
        assert_eq!(parse("FROM a\nRUN <<E\nx").faults.len(), 1);
    }

    #[test]
    fn flags_stand_before_arguments_and_onbuild_before_an_instruction() {
        let parsed = parse("FROM --platform=linux/amd64 a AS b\nCOPY --from=b --chmod=777 x --y z\nONBUILD RUN c\nENV --a=b c");
        let [from, copy, onbuild, env] = parsed.instructions.as_slice() else { panic!("{parsed:?}") };
        assert_eq!((from.flag("platform"), from.args.as_str()), (Some("linux/amd64"), "a AS b"));
        assert_eq!((copy.flag("from"), copy.flag("chmod"), copy.args.as_str()), (Some("b"), Some("777"), "x --y z"));
        assert_eq!((onbuild.keyword, onbuild.on_build, onbuild.args.as_str()), ("RUN", true, "c"));
        assert_eq!(env.args, "--a=b c");
        for wrong in ["FORM a", "ONBUILD", "ONBUILD ONBUILD RUN x", "ONBUILD FROM x", "{}"] {
            assert_eq!(parse(wrong).faults.len(), 1, "{wrong}");
        }
    }
}
