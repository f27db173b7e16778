//! What the engine's answers say, reduced to what the gate needs (Docker Engine API, `ImageInspect`, `ContainerInspect` …).
//!
//! Go writes `null` for empty lists and maps, and leaves some members out by version; both mean empty here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::image::{Digest, ImageConfig, Platform, Reference, Repository, RunsAs};

/// An image on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The image id: config digest in the classic store, digest of the index or manifest in the containerd store.
    pub id: Digest,
    /// The store that has it, which says what the id is; `None` where the answer leaves that open.
    pub store: Option<Store>,
    /// Its names. What is no reference (`<none>:<none>`) is left out.
    pub repo_tags: Vec<Reference>,
    /// The digests it was pulled by, with the repository. In the containerd store the repository follows every local
    /// name and is no evidence of origin; a digest other than the id is one that only a name claims, and is left out, as is what
    /// is not `repository@sha256:…`.
    pub repo_digests: Vec<(Repository, Digest)>,
    /// What it says of itself, and its size here. Its history and the annotations of its manifest the engine shows elsewhere.
    pub config: ImageConfig,
}

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

/// A container in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSummary {
    /// Its full id.
    pub id: ContainerId,
    /// Its names, without the leading slash; the first is its own, others are links.
    pub names: Vec<String>,
    /// The id of the image it was made from. `None`: made without an image.
    pub image: Option<Digest>,
    /// What create was asked for, or the id where that name means another image now.
    pub image_ref: String,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
    pub state: String,
    /// The same for people, with how long: `Up 3 minutes`, `Exited (0) 2 seconds ago`.
    pub status: String,
}

/// An image in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// The image id.
    pub id: Digest,
    /// As [`Image::repo_tags`].
    pub repo_tags: Vec<Reference>,
    /// As [`Image::repo_digests`].
    pub repo_digests: Vec<(Repository, Digest)>,
}

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

/// A managed plugin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plugin {
    /// Its id, 64 hex digits; the name of its folder under `/run/docker/plugins`.
    pub id: String,
    /// Its name with tag.
    pub name: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Its settings, `NAME=value`. They may be anyone's secrets: shown to nobody who could not ask the engine.
    pub settings: Vec<String>,
    /// What it starts: program and arguments.
    pub entrypoint: Vec<String>,
    /// Folders of the host that it is shown: there, and inside.
    pub mounts: Vec<(String, String)>,
    /// What it was pulled by, as the engine notes it. One that was created has its name here, which never holds a digest.
    pub reference: String,
    /// SHA-256 of its whole configuration, root filesystem's digests and settings, as inspect shows them; `None` where there is no
    /// root filesystem's digest, so that nothing would stand for its content.
    pub digest: Option<Digest>,
    /// Whether its settings are what its configuration gives.
    pub has_default_settings: bool,
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

/// The engine's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `28.5.2`
    pub engine: String,
    /// Newest API version it speaks, `1.51`.
    pub api: String,
    /// Oldest API version it speaks.
    pub api_min: String,
    /// `linux`
    pub os: String,
    /// `amd64`
    pub architecture: String,
}

/// How the engine is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The engine's own id; changes with its data root.
    pub id: String,
    /// The host's name.
    pub host: String,
    /// Its version.
    pub engine: String,
    /// Which image store it has.
    pub store: Store,
    /// Authorization plugins it was *started* with. Those of a reload are missing here (20.10).
    pub authorization: Vec<String>,
    /// `active`, `inactive`, `pending`, `error`, `locked`.
    pub swarm: String,
    /// Its data root on the host.
    pub data_root: String,
    /// Whether containers go on while the engine is down.
    pub live_restore: bool,
    /// Networks whose registries it may talk to without TLS.
    pub insecure_cidrs: Vec<String>,
    /// `rootless`, `userns`, `seccomp`, `cgroupns` … (`name=` parts of `SecurityOptions`).
    pub security: Vec<String>,
    /// `1` or `2`; empty for engines before 20.10, which know `1` alone.
    pub cgroup: String,
}

/// A layer in an image's history, with what made it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Made {
    /// The instruction; may hold secrets.
    #[serde(default, deserialize_with = "or_default")]
    pub created_by: String,
}

/// Which image store an engine has; decides what an image id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// The graph drivers': an image id is the config's digest.
    Classic,
    /// containerd's: an image id is the digest of the index or manifest.
    Containerd,
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

