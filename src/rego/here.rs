//! Short policies are asked on the thread that asks. To wake another one and to be woken by it costs about as much as to evaluate twenty
//! lines. A thread that serves must not be held, so this is for what cannot take long: few rules (see [`is_quick`]), a small call, and a
//! clock that stops it after a millisecond. What is stopped is asked again where it may take its time (`run`), and for a while so is
//! everything else.

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

/// How long an evaluation may take; regorus looks at the clock between steps.
const LONGEST: ExecutionTimerConfig =
    ExecutionTimerConfig { limit: Duration::from_millis(1), check_interval: NonZeroU32::MIN.saturating_add(15) };
/// After one that took longer, for how long none is tried. A client that knows a call that takes long holds the thread for about a
/// thousandth of the time.
const REST: Duration = Duration::from_secs(1);
/// Largest call, in bytes: no function of [`QUICK`] takes long over as much.
const BYTES: usize = 8 << 10;
/// Most rules and functions of all files together, and most operators of an expression: how deep evaluation calls itself. The serving
/// thread has less of a stack than those of `run`.
const HEADS: usize = 32;
const OPERATORS: usize = 32;

/// Functions whose time and result grow no faster than their arguments.
const QUICK: [&str; 45] = [
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
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "upper",
];
/// Those that are so if their first argument, a pattern, is written in the policy, and not taken from the call.
const QUICK_BY_PATTERN: [&str; 4] = ["glob.match", "re_match", "regex.match", "sprintf"];

/// Whether files are short, and call nothing that may take long over a small call. `defined` are the rules and functions of all of them.
pub(super) fn is_quick<'t>(mut texts: impl Iterator<Item = &'t Text<'t>>, defined: &BTreeSet<String>, heads: usize) -> bool {
    let is_one = |name: &str, is_literal: bool| QUICK.contains(&name) || (is_literal && QUICK_BY_PATTERN.contains(&name));
    // `with` puts other functions in the places of these.
    let is_plain = |text: &Text<'_>| text.mentions("with").is_none() && !text.has_longer(OPERATORS);
    heads <= HEADS && texts.all(|text| is_plain(text) && text.calls_only(defined, is_one))
}

/// The engine of the policies asked last, a clone of theirs, and since when none is tried.
#[derive(Default)]
pub(super) struct Here {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mine: Option<(Arc<Compiled>, Engine)>,
    rests_since: Option<Instant>,
}

impl Here {
    /// Evaluates at once. `None`: it is to be asked elsewhere.
    pub(super) fn ask(&self, policies: &Arc<Compiled>, about: &About) -> Option<Result<Passed, Refusal>> {
        let call = about.call.as_ref().filter(|_| policies.is_quick && about.image.is_none())?;
        if bytes(call) > BYTES {
            return None;
        }
        // Nobody waits here: another thread's turn is that thread's.
        let mut state = self.state.try_lock().ok()?;
        if state.rests_since.is_some_and(|since| since.elapsed() < REST) {
            return None;
        }
        let mut engine = match state.mine.take() {
            Some((of, engine)) if Arc::ptr_eq(&of, policies) => engine,
            Some(_) | None => {
                let mut engine = policies.engine.clone();
                engine.set_execution_timer_config(LONGEST);
                engine
            }
        };
        let began = of_this_thread();
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let evaluated = policies.evaluate(&mut engine, about, |_| {});
            // What was printed is nobody's to read.
            let _ = engine.take_prints();
            evaluated
        }));
        // By the thread's own time: one that the system let others go before has held nobody.
        state.rests_since = (of_this_thread().saturating_sub(began) >= LONGEST.limit / 2).then(Instant::now);
        match evaluated {
            // What broke off may have left something of it behind.
            Err(_) | Ok(Err(Refusal::Error { .. })) => None,
            Ok(answer) => {
                state.mine = Some((Arc::clone(policies), engine));
                Some(answer)
            }
        }
    }
}

/// The processor's time that this thread has used.
fn of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}
