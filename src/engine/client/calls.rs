//! Which calls the gate makes, and what it takes from the answers.

use hyper::{Method, StatusCode};
use tokio::time::Instant;

use super::super::inspect::{ENTRIES, Inspected};
use super::super::{
    Api, Container, ContainerId, ContainerSummary, EngineError, Exec, Http2, Image, ImageSummary, Info, Killed, Link, Listed,
    Made, Network, Nudges, Plugin, Present, Removed, Reply, STOP, Service, Stopped, Task, Version, probe,
};
use super::Engine;
use crate::image::Digest;

impl Engine {
    /// The containers that fit a filter of the list (`name`, `id`), whose value is a regular expression (moby, daemon/list.go).
    /// Who asks checks the answer again: where the filter is refused, it is the list of all, each of which says what it is called. A row
    /// that the engine lets through its filter may be no more than an id.
    async fn filtered(&self, filter: &str, pattern: &str, deadline: Instant) -> Result<Vec<ContainerSummary>, EngineError> {
        let filters = serde_json::json!({ filter: [pattern] }).to_string();
        let path = self.path("/containers/json?all=1&filters=", &filters, "")?;
        let found = match self.listed(&path, deadline).await {
            Err(EngineError::Status { status: 400, .. }) => return self.containers(deadline).await?.whole(),
            answer => answer?,
        };
        if found.unread > 0 { found.whole() } else { Ok(found.containers) }
    }

    /// A list of containers, row by row.
    async fn listed(&self, path: &str, deadline: Instant) -> Result<Listed, EngineError> {
        let call = "GET /containers/json";
        let (containers, unread) = self.in_time(call, &self.turns, deadline, self.rows(path, call)).await?;
        Ok(Listed { containers, unread })
    }
}

impl Api for Engine {
    fn image<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Option<Image>> {
        Box::pin(async move {
            match self.object(self.path("/images/", name, "/json")?, deadline).await? {
                Some(Inspected::Image(image)) => Ok(Some(*image)),
                Some(Inspected::TooMany(what)) => Err(EngineError::TooMany { what, limit: ENTRIES }),
                None => Ok(None),
            }
        })
    }

    fn history<'a>(&'a self, id: &'a Digest, deadline: Instant) -> Reply<'a, Option<Vec<Made>>> {
        Box::pin(async move { self.object(self.path("/images/", &id.to_string(), "/history")?, deadline).await })
    }

    fn container<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Option<Container>> {
        Box::pin(async move { self.object(self.path("/containers/", name, "/json")?, deadline).await })
    }

    fn service<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Option<Service>> {
        Box::pin(async move { self.object(self.path("/services/", name, "")?, deadline).await })
    }

    fn network<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Option<Network>> {
        Box::pin(async move { self.object(self.path("/networks/", name, "")?, deadline).await })
    }

    fn plugin<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Option<Plugin>> {
        Box::pin(async move { self.object(self.path("/plugins/", name, "/json")?, deadline).await })
    }

