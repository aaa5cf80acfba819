//! The facts of a migration's log. Phase, progress, audit and recovery are folds of them.

use std::fmt;

use crate::ids::{Epoch, MigrationId, StoreId};
use crate::ledger::Head;
use crate::migration::Options;
use crate::verification::{Finding, Level};

/// One thing that happened. The first group moves the route and is recorded by a compare-and-set
/// on its `rev`; the second group is noted beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The migration exists; its own epoch was drawn.
    Started {
        /// The migration.
        migration: MigrationId,
        /// To where. The source is where the route points.
        target: StoreId,
        /// What it runs with.
        options: Options,
    },
    /// The target is the migration's replica; copying begins.
    CopyStarted,
    /// The copy has caught up to within the lag bound; mirroring begins.
    CopyCompleted {
        /// Length of the target's history at that moment.
        events: u64,
    },
    /// Step 2 of the cutover: the intent.
    CutoverStarted {
        /// How long writes may wait before anyone rolls back, in milliseconds.
        deadline_ms: u64,
    },
    /// Step 6: the point of no return.
    Switched {
        /// The head that both stores had.
        head: Head,
    },
    /// The cutover was rolled back before step 6; writes continue at the source.
    CutoverRolledBack {
        /// The reason.
        reason: RollBackReason,
    },
    /// An operator stopped the work.
    Paused,
    /// An operator resumed the work.
    Resumed,
    /// A fault that needs an operator.
    Failed {
        /// What happened.
        error: Box<str>,
    },
    /// An operator gave the migration up.
    Aborted {
        /// Whether to remove the copied events.
        purge: bool,
    },
    /// The tenant can no longer return.
    WindowClosed,
    /// The control plane was restored from a backup; an operator chose the authority.
    Recovered {
        /// The store that has it.
        store: StoreId,
        /// The highest epoch that any store's ledger was found at.
        n: Epoch,
        /// The length of history found there.
        base: u64,
    },
    /// An operator requested the repair of the open violations: the copy is to be cut back to before the
    /// damage. No process extends it from here on.
    RepairRequested,
    /// The copy was cut back. The migration continues from there under a new epoch, so that
    /// a process that slept through the repair cannot change what is copied from here on.
    CutBack {
        /// Where the copy ends now: a head that was found in the source.
        to: Head,
        /// How many events were removed.
        events: u64,
    },

    /// An operator requested the cutover.
    CutoverRequested,
    /// An operator withdrew the request: no cutover begins before a new request, whatever the policy was.
    CutoverWithdrawn,
    /// A hook vetoed the cutover. A request for it is cancelled.
    CutoverVetoed {
        /// The hook's name.
        hook: Box<str>,
        /// Its reason.
        why: Box<str>,
    },
    /// A process took the migration's lease.
    LeaseTaken {
        /// The process.
        holder: Box<str>,
    },
    /// Step 7 succeeded: the target accepts appends.
    TargetActivated {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// All of the history up to here was read back from the target and is the source's.
    ReadBack {
        /// The last position read back.
        seq: u64,
    },
    /// A verification came to its end.
    Verified {
        /// How deep.
        level: Level,
        /// The positions after this one.
        after: u64,
        /// Up to which position.
        seq: u64,
        /// Whether it covered each event, rather than a sample.
        whole: bool,
        /// How many violations it found.
        violations: u64,
        /// The violation that was open when it started. If the verification covers at least as much as the one that
        /// found the violation, and found nothing, it closes it.
        refutes: Option<u32>,
    },
    /// The two histories are not what they must be: a verification, the read-back or the comparison
    /// of a cutover found it. There is no cutover while this is open.
    Violated {
        /// The finding.
        finding: Finding,
    },
    /// The repair that was requested is not possible, and nothing was removed: the damage is in the
    /// authority's own rows.
    RepairRefused {
        /// The reason.
        why: Box<str>,
    },
    /// The replica (of an aborted migration's target, or of a closed window) accepts nothing more.
    ReplicaDropped,
    /// A store's copy was removed.
    Purged {
        /// How many events were removed by this call.
        events: u64,
    },
    /// The options were changed.
    Tuned {
        /// The options that the change is based on; `None`: any. So of two concurrent changes the
        /// later one does not revert the other.
        was: Option<Options>,
        /// The new ones.
        options: Options,
    },
    /// An operator has acknowledged the failure, or the open violations of a migration that has ended: health
    /// checks stop reporting it.
    Acknowledged,
}

impl Fact {
    /// Whether the fact moves the route, and so needs the exact `rev` it was decided under.
    pub const fn routes(&self) -> bool {
        matches!(
            self,
            Self::Started { .. }
                | Self::CopyStarted
                | Self::CopyCompleted { .. }
                | Self::CutoverStarted { .. }
                | Self::Switched { .. }
                | Self::CutoverRolledBack { .. }
                | Self::Paused
                | Self::Resumed
                | Self::Failed { .. }
                | Self::Aborted { .. }
                | Self::WindowClosed
                | Self::Recovered { .. }
                | Self::RepairRequested
                | Self::CutBack { .. }
        )
    }

    /// The name in the log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::CopyStarted => "copy_started",
            Self::CopyCompleted { .. } => "copy_completed",
            Self::CutoverStarted { .. } => "cutover_started",
            Self::Switched { .. } => "switched",
            Self::CutoverRolledBack { .. } => "cutover_rolled_back",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Failed { .. } => "failed",
            Self::Aborted { .. } => "aborted",
            Self::WindowClosed => "window_closed",
            Self::Recovered { .. } => "recovered",
            Self::RepairRequested => "repair_requested",
            Self::CutBack { .. } => "cut_back",
            Self::CutoverRequested => "cutover_requested",
            Self::CutoverWithdrawn => "cutover_withdrawn",
            Self::CutoverVetoed { .. } => "cutover_vetoed",
            Self::LeaseTaken { .. } => "lease_taken",
            Self::TargetActivated { .. } => "target_activated",
            Self::ReadBack { .. } => "read_back",
            Self::Verified { .. } => "verified",
            Self::Violated { .. } => "violated",
            Self::RepairRefused { .. } => "repair_refused",
            Self::ReplicaDropped => "replica_dropped",
            Self::Purged { .. } => "purged",
            Self::Tuned { .. } => "tuned",
            Self::Acknowledged => "acknowledged",
        }
    }
}

/// Why a cutover was rolled back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollBackReason {
    /// The deadline passed before step 6.
    TimedOut,
    /// A store failed or disagreed.
    Failed(Box<str>),
}

impl fmt::Display for RollBackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the cutover's deadline passed"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}
