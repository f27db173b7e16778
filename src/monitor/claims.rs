//! What is true of the labels by which containers say that the swarm made them. A client can write labels, and so can who makes an image. So a
//! claim costs a question only where its container is refused, the claims of a crowd keep none from its turn, and what nobody could be asked
//! about is asked again.

use crate::order::{Ordered as _, sort_by_key};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Seen, TaskOf};
use crate::clock;
use crate::engine::{Api, ContainerId, ContainerSummary, EngineError, TaskClaim};

/// How long the questions of one go may take. The rest has its turn in the next.
pub(super) const TIME: Duration = Duration::from_secs(3);
/// How long the engine gets to say whether it is in a swarm.
const INFO_TIME: Duration = Duration::from_secs(5);
/// When a claim is asked about again about which the swarm has said something, and one about which nobody did.
const SETTLED: Duration = Duration::from_mins(1);
const UNTOLD: Duration = Duration::from_secs(10);
/// How long a manager may know a task and not yet the container that was made for it: it learns that with the task's next state.
const REPORTED: SignedDuration = SignedDuration::from_secs(60);
/// Characters of a task's id (moby/swarmkit, identity/randomid.go).
const TASK_ID: usize = 25;

/// The claims of the containers that run.
#[derive(Default)]
pub(super) struct Claims {
    all: BTreeMap<ContainerId, Claim>,
    /// The engine said last that it is in no swarm. A client can keep it from saying so again.
    is_swarmless: bool,
}

struct Claim {
    said: TaskClaim,
    created: Option<Timestamp>,
    found: TaskOf,
    /// Its place in the line; `None`: what is found stays so for as long as the container is there.
    due: Option<Instant>,
}

impl Claims {
    /// What the engine lists, with what is known of each claim.
    pub(super) fn seen(&mut self, listed: Vec<ContainerSummary>) -> Vec<Seen> {
        let ids: BTreeSet<&ContainerId> = listed.iter().map(|container| &container.id).ordered();
        self.all.retain(|id, _| ids.contains(id));
        let seen = |container: ContainerSummary| {
            let task = container.claim.map_or(TaskOf::Nobody, |claim| {
                let claim = self.all.entry(container.id.clone()).or_insert_with(|| Claim::of(claim, container.created));
                claim.found.clone()
            });
            let name = container.names.into_iter().next().unwrap_or_default();
            Seen { id: container.id, name, image_ref: container.image_ref, image: container.image, task }
        };
        listed.into_iter().map(seen).collect()
    }

    /// Whether one of these is to be asked about.
    pub(super) fn are_due(&self, refused: &BTreeSet<ContainerId>) -> bool {
        let now = Instant::now();
        refused.iter().any(|id| self.all.get(id).is_some_and(|claim| claim.is_due(now)))
    }

    /// Another engine may answer from now on.
    pub(super) const fn engine_ended(&mut self) {
        self.is_swarmless = false;
    }

    /// Asks about those of these that are due, who waits longest first, for so long. What was found out.
    pub(super) async fn ask(
        &mut self,
        engine: &dyn Api,
        refused: &BTreeSet<ContainerId>,
        time: Duration,
    ) -> Vec<(ContainerId, TaskOf)> {
        let now = Instant::now();
        let mut due: Vec<(&ContainerId, &mut Claim)> =
            self.all.iter_mut().filter(|(id, claim)| refused.contains(*id) && claim.is_due(now)).collect();
        if due.is_empty() {
            return Vec::new();
        }
        sort_by_key(&mut due, |(_, claim)| claim.due);
        // Once for all of them: where there is no swarm, a crowd costs as much as one.
        let info = engine.info(now + INFO_TIME).await;
        if let Ok(info) = &info {
            self.is_swarmless = info.swarm == "inactive";
        }
        let until = Instant::now() + time;
        let mut told = Vec::new();
        for (id, claim) in due {
            match &info {
                Err(_) if self.is_swarmless => claim.is_found(TaskOf::Nobody, Some(UNTOLD)),
                Err(_) => claim.is_untold(),
                Ok(_) if self.is_swarmless => claim.is_found(TaskOf::Nobody, Some(SETTLED)),
                Ok(_) if Instant::now() >= until => break,
                Ok(_) => claim.look_into(engine, id, until).await,
            }
            told.push((id.clone(), claim.found.clone()));
        }
        told
    }
}

