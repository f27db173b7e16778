//! The documentation is complete and true: what the code can say is explained, and what is explained can be said.

use std::collections::BTreeSet;

use img_authz::policy::{
    About, Code, CreateRuleId, ImageRuleId, Level, MESSAGE_CHARS, Preset, RuleId, VARIABLE_TABLE, VARIABLES,
};
use img_authz::trust::{TrustCode, VerifierName, allowlist, attestation, cosign, notary, notation, registry};

const REASON: &str = include_str!("../../src/policy/reason.rs");
const COSIGN_ERROR: &str = include_str!("../../src/trust/cosign/error.rs");
const USERS: &str = include_str!("../../docs/policy-users.md");
const ENTRY: &str = include_str!("../../src/audit/entry.rs");
const METRICS: &str = concat!(include_str!("../../src/gate/metrics.rs"), include_str!("../../src/gate/metrics/arrivals.rs"));
const DESCRIBE: &str = include_str!("../../src/request/describe.rs");
const POLICY: &str = include_str!("../../docs/policy.md");
const REASONS: &str = include_str!("../../docs/reasons.md");
const SETTINGS: &str = include_str!("../../docs/settings.md");
const AUDIT_LOG: &str = include_str!("../../docs/audit-log.md");
const README: &str = include_str!("../../README.md");
const RECOVERY: &str = include_str!("../../docs/recovery.md");
const TROUBLES: &str = include_str!("../../docs/troubleshooting.md");
const CONTRIBUTING: &str = include_str!("../../CONTRIBUTING.md");
const FAULTS: &str = include_str!("../../docs/faults.md");
const CHAOS: &str = include_str!("../suite/chaos.sh");
const PLUGIN: &str = include_str!("../../plugin/config.json");
const MAKEFILE: &str = include_str!("../../Makefile");

/// The text of a function, from its signature to the closing brace in the same column.
fn body<'a>(source: &'a str, signature: &str) -> &'a str {
    let at = source.find(signature).unwrap_or_else(|| panic!("no `{signature}`"));
    let line = &source[source[..at].rfind('\n').map_or(0, |end| end + 1)..];
    let indent = &line[..line.len() - line.trim_start().len()];
    let end = line.find(&format!("\n{indent}}}")).unwrap_or_else(|| panic!("`{signature}` has no end"));
    &line[..end]
}

/// The string literals in a piece of source that holds no escapes inside them.
fn literals(source: &str) -> BTreeSet<&str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
}

/// Every code of a refusal, in the order of the code.
fn all_codes() -> impl Iterator<Item = &'static str> {
    Code::ALL.iter().map(|code| code.as_str()).chain(TrustCode::ALL.iter().map(|code| code.as_str()))
}

fn codes() -> BTreeSet<&'static str> {
    all_codes().collect()
}

#[test]
fn every_refusal_is_explained_and_no_other() {
    let explained = |text: &'static str| text.lines().filter_map(|line| line.strip_prefix("### "));
    let headings: Vec<_> = explained(REASONS).collect();
    assert_eq!(codes(), headings.iter().copied().collect());
    assert_eq!(codes().len(), headings.len(), "one is explained twice");
    // A row for each chapter that explains some.
    let rows = REASONS.split("\n## ").skip(1).map(|chapter| {
        let heading = chapter.lines().next().unwrap();
        let here: BTreeSet<_> = explained(chapter).collect();
        let codes = all_codes().filter(|code| here.contains(code)).map(|code| format!(" `{code}`")).collect::<String>();
        assert!(!codes.is_empty(), "docs/reasons.md: no code in {heading}");
        format!("| [{heading}](#{}) |{codes} |\n", slug(heading))
    });
    let table = format!("| about | codes |\n|---|---|\n{}", rows.collect::<String>());
    generated("docs/reasons.md", "src/policy/code.rs", &table);
}

