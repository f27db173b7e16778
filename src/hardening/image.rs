//! An image: its configuration and its history by the policy's own rules, and what its layers hold.

use jiff::Timestamp;

use super::archive::Contents;
use super::dockerfile::PORTS;
use super::{Finding, OwnRule, RuleName, shell};
use crate::image::{ImageConfig, ImageName};
use crate::policy::{AgeOf, Check, ExposedPorts, ImageRuleId, MaxAge, Secrets, Subject};
use crate::text::clean;

/// The age at which an image is told to be old, in days.
const DAYS: u64 = 90;

/// Everything that is weak about an image. `name`: what it is called, where that is a name.
#[must_use]
pub fn audit(contents: &Contents, target: &str, name: Option<&ImageName>, now: Timestamp) -> Vec<Finding> {
    let mut findings = of_config(&contents.config, target, name, now);
    findings.extend(contents.findings(target));
    findings
}

/// What is weak about what an image says of itself.
#[must_use]
pub fn of_config(config: &ImageConfig, target: &str, name: Option<&ImageName>, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |rule: RuleName, evidence: &str| findings.push(Finding::new(rule, target, None, evidence));
    let (reference, is_tag_missing) = match name {
        Some(ImageName::Named { reference, written }) if reference.digest.is_none() => {
            (Some(reference), !written.rsplit('/').next().is_some_and(|last| last.contains(':')))
        }
        Some(ImageName::Named { .. } | ImageName::Id(_) | ImageName::IdPrefix(_)) | None => (None, false),
    };
    let subject = Subject {
        tag: reference.and_then(|reference| reference.tag.as_ref()),
        is_tag_missing,
        config: Some(config),
        now: Some(now),
        runs: true,
        ..Subject::default()
    };
    for (id, check) in [
        (ImageRuleId::TagLatest, Check::TagLatest),
        (ImageRuleId::MaxAge, Check::MaxAge(MaxAge { days: DAYS, of: AgeOf::Created })),
        (ImageRuleId::UserRoot, Check::UserRoot),
        (ImageRuleId::Healthcheck, Check::Healthcheck),
        (ImageRuleId::ExposedPorts, Check::ExposedPorts(ExposedPorts { forbid: PORTS.into() })),
    ] {
        if let Some(evidence) = check.shows(&subject) {
            note(id.into(), &evidence);
        }
    }
    for evidence in secrets(config) {
        note(ImageRuleId::Secrets.into(), &evidence);
    }
    for (rule, evidence) in history(config) {
        note(rule.into(), &evidence);
    }
    findings
}

/// Every variable and label that looks like a secret, and what of the history is none of them.
fn secrets(config: &ImageConfig) -> Vec<String> {
    let mut secrets = Secrets::default();
    let mut found = Vec::new();
    let variables = config.env.iter().map(|variable| ("ENV", variable.split_once('=').unwrap_or((variable, ""))));
    let labels = config.labels.iter().map(|(name, value)| ("label", (name.as_str(), value.as_str())));
    for (kind, (name, value)) in variables.chain(labels) {
        if secrets.is_one(name, value) {
            found.push(format!("{kind} `{}` looks like a secret", clean(name)));
            secrets.allow.insert(name.to_owned());
        }
    }
    // What a variable of the image holds has been told.
    let told: Vec<String> = secrets.allow.iter().map(|name| format!("{name}=")).collect();
    let lines = config.history.iter().flatten().enumerate();
    found.extend(lines.filter_map(|(at, line)| {
        let what = secrets.in_instruction(line)?;
        let is_told = told.iter().any(|assigned| line.contains(assigned));
        (!is_told).then(|| format!("line {} of its history has {what}", at + 1))
    }));
    found
}

/// What the instructions did that made it, where the layers do not show it better.
fn history(config: &ImageConfig) -> Vec<(OwnRule, String)> {
    let mut found: Vec<(OwnRule, String)> = Vec::new();
    for (at, line) in config.history.iter().flatten().enumerate() {
        let told = match instruction(line) {
            // The first is how a base gets its files.
            ("ADD", _) if at > 0 => vec![OwnRule::AddNotCopy],
            ("RUN", script) => {
                let judged = shell::judge(script, &[]).into_iter().map(|(rule, _)| rule);
                judged.filter(|rule| matches!(rule, OwnRule::UpdateAlone | OwnRule::Sudo)).collect()
            }
            _ => Vec::new(),
        };
        for rule in told {
            if !found.iter().any(|(own, _)| *own == rule) {
                // Not the line itself: no list of what secrets look like is whole.
                found.push((rule, format!("line {} of its history", at + 1)));
            }
        }
    }
    found
}