/// `null` and absence are the same to Go.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The engine's "no image" is the empty string. Anything else must be a digest.
fn image_id<E: serde::de::Error>(text: &str) -> Result<Option<Digest>, E> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(E::custom) }
}

/// A time of the engine; Go's zero time (year 1) and what cannot be read are `None`.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|_| !text.starts_with("0001-"))
}

fn references(texts: &[String]) -> Vec<Reference> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn pulled(texts: &[String]) -> Vec<(Repository, Digest)> {
    let one = |text: &String| {
        let reference = text.parse::<Reference>().ok()?;
        Some((reference.repository, reference.digest?))
    };
    texts.iter().filter_map(one).collect()
}

fn unslashed(name: &str) -> String {
    name.strip_prefix('/').unwrap_or(name).to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageJson {
    id: Digest,
    #[serde(default, deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    repo_digests: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    created: String,
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    variant: String,
    #[serde(default)]
    size: Option<i64>,
    #[serde(default, rename = "RootFS", deserialize_with = "or_default")]
    root_fs: RootFsJson,
    #[serde(default, deserialize_with = "or_default")]
    config: ImageConfigJson,
    /// What the containerd store has under the name; the classic store has none (API 1.48 and newer).
    #[serde(default)]
    descriptor: Option<IgnoredAny>,
    #[serde(default)]
    graph_driver: Option<GraphDriverJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriverJson {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default)]
    data: Option<IgnoredAny>,
}

