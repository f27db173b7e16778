//! The decision: look for what says yes; the last line refuses.

use std::net::IpAddr;

use super::{
    Asked, AuditRule, BuildRule, ContainerFacts, Facts, Http2Rule, ImageFacts, Local, Mode, NetworkFacts, Policy, Posture,
    Reason, Scope, ServiceFacts,
};
use crate::image::{Digest, ImageName, Reference, Repository};
use crate::request::{
    Build, ContainerAccess, Create, HostAccess, Ingest, Intent, PluginCall, PluginChange, Pulled, Service, Start, StartExtra,
    Subnet,
};
use crate::trust::{Freshness, Hashed, Question, TrustCode, VerifierKind, Vouch};

/// The decision about one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass.
    Allow(Permit),
    /// It may not.
    Deny(Reason),
}

/// Leave to pass, with what it rests on. Made only in this room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    grounds: Grounds,
}

/// What a permit rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grounds {
    /// The call brings no content in and runs none that has not been judged.
    NoImage,
    /// A setting lets it pass.
    Setting(&'static str),
    /// Content that is vouched for, by image, each with its id where it is on the host.
    Content(Vec<Approval>),
}

/// One image's approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Its id on the host, where it is there.
    pub id: Option<Digest>,
    /// Who vouched; empty where a registry-only scope lets a name be asked for.
    pub vouches: Vec<Vouch>,
}

impl Permit {
    const fn new(grounds: Grounds) -> Self {
        Self { grounds }
    }

    /// What it rests on.
    #[must_use]
    pub const fn grounds(&self) -> &Grounds {
        &self.grounds
    }

    /// Where it rests on what a server that is out of reach said before: since when nobody checked, and until when that counts.
    /// Of several, the oldest and the first to end.
    #[must_use]
    pub fn stale(&self) -> Option<(jiff::Timestamp, Option<jiff::Timestamp>)> {
        let of = |vouch: &Vouch| match vouch.freshness() {
            Freshness::Stale { since } => Some((since, vouch.expires())),
            Freshness::Fresh | Freshness::Imported { .. } => None,
        };
        let stale: Vec<_> = self.approvals().iter().flat_map(|approval| &approval.vouches).filter_map(of).collect();
        let since = stale.iter().map(|(since, _)| *since).min()?;
        Some((since, stale.iter().filter_map(|(_, until)| *until).min()))
    }

    /// The approvals it rests on.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        match &self.grounds {
            Grounds::Content(approvals) => approvals,
            Grounds::NoImage | Grounds::Setting(_) => &[],
        }
    }
}

