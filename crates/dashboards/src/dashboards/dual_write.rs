//! The mirror: its writes to the target, their latency, and the lag.

use super::{Dashboard, Panel, Row, of, of_m, of_t, or_zero, variable};
use crate::query::{M, T, grown};

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "rehome-dual-write-health",
        title: "Dual-Write Health",
        description: "The mirroring of writes to the target, per tenant.",
        variables: vec![
            variable("tenant", "Tenant", &of("dual_write_operations_total", ""), "tenant_id"),
            variable("migration", "Migration", &of_t("migration_state", ""), "migration_id"),
        ],
        rows: vec![
            Row { title: "Writes to the target", panels: writes() },
            Row { title: "Before the cutover", panels: before_cutover() },
        ],
    }
}

fn writes() -> Vec<Panel> {
    let operations = |more: &str| of_t("dual_write_operations_total", more);
    let all = grown(&operations(""), T, "5m");
    let succeeded = grown(&operations("status=\"success\""), T, "5m");
    let by_status = grown(&operations(""), "deployment, tenant_id, status", "5m");
    let failures = grown(&of_t("dual_write_target_failures_total", ""), T, "5m");
    let buckets =
        grown(&of_t("dual_write_latency_seconds_bucket", ""), "deployment, tenant_id, le", "5m");
    vec![
        // Without a successful write, the answer is 0, also if there was never such a series.
        Panel::lines(
            "Dual-Write Success Rate",
            "Fraction of the mirrored events that the target accepted at the first attempt.",
        )
        .query(format!("({succeeded} or {all} * 0) / ({all} > 0)"), "{{tenant_id}} {{deployment}}")
        .unit("percentunit")
        .max(1.0)
        .none("nothing was mirrored")
        .alert("MigrationTargetWriteFailures"),
        Panel::lines(
            "Target Write Failures",
            "Mirrored events whose write to the target failed, per second; each is retried.",
        )
        .query(or_zero(&format!("{failures} / 300")), "{{tenant_id}} {{deployment}}")
        .unit("cps")
        .alert("MigrationTargetWriteFailures"),
        Panel::lines(
            "Dual-Write Latency (p99)",
            "Time from when the mirror has an event until the target has committed it.",
        )
        .query(format!("histogram_quantile(0.99, {buckets}) >= 0"), "{{tenant_id}} {{deployment}}")
        .unit("s")
        .limit(0.1)
        .none("nothing was mirrored")
        .alert("MigrationHighDualWriteLatency"),
        Panel::lines("Mirrored Events Rate", "By outcome, per second.")
            .query(
                or_zero(&format!("{by_status} / 300")),
                "{{status}} {{tenant_id}} {{deployment}}",
            )
            .unit("cps")
            .alert("MigrationHighSyncLag"),
    ]
}

fn before_cutover() -> Vec<Panel> {
    let largest = |name: &str| format!("max by ({T}) ({})", of_t(name, ""));
    let faults = grown(&of_m("migration_retries_total"), M, "5m");
    vec![
        Panel::lines("Lag Behind the Source", "Events that the target is behind.")
            .query(largest("dual_write_sync_lag_events"), "{{tenant_id}} {{deployment}}")
            .limit(1_000.0)
            .none("no tenant is in dual write")
            .alert("MigrationHighSyncLag"),
        Panel::lines(
            "Read-Back Lag",
            "Events in the target that have not been read back yet; the cutover waits for 0.",
        )
        .query(largest("migration_read_back_lag_events"), "{{tenant_id}} {{deployment}}")
        .none("no tenant is in dual write")
        .alert("MigrationHighSyncLag"),
        Panel::lines(
            "Lag of the Return",
            "Events that the old source is behind during the rollback window.",
        )
        .query(largest("migration_rollback_window_lag_events"), "{{tenant_id}} {{deployment}}")
        .none("no rollback window is open")
        .alert("RehomeStoreDown"),
        Panel::lines("Faults Met", "Faults after which a driver retried, within 5 minutes.")
            .query(or_zero(&faults), "{{migration_id}}")
            .alert("RehomeStoreDown"),
    ]
}