impl ImageJson {
    /// The store that has it. Before API 1.48 a snapshotter shows itself as a driver without data; of the graph drivers these
    /// two have none, and others may have none either (aufs, drivers that are plugins): such an answer leaves it open.
    fn store(&self, pulled: &[(Repository, Digest)]) -> Option<Store> {
        let is_graph = |driver: &GraphDriverJson| driver.data.is_some() || matches!(&*driver.name, "vfs" | "btrfs");
        // No configuration has the digest of the manifest that names it.
        let is_digest = pulled.iter().any(|(_, digest)| *digest == self.id);
        if self.descriptor.is_some() || is_digest {
            Some(Store::Containerd)
        } else {
            self.graph_driver.as_ref().is_some_and(is_graph).then_some(Store::Classic)
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct RootFsJson {
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct ImageConfigJson {
    #[serde(default, deserialize_with = "or_default")]
    user: String,
    #[serde(default, deserialize_with = "or_default")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    exposed_ports: serde_json::Map<String, serde_json::Value>,
    #[serde(default, deserialize_with = "or_default")]
    healthcheck: HealthcheckJson,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct HealthcheckJson {
    #[serde(default, deserialize_with = "or_default")]
    test: Vec<String>,
}

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = ImageJson::deserialize(deserializer)?;
        let mut repo_digests = pulled(&json.repo_digests);
        let store = json.store(&repo_digests);
        // An answer that leaves it open is read the strict way.
        if store != Some(Store::Classic) {
            // A name there may hold any digest (`docker load` takes it as it stands in the archive), and is shown like one that
            // was pulled by (moby, daemon/containerd/image_inspect.go).
            repo_digests.retain(|(_, digest)| *digest == json.id);
        }
        Ok(Self {
            id: json.id,
            store,
            repo_tags: references(&json.repo_tags),
            repo_digests,
            config: ImageConfig {
                created: time(&json.created),
                platform: Platform { os: json.os, architecture: json.architecture, variant: json.variant },
                layers: json.root_fs.layers.iter().filter_map(|layer| layer.parse().ok()).collect(),
                user: json.config.user,
                env: json.config.env,
                labels: json.config.labels,
                ports: json.config.exposed_ports.into_iter().map(|(port, _)| port).collect(),
                healthcheck: json.config.healthcheck.test,
                size: json.size.and_then(|size| u64::try_from(size).ok()),
                history: None,
                annotations: None,
            },
        })
    }
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

/// What is kept of how a container runs.
const RUNS_AS: [&str; 5] = ["User", "Env", "Labels", "ExposedPorts", "Healthcheck"];

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct ContainerConfigJson {
    #[serde(default, deserialize_with = "or_default")]
    image: String,
    #[serde(flatten)]
    others: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct HostConfigJson {
    #[serde(default, deserialize_with = "or_default")]
    mounts: Vec<MountJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MountJson {
    #[serde(default, deserialize_with = "or_default")]
    r#type: String,
    #[serde(default, deserialize_with = "or_default")]
    source: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StateJson {
    running: bool,
    #[serde(default, deserialize_with = "or_default")]
    started_at: String,
}

/// An image mount without a source stays in the list, as empty text: what cannot be traced must not vanish.
fn image_sources(mounts: Vec<MountJson>) -> Vec<String> {
    mounts.into_iter().filter(|mount| mount.r#type.eq_ignore_ascii_case("image")).map(|mount| mount.source).collect()
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
            image_ref: json.config.image,
            runs_as: RunsAs(json.config.others.into_iter().filter(|(name, _)| RUNS_AS.contains(&name.as_str())).collect()),
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
}

impl<'de> Deserialize<'de> for ContainerSummary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = ContainerSummaryJson::deserialize(deserializer)?;
        Ok(Self {
            id: json.id,
            names: json.names.iter().map(|name| unslashed(name)).collect(),
            image: image_id(&json.image_id)?,
            image_ref: json.image,
            state: json.state,
            status: json.status,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageSummaryJson {
    id: Digest,
    #[serde(default, deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    repo_digests: Vec<String>,
}

impl<'de> Deserialize<'de> for ImageSummary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = ImageSummaryJson::deserialize(deserializer)?;
        Ok(Self { id: json.id, repo_tags: references(&json.repo_tags), repo_digests: pulled(&json.repo_digests) })
    }
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

impl<'de> Deserialize<'de> for Plugin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Json {
            id: String,
            name: String,
            enabled: bool,
            #[serde(default, deserialize_with = "or_default")]
            plugin_reference: String,
            #[serde(default)]
            config: Value,
            #[serde(default)]
            settings: Value,
        }
        let Json { id, name, enabled, plugin_reference, config, settings } = Json::deserialize(deserializer)?;
        let env = texts(settings.get("Env"));
        Ok(Self {
            id,
            name,
            enabled,
            digest: plugin_digest(&config, &settings),
            has_default_settings: has_default_settings(&config, &settings),
            reference: plugin_reference,
            entrypoint: texts(config.get("Entrypoint")),
            mounts: mounts(&settings),
            settings: env,
        })
    }
}

fn mounts(settings: &Value) -> Vec<(String, String)> {
    let text = |mount: &Value, name: &str| mount.get(name).and_then(Value::as_str).map(str::to_owned);
    let mounts = settings.get("Mounts").and_then(Value::as_array).into_iter().flatten();
    mounts.filter_map(|mount| text(mount, "Source").zip(text(mount, "Destination"))).collect()
}

fn texts(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// The engine makes `diff_ids` itself when a plugin is created. Members come sorted, so that their order is no difference.
fn plugin_digest(config: &Value, settings: &Value) -> Option<Digest> {
    let layers = texts(config.pointer("/rootfs/diff_ids"));
    if layers.is_empty() || !layers.iter().all(|layer| layer.parse::<Digest>().is_ok()) {
        return None;
    }
    let whole = serde_json::json!({ "Config": config, "Settings": settings });
    Some(Digest::of(whole.to_string().as_bytes()))
}

/// As the engine makes them of the configuration (moby, plugin/v2, `InitEmptySettings`).
fn has_default_settings(config: &Value, settings: &Value) -> bool {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let given = |variable: &Value| {
        let value = variable.get("Value")?.as_str()?;
        Some(Value::from(format!("{}={value}", variable.get("Name")?.as_str()?)))
    };
    let env: Vec<Value> = list(config.get("Env")).iter().filter_map(given).collect();
    list(settings.get("Mounts")) == list(config.get("Mounts"))
        && list(settings.get("Devices")) == list(config.pointer("/Linux/Devices"))
        && list(settings.get("Args")) == list(config.pointer("/Args/Value"))
        && list(settings.get("Env")) == env
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

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Json {
            version: String,
            api_version: String,
            #[serde(default, rename = "MinAPIVersion", deserialize_with = "or_default")]
            api_min: String,
            #[serde(default, deserialize_with = "or_default")]
            os: String,
            #[serde(default, deserialize_with = "or_default")]
            arch: String,
        }
        let json = Json::deserialize(deserializer)?;
        Ok(Self { engine: json.version, api: json.api_version, api_min: json.api_min, os: json.os, architecture: json.arch })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InfoJson {
    #[serde(default, rename = "ID", deserialize_with = "or_default")]
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    server_version: String,
    #[serde(default, deserialize_with = "or_default")]
    driver_status: Vec<Vec<String>>,
    #[serde(default, deserialize_with = "or_default")]
    plugins: InfoPluginsJson,
    #[serde(default, deserialize_with = "or_default")]
    swarm: InfoSwarmJson,
    #[serde(default, deserialize_with = "or_default")]
    docker_root_dir: String,
    #[serde(default, deserialize_with = "or_default")]
    live_restore_enabled: bool,
    #[serde(default, deserialize_with = "or_default")]
    registry_config: InfoRegistryJson,
    #[serde(default, deserialize_with = "or_default")]
    security_options: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    cgroup_version: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct InfoPluginsJson {
    #[serde(default, deserialize_with = "or_default")]
    authorization: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct InfoSwarmJson {
    #[serde(default, deserialize_with = "or_default")]
    local_node_state: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct InfoRegistryJson {
    #[serde(default, rename = "InsecureRegistryCIDRs", deserialize_with = "or_default")]
    insecure_cidrs: Vec<String>,
}

impl<'de> Deserialize<'de> for Info {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = InfoJson::deserialize(deserializer)?;
        // moby, daemon/info.go: the containerd store reports `driver-type` `io.containerd.snapshotter.v1`.
        let is_snapshotter = |row: &Vec<String>| match row.as_slice() {
            [name, value] => name == "driver-type" && value.starts_with("io.containerd.snapshotter."),
            _ => false,
        };
        let store = if json.driver_status.iter().any(is_snapshotter) { Store::Containerd } else { Store::Classic };
        let name_of = |option: &String| option.split(',').find_map(|part| part.strip_prefix("name=")).map(str::to_owned);
        Ok(Self {
            id: json.id,
            host: json.name,
            engine: json.server_version,
            store,
            authorization: json.plugins.authorization,
            swarm: json.swarm.local_node_state,
            data_root: json.docker_root_dir,
            live_restore: json.live_restore_enabled,
            insecure_cidrs: json.registry_config.insecure_cidrs,
            security: json.security_options.iter().filter_map(name_of).collect(),
            cgroup: json.cgroup_version,
        })
    }
}

#[cfg(test)]
mod plugin_tests {
    use super::*;

    fn inspected() -> Value {
        let mount = serde_json::json!({"Name": "m", "Source": "/a", "Destination": "/b", "Settable": ["source"]});
        serde_json::json!({
            "Id": "f".repeat(64), "Name": "p:1", "Enabled": false, "PluginReference": "p:1",
            "Config": {
                "Entrypoint": ["/p"], "Mounts": [mount], "Env": [{"Name": "A", "Value": "1"}, {"Name": "B", "Value": null}],
                "Args": {"Value": null}, "Linux": {"Capabilities": null, "Devices": null},
                "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"layer").to_string()]}
            },
            "Settings": {"Mounts": [mount], "Env": ["A=1"], "Args": [], "Devices": []}
        })
    }

    fn read(value: &Value) -> Plugin {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn a_plugins_digest_covers_content_configuration_and_settings_and_not_its_name() {
        let whole = read(&inspected());
        assert!(whole.digest.is_some() && whole.has_default_settings && whole.settings == ["A=1"]);
        assert_eq!((whole.entrypoint.join(" "), &whole.mounts[..]), ("/p".to_owned(), &[("/a".to_owned(), "/b".to_owned())][..]));
        for (pointer, value) in [
            ("/Config/rootfs/diff_ids/0", Value::from(Digest::of(b"other").to_string())),
            ("/Config/Entrypoint/0", Value::from("/q")),
            ("/Config/Mounts/0/Source", Value::from("/")),
            ("/Config/Linux/Capabilities", serde_json::json!(["CAP_SYS_ADMIN"])),
            ("/Settings/Mounts/0/Source", Value::from("/")),
            ("/Settings/Env/0", Value::from("A=2")),
        ] {
            let mut changed = inspected();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert_ne!(read(&changed).digest, whole.digest, "{pointer}");
            let of_settings = pointer.contains("Mounts") || pointer.contains("Settings");
            assert_eq!(read(&changed).has_default_settings, !of_settings, "{pointer}");
        }
        for (pointer, value) in [("/Name", "q:1"), ("/PluginReference", "q:1")] {
            let mut changed = inspected();
            *changed.pointer_mut(pointer).unwrap() = value.into();
            assert_eq!(read(&changed).digest, whole.digest, "{pointer}");
        }
        let mut empty = inspected();
        *empty.pointer_mut("/Config/rootfs").unwrap() = Value::Null;
        assert_eq!(read(&empty).digest, None);
    }
}
