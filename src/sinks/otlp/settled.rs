//! What becomes of a batch that a collector does not take as it is: what is bad in it costs the rest nothing, whatever the rest is.

use std::sync::Arc;

use crate::sinks::Failure;

/// How many parts of a batch may be refused before what is left is sent whole, and given up where that is refused. Stops a collector that refuses all
/// from being asked about each entry; enough for a few that are bad among 512.
const REFUSALS: usize = 48;
/// How often in a row a collector answers with a status that may be about an entry before it is found out whether it is. Stops one entry, in which
/// a client has written what a firewall on the way does not like, from stopping all behind it; enough for a restart.
const TRIES: u32 = 5;
/// Why lines were not taken.
pub(super) enum Untaken {
    /// Fewer may be.
    Large,
    /// They never will, together: one of them may be why.
    Refused(String),
    /// They may be later, or one of them is why.
    Answered(String, Failure),
    /// They may be later.
    Away(Failure),
}

/// What became of the first of so many lines; what goes on after a failure begins with the same.
#[derive(Default)]
pub(super) struct Settled {
    lines: usize,
    arrived: u64,
    /// How often the collector has answered with a status that may be about an entry.
    answered: u32,
}

impl Settled {
    /// Sends lines in parts: one that is refused is halved, so that what the collector does not take costs the others nothing.
    pub(super) fn send(
        &mut self,
        lines: &[Arc<[u8]>],
        mut call: impl FnMut(&[Arc<[u8]>]) -> Result<u64, Untaken>,
    ) -> Result<u64, Failure> {
        let (mut size, mut refusals, mut refused, mut is_choosy) = (lines.len(), 0_usize, None, false);
        while let Some(rest) = lines.get(self.lines..).filter(|rest| !rest.is_empty()) {
            let part = rest.get(..size.max(1)).unwrap_or(rest);
            match call(part) {
                Ok(arrived) => {
                    self.lines += part.len();
                    self.arrived = self.arrived.saturating_add(arrived);
                    size = part.len().saturating_mul(2);
                }
                Err(Untaken::Away(failure)) => return Err(failure),
                Err(Untaken::Large) if part.len() > 1 => size = part.len() / 2,
                Err(Untaken::Answered(why, failure)) => {
                    self.answered = self.answered.saturating_add(1);
                    // A call without entries shows whether it answers so whatever is sent.
                    if self.answered < TRIES || matches!(call(&[]), Err(Untaken::Away(_) | Untaken::Answered(..))) {
                        return Err(failure);
                    }
                    is_choosy = true;
                    if part.len() > 1 {
                        size = part.len() / 2;
                    } else {
                        self.lines += part.len();
                        refused = Some(why);
                    }
                }
                Err(Untaken::Refused(_)) if part.len() > 1 && refusals < REFUSALS => {
                    refusals += 1;
                    size = part.len() / 2;
                }
                Err(Untaken::Refused(why)) => {
                    refusals += 1;
                    self.lines += part.len();
                    refused = Some(why);
                    if refusals >= REFUSALS {
                        size = lines.len();
                    }
                }
                // One line is always sent.
                Err(Untaken::Large) => self.lines += part.len(),
            }
        }
        // One that is choosy is not tried so often about the next.
        let Self { arrived, answered, .. } = std::mem::take(self);
        self.answered = if is_choosy { answered } else { 0 };
        match refused {
            Some(why) if arrived == 0 => Err(Failure::Refused(why)),
            Some(_) | None => Ok(arrived),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: u32) -> Vec<Arc<[u8]>> {
        (0..count).map(|number| Arc::from(number.to_be_bytes().as_slice())).collect()
    }

    #[test]
    fn an_entry_that_is_refused_costs_the_others_nothing_and_a_collector_that_refuses_all_few_calls() {
        let all = lines(512);
        for bad in [vec![], vec![0], vec![300], vec![511], vec![7, 8, 400]] {
            let mut came = Vec::new();
            let sent = Settled::default().send(&all, |part| {
                if bad.iter().any(|bad| part.contains(&all[*bad])) {
                    return Err(Untaken::Refused("400".into()));
                }
                came.extend(part.to_vec());
                Ok(part.len() as u64)
            });
            assert!(matches!(sent, Ok(sent) if sent == 512 - bad.len() as u64), "{bad:?}");
            let good = all.iter().enumerate().filter(|(number, _)| !bad.contains(number)).map(|(_, line)| line.clone());
            assert_eq!(came, good.collect::<Vec<_>>(), "{bad:?}");
        }
        let mut calls = 0;
        let refused = Settled::default().send(&all, |_| {
            calls += 1;
            Err(Untaken::Refused("400".into()))
        });
        assert!(matches!(refused, Err(Failure::Refused(why)) if why == "400") && calls <= REFUSALS + 1, "{calls}");
    }

    /// A client writes what a firewall before the collector does not like.
    #[test]
    fn an_entry_that_is_answered_with_a_status_again_and_again_costs_the_others_nothing_and_an_outage_costs_none() {
        let all = lines(512);
        let answered = || Untaken::Answered("403".into(), Failure::away("403"));
        let (mut settled, mut came) = (Settled::default(), Vec::new());
        let mut send = |settled: &mut Settled| {
            settled.send(&all, |part| {
                if part.iter().any(|line| *line == all[0] || *line == all[300]) {
                    return Err(answered());
                }
                came.extend(part.to_vec());
                Ok(part.len() as u64)
            })
        };
        for _ in 1..TRIES {
            assert!(matches!(send(&mut settled), Err(Failure::Away { .. })));
        }
        assert!(matches!(send(&mut settled), Ok(510)));
        // From now on it is known to be choosy.
        assert!(matches!(send(&mut settled), Ok(510)));
        assert_eq!(came.len(), 2 * 510);
        // Without entries it says the same: they wait, however long it takes, and come when it is back.
        for _ in 0..4 * TRIES {
            assert!(matches!(settled.send(&all, |_| Err(answered())), Err(Failure::Away { .. })));
        }
        assert!(matches!(settled.send(&all, |part| Ok(part.len() as u64)), Ok(512)));
        assert_eq!(settled.answered, 0);
    }

    #[test]
    fn what_is_too_large_is_sent_in_parts_and_what_has_arrived_is_not_sent_again() {
        let all = lines(9);
        let (mut settled, mut came) = (Settled::default(), Vec::new());
        let mut call = |part: &[Arc<[u8]>], is_away: bool| {
            if part.len() > 2 {
                return Err(Untaken::Large);
            }
            if is_away && came.len() >= 4 {
                return Err(Untaken::Away(Failure::away("503")));
            }
            came.extend(part.to_vec());
            Ok(part.len() as u64)
        };
        for turn in 0..2 {
            let is_away = turn == 0;
            let sent = settled.send(&all, |part| call(part, is_away));
            assert!(if is_away { matches!(sent, Err(Failure::Away { .. })) } else { matches!(sent, Ok(9)) });
        }
        assert_eq!(came, all);
    }
}