/// Decides what can be decided from policy and intent alone; `None` where facts are needed.
#[must_use]
pub fn precheck(policy: &Policy, intent: &Intent) -> Option<Verdict> {
    let allow = |grounds| Some(Verdict::Allow(Permit::new(grounds)));
    let deny = |reason| Some(Verdict::Deny(reason));
    let forbidden_in_lockdown = |what: &str| match policy.posture {
        Posture::Images => allow(Grounds::NoImage),
        Posture::Lockdown => deny(Reason::PostureForbids { what: what.to_owned() }),
    };
    match intent {
        Intent::Read | Intent::Harmless | Intent::Rename { .. } | Intent::Remove { .. } => allow(Grounds::NoImage),
        Intent::Pull(pull) => match pull.what {
            Pulled::AllTags => deny(Reason::PullAllTags { repository: pull.repository.clone() }),
            Pulled::Tag(_) | Pulled::Digest(_) => outside(policy, &pull.repository).map(Verdict::Deny),
        },
        Intent::Create(create) => precheck_create(policy, create).map(Verdict::Deny),
        Intent::Start(Start { extra, .. }) => match extra {
            Some(StartExtra::Body) => deny(Reason::StartWithBody),
            Some(StartExtra::Checkpoint) => deny(Reason::StartFromCheckpoint),
            None => None,
        },
        Intent::Service(service) => precheck_service(policy, service).map(Verdict::Deny),
        Intent::Build(build) => match (policy.posture, policy.build) {
            (Posture::Images, BuildRule::Allow) => allow(Grounds::Setting("BUILD=allow")),
            (Posture::Lockdown, _) | (_, BuildRule::Deny) => deny(Reason::BuildDenied {
                what: match build {
                    Build::Classic => "a build",
                    Build::Session => "a BuildKit session",
                    Build::Grpc => "a BuildKit connection",
                },
            }),
        },
        Intent::Ingest(bring) => forbidden_in_lockdown(match bring {
            Ingest::Load => "loading images from an archive",
            Ingest::Import => "importing an image",
            Ingest::Commit => "committing a container to an image",
            Ingest::Tag { .. } => "naming an image",
        }),
        Intent::ContainerAccess(drive) => match drive {
            ContainerAccess::Exec | ContainerAccess::Attach | ContainerAccess::Update => allow(Grounds::NoImage),
            ContainerAccess::PrivilegedExec => forbidden_in_lockdown("a privileged exec"),
            ContainerAccess::PutArchive => forbidden_in_lockdown("putting files into a container"),
            ContainerAccess::Checkpoint => forbidden_in_lockdown("checkpoints"),
        },
        // Whether a plugin call is about this very plugin is a fact.
        Intent::Plugin(_) => None,
        Intent::Swarm => forbidden_in_lockdown("swarm membership changes"),
        Intent::Volume { host_access } => match forbidden(policy, host_access) {
            None => allow(Grounds::NoImage),
            Some(reason) => deny(reason),
        },
        Intent::Network { host_access, subnets } => match forbidden(policy, host_access) {
            Some(reason) => deny(reason),
            None if policy.posture == Posture::Images || subnets.is_empty() => allow(Grounds::NoImage),
            // Which addresses the gate uses is a fact.
            None => None,
        },
        Intent::NetworkPlugin { driver } => forbidden_in_lockdown(&format!("network driver {driver}")),
        Intent::Unknown { route } => deny(Reason::RouteUnknown { route: route.clone() }),
        Intent::Unreadable(why) => deny(Reason::Unreadable(why.clone())),
    }
}

/// The decision. Total: whatever is not allowed by a line of this file is refused.
#[must_use]
pub fn decide(policy: &Policy, intent: &Intent, facts: &Facts) -> Verdict {
    if let Some(verdict) = precheck(policy, intent) {
        return verdict;
    }
    if let Some(reason) = &facts.unknown {
        return Verdict::Deny(reason.clone());
    }
    let approved = match intent {
        Intent::Pull(_) | Intent::Create(_) => approve_all(policy, &facts.images, named_images(intent)),
        Intent::Start(start) => match &facts.container {
            Some(ContainerFacts::Missing) | None => Err(Reason::ContainerUnknown { container: start.container.clone() }),
            Some(ContainerFacts::Found { image: None, .. }) => Err(Reason::NoImage),
            Some(ContainerFacts::Found { image: Some(_), image_mounts, .. }) => pinned_mounts(image_mounts)
                .and_then(|()| approve_all(policy, &facts.images, 1 + image_mounts.len()))
                .map_err(|reason| of_id(&start.container, reason)),
        },
        Intent::Service(Service::Spec { networks, .. }) => {
            inside(policy, networks, &facts.networks).and_then(|()| approve_all(policy, &facts.images, named_images(intent)))
        }
        Intent::Service(Service::Rollback { service }) => match &facts.service {
            Some(ServiceFacts::Missing) | None => Err(Reason::ServiceUnknown { service: service.clone() }),
            Some(ServiceFacts::Previous { images }) => {
                pinned_service(images).and_then(|()| approve_all(policy, &facts.images, images.len()))
            }
        },
        Intent::Plugin(call) => return decide_plugin(policy, call, facts),
        Intent::Network { subnets, .. } => {
            return match covering(policy, subnets, &facts.own_addresses) {
                None => Verdict::Allow(Permit::new(Grounds::NoImage)),
                Some(reason) => Verdict::Deny(reason),
            };
        }
        // `precheck` has decided every other intent; if it ever does not, silence means no.
        Intent::Read
        | Intent::Harmless
        | Intent::Rename { .. }
        | Intent::Remove { .. }
        | Intent::Build(_)
        | Intent::Ingest(_)
        | Intent::ContainerAccess(_)
        | Intent::Swarm
        | Intent::Volume { .. }
        | Intent::NetworkPlugin { .. }
        | Intent::Unknown { .. }
        | Intent::Unreadable(_) => Err(Reason::Internal),
    };
    match approved {
        Ok(approvals) => Verdict::Allow(Permit::new(Grounds::Content(approvals))),
        Err(reason) => Verdict::Deny(reason),
    }
}

