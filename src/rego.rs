//! Policies in Rego: what the operator's own rules say of a call, as Docker's OPA plugin (opa-docker-authz) would ask them. They only take
//! away: what they let pass still has to be vouched for. Says nothing of when they are asked; `gate` does.
//!
//! regorus reads and evaluates them. Neither its parser nor its functions can be stopped from outside, so both run on threads of their
//! own (`run`), and who waits gives up by a deadline; but for short policies that cannot take long (`here`).

mod builtins;
mod here;
mod input;
mod load;
mod remembered;
mod run;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::sync::Arc;

use regorus::{Engine, Value};

use crate::request::{Manner, Unreadable};
use crate::text::{clean, fit};
use crate::wire::Call;
pub(crate) use here::has_room;
pub use input::{Config, Image, Signature, Statement};
use remembered::Remembered;
pub use run::{EvaluationLimits, Evaluator, Stats};

/// The stack, in bytes, of a thread that evaluates: evaluation calls itself, as deep as texts and bodies go.
pub(crate) const STACK: usize = 16 << 20;

/// Longest message of a policy that is kept, in characters. Refusals are cut again where they are shown.
const MESSAGE: usize = 160;
/// Most strings of `deny` that are shown.
const MESSAGES: usize = 3;

/// A policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, for faults.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// What is written of Rego in the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The files.
    pub files: Vec<File>,
    /// The rules that must be true (`data.docker.authz.allow`): all of them.
    pub queries: Vec<String>,
    /// `input.environment`.
    pub environment: String,
    /// Whether paths of the host can be looked up, as the plain binary can and the managed plugin cannot.
    pub sees_host: bool,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// The file; `None` where the fault is in a query.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}: {}", clean(file), self.what),
            (Some(file), None) => write!(f, "{}: {}", clean(file), self.what),
            (None, _) => f.write_str(&self.what),
        }
    }
}

/// Why a call may not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A policy does not allow it.
    Denied {
        /// The query.
        query: String,
        /// The strings of `deny` in its package; else what the query came to.
        says: String,
    },
    /// A policy could not be evaluated, or came to something else than yes or no.
    Error {
        /// The query.
        query: String,
        /// Why.
        why: String,
    },
    /// Nobody is free to evaluate it: earlier evaluations do not end.
    Overloaded {
        /// The query that holds them up.
        query: String,
    },
    /// What dockerd would act on cannot be read.
    Unreadable(Unreadable),
}

/// A query: a rule that must be true, and what its package may have beside it, `deny`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Query {
    /// As written: `data.docker.authz.allow`.
    rule: String,
    /// The rule that says what `deny` of its package and the rule itself come to (see `load::asked`). One question, so that what both
    /// rest on is evaluated once. It is undefined where one of them is.
    asked: String,
    /// The same of each by itself.
    asked_apart: String,
    /// Whether it is about images: asked once for each, and passed by other calls.
    of_images: bool,
}

/// Policies that were read and checked. Two are equal if they were made of the same texts.
pub struct Compiled {
    sources: Sources,
    engine: Engine,
    queries: Vec<Query>,
    /// Whether paths of bind mounts are followed: a file asks for it, and they can be.
    looks: bool,
    /// Where a file reads what only an image's configuration has.
    reads_config: bool,
    /// The calls that passed, where what the rules say is made of the call alone.
    remembered: Option<Remembered>,
    /// Whether it may be asked on the thread that serves.
    is_quick: bool,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("queries", &self.queries).finish_non_exhaustive()
    }
}

impl PartialEq for Compiled {
    fn eq(&self, other: &Self) -> bool {
        self.sources == other.sources
    }
}

impl Eq for Compiled {}

/// What is asked about.
#[derive(Debug, Clone)]
pub struct About {
    /// The call; `None` where the gate judges what has begun by itself.
    pub call: Option<Arc<Call>>,
    /// What the engine makes of it.
    pub manner: Manner,
    /// An image of it: then the queries about images are asked, else the others.
    pub image: Option<Image>,
}

/// That all queries that are due have let pass. Made only in this room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed(());

impl Compiled {
    /// Reads, checks and compiles. All faults at once, as far as they can be seen together. Blocks for as long as that takes, at most
    /// some seconds.
    pub fn of(sources: Sources) -> Result<Self, Vec<Fault>> {
        load::in_time(sources)
    }

    /// Whether any query is about images.
    #[must_use]
    pub fn asks_of_images(&self) -> bool {
        self.queries.iter().any(|query| query.of_images)
    }

    /// Whether any query is about calls.
    #[must_use]
    pub fn asks_of_calls(&self) -> bool {
        self.queries.iter().any(|query| !query.of_images)
    }

