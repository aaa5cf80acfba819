//! Annotations on every graph: changes of phase, and cutovers.

use serde_json::{Value, json};

use super::{data_source, of_m};
use crate::query::{MT, advanced};

/// The states and their names, as `migration_state` counts them.
pub(super) const STATES: [(u8, &str, &str); 8] = [
    (0, "pending", "text"),
    (1, "bulk_copy", "blue"),
    (2, "dual_write", "purple"),
    (3, "cutover_paused", "orange"),
    (4, "migrated", "green"),
    (5, "failed", "red"),
    (6, "rolled_back", "yellow"),
    (7, "paused", "text"),
];

pub(super) fn all() -> Vec<Value> {
    vec![
        annotation("Phases", "blue", &phases(), "{{phase}}"),
        annotation("Cutovers", "orange", &cutovers(), "cutover {{status}}"),
    ]
}

/// A cutover may end before the next scrape: its counter shows it all the same.
fn cutovers() -> String {
    let begun_or_ended =
        advanced(&of_m("cutover_attempts_total"), "deployment, migration_id, status", "1m");
    format!("{begun_or_ended} > 0")
}

/// The state that a migration is in now and was not a minute ago, by its name.
fn phases() -> String {
    let state = of_m("migration_state");
    let entered = STATES.map(|(number, name, _)| {
        format!(
            "label_replace(\
             max by ({MT}) ({state}) == {number} \
             unless on ({MT}) \
             max by ({MT}) ({state} offset 1m) == {number}, \
             \"phase\", \"{name}\", \"\", \"\")"
        )
    });
    entered.join(" or ")
}

fn annotation(name: &str, color: &str, expr: &str, text: &str) -> Value {
    json!({
        "name": name,
        "datasource": data_source(),
        "enable": true,
        "hide": false,
        "iconColor": color,
        "expr": expr,
        "step": "60s",
        "titleFormat": "{{migration_id}}",
        "textFormat": text,
        "useValueForTime": false,
    })
}
