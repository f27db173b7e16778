//! Content that is vouched for: what to ask about an image, and whether the answers are enough.

use jiff::Timestamp;

use super::lifted::{Applied, Content, Excepted};
use super::rules::image::Subject;
use super::{
    Approval, Asked, ConfigFacts, ContainerFacts, Facts, Finding, ImageFacts, Level, Local, Mode, Policy, Reason, Requirement,
    RuleId, Scope,
};
use crate::image::{Digest, ImageName, Reference, Repository, Tag};
use crate::trust::{Binding, Hashed, Question, TrustCode, TrustError, VerifierName, Vouch};

/// What is to be asked of whom about an image, given what the host holds. Plain, so that it can be tested beside the decision.
#[must_use]
pub fn questions(policy: &Policy, image: &ImageFacts) -> Vec<(Repository, VerifierName, Question)> {
    let mut out = Vec::new();
    for repository in &image.repositories {
        let Some(scope) = policy.scope(repository) else { continue };
        let required = scope.require.verifiers();
        let evidence = policy.evidence().filter(|_| scope.mode == Mode::Permissive);
        let besides = evidence.filter(|name| !required.contains(name));
        for verifier in required.into_iter().chain(besides) {
            let binding = policy.verifiers.get(verifier);
            let question = binding.and_then(|binding| question(image, *binding));
            // What is asked for by its digest is proved to lie there before it comes.
            let of_digest = || evidence.filter(|name| *name == verifier).and_then(|_| of_absent(image));
            if let Some(question) = question.or_else(of_digest) {
                out.push((repository.clone(), verifier.clone(), question));
            }
        }
    }
    out
}

/// Whether a registry holds what is not here and is asked for by its digest.
fn of_absent(image: &ImageFacts) -> Option<Question> {
    let digest = image.judged_reference()?.digest?;
    Some(Question::AnyOf(vec![digest]))
}

fn question(image: &ImageFacts, binding: Binding) -> Option<Question> {
    let digests = match &image.local {
        Local::Present { digests, config, .. } => Some((digests, *config)),
        Local::NotAsked | Local::Absent => None,
    };
    let Some(reference) = image.judged_reference() else {
        return digests.map(|(digests, config)| content(binding, digests, config));
    };
    match (digests, reference.digest, binding) {
        // A scope that rests on the registry has nobody to ask about a name; its content is judged when it is on the host.
        (None, _, Binding::Held) => None,
        (None, Some(digest), Binding::TagToDigest | Binding::Digest | Binding::Listed) => Some(Question::AnyOf(vec![digest])),
        (None, None, Binding::TagToDigest | Binding::Digest | Binding::Listed) => reference.tag.clone().map(Question::Tag),
        // "exact": the local content must carry the digest that the tag is signed as now.
        (Some(_), None, Binding::TagToDigest) => reference.tag.clone().map(Question::Tag),
        (Some((digests, config)), Some(_), Binding::TagToDigest)
        | (Some((digests, config)), _, Binding::Digest | Binding::Listed | Binding::Held) => {
            Some(content(binding, digests, config))
        }
    }
}

/// Who vouches for what is here. Image ids are an allowlist's alone: signatures and registries know manifests.
fn content(binding: Binding, digests: &[Digest], config: Option<Digest>) -> Question {
    match (binding, config) {
        (Binding::Listed, Some(config)) => Question::Content { digests: digests.to_vec(), config },
        (Binding::Listed, None) | (Binding::TagToDigest | Binding::Digest | Binding::Held, _) => {
            Question::AnyOf(digests.to_vec())
        }
    }
}

/// What content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Plugin,
}

/// Approves each image of a call; of so many that it names.
pub(super) fn approve_all(policy: &Policy, facts: &Facts, due: usize, kind: Kind) -> Result<Vec<Approval>, Reason> {
    let images = &facts.images;
    // INVARIANT: facts hold every image of the intent. Fewer would be silence, and silence means no.
    if images.len() != due {
        return Err(Reason::Internal);
    }
    match kind {
        Kind::Image => (0..due).map(|at| judge_image(policy, facts, at)).collect(),
        // What a digest names here is an image: plugins have a list of their own.
        Kind::Plugin => images.iter().map(|image| approve(policy, image)).collect(),
    }
}

