//! What was found out about an image, written as a case: for `check --case`, and for the record. Values of its environment are hashed, and of
//! its history no more is kept than where a secret seems to be: both may hold some, and a case goes into a repository.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{ENTRIES, TEXT_BYTES, VERSION};
use crate::image::{ImageConfig, ImageName, Tag};
use crate::policy::file::write::{list, quoted};
use crate::policy::{ConfigFacts, ContainerFacts, Facts, Hider, ImageFacts, Local, Verdict};
use crate::trust::Vouch;

/// Most tags of a vouch that are written.
const TAGS: usize = 64;

/// A case file with one case: what was found out about the image of a call, and what the gate answers. `action` is how a case calls it.
/// `None`: the call has no image, or several.
#[must_use]
pub fn written(name: &str, action: &str, user: Option<&str>, facts: &Facts, verdict: &Verdict) -> Option<String> {
    let [image] = facts.images.as_slice() else { return None };
    let hider = Hider::default();
    let mut file = File::begin(name, &hider);
    file.line("action", &quoted(action));
    if let Some(user) = user {
        file.line("user", &quoted(user));
    }
    file.image(image, facts);
    file.verdict(verdict);
    Some(file.text)
}

/// A case file that is being written.
pub(super) struct File<'h> {
    pub(super) text: String,
    /// Something of the image was too long to be written.
    pub(super) is_cut: bool,
    hider: &'h Hider,
}

impl<'h> File<'h> {
    pub(super) fn begin(name: &str, hider: &'h Hider) -> Self {
        let mut file = Self { text: format!("version = {VERSION}\n\n[[case]]\n"), is_cut: false, hider };
        file.line("name", &quoted(name));
        file
    }

    pub(super) fn line(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.text, "{key} = {value}");
    }

    /// What is known of the image, and when.
    pub(super) fn image(&mut self, image: &ImageFacts, facts: &Facts) {
        self.line("image", &quoted(&named(image, facts)));
        if let Some(now) = facts.now {
            self.line("now", &now.to_string());
        }
        let vouches = || image.asked.iter().filter_map(|asked| asked.answer.as_ref().ok());
        match &image.local {
            Local::NotAsked => {}
            Local::Absent => self.line("on_host", "false"),
            Local::Present { id, digests, config, .. } => {
                // The one that is vouched for first: who vouches for another of them says so.
                let of_vouch = vouches().map(Vouch::digest).find(|digest| digests.contains(digest));
                let digest = of_vouch.or(digests.first()).unwrap_or(id);
                self.line("digest", &quoted(&digest.to_string()));
                let others = digests.iter().filter(|other| *other != digest);
                self.line("digests", &list(others.map(ToString::to_string)));
                if config.is_some() {
                    self.line("image_id", &quoted(&id.to_string()));
                }
            }
        }
        let own = image.name.reference().map(|reference| &reference.repository);
        let others = image.repositories.iter().filter(|repository| own != Some(*repository));
        self.line("names", &list(others.map(ToString::to_string)));
        self.line("vouched_by", &format!("[{}]", vouches().flat_map(vouched).collect::<Vec<_>>().join(", ")));
        let mut refused: BTreeMap<&str, &str> = BTreeMap::new();
        for asked in &image.asked {
            // Who vouches for one of its repositories is no refusal.
            let is_yes = vouches().any(|vouch| *vouch.verifier() == asked.verifier);
            if let (Err(error), false) = (&asked.answer, is_yes) {
                refused.insert(asked.verifier.as_str(), error.code.as_str());
            }
        }
        let refused = refused.into_iter().map(|(verifier, code)| format!("{verifier} = {}", quoted(code)));
        self.line("refused_by", &table(refused));
        match &image.config {
            ConfigFacts::Known(config) => {
                let described = self.described(config);
                self.line("config", &described);
            }
            ConfigFacts::Unknown(_) => self.line("config", "\"unknown\""),
            ConfigFacts::NotAsked => {}
        }
    }

    pub(super) fn verdict(&mut self, verdict: &Verdict) {
        match verdict.refusal() {
            None => self.line("expect", "\"allow\""),
            Some(reason) => {
                self.line("expect", "\"deny\"");
                self.line("code", &quoted(reason.code()));
            }
        }
        self.line("findings", &list(verdict.findings().iter().map(|finding| finding.rule.about().id.to_owned())));
    }

    fn described(&mut self, config: &ImageConfig) -> String {
        let hider = self.hider;
        let mut members = Vec::new();
        members.extend(config.created.map(|created| format!("created = {created}")));
        if !config.user.trim().is_empty() {
            members.push(format!("user = {}", quoted(&config.user)));
        }
        members.push(format!("env = {}", self.texts(config.env.iter().map(|variable| hider.variable(variable)))));
        members.push(format!("labels = {}", self.pairs(&config.labels)));
        members.push(format!("ports = {}", self.texts(config.ports.iter().cloned())));
        // What it runs may hold secrets; that it runs something is kept.
        let checked = config.healthcheck.iter().take(2).enumerate();
        let checked =
            checked.map(|(at, word)| if at == 0 || word.trim().is_empty() { word.clone() } else { "hidden".to_owned() });
        members.push(format!("healthcheck = {}", self.texts(checked)));
        members.push(format!("layers = {}", self.texts(config.layers.iter().map(ToString::to_string))));
        members.push(match &config.history {
            // A line stays a line: which one has a secret is told.
            Some(history) => {
                let hidden = history.iter().map(|line| hider.line(line));
                format!("history = {}", self.texts(hidden.map(|line| if line.is_empty() { "-".to_owned() } else { line })))
            }
            None => "history = \"unknown\"".to_owned(),
        });
        members.push(match &config.annotations {
            Some(annotations) => format!("annotations = {}", self.pairs(annotations)),
            None => "annotations = \"unknown\"".to_owned(),
        });
        members.extend(config.size.map(|size| format!("megabytes = {}", size.div_ceil(1_000_000))));
        if !config.platform.os.is_empty() && !config.platform.architecture.is_empty() {
            members.push(format!("platform = {}", quoted(&config.platform.to_string())));
        }
        table(members.into_iter())
    }

    fn texts(&mut self, texts: impl Iterator<Item = String>) -> String {
        let mut kept: Vec<String> = texts.filter(|text| !text.trim().is_empty()).collect();
        let count = kept.len();
        kept.retain(|text| text.len() <= TEXT_BYTES);
        kept.truncate(ENTRIES);
        self.is_cut |= kept.len() < count;
        list(kept.into_iter())
    }

    fn pairs(&mut self, pairs: &BTreeMap<String, String>) -> String {
        let hidden = pairs.iter().map(|(name, value)| (name, self.hider.label(name, value)));
        let kept: Vec<_> =
            hidden.filter(|(_, value)| !value.trim().is_empty() && value.len() <= TEXT_BYTES).take(ENTRIES).collect();
        self.is_cut |= kept.len() < pairs.values().filter(|value| !value.trim().is_empty()).count();
        table(kept.into_iter().map(|(name, value)| format!("{} = {}", quoted(name), quoted(&value))))
    }
}

