//! This host to be looked at: the engine, what runs on it, its images.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::out;
use crate::doctor;
use crate::engine::{Api as _, Engine};
use crate::hardening::host::{Daemon, of_container, of_daemon};
use crate::hardening::{Finding, image};
use crate::image::{ImageConfig, ImageName};
use crate::policy::Settings;
use crate::text::clean;

/// How long the engine gets for one answer.
const TIME: Duration = Duration::from_secs(10);
/// Most containers and images that are looked at, each. More are told as not looked at.
const MOST: usize = 1000;

/// What was found, and what could not be looked at.
pub(super) async fn look(engine: &Engine, settings: &Settings) -> Result<(Vec<Finding>, Vec<String>), String> {
    let deadline = || Instant::now() + TIME;
    let mut unread = Vec::new();
    out::progress("the engine …");
    let info = engine.described_itself(deadline()).await.map_err(|error| error.to_string())?;
    let is_swarm = info.pointer("/Swarm/LocalNodeState").is_some_and(|state| state == "active");
    let dockerd = doctor::dockerd(engine, settings, is_swarm).await;
    if dockerd.words.is_none() {
        unread.push(
            "dockerd's process was not found, so its flags are not known: run this as root on the engine's host".to_owned(),
        );
    }
    let of_file = |key: &str| dockerd.file.as_ref().and_then(|file| file.get(key)).cloned();
    let daemon = Daemon { info: &info, file: &of_file, words: dockerd.words.as_deref(), open: dockerd.open.as_deref() };
    let mut findings = of_daemon(&daemon);
    containers(engine, &mut findings, &mut unread).await.map_err(|error| error.to_string())?;
    images(engine, &mut findings, &mut unread).await.map_err(|error| error.to_string())?;
    Ok((findings, unread))
}

async fn containers(
    engine: &Engine,
    findings: &mut Vec<Finding>,
    unread: &mut Vec<String>,
) -> Result<(), crate::engine::EngineError> {
    out::progress("containers …");
    let listed = engine.running(Instant::now() + TIME).await?;
    let left = listed.containers.len().saturating_sub(MOST) + listed.unread;
    if left > 0 {
        unread.push(format!("{left} containers were not looked at"));
    }
    for container in listed.containers.iter().take(MOST) {
        let name = container.names.first().map_or_else(|| container.id.to_string(), Clone::clone);
        let target = format!("container {}", clean(&name));
        match engine.described(&container.id, Instant::now() + TIME).await {
            Ok(Some(described)) => match of_container(&described, &target) {
                Ok(found) => findings.extend(found),
                Err(why) => unread.push(format!("{target}: {why}")),
            },
            // It has ended meanwhile.
            Ok(None) => {}
            Err(error) => unread.push(format!("{target}: {error}")),
        }
    }
    Ok(())
}

async fn images(
    engine: &Engine,
    findings: &mut Vec<Finding>,
    unread: &mut Vec<String>,
) -> Result<(), crate::engine::EngineError> {
    out::progress("images …");
    let listed = engine.images(Instant::now() + TIME).await?;
    if listed.len() > MOST {
        unread.push(format!("{} images were not looked at", listed.len() - MOST));
    }
    let mut seen = BTreeSet::new();
    for summary in listed.iter().take(MOST).filter(|summary| seen.insert(summary.id.to_string())) {
        let name = summary.repo_tags.first().map_or_else(|| summary.id.to_string(), ToString::to_string);
        let target = format!("image {}", clean(&name));
        let id = summary.id.to_string();
        let (found, made) =
            (engine.image(&id, Instant::now() + TIME).await, engine.history(&summary.id, Instant::now() + TIME).await);
        match (found, made) {
            (Ok(Some(found)), Ok(made)) => {
                let history: Vec<String> = made.unwrap_or_default().into_iter().rev().map(|made| made.created_by).collect();
                let config = ImageConfig { history: Some(history), ..found.config };
                findings.extend(image::of_config(&config, &target, ImageName::parse(&name).ok().as_ref(), crate::clock::now()));
            }
            // It has gone meanwhile.
            (Ok(None), _) => {}
            (Err(error), _) | (_, Err(error)) => unread.push(format!("{target}: {error}")),
        }
    }
    Ok(())
}
