//! Exceptions: what passes for a time though the policy refuses it, because somebody answers for it (docs/policy.md, "Exceptions").
//!
//! One by reference lifts rules of what a repository *vouched* for; one by digest stands in the place of who must vouch. Names of images
//! are evidence of neither. Knows nothing of who vouches and of what rules look for: [`super::approve`] asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Level, Pattern, Policy, PolicyFault, Position, Reason, RuleId, Scope};
use crate::image::{Digest, Repository};

/// Most exceptions of a policy. Those by reference are all looked at for each image that is approved.
pub const EXCEPTIONS: usize = 256;
/// Most patterns of all of them together: each is compared with each scope when the policy is read, and with each repository that vouched.
pub const PATTERNS: usize = 1024;
/// How far ahead an exception may end. One that ends later does not count: it would be no exception, and a clock that was set back
/// would bring it back.
const AHEAD: SignedDuration = SignedDuration::from_hours(366 * 24);
/// How long before its end an exception is warned about.
const ENDING: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Digits of an id, as many as people compare.
const ID_DIGITS: usize = 8;

/// What passes for a time, and who answers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// What it is about.
    pub of: Excepted,
    /// The rules that it lifts, by their own names.
    pub lift: Vec<&'static str>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Where it is followed up.
    pub ticket: Option<String>,
    /// When it ends.
    pub expires: Timestamp,
    /// Where it is written.
    pub position: Option<Position>,
}

/// What an exception is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Excepted {
    /// What these repositories vouched for.
    Repositories(Vec<Pattern>),
    /// This manifest or index.
    Digest(Digest),
    /// The image of the classic store that has this id. It never compares with a digest of a manifest.
    ImageId(Digest),
}

/// Whether an exception counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It counts.
    InForce,
    /// It counts, and ends within a week.
    Ending,
    /// It has ended.
    Ended,
    /// It ends too far ahead to count.
    Ahead,
}

/// The time by which exceptions are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// This host's clock.
    pub now: Timestamp,
    /// The latest that it has ever shown: what has ended by then stays ended when the clock is set back.
    pub latest: Timestamp,
}

impl From<Timestamp> for Times {
    fn from(now: Timestamp) -> Self {
        Self { now, latest: now }
    }
}

/// An exception that a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExceptionUse {
    /// Its id.
    pub id: String,
    /// Who answers for it.
    pub owner: String,
    /// Where it is followed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// When it ends.
    pub expires: Timestamp,
    /// It stood in the place of who must vouch.
    pub vouches: bool,
    /// The rules that it lifted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifts: Vec<&'static str>,
}

/// The rule of this name, by whatever name it is known, if exceptions may lift it.
#[must_use]
pub fn liftable(name: &str) -> Option<&'static str> {
    RuleId::named(name).map(|id| id.about().id)
}

/// When what ends then, as people write it, ends: a time of RFC 3339; a date alone is the end of that day in UTC.
#[must_use]
pub fn end(text: &str) -> Option<Timestamp> {
    let of_day = || {
        let date = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == "2026-12-04".len())?;
        Some(date.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    of_day().or_else(|| text.parse().ok())
}

/// An end as people read it: of a date, that day too.
#[must_use]
pub fn end_told(expires: Timestamp) -> String {
    let at = expires.to_zoned(jiff::tz::TimeZone::UTC);
    match at.date().yesterday() {
        Ok(day) if at.time() == jiff::civil::Time::midnight() => format!("{expires:.0} (the end of {day})"),
        _ => format!("{expires:.0}"),
    }
}

/// What rules that can be lifted are called.
pub fn all_liftable() -> impl Iterator<Item = &'static str> {
    RuleId::all().map(|id| id.about().id)
}

impl Standing {
    /// As metrics and commands have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in-force",
            Self::Ending => "ending",
            Self::Ended => "ended",
            Self::Ahead => "ahead",
        }
    }

    /// Whether an exception of this standing counts.
    #[must_use]
    pub const fn counts(self) -> bool {
        match self {
            Self::InForce | Self::Ending => true,
            Self::Ended | Self::Ahead => false,
        }
    }
}

impl Exception {
    /// A short name, made of what it says: what says something else is another one.
    #[must_use]
    pub fn id(&self) -> String {
        let kind = match self.of {
            Excepted::Repositories(_) => "match",
            Excepted::Digest(_) => "digest",
            Excepted::ImageId(_) => "image_id",
        };
        let (subject, lift, expires) = (self.subject(), self.lift.join(","), self.expires.to_string());
        // None of them has this letter in it.
        let all =
            [kind, &subject, &lift, &self.owner, &self.reason, self.ticket.as_deref().unwrap_or_default(), &expires].join("\0");
        let hex = Digest::of(all.as_bytes()).hex();
        format!("x{}", hex.get(..ID_DIGITS).unwrap_or_default())
    }

