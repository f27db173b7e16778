//! What follows a call's end: leases are released, what arrived and what was made is looked at and recorded. Nothing is
//! refused here, and nothing is removed by name.

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::Instant;

use super::hold::image_text;
use super::leases::Judged;
use super::{Gate, Rules, call_key};
use crate::audit::{Entry, Event};
use crate::engine::{Container, ContainerId, ContainerSummary, Store};
use crate::image::{Digest, ImageName};
use crate::policy::{Mode, Reason, Request, Verdict};
use crate::request::{Create, Intent, Pull, Pulled, Service, Start, StartAction};
use crate::trust::{Hashed, Question, VerifierName};
use crate::wire::Call;

/// How long ago a start may have begun that an earlier gate judged. What runs longer was not started by it.
const RECENTLY: jiff::SignedDuration = jiff::SignedDuration::from_mins(2);
/// Most looks at ended starts under way; more wait, and their calls are answered meanwhile.
pub(super) const MAX_LOOKS: usize = 32;
/// Most that wait, too; one that finds no place is recorded as not made. A client can have so many starts wait in the engine and end
/// at once. Stops memory from being filled: each is a name and some times.
pub(super) const MAX_ENDED: usize = 4096;
/// The times of the engine and of the gate are the same clock's; what is between them is rounding.
const SLACK: jiff::SignedDuration = jiff::SignedDuration::from_millis(100);
/// One call of the engine at a call's end. It may wait for a lock that a client holds.
const CALL: Duration = Duration::from_secs(2);
/// How often a container is judged again of which it could not be found out whether it may run.
const JUDGE_TRIES: u32 = 5;
/// The pause before a container that may not run is judged or killed again; it doubles, to at most the second. A client can hold the
/// container's lock as long as it likes, so there is no last try.
const KILL_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often it is told that something could not be looked at.
const NOT_LOOKED: Duration = Duration::from_mins(1);
/// Most rollbacks and terms of new containers that are looked at, under way; more are recorded as not looked at.
pub(super) const MAX_ROLLBACKS: usize = 256;

impl Gate {
    pub(super) async fn after(self: &Arc<Self>, call: &Call) {
        let status = call.outcome.as_ref().map(|outcome| outcome.status);
        let succeeded = status.is_some_and(|status| (200..300).contains(&status));
        match Intent::of(call) {
            // A handler that streams its answer, as a pull does, sets no status, and dockerd shows none.
            Intent::Pull(pull) if succeeded || status.is_none() => self.arrived(&pull, &call_key(call)).await,
            Intent::Create(create) => {
                self.leases.end_given(&call_key(call), Some(&image_text(&create)));
                // One without a status has failed (engines from 29 on).
                if succeeded {
                    self.created(call, &create).await;
                }
            }
            // 304: it ran before.
            Intent::Start(start) if !super::identity::is_full_id(&start.container) => {
                let judged = self.leases.end(&call_key(call));
                if status != Some(304) {
                    self.look_at_start(start, judged).await;
                }
            }
            Intent::Service(Service::Rollback { service }) if succeeded => {
                // It asks verifiers, as below.
                let Ok(place) = Arc::clone(&self.rollbacks).try_acquire_owned() else {
                    return self.note("what a rollback brought back was not looked at: too many at once");
                };
                let gate = Arc::clone(self);
                let look = async move {
                    let _place = place;
                    gate.rolled_back(&service).await;
                };
                let _ = tokio::spawn(look).await;
            }
            Intent::Plugin(plugin) => {
                // It asks verifiers, which may take longer than the daemon is kept waiting.
                let (gate, call) = (Arc::clone(self), call.clone());
                let end = async move { gate.plugin_ended(&call, &plugin, succeeded || status.is_none()).await };
                let _ = tokio::spawn(end).await;
            }
            // Of the rest a rename alone, which may have lost its text on the way, gave a name.
            Intent::Rename { .. }
            | Intent::Unreadable(_)
            | Intent::Pull(_)
            | Intent::Start(_)
            | Intent::Service(_)
            | Intent::Read
            | Intent::Harmless
            | Intent::Remove { .. }
            | Intent::Build(_)
            | Intent::Ingest(_)
            | Intent::ContainerAccess(_)
            | Intent::Swarm
            | Intent::Volume { .. }
            | Intent::Network { .. }
            | Intent::NetworkPlugin { .. }
            | Intent::Unknown { .. } => self.leases.end_given(&call_key(call), None),
        }
    }