/// Approves one image of a call.
pub fn judge_image(policy: &Policy, facts: &Facts, at: usize) -> Result<Approval, Reason> {
    let image = facts.images.get(at).ok_or(Reason::Internal)?;
    let approval = approve(policy, image).or_else(|reason| excepted(policy, facts, image, reason));
    // The first is what runs; others are mounted.
    let kept = approval.and_then(|approval| {
        keeps_rules(policy, facts, image, approval, at == 0).map_err(|reason| match image.judged_reference() {
            Some(_) => reason,
            None => of_id(&image.name.to_string(), reason),
        })
    });
    kept.or_else(|reason| forgiven(policy, image, reason))
}

/// What nobody vouches for, and an exception names by what it is. Judged anew each time, as who vouches is. Where somebody vouches for
/// other content under that name, the name goes on to mean that.
fn excepted(policy: &Policy, facts: &Facts, image: &ImageFacts, reason: Reason) -> Result<Approval, Reason> {
    // A fault of the gate's own is none of the content's.
    if !is_of_content(&reason) {
        return Err(reason);
    }
    let mut exceptions = policy.exceptions.about_content(&image.content(), facts.times());
    let Some(exception) = exceptions.vouch() else { return Err(exceptions.no_vouch(reason)) };
    let digest = match exception.of {
        Excepted::Digest(digest) => Some(digest),
        Excepted::ImageId(_) | Excepted::Repositories(_) => None,
    };
    Ok(Approval {
        id: Held::of(&image.local).map(|held| held.id),
        repository: None,
        vouches: Vec::new(),
        named: digest,
        warnings: Vec::new(),
        forgiven: None,
        exceptions,
    })
}

/// Whether it says that nobody vouches for the content, and nothing else.
fn is_of_content(reason: &Reason) -> bool {
    match reason {
        Reason::OfId { reason, .. } | Reason::InScope { reason, .. } => is_of_content(reason),
        Reason::Trust { .. }
        | Reason::ImageUnapproved { .. }
        | Reason::OutsideScopes { .. }
        | Reason::RegistryNotAllowed { .. } => true,
        _ => false,
    }
}

/// What a permissive scope forgives: what verifiers and rules say of content that is proved to lie in a repository of it. That it bears
/// the name proves nothing.
fn forgiven(policy: &Policy, image: &ImageFacts, reason: Reason) -> Result<Approval, Reason> {
    let Some(evidence) = policy.evidence().filter(|_| is_forgivable(&reason)) else { return Err(reason) };
    let named = image.judged_reference();
    let candidates = match named {
        Some(reference) => std::slice::from_ref(&reference.repository),
        None => image.repositories.as_slice(),
    };
    let (held, content) = (Held::of(&image.local), image.content());
    for repository in candidates {
        let Some(scope) = policy.scope(repository).filter(|scope| scope.mode == Mode::Permissive) else { continue };
        let proof = match (&held, named) {
            // What is not here comes from that repository, and by a tag is judged once it is here.
            (None, Some(reference)) if reference.digest.is_none() => None,
            (None, None) => continue,
            (Some(_), _) | (None, Some(_)) => match proof(scope, repository, evidence, image, &content) {
                Some(vouch) => Some(vouch),
                None => continue,
            },
        };
        let id = held.map(|held| held.id);
        let vouches = proof.into_iter().cloned().collect();
        return Ok(Approval { forgiven: Some(Box::new(reason)), ..vouched(id, repository.clone(), vouches) });
    }
    Err(reason)
}

