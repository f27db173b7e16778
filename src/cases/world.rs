//! What a case says of a host and of a registry, as an engine and a registry in memory show it.

use std::pin::Pin;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::engine::{Container, ContainerId, Image, Store};
use crate::image::{Digest, Host, ImageConfig, Platform, Reference, Repository, RunsAs};
use crate::policy::{Case, CaseConfig, CaseImage, When};
use crate::registry::{Api, Listing, Manifest, RegistryError, Reply, Wanted};

/// The image's configuration at this time; an empty one where the case says nothing.
fn config(image: &CaseImage, now: Timestamp) -> Option<ImageConfig> {
    match &image.config {
        CaseConfig::Unstated | CaseConfig::Unknown => None,
        CaseConfig::Known { config, age_days } => {
            let created = config.created.or_else(|| When::DaysAgo((*age_days)?).seen_from(now));
            Some(ImageConfig { created, ..(**config).clone() })
        }
    }
}

fn id(image: &CaseImage) -> Digest {
    image.image_id.unwrap_or(image.digest)
}

/// The image on the host.
pub(super) fn image(image: &CaseImage, now: Timestamp) -> Image {
    let tagged = image.references().filter(|reference| reference.digest.is_none());
    let digests = || std::iter::once(&image.digest).chain(&image.digests);
    Image {
        id: id(image),
        store: Some(if image.image_id.is_some() { Store::Classic } else { Store::Containerd }),
        repo_tags: tagged.cloned().collect(),
        repo_digests: image
            .references()
            .flat_map(|reference| digests().map(|digest| (reference.repository.clone(), *digest)))
            .collect(),
        config: config(image, now).unwrap_or_default(),
    }
}

/// The id of a case's container: one that is like no other's.
pub(super) fn container_id(case: &Case) -> Result<ContainerId, String> {
    Digest::of(case.name.as_bytes()).hex().parse::<ContainerId>().map_err(|error| error.to_string())
}

/// The container of the image that a start names.
pub(super) fn container(image: &CaseImage, named: &str, now: Timestamp) -> Result<Container, String> {
    let id = named.parse::<ContainerId>();
    let id = id.or_else(|_| Digest::of(named.as_bytes()).hex().parse()).map_err(|error| error.to_string())?;
    Ok(Container {
        id,
        name: named.trim_start_matches('/').to_owned(),
        image: Some(self::id(image)),
        manifest: None,
        platform: None,
        image_ref: image.name.to_string(),
        runs_as: config(image, now).map(|config| RunsAs::of_members(&config.runs_as())).unwrap_or_default(),
        mounts: Vec::new(),
        running: false,
        started_at: None,
    })
}

/// A registry that tells what the case says of its image, and has nothing else.
pub(super) struct Described(Result<ImageConfig, &'static str>);

impl Described {
    pub(super) fn of(case: &Case, now: Timestamp) -> Self {
        let image = case.image.as_ref();
        let known = image.and_then(|image| config(image, now));
        Self(known.ok_or("the case does not say what the image is (`config`)"))
    }
}

fn none<T>(repository: &Repository, wanted: &Wanted) -> Result<T, RegistryError> {
    Err(RegistryError::NotFound { host: repository.host_str().to_owned(), what: wanted.in_repository(repository) })
}

impl Api for Described {
    fn manifest<'a>(&'a self, repository: &'a Repository, wanted: &'a Wanted, _: Instant) -> Reply<'a, Manifest> {
        Box::pin(std::future::ready(none(repository, wanted)))
    }

    fn blob<'a>(&'a self, repository: &'a Repository, digest: Digest, _: u64, _: Instant) -> Reply<'a, Vec<u8>> {
        Box::pin(std::future::ready(none(repository, &Wanted::Digest(digest))))
    }

    fn referrers<'a>(&'a self, repository: &'a Repository, digest: Digest, _: Instant) -> Reply<'a, Option<Listing>> {
        Box::pin(std::future::ready(none(repository, &Wanted::Digest(digest))))
    }

    fn image<'a>(
        &'a self,
        reference: &'a Reference,
        _: Option<Digest>,
        _: Option<&'a Platform>,
        _: Instant,
    ) -> Reply<'a, ImageConfig> {
        let told = self.0.clone();
        let unknown = |cause: &str| RegistryError::Undecodable { what: reference.to_string(), cause: cause.to_owned() };
        Box::pin(std::future::ready(told.map_err(unknown)))
    }

    fn is_gone<'a>(&'a self, _: &'a Host, _: Instant) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(std::future::ready(false))
    }
}
