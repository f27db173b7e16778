//! Evaluation on a few threads of its own, of what is not quick (`here`). A thread cannot be stopped: who waits gives up at a deadline, and
//! the thread is counted as held until it ends. With all of them held, nobody is made to wait.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::here::Here;
use super::{About, Compiled, Passed, Refusal, STACK};

/// Bounds of evaluation.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationLimits {
    /// Threads. Few: each may come to use all of a processor.
    pub threads: usize,
    /// Calls that wait for a thread. An evaluation takes some microseconds.
    pub waiting: usize,
    /// Bytes of their bodies together.
    pub bytes: usize,
    /// How long a call waits for its answer, all told.
    pub answer: Duration,
    /// How long an evaluation may take before its thread counts as held.
    pub evaluation: Duration,
}

impl Default for EvaluationLimits {
    fn default() -> Self {
        Self { threads: 2, waiting: 256, bytes: 32 << 20, answer: Duration::from_secs(2), evaluation: Duration::from_secs(1) }
    }
}

/// What evaluation can tell of itself, by query: those are the operator's, so there are few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Evaluations that were given up at the deadline.
    pub abandoned: BTreeMap<String, u64>,
    /// Calls that were refused because of held threads, by the query that holds one.
    pub overloaded: BTreeMap<String, u64>,
    /// Threads that are held now, by query.
    pub held: BTreeMap<String, u64>,
}

/// What is quick at once, and the threads for the rest. They start with the first question that needs one.
pub struct Evaluator {
    here: Here,
    shared: Arc<Shared>,
}

struct Shared {
    limits: EvaluationLimits,
    state: Mutex<State>,
    /// Wakes each thread by itself.
    work: Vec<Condvar>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Threads without work. The one that had some last is woken first: what it needs is still in its processor's cache.
    idle: Vec<usize>,
    /// What each thread evaluates.
    running: Vec<Option<Running>>,
    stats: Stats,
    is_over: bool,
}

struct Running {
    query: String,
    since: std::time::Instant,
}

struct Job {
    policies: Arc<Compiled>,
    about: About,
    answer: oneshot::Sender<Result<Passed, Refusal>>,
}

impl Job {
    /// How much of a body it holds.
    fn bytes(&self) -> usize {
        self.about.call.as_ref().and_then(|call| call.body.as_ref()).map_or(0, Vec::len)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The query of a thread that takes too long, and how many there are.
    fn held(&self, limits: &EvaluationLimits) -> impl Iterator<Item = &str> {
        let held = |running: &&Running| running.since.elapsed() >= limits.evaluation;
        self.running.iter().flatten().filter(held).map(|running| running.query.as_str())
    }
}

impl Default for Evaluator {
    fn default() -> Self {
        Self::with_limits(EvaluationLimits::default())
    }
}

impl Evaluator {
    /// One with other bounds.
    #[must_use]
    pub fn with_limits(limits: EvaluationLimits) -> Self {
        let work = (0..limits.threads).map(|_| Condvar::new()).collect();
        Self { here: Here::default(), shared: Arc::new(Shared { limits, state: Mutex::default(), work }) }
    }

    /// Asks the queries that are due; ends by `deadline`, and after [`EvaluationLimits::answer`] at most.
    pub async fn ask(&self, policies: &Arc<Compiled>, about: About, deadline: Instant) -> Result<Passed, Refusal> {
        if policies.passes_unasked(&about) {
            return Ok(Passed(()));
        }
        if let Some(answer) = self.here.ask(policies, &about) {
            return answer;
        }
        let query = policies.due(&about).next().map(|query| query.rule.clone()).unwrap_or_default();
        let (answer, answered) = oneshot::channel();
        self.put(Job { policies: Arc::clone(policies), about, answer }, &query)?;
        let deadline = deadline.min(Instant::now() + self.shared.limits.answer);
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            // The thread has dropped it: it panicked.
            Ok(Err(_)) => Err(Refusal::Error { query, why: "its evaluation failed".to_owned() }),
            Err(_) => Err(self.given_up(query)),
        }
    }

