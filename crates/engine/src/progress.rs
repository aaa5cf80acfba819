//! How far a migration is, as anyone can see it from the ledgers and the marks.

use rehome_domain::event::Timestamp;
use rehome_domain::migration::{Migration, OldSource, Phase, State};
use rehome_ports::{ActiveLease, Marks};

/// A rate that was measured longer ago, in microseconds, is outdated.
const LATELY_MICROS: i64 = 5_000_000;

/// A migration and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The migration's row.
    pub migration: Migration,
    /// How far it is; of a store that does not answer, as far as is known. `None`: that is not enough.
    pub progress: Option<Progress>,
    /// The process that works on it, if any.
    pub lease: Option<ActiveLease>,
}

/// Exact numbers, from the two ledgers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Events of the history that are in the target.
    pub events_copied: u64,
    /// Events of the history that have to be.
    pub events_total: u64,
    /// Events the replica is behind the authority.
    pub lag_events: u64,
    /// Copied per second, lately; 0 when nothing is being copied.
    pub rate_events_per_s: f64,
    /// Up to where the target was read back.
    pub read_back_seq: u64,
}

impl Progress {
    /// From the two ledgers' lengths and the marks, now.
    pub fn of(
        migration: &Migration,
        (source_seq, target_seq): (u64, u64),
        marks: &Marks,
        now: Timestamp,
    ) -> Self {
        let purged =
            matches!(migration.state, State::Migrated { old_source: OldSource::Purged, .. });
        let migrated = migration.state.phase() == Phase::Migrated;
        // After the switch the target grows beyond what had to be copied.
        let total = if purged { target_seq } else { source_seq };
        let is_late = now.micros().saturating_sub(marks.updated_at.micros()) > LATELY_MICROS;
        let read_back = marks.read_back.filter(|mark| mark.m == migration.m);
        Self {
            events_copied: target_seq.min(total),
            events_total: total,
            lag_events: if migrated { 0 } else { source_seq.saturating_sub(target_seq) },
            rate_events_per_s: match migration.state {
                State::Working(_) if is_late => 0.0,
                State::Working(_) => marks.copy_rate,
                _ => 0.0,
            },
            read_back_seq: read_back.map_or(0, |mark| mark.head.seq),
        }
    }

    /// Whether what is left to copy and to read back is within the bound under which a cutover may begin.
    pub fn is_caught_up(&self, migration: &Migration) -> bool {
        let bound = u64::from(migration.options.lag_events_max);
        self.lag_events <= bound && self.events_total.saturating_sub(self.read_back_seq) <= bound
    }

    /// From 0 to 100; an empty history is copied.
    pub fn percent(&self) -> f64 {
        if self.events_total == 0 {
            100.0
        } else {
            self.events_copied as f64 * 100.0 / self.events_total as f64
        }
    }

    /// Seconds until all is copied at the present rate; `None` when nothing moves.
    pub fn eta_seconds(&self) -> Option<f64> {
        let left = self.events_total.saturating_sub(self.events_copied) as f64;
        if left == 0.0 {
            Some(0.0)
        } else {
            (self.rate_events_per_s > 0.0).then(|| left / self.rate_events_per_s)
        }
    }
}
