//! A snapshot for tests: a text of others stands wherever one may.

use super::*;
use crate::image::Digest;
use crate::monitor::{Audited, Weakness};

/// A snapshot in which every text that others may have written is `text`.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn sample(text: &str) -> Snapshot {
    let at: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let of = || text.to_owned();
    let item = |verdict, is_running| Item {
        id: of(),
        name: of(),
        image: of(),
        is_running,
        verdict,
        code: of(),
        message: of(),
        why: vec![of()],
        approved_by: vec![of()],
    };
    let finding: Finding = serde_json::from_value(serde_json::json!({
        "container": "a".repeat(64), "name": text, "image": text, "image_id": null, "code": text, "message": text,
        "since": at, "hold": null, "held": text,
    }))
    .unwrap();
    let audited = |unread: Option<String>| Audited {
        at,
        id: Digest::of(b"x"),
        name: of(),
        weak: vec![Weakness { rule: of(), severity: of(), evidence: of() }],
        more: 2,
        unread,
    };
    Snapshot {
        at,
        version: of(),
        started: at,
        mode: of(),
        posture: of(),
        troubles: vec![Trouble { severity: Severity::Critical, evidence: of(), remedy: of() }],
        decided: Decided { allowed: 12, blocked: 3, would_block: 1 },
        entries_lost: 0,
        approved_ever: 4,
        host: Some(Host {
            at,
            fault: None,
            images: [Verdict::Allowed, Verdict::Refused, Verdict::Superseded, Verdict::CannotTell, Verdict::Forgiven]
                .map(|verdict| item(verdict, false))
                .into(),
            containers: vec![item(Verdict::Refused, true)],
            left: 1,
            trust: vec![TrustData {
                verifier: of(),
                repository: of(),
                checked: at,
                expires_first: Some(Expiry { role: of(), at }),
                roles: vec![Expiry { role: of(), at }],
                state: of(),
                is_good: false,
            }],
            trust_left: 1,
        }),
        running: Some(Running {
            at,
            listed: Some(at),
            rule: MonitorRule::Report,
            paused_until: None,
            count: 2,
            unread: 0,
            unapproved: 1,
            findings: vec![finding.clone()],
            unsure: vec![finding],
            awaited: 0,
            acts: Vec::new(),
        }),
        events: vec![Told {
            timestamp: at,
            event: of(),
            user: of(),
            action: of(),
            container_id: of(),
            container_name: of(),
            container_image: of(),
            image: of(),
            digest: of(),
            verifiers: vec![of()],
            signers: vec![of()],
            code: "x".to_owned(),
            message: of(),
            enforced: true,
            count: 2,
        }],
        policy: PolicyTold {
            place: of(),
            digest: Some(of()),
            read: Some(at),
            text: Some(of()),
            allowlists: vec![Allowlist { verifier: of(), path: of(), entries: Some(1), fault: Some(of()), serial: Some(7) }],
        },
        exceptions: vec![ExceptionTold {
            id: of(),
            subject: of(),
            lift: vec![of()],
            owner: of(),
            reason: of(),
            ticket: Some(of()),
            expires: at,
            standing: of(),
        }],
        arrived: Some(Arrived {
            told: at,
            since: at,
            waiting: 1,
            left: 1,
            fault: Some(of()),
            images: vec![audited(None), audited(Some(of()))],
        }),
        page: Some(of()),
    }
}
