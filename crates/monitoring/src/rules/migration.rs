//! What else can go wrong with a migration, or for the tenant that moves.

use super::{Alert, Severity, UNFINISHED, happened};
use crate::thresholds::Thresholds;

pub(super) fn alerts(thresholds: &Thresholds) -> Vec<Alert> {
    let mut alerts = Vec::from(cutover(thresholds));
    alerts.push(violations(thresholds));
    alerts.extend(waiting(thresholds));
    alerts.extend(leases(thresholds));
    alerts.extend(tenants(thresholds));
    alerts
}

fn cutover(thresholds: &Thresholds) -> [Alert; 2] {
    [
        Alert {
            name: "MigrationCutoverTimeout",
            expr: happened("cutover_timeout_total", "migration_id", thresholds.told_for),
            held: None,
            severity: Severity::Warning,
            summary: "Migration {{ $labels.migration_id }} cutover timed out",
            description: "The cutover did not end by its deadline and was rolled back; the source \
                          has the authority"
                .to_owned(),
        },
        Alert {
            name: "MigrationWritersBlocked",
            expr: "sum by (migration_id) (cutover_blocked_writers) > 0".to_owned(),
            held: Some(thresholds.writers_blocked_for),
            severity: Severity::Critical,
            summary: "Migration {{ $labels.migration_id }} keeps writers waiting",
            description: format!(
                "{{{{ $value }}}} appends wait for the cutover; some have done so at every scrape \
                 for {}",
                thresholds.writers_blocked_for.words()
            ),
        },
    ]
}

fn violations(thresholds: &Thresholds) -> Alert {
    let found = happened("verification_violations_total", "migration_id", thresholds.told_for);
    Alert {
        name: "MigrationVerificationViolations",
        expr: format!(
            "max by (migration_id) (verification_open_violations) > 0\n\
             or\n\
             {found}"
        ),
        held: None,
        severity: Severity::Critical,
        summary: "Migration {{ $labels.migration_id }} has verification violations",
        description: "The target does not hold what the source holds".to_owned(),
    }
}

fn waiting(thresholds: &Thresholds) -> [Alert; 2] {
    [
        Alert {
            name: "MigrationPausedLong",
            expr: "max by (migration_id, tenant_id) (migration_state) == 7".to_owned(),
            held: Some(thresholds.paused_for),
            severity: Severity::Warning,
            summary: "Migration {{ $labels.migration_id }} paused for long",
            description: format!(
                "Paused for more than {}; the target falls further behind",
                thresholds.paused_for.words()
            ),
        },
        Alert {
            name: "MigrationPendingLong",
            expr: "max by (migration_id, tenant_id) (migration_state) == 0".to_owned(),
            held: Some(thresholds.pending_for),
            severity: Severity::Warning,
            summary: "Migration {{ $labels.migration_id }} pending for long",
            description: format!("Not begun for more than {}", thresholds.pending_for.words()),
        },
    ]
}

fn leases(thresholds: &Thresholds) -> [Alert; 3] {
    let window = thresholds.told_for;
    let takeovers = "migration_lease_takeovers_total";
    [
        Alert {
            name: "MigrationUnattended",
            expr: "max by (migration_id, tenant_id) (migration_unattended) == 1".to_owned(),
            held: Some(thresholds.unattended_for),
            severity: Severity::Critical,
            summary: "Migration {{ $labels.migration_id }} has nobody working on it",
            description: format!(
                "No process has held its lease for more than {}",
                thresholds.unattended_for.words()
            ),
        },
        Alert {
            name: "MigrationLeaseLost",
            expr: happened("migration_lease_lost_total", "migration_id", window),
            held: None,
            severity: Severity::Warning,
            summary: "Migration {{ $labels.migration_id }} lost its process",
            description: "A process that worked on the migration lost its lease to another"
                .to_owned(),
        },
        Alert {
            name: "MigrationLeaseFlapping",
            // Differences and not `increase`: takeovers are few, a process that takes over is often new
            // and its counter is born above 0, and an extrapolated 3 may have been 2.
            expr: format!(
                "sum by (migration_id) (\n  \
                 ({takeovers} - last_over_time({takeovers}[1h] offset {window})) >= 0\n  \
                 or\n  \
                 {takeovers}\n\
                 ) >= {}",
                thresholds.takeovers
            ),
            held: None,
            severity: Severity::Warning,
            summary: "Migration {{ $labels.migration_id }} goes from process to process",
            description: format!("{{{{ $value }}}} takeovers within {}", window.words()),
        },
    ]
}

fn tenants(thresholds: &Thresholds) -> [Alert; 3] {
    let window = thresholds.rate_over;
    let paused = happened("append_duration_seconds_count{outcome=\"paused\"}", "tenant_id", window);
    [
        Alert {
            name: "TenantWritesBlocked",
            expr: format!(
                "max by (tenant_id) (append_longest_wait_seconds) > {}\n\
                 or\n\
                 {paused}",
                thresholds.write_wait.number()
            ),
            held: None,
            severity: Severity::Critical,
            summary: "Writes of tenant {{ $labels.tenant_id }} are blocked",
            description: format!(
                "Appends waited longer than the write pause may last ({}), or were refused \
                 because of it",
                thresholds.write_wait.words()
            ),
        },
        Alert {
            name: "TenantAppendsFailing",
            expr: happened(
                "append_duration_seconds_count{outcome=~\"unavailable|unknown\"}",
                "tenant_id",
                window,
            ),
            held: None,
            severity: Severity::Warning,
            summary: "Appends of tenant {{ $labels.tenant_id }} fail",
            description: "A store did not answer appends of the tenant, or not in time".to_owned(),
        },
        Alert {
            name: "TenantAppendLatencyHigh",
            expr: format!(
                "histogram_quantile(0.99, sum by (tenant_id, le) (rate(append_duration_seconds_bucket{{outcome=\"ok\"}}[{window}]))) > {}\n\
                 and on (tenant_id)\n\
                 max by (tenant_id) ({UNFINISHED})",
                thresholds.append_latency.number()
            ),
            held: Some(thresholds.append_latency_for),
            severity: Severity::Warning,
            summary: "Appends of tenant {{ $labels.tenant_id }} are slow while it moves",
            description: "p99 latency of appends is {{ $value }}s".to_owned(),
        },
    ]
}