#[test]
fn every_refusal_has_an_example_that_the_gate_could_say() {
    let mut remedies: BTreeSet<String> = literals(body(REASON, "fn remedy(&self)")).into_iter().map(str::to_owned).collect();
    remedies.extend(RuleId::all().map(|id| id.about().remedy.to_owned()));
    for code in TrustCode::ALL {
        remedies.insert(notary::remedy(code, &VerifierName::NOTARY));
        remedies.insert(allowlist::remedy(code, &VerifierName::ALLOWLIST));
        remedies.insert(registry::remedy(code, &VerifierName::REGISTRY));
        remedies.extend(["release", "ci"].map(|name| cosign::remedy(code, &name.parse().unwrap())));
        remedies.insert(notation::remedy(code, &"corp".parse().unwrap()));
        remedies.extend(["built", "scanned"].map(|name| attestation::remedy(code, &name.parse().unwrap())));
    }
    // What cosign's own errors advise besides, of the example's verifier.
    let own = literals(body(COSIGN_ERROR, "fn own_remedy(&self"));
    remedies.extend(own.into_iter().map(|text| text.replace("{verifier}", "ci")));
    for section in REASONS.split("\n### ").skip(1) {
        let code = section.lines().next().unwrap();
        let examples: Vec<_> = section.lines().filter(|line| line.starts_with(&format!("{code}: "))).collect();
        assert!(!examples.is_empty(), "{code}: no example");
        for example in examples {
            assert!(example.chars().count() <= MESSAGE_CHARS, "{example}");
            assert!(remedies.iter().any(|remedy| example.ends_with(&format!("; {remedy}"))), "no such remedy: {example}");
        }
    }
}

