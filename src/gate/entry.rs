//! What is recorded of a decision, and what is not; and what the gate records of itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::{Gate, Rules, identity};
use crate::audit::{Entry, Event, Recorded};
use crate::engine::PROBE_HEADER;
use crate::policy::{self, Facts, Grounds, Level, Policy, Reason, Verdict};
use crate::record::Decision;
use crate::request::{Action, Intent};
use crate::wire::Call;

impl Gate {
    /// Records something about the gate itself.
    pub fn note(&self, message: &str) {
        let mut entry = Entry::new(crate::clock::now(), Event::Gate);
        message.clone_into(&mut entry.message);
        self.journal.record(&entry);
    }

    /// Records that the gate has started: under which mode and posture, and what else the entry says.
    pub fn note_start(&self, mut entry: Entry) -> Recorded {
        let rules = self.rules.load();
        "the gate has started".clone_into(&mut entry.message);
        (entry.mode, entry.posture) = (Some(rules.mode()), Some(rules.posture()));
        self.journal.record(&entry)
    }

    /// Writes what the audit log has only counted so far. Called at stop.
    pub fn end(&self) {
        self.approvals.end();
        self.journal.end();
    }

    /// Hands over what a decision rested on, where the policy keeps that.
    pub(super) fn keep_facts(&self, rules: &Rules, read: (&Call, &Intent), facts: &Facts, verdict: &Verdict) {
        let (Some(recorder), Rules::Good { policy: Policy { record: Some(recording), .. }, .. }) = (&self.recorder, rules) else {
            return;
        };
        if !is_probe(Some(read), verdict) && recorder.takes(read, facts, verdict) {
            let ((call, intent), recording) = (read, Arc::clone(recording));
            let (facts, verdict) = (facts.clone(), verdict.clone());
            recorder.offer(Decision { call: call.clone(), intent: intent.clone(), facts, verdict, recording });
        }
    }

    /// What the log says of a decision.
    pub(super) fn entry(&self, read: Option<(&Call, &Intent)>, verdict: &Verdict, facts: &Facts, began: Instant) -> Entry {
        let event = match verdict {
            Verdict::Allow(permit) if permit.forgiven().is_some() => Event::Blocked,
            Verdict::Allow(_) if facts.about_self => Event::Gate,
            Verdict::Allow(_) => Event::Allowed,
            Verdict::WouldDeny(_) | Verdict::Deny(_) if is_probe(read, verdict) => Event::Probe,
            Verdict::WouldDeny(_) | Verdict::Deny(_) => Event::Blocked,
        };
        let mut entry = Entry::new(crate::clock::now(), event);
        let number = self.decisions.fetch_add(1, Ordering::Relaxed);
        entry.decision_id = format!("{}-{number}", self.started.as_second());
        entry.duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Some((call, intent)) = read {
            entry.user = Entry::text(&call.user);
            entry.method = Entry::text(&call.method);
            // Queries may hold secrets (build arguments, remote contexts); what matters of them has fields of its own.
            entry.path = Entry::text(call.uri.split_once('?').map_or(call.uri.as_str(), |(path, _)| path));
            entry.action = intent.action();
            entry.image = Entry::text(&intent.subject());
            if self.rules.load().has_users() {
                entry.right = Action::of(call).name();
            }
        }
        if let Some(policy::ContainerFacts::Found { id, name, image_ref, .. }) = &facts.container {
            entry.container_id.clone_from(id);
            entry.container_name = Entry::text(name);
            entry.container_image = Entry::text(image_ref);
        }
        for finding in verdict.findings() {
            entry.rules.push(finding.rule.about().id);
            if finding.level == Level::Warn {
                entry.warnings.push(Entry::text(&finding.to_string()));
            }
        }
        entry.exceptions = verdict.exceptions();
        match verdict {
            Verdict::Allow(permit) => {
                let approvals = permit.approvals();
                if let Some(approval) = approvals.first() {
                    entry.image_id = approval.id.map(|id| id.to_string()).unwrap_or_default();
                    entry.digest = approval
                        .vouches
                        .first()
                        .map(|vouch| *vouch.digest())
                        .or(approval.named)
                        .map(|digest| digest.to_string())
                        .unwrap_or_default();
                    entry.verifiers = approval.vouches.iter().map(|vouch| vouch.verifier().clone()).collect();
                    entry.signers = approval.vouches.iter().flat_map(|vouch| vouch.signers().to_vec()).collect();
                }
                if let Some((since, until)) = permit.stale() {
                    (entry.stale_since, entry.stale_until) = (Some(since), until);
                    let until = until.map(|until| format!(", and is used until {until:.0}")).unwrap_or_default();
                    entry.message = format!("Notary is out of reach: its trust data was last checked at {since:.0}{until}");
                }
                if let Grounds::Setting(setting) = permit.grounds() {
                    (*setting).clone_into(&mut entry.message);
                }
                if let Some(reason) = permit.forgiven() {
                    (entry.code, entry.message, entry.enforced) = (reason.code(), reason.message(), false);
                }
                if facts.about_self {
                    "a call about this gate's own plugin was allowed".clone_into(&mut entry.message);
                    tracing::warn!(action = entry.action, "a call about this gate's own plugin was allowed");
                }
            }
            Verdict::WouldDeny(reason) | Verdict::Deny(reason) => {
                entry.code = reason.code();
                entry.message = reason.message();
                entry.enforced = matches!(verdict, Verdict::Deny(_));
                if let Some(policy::ImageFacts { local: policy::Local::Present { id, .. }, .. }) = facts.images.first() {
                    entry.image_id = id.to_string();
                }
            }
        }
        entry
    }
}

/// Allowed calls that are recorded even though no image had to be vouched for.
pub(super) fn is_recorded(intent: &Intent) -> bool {
    match intent {
        Intent::Pull(_)
        | Intent::Create(_)
        | Intent::Start(_)
        | Intent::Service(_)
        | Intent::Build(_)
        | Intent::Ingest(_)
        | Intent::Plugin(_)
        | Intent::Swarm => true,
        Intent::Read
        | Intent::Harmless
        | Intent::Rename { .. }
        | Intent::Remove { .. }
        | Intent::ContainerAccess(_)
        | Intent::Volume { .. }
        | Intent::Network { .. }
        | Intent::NetworkPlugin { .. }
        | Intent::Unknown { .. }
        | Intent::Unreadable(_) => false,
    }
}

/// Whether this is `doctor`'s question whether the gate is asked: the start of no container by a whole id. It is nobody's attempt
/// at anything, and whoever else sends that header hides nothing by it.
pub(super) fn is_probe(read: Option<(&Call, &Intent)>, verdict: &Verdict) -> bool {
    let (Some((call, Intent::Start(start))), Some(Reason::ContainerUnknown { .. })) = (read, verdict.refusal()) else {
        return false;
    };
    identity::is_full_id(&start.container) && call.header(PROBE_HEADER).is_some()
}
