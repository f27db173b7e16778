//! The direction of imports: every path in the code against the table in docs/architecture.md, and no circle among the files of a
//! room. Comments, texts and tests count for nothing; a file in front of a folder may import what is in it and be imported by it.
//!
//! And what comments and documents cite is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const ARCHITECTURE: &str = include_str!("../../docs/architecture.md");

/// A file of the library: its module's path, and its text.
struct Source {
    module: Vec<String>,
    text: String,
}

/// What each room may import, as the table has it, from the top.
struct Table(Vec<(String, BTreeSet<String>)>);

/// Only code: comments, texts and characters become blanks.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut code, mut here) = (String::new(), 0);
    while here < chars.len() {
        let before = if here == 0 { ' ' } else { at(here - 1) };
        let mut end = here;
        match (at(here), at(here + 1)) {
            ('/', '/') => {
                while end < chars.len() && at(end) != '\n' {
                    end += 1;
                }
            }
            ('/', '*') => {
                let mut depth = 0;
                while end < chars.len() {
                    match (at(end), at(end + 1)) {
                        ('/', '*') => (depth, end) = (depth + 1, end + 2),
                        ('*', '/') => (depth, end) = (depth - 1, end + 2),
                        _ => end += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            // r"…", r#"…"#, br#"…"#: the word before the quote is the prefix.
            ('r', '"' | '#') if !is_word(before) || (before == 'b' && (here < 2 || !is_word(at(here - 2)))) => {
                let hashes = (here + 1..chars.len()).take_while(|index| at(*index) == '#').count();
                if at(here + 1 + hashes) == '"' {
                    end = here + 2 + hashes;
                    while end < chars.len() && !(at(end) == '"' && (1..=hashes).all(|more| at(end + more) == '#')) {
                        end += 1;
                    }
                    end += 1 + hashes;
                }
            }
            ('"', _) => {
                end += 1;
                while end < chars.len() && at(end) != '"' {
                    end += if at(end) == '\\' { 2 } else { 1 };
                }
                end += 1;
            }
            // A character; a lifetime has no second quote.
            ('\'', '\\') => {
                end += 3;
                while end < chars.len() && at(end) != '\'' {
                    end += 1;
                }
                end += 1;
            }
            ('\'', _) if at(here + 2) == '\'' => end += 3,
            _ => {}
        }
        if end == here {
            code.push(at(here));
            here += 1;
        } else {
            code.push(' ');
            here = end;
        }
    }
    code
}

/// Words, `::`, and other characters one by one.
fn tokens_of(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        let mut token = c.to_string();
        if c.is_alphabetic() || c == '_' {
            while let Some(next) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                token.push(next);
            }
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            token.push(':');
        }
        if !c.is_whitespace() {
            tokens.push(token);
        }
    }
    tokens
}

/// Leaves out items under `#[cfg(test)]`, and says which modules among them are files of their own.
fn without_tests(tokens: &[String]) -> (Vec<String>, Vec<String>) {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut files, mut here) = (Vec::new(), Vec::new(), 0);
    while here < tokens.len() {
        if !tokens[here..].iter().map(String::as_str).take(MARK.len()).eq(MARK) {
            kept.push(tokens[here].clone());
            here += 1;
            continue;
        }
        here += MARK.len();
        let begin = here;
        let mut depth = 0;
        while here < tokens.len() {
            match tokens[here].as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            here += 1;
            // The end of an item: a semicolon, or the end of its block. `use a::{b};` ends with the first of these too late by a
            // semicolon, which is nothing.
            let last = tokens[here - 1].as_str();
            if depth == 0 && matches!(last, ";" | "}") {
                break;
            }
        }
        if let [rest @ .., name, end] = &tokens[begin..here]
            && end == ";"
            && rest.last().is_some_and(|word| word == "mod")
        {
            files.push(name.clone());
        }
    }
    (kept, files)
}

