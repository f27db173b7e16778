//! What the registry and the verifiers say of an image. Each is asked on other threads, and takes a place where a client waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use super::super::descriptions::REGISTRY_TIME;
use super::{Gathering, OnBehalf, unreachable};
use crate::image::{Digest, Platform, Reference, Repository};
use crate::policy::{self, Asked, ConfigFacts, ImageFacts, Reason};
use crate::registry;
use crate::request::{self, RunSpec};
use crate::trust::{Asking, Hashed, Purpose, Question, TrustCode, TrustError, VerifierName, Vouch};

/// Longest wait for what an engine says of its settings: it lists all of itself for that, and no decision rests on it.
const INFO_TIME: Duration = Duration::from_millis(300);

impl Gathering<'_> {
    /// Puts the questions. By id, the first repository that vouches as required is enough.
    pub(super) async fn ask(&self, mut image: ImageFacts) -> Result<ImageFacts, Reason> {
        let by_id = image.judged_reference().is_none();
        let questions = policy::questions(self.policy, &image);
        let mut questions = questions.into_iter().peekable();
        while let Some((repository, verifier, question)) = questions.next() {
            // A scope that is a mirror asks under the names of its origin.
            let asks = self.policy.scope(&repository).and_then(|scope| scope.asks(&repository));
            let asked_as = asks.unwrap_or_else(|| repository.clone());
            let answer = self.put(&repository, &asked_as, &verifier, &question).await?;
            let is_last = questions.peek().is_none_or(|(next, _, _)| *next != repository);
            image.asked.push(Asked { repository: repository.clone(), asked_as, verifier, question, answer });
            if !is_last || !by_id {
                continue;
            }
            let said_yes = |name: &VerifierName| {
                let of_it = |asked: &&Asked| asked.repository == repository && asked.verifier == *name;
                image.asked.iter().find(of_it).is_some_and(|asked| asked.answer.is_ok())
            };
            if self.policy.scope(&repository).is_some_and(|scope| scope.require.is_met(&said_yes)) {
                break;
            }
        }
        Ok(image)
    }

    async fn put(
        &self,
        named: &Repository,
        repository: &Repository,
        name: &VerifierName,
        question: &Question,
    ) -> Result<Result<Vouch, TrustError>, Reason> {
        let Some(verifier) = self.verifiers.iter().find(|verifier| verifier.name() == name) else {
            return Ok(Err(TrustError::new(TrustCode::Misconfigured, "the policy asks for a verifier that is not set up")));
        };
        let now = self.gate.now();
        let asks = self.purpose == Purpose::Pull && verifier.asks_at_pull();
        if let Some(answer) = verifier.ready(repository, question, now).filter(|_| !asks) {
            return Ok(answer);
        }
        self.know_mirrors(repository).await;
        let _place = match self.on_behalf {
            // Records know the name that was asked for, also of a mirror.
            OnBehalf::Client => Some(self.gate.asking.enter(self.gate.approvals.knows(named)).ok_or(Reason::Overloaded)?),
            OnBehalf::Gate => None,
        };
        let task = {
            let (verifier, repository, question) = (Arc::clone(verifier), repository.clone(), question.clone());
            let asking = Asking { purpose: self.purpose, now, deadline: self.deadline };
            let span = tracing::trace_span!(
                target: "img_authz::trace", "verifier",
                verifier = %name, repository = %repository, code = tracing::field::Empty
            );
            let answered = span.clone();
            let vouching = async move {
                let answer = verifier.vouch(&repository, &question, asking).await;
                answered.record("code", answer.as_ref().map_or_else(|error| error.code.as_str(), |_| "good"));
                answer
            };
            vouching.instrument(span)
        };
        // A verifier that panics is one that cannot say.
        let broken =
            |_| Err(TrustError::new(TrustCode::Misconfigured, "the verifier met a fault of its own; see the gate's log"));
        Ok(self.gate.workers.spawn(task).await.unwrap_or_else(broken))
    }

    /// What an image says of itself that is not here yet, by the registry's word for what its digest commits to: of the repository that
    /// was asked for, where the engine will fetch it. What nobody vouches for is not looked at.
    pub(super) async fn registered(&self, reference: &Reference, asked: &[Asked]) -> Result<ConfigFacts, Reason> {
        let unknown = |why: &str| Ok(ConfigFacts::Unknown(why.to_owned()));
        let Some(registry) = self.registry else { return unknown("no registry is asked") };
        let vouched = asked.iter().filter_map(|asked| asked.answer.as_ref().ok());
        let vouched = vouched.filter(|vouch| vouch.hashed() == Hashed::Manifest).map(|vouch| *vouch.digest()).next();
        if vouched.is_none() && !asked.is_empty() {
            return Ok(ConfigFacts::NotAsked);
        }
        let platform = match self.request.intent.run_spec() {
            // It may run on any host of the swarm, whatever this call's query says, which dockerd does not read.
            RunSpec::ContainerSpec | RunSpec::Unknown => None,
            RunSpec::Body | RunSpec::Nothing => match self.request.call.and_then(request::platform) {
                Some(asked) => match asked.parse::<Platform>() {
                    Ok(platform) => Some(platform),
                    Err(error) => return unknown(&format!("the call asks for a platform: {error}")),
                },
                None => {
                    let version = self.engine.version(self.deadline).await.map_err(unreachable)?;
                    Some(Platform { os: version.os, architecture: version.architecture, variant: String::new() })
                }
            },
        };
        self.told(registry, reference, reference.digest.or(vouched), platform).await
    }

    /// What a registry tells of the image that this digest commits to; of a tag, where nobody says which digest that is.
    async fn told(
        &self,
        registry: &Arc<dyn registry::Api>,
        reference: &Reference,
        due: Option<Digest>,
        platform: Option<Platform>,
    ) -> Result<ConfigFacts, Reason> {
        let unknown = |why: &str| Ok(ConfigFacts::Unknown(why.to_owned()));
        let repository = &reference.repository;
        if let Some(kept) = due.and_then(|digest| self.gate.descriptions.config(repository, digest, platform.as_ref())) {
            return Ok(ConfigFacts::Known(kept));
        }
        self.know_mirrors(repository).await;
        let _place = match self.on_behalf {
            OnBehalf::Client => Some(self.gate.asking.enter(self.gate.approvals.knows(repository)).ok_or(Reason::Overloaded)?),
            OnBehalf::Gate => None,
        };
        let deadline = self.deadline.min(Instant::now() + REGISTRY_TIME);
        let task = {
            let (registry, reference, platform) = (Arc::clone(registry), reference.clone(), platform.clone());
            async move {
                let (api, named, platform) = (&registry, &reference, &platform);
                let there = |repository, until| async move {
                    let there = Reference { repository, ..named.clone() };
                    api.image(&there, due, platform.as_ref(), until).await
                };
                // In a scope that rests on the registry nobody else says what the tag is.
                if let (Some(mirrors), Some(_)) = (registry.mirrors(), due)
                    && let Some(config) = mirrors.ask(&reference.repository, deadline, there).await
                {
                    return Ok(config);
                }
                registry.image(&reference, due, platform.as_ref(), deadline).await
            }
        };
        match tokio::time::timeout_at(deadline, self.gate.workers.spawn(task)).await {
            Ok(Ok(Ok(config))) => {
                let config = Arc::new(config);
                if let Some(digest) = due {
                    self.gate.descriptions.keep_config(repository, digest, platform.as_ref(), &config);
                }
                Ok(ConfigFacts::Known(config))
            }
            Ok(Ok(Err(error))) => unknown(&error.to_string()),
            Ok(Err(_)) => unknown("an error inside the gate; see its log"),
            Err(_) => unknown(&format!("registry `{}` did not answer in time", repository.host_str())),
        }
    }

    /// Sees to it that it is known where else the bytes of Docker Hub are (`registry-mirrors`): the engine asks there first. A decision waits for
    /// that only as long as an engine needs that is well.
    async fn know_mirrors(&self, repository: &Repository) {
        let Some(mirrors) = self.registry.and_then(|registry| registry.mirrors()) else { return };
        let until = self.deadline.min(Instant::now() + INFO_TIME);
        let asked = async {
            let info = tokio::time::timeout_at(until, self.engine.info(until)).await;
            info.ok()?.ok().map(|info| info.mirrors)
        };
        mirrors.learn(repository, asked).await;
    }

    /// The annotations of the manifest that is vouched for, which an engine does not show; `None` where the registry cannot be asked.
    pub(super) async fn annotations(
        &self,
        image: &ImageFacts,
        platform: &Platform,
    ) -> Result<Option<BTreeMap<String, String>>, Reason> {
        let Some(registry) = self.registry else { return Ok(None) };
        let vouched = image.asked.iter().filter_map(|asked| Some((&asked.repository, asked.answer.as_ref().ok()?)));
        let Some((repository, vouch)) = vouched.into_iter().find(|(_, vouch)| vouch.hashed() == Hashed::Manifest) else {
            return Ok(None);
        };
        let digest = *vouch.digest();
        let reference = Reference { repository: repository.clone(), tag: None, digest: Some(digest) };
        let told = self.told(registry, &reference, Some(digest), Some(platform.clone())).await?;
        Ok(told.known().and_then(|config| config.annotations.clone()))
    }
}