/// The decision while the settings are faulty and no earlier good ones are kept: nothing that touches an image may pass, nor
/// what the posture forbids, and the host stays usable otherwise.
#[must_use]
pub fn decide_without_policy(fault: &str, posture: Posture, intent: &Intent) -> Verdict {
    match without_policy(fault, intent) {
        Verdict::Allow(permit) => match forbidden_without_policy(posture, intent) {
            Some(reason) => Verdict::Deny(reason),
            None => Verdict::Allow(permit),
        },
        Verdict::Deny(reason) => Verdict::Deny(reason),
    }
}

/// What posture `lockdown` refuses of the calls that touch no image. `ALLOW_HOST_ACCESS` may be what is at fault: no way is open.
fn forbidden_without_policy(posture: Posture, intent: &Intent) -> Option<Reason> {
    if posture == Posture::Images {
        return None;
    }
    if let Intent::Plugin(PluginCall::Change { change, .. }) = intent {
        return Some(Reason::PostureForbids { what: format!("plugin {}", verb(*change)) });
    }
    let strict = Policy {
        audit: AuditRule::GoOn,
        mode: Mode::Enforce,
        posture,
        host_access: Vec::new(),
        build: BuildRule::Deny,
        http2: Http2Rule::Open,
        plugins: Vec::new(),
        scopes: Vec::new(),
    };
    if let Intent::Network { host_access, .. } = intent {
        return forbidden(&strict, host_access);
    }
    match precheck(&strict, intent) {
        Some(Verdict::Allow(_)) => None,
        Some(Verdict::Deny(reason)) => Some(reason),
        // It needs facts, and so rules.
        None => Some(Reason::Internal),
    }
}

fn without_policy(fault: &str, intent: &Intent) -> Verdict {
    match intent {
        Intent::Read
        | Intent::Harmless
        | Intent::Rename { .. }
        | Intent::Remove { .. }
        | Intent::ContainerAccess(_)
        | Intent::Swarm
        | Intent::Volume { .. }
        | Intent::Network { .. }
        | Intent::NetworkPlugin { .. }
        // Settings are mended by disable, set and enable; a gate that is disabled is not asked about its own enable.
        | Intent::Plugin(PluginCall::Change { change: PluginChange::Disable | PluginChange::Set | PluginChange::Remove, .. }) => Verdict::Allow(Permit::new(Grounds::NoImage)),
        Intent::Unknown { route } => Verdict::Deny(Reason::RouteUnknown { route: route.clone() }),
        Intent::Unreadable(why) => Verdict::Deny(Reason::Unreadable(why.clone())),
        Intent::Pull(_)
        | Intent::Create(_)
        | Intent::Start(_)
        | Intent::Service(_)
        | Intent::Build(_)
        | Intent::Ingest(_)
        | Intent::Plugin(
            PluginCall::Create { .. }
            | PluginCall::Pull { .. }
            | PluginCall::Upgrade { .. }
            | PluginCall::Change { change: PluginChange::Enable, .. },
        ) => {
            Verdict::Deny(Reason::SettingFault { fault: fault.to_owned() })
        }
    }
}