    /// Compares what a pull by tag brought with what the tag is vouched for. The content cannot start anyway; whoever reads
    /// the log learns that somebody moved a tag.
    async fn arrived(&self, pull: &Pull, call: &str) {
        let Pulled::Tag(tag) = &pull.what else { return };
        let rules = self.rules.load_full();
        let Rules::Good { policy, verifiers, .. } = &*rules else { return };
        let name = format!("{}:{tag}", pull.repository);
        let deadline = tokio::time::Instant::now() + self.limits.after;
        let image = self.ends.image(&name, deadline).await.ok().flatten();
        let brought_nothing = self.pulls.brought_nothing(call, image.as_ref().map(|image| image.id));
        let Some(image) = image.filter(|_| !brought_nothing) else { return };
        let question = Question::Tag(tag.clone());
        let Some(scope) = policy.scope(&pull.repository) else { return };
        let Some(asks) = scope.asks(&pull.repository) else { return };
        let asked = scope.require.verifiers();
        let mut answers = Vec::new();
        for verifier in verifiers.iter().filter(|verifier| asked.contains(&verifier.name())) {
            let Some(Ok(vouch)) = verifier.ready(&asks, &question, crate::clock::now()) else { continue };
            let of_config = image.store == Some(Store::Classic);
            let is_held = match vouch.hashed() {
                Hashed::Manifest => {
                    image.repo_digests.iter().any(|(_, digest)| digest == vouch.digest())
                        || (!of_config && image.id == *vouch.digest())
                }
                Hashed::Config => of_config && image.id == *vouch.digest(),
            };
            answers.push((vouch, is_held));
        }
        // Where one of several is enough, one that knows the tag by other content says nothing.
        let says_yes = |name: &VerifierName| answers.iter().any(|(vouch, is_held)| *is_held && vouch.verifier() == name);
        let otherwise = answers.iter().find(|(_, is_held)| !is_held).filter(|_| !scope.require.is_met(&says_yes));
        let Some((vouch, _)) = otherwise else { return };
        let mut entry = Entry::new(crate::clock::now(), Event::Mismatch);
        entry.action = "pull";
        entry.image = Entry::text(&name);
        entry.image_id = image.id.to_string();
        entry.digest = vouch.digest().to_string();
        let then = match scope.mode {
            Mode::Enforce => "it cannot start",
            Mode::Permissive => "its scope is permissive, so that it may start",
        };
        entry.message = format!("the pull brought other content than the tag is vouched for; {then}");
        tracing::error!(image = %name, vouched = %vouch.digest(), image_id = %image.id, "a pull brought other content than the tag is vouched for");
        self.journal.record(&entry);
    }

    /// Keeps the approval of the new container. The name it was asked for may have moved between the look and the daemon's own: then the
    /// container was made of content that nobody judged. It cannot be started, but whoever approves that content later, approves it too;
    /// so it is told loudly.
    async fn created(self: &Arc<Self>, call: &Call, create: &Create) {
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
        let found = self.ends.container(made.id.as_str(), deadline).await;
        let image = found.as_ref().ok().and_then(|found| found.as_ref()?.image);
        if let Ok(Some(container)) = found {
            entry.container_name = Entry::text(&container.name);
            entry.image_id = container.image.map(|image| image.to_string()).unwrap_or_default();
            // Every approval of a create leaves a record of the image's id.
            if container.image.is_none_or(|image| !self.approvals.knows_image(&image)) && self.mode() == Mode::Enforce {
                entry.event = Event::Mismatch;
                "the container was made of other content than was judged; remove it".clone_into(&mut entry.message);
                tracing::error!(container = %made.id, image_id = entry.image_id, "a container was made of other content than was judged; remove it");
            }
        }
        self.journal.record(&entry);
        if let Some(image) = image.filter(|_| entry.event == Event::Created) {
            self.look_at_terms(call, create, entry, image).await;
        }
    }

