//! The families of migrations: progress, dual write, cutover, verification.

use super::Family;
use super::Kind::{Counter, Gauge, Histogram};
use super::ReportedBy::{Driver, EachProcess, EachRouter, Server, WhereItHappened};

const MIGRATION: &[&str] = &["migration_id"];
const BOTH: &[&str] = &["migration_id", "tenant_id"];
const TENANT: &[&str] = &["tenant_id"];

/// Buckets of `dual_write_latency_seconds`.
pub(in crate::metrics) const MIRROR_BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
/// Buckets of `cutover_pause_duration_seconds`.
pub(in crate::metrics) const PAUSE_BUCKETS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Buckets of `verification_duration_seconds`: up to an hour.
pub(in crate::metrics) const VERIFICATION_BUCKETS: &[f64] =
    &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0];

// Progress.
pub(in crate::metrics) const STATE: Family = Family::new(
    "migration_state",
    Gauge,
    BOTH,
    Server,
    "Current state: 0 pending, 1 bulk_copy, 2 dual_write, 3 cutover_paused, 4 migrated, 5 failed, 6 rolled_back, 7 paused",
);
pub(in crate::metrics) const PERCENT: Family = Family::new(
    "migration_progress_percent",
    Gauge,
    BOTH,
    Server,
    "Fraction of the history that is in the target, 0 to 100",
);
pub(in crate::metrics) const COPIED: Family = Family::new(
    "migration_events_copied",
    Counter,
    BOTH,
    Server,
    "Events of the history that are in the target; continues after a takeover by another process",
);
pub(in crate::metrics) const TOTAL: Family = Family::new(
    "migration_events_total",
    Gauge,
    BOTH,
    Server,
    "Events of the history that must be in the target",
);
pub(in crate::metrics) const DURATION: Family = Family::new(
    "migration_duration_seconds",
    Gauge,
    &["migration_id", "phase"],
    Server,
    "Time spent in each phase so far, in seconds; grows while the phase lasts",
);
pub(in crate::metrics) const INFO: Family = Family::new(
    "migration_info",
    Gauge,
    &["migration_id", "tenant_id", "source_store", "target_store"],
    Server,
    "Always 1: the source and the target of the tenant's move",
);
pub(in crate::metrics) const BYTES: Family = Family::new(
    "migration_bytes_copied",
    Counter,
    BOTH,
    WhereItHappened,
    "Bytes of events (data, metadata, names) copied to the target by this process",
);
pub(in crate::metrics) const THROTTLE: Family = Family::new(
    "migration_throttle_wait_seconds",
    Counter,
    BOTH,
    WhereItHappened,
    "Time the copy has waited because of its rate limit, in seconds",
);
pub(in crate::metrics) const SPEED: Family = Family::new(
    "migration_throttle_percent",
    Gauge,
    BOTH,
    Driver,
    "How hard the migration copies, reads back and verifies, in percent of what it could; under 100 it gives way",
);
pub(in crate::metrics) const SLOWED: Family = Family::new(
    "migration_throttled_seconds",
    Counter,
    &["migration_id", "reason"],
    WhereItHappened,
    "Time in which the migration gave way, in seconds, by reason: source_appends, target_appends, source_reads, read_back, target_writes, mirror_lag, replica_lag, target_disk",
);
pub(in crate::metrics) const LAST_PROGRESS: Family = Family::new(
    "migration_last_progress_timestamp_seconds",
    Gauge,
    BOTH,
    Server,
    "When the target last made progress, or the phase was entered or resumed: Unix time in seconds",
);
pub(in crate::metrics) const SINCE: Family = Family::new(
    "migration_state_since_timestamp_seconds",
    Gauge,
    BOTH,
    Server,
    "When the migration entered its current state: Unix time in seconds",
);
pub(in crate::metrics) const READ_BACK_LAG: Family = Family::new(
    "migration_read_back_lag_events",
    Gauge,
    BOTH,
    Driver,
    "Events in the target that have not been read back yet; only in dual_write",
);
pub(in crate::metrics) const TAKEOVERS: Family = Family::new(
    "migration_lease_takeovers",
    Counter,
    MIGRATION,
    WhereItHappened,
    "Number of times this process took the migration over from another",
);
pub(in crate::metrics) const LEASE_LOST: Family = Family::new(
    "migration_lease_lost",
    Counter,
    MIGRATION,
    WhereItHappened,
    "Number of times this process lost the migration's lease to another",
);
pub(in crate::metrics) const UNATTENDED: Family = Family::new(
    "migration_unattended",
    Gauge,
    BOTH,
    EachProcess,
    "1 while there is work to do and this process sees no process do it",
);
pub(in crate::metrics) const CROWDED_OUT: Family = Family::new(
    "migrations_without_series",
    Gauge,
    &[],
    EachProcess,
    "Migrations at work beyond the 200 that have series: those that need attention come first, then the oldest",
);
pub(in crate::metrics) const UNPUBLISHED: Family = Family::new(
    "migration_unpublished",
    Gauge,
    BOTH,
    Server,
    "1 while the tenant is switched and not every [[publish]] entry has acknowledged",
);
pub(in crate::metrics) const RETRIES: Family = Family::new(
    "migration_retries",
    Counter,
    MIGRATION,
    WhereItHappened,
    "Number of times the driver met a fault and retried",
);
pub(in crate::metrics) const WINDOW_LAG: Family = Family::new(
    "migration_rollback_window_lag_events",
    Gauge,
    BOTH,
    Driver,
    "Events that the old source is behind during the rollback window",
);
// Dual write.
pub(in crate::metrics) const OPERATIONS: Family = Family::new(
    "dual_write_operations",
    Counter,
    &["tenant_id", "status"],
    WhereItHappened,
    "Events written since mirroring started and mirrored, by status: success, target_failed; without the history that the mirror catches up on",
);
pub(in crate::metrics) const TARGET_FAILURES: Family = Family::new(
    "dual_write_target_failures",
    Counter,
    TENANT,
    WhereItHappened,
    "Events whose write to the target failed, or has had no response for 5 seconds and again for each further 5; each is retried until it succeeds",
);
pub(in crate::metrics) const MIRROR_LATENCY: Family = Family::new(
    "dual_write_latency_seconds",
    Histogram(MIRROR_BUCKETS),
    TENANT,
    WhereItHappened,
    "Time from when the mirror has an event until the target has committed it; for the events of dual_write_operations_total",
);
pub(in crate::metrics) const SYNC_LAG: Family = Family::new(
    "dual_write_sync_lag_events",
    Gauge,
    TENANT,
    Server,
    "Events that the target is behind: the source's length, read every second, less the target's last known one; only in dual_write and in the cutover",
);
pub(in crate::metrics) const SYNC_LAG_AGE: Family = Family::new(
    "dual_write_sync_lag_age_seconds",
    Gauge,
    TENANT,
    Server,
    "Time since the source's length behind dual_write_sync_lag_events was read; grows while the source does not answer",
);
// Cutover.
pub(in crate::metrics) const PAUSE: Family = Family::new(
    "cutover_pause_duration_seconds",
    Histogram(PAUSE_BUCKETS),
    MIGRATION,
    Driver,
    "Time from the cutover's intent until a store accepted writes again, switched or rolled back; of all cutovers of the migration",
);
pub(in crate::metrics) const BLOCKED: Family = Family::new(
    "cutover_blocked_writers",
    Gauge,
    MIGRATION,
    EachRouter,
    "Appends without a response in this process while the tenant's route is in cutover_paused, whatever they wait for",
);
pub(in crate::metrics) const ATTEMPTS: Family = Family::new(
    "cutover_attempts",
    Counter,
    &["migration_id", "status"],
    Driver,
    "Cutovers, by status: started, succeeded, rolled_back, timed_out, refused; all but refused count the whole migration, whichever process ran them",
);
pub(in crate::metrics) const TIMEOUTS: Family = Family::new(
    "cutover_timeout",
    Counter,
    MIGRATION,
    Driver,
    "Cutovers rolled back because their deadline passed, whichever process ran them",
);
// Consistency.
pub(in crate::metrics) const VERIFICATION: Family = Family::new(
    "verification_duration_seconds",
    Histogram(VERIFICATION_BUCKETS),
    &["migration_id", "level"],
    WhereItHappened,
    "Duration of verifications, by level: count, hash, full",
);
pub(in crate::metrics) const VIOLATIONS: Family = Family::new(
    "verification_violations",
    Counter,
    &["migration_id", "type"],
    WhereItHappened,
    "Violations found, by type: missing, unexpected, content, order, version, ledger",
);
pub(in crate::metrics) const CHECKED: Family = Family::new(
    "verification_events_checked",
    Counter,
    MIGRATION,
    WhereItHappened,
    "Events compared by verifications",
);
pub(in crate::metrics) const OPEN_VIOLATIONS: Family = Family::new(
    "verification_open_violations",
    Gauge,
    MIGRATION,
    WhereItHappened,
    "Open violations: found, and neither refuted nor repaired",
);
