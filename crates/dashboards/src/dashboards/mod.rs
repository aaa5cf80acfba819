//! Grafana dashboards, one file each; `panel` has the building blocks.
//!
//! A panel whose answer is "none" shows 0 and not "No data"; one that has no answer, such as the latency
//! of writes while there are none, explains why.

mod annotation;
mod drains;
mod dual_write;
mod overview;
mod panel;
mod tenant;

use serde_json::{Value, json};

use crate::{File, Settings};
use panel::{Panel, Row};

/// The version of Grafana's dashboard model that is written. Later Grafanas migrate it on loading.
const SCHEMA_VERSION: u32 = 39;

/// One dashboard.
struct Dashboard {
    /// The name in addresses.
    uid: &'static str,
    title: &'static str,
    description: &'static str,
    variables: Vec<Value>,
    rows: Vec<Row>,
}

pub(crate) fn files(settings: &Settings) -> Vec<File> {
    let file = |path, dashboard: &Dashboard| File {
        path,
        text: text(&dashboard.json(&settings.runbook)),
        is_example: false,
    };
    vec![
        file("dashboards/migration-overview.json", &overview::dashboard()),
        file("dashboards/dual-write-health.json", &dual_write::dashboard()),
        file("dashboards/drains.json", &drains::dashboard()),
        file("dashboards/tenant.json", &tenant::dashboard()),
    ]
}

fn text(document: &Value) -> String {
    format!("{document:#}\n")
}

impl Dashboard {
    fn json(&self, runbook: &str) -> Value {
        let deployment = variable("deployment", "Deployment", "rehome_build_info", "deployment");
        let mut variables = vec![data_source_variable(), deployment];
        variables.extend(self.variables.iter().cloned());
        let has = |name: &str| self.variables.iter().any(|variable| variable["name"] == name);
        let annotations = if has("migration") { annotation::all() } else { Vec::new() };
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["rehome", "migration"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "10s",
            "timezone": "browser",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": variables},
            "annotations": {"list": annotations},
            "links": [{
                "title": "rehome",
                "type": "dashboards",
                "icon": "external link",
                "tooltip": "",
                "tags": ["rehome"],
                "asDropdown": false,
                "targetBlank": false,
                "includeVars": true,
                "keepTime": true,
            }],
            "panels": panel::laid_out(&self.rows, runbook),
        })
    }
}

/// A series of the chosen deployments, with further matchers.
fn of(name: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!("{name}{{deployment=~\"$deployment\"{comma}{more}}}")
}

/// A series of the chosen migrations.
fn of_m(name: &str) -> String {
    of(name, "migration_id=~\"$migration\"")
}

/// A series of the chosen tenants, with further matchers.
fn of_t(name: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    of(name, &format!("tenant_id=~\"$tenant\"{comma}{more}"))
}

/// A series of the one tenant that is chosen, with further matchers.
fn of_this(name: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    of(name, &format!("tenant_id=\"$tenant\"{comma}{more}"))
}

/// A series of the chosen migrations of the chosen tenants.
fn of_mt(name: &str) -> String {
    of_t(name, "migration_id=~\"$migration\"")
}

/// 0 where there is nothing.
fn or_zero(expr: &str) -> String {
    format!("{expr} or on () vector(0)")
}

/// A number per deployment: 0 in those that have nothing of it.
fn per_deployment(expr: &str) -> String {
    or_zero(&format!("{expr} or max by (deployment) ({}) * 0", of("rehome_build_info", "")))
}

/// The data source of every query, chosen by the viewer.
fn data_source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn data_source_variable() -> Value {
    json!({
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "hide": 0,
        "refresh": 1,
        "includeAll": false,
        "multi": false,
        "options": [],
    })
}

/// A variable with the values of `label` among `series`; all of them unless some are chosen.
fn variable(name: &str, title: &str, series: &str, label: &str) -> Value {
    let query = format!("label_values({series}, {label})");
    json!({
        "name": name,
        "label": title,
        "type": "query",
        "datasource": data_source(),
        "query": query,
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "regex": "",
        "multi": true,
        "includeAll": true,
        "allValue": ".*",
        "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
        "options": [],
    })
}

/// A variable of which exactly one value is chosen.
fn one_of(name: &str, title: &str, series: &str, label: &str) -> Value {
    let mut variable = variable(name, title, series, label);
    if let Value::Object(fields) = &mut variable {
        fields.insert("multi".to_owned(), json!(false));
        fields.insert("includeAll".to_owned(), json!(false));
        fields.retain(|key, _| key != "allValue" && key != "current");
    }
    variable
}
