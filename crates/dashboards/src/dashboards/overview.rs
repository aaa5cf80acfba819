//! Where every migration is, how fast it goes, and how its cutovers and verifications went.

use super::{Dashboard, Panel, Row, of, of_m, of_mt, of_t, or_zero, per_deployment, variable};
use crate::query::{M, MT, T, UNFINISHED, advanced, grown};

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "rehome-migration-overview",
        title: "Migration Overview",
        description: "Every migration that has not ended, and those that ended within the retention of their metrics.",
        variables: vec![
            variable("tenant", "Tenant", &of("migration_state", ""), "tenant_id"),
            variable("migration", "Migration", &of_t("migration_state", ""), "migration_id"),
        ],
        rows: vec![
            Row { title: "Now", panels: now() },
            Row { title: "Progress", panels: progress() },
            Row { title: "Cutover", panels: cutover() },
            Row { title: "Verification", panels: verification() },
            Row { title: "Processes", panels: processes() },
        ],
    }
}

/// The state of each migration, whichever process reports it.
fn states() -> String {
    format!("max by ({MT}) ({})", of_mt("migration_state"))
}

fn now() -> Vec<Panel> {
    let states = states();
    let largest = |series: String| format!("max by ({M}) ({series})");
    let unattended = largest(of_mt("migration_unattended"));
    let unpublished = largest(of_mt("migration_unpublished"));
    let open = largest(of_m("verification_open_violations"));
    let alerts = of("ALERTS", "alertname=~\"(Migration|Tenant|Rehome).*\",alertstate=\"firing\"");
    let stores = "deployment, migration_id, tenant_id, source_store, target_store";
    vec![
        Panel::stat("Active Migrations", "Migrations that are not migrated, failed or rolled back.")
            .query(
                per_deployment(&format!("count by (deployment) ({states} != 4 != 5 != 6)")),
                "{{deployment}}",
            )
            .alert("MigrationPendingLong"),
        Panel::stat("Failed Migrations", "Failed, within the retention of their metrics.")
            .query(
                per_deployment(&format!("count by (deployment) ({states} == 5)")),
                "{{deployment}}",
            )
            .limit(1.0)
            .alert("MigrationFailed"),
        Panel::stat("Unattended Migrations", "Migrations with work to do that no process drives.")
            .query(per_deployment(&format!("sum by (deployment) ({unattended})")), "{{deployment}}")
            .limit(1.0)
            .alert("MigrationUnattended"),
        Panel::stat(
            "Unpublished Switches",
            "Switched, but not every [[publish]] entry has acknowledged.",
        )
        .query(per_deployment(&format!("sum by (deployment) ({unpublished})")), "{{deployment}}")
        .limit(1.0)
        .alert("MigrationUnpublished"),
        Panel::stat("Open Violations", "Violations of the last verifications that are still open.")
            .query(per_deployment(&format!("sum by (deployment) ({open})")), "{{deployment}}")
            .limit(1.0)
            .alert("MigrationVerificationViolations"),
        Panel::stat("Blocked Writers", "Appends that wait for a cutover, in all processes.")
            .query(
                per_deployment(&format!(
                    "sum by (deployment) ({})",
                    of_m("cutover_blocked_writers")
                )),
                "{{deployment}}",
            )
            .limit(1.0)
            .alert("MigrationWritersBlocked"),
        Panel::stat("Alerts Firing", "Alerts of the rules that rehome ships.")
            .query(per_deployment(&format!("count by (deployment) ({alerts})")), "{{deployment}}")
            .limit(1.0),
        Panel::timeline("State", "The state of each migration.")
            .query(states.clone(), "{{migration_id}}")
            .none("no migration")
            .alert("MigrationPausedLong"),
        Panel::table("Migrations", "Source, target and state.")
            .query(
                format!(
                    "{states} * on ({MT}) group_left (source_store, target_store) max by ({stores}) ({})",
                    of("migration_info", "")
                ),
                "",
            )
            .none("no migration"),
    ]
}

