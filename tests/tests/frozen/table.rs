//! Every screen, and its expected contents while a component hangs.
//!
//! A row is a screen; its expected contents are a function of the component and the phase, so that together
//! they form the table component × phase × screen. A screen without a row fails `complete`.

use crate::harness::{Component, IMPORTED};
use crate::scene::{Case, Phase, Scene};
use crate::truth::Range;

/// The expected contents.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum True {
    /// There is no such series, or the field is null.
    Absent,
    Number(Range),
    Text(&'static str),
    /// A text, or one of several, that has this in it.
    Says(&'static str),
    /// Nothing that a component could make false.
    Constant,
}

use True::{Absent, Constant, Number, Says, Text};

fn exactly(value: impl Into<f64>) -> True {
    let value = value.into();
    Number(Range::of(value, value))
}

/// Whose label a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Migration,
    Tenant,
}

/// A row: the screen, and its expected contents.
pub(crate) type Row<S, C> = (S, Truth<C>);

/// The expected contents in this case.
pub(crate) type Truth<C> = fn(&C) -> True;

/// The same for a tenant.
type OfTenant = fn(&Case<'_>) -> True;

/// The same for the health of all, with the lag of the one migration that mirrors.
type OfHealth = fn(&(&Scene, Range)) -> True;

/// A family of a migration, by whose label, and one more label.
pub(crate) type Series = (&'static str, By, fn(&Case<'_>) -> String);

fn no_more(_: &Case<'_>) -> String {
    String::new()
}

/// Gauges of a migration, and the counters that rules and people read beside them.
pub(crate) const OF_MIGRATIONS: &[(Series, OfTenant)] = &[
    (("migration_state", By::Migration, no_more), |case| {
        exactly(match case.phase {
            Phase::BulkCopy => 1,
            Phase::DualWrite => 2,
            Phase::CutoverPaused => 3,
            Phase::Window => 4,
        })
    }),
    (("migration_progress_percent", By::Migration, no_more), percent),
    (("migration_events_total", By::Migration, no_more), |case| Number(case.total())),
    (("migration_events_copied_total", By::Migration, no_more), |case| Number(case.copied())),
    (
        ("migration_duration_seconds", By::Migration, |case| {
            format!("phase=\"{}\"", case.phase.name())
        }),
        |case| Number(case.in_phase()),
    ),
    (("migration_info", By::Migration, no_more), |_| exactly(1)),
    (("migration_state_since_timestamp_seconds", By::Migration, no_more), |case| {
        Number(Range::of(case.frozen_unix() - 300.0, case.frozen_unix() + 5.0))
    }),
    (("migration_last_progress_timestamp_seconds", By::Migration, no_more), last_progress),
    (("migration_read_back_lag_events", By::Migration, no_more), |case| match case.phase {
        Phase::BulkCopy | Phase::Window => Absent,
        // What the target got since it was level last; of what it held before nothing is unread.
        Phase::DualWrite | Phase::CutoverPaused => {
            Number(Range::of(0.0, case.replica().high - IMPORTED as f64))
        }
    }),
    // What hangs answers nothing and slows nothing: the work waits for it.
    (("migration_throttle_percent", By::Migration, no_more), |case| match case.phase {
        Phase::Window => Absent,
        _ => Constant,
    }),
    (("migration_unattended", By::Migration, no_more), |_| exactly(0)),
    (("migration_unpublished", By::Migration, no_more), |_| exactly(0)),
    (("migration_rollback_window_lag_events", By::Migration, no_more), |case| match case.phase {
        Phase::Window => Number(case.lag()),
        _ => Absent,
    }),
    (("dual_write_sync_lag_events", By::Tenant, no_more), |case| match case.phase {
        Phase::DualWrite | Phase::CutoverPaused => Number(case.lag()),
        _ => Absent,
    }),
    (("dual_write_sync_lag_age_seconds", By::Tenant, no_more), |case| match case.phase {
        Phase::DualWrite | Phase::CutoverPaused if case.hangs(case.authority()) => {
            Number(case.since_frozen().around(3.0))
        }
        Phase::DualWrite | Phase::CutoverPaused => Number(Range::of(0.0, 3.0)),
        _ => Absent,
    }),
    (("cutover_blocked_writers", By::Migration, no_more), |case| match case.phase {
        Phase::BulkCopy => Absent,
        Phase::CutoverPaused => Number(case.writers()),
        Phase::DualWrite | Phase::Window => exactly(0),
    }),
    (("append_longest_wait_seconds", By::Tenant, no_more), |case| Number(case.longest_wait())),
    (("append_blocked_seconds", By::Tenant, no_more), |case| Number(case.blocked_for())),
    (("verification_open_violations", By::Migration, no_more), |case| match case.phase {
        Phase::BulkCopy => Absent,
        _ => exactly(0),
    }),
    (("dual_write_operations_total", By::Tenant, |_| "status=\"success\"".to_owned()), |case| {
        match case.phase {
            // The events written since, without the history.
            Phase::DualWrite => {
                Number(case.replica().less(Range::of(IMPORTED as f64, IMPORTED as f64)))
            }
            Phase::CutoverPaused | Phase::Window => Number(Range::of(0.0, 50.0)),
            Phase::BulkCopy => Absent,
        }
    }),
    (("dual_write_target_failures_total", By::Tenant, no_more), |case| match case.phase {
        Phase::DualWrite if case.takes_no_writes(case.replica_store()) => {
            Number(Range::of(1.0, 1e6))
        }
        Phase::BulkCopy => Absent,
        _ => exactly(0),
    }),
];