impl Claim {
    fn of(said: TaskClaim, created: Option<Timestamp>) -> Self {
        // dockerd writes both labels, and gives tasks such ids alone: any other is its own writer's, and would be asked for as he likes.
        let is_id = said.task.len() == TASK_ID && said.task.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z'));
        let (found, due) = if is_id { (TaskOf::Claimed(said.clone()), Some(Instant::now())) } else { (TaskOf::Nobody, None) };
        Self { said, created, found, due }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    fn is_found(&mut self, found: TaskOf, again: Option<Duration>) {
        (self.found, self.due) = (found, again.map(|again| Instant::now() + again));
    }

    /// What was found before stays, and others have their turn first.
    fn is_untold(&mut self) {
        self.due = Some(Instant::now() + UNTOLD);
    }

    /// Asks the swarm.
    async fn look_into(&mut self, engine: &dyn Api, id: &ContainerId, until: Instant) {
        match engine.task(&self.said.task, until).await {
            Ok(Some(task)) => match task.container {
                Some(container) if container == *id => {
                    self.is_found(TaskOf::Service(self.said.service.clone()), Some(SETTLED));
                }
                None if self.is_new() => self.is_untold(),
                // A client finds a task that waits for a node, and would be spared by its id for ever.
                Some(_) | None => self.is_found(TaskOf::Nobody, None),
            },
            Ok(None) => self.is_found(TaskOf::Nobody, None),
            // A worker cannot tell (503), nor a manager without its quorum.
            Err(EngineError::Status { status: 500.., .. }) => {
                self.is_found(TaskOf::Claimed(self.said.clone()), Some(SETTLED));
            }
            Err(EngineError::Unreachable { .. } | EngineError::Timeout { .. }) => self.is_untold(),
            // Whatever else is said of the id is said of what the claim has in it.
            Err(
                EngineError::Status { .. }
                | EngineError::TooLarge { .. }
                | EngineError::TooMany { .. }
                | EngineError::Undecodable { .. },
            ) => {
                self.is_found(TaskOf::Nobody, None);
            }
        }
    }

    fn is_new(&self) -> bool {
        let age = self.created.map(|created| clock::now().duration_since(created));
        age.is_some_and(|age| !age.is_negative() && age < REPORTED)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{Fake, Task};

    const KNOWN: &str = "0123456789abcdefghijklmno";

    fn id(number: usize) -> ContainerId {
        format!("{number:064x}").parse().unwrap()
    }

    fn claim(task: &str) -> TaskClaim {
        TaskClaim { service: "web".into(), task: task.into() }
    }

    fn listed(number: usize, task: &str, created: Option<Timestamp>) -> ContainerSummary {
        ContainerSummary {
            id: id(number),
            names: Vec::new(),
            image: None,
            image_ref: String::new(),
            state: "running".into(),
            status: String::new(),
            created,
            claim: Some(claim(task)),
        }
    }

    async fn found(engine: &Fake, task: &str, created: Option<Timestamp>) -> TaskOf {
        let mut claims = Claims::default();
        claims.seen(vec![listed(1, task, created)]);
        claims.ask(engine, &[id(1)].into(), TIME).await;
        claims.seen(vec![listed(1, task, created)]).pop().unwrap().task
    }

    #[tokio::test]
    async fn only_an_engine_that_cannot_know_a_task_leaves_a_claim_open() {
        let status = |status| EngineError::Status { call: "GET /tasks".into(), status, message: "x".into() };
        let timeout = EngineError::Timeout { call: "GET /tasks".into() };
        let undecodable = EngineError::Undecodable { call: "GET /tasks".into(), cause: "x".into() };
        for (task, error, is_open) in [
            (KNOWN, status(503), true),
            (KNOWN, status(500), true),
            (KNOWN, timeout.clone(), true),
            (KNOWN, status(400), false),
            (KNOWN, status(404), false),
            (KNOWN, undecodable, false),
            ("", timeout.clone(), false),
            ("../info", timeout.clone(), false),
            ("0123456789abcdefghijklmnO", timeout.clone(), false),
            ("0123456789abcdefghijklmnop", timeout, false),
        ] {
            let engine = Fake::new();
            engine.join_swarm();
            engine.fail_tasks_with(error.clone());
            let expected = if is_open { TaskOf::Claimed(claim(task)) } else { TaskOf::Nobody };
            assert_eq!(found(&engine, task, Some(clock::now())).await, expected, "{task} {error:?}");
        }
    }

    /// A client labels his container with the id of a task that no node takes.
    #[tokio::test]
    async fn a_task_without_a_container_spares_one_that_was_just_made_and_no_other() {
        let long_ago = clock::now().checked_sub(SignedDuration::from_mins(2)).unwrap();
        for (created, expected) in
            [(Some(clock::now()), TaskOf::Claimed(claim(KNOWN))), (Some(long_ago), TaskOf::Nobody), (None, TaskOf::Nobody)]
        {
            let engine = Fake::new();
            engine.join_swarm();
            engine.claims_task(&id(1), claim(KNOWN), Some(Task { container: None }));
            assert_eq!(found(&engine, KNOWN, created).await, expected);
        }
    }

    /// Sixty of them ask for more time than a go has, and the one that is to be spared came last.
    #[tokio::test]
    async fn a_crowd_of_claims_keeps_none_from_its_turn_and_where_there_is_no_swarm_costs_one_question() {
        let crowd = || (0..60).map(|number| listed(number, KNOWN, None)).collect::<Vec<_>>();
        let refused: BTreeSet<ContainerId> = (0..60).map(id).collect();
        let last = |claims: &mut Claims| claims.seen(crowd()).pop().unwrap().task;
        for is_swarm in [false, true] {
            let engine = Fake::new();
            if is_swarm {
                engine.join_swarm();
            }
            engine.asks(Some(Arc::new(|| std::thread::sleep(Duration::from_millis(5)))));
            let mut claims = Claims::default();
            assert_eq!(last(&mut claims), TaskOf::Claimed(claim(KNOWN)));
            let mut goes = 0;
            while claims.are_due(&refused) {
                claims.ask(&engine, &refused, Duration::from_millis(100)).await;
                goes += 1;
            }
            assert_eq!(last(&mut claims), TaskOf::Nobody);
            let asked = engine.calls().len();
            assert_eq!((goes > 1, asked), (is_swarm, if is_swarm { 60 + goes } else { 1 }));
        }
    }

    /// A client floods the engine with questions of that kind.
    #[tokio::test]
    async fn an_engine_that_said_that_it_is_in_no_swarm_is_believed_while_it_does_not_answer() {
        let engine = Fake::new();
        let mut claims = Claims::default();
        claims.seen(vec![listed(1, KNOWN, None), listed(2, KNOWN, None)]);
        claims.ask(&engine, &[id(1)].into(), TIME).await;
        engine.fail_with(Some(EngineError::Timeout { call: "GET /info".into() }));
        assert_eq!(claims.ask(&engine, &[id(2)].into(), TIME).await, [(id(2), TaskOf::Nobody)]);
        claims.engine_ended();
        claims.seen(vec![listed(3, KNOWN, None)]);
        assert_eq!(claims.ask(&engine, &[id(3)].into(), TIME).await, [(id(3), TaskOf::Claimed(claim(KNOWN)))]);
    }

    #[tokio::test]
    async fn nobody_is_asked_about_what_is_not_refused_and_what_nobody_could_tell_is_asked_again() {
        let engine = Fake::new();
        let mut claims = Claims::default();
        claims.seen(vec![listed(1, KNOWN, None), listed(2, KNOWN, None)]);
        assert!(claims.ask(&engine, &BTreeSet::new(), TIME).await.is_empty() && engine.calls().is_empty());
        engine.fail_with(Some(EngineError::Timeout { call: "GET /info".into() }));
        let refused: BTreeSet<ContainerId> = [id(1)].into();
        assert_eq!(claims.ask(&engine, &refused, TIME).await, [(id(1), TaskOf::Claimed(claim(KNOWN)))]);
        assert!(!claims.are_due(&refused));
        let due = claims.all.get(&id(1)).and_then(|claim| claim.due).unwrap();
        assert!(due <= Instant::now() + UNTOLD);
        // Until then others have their turn.
        assert!(claims.are_due(&[id(2)].into()));
    }
}