    /// Judges the terms of a new container by the rules of what it is made of, unless that was vouched for under the name that the call
    /// has. The name may have moved here from another scope since it was judged; or nothing had it then.
    async fn look_at_terms(self: &Arc<Self>, call: &Call, create: &Create, entry: Entry, image: Digest) {
        let rules = self.rules.load_full();
        let Rules::Good { policy, .. } = &*rules else { return };
        let named = create.image.as_ref().and_then(ImageName::reference).map(|reference| &reference.repository);
        let is_known = named.is_some_and(|named| self.approvals.has_vouched(named, &image));
        if is_known || policy.mode == Mode::Permissive || !policy.scopes.differ_about_containers() {
            return;
        }
        let scope = named.and_then(|named| policy.scope(named)).map(|scope| scope.label().to_owned());
        // It asks verifiers, as above.
        let Ok(place) = Arc::clone(&self.rollbacks).try_acquire_owned() else {
            return self.note("the terms of a new container were not looked at: too many at once");
        };
        let (gate, call) = (Arc::clone(self), call.clone());
        let of_content = Intent::Create(Box::new(Create { image: Some(ImageName::Id(image)), ..create.clone() }));
        let look = async move {
            let _place = place;
            gate.judge_terms(&call, &of_content, scope.as_deref(), entry).await;
        };
        let _ = tokio::spawn(look).await;
    }

    async fn judge_terms(&self, call: &Call, of_content: &Intent, scope: Option<&str>, mut entry: Entry) {
        let verdict = self.judge_request(&Request::of(call, of_content)).await.verdict;
        let Some(reason @ Reason::CreateRule { .. }) = verdict.refusal() else { return };
        entry.event = Event::Mismatch;
        entry.code = reason.code();
        entry.message = format!(
            "the container was made under the rules of scope `{}`, and its content is of another; remove it: {}",
            scope.unwrap_or("unknown"),
            reason.message()
        );
        tracing::error!(
            container = entry.container_id,
            code = entry.code,
            "a container was made under rules that are not those of its content; remove it"
        );
        self.journal.record(&entry);
    }

    /// Judges what a service runs after a rollback. An update in between, which was approved, puts the specification that it replaced in
    /// the place of the one that was judged; and that may be older than the gate.
    async fn rolled_back(&self, service: &str) {
        let found = match self.ends.service(service, Instant::now() + CALL).await {
            Ok(Some(found)) => found.spec,
            Ok(None) => return,
            Err(error) => return self.note(&format!("what a rollback brought back could not be looked at: {error}")),
        };
        let is_plain = found.plugin.is_none() && matches!(found.runtime.as_str(), "" | "container");
        let named = |text: &String| ImageName::parse(text).ok();
        let (image, mounts) = (found.image.as_ref().and_then(named), found.image_mounts.iter().filter_map(named).collect());
        let spec = Service::Spec {
            image,
            image_mounts: mounts,
            plugin: (!is_plain).then(|| found.runtime.clone()),
            host_access: Vec::new(),
            networks: Vec::new(),
            terms: None,
        };
        let verdict = self.judge(&Intent::Service(spec)).await.verdict;
        let Some(reason) = verdict.refusal() else { return };
        if reason.is_unsure() {
            return self.note(&format!("what a rollback brought back could not be judged: {}", reason.message()));
        }
        let mut entry = Entry::new(crate::clock::now(), Event::Mismatch);
        entry.action = Intent::Service(Service::Rollback { service: String::new() }).action();
        entry.image = Entry::text(&found.image.unwrap_or_default());
        entry.code = reason.code();
        entry.message = format!(
            "service `{}` was rolled back to what was not judged; update or remove it: {}",
            Entry::text(service),
            reason.message()
        );
        tracing::error!(service, code = entry.code, "a service was rolled back to what was not judged; update or remove it");
        self.journal.record(&entry);
    }

    /// Looks at what a start by name has started. Goes on when the time of the answer is over.
    async fn look_at_start(self: &Arc<Self>, start: Start, judged: Option<Judged>) {
        let Ok(place) = Arc::clone(&self.ended).try_acquire_owned() else {
            let name = Entry::text(&start.container);
            self.not_looked(&format!("too many at once, the last by the name `{name}`"));
            return;
        };
        let goes_on_at_once = self.looking.available_permits() > 0;
        let gate = Arc::clone(self);
        let look = tokio::spawn(async move {
            let _place = place;
            // The semaphore is never closed.
            let _turn = gate.looking.acquire().await;
            gate.started(&start, judged).await;
        });
        // Who waits for the answer may stop waiting; the look goes on. One that has to wait itself keeps no connection.
        if goes_on_at_once {
            let _ = look.await;
        }
    }

