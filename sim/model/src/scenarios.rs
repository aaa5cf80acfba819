//! The runs.

use crate::bounds::{Begin, Bounds, Left};
use crate::rule::Rule;

const LEFT: Left = Bounds::plain("", Begin::New).left;

/// Small enough for the tests.
pub const SMALL: &[Bounds] = &[
    Bounds {
        drivers: 2,
        writes: 2,
        left: Left { cutovers: 2, lost: 1, ..LEFT },
        ..Bounds::plain("two cutovers, two coordinators, a lost call", Begin::Mirroring)
    },
    Bounds {
        reader: true,
        writes: 2,
        left: Left { cutovers: 2, lost: 1, ..LEFT },
        ..Bounds::plain("two cutovers and a subscriber, a lost call", Begin::Mirroring)
    },
    Bounds {
        routers: 2,
        writes: 2,
        left: Left { cutovers: 2, lost: 1, crashes: 1, ..LEFT },
        ..Bounds::plain("two cutovers, two routers, a lost call, a crash", Begin::Mirroring)
    },
    Bounds {
        routers: 2,
        writes: 2,
        left: Left { cutovers: 1, starts: 1, purges: 1, ..LEFT },
        ..Bounds::plain("a tenant is created, moves, and its old copy is purged", Begin::New)
    },
    Bounds {
        purge: true,
        left: Left { cutovers: 1, starts: 2, aborts: 1, lost: 1, ..LEFT },
        ..Bounds::plain("an abort with its purge, then another migration", Begin::Living)
    },
    Bounds {
        writes: 2,
        window: true,
        left: Left { cutovers: 2, starts: 2, closes: 1, ..LEFT },
        ..Bounds::plain("there, and back through a window", Begin::Living)
    },
    Bounds {
        left: Left { cutovers: 1, starts: 1, pauses: 1, fails: 1, aborts: 1, ..LEFT },
        ..Bounds::plain("operators pause, resume, fail, abort", Begin::Living)
    },
    Bounds {
        drivers: 2,
        left: Left { cutovers: 2, withdrawals: 2, lost: 1, ..LEFT },
        ..Bounds::plain("operators withdraw cutovers, and ask for them again", Begin::Mirroring)
    },
    Bounds {
        left: Left { cutovers: 1, starts: 1, aborts: 1, ..LEFT },
        ..Bounds::plain("a target that holds another history", Begin::Foreign)
    },
    Bounds {
        writes: 2,
        left: Left { removals: 2, lost: 1, crashes: 1, ..LEFT },
        ..Bounds::plain("a tenant is removed and created again; a lost call, a crash", Begin::New)
    },
    Bounds {
        writes: 2,
        left: Left { cutovers: 1, starts: 1, purges: 1, removals: 1, ..LEFT },
        ..Bounds::plain("a tenant moves, its old copy is purged, it is removed", Begin::Living)
    },
    Bounds {
        left: Left { cutovers: 2, losses: 1, ..LEFT },
        ..Bounds::plain("a store that loses what it holds", Begin::Mirroring)
    },
];

