//! The cutovers in a migration's log. Every process computes the same counts from it, also after a restart or a
//! takeover.

use std::time::Duration;

use crate::event::Timestamp;
use crate::migration::{Fact, RollBackReason};

/// How a cutover ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutoverOutcome {
    /// The target has the authority.
    Succeeded,
    /// The source kept the authority: the deadline passed.
    TimedOut,
    /// The source kept the authority: a store failed or the stores differed.
    RolledBack,
}

/// One cutover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutover {
    /// When the intent was recorded.
    pub started: Timestamp,
    /// How long it was allowed to last, in milliseconds.
    pub deadline_ms: u64,
    /// How it ended; `None`: not yet.
    pub outcome: Option<CutoverOutcome>,
    /// When writes continued, as far as the log has it; `None`: not yet.
    pub resumed: Option<Timestamp>,
}

impl Cutover {
    /// How it ended, once writes go on; `None` while they wait.
    pub fn ended(&self) -> Option<CutoverOutcome> {
        self.resumed.and(self.outcome)
    }

    /// How long writes have waited: until they went on, or until now.
    pub fn pause(&self, now: Timestamp) -> Duration {
        let until = self.resumed.unwrap_or(now);
        Duration::from_micros(u64::try_from(until.micros() - self.started.micros()).unwrap_or(0))
    }
}

/// A fold of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The cutovers, in their order.
    pub cutovers: Vec<Cutover>,
}

impl Tally {
    /// Of a whole log.
    pub fn of<'a>(log: impl IntoIterator<Item = (Timestamp, &'a Fact)>) -> Self {
        let mut tally = Self::default();
        for (at, fact) in log {
            tally.add(at, fact);
        }
        tally
    }

    /// Adds the log's next entry.
    pub fn add(&mut self, at: Timestamp, fact: &Fact) {
        let outcome = match fact {
            Fact::CutoverStarted { deadline_ms } => {
                let deadline_ms = *deadline_ms;
                self.cutovers.push(Cutover {
                    started: at,
                    deadline_ms,
                    outcome: None,
                    resumed: None,
                });
                return;
            }
            Fact::Switched { .. } => Some(CutoverOutcome::Succeeded),
            Fact::CutoverRolledBack { reason: RollBackReason::TimedOut } => {
                Some(CutoverOutcome::TimedOut)
            }
            Fact::CutoverRolledBack { .. } => Some(CutoverOutcome::RolledBack),
            Fact::TargetActivated { .. } => None,
            _ => return,
        };
        let Some(last) = self.cutovers.last_mut() else { return };
        last.outcome = last.outcome.or(outcome);
        if outcome != Some(CutoverOutcome::Succeeded) {
            last.resumed = last.resumed.or(Some(at));
        }
    }

    /// How many cutovers ended like this.
    pub fn ended(&self, outcome: CutoverOutcome) -> usize {
        self.cutovers.iter().filter(|cutover| cutover.outcome == Some(outcome)).count()
    }

    /// Whether this is of at least as much of the log as `other`.
    pub fn covers(&self, other: &Self) -> bool {
        let known = |tally: &Self| {
            let parts = |cutover: &Cutover| {
                1 + usize::from(cutover.outcome.is_some()) + usize::from(cutover.resumed.is_some())
            };
            tally.cutovers.iter().map(parts).sum::<usize>()
        };
        known(self) >= known(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::ledger::Head;

    #[test]
    fn each_cutover_is_counted_by_its_end_and_lasts_until_writes_go_on() {
        let start = || Fact::CutoverStarted { deadline_ms: 100 };
        let back = |reason| Fact::CutoverRolledBack { reason };
        let log = [
            (0, Fact::CopyStarted),
            (10, start()),
            (15, back(RollBackReason::TimedOut)),
            (20, start()),
            (22, back(RollBackReason::Failed("a store".into()))),
            (30, start()),
            (31, Fact::Switched { head: Head::EMPTY }),
            (35, Fact::TargetActivated { epoch: Epoch(3) }),
        ];
        let log: Vec<_> = log.iter().map(|(at, f)| (Timestamp::from_micros(*at), f)).collect();
        let tally = Tally::of(log.iter().copied());
        let lasted = tally.cutovers.iter().map(|cutover| {
            cutover.resumed.map(|resumed| resumed.micros() - cutover.started.micros())
        });
        assert_eq!(lasted.collect::<Vec<_>>(), [Some(5), Some(2), Some(5)]);
        for outcome in
            [CutoverOutcome::Succeeded, CutoverOutcome::TimedOut, CutoverOutcome::RolledBack]
        {
            assert_eq!(tally.ended(outcome), 1, "{outcome:?}");
        }
        let begun = Tally::of(log.iter().copied().take(6));
        assert_eq!((begun.cutovers[2].resumed, begun.cutovers[2].ended()), (None, None));
        assert_eq!(begun.ended(CutoverOutcome::Succeeded), 0, "it may still be rolled back");
        let switched = Tally::of(log.iter().copied().take(7));
        assert_eq!(switched.cutovers[2].ended(), None, "writes wait for the target's activation");
        assert_eq!(tally.cutovers[2].ended(), Some(CutoverOutcome::Succeeded));
        let pause = |tally: &Tally| tally.cutovers[2].pause(Timestamp::from_micros(47));
        assert_eq!((pause(&begun).as_micros(), pause(&tally).as_micros()), (17, 5));
        // Each fact about a cutover is more of the log.
        for known in 1..log.len() {
            let (before, after) = (known, known + 1);
            let of = |facts| Tally::of(log.iter().copied().take(facts));
            assert!(of(after).covers(&of(before)) && !of(before).covers(&of(after)), "{known}");
        }
    }
}