/// The registry's word that a repository holds this very content.
fn proof<'i>(
    scope: &Scope,
    repository: &Repository,
    evidence: &VerifierName,
    image: &'i ImageFacts,
    content: &Content,
) -> Option<&'i Vouch> {
    let of_it = |asked: &&Asked| asked.repository == *repository && asked.verifier == *evidence;
    let vouch = image.asked.iter().find(of_it)?.answer.as_ref().ok()?;
    let is_its = vouch.verifier() == evidence && scope.asks(repository).as_ref() == Some(vouch.repository());
    let is_this = vouch.hashed() == Hashed::Manifest && content.digests.contains(vouch.digest());
    (is_its && is_this).then_some(vouch)
}

/// Whether it is said of content by verifiers or rules; what cannot be read, found out or done is not forgiven.
fn is_forgivable(reason: &Reason) -> bool {
    match reason {
        Reason::OfId { reason, .. } | Reason::InScope { reason, .. } | Reason::ExceptionOver { reason, .. } => {
            is_forgivable(reason)
        }
        Reason::Trust { .. } | Reason::ContentMismatch { .. } | Reason::ImageRule { .. } | Reason::ImageConfigUnknown { .. } => {
            true
        }
        _ => false,
    }
}

fn approve(policy: &Policy, image: &ImageFacts) -> Result<Approval, Reason> {
    match image.judged_reference() {
        Some(reference) => approve_name(policy, image, reference),
        None => approve_id(policy, image).map_err(|reason| of_id(&image.name.to_string(), reason)),
    }
}

/// The reason with the id that was typed, where it names a repository that was not.
pub(super) fn of_id(id: &str, reason: Reason) -> Reason {
    match reason {
        reason @ (Reason::Trust { .. }
        | Reason::ContentMismatch { .. }
        | Reason::InScope { .. }
        | Reason::ImageRule { .. }
        | Reason::ImageConfigUnknown { .. }) => Reason::OfId { id: id.to_owned(), reason: Box::new(reason) },
        Reason::ExceptionOver { exception, owner, expires, standing, reason } => {
            Reason::ExceptionOver { exception, owner, expires, standing, reason: Box::new(of_id(id, *reason)) }
        }
        // A container's own id says more than its image's, which nobody typed either.
        Reason::OfId { reason, .. } => Reason::OfId { id: id.to_owned(), reason },
        other => other,
    }
}

/// The reason with the scope that requires what is missing, where it is written in a file.
fn of_scope(scope: &Scope, reason: Reason) -> Reason {
    match &scope.position {
        Some(position) => Reason::InScope { scope: scope.label().to_owned(), place: position.short(), reason: Box::new(reason) },
        None => reason,
    }
}

/// By name: the named repository's verifiers must all vouch, for the content that is here where some is.
fn approve_name(policy: &Policy, image: &ImageFacts, reference: &Reference) -> Result<Approval, Reason> {
    let scope = policy.scope(&reference.repository).ok_or_else(|| policy.outside(&reference.repository))?;
    let held = Held::of(&image.local);
    // The engine may take a reference for what it says, and a look at it for what its name was put on.
    if let (Some(expected), Some(held)) = (reference.digest, &held)
        && !held.digests.contains(&expected)
    {
        return Err(Reason::ContentMismatch { reference: reference.clone(), expected, held: held.told() });
    }
    let asking = Approving { policy, image, repository: &reference.repository, held: held.as_ref(), reference };
    let vouches = asking.vouches(&scope.require).map_err(|reason| of_scope(scope, reason))?;
    Ok(vouched(held.map(|held| held.id), reference.repository.clone(), vouches))
}

fn vouched(id: Option<Digest>, repository: Repository, vouches: Vec<Vouch>) -> Approval {
    Approval {
        id,
        repository: Some(repository),
        vouches,
        named: None,
        warnings: Vec::new(),
        forgiven: None,
        exceptions: Applied::default(),
    }
}

/// When an image was built, as is stated. A digest is built once: where two say when, the older word is no younger for the other, whoever gave that.
fn built_at(vouches: &[Vouch]) -> Option<Timestamp> {
    vouches.iter().flat_map(Vouch::stated).filter_map(|stated| stated.built_at()).min()
}

