//! What does a Docker API call mean, and which images does it touch? Says nothing about whether that is allowed;
//! `policy` does.
//!
//! [`Intent::of`] is total: every call gets an intent, and what dockerd might read in another way than we do is
//! [`Intent::Unreadable`].

mod action;
mod create;
mod describe;
mod host_access;
mod json;
mod named;
mod naming;
mod network;
mod other;
mod plugin;
mod pull;
mod query;
mod route;
mod service;
mod shown;
mod spelling;
mod start;
mod target;
mod terms;
#[cfg(test)]
mod tests;

use crate::image::{Digest, ImageName, Reference, Repository, Tag};
use crate::wire::Call;
pub use action::Action;
pub use named::{Named, Run, RunKind, RunSpec};
pub use naming::Naming;
pub use network::Subnet;
use route::Route;
pub use shown::Shown;
use target::Target;
pub use terms::{Cpu, Port, Restart, Terms, Ulimit, VolumeOptions};

/// What an API call would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// GET, HEAD, OPTIONS: reads state.
    Read,
    /// A known call that brings no image in, runs nothing new and changes no protection (stop, rm, push, prune, networks …).
    Harmless,
    /// `POST /images/create` with `fromImage`.
    Pull(Pull),
    /// `POST /containers/create`.
    Create(Box<Create>),
    /// `POST /containers/N/start` and `/restart`, and `/update` with a restart policy.
    Start(Start),
    /// `POST /containers/N/rename`.
    Rename {
        /// The container, as named in the call.
        container: String,
        /// The new name, without a leading slash.
        name: String,
    },
    /// `DELETE /containers/N`.
    Remove {
        /// The container, as named in the call.
        container: String,
    },
    /// `POST /services/create`, `/services/N/update`.
    Service(Service),
    /// `POST /build`, `/session`, `/grpc`: content the gate cannot see.
    Build(Build),
    /// Content comes in without a registry: it is allowed to lie about, not to start.
    Ingest(Ingest),
    /// A container's files or processes are driven.
    ContainerAccess(ContainerAccess),
    /// Plugins.
    Plugin(PluginCall),
    /// `POST /swarm/*`, `/nodes/N/update`: another manager may place containers here.
    Swarm,
    /// `POST /volumes/create`, `PUT /volumes/N`.
    Volume {
        /// What in the call gives access to the host: driver options, foreign drivers. Empty for a plain volume.
        host_access: Vec<HostAccess>,
        /// What the engine's own driver is told, where that is something.
        volumes: Vec<VolumeOptions>,
    },
    /// `POST /networks/create` with a built-in driver, and addresses or interfaces of the client's choice.
    Network {
        /// What in the call gives access to the host.
        host_access: Vec<HostAccess>,
        /// Subnets that are no host access as such, and may cover an address that the gate itself uses.
        subnets: Vec<Subnet>,
    },
    /// `POST /networks/create` with a driver that is not built in.
    NetworkPlugin {
        /// The driver.
        driver: String,
    },
    /// A method and route that no supported engine has. `route` is method and decoded path, bounded, without control characters.
    Unknown {
        /// Method and decoded path.
        route: String,
    },
    /// dockerd may act on something else than what can be read here.
    Unreadable(Unreadable),
}

/// A pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// The repository.
    pub repository: Repository,
    /// What of it.
    pub what: Pulled,
}

/// What of a repository is pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulled {
    /// One tag.
    Tag(Tag),
    /// One digest.
    Digest(Digest),
    /// No tag given: all of them.
    AllTags,
}

/// A new container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Create {
    /// The image; `None` makes a container with an empty root, to be filled later.
    pub image: Option<ImageName>,
    /// The name the container is to have (query `name`), without a leading slash.
    pub name: Option<String>,
    /// Sources of image mounts.
    pub image_mounts: Vec<ImageName>,
    /// Ways to the host that the call opens.
    pub host_access: Vec<HostAccess>,
    /// How the container is to run; `None` where nobody makes one, and the gate wants to know about its image.
    pub terms: Option<Terms>,
}

