//! What is on the host already: which containers and images would be refused now, and why. They came before the gate, or before the
//! rules that are in force. How that is put into words, and what follows from it, is left to who asks.

use crate::order::sort_by_key;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Gate;
use crate::engine::EngineError;
use crate::image::ImageName;
use crate::policy::{Reason, Verdict};
use crate::request::{Create, Intent, Start, StartAction};

/// How long the engine gets for its lists.
const LIST_TIME: Duration = Duration::from_secs(30);
/// Most containers, and most images, that are judged. Stops a host with tens of thousands from taking for ever.
pub const MOST: usize = 500;
/// What is on the host, judged.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// Containers, running ones before others, and then images; as the engine lists them.
    pub items: Vec<Item>,
    /// How many were not judged: there are too many, or it took too long.
    pub left: usize,
}

/// A container or an image.
#[derive(Debug, Clone)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// Its name or first tag; its id, where it has none.
    pub name: String,
    /// The image that it was asked for with. No evidence of anything; an image has none.
    pub image: String,
    /// What the gate would say now to its start, or to a container made of it.
    pub says: Says,
    /// Why: the scopes that decide, and for a refusal what would have to be otherwise; a line each.
    pub why: Vec<String>,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A container that runs.
    Running,
    /// A container that does not run.
    Stopped,
    /// An image.
    Image,
}

/// What the gate would say now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// It would let it pass. Also of what is gone since it was listed.
    Yes,
    /// It would refuse it. In mode `permissive` too, where it would not carry that out.
    No(Reason),
    /// It would let it pass and record this refusal, because a permissive scope forgives it.
    Forgiven(Reason),
    /// It would refuse it, and approved it before: its tag is signed for other content now, and was not withdrawn.
    Superseded(Reason),
    /// It would refuse it because of what cannot be found out at the moment. That says nothing about the item.
    CannotTell(Reason),
}

impl From<Verdict> for Says {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow(permit) => match permit.forgiven() {
                None => Self::Yes,
                Some(reason) if reason.is_unsure() => Self::CannotTell(reason.clone()),
                Some(reason) => Self::Forgiven(reason.clone()),
            },
            Verdict::WouldDeny(Reason::ContainerUnknown { .. }) | Verdict::Deny(Reason::ContainerUnknown { .. }) => Self::Yes,
            Verdict::WouldDeny(reason) | Verdict::Deny(reason) if reason.is_unsure() => Self::CannotTell(reason),
            Verdict::WouldDeny(reason) | Verdict::Deny(reason) => Self::No(reason),
        }
    }
}

/// What becomes of approvals that a judgement comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// They are remembered, to tell what was approved once apart from what never was.
    Approvals,
    /// They are not: somebody only looks.
    Nothing,
}

/// What a judgement came to.
pub(super) struct Judged {
    pub(super) says: Says,
    pub(super) why: Vec<String>,
}

/// One thing that is judged.
struct Subject {
    kind: Kind,
    id: String,
    name: String,
    image: String,
}

impl Gate {
    /// Judges what is on the host, `at_once` at a time, for as long as `time`; the gate is the same afterwards. `progress` is told how many of how many are judged, now and
    /// then.
    pub async fn inventory(
        self: &Arc<Self>,
        at_once: usize,
        time: Duration,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Inventory, EngineError> {
        let (subjects, left_out) = self.subjects().await?;
        let total = subjects.len();
        let done = self.judge_all(subjects, Keeping::Nothing, at_once, time, |done| progress(done, total)).await;
        let left = total - done.len() + left_out;
        let of = |(Subject { kind, id, name, image }, Judged { says, why })| Item { kind, id, name, image, says, why };
        Ok(Inventory { items: done.into_iter().map(of).collect(), left })
    }

    /// What the gate would say to each, in their order, for as long as `time`; those that are left then are not among them. `progress` is
    /// told how many are judged, now and then.
    pub(super) async fn judge_all<T: Send + 'static>(
        self: &Arc<Self>,
        asked: Vec<(Intent, T)>,
        keeping: Keeping,
        at_once: usize,
        time: Duration,
        mut progress: impl FnMut(usize),
    ) -> Vec<(T, Judged)> {
        let deadline = Instant::now() + time;
        let mut waiting = asked.into_iter().enumerate();
        let mut running = JoinSet::new();
        let mut done = Vec::new();
        loop {
            while running.len() < at_once
                && let Some((number, (intent, what))) = waiting.next()
            {
                let gate = Arc::clone(self);
                running.spawn(async move { (number, what, gate.says(&intent, keeping).await) });
            }
            match tokio::time::timeout_at(deadline, running.join_next()).await {
                Ok(Some(Ok(judged))) => done.push(judged),
                // A judgement that met a fault of its own counts as one left.
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => break,
            }
            if done.len().is_multiple_of(50) {
                progress(done.len());
            }
        }
        sort_by_key(&mut done, |(number, _, _)| *number);
        done.into_iter().map(|(_, what, judged)| (what, judged)).collect()
    }

    /// Containers first, running ones before others; and how many are left out.
    async fn subjects(&self) -> Result<(Vec<(Intent, Subject)>, usize), EngineError> {
        let deadline = Instant::now() + LIST_TIME;
        let mut containers = self.engine.containers(deadline).await?;
        let images = self.engine.images(deadline).await?;
        sort_by_key(&mut containers, |container| container.state != "running");
        let left_out = containers.len().saturating_sub(MOST) + images.len().saturating_sub(MOST);
        let mut subjects = Vec::new();
        for container in containers.into_iter().take(MOST) {
            let id = container.id.to_string();
            let name = container.names.into_iter().find(|name| !name.contains('/')).unwrap_or_else(|| id.clone());
            let kind = if container.state == "running" { Kind::Running } else { Kind::Stopped };
            let start = Start { container: id.clone(), action: StartAction::Start, extra: None, terms: None };
            subjects.push((Intent::Start(start), Subject { kind, id, name, image: container.image_ref }));
        }
        for image in images.into_iter().take(MOST) {
            let create = Create { image: Some(ImageName::Id(image.id)), ..Create::default() };
            let id = image.id.to_string();
            let name = image.repo_tags.first().map_or_else(|| id.clone(), ToString::to_string);
            subjects.push((Intent::Create(Box::new(create)), Subject { kind: Kind::Image, id, name, image: String::new() }));
        }
        Ok((subjects, left_out))
    }
}
