//! `[monitoring]`: where the tools are that watch the deployment, and what is asked of it.

use super::table::Table;
use super::{ConfigError, Set};
use crate::monitoring::{Endpoint, Tools};

/// What the checklists ask, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitoringConfig {
    /// Where the tools are.
    pub tools: Tools,
    /// What 99 of 100 appends may take, in milliseconds.
    pub latency_p99_max_ms: u32,
}

impl Default for MonitoringConfig {
    fn default() -> Self {
        // The monitoring guide's threshold for the latency of the dual write.
        Self { tools: Tools::default(), latency_p99_max_ms: 100 }
    }
}

/// The keys, and whether they are numbers.
const KEYS: [(&str, bool); 6] = [
    ("prometheus_url", false),
    ("alertmanager_url", false),
    ("grafana_url", false),
    ("loki_url", false),
    ("elasticsearch_url", false),
    ("latency_p99_max_ms", true),
];

const MILLIS: &str = "a whole number of milliseconds from 1 to 600000";

impl MonitoringConfig {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (key, is_number) in KEYS {
            let wanted = if is_number { MILLIS } else { "a string" };
            if let Some(set) = table.plain(key, wanted, is_number)? {
                config.set(key, &set)?;
            }
        }
        table.end()?;
        Ok(config)
    }

    /// Whether there is such a key.
    pub(super) fn key(name: &str) -> Option<&'static str> {
        KEYS.iter().map(|(key, _)| *key).find(|key| *key == name)
    }

    /// Sets one key from its text, wherever it comes from.
    pub(super) fn set(&mut self, key: &'static str, set: &Set<String>) -> Result<(), ConfigError> {
        let refuse = |problem: &str| set.place.refuse(format!("monitoring.{key} {problem}"));
        let tools = &mut self.tools;
        let place = match key {
            "prometheus_url" => &mut tools.prometheus,
            "alertmanager_url" => &mut tools.alertmanager,
            "grafana_url" => &mut tools.grafana,
            "loki_url" => &mut tools.loki,
            "elasticsearch_url" => &mut tools.elasticsearch,
            _ => {
                let millis = set.value.parse().ok().filter(|ms| (1..=600_000).contains(ms));
                let wanted = || refuse(&format!("must be {MILLIS}"));
                self.latency_p99_max_ms = millis.ok_or_else(wanted)?;
                return Ok(());
            }
        };
        *place = Some(Endpoint::parse(&set.value).map_err(refuse)?);
        Ok(())
    }
}
