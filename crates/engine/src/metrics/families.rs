//! Every metric family: the only place where a name, a type, a label or a bucket is defined. The
//! exposition is checked against this table, and the reference page is generated from it.

mod drains;

pub(super) use drains::*;

/// The type of a family, as Prometheus and OpenMetrics know it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only increases, and restarts at 0 with the process. Its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bounds, in seconds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The name in an exposition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Which process reports a family's series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportedBy {
    /// The process that drives the migration, if it serves; otherwise every process that serves, as it observes it.
    Server,
    /// The process that drives the migration, if it serves.
    Driver,
    /// The process in which it happened.
    WhereItHappened,
    /// Every process that routes appends, about its own.
    EachRouter,
    /// Every process that serves.
    EachProcess,
    /// Every process that serves, all the same: what the control plane has.
    EachServer,
}

impl ReportedBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "the lease holder; without a server that drives, each server",
            Self::Driver => "the lease holder",
            Self::WhereItHappened => "the process where it happened",
            Self::EachRouter => "each router",
            Self::EachProcess => "each process",
            Self::EachServer => "each server, from the control plane",
        }
    }
}

/// One metric family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Family {
    /// The name; of a counter without `_total`, which its samples have.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// The labels, in their order.
    pub labels: &'static [&'static str],
    /// The meaning, and the unit.
    pub help: &'static str,
    /// The processes that report it.
    pub reported_by: ReportedBy,
}

impl Family {
    const fn new(
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        reported_by: ReportedBy,
        help: &'static str,
    ) -> Self {
        Self { name, kind, labels, help, reported_by }
    }

    /// The name of its samples (of a histogram: without `_bucket`, `_sum`, `_count`).
    pub fn sample(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            _ => self.name.to_owned(),
        }
    }
}

use Kind::{Counter, Gauge, Histogram};
use ReportedBy::{Driver, EachProcess, EachRouter, Server, WhereItHappened};

const MIGRATION: &[&str] = &["migration_id"];
const BOTH: &[&str] = &["migration_id", "tenant_id"];
const TENANT: &[&str] = &["tenant_id"];

/// Buckets of `dual_write_latency_seconds`.
pub(super) const MIRROR_BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
/// Buckets of `cutover_pause_duration_seconds`.
pub(super) const PAUSE_BUCKETS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Buckets of `verification_duration_seconds`: up to an hour.
pub(super) const VERIFICATION_BUCKETS: &[f64] =
    &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0];

