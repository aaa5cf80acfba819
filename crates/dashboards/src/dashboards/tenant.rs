//! One tenant: what its applications see, before, during and after it moves.

use super::{Dashboard, Panel, Row, of_t, of_this, one_of, or_zero, variable};
use crate::query::{M, grown};

pub(super) fn dashboard() -> Dashboard {
    let all =
        "{__name__=~\"append_duration_seconds_count|migration_state\",deployment=~\"$deployment\"}";
    Dashboard {
        uid: "rehome-tenant",
        title: "Tenant",
        description: "What the applications of one tenant see, and the state of its migration.",
        variables: vec![
            one_of("tenant", "Tenant", all, "tenant_id"),
            variable("migration", "Migration", &of_t("migration_state", ""), "migration_id"),
        ],
        rows: vec![
            Row { title: "Appends", panels: appends() },
            Row { title: "Migration", panels: migration() },
        ],
    }
}

fn appends() -> Vec<Panel> {
    let outcomes =
        grown(&of_this("append_duration_seconds_count", ""), "deployment, outcome", "5m");
    let buckets =
        grown(&of_this("append_duration_seconds_bucket", "outcome=\"ok\""), "deployment, le", "5m");
    let latency = |q: &str| format!("histogram_quantile({q}, {buckets}) >= 0");
    let again = grown(&of_this("fenced_appends_total", ""), "deployment", "5m");
    vec![
        Panel::lines("Appends", "Per second, by outcome, over all processes.")
            .query(or_zero(&format!("{outcomes} / 300")), "{{outcome}} {{deployment}}")
            .unit("cps")
            .alert("TenantAppendsFailing"),
        Panel::lines(
            "Append Latency",
            "Latency of successful appends, as the application sees it.",
        )
        .query(latency("0.5"), "p50 {{deployment}}")
        .query(latency("0.99"), "p99 {{deployment}}")
        .unit("s")
        .limit(0.1)
        .none("the tenant writes nothing")
        .alert("TenantAppendLatencyHigh"),
        Panel::lines(
            "Longest Wait",
            "How long the longest-waiting append has waited for a cutover or a failing store.",
        )
        .query(
            or_zero(&format!(
                "max by (deployment) ({})",
                of_this("append_longest_wait_seconds", "")
            )),
            "longest wait {{deployment}}",
        )
        .unit("s")
        .limit(5.0)
        .alert("TenantWritesBlocked"),
        Panel::lines(
            "Routed Again",
            "Appends that a store refused because the tenant had moved, per second.",
        )
        .query(or_zero(&format!("{again} / 300")), "routed again {{deployment}}")
        .unit("cps")
        .alert("TenantAppendsFailing"),
    ]
}

fn migration() -> Vec<Panel> {
    let chosen = "migration_id=~\"$migration\"";
    let largest = |name: &str| format!("max by ({M}) ({})", of_this(name, chosen));
    let buckets = grown(&of_this("dual_write_latency_seconds_bucket", ""), "deployment, le", "5m");
    let failures = grown(&of_this("dual_write_target_failures_total", ""), "deployment", "5m");
    vec![
        Panel::timeline("State", "The state of the tenant's migrations.")
            .query(largest("migration_state"), "{{migration_id}}")
            .none("the tenant does not move")
            .alert("MigrationPausedLong"),
        Panel::lines("Progress", "Fraction of the history that is in the target.")
            .query(largest("migration_progress_percent"), "{{migration_id}}")
            .unit("percent")
            .max(100.0)
            .none("the tenant does not move")
            .alert("MigrationBulkCopyStuck"),
        Panel::lines("Lag", "Events that the target is behind.")
            .query(
                format!("max by (deployment) ({})", of_this("dual_write_sync_lag_events", "")),
                "lag {{deployment}}",
            )
            .limit(1_000.0)
            .none("the tenant is not in dual write")
            .alert("MigrationHighSyncLag"),
        Panel::lines(
            "Dual-Write Latency",
            "Time from when the mirror has an event until the target has committed it.",
        )
        .query(format!("histogram_quantile(0.99, {buckets}) >= 0"), "p99 {{deployment}}")
        .unit("s")
        .limit(0.1)
        .none("nothing was mirrored")
        .alert("MigrationHighDualWriteLatency"),
        Panel::lines(
            "Target Write Failures",
            "Mirrored events whose write to the target failed, per second.",
        )
        .query(or_zero(&format!("{failures} / 300")), "failures {{deployment}}")
        .unit("cps")
        .alert("MigrationTargetWriteFailures"),
    ]
}
