//! Services of the swarm, and networks.

use serde::{Deserialize, Deserializer};

use super::{MountJson, image_sources, or_default};

/// A swarm service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its id.
    pub id: String,
    /// What its tasks run now.
    pub spec: ServiceSpec,
    /// What `rollback=previous` goes back to; `None` where it has never been updated.
    pub previous: Option<ServiceSpec>,
}

/// What a service's tasks run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceSpec {
    /// The image, as written; `None` where the specification has no containers.
    pub image: Option<String>,
    /// Sources of image mounts, as written.
    pub image_mounts: Vec<String>,
    /// `container` or empty; anything else (`plugin`, `attachment`) runs something else.
    pub runtime: String,
    /// The plugin that the service installs on nodes.
    pub plugin: Option<String>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// Its id: 64 hex digits, or a swarm id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `bridge`, `host`, `null`, `overlay` …
    pub driver: String,
    /// `local` or `swarm`.
    pub scope: String,
}

#[derive(Deserialize)]
struct ServiceJson {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Spec")]
    spec: SpecJson,
    #[serde(default, rename = "PreviousSpec", deserialize_with = "or_default")]
    previous: Option<SpecJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SpecJson {
    #[serde(default, deserialize_with = "or_default")]
    task_template: TaskJson,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct TaskJson {
    #[serde(default, deserialize_with = "or_default")]
    container_spec: Option<ContainerSpecJson>,
    #[serde(default, deserialize_with = "or_default")]
    plugin_spec: Option<PluginSpecJson>,
    #[serde(default, deserialize_with = "or_default")]
    runtime: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerSpecJson {
    #[serde(default, deserialize_with = "or_default")]
    image: String,
    #[serde(default, deserialize_with = "or_default")]
    mounts: Vec<MountJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PluginSpecJson {
    #[serde(default, deserialize_with = "or_default")]
    remote: String,
}

impl From<SpecJson> for ServiceSpec {
    fn from(json: SpecJson) -> Self {
        let (image, mounts) = match json.task_template.container_spec {
            Some(spec) => (Some(spec.image).filter(|image| !image.is_empty()), spec.mounts),
            None => (None, Vec::new()),
        };
        Self {
            image,
            image_mounts: image_sources(mounts),
            runtime: json.task_template.runtime,
            plugin: json.task_template.plugin_spec.map(|spec| spec.remote),
        }
    }
}

impl<'de> Deserialize<'de> for Service {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = ServiceJson::deserialize(deserializer)?;
        Ok(Self { id: json.id, spec: json.spec.into(), previous: json.previous.map(Into::into) })
    }
}
