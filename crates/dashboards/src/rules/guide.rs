//! The six alerts of the monitoring contract: its names, severities and annotations, and queries with
//! the meaning of the annotations.

use super::{Alert, Severity};
use crate::query::{MT, T, advanced, grown, now};
use crate::thresholds::Thresholds;

pub(super) fn alerts(thresholds: &Thresholds) -> Vec<Alert> {
    vec![
        bulk_copy_stuck(thresholds),
        high_sync_lag(thresholds),
        target_write_failures(thresholds),
        cutover_slow(thresholds),
        failed(thresholds),
        high_dual_write_latency(thresholds),
    ]
}

/// In bulk copy all the time, without a copied event.
///
/// The time is in the windows and not in a `for`, which would restart whenever there is no report for a
/// while. Whether a series of copied events exists does not matter. A pause is a state of its own, so
/// the time counts from its end.
fn bulk_copy_stuck(thresholds: &Thresholds) -> Alert {
    let window = thresholds.bulk_copy_stuck;
    let state = now("migration_state", MT, thresholds.silent_for);
    let copied = advanced("migration_events_copied_total", MT, window);
    Alert {
        name: "MigrationBulkCopyStuck",
        expr: format!(
            "{state} == 1\n\
             and on ({MT})\n\
             max by ({MT}) (last_over_time(migration_state[5m] offset {window})) == 1\n\
             and on ({MT})\n\
             max by ({MT}) (max_over_time(migration_state[{window}])) == 1\n\
             unless on ({MT})\n\
             {copied} > 0"
        ),
        held: None,
        severity: Severity::Warning,
        summary: "Migration {{ $labels.migration_id }} stuck in bulk copy",
        description: format!("No events copied in the last {}", window.words()),
    }
}

fn high_sync_lag(thresholds: &Thresholds) -> Alert {
    let lag = now("dual_write_sync_lag_events", T, thresholds.silent_for);
    let state = now("migration_state", MT, thresholds.silent_for);
    Alert {
        name: "MigrationHighSyncLag",
        // A tenant's earlier migrations are still reported: any one in dual_write will do.
        expr: format!(
            "{lag} > {}\n\
             and on ({T})\n\
             {state} == 2",
            thresholds.sync_lag_events
        ),
        held: Some(thresholds.sync_lag_for),
        severity: Severity::Warning,
        summary: "High sync lag for tenant {{ $labels.tenant_id }}",
        description: "Sync lag is {{ $value }} events".to_owned(),
    }
}

fn target_write_failures(thresholds: &Thresholds) -> Alert {
    let failed = grown("dual_write_target_failures_total", T, thresholds.reported_for);
    Alert {
        name: "MigrationTargetWriteFailures",
        expr: format!("{failed} > 0"),
        held: None,
        severity: Severity::Warning,
        summary: "Target write failures for tenant {{ $labels.tenant_id }}",
        description: "Target store write failures detected".to_owned(),
    }
}

fn cutover_slow(thresholds: &Thresholds) -> Alert {
    let state = now("migration_state", MT, thresholds.silent_for);
    Alert {
        name: "MigrationCutoverSlow",
        expr: format!("{state} == 3"),
        held: Some(thresholds.cutover_slow),
        severity: Severity::Critical,
        summary: "Migration {{ $labels.migration_id }} cutover taking too long",
        description: format!(
            "Cutover has been paused for more than {}",
            thresholds.cutover_slow.words()
        ),
    }
}

fn failed(thresholds: &Thresholds) -> Alert {
    let state = now("migration_state", MT, thresholds.silent_for);
    Alert {
        name: "MigrationFailed",
        expr: format!("{state} == 5"),
        held: Some(thresholds.failed_for),
        severity: Severity::Critical,
        summary: "Migration {{ $labels.migration_id }} failed",
        description: "Migration has entered failed state".to_owned(),
    }
}

fn high_dual_write_latency(thresholds: &Thresholds) -> Alert {
    let buckets = grown(
        "dual_write_latency_seconds_bucket",
        "deployment, tenant_id, le",
        thresholds.rate_over,
    );
    Alert {
        name: "MigrationHighDualWriteLatency",
        expr: format!(
            "histogram_quantile(0.99, {buckets}) > {}",
            thresholds.dual_write_latency.number()
        ),
        held: Some(thresholds.dual_write_latency_for),
        severity: Severity::Warning,
        summary: "High dual-write latency for tenant {{ $labels.tenant_id }}",
        description: "p99 latency is {{ $value }}s".to_owned(),
    }
}