fn progress() -> Vec<Panel> {
    let copied = of_mt("migration_events_copied_total");
    let largest = |name: &str| format!("max by ({MT}) ({})", of_mt(name));
    let rate = |series: &str| or_zero(&format!("{} / 300", grown(&of_mt(series), MT, "5m")));
    vec![
        Panel::gauge("Migration Progress", "Fraction of the history that is in the target.")
            .query(largest("migration_progress_percent"), "{{migration_id}}")
            .unit("percent")
            .max(100.0)
            .width(12)
            .none("no migration")
            .alert("MigrationBulkCopyStuck"),
        Panel::lines(
            "Events Copied Rate",
            "Events of the history that reach the target, per second.",
        )
        .query(or_zero(&format!("{} / 300", advanced(&copied, MT, "5m"))), "{{migration_id}}")
        .unit("cps")
        .alert("MigrationBulkCopyStuck"),
        Panel::lines("Sync Lag", "Events that the target is behind while writes are mirrored.")
            .query(
                format!("max by ({T}) ({})", of_t("dual_write_sync_lag_events", "")),
                "{{tenant_id}} {{deployment}}",
            )
            .limit(1_000.0)
            .none("no tenant is in dual write")
            .alert("MigrationHighSyncLag"),
        Panel::lines("Remaining Events", "Events of the history that are not in the target yet.")
            .query(
                format!("{} - max by ({MT}) ({copied})", largest("migration_events_total")),
                "{{migration_id}}",
            )
            .none("no migration")
            .alert("MigrationBulkCopyStuck"),
        Panel::lines(
            "Since Last Progress",
            "Time since the target last made progress; only for migrations that have not ended.",
        )
        .query(
            format!(
                "time() - {} and on ({MT}) max by ({MT}) ({})",
                largest("migration_last_progress_timestamp_seconds"),
                UNFINISHED.replace("migration_state", &of_mt("migration_state")),
            ),
            "{{migration_id}}",
        )
        .unit("s")
        .limit(900.0)
        .none("no active migration")
        .alert("MigrationBulkCopyStuck"),
        Panel::lines("Time in Each Phase", "How long each phase has lasted.")
            .query(
                format!(
                    "max by (deployment, migration_id, phase) ({})",
                    of_m("migration_duration_seconds")
                ),
                "{{phase}} {{migration_id}}",
            )
            .unit("s")
            .none("no migration")
            .alert("MigrationPausedLong"),
        Panel::lines("Bytes Copied Rate", "Bytes of events written to targets, per second.")
            .query(rate("migration_bytes_copied_total"), "{{migration_id}}")
            .unit("Bps")
            .alert("MigrationBulkCopyStuck"),
        Panel::lines(
            "Throttled",
            "Fraction of the time that the copy waited because of its rate limit.",
        )
        .query(rate("migration_throttle_wait_seconds_total"), "{{migration_id}}")
        .unit("percentunit")
        .alert("MigrationBulkCopyStuck"),
        Panel::lines(
            "Speed",
            "How hard each migration copies, reads back and verifies, in percent of what it could; under 100 it gives way.",
        )
        .query(largest("migration_throttle_percent"), "{{migration_id}}")
        .unit("percent")
        .max(100.0)
        .none("no migration works")
        .alert("MigrationBulkCopyStuck"),
        Panel::lines("Gives Way", "Fraction of the time in which migrations gave way, by reason.")
            .query(
                format!(
                    "sum by (deployment, migration_id, reason) (rate({}[5m]))",
                    of_m("migration_throttled_seconds_total")
                ),
                "{{reason}} {{migration_id}}",
            )
            .unit("percentunit")
            .none("no migration gives way")
            .alert("MigrationBulkCopyStuck"),
    ]
}

fn cutover() -> Vec<Panel> {
    let buckets = advanced(
        &of_m("cutover_pause_duration_seconds_bucket"),
        "deployment, migration_id, le",
        "1h",
    );
    let pause = |q| format!("histogram_quantile({q}, sum by (deployment, le) ({buckets})) >= 0");
    let attempts =
        advanced(&of_m("cutover_attempts_total"), "deployment, migration_id, status", "1h");
    vec![
        Panel::lines(
            "Write Pause",
            "From the cutover's intent until a store accepted writes again, within the last hour.",
        )
        .query(pause("0.5"), "p50 {{deployment}}")
        .query(pause("0.99"), "p99 {{deployment}}")
        .unit("s")
        .none("no cutover within the last hour")
        .alert("MigrationCutoverSlow"),
        Panel::lines("Writers Blocked by a Cutover", "Waiting appends, summed over all processes.")
            .query(
                or_zero(&format!("sum by ({M}) ({})", of_m("cutover_blocked_writers"))),
                "{{migration_id}}",
            )
            .alert("MigrationWritersBlocked"),
        Panel::lines("Cutover Attempts", "Within the last hour, by outcome.")
            .query(
                or_zero(&format!("sum by (deployment, status) ({attempts})")),
                "{{status}} {{deployment}}",
            )
            .alert("MigrationCutoverTimeout"),
        Panel::lines(
            "Cutover Timeouts",
            "Cutovers rolled back at their deadline, within the last hour.",
        )
        .query(or_zero(&advanced(&of_m("cutover_timeout_total"), M, "1h")), "{{migration_id}}")
        .limit(1.0)
        .alert("MigrationCutoverTimeout"),
    ]
}