/// A start or restart of a container, or what arms it to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The container, as named in the call (percent-decoded).
    pub container: String,
    /// Which call.
    pub action: StartAction,
    /// What makes it more than a plain start.
    pub extra: Option<StartExtra>,
    /// What an update sets.
    pub terms: Option<Box<Terms>>,
}

/// Which of the calls that start a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAction {
    /// `/start`
    Start,
    /// `/restart`
    Restart,
    /// `/update` with a restart policy: the engine starts the container by itself from then on.
    Update,
}

/// What makes a start more than a plain start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartExtra {
    /// A body, shown or hidden: engines with API below 1.24 replace the host configuration by it.
    Body,
    /// `checkpoint` or `checkpoint-dir`: a process image from any folder.
    Checkpoint,
}

/// A service's new specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// `create`, or `update` with a specification.
    Spec {
        /// The image of its containers; `None` where the specification has none.
        image: Option<ImageName>,
        /// Sources of image mounts.
        image_mounts: Vec<ImageName>,
        /// A plugin to be installed on nodes (`PluginSpec.Remote`), or another runtime than containers.
        plugin: Option<String>,
        /// Ways to the host (mounts, capabilities …).
        host_access: Vec<HostAccess>,
        /// Networks as written, without those called `host`, which are host access. Clients give ids, so what each is, the engine knows.
        networks: Vec<String>,
        /// How the containers are to run; `None` as with [`Create`].
        terms: Option<Box<Terms>>,
    },
    /// `update?rollback=previous`: the previous specification acts, whatever the body says.
    Rollback {
        /// The service, as named in the call.
        service: String,
    },
}

/// Which of the build calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// `POST /build`
    Classic,
    /// `POST /session`
    Session,
    /// `POST /grpc`
    Grpc,
}

/// How content comes in without a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingest {
    /// `POST /images/load`
    Load,
    /// `POST /images/create` with `fromSrc`
    Import,
    /// `POST /commit`
    Commit,
    /// `POST /images/N/tag`
    Tag {
        /// What is named.
        source: String,
        /// The new name, where it can be read.
        target: Option<Reference>,
    },
}

/// How a container is driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerAccess {
    /// `POST /containers/N/exec`, not privileged; `/exec/N/start`.
    Exec {
        /// As whom, where the call says so.
        user: Option<String>,
    },
    /// `POST /containers/N/exec` with `Privileged`.
    PrivilegedExec {
        /// As whom, likewise.
        user: Option<String>,
    },
    /// `POST /containers/N/attach`, GET `/containers/N/attach/ws`.
    Attach,
    /// `PUT /containers/N/archive`: plants files.
    PutArchive,
    /// `POST /containers/N/update` without a restart policy: what it sets.
    Update(Box<Terms>),
    /// `POST /containers/N/checkpoints`, DELETE likewise.
    Checkpoint,
}

/// A call about plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginCall {
    /// `POST /plugins/pull`
    Pull {
        /// The remote reference.
        remote: Reference,
        /// The local name it is to have, without a digest: the one given, or else the remote one. Always known where `remote` is.
        name: Option<Reference>,
    },
    /// `POST /plugins/N/upgrade`
    Upgrade {
        /// The plugin as named in the call.
        plugin: String,
        /// The remote reference.
        remote: Reference,
    },
    /// `POST /plugins/create`
    Create {
        /// The name it is to have.
        name: String,
    },
    /// `enable`, `disable`, `set`, `push`, DELETE.
    Change {
        /// The plugin as named in the call.
        plugin: String,
        /// What is done.
        change: PluginChange,
    },
}

/// What is done to an installed plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginChange {
    /// `/enable`
    Enable,
    /// `/disable`
    Disable,
    /// `/set`
    Set,
    /// DELETE: the daemon refuses it of a plugin that is enabled
    Remove,
    /// DELETE with `force`: also of one that is enabled
    RemoveByForce,
}

/// A way to the host that a call opens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostAccess {
    /// Which, as a stable id: one of [`HostAccess::IDS`].
    pub id: &'static str,
    /// The evidence: the bind's source (without `.` and `..`, as the daemon cleans it), the capability, `pid:host`, `device=/` …;
    /// foreign text, at most 256 characters and then `…`.
    pub what: String,
}

