//! What the audit log says of images that arrived. Whoever can load images can load very many: a few have an entry each, and more are counted in
//! one, so that a crowd neither pushes out other entries nor turns the log over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::judged::Report;
use super::queue::Waiting;
use crate::audit::{Entry, Event};
use crate::clock;
use crate::gate::Gate;
use crate::hardening::Severity;

/// Most entries at once; and after how long there may be another one: 480 a day.
const AT_ONCE: u32 = 20;
const REFILL: Duration = Duration::from_mins(3);
/// How long those beyond are counted where there may be an entry, and where there may be none.
const COUNT: Duration = Duration::from_mins(1);
const COUNT_MOST: Duration = Duration::from_hours(1);
/// How long the same trouble is not told again.
const QUIET: Duration = Duration::from_hours(1);
/// How many are named of those that went.
const NAMED: usize = 3;

/// What is recorded.
pub(super) struct Entries {
    left: u32,
    refilled: Instant,
    counted: Option<Counted>,
    told: BTreeMap<&'static str, Instant>,
}

/// Those that have no entry of their own.
struct Counted {
    since: Instant,
    audited: u64,
    unread: u64,
    worst: Option<Severity>,
    rules: BTreeSet<&'static str>,
    gone: u64,
    names: Vec<String>,
}

impl Entries {
    pub(super) fn new() -> Self {
        Self { left: AT_ONCE, refilled: Instant::now(), counted: None, told: BTreeMap::new() }
    }

    /// One was audited.
    pub(super) fn audited(&mut self, gate: &Gate, waiting: &Waiting, report: &Report) {
        let worst = report.findings.first().map(|worst| worst.severity);
        if !self.may() {
            let counted = self.counted();
            counted.audited += 1;
            counted.unread += u64::from(report.unread.is_some());
            counted.worst = counted.worst.max(worst);
            counted.rules.extend(report.rules());
            return;
        }
        let found = match worst {
            Some(worst) => {
                let (count, worst) = (report.findings.len(), worst.as_str());
                format!("weaknesses: {count}, the worst {worst}; img-authz audit IMAGE says more")
            }
            None => "its configuration and its history show no weakness".to_owned(),
        };
        let mut entry = Entry::new(clock::now(), Event::Audited);
        entry.image = Entry::text(&waiting.name);
        entry.image_id = waiting.id.to_string();
        entry.rules = report.rules();
        entry.message = Entry::text(&match &report.unread {
            Some(why) if worst.is_none() => format!("arrived, and not looked at: {why}"),
            Some(why) => format!("arrived; {found}; not looked at: {why}"),
            None => format!("arrived; {found}"),
        });
        // Nothing is let pass because of it: where it cannot be recorded, the log's own count tells.
        let _ = gate.record_monitored(&entry);
    }

    /// One went before it was audited.
    pub(super) fn gone(&mut self, waiting: &Waiting) {
        let counted = self.counted();
        counted.gone += 1;
        if counted.names.len() < NAMED {
            counted.names.push(crate::policy::quoted(&waiting.name));
        }
    }

    /// What was only counted is recorded, when that is due.
    pub(super) fn tell(&mut self, gate: &Gate) {
        let Some(age) = self.counted.as_ref().map(|counted| counted.since.elapsed()) else { return };
        if age < COUNT_MOST && (age < COUNT || !self.may()) {
            return;
        }
        let Some(Counted { audited, unread, worst, rules, gone, names, .. }) = self.counted.take() else { return };
        let mut parts = Vec::new();
        if audited > 0 {
            let worst =
                worst.map_or("none has a weakness".to_owned(), |worst| format!("the worst weakness is {}", worst.as_str()));
            parts.push(format!("{audited} more images arrived and were audited, {worst}: img-authz status"));
        }
        if unread > 0 {
            parts.push(format!("of {unread} something could not be looked at"));
        }
        if gone > 0 {
            let more = if gone > names.len() as u64 { ", …" } else { "" };
            parts.push(format!("{gone} arrived and went before they were audited: {}{more}", names.join(", ")));
        }
        let mut entry = Entry::new(clock::now(), Event::Audited);
        entry.count = audited.saturating_add(gone);
        entry.rules = rules.into_iter().collect();
        entry.message = Entry::text(&parts.join("; "));
        let _ = gate.record_monitored(&entry);
    }

    /// Records loudly that something is not seen, seldom the same.
    pub(super) fn blind(&mut self, gate: &Gate, kind: &'static str, told: &str) {
        if self.told.get(kind).is_some_and(|at| at.elapsed() < QUIET) {
            return;
        }
        self.told.insert(kind, Instant::now());
        let mut entry = Entry::new(clock::now(), Event::Held);
        entry.message = Entry::text(told);
        tracing::error!("{}", entry.message);
        let _ = gate.record_monitored(&entry);
    }

    /// Whether there may be an entry now; then it counts as made.
    fn may(&mut self) -> bool {
        let now = Instant::now();
        while self.left < AT_ONCE && now.duration_since(self.refilled) >= REFILL {
            self.left += 1;
            self.refilled += REFILL;
        }
        if self.left == AT_ONCE {
            self.refilled = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }

    fn counted(&mut self) -> &mut Counted {
        self.counted.get_or_insert_with(|| Counted {
            since: Instant::now(),
            audited: 0,
            unread: 0,
            worst: None,
            rules: BTreeSet::new(),
            gone: 0,
            names: Vec::new(),
        })
    }
}