/// What is to be asked of whom about an image, given what the host holds. Plain, so that it can be tested beside the decision.
#[must_use]
pub fn questions(policy: &Policy, image: &ImageFacts) -> Vec<(Repository, VerifierKind, Question)> {
    let mut out = Vec::new();
    for repository in &image.repositories {
        let Some(scope) = policy.scope(repository) else { continue };
        for verifier in scope.verifiers() {
            if let Some(question) = question(image, *verifier) {
                out.push((repository.clone(), *verifier, question));
            }
        }
    }
    out
}

fn question(image: &ImageFacts, verifier: VerifierKind) -> Option<Question> {
    let digests = match &image.local {
        Local::Present { digests, config, .. } => Some((digests, *config)),
        Local::NotAsked | Local::Absent => None,
    };
    let Some(reference) = image.judged_reference() else {
        return digests.map(|(digests, config)| content(verifier, digests, config));
    };
    match (digests, reference.digest, verifier) {
        // A registry-only scope has nobody to ask about a name; its content is judged when it is on the host.
        (None, _, VerifierKind::Registry) => None,
        (None, Some(digest), VerifierKind::Notary | VerifierKind::Allowlist) => Some(Question::AnyOf(vec![digest])),
        (None, None, VerifierKind::Notary | VerifierKind::Allowlist) => reference.tag.clone().map(Question::Tag),
        // "exact": the local content must carry the digest that the tag is signed as now.
        (Some(_), None, VerifierKind::Notary) => reference.tag.clone().map(Question::Tag),
        (Some((digests, config)), Some(_), VerifierKind::Notary)
        | (Some((digests, config)), _, VerifierKind::Allowlist | VerifierKind::Registry) => {
            Some(content(verifier, digests, config))
        }
    }
}

/// Who vouches for what is here. Image ids are an allowlist's alone: signatures and registries know manifests.
fn content(verifier: VerifierKind, digests: &[Digest], config: Option<Digest>) -> Question {
    match (verifier, config) {
        (VerifierKind::Allowlist, Some(config)) => Question::Content { digests: digests.to_vec(), config },
        (VerifierKind::Allowlist, None) | (VerifierKind::Notary | VerifierKind::Registry, _) => Question::AnyOf(digests.to_vec()),
    }
}

/// How many images the intent names; that many must be approved.
fn named_images(intent: &Intent) -> usize {
    match intent {
        Intent::Create(create) => 1 + create.image_mounts.len(),
        Intent::Service(Service::Spec { image_mounts, .. }) => 1 + image_mounts.len(),
        _ => 1,
    }
}

fn approve_all(policy: &Policy, images: &[ImageFacts], due: usize) -> Result<Vec<Approval>, Reason> {
    // INVARIANT: facts hold every image of the intent. Fewer would be silence, and silence means no.
    if images.len() != due {
        return Err(Reason::Internal);
    }
    images.iter().map(|image| approve(policy, image)).collect()
}

fn approve(policy: &Policy, image: &ImageFacts) -> Result<Approval, Reason> {
    match image.judged_reference() {
        Some(reference) => approve_name(policy, image, reference),
        None => approve_id(policy, image).map_err(|reason| of_id(&image.name.to_string(), reason)),
    }
}

/// The reason with the id that was typed, where it names a repository that was not.
fn of_id(id: &str, reason: Reason) -> Reason {
    match reason {
        reason @ (Reason::Trust { .. } | Reason::ContentMismatch { .. }) => {
            Reason::OfId { id: id.to_owned(), reason: Box::new(reason) }
        }
        // A container's own id says more than its image's, which nobody typed either.
        Reason::OfId { reason, .. } => Reason::OfId { id: id.to_owned(), reason },
        other => other,
    }
}

