//! daemon.json, as far as the gate must understand it: which authorization plugins it names, and what somebody may have meant.
//! `watchdog` and `doctor` read it with the same eyes.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::text::distance;

/// The key that counts. dockerd knows no other spelling, and refuses keys that it does not know.
pub const KEY: &str = "authorization-plugins";
/// Most keys read. Stops a foreign file from filling memory.
const KEYS: usize = 1024;
/// Most letters by which another key is still taken for a slip of the pen.
const SLIPS: usize = 4;

/// daemon.json: its keys in order, also those given twice.
#[derive(Debug, Clone, PartialEq)]
pub struct DaemonFile {
    members: Vec<(String, Value)>,
}

/// What daemon.json says of authorization plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// These, in the order they are asked.
    Plugins(Vec<String>),
    /// It does not say.
    Nothing,
    /// Not a list of names. dockerd does not start with that.
    NotAList,
}

impl DaemonFile {
    /// Reads the text. An empty file is one that says nothing.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim_start_matches('\u{feff}');
        if text.trim().is_empty() {
            return Ok(Self { members: Vec::new() });
        }
        serde_json::from_slice(text.as_bytes()).map_err(|error| error.to_string())
    }

    /// The value of a key. Given twice, dockerd takes the last.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.members.iter().rev().find(|(own, _)| own == key).map(|(_, value)| value)
    }

    /// The authorization plugins.
    #[must_use]
    pub fn plugins(&self) -> Listed {
        let list = match self.get(KEY) {
            None | Some(Value::Null) => return Listed::Nothing,
            Some(Value::Array(list)) => list,
            Some(_) => return Listed::NotAList,
        };
        let names: Option<Vec<String>> = list.iter().map(|name| name.as_str().map(str::to_owned)).collect();
        names.map_or(Listed::NotAList, Listed::Plugins)
    }

    /// Texts of a list, such as `hosts`; what is none is left out.
    #[must_use]
    pub fn texts(&self, key: &str) -> Vec<String> {
        let list = self.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    }

    /// Whether `authorization-plugins` is given more than once.
    #[must_use]
    pub fn is_given_twice(&self) -> bool {
        self.members.iter().filter(|(key, _)| key == KEY).count() > 1
    }

    /// Whether both say the same of everything but authorization plugins, in the same order.
    #[must_use]
    pub fn is_same_beside_plugins(&self, other: &Self) -> bool {
        let rest = |file: &Self| file.members.iter().filter(|(key, _)| key != KEY).cloned().collect::<Vec<_>>();
        rest(self) == rest(other)
    }

    /// Keys that were probably meant to be `authorization-plugins`.
    #[must_use]
    pub fn near_misses(&self) -> Vec<&str> {
        self.members.iter().map(|(key, _)| key.as_str()).filter(|key| is_near(key)).collect()
    }
}

/// Whether somebody who wrote this key meant the other one.
fn is_near(key: &str) -> bool {
    if key == KEY || key.len() > 64 {
        return false;
    }
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let text = letters(key);
    text.contains("authz") || (text.contains("auth") && text.contains("plugin")) || distance(&text, &letters(KEY)) <= SLIPS
}

impl<'de> Deserialize<'de> for DaemonFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = DaemonFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DaemonFile, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    if members.len() == KEYS {
                        return Err(serde::de::Error::custom("it has too many keys"));
                    }
                    members.push(member);
                }
                Ok(DaemonFile { members })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugins(text: &str) -> Listed {
        DaemonFile::read(text).unwrap().plugins()
    }

    #[test]
    fn the_plugins_are_those_of_the_last_exact_key() {
        let named = |names: &[&str]| Listed::Plugins(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(plugins(r#"{"debug":true,"authorization-plugins":["a","img-authz"]}"#), named(&["a", "img-authz"]));
        assert_eq!(plugins(r#"{"authorization-plugins":["img-authz"],"authorization-plugins":[]}"#), named(&[]));
        assert_eq!(plugins("\u{feff}{}"), Listed::Nothing);
        assert_eq!(plugins(" \n"), Listed::Nothing);
        assert_eq!(plugins(r#"{"authorization-plugins":null}"#), Listed::Nothing);
        for text in [r#"{"authorization-plugins":"img-authz"}"#, r#"{"authorization-plugins":["img-authz",1]}"#] {
            assert_eq!(plugins(text), Listed::NotAList);
        }
        assert!(DaemonFile::read(r#"{"authorization-plugins":[],"authorization-plugins":[]}"#).unwrap().is_given_twice());
    }

    #[test]
    fn what_is_no_object_is_not_read() {
        for text in ["[]", "{", "{}}", "null", r#"{"a":1,}"#, "\"x\""] {
            assert!(DaemonFile::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn slips_of_the_pen_are_found_and_other_keys_are_not_taken_for_them() {
        for key in [
            "authorization-plugin",
            "authorisation-plugins",
            "authorization_plugins",
            "Authorization-Plugins",
            "authorizationPlugins",
            "authorization-pluggins",
            "auhtorization-plugins",
            "authz-plugins",
            "authz",
            "auth-plugins",
            "authorization",
        ] {
            let text = format!("{{\"{key}\":[]}}");
            let expected: &[&str] = if key == "authorization" { &[] } else { &[key] };
            assert_eq!(DaemonFile::read(&text).unwrap().near_misses(), expected, "{key}");
        }
        for key in ["authorization-plugins", "hosts", "insecure-registries", "log-opts", "storage-driver", "auths"] {
            assert!(DaemonFile::read(&format!("{{\"{key}\":[]}}")).unwrap().near_misses().is_empty(), "{key}");
        }
    }
}