    /// Whether it counts at this time.
    #[must_use]
    pub fn standing(&self, times: impl Into<Times>) -> Standing {
        let times = times.into();
        match self.expires.duration_since(times.now) {
            left if !left.is_positive() || self.expires <= times.latest => Standing::Ended,
            left if left > AHEAD => Standing::Ahead,
            left if left <= ENDING => Standing::Ending,
            _ => Standing::InForce,
        }
    }

    /// What it is about, as it is written.
    #[must_use]
    pub fn subject(&self) -> String {
        match &self.of {
            Excepted::Repositories(patterns) => patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", "),
            Excepted::Digest(digest) => digest.to_string(),
            Excepted::ImageId(id) => format!("image id {id}"),
        }
    }

    /// `x1f0c2a9b of alice`, with what people follow it up by.
    #[must_use]
    pub fn told(&self) -> String {
        let ticket = self.ticket.as_ref().map(|ticket| format!(" ({ticket})")).unwrap_or_default();
        format!("exception {} of {}{ticket} for {}", self.id(), self.owner, self.subject())
    }

    /// How many patterns it has.
    #[must_use]
    pub fn patterns(&self) -> usize {
        match &self.of {
            Excepted::Repositories(patterns) => patterns.len(),
            Excepted::Digest(_) | Excepted::ImageId(_) => 0,
        }
    }

    fn is_about(&self, repository: &Repository) -> bool {
        match &self.of {
            Excepted::Repositories(patterns) => patterns.iter().any(|pattern| pattern.matches(repository)),
            Excepted::Digest(_) | Excepted::ImageId(_) => false,
        }
    }
}

/// The exceptions of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exceptions {
    repositories: Vec<Arc<Exception>>,
    digests: BTreeMap<Digest, Vec<Arc<Exception>>>,
    image_ids: BTreeMap<Digest, Vec<Arc<Exception>>>,
}

/// The digests by which content is known. Those of manifests and the id never compare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// Of manifests and indexes.
    pub digests: Vec<Digest>,
    /// Of its configuration, where that is its id.
    pub config: Option<Digest>,
}

impl Exceptions {
    /// These.
    #[must_use]
    pub fn new(all: Vec<Exception>) -> Self {
        let mut exceptions = Self::default();
        for exception in all.into_iter().map(Arc::new) {
            match exception.of {
                Excepted::Repositories(_) => exceptions.repositories.push(exception),
                Excepted::Digest(digest) => exceptions.digests.entry(digest).or_default().push(exception),
                Excepted::ImageId(id) => exceptions.image_ids.entry(id).or_default().push(exception),
            }
        }
        exceptions
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Exception>> {
        self.repositories.iter().chain(self.digests.values().chain(self.image_ids.values()).flatten())
    }

    /// Whether one of them, in force or not, is about this content.
    #[must_use]
    pub fn name(&self, content: &Content) -> bool {
        self.of(content).next().is_some()
    }

    fn of<'e>(&'e self, content: &'e Content) -> impl Iterator<Item = &'e Arc<Exception>> {
        let digests = content.digests.iter().filter_map(|digest| self.digests.get(digest));
        let image_ids = content.config.iter().filter_map(|id| self.image_ids.get(id));
        digests.chain(image_ids).flatten()
    }

    /// Those about this content. At no time known none counts.
    pub(super) fn about_content(&self, content: &Content, times: Option<Times>) -> Applied {
        let mut applied = Applied::default();
        applied.add(self.of(content), times);
        applied
    }

    /// Those about what this repository vouched for, beside those of its content.
    pub(super) fn about_repository(&self, repository: &Repository, times: Option<Times>, applied: &mut Applied) {
        applied.add(self.repositories.iter().filter(|exception| exception.is_about(repository)), times);
    }
}

/// The exceptions about one image, and what of them its approval rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    in_force: Vec<Arc<Exception>>,
    /// Those that do not count.
    over: Vec<(Arc<Exception>, Standing)>,
    uses: Vec<ExceptionUse>,
}