/// By name: the named repository's verifiers must all vouch, for the content that is here where some is.
fn approve_name(policy: &Policy, image: &ImageFacts, reference: &Reference) -> Result<Approval, Reason> {
    let scope = policy
        .scope(&reference.repository)
        .ok_or_else(|| Reason::RegistryNotAllowed { repository: reference.repository.clone() })?;
    let held = Held::of(&image.local);
    // The engine may take a reference for what it says, and a look at it for what its name was put on.
    if let (Some(expected), Some(held)) = (reference.digest, &held)
        && !held.digests.contains(&expected)
    {
        return Err(Reason::ContentMismatch { reference: reference.clone(), expected, held: held.told() });
    }
    let vouches = vouches(image, scope, &reference.repository, held.as_ref(), reference)?;
    Ok(Approval { id: held.map(|held| held.id), vouches })
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
    fn is(&self, vouch: &Vouch) -> bool {
        match vouch.hashed() {
            Hashed::Manifest => self.digests.contains(vouch.digest()),
            Hashed::Config => vouch.verifier() == VerifierKind::Allowlist && self.config.as_ref() == Some(vouch.digest()),
        }
    }

    /// What stands for it in a refusal.
    fn told(&self) -> Digest {
        self.digests.first().copied().unwrap_or(self.id)
    }
}

/// Every verifier of `scope` must vouch for `repository`, and for what is `held` where the content is known.
fn vouches(
    image: &ImageFacts,
    scope: &Scope,
    repository: &Repository,
    held: Option<&Held<'_>>,
    reference: &Reference,
) -> Result<Vec<Vouch>, Reason> {
    let mut out = Vec::new();
    for verifier in scope.verifiers() {
        if held.is_none() && *verifier == VerifierKind::Registry {
            continue;
        }
        let asked = answer(image, repository, *verifier).ok_or(Reason::Internal)?;
        let vouch =
            asked.answer.as_ref().map_err(|error| Reason::Trust { image: reference.to_string(), error: error.clone() })?;
        // The proof must be for this repository and this verifier, whoever filled in the facts.
        if vouch.repository() != repository || vouch.verifier() != *verifier {
            return Err(Reason::Internal);
        }
        let is_asked_for = |digest| vouch.hashed() == Hashed::Manifest && digest == *vouch.digest();
        match held {
            Some(held) if !held.is(vouch) => {
                let (expected, held) = (*vouch.digest(), held.told());
                return Err(Reason::ContentMismatch { reference: reference.clone(), expected, held });
            }
            None if reference.digest.is_some_and(|digest| !is_asked_for(digest)) => return Err(Reason::Internal),
            Some(_) | None => out.push(vouch.clone()),
        }
    }
    Ok(out)
}

fn answer<'a>(image: &'a ImageFacts, repository: &Repository, verifier: VerifierKind) -> Option<&'a Asked> {
    image.asked.iter().find(|asked| asked.repository == *repository && asked.verifier == verifier)
}

/// By id: one repository that is allowed and has a trail to this content must vouch for it, with all its verifiers.
fn approve_id(policy: &Policy, image: &ImageFacts) -> Result<Approval, Reason> {
    let Some(held) = Held::of(&image.local) else { return Err(Reason::ImageMissing { name: image.name.clone() }) };
    let mut refusals = Vec::new();
    for repository in &image.repositories {
        let Some(scope) = policy.scope(repository) else { continue };
        let reference = Reference { repository: repository.clone(), tag: None, digest: None };
        match vouches(image, scope, repository, Some(&held), &reference) {
            Ok(vouches) => return Ok(Approval { id: Some(held.id), vouches }),
            Err(reason) => refusals.push(reason),
        }
    }
    // Tell what can be mended: first what could not be asked, then what was said.
    let pressing = |reason: &Reason| match reason {
        Reason::Trust { error, .. } => {
            !matches!(error.code, TrustCode::NotSigned | TrustCode::NotListed | TrustCode::NoTrustData)
        }
        _ => false,
    };
    let chosen = refusals.iter().position(pressing).unwrap_or(0);
    if chosen < refusals.len() {
        return Err(refusals.swap_remove(chosen));
    }
    match image.repositories.first() {
        Some(repository) => Err(Reason::RegistryNotAllowed { repository: repository.clone() }),
        None => Err(Reason::ImageUnapproved { image: image.name.to_string() }),
    }
}

