//! What of a snapshot somebody has to see to, with what to do about it. Plain: facts in, troubles out.

use crate::order::sort_by_key;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Page, Severity, Snapshot, Trouble, Verdict};
use crate::audit::Carried;
use crate::gate::Figures;
use crate::policy::{Mode, MonitorRule};
use crate::setup::InForce;
use crate::text::fit;

/// What a monitor that looks, or a gate that tells, says again within this time (they do each quarter of a minute).
const FRESH: Duration = Duration::from_secs(90);
/// Longest evidence, characters.
const EVIDENCE_CHARS: usize = 300;

/// What is known.
pub(super) struct Facts<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) figures: &'a Figures,
    /// What the gate says that it has in force.
    pub(super) said: Option<&'a InForce>,
    pub(super) page: &'a Page,
    /// How sinks of the audit log fare.
    pub(super) sinks: &'a [(&'static str, Carried)],
}

/// What somebody has to see to, the worst first.
pub(super) fn troubles(facts: &Facts<'_>) -> Vec<Trouble> {
    let mut found = Vec::new();
    of_gate(facts, &mut found);
    of_sinks(facts.sinks, &mut found);
    of_settings(facts, &mut found);
    of_running(facts.snapshot, &mut found);
    of_arrived(facts.snapshot, &mut found);
    of_trust(facts.snapshot, &mut found);
    sort_by_key(&mut found, |trouble| trouble.severity);
    found
}

fn add(found: &mut Vec<Trouble>, severity: Severity, evidence: impl AsRef<str>, remedy: &str) {
    found.push(Trouble { severity, evidence: fit(evidence.as_ref(), EVIDENCE_CHARS), remedy: remedy.to_owned() });
}

fn is_old(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) > SignedDuration::try_from(FRESH).unwrap_or(SignedDuration::MAX)
}

fn of_gate(Facts { figures, snapshot, page, .. }: &Facts<'_>, found: &mut Vec<Trouble>) {
    match figures.is_asked {
        Some(true) => {}
        Some(false) => add(
            found,
            Severity::Critical,
            "dockerd does not ask this gate: nothing is checked",
            "run `img-authz doctor` as root on this host, it says what to change",
        ),
        None => add(found, Severity::Info, "it is not known yet whether dockerd asks this gate", "look again in a minute"),
    }
    if figures.is_grpc_open == Some(true) {
        add(
            found,
            Severity::Critical,
            "the engine serves gRPC over cleartext HTTP/2, and asks no plugin about it",
            "run `img-authz doctor`: it says how to switch it off",
        );
    }
    if let Page::Missing { address, why } = page {
        add(
            found,
            Severity::Critical,
            format!("the gate does not serve its page at {address}: {why}"),
            "show the page's token to nobody who answers there; end that process, or set another WEB",
        );
    }
    if figures.mode == Mode::Permissive {
        add(
            found,
            Severity::Warning,
            "MODE is permissive: refusals are recorded, and the calls are allowed",
            "set MODE=enforce once the audit log holds no surprises",
        );
    }
    if snapshot.entries_lost > 0 {
        add(
            found,
            Severity::Warning,
            format!("{} entries of the audit log were lost since the start", snapshot.entries_lost),
            "free disk space for the state folder; AUDIT=require refuses what cannot be recorded",
        );
    }
}

