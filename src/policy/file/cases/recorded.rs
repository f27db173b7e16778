//! A decision of a gate that served, kept as a case (`record` in the policy file): what a case says besides where nobody made it up. What
//! it does not say was not found out, so that nothing may be taken for no.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::super::table::{Section, Value};
use super::super::write::{list, quoted};
use super::write::{File, table};
use super::{ENTRIES, TEXT_BYTES};
use crate::image::{Digest, Repository};
use crate::policy::{ContainerFacts, Facts, Hider, Recording, Verdict};
use crate::request::Intent;
use crate::trust::{Hashed, TrustCode, VerifierName};

/// The table with what changes when the same is decided again. The last of its file, so that it can be replaced alone.
const SEEN: &str = "[case.recorded.seen]";
/// Most decisions of one kind that are counted.
const TIMES_MOST: u64 = u32::MAX as u64;

/// What a record says beside what every case says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When it was so decided.
    pub seen: Seen,
    /// What tells the policy that was in force from any other.
    pub policy: Digest,
    /// Every question that was put, and who answered it.
    pub asked: Vec<Answered>,
    /// What the decision may hang on and is not kept.
    pub lacks: Vec<String>,
    /// The client showed a certificate; which units (OU) it has is not kept.
    pub has_certificate: bool,
}

/// When, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// How often.
    pub times: u64,
}

/// A question that was put to a verifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Who was asked.
    pub verifier: VerifierName,
    /// What that verifier was made of.
    pub settings: Digest,
    /// About which repository, as the verifier calls it.
    pub repository: Repository,
    /// The no; `None`: a yes, which is among `vouched_by`.
    pub refusal: Option<TrustCode>,
}

/// A call as it is kept: nothing of it that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What the case is called.
    pub name: String,
    /// `POST`.
    pub method: String,
    /// The path, and of the query what is kept.
    pub target: String,
    /// What is kept of its JSON.
    pub body: Option<String>,
    /// Who called, where a certificate says so.
    pub user: Option<String>,
    /// There was a certificate.
    pub has_certificate: bool,
    /// What of the call is not kept and is needed.
    pub lacks: Vec<String>,
}

/// A decision as a case file, without when it was made ([`Seen::lines`]). What is looked at is written first, who was asked last.
#[must_use]
pub fn recorded(made: &Made, intent: &Intent, facts: &Facts, verdict: &Verdict, recording: &Recording, hider: &Hider) -> String {
    let mut file = File::begin(&made.name, hider);
    file.line("call", &quoted(&format!("{} {}", made.method, made.target)));
    if let Some(body) = &made.body {
        file.line("body", &quoted(body));
    }
    if let Some(user) = &made.user {
        file.line("user", &quoted(user));
    }
    let mut lacks = made.lacks.clone();
    lacks.extend(of_facts(intent, facts));
    let image = facts.images.first();
    if let Some(image) = image {
        file.image(image, facts);
    }
    file.verdict(verdict);
    if file.is_cut {
        lacks.push("all of the image's configuration, which is too long".to_owned());
    }
    let asked = image.into_iter().flat_map(|image| &image.asked).filter_map(|asked| {
        let code = asked.answer.as_ref().err().map(|error| format!("code = {}", quoted(error.code.as_str())));
        let members = [
            format!("verifier = {}", quoted(asked.verifier.as_str())),
            format!("settings = {}", quoted(&recording.verifiers.get(&asked.verifier)?.to_string())),
            format!("repository = {}", quoted(asked.asked_as.as_str())),
        ];
        Some(table(members.into_iter().chain(code)))
    });
    let asked = asked.collect::<Vec<_>>().join(", ");
    let mut out = file.text;
    let _ = write!(
        out,
        "\n[case.recorded]\npolicy = {}\nasked = [{asked}]\nlacks = {}\ncertificate = {}\n",
        quoted(&recording.policy.to_string()),
        list(lacks.into_iter()),
        made.has_certificate
    );
    out
}

