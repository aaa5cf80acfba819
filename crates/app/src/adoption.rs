//! Adopting a store whose events are in a table of another library, and releasing it.

use rehome_api as api;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::ledger::Ledger;
use rehome_domain::migration::Migration;
use rehome_domain::route::Route;
use rehome_ports::{CheckpointRow, ControlError, Migrations};
use uuid::Uuid;

use crate::config::Config;
use crate::deployment::{Access, Adoption, Deployment, unknown_store};
use crate::error::AppError;

/// Migrations read in one page.
const PAGE: usize = 500;

/// Installs the guard beside the table of a store; with `dry_run` only returns the steps. Creates the
/// control plane if there is none.
pub async fn adopt(
    config: &Config,
    id: &StoreId,
    dry_run: bool,
) -> Result<api::StoreAdoption, AppError> {
    if dry_run {
        // Looking needs no control plane.
        let adoption = Deployment::table_alone(config, id).ok_or_else(|| no_table(config, id))?;
        let (installed, steps) = (adoption.is_installed().await?, adoption.plan().await?);
        let (store, layout) = (id.to_string(), adoption.layout().name.clone());
        return Ok(api::StoreAdoption { store, layout, installed, changed: false, steps });
    }
    let deployment = Deployment::open(config, Access::Create).await?;
    let adoption = adoption_of(&deployment, id)?.clone();
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

/// Removes the guard. Refused while a migration from or to the store is running, and while the store still refuses
/// a tenant that lives elsewhere, unless no old writer is left.
pub async fn release(
    config: &Config,
    id: &StoreId,
    no_writers_left: bool,
    reason: Option<&str>,
) -> Result<api::StoreAdoption, AppError> {
    let deployment = Deployment::open(config, Access::Existing).await?;
    let released = release_guard(&deployment, id, no_writers_left, reason).await;
    deployment.close().await;
    released
}

async fn release_guard(
    deployment: &Deployment,
    id: &StoreId,
    no_writers_left: bool,
    reason: Option<&str>,
) -> Result<api::StoreAdoption, AppError> {
    let adoption = adoption_of(deployment, id)?;
    let running = running_with(deployment, id).await?;
    if !running.is_empty() {
        let running: Vec<_> = running.iter().map(|one| one.id.to_string()).collect();
        return Err(AppError::refused(format!(
            "store \"{id}\" has unfinished migrations: {}; finish or abort them first",
            running.join(", ")
        )));
    }
    let steps = adoption.release(no_writers_left).await?;
    tracing::info!(
        target: "eventsource.migration",
        store = id.as_str(),
        operation = "store_released",
        no_writers_left,
        reason,
        "Store released"
    );
    let layout = adoption.layout().name.clone();
    Ok(api::StoreAdoption { store: id.to_string(), layout, installed: false, changed: true, steps })
}

/// Removes a tenant's guard in the store that has its authority; its rows stay. Refused while a
/// migration of the tenant is running, or a window is open.
pub async fn unguard(
    deployment: &Deployment,
    tenant: TenantId,
) -> Result<api::TenantUnguarded, AppError> {
    let about = |error: AppError| error.tenant(tenant);
    let route = settled_route(deployment, tenant).await.map_err(about)?;
    let store = deployment.store(&route.store).map_err(|error| about(error.into()))?;
    let (by, epoch) = (Uuid::now_v7(), route.epoch);
    let found = async {
        if store.layout().await?.is_none() {
            return Err(no_table(deployment.config(), &route.store));
        }
        let ledger = store.leave(tenant, epoch, by).await?;
        // Whatever began since calls it off, and whatever began before is seen now.
        settled_route(deployment, tenant).await?;
        store.unguard(tenant, epoch, by).await?;
        Ok(ledger)
    };
    let ledger = found.await.map_err(about)?;
    tracing::info!(
        target: "eventsource.migration",
        store = route.store.as_str(),
        %tenant,
        operation = "tenant_unguarded",
        "Tenant unguarded"
    );
    Ok(api::TenantUnguarded {
        tenant_id: tenant.uuid(),
        store: route.store.to_string(),
        changed: ledger != Ledger::ABSENT,
    })
}

/// The route of a tenant without a running migration or an open window.
async fn settled_route(deployment: &Deployment, tenant: TenantId) -> Result<Route, AppError> {
    let control = deployment.engine().control();
    let route = control.route(tenant).await?.ok_or(ControlError::UnknownTenant(tenant))?;
    let last = match route.migration {
        Some((id, _)) => Some(control.migration(id).await?),
        None => None,
    };
    if let Some(running) = last.filter(Migration::is_at_work) {
        return Err(AppError::refused(format!(
            "migration {} has not ended, or its window is open, and the guard protects its rows; finish \
                 or abort it, or close its window, first",
            running.id
        )));
    }
    Ok(route)
}

/// Translates a position of one store's table to another store's table: everything read up to the one was
/// read up to the other.
pub async fn translate_position(
    deployment: &Deployment,
    tenant: TenantId,
    position: i64,
    from: &StoreId,
    to: &StoreId,
) -> Result<api::TranslatedPosition, AppError> {
    let without = |id: &StoreId| {
        AppError::refused(format!(
            "store \"{id}\" has no positions of another library's table; its events are identified by their \
                 numbers"
        ))
    };
    let read = deployment.store(from)?.number_of_position(tenant, position).await?;
    let events = read.ok_or_else(|| without(from))?;
    // The copy may not have got so far; what it lacks is not skipped when it comes.
    let target = deployment.store(to)?;
    let there = match target.position_of_number(tenant, events).await? {
        // In rehome's own tables, the position is the number.
        None if target.layout().await?.is_none() => i64::try_from(events).ok(),
        there => there,
    };
    Ok(api::TranslatedPosition {
        tenant_id: tenant.uuid(),
        from: from.to_string(),
        position,
        to: to.to_string(),
        translated: there.ok_or_else(|| without(to))?,
        events,
    })
}

/// Copies a tenant's checkpoints, in the tables of the layout that have them: each is written at the other
/// store with a translated position that skips nothing, unless a row that is as far is there.
pub async fn move_checkpoints(
    deployment: &Deployment,
    tenant: TenantId,
    from: &StoreId,
    to: &StoreId,
) -> Result<api::MovedCheckpoints, AppError> {
    let (source, target) = (deployment.store(from)?, deployment.store(to)?);
    let mut moved = Vec::new();
    for row in source.checkpoint_rows(tenant).await? {
        let found = translate_position(deployment, tenant, row.position, from, to).await?;
        let there = CheckpointRow { position: found.translated, ..row.clone() };
        moved.push(api::MovedCheckpoint {
            written: target.put_checkpoint_row(&there).await?,
            table: row.table,
            row: row.columns.into_iter().collect(),
            position: found.position,
            translated: found.translated,
        });
    }
    let tables = source.beside(tenant).await?;
    let left = tables.iter().filter(|(table, _)| !table.moves());
    let left = left.map(|(table, rows)| table.on_a_move(*rows)).collect();
    tracing::info!(
        target: "eventsource.migration",
        store = to.as_str(),
        %tenant,
        operation = "checkpoints_moved",
        rows = moved.len(),
        "Checkpoints moved"
    );
    let (from, to) = (from.to_string(), to.to_string());
    Ok(api::MovedCheckpoints { tenant_id: tenant.uuid(), from, to, moved, left })
}

/// The migrations from or to a store that are not over, or whose window is open.
async fn running_with(deployment: &Deployment, id: &StoreId) -> Result<Vec<Migration>, AppError> {
    let control = deployment.engine().control();
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

fn adoption_of<'a>(deployment: &'a Deployment, id: &StoreId) -> Result<&'a Adoption, AppError> {
    deployment.adopted(id).ok_or_else(|| no_table(deployment.config(), id))
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