#[test]
fn every_setting_is_explained_and_can_be_set() {
    let sections: Vec<&str> =
        SETTINGS.lines().filter_map(|line| line.strip_prefix("## ")).flat_map(|heads| heads.split(", ")).collect();
    let of_make = MAKEFILE.lines().find_map(|line| line.strip_prefix("SETTINGS := ")).unwrap();
    let of_make: Vec<&str> = of_make.split(' ').collect();
    // One list, in one order, everywhere.
    assert_eq!(of_make, VARIABLES, "Makefile");
    assert_eq!(sections, VARIABLES, "docs/settings.md");
    let plugin: serde_json::Value = serde_json::from_str(PLUGIN).unwrap();
    let (of_plugin, fixed): (Vec<_>, Vec<_>) =
        plugin["env"].as_array().unwrap().iter().partition(|env| env["settable"][0] == "value");
    let names = |all: Vec<&serde_json::Value>| all.iter().map(|env| env["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(of_plugin), VARIABLES, "plugin/config.json");
    // What is for the C library; no setting of the gate's.
    assert_eq!(names(fixed), ["MALLOC_MMAP_THRESHOLD_"], "plugin/config.json");
    let rows = VARIABLE_TABLE.iter().map(|row| format!("| `{}` | {} | {} |\n", row.name, row.meaning, row.default));
    let table = format!("| variable | meaning | default |\n|---|---|---|\n{}", rows.collect::<String>());
    generated("README.md", "src/policy/variables.rs", &table);
}

/// The table behind the mark that says what it is generated from; `UPDATE_DOCS=1` writes it.
fn generated(document: &str, from: &str, table: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let mark = format!("<!-- generated from {from}: UPDATE_DOCS=1 cargo test --test it docs -->\n\n");
    let (before, rest) = text.split_once(&mark).unwrap_or_else(|| panic!("{document}: no mark of {from}"));
    let (found, after) = rest.split_once("\n\n").unwrap();
    if found == table.trim_end() {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return std::fs::write(&path, format!("{before}{mark}{}\n\n{after}", table.trim_end())).unwrap();
    }
    panic!("{document}: the table from {from} is stale; UPDATE_DOCS=1 cargo test --test it docs");
}

#[test]
fn every_rule_is_explained_with_its_keys_and_presets() {
    let of_images = |preset: Preset, id: ImageRuleId| level(preset.rules().into_iter().map(|(id, level, _)| (id, level)), &id);
    let of_creates =
        |preset: Preset, id: CreateRuleId| level(preset.create_rules().into_iter().map(|(id, level, _)| (id, level)), &id);
    let rows = ImageRuleId::ALL.iter().map(|id| row(id.about(), |preset| of_images(preset, *id)));
    generated("docs/policy.md", "src/policy/rules/image_ids.rs", &table_of(rows));
    let rows = CreateRuleId::ALL.iter().map(|id| row(id.about(), |preset| of_creates(preset, *id)));
    generated("docs/policy.md", "src/policy/rules/create_ids.rs", &table_of(rows));
}

#[test]
fn every_rule_of_an_audit_is_explained() {
    let rows = img_authz::hardening::RuleName::all().map(|name| {
        let rule = name.about();
        let refs = rule.refs.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ");
        format!("| `{}` | {} | {} | {} | {refs} |\n", rule.id, rule.severity.as_str(), rule.at, rule.finds)
    });
    let head = "| id | severity | looked at | what it finds | also called |\n|---|---|---|---|---|\n";
    generated("docs/audit.md", "src/hardening/rules.rs", &format!("{head}{}", rows.collect::<String>()));
}

fn level<I: PartialEq>(mut rules: impl Iterator<Item = (I, Level)>, id: &I) -> Option<Level> {
    rules.find(|(other, _)| other == id).map(|(_, level)| level)
}

fn row(about: About, level: impl Fn(Preset) -> Option<Level>) -> String {
    let presets = Preset::ALL.iter().filter_map(|(name, preset)| Some(format!("`{name}` {}", level(*preset)?.as_str())));
    let presets = presets.collect::<Vec<_>>().join(", ");
    let refs = about.refs.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ");
    format!("| `{}` | {} | {} | {presets} | {refs} |\n", about.id, about.refuses, about.keys)
}

fn table_of(rows: impl Iterator<Item = String>) -> String {
    let head = "| id | what it refuses | its own keys | presets | also called |\n|---|---|---|---|---|\n";
    format!("{head}{}", rows.collect::<String>())
}

/// Whoever copies an example gets a policy.
#[test]
fn every_example_of_the_policy_file_is_one() {
    use img_authz::policy::{Policy, PolicyFile, Posture};
    let examples: Vec<&str> = POLICY.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() > 2, "{examples:?}");
    for example in examples {
        let begins = "version = 1\n[verifiers.release]\ntype = \"notary\"\nserver = \"n.example\"\n";
        let text = if example.contains("version = 1") { example.to_owned() } else { format!("{begins}{example}") };
        let read = PolicyFile(vec![("/etc/x/policy.toml".into(), text)]).read(Policy::closed(Posture::Images));
        assert!(read.resolved.is_ok(), "{example}\n{:?}", read.resolved.unwrap_err());
    }
}

/// Whoever copies an example gets cases.
#[test]
fn every_example_of_cases_is_a_case_file() {
    const TESTING: &str = include_str!("../../docs/policy-test.md");
    let examples: Vec<&str> = TESTING.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let read = img_authz::policy::Case::read(std::path::Path::new("cases.toml"), example);
        assert!(read.is_ok(), "{example}\n{read:?}");
    }
}

/// `help` has documents in the binary, which is compiled in a container from what `.dockerignore` lets through.
#[test]
fn documents_that_are_compiled_in_are_there_where_the_plugin_is_built() {
    assert!(include_str!("../../src/cli/help.rs").contains("include_str!(\"../../docs/"));
    assert!(include_str!("../../.dockerignore").lines().any(|line| line == "!docs"));
    assert!(include_str!("../../Dockerfile").contains("\nCOPY docs docs\nCOPY src src\n"));
}

#[test]
fn every_action_that_users_may_have_is_explained() {
    for action in img_authz::request::Action::all() {
        assert!(USERS.contains(&format!("\n| `{}` | ", action.name())), "docs/policy-users.md: {}", action.name());
    }
    for rule in img_authz::policy::LIFTABLE {
        assert!(USERS.contains(&format!("`{rule}`")), "docs/policy-users.md: {rule}");
    }
}

