//! What follows a call's end: leases are released, what arrived and what was made is looked at and recorded. Nothing is
//! refused here, and nothing is removed by name.

use serde::Deserialize;

use super::leases::Ended;
use super::{Gate, Rules, call_key};
use crate::audit::{Entry, Event};
use crate::engine::{ContainerId, Store};
use crate::policy::{ContainerFacts, Mode, Scope, Verdict};
use crate::request::{Create, Intent, Pull, Pulled, Start};
use crate::trust::{Hashed, Question};
use crate::wire::Call;

/// How long ago a start that ends now may have begun. What runs longer was not started by it.
const RECENTLY: jiff::SignedDuration = jiff::SignedDuration::from_mins(2);

/// The call, if its end means anything to the gate. Cheap for the many that do not (`docker ps` answers are large).
pub(super) fn of_interest(posted: &[u8]) -> Option<Call> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Glance<'a> {
        #[serde(borrow)]
        request_method: std::borrow::Cow<'a, str>,
    }
    let glance: Glance<'_> = serde_json::from_slice(posted).ok()?;
    if matches!(&*glance.request_method, "GET" | "HEAD" | "OPTIONS") {
        return None;
    }
    Call::decode(posted).ok()
}

impl Gate {
    pub(super) async fn after(&self, call: &Call) {
        // A handler that streams its answer, as a pull does, sets no status, and dockerd shows none: that is a 200.
        let succeeded = call.outcome.as_ref().is_none_or(|outcome| (200..300).contains(&outcome.status));
        match Intent::of(call) {
            Intent::Pull(pull) if succeeded => self.arrived(&pull).await,
            Intent::Create(create) => {
                if create.name.is_some() {
                    self.leases.end(&call_key(call));
                }
                if succeeded {
                    self.created(call, &create).await;
                }
            }
            Intent::Rename { .. } => {
                self.leases.end(&call_key(call));
            }
            Intent::Start(start) if !super::identity::is_full_id(&start.container) => {
                let ended = self.leases.end(&call_key(call));
                if succeeded {
                    self.started(&start, ended).await;
                }
            }
            // Their ends mean nothing to the gate.
            _ => {}
        }
    }

    /// Compares what a pull by tag brought with what the tag is vouched for. The content cannot start anyway; whoever reads
    /// the log learns that somebody moved a tag.
    async fn arrived(&self, pull: &Pull) {
        let Pulled::Tag(tag) = &pull.what else { return };
        let rules = self.rules.load_full();
        let Rules::Good { policy, verifiers } = &*rules else { return };
        let name = format!("{}:{tag}", pull.repository);
        let deadline = tokio::time::Instant::now() + self.limits.after;
        let Ok(Some(image)) = self.engine.image(&name, deadline).await else { return };
        let question = Question::Tag(tag.clone());
        let required = policy.scope(&pull.repository).map(Scope::verifiers).unwrap_or_default();
        for verifier in verifiers.iter().filter(|verifier| required.contains(&verifier.kind())) {
            let Some(Ok(vouch)) = verifier.ready(&pull.repository, &question, crate::clock::now()) else { continue };
            let of_config = image.store == Some(Store::Classic);
            let held = match vouch.hashed() {
                Hashed::Manifest => {
                    image.repo_digests.iter().any(|(_, digest)| digest == vouch.digest())
                        || (!of_config && image.id == *vouch.digest())
                }
                Hashed::Config => of_config && image.id == *vouch.digest(),
            };
            if !held {
                let mut entry = Entry::new(crate::clock::now(), Event::Mismatch);
                entry.action = "pull";
                entry.image = Entry::text(&name);
                entry.image_id = image.id.to_string();
                entry.digest = vouch.digest().to_string();
                "the pull brought other content than the tag is vouched for; it cannot start".clone_into(&mut entry.message);
                tracing::error!(image = %name, vouched = %vouch.digest(), image_id = %image.id, "a pull brought other content than the tag is vouched for");
                self.journal.record(&entry);
            }
        }
    }

    /// Records the new container. The name it was asked for may have moved between the look and the daemon's own: then the
    /// container was made of content that nobody judged. It cannot be started by a call, but an engine that starts again
    /// may start it by its restart policy, so it is told loudly.
    async fn created(&self, call: &Call, create: &Create) {
        #[derive(Deserialize)]
        struct Made {
            #[serde(rename = "Id")]
            id: ContainerId,
        }
        let body = call.outcome.as_ref().and_then(|outcome| outcome.body.as_deref());
        let Some(made) = body.and_then(|body| serde_json::from_slice::<Made>(body).ok()) else { return };
        let mut entry = Entry::new(crate::clock::now(), Event::Created);
        entry.action = "create";
        entry.user = Entry::text(&call.user);
        entry.container_id = made.id.to_string();
        entry.image = Entry::text(&create.image.as_ref().map(ToString::to_string).unwrap_or_default());
        let deadline = tokio::time::Instant::now() + self.limits.after;
        let found = self.engine.container(made.id.as_str(), deadline).await;
        if let Ok(Some(container)) = found {
            entry.image_id = container.image.map(|image| image.to_string()).unwrap_or_default();
            // Every approval of a create leaves a record of the image's id.
            if container.image.is_none_or(|image| self.records.of(&image).is_empty()) && self.mode() == Mode::Enforce {
                entry.event = Event::Mismatch;
                "the container was made of other content than was judged; remove it".clone_into(&mut entry.message);
                tracing::error!(container = %made.id, image_id = entry.image_id, "a container was made of other content than was judged; remove it");
            }
        }
        self.journal.record(&entry);
    }

    /// A start whose lease held started what was judged. Otherwise look again, and kill by id what was not.
    async fn started(&self, start: &Start, ended: Ended) {
        let judged = match ended {
            Ended::InTime => return,
            Ended::TooLate { judged } => judged,
            Ended::Unknown => None,
        };
        let intent = Intent::Start(start.clone());
        let judgement = self.judge(&intent).await;
        let Some(ContainerFacts::Found { id, .. }) = &judgement.facts.container else { return };
        // The one judged was started, late. Or the name means another container now, which is approved as well.
        if judged.as_ref() == Some(id) {
            return;
        }
        let Verdict::Deny(reason) = &judgement.verdict else { return };
        // What could not be found out is no reason to kill; the next start is asked about again.
        if self.mode() == Mode::Audit || reason.is_unsure() {
            return;
        }
        let Ok(container) = id.parse::<ContainerId>() else { return };
        let deadline = tokio::time::Instant::now() + self.limits.after;
        // One that ran before this call was not started by it: the name has come to it since.
        let found = self.engine.container(id, deadline).await;
        let recently = crate::clock::now().checked_sub(RECENTLY).unwrap_or_default();
        if !found.is_ok_and(|found| found.is_some_and(|found| found.running && found.started_at > Some(recently))) {
            return;
        }
        let killed = self.engine.kill(&container, deadline).await;
        tracing::error!(container = %id, code = reason.code(), ?killed, "a container that was not the one judged was started");
        let mut entry = Entry::new(crate::clock::now(), Event::Killed);
        entry.action = "start";
        entry.container_id.clone_from(id);
        entry.code = reason.code();
        entry.message = reason.message();
        self.journal.record(&entry);
    }
}
