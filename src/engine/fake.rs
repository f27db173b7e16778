//! An engine in memory: for tests of whoever asks one, and for cases, which say what is on a host.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{
    Api, Container, ContainerId, ContainerSummary, EngineError, Exec, Http2, Image, ImageSummary, Info, Killed, Link, Listed,
    Made, Network, Nudges, Plugin, Present, PresentImage, Removed, Reply, Service, Stopped, Store, Task, TaskClaim, Version,
};
use crate::image::{Digest, ImageConfig, ImageName, Reference};

/// An engine in memory. Resolves names as a real one does: whole ids, then names, then beginnings of ids that fit one object.
#[derive(Debug, Default)]
pub struct Fake {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    images: Vec<Image>,
    containers: Vec<Container>,
    services: Vec<Service>,
    networks: Vec<Network>,
    plugins: Vec<Plugin>,
    outage: Option<EngineError>,
    asks: Option<Asks>,
    http2: Option<Http2>,
    /// The other ends of links.
    links: Vec<std::os::unix::net::UnixStream>,
    release: Option<String>,
    cgroup: Option<String>,
    security: Option<Vec<String>>,
    mirrors: Vec<String>,
    calls: Vec<String>,
    killed: Vec<ContainerId>,
    locked: Vec<ContainerId>,
    claims: Vec<(ContainerId, TaskClaim)>,
    tasks: Vec<(String, Task)>,
    task_outage: Option<EngineError>,
    is_swarm: bool,
    unread: usize,
    large: Vec<ContainerId>,
    labelled: Vec<Digest>,
    hollow: Vec<Digest>,
    overgrown: Vec<ContainerId>,
    slow: Vec<Digest>,
    unread_images: usize,
    is_list_slow: bool,
    are_stops_slow: bool,
    nudged: Vec<tokio::sync::mpsc::Sender<()>>,
}

/// Whom the engine asks about each call before it answers.
#[derive(Clone)]
struct Asks(std::sync::Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Asks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asks")
    }
}

impl Fake {
    /// An engine with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an image on the host. Its names are taken from the image that had them, as `docker tag` does.
    pub fn put_image(&self, image: Image) {
        let mut state = self.lock();
        for other in &mut state.images {
            other.repo_tags.retain(|tag| !image.repo_tags.contains(tag));
        }
        state.images.retain(|other| other.id != image.id);
        state.images.push(image);
    }

    /// Puts a container on the host, in place of one with the same id.
    pub fn put_container(&self, container: Container) {
        let mut state = self.lock();
        state.containers.retain(|other| other.id != container.id);
        state.containers.push(container);
    }

    /// Gives a container another name.
    pub fn rename(&self, id: &ContainerId, name: &str) {
        for container in self.lock().containers.iter_mut().filter(|container| container.id == *id) {
            name.clone_into(&mut container.name);
        }
    }

    /// From now on a client holds this container's lock, or no more: it cannot be killed.
    pub fn lock_container(&self, id: &ContainerId, is_locked: bool) {
        let mut state = self.lock();
        state.locked.retain(|locked| locked != id);
        if is_locked {
            state.locked.push(id.clone());
        }
    }

    /// Tells whoever listens that something has begun or come.
    pub fn nudge(&self) {
        self.lock()
            .nudged
            .retain(|nudged| !matches!(nudged.try_send(()), Err(tokio::sync::mpsc::error::TrySendError::Closed(()))));
    }

    /// Ends all streams of events.
    pub fn end_nudges(&self) {
        self.lock().nudged.clear();
    }

    /// This container's labels say that it is a task; and what a manager knows of that task, where the engine is one.
    pub fn claims_task(&self, id: &ContainerId, claim: TaskClaim, known: Option<Task>) {
        let mut state = self.lock();
        if let Some(task) = known {
            state.tasks.push((claim.task.clone(), task));
        }
        state.claims.push((id.clone(), claim));
    }

    /// From now on this container's labels are larger than an answer may be.
    pub fn enlarge(&self, id: &ContainerId) {
        self.lock().large.push(id.clone());
    }

    /// From now on this image has more labels than are read.
    pub fn label(&self, image: Digest) {
        self.lock().labelled.push(image);
    }