fn percent(case: &Case<'_>) -> True {
    if case.phase == Phase::Window {
        return exactly(100);
    }
    let (copied, total) = (case.copied(), case.total());
    let of = |copied: f64, total: f64| (copied * 100.0 / total).min(100.0);
    Number(Range::of(of(copied.low, total.high), of(copied.high, total.low)))
}

fn last_progress(case: &Case<'_>) -> True {
    let (frozen, looked) = (case.frozen_unix(), case.looked_unix());
    Number(match case.phase {
        Phase::BulkCopy => Range::of(frozen - 6.0, frozen + 2.0),
        Phase::DualWrite if case.stands_still() => Range::of(frozen - 3.0, frozen + 2.0),
        Phase::DualWrite => Range::of(looked - 5.0, looked + 1.0),
        Phase::CutoverPaused | Phase::Window => Range::of(case.began_unix(), frozen + 2.0),
    })
}

/// Gauges of the process: each with the labels that it has.
pub(crate) const OF_PROCESS: &[Row<(&str, &str), Scene>] = &[
    (("store_up", "store_id=\"source\""), |scene| {
        exactly(u8::from(scene.component != Component::Source))
    }),
    (("store_up", "store_id=\"target\""), |scene| match scene.component {
        // A file whose lock is held still answers what only reads; a check that writes waits.
        Component::HeldLock => Constant,
        _ => exactly(u8::from(!scene.target_hangs())),
    }),
    (("store_up", "store_id=\"aside\""), |scene| exactly(u8::from(!scene.target_hangs()))),
    // Nothing verifies automatically here; the value is the last one found.
    (("store_damaged_tenants", "store_id=\"source\""), |_| Absent),
    (("store_verified_timestamp_seconds", "store_id=\"source\""), |_| Absent),
    (("migrations_without_series", ""), |_| exactly(0)),
    (("tenant_removals_interrupted", ""), |_| exactly(0)),
    (("control_plane_up", ""), |scene| {
        exactly(u8::from(scene.component != Component::ControlPlane))
    }),
    (("rehome_build_info", ""), |_| exactly(1)),
    (("rehome_process_info", ""), |_| exactly(1)),
    // A frozen control plane is not read; the alert about it is on the age.
    (("migration_last_look_timestamp_seconds", ""), |scene| {
        Number(Range::of(scene.frozen_unix - 300.0, scene.frozen_unix + 300.0))
    }),
    (("server_room_used", "room=\"connections\""), |_| Constant),
    (("server_room_size", "room=\"connections\""), |_| Constant),
    (("process_resident_memory_bytes", ""), |_| Number(Range::of(1e6, 1e9))),
    (("process_start_time_seconds", ""), |scene| {
        Number(Range::of(scene.frozen_unix - 300.0, scene.frozen_unix))
    }),
];

