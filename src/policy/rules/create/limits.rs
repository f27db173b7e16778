//! Limits: memory, processors, processes, restarts, and the kernel's for each process.

use std::collections::BTreeMap;

use super::Judged;
use crate::request::{Restart, Run, RunKind};
use crate::text::clean;

/// Bytes of a MiB, as `docker run --memory 1m` counts.
const MEBIBYTE: u64 = 1024 * 1024;
/// The period of the kernel's scheduler where nobody says another, in microseconds.
const PERIOD: i64 = 100_000;
/// The shortest that it takes.
const SHORTEST_PERIOD: i64 = 1_000;

/// The highest that a limit may be; `None`: there must be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most(pub Option<u64>);

/// Limits of processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuLimit {
    /// The most processors; `None`: some limit or weight must be there.
    pub cpus: Option<u64>,
}

impl Most {
    fn has(self, limit: i64, unit: u64) -> bool {
        let limit = u64::try_from(limit).unwrap_or_default();
        limit > 0 && self.0.is_none_or(|most| limit <= most.saturating_mul(unit))
    }
}

/// Whether a container is made, or one that is there is given something else.
enum Set<T> {
    Made(T),
    Updated(T),
    /// The call is about something else.
    Other,
}

fn set<'r, T>(run: &Run<'r>, of: impl FnOnce(&'r crate::request::Terms) -> T) -> Set<T> {
    match (run.kind, run.terms) {
        (RunKind::Container | RunKind::Service, Some(terms)) => Set::Made(of(terms)),
        (RunKind::Update, Some(terms)) => Set::Updated(of(terms)),
        (RunKind::Container | RunKind::Service | RunKind::Update | RunKind::Exec { .. } | RunKind::Volume, _) => Set::Other,
    }
}

pub(super) fn memory(run: &Run<'_>, most: &Most) -> Judged {
    let (bytes, with_swap, is_update) = match set(run, |terms| (terms.memory.unwrap_or_default(), terms.memory_swap)) {
        Set::Made((bytes, with_swap)) => (bytes, with_swap, false),
        Set::Updated((bytes, with_swap)) => (bytes, with_swap, true),
        Set::Other => return Ok(()),
    };
    // An update to 0 leaves the limit as it is.
    let is_kept = is_update && bytes == 0;
    if !is_kept && !most.has(bytes, MEBIBYTE) {
        let is_none = !is_update && bytes <= 0;
        return Err(if is_none {
            "it has no limit of memory".to_owned()
        } else {
            format!("its limit of memory is {bytes} bytes")
        });
    }
    match with_swap.unwrap_or_default() {
        // As much again as memory.
        0 => Ok(()),
        ..0 => Err("it may swap without limit".to_owned()),
        bytes if most.has(bytes, 2 * MEBIBYTE) => Ok(()),
        bytes => Err(format!("its limit of memory and swap is {bytes} bytes")),
    }
}

pub(super) fn pids(run: &Run<'_>, most: &Most) -> Judged {
    match set(run, |terms| terms.pids) {
        Set::Updated(None) | Set::Other => Ok(()),
        Set::Made(Some(pids)) | Set::Updated(Some(pids)) if most.has(pids, 1) => Ok(()),
        Set::Made(None) => Err("it has no limit of processes".to_owned()),
        // 0 and -1 take it away.
        Set::Made(Some(pids)) | Set::Updated(Some(pids)) if pids <= 0 => Err("it has no limit of processes".to_owned()),
        Set::Made(Some(pids)) | Set::Updated(Some(pids)) => Err(format!("its limit of processes is {pids}")),
    }
}

impl CpuLimit {
    pub(super) fn judge(&self, run: &Run<'_>) -> Judged {
        let (cpu, is_update) = match set(run, |terms| terms.cpu) {
            Set::Made(cpu) => (cpu, false),
            Set::Updated(cpu) => (cpu, true),
            Set::Other => return Ok(()),
        };
        let none = || Err("it has no limit of processor time".to_owned());
        if is_update && cpu.nanos == 0 && cpu.quota == 0 && cpu.period == 0 {
            return Ok(());
        }
        // Both at once the engine refuses, or lets the quota stand, also one below 0.
        let is_taken_away = cpu.nanos < 0 || cpu.quota < 0 || cpu.period < 0;
        if is_taken_away || (cpu.nanos != 0 && (cpu.quota != 0 || cpu.period != 0)) {
            return none();
        }
        let is_unlimited = cpu.nanos == 0 && cpu.quota == 0;
        let Some(cpus) = self.cpus else {
            let has = !is_unlimited || cpu.shares > 0 || is_update;
            return if has { Ok(()) } else { none() };
        };
        if is_unlimited {
            return none();
        }
        let cpus = i64::try_from(cpus).unwrap_or(i64::MAX);
        let period = match cpu.period {
            // The container has one, which nobody knows here.
            0 if is_update => SHORTEST_PERIOD,
            0 => PERIOD,
            period => period,
        };
        let by_nanos = cpu.nanos <= cpus.saturating_mul(1_000_000_000);
        let by_quota = cpu.quota <= cpus.saturating_mul(period);
        if by_nanos && by_quota { Ok(()) } else { Err(format!("it may use more than {cpus} processors")) }
    }
}

pub(super) fn restart(run: &Run<'_>, most: &Most) -> Judged {
    let restart = match set(run, |terms| terms.restart) {
        Set::Made(restart) | Set::Updated(restart) => restart,
        Set::Other => return Ok(()),
    };
    match restart {
        Restart::Never => Ok(()),
        Restart::Times(times) if most.0.is_none_or(|most| times <= most) => Ok(()),
        Restart::Times(times) => Err(format!("it is started again {times} times")),
        Restart::Endless => Err("it is started again without end".to_owned()),
    }
}

/// Ulimits up to the highest of their name; one that is not listed is refused.
pub(super) fn ulimits(run: &Run<'_>, highest: &BTreeMap<String, u64>) -> Judged {
    for ulimit in run.terms.iter().flat_map(|terms| &terms.ulimits) {
        let hard = u64::try_from(ulimit.hard).ok();
        let passes = highest.get(&ulimit.name).is_some_and(|most| hard.is_some_and(|hard| hard <= *most));
        if !passes {
            return Err(format!("ulimit `{}` is {}", clean(&ulimit.name), ulimit.hard));
        }
    }
    Ok(())
}
