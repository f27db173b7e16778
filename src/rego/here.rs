//! Short policies are asked on the thread that asks. To wake another one and to be woken by it costs about as much as to evaluate twenty
//! lines. A thread that serves must not be held, so this is for what cannot take long: few rules (see [`is_quick`]), a small call, and a
//! clock that stops it after a millisecond. What is stopped is asked again where it may take its time (`run`). What was used of the thread
//! is a debt, and while that is large everything is asked there.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use regorus::Engine;
use regorus::utils::limits::ExecutionTimerConfig;
use rustix::time::{ClockId, clock_gettime};

use super::remembered::bytes;
use super::text::Text;
use super::{About, Compiled, Passed, Refusal};

/// How long a rule may take; regorus looks at the clock between steps.
const LONGEST: ExecutionTimerConfig =
    ExecutionTimerConfig { limit: Duration::from_millis(1), check_interval: NonZeroU32::MIN.saturating_add(15) };
/// Most queries: each has that time, twice where one is undefined.
const QUERIES: usize = 2;
/// What an evaluation may use of the thread for nothing. Honest ones take less.
const FREE: Duration = Duration::from_micros(100);
/// What is used above that is a debt. With more than this none is tried.
const MOST_DEBT: Duration = Duration::from_millis(4);
/// Of the debt, this much is forgiven in a second: clients that know calls that take long hold the thread for a fiftieth of the time.
const FORGIVEN: u32 = 50;
/// Largest call, in bytes: no function of [`QUICK`] takes long over as much.
const BYTES: usize = 8 << 10;
/// Most rules and functions of all files together, and most operators of an expression.
const HEADS: usize = 32;
const OPERATORS: usize = 32;

/// Functions whose time and result grow no faster than their arguments.
const QUICK: [&str; 42] = [
    "abs",
    "all",
    "any",
    "array.concat",
    "array.reverse",
    "array.slice",
    "cast_array",
    "cast_boolean",
    "cast_null",
    "cast_object",
    "cast_set",
    "cast_string",
    "ceil",
    "contains",
    "count",
    "endswith",
    "floor",
    "indexof",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "lower",
    "max",
    "min",
    "object.get",
    "object.keys",
    "round",
    "set",
    "sort",
    "split",
    "startswith",
    "substring",
    "time.now_ns",
    "trim_prefix",
    "trim_space",
    "trim_suffix",
    "upper",
];
/// Those that are so if their first argument, a pattern, is written in the policy, and not taken from the call; repetitions that are counted
/// (`{1,64}`) make large programs of short ones.
const QUICK_BY_PATTERN: [&str; 3] = ["re_match", "regex.match", "sprintf"];

/// Whether files are short, and call nothing that may take long over a small call. `defined` are the rules and functions of all of them.
pub(super) fn is_quick<'t>(
    mut texts: impl Iterator<Item = &'t Text<'t>>,
    defined: &BTreeSet<String>,
    [heads, queries]: [usize; 2],
) -> bool {
    let is_plain_pattern = |literal: Option<&str>| literal.is_some_and(|pattern| !pattern.contains('{'));
    let is_one = |name: &str, literal: Option<&str>| {
        QUICK.contains(&name) || (QUICK_BY_PATTERN.contains(&name) && is_plain_pattern(literal))
    };
    // `with` puts other functions in the places of these.
    let is_plain = |text: &Text<'_>| text.mentions("with").is_none() && !text.has_longer(OPERATORS);
    heads <= HEADS && queries <= QUERIES && texts.all(|text| is_plain(text) && text.calls_only(defined, is_one))
}

thread_local! {
    static HAS_ROOM: Cell<bool> = const { Cell::new(false) };
}

/// Says that this thread has a stack of [`super::STACK`], as those of `run` have. On no other is anything evaluated at once.
pub(crate) fn has_room() {
    HAS_ROOM.set(true);
}

/// The engine of the policies asked last, a clone of theirs, and what is owed.
#[derive(Default)]
pub(super) struct Here {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mine: Option<(Arc<Compiled>, Engine)>,
    debt: Duration,
    /// When it was that much; `None`: there is none.
    since: Option<Instant>,
}

impl State {
    /// What is owed now.
    fn debt(&mut self) -> Duration {
        if let Some(since) = self.since {
            let now = Instant::now();
            self.debt = self.debt.saturating_sub(now.duration_since(since) / FORGIVEN);
            self.since = (!self.debt.is_zero()).then_some(now);
        }
        self.debt
    }

    fn owe(&mut self, used: Duration) {
        if !used.is_zero() {
            self.debt = self.debt() + used;
            self.since = Some(Instant::now());
        }
    }

    fn evaluate(&mut self, policies: &Arc<Compiled>, about: &About) -> Option<Result<Passed, Refusal>> {
        let mut engine = match self.mine.take() {
            Some((of, engine)) if Arc::ptr_eq(&of, policies) => engine,
            Some(_) | None => {
                let mut engine = policies.engine.clone();
                engine.set_execution_timer_config(LONGEST);
                engine
            }
        };
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let evaluated = policies.evaluate(&mut engine, about, |_| {});
            // What was printed is nobody's to read.
            let _ = engine.take_prints();
            evaluated
        }));
        match evaluated {
            // What broke off may have left something of it behind.
            Err(_) | Ok(Err(Refusal::Error { .. })) => None,
            Ok(answer) => {
                self.mine = Some((Arc::clone(policies), engine));
                Some(answer)
            }
        }
    }
}

impl Here {
    /// Evaluates at once. `None`: it is to be asked elsewhere.
    pub(super) fn ask(&self, policies: &Arc<Compiled>, about: &About) -> Option<Result<Passed, Refusal>> {
        let call = about.call.as_ref().filter(|_| policies.is_quick && about.image.is_none() && HAS_ROOM.get())?;
        if bytes(call) > BYTES {
            return None;
        }
        // Nobody waits here: another thread's turn is that thread's.
        let mut state = self.state.try_lock().ok()?;
        if state.debt() > MOST_DEBT {
            return None;
        }
        // The thread's own time: one that the system let others go before has held nobody.
        let began = of_this_thread();
        let answer = state.evaluate(policies, about);
        let used = of_this_thread().saturating_sub(began);
        // What comes to nothing is not for nothing.
        state.owe(if answer.is_some() { used.saturating_sub(FREE) } else { used });
        answer
    }
}

/// The processor's time that this thread has used.
fn of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}