#[test]
fn every_way_to_the_host_is_explained() {
    for id in img_authz::request::HostAccess::IDS {
        assert!(SETTINGS.contains(&format!("`{id}`")), "docs/settings.md: {id}");
    }
}

#[test]
fn every_event_field_and_action_of_the_audit_log_is_explained() {
    let events = img_authz::audit::Event::ALL.map(|event| event.as_str().to_owned());
    let fields = body(ENTRY, "pub struct Entry").lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": "));
    let fields = fields.map(|(field, _)| field.to_owned());
    let actions = literals(body(DESCRIBE, "fn action(&self)")).into_iter().map(str::to_owned);
    let all: Vec<String> = events.into_iter().chain(fields).chain(actions).collect();
    assert!(all.len() > 40, "they are not where they were: {all:?}");
    for word in all {
        assert!(AUDIT_LOG.contains(&format!("`{word}`")), "docs/audit-log.md: {word}");
    }
}

fn registered_metrics() -> BTreeSet<String> {
    let registered = METRICS.split(".register(").skip(1).filter_map(|rest| rest.split('"').nth(1));
    registered.map(|name| format!("img_authz_{name}")).collect()
}

/// The dashboard and the alerts show what there is.
#[test]
fn every_metric_that_contrib_names_is_one() {
    let registered = registered_metrics();
    for (file, text) in [
        ("contrib/grafana/img-authz.json", include_str!("../../contrib/grafana/img-authz.json")),
        ("contrib/prometheus/img-authz.rules.yml", include_str!("../../contrib/prometheus/img-authz.rules.yml")),
        ("contrib/prometheus/img-authz.test.yml", include_str!("../../contrib/prometheus/img-authz.test.yml")),
    ] {
        let names = text.split("img_authz_").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
        let names: BTreeSet<&str> =
            names.flatten().map(|name| name.trim_end_matches("_total").trim_end_matches("_bucket")).collect();
        assert!(names.len() > 2, "{file}: {names:?}");
        for name in names {
            assert!(registered.contains(&format!("img_authz_{name}")), "{file}: img_authz_{name}");
        }
    }
    let dashboard: serde_json::Value = serde_json::from_str(include_str!("../../contrib/grafana/img-authz.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert!(panels.len() > 10 && ids.len() == panels.len());
}

#[test]
fn every_metric_is_explained_and_no_other() {
    let registered = registered_metrics();
    assert!(registered.len() > 10, "{registered:?}");
    let explained = AUDIT_LOG.lines().filter_map(|line| line.strip_prefix("| `img_authz_")?.split(['`', '{']).next());
    let explained: BTreeSet<_> = explained.map(|name| format!("img_authz_{}", name.trim_end_matches("_total"))).collect();
    assert_eq!(registered, explained);
}

/// What a command says of itself.
fn help(words: &[&str]) -> String {
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_img-authz")).args(words).arg("--help").output().unwrap();
    assert!(run.status.success(), "img-authz {words:?} --help: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// The lines of the documents that are typed, at a prompt, with comments and continuation lines cut off.
fn typed() -> impl Iterator<Item = &'static str> {
    let lines = [README, SETTINGS, AUDIT_LOG, RECOVERY, TROUBLES, REASONS, CONTRIBUTING].into_iter().flat_map(str::lines);
    lines.filter_map(|line| line.strip_prefix("# ").or_else(|| line.strip_prefix("$ "))).map(|line| {
        let line = line.split("  #").next().unwrap_or(line);
        line.trim_end_matches('\\').trim_end()
    })
}

#[test]
fn every_command_that_is_shown_exists_and_every_one_that_exists_is_shown() {
    let shown: Vec<Vec<&str>> =
        typed().filter_map(|line| line.strip_prefix("img-authz ")).map(|line| line.split(' ').collect()).collect();
    assert!(shown.len() > 10, "{shown:?}");
    for words in &shown {
        let nested =
            matches!(words[0], "trust" | "allowlist" | "plugin" | "monitor") || matches!(words[..], ["log", "verify", ..]);
        let help = help(&words[..if nested { 2 } else { 1 }]);
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "{words:?}: {flag}");
        }
    }
    let commands = help(&[]);
    let commands = commands.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let rows = commands.lines().filter_map(|line| line.trim().split_once("  "));
    let rows = rows.map(|(name, about)| format!("| `img-authz {name}` | {} |\n", about.trim()));
    generated("README.md", "src/cli.rs", &format!("| command | what it does |\n|---|---|\n{}", rows.collect::<String>()));
}

/// Pipelines call the program with flags that it has.
#[test]
fn every_command_of_the_pipelines_exists() {
    let files = [include_str!("../../contrib/ci/github-actions.yml"), include_str!("../../contrib/ci/gitlab-ci.yml")];
    for file in files {
        let lines = file.lines().filter(|line| !line.trim_start().starts_with('#'));
        let calls: Vec<Vec<&str>> = lines
            .filter_map(|line| line.split_once("img-authz ").map(|(_, rest)| rest))
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
            .map(|rest| rest.split(' ').collect())
            .collect();
        assert!(calls.len() > 3, "{calls:?}");
        for words in calls {
            let help = help(&words[..if matches!(words[0], "trust" | "policy") { 2 } else { 1 }]);
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                assert!(help.contains(flag), "{words:?}: {flag}");
            }
        }
    }
}

