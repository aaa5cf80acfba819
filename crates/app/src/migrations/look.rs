//! How migrations look: one, many, their log.

use std::time::Duration;

use rehome_api as api;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{Fact, Migration, Phase};
use rehome_engine::Progress;
use rehome_engine::migration::OperationError;
use rehome_ports::{ControlError, LogEntry, Migrations};

use crate::deployment::Deployment;
use crate::documents;
use crate::error::AppError;

/// Log entries read at once.
const PAGE: usize = 500;

impl Deployment {
    /// A migration and how far it is.
    pub async fn migration(&self, id: MigrationId) -> Result<api::Migration, AppError> {
        let migration = self.engine().control().migration(id).await?;
        self.describe(&migration).await
    }

    /// The revision of the route of the migration's tenant: what is changed under it is what was seen.
    pub async fn revision(&self, tenant: TenantId) -> Result<u64, AppError> {
        let route = self.engine().control().route(tenant).await?;
        Ok(route.ok_or(ControlError::UnknownTenant(tenant))?.rev)
    }

    /// Migrations, newest first; `before`: those that come after this one in that order.
    pub async fn migrations(
        &self,
        tenant: Option<TenantId>,
        phase: Option<Phase>,
        before: Option<MigrationId>,
        limit: usize,
    ) -> Result<Vec<api::Migration>, AppError> {
        let which = Migrations { tenant, phase, limit, before };
        let mut documents = Vec::new();
        for migration in self.engine().control().migrations(which).await? {
            documents.push(self.describe(&migration).await?);
        }
        Ok(documents)
    }

    /// The row with its numbers. The ledgers tell of the tenant's last migration only; of one that
    /// is migrated its log tells, for ever.
    pub(crate) async fn describe(&self, migration: &Migration) -> Result<api::Migration, AppError> {
        let control = self.engine().control();
        let route = control.route(migration.tenant).await?;
        let is_last =
            route.and_then(|route| route.migration).is_some_and(|(id, _)| id == migration.id);
        let progress = match migration.state.phase() {
            Phase::Migrated => self.switched(migration).await?,
            Phase::RolledBack if !is_last => None,
            _ => match self.operations().status(migration.id).await {
                Ok(status) => {
                    return Ok(documents::migration(&status.migration, status.progress.as_ref()));
                }
                // A store that is no longer configured leaves its numbers unknown.
                Err(OperationError::UnknownStore(_)) => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(documents::migration(migration, progress.as_ref()))
    }

    /// The numbers of a migration that is over, from its log.
    async fn switched(&self, migration: &Migration) -> Result<Option<Progress>, AppError> {
        let control = self.engine().control();
        let marks = control.marks(migration.id).await?;
        let mut after = 0;
        let mut head = None;
        loop {
            let entries = control.log(migration.id, after, PAGE).await?;
            for entry in &entries {
                if let Fact::Switched { head: at } = &entry.fact {
                    head = Some(*at);
                }
            }
            match entries.last() {
                Some(last) if entries.len() == PAGE => after = last.index,
                _ => break,
            }
        }
        Ok(head.map(|head| Progress {
            events_copied: head.seq,
            events_total: head.seq,
            read_back_seq: marks
                .read_back
                .filter(|mark| mark.m == migration.m)
                // The last events are read back in the pause, just before the switch.
                .map_or(head.seq, |mark| mark.head.seq.max(head.seq)),
            ..Progress::default()
        }))
    }

    /// Who works on a migration by its lease, for people.
    pub async fn lease(&self, id: MigrationId) -> Result<Option<String>, AppError> {
        let lease = self.engine().control().lease_holder(id).await?;
        Ok(lease.map(|lease| lease.holder))
    }

    /// A migration's options.
    pub async fn migration_options(&self, id: MigrationId) -> Result<api::Options, AppError> {
        let migration = self.engine().control().migration(id).await?;
        Ok(crate::options::document(&migration.options))
    }

    /// All that was recorded of a migration.
    pub(crate) async fn read_log(&self, id: MigrationId) -> Result<Vec<LogEntry>, ControlError> {
        let control = self.engine().control();
        let mut log: Vec<LogEntry> = Vec::new();
        loop {
            let after = log.last().map_or(0, |entry| entry.index);
            let page = control.log(id, after, PAGE).await?;
            let over = page.len() < PAGE;
            log.extend(page);
            if over {
                return Ok(log);
            }
        }
    }

    /// The log after entry `after`, a page of it.
    pub async fn log(&self, id: MigrationId, after: u64) -> Result<Vec<api::LogEntry>, AppError> {
        self.engine().control().migration(id).await?;
        let entries = self.engine().control().log(id, after, PAGE).await?;
        Ok(entries.iter().map(documents::log_entry).collect())
    }

    /// Shows a migration to `seen` whenever it has changed, until it has come to its end or `seen`
    /// says no.
    pub async fn watch(
        &self,
        id: MigrationId,
        every: Duration,
        mut seen: impl FnMut(&api::Migration) -> bool,
    ) -> Result<api::Migration, AppError> {
        let mut last = None;
        loop {
            let now = self.migration(id).await?;
            let over = ["migrated", "failed", "rolled_back"].contains(&now.state.as_str());
            let go_on = last.as_ref() == Some(&now) || seen(&now);
            if over || !go_on {
                return Ok(now);
            }
            last = Some(now);
            tokio::time::sleep(every).await;
        }
    }
}
