//! Finds out what the decision needs: here what is on the host, in `outside` what the registry and the verifiers say of it, in `rego` what
//! the operator's own rules are told. Decides nothing.

mod outside;
mod rego;

use std::sync::Arc;

use tokio::time::Instant;
use tracing::Instrument as _;

use super::{Gate, Rules, Said};
use crate::engine::{Api, Container, EngineError, Image, Network, Store};
use crate::image::{Digest, ImageName, Platform, Reference, Repository};
use crate::policy::{
    self, ConfigFacts, ContainerFacts, Facts, ImageFacts, ImageRules, Local, Needs, NetworkFacts, PluginFacts, Policy, Posture,
    Reason, Request, ServiceFacts,
};
use crate::registry;
use crate::request::{self, Intent, PluginCall, PluginChange, Start, StartAction, Unreadable};
use crate::trust::{Purpose, Verifier};

/// Most bytes of labels, environment and the like of a container that rules in Rego are shown. Honest ones have a few thousand.
const RUNS_AS_BYTES: usize = 256 << 10;
/// Most repositories asked about one image. An image has a few names; more would let a client multiply the work.
const MAX_REPOSITORIES: usize = 16;
/// Most digests one image is asked about by.
const MAX_DIGESTS: usize = 32;
/// Most images of one call. Nobody mounts more; each costs the engine a look.
const MAX_IMAGES: usize = 16;
/// Most containers whose ids begin with another's name that are judged beside it: more are refused, each costs a look.
const MAX_ALIKE: usize = 4;
/// Most networks of one service, likewise.
const MAX_NETWORKS: usize = 64;

/// Characters of a swarm's ids.
const SWARM_ID: usize = 25;

/// The rules in force, as gathering needs them.
struct Gathering<'a> {
    gate: &'a Gate,
    policy: &'a Policy,
    request: &'a Request<'a>,
    verifiers: &'a [Arc<dyn Verifier>],
    registry: Option<&'a Arc<dyn registry::Api>>,
    purpose: Purpose,
    deadline: Instant,
    engine: &'a dyn Api,
    on_behalf: OnBehalf,
    said: &'a Said,
}

/// For whom it is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnBehalf {
    /// A client, who takes a place among those of all clients.
    Client,
    /// The gate itself, whose looks at what has begun no client can use up.
    Gate,
}

impl Gate {
    pub(super) async fn gather(
        &self,
        rules: &Rules,
        request: &Request<'_>,
        on_behalf: OnBehalf,
        said: &Said,
        deadline: Instant,
    ) -> Facts {
        let Rules::Good { policy, verifiers, registry } = rules else {
            return Facts { unknown: Some(Reason::Internal), ..Facts::default() };
        };
        let registry = registry.as_ref();
        let engine: &dyn Api = match on_behalf {
            OnBehalf::Client => &*self.engine,
            OnBehalf::Gate => &*self.ends,
        };
        // How urgent the answers about its images are.
        let purpose = if request.intent.runs() { Purpose::Run } else { Purpose::Pull };
        let asking = Gathering { gate: self, policy, request, verifiers, registry, purpose, deadline, engine, on_behalf, said };
        let span = tracing::trace_span!(target: "img_authz::trace", "gather");
        let found = asking.facts(&policy::needs(policy, request)).instrument(span).await;
        let found = found.unwrap_or_else(|reason| Facts { unknown: Some(reason), ..Facts::default() });
        Box::pin(asking.with_rego(self.timed(found))).await
    }

    /// With the time by which they are judged.
    fn timed(&self, facts: Facts) -> Facts {
        Facts { now: Some(self.now()), latest: self.told_exceptions.latest(), ..facts }
    }
}