/// Every path from `crate`, `self` or `super`, as a path from the library's root.
fn paths_in(tokens: &[String], module: &[String]) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    // Modules inside the file, with the depth of their blocks: `super` counts from them.
    let (mut inside, mut depth) = (Vec::<(String, usize)>::new(), 0_usize);
    let mut here = 0;
    while here < tokens.len() {
        let is = |index: usize, text: &str| tokens.get(index).is_some_and(|token| token == text);
        if is(here, "mod") && is(here + 2, "{") {
            inside.push((tokens[here + 1].clone(), depth));
        }
        if is(here, "{") {
            depth += 1;
        } else if is(here, "}") {
            depth = depth.saturating_sub(1);
            if inside.last().is_some_and(|(_, at)| *at == depth) {
                inside.pop();
            }
        }
        let is_start = matches!(tokens[here].as_str(), "crate" | "self" | "super") && is(here + 1, "::");
        let is_part = here > 0 && is(here - 1, "::");
        if is_start && !is_part {
            let own: Vec<String> = module.iter().cloned().chain(inside.iter().map(|(name, _)| name.clone())).collect();
            let mut at = here;
            tree(tokens, &mut at, &own, Vec::new(), &mut found);
            here = at.max(here + 1);
        } else if is(here, "use") && is(here + 1, "{") {
            // `use {crate::a, super::b};`
            here += 1;
        } else {
            here += 1;
        }
    }
    found
}

/// One tree of a path: `a::b`, `a::{b, c::d}`, `a::b as c`.
fn tree(tokens: &[String], at: &mut usize, own: &[String], mut path: Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    let is = |index: usize, text: &str| tokens.get(index).is_some_and(|token| token == text);
    loop {
        match tokens.get(*at).map(String::as_str) {
            Some("crate") => path.clear(),
            Some("self") if path.is_empty() => path = own.to_vec(),
            Some("self") => {}
            Some("super") => {
                if path.is_empty() {
                    path = own.to_vec();
                }
                path.pop();
            }
            Some(word) if word.starts_with(|c: char| c.is_alphabetic() || c == '_') => path.push(word.to_owned()),
            _ => break,
        }
        *at += 1;
        if !is(*at, "::") {
            break;
        }
        if is(*at + 1, "{") {
            *at += 2;
            while *at < tokens.len() && !is(*at, "}") {
                let before = *at;
                tree(tokens, at, own, path.clone(), found);
                while *at < tokens.len() && !is(*at, ",") && !is(*at, "}") {
                    *at += 1;
                }
                *at += usize::from(is(*at, ","));
                *at += usize::from(*at == before);
            }
            *at += 1;
            return;
        }
        let is_word = tokens.get(*at + 1).is_some_and(|next| next.starts_with(|c: char| c.is_alphabetic() || c == '_'));
        if !is_word {
            break;
        }
        *at += 1;
    }
    found.insert(path);
}

impl Table {
    /// The rows under `| room | may import |`: names with a remark in brackets, `any` (all rooms below), or `none`.
    fn read(document: &str) -> Self {
        let rows = document.split("\n| room | may import |\n").nth(1).expect("the table of imports");
        let rows = rows.lines().skip(1).take_while(|line| line.starts_with('|'));
        let mut table: Vec<(String, String)> = Vec::new();
        for row in rows {
            let [_, rooms, imports, _] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else { panic!("{row}") };
            table.extend(rooms.split(", ").map(|room| (room.to_owned(), imports.to_owned())));
        }
        let names: Vec<String> = table.iter().map(|(room, _)| room.clone()).collect();
        let mut all = Vec::new();
        for (index, (room, imports)) in table.into_iter().enumerate() {
            let below = &names[index + 1..];
            let mut may = BTreeSet::new();
            for word in imports.split(", ") {
                let word = word.split(" (").next().unwrap_or(word);
                match word {
                    "any" => may.extend(below.iter().cloned()),
                    "none" => {}
                    word if below.iter().any(|name| name == word) => {
                        may.insert(word.to_owned());
                    }
                    word => panic!("{room} may import {word}, which is not a room below it"),
                }
            }
            all.push((room, may));
        }
        Self(all)
    }
}