// Progress.
pub(super) const STATE: Family = Family::new(
    "migration_state",
    Gauge,
    BOTH,
    Server,
    "Current state: 0 pending, 1 bulk_copy, 2 dual_write, 3 cutover_paused, 4 migrated, 5 failed, 6 rolled_back, 7 paused",
);
pub(super) const PERCENT: Family = Family::new(
    "migration_progress_percent",
    Gauge,
    BOTH,
    Server,
    "Fraction of the history that is in the target, 0 to 100",
);
pub(super) const COPIED: Family = Family::new(
    "migration_events_copied",
    Counter,
    BOTH,
    Server,
    "Events of the history that are in the target; continues after a takeover by another process",
);
pub(super) const TOTAL: Family = Family::new(
    "migration_events_total",
    Gauge,
    BOTH,
    Server,
    "Events of the history that must be in the target",
);
pub(super) const DURATION: Family = Family::new(
    "migration_duration_seconds",
    Gauge,
    &["migration_id", "phase"],
    Server,
    "Time spent in each phase so far, in seconds; grows while the phase lasts",
);
pub(super) const INFO: Family = Family::new(
    "migration_info",
    Gauge,
    &["migration_id", "tenant_id", "source_store", "target_store"],
    Server,
    "Always 1: the source and the target of the tenant's move",
);
pub(super) const BYTES: Family = Family::new(
    "migration_bytes_copied",
    Counter,
    BOTH,
    WhereItHappened,
    "Bytes of events (data, metadata, names) copied to the target by this process",
);
pub(super) const THROTTLE: Family = Family::new(
    "migration_throttle_wait_seconds",
    Counter,
    BOTH,
    WhereItHappened,
    "Time the copy has waited because of its rate limit, in seconds",
);
pub(super) const SPEED: Family = Family::new(
    "migration_throttle_percent",
    Gauge,
    BOTH,
    Driver,
    "How hard the migration copies, reads back and verifies, in percent of what it could; under 100 it gives way",
);
pub(super) const SLOWED: Family = Family::new(
    "migration_throttled_seconds",
    Counter,
    &["migration_id", "reason"],
    WhereItHappened,
    "Time in which the migration gave way, in seconds, by reason: source_appends, target_appends, source_reads, read_back, target_writes, mirror_lag, replica_lag, target_disk",
);
pub(super) const LAST_PROGRESS: Family = Family::new(
    "migration_last_progress_timestamp_seconds",
    Gauge,
    BOTH,
    Server,
    "When the target last made progress, or the phase was entered or resumed: Unix time in seconds",
);
pub(super) const SINCE: Family = Family::new(
    "migration_state_since_timestamp_seconds",
    Gauge,
    BOTH,
    Server,
    "When the migration entered its current state: Unix time in seconds",
);
pub(super) const READ_BACK_LAG: Family = Family::new(
    "migration_read_back_lag_events",
    Gauge,
    BOTH,
    Driver,
    "Events in the target that have not been read back yet; only in dual_write",
);
pub(super) const TAKEOVERS: Family = Family::new(
    "migration_lease_takeovers",
    Counter,
    MIGRATION,
    WhereItHappened,
    "Number of times this process took the migration over from another",
);
pub(super) const LEASE_LOST: Family = Family::new(
    "migration_lease_lost",
    Counter,
    MIGRATION,
    WhereItHappened,
    "Number of times this process lost the migration's lease to another",
);
pub(super) const UNATTENDED: Family = Family::new(
    "migration_unattended",
    Gauge,
    BOTH,
    EachProcess,
    "1 while there is work to do and this process sees no process do it",
);
pub(super) const CROWDED_OUT: Family = Family::new(
    "migrations_without_series",
    Gauge,
    &[],
    EachProcess,
    "Migrations at work beyond the 200 that have series: those that need attention come first, then the oldest",
);
pub(super) const UNPUBLISHED: Family = Family::new(
    "migration_unpublished",
    Gauge,
    BOTH,
    Server,
    "1 while the tenant is switched and not every [[publish]] entry has acknowledged",
);
pub(super) const RETRIES: Family = Family::new(
    "migration_retries",
    Counter,
    MIGRATION,
    WhereItHappened,
    "Number of times the driver met a fault and retried",
);
pub(super) const WINDOW_LAG: Family = Family::new(
    "migration_rollback_window_lag_events",
    Gauge,
    BOTH,
    Driver,
    "Events that the old source is behind during the rollback window",
);
// Dual write.
pub(super) const OPERATIONS: Family = Family::new(
    "dual_write_operations",
    Counter,
    &["tenant_id", "status"],
    WhereItHappened,
    "Events written since mirroring started and mirrored, by status: success, target_failed; without the history that the mirror catches up on",
);
pub(super) const TARGET_FAILURES: Family = Family::new(
    "dual_write_target_failures",
    Counter,
    TENANT,
    WhereItHappened,
    "Events whose write to the target failed, or has had no response for 5 seconds and again for each further 5; each is retried until it succeeds",
);
pub(super) const MIRROR_LATENCY: Family = Family::new(
    "dual_write_latency_seconds",
    Histogram(MIRROR_BUCKETS),
    TENANT,
    WhereItHappened,
    "Time from when the mirror has an event until the target has committed it; for the events of dual_write_operations_total",
);
pub(super) const SYNC_LAG: Family = Family::new(
    "dual_write_sync_lag_events",
    Gauge,
    TENANT,
    Server,
    "Events that the target is behind: the source's length, read every second, less the target's last known one; only in dual_write and in the cutover",
);
pub(super) const SYNC_LAG_AGE: Family = Family::new(
    "dual_write_sync_lag_age_seconds",
    Gauge,
    TENANT,
    Server,
    "Time since the source's length behind dual_write_sync_lag_events was read; grows while the source does not answer",
);
// Cutover.
pub(super) const PAUSE: Family = Family::new(
    "cutover_pause_duration_seconds",
    Histogram(PAUSE_BUCKETS),
    MIGRATION,
    Driver,
    "Time from the cutover's intent until a store accepted writes again, switched or rolled back; of all cutovers of the migration",
);
pub(super) const BLOCKED: Family = Family::new(
    "cutover_blocked_writers",
    Gauge,
    MIGRATION,
    EachRouter,
    "Appends without a response in this process while the tenant's route is in cutover_paused, whatever they wait for",
);
pub(super) const ATTEMPTS: Family = Family::new(
    "cutover_attempts",
    Counter,
    &["migration_id", "status"],
    Driver,
    "Cutovers, by status: started, succeeded, rolled_back, timed_out, refused; all but refused count the whole migration, whichever process ran them",
);
pub(super) const TIMEOUTS: Family = Family::new(
    "cutover_timeout",
    Counter,
    MIGRATION,
    Driver,
    "Cutovers rolled back because their deadline passed, whichever process ran them",
);
// Consistency.
pub(super) const VERIFICATION: Family = Family::new(
    "verification_duration_seconds",
    Histogram(VERIFICATION_BUCKETS),
    &["migration_id", "level"],
    WhereItHappened,
    "Duration of verifications, by level: count, hash, full",
);
pub(super) const VIOLATIONS: Family = Family::new(
    "verification_violations",
    Counter,
    &["migration_id", "type"],
    WhereItHappened,
    "Violations found, by type: missing, unexpected, content, order, version, ledger",
);
pub(super) const CHECKED: Family = Family::new(
    "verification_events_checked",
    Counter,
    MIGRATION,
    WhereItHappened,
    "Events compared by verifications",
);
pub(super) const OPEN_VIOLATIONS: Family = Family::new(
    "verification_open_violations",
    Gauge,
    MIGRATION,
    WhereItHappened,
    "Open violations: found, and neither refuted nor repaired",
);
// Appends and routes.
pub(super) const APPENDS: Family = Family::new(
    "append_duration_seconds",
    Histogram(crate::appends::APPEND_BUCKETS),
    &["tenant_id", "outcome"],
    EachRouter,
    "Latency of appends as the application sees it, by outcome: ok, conflict, invalid, paused, busy, unavailable, unknown; the least recently active tenants are together under other",
);
pub(super) const LONGEST_WAIT: Family = Family::new(
    "append_longest_wait_seconds",
    Gauge,
    TENANT,
    EachRouter,
    "Age of the oldest append without a response, from its submission, whatever it waits for; 0 when none waits",
);
pub(super) const APPENDS_BLOCKED: Family = Family::new(
    "append_blocked_seconds",
    Gauge,
    TENANT,
    EachRouter,
    "How long appends have waited, timed out and been retried while none was acknowledged; 0 when none waits",
);
pub(super) const FENCED: Family = Family::new(
    "fenced_appends",
    Counter,
    TENANT,
    EachRouter,
    "Appends that a store refused because the tenant had moved; each was routed again",
);
pub(super) const REFRESHES: Family =
    Family::new("route_refreshes", Counter, &[], EachRouter, "Routes read from the control plane");
