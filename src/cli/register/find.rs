//! What is approved where names or ids are given: what the registry holds under a name, or this host.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::{NO, UNKNOWN, out};
use crate::engine::{self, Engine, Store};
use crate::image::{Digest, ImageName, Reference, Repository};
use crate::policy::Settings;
use crate::registry::{self, Child, Manifest, RegistryError, Wanted};
use crate::setup;
use crate::trust::allowlist::file::{Entry, PLATFORMS, PlatformEntry};

use super::short;

/// How long the engine gets for one answer.
pub(super) const ENGINE_TIME: Duration = Duration::from_secs(10);
/// How long a registry gets for one answer, tokens included.
const REGISTRY_TIME: Duration = Duration::from_secs(30);

/// Where content is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Host,
    Registry,
    /// What the registry holds, if this host does not hold other content under that name.
    Agreed,
}

/// An entry to be, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) entry: Entry,
    /// `host`, `registry`
    pub(super) source: &'static str,
    /// What the operator should know about it.
    pub(super) note: Option<String>,
}

/// Why something was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// There is none: an answer.
    Absent(String),
    /// It could not be told.
    Failed(String),
}

/// Looks everything up. The inner error is an exit code; what was missing has been told.
pub(super) fn find_all(
    names: &[ImageName],
    source: Source,
    ids: bool,
    settings: &Settings,
) -> Result<Result<Vec<Found>, u8>, String> {
    let engine = Engine::at(settings.docker_host()).map_err(|error| error.to_string())?;
    let registry = setup::registry(settings, setup::credentials_of_person(settings)?, HashMap::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let host: &dyn engine::Api = &engine;
    if ids
        && let Ok(info) = runtime.block_on(host.info(Instant::now() + ENGINE_TIME))
        && info.store == Store::Containerd
    {
        out::note("note: --image-id does nothing for this host: in the containerd store an image's id is its digest");
    }
    let mut all = Vec::new();
    let mut code = None;
    for name in names {
        match runtime.block_on(find(name, source, ids, &engine, &registry)) {
            Ok(found) => all.extend(found),
            Err(Missing::Absent(text)) => {
                out::fault(&text);
                code = Some(code.unwrap_or(NO));
            }
            Err(Missing::Failed(text)) => {
                out::fault(&text);
                code = Some(UNKNOWN);
            }
        }
    }
    Ok(match code {
        None => Ok(all),
        Some(code) => {
            out::note("nothing was changed");
            Err(code)
        }
    })
}

pub(super) async fn find(
    name: &ImageName,
    source: Source,
    ids: bool,
    engine: &dyn engine::Api,
    registry: &dyn registry::Api,
) -> Result<Vec<Found>, Missing> {
    let reference = match (name.reference(), source) {
        (Some(reference), Source::Registry | Source::Agreed) => reference,
        (Some(_), Source::Host) | (None, Source::Host | Source::Agreed) => {
            let image = on_host(name, source, engine).await?;
            let image = image.ok_or_else(|| Missing::Absent(format!("`{name}` is not on this host")))?;
            return Ok(from_host(name, &image, ids));
        }
        (None, Source::Registry) => return Err(Missing::Failed(format!("`{name}` is an image id; registries know names"))),
    };
    let held = if source == Source::Agreed { on_host(name, source, engine).await? } else { None };
    // An id that begins like the name is not meant by it.
    let held = held.filter(|image| reference.digest.is_some() || image.repo_tags.contains(reference));
    out::progress(&format!("asking registry {} for {reference} …", reference.repository.host_str()));
    let deadline = Instant::now() + REGISTRY_TIME;
    let manifest = match registry.manifest(&reference.repository, &Wanted::of(reference), deadline).await {
        Ok(manifest) => manifest,
        Err(error) => {
            let hint = held.map_or_else(String::new, |image| {
                format!(" (this host holds image {} under that name: --from-host approves it)", short(Some(image.id)))
            });
            let text = format!("{error}{hint}");
            let is_answer = matches!(error, RegistryError::NotFound { .. });
            return Err(if is_answer { Missing::Absent(text) } else { Missing::Failed(text) });
        }
    };
    let due = *manifest.digest();
    match held {
        Some(image) if !image.repo_digests.contains(&(reference.repository.clone(), due)) => Err(Missing::Failed(format!(
            "`{name}`: the registry holds {}, and this host other content, image {}; say --from-registry or --from-host",
            short(Some(due)),
            short(Some(image.id)),
        ))),
        Some(_) | None => {
            let of_platforms = layers(&manifest, &reference.repository, registry).await;
            let note = of_platforms.as_ref().err().map(|why| format!("`{name}`: its layers are not written: {why}"));
            let (platform, layers, platforms) = of_platforms.unwrap_or_default();
            let entry = Entry {
                digest: Some(due),
                image_id: manifest.config().filter(|_| ids),
                references: vec![reference.clone()],
                platform,
                layers,
                platforms,
                ..Entry::default()
            };
            Ok(vec![Found { entry, source: "registry", note }])
        }
    }
}

/// Platform and layers of an image; of an index those of each of its platforms, as far as they are told.
type Layers = (Option<String>, Vec<Digest>, Vec<PlatformEntry>);

/// What the manifest's configurations say of their layers: for people and for comparing, so that their absence costs no approval.
async fn layers(manifest: &Manifest, repository: &Repository, registry: &dyn registry::Api) -> Result<Layers, String> {
    let deadline = Instant::now() + REGISTRY_TIME;
    let of = async |digest: Digest| {
        let found = registry::configuration(registry, repository, digest, None, deadline).await;
        found.map(|config| (config.platform.to_string(), config.layers)).map_err(|error| error.to_string())
    };
    let children = manifest.children();
    if children.is_empty() {
        let (platform, layers) = of(*manifest.digest()).await?;
        return Ok((Some(platform).filter(|platform| platform != "/"), layers, Vec::new()));
    }
    // What is attached to an image runs nowhere (attestations of buildx).
    let runs = |child: &&Child| !child.platform.as_deref().is_some_and(|platform| platform.starts_with("unknown/"));
    let mut platforms = Vec::new();
    for child in children.iter().filter(runs) {
        if platforms.len() >= PLATFORMS {
            return Err(format!("it has more than {PLATFORMS} platforms"));
        }
        let (platform, layers) = of(child.digest).await?;
        let platform = child.platform.clone().unwrap_or(platform);
        platforms.push(PlatformEntry { platform, digest: child.digest, layers });
    }
    Ok((None, Vec::new(), platforms))
}

/// What this host holds under a name.
async fn on_host(name: &ImageName, source: Source, engine: &dyn engine::Api) -> Result<Option<engine::Image>, Missing> {
    engine.image(&name.to_string(), Instant::now() + ENGINE_TIME).await.map_err(|error| {
        let hint = if source == Source::Host { "" } else { " (--from-registry does without the engine)" };
        Missing::Failed(format!("`{name}`: {error}{hint}"))
    })
}

/// The entries for an image on this host: one for each digest that it has in the repository.
pub(super) fn from_host(name: &ImageName, image: &engine::Image, ids: bool) -> Vec<Found> {
    let references: Vec<Reference> = match name.reference() {
        // The engine may have read it as the beginning of an id.
        Some(reference) if reference.digest.is_some() || image.repo_tags.contains(reference) => vec![reference.clone()],
        Some(_) | None => image.repo_tags.clone(),
    };
    let in_repositories = |digest: &&Digest| match name.reference().and_then(|reference| reference.digest) {
        Some(asked) => asked == **digest,
        None => true,
    };
    let mut digests: Vec<Digest> = image
        .repo_digests
        .iter()
        .filter(|(repository, _)| references.iter().any(|reference| reference.repository == *repository))
        .map(|(_, digest)| digest)
        .filter(in_repositories)
        .copied()
        .collect();
    digests.sort();
    digests.dedup();
    let mut note = None;
    if references.is_empty() {
        note = Some(format!("`{name}` has no name on this host: it is approved in any repository"));
    } else if digests.is_empty() && image.store != Some(Store::Containerd) {
        note = Some(format!("`{name}` was not pulled under this name: its content is approved by its image id alone"));
    }
    // In the containerd store the id is the digest of a manifest or an index.
    let in_containerd = image.store == Some(Store::Containerd);
    let own = in_containerd.then_some(image.id);
    let digests = if digests.is_empty() { vec![own] } else { digests.into_iter().map(Some).collect() };
    let entry = |digest: Option<Digest>| Entry {
        digest,
        // Ids are written where asked, and where nothing else is known.
        image_id: Some(image.id).filter(|_| !in_containerd && (ids || digest.is_none())),
        references: references.clone(),
        platform: Some(image.config.platform.to_string()).filter(|platform| platform != "/"),
        layers: image.config.layers.clone(),
        ..Entry::default()
    };
    digests.into_iter().map(|digest| Found { entry: entry(digest), source: "host", note: note.take() }).collect()
}