/// The approval of an image that keeps the rules of the scope that it was approved in: that of the repository that vouched, whatever the
/// image is called; where none did, those of every scope. With what it does not keep of those that only warn, or that exceptions lift.
fn keeps_rules(policy: &Policy, facts: &Facts, image: &ImageFacts, approval: Approval, runs: bool) -> Result<Approval, Reason> {
    let (rules, scope) = match &approval.repository {
        Some(repository) => {
            let scope = policy.scope(repository).ok_or(Reason::Internal)?;
            (vec![&scope.rules], scope.label())
        }
        None => (policy.scopes.distinct_rules(), "every scope"),
    };
    let asked = Taken::of(facts, image, runs);
    let vouched: Vec<&Tag> = approval.vouches.iter().flat_map(Vouch::tags).collect();
    let subject = Subject {
        tag: asked.tag.as_ref(),
        is_tag_missing: asked.is_tag_missing,
        vouched: &vouched,
        signed_at: approval.vouches.iter().filter_map(Vouch::signed_at).max(),
        built_at: built_at(&approval.vouches),
        config: image.config.known(),
        now: facts.now,
        runs,
    };
    let mut findings: Vec<Finding> = Vec::new();
    for finding in rules.into_iter().flat_map(|rules| rules.judge(&subject)) {
        match findings.iter_mut().find(|known| known.rule == finding.rule) {
            Some(known) if known.level == Level::Warn => *known = finding,
            Some(_) => {}
            None => findings.push(finding),
        }
    }
    // What is not here cannot run: the engine says so, and what then comes under the name is judged.
    if image.local == Local::Absent {
        findings.retain(|finding| finding.evidence.is_some());
    }
    let mut exceptions = approval.exceptions;
    if let Some(repository) = &approval.repository {
        // Also where it is vouched for: what lifts rules of this digest.
        exceptions = policy.exceptions.about_content(&image.content(), facts.times());
        policy.exceptions.about_repository(repository, facts.times(), &mut exceptions);
    }
    findings.retain(|finding| finding.level != Level::Deny || !exceptions.lift(finding.rule.about().id));
    let of_repository = || approval.repository.as_ref().map_or_else(|| image.name.to_string(), ToString::to_string);
    let name = image.judged_reference().map_or_else(of_repository, ToString::to_string);
    match refusal(name, scope, image, &findings) {
        Some((rule, reason)) => Err(exceptions.not_lifted(rule.about().id, reason)),
        None => Ok(Approval { warnings: findings, exceptions, ..approval }),
    }
}

/// The refusal for what an image does not keep, and by which rule; none where that is only recorded.
fn refusal(image: String, scope: &str, facts: &ImageFacts, findings: &[Finding]) -> Option<(RuleId, Reason)> {
    let denied = |is_known: bool| {
        findings.iter().find(move |finding| finding.level == Level::Deny && finding.evidence.is_some() == is_known)
    };
    if let Some(first) = denied(true) {
        return Some((first.rule, Reason::ImageRule { image, scope: scope.to_owned(), findings: findings.to_vec() }));
    }
    let rule = denied(false)?.rule;
    let why = match &facts.config {
        ConfigFacts::Unknown(why) => why.clone(),
        ConfigFacts::NotAsked | ConfigFacts::Known(_) => "it is not known whole".to_owned(),
    };
    Some((rule, Reason::ImageConfigUnknown { image, rule, why }))
}

/// By which tag content is taken.
struct Taken {
    tag: Option<Tag>,
    is_tag_missing: bool,
}

impl Taken {
    fn of(facts: &Facts, image: &ImageFacts, runs: bool) -> Self {
        let none = Self { tag: None, is_tag_missing: false };
        // A container is judged by its image's id; what it was asked for by is no evidence of anything but of that.
        let asked_for = match &facts.container {
            Some(ContainerFacts::Found { image_ref, .. }) if runs => ImageName::parse(image_ref).ok(),
            Some(ContainerFacts::Found { .. } | ContainerFacts::Missing) | None => None,
        };
        let name = match (image.judged_reference(), &asked_for) {
            (Some(_), _) => &image.name,
            // What could be the beginning of an id may have been one.
            (None, Some(name)) if !name.may_be_id_prefix() => name,
            (None, Some(_) | None) => return none,
        };
        match name {
            ImageName::Named { reference: Reference { digest: None, tag, .. }, written } => {
                let last = written.rsplit('/').next().unwrap_or_default();
                Self { tag: tag.clone(), is_tag_missing: !last.contains(':') }
            }
            ImageName::Named { .. } | ImageName::Id(_) | ImageName::IdPrefix(_) => none,
        }
    }
}

