//! The states of a migration.

use std::fmt;

use crate::event::Timestamp;
use crate::ids::{Epoch, MigrationId, StoreId, TenantId};
use crate::migration::{Options, Violations};

/// The eight states that operators see, with their metric values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Started; the target has not been adopted yet.
    Pending = 0,
    /// The history is being copied.
    BulkCopy = 1,
    /// Writes are mirrored; what the target stored is being read back.
    DualWrite = 2,
    /// Writes wait for the switch.
    CutoverPaused = 3,
    /// The target has the authority.
    Migrated = 4,
    /// Stopped by a fault that needs an operator; the source has the authority.
    Failed = 5,
    /// Aborted; the source has the authority.
    RolledBack = 6,
    /// Stopped by an operator; the source has the authority.
    Paused = 7,
}

impl Phase {
    /// All of them, by value.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::BulkCopy,
        Self::DualWrite,
        Self::CutoverPaused,
        Self::Migrated,
        Self::Failed,
        Self::RolledBack,
        Self::Paused,
    ];

    /// The name in output, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::BulkCopy => "bulk_copy",
            Self::DualWrite => "dual_write",
            Self::CutoverPaused => "cutover_paused",
            Self::Migrated => "migrated",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Paused => "paused",
        }
    }

    /// The phase of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }

    /// The migration has ended: it has switched, failed or was aborted. An operator may still act on a failed
    /// one.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Migrated | Self::Failed | Self::RolledBack)
    }

    /// Nothing moves the routing from here any more.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Migrated | Self::RolledBack)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The two phases that can be paused and resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Working {
    /// Copying.
    BulkCopy,
    /// Mirroring; whether an operator has requested the cutover.
    DualWrite {
        /// A cutover was requested and not yet tried.
        cutover_requested: bool,
    },
}

/// A migration's state, the fold of its log. Each variant names who leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Set by `start`, or by a repair, whose first part is done here; left by the driver once the
    /// target is the migration's replica.
    Pending,
    /// The driver works; left by the driver, or by an operator's pause or abort.
    Working(Working),
    /// Set by the driver (step 2); left by the process that commits step 6 or the roll back first.
    CutoverPaused,
    /// Set and left by an operator.
    Paused(Working),
    /// Set by step 6. The fields define the remaining work.
    Migrated {
        /// The target is known to be active.
        activated: bool,
        /// What became of the old source.
        old_source: OldSource,
    },
    /// Set by the driver; left by an operator's abort, or by a repair of the open violations.
    Failed {
        /// An operator has acknowledged it. Only affects reporting.
        acknowledged: bool,
    },
    /// Set by an operator's abort; the clean-up of the target may still be running.
    RolledBack(Cleanup),
}

/// What became of the store that a tenant moved away from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OldSource {
    /// It accepts nothing and keeps its copy, fenced at this epoch, until an operator purges it.
    Fenced {
        /// The epoch for `purge`.
        at: Epoch,
    },
    /// It is kept up to date as a replica, so that the tenant can return.
    Window {
        /// The replica's epoch.
        m: Epoch,
    },
    /// The window was closed; the replica is still to be dropped.
    Closing {
        /// The replica's epoch.
        m: Epoch,
    },
    /// Its copy was removed.
    Purged,
}

/// The remaining work at the target after an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cleanup {
    /// Drop the replica, then remove the copied events if `purge`.
    Drop {
        /// Whether the copied events are to be removed.
        purge: bool,
    },
    /// The replica is dropped; remove the copied events.
    Purge,
    /// Nothing.
    Done,
}

impl State {
    /// The state as operators see it.
    pub const fn phase(self) -> Phase {
        match self {
            Self::Pending => Phase::Pending,
            Self::Working(Working::BulkCopy) => Phase::BulkCopy,
            Self::Working(Working::DualWrite { .. }) => Phase::DualWrite,
            Self::CutoverPaused => Phase::CutoverPaused,
            Self::Paused(_) => Phase::Paused,
            Self::Migrated { .. } => Phase::Migrated,
            Self::Failed { .. } => Phase::Failed,
            Self::RolledBack(_) => Phase::RolledBack,
        }
    }

    /// Nothing will ever be left to do for a driver.
    pub const fn is_settled(self) -> bool {
        match self {
            Self::RolledBack(cleanup) => matches!(cleanup, Cleanup::Done),
            Self::Migrated { activated, old_source } => {
                activated && matches!(old_source, OldSource::Fenced { .. } | OldSource::Purged)
            }
            _ => false,
        }
    }

    /// There is work that waits for a process, and for nothing else.
    pub const fn has_work(self) -> bool {
        match self {
            Self::Pending | Self::Working(_) | Self::CutoverPaused => true,
            Self::Paused(_) | Self::Failed { .. } => false,
            Self::RolledBack(cleanup) => !matches!(cleanup, Cleanup::Done),
            Self::Migrated { activated, old_source } => {
                !activated || matches!(old_source, OldSource::Closing { .. })
            }
        }
    }
}

impl Migration {
    /// Whether there is remaining work, or may be on request: it has not ended, or its window is open.
    pub const fn is_at_work(&self) -> bool {
        !self.state.is_settled()
    }
}

/// A migration as the control plane stores it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Migration {
    /// Its id.
    pub id: MigrationId,
    /// Whose history moves.
    pub tenant: TenantId,
    /// The source store.
    pub source: StoreId,
    /// The target store.
    pub target: StoreId,
    /// The migration's own epoch: its replica, extends, read-back mark and purge are keyed by it.
    pub m: Epoch,
    /// Its state.
    pub state: State,
    /// What it runs with; can be retuned while it runs.
    pub options: Options,
    /// Number of cutovers started so far.
    pub cutover_attempts: u32,
    /// When it was requested.
    pub created_at: Timestamp,
    /// When the copy began.
    pub started_at: Option<Timestamp>,
    /// When it came to its end, good or bad.
    pub completed_at: Option<Timestamp>,
    /// Why it failed, or why its last cutover was rolled back, withdrawn or vetoed.
    pub error: Option<Box<str>>,
    /// What verifications found. While one is open there is no cutover.
    pub violations: Violations,
}