    /// What it was made of.
    #[must_use]
    pub const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Whether Docker's OPA plugin lets a call pass unasked: the client's greeting, exactly so.
    #[must_use]
    pub fn is_exempt(call: &Call) -> bool {
        call.method == "HEAD" && call.uri == "/_ping"
    }

    /// The queries that are due.
    fn due(&self, about: &About) -> impl Iterator<Item = &Query> {
        let of_images = about.image.is_some();
        self.queries.iter().filter(move |query| query.of_images == of_images)
    }

    /// Whether a rule about images reads what only an image's configuration has.
    #[must_use]
    pub fn reads_config(&self) -> bool {
        self.reads_config && self.asks_of_images()
    }

    /// Whether nothing has to be evaluated.
    fn passes_unasked(&self, about: &About) -> bool {
        about.call.as_deref().is_some_and(Self::is_exempt)
            || self.due(about).next().is_none()
            || self.memory_for(about).is_some_and(|(remembered, call)| remembered.has(call, about.manner))
    }

    /// Where such a question is remembered, and the call that it is: one about an image is about more than the call.
    fn memory_for<'a>(&'a self, about: &'a About) -> Option<(&'a Remembered, &'a Arc<Call>)> {
        match about {
            About { call: Some(call), manner: _, image: None } => Some((self.remembered.as_ref()?, call)),
            About { .. } => None,
        }
    }

    /// Evaluates what is due. Blocks, in the worst case for ever. `engine` is a clone of this one's.
    fn evaluate(&self, engine: &mut Engine, about: &About, mut asks: impl FnMut(&str)) -> Result<Passed, Refusal> {
        let environment = &self.sources.environment;
        let mut input = match &about.call {
            Some(call) => input::of_call(call, about.manner, environment, self.looks)?,
            None => input::Input::default(),
        };
        if let Some(image) = &about.image {
            if image.config.is_none() && self.reads_config {
                let query = self.due(about).next().map(|query| query.rule.clone()).unwrap_or_default();
                let why = format!(
                    "the configuration of {}, which the policy reads, is not known",
                    crate::text::clean(&image.reference)
                );
                return Err(Refusal::Error { query, why });
            }
            input::with_image(&mut input, image, environment);
        }
        let input = input.in_rego();
        for query in self.due(about) {
            asks(&query.rule);
            let failed = |why: String| Refusal::Error { query: query.rule.clone(), why };
            engine.set_input(input.clone());
            let mut ask =
                |rule: &str| engine.eval_rule(rule.to_owned()).map_err(|error| failed(load::plain(&error.to_string()).1));
            let answer = match ask(&query.asked)? {
                Value::Undefined => ask(&query.asked_apart)?,
                answer => answer,
            };
            let [denied, allowed] = load::answered(&answer);
            // `deny` first: what it says is worth more to whoever reads it.
            let says = match (said(&denied, query.of_images), allowed) {
                (Some(says), _) => says,
                (None, Value::Bool(true)) => continue,
                (None, Value::Bool(false)) => "it is not true".to_owned(),
                (None, Value::Undefined) => "it is undefined".to_owned(),
                (None, other) => return Err(failed(format!("it is {}, which is not a boolean", kind(&other)))),
            };
            return Err(Refusal::Denied { query: query.rule.clone(), says });
        }
        if let Some((remembered, call)) = self.memory_for(about) {
            remembered.keep(Arc::clone(call), about.manner);
        }
        Ok(Passed(()))
    }
}

/// What `deny` says: its strings, escaped and in bounds. `None` if it says nothing. Of an image's, whatever is in it refuses.
fn said(denied: &Value, of_images: bool) -> Option<String> {
    let values: Vec<&Value> = match denied {
        Value::Undefined | Value::Bool(false) => Vec::new(),
        Value::Set(set) => set.iter().collect(),
        Value::Array(list) => list.iter().collect(),
        Value::Object(members) => members.values().collect(),
        Value::Null | Value::Bool(true) | Value::Number(_) | Value::String(_) => vec![denied],
    };
    let texts: Vec<String> = values
        .iter()
        .filter_map(|value| if let Value::String(text) = value { Some(fit(text, MESSAGE)) } else { None })
        .take(MESSAGES)
        .collect();
    match (texts.is_empty(), values.is_empty() || !of_images) {
        (false, _) => Some(fit(&texts.join("; "), MESSAGE)),
        (true, true) => None,
        (true, false) => Some("its `deny` is not empty".to_owned()),
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Set(_) => "a set",
        Value::Object(_) => "an object",
        Value::Undefined => "undefined",
    }
}