impl Applied {
    fn add<'e>(&mut self, exceptions: impl Iterator<Item = &'e Arc<Exception>>, times: Option<Times>) {
        let Some(times) = times else { return };
        for exception in exceptions {
            match exception.standing(times) {
                Standing::InForce | Standing::Ending => self.in_force.push(Arc::clone(exception)),
                standing @ (Standing::Ended | Standing::Ahead) => self.over.push((Arc::clone(exception), standing)),
            }
        }
    }

    /// The exception that stands in the place of who must vouch; of several, the one that ends last.
    pub(super) fn vouch(&mut self) -> Option<Arc<Exception>> {
        let vouching = self.in_force.iter().filter(|exception| exception.vouches());
        let exception = Arc::clone(vouching.max_by_key(|exception| exception.expires)?);
        self.used(&exception).vouches = true;
        Some(exception)
    }

    /// Whether one of them lifts this rule, which then is on record.
    pub(super) fn lift(&mut self, rule: &'static str) -> bool {
        let lifting = self.in_force.iter().filter(|exception| exception.lift.contains(&rule));
        let Some(exception) = lifting.max_by_key(|exception| exception.expires).cloned() else { return false };
        let used = self.used(&exception);
        if !used.lifts.contains(&rule) {
            used.lifts.push(rule);
        }
        true
    }

    fn used(&mut self, exception: &Exception) -> &mut ExceptionUse {
        let id = exception.id();
        let at = self.uses.iter().position(|used| used.id == id).unwrap_or(self.uses.len());
        if at == self.uses.len() {
            self.uses.push(ExceptionUse {
                id,
                owner: exception.owner.clone(),
                ticket: exception.ticket.clone(),
                expires: exception.expires,
                vouches: false,
                lifts: Vec::new(),
            });
        }
        #[expect(clippy::indexing_slicing, reason = "it was found, or pushed, there")]
        &mut self.uses[at]
    }

    /// The refusal of what nobody vouches for, with the exception that did and does not count any more.
    pub(super) fn no_vouch(&self, reason: Reason) -> Reason {
        self.over_of(Exception::vouches, reason)
    }

    /// The refusal by this rule, with the exception that lifted it and does not count any more.
    pub(super) fn not_lifted(&self, rule: &str, reason: Reason) -> Reason {
        self.over_of(|exception| exception.lift.contains(&rule), reason)
    }

    fn over_of(&self, would: impl Fn(&Exception) -> bool, reason: Reason) -> Reason {
        let over = self.over.iter().filter(|(exception, _)| would(exception));
        match over.max_by_key(|(exception, standing)| (*standing, exception.expires)) {
            Some((exception, standing)) => Reason::ExceptionOver {
                exception: exception.id(),
                owner: exception.owner.clone(),
                expires: exception.expires,
                standing: *standing,
                reason: Box::new(reason),
            },
            None => reason,
        }
    }

    /// Those that the approval rests on.
    #[must_use]
    pub fn uses(&self) -> &[ExceptionUse] {
        &self.uses
    }
}

impl Exception {
    /// Whether it stands in the place of who must vouch.
    const fn vouches(&self) -> bool {
        match self.of {
            Excepted::Digest(_) | Excepted::ImageId(_) => true,
            Excepted::Repositories(_) => false,
        }
    }
}

/// What exceptions say that comes to nothing, and is most likely not meant.
pub(super) fn without_effect(policy: &Policy) -> Vec<PolicyFault> {
    let mut out = Vec::new();
    for exception in policy.exceptions.iter() {
        let mut warn = |key: &'static str, message: String| {
            let warning = PolicyFault::of(key, message);
            out.push(exception.position.iter().cloned().fold(warning, PolicyFault::at));
        };
        let holds = |scope: &&Scope| match &exception.of {
            Excepted::Repositories(patterns) => {
                scope.patterns.iter().any(|of_scope| patterns.iter().any(|pattern| pattern.meets(of_scope)))
            }
            Excepted::Digest(_) | Excepted::ImageId(_) => true,
        };
        let scopes: Vec<&Scope> = policy.scopes.iter().filter(holds).collect();
        if scopes.is_empty() && !exception.vouches() {
            warn("exception.match", "no scope holds what it matches: nothing is vouched for there".to_owned());
            continue;
        }
        for rule in &exception.lift {
            let of_images = |scope: &&Scope| scope.rules.iter().any(|(id, of)| id.about().id == *rule && of.level == Level::Deny);
            let of_creates =
                |scope: &&Scope| scope.create_rules.iter().any(|(id, of)| id.about().id == *rule && of.level == Level::Deny);
            let is_on = scopes.iter().any(|scope| of_images(scope) || of_creates(scope));
            if !is_on {
                warn("exception.lift", format!("rule `{rule}` refuses nothing there: it is off, or only warns"));
            }
        }
    }
    out
}

impl Exceptions {
    /// What time has made of them: those that do not count, and those that end within a week.
    #[must_use]
    pub fn warnings(&self, now: Timestamp) -> Vec<PolicyFault> {
        let of = |exception: &Arc<Exception>| {
            let (told, at) = (exception.told(), end_told(exception.expires));
            let message = match exception.standing(now) {
                Standing::InForce => return None,
                Standing::Ending => format!("{told} ends at {at}"),
                Standing::Ended => format!("{told} expired at {at}: it does not count any more"),
                Standing::Ahead => format!("{told} ends at {at}: it does not count until that is at most 366 days ahead"),
            };
            let warning = PolicyFault::of("exception.expires", message);
            Some(exception.position.iter().cloned().fold(warning, PolicyFault::at))
        };
        self.iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests;