impl HostAccess {
    /// A path of the host that is mounted, as the engine takes it: from the root on, without `.` and `..`.
    #[must_use]
    pub fn bind(path: &str) -> Self {
        Self { id: "bind", what: host_access::clean(&format!("/{path}")) }
    }

    /// Whether it may become another way to the host: swarm's nodes expand what services say of mounts.
    #[must_use]
    pub fn is_template(&self) -> bool {
        is_template(&self.what)
    }

    /// Every id there is.
    pub const IDS: &'static [&'static str] = &[
        "privileged",
        "bind",
        "mount",
        "volumes-from",
        "volume-driver",
        "volume-options",
        "device",
        "capability",
        "security-opt",
        "masked-paths",
        "readonly-paths",
        "namespace",
        "runtime",
        "cgroup-parent",
        "sysctl",
        "annotation",
        "log-driver",
        "network-subnet",
        "network-parent",
        "network-bridge",
    ];
}

/// Why dockerd may act on something else than what can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A body that dockerd reads and does not show.
    #[error("the call has a body that the daemon does not show to plugins")]
    HiddenBody,
    /// Empty as it is shown, but over HTTP/2 it may hide a form.
    #[error("the call's header Content-Type may hide a form if it came over HTTP/2, which this engine may serve")]
    MaybeForm,
    /// A JSON body was due and none is shown (too large, or none sent).
    #[error("the call's JSON body is missing, or too large for the daemon to show")]
    MissingBody,
    /// A JSON body that cannot be decoded.
    #[error("the call's JSON body cannot be decoded: {0}")]
    Json(String),
    /// One member given twice, or in two spellings.
    #[error("the call's JSON body gives `{0}` more than once")]
    Ambiguous(String),
    /// A member of another type than the daemon's.
    #[error("`{0}` in the call's JSON body has an unexpected type")]
    Type(String),
    /// The request target: bad escapes, separators, no path.
    #[error("the call's address cannot be decoded: {0}")]
    Uri(String),
    /// A query parameter that decides, given twice.
    #[error("the call gives the query parameter `{0}` more than once")]
    Query(String),
    /// Text that should be a reference, a tag or an image.
    #[error("{0}")]
    Reference(String),
    /// A container's name that the daemon's own grammar does not have; escaped and cut.
    #[error("`{0}` is not a container's name ([a-zA-Z0-9][a-zA-Z0-9_.-]+)")]
    Name(String),
    /// A mount of a type this gate does not know: what it brings in cannot be judged. Escaped and cut.
    #[error("`{0}` is a mount type this gate does not know")]
    MountType(String),
    /// Part of a service's mount that each node makes a path of by itself, after the check. Escaped and cut.
    #[error("`{0}` in a mount of the service is a template, and what it becomes on a node is not known")]
    Template(String),
    /// A body beside an import: it may be a form that makes a pull of it, and the daemon does not show which.
    #[error("an import of a file has a body that may hide a pull, and the daemon does not show it to plugins")]
    ImportBody,
    /// A member of `HostConfig` beside it, where some engines take it and others do not.
    #[error("the call's JSON body gives `{0}` outside HostConfig, where engines differ")]
    Outside(String),
    /// More members or levels than any honest body has.
    #[error("the call's JSON body is too large or too deep")]
    TooComplex,
}

/// Over which HTTP a call may have come to the engine. The call itself does not show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1 for certain: an engine older than 29.2, or one that refuses HTTP/2.
    Http1,
    /// Perhaps HTTP/2 (engines from 29.2 on, on listeners without TLS). There a client may send two Content-Length headers: the
    /// engine takes the first and shows the last, so `Content-Length: 0` beside a Content-Type no longer says that no form hides.
    /// Clients of such engines send no Content-Type with an empty body.
    MaybeHttp2,
}