fn verification() -> Vec<Panel> {
    let found = grown(&of_m("verification_violations_total"), "deployment, type", "1h");
    let checked = grown(&of_m("verification_events_checked_total"), M, "5m");
    let buckets =
        grown(&of_m("verification_duration_seconds_bucket"), "deployment, level, le", "1h");
    vec![
        Panel::lines("Violations Found", "Within the last hour, by type.")
            .query(or_zero(&found), "{{type}} {{deployment}}")
            .limit(1.0)
            .alert("MigrationVerificationViolations"),
        Panel::lines("Events Verified Rate", "Events compared, per second.")
            .query(or_zero(&format!("{checked} / 300")), "{{migration_id}}")
            .unit("cps")
            .alert("MigrationVerificationViolations"),
        Panel::lines("Verification Duration (p99)", "By level, within the last hour.")
            .query(format!("histogram_quantile(0.99, {buckets}) >= 0"), "{{level}} {{deployment}}")
            .unit("s")
            .none("no verification within the last hour")
            .alert("MigrationVerificationViolations"),
        Panel::lines("Read-Back Lag", "Events in the target that have not been read back yet.")
            .query(
                format!("max by ({MT}) ({})", of_mt("migration_read_back_lag_events")),
                "{{migration_id}}",
            )
            .none("no tenant is in dual write")
            .alert("MigrationHighSyncLag"),
    ]
}

fn processes() -> Vec<Panel> {
    const PROCESS: &str = "deployment, job, instance";
    let build = of("rehome_build_info", "");
    let within_hour = |series: &str| or_zero(&grown(&of_m(series), M, "1h"));
    vec![
        Panel::stat("Processes", "Processes of rehome that Prometheus scrapes.")
            .query(
                format!("count by (deployment) (max by ({PROCESS}) ({build})) or on () vector(0)"),
                "{{deployment}}",
            )
            .alert("RehomeDown"),
        Panel::stat("Stores That Do Not Answer", "Stores that at least one process cannot reach.")
            .query(
                per_deployment(&format!(
                    "count by (deployment) (min by (deployment, store_id) ({}) == 0)",
                    of("store_up", "")
                )),
                "{{deployment}}",
            )
            .limit(1.0)
            .alert("RehomeStoreDown"),
        Panel::stat("Control Plane Unreachable", "Processes that cannot reach it.")
            .query(
                per_deployment(&format!(
                    "count by (deployment) ({} == 0)",
                    of("control_plane_up", "")
                )),
                "{{deployment}}",
            )
            .limit(1.0)
            .alert("RehomeControlPlaneDown"),
        Panel::lines("Takeovers and Lost Leases", "Within the last hour.")
            .query(within_hour("migration_lease_takeovers_total"), "taken over {{migration_id}}")
            .query(within_hour("migration_lease_lost_total"), "lost {{migration_id}}")
            .alert("MigrationLeaseFlapping"),
        Panel::lines("CPU", "CPU seconds per second.")
            .query(
                format!(
                    "sum by ({PROCESS}) (rate({}[5m]) and on ({PROCESS}) {build})",
                    of("process_cpu_seconds_total", "")
                ),
                "{{instance}} {{deployment}}",
            )
            .none("no process")
            .alert("RehomeRestarting"),
        Panel::lines("Memory", "Resident memory.")
            .query(
                format!(
                    "max by ({PROCESS}) ({} and on ({PROCESS}) {build})",
                    of("process_resident_memory_bytes", "")
                ),
                "{{instance}} {{deployment}}",
            )
            .unit("bytes")
            .none("no process")
            .alert("RehomeRestarting"),
    ]
}