/// What `cargo xtask prove` adds: minutes, and a few gigabytes of memory.
pub const LARGE: &[Bounds] = &[
    Bounds {
        reader: true,
        drivers: 2,
        writes: 2,
        left: Left { cutovers: 1, lost: 1, ..LEFT },
        ..Bounds::plain("a cutover, two coordinators and a subscriber", Begin::Mirroring)
    },
    Bounds {
        routers: 2,
        drivers: 2,
        writes: 2,
        left: Left { cutovers: 1, lost: 1, ..LEFT },
        ..Bounds::plain("a cutover, two of each, a lost call", Begin::Mirroring)
    },
    Bounds {
        reader: true,
        routers: 2,
        writes: 3,
        left: Left { cutovers: 2, crashes: 1, ..LEFT },
        ..Bounds::plain("two cutovers, two routers and a subscriber", Begin::Mirroring)
    },
    Bounds {
        drivers: 2,
        writes: 2,
        left: Left { cutovers: 3, lost: 1, ..LEFT },
        ..Bounds::plain("three cutovers, two coordinators, a lost call", Begin::Mirroring)
    },
    Bounds {
        writes: 2,
        left: Left { cutovers: 3, lost: 2, ..LEFT },
        ..Bounds::plain("three cutovers, two lost calls", Begin::Mirroring)
    },
    Bounds {
        routers: 2,
        writes: 2,
        left: Left { cutovers: 1, starts: 1, purges: 1, lost: 1, ..LEFT },
        ..Bounds::plain("a tenant is created, moves, is purged; a lost call", Begin::New)
    },
    Bounds {
        drivers: 2,
        purge: true,
        left: Left { cutovers: 1, starts: 2, aborts: 1, ..LEFT },
        ..Bounds::plain("an abort with its purge, two coordinators", Begin::Living)
    },
    Bounds {
        purge: true,
        left: Left { cutovers: 1, starts: 3, aborts: 2, ..LEFT },
        ..Bounds::plain("two aborts with their purges", Begin::Living)
    },
    Bounds {
        writes: 2,
        window: true,
        left: Left { cutovers: 2, starts: 2, closes: 1, lost: 1, ..LEFT },
        ..Bounds::plain("there, and back through a window; a lost call", Begin::Living)
    },
    Bounds {
        drivers: 2,
        window: true,
        left: Left { cutovers: 2, starts: 2, closes: 1, ..LEFT },
        ..Bounds::plain("there, and back through a window, two coordinators", Begin::Living)
    },
    Bounds {
        left: Left { cutovers: 3, starts: 3, purges: 2, ..LEFT },
        ..Bounds::plain("there, back and there; two purges", Begin::Living)
    },
    Bounds {
        routers: 2,
        writes: 3,
        left: Left { removals: 3, lost: 2, ..LEFT },
        ..Bounds::plain("a tenant is removed twice; two routers, two lost calls", Begin::Living)
    },
    Bounds {
        writes: 2,
        left: Left { cutovers: 1, starts: 1, aborts: 1, removals: 2, lost: 1, ..LEFT },
        ..Bounds::plain("a migration is aborted, the tenant is removed; a lost call", Begin::Living)
    },
];

/// What `cargo xtask prove --deep` adds: a quarter of an hour and gigabytes of memory for each.
pub const DEEP: &[Bounds] = &[
    Bounds {
        purge: true,
        left: Left { cutovers: 2, starts: 3, aborts: 2, lost: 1, ..LEFT },
        ..Bounds::plain("two aborts with their purges, a lost call", Begin::Living)
    },
    Bounds {
        reader: true,
        left: Left { cutovers: 3, starts: 3, purges: 2, ..LEFT },
        ..Bounds::plain("there, back and there; two purges; a subscriber", Begin::Living)
    },
    Bounds {
        left: Left { cutovers: 3, starts: 3, purges: 1, lost: 1, ..LEFT },
        ..Bounds::plain("there, back and there; a purge; a lost call", Begin::Living)
    },
];