/// An instruction's keyword and what follows, in the words of both builders.
fn instruction(line: &str) -> (&str, &str) {
    let line = line.trim().trim_end_matches("# buildkit").trim_end();
    if let Some(rest) = line.strip_prefix("/bin/sh -c #(nop)") {
        let rest = rest.trim_start();
        return rest.split_once(' ').unwrap_or((rest, ""));
    }
    let shell = |text: &'_ str| text.find("/bin/sh -c ").map_or(0, |at| at + "/bin/sh -c ".len());
    match line.split_once(' ') {
        Some((keyword @ ("ADD" | "COPY" | "ENV" | "LABEL" | "EXPOSE" | "USER" | "CMD"), rest)) => (keyword, rest),
        Some(("RUN", rest)) => ("RUN", rest.get(shell(rest)..).unwrap_or(rest)),
        _ if line.starts_with("/bin/sh -c ") || line.starts_with('|') => ("RUN", line.get(shell(line)..).unwrap_or(line)),
        _ => ("", line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ImageConfig {
        ImageConfig {
            created: Some("2026-11-01T00:00:00Z".parse().unwrap()),
            user: "app".into(),
            healthcheck: vec!["CMD".into(), "x".into()],
            history: Some(vec!["/bin/sh -c #(nop) ADD file:0 in / ".into(), "COPY a /a # buildkit".into()]),
            ..ImageConfig::default()
        }
    }

    fn ids(change: impl FnOnce(&mut ImageConfig), name: &str) -> Vec<&'static str> {
        let mut config = good();
        change(&mut config);
        let name = ImageName::parse(name).unwrap();
        let now = "2026-11-30T00:00:00Z".parse().unwrap();
        of_config(&config, "x", Some(&name), now).iter().map(|finding| finding.rule.about().id).collect()
    }

    #[test]
    fn each_rule_has_a_configuration_that_breaks_it() {
        assert_eq!(ids(|_| (), "a:1"), [""; 0]);
        assert_eq!(ids(|_| (), "a"), ["tag-latest"]);
        assert_eq!(ids(|_| (), &format!("a@sha256:{}", "0".repeat(64))), [""; 0]);
        assert_eq!(ids(|config| config.user.clear(), "a:1"), ["user-root"]);
        assert_eq!(ids(|config| config.healthcheck.clear(), "a:1"), ["healthcheck"]);
        assert_eq!(ids(|config| config.ports = vec!["6379/tcp".into()], "a:1"), ["exposed-ports"]);
        assert_eq!(ids(|config| config.created = None, "a:1"), ["max-age"]);
        let line = |line: &str| ids(|config| config.history.as_mut().unwrap().push(line.into()), "a:1");
        for add in ["ADD a /a # buildkit", "/bin/sh -c #(nop) ADD file:1 in /a "] {
            assert_eq!(line(add), ["add-not-copy"]);
        }
        for update in
            ["RUN /bin/sh -c apt-get update # buildkit", "|1 A=b /bin/sh -c apt-get update", "/bin/sh -c apt-get update"]
        {
            assert_eq!(line(update), ["update-alone"]);
        }
        assert_eq!(line("RUN /bin/sh -c sudo make # buildkit"), ["sudo"]);
        assert_eq!(line("RUN /bin/sh -c apt-get update && apt-get install x # buildkit"), [""; 0]);
    }

    #[test]
    fn a_secret_is_told_once_and_never_shown() {
        let of = |env: &str, line: &str| {
            let config = ImageConfig { env: vec![env.into()], history: Some(vec![line.into()]), ..good() };
            let found = of_config(&config, "x", None, "2026-11-30T00:00:00Z".parse().unwrap());
            assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
            found.len()
        };
        assert_eq!(of("DB_PASSWORD=hunter2", "ENV DB_PASSWORD=hunter2"), 1);
        assert_eq!(of("A=b", "|1 TOKEN=hunter2 /bin/sh -c make"), 1);
        assert_eq!(of("DB_PASSWORD=hunter2", "|1 TOKEN=hunter2 /bin/sh -c make"), 2);
        assert_eq!(of("A=b", "RUN |1 TOKEN=hunter2 /bin/sh -c sudo make"), 2);
        // What no pattern knows as one.
        assert_eq!(of("A=b", "RUN /bin/sh -c sudo mysql -uroot -phunter2 # buildkit"), 1);
        assert_eq!(of("A=b", "RUN /bin/sh -c sudo curl -u a:hunter2 https://h.example # buildkit"), 1);
    }
}
