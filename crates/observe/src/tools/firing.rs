//! The firing alerts of rehome, for pages that show them continuously.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Alert, Asked, Tools};

/// How long an answer is shown before the tools are queried again.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// Maximum time that a viewer waits for the tools.
const WITHIN: Duration = Duration::from_secs(1);
/// What the names of our alerts begin with.
const OURS: [&str; 3] = ["Migration", "Rehome", "Tenant"];

/// The tools' answer about the alerts that rehome ships.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Firing {
    /// No tool is configured: `[monitoring] prometheus_url` or `alertmanager_url`.
    NotConfigured,
    /// The query failed.
    Unknown(String),
    /// Those that fire, by name.
    Alerts(Vec<FiringAlert>),
}

/// An alert that fires, as many times as it has things to fire about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FiringAlert {
    /// Its name; `docs/monitoring/alerts.md` explains what to do.
    pub name: String,
    /// The migration that it is about.
    pub migration_id: Option<String>,
    /// The tenant that it is about.
    pub tenant_id: Option<String>,
}

/// The last answer, and when it came.
#[derive(Debug, Default)]
pub(crate) struct LastFiring(Mutex<Option<(Instant, Firing)>>);

impl LastFiring {
    /// The alerts that fire now, or did some seconds ago. Whatever the number of viewers, one query runs at a time.
    pub(crate) async fn now(&self, tools: Tools<'_>) -> Firing {
        let mut last = self.0.lock().await;
        match &*last {
            Some((at, firing)) if at.elapsed() < GOOD_FOR => firing.clone(),
            _ => {
                let asked = tokio::time::timeout(WITHIN, tools.alerts()).await;
                let firing = firing(asked.unwrap_or_else(|_| {
                    Asked::Failed(format!("no response within {} s", WITHIN.as_secs()))
                }));
                *last = Some((Instant::now(), firing.clone()));
                firing
            }
        }
    }
}

fn firing(asked: Asked<Vec<Alert>>) -> Firing {
    match asked {
        Asked::NotConfigured(_) => Firing::NotConfigured,
        Asked::Failed(why) => Firing::Unknown(why),
        Asked::Answered(alerts) => {
            let ours = |alert: &Alert| OURS.iter().any(|ours| alert.name.starts_with(ours));
            let mut ours: Vec<FiringAlert> = alerts
                .into_iter()
                .filter(ours)
                .map(|Alert { name, migration_id, tenant_id }| FiringAlert {
                    name,
                    migration_id,
                    tenant_id,
                })
                .collect();
            ours.sort();
            Firing::Alerts(ours)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rehome_app::config;
    use rehome_app::http::Endpoint;
    use rehome_app::http::fake::Fake;

    #[tokio::test]
    async fn ours_are_told_and_the_tools_are_asked_once_for_many_who_look() {
        let fake = Fake::start(|_| {
            let alerts = serde_json::json!([
                { "labels": { "alertname": "DiskFull" } },
                { "labels": { "alertname": "TenantWritesBlocked", "tenant_id": "t" } },
                { "labels": { "alertname": "MigrationFailed", "migration_id": "m" } },
            ]);
            (200, alerts.to_string())
        })
        .await;
        let alertmanager = Some(Endpoint::parse(&fake.url()).unwrap());
        let (last, tools) =
            (LastFiring::default(), config::Tools { alertmanager, ..config::Tools::default() });
        let of = |name: &str, migration_id: Option<&str>, tenant_id: Option<&str>| FiringAlert {
            name: name.to_owned(),
            migration_id: migration_id.map(str::to_owned),
            tenant_id: tenant_id.map(str::to_owned),
        };
        for _ in 0..3 {
            assert_eq!(
                last.now(Tools(&tools)).await,
                Firing::Alerts(vec![
                    of("MigrationFailed", Some("m"), None),
                    of("TenantWritesBlocked", None, Some("t")),
                ])
            );
        }
        assert_eq!(fake.heard().len(), 1);
    }

    #[tokio::test]
    async fn who_cannot_be_asked_is_told_of() {
        let nobody = LastFiring::default().now(Tools(&config::Tools::default())).await;
        assert_eq!(nobody, Firing::NotConfigured);
        let fake = Fake::start(|_| (500, String::new())).await;
        let alertmanager = Some(Endpoint::parse(&fake.url()).unwrap());
        let tools = config::Tools { alertmanager, ..config::Tools::default() };
        assert!(matches!(LastFiring::default().now(Tools(&tools)).await, Firing::Unknown(_)));
    }
}