    /// Everything that began since the call was asked about, and that no judged start accounts for, is judged: that the judged container
    /// began proves nothing, its restart policy or an earlier start may have begun it. Where the gate was restarted in between, only what
    /// the name means now is.
    async fn started(self: &Arc<Self>, start: &Start, judged: Option<Judged>) {
        let since = judged.as_ref().map_or_else(
            || crate::clock::now().checked_sub(RECENTLY).unwrap_or_default(),
            |judged| judged.since.checked_sub(SLACK).unwrap_or_default(),
        );
        let name = start.container.trim_start_matches('/');
        let is_meant = |container: &ContainerSummary| {
            container.is_id_alone() || container.names.iter().any(|own| own == name) || container.id.as_str().starts_with(name)
        };
        // Lists wait for no container's lock. What runs can be killed and comes first: whoever fills the list of all delays no kill.
        let mut looked = HashSet::new();
        for lists in [&self.running, &self.all] {
            let listed = match lists.made_after_now(&*self.ends, CALL).await {
                Ok(listed) => listed,
                Err(error) => return self.not_looked(&error.to_string()),
            };
            if listed.unread > 0 {
                self.not_looked(&format!("{} rows of the engine's list cannot be read", listed.unread));
            }
            let age = crate::clock::now().duration_since(since);
            for container in listed.containers.iter().filter(|container| judged.is_some() || is_meant(container)) {
                if may_have_begun(container, age)
                    && !self.leases.was_let_start(container.id.as_str())
                    && looked.insert(container.id.clone())
                {
                    self.began_unjudged(start, container, since).await;
                }
            }
        }
    }

    /// Judges a container that may have begun with a call that judged another one, and kills it if it may not run. A container that
    /// does not answer, because a client holds it, is judged by its image.
    async fn began_unjudged(self: &Arc<Self>, start: &Start, listed: &ContainerSummary, since: Timestamp) {
        let id = &listed.id;
        let found = match self.ends.container(id.as_str(), Instant::now() + CALL).await {
            Ok(Some(found)) if found.started_at >= Some(since) => Some(found),
            Ok(_) => return,
            Err(_) => None,
        };
        if self.mode() == Mode::Permissive {
            return;
        }
        let Some(reason) = self.refusal_of(listed, found.is_some()).await else { return };
        // What was approved once is not killed because that could not be found out again; the next start is asked about. A client can
        // keep the gate from finding out about content of its own.
        let image = found.as_ref().map_or(listed.image, |found| found.image);
        // An exception leaves no approval behind. Of one whose row is too large, and that does not answer, not even the image is known.
        let was_approved = image.is_none_or(|image| !self.approvals.of(&image).is_empty());
        if reason.is_unsure() && was_approved {
            self.not_looked(&format!("container {id}: {}", reason.message()));
            return;
        }
        if matches!(&found, Some(Container { running: false, .. })) {
            return self.record_start(Event::Mismatch, start, id, &reason);
        }
        if !self.killing().insert(id.clone()) {
            return;
        }
        let (gate, start, id) = (Arc::clone(self), start.clone(), id.clone());
        let kill = tokio::spawn(async move {
            let killed = gate.kill(&start, &id).await;
            gate.killing().remove(&id);
            gate.record_start(if killed { Event::Killed } else { Event::Mismatch }, &start, &id, &reason);
        });
        // One whose lock a client holds must not keep others from being looked at.
        let _ = tokio::time::timeout(CALL, kill).await;
    }

