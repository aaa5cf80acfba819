//! Every query is PromQL, and uses metrics and labels that the engine exports.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::Matchers;
use promql_parser::parser::{Expr, LabelModifier, parse};
use promql_parser::util::{ExprVisitor, walk_expr};
use rehome_dashboards::{Settings, files, groups};
use rehome_engine::metrics::{FAMILIES, Kind};
use serde_json::Value;

/// Metrics of Prometheus itself, with their labels.
const OF_PROMETHEUS: [(&str, &[&str]); 2] = [("up", &[]), ("ALERTS", &["alertname", "alertstate"])];

/// Each sample that there is, and its labels.
fn samples() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut samples = BTreeMap::new();
    let mut add = |name: String, labels: &[&'static str], more: &[&'static str]| {
        let labels = labels.iter().chain(more).chain(&["deployment", "job", "instance"]).copied();
        samples.insert(name, labels.collect());
    };
    for family in FAMILIES {
        if let Kind::Histogram(_) = family.kind {
            add(format!("{}_bucket", family.name), family.labels, &["le"]);
            add(format!("{}_sum", family.name), family.labels, &[]);
            add(format!("{}_count", family.name), family.labels, &[]);
        } else {
            add(family.sample(), family.labels, &[]);
        }
    }
    for (name, labels) in OF_PROMETHEUS {
        add(name.to_owned(), labels, &[]);
    }
    samples
}

/// The location of each query, and the query.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for alert in groups(&Settings::default()).into_iter().flat_map(|group| group.alerts) {
        queries.push((alert.name.to_owned(), alert.expr));
    }
    for file in files(&Settings::default()) {
        if !file.path.starts_with("dashboards/") {
            continue;
        }
        let dashboard: Value = serde_json::from_str(&file.text).unwrap();
        let mut add = |what: &Value, query: &Value| {
            queries.push((format!("{} {what}", file.path), query.as_str().unwrap().to_owned()));
        };
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                add(&panel["title"], &target["expr"]);
            }
        }
        for mark in dashboard["annotations"]["list"].as_array().unwrap() {
            add(&mark["name"], &mark["expr"]);
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let asked = variable["query"].as_str().unwrap();
            if let Some(asked) = asked.strip_prefix("label_values(") {
                let (series, _) = asked.rsplit_once(',').unwrap();
                add(&variable["name"], &Value::from(series));
            }
        }
    }
    queries
}

/// The metrics and labels in a query.
#[derive(Default)]
struct Asked {
    /// Names of metrics, each with the labels that are matched.
    series: Vec<(String, Vec<String>)>,
    /// Labels that are grouped by.
    grouped: BTreeSet<String>,
}