    fn put(&self, job: Job, query: &str) -> Result<(), Refusal> {
        let mut state = self.shared.state();
        if state.running.is_empty() {
            self.start(&mut state);
        }
        let holding: Vec<String> = state.held(&self.shared.limits).map(str::to_owned).collect();
        let all_held = holding.len() >= state.running.len();
        let bytes = state.waiting.iter().map(Job::bytes).sum::<usize>() + job.bytes();
        let limits = &self.shared.limits;
        if all_held || state.waiting.len() >= limits.waiting || bytes > limits.bytes {
            let query = holding.into_iter().next().unwrap_or_else(|| query.to_owned());
            *state.stats.overloaded.entry(query.clone()).or_default() += 1;
            return Err(Refusal::Overloaded { query });
        }
        state.waiting.push_back(job);
        let woken = state.idle.pop().and_then(|number| self.shared.work.get(number));
        drop(state);
        if let Some(work) = woken {
            work.notify_one();
        }
        Ok(())
    }

    /// Who is not answered in time: either its own evaluation takes too long, or another's does and it never had its turn.
    fn given_up(&self, query: String) -> Refusal {
        let mut state = self.shared.state();
        *state.stats.abandoned.entry(query.clone()).or_default() += 1;
        drop(state);
        let seconds = self.shared.limits.answer.as_secs();
        Refusal::Error { query, why: format!("its evaluation did not end within {seconds} s") }
    }

    /// A thread that cannot be started is one less.
    fn start(&self, state: &mut State) {
        for number in 0..self.shared.limits.threads {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name(format!("rego-{number}")).stack_size(STACK);
            match thread.spawn(move || work(&shared, number)) {
                Ok(_) => state.running.push(None),
                Err(error) => {
                    tracing::error!(%error, "a thread for Rego policies cannot be started");
                    break;
                }
            }
        }
    }

    /// Whether nothing was asked of its threads yet.
    #[cfg(test)]
    pub(super) fn is_unused(&self) -> bool {
        self.shared.state().running.is_empty()
    }

    /// What it can tell of itself.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = self.shared.state();
        let mut told = state.stats.clone();
        for query in state.held(&self.shared.limits) {
            *told.held.entry(query.to_owned()).or_default() += 1;
        }
        told
    }
}

impl Drop for Evaluator {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.work.iter().for_each(Condvar::notify_one);
    }
}

fn work(shared: &Shared, number: usize) {
    // The engine of the policies asked last: a clone of theirs, which is not shared.
    let mut mine: Option<(Arc<Compiled>, regorus::Engine)> = None;
    while let Some(job) = next(shared, number) {
        let Job { policies, about, answer } = job;
        // Whoever waited has given up.
        if answer.is_closed() {
            continue;
        }
        let (_, engine) = match mine.take().filter(|(of, _)| Arc::ptr_eq(of, &policies)) {
            Some(mine) => mine,
            None => (Arc::clone(&policies), policies.engine.clone()),
        };
        let mut engine = AssertUnwindSafe(engine);
        let since = std::time::Instant::now();
        let first = policies.due(&about).next().map(|query| query.rule.clone()).unwrap_or_default();
        note(shared, number, Some(Running { query: first, since }));
        let asks = |query: &str| note(shared, number, Some(Running { query: query.to_owned(), since }));
        let evaluated = catch_unwind(AssertUnwindSafe(|| policies.evaluate(&mut engine, &about, asks)));
        note(shared, number, None);
        // After a panic the engine is not used again, and the answer is dropped.
        if let Ok(evaluated) = evaluated {
            // What was printed is nobody's to read.
            let _ = engine.take_prints();
            // What broke off an evaluation may have left something of it behind.
            mine = (!matches!(evaluated, Err(Refusal::Error { .. }))).then_some((policies, engine.0));
            let _ = answer.send(evaluated);
        }
    }
}

fn next(shared: &Shared, number: usize) -> Option<Job> {
    let work = shared.work.get(number)?;
    let mut state = shared.state();
    loop {
        if state.is_over {
            return None;
        }
        if let Some(job) = state.waiting.pop_front() {
            return Some(job);
        }
        state.idle.push(number);
        state = work.wait(state).unwrap_or_else(PoisonError::into_inner);
        // It may have been woken by nobody.
        state.idle.retain(|idle| *idle != number);
    }
}

fn note(shared: &Shared, number: usize, running: Option<Running>) {
    if let Some(place) = shared.state().running.get_mut(number) {
        *place = running;
    }
}