// The process.
pub(super) const STORE_UP: Family = Family::new(
    "store_up",
    Gauge,
    &["store_id"],
    EachProcess,
    "1 if the store answered the last request",
);
pub(super) const STORE_CHECKED: Family = Family::new(
    "store_verification_events_checked",
    Counter,
    &["store_id"],
    EachProcess,
    "Events that scheduled verifications of the store have read",
);
pub(super) const STORE_DAMAGED: Family = Family::new(
    "store_damaged_tenants",
    Gauge,
    &["store_id"],
    EachProcess,
    "Tenants whose rows contradict their ledger, until a verification finds them intact",
);
pub(super) const STORE_VERIFIED: Family = Family::new(
    "store_verified_timestamp_seconds",
    Gauge,
    &["store_id"],
    EachProcess,
    "When a scheduled verification last reached the end of the store: Unix time in seconds; 0 before the first",
);
pub(super) const REMOVALS_STILL: Family = Family::new(
    "tenant_removals_interrupted",
    Gauge,
    &[],
    EachProcess,
    "Removals of tenants that are not complete and have made no progress for 10 seconds",
);
pub(super) const CONTROL_UP: Family = Family::new(
    "control_plane_up",
    Gauge,
    &[],
    EachProcess,
    "1 if the control plane answered the last request",
);
pub(super) const ROOM_USED: Family = Family::new(
    "server_room_used",
    Gauge,
    &["room"],
    EachProcess,
    "Resources that connections and requests hold, by room: connections, requests, followers, body_bytes, answer_bytes",
);
pub(super) const ROOM_SIZE: Family = Family::new(
    "server_room_size",
    Gauge,
    &["room"],
    EachProcess,
    "Limit of the resource, by room",
);
pub(super) const ROOM_REFUSED: Family = Family::new(
    "server_room_refusals",
    Counter,
    &["room", "bound"],
    EachProcess,
    "Requests refused with 429, and idle connections closed, by room and bound: share (of one caller or address), size",
);
pub(super) const SLOW_CLIENTS: Family = Family::new(
    "server_slow_clients",
    Counter,
    &["direction"],
    EachProcess,
    "Clients that were disconnected because they were too slow, by direction: body, answer",
);
pub(super) const LOOKED: Family = Family::new(
    "migration_last_look_timestamp_seconds",
    Gauge,
    &[],
    EachProcess,
    "When this process last listed the migrations of the control plane: Unix time in seconds",
);
pub(super) const BUILD: Family = Family::new(
    "rehome_build_info",
    Gauge,
    &["version"],
    EachProcess,
    "Always 1: the version of rehome",
);
pub(super) const PROCESS: Family = Family::new(
    "rehome_process_info",
    Gauge,
    &["process"],
    EachProcess,
    "Always 1: the name under which the process holds leases",
);
pub(super) const CPU: Family = Family::new(
    "process_cpu_seconds",
    Counter,
    &[],
    EachProcess,
    "User and system time of the process, in seconds",
);
pub(super) const RESIDENT: Family = Family::new(
    "process_resident_memory_bytes",
    Gauge,
    &[],
    EachProcess,
    "Memory of the process, in bytes",
);
pub(super) const STARTED: Family = Family::new(
    "process_start_time_seconds",
    Gauge,
    &[],
    EachProcess,
    "When the process started: Unix time in seconds",
);

