//! Containers: one as the engine inspects it, those of a list, and what is run in them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::super::{CallLimits, EngineError};
use super::{MountJson, image_id, image_sources, or_default, time};
use crate::image::{Digest, Platform, RunsAs};

/// Most of a container's names in a list that is kept, bytes.
const NAMES_BYTES: usize = 4 << 10;
/// Longest label of the swarm's, bytes: more than the name of a service or the id of a task has. What is longer is not the swarm's.
const LABEL_BYTES: usize = 256;

/// A container on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its full id, which no other container ever has.
    pub id: ContainerId,
    /// Its name now, without the leading slash.
    pub name: String,
    /// The id of the image it was made from; cannot change. `None`: made without an image.
    pub image: Option<Digest>,
    /// In the containerd store: digest of the manifest of its platform.
    pub manifest: Option<Digest>,
    /// And that platform, where the engine tells it.
    pub platform: Option<Platform>,
    /// What create was asked for (`Config.Image`). No evidence of anything.
    pub image_ref: String,
    /// How it runs, whatever its image says.
    pub runs_as: RunsAs,
    /// Sources of its image mounts, as they were written at create.
    pub mounts: Vec<String>,
    /// Whether it runs.
    pub running: bool,
    /// When it was last started; `None`: never.
    pub started_at: Option<Timestamp>,
}

/// A container's full id: 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(Box<str>);

/// What is no full container id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a container id of 64 lower-case hex digits")]
pub struct ContainerIdError(String);

/// A container in a list. Of one whose row is larger than may be, or cannot be read, there is the id alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSummary {
    /// Its full id.
    pub id: ContainerId,
    /// Its names, without the leading slash; the first is its own, others are links (`PARENT/ALIAS`), of which a client can make any number:
    /// those beyond 4 KiB are left out.
    pub names: Vec<String>,
    /// The id of the image it was made from. `None`: made without an image.
    pub image: Option<Digest>,
    /// What create was asked for, or the id where that name means another image now.
    pub image_ref: String,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
    pub state: String,
    /// The same for people, with how long: `Up 3 minutes`, `Exited (0) 2 seconds ago`.
    pub status: String,
    /// When it was made, where the engine says.
    pub created: Option<Timestamp>,
    /// What its labels say of a task of the swarm. A client can write them too.
    pub claim: Option<TaskClaim>,
}

/// Containers, as far as the engine's list of them could be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// The containers.
    pub containers: Vec<ContainerSummary>,
    /// How many rows could not be read, not even an id.
    pub unread: usize,
}

impl Listed {
    /// All, if each could be read.
    pub fn whole(self) -> Result<Vec<ContainerSummary>, EngineError> {
        if self.unread > 0 || self.containers.iter().any(ContainerSummary::is_id_alone) {
            return Err(EngineError::TooLarge {
                what: "a row of the engine's list of containers".to_owned(),
                limit: CallLimits::default().object_bytes as u64,
            });
        }
        Ok(self.containers)
    }
}

impl ContainerSummary {
    /// Whether nothing but its id could be read: the engine gives each a state.
    #[must_use]
    pub fn is_id_alone(&self) -> bool {
        self.state.is_empty()
    }
}

/// A container's labels say that the swarm made it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskClaim {
    /// The service's name.
    pub service: String,
    /// The task's id.
    pub task: String,
}

/// A task of the swarm, as a manager knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The container that it is, where there is one yet.
    pub container: Option<ContainerId>,
}

/// An exec instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// The container it runs in.
    pub container: ContainerId,
    /// Whether it has all capabilities.
    pub privileged: bool,
    /// Whether it runs.
    pub running: bool,
}

/// What came of a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    /// It ran and was sent SIGKILL.
    Sent,
    /// It did not run.
    NotRunning,
    /// There is no such container.
    Gone,
}

/// What came of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It ran, and does no more.
    Done,
    /// It did not run.
    NotRunning,
    /// There is no such container.
    Gone,
}

/// What came of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Done,
    /// It was gone, or somebody removes it already.
    Gone,
}

