//! Queries to the tools that watch the deployment, over HTTP: Prometheus, Alertmanager, Grafana, Loki or
//! Elasticsearch. Each if configured (`[monitoring]`).
//!
//! One file per tool; `rehome_app::http` is the client for all of them. Their answers are
//! judged elsewhere.

mod alertmanager;
mod firing;
mod grafana;
mod logs;
mod prometheus;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rehome_app::config;
use rehome_domain::ids::{MigrationId, TenantId};
use serde_json::Value;

pub(crate) use firing::LastFiring;
pub use firing::{Firing, FiringAlert};
pub(crate) use logs::{LogQuery, LogStore};
pub(crate) use prometheus::{Prometheus, Rule, Sampled};

/// The result of a query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked<T> {
    /// Not configured; the missing key.
    NotConfigured(&'static str),
    /// The query failed.
    Failed(String),
    /// It answered.
    Answered(T),
}

impl<T> Asked<T> {
    /// What an answer, or why there is none, amounts to.
    pub(crate) fn of(answer: Result<T, String>) -> Self {
        answer.map_or_else(Self::Failed, Self::Answered)
    }
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) name: String,
    pub(crate) migration_id: Option<String>,
    pub(crate) tenant_id: Option<String>,
}

impl Alert {
    fn read(labels: &Value) -> Option<Self> {
        let label = |name: &str| labels[name].as_str().map(str::to_owned);
        Some(Self {
            name: label("alertname")?,
            migration_id: label("migration_id"),
            tenant_id: label("tenant_id"),
        })
    }

    /// Whether it is about the migration, its tenant, or all that rehome does.
    pub(crate) fn concerns(&self, id: MigrationId, tenant: TenantId) -> bool {
        match (&self.migration_id, &self.tenant_id) {
            (Some(migration), _) => *migration == id.to_string(),
            (None, Some(of)) => *of == tenant.to_string(),
            (None, None) => {
                ["Migration", "Rehome", "Tenant"].iter().any(|ours| self.name.starts_with(ours))
            }
        }
    }
}

/// The tools, where they were configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tools<'a>(pub(crate) &'a config::Tools);

impl<'a> Tools<'a> {
    pub(crate) fn prometheus(self) -> Option<Prometheus<'a>> {
        self.0.prometheus.as_ref().map(Prometheus)
    }

    /// The alert rules that are loaded.
    pub(crate) async fn rules(self) -> Asked<Vec<Rule>> {
        match self.prometheus() {
            None => Asked::NotConfigured("prometheus_url"),
            Some(prometheus) => Asked::of(prometheus.rules().await),
        }
    }

    /// The alerts that fire: those of Prometheus, and those that Alertmanager holds; `Failed` where one
    /// of those that are configured does not answer.
    pub(crate) async fn alerts(self) -> Asked<Vec<Alert>> {
        let prometheus = async {
            Some(match self.prometheus() {
                None => return None,
                Some(prometheus) => prometheus.alerts().await,
            })
        };
        let alertmanager = async {
            Some(match &self.0.alertmanager {
                None => return None,
                Some(endpoint) => alertmanager::alerts(endpoint).await,
            })
        };
        let answers: Vec<_> =
            <[_; 2]>::from(tokio::join!(prometheus, alertmanager)).into_iter().flatten().collect();
        if answers.is_empty() {
            return Asked::NotConfigured("prometheus_url");
        }
        let mut firing: Vec<Alert> = Vec::new();
        for answer in answers {
            match answer {
                Err(why) => return Asked::Failed(why),
                Ok(alerts) => {
                    for alert in alerts {
                        if !firing.contains(&alert) {
                            firing.push(alert);
                        }
                    }
                }
            }
        }
        Asked::Answered(firing)
    }

    /// The missing dashboards; `None` if Grafana requires a login for them.
    pub(crate) async fn missing_dashboards(self) -> Asked<Option<Vec<&'static str>>> {
        match &self.0.grafana {
            None => Asked::NotConfigured("grafana_url"),
            Some(endpoint) => Asked::of(grafana::missing_dashboards(endpoint).await),
        }
    }

    /// How many log lines there are.
    pub(crate) async fn log_lines(self, query: &LogQuery) -> Asked<u64> {
        let store = match (&self.0.loki, &self.0.elasticsearch) {
            (Some(endpoint), _) => LogStore::Loki(endpoint),
            (None, Some(endpoint)) => LogStore::Elasticsearch(endpoint),
            (None, None) => return Asked::NotConfigured("loki_url"),
        };
        Asked::of(store.count(query).await)
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