    /// From now on this image is in the list, or no more, and there is none where it is asked for.
    pub fn hollow(&self, image: Digest, is_hollow: bool) {
        let mut state = self.lock();
        state.hollow.retain(|hollow| *hollow != image);
        if is_hollow {
            state.hollow.push(image);
        }
    }

    /// From now on there is no answer in time where this image is asked for.
    pub fn slow(&self, image: Digest) {
        self.lock().slow.push(image);
    }

    /// From now on there is no list of images in time, or there is again.
    pub fn slow_list(&self, is_slow: bool) {
        self.lock().is_list_slow = is_slow;
    }

    /// Takes an image off the host.
    pub fn remove_image(&self, image: Digest) {
        self.lock().images.retain(|held| held.id != image);
    }

    /// From now on so many rows of the list of images cannot be read.
    pub fn leave_images_unread(&self, rows: usize) {
        self.lock().unread_images = rows;
    }

    /// From now on no container stops in time.
    pub fn slow_stops(&self) {
        self.lock().are_stops_slow = true;
    }

    /// From now on this container's row is larger than may be: its id alone is listed.
    pub fn overgrow(&self, id: &ContainerId) {
        self.lock().overgrown.push(id.clone());
    }

    /// From now on so many rows of the list of what runs cannot be read.
    pub fn leave_unread(&self, rows: usize) {
        self.lock().unread = rows;
    }

    /// From now on a look at a task ends like this.
    pub fn fail_tasks_with(&self, error: EngineError) {
        self.lock().task_outage = Some(error);
    }

    /// From now on the engine is a manager of a swarm.
    pub fn join_swarm(&self) {
        self.lock().is_swarm = true;
    }

    /// Puts a service on the host.
    pub fn put_service(&self, service: Service) {
        self.lock().services.push(service);
    }

    /// Puts a network on the host.
    pub fn put_network(&self, network: Network) {
        self.lock().networks.push(network);
    }

    /// Puts a plugin on the host.
    pub fn put_plugin(&self, plugin: Plugin) {
        self.lock().plugins.push(plugin);
    }

    /// Takes every image off the host (`rmi -f`); containers stay.
    pub fn remove_images(&self) {
        self.lock().images.clear();
    }

    /// From now on `ask` is called about every call, as an authorization plugin would be; `None` ends that.
    pub fn asks(&self, ask: Option<std::sync::Arc<dyn Fn() + Send + Sync>>) {
        self.lock().asks = ask.map(Asks);
    }

    /// From now on this is the engine's release.
    pub fn upgrade(&self, release: &str) {
        self.lock().release = Some(release.to_owned());
    }

    /// From now on the engine asks this mirror of Docker Hub first.
    pub fn has_mirror(&self, url: &str) {
        self.lock().mirrors.push(url.to_owned());
    }

    /// From now on the host has this version of control groups, and the engine these security options.
    pub fn host_has(&self, cgroup: &str, security: &[&str]) {
        let mut state = self.lock();
        state.cgroup = Some(cgroup.to_owned());
        state.security = Some(security.iter().map(|&option| option.to_owned()).collect());
    }

    /// From now on the socket does this with a gRPC call over HTTP/2; at first it refuses.
    pub fn serve_http2(&self, answer: Http2) {
        self.lock().http2 = Some(answer);
    }

    /// Another process takes the engine's place.
    pub fn restart(&self) {
        self.lock().links.clear();
    }

    /// Takes every plugin off the host.
    pub fn remove_plugins(&self) {
        self.lock().plugins.clear();
    }

    /// From now on every call ends like this; `None` ends the outage.
    pub fn fail_with(&self, error: Option<EngineError>) {
        self.lock().outage = error;
    }

