//! Monitoring for an operator's own tools: Prometheus rules, Grafana dashboards, and
//! example configurations of Prometheus, Alertmanager and Grafana.
//!
//! ```text
//! thresholds ──▶ rules ──────▶ rules/*.yml
//!                dashboards ──▶ dashboards/*.json        files(), one list
//!                examples ────▶ prometheus.yml, alertmanager.yml, grafana/provisioning/
//! ```
//!
//! Pure: text from thresholds, no I/O, and no dependency on another crate of rehome. The names of the metrics are a
//! contract; a test compares each name in a query with the engine's table of families.
//!
//! Every query is right for any number of processes: what a lease holder reports is aggregated with `max by`,
//! what each router reports of itself with `sum by`, and series are joined `on` the identity
//! of a migration or a tenant, never on the job or the instance that happened to report them. And none
//! mixes deployments that share a Prometheus. The patterns are in `query`.

mod dashboards;
mod examples;
mod query;
mod rules;
mod span;
mod thresholds;

pub use rules::{Alert, Group, Severity};
pub use span::{InvalidSpan, Span};
pub use thresholds::{Kind, Threshold, ThresholdProblem, Thresholds};

/// What an operator may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// When the alerts fire.
    pub thresholds: Thresholds,
    /// Where the runbook is: an address, to which `#` and the name of an alert are added.
    pub runbook: String,
    /// The file with the token that Prometheus sends, where rehome takes tokens.
    pub token_file: Option<String>,
}

/// Where the runbook is in this repository.
pub const RUNBOOK: &str = "docs/monitoring/alerts.md";

impl Default for Settings {
    fn default() -> Self {
        Self { thresholds: Thresholds::default(), runbook: RUNBOOK.to_owned(), token_file: None }
    }
}

/// One file for an operator's tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path below the folder that is exported to, with `/` between the parts.
    pub path: &'static str,
    /// Its content.
    pub text: String,
    /// Whether it is an example to begin with, the operator's own once it is there.
    pub is_example: bool,
}

/// All files, in the order of their paths.
pub fn files(settings: &Settings) -> Vec<File> {
    let mut files = rules::files(settings);
    files.extend(dashboards::files(settings));
    files.extend(examples::files(settings));
    files.sort_by_key(|file| file.path);
    files
}

/// All groups of alerts, as the rule files have them.
pub fn groups(settings: &Settings) -> Vec<Group> {
    rules::groups(settings)
}
