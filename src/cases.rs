//! Cases judged by a policy, for `policy test` and `policy diff`: what a case says is laid out as a host, a registry and verifiers in
//! memory, and a gate like the one that serves reads the call, finds out what it needs there and decides. Nothing of the decision is here.

mod world;

use crate::order::Ordered as _;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use self::world::Described;
use crate::audit::NoJournal;
use crate::engine::Fake;
use crate::files::read_text;
use crate::gate::{Approvals, Gate, Identity, Judgement, Rules};
use crate::image::{ImageName, Tag};
use crate::policy::{
    Answered, Asks, Case, CaseConfig, CaseImage, ConfigFacts, ContainerFacts, Facts, Policy, Reason, Recorded, Recording,
    Request, Verdict, members, nearest,
};
use crate::request::{Intent, Transport};
use crate::trust::notary::RequiredSigners;
use crate::trust::{Answers, Binding, CaseVerifier, Stated, Verifier, VerifierName, Word};

/// Largest recorded request, bytes: what dockerd may post.
const POST_BYTES: u64 = 6 << 20;
/// The version of the API that calls made up for a case have.
const API: &str = "/v1.43";

/// A policy that cases are judged by.
pub(crate) struct Bench {
    /// The policy.
    pub(crate) policy: Policy,
    /// The signers that a Notary of it requires.
    pub(crate) signers: BTreeMap<VerifierName, RequiredSigners>,
    /// What is stated of images for which verifiers of statements vouch.
    pub(crate) stated: BTreeMap<VerifierName, Arc<Stated>>,
    /// What tells it from others, where decisions that were recorded are judged.
    pub(crate) recording: Option<Recording>,
    workers: tokio::runtime::Handle,
}

/// What came of a case.
pub(crate) struct Outcome {
    /// What was found out, and the verdict.
    pub(crate) judgement: Judgement,
    /// The verifiers that were asked and of which the case says nothing.
    pub(crate) silent: Vec<VerifierName>,
    /// What the verdict hangs on, whoever vouches, and the case does not say.
    pub(crate) lacks: Vec<String>,
}

impl Bench {
    /// A bench with this policy.
    pub(crate) fn new(policy: Policy, signers: BTreeMap<VerifierName, RequiredSigners>, workers: tokio::runtime::Handle) -> Self {
        Self { policy, signers, stated: BTreeMap::new(), recording: None, workers }
    }

    /// The same, with verifiers of statements such as these.
    pub(crate) fn stating(self, stated: BTreeMap<VerifierName, Arc<Stated>>) -> Self {
        Self { stated, ..self }
    }

    /// The same, for decisions that were recorded.
    pub(crate) fn of(self, recording: Recording) -> Self {
        Self { recording: Some(recording), ..self }
    }

    /// Judges a decision that was recorded. An error: by what is recorded it cannot be told, and why.
    pub(crate) async fn replay(&self, case: &Case) -> Result<Outcome, String> {
        let outcome = self.judge(case, &[]).await?;
        if !outcome.lacks.is_empty() {
            return Err(outcome.lacks.join("; "));
        }
        if outcome.silent.is_empty() {
            return Ok(outcome);
        }
        // Whatever they would have said: where that makes no difference, nothing is lacking.
        let other = self.judge(case, &outcome.silent).await?;
        let told = |outcome: &Outcome| outcome.judgement.verdict.refusal().map(Reason::code);
        if other.lacks.is_empty() && told(&other) == told(&outcome) {
            return Ok(outcome);
        }
        let silent: Vec<String> = outcome.silent.iter().map(|name| format!("`{name}`")).collect();
        Err(format!("what {} says was not asked, or of a verifier with other settings", silent.join(", ")))
    }

    /// What a case says of verifiers that the policy does not have.
    pub(crate) fn unknown_verifier(&self, case: &Case) -> Option<String> {
        let image = case.image.as_ref()?;
        let mut named = image.vouched_by.iter().map(|vouch| &vouch.verifier).chain(image.refused_by.keys());
        let unknown = named.find(|name| !self.policy.verifiers.contains_key(name))?;
        let meant = nearest(unknown.as_str(), self.policy.verifiers.keys().map(VerifierName::as_str));
        let hint = meant.map(|meant| format!("; `{meant}` was meant?")).unwrap_or_default();
        Some(format!("the policy has no verifier `{unknown}`{hint}"))
    }