    fn plugins(&self, deadline: Instant) -> Reply<'_, Vec<Plugin>> {
        Box::pin(self.whole("/plugins", self.limits.list_bytes, deadline))
    }

    fn exec<'a>(&'a self, id: &'a str, deadline: Instant) -> Reply<'a, Option<Exec>> {
        Box::pin(async move { self.object(self.path("/exec/", id, "/json")?, deadline).await })
    }

    fn containers(&self, deadline: Instant) -> Reply<'_, Listed> {
        Box::pin(self.listed("/containers/json?all=1", deadline))
    }

    fn running(&self, deadline: Instant) -> Reply<'_, Listed> {
        Box::pin(self.listed("/containers/json", deadline))
    }

    fn nudges(&self, deadline: Instant) -> Reply<'_, Nudges> {
        Box::pin(self.in_time("GET /events", &self.turns, deadline, self.events("container", &["start"])))
    }

    fn arrivals(&self, deadline: Instant) -> Reply<'_, Nudges> {
        let events = self.events("image", &["pull", "load", "import", "tag"]);
        Box::pin(self.in_time("GET /events", &self.turns, deadline, events))
    }

    fn task<'a>(&'a self, id: &'a str, deadline: Instant) -> Reply<'a, Option<Task>> {
        Box::pin(async move { self.object(self.path("/tasks/", id, "")?, deadline).await })
    }

    fn named<'a>(&'a self, name: &'a str, deadline: Instant) -> Reply<'a, Vec<ContainerSummary>> {
        Box::pin(async move {
            let mut found = self.filtered("name", &format!("^/?{}$", literal(name)), deadline).await?;
            found.retain(|container| container.is_id_alone() || container.names.iter().any(|own| own == name));
            Ok(found)
        })
    }

    fn beginning<'a>(&'a self, id: &'a str, deadline: Instant) -> Reply<'a, Vec<ContainerSummary>> {
        Box::pin(async move {
            let mut found = self.filtered("id", &format!("^{}", literal(id)), deadline).await?;
            found.retain(|container| container.id.as_str().starts_with(id));
            Ok(found)
        })
    }

    fn images(&self, deadline: Instant) -> Reply<'_, Vec<ImageSummary>> {
        Box::pin(self.whole("/images/json", self.limits.list_bytes, deadline))
    }

    fn present(&self, deadline: Instant) -> Reply<'_, Present> {
        Box::pin(async move {
            let (path, call) = ("/images/json", "GET /images/json");
            let (images, unread) = self.in_time(call, &self.turns, deadline, self.rows(path, call)).await?;
            Ok(Present { images, unread })
        })
    }

    fn version(&self, deadline: Instant) -> Reply<'_, Version> {
        Box::pin(async move { Ok(self.in_time("GET /version", &self.turns, deadline, self.learn()).await?.0) })
    }

    fn info(&self, deadline: Instant) -> Reply<'_, Info> {
        Box::pin(self.whole("/info", self.limits.object_bytes, deadline))
    }

    fn http2(&self, deadline: Instant) -> Reply<'_, Http2> {
        Box::pin(probe::http2(&self.socket, deadline))
    }

    fn link(&self, deadline: Instant) -> Reply<'_, Link> {
        Box::pin(Link::to(&self.socket, deadline))
    }

    fn kill<'a>(&'a self, id: &'a ContainerId, deadline: Instant) -> Reply<'a, Killed> {
        Box::pin(async move {
            let path = self.path("/containers/", id.as_str(), "/kill")?;
            let answer = self.call(Method::POST, &path, self.limits.object_bytes, deadline).await?;
            match answer.status {
                StatusCode::NO_CONTENT => Ok(Killed::Sent),
                StatusCode::NOT_FOUND if answer.is_about_the_object() => Ok(Killed::Gone),
                StatusCode::CONFLICT => Ok(Killed::NotRunning),
                _ => Err(answer.refused()),
            }
        })
    }

    fn stop<'a>(&'a self, id: &'a ContainerId, deadline: Instant) -> Reply<'a, Stopped> {
        Box::pin(async move {
            let path = format!("/containers/{id}{STOP}");
            let answer = self.call(Method::POST, &path, self.limits.object_bytes, deadline).await?;
            match answer.status {
                StatusCode::NO_CONTENT => Ok(Stopped::Done),
                StatusCode::NOT_MODIFIED => Ok(Stopped::NotRunning),
                StatusCode::NOT_FOUND if answer.is_about_the_object() => Ok(Stopped::Gone),
                _ => Err(answer.refused()),
            }
        })
    }

    fn remove<'a>(&'a self, id: &'a ContainerId, deadline: Instant) -> Reply<'a, Removed> {
        Box::pin(async move {
            let path = format!("/containers/{id}");
            let answer = self.call(Method::DELETE, &path, self.limits.object_bytes, deadline).await?;
            match answer.status {
                StatusCode::NO_CONTENT => Ok(Removed::Done),
                StatusCode::NOT_FOUND if answer.is_about_the_object() => Ok(Removed::Gone),
                // One with `--rm` is removed by the engine once it has stopped.
                StatusCode::CONFLICT if answer.message().is_some_and(|message| message.contains("already in progress")) => {
                    Ok(Removed::Gone)
                }
                _ => Err(answer.refused()),
            }
        })
    }
}

/// `text` as a regular expression that fits it alone (Go's `regexp/syntax`: an escaped punctuation mark is itself).
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for char in text.chars() {
        if char.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(char);
    }
    out
}
