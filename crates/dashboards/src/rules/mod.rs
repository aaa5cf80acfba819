//! Prometheus alerting rules.
//!
//! `guide` has the six that the monitoring guide names, `migration` the further ones about migrations
//! and tenants, `drain` those about drains, `process` those about the processes that are watched.

mod drain;
mod guide;
mod migration;
mod process;

use serde::Serialize;

use crate::span::Span;
use crate::{File, Settings};

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Act within the working day.
    Warning,
    /// Act now.
    Critical,
}

/// One alerting rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its name; a heading of the runbook too.
    pub name: &'static str,
    /// The condition, in `PromQL`.
    pub expr: String,
    /// How long the condition must hold; `None`: not at all.
    pub held: Option<Span>,
    /// How urgent it is.
    pub severity: Severity,
    /// The problem, in a line.
    pub summary: &'static str,
    /// The details.
    pub description: String,
}

/// Rules that are evaluated together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// How often it is evaluated.
    pub interval: Span,
    /// Its rules.
    pub alerts: Vec<Alert>,
}

pub(crate) fn groups(settings: &Settings) -> Vec<Group> {
    let thresholds = &settings.thresholds;
    let group = |name, alerts| Group { name, interval: thresholds.interval, alerts };
    vec![
        group("migration_alerts", guide::alerts(thresholds)),
        group("migration_further_alerts", migration::alerts(thresholds)),
        group("rehome_drain_alerts", drain::alerts(thresholds)),
        group("rehome_alerts", process::alerts(thresholds)),
    ]
}

pub(crate) fn files(settings: &Settings) -> Vec<File> {
    let document = Document {
        groups: groups(settings).into_iter().map(|group| written(group, settings)).collect(),
    };
    let yaml = serde_saphyr::to_string(&document).expect("a document of texts can be written");
    let text = format!(
        "# Alerting rules for rehome: `rehome monitoring export` writes them, with other thresholds too.\n\
         # What each alert means and what to do: docs/monitoring/alerts.md.\n{yaml}"
    );
    vec![File { path: "rules/rehome.yml", text, is_example: false }]
}

/// The file, as Prometheus reads it.
#[derive(Serialize)]
struct Document {
    groups: Vec<WrittenGroup>,
}

#[derive(Serialize)]
struct WrittenGroup {
    name: &'static str,
    interval: String,
    rules: Vec<WrittenRule>,
}

#[derive(Serialize)]
struct WrittenRule {
    alert: &'static str,
    expr: serde_saphyr::LitString,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    held: Option<String>,
    labels: Labels,
    annotations: Annotations,
}

#[derive(Serialize)]
struct Labels {
    severity: Severity,
}

#[derive(Serialize)]
struct Annotations {
    summary: &'static str,
    description: String,
    runbook_url: String,
}

fn written(group: Group, settings: &Settings) -> WrittenGroup {
    let rules = group.alerts.into_iter().map(|alert| WrittenRule {
        alert: alert.name,
        expr: serde_saphyr::LitString(alert.expr),
        held: alert.held.map(|span| span.to_string()),
        labels: Labels { severity: alert.severity },
        annotations: Annotations {
            summary: alert.summary,
            description: alert.description,
            runbook_url: format!("{}#{}", settings.runbook, alert.name.to_ascii_lowercase()),
        },
    });
    WrittenGroup { name: group.name, interval: group.interval.to_string(), rules: rules.collect() }
}
