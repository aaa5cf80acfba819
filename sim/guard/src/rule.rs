//! The rules of the guard, each of which can be left out, to show that the checker misses it.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident: $run:expr, $property:literal;)*) => {
        /// A rule of the guard. The text describes what happens without it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// A run in which the absence of the rule shows, and the property that it violates.
            pub const fn missed_by(self) -> (crate::bounds::Bounds, u8) {
                use crate::scenarios::runs::*;
                match self {
                    $(Self::$name => ($run, $property),)*
                }
            }
        }
    };
}

rules! {
    // Before numbering starts.
    /// R1: the history is numbered without waiting for the writers that checked before the tenant was guarded.
    FirstGuardingDrains: FIRST, 1;
    /// R2: a snapshot that is older than the guarding is trusted to show that there is no guard.
    OldSnapshotsAreRefused: OLD, 1;
    /// R2, R9: the role is read from the transaction's snapshot, not from the current row.
    RoleOfNow: OLD, 1;
    /// R12: the target's table is checked without waiting for the writers that checked before it was guarded.
    TargetDrains: STRAY, 3;
    /// R12: the target is adopted although it holds rows of the tenant.
    TargetIsEmpty: STRAY, 3;

    // While writers write.
    /// The role is read before the lock is held.
    RoleAfterLock: ONCE, 1;
    /// R4: a position that was drawn before the copy was written stays valid.
    FloorOfPositions: FLOOR, 5;
    /// R4, amended: a position below the floor is drawn again, by a transaction whose id is older than the copy's.
    FloorSendsBack: FLOOR_TWO, 5;
    /// R5: a transaction has its id only when it inserts, after it has waited.
    IdBeforeWaiting: READER, 5;
    /// R8: a writer overtakes a fence that waits for the lock.
    FairLock: ONCE, 7;
    /// R9: numbering touches the row that has the role.
    RoleApartFromHead: OLD, 8;

    // Numbering.
    /// R6: arrivals are numbered by the table's position.
    NumbersFollowArrivals: ORDER, 4;
    /// R6: numbering continues behind the last arrival that it has seen.
    EveryVisibleArrival: ORDER, 1;
    /// R6: a checkpoint is translated by its row's number.
    TranslationNeverSkips: READER, 5;
    /// A checkpoint is translated to a position beyond that of a transaction that still runs.
    TranslationEndsAtHorizon: READER, 5;
    /// R7: arrivals are numbered before the history is.
    BackfillFirst: FIRST, 4;
    /// R7, amended: the first numbering takes only rows without an arrival, and arrivals come behind them.
    BackfillTakesWhatArrived: FIRST, 4;
    /// R7, amended: the first numbering follows positions, also where a stream's versions do not.
    BackfillKeepsVersions: FIRST, 4;

    // The cutover.
    /// The fence changes the role without the lock.
    FenceDrains: ONCE, 1;
    /// R10: an activation takes the lock.
    ActivateWithoutLock: ONCE, 7;
    /// R13: the fence numbers the rows that were visible when it started to wait.
    FenceSeesWhatItWaitedFor: ONCE, 1;
    /// R14: the fence commits asynchronously.
    FenceIsSynchronous: CRASH, 2;
    /// R15: the installation is not compared.
    TriggersAreCompared: BYPASS, 1;
    /// R15: the installation is compared before the fence, and not after it.
    TriggersAreComparedAfterFence: BYPASS, 1;

    // Where writers lock the whole table.
    /// R16: a copy draws positions before it has the table's lock.
    CopyLocksTable: LOCKS, 5;
    /// R16: the lock that keeps the triggers as they are is held until the switch is published.
    TableIsFreeAfterTheSwitch: LOCKS, 7;
    /// R16: a cutover begins, whatever other tenant is switched between the same tables.
    CutoversMakeRoom: OPPOSITE, 7;
    /// R16: a cutover makes room at its own source first, not at both stores in one order for all.
    RoomInOneOrder: OPPOSITE, 7;

    // The end of guarding.
    /// R3: a store that lost the authority is unguarded.
    OnlyTheAuthorityIsUnguarded: RELEASE, 2;
    /// The guard goes, and the floor with it, while writers hold positions that they drew before the copy.
    UnguardingDrains: FLOOR_RELEASE, 5;
    /// R11: a migration that begins meanwhile does not call off that the guard goes.
    StartKeepsTheGuard: AGAIN, 1;
}
