//! The engine itself: its version, and what it says of its host.

use serde::{Deserialize, Deserializer};

use super::or_default;

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
    /// The mirrors of Docker Hub that it asks first (`registry-mirrors`), URLs.
    pub mirrors: Vec<String>,
    /// Networks whose registries it may talk to without TLS.
    pub insecure_cidrs: Vec<String>,
    /// `rootless`, `userns`, `seccomp`, `cgroupns` … (`name=` parts of `SecurityOptions`).
    pub security: Vec<String>,
    /// `1` or `2`; empty for engines before 20.10, which know `1` alone.
    pub cgroup: String,
}

/// Which image store an engine has; decides what an image id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// The graph drivers': an image id is the config's digest.
    Classic,
    /// containerd's: an image id is the digest of the index or manifest.
    Containerd,
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
    #[serde(default, deserialize_with = "or_default")]
    mirrors: Vec<String>,
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
            mirrors: json.registry_config.mirrors,
            insecure_cidrs: json.registry_config.insecure_cidrs,
            security: json.security_options.iter().filter_map(name_of).collect(),
            cgroup: json.cgroup_version,
        })
    }
}
