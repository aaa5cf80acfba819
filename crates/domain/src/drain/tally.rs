//! What a drain's log says of how it gets on. Whichever process reads the log counts the same.

use super::Fact;
use crate::event::Timestamp;

/// A fold of a drain's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Moves that were begun.
    pub begun: u64,
    /// Moves that came to their target.
    pub finished: u64,
    /// Moves that were given up.
    pub failed: u64,
    /// When a tenant came to its target last.
    pub finished_at: Option<Timestamp>,
    /// When the drain got further last: it was started or resumed, or a tenant of it was begun, moved, given
    /// up or left where it is.
    pub progressed_at: Option<Timestamp>,
    /// Since when it runs with its settings.
    pub settled_at: Option<Timestamp>,
}

impl Tally {
    /// Adds the log's next entry.
    pub fn add(&mut self, at: Timestamp, fact: &Fact) {
        if matches!(fact, Fact::Started { .. } | Fact::Tuned { .. }) {
            self.settled_at = Some(at);
        }
        match fact {
            Fact::TenantStarted { .. } => self.begun += 1,
            Fact::TenantMoved { .. } => {
                self.finished += 1;
                self.finished_at = Some(at);
            }
            Fact::TenantSetAside { .. } => self.failed += 1,
            Fact::Started { .. }
            | Fact::Resumed
            | Fact::Finished { .. }
            | Fact::TenantPutBack { .. }
            | Fact::TenantStays { .. }
            | Fact::TenantRetried { .. } => {}
            // Another process that continues, a cutover that may begin, or other settings bring no tenant further.
            Fact::Paused
            | Fact::Tuned { .. }
            | Fact::Cancelled
            | Fact::TenantTaken { .. }
            | Fact::TenantReleased { .. } => return,
        }
        self.progressed_at = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MigrationId, TenantId};
    use uuid::Uuid;

    #[test]
    fn moves_are_counted_and_what_brings_nobody_further_is_no_progress() {
        let tenant = TenantId::new(Uuid::from_u128(1));
        let migration = MigrationId::new(Uuid::from_u128(2));
        let (target, by) = ("b".parse().unwrap(), "p".into());
        let facts = [
            Fact::Resumed,
            Fact::TenantStarted { tenant, migration, target, by },
            Fact::TenantSetAside { tenant, why: "full".into() },
            Fact::TenantMoved { tenant },
            Fact::TenantTaken { tenant, by: "q".into() },
            Fact::TenantReleased { tenant },
            Fact::Paused,
        ];
        let mut tally = Tally::default();
        for (second, fact) in (1..).zip(&facts) {
            tally.add(Timestamp::from_micros(second), fact);
        }
        let at = |second| Some(Timestamp::from_micros(second));
        let wanted = Tally {
            begun: 1,
            finished: 1,
            failed: 1,
            finished_at: at(4),
            progressed_at: at(4),
            settled_at: None,
        };
        assert_eq!(tally, wanted);
    }
}