    fn killing(&self) -> MutexGuard<'_, HashSet<ContainerId>> {
        self.killing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a container may not run, if so. What cannot be found out is asked again for a while.
    async fn refusal_of(&self, listed: &ContainerSummary, answers: bool) -> Option<Reason> {
        let by_image =
            listed.image.map(|image| Intent::Create(Box::new(Create { image: Some(ImageName::Id(image)), ..Create::default() })));
        let by_id =
            Intent::Start(Start { container: listed.id.to_string(), action: StartAction::Start, extra: None, terms: None });
        let mut last = None;
        for _ in 0..JUDGE_TRIES {
            let intent = match &by_image {
                _ if answers => &by_id,
                Some(by_image) => by_image,
                // Which image it has is not known.
                None if listed.is_id_alone() => return Some(Reason::ContainerBusy { container: listed.id.to_string() }),
                None => return Some(Reason::NoImage),
            };
            match self.judge(intent).await.verdict {
                Verdict::Allow(_) => return None,
                Verdict::WouldDeny(reason) | Verdict::Deny(reason) if !reason.is_unsure() => return Some(reason),
                Verdict::WouldDeny(reason) | Verdict::Deny(reason) => last = Some(reason),
            }
            tokio::time::sleep(KILL_PAUSE).await;
        }
        last
    }

    /// Kills a container by its id, until it is dead. Meanwhile nothing starts by the name that it was started by.
    async fn kill(&self, start: &Start, id: &ContainerId) -> bool {
        self.leases.close(&start.container);
        let (mut killed, mut pause) = (false, KILL_PAUSE);
        loop {
            let answer = self.ends.kill(id, Instant::now() + CALL).await;
            killed |= matches!(answer, Ok(crate::engine::Killed::Sent));
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.leases.open(&start.container);
        killed
    }

    fn record_start(&self, event: Event, start: &Start, id: &ContainerId, reason: &Reason) {
        tracing::error!(container = %id, code = reason.code(), event = ?event, "a container that was not the one judged was started");
        let mut entry = Entry::new(crate::clock::now(), event);
        entry.action = Intent::Start(start.clone()).action();
        entry.container_id = id.to_string();
        entry.code = reason.code();
        entry.message = match event {
            Event::Mismatch => format!("ran, and ended before the gate could stop it: {}", reason.message()),
            _ => reason.message(),
        };
        self.journal.record(&entry);
    }

    /// Tells it, once in a while: clients decide how often it is so.
    fn not_looked(&self, why: &str) {
        let more = {
            let mut told = self.not_looked.lock().unwrap_or_else(PoisonError::into_inner);
            if told.0.is_some_and(|at| at.elapsed() < NOT_LOOKED) {
                told.1 = told.1.saturating_add(1);
                return;
            }
            told.0 = Some(Instant::now());
            std::mem::take(&mut told.1)
        };
        let before = if more > 0 { format!(" ({more} more since this was told last)") } else { String::new() };
        tracing::error!(why, more, "what a start by name has started could not be looked at");
        self.note(&format!("what a start by name has started could not be looked at: {why}{before}"));
    }
}

/// Whether a container may have begun within the last `age`, by the words of the list (moby, container/state.go). What cannot be
/// read may.
pub(super) fn may_have_begun(container: &ContainerSummary, age: jiff::SignedDuration) -> bool {
    if matches!(container.state.as_str(), "created" | "removing") {
        return false;
    }
    let at_least = |status: &str| -> Option<i64> {
        // Of a container that has ended, the words say when it ended: it began before.
        let words = status.strip_prefix("Up ")?;
        if words.starts_with("Less than a second") {
            return Some(0);
        }
        if words.starts_with("About a minute") {
            return Some(60);
        }
        if words.starts_with("About an hour") {
            return Some(45 * 60);
        }
        let (number, unit) = words.split_once(' ')?;
        let number: i64 = number.parse().ok()?;
        let seconds = match unit.get(..3)? {
            "sec" => 1,
            "min" => 60,
            "hou" => 30 * 60,
            "day" | "wee" | "mon" | "yea" => 12 * 60 * 60,
            _ => return None,
        };
        number.checked_mul(seconds)
    };
    let ended_long_ago = !container.status.starts_with("Up ")
        && ["minute", "hour", "day", "week", "month", "year"].iter().any(|unit| container.status.contains(unit))
        && age < jiff::SignedDuration::from_secs(60);
    !ended_long_ago && at_least(&container.status).is_none_or(|seconds| seconds <= age.as_secs().saturating_add(1))
}
