//! The dashboards conform to Grafana's own schemas, and have the promised panels.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

use std::collections::HashSet;

use jsonschema::Validator;
use rehome_dashboards::{Settings, files, groups};
use serde_json::{Value, json};

/// Title and document of each dashboard.
fn dashboards() -> Vec<Value> {
    files(&Settings::default())
        .into_iter()
        .filter(|file| file.path.starts_with("dashboards/"))
        .map(|file| serde_json::from_str(&file.text).unwrap())
        .collect()
}

/// The panels of a dashboard that show something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().unwrap();
    panels.iter().filter(|panel| panel["type"] != "row").collect()
}

/// Grafana's schema in `file`, about its `definition` if one is named.
fn schema(file: &str, definition: Option<&str>) -> Validator {
    let path = format!("{}/tests/grafana/{file}.jsonschema.json", env!("CARGO_MANIFEST_DIR"));
    let mut schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    if let Some(definition) = definition {
        assert!(schema["definitions"][definition].is_object(), "{file} has no {definition}");
        schema["$ref"] = json!(format!("#/definitions/{definition}"));
    }
    jsonschema::draft7::new(&schema).unwrap()
}

fn complaints(schema: &Validator, document: &Value) -> Vec<String> {
    schema.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

#[test]
fn every_dashboard_is_valid_by_grafanas_schema() {
    let schema = schema("dashboard", None);
    let dashboards = dashboards();
    assert_eq!(dashboards.len(), 4);
    for dashboard in dashboards {
        assert_eq!(complaints(&schema, &dashboard), [""; 0], "{}", dashboard["title"]);
    }
}

#[test]
fn every_query_and_every_option_is_valid_by_the_schema_of_its_panel() {
    let query = schema("prometheus", None);
    let mut checked = 0;
    for dashboard in dashboards() {
        for panel in panels(&dashboard) {
            // There are no others: `graph` is gone from Grafana.
            let file = match panel["type"].as_str().unwrap() {
                "timeseries" => "timeseries",
                "stat" => "stat",
                "gauge" => "gauge",
                "state-timeline" => "statetimeline",
                "table" => "table",
                other => panic!("{other} is no panel that is known here"),
            };
            let options = complaints(&schema(file, Some("Options")), &panel["options"]);
            assert_eq!(options, [""; 0], "{}", panel["title"]);
            let custom = &panel["fieldConfig"]["defaults"]["custom"];
            if custom.is_object() {
                let custom = complaints(&schema(file, Some("FieldConfig")), custom);
                assert_eq!(custom, [""; 0], "{}", panel["title"]);
            }
            for target in panel["targets"].as_array().unwrap() {
                assert_eq!(complaints(&query, target), [""; 0], "{}", panel["title"]);
                checked += 1;
            }
        }
    }
    assert!(checked > 40, "only {checked} queries");
}

#[test]
fn a_schema_refuses_what_grafana_does_not_know() {
    let dashboards = dashboards();
    let mut dashboard = dashboards[0].clone();
    dashboard["panels"][1]["gridpos"] = json!({"x": 0});
    assert!(!schema("dashboard", None).is_valid(&dashboard));
    let mut target = panels(&dashboards[0])[0]["targets"][0].clone();
    target["expression"] = json!("up");
    assert!(!schema("prometheus", None).is_valid(&target));
}

#[test]
fn the_guides_panels_are_there_by_their_titles() {
    let wanted = [
        (
            "Migration Overview",
            vec![
                ("Active Migrations", "stat"),
                ("Migration Progress", "gauge"),
                ("Events Copied Rate", "timeseries"),
                ("Sync Lag", "timeseries"),
            ],
        ),
        (
            "Dual-Write Health",
            vec![
                ("Dual-Write Success Rate", "timeseries"),
                ("Target Write Failures", "timeseries"),
                ("Dual-Write Latency (p99)", "timeseries"),
            ],
        ),
    ];
    let dashboards = dashboards();
    for (title, titles) in wanted {
        let dashboard = dashboards.iter().find(|dashboard| dashboard["title"] == title).unwrap();
        for (title, kind) in titles {
            let found = panels(dashboard).into_iter().filter(|panel| panel["title"] == title);
            let kinds: Vec<_> = found.map(|panel| panel["type"].as_str().unwrap()).collect();
            assert_eq!(kinds, [kind], "{title}");
        }
    }
}

#[test]
fn every_panel_explains_itself_and_stands_where_no_other_does() {
    for dashboard in dashboards() {
        let (mut ids, mut taken) = (HashSet::new(), HashSet::new());
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{} covers another", panel["title"]);
                }
            }
        }
        for panel in panels(&dashboard) {
            assert!(panel["description"].as_str().is_some_and(|text| text.len() > 10));
            assert!(!panel["targets"].as_array().unwrap().is_empty());
        }
    }
}

#[test]
fn every_panel_leads_to_the_runbook_where_it_speaks_of_its_alert() {
    let runbook = "https://runbooks.example.com/rehome".to_owned();
    let settings = Settings { runbook: runbook.clone(), ..Settings::default() };
    let names: Vec<_> = groups(&settings)
        .into_iter()
        .flat_map(|group| group.alerts)
        .map(|alert| alert.name.to_ascii_lowercase())
        .collect();
    for file in files(&settings).iter().filter(|file| file.path.starts_with("dashboards/")) {
        let dashboard: Value = serde_json::from_str(&file.text).unwrap();
        for panel in panels(&dashboard) {
            let url = panel["links"][0]["url"].as_str().unwrap();
            let anchor = url.strip_prefix(&runbook).unwrap();
            let alert = anchor.strip_prefix('#').unwrap_or(anchor);
            let known = anchor.is_empty() || names.iter().any(|name| name == alert);
            assert!(known, "{}: {url}", panel["title"]);
        }
    }
}

#[test]
fn whoever_looks_chooses_data_source_deployment_tenant_and_migration() {
    for dashboard in dashboards() {
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let names: Vec<_> = variables.iter().map(|v| v["name"].as_str().unwrap()).collect();
        let marked = dashboard["annotations"]["list"].as_array().unwrap();
        let marks: Vec<_> = marked.iter().map(|mark| mark["name"].as_str().unwrap()).collect();
        if dashboard["title"] == "Drains" {
            // Phases of thousands of migrations would be no marks but a curtain.
            assert_eq!(names, ["datasource", "deployment", "drain"]);
            assert_eq!(marks, [""; 0]);
        } else {
            assert_eq!(names, ["datasource", "deployment", "tenant", "migration"]);
            assert_eq!(marks, ["Phases", "Cutovers"]);
        }
        for panel in panels(&dashboard) {
            assert_eq!(panel["datasource"]["uid"], "${datasource}");
        }
    }
}
