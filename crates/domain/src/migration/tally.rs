//! What a migration's log alone says of its cutovers. Whichever process counts, after a restart or a
//! take-over as well, counts the same.

use crate::event::Timestamp;
use crate::migration::{Fact, RollBackReason};

/// How a cutover ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutoverOutcome {
    /// The target has the authority.
    Succeeded,
    /// The source kept it: the deadline passed.
    TimedOut,
    /// The source kept it: a store failed or disagreed.
    RolledBack,
}

/// One cutover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutover {
    /// When the intent was recorded.
    pub started: Timestamp,
    /// How it ended; `None`: not yet.
    pub outcome: Option<CutoverOutcome>,
    /// When writes went on, as far as the log says; `None`: not yet.
    pub resumed: Option<Timestamp>,
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
            Fact::CutoverStarted { .. } => {
                self.cutovers.push(Cutover { started: at, outcome: None, resumed: None });
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
        assert_eq!(begun.cutovers[2].resumed, None);
        assert!(tally.covers(&begun) && !begun.covers(&tally));
    }
}
