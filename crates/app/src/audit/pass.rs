//! All logs, a few at a time, for whoever has little time: health.

use std::time::Duration;

use rehome_domain::ids::MigrationId;
use rehome_ports::Migrations;
use rehome_ports::log_chain::Followed;
use tokio::time::Instant;

use super::follow;
use crate::deployment::{Deployment, is_server};
use crate::error::AppError;

/// Logs read in one go.
const LOGS: usize = 100;
/// When all logs were read, so long until they are read again.
const AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// Where the pass is. Can be cut off anywhere; what was found is in the deployment's findings.
#[derive(Default)]
pub(crate) struct Pass {
    before: Option<MigrationId>,
    ended: Option<Instant>,
}

impl Pass {
    /// Goes on with some logs, the newest migration's first.
    pub(crate) async fn go_on(&mut self, deployment: &Deployment) -> Result<(), AppError> {
        if self.ended.is_some_and(|ended| ended.elapsed() < AGAIN_AFTER) {
            return Ok(());
        }
        self.ended = None;
        let control = deployment.engine().control();
        let which = Migrations { before: self.before, limit: LOGS, ..Migrations::default() };
        let some = control.migrations(which).await?;
        for migration in &some {
            let looked = follow(&**control, migration.id, Followed::START, |_, _, _| true).await?;
            let broken = looked.broken.clone();
            let is_news = deployment.findings().looked_at(migration.id, migration.tenant, broken);
            if let Some(broken) =
                looked.broken.filter(|_| is_news && is_server(deployment.holder()))
            {
                let (migration_id, tenant_id) = (migration.id, migration.tenant);
                tracing::error!(%migration_id, %tenant_id, "a log is not as it was recorded: {broken}");
            }
            self.before = Some(migration.id);
        }
        if some.len() < LOGS {
            *self = Self { before: None, ended: Some(Instant::now()) };
        }
        Ok(())
    }
}
