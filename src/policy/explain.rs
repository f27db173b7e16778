//! A verdict explained: the scope that decided and where it is written, who vouched there, and what would have to change.

use super::rules::image::{Finding, Level};
use super::show::requirement;
use super::{Approval, Asked, Facts, Policy, Reason, Scope, Verdict, quoted};
use crate::trust::Vouch;

impl Policy {
    /// The scope of each image, and for a refusal what would have to be otherwise; a line each.
    #[must_use]
    pub fn explained(&self, facts: &Facts, verdict: &Verdict) -> Vec<String> {
        let reason = match verdict {
            Verdict::Allow(permit) => {
                let of = |approval: &Approval| {
                    let warnings: Vec<&Finding> = approval.warnings.iter().collect();
                    Some(told(self.scope(approval.repository.as_ref()?)?, approval.vouches.iter(), &warnings))
                };
                return permit.approvals().iter().filter_map(of).collect();
            }
            Verdict::WouldDeny(reason) | Verdict::Deny(reason) => reason,
        };
        let scope = self.judged_in(facts, verdict);
        // Of a mirror the origin vouches; what was asked about is the mirror's.
        let in_scope = |asked: &&Asked| scope.is_some_and(|scope| self.scope(&asked.repository) == Some(scope));
        let asked = facts.images.iter().take(1).flat_map(|image| &image.asked).filter(in_scope);
        let vouches = asked.filter_map(|asked| asked.answer.as_ref().ok());
        let lines = scope.map(|scope| told(scope, vouches, &verdict.findings()));
        lines.into_iter().chain(changes(reason, scope).into_iter().map(|change| format!("to pass: {change}"))).collect()
    }
}

/// `team` (policy.toml:12), or its label alone where no file says it.
fn named(scope: &Scope) -> String {
    let at = scope.position.as_ref().map(|position| format!(" ({position})")).unwrap_or_default();
    format!("{}{at}", quoted(scope.label()))
}

fn told<'v>(scope: &Scope, vouches: impl Iterator<Item = &'v Vouch>, findings: &[&Finding]) -> String {
    let mut by: Vec<String> = vouches
        .map(|vouch| match vouch.signers() {
            [] => vouch.verifier().to_string(),
            signers => format!("{} ({})", vouch.verifier(), signers.join(", ")),
        })
        .collect();
    by.dedup();
    let by = if by.is_empty() { "nobody vouches".to_owned() } else { format!("vouched by {}", by.join(" and ")) };
    let of = |level: Level| {
        let ids: Vec<&str> = findings.iter().filter(|found| found.level == level).map(|found| found.rule.about().id).collect();
        if ids.is_empty() {
            String::new()
        } else {
            format!("; {} by {}", if level == Level::Deny { "refused" } else { "warned" }, ids.join(", "))
        }
    };
    format!(
        "scope {} decides: require = {}; {by}{}{}",
        named(scope),
        requirement(&scope.require),
        of(Level::Deny),
        of(Level::Warn)
    )
}

/// What would have to be otherwise, each a way or a part of it.
fn changes(reason: &Reason, scope: Option<&Scope>) -> Vec<String> {
    match reason {
        Reason::OfId { reason, .. } | Reason::InScope { reason, .. } | Reason::ExceptionOver { reason, .. } => {
            changes(reason, scope)
        }
        Reason::ImageRule { findings, .. } => {
            let denied = findings.iter().filter(|finding| finding.level == Level::Deny);
            let of = |finding: &Finding| {
                let about = finding.rule.about();
                let at = finding.position.as_ref().map(|position| format!(" ({position})")).unwrap_or_default();
                format!("{}; or rule {}{at} becomes `warn` or `off`", about.remedy, about.id)
            };
            denied.map(of).collect()
        }
        Reason::Trust { image, verifier, .. } => {
            let or = scope.map(|scope| format!("; or `require` of scope {} asks for somebody else", named(scope)));
            vec![format!("verifier `{verifier}` vouches for {}: {}{}", quoted(image), reason.remedy(), or.unwrap_or_default())]
        }
        Reason::OutsideScopes { repository } => {
            vec![format!("use an image of a scope of the policy, or a `match` there covers {}", quoted(repository.as_str()))]
        }
        other => vec![other.remedy().into_owned()],
    }
}
