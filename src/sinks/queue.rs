//! The queue before a sink, and the thread behind it: what comes in never waits, what goes out waits as long as it must. Both ends are
//! bounded: a sink that is slow or away costs entries, which are counted, and nothing else.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Failure, Way};
use crate::audit::{Carried, Carrier};

/// Most entries that wait for one sink: a tenth of a second of the most that is ever written, an hour of a busy host.
const QUEUE_ENTRIES: usize = 8192;
/// Most bytes of them. Stops long entries from filling memory.
const QUEUE_BYTES: usize = 8 << 20;
/// Most entries that are sent at once, and most bytes of them.
const BATCH_ENTRIES: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// How long a sink is left alone after a failure, at first; twice as long after each further one, up to the longest.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_mins(1);
/// How often a sink is called that has something to do without entries.
const BEAT: Duration = Duration::from_secs(1);
/// How far a sink's thread stands back behind the one that serves the daemon, in steps of `nice`: a tenth of its weight, while that one works.
const STAND_BACK: i32 = 10;
/// How long the stop of the gate waits for sinks, and how much of that is for what a sink itself has waiting.
const AT_STOP: Duration = Duration::from_secs(2);
const FINISH: Duration = Duration::from_secs(1);

/// A sink with its queue.
pub(super) struct Queue {
    name: &'static str,
    /// Which lines are for this sink.
    wants: fn(&[u8]) -> bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Arc<[u8]>>,
    bytes: usize,
    carried: Carried,
    /// Nothing is sent after this.
    end: Option<Instant>,
    /// The thread has ended.
    is_over: bool,
}

impl Queue {
    /// Starts the thread of a sink. It ends with the process, or a moment after [`Carrier::end`].
    pub(super) fn start(name: &'static str, wants: fn(&[u8]) -> bool, way: Box<dyn Way>) -> std::io::Result<Arc<Self>> {
        let queue = Arc::new(Self { name, wants, state: Mutex::default(), changed: Condvar::new() });
        let own = Arc::clone(&queue);
        std::thread::Builder::new().name(format!("sink-{name}")).spawn(move || {
            let _ = rustix::process::nice(STAND_BACK);
            own.run(way);
        })?;
        Ok(queue)
    }

    fn run(&self, mut way: Box<dyn Way>) {
        self.carry_on(&mut *way);
        let soon = Instant::now() + FINISH;
        let end = self.lock().end.map_or(soon, |end| end.min(soon));
        way.finish(end);
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    fn carry_on(&self, way: &mut dyn Way) {
        let (mut rest, mut is_refused) = (FIRST_REST, false);
        while let Some(batch) = self.batch(way.has_a_beat()) {
            match way.send(&batch) {
                Ok(arrived) => {
                    (rest, is_refused) = (FIRST_REST, false);
                    let mut state = self.lock();
                    let before = std::mem::replace(&mut state.carried.away, way.trouble());
                    let is_back = before.is_some() && state.carried.away.is_none();
                    let lost = (batch.len() as u64).saturating_sub(arrived);
                    state.carried.sent = state.carried.sent.saturating_add(arrived);
                    state.carried.dropped = state.carried.dropped.saturating_add(lost);
                    state.done(&batch);
                    // Decisions take this lock: nothing is said under it.
                    drop(state);
                    if is_back {
                        tracing::info!(sink = self.name, "{} arrive again", way.what());
                    }
                }
                Err(Failure::Refused(why)) => {
                    // Once: a sink that refuses all must not fill the gate's own log.
                    if !std::mem::replace(&mut is_refused, true) {
                        tracing::warn!(sink = self.name, why, entries = batch.len(), "{} were refused", way.what());
                    }
                    let mut state = self.lock();
                    state.carried.away = Some(format!("it refuses them: {why}"));
                    state.carried.dropped = state.carried.dropped.saturating_add(batch.len() as u64);
                    state.done(&batch);
                }
                Err(Failure::Away { why, rest: wished }) => {
                    if self.lock().carried.away.is_none() {
                        tracing::warn!(sink = self.name, why, "{} do not arrive; they wait", way.what());
                    }
                    let mut state = self.lock();
                    state.carried.away = Some(why);
                    let until = Instant::now() + wished.unwrap_or_default().clamp(rest, LONGEST_REST);
                    rest = (rest * 2).min(LONGEST_REST);
                    while state.end.is_none()
                        && let Some(left) = until.checked_duration_since(Instant::now())
                    {
                        state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                    }
                    if state.end.is_some_and(|end| end <= Instant::now()) {
                        return;
                    }
                    if state.end.is_some() {
                        drop(state);
                        std::thread::sleep(FIRST_REST / 4);
                    }
                }
            }
            self.changed.notify_all();
        }
    }

    /// What is to be sent next; it stays in the queue until it has arrived. Nothing now, for a beat; `None`: nothing more.
    fn batch(&self, has_a_beat: bool) -> Option<Vec<Arc<[u8]>>> {
        let mut state = self.lock();
        loop {
            if state.end.is_some_and(|end| state.lines.is_empty() || end <= Instant::now()) {
                return None;
            }
            if !state.lines.is_empty() {
                break;
            }
            if has_a_beat {
                let (woken, waited) = self.changed.wait_timeout(state, BEAT).unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if waited.timed_out() && state.lines.is_empty() && state.end.is_none() {
                    return Some(Vec::new());
                }
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let mut bytes = 0_usize;
        let fits = |line: &&Arc<[u8]>| {
            bytes = bytes.saturating_add(line.len());
            bytes <= BATCH_BYTES || bytes == line.len()
        };
        Some(state.lines.iter().take(BATCH_ENTRIES).take_while(fits).cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn done(&mut self, batch: &[Arc<[u8]>]) {
        for line in self.lines.drain(..batch.len().min(self.lines.len())) {
            self.bytes = self.bytes.saturating_sub(line.len());
        }
    }
}

impl Carrier for Queue {
    fn name(&self) -> &'static str {
        self.name
    }

    fn carry(&self, line: &Arc<[u8]>) {
        if !(self.wants)(line) {
            return;
        }
        let mut state = self.lock();
        let bytes = state.bytes.saturating_add(line.len());
        // What happened first is kept: who floods hides nothing that they did before.
        if state.lines.len() >= QUEUE_ENTRIES || bytes > QUEUE_BYTES || state.end.is_some() {
            state.carried.dropped = state.carried.dropped.saturating_add(1);
            return;
        }
        state.bytes = bytes;
        state.lines.push_back(Arc::clone(line));
        drop(state);
        self.changed.notify_all();
    }

    fn carried(&self) -> Carried {
        self.lock().carried.clone()
    }

    fn end(&self) {
        let mut state = self.lock();
        let end = *state.end.get_or_insert_with(|| Instant::now() + AT_STOP);
        self.changed.notify_all();
        while !state.is_over
            && let Some(left) = end.checked_duration_since(Instant::now())
        {
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
