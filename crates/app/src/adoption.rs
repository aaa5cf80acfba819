//! Adopting a store whose events are in a table of another library, and releasing it.

use rehome_api as api;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::migration::Migration;
use rehome_ports::Migrations;

use crate::config::Config;
use crate::deployment::{Access, Adoption, Deployment, unknown_store};
use crate::error::AppError;

/// Migrations that are looked at in one page.
const PAGE: usize = 500;

impl Deployment {
    /// Puts the guard beside the table of a store; with `dry_run` only says what that would do. Makes the
    /// control plane if there is none.
    pub async fn adopt_store(
        config: &Config,
        id: &StoreId,
        dry_run: bool,
    ) -> Result<api::StoreAdoption, AppError> {
        if dry_run {
            // Looking needs no control plane.
            let adoption = Self::table_alone(config, id).ok_or_else(|| no_table(config, id))?;
            let (installed, steps) = (adoption.is_installed().await?, adoption.plan().await?);
            let (store, layout) = (id.to_string(), adoption.layout().name.clone());
            return Ok(api::StoreAdoption { store, layout, installed, changed: false, steps });
        }
        let deployment = Self::open(config, Access::Create).await?;
        let adoption = deployment.adoption(id)?.clone();
        let was_there = adoption.is_installed().await?;
        let steps = adoption.plan().await?;
        if !was_there {
            adoption.adopt().await?;
        }
        deployment.close().await;
        Ok(api::StoreAdoption {
            store: id.to_string(),
            layout: adoption.layout().name.clone(),
            installed: true,
            changed: !was_there,
            steps,
        })
    }

    /// Takes the guard out again. Refused while a migration from or to the store is under way, and while a
    /// tenant that lives elsewhere is refused there, unless no old writer is left.
    pub async fn release_store(
        config: &Config,
        id: &StoreId,
        no_writers_left: bool,
        reason: Option<&str>,
    ) -> Result<api::StoreAdoption, AppError> {
        let deployment = Self::open(config, Access::Existing).await?;
        let released = deployment.release(id, no_writers_left, reason).await;
        deployment.close().await;
        released
    }

    async fn release(
        &self,
        id: &StoreId,
        no_writers_left: bool,
        reason: Option<&str>,
    ) -> Result<api::StoreAdoption, AppError> {
        let adoption = self.adoption(id)?;
        let running = self.running_with(id).await?;
        if !running.is_empty() {
            let running: Vec<_> = running.iter().map(|one| one.id.to_string()).collect();
            return Err(AppError::refused(format!(
                "store \"{id}\" has migrations that are not over: {}; finish or abort them first",
                running.join(", ")
            )));
        }
        let steps = adoption.release(no_writers_left).await?;
        tracing::warn!(
            target: "eventsource.migration",
            store = id.as_str(),
            operation = "store_released",
            no_writers_left,
            reason,
            "Store released"
        );
        let layout = adoption.layout().name.clone();
        Ok(api::StoreAdoption {
            store: id.to_string(),
            layout,
            installed: false,
            changed: true,
            steps,
        })
    }

    /// A position of one store's table, as another store's table has it: what was read up to the one was
    /// read up to the other.
    pub async fn translate_position(
        config: &Config,
        tenant: TenantId,
        position: i64,
        from: &StoreId,
        to: &StoreId,
    ) -> Result<api::TranslatedPosition, AppError> {
        let deployment = Self::open(config, Access::Existing).await?;
        let translated = deployment.translated(tenant, position, from, to).await;
        deployment.close().await;
        translated
    }

    async fn translated(
        &self,
        tenant: TenantId,
        position: i64,
        from: &StoreId,
        to: &StoreId,
    ) -> Result<api::TranslatedPosition, AppError> {
        let without = |id: &StoreId| {
            AppError::refused(format!(
                "store \"{id}\" has no positions of another library's table; its events are known by their \
                 numbers"
            ))
        };
        let read = self.store(from)?.number_of_position(tenant, position).await?;
        let events = read.ok_or_else(|| without(from))?;
        // The copy may not have got so far; what it lacks is not skipped when it comes.
        let there = self.store(to)?.position_of_number(tenant, events).await?;
        Ok(api::TranslatedPosition {
            tenant_id: tenant.uuid(),
            from: from.to_string(),
            position,
            to: to.to_string(),
            translated: there.ok_or_else(|| without(to))?,
            events,
        })
    }

    /// The migrations from or to a store that are not over, or whose window is open.
    async fn running_with(&self, id: &StoreId) -> Result<Vec<Migration>, AppError> {
        let control = self.engine().control();
        let mut found = Vec::new();
        let mut before = None;
        loop {
            let which = Migrations { tenant: None, phase: None, before, limit: PAGE };
            let page = control.migrations(which).await?;
            before = page.last().map(|migration| migration.id);
            if before.is_none() {
                return Ok(found);
            }
            found.extend(page.into_iter().filter(|migration| {
                (migration.source == *id || migration.target == *id) && migration.is_at_work()
            }));
        }
    }

    fn adoption(&self, id: &StoreId) -> Result<&Adoption, AppError> {
        self.adopted(id).ok_or_else(|| no_table(self.config(), id))
    }
}

fn no_table(config: &Config, id: &StoreId) -> AppError {
    if !config.stores.iter().any(|store| store.id == *id) {
        return unknown_store(config, id);
    }
    AppError::refused(format!(
        "store \"{id}\" has tables of rehome's own; `layout` of a [[stores]] entry names the layout of another \
         library's table"
    ))
}
