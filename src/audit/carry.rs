//! Who carries entries away from this host, as the log sees them: named, never waited for, and asked now and then how they fare.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::text::fit;

/// How seldom it is told how a carrier fares, at first; half as often after each time, and at least so often while it goes on. Stops one that flaps,
/// which a client may bring about, from filling the log, and from pushing out what is notable there.
const TELL: Duration = Duration::from_mins(1);
const TELL_MOST: Duration = Duration::from_hours(1);
/// Longest reason of a carrier that is told, characters. Stops foreign text from filling the log.
const WHY_CHARS: usize = 200;

/// Carries entries away. Sees each line as it is in the file; one that the file could not take has no link.
pub trait Carrier: Send + Sync {
    /// What it is called.
    fn name(&self) -> &'static str;
    /// Takes a line. Never waits: where there is no room, it is dropped and counted.
    fn carry(&self, line: &Arc<[u8]>);
    /// How it fares.
    fn carried(&self) -> Carried;
    /// Waits a moment until what it has taken is where it should be. Called at stop.
    fn end(&self);
}

/// How a carrier fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Entries that arrived.
    pub sent: u64,
    /// Entries that never will.
    pub dropped: u64,
    /// Why nothing arrives now.
    pub away: Option<String>,
}

/// What has been told of a carrier.
#[derive(Default)]
pub(super) struct Telling {
    is_away: bool,
    dropped: u64,
    /// When it was told last, and how long that keeps.
    at: Option<(Instant, Duration)>,
}

impl Telling {
    /// What there is to say of a carrier that fares like this: that nothing arrives there, that it does again, and what is missing there; seldom,
    /// however often it comes and goes.
    pub(super) fn tidings(&mut self, name: &str, fares: &Carried, now: Instant) -> Option<String> {
        let missing = fares.dropped.saturating_sub(self.dropped);
        // Where it stays away, what tells of that may be the one that it misses.
        let is_known = fares.away.is_some() == self.is_away && missing <= u64::from(self.is_away);
        let since = self.at.map(|(at, keeps)| (now.saturating_duration_since(at), keeps));
        if is_known || since.is_some_and(|(since, keeps)| since < keeps) {
            return None;
        }
        // One that was quiet for long begins anew.
        let keeps = since.filter(|(since, _)| *since < TELL_MOST * 2).map_or(TELL, |(_, keeps)| TELL_MOST.min(keeps * 2));
        let said = match (&fares.away, self.is_away) {
            (Some(why), false) if missing == 0 => {
                format!("does not take entries: {}; they wait, as many as there is room for", fit(why, WHY_CHARS))
            }
            (Some(why), false) => format!("does not take entries: {}; it has missed {missing}", fit(why, WHY_CHARS)),
            (Some(why), true) => format!("still does not take entries: {}; it has missed {missing} more", fit(why, WHY_CHARS)),
            (None, true) => format!("takes entries again; it has missed {missing}"),
            (None, false) => format!("has missed {missing} entries"),
        };
        *self = Self { is_away: fares.away.is_some(), dropped: fares.dropped, at: Some((now, keeps)) };
        Some(format!("the sink `{name}` {said}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sink_misses_is_told_while_it_is_away_too_and_ever_more_seldom() {
        let (mut told, begun) = (Telling::default(), Instant::now());
        let mut says = |seconds: u64, away: Option<&str>, dropped| {
            let fares = Carried { sent: 0, dropped, away: away.map(str::to_owned) };
            told.tidings("x", &fares, begun + Duration::from_secs(seconds)).unwrap_or_default()
        };
        assert_eq!(says(0, None, 0), "");
        assert_eq!(says(1, Some("503"), 0), "the sink `x` does not take entries: 503; they wait, as many as there is room for");
        // It answers, and refuses.
        assert_eq!(says(2, Some("400"), 3), "", "not within the minute");
        assert_eq!(says(61, Some("400"), 3), "the sink `x` still does not take entries: 400; it has missed 3 more");
        assert_eq!(says(200, Some("400"), 4), "", "what told of it is refused as well");
        assert_eq!(says(300, Some("400"), 5), "the sink `x` still does not take entries: 400; it has missed 2 more");
        assert_eq!(says(540, None, 6), "the sink `x` takes entries again; it has missed 1");
        assert_eq!(says(2000, None, 6), "");
        assert_eq!(says(2001, None, 7), "the sink `x` has missed 1 entries");
        assert_eq!(says(4000, Some("400"), 9), "the sink `x` does not take entries: 400; it has missed 2");
    }

    #[test]
    fn one_that_flaps_pushes_nothing_out() {
        let (mut told, begun) = (Telling::default(), Instant::now());
        let mut said = |from: u64, to: u64| {
            let flaps = |second: &u64| Carried { sent: 0, dropped: 0, away: second.is_multiple_of(2).then(|| "403".to_owned()) };
            let tidings = (from..to).filter_map(|second| told.tidings("x", &flaps(&second), begun + Duration::from_secs(second)));
            tidings.count()
        };
        let day = 24 * 60 * 60;
        assert!((24..=40).contains(&said(0, day)));
        // After a quiet day it is told at once.
        assert_eq!(said(2 * day, 2 * day + 2), 1);
        assert_eq!(said(2 * day + 2, 2 * day + 64), 1);
    }
}