/// Gauges of the drain: each with one more label that it has, if any. While the control plane hangs they are as
/// they were, and nothing changes meanwhile: its one tenant waits for the window.
pub(crate) const OF_DRAINS: &[Row<(&str, &str), Scene>] = &[
    (("drain_state", ""), |_| exactly(0)),
    (("drain_info", "source_stores=\"source\""), |_| exactly(1)),
    (("drain_tenants", "state=\"moving\""), |_| exactly(1)),
    (("drain_tenants", "state=\"moved\""), |_| exactly(0)),
    (("drain_events", ""), |_| exactly(IMPORTED as f64)),
    (("drain_failures", ""), |_| exactly(0)),
    (("drain_failures_max", ""), |_| exactly(20)),
    (("drain_workers", ""), |_| exactly(1)),
    (("drain_window_open", ""), |_| exactly(0)),
    // In 2099.
    (("drain_window_opens_timestamp_seconds", ""), |_| Number(Range::of(4.07e9, 4.11e9))),
    (("drain_window_missed", ""), |_| exactly(0)),
    (("drain_last_progress_timestamp_seconds", ""), |scene| {
        Number(Range::of(scene.frozen_unix - 300.0, scene.frozen_unix + 2.0))
    }),
    // Nobody was moved yet, so there is no rate.
    (("drain_remaining_seconds", ""), |_| Absent),
    (("drain_needs", ""), |_| exactly(0)),
];

/// Fields of `GET /v1/drains/{id}` that a component could make false; the others are those of its settings.
pub(crate) const DRAIN: &[(&str, Truth<Scene>)] =
    &[
        ("state", |_| Text("running")),
        ("moving", |_| exactly(1)),
        ("moved", |_| exactly(0)),
        ("window_open", |_| Constant),
        ("last_seen_at", |scene| {
            if scene.component == Component::ControlPlane { Says("20") } else { Absent }
        }),
    ];

/// Fields of `GET /health/migration`, with the lag of the one migration that mirrors.
pub(crate) const HEALTH: &[(&str, OfHealth)] = &[
    ("status", |(scene, _)| match scene.component {
        Component::Source => Text("degraded"),
        _ => Text("unhealthy"),
    }),
    ("active_migrations", |(scene, _)| known(scene, exactly(4))),
    ("stuck_migrations", |(scene, _)| known(scene, exactly(0))),
    ("high_sync_lag_count", |(scene, lag)| {
        let high = |lag: f64| u8::from(lag > 1_000.0);
        known(scene, Number(Range::of(high(lag.low), high(lag.high))))
    }),
    ("target_write_failure_rate", |(scene, _)| {
        known(scene, Number(scene.outage_of_the_mirror().unwrap_or_else(|| Range::of(0.0, 0.001))))
    }),
    ("details", |(scene, _)| match scene.component {
        Component::Source => Says("store \"source\""),
        Component::Target | Component::BlackHole => Says("store \"target\""),
        Component::HeldLock => Says("writes to the target failed"),
        Component::ControlPlane => Says("control plane"),
    }),
];

/// Without the control plane all values are unknown, and `status` and `details` say so.
fn known(scene: &Scene, then: True) -> True {
    if scene.component == Component::ControlPlane { Constant } else { then }
}

