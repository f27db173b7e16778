//! What rules in Rego are told of the images of a call: what they are, and who signed and stated what of the bytes that will run.

use std::sync::Arc;

use super::Gathering;
use crate::image::RunsAs;
use crate::order::Ordered as _;
use crate::policy::{self, Asked, Facts, Local, Policy};
use crate::rego::{self, About};
use crate::request::RunSpec;
use crate::trust::{Binding, Hashed, Stated, Vouch};

impl Gathering<'_> {
    /// What the rules in Rego have said of the call, and what they say of its images. Asked last: they are told who signed.
    pub(super) async fn with_rego(&self, mut facts: Facts) -> Facts {
        facts.rego.clone_from(self.said);
        let Some(rego) = self.policy.rego.as_ref().filter(|rego| rego.asks_of_images()) else { return facts };
        let call = self.request.call.map(|call| Arc::new(call.clone()));
        let known = (0..facts.images.len()).map(|at| shown(self.policy, &facts, at, self.request.intent.run_spec()));
        let known: Vec<_> = known.collect();
        for (image, known) in facts.images.iter_mut().zip(known) {
            let Some(known) = known else { continue };
            let about = About { call: call.clone(), manner: self.gate.manner(), image: Some(known) };
            image.rego = Some(self.gate.rego.ask(rego, about, self.deadline).await);
        }
        facts
    }
}

/// What rules about images are told of one; `None` where it is not here.
fn shown(policy: &Policy, facts: &Facts, at: usize, run_spec: RunSpec) -> Option<rego::Image> {
    let image = facts.images.get(at).filter(|image| image.local != Local::Absent)?;
    // Behind the first are image mounts, which do not run.
    let (runs_as, run_spec) = if at == 0 { (facts.runs_as.as_ref(), run_spec) } else { (None, RunSpec::Nothing) };
    // Of several repositories that were asked, the one in whose scope the image is judged; what others signed counts elsewhere. An
    // exception by content is in none. What is refused anyway is told of by the name that it has.
    let judged = policy::judge_image(policy, facts, at);
    let approving = judged.as_ref().ok().and_then(|approval| approval.repository.as_ref());
    let of_it = |asked: &&Asked| approving == Some(&asked.repository);
    let vouches = || image.asked.iter().filter(of_it).filter_map(|asked| asked.answer.as_ref().ok());
    let repository = match &judged {
        Ok(_) => vouches().next().map(Vouch::repository).or(approving),
        Err(_) => image.repositories.first(),
    };
    let named = image.judged_reference();
    let of_named = named.and_then(|reference| reference.digest);
    let (id, held) = match &image.local {
        Local::Present { id, digests, .. } => (Some(id.to_string()), Some(digests)),
        Local::NotAsked | Local::Absent => (None, None),
    };
    // Signatures of the bytes that will run: not those of what the tag was moved on to.
    let is_of_these = |vouch: &&Vouch| {
        vouch.hashed() == Hashed::Manifest
            && held.is_none_or(|held| held.contains(vouch.digest()))
            && of_named.is_none_or(|digest| digest == *vouch.digest())
    };
    let of_these = || vouches().filter(is_of_these);
    // What somebody states is said beside who signed the image.
    let signed = || of_these().filter(|vouch| vouch.stated().is_empty() || !is_by_statement(policy, vouch));
    let statements: Vec<rego::Statement> = of_these().flat_map(|vouch| statements(policy, vouch)).collect();
    let is_scanned =
        of_these().filter(|vouch| is_by_statement(policy, vouch)).flat_map(Vouch::stated).any(|stated| stated.is_passed_scan());
    let signature = |vouch: &Vouch| {
        let kind = match policy.verifiers.get(vouch.verifier())? {
            Binding::TagToDigest => "notary",
            // In a case nobody says how.
            Binding::Digest => vouch.scheme().unwrap_or("cosign"),
            Binding::Listed | Binding::Held => return None,
        };
        Some(rego::Signature {
            verifier: vouch.verifier().as_str().to_owned(),
            kind,
            signers: vouch.signers().to_vec(),
            digest: vouch.digest().to_string(),
        })
    };
    let tag = named
        .filter(|reference| reference.digest.is_none())
        .map(|reference| reference.tag.as_ref().map_or_else(|| "latest".to_owned(), ToString::to_string));
    Some(rego::Image {
        reference: image.name.to_string(),
        repository: repository.map(ToString::to_string).unwrap_or_default(),
        registry: repository.map(|repository| repository.host_str().to_owned()).unwrap_or_default(),
        tag,
        digest: of_named.or_else(|| of_these().next().map(|vouch| *vouch.digest())).map(|digest| digest.to_string()),
        id,
        signatures: signed().filter_map(signature).collect(),
        statements,
        scan_status: is_scanned.then(|| "passed".to_owned()),
        config: image.config.known().filter(|_| run_spec != RunSpec::Unknown).map(|known| rego::Config {
            created: known.created.and_then(|created| i64::try_from(created.as_nanosecond()).ok()),
            labels: known.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).ordered(),
            config: runs_as.map_or_else(|| known.runs_as(), RunsAs::members),
        }),
        run_spec,
    })
}

/// Whether a verifier vouches because of what is stated, and not besides.
fn is_by_statement(policy: &Policy, vouch: &Vouch) -> bool {
    !vouch.stated().is_empty() && policy.verifiers.get(vouch.verifier()) == Some(&Binding::Digest)
}

/// What a verifier knows to be stated, for rules in Rego.
fn statements(policy: &Policy, vouch: &Vouch) -> Vec<rego::Statement> {
    let of = |stated: &Arc<Stated>| {
        let facts = match serde_json::to_value(&stated.facts) {
            Ok(serde_json::Value::Object(facts)) => facts,
            Ok(_) | Err(_) => serde_json::Map::new(),
        };
        rego::Statement {
            verifier: vouch.verifier().as_str().to_owned(),
            is_signed: is_by_statement(policy, vouch),
            signers: vouch.signers().to_vec(),
            digest: vouch.digest().to_string(),
            predicate_type: stated.predicate_type.clone(),
            at: stated.at.and_then(|at| i64::try_from(at.as_nanosecond()).ok()),
            facts,
        }
    };
    vouch.stated().iter().map(of).collect()
}
