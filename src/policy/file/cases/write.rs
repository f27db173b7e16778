//! What was found out about an image, written as a case: `check --case`. Values of its environment are hashed, and its history is left out:
//! both may hold secrets, and a case goes into a repository.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{ENTRIES, VERSION};
use crate::image::{Digest, ImageConfig};
use crate::policy::file::write::{list, quoted};
use crate::policy::{ContainerFacts, Facts, ImageFacts, Local, Verdict};
use crate::trust::Vouch;

/// Longest value that is written, bytes: a longer one would not be read.
const VALUE_BYTES: usize = 4096;

/// A case file with one case: what was found out about the image of a call, and what the gate answers. `action` is how a case calls it.
/// `None`: the call has no image, or several.
#[must_use]
pub fn written(name: &str, action: &str, user: Option<&str>, facts: &Facts, verdict: &Verdict) -> Option<String> {
    let [image] = facts.images.as_slice() else { return None };
    let mut out = format!("version = {VERSION}\n\n[[case]]\n");
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(out, "{key} = {value}");
    };
    line("name", &quoted(name));
    line("action", &quoted(action));
    // A container is judged by its image's id; what it was created from is what a case names.
    let named = match &facts.container {
        Some(ContainerFacts::Found { image_ref, .. }) => image_ref.clone(),
        Some(ContainerFacts::Missing) | None => image.name.to_string(),
    };
    line("image", &quoted(&named));
    if let Some(user) = user {
        line("user", &quoted(user));
    }
    if let Some(now) = facts.now {
        line("now", &now.to_string());
    }
    about(image, &mut line);
    match verdict.refusal() {
        None => line("expect", "\"allow\""),
        Some(reason) => {
            line("expect", "\"deny\"");
            line("code", &quoted(reason.code()));
        }
    }
    line("findings", &list(verdict.findings().iter().map(|finding| finding.rule.about().id.to_owned())));
    Some(out)
}

/// What is known of the image.
fn about(image: &ImageFacts, line: &mut impl FnMut(&str, &str)) {
    match &image.local {
        Local::NotAsked => {}
        Local::Absent => line("on_host", "false"),
        Local::Present { id, digests, config, .. } => {
            line("digest", &quoted(&digests.first().unwrap_or(id).to_string()));
            if config.is_some() {
                line("image_id", &quoted(&id.to_string()));
            }
        }
    }
    let own = image.name.reference().map(|reference| &reference.repository);
    let others = image.repositories.iter().filter(|repository| own != Some(*repository));
    line("names", &list(others.map(ToString::to_string)));
    let vouches = || image.asked.iter().filter_map(|asked| asked.answer.as_ref().ok());
    line("vouched_by", &format!("[{}]", vouches().map(vouched).collect::<Vec<_>>().join(", ")));
    let mut refused: BTreeMap<&str, &str> = BTreeMap::new();
    for asked in &image.asked {
        // Who vouches for one of its repositories is no refusal.
        let is_yes = vouches().any(|vouch| *vouch.verifier() == asked.verifier);
        if let (Err(error), false) = (&asked.answer, is_yes) {
            refused.insert(asked.verifier.as_str(), error.code.as_str());
        }
    }
    let refused = refused.into_iter().map(|(verifier, code)| format!("{verifier} = {}", quoted(code)));
    line("refused_by", &table(refused));
    if let Some(config) = image.config.known() {
        line("config", &described(config));
    }
}

fn table(members: impl Iterator<Item = String>) -> String {
    format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
}

fn vouched(vouch: &Vouch) -> String {
    let mut members = vec![
        format!("verifier = {}", quoted(vouch.verifier().as_str())),
        format!("repository = {}", quoted(vouch.repository().as_str())),
        format!("digest = {}", quoted(&vouch.digest().to_string())),
    ];
    members.extend(vouch.tags().first().map(|tag| format!("tag = {}", quoted(tag.as_str()))));
    if !vouch.signers().is_empty() {
        members.push(format!("signers = {}", list(vouch.signers().iter().cloned())));
    }
    members.extend(vouch.signed_at().map(|at| format!("signed_at = {at}")));
    table(members.into_iter())
}

fn described(config: &ImageConfig) -> String {
    let fits = |text: &&String| !text.trim().is_empty() && text.len() <= VALUE_BYTES;
    let texts = |texts: &[String]| list(texts.iter().filter(fits).take(ENTRIES).cloned());
    let hashed = config.env.iter().take(ENTRIES).map(|variable| match variable.split_once('=') {
        Some((name, value)) if !value.is_empty() => format!("{name}={}", Digest::of(value.as_bytes())),
        Some(_) | None => variable.clone(),
    });
    let mut members = Vec::new();
    members.extend(config.created.map(|created| format!("created = {created}")));
    if !config.user.trim().is_empty() {
        members.push(format!("user = {}", quoted(&config.user)));
    }
    members.push(format!("env = {}", list(hashed)));
    let pairs = |pairs: &BTreeMap<String, String>| {
        let pairs = pairs.iter().filter(|(_, value)| fits(value)).take(ENTRIES);
        table(pairs.map(|(name, value)| format!("{} = {}", quoted(name), quoted(value))))
    };
    members.push(format!("labels = {}", pairs(&config.labels)));
    members.push(format!("ports = {}", texts(&config.ports)));
    members.push(format!("healthcheck = {}", texts(&config.healthcheck)));
    members.push(format!("layers = {}", list(config.layers.iter().take(ENTRIES).map(ToString::to_string))));
    members.extend(config.annotations.as_ref().map(|annotations| format!("annotations = {}", pairs(annotations))));
    members.extend(config.size.map(|size| format!("megabytes = {}", size.div_ceil(1_000_000))));
    if !config.platform.os.is_empty() && !config.platform.architecture.is_empty() {
        members.push(format!("platform = {}", quoted(&config.platform.to_string())));
    }
    table(members.into_iter())
}
