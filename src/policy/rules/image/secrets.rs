//! `secrets`: what looks like one in the environment, in labels and in the history. Only where it stands is said, never what it is.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};

use super::{Broken, Subject, broken};
use crate::text::clean;

/// Words that the names of secrets end with, or consist of.
const WORDS: [&str; 9] =
    ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "APIKEY", "CREDENTIAL", "CREDENTIALS", "PRIVATEKEY"];
/// Words that mean one alone: inside others they do not (`COMPASS`).
const WHOLE: [&str; 4] = ["PASS", "PW", "SECRETS", "PASSWORDS"];
/// Two words that mean one together.
const PAIRS: [(&str, &str); 6] =
    [("API", "KEY"), ("ACCESS", "KEY"), ("PRIVATE", "KEY"), ("SECRET", "KEY"), ("ENCRYPTION", "KEY"), ("AUTH", "KEY")];

/// Values that are secrets whatever they are called: private keys, tokens of well-known services, URLs with a password.
static VALUES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let text = concat!(
        r"-----BEGIN [A-Z ]*PRIVATE KEY|\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{22,}",
        r"|\bglpat-[A-Za-z0-9_-]{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bdckr_pat_[A-Za-z0-9_-]{20,}|\bnpm_[A-Za-z0-9]{36}",
        r"|[a-z][a-z0-9+.-]*://[^/\s:@$]+:[^/\s:@$]+@",
    );
    RegexBuilder::new(text).unicode(false).build().ok()
});
/// `NAME=value` in an instruction, and options of programs that take a password.
static ASSIGNED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let text = r#"([A-Za-z_][A-Za-z0-9_.-]*)[=]("[^"]*"|'[^']*'|[^\s"']\S*)"#;
    RegexBuilder::new(text).unicode(false).build().ok()
});
static OPTION: LazyLock<Option<Regex>> =
    LazyLock::new(|| RegexBuilder::new(r"--?(password|passwd|token)[= ]+[^\s$-]").unicode(false).build().ok());

/// No secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secrets {
    /// Names of variables and labels that hold none, though they are called so.
    pub allow: BTreeSet<String>,
}

impl Secrets {
    pub(super) fn judge(&self, image: &Subject<'_>) -> Result<(), Broken> {
        let config = image.config()?;
        for variable in &config.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            if self.is_one(name, value) {
                return broken(format!("ENV `{}` looks like a secret", clean(name)));
            }
        }
        for (name, value) in &config.labels {
            if self.is_one(name, value) {
                return broken(format!("label `{}` looks like a secret", clean(name)));
            }
        }
        let history = config.history.as_ref().ok_or(Broken::Unknown)?;
        for (number, line) in history.iter().enumerate() {
            if let Some(what) = self.in_instruction(line) {
                return broken(format!("line {} of its history has {what}", number + 1));
            }
        }
        Ok(())
    }

    /// Whether a variable or a label looks like a secret.
    #[must_use]
    pub fn is_one(&self, name: &str, value: &str) -> bool {
        !self.allow.contains(name) && is_secret(name, value)
    }

    /// What in an instruction looks like a secret.
    #[must_use]
    pub fn in_instruction(&self, line: &str) -> Option<String> {
        let seen = SecretsSeen::of(line);
        if let Some((name, _)) = seen.assigned.iter().find(|(name, _)| !self.allow.contains(name)) {
            return Some(format!("`{}`, which looks like a secret", clean(name)));
        }
        if seen.is_option {
            return Some("a password or token as an option".to_owned());
        }
        seen.is_value.then(|| "what looks like a secret".to_owned())
    }
}

/// What looks like secrets in an instruction.
pub(super) struct SecretsSeen {
    /// Names of secrets, and the values that they are given.
    pub(super) assigned: Vec<(String, String)>,
    /// A program is given a password or token as an option.
    pub(super) is_option: bool,
    /// A value that is one by its form.
    pub(super) is_value: bool,
}

impl SecretsSeen {
    pub(super) fn of(line: &str) -> Self {
        let text = line.as_bytes();
        let mut assigned = Vec::new();
        for found in ASSIGNED.iter().flat_map(|regex| regex.captures_iter(text)) {
            let part = |at| found.get(at).map(|part| String::from_utf8_lossy(part.as_bytes()).into_owned()).unwrap_or_default();
            let (name, value) = (part(1), part(2));
            let name = name.trim_start_matches('-');
            if is_called_one(name) && !is_none(value.trim_matches(['"', '\''])) {
                assigned.push((name.to_owned(), value));
            }
        }
        let is_option = OPTION.as_ref().is_none_or(|regex| regex.is_match(text));
        Self { assigned, is_option, is_value: looks_like_one(line) }
    }
}

/// Whether a value is a secret by its form, whatever it is called.
pub(super) fn looks_like_one(value: &str) -> bool {
    VALUES.as_ref().is_none_or(|regex| regex.is_match(value.as_bytes()))
}

pub(super) fn is_secret(name: &str, value: &str) -> bool {
    looks_like_one(value) || (is_called_one(name) && !is_none(value))
}

/// Whether a value is none: empty, a variable that is filled in elsewhere, a file in which the secret is.
pub(super) fn is_none(value: &str) -> bool {
    let value = value.trim();
    value.is_empty() || value.starts_with('$') || value.starts_with("/run/secrets/")
}

/// Whether secrets are called so. What ends in `_FILE` names the file that has it.
fn is_called_one(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    // Not gathered: a name may be megabytes of words.
    let mut words = upper.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    if matches!(words.clone().next_back(), Some("FILE" | "PATH" | "URL")) {
        return false;
    }
    let mut before = "";
    words.any(|word| {
        let pair = (std::mem::replace(&mut before, word), word);
        WHOLE.contains(&word) || WORDS.iter().any(|end| word.ends_with(end)) || PAIRS.contains(&pair)
    })
}
