//! One way of telling: a database, a request, a program.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use rehome_domain::text;
use rehome_engine::Moved;
use rehome_postgres::{PgPublisher, Switch, Wording};
use serde_json::json;
use tokio::process::Command;

use crate::config::PublishWay;
use crate::error::AppError;
use crate::key::Key;
use crate::monitoring::Endpoint;

/// The header with the signature of a document.
const SIGNATURE: &str = "rehome-signature";
/// So many characters of what a program says are repeated.
const SAID_MAX: usize = 200;

pub(super) enum Way {
    Database { publisher: Box<PgPublisher>, kind: &'static str },
    Http { endpoint: Endpoint, key: Option<Key>, deployment: String },
    Command { command: Vec<String>, within: Duration, deployment: String },
}

impl Way {
    pub(super) fn new(way: &PublishWay, deployment: &str) -> Result<Self, AppError> {
        let deployment = deployment.to_owned();
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
                Self::Http { endpoint: endpoint.clone(), key, deployment }
            }
            PublishWay::Command { command, within } => {
                Self::Command { command: command.clone(), within: *within, deployment }
            }
        })
    }

    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Database { kind, .. } => kind,
            Self::Http { .. } => "http",
            Self::Command { .. } => "command",
        }
    }

    /// Whether it could be told now, as far as that can be known without telling anything.
    pub(super) async fn ready(&self) -> Result<(), String> {
        match self {
            Self::Database { publisher, .. } => {
                publisher.prepare().await.map_err(|fault| fault.to_string())
            }
            Self::Http { endpoint, .. } => endpoint.listens().await,
            // Whether a program is there is known when it is started.
            Self::Command { .. } => Ok(()),
        }
    }

    /// Tells, and comes back when it was acknowledged. `stores`: what the application calls the one that
    /// the tenant left, and the one that it is in.
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
                // Told before, or overtaken by a later one: both are what was wanted.
                publisher.publish(&switch).await.map(drop).map_err(|fault| fault.to_string())
            }
            Self::Http { endpoint, key, deployment } => {
                let document = json!({
                    "deployment": deployment,
                    "tenant": moved.tenant.to_string(),
                    "name": name,
                    "from": from,
                    "to": to,
                    "epoch": moved.epoch.0,
                    "migration": moved.migration.to_string(),
                });
                let document = Bytes::from(document.to_string());
                let signed = key.as_ref().map(|key| format!("sha256={}", key.sign(&[&document])));
                let headers: Vec<_> =
                    signed.into_iter().map(|signature| (SIGNATURE, signature)).collect();
                match endpoint.post(&headers, document).await? {
                    // 409: it knows of a later switch.
                    200..=299 | 409 => Ok(()),
                    status => Err(format!("{endpoint} answered with status {status}")),
                }
            }
            Self::Command { command, within, deployment } => {
                let values = [
                    ("REHOME_DEPLOYMENT", deployment.clone()),
                    ("REHOME_TENANT", moved.tenant.to_string()),
                    ("REHOME_TENANT_NAME", name.to_owned()),
                    ("REHOME_FROM", from.to_owned()),
                    ("REHOME_TO", to.to_owned()),
                    ("REHOME_EPOCH", moved.epoch.to_string()),
                    ("REHOME_MIGRATION", moved.migration.to_string()),
                ];
                run(command, &values, *within).await
            }
        }
    }
}

/// Runs the program; it acknowledges by ending with 0.
async fn run(
    command: &[String],
    values: &[(&str, String)],
    within: Duration,
) -> Result<(), String> {
    let [program, arguments @ ..] = command else { return Err("there is no program".to_owned()) };
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    child.envs(values.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
    let ended = tokio::time::timeout(within, child.output()).await;
    let ended = ended.map_err(|_| format!("{program} did not end within {within:?}"))?;
    let output = ended.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = text::one_line(said.trim()).chars().take(SAID_MAX).collect();
    Err(format!("{program} ended with {}: {said}", output.status))
}