/// Alerts are one of them: a file of webhooks that is faulty, and webhooks that do not answer.
fn of_sinks(sinks: &[(&'static str, Carried)], found: &mut Vec<Trouble>) {
    for (sink, fares) in sinks {
        let missed = match fares.dropped {
            0 => String::new(),
            dropped => format!("the sink `{sink}` has missed {dropped} entries since the start"),
        };
        match &fares.away {
            Some(why) => {
                let joint = if missed.is_empty() { "" } else { "; " };
                let evidence = format!("the sink `{sink}` does not take entries: {why}{joint}{missed}");
                add(found, Severity::Warning, evidence, "correct it; the audit log itself has all entries");
            }
            None if !missed.is_empty() => add(found, Severity::Info, missed, "the audit log itself has all entries"),
            None => {}
        }
    }
}

fn of_settings(Facts { said, snapshot, .. }: &Facts<'_>, found: &mut Vec<Trouble>) {
    let Some(said) = said else {
        let remedy = "free disk space for the state folder, then look again in half a minute";
        add(found, Severity::Warning, "what is in force is not known: the gate could not write it", remedy);
        return;
    };
    if is_old(said.told, snapshot.at) {
        let evidence = format!("what is in force was last written at {:.0}", said.told);
        add(found, Severity::Warning, evidence, "free disk space for the state folder, then look again in half a minute");
    }
    let severity = if said.settings.is_none() { Severity::Critical } else { Severity::Warning };
    let what = match said.settings {
        None => "no policy is in force, and calls that touch an image are refused",
        Some(_) => "the settings are wrong and NOT used; the last good ones are",
    };
    for fault in &said.faults {
        add(found, severity, format!("{what}: {fault}"), "correct it; `img-authz settings` shows what is in force");
    }
    for fault in &said.file_faults {
        let evidence = format!("a file is wrong and NOT used; what it last held is: {fault}");
        add(found, Severity::Warning, evidence, "correct the file; the gate reads it again by itself");
    }
    for (list, fault) in said.allowlists.iter().filter_map(|list| Some((list, list.fault.as_ref()?))) {
        let verifier = &list.verifier;
        if list.key.is_some() {
            let then = list
                .serial
                .map_or("every image that needs it is refused".to_owned(), |serial| format!("serial {serial} stays in force"));
            let evidence = format!("the file of the signed allowlist `{verifier}` is refused; {then}: {fault}");
            add(found, Severity::Warning, evidence, "put the newest list that is signed in its place (img-authz allowlist sign)");
            continue;
        }
        let evidence = format!("the allowlist `{verifier}` is wrong; its last good content counts: {fault}");
        add(found, Severity::Warning, evidence, "correct the file; the gate reads it again by itself");
    }
    if let Some(since) = said.notary_out_since {
        let evidence = format!("the Notary server is out of reach since {since:.0}: pulls are refused");
        add(found, Severity::Warning, evidence, "see why with `img-authz doctor`");
    }
}

fn of_running(snapshot: &Snapshot, found: &mut Vec<Trouble>) {
    let now = snapshot.at;
    match &snapshot.running {
        Some(running) if running.rule == MonitorRule::Off => {}
        Some(running) => {
            if is_old(running.at, now) || is_old(running.listed.unwrap_or(snapshot.started), now) {
                let evidence = format!("the monitor has not seen what runs since {:.0}", running.listed.unwrap_or(running.at));
                add(found, Severity::Warning, evidence, "see the gate's log; is the engine there?");
            }
            if running.unapproved > 0 {
                let evidence = format!("of {} containers that run, {} would be refused now", running.count, running.unapproved);
                add(found, Severity::Critical, evidence, "see `img-authz monitor status`; set MONITOR=stop to have them stopped");
            }
            if running.awaited > 0 {
                let evidence = format!("the monitor waits for you: {} containers at once are too many", running.awaited);
                add(found, Severity::Warning, evidence, "look at them, then run `img-authz monitor approve`");
            }
            if running.unread > 0 {
                let evidence = format!("{} containers are not judged: the engine's list of them cannot be read", running.unread);
                add(found, Severity::Warning, evidence, "see the gate's log");
            }
        }
        None => add(
            found,
            Severity::Info,
            "nobody looks at the containers that run, or has not yet",
            "set MONITOR=report, or look again in half a minute",
        ),
    }
    match &snapshot.host {
        Some(host) => {
            if let Some(fault) = &host.fault {
                add(found, Severity::Warning, format!("what is on this host is not known: {fault}"), "is the engine there?");
            }
            let unsure = snapshot.refused().filter(|item| item.verdict == Verdict::CannotTell).count();
            if unsure > 0 {
                let evidence = format!("of {unsure} images and containers it cannot be told now; they would be refused");
                add(found, Severity::Info, evidence, "`img-authz check IMAGE` says what stands in the way");
            }
        }
        None => add(found, Severity::Info, "what is on this host is still being judged", "look again in half a minute"),
    }
}

fn of_arrived(snapshot: &Snapshot, found: &mut Vec<Trouble>) {
    match &snapshot.arrived {
        Some(arrived) => {
            if let Some(fault) = &arrived.fault {
                let evidence = format!("images that arrive are not seen: {fault}");
                add(found, Severity::Warning, evidence, "see the gate's log; is the engine there?");
            }
            let unread = arrived.unread + arrived.left;
            if unread > 0 {
                let evidence =
                    format!("{unread} images are not audited: the engine's list of them cannot be read, or is too long");
                add(found, Severity::Warning, evidence, "`img-authz audit IMAGE` looks at one; remove those that nobody needs");
            }
        }
        // They are looked at where containers are.
        None if snapshot.running.as_ref().is_some_and(|running| running.rule != MonitorRule::Off)
            && is_old(snapshot.started, snapshot.at) =>
        {
            add(found, Severity::Warning, "nobody looks at images that arrive", "see the gate's log, then start the gate again");
        }
        None => {}
    }
}

fn of_trust(snapshot: &Snapshot, found: &mut Vec<Trouble>) {
    for one in snapshot.host.iter().flat_map(|host| &host.trust).filter(|one| !one.is_good).take(8) {
        let evidence = format!("trust data of `{}`: {}", one.repository, one.state);
        add(found, Severity::Warning, evidence, "who signs it has to sign it again; `img-authz trust status` shows all");
    }
    for exception in &snapshot.exceptions {
        let (severity, what) = match exception.standing.as_str() {
            "ending" => (Severity::Info, "ends soon"),
            "ended" => (Severity::Info, "has ended: what it let pass is refused"),
            "ahead" => (Severity::Warning, "ends more than 366 days ahead, and does not count"),
            _ => continue,
        };
        let evidence = format!("exception {} of {} {what}: {:.0}", exception.id, exception.owner, exception.expires);
        add(found, severity, evidence, "`img-authz exception list` shows all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_looks_at_what_arrives_that_is_a_warning_and_where_nobody_is_to_it_is_none() {
        let mut snapshot = super::super::sample::sample("x");
        let told = |snapshot: &Snapshot| {
            let mut found = Vec::new();
            of_arrived(snapshot, &mut found);
            found.into_iter().map(|trouble| trouble.evidence).collect::<Vec<_>>()
        };
        assert_eq!(told(&snapshot).len(), 2, "a fault, and one that is too many");
        snapshot.arrived = None;
        assert_eq!(told(&snapshot), [""; 0], "it has only begun");
        snapshot.at = snapshot.started + SignedDuration::from_mins(5);
        assert_eq!(told(&snapshot), ["nobody looks at images that arrive"]);
        snapshot.running.as_mut().unwrap().rule = MonitorRule::Off;
        assert_eq!(told(&snapshot), [""; 0]);
    }

    #[test]
    fn a_sink_that_takes_nothing_is_a_warning_and_one_that_does_is_none() {
        let told = |away: Option<&str>, dropped| {
            let mut found = Vec::new();
            of_sinks(&[("otlp", Carried { sent: 1, dropped, away: away.map(str::to_owned) })], &mut found);
            found.pop().map(|trouble| (trouble.severity, trouble.evidence))
        };
        assert_eq!(told(None, 0), None);
        let away = "the sink `otlp` does not take entries: 401";
        assert_eq!(told(Some("401"), 0), Some((Severity::Warning, away.to_owned())));
        let missed = "the sink `otlp` has missed 3 entries since the start";
        assert_eq!(told(Some("401"), 3), Some((Severity::Warning, format!("{away}; {missed}"))));
        assert_eq!(told(None, 3), Some((Severity::Info, missed.to_owned())));
    }
}
