//! The original plugin's settings: lines `NAME=VALUE`, or what `docker plugin inspect` prints.

use super::draft::{Draft, beside};
use super::json::Json;
use super::{ImportError, form, shown};
use crate::policy::Settings;
use crate::policy::resolved::{Given, VerifierSettings};

const ROOT_CA: &str = "notary-ca.crt";
/// What the original knows.
const KNOWN: [&str; 3] = ["REGISTRY", "NOTARY", "NOTARY_ROOT_CA"];

pub(super) fn is_env_file(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        KNOWN.iter().any(|name| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')))
    })
}

pub(super) fn is_inspect(json: &Json) -> bool {
    plugin(json).is_some()
}

/// The one plugin that was looked at.
fn plugin(json: &Json) -> Option<&Json> {
    let plugin = match json {
        Json::List(plugins) => match plugins.as_slice() {
            [plugin] => plugin,
            _ => return None,
        },
        json => json,
    };
    plugin.get("Settings").map(|_| plugin)
}

pub(super) fn read(text: &str, json: Option<&Json>, draft: &mut Draft) -> Result<(), ImportError> {
    let written = match json {
        Some(json) => {
            let plugin =
                plugin(json).ok_or_else(|| form("the file", "is not what `docker plugin inspect NAME` prints of one plugin"))?;
            let env = plugin.get("Settings").and_then(|settings| settings.get("Env"));
            let env = env.ok_or_else(|| form("Settings.Env", "is missing"))?.texts("Settings.Env")?;
            env.into_iter().map(|line| split("Settings.Env", line)).collect::<Result<Vec<_>, _>>()?
        }
        None => of_lines(text)?,
    };
    let mut settings = Settings::default();
    for (place, name, value) in written.into_iter().filter(|(_, _, value)| !value.trim().is_empty()) {
        if !KNOWN.contains(&name.as_str()) {
            draft.leave_out(place, format!("{} is not a variable of the original plugin", shown(&name)));
        } else if settings.get(&name).is_some() {
            return Err(form(place, format!("{name} is there twice")));
        } else if name == "NOTARY" && matches!(value.trim(), "off" | "import") {
            draft.leave_out(place, "NOTARY names no server: there is no scope, so every image is refused");
            return Ok(());
        } else {
            settings = settings.with(&name, value);
        }
    }
    match settings.resolve(false) {
        Ok(mut resolved) => {
            for verifier in resolved.verifiers.values_mut() {
                let VerifierSettings::Notary(notary) = verifier else { continue };
                if let Some(Given::Text(pem)) = notary.root_ca.take() {
                    draft.file(ROOT_CA, format!("{pem}\n"));
                    notary.root_ca = Some(beside(ROOT_CA));
                }
            }
            draft.replace(resolved);
            if draft.resolved().notaries().any(|(_, notary)| settings.get("NOTARY").is_none() && notary.root_ca.is_none()) {
                draft.leave_out(
                    "NOTARY",
                    "is unset, so Docker's own Notary is asked, as the original does; it closes on 2026-12-08",
                );
            }
        }
        Err(faults) => {
            for fault in faults {
                draft
                    .leave_out(fault.key.to_string(), format!("{}; there is no scope, so every image is refused", fault.message));
            }
        }
    }
    Ok(())
}

type Written = (String, String, String);

fn split(place: &str, line: &str) -> Result<Written, ImportError> {
    let (name, value) = line.split_once('=').ok_or_else(|| form(place, format!("{} is not NAME=VALUE", shown(line))))?;
    Ok((place.to_owned(), name.trim().to_owned(), value.to_owned()))
}

/// Lines of an env file. A value in quotes, as that of a certificate, goes on until they close.
fn of_lines(text: &str) -> Result<Vec<Written>, ImportError> {
    let mut written = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = format!("line {number}");
        let (place, name, mut value) = split(&place, line.strip_prefix("export ").unwrap_or(line))?;
        let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
        if let Some(quote) = quote {
            let mut inside = value.split_off(1);
            while !inside.contains(quote) {
                let (_, next) = lines.next().ok_or_else(|| form(&place, "a quote that is not closed"))?;
                inside.push('\n');
                inside.push_str(next);
            }
            let (inner, behind) = inside.split_once(quote).unwrap_or((&inside, ""));
            if !behind.trim().is_empty() {
                return Err(form(place, "has something behind the closing quote"));
            }
            inner.clone_into(&mut value);
        }
        written.push((place, name, value));
    }
    Ok(written)
}
