//! Where every migration is, how fast it goes, and how its cutovers and verifications went.

use super::{Dashboard, Panel, Row, variable};

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "rehome-migration-overview",
        title: "Migration Overview",
        description: "Every migration that is not over, and those that ended within the retention of their metrics.",
        variables: vec![
            variable("tenant", "Tenant", "migration_state", "tenant_id"),
            variable(
                "migration",
                "Migration",
                "migration_state{tenant_id=~\"$tenant\"}",
                "migration_id",
            ),
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

fn now() -> Vec<Panel> {
    vec![
        Panel::stat("Active Migrations", "Migrations that are not migrated, failed or rolled back.")
            .query(
                "count(max by (migration_id) (migration_state{tenant_id=~\"$tenant\",migration_id=~\"$migration\"}) != 4 != 5 != 6) or vector(0)",
                "active",
            ),
        Panel::stat("Failed Migrations", "Failed, and still told of.")
            .query(
                "count(max by (migration_id) (migration_state{tenant_id=~\"$tenant\",migration_id=~\"$migration\"}) == 5) or vector(0)",
                "failed",
            )
            .limit(1.0),
        Panel::stat("Unattended Migrations", "There is work to do, and no process does it.")
            .query(
                "sum(max by (migration_id) (migration_unattended{tenant_id=~\"$tenant\",migration_id=~\"$migration\"})) or vector(0)",
                "unattended",
            )
            .limit(1.0),
        Panel::stat("Open Violations", "What the last look at the targets found.")
            .query(
                "sum(max by (migration_id) (verification_open_violations{migration_id=~\"$migration\"})) or vector(0)",
                "violations",
            )
            .limit(1.0),
        Panel::stat("Blocked Writers", "Appends that wait for a cutover, in all processes.")
            .query(
                "sum(cutover_blocked_writers{migration_id=~\"$migration\"}) or vector(0)",
                "appends",
            )
            .limit(1.0),
        Panel::stat("Alerts Firing", "Of the rules that rehome ships.")
            .query(
                "count(ALERTS{alertname=~\"(Migration|Tenant|Rehome).*\",alertstate=\"firing\"}) or vector(0)",
                "firing",
            )
            .limit(1.0),
        Panel::timeline("State", "The state of each migration.")
            .query(
                "max by (migration_id, tenant_id) (migration_state{tenant_id=~\"$tenant\",migration_id=~\"$migration\"})",
                "{{migration_id}}",
            )
            .none("no migration"),
        Panel::table("Migrations", "From where to where, and the state.")
            .query(
                "max by (migration_id, tenant_id) (migration_state{tenant_id=~\"$tenant\",migration_id=~\"$migration\"}) * on (migration_id, tenant_id) group_left (source_store, target_store) max by (migration_id, tenant_id, source_store, target_store) (migration_info)",
                "",
            )
            .none("no migration"),
    ]
}

fn progress() -> Vec<Panel> {
    vec![
        Panel::gauge("Migration Progress", "Part of the history that is in the target.")
            .query(
                "max by (migration_id, tenant_id) (migration_progress_percent{tenant_id=~\"$tenant\",migration_id=~\"$migration\"})",
                "{{migration_id}}",
            )
            .unit("percent")
            .max(100.0)
            .width(12)
            .none("no migration"),
        Panel::lines("Events Copied Rate", "Events of the history that reach the target, per second.")
            .query(
                "max by (migration_id, tenant_id) (rate(migration_events_copied_total{tenant_id=~\"$tenant\",migration_id=~\"$migration\"}[5m])) or on () vector(0)",
                "{{migration_id}}",
            )
            .unit("cps"),
        Panel::lines("Sync Lag", "Events that the target is behind while writes are mirrored.")
            .query(
                "max by (tenant_id) (dual_write_sync_lag_events{tenant_id=~\"$tenant\"})",
                "{{tenant_id}}",
            )
            .limit(1_000.0)
            .none("no tenant is in dual write"),
        Panel::lines("Remaining Events", "Events of the history that are not in the target yet.")
            .query(
                "max by (migration_id, tenant_id) (migration_events_total{tenant_id=~\"$tenant\",migration_id=~\"$migration\"}) - max by (migration_id, tenant_id) (migration_events_copied_total{tenant_id=~\"$tenant\",migration_id=~\"$migration\"})",
                "{{migration_id}}",
            )
            .none("no migration"),
        Panel::lines("Since Last Progress", "Time since the target last got further; only of migrations that are not over.")
            .query(
                "time() - max by (migration_id, tenant_id) (migration_last_progress_timestamp_seconds{tenant_id=~\"$tenant\",migration_id=~\"$migration\"}) and on (migration_id, tenant_id) max by (migration_id, tenant_id) (migration_state != 4 != 5 != 6)",
                "{{migration_id}}",
            )
            .unit("s")
            .limit(900.0)
            .none("no active migration"),
        Panel::lines("Time in Each Phase", "How long each phase has lasted.")
            .query(
                "max by (migration_id, phase) (migration_duration_seconds{migration_id=~\"$migration\"})",
                "{{phase}} {{migration_id}}",
            )
            .unit("s")
            .none("no migration"),
        Panel::lines("Bytes Copied Rate", "Bytes of events written to targets, per second.")
            .query(
                "sum by (migration_id, tenant_id) (rate(migration_bytes_copied_total{tenant_id=~\"$tenant\",migration_id=~\"$migration\"}[5m])) or on () vector(0)",
                "{{migration_id}}",
            )
            .unit("Bps"),
        Panel::lines("Throttled", "Part of the time that the copy waited to keep the rate it was given.")
            .query(
                "sum by (migration_id, tenant_id) (rate(migration_throttle_wait_seconds_total{tenant_id=~\"$tenant\",migration_id=~\"$migration\"}[5m])) or on () vector(0)",
                "{{migration_id}}",
            )
            .unit("percentunit"),
    ]
}

fn cutover() -> Vec<Panel> {
    vec![
        Panel::lines("Write Pause", "From the cutover's intent until a store took writes again, within the last hour.")
            .query(
                "histogram_quantile(0.5, sum by (le) (increase(cutover_pause_duration_seconds_bucket{migration_id=~\"$migration\"}[1h])))",
                "p50",
            )
            .query(
                "histogram_quantile(0.99, sum by (le) (increase(cutover_pause_duration_seconds_bucket{migration_id=~\"$migration\"}[1h])))",
                "p99",
            )
            .unit("s")
            .none("no cutover within the last hour"),
        Panel::lines("Writers Blocked by a Cutover", "Appends that wait, added over all processes.")
            .query(
                "sum by (migration_id) (cutover_blocked_writers{migration_id=~\"$migration\"}) or on () vector(0)",
                "{{migration_id}}",
            ),
        Panel::lines("Cutover Attempts", "Within the last hour, by how they ended.")
            .query(
                "sum by (status) (increase(cutover_attempts_total{migration_id=~\"$migration\"}[1h])) or on () vector(0)",
                "{{status}}",
            ),
        Panel::lines("Cutover Timeouts", "Cutovers rolled back at their deadline, within the last hour.")
            .query(
                "sum by (migration_id) (increase(cutover_timeout_total{migration_id=~\"$migration\"}[1h])) or on () vector(0)",
                "{{migration_id}}",
            )
            .limit(1.0),
    ]
}

fn verification() -> Vec<Panel> {
    vec![
        Panel::lines("Violations Found", "Within the last hour, by type.")
            .query(
                "sum by (type) (increase(verification_violations_total{migration_id=~\"$migration\"}[1h])) or on () vector(0)",
                "{{type}}",
            )
            .limit(1.0),
        Panel::lines("Events Verified Rate", "Events compared, per second.")
            .query(
                "sum by (migration_id) (rate(verification_events_checked_total{migration_id=~\"$migration\"}[5m])) or on () vector(0)",
                "{{migration_id}}",
            )
            .unit("cps"),
        Panel::lines("Verification Duration (p99)", "By level, within the last hour.")
            .query(
                "histogram_quantile(0.99, sum by (level, le) (increase(verification_duration_seconds_bucket{migration_id=~\"$migration\"}[1h])))",
                "{{level}}",
            )
            .unit("s")
            .none("no verification within the last hour"),
        Panel::lines("Read-Back Lag", "Events in the target that were not read back from it yet.")
            .query(
                "max by (migration_id, tenant_id) (migration_read_back_lag_events{tenant_id=~\"$tenant\",migration_id=~\"$migration\"})",
                "{{migration_id}}",
            )
            .none("no tenant is in dual write"),
    ]
}

fn processes() -> Vec<Panel> {
    vec![
        Panel::stat("Processes", "Processes of rehome that are scraped.")
            .query("count(max by (job, instance) (rehome_build_info)) or vector(0)", "processes"),
        Panel::stat("Stores That Do Not Answer", "At least one process cannot reach them.")
            .query("count(min by (store_id) (store_up) == 0) or vector(0)", "stores")
            .limit(1.0),
        Panel::stat("Control Plane Unreachable", "Processes that cannot reach it.")
            .query("count(control_plane_up == 0) or vector(0)", "processes")
            .limit(1.0),
        Panel::lines("Takeovers and Lost Leases", "Within the last hour.")
            .query(
                "sum by (migration_id) (increase(migration_lease_takeovers_total{migration_id=~\"$migration\"}[1h])) or on () vector(0)",
                "taken over {{migration_id}}",
            )
            .query(
                "sum by (migration_id) (increase(migration_lease_lost_total{migration_id=~\"$migration\"}[1h])) or on () vector(0)",
                "lost {{migration_id}}",
            ),
        Panel::lines("CPU", "Processor seconds per second.")
            .query(
                "sum by (job, instance) (rate(process_cpu_seconds_total[5m]) and on (job, instance) rehome_build_info)",
                "{{instance}}",
            )
            .none("no process"),
        Panel::lines("Memory", "Resident memory.")
            .query(
                "max by (job, instance) (process_resident_memory_bytes and on (job, instance) rehome_build_info)",
                "{{instance}}",
            )
            .unit("bytes")
            .none("no process"),
    ]
}
