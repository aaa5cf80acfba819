//! How far each drain is, how fast it goes, and what it needs.

use super::{Dashboard, Panel, Row, of, or_zero, per_deployment, variable};
use crate::query::{D, advanced, grown};

/// The states and their names, as `drain_state` counts them.
const STATES: &[(u8, &str, &str)] = &[
    (0, "running", "blue"),
    (1, "paused", "text"),
    (2, "budget_spent", "red"),
    (3, "cancelling", "orange"),
    (4, "cancelled", "yellow"),
    (5, "finished", "green"),
];

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "rehome-drains",
        title: "Drains",
        description: "Stores that are emptied: drains that are not over, and those that ended within the retention \
                      of their metrics.",
        variables: vec![variable("drain", "Drain", &of("drain_state", ""), "drain_id")],
        rows: vec![
            Row { title: "Now", panels: now() },
            Row { title: "Progress", panels: progress() },
            Row { title: "What holds it up", panels: held_up() },
        ],
    }
}

/// A series of the chosen drains, with further matchers.
fn of_d(name: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    of(name, &format!("drain_id=~\"$drain\"{comma}{more}"))
}

/// Of each drain, whichever server reports it.
fn each(name: &str) -> String {
    format!("max by ({D}) ({})", of_d(name, ""))
}

/// Tenants in these states, of all drains of a deployment.
fn tenants(states: &str) -> String {
    let of_states = of_d("drain_tenants", &format!("state=~\"{states}\""));
    per_deployment(&format!("sum by (deployment) (max by ({D}, state) ({of_states}))"))
}

fn now() -> Vec<Panel> {
    let state = each("drain_state");
    let stores = "source_stores, target_stores";
    vec![
        Panel::stat("Drains at Work", "Drains that have not ended, including paused ones.")
            .query(
                per_deployment(&format!("count by (deployment) ({state} < 4)")),
                "{{deployment}}",
            )
            .alert("RehomeDrainStalled"),
        Panel::stat(
            "Needs You",
            "Things that need an operator, as the page of a drain lists them.",
        )
        .query(
            per_deployment(&format!("sum by (deployment) ({})", each("drain_needs"))),
            "{{deployment}}",
        )
        .limit(1.0)
        .alert("RehomeDrainBudgetSpent"),
        Panel::stat("Tenants Left", "Waiting, at work, or set aside and to be tried again.")
            .query(tenants("waiting|again|moving"), "{{deployment}}")
            .alert("RehomeDrainStalled"),
        Panel::stat("Tenants Moved", "At their targets.")
            .query(tenants("moved"), "{{deployment}}")
            .alert("RehomeDrainStalled"),
        Panel::stat("Set Aside", "Tenants that have used all their attempts.")
            .query(tenants("set_aside"), "{{deployment}}")
            .limit(1.0)
            .alert("RehomeDrainBudgetSpent"),
        Panel::stat("Time Left", "At the rate so far; of the drain that takes longest.")
            .query(
                format!("max by (deployment) ({})", each("drain_remaining_seconds")),
                "{{deployment}}",
            )
            .unit("s")
            .none("nothing moves")
            .alert("RehomeDrainStalled"),
        Panel::timeline("State", "The state of each drain.")
            .states(STATES)
            .query(state.clone(), "{{drain_id}}")
            .none("no drain")
            .alert("RehomeDrainStalled"),
        Panel::table("Drains", "From where to where, and the state.")
            .states(STATES)
            .query(
                format!(
                    "{state} * on ({D}) group_left ({stores}) max by ({D}, {stores}) ({})",
                    of_d("drain_info", "")
                ),
                "",
            )
            .none("no drain"),
    ]
}

fn progress() -> Vec<Panel> {
    let by_state = format!("max by ({D}, state) ({})", of_d("drain_tenants", ""));
    let rate =
        |name: &str, by: &str| or_zero(&format!("{} / 300", advanced(&of_d(name, ""), by, "5m")));
    let bytes = grown(&of_d("drain_bytes_copied_total", ""), D, "5m");
    let share = format!("{} / ({} > 0)", each("drain_events_moved_total"), each("drain_events"));
    vec![
        Panel::lines("Tenants by State", "Tenants of each drain, by state.")
            .query(by_state, "{{state}} {{drain_id}}")
            .none("no drain")
            .alert("RehomeDrainStalled"),
        Panel::lines("Moves", "Moves that were begun, finished and failed, per second.")
            .query(rate("drain_moves_total", &format!("{D}, step")), "{{step}} {{drain_id}}")
            .unit("cps")
            .alert("RehomeDrainStalled"),
        Panel::lines(
            "Events Moved",
            "Part of the events that is at the targets, of tenants that were moved.",
        )
        .query(share, "{{drain_id}}")
        .unit("percentunit")
        .max(1.0)
        .none("no drain")
        .alert("RehomeDrainStalled"),
        Panel::lines("Bytes Copied", "Bytes of events written to targets, per second.")
            .query(or_zero(&format!("{bytes} / 300")), "{{drain_id}}")
            .unit("Bps")
            .alert("RehomeDrainStalled"),
    ]
}

fn held_up() -> Vec<Panel> {
    let running = format!("{} == 0", each("drain_state"));
    let since = format!(
        "time() - {} and on ({D}) {running}",
        each("drain_last_progress_timestamp_seconds")
    );
    vec![
        Panel::lines("Since Last Progress", "Time since a drain that runs got further.")
            .query(since, "{{drain_id}}")
            .unit("s")
            .limit(900.0)
            .none("no drain runs")
            .alert("RehomeDrainStalled"),
        Panel::lines(
            "Failures against the Budget",
            "Failed moves since the start or the last resume, and at how many the drain pauses.",
        )
        .query(each("drain_failures"), "failures {{drain_id}}")
        .query(format!("{} > 0", each("drain_failures_max")), "budget {{drain_id}}")
        .none("no drain")
        .alert("RehomeDrainBudgetSpent"),
        Panel::lines("Window", "1 while cutovers may begin.")
            .query(each("drain_window_open"), "{{drain_id}}")
            .max(1.0)
            .none("no drain")
            .alert("RehomeDrainWindowMissed"),
        Panel::lines("Processes at Work", "Processes that work on each drain.")
            .query(each("drain_workers"), "{{drain_id}}")
            .none("no drain")
            .alert("RehomeDrainStalled"),
    ]
}
