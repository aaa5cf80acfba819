//! One way of reporting a switch: a database, a request, a program.

use bytes::Bytes;
use rehome_domain::ids::TenantId;
use rehome_engine::Moved;
use rehome_postgres::{PgPublisher, Switch, Wording};
use serde_json::json;

use crate::config::PublishWay;
use crate::delivery::{Carrier, Taken};
use crate::error::AppError;
use crate::http;
use crate::key::Key;

pub(super) enum Way {
    Database { publisher: Box<PgPublisher>, kind: &'static str },
    Carried { carrier: Carrier, deployment: String },
}

impl Way {
    pub(super) fn new(way: &PublishWay, deployment: &str) -> Result<Self, AppError> {
        let carried = |carrier| Self::Carried { carrier, deployment: deployment.to_owned() };
        Ok(match way {
            PublishWay::Database { url, wording } => {
                let kind = match wording {
                    Wording::EventsourcePy { .. } => "eventsource-py",
                    Wording::Statements(_) => "sql",
                };
                let publisher = PgPublisher::new((**url).clone(), wording.clone())?;
                Self::Database { publisher: Box::new(publisher), kind }
            }
            PublishWay::Http { endpoint, key_file } => {
                let key = key_file.as_deref();
                let key = key.map(|file| Key::read("publish.key_file", file)).transpose()?;
                let endpoint = Box::new(endpoint.clone());
                carried(Carrier::Http { endpoint, key, within: http::WITHIN })
            }
            PublishWay::Command { command, within } => {
                carried(Carrier::Command { command: command.clone(), within: *within })
            }
        })
    }

    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Database { kind, .. } => kind,
            Self::Carried { carrier, .. } => carrier.kind(),
        }
    }

    /// Whether it could be reported now, as far as that can be checked without reporting anything.
    pub(super) async fn ready(&self, tenant: TenantId) -> Result<(), String> {
        match self {
            Self::Database { publisher, .. } => {
                publisher.prepare(tenant).await.map_err(|fault| fault.to_string())
            }
            Self::Carried { carrier, .. } => carrier.ready().await,
        }
    }

    /// Reports the switch, and returns when it was acknowledged. `stores`: the application's names of the store that
    /// the tenant left, and of the one that it is in.
    pub(super) async fn publish(
        &self,
        moved: &Moved,
        name: &str,
        (from, to): (&str, &str),
    ) -> Result<(), String> {
        match self {
            Self::Database { publisher, .. } => {
                let switch = Switch {
                    tenant: moved.tenant,
                    name: name.to_owned(),
                    from: from.to_owned(),
                    to: to.to_owned(),
                    epoch: moved.epoch,
                    migration: moved.migration,
                };
                // Reported before, or superseded by a later one: both are success.
                publisher.publish(&switch).await.map(drop).map_err(|fault| fault.to_string())
            }
            Self::Carried { carrier, deployment } => {
                let document = json!({
                    "deployment": deployment,
                    "tenant": moved.tenant.to_string(),
                    "name": name,
                    "from": from,
                    "to": to,
                    "epoch": moved.epoch.0,
                    "migration": moved.migration.to_string(),
                });
                let values = [
                    ("REHOME_DEPLOYMENT", deployment.clone()),
                    ("REHOME_TENANT", moved.tenant.to_string()),
                    ("REHOME_TENANT_NAME", name.to_owned()),
                    ("REHOME_FROM", from.to_owned()),
                    ("REHOME_TO", to.to_owned()),
                    ("REHOME_EPOCH", moved.epoch.to_string()),
                    ("REHOME_MIGRATION", moved.migration.to_string()),
                ];
                match carrier.carry(Bytes::from(document.to_string()), &values).await? {
                    // It knows of a later switch.
                    Taken::Done | Taken::Conflict(_) => Ok(()),
                    Taken::NotNow(why) => Err(format!("not now: {why}")),
                }
            }
        }
    }
}