impl Gathering<'_> {
    async fn facts(&self, needs: &Needs<'_>) -> Result<Facts, Reason> {
        let owned = |names: &[&ImageName]| names.iter().map(|name| (*name).clone()).collect();
        match needs {
            Needs::Nothing => Ok(Facts::default()),
            Needs::Refused(reason) => Err(reason.clone()),
            Needs::Named(reference) => self.image_by_name(reference).await,
            Needs::Held(names) => self.on_host(owned(names), &[], self.request.call.and_then(request::platform)).await,
            Needs::Container(container) => self.start(container).await,
            Needs::Service { images, networks } => {
                let networks = self.networks(networks).await?;
                let facts = self.service(owned(images)).await?;
                Ok(Facts { networks, ..facts })
            }
            Needs::Rollback(service) => self.rollback(service).await,
            Needs::Plugin(call) => self.plugin(call).await,
            Needs::OwnAddresses => {
                Ok(Facts { own_addresses: self.gate.own.load_full().addresses(&self.gate.workers).await, ..Facts::default() })
            }
        }
    }

    /// The rules of every scope, where an exception may stand in the place of who must vouch for an image; else none.
    fn of_exception(&self, image: &ImageFacts) -> Vec<&Arc<ImageRules>> {
        let is_named = self.policy.exceptions.name(&image.content());
        if is_named { self.policy.scopes.distinct_rules() } else { Vec::new() }
    }

    fn rego_reads_config(&self) -> bool {
        self.policy.rego.as_ref().is_some_and(|rego| rego.reads_config())
    }

    async fn start(&self, container: &str) -> Result<Facts, Reason> {
        // A slash inside is a legacy link's alias, which a later create can take over: the lease does not cover it.
        let missing = Facts { container: Some(ContainerFacts::Missing), ..Facts::default() };
        if container.trim_start_matches('/').contains('/') {
            return Ok(missing);
        }
        let Some(found) = self.look(container).await? else { return Ok(missing) };
        if found.name == container.trim_start_matches('/') {
            self.others_may_start(&found).await?;
        }
        let mut facts = Facts::default();
        if let Some(image) = found.image {
            let mut names = vec![ImageName::Id(image)];
            // What cannot be read as an image is refused by the decision, which looks at the texts.
            names.extend(found.mounts.iter().filter_map(|source| ImageName::parse(source).ok()));
            let asked_for = ImageName::parse(&found.image_ref).ok();
            let origin: Vec<Repository> =
                asked_for.iter().filter_map(|name| Some(name.reference()?.repository.clone())).collect();
            facts = self.on_host(names, &origin, found.platform.as_ref().map(ToString::to_string)).await?;
        }
        if self.rego_reads_config() {
            if found.runs_as.bytes() > RUNS_AS_BYTES {
                return Err(Reason::ContainerTooLarge { container: container.to_owned(), limit: RUNS_AS_BYTES as u64 });
            }
            facts.runs_as = Some(found.runs_as);
        }
        facts.container = Some(ContainerFacts::Found {
            id: found.id.to_string(),
            name: found.name,
            image_ref: found.image_ref,
            image: found.image,
            image_mounts: found.mounts,
        });
        Ok(facts)
    }

    /// One container. The engine waits for its lock, which a client can hold.
    async fn look(&self, container: &str) -> Result<Option<Container>, Reason> {
        let busy = || Reason::ContainerBusy { container: container.to_owned() };
        let deadline = self.deadline.min(Instant::now() + self.gate.limits.look);
        let answer = match self.on_behalf {
            OnBehalf::Client => {
                let look = self.gate.looks.enter(container).ok_or_else(busy)?;
                look.ended(self.engine.container(container, deadline).await)
            }
            OnBehalf::Gate => self.engine.container(container, deadline).await,
        };
        match answer {
            Err(EngineError::Timeout { .. }) => Err(busy()),
            // Not of a name that is too long to ask for.
            Err(EngineError::TooLarge { limit, .. }) if (container.len() as u64) <= limit => {
                Err(Reason::ContainerTooLarge { container: container.to_owned(), limit })
            }
            answer => answer.map_err(unreachable),
        }
    }

    /// The engine looks for a name first, and then for the one id that begins like it. A name can be lost before the engine looks,
    /// by calls and without one (`--rm`); what then answers to it must be as good.
    async fn others_may_start(&self, found: &Container) -> Result<(), Reason> {
        if !found.name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(());
        }
        let mut others = self.engine.beginning(&found.name, self.deadline).await.map_err(unreachable)?;
        others.retain(|other| other.id != found.id);
        for other in &others {
            let start = Start { container: other.id.to_string(), action: StartAction::Start, extra: None, terms: None };
            let facts = if others.len() > MAX_ALIKE { None } else { Some(Box::pin(self.start(&start.container)).await?) };
            let facts = match facts {
                Some(facts) => Some(Box::pin(self.with_rego(self.gate.timed(facts))).await),
                None => None,
            };
            let intent = Intent::Start(start);
            let request = Request { intent: &intent, ..*self.request };
            let verdict = facts.map(|facts| policy::decide(self.policy, &request, &facts));
            if !matches!(verdict, Some(policy::Verdict::Allow(_))) {
                return Err(Reason::Unreadable(Unreadable::Reference(format!(
                    "`{}` is the name of one container and begins the id of another, `{}`, which is not approved; start it by its own id",
                    found.name,
                    other.id.as_str().get(..12).unwrap_or_default()
                ))));
            }
        }
        Ok(())
    }

    async fn rollback(&self, service: &str) -> Result<Facts, Reason> {
        let previous = self.engine.service(service, self.deadline).await.map_err(unreachable)?.and_then(|found| found.previous);
        let images = match previous {
            Some(spec) if spec.plugin.is_none() && matches!(spec.runtime.as_str(), "" | "container") => {
                let mut images: Vec<String> = spec.image.into_iter().collect();
                if !images.is_empty() {
                    images.extend(spec.image_mounts);
                }
                images
            }
            Some(_) | None => return Ok(Facts { service: Some(ServiceFacts::Missing), ..Facts::default() }),
        };
        let names = images.iter().filter_map(|image| ImageName::parse(image).ok()).collect();
        let facts = self.service(names).await?;
        Ok(Facts { service: Some(ServiceFacts::Previous { images }), ..facts })
    }

    /// A service's images are pinned by digest and may be on no host yet; its mounts by id are looked for here.
    async fn service(&self, names: Vec<ImageName>) -> Result<Facts, Reason> {
        let mut images = Vec::new();
        for name in bounded(names)? {
            let found = match name.reference() {
                Some(reference) => self.image_by_name(reference).await?,
                None => self.on_host(vec![name], &[], None).await?,
            };
            images.extend(found.images);
        }
        Ok(Facts { images, ..Facts::default() })
    }

    /// What a service's networks are, where anybody asks.
    async fn networks(&self, targets: &[String]) -> Result<Vec<NetworkFacts>, Reason> {
        if !self.policy.looks_at_networks() {
            return Ok(Vec::new());
        }
        if targets.len() > MAX_NETWORKS {
            return Err(Reason::CallUnreadable { why: format!("more than {MAX_NETWORKS} networks in one call") });
        }
        let mut out = Vec::new();
        for target in targets {
            let found = self.engine.network(target, self.deadline).await.map_err(unreachable)?;
            out.push(network(target, found.as_ref()));
        }
        Ok(out)
    }

    async fn plugin(&self, call: &PluginCall) -> Result<Facts, Reason> {
        let engine = self.engine;
        let identity = &self.gate.identity;
        let (about_self, remote) = match call {
            PluginCall::Pull { remote, name } => {
                (identity.is_named(engine, name.as_ref().unwrap_or(remote), self.deadline).await, Some(remote))
            }
            PluginCall::Upgrade { plugin, remote } => (identity.is_meant(engine, plugin, self.deadline).await, Some(remote)),
            PluginCall::Create { name } | PluginCall::Change { plugin: name, .. } => {
                (identity.is_meant(engine, name, self.deadline).await, None)
            }
        };
        let about_self = match (about_self, call) {
            (Ok(about_self), _) => about_self,
            // What might stand in the gate's place does not come in while the gate does not know its own name.
            (Err(error), PluginCall::Pull { .. } | PluginCall::Upgrade { .. } | PluginCall::Create { .. }) => {
                return Err(unreachable(error));
            }
            // Nor is the gate itself removed meanwhile.
            (Err(error), PluginCall::Change { change: PluginChange::RemoveByForce, .. }) => return Err(unreachable(error)),
            // Settings can still be corrected; `lockdown` refuses these about any plugin.
            (Err(_), PluginCall::Change { .. }) => false,
        };
        let facts = match remote {
            Some(remote) if remote.digest.is_some() => Facts { images: vec![self.by_name(remote).await?], ..Facts::default() },
            Some(_) | None => Facts::default(),
        };
        let plugin = match call {
            PluginCall::Change { plugin, change: PluginChange::Enable } => self.enabled(plugin).await?,
            PluginCall::Pull { .. } | PluginCall::Upgrade { .. } | PluginCall::Create { .. } | PluginCall::Change { .. } => None,
        };
        Ok(Facts { plugin, about_self, ..facts })
    }

    /// The plugin that would be enabled.
    async fn enabled(&self, plugin: &str) -> Result<Option<PluginFacts>, Reason> {
        // The rule of `lockdown` needs no look.
        if self.policy.posture == Posture::Lockdown {
            return Ok(None);
        }
        self.gate.know_plugins(self.deadline).await;
        let found = self.engine.plugin(plugin, self.deadline).await.map_err(unreachable)?;
        Ok(found.map(|found| PluginFacts {
            is_known: self.gate.plugins.knows(&found),
            id: found.id,
            name: found.name,
            digest: found.digest,
        }))
    }

    /// What is judged by what it is called: content that is not here yet.
    async fn by_name(&self, reference: &Reference) -> Result<ImageFacts, Reason> {
        let name = ImageName::Named { reference: reference.clone(), written: reference.to_string().into() };
        let repositories = vec![reference.repository.clone()];
        self.ask(ImageFacts {
            name,
            local: Local::NotAsked,
            repositories,
            asked: Vec::new(),
            config: ConfigFacts::NotAsked,
            rego: None,
        })
        .await
    }

    /// The same of an image, which rules may want to know more of.
    async fn image_by_name(&self, reference: &Reference) -> Result<Facts, Reason> {
        let image = self.by_name(reference).await?;
        let of_exception = self.of_exception(&image);
        let of_scope = self.policy.scope(&reference.repository).map(|scope| &scope.rules);
        let may_be_excepted = !of_exception.is_empty();
        let is_ruled = self.rego_reads_config() || of_scope.into_iter().chain(of_exception).any(|rules| rules.looks().config);
        // By a digest that an exception names it is looked at though nobody vouches for it.
        let asked = if may_be_excepted { &[][..] } else { &image.asked };
        let config = if is_ruled { self.registered(reference, asked).await? } else { ConfigFacts::NotAsked };
        Ok(Facts { images: vec![ImageFacts { config, ..image }], ..Facts::default() })
    }

    /// What an image on the host says of itself, as far as rules of the scopes that may vouch for it look at it.
    async fn described(
        &self,
        found: Option<&Image>,
        image: &ImageFacts,
        platform: Option<String>,
    ) -> Result<ConfigFacts, Reason> {
        let of_scopes =
            || image.repositories.iter().filter_map(|repository| self.policy.scope(repository).map(|scope| &scope.rules));
        let looks = || of_scopes().chain(self.of_exception(image)).map(|rules| rules.looks());
        if !self.rego_reads_config() && !looks().any(|looks| looks.config) {
            return Ok(ConfigFacts::NotAsked);
        }
        // What was found by a name is what is judged, and by an id nothing else has it.
        let held = match &image.local {
            Local::Present { id, .. } => found.filter(|found| found.id == *id),
            Local::NotAsked | Local::Absent => return Ok(ConfigFacts::NotAsked),
        };
        let Some(found) = held else { return Ok(ConfigFacts::Unknown("the image is not on this host any more".to_owned())) };
        let mut config = found.config.clone();
        // Where the id is that of an index, the engine shows the image of its own choice, and would run the one that is asked for.
        if let Some(asked) = platform
            && found.store != Some(Store::Classic)
            && !asked.parse().is_ok_and(|asked: Platform| config.platform.is_same(&asked))
        {
            let why = format!("it runs on platform `{asked}`, and the engine shows what it has for {}", config.platform);
            return Ok(ConfigFacts::Unknown(why));
        }
        if looks().any(|looks| looks.history) {
            let kept = self.gate.descriptions.history(found.id, &config.platform);
            config.history = match kept {
                Some(kept) => Some(kept),
                None => self.history(found.id, &config.platform).await?,
            };
        }
        if looks().any(|looks| looks.annotations) {
            config.annotations = self.annotations(image, &config.platform).await?;
        }
        Ok(ConfigFacts::Known(Arc::new(config)))
    }

    async fn history(&self, id: Digest, platform: &Platform) -> Result<Option<Vec<String>>, Reason> {
        let Some(made) = self.engine.history(&id, self.deadline).await.map_err(|error| of_image(&id, error))? else {
            return Ok(None);
        };
        // Oldest first, as in the configuration.
        let history: Vec<String> = made.into_iter().rev().map(|made| made.created_by).collect();
        self.gate.descriptions.keep_history(id, platform, &history);
        Ok(Some(history))
    }

    /// Images looked for on the host. `origin` are repositories that a container's own image may come from, `platform` is what the first
    /// of them runs on, where that is said.
    async fn on_host(&self, names: Vec<ImageName>, origin: &[Repository], mut platform: Option<String>) -> Result<Facts, Reason> {
        let mut images = Vec::new();
        for name in bounded(names)? {
            let found = self.engine.image(&name.to_string(), self.deadline).await.map_err(|error| of_image(&name, error))?;
            let store = self.store(&name, found.as_ref()).await?;
            let image = self.ask(self.known(name, found.as_ref(), store, origin)).await?;
            let config = self.described(found.as_ref(), &image, platform.take()).await?;
            images.push(ImageFacts { config, ..image });
        }
        Ok(Facts { images, ..Facts::default() })
    }

    /// The store of the image, which says what its id is: a configuration's digest, or a manifest's. Where the image does not
    /// show it, or is gone, the engine is asked. Of what has no id nothing depends on it.
    async fn store(&self, name: &ImageName, found: Option<&Image>) -> Result<Store, Reason> {
        match (name, found.map(|image| image.store)) {
            (_, Some(Some(store))) => Ok(store),
            (_, Some(None)) | (ImageName::Id(_), None) => Ok(self.engine.info(self.deadline).await.map_err(unreachable)?.store),
            (ImageName::Named { .. } | ImageName::IdPrefix(_), None) => Ok(Store::Classic),
        }
    }

    /// What host and records say of an image.
    fn known(&self, name: ImageName, found: Option<&Image>, store: Store, origin: &[Repository]) -> ImageFacts {
        // What is asked for by its whole id is that, or nothing.
        let found = found.filter(|image| !matches!(&name, ImageName::Id(id) if *id != image.id));
        let (id, by_name, tags, pulled) = match (&name, found) {
            (_, Some(image)) => (image.id, is_by_name(&name, image), &image.repo_tags[..], &image.repo_digests[..]),
            // A container's image may be gone while the container is not: its id still says what it is.
            (ImageName::Id(id), None) => (*id, false, &[][..], &[][..]),
            (ImageName::IdPrefix(_), None) => {
                return ImageFacts {
                    name,
                    local: Local::Absent,
                    repositories: Vec::new(),
                    asked: Vec::new(),
                    config: ConfigFacts::NotAsked,
                    rego: None,
                };
            }
            (ImageName::Named { reference, .. }, None) => {
                let repositories = vec![reference.repository.clone()];
                return ImageFacts {
                    name,
                    local: Local::Absent,
                    repositories,
                    asked: Vec::new(),
                    config: ConfigFacts::NotAsked,
                    rego: None,
                };
            }
        };
        let approvals = self.gate.approvals.of(&id);
        let mut digests: Vec<Digest> = Vec::new();
        let trail = approvals.iter().map(|(_, digest)| digest).chain(pulled.iter().map(|(_, digest)| digest));
        // INVARIANT: in the classic store the id is a configuration's digest and never stands among those of manifests. A record
        // of it there is of an approval by image id.
        let (own, config) = match store {
            Store::Containerd => (Some(&id), None),
            Store::Classic => (None, Some(id)),
        };
        for digest in trail.filter(|digest| config.as_ref() != Some(*digest)).take(MAX_DIGESTS).chain(own) {
            if !digests.contains(digest) {
                digests.push(*digest);
            }
        }
        let mut repositories: Vec<Repository> = Vec::new();
        let mut add = |repository: &Repository| {
            if repositories.len() < MAX_REPOSITORIES && !repositories.contains(repository) {
                repositories.push(repository.clone());
            }
        };
        match (&name, by_name) {
            (ImageName::Named { reference, .. }, true) => add(&reference.repository),
            (ImageName::Named { .. } | ImageName::Id(_) | ImageName::IdPrefix(_), _) => {
                // Those that may vouch come first, so that a pile of other names does not push them out.
                let allowed = |repository: &&Repository| self.policy.scope(repository).is_some();
                let every = || {
                    let recorded = approvals.iter().map(|(repository, _)| repository);
                    let pulled = pulled.iter().map(|(repository, _)| repository);
                    let tagged = tags.iter().map(|tag| &tag.repository);
                    recorded.chain(pulled).chain(tagged).chain(origin)
                };
                every().filter(allowed).for_each(&mut add);
                every().for_each(&mut add);
            }
        }
        ImageFacts {
            name,
            local: Local::Present { id, by_name, digests, config },
            repositories,
            asked: Vec::new(),
            config: ConfigFacts::NotAsked,
            rego: None,
        }
    }
}

