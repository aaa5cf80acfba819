//! The families of drains.

use super::Family;
use super::Kind::{Counter, Gauge};
use super::ReportedBy::{EachServer, WhereItHappened};

const DRAIN: &[&str] = &["drain_id"];

pub(in crate::metrics) const DRAIN_STATE: Family = Family::new(
    "drain_state",
    Gauge,
    DRAIN,
    EachServer,
    "Current state: 0 running, 1 paused, 2 budget_spent, 3 cancelling, 4 cancelled, 5 finished",
);
pub(in crate::metrics) const DRAIN_INFO: Family = Family::new(
    "drain_info",
    Gauge,
    &["drain_id", "source_stores", "target_stores"],
    EachServer,
    "Always 1: which stores the drain empties, and where their tenants go",
);
pub(in crate::metrics) const DRAIN_TENANTS: Family = Family::new(
    "drain_tenants",
    Gauge,
    &["drain_id", "state"],
    EachServer,
    "Tenants by state: waiting, again (set aside, to be tried again), moving, moved, set_aside, stays",
);
pub(in crate::metrics) const DRAIN_MOVES: Family = Family::new(
    "drain_moves",
    Counter,
    &["drain_id", "step"],
    EachServer,
    "Moves by step: begun, finished (the tenant is at its target), failed (aborted); of the drain, whichever process did them",
);
pub(in crate::metrics) const DRAIN_EVENTS: Family = Family::new(
    "drain_events",
    Gauge,
    DRAIN,
    EachServer,
    "Events of the tenants that are to be moved, as counted when the drain was planned",
);
pub(in crate::metrics) const DRAIN_EVENTS_MOVED: Family = Family::new(
    "drain_events_moved",
    Counter,
    DRAIN,
    EachServer,
    "Events of the tenants that were moved",
);
pub(in crate::metrics) const DRAIN_BYTES: Family = Family::new(
    "drain_bytes_copied",
    Counter,
    DRAIN,
    WhereItHappened,
    "Bytes of events (data, metadata, names) that this process has copied for the drain",
);
pub(in crate::metrics) const DRAIN_FAILURES: Family = Family::new(
    "drain_failures",
    Gauge,
    DRAIN,
    EachServer,
    "Failed moves since the drain was started or resumed",
);
pub(in crate::metrics) const DRAIN_FAILURES_MAX: Family = Family::new(
    "drain_failures_max",
    Gauge,
    DRAIN,
    EachServer,
    "Failed moves at which the drain pauses; 0: at none",
);
pub(in crate::metrics) const DRAIN_WORKERS: Family =
    Family::new("drain_workers", Gauge, DRAIN, EachServer, "Processes that work on the drain");
pub(in crate::metrics) const DRAIN_WINDOW_OPEN: Family = Family::new(
    "drain_window_open",
    Gauge,
    DRAIN,
    EachServer,
    "1 while cutovers may begin: the window is open, or there is none",
);
pub(in crate::metrics) const DRAIN_WINDOW_OPENS: Family = Family::new(
    "drain_window_opens_timestamp_seconds",
    Gauge,
    DRAIN,
    EachServer,
    "When the window opens next: Unix time in seconds; only while it is closed",
);
pub(in crate::metrics) const DRAIN_WINDOW_MISSED: Family = Family::new(
    "drain_window_missed",
    Gauge,
    DRAIN,
    EachServer,
    "1 when the last window has passed without a move although tenants were to be moved, until one is moved",
);
pub(in crate::metrics) const DRAIN_PROGRESS: Family = Family::new(
    "drain_last_progress_timestamp_seconds",
    Gauge,
    DRAIN,
    EachServer,
    "When the drain last made progress: a move started, finished, failed or copied events, the drain was resumed, or its window opened; Unix time in seconds",
);
pub(in crate::metrics) const DRAIN_REMAINING: Family = Family::new(
    "drain_remaining_seconds",
    Gauge,
    DRAIN,
    EachServer,
    "Time left at the rate so far, in seconds; only while the drain runs and has moved a tenant",
);
pub(in crate::metrics) const DRAIN_NEEDS: Family = Family::new(
    "drain_needs",
    Gauge,
    DRAIN,
    EachServer,
    "Things that need an operator, as `rehome drain show` lists them",
);