impl ExprVisitor for Asked {
    type Error = String;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
        match expr {
            Expr::VectorSelector(selector) => {
                self.selector(selector.name.as_deref(), &selector.matchers);
            }
            Expr::MatrixSelector(selector) => {
                self.selector(selector.vs.name.as_deref(), &selector.vs.matchers);
            }
            Expr::Aggregate(aggregate) => {
                if let Some(LabelModifier::Include(labels)) = &aggregate.modifier {
                    self.grouped.extend(labels.labels.iter().cloned());
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

impl Asked {
    fn selector(&mut self, name: Option<&str>, matchers: &Matchers) {
        let labels = matchers.matchers.iter().map(|matcher| matcher.name.clone());
        let (names, labels): (Vec<_>, Vec<_>) = labels.partition(|label| label == "__name__");
        if let Some(name) = name {
            self.series.push((name.to_owned(), labels));
        } else {
            // `{__name__=~"a|b"}`: each of them.
            assert_eq!(names.len(), 1, "a selector without a name");
            let of = matchers.matchers.iter().find(|matcher| matcher.name == "__name__").unwrap();
            for name in of.value.split('|') {
                self.series.push((name.to_owned(), labels.clone()));
            }
        }
    }
}

fn asked(query: &str) -> Result<Asked, String> {
    let expr = parse(query)?;
    let mut asked = Asked::default();
    walk_expr(&mut asked, &expr)?;
    Ok(asked)
}

/// The errors of a query.
fn complaint(query: &str, samples: &BTreeMap<String, BTreeSet<&str>>) -> Result<(), String> {
    let asked = asked(query)?;
    if asked.series.is_empty() {
        return Err("it asks for nothing".to_owned());
    }
    let mut known = BTreeSet::new();
    for (name, labels) in &asked.series {
        let Some(of_sample) = samples.get(name) else {
            return Err(format!("nobody tells {name}"));
        };
        if let Some(label) = labels.iter().find(|label| !of_sample.contains(label.as_str())) {
            return Err(format!("{name} has no label {label}"));
        }
        known.extend(of_sample.iter().copied());
    }
    match asked.grouped.iter().find(|label| !known.contains(label.as_str())) {
        Some(label) => Err(format!("nothing here has a label {label} to group by")),
        None => Ok(()),
    }
}

#[test]
fn every_query_asks_for_what_the_engine_tells() {
    let samples = samples();
    let queries = queries();
    assert!(queries.len() > 60, "only {} queries", queries.len());
    let wrong: Vec<_> = queries
        .iter()
        .filter_map(|(place, query)| {
            Some(format!("{place}: {}", complaint(query, &samples).err()?))
        })
        .collect();
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn a_wrong_query_is_found() {
    let samples = samples();
    let said = |query| complaint(query, &samples).unwrap_err();
    assert_eq!(said("sum(migration_status)"), "nobody tells migration_status");
    assert_eq!(said("migration_state{state!=\"4\"}"), "migration_state has no label state");
    assert_eq!(
        said("sum by (store_id) (migration_state)"),
        "nothing here has a label store_id to group by"
    );
    assert!(complaint("sum by (tenant_id (migration_state)", &samples).is_err());
}

/// What an expression mixes, if deployments share a Prometheus.
#[derive(Default)]
struct Mixed {
    /// Whether it is a query of a dashboard, on which deployments are chosen.
    chosen: bool,
    found: Vec<String>,
}

impl ExprVisitor for Mixed {
    type Error = String;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
        let has = |labels: &[String]| labels.iter().any(|label| label == "deployment");
        match expr {
            Expr::Aggregate(aggregate) => match &aggregate.modifier {
                Some(LabelModifier::Include(labels)) if has(&labels.labels) => {}
                _ => self.found.push(format!("{expr} adds up deployments")),
            },
            Expr::Binary(binary) => {
                let matching = binary.modifier.as_ref().and_then(|by| by.matching.as_ref());
                match matching {
                    // `on ()` is for the 0 of an empty result.
                    Some(LabelModifier::Include(labels))
                        if !labels.labels.is_empty() && !has(&labels.labels) =>
                    {
                        self.found.push(format!("{expr} joins deployments"));
                    }
                    Some(LabelModifier::Exclude(labels)) if has(&labels.labels) => {
                        self.found.push(format!("{expr} joins deployments"));
                    }
                    _ => {}
                }
            }
            Expr::VectorSelector(selector) if self.chosen => {
                let chosen =
                    selector.matchers.matchers.iter().any(|matcher| {
                        matcher.name == "deployment" && matcher.value == "$deployment"
                    });
                if !chosen {
                    self.found.push(format!("{expr} is of every deployment"));
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

fn mixed(query: &str, chosen: bool) -> Vec<String> {
    let mut mixed = Mixed { chosen, ..Mixed::default() };
    walk_expr(&mut mixed, &parse(query).unwrap()).unwrap();
    mixed.found
}

#[test]
fn no_query_mixes_deployments_that_share_a_prometheus() {
    for (place, query) in queries() {
        // The list of deployments is computed from all of them.
        let chosen = place.starts_with("dashboards/") && !place.contains("\"deployment\"");
        assert_eq!(mixed(&query, chosen), [""; 0], "{place}");
    }
    for wrong in [
        "sum(up)",
        "sum by (job) (up)",
        "up and on (job) up",
        "up * ignoring (deployment) up",
        "max by (deployment) (migration_state{migration_id=~\"$migration\"})",
    ] {
        assert_ne!(mixed(wrong, true), [""; 0], "{wrong}");
    }
    assert_eq!(mixed("sum by (deployment) (up{deployment=~\"$deployment\"})", true), [""; 0]);
}

/// Without `le`, or per instance, a percentile is that of one process.
#[test]
fn no_query_takes_a_percentile_of_buckets_that_are_not_added_up() {
    for (place, query) in queries() {
        if query.contains("histogram_quantile") {
            assert!(query.contains(", le) (") || query.contains("by (le) ("), "{place}: {query}");
        }
    }
}
