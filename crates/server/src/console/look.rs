//! What the pages show, gathered.

use std::time::Duration;

use futures_util::future::try_join_all;
use rehome_api::{Checklist, ChecklistPhase};
use rehome_app::{AppError, Deployment};
use rehome_domain::ids::MigrationId;
use rehome_ports::clock::{Clock as _, SystemClock};
use tokio::time::timeout;

use super::pages::migration::View;
use super::pages::overview::{Overview, Store};

/// Longest that the overview waits for the list.
const LIST_WITHIN: Duration = Duration::from_secs(1);
/// Migrations on the overview.
const LISTED: usize = 50;

pub(super) async fn overview(deployment: &Deployment) -> Result<Overview, AppError> {
    let (migrations, silent, health, firing) = tokio::join!(
        timeout(LIST_WITHIN, deployment.migrations(None, None, None, LISTED + 1)),
        deployment.silent_stores(),
        deployment.health(),
        deployment.firing()
    );
    let config = deployment.config();
    let stores = config.stores.iter().map(|store| Store {
        id: store.id.to_string(),
        url: store.url.to_string(),
        default: store.id == config.default_store,
        silent_since: silent.get(&store.id).copied(),
    });
    let mut migrations = match migrations {
        Ok(Ok(migrations)) => migrations,
        // The control plane does not answer. The health says so; what is listed is nothing.
        Err(_) => Vec::new(),
        Ok(Err(error)) if error.kind() == rehome_app::Kind::Failed => Vec::new(),
        Ok(Err(error)) => return Err(error),
    };
    let more = migrations.len() > LISTED;
    migrations.truncate(LISTED);
    Ok(Overview { migrations, more, stores: stores.collect(), health, firing })
}

/// The checklists that apply: before the end, not the one of after it.
pub(super) async fn checklists(
    deployment: &Deployment,
    id: MigrationId,
) -> Result<Vec<Checklist>, AppError> {
    let migration = deployment.migration(id).await?;
    let over = ["migrated", "failed", "rolled_back"].contains(&migration.state.as_str());
    let phases = ChecklistPhase::ALL.into_iter();
    let phases = phases.filter(|phase| over || *phase != ChecklistPhase::After);
    try_join_all(phases.map(|phase| deployment.checklist(phase, Some(id)))).await
}

pub(super) async fn migration(deployment: &Deployment, id: MigrationId) -> Result<View, AppError> {
    let migration = deployment.migration(id).await?;
    let mut log = Vec::new();
    loop {
        let after = log.last().map_or(0, |entry: &rehome_api::LogEntry| entry.index);
        let page = deployment.log(id, after).await?;
        if page.is_empty() {
            break;
        }
        log.extend(page);
    }
    let holder = deployment.lease(id).await?;
    let tenant = rehome_domain::ids::TenantId::new(migration.tenant_id);
    let can_return = migration.state == "migrated" && deployment.can_return(id, tenant).await?;
    Ok(View {
        options: deployment.migration_options(id).await?,
        here: holder.as_deref() == Some(deployment.holder()),
        holder,
        log,
        samples: deployment.history().of(id),
        now: rehome_api::time::Time(SystemClock.now().micros()),
        can_return,
        migration,
    })
}
