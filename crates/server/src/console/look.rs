//! What the pages show, gathered.

use rehome_api::{Checklist, ChecklistPhase};
use rehome_app::{AppError, Deployment};
use rehome_domain::ids::MigrationId;
use rehome_ports::clock::{Clock as _, SystemClock};

use super::pages::migration::View;
use super::pages::overview::{Overview, Store};

/// Migrations on the overview.
const LISTED: usize = 50;

pub(super) async fn overview(deployment: &Deployment) -> Result<Overview, AppError> {
    let migrations = deployment.migrations(None, None, None, LISTED + 1).await;
    let reachable = deployment.reachable();
    let ups = reachable.stores();
    let config = deployment.config();
    let stores = config.stores.iter().map(|store| Store {
        id: store.id.to_string(),
        url: store.url.to_string(),
        default: store.id == config.default_store,
        up: ups.iter().find(|(id, _)| *id == store.id).map(|(_, up)| *up),
    });
    let mut migrations = match migrations {
        Ok(migrations) => migrations,
        // The health says so; what is listed is nothing.
        Err(error) if error.kind() == rehome_app::Kind::Failed => Vec::new(),
        Err(error) => return Err(error),
    };
    let more = migrations.len() > LISTED;
    migrations.truncate(LISTED);
    let (health, firing) = tokio::join!(deployment.health(), deployment.firing());
    Ok(Overview { migrations, more, stores: stores.collect(), health, firing })
}

/// The checklists that apply: before the end, not the one of after it.
pub(super) async fn checklists(
    deployment: &Deployment,
    id: MigrationId,
) -> Result<Vec<Checklist>, AppError> {
    let migration = deployment.migration(id).await?;
    let over = ["migrated", "failed", "rolled_back"].contains(&migration.state.as_str());
    let mut lists = Vec::new();
    for phase in ChecklistPhase::ALL {
        if over || phase != ChecklistPhase::After {
            lists.push(deployment.checklist(phase, Some(id)).await?);
        }
    }
    Ok(lists)
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
    let can_return = migration.state == "migrated"
        && deployment.tenant(tenant).await.is_ok_and(|tenant| {
            let last = tenant.migration.is_some_and(|last| last.id == migration.id);
            tenant.rollback_window_open && last
        });
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
