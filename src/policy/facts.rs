//! What was found out about a call: the input of [`super::decide()`] beside the intent. Filled by `gate`.

use std::sync::Arc;

use jiff::Timestamp;

use super::lifted::{Content, Times};
use crate::image::{Digest, ImageConfig, ImageName, Reference, Repository, RunsAs};
use crate::rego::{Passed, Refusal};
use crate::trust::{Question, TrustError, VerifierName, Vouch};

/// Everything found out about one call.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// About each image the call names, in the order of the intent (the container's image first, image mounts behind).
    pub images: Vec<ImageFacts>,
    /// The time by which the age of images is judged.
    pub now: Option<Timestamp>,
    /// The latest time that this host's clock has shown, as far as that is known: exceptions that have ended by then stay ended.
    pub latest: Option<Timestamp>,
    /// About the container a start names.
    pub container: Option<ContainerFacts>,
    /// About the service a rollback names.
    pub service: Option<ServiceFacts>,
    /// What each network of a service is ([`super::Policy::looks_at_networks`]), in the order of the intent.
    pub networks: Vec<NetworkFacts>,
    /// About the plugin that is to be enabled.
    pub plugin: Option<PluginFacts>,
    /// Addresses that the gate itself uses, where a network of the client's choice may cover them (posture `lockdown`).
    pub own_addresses: Vec<std::net::IpAddr>,
    /// How the container of a start runs; `None` where no rule in Rego looks at it.
    pub runs_as: Option<RunsAs>,
    /// Whether a plugin call is about the gate itself (by name, tag, id or id prefix).
    pub about_self: bool,
    /// What the rules in Rego say of the call; `None` where they were not asked.
    pub rego: Option<Result<Passed, Refusal>>,
    /// Something the call depends on could not be found out; it is refused with this.
    pub unknown: Option<super::Reason>,
}

impl Facts {
    /// How much room what images and containers say of themselves takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let configs = self.images.iter().filter_map(|image| image.config.known()).map(ImageConfig::bytes);
        configs.sum::<usize>() + self.runs_as.as_ref().map_or(0, RunsAs::bytes)
    }

    /// The time by which exceptions are judged.
    pub(super) fn times(&self) -> Option<Times> {
        let now = self.now?;
        Some(Times { now, latest: self.latest.unwrap_or(now) })
    }
}

/// The container of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerFacts {
    /// The engine has none of this name or id.
    Missing,
    /// It is there.
    Found {
        /// Its whole id.
        id: String,
        /// What it is called now.
        name: String,
        /// The image it was asked for with. No evidence of anything.
        image_ref: String,
        /// Its image's id; `None` for a container made without an image.
        image: Option<Digest>,
        /// Sources of image mounts as they were written at create.
        image_mounts: Vec<String>,
    },
}

/// A plugin that is to be enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFacts {
    /// Its whole id.
    pub id: String,
    /// Its name with tag.
    pub name: String,
    /// What its content and whole configuration are; `None` where the engine shows no digest of its content.
    pub digest: Option<Digest>,
    /// Whether it came by a verified digest, or was enabled when the gate first started, and is equal still.
    pub is_known: bool,
}

/// A network that a service's tasks would be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkFacts {
    /// One of the engine's or the swarm's own making.
    Ordinary,
    /// The host's.
    Host,
    /// The engine has none of this name or id, or may mean another by it.
    Unsure,
}

/// The specification that a rollback would bring back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceFacts {
    /// The engine has no such service, or it has no previous specification.
    Missing,
    /// The previous specification's images: the containers' first, then image mounts; as written.
    Previous {
        /// Image texts.
        images: Vec<String>,
    },
}

/// What is known of one image.
#[derive(Debug, Clone)]
pub struct ImageFacts {
    /// As the call, or the container, names it.
    pub name: ImageName,
    /// What the host holds under that name.
    pub local: Local,
    /// Repositories that may vouch for it.
    pub repositories: Vec<Repository>,
    /// What the verifiers said.
    pub asked: Vec<Asked>,
    /// What the rules in Rego about images say of it; `None` where they were not asked.
    pub rego: Option<Result<Passed, Refusal>>,
    /// What it says of itself, by the configuration that its digest commits to.
    pub config: ConfigFacts,
}

/// What is known of an image's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ConfigFacts {
    /// Nobody looked: no rule needs it, or who must vouch does not.
    #[default]
    NotAsked,
    /// It is this.
    Known(Arc<ImageConfig>),
    /// It cannot be had, and why.
    Unknown(String),
}

impl ConfigFacts {
    /// The configuration, where it is known.
    #[must_use]
    pub fn known(&self) -> Option<&ImageConfig> {
        match self {
            Self::Known(config) => Some(config),
            Self::NotAsked | Self::Unknown(_) => None,
        }
    }
}

/// What the host holds under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// Not looked for: the call names its content by digest or brings it in.
    NotAsked,
    /// The engine has no such image.
    Absent,
    /// The engine has it.
    Present {
        /// The image id.
        id: Digest,
        /// Whether the engine found it by name (else by id).
        by_name: bool,
        /// Digests of manifests and indexes that this content is known by: RepoDigests, the record of earlier approvals, and in
        /// the containerd store the id.
        digests: Vec<Digest>,
        /// The id where it is a configuration's (classic store). It never compares with `digests`: one file can be a
        /// manifest and a configuration at once, with other layers.
        config: Option<Digest>,
    },
}

/// One question put to one verifier, and its answer.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The repository asked about.
    pub repository: Repository,
    /// What the verifier calls it: the origin's, of a mirror.
    pub asked_as: Repository,
    /// Who was asked.
    pub verifier: VerifierName,
    /// What was asked.
    pub question: Question,
    /// What was answered.
    pub answer: Result<Vouch, TrustError>,
}

impl ImageFacts {
    /// The digests by which the content is known that this would run or bring: of what the host holds; of what is not here, the one that
    /// is asked for. None where the host holds other content than is asked for.
    #[must_use]
    pub fn content(&self) -> Content {
        match &self.local {
            Local::NotAsked | Local::Absent => {
                let asked_for = self.name.reference().and_then(|reference| reference.digest);
                Content { digests: asked_for.into_iter().collect(), config: None }
            }
            Local::Present { digests, config, .. } => {
                let asked_for = self.judged_reference().and_then(|reference| reference.digest);
                if asked_for.is_some_and(|digest| !digests.contains(&digest)) {
                    return Content::default();
                }
                Content { digests: digests.clone(), config: *config }
            }
        }
    }

    /// The reference under which the image is judged by name; `None` where it is judged by its id.
    #[must_use]
    pub fn judged_reference(&self) -> Option<&Reference> {
        match (&self.name, &self.local) {
            (ImageName::Named { .. }, Local::Present { by_name: false, .. }) => None,
            (ImageName::Named { reference, .. }, Local::NotAsked | Local::Absent | Local::Present { by_name: true, .. }) => {
                Some(reference)
            }
            (ImageName::Id(_) | ImageName::IdPrefix(_), _) => None,
        }
    }
}