/// Content that is on the host.
#[derive(Debug, Clone, Copy)]
struct Held<'a> {
    id: Digest,
    digests: &'a [Digest],
    config: Option<Digest>,
}

impl<'a> Held<'a> {
    fn of(local: &'a Local) -> Option<Self> {
        match local {
            Local::Present { id, digests, config, by_name: _ } => Some(Self { id: *id, digests, config: *config }),
            Local::NotAsked | Local::Absent => None,
        }
    }

    /// Whether it is what is vouched for. A manifest's digest and an image id never compare.
    fn is(&self, vouch: &Vouch, binding: Binding) -> bool {
        match vouch.hashed() {
            Hashed::Manifest => self.digests.contains(vouch.digest()),
            Hashed::Config => binding == Binding::Listed && self.config.as_ref() == Some(vouch.digest()),
        }
    }

    /// What stands for it in a refusal.
    fn told(&self) -> Digest {
        self.digests.first().copied().unwrap_or(self.id)
    }
}

/// One repository asked about one image.
struct Approving<'a> {
    policy: &'a Policy,
    image: &'a ImageFacts,
    repository: &'a Repository,
    /// What is vouched for must be this, where the content is known.
    held: Option<&'a Held<'a>>,
    reference: &'a Reference,
}

impl Approving<'_> {
    /// Those who vouch, as is required.
    fn vouches(&self, require: &Requirement) -> Result<Vec<Vouch>, Reason> {
        match require {
            Requirement::One(verifier) => Ok(self.vouch(verifier)?.into_iter().collect()),
            // INVARIANT: nobody who has to vouch is nobody who has vouched, and silence means no.
            Requirement::All(parts) if parts.is_empty() => Err(Reason::Internal),
            Requirement::All(parts) => {
                let each: Result<Vec<_>, _> = parts.iter().map(|part| self.vouches(part)).collect();
                Ok(each?.into_iter().flatten().collect())
            }
            Requirement::Any(parts) => {
                let mut refusals = Vec::new();
                for part in parts {
                    match self.vouches(part) {
                        Ok(vouches) => return Ok(vouches),
                        Err(reason) => refusals.push(reason),
                    }
                }
                Err(most_pressing(refusals).unwrap_or(Reason::Internal))
            }
        }
    }

    /// The word of one verifier; none where there is nobody to ask about a name.
    fn vouch(&self, verifier: &VerifierName) -> Result<Option<Vouch>, Reason> {
        let binding = *self.policy.verifiers.get(verifier).ok_or(Reason::Internal)?;
        if self.held.is_none() && binding == Binding::Held {
            return Ok(None);
        }
        let of_it = |asked: &&Asked| asked.repository == *self.repository && asked.verifier == *verifier;
        let asked = self.image.asked.iter().find(of_it).ok_or(Reason::Internal)?;
        let refused = |error: &TrustError| {
            let (image, verifier) = (self.reference.to_string(), verifier.clone());
            Reason::Trust { image, verifier, error: error.clone() }
        };
        let vouch = asked.answer.as_ref().map_err(refused)?;
        // The proof must be for this repository, as it is called at its origin, and by this verifier, whoever filled in the facts.
        let asks = self.policy.scope(self.repository).and_then(|scope| scope.asks(self.repository));
        if asks.as_ref() != Some(vouch.repository()) || vouch.verifier() != verifier {
            return Err(Reason::Internal);
        }
        let is_asked_for = |digest| vouch.hashed() == Hashed::Manifest && digest == *vouch.digest();
        match self.held {
            Some(held) if !held.is(vouch, binding) => {
                let (expected, held) = (*vouch.digest(), held.told());
                Err(Reason::ContentMismatch { reference: self.reference.clone(), expected, held })
            }
            None if self.reference.digest.is_some_and(|digest| !is_asked_for(digest)) => Err(Reason::Internal),
            Some(_) | None => Ok(Some(vouch.clone())),
        }
    }
}