/// What was found out and has no place in a case.
fn of_facts(intent: &Intent, facts: &Facts) -> Vec<String> {
    let mut lacks = Vec::new();
    let mut lack = |is_so: bool, what: &str| {
        if is_so {
            lacks.push(what.to_owned());
        }
    };
    let names_others = match intent {
        Intent::Network { subnets, .. } => !subnets.is_empty(),
        Intent::Create(create) => !create.image_mounts.is_empty(),
        of_others => matches!(of_others, Intent::Service(_) | Intent::Plugin(_)),
    };
    let found = match &facts.container {
        Some(ContainerFacts::Found { image, image_mounts, .. }) => Some((image, image_mounts)),
        Some(ContainerFacts::Missing) | None => None,
    };
    lack(names_others || facts.images.len() > 1, "what is known of services, plugins, networks and mounted images");
    lack(found.is_some_and(|(image, mounts)| image.is_none() || !mounts.is_empty()), "what is known of the container");
    lack(facts.about_self, "whether it is about the gate itself");
    let mut vouches = facts.images.iter().flat_map(|image| &image.asked).filter_map(|asked| asked.answer.as_ref().ok());
    lack(vouches.any(|vouch| vouch.hashed() == Hashed::Config), "who vouches for the image's id");
    lacks
}

/// What a record says besides.
pub(super) fn read(section: &Section<'_>) -> Option<Recorded> {
    let section = section.get("recorded")?.section()?;
    let policy = section.required("policy").and_then(|value| value.parsed());
    let asked = section.get("asked").and_then(|value| value.list(ENTRIES)).unwrap_or_default();
    let asked = asked.iter().filter_map(answered).collect();
    let lacks = section.get("lacks").and_then(|value| value.list(ENTRIES)).unwrap_or_default();
    let lacks = lacks.iter().filter_map(Value::text).map(str::to_owned).collect();
    let has_certificate = section.get("certificate").and_then(|value| value.truth());
    let seen = section.required("seen").and_then(|value| value.section()).and_then(|seen| {
        let time = |key| seen.required(key).and_then(|value| value.time());
        let (first, last) = (time("first"), time("last"));
        let times = seen.required("times").and_then(|value| value.number("times", 1..=TIMES_MOST));
        seen.finish();
        Some(Seen { first: first?, last: last?, times: times? })
    });
    section.finish();
    Some(Recorded { seen: seen?, policy: policy?, asked, lacks, has_certificate: has_certificate.unwrap_or(false) })
}

fn answered(value: &Value<'_>) -> Option<Answered> {
    let section = value.section()?;
    let verifier = section.required("verifier").and_then(|value| value.parsed());
    let settings = section.required("settings").and_then(|value| value.parsed());
    let repository = section.required("repository").and_then(|value| value.parsed());
    let codes: Vec<(&str, TrustCode)> = TrustCode::ALL.iter().map(|code| (code.as_str(), *code)).collect();
    let refusal = section.get("code").map(|value| value.choice(&codes));
    section.finish();
    Some(Answered {
        verifier: verifier?,
        settings: settings?,
        repository: repository?,
        refusal: match refusal {
            Some(code) => Some(code?),
            None => None,
        },
    })
}

impl Made {
    /// Whether it reads back: no text of it is longer than a case file may have.
    #[must_use]
    pub fn fits(&self) -> bool {
        let texts = [Some(&self.target), self.body.as_ref(), self.user.as_ref()];
        texts.into_iter().flatten().all(|text| text.len() + self.method.len() < TEXT_BYTES)
    }
}

impl Seen {
    /// The last lines of a record's file.
    #[must_use]
    pub fn lines(&self) -> String {
        let (first, last) = (self.first, self.last);
        format!("\n{SEEN}\nfirst = {first}\nlast = {last}\ntimes = {}\n", self.times.min(TIMES_MOST))
    }

    /// What stands before these lines in a record's file, and what they say.
    #[must_use]
    pub fn split(text: &str) -> Option<(&str, Self)> {
        let (before, lines) = text.rsplit_once(&format!("\n{SEEN}\n"))?;
        let mut values = lines.lines().filter_map(|line| Some(line.split_once(" = ")?.1));
        let first = values.next()?.parse().ok()?;
        let last = values.next()?.parse().ok()?;
        let times = values.next()?.parse().ok()?;
        Some((before, Self { first, last, times }))
    }
}