/// All families, in the order of the exposition.
pub const FAMILIES: &[Family] = &[
    STATE,
    PERCENT,
    COPIED,
    TOTAL,
    DURATION,
    INFO,
    BYTES,
    THROTTLE,
    SPEED,
    SLOWED,
    LAST_PROGRESS,
    SINCE,
    READ_BACK_LAG,
    TAKEOVERS,
    LEASE_LOST,
    UNATTENDED,
    CROWDED_OUT,
    UNPUBLISHED,
    RETRIES,
    WINDOW_LAG,
    OPERATIONS,
    TARGET_FAILURES,
    MIRROR_LATENCY,
    SYNC_LAG,
    SYNC_LAG_AGE,
    PAUSE,
    BLOCKED,
    ATTEMPTS,
    TIMEOUTS,
    VERIFICATION,
    VIOLATIONS,
    CHECKED,
    OPEN_VIOLATIONS,
    DRAIN_STATE,
    DRAIN_INFO,
    DRAIN_TENANTS,
    DRAIN_MOVES,
    DRAIN_EVENTS,
    DRAIN_EVENTS_MOVED,
    DRAIN_BYTES,
    DRAIN_FAILURES,
    DRAIN_FAILURES_MAX,
    DRAIN_WORKERS,
    DRAIN_WINDOW_OPEN,
    DRAIN_WINDOW_OPENS,
    DRAIN_WINDOW_MISSED,
    DRAIN_PROGRESS,
    DRAIN_REMAINING,
    DRAIN_NEEDS,
    APPENDS,
    LONGEST_WAIT,
    APPENDS_BLOCKED,
    FENCED,
    REFRESHES,
    STORE_UP,
    STORE_CHECKED,
    STORE_DAMAGED,
    STORE_VERIFIED,
    REMOVALS_STILL,
    CONTROL_UP,
    ROOM_USED,
    ROOM_SIZE,
    ROOM_REFUSED,
    SLOW_CLIENTS,
    LOOKED,
    BUILD,
    PROCESS,
    CPU,
    RESIDENT,
    STARTED,
];

