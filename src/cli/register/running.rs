//! `register --running`: what the containers run that run now, as this host has it.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::find::{ENGINE_TIME, Found, from_host};
use super::{places, short};
use crate::cli::out::Table;
use crate::engine::Api;
use crate::image::{Digest, ImageName, Reference};
use crate::text::fit;

/// Longest cell of a table, characters.
const CELL_CHARS: usize = 48;

/// What runs.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// The images, each with the containers that run it.
    pub(super) images: Vec<(String, Found)>,
    /// What is not registered, and why.
    pub(super) left_out: Vec<String>,
}

/// Looks at all containers that run.
pub(super) async fn running(engine: &dyn Api, ids: bool) -> Result<Running, String> {
    let listed = engine.running(Instant::now() + ENGINE_TIME).await.map_err(|error| error.to_string())?;
    let mut found = Running::default();
    if listed.unread > 0 {
        found.left_out.push(format!("{} containers of the engine's list cannot be read", listed.unread));
    }
    let mut by_image: BTreeMap<(String, Option<Digest>), Vec<String>> = BTreeMap::new();
    for container in listed.containers {
        let name = container.names.first().cloned().unwrap_or_else(|| container.id.as_str().chars().take(12).collect());
        by_image.entry((container.image_ref, container.image)).or_default().push(name.trim_start_matches('/').to_owned());
    }
    for ((image_ref, id), containers) in by_image {
        let containers = containers.join(", ");
        match of_host(engine, &image_ref, id, ids).await? {
            Ok(images) => found.images.extend(images.into_iter().map(|image| (containers.clone(), image))),
            Err(why) => found.left_out.push(format!("{containers}: {why}")),
        }
    }
    Ok(found)
}

/// The image by its id; what it was asked for with is a name of it only if it still has it. The inner error: it is left out.
async fn of_host(engine: &dyn Api, image_ref: &str, id: Option<Digest>, ids: bool) -> Result<Result<Vec<Found>, String>, String> {
    let Some(id) = id else { return Ok(Err("the engine does not say which image it runs".to_owned())) };
    let image = match engine.image(&id.to_string(), Instant::now() + ENGINE_TIME).await {
        Ok(image) => image,
        Err(error) if error.is_of_one() => return Ok(Err(error.to_string())),
        Err(error) => return Err(error.to_string()),
    };
    let Some(image) = image else {
        return Ok(Err(format!("its image {} is not on this host any more; register its name and digest", short(Some(id)))));
    };
    let named = ImageName::parse(image_ref).ok().and_then(|name| name.reference().cloned());
    let is_its = |reference: &Reference| match reference.digest {
        Some(digest) => image.repo_digests.contains(&(reference.repository.clone(), digest)),
        None => image.repo_tags.contains(reference),
    };
    // Its tag went to another image: it is approved in the repository that it was pulled from, under no tag.
    let pulled = |reference: Reference| {
        let digest = image.repo_digests.iter().find(|(repository, _)| *repository == reference.repository)?.1;
        Some(Reference { repository: reference.repository, tag: None, digest: Some(digest) })
    };
    let reference = match named {
        Some(reference) if is_its(&reference) => Some(reference),
        Some(reference) => pulled(reference),
        None => None,
    };
    let name = match reference {
        Some(reference) => ImageName::parse(&reference.to_string()).map_err(|error| error.to_string())?,
        None if image.repo_tags.is_empty() => {
            return Ok(Err(format!(
                "its image {} has no name any more, and would be approved in any repository; register its id",
                short(Some(id))
            )));
        }
        None => ImageName::Id(id),
    };
    Ok(Ok(from_host(&name, &image, ids)))
}

/// For people, before they are asked.
pub(super) fn table(running: &Running) -> Table<5> {
    let mut table = Table::new(["CONTAINERS", "IMAGE", "DIGEST", "IMAGE ID", "PLATFORM"]);
    for (containers, found) in &running.images {
        table.row([
            fit(containers, CELL_CHARS).into(),
            fit(&places(&found.entry), CELL_CHARS).into(),
            short(found.entry.digest).into(),
            short(found.entry.image_id).into(),
            found.entry.platform.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}
