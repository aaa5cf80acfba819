//! What an operator's own tools need to watch migrations: Prometheus rules, Grafana dashboards, and
//! examples of how Prometheus, Alertmanager and Grafana find them.
//!
//! ```text
//! thresholds ──▶ rules ──────▶ rules/*.yml
//!                dashboards ──▶ dashboards/*.json        files(), one list
//!                examples ────▶ prometheus.yml, alertmanager.yml, grafana/provisioning/
//! ```
//!
//! Pure: text from thresholds, no I/O, and nothing of ours is imported. The names of the metrics are a
//! contract; a test compares each name in a query with the engine's table of families.
//!
//! Every query is right for any number of processes: what a lease holder tells is taken with `max by`,
//! what each router tells of itself is added up with `sum by`, and series are joined `on` the identity
//! of a migration or a tenant, never on the job or the instance that happened to tell them. And none
//! mixes deployments that share a Prometheus. The shapes are in `query`.

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
}

/// Where the runbook is in this repository.
pub const RUNBOOK: &str = "docs/monitoring/alerts.md";

impl Default for Settings {
    fn default() -> Self {
        Self { thresholds: Thresholds::default(), runbook: RUNBOOK.to_owned() }
    }
}

/// One file for an operator's tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path below the folder that is exported to, with `/` between the parts.
    pub path: &'static str,
    /// What it says.
    pub text: String,
    /// Whether it is an example to begin with, the operator's own once it is there.
    pub is_example: bool,
}

/// All files, in the order of their paths.
pub fn files(settings: &Settings) -> Vec<File> {
    let mut files = rules::files(settings);
    files.extend(dashboards::files(settings));
    files.extend(examples::files());
    files.sort_by_key(|file| file.path);
    files
}

/// All groups of alerts, as the rule files have them.
pub fn groups(settings: &Settings) -> Vec<Group> {
    rules::groups(settings)
}