    /// The calls so far, as `image NAME`, `container NAME`, `kill ID` …
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// The containers killed so far.
    #[must_use]
    pub fn killed(&self) -> Vec<ContainerId> {
        self.lock().killed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<'a, T: Send + 'a>(&self, call: String, find: impl FnOnce(&mut State) -> T) -> Reply<'a, T> {
        let asks = self.lock().asks.clone();
        if let Some(Asks(ask)) = asks {
            ask();
        }
        let mut state = self.lock();
        state.calls.push(call);
        let answer = match &state.outage {
            Some(error) => Err(error.clone()),
            None => Ok(find(&mut state)),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl State {
    fn nudges(&mut self) -> Nudges {
        let (sender, nudges) = Nudges::pair();
        self.nudged.push(sender);
        nudges
    }

    fn summaries(&self, which: impl Fn(&Container) -> bool) -> Vec<ContainerSummary> {
        let listed = |container: &Container| {
            let whole = summary(container, &self.claims);
            if self.overgrown.contains(&container.id) { by_id_alone(&container.id) } else { whole }
        };
        self.containers.iter().filter(|container| which(container)).map(listed).collect()
    }

    fn image(&self, name: &str) -> Option<&Image> {
        let begins = |text: &str| {
            let hex = text.strip_prefix("sha256:").unwrap_or(text);
            only(self.images.iter().filter(|image| image.id.hex().starts_with(hex)))
        };
        match ImageName::parse(name).ok()? {
            ImageName::Id(id) => self.images.iter().find(|image| image.id == id),
            ImageName::IdPrefix(text) => begins(&text),
            named @ ImageName::Named { .. } => {
                let reference = named.reference()?;
                let found = self.images.iter().find(|image| has_name(image, reference));
                found.or_else(|| if named.may_be_id_prefix() { begins(name) } else { None })
            }
        }
    }

    fn container(&self, name: &str) -> Option<&Container> {
        let all = || self.containers.iter();
        all()
            .find(|container| container.id.as_str() == name)
            .or_else(|| all().find(|container| container.name == name.strip_prefix('/').unwrap_or(name)))
            .or_else(|| only(all().filter(|container| container.id.as_str().starts_with(name))))
    }
}

/// Beside a digest the tag is ignored.
fn has_name(image: &Image, reference: &Reference) -> bool {
    match &reference.digest {
        Some(digest) => {
            image.repo_digests.iter().any(|(repository, pulled)| *repository == reference.repository && pulled == digest)
        }
        None => image.repo_tags.contains(reference),
    }
}

fn summary(container: &Container, claims: &[(ContainerId, TaskClaim)]) -> ContainerSummary {
    let (state, status) = match (container.running, container.started_at) {
        (true, _) => ("running", "Up Less than a second"),
        (false, Some(_)) => ("exited", "Exited (0) Less than a second ago"),
        (false, None) => ("created", "Created"),
    };
    ContainerSummary {
        id: container.id.clone(),
        names: vec![container.name.clone()],
        image: container.image,
        image_ref: container.image_ref.clone(),
        state: state.to_owned(),
        status: status.to_owned(),
        created: None,
        claim: claims.iter().find(|(id, _)| *id == container.id).map(|(_, claim)| claim.clone()),
    }
}

/// As the client makes it of a row that is too large.
fn by_id_alone(id: &ContainerId) -> ContainerSummary {
    let text = String::new;
    ContainerSummary {
        id: id.clone(),
        names: Vec::new(),
        image: None,
        image_ref: text(),
        state: text(),
        status: text(),
        created: None,
        claim: None,
    }
}

fn only<T>(mut found: impl Iterator<Item = T>) -> Option<T> {
    let first = found.next()?;
    if found.next().is_some() { None } else { Some(first) }
}

impl Api for Fake {
    fn image<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Option<Image>> {
        let is_slow = {
            let state = self.lock();
            state.image(name).is_some_and(|image| state.slow.contains(&image.id))
        };
        if is_slow {
            return Box::pin(async move {
                tokio::time::sleep_until(deadline).await;
                Err(EngineError::Timeout { call: "GET /images".to_owned() })
            });
        }
        // Inspecting an image shows no history.
        let shown = |image: &Image| Image { config: ImageConfig { history: None, ..image.config.clone() }, ..image.clone() };
        let found = self.answer(format!("image {name}"), |state| match state.image(name) {
            Some(image) if state.labelled.contains(&image.id) => Err(EngineError::TooMany { what: "labels", limit: 4096 }),
            Some(image) if state.hollow.contains(&image.id) => Ok(None),
            found => Ok(found.map(shown)),
        });
        Box::pin(async move { found.await? })
    }

    fn history<'a>(&'a self, id: &'a Digest, _: Instant) -> Reply<'a, Option<Vec<Made>>> {
        self.answer(format!("history {id}"), |state| {
            let image = state.images.iter().find(|image| image.id == *id)?;
            let made = image.config.history.as_ref()?.iter().rev();
            Some(made.map(|line| Made { created_by: line.clone() }).collect())
        })
    }

    fn container<'a>(&'a self, name: &'a str, _: Instant) -> Reply<'a, Option<Container>> {
        let found = self.answer(format!("container {name}"), |state| {
            let found = state.container(name).cloned();
            match found.as_ref().filter(|found| state.large.contains(&found.id)) {
                Some(_) => Err(EngineError::TooLarge { what: "the engine's answer".to_owned(), limit: 2 << 20 }),
                None => Ok(found),
            }
        });
        Box::pin(async move { found.await? })
    }

    fn service<'a>(&'a self, name: &'a str, _: Instant) -> Reply<'a, Option<Service>> {
        self.answer(format!("service {name}"), |state| state.services.iter().find(|service| service.id == name).cloned())
    }

    fn network<'a>(&'a self, name: &'a str, _: Instant) -> Reply<'a, Option<Network>> {
        let fits = |network: &&Network| network.id == name || network.name == name;
        self.answer(format!("network {name}"), |state| {
            let whole = state.networks.iter().find(fits);
            whole.or_else(|| only(state.networks.iter().filter(|network| network.id.starts_with(name)))).cloned()
        })
    }

    fn plugin<'a>(&'a self, name: &'a str, _: Instant) -> Reply<'a, Option<Plugin>> {
        let fits = |plugin: &&Plugin| plugin.id == name || plugin.name == name || plugin.name == format!("{name}:latest");
        self.answer(format!("plugin {name}"), |state| state.plugins.iter().find(fits).cloned())
    }

    fn plugins(&self, _: Instant) -> Reply<'_, Vec<Plugin>> {
        self.answer("plugins".to_owned(), |state| state.plugins.clone())
    }

    fn exec<'a>(&'a self, id: &'a str, _: Instant) -> Reply<'a, Option<Exec>> {
        self.answer(format!("exec {id}"), |_| None)
    }

    fn containers(&self, _: Instant) -> Reply<'_, Listed> {
        self.answer("containers".to_owned(), |state| Listed { containers: state.summaries(|_| true), unread: state.unread })
    }

    fn running(&self, _: Instant) -> Reply<'_, Listed> {
        self.answer("running".to_owned(), |state| Listed {
            containers: state.summaries(|container| container.running),
            unread: state.unread,
        })
    }