/// The reference page, in Markdown.
pub fn reference() -> String {
    use std::fmt::Write as _;
    let mut page = String::from(
        "# Metrics\n\n\
         Served at `/metrics`, as OpenMetrics or as text 0.0.4, by `Accept`; the names of the samples are the \
         same in both. This page is generated from `crates/engine/src/metrics/families.rs`; a test fails when it \
         is stale.\n\n\
         Series of a migration start when a process takes it, and end 15 minutes after the migration ended \
         (`[telemetry] metrics_retention`): of the 20 that ended last all, of older ones the state and what went \
         wrong for a minute, of one that failed until it is acknowledged. So a scrape after ten thousand moves \
         is as small as after twenty. Of those at work at the same time, 200 have series (`migrations_without_series`). Series of a drain start with it and end as long after it; what each server \
         exports of it is the same, so aggregate with `max by (drain_id)`. Counters are 0 when their phase starts. \
         Several processes share a deployment. What the lease holder reports is about the migration, and \
         continues after a restart or a takeover: aggregate with `max by (migration_id, tenant_id)`, \
         counters too. What is reported where it happened, and what each router reports about its own appends, \
         starts at 0 with the process: add it up with `sum by`.\n\n\
         No series names its deployment. Where several share a Prometheus, the scrape configuration labels \
         their targets with `deployment`, which all shipped queries keep; see \
         [dashboards](dashboards.md#several-deployments-in-one-prometheus).\n\n\
         A command that drives a migration (`rehome --local migration start`) serves no metrics: each server \
         exports the state, the progress, the lag and the durations of a migration that no server drives, from \
         the control plane and the two ledgers, read every second. While a store does not answer, its last \
         known length counts, so the lag of a target that hangs continues to grow; when neither store has \
         answered for 60 seconds the numbers end and the state stays. Two servers both export such a \
         migration: use `max by`, also for `migration_events_copied_total`.\n\n\
         | Metric | Type | Labels | Reported by | Meaning |\n|---|---|---|---|---|\n",
    );
    for family in FAMILIES {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, by) = (family.sample(), family.kind.as_str(), family.reported_by.as_str());
        let _ = writeln!(
            page,
            "| `{name}` | {kind} | {} | {by} | {} |",
            labels.join(", "),
            family.help
        );
    }
    page.push_str("\n## Buckets, in seconds\n\n");
    for family in FAMILIES {
        if let Histogram(bounds) = family.kind {
            let bounds: Vec<String> = bounds.iter().map(ToString::to_string).collect();
            let _ = writeln!(page, "- `{}`: {}", family.name, bounds.join(", "));
        }
    }
    page
}
