//! How the mirror does: what it writes to the target, how long that takes, and how far it is behind.

use super::{Dashboard, Panel, Row, variable};

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "rehome-dual-write-health",
        title: "Dual-Write Health",
        description: "The mirroring of writes to the target, per tenant.",
        variables: vec![
            variable("tenant", "Tenant", "dual_write_operations_total", "tenant_id"),
            variable(
                "migration",
                "Migration",
                "migration_state{tenant_id=~\"$tenant\"}",
                "migration_id",
            ),
        ],
        rows: vec![
            Row { title: "Writes to the target", panels: writes() },
            Row { title: "Before the cutover", panels: before_cutover() },
        ],
    }
}

fn writes() -> Vec<Panel> {
    vec![
        // Where no write succeeded, the answer is 0, also if no such series was ever told.
        Panel::lines("Dual-Write Success Rate", "Part of the mirrored events that the target took at once.")
            .query(
                "(sum by (tenant_id) (rate(dual_write_operations_total{status=\"success\",tenant_id=~\"$tenant\"}[5m])) or sum by (tenant_id) (rate(dual_write_operations_total{tenant_id=~\"$tenant\"}[5m])) * 0) / (sum by (tenant_id) (rate(dual_write_operations_total{tenant_id=~\"$tenant\"}[5m])) > 0)",
                "{{tenant_id}}",
            )
            .unit("percentunit")
            .max(1.0)
            .none("nothing was mirrored"),
        Panel::lines("Target Write Failures", "Mirrored events whose write to the target failed, per second; each is tried again.")
            .query(
                "sum by (tenant_id) (rate(dual_write_target_failures_total{tenant_id=~\"$tenant\"}[5m])) or on () vector(0)",
                "{{tenant_id}}",
            )
            .unit("cps"),
        Panel::lines("Dual-Write Latency (p99)", "From when the mirror has an event to when the target has committed it.")
            .query(
                "histogram_quantile(0.99, sum by (tenant_id, le) (rate(dual_write_latency_seconds_bucket{tenant_id=~\"$tenant\"}[5m])))",
                "{{tenant_id}}",
            )
            .unit("s")
            .limit(0.1)
            .none("nothing was mirrored"),
        Panel::lines("Mirrored Events Rate", "By how each attempt ended, per second.")
            .query(
                "sum by (tenant_id, status) (rate(dual_write_operations_total{tenant_id=~\"$tenant\"}[5m])) or on () vector(0)",
                "{{status}} {{tenant_id}}",
            )
            .unit("cps"),
    ]
}

fn before_cutover() -> Vec<Panel> {
    vec![
        Panel::lines("Lag Behind the Source", "Events that the target is behind.")
            .query(
                "max by (tenant_id) (dual_write_sync_lag_events{tenant_id=~\"$tenant\"})",
                "{{tenant_id}}",
            )
            .limit(1_000.0)
            .none("no tenant is in dual write"),
        Panel::lines("Read-Back Lag", "Events in the target that were not read back from it yet; the cutover waits for 0.")
            .query(
                "max by (tenant_id) (migration_read_back_lag_events{tenant_id=~\"$tenant\"})",
                "{{tenant_id}}",
            )
            .none("no tenant is in dual write"),
        Panel::lines("Lag of the Return", "Events that the old source is behind while the tenant can return.")
            .query(
                "max by (tenant_id) (migration_rollback_window_lag_events{tenant_id=~\"$tenant\"})",
                "{{tenant_id}}",
            )
            .none("no rollback window is open"),
        Panel::lines("Faults Met", "Times that a driver met a fault and tried again, within 5 minutes.")
            .query(
                "sum by (migration_id) (increase(migration_retries_total{migration_id=~\"$migration\"}[5m])) or on () vector(0)",
                "{{migration_id}}",
            ),
    ]
}
