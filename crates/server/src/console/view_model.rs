//! What the pages show, gathered.

use std::time::Duration;

use futures_util::future::try_join_all;
use rehome_api::{Checklist, ChecklistPhase};
use rehome_app::{AppError, MigrationsWanted, TenantsWanted, drains, migrations, stores, tenants};
use rehome_domain::ids::{DrainId, MigrationId, TenantId};
use rehome_domain::migration::Phase;
use rehome_observe::Observed;
use rehome_ports::ControlError;
use rehome_ports::clock::{Clock as _, SystemClock};
use tokio::time::timeout;

use super::pages::drains::DrainView;
use super::pages::migration::View;
use super::pages::overview::{Overview, Store};
use super::pages::tenant::{self, TenantView};
use crate::admin::is_seen;
use crate::auth::Caller;

/// Longest that the overview waits for the list.
pub(super) const LIST_WITHIN: Duration = Duration::from_secs(1);
/// Migrations on the overview.
pub(super) const LISTED: usize = 50;

/// For a bound caller, what is within the bounds; health and alerts concern the whole deployment.
pub(super) async fn overview(deployment: &Observed, caller: &Caller) -> Result<Overview, AppError> {
    let whole = async {
        if caller.is_bound() {
            return None;
        }
        Some(tokio::join!(deployment.health(), deployment.firing()))
    };
    let listed = async {
        let needs_you = MigrationsWanted { needs_you: true, ..MigrationsWanted::default() };
        let newest = found(deployment, caller, MigrationsWanted::default());
        tokio::try_join!(found(deployment, caller, needs_you), newest)
    };
    let (listed, silent, whole) =
        tokio::join!(timeout(LIST_WITHIN, listed), stores::silent(deployment), whole);
    let config = deployment.config();
    let stores = config.stores.iter().filter(|store| caller.within_store(&store.id).is_ok());
    let stores = stores.map(|store| Store {
        id: store.id.to_string(),
        url: store.url.to_string(),
        default: store.id == config.default_store,
        silent_since: silent.get(&store.id).copied(),
    });
    let (needing, mut migrations) = match listed {
        Ok(Ok(listed)) => listed,
        // The control plane does not answer. The health says so; the lists are empty.
        Err(_) => (Vec::new(), Vec::new()),
        Ok(Err(error)) if error.kind() == rehome_app::Kind::Failed => (Vec::new(), Vec::new()),
        Ok(Err(error)) => return Err(error),
    };
    let more = migrations.len() > LISTED;
    migrations.truncate(LISTED);
    let runbook = config.alerts.runbook.clone();
    Ok(Overview { needing, migrations, more, stores: stores.collect(), whole, runbook })
}

/// Those that are wanted and that the caller sees, one more than are listed if there are more.
pub(super) async fn found(
    deployment: &Observed,
    caller: &Caller,
    wanted: MigrationsWanted,
) -> Result<Vec<rehome_api::Migration>, AppError> {
    let tenant = caller.only_tenant();
    let mut wanted = MigrationsWanted { tenant, limit: LISTED + 1, ..wanted };
    let mut seen = Vec::new();
    loop {
        let page = migrations::list(deployment, &wanted).await?;
        wanted.before = page.last().map(|last| MigrationId::new(last.id));
        let is_last = page.len() <= LISTED;
        seen.extend(page.into_iter().filter(|migration| is_seen(caller, migration)));
        if is_last || seen.len() > LISTED {
            return Ok(seen);
        }
    }
}

/// The checklists that apply: before the end, not the one of after it.
pub(super) async fn checklists(
    deployment: &Observed,
    id: MigrationId,
) -> Result<Vec<Checklist>, AppError> {
    let migration = migrations::show(deployment, id).await?;
    let over = Phase::parse(&migration.state).is_some_and(Phase::has_ended);
    let phases = ChecklistPhase::ALL.into_iter();
    let phases = phases.filter(|phase| over || *phase != ChecklistPhase::After);
    try_join_all(phases.map(|phase| deployment.checklist(phase, Some(id)))).await
}

pub(super) async fn migration(deployment: &Observed, id: MigrationId) -> Result<View, AppError> {
    let migration = migrations::show(deployment, id).await?;
    let mut log = Vec::new();
    loop {
        let after = log.last().map_or(0, |entry: &rehome_api::LogEntry| entry.index);
        let page = migrations::log(deployment, id, after).await?;
        if page.is_empty() {
            break;
        }
        log.extend(page);
    }
    let holder = migrations::lease(deployment, id).await?;
    Ok(View {
        options: migrations::options_of(deployment, id).await?,
        here: holder.as_deref() == Some(deployment.holder()),
        holder,
        log,
        cutovers: migrations::cutovers(deployment, id).await?,
        samples: deployment.history().of(id),
        runbook: deployment.config().alerts.runbook.clone(),
        now: rehome_api::time::Time(SystemClock.now().micros()),
        migration,
    })
}

/// One tenant, for a caller who may see it.
pub(super) async fn tenant(
    deployment: &Observed,
    caller: &Caller,
    id: TenantId,
) -> Result<TenantView, AppError> {
    let found = tenants::show(deployment, id).await?;
    let limit = tenant::LISTED + 1;
    let alone =
        TenantsWanted { search: Some(id.to_string()), limit: 1, ..TenantsWanted::default() };
    let moves = MigrationsWanted { tenant: Some(id), limit, ..MigrationsWanted::default() };
    // Who may not read its events does not see who reads them either.
    let reads = caller.may_read(id).is_ok();
    let checkpoints = async {
        let control = deployment.engine().control();
        Ok(if reads { Some(control.checkpoints(id, limit).await?) } else { None })
    };
    let (row, pin, mut migrations, checkpoints) = tokio::try_join!(
        deployment.tenants(&alone),
        drains::pin_of(deployment, id),
        migrations::list(deployment, &moves),
        checkpoints,
    )?;
    migrations.retain(|migration| is_seen(caller, migration));
    let row = row.tenants.into_iter().next().ok_or(ControlError::UnknownTenant(id))?;
    Ok(TenantView { tenant: found, row, pin, migrations, checkpoints })
}

/// Tenants of a drain that its page lists of each kind.
const TENANTS: usize = 50;

pub(super) async fn drain(deployment: &Observed, id: DrainId) -> Result<DrainView, AppError> {
    let rows = async |state| deployment.drain_tenants(id, Some(state), 0, TENANTS).await;
    let drain = deployment.drain(id).await?;
    if drain.last_seen_at.is_some() {
        return Ok(DrainView { drain, moving: Vec::new(), aside: Vec::new() });
    }
    let moving = rows("moving").await?;
    let mut aside = rows("set_aside").await?.tenants;
    aside.extend(rows("again").await?.tenants);
    aside.truncate(TENANTS);
    Ok(DrainView { drain, moving: moving.tenants, aside })
}