/// Everything that is not as it should be, a line each.
fn faults(sources: &[Source], table: &Table) -> Vec<String> {
    let mut faults = BTreeSet::new();
    let mut parsed = Vec::new();
    let mut tests = BTreeSet::new();
    for source in sources {
        let (tokens, files) = without_tests(&tokens_of(&code_of(&source.text)));
        tests.extend(files.into_iter().map(|name| source.module.iter().cloned().chain([name]).collect::<Vec<_>>()));
        parsed.push((source.module.clone(), tokens));
    }
    parsed.retain(|(module, _)| !tests.iter().any(|test| module.starts_with(test)));
    let modules: BTreeSet<Vec<String>> = parsed.iter().map(|(module, _)| module.clone()).collect();
    // Between files that stand beside each other: who imports whom.
    let mut beside: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (module, tokens) in &parsed {
        let Some(room) = module.first() else { continue };
        let Some((_, may)) = table.0.iter().find(|(name, _)| name == room) else {
            faults.insert(format!("{room} is not in the table"));
            continue;
        };
        for path in paths_in(tokens, module) {
            let Some(target) = (1..=path.len()).rev().map(|length| &path[..length]).find(|part| modules.contains(*part)) else {
                continue;
            };
            if target[0] != *room {
                if !may.contains(&target[0]) {
                    faults.insert(format!("{} imports {}: {room} may not", module.join("::"), path.join("::")));
                }
                continue;
            }
            let shared = module.iter().zip(target).take_while(|(one, other)| one == other).count();
            if let (Some(own), Some(other)) = (module.get(shared), target.get(shared)) {
                let folder = beside.entry(module[..shared].to_vec()).or_default();
                folder.entry(own.clone()).or_default().insert(other.clone());
            }
        }
    }
    for (folder, imports) in beside {
        for start in imports.keys() {
            // Whatever can be reached from here.
            let (mut seen, mut next) = (BTreeSet::new(), vec![start.clone()]);
            while let Some(one) = next.pop() {
                next.extend(imports.get(&one).into_iter().flatten().filter(|file| seen.insert((*file).clone())).cloned());
            }
            if seen.contains(start) {
                faults.insert(format!("{}::{start} imports itself by way of others", folder.join("::")));
            }
        }
    }
    faults.into_iter().collect()
}

fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files_below(&entry, ending));
        } else if entry.extension().is_some_and(|own| own == ending) {
            found.push(entry);
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let sources = files_below(&folder, "rs").into_iter().map(|path| {
        let module = path.strip_prefix(&folder).unwrap().with_extension("");
        let module = module.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        Source { module, text: std::fs::read_to_string(path).unwrap() }
    });
    sources.filter(|source| !matches!(source.module[..], [ref only] if only == "lib" || only == "main")).collect()
}

