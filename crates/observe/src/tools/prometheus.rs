//! Prometheus: its HTTP API, <https://prometheus.io/docs/prometheus/latest/querying/api/>.

use rehome_domain::ids::{MigrationId, TenantId};
use serde_json::Value;

use rehome_app::http::Endpoint;

use super::{Alert, encoded};

/// A Prometheus server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prometheus<'a>(pub(super) &'a Endpoint);

/// What has samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampled<'a> {
    /// Any process of rehome.
    AnyProcess,
    /// The process of this name.
    Process(&'a str),
    /// A migration, whichever process exports it.
    Migration(MigrationId),
}

/// An alert rule that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) name: String,
    /// Whether its last evaluation succeeded, or there was none yet.
    pub(crate) healthy: bool,
}

impl Prometheus<'_> {
    async fn data(self, path: &str) -> Result<Value, String> {
        let mut answer = self.0.get(path).await?.json()?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(format!("{}: it answered: {}", self.0, answer["error"])),
        }
    }

    /// The value of an expression; `None` where it has none. Of several, the first.
    pub(crate) async fn value(self, expression: &str) -> Result<Option<f64>, String> {
        let data = self.data(&format!("/api/v1/query?query={}", encoded(expression))).await?;
        let value = data["result"][0]["value"][1].as_str();
        Ok(value.and_then(|text| text.parse::<f64>().ok()).filter(|value| value.is_finite()))
    }

    /// How old the youngest sample is, in seconds.
    pub(crate) async fn age_of(self, of: Sampled<'_>) -> Result<Option<f64>, String> {
        let selector = match of {
            Sampled::AnyProcess => "rehome_build_info".to_owned(),
            // A name is a host's, a number and letters; in a label these two are escaped.
            Sampled::Process(name) => {
                let name = name.replace('\\', "\\\\").replace('"', "\\\"");
                format!("rehome_process_info{{process=\"{name}\"}}")
            }
            Sampled::Migration(id) => format!("migration_state{{migration_id=\"{id}\"}}"),
        };
        self.value(&format!("time() - max(timestamp({selector}))")).await
    }

    /// A quantile of the tenant's append latency over a window, in seconds, over all processes.
    pub(crate) async fn append_latency(
        self,
        tenant: TenantId,
        quantile: f64,
        window_s: u64,
    ) -> Result<Option<f64>, String> {
        self.value(&format!(
            "histogram_quantile({quantile}, sum by (le) (rate(append_duration_seconds_bucket\
             {{tenant_id=\"{tenant}\",outcome=\"ok\"}}[{window_s}s])))"
        ))
        .await
    }

    /// Writers that wait for the migration's cutover, in all processes.
    pub(crate) async fn blocked_writers(self, id: MigrationId) -> Result<Option<f64>, String> {
        self.value(&format!("sum(cutover_blocked_writers{{migration_id=\"{id}\"}})")).await
    }

    /// The alert rules that are loaded.
    pub(crate) async fn rules(self) -> Result<Vec<Rule>, String> {
        let data = self.data("/api/v1/rules?type=alert").await?;
        let groups = data["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        Ok(rules
            .filter_map(|rule| {
                let name = rule["name"].as_str()?.to_owned();
                Some(Rule { name, healthy: rule["health"] != "err" })
            })
            .collect())
    }

    /// The alerts that fire.
    pub(crate) async fn alerts(self) -> Result<Vec<Alert>, String> {
        let data = self.data("/api/v1/alerts").await?;
        let alerts = data["alerts"].as_array().into_iter().flatten();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        Ok(firing.filter_map(|alert| Alert::read(&alert["labels"])).collect())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use rehome_app::http::fake::Fake;

    #[tokio::test]
    async fn answers_are_read_as_prometheus_gives_them() {
        let fake = Fake::start(|path| {
            let data = match path {
                "/api/v1/rules?type=alert" => {
                    r#"{"groups":[{"name":"g","rules":[
                        {"name":"MigrationFailed","health":"ok","type":"alerting"},
                        {"name":"Other","health":"err","lastError":"no"}]}]}"#
                }
                "/api/v1/alerts" => {
                    r#"{"alerts":[
                        {"labels":{"alertname":"MigrationFailed","migration_id":"m"},"state":"firing"},
                        {"labels":{"alertname":"MigrationHighSyncLag"},"state":"pending"}]}"#
                }
                path if path.contains("rehome%5Fbuild%5Finfo") => {
                    r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"4.5"]}]}"#
                }
                path if path.contains("cutover") => {
                    r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"NaN"]}]}"#
                }
                _ => r#"{"resultType":"vector","result":[]}"#,
            };
            (200, format!(r#"{{"status":"success","data":{data}}}"#))
        })
        .await;
        let endpoint = Endpoint::parse(&fake.url()).unwrap();
        let prometheus = Prometheus(&endpoint);
        let rules = prometheus.rules().await.unwrap();
        let named: Vec<_> = rules.iter().map(|rule| (&*rule.name, rule.healthy)).collect();
        assert_eq!(named, [("MigrationFailed", true), ("Other", false)]);
        let alerts = prometheus.alerts().await.unwrap();
        assert_eq!((alerts.len(), alerts[0].migration_id.as_deref()), (1, Some("m")));
        assert_eq!(prometheus.age_of(Sampled::AnyProcess).await, Ok(Some(4.5)));
        let id = MigrationId::new(Uuid::from_u128(5));
        assert_eq!(prometheus.age_of(Sampled::Migration(id)).await, Ok(None));
        assert_eq!(prometheus.blocked_writers(id).await, Ok(None));
    }

    #[tokio::test]
    async fn a_query_that_is_refused_is_told() {
        let answer = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        let fake = Fake::start(move |_| (200, answer.to_owned())).await;
        let endpoint = Endpoint::parse(&fake.url()).unwrap();
        assert!(Prometheus(&endpoint).value("(").await.unwrap_err().contains("parse error"));
    }
}
