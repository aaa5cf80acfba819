//! Routes.

use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::migration::Phase;
use rehome_domain::removal;
use rehome_domain::route::Route;
use rehome_ports::ControlError;
use rehome_ports::log_chain::LogAnchor;
use tokio_postgres::types::Type;

use super::{TRIES, all, first};
use crate::control_plane::rows::{self, Columns, at_most, int};
use crate::control_plane::{Answer, busy};
use crate::error::ServerError;
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

/// How far the rows have seen the logs of their last migrations.
pub(crate) async fn log_anchors(
    client: &mut Client,
    after: Option<TenantId>,
    limit: usize,
) -> Answer<Vec<LogAnchor>> {
    let sql = "SELECT migration, tenant, log_entry, log_hash FROM {schema}.routes \
               WHERE migration IS NOT NULL AND ($1::uuid IS NULL OR tenant > $1) \
               ORDER BY tenant LIMIT $2";
    let after = after.map(TenantId::uuid);
    let params: [Param<'_>; 2] = [(&after, Type::UUID), (&at_most(limit), Type::INT8)];
    let found = client.read(sql, &params).await?;
    Ok(found.iter().map(crate::rows::log_anchor).collect::<Result<_, _>>()?)
}

/// The route of a new tenant, or the one that is there; a removed one is created again.
pub(crate) async fn create_route(client: &mut Client, new: &Route, channel: &str) -> Answer<Route> {
    // What another creation had not committed when this statement began is seen by the next one.
    for _ in 0..TRIES {
        let sql = format!(
            "WITH made AS (INSERT INTO {{schema}}.routes \
                 (tenant, rev, store, epoch, prev_epoch, n, m, base, deadline_ms, created, \
                  rollback_window) \
                 SELECT $1, $2, $3, $4, 0, $4, 0, 0, 0, false, false \
                 WHERE NOT EXISTS (SELECT FROM {{schema}}.cordons AS c WHERE c.store = $3) \
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
            let Some(reborn) = removal::reborn(&route, &new.store) else { return Ok(route) };
            if put_route(client, route.rev, &reborn, channel).await? {
                return Ok(reborn);
            }
        }
        if let Some(why) = cordon(client, &new.store).await? {
            return Err(ControlError::Cordoned { store: new.store.clone(), why }.into());
        }
    }
    Err(busy().into())
}

/// Why a store is cordoned, if it is.
pub(in super::super) async fn cordon(
    client: &mut Client,
    store: &StoreId,
) -> Answer<Option<String>> {
    let sql = "SELECT why FROM {schema}.cordons WHERE store = $1";
    let found = client.read(sql, &[(&store.as_str(), Type::TEXT)]).await?;
    Ok(first(&found, words)?)
}

fn words(columns: &mut Columns<'_>) -> Result<String, ServerError> {
    columns.next()
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

/// Writes a route on the revision `was`; false if it has another one by now, or if a creation is refused because the
/// store is cordoned. A removal that is complete takes the tenant's checkpoints along.
pub(crate) async fn put_route(
    client: &mut Client,
    was: u64,
    to: &Route,
    channel: &str,
) -> Answer<bool> {
    let sql = "WITH moved AS (UPDATE {schema}.routes SET rev = $3, store = $4, epoch = $5, \
                   prev_epoch = $6, n = $7, base = $8, created = $9, rollback_window = $10, \
                   migration = $11, phase = $12, removal_epoch = $13, removal_events = $14 \
                   WHERE tenant = $1 AND rev = $2 AND ($9 OR $13 IS NOT NULL OR NOT EXISTS \
                       (SELECT FROM {schema}.cordons AS c WHERE c.store = $4)) \
                   RETURNING tenant, rev), \
               gone AS (DELETE FROM {schema}.checkpoints AS c USING moved \
                   WHERE c.tenant = moved.tenant AND $13 IS NOT NULL AND $14 IS NULL) \
               SELECT pg_notify($15, tenant::text || ' ' || rev::text) FROM moved";
    let (migration, phase) = to.migration.unzip();
    let (removal_epoch, removal_events) = rows::removal_columns(to)?;
    let params: [Param<'_>; 15] = [
        (&to.tenant.uuid(), Type::UUID),
        (&int(was)?, Type::INT8),
        (&int(to.rev)?, Type::INT8),
        (&to.store.as_str(), Type::TEXT),
        (&int(to.epoch.0)?, Type::INT8),
        (&int(to.prev_epoch.0)?, Type::INT8),
        (&int(to.n.0)?, Type::INT8),
        (&int(to.base)?, Type::INT8),
        (&to.created, Type::BOOL),
        (&to.window, Type::BOOL),
        (&migration.map(MigrationId::uuid), Type::UUID),
        (&phase.map(Phase::as_str), Type::TEXT),
        (&removal_epoch, Type::INT8),
        (&removal_events, Type::INT8),
        (&channel, Type::TEXT),
    ];
    Ok(!client.write(sql, &params).await?.is_empty())
}
