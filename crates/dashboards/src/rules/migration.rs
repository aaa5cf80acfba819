//! What else can go wrong with a migration, or for the tenant that moves.

use super::{Alert, Severity};
use crate::query::{M, MT, T, UNFINISHED, advanced, grown, now};
use crate::span::Span;
use crate::thresholds::Thresholds;

pub(super) fn alerts(thresholds: &Thresholds) -> Vec<Alert> {
    let mut alerts = Vec::from(cutover(thresholds));
    alerts.push(violations(thresholds));
    alerts.extend(waiting(thresholds));
    alerts.extend(leases(thresholds));
    alerts.extend(tenants(thresholds));
    alerts
}

fn cutover(thresholds: &Thresholds) -> [Alert; 3] {
    [
        Alert {
            name: "MigrationCutoverTimeout",
            expr: format!("{} > 0", advanced("cutover_timeout_total", M, thresholds.reported_for)),
            held: None,
            severity: Severity::Warning,
            summary: "Migration {{ $labels.migration_id }} cutover timed out",
            description: "The cutover did not end by its deadline and was rolled back; the source \
                          has the authority"
                .to_owned(),
        },
        Alert {
            name: "MigrationWritersBlocked",
            expr: format!("sum by ({M}) (cutover_blocked_writers) > 0"),
            held: Some(thresholds.writers_blocked_for),
            severity: Severity::Critical,
            summary: "Migration {{ $labels.migration_id }} blocks writers",
            description: format!(
                "{{{{ $value }}}} appends wait for the cutover; some have waited at every scrape \
                 for {}",
                thresholds.writers_blocked_for.words()
            ),
        },
        Alert {
            name: "MigrationUnpublished",
            expr: format!("{} == 1", now("migration_unpublished", MT, thresholds.silent_for)),
            held: Some(thresholds.unpublished_for),
            severity: Severity::Critical,
            summary: "Migration {{ $labels.migration_id }} is switched and not published",
            description: format!(
                "For more than {} a [[publish]] entry has not acknowledged the tenant's new \
                 store; the old store refuses its application's appends",
                thresholds.unpublished_for.words()
            ),
        },
    ]
}

fn violations(thresholds: &Thresholds) -> Alert {
    let open = now("verification_open_violations", M, thresholds.silent_for);
    let found = grown("verification_violations_total", M, thresholds.reported_for);
    Alert {
        name: "MigrationVerificationViolations",
        expr: format!(
            "{open} > 0\n\
             or\n\
             {found} > 0"
        ),
        held: None,
        severity: Severity::Critical,
        summary: "Migration {{ $labels.migration_id }} has verification violations",
        description: "The target differs from the source".to_owned(),
    }
}

fn waiting(thresholds: &Thresholds) -> [Alert; 2] {
    [
        Alert {
            name: "MigrationPausedLong",
            expr: in_state_for(thresholds, 7, thresholds.paused_for),
            held: None,
            severity: Severity::Warning,
            summary: "Migration {{ $labels.migration_id }} paused for long",
            description: format!(
                "Paused for more than {}; the lag grows",
                thresholds.paused_for.words()
            ),
        },
        Alert {
            name: "MigrationPendingLong",
            expr: in_state_for(thresholds, 0, thresholds.pending_for),
            held: None,
            severity: Severity::Warning,
            summary: "Migration {{ $labels.migration_id }} pending for long",
            description: format!("Not started for more than {}", thresholds.pending_for.words()),
        },
    ]
}

/// By when the state was entered: a `for` of an hour begins anew with every process that is started
/// again, and where that happens often it never ends.
fn in_state_for(thresholds: &Thresholds, state: u8, span: Span) -> String {
    let gap = thresholds.silent_for;
    format!(
        "time() - {} > {}\n\
         and on ({MT})\n\
         {} == {state}",
        now("migration_state_since_timestamp_seconds", MT, gap),
        span.number(),
        now("migration_state", MT, gap),
    )
}

fn leases(thresholds: &Thresholds) -> [Alert; 3] {
    let window = thresholds.reported_for;
    [
        Alert {
            name: "MigrationUnattended",
            expr: format!("{} == 1", now("migration_unattended", MT, thresholds.silent_for)),
            held: Some(thresholds.unattended_for),
            severity: Severity::Critical,
            summary: "Migration {{ $labels.migration_id }} has no process working on it",
            description: format!(
                "No process has held its lease for more than {}",
                thresholds.unattended_for.words()
            ),
        },
        Alert {
            name: "MigrationLeaseLost",
            expr: format!("{} > 0", grown("migration_lease_lost_total", M, window)),
            held: None,
            severity: Severity::Warning,
            summary: "Migration {{ $labels.migration_id }} lost its process",
            description: "A process that worked on the migration lost its lease to another"
                .to_owned(),
        },
        Alert {
            name: "MigrationLeaseFlapping",
            expr: format!(
                "{} >= {}",
                grown("migration_lease_takeovers_total", M, window),
                thresholds.takeovers
            ),
            held: None,
            severity: Severity::Warning,
            summary: "Migration {{ $labels.migration_id }} keeps changing its process",
            description: format!("{{{{ $value }}}} takeovers within {}", window.words()),
        },
    ]
}

fn tenants(thresholds: &Thresholds) -> [Alert; 3] {
    let window = thresholds.rate_over;
    let paused = grown("append_duration_seconds_count{outcome=\"paused\"}", T, window);
    let failing = "append_duration_seconds_count{outcome=~\"unavailable|unknown\"}";
    let buckets = grown(
        "append_duration_seconds_bucket{outcome=\"ok\"}",
        "deployment, tenant_id, le",
        window,
    );
    [
        Alert {
            name: "TenantWritesBlocked",
            expr: format!(
                "max by ({T}) (append_longest_wait_seconds) > {wait}\n\
                 or\n\
                 max by ({T}) (append_blocked_seconds) > {wait}\n\
                 or\n\
                 {paused} > 0",
                wait = thresholds.write_wait.number()
            ),
            held: None,
            severity: Severity::Critical,
            summary: "Writes of tenant {{ $labels.tenant_id }} are blocked",
            description: format!(
                "Appends waited longer than the write pause may last ({}), timed out and were retried \
                 for as long with none acknowledged, or were refused because of it",
                thresholds.write_wait.words()
            ),
        },
        Alert {
            name: "TenantAppendsFailing",
            expr: format!("{} > 0", grown(failing, T, window)),
            held: None,
            severity: Severity::Warning,
            summary: "Appends of tenant {{ $labels.tenant_id }} fail",
            description: "A store did not answer appends of the tenant, or not in time".to_owned(),
        },
        Alert {
            name: "TenantAppendLatencyHigh",
            expr: format!(
                "histogram_quantile(0.99, {buckets}) > {}\n\
                 and on ({T})\n\
                 max by ({T}) ({UNFINISHED})",
                thresholds.append_latency.number()
            ),
            held: Some(thresholds.append_latency_for),
            severity: Severity::Warning,
            summary: "Appends of tenant {{ $labels.tenant_id }} are slow while it moves",
            description: "p99 latency of appends is {{ $value }}s".to_owned(),
        },
    ]
}