fn is_pressing(reason: &Reason) -> bool {
    match reason {
        Reason::Trust { error, .. } => {
            !matches!(error.code, TrustCode::NotSigned | TrustCode::NotListed | TrustCode::NoTrustData)
        }
        Reason::InScope { reason, .. } => is_pressing(reason),
        _ => false,
    }
}

/// What somebody can do most about: first what could not be asked, then what was said.
fn most_pressing(mut refusals: Vec<Reason>) -> Option<Reason> {
    let chosen = refusals.iter().position(is_pressing).unwrap_or(0);
    (chosen < refusals.len()).then(|| refusals.swap_remove(chosen))
}

/// By id: one repository that is allowed and has a trail to this content must vouch for it, with all its verifiers.
fn approve_id(policy: &Policy, image: &ImageFacts) -> Result<Approval, Reason> {
    let Some(held) = Held::of(&image.local) else { return Err(Reason::ImageMissing { name: image.name.clone() }) };
    let mut refusals = Vec::new();
    for repository in &image.repositories {
        let Some(scope) = policy.scope(repository) else { continue };
        let reference = Reference { repository: repository.clone(), tag: None, digest: None };
        let approving = Approving { policy, image, repository, held: Some(&held), reference: &reference };
        match approving.vouches(&scope.require) {
            Ok(vouches) => return Ok(vouched(Some(held.id), repository.clone(), vouches)),
            Err(reason) => refusals.push(of_scope(scope, reason)),
        }
    }
    if let Some(reason) = most_pressing(refusals) {
        return Err(reason);
    }
    match image.repositories.first() {
        Some(repository) => Err(policy.outside(repository)),
        None => Err(Reason::ImageUnapproved { image: image.name.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::trust::notary::RequiredSigners;
    use crate::trust::{Asking, Binding, CaseVerifier, Facts, Purpose, Question, Stated, Verifier as _, Word};

    /// Whoever may state something makes no old image young.
    #[tokio::test]
    async fn of_several_words_of_when_an_image_was_built_the_oldest_counts() {
        let [old, young] = ["2026-02-01T00:00:00Z", "2026-11-29T00:00:00Z"].map(|text| text.parse::<Timestamp>().unwrap());
        let (repository, digest): (Repository, Digest) = ("r.example/app".parse().unwrap(), Digest::of(b"app"));
        let vouch = async |at: Option<Timestamp>, is_build: bool| {
            let (builder, source, reference) = Default::default();
            let facts = if is_build { Facts::Provenance { builder, source, reference } } else { Facts::Other };
            let stated = Stated { predicate_type: "x".to_owned(), at, facts, is_judged: false };
            let word = Word { repository: repository.clone(), digest, tag: None, signers: None, signed_at: None };
            let verifier = CaseVerifier::new("slsa".parse().unwrap(), Binding::Digest, RequiredSigners::default(), vec![word]);
            let asking = Asking { purpose: Purpose::Pull, now: young, deadline: tokio::time::Instant::now() };
            let stating = verifier.stating(Some(Arc::new(stated)));
            stating.vouch(&repository, &Question::AnyOf(vec![digest]), asking).await.unwrap()
        };
        let (first, second) = (vouch(Some(old), true).await, vouch(Some(young), true).await);
        assert_eq!(built_at(&[first.clone(), second.clone()]), Some(old));
        assert_eq!(built_at(&[second.clone(), first]), Some(old));
        // What says nothing of a build, or not when, takes nothing away.
        let silent = [vouch(Some(old), false).await, vouch(None, true).await, second];
        assert_eq!(built_at(&silent), Some(young));
        assert_eq!(built_at(silent.get(..2).unwrap()), None);
    }
}