    /// Judges a case. Who vouches is said by the case; of whom it says nothing, those vouch that are named here. An error: it cannot be
    /// judged at all.
    pub(crate) async fn judge(&self, case: &Case, vouching: &[VerifierName]) -> Result<Outcome, String> {
        let now = case.now.unwrap_or_else(crate::clock::now);
        let posted = posted(case)?;
        let (call, intent) = match Gate::read(&posted, Transport::Http1) {
            Ok(read) => read,
            Err(error) => {
                let verdict = Verdict::refusing(Reason::CallUnreadable { why: error.to_string() }, self.policy.mode);
                return Ok(Outcome {
                    judgement: Judgement { facts: Facts::default(), verdict },
                    silent: Vec::new(),
                    lacks: Vec::new(),
                });
            }
        };
        let verifiers = self.verifiers(case, now, vouching);
        let rules = Rules::Good {
            // Rules in Rego may look at all of a call, and that is not kept of one.
            policy: Policy { rego: self.policy.rego.clone().filter(|_| case.recorded.is_none()), ..self.policy.clone() },
            verifiers: verifiers.iter().map(|told| Arc::clone(told) as Arc<dyn Verifier>).collect(),
            registry: Some(Arc::new(Described::of(case, now))),
        };
        let engine = host(case, &intent, now)?;
        let gate = Gate::new(
            rules,
            Arc::new(engine),
            Arc::new(NoJournal::default()),
            Approvals::in_memory(),
            Identity::default(),
            self.workers.clone(),
        );
        let judgement = gate.at(now).judge_request(&Request::of(&call, &intent)).await;
        let silent = verifiers.iter().filter(|told| Self::is_silent(case, told)).map(|told| told.name().clone()).collect();
        let lacks = self.lacks(case, &judgement);
        Ok(Outcome { judgement, silent, lacks })
    }

    /// Whether somebody was asked, and the case says nothing of him.
    fn is_silent(case: &Case, told: &CaseVerifier) -> bool {
        if case.recorded.is_some() {
            return told.is_new();
        }
        let says = |image: &CaseImage| {
            let vouches = image.vouched_by.iter().any(|vouch| vouch.verifier == *told.name());
            vouches || image.refused_by.contains_key(told.name())
        };
        told.is_asked() && !case.image.as_ref().is_some_and(says)
    }

    /// What the verdict hangs on, whoever vouches, and the case does not say.
    fn lacks(&self, case: &Case, judgement: &Judgement) -> Vec<String> {
        let mut lacks = Vec::new();
        let is_asked = |facts: &Facts| facts.images.iter().any(|image| image.config != ConfigFacts::NotAsked);
        let is_unstated = case.image.as_ref().is_some_and(|image| image.config == CaseConfig::Unstated);
        if is_unstated && is_asked(&judgement.facts) && hangs_on_config(&judgement.verdict) {
            lacks.push("the policy looks at the image's configuration, and the case does not say it (`config`)".to_owned());
        }
        let Some(recorded) = &case.recorded else { return lacks };
        lacks.extend(recorded.lacks.iter().map(|lack| format!("{lack} is not kept")));
        let has_looked = !judgement.facts.images.is_empty() || matches!(judgement.facts.container, Some(ContainerFacts::Missing));
        let was_missing = case.expected.code.as_deref() == Some("container-unknown");
        if case.image.is_none() && has_looked && !was_missing {
            lacks.push("it was refused before anybody looked at the image".to_owned());
        }
        let is_known = case.image.as_ref().is_some_and(|image| matches!(image.config, CaseConfig::Known { .. }));
        let is_unknown = judgement.verdict.refusal().is_some_and(|reason| reason.code() == "image-config-unknown");
        if is_known && is_unknown {
            lacks.push("a rule looks at the image's history or annotations, and nobody has looked there".to_owned());
        }
        if self.policy.rego.is_some() && judgement.verdict.refusal().is_none() {
            lacks.push("rules in Rego look at the whole call, which is not kept".to_owned());
        }
        if recorded.has_certificate && self.policy.users.as_ref().is_some_and(|users| users.asks_for_units()) {
            lacks.push("groups of users list units (OU), and those of the certificate are not kept".to_owned());
        }
        lacks
    }

    /// A verifier for each that the policy has, which says what the case says of it.
    fn verifiers(&self, case: &Case, now: Timestamp, vouching: &[VerifierName]) -> Vec<Arc<CaseVerifier>> {
        let of = |(name, binding): (&VerifierName, &Binding)| {
            let required = self.signers.get(name).cloned().unwrap_or_default();
            let image = case.image.as_ref();
            let refusal = image.and_then(|image| image.refused_by.get(name)).copied();
            let mut words: Vec<Word> = image.map(|image| self.words(image, name, now)).unwrap_or_default();
            if words.is_empty() && refusal.is_none() && vouching.contains(name) {
                words.extend(image.and_then(|image| self.word(image)));
            }
            let stated = self.stated.get(name).cloned();
            let told = CaseVerifier::new(name.clone(), *binding, required, words).refusing(refusal).stating(stated);
            Arc::new(match &case.recorded {
                Some(recorded) => told.heard(self.answers(recorded, name, image, vouching)),
                None => told,
            })
        };
        self.policy.verifiers.iter().map(of).collect()
    }

