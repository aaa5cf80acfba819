//! One tenant: what its applications see, before, during and after it moves.

use super::{Dashboard, Panel, Row, one_of, variable};

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "rehome-tenant",
        title: "Tenant",
        description: "What the applications of one tenant see, and where its migration is.",
        variables: vec![
            one_of(
                "tenant",
                "Tenant",
                "{__name__=~\"append_duration_seconds_count|migration_state\"}",
                "tenant_id",
            ),
            variable(
                "migration",
                "Migration",
                "migration_state{tenant_id=~\"$tenant\"}",
                "migration_id",
            ),
        ],
        rows: vec![
            Row { title: "Appends", panels: appends() },
            Row { title: "Migration", panels: migration() },
        ],
    }
}

fn appends() -> Vec<Panel> {
    vec![
        Panel::lines("Appends", "Per second, by outcome, over all processes.")
            .query(
                "sum by (outcome) (rate(append_duration_seconds_count{tenant_id=\"$tenant\"}[5m])) or on () vector(0)",
                "{{outcome}}",
            )
            .unit("cps"),
        Panel::lines("Append Latency", "As the application waits, of appends that succeeded.")
            .query(
                "histogram_quantile(0.5, sum by (le) (rate(append_duration_seconds_bucket{tenant_id=\"$tenant\",outcome=\"ok\"}[5m])))",
                "p50",
            )
            .query(
                "histogram_quantile(0.99, sum by (le) (rate(append_duration_seconds_bucket{tenant_id=\"$tenant\",outcome=\"ok\"}[5m])))",
                "p99",
            )
            .unit("s")
            .limit(0.1)
            .none("the tenant writes nothing"),
        Panel::lines("Longest Wait", "How long the append that waits longest has waited for a cutover or a failing store.")
            .query(
                "max(append_longest_wait_seconds{tenant_id=\"$tenant\"}) or vector(0)",
                "longest wait",
            )
            .unit("s")
            .limit(5.0),
        Panel::lines("Routed Again", "Appends that a store refused because the tenant had moved on, per second.")
            .query(
                "sum(rate(fenced_appends_total{tenant_id=\"$tenant\"}[5m])) or vector(0)",
                "routed again",
            )
            .unit("cps"),
    ]
}

fn migration() -> Vec<Panel> {
    vec![
        Panel::timeline("State", "The state of the tenant's migrations.")
            .query(
                "max by (migration_id) (migration_state{tenant_id=\"$tenant\",migration_id=~\"$migration\"})",
                "{{migration_id}}",
            )
            .none("the tenant does not move"),
        Panel::lines("Progress", "Part of the history that is in the target.")
            .query(
                "max by (migration_id) (migration_progress_percent{tenant_id=\"$tenant\",migration_id=~\"$migration\"})",
                "{{migration_id}}",
            )
            .unit("percent")
            .max(100.0)
            .none("the tenant does not move"),
        Panel::lines("Lag", "Events that the target is behind.")
            .query(
                "max by (tenant_id) (dual_write_sync_lag_events{tenant_id=\"$tenant\"})",
                "lag",
            )
            .limit(1_000.0)
            .none("the tenant is not in dual write"),
        Panel::lines("Dual-Write Latency", "From when the mirror has an event to when the target has committed it.")
            .query(
                "histogram_quantile(0.99, sum by (le) (rate(dual_write_latency_seconds_bucket{tenant_id=\"$tenant\"}[5m])))",
                "p99",
            )
            .unit("s")
            .limit(0.1)
            .none("nothing was mirrored"),
        Panel::lines("Target Write Failures", "Mirrored events whose write to the target failed, per second.")
            .query(
                "sum(rate(dual_write_target_failures_total{tenant_id=\"$tenant\"}[5m])) or vector(0)",
                "failures",
            )
            .unit("cps"),
    ]
}