/// The refusal of the first way to the host that no rule opens.
fn forbidden(policy: &Policy, host_access: &[HostAccess]) -> Option<Reason> {
    policy.forbidden(host_access).map(|access| Reason::HostAccess { access: access.id, what: access.what.clone() })
}

/// The refusal of the first subnet that takes the way to an address that the gate itself uses.
fn covering(policy: &Policy, subnets: &[Subnet], own: &[IpAddr]) -> Option<Reason> {
    let covers = |subnet: &&Subnet| own.iter().any(|address| subnet.covers(*address));
    let host_access: Vec<HostAccess> =
        subnets.iter().filter(covers).map(|subnet| HostAccess { id: "network-subnet", what: subnet.to_string() }).collect();
    forbidden(policy, &host_access)
}

/// In posture `lockdown` each network must be known to be none of the host's.
fn inside(policy: &Policy, networks: &[String], facts: &[NetworkFacts]) -> Result<(), Reason> {
    if policy.posture == Posture::Images {
        return Ok(());
    }
    // INVARIANT: facts hold every network of the intent, as with images.
    if networks.len() != facts.len() {
        return Err(Reason::Internal);
    }
    for (network, fact) in networks.iter().zip(facts) {
        let what = match fact {
            NetworkFacts::Ordinary => continue,
            NetworkFacts::Host => "network:host".to_owned(),
            NetworkFacts::Unsure => format!("network:{network}"),
        };
        if let Some(reason) = forbidden(policy, &[HostAccess { id: "namespace", what }]) {
            return Err(reason);
        }
    }
    Ok(())
}

fn outside(policy: &Policy, repository: &Repository) -> Option<Reason> {
    match policy.scope(repository) {
        Some(_) => None,
        None => Some(Reason::RegistryNotAllowed { repository: repository.clone() }),
    }
}

fn precheck_create(policy: &Policy, create: &Create) -> Option<Reason> {
    let Some(image) = &create.image else { return Some(Reason::NoImage) };
    if let Some(reason) = create.image_mounts.iter().find_map(unpinned) {
        return Some(reason);
    }
    forbidden(policy, &create.host_access)
        .or_else(|| named_outside(policy, image))
        .or_else(|| create.image_mounts.iter().find_map(|mount| named_outside(policy, mount)))
}

/// A name that cannot be an id and lies outside every scope needs no look at the host.
fn named_outside(policy: &Policy, name: &ImageName) -> Option<Reason> {
    match name.reference() {
        Some(reference) if !name.may_be_id_prefix() => outside(policy, &reference.repository),
        Some(_) | None => None,
    }
}

/// An image mount's snapshot is taken by name after the check: only what cannot move is accepted.
fn unpinned(name: &ImageName) -> Option<Reason> {
    match name {
        ImageName::Id(_) => None,
        ImageName::Named { reference, .. } if reference.digest.is_some() => None,
        ImageName::Named { .. } | ImageName::IdPrefix(_) => Some(Reason::MountNeedsDigest { source: name.to_string() }),
    }
}

fn pinned_mounts(sources: &[String]) -> Result<(), Reason> {
    for source in sources {
        let name = ImageName::parse(source).map_err(|_| Reason::MountNeedsDigest { source: source.clone() })?;
        if let Some(reason) = unpinned(&name) {
            return Err(reason);
        }
    }
    Ok(())
}

fn precheck_service(policy: &Policy, service: &Service) -> Option<Reason> {
    let Service::Spec { image, image_mounts, plugin, host_access, networks: _ } = service else { return None };
    if let Some(plugin) = plugin {
        return Some(Reason::ServicePlugin { plugin: plugin.clone() });
    }
    let Some(image) = image else { return Some(Reason::NoImage) };
    forbidden(policy, host_access)
        .or_else(|| unpinned_service(image))
        .or_else(|| image_mounts.iter().find_map(unpinned))
        .or_else(|| named_outside(policy, image))
        .or_else(|| image_mounts.iter().find_map(|mount| named_outside(policy, mount)))
}