/// Whether the engine found the image by its name rather than by the beginning of its id. Names win in the engine too.
fn is_by_name(name: &ImageName, image: &Image) -> bool {
    let ImageName::Named { reference, .. } = name else { return false };
    let tagged = image.repo_tags.iter().any(|tag| tag.repository == reference.repository && tag.tag == reference.tag);
    tagged || !name.may_be_id_prefix()
}

/// What a network is, found by what a service calls it. The engine looks among the swarm's networks first: by id, by name, by the
/// beginning of an id; and the swarm has one for the host, which is shown to nobody. So only what cannot begin its id is sure.
fn network(target: &str, found: Option<&Network>) -> NetworkFacts {
    let like_a_swarm_id = |name: &str| name.len() == SWARM_ID && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match found {
        Some(network) if network.driver == "host" => NetworkFacts::Host,
        Some(network) if network.id == target => NetworkFacts::Ordinary,
        Some(network) if network.name == target && !like_a_swarm_id(target) && network.scope == "swarm" => NetworkFacts::Ordinary,
        Some(network) if network.name == target && target == "bridge" => NetworkFacts::Ordinary,
        Some(_) | None => NetworkFacts::Unsure,
    }
}

fn bounded(names: Vec<ImageName>) -> Result<Vec<ImageName>, Reason> {
    if names.len() > MAX_IMAGES {
        return Err(Reason::CallUnreadable { why: format!("more than {MAX_IMAGES} images in one call") });
    }
    Ok(names)
}

/// Of an image that says too much of itself, that is so however often it is asked for.
fn of_image(image: &impl ToString, error: EngineError) -> Reason {
    let why = match &error {
        EngineError::TooLarge { limit, .. } => format!("more than {limit} bytes"),
        EngineError::TooMany { what, limit } => format!("more than {limit} {what}"),
        EngineError::Unreachable { .. }
        | EngineError::Timeout { .. }
        | EngineError::Status { .. }
        | EngineError::Undecodable { .. } => return unreachable(error),
    };
    Reason::ImageTooLarge { image: image.to_string(), why }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn unreachable(error: EngineError) -> Reason {
    Reason::EngineUnreachable { why: error.to_string() }
}