#[test]
fn every_import_is_in_the_table_and_no_files_import_each_other() {
    let table = Table::read(ARCHITECTURE);
    let rooms: BTreeSet<String> = sources().iter().map(|source| source.module[0].clone()).collect();
    assert_eq!(table.0.iter().map(|(room, _)| room.clone()).collect::<BTreeSet<_>>(), rooms);
    let faults = faults(&sources(), &table);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A verifier that says what it is told to say is for cases, and what serves has nothing to do with cases.
#[test]
fn a_yes_without_proof_is_made_for_cases_alone() {
    let names = |source: &Source, word: &str| {
        let (tokens, _) = without_tests(&tokens_of(&code_of(&source.text)));
        tokens.iter().any(|token| token == word)
    };
    let sources = sources();
    let of_told: BTreeSet<&str> =
        sources.iter().filter(|source| names(source, "CaseVerifier")).map(|source| source.module[0].as_str()).collect();
    assert_eq!(of_told, ["cases", "trust"].into());
    let serve = |source: &&Source| source.module[0] == "service" || source.module.join("/") == "cli/serve";
    let serving: Vec<_> = sources.iter().filter(serve).collect();
    assert!(serving.len() > 3, "{}", serving.len());
    assert!(serving.iter().all(|source| !names(source, "cases") && !names(source, "Bench")));
}

/// Two rooms, of which `low` may import nothing.
fn found_in(files: &[(&str, &str)]) -> Vec<String> {
    let table = "\n| room | may import |\n|---|---|\n| high | low |\n| low | none |\n";
    let sources: Vec<Source> = [("high", ""), ("high::a", ""), ("high::b", ""), ("low", ""), ("low::a", ""), ("low::b", "")]
        .into_iter()
        .map(|(module, _)| {
            let text = files.iter().find(|(name, _)| *name == module).map_or("", |(_, text)| text);
            Source { module: module.split("::").map(str::to_owned).collect(), text: text.to_owned() }
        })
        .collect();
    faults(&sources, &Table::read(table))
}

#[test]
fn an_import_that_goes_up_is_found_however_it_is_written() {
    for text in [
        "use crate::high;",
        "use crate::high::a::Thing;",
        "use crate::{low::b, high::{a, b::*}};",
        "use crate::{\n    low,\n    high as other,\n};",
        "use {crate::high::a, crate::low};",
        "fn f() { let x = crate::high::a::f::<u8>(1); }",
        "impl crate::high::Trait for X {}",
        "fn f<'a>(x: &'a str) -> char { crate::high::f(x); 'x' }",
        "use super::super::high::a;",
        "fn f() { super::super::high::f() }",
        "use super::{super::high, b};",
        "mod inner { use super::super::super::high; }",
        "mod inner { fn f() {} }\nuse super::super::high;",
        "const X: &str = r#\"\"\"#; use crate::high;",
        "const X: char = '\"'; use crate::high;",
        "const X: &str = \"\\\"\"; use crate::high; // \"",
        "#[cfg(test)]\nuse crate::high::a;\nuse crate::high::b;",
        "#[cfg(test)]\nmod tests { fn f() { { } } }\nuse crate::high::b;",
    ] {
        let found = found_in(&[("low::a", text)]);
        assert!(!found.is_empty() && found.iter().all(|fault| fault.starts_with("low::a imports high")), "{text}: {found:?}");
        let down = text.replace("high", "low");
        assert_eq!(found_in(&[("high::a", &down)]), [""; 0], "{down}");
    }
}

#[test]
fn what_is_no_code_or_is_a_test_is_no_import() {
    for text in [
        "// use crate::high;\n/* use crate::high; /* crate::high */ use crate::high; */",
        "/// [`crate::high::a`]\nfn f() {}",
        "const X: &str = \"crate::high::a\"; const Y: &str = r#\"crate::\"high\"#; const Z: &[u8] = br\"crate::high\";",
        "#[cfg(test)]\nmod tests { use crate::high; fn f() { super::super::high::f() } }",
        "#[cfg(test)]\nuse crate::high;",
        "macro_rules! m { () => { other::crate_high() } }",
        "use crate::highest;",
    ] {
        assert_eq!(found_in(&[("low::a", text)]), [""; 0], "{text}");
    }
    // A file that is declared for tests alone.
    assert_eq!(found_in(&[("low", "#[cfg(test)]\nmod a;"), ("low::a", "use crate::high;")]), [""; 0]);
    assert_eq!(found_in(&[("low", "mod a;"), ("low::a", "use crate::high;")]).len(), 1);
}

#[test]
fn files_that_import_each_other_are_found_and_the_front_file_is_free() {
    for (a, b) in [
        ("use super::b::X;", "use super::a::Y;"),
        ("fn f() { super::b::f() }", "use crate::low::a;"),
        ("use super::{b, X};", "use crate::{low::{a::Y}};"),
    ] {
        let found = found_in(&[("low::a", a), ("low::b", b)]);
        assert_eq!(found.len(), 2, "{a} {b}: {found:?}");
        assert_eq!(found_in(&[("low::a", a), ("low::b", "use super::X;"), ("low", "use self::a::X; mod a; mod b;")]), [""; 0]);
    }
}

#[test]
#[should_panic(expected = "not a room below it")]
fn a_table_that_lets_a_room_import_one_above_is_no_table() {
    Table::read("\n| room | may import |\n|---|---|\n| high | low |\n| low | high |\n");
}

/// Paths of this repository that a text names; of names with a blank to fill in, nothing.
fn cited(text: &str) -> BTreeSet<&str> {
    const FOLDERS: [&str; 5] = ["docs/", "src/", "test/", "bench/", "spec/"];
    let is_path = |c: char| c.is_alphanumeric() || "._-/".contains(c);
    let mut found = BTreeSet::new();
    for folder in FOLDERS {
        for (at, _) in text.match_indices(folder) {
            if text[..at].chars().next_back().is_some_and(is_path) {
                continue;
            }
            let rest = &text[at..];
            let end = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
            let is_pattern = rest[end..].starts_with(['<', '{', '*', '$', '…']);
            let path = rest[..end].trim_end_matches(['.', '/', '-']);
            if !is_pattern && path.contains('/') {
                found.insert(path);
            }
        }
    }
    found
}

#[test]
fn every_file_that_the_map_names_is_there() {
    let source = root().join("src");
    let words = ARCHITECTURE.split(|c: char| !c.is_alphanumeric() && !"._-/".contains(c));
    let mut found = 0;
    for word in words.map(|word| word.trim_end_matches(['.', '/'])) {
        let is_room = |room: &str| source.join(format!("{room}.rs")).is_file();
        // `gate/places` is a file of the room `gate`.
        if word.split_once('/').is_some_and(|(room, file)| is_room(room) && !file.is_empty()) {
            found += 1;
            let is_there = source.join(word).exists() || source.join(format!("{word}.rs")).exists();
            assert!(is_there, "docs/architecture.md: {word}");
        }
    }
    assert!(found > 8, "{found}");
}

/// Words for documents that are not here, so that nobody who reads them finds what they rest on.
fn elsewhere(text: &str) -> Option<&'static str> {
    let numbered =
        |word: &&str| text.match_indices(*word).any(|(at, _)| text[at + word.len()..].starts_with(|c: char| c.is_ascii_digit()));
    let named = ["DESIGN", "STYLE.md", "spec of "].into_iter().find(|word| text.contains(word));
    named.or_else(|| ["finding ", "issue ", "issue #"].into_iter().find(|word| numbered(word)))
}

