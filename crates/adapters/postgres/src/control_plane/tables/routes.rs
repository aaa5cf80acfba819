//! Routes.

use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::route::Route;
use rehome_ports::ControlError;
use tokio_postgres::types::Type;

use super::{TRIES, all, first};
use crate::control_plane::rows::{self, at_most, int};
use crate::control_plane::{Answer, busy};
use crate::server::{Client, Param};

pub(crate) async fn route(client: &mut Client, tenant: TenantId) -> Answer<Option<Route>> {
    let sql = format!("SELECT {} FROM {{schema}}.routes AS r WHERE r.tenant = $1", rows::ROUTE);
    let found = client.read(&sql, &[(&tenant.uuid(), Type::UUID)]).await?;
    Ok(first(&found, rows::route)?)
}

pub(crate) async fn routes(
    client: &mut Client,
    after: Option<TenantId>,
    limit: usize,
) -> Answer<Vec<Route>> {
    let limit = at_most(limit);
    let sql = |condition| {
        format!(
            "SELECT {} FROM {{schema}}.routes AS r {condition} ORDER BY r.tenant LIMIT $1",
            rows::ROUTE
        )
    };
    let found = match after {
        None => client.read(&sql(""), &[(&limit, Type::INT8)]).await?,
        Some(after) => {
            let params: [Param<'_>; 2] = [(&limit, Type::INT8), (&after.uuid(), Type::UUID)];
            client.read(&sql("WHERE r.tenant > $2"), &params).await?
        }
    };
    Ok(all(&found, rows::route)?)
}

/// The route of a new tenant, or the one that is there.
pub(crate) async fn create_route(client: &mut Client, new: &Route) -> Answer<Route> {
    // What another creation had not committed when this statement began is seen by the next one.
    for _ in 0..TRIES {
        let sql = format!(
            "WITH made AS (INSERT INTO {{schema}}.routes \
                 (tenant, rev, store, epoch, prev_epoch, n, m, base, deadline_ms, created, \
                  rollback_window) \
                 VALUES ($1, $2, $3, $4, 0, $4, 0, 0, 0, false, false) \
                 ON CONFLICT (tenant) DO NOTHING RETURNING *) \
             SELECT {columns} FROM made AS r UNION ALL \
             SELECT {columns} FROM {{schema}}.routes AS r WHERE r.tenant = $1",
            columns = rows::ROUTE
        );
        let params: [Param<'_>; 4] = [
            (&new.tenant.uuid(), Type::UUID),
            (&int(new.rev)?, Type::INT8),
            (&new.store.as_str(), Type::TEXT),
            (&int(new.epoch.0)?, Type::INT8),
        ];
        let found = client.write(&sql, &params).await?;
        if let Some(route) = first(&found, rows::route)? {
            return Ok(route);
        }
    }
    Err(busy().into())
}

pub(crate) async fn mark_created(
    client: &mut Client,
    tenant: TenantId,
    epoch: Epoch,
) -> Answer<Route> {
    let sql = format!(
        "UPDATE {{schema}}.routes AS r SET created = true \
         WHERE r.tenant = $1 AND r.epoch = $2 AND NOT r.created RETURNING {}",
        rows::ROUTE
    );
    let params: [Param<'_>; 2] = [(&tenant.uuid(), Type::UUID), (&int(epoch.0)?, Type::INT8)];
    let marked = client.write(&sql, &params).await?;
    if let Some(route) = first(&marked, rows::route)? {
        return Ok(route);
    }
    Ok(route(client, tenant).await?.ok_or(ControlError::UnknownTenant(tenant))?)
}

/// Writes a route that was recovered and never had a migration, on the revision `was`; false if
/// it has another one by now.
pub(crate) async fn recover_route(
    client: &mut Client,
    was: u64,
    to: &Route,
    channel: &str,
) -> Answer<bool> {
    let sql = "WITH moved AS (UPDATE {schema}.routes SET rev = $3, store = $4, epoch = $5, \
                   n = $6, base = $7, created = $8, rollback_window = $9 \
                   WHERE tenant = $1 AND rev = $2 AND migration IS NULL RETURNING tenant, rev) \
               SELECT pg_notify($10, tenant::text || ' ' || rev::text) FROM moved";
    let params: [Param<'_>; 10] = [
        (&to.tenant.uuid(), Type::UUID),
        (&int(was)?, Type::INT8),
        (&int(to.rev)?, Type::INT8),
        (&to.store.as_str(), Type::TEXT),
        (&int(to.epoch.0)?, Type::INT8),
        (&int(to.n.0)?, Type::INT8),
        (&int(to.base)?, Type::INT8),
        (&to.created, Type::BOOL),
        (&to.window, Type::BOOL),
        (&channel, Type::TEXT),
    ];
    Ok(!client.write(sql, &params).await?.is_empty())
}
