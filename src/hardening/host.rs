//! This host by sections 2, 4 and 5 of the CIS benchmark: how the engine is set up, what its containers were given, what its images say of
//! themselves. Everything comes in as the engine tells it; nothing here asks anybody.

mod daemon;
mod fix;

use crate::order::Ordered as _;

use serde_json::Value;

pub use daemon::{Daemon, of_daemon};
pub use fix::{daemon_fix, run_fix};

use super::{Finding, OwnRule, RuleName};
use crate::image::{ImageConfig, ImageName};
use crate::policy::{Check, CreateCheck, CreateRuleId, ImageRuleId, Mounts, Secrets, Subject};
use crate::request::Intent;
use crate::text::clean;
use crate::wire::Call;

/// What is weak about a container, by what the engine says of it (`GET /containers/ID/json`); or why that cannot be told.
pub fn of_container(described: &Value, target: &str) -> Result<Vec<Finding>, String> {
    let (config, host) = (&described["Config"], &described["HostConfig"]);
    let intent = as_created(config, host);
    let run = match &intent {
        Intent::Unreadable(why) => return Err(clean(&why.to_string())),
        intent => intent.run().ok_or("the engine says nothing of how it runs")?,
    };
    let mut findings = Vec::new();
    let mut note = |rule: RuleName, evidence: &str| findings.push(Finding::new(rule, target, None, evidence));
    // What is privileged has every capability; that is one finding.
    let is_privileged = host["Privileged"].as_bool() == Some(true);
    for id in RuleName::CREATE.into_iter().filter(|id| !is_privileged || *id != CreateRuleId::Capabilities) {
        let check = match id {
            // The list that CIS has.
            CreateRuleId::Mounts => CreateCheck::Mounts(Mounts { sensitive: true, ..Mounts::default() }),
            id => CreateCheck::default_of(id),
        };
        if let Err(evidence) = check.judge(&run) {
            note(RuleName::Create(id), &evidence);
        }
    }
    if matches!(host["NetworkMode"].as_str(), Some("default" | "bridge" | "")) {
        note(OwnRule::DefaultBridge.into(), "it is on `docker0`, with every container that names no network");
    }
    let texts = |value: &Value| {
        value.as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect::<Vec<_>>()
    };
    let own = ImageConfig {
        user: config["User"].as_str().unwrap_or_default().to_owned(),
        env: texts(&config["Env"]),
        healthcheck: described.pointer("/Config/Healthcheck/Test").map(texts).unwrap_or_default(),
        ..ImageConfig::default()
    };
    let name = config["Image"].as_str().and_then(|name| ImageName::parse(name).ok());
    let reference = name.as_ref().and_then(ImageName::reference).filter(|reference| reference.digest.is_none());
    let tag = reference.and_then(|reference| reference.tag.as_ref());
    let subject = Subject { tag, config: Some(&own), runs: true, ..Subject::default() };
    for (id, check) in [
        (ImageRuleId::TagLatest, Check::TagLatest),
        (ImageRuleId::UserRoot, Check::UserRoot),
        (ImageRuleId::Healthcheck, Check::Healthcheck),
    ] {
        if let Some(evidence) = check.shows(&subject) {
            note(id.into(), &evidence);
        }
    }
    let secrets = Secrets::default();
    for (name, value) in own.env.iter().filter_map(|variable| variable.split_once('=')) {
        if secrets.is_one(name, value) {
            note(ImageRuleId::Secrets.into(), &format!("its variable `{}` looks like a secret", clean(name)));
        }
    }
    Ok(findings)
}

/// The container as though it were created so now: the policy's rules read what a call asks for.
fn as_created(config: &Value, host: &Value) -> Intent {
    let mut host = host.clone();
    if let Some(members) = host.as_object_mut() {
        // What the engine fills in is its own list; one that is empty was asked for.
        members.retain(|name, value| {
            !matches!(name.as_str(), "MaskedPaths" | "ReadonlyPaths") || value.as_array().is_some_and(Vec::is_empty)
        });
        // And its own profile's name.
        members.remove("Runtime");
    }
    let body = serde_json::json!({ "HostConfig": host, "Healthcheck": config["Healthcheck"] }).to_string();
    Intent::of(&Call {
        user: String::new(),
        user_authn_method: String::new(),
        method: "POST".to_owned(),
        uri: "/containers/create".to_owned(),
        headers: [
            ("Content-Length".to_owned(), body.len().to_string()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ]
        .ordered(),
        body: Some(body.into_bytes()),
        outcome: None,
        certificate: None,
    })
}

#[cfg(test)]
mod tests;