#[test]
fn what_is_cited_is_found_in_a_text() {
    assert_eq!(
        cited("see docs/a.md, `src/b.rs`: (test/c/); ../docs/d.md test/<x>/e bench/{f} and src/g."),
        ["docs/a.md", "src/b.rs", "src/g", "test/c"].into()
    );
    for text in ["(DESIGN, section 1)", "as issue 4 has it", "see issue #4", "finding 1 of it", "spec of dockerd, section 7"] {
        assert!(elsewhere(text).is_some(), "{text}");
    }
    for text in ["2 findings", "an issue of this", "image-spec", "a finding", "designed"] {
        assert_eq!(elsewhere(text), None, "{text}");
    }
}

#[test]
fn every_file_that_comments_and_documents_cite_is_there() {
    let root = root();
    let comments = |text: &str| -> String {
        let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let mut texts: Vec<(PathBuf, String)> = Vec::new();
    for folder in ["src", "test"] {
        texts.extend(files_below(&root.join(folder), "rs").into_iter().map(|path| {
            let text = comments(&std::fs::read_to_string(&path).unwrap());
            (path, text)
        }));
    }
    let documents = files_below(&root.join("docs"), "md").into_iter().chain(files_below(&root.join("bench"), "sh"));
    let others = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "clippy.toml", "Makefile", "Dockerfile", ".cargo/config.toml"];
    for path in documents.chain(others.map(|name| root.join(name))) {
        let text = std::fs::read_to_string(&path).unwrap();
        texts.push((path, text));
    }
    let mut faults = Vec::new();
    let mut found = 0;
    for (path, text) in &texts {
        let own = path.strip_prefix(root).unwrap().display();
        for cited in cited(text) {
            found += 1;
            if !root.join(cited).exists() {
                faults.push(format!("{own}: {cited} is not there"));
            }
        }
        if let Some(what) = elsewhere(text)
            && !own.to_string().ends_with("architecture.rs")
        {
            faults.push(format!("{own}: cites {what}, which is not in the repository"));
        }
    }
    assert!(found > 30, "{found}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
