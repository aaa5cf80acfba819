//! Where a migration stands.

use std::fmt;

use crate::event::Timestamp;
use crate::ids::{Epoch, MigrationId, StoreId, TenantId};
use crate::migration::{Options, Violations};

/// The eight states that operators see, with their metric values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Started; the target has not been taken yet.
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
    /// Mirroring; whether an operator has asked for the cutover.
    DualWrite {
        /// A cutover was asked for and not yet tried.
        cutover_requested: bool,
    },
}

/// A migration's state, the fold of its log. Each variant says who leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Set by `start`, or by a repair, whose first part is done here; left by the driver once the
    /// target is the migration's replica.
    Pending,
    /// Work goes on; left by the driver, or by an operator's pause or abort.
    Working(Working),
    /// Set by the driver (step 2); left by whoever commits step 6 or the roll back first.
    CutoverPaused,
    /// Set and left by an operator.
    Paused(Working),
    /// Set by step 6. What is left to do is told by its fields.
    Migrated {
        /// The target is known to be active.
        activated: bool,
        /// What became of the old source.
        old_source: OldSource,
    },
    /// Set by the driver; left by an operator's abort, or by a repair of what is open.
    Failed {
        /// An operator has seen it. Changes nothing but who is still told.
        acknowledged: bool,
    },
    /// Set by an operator's abort; the clean-up of the target may still be going on.
    RolledBack(Cleanup),
}

/// What became of the store that a tenant moved away from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OldSource {
    /// It takes nothing and keeps its copy, fenced at this epoch, until an operator purges it.
    Fenced {
        /// The epoch for `purge`.
        at: Epoch,
    },
    /// It is kept level as a replica, so that the tenant can return.
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

/// What is left to do at the target after an abort.
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
}

impl Migration {
    /// Whether something is left to do, or may be asked for: it is not over, or its window is open.
    pub const fn is_at_work(&self) -> bool {
        match self.state {
            State::Migrated { activated, old_source } => {
                !activated
                    || matches!(old_source, OldSource::Window { .. } | OldSource::Closing { .. })
            }
            State::RolledBack(cleanup) => !matches!(cleanup, Cleanup::Done),
            State::Failed { .. }
            | State::Pending
            | State::Working(_)
            | State::CutoverPaused
            | State::Paused(_) => true,
        }
    }
}

/// A migration as the control plane keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Migration {
    /// Which.
    pub id: MigrationId,
    /// Whose history moves.
    pub tenant: TenantId,
    /// From.
    pub source: StoreId,
    /// To.
    pub target: StoreId,
    /// The migration's own epoch: its replica, extends, read-back mark and purge are keyed by it.
    pub m: Epoch,
    /// Where it stands.
    pub state: State,
    /// What it runs with; can be retuned while it runs.
    pub options: Options,
    /// Cutovers begun so far.
    pub cutover_attempts: u32,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When the copy began.
    pub started_at: Option<Timestamp>,
    /// When it came to its end, good or bad.
    pub completed_at: Option<Timestamp>,
    /// Why it failed, or why its last cutover was rolled back.
    pub error: Option<Box<str>>,
    /// What verifications found. While one is open there is no cutover.
    pub violations: Violations,
}
