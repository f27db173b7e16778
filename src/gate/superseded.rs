//! Content that was approved, and whose tag is signed for other content now. Signing a tag again is what publishers do every day, and withdraws
//! nothing; where the tag is signed for nothing any more, that is a no as any other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::inventory::{Judged, Keeping, Says};
use super::{Gate, Judgement, Rules};
use crate::image::{ImageName, Repository, Tag};
use crate::policy::{ContainerFacts, Facts, Verdict};
use crate::request::Intent;
use crate::trust::{Asking, Binding, Purpose, Question, TrustCode, Verifier};

/// How long asking about the tag may take. What was just asked about is mostly known.
const TAG_TIME: Duration = Duration::from_secs(5);

impl Gate {
    /// What the gate would say now, in short.
    pub(super) async fn says(&self, intent: &Intent, keeping: Keeping) -> Judged {
        let judgement = self.judge(intent).await;
        let why = self.explained(&judgement);
        let Judgement { facts, verdict } = judgement;
        if let (Verdict::Allow(permit), Keeping::Approvals) = (&verdict, keeping) {
            permit.approvals().iter().filter(|approval| approval.forgiven.is_none()).for_each(|approval| self.keep(approval));
        }
        let says = match Says::from(verdict) {
            Says::No(reason) if reason.code() == TrustCode::NotSigned.as_str() && self.is_superseded(&facts).await => {
                Says::Superseded(reason)
            }
            says @ (Says::Yes | Says::No(_) | Says::Forgiven(_) | Says::Superseded(_) | Says::CannotTell(_)) => says,
        };
        Judged { says, why }
    }

    async fn is_superseded(&self, facts: &Facts) -> bool {
        let rules = self.rules.load_full();
        let Rules::Good { policy, verifiers, .. } = &*rules else { return false };
        let (Some(ContainerFacts::Found { image: Some(id), image_ref, .. }), [image]) = (&facts.container, &facts.images[..])
        else {
            return false;
        };
        let Some((repository, tag)) = asked_for(image_ref) else { return false };
        if !self.approvals.has_vouched(&repository, id) {
            return false;
        }
        let nos = || image.asked.iter().filter(|asked| asked.repository == repository && asked.answer.is_err());
        let is_plain = nos().all(|asked| matches!(&asked.answer, Err(error) if error.code == TrustCode::NotSigned));
        let by_tag = |verifier: &&Arc<dyn Verifier>| {
            verifier.binding() == Binding::TagToDigest && nos().any(|asked| asked.verifier == *verifier.name())
        };
        let (true, Some(verifier)) = (is_plain, verifiers.iter().find(by_tag).map(Arc::clone)) else { return false };
        let name = policy.scope(&repository).and_then(|scope| scope.asks(&repository)).unwrap_or(repository);
        let (question, now) = (Question::Tag(tag), self.now());
        let answer = match verifier.ready(&name, &question, now) {
            Some(answer) => Some(answer),
            None => {
                let deadline = Instant::now() + TAG_TIME;
                let asking = Asking { purpose: Purpose::Run, now, deadline };
                let asked = self.workers.spawn(async move { verifier.vouch(&name, &question, asking).await });
                tokio::time::timeout_at(deadline, asked).await.ok().and_then(Result::ok)
            }
        };
        // What cannot be found out of the tag is no revocation.
        !matches!(answer, Some(Err(error)) if error.code == TrustCode::NotSigned)
    }
}

/// By which tag of which repository a container was asked for. Of `name:tag@digest` the digest counts, and no tag says what became of it.
fn asked_for(image_ref: &str) -> Option<(Repository, Tag)> {
    let name = ImageName::parse(image_ref).ok()?;
    let reference = name.reference().filter(|reference| reference.digest.is_none())?;
    Some((reference.repository.clone(), reference.tag.clone()?))
}