/// Tasks are placed later, on any node, unasked: the image must be pinned by a digest of its repository.
fn unpinned_service(image: &ImageName) -> Option<Reason> {
    match image.reference() {
        Some(reference) if reference.digest.is_some() => None,
        Some(_) | None => Some(Reason::ServiceNeedsDigest { image: image.to_string() }),
    }
}

fn pinned_service(images: &[String]) -> Result<(), Reason> {
    let Some((first, mounts)) = images.split_first() else { return Err(Reason::NoImage) };
    let image = ImageName::parse(first).map_err(|_| Reason::ServiceNeedsDigest { image: first.clone() })?;
    match unpinned_service(&image) {
        Some(reason) => Err(reason),
        None => pinned_mounts(mounts),
    }
}

fn decide_plugin(policy: &Policy, call: &PluginCall, facts: &Facts) -> Verdict {
    let refuse_self = |what: String| Verdict::Deny(Reason::SelfProtect { what });
    match (call, policy.posture) {
        // A plugin of the gate's own name would shadow it at the daemon's next start: refused in every posture.
        (PluginCall::Create { name }, _) if facts.about_self => refuse_self(format!("plugin create {name}")),
        (PluginCall::Pull { remote, .. }, _) if facts.about_self => refuse_self(format!("plugin install {remote}")),
        (PluginCall::Upgrade { plugin, .. }, _) if facts.about_self => refuse_self(format!("plugin upgrade {plugin}")),
        (PluginCall::Change { plugin, change }, Posture::Lockdown) if facts.about_self => {
            refuse_self(format!("plugin {} {plugin}", verb(*change)))
        }
        (PluginCall::Change { change, .. }, Posture::Lockdown) => {
            Verdict::Deny(Reason::PostureForbids { what: format!("plugin {}", verb(*change)) })
        }
        (PluginCall::Create { .. } | PluginCall::Pull { .. } | PluginCall::Upgrade { .. }, Posture::Lockdown) => {
            Verdict::Deny(Reason::PostureForbids { what: "installing a plugin".to_owned() })
        }
        (PluginCall::Change { plugin, change: PluginChange::Enable }, Posture::Images) => decide_enable(policy, plugin, facts),
        (PluginCall::Change { .. } | PluginCall::Create { .. }, Posture::Images) => Verdict::Allow(Permit::new(Grounds::NoImage)),
        (PluginCall::Pull { remote, .. } | PluginCall::Upgrade { remote, .. }, Posture::Images) => {
            if remote.digest.is_none() {
                return Verdict::Deny(Reason::PluginNeedsDigest { remote: remote.clone() });
            }
            match approve_all(policy, &facts.images, 1) {
                Ok(approvals) => Verdict::Allow(Permit::new(Grounds::Content(approvals))),
                Err(reason) => Verdict::Deny(reason),
            }
        }
    }
}

/// A plugin runs as root with what its configuration says, so both must be what was approved; also under the gate's own name, by
/// which another may stand in its place.
fn decide_enable(policy: &Policy, plugin: &str, facts: &Facts) -> Verdict {
    let refuse = |digest| Verdict::Deny(Reason::PluginUnapproved { plugin: plugin.to_owned(), digest });
    let Some(found) = &facts.plugin else { return refuse(None) };
    let Some(digest) = found.digest else { return refuse(None) };
    let is_named = || {
        let name = found.name.parse::<Reference>().ok().map(|name| Reference { digest: Some(digest), ..name.or_latest() });
        name.is_some_and(|name| policy.plugins.contains(&name))
    };
    if found.is_known {
        Verdict::Allow(Permit::new(Grounds::NoImage))
    } else if is_named() {
        Verdict::Allow(Permit::new(Grounds::Setting("ALLOW_PLUGINS")))
    } else {
        refuse(Some(digest))
    }
}

const fn verb(change: PluginChange) -> &'static str {
    match change {
        PluginChange::Enable => "enable",
        PluginChange::Disable => "disable",
        PluginChange::Set => "set",
        PluginChange::Remove => "rm",
    }
}
