//! `[monitoring]`: the tools that watch the deployment, and the limits of the checklists.

use super::ConfigError;
use super::keys::monitoring;
use super::values::Values;
use crate::http::Endpoint;

/// Where the tools are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tools {
    /// Prometheus.
    pub prometheus: Option<Endpoint>,
    /// Alertmanager.
    pub alertmanager: Option<Endpoint>,
    /// Grafana.
    pub grafana: Option<Endpoint>,
    /// Loki.
    pub loki: Option<Endpoint>,
    /// Elasticsearch; the path of its url names the index.
    pub elasticsearch: Option<Endpoint>,
}

impl Tools {
    /// Whether a url of theirs holds a password.
    pub(crate) fn hold_secret(&self) -> bool {
        let Self { prometheus, alertmanager, grafana, loki, elasticsearch } = self;
        let all = [prometheus, alertmanager, grafana, loki, elasticsearch];
        all.into_iter().flatten().any(Endpoint::has_password)
    }
}

/// The tools that the checklists query, and their limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitoringConfig {
    /// Where the tools are.
    pub tools: Tools,
    /// The longest accepted p99 latency of appends, in milliseconds.
    pub latency_p99_max_ms: u32,
}

impl MonitoringConfig {
    /// From the values that were set, and the defaults of the others.
    pub(super) fn of(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            tools: Tools {
                prometheus: values.value(&monitoring::PROMETHEUS_URL)?,
                alertmanager: values.value(&monitoring::ALERTMANAGER_URL)?,
                grafana: values.value(&monitoring::GRAFANA_URL)?,
                loki: values.value(&monitoring::LOKI_URL)?,
                elasticsearch: values.value(&monitoring::ELASTICSEARCH_URL)?,
            },
            latency_p99_max_ms: values.effective(&monitoring::LATENCY_P99_MAX_MS)?,
        })
    }
}