/// Fields of `GET /v1/migrations/{id}`.
pub(crate) const DOCUMENT: &[(&str, OfTenant)] = &[
    ("state", |case| Text(case.phase.state())),
    // They follow from the state and the route: the domain's tests have them all.
    ("allowed_actions", |_| Constant),
    // The same: it has no manual cutover, pause, failure or violation.
    ("needs", |_| Constant),
    // From the log and the control plane's clock: the domain's tests have it.
    ("last_cutover", |_| Constant),
    ("return_until", |_| Constant),
    ("progress_percent", percent),
    ("events_copied", |case| {
        let copied = case.copied();
        // While the source hangs it is as it was last seen, and its age is beside it.
        let low = if case.hangs(case.authority()) { 0.0 } else { copied.low };
        Number(Range::of(low, copied.high))
    }),
    ("events_total", |case| Number(case.total())),
    ("sync_lag_events", |case| match case.phase {
        Phase::Window => exactly(0),
        _ => Number(case.lag()),
    }),
    // The copy makes no progress, whatever hangs.
    ("rate_events_per_s", |_| exactly(0)),
    ("eta_seconds", |case| match case.phase {
        Phase::BulkCopy => Absent,
        Phase::Window => exactly(0),
        _ => Constant,
    }),
    ("read_back_seq", |case| match case.phase {
        Phase::BulkCopy => exactly(0),
        Phase::DualWrite => Number(Range::of(0.0, case.replica().high)),
        Phase::CutoverPaused => Number(Range::of(0.0, case.replica().high)),
        Phase::Window => Number(Range::of(IMPORTED as f64, case.total().high)),
    }),
    ("source_last_seen_at", seen),
    ("target_last_seen_at", seen),
    ("source_unanswered_since", |case| unanswered(case, case.authority())),
    ("target_unanswered_since", |case| unanswered(case, case.replica_store())),
    ("error", |_| Absent),
    ("open_violation", |_| Absent),
    // The reason of a wait, in words: the engine's tests of waits compare them.
    ("waiting", |_| Constant),
    ("waiting_since", |_| Constant),
    ("cutover_requested", |_| Constant),
    ("hooks", |_| Absent),
    // How hard it worked when it was stopped.
    ("throttle_percent", |_| Constant),
    ("throttle_reason", |_| Constant),
    ("id", |_| Constant),
    ("tenant_id", |_| Constant),
    ("source_store", |_| Text("source")),
    ("target_store", |case| match case.phase {
        Phase::CutoverPaused => Text("aside"),
        _ => Text("target"),
    }),
    ("created_at", |_| Constant),
    ("started_at", |_| Constant),
    ("completed_at", |case| if case.phase == Phase::Window { Constant } else { Absent }),
];

/// The document of an ended migration is built from its log.
fn seen(case: &Case<'_>) -> True {
    if case.phase == Phase::Window { Absent } else { Constant }
}

fn unanswered(case: &Case<'_>, store: &str) -> True {
    // A check of the store writes, and waits for the lock; while one is open, the store counts as silent.
    if case.component() == Component::HeldLock && store == "target" && case.phase != Phase::Window {
        return Constant;
    }
    if case.phase != Phase::Window && case.hangs(store) { Says("20") } else { Absent }
}

/// Pages of the console that show migrations, as they are routed; `{id}` stands for a migration. Each
/// responds in time, whatever hangs.
pub(crate) const PAGES: &[&str] = &["/", "/migrations/{id}"];

/// Pages of drains; `{id}` stands for the drain. They are there at once also without the control plane.
pub(crate) const PAGES_OF_DRAINS: &[&str] = &["/drains", "/drains/{id}"];

/// Pages of tenants; `{id}` stands for a tenant. Each responds in time, whatever hangs.
pub(crate) const PAGES_OF_TENANTS: &[&str] = &["/tenants/{id}"];

/// Pages that show no number of a migration: forms and what they ask, and what the page above updates by.
pub(crate) const PAGES_WITHOUT_NUMBERS: &[&str] = &[
    // Of the control plane's own rows, and an error at once without it. What a list of migrations shows is in the
    // table of the first page too.
    "/migrations",
    "/tenants",
    "/console/live",
    "/console/start",
    "/console/plan",
    "/console/migrations/{id}/{action}",
    "/console/checklists/{id}",
    "/console/runbook",
    "/console/login",
];

/// Families that rules read and that no component that hangs makes false: they count what has happened.
pub(crate) const COUNTED: &[&str] = &[
    "append_duration_seconds_bucket",
    "append_duration_seconds_count",
    "cutover_attempts_total",
    "cutover_pause_duration_seconds_bucket",
    "cutover_pause_duration_seconds_count",
    "cutover_pause_duration_seconds_sum",
    "cutover_timeout_total",
    "dual_write_latency_seconds_bucket",
    "migration_lease_lost_total",
    "migration_lease_takeovers_total",
    "migration_retries_total",
    "verification_violations_total",
    "up",
];