    fn nudges(&self, _: Instant) -> Reply<'_, Nudges> {
        self.answer("nudges".to_owned(), State::nudges)
    }

    fn arrivals(&self, _: Instant) -> Reply<'_, Nudges> {
        self.answer("arrivals".to_owned(), State::nudges)
    }

    fn task<'a>(&'a self, id: &'a str, _: Instant) -> Reply<'a, Option<Task>> {
        let found = self.answer(format!("task {id}"), |state| match &state.task_outage {
            Some(error) => Err(error.clone()),
            None => Ok(state.tasks.iter().find(|(task, _)| task == id).map(|(_, task)| task.clone())),
        });
        Box::pin(async move { found.await? })
    }

    fn named<'a>(&'a self, name: &'a str, _: Instant) -> Reply<'a, Vec<ContainerSummary>> {
        self.answer(format!("named {name}"), |state| state.summaries(|container| container.name == name))
    }

    fn beginning<'a>(&'a self, id: &'a str, _: Instant) -> Reply<'a, Vec<ContainerSummary>> {
        self.answer(format!("beginning {id}"), |state| state.summaries(|container| container.id.as_str().starts_with(id)))
    }

    fn images(&self, _: Instant) -> Reply<'_, Vec<ImageSummary>> {
        let summary = |image: &Image| ImageSummary {
            id: image.id,
            repo_tags: image.repo_tags.clone(),
            repo_digests: image.repo_digests.clone(),
        };
        self.answer("images".to_owned(), |state| state.images.iter().map(summary).collect())
    }

    fn present(&self, deadline: Instant) -> Reply<'_, Present> {
        let summary = |image: &Image| PresentImage { id: image.id, name: image.repo_tags.first().map(ToString::to_string) };
        let is_slow = self.lock().is_list_slow;
        let listed = self.answer("present".to_owned(), |state| Present {
            images: state.images.iter().map(summary).collect(),
            unread: state.unread_images,
        });
        if !is_slow {
            return listed;
        }
        Box::pin(async move {
            tokio::time::sleep_until(deadline).await;
            Err(EngineError::Timeout { call: "GET /images/json".to_owned() })
        })
    }

    fn version(&self, _: Instant) -> Reply<'_, Version> {
        let text = str::to_owned;
        self.answer("version".to_owned(), |state| Version {
            engine: state.release.clone().unwrap_or_else(|| text("28.5.2")),
            api: text("1.51"),
            api_min: text("1.24"),
            os: text("linux"),
            architecture: text("amd64"),
        })
    }

    fn info(&self, _: Instant) -> Reply<'_, Info> {
        let text = str::to_owned;
        self.answer("info".to_owned(), |state| Info {
            id: text("fake"),
            host: text("fake"),
            engine: text("28.5.2"),
            store: state.images.first().and_then(|image| image.store).unwrap_or(Store::Classic),
            authorization: vec![text("img-authz")],
            swarm: text(if state.is_swarm { "active" } else { "inactive" }),
            data_root: text("/var/lib/docker"),
            live_restore: false,
            mirrors: state.mirrors.clone(),
            insecure_cidrs: vec![text("127.0.0.0/8")],
            security: state.security.clone().unwrap_or_else(|| vec![text("seccomp"), text("cgroupns")]),
            cgroup: state.cgroup.clone().unwrap_or_else(|| text("2")),
        })
    }

    fn http2(&self, _: Instant) -> Reply<'_, Http2> {
        self.answer("http2".to_owned(), |state| state.http2.unwrap_or(Http2::Refused))
    }

    fn link(&self, _: Instant) -> Reply<'_, Link> {
        let linked = self.answer("link".to_owned(), |state| {
            let (link, other) = Link::pair()?;
            state.links.push(other);
            Ok(link)
        });
        Box::pin(async move {
            let unreachable =
                |error: std::io::Error| EngineError::Unreachable { socket: "fake".to_owned(), cause: error.to_string() };
            linked.await?.map_err(unreachable)
        })
    }

    fn kill<'a>(&'a self, id: &'a ContainerId, _: Instant) -> Reply<'a, Killed> {
        if self.lock().locked.contains(id) {
            return Box::pin(std::future::ready(Err(EngineError::Timeout { call: format!("POST /containers/{id}/kill") })));
        }
        self.answer(format!("kill {id}"), |state| {
            let killed = match state.containers.iter_mut().find(|container| container.id == *id) {
                None => Killed::Gone,
                Some(container) if !container.running => Killed::NotRunning,
                Some(container) => {
                    container.running = false;
                    Killed::Sent
                }
            };
            if killed == Killed::Sent {
                state.killed.push(id.clone());
            }
            killed
        })
    }

    fn stop<'a>(&'a self, id: &'a ContainerId, deadline: Instant) -> Reply<'a, Stopped> {
        if self.lock().are_stops_slow {
            let asked = self.answer(format!("stop {id}"), |_| ());
            return Box::pin(async move {
                asked.await?;
                tokio::time::sleep_until(deadline).await;
                Err(EngineError::Timeout { call: format!("POST /containers/{id}/stop") })
            });
        }
        if self.lock().locked.contains(id) {
            return Box::pin(std::future::ready(Err(EngineError::Timeout { call: format!("POST /containers/{id}/stop") })));
        }
        self.answer(format!("stop {id}"), |state| match state.containers.iter_mut().find(|container| container.id == *id) {
            None => Stopped::Gone,
            Some(container) if !container.running => Stopped::NotRunning,
            Some(container) => {
                container.running = false;
                Stopped::Done
            }
        })
    }

    fn remove<'a>(&'a self, id: &'a ContainerId, _: Instant) -> Reply<'a, Removed> {
        self.answer(format!("remove {id}"), |state| {
            let before = state.containers.len();
            state.containers.retain(|container| container.id != *id);
            if state.containers.len() < before { Removed::Done } else { Removed::Gone }
        })
    }
}