/// A run in which the absence of `rule` shows, and the property that it violates.
pub const fn missed_by(rule: Rule) -> (Bounds, u8) {
    const fn cut(left: Left) -> Bounds {
        Bounds { writes: 2, left, ..Bounds::plain("cutovers", Begin::Mirroring) }
    }
    const fn lives(left: Left) -> Bounds {
        Bounds { left, ..Bounds::plain("migrations", Begin::Living) }
    }
    const fn removes(left: Left) -> Bounds {
        Bounds { writes: 2, left, ..Bounds::plain("removals", Begin::Living) }
    }
    const GONE: Left = Left { cutovers: 0, removals: 1, ..LEFT };
    const ONCE: Left = Left { cutovers: 1, ..LEFT };
    const LOST: Left = Left { cutovers: 1, lost: 1, ..LEFT };
    const TWICE: Left = Left { cutovers: 2, ..LEFT };
    const AGAIN: Left = Left { cutovers: 1, starts: 2, aborts: 1, lost: 1, ..LEFT };
    match rule {
        Rule::AppendIsFenced | Rule::FenceDrains | Rule::StepThree | Rule::StepFive => {
            (cut(ONCE), 1)
        }
        Rule::RetryIsRecognised => (cut(LOST), 1),
        Rule::RetryBeforeVersion => (cut(LOST), 4),
        Rule::FenceNamesItsEpoch => (cut(Left { cutovers: 2, lost: 1, ..LEFT }), 2),
        Rule::ExtendAtHead => (cut(LOST), 3),
        Rule::ActivateTheNeverFenced
        | Rule::IntentDrawsEpoch
        | Rule::RollBackDrawsEpoch
        | Rule::Help
        | Rule::NoHelpInPause
        | Rule::RollBackIsAnybodys => (cut(ONCE), 7),
        Rule::ActivateWithBase | Rule::ActivateKnowsCreation => {
            (cut(Left { cutovers: 1, losses: 1, ..LEFT }), 1)
        }
        Rule::ActivateOnlyLater => (cut(LOST), 2),
        Rule::AdoptIsRetriable => (lives(Left { cutovers: 1, starts: 1, lost: 1, ..LEFT }), 7),
        Rule::AdoptOnlyLater => (lives(AGAIN), 2),
        Rule::DropIsKeyed => (lives(AGAIN), 7),
        Rule::PurgeIsKeyed => {
            (Bounds { purge: true, drivers: 2, ..lives(Left { lost: 0, ..AGAIN }) }, 1)
        }
        Rule::PurgeLeavesTombstone => (
            Bounds {
                routers: 2,
                writes: 2,
                left: Left { cutovers: 1, starts: 1, purges: 1, ..LEFT },
                ..Bounds::plain("a creation", Begin::New)
            },
            2,
        ),
        Rule::IntentOnItsRow => (Bounds { drivers: 2, ..cut(TWICE) }, 7),
        Rule::SwitchOnItsRow => (Bounds { drivers: 2, ..cut(TWICE) }, 1),
        Rule::StartDrawsEpoch => (lives(Left { lost: 0, ..AGAIN }), 7),
        Rule::StartAlone => (lives(Left { lost: 0, ..AGAIN }), 7),
        Rule::NoPauseInPause => (cut(Left { pauses: 1, ..ONCE }), 7),
        Rule::NoFailInPause => (cut(Left { fails: 1, ..ONCE }), 7),
        Rule::NoAbortInPause => (cut(Left { aborts: 1, ..ONCE }), 7),
        Rule::BeginOnlyIfWanted => (cut(Left { withdrawals: 1, ..ONCE }), 2),
        Rule::NoRepairInPause => (cut(Left { findings: 1, ..ONCE }), 7),
        Rule::RepairDrawsEpoch => (cut(Left { findings: 1, ..ONCE }), 7),
        Rule::CutBackIsKeyed => (cut(Left { findings: 1, ..LOST }), 1),
        Rule::AdoptWhatIsProven => (
            Bounds {
                left: Left { starts: 1, ..ONCE },
                ..Bounds::plain("a stranger", Begin::Foreign)
            },
            3,
        ),
        Rule::StepOne => (cut(TWICE), 7),
        Rule::AbortBeforeCleanUp => (Bounds { drivers: 2, ..cut(ONCE) }, 1),
        Rule::PurgeLooksAtRoute => (cut(Left { purges: 1, ..ONCE }), 1),
        Rule::PurgeLooksAtLedgerFirst => {
            (lives(Left { cutovers: 3, starts: 3, purges: 1, ..LEFT }), 1)
        }
        Rule::RemovalDrawsEpoch | Rule::RebirthDrawsEpoch => (removes(GONE), 7),
        Rule::RemovalFences | Rule::RemovalPurges | Rule::RemovalSparesWhatGrew => {
            (removes(GONE), 1)
        }
        Rule::RemovalCancelsOnlyWhatGrew => (removes(Left { removals: 2, lost: 1, ..GONE }), 1),
        Rule::RemovalBeginsOnItsRow => (removes(Left { removals: 2, lost: 1, ..GONE }), 1),
        Rule::RemovalEndsOnItsRow => (removes(Left { removals: 3, lost: 1, ..GONE }), 1),
        Rule::NoRemovalInMigration | Rule::NoStartInRemoval => {
            (removes(Left { cutovers: 1, starts: 1, ..GONE }), 7)
        }
        Rule::RemovalAfterCleanUp => (removes(Left { starts: 1, aborts: 1, lost: 1, ..GONE }), 3),
        Rule::RemovalNeedsNoCopy => (removes(Left { cutovers: 1, starts: 1, ..GONE }), 1),
        Rule::ReadFromActive | Rule::ReadConfirmsPause => (Bounds { reader: true, ..cut(ONCE) }, 6),
        Rule::AbsentIsNotEmpty => (Bounds { reader: true, ..cut(Left { purges: 1, ..ONCE }) }, 6),
    }
}