    /// What a verifier of this name, and made of the same, was heard to say.
    fn answers(&self, recorded: &Recorded, name: &VerifierName, image: Option<&CaseImage>, vouching: &[VerifierName]) -> Answers {
        let made_of = self.recording.as_ref().and_then(|recording| recording.verifiers.get(name));
        let is_its = |asked: &&Answered| asked.verifier == *name && made_of == Some(&asked.settings);
        let of = recorded.asked.iter().filter(is_its).map(|asked| (asked.repository.clone(), asked.refusal)).ordered();
        let to_others = image.filter(|_| vouching.contains(name)).map(|image| image.digest);
        Answers { of, to_others }
    }

    fn words(&self, image: &CaseImage, name: &VerifierName, now: Timestamp) -> Vec<Word> {
        let own = self.word(image);
        let of = |vouch: &crate::policy::CaseVouch| {
            let repository = vouch.repository.clone().or_else(|| Some(own.as_ref()?.repository.clone()))?;
            Some(Word {
                repository,
                digest: vouch.digest.unwrap_or(image.digest),
                tag: vouch.tag.clone().or_else(|| own.as_ref()?.tag.clone()),
                signers: vouch.signers.clone(),
                signed_at: vouch.signed.and_then(|signed| signed.seen_from(now)),
            })
        };
        image.vouched_by.iter().filter(|vouch| vouch.verifier == *name).filter_map(of).collect()
    }

    /// A plain yes: for the image's own repository, of a mirror the origin's, under its tag.
    fn word(&self, image: &CaseImage) -> Option<Word> {
        let reference = image.references().next()?;
        let named = &reference.repository;
        let asks = self.policy.scope(named).and_then(|scope| scope.asks(named));
        Some(Word {
            repository: asks.unwrap_or_else(|| named.clone()),
            digest: image.digest,
            tag: reference.tag.clone(),
            signers: None,
            signed_at: None,
        })
    }
}

/// The host, as far as the case says what is on it.
fn host(case: &Case, intent: &Intent, now: Timestamp) -> Result<Fake, String> {
    let engine = Fake::new();
    let Some(image) = &case.image else { return Ok(engine) };
    if image.on_host {
        engine.put_image(world::image(image, now));
    }
    if let Intent::Start(start) = intent {
        engine.put_container(world::container(image, &start.container, now)?);
    }
    Ok(engine)
}

/// Whether an image's configuration may have decided: all that comes before it let pass.
fn hangs_on_config(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Allow(_) => true,
        Verdict::WouldDeny(reason) | Verdict::Deny(reason) => {
            !reason.findings().is_empty() || matches!(reason.code(), "image-config-unknown" | "rego-denied" | "rego-error")
        }
    }
}

/// What dockerd would post.
fn posted(case: &Case) -> Result<Vec<u8>, String> {
    let mut body = case.body.clone();
    let (method, target) = match &case.asks {
        Asks::Posted(text) => return Ok(text.clone().into_bytes()),
        Asks::PostedIn(path) => {
            let read = read_text(path, POST_BYTES).map_err(|error| format!("`{}`: {error}", path.display()))?;
            return Ok(read.into_bytes());
        }
        Asks::Call { method, target } => (method.clone(), target.clone()),
        Asks::Pull => ("POST".to_owned(), format!("{API}/images/create?{}", pulled(case)?)),
        Asks::Create => {
            let mut members = members(body.as_ref());
            members.insert("Image".to_owned(), named(case)?.to_string().into());
            body = Some(Json::Object(members));
            ("POST".to_owned(), format!("{API}/containers/create"))
        }
        Asks::Start => ("POST".to_owned(), format!("{API}/containers/{}/start", world::container_id(case)?)),
    };
    let mut post = json!({ "RequestMethod": method, "RequestUri": target });
    let mut set = |name: &str, value: Json| post.as_object_mut().map(|members| members.insert(name.to_owned(), value));
    if let Some(body) = body {
        set("RequestBody", STANDARD.encode(body.to_string()).into());
        set("RequestHeaders", json!({ "Content-Type": "application/json" }));
    }
    if let Some(user) = &case.user {
        set("User", user.as_str().into());
        set("UserAuthNMethod", "TLS".into());
    }
    Ok(post.to_string().into_bytes())
}

fn named(case: &Case) -> Result<&ImageName, String> {
    case.image.as_ref().map(|image| &image.name).ok_or_else(|| "the case names no image".to_owned())
}

/// The query of a pull, as docker's own client writes it.
fn pulled(case: &Case) -> Result<String, String> {
    let name = named(case)?;
    let Some(reference) = name.reference() else { return Err("an image id cannot be pulled".to_owned()) };
    let what = reference.digest.map(|digest| digest.to_string());
    let what = what.unwrap_or_else(|| reference.tag.as_ref().map_or_else(|| Tag::latest().to_string(), ToString::to_string));
    Ok(format!("fromImage={}&tag={what}", reference.repository))
}

#[cfg(test)]
mod tests;
