//! What the driver does next: a function from what it sees to one command.

use crate::event::Timestamp;
use crate::migration::{Cleanup, CutoverPolicy, Migration, OldSource, Repair, State, Working};

/// What the driver sees, read in this order, at one moment.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    /// The migration's row.
    pub migration: &'a Migration,
    /// Length of the authority's history.
    pub source_seq: u64,
    /// Length of the replica's history.
    pub target_seq: u64,
    /// Up to where the replica was read back.
    pub read_back_seq: u64,
    /// Whether the required verification before the cutover has passed.
    pub verified: bool,
    /// The target accepts mirrored events.
    pub target_healthy: bool,
    /// After a cutover that was rolled back, whether it is time to try again.
    pub retry_due: bool,
    /// The control plane's wall clock.
    pub now: Timestamp,
}

/// One thing to do. Each is idempotent: a driver that died in the middle is followed by one that
/// observes, decides the same, and does it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make the target the migration's replica and begin.
    Prepare,
    /// Cut the copy back to before the damage that was found.
    Repair,
    /// Copy until the lag is within the bound.
    Copy,
    /// Mirror, read back and verify.
    Follow,
    /// Switch; from `cutover_paused` continue where another driver stopped.
    CutOver,
    /// Activate the target that the route already names.
    ActivateTarget,
    /// Keep replicating to the old source.
    KeepWindow,
    /// Close a rollback window whose time is over.
    CloseWindow,
    /// Drop the replica of a window that was closed.
    DropOldReplica,
    /// Drop, and perhaps purge, the target of an aborted migration.
    CleanUp,
    /// An operator has to act first.
    Wait,
    /// Nothing is left to do.
    Done,
}

/// What to do next.
pub fn decide(seen: &Observation<'_>) -> Command {
    match seen.migration.state {
        State::Pending => match &seen.migration.violations.open {
            Some(open) if open.repair == Repair::Requested => Command::Repair,
            _ => Command::Prepare,
        },
        State::Working(Working::BulkCopy) => Command::Copy,
        State::Working(Working::DualWrite { cutover_requested }) => {
            if seen.cutover_due(cutover_requested) && seen.is_ready() {
                Command::CutOver
            } else {
                Command::Follow
            }
        }
        State::CutoverPaused => Command::CutOver,
        State::Paused(_) => Command::Wait,
        State::Migrated { activated: false, .. } => Command::ActivateTarget,
        State::Migrated { old_source, .. } => match old_source {
            OldSource::Window { .. } if window_is_over(seen.migration, seen.now) => {
                Command::CloseWindow
            }
            OldSource::Window { .. } => Command::KeepWindow,
            OldSource::Closing { .. } => Command::DropOldReplica,
            OldSource::Fenced { .. } | OldSource::Purged => Command::Done,
        },
        State::RolledBack(Cleanup::Drop { .. } | Cleanup::Purge) => Command::CleanUp,
        State::Failed { .. } | State::RolledBack(Cleanup::Done) => Command::Done,
    }
}

impl Observation<'_> {
    /// Whether the cutover is due now.
    fn cutover_due(&self, requested: bool) -> bool {
        requested
            || self.retry_due
                && match self.migration.options.cutover {
                    CutoverPolicy::Auto => true,
                    CutoverPolicy::Manual => false,
                    CutoverPolicy::At(time) => self.now >= time,
                }
    }

    /// Step 1 of the cutover: the remaining work in the pause is bounded, and no violation is open.
    pub fn is_ready(&self) -> bool {
        let bound = u64::from(self.migration.options.lag_events_max);
        self.target_healthy
            && self.migration.violations.open.is_none()
            && self.verified
            && self.source_seq.saturating_sub(self.target_seq) <= bound
            && self.source_seq.saturating_sub(self.read_back_seq) <= bound
    }
}

/// Until when the tenant can return to the old source; `None`: there is no open rollback window.
pub fn return_until(migration: &Migration) -> Option<Timestamp> {
    match migration.state {
        State::Migrated { old_source: OldSource::Window { .. }, .. } => window_end(migration),
        _ => None,
    }
}

/// The rollback window has ended; `now` is the control plane's.
pub fn window_is_over(migration: &Migration, now: Timestamp) -> bool {
    window_end(migration).is_some_and(|end| now >= end)
}

fn window_end(migration: &Migration) -> Option<Timestamp> {
    let completed = migration.completed_at?;
    let window_ms = i64::try_from(migration.options.rollback_window_ms).unwrap_or(i64::MAX);
    let end = completed.micros().saturating_add(window_ms.saturating_mul(1_000));
    Some(Timestamp::from_micros(end))
}