impl ContainerId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = ContainerIdError;

    fn from_str(text: &str) -> Result<Self, ContainerIdError> {
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.into()))
        } else {
            Err(ContainerIdError(crate::text::fit(text, 80)))
        }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for ContainerId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ContainerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn unslashed(name: &str) -> String {
    name.strip_prefix('/').unwrap_or(name).to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerJson {
    id: ContainerId,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    image: String,
    #[serde(default, deserialize_with = "or_default")]
    image_manifest_descriptor: Option<DescriptorJson>,
    #[serde(default, deserialize_with = "or_default")]
    config: ContainerConfigJson,
    #[serde(default, deserialize_with = "or_default")]
    host_config: HostConfigJson,
    state: StateJson,
}

#[derive(Deserialize)]
struct DescriptorJson {
    digest: Digest,
    #[serde(default, deserialize_with = "or_default")]
    platform: Option<PlatformJson>,
}

#[derive(Deserialize)]
struct PlatformJson {
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    variant: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct ContainerConfigJson {
    #[serde(default, deserialize_with = "or_default")]
    image: String,
    user: Option<Box<RawValue>>,
    env: Option<Box<RawValue>>,
    labels: Option<Box<RawValue>>,
    exposed_ports: Option<Box<RawValue>>,
    healthcheck: Option<Box<RawValue>>,
}

impl ContainerConfigJson {
    fn runs_as(&self) -> RunsAs {
        let all = [
            ("User", &self.user),
            ("Env", &self.env),
            ("Labels", &self.labels),
            ("ExposedPorts", &self.exposed_ports),
            ("Healthcheck", &self.healthcheck),
        ];
        RunsAs::of(all.into_iter().filter_map(|(name, json)| Some((name, json.as_ref()?.get()))))
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct HostConfigJson {
    #[serde(default, deserialize_with = "or_default")]
    mounts: Vec<MountJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StateJson {
    running: bool,
    #[serde(default, deserialize_with = "or_default")]
    started_at: String,
}

impl<'de> Deserialize<'de> for Container {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = ContainerJson::deserialize(deserializer)?;
        let manifest = json.image_manifest_descriptor.as_ref().map(|descriptor| descriptor.digest);
        let platform = json.image_manifest_descriptor.and_then(|descriptor| descriptor.platform);
        let platform = platform.map(|PlatformJson { os, architecture, variant }| Platform { os, architecture, variant });
        Ok(Self {
            id: json.id,
            name: unslashed(&json.name),
            image: image_id(&json.image)?,
            manifest,
            platform,
            runs_as: json.config.runs_as(),
            image_ref: json.config.image,
            mounts: image_sources(json.host_config.mounts),
            running: json.state.running,
            started_at: time(&json.state.started_at),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerSummaryJson {
    id: ContainerId,
    #[serde(default, deserialize_with = "or_default")]
    names: Vec<String>,
    #[serde(default, rename = "ImageID", deserialize_with = "or_default")]
    image_id: String,
    #[serde(default, deserialize_with = "or_default")]
    image: String,
    #[serde(default, deserialize_with = "or_default")]
    state: String,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(default, deserialize_with = "or_default")]
    created: i64,
    #[serde(default, deserialize_with = "or_default")]
    labels: LabelsJson,
}

/// The labels that dockerd gives to containers of tasks (moby, daemon/cluster/executor/container/container.go).
#[derive(Deserialize, Default)]
struct LabelsJson {
    #[serde(default, rename = "com.docker.swarm.service.name")]
    service: Option<String>,
    #[serde(default, rename = "com.docker.swarm.task.id")]
    task: Option<String>,
}

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Json {
            #[serde(default, deserialize_with = "or_default")]
            status: Status,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase")]
        struct Status {
            #[serde(default, deserialize_with = "or_default")]
            container_status: Of,
        }
        #[derive(Deserialize, Default)]
        struct Of {
            #[serde(default, rename = "ContainerID", deserialize_with = "or_default")]
            container: String,
        }
        let json = Json::deserialize(deserializer)?;
        Ok(Self { container: json.status.container_status.container.parse().ok() })
    }
}

impl<'de> Deserialize<'de> for ContainerSummary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = ContainerSummaryJson::deserialize(deserializer)?;
        let mut names: Vec<String> = json.names.iter().map(|name| unslashed(name)).collect();
        // The engine gives them in any order.
        if let Some(own) = names.iter().position(|name| !name.contains('/')) {
            names.swap(0, own);
        }
        let mut room = NAMES_BYTES;
        names.retain(|name| {
            let fits = name.len() <= room;
            room -= if fits { name.len() } else { 0 };
            fits
        });
        let short = |label: &String| label.len() <= LABEL_BYTES;
        Ok(Self {
            id: json.id,
            names,
            image: image_id(&json.image_id)?,
            image_ref: json.image,
            state: json.state,
            status: json.status,
            created: Timestamp::from_second(json.created).ok().filter(|_| json.created > 0),
            claim: json.labels.service.filter(short).map(|service| {
                let task = json.labels.task.filter(short).unwrap_or_default();
                TaskClaim { service, task }
            }),
        })
    }
}

impl<'de> Deserialize<'de> for Exec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Json {
            running: bool,
            #[serde(rename = "ContainerID")]
            container_id: ContainerId,
            #[serde(default, deserialize_with = "or_default")]
            process_config: Option<Process>,
        }
        #[derive(Deserialize)]
        struct Process {
            privileged: Option<bool>,
        }
        let json = Json::deserialize(deserializer)?;
        // Engines on Linux always say. Where one does not, the stronger reading holds.
        let privileged = json.process_config.and_then(|process| process.privileged).unwrap_or(true);
        Ok(Self { container: json.container_id, privileged, running: json.running })
    }
}