/// In which control groups the engine puts a container whose create says nothing of that (`CgroupnsMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cgroupns {
    /// What the daemon's `default-cgroupns-mode` says, for every client: its own, or the host's by the operator's choice.
    #[default]
    Daemons,
    /// Its own; the host's, where the call is of an API version before 1.41, which the client chooses (hosts with control groups
    /// version 1 whose daemon's default is a container's own). Also where it is not known.
    HostBefore141,
}

/// What the engine makes of a call that the call itself does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Over which HTTP it may have come.
    pub transport: Transport,
    /// Its default for control groups.
    pub cgroupns: Cgroupns,
}

impl From<Transport> for Manner {
    fn from(transport: Transport) -> Self {
        Self { transport, cgroupns: Cgroupns::default() }
    }
}

/// A call, its target cut in two.
struct Asked<'c> {
    call: &'c Call,
    target: Target<'c>,
    manner: Manner,
}

/// The platform that a pull or a create asks for; `None`: the engine's own. What cannot be read names none.
#[must_use]
pub fn platform(call: &Call) -> Option<String> {
    let unreadable = || Some(String::new());
    let Ok(target) = Target::read(&call.uri) else { return unreadable() };
    let query = query::Query::read(target.query);
    match query.as_ref().map(|query| query.one("platform")) {
        Ok(Ok(platform)) => platform.map(str::to_owned),
        Ok(Err(_)) | Err(_) => unreadable(),
    }
}

impl Intent {
    /// What `call` would do, if it came over HTTP/1.
    #[must_use]
    pub fn of(call: &Call) -> Self {
        Self::over(call, Transport::Http1)
    }

    /// What `call` would do.
    #[must_use]
    pub fn over(call: &Call, manner: impl Into<Manner>) -> Self {
        Self::read(call, manner.into()).unwrap_or_else(Self::Unreadable)
    }

    fn read(call: &Call, manner: Manner) -> Result<Self, Unreadable> {
        let asked = Asked { call, target: Target::read(&call.uri)?, manner };
        let path = &asked.target.path;
        if matches!(call.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
            let attach = call.method == "GET" && route::is_attach(path);
            return Ok(if attach { Self::ContainerAccess(ContainerAccess::Attach) } else { Self::Read });
        }
        if call.uri.len() > target::CHANGE_BYTES {
            return Err(target::wrong("it is too long"));
        }
        match Route::of(&call.method, path) {
            Route::Harmless => Ok(Self::Harmless),
            Route::ImagesCreate => pull::images_create(&asked),
            Route::Load => Ok(Self::Ingest(Ingest::Load)),
            Route::Commit => Ok(Self::Ingest(Ingest::Commit)),
            Route::Tag(source) => pull::tag(source, &asked),
            Route::Create => create::create(&asked),
            Route::Start(container, action) => start::start(container, action, &asked),
            Route::Rename(container) => start::rename(container, &asked),
            Route::Update(container) => start::update(container, call),
            Route::Remove(container) => Ok(Self::Remove { container: container.to_owned() }),
            Route::Exec => other::exec(call),
            Route::ContainerAccess(drive) => Ok(Self::ContainerAccess(drive)),
            Route::ServiceCreate => service::create(&asked),
            Route::ServiceUpdate(service) => service::update(service, &asked),
            Route::Build(build) => Ok(Self::Build(build)),
            Route::PluginPull => plugin::pull(&asked),
            Route::PluginUpgrade(plugin) => plugin::upgrade(plugin, &asked),
            Route::PluginCreate => plugin::create(&asked),
            Route::PluginChange(plugin, change) => plugin::change(plugin, change, &asked),
            Route::Swarm => Ok(Self::Swarm),
            Route::VolumeCreate => other::volume(call),
            Route::VolumeUpdate(volume) => Ok(other::volume_update(volume)),
            Route::NetworkCreate => network::create(&asked),
            Route::Unknown => {
                let route = format!("{} {}", call.method, path);
                Ok(Self::Unknown { route: crate::text::fit(&route, ROUTE) })
            }
        }
    }
}

/// Whether Go's `text/template` would make something else of the text. Nothing but this opens what it acts on (swarmkit,
/// `template.newTemplate`).
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// Most characters of an unknown route that are kept.
const ROUTE: usize = 200;