/// What a case calls the image: a container is judged by its image's id, and was created from what it is called here.
fn named(image: &ImageFacts, facts: &Facts) -> String {
    let written = match &facts.container {
        Some(ContainerFacts::Found { image_ref, .. }) => image_ref.clone(),
        Some(ContainerFacts::Missing) | None => image.name.to_string(),
    };
    match (ImageName::parse(&written), &image.local) {
        (Ok(ImageName::Named { .. } | ImageName::Id(_)), _) => written,
        // The beginning of an id is none that a case can name.
        (Ok(ImageName::IdPrefix(_)) | Err(_), Local::Present { id, .. }) => id.to_string(),
        (Ok(ImageName::IdPrefix(_)) | Err(_), Local::NotAsked | Local::Absent) => written,
    }
}

pub(super) fn table(members: impl Iterator<Item = String>) -> String {
    format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
}

/// A vouch for each tag that it is for: rules about tags look at all of them.
fn vouched(vouch: &Vouch) -> Vec<String> {
    let tags = vouch.tags().iter().take(TAGS).map(Some);
    tags.chain(vouch.tags().is_empty().then_some(None)).map(|tag| vouched_under(vouch, tag)).collect()
}

fn vouched_under(vouch: &Vouch, tag: Option<&Tag>) -> String {
    let mut members = vec![
        format!("verifier = {}", quoted(vouch.verifier().as_str())),
        format!("repository = {}", quoted(vouch.repository().as_str())),
        format!("digest = {}", quoted(&vouch.digest().to_string())),
    ];
    members.extend(tag.map(|tag| format!("tag = {}", quoted(tag.as_str()))));
    if !vouch.signers().is_empty() {
        members.push(format!("signers = {}", list(vouch.signers().iter().cloned())));
    }
    members.extend(vouch.signed_at().map(|at| format!("signed_at = {at}")));
    table(members.into_iter())
}