#[test]
fn every_make_target_that_is_shown_exists() {
    let targets = typed().filter_map(|line| line.strip_prefix("make ")).filter(|line| !line.starts_with("-f "));
    let targets = targets.flat_map(|line| line.split(' ').filter(|word| !word.is_empty() && !word.contains('=')));
    let targets: BTreeSet<_> = targets.collect();
    assert!(targets.len() > 4, "{targets:?}");
    for target in targets {
        assert!(MAKEFILE.contains(&format!("\n{target}:")), "Makefile: {target}");
    }
}

/// What a fault comes to is held against its row by the suite itself.
#[test]
fn every_fault_of_the_table_is_brought_about_and_no_other() {
    let rows: Vec<Vec<&str>> =
        FAULTS.lines().filter(|line| line.starts_with("| `")).map(|line| line.split('|').collect()).collect();
    let named: BTreeSet<_> = rows.iter().map(|row| row[1].trim().trim_matches('`').to_owned()).collect();
    let tests = CHAOS.lines().filter_map(|line| line.strip_prefix("chaos_tests+=(test_fault_")?.strip_suffix(')'));
    assert_eq!(tests.map(|name| name.replace('_', "-")).collect::<BTreeSet<_>>(), named);
    assert!(rows.len() > 30, "{rows:?}");
    for row in rows {
        for code in [row[3], row[4]].into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            assert!(codes().contains(code), "{row:?}: {code}");
        }
    }
}

#[test]
fn every_link_leads_to_a_file() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.to_owned(), root.join("docs"), root.join("docs/adr")];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut links = 0;
    for file in files.filter(|path| path.extension().is_some_and(|ending| ending == "md")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.clone() } else { file.with_file_name(path) };
            assert!(target.exists(), "{}: {link}", file.display());
            links += 1;
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap();
                let anchors = text.lines().filter(|line| line.starts_with('#')).map(|line| slug(line.trim_start_matches('#')));
                assert!(anchors.into_iter().any(|found| found == anchor), "{}: {link}", file.display());
            }
        }
    }
    assert!(links > 30, "{links}");
}

/// A heading's anchor, as forges make it.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Editors offer what the schema has.
#[test]
fn the_schema_has_every_rule() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("../../docs/policy.schema.json")).unwrap();
    let rules = &schema["$defs"]["rules"]["properties"];
    for id in RuleId::all() {
        assert!(rules[id.about().id].is_object(), "docs/policy.schema.json: {}", id.about().id);
    }
    assert_eq!(rules.as_object().unwrap().len(), RuleId::all().count() + 1, "and `extends`");
}
