//! The runs.

use crate::bounds::Bounds;

/// Runs by name, for the rules that they show.
pub mod runs {
    use crate::bounds::{Bounds, Left};

    const LEFT: Left = Left {
        writes: 0,
        repeatable: 0,
        starts: 1,
        cutovers: 1,
        aborts: 0,
        releases: 0,
        crashes: 0,
        bypasses: 0,
        others: 0,
        opposite: 0,
    };

    const PLAIN: Bounds = Bounds {
        name: "",
        writers: 2,
        streams: 1,
        astray: false,
        reader: false,
        locks_table: false,
        reads_target: false,
        left: LEFT,
        without: None,
    };

    /// The guard comes while writers write.
    pub const FIRST: Bounds = Bounds {
        name: "a first guarding and a cutover",
        left: Left { writes: 2, ..LEFT },
        ..PLAIN
    };
    /// Snapshots from before the guard, and from before a cutover.
    pub const OLD: Bounds =
        Bounds { name: "old snapshots", left: Left { writes: 1, repeatable: 1, ..LEFT }, ..PLAIN };
    /// A cutover, writers that do not know, one that waits.
    pub const ONCE: Bounds = Bounds {
        name: "a cutover and stale writers",
        astray: true,
        left: Left { writes: 2, ..LEFT },
        ..PLAIN
    };
    /// A writer in the target from before the guard.
    pub const STRAY: Bounds = Bounds {
        name: "rows in the target",
        astray: true,
        left: Left { writes: 1, ..LEFT },
        ..PLAIN
    };
    /// A cutover, and back.
    pub const THERE_AND_BACK: Bounds = Bounds {
        name: "there and back",
        astray: true,
        left: Left { writes: 2, cutovers: 2, ..LEFT },
        ..PLAIN
    };
    /// Two streams, whose rows do not wait for each other.
    pub const ORDER: Bounds = Bounds {
        name: "arrivals that commit in another order",
        streams: 2,
        left: Left { writes: 3, ..LEFT },
        ..PLAIN
    };
    /// A projection over a cutover.
    pub const READER: Bounds = Bounds {
        name: "a projection follows",
        streams: 2,
        reader: true,
        left: Left { writes: 2, ..LEFT },
        ..PLAIN
    };
    /// A projection, and a writer in the target that drew its position early.
    pub const FLOOR: Bounds = Bounds {
        name: "positions drawn before the copy",
        astray: true,
        reader: true,
        left: Left { writes: 1, ..LEFT },
        ..PLAIN
    };
    /// Two such writers: one runs on while the other has committed.
    pub const FLOOR_TWO: Bounds = Bounds {
        name: "two positions drawn before the copy",
        left: Left { writes: 2, ..LEFT },
        ..FLOOR
    };
    /// The same, and the guard goes after the window.
    pub const FLOOR_RELEASE: Bounds = Bounds {
        name: "positions drawn before the copy, and the guard goes",
        astray: true,
        reader: true,
        left: Left { writes: 1, aborts: 1, releases: 1, ..LEFT },
        ..PLAIN
    };
    /// A database that crashes.
    pub const CRASH: Bounds =
        Bounds { name: "a crash", left: Left { writes: 1, crashes: 1, ..LEFT }, ..PLAIN };
    /// The triggers are bypassed.
    pub const BYPASS: Bounds = Bounds {
        name: "triggers disabled for a while",
        left: Left { writes: 1, bypasses: 1, ..LEFT },
        ..PLAIN
    };
    /// The guard goes where it must not.
    pub const RELEASE: Bounds = Bounds {
        name: "the guard goes after a move",
        astray: true,
        left: Left { writes: 1, aborts: 1, releases: 1, ..LEFT },
        ..PLAIN
    };
    /// The guard goes after an abort, and comes again.
    pub const AGAIN: Bounds = Bounds {
        name: "guarded again after an abort",
        left: Left { writes: 2, starts: 2, aborts: 1, releases: 1, ..LEFT },
        ..PLAIN
    };

    /// The guard goes after the window of a move, comes again, and the tenant moves back.
    pub const BACK_AGAIN: Bounds = Bounds {
        name: "unguarded after a move, and moved back",
        astray: true,
        left: Left { writes: 1, starts: 2, cutovers: 2, aborts: 1, releases: 1, ..LEFT },
        ..PLAIN
    };

    /// A copy beside writers of other tenants, where each locks the whole table, and a projection of all tenants.
    pub const LOCKS: Bounds = Bounds {
        name: "writers that lock the table",
        reader: true,
        locks_table: true,
        reads_target: true,
        left: Left { writes: 1, others: 2, ..LEFT },
        ..PLAIN
    };
    /// The same, and another tenant is switched in the opposite direction.
    pub const OPPOSITE: Bounds = Bounds {
        name: "two cutovers in opposite directions",
        locks_table: true,
        left: Left { writes: 1, cutovers: 2, opposite: 1, ..LEFT },
        ..PLAIN
    };

    /// More of everything, for `cargo xtask prove`.
    pub const LARGE: &[Bounds] = &[
        Bounds {
            name: "there and back, three writes, two streams",
            streams: 2,
            left: Left { writes: 3, cutovers: 2, ..LEFT },
            ..THERE_AND_BACK
        },
        Bounds {
            name: "there and back with a projection",
            reader: true,
            left: Left { writes: 2, cutovers: 2, ..LEFT },
            ..THERE_AND_BACK
        },
        Bounds {
            name: "old snapshots, there and back",
            astray: true,
            left: Left { writes: 1, repeatable: 2, cutovers: 2, ..LEFT },
            ..OLD
        },
        Bounds {
            name: "old snapshots over an end and a new beginning of guarding",
            left: Left { writes: 1, repeatable: 1, starts: 2, aborts: 1, releases: 1, ..LEFT },
            ..AGAIN
        },
        Bounds {
            name: "unguarded after a move, and moved back, two writes",
            left: Left { writes: 2, starts: 2, cutovers: 2, aborts: 1, releases: 1, ..LEFT },
            ..BACK_AGAIN
        },
        Bounds {
            name: "unguarded after a move, and moved back, with a projection",
            reader: true,
            ..BACK_AGAIN
        },
        Bounds {
            name: "writers that lock the table, there and back",
            astray: true,
            left: Left { writes: 2, cutovers: 2, others: 2, opposite: 1, ..LEFT },
            ..LOCKS
        },
        Bounds {
            name: "a crash there and back",
            astray: true,
            left: Left { writes: 2, cutovers: 2, crashes: 1, ..LEFT },
            ..CRASH
        },
    ];
}

/// Small enough for the tests.
pub const SMALL: &[Bounds] = &[
    runs::FIRST,
    runs::OLD,
    runs::ONCE,
    runs::STRAY,
    runs::THERE_AND_BACK,
    runs::ORDER,
    runs::READER,
    runs::FLOOR,
    runs::FLOOR_TWO,
    runs::FLOOR_RELEASE,
    runs::CRASH,
    runs::BYPASS,
    runs::RELEASE,
    runs::AGAIN,
    runs::BACK_AGAIN,
    runs::LOCKS,
    runs::OPPOSITE,
];

/// What `cargo xtask prove` adds.
pub const LARGE: &[Bounds] = runs::LARGE;
