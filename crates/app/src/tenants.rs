//! One tenant: where it is, and what may be removed of it.

use futures_util::future::try_join_all;
use rehome_api as api;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::ledger::Role;
use rehome_domain::migration::window_is_over;
use rehome_domain::route::Route;
use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::documents;
use crate::error::AppError;
use crate::migrations::{self, Goal, is_window_open};

/// Where a tenant is, and what every store holds of it.
pub async fn show(deployment: &Deployment, tenant: TenantId) -> Result<api::Tenant, AppError> {
    let control = deployment.engine().control();
    let (route, migration) = loop {
        let route = control.known_route(tenant).await?;
        let migration = match route.migration {
            Some((id, _)) => Some(migrations::show(deployment, id).await?),
            None => None,
        };
        // Read again: the two must be of one moment, or a tenant that has moved seems not to have.
        if control.route(tenant).await?.is_some_and(|now| now.rev == route.rev) {
            break (route, migration);
        }
    };
    let mut found = api::Tenant {
        tenant_id: tenant.uuid(),
        store: route.store.to_string(),
        state: route.phase().map(|phase| phase.as_str().to_owned()),
        epoch: route.epoch.0,
        seq: None,
        digest: None,
        rollback_window_open: route.window,
        migration,
        stores: Vec::new(),
        problems: Vec::new(),
    };
    found.problems.extend(unfinished_removal(&route));
    if deployment.store(&route.store).is_err() {
        found.problems.push(format!("store \"{}\" is not configured", route.store));
    }
    // Side by side: no store waits for another that does not answer.
    let watch = deployment.store_watch();
    let asked = deployment.engine().stores().iter().map(async |store| {
        let id = store.id();
        Ok::<_, AppError>((id, watch.ledger(id, tenant).await?))
    });
    for (id, sight) in try_join_all(asked).await? {
        let authority = *id == route.store;
        if let Some((ledger, at)) = sight.last {
            if authority {
                found.seq = Some(ledger.head.seq);
                found.digest = Some(ledger.head.digest.to_string());
            }
            if ledger.role != Role::Absent || ledger.epoch.0 > 0 {
                let row = documents::tenant_in_store(tenant, id, &ledger, authority);
                let last_seen_at = Some(api::Time(at.micros()));
                found.stores.push(api::TenantInStore { last_seen_at, ..row });
            }
            if ledger.epoch > route.n {
                found.problems.push(format!(
                    "store \"{id}\" has epoch {}, which the control plane never issued; \
                         check, then run `rehome recover`",
                    ledger.epoch
                ));
            }
        }
        found.problems.extend(sight.unanswered.map(|unanswered| unanswered.sentence()));
    }
    Ok(found)
}

/// Removes the copy that a tenant left behind in a store. Closes a rollback window first that has ended, or
/// is to be closed.
pub async fn purge(
    deployment: &Deployment,
    tenant: TenantId,
    store: &StoreId,
    close_window: bool,
) -> Result<api::TenantPurge, AppError> {
    let about = |error: AppError| error.tenant(tenant);
    deployment.store(store).map_err(|error| about(error.into()))?;
    let control = deployment.engine().control();
    let route = control.known_route(tenant).await?;
    if let Some((id, phase)) = route.migration.filter(|(_, phase)| phase.is_terminal()) {
        let migration = control.migration(id).await?;
        let is_over =
            is_window_open(&migration) && window_is_over(&migration, control.now().await?);
        if route.window && route.store != *store && (close_window || is_over) {
            deployment.operations().close_window(&route).await.map_err(|e| about(e.into()))?;
        } else if !route.window {
            // An unfinished clean-up comes first.
            migrations::work(deployment, id, Goal::NothingLeft, &CancellationToken::new())
                .await
                .map_err(|error| about(error).state(phase))?;
        } else if route.store != *store {
            return Err(about(AppError::refused(format!(
                "its rollback window is open and may need this copy; wait for its end, or add \
                     --close-window to end it and the possible return of migration {id}"
            ))));
        }
    }
    let purged = deployment.operations().purge(tenant, store).await;
    Ok(api::TenantPurge {
        tenant_id: tenant.uuid(),
        store: store.to_string(),
        events_purged: purged.map_err(|error| about(error.into()))?,
    })
}

/// Removes a tenant whose history has so many events; with `None`, shows what would be removed.
pub async fn remove(
    deployment: &Deployment,
    tenant: TenantId,
    events: Option<u64>,
) -> Result<api::TenantRemoval, AppError> {
    let about = |error: AppError| error.tenant(tenant);
    let operations = deployment.operations();
    if let Some(events) = events {
        let removed = operations.remove(tenant, events).await;
        let removed = removed.map_err(|error| about(error.into()))?;
        tracing::info!(
            target: "eventsource.migration",
            store = removed.store.as_str(),
            %tenant,
            operation = "tenant_removed",
            events = removed.events,
            actor = deployment.actor(),
            "Tenant removed"
        );
        return Ok(api::TenantRemoval {
            tenant_id: tenant.uuid(),
            store: removed.store.to_string(),
            events: removed.events,
            removed: true,
        });
    }
    let found = operations.removable(tenant).await;
    let found = found.map_err(|error| about(error.into()))?;
    // Of a removal that is under way: what it was requested for.
    let events = found.route.removing().unwrap_or(found.ledger.head.seq);
    let store = found.route.store;
    let (tenant_id, store) = (tenant.uuid(), store.to_string());
    Ok(api::TenantRemoval { tenant_id, store, events, removed: false })
}

/// A removal that is not complete, as a sentence, with the command that completes it.
pub fn unfinished_removal(route: &Route) -> Option<String> {
    let events = route.removing()?;
    let (tenant, store) = (route.tenant, &route.store);
    Some(format!(
        "tenant {tenant}: its removal from store \"{store}\" is not complete, and it has neither readers nor writers; \
         if no process works on it, `rehome tenant remove {tenant} --events {events}` completes it"
    ))
}
