//! Texts that may hold secrets, made fit to be kept: what the rule `secrets` says of an image stays as it is, whatever names it allows, and
//! what the secrets are is gone.

use super::secrets::{SecretsSeen, is_none, is_secret, looks_like_one};
use crate::image::Digest;

/// Characters of a hash that are kept. Two values are told apart by them; more would only fill the file.
const HASH_CHARS: usize = 32;

/// Hides values behind hashes.
#[derive(Clone, Default)]
pub struct Hider {
    /// What is hashed before each value, so that nobody without it can try values out; empty where there is none.
    salt: Vec<u8>,
}

impl std::fmt::Debug for Hider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hider(<redacted>)")
    }
}

impl Hider {
    /// One with a salt.
    #[must_use]
    pub const fn salted(salt: Vec<u8>) -> Self {
        Self { salt }
    }

    /// `NAME=value` of an environment with its value hidden.
    #[must_use]
    pub fn variable(&self, variable: &str) -> String {
        match variable.split_once('=') {
            Some((name, value)) => format!("{name}={}", self.value(name, value)),
            None => variable.to_owned(),
        }
    }

    /// A label's value; hidden only where it looks like a secret.
    #[must_use]
    pub fn label(&self, name: &str, value: &str) -> String {
        if is_secret(name, value) { self.value(name, value) } else { value.to_owned() }
    }

    /// A line of the history: only what looks like a secret is left of it, without its value.
    #[must_use]
    pub fn line(&self, line: &str) -> String {
        let seen = SecretsSeen::of(line);
        let mut parts: Vec<String> =
            seen.assigned.iter().map(|(name, value)| format!("{name}={}", self.hash(name, value))).collect();
        if seen.is_option {
            parts.push("--password hidden".to_owned());
        }
        if seen.is_value {
            parts.push(self.value("", line));
        }
        parts.join(" ")
    }

    /// What the rule takes for no secret stays none, what it takes for one by its form stays one.
    fn value(&self, name: &str, value: &str) -> String {
        let hash = || self.hash(name, value);
        match value.trim() {
            "" => String::new(),
            _ if looks_like_one(value) => format!("hidden://value:{}@", hash()),
            trimmed if is_none(trimmed) && trimmed.starts_with('$') => format!("${}", hash()),
            trimmed if is_none(trimmed) => format!("/run/secrets/{}", hash()),
            _ => hash(),
        }
    }

    /// The name is hashed too: that two variables have one value is not told.
    fn hash(&self, name: &str, value: &str) -> String {
        let mut all = self.salt.clone();
        for part in [name, value] {
            all.extend((part.len() as u64).to_be_bytes());
            all.extend(part.as_bytes());
        }
        let mut hash = Digest::of(&all).hex();
        hash.truncate(HASH_CHARS);
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::super::Subject;
    use super::super::secrets::Secrets;
    use super::*;
    use crate::image::ImageConfig;

    /// What the rule says of an image with this.
    fn judged(env: &[String], labels: &[(String, String)], history: Option<&[String]>, allow: &[&str]) -> String {
        let config = ImageConfig {
            env: env.to_vec(),
            labels: labels.iter().cloned().collect(),
            history: history.map(<[String]>::to_vec),
            ..ImageConfig::default()
        };
        let rule = Secrets { allow: allow.iter().map(|name| (*name).to_owned()).collect() };
        let subject = Subject {
            tag: None,
            is_tag_missing: false,
            vouched: &[],
            signed_at: None,
            built_at: None,
            config: Some(&config),
            now: None,
            runs: true,
        };
        format!("{:?}", rule.judge(&subject))
    }

    #[test]
    fn the_rule_says_the_same_of_what_is_hidden_and_no_secret_is_left() {
        let hider = Hider::salted(b"salt".to_vec());
        let texts = [
            "DB_PASSWORD=hunter2",
            "DB_PASSWORD=",
            "DB_PASSWORD=$hunter2",
            "DB_PASSWORD= /run/secrets/hunter2",
            "DB_PASSWORD_FILE=/run/hunter2",
            "PLAIN=hunter2",
            "PLAIN=https://u:hunter2@h.example",
            "PLAIN=AKIA0123456789ABCDEF",
            "hunter2",
            "RUN curl --password hunter2 x",
            "RUN mysql --password=hunter2",
            "RUN A_TOKEN='hunter2' B_SECRET=\"hunter2\" make",
            "RUN A_TOKEN=$hunter2 make",
            "RUN true && echo -----BEGIN RSA PRIVATE KEY hunter2",
            "COPY a b",
        ];
        for text in texts {
            for allow in [&[][..], &["DB_PASSWORD"], &["A_TOKEN"], &["PLAIN"]] {
                let (plain, hidden) = (vec![text.to_owned()], vec![hider.variable(text)]);
                let none = Some(&[][..]);
                assert_eq!(judged(&plain, &[], none, allow), judged(&hidden, &[], none, allow), "{text} {hidden:?}");
                assert!(!text.contains('=') || !hidden[0].contains("hunter2"), "{hidden:?}");
                let (name, value) = text.split_once('=').unwrap_or((text, "x"));
                let label = |value: String| vec![(name.to_owned(), value)];
                let (plain, hidden) = (label(value.to_owned()), label(hider.label(name, value)));
                assert_eq!(judged(&[], &plain, none, allow), judged(&[], &hidden, none, allow), "{text} {hidden:?}");
                let (plain, hidden) = (vec!["FROM x".to_owned(), text.to_owned()], vec![hider.line("FROM x"), hider.line(text)]);
                let of = |history: &[String]| judged(&[], &[], Some(history), allow);
                assert_eq!(of(&plain), of(&hidden), "{text} {hidden:?}");
                assert!(!hidden[1].contains("hunter2"), "{hidden:?}");
            }
        }
    }

    #[test]
    fn one_value_hides_behind_another_hash_under_another_salt_and_another_name() {
        let (one, other) = (Hider::salted(b"a".to_vec()), Hider::salted(b"b".to_vec()));
        let hidden = |hider: &Hider, variable| hider.variable(variable).split_once('=').unwrap().1.to_owned();
        assert_eq!(hidden(&one, "A=x"), hidden(&one, "A=x"));
        assert_ne!(hidden(&one, "A=x"), hidden(&other, "A=x"));
        assert_ne!(hidden(&one, "A=x"), hidden(&one, "B=x"));
        assert_eq!(format!("{one:?}"), "Hider(<redacted>)");
    }
}
